/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorting on the device, for operators that need an order: duplicates of scatter, topk, unique, boxes by score. */
#ifndef TENON_BACKEND_CUDA_DETECT_SORT_H
#define TENON_BACKEND_CUDA_DETECT_SORT_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Power of two that a row of n pairs is sorted in; at least 2. */
int64_t tni_cuda_sort_size(int64_t n);
/* Enqueues: every row of n (a power of two) pairs (key, idx) ascending by key, then by idx: with distinct idx the order is unique. Fill up
 * rows with the largest key and idx. */
void tni_cuda_sort(cudaStream_t s, uint64_t *key, uint32_t *idx, int64_t n, int64_t rows);

#ifdef __cplusplus
}
#endif
#endif
