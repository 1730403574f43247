# SPDX-License-Identifier: Apache-2.0
"""tenon detect: lines, JSON, overlays, pages, folders, COCO's scores with and without a model, and bad input; on tiny detectors."""
import json
import shutil

import numpy as np
import pytest

from conftest import ROOT, SHARED

DATA = ROOT / "tests" / "pipelines" / "data" / "detect"
MODEL = DATA / "detector.onnx"
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.fixture(scope="module")
def plan(tenon, tmp_path_factory):
    path = tmp_path_factory.mktemp("detect") / "detector.plan"
    tenon.ok("build", MODEL, "-o", path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two pictures as .npy and annotations of them: the boxes that the model always finds, one of them of another category."""
    folder = tmp_path_factory.mktemp("pictures")
    share = np.float64([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0.3, 0.3, 0.9, 0.95]])
    images, annotations = [], []
    for i, (w, h) in enumerate(((90, 60), (48, 100))):
        np.save(folder / f"{i}.npy", np.full((h, w, 3), 120 + 40 * i, np.uint8))
        images.append({"id": 10 + i, "file_name": f"{i}.npy", "width": w, "height": h})
        for k, category in enumerate((19, 1, 3 - i)):
            x0, y0, x1, y1 = share[k] * [w, h, w, h]
            annotations.append({"id": len(annotations) + 1, "image_id": 10 + i, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0],
                                "area": (x1 - x0) * (y1 - y0), "iscrowd": 0})
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}, {"id": 3, "name": "car"}, {"id": 19, "name": "horse"}]
    (folder / "truth.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder


def runs_of(text):
    """COCO's compressed run lengths."""
    counts, at = [], 0
    while at < len(text):
        value, shift = 0, 0
        while True:
            c = ord(text[at]) - 48
            at += 1
            value |= (c & 31) << shift
            shift += 5
            if not c & 32:
                value -= (c & 16) and 1 << shift
                break
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def test_lines_and_json_agree(tenon, plan, pictures):
    files = [pictures / "0.npy", pictures / "1.npy"]
    out = [json.loads(line) for line in tenon.ok("detect", "-m", plan, "--labels", "coco", "--json", *files).splitlines()]
    rows = [r.split("\t") for r in tenon.ok("detect", "-m", plan, "--labels", "coco", *files).splitlines()]
    assert [(r["file"], r["width"], r["height"]) for r in out] == [(str(files[0]), 90, 60), (str(files[1]), 48, 100)]
    flat = [(r["file"], d) for r in out for d in r["detections"]]
    assert len(flat) == len(rows) == 6
    for (file, d), row in zip(flat, rows):
        assert row[:2] == [file, d["name"]] and float(row[2]) == pytest.approx(d["score"], abs=1e-4)
        assert [float(v) for v in row[3:]] == pytest.approx(d["box"], abs=0.051)
        h, w = d["segmentation"]["size"]
        runs = runs_of(d["segmentation"]["counts"])
        assert sum(runs) == h * w and 0 < sum(runs[1::2]) < h * w
        covered = np.repeat(np.arange(len(runs)) % 2, runs).reshape(w, h).T
        x0, y0, x1, y1 = d["box"]
        ys, xs = np.nonzero(covered)
        assert xs.min() >= x0 - 2 and xs.max() <= x1 + 2 and ys.min() >= y0 - 2 and ys.max() <= y1 + 2
    assert {d["name"] for d in out[0]["detections"]} == {"person", "car", "horse"} and out[0]["detections"][0]["class"] == 17
    assert all(r[k] >= 0 for r in out for k in ("preprocess_milliseconds", "run_milliseconds", "postprocess_milliseconds"))
    assert "\t17\t0.9000\t" in tenon.ok("detect", "-m", MODEL, files[0])  # without names, and a model in place of a plan
    assert len(tenon.ok("detect", "-m", plan, "--score-threshold", 0.85, *files).splitlines()) == 2


def test_folders_lists_overlays_and_pages(tenon, plan, pictures, tmp_path):
    (tmp_path / "list.txt").write_text(f"# pictures\n{pictures}/0.npy\tignored\n\n{pictures}/1.npy\n")
    whole = tenon.ok("detect", "-m", plan, pictures)
    assert tenon.ok("detect", "-m", plan, tmp_path / "list.txt") == whole and len(whole.splitlines()) == 6
    (tmp_path / "drawn").mkdir()
    tenon.ok("detect", "-m", plan, "--overlay", tmp_path / "drawn", "--html", tmp_path / "all.html", "--labels", "coco", pictures)
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["0.png", "1.png"]
    page = (tmp_path / "all.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and page.count("<rect") == 6 and "horse 0.90" in page and "http" not in page
    tenon.ok("detect", "-m", plan, "--overlay", tmp_path / "one.png", pictures / "0.npy")
    tenon.ok("detect", "-m", plan, "--overlay", tmp_path / "again.png", "-", stdin=(pictures / "0.npy").read_bytes())
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert "need a folder" in tenon.fails("detect", "-m", plan, "--overlay", tmp_path / "x.png", pictures)
    assert not (tmp_path / "x.png").exists()


def test_evaluation_of_a_model(tenon, plan, pictures, tmp_path):
    truth = pictures / "truth.json"
    args = ("detect", "-m", plan, "--labels", "coco", "--eval", truth, "--json")
    saved = tmp_path / "results.json"
    got = json.loads(tenon.ok(*args, "--save-results", saved, pictures))
    assert got["images"] == 2 and got["annotations"] == 6 and got["detections"] == 6 and "masks" not in got
    # horse and person are found on both; car on one of them, where it is; bicycle never
    ap = {c["name"]: c["box_ap"] for c in got["categories"]}
    assert ap["horse"] == pytest.approx(1) and ap["person"] == pytest.approx(1) and ap["bicycle"] == 0 and 0 < ap["car"] <= 1
    again = json.loads(tenon.ok("detect", "--score", saved, "--eval", truth, "--json"))
    assert again["boxes"] == got["boxes"] and again["categories"] == got["categories"]
    one = json.loads(tenon.ok(*args, pictures / "0.npy"))
    assert one["images"] == 1 and one["boxes"]["AP"] == pytest.approx(1)
    text = tenon.ok("detect", "-m", plan, "--labels", "coco", "--eval", truth, pictures).splitlines()
    assert text[0].startswith("boxes  AP 0.") and text[-1].startswith("2 pictures: ")
    # numbers in place of names: by order
    assert json.loads(tenon.ok("detect", "-m", DATA / "torchvision.onnx", "--eval", truth, "--json", pictures))["detections"] == 4
    shutil.copytree(pictures, tmp_path / "some")
    (tmp_path / "some" / "1.npy").unlink()
    assert "1 of 2 images are missing" in tenon.fails(*args, tmp_path / "some")
    assert "is no image of" in tenon.fails(*args, DATA / "results.json")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert "none of the model's 2 class names" in tenon.fails("detect", "-m", plan, "--labels", tmp_path / "labels.txt", "--eval", truth, pictures)


def test_scores_are_pycocotools(tenon):
    expected = json.loads((DATA / "expected.json").read_text())
    for name in ("results", "masks"):
        got = json.loads(tenon.ok("detect", "--score", DATA / f"{name}.json", "--eval", DATA / "annotations.json", "--json"))
        for kind in ("boxes", "masks"):
            assert list(got[kind]) == NAMES
            assert [got[kind][k] for k in NAMES] == pytest.approx([expected[name][kind][k] for k in NAMES], abs=1e-9)


def test_scores_of_real_annotations(tenon):
    folder = SHARED / "coco_eval"
    if not folder.exists():
        pytest.skip("no shared data")
    expected = json.loads((folder / "expected.json").read_text())["coco_bbox"]
    truth = folder / "test_coco_eval" / "gts" / "sampled_gts_bbox_area.json"
    for results in ("cocoapi_results.json", "dets/sampled_bbox_results.json"):
        got = json.loads(tenon.ok("detect", "--score", folder / "test_coco_eval" / results, "--eval", truth, "--json"))["boxes"]
        assert all(got[k] == pytest.approx(expected[k], abs=1e-6) for k in NAMES)


def random_files(rng):
    """Annotations and results with crowds, ties, empty images, polygons."""
    images = [{"id": int(i), "width": int(rng.integers(20, 160)), "height": int(rng.integers(20, 160)), "file_name": f"{i}"} for i in rng.permutation(40)[:12]]
    annotations, results = [], []
    for image in images[2:]:
        w, h = image["width"], image["height"]
        for _ in range(int(rng.integers(0, 7))):
            box = [float(v) for v in np.round(rng.random(4) * [w, h, w, h], 1)]
            x0, y0, x1, y1 = box[0], box[1], box[0] + box[2], box[1] + box[3]
            part = [[x0, y0, x1, y0, x1, y1, (x0 + x1) / 2, y1 - box[3] / 4]]
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": int(rng.integers(1, 4)), "bbox": box, "area": box[2] * box[3] * 30,
                                "iscrowd": int(rng.random() < 0.2), "segmentation": part})
            for _ in range(int(rng.integers(0, 4))):
                near = [float(v) for v in np.round(np.float64(box) + rng.normal(size=4) * 2, 1)]
                results.append({"image_id": image["id"], "category_id": annotations[-1]["category_id"] if rng.random() < 0.9 else 3, "score": float(rng.integers(0, 6)) / 5,
                                "bbox": [near[0], near[1], max(near[2], 1), max(near[3], 1)]})
    results.append({"image_id": images[0]["id"], "category_id": 1, "score": 0.5, "bbox": [0, 0, 5, 5]})
    return {"images": images, "categories": [{"id": i, "name": str(i)} for i in (3, 1, 2, 4)], "annotations": annotations}, results


