/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the softmax family that its rows name. */
#ifndef TENON_BACKEND_CUDA_SOFTMAX_H
#define TENON_BACKEND_CUDA_SOFTMAX_H

#include "backend/cuda/cuda.h"

#endif
