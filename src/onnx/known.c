/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known of values while importing: element type, rank, and the length of vectors, as far as simple rules go. Shape inference comes
 * later and knows all; this is only for operators of old versions whose translation needs a rank (Softmax before opset 13, reductions over
 * all axes) or a type (CastLike, constants made from attributes). Unknown is always a right answer here. */
#include "onnx/import.h"
#include "base/dtype.h"

static const OnnxKnown nothing = {TN_UNDEFINED, -1, -1, -1};

typedef struct Facts {
    const IrGraph *g;
    const void *params;
    const OnnxKnown *in;
    const IrValueId *ids;
    uint32_t n_in;
    OnnxKnown out; /* dtype and rank of input 0 to begin with; the rest unknown */
} Facts;

typedef void (*RuleFn)(Facts *f);

static void same(Facts *f) {
    f->out.len = f->in[0].len;
    f->out.value = f->in[0].value;
}
static void same_shape(Facts *f) {
    f->out.len = f->in[0].len;
}
static void same_shape_only(Facts *f) {
    (void)f;
}

static void unary(Facts *f) {
    const TnUnaryParams *p = f->params;
    same_shape(f);
    if (p->fn == TN_UNARY_isnan || p->fn == TN_UNARY_isinf)
        f->out.dtype = TN_BOOL;
}

/* Rank and length of operands broadcast together. */
static void broadcast(Facts *f, uint32_t from) {
    int32_t rank = 0, len = 1;
    for (uint32_t i = from; i < f->n_in; i++) {
        int32_t r = f->in[i].rank, n = r == 0 ? 1 : f->in[i].len;
        rank = rank < 0 || r < 0 ? -1 : TN_MAX(rank, r);
        len = len < 0 || n < 0 ? -1 : TN_MAX(len, n);
    }
    f->out.rank = rank;
    f->out.len = rank == 1 ? len : -1;
}

static void binary(Facts *f) {
    const TnBinaryParams *p = f->params;
    broadcast(f, 0);
    if (p->fn == TN_BINARY_equal && f->in[0].value >= 0 && f->in[1].value >= 0)
        f->out.value = f->in[0].value == f->in[1].value;
    if (p->fn >= TN_BINARY_equal && p->fn <= TN_BINARY_xor_)
        f->out.dtype = TN_BOOL;
    else if (f->out.dtype == TN_UNDEFINED && p->fn != TN_BINARY_pow)
        f->out.dtype = f->in[1].dtype;
}

static void where(Facts *f) {
    broadcast(f, 0);
    f->out.dtype = f->in[1].dtype != TN_UNDEFINED ? f->in[1].dtype : f->in[2].dtype;
}

static void cast(Facts *f) {
    same(f); /* an integer keeps its value where it fits */
    f->out.dtype = (TnDtype)((const TnCastParams *)f->params)->to;
}

static void quantize(Facts *f) {
    const TnQuantizeParams *p = f->params;
    same_shape(f);
    f->out.dtype = p->output_dtype != 0 ? (TnDtype)p->output_dtype : f->n_in > 2 ? f->in[2].dtype : TN_U8;
}

static void dequantize(Facts *f) {
    const TnQuantizeParams *p = f->params;
    same_shape(f);
    f->out.dtype = p->output_dtype != 0 ? (TnDtype)p->output_dtype : f->in[1].dtype;
}

static void reduce(Facts *f) {
    const TnReduceParams *p = f->params;
    if (f->out.rank >= 0 && !p->keepdims)
        f->out.rank = f->out.rank >= (int32_t)p->n_axes ? f->out.rank - (int32_t)p->n_axes : -1;
}

static void reduce_axes(Facts *f) {
    const TnReduceAxesParams *p = f->params;
    int32_t n = f->in[1].len;
    if (!p->keepdims)
        f->out.rank = f->out.rank < 0 || n < 0 || n > f->out.rank ? -1 : n == 0 && !p->noop ? 0 : f->out.rank - n;
}

static void cast_type(Facts *f) {
    same_shape(f);
    f->out.dtype = (TnDtype)((const TnCastParams *)f->params)->to;
}

static void random_numbers(Facts *f) {
    f->out.dtype = (TnDtype)((const TnRandomParams *)f->params)->dtype;
    f->out.rank = f->in[0].len;
}

