/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing results, and cutting a case down to what the reference can compute in reasonable time (crop.c has the operators that are cut along
 * their outer axes). A part is a view of the same memory: the first or last rows of a product, one sample of a batch, some output channels. */
#include "base/dtype.h"
#include "planner/internal.h"

#include <math.h>

enum { BLOCK = 1024 };

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* n elements from `first`; loops of their own for what is compared in large numbers. */
static void load(TnDtype t, const void *data, int64_t first, int64_t n, double *dst) {
    if (t == TN_F32) {
        const float *x = (const float *)data + first;
        for (int64_t i = 0; i < n; i++)
            dst[i] = (double)x[i];
    } else if (t == TN_BF16) {
        const uint16_t *x = (const uint16_t *)data + first;
        for (int64_t i = 0; i < n; i++)
            dst[i] = (double)from_bits((uint32_t)x[i] << 16);
    } else if (t == TN_F16) {
        const uint16_t *x = (const uint16_t *)data + first;
        for (int64_t i = 0; i < n; i++) { /* exponents moved by 112: exact for subnormal numbers too */
            const uint32_t sign = (uint32_t)(x[i] & 0x8000u) << 16, mag = (uint32_t)(x[i] & 0x7fffu) << 13;
            const float finite = from_bits(mag) * 0x1p112f;
            const float v = mag >= 0x7c00u << 13 ? from_bits(mag | 0x7f800000u) : finite;
            dst[i] = (double)(sign ? -v : v);
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            dst[i] = tni_load_f64(t, data, first + i);
    }
}

static double largest_of(const TnTensor *t, int64_t n) {
    double r[BLOCK], largest = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = TN_MIN(n - i, (int64_t)BLOCK);
        load(t->dtype, t->data, i, m, r);
        for (int64_t k = 0; k < m; k++) {
            const double a = fabs(r[k]);
            largest = a > largest && a <= 0x1.fffffffffffffp1023 ? a : largest;
        }
    }
    return largest;
}

bool tni_planner_close(const TnTensor *ref, const TnTensor *y, double atol, double rtol, double *error) {
    const int64_t n = tn_tensor_numel(ref);
    *error = 0;
    if (!tni_plan_same(ref, y))
        return false;
    const size_t bytes = tn_tensor_bytes(ref);
    if (bytes == 0 || memcmp(ref->data, y->data, bytes) == 0)
        return true;
    if (!tni_dtype_is_float(ref->dtype)) {
        *error = 1;
        return false;
    }
    const double largest = largest_of(ref, n);
    double r[BLOCK], v[BLOCK];
    bool ok = true;
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = i % BLOCK;
        if (k == 0) {
            load(ref->dtype, ref->data, i, TN_MIN(n - i, (int64_t)BLOCK), r);
            load(y->dtype, y->data, i, TN_MIN(n - i, (int64_t)BLOCK), v);
        }
        if (!isfinite(r[k])) {
            ok &= isnan(r[k]) ? isnan(v[k]) : v[k] == r[k];
            continue;
        }
        double e = fabs(v[k] - r[k]);
        if (!(e <= atol * largest + rtol * fabs(r[k])))
            ok = false;
        double relative = largest > 0 ? e / largest : e;
        if (!(relative <= *error))
            *error = isnan(relative) ? INFINITY : relative;
    }
    return ok;
}

/* A part of a case while it is cut. */
typedef struct Cut {
    const PnCase *c;
    uint32_t part;
    TnTensor *in, *out;
    size_t *in_at, *out_at;
    double max_macs;
} Cut;

static void move(TnTensor *t, size_t *at, int64_t elements) {
    const size_t bytes = (size_t)elements * (tn_dtype_bits(t->dtype) / 8);
    if (t->data)
        t->data = (uint8_t *)t->data + bytes;
    *at += bytes;
}

/* Rows [first, first + n) of a tensor seen as [rows, row], rank 2. */
static void rows_of(TnTensor *t, size_t *at, int64_t first, int64_t n, int64_t row) {
    move(t, at, first * row);
    t->rank = 2;
    t->dims[0] = n;
    t->dims[1] = row;
}

/* Entries [first, first + n) of axis 0. */
static void outer_of(TnTensor *t, size_t *at, int64_t first, int64_t n) {
    int64_t row = t->dims[0] ? tn_tensor_numel(t) / t->dims[0] : 0;
    move(t, at, first * row);
    t->dims[0] = n;
}

