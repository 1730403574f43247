/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of the operators that move data, make shapes or depend on contents (plan/check.h). */
#include "base/dtype.h"
#include "plan/rules.h"

#include <math.h>

static bool is_index(const TnTensor *t) {
    return t->dtype == TN_I32 || t->dtype == TN_I64;
}

/* Elements of a small integer operand into v; its count, or -1 when it is no scalar or vector of at most `max` integers. */
static int64_t ints(const TnTensor *t, int64_t *v, int64_t max) {
    int64_t n = t->rank == 0 ? 1 : t->dims[0];
    if (!is_index(t) || t->rank > 1 || n > max || (n > 0 && !t->data))
        return -1;
    for (int64_t i = 0; i < n; i++)
        v[i] = tni_load_i64(t->dtype, t->data, i);
    return n;
}

/* A product of dims that has to stay a number. */
static bool dims_ok(int32_t rank, const int64_t *dims) {
    size_t bytes;
    return tni_shape_bytes(TN_C128, rank, dims, NULL, &bytes);
}

TnStatus tni_plan_rule_identity(const PlanCheck *c) {
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

TnStatus tni_plan_rule_copy(const PlanCheck *c) {
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

/* Dims of a RESHAPE from the contents of operand 1 (inferring only). */
static TnStatus reshape_dims(const PlanCheck *c, const TnReshapeParams *p) {
    int64_t v[TN_MAX_RANK], known = 1, numel = tn_tensor_numel(&c->in[0]);
    int64_t n = tni_plan_has(c, 1) ? ints(&c->in[1], v, TN_MAX_RANK) : -1;
    int32_t free_axis = -1;
    NEED(n >= 0, 1, "a vector of at most 8 integers");
    for (int32_t i = 0; i < n; i++) {
        if (v[i] == 0 && !p->allowzero) {
            NEED(i < c->in[0].rank, 1, "no 0 beyond the rank of input 0");
            v[i] = c->in[0].dims[i];
        }
        NEED(v[i] >= -1 && (v[i] >= 0 || free_axis < 0), 1, "at most one -1");
        if (v[i] < 0)
            free_axis = i;
        else
            NEED(tni_mul_i64(known, v[i], &known), 1, "dims whose product fits");
    }
    if (free_axis >= 0) {
        NEED(known > 0 && numel % known == 0, 1, "dims that divide the number of elements of input 0");
        v[free_axis] = numel / known;
        known *= v[free_axis];
    }
    NEED(known == numel, 1, "dims for all elements of input 0");
    return tni_plan_expect(c, 0, c->in[0].dtype, (int32_t)n, v);
}

TnStatus tni_plan_rule_reshape(const PlanCheck *c) {
    P(TnReshapeParams);
    PARAM(p->kind <= TN_RESHAPE_UNSQUEEZE && p->n_axes <= TN_MAX_RANK, "kind", p->kind);
    if (c->infer) {
        PARAM(p->kind == TN_RESHAPE_SHAPE, "kind", p->kind);
        return reshape_dims(c, p);
    }
    /* What matters is that the output has the bytes of the input: its dims were decided when the plan was made. */
    if (c->out[0].dtype != c->in[0].dtype || tn_tensor_numel(&c->out[0]) != tn_tensor_numel(&c->in[0])) {
        char have[96], want[96];
        return TN_RAISE(c->err, TN_ERR_SHAPE, "reshape: %s %s cannot become %s %s", tn_dtype_name(c->in[0].dtype),
                        tni_shape_str(have, sizeof have, c->in[0].rank, c->in[0].dims), tn_dtype_name(c->out[0].dtype),
                        tni_shape_str(want, sizeof want, c->out[0].rank, c->out[0].dims));
    }
    return TN_OK;
}

/* Output 0: operand 0 permuted, of type t. */
static TnStatus permuted(const PlanCheck *c, uint32_t n, const uint8_t *perm, TnDtype t) {
    const TnTensor *x = &c->in[0];
    int64_t dims[TN_MAX_RANK];
    uint32_t seen = 0;
    PARAM((int32_t)n == x->rank, "n", n);
    for (uint32_t i = 0; i < n; i++) {
        PARAM(perm[i] < n && !(seen & 1u << perm[i]), "perm", perm[i]);
        seen |= 1u << perm[i];
        dims[i] = x->dims[perm[i]];
    }
    return tni_plan_expect(c, 0, t, x->rank, dims);
}

TnStatus tni_plan_rule_transpose(const PlanCheck *c) {
    P(TnTransposeParams);
    return permuted(c, p->n, p->perm, c->in[0].dtype);
}

TnStatus tni_plan_rule_cast_transpose(const PlanCheck *c) {
    P(TnCastTransposeParams);
    const TnDtype from = c->in[0].dtype;
    NEED(from == TN_F32 || from == TN_F16 || from == TN_BF16, 0, "float32, float16 or bfloat16");
    PARAM(p->to == TN_F32 || p->to == TN_F16 || p->to == TN_BF16, "to", p->to);
    return permuted(c, p->n, p->perm, (TnDtype)p->to);
}

TnStatus tni_plan_rule_concat(const PlanCheck *c) {
    P(TnAxisParams);
    TnTensor y = c->in[0];
    int32_t axis;
    PARAM(tni_plan_axis(p->axis, y.rank, &axis), "axis", p->axis);
    for (uint32_t i = 1; i < c->n_in; i++) {
        const TnTensor *t = &c->in[i];
        NEED(t->dtype == y.dtype && t->rank == y.rank, i, "type and rank of input 0");
        for (int32_t a = 0; a < y.rank; a++)
            NEED(a == axis || t->dims[a] == y.dims[a], i, "the dims of input 0 but for the axis");
        NEED(tni_add_i64(y.dims[axis], t->dims[axis], &y.dims[axis]), i, "a sum that fits");
    }
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_split(const PlanCheck *c) {
    P(TnAxisParams);
    const TnTensor *x = &c->in[0];
    int32_t axis;
    int64_t sum = 0;
    PARAM(tni_plan_axis(p->axis, x->rank, &axis), "axis", p->axis);
    bool sizes = tni_plan_has(c, 1);
    if (sizes)
        NEED(is_index(&c->in[1]) && tni_plan_vector(&c->in[1], c->n_out), 1, "a size for each output");
    int64_t total = x->dims[axis], n = p->n ? p->n : c->n_out, part = (total + n - 1) / n;
    PARAM(sizes || n == c->n_out, "n", n);
    for (uint32_t i = 0; i < c->n_out; i++) {
        TnTensor y = *x;
        y.dims[axis] = sizes ? tni_load_i64(c->in[1].dtype, c->in[1].data, i) : TN_MAX((int64_t)0, TN_MIN(part, total - sum));
        NEED(y.dims[axis] >= 0 && tni_add_i64(sum, y.dims[axis], &sum) && sum <= total, sizes ? 1 : 0, "sizes that sum to the axis");
        TN_TRY(tni_plan_expect_like(c, i, &y));
    }
    NEED(sum == total, sizes ? 1 : 0, "sizes that sum to the axis");
    return TN_OK;
}

/* Elements of a slice of an axis of n, ONNX rules. */
static int64_t slice_count(int64_t n, int64_t start, int64_t end, int64_t step) {
    if (start < 0)
        start += n;
    if (end < 0)
        end = end < -n ? -1 : end + n;
    if (step > 0) {
        start = TN_MIN(TN_MAX(start, (int64_t)0), n);
        end = TN_MIN(TN_MAX(end, (int64_t)0), n);
        return end > start ? (end - start - 1) / step + 1 : 0;
    }
    start = TN_MIN(TN_MAX(start, (int64_t)0), n - 1);
    end = TN_MIN(TN_MAX(end, (int64_t)-1), n - 1);
    return start > end ? (int64_t)((uint64_t)(start - end - 1) / (0 - (uint64_t)step)) + 1 : 0;
}

TnStatus tni_plan_rule_slice(const PlanCheck *c) {
    TnTensor y = c->in[0];
    int64_t start[TN_MAX_RANK], end[TN_MAX_RANK], axes[TN_MAX_RANK], step[TN_MAX_RANK];
    int64_t n = ints(&c->in[1], start, TN_MAX_RANK);
    uint32_t seen = 0;
    NEED(n >= 0 && c->in[1].rank == 1, 1, "a vector of at most 8 integers");
    NEED(ints(&c->in[2], end, TN_MAX_RANK) == n, 2, "as many integers as input 1");
    if (tni_plan_has(c, 3))
        NEED(ints(&c->in[3], axes, TN_MAX_RANK) == n, 3, "as many integers as input 1");
    if (tni_plan_has(c, 4))
        NEED(ints(&c->in[4], step, TN_MAX_RANK) == n, 4, "as many integers as input 1");
    for (int64_t i = 0; i < n; i++) {
        int32_t a;
        NEED(tni_plan_axis(tni_plan_has(c, 3) ? axes[i] : i, y.rank, &a) && !(seen & 1u << a), tni_plan_has(c, 3) ? 3 : 1,
             "axes of input 0");
        seen |= 1u << a;
        int64_t s = tni_plan_has(c, 4) ? step[i] : 1;
        NEED(s != 0, 4, "steps that are not 0");
        y.dims[a] = slice_count(y.dims[a], start[i], end[i], s);
    }
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_pad(const PlanCheck *c) {
    P(TnPadParams);
    const TnTensor *x = &c->in[0];
    TnTensor y = *x;
    int64_t pads[2 * TN_MAX_RANK], axes[TN_MAX_RANK];
    int64_t n = ints(&c->in[1], pads, 2 * TN_MAX_RANK), k = x->rank;
    uint32_t seen = 0;
    PARAM(p->mode <= TN_PADDING_WRAP, "mode", p->mode);
    if (tni_plan_has(c, 2))
        NEED(c->in[2].dtype == x->dtype && tn_tensor_numel(&c->in[2]) == 1, 2, "one element of the type of input 0");
    if (tni_plan_has(c, 3))
        k = ints(&c->in[3], axes, TN_MAX_RANK);
    NEED(k >= 0, 3, "axes of input 0");
    NEED(n == 2 * k, 1, "two integers for each axis");
    for (int64_t i = 0; i < k; i++) {
        int32_t a;
        NEED(tni_plan_axis(tni_plan_has(c, 3) ? axes[i] : i, x->rank, &a) && !(seen & 1u << a), 3, "axes of input 0");
        seen |= 1u << a;
        NEED(tni_add_i64(y.dims[a], pads[i], &y.dims[a]) && tni_add_i64(y.dims[a], pads[k + i], &y.dims[a]) && y.dims[a] >= 0, 1,
             "pads that leave a dimension of 0 or more");
        int64_t most = TN_MAX(pads[i], pads[k + i]);
        if (p->mode == TN_PADDING_REFLECT)
            NEED(most <= 0 || x->dims[a] > 0, 1, "something to reflect");
        else if (p->mode != TN_PADDING_CONSTANT)
            NEED(most <= 0 || x->dims[a] > 0, 1, "something to repeat");
    }
    NEED(dims_ok(y.rank, y.dims), 1, "a result that fits");
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_expand(const PlanCheck *c) {
    int64_t v[TN_MAX_RANK];
    int64_t n = ints(&c->in[1], v, TN_MAX_RANK);
    TnTensor shape = {.rank = (int32_t)n};
    NEED(n >= 0 && c->in[1].rank == 1, 1, "a vector of at most 8 integers");
    for (int64_t i = 0; i < n; i++) {
        NEED(v[i] >= 0, 1, "dims of 0 or more");
        shape.dims[i] = v[i];
    }
    int32_t rank = c->in[0].rank;
    int64_t dims[TN_MAX_RANK];
    memcpy(dims, c->in[0].dims, sizeof dims);
    NEED(tni_plan_broadcast(&shape, &rank, dims) && dims_ok(rank, dims), 1, "a shape that broadcasts with input 0");
    return tni_plan_expect(c, 0, c->in[0].dtype, rank, dims);
}

TnStatus tni_plan_rule_tile(const PlanCheck *c) {
    TnTensor y = c->in[0];
    int64_t v[TN_MAX_RANK];
    NEED(c->in[1].rank == 1 && ints(&c->in[1], v, TN_MAX_RANK) == y.rank, 1, "a count for each axis of input 0");
    for (int32_t i = 0; i < y.rank; i++)
        NEED(v[i] >= 0 && tni_mul_i64(y.dims[i], v[i], &y.dims[i]), 1, "counts of 0 or more");
    NEED(dims_ok(y.rank, y.dims), 1, "a result that fits");
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_gather(const PlanCheck *c) {
    P(TnAxisParams);
    const TnTensor *x = &c->in[0], *ix = &c->in[1];
    int32_t axis, rank = 0;
    int64_t dims[TN_MAX_RANK];
    PARAM(tni_plan_axis(p->axis, x->rank, &axis), "axis", p->axis);
    NEED(is_index(ix) && x->rank - 1 + ix->rank <= TN_MAX_RANK, 1, "int32 or int64 of a rank that keeps the result within 8");
    for (int32_t i = 0; i < axis; i++)
        dims[rank++] = x->dims[i];
    for (int32_t i = 0; i < ix->rank; i++)
        dims[rank++] = ix->dims[i];
    for (int32_t i = axis + 1; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    return tni_plan_expect(c, 0, x->dtype, rank, dims);
}

/* Indices of x's rank that stay inside x but along the axis. */
static TnStatus elements_operand(const PlanCheck *c, int32_t axis) {
    const TnTensor *x = &c->in[0], *ix = &c->in[1];
    NEED(is_index(ix) && ix->rank == x->rank, 1, "int32 or int64 of the rank of input 0");
    for (int32_t i = 0; i < x->rank; i++)
        NEED(i == axis || ix->dims[i] <= x->dims[i], 1, "dims that are not larger than those of input 0");
    return TN_OK;
}

TnStatus tni_plan_rule_gather_elements(const PlanCheck *c) {
    P(TnAxisParams);
    int32_t axis;
    PARAM(tni_plan_axis(p->axis, c->in[0].rank, &axis), "axis", p->axis);
    TN_TRY(elements_operand(c, axis));
    return tni_plan_expect(c, 0, c->in[0].dtype, c->in[1].rank, c->in[1].dims);
}

TnStatus tni_plan_rule_scatter_elements(const PlanCheck *c) {
    P(TnScatterParams);
    int32_t axis;
    PARAM(tni_plan_axis(p->axis, c->in[0].rank, &axis), "axis", p->axis);
    PARAM(p->reduction <= TN_SCATTER_MIN, "reduction", p->reduction);
    TN_TRY(elements_operand(c, axis));
    const TnTensor *u = &c->in[2];
    NEED(u->dtype == c->in[0].dtype && u->rank == c->in[1].rank && memcmp(u->dims, c->in[1].dims, (size_t)u->rank * sizeof *u->dims) == 0,
         2, "the type of input 0 and the shape of input 1");
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

TnStatus tni_plan_rule_gather_nd(const PlanCheck *c) {
    P(TnGatherNdParams);
    const TnTensor *x = &c->in[0], *ix = &c->in[1];
    NEED(is_index(ix) && ix->rank >= 1, 1, "int32 or int64 of rank 1 or more");
    int64_t k = ix->dims[ix->rank - 1], dims[TN_MAX_RANK];
    int32_t b = (int32_t)p->batch_dims, rank = 0;
    PARAM(p->batch_dims < TN_MAX_RANK && b < ix->rank && b <= x->rank, "batch_dims", p->batch_dims);
    NEED(k >= 0 && k <= x->rank - b, 1, "a last axis not longer than the axes of input 0");
    NEED(ix->rank - 1 + x->rank - b - k <= TN_MAX_RANK, 1, "a result of rank 8 or less");
    for (int32_t i = 0; i < b; i++)
        NEED(x->dims[i] == ix->dims[i], 1, "the batch dims of input 0");
    for (int32_t i = 0; i < ix->rank - 1; i++)
        dims[rank++] = ix->dims[i];
    for (int32_t i = b + (int32_t)k; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    return tni_plan_expect(c, 0, x->dtype, rank, dims);
}

TnStatus tni_plan_rule_scatter_nd(const PlanCheck *c) {
    P(TnScatterParams);
    const TnTensor *x = &c->in[0], *ix = &c->in[1], *u = &c->in[2];
    PARAM(p->reduction <= TN_SCATTER_MIN, "reduction", p->reduction);
    NEED(is_index(ix) && ix->rank >= 1, 1, "int32 or int64 of rank 1 or more");
    int64_t k = ix->dims[ix->rank - 1];
    NEED(k >= 0 && k <= x->rank, 1, "a last axis not longer than the rank of input 0");
    TnTensor want = {.dtype = x->dtype};
    NEED(ix->rank - 1 + x->rank - k <= TN_MAX_RANK, 1, "updates of rank 8 or less");
    for (int32_t i = 0; i < ix->rank - 1; i++)
        want.dims[want.rank++] = ix->dims[i];
    for (int32_t i = (int32_t)k; i < x->rank; i++)
        want.dims[want.rank++] = x->dims[i];
    NEED(tni_plan_same(u, &want), 2, "the type of input 0 and an update for each index");
    return tni_plan_expect_like(c, 0, x);
}

TnStatus tni_plan_rule_one_hot(const PlanCheck *c) {
    P(TnAxisParams);
    const TnTensor *ix = &c->in[0], *depth = &c->in[1], *v = &c->in[2];
    int32_t axis;
    int64_t dims[TN_MAX_RANK];
    NEED(ix->rank < TN_MAX_RANK, 0, "rank 7 or less");
    PARAM(tni_plan_axis(p->axis, ix->rank + 1, &axis), "axis", p->axis);
    NEED(tn_tensor_numel(depth) == 1 && depth->data, 1, "one number");
    NEED(tni_plan_vector(v, 2), 2, "[off, on]");
    int64_t d = tni_load_i64(depth->dtype, depth->data, 0);
    NEED(d >= 0, 1, "a depth of 0 or more");
    for (int32_t i = 0; i <= ix->rank; i++)
        dims[i] = i < axis ? ix->dims[i] : i == axis ? d : ix->dims[i - 1];
    NEED(dims_ok(ix->rank + 1, dims), 1, "a result that fits");
    return tni_plan_expect(c, 0, v->dtype, ix->rank + 1, dims);
}

TnStatus tni_plan_rule_trilu(const PlanCheck *c) {
    NEED(c->in[0].rank >= 2, 0, "rank 2 or more");
    if (tni_plan_has(c, 1))
        NEED(is_index(&c->in[1]) && tn_tensor_numel(&c->in[1]) == 1, 1, "one integer");
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

TnStatus tni_plan_rule_eye_like(const PlanCheck *c) {
    P(TnEyeLikeParams);
    TnDtype t = p->dtype ? (TnDtype)p->dtype : c->in[0].dtype;
    NEED(c->in[0].rank == 2, 0, "a matrix");
    PARAM(tni_dtype_valid(t) && tn_dtype_bits(t) >= 8, "dtype", t);
    return tni_plan_expect(c, 0, t, 2, c->in[0].dims);
}

TnStatus tni_plan_rule_depth_to_space(const PlanCheck *c) {
    P(TnSpaceDepthParams);
    TnTensor y = c->in[0];
    int64_t b = p->block;
    PARAM(b > 0 && b < 65536, "block", b);
    NEED(y.rank == 4 && y.dims[1] % (b * b) == 0, 0, "[B, C, H, W] with C a multiple of block * block");
    y.dims[1] /= b * b;
    NEED(tni_mul_i64(y.dims[2], b, &y.dims[2]) && tni_mul_i64(y.dims[3], b, &y.dims[3]), 0, "a result that fits");
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_space_to_depth(const PlanCheck *c) {
    P(TnSpaceDepthParams);
    TnTensor y = c->in[0];
    int64_t b = p->block;
    PARAM(b > 0 && b < 65536, "block", b);
    NEED(y.rank == 4 && y.dims[2] % b == 0 && y.dims[3] % b == 0, 0, "[B, C, H, W] with H and W multiples of block");
    NEED(tni_mul_i64(y.dims[1], b * b, &y.dims[1]), 0, "a result that fits");
    y.dims[2] /= b;
    y.dims[3] /= b;
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_topk(const PlanCheck *c) {
    P(TnTopkParams);
    TnTensor y = c->in[0];
    int32_t axis;
    PARAM(tni_plan_axis(p->axis, y.rank, &axis), "axis", p->axis);
    NEED(is_index(&c->in[1]) && tn_tensor_numel(&c->in[1]) == 1 && c->in[1].data, 1, "one integer");
    int64_t k = tni_load_i64(c->in[1].dtype, c->in[1].data, 0);
    NEED(k >= 0 && k <= y.dims[axis], 1, "a number not larger than the axis of input 0");
    y.dims[axis] = k;
    TN_TRY(tni_plan_expect_like(c, 0, &y));
    return tni_plan_expect(c, 1, TN_I64, y.rank, y.dims);
}

/* ---- results whose size the kernel decides: type and rank are checked, and the upper bound inferred ---- */

static TnStatus expect_rank(const PlanCheck *c, uint32_t i, TnDtype dtype, int32_t rank, const int64_t *most) {
    if (c->infer)
        return tni_plan_expect(c, i, dtype, rank, most);
    if (i >= c->n_out || c->out[i].dtype == TN_UNDEFINED)
        return TN_OK;
    if (c->out[i].dtype != dtype || c->out[i].rank != rank)
        return TN_RAISE(c->err, TN_ERR_SHAPE, "%s: output %u has type %s and rank %d; expected %s and %d", tni_op_info(c->op)->name, i,
                        tn_dtype_name(c->out[i].dtype), c->out[i].rank, tn_dtype_name(dtype), rank);
    return TN_OK;
}

TnStatus tni_plan_rule_nonzero(const PlanCheck *c) {
    int64_t dims[2] = {c->in[0].rank, tn_tensor_numel(&c->in[0])};
    return expect_rank(c, 0, TN_I64, 2, dims);
}

TnStatus tni_plan_rule_compress(const PlanCheck *c) {
    P(TnCompressParams);
    TnTensor y = c->in[0];
    int32_t axis = 0;
    NEED(c->in[1].dtype == TN_BOOL && c->in[1].rank == 1, 1, "a vector of bool");
    if (p->flatten) {
        y.dims[0] = tn_tensor_numel(&c->in[0]);
        y.rank = 1;
    } else {
        PARAM(tni_plan_axis(p->axis, y.rank, &axis), "axis", p->axis);
    }
    NEED(c->in[1].dims[0] <= y.dims[axis], 1, "a vector not longer than the axis of input 0");
    return expect_rank(c, 0, y.dtype, y.rank, y.dims);
}

TnStatus tni_plan_rule_unique(const PlanCheck *c) {
    P(TnUniqueParams);
    TnTensor y = c->in[0];
    int32_t axis = 0;
    if (p->flatten) {
        y.dims[0] = tn_tensor_numel(&c->in[0]);
        y.rank = 1;
    } else {
        PARAM(tni_plan_axis(p->axis, y.rank, &axis), "axis", p->axis);
    }
    TN_TRY(expect_rank(c, 0, y.dtype, y.rank, y.dims));
    for (uint32_t i = 1; i < 4; i++)
        TN_TRY(expect_rank(c, i, TN_I64, 1, &y.dims[axis]));
    return TN_OK;
}

TnStatus tni_plan_rule_non_max_suppression(const PlanCheck *c) {
    const TnTensor *b = &c->in[0], *s = &c->in[1];
    NEED(b->dtype == TN_F32 && b->rank == 3 && b->dims[2] == 4, 0, "float32 [batches, boxes, 4]");
    NEED(s->dtype == TN_F32 && s->rank == 3 && s->dims[0] == b->dims[0] && s->dims[2] == b->dims[1], 1,
         "float32 [batches, classes, boxes]");
    for (uint32_t i = 2; i < 5; i++)
        NEED(!tni_plan_has(c, i) || (tn_tensor_numel(&c->in[i]) == 1 && c->in[i].dtype == (i == 2 ? TN_I64 : TN_F32)), i, "one number");
    int64_t dims[2] = {tn_tensor_numel(s), 3};
    return expect_rank(c, 0, TN_I64, 2, dims);
}

/* ---- shapes and constants ---- */

TnStatus tni_plan_rule_shape(const PlanCheck *c) {
    P(TnShapeParams);
    int64_t r = c->in[0].rank;
    int64_t start = p->start < 0 ? p->start + r : p->start, end = p->end < 0 ? p->end + r : p->end;
    start = TN_MIN(TN_MAX(start, (int64_t)0), r);
    end = TN_MIN(TN_MAX(end, (int64_t)0), r);
    int64_t n = TN_MAX(end - start, (int64_t)0);
    return tni_plan_expect(c, 0, TN_I64, 1, &n);
}

TnStatus tni_plan_rule_size(const PlanCheck *c) {
    return tni_plan_expect(c, 0, TN_I64, 0, NULL);
}

TnStatus tni_plan_rule_constant_of_shape(const PlanCheck *c) {
    P(TnFillParams);
    int64_t v[TN_MAX_RANK];
    int64_t n = ints(&c->in[0], v, TN_MAX_RANK);
    NEED(n >= 0 && c->in[0].rank == 1 && dims_ok((int32_t)n, v), 0, "a vector of at most 8 dims of 0 or more");
    PARAM(tni_dtype_valid(p->dtype) && tn_dtype_bits((TnDtype)p->dtype) >= 8 && tn_dtype_bits((TnDtype)p->dtype) <= 64, "dtype", p->dtype);
    return tni_plan_expect(c, 0, (TnDtype)p->dtype, (int32_t)n, v);
}

/* n = max(ceil((limit - start) / delta), 0) */
TnStatus tni_plan_rule_range(const PlanCheck *c) {
    const TnTensor *in = c->in;
    int64_t n;
    for (uint32_t i = 0; i < 3; i++)
        NEED(in[i].dtype == in[0].dtype && tn_tensor_numel(&in[i]) == 1 && in[i].data, i, "one number of the type of input 0");
    if (tni_dtype_is_float(in[0].dtype)) {
        double start = tni_load_f64(in[0].dtype, in[0].data, 0), limit = tni_load_f64(in[0].dtype, in[1].data, 0),
               delta = tni_load_f64(in[0].dtype, in[2].data, 0);
        double d = ceil((limit - start) / delta);
        NEED(d < 1e15, 2, "a step that ends");
        n = d > 0 ? (int64_t)d : 0;
    } else {
        int64_t start = tni_load_i64(in[0].dtype, in[0].data, 0), limit = tni_load_i64(in[0].dtype, in[1].data, 0),
                delta = tni_load_i64(in[0].dtype, in[2].data, 0), span;
        NEED(delta != 0 && !__builtin_sub_overflow(limit, start, &span) && delta != INT64_MIN && span != INT64_MIN, 2, "a step that ends");
        n = (span > 0) != (delta > 0) || span == 0 ? 0 : (TN_MAX(span, -span) - 1) / TN_MAX(delta, -delta) + 1;
    }
    NEED(dims_ok(1, &n), 1, "a result that fits");
    return tni_plan_expect(c, 0, in[0].dtype, 1, &n);
}

TnStatus tni_plan_rule_dims(const PlanCheck *c) {
    P(TnDimsParams);
    PARAM(p->dtype == TN_I64 || p->dtype == TN_I32, "dtype", p->dtype);
    PARAM(p->n <= TN_DIMS_MAX && p->rank <= 1 && (p->rank == 1 || p->n == 1), "n", p->n);
    for (uint32_t i = 0; i < p->n; i++)
        PARAM(p->dim[i] < c->n_exprs, "dim", p->dim[i]);
    int64_t n = p->n;
    return tni_plan_expect(c, 0, (TnDtype)p->dtype, (int32_t)p->rank, &n);
}
