/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the conv family that its rows name. */
#ifndef TENON_BACKEND_CUDA_CONV_H
#define TENON_BACKEND_CUDA_CONV_H

#include "backend/cuda/cuda.h"

#endif
