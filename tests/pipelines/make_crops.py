#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/pipelines/data/crops.npz: pictures, and what torchvision's Resize (Pillow, bicubic) and CenterCrop make of them. Needs torchvision."""
import pathlib

import numpy as np
from PIL import Image
from torchvision import transforms

HERE = pathlib.Path(__file__).resolve().parent / "data"
SIZES = [(90, 131), (131, 90), (80, 80), (73, 94), (40, 50), (64, 211), (150, 73)]
SIDE = 64  # cut from pictures whose shorter side is int(256 / 224 * 64) = 73


def main():
    rng = np.random.default_rng(5)
    official = transforms.Compose(
        [transforms.Resize(int((256 / 224) * SIDE), interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(SIDE)]
    )
    arrays = {}
    for i, (h, w) in enumerate(SIZES):
        y, x = np.mgrid[0:h, 0:w]
        a = np.stack([128 + 100 * np.sin(x / 5 + y / 9), 128 + 100 * np.cos(x / 7), x * 255 / w], -1) + rng.normal(0, 25, (h, w, 3))
        a[h // 3:h // 2, w // 4:w // 2] = 255
        a = a.clip(0, 255).astype(np.uint8)
        arrays[f"picture{i}"] = a
        arrays[f"crop{i}"] = np.asarray(official(Image.fromarray(a)))
    np.savez_compressed(HERE / "crops.npz", **arrays)


if __name__ == "__main__":
    main()
