/* SPDX-License-Identifier: Apache-2.0
 *
 * A float32 case in another element type. The generators know float32 only; here their data is rounded to the type, given to the device in
 * it and to the reference as the rounded float32 values. */
#include <math.h>
#include <stdlib.h>

#include "cuda/checkcuda.h"

/* Operators whose cases are worth having in every float type: those that compute. Moves go by element size and pick their types anyway. */
static bool computes(TnOp op) {
    switch (op) {
    case TN_OP_unary:
    case TN_OP_binary:
    case TN_OP_where:
    case TN_OP_clip:
    case TN_OP_pointwise:
    case TN_OP_reduce:
    case TN_OP_arg_reduce:
    case TN_OP_cumsum:
    case TN_OP_softmax:
    case TN_OP_layer_norm:
    case TN_OP_add_layer_norm:
    case TN_OP_rms_norm:
    case TN_OP_batch_norm:
    case TN_OP_instance_norm:
    case TN_OP_group_norm:
    case TN_OP_matmul:
    case TN_OP_gemm:
    case TN_OP_mlp:
    case TN_OP_einsum:
    case TN_OP_attention:
    case TN_OP_attention_step:
    case TN_OP_relative_bias:
    case TN_OP_cache_append:
    case TN_OP_conv:
    case TN_OP_conv_transpose:
    case TN_OP_pool:
    case TN_OP_resize:
    case TN_OP_topk:
    case TN_OP_scatter_nd:
    case TN_OP_scatter_elements:
    case TN_OP_roi_align:
        return true;
    default:
        return false;
    }
}

/* Floats that stay float32 whatever the type of the step. */
static bool stays(const Case *c, uint32_t in) {
    if (c->op == TN_OP_resize)
        return in > 0;            /* roi, scales */
    if (c->op == TN_OP_attention && c->k >= CK_DENSE_ATTENTION)
        return in == ((c->k - CK_DENSE_ATTENTION) % 3 == 0 ? 4u : (c->k - CK_DENSE_ATTENTION) % 3 == 2 ? 3u : 5u);
    if (c->op == TN_OP_attention) /* biases may be of either type: both are met */
        return in >= 3 && c->k % 2 == 0;
    return false;
}

static bool has_float(const Case *c) {
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i].dtype == TN_F32 && !stays(c, i))
            return true;
    return false;
}

const int64_t variant_dims[CASE_DIMS] = {1, 2, 709, 512, 197, 0, 64, 768, 3, 5, 7, 11, 13, 17, INT32_MAX, 1000};

TnTensor variant_out(const Variant *v, uint32_t i) {
    TnTensor t = v->out[i];
    t.rank = v->c->out[i].rank;
    memcpy(t.dims, v->c->out[i].dims, sizeof t.dims);
    return t;
}

static bool has_i32(const Case *c) {
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i].dtype == TN_I32)
            return true;
    return false;
}

uint32_t variant_types(const Case *c, TnDtype *types) {
    uint32_t n = 0;
    types[n++] = TN_UNDEFINED;
    if (computes(c->op) && has_float(c)) {
        types[n++] = TN_F16;
        types[n++] = TN_BF16;
    }
    if (c->op == TN_OP_matmul || c->op == TN_OP_einsum || c->op == TN_OP_pool)
        types[n++] = TN_I32; /* for float32 */
    if ((c->op == TN_OP_unary || c->op == TN_OP_binary || c->op == TN_OP_clip) && has_i32(c))
        types[n++] = TN_U8; /* for int32 */
    return n;
}

/* v in the type, as the device saturates: beyond the range it becomes the largest value. */
static float rounded(TnDtype t, float v) {
    const float most = t == TN_F16 ? 65504.0f : 3.38953139e38f;
    if (isnan(v) || isinf(v))
        return v;
    if (t == TN_F16 && v != 0.0f && fabsf(v) < 1e-30f) /* float32's subnormals stand for this type's */
        v = copysignf(3.0f * 0x1p-24f, v);
    v = fminf(fmaxf(v, -most), most);
    return t == TN_F16 ? tni_f16_to_f32(tni_f32_to_f16(v)) : tni_bf16_to_f32(tni_f32_to_bf16(v));
}

static bool convert(Variant *v, uint32_t i) {
    TnTensor *from = &v->c->in[i], *to = &v->in[i];
    const int64_t n = tn_tensor_numel(from);
    float *values = from->data;
    to->dtype = v->real;
    uint16_t *data = v->owned[i] = malloc((size_t)TN_MAX(n, 1) * 2);
    if (data == NULL)
        return false;
    for (int64_t j = 0; j < n; j++) {
        float r = rounded(v->real, values[j]);
        values[j] = r;
        data[j] = v->real == TN_F16 ? tni_f32_to_f16(r) : tni_f32_to_bf16(r);
    }
    to->data = data;
    return true;
}

/* Integers instead: on both sides, since the reference has them too. The case's own memory is large enough. */
static bool make_integers(Variant *v) {
    Case *c = v->c;
    const TnDtype from = v->real == TN_U8 ? TN_I32 : TN_F32;
    for (uint32_t i = 0; i < c->n_in; i++) {
        TnTensor *t = &c->in[i];
        if (t->dtype != from || t->data == NULL || tni_op_host_inputs(c->op) >> i & 1u)
            continue;
        for (int64_t j = 0, n = tn_tensor_numel(t); j < n; j++) { /* in place: an integer lies where its source did, or before */
            double x = tni_load_f64(from, t->data, j);
            tni_store_i64(v->real, t->data, j, isfinite(x) && fabs(x) < 1e6 ? (int64_t)(from == TN_F32 ? x * 10.0 : x) : 7);
        }
        t->dtype = v->real;
    }
    for (uint32_t i = 0; i < c->n_out; i++)
        if (c->out[i].dtype == from)
            c->out[i].dtype = v->real;
    memcpy(v->in, c->in, sizeof v->in);
    memcpy(v->out, c->out, sizeof v->out);
    return true;
}

bool variant_make(Variant *v, Case *c, TnDtype real) {
    memset(v, 0, sizeof *v);
    v->c = c;
    v->real = real;
    memcpy(v->in, c->in, sizeof v->in);
    memcpy(v->out, c->out, sizeof v->out);
    if (real == TN_UNDEFINED)
        return true;
    if (!tni_dtype_is_float(real))
        return make_integers(v);
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i].dtype == TN_F32 && c->in[i].data != NULL && !stays(c, i) && !convert(v, i)) {
            variant_free(v);
            return false;
        }
    for (uint32_t i = 0; i < c->n_out; i++)
        if (c->out[i].dtype == TN_F32)
            v->out[i].dtype = real;
    return true;
}

void variant_free(Variant *v) {
    for (uint32_t i = 0; i < CASE_IN; i++) {
        free(v->owned[i]);
        v->owned[i] = NULL;
    }
}
