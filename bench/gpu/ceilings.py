#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what the device can do at best: bandwidth of a copy and rate of an 8192 x 8192 x 8192 product in each precision.

    ceilings.py [--json FILE]

Random values, since zeros draw less power and run faster than any real model. The median of ten runs after a warm-up of a quarter of a second.
"""
import argparse
import json
import pathlib
import statistics
import time

import torch

SIDE = 8192
SETTINGS = {
    "fp16": (torch.float16, "highest"),
    "bf16": (torch.bfloat16, "highest"),
    "tf32": (torch.float32, "high"),
    "fp32": (torch.float32, "highest"),
}


def milliseconds(call, runs=10):
    """Median time of a call on the current stream."""
    end = time.perf_counter() + 0.25
    while time.perf_counter() < end:
        call()
        torch.cuda.synchronize()
    times = []
    for _ in range(runs):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)


def bandwidth():
    """Bytes read and written by a copy of 4 GiB, in GB/s."""
    source = torch.empty(1 << 30, dtype=torch.float32, device="cuda").normal_()
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds(lambda: target.copy_(source)) / 1e6


def rate(dtype, precision):
    """TFLOP/s of one large product."""
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(SIDE, SIDE, device="cuda").to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * SIDE**3 / milliseconds(lambda: torch.matmul(a, b, out=out)) / 1e9


def measure():
    """Name of the device, copy bandwidth and matrix rates."""
    rates = {name: rate(*setting) for name, setting in SETTINGS.items()}
    return {"device": torch.cuda.get_device_name(), "copy_gbs": bandwidth(), "tflops": rates}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, help="also write the result here")
    options = parser.parse_args()
    result = measure()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in result["tflops"].items())
    print(f"{result['device']}: copy {result['copy_gbs']:.0f} GB/s; {SIDE}^3 product, TFLOP/s: {rates}", flush=True)


if __name__ == "__main__":
    main()
