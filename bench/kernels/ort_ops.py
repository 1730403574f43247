# SPDX-License-Identifier: Apache-2.0
"""Times single operators in ONNX Runtime, for comparison with bench_gemm, bench_conv and bench_attention.

Usage: ort_ops.py [threads [gemm|conv|attention]]   needs numpy, onnx, onnxruntime."""
import sys
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

GEMM = [
    (709, 2304, 768), (709, 768, 768), (709, 3072, 768), (709, 768, 3072),
    (100, 1024, 1024), (20, 3072, 768), (20, 768, 3072),
    (578, 1152, 384), (578, 1536, 384), (578, 384, 1536),
    (130, 576, 192), (130, 768, 192), (130, 192, 768),
    (1, 768, 256), (1, 4900, 256), (4, 768, 256), (4, 4900, 256),
    (3136, 64, 64), (3136, 256, 64), (784, 512, 128), (196, 1280, 320), (196, 320, 1280), (49, 2048, 512),
]
# batch, in channels, height, width, out channels, group, kernel, stride, pad
CONV = [
    (1, 3, 224, 224, 64, 1, 4, 4, 0), (1, 64, 56, 56, 128, 1, 2, 2, 0),
    (1, 128, 28, 28, 320, 1, 2, 2, 0), (1, 320, 14, 14, 512, 1, 2, 2, 0),
    (1, 3, 224, 224, 768, 1, 16, 16, 0), (1, 3, 384, 384, 384, 1, 16, 16, 0),
    (1, 64, 56, 56, 64, 1, 1, 1, 0), (1, 64, 56, 56, 256, 1, 1, 1, 0), (1, 256, 56, 56, 64, 1, 1, 1, 0), (1, 128, 28, 28, 512, 1, 1, 1, 0),
    (1, 64, 56, 56, 64, 64, 3, 1, 1), (1, 64, 56, 56, 64, 64, 5, 1, 2),
    (1, 128, 28, 28, 128, 128, 3, 1, 1), (1, 128, 28, 28, 128, 128, 5, 1, 2),
    (1, 320, 14, 14, 320, 320, 3, 1, 1), (1, 512, 7, 7, 512, 512, 3, 1, 1),
    (1, 64, 56, 56, 64, 1, 3, 1, 1), (1, 256, 28, 28, 256, 1, 3, 1, 1),
]
# batch, heads, queries, keys, head dim, biases
ATTENTION = [(1, 12, 709, 709, 64, 1), (1, 12, 709, 709, 64, 0), (1, 6, 578, 578, 64, 0), (1, 5, 196, 196, 64, 0), (1, 8, 49, 49, 64, 0),
             (1, 12, 20, 20, 64, 0), (1, 8, 100, 100, 128, 0), (4, 6, 130, 130, 32, 0)]


def session(nodes, inputs, outputs, initializers, threads):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def best(sess, feeds):
    io = sess.io_binding()
    for name, value in feeds.items():
        io.bind_cpu_input(name, value)
    for out in sess.get_outputs():
        io.bind_output(out.name, "cpu")
    sess.run_with_iobinding(io)
    low, spent, n = 1e9, 0.0, 0
    while n < 5 or (spent < 0.3 and n < 2000):
        t = time.perf_counter()
        sess.run_with_iobinding(io)
        t = time.perf_counter() - t
        low, spent, n = min(low, t), spent + t, n + 1
    return low * 1e6


def value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def rand(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    what = sys.argv[2] if len(sys.argv) > 2 else ""
    print(f"onnxruntime {ort.__version__}, {threads} threads")
    for m, n, k in GEMM if what in ("", "gemm") else []:
        init = [numpy_helper.from_array(rand(k, n), "b"), numpy_helper.from_array(rand(n), "c")]
        s = session([helper.make_node("Gemm", ["a", "b", "c"], ["y"])], [value("a", (m, k))], [value("y", (m, n))], init, threads)
        us = best(s, {"a": rand(m, k)})
        print(f"gemm {m:5} {n:5} {k:5}  {us:9.1f} us  {2e-3 * m * n * k / us:6.1f} GFLOP/s", flush=True)
    for b, c, h, w, m, g, k, st, p in CONV if what in ("", "conv") else []:
        init = [numpy_helper.from_array(rand(m, c // g, k, k), "w"), numpy_helper.from_array(rand(m), "c")]
        o = (h + 2 * p - k) // st + 1, (w + 2 * p - k) // st + 1
        node = helper.make_node("Conv", ["x", "w", "c"], ["y"], group=g, kernel_shape=[k, k], strides=[st, st], pads=[p] * 4)
        s = session([node], [value("x", (b, c, h, w))], [value("y", (b, m, *o))], init, threads)
        us = best(s, {"x": rand(b, c, h, w)})
        rate = 2e-3 * b * m * o[0] * o[1] * (c // g) * k * k / us
        print(f"conv b{b} c{c} {h}x{w} m{m} g{g} k{k} s{st} p{p}  {us:9.1f} us  {rate:6.1f} GFLOP/s", flush=True)
    for b, h, sq, sk, d, bias in ATTENTION if what in ("", "attention") else []:
        names = ["q", "k", "v"] + (["", "", "bias"] if bias else [])
        node = helper.make_node("MultiHeadAttention", names, ["y"], domain="com.microsoft", num_heads=h)
        feeds = {"q": rand(b, sq, h * d), "k": rand(b, sk, h * d), "v": rand(b, sk, h * d)}
        if bias:
            feeds["bias"] = rand(b, h, sq, sk)
        s = session([node], [value(n, f.shape) for n, f in feeds.items()], [value("y", (b, sq, h * d))], [], threads)
        us = best(s, feeds)
        print(f"attention b{b} h{h} {sq}x{sk} d{d} bias{bias}  {us:9.1f} us  {4e-3 * b * h * sq * sk * d / us:6.1f} GFLOP/s", flush=True)


main()
