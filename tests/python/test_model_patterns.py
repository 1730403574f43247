# SPDX-License-Identifier: Apache-2.0
"""Small graphs with what exporters wrote for whole models and Tenon once got wrong or missed."""
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto as T, helper as h, numpy_helper  # noqa: E402


class Built:
    """A model of one graph; run() gives the outputs of its plan and checks them against the reference interpreter."""

    def __init__(self, tenon, folder):
        self.tenon, self.folder = tenon, folder

    def make(self, nodes, inputs, outputs, constants=(), opset=17):
        self.model = self.folder / "model.onnx"
        graph = h.make_graph(nodes, "g", [h.make_tensor_value_info(n, t, s) for n, t, s in inputs], [h.make_tensor_value_info(n, t, s) for n, t, s in outputs],
                             [numpy_helper.from_array(a, n) for n, a in dict(constants).items()])
        onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8), self.model)
        return self

    def run(self, **feed):
        np.savez(self.folder / "x.npz", **feed)
        self.tenon.ok("compare", self.model, "--inputs", self.folder / "x.npz", "-q", "--threads", 1)
        self.tenon.ok("run", self.model, "--inputs", self.folder / "x.npz", "--outputs", self.folder / "y.npz", "-q", "--threads", 1)
        return dict(np.load(self.folder / "y.npz"))

    def operators(self, after="finish"):
        text = self.tenon.ok("inspect", self.model, "-q", "--after", after)
        return [line.split(" = ")[1].split("(")[0] for line in text.splitlines() if " = " in line and line.lstrip().startswith(("%", "_"))]


@pytest.fixture
def built(tenon, tmp_path):
    return Built(tenon, tmp_path)


@pytest.mark.parametrize("first", ["", "unread"])
def test_parts_of_a_split_lie_behind_those_that_nobody_reads(built, first):
    """GPT-2: attention reads q where the product left it, keys and values are concatenated with the past."""
    x = np.arange(24, dtype=np.float32).reshape(2, 12)
    built.make([h.make_node("Split", ["x", "sizes"], [first, "k", "", "v"][:4], axis=1), h.make_node("Concat", ["k", "v"], ["y"], axis=0)],
               [("x", T.FLOAT, ["b", 12])], [("y", T.FLOAT, None)], {"sizes": np.array([4, 3, 2, 3], np.int64)})
    assert np.array_equal(built.run(x=x)["y"], np.concatenate([x[:, 4:7], x[:, 9:]]))


def test_a_branch_knows_dims_of_its_operands_that_are_sums(built):
    """RetinaNet: the boxes of all levels, min(u0, 3) + min(u1, 3) of them, go into a branch of If that gives them two dims more."""
    def top(name):
        return [h.make_node("NonZero", [name], [f"{name}_n"]), h.make_node("Shape", [f"{name}_n"], [f"{name}_s"], start=1, end=2),
                h.make_node("Concat", [f"{name}_s", "most"], [f"{name}_c"], axis=0), h.make_node("ReduceMin", [f"{name}_c"], [f"{name}_k"], keepdims=1),
                h.make_node("TopK", [name, f"{name}_k"], [f"{name}_r", ""], axis=0)]

    none = h.make_tensor_value_info("t_y", T.FLOAT, None), h.make_tensor_value_info("e_y", T.FLOAT, None)
    then = h.make_graph([h.make_node("Unsqueeze", ["all", "axis"], ["t_u"]), h.make_node("Unsqueeze", ["t_u", "axis"], ["t_v"]), h.make_node("Neg", ["t_v"], ["t_y"])],
                        "then", [], [none[0]])
    other = h.make_graph([h.make_node("Unsqueeze", ["all", "axes"], ["e_y"])], "else", [], [none[1]])
    built.make([*top("a"), *top("b"), h.make_node("Concat", ["a_r", "b_r"], ["all"], axis=0), h.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other)],
               [("a", T.FLOAT, ["n"]), ("b", T.FLOAT, ["m"]), ("flag", T.BOOL, [])], [("y", T.FLOAT, None)],
               {"most": np.array([3], np.int64), "axis": np.array([0], np.int64), "axes": np.array([0, 1], np.int64)})
    a, b = np.array([1, 0, 2, 3, 4], np.float32), np.array([0, 5], np.float32)
    assert np.array_equal(built.run(a=a, b=b, flag=np.array(True))["y"], [[[-4, -3, -2, -5]]])
    assert np.array_equal(built.run(a=a, b=b, flag=np.array(False))["y"], [[[4, 3, 2, 5]]])


@pytest.mark.parametrize("zero", [np.int32(0), np.zeros(1, np.int32), None])
def test_one_scale_may_be_a_vector_of_one(built, zero):
    """Static quantisation writes biases so: rank 1, axis left at 1."""
    x = np.arange(6, dtype=np.int32)
    constants = {"s": np.array([0.5], np.float32), **({} if zero is None else {"z": np.asarray(zero)})}
    built.make([h.make_node("DequantizeLinear", ["x", *constants], ["y"])], [("x", T.INT32, ["n"])], [("y", T.FLOAT, ["n"])], constants)
    assert np.array_equal(built.run(x=x)["y"], x * np.float32(0.5))
