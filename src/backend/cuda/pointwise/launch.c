/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments of pointwise kernels: broadcasting as strides, with dims merged where all operands walk them alike. */
#include "backend/cuda/pointwise/launch.h"

#define OPERANDS 8

typedef struct Walk {
    int32_t n; /* dims, outermost first */
    int64_t dims[TN_MAX_RANK], strides[OPERANDS][TN_MAX_RANK];
} Walk;

uint32_t tni_cuda_pw_width(const TnTensor *in, uint32_t n_in, const TnTensor *out) {
    size_t widest = tni_size_of(out->dtype);
    bool half = widest == 2;
    for (uint32_t i = 0; i < n_in; i++) {
        size_t size = tni_size_of(in[i].dtype);
        widest = TN_MAX(widest, size);
        half = half || size == 2;
    }
    return half && widest <= 4 ? 8 : widest <= 1 ? 16 : widest >= 16 ? 1 : (uint32_t)(16 / widest);
}

/* Strides of t seen with out's dims; false when it does not broadcast. */
static bool strides_of(const TnTensor *t, const TnTensor *out, int64_t *strides) {
    if (t->rank > out->rank)
        return false;
    int64_t s = 1;
    for (int32_t d = out->rank - 1; d >= 0; d--) {
        int32_t i = d - (out->rank - t->rank);
        int64_t n = i < 0 ? 1 : t->dims[i];
        if (n != out->dims[d] && n != 1)
            return false;
        strides[d] = n == 1 ? 0 : s;
        s *= n;
    }
    return true;
}

/* Adds dim d of out in front of what the walk has (built from the innermost), or merges it. */
static void add_dim(Walk *w, uint32_t n_in, int64_t n, int64_t (*strides)[TN_MAX_RANK], int32_t d) {
    if (n == 1)
        return;
    int32_t last = w->n - 1;
    bool merge = last >= 0;
    for (uint32_t k = 0; merge && k < n_in; k++)
        merge = strides[k][d] == w->strides[k][last] * w->dims[last];
    if (merge) {
        w->dims[last] *= n;
        return;
    }
    for (uint32_t k = 0; k < n_in; k++)
        w->strides[k][w->n] = strides[k][d];
    w->dims[w->n++] = n;
}

static bool aligned(const TnTensor *t, const int64_t *strides, const Walk *w, uint32_t width) {
    const int64_t size = (int64_t)tni_size_of(t->dtype), bytes = TN_MIN(size * width, 16);
    if (t->dtype == TN_UNDEFINED || w->n == 0 || strides[0] == 0) /* one element for the whole inner dim */
        return true;
    bool ok = tni_is_aligned(t->data, (size_t)bytes);
    for (int32_t d = 1; d < w->n; d++)
        ok = ok && strides[d] * size % bytes == 0;
    return ok;
}

static void fill(struct PwArgs *a, const Walk *w, uint32_t n_in, bool vec, uint32_t width, int64_t total) {
    a->vec = vec;
    a->outer = w->n > 1 ? (uint32_t)w->n - 1 : 0;
    a->inner = w->n > 0 ? (unsigned long long)w->dims[0] : 1;
    a->units = (unsigned long long)(vec ? tni_div_up(total, width) : total);
    bool wide = a->units >= UINT64_C(1) << 31;
    for (int32_t d = 0; d < w->n; d++) {
        a->dim[d] = (unsigned long long)(d == 0 && vec ? tni_div_up(w->dims[0], width) : w->dims[d]);
        wide = wide || a->dim[d] >= UINT64_C(1) << 31;
    }
    a->wide = wide;
    for (int32_t d = 0; d < w->n && !wide; d++) {
        TniDiv v = tni_div_make((int64_t)a->dim[d]);
        a->div[d].d = v.d;
        a->div[d].m = v.multiplier;
        a->div[d].s = v.shift;
    }
    for (uint32_t k = 0; k < n_in; k++) {
        a->step[k] = w->n > 0 && w->strides[k][0] != 0;
        for (int32_t d = 1; d < w->n; d++)
            a->stride[k][d] = w->strides[k][d];
    }
}

TnStatus tni_cuda_pw_args(TnKernelCall *call, const TnTensor *in, uint32_t n_in, const TnTensor *out, uint32_t width, struct PwArgs *args,
                          unsigned *blocks) {
    Walk w = {.n = 0};
    int64_t strides[OPERANDS][TN_MAX_RANK] = {{0}}, total = tn_tensor_numel(out);
    memset(args, 0, sizeof *args);
    *blocks = 0;
    if (n_in > OPERANDS)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "pointwise: %u operands, expected at most %d", n_in, OPERANDS);
    for (uint32_t k = 0; k < n_in; k++)
        if (in[k].dtype != TN_UNDEFINED && !strides_of(&in[k], out, strides[k]))
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "pointwise: operand %u does not broadcast to the output", k);
    if (total == 0)
        return TN_OK;
    for (int32_t d = out->rank - 1; d >= 0; d--)
        add_dim(&w, n_in, out->dims[d], strides, d);
    bool vec = width > 1 && tni_is_aligned(out->data, TN_MIN(tni_size_of(out->dtype) * width, 16)) && (w.n < 2 || w.dims[0] % width == 0);
    for (uint32_t k = 0; k < n_in; k++)
        vec = vec && aligned(&in[k], w.strides[k], &w, width);
    fill(args, &w, n_in, vec, width, total);
    for (uint32_t k = 0; k < n_in; k++)
        args->in[k] = in[k].data;
    args->out = out->data;
    int64_t n = tni_div_up((int64_t)args->units, PW_BLOCK);
    if (n > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "pointwise: %lld elements are more than one launch can have", (long long)total);
    *blocks = (unsigned)n;
    return TN_OK;
}
