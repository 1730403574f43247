#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/pipelines/data: small pictures of every kind and what Pillow makes of them (expected.npz).

Needs Pillow and numpy; run once, the results are committed. Keys of expected.npz: the file name (decoded RGB), and
"<file>@<width>x<height>:<filter>" (resized by Pillow; filter 2 bilinear, 3 bicubic).
"""
import pathlib

import numpy as np
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).parent / "data"
W, H = 37, 23


def base() -> np.ndarray:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:H, 0:W]
    smooth = np.stack([x * 255 / W, y * 255 / H, (x + y) * 255 / (W + H)], -1)
    noise = rng.integers(-60, 60, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha.astype(np.int64)[..., None]
    return ((rgb.astype(np.int64) * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    rgb = base()
    alpha = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
    grey = rgb[..., 0]
    grey16 = grey.astype(np.uint16) * 257 + 91
    palette = Image.fromarray(rgb).quantize(16)
    expected = {}

    def save(name: str, image: Image.Image, want: np.ndarray | None = None, **options) -> None:
        image.save(OUT / name, **options)
        if want is None:
            want = np.asarray(ImageOps.exif_transpose(Image.open(OUT / name)).convert("RGB"))
        expected[name] = want

    save("rgb.png", Image.fromarray(rgb))
    save("grey.png", Image.fromarray(grey))
    save("grey1.png", Image.fromarray(grey > 128))
    save("palette.png", palette)
    indices = np.asarray(palette)
    table = np.asarray(palette.getpalette()[:48], np.uint8).reshape(-1, 3)
    save("palette_transparent.png", palette, over_white(table[indices], np.where(indices == 3, 0, 255).astype(np.uint8)), transparency=3)
    save("rgba.png", Image.fromarray(np.dstack([rgb, alpha])), over_white(rgb, alpha))
    save("grey_alpha.png", Image.fromarray(np.dstack([grey, alpha]), "LA"), over_white(np.dstack([grey] * 3), alpha))
    want16 = ((grey16.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
    save("grey16.png", Image.fromarray(grey16), np.dstack([want16] * 3))
    save("rgb.jpg", Image.fromarray(rgb), quality=90)
    save("sampled.jpg", Image.fromarray(rgb), quality=75, subsampling=2)
    save("progressive.jpg", Image.fromarray(rgb), quality=90, progressive=True)
    save("grey.jpg", Image.fromarray(grey), quality=90)
    save("cmyk.jpg", Image.fromarray(rgb).convert("CMYK"), quality=95)
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        save(f"orientation{o}.jpg", Image.fromarray(rgb), quality=90, exif=exif.tobytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    save("orientation6.png", Image.fromarray(rgb), exif=exif)
    np.save(OUT / "grey.npy", grey)
    expected["grey.npy"] = np.dstack([grey] * 3)
    for width, height in [(64, 32), (16, 11), (37, 23), (37, 50), (5, 23), (1, 1), (70, 30), (20, 9)]:
        for f in (Image.BILINEAR, Image.BICUBIC):
            expected[f"rgb.png@{width}x{height}:{int(f)}"] = np.asarray(Image.fromarray(rgb).resize((width, height), f))
    np.savez_compressed(OUT / "expected.npz", **expected)


if __name__ == "__main__":
    main()
