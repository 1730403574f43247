#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The full-size exports through Tenon against PyTorch and ONNX Runtime; prints the table of docs/accuracy.md.

    accuracy.py --exports DIR [--tenon build/tenon] [NAME...]

One plan an export serves all its recorded sizes. Exit status 1 when an output is beyond 1e-4 of its scale.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[1]


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
                for peer, expected in peers:
                    r = subprocess.run([o.tenon, "compare", plan, "-i", inputs, "-e", expected, "--json"], capture_output=True, text=True)
                    if r.returncode not in (0, 1):
                        print(f"| {name} | {inputs.name} | {r.stderr.strip()} |", flush=True)
                        failed += 1
                        continue
                    failed += r.returncode
                    rows = json.loads(r.stdout)["tensors"]
                    worst = max(rows, key=lambda t: float("inf") if "problem" in t else t["max_abs"] / t["scale"])
                    shape = "x".join(map(str, max(arrays.values(), key=lambda a: a.size).shape))
                    if "problem" in worst:
                        print(f"| {name} | {shape} | {worst['name']} | {peer} | {worst['problem']} |", flush=True)
                        continue
                    print(f"| {name} | {shape} | {worst['name']}{f' (worst of {len(rows)})' if len(rows) > 1 else ''} | {peer} | "
                          + " | ".join(f"{worst[k]:.1e}" for k in ("max_abs", "mean_abs", "median_abs", "max_rel", "mean_rel", "median_rel", "scale"))
                          + f" | {worst['max_abs'] / worst['scale']:.1e} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
