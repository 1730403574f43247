/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the move family that its rows name. */
#ifndef TENON_BACKEND_CUDA_MOVE_H
#define TENON_BACKEND_CUDA_MOVE_H

#include "backend/cuda/cuda.h"

#endif
