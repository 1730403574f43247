# SPDX-License-Identifier: Apache-2.0
"""Pictures of text lines to text, with the confidence of every character."""
import pathlib

from tenon.pipelines import ocr

root = pathlib.Path(__file__).resolve().parents[2]
pictures = sorted((root / "models/trocr-tiny-zh/samples").glob("heldout-*.png"))[:6]
reader = ocr(root / "models/trocr-tiny-zh", cache="plans")  # without a path: the model that comes with the package
for picture, line in zip(pictures, reader(pictures)):
    weakest = min(line.characters, key=lambda c: c.confidence, default=None)
    print(f"{picture.name}: {line.text!r} ({line.confidence:.2f}; least sure of {weakest.text if weakest else 'nothing'!r})")
