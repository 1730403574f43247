# SPDX-License-Identifier: Apache-2.0
"""tenon ocr on pages (boxes, overlay, HTML), on exports as trocr-chinese makes them, with other vocabularies, and on what is wrong."""
import json
import re
import shutil

import numpy as np
import pytest

from conftest import FIXTURES, MODEL, SHARED

SAMPLES = MODEL / "samples"
LINES = ["heldout-09.png", "heldout-12.png", "train-08.png"]


def rows_of(tenon, *args):
    return [line.split("\t") for line in tenon.ok("ocr", "-q", "--min-confidence", 0, *args).splitlines()]


def png(path):
    """A PNG of 8 bits without a library: the pixels as uint8 [height, width, 3]."""
    import struct
    import zlib

    data = path.read_bytes()
    at, idat = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + n]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT":
            idat += body
        at += 12 + n
    bpp = {0: 1, 2: 3, 6: 4}[colour]
    assert depth == 8
    rows = np.frombuffer(zlib.decompress(idat), np.uint8).reshape(height, 1 + width * bpp)
    out = np.zeros((height + 1, width * bpp + bpp), np.int64)
    for y in range(height):
        kind, row = rows[y, 0], rows[y, 1:].astype(np.int64)
        for x in range(width * bpp):
            a, b, c = out[y + 1, x], out[y, x + bpp], out[y, x]
            p = a + b - c
            paeth = min((abs(p - v), i, v) for i, v in enumerate((a, b, c)))[2]
            out[y + 1, x + bpp] = (row[x] + (0, a, b, (a + b) // 2, paeth)[kind]) % 256
    picture = out[1:, bpp:].reshape(height, width, bpp).astype(np.uint8)
    return np.repeat(picture, 3, 2) if bpp == 1 else picture[:, :, :3]


@pytest.fixture(scope="module")
def page(tenon, tmp_path_factory):
    """A page of three sample lines, its boxes in each form, and the readings of the lines by themselves."""
    folder = tmp_path_factory.mktemp("page")
    crops = [png(SAMPLES / name) for name in LINES]
    height, width = sum(c.shape[0] + 11 for c in crops) + 11, max(c.shape[1] for c in crops) + 37
    picture, boxes, y = np.full((height, width, 3), 255, np.uint8), [], 11
    for i, c in enumerate(crops):
        x = 7 + 10 * i
        picture[y : y + c.shape[0], x : x + c.shape[1]] = c
        boxes.append([x, y, x + c.shape[1], y + c.shape[0]])
        y += c.shape[0] + 11
    np.save(folder / "page.npy", picture)
    alone = {n: t for n, t in rows_of(tenon, *[SAMPLES / n for n in LINES])}
    texts = [alone[str(SAMPLES / n)] for n in LINES]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    labels = [{"box": [b[0], b[3], b[2], b[3], b[2], b[1], b[0], b[1]], "text": t, "label": 1} for b, t in zip(boxes, texts)]
    labels[1]["text"] += "?"
    (folder / "labels.txt").write_text(json.dumps({"file_name": "somewhere/page.npy", "annotations": labels}) + "\n")
    return folder, boxes, texts


def test_lines_of_a_page_read_as_they_do_alone(tenon, page):
    folder, boxes, texts = page
    rows = rows_of(tenon, folder / "page.npy", "--boxes", folder / "boxes.json")
    assert [r[2] for r in rows] == texts
    assert [r[1] for r in rows] == [f"{a},{b},{c},{b},{c},{d},{a},{d}" for a, b, c, d in boxes]
    one = json.loads(tenon.ok("ocr", "--json", "-q", folder / "page.npy", "--boxes", folder / "boxes.json").splitlines()[0])
    assert one["box"][:2] == boxes[0][:2] and "".join(c["text"] for c in one["characters"]) == one["text"]


def test_evaluation_of_pages(tenon, page):
    folder, _, texts = page
    out = tenon.ok("ocr", "-q", "--min-confidence", 0, "--eval", folder / "labels.txt")
    characters = sum(map(len, texts)) + 1
    assert re.search(rf"3 lines: character error rate {100 / characters:.2f} %, exact lines 66.67 % \(2\)", out), out
    last = json.loads(tenon.ok("ocr", "-q", "--json", "--min-confidence", 0, "--eval", folder / "labels.txt").splitlines()[-1])
    assert last["lines"] == 3 and last["character_error_rate"] == pytest.approx(1 / characters, abs=1e-6)


def test_overlay_and_html(tenon, page, tmp_path):
    folder, _, texts = page
    tenon.ok("ocr", "-q", folder / "page.npy", "--boxes", folder / "labels.txt", "--overlay", tmp_path / "o.png", "--html", tmp_path / "o.html")
    drawn, before = png(tmp_path / "o.png"), np.load(folder / "page.npy")
    assert drawn.shape == before.shape and (drawn != before).any()
    html = (tmp_path / "o.html").read_text()
    assert html.count("<polygon") == 3 and all(c in html for t in texts for c in t.replace("<", "").replace("&", ""))
    assert "--boxes" in tenon.fails("ocr", folder / "page.npy", "--overlay", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_wrong_boxes(tenon, page, tmp_path):
    folder = page[0]
    boxes = tmp_path / "boxes.json"
    for text, says in (("[[9,9,5,20]]", "inverted"), ("[[0,0,99999,10]]", "--clip"), ("[1]", "expected"), ("", "no boxes"), ("[[0,0,", "no JSON")):
        boxes.write_text(text)
        assert says in tenon.fails("ocr", folder / "page.npy", "--boxes", boxes), text
    boxes.write_text("[[-5,-5,60,40]]")
    assert len(rows_of(tenon, folder / "page.npy", "--boxes", boxes, "--clip")) == 1
    boxes.write_text("[]")
    assert tenon.ok("ocr", folder / "page.npy", "--boxes", boxes) == ""
    (tmp_path / "labels.txt").write_text('{"file_name": "other.png", "annotations": []}\n{"file_name": "else.png", "annotations": []}')
    assert "no boxes of" in tenon.fails("ocr", folder / "page.npy", "--boxes", tmp_path / "labels.txt")
    assert "other.png" in tenon.fails("ocr", "--eval", tmp_path / "labels.txt")
    assert "names no picture" in tenon.fails("ocr", "--eval", boxes)


def test_empty_lists_and_extreme_pictures(tenon, tmp_path):
    (tmp_path / "none.tsv").write_text("# nothing\n")
    assert "pictures" in tenon.fails("ocr", "--eval", tmp_path / "none.tsv") and "pictures" in tenon.fails("ocr", tmp_path / "none.tsv")
    for name, shape in (("dot", (1, 1)), ("long", (3, 20000)), ("tall", (20000, 2))):
        np.save(tmp_path / f"{name}.npy", np.full(shape, 255, np.uint8))
    rows = rows_of(tenon, *[tmp_path / f"{n}.npy" for n in ("long", "dot", "tall")])
    assert [r[0].rsplit("/", 1)[1] for r in rows] == ["long.npy", "dot.npy", "tall.npy"]


def test_wrong_vocabulary(tenon, tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    message = tenon.fails("ocr", "--tokenizer", tmp_path / "vocab.txt", SAMPLES / LINES[0])
    size = len(json.loads((MODEL / "vocab.json").read_text()))
    assert "7 tokens" in message and str(size) in message
    (tmp_path / "broken.model").write_bytes(b"\x0a\xff\xff\x01abc")
    assert "byte" in tenon.fails("ocr", "--tokenizer", tmp_path / "broken.model", SAMPLES / LINES[0])
    same = tenon.ok("ocr", "-q", "--tokenizer", MODEL / "vocab.json", SAMPLES / LINES[0])
    assert same == tenon.ok("ocr", "-q", SAMPLES / LINES[0])


# ---- exports ----


def vocabulary(folder):
    """85 characters behind the special tokens, as trocr-chinese writes them."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] + [chr(0x4E00 + i) for i in range(85)]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    return tokens


def export(folder, decoder, names=("encoder_model.onnx", "decoder_model.onnx")):
    folder.mkdir(exist_ok=True)
    shutil.copy(FIXTURES / "trocr_encoder_ts17_dynamic" / "model.onnx", folder / names[0])
    shutil.copy(FIXTURES / decoder / "model.onnx", folder / names[1])
    return vocabulary(folder)


def greedy(folder, picture, tokens, steps=100):
    """The loop of the original's demonstration: the whole prefix every step."""
    onnxruntime = pytest.importorskip("onnxruntime")

    encoder = onnxruntime.InferenceSession(folder / "encoder_model.onnx", providers=["CPUExecutionProvider"])
    decoder = onnxruntime.InferenceSession(folder / "decoder_model.onnx", providers=["CPUExecutionProvider"])
    x = ((picture.astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
    states = encoder.run(None, {"pixel_values": x})[0]
    ids = [0]
    for _ in range(steps):
        feed = {"input_ids": np.array([ids]), "encoder_hidden_states": states, "attention_mask": np.ones((1, len(ids)), np.int64)}
        logits = decoder.run(["logits"], {i.name: feed[i.name] for i in decoder.get_inputs()})[0]
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == 2:
            break
    return "".join(tokens[i] for i in ids if i > 4)


@pytest.mark.parametrize("decoder", ["trocr_decoder_ts11_dynamic_mask", "trocr_decoder_ts17_dynamic"])
def test_exports_read_as_the_original_loop_does(tenon, tmp_path, decoder):
    tokens = export(tmp_path / "model", decoder)
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    for i, p in enumerate(pictures):
        np.save(tmp_path / f"{i}.npy", p)
    files = [tmp_path / f"{i}.npy" for i in range(5)]
    want = [greedy(tmp_path / "model", p, tokens, 20) for p in pictures]
    for batch in (1, 3, 5):
        assert [t for _, t in rows_of(tenon, "-m", tmp_path / "model", "--batch", batch, "--max-length", 21, *files)] == want
    row = json.loads(tenon.ok("ocr", "--json", "-q", "--min-confidence", 0, "--max-length", 21, "-m", tmp_path / "model", files[0]))
    assert row["text"] == want[0] and all(0 < c["confidence"] <= 1 for c in row["characters"])


def test_exports_that_cannot_be_read(tenon, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((16, 24), np.uint8))
    folder = tmp_path / "past"
    export(folder, "trocr_decoder_ts11_dynamic_past", ("encoder.onnx", "decoder.onnx"))
    assert "without a cache" in tenon.fails("ocr", "-m", folder, tmp_path / "x.npy")
    folder = tmp_path / "static"
    export(folder, "trocr_decoder_ts17_static")
    assert "dynamic" in tenon.fails("ocr", "-m", folder, tmp_path / "x.npy")
    folder = tmp_path / "good"
    export(folder, "trocr_decoder_ts17_dynamic")
    assert "beams" in tenon.fails("ocr", "-m", folder, "--beams", 4, tmp_path / "x.npy")
    (folder / "vocab.json").write_text('{"<s>": 0, "</s>": 1}')
    assert "2 tokens" in tenon.fails("ocr", "-m", folder, tmp_path / "x.npy")
    (folder / "vocab.json").unlink()
    assert "vocab.json" in tenon.fails("ocr", "-m", folder, tmp_path / "x.npy")


def test_receipts(tenon):
    labels = SHARED / "receipts" / "wildreceipt" / "data.txt"
    if not labels.exists():
        pytest.skip("the receipts are not beside the repository")
    rows = rows_of(tenon, labels.parent / "2.jpeg", "--boxes", labels, "--clip")
    assert rows[0][2].replace(" ", "") == "CHOEUN" and rows[1][2].replace(" ", "") == "KOREANRESTAURANT"
