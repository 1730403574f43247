# SPDX-License-Identifier: Apache-2.0
"""The rows of the GPU table in docs/performance.md: models, batches, and the work that each must do.

gflop: multiply-adds x 2 of matrix products, convolutions and attention of one sample, dead branches left out. weights: elements that one run
must read at least once (embedding tables, of which a run reads a few rows, left out). io_bytes: inputs and outputs of one sample as bound.
"""
import math
import statistics
from typing import NamedTuple


class Row(NamedTuple):
    title: str
    export: str  # folder of tools/export/full_size.py
    batches: tuple
    gflop: float
    weights: float
    io_bytes: int


ROWS = {
    "layoutlmv3": Row("LayoutLMv3-base, 512+197 tokens", "layoutlmv3_base_ts17", (1, 8, 32), 139.0, 85.8e6, 646_000),
    "trocr": Row("TrOCR-small, image 384 + one token", "trocr_small_ts17_combined", (1, 8, 64), 32.5, 31.4e6, 1_815_000),
    "uniformer": Row("UniFormer-S 224", "uniformer_s_ts17", (1, 32, 128), 7.2, 21.5e6, 606_000),
    "vilbert": Row("ViLBERT grounding, 20 tokens + 100 regions", "vilbert_ts17", (8, 64, 256), 20.9, 194.5e6, 823_000),
}
GENERATE = {"lines": 64, "tokens": 32}
ELEMENT = {"fp16": 2, "bf16": 2, "fp32": 4, "tf32": 4}


def floor_ms(row, batch, dtype, ceilings):
    """Milliseconds that no program can go below: arithmetic at the measured matrix rate, or the fewest bytes at the copy bandwidth."""
    flops = row.gflop * batch * 1e9 / (ceilings["tflops"][dtype] * 1e12)
    moved = (row.weights * ELEMENT[dtype] + row.io_bytes * batch) / (ceilings["copy_gbs"] * 1e9)
    return max(flops, moved) * 1e3


def summary(times):
    """Median, p99 (the value that 99 of 100 runs do not exceed), least and number of a list of milliseconds."""
    ordered = sorted(times)
    return {
        "runs": len(ordered),
        "median_ms": statistics.median(ordered),
        "p99_ms": ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)],
        "min_ms": ordered[0],
    }
