/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of operators that move or reshape data. */
#include "base/dtype.h"
#include "onnx/dynamic.h"
#include "onnx/express.h"

/* Training: mask = uniform >= ratio, y = mask ? x / (1 - ratio) : 0, as far as training_mode is true at run time. */
static TnStatus dropout_training(OnnxCall *c) {
    OnnxX x = {.c = c};
    TnDtype t = tni_x_need_dtype(&x, 0);
    int64_t seed = (int64_t)tni_hash(c->name, strlen(c->name), 0x7465);
    TN_TRY(tni_onnx_attr_i64(c, "seed", &seed));
    TnRandomParams p = {.kind = TN_RANDOM_UNIFORM, .dtype = TN_F32, .seed_low = (uint32_t)seed, .a = 0, .b = 1};
    p.seed_high = (uint32_t)((uint64_t)seed >> 32);
    IrValueId shape = tni_x_shape(&x, c->in[0]), off = tni_x_unary(&x, TN_UNARY_not_, c->in[2]);
    IrValueId ratio = tni_onnx_has(c, 1) ? tni_x_cast(&x, c->in[1], TN_F32) : tni_x_number(&x, TN_F32, 0.5);
    IrValueId kept = tni_x_binary(&x, TN_BINARY_greater_equal, tni_x_op(&x, TN_OP_random, &p, &shape, 1), ratio);
    IrValueId mask = tni_x_binary(&x, TN_BINARY_or_, kept, off), one = tni_x_number(&x, TN_F32, 1);
    IrValueId left = tni_x_where(&x, off, one, tni_x_binary(&x, TN_BINARY_sub, one, ratio));
    IrValueId y = tni_x_binary(&x, TN_BINARY_div, c->in[0], tni_x_cast(&x, left, t));
    TN_TRY(tni_x_finish(&x, 0, tni_x_where(&x, mask, y, tni_x_number(&x, t, 0))));
    return tni_x_finish(&x, 1, mask);
}

/* Inference: the data pass; the mask is all true. */
TnStatus tni_onnx_convert_dropout(OnnxCall *c) {
    TnTensor t;
    if (tni_onnx_has(c, 2) && (!tni_onnx_in_const(c, 2, &t) || tn_tensor_numel(&t) != 1 || tni_load_i64(t.dtype, t.data, 0) != 0))
        return dropout_training(c);
    (void)tni_onnx_attr(c, "ratio");
    (void)tni_onnx_attr(c, "seed");
    if (c->opset < 7)
        (void)tni_onnx_attr(c, "is_test");
    TN_TRY(tni_onnx_emit_identity(c, c->in[0]));
    OnnxX x = {.c = c};
    return tni_onnx_wants(c, 1) ? tni_x_finish(&x, 1, tni_x_fill(&x, tni_x_shape(&x, c->in[0]), TN_BOOL, 1)) : TN_OK;
}

TnStatus tni_onnx_convert_reshape(OnnxCall *c) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    p.kind = TN_RESHAPE_SHAPE;
    TN_TRY(tni_onnx_attr_bool(c, "allowzero", &p.allowzero));
    return tni_onnx_emit(c, TN_OP_reshape, &p, c->in, 2);
}

TnStatus tni_onnx_convert_flatten(OnnxCall *c) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    p.kind = TN_RESHAPE_FLATTEN;
    p.axis = 1;
    TN_TRY(tni_onnx_attr_i32(c, "axis", -TN_MAX_RANK, TN_MAX_RANK, &p.axis));
    return tni_onnx_emit(c, TN_OP_reshape, &p, c->in, 1);
}

/* c->arg: TN_RESHAPE_SQUEEZE or TN_RESHAPE_UNSQUEEZE. Axes are an attribute, or operand 1 from opset 13 on. */
TnStatus tni_onnx_convert_squeeze(OnnxCall *c) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    bool given = false;
    p.kind = c->arg;
    if (tni_onnx_axes_computed(c, 1))
        return p.kind == TN_RESHAPE_SQUEEZE ? tni_onnx_dynamic_squeeze(c) : tni_onnx_dynamic_unsqueeze(c);
    TN_TRY(tni_onnx_axes(c, 1, p.axes, &p.n_axes, &given));
    if (!given && p.kind == TN_RESHAPE_UNSQUEEZE)
        return ONNX_BAD(c, "axes are required");
    if (given && p.n_axes == 0)
        return tni_onnx_emit_identity(c, c->in[0]);
    int32_t rank = tni_onnx_in_known(c, 0).rank, full = rank + (p.kind == TN_RESHAPE_UNSQUEEZE ? (int32_t)p.n_axes : 0);
    for (uint32_t i = 0; rank >= 0 && i < p.n_axes; i++) {
        if (p.axes[i] < -full || p.axes[i] >= full)
            return ONNX_BAD(c, "axis %d is out of range for an operand of rank %d", p.axes[i], rank);
        p.axes[i] += p.axes[i] < 0 ? full : 0;
    }
    for (uint32_t i = 1; i < p.n_axes; i++)
        for (uint32_t k = i; k > 0 && p.axes[k] <= p.axes[k - 1]; k--) {
            if (p.axes[k] == p.axes[k - 1])
                return ONNX_BAD(c, "axis %d is given twice", p.axes[k]);
            int32_t t = p.axes[k];
            p.axes[k] = p.axes[k - 1];
            p.axes[k - 1] = t;
        }
    return tni_onnx_emit(c, TN_OP_reshape, &p, c->in, 1);
}

