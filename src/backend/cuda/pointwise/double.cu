/* SPDX-License-Identifier: Apache-2.0
 *
 * unary and binary on f64. */
#define PW_T double
#define PW_SPACE pw_double
#define PW_V 2
#define PW_UNARY tni_cuda_pw_unary_f64
#define PW_BINARY tni_cuda_pw_binary_f64
#include "backend/cuda/pointwise/table.cuh"
