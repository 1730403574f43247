# SPDX-License-Identifier: Apache-2.0
"""From PyTorch to plans: export with torch.onnx.export, build, compare, in one command.

    python -m tenon.export path/to/checkpoint --output out

Needs torch (and transformers for Hugging Face models), which nothing else of the package imports.
"""
