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


def matched(ours: dict, expected: dict, axis: int) -> dict:
    """Rows of an axis (0, or 1 with a batch before it) in the order in which the expected ones have them: each expected row takes the nearest that is left."""
    if axis == 0:
        return {n: a[0] for n, a in matched(*({n: a[None] for n, a in d.items()} for d in (ours, expected)), 1).items()}
    names = [n for n in expected if expected[n].ndim > 1 and expected[n].dtype != bool]
    out = {n: a.copy() for n, a in ours.items()}
    for b in range(expected[names[0]].shape[0]):
        flat = [np.concatenate([a[n][b].reshape(a[n].shape[1], -1) for n in names], 1) for a in (ours, expected)]
        left = list(range(flat[0].shape[0]))
        for i, row in enumerate(flat[1]):
            j = left.pop(int(np.abs(flat[0][left] - row).max(1).argmin()))
            for n in expected:
                out[n][b, i] = ours[n][b, j]
    return out


def apart(ours: dict, expected: dict, unordered: int) -> "tuple[float, float, str]":
    """Largest and mean error of the worst output, and its name."""
    if unordered and all(ours[n].shape == e.shape for n, e in expected.items()):
        ours = matched({n: ours[n] for n in expected}, expected, unordered - 1)
    found = {n: error(ours[n], e) for n, e in expected.items()}
    worst = max(found, key=found.__getitem__)
    scale = max(float(np.abs(expected[worst]).max(initial=0)), 1e-30)
    mean = float(np.abs(ours[worst].astype(np.float64) - expected[worst]).mean() / scale) if found[worst] < float("inf") else float("inf")
    return found[worst], mean, worst


def exact(model: pathlib.Path, feed: dict) -> dict:
    """What a quantised model gives in float64: the interpreter of the onnx package, with every float32 of the model made a float64."""
    import onnx
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    m = onnx.load(str(model))
    narrow, wide = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE

    def widen(t):
        if t.data_type == narrow:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), t.name))

    for t in m.graph.initializer:
        widen(t)
    for v in (*m.graph.input, *m.graph.output):
        if v.type.tensor_type.elem_type == narrow:
            v.type.tensor_type.elem_type = wide
    del m.graph.value_info[:]
    for n in m.graph.node:
        for a in n.attribute:
            if a.HasField("t"):
                widen(a.t)
            if n.op_type == "Cast" and a.name == "to" and a.i == narrow:
                a.i = wide
    for o in m.opset_import:
        if o.domain == "":
            o.version = max(o.version, 21)  # the interpreter has no older DequantizeLinear
    names = [v.name for v in m.graph.output]
    return dict(zip(names, ReferenceEvaluator(m).run(names, {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in feed.items()})))


def oracle(folder: pathlib.Path, tenon: pathlib.Path, feed: dict, expected: dict, ours: dict, unordered: int) -> dict:
    """Who is nearer to the truth where the two are apart: quantised models against float64, others against the reference kernels, which sum in double."""
    if folder.suffix in (".qdq", ".dynamic"):
        truth = exact(folder / "model.onnx", feed)
    else:
        command(tenon, "build", folder / "model.onnx", "-o", folder / "model.plan", "-q", "--threads", 1, "--reference")
        command(tenon, "run", folder / "model.plan", "-i", folder / "inputs.0.npz", "-o", folder / "made.npz", "-q", "--threads", 1)
        truth = dict(np.load(folder / "made.npz"))
    truth = {n: truth[n].astype(np.float64) if np.issubdtype(a.dtype, np.floating) else truth[n] for n, a in expected.items()}
    return {who: apart({n: y[n].astype(truth[n].dtype) for n in truth}, truth, unordered)[:2] for who, y in (("ours", ours), ("theirs", expected))}


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
            ours, expected, unordered = dict(np.load(made)), dict(zip(names, expected)), int(present.get("unordered", 0))
            found, _, worst = apart(ours, expected, unordered)
            row["errors"].append(found)
            row["worst"] = worst if found >= max(row["errors"]) else row["worst"]
            if k == 0:
                first = (feed, expected, ours)
        if timing:
            row["ours_ms"], row["theirs_ms"] = times(s, feed, names, tenon, plan, inputs)
        if max(row["errors"]) > LIMIT:
            row["oracle"] = oracle(folder, tenon, *first, unordered)
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
    """Within the limit; or, where rounding decides, no farther from the truth than ONNX Runtime (half as far again in the mean)."""
    if "failed" in row or not row.get("errors"):
        return False
    o = row.get("oracle")
    return max(row["errors"]) <= LIMIT or o is not None and o["ours"][1] <= max(1.5 * o["theirs"][1], LIMIT)


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
        if "oracle" in row:
            (a, b), (c, d) = row["oracle"]["ours"], row["oracle"]["theirs"]
            remarks.append(f"from the truth, largest and mean: Tenon {a:.0e}, {b:.0e}; ONNX Runtime {c:.0e}, {d:.0e}")
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
  Where it is larger, both are held against the truth: quantised models against the interpreter of the onnx package with every float32 widened to float64, detectors
  against reference kernels that sum in double. An 8-bit value whose exact form lies near a half is rounded either way by sums in float32 that differ in the last
  digit, here as in ONNX Runtime, and a step of 8 bits is far above 1e-4. The row passes when Tenon's mean distance from the truth is at most 1.5 times ONNX Runtime's.
- detections are compared as the nearest ones, since those of nearly equal scores change places between engines; every box, label, score and mask must have its twin.
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
