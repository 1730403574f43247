/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: resampling, and moving between depth and space.
 * In: x and scales or sizes (constants or known contents). Out: dims floor(in * scale), or the sizes.
 * floor(in * scale) for a symbolic size needs a scale that is a small fraction a/b, proven to give what the product in binary32 gives for
 * sizes up to RESIZE_PROOF; other scales make data-dependent dims. */
#include "shape/rule.h"

#include <inttypes.h>
#include <math.h>

enum { RESIZE_PROOF = 4096, RESIZE_DEN = 64 };

static int64_t floor_product(int64_t d, float scale) {
    float v = floorf((float)d * scale);
    return v >= 0.0f && v < 9.0e18f ? (int64_t)v : -1;
}

/* scale = num / den in the sense above. */
static bool scale_fraction(float scale, int64_t *num, int64_t *den) {
    for (int64_t b = 1; b <= RESIZE_DEN; b++) {
        double a = nearbyint((double)scale * (double)b);
        if (a < 1 || a > 1e6 || (float)(a / (double)b) != scale)
            continue;
        for (int64_t d = 1; d <= RESIZE_PROOF; d++) {
            if (floor_product(d, scale) != d * (int64_t)a / b)
                return false;
        }
        *num = (int64_t)a;
        *den = b;
        return true;
    }
    return false;
}

static TnStatus scaled(ShapeRule *r, int32_t axis, TnDim in, float scale, TnDim *out) {
    int64_t d, num, den;
    if (!(scale > 0.0f) || !(scale < 1e6f))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the scale of axis %" PRId32 " is %g, expected a number > 0", axis, (double)scale);
    if (scale == 1.0f) {
        *out = in;
    } else if (tni_ir_dim_is_const(r->m, in, &d)) {
        if (floor_product(d, scale) < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " scaled by %g is too large", axis, (double)scale);
        *out = d_num(r, floor_product(d, scale));
    } else if (scale_fraction(scale, &num, &den)) {
        *out = d_floordiv(r, d_mul(r, in, d_num(r, num)), d_num(r, den));
    } else {
        *out = tni_shape_rule_data(r, 0, axis, d_mul(r, in, d_num(r, (int64_t)ceilf(scale))));
    }
    return TN_OK;
}

/* Scales as floats: constants have up to 8; contents known as fractions are exact. false: known only at run time. */
static bool read_scale(ShapeRule *r, const ShapeKnown *k, uint32_t i, float *scale) {
    int64_t num;
    const IrValue *v = in_at(r, 2);
    if (v->kind == IR_CONST && v->data != NULL) {
        *scale = (float)tni_load_f64(v->dtype, v->data, i);
        return true;
    }
    if (k == NULL || !tni_ir_dim_is_const(r->m, k->num[i], &num))
        return false;
    *scale = (float)((double)num / (double)k->den[i]);
    return true;
}

static TnStatus resize_axes(ShapeRule *r, int32_t *axes, uint32_t *n) {
    TnResizeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    *n = p->n_axes > 0 ? p->n_axes : (uint32_t)x->rank;
    if (p->n_axes > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " axes; a tensor has at most %d", p->n_axes, TN_MAX_RANK);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < *n; i++) { /* their order is that of the scales: normalised, but not sorted */
        if (p->n_axes > 0)
            TN_TRY(tni_shape_rule_axis(r, &p->axes[i], x->rank));
        axes[i] = p->n_axes > 0 ? p->axes[i] : (int32_t)i;
        if ((seen >> axes[i] & 1u) != 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " is named twice", axes[i]);
        seen |= 1u << axes[i];
    }
    return TN_OK;
}

/* keep_aspect with sizes: one scale for all axes, the smallest (not larger) or largest (not smaller); result dims round half up. */
static TnStatus keep_aspect(ShapeRule *r, const int32_t *axes, uint32_t n, const ShapeKnown *k, TnDim *dims) {
    const TnResizeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    double best = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t in, out;
        if (!tni_ir_dim_is_const(r->m, x->dims[axes[i]], &in) || !tni_shape_known_int(r, k, i, &out) || in < 1) {
            for (uint32_t j = 0; j < n; j++)
                dims[axes[j]] = tni_shape_rule_data(r, 0, axes[j], p->keep_aspect == 1 ? tni_shape_known_dim(k, j) : TN_DIM_NONE);
            return TN_OK;
        }
        double s = (double)out / (double)in;
        if (i == 0 || (p->keep_aspect == 1 ? s < best : s > best))
            best = s;
    }
    for (uint32_t i = 0; i < n; i++) {
        int64_t in = 1;
        tni_ir_dim_is_const(r->m, x->dims[axes[i]], &in);
        double v = floor(best * (double)in + 0.5);
        if (!(v >= 0 && v < 9e15))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " would become too large", axes[i]);
        dims[axes[i]] = d_num(r, (int64_t)v);
    }
    return TN_OK;
}

