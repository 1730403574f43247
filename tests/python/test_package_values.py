# SPDX-License-Identifier: Apache-2.0
"""The Python package: OrtValue, IOBinding, DLPack, and the same on a device."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

import tenon as tn
from conftest import ROOT
from test_package_session import echo, graph


@pytest.fixture(scope="module")
def session():
    """y = x + b, z = x * b; float32 [n, 3]."""
    ports = [(n, TensorProto.FLOAT, ["n", 3]) for n in "xbyz"]
    return tn.InferenceSession(graph([helper.make_node("Add", ["x", "b"], ["y"]), helper.make_node("Mul", ["x", "b"], ["z"])], ports[:2], ports[2:]))


X, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 2, np.float32)


def test_values_share_memory():
    a = X.copy()
    v = tn.OrtValue.ortvalue_from_numpy(a)
    assert (v.shape(), v.data_type(), v.element_type(), v.device_name(), v.data_ptr()) == ([2, 3], "tensor(float)", 1, "cpu", a.ctypes.data)
    assert v.is_tensor() and v.has_value() and not v.is_sparse_tensor()
    a[0, 0] = 9
    assert v.numpy()[0, 0] == 9 and np.shares_memory(v.numpy(), a)
    v.update_inplace(X)
    np.testing.assert_array_equal(a, X)
    with pytest.raises(tn.ShapeError):
        v.update_inplace(X[:1])
    empty = tn.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    assert empty.shape() == [2, 3] and tn.OrtValue.ortvalue_from_shape_and_type([4], "tensor(int64)").data_type() == "tensor(int64)"
    with pytest.raises(TypeError):
        tn.OrtValue.ortvalue_from_numpy([1, 2])
    with pytest.raises(tn.ArgumentError, match="tpu"):
        tn.OrtValue.ortvalue_from_numpy(a, "tpu")


def test_values_outlive_what_they_came_from():
    v = tn.OrtValue.ortvalue_from_numpy(np.arange(1000, dtype=np.int64))
    w = np.from_dlpack(v)
    del v
    assert w.sum() == 499500


def test_dlpack_in_and_out(session):
    class Foreign:
        """An array that shows DLPack alone."""

        def __init__(self, a):
            self.a = a

        def __dlpack__(self, **kw):
            return self.a.__dlpack__()

        def __dlpack_device__(self):
            return self.a.__dlpack_device__()

    y = session.run(["y"], {"x": Foreign(X.copy()), "b": tn.OrtValue.ortvalue_from_numpy(B)._value})[0]
    np.testing.assert_array_equal(y, X + B)
    v = tn.OrtValue.from_dlpack(Foreign(X.copy()))
    np.testing.assert_array_equal(np.from_dlpack(v), X)
    assert v.__dlpack_device__() == (1, 0)
    with pytest.raises(TypeError, match="float64.*float32"):
        session.run(None, {"x": Foreign(X.astype(np.float64)), "b": B})
    with pytest.raises(ValueError, match="contiguous"):
        session.run(None, {"x": Foreign(np.zeros((3, 2), np.float32).T), "b": B})
    with pytest.raises(TypeError):
        tn.OrtValue.from_dlpack(3)


def test_torch_tensors(session):
    torch = pytest.importorskip("torch")
    y = session.run(["y"], {"x": torch.from_numpy(X.copy()), "b": torch.from_numpy(B.copy())})[0]
    np.testing.assert_array_equal(y, X + B)
    assert torch.from_dlpack(tn.OrtValue.ortvalue_from_numpy(X.copy())).tolist() == X.tolist()
    assert tn.InferenceSession(echo(TensorProto.BFLOAT16)).run(None, {"x": torch.zeros(2, 3, dtype=torch.bfloat16)})[0].shape == (2, 3)
    with pytest.raises(TypeError, match="float64"):
        session.run(None, {"x": torch.zeros(2, 3, dtype=torch.float64), "b": B})


def test_run_with_ort_values(session):
    feed = {"x": tn.OrtValue.ortvalue_from_numpy(X), "b": tn.OrtValue.ortvalue_from_numpy(B)}
    y, z = session.run_with_ort_values(["y", "z"], feed)
    np.testing.assert_array_equal(y.numpy(), X + B)
    np.testing.assert_array_equal(z.numpy(), X * B)


def test_binding(session):
    io = session.io_binding()
    x = X.copy()
    io.bind_cpu_input("x", x)
    with pytest.raises(tn.StateError, match="'b'"):
        session.run_with_iobinding(io)
    io.bind_ortvalue_input("b", tn.OrtValue.ortvalue_from_numpy(B))
    out = tn.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    io.bind_ortvalue_output("z", out)
    io.bind_output("y", "cpu")
    for k in range(3):
        x += 1
        session.run_with_iobinding(io)
        np.testing.assert_array_equal(out.numpy(), x * B)
        z, y = io.copy_outputs_to_cpu()
        np.testing.assert_array_equal(z, x * B)
        np.testing.assert_array_equal(y, x + B)
        assert io.get_outputs()[0].data_ptr() == out.data_ptr()
    target = np.zeros((2, 3), np.float32)
    io.bind_input("x", "cpu", 0, np.float32, [2, 3], B.ctypes.data)
    io.bind_output("y", "cpu", 0, np.float32, [2, 3], target.ctypes.data)
    session.run_with_iobinding(io)
    np.testing.assert_array_equal(target, B + B)
    io.clear_binding_outputs()
    session.run_with_iobinding(io)
    assert len(io.get_outputs()) == 2
    io.clear_binding_inputs()
    with pytest.raises(tn.StateError):
        session.run_with_iobinding(io)


def test_an_output_buffer_may_become_an_input():
    """Also with other shapes, and also when it is no longer bound: where the last run wrote does not matter to the next."""
    ports = [(n, TensorProto.FLOAT, ["n", 64]) for n in "xy"]
    session = tn.InferenceSession(graph([helper.make_node("Add", ["x", "x"], ["y"])], ports[:1], ports[1:]))
    raw = np.zeros(8 * 64 * 4 + 64, np.uint8)
    buffer = raw[-raw.ctypes.data % 64:][: 8 * 64 * 4].view(np.float32).reshape(8, 64)
    x = np.random.default_rng(0).random((8, 64), np.float32)
    for unbind in (True, False):
        for given in (buffer, buffer[1:3], buffer[1:], buffer[:5]):
            io = session.io_binding()
            io.bind_cpu_input("x", x)
            io.bind_ortvalue_output("y", tn.OrtValue.ortvalue_from_numpy(buffer))
            session.run_with_iobinding(io)
            np.testing.assert_array_equal(buffer, x + x)
            if unbind:
                io.bind_output("y")
            want = given + given
            io.bind_cpu_input("x", given)
            session.run_with_iobinding(io)
            np.testing.assert_array_equal(io.copy_outputs_to_cpu()[0], want)


def test_bindings_refuse_what_does_not_fit(session):
    io = session.io_binding()
    with pytest.raises(tn.UnknownNameError, match="'q'"):
        io.bind_cpu_input("q", X)
    with pytest.raises(tn.UnknownNameError, match="'q'"):
        io.bind_output("q")
    with pytest.raises(TypeError, match="'x'"):
        io.bind_cpu_input("x", X.astype(np.float64))
    with pytest.raises(tn.ShapeError):
        io.bind_cpu_input("x", X[:, :2].copy())
    frozen = X.copy()
    frozen.flags.writeable = False
    with pytest.raises(tn.ArgumentError, match="read only"):
        io.bind_ortvalue_output("y", tn.OrtValue.ortvalue_from_numpy(frozen))
    with pytest.raises(tn.Error):
        io.bind_ortvalue_output("y", tn.OrtValue.ortvalue_from_numpy(X.astype(np.int32)))
    io.bind_cpu_input("x", X)
    io.bind_cpu_input("b", B)
    io.bind_ortvalue_output("y", tn.OrtValue.ortvalue_from_shape_and_type([1, 2], np.float32))
    with pytest.raises(tn.ShapeError, match="'y'"):
        session.run_with_iobinding(io)
    if session.get_providers() == ["CPUExecutionProvider"]:
        with pytest.raises(tn.RequestError, match="cuda"):
            io.bind_output("y", "cuda")
    other = tn.InferenceSession(echo(TensorProto.FLOAT))
    with pytest.raises(tn.ArgumentError, match="another session"):
        other.run_with_iobinding(io)


DEVICE = """
import numpy as np, onnx, tenon as tn, sys
sys.path.insert(0, sys.argv[1])
from test_package_session import graph
from onnx import helper, TensorProto
ports = [(n, TensorProto.FLOAT, ["n", 64]) for n in "xbyz"]
model = graph([helper.make_node("Add", ["x", "b"], ["y"]), helper.make_node("Mul", ["x", "b"], ["z"])], ports[:2], ports[2:])
assert tn.get_device() == "GPU" and tn.get_available_providers()[0] == "CUDAExecutionProvider"
session = tn.InferenceSession(model, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
assert session.get_providers() == ["CUDAExecutionProvider"]
x, b = np.random.default_rng(1).random((4, 64), np.float32), np.random.default_rng(2).random((4, 64), np.float32)
for n in (4, 4, 2):
    y, z = session.run(None, {"x": x[:n], "b": b[:n]})
    np.testing.assert_allclose(y, x[:n] + b[:n], rtol=1e-6)
io = session.io_binding()
there = tn.OrtValue.ortvalue_from_numpy(x, "cuda", 0)
assert there.device_name() == "cuda"
io.bind_ortvalue_input("x", there)
io.bind_cpu_input("b", b)
io.bind_output("y", "cuda")
out = tn.OrtValue.ortvalue_from_shape_and_type([4, 64], np.float32, "cuda")
io.bind_ortvalue_output("z", out)
session.run_with_iobinding(io)
y, z = io.copy_outputs_to_cpu()
assert io.get_outputs()[0].device_name() == "cuda" and io.get_outputs()[0].__dlpack_device__() == (2, 0)
np.testing.assert_allclose(y, x + b, rtol=1e-6)
np.testing.assert_allclose(out.numpy(), x * b, rtol=1e-6)
there.update_inplace(b)
session.run_with_iobinding(io)
np.testing.assert_allclose(out.numpy(), b * b, rtol=1e-6)
np.testing.assert_allclose(session.run(["z"], {"x": there._value, "b": b})[0], b * b, rtol=1e-6)
try:
    tn.InferenceSession(model, device="cuda:7")
except tn.DeviceError as e:
    assert "7" in str(e)
else:
    raise AssertionError
plan = tn.build(model, device="cuda")
assert tn.InferenceSession(plan).get_providers() == ["CUDAExecutionProvider"]
try:
    tn.InferenceSession(plan, device="cpu")
except tn.RequestError as e:
    assert "built for cuda" in str(e)
else:
    raise AssertionError
import os
pid = os.fork()
if pid == 0:
    try:
        session.run(None, {"x": x, "b": b})
    except tn.StateError as e:
        os._exit(0 if "forked" in str(e) else 4)
    os._exit(5)
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""


def test_on_a_device():
    """On a library whose device is the host: everything but the GPU itself."""
    library = pathlib.Path(os.environ.get("TENON_BUILD", ROOT / "build")) / "tests" / "libtenon_host_device.so"
    if not library.exists():
        pytest.skip("the stand-in for a GPU was not built")
    env = {**os.environ, "TENON_CUDA_LIBRARY": str(library), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    r = subprocess.run([sys.executable, "-c", DEVICE, os.path.dirname(__file__)], capture_output=True, env=env, timeout=120, text=True)
    assert r.returncode == 0 and r.stdout == "done\n", r.stderr
