#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Outputs of a model in fp32 on the host: reference.py MODEL.onnx INPUTS.npz OUTPUTS.npz. Needs ONNX Runtime."""
import os
import sys

import numpy as np
import onnxruntime


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, inputs, outputs = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    arrays = dict(np.load(inputs))
    made = session.run(None, {i.name: arrays[i.name] for i in session.get_inputs()})
    part = outputs + ".part.npz"
    np.savez(part, **{o.name: a for o, a in zip(session.get_outputs(), made)})
    os.replace(part, outputs)


if __name__ == "__main__":
    main()
