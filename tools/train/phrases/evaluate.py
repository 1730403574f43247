#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 3: a checkpoint folder on scenes of seeds that training never draws: accuracy at IoU 0.5 and the loss, as the authors' code has them.

    evaluate.py --model FOLDER [--scenes 1000] [--out report.json] [--vilbert DIR]

--vilbert: a checkout of facebookresearch/vilbert-multi-task; its own class gets the same weights, and the largest difference of
the logits is reported.
"""
import argparse
import importlib
import json
import random
import sys
import unittest.mock

import numpy as np
import torch
import torch.nn.functional as F

import model as network
import scenes

EVAL_SEED = 900000000
ROWS = scenes.MAX_REGIONS + 1


def pack(scene, boxes, said, wordpiece):
    """features [ROWS, F] f16, locations [ROWS, 5] f32, number of rows, ids [n, LENGTH], IoU with the truth [n, ROWS] f32"""
    f, l, b = scenes.rows(scenes.features(scene.image, boxes), boxes, scene.w, scene.h)
    n = len(f)
    feature, location, target = np.zeros((ROWS, f.shape[1]), np.float32), np.zeros((ROWS, 5), np.float32), np.zeros((len(said), ROWS), np.float32)
    feature[:n], location[:n] = f, l
    for i, (_, box) in enumerate(said):
        target[i, :n] = scenes.iou(b, box)
    return feature, location, n, np.array([wordpiece(t) for t, _ in said], np.int16), target


def collect(seeds, wordpiece):
    """[pack()] and the phrases, a scene for each seed"""
    packs, texts = [], []
    for s in seeds:
        scene, boxes, said = scenes.sample(random.Random(s))
        packs.append(pack(scene, boxes, said, wordpiece))
        texts.append([t for t, _ in said])
    return packs, texts


def inputs(packs, device):
    """One row a phrase: ids, features, locations, text mask, region mask, IoU"""
    t = lambda x, kind: torch.from_numpy(np.stack(x)).to(device, kind)
    which = np.concatenate([[i] * len(p[3]) for i, p in enumerate(packs)])
    ids = torch.from_numpy(np.concatenate([p[3] for p in packs])).to(device).long()
    f, l = t([p[0] for p in packs], torch.float32)[which], t([p[1] for p in packs], torch.float32)[which]
    n = torch.tensor([p[2] for p in packs], device=device)[which]
    return ids, f, l, ids > 0, torch.arange(ROWS, device=device)[None] < n[:, None], torch.from_numpy(np.concatenate([p[4] for p in packs])).to(device)


KINDS = dict(relation=[w for v in scenes.RELATIONS.values() for w in v], extreme=[w.replace("{}", "").strip() for v in scenes.EXTREMES.values() for w in v],
             place=[w for v in scenes.PLACES.values() for w in v])


def kind_of(text):
    return next((k for k in ("extreme", "place", "relation") if any(f" {w} " in f" {text} " for w in KINDS[k])), "attributes")


def score(net, packs, texts, device, batch=1000):
    net.eval()
    right, loss, best, said = [], 0., [], [t for ts in texts for t in ts]
    for at in range(0, len(packs), batch // 4):
        *x, target = inputs(packs[at:at + batch // 4], device)
        with torch.no_grad():
            logits = net(*x)
        right += (target.gather(1, logits.argmax(1, True)).squeeze(1) > .5).tolist()
        best += (target[:, 1:].max(1).values > .5).tolist()
        loss += float(F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1).sum()) * ROWS
    out = dict(accuracy=round(sum(right) / len(right), 4), reachable=round(sum(best) / len(best), 4), loss=round(loss / len(right), 4), phrases=len(right),
               scenes=len(packs), by_kind={})
    for k in ("attributes", "place", "extreme", "relation"):
        rows = [r for r, t in zip(right, said) if kind_of(t) == k]
        out["by_kind"][k] = dict(accuracy=round(sum(rows) / max(1, len(rows)), 4), phrases=len(rows))
    return out


def load(folder):
    from safetensors.torch import load_file
    config = json.load(open(f"{folder}/config.json"))
    net = network.Net(config)
    net.load_state_dict({k: v.float() for k, v in load_file(f"{folder}/model.safetensors").items()})
    return net.eval(), network.WordPiece(open(f"{folder}/vocab.txt").read().split("\n")[:-1])


def official(folder, where, packs):
    """Largest difference of our logits from the authors' class with the same weights."""
    sys.path.insert(0, where)
    for name in ("boto3", "botocore", "botocore.exceptions", "tensorboardX", "requests", "tqdm", "torch._six"):
        try:                                               # for downloads and logs, which are not wanted here
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = unittest.mock.MagicMock()
    from vilbert.vilbert import BertConfig, VILBertForVLTasks
    from safetensors.torch import load_file
    net, _ = load(folder)
    theirs = VILBertForVLTasks(BertConfig.from_json_file(f"{folder}/config.json"), num_labels=1).eval()
    missing, unexpected = theirs.load_state_dict({k: v.float() for k, v in load_file(f"{folder}/model.safetensors").items()}, strict=False)
    missing = [m for m in missing if "pooler" not in m and not m.startswith(("cls.", "vil_", "linguisic"))]
    if missing or unexpected:
        raise SystemExit(f"missing in our checkpoint: {missing}; not known to the authors' class: {unexpected}")
    ids, f, l, tm, vm, _ = inputs(packs, "cpu")
    with torch.no_grad():
        a = net(ids, f, l, tm, vm)
        b = theirs(ids, f, l, torch.zeros_like(ids), tm.long(), vm.long(), torch.zeros(len(ids), ROWS, network.LENGTH))[6].squeeze(-1)
    return float((a - b)[vm].abs().max())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--scenes", type=int, default=1000)
    ap.add_argument("--vilbert")
    ap.add_argument("--out")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = ap.parse_args()
    net, wordpiece = load(a.model)
    packs, texts = collect(range(EVAL_SEED, EVAL_SEED + a.scenes), wordpiece)
    report = dict(rendered=score(net.to(a.device), packs, texts, a.device))
    if a.vilbert:
        report["largest_difference_from_the_authors_class"] = official(a.model, a.vilbert, packs[:16])
    print(json.dumps(report, indent=1))
    if a.out:
        json.dump(report, open(a.out, "w"), indent=1)


if __name__ == "__main__":
    main()
