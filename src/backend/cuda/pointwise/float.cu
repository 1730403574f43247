/* SPDX-License-Identifier: Apache-2.0
 *
 * unary and binary on f32. */
#define PW_T float
#define PW_SPACE pw_float
#define PW_V 4
#define PW_UNARY tni_cuda_pw_unary_f32
#define PW_BINARY tni_cuda_pw_binary_f32
#include "backend/cuda/pointwise/table.cuh"
