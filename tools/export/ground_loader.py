#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a grounding model sees, and how its answers are counted: the authors' loader and evaluation against `tenon ground`.

ground_loader.py --official CHECKOUT [--beta] --refer DIR --wordpiece DIR --build BUILD [--phrases DIR]

--official: facebookresearch/vilbert-multi-task, or jiasenlu/vilbert_beta with --beta; --refer: folder of refer.py (vilbert_beta's tools/refer); --wordpiece: folder that
holds the package pytorch_transformers (1.2.0, without what it depends on but six); --build: folder with tenon and tests/ground_rows. --phrases: ../shared/data. Needs
PyTorch, NumPy, onnx and lmdb. Nothing of the checkouts is copied; what they import and this does not need is replaced by empty modules.
"""
import argparse
import importlib.util
import json
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import tempfile
import types

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
import grounding as G

EMPTY = {"matplotlib": (), "matplotlib.pyplot": (), "matplotlib.collections": ("PatchCollection",), "matplotlib.patches": ("Polygon", "Rectangle"), "h5py": (),
         "requests": (), "boto3": (), "botocore": (), "botocore.config": ("Config",), "botocore.exceptions": (), "sacremoses": (), "tools": (), "tools.refer": (),
         "tools.refer.external": ("mask",), "vilbert": (), "vilbert.datasets": (), "pytorch_transformers": (), "pytorch_pretrained_bert": ()}


def module(name, path=None, **members):
    m = types.ModuleType(name)
    m.__dict__.update(members)
    if path:
        m.__path__ = [str(path)]
    sys.modules[name] = m
    return m


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    m = importlib.util.module_from_spec(spec)
    sys.modules[name] = m
    spec.loader.exec_module(m)
    return m


def authors(a):
    """Their dataset and reader classes, and a tokenizer."""
    for name, members in EMPTY.items():
        module(name, **{k: None for k in members})
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]
    sys.modules["botocore.exceptions"].ClientError = Exception
    for name, path in (("tools.refer", a.refer), ("vilbert.datasets", f"{a.official}/vilbert/datasets"), ("pytorch_transformers", f"{a.wordpiece}/pytorch_transformers")):
        sys.modules[name].__path__ = [str(path)]
    sys.path.insert(0, str(a.wordpiece))
    load("tools.refer.refer", f"{a.refer}/refer.py")
    from pytorch_transformers.tokenization_bert import BertTokenizer

    module("pytorch_pretrained_bert.tokenization", BertTokenizer=BertTokenizer)
    reader = load("vilbert.datasets._image_features_reader", f"{a.official}/vilbert/datasets/_image_features_reader.py")
    dataset = load("vilbert.datasets.refer_expression_dataset", f"{a.official}/vilbert/datasets/refer_expression_dataset.py")
    return dataset.ReferExpressionDataset, reader.ImageFeaturesH5Reader, BertTokenizer


def data(work, a):
    """REFER's files and an LMDB: 400 references to 40 pictures."""
    pics = G.pictures(40, 2048, 99 if a.beta else 140, seed=11)  # the beta loader stops where a picture has more than its rows
    texts = [p["sent"] for f in "AB" for p in json.loads((a.phrases / f"refer/sample_expressions_test{f}.json").read_text())["predictions"]]
    g, notes, refs, at = random.Random(4), [], [], 0
    for r in range(400):
        i = g.choice(list(pics))
        b = pics[i]["boxes"][g.randrange(pics[i]["num_boxes"])]
        sides = (*b[:2], b[2] - b[0], b[3] - b[1])
        notes.append(dict(id=7000 + r, image_id=int(i), category_id=1, bbox=[round(abs(float(v) + g.uniform(-6, 6)), 2) for v in sides]))
        said = []
        for _ in range(g.randrange(1, 5)):
            text = texts[at % len(texts)] if g.random() > 0.25 else " ".join(texts[(at * 7 + j) % len(texts)] for j in range(g.randrange(3, 9)))
            said.append(dict(raw=text, sent=text.lower(), tokens=text.split(), sent_id=at))
            at += 1
        refs.append(dict(sent_ids=[s["sent_id"] for s in said], file_name="x", ann_id=7000 + r, ref_id=r, image_id=int(i), split=g.choice(["train", "val", "testA"]),
                         sentences=said, category_id=1))
    (work / "refcoco+").mkdir()
    (work / "cache").mkdir()
    (work / "refcoco+" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2 if a.beta else 0))
    images = [dict(id=int(i), file_name="x", height=p["image_h"], width=p["image_w"]) for i, p in pics.items()]
    (work / "refcoco+" / "instances.json").write_text(json.dumps(dict(images=images, annotations=notes, categories=[dict(id=1, name="a")])))
    return G.save_lmdb(work / "f.lmdb", pics, G.base64_form if a.beta else lambda p: p)


