# SPDX-License-Identifier: Apache-2.0
"""The Python package: build, compare, bench, inspect, explain, progress, warnings, the onnx.backend interface, text lines, the command line."""
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tenon as tn
from conftest import FIXTURES, MODEL, ROOT
from test_package_session import echo, graph, python

CASE = FIXTURES / "layoutlmv3_ts17_dynamic"
SAMPLES = MODEL / "samples"


def inputs(k=0):
    return dict(np.load(CASE / f"inputs.{k}.npz"))


# ---- build ----


def test_build_reports_progress_and_stops_when_asked(tmp_path):
    seen = []
    tn.build(CASE / "model.onnx", progress=lambda *a: seen.append(a))
    phases = {p for p, _, _ in seen}
    assert phases == {"verify"} and all(0 <= done <= total for _, done, total in seen) and seen[-1][1] > 5

    class Stop(Exception):
        pass

    def stop(phase, done, total):
        raise Stop(phase)

    with pytest.raises(Stop, match="verify"):
        tn.build(CASE / "model.onnx", tmp_path / "m.plan", progress=stop)
    assert not list(tmp_path.iterdir())
    with pytest.raises(tn.ArgumentError, match="progress"):
        tn.build(CASE / "model.onnx", progress=3)


def test_progress_bars():
    pytest.importorskip("tqdm")
    assert len(tn.build(CASE / "model.onnx", progress=True)) > 1000


def test_ctrl_c_stops_a_build(tmp_path):
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            tn.build(CASE / "model.onnx", tmp_path / "m.plan", progress=lambda phase, done, total: done == 5 and signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, old)
    assert not list(tmp_path.iterdir())


def test_builds_in_several_threads():
    plans = [None] * 3

    def work(k):
        plans[k] = tn.build(CASE / "model.onnx", threads=1)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert plans[0] == plans[1] == plans[2]


def test_options_of_a_build(tmp_path):
    model = echo(TensorProto.FLOAT)
    assert tn.build(model, shapes={"n": (1, 4)}) != tn.build(model, shapes={"n": 4}) == tn.build(model, shapes="n=4")
    tn.build(CASE / "model.onnx", tmp_path / "m.plan", samples=inputs(), threads=2)
    reference = tn.InferenceSession(tn.build(CASE / "model.onnx", reference=True)).run(None, inputs())[0]
    np.testing.assert_allclose(tn.InferenceSession(tmp_path / "m.plan").run(None, inputs())[0], reference, atol=1e-4 * np.abs(reference).max())
    tn.build(model, tune=True, timing_cache=tmp_path / "timings")
    for bad, words in ((dict(shapes="n"), "n"), (dict(shapes={"n": (1, 2, 3, 4)}), "shapes"), (dict(shapes={"q": 3}), "q"), (dict(cpu="i386"), "i386"),
                       (dict(threads=10_000), "10000"), (dict(stop_after="nonsense"), "nonsense"), (dict(samples={"z": np.zeros(3)}), "'x'")):
        with pytest.raises(tn.Error, match=words):
            tn.build(model, **bad)
    with pytest.raises(TypeError):
        tn.build(model, nonsense=1)
    with pytest.raises(OSError):
        tn.build(model, tmp_path / "none" / "m.plan")


