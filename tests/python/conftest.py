# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: the program, and running it."""
import os
import pathlib
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
MODEL = ROOT / "models" / "trocr-tiny-zh"
SHARED = ROOT.parent / "shared" / "data"


class Tenon:
    """Runs the program; `ok` expects success, `fails` an error with exit status 2 and returns its message."""

    program = os.environ.get("TENON", str(ROOT / "build" / "tenon"))

    def run(self, *args, env=None, stdin=None):
        return subprocess.run([self.program, *map(str, args)], capture_output=True, env={**os.environ, **(env or {})}, input=stdin, timeout=600)

    def ok(self, *args, **kw):
        r = self.run(*args, **kw)
        assert r.returncode == 0, f"tenon {' '.join(map(str, args))}: {r.returncode}\n{r.stderr.decode()}"
        return r.stdout.decode()

    def fails(self, *args, status=2, **kw):
        r = self.run(*args, **kw)
        assert r.returncode == status, f"exit status {r.returncode}, not {status}: {r.stderr.decode()}"
        message = r.stderr.decode()
        assert message.startswith("tenon"), message
        return message


@pytest.fixture(scope="session")
def tenon():
    return Tenon()


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """y = relu(x W + b) with a dynamic batch, and its input and output."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    w, b = rng.standard_normal((8, 5)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"), helper.make_node("Add", ["h", "b"], ["s"], name="bias"),
         helper.make_node("Relu", ["s"], ["y"], name="relu")],
        "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])], [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")])
    folder = tmp_path_factory.mktemp("small")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    x = rng.standard_normal((3, 8)).astype(np.float32)
    np.savez(folder / "x.npz", x=x)
    np.savez(folder / "y.npz", y=np.maximum(x @ w + b, 0))
    return folder
