/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of LayoutLMv3 that tests look at. */
#ifndef TENON_HF_LAYOUTLMV3_H
#define TENON_HF_LAYOUTLMV3_H

#include "hf/architecture.h"

/* Bucket of a distance (key minus query), as PyTorch computes it in float32; bins even and >= 4, max > bins / 4. */
int32_t tni_hf_relative_bucket(int32_t distance, uint32_t bins, uint32_t max);

#endif
