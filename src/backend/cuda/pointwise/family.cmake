# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(pointwise
    pointwise/launch.c pointwise/supports.c pointwise/source.c
    pointwise/float.cu pointwise/half.cu pointwise/brain.cu pointwise/double.cu
    pointwise/elementwise.cu pointwise/select.cu pointwise/cast.cu pointwise/quantize.cu pointwise/program.cu)
