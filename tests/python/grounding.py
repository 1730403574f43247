# SPDX-License-Identifier: Apache-2.0
"""What the tests of tenon ground share: a model small enough to be computed by hand, pictures' regions in every layout, and the authors' arithmetic."""
import base64
import json
import pickle

import numpy as np

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("abcdefghijklmnopqrstuvw") + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"]
VOCAB += ["man", "woman", "red", "left", "right", "shirt"]
PHRASES = ["man in red shirt", "the woman, left!", "RIGHT MAN", "left", "a very long phrase about a man with a red shirt and a woman on the right of the table",
           "Ma\u0301n"]


def toy(path, width=6, tokens="tokens", regions="regions", batch="batch", names=("input_ids", "features", "spatials", "segment_ids", "input_mask", "image_mask"), scale=1 / 50):
    """vision_logit = features a + spatials b + scale x sum of (position + 1) id mask, and - 10000 where there is no region."""
    import onnx
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    ids, features, spatials, segments, mask, image_mask = names
    a, b = weights(width)
    value = helper.make_tensor_value_info
    node = helper.make_node
    consts = [numpy_helper.from_array(x, n) for n, x in (("a", a), ("b", b), ("one", np.int64([1])), ("two", np.int64(1)), ("zero", np.int64(0)), ("axes2", np.int64([1, 2])),
                                                         ("axis1", np.int64([1])), ("axis2", np.int64([2])), ("big", np.float32(10000)), ("scale", np.float32(scale)), ("unit", np.float32(1)))]
    graph = helper.make_graph(
        [node("MatMul", [features, "a"], ["fa"]), node("MatMul", [spatials, "b"], ["sb"]), node("Add", ["fa", "sb"], ["fs"]),
         node("Mul", [ids, mask], ["im"]), node("Add", ["im", segments], ["ims"]), node("Cast", ["ims"], ["imf"], to=T.FLOAT), node("CumSum", ["imf", "two"], ["cum"], reverse=1),
         node("ReduceSum", ["cum", "axis1"], ["text"], keepdims=1), node("Mul", ["text", "scale"], ["scaled"]), node("Unsqueeze", ["scaled", "axis1"], ["text3"]),
         node("Add", ["fs", "text3"], ["raw"]), node("Cast", [image_mask], ["rm"], to=T.FLOAT), node("Sub", ["rm", "unit"], ["rm1"]), node("Mul", ["rm1", "big"], ["rmb"]),
         node("Unsqueeze", ["rmb", "axis2"], ["rm3"]), node("Add", ["raw", "rm3"], ["vision_logit"])],
        "toy",
        [value(ids, T.INT64, [batch, tokens]), value(features, T.FLOAT, [batch, regions, width]), value(spatials, T.FLOAT, [batch, regions, 5]),
         value(segments, T.INT64, [batch, tokens]), value(mask, T.INT64, [batch, tokens]), value(image_mask, T.INT64, [batch, regions])],
        [value("vision_logit", T.FLOAT, [batch, regions, 1])], consts)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def weights(width):
    rng = np.random.default_rng(3)
    return rng.standard_normal((width, 1)).astype(np.float32), rng.standard_normal((5, 1)).astype(np.float32)


def pictures(count=20, width=6, most=15, seed=5):
    """id -> a dictionary as the authors' extract_features.py makes it (names as in their LMDB)."""
    rng = np.random.default_rng(seed)
    out = {}
    for i in range(count):
        n, w, h = int(rng.integers(1, most)), int(rng.integers(50, 700)), int(rng.integers(50, 700))
        corner = rng.random((n, 2)) * 0.7
        boxes = (np.concatenate([corner, corner + rng.random((n, 2)) * 0.3], 1) * [w, h, w, h]).astype(np.float32)
        features = np.maximum(rng.standard_normal((n, width)), 0).astype(np.float32)
        out[str(1000 + i)] = dict(image_id=1000 + i, image_h=h, image_w=w, num_boxes=n, boxes=boxes, features=features)
    return out


def base64_form(p):
    """How convert_h5_refcoco.py stores a row: everything is text."""
    return {k: base64.b64encode(v.tobytes()) if isinstance(v, np.ndarray) else str(v) for k, v in p.items()}


def save_npz(folder, pics):
    folder.mkdir(exist_ok=True)
    for i, p in pics.items():
        np.savez(folder / f"{i}.npz", features=p["features"], boxes=p["boxes"], num_boxes=p["num_boxes"], image_h=p["image_h"], image_w=p["image_w"])
    return folder


