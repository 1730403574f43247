# SPDX-License-Identifier: Apache-2.0
"""What every export needs: both of torch's exporters behind one call, stubs for packages that official code imports in vain, outputs as arrays.

Nothing here needs Tenon's library, so that tools/export shares it.
"""
from __future__ import annotations

import contextlib
import io
import logging
import sys
import types
import warnings

import numpy as np
import torch

TORCHSCRIPT = "ts"
DYNAMO = "dynamo"


@contextlib.contextmanager
def quiet():
    """Silences the exporters, which write pages to both streams."""
    logger = logging.getLogger("torch.onnx")
    level, sink = logger.level, io.StringIO()
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def tensors_of(arrays):
    """Torch tensors of a dict of arrays, in its order."""
    return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays.values())


def flatten(outputs):
    """The tensors of a module's result, depth first, None left out."""
    if torch.is_tensor(outputs):
        return [outputs]
    if hasattr(outputs, "to_tuple"):
        outputs = outputs.to_tuple()
    return [tensor for item in outputs if item is not None for tensor in flatten(item)]


def reference(model, arrays):
    """Outputs of the PyTorch module as arrays."""
    with torch.no_grad():
        return [tensor.detach().numpy().copy() for tensor in flatten(model(*tensors_of(arrays)))]


def export(model, arrays, path, exporter, opset, outputs, axes, external=False):
    """Export `model` with one of torch's two exporters.

    `axes` maps an input or output name to {dimension: symbol}; an empty dict exports a static graph. The TorchScript
    exporter uses it as dynamic_axes, the dynamo exporter gets the rows of the inputs as dynamic_shapes.
    """
    names = list(arrays)
    common = dict(input_names=names, output_names=list(outputs), opset_version=opset)
    with torch.no_grad(), quiet():
        if exporter == TORCHSCRIPT:
            torch.onnx.export(
                model,
                tensors_of(arrays),
                str(path),
                dynamo=False,
                do_constant_folding=True,
                dynamic_axes=axes or None,
                **common,
            )
        else:
            symbols = {}
            for name in names:
                for symbol in axes.get(name, {}).values():
                    symbols.setdefault(symbol, torch.export.Dim.DYNAMIC)
            shapes = tuple({d: symbols[s] for d, s in axes.get(name, {}).items()} for name in names)
            fixed = getattr(model, "variadic", None)  # torch wants the shapes of *arguments as one nested tuple
            if fixed is not None:
                shapes = (*shapes[:fixed], shapes[fixed:])
            torch.onnx.export(
                model,
                tensors_of(arrays),
                str(path),
                dynamo=True,
                verbose=False,
                external_data=external,
                dynamic_shapes=shapes if axes else None,
                **common,
            )


def name_symbols(path, axes):
    """Gives the dims of a dynamo export the names in `axes` ({input: {dim: symbol}}) in place of s26 and s0, wherever they stand."""
    import re

    import onnx

    model = onnx.load(str(path), load_external_data=False)
    names = {}
    for value in model.graph.input:
        for d, symbol in axes.get(value.name, {}).items():
            found = value.type.tensor_type.shape.dim[d].dim_param
            if found and symbol not in names.values():
                names.setdefault(found, symbol)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b") if names else None

    def visit(graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = pattern.sub(lambda m: names[m.group(1)], dim.dim_param)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    visit(attribute.g)

    if pattern is not None:
        visit(model.graph)
        onnx.save(model, str(path))


def difference(expected, actual):
    """Largest absolute difference over the largest magnitude; infinite where shapes or NaNs disagree."""
    worst = 0.0
    if len(expected) != len(actual):
        return float("inf")
    for want, have in zip(expected, actual):
        if want.shape != have.shape or not np.isfinite(have.astype(np.float64)).all():
            return float("inf")
        if want.size:
            # values near -10000 are masked scores: they would hide every other difference
            live = np.abs(want) < 5000
            scale = max(np.abs(want[live]).max(initial=0.0), 1e-6)
            worst = max(worst, float(np.abs(want.astype(np.float64) - have)[live].max(initial=0.0) / scale))
    return worst


def first_line(error):
    """The first line of an error's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:400] if lines else ""


def stub(*names):
    """Put empty modules in place of packages that the official code imports and never calls here."""
    for name in names:
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            full = ".".join(parts[:i])
            if full not in sys.modules:
                module = types.ModuleType(full)
                module.__path__ = []
                sys.modules[full] = module
                if i > 1:
                    setattr(sys.modules[".".join(parts[: i - 1])], parts[i - 1], module)
    return sys.modules[names[-1]]


class Select(torch.nn.Module):
    """Calls a module with positional tensors under given argument names and picks results from what it returns."""

    variadic = 0  # all arguments are *tensors

    def __init__(self, model, names, pick):
        super().__init__()
        self.model = model
        self.names = names
        self.pick = pick

    def forward(self, *tensors):
        return self.pick(self.model(**dict(zip(self.names, tensors))))
def rng(seed):
    """A seeded numpy generator."""
    return np.random.default_rng(seed)


def pixels(generator, *shape, mean=0.5, std=0.5):
    """Normalised pixels of random 8-bit pictures: values that a real preprocessing can produce."""
    levels = generator.integers(0, 256, size=shape).astype(np.float32)
    return (levels / np.float32(255) - np.float32(mean)) / np.float32(std)
