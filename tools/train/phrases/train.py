#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 2: train ViLBERT-tiny on rendered scenes with phrases and write the checkpoint folder.

    train.py --output FOLDER [--minutes 7] [--procs 4] [--seed 1]

FOLDER gets config.json (fields of the authors' bert_base_6layer_6conect.json), model.safetensors (the authors' names, float16),
vocab.txt, report.json, train.log, and samples/: held-out scenes with regions (.npz), phrases.json and the logits of this
network.  --minutes is the whole program: processes render without end, the trainer draws from the scenes that have come so
far and stops in time for the evaluation.  Loss as the authors': BCE with the IoU as its target, 0 below 0.5, mean x rows.
"""
import argparse
import json
import math
import multiprocessing as mp
import os
import platform
import queue
import random
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import evaluate
import model as network
import scenes
from evaluate import EVAL_SEED, ROWS

CHUNK = 25


def renderer(out, worker, procs, seed, n_eval):
    """A process: its share of the evaluation's scenes, then scenes without end."""
    try:
        wordpiece = network.WordPiece(network.vocabulary())
        out.put(("eval", evaluate.collect(range(EVAL_SEED + worker, EVAL_SEED + n_eval, procs), wordpiece)))
        k = 0
        while True:
            first = (seed * 1000 + worker) * 10**9 + k
            out.put(("train", evaluate.collect(range(first, first + CHUNK), wordpiece)[0]))
            k += CHUNK
    except Exception as e:                                 # told to the trainer, which stops
        out.put(("error", f"renderer {worker}: {type(e).__name__}: {e}"))


class Pool:
    """Scenes on the device; the oldest are overwritten when it is full."""

    def __init__(self, limit, device, phrases=4):
        z = lambda shape, kind: torch.zeros(shape, dtype=kind, device=device)
        self.limit, self.device, self.made, self.phrases = limit, device, 0, phrases
        self.f, self.l, self.n = z((limit, ROWS, scenes.FEATURES), torch.float16), z((limit, ROWS, 5), torch.float32), z((limit,), torch.int64)
        self.ids, self.target = z((limit, phrases, network.LENGTH), torch.int16), z((limit, phrases, ROWS), torch.float32)

    def add(self, packs):
        m = [np.arange(self.phrases) % len(p[3]) for p in packs]      # a scene with fewer phrases has them again
        at = (torch.arange(len(packs)) + self.made) % self.limit
        put = lambda to, x: to.__setitem__(at.to(self.device), torch.from_numpy(np.stack(x)).to(self.device, to.dtype))
        put(self.f, [p[0] for p in packs])
        put(self.l, [p[1] for p in packs])
        put(self.n, [np.int64(p[2]) for p in packs])
        put(self.ids, [p[3][k] for p, k in zip(packs, m)])
        put(self.target, [p[4][k] for p, k in zip(packs, m)])
        self.made += len(packs)

    def draw(self, n):
        i = torch.randint(min(self.made, self.limit), (n,), device=self.device)
        k = torch.randint(self.phrases, (n,), device=self.device)
        ids, target = self.ids[i, k].long(), self.target[i, k]
        mask = torch.arange(ROWS, device=self.device)[None] < self.n[i][:, None]
        return (ids, self.f[i].float(), self.l[i], ids > 0, mask), torch.where(target < .5, 0., target)


def export(net, out):
    from safetensors.torch import save_file
    state = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in net.state_dict().items()}
    save_file(state, f"{out}/model.safetensors.tmp", metadata=dict(format="pt"))
    os.replace(f"{out}/model.safetensors.tmp", f"{out}/model.safetensors")
    json.dump(net.c, open(f"{out}/config.json", "w"), indent=2)
    open(f"{out}/vocab.txt", "w").write("\n".join(network.vocabulary()) + "\n")


