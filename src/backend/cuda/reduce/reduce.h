/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the reduce family that its rows name. */
#ifndef TENON_BACKEND_CUDA_REDUCE_H
#define TENON_BACKEND_CUDA_REDUCE_H

#include "backend/cuda/cuda.h"

#endif
