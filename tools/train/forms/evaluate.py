#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 4: a checkpoint folder through transformers, entity F1 as seqeval counts it.

    evaluate.py --model FOLDER [--data DIR] [--funsd DIR] [--pages 300] [--out report.json]

--data: rendered pages of seeds that training never draws, once in the faces of training and once in faces kept apart.
--funsd: FUNSD's folder with testing_data (and training_data), of which training has seen nothing.
Pages become windows of 510 tokens as in the authors' evaluation: boxes of segments, bicubic picture, a label for each word.
"""
import argparse
import glob
import json
import os
import random

import numpy as np
from PIL import Image

import render
import words
from render import LABELS

BOS, PAD, EOS = 0, 1, 2
WINDOW, SIDE = 510, 224
TYPES = ("HEADER", "QUESTION", "ANSWER")


# ---- pages to tensors
class Encoder:
    """Words -> ids, one word at a time with a space before it; the ids of a word are kept."""

    def __init__(self, folder):
        from tokenizers import ByteLevelBPETokenizer
        self.bpe = ByteLevelBPETokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt", add_prefix_space=True)
        self.known = {}

    def word(self, w):
        if w not in self.known:
            if len(self.known) > 200000:
                self.known.clear()
            self.known[w] = self.bpe.encode(w).ids
        return self.known[w]

    def windows(self, items, size):
        """items [(label, [(word, box)])], size (w, h) -> [(ids, boxes, labels)] int16; labels at a word's first token, else -100"""
        ids, boxes, labels, first = [], [], [], []
        for label, ws in items:
            ws = [(w, b) for w, b in ws if w.strip()]
            if not ws:
                continue
            b = np.array([[int(1000 * v / size[k % 2]) for k, v in enumerate(b)] for _, b in ws])
            box = (*b[:, :2].min(0), *b[:, 2:].max(0))
            for i, (w, _) in enumerate(ws):
                t = self.word(w)
                if not t:
                    continue
                tag = 0 if label == "other" else LABELS.index(("B-" if i == 0 else "I-") + label.upper())
                ids += t
                boxes += [box] * len(t)
                labels += [tag] * len(t)
                first += [1] + [0] * (len(t) - 1)
        out = []
        for at in range(0, len(ids), WINDOW):
            cut = slice(at, at + WINDOW)
            head = np.array(first[cut])
            head[:1] = 1                                   # a word that the window cuts is labelled again
            lab = np.where(head == 1, labels[cut], -100)
            box = np.clip(np.array(boxes[cut]), 0, 1000)
            edge = np.zeros((1, 4), int)
            out.append((np.array([BOS, *ids[cut], EOS], np.int16), np.concatenate([edge, box, edge]).astype(np.int16),
                        np.array([-100, *lab, -100], np.int16)))
        return out


def picture(image):
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.BICUBIC))