static void recurrent(Facts *f) {
    f->out.rank = 4; /* the states have 3 */
}

static void arg_reduce(Facts *f) {
    const TnArgReduceParams *p = f->params;
    f->out.dtype = TN_I64;
    if (f->out.rank > 0 && !p->keepdims)
        f->out.rank--;
}

static void matmul(Facts *f) {
    int32_t a = f->in[0].rank, b = f->in[1].rank;
    if (f->out.dtype == TN_UNDEFINED)
        f->out.dtype = f->in[1].dtype;
    if (a < 1 || b < 1)
        f->out.rank = -1;
    else
        f->out.rank = TN_MAX(a, b) - (a == 1) - (b == 1) + (a == 1 && b == 1 ? 1 : 0);
}

static void matmul_integer(Facts *f) {
    f->out.dtype = TN_I32;
    matmul(f);
}

static void conv_integer(Facts *f) {
    same_shape_only(f);
    f->out.dtype = TN_I32;
}

static void unknown_rank(Facts *f) {
    f->out.rank = -1;
}

static void reshape(Facts *f) {
    const TnReshapeParams *p = f->params;
    int32_t r = f->in[0].rank;
    f->out.rank = -1;
    if (p->kind == TN_RESHAPE_FLATTEN)
        f->out.rank = 2;
    else if (p->kind == TN_RESHAPE_SHAPE && f->n_in > 1)
        f->out.rank = f->in[1].len;
    else if (p->kind == TN_RESHAPE_UNSQUEEZE && r >= 0)
        f->out.rank = r + (int32_t)p->n_axes;
    else if (p->kind == TN_RESHAPE_SQUEEZE && r >= (int32_t)p->n_axes && p->n_axes > 0)
        f->out.rank = r - (int32_t)p->n_axes;
    if (f->out.rank == 1)
        f->out.len = r == 0 ? 1 : r == 1 ? f->in[0].len : -1;
    f->out.value = f->in[0].value;
}

static void concat(Facts *f) {
    int32_t len = 0, rank = -1;
    for (uint32_t i = 0; i < f->n_in; i++) {
        rank = TN_MAX(rank, f->in[i].rank);
        len = len < 0 || f->in[i].len < 0 || len > INT32_MAX - f->in[i].len ? -1 : len + f->in[i].len;
        if (f->out.dtype == TN_UNDEFINED)
            f->out.dtype = f->in[i].dtype;
    }
    f->out.rank = rank;
    f->out.len = rank == 1 ? len : -1;
}

/* Element 0 of a constant vector or scalar of 64-bit integers. */
static bool const_i64(const Facts *f, uint32_t i, int64_t *out) {
    if (i >= f->n_in || f->ids[i] == TN_NO_VALUE)
        return false;
    const IrValue *v = &f->g->values[f->ids[i]];
    if (v->kind != IR_CONST || (v->dtype != TN_I64 && v->dtype != TN_I32) || v->data == NULL)
        return false;
    *out = tni_load_i64(v->dtype, v->data, 0);
    return true;
}

static void slice(Facts *f) {
    int64_t n = f->in[0].len, start = 0, end = 0, step = 1;
    bool steps_known = f->n_in < 5 || f->ids[4] == TN_NO_VALUE || const_i64(f, 4, &step);
    if (f->out.rank != 1 || n < 0 || !const_i64(f, 1, &start) || !const_i64(f, 2, &end) || !steps_known || step != 1)
        return;
    start = TN_MAX(TN_MIN(start < 0 && start >= -n ? start + n : start, n), 0);
    end = TN_MAX(TN_MIN(end < 0 && end >= -n ? end + n : end, n), 0);
    f->out.len = (int32_t)TN_MAX(end - start, 0);
}

static void gather(Facts *f) {
    int32_t r = f->in[0].rank, q = f->in[1].rank;
    f->out.rank = r < 1 || q < 0 ? -1 : r + q - 1;
    if (f->out.rank == 1 && r == 1)
        f->out.len = f->in[1].len;
    if (r == 1 && f->in[0].len == 1 && f->in[1].value == 0)
        f->out.value = f->in[0].value;
}

static void gather_elements(Facts *f) {
    f->out.rank = f->in[1].rank;
}

static void one_hot(Facts *f) {
    f->out.rank = f->in[0].rank < 0 ? -1 : f->in[0].rank + 1;
    f->out.dtype = f->in[2].dtype;
}

