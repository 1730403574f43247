#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# End-to-end speed of the four tasks on a GPU in fp16, in at most LIMIT seconds (150); one table on standard output. From the root of the repository:
#
#     bench/pipelines/run_gpu.sh [PACKAGE] [OPTION...]       # PACKAGE: folder of the package `tenon`, with libtenon_cuda.so in it (default: build/python)
#
# Needs Python 3.11 or later with torch, torchvision, transformers, safetensors, numpy and PIL; no network. PYTHON names another interpreter, WORK another
# folder for checkpoints and plans, which a second call finds there. Options are those of compare.py: --tune, --compile, --tasks doc,ground, --batches 8, --json FILE.
set -eu
package=${1:-build/python}
[ $# -eq 0 ] || shift
case ${DEVICE:-cuda} in cpu) type=fp32 ;; *) type=fp16 ;; esac
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=true
exec "${PYTHON:-python3}" "$(dirname "$0")/compare.py" --package "$package" --device "${DEVICE:-cuda}" --dtype "$type" --work "${WORK:-/tmp/tenon_pipelines}" \
    --seconds "${SECONDS_EACH:-3}" --limit "${LIMIT:-150}" "$@"
