# SPDX-License-Identifier: Apache-2.0
"""The Python package: sessions. What runs, what is refused and how, sharing of memory, threads, forks, leaks."""
import gc
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tenon as tn
from conftest import FIXTURES, MODEL

CASE = FIXTURES / "trocr_encoder_ts17_dynamic"


def graph(nodes, inputs, outputs, initializers=(), opset=17):
    info = [[helper.make_tensor_value_info(n, t, s) for n, t, s in rows] for rows in (inputs, outputs)]
    g = helper.make_graph(nodes, "g", *info, [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(initializers).items()])
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def echo(onnx_type, shape=("n", 3)):
    """y = x, by a node."""
    return graph([helper.make_node("Identity", ["x"], ["y"])], [("x", onnx_type, list(shape))], [("y", onnx_type, list(shape))])


@pytest.fixture(scope="module")
def double():
    """y = x + x, float32 [n, 3]."""
    return tn.InferenceSession(graph([helper.make_node("Add", ["x", "x"], ["y"])], [("x", TensorProto.FLOAT, ["n", 3])], [("y", TensorProto.FLOAT, ["n", 3])]))


def test_outputs_agree_with_pytorch():
    session = tn.InferenceSession(str(CASE / "model.onnx"))
    for k in (0, 1, 2):
        want = np.load(CASE / f"outputs.{k}.npz")
        got = session.run(None, dict(np.load(CASE / f"inputs.{k}.npz")))
        for a, port in zip(got, session.get_outputs()):
            np.testing.assert_allclose(a, want[port.name], atol=1e-4 * np.abs(want[port.name]).max())


def test_ports_are_described():
    session = tn.InferenceSession(CASE / "model.onnx")
    (x,) = session.get_inputs()
    assert (x.name, x.shape, x.type) == ("pixel_values", ["batch", 3, 16, 24], "tensor(float)")
    assert x.ranges[0] == (1, 1, None) and x.ranges[1] == (3, 3, 3)
    assert [o.name for o in session.get_outputs()] == ["last_hidden_state", "pooler_output"]
    assert session.get_providers() == ["CPUExecutionProvider"] and "CPUExecutionProvider" in tn.get_available_providers()
    assert "pixel_values" in repr(session)


def test_an_onnxruntime_script_runs_after_changing_the_import():
    ort = tn
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(CASE / "model.onnx"), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.load(CASE / "inputs.0.npz")["pixel_values"]}
    names = [o.name for o in session.get_outputs()]
    both = session.run(names, feed)
    assert session.run([names[1]], feed, ort.RunOptions())[0].tobytes() == both[1].tobytes()
    assert [a.tobytes() for a in session.run(names[::-1], feed)] == [a.tobytes() for a in both[::-1]]
    assert [a.tobytes() for a in session.run([], feed)] == [a.tobytes() for a in both]
    assert session.get_modelmeta().producer_name == "pytorch" and session.get_modelmeta().custom_metadata_map == {}


