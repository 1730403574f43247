/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the gemm family that its rows name. */
#ifndef TENON_BACKEND_CUDA_GEMM_H
#define TENON_BACKEND_CUDA_GEMM_H

#include "backend/cuda/cuda.h"

#endif
