# SPDX-License-Identifier: Apache-2.0
"""The verbs: results, JSON, and precise errors with exit status 2 that leave nothing behind."""
import json
import os

import numpy as np
import pytest

from conftest import MODEL

VERBS = ["build", "run", "bench", "compare", "inspect", "explain", "ocr"]


def test_help_and_version(tenon):
    top = tenon.ok("--help")
    assert all(v in top for v in VERBS)
    assert tenon.ok("--version").startswith("tenon 0.")
    for verb in VERBS:
        assert f"usage: tenon {verb}" in tenon.ok(verb, "--help")


def test_unknown_words(tenon):
    assert "no verb 'frobnicate'" in tenon.fails("frobnicate")
    assert "--nonsense" in tenon.fails("run", "--nonsense")
    assert "whole number" in tenon.fails("run", "--threads", "many", "x")
    assert "needs a value" in tenon.fails("build", "x", "-o")


def test_build_run_compare(tenon, small_model, tmp_path):
    plan, out = tmp_path / "s.plan", tmp_path / "out.npz"
    tenon.ok("build", small_model / "model.onnx", "-o", plan, "--shapes", "batch=1:2:4")
    assert "y float32 [3,5]" in tenon.ok("run", plan, "-i", small_model / "x.npz", "-o", out)
    np.testing.assert_allclose(np.load(out)["y"], np.load(small_model / "y.npz")["y"], rtol=1e-5, atol=1e-6)
    tenon.ok("compare", plan, "-i", small_model / "x.npz", "-e", small_model / "y.npz")
    report = json.loads(tenon.ok("compare", plan, "--model", small_model / "model.onnx", "-i", small_model / "x.npz", "--json", "--layers"))
    assert report["ok"] and any(t["name"] == "y" for t in report["tensors"])
    np.savez(tmp_path / "wrong.npz", y=np.load(small_model / "y.npz")["y"] + 1)
    assert tenon.run("compare", plan, "-i", small_model / "x.npz", "-e", tmp_path / "wrong.npz").returncode == 1


def test_single_npy_input(tenon, small_model, tmp_path):
    np.save(tmp_path / "x.npy", np.load(small_model / "x.npz")["x"])
    assert "[3,5]" in tenon.ok("run", small_model / "model.onnx", "--inputs", f"x={tmp_path}/x.npy")


def test_wrong_inputs_are_named(tenon, small_model, tmp_path):
    model = small_model / "model.onnx"
    plan = tmp_path / "s.plan"
    tenon.ok("build", model, "-o", plan, "-q", "--shapes", "batch=1:2:4")
    np.savez(tmp_path / "name.npz", z=np.zeros((3, 8), np.float32))
    np.savez(tmp_path / "shape.npz", x=np.zeros((3, 9), np.float32))
    np.savez(tmp_path / "rank.npz", x=np.zeros(8, np.float32))
    np.savez(tmp_path / "type.npz", x=np.zeros((3, 8), np.float64))
    np.savez(tmp_path / "range.npz", x=np.zeros((9, 8), np.float32))
    out = tmp_path / "out.npz"
    for file, words in [("name", ["'z'", "x"]), ("shape", ["'x'", "9", "8"]), ("rank", ["'x'"]), ("type", ["'x'", "float64", "float32"]),
                        ("range", ["batch", "9", "--shapes"])]:
        message = tenon.fails("run", plan, "-i", tmp_path / f"{file}.npz", "-o", out)
        assert all(w in message for w in words), message
    assert "'x' is not given" in tenon.fails("run", plan)
    assert not out.exists()


def test_damaged_models_leave_no_plan(tenon, small_model, tmp_path):
    data = (small_model / "model.onnx").read_bytes()
    plan = tmp_path / "m.plan"
    for cut in range(0, len(data) - 1, 7):
        (tmp_path / "cut.onnx").write_bytes(data[:cut])
        tenon.fails("build", tmp_path / "cut.onnx", "-o", plan)
    assert os.listdir(tmp_path) == ["cut.onnx"]
    assert "cannot be opened" in tenon.fails("build", tmp_path / "none.onnx", "-o", plan)
    assert "config.json" in tenon.fails("build", tmp_path, "-o", plan)


