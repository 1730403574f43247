/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting operators along their outer axes, which they treat alike: the first and the last entries, so few that they have at most a number of
 * elements. In: a case. Out: views that are contiguous in the same memory, since all axes in front of the cut one keep a single entry.
 *
 *   out [B, H, S, D], cut on axis 1 to n: part 0 is [0, 0..n, :, :], part 1 is [B-1, H-n..H, :, :] */
#include "planner/internal.h"

typedef enum Follow {
    WHOLE,  /* the operand is read as a whole */
    LEAD,   /* its first axes are those of the result */
    SPREAD, /* it broadcasts to the result: its last axes are those of the result */
} Follow;

/* How far an operator may be cut, and what follows the cut. */
typedef struct Way {
    int32_t axes; /* this many outer axes of the result; 0: none */
    Follow first, second, rest;
} Way;

static int32_t from_front(int32_t axis, int32_t rank) {
    return axis < 0 ? axis + rank : axis;
}

static int32_t kept_axes(uint32_t rank, const uint8_t *perm) {
    uint32_t n = 0;
    while (n < rank && perm[n] == n)
        n++;
    return (int32_t)n;
}

static Way permuted_way(uint32_t rank, const uint8_t *perm) {
    return (Way){kept_axes(rank, perm), LEAD, WHOLE, WHOLE};
}

static Way gather_way(const PnCase *c) {
    const int32_t axis = from_front(((const TnAxisParams *)c->params)->axis, c->in[0].rank);
    return axis > 0 ? (Way){axis, LEAD, WHOLE, WHOLE} : (Way){c->in[1].rank, WHOLE, LEAD, WHOLE};
}

static Way reduce_way(const PnCase *c) {
    const TnReduceParams *p = c->params;
    return p->n_axes ? (Way){from_front(p->axes[0], c->in[0].rank), LEAD, WHOLE, WHOLE} : (Way){0};
}

static Way way_of(const PnCase *c) {
    const int32_t rank = c->in[0].rank;
    switch (c->op) {
    case TN_OP_unary:
    case TN_OP_binary:
    case TN_OP_where:
    case TN_OP_clip:
    case TN_OP_cast:
    case TN_OP_pointwise:
        return (Way){c->out[0].rank, SPREAD, SPREAD, SPREAD};
    case TN_OP_softmax:
        return (Way){from_front(((const TnSoftmaxParams *)c->params)->axis, rank), LEAD, WHOLE, WHOLE};
    case TN_OP_layer_norm:
    case TN_OP_rms_norm:
        return (Way){from_front(((const TnNormParams *)c->params)->axis, rank), LEAD, WHOLE, WHOLE};
    case TN_OP_add_layer_norm:
        return (Way){rank - 1, SPREAD, SPREAD, WHOLE};
    case TN_OP_batch_norm:
    case TN_OP_instance_norm:
    case TN_OP_group_norm:
    case TN_OP_pool:
        return (Way){1, LEAD, WHOLE, WHOLE};
    case TN_OP_roi_align:
        return (Way){1, WHOLE, LEAD, LEAD};
    case TN_OP_reduce:
        return reduce_way(c);
    case TN_OP_arg_reduce:
        return (Way){from_front(((const TnArgReduceParams *)c->params)->axis, rank), LEAD, WHOLE, WHOLE};
    case TN_OP_transpose:
        return permuted_way(((const TnTransposeParams *)c->params)->n, ((const TnTransposeParams *)c->params)->perm);
    case TN_OP_cast_transpose:
        return permuted_way(((const TnCastTransposeParams *)c->params)->n, ((const TnCastTransposeParams *)c->params)->perm);
    case TN_OP_gather:
        return gather_way(c);
    case TN_OP_concat:
        return (Way){from_front(((const TnAxisParams *)c->params)->axis, rank), LEAD, LEAD, LEAD};
    case TN_OP_split:
        return (Way){from_front(((const TnAxisParams *)c->params)->axis, rank), LEAD, WHOLE, WHOLE};
    default:
        return (Way){0};
    }
}

