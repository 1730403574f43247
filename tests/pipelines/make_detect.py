#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/pipelines/data/detect: what OpenCV, PyTorch and pycocotools make of small inputs, and two tiny detectors.

Needs numpy, opencv-python-headless, torch, pycocotools and onnx; run once, the results are committed.

    resize.npz       picture<i> [h, w, 3] uint8 and resized<i> [H, W, 3]: cv2.resize, INTER_LINEAR; planes: the normalisation of mmcv.imnormalize
    paste.npz        mask<i> [m, m], box<i> [4], size<i> [2] height and width, pasted<i> [h, w] bool: FCNMaskHead's arithmetic with grid_sample
    annotations.json, results.json, masks.json, expected.json: COCO's files, and pycocotools' numbers of them
    shapes.json      polygons and run lengths with what pycocotools makes of them
    detector.onnx    boxes, scores, labels, masks as an mmdet plan has them; torchvision.onnx: as torchvision exports them
"""
import contextlib
import io
import json
import pathlib

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as pymask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

OUT = pathlib.Path(__file__).parent / "data" / "detect"
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def resizes(rng) -> None:
    sizes = [(32, 24, 53, 40), (24, 32, 40, 53), (80, 60, 53, 40), (32, 24, 16, 12), (32, 24, 64, 48), (1, 1, 40, 40), (7, 5, 56, 40), (100, 3, 133, 4),
             (2, 2, 1, 1), (41, 37, 44, 40), (200, 10, 133, 7), (31, 17, 31, 34), (31, 17, 62, 17), (45, 45, 15, 15)]
    out = {}
    for i, (w, h, nw, nh) in enumerate(sizes):
        picture = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        out[f"picture{i}"] = picture
        out[f"resized{i}"] = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
    x = out["picture0"].astype(np.float32)
    cv2.subtract(x, np.float64([[123.675, 116.28, 103.53]]), x)
    cv2.multiply(x, 1 / np.float64([[58.395, 57.12, 57.375]]), x)
    out["planes"] = x.transpose(2, 0, 1)
    np.savez_compressed(OUT / "resize.npz", **out)


def paste(mask, box, height, width):
    """A mask on a picture as mmdet pastes it on a CPU: bilinear in the region that the box can reach."""
    mask, box = torch.from_numpy(mask), torch.from_numpy(box)
    x0, y0 = (int(v) for v in torch.clamp(box[:2].floor() - 1, min=0))
    x1, y1 = max(x0, int(torch.clamp(box[2].ceil() + 1, max=width))), max(y0, int(torch.clamp(box[3].ceil() + 1, max=height)))
    gx = (torch.arange(x0, x1, dtype=torch.float32) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    gy = (torch.arange(y0, y1, dtype=torch.float32) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    gx[torch.isinf(gx)] = 0
    gy[torch.isinf(gy)] = 0
    grid = torch.stack([gx[None, :].expand(len(gy), len(gx)), gy[:, None].expand(len(gy), len(gx))], 2)
    got = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
    out = np.zeros((height, width), bool)
    out[y0:y1, x0:x1] = (got >= 0.5).numpy()
    return out


def pastes(rng) -> None:
    out = {}
    cases = [(28, (5.3, 7.9, 60.2, 44.4)), (28, (-10.5, -3.2, 30.1, 20.8)), (28, (50.0, 30.0, 95.7, 70.3)), (28, (10.2, 10.1, 14.9, 13.3)), (28, (0, 0, 80, 60)),
             (14, (20.4, 5.5, 21.1, 50.5)), (7, (3.3, 40.2, 70.9, 41.0)), (28, (12.5, 12.5, 12.5, 40.0)), (28, (100, 10, 120, 30)), (3, (1.5, 1.5, 78.5, 58.5))]
    for i, (m, box) in enumerate(cases):
        smooth = cv2.GaussianBlur(rng.random((m, m)).astype(np.float32), (0, 0), m / 12 + 0.3)
        mask = 1 / (1 + np.exp(-(smooth - smooth.mean()) / (smooth.std() + 1e-6) * 3)).astype(np.float32)
        box = np.float32(box)
        out.update({f"mask{i}": mask, f"box{i}": box, f"size{i}": np.int64([60, 80]), f"pasted{i}": paste(mask, box, 60, 80)})
    np.savez_compressed(OUT / "paste.npz", **out)


def polygon(rng, w, h, corners=None):
    n = corners or int(rng.integers(3, 12))
    angle = np.sort(rng.random(n)) * 2 * np.pi
    r = rng.random(n) * 0.5 * min(w, h) + 1
    x, y = rng.random() * w + r * np.cos(angle), rng.random() * h + r * np.sin(angle)
    return [round(float(v), 2) for v in np.stack([x, y], 1).ravel()]


def scene(rng, n_images=14, n_categories=4):
    """Annotations with polygons, run lengths of both kinds, crowds; results near them, with ties, many on some images, none on others."""
    images, annotations, results = [], [], []
    for i in range(n_images):
        w, h = int(rng.integers(40, 240)), int(rng.integers(40, 240))
        images.append({"id": 1000 - 7 * i, "width": w, "height": h, "file_name": f"picture{i}.png"})
        for _ in range(0 if i % 5 == 4 else int(rng.integers(1, 9))):
            crowd = int(rng.random() < 0.12)
            parts = [polygon(rng, w, h) for _ in range(int(rng.integers(1, 4)))]
            rle = pymask.merge(pymask.frPyObjects(parts, h, w))
            kind, segmentation = rng.random(), parts
            if crowd or kind < 0.2:
                bits = pymask.decode(rle).ravel("F")
                edges = np.flatnonzero(np.diff(bits)) + 1
                runs = np.diff(np.concatenate([[0], edges, [len(bits)]]))
                segmentation = {"size": [h, w], "counts": [int(v) for v in (runs if bits[0] == 0 else np.concatenate([[0], runs]))]}
            elif kind < 0.35:
                segmentation = {"size": [h, w], "counts": rle["counts"].decode()}
            box = [float(v) for v in pymask.toBbox(rle)]
            annotations.append({"id": 5 + 3 * len(annotations), "image_id": images[-1]["id"], "category_id": int(rng.integers(1, n_categories + 1)) * 3, "iscrowd": crowd,
                                "bbox": box, "area": float(pymask.area(rle)) if rng.random() < 0.8 else round(float(rng.random() * 20000), 2), "segmentation": segmentation})
    truth = COCO()
    truth.imgs = {image["id"]: image for image in images}
    for i, image in enumerate(images):
        w, h = image["width"], image["height"]
        near, a = [a for a in annotations if a["image_id"] == image["id"]], None
        for _ in range(130 if i == 2 else int(rng.integers(0, 25)) if i % 4 else 0):
            if near and rng.random() < 0.7:
                a = near[int(rng.integers(len(near)))]
                x, y, bw, bh = (float(v) + float(rng.normal()) * 0.04 * max(a["bbox"][2:]) for v in a["bbox"])
                category = a["category_id"]
            else:
                x, y, bw, bh = float(rng.random() * w), float(rng.random() * h), float(rng.random() * w), float(rng.random() * h)
                category = int(rng.integers(1, n_categories + 2)) * 3
            box = [round(v, 2) for v in (x, y, max(bw, 0.5), max(bh, 0.5))]
            corners = [box[0], box[1], box[0] + box[2], box[1] + rng.random() * box[3] * 0.2, box[0] + box[2], box[1] + box[3], box[0], box[1] + box[3]]
            rle = pymask.frPyObjects([corners], h, w)[0]
            if a is not None and category == a["category_id"] and rng.random() < 0.7:
                moved = np.roll(pymask.decode(truth.annToRLE(a)), rng.integers(-2, 3, 2), (0, 1))
                rle = pymask.encode(np.asfortranarray(moved))
            results.append({"image_id": image["id"], "category_id": category, "score": round(float(rng.random()), 1 if rng.random() < 0.5 else 3), "bbox": box,
                            "segmentation": {"size": [h, w], "counts": rle["counts"].decode()}})
    order = rng.permutation(len(results))
    categories = [{"id": 3 * (i + 1), "name": f"kind {i}"} for i in range(n_categories + 1)]
    return {"images": images, "annotations": annotations, "categories": categories[::-1]}, [results[i] for i in order]


def numbers(annotations, results, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(annotations))
        truth.createIndex()
        e = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), kind)
        e.evaluate()
        e.accumulate()
        e.summarize()
    return dict(zip(NAMES, map(float, e.stats)))


def coco(rng) -> None:
    annotations, results = scene(rng)
    masks = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
    expected = {"results": {"boxes": numbers(annotations, results, "bbox"), "masks": numbers(annotations, results, "segm")},
                "masks": {"boxes": numbers(annotations, masks, "bbox"), "masks": numbers(annotations, masks, "segm")}}
    for name, value in (("annotations", annotations), ("results", results), ("masks", masks), ("expected", expected)):
        (OUT / f"{name}.json").write_text(json.dumps(value, separators=(",", ":")))


def shapes(rng) -> None:
    out = []
    for i in range(60):
        w, h = int(rng.integers(1, 50)), int(rng.integers(1, 50))
        p = polygon(rng, w, h)
        if i % 6 == 1:
            p = [float(round(v)) for v in p]
        elif i % 6 == 2:
            p += p[:4] + p[:2]  # walks over its own line, and a corner twice
        elif i % 6 == 3:
            p = [round(v * 3 - 20, 1) for v in p]  # far outside
        elif i % 6 == 4:
            p = [round(v * 2) / 2 for v in p]
        rle = pymask.frPyObjects([p], h, w)[0]
        out.append({"size": [h, w], "polygon": p, "counts": rle["counts"].decode(), "area": int(pymask.area(rle)), "box": [float(v) for v in pymask.toBbox(rle)]})
    (OUT / "shapes.json").write_text(json.dumps(out, separators=(",", ":")))


def models(rng) -> None:
    import onnx
    from onnx import TensorProto as T, helper as H, numpy_helper as N

    def node(op, ins, outs, **kw):
        return H.make_node(op, ins, outs, name=outs[0], **kw)

    def const(name, value):
        return N.from_array(np.asarray(value), name)

    share = np.float32([[0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.9, 0.95], [0, 0, 1, 1], [0.5, 0.1, 0.7, 0.2]])
    masks = (rng.random((4, 7, 7)) * 0.6 + 0.2).astype(np.float32)
    # score 2 is how bright the picture's red is; score 3 is too low and left out, so that the number of boxes is known only when the plan runs
    scores = np.float32([0.9, 0.4, 0, 0.05])
    for name, dims, labels in (("detector", [1, 3, "height", "width"], [17, 2, 0, 5]), ("torchvision", [3, "height", "width"], [18, 3, 1, 6])):
        r = len(dims)
        values = "image" if name == "detector" else "input"
        nodes = [node("Shape", [values], ["shape"]), node("Gather", ["shape", "sides"], ["sides_i"]), node("Cast", ["sides_i"], ["sides_f"], to=T.FLOAT),
                 node("Mul", ["share", "sides_f"], ["all_boxes"]), node("ReduceMean", [values], ["bright"], axes=list(range(r - 2, r)), keepdims=0),
                 node("Reshape", ["bright", "three"], ["bright3"]), node("Gather", ["bright3", "zero"], ["red"]), node("Sigmoid", ["red"], ["red1"]), node("Mul", ["red1", "third"], ["added"]),
                 node("Add", ["base", "added"], ["all_scores"]), node("Greater", ["all_scores", "least"], ["good"]), node("NonZero", ["good"], ["at2"]),
                 node("Squeeze", ["at2", "axis0"], ["at"]), node("Gather", ["all_boxes", "at"], ["boxes"]), node("Gather", ["all_scores", "at"], ["scores"]),
                 node("Gather", ["all_labels", "at"], ["labels"]), node("Gather", ["all_masks", "at"], ["masks"])]
        m = masks if name == "detector" else masks[:, None]
        inits = [const("sides", np.int64([r - 1, r - 2, r - 1, r - 2])), const("share", share), const("three", np.int64([3])), const("zero", np.int64(0)),
                 const("third", np.float32([0, 0, 1, 0])), const("base", scores), const("least", np.float32(0.1)), const("axis0", np.int64([0])),
                 const("all_labels", np.int64(labels)), const("all_masks", m)]
        order = ["boxes", "scores", "labels", "masks"] if name == "detector" else ["boxes", "labels", "scores", "masks"]
        kinds = {"boxes": (T.FLOAT, ["n", 4]), "scores": (T.FLOAT, ["n"]), "labels": (T.INT64, ["n"]), "masks": (T.FLOAT, ["n", *m.shape[1:]])}
        graph = H.make_graph(nodes, name, [H.make_tensor_value_info(values, T.FLOAT, dims)], [H.make_tensor_value_info(o, *kinds[o]) for o in order], inits)
        onnx.save(H.make_model(graph, opset_imports=[H.make_opsetid("", 17)], ir_version=8), OUT / f"{name}.onnx")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for i, make in enumerate((resizes, pastes, coco, shapes, models)):
        make(np.random.default_rng(100 + i))


if __name__ == "__main__":
    main()
