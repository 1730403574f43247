/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the detect family that its rows name. */
#ifndef TENON_BACKEND_CUDA_DETECT_H
#define TENON_BACKEND_CUDA_DETECT_H

#include "backend/cuda/cuda.h"

#endif
