# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(move
    move/box.c move/move.c move/parts.c
    move/convert.cu move/copy.cu move/fill.cu move/pad.cu move/transpose.cu)
