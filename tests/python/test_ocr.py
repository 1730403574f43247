# SPDX-License-Identifier: Apache-2.0
"""tenon ocr: the default model on its samples, on real lines when they are there, and on bad pictures."""
import json
import re

import numpy as np
import pytest

from conftest import MODEL, SHARED

SAMPLES = MODEL / "samples"
# Pictures on which Tenon does better than Pillow's plain conversion: alpha over white, EXIF rotation applied.
BETTER = {"zh/rapidocr/black_font_color_transparent.png", "zh/rapidocr/white_font_color_transparent.png", "zh/rapidocr/img_exif_orientation.jpg"}


def lines(text):
    return dict(line.split("\t")[:2] for line in text.splitlines() if "\t" in line)


def test_samples_read_as_pytorch_reads_them(tenon):
    want = {str(SAMPLES / f): read for f, _, read in (r.split("\t") for r in (SAMPLES / "samples.tsv").read_text().splitlines())}
    for batch in (1, 5, 24):
        assert lines(tenon.ok("ocr", "--batch", batch, "--min-confidence", 0, *want)) == want


def test_every_cpu_level_reads_the_same(tenon):
    files = sorted(SAMPLES.glob("*.png"))[:6]
    native = tenon.ok("ocr", *files)
    for level in ("scalar", "avx2"):
        assert tenon.ok("ocr", *files, env={"TENON_CPU": level}) == native


def test_eval_prints_rates(tenon):
    out = tenon.ok("ocr", "--eval", SAMPLES / "samples.tsv")
    assert re.search(r"24 lines: character error rate 0\.\d+ %, exact lines 95\.83 % \(23\)", out), out.splitlines()[-1]
    last = json.loads(tenon.ok("ocr", "--json", "--eval", SAMPLES / "samples.tsv").splitlines()[-1])
    assert last["lines"] == 24 and last["exact_line_rate"] == pytest.approx(23 / 24, abs=1e-5)


def test_real_lines_read_as_pytorch_reads_them(tenon):
    table = SHARED / "textlines" / "trocr-tiny-zh.tsv"
    if not table.exists():
        pytest.skip("the real text lines are not beside the repository")
    rows = [r.split("\t") for r in table.read_text().splitlines() if r and not r.startswith("#")]
    rows = [r for r in rows if r[0].endswith((".png", ".jpg", ".npy"))]
    assert len(rows) >= 50
    files = [str(table.parent / r[0]) for r in rows]
    got = lines(tenon.ok("ocr", "--min-confidence", 0, *files))
    wrong = [(r[0], got.get(f), r[2]) for r, f in zip(rows, files) if r[0] not in BETTER and got.get(f, "").strip() != r[2].strip()]
    assert not wrong, wrong
    better = {r[0]: (got[f], r[1]) for r, f in zip(rows, files) if r[0] in BETTER}
    assert better["zh/rapidocr/black_font_color_transparent.png"][0] == "我是中国人"
    assert better["zh/rapidocr/img_exif_orientation.jpg"][0] == "我是中国人"


def test_json_has_confidence_of_every_character(tenon):
    row = json.loads(tenon.ok("ocr", "--json", SAMPLES / "train-08.png"))
    assert row["text"] == "饮" and [c["text"] for c in row["characters"]] == ["饮"]
    assert 0.8 < row["confidence"] <= 1 and 0.8 < row["characters"][0]["confidence"] <= 1 and row["milliseconds"] > 0


def test_blank_picture_yields_no_text(tenon, tmp_path):
    np.save(tmp_path / "blank.npy", np.full((40, 300), 255, np.uint8))
    r = tenon.run("ocr", tmp_path / "blank.npy")
    assert r.returncode == 0 and r.stdout.decode() == f"{tmp_path}/blank.npy\t\n" and "confidence" in r.stderr.decode()
    assert tenon.ok("ocr", "--min-confidence", 0, tmp_path / "blank.npy") != f"{tmp_path}/blank.npy\t\n"


def test_folder_and_standard_input(tenon):
    got = lines(tenon.ok("ocr", SAMPLES))
    assert len(got) == 24 and got[str(SAMPLES / "heldout-09.png")] == "TAKE"
    assert tenon.ok("ocr", "-", stdin=(SAMPLES / "heldout-09.png").read_bytes()) == "-\tTAKE\n"


def test_bad_pictures_are_named_and_the_others_read(tenon, tmp_path):
    good = SAMPLES / "heldout-09.png"
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture")
    r = tenon.run("ocr", tmp_path / "cut.png", good, tmp_path / "text.png", tmp_path / "none.png")
    assert r.returncode == 2 and r.stdout.decode() == f"{good}\tTAKE\n"
    for name in ("cut.png", "text.png", "none.png"):
        assert name in r.stderr.decode()
    assert "give pictures" in tenon.fails("ocr")


def test_plan_file_reads_like_the_folder(tenon, tmp_path):
    plan = tmp_path / "ocr.plan"
    tenon.ok("build", MODEL, "-o", plan, "-q", "--shapes", "batch=1:4:8")
    assert tenon.ok("ocr", "--model", plan, SAMPLES) == tenon.ok("ocr", SAMPLES)
    beams = tenon.ok("ocr", "--model", plan, "--beams", 3, SAMPLES / "heldout-09.png")
    assert beams.endswith("\tTAKE\n")
