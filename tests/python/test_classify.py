# SPDX-License-Identifier: Apache-2.0
"""tenon classify: files, folders of classes, lists, labels, JSON, and bad input; on a narrow UniFormer."""
import json
import shutil

import numpy as np
import pytest

from conftest import ROOT

WEIGHTS = ROOT / "tests" / "hf" / "data" / "uniformer.pth"
OPEN = ("--head-dim", 8, "--image-size", 64)


@pytest.fixture(scope="module")
def plan(tenon, tmp_path_factory):
    path = tmp_path_factory.mktemp("classify") / "uniformer.plan"
    tenon.ok("build", WEIGHTS, "-o", path, *OPEN)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with np.load(ROOT / "tests" / "pipelines" / "data" / "crops.npz") as crops:
        for i in range(7):
            np.save(folder / f"{i}.npy", crops[f"picture{i}"])
    return folder


def best(tenon, plan, files):
    rows = [json.loads(line) for line in tenon.ok("classify", "-m", plan, "--json", *files).splitlines()]
    return [[c["class"] for c in r["classes"]] for r in rows]


def test_text_json_and_weights_agree(tenon, plan, pictures):
    files = sorted(pictures.glob("*.npy"))
    want = best(tenon, plan, files)
    rows = [r.split("\t") for r in tenon.ok("classify", "-m", plan, "--top", 2, *files).splitlines()]
    assert [(r[0], int(r[1])) for r in rows] == [(str(f), c) for f, top in zip(files, want) for c in top[:2]]
    assert all(0 < float(r[2]) <= 1 for r in rows)
    assert best(tenon, plan, [pictures]) == want
    again = tenon.ok("classify", "-m", WEIGHTS, *OPEN, "-k", 2, *files)
    assert again == tenon.ok("classify", "-m", plan, "-k", 2, *files)


def test_accuracy_over_folders_and_lists(tenon, plan, pictures, tmp_path):
    files = sorted(pictures.glob("*.npy"))
    tops = best(tenon, plan, files)
    true = [t[0] for t in tops[:4]] + [t[2] for t in tops[4:6]] + [next(c for c in range(11) if c not in tops[6])]
    for f, c in zip(files, true):
        (tmp_path / "set" / str(c)).mkdir(parents=True, exist_ok=True)
        shutil.copy(f, tmp_path / "set" / str(c))
    rates = {"pictures": 7, "top1": pytest.approx(4 / 7, abs=1e-6), "top5": pytest.approx(6 / 7, abs=1e-6)}
    for gap in ("\t", " "):
        (tmp_path / "list.txt").write_text("# file and class\n" + "".join(f"{f}{gap}{c}\n" for f, c in zip(files, true)))
        for source in (tmp_path / "set", tmp_path / "list.txt"):
            for top in (1, 5):
                last = json.loads(tenon.ok("classify", "-m", plan, "--json", "-k", top, "-b", 3, source).splitlines()[-1])
                assert last.pop("milliseconds_per_picture") > 0 and last == rates
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"name {i}\n" for i in range(11)))
    (tmp_path / "named.tsv").write_text(f"{files[0]}\tname {true[0]}\n")
    out = tenon.ok("classify", "-m", plan, "--labels", labels, "-k", 1, tmp_path / "named.tsv").splitlines()
    assert out[0].endswith(f"\tname {true[0]}") and out[1].startswith("1 pictures: top-1 100.000 % (1)")


def test_what_is_wrong_is_named(tenon, plan, pictures, tmp_path):
    good = pictures / "0.npy"
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    r = tenon.run("classify", "-m", plan, "-k", 1, tmp_path / "cut.png", good)
    assert r.returncode == 2 and "cut.png" in r.stderr.decode() and r.stdout.decode().startswith(f"{good}\t")
    assert "--head-dim" in tenon.fails("classify", "-m", WEIGHTS, "--image-size", 64, good)
    assert "give the model" in tenon.fails("classify", good)
    assert "give pictures" in tenon.fails("classify", "-m", plan)
    (tmp_path / "list.tsv").write_text(f"{good}\t11\n")
    assert "row 1: '11' is no class" in tenon.fails("classify", "-m", plan, tmp_path / "list.tsv")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    assert "is no class of the model" in tenon.fails("classify", "-m", plan, tmp_path / "set")
    (tmp_path / "labels.txt").write_text("one\n")
    assert "11 classes" in tenon.fails("classify", "-m", plan, "--labels", tmp_path / "labels.txt", good)


def test_a_folder_tells_what_the_file_leaves_open(tenon, plan, pictures, tmp_path):
    good = pictures / "0.npy"
    shutil.copy(WEIGHTS, tmp_path / "pytorch_model.bin")
    config = {"model_type": "uniformer", "head_dim": 8, "image_size": 64, "id2label": {str(i): f"name {i}" for i in range(11)}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    want = [r.split("\t") for r in tenon.ok("classify", "-m", plan, good).splitlines()]
    assert [r.split("\t") for r in tenon.ok("classify", "-m", tmp_path, good).splitlines()] == [r + [f"name {r[1]}"] for r in want]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 64}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}))
    assert tenon.ok("classify", "-m", tmp_path, good).splitlines()[0] != "\t".join(want[0] + [f"name {want[0][1]}"])
    for wrong, message in (({"head_dim": "8"}, "head_dim"), ({"head_dim": 7}, "width 7"), ({"attention": "global"}, "attention"), ({"id2label": {"x": 1, "99": "y"}}, None)):
        (tmp_path / "config.json").write_text(json.dumps({**config, **wrong}))
        if message is None:
            assert tenon.ok("classify", "-m", tmp_path, "-k", 1, good).count("\t") == 2
        else:
            assert message in tenon.fails("classify", "-m", tmp_path, good)
