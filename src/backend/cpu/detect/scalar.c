/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions and boxes for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/detect/roi_tmpl.h"
#include "backend/cpu/detect/nms_tmpl.h"
