"""Shared helpers of the fixture exporters: seeded weights, export, golden files, the case list.

A case is one folder: model.onnx, and pairs inputs.K.npz / outputs.K.npz whose arrays carry the names of the graph's
inputs and outputs. Outputs always come from the PyTorch module in fp32, never from another engine; ONNX Runtime is
run on every case only to notice a broken export, and its largest difference is kept in cases.json.
"""

import argparse
import fnmatch
import json
import logging
import os
import pathlib
import sys
import traceback
import warnings
import zlib

import numpy as np
import torch

# Shared with `python -m tenon.export`; these modules of the package need nothing of its library.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "python" / "tenon"))
from export.torch_export import (  # noqa: E402, F401
    DYNAMO,
    TORCHSCRIPT,
    Select,
    difference,
    export,
    first_line,
    flatten,
    pixels,
    reference,
    rng,
    stub,
    tensors_of,
)

warnings.filterwarnings("ignore")
logging.getLogger("torch.onnx").setLevel(logging.ERROR)

RUNTIME_TOLERANCE = 2e-4  # relative to the largest magnitude of an output; above it the export is called broken


def arguments(description, official=None, more=None):
    """Parse the command line shared by all exporters.

    `official` names the checkout that an exporter needs, `more` adds options of its own to the parser.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/fixtures"), help="folder of the cases")
    parser.add_argument("--only", default="", help="export the cases whose name contains this text")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    if official:
        parser.add_argument("--official", type=pathlib.Path, required=True, help=f"checkout of {official}")
    if more:
        more(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


# ---- weights ---------------------------------------------------------------------------------------------------------

NORMS = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.LayerNorm)


def is_norm(module):
    """True for the normalisations of torch and for the hand-written LayerNorm classes of the official code."""
    return isinstance(module, NORMS) or type(module).__name__.endswith("LayerNorm")


def randomise(model, seed, gain=1.0, embedding=0.5):
    """Overwrite every parameter and every running statistic with seeded, non-trivial values.

    Each tensor draws from its own generator, keyed by its name, so that adding a layer does not change the others.
    Matrices and filters get standard deviation gain / sqrt(fan in), embeddings and free tokens `embedding`, biases
    0.2; scales of normalisations lie in 0.6..1.4, running means have deviation 0.2, running variances lie in 0.5..1.5.
    """
    for prefix, module in model.named_modules():
        tensors = list(module.named_parameters(recurse=False))
        tensors += [(name, t) for name, t in module.named_buffers(recurse=False) if name.startswith("running_")]
        for name, tensor in tensors:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(f"{prefix}.{name}".encode()))
            normal = torch.randn(tensor.shape, generator=generator)
            uniform = torch.rand(tensor.shape, generator=generator)
            if name == "running_var":
                value = 0.5 + uniform
            elif name == "running_mean" or name.endswith("bias"):
                value = 0.2 * normal
            elif is_norm(module):
                value = 0.6 + 0.8 * uniform
            elif isinstance(module, torch.nn.Embedding):
                value = embedding * normal
            elif name.startswith("gamma"):
                value = 0.5 + uniform
            elif name == "weight_g":
                value = 1.0 + uniform * 3
            elif tensor.dim() >= 2 and name.startswith("weight"):
                value = gain * normal / tensor[0].numel() ** 0.5
            else:
                value = embedding * normal
            with torch.no_grad():
                tensor.copy_(value)
            padding = getattr(module, "padding_idx", None)
            if isinstance(module, torch.nn.Embedding) and padding is not None:
                with torch.no_grad():
                    tensor[padding] = 0
    return model.eval()


def scale(model, factors):
    """Multiply parameters and statistics whose name fits a pattern.

    Small embeddings give the first normalisations an input of small variance, where a wrong epsilon shows.
    """
    with torch.no_grad():
        for pattern, factor in factors.items():
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
                if fnmatch.fnmatchcase(name, pattern) and tensor.is_floating_point():
                    tensor.mul_(factor)
    return model


# ---- export ----------------------------------------------------------------------------------------------------------


def strip_debug(path):
    """Drop doc strings, per-node metadata and producer paths, which would carry names of the exporting machine."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)

    def visit(graph):
        graph.doc_string = ""
        for field in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
            for item in field:
                item.doc_string = ""
                del item.metadata_props[:]
        del graph.metadata_props[:]
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    visit(attribute.g)

    visit(model.graph)
    shorten(model.graph)
    model.doc_string = ""
    del model.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    onnx.save(model, str(path))