static void copy_case(const Cut *x) {
    memcpy(x->in, x->c->in, x->c->n_in * sizeof *x->in);
    if (x->c->n_out) {
        memcpy(x->out, x->c->out, x->c->n_out * sizeof *x->out);
        memset(x->out_at, 0, x->c->n_out * sizeof *x->out_at);
    }
    memset(x->in_at, 0, x->c->n_in * sizeof *x->in_at);
}

static bool present(const PnCase *c, uint32_t i) {
    return i < c->n_in && c->in[i].dtype != TN_UNDEFINED;
}

static bool crop_gemm(const Cut *x) {
    const PnCase *c = x->c;
    const uint32_t part = x->part;
    TnTensor *in = x->in, *out = x->out;
    const double max_macs = x->max_macs;
    const TnGemmParams *p = c->params;
    if (p->trans_a || c->in[0].rank < 2)
        return false;
    int64_t k = c->in[0].dims[c->in[0].rank - 1], n = c->out[0].dims[c->out[0].rank - 1];
    int64_t rows = k > 0 ? tn_tensor_numel(&c->in[0]) / k : 0, want = (int64_t)(max_macs / 2 / ((double)k * (double)n + 1)) + 1;
    if (want * 2 >= rows || (present(c, 2) && tn_tensor_numel(&c->in[2]) > n))
        return false;
    int64_t first = part == 0 ? 0 : rows - want;
    rows_of(&in[0], &x->in_at[0], first, want, k);
    rows_of(&out[0], &x->out_at[0], first, want, n);
    if (present(c, 3))
        rows_of(&in[3], &x->in_at[3], first, want, n);
    return true;
}

static bool crop_mlp(const Cut *x) {
    const PnCase *c = x->c;
    const TnTensor *w = &c->in[1];
    if (c->in[0].rank < 2)
        return false;
    const int64_t k = c->in[0].dims[c->in[0].rank - 1], n = c->out[0].dims[c->out[0].rank - 1];
    const double each = (double)w->dims[((const TnMlpParams *)c->params)->trans_1 ? 0 : 1] * (double)(k + n); /* products of a row */
    const int64_t rows = k > 0 ? tn_tensor_numel(&c->in[0]) / k : 0, want = (int64_t)(x->max_macs / 2 / (each + 1)) + 1;
    if (want * 2 >= rows)
        return false;
    const int64_t first = x->part == 0 ? 0 : rows - want;
    rows_of(&x->in[0], &x->in_at[0], first, want, k);
    rows_of(&x->out[0], &x->out_at[0], first, want, n);
    if (present(c, 5))
        rows_of(&x->in[5], &x->in_at[5], first, want, n);
    return true;
}

static bool crop_matmul(const Cut *x) {
    const PnCase *c = x->c;
    const uint32_t part = x->part;
    TnTensor *in = x->in, *out = x->out;
    const double max_macs = x->max_macs;
    const TnTensor *a = &c->in[0], *b = &c->in[1];
    if (a->rank < 2 || b->rank < 2)
        return false;
    int64_t k = a->dims[a->rank - 1], n = b->dims[b->rank - 1];
    double macs = (double)tn_tensor_numel(&c->out[0]) * (double)k;
    if (macs <= max_macs)
        return false;
    if (b->rank == 2) {
        int64_t rows = k > 0 ? tn_tensor_numel(a) / k : 0, want = (int64_t)(max_macs / 2 / ((double)k * (double)n + 1)) + 1;
        if (want * 2 >= rows)
            return false;
        int64_t first = part == 0 ? 0 : rows - want;
        rows_of(&in[0], &x->in_at[0], first, want, k);
        rows_of(&out[0], &x->out_at[0], first, want, n);
        return true;
    }
    if (a->rank != b->rank || a->dims[0] < 2 || a->dims[0] != b->dims[0])
        return false;
    int64_t first = part == 0 ? 0 : a->dims[0] - 1;
    outer_of(&in[0], &x->in_at[0], first, 1);
    outer_of(&in[1], &x->in_at[1], first, 1);
    outer_of(&out[0], &x->out_at[0], first, 1);
    return true;
}

