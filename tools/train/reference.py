# SPDX-License-Identifier: Apache-2.0
"""The shipped small models in PyTorch, float32 on the CPU: what other implementations of them are checked against.

One kind (classes, scenes, forms, phrases) a process, because the recipes' modules share names: call use(kind) first, then the
functions of that kind. `folder` is a model's folder (models/NAME); pictures are read as files of PNG or JPEG.
"""
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = dict(classes="uniformer-tiny-shapes", scenes="mask-rcnn-tiny-scenes", forms="layoutlmv3-tiny-forms", phrases="vilbert-tiny-scenes")


def use(kind):
    """Puts the recipe's folder first; returns its module of training (classes, scenes) or evaluation."""
    sys.path[:0] = [os.path.join(HERE, kind)] + ([os.path.join(HERE, "vision")] if kind in ("classes", "scenes") else [])
    return importlib.import_module("train" if kind in ("classes", "scenes") else "evaluate")


def planes(path):
    """uint8 [3, height, width]"""
    import numpy as np
    import torch
    from PIL import Image
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def load(net, folder):
    import uniformer
    lacking = net.load_state_dict(uniformer.read_safetensors(os.path.join(folder, "model.safetensors")), strict=False)
    if lacking.unexpected_keys or any("num_batches" not in k for k in lacking.missing_keys):
        raise SystemExit(f"{folder}: the checkpoint does not fit: {lacking}")
    return net.eval()


def classes(recipe, folder, files):
    """Logits [n, classes] of pictures of 256 x 256"""
    import torch
    import uniformer
    net = load(uniformer.UniFormerLight(classes=len(recipe.NAMES), **recipe.NET), folder)
    with torch.no_grad():
        x = [recipe.middle(uniformer.normalised(planes(f)[None]), 224) for f in files]
        return torch.cat([net(torch.cat(x[i:i + 16])) for i in range(0, len(x), 16)]).numpy()


def scenes(recipe, folder, files):
    """COCO's results of pictures [(image id, file)], as train.py writes them"""
    import torch
    import uniformer
    net, rows = load(recipe.make("cpu"), folder), []
    for i, f in files:
        x = planes(f)
        h, w = x.shape[1:]
        padded = torch.zeros(1, 3, -(-h // 32) * 32, -(-w // 32) * 32)
        padded[0, :, :h, :w] = uniformer.normalised(x[None])[0]
        rows += [dict(image_id=i, category_id=int(k) + 1, bbox=recipe.rect(b), score=round(float(s), 6), segmentation=recipe.rle(m))
                 for b, s, k, m in zip(*(t.numpy() for t in net.detect(padded, h, w)))]
    return rows


def coco_score(truth, results):
    """What pycocotools makes of them: {"boxes": the twelve numbers, "masks": ...}"""
    import contextlib
    import io
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    out = {}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(truth)
        found = coco.loadRes(results)
        for name, kind in (("boxes", "bbox"), ("masks", "segm")):
            e = COCOeval(coco, found, kind)
            e.evaluate()
            e.accumulate()
            e.summarize()
            out[name] = [float(v) for v in e.stats]
    return out


def forms(recipe, folder, pages):
    """A page [(label of FUNSD's rule, probability) of each word in the annotation's order], of [(picture, items, size)]; and the recipe's score."""
    import torch
    model, encoder, out, pairs = recipe.load(folder), recipe.Encoder(folder), [], []
    for image, items, size in pages:
        page, shown = [], torch.from_numpy(recipe.picture(image).copy()).float().div(127.5).sub(1)[None, None].expand(-1, 3, -1, -1)
        for ids, boxes, labels in encoder.windows(items, size):
            t = lambda v: torch.from_numpy(v.astype("int64"))[None]
            with torch.no_grad():
                p = model(input_ids=t(ids), bbox=t(boxes), pixel_values=shown, attention_mask=torch.ones(1, len(ids), dtype=torch.int64)).logits[0].softmax(-1)
            best = p.max(-1)
            kept = [i for i, label in enumerate(labels) if label >= 0]
            guess = [recipe.LABELS[int(best.indices[i])] for i in kept]
            pairs.append(([recipe.LABELS[labels[i]] for i in kept], guess))
            page += zip(guess, (float(best.values[i]) for i in kept))
        out.append(page)
    return out, recipe.score(pairs)


def phrases(recipe, folder, seeds, save=None):
    """Rendered scenes: index as `tenon ground` reads it (with the row answered and its IoU), logits by scene, the recipe's score. save: a folder for regions."""
    import random
    import torch
    import scenes as drawn
    net, wordpiece = recipe.load(folder)
    index, logits, packs, texts = [], {}, [], []
    for i, seed in enumerate(seeds):
        scene, boxes, said = drawn.sample(random.Random(seed))
        packs.append(recipe.pack(scene, boxes, said, wordpiece))
        texts.append([t for t, _ in said])
        *x, target = recipe.inputs(packs[-1:], "cpu")
        with torch.no_grad():
            z = net(*x)
        rows = drawn.save(save, f"scene-{i:03d}", scene, boxes, said)
        for r, a, t in zip(rows, z, target):
            r.update(row=int(a.argmax()), iou=round(float(t[a.argmax()]), 4))
        logits[f"scene-{i:03d}"] = z[:, :packs[-1][2]].numpy()
        index += rows
    return index, logits, recipe.score(net, packs, texts, "cpu")