static TnStatus check_resize(ShapeRule *r, const TnResizeParams *p) {
    const IrValue *roi = in_at(r, 1), *scales = in_at(r, 2), *sizes = in_at(r, 3);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    if (p->mode > TN_RESIZE_CUBIC || p->coord > TN_COORD_TF_CROP_AND_RESIZE || p->nearest > TN_NEAREST_CEIL || p->keep_aspect > 2)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "a mode is not possible");
    if ((scales == NULL) == (sizes == NULL))
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "exactly one of scales and sizes must be given");
    if (p->coord == TN_COORD_TF_CROP_AND_RESIZE && roi == NULL)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "tf_crop_and_resize needs the operand roi");
    if (scales != NULL)
        TN_TRY(tni_shape_rule_type(r, 2, T_BIT(TN_F32)));
    if (sizes != NULL)
        TN_TRY(tni_shape_rule_type(r, 3, T_BIT(TN_I64)));
    return TN_OK;
}

TnStatus tni_shape_resize(ShapeRule *r) {
    const TnResizeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    int32_t axes[TN_MAX_RANK];
    TnDim dims[TN_MAX_RANK];
    uint32_t n, which = in_at(r, 2) != NULL ? 2 : 3;
    ShapeKnown k;
    TN_TRY(check_resize(r, p));
    TN_TRY(resize_axes(r, axes, &n));
    TN_TRY(tni_shape_rule_vector(r, which, d_num(r, n), "the number of scales or sizes and of axes"));
    if (in_at(r, 1) != NULL && p->coord == TN_COORD_TF_CROP_AND_RESIZE)
        TN_TRY(tni_shape_rule_vector(r, 1, d_num(r, 2 * (int64_t)n), "the length of roi and twice the number of axes"));
    memcpy(dims, x->dims, sizeof dims);
    bool known = tni_shape_known(r, which, &k) && k.n == n;
    if (which == 3 && p->keep_aspect != 0 && known) {
        TN_TRY(keep_aspect(r, axes, n, &k, dims));
    } else {
        for (uint32_t i = 0; i < n; i++) {
            float scale;
            if (which == 3)
                dims[axes[i]] = known ? tni_shape_known_dim(&k, i) : TN_DIM_NONE;
            else if (read_scale(r, known ? &k : NULL, i, &scale))
                TN_TRY(scaled(r, axes[i], x->dims[axes[i]], scale, &dims[axes[i]]));
            else /* a scale computed from dims, such as (2*h)/h: exact when it divides */
                dims[axes[i]] = known && k.num[i] != TN_DIM_NONE ? d_floordiv(r, d_mul(r, x->dims[axes[i]], k.num[i]), d_num(r, k.den[i]))
                                                                 : TN_DIM_NONE;
        }
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}

TnStatus tni_shape_roi_align(ShapeRule *r) {
    const TnRoiAlignParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *rois = in_at(r, 1);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_same_type(r, 1, 0));
    TN_TRY(tni_shape_rule_type(r, 2, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_rank(r, 0, 4, 4));
    TN_TRY(tni_shape_rule_rank(r, 1, 2, 2));
    TN_TRY(tni_shape_rule_equal(r, rois->dims[1], d_num(r, 4), "columns of the boxes and 4"));
    TN_TRY(tni_shape_rule_vector(r, 2, rois->dims[0], "batch indices and boxes"));
    if (p->output_height < 1 || p->output_width < 1 || p->sampling_ratio < 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "output %" PRId32 " x %" PRId32 " or sampling_ratio %" PRId32 " is not possible",
                                   p->output_height, p->output_width, p->sampling_ratio);
    TnDim dims[4] = {rois->dims[0], x->dims[1], d_num(r, p->output_height), d_num(r, p->output_width)};
    tni_shape_rule_set(r, 0, x->dtype, 4, dims);
    return TN_OK;
}

/* a / b where b must divide a. */
static TnStatus exact_div(ShapeRule *r, TnDim a, int64_t b, const char *what, TnDim *out) {
    int64_t v;
    if (tni_ir_dim_is_const(r->m, a, &v) && v % b != 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%s (%" PRId64 ") is no multiple of %" PRId64, what, v, b);
    *out = d_floordiv(r, a, d_num(r, b));
    return TN_OK;
}

static TnStatus check_block(ShapeRule *r, uint32_t block) {
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_rank(r, 0, 4, 4));
    if (block < 1 || block > 65536)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "block size %" PRIu32 " is not possible", block);
    return TN_OK;
}

TnStatus tni_shape_depth_to_space(ShapeRule *r) {
    const TnSpaceDepthParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(check_block(r, p->block));
    TnDim b = d_num(r, p->block), dims[4] = {x->dims[0], 0, d_mul(r, x->dims[2], b), d_mul(r, x->dims[3], b)};
    TN_TRY(exact_div(r, x->dims[1], (int64_t)p->block * p->block, "the number of channels", &dims[1]));
    tni_shape_rule_set(r, 0, x->dtype, 4, dims);
    return TN_OK;
}

TnStatus tni_shape_space_to_depth(ShapeRule *r) {
    const TnSpaceDepthParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(check_block(r, p->block));
    TnDim dims[4] = {x->dims[0], d_mul(r, x->dims[1], d_num(r, (int64_t)p->block * p->block)), 0, 0};
    TN_TRY(exact_div(r, x->dims[2], p->block, "the height", &dims[2]));
    TN_TRY(exact_div(r, x->dims[3], p->block, "the width", &dims[3]));
    tni_shape_rule_set(r, 0, x->dtype, 4, dims);
    return TN_OK;
}
