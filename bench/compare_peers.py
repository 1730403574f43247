#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tenon beside ONNX Runtime and transformers, in one run on the same inputs; prints the table of docs/performance.md.

    compare_peers.py --exports DIR [--tenon build/tenon] [--seconds 4] [--rounds 2] [--models NAME...]

DIR is what tools/export/full_size.py makes. Each row is measured in rounds (ONNX Runtime, Tenon, ONNX Runtime, Tenon, ...), each in a fresh
process; the median of the rounds' medians counts. The floor is the model's FLOPs over the machine's measured peak
(build/bench/bench_peak), per thread.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]

# (title, folder of the export, GFLOP a sample: multiply-adds x 2 of matrix products, convolutions and attention)
MODELS = [
    ("LayoutLMv3-base, 512+197 tokens", "layoutlmv3_base_ts17", 139.0),
    ("TrOCR-small, image 384 + one token", "trocr_small_ts17_combined", 32.5),
    ("UniFormer-S 224", "uniformer_s_ts17", 7.2),
    ("ViLBERT grounding, 20 tokens + 100 regions", "vilbert_ts17", 20.9),
    ("OCR model (trocr-tiny-zh), encoder + one token", "trocr_tiny_zh_ts17_combined", 1.68),
]


def call(command: list) -> dict | list:
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if r.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{r.stdout}{r.stderr}")
    return json.loads(r.stdout)


def with_batch(source: pathlib.Path, batch: int, folder: pathlib.Path) -> pathlib.Path:
    """The first row of every input, repeated."""
    out = folder / f"{source.parent.name}.{batch}.npz"
    np.savez(out, **{k: np.ascontiguousarray(np.repeat(v[:1], batch, 0)) for k, v in np.load(source).items()})
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--exports", type=pathlib.Path, required=True)
    p.add_argument("--tenon", type=pathlib.Path, default=ROOT / "build" / "tenon")
    p.add_argument("--seconds", type=float, default=4)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--models", nargs="*")
    p.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--tune", action="store_true", help="build plans with --tune")
    p.add_argument("--min-runs", type=int, default=5, help="of ONNX Runtime, however long they take")
    p.add_argument("--no-generate", action="store_true")
    o = p.parse_args()
    peak = call([ROOT / "build" / "bench" / "bench_peak", "--json"])
    gflops = peak["avx512_gflops"] or peak["avx2_gflops"]
    print(f"Measured peak of one core: {gflops:.0f} GFLOP/s fp32.\n")
    print("| model | batch | threads | Tenon median / p99 ms | ONNX Runtime median / p99 ms | ratio (ORT / Tenon) | floor ms | Tenon / floor |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        for title, name, gflop in MODELS:
            if o.models and name not in o.models:
                continue
            model = o.exports / name / "model.onnx"
            for threads in o.threads:
                plan = folder / f"{name}.{threads}.plan"
                subprocess.run([o.tenon, "build", model, "-o", plan, "-q", "--threads", str(threads), *(["--tune"] if o.tune else [])],
                               check=True)
                for batch in o.batches:
                    inputs = with_batch(o.exports / name / "inputs.0.npz", batch, folder)
                    ours, theirs = [], []
                    for _ in range(o.rounds):
                        theirs.append(call([sys.executable, ROOT / "bench/peers/ort_bench.py", model, inputs, "--threads", threads,
                                            "--seconds", o.seconds, "--warmup", min(1, o.seconds), "--min-runs", o.min_runs]))
                        ours.append(call([o.tenon, "bench", plan, "-i", inputs, "--threads", threads, "--duration", o.seconds, "--json"])[0])
                    mine, peer = (statistics.median(r["median_ms"] for r in rows) for rows in (ours, theirs))
                    mine99, peer99 = (statistics.median(r["p99_ms"] for r in rows) for rows in (ours, theirs))
                    floor = gflop * batch / gflops / threads * 1e3
                    print(f"| {title} | {batch} | {threads} | {mine:.2f} / {mine99:.2f} | {peer:.2f} / {peer99:.2f} | {peer / mine:.2f} | "
                          f"{floor:.2f} | {mine / floor:.2f} |", flush=True)
                plan.unlink()
    if o.no_generate:
        return
    print("\n| generation, trocr-tiny-zh, 20 new tokens a line | threads | Tenon median ms | transformers median ms | ratio |\n| --- | --- | --- | --- | --- |")
    checkpoint = ROOT / "models" / "trocr-tiny-zh"
    for threads in o.threads:
        for batch in o.batches:
            mine = call([o.tenon, "bench", checkpoint, "--batch", batch, "--threads", threads, "--tokens", 20, "--duration", o.seconds, "--json",
                         "-q"])[0]["median_ms"]
            r = subprocess.run([sys.executable, ROOT / "bench/peers/hf_generate_bench.py", "--model", checkpoint, "--batch", str(batch), "--new-tokens",
                                "20", "--threads", str(threads)], capture_output=True, text=True, check=True)
            peer = json.loads(r.stdout.splitlines()[-1])["median_ms"]
            print(f"| batch {batch} | {threads} | {mine:.2f} | {peer:.2f} | {peer / mine:.1f} |", flush=True)


if __name__ == "__main__":
    main()
