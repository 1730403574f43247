# SPDX-License-Identifier: Apache-2.0
"""Questions of forms with their answers, drawn over the page, and entity F1."""
import pathlib

from tenon.pipelines import DocReader, save_image

model = pathlib.Path(__file__).resolve().parents[2] / "models/layoutlmv3-tiny-forms"
reader = DocReader(model, overlap=0, cache="plans")
pages = sorted((model / "samples/images").glob("*.png"))
words = [model / "samples/annotations" / f"{page.stem}.json" for page in pages]
for page, form in zip(pages, reader(pages, words)):
    print(f"{page.name}: {len(form.words)} words, {len(form.entities)} entities")
    for question, answers in form.pairs():
        print(f"  {question.text} {' / '.join(a.text for a in answers) or '-'}")
save_image(form.draw(), "form.png")
form.to_html("form.html")
scores = reader.evaluate(pages, words)
print(f"F1 {scores.f1:.3f}: " + ", ".join(f"{name} {t.f1:.3f}" for name, t in scores.types.items()))
