/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving elements of any width: single runs, fills, strided boxes. */
#include "backend/ref/ref.h"

/* Element i of 2 or 4 bits. */
static uint8_t narrow(uint32_t bits, const void *p, int64_t i) {
    const int64_t per = 8 / bits;
    return (uint8_t)(((const uint8_t *)p)[i / per] >> (i % per * bits) & ((1u << bits) - 1u));
}

static void set_narrow(uint32_t bits, void *p, int64_t i, uint8_t v) {
    const int64_t per = 8 / bits;
    const uint32_t at = (uint32_t)(i % per) * bits, mask = ((1u << bits) - 1u) << at;
    uint8_t *b = (uint8_t *)p + i / per;
    *b = (uint8_t)((*b & ~mask) | (uint32_t)v << at);
}

void tni_ref_copy_run(uint32_t bits, void *dst, int64_t dst_first, const void *src, int64_t src_first, int64_t n) {
    if (n <= 0 || bits == 0)
        return;
    if (bits >= 8) {
        size_t width = bits / 8;
        memmove((uint8_t *)dst + (size_t)dst_first * width, (const uint8_t *)src + (size_t)src_first * width, (size_t)n * width);
        return;
    }
    for (int64_t k = 0; k < n; k++)
        set_narrow(bits, dst, dst_first + k, narrow(bits, src, src_first + k));
}

void tni_ref_fill(uint32_t bits, void *dst, int64_t first, int64_t n, const void *src) {
    if (n <= 0 || bits == 0)
        return;
    if (bits == 8)
        memset((uint8_t *)dst + first, *(const uint8_t *)src, (size_t)n);
    else
        for (int64_t k = 0; k < n; k++)
            tni_ref_copy_run(bits, dst, first + k, src, 0, 1);
}

#define STRIDED(T)                                                                                                                         \
    do {                                                                                                                                   \
        uint8_t *d = (uint8_t *)dst + dst_first * (int64_t)sizeof(T);                                                                      \
        const uint8_t *s = (const uint8_t *)src + src_first * (int64_t)sizeof(T);                                                          \
        for (int64_t k = 0; k < n; k++)                                                                                                    \
            memcpy(d + k * dst_stride * (int64_t)sizeof(T), s + k * src_stride * (int64_t)sizeof(T), sizeof(T));                           \
    } while (0)

static void copy_strided(uint32_t bits, int64_t n, void *dst, int64_t dst_first, int64_t dst_stride, const void *src, int64_t src_first,
                         int64_t src_stride) {
    if (dst_stride == 1 && src_stride == 1)
        tni_ref_copy_run(bits, dst, dst_first, src, src_first, n);
    else if (bits == 8)
        STRIDED(uint8_t);
    else if (bits == 16)
        STRIDED(uint16_t);
    else if (bits == 32)
        STRIDED(uint32_t);
    else if (bits == 64)
        STRIDED(uint64_t);
    else
        for (int64_t k = 0; k < n; k++)
            tni_ref_copy_run(bits, dst, dst_first + k * dst_stride, src, src_first + k * src_stride, 1);
}

/* Drops dims of 1 and joins neighbours that are contiguous on both sides, so that runs are long. false: nothing to copy. */
static bool simplify(const RefCopy *in, RefCopy *out) {
    *out = *in;
    out->rank = 0;
    for (int32_t d = 0; d < in->rank; d++) {
        if (in->dims[d] <= 0)
            return false;
        if (in->dims[d] == 1)
            continue;
        int32_t p = out->rank - 1;
        if (p >= 0 && out->dst_strides[p] == in->dst_strides[d] * in->dims[d] && out->src_strides[p] == in->src_strides[d] * in->dims[d]) {
            out->dims[p] *= in->dims[d];
            out->dst_strides[p] = in->dst_strides[d];
            out->src_strides[p] = in->src_strides[d];
            continue;
        }
        out->dims[out->rank] = in->dims[d];
        out->dst_strides[out->rank] = in->dst_strides[d];
        out->src_strides[out->rank] = in->src_strides[d];
        out->rank++;
    }
    return true;
}

void tni_ref_copy_box(const RefCopy *copy) {
    RefCopy c;
    if (!simplify(copy, &c))
        return;
    if (c.rank == 0) {
        tni_ref_copy_run(c.bits, c.dst, c.dst_first, c.src, c.src_first, 1);
        return;
    }
    int64_t idx[REF_MAX_DIMS] = {0}, to = c.dst_first, from = c.src_first;
    const int32_t last = c.rank - 1;
    for (;;) {
        copy_strided(c.bits, c.dims[last], c.dst, to, c.dst_strides[last], c.src, from, c.src_strides[last]);
        int32_t d = last - 1;
        for (; d >= 0; d--) {
            to += c.dst_strides[d];
            from += c.src_strides[d];
            if (++idx[d] < c.dims[d])
                break;
            to -= idx[d] * c.dst_strides[d];
            from -= idx[d] * c.src_strides[d];
            idx[d] = 0;
        }
        if (d < 0)
            return;
    }
}
