#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packs the node tests that the onnx package brings along into one .npz that tests/interp/test_nodes.c reads.

    make_cases.py OUT.npz            the committed selection (tests/interp/nodes.npz)
    make_cases.py --all OUT.npz      every case with plain tensors, to be run by hand

The file has one array of bytes, "cases": records of (u32 length, name, u32 length, bytes). A case is a record NAME/model (the bytes of
model.onnx; NAME/model/TOLERANCE when its expected values are not exact), then its NAME/in/K/DTYPE/SHAPE and NAME/out/K/DTYPE/SHAPE (the
tensor's bytes as ONNX packs them; SHAPE like 2x3, "-" for a scalar)."""
import argparse
import struct
import warnings
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


warnings.filterwarnings("ignore")
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

# Why a case is left out, by a part of its name.
SKIP = {
    "resize_downsample_scales_linear_align_corners": "expects the unrounded output length, against the text of the operator",
    "resize_downsample_scales_cubic_align_corners": "likewise",
    "bernoulli": "random numbers of NumPy",
    "training_dropout": "likewise",
    "dft_inverse": "expects the rounding errors of NumPy's transform",
    "optional_get_element_optional_sequence": "a sequence as an input",
    "optional_has_element_empty_optional_input": "an empty optional as an input",
    "test_scan_sum": "uses operator set 8",
    "attention_4d_gqa_with_past_and_present_fp16": "expects each step rounded to float16",
}
# Expected values that are written with four digits.
ROUNDED = ("averagepool_2d_ceil_last_window_starts_on_pad", "roialign_")
# Newest versions that the importer takes.
MAX_IR, MAX_OPSET = 14, 28
# Operators that Tenon does not have.
ABSENT = set("Adagrad Adam ArrayFeatureExtractor Binarizer ImageDecoder Momentum SequenceMap TreeEnsemble".split())
MAX_BYTES = 16000  # of one case's tensors in the committed selection


def tensor_of(value):
    if isinstance(value, TensorProto):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OUS":
            return None
        return numpy_helper.from_array(value)
    return None


def entry(t):
    """dtype name, shape text, raw bytes."""
    name = TensorProto.DataType.Name(t.data_type).lower()
    shape = "x".join(str(d) for d in t.dims) or "-"
    if t.raw_data:
        return name, shape, t.raw_data
    array = numpy_helper.to_array(t)
    return name, shape, numpy_helper.from_array(array).raw_data


def ops(graph):
    found = set()
    for node in graph.node:
        found.add(node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= ops(attribute.g)
    return found


def adapt(case):
    """The model with what exporters do anyway: weights are constants."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs, outputs = (list(values) for values in case.data_sets[0])
    model.ir_version = min(model.ir_version, MAX_IR)
    for imported in model.opset_import:
        if imported.domain in ("", "ai.onnx"):
            imported.version = min(imported.version, MAX_OPSET)
    graph = model.graph
    for k in reversed(range(len(graph.input))):
        name = graph.input[k].name
        if name == "W" and graph.node[0].op_type == "ConvTranspose":
            constant = tensor_of(inputs.pop(k))
            constant.name = name
            graph.initializer.append(constant)
            del graph.input[k]
    return model, inputs, outputs


def pack(case):
    model, inputs, outputs = adapt(case)
    tolerance = "/2e-4" if any(part in case.name for part in ROUNDED) else ""
    arrays = [("model" + tolerance, model.SerializeToString(deterministic=True))]
    for kind, values in (("in", inputs), ("out", outputs)):
        for k, value in enumerate(values):
            t = tensor_of(value)
            if t is None or t.data_type in (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128):
                return None
            name, shape, raw = entry(t)
            arrays.append((f"{kind}/{k}/{name}/{shape}", raw))
    return arrays


def write(out, cases):
    blob = b"".join(
        struct.pack("<I", len(name)) + name.encode() + struct.pack("<I", len(raw)) + raw
        for name, raw in ((f"{case}/{key}", raw) for case, arrays in cases for key, raw in arrays)
    )
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(blob)},), }}"
    header += " " * (64 - (10 + len(header) + 1) % 64) + "\n"
    info = zipfile.ZipInfo("cases.npy", (2000, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w", compresslevel=9) as z:
        z.writestr(info, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + blob, compresslevel=9)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", help="file with the names of the cases to take")
    args = parser.parse_args()
    only = set(open(args.only).read().split()) if args.only else None
    chosen, skipped = [], 0
    for case in collect_testcases(""):
        if case.kind != "node" or case.model is None or (only is not None and case.name not in only):
            continue
        if not args.all and ("_expanded" in case.name or any(part in case.name for part in SKIP) or ops(case.model.graph) & ABSENT):
            continue
        arrays = pack(case)
        if arrays is None:
            skipped += 1
            continue
        if not args.all and sum(len(raw) for _, raw in arrays) > MAX_BYTES:
            continue
        chosen.append((case.name, arrays))
    write(args.out, chosen)
    print(f"{len(chosen)} cases, {skipped} left out for their types")


if __name__ == "__main__":
    main()