static void expand(Facts *f) {
    int32_t r = f->in[0].rank, n = f->in[1].len;
    f->out.rank = r < 0 || n < 0 ? -1 : TN_MAX(r, n);
}

static void eye_like(Facts *f) {
    const TnEyeLikeParams *p = f->params;
    if (p->dtype != 0)
        f->out.dtype = (TnDtype)p->dtype;
}

static void indices(Facts *f) {
    f->out.dtype = TN_I64;
    f->out.rank = 2;
}

static void shape(Facts *f) {
    const TnShapeParams *p = f->params;
    int64_t r = f->in[0].rank, start = p->start, end = p->end;
    f->out = (OnnxKnown){TN_I64, 1, -1, -1};
    if (r < 0)
        return;
    start = TN_MAX(TN_MIN(start < 0 ? start + r : start, r), 0);
    end = TN_MAX(TN_MIN(end < 0 ? end + r : end, r), 0);
    f->out.len = (int32_t)TN_MAX(end - start, 0);
    if (r == 1 && f->out.len == 1)
        f->out.value = f->in[0].len;
}

static void size(Facts *f) {
    f->out = (OnnxKnown){TN_I64, 0, -1, f->in[0].rank == 1 ? f->in[0].len : -1};
}

static void constant_of_shape(Facts *f) {
    f->out.dtype = (TnDtype)((const TnFillParams *)f->params)->dtype;
    f->out.rank = f->in[0].len;
    if (f->out.rank == 1)
        f->out.len = f->in[0].value;
}

static void range(Facts *f) {
    f->out.rank = 1;
}

static void einsum(Facts *f) {
    const TnEinsumParams *p = f->params;
    const char *arrow = strstr(p->equation, "->");
    f->out.rank = arrow == NULL || strchr(arrow, '.') != NULL ? -1 : (int32_t)strlen(arrow + 2);
}

static void roi_align(Facts *f) {
    f->out.rank = 4;
}

static void nothing_known(Facts *f) {
    f->out = nothing;
}

/* Operators without a row: nothing is known of their outputs. */
static const RuleFn rules[TN_OP_COUNT] = {
    [TN_OP_unary] = unary,
    [TN_OP_binary] = binary,
    [TN_OP_where] = where,
    [TN_OP_clip] = same_shape,
    [TN_OP_cast] = cast,
    [TN_OP_quantize_linear] = quantize,
    [TN_OP_dequantize_linear] = dequantize,
    [TN_OP_reduce] = reduce,
    [TN_OP_reduce_axes] = reduce_axes,
    [TN_OP_bit_cast] = cast_type,
    [TN_OP_cumprod] = same_shape,
    [TN_OP_det] = unknown_rank,
    [TN_OP_dft] = same_shape_only,
    [TN_OP_random] = random_numbers,
    [TN_OP_recurrent] = recurrent,
    [TN_OP_linear_attention] = same_shape_only,
    [TN_OP_deform_conv] = same_shape_only,
    [TN_OP_roi_pool] = roi_align,
    [TN_OP_col2im] = unknown_rank,
    [TN_OP_grid_sample] = same_shape_only,
    [TN_OP_arg_reduce] = arg_reduce,
    [TN_OP_cumsum] = same_shape,
    [TN_OP_softmax] = same_shape,
    [TN_OP_layer_norm] = same_shape,
    [TN_OP_rms_norm] = same_shape,
    [TN_OP_batch_norm] = same_shape,
    [TN_OP_instance_norm] = same_shape,
    [TN_OP_group_norm] = same_shape,
    [TN_OP_matmul] = matmul,
    [TN_OP_matmul_integer] = matmul_integer,
    [TN_OP_gemm] = same_shape_only,
    [TN_OP_einsum] = einsum,
    [TN_OP_conv] = same_shape_only,
    [TN_OP_conv_integer] = conv_integer,
    [TN_OP_conv_transpose] = same_shape_only,
    [TN_OP_pool] = same_shape_only,
    [TN_OP_resize] = same_shape_only,
    [TN_OP_identity] = same,
    [TN_OP_reshape] = reshape,
    [TN_OP_transpose] = same,
    [TN_OP_concat] = concat,
    [TN_OP_split] = same_shape_only,
    [TN_OP_slice] = slice,
    [TN_OP_pad] = same_shape_only,
    [TN_OP_expand] = expand,
    [TN_OP_tile] = same_shape_only,
    [TN_OP_gather] = gather,
    [TN_OP_gather_elements] = gather_elements,
    [TN_OP_gather_nd] = unknown_rank,
    [TN_OP_scatter_nd] = same_shape,
    [TN_OP_scatter_elements] = same_shape,
    [TN_OP_one_hot] = one_hot,
    [TN_OP_trilu] = same_shape,
    [TN_OP_eye_like] = eye_like,
    [TN_OP_depth_to_space] = same_shape_only,
    [TN_OP_space_to_depth] = same_shape_only,
    [TN_OP_topk] = same_shape_only,
    [TN_OP_nonzero] = indices,
    [TN_OP_compress] = unknown_rank,
    [TN_OP_unique] = unknown_rank,
    [TN_OP_non_max_suppression] = indices,
    [TN_OP_roi_align] = roi_align,
    [TN_OP_shape] = shape,
    [TN_OP_size] = size,
    [TN_OP_constant_of_shape] = constant_of_shape,
    [TN_OP_range] = range,
};

