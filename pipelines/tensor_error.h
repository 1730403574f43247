/* SPDX-License-Identifier: Apache-2.0
 *
 * How far one tensor is from another. */
#ifndef TENON_PIPELINES_TENSOR_ERROR_H
#define TENON_PIPELINES_TENSOR_ERROR_H

#include "tenon/tensor.h"

/* Errors over all elements. A relative error is |got - want| / |want|, over elements with |want| > 1e-6 * scale. Where both are NaN, or the same
 * infinity, the error is 0; where only one is, it counts in n_nan_mismatch and not in the sums. */
typedef struct TnTensorError {
    double max_abs, mean_abs, median_abs;
    double max_rel, mean_rel, median_rel;
    double scale;        /* largest finite |want|; 1 when that is 0 or the types are integers */
    double max_abs_want; /* |want| where it is largest */
    int64_t n, n_nan_mismatch;
} TnTensorError;

/* SHAPE, TYPE when they differ; UNSUPPORTED for types narrower than a byte; MEMORY. */
TnStatus tn_tensor_error(const TnTensor *got, const TnTensor *want, TnTensorError *out, TnError *err);

#endif
