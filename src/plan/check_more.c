/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of recurrences, transforms, random numbers and of what samples or folds images (plan/check.h). */
#include "base/dtype.h"
#include "plan/rules.h"

static bool has_dims(const TnTensor *t, int32_t rank, const int64_t *dims) {
    return t->rank == rank && (rank == 0 || memcmp(t->dims, dims, (size_t)rank * sizeof *dims) == 0);
}

/* An operand that may be absent, of the type of input 0. */
static bool fits(const PlanCheck *c, uint32_t i, int32_t rank, const int64_t *dims) {
    return !tni_plan_has(c, i) || (c->in[i].dtype == c->in[0].dtype && has_dims(&c->in[i], rank, dims));
}

static bool is_index(const TnTensor *t) {
    return t->dtype == TN_I32 || t->dtype == TN_I64;
}

TnStatus tni_plan_rule_bit_cast(const PlanCheck *c) {
    P(TnCastParams);
    uint32_t bits = tn_dtype_bits(c->in[0].dtype);
    PARAM(tni_dtype_valid(p->to) && bits >= 8 && tn_dtype_bits((TnDtype)p->to) == bits, "to", p->to);
    return tni_plan_expect(c, 0, (TnDtype)p->to, c->in[0].rank, c->in[0].dims);
}

