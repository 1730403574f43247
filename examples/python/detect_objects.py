# SPDX-License-Identifier: Apache-2.0
"""Objects with masks on pictures, drawn over them, and COCO's average precision."""
import pathlib

from tenon.pipelines import Detector, detections_page, save_image

model = pathlib.Path(__file__).resolve().parents[2] / "models/mask-rcnn-tiny-scenes"
pictures = sorted((model / "samples").glob("*.png"))
detector = Detector(model, labels=model / "labels.txt", cache="plans")
found = detector(pictures[:2])
for picture, f in zip(pictures, found):
    print(f"{picture.name}: " + ", ".join(f"{name} {score:.2f}" for name, score in zip(f.names, f.scores)))
first = found[0]
print(f"masks {first.masks.shape}, pixels of the first: {first.masks[0].sum()}, its box: {first.boxes[0].round(1)}")
save_image(first.draw(), "found.png")
detections_page(found, "found.html")
scores = detector.evaluate(pictures, model / "samples/ground_truth.json")
print(f"AP of boxes {scores.boxes['AP']:.3f}, of masks {scores.masks['AP']:.3f}")
