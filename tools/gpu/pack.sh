#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs and the GPU backend of a build folder, stripped and compressed, for a machine that has a GPU but no compiler.
# Usage: tools/gpu/pack.sh BUILD FOLDER [PROGRAM...]     (PROGRAM: checkcuda tenon; both without any)
# FOLDER then has PROGRAM.gz and libtenon_cuda.so.gz; check.sh unpacks them, or: gzip -dk FOLDER/*.gz && chmod +x FOLDER/tenon
set -eu
build=${1:?usage: pack.sh BUILD FOLDER [PROGRAM...]}
folder=${2:?usage: pack.sh BUILD FOLDER [PROGRAM...]}
shift 2
[ $# -gt 0 ] || set -- checkcuda tenon
mkdir -p "$folder"
for file in "$@" libtenon_cuda.so; do
    strip -o "$folder/$file" "$build/$file"
    gzip -1 -f "$folder/$file"
done
ls -l "$folder"