def shorten(graph):
    """Rename the inner values of a graph to v0, v1, ...: TorchScript's names are half of a small file.

    Names of inputs, outputs, weights and nodes stay as the exporter wrote them, except that constants have none.
    """
    import onnx

    kept = {value.name for value in graph.output}
    names = {}
    for node in graph.node:
        for output in node.output:
            if output and output not in kept:
                names[output] = f"v{len(names)}"

    def rename(inner):
        for node in inner.node:
            if node.op_type == "Constant":
                node.name = ""
            for field in (node.input, node.output):
                for i, name in enumerate(field):
                    field[i] = names.get(name, name)
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    rename(attribute.g)
        for field in (inner.value_info, inner.output):
            for value in field:
                value.name = names.get(value.name, value.name)

    rename(graph)


def run_onnxruntime(path, arrays, threads=1):
    """Outputs of ONNX Runtime, for the check of an export only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    known = {value.name for value in session.get_inputs()}
    return session.run(None, {name: array for name, array in arrays.items() if name in known})


# ---- cases -----------------------------------------------------------------------------------------------------------


class Cases:
    """Writes cases under one folder and keeps cases.json, the machine-readable list of them."""

    def __init__(self, folder, only="", full_size=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.only = only
        self.full_size = full_size

    def wanted(self, name):
        """True if the command line asks for this case."""
        return self.only in name

    def add(
        self,
        arch,
        exporter,
        opset,
        model,
        runs,
        outputs,
        axes=None,
        variant="",
        about="",
        name=None,
        off_spec=False,
        external=False,
    ):
        """Export one case and write its files; `runs` is a list of dicts of input arrays, the first one is traced.

        A combination that torch cannot export, or whose graph ONNX Runtime finds wrong at the traced sizes, leaves no
        folder but a row with the first line of the error. `off_spec` keeps a graph that ONNX Runtime refuses to load:
        users have such files, and PyTorch's outputs are right all the same. `external` puts weights into a second file.
        """
        axes = axes or {}
        name = name or "_".join(filter(None, [arch, f"{exporter}{opset}", "dynamic" if axes else "static", variant]))
        if not self.wanted(name):
            return False
        row = dict(
            case=name,
            arch=arch,
            exporter=exporter,
            opset=opset,
            about=about,
            dynamic={k: {str(d): s for d, s in v.items()} for k, v in axes.items()},
        )
        case = self.folder / name
        case.mkdir(exist_ok=True)
        path = case / "model.onnx"
        model.eval()  # torch's exporter leaves a fresh wrapper, and all inside it, in training mode
        try:
            expected = [reference(model, run) for run in runs]
            export(model, runs[0], path, exporter, opset, outputs, axes, external)
            if not self.full_size:
                strip_debug(path)
            row["difference"] = []
            for run, want in zip(runs, expected):
                row["difference"].append(self.check(path, run, want))
            refused = isinstance(row["difference"][0], str)
            if not (off_spec and refused) and (refused or row["difference"][0] > RUNTIME_TOLERANCE):
                raise RuntimeError(f"export is wrong at the traced sizes: {row['difference'][0]}")
        except Exception as error:  # every failure of an exporter is a row, not an end
            while error.__cause__ is not None:
                error = error.__cause__
            row["error"] = f"{type(error).__name__}: {first_line(error)}"
            if os.environ.get("EXPORT_TRACE"):
                traceback.print_exc()
            for file in case.iterdir():
                file.unlink()
            case.rmdir()
            self.record(row)
            print(f"{name}: FAILED {row['error']}", flush=True)
            return False
        kept = 0
        for run, want, diff in zip(runs, expected, row["difference"]):
            if not (off_spec and refused) and (isinstance(diff, str) or diff > RUNTIME_TOLERANCE):
                continue  # the exporter burnt a size into the graph: this shape is outside what the graph can do
            np.savez(case / f"inputs.{kept}.npz", **run)
            np.savez(case / f"outputs.{kept}.npz", **dict(zip(outputs, want)))
            kept += 1
        row["runs"] = kept
        row["shapes"] = [{k: list(v.shape) for k, v in run.items()} for run in runs]
        row["bytes"] = sum(f.stat().st_size for f in case.iterdir())
        self.record(row)
        print(
            f"{name}: {row['bytes']} bytes, {kept} of {len(runs)} runs, differences "
            f"{['%.1e' % d if not isinstance(d, str) else d for d in row['difference']]}",
            flush=True,
        )
        return True

    @staticmethod
    def check(path, run, want):
        """The difference of ONNX Runtime on one run, or the first line of its error."""
        try:
            return difference(want, run_onnxruntime(path, run))
        except Exception as error:
            return f"{type(error).__name__}: {first_line(error)}"

    def record(self, row):
        """Insert or replace a row of cases.json."""
        path = self.folder / "cases.json"
        rows = json.loads(path.read_text()) if path.exists() else []
        rows = [r for r in rows if r["case"] != row["case"]] + [dict(row, **versions())]
        rows.sort(key=lambda r: r["case"])
        path.write_text(json.dumps(rows, indent=1) + "\n")


def versions():
    """Versions that decide what an exported graph looks like."""
    import transformers

    return dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__)