OnnxKnown tni_onnx_known(const OnnxTarget *t, IrValueId v) {
    if (v == TN_NO_VALUE)
        return nothing;
    const IrValue *value = &t->g->values[v];
    if (value->kind == IR_CONST) {
        OnnxKnown k = {.dtype = value->dtype, .rank = value->rank, .len = -1, .value = -1};
        int64_t n = 0;
        if (value->rank == 1 && tni_ir_dim_is_const(t->m, value->dims[0], &n) && n <= INT32_MAX)
            k.len = (int32_t)n;
        if ((value->rank == 0 || k.len == 1) && (value->dtype == TN_I64 || value->dtype == TN_I32)) {
            int64_t x = tni_load_i64(value->dtype, value->data, 0);
            k.value = x >= 0 && x <= INT32_MAX ? (int32_t)x : -1;
        }
        return k;
    }
    return v < t->n_known ? t->known[v] : nothing;
}

TnStatus tni_onnx_known_set(OnnxImport *imp, OnnxTarget *t, IrValueId v, OnnxKnown k, TnError *err) {
    if (v == TN_NO_VALUE)
        return TN_OK;
    while (t->n_known <= v) {
        if (!TN_RESERVE_ONE(imp->scratch, t->known, t->n_known, t->cap_known))
            return TN_OOM(err, (size_t)t->n_known * 2 * sizeof *t->known);
        t->known[t->n_known++] = nothing;
    }
    if (k.rank > TN_MAX_RANK)
        k.rank = -1;
    t->known[v] = k;
    return TN_OK;
}

TnStatus tni_onnx_known_node(OnnxImport *imp, OnnxTarget *t, TnOp op, const void *params, const IrValueId *in, uint32_t n_in,
                             const IrValueId *out, uint32_t n_out, TnError *err) {
    static const uint8_t no_params[sizeof(TnPointwiseParams)] = {0};
    OnnxKnown few[8], *facts = few;
    if (n_in > TN_COUNT(few)) {
        facts = tni_arena_calloc(imp->scratch, n_in, sizeof *facts);
        if (facts == NULL)
            return TN_OOM(err, n_in * sizeof *facts);
    }
    for (uint32_t i = 0; i < TN_COUNT(few); i++)
        few[i] = nothing;
    for (uint32_t i = 0; i < n_in; i++)
        facts[i] = tni_onnx_known(t, in[i]);
    Facts f = {.g = t->g, .params = params == NULL ? no_params : params, .in = facts, .ids = in, .n_in = n_in, .out = facts[0]};
    f.out.len = f.out.value = -1;
    (rules[op] == NULL ? nothing_known : rules[op])(&f);
    for (uint32_t i = 0; i < n_out; i++) {
        OnnxKnown k = f.out;
        if (i > 0 && (op == TN_OP_topk || op == TN_OP_pool || op == TN_OP_unique))
            k.dtype = TN_I64;
        if (i > 0 && op == TN_OP_recurrent)
            k.rank = 3;
        if (i > 0 && op == TN_OP_linear_attention)
            k.rank = 4;
        TN_TRY(tni_onnx_known_set(imp, t, out[i], k, err));
    }
    return TN_OK;
}
