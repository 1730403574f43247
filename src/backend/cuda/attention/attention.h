/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the attention family that its rows name. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_H
#define TENON_BACKEND_CUDA_ATTENTION_H

#include "backend/cuda/cuda.h"

#endif
