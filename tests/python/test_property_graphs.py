# SPDX-License-Identifier: Apache-2.0
"""Random small graphs as optimised plans, in the reference interpreter and in ONNX Runtime (graphs.py, graph_operators.py, graph_moves.py, graph_runs.py), and
graphs that once disagreed. The long run: python tests/python/test_property_graphs.py --graphs 20000 --seed 1; its result: docs/property-tests.md."""
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

onnx = pytest.importorskip("onnx")
tenon = pytest.importorskip("tenon")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import graph_runs  # noqa: E402
from graphs import DrawChoice, build  # noqa: E402
from tenon import onnx_backend  # noqa: E402


@pytest.fixture(scope="module")
def runs():
    return graph_runs.make_runs()


@strategies.composite
def graphs(draw):
    return build(DrawChoice(draw, strategies.integers))


@given(graphs())
@settings(max_examples=300, derandomize=True, deadline=None, database=None, print_blob=False,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.function_scoped_fixture])
def test_random_graphs(runs, graph):
    runs.run(graph, "a random graph")


def both(nodes, feed, outputs, constants=(), opset=17):
    """Outputs of the plan, which are checked to be those of the interpreter."""
    info = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feed.items()]
    out = [helper.make_tensor_value_info(n, t, None) for n, t in outputs.items()]
    graph = helper.make_graph(nodes, "g", info, out, [numpy_helper.from_array(v, k) for k, v in dict(constants).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    plan = tenon.InferenceSession(model).run(None, feed)
    for a, b in zip(plan, onnx_backend.prepare(model, reference=True).run(feed)):
        np.testing.assert_allclose(a, b, rtol=1e-12 if a.dtype == np.float64 else 1e-5, strict=True)
    return plan


def test_split_whose_last_parts_give_their_shape_only():
    """The last part is not there at run time."""
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    nodes = [helper.make_node("Split", ["x"], ["a", "b", "c", "d"], axis=-1), helper.make_node("Shape", ["d"], ["s"]), helper.make_node("Neg", ["b"], ["y"])]
    y, s = both(nodes, {"x": x}, {"y": TensorProto.FLOAT, "s": TensorProto.INT64}, opset=13)
    assert s.tolist() == [2, 2] and np.array_equal(y, -x[:, 2:4])


def test_transpose_of_a_rank_that_the_importer_does_not_know():
    """No perm: all axes are turned round, and how many there are shows only in shape inference."""
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    nodes = [helper.make_node("Squeeze", ["x"], ["a"]), helper.make_node("Transpose", ["a"], ["y"])]
    assert np.array_equal(both(nodes, {"x": x}, {"y": TensorProto.FLOAT}, opset=11)[0], x[0].T)


def test_expand_of_an_expand_keeps_the_rank():
    """The second shape is shorter than the first."""
    constants = {"first": np.array([1, 1], np.int64), "second": np.array([2], np.int64)}
    nodes = [helper.make_node("Expand", ["x", "first"], ["h"]), helper.make_node("Expand", ["h", "second"], ["y"])]
    y, = both(nodes, {"x": np.array([3], np.float32)}, {"y": TensorProto.FLOAT}, constants)
    assert y.tolist() == [[3, 3]]


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_products_with_a_constant_without_elements(op):
    """A constant of no elements has no data."""
    y, = both([helper.make_node(op, ["a", "x"], ["y"])], {"x": np.zeros((0, 2), np.float32)}, {"y": TensorProto.FLOAT}, {"a": np.zeros((3, 0), np.float32)})
    assert y.tolist() == [[0, 0]] * 3


def test_hardmax_where_the_rank_is_not_known_at_import():
    nodes = [helper.make_node("GatherND", ["x", "i"], ["h"]), helper.make_node("Hardmax", ["h"], ["y"], axis=0)]
    y, = both(nodes, {"x": np.array([1, 4, 3], np.float32), "i": np.array([[2], [1]], np.int64)}, {"y": TensorProto.FLOAT})
    assert y.tolist() == [0, 1]


def test_global_pool_where_the_rank_is_not_known_at_import():
    nodes = [helper.make_node("GatherND", ["x", "i"], ["h"]), helper.make_node("GlobalMaxPool", ["h"], ["y"])]
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    y, = both(nodes, {"x": x, "i": np.array([[1]], np.int64)}, {"y": TensorProto.FLOAT})
    assert np.array_equal(y, x[[1]].max((2, 3), keepdims=True))


def test_layer_norm_in_float64_keeps_its_epsilon():
    """As a float parameter 0.01 would be 2e-10 off."""
    x = np.random.default_rng(1).uniform(-0.1, 0.1, (3, 4))
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[-1]), helper.make_node("Sub", ["x", "m"], ["d"]), helper.make_node("Mul", ["d", "d"], ["s"]),
             helper.make_node("ReduceMean", ["s"], ["v"], axes=[-1]), helper.make_node("Add", ["v", "eps"], ["e"]), helper.make_node("Sqrt", ["e"], ["r"]),
             helper.make_node("Div", ["d", "r"], ["y"])]
    both(nodes, {"x": x}, {"y": TensorProto.DOUBLE}, {"eps": np.array(0.01)})


if __name__ == "__main__":
    sys.exit(graph_runs.main())
