# SPDX-License-Identifier: Apache-2.0
"""tenon ground: every layout of regions, answers and evaluation against arithmetic in NumPy, exports with other names and fixed sizes, pictures, bad input."""
import json
import pickle

import numpy as np
import pytest

import grounding as G
from conftest import FIXTURES, MODEL, ROOT


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with the toy, its vocabulary, pictures' regions and a list of phrases."""
    d = tmp_path_factory.mktemp("ground")
    (d / "vocab.txt").write_text("\n".join(G.VOCAB) + "\n")
    pics = G.pictures()
    items = G.phrases(pics)
    (d / "list.json").write_text(json.dumps(items))
    G.toy(d / "model.onnx")
    G.save_npz(d / "npz", pics)
    return d, pics, items


def args(d, features="npz"):
    return "ground", "-q", "-m", d / "model.onnx", "--vocab", d / "vocab.txt", "-f", d / features


def ids_of(text, most=20):
    """WordPiece of the phrases used here: letters only, the vocabulary has them all."""
    import re
    import unicodedata

    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    out = []
    for word in re.findall(r"\w+|[^\w\s]", plain):
        at, pieces = 0, []
        while at < len(word):
            end = next((e for e in range(len(word), at, -1) if (word[at:e] if at == 0 else "##" + word[at:e]) in G.VOCAB), None)
            if end is None:
                pieces = ["[UNK]"]
                break
            pieces.append(word[at:end] if at == 0 else "##" + word[at:end])
            at = end
        out += [G.VOCAB.index(p) for p in pieces]
    return [2] + out[:most - 2] + [3]


def logits_of(item, pics, most=20, rows=101):
    p = pics[item["image"]]
    return G.toy_logits(p, ids_of(item["phrase"], most))[:rows]


def test_answers(tenon, world):
    d, pics, items = world
    lines = tenon.ok(*args(d), "--list", d / "list.json", "--json", "--top", 3).splitlines()
    assert len(lines) == len(items)
    for line, item in zip(lines, items):
        got, z = json.loads(line), logits_of(item, pics)
        best = np.argsort(-z, kind="stable")[:3]
        assert got["region"] == best[0] and [t["region"] for t in got["top"]] == list(best) and got["image"] == item["image"] and got["phrase"] == item["phrase"]
        assert np.allclose([t["logit"] for t in got["top"]], z[best], rtol=1e-5, atol=1e-4)
        share = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        assert np.allclose([t["share"] for t in got["top"]], share[best], rtol=1e-3, atol=1e-6)
        assert np.allclose([t["score"] for t in got["top"]], 1 / (1 + np.exp(-z[best])), rtol=1e-3, atol=1e-6)
        assert np.allclose(got["top"][0]["box"], G.rows(pics[item["image"]])[2][best[0]], rtol=1e-6)
        assert got["regions"] == pics[item["image"]]["num_boxes"] and got["regions_cut"] == 0


def test_layouts(tenon, world):
    d, pics, items = world
    want = tenon.ok(*args(d), "--list", d / "list.json", "--json")
    G.save_npy(d / "npy", pics)
    G.save_info(d / "info", pics)
    G.save_tsv(d / "t.tsv", pics)
    for name in ("npy", "info", "t.tsv"):
        assert tenon.ok(*args(d, name), "--list", d / "list.json", "--json") == want, name
    one = items[0]["image"]
    alone = tenon.ok(*args(d), "--id", one, "man", "left", "--json")
    assert alone == tenon.ok(*args(d, f"npz/{one}.npz"), "man", "left", "--json")


def test_lmdb(tenon, world):
    pytest.importorskip("lmdb")
    d, pics, items = world
    want = tenon.ok(*args(d), "--list", d / "list.json", "--json")
    for protocol in range(6):
        G.save_lmdb(d / f"p{protocol}.lmdb", pics, protocol=protocol)
        assert tenon.ok(*args(d, f"p{protocol}.lmdb"), "--list", d / "list.json", "--json") == want, protocol
    G.save_lmdb(d / "beta.lmdb", pics, G.base64_form)
    assert tenon.ok(*args(d, "beta.lmdb"), "--list", d / "list.json", "--json") == want
    assert tenon.ok(*args(d, "beta.lmdb/data.mdb"), "--list", d / "list.json", "--json") == want