def compare_rows(entries, out):
    tokens, regions, width = struct.unpack_from("<3i", out, 0)
    at, full, worst = 12, 0, {}

    def take(kind, *shape):
        nonlocal at
        x = np.frombuffer(out, kind, int(np.prod(shape)), at).reshape(shape)
        at += x.nbytes
        return x

    for features, spatials, image_mask, caption, target, input_mask, segments, *_ in entries:
        ids, mask, f, s, m = take(np.int64, tokens), take(np.int64, tokens), take(np.float32, regions, width), take(np.float32, regions, 5), take(np.int64, regions)
        take(np.float32, 4)
        iou = take(np.float32, regions)
        assert (ids == caption.numpy()).all() and (mask == input_mask.numpy()).all() and (m == image_mask.numpy()).all() and not segments.any()
        for name, x, y in (("features", f, features), ("spatials", s, spatials), ("targets", iou, target[:, 0])):
            worst[name] = max(worst.get(name, 0), float(np.abs(x - y.numpy()).max()))
        full += int(input_mask.sum()) == tokens
    assert at == len(out)
    return full, worst


def evaluate(entries):
    """The V-logit branch of EvaluatingModel on the toy's scores."""
    features, spatials, image_mask, question, target, input_mask, segments = (torch.stack([e[k] for e in entries]) for k in range(7))
    a, b = map(torch.from_numpy, G.weights(2048))
    text = (question * input_mask + segments).flip(1).cumsum(1).sum(1, keepdim=True).float() * np.float32(1e-7)
    logit = features @ a + spatials @ b + text[:, :, None] + ((image_mask.float() - 1) * 10000)[:, :, None]
    loss = torch.nn.BCEWithLogitsLoss(reduction="mean")(logit, target).mean() * target.size(1)
    chosen = target.squeeze(2).gather(1, torch.max(logit, dim=1)[1].view(-1, 1))
    return int((chosen > 0.5).sum()), float(loss)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("official", "refer", "wordpiece", "build"):
        p.add_argument(f"--{name}", type=pathlib.Path, required=True)
    p.add_argument("--phrases", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    p.add_argument("--beta", action="store_true")
    a = p.parse_args()
    dataset, reader, tokenizer = authors(a)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        lmdb, vocab, more = data(work, a), a.phrases / "tokenizers/bert-base-uncased/vocab.txt", {} if a.beta else dict(bert_model="bert-base-uncased", clean_datasets=False)
        found = dataset(task="refcoco+", dataroot=str(work), annotations_jsonpath="", split="val", image_features_reader=reader(str(lmdb)), gt_image_features_reader=None,
                        tokenizer=tokenizer(str(vocab), do_lower_case=True, max_len=512), max_seq_length=20, max_region_num=100 if a.beta else 101, **more)
        entries = [found[i] for i in range(len(found))]
        refs, beta = work / "refcoco+" / "refs(unc).p", ["--beta"] * a.beta
        G.toy(work / "m.onnx", 2048, scale=1e-7)
        subprocess.check_call([a.build / "tenon", "build", "-q", work / "m.onnx", "-o", work / "m.plan"])
        out = subprocess.check_output([a.build / "tests" / "ground_rows", work / "m.plan", vocab, lmdb, refs, "val", *beta])
        full, worst = compare_rows(entries, out)
        print(len(entries), "phrases,", full, "of 20 tokens: ids and masks are identical; largest differences:", worst)
        got = json.loads(subprocess.check_output([a.build / "tenon", "ground", "-q", "-m", work / "m.plan", "--vocab", vocab, "-f", lmdb, "--eval", refs, "--split", "val",
                                                  "--json", *beta]).splitlines()[-1])
        right, loss = evaluate(entries)
        print(f"right: {right} and {got['right']}; loss: {loss} and {got['loss']}, relative difference {abs(loss - got['loss']) / loss:.1e}")


if __name__ == "__main__":
    main()
