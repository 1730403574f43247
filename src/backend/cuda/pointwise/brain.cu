/* SPDX-License-Identifier: Apache-2.0
 *
 * unary and binary on bf16, computed in f32. */
#define PW_T PwBrain
#define PW_SPACE pw_float
#define PW_V 8
#define PW_UNARY tni_cuda_pw_unary_bf16
#define PW_BINARY tni_cuda_pw_binary_bf16
#include "backend/cuda/pointwise/table.cuh"
