#!/bin/sh
# Make every fixture again: all.sh PYTHON UNIFORMER VILBERT VILBERT_BETA (three checkouts of the official code).
set -e
cd "$(dirname "$0")/../.."
python=$1
"$python" tools/export/layoutlmv3.py
"$python" tools/export/trocr.py
"$python" tools/export/uniformer.py --official "$2"
"$python" tools/export/vilbert.py --official "$3"
"$python" tools/export/vilbert.py --official "$4" --beta
"$python" tools/export/hf_trocr.py
"$python" tools/export/readme.py
