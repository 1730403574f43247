/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions and boxes for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/detect/roi_tmpl.h"
#include "backend/cpu/detect/nms_tmpl.h"