def test_sources(tmp_path, double):
    model = echo(TensorProto.FLOAT)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    onnx.save(model, tmp_path / "m.onnx")
    plan = tn.build(tmp_path / "m.onnx")
    assert tn.build(model, tmp_path / "m.plan") is None and (tmp_path / "m.plan").read_bytes()[:8] == b"TENONPLN" == plan[:8]
    data = model.SerializeToString()
    for source in (model, data, bytearray(data), memoryview(data), tmp_path / "m.onnx", str(tmp_path / "m.onnx"), plan, b"" + plan, bytearray(plan), tmp_path / "m.plan"):
        assert tn.InferenceSession(source).run(None, {"x": x})[0].tobytes() == x.tobytes()
    shared = tn.InferenceSession(double.get_plan())
    assert (shared.run(None, {"x": x})[0] == x + x).all() and shared.get_modelmeta().producer_name == ""
    with pytest.raises(TypeError, match="path"):
        tn.InferenceSession(3)
    with pytest.raises(FileNotFoundError) as e:
        tn.InferenceSession(tmp_path / "none.onnx")
    assert e.value.status == "io" and e.value.file.endswith("none.onnx")
    with pytest.raises(tn.ModelError):
        tn.InferenceSession(data[: len(data) // 2])
    with pytest.raises(tn.PlanError):
        tn.InferenceSession(plan[:-100])
    with pytest.raises(tn.ArgumentError, match="shapes"):
        tn.InferenceSession(plan, shapes={"n": 4})
    with pytest.raises(tn.Error):
        tn.InferenceSession(b"")


TYPES = [(TensorProto.FLOAT, np.float32), (TensorProto.DOUBLE, np.float64), (TensorProto.FLOAT16, np.float16), (TensorProto.INT8, np.int8),
         (TensorProto.INT16, np.int16), (TensorProto.INT32, np.int32), (TensorProto.INT64, np.int64), (TensorProto.UINT8, np.uint8),
         (TensorProto.UINT16, np.uint16), (TensorProto.UINT32, np.uint32), (TensorProto.UINT64, np.uint64), (TensorProto.BOOL, np.bool_)]


@pytest.mark.parametrize("onnx_type, dtype", TYPES, ids=lambda v: getattr(v, "__name__", ""))
def test_every_type_comes_back_as_it_went_in(onnx_type, dtype):
    session = tn.InferenceSession(echo(onnx_type))
    bits = np.random.default_rng(1).integers(0, 2, (5, 3)) if dtype is np.bool_ else np.random.default_rng(1).integers(0, 100, (5, 3))
    x = bits.astype(dtype)
    y = session.run(None, {"x": x})[0]
    assert y.dtype == x.dtype and y.tobytes() == x.tobytes() and not np.shares_memory(x, y)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    session = tn.InferenceSession(echo(TensorProto.BFLOAT16))
    x = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    assert session.get_inputs()[0].type == "tensor(bfloat16)"
    for given in (x, x.view(np.uint16)):
        y = session.run(None, {"x": given})[0]
        assert y.dtype == x.dtype and y.tobytes() == x.tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0, 4), (1,)])
def test_scalars_and_empty_tensors(shape):
    model = graph([helper.make_node("Add", ["x", "x"], ["y"])], [("x", TensorProto.FLOAT, list(shape))], [("y", TensorProto.FLOAT, list(shape))])
    y = tn.InferenceSession(model).run(None, {"x": np.full(shape, 2, np.float32)})[0]
    assert y.shape == shape and (y == 4).all()


def test_arrays_that_are_not_dense_are_copied(double):
    base = np.arange(60, dtype=np.float32).reshape(10, 6)
    unaligned = np.frombuffer(b"\0" + base[:, :3].tobytes(), np.uint8)[1:].view(np.float32).reshape(10, 3)
    frozen = base[:, :3].copy()
    frozen.flags.writeable = False
    for x in (base[:, ::2], base[::-1, :3], base.T[:3].T, np.asfortranarray(base[:, :3]), np.broadcast_to(base[0, :3], (4, 3)), base[:, :3].astype(">f4"),
              unaligned, frozen, memoryview(base[:, :3].copy())):
        y = double.run(None, {"x": x})[0]
        np.testing.assert_array_equal(y, np.asarray(x).astype(np.float32) * 2)


@pytest.mark.parametrize("value, words", [
    (np.zeros((2, 3), np.float64), ["'x'", "float64", "float32", "astype"]),
    (np.zeros((2, 3), np.int32), ["'x'", "int32", "float32"]),
    (np.zeros((2, 3), np.float16), ["'x'", "float16", "float32"]),
    (np.array([[1.0], [2.0, 3.0]], dtype=object), ["'x'", "objects"]),
    (np.array([["a"]]), ["'x'", "float32", "U1"]),
    ([[1.0, 2.0, 3.0]], ["'x'", "list", "np.array"]),
    (1.0, ["'x'", "float32"]),
    ("text", ["'x'", "str"]),
    (None, ["'x'", "NoneType"]),
    ({}, ["'x'", "dict"]),
    (object(), ["'x'"]),
    (np.zeros((2, 3), "M8[s]"), ["'x'", "datetime64"]),
], ids=lambda v: type(v).__name__ if not isinstance(v, list) else "")
def test_wrong_types_are_type_errors_that_say_how_to_fix_it(double, value, words):
    with pytest.raises(TypeError) as e:
        double.run(None, {"x": value})
    assert isinstance(e.value, tn.DtypeError) and e.value.field == "x" and all(w in str(e.value) for w in words), str(e.value)


