# SPDX-License-Identifier: Apache-2.0
"""Disagreements that the specification explains: (reason, predicate of (model, pair, got, want))."""
import numpy as np


def ort(pair):
    return pair.startswith("interpreter and ONNX Runtime")


EXPLAINED = [
    ("ONNX Runtime leaves the result of MatMulInteger over an axis of no elements as it found the memory: a sum of nothing is 0",
     lambda model, pair, got, want: ort(pair) and any(n.op_type == "MatMulInteger" for n in model.graph.node) and not np.any(got)),
    ("ONNX Runtime takes negative axes of reductions over tensors without elements for none: ONNX's shape inference says the interpreter's shape",
     lambda model, pair, got, want: ort(pair) and got.shape != want.shape and any(n.op_type.startswith("Reduce") for n in model.graph.node)),
]
