# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(reduce reduce/shape.c reduce/f32.cu reduce/f16.cu reduce/bf16.cu reduce/any.cu)
