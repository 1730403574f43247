/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy's .npy and .npz files. Format: numpy.lib.format, versions 1.0 to 3.0; little-endian or single-byte elements; C or Fortran order.
 * Element types: all that NumPy and TnTensor share (float16 .. float64, integers, bool). Complex, strings and objects are refused. */
#ifndef TENON_PIPELINES_NPZ_H
#define TENON_PIPELINES_NPZ_H

#include "tenon/hooks.h"
#include "tenon/tensor.h"

/* Tensor data is allocated from a (NULL: malloc), 64-byte aligned; free it with tn_npy_free.
 * Errors: IO, PARSE (what is wrong with the header), UNSUPPORTED (element type), DATA (too few bytes), LIMIT (rank above TN_MAX_RANK), MEMORY. */
TnStatus tn_npy_read(const char *path, const TnAllocator *a, TnTensor *out, TnError *err);
TnStatus tn_npy_read_memory(const void *data, size_t n, const char *name, const TnAllocator *a, TnTensor *out, TnError *err);
void tn_npy_free(const TnAllocator *a, TnTensor *t); /* safe on a zeroed tensor */

/* All arrays of an .npz (stored or deflated members). Arrays whose element type a TnTensor cannot hold (strings) are left out and counted. */
typedef struct TnNpz {
    char **names; /* without ".npy" */
    TnTensor *tensors;
    uint32_t n, n_skipped;
} TnNpz;
TnStatus tn_npz_read(const char *path, const TnAllocator *a, TnNpz *out, TnError *err);
/* From memory; name is for messages. */
TnStatus tn_npz_read_memory(const void *data, size_t n, const char *name, const TnAllocator *a, TnNpz *out, TnError *err);
/* NULL when there is none of this name. */
const TnTensor *tn_npz_find(const TnNpz *npz, const char *name);
void tn_npz_free(const TnAllocator *a, TnNpz *npz);

/* Writes an uncompressed .npz: whole or not at all. bfloat16, which NumPy lacks, is written as float32. */
TnStatus tn_npz_write(const char *path, const char *const *names, const TnTensor *tensors, uint32_t n, TnError *err);

#endif
