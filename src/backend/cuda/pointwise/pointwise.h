/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the pointwise family that its rows name. */
#ifndef TENON_BACKEND_CUDA_POINTWISE_H
#define TENON_BACKEND_CUDA_POINTWISE_H

#include "backend/cuda/cuda.h"

#endif
