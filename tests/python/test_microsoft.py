# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft against ONNX Runtime, as plans and in the reference interpreter."""
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
backend = pytest.importorskip("tenon.onnx_backend")
from onnx import helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(7)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def u8(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


def i8(*shape):
    return RNG.integers(-128, 128, shape).astype(np.int8)


S = lambda v: np.array(v, np.float32)  # noqa: E731
Z = lambda v, t=np.uint8: np.array(v, t)  # noqa: E731
IDS = np.array([[1, 2, 3], [4, 0, 2]], np.int32)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)

#: name: operator, inputs (None: absent; first ones given at run time), number of constants at the end, attributes, outputs wanted
CASES = {
    "gelu": ("Gelu", [f(2, 3, 4)], 0, {}, [0]),
    "bias_gelu": ("BiasGelu", [f(2, 3, 4), f(4)], 1, {}, [0]),
    "fast_gelu": ("FastGelu", [f(2, 3, 4)], 0, {}, [0]),
    "fast_gelu_bias": ("FastGelu", [f(2, 3, 4), f(4)], 1, {}, [0]),
    "quick_gelu": ("QuickGelu", [f(2, 3, 4)], 0, {"alpha": 1.5}, [0]),
    "fused_matmul": ("FusedMatMul", [f(2, 3, 4), f(2, 5, 4)], 0, {"transB": 1, "alpha": 0.5}, [0]),
    "fused_matmul_a": ("FusedMatMul", [f(2, 4, 3), f(4, 5)], 1, {"transA": 1}, [0]),
    "fused_conv": ("FusedConv", [f(1, 3, 8, 8), f(4, 3, 3, 3), f(4)], 2, {"activation": "Relu", "pads": [1, 1, 1, 1]}, [0]),
    "fused_conv_leaky": ("FusedConv", [f(1, 3, 8, 8), f(4, 3, 3, 3)], 1, {"activation": "LeakyRelu", "activation_params": [0.2]}, [0]),
    "fused_gemm": ("FusedGemm", [f(3, 4), f(4, 5), f(5)], 2, {"activation": "Relu", "alpha": 0.5}, [0]),
    "skip_norm": ("SkipLayerNormalization", [f(2, 3, 8), f(2, 3, 8), f(8), f(8), f(8)], 3, {"epsilon": 1e-3}, [0, 3]),
    "skip_norm_plain": ("SkipLayerNormalization", [f(2, 3, 8), f(2, 3, 8), f(8), f(8)], 2, {}, [0]),
    "skip_rms": ("SkipSimplifiedLayerNormalization", [f(2, 3, 8), f(2, 3, 8), f(8)], 1, {"epsilon": 1e-5}, [0, 3]),
    "embed": ("EmbedLayerNormalization", [IDS, IDS % 2, f(5, 8), f(4, 8), f(2, 8), f(8), f(8), MASK[:, :3]], 0, {"epsilon": 1e-5}, [0, 1]),
    "matmul_to_float": ("MatMulIntegerToFloat", [u8(3, 8), i8(8, 4), S(0.1), S(0.2), Z(120), Z(3, np.int8), f(4)], 6, {}, [0]),
    "dynamic_matmul": ("DynamicQuantizeMatMul", [f(3, 8), i8(8, 4), S(0.2), Z(3, np.int8), f(4)], 4, {}, [0]),
    "qlinear_add": ("QLinearAdd", [u8(3, 4), S(0.1), Z(128), u8(3, 4), S(0.2), Z(10), S(0.3), Z(60)], 0, {}, [0]),
    "qlinear_mul": ("QLinearMul", [u8(3, 4), S(0.1), Z(128), u8(4), S(0.02), Z(10), S(0.3), Z(60)], 0, {}, [0]),
    "qlinear_sigmoid": ("QLinearSigmoid", [u8(3, 4), S(0.05), Z(128), S(1 / 256), Z(0)], 4, {}, [0]),
    "qlinear_leaky": ("QLinearLeakyRelu", [u8(3, 4), S(0.05), Z(128), S(0.05), Z(100)], 4, {"alpha": 0.1}, [0]),
    "qlinear_concat": ("QLinearConcat", [S(0.3), Z(60), u8(3, 4), S(0.1), Z(128), u8(3, 2), S(0.2), Z(10)], 0, {"axis": 1}, [0]),
    "qlinear_average": ("QLinearAveragePool", [u8(1, 3, 8, 8), S(0.1), Z(128), S(0.08), Z(120)], 4,
                        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, [0]),
    "qlinear_average_pad": ("QLinearAveragePool", [u8(1, 3, 8, 8), S(0.1), Z(0), S(0.08), Z(3)], 4,
                            {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, [0]),
    "qlinear_global_average": ("QLinearGlobalAveragePool", [u8(2, 3, 8, 8), S(0.1), Z(128), S(0.05), Z(120)], 4, {}, [0]),
    "nbits_8": ("MatMulNBits", [f(3, 64), u8(5, 2, 32), f(10)], 2, {"K": 64, "N": 5, "bits": 8, "block_size": 32}, [0]),
    "nbits_8_zero": ("MatMulNBits", [f(2, 3, 96), u8(5, 3, 32), f(15), u8(15)], 3, {"K": 96, "N": 5, "bits": 8, "block_size": 32}, [0]),
    "nbits": ("MatMulNBits", [f(3, 64), u8(5, 2, 16), f(10)], 2, {"K": 64, "N": 5, "bits": 4, "block_size": 32}, [0]),
    "nbits_zero": ("MatMulNBits", [f(2, 3, 96), u8(5, 3, 16), f(15), u8(10)], 3, {"K": 96, "N": 5, "bits": 4, "block_size": 32}, [0]),
    "attention": ("Attention", [f(2, 5, 12), f(12, 24), f(24)], 2, {"num_heads": 2}, [0]),
    "attention_mask": ("Attention", [f(2, 5, 12), f(12, 24), f(24), MASK], 0, {"num_heads": 2}, [0]),
    "attention_lengths": ("Attention", [f(2, 5, 12), f(12, 24), f(24), np.array([3, 5], np.int32)], 0, {"num_heads": 2}, [0]),
    "attention_causal": ("Attention", [f(2, 5, 12), f(12, 24), f(24)], 2, {"num_heads": 2, "unidirectional": 1}, [0]),
    "multi_head": ("MultiHeadAttention", [f(2, 3, 8), f(2, 5, 8), f(2, 5, 8)], 0, {"num_heads": 2}, [0]),
    "multi_head_bias": ("MultiHeadAttention", [f(2, 3, 8), f(2, 5, 8), f(2, 5, 8), f(24), MASK, f(1, 2, 3, 5)], 0, {"num_heads": 2, "scale": 0.4}, [0]),
    "multi_head_past": ("MultiHeadAttention", [f(2, 1, 8), f(2, 1, 8), f(2, 1, 8), None, None, None, f(2, 2, 4, 4), f(2, 2, 4, 4)], 0, {"num_heads": 2},
                        [0, 1, 2]),
}


def model(op, inputs, constants, attributes, outputs):
    names = ["" if a is None else f"i{k}" for k, a in enumerate(inputs)]
    fixed = [k for k in range(len(inputs) - constants, len(inputs)) if inputs[k] is not None]
    out = [f"o{k}" if k in outputs else "" for k in range(max(outputs) + 1)]
    node = helper.make_node(op, names, out, name="node", domain="com.microsoft", **attributes)
    info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for k, (n, a) in enumerate(zip(names, inputs))
            if a is not None and k not in fixed]
    graph = helper.make_graph([node], "g", info, [helper.make_empty_tensor_value_info(o) for o in out if o],
                              [numpy_helper.from_array(inputs[k], names[k]) for k in fixed])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8), {
        i.name: inputs[int(i.name[1:])] for i in info}


@pytest.mark.parametrize("reference", [False, True], ids=["plan", "reference"])
@pytest.mark.parametrize("name", CASES)
def test_like_onnxruntime(name, reference):
    m, feed = model(*CASES[name])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    want = ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)
    got = backend.prepare(m, "CPU", reference=reference).run(feed)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert g.dtype == w.dtype and g.shape == w.shape
        if w.dtype.kind in "iu":
            # ONNX Runtime looks sigmoids up in tables that it rounds itself.
            assert np.max(np.abs(g.astype(int) - w.astype(int)), initial=0) <= (1 if "qlinear" in name else 0)
        else:
            scale = np.max(np.abs(w), initial=1e-6)
            assert np.max(np.abs(g - w)) <= 2e-5 * scale, name
