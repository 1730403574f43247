#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Detectors of the official code with random weights against Tenon's import of their checkpoints: levels of the pyramid, proposals, answers.

Rows of proposals and answers are matched first: where two scores, or an overlap and its limit, lie within rounding of each other, the order and even the
choice may differ. Reported is how many found a match (the same class, a box within a ten-thousandth of the image), and the errors of those.

usage: compare_detection.py CHECKOUT_OF_SENSE-X/UNIFORMER BUILD_FOLDER [narrow|full] [--sizes HxW,...] [--kinds NAME,...]
"""
import argparse
import ctypes
import pathlib
import subprocess
import tempfile

import numpy as np

import make_detection_files as make



# ---- a plan's answers and the tensors between its steps ----
class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32), ("dims", ctypes.c_int64 * 8)]


class PlanOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("allocator", ctypes.c_void_p), ("log", ctypes.c_void_p), ("verify", ctypes.c_int32),
                ("device", ctypes.c_int32), ("inspect", ctypes.c_int32)]


STEP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, *[ctypes.c_char_p] * 4, ctypes.POINTER(Tensor), ctypes.c_uint64)


def array_of(t):
    kind = {1: np.float32, 7: np.int64}[t.dtype]
    dims = list(t.dims[:t.rank])
    n = int(np.prod(dims))
    if n == 0:
        return np.zeros(dims, kind)
    return np.frombuffer((ctypes.c_char * (n * kind().itemsize)).from_address(t.data), kind).reshape(dims).copy()


class Plan:
    def __init__(self, library, path):
        self.lib, self.plan, self.context, self.error = ctypes.CDLL(str(library)), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.create_string_buffer(4096)
        self.lib.tn_plan_options_default.restype = PlanOptions
        options = self.lib.tn_plan_options_default()
        self.check(self.lib.tn_plan_open(str(path).encode(), ctypes.byref(options), ctypes.byref(self.plan), self.error))
        self.check(self.lib.tn_context_create(self.plan, None, ctypes.byref(self.context), self.error))

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.error.raw[4:1540].split(b"\0")[0].decode())

    def run(self, image, wanted):
        """Outputs, and tensors: the values of these names, or the first that a step of such a name makes."""
        image, seen = np.ascontiguousarray(image), {}

        @STEP
        def step(_, number, node, op, kernel, value, t, ns):
            name = value.decode() if value.decode() in wanted else node.decode()
            if name in wanted and name not in seen:
                seen[name] = array_of(t.contents)
        self.lib.tn_context_on_step(self.context, step, None)
        x = Tensor(image.ctypes.data, 1, 4, (ctypes.c_int64 * 8)(*image.shape))
        self.check(self.lib.tn_context_set_input(self.context, 0, ctypes.byref(x), self.error))
        self.check(self.lib.tn_context_run(self.context, self.error))
        out = []
        for i in range(4):
            t = Tensor()
            self.check(self.lib.tn_context_output(self.context, i, ctypes.byref(t), self.error))
            out.append(array_of(t))
        return dict(zip(("boxes", "scores", "labels", "masks"), out)), seen


WIDTHS = (64, 128, 320, 512)
NARROW = {
    "global": ("mask_rcnn", make.plain_backbone(), 8, "official"),
    "window": ("mask_rcnn", make.plain_backbone(attention="window"), 8, "official"),
    "hybrid": ("mask_rcnn", make.plain_backbone(layers=(1, 2, 5, 1), attention="hybrid"), 8, "official"),
    "light": ("mask_rcnn", make.light_backbone(), 8, "official"),
    "cascade": ("cascade_mask_rcnn", make.plain_backbone(attention="hybrid"), 8, "official"),
    "cascade_agnostic": ("cascade_mask_rcnn", make.plain_backbone(), 8, "agnostic"),
}
FULL = {
    "small_hybrid": ("mask_rcnn", make.plain_backbone((3, 4, 8, 3), WIDTHS, 64, "hybrid"), 64, "official"),
    "small_global": ("mask_rcnn", make.plain_backbone((3, 4, 8, 3), WIDTHS, 64, "global"), 64, "official"),
    "base_hybrid": ("mask_rcnn", make.plain_backbone((5, 8, 20, 7), WIDTHS, 64, "hybrid"), 64, "official"),
    "cascade_small_hybrid": ("cascade_mask_rcnn", make.plain_backbone((3, 4, 8, 3), WIDTHS, 64, "hybrid"), 64, "official"),
    "xxs": ("mask_rcnn", make.light_backbone((2, 5, 8, 2), (56, 112, 224, 448), 28), 28, "official"),
    "xs": ("mask_rcnn", make.light_backbone((3, 5, 9, 3), (64, 128, 256, 512), 32), 32, "official"),
}


def attention_of(backbone):
    if backbone["type"] == "UniFormer_Light":
        return []
    return ["--attention", "window" if backbone["windows"] else "hybrid" if backbone["hybrid"] else "global"]


def figures(error, scale):
    error = np.abs(np.asarray(error, np.float64)).ravel() / max(scale, 1e-30)
    return "-" if error.size == 0 else f"{error.max():.1e} | {error.mean():.1e} | {np.median(error):.1e}"


def match(have, want, classes=None):
    """Pairs (i, j) of rows that are the same box: near, of the same class, each once."""
    used, pairs = set(), []
    limit = 1e-4 * max(np.abs(want).max(initial=0), 1)
    for i, box in enumerate(have):
        d = np.abs(want - box).max(1, initial=0)
        if classes is not None:
            d[classes[0][i] != classes[1]] = np.inf
        near = [j for j in np.flatnonzero(d <= limit) if j not in used]
        if near:
            j = min(near, key=lambda j: d[j] + abs(i - j) * 1e-9)
            used.add(j)
            pairs.append((i, j))
    return np.array(pairs, int).reshape(-1, 2)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("checkout")
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("which", nargs="?", default="narrow", choices=["narrow", "full"])
    p.add_argument("--sizes")
    p.add_argument("--kinds")
    a = p.parse_args()
    models = make.official(a.checkout)
    kinds = NARROW if a.which == "narrow" else FULL
    sizes = a.sizes or ("64x64,65x97,100x333,224x224,257x640,511x383,800x1216,1533x1535" if a.which == "narrow" else "224x320,480x633")
    print("| detector | size | tensor | matched | max / scale | mean / scale | median / scale |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name in (a.kinds or ",".join(kinds)).split(","):
        kind, backbone, head_dim, heads = kinds[name]
        wide = a.which == "full"
        net = make.detector(models, kind, backbone, 256 if wide else 16, 1024 if wide else 32, 80 if wide else 5, 5, heads)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            make.save(net, folder / "x.pth")
            subprocess.run([a.build / "tenon", "build", folder / "x.pth", "-q", "-o", folder / "x.plan", "--head-dim", str(head_dim), *attention_of(backbone)], check=True)
            plan = Plan(a.build / "src" / "api" / "libtenon.so", folder / "x.plan")
            for size in sizes.split(","):
                compare(plan, net, name, *map(int, size.split("x")))


def compare(plan, net, name, height, width):
    image = make.picture(height + width, height, width)
    want, seen = make.answers(net, image)
    names = {f"level{i}": f"neck.fpn_convs.{i}.conv" for i in range(4)} | {"proposals": "rpn_head.proposals"}
    have, steps = plan.run(image.numpy(), names.values())
    row = lambda tensor, matched, error, scale: print(f"| {name} | {height}x{width} | {tensor} | {matched} | {figures(error, scale)} |", flush=True)
    for key, value in names.items():
        if key != "proposals":
            both = [x - seen[key] for x in (steps[value], steps[value].transpose(0, 3, 1, 2)) if x.shape == seen[key].shape]
            row(key, "", min(both, key=lambda x: np.abs(x).max()), np.abs(seen[key]).max())
    x, y = steps[names["proposals"]], seen["proposals"][:, :4]
    m = match(x, y)
    row("proposals", f"{len(m)} of {len(y)} ({len(x)})", x[m[:, 0]] - y[m[:, 1]], max(height, width))
    m = match(have["boxes"], want["boxes"], (have["labels"], want["labels"]))
    for key, scale in (("boxes", max(height, width)), ("scores", 1.0), ("masks", 1.0)):
        row(key, f"{len(m)} of {len(want['scores'])} ({len(have['scores'])})", have[key][m[:, 0]] - want[key][m[:, 1]], scale)


if __name__ == "__main__":
    main()
