/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing results, and cutting a case down to what the reference can compute in reasonable time. A part is a view of the same memory: the
 * first or last rows of a product, one sample of a batch, some output channels. */
#include "base/dtype.h"
#include "planner/internal.h"

#include <math.h>

bool tni_planner_close(const TnTensor *ref, const TnTensor *y, double atol, double rtol, double *error) {
    int64_t n = tn_tensor_numel(ref);
    *error = 0;
    if (!tni_plan_same(ref, y))
        return false;
    if (!tni_dtype_is_float(ref->dtype)) {
        size_t bytes = tn_tensor_bytes(ref);
        bool same = bytes == 0 || memcmp(ref->data, y->data, bytes) == 0;
        *error = same ? 0 : 1;
        return same;
    }
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double r = fabs(tni_load_f64(ref->dtype, ref->data, i));
        if (isfinite(r) && r > largest)
            largest = r;
    }
    bool ok = true;
    for (int64_t i = 0; i < n; i++) {
        double r = tni_load_f64(ref->dtype, ref->data, i), v = tni_load_f64(y->dtype, y->data, i);
        if (!isfinite(r)) {
            ok &= isnan(r) ? isnan(v) : v == r;
            continue;
        }
        double e = fabs(v - r);
        if (!(e <= atol * largest + rtol * fabs(r)))
            ok = false;
        double relative = largest > 0 ? e / largest : e;
        if (!(relative <= *error))
            *error = isnan(relative) ? INFINITY : relative;
    }
    return ok;
}

/* Rows [first, first + n) of a tensor seen as [rows, row], rank 2. */
static void rows_of(TnTensor *t, int64_t first, int64_t n, int64_t row) {
    if (t->data)
        t->data = (uint8_t *)t->data + (size_t)(first * row) * (tn_dtype_bits(t->dtype) / 8);
    t->rank = 2;
    t->dims[0] = n;
    t->dims[1] = row;
}

/* Entries [first, first + n) of axis 0. */
static void outer_of(TnTensor *t, int64_t first, int64_t n) {
    int64_t row = t->dims[0] ? tn_tensor_numel(t) / t->dims[0] : 0;
    if (t->data)
        t->data = (uint8_t *)t->data + (size_t)(first * row) * (tn_dtype_bits(t->dtype) / 8);
    t->dims[0] = n;
}

static void copy_case(const PnCase *c, TnTensor *in, TnTensor *out) {
    memcpy(in, c->in, c->n_in * sizeof *in);
    memcpy(out, c->out, c->n_out * sizeof *out);
}

static bool present(const PnCase *c, uint32_t i) {
    return i < c->n_in && c->in[i].dtype != TN_UNDEFINED;
}

static bool crop_gemm(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, double max_macs) {
    const TnGemmParams *p = c->params;
    if (p->trans_a || c->in[0].rank < 2)
        return false;
    int64_t k = c->in[0].dims[c->in[0].rank - 1], n = c->out[0].dims[c->out[0].rank - 1];
    int64_t rows = k > 0 ? tn_tensor_numel(&c->in[0]) / k : 0, want = (int64_t)(max_macs / 2 / ((double)k * (double)n + 1)) + 1;
    if (want * 2 >= rows || (present(c, 2) && tn_tensor_numel(&c->in[2]) > n))
        return false;
    int64_t first = part == 0 ? 0 : rows - want;
    rows_of(&in[0], first, want, k);
    rows_of(&out[0], first, want, n);
    if (present(c, 3))
        rows_of(&in[3], first, want, n);
    return true;
}

static bool crop_matmul(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, double max_macs) {
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
        rows_of(&in[0], first, want, k);
        rows_of(&out[0], first, want, n);
        return true;
    }
    if (a->rank != b->rank || a->dims[0] < 2 || a->dims[0] != b->dims[0])
        return false;
    int64_t first = part == 0 ? 0 : a->dims[0] - 1;
    outer_of(&in[0], first, 1);
    outer_of(&in[1], first, 1);
    outer_of(&out[0], first, 1);
    return true;
}

/* One sample of the batch, and of that as many output channels as fit. */
static bool crop_conv(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, double max_macs) {
    const TnConvParams *p = c->params;
    const TnTensor *w = &c->in[1];
    int64_t m = w->dims[0], batch = c->in[0].dims[0];
    if (m == 0 || batch == 0)
        return false;
    double macs = (double)tn_tensor_numel(&c->out[0]) * (double)(tn_tensor_numel(w) / m);
    if (macs <= max_macs)
        return false;
    int64_t first = part == 0 ? 0 : batch - 1;
    outer_of(&in[0], first, 1);
    outer_of(&out[0], first, 1);
    if (present(c, 3))
        outer_of(&in[3], first, 1);
    macs /= (double)batch;
    if (p->group != 1 || p->channels_last || macs <= max_macs)
        return part == 0 || batch > 1;
    int64_t want = (int64_t)((double)m * max_macs / 2 / macs) + 1;
    if (want >= m)
        return part == 0 || batch > 1;
    int64_t at = part == 0 ? 0 : m - want;
    outer_of(&in[1], at, want);
    if (present(c, 2))
        outer_of(&in[2], at, want);
    int64_t area = tn_tensor_numel(&out[0]) / m;
    for (uint32_t k = 0; k < 2; k++) {
        TnTensor *t = k ? &in[3] : &out[0];
        if (k && !present(c, 3))
            break;
        if (t->data)
            t->data = (uint8_t *)t->data + (size_t)(at * area) * (tn_dtype_bits(t->dtype) / 8);
        t->dims[1] = want;
    }
    return true;
}

static bool crop_attention(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, double max_macs) {
    const TnAttentionParams *p = c->params;
    const TnTensor *q = &c->in[0], *k = &c->in[1];
    int64_t batch = q->dims[0], sq = q->dims[p->q_layout == TN_LAYOUT_BSHD ? 1 : 2];
    int64_t sk = k->dims[p->k_layout == TN_LAYOUT_BSHD ? 1 : p->k_layout == TN_LAYOUT_BHSD ? 2 : 3];
    double macs = (double)batch * (double)sq * (double)sk * p->heads * (double)(p->d_qk + p->d_v);
    if (macs <= max_macs || batch < 2)
        return false;
    int64_t first = part == 0 ? 0 : batch - 1;
    for (uint32_t i = 0; i < 3; i++)
        outer_of(&in[i], first, 1);
    for (uint32_t i = 3; i < 5; i++)
        if (present(c, i) && c->in[i].rank == 4 && c->in[i].dims[0] > 1)
            outer_of(&in[i], first, 1);
    outer_of(&out[0], first, 1);
    return true;
}

bool tni_planner_crop(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, double max_macs) {
    static const struct {
        TnOp op;
        bool (*crop)(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, double max_macs);
    } table[] = {
        {TN_OP_gemm, crop_gemm},
        {TN_OP_matmul, crop_matmul},
        {TN_OP_conv, crop_conv},
        {TN_OP_attention, crop_attention},
    };
    copy_case(c, in, out);
    for (size_t i = 0; i < TN_COUNT(table); i++) {
        if (table[i].op != c->op)
            continue;
        if (table[i].crop(c, part, in, out, max_macs))
            return true;
        copy_case(c, in, out);
        return false;
    }
    return false;
}
