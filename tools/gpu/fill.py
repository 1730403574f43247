#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes weights and inputs for the graphs that strip.py left.

    fill.py --out DIR [FOLDER...] [--batches 1,8,32] [--seed 1]

For each FOLDER (default: all below tools/gpu/models) writes DIR/NAME/{model.onnx,weights.bin} and inputs.B.npz for each batch B. The weights are
normal with each tensor's mean and deviation, clipped to its minimum and maximum; the same seed gives the same bytes on any number of threads.
What is there and fresh is kept.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import sys
import time

import numpy as np

import inputs

HERE = pathlib.Path(__file__).resolve().parent
CHUNK = 1 << 20  # elements that one random stream makes: fixed, so that the bytes do not depend on the threads
TYPES = {"f32": np.float32, "f16": np.float16, "f64": np.float64}


def tasks(rows):
    """(row, first element, elements) of every chunk; places that several tensors share are made once."""
    seen = set()
    for row in rows:
        if row[3] in seen:
            continue
        seen.add(row[3])
        count = int(np.prod(row[1], dtype=np.int64))
        for first in range(0, count, CHUNK):
            yield row, first, min(CHUNK, count - first)


def make(file, row, first, count, seed):
    """Writes one chunk of one tensor."""
    _, _, kind, offset, mean, std, low, high, own = row
    generator = np.random.Generator(np.random.SFC64([seed, own, first // CHUNK]))
    values = generator.standard_normal(count, dtype=np.float32)
    values *= np.float32(std)
    values += np.float32(mean)
    np.clip(values, np.float32(low), np.float32(high), out=values)
    values = values.astype(TYPES[kind], copy=False)
    data, place = memoryview(values).cast("B"), offset + first * values.itemsize
    while data:
        done = os.pwrite(file, data, place)
        data, place = data[done:], place + done


def fill(source, target, seed, threads):
    """weights.bin and model.onnx of one stripped model; True if they were made, False if they were there."""
    text = (source / "manifest.json").read_text()
    manifest = json.loads(text)
    if manifest.get("format") != 1:
        sys.exit(f"{source}/manifest.json: format {manifest.get('format')}, this program knows 1; strip the model again")
    stamp, mark, weights = target / "weights.stamp", f"{seed}\n{text}", target / "weights.bin"
    if stamp.exists() and weights.exists() and stamp.read_text() == mark:
        return False
    target.mkdir(parents=True, exist_ok=True)
    if (source / "model.onnx").resolve() != (target / "model.onnx").resolve():
        shutil.copyfile(source / "model.onnx", target / "model.onnx")
    file = os.open(weights, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.ftruncate(file, manifest["weights_bytes"])
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(make, file, *task, seed) for task in tasks(manifest["tensors"])]
            for job in jobs:
                job.result()
    finally:
        os.close(file)
    stamp.write_text(mark)
    return True


def check(manifest, batch, arrays):
    """Compares generated inputs with what the graph declares: a name, type or fixed dim that differs ends the program."""
    for want in manifest["inputs"]:
        have = arrays.get(want["name"])
        if have is None:
            sys.exit(f"{manifest['name']}: no rule makes input {want['name']}; add it to tools/gpu/inputs.py")
        fixed = all(not isinstance(d, int) or d == n for d, n in zip(want["shape"], have.shape))
        if have.dtype.name != want["type"] or have.ndim != len(want["shape"]) or not fixed or have.shape[0] != batch:
            sys.exit(f"{manifest['name']}: input {want['name']} is {want['type']} {want['shape']}, made was {have.dtype} {have.shape}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=pathlib.Path, nargs="*", help="stripped models (default: all of tools/gpu/models)")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--batches", default="", help="batch sizes of inputs.B.npz, as in 1,8,32")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    folders = options.folders or sorted(p.parent for p in (HERE / "models").glob("*/manifest.json"))
    for source in folders:
        start = time.perf_counter()
        target = options.out / source.name
        made = fill(source, target, options.seed, options.threads)
        manifest = json.loads((source / "manifest.json").read_text())
        for batch in [int(b) for b in options.batches.split(",") if b]:
            path = target / f"inputs.{batch}.npz"
            if not path.exists():
                arrays = inputs.make(source.name, batch, options.seed)
                check(manifest, batch, arrays)
                np.savez(path, **arrays)
        print(f"{target}: {manifest['weights_bytes'] / 1e6:.0f} MB {'made' if made else 'kept'}, {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main()