def test_damaged_plans_are_refused(tenon, small_model, tmp_path):
    plan, bad = tmp_path / "m.plan", tmp_path / "bad.plan"
    tenon.ok("build", small_model / "model.onnx", "-o", plan, "-q")
    data = plan.read_bytes()
    for cut in [0, 1, 7, 8, 100, len(data) // 2, len(data) - 1]:
        bad.write_bytes(data[:cut])
        tenon.fails("run", bad, "-i", small_model / "x.npz")
    for at in range(0, 2000, 131):
        flipped = bytearray(data)
        flipped[at % len(data)] ^= 1
        bad.write_bytes(flipped)
        assert tenon.run("run", bad, "-i", small_model / "x.npz").returncode == 2, at


def test_existing_plan_survives_a_failed_build(tenon, small_model, tmp_path):
    plan = tmp_path / "m.plan"
    tenon.ok("build", small_model / "model.onnx", "-o", plan, "-q")
    before = plan.read_bytes()
    tenon.fails("build", small_model / "x.npz", "-o", plan)
    assert plan.read_bytes() == before


def test_unsupported_operators_are_all_named(tenon, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("StringNormalizer", ["a"], ["b"], name="first"),
             helper.make_node("Frobnicate", ["b"], ["c"], name="second", domain="example"), helper.make_node("Frobnicate", ["c"], ["y"], name="third", domain="example")]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:]), ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("example", 1)])
    onnx.save(model, tmp_path / "u.onnx")
    message = tenon.fails("build", tmp_path / "u.onnx", "-o", tmp_path / "u.plan")
    assert all(w in message for w in ["StringNormalizer", "Frobnicate", "first", "second", "third"]), message


def test_inspect_and_explain(tenon, small_model, tmp_path):
    before = tenon.ok("inspect", small_model / "model.onnx", "--after", "import")
    after = tenon.ok("inspect", small_model / "model.onnx")
    assert "matmul" in before and "batch" in before and "matmul" not in after and "gemm" in after
    assert "fold" in tenon.fails("inspect", small_model / "model.onnx", "--after", "nonsense")
    plan = tmp_path / "m.plan"
    tenon.ok("build", small_model / "model.onnx", "-o", plan, "-q")
    assert "gemm" in tenon.ok("inspect", plan, "--verify")
    json.loads(tenon.ok("inspect", plan, "--json"))
    assert "gemm" in tenon.ok("explain", plan)


def test_tuning_and_timing_cache(tenon, small_model, tmp_path):
    plan, cache = tmp_path / "m.plan", tmp_path / "timings"
    for _ in range(2):
        tenon.ok("build", small_model / "model.onnx", "-o", plan, "-q", "--tune", "--timing-cache", cache, "--threads", 1)
        tenon.ok("compare", plan, "-i", small_model / "x.npz", "-e", small_model / "y.npz")
    assert cache.stat().st_size > 0
    cache.write_bytes(b"damaged")
    tenon.ok("build", small_model / "model.onnx", "-o", plan, "-q", "--tune", "--timing-cache", cache)


def test_bench(tenon, small_model):
    rows = json.loads(tenon.ok("bench", small_model / "model.onnx", "--batch", "1,4", "--threads", "1,2", "--runs", 5, "--json", "--profile"))
    assert [(r["batch"], r["threads"]) for r in rows] == [(1, 1), (1, 2), (4, 1), (4, 2)]
    assert all(r["min_ms"] <= r["median_ms"] <= r["p99_ms"] and r["steps"] for r in rows)
    assert "items/s" in tenon.ok("bench", MODEL, "--runs", 3, "--tokens", 4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_a_bit(tenon, tmp_path, threads):
    from conftest import FIXTURES

    case = FIXTURES / "layoutlmv3_ts17_dynamic"
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    tenon.ok("run", case / "model.onnx", "-i", case / "inputs.0.npz", "-o", a, "-q", "--threads", 1)
    tenon.ok("run", case / "model.onnx", "-i", case / "inputs.0.npz", "-o", b, "-q", "--threads", threads)
    x, y = np.load(a), np.load(b)
    assert all(x[k].tobytes() == y[k].tobytes() for k in x.files)
