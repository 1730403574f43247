#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs and the GPU backend of a build folder, stripped and compressed, for a machine that has a GPU but no compiler.
# Usage: tools/gpu/pack.sh BUILD FOLDER [PROGRAM...]     (PROGRAM: checkcuda tenon; both without any)
# FOLDER then has PROGRAM.gz and libtenon_cuda.so.gz, which the other scripts here unpack, or: gzip -dk FOLDER/*.gz && chmod +x FOLDER/tenon.
# UNIFORMER and VILBERT name checkouts of Sense-X/UniFormer and facebookresearch/vilbert-multi-task; the files of them that PyTorch's side of
# the benchmarks needs go to FOLDER/ref.
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
take() { # checkout name file...
    [ -n "$1" ] || return 0
    from=$1 to=$folder/ref/$2
    shift 2
    for file in "$@"; do
        mkdir -p "$to/$(dirname "$file")"
        cp "$from/$file" "$to/$file"
    done
}
take "${UNIFORMER:-}" UniFormer image_classification/models/uniformer.py
take "${VILBERT:-}" vilbert vilbert/vilbert.py vilbert/utils.py
ls -l "$folder"
du -sh "$folder"
