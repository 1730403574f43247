# SPDX-License-Identifier: Apache-2.0
"""A model in five lines: what a script for ONNX Runtime looks like after `import onnxruntime as ort` became `import tenon as ort`."""
import pathlib

import numpy as np

import tenon as ort

root = pathlib.Path(__file__).resolve().parents[2]
session = ort.InferenceSession(root / "tests/fixtures/layoutlmv3_ts17_dynamic/model.onnx", providers=["CPUExecutionProvider"])
for port in session.get_inputs():
    print(f"{port.name}: {port.type} {port.shape}")
feed = dict(np.load(root / "tests/fixtures/layoutlmv3_ts17_dynamic/inputs.0.npz"))
(logits,) = session.run(["logits"], feed)
print("logits", logits.shape, "labels of the first document:", logits[0].argmax(-1).tolist())
