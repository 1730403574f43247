#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a small Mask R-CNN on scenes that it renders while training, and judges it on scenes with other objects.

    train.py --output DIR [--minutes 7] [--device cuda]      in: nothing; out: the files that README.md lists
    train.py --output DIR --judge [--pictures 200]           judges DIR's checkpoint again, and writes that many scenes as PNG
    train.py --output DIR --score                            AP of DIR's answers (needs pycocotools), into report.json

torch and numpy are all that the first two need.
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vision"))
import render
import uniformer
from detector import Detector

NAMES = ("house", "tree", "car", "boat", "fish", "flower", "cup", "bottle", "clock", "umbrella")
NET = dict(depth=(2, 3, 6, 2), dim=(64, 128, 192, 256), head_dim=64, ratio=4)
HEADS = dict(channels=64, fc=256)
HELD_OUT_SEED = 900002
SIDES = (256, 288, 320, 352, 384)


def make(device):
    return Detector(len(NAMES), NET, **HEADS).to(device)


# ---- COCO's files

def rle(mask):
    """bool [height, width] -> COCO's compressed run lengths: runs down the columns, first of zeros; differences to the run before the last"""
    flat = mask.T.reshape(-1).astype(np.int8)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    text = []
    for i, n in enumerate(runs):
        n -= runs[i - 2] if i > 2 else 0
        while True:
            bits, n = n & 31, n >> 5
            more = n != (-1 if bits & 16 else 0)
            text.append(chr((bits | (32 if more else 0)) + 48))
            if not more:
                break
    return dict(size=list(mask.shape), counts="".join(text))


def rect(b):
    x1, y1, x2, y2 = (float(v) for v in b)
    return [round(x1, 3), round(y1, 3), round(x2 - x1, 3), round(y2 - y1, 3)]


def held_out(count, device):
    """Scenes of many sizes, not all multiples of 32: (picture uint8 [3, H, W], boxes, labels, masks)"""
    r = render.Renderer(NAMES, 256, HELD_OUT_SEED, device)
    sizes = np.random.default_rng(HELD_OUT_SEED)
    done = 0
    while done < count:
        h, w = (int(v) for v in sizes.integers(240, 401, 2))
        n = min(4, count - done)
        for one in zip(*r.scenes(n, h, w)):
            yield one
        done += n