def save_npy(folder, pics):
    folder.mkdir(exist_ok=True)
    for i, p in pics.items():
        np.save(folder / f"{i}.npy", dict(image_id=i, features=p["features"], bbox=p["boxes"], num_boxes=p["num_boxes"], image_height=p["image_h"], image_width=p["image_w"],
                                          objects=np.arange(p["num_boxes"]), cls_prob=p["features"] / 7))
    return folder


def save_info(folder, pics):
    """Features alone, and the rest in ID_info.npy."""
    folder.mkdir(exist_ok=True)
    for i, p in pics.items():
        np.save(folder / f"{i}.npy", p["features"])
        np.save(folder / f"{i}_info.npy", dict(bbox=p["boxes"], num_boxes=p["num_boxes"], image_height=p["image_h"], image_width=p["image_w"]))
    return folder


def save_tsv(path, pics):
    with open(path, "w") as f:
        for i, p in pics.items():
            b = base64_form(p)
            f.write("\t".join([i, b["image_w"], b["image_h"], b["num_boxes"], b["boxes"].decode(), b["features"].decode()]) + "\n")
    return path


def save_lmdb(path, pics, form=lambda p: p, **how):
    import lmdb

    env = lmdb.open(str(path), map_size=1 << 28)
    with env.begin(write=True) as t:
        for i, p in pics.items():
            t.put(i.encode(), pickle.dumps(form(p), **how))
        t.put(b"keys", pickle.dumps([i.encode() for i in pics]))
    env.close()
    return path


def phrases(pics, count=60, seed=9, texts=PHRASES):
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        i = str(rng.choice(list(pics)))
        p = pics[i]
        x0, y0, x1, y1 = np.float64(p["boxes"][rng.integers(p["num_boxes"])]) + rng.normal(0, 6, 4)
        out.append(dict(phrase=texts[k % len(texts)], image=i, bbox=[round(float(v), 2) for v in (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))]))
    return out


def rows(p):
    """features, spatials and pixel boxes of one picture, as the authors' reader makes them."""
    f, boxes, w, h = p["features"], p["boxes"], p["image_w"], p["image_h"]
    place = np.zeros((len(boxes), 5), np.float32)
    place[:, :4] = boxes
    place[:, 4] = (place[:, 3] - place[:, 1]) * (place[:, 2] - place[:, 0]) / (float(w) * float(h))
    place[:, :4] /= np.float32([w, h, w, h])
    features = np.concatenate([np.sum(f, axis=0, keepdims=True) / len(f), f])
    return features, np.concatenate([np.float32([[0, 0, 1, 1, 1]]), place]), np.concatenate([np.float32([[0, 0, w, h]]), boxes])


def iou(boxes, truth):
    one = np.float32(1)
    w = np.maximum(np.minimum(boxes[:, 2], truth[2]) - np.maximum(boxes[:, 0], truth[0]) + one, 0)
    h = np.maximum(np.minimum(boxes[:, 3], truth[3]) - np.maximum(boxes[:, 1], truth[1]) + one, 0)
    area = (boxes[:, 2] - boxes[:, 0] + one) * (boxes[:, 3] - boxes[:, 1] + one)
    return w * h / (area + (truth[2] - truth[0] + one) * (truth[3] - truth[1] + one) - w * h)


def toy_logits(p, ids, width=6):
    """Of the toy for one picture and the ids of a phrase, special tokens included."""
    a, b = weights(width)
    f, s, _ = rows(p)
    text = sum((i + 1) * t for i, t in enumerate(ids)) / 50
    return (f @ a + s @ b)[:, 0].astype(np.float64) + text


def evaluate(items, pics, logits):
    """Accuracy and loss; logits: one array an item."""
    right, loss = 0, 0.0
    for item, z in zip(items, logits):
        x, y, w, h = np.float32(item["bbox"]).astype(np.float64)
        x, y, w, h = item["bbox"]
        target = iou(rows(pics[item["image"]])[2][:len(z)], np.float32([x, y, x + w, y + h])).astype(np.float64)
        z = np.asarray(z, np.float64)
        right += bool(target[z.argmax()] > 0.5)
        loss += float((np.maximum(z, 0) - z * target + np.log1p(np.exp(-np.abs(z)))).sum())
    return right, loss / len(items)
