# SPDX-License-Identifier: Apache-2.0
"""python -m tenon.export MODEL --output DIR: torch.onnx.export, tenon.build, tenon.compare.

For each part of the model DIR gets PART.onnx, PART.plan and PART.npz (inputs of the second size, with which to try it), and report.json: exporter, opset,
symbols, errors against PyTorch at every size. Exit status 1 when a part is beyond --atol, 2 when the model cannot be exported.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np

OPSETS = {"torchscript": 17, "dynamo": 18}


def arguments(argv: "list[str] | None") -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m tenon.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path, help="folder of a Hugging Face checkpoint, or a checkout of UniFormer or ViLBERT")
    p.add_argument("--output", "-o", type=pathlib.Path, required=True, metavar="DIR")
    p.add_argument("--exporter", choices=["auto", "torchscript", "dynamo"], default="auto", help="auto: dynamo, then torchscript where that fails or is wrong")
    p.add_argument("--opset", type=int, help="default: 18 with dynamo, 17 with torchscript")
    p.add_argument("--parts", help="only these, separated by commas")
    p.add_argument("--checkpoint", type=pathlib.Path, help="weights for the official repositories")
    p.add_argument("--config", type=pathlib.Path, help="ViLBERT: configuration (.json)")
    p.add_argument("--variant", help="UniFormer: constructor, as uniformer_small; ViLBERT: grounding (default) or heads")
    p.add_argument("--labels", type=int, default=1, help="ViLBERT beta: answers")
    p.add_argument("--random-weights", action="store_true", help="weights need not be there; to try an export")
    p.add_argument("--attention", choices=["eager", "sdpa"], default="eager", help="how transformers writes attention")
    p.add_argument("--sequence", type=int, help="tokens of the traced inputs (default 16); any number runs")
    p.add_argument("--image-size", type=int, help="side of pictures (default: the model's)")
    p.add_argument("--atol", type=float, default=1e-3, help="allowed error against PyTorch as a fraction of an output's largest magnitude (default 1e-3)")
    p.add_argument("--device", help="cuda, cuda:N: build for a GPU")
    p.add_argument("--precision", choices=["fp32", "tf32", "fp16", "bf16"])
    p.add_argument("--shapes", help="ranges of symbols, batch=1:4:8")
    p.add_argument("--tune", action="store_true")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--quiet", "-q", action="store_true")
    return p.parse_args(argv)


def output_axes(part: Any, wanted: "list[list[np.ndarray]]") -> "dict[str, dict[int, str]]":
    """Symbols of outputs: dims that differ between two sizes are named after the input dim of the same values."""
    symbols: "dict[str, list[int]]" = {}
    for name, axes in part.axes.items():
        for d, symbol in axes.items():
            if name in part.runs[0]:
                symbols.setdefault(symbol, [run[name].shape[d] for run in part.runs])
    table: "dict[str, dict[int, str]]" = {}
    for k, name in enumerate(part.outputs):
        first, second = wanted[0][k].shape, wanted[1][k].shape
        for d, (a, b) in enumerate(zip(first, second)):
            if a != b:
                table.setdefault(name, {})[d] = next((s for s, v in symbols.items() if v == [a, b]), f"{name}_dim{d}")
    return table


def attempt(part: Any, exporter: str, args: argparse.Namespace) -> "dict[str, Any]":
    """Exports, builds and compares one part with one exporter; raises when any of it fails."""
    import tenon

    from .torch_export import DYNAMO, TORCHSCRIPT, export, name_symbols, reference

    if exporter == "dynamo" and part.dynamo_runs is not None:
        part.runs = part.dynamo_runs
    wanted = [reference(part.module, run) for run in part.runs]
    opset = args.opset or OPSETS[exporter]
    path, plan = args.output / f"{part.name}.onnx", args.output / f"{part.name}.plan"
    axes = {**part.axes, **output_axes(part, wanted)}
    large = sum(p.numel() * p.element_size() for p in part.module.parameters()) > 1_500_000_000  # protobuf ends at 2 GB
    export(part.module, part.runs[0], path, DYNAMO if exporter == "dynamo" else TORCHSCRIPT, opset, part.outputs, axes, large)
    if exporter == "dynamo":
        name_symbols(path, part.axes)
    options: "dict[str, Any]" = dict(device=args.device, precision=args.precision, shapes=args.shapes, tune=args.tune, threads=args.threads)
    tenon.build(path, plan, **options, progress=None)
    session = tenon.InferenceSession(plan, device=args.device)
    taken = {a.name: a for a in session.get_inputs()}
    rows = []
    for run, want in zip(part.runs, wanted):
        feed = {k: v for k, v in run.items() if k in taken}
        try:
            result = tenon.compare(session, feed, expected=dict(zip(part.outputs, want)), atol=args.atol)
            rows.append({"inputs": {k: list(v.shape) for k, v in feed.items()}, **result.to_dict()})
        except tenon.ShapeError as e:
            rows.append({"inputs": {k: list(v.shape) for k, v in feed.items()}, "ok": False, "problem": str(e), "tensors": []})
    np.savez(args.output / f"{part.name}.npz", **{k: v for k, v in part.runs[-1].items() if k in taken})
    return {"part": part.name, "about": part.about, "exporter": exporter, "opset": opset, "onnx": path.name, "plan": plan.name, "notes": part.notes,
            "inputs": {a.name: [a.type, a.shape] for a in session.get_inputs()}, "outputs": {a.name: [a.type, a.shape] for a in session.get_outputs()},
            "ok": all(r["ok"] for r in rows), "runs": rows}


def export_part(part: Any, args: argparse.Namespace) -> "dict[str, Any]":
    """The first exporter that gives a right graph; with a single one, its result or its error."""
    from .torch_export import first_line

    tries = ["dynamo", "torchscript"] if args.exporter == "auto" else [args.exporter]
    failures: "list[str]" = []
    best = None
    for exporter in tries:
        try:
            row = attempt(part, exporter, args)
        except Exception as e:  # exporters raise everything
            while e.__cause__ is not None:
                e = e.__cause__  # type: ignore[assignment]
            failures.append(f"{exporter}: {type(e).__name__}: {first_line(e)}")
            continue
        row["failures"] = list(failures)
        if row["ok"]:
            return row
        best = best or row
        failures.append(f"{exporter}: results differ from PyTorch's, or another size does not run")
    if best is not None:
        return {**best, "failures": failures}
    return {"part": part.name, "about": part.about, "ok": False, "failures": failures, "runs": []}


def worst(row: "dict[str, Any]") -> float:
    return max((t["max_abs"] / t["scale"] for run in row["runs"] for t in run["tensors"] if not t["problem"]), default=float("nan"))


def main(argv: "list[str] | None" = None) -> int:
    args = arguments(argv)
    try:
        import torch
    except ImportError:
        print("tenon.export needs PyTorch: pip install 'tenon[export]'", file=sys.stderr)
        return 2
    from . import sources

    if args.threads:
        torch.set_num_threads(args.threads)
    say = (lambda *a: None) if args.quiet else (lambda *a: print(*a, flush=True))
    try:
        parts = sources.load(args.model, args)
    except (sources.Unknown, OSError, ImportError) as e:
        print(f"tenon.export: {e}", file=sys.stderr)
        return 2
    if args.parts:
        names = args.parts.split(",")
        unknown = [n for n in names if n not in {p.name for p in parts}]
        if unknown:
            print(f"tenon.export: there is no part '{unknown[0]}'; there are {', '.join(p.name for p in parts)}", file=sys.stderr)
            return 2
        parts = [p for p in parts if p.name in names]
    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for part in parts:
        row = export_part(part, args)
        rows.append(row)
        if "exporter" in row:
            say(f"{row['part']}: {row['exporter']}, opset {row['opset']}, {len(row['runs'])} sizes, largest error {worst(row):.1e} of scale: "
                f"{'ok' if row['ok'] else 'BEYOND'}")
        for failure in row["failures"]:
            say(f"{row['part']}: {failure}")
    (args.output / "report.json").write_text(json.dumps({"model": str(args.model), "torch": torch.__version__, "parts": rows}, indent=1) + "\n")
    if any("exporter" not in row for row in rows):
        return 2
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
