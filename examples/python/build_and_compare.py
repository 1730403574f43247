# SPDX-License-Identifier: Apache-2.0
"""Build once, keep the plan, see how exact and how fast it is, and what is inside."""
import pathlib

import numpy as np

import tenon

root = pathlib.Path(__file__).resolve().parents[2]
model = root / "tests/fixtures/uniformer_ts17_dynamic/model.onnx"

# Ranges of the symbols: memory is laid out for them, kernels are chosen for the middle value.
tenon.build(model, "uniformer.plan", shapes={"batch": (1, 2, 4)}, progress=lambda phase, done, total: None)

session = tenon.InferenceSession("uniformer.plan")
x = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
print("logits", session.run(None, {"input": x})[0].shape)

# Every step against the reference interpreter; looking does not change what runs.
result = tenon.compare("uniformer.plan", {"input": x}, model=model, layers=True)
print(f"{len(result.tensors)} tensors, all within limits: {result.ok}; worst: {result.worst.name}, {result.worst.max_abs:.1e} of {result.worst.scale:.2f}")

for row in tenon.bench("uniformer.plan", batch=[1, 4], threads=[1, 2], duration=0.1, profile=True):
    slowest = max(row.steps, key=lambda s: s["ns"])
    print(f"batch {row.batch}, {row.threads} threads: median {row.median_ms:.2f} ms, {row.per_second:.0f} pictures/s; slowest step: {slowest['op']} {slowest['kernel']}")

print("operators after all rewrites:", sorted({n["op"] for n in tenon.inspect(model)["nodes"]}))