/* The cut of the result: one entry of axes 0..axis-1, n of axis. */
typedef struct Outer {
    int32_t axis, rank;
    int64_t n, full[TN_MAX_RANK], first[TN_MAX_RANK];
} Outer;

static int64_t below(const TnTensor *t, int32_t axis) {
    int64_t n = 1;
    for (int32_t d = axis + 1; d < t->rank; d++)
        n *= t->dims[d];
    return n;
}

/* Elements below an axis of the result, in the result or the operand that follows it. */
static int64_t weight(const PnCase *c, const Way *w, int32_t axis) {
    int64_t n = below(&c->out[0], axis);
    const TnTensor *t = w->first == LEAD ? &c->in[0] : w->second == LEAD ? &c->in[1] : NULL;
    return t ? TN_MAX(n, below(t, axis)) : n;
}

static bool choose_cut(const PnCase *c, const Way *w, uint32_t part, double most, Outer *o) {
    const TnTensor *y = &c->out[0];
    const int32_t axes = TN_MIN(w->axes, y->rank);
    int64_t before = 1;
    if (axes <= 0 || tn_tensor_numel(y) == 0 || tn_tensor_numel(&c->in[0]) == 0)
        return false;
    o->rank = y->rank;
    o->axis = 0;
    while (o->axis + 1 < axes && (double)weight(c, w, o->axis) > most)
        before *= y->dims[o->axis++];
    const int64_t all = y->dims[o->axis], inner = TN_MAX(weight(c, w, o->axis), (int64_t)1);
    o->n = TN_MAX((int64_t)(most / (double)inner), (int64_t)1);
    if (o->n >= all && before == 1)
        return false;
    o->n = TN_MIN(o->n, all);
    if (before == 1 && 2 * o->n >= all && (double)inner * (double)all <= 2 * most)
        return false;
    for (int32_t d = 0; d <= o->axis; d++) {
        o->full[d] = y->dims[d];
        o->first[d] = part == 0 ? 0 : y->dims[d] - (d == o->axis ? o->n : 1);
    }
    return true;
}

static void cut(const Outer *o, Follow how, TnTensor *t, size_t *at) {
    int64_t offset = 0;
    if (how == WHOLE || t->dtype == TN_UNDEFINED)
        return;
    const int32_t shift = how == SPREAD ? t->rank - o->rank : 0;
    for (int32_t d = 0; d <= o->axis; d++) {
        const int32_t own = d + shift;
        if (own < 0 || (how == SPREAD && t->dims[own] == 1 && o->full[d] != 1))
            continue;
        offset += o->first[d] * below(t, own);
    }
    for (int32_t d = 0; d <= o->axis; d++) {
        const int32_t own = d + shift;
        if (own >= 0 && !(how == SPREAD && t->dims[own] == 1))
            t->dims[own] = d == o->axis ? o->n : 1;
    }
    const size_t bytes = (size_t)offset * (tn_dtype_bits(t->dtype) / 8);
    if (t->data)
        t->data = (uint8_t *)t->data + bytes;
    *at = bytes;
}

bool tni_planner_crop_outer(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, size_t *in_at, size_t *out_at, double most) {
    if (c->n_in == 0 || c->n_out == 0)
        return false;
    const Way w = way_of(c);
    Outer o;
    for (uint32_t i = 0; i < c->n_in + c->n_out; i++) /* elements of whole bytes only */
        if (tn_dtype_bits((i < c->n_in ? &c->in[i] : &c->out[i - c->n_in])->dtype) % 8)
            return false;
    if (!choose_cut(c, &w, part, most, &o))
        return false;
    for (uint32_t i = 0; i < c->n_in; i++)
        cut(&o, i == 0 ? w.first : i == 1 ? w.second : w.rest, &in[i], &in_at[i]);
    for (uint32_t i = 0; i < c->n_out; i++)
        cut(&o, LEAD, &out[i], &out_at[i]);
    return true;
}
