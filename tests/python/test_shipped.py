# SPDX-License-Identifier: Apache-2.0
"""The models that come with Tenon: their samples give PyTorch's answers and the scores that PyTorch has on them."""
import json
import shutil

import numpy as np
import pytest

from conftest import ROOT, SHARED

MODELS = ROOT / "models"
CLASSES, SCENES, FORMS, PHRASES = (MODELS / n for n in ("uniformer-tiny-shapes", "mask-rcnn-tiny-scenes", "layoutlmv3-tiny-forms", "vilbert-tiny-scenes"))
TOLERANCE = 1e-3
needs_phrases = pytest.mark.skipif(not (PHRASES / "model.safetensors").exists(), reason="models/vilbert-tiny-scenes is not here")


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("folder", [CLASSES, SCENES, FORMS, pytest.param(PHRASES, marks=needs_phrases)], ids=lambda p: p.name)
def test_a_model_is_whole_and_small(folder):
    assert (folder / "model.safetensors").stat().st_size < 15_000_000
    assert sum(f.stat().st_size for f in (folder / "samples").rglob("*") if f.is_file()) < 1_100_000
    card, report = (folder / "README.md").read_text(), json.loads((folder / "report.json").read_text())
    assert "Apache-2.0" in card and "## Limits" in card and "## Results" in card and report["parameters"] > 4e6


# ---- classes

def test_classes(tenon):
    golden = np.load(CLASSES / "samples" / "golden.npz")
    want, listed = softmax(golden["logits"]), [r.split("\t") for r in (CLASSES / "samples" / "list.tsv").read_text().splitlines()]
    names = (CLASSES / "labels.txt").read_text().splitlines()
    *got, rates = rows(tenon.ok("classify", "-q", "-m", CLASSES, "--json", "-k", want.shape[1], CLASSES / "samples" / "list.tsv"))
    assert len(got) == len(want) == len(listed)
    for g, w, (file, truth) in zip(got, want, listed):
        assert g["file"].endswith(file) and g["expected"] == int(truth)
        p = np.zeros(want.shape[1])
        for c in g["classes"]:
            p[c["class"]] = c["probability"]
            assert c["label"] == names[c["class"]]
        assert np.abs(p - w).max() <= TOLERANCE and g["classes"][0]["class"] == w.argmax()
    assert rates["top1"] == pytest.approx((want.argmax(1) == golden["labels"]).mean())


# ---- scenes

def test_scenes(tenon, tmp_path):
    samples, results = SCENES / "samples", tmp_path / "results.json"
    truth = json.loads((samples / "ground_truth.json").read_text())
    golden = json.loads((samples / "results.json").read_text())
    score = json.loads(tenon.ok("detect", "-q", "-m", SCENES, "--json", "--eval", samples / "ground_truth.json", "--save-results", results, samples))
    found = json.loads(results.read_text())
    assert len(truth["images"]) == score["images"] == 5 and len(found) == len(golden)
    for image in truth["images"]:
        got, want = ([r for r in rs if r["image_id"] == image["id"]] for rs in (found, golden))
        assert [r["category_id"] for r in got] == [r["category_id"] for r in want]
        assert np.abs(np.array([r["score"] for r in got]) - [r["score"] for r in want]).max() <= TOLERANCE
        scale = max(image["width"], image["height"])
        assert np.abs(np.array([r["bbox"] for r in got]) - [r["bbox"] for r in want]).max() <= TOLERANCE * scale
        for g, w in zip(got, want):
            assert different(g["segmentation"], w["segmentation"]) <= 2, "pixels of a mask"
    of_golden = json.loads(tenon.ok("detect", "-q", "--json", "--score", samples / "results.json", "--eval", samples / "ground_truth.json"))
    for kind in ("boxes", "masks"):
        assert score[kind] == pytest.approx(of_golden[kind], abs=TOLERANCE), kind
    assert {c["name"] for c in score["categories"]} == set((SCENES / "labels.txt").read_text().split())


def pixels(segmentation):
    counts, at, text = [], 0, segmentation["counts"]
    while at < len(text):
        value, shift = 0, 0
        while True:
            c = ord(text[at]) - 48
            at += 1
            value |= (c & 31) << shift
            shift += 5
            if not c & 32:
                value -= 1 << shift if c & 16 else 0
                break
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return np.repeat(np.arange(len(counts)) % 2, counts)


def different(a, b):
    return int((pixels(a) != pixels(b)).sum())


