/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of a node as text, "axis=1 epsilon=1e-05": a table of the fields of each parameter struct.
 * In: an operator and its parameters. Out: the fields that are not at their zero value, in the struct's order. */
#include "ir/graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef enum FieldKind {
    FIELD_U32,
    FIELD_I32,
    FIELD_F32,
    FIELD_U8,
    FIELD_TEXT,
    FIELD_DTYPE,
    FIELD_UNARY,
    FIELD_BINARY,
    FIELD_REDUCE,
    FIELD_ACT
} FieldKind;

/* count: elements; count_at: offset of a u32 that says how many are used, or -1. */
typedef struct Field {
    const char *name;
    FieldKind kind;
    uint16_t offset, count;
    int16_t count_at;
} Field;

#define F1(S, f, k)                                                                                                                        \
    { #f, k, offsetof(S, f), 1, -1 }
#define FN(S, f, k, n)                                                                                                                     \
    { #f, k, offsetof(S, f), n, -1 }
#define FC(S, f, k, n, at)                                                                                                                 \
    { #f, k, offsetof(S, f), n, (int16_t)offsetof(S, at) }
#define END                                                                                                                                \
    { NULL, FIELD_U32, 0, 0, -1 }

static const Field fields_TnNoParams[] = {END};
static const Field fields_TnUnaryParams[] = {F1(TnUnaryParams, fn, FIELD_UNARY), F1(TnUnaryParams, alpha, FIELD_F32),
                                             F1(TnUnaryParams, beta, FIELD_F32), END};
static const Field fields_TnBinaryParams[] = {F1(TnBinaryParams, fn, FIELD_BINARY), END};
static const Field fields_TnCastParams[] = {F1(TnCastParams, to, FIELD_DTYPE), F1(TnCastParams, saturate, FIELD_U32), END};
static const Field fields_TnPointwiseParams[] = {F1(TnPointwiseParams, n_in, FIELD_U32), F1(TnPointwiseParams, n_code, FIELD_U32), END};
static const Field fields_TnQuantizeParams[] = {F1(TnQuantizeParams, axis, FIELD_I32), F1(TnQuantizeParams, block_size, FIELD_I32),
                                                F1(TnQuantizeParams, saturate, FIELD_U32), F1(TnQuantizeParams, output_dtype, FIELD_DTYPE),
                                                END};
static const Field fields_TnReduceParams[] = {F1(TnReduceParams, fn, FIELD_REDUCE), F1(TnReduceParams, keepdims, FIELD_U32),
                                              FC(TnReduceParams, axes, FIELD_I32, TN_MAX_RANK, n_axes), END};
static const Field fields_TnReduceAxesParams[] = {F1(TnReduceAxesParams, fn, FIELD_REDUCE), F1(TnReduceAxesParams, keepdims, FIELD_U32),
                                                  F1(TnReduceAxesParams, noop, FIELD_U32), END};
static const Field fields_TnDftParams[] = {F1(TnDftParams, axis, FIELD_I32), F1(TnDftParams, inverse, FIELD_U32),
                                           F1(TnDftParams, onesided, FIELD_U32), END};
static const Field fields_TnRecurrentParams[] = {F1(TnRecurrentParams, kind, FIELD_U32),
                                                 F1(TnRecurrentParams, hidden, FIELD_U32),
                                                 F1(TnRecurrentParams, directions, FIELD_U32),
                                                 F1(TnRecurrentParams, reverse, FIELD_U32),
                                                 F1(TnRecurrentParams, batch_first, FIELD_U32),
                                                 F1(TnRecurrentParams, linear_before_reset, FIELD_U32),
                                                 F1(TnRecurrentParams, input_forget, FIELD_U32),
                                                 F1(TnRecurrentParams, clip, FIELD_F32),
                                                 FN(TnRecurrentParams, act, FIELD_U32, 6),
                                                 FN(TnRecurrentParams, alpha, FIELD_F32, 6),
                                                 FN(TnRecurrentParams, beta, FIELD_F32, 6),
                                                 END};
static const Field fields_TnLinearAttentionParams[] = {
    F1(TnLinearAttentionParams, q_heads, FIELD_U32), F1(TnLinearAttentionParams, kv_heads, FIELD_U32),
    F1(TnLinearAttentionParams, rule, FIELD_U32), F1(TnLinearAttentionParams, scale, FIELD_F32), END};
static const Field fields_TnDeformConvParams[] = {F1(TnDeformConvParams, group, FIELD_U32),
                                                  F1(TnDeformConvParams, offset_groups, FIELD_U32),
                                                  FN(TnDeformConvParams, stride, FIELD_I32, 2),
                                                  FN(TnDeformConvParams, dilation, FIELD_I32, 2),
                                                  FN(TnDeformConvParams, pads, FIELD_I32, 4),
                                                  END};
static const Field fields_TnRoiPoolParams[] = {F1(TnRoiPoolParams, height, FIELD_I32), F1(TnRoiPoolParams, width, FIELD_I32),
                                               F1(TnRoiPoolParams, scale, FIELD_F32), END};
static const Field fields_TnCol2ImParams[] = {FC(TnCol2ImParams, stride, FIELD_I32, 3, n_spatial),
                                              FC(TnCol2ImParams, dilation, FIELD_I32, 3, n_spatial),
                                              FN(TnCol2ImParams, pads, FIELD_I32, 6), END};
static const Field fields_TnGridSampleParams[] = {F1(TnGridSampleParams, mode, FIELD_U32), F1(TnGridSampleParams, padding, FIELD_U32),
                                                  F1(TnGridSampleParams, align_corners, FIELD_U32), END};
static const Field fields_TnRandomParams[] = {F1(TnRandomParams, kind, FIELD_U32),      F1(TnRandomParams, dtype, FIELD_DTYPE),
                                              F1(TnRandomParams, seed_low, FIELD_U32),  F1(TnRandomParams, seed_high, FIELD_U32),
                                              F1(TnRandomParams, a, FIELD_F32),         F1(TnRandomParams, b, FIELD_F32),
                                              END};
static const Field fields_TnArgReduceParams[] = {F1(TnArgReduceParams, axis, FIELD_I32), F1(TnArgReduceParams, is_max, FIELD_U32),
                                                 F1(TnArgReduceParams, keepdims, FIELD_U32), F1(TnArgReduceParams, select_last, FIELD_U32),
                                                 END};
static const Field fields_TnCumsumParams[] = {F1(TnCumsumParams, exclusive, FIELD_U32), F1(TnCumsumParams, reverse, FIELD_U32), END};
static const Field fields_TnSoftmaxParams[] = {F1(TnSoftmaxParams, axis, FIELD_I32), F1(TnSoftmaxParams, log, FIELD_U32),
                                               F1(TnSoftmaxParams, scale, FIELD_F32), END};
static const Field fields_TnNormParams[] = {F1(TnNormParams, epsilon, FIELD_F32), F1(TnNormParams, axis, FIELD_I32),
                                            F1(TnNormParams, groups, FIELD_U32), F1(TnNormParams, channels_last, FIELD_U32), END};
static const Field fields_TnGemmParams[] = {F1(TnGemmParams, trans_a, FIELD_U32),  F1(TnGemmParams, trans_b, FIELD_U32),
                                            F1(TnGemmParams, alpha, FIELD_F32),    F1(TnGemmParams, beta, FIELD_F32),
                                            F1(TnGemmParams, act, FIELD_ACT),      F1(TnGemmParams, act_alpha, FIELD_F32),
                                            F1(TnGemmParams, act_beta, FIELD_F32), END};
static const Field fields_TnMlpParams[] = {F1(TnMlpParams, trans_1, FIELD_U32),   F1(TnMlpParams, trans_2, FIELD_U32),
                                           F1(TnMlpParams, act, FIELD_ACT),       F1(TnMlpParams, act_alpha, FIELD_F32),
                                           F1(TnMlpParams, act_beta, FIELD_F32),  END};
static const Field fields_TnEinsumParams[] = {FN(TnEinsumParams, equation, FIELD_TEXT, 128), END};
static const Field fields_TnAttentionParams[] = {F1(TnAttentionParams, heads, FIELD_U32),    F1(TnAttentionParams, kv_heads, FIELD_U32),
                                                 F1(TnAttentionParams, d_qk, FIELD_U32),     F1(TnAttentionParams, d_v, FIELD_U32),
                                                 F1(TnAttentionParams, scale, FIELD_F32),    F1(TnAttentionParams, causal, FIELD_U32),
                                                 F1(TnAttentionParams, q_layout, FIELD_U32), F1(TnAttentionParams, k_layout, FIELD_U32),
                                                 F1(TnAttentionParams, v_layout, FIELD_U32), F1(TnAttentionParams, out_layout, FIELD_U32),
                                                 F1(TnAttentionParams, q_off, FIELD_U32),    F1(TnAttentionParams, k_off, FIELD_U32),
                                                 F1(TnAttentionParams, v_off, FIELD_U32),    END};
static const Field fields_TnRelativeBiasParams[] = {F1(TnRelativeBiasParams, n, FIELD_U32), F1(TnRelativeBiasParams, minus, FIELD_U32),
                                                    FC(TnRelativeBiasParams, lo, FIELD_I32, TN_RELATIVE_TERMS, n),
                                                    FC(TnRelativeBiasParams, hi, FIELD_I32, TN_RELATIVE_TERMS, n), END};
static const Field fields_TnAttentionStepParams[] = {
    F1(TnAttentionStepParams, heads, FIELD_U32), F1(TnAttentionStepParams, d_head, FIELD_U32), F1(TnAttentionStepParams, scale, FIELD_F32),
    F1(TnAttentionStepParams, q_off, FIELD_U32), END};
static const Field fields_TnCacheAppendParams[] = {F1(TnCacheAppendParams, off, FIELD_U32), F1(TnCacheAppendParams, width, FIELD_U32), END};
static const Field fields_TnConvParams[] = {F1(TnConvParams, group, FIELD_U32),
                                            FC(TnConvParams, kernel, FIELD_I32, 3, n_spatial),
                                            FC(TnConvParams, stride, FIELD_I32, 3, n_spatial),
                                            FC(TnConvParams, dilation, FIELD_I32, 3, n_spatial),
                                            FN(TnConvParams, pads, FIELD_I32, 6),
                                            FN(TnConvParams, output_pads, FIELD_I32, 3),
                                            FN(TnConvParams, output_shape, FIELD_I32, 3),
                                            F1(TnConvParams, auto_pad, FIELD_U32),
                                            F1(TnConvParams, channels_last, FIELD_U32),
                                            F1(TnConvParams, act, FIELD_ACT),
                                            F1(TnConvParams, act_alpha, FIELD_F32),
                                            F1(TnConvParams, act_beta, FIELD_F32),
                                            END};
static const Field fields_TnPoolParams[] = {F1(TnPoolParams, kind, FIELD_U32),
                                            F1(TnPoolParams, global, FIELD_U32),
                                            FC(TnPoolParams, kernel, FIELD_I32, 3, n_spatial),
                                            FC(TnPoolParams, stride, FIELD_I32, 3, n_spatial),
                                            FC(TnPoolParams, dilation, FIELD_I32, 3, n_spatial),
                                            FN(TnPoolParams, pads, FIELD_I32, 6),
                                            F1(TnPoolParams, auto_pad, FIELD_U32),
                                            F1(TnPoolParams, ceil_mode, FIELD_U32),
                                            F1(TnPoolParams, count_include_pad, FIELD_U32),
                                            F1(TnPoolParams, storage_order, FIELD_U32),
                                            F1(TnPoolParams, channels_last, FIELD_U32),
                                            F1(TnPoolParams, p, FIELD_I32),
                                            END};
static const Field fields_TnResizeParams[] = {F1(TnResizeParams, mode, FIELD_U32),
                                              F1(TnResizeParams, coord, FIELD_U32),
                                              F1(TnResizeParams, nearest, FIELD_U32),
                                              F1(TnResizeParams, cubic_a, FIELD_F32),
                                              F1(TnResizeParams, extrapolation, FIELD_F32),
                                              F1(TnResizeParams, exclude_outside, FIELD_U32),
                                              F1(TnResizeParams, antialias, FIELD_U32),
                                              F1(TnResizeParams, keep_aspect, FIELD_U32),
                                              FC(TnResizeParams, axes, FIELD_I32, TN_MAX_RANK, n_axes),
                                              END};
static const Field fields_TnReshapeParams[] = {F1(TnReshapeParams, kind, FIELD_U32), F1(TnReshapeParams, allowzero, FIELD_U32),
                                               F1(TnReshapeParams, axis, FIELD_I32),
                                               FC(TnReshapeParams, axes, FIELD_I32, TN_MAX_RANK, n_axes), END};
static const Field fields_TnTransposeParams[] = {FC(TnTransposeParams, perm, FIELD_U8, TN_MAX_RANK, n), END};
static const Field fields_TnCastTransposeParams[] = {F1(TnCastTransposeParams, to, FIELD_DTYPE),
                                                     FC(TnCastTransposeParams, perm, FIELD_U8, TN_MAX_RANK, n), END};
static const Field fields_TnAxisParams[] = {F1(TnAxisParams, axis, FIELD_I32), F1(TnAxisParams, n, FIELD_U32), END};
static const Field fields_TnPadParams[] = {F1(TnPadParams, mode, FIELD_U32), END};
static const Field fields_TnGatherNdParams[] = {F1(TnGatherNdParams, batch_dims, FIELD_U32), END};
static const Field fields_TnScatterParams[] = {F1(TnScatterParams, axis, FIELD_I32), F1(TnScatterParams, reduction, FIELD_U32), END};
static const Field fields_TnTriluParams[] = {F1(TnTriluParams, upper, FIELD_U32), END};
static const Field fields_TnEyeLikeParams[] = {F1(TnEyeLikeParams, dtype, FIELD_DTYPE), F1(TnEyeLikeParams, k, FIELD_I32), END};
static const Field fields_TnSpaceDepthParams[] = {F1(TnSpaceDepthParams, block, FIELD_U32), F1(TnSpaceDepthParams, crd, FIELD_U32), END};
static const Field fields_TnTopkParams[] = {F1(TnTopkParams, axis, FIELD_I32), F1(TnTopkParams, largest, FIELD_U32), END};
static const Field fields_TnCompressParams[] = {F1(TnCompressParams, axis, FIELD_I32), F1(TnCompressParams, flatten, FIELD_U32), END};
static const Field fields_TnUniqueParams[] = {F1(TnUniqueParams, axis, FIELD_I32), F1(TnUniqueParams, flatten, FIELD_U32),
                                              F1(TnUniqueParams, sorted, FIELD_U32), END};
static const Field fields_TnNmsParams[] = {F1(TnNmsParams, center_point_box, FIELD_U32), END};
static const Field fields_TnRoiAlignParams[] = {F1(TnRoiAlignParams, output_height, FIELD_I32),
                                                F1(TnRoiAlignParams, output_width, FIELD_I32),
                                                F1(TnRoiAlignParams, sampling_ratio, FIELD_I32),
                                                F1(TnRoiAlignParams, spatial_scale, FIELD_F32),
                                                F1(TnRoiAlignParams, max_mode, FIELD_U32),
                                                F1(TnRoiAlignParams, aligned, FIELD_U32),
                                                END};
static const Field fields_TnShapeParams[] = {F1(TnShapeParams, start, FIELD_I32), F1(TnShapeParams, end, FIELD_I32), END};
static const Field fields_TnFillParams[] = {F1(TnFillParams, dtype, FIELD_DTYPE), FN(TnFillParams, value, FIELD_U8, 8), END};
static const Field fields_TnDimsParams[] = {F1(TnDimsParams, dtype, FIELD_DTYPE), F1(TnDimsParams, rank, FIELD_U32),
                                            FC(TnDimsParams, dim, FIELD_U32, TN_DIMS_MAX, n), END};
static const Field fields_TnControlParams[] = {FN(TnControlParams, graph, FIELD_U32, 2), F1(TnControlParams, n_carried, FIELD_U32),
                                               F1(TnControlParams, n_scan, FIELD_U32), END};

static const Field *const op_fields[TN_OP_COUNT] = {
#define OP(name, P, min_in, max_in, min_out, max_out, flags) [TN_OP_##name] = fields_##P,
#include "kernel/ops.inc"
#undef OP
};

typedef struct Text {
    char *buf;
    size_t cap, n;
} Text;

static void put(Text *t, const char *fmt, ...) TN_PRINTF(2, 3);
static void put(Text *t, const char *fmt, ...) {
    if (t->n + 1 >= t->cap)
        return;
    va_list ap;
    va_start(ap, fmt);
    int k = vsnprintf(t->buf + t->n, t->cap - t->n, fmt, ap);
    va_end(ap);
    if (k > 0)
        t->n = TN_MIN(t->n + (size_t)k, t->cap - 1);
}

static const char *enum_name(FieldKind kind, uint32_t v) {
    const char *s = NULL;
    switch (kind) {
    case FIELD_DTYPE:
        s = tn_dtype_name((TnDtype)v);
        break;
    case FIELD_UNARY:
        s = tni_unary_name(v);
        break;
    case FIELD_BINARY:
        s = tni_binary_name(v);
        break;
    case FIELD_REDUCE:
        s = tni_reduce_name(v);
        break;
    case FIELD_ACT:
        s = tni_act_name(v);
        break;
    default:
        break;
    }
    return s != NULL ? s : "?";
}

static void put_one(Text *t, const Field *f, const uint8_t *base, uint32_t i) {
    uint32_t u = 0;
    float x;
    if (f->kind == FIELD_U8) {
        put(t, "%u", base[f->offset + i]);
        return;
    }
    memcpy(&u, base + f->offset + i * 4, sizeof u);
    memcpy(&x, &u, sizeof x);
    if (f->kind == FIELD_U32)
        put(t, "%" PRIu32, u);
    else if (f->kind == FIELD_I32)
        put(t, "%" PRId32, (int32_t)u);
    else if (f->kind == FIELD_F32)
        put(t, "%.9g", (double)x);
    else
        put(t, "%s", enum_name(f->kind, u));
}

static bool all_zero(const Field *f, const uint8_t *base) {
    size_t size = f->kind == FIELD_U8 || f->kind == FIELD_TEXT ? 1 : 4;
    for (size_t i = 0; i < f->count * size; i++) {
        if (base[f->offset + i] != 0)
            return false;
    }
    return true;
}

static void put_field(Text *t, const Field *f, const uint8_t *base) {
    uint32_t n = f->count;
    if (f->count_at >= 0) {
        memcpy(&n, base + f->count_at, sizeof n);
        n = TN_MIN(n, f->count);
        if (n == 0)
            return;
    } else if (all_zero(f, base) && f->kind != FIELD_UNARY && f->kind != FIELD_BINARY && f->kind != FIELD_REDUCE &&
               strcmp(f->name, "axis") != 0) {
        return;
    }
    put(t, "%s%s=", t->n > 0 ? " " : "", f->name);
    if (f->kind == FIELD_TEXT) {
        put(t, "%.*s", (int)f->count, (const char *)base + f->offset);
        return;
    }
    if (f->count > 1)
        put(t, "[");
    for (uint32_t i = 0; i < n; i++) {
        put(t, "%s", i > 0 ? "," : "");
        put_one(t, f, base, i);
    }
    if (f->count > 1)
        put(t, "]");
}

char *tni_ir_params_str(TnOp op, const void *params, char *buf, size_t n) {
    Text t = {buf, n, 0};
    if (n == 0)
        return buf;
    buf[0] = '\0';
    if (op >= TN_OP_COUNT || params == NULL)
        return buf;
    for (const Field *f = op_fields[op]; f->name != NULL; f++)
        put_field(&t, f, params);
    return buf;
}