TnStatus tni_onnx_convert_transpose(OnnxCall *c) {
    TnTransposeParams p;
    memset(&p, 0, sizeof p);
    int32_t perm[TN_MAX_RANK];
    int32_t rank = tni_onnx_in_known(c, 0).rank;
    uint32_t seen = 0;
    TN_TRY(tni_onnx_attr_i32s(c, "perm", 0, TN_MAX_RANK - 1, perm, TN_MAX_RANK, &p.n));
    if (!tni_onnx_has_attr(c, "perm")) {
        p.n = rank < 0 ? 0 : (uint32_t)rank; /* not known here: shape inference turns all axes round */
        for (uint32_t i = 0; i < p.n; i++)
            perm[i] = rank - 1 - (int32_t)i;
    }
    if (rank >= 0 && p.n != (uint32_t)rank)
        return ONNX_BAD(c, "attribute 'perm' has %u numbers, operand 0 has rank %d", p.n, rank);
    for (uint32_t i = 0; i < p.n; i++) {
        if ((uint32_t)perm[i] >= p.n || (seen >> perm[i] & 1) != 0)
            return ONNX_BAD(c, "attribute 'perm' is no permutation of 0..%u", p.n - 1);
        seen |= 1u << perm[i];
        p.perm[i] = (uint8_t)perm[i];
    }
    return tni_onnx_emit(c, TN_OP_transpose, &p, c->in, 1);
}

/* More operands than the IR's concat takes become a concat of concats. */
TnStatus tni_onnx_convert_concat(OnnxCall *c) {
    TnAxisParams p = {.axis = 0, .n = 0};
    if (!tni_onnx_has_attr(c, "axis"))
        return ONNX_BAD(c, "attribute 'axis' is required");
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i] == TN_NO_VALUE)
            return ONNX_BAD(c, "operand %u is missing", i);
    uint32_t most = tni_op_info(TN_OP_concat)->max_in, n = c->n_in;
    while (n > most) {
        uint32_t parts = 0;
        for (uint32_t i = 0; i < n; i += most)
            TN_TRY(tni_onnx_temp(c, "part", TN_OP_concat, &p, c->in + i, TN_MIN(most, n - i), &c->in[parts++]));
        n = parts;
    }
    return tni_onnx_emit(c, TN_OP_concat, &p, c->in, n);
}

/* Sizes: attribute (before opset 13) or operand 1; else equal parts, as many as outputs. */
TnStatus tni_onnx_convert_split(OnnxCall *c) {
    TnAxisParams p = {.axis = 0, .n = c->n_out};
    const int64_t *sizes = NULL;
    uint32_t n = 0;
    int32_t parts = 0;
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_attr_ints(c, "split", &sizes, &n));
    TN_TRY(tni_onnx_attr_i32(c, "num_outputs", 0, INT32_MAX, &parts));
    if (parts != 0 && (uint32_t)parts != c->n_out)
        return ONNX_BAD(c, "attribute 'num_outputs' is %d, the node has %u outputs", parts, c->n_out);
    IrValueId in[2] = {c->in[0], tni_onnx_in(c, 1)};
    if (sizes != NULL) {
        if (n != c->n_out)
            return ONNX_BAD(c, "attribute 'split' has %u numbers, the node has %u outputs", n, c->n_out);
        TN_TRY(tni_onnx_const_i64s(c, "sizes", sizes, n, &in[1]));
    }
    const char *later = ""; /* parts nobody wants have sizes all the same when they lie before one that somebody does */
    for (uint32_t i = c->n_out; i-- > 0;) {
        if (c->out_names[i][0] == '\0' && later[0] != '\0')
            c->out_names[i] = tni_arena_printf(c->imp->scratch, "%s.before.%u", later, i);
        if (c->out_names[i] == NULL)
            return TN_OOM(c->err, strlen(later));
        later = c->out_names[i];
    }
    return tni_onnx_emit(c, TN_OP_split, &p, in, 2);
}

TnStatus tni_onnx_convert_slice(OnnxCall *c) {
    if (tni_onnx_axes_computed(c, 3))
        return tni_onnx_dynamic_slice(c);
    return tni_onnx_emit(c, TN_OP_slice, NULL, c->in, c->n_in);
}

