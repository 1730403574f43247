# SPDX-License-Identifier: Apache-2.0
"""The regions that phrases mean, drawn on the picture, and accuracy over a list of phrases."""
import pathlib

from tenon.pipelines import Features, Grounder, groundings_page, load_phrases, save_image

model = pathlib.Path(__file__).resolve().parents[2] / "models/vilbert-tiny-scenes"
grounder = Grounder(model, cache="plans")
features = Features(model / "samples")  # a folder of ID.npz: boxes and features of an object detector
phrases = load_phrases(model / "samples/phrases.json")
image = phrases[0].image
answers = grounder([p.text for p in phrases if p.image == image], features[image])
for a in answers:
    print(f"{image}: {a.phrase!r} is region {a.region} of {len(a.regions)} at {a.box.round(1)}, score {a.score:.2f}")
picture = model / "samples" / f"{image}.png"
save_image(answers[0].draw(picture), "phrase.png")
groundings_page(picture, answers, "phrases.html", top=3)
scores = grounder.evaluate(phrases, features)
print(f"accuracy {scores.accuracy:.3f} ({scores.right} of {scores.phrases} phrases)")