@pytest.mark.parametrize("shape, words", [((2, 4), ["'x'", "4", "3"]), ((3,), ["'x'", "rank"]), ((1, 2, 3), ["'x'", "rank"])])
def test_wrong_shapes_are_value_errors(double, shape, words):
    with pytest.raises(ValueError) as e:
        double.run(None, {"x": np.zeros(shape, np.float32)})
    assert isinstance(e.value, tn.ShapeError) and e.value.field == "x" and all(w in str(e.value) for w in words), str(e.value)


def test_wrong_names_are_value_errors(double):
    x = np.zeros((2, 3), np.float32)
    for feed in ({}, {"z": x}, {"x": x, "z": x}, {1: x}):
        with pytest.raises(tn.UnknownNameError, match="x"):
            double.run(None, feed)
    with pytest.raises(TypeError, match="dict"):
        double.run(None, [x])
    with pytest.raises(ValueError, match="'z'.*'y'"):
        double.run(["z"], {"x": x})
    with pytest.raises(ValueError):
        double.run("y", {"x": x})
    with pytest.raises((TypeError, ValueError)):
        double.run([1], {"x": x})
    with pytest.raises(TypeError):
        double.run()


def test_ranges_are_refused_by_name(tmp_path):
    session = tn.InferenceSession(echo(TensorProto.FLOAT), shapes={"n": (1, 2, 4)})
    assert session.get_inputs()[0].ranges[0] == (1, 2, 4)
    with pytest.raises(tn.ShapeError, match="n.*9"):
        session.run(None, {"x": np.zeros((9, 3), np.float32)})
    options = tn.SessionOptions()
    options.add_free_dimension_override_by_name("n", 2)
    with pytest.raises(tn.ShapeError):
        tn.InferenceSession(echo(TensorProto.FLOAT), options).run(None, {"x": np.zeros((3, 3), np.float32)})


def test_errors_of_a_run_name_the_node():
    model = graph([helper.make_node("Gather", ["x", "i"], ["y"], name="pick")], [("x", TensorProto.FLOAT, ["n"]), ("i", TensorProto.INT64, ["k"])],
                  [("y", TensorProto.FLOAT, ["k"])])
    session = tn.InferenceSession(model)
    for _ in range(3):
        with pytest.raises(tn.RunError) as e:
            session.run(None, {"x": np.zeros(3, np.float32), "i": np.array([7])})
        assert e.value.node == "pick" and e.value.status == "run"
        assert session.run(None, {"x": np.arange(3, dtype=np.float32), "i": np.array([2])})[0].tolist() == [2]


def test_unsupported_models_name_everything():
    nodes = [helper.make_node("Frobnicate", ["x"], ["a"], name="first", domain="example"), helper.make_node("Quux", ["a"], ["y"], name="second", domain="example")]
    model = graph(nodes, [("x", TensorProto.FLOAT, [2])], [("y", TensorProto.FLOAT, [2])])
    model.opset_import.append(helper.make_opsetid("example", 1))
    with pytest.raises(NotImplementedError) as e:
        tn.InferenceSession(model)
    assert isinstance(e.value, tn.UnsupportedError) and all(w in str(e.value) for w in ("Frobnicate", "Quux", "first", "second"))


