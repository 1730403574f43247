#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The full-size exports through Tenon against PyTorch and ONNX Runtime; prints the table of docs/accuracy.md.

    accuracy.py --exports DIR [--tenon build/tenon] [NAME...]

One plan an export serves all its recorded sizes. Exit status 1 when an output is beyond 1e-4 of its scale.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[1]
MASKED = -9e3  # ViLBERT adds -10000 to the scores of absent regions: their size says nothing about the others' scale


def errors(y: np.ndarray, expected: np.ndarray) -> tuple:
    """Absolute max, mean, median; relative max, mean, median over what is above 1e-6 of the scale; scale; max absolute error over scale."""
    if y.shape != expected.shape or not np.array_equal(np.isfinite(y), np.isfinite(expected)):
        return (float("inf"),) * 8
    use = np.isfinite(expected) & (expected > MASKED)
    y, expected = y[use].astype(np.float64), expected[use].astype(np.float64)
    if y.size == 0:
        return (0.0,) * 8
    off, size = np.abs(y - expected), np.abs(expected)
    scale = max(size.max(), 1e-30)
    rel = (off / np.maximum(size, 1e-300))[size > 1e-6 * scale]
    rel = rel if rel.size else np.zeros(1)
    return off.max(), off.mean(), np.median(off), rel.max(), rel.mean(), np.median(rel), scale, off.max() / scale


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--exports", type=pathlib.Path, required=True)
    p.add_argument("--tenon", type=pathlib.Path, default=ROOT / "build" / "tenon")
    p.add_argument("names", nargs="*")
    o = p.parse_args()
    failed = 0
    print("| export | inputs | output | against | max abs | mean abs | median abs | max rel | mean rel | median rel | scale | max abs / scale |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for model in sorted(o.exports.glob("*/model.onnx")):
        name = model.parent.name
        if o.names and name not in o.names:
            continue
        with tempfile.TemporaryDirectory() as tmp:
            plan = pathlib.Path(tmp) / "m.plan"
            r = subprocess.run([o.tenon, "build", model, "-o", plan, "-q"], capture_output=True, text=True)
            if r.returncode != 0:
                print(f"| {name} | - | {r.stderr.strip()} |", flush=True)
                failed += 1
                continue
            session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
            for inputs in sorted(model.parent.glob("inputs.*.npz")):
                arrays = dict(np.load(inputs))
                names = [v.name for v in session.get_outputs()]
                peers = [("PyTorch", inputs.with_name(inputs.name.replace("inputs", "outputs")))]
                try:
                    made = session.run(names, {v.name: arrays[v.name] for v in session.get_inputs()})
                    np.savez(pathlib.Path(tmp) / "ort.npz", **dict(zip(names, made)))
                    peers.append(("ONNX Runtime", pathlib.Path(tmp) / "ort.npz"))
                except Exception as e:  # noqa: BLE001: a peer's failure is a row, not an end
                    print(f"| {name} | {inputs.name} | ONNX Runtime failed: {str(e)[:80]} |")
                made = pathlib.Path(tmp) / "tenon.npz"
                r = subprocess.run([o.tenon, "run", plan, "-i", inputs, "-o", made], capture_output=True, text=True)
                if r.returncode != 0:
                    print(f"| {name} | {inputs.name} | {r.stderr.strip()} |", flush=True)
                    failed += 1
                    continue
                ours = dict(np.load(made))
                shape = "x".join(map(str, max(arrays.values(), key=lambda a: a.size).shape))
                for peer, expected in peers:
                    theirs = dict(np.load(expected))
                    rows = {k: errors(ours[k], v) for k, v in theirs.items() if np.issubdtype(v.dtype, np.floating)}
                    same = all(ours[k].shape == v.shape and np.array_equal(ours[k], v) for k, v in theirs.items() if k not in rows)
                    worst = max(rows, key=lambda k: rows[k][-1])
                    good = same and all(row[-1] <= 1e-4 for row in rows.values())
                    failed += not good
                    print(f"| {name} | {shape} | {worst}{f' (worst of {len(rows)})' if len(rows) > 1 else ''} | {peer} | "
                          + " | ".join(f"{x:.1e}" for x in rows[worst]) + (" |" if good else " (beyond the limit) |"), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
