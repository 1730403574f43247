# SPDX-License-Identifier: Apache-2.0
"""Classes of pictures, and top-1 and top-5 accuracy where the right ones are known."""
import pathlib

from tenon.pipelines import Classifier

model = pathlib.Path(__file__).resolve().parents[2] / "models/uniformer-tiny-shapes"
classifier = Classifier(model, labels=model / "labels.txt", cache="plans")
rows = [line.split("\t") for line in (model / "samples/list.tsv").read_text().splitlines()]
pictures, truth = [model / "samples" / name for name, _ in rows], [int(number) for _, number in rows]
for picture, result in zip(pictures, classifier(pictures, top=3)):
    print(f"{picture.name}: " + ", ".join(f"{c.label} {c.probability:.2f}" for c in result.classes))
print(classifier.evaluate(pictures, truth))
