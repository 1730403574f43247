/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of reduce, arg_reduce, cumsum and topk: every function over last, middle, first, several and no axes. */
#include <math.h>

#include "kernels/checkkern.h"

static int32_t some_dims(Case *c, int64_t *dims, int32_t min_rank) {
    int32_t rank = (int32_t)ck_range(c, min_rank, 5);
    for (int32_t d = 0; d < rank; d++)
        dims[d] = ck_rand(c) % 3 == 0 ? ck_size(c, rank > 3 ? 40 : 300) : ck_range(c, 1, 6);
    if (rank > 0 && ck_rand(c) % 14 == 0)
        dims[ck_range(c, 0, rank - 1)] = 0;
    return rank;
}

/* Few distinct values: ties. */
static void quantise(Case *c, TnTensor *x) {
    for (int64_t i = 0, n = tn_tensor_numel(x); i < n && x->dtype == TN_F32; i++)
        ((float *)x->data)[i] = (float)ck_range(c, -3, 3);
}

static bool bench_reduce(Case *c, TnReduceParams *p) {
    static const struct {
        int64_t dims[3];
        int32_t axis;
    } shapes[] = {{{12, 709, 709}, 2}, {{1, 709, 768}, 1}, {{64, 49, 512}, 1}, {{8, 320, 196}, 2}};
    if (c->k >= TN_COUNT(shapes))
        return false;
    const int64_t *d = shapes[c->k].dims;
    int64_t out[3] = {d[0], d[1], d[2]};
    p->fn = TN_REDUCE_mean;
    p->n_axes = 1;
    p->axes[0] = shapes[c->k].axis;
    p->keepdims = 1;
    out[p->axes[0]] = 1;
    ck_in(c, TN_F32, 3, d, FILL_NORMAL);
    ck_out(c, TN_F32, 3, out);
    ck_say(c, "mean [%lld,%lld,%lld] axis %d", (long long)d[0], (long long)d[1], (long long)d[2], (int)p->axes[0]);
    return true;
}

bool case_reduce(Case *c) {
    TnReduceParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK];
    if (c->bench)
        return bench_reduce(c, p);
    if (c->k >= TN_REDUCE_COUNT * 24)
        return false;
    p->fn = c->k % TN_REDUCE_COUNT;
    p->keepdims = ck_coin(c);
    int32_t rank = some_dims(c, dims, 0), n = 0;
    uint32_t mask = (uint32_t)ck_rand(c) & ((1u << rank) - 1u);
    if (ck_rand(c) % 3 == 0)
        mask = (1u << rank) - 1u;
    for (int32_t d = 0; d < rank; d++) {
        bool reduced = (mask >> d & 1u) != 0;
        if (reduced)
            p->axes[p->n_axes++] = d - (ck_coin(c) ? rank : 0);
        if (!reduced || p->keepdims != 0)
            out[n++] = reduced ? 1 : dims[d];
    }
    bool ints = p->fn == TN_REDUCE_sum || p->fn == TN_REDUCE_max || p->fn == TN_REDUCE_min || p->fn == TN_REDUCE_prod;
    TnDtype t = ints && ck_rand(c) % 3 == 0 ? (ck_coin(c) ? TN_I64 : TN_I32) : TN_F32;
    Fill fill = t != TN_F32 ? FILL_WIDE : p->fn == TN_REDUCE_log_sum ? FILL_POSITIVE : ck_rand(c) % 4 == 0 ? FILL_SPECIAL : FILL_NORMAL;
    TnTensor *x = ck_in(c, t, rank, dims, fill);
    for (int64_t i = 0; i < tn_tensor_numel(x) && t == TN_F32; i++)
        ((float *)x->data)[i] += 0.5f; /* sums that cancel to nothing have no digits to compare */
    ck_out(c, t, n, out);
    ck_say(c, "%s over %u axes (mask %x) fill %d", tni_reduce_name(p->fn), p->n_axes, mask, (int)fill);
    return true;
}

