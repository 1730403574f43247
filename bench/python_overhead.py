#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cost of one session.run from Python on a model that does almost nothing, against onnxruntime in the same process.

    python bench/python_overhead.py            # needs tenon, numpy, onnx, onnxruntime

Each model takes and returns 1 KB (256 floats). Rounds of both engines alternate; a row has the median over rounds of the mean time of a call, and how far
rounds spread. Exit status 1 when Tenon is slower in a row.
"""
import argparse
import json
import statistics
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import tenon


def model(inputs, outputs, nodes_each):
    """`outputs` chains of Add and Relu over sums of inputs of [1, 256]."""
    nodes, last = [], []
    names = [f"x{i}" for i in range(inputs)]
    for k in range(outputs):
        value = names[k % inputs]
        for j in range(nodes_each):
            other = names[(k + j + 1) % inputs]
            out = f"y{k}" if j == nodes_each - 1 else f"v{k}_{j}"
            nodes.append(helper.make_node("Add" if j % 2 == 0 else "Mul", [value, other], [out]))
            value = out
        last.append(f"y{k}")
    info = lambda n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 256])  # noqa: E731
    graph = helper.make_graph(nodes, "overhead", [info(n) for n in names], [info(n) for n in last])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def ort_session(data, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def tenon_session(data, threads):
    options = tenon.SessionOptions()
    options.intra_op_num_threads = threads
    return tenon.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def mean_us(run, feed, calls):
    begin = time.perf_counter()
    for _ in range(calls):
        run(None, feed)
    return (time.perf_counter() - begin) / calls * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for title, inputs, outputs, each in (("1 input, 1 output, 1 node", 1, 1, 1), ("4 inputs, 2 outputs, 8 nodes", 4, 2, 4), ("8 inputs, 8 outputs, 8 nodes", 8, 8, 1)):
        data = model(inputs, outputs, each)
        feed = {f"x{i}": np.random.default_rng(i).random((1, 256), np.float32) for i in range(inputs)}
        for threads in (1, 2):
            sessions = {"tenon": tenon_session(data, threads), "onnxruntime": ort_session(data, threads)}
            results = [s.run(None, feed) for s in sessions.values()]
            assert all(np.allclose(a, b) for a, b in zip(*results))
            times = {name: [] for name in sessions}
            for s in sessions.values():
                mean_us(s.run, feed, args.calls // 4)
            for _ in range(args.rounds):
                for name, s in sessions.items():
                    times[name].append(mean_us(s.run, feed, args.calls))
            row = {"model": title, "threads": threads}
            for name, t in times.items():
                row[name] = statistics.median(t)
                row[f"{name}_range"] = [min(t), max(t)]
            row["ratio"] = row["onnxruntime"] / row["tenon"]
            rows.append(row)
    if args.json:
        print(json.dumps({"tenon": tenon.__version__, "onnxruntime": onnxruntime.__version__, "python": sys.version.split()[0], "rows": rows}, indent=1))
    else:
        print(f"{'model':32} {'threads':>7} {'tenon us':>9} {'onnxruntime us':>15} {'ratio':>6}")
        for r in rows:
            print(f"{r['model']:32} {r['threads']:7} {r['tenon']:9.2f} {r['onnxruntime']:15.2f} {r['ratio']:6.2f}")
    return 0 if all(r["tenon"] <= r["onnxruntime"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