@torch.no_grad()
def judge(net, a, log, path):
    """The held-out scenes: ground_truth.json, results-PRECISION.json (boxes and masks), samples/."""
    types = {"fp32": None, "bf16": torch.bfloat16} if a.device.startswith("cuda") else {"fp32": None}
    truth, found, samples, size = dict(images=[], annotations=[], categories=[dict(id=k, name=n) for k, n in enumerate(NAMES, 1)]), {}, [], 0
    net.eval()
    start = time.time()
    for i, (x, boxes, labels, masks) in enumerate(held_out(a.held_out, a.device)):
        if time.time() - start > a.judge_seconds:
            log(f"judging stops after {a.judge_seconds:.0f} s")
            break
        h, w = x.shape[1:]
        file = f"{i:04d}.png"
        truth["images"].append(dict(id=i, file_name=file, height=h, width=w))
        for b, c, m in zip(boxes.cpu(), labels.tolist(), masks.cpu().numpy()):
            if c >= 0:
                truth["annotations"].append(dict(id=len(truth["annotations"]) + 1, image_id=i, category_id=c + 1, bbox=rect(b), area=int(m.sum()),
                                                 iscrowd=0, segmentation=rle(m)))
        padded = torch.zeros(1, 3, -(-h // 32) * 32, -(-w // 32) * 32, device=x.device)
        padded[0, :, :h, :w] = uniformer.normalised(x[None])[0]
        for name, dtype in types.items():
            with torch.autocast(x.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                box, score, kind, mask = net.detect(padded, h, w)
            mask = mask.cpu().numpy()
            found.setdefault(name, []).extend(
                dict(image_id=i, category_id=int(k) + 1, bbox=rect(b), score=round(float(s), 6), segmentation=rle(m))
                for b, s, k, m in zip(box.cpu(), score.cpu(), kind.cpu(), mask))
        folder = "pictures" if a.pictures > i else "samples" if size < a.sample_bytes and not a.judge else None
        if folder:
            os.makedirs(path(folder), exist_ok=True)
            render.write_png(path(folder, file), x.permute(1, 2, 0).cpu().numpy())
            if folder == "samples":
                size += os.path.getsize(path(folder, file))
                samples.append(i)
        if i % 100 == 99:
            log(f"judged {i + 1} scenes, {(time.time() - start) / (i + 1) * 1e3:.0f} ms each, drawing included")
    part = lambda d, ids: dict(d, images=[v for v in d["images"] if v["id"] in ids], annotations=[v for v in d["annotations"] if v["image_id"] in ids])
    tell = lambda name, d: json.dump(d, open(path(name), "w"), separators=(",", ":"))
    tell("ground_truth.json", truth)
    for name, rows in found.items():
        tell(f"results-{name}.json", rows)
    if samples:
        tell("samples/ground_truth.json", part(truth, set(samples)))
        tell("samples/results.json", [v for v in found["fp32"] if v["image_id"] in samples])
    if a.pictures:
        tell("pictures/ground_truth.json", part(truth, set(range(a.pictures))))
    return dict(scenes=len(truth["images"]), objects=len(truth["annotations"]), seed=HELD_OUT_SEED)


def score(path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    with open(path("report.json")) as f:
        report = json.load(f)
    coco = COCO(path("ground_truth.json"))
    for name in ("fp32", "bf16"):
        if not os.path.exists(path(f"results-{name}.json")):
            continue
        found = coco.loadRes(path(f"results-{name}.json"))
        for kind in ("bbox", "segm"):
            e = COCOeval(coco, found, kind)
            e.evaluate()
            e.accumulate()
            e.summarize()
            keys = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")
            report["held_out"].setdefault(name, {})[kind] = {k: round(float(v), 4) for k, v in zip(keys, e.stats)}
    with open(path("report.json"), "w") as f:
        json.dump(report, f, indent=1)
        f.write("\n")


# ---- training

def train(a, log):
    device = torch.device(a.device)
    cuda = device.type == "cuda"
    torch.manual_seed(a.seed)
    net = make(device)
    log("parameters", sum(p.numel() for p in net.parameters()), "classes", len(NAMES), "torch", torch.__version__, "on",
        torch.cuda.get_device_name() if cuda else "cpu")
    opt = uniformer.optimizer(net, a.lr, .05)
    average = uniformer.Average(net)
    r = render.Renderer(NAMES, a.pool, a.seed, device)
    sides = np.random.default_rng(a.seed)
    start, step, drawing, sums, ready = time.time(), 0, 0., {}, []
    limit = a.minutes * 60
    while True:
        t = time.time()
        if t - start >= limit or (a.steps and step >= a.steps):
            break
        if not ready:                                  # a few batches at once, since drawing many costs little more than drawing few
            h, w = (int(v) for v in sides.choice(a.sides, 2))
            ready = list(zip(*(v.split(a.batch) for v in r.scenes(a.batch * a.ahead, h, w))))
            if cuda:
                torch.cuda.synchronize()
            drawing = time.time() - t
        x, boxes, labels, masks = ready.pop()
        for group in opt.param_groups:
            group["lr"] = a.lr * uniformer.rate((t - start) / limit)
        net.train()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=cuda):
            losses = net.losses(uniformer.normalised(x), boxes, labels, masks)
        loss = sum(losses.values())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 5.)
        if bool(torch.isfinite(norm)):
            opt.step()
            average.update(net)
        else:
            log(f"step {step}: the gradient is not finite; left out")
        for k, v in losses.items():
            sums[k] = sums.get(k, 0) + v.detach()
        step += 1
        if step % 50 == 0 or step == 1:
            n = 1 if step == 1 else 50 if step > 50 else 49
            log(f"step {step}:", ", ".join(f"{k} {float(v) / n:.4f}" for k, v in sums.items()),
                f"| {step * a.batch / (time.time() - start):.0f} scenes/s, drawing {a.ahead} batches {drawing * 1e3:.0f} ms")
            sums = {}
    return average.state, dict(steps=step, batch=a.batch, seconds=round(time.time() - start, 1), scenes=step * a.batch)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--output", required=True)
    ap.add_argument("--minutes", type=float, default=7, help="of training; judging comes after")
    ap.add_argument("--steps", type=int, default=0, help="stop after so many")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--sides", type=int, nargs="+", default=SIDES, help="heights and widths while training, multiples of 32")
    ap.add_argument("--batch", type=int, default=24)
    ap.add_argument("--ahead", type=int, default=3, help="batches drawn at once")
    ap.add_argument("--lr", type=float, default=8e-4)
    ap.add_argument("--pool", type=int, default=2048, help="objects of a kind to draw from")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--held-out", type=int, default=400)
    ap.add_argument("--judge-seconds", type=float, default=100, help="leave held-out scenes out after so long")
    ap.add_argument("--sample-bytes", type=int, default=900000, help="write held-out scenes to samples/ until so many")
    ap.add_argument("--pictures", type=int, default=0, help="write so many held-out scenes to pictures/, with their ground truth")
    ap.add_argument("--judge", action="store_true", help="no training")
    ap.add_argument("--score", action="store_true", help="no training, no answers: AP of those there")
    a = ap.parse_args()
    path = lambda *p: os.path.join(a.output, *p)
    if a.score:
        return score(path)
    os.makedirs(a.output, exist_ok=True)
    log = uniformer.Log(path("judge.log" if a.judge else "train.log"))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    report = {}
    if a.judge:
        with open(path("report.json")) as f:
            report = json.load(f)
    else:
        state, report = train(a, log)
        uniformer.write_safetensors(path("model.safetensors"), uniformer.rounded(state), {"format": "pt"})
        with open(path("labels.txt"), "w") as f:
            f.write("".join(n + "\n" for n in NAMES))
        log("checkpoint written:", os.path.getsize(path("model.safetensors")), "bytes")
    net = make(a.device)
    lacking = net.load_state_dict(uniformer.read_safetensors(path("model.safetensors")), strict=False)
    if lacking.unexpected_keys or any("num_batches" not in k for k in lacking.missing_keys):
        raise SystemExit(f"checkpoint does not fit: {lacking}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    report |= dict(recipe="tools/train/scenes", network=NET, heads=HEADS, classes=len(NAMES), seed=a.seed, lr=a.lr, pool=a.pool, sides=list(a.sides),
                   parameters=sum(p.numel() for p in net.parameters()), torch=torch.__version__, numpy=np.__version__,
                   device=torch.cuda.get_device_name() if a.device.startswith("cuda") else "cpu")
    report["held_out"] = judge(net, a, log, path)
    with open(path("report.json"), "w") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
    log("done")


if __name__ == "__main__":
    main()
