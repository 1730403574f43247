#!/bin/sh
# Reads the sample pictures with the default model, then shows how exact the plan is against PyTorch's tensors.
set -eu
cd "$(dirname "$0")/.."
model=models/trocr-tiny-zh
echo "== $model: picture, text read, text expected"
build/tenon ocr --model "$model" --eval "$model/samples/samples.tsv"
echo
echo "== the plan against PyTorch's tensors ($model/golden.npz)"
build/tools/golden "$model"
