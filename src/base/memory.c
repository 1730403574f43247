/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation through the caller's hooks, and shape arithmetic. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

static void *default_alloc(void *ctx, size_t size, size_t align) {
    (void)ctx;
    void *p = NULL;
    if (align <= sizeof(max_align_t))
        return malloc(size == 0 ? 1 : size);
    return posix_memalign(&p, align, size == 0 ? 1 : size) == 0 ? p : NULL;
}

static void default_free(void *ctx, void *ptr) {
    (void)ctx;
    free(ptr);
}

static const TnAllocator default_allocator = {default_alloc, default_free, NULL};

const TnAllocator *tni_default_allocator(void) { return &default_allocator; }

void *tni_alloc_aligned(const TnAllocator *a, size_t bytes, size_t align) {
    if (a == NULL)
        a = &default_allocator;
    return a->alloc(a->ctx, bytes == 0 ? 1 : bytes, align);
}

void *tni_calloc(const TnAllocator *a, size_t n, size_t size) {
    size_t bytes;
    if (!tni_mul_size(n, size, &bytes))
        return NULL;
    void *p = tni_alloc_aligned(a, bytes, sizeof(max_align_t));
    if (p != NULL)
        memset(p, 0, bytes == 0 ? 1 : bytes);
    return p;
}

void tni_free(const TnAllocator *a, void *p) {
    if (p == NULL)
        return;
    if (a == NULL)
        a = &default_allocator;
    a->free(a->ctx, p);
}

bool tni_shape_bytes(TnDtype t, int32_t rank, const int64_t *dims, int64_t *numel, size_t *bytes) {
    int64_t n = 1;
    bool empty = false;
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        empty = empty || dims[i] == 0;
    }
    for (int32_t i = 0; i < rank && !empty; i++) {
        if (!tni_mul_i64(n, dims[i], &n))
            return false;
    }
    if (empty)
        n = 0;
    int64_t bits;
    if (!tni_mul_i64(n, (int64_t)tn_dtype_bits(t), &bits) || bits > INT64_MAX - 7)
        return false;
    if (numel != NULL)
        *numel = n;
    if (bytes != NULL)
        *bytes = (size_t)((bits + 7) / 8);
    return true;
}

int64_t tn_tensor_numel(const TnTensor *t) {
    int64_t n = 1;
    for (int32_t i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}

size_t tn_tensor_bytes(const TnTensor *t) { return ((size_t)tn_tensor_numel(t) * tn_dtype_bits(t->dtype) + 7) / 8; }

char *tni_shape_str(char *buf, size_t n, int32_t rank, const int64_t *dims) {
    size_t at = 0;
    if (n == 0)
        return buf;
    buf[0] = '\0';
    for (int32_t i = 0; i <= rank && at < n; i++) {
        int w = i == rank ? snprintf(buf + at, n - at, "%s]", rank == 0 ? "[" : "")
                          : snprintf(buf + at, n - at, "%s%lld", i == 0 ? "[" : ",", (long long)dims[i]);
        at += w < 0 ? 0 : (size_t)w;
    }
    return buf;
}