def samples(folder, net, wordpiece, n=12):
    """Held-out scenes for a demonstration or a test: pictures, regions, phrases with truth and this network's answer."""
    os.makedirs(f"{folder}/samples", exist_ok=True)
    index, golden = [], {}
    for i in range(n):
        scene, boxes, said = scenes.sample(random.Random(EVAL_SEED + 10**7 + i))
        p = evaluate.pack(scene, boxes, said, wordpiece)
        *x, target = evaluate.inputs([p], "cpu")
        with torch.no_grad():
            logits = net(*x)
        rows = scenes.save(f"{folder}/samples", f"scene-{i:03d}", scene, boxes, said)
        for r, z, t in zip(rows, logits, target):
            r.update(row=int(z.argmax()), iou=round(float(t[z.argmax()]), 4))
        golden[f"scene-{i:03d}"] = logits[:, :p[2]].numpy()
        index += rows
    json.dump(index, open(f"{folder}/samples/phrases.json", "w"), indent=1)
    np.savez(f"{folder}/samples/logits.npz", **golden)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--output", required=True)
    ap.add_argument("--minutes", type=float, default=7.)
    ap.add_argument("--procs", type=int, default=4)
    ap.add_argument("--batch", type=int, default=512)
    ap.add_argument("--lr", type=float, default=8e-4)
    ap.add_argument("--dropout", type=float, default=.05)
    ap.add_argument("--pool", type=int, default=120000, help="scenes kept on the device, 20 KiB each")
    ap.add_argument("--eval-scenes", type=int, default=1000)
    ap.add_argument("--reserve", type=float, default=15., help="seconds kept for the evaluation")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = ap.parse_args()
    begun = time.time()
    os.makedirs(a.output, exist_ok=True)
    log = open(f"{a.output}/train.log", "w")

    def say(*s):
        line = f"[{time.time() - begun:7.1f}] " + " ".join(map(str, s))
        print(line, flush=True)
        print(line, file=log, flush=True)

    ctx = mp.get_context("fork")
    made = ctx.Queue(64)
    procs = [ctx.Process(target=renderer, args=(made, i, a.procs, a.seed, a.eval_scenes), daemon=True) for i in range(a.procs)]
    for p in procs:                                        # before CUDA and the threads of torch
        p.start()
    cuda = a.device.startswith("cuda")
    if not cuda:
        torch.set_num_threads(2)
    torch.manual_seed(a.seed)
    config = dict(network.CONFIG, vocab_size=len(network.vocabulary()))
    net = network.Net(config, a.dropout).to(a.device)
    flat = [p for n, p in net.named_parameters() if p.ndim < 2 or "embeddings" in n]
    ids = set(map(id, flat))
    opt = torch.optim.AdamW([dict(params=[p for p in net.parameters() if id(p) not in ids], weight_decay=.02), dict(params=flat, weight_decay=0.)],
                            lr=a.lr, betas=(.9, .98), **(dict(fused=True) if cuda else {}))
    pool, packs, texts, parts = Pool(a.pool, a.device), [], [], 0
    say("parameters", sum(p.numel() for p in net.parameters()), "tokens", config["vocab_size"], "device", torch.cuda.get_device_name() if cuda else "cpu")

    def take(wait):
        """One message of the renderers, if there is one: they may be faster than this loop, which must not wait on them."""
        nonlocal parts
        try:
            kind, x = made.get(timeout=1) if wait else made.get_nowait()
        except queue.Empty:
            if wait and not any(p.is_alive() for p in procs):
                raise SystemExit("the renderers died")
            return
        if kind == "error":
            raise SystemExit(x)
        if kind == "train":
            pool.add(x)
        else:
            packs.extend(x[0])
            texts.extend(x[1])
            parts += 1

    while pool.made < 8 * CHUNK or parts < a.procs:
        take(True)
    say("evaluation scenes are there:", len(packs))
    start, stop = time.time(), begun + a.minutes * 60 - a.reserve
    if stop - start < 5:
        raise SystemExit(f"--minutes {a.minutes} leaves no time to train: {start - begun:.0f} s went into the evaluation's scenes, {a.reserve:.0f} s are "
                         f"kept for it; give more minutes or fewer --eval-scenes")
    step, last, saved, mean = 0, start, start, torch.zeros(2, device=a.device)
    net.train()
    while time.time() < stop:
        if step % 4 == 0 or not cuda:
            take(False)
        t = (time.time() - start) / (stop - start)
        lr = a.lr * min(1., t / .04 + .01) if t < .04 else a.lr * (.01 + .99 * .5 * (1 + math.cos(math.pi * min(1., (t - .04) / .96))))
        for group in opt.param_groups:
            group["lr"] = lr
        x, target = pool.draw(a.batch)
        with torch.autocast("cuda" if cuda else "cpu", dtype=torch.bfloat16, enabled=cuda):
            logits = net(*x)
        loss = F.binary_cross_entropy_with_logits(logits, target) * ROWS
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in net.parameters() if p.grad is not None], 1.)
        opt.step()
        step += 1
        mean += torch.stack([loss.detach(), torch.ones_like(loss)])
        if step % 20 == 0 and cuda:
            torch.cuda.current_stream().synchronize()      # keep the clock honest
        now = time.time()
        if now - last > 20:
            some = evaluate.score(net, packs[:200], texts[:200], a.device)
            net.train()
            say(f"step {step} loss {float(mean[0] / mean[1]):.4f} lr {lr:.1e} accuracy {some['accuracy']:.4f} of {some['reachable']:.4f} scenes made {pool.made} "
                f"phrases drawn {step * a.batch}")
            last = time.time()
            mean.zero_()
        if now - saved > 120:
            export(net, a.output)
            saved = now
    seconds = time.time() - start
    for p in procs:
        p.terminate()
    export(net, a.output)
    say(f"trained: {step} steps in {seconds:.0f} s, {pool.made} scenes rendered, {step * a.batch} phrases drawn")
    net, wordpiece = evaluate.load(a.output)               # what was written, in float32
    report = dict(model="ViLBERT-tiny", parameters=sum(p.numel() for p in net.parameters()), weights="float16", evaluated_in="float32", seed=a.seed, steps=step,
                  batch=a.batch, seconds_trained=round(seconds, 1), scenes_rendered=pool.made, phrases_drawn=step * a.batch, processes=a.procs,
                  device=torch.cuda.get_device_name() if cuda else "cpu",
                  versions=dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__, pillow=__import__("PIL").__version__),
                  command=sys.argv[1:])
    samples(a.output, net, wordpiece)
    report["rendered"] = evaluate.score(net.to(a.device), packs, texts, a.device)
    say(report["rendered"])
    report["seconds_all"] = round(time.time() - begun, 1)
    json.dump(report, open(f"{a.output}/report.json", "w"), indent=1)
    say("report.json written")


if __name__ == "__main__":
    main()
