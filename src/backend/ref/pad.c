/* SPDX-License-Identifier: Apache-2.0
 *
 * pad: constant, reflect, edge, wrap; negative pads crop first. */
#include "backend/ref/ref.h"

typedef struct Pad {
    int64_t before[TN_MAX_RANK];             /* of the output's coordinate 0: input coordinate = output - before */
    int64_t lo[TN_MAX_RANK], n[TN_MAX_RANK]; /* the part of the input that remains: [lo, lo + n) */
} Pad;

/* Input coordinate of one dim for output coordinate o, or -1: the constant. */
static int64_t source(const Pad *p, uint32_t mode, int32_t d, int64_t o) {
    int64_t i = o - p->before[d] - p->lo[d], n = p->n[d];
    if (i >= 0 && i < n)
        return p->lo[d] + i;
    if (mode == TN_PADDING_CONSTANT)
        return -1;
    if (mode == TN_PADDING_EDGE) {
        i = i < 0 ? 0 : n - 1;
    } else if (mode == TN_PADDING_WRAP) {
        i = i % n;
        i = i < 0 ? i + n : i;
    } else if (n == 1) {
        i = 0;
    } else {
        int64_t period = 2 * (n - 1);
        i = i % period;
        i = i < 0 ? i + period : i;
        i = i < n ? i : period - i;
    }
    return p->lo[d] + i;
}

static TnStatus setup(TnKernelCall *call, Pad *p) {
    const TnTensor *x = &call->in[0], *y = &call->out[0], *pads = &call->in[1], *axes = &call->in[3];
    const bool has_axes = tni_ref_has(call, 3);
    const int64_t n = has_axes ? tn_tensor_numel(axes) : x->rank;
    if (x->rank != y->rank || tn_tensor_numel(pads) != 2 * n)
        return TN_RAISE(call->err, TN_ERR_RUN, "pad: expected %lld pads (two an axis), found %lld", (long long)(2 * n),
                        (long long)tn_tensor_numel(pads));
    int64_t after[TN_MAX_RANK] = {0};
    memset(p, 0, sizeof *p);
    for (int64_t i = 0; i < n; i++) {
        int64_t a = has_axes ? tni_load_i64(axes->dtype, axes->data, i) : i;
        int32_t d = tni_ref_axis(a, x->rank);
        if (d < 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "pad: axis %lld is out of range for rank %d", (long long)a, (int)x->rank);
        p->before[d] = tni_load_i64(pads->dtype, pads->data, i);
        after[d] = tni_load_i64(pads->dtype, pads->data, i + n);
    }
    for (int32_t d = 0; d < x->rank; d++) {
        int64_t sum = 0;
        if (!tni_add_i64(p->before[d], after[d], &sum) || !tni_add_i64(sum, x->dims[d], &sum) || sum != y->dims[d])
            return tni_ref_bad_call(call, "pad", "an output that is not the padded size");
        p->lo[d] = p->before[d] < 0 ? -p->before[d] : 0;
        p->n[d] = TN_MAX(x->dims[d] - p->lo[d] + (after[d] < 0 ? after[d] : 0), 0);
        if (p->n[d] == 0 && y->dims[d] > 0 && ((const TnPadParams *)call->params)->mode != TN_PADDING_CONSTANT)
            return TN_RAISE(call->err, TN_ERR_RUN, "pad: axis %d has no elements to take the padding from", (int)d);
    }
    return TN_OK;
}

TnStatus tni_ref_pad(TnKernelCall *call) {
    const uint32_t mode = ((const TnPadParams *)call->params)->mode;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    static const uint8_t zero[16] = {0};
    const void *value = tni_ref_has(call, 2) ? call->in[2].data : zero;
    const uint32_t bits = tn_dtype_bits(x->dtype);
    Pad p;
    TN_TRY(setup(call, &p));
    int64_t strides[TN_MAX_RANK], idx[TN_MAX_RANK] = {0}, total = tn_tensor_numel(y);
    tni_ref_strides(x->rank, x->dims, strides);
    const int32_t last = y->rank - 1;
    if (last < 0) {
        tni_ref_copy_run(bits, y->data, 0, x->data, 0, 1);
        return TN_OK;
    }
    for (int64_t at = 0; at < total; at += y->dims[last]) {
        int64_t base = 0;
        for (int32_t d = 0; d < last && base >= 0; d++) {
            int64_t i = source(&p, mode, d, idx[d]);
            base = i < 0 ? -1 : base + i * strides[d];
        }
        for (int64_t o = 0; o < y->dims[last]; o++) {
            int64_t i = base < 0 ? -1 : source(&p, mode, last, o);
            if (i < 0)
                tni_ref_copy_run(bits, y->data, at + o, value, 0, 1);
            else
                tni_ref_copy_run(bits, y->data, at + o, x->data, base + i, 1);
        }
        for (int32_t d = last - 1; d >= 0; d--) {
            if (++idx[d] < y->dims[d])
                break;
            idx[d] = 0;
        }
    }
    return TN_OK;
}
