#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every model of models.py through Tenon and ONNX Runtime; writes the table of docs/models.md.

    check.py --work DIR [--tenon build/tenon] [--export] [NAME | NAME.EXPORTER ...]
    check.py --work DIR --table docs/models.md          from what is in DIR, without running anything

For each export: the graph is imported, a plan is built, it runs at two sizes and is held against ONNX Runtime (largest error of an output over the
output's scale, at most 1e-4). Attentions, LayerNorms and GELUs that were found are counted in the graph after the passes; those present were
counted in PyTorch. Times are the best of some runs of one thread each, in turns, second size. DIR/NAME.EXPORTER/row.json keeps the result, --again makes it anew.
Exit status 1: something was beyond the limit or failed.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 1e-4
NODE = re.compile(r"^\s+%.*? = ([a-z_0-9]+)\(.*?\)(?: \{fn=(gelu|gelu_tanh)\b)?")


def operators(tenon: pathlib.Path, model: pathlib.Path, after: str) -> "dict[str, int]":
    """Operators of the graph after a pass, by name."""
    r = subprocess.run([tenon, "inspect", model, "-q", "--after", after], capture_output=True, text=True)
    if r.returncode != 0:
        raise RuntimeError(r.stderr.strip().splitlines()[-1] if r.stderr.strip() else f"inspect ended with {r.returncode}")
    counts: "dict[str, int]" = {}
    for line in r.stdout.splitlines():
        m = NODE.match(line)
        if m:
            name = "gelu" if m.group(2) else m.group(1)
            counts[name] = counts.get(name, 0) + 1
    return counts


def command(*parts) -> str:
    r = subprocess.run([str(p) for p in parts], capture_output=True, text=True, timeout=600)
    if r.returncode != 0:
        raise RuntimeError(r.stderr.strip() or f"{parts[1]} ended with {r.returncode}")
    return r.stdout


def error(y: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over the scale; integers and flags must agree exactly."""
    if y.shape != expected.shape or y.dtype != expected.dtype:
        return float("inf")
    if y.size == 0 or not np.issubdtype(y.dtype, np.floating):
        return 0.0 if np.array_equal(y, expected) else float("inf")
    if not np.array_equal(np.isfinite(y), np.isfinite(expected)):
        return float("inf")
    use = np.isfinite(expected)
    y, expected = y[use].astype(np.float64), expected[use].astype(np.float64)
    return float(np.abs(y - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30))


def matched(ours: dict, expected: dict) -> dict:
    """Rows of axis 1 in the order in which the expected ones have them: each expected row takes the nearest that is left."""
    names = [n for n in expected if np.issubdtype(expected[n].dtype, np.floating)]
    out = {n: a.copy() for n, a in ours.items()}
    for b in range(expected[names[0]].shape[0]):
        flat = [np.concatenate([a[n][b].reshape(a[n].shape[1], -1) for n in names], 1) for a in (ours, expected)]
        left = list(range(flat[0].shape[0]))
        for i, row in enumerate(flat[1]):
            j = left.pop(int(np.abs(flat[0][left] - row).max(1).argmin()))
            for n in expected:
                out[n][b, i] = ours[n][b, j]
    return out


def session(model: pathlib.Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def times(s, feed: dict, names: "list[str]", tenon: pathlib.Path, plan: pathlib.Path, inputs: pathlib.Path) -> "tuple[float, float]":
    """Milliseconds of Tenon and ONNX Runtime, the best of some runs in turns: on a machine with other work the best is the least wrong."""
    ours, theirs = [], []
    for _ in range(2):
        s.run(names, feed)
        end = time.perf_counter() + 1.0
        for k in range(50):
            start = time.perf_counter()
            s.run(names, feed)
            theirs.append((time.perf_counter() - start) * 1e3)
            if k > 1 and time.perf_counter() > end:
                break
        ours.append(json.loads(command(tenon, "bench", plan, "-i", inputs, "-t", 1, "-d", 1, "-w", 1, "--json", "-q"))[0]["min_ms"])
    return min(ours), min(theirs)


def check(folder: pathlib.Path, tenon: pathlib.Path, timing: bool) -> dict:
    """The row of one export."""
    model, row = folder / "model.onnx", {}
    present = json.loads((folder / "present.json").read_text())
    row["present"] = present
    plan = folder / "model.plan"
    try:
        row["imported"] = sum(operators(tenon, model, "import").values())
        named, final = operators(tenon, model, "fuse_softmax"), operators(tenon, model, "finish")
        row["steps"] = sum(final.values())
        row["left"] = final
        row["found"] = {"attention": final.get("attention", 0), "gelu": named.get("gelu", 0),
                        "layer_norm": named.get("layer_norm", 0) + named.get("rms_norm", 0)}
        command(tenon, "build", model, "-o", plan, "-q", "--threads", 1)
        s = session(model)
        names = [v.name for v in s.get_outputs()]
        row["errors"], row["worst"] = [], ""
        for k in range(2):
            inputs, made = folder / f"inputs.{k}.npz", folder / "made.npz"
            feed = {v.name: a for v in s.get_inputs() if (a := np.load(inputs).get(v.name)) is not None}
            expected = s.run(names, feed)
            command(tenon, "run", plan, "-i", inputs, "-o", made, "-q", "--threads", 1)
            ours = dict(np.load(made))
            if present.get("unordered") and all(ours[n].shape == e.shape for n, e in zip(names, expected)):
                ours = matched(ours, dict(zip(names, expected)))
            found = {n: error(ours[n], e) for n, e in zip(names, expected)}
            worst = max(found, key=found.__getitem__)
            row["errors"].append(found[worst])
            row["worst"] = worst if found[worst] >= max(row["errors"]) else row["worst"]
        if timing:
            row["ours_ms"], row["theirs_ms"] = times(s, feed, names, tenon, plan, inputs)
    except subprocess.TimeoutExpired as e:
        row["failed"] = f"{pathlib.Path(e.cmd[0]).name} {e.cmd[1]} took longer than {e.timeout:.0f} s"
    except (RuntimeError, KeyError) as e:
        row["failed"] = str(e)
    except Exception as e:  # noqa: BLE001: a peer's failure is a row, not an end
        row["failed"] = f"ONNX Runtime: {e}"
    finally:
        for name in ("model.plan", "made.npz"):
            (folder / name).unlink(missing_ok=True)
    return row


def good(row: dict) -> bool:
    return "failed" not in row and all(e <= LIMIT for e in row.get("errors", [float("inf")]))


def fraction(row: dict, kind: str) -> str:
    have, want = row.get("found", {}).get(kind, 0), row["present"].get(kind, 0)
    return "-" if have == want == 0 else f"{have} of {want}"


def first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "").replace("|", "/").replace(str(ROOT), "")[:240]


def table(work: pathlib.Path) -> str:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    import models

    titles = {n: t for n, (t, _) in models.ORDINARY.items()}
    notes = json.loads((pathlib.Path(__file__).parent / "remarks.json").read_text())
    lines = []
    for name, exporter in models.every():
        folder = work / f"{name}.{exporter}"
        key = f"{name}.{exporter}"
        head = f"| {titles[name]} | {exporter} | "
        remarks = [notes[k] for k in (name, key) if k in notes]
        if not (folder / "row.json").exists():
            log = work / f"{key}.log"
            why = "not yet exported" + (": " + first_line("\n".join(log.read_text().splitlines()[-1:])) if log.exists() and not (folder / "model.onnx").exists() else "")
            lines.append(head + "- | - | - | - | - | - | " + "; ".join(remarks or [why]) + " |")
            continue
        row = json.loads((folder / "row.json").read_text())
        remarks = ([row["present"].get("remarks", "")] if row["present"].get("remarks") else []) + remarks
        if "failed" in row:
            remarks.append(first_line(row["failed"]))
        e = max(row["errors"]) if row.get("errors") else None
        cells = [f"{row.get('imported', '-')} / {row.get('steps', '-')}", fraction(row, "attention"), fraction(row, "layer_norm"), fraction(row, "gelu"),
                 "-" if e is None else f"{e:.0e}" + ("" if e <= LIMIT else " (beyond)"),
                 f"{row['theirs_ms'] / row['ours_ms']:.2f} ({row['ours_ms']:.1f} ms)" if "ours_ms" in row else "-"]
        lines.append(head + " | ".join(cells) + " | " + "; ".join(remarks) + " |")
    return "\n".join(lines)


HEAD = """# Models

Generated by `tools/models/check.py`: architectures of transformers and torchvision, and two written for this table, at their real widths with two layers (convolutional ones
whole) and random weights; both exporters of PyTorch (`torchscript`: opset 17, attention written out; `dynamo`: opset 18, from scaled_dot_product_attention), batch dynamic, length or size dynamic where the model has one. Each plan
runs at two sizes.

- operators / steps: of the graph as imported, and after the passes (`tenon inspect`).
- attention, LayerNorm (and RMSNorm), GELU: found of those present; present is what PyTorch executed. More than present: the exporter's constants or another
  spelling are read as one too.
- error: against ONNX Runtime in float32, largest absolute difference over the scale of the output, worst output and size; limit 1e-4.
- speed: ONNX Runtime's time over Tenon's, one thread, second size, and Tenon's time. Above 1 Tenon is faster. The best of a few runs on a machine with other work: a hint, not a measurement;
  see [performance.md](performance.md) for those.

| model | exporter | operators / steps | attention | LayerNorm | GELU | error | speed | remarks |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=pathlib.Path, required=True, help="folder of the exports, not in the tree")
    p.add_argument("--tenon", type=pathlib.Path, default=ROOT / "build" / "tenon")
    p.add_argument("--export", action="store_true", help="export what is not there")
    p.add_argument("--again", action="store_true", help="also what has a row")
    p.add_argument("--no-timing", action="store_true")
    p.add_argument("--table", type=pathlib.Path, help="write this file and do nothing else")
    p.add_argument("names", nargs="*")
    o = p.parse_args()
    if o.table:
        o.table.write_text(HEAD + table(o.work) + "\n")
        return 0
    script, failed = pathlib.Path(__file__).with_name("models.py"), 0
    for line in subprocess.run([sys.executable, script, "--list"], capture_output=True, text=True, check=True).stdout.splitlines():
        name, exporter = line.split()
        folder = o.work / f"{name}.{exporter}"
        if o.names and name not in o.names and folder.name not in o.names or (folder / "row.json").exists() and not o.again:
            continue
        if not (folder / "model.onnx").exists():
            if not o.export:
                continue
            o.work.mkdir(parents=True, exist_ok=True)
            with open(o.work / f"{folder.name}.log", "w") as log:
                subprocess.run([sys.executable, script, "--work", o.work, name, exporter], stdout=log, stderr=log)
            if not (folder / "model.onnx").exists():
                print(f"{folder.name}: not exported")
                failed += 1
                continue
        row = check(folder, o.tenon, not o.no_timing)
        (folder / "row.json").write_text(json.dumps(row, indent=1))
        failed += not good(row)
        print(f"{folder.name}: {'ok' if good(row) else 'FAILED'}, {row.get('imported')} -> {row.get('steps')},",
              ", ".join(f"{k} {fraction(row, k)}" for k in ("attention", "layer_norm", "gelu")) + ",", " ".join(f"{e:.1e}" for e in row.get("errors", [])),
              f"{row['theirs_ms']:.1f}/{row['ours_ms']:.1f} ms" if "ours_ms" in row else "", row.get("failed", ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