def test_stored_lmdb(tenon, world):
    """The same without the lmdb package: databases written once, by convert_to_lmdb.py's and convert_h5_refcoco.py's calls."""
    d = world[0]
    data = ROOT / "tests" / "pipelines" / "data" / "ground"
    answers = {tenon.ok("ground", "-q", "-m", d / "model.onnx", "--vocab", d / "vocab.txt", "-f", data / name, "--id", "1003", "man", "left", "--json")
               for name in ("multi.mdb", "beta.mdb")}
    assert len(answers) == 1
    pics = G.pictures(8, seed=21)
    assert json.loads(answers.pop().splitlines()[0])["region"] == G.toy_logits(pics["1003"], ids_of("man")).argmax()


def test_eval(tenon, world, tmp_path):
    d, pics, items = world
    got = json.loads(tenon.ok(*args(d), "--eval", d / "list.json", "--json").splitlines()[-1])
    right, loss = G.evaluate(items, pics, [logits_of(i, pics) for i in items])
    assert got["phrases"] == len(items) and got["right"] == right and abs(got["loss"] - loss) < 1e-5 * loss
    assert 0 < right < len(items) and got["phrases_cut"] == sum(len(ids_of(i["phrase"], 99)) > 20 for i in items) > 0
    assert f"accuracy {right / len(items):.4f}" in tenon.ok(*args(d), "--eval", d / "list.json")
    # what cannot be kept: fewer tokens and rows
    got = json.loads(tenon.ok(*args(d), "--eval", d / "list.json", "--json", "--max-tokens", 6, "--max-regions", 5).splitlines()[-1])
    right, loss = G.evaluate(items, pics, [logits_of(i, pics, 6, 5) for i in items])
    assert got["right"] == right and abs(got["loss"] - loss) < 1e-5 * loss and got["regions_cut"] > 0


def test_refer(tenon, world, tmp_path):
    """refs(unc).p and instances.json, as the REFER toolbox has them, give what the list gives."""
    d, pics, items = world
    refs = [dict(ann_id=50 + i, ref_id=i, image_id=int(x["image"]), split="val" if i % 3 else "testA", sent_ids=[2 * i, 2 * i + 1], file_name="x.jpg", category_id=1,
                 sentences=[dict(raw=x["phrase"], sent=x["phrase"].lower(), tokens=x["phrase"].split(), sent_id=2 * i)]) for i, x in enumerate(items)]
    notes = [dict(id=50 + i, bbox=x["bbox"], image_id=int(x["image"]), category_id=1) for i, x in enumerate(items)]
    (tmp_path / "instances.json").write_text(json.dumps(dict(annotations=notes[::-1])))
    want = tenon.ok(*args(d), "--eval", d / "list.json", "--json").splitlines()
    for protocol in (0, 2, 4):
        (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=protocol))
        assert tenon.ok(*args(d), "--eval", tmp_path / "refs(unc).p", "--json").splitlines()[:-1] == want[:-1]
        part = tenon.ok(*args(d), "--eval", tmp_path / "refs(unc).p", "--split", "val", "--json").splitlines()
        assert part[:-1] == [w for i, w in enumerate(want[:-1]) if i % 3]
    assert "no phrase of split" in tenon.fails(*args(d), "--eval", tmp_path / "refs(unc).p", "--split", "testB")


def test_batch_threads_and_padding_change_nothing(tenon, world):
    d = world[0]
    a = (*args(d), "--list", d / "list.json", "--json")
    assert len({tenon.ok(*a, "--batch", b, "--threads", t) for b, t in ((1, 1), (7, 1), (16, 2))}) == 1
    tenon.ok("build", "-q", d / "model.onnx", "-o", d / "m.plan")
    assert tenon.ok("ground", "-q", "-m", d / "m.plan", "--vocab", d / "vocab.txt", "-f", d / "npz", *a[-3:]) == tenon.ok(*a)


def test_names_and_sizes(tenon, world, tmp_path):
    """The names of the authors' forward(), in another order; and a graph of fixed batch, tokens and regions."""
    d = world[0]
    want = tenon.ok(*args(d), "--list", d / "list.json", "--json").splitlines()
    G.toy(tmp_path / "names.onnx", names=("input_txt", "input_imgs", "image_loc", "token_type_ids", "attention_mask", "image_attention_mask"))
    G.toy(tmp_path / "fixed.onnx", batch=4, tokens=20, regions=101)
    for name in ("names", "fixed"):
        got = tenon.ok("ground", "-q", "-m", tmp_path / f"{name}.onnx", *args(d)[4:], "--list", d / "list.json", "--json").splitlines()
        assert [json.loads(g)["region"] for g in got] == [json.loads(w)["region"] for w in want]
        assert np.allclose([json.loads(g)["logit"] for g in got], [json.loads(w)["logit"] for w in want], rtol=1e-5, atol=1e-4)
    G.toy(tmp_path / "odd.onnx", names=("input_ids", "features", "spatials", "segment_ids", "input_mask", "who_knows"))
    assert "'who_knows'" in tenon.fails("ground", "-q", "-m", tmp_path / "odd.onnx", *args(d)[4:], "man", "--id", "1000")