def test_large_outputs_and_changing_shapes():
    """Outputs that are computed in place are the caller's own, also when shapes change from run to run."""
    model = graph([helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Mul", ["x", "x"], ["z"])], [("x", TensorProto.FLOAT, ["n", 1000])],
                  [("y", TensorProto.FLOAT, ["n", 1000]), ("z", TensorProto.FLOAT, ["n", 1000])])
    session = tn.InferenceSession(model)
    kept = []
    for n in (200, 200, 200, 1, 300, 300, 2, 200):
        x = np.random.default_rng(n).random((n, 1000), np.float32)
        y, z = session.run(None, {"x": x})
        kept.append((x, y, z))
    assert [a.tobytes() for a in session.run(["z"], {"x": kept[-1][0]})] == [kept[-1][2].tobytes()]
    for x, y, z in kept:
        np.testing.assert_array_equal(y, x + x)
        np.testing.assert_array_equal(z, x * x)


def test_outputs_whose_size_depends_on_values():
    model = graph([helper.make_node("NonZero", ["x"], ["y"])], [("x", TensorProto.FLOAT, ["n"])], [("y", TensorProto.INT64, [1, "k"])])
    session = tn.InferenceSession(model)
    for fill in (100, 50_000, 10, 49_999, 0, 50_000):
        x = np.zeros(50_000, np.float32)
        x[:fill] = 1
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.flatnonzero(x)[None])