/* Slice-1: all are attributes. */
TnStatus tni_onnx_convert_slice1(OnnxCall *c) {
    static const char *const names[] = {"starts", "ends", "axes"};
    IrValueId in[4] = {c->in[0], TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE};
    uint32_t first = 0;
    for (uint32_t i = 0; i < 3; i++) {
        const int64_t *v = NULL;
        uint32_t n = 0;
        TN_TRY(tni_onnx_attr_ints(c, names[i], &v, &n));
        if (v == NULL && i == 2)
            break;
        if (v == NULL || n > TN_MAX_RANK || (i > 0 && n != first))
            return ONNX_BAD(c, "attribute '%s' must have as many numbers as 'starts', at most %d", names[i], TN_MAX_RANK);
        first = n;
        TN_TRY(tni_onnx_const_i64s(c, names[i], v, n, &in[1 + i]));
    }
    return tni_onnx_emit(c, TN_OP_slice, NULL, in, 4);
}

static TnStatus pad_mode(OnnxCall *c, TnPadParams *p) {
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    p->mode = TN_PADDING_CONSTANT;
    return tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &p->mode);
}

TnStatus tni_onnx_convert_pad(OnnxCall *c) {
    TnPadParams p;
    TN_TRY(pad_mode(c, &p));
    if (tni_onnx_axes_computed(c, 3))
        return tni_onnx_dynamic_pad(c, &p);
    return tni_onnx_emit(c, TN_OP_pad, &p, c->in, c->n_in);
}

/* Pad-2: pads and value are attributes. */
TnStatus tni_onnx_convert_pad2(OnnxCall *c) {
    TnPadParams p;
    const int64_t *pads = NULL;
    uint32_t n = 0;
    float value = 0;
    TN_TRY(pad_mode(c, &p));
    TN_TRY(tni_onnx_attr_ints(c, "pads", &pads, &n));
    TN_TRY(tni_onnx_attr_f32(c, "value", &value));
    if (pads == NULL || n > 2 * TN_MAX_RANK || n % 2 != 0)
        return ONNX_BAD(c, "attribute 'pads' is required and must have two numbers a dimension");
    IrValueId in[3] = {c->in[0], TN_NO_VALUE, TN_NO_VALUE};
    TN_TRY(tni_onnx_const_i64s(c, "pads", pads, n, &in[1]));
    if (p.mode == TN_PADDING_CONSTANT && value != 0)
        TN_TRY(tni_onnx_const_f64(c, "value", tni_onnx_dtype_or(c, 0, TN_F32), value, &in[2]));
    return tni_onnx_emit(c, TN_OP_pad, &p, in, 3);
}

TnStatus tni_onnx_convert_expand(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_expand, NULL, c->in, 2);
}

TnStatus tni_onnx_convert_tile(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_tile, NULL, c->in, 2);
}

static TnStatus block_size(OnnxCall *c, uint32_t *out) {
    int32_t block = 0;
    TN_TRY(tni_onnx_attr_i32(c, "blocksize", 0, 32768, &block));
    if (block == 0)
        return ONNX_BAD(c, "attribute 'blocksize' is required and must be at least 1");
    *out = (uint32_t)block;
    return TN_OK;
}

TnStatus tni_onnx_convert_depth_to_space(OnnxCall *c) {
    static const char *const modes[] = {"DCR", "CRD"};
    TnSpaceDepthParams p = {.block = 0, .crd = 0};
    TN_TRY(block_size(c, &p.block));
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &p.crd));
    return tni_onnx_emit(c, TN_OP_depth_to_space, &p, c->in, 1);
}

TnStatus tni_onnx_convert_space_to_depth(OnnxCall *c) {
    static const char *const modes[] = {"DCR", "CRD"};
    TnSpaceDepthParams p = {.block = 0, .crd = 0};
    TN_TRY(block_size(c, &p.block));
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &p.crd));
    if (p.crd == 0)
        return tni_onnx_emit(c, TN_OP_space_to_depth, &p, c->in, 1);
    /* [B, C, h*n, w*n] -> [B, C, h, n, w, n] -> [B, C, n, n, h, w] -> [B, C * n * n, h, w] */
    OnnxX x = {.c = c};
    const uint8_t perm[6] = {0, 1, 3, 5, 2, 4};
    int64_t n = p.block;
    IrValueId block = tni_x_ints(&x, &n, 1), s = tni_x_shape(&x, c->in[0]);
    IrValueId h = tni_x_binary(&x, TN_BINARY_div, tni_x_dim(&x, c->in[0], 2), block);
    IrValueId w = tni_x_binary(&x, TN_BINARY_div, tni_x_dim(&x, c->in[0], 3), block);
    IrValueId split[5] = {tni_x_cut(&x, s, 0, 0, 2), h, block, w, block};
    IrValueId v = tni_x_transpose(&x, tni_x_reshape(&x, c->in[0], tni_x_concat(&x, split, 5, 0)), perm, 6);
    IrValueId channels = tni_x_binary(&x, TN_BINARY_mul, tni_x_dim(&x, c->in[0], 1), tni_x_binary(&x, TN_BINARY_mul, block, block));
    IrValueId merged[4] = {tni_x_dim(&x, c->in[0], 0), channels, h, w};
    return tni_x_finish(&x, 0, tni_x_reshape(&x, v, tni_x_concat(&x, merged, 4, 0)));
}
