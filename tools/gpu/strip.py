#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reduces an ONNX model to its graph and the statistics of its weights.

    strip.py MODEL.onnx FOLDER

Writes FOLDER/model.onnx, whose large floating initializers are external data in a weights.bin that is not written, and FOLDER/manifest.json: of
each of them name, shape, type, offset, mean, standard deviation, minimum, maximum and seed, and the names, types and shapes of the model's inputs
and outputs. fill.py makes a weights.bin of the same kind of numbers from that. Speed depends on shapes and not on values, so a few hundred
kilobytes stand for a model of gigabytes in benchmarks. Integers, small tensors and tensors with infinities stay in the graph; equal tensors
share one place.
"""
import argparse
import json
import pathlib
import sys
import zlib

import numpy as np
import onnx
from onnx import numpy_helper

ALIGN = 64
TYPES = {np.dtype("float32"): "f32", np.dtype("float16"): "f16", np.dtype("float64"): "f64"}


def value(info):
    """Name, element type and dims (symbols as text) of a graph's input or output."""
    kind = info.type.tensor_type
    dims = [d.dim_param or d.dim_value for d in kind.shape.dim]
    return {"name": info.name, "type": np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name, "shape": dims}


def point_outside(tensor, offset, length):
    """Turns an initializer into a reference to weights.bin."""
    for field in ("raw_data", "float_data", "double_data", "int32_data", "external_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, text in (("location", "weights.bin"), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text


def strip(model, limit):
    """Empties large floating initializers of a loaded model; returns their descriptions and the size of weights.bin."""
    rows, places, end = [], {}, 0
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        kind = TYPES.get(array.dtype)
        if kind is None or array.nbytes <= limit or not np.isfinite(array).all():
            continue
        data = np.ascontiguousarray(array).tobytes()
        key = (zlib.crc32(data), len(data))
        if key not in places:
            places[key] = end
            end += -(-len(data) // ALIGN) * ALIGN
        wide = array.astype(np.float64)
        numbers = [float(f"{x:.9g}") for x in (wide.mean(), wide.std(), wide.min(), wide.max())]
        rows.append([tensor.name, list(array.shape), kind, places[key], *numbers, key[0]])
        point_outside(tensor, places[key], len(data))
    return rows, end


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=4096, help="tensors of at most so many bytes stay in the graph")
    options = parser.parse_args()
    model = onnx.load(str(options.model))
    rows, size = strip(model, options.limit)
    if not rows:
        sys.exit(f"{options.model}: no floating initializer has more than {options.limit} bytes; nothing to strip")
    given = {tensor.name for tensor in model.graph.initializer}
    head = {
        "format": 1,
        "name": options.folder.name,
        "weights_bytes": size,
        "inputs": [value(info) for info in model.graph.input if info.name not in given],
        "outputs": [value(info) for info in model.graph.output],
        "columns": ["name", "shape", "type", "offset", "mean", "std", "min", "max", "seed"],
    }
    options.folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(options.folder / "model.onnx"))
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = json.dumps(head, indent=1)[:-2] + f',\n "tensors": [\n{lines}\n ]\n}}\n'
    json.loads(text)
    (options.folder / "manifest.json").write_text(text)
    kept = (options.folder / "model.onnx").stat().st_size
    print(f"{options.folder}: {len(rows)} tensors, {size / 1e6:.1f} MB outside, {kept / 1e6:.2f} MB of graph")


if __name__ == "__main__":
    main()
