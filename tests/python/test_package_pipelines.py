# SPDX-License-Identifier: Apache-2.0
"""tenon.pipelines: classifier, detector, form reader and grounder give what the command line prints for the same inputs; batches, arrays, drawing, pages,
scores, threads, and what is wrong is named."""
import concurrent.futures
import json

import numpy as np
import pytest

import grounding as G
import tenon as tn
from conftest import FIXTURES, ROOT
from tenon import pipelines as tp

CROPS = ROOT / "tests" / "pipelines" / "data" / "crops.npz"
UNIFORMER = ROOT / "tests" / "hf" / "data" / "uniformer.pth"
OPEN = dict(head_dim=8, image_size=64)
DETECT = ROOT / "tests" / "pipelines" / "data" / "detect"
FORM = FIXTURES / "hf_layoutlmv3_doc"


def same(got, want, tolerance=2e-6):
    """Equal but for times, and numbers as many digits as the command line prints."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        for k in want:
            if "milliseconds" not in k:
                same(got[k], want[k], tolerance)
    elif isinstance(want, list):
        assert len(got) == len(want)
        for g, w in zip(got, want):
            same(g, w, tolerance)
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=tolerance, abs=tolerance)
    else:
        assert got == want and type(got) is type(want)


def parsed(result, **how):
    """As JSON, and back."""
    return json.loads(result.to_json(**how))


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def by_name(d):
    return dict(sorted(d.items()))


# ---- classes ----


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with np.load(CROPS) as crops:
        for i in range(5):
            np.save(folder / f"{i}.npy", crops[f"picture{i}"])
    return sorted(folder.glob("*.npy"))


@pytest.fixture(scope="module")
def uniformer(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "uniformer.plan"
    tn.build(UNIFORMER, path, **OPEN)
    return path


def test_classes_are_those_of_the_command(tenon, pictures, uniformer, tmp_path):
    names = [f"name {i}" for i in range(11)]
    (tmp_path / "labels.txt").write_text("".join(f"{n}\n" for n in names))
    want = lines(tenon.ok("classify", "-m", uniformer, "--json", "--top", 3, "--labels", tmp_path / "labels.txt", *pictures))
    classifier = tp.Classifier(uniformer, labels=names, batch=2)
    assert classifier.classes == 11 and classifier.size == (64, 64) and classifier.labels == names
    got = classifier(pictures, top=3)
    for g, w in zip(got, want, strict=True):
        assert by_name(parsed(g)).keys() == by_name(w).keys()
        same(by_name(parsed(g)), by_name(w))
        assert g.milliseconds > 0
    # other ways to give the same: a model, a path of labels, arrays, bytes; one and a list
    again = tp.Classifier(UNIFORMER, labels=tmp_path / "labels.txt", **OPEN)
    arrays = [np.load(p) for p in pictures]
    assert [c.classes for c in again(arrays, top=3)] == [c.classes for c in got] == [again(p.read_bytes(), top=3).classes for p in pictures]
    assert "file" not in again(arrays[0]).to_dict() and len(again(arrays[0], top=99).classes) == 11
    assert again(np.stack([arrays[0], arrays[0]]), top=3)[1].classes == got[0].classes
    assert classifier([]) == []
    # top-1 and top-5
    true = [got[0].best.index, got[1].best.label, got[2].classes[1].index] + [next(c for c in range(11) if c not in [s.index for s in r.classes])
                                                                              for r in classifier(pictures[3:], top=5)]
    assert classifier.evaluate(pictures, true) == tp.Accuracy(5, 2 / 5, 3 / 5)
    planes = classifier.preprocess(pictures[0])
    assert planes.shape == (3, 64, 64) and planes.dtype == np.float32


def test_pillow_pictures(pictures, uniformer):
    image = pytest.importorskip("PIL.Image")
    classifier = tp.Classifier(uniformer)
    assert classifier(image.fromarray(np.load(pictures[0]))).classes == classifier(pictures[0]).classes


def test_classifiers_name_what_is_wrong(pictures, uniformer, tmp_path):
    for labels, error in ((["a"], tn.ModelError), (["a\nb"] * 11, tn.ArgumentError), (tmp_path / "none.txt", tn.FileError)):
        with pytest.raises(error, match="classes|line break|none.txt"):
            tp.Classifier(uniformer, labels=labels)
    with pytest.raises(tn.RequestError, match="head"):
        tp.Classifier(UNIFORMER, image_size=64)
    with pytest.raises(tn.ArgumentError, match="options of a build"):
        tp.Classifier(uniformer, image_size=64)
    with pytest.raises(tn.RequestError):
        tp.Classifier(DETECT / "detector.onnx")
    with pytest.raises(tn.ArgumentError, match="batch"):
        tp.Classifier(uniformer, batch=0)
    with pytest.raises(TypeError, match="unknown option 'colour'"):
        tp.Classifier(UNIFORMER, colour=1)
    classifier = tp.Classifier(uniformer)
    with pytest.raises(tn.DtypeError, match="uint8"):
        classifier(np.zeros((4, 4, 3)))
    with pytest.raises(tn.NoSuchFile, match="none.png") as e:
        classifier([pictures[0], "none.png"])
    assert e.value.file == "none.png"
    with pytest.raises(tn.ArgumentError, match="top"):
        classifier(pictures[0], top=0)
    with pytest.raises(tn.ModelError, match="'11' is no class"):
        classifier.evaluate(pictures[:1], [11])
    with pytest.raises(tn.ArgumentError, match="5 pictures and 1"):
        classifier.evaluate(pictures, [1])


def test_several_threads_share_a_classifier(pictures, uniformer):
    classifier = tp.Classifier(uniformer, threads=1)
    want = [c.classes for c in classifier(pictures)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: classifier(pictures), range(8)):
            assert [c.classes for c in got] == want


# ---- objects ----


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two pictures, and annotations of some of the boxes that the model always finds."""
    folder = tmp_path_factory.mktemp("scenes")
    share = np.float64([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0.3, 0.3, 0.9, 0.95]])
    images, annotations = [], []
    for i, (w, h) in enumerate(((90, 60), (48, 100))):
        np.save(folder / f"{i}.npy", np.full((h, w, 3), 120 + 40 * i, np.uint8))
        images.append({"id": 10 + i, "file_name": f"{i}.npy", "width": w, "height": h})
        for k, category in enumerate((19, 1, 3 - i)):
            x0, y0, x1, y1 = share[k] * [w, h, w, h]
            annotations.append({"id": len(annotations) + 1, "image_id": 10 + i, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0],
                                "area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]})
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}, {"id": 3, "name": "car"}, {"id": 19, "name": "horse"}]
    (folder / "truth.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder


@pytest.fixture(scope="module")
def detector():
    return tp.Detector(DETECT / "detector.onnx", labels="coco", score_threshold=0.3)


def test_objects_are_those_of_the_command(tenon, detector, scenes, tmp_path):
    files = [scenes / "0.npy", scenes / "1.npy"]
    want = lines(tenon.ok("detect", "-m", DETECT / "detector.onnx", "--labels", "coco", "--json", "--html", tmp_path / "c.html", *files))
    found = detector(files)
    for f, w in zip(found, want, strict=True):
        got = parsed(f)
        assert got["file"] == w["file"] and (got["width"], got["height"]) == (w["width"], w["height"])
        same([by_name(d) for d in got["detections"]], [by_name(d) for d in w["detections"]], 1e-7)
    one = found[0]
    assert len(one) == 3 and detector.has_masks and not detector.labels_are_ids and detector.label(17) == "horse" and detector.label(500) is None
    assert one.boxes.shape == (3, 4) and one.boxes.dtype == np.float32 and one.labels.dtype == np.int64
    assert one.masks.shape == (3, 60, 90) and one.masks.dtype == bool
    for mask, runs, (x0, y0, x1, y1) in zip(one.masks, one.runs, one.boxes):
        assert tn._core.rle_encode(mask.view(np.uint8)) == runs
        ys, xs = np.nonzero(mask)
        assert xs.min() >= x0 - 2 and xs.max() <= x1 + 2 and ys.min() >= y0 - 2 and ys.max() <= y1 + 2
    assert len(one.above(0.85)) == 1 == len(detector(files[0], score_threshold=0.85)) and one.above(0.85).masks.shape == (1, 60, 90)
    none = one.above(2)
    assert len(none) == 0 and none.to_dict()["detections"] == [] and (none.draw() == np.load(files[0])).all()
    # pictures and pages are those of the command
    tenon.ok("detect", "-m", DETECT / "detector.onnx", "--labels", "coco", "--overlay", tmp_path / "c.png", files[0])
    assert (one.draw() == tp.load_image(tmp_path / "c.png")).all() and (one.draw(np.load(files[0])) == one.draw()).all()
    tp.save_image(one.draw(), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "c.png").read_bytes()
    import re

    timeless = lambda text: re.sub(r"[0-9.]+ ms", "ms", text)  # noqa: E731
    assert timeless(tp.detections_page(found)) == timeless((tmp_path / "c.html").read_text())
    assert one.to_html(tmp_path / "one.html") is None and (tmp_path / "one.html").read_text() == one.to_html()
    planes, scale = detector.preprocess(files[0])
    assert planes.shape == (3, round(60 * scale[1]), round(90 * scale[0]))


def test_scores_of_a_detector_are_those_of_the_command(tenon, detector, scenes, tmp_path):
    truth, files = scenes / "truth.json", [scenes / "0.npy", scenes / "1.npy"]
    want = json.loads(tenon.ok("detect", "-m", DETECT / "detector.onnx", "--labels", "coco", "--eval", truth, "--json", scenes))
    got = detector.evaluate(files, truth, save_results=tmp_path / "r.json")
    same(got.boxes, want["boxes"], 1e-11)
    same(got.masks, want["masks"], 1e-11)
    assert [(c[0], c[1]) for c in got.categories] == [(c["id"], c["name"]) for c in want["categories"]]
    assert (got.images, got.annotations, got.detections) == (want["images"], want["annotations"], want["detections"])
    assert tp.coco_scores(truth, tmp_path / "r.json") == got
    arrays = [np.load(f) for f in files]
    assert detector.evaluate(arrays, json.loads(truth.read_text()), image_ids=[10, 11]).boxes == got.boxes
    assert detector.evaluate(files[:1], truth).boxes["AP"] == pytest.approx(1)
    with pytest.raises(tn.ModelError, match="is no image of"):
        detector.evaluate([DETECT / "x.png"], truth)
    with pytest.raises(tn.ArgumentError, match="image_ids"):
        detector.evaluate(arrays, truth)
    with pytest.raises(tn.ModelError, match="no COCO annotation file"):
        detector.evaluate(files, b"{}")
    with pytest.raises(tn.ModelError, match="none of the classes found"):
        tp.Detector(DETECT / "detector.onnx", labels=["cat"] * 80).evaluate(files, truth)


def test_scores_of_files_are_pycocotools(tenon):
    expected = json.loads((DETECT / "expected.json").read_text())
    for name in ("results", "masks"):
        for results in (DETECT / f"{name}.json", json.loads((DETECT / f"{name}.json").read_text())):
            got = tp.coco_scores(DETECT / "annotations.json", results)
            same(got.boxes, expected[name]["boxes"], 1e-9)
            same(got.masks, expected[name]["masks"], 1e-9)
    assert tp.coco_scores(DETECT / "annotations.json", []).boxes["AP"] == 0
    for bad, says in (([1], "result 0"), ({}, "is no list"), ([{"image_id": 10 ** 9, "category_id": 1, "score": 1, "bbox": [0, 0, 1, 1]}], "no image with the id")):
        with pytest.raises(tn.ModelError, match=says):
            tp.coco_scores(DETECT / "annotations.json", bad)
    with pytest.raises(tn.ModelError, match="no image with the id 123456789"):
        tp.coco_scores(DETECT / "annotations.json", [], [123456789])
    with pytest.raises(tn.FileError, match="none.json"):
        tp.coco_scores("none.json", [])


def test_detectors_name_what_is_wrong(detector, scenes, uniformer, tmp_path):
    with pytest.raises(tn.RequestError, match="detects nothing"):
        tp.Detector(uniformer)
    with pytest.raises(tn.ArgumentError, match="score_threshold"):
        tp.Detector(DETECT / "detector.onnx", score_threshold=3)
    with pytest.raises(tn.ModelError, match="too long and narrow"):
        detector(np.zeros((1, 20000, 3), np.uint8))
    found = detector(scenes / "0.npy")
    with pytest.raises(tn.ShapeError, match="90 x 60"):
        found.draw(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(tn.FileError, match="nowhere"):
        found.to_html(tmp_path / "nowhere" / "x.html")
    for mangle in (dict(boxes=found.boxes[:1]), dict(labels=found.labels.astype(np.int32)), dict(runs=["9"] * 3), dict(names=[])):
        row = {k: getattr(found, k) for k in ("boxes", "scores", "labels", "names", "runs")} | mangle
        with pytest.raises((tn.ShapeError, tn.DtypeError, tn.ModelError)):
            tn._core.detect_draw(np.load(scenes / "0.npy"), tuple(row.values()))
    with pytest.raises(tn.ModelError, match="add up"):
        tn._core.rle_decode("9", 3, 4)


# ---- forms ----


@pytest.fixture(scope="module")
def reader():
    return tp.DocReader(FORM, overlap=16)


def test_forms_are_those_of_the_command(tenon, reader, tmp_path):
    args = ("doc", "-m", FORM, "--overlap", 16, FORM / "page.png", FORM / "page.json")
    want = json.loads(tenon.ok(*args, "--json", "--overlay", tmp_path / "c.png", "--html", tmp_path / "c.html"))
    form = reader(FORM / "page.png", FORM / "page.json")
    same(by_name(parsed(form)), by_name(want))
    assert (form.draw() == tp.load_image(tmp_path / "c.png")).all() and "data:image/png;base64," in form.to_html()
    assert [e.order for e in form.in_order()] == list(range(len(form.entities))) and len(form.labels) == len(form.words) == len(form.scores)
    assert set(form.labels) <= set(reader.labels) and form.scores.dtype == np.float32 and reader.size[0] > 0
    pairs = form.pairs()
    assert sum(len(a) for _, a in pairs) == sum(e.question is not None for e in form.entities)
    assert [q.label for q, _ in pairs] == ["question"] * len(pairs)
    # the same words in other forms
    rows = (tp.load_words(FORM / "page.json")[0], (FORM / "page.json").read_bytes(), json.loads((FORM / "page.json").read_text()))
    array = tp.load_image(FORM / "page.png")
    for words in rows:
        other = reader([array], [words])[0]
        assert other.entities == form.entities and other.labels == form.labels
    alone = reader(array, [(w.text, w.box) for w in form.words])
    apart = tp.DocReader(FORM, overlap=16, word_boxes=True)(array, FORM / "page.json")
    assert [w.text for w in alone.words] == [w.text for w in form.words] and alone.windows == form.windows and all(w.segment == -1 for w in alone.words)
    assert apart.labels == alone.labels


def test_entities_are_counted_as_by_the_command(tenon, reader, tmp_path):
    for name, file in (("annotations", "page.json"), ("images", "page.png")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes((FORM / file).read_bytes())
    for overlap in (0, 16):
        want = lines(tenon.ok("doc", "-m", FORM, "--overlap", overlap, "--json", "--eval", tmp_path))[-1]
        got = (reader if overlap else tp.DocReader(FORM, overlap=0)).evaluate([FORM / "page.png"], [FORM / "page.json"])
        assert got.pages == 1 and list(got.types) == list(want["types"])
        for mine, theirs in [*((got.types[k], want["types"][k]) for k in got.types), (got.all, want["all"])]:
            same({k: getattr(mine, k) for k in theirs}, theirs)
    words = tp.load_words(FORM / "page.json")[0]
    form = reader(FORM / "page.png", words)
    whole = tp.entity_scores([[w.label for w in words]], [form.labels])
    assert whole.types == got.types and whole.f1 == got.f1
    seqeval = tp.entity_scores([["B-X", "I-X", "O", "B-Y"], ["O"]], [["B-X", "I-X", "O", "B-X"], ["I-Y"]])
    assert seqeval.types == {"X": tp.TypeScore(1, 2, 1), "Y": tp.TypeScore(0, 1, 1)} and seqeval.f1 == 0.4 and tp.TypeScore().f1 == 0
    with pytest.raises(tn.ShapeError, match="4 tags are expected, 1 predicted|1 tags are expected, 2 predicted"):
        tp.entity_scores([["O"]], [["O", "O"]])


def test_inputs_of_a_form(reader):
    golden = np.load(FORM / "golden.npz")
    plain = tp.DocReader(FORM, overlap=0)
    for i in range(len(golden["input_ids"])):
        got = plain.inputs(FORM / "page.png", FORM / "page.json", i)
        assert (got["input_ids"] == golden["input_ids"][i]).all() and (got["bbox"] == golden["bbox"][i]).all()
    with pytest.raises(tn.ArgumentError):
        plain.inputs(FORM / "page.png", FORM / "page.json", 99)


def test_readers_name_what_is_wrong(reader, uniformer):
    page = np.full((40, 60, 3), 255, np.uint8)
    with pytest.raises(tn.ArgumentError, match="overlap"):
        tp.DocReader(FORM)
    with pytest.raises(tn.RequestError):
        tp.DocReader(uniformer)
    with pytest.raises(tn.FileError, match="nowhere"):
        tp.DocReader(FORM, overlap=8, tokenizer="nowhere")
    for words, says in (([], "no words"), ([("a", (5, 0, 1, 1))], "inverted"), ([("a", (0, 0, 5000, 1))], "leaves the picture"), (b"", "empty"), ({"form": []}, "no words"),
                        ([("  ", (0, 0, 1, 1))], "no words")):
        with pytest.raises(tn.ModelError, match=says):
            reader(page, words)
    with pytest.raises(tn.ShapeError, match="word 0"):
        reader(page, [("a", (1, 2, 3))])
    with pytest.raises(tn.ArgumentError, match="segment"):
        reader(page, [tp.Word("a", (0, 0, 1, 1), 1 << 40)])
    with pytest.raises(ValueError):
        reader(page, [("a\0b", (0, 0, 1, 1))])
    with pytest.raises(tn.NoSuchFile, match="none.tsv"):
        reader(page, "none.tsv")
    with pytest.raises(tn.ArgumentError, match="2 pictures"):
        reader([page, page], ["none.tsv"])
    with pytest.raises(tn.ModelError, match="label"):
        reader.evaluate([page], [[("a", (0, 0, 5, 5))]])
    assert len(tp.DocReader(FORM, overlap=8, clip=True)(page, [("a", (0, 0, 5000, 1))]).entities) == 1
    form = reader(page, [("a", (0, 0, 5, 5)), ("b", (9, 9, 20, 20))])
    for order, question in ((7, None), (form.entities[-1].order + len(form.entities), None), (form.entities[0].order, 99)):
        rows = form._rows()
        rows[0] = (*rows[0][:6], order, question)
        with pytest.raises(tn.ArgumentError, match="entity 0"):
            tn._core.doc_draw(page, rows)


# ---- phrases ----


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    d = tmp_path_factory.mktemp("ground")
    (d / "vocab.txt").write_text("\n".join(G.VOCAB) + "\n")
    pics = G.pictures()
    (d / "list.json").write_text(json.dumps(G.phrases(pics)))
    G.toy(d / "model.onnx")
    G.save_npz(d / "npz", pics)
    return d, pics


@pytest.fixture(scope="module")
def grounder(world):
    return tp.Grounder(world[0] / "model.onnx", vocabulary=world[0] / "vocab.txt")


def ground(d, *args):
    return "ground", "-q", "-m", d / "model.onnx", "--vocab", d / "vocab.txt", "-f", d / "npz", "--json", *args


def test_groundings_are_those_of_the_command(tenon, world, grounder, tmp_path):
    d, pics = world
    features = tp.Features(d / "npz")
    items = [p for p in tp.load_phrases(d / "list.json") if len(p.text) < 40]
    want = lines(tenon.ok(*ground(d, "--list", d / "list.json", "--top", 3)))
    want = [w for w in want if len(w["phrase"]) < 40]
    got = grounder.answer([p.text for p in items], [features[p.image] for p in items], [p.box for p in items])
    for g, w in zip(got, want, strict=True):
        same(by_name(parsed(g, top=3)), by_name(w), 1e-6)
    one = items[0].image
    alone = grounder("man", features[one])
    assert [g.region for g in grounder(["man", "left"], d / "npz" / f"{one}.npz")][0] == alone.region and alone.top(1)[0].score == alone.score
    assert grounder("man", pics[one]).logits.tolist() == alone.logits.tolist() == grounder("man", (d / "npz" / f"{one}.npz").read_bytes()).logits.tolist()
    assert alone.shares.sum() == pytest.approx(1) and alone.box.dtype == np.float32 and features.only is None and len(features[int(one)]) == len(alone.regions)
    # pictures and pages
    w, h = int(alone.regions.width), int(alone.regions.height)
    np.save(tmp_path / f"{one}.npy", np.full((h, w, 3), 200, np.uint8))
    tenon.ok(*ground(d, "--image", tmp_path / f"{one}.npy", "--overlay", tmp_path / "c.png", "--html", tmp_path / "c.html", "man", "left"))
    both = grounder(["man", "left"], features[one])
    assert (tp.draw_groundings(tmp_path / f"{one}.npy", both) == tp.load_image(tmp_path / "c.png")).all()
    assert tp.groundings_page(tmp_path / f"{one}.npy", both, top=1) == (tmp_path / "c.html").read_text()
    assert alone.draw(np.zeros((h, w, 3), np.uint8)).any() and "<svg" in alone.to_html(np.zeros((h, w, 3), np.uint8))
    inputs = grounder.inputs("man", features[one])
    assert inputs["input_ids"][:3].tolist() == [2, G.VOCAB.index("man"), 3] and inputs["features"].shape == (101, 6)
    assert np.allclose(inputs["spatials"][:len(alone.logits)], G.rows(pics[one])[1], rtol=1e-6)


def test_accuracy_of_groundings_is_that_of_the_command(tenon, world, grounder):
    d, pics = world
    want = lines(tenon.ok(*ground(d, "--eval", d / "list.json")))[-1]
    got = grounder.evaluate(d / "list.json", d / "npz")
    assert (got.phrases, got.right, got.phrases_cut, got.regions_cut) == tuple(want[k] for k in ("phrases", "right", "phrases_cut", "regions_cut"))
    assert got.accuracy == pytest.approx(want["accuracy"], abs=1e-6) and got.loss == pytest.approx(want["loss"], rel=1e-6)
    assert grounder.evaluate(tp.load_phrases(d / "list.json"), pics).loss == got.loss
    small = tp.Grounder(d / "model.onnx", vocabulary=d / "vocab.txt", tokens=6, regions=5)
    assert (small.tokens, small.regions, small.width) == (6, 5, 6)
    want = lines(tenon.ok(*ground(d, "--eval", d / "list.json", "--max-tokens", 6, "--max-regions", 5)))[-1]
    got = small.evaluate(d / "list.json", d / "npz")
    assert (got.right, got.regions_cut) == (want["right"], want["regions_cut"]) and got.loss == pytest.approx(want["loss"], rel=1e-6)
    with pytest.warns(tn.Warning) as cut:
        small("a man in a red shirt on the left", next(iter(pics.values())))
    assert ["first tokens" in str(w.message) for w in cut] == [True, False] and "6 regions" in str(cut[1].message)


def test_grounders_name_what_is_wrong(world, grounder, uniformer):
    d, pics = world
    p = next(iter(pics.values()))
    with pytest.raises(tn.RequestError):
        tp.Grounder(uniformer, vocabulary=d / "vocab.txt")
    with pytest.raises(tn.RequestError, match="vocab"):
        tp.Grounder(d / "model.onnx")
    with pytest.raises(tn.FileError, match="none.txt"):
        tp.Grounder(d / "model.onnx", vocabulary="none.txt")
    with pytest.raises(tn.ModelError, match="empty"):
        grounder("", p)
    with pytest.raises(tn.ModelError, match="1234567"):
        tp.Features(d / "npz")["1234567"]
    with pytest.raises(tn.FileError, match="nowhere"):
        tp.Features("nowhere")
    with pytest.raises(tn.ArgumentError, match="2 phrases"):
        grounder(["a", "b"], [p])
    for mangle, error in ((dict(boxes=p["boxes"][:, ::-1]), tn.ModelError), (dict(features=p["features"] * np.float32(np.nan)), tn.ModelError), (dict(features="x"), tn.DtypeError),
                          (dict(boxes=p["boxes"][0]), tn.ShapeError), (dict(num_boxes=99), tn.ModelError), (dict(boxes=p["boxes"] * 9), tn.ModelError)):
        with pytest.raises(error):
            grounder("man", {**p, **mangle})
    with pytest.raises(tn.ModelError, match="'boxes'"):
        grounder("man", {k: v for k, v in p.items() if k != "boxes"})
    with pytest.raises(tn.DtypeError, match="mapping"):
        grounder("man", 3)
    with pytest.raises(tn.ModelError, match="4 numbers a region"):
        grounder("man", {**p, "features": p["features"][:, :4]})
    with pytest.raises(tn.ModelError, match="no box"):
        grounder.evaluate([tp.Phrase("man", "1000")], pics)
    clipped = tp.Regions.load({**p, "boxes": p["boxes"] * 9}, clip=True)
    assert (clipped.boxes <= max(p["image_w"], p["image_h"])).all() and not (p["boxes"] * 9 == clipped.boxes).all()
    with pytest.raises(tn.ArgumentError, match="row"):
        clipped.box(len(clipped) + 1)


# ---- options of builds that only checkpoint files need ----


def test_options_of_checkpoint_files(tmp_path):
    data = ROOT / "tests" / "hf" / "data"
    plan = tn.build(data / "vilbert.bin", config=data / "vilbert.json", head=["vision_logit", "vil_prediction"])
    assert {o.name for o in tn.InferenceSession(plan).get_outputs()} == {"vision_logit", "vil_prediction"}
    session = tn.InferenceSession(data / "vilbert.bin", config=data / "vilbert.json", cache=tmp_path)
    assert [o.name for o in session.get_outputs()] == ["vision_logit"]
    with pytest.raises(tn.Error, match="config"):
        tn.build(data / "vilbert.bin")
    with pytest.raises(tn.Error, match="sideways"):
        tn.build(data / "detector_global.pth", head_dim=8, attention="sideways")
    with pytest.raises(tn.ArgumentError, match="buckets"):
        tn.build(data / "vilbert.bin", config=data / "vilbert.json", buckets={"batch": "x"})
    assert tn.build(UNIFORMER, buckets={"batch": (1, 4)}, shapes={"batch": (1, 2, 8)}, **OPEN)