@pytest.mark.parametrize("case", ["vilbert_ts17_dynamic_sizes", "vilbert_dynamo18_dynamic_sizes", "vilbert_ts11_static", "vilbert_beta_ts17_static_heads",
                                  "vilbert_ts17_dynamic_heads", "vilbert_dynamo25_dynamic"])
def test_exports_agree_with_their_stored_run(tenon, case, tmp_path):
    """Phrases and regions that lead to the inputs that PyTorch was given; its scores come back. Segment ids of the stored runs are not the loader's, so the graph
    is run on what the loader makes, through `tenon run`."""
    import onnx

    model = FIXTURES / case / "model.onnx"
    dims = {v.name: [x.dim_value for x in v.type.tensor_type.shape.dim] for v in onnx.load(model).graph.input}
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + list("abcdefghijklmnop")
    (tmp_path / "vocab.txt").write_text("\n".join(vocab) + "\n")
    tokens, regions, batch = dims["question"][1] or 20, dims["features"][1] or 11, dims["question"][0] or 2
    pics = G.pictures(1, width=20, most=regions, seed=3)
    ((name, p),) = pics.items()
    G.save_npz(tmp_path / "npz", pics)
    phrase = "a b c p"
    got = json.loads(tenon.ok("ground", "-q", "-m", model, "--vocab", tmp_path / "vocab.txt", "-f", tmp_path / "npz", "--id", name, "--json", "--top", 30, phrase))
    f, s, _ = G.rows(p)
    n = len(f)
    x = dict(question=np.zeros((batch, tokens), np.int64), features=np.zeros((batch, regions, 20), np.float32), spatials=np.zeros((batch, regions, 5), np.float32),
             segment_ids=np.zeros((batch, tokens), np.int64), input_mask=np.zeros((batch, tokens), np.int64), image_mask=np.zeros((batch, regions), np.int64))
    x["question"][:, :6] = [2] + [vocab.index(c) for c in phrase.split()] + [3]
    x["input_mask"][:, :6] = 1
    x["features"][:, :n], x["spatials"][:, :n], x["image_mask"][:, :n] = f, s, 1
    if "dynamo" in case:
        x["image_mask"] = x["image_mask"].astype(np.float32)
    np.savez(tmp_path / "x.npz", **x)
    tenon.ok("run", "-q", model, "--inputs", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    z = np.load(tmp_path / "y.npz")["vision_logit"][0, :n, 0]
    assert got["regions"] == n - 1 and [t["region"] for t in got["top"]] == list(np.argsort(-z, kind="stable"))
    assert np.abs(np.sort(-z) + [t["logit"] for t in got["top"]]).max() <= 1e-5 * np.abs(z).max()


def test_pictures(tenon, world, tmp_path):
    d, pics, _ = world
    p = pics["1001"]
    np.save(tmp_path / "1001.npy", np.full((p["image_h"], p["image_w"], 3), 200, np.uint8))
    overlay, html = tmp_path / "o.png", tmp_path / "o.html"
    out = tenon.ok(*args(d), "-i", tmp_path / "1001.npy", "--overlay", overlay, "--html", html, "--top", 2, "man <red>", "left")
    assert [line.split("\t")[:2] for line in out.splitlines()][::2] == [["1001", "man <red>"], ["1001", "left"]]
    text = html.read_text()
    assert overlay.read_bytes()[:4] == b"\x89PNG" and text.count("data:image/png;base64,") == 1 and "man &lt;red&gt;" in text and "http" not in text
    assert "--image" in tenon.fails(*args(d), "--id", "1001", "--overlay", overlay, "man")


def test_bad_input(tenon, world, tmp_path):
    d, pics, items = world
    base = args(d)
    for line, message in (((), "phrases"), (("--id", "1000", ""), "is empty"), (("--id", "1000", " \t\u200b"), "is empty"), (("man",), "--id"), (("--id", "7", "man"), "'7.npz'"),
                          (("--id", "../x", "man"), "no picture's id"), (("--id", "1000", "--max-tokens", 1, "man"), "tokens"),
                          (("--id", "1000", "--top", 99, "man"), "--top")):
        assert message in tenon.fails(*base, *line), line
    assert "--model" in tenon.fails("ground", "-f", d / "npz", "man") and "--features" in tenon.fails("ground", "-m", d / "model.onnx", "man")
    assert "input" in tenon.fails("ground", "-q", "-m", MODEL, *base[4:], "--id", "1000", "man")
    assert "no WordPiece vocabulary" in tenon.fails("ground", "-q", "-m", d / "model.onnx", "-f", d / "npz", "--id", "1000", "man")
    good = dict(features=np.ones((3, 6), np.float32), boxes=np.float32([[0, 0, 9, 9]] * 3), image_h=20, image_w=30)
    bad = dict(features=np.ones((3, 6), np.float32), boxes=np.float32([[0, 0, 9, 9]] * 3), image_h=20, image_w=30)
    bad["features"][1, 4] = np.nan
    changes = [(dict(features=np.zeros((0, 6), np.float32), boxes=np.zeros((0, 4), np.float32)), "no regions"), (bad, "region 1: feature 4"),
               (dict(features=np.ones((3, 7), np.float32)), "7 numbers a region, the model takes 6"), (dict(boxes=np.float32([[5, 0, 2, 9]] * 3)), "inverted"),
               (dict(boxes=np.float32([[0, 0, 99, 9]] * 3)), "leaves the picture"), (dict(boxes=np.float32([[0, 0, np.inf, 9]] * 3)), "not finite"), (dict(image_h=0), "size"),
               (dict(boxes=np.float32([[0, 0, 9]] * 3)), "[3, 3]"), (dict(boxes=np.ones((2, 4), np.float32)), "[2, 4]"), (dict(num_boxes=9), "num_boxes"),
               (dict(num_boxes=0), "no regions")]
    for i, (change, message) in enumerate(changes):
        np.savez(tmp_path / f"{i}.npz", **{**good, **change})
        assert message in tenon.fails(*args(d, tmp_path), "--id", i, "man"), message
    tenon.ok(*args(d, tmp_path), "--id", "4", "--clip", "man")
    data = (d / "npz" / "1000.npz").read_bytes()
    np.save(tmp_path / "plain.npy", np.ones((3, 6), np.float32))
    for content, message in ((b"", "neither .npz"), (data[:200], "cannot be read as .npz"), (data[:300] + bytes(200) + data[500:], "")):
        (tmp_path / "x.npz").write_bytes(content)
        assert message in tenon.fails(*args(d, tmp_path / "x.npz"), "man")
    assert "numpy.savez" in tenon.fails(*args(d, tmp_path / "plain.npy"), "man")
    (tmp_path / "evil.npy").write_bytes(evil())
    assert "posix.system" in (m := tenon.fails(*args(d, tmp_path / "evil.npy"), "man")) and "nothing is called" in m
    for rows, message in (("{", "no JSON"), ("{}", "must be a list"), ("[{}]", "item 0"), ('[{"phrase": "a", "image": 1000}]', "no box"), ('[{"phrase": "a", "image": []}]', "'image'"), ("[]", "no phrase"),
                          ('[{"phrase": "a", "image": 7, "box": [0, 0, 1, 1]}]', "7.npz"), ('[{"phrase": "a", "image": 1000, "box": [5, 0, 1, 1]}]', "inverted"),
                          ('[{"phrase": "", "image": 1000, "box": [0, 0, 1, 1]}]', "is empty"), ('[{"phrase": "a", "image": 1000, "bbox": [0, 0, -1, 1]}]', "inverted"),
                          ('[{"phrase": "a", "image": 1000, "box": [0, 0, 1]}]', "four numbers"), ("x", "neither")):
        (tmp_path / "rows.json").write_text(rows)
        assert message in tenon.fails(*base, "--eval", tmp_path / "rows.json"), rows
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([1, 2]))
    assert "instances.json" in tenon.fails(*base, "--eval", tmp_path / "refs(unc).p")


def evil():
    """A .npy whose pickle would run a command."""

    class Evil:
        def __reduce__(self):
            import os

            return os.system, ("echo bad",)

    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickle.dumps(Evil())


def test_damaged_lmdb(tenon, world, tmp_path):
    """Every byte of the meta pages and headers may be wrong: an answer or a message, no crash."""
    d = world[0]
    data = bytearray((ROOT / "tests" / "pipelines" / "data" / "ground" / "multi.mdb").read_bytes())
    rng = np.random.default_rng(1)
    path = tmp_path / "x.mdb"
    for k in range(24):
        broken = bytearray(data)
        if k % 3 == 0:
            del broken[int(rng.integers(len(data))):]
        else:
            for at in rng.integers(0, [len(data), 256][k % 2], 8):
                broken[at] = int(rng.integers(256))
        path.write_bytes(broken)
        r = tenon.run(*args(d, path), "--id", "1003", "man")
        assert r.returncode in (0, 2), (k, r.returncode, r.stderr)