/* One sample of the batch, and of that as many output channels as fit. */
static bool crop_conv(const Cut *x) {
    const PnCase *c = x->c;
    const uint32_t part = x->part;
    TnTensor *in = x->in, *out = x->out;
    const double max_macs = x->max_macs;
    const TnConvParams *p = c->params;
    const TnTensor *w = &c->in[1];
    int64_t m = w->dims[0], batch = c->in[0].dims[0];
    if (m == 0 || batch == 0)
        return false;
    double macs = (double)tn_tensor_numel(&c->out[0]) * (double)(tn_tensor_numel(w) / m);
    if (macs <= max_macs)
        return false;
    int64_t first = part == 0 ? 0 : batch - 1;
    outer_of(&in[0], &x->in_at[0], first, 1);
    outer_of(&out[0], &x->out_at[0], first, 1);
    const bool integer = c->op == TN_OP_conv_integer; /* operands 2 and 3 are zero points, of which operand 3 may be a vector of channels */
    if (!integer && present(c, 3))
        outer_of(&in[3], &x->in_at[3], first, 1);
    macs /= (double)batch;
    if (p->group != 1 || p->channels_last || macs <= max_macs)
        return part == 0 || batch > 1;
    int64_t want = (int64_t)((double)m * max_macs / 2 / macs) + 1;
    if (want >= m)
        return part == 0 || batch > 1;
    int64_t at = part == 0 ? 0 : m - want;
    outer_of(&in[1], &x->in_at[1], at, want);
    if (!integer && present(c, 2))
        outer_of(&in[2], &x->in_at[2], at, want);
    if (integer && present(c, 3) && in[3].rank == 1 && in[3].dims[0] == m)
        outer_of(&in[3], &x->in_at[3], at, want);
    int64_t area = tn_tensor_numel(&out[0]) / m;
    move(&out[0], &x->out_at[0], at * area);
    out[0].dims[1] = want;
    if (!integer && present(c, 3)) {
        move(&in[3], &x->in_at[3], at * area);
        in[3].dims[1] = want;
    }
    return true;
}

static bool crop_attention(const Cut *x) {
    const PnCase *c = x->c;
    const uint32_t part = x->part;
    TnTensor *in = x->in, *out = x->out;
    const double max_macs = x->max_macs;
    const TnAttentionParams *p = c->params;
    const TnTensor *q = &c->in[0], *k = &c->in[1];
    int64_t batch = q->dims[0], sq = q->dims[p->q_layout == TN_LAYOUT_BSHD ? 1 : 2];
    int64_t sk = k->dims[p->k_layout == TN_LAYOUT_BSHD ? 1 : p->k_layout == TN_LAYOUT_BHSD ? 2 : 3];
    double macs = (double)batch * (double)sq * (double)sk * p->heads * (double)(p->d_qk + p->d_v);
    if (macs <= max_macs || batch < 2)
        return false;
    int64_t first = part == 0 ? 0 : batch - 1;
    for (uint32_t i = 0; i < 3; i++)
        outer_of(&in[i], &x->in_at[i], first, 1);
    for (uint32_t i = 3; i < 5; i++)
        if (present(c, i) && c->in[i].rank == 4 && c->in[i].dims[0] > 1)
            outer_of(&in[i], &x->in_at[i], first, 1);
    outer_of(&out[0], &x->out_at[0], first, 1);
    return true;
}

/* One sample of the batch: operands 3t and 3t + 1 are positions, the others tables. */
static bool crop_relative(const Cut *x) {
    const PnCase *c = x->c;
    const int64_t batch = c->out[0].dims[0], first = x->part == 0 ? 0 : batch - 1;
    if (batch < 2 || (double)tn_tensor_numel(&c->out[0]) * PN_MACS_AN_ELEMENT <= x->max_macs)
        return false;
    for (uint32_t i = 0; i < c->n_in; i++)
        if (i % 3 != 2 && c->in[i].dims[0] > 1)
            outer_of(&x->in[i], &x->in_at[i], first, 1);
    outer_of(&x->out[0], &x->out_at[0], first, 1);
    return true;
}

bool tni_planner_crop(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, size_t *in_at, size_t *out_at, double max_macs) {
    static const struct {
        TnOp op;
        bool (*crop)(const Cut *x);
    } table[] = {
        {TN_OP_gemm, crop_gemm},
        {TN_OP_mlp, crop_mlp},
        {TN_OP_matmul, crop_matmul},
        {TN_OP_matmul_integer, crop_matmul},
        {TN_OP_conv, crop_conv},
        {TN_OP_conv_integer, crop_conv},
        {TN_OP_attention, crop_attention},
        {TN_OP_relative_bias, crop_relative},
    };
    const Cut x = {c, part, in, out, in_at, out_at, max_macs};
    copy_case(&x);
    for (size_t i = 0; i < TN_COUNT(table); i++) {
        if (table[i].op != c->op)
            continue;
        if (table[i].crop(&x))
            return true;
        copy_case(&x);
        return false;
    }
    return tni_planner_crop_outer(c, part, in, out, in_at, out_at, max_macs / PN_MACS_AN_ELEMENT);
}
