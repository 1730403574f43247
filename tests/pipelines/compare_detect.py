#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Detection's arithmetic against OpenCV, mmdet's formulas in PyTorch, and pycocotools, at length: on pictures of all kinds and on random data.

    tests/pipelines/compare_detect.py --tenon build/tenon [--pictures DIR] [--scenes 200] [--masks 3000]

Needs a C compiler, numpy, opencv-python-headless, torch, pycocotools. Prints a table; exit status 1 when something differs by more than its limit. The quick
part of this runs with the tests, on what make_detect.py stored.
"""
import argparse
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import torch
from pycocotools import mask as pymask

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_detect

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Image(ctypes.Structure):
    _fields_ = [("rgb", ctypes.c_void_p), ("width", ctypes.c_uint32), ("height", ctypes.c_uint32)]


class Rle(ctypes.Structure):
    _fields_ = [("height", ctypes.c_uint32), ("width", ctypes.c_uint32), ("n", ctypes.c_uint32), ("counts", ctypes.POINTER(ctypes.c_uint32))]


def library(folder: pathlib.Path) -> ctypes.CDLL:
    sources = [str(ROOT / "pipelines" / f"{name}.c") for name in ("resize_linear", "detect_mask", "rle", "util")]
    stub = folder / "stub.c"  # all that is needed of image.c, without the libraries of picture formats
    stub.write_text('#include <stdlib.h>\n#include "pipelines/image.h"\nvoid tn_image_free(TnImage *m) { free(m->rgb); *m = (TnImage){0}; }\n')
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{ROOT}", f"-I{ROOT}/include", *sources, stub, "-o", folder / "part.so", "-lm"],
                   check=True)
    lib = ctypes.CDLL(str(folder / "part.so"))
    lib.free = ctypes.CDLL(None).free
    lib.free.argtypes = [ctypes.c_void_p]
    return lib


def resized(lib, picture, width, height):
    out = Image()
    source = Image(picture.ctypes.data, picture.shape[1], picture.shape[0])
    if lib.tn_image_resize_linear(ctypes.byref(source), width, height, ctypes.byref(out), None) != 0:
        raise ValueError((picture.shape, width, height))
    got = np.ctypeslib.as_array(ctypes.cast(out.rgb, ctypes.POINTER(ctypes.c_uint8)), (height, width, 3)).copy()
    lib.free(out.rgb)
    return got


def pasted(lib, mask, box, height, width):
    out = Rle()
    f32 = ctypes.POINTER(ctypes.c_float)
    if lib.tn_detect_paste(mask.ctypes.data_as(f32), *mask.shape, box.ctypes.data_as(f32), width, height, ctypes.byref(out), None) != 0:
        raise ValueError(box)
    runs = np.ctypeslib.as_array(out.counts, (out.n,)).copy()
    lib.free(out.counts)
    return np.repeat(np.arange(len(runs)) % 2, runs).reshape(width, height).T.astype(bool)


def compare_resizing(lib, pictures, rng):
    """Each at mmdet's size for it, and random ones at random sizes: pixels that differ."""
    pixels = wrong = 0
    for path in pictures:
        picture = cv2.imread(str(path))
        if picture is None:
            continue
        h, w = picture.shape[:2]
        factor = min(1333 / max(h, w), 800 / min(h, w))
        for nw, nh in ((int(w * factor + 0.5), int(h * factor + 0.5)), (max(w // 2, 1), max(h // 2, 1)), (w, h + 1)):
            want = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
            wrong += int((resized(lib, np.ascontiguousarray(picture), nw, nh) != want).sum())
            pixels += want.size
    for _ in range(400):
        h, w, nh, nw = (int(v) for v in rng.integers(1, 300, 4))
        picture = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        want = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
        wrong += int((resized(lib, picture, nw, nh) != want).sum())
        pixels += want.size
    print(f"resizing: {wrong} of {pixels} values differ from OpenCV {cv2.__version__}")
    return wrong == 0


def compare_pasting(lib, n, rng):
    pixels = wrong = 0
    for i in range(n):
        h, w = (int(v) for v in rng.integers(20, 600, 2))
        m = 28 if i % 3 else int(rng.integers(1, 40))
        x0, y0 = rng.random() * w, rng.random() * h
        box = np.float32([x0 - 10, y0 - 10, x0 + rng.random() ** 2 * w, y0 + rng.random() ** 2 * h])
        mask = rng.random((m, m)).astype(np.float32) if i % 2 else cv2.GaussianBlur(rng.random((m, m)).astype(np.float32), (0, 0), 3).reshape(m, m)
        mask = np.ascontiguousarray(mask if i % 2 else 1 / (1 + np.exp(-40 * (mask - mask.mean()))), np.float32)
        want = make_detect.paste(mask, box, h, w)
        wrong += int((pasted(lib, mask, box, h, w) != want).sum())
        pixels += want.size
    print(f"masks: {wrong} of {pixels} pixels of {n} masks differ from PyTorch {torch.__version__}")
    return wrong <= pixels * 1e-7


def compare_polygons(tenon, folder, n, rng):
    """Polygons as annotations, the same rastered by pycocotools as results: each overlap must be whole."""
    images, annotations, results = [], [], []
    for i in range(n):
        w, h = (int(v) for v in rng.integers(1, 700, 2))
        parts = [make_detect.polygon(rng, w, h) for _ in range(int(rng.integers(1, 4)))]
        if i % 3 == 0:
            parts = [[float(round(v)) for v in p] for p in parts]
        rle = pymask.merge(pymask.frPyObjects(parts, h, w))
        if pymask.area(rle) == 0:
            continue
        images.append({"id": i, "width": w, "height": h, "file_name": str(i)})
        annotations.append({"id": i + 1, "image_id": i, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0, "segmentation": parts})
        runs = {"size": [h, w], "counts": rle["counts"].decode()}
        results.append({"image_id": i, "category_id": 1, "score": 1 - i / n / 2, "segmentation": runs})
    (folder / "truth.json").write_text(json.dumps({"images": images, "categories": [{"id": 1}], "annotations": annotations}))
    (folder / "found.json").write_text(json.dumps(results))
    got = json.loads(subprocess.run([tenon, "detect", "--json", "--score", folder / "found.json", "--eval", folder / "truth.json"], check=True, capture_output=True).stdout)
    print(f"polygons: {len(images)}, AP at overlaps up to 0.95 of the same shapes rastered by pycocotools: {got['masks']['AP']:.12f}")
    return abs(got["masks"]["AP"] - 1) < 1e-9


def compare_scores(tenon, folder, n):
    worst = 0.0
    for seed in range(n):
        rng = np.random.default_rng(1000 + seed)
        annotations, results = make_detect.scene(rng, int(rng.integers(1, 25)), int(rng.integers(1, 7)))
        if not results:
            continue
        if seed % 3 == 2:
            results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
        (folder / "truth.json").write_text(json.dumps(annotations))
        (folder / "found.json").write_text(json.dumps(results))
        got = json.loads(subprocess.run([tenon, "detect", "--json", "--score", folder / "found.json", "--eval", folder / "truth.json"], check=True, capture_output=True).stdout)
        for kind, name in (("boxes", "bbox"), ("masks", "segm")):
            want = make_detect.numbers(annotations, results, name)
            worst = max(worst, *(abs(got[kind][k] - want[k]) for k in want))
    print(f"scores: {n} scenes, 24 numbers each: at most {worst:.1e} from pycocotools")
    return worst <= 1e-6


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--tenon", default=str(ROOT / "build" / "tenon"))
    p.add_argument("--pictures", type=pathlib.Path, help="a folder; pictures in it and below")
    p.add_argument("--scenes", type=int, default=200)
    p.add_argument("--masks", type=int, default=3000)
    a = p.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    pictures = sorted(f for f in a.pictures.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png")) if a.pictures else []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lib = library(folder)
        ok = [compare_resizing(lib, pictures, rng), compare_pasting(lib, a.masks, rng), compare_polygons(a.tenon, folder, 2000, rng), compare_scores(a.tenon, folder, a.scenes)]
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
