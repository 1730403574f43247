#!/bin/sh
# Checks of the house: include direction, file sizes, generated files fresh. Needs a finished build in build/.
set -eu
cd "$(dirname "$0")/../.."
python3 tools/check/layers.py
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
build/tools/operators > "$tmp"
cmp -s "$tmp" docs/operators.md || { echo "docs/operators.md is stale: run 'make docs' and commit it" >&2; exit 1; }
echo "docs/operators.md is fresh"
