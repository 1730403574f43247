/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the resize family that its rows name. */
#ifndef TENON_BACKEND_CUDA_RESIZE_H
#define TENON_BACKEND_CUDA_RESIZE_H

#include "backend/cuda/cuda.h"

#endif