def collate(rows, multiple=32):
    """[(ids, boxes, labels)] -> ids, boxes, labels, mask, padded to the longest"""
    n = -(-max(len(r[0]) for r in rows) // multiple) * multiple
    n = min(n, WINDOW + 2)
    ids, boxes = np.full((len(rows), n), PAD, np.int64), np.zeros((len(rows), n, 4), np.int64)
    labels, mask = np.full((len(rows), n), -100, np.int64), np.zeros((len(rows), n), np.int64)
    for i, (a, b, c) in enumerate(rows):
        ids[i, :len(a)], boxes[i, :len(a)], labels[i, :len(a)], mask[i, :len(a)] = a, b, c, 1
    return ids, boxes, labels, mask


# ---- pages
def rendered(data, heldout, seeds):
    fonts = render.Fonts(data, heldout)
    content = words.Content(data, 0)
    for s in seeds:
        content.g = random.Random(s)
        p = render.page(fonts, content, content.g)
        yield p.image, p.items, (p.w, p.h)


def funsd(folder):
    for path in sorted(glob.glob(f"{folder}/annotations/*.json")):
        image = Image.open(path.replace("annotations", "images").replace(".json", ".png"))
        form = json.load(open(path, encoding="utf-8"))["form"]
        yield image, [(f["label"], [(w["text"], w["box"]) for w in f["words"]]) for f in form], image.size


def prepared(pages, encoder):
    """[(picture, (ids, boxes, labels))], a window a row"""
    return [(picture(im), w) for im, items, size in pages for w in encoder.windows(items, size)]


# ---- metric
def chunks(tags):
    """conlleval's: a chunk starts at B, or at I after O or another type"""
    out, start, kind = [], None, None
    for i, t in enumerate([*tags, "O"]):
        k = t[2:] if t != "O" else None
        if kind is not None and (k != kind or t[0] == "B"):
            out.append((kind, start, i))
            kind = None
        if k is not None and kind is None:
            start, kind = i, k
    return set(out)


def score(pairs):
    """[(true tags, predicted tags)] -> precision, recall, F1, by type and over all"""
    count = {t: [0, 0, 0] for t in TYPES}
    words_right = n_words = 0
    for true, guess in pairs:
        a, b = chunks(true), chunks(guess)
        for t in TYPES:
            x, y = {c for c in a if c[0] == t}, {c for c in b if c[0] == t}
            count[t][0] += len(x & y)
            count[t][1] += len(y)
            count[t][2] += len(x)
        words_right += sum(p == q for p, q in zip(true, guess))
        n_words += len(true)

    def row(right, found, all_):
        p, r = right / max(found, 1), right / max(all_, 1)
        return dict(precision=round(p, 4), recall=round(r, 4), f1=round(2 * p * r / (p + r) if p + r else 0., 4), right=right, predicted=found, expected=all_)

    out = row(*map(sum, zip(*count.values())))
    out.update(by_type={t: row(*v) for t, v in count.items()}, word_accuracy=round(words_right / max(n_words, 1), 4), words=n_words, windows=len(pairs))
    return out


def predict(model, rows, device, batch=16):
    """rows of prepared() -> [(true tags, predicted tags)]"""
    import torch
    out = []
    model.eval()
    for at in range(0, len(rows), batch):
        part = rows[at:at + batch]
        ids, boxes, labels, mask = collate([w for _, w in part])
        x = torch.from_numpy(np.stack([p for p, _ in part])).to(device).float().div(127.5).sub(1)[:, None].expand(-1, 3, -1, -1)
        with torch.no_grad():
            t = lambda v: torch.from_numpy(v).to(device)
            logits = model(input_ids=t(ids), bbox=t(boxes), attention_mask=t(mask), pixel_values=x.to(model.dtype)).logits.float()
        best = logits.argmax(-1).cpu().numpy()
        for g, l in zip(best, labels):
            keep = l >= 0
            out.append(([LABELS[k] for k in l[keep]], [LABELS[k] for k in g[keep]]))
    return out


def load(folder):
    import torch
    from transformers import LayoutLMv3ForTokenClassification
    return LayoutLMv3ForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()


def funsd_report(model, encoder, folder, device):
    out = {}
    for part in ("testing_data", "training_data"):
        if os.path.isdir(os.path.join(folder, part, "annotations")):
            pages = list(funsd(os.path.join(folder, part)))
            out[f"funsd_{part}"] = dict(score(predict(model, prepared(pages, encoder), device)), pages=len(pages))
    if not out:
        raise SystemExit(f"{folder} holds neither testing_data/annotations nor training_data/annotations")
    return out


def main():
    import torch
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data")
    ap.add_argument("--funsd")
    ap.add_argument("--pages", type=int, default=300)
    ap.add_argument("--out")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = ap.parse_args()
    model, encoder, report = load(a.model).to(a.device), Encoder(a.model), {}
    if a.data:
        for name, held in (("rendered_seen_faces", False), ("rendered_heldout_faces", True)):
            n = a.pages // 2
            rows = prepared(rendered(a.data, held, range(9000000, 9000000 + n)), encoder)
            report[name] = dict(score(predict(model, rows, a.device)), pages=n)
    if a.funsd:
        report.update(funsd_report(model, encoder, a.funsd, a.device))
    print(json.dumps(report, indent=1))
    if a.out:
        json.dump(report, open(a.out, "w"), indent=1)


if __name__ == "__main__":
    main()