def test_random_scores_are_pycocotools(tenon, tmp_path):
    pytest.importorskip("pycocotools")
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    for seed in range(10):
        truth, results = random_files(np.random.default_rng(seed))
        for i, r in enumerate(results):
            if i % 2:
                x, y, w, h = r["bbox"]
                r["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h * 0.8]]
        (tmp_path / "truth.json").write_text(json.dumps(truth))
        (tmp_path / "results.json").write_text(json.dumps(results))
        got = json.loads(tenon.ok("detect", "--score", tmp_path / "results.json", "--eval", tmp_path / "truth.json", "--json"))
        for kind, name in (("boxes", "bbox"), ("masks", "segm")):
            with contextlib.redirect_stdout(io.StringIO()):
                coco = COCO(str(tmp_path / "truth.json"))
                e = COCOeval(coco, coco.loadRes(str(tmp_path / "results.json")), name)
                e.evaluate()
                e.accumulate()
                e.summarize()
            assert [got[kind][k] for k in NAMES] == pytest.approx(list(e.stats), abs=1e-9), (seed, kind)


def test_what_is_wrong_is_named(tenon, plan, pictures, tmp_path):
    good, truth = pictures / "0.npy", pictures / "truth.json"
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    r = tenon.run("detect", "-m", plan, tmp_path / "cut.png", good)
    assert r.returncode == 2 and b"cut.png" in r.stderr and r.stdout.decode().startswith(f"{good}\t")
    assert "give the model" in tenon.fails("detect", good)
    assert "give pictures" in tenon.fails("detect", "-m", plan)
    assert "--eval" in tenon.fails("detect", "--score", DATA / "results.json")
    assert "--eval" in tenon.fails("detect", "-m", plan, "--save-results", tmp_path / "r.json", good)
    np.save(tmp_path / "long.npy", np.zeros((1, 20000, 3), np.uint8))
    assert "20000 x 1 pixels is too long and narrow" in tenon.fails("detect", "-m", plan, tmp_path / "long.npy")
    assert "detects nothing" in tenon.fails("detect", "-m", ROOT / "tests" / "hf" / "data" / "uniformer.pth", "--head-dim", 8, "--image-size", 64, good)
    for text, says in (("{", "no JSON"), ("[]", "a results file?"), ('{"images":3}', "no list 'images'")):
        (tmp_path / "bad.json").write_text(text)
        assert says in tenon.fails("detect", "--score", DATA / "results.json", "--eval", tmp_path / "bad.json")
    for text, says in (("{}", "is no list"), ("[1]", "result 0"), ('[{"image_id":99,"category_id":1,"score":1,"bbox":[0,0,1,1]}]', "no image with the id 99"),
                       ('[{"image_id":10,"category_id":1,"score":1,"segmentation":{"size":[60,91],"counts":"0"}}]', "90 x 60"),
                       ('[{"image_id":10,"category_id":1,"score":1,"segmentation":{"size":[60,90],"counts":"9"}}]', "add up to 9"),
                       ('[{"image_id":10,"category_id":1,"score":1e999,"bbox":[0,0,1,1]}]', "no JSON")):
        (tmp_path / "bad.json").write_text(text)
        assert says in tenon.fails("detect", "--score", tmp_path / "bad.json", "--eval", truth), text
    assert tenon.run("detect", "-m", plan, "--html", "/nowhere/at/all.html", good).returncode == 2
