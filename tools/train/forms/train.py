#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 3: train LayoutLMv3-tiny on rendered forms and write the checkpoint folder.

    train.py --data DIR --output FOLDER [--minutes 7] [--procs 4] [--funsd DIR] [--seed 1]

DIR is what prepare.py wrote.  FOLDER gets the Hugging Face checkpoint (config.json, model.safetensors in float16,
vocab.json, merges.txt, tokenizer_config.json, preprocessor_config.json), report.json and train.log.  --minutes is the
whole program from start to report: processes render pages without end, the trainer draws batches from those that have
come so far, new ones first, and stops in time for the evaluation.  --funsd is read after the training, never before it.
"""
import argparse
import json
import math
import multiprocessing as mp
import os
import platform
import queue
import random
import shutil
import sys
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import numpy as np
import torch
import torch.nn.functional as F

import evaluate
import render
import words
from render import LABELS

EVAL_SEED = 9000000            # pages of the evaluation; training draws its seeds elsewhere
CHUNK = 8


def renderer(out, data, worker, procs, seed, n_eval):
    """A process: its share of the evaluation's pages, then pages without end."""
    try:
        encoder = evaluate.Encoder(data)
        for held in (False, True):
            mine = range(EVAL_SEED + worker, EVAL_SEED + n_eval // 2, procs)
            out.put(("heldout" if held else "seen", evaluate.prepared(evaluate.rendered(data, held, mine), encoder)))
        fonts, content, k = render.Fonts(data), words.Content(data, 0), 0
        while True:
            rows = []
            for _ in range(CHUNK):
                content.g = random.Random((seed * 1000 + worker) * 10**9 + 10**8 + k)
                p = render.page(fonts, content, content.g)
                rows += evaluate.prepared([(p.image, p.items, (p.w, p.h))], encoder)
                k += 1
            out.put(("train", rows))
    except Exception as e:                                 # told to the trainer, which stops
        out.put(("error", f"renderer {worker}: {type(e).__name__}: {e}"))


def make_model(a, vocab):
    from transformers import LayoutLMv3Config, LayoutLMv3ForTokenClassification
    c = a.hidden // 6
    shape = (a.hidden - 4 * c) // 2
    if 4 * c + 2 * shape != a.hidden:
        raise SystemExit(f"--hidden {a.hidden} must be even")
    torch.manual_seed(a.seed)
    return LayoutLMv3ForTokenClassification(LayoutLMv3Config(
        vocab_size=vocab, hidden_size=a.hidden, num_hidden_layers=a.layers, num_attention_heads=a.heads, intermediate_size=4 * a.hidden,
        max_position_embeddings=514, type_vocab_size=1, coordinate_size=c, shape_size=shape, input_size=evaluate.SIDE, patch_size=16,
        hidden_dropout_prob=.1, attention_probs_dropout_prob=0., layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        id2label=dict(enumerate(LABELS)), label2id={l: i for i, l in enumerate(LABELS)}))


def export(model, data, out):
    """The folder as the Hub has such folders; weights in float16."""
    from safetensors.torch import save_file
    state = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    save_file(state, f"{out}/model.safetensors.tmp", metadata=dict(format="pt"))
    os.replace(f"{out}/model.safetensors.tmp", f"{out}/model.safetensors")
    config = model.config.to_dict()
    config.update(architectures=["LayoutLMv3ForTokenClassification"], dtype="float16")
    config.pop("_name_or_path", None)
    special = dict(bos_token="<s>", eos_token="</s>", sep_token="</s>", cls_token="<s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>")
    write = lambda name, o: json.dump(o, open(f"{out}/{name}", "w"), indent=2, sort_keys=True)
    write("config.json", config)
    write("tokenizer_config.json", dict(special, tokenizer_class="LayoutLMv3Tokenizer", add_prefix_space=True, model_max_length=512,
                                        cls_token_box=[0, 0, 0, 0], sep_token_box=[0, 0, 0, 0], pad_token_box=[0, 0, 0, 0], only_label_first_subword=True))
    write("preprocessor_config.json", dict(image_processor_type="LayoutLMv3ImageProcessor", apply_ocr=False, do_resize=True, size=dict(height=224, width=224),
                                           resample=3, do_rescale=True, rescale_factor=1 / 255, do_normalize=True, image_mean=[.5] * 3, image_std=[.5] * 3))
    for f in ("vocab.json", "merges.txt"):
        shutil.copyfile(f"{data}/{f}", f"{out}/{f}")


def groups(model, decay):
    plain = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n or "bias" in n or "token" in n]
    ids = set(map(id, plain))
    return [dict(params=[p for p in model.parameters() if id(p) not in ids], weight_decay=decay), dict(params=plain, weight_decay=0.)]