bool case_arg_reduce(Case *c) {
    TnArgReduceParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK];
    if (c->bench) {
        if (c->k >= 1)
            return false;
        p->axis = 1;
        p->is_max = 1;
        ck_in(c, TN_F32, 2, DIMS(64, 8000), FILL_NORMAL);
        ck_out(c, TN_I64, 1, DIMS(64));
        ck_say(c, "argmax [64,8000]");
        return true;
    }
    if (c->k >= 90)
        return false;
    int32_t rank = some_dims(c, dims, 1), n = 0;
    int32_t axis = (int32_t)(ck_coin(c) ? rank - 1 : ck_range(c, 0, rank - 1));
    p->axis = axis - (ck_coin(c) ? rank : 0);
    p->is_max = ck_coin(c);
    p->keepdims = ck_coin(c);
    p->select_last = ck_coin(c);
    for (int32_t d = 0; d < rank; d++)
        if (d != axis || p->keepdims != 0)
            out[n++] = d == axis ? 1 : dims[d];
    TnTensor *x = ck_in(c, TN_F32, rank, dims, c->k % 4 == 3 ? FILL_SPECIAL : FILL_NORMAL);
    if (c->k % 4 == 1)
        quantise(c, x);
    ck_out(c, TN_I64, n, out);
    ck_say(c, "axis %d max %u last %u", (int)p->axis, p->is_max, p->select_last);
    return true;
}

bool case_cumsum(Case *c) {
    TnCumsumParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    static const TnDtype types[] = {TN_F32, TN_I64, TN_I32};
    if (c->bench || c->k >= 60)
        return false;
    int32_t rank = some_dims(c, dims, 1);
    int64_t axis = ck_range(c, -rank, rank - 1);
    if (c->k == 59)
        axis = rank; /* an error */
    p->exclusive = ck_coin(c);
    p->reverse = ck_coin(c);
    ck_in(c, types[c->k % 3], rank, dims, c->k % 3 == 0 ? FILL_NORMAL : FILL_WIDE);
    if (ck_coin(c))
        ck_ints(c, TN_I32, 0, NULL, axis, axis);
    else
        ck_values(c, TN_I64, 1, &axis);
    ck_out(c, types[c->k % 3], rank, dims);
    ck_say(c, "axis %lld exclusive %u reverse %u", (long long)axis, p->exclusive, p->reverse);
    return true;
}

bool case_topk(Case *c) {
    TnTopkParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK];
    if (c->bench) {
        if (c->k >= 2)
            return false;
        int64_t k = c->k == 0 ? 5 : 100;
        p->axis = 1;
        p->largest = 1;
        ck_in(c, TN_F32, 2, DIMS(64, 8000), FILL_NORMAL);
        ck_values(c, TN_I64, 1, &k);
        ck_out(c, TN_F32, 2, DIMS(64, k));
        ck_out(c, TN_I64, 2, DIMS(64, k));
        ck_say(c, "top %lld of [64,8000]", (long long)k);
        return true;
    }
    if (c->k >= 90)
        return false;
    int32_t rank = some_dims(c, dims, 1), axis = (int32_t)(ck_coin(c) ? rank - 1 : ck_range(c, 0, rank - 1));
    p->axis = axis - (ck_coin(c) ? rank : 0);
    p->largest = ck_coin(c);
    int64_t k = ck_coin(c) ? TN_MIN(ck_range(c, 1, 5), dims[axis]) : ck_range(c, 0, dims[axis]);
    memcpy(out, dims, sizeof out);
    out[axis] = k;
    int64_t asked = c->k == 89 ? dims[axis] + 1 : k; /* an error */
    TnTensor *x = ck_in(c, TN_F32, rank, dims, c->k % 4 == 3 ? FILL_SPECIAL : FILL_NORMAL);
    if (c->k % 4 == 1)
        quantise(c, x);
    ck_values(c, TN_I64, 1, &asked);
    for (int i = 0; i < 2; i++) {
        TnTensor *y = ck_out(c, i == 0 ? TN_F32 : TN_I64, rank, out);
        if (ck_rand(c) % 8 == 0 && c->k % 2 == (unsigned)i)
            y->data = NULL;
    }
    ck_say(c, "k %lld axis %d largest %u", (long long)k, (int)p->axis, p->largest);
    return true;
}
