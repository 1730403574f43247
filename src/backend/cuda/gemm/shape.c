/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes, epilogue and packing of operator gemm (shape.h). */
#include "backend/cuda/gemm/shape.h"

#include <math.h>

/* [1, N], [M, 1], [M, N] or one element, without leading dims; 1-D is a row. */
static bool bias_mode(const TnTensor *b, const TniGemmShape *s, uint32_t *mode) {
    int64_t numel = tn_tensor_numel(b), cols = b->rank >= 1 ? b->dims[b->rank - 1] : 1, rows = b->rank >= 2 ? b->dims[b->rank - 2] : 1;
    if (numel != rows * cols || (cols != 1 && cols != s->n) || (rows != 1 && rows != s->m))
        return false;
    *mode = numel == 1 ? TNI_BIAS_SCALAR : rows == 1 ? TNI_BIAS_COLUMN : cols == 1 ? TNI_BIAS_ROW : TNI_BIAS_FULL;
    return true;
}

bool tni_gemm_shape(const TnGemmParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, TniGemmShape *s) {
    const TnTensor *a = &in[0], *b = &in[1];
    if (!tni_is_real(a->dtype) || b->dtype != a->dtype || out->dtype != a->dtype || a->rank < 1 || b->rank != 2 || p->act >= TN_ACT_COUNT ||
        (p->trans_a != 0 && a->rank != 2))
        return false;
    *s = (TniGemmShape){.type = a->dtype, .trans_a = p->trans_a != 0, .trans_b = p->trans_b != 0, .bias_mode = TNI_BIAS_NONE};
    s->k = b->dims[s->trans_b ? 1 : 0];
    s->n = b->dims[s->trans_b ? 0 : 1];
    s->m = s->trans_a ? a->dims[1] : tni_numel_range(a, 0, a->rank - 1);
    if (a->dims[s->trans_a ? 0 : a->rank - 1] != s->k || s->m >= INT32_MAX - 512 || s->n >= INT32_MAX - 512 || s->k >= INT32_MAX - 512)
        return false;
    if (n_in > 2 && in[2].dtype != TN_UNDEFINED && (in[2].dtype != s->type || !bias_mode(&in[2], s, &s->bias_mode)))
        return false;
    s->has_residual = n_in > 3 && in[3].dtype != TN_UNDEFINED;
    return !s->has_residual || (in[3].dtype == s->type && tn_tensor_numel(&in[3]) == s->m * s->n);
}

void tni_gemm_epilogue(const TnKernelCall *call, const TniGemmShape *s, TniEpi *epi) {
    const TnGemmParams *p = call->params;
    *epi = (TniEpi){.bias = s->bias_mode != TNI_BIAS_NONE ? call->in[2].data : NULL,
                    .residual = s->has_residual ? call->in[3].data : NULL,
                    .alpha = p->alpha,
                    .beta = p->beta,
                    .bias_mode = s->bias_mode,
                    .act = tni_act_make(p->act, p->act_alpha, p->act_beta, s->type == TN_F32)};
}

TniGemmB tni_gemm_b(const TnKernelCall *call, const TniGemmShape *s) {
    if (call->packed != NULL && call->packed[1] != NULL)
        return (TniGemmB){call->packed[1], tni_gemm_kp(s->type, s->k), true, true};
    return (TniGemmB){call->in[1].data, s->trans_b ? s->k : s->n, s->trans_b, false};
}

size_t tni_cuda_gemm_packed_bytes(const TnKernelQuery *q, uint32_t i) {
    TniGemmShape s;
    if (i != 1 || q->in[1].data == NULL || !tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s))
        return 0;
    return (size_t)s.n * (size_t)tni_gemm_kp(s.type, s.k) * tni_size_of(s.type);
}

/* Tiles of 32 x 32, so that both sides stay in the cache. */
#define TRANSPOSE_INTO(T)                                                                                    \
    do {                                                                                                     \
        const T *src = q->in[1].data;                                                                        \
        T *to = dst;                                                                                         \
        for (int64_t k0 = 0; k0 < s.k; k0 += 32)                                                             \
            for (int64_t n0 = 0; n0 < s.n; n0 += 32)                                                         \
                for (int64_t n = n0; n < TN_MIN(n0 + 32, s.n); n++)                                          \
                    for (int64_t k = k0; k < TN_MIN(k0 + 32, s.k); k++)                                      \
                        to[n * kp + k] = src[k * s.n + n];                                                   \
    } while (0)

void tni_cuda_gemm_pack(const TnKernelQuery *q, uint32_t i, void *dst) {
    TniGemmShape s;
    if (i != 1 || !tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s))
        return;
    const int64_t kp = tni_gemm_kp(s.type, s.k);
    const size_t size = tni_size_of(s.type);
    memset(dst, 0, (size_t)s.n * (size_t)kp * size);
    if (s.trans_b) {
        for (int64_t n = 0; n < s.n; n++)
            memcpy((char *)dst + (size_t)(n * kp) * size, (const char *)q->in[1].data + (size_t)(n * s.k) * size, (size_t)s.k * size);
    } else if (size == 2) {
        TRANSPOSE_INTO(uint16_t);
    } else {
        TRANSPOSE_INTO(uint32_t);
    }
}