class Pool:
    """Windows rendered so far: new ones are drawn once before old ones again; the oldest go when it is full."""

    def __init__(self, limit, seed):
        self.rows, self.fresh, self.limit, self.head, self.made, self.g = [], [], limit, 0, 0, random.Random(seed)

    def add(self, rows):
        for r in rows:
            if len(self.rows) < self.limit:
                self.fresh.append(len(self.rows))
                self.rows.append(r)
            else:
                self.fresh.append(self.head)
                self.rows[self.head] = r
                self.head = (self.head + 1) % self.limit
            self.made += 1

    def draw(self, n):
        use = [self.fresh.pop() for _ in range(min(len(self.fresh), n))]
        use += [self.g.randrange(len(self.rows)) for _ in range(n - len(use))]
        return [self.rows[i] for i in use]


def batch_of(rows, device, g, train=True):
    ids, boxes, labels, mask = evaluate.collate([w for _, w in rows], 64)
    if train:                                              # the page a little larger, smaller, moved; some tokens misread
        for i in range(len(rows)):
            if g.random() < .7:
                s, t = 1 + g.uniform(-.08, .08, 2), g.uniform(-25, 25, 2)
                some = mask[i].astype(bool) & (ids[i] != evaluate.BOS) & (ids[i] != evaluate.EOS)
                boxes[i][some] = np.clip(boxes[i][some] * np.tile(s, 2) + np.tile(t, 2), 0, 1000).astype(np.int64)
        bad = (g.random(ids.shape) < .03) & (ids > 3)
        ids = np.where(bad, g.integers(4, 260, ids.shape), ids)
    t = lambda v: torch.from_numpy(v).to(device, non_blocking=True)
    x = t(np.stack([p for p, _ in rows])).float().div(127.5).sub(1)[:, None].expand(-1, 3, -1, -1)
    return dict(input_ids=t(ids), bbox=t(boxes), attention_mask=t(mask), pixel_values=x), t(labels)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--output", required=True)
    ap.add_argument("--minutes", type=float, default=7.)
    ap.add_argument("--funsd")
    ap.add_argument("--procs", type=int, default=4)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=7e-4)
    ap.add_argument("--hidden", type=int, default=192)
    ap.add_argument("--layers", type=int, default=6)
    ap.add_argument("--heads", type=int, default=6)
    ap.add_argument("--eval-pages", type=int, default=300)
    ap.add_argument("--reserve", type=float, default=35., help="seconds kept for the evaluation")
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
    procs = [ctx.Process(target=renderer, args=(made, a.data, i, a.procs, a.seed, a.eval_pages), daemon=True) for i in range(a.procs)]
    for p in procs:                                        # before CUDA and the threads of torch
        p.start()
    cuda = a.device.startswith("cuda")
    if not cuda:
        torch.set_num_threads(2)
    torch.backends.cuda.matmul.allow_tf32 = True
    model = make_model(a, len(json.load(open(f"{a.data}/vocab.json", encoding="utf-8")))).to(a.device)
    opt = torch.optim.AdamW(groups(model, .02), lr=a.lr, betas=(.9, .98), **(dict(fused=True) if cuda else {}))
    pool, held, g = Pool(60000, a.seed), dict(seen=[], heldout=[]), np.random.default_rng(a.seed)
    parts = 0
    say("parameters", sum(p.numel() for p in model.parameters()), "device", torch.cuda.get_device_name() if cuda else "cpu")

    def take(wait):
        nonlocal parts
        while True:
            try:
                kind, rows = made.get(timeout=1) if wait else made.get_nowait()
            except queue.Empty:
                if wait and not any(p.is_alive() for p in procs):
                    raise SystemExit("the renderers died")
                return
            if kind == "error":
                raise SystemExit(rows)
            if kind == "train":
                pool.add(rows)
            else:
                held[kind] += rows
                parts += 1
            wait = False

    while len(pool.rows) < a.batch or parts < 2 * a.procs:
        take(True)
    say("evaluation pages are there:", {k: len(v) for k, v in held.items()}, "windows")
    start, stop = time.time(), begun + a.minutes * 60 - a.reserve
    if stop - start < 5:
        raise SystemExit(f"--minutes {a.minutes} leaves no time to train: {start - begun:.0f} s went into the evaluation's pages, {a.reserve:.0f} s are "
                         f"kept for it; give more minutes or fewer --eval-pages")
    step, total, since, last, saved = 0, 0., 0, start, start
    model.train()
    while time.time() < stop:
        take(False)
        t = (time.time() - start) / (stop - start)
        lr = a.lr * min(1., t / .04 + .01) if t < .04 else a.lr * (.02 + .98 * .5 * (1 + math.cos(math.pi * min(1., (t - .04) / .96))))
        for group in opt.param_groups:
            group["lr"] = lr
        inputs, labels = batch_of(pool.draw(a.batch), a.device, g)
        with torch.autocast("cuda" if cuda else "cpu", dtype=torch.bfloat16, enabled=cuda):
            logits = model(**inputs).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        opt.step()
        step += 1
        if step % 10 == 0 or not cuda:                     # now and then: reading the loss waits for the GPU
            total, since = total + float(loss.detach()), since + 1
        now = time.time()
        if now - last > 30:
            some = evaluate.score(evaluate.predict(model, held["seen"][:48], a.device))
            model.train()
            say(f"step {step} loss {total / max(since, 1):.4f} lr {lr:.1e} f1 {some['f1']:.4f} windows made {pool.made} drawn {step * a.batch}")
            total, since, last = 0., 0, time.time()
        if now - saved > 120:
            export(model, a.data, a.output)
            saved = now
    seconds = time.time() - start
    for p in procs:
        p.terminate()
    export(model, a.data, a.output)
    say(f"trained: {step} steps in {seconds:.0f} s, {pool.made} windows rendered, {step * a.batch} drawn")

    import tokenizers
    import transformers
    model, encoder = evaluate.load(a.output).to(a.device), evaluate.Encoder(a.output)      # what was written, in float32
    torch.backends.cuda.matmul.allow_tf32 = False
    report = dict(model="LayoutLMv3-tiny", parameters=sum(p.numel() for p in model.parameters()), weights="float16", evaluated_in="float32",
                  seed=a.seed, steps=step, batch=a.batch, seconds_trained=round(seconds, 1), windows_rendered=pool.made, windows_drawn=step * a.batch,
                  processes=a.procs, device=torch.cuda.get_device_name() if cuda else "cpu",
                  versions=dict(python=platform.python_version(), torch=torch.__version__, transformers=transformers.__version__,
                                tokenizers=tokenizers.__version__, numpy=np.__version__, pillow=__import__("PIL").__version__), command=sys.argv[1:])
    for name in ("seen", "heldout"):
        report[f"rendered_{name}_faces"] = dict(evaluate.score(evaluate.predict(model, held[name], a.device)), pages=a.eval_pages // 2)
        say(name, "faces:", {k: report[f"rendered_{name}_faces"][k] for k in ("precision", "recall", "f1")})
    if a.funsd:
        report.update(evaluate.funsd_report(model, encoder, a.funsd, a.device))
        for k in report:
            if k.startswith("funsd"):
                say(k, {x: report[k][x] for x in ("precision", "recall", "f1", "word_accuracy")}, {t: v["f1"] for t, v in report[k]["by_type"].items()})
    report["seconds_all"] = round(time.time() - begun, 1)
    json.dump(report, open(f"{a.output}/report.json", "w"), indent=1)
    say("report.json written")


if __name__ == "__main__":
    main()
