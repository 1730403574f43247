#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a small UniFormer-light classifier on pictures that it renders while training, and judges it on pictures of other objects.

    train.py --output DIR [--minutes 7] [--device cuda]      in: nothing; out: the files that README.md lists
    train.py --output DIR --judge                            judges DIR's checkpoint again

torch and numpy are all it needs.
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vision"))
import render
import shapes
import uniformer

NAMES = list(shapes.KINDS) + list(shapes.TEXTURES)
# Depths, widths and heads of the official XXS; the feed-forward parts are half as wide, so that float16 weights stay under 15 MB.
NET = dict(depth=(2, 5, 8, 2), dim=(56, 112, 224, 448), head_dim=28, ratio=1.5)
HELD_OUT_SEED = 900001


def drawn_size(size):
    """The official evaluation cuts the middle out of pictures of this size; so we draw these, and cut."""
    return size * 256 // 224


def middle(x, size):
    at = (x.shape[-1] - size) // 2
    return x[..., at:at + size, at:at + size]


def held_out(count, size, device):
    """Whole pictures, and labels: the same for the same version of torch and kind of device."""
    r = render.Renderer(shapes.KINDS, 256, HELD_OUT_SEED, device)
    parts = [r.classes(min(64, count - i), drawn_size(size)) for i in range(0, count, 64)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


@torch.no_grad()
def judge(net, x, label, size, dtype=None):
    """Top-1, top-5, top-1 of each class, mean cross entropy"""
    net.eval()
    logits = []
    for i in range(0, x.shape[0], 128):
        with torch.autocast(x.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits.append(net(uniformer.normalised(middle(x[i:i + 128], size))).float())
    logits = torch.cat(logits)
    top = logits.topk(5, 1).indices
    hit = top == label[:, None]
    each = {n: float(hit[label == k, 0].float().mean()) for k, n in enumerate(NAMES) if bool((label == k).any())}
    return dict(top1=float(hit[:, 0].float().mean()), top5=float(hit.any(1).float().mean()), loss=float(F.cross_entropy(logits, label)),
                top1_of_each=each), logits


def train(a, log):
    device = torch.device(a.device)
    cuda = device.type == "cuda"
    torch.manual_seed(a.seed)
    net = uniformer.UniFormerLight(classes=len(NAMES), **NET).to(device)
    log("parameters", sum(p.numel() for p in net.parameters()), "classes", len(NAMES), "torch", torch.__version__, "on",
        torch.cuda.get_device_name() if cuda else "cpu")
    opt = uniformer.optimizer(net, a.lr, .05)
    average = uniformer.Average(net)
    r = render.Renderer(shapes.KINDS, a.pool, a.seed, device)
    start, step, drawing, sums = time.time(), 0, 0., torch.zeros(2, device=device)
    limit = a.minutes * 60
    while True:
        t = time.time()
        if t - start >= limit or (a.steps and step >= a.steps):
            break
        x, y = r.classes(a.batch, drawn_size(a.size))
        x = middle(x, a.size)
        if cuda and step % 50 == 0:
            torch.cuda.synchronize()
            drawing = time.time() - t
        for group in opt.param_groups:
            group["lr"] = a.lr * uniformer.rate((t - start) / limit)
        net.train()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=cuda):
            one, two = net(uniformer.normalised(x))
        loss = F.cross_entropy(one.float(), y, label_smoothing=.05) + .3 * F.cross_entropy(two.float(), y, label_smoothing=.05)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.)
        opt.step()
        average.update(net)
        sums += torch.stack([loss.detach(), (one.argmax(1) == y).float().mean()])
        step += 1
        if step % 50 == 0 or step == 1:
            n = 1 if step == 1 else 50 if step > 50 else 49
            m = (sums / n).tolist()
            sums.zero_()
            log(f"step {step}: loss {m[0]:.4f}, top-1 {m[1]:.4f}, {step * a.batch / (time.time() - start):.0f} pictures/s, "
                f"drawing {drawing * 1e3:.0f} ms")
    return average.state, dict(steps=step, batch=a.batch, seconds=round(time.time() - start, 1), pictures=step * a.batch)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--output", required=True)
    ap.add_argument("--minutes", type=float, default=7, help="of training; judging comes after")
    ap.add_argument("--steps", type=int, default=0, help="stop after so many")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--size", type=int, default=224, help="side of what the network sees, a multiple of 32")
    ap.add_argument("--batch", type=int, default=192)
    ap.add_argument("--lr", type=float, default=1.5e-3)
    ap.add_argument("--pool", type=int, default=1024, help="objects of a kind to draw from")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--held-out", type=int, default=3072)
    ap.add_argument("--samples", type=int, default=8, help="held-out pictures to write as PNG, with a list for tenon classify")
    ap.add_argument("--judge", action="store_true", help="no training")
    a = ap.parse_args()
    os.makedirs(os.path.join(a.output, "samples"), exist_ok=True)
    path = lambda *p: os.path.join(a.output, *p)
    log = uniformer.Log(path("judge.log" if a.judge else "train.log"))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    report = {}
    if not a.judge:
        state, report = train(a, log)
        uniformer.write_safetensors(path("model.safetensors"), uniformer.rounded(state), {"format": "pt"})
        with open(path("labels.txt"), "w") as f:
            f.write("".join(n + "\n" for n in NAMES))
        log("checkpoint written:", os.path.getsize(path("model.safetensors")), "bytes")
    net = uniformer.UniFormerLight(classes=len(NAMES), **NET).to(a.device)
    lacking = net.load_state_dict(uniformer.read_safetensors(path("model.safetensors")), strict=False)
    if lacking.unexpected_keys or any("num_batches" not in k for k in lacking.missing_keys):
        raise SystemExit(f"checkpoint does not fit: {lacking}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    x, y = held_out(a.held_out, a.size, a.device)
    judged = {}
    types = {"fp32": None, "bf16": torch.bfloat16}
    if a.device.startswith("cuda"):
        types["fp16"] = torch.float16
    for name, dtype in types.items():
        judged[name], logits = judge(net, x, y, a.size, dtype)
        log(name, {k: v for k, v in judged[name].items() if k != "top1_of_each"})
        if name == "fp32":
            exact = logits
    n = min(a.samples, len(y))
    lines = []
    for i in range(n):
        file = f"{i:02d}-{NAMES[int(y[i])]}.png"
        render.write_png(path("samples", file), x[i].permute(1, 2, 0).cpu().numpy())
        lines.append(f"{file}\t{int(y[i])}\n")
    with open(path("samples", "list.tsv"), "w") as f:
        f.writelines(lines)
    np.savez(path("samples.npz"), logits=exact[:n].cpu().numpy(), labels=y[:n].cpu().numpy())
    report |= dict(recipe="tools/train/classes", network=NET, size=a.size, classes=len(NAMES), seed=a.seed, lr=a.lr, pool=a.pool,
                   parameters=sum(p.numel() for p in net.parameters()), held_out=dict(pictures=len(y), seed=HELD_OUT_SEED, **judged),
                   torch=torch.__version__, numpy=np.__version__, device=torch.cuda.get_device_name() if a.device.startswith("cuda") else "cpu")
    with open(path("judge.json" if a.judge else "report.json"), "w") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
    log("done")


if __name__ == "__main__":
    main()
