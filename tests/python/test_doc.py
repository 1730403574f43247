# SPDX-License-Identifier: Apache-2.0
"""tenon doc: the fixture's page, evaluation, bad input; FUNSD's windows bit for bit against stored arrays when they are there."""
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

from conftest import FIXTURES, ROOT, SHARED

MODEL = FIXTURES / "hf_layoutlmv3_doc"


def test_page(tenon, tmp_path):
    overlay, html = tmp_path / "o.png", tmp_path / "o.html"
    args = ("doc", "-m", MODEL, "--overlap", 16, MODEL / "page.png", MODEL / "page.json")
    page = json.loads(tenon.ok(*args, "--json", "--overlay", overlay, "--html", html))
    words = [w["text"] for i in json.loads((MODEL / "page.json").read_text())["form"] for w in i["words"] if w["text"].strip()]
    assert [w["text"] for e in page["entities"] for w in e["words"]] == words and page["words"] == len(words)
    assert sorted(e["order"] for e in page["entities"]) == list(range(len(page["entities"])))
    assert all(page["entities"][e["question"]]["label"] == "question" for e in page["entities"] if "question" in e)
    assert overlay.read_bytes()[:4] == b"\x89PNG" and "data:image/png;base64," in html.read_text()
    assert len(tenon.ok(*args).splitlines()) == len(page["entities"])


def test_batch_and_threads_change_nothing(tenon):
    args = ("doc", "-m", MODEL, "--overlap", 16, MODEL / "page.png", MODEL / "page.json")
    assert len({tenon.ok(*args, "--batch", b, "--threads", t) for b, t in ((1, 1), (4, 1), (4, 2))}) == 1


def test_eval(tenon, tmp_path):
    for name, file in (("annotations", "page.json"), ("images", "page.png")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes((MODEL / file).read_bytes())
    result = json.loads(tenon.ok("doc", "-m", MODEL, "--overlap", 0, "--json", "--eval", tmp_path).splitlines()[-1])
    golden = np.load(MODEL / "golden.npz")
    assert result["pages"] == 1 and result["windows"] == len(golden["input_ids"])
    assert result["all"]["expected"] == sum(i["label"] != "other" and any(w["text"].strip() for w in i["words"])
                                            for i in json.loads((MODEL / "page.json").read_text())["form"])


def test_bad_input(tenon, tmp_path):
    page, words = MODEL / "page.png", MODEL / "page.json"
    assert "--model" in tenon.fails("doc", page, words)
    assert "overlap" in tenon.fails("doc", "-m", MODEL, page, words)
    assert "picture and its words" in tenon.fails("doc", "-m", MODEL, page)
    for text, message in (("", "is empty"), ('{"form": []}', "no words"), ("level\tpage_num\tx\n", "no words"),
                          ('{"form": [{"words": [{"text": "a", "box": [5, 0, 1, 1]}]}]}', "inverted"),
                          ('{"form": [{"words": [{"text": "a", "box": [0, 0, 5000, 1]}]}]}', "leaves the picture")):
        (tmp_path / "words").write_text(text)
        assert message in tenon.fails("doc", "-m", MODEL, "--overlap", 8, page, tmp_path / "words")
    tenon.ok("doc", "-m", MODEL, "--overlap", 8, "--clip", page, tmp_path / "words")
    assert "annotations" in tenon.fails("doc", "-m", MODEL, "--overlap", 8, "--eval", tmp_path)


@pytest.mark.parametrize("split, name", [("testing_data", "eval"), ("training_data", "train")])
def test_funsd_windows_are_those_of_the_stored_arrays(split, name, tmp_path):
    base, source = SHARED / "funsd", SHARED / "tokenizers" / "roberta-base"
    plan = os.environ.get("TENON_LAYOUTLMV3_PLAN")
    program = pathlib.Path(os.environ.get("TENON", str(ROOT / "build" / "tenon"))).parent / "tests" / "doc_windows"
    if not base.exists() or not plan or not program.exists():
        pytest.skip("needs FUNSD beside the repository, doc_windows, and a plan of LayoutLMv3 for 512 tokens in $TENON_LAYOUTLMV3_PLAN")
    (tmp_path / "vocab.json").write_bytes((source / "vocab.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((source / "vocab.bpe").read_bytes())
    ids, boxes = (np.load(base / "seed-npy" / f"{name}_{k}.npy").astype(np.int64) for k in ("input_ids", "bbox"))
    at = found = 0
    for words in sorted((base / split / "annotations").glob("*.json")):
        image = base / split / "images" / f"{words.stem}.png"
        out = subprocess.run([program, plan, tmp_path, image, words], check=True, capture_output=True).stdout
        rows = np.frombuffer(out, np.int64).reshape(-1, 5 * 512)
        n = len(rows)
        same = [k for k in range(at, len(ids) - n + 1)
                if (ids[k:k + n] == rows[:, :512]).all() and (boxes[k:k + n].reshape(n, -1) == rows[:, 512:]).all()]
        assert same, words.name
        at = same[0] + n
        found += n
    assert found == {"eval": 26, "train": 150}[name]