def test_threads_run_at_the_same_time():
    session = tn.InferenceSession(CASE / "model.onnx")
    feeds = [dict(np.load(CASE / f"inputs.{k}.npz")) for k in (0, 1, 2)]
    want = [[a.tobytes() for a in session.run(None, f)] for f in feeds]
    wrong = []

    def work(k):
        for i in range(40):
            f = (k + i) % 3
            if [a.tobytes() for a in session.run(None, feeds[f])] != want[f]:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_other_threads_go_on_while_a_model_is_built_and_runs():
    """The GIL is released: a thread that counts is never held up for the length of a build or a run."""
    import time

    n = 1024
    model = graph([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])], [("x", TensorProto.FLOAT, ["n", n])],
                  [("y", TensorProto.FLOAT, ["n", n])], {"w": np.full((n, n), 1 / n, np.float32)})
    gaps, stop = [0.0], threading.Event()

    def count():
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    options = tn.SessionOptions()
    options.intra_op_num_threads = 1
    session = tn.InferenceSession(model, options)
    x = np.ones((1500, n), np.float32)
    thread = threading.Thread(target=count)
    thread.start()
    begin = time.perf_counter()
    for _ in range(3):
        session.run(None, {"x": x})
    took = (time.perf_counter() - begin) / 3
    stop.set()
    thread.join()
    assert len(gaps) > 20 and sorted(gaps)[len(gaps) // 2] < max(took / 4, 0.01)


def test_numpy_scalars_and_subclasses(double):
    scalar = tn.InferenceSession(graph([helper.make_node("Add", ["x", "x"], ["y"])], [("x", TensorProto.FLOAT, [])], [("y", TensorProto.FLOAT, [])]))
    assert scalar.run(None, {"x": np.float32(3)})[0] == 6 and scalar.run(None, {"x": np.array(3, np.float32)})[0].shape == ()
    sub = type("Sub", (np.ndarray,), {})
    assert type(double.run(None, {"x": np.array([[1, 2, 3]], np.float32).view(sub)})[0]) is np.ndarray
    assert double.run(None, {"x": tn.OrtValue.ortvalue_from_numpy(np.ones((1, 3), np.float32))})[0].tolist() == [[2, 2, 2]]
    assert tn.InferenceSession(echo(TensorProto.BOOL)).run(None, {"x": np.array([[True, False, True]])})[0].tolist() == [[True, False, True]]


def test_any_number_of_threads_gives_the_same_bits():
    bits = set()
    for n in (1, 2, 3):
        options = tn.SessionOptions()
        options.intra_op_num_threads = n
        bits.add(tuple(a.tobytes() for a in tn.InferenceSession(CASE / "model.onnx", options).run(None, dict(np.load(CASE / "inputs.0.npz")))))
    assert len(bits) == 1


def python(code, env=None, **kw):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **(env or {})}
    return subprocess.run([sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-c", code], capture_output=True, timeout=120, env=env, text=True, **kw)


SETUP = f"""
import os, sys, threading, numpy as np, tenon
session = tenon.InferenceSession({str(CASE / 'model.onnx')!r})
feed = dict(np.load({str(CASE / 'inputs.0.npz')!r}))
want = session.run(None, feed)[0].tobytes()
"""


def test_forked_processes_run_too():
    r = python(SETUP + """
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        ok = session.run(None, feed)[0].tobytes() == want and session.run(None, feed)[0].tobytes() == want
        del session
        os._exit(0 if ok else 3)
    assert os.waitpid(pid, 0)[1] == 0
assert session.run(None, feed)[0].tobytes() == want
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(lambda i: 0, []) == []
print("done")
""")
    assert r.returncode == 0 and r.stdout == "done\n", r.stderr


def test_the_interpreter_ends_with_sessions_alive():
    r = python(SETUP + """
io = session.io_binding()
io.bind_cpu_input("pixel_values", feed["pixel_values"])
session.run_with_iobinding(io)
value = io.get_outputs()[0]
capsule = value.__dlpack__()
def forever():
    while True:
        session.run(None, feed)
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
print("done", flush=True)
""")
    assert r.returncode == 0 and r.stdout == "done\n", r.stderr


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_ten_thousand_runs_leak_nothing(double):
    x = np.zeros((4, 3), np.float32)
    strided = np.zeros((4, 6), np.float32)[:, ::2]
    torch_like = tn.OrtValue.ortvalue_from_numpy(x)

    def some(n):
        for _ in range(n):
            double.run(None, {"x": x})
            double.run(["y"], {"x": strided})
            double.run_with_ort_values(None, {"x": torch_like})
            for bad in (np.zeros((4, 3)), np.zeros((4, 4), np.float32), None):
                try:
                    double.run(None, {"x": bad})
                except tn.Error:
                    pass

    some(300)
    gc.collect()
    refs = [sys.getrefcount(o) for o in (x, double, np.dtype(np.float32), np.empty)]
    before = resident()
    some(2000)
    for _ in range(10_000):
        double.run(None, {"x": x})
    gc.collect()
    assert resident() - before < 2_000_000
    after = [sys.getrefcount(o) for o in (x, double, np.dtype(np.float32), np.empty)]
    assert all(abs(a - b) < 20 for a, b in zip(refs, after)), (refs, after)


def test_sessions_are_released():
    data = echo(TensorProto.FLOAT).SerializeToString()
    x = np.zeros((2, 3), np.float32)

    def some(n):
        for _ in range(n):
            session = tn.InferenceSession(data)
            session.run(None, {"x": x})
            io = session.io_binding()
            io.bind_cpu_input("x", x)
            session.run_with_iobinding(io)
            io.get_outputs()
        gc.collect()

    some(20)
    before, threads = resident(), len(os.listdir("/proc/self/task"))
    some(150)
    assert resident() - before < 4_000_000 and len(os.listdir("/proc/self/task")) <= threads


def test_cache(tmp_path, monkeypatch):
    model, cache = tmp_path / "m.onnx", tmp_path / "cache"
    x = np.ones((2, 3), np.float32)
    onnx.save(echo(TensorProto.FLOAT), model)
    for _ in range(2):
        tn.InferenceSession(model, cache=cache).run(None, {"x": x})
    (plan,) = cache.iterdir()
    time = plan.stat().st_mtime_ns
    monkeypatch.setenv("TENON_PLAN_CACHE", str(cache))
    tn.InferenceSession(model)
    tn.InferenceSession(model.read_bytes())
    assert plan.stat().st_mtime_ns == time and len(list(cache.iterdir())) == 1  # contents decide, not names
    plan.write_bytes(plan.read_bytes()[:-8])
    tn.InferenceSession(model).run(None, {"x": x})
    assert plan.stat().st_mtime_ns != time
    onnx.save(graph([helper.make_node("Add", ["x", "x"], ["y"])], [("x", TensorProto.FLOAT, ["n", 3])], [("y", TensorProto.FLOAT, ["n", 3])]), model)
    assert (tn.InferenceSession(model).run(None, {"x": x})[0] == 2).all()
    tn.InferenceSession(model, shapes={"n": 2})
    assert len(list(cache.iterdir())) == 3


def test_cache_sees_changed_weights_in_other_files(tmp_path):
    model = graph([helper.make_node("Add", ["x", "w"], ["y"])], [("x", TensorProto.FLOAT, ["n", 512])], [("y", TensorProto.FLOAT, ["n", 512])],
                  {"w": np.ones(512, np.float32)})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    x = np.zeros((1, 512), np.float32)
    assert (tn.InferenceSession(tmp_path / "m.onnx", cache=tmp_path / "c").run(None, {"x": x})[0] == 1).all()
    (tmp_path / "weights.bin").write_bytes(np.full(512, 3, np.float32).tobytes())
    os.utime(tmp_path / "weights.bin", ns=(1, 1))
    assert (tn.InferenceSession(tmp_path / "m.onnx", cache=tmp_path / "c").run(None, {"x": x})[0] == 3).all()


def test_providers_are_obeyed_or_refused(monkeypatch):
    data = echo(TensorProto.FLOAT).SerializeToString()
    if "CUDAExecutionProvider" not in tn.get_available_providers():
        with pytest.warns(tn.Warning, match="CUDAExecutionProvider is passed over"):
            session = tn.InferenceSession(data, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
        assert session.get_providers() == ["CPUExecutionProvider"]
        with pytest.raises(tn.RequestError):
            tn.InferenceSession(data, providers=["CUDAExecutionProvider"])
        with pytest.raises(tn.DeviceError):
            tn.InferenceSession(data, device="cuda")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", tn.Warning)
            tn.InferenceSession(data, providers=[("CUDAExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"])
    with pytest.raises(tn.RequestError, match="NoSuchProvider"):
        tn.InferenceSession(data, providers=["NoSuchProvider"])
    with pytest.raises(tn.ArgumentError, match="contradicts"):
        tn.InferenceSession(data, providers=["CPUExecutionProvider"], device="cuda")
    with pytest.raises(tn.RequestError, match="fp16"):
        tn.InferenceSession(data, precision="fp16")
    with pytest.raises(tn.ArgumentError, match="fp17"):
        tn.InferenceSession(data, precision="fp17")
    with pytest.raises(tn.ArgumentError, match="gpu"):
        tn.InferenceSession(data, device="gpu")
    with pytest.raises(TypeError):
        tn.InferenceSession(data, nonsense=1)


def test_metadata():
    model = echo(TensorProto.FLOAT)
    model.producer_name, model.domain, model.model_version, model.doc_string = "maker", "ai.example", 7, "does nothing"
    helper.set_model_props(model, {"classes": "[1, 2]"})
    meta = tn.InferenceSession(model).get_modelmeta()
    assert (meta.producer_name, meta.domain, meta.version, meta.description, meta.graph_name) == ("maker", "ai.example", 7, "does nothing", "g")
    assert meta.custom_metadata_map == {"classes": "[1, 2]"}


def test_generation_reads_the_golden_lines():
    golden = np.load(MODEL / "golden.npz")
    session = tn.InferenceSession(MODEL)
    name = session.get_inputs()[0].name
    lines = session.generate({name: golden["pixel_values"][:2].astype(np.float32)})
    for k, line in enumerate(lines):
        want = golden[f"greedy_ids_{k}"].reshape(-1)
        assert line.tokens.tolist() == want[: len(line.tokens)].tolist() and line.log_probs[0] == 0 and line.score < 0
    assert len(session.generate({name: golden["pixel_values"][:1].astype(np.float32)}, max_length=4)[0].tokens) == 4
    assert session.generate({name: golden["pixel_values"][:1].astype(np.float32)}, num_beams=3, early_stopping=True, length_penalty=1.0)[0].tokens[0] == lines[0].tokens[0]
    with pytest.raises(tn.ArgumentError):
        session.generate({name: golden["pixel_values"][:1]}, early_stopping="sometimes")
    with pytest.raises(tn.UnknownNameError):
        session.generate({})
    with pytest.raises(TypeError):
        session.generate({name: golden["pixel_values"][:1].astype(np.float64)})
    with pytest.raises(tn.RequestError, match="generates no text"):
        tn.InferenceSession(CASE / "model.onnx").generate(dict(np.load(CASE / "inputs.0.npz")))