def test_scenes_keep_their_size(tenon, tmp_path):
    """Whereas limits of sides, or a configuration that asks for them, scale."""
    picture = SCENES / "samples" / "0000.png"
    want = tenon.ok("detect", "-q", "-m", SCENES, picture)
    assert len(want.splitlines()) >= 5 and want.split("\t")[1] in (SCENES / "labels.txt").read_text().split()
    assert tenon.ok("detect", "-q", "-m", SCENES, "--long-side", 500, picture) != want
    for f in ("config.json", "model.safetensors"):
        shutil.copy(SCENES / f, tmp_path / f)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "attention": "all"}))
    assert "'all'" in tenon.fails("detect", "-m", tmp_path, picture)
    del config["attention"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "--attention" in tenon.fails("detect", "-m", tmp_path, picture)


# ---- forms

def chunks(tags):
    """Entities as seqeval finds them in B- and I- tags: (label, first word, one after the last)."""
    out, kind, start = set(), None, 0
    for i, tag in enumerate([*tags, "O"]):
        now = None if tag == "O" else tag[2:]
        if kind is not None and (now != kind or tag[0] == "B"):
            out.add((kind.lower(), start, i))
            kind = None
        if now is not None and kind is None:
            kind, start = now, i
    return out


def test_forms(tenon):
    golden = json.loads((FORMS / "samples" / "golden.json").read_text())
    *pages, score = rows(tenon.ok("doc", "-q", "-m", FORMS, "--json", "--overlap", 0, "--eval", FORMS / "samples"))
    assert len(pages) == len(golden["pages"])
    for page in pages:
        name = page["file"].split("/")[-1].removesuffix(".png")
        want = golden["pages"][name]
        note = json.loads((FORMS / "samples" / "annotations" / f"{name}.json").read_text())
        words = [(w["text"], tuple(w["box"])) for f in note["form"] for w in f["words"]]
        assert len(words) == len(want) == page["words"] and page["windows"] == 1
        expected, seen, at = {}, {}, {w: i for i, w in enumerate(words)}
        assert len(at) == len(words)
        for label, start, end in chunks([t for t, _ in want]):
            expected[start] = label, end - start, np.mean([p for _, p in want[start:end]])
        for e in page["entities"]:
            if e["label"] != "other":
                seen[at[e["words"][0]["text"], tuple(e["words"][0]["box"])]] = e["label"], len(e["words"]), e["score"]
        assert {k: v[:2] for k, v in seen.items()} == {k: v[:2] for k, v in expected.items()}
        assert max(abs(seen[k][2] - expected[k][2]) for k in seen) <= TOLERANCE
    assert {k: score["all"][k] for k in ("right", "predicted", "expected")} == {k: golden["score"][k] for k in ("right", "predicted", "expected")}
    assert score["all"]["f1"] == pytest.approx(golden["score"]["f1"], abs=1e-4)


@pytest.mark.skipif(not (SHARED / "funsd" / "testing_data" / "annotations").is_dir(), reason="FUNSD is not here")
def test_forms_on_funsd(tenon):
    report = json.loads((FORMS / "report.json").read_text())["funsd_testing_data"]
    score = rows(tenon.ok("doc", "-q", "-m", FORMS, "--json", "--overlap", 0, "--eval", SHARED / "funsd" / "testing_data"))[-1]
    pairs = [(score["all"], report)] + [(score["types"][k], v) for k, v in report["by_type"].items()]
    for got, want in pairs:
        assert all(got[k] == pytest.approx(want[k], abs=1e-4) for k in ("precision", "recall", "f1", "right", "predicted", "expected"))


# ---- phrases

@needs_phrases
def test_phrases(tenon):
    samples = PHRASES / "samples"
    items, logits, last = json.loads((samples / "phrases.json").read_text()), np.load(samples / "logits.npz"), {}
    *got, total = rows(tenon.ok("ground", "-q", "-m", PHRASES, "-f", samples, "--json", "--top", 32, "--eval", samples / "phrases.json"))
    assert len(got) == len(items) == total["phrases"]
    for g, item in zip(got, items):
        last[item["image"]] = k = last.get(item["image"], -1) + 1
        want = logits[item["image"]][k]
        assert (g["phrase"], g["image"], g["regions"]) == (item["phrase"], item["image"], len(want) - 1)
        scale = max(1, np.abs(want).max())
        assert max(abs(t["logit"] - want[t["region"]]) for t in g["top"]) <= TOLERANCE * scale
        assert g["region"] == item["row"] and g["iou"] == pytest.approx(item["iou"], abs=1e-3)
    assert total["right"] == sum(item["iou"] > .5 for item in items)