def test_warnings_can_be_silenced_and_lines_go_to_the_logger(tmp_path, caplog):
    cache = tmp_path / "timings"
    cache.write_bytes(b"damaged")
    with pytest.warns(tn.Warning, match="timing"):
        tn.build(echo(TensorProto.FLOAT), tune=True, timing_cache=cache)
    cache.write_bytes(b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", tn.Warning)
        tn.build(echo(TensorProto.FLOAT), tune=True, timing_cache=cache)
    cache.write_bytes(b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("error", tn.Warning)
        with pytest.raises(tn.Warning):
            tn.build(echo(TensorProto.FLOAT), tune=True, timing_cache=cache)
    with caplog.at_level(logging.INFO, "tenon"):
        tn.build(echo(TensorProto.FLOAT))
    assert any("time:" in r.message for r in caplog.records)


# ---- compare, bench, inspect ----


def test_compare():
    result = tn.compare(CASE / "model.onnx", inputs(), layers=True)
    assert result and result.ok and {t.kind for t in result} == {"layer", "output"} and result.worst.max_abs <= 1e-4 * result.worst.scale
    json.dumps(result.to_dict())
    plan = tn.build(CASE / "model.onnx")
    want = dict(np.load(CASE / "outputs.0.npz"))
    assert tn.compare(plan, inputs(), expected=want) and tn.compare(plan, inputs(), model=CASE / "model.onnx")
    assert tn.compare(tn.InferenceSession(plan), inputs(), expected=want)
    wrong = tn.compare(plan, inputs(), expected={k: v + 1 for k, v in want.items()})
    assert not wrong and wrong.worst.max_abs == pytest.approx(1, abs=1e-3)
    other = tn.compare(plan, inputs(), expected={k: v[:, :-1] for k, v in want.items()})
    assert not other and other.tensors[0].problem
    assert tn.compare(echo(TensorProto.FLOAT), batch=3).tensors[0].max_abs == 0
    with pytest.raises(tn.ArgumentError, match="model"):
        tn.compare(plan, inputs())
    with pytest.raises(tn.UnknownNameError, match="nothing"):
        tn.compare(plan, inputs(), expected={"nothing": want["logits"]})


def test_reference_interpreter():
    names = []
    y = tn.run_reference(CASE / "model.onnx", inputs(), lambda name, array: names.append((name, array.shape)))
    want = np.load(CASE / "outputs.0.npz")["logits"]
    np.testing.assert_allclose(y["logits"], want, atol=1e-4 * np.abs(want).max())
    assert len(names) > 100
    with pytest.raises(tn.UnknownNameError):
        tn.run_reference(CASE / "model.onnx", {})
    with pytest.raises(ZeroDivisionError):
        tn.run_reference(CASE / "model.onnx", inputs(), lambda name, array: 1 / 0)


def test_bench():
    rows = tn.bench(CASE / "model.onnx", batch=[1, 2], threads=[1, 2], runs=5, profile=True)
    assert [(r.batch, r.threads, r.runs) for r in rows] == [(1, 1, 5), (1, 2, 5), (2, 1, 5), (2, 2, 5)]
    for r in rows:
        assert 0 < r.min_ms <= r.median_ms <= r.p90_ms <= r.p95_ms <= r.p99_ms and r.per_second > 0 and r.context_bytes > 0 and r.device == "cpu"
        assert {"node", "op", "kernel", "ns", "flops", "shapes"} <= set(r.steps[0])
    (row,) = tn.bench(tn.InferenceSession(CASE / "model.onnx"), inputs(), duration=0.05)
    assert row.runs >= 5 and row.batch == 2
    with pytest.raises(tn.RequestError):
        tn.bench(MODEL)


def test_inspect_and_explain():
    before, after = tn.inspect(CASE / "model.onnx", after="import"), tn.inspect(CASE / "model.onnx")
    assert len(before["nodes"]) > len(after["nodes"]) > 5 and "attention" in {n["op"] for n in after["nodes"]}
    assert after["inputs"][0].startswith("input_ids: int64[batch") and after["outputs"] == ["logits"] and "batch" in after["symbols"]
    plan = tn.build(CASE / "model.onnx")
    inside = tn.inspect(plan)
    assert inside["programs"] and inside["version"]
    assert tn.inspect(tn.InferenceSession(plan)) == inside
    rows = tn.explain(plan)
    assert len(rows) > 5 and all(isinstance(r, dict) for r in rows)
    with pytest.raises(tn.UnknownNameError, match="nonsense"):
        tn.inspect(CASE / "model.onnx", after="nonsense")
    with pytest.raises(tn.ArgumentError):
        tn.inspect(plan, after="import")


# ---- onnx.backend ----


def test_backend_interface():
    import tenon.onnx_backend as backend

    x = np.array([[1.0, -2.0]], np.float32)
    node = helper.make_node("Relu", ["x"], ["y"])
    assert backend.run_node(node, [x])[0].tolist() == [[1, 0]]
    assert backend.run_node(node, x).y.tolist() == [[1, 0]]
    model = graph([node], [("x", TensorProto.FLOAT, [1, 2])], [("y", TensorProto.FLOAT, [1, 2])])
    assert backend.run_model(model, {"x": x})[0].tolist() == [[1, 0]]
    for rep in (backend.prepare(model, "CPU"), backend.prepare(model, reference=True)):
        assert rep.run([x]).y.tolist() == [[1, 0]]
        with pytest.raises(tn.UnknownNameError):
            rep.run([x, x])
        with pytest.raises(tn.UnknownNameError):
            rep.run([])
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:99") and not backend.supports_device("TPU")
    assert backend.is_compatible(model)
    model.graph.node[0].op_type = "Frobnicate"
    assert not backend.is_compatible(model)


# ---- text lines ----


def test_text_lines():
    from tenon.pipelines import ocr

    want = {f: read for f, _, read in (r.split("\t") for r in (SAMPLES / "samples.tsv").read_text().splitlines())}
    reader = ocr(MODEL, batch=5, min_confidence=0)
    lines = reader([SAMPLES / f for f in want])
    assert [line.text for line in lines] == list(want.values())
    assert all(0 < line.confidence <= 1 and "".join(c.text for c in line.characters) == line.text for line in lines)


def test_pictures_in_every_form(tmp_path):
    from tenon.pipelines import TextReader, load_image

    file = SAMPLES / "heldout-09.png"
    array = load_image(file)
    assert array.dtype == np.uint8 and array.shape[2] == 3
    reader = TextReader(MODEL)
    forms = [file, str(file), file.read_bytes(), array, np.concatenate([array, np.full((*array.shape[:2], 1), 255, np.uint8)], axis=2)]
    assert {reader(f).text for f in forms} == {"TAKE"} and reader(array[:, :, 0]).text == "TAKE"
    blank = reader(np.full((40, 300, 3), 255, np.uint8))
    assert blank.text == "" and blank.confidence < reader.min_confidence
    assert reader.preprocess(array).shape == (3, 64, 512)
    assert reader([]) == []
    for bad in (np.zeros((4, 4, 3), np.float32), np.zeros((2, 2, 2, 2), np.uint8), b"no picture", tmp_path / "none.png", file.read_bytes()[:100]):
        with pytest.raises(tn.Error):
            reader(bad)
    with pytest.raises(tn.RequestError, match="generates no text"):
        TextReader(CASE / "model.onnx")


def test_readers_take_turns():
    from tenon.pipelines import TextReader

    reader, texts = TextReader(MODEL, threads=1), []
    threads = [threading.Thread(target=lambda: texts.append(reader(SAMPLES / "heldout-09.png").text)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert texts == ["TAKE"] * 4


# ---- the package itself ----


def test_command_line(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    r = subprocess.run([sys.executable, "-m", "tenon", "--version"], capture_output=True, text=True, env=env, timeout=60)
    assert r.returncode == 0 and r.stdout.startswith("tenon 0."), r.stderr
    script = os.path.join(os.path.dirname(sys.executable), "tenon")
    if os.path.exists(script):
        assert subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60).stdout == r.stdout
        assert "TAKE" in subprocess.run([script, "ocr", SAMPLES / "heldout-09.png"], capture_output=True, text=True, timeout=60).stdout


def test_devices_are_counted():
    assert tn._core.device_count("cpu") == 1 and tn.get_all_providers() == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    for kind in ("tpu", "", "cuda:0"):
        with pytest.raises(tn.ArgumentError, match="cpu and cuda"):
            tn._core.device_count(kind)
    r = python("import tenon; print(tenon.get_device())\ntry: tenon._core.device_count('cuda')\nexcept tenon.DeviceError as e: print('libtenon_cuda.so' in str(e))",
               env={"TENON_CUDA_LIBRARY": "/nowhere/libtenon_cuda.so"})
    assert r.stdout.split() == ["CPU", "True"], r.stdout + r.stderr


def test_importing_is_light():
    r = python("import sys, tenon; print(sorted(m for m in ('torch', 'onnx', 'onnxruntime', 'transformers', 'tqdm') if m in sys.modules))")
    assert r.stdout.strip() == "[]", r.stdout + r.stderr


def test_everything_public_is_described():
    for name in tn.__all__:
        assert getattr(tn, name).__doc__, name
    assert tn.__version__ == subprocess.run([sys.executable, "-c", "import tenon; print(tenon._core.version)"], capture_output=True, text=True,
                                            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}).stdout.strip()
    assert (ROOT / "python" / "tenon" / "py.typed").exists()


def test_stubs_name_what_there_is():
    import ast

    module = ast.parse((ROOT / "python" / "tenon" / "_core.pyi").read_text())
    for item in module.body:
        if isinstance(item, ast.FunctionDef):
            assert callable(getattr(tn._core, item.name))
        elif isinstance(item, ast.ClassDef):
            stubs = {m.name for m in item.body if isinstance(m, ast.FunctionDef)} | {m.target.id for m in item.body if isinstance(m, ast.AnnAssign)}
            real = vars(getattr(tn._core, item.name))
            assert stubs - {"__init__", "__buffer__"} == {n for n in real if not n.startswith("__") or n.startswith("__dlpack")}, item.name


@pytest.mark.parametrize("file", sorted((ROOT / "examples" / "python").glob("*.py")), ids=lambda p: p.stem)
def test_examples(file, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    r = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=300)
    assert r.returncode == 0, r.stdout + r.stderr
    assert r.stdout
