/* SPDX-License-Identifier: Apache-2.0
 *
 * Declarations of everything that the rows of families.inc name: one header a family. */
#ifndef TENON_BACKEND_CPU_FAMILIES_H
#define TENON_BACKEND_CPU_FAMILIES_H

#include "backend/cpu/attention/attention.h"
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/detect/detect.h"
#include "backend/cpu/gather/gather.h"
#include "backend/cpu/gemm/kernels.h"
#include "backend/cpu/integer/integer.h"
#include "backend/cpu/move/move.h"
#include "backend/cpu/norm/norm.h"
#include "backend/cpu/pointwise/pointwise.h"
#include "backend/cpu/pool/pool.h"
#include "backend/cpu/quantize/quantize.h"
#include "backend/cpu/recurrent/recurrent.h"
#include "backend/cpu/reduce/reduce.h"
#include "backend/cpu/resize/resize.h"
#include "backend/cpu/softmax/softmax.h"

#endif
