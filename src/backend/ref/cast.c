/* SPDX-License-Identifier: Apache-2.0
 *
 * cast, cast_transpose, quantize_linear, dequantize_linear. Casts follow ONNX to the bit: floats to floats round half to even, once; floats to integers
 * truncate and saturate; integers to narrower integers wrap; NaN to an integer is 0. */
#include <math.h>

#include "backend/ref/ref.h"

#define GRAIN 16384

/* A double that any narrower float type rounds as it would round v itself: where v has more than 53 bits, its lower bits are
 * gathered in a sticky bit that no narrower type can hold. */
static double wide_integer(int64_t v, bool is_u64) {
    bool neg = !is_u64 && v < 0;
    uint64_t m = neg ? 0u - (uint64_t)v : (uint64_t)v;
    if (m >> 53 != 0)
        m = (m >> 11 | ((m & 0x7ffu) != 0 ? 1u : 0u)) << 11;
    return neg ? -(double)m : (double)m;
}

static bool is_f8(TnDtype t) {
    return t >= TN_F8E4M3FN && t <= TN_F8E5M2FNUZ;
}

/* The float that rounds to fp8 as v does (round to odd). */
static float odd_f32(double v) {
    float f = (float)v;
    if (v != v || isinf(f) || (double)f == v)
        return f;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 1u) == 0)
        u = fabs((double)f) > fabs(v) ? u - 1 : u + 1;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Finite values beyond the largest finite number of a 16-bit float become that number. */
static double clamp_half(TnDtype to, double v) {
    const double most = to == TN_F16 ? 65504.0 : 0x1.fep127;
    return isfinite(v) && fabs(v) > most ? copysign(most, v) : v;
}

/* One element; fp8 without saturation and 16-bit floats with it are the conversions that base's store does not do. */
static void store_float(TnDtype to, uint32_t saturate, void *data, int64_t i, double v) {
    if (is_f8(to) && !saturate)
        ((uint8_t *)data)[i] = tni_f32_to_f8(to, odd_f32(v), false);
    else if ((to == TN_F16 || to == TN_BF16) && saturate == 2)
        tni_store_f64(to, data, i, clamp_half(to, v));
    else
        tni_store_f64(to, data, i, v);
}

static void cast_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const TnKernelCall *c = ctx;
    const TnTensor *x = &c->in[0], *y = &c->out[0];
    const TnDtype from = x->dtype, to = y->dtype;
    const uint32_t saturate = ((const TnCastParams *)c->params)->saturate;
    for (int64_t i = first; i < last; i++) {
        if (!tni_ref_exact(from)) {
            if (tni_ref_exact(to) && tn_dtype_bits(to) < 8) /* out of range is undefined: the low bits stay, as from integers */
                tni_store_i64(to, y->data, i, tni_load_i64(from, x->data, i));
            else
                store_float(to, saturate, y->data, i, tni_load_f64(from, x->data, i));
            continue;
        }
        int64_t v = tni_load_i64(from, x->data, i);
        if (tni_ref_exact(to))
            tni_store_i64(to, y->data, i, v);
        else if (to == TN_F64)
            tni_store_f64(to, y->data, i, from == TN_U64 ? (double)(uint64_t)v : (double)v);
        else
            store_float(to, saturate, y->data, i, wide_integer(v, from == TN_U64));
    }
}

TnStatus tni_ref_cast(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (x->dtype == y->dtype) {
        tni_ref_copy_run(tn_dtype_bits(x->dtype), y->data, 0, x->data, 0, tn_tensor_numel(y));
        return TN_OK;
    }
    if (x->dtype == TN_F32 && y->dtype == TN_F64) {
        tni_ref_load_f64(TN_F32, x->data, 0, 1, tn_tensor_numel(y), y->data);
        return TN_OK;
    }
    tni_ref_ranges(call->threads, tn_tensor_numel(y), GRAIN, cast_range, call);
    return TN_OK;
}

/* ---- cast_transpose ---- */
typedef struct Turned {
    const TnTensor *x, *y;
    int64_t strides[TN_MAX_RANK]; /* of x, for the axes of y */
} Turned;

static void turned_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Turned *t = ctx;
    for (int64_t i = first; i < last; i++) {
        int64_t rest = i, at = 0;
        for (int32_t d = t->y->rank - 1; d >= 0; d--) {
            at += rest % t->y->dims[d] * t->strides[d];
            rest /= t->y->dims[d];
        }
        store_float(t->y->dtype, 2, t->y->data, i, tni_load_f64(t->x->dtype, t->x->data, at));
    }
}

TnStatus tni_ref_cast_transpose(TnKernelCall *call) {
    const TnCastTransposeParams *p = call->params;
    Turned t = {.x = &call->in[0], .y = &call->out[0]};
    int64_t own[TN_MAX_RANK];
    if ((int32_t)p->n != t.x->rank || t.y->rank != t.x->rank || !tni_dtype_is_float(t.x->dtype) || !tni_dtype_is_float(t.y->dtype))
        return tni_ref_bad_call(call, "cast_transpose", "a permutation of another rank, or other types than floats");
    tni_ref_strides(t.x->rank, t.x->dims, own);
    for (int32_t d = 0; d < t.x->rank; d++) {
        if (p->perm[d] >= t.x->rank || t.y->dims[d] != t.x->dims[p->perm[d]])
            return tni_ref_bad_call(call, "cast_transpose", "dims that are not the permuted ones");
        t.strides[d] = own[p->perm[d]];
    }
    tni_ref_ranges(call->threads, tn_tensor_numel(t.y), GRAIN, turned_range, &t);
    return TN_OK;
}