TnStatus tni_plan_rule_cumprod(const PlanCheck *c) {
    const TnTensor *a = &c->in[1];
    int32_t axis;
    NEED(is_index(a) && tn_tensor_numel(a) == 1, 1, "one integer");
    NEED(tni_plan_axis(tni_load_i64(a->dtype, a->data, 0), c->in[0].rank, &axis), 1, "an axis of input 0");
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

TnStatus tni_plan_rule_reduce_axes(const PlanCheck *c) {
    P(TnReduceAxesParams);
    const TnTensor *x = &c->in[0], *a = &c->in[1];
    int64_t dims[TN_MAX_RANK];
    int32_t rank = 0, axis;
    uint32_t reduced = 0;
    PARAM(p->fn < TN_REDUCE_COUNT, "fn", p->fn);
    NEED(is_index(a) && a->rank == 1 && a->dims[0] <= x->rank, 1, "a vector of axes");
    for (int64_t i = 0; i < a->dims[0]; i++) {
        NEED(tni_plan_axis(tni_load_i64(a->dtype, a->data, i), x->rank, &axis) && (reduced >> axis & 1u) == 0, 1,
             "axes of input 0, each once");
        reduced |= 1u << axis;
    }
    if (a->dims[0] == 0 && !p->noop)
        reduced = UINT32_MAX;
    for (int32_t i = 0; i < x->rank; i++) {
        if ((reduced >> i & 1u) == 0)
            dims[rank++] = x->dims[i];
        else if (p->keepdims)
            dims[rank++] = 1;
    }
    return tni_plan_expect(c, 0, x->dtype, rank, dims);
}

TnStatus tni_plan_rule_det(const PlanCheck *c) {
    const TnTensor *x = &c->in[0];
    NEED(tni_dtype_is_float(x->dtype) && x->rank >= 2 && x->dims[x->rank - 1] == x->dims[x->rank - 2], 0, "square matrices of floats");
    return tni_plan_expect(c, 0, x->dtype, x->rank - 2, x->dims);
}

TnStatus tni_plan_rule_dft(const PlanCheck *c) {
    P(TnDftParams);
    const TnTensor *x = &c->in[0];
    int64_t dims[TN_MAX_RANK], axis = p->axis;
    int32_t a;
    NEED(tni_dtype_is_float(x->dtype) && x->rank >= 2 && (x->dims[x->rank - 1] == 1 || x->dims[x->rank - 1] == 2), 0,
         "floats whose last dimension is 1 or 2");
    for (uint32_t i = 1; i < 3; i++)
        NEED(!tni_plan_has(c, i) || (is_index(&c->in[i]) && tn_tensor_numel(&c->in[i]) == 1), i, "one integer");
    if (tni_plan_has(c, 2))
        axis = tni_load_i64(c->in[2].dtype, c->in[2].data, 0);
    PARAM(tni_plan_axis(axis, x->rank, &a) && a < x->rank - 1, "axis", axis);
    bool back = p->inverse && p->onesided;
    int64_t n = tni_plan_has(c, 1) ? tni_load_i64(c->in[1].dtype, c->in[1].data, 0) : back ? 2 * (x->dims[a] - 1) : x->dims[a];
    NEED(n >= 0 && n < (int64_t)1 << 40, tni_plan_has(c, 1) ? 1 : 0, "a length of 0 or more");
    memcpy(dims, x->dims, sizeof dims);
    dims[a] = p->onesided && !p->inverse ? n / 2 + 1 : n;
    dims[x->rank - 1] = back ? 1 : 2;
    return tni_plan_expect(c, 0, x->dtype, x->rank, dims);
}

TnStatus tni_plan_rule_random(const PlanCheck *c) {
    P(TnRandomParams);
    const TnTensor *s = &c->in[0];
    int64_t dims[TN_MAX_RANK] = {0};
    PARAM(p->kind <= TN_RANDOM_NORMAL, "kind", p->kind);
    PARAM(tni_dtype_valid(p->dtype) && tni_dtype_is_float((TnDtype)p->dtype) && tn_dtype_bits((TnDtype)p->dtype) >= 16, "dtype", p->dtype);
    NEED(is_index(s) && s->rank == 1 && s->dims[0] <= TN_MAX_RANK, 0, "a shape");
    for (int64_t i = 0; i < s->dims[0]; i++)
        dims[i] = tni_load_i64(s->dtype, s->data, i);
    NEED(tni_shape_bytes((TnDtype)p->dtype, (int32_t)s->dims[0], dims, NULL, NULL), 0, "a shape that fits into memory");
    return tni_plan_expect(c, 0, (TnDtype)p->dtype, (int32_t)s->dims[0], dims);
}

TnStatus tni_plan_rule_recurrent(const PlanCheck *c) {
    P(TnRecurrentParams);
    static const int64_t gates[TN_CELL_COUNT] = {1, 3, 4};
    const TnTensor *x = &c->in[0];
    PARAM(p->kind < TN_CELL_COUNT, "kind", p->kind);
    PARAM(p->hidden >= 1 && p->hidden <= INT32_MAX / 8, "hidden", p->hidden);
    PARAM(p->directions == 1 || p->directions == 2, "directions", p->directions);
    for (uint32_t i = 0; i < 3 * p->directions; i++)
        PARAM(p->act[i] < TN_CELL_ACT_COUNT, "act", p->act[i]);
    NEED(tni_dtype_is_float(x->dtype) && x->rank == 3, 0, "floats of rank 3");
    const bool bf = p->batch_first != 0;
    const int64_t s = x->dims[bf ? 1 : 0], b = x->dims[bf ? 0 : 1], d = p->directions, h = p->hidden, g = gates[p->kind] * h;
    const int64_t state[3] = {bf ? b : d, bf ? d : b, h};
    NEED(tni_plan_has(c, 1) && fits(c, 1, 3, (int64_t[]){d, g, x->dims[2]}), 1, "[directions, gates * hidden, input]");
    NEED(tni_plan_has(c, 2) && fits(c, 2, 3, (int64_t[]){d, g, h}), 2, "[directions, gates * hidden, hidden]");
    NEED(fits(c, 3, 2, (int64_t[]){d, 2 * g}), 3, "[directions, 2 * gates * hidden]");
    NEED(!tni_plan_has(c, 4) || (c->in[4].dtype == TN_I32 && tni_plan_vector(&c->in[4], b)), 4, "an int32 for each line");
    NEED(fits(c, 5, 3, state), 5, "a state for each direction and line");
    NEED(fits(c, 6, 3, state), 6, "a cell for each direction and line");
    NEED(fits(c, 7, 2, (int64_t[]){d, 3 * h}), 7, "[directions, 3 * hidden]");
    const int64_t y[4] = {bf ? b : s, bf ? s : d, bf ? d : b, h};
    TN_TRY(tni_plan_expect(c, 0, x->dtype, 4, y));
    TN_TRY(tni_plan_expect(c, 1, x->dtype, 3, state));
    return tni_plan_expect(c, 2, x->dtype, 3, state);
}

TnStatus tni_plan_rule_linear_attention(const PlanCheck *c) {
    P(TnLinearAttentionParams);
    const TnTensor *q = &c->in[0], *k = &c->in[1], *v = &c->in[2];
    PARAM(p->rule < TN_LINEAR_COUNT, "rule", p->rule);
    PARAM(p->kv_heads >= 1 && p->q_heads <= 65536 && p->q_heads >= 1 && p->q_heads % p->kv_heads == 0, "heads", p->q_heads);
    const int64_t hq = p->q_heads, hk = p->kv_heads;
    NEED(tni_dtype_is_float(q->dtype) && q->rank == 3 && q->dims[2] % hq == 0, 0, "floats [batch, length, heads * size]");
    const int64_t b = q->dims[0], t = q->dims[1], dk = q->dims[2] / hq;
    NEED(fits(c, 1, 3, (int64_t[]){b, t, dk * hk}) && k->rank == 3, 1, "[batch, length, heads * size]");
    NEED(v->dtype == q->dtype && v->rank == 3 && v->dims[0] == b && v->dims[1] == t && v->dims[2] % hk == 0, 2,
         "[batch, length, heads * size]");
    const int64_t dv = v->dims[2] / hk, state[4] = {b, hk, dk, dv}, y[3] = {b, t, hq * dv};
    NEED(fits(c, 3, 4, state), 3, "[batch, heads, key size, value size]");
    NEED(fits(c, 4, 3, (int64_t[]){b, t, dk * hk}) || fits(c, 4, 3, (int64_t[]){b, t, hk}), 4, "a decay for each head or key element");
    NEED(fits(c, 5, 3, (int64_t[]){b, t, hk}) || fits(c, 5, 3, (int64_t[]){b, t, 1}), 5, "a rate for each head or one");
    NEED(tni_plan_has(c, 4) || p->rule == TN_LINEAR_PLAIN || p->rule == TN_LINEAR_DELTA, 4, "a decay");
    NEED(tni_plan_has(c, 5) || p->rule < TN_LINEAR_DELTA, 5, "a rate");
    TN_TRY(tni_plan_expect(c, 0, q->dtype, 3, y));
    return tni_plan_expect(c, 1, q->dtype, 4, state);
}

TnStatus tni_plan_rule_deform_conv(const PlanCheck *c) {
    P(TnDeformConvParams);
    const TnTensor *x = &c->in[0], *w = &c->in[1];
    int64_t out[2];
    NEED(tni_dtype_is_float(x->dtype) && x->rank == 4, 0, "floats [B, C, H, W]");
    NEED(w->dtype == x->dtype && w->rank == 4, 1, "[M, C / group, kh, kw] of the type of input 0");
    PARAM(p->group >= 1 && p->offset_groups >= 1 && x->dims[1] % p->offset_groups == 0, "offset_groups", p->offset_groups);
    NEED(w->dims[1] * p->group == x->dims[1] && w->dims[0] % p->group == 0, 1, "channels that the groups divide");
    for (int i = 0; i < 2; i++) {
        PARAM(p->stride[i] >= 1 && p->dilation[i] >= 1 && p->pads[i] >= 0 && p->pads[2 + i] >= 0, "stride, dilation or pads", i);
        NEED(w->dims[2 + i] >= 1, 1, "a kernel");
        int64_t slack = x->dims[2 + i] + p->pads[i] + p->pads[2 + i] - p->dilation[i] * (w->dims[2 + i] - 1) - 1;
        NEED(slack >= 0, 0, "at least as large as the kernel");
        out[i] = slack / p->stride[i] + 1;
    }
    const int64_t taps = w->dims[2] * w->dims[3] * p->offset_groups;
    NEED(tni_plan_has(c, 2) && fits(c, 2, 4, (int64_t[]){x->dims[0], 2 * taps, out[0], out[1]}), 2, "two offsets for each sample");
    NEED(fits(c, 3, 1, (int64_t[]){w->dims[0]}), 3, "a bias for each output channel");
    NEED(fits(c, 4, 4, (int64_t[]){x->dims[0], taps, out[0], out[1]}), 4, "a factor for each sample");
    return tni_plan_expect(c, 0, x->dtype, 4, (int64_t[]){x->dims[0], w->dims[0], out[0], out[1]});
}

TnStatus tni_plan_rule_roi_pool(const PlanCheck *c) {
    P(TnRoiPoolParams);
    const TnTensor *x = &c->in[0], *r = &c->in[1];
    PARAM(p->height > 0 && p->height < 1 << 24 && p->width > 0 && p->width < 1 << 24, "output size", p->height);
    NEED(tni_dtype_is_float(x->dtype) && x->rank == 4, 0, "floats [B, C, H, W]");
    NEED(r->dtype == x->dtype && r->rank == 2 && r->dims[1] == 5, 1, "[regions, 5] of the type of input 0");
    return tni_plan_expect(c, 0, x->dtype, 4, (int64_t[]){r->dims[0], x->dims[1], p->height, p->width});
}

TnStatus tni_plan_rule_col2im(const PlanCheck *c) {
    P(TnCol2ImParams);
    const TnTensor *x = &c->in[0];
    int64_t dims[5] = {0}, taps = 1, places = 1;
    PARAM(p->n_spatial >= 1 && p->n_spatial <= 3, "n_spatial", p->n_spatial);
    const uint32_t n = p->n_spatial;
    NEED(x->rank == 3, 0, "[B, C * block, places]");
    for (uint32_t i = 1; i < 3; i++)
        NEED(is_index(&c->in[i]) && tni_plan_vector(&c->in[i], n), i, "a number for each spatial axis");
    for (uint32_t i = 0; i < n; i++) {
        PARAM(p->stride[i] >= 1 && p->dilation[i] >= 1 && p->pads[i] >= 0 && p->pads[n + i] >= 0, "stride, dilation or pads", i);
        int64_t size = tni_load_i64(c->in[1].dtype, c->in[1].data, i), k = tni_load_i64(c->in[2].dtype, c->in[2].data, i);
        NEED(size >= 1 && size < 1 << 28, 1, "sizes of 1 or more");
        NEED(k >= 1 && k < 1 << 20, 2, "sizes of 1 or more");
        int64_t slack = size + p->pads[i] + p->pads[n + i] - p->dilation[i] * (k - 1) - 1;
        NEED(slack >= 0, 2, "blocks that fit into the image");
        dims[2 + i] = size;
        NEED(tni_mul_i64(taps, k, &taps) && tni_mul_i64(places, slack / p->stride[i] + 1, &places), 1, "sizes that fit into memory");
    }
    NEED(x->dims[1] % taps == 0 && x->dims[2] == places, 0, "[B, C * block, places of the block]");
    dims[0] = x->dims[0];
    dims[1] = x->dims[1] / taps;
    NEED(tni_shape_bytes(x->dtype, 2 + (int32_t)n, dims, NULL, NULL), 1, "sizes that fit into memory");
    return tni_plan_expect(c, 0, x->dtype, 2 + (int32_t)n, dims);
}

TnStatus tni_plan_rule_grid_sample(const PlanCheck *c) {
    P(TnGridSampleParams);
    const TnTensor *x = &c->in[0], *g = &c->in[1];
    int64_t dims[TN_MAX_RANK];
    PARAM(p->mode <= TN_GRID_CUBIC, "mode", p->mode);
    PARAM(p->padding <= TN_GRID_REFLECTION, "padding", p->padding);
    NEED(tni_dtype_is_float(x->dtype) && x->rank >= 3 && x->rank <= 5, 0, "floats of rank 3 to 5");
    NEED(tni_dtype_is_float(g->dtype) && g->rank == x->rank && g->dims[0] == x->dims[0] && g->dims[x->rank - 1] == x->rank - 2, 1,
         "a grid of as many coordinates as spatial axes");
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (int32_t i = 2; i < x->rank; i++)
        dims[i] = g->dims[i - 1];
    return tni_plan_expect(c, 0, x->dtype, x->rank, dims);
}
