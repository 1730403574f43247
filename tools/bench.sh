#!/bin/sh
# The benchmarks of docs/performance.md: needs PyTorch, transformers and ONNX Runtime in PYTHON, and the full-size exports in EXPORTS.
set -eu
cd "$(dirname "$0")/.."
: "${PYTHON:=python3}" "${EXPORTS:?set EXPORTS to the folder that tools/export/full_size.py --out made}"
exec "$PYTHON" bench/compare_peers.py --exports "$EXPORTS" "$@"
