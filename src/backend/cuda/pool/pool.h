/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the pool family that its rows name. */
#ifndef TENON_BACKEND_CUDA_POOL_H
#define TENON_BACKEND_CUDA_POOL_H

#include "backend/cuda/cuda.h"

#endif
