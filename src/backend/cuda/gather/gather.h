/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the gather family that its rows name. */
#ifndef TENON_BACKEND_CUDA_GATHER_H
#define TENON_BACKEND_CUDA_GATHER_H

#include "backend/cuda/cuda.h"

#endif