/* ---- quantisation: which scale belongs to element i ---- */
typedef struct Quantize {
    const TnKernelCall *call;
    int64_t inner, axis_dim, blocks, block; /* x seen as [outer, axis_dim, inner]; scale as [outer, blocks, inner] or [axis_dim] or [1] */
    bool per_axis, blocked;
} Quantize;

static TnStatus quantize_setup(const TnKernelCall *call, const char *op, Quantize *q) {
    const TnQuantizeParams *p = call->params;
    const TnTensor *x = &call->in[0], *s = &call->in[1];
    *q = (Quantize){.call = call, .inner = 1, .axis_dim = 1, .blocks = 1, .block = 1};
    if (s->rank == 0 || (tn_tensor_numel(s) == 1 && p->block_size == 0))
        return TN_OK;
    int32_t axis = tni_ref_axis(p->axis, x->rank);
    if (axis < 0)
        return tni_ref_bad_call(call, op, "an axis outside the input's rank");
    q->axis_dim = x->dims[axis];
    q->inner = tni_ref_product_of(x->dims, axis + 1, x->rank);
    if (p->block_size == 0) {
        q->per_axis = true;
        return tn_tensor_numel(s) == q->axis_dim ? TN_OK : tni_ref_bad_call(call, op, "as many scales as the axis has elements");
    }
    q->blocked = true;
    q->block = p->block_size;
    q->blocks = s->rank == x->rank ? s->dims[axis] : 0;
    if (q->block < 1 || q->blocks < 1 || (q->axis_dim - 1) / q->block >= q->blocks ||
        tn_tensor_numel(s) != tn_tensor_numel(x) / TN_MAX(q->axis_dim, 1) * q->blocks)
        return tni_ref_bad_call(call, op, "scales that do not cover the input's blocks");
    return TN_OK;
}

static int64_t scale_index(const Quantize *q, int64_t i) {
    if (!q->per_axis && !q->blocked)
        return 0;
    int64_t a = i / q->inner % q->axis_dim;
    if (q->per_axis)
        return a;
    return (i / q->inner / q->axis_dim * q->blocks + a / q->block) * q->inner + i % q->inner;
}

/* v as the float type t holds it. */
static double round_to(TnDtype t, double v) {
    uint8_t one[8];
    tni_store_f64(t, one, 0, v);
    return tni_load_f64(t, one, 0);
}

static void quantize_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Quantize *q = ctx;
    const TnTensor *x = &q->call->in[0], *s = &q->call->in[1], *y = &q->call->out[0];
    bool zero = tni_ref_has(q->call, 2);
    const uint32_t saturate = ((const TnQuantizeParams *)q->call->params)->saturate != 0;
    TnDtype division = tni_dtype_is_float(s->dtype) ? s->dtype : TN_F32;
    for (int64_t i = first; i < last; i++) {
        int64_t at = scale_index(q, i);
        /* The quotient is rounded to the type of the division before it is rounded to an integer: ties depend on it. */
        double v = round_to(division, tni_load_f64(x->dtype, x->data, i) / tni_load_f64(s->dtype, s->data, at));
        double z = zero ? tni_load_f64(q->call->in[2].dtype, q->call->in[2].data, at) : 0.0;
        if (tni_ref_exact(y->dtype))
            tni_store_f64(y->dtype, y->data, i, nearbyint(v) + z);
        else
            store_float(y->dtype, saturate, y->data, i, v + z);
    }
}

TnStatus tni_ref_quantize_linear(TnKernelCall *call) {
    Quantize q;
    TN_TRY(quantize_setup(call, "quantize_linear", &q));
    /* Packed elements share bytes: ranges must be even, which GRAIN is. */
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, quantize_range, &q);
    return TN_OK;
}

static void dequantize_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Quantize *q = ctx;
    const TnTensor *x = &q->call->in[0], *s = &q->call->in[1], *y = &q->call->out[0];
    bool zero = tni_ref_has(q->call, 2);
    for (int64_t i = first; i < last; i++) {
        int64_t at = scale_index(q, i);
        double z = zero ? tni_load_f64(q->call->in[2].dtype, q->call->in[2].data, at) : 0.0;
        tni_store_f64(y->dtype, y->data, i, (tni_load_f64(x->dtype, x->data, i) - z) * tni_load_f64(s->dtype, s->data, at));
    }
}

TnStatus tni_ref_dequantize_linear(TnKernelCall *call) {
    Quantize q;
    TN_TRY(quantize_setup(call, "dequantize_linear", &q));
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, dequantize_range, &q);
    return TN_OK;
}
