/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the norm family that its rows name. */
#ifndef TENON_BACKEND_CUDA_NORM_H
#define TENON_BACKEND_CUDA_NORM_H

#include "backend/cuda/cuda.h"

#endif
