/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the pointwise kernels take. What they leave (rare types, integer powers and shifts) stays with the reference. */
#include "backend/cpu/pointwise/pointwise.h"

int32_t tni_cpu_pw_type(TnDtype t) {
    static const struct {
        TnDtype dtype;
        int32_t index;
    } map[] = {{TN_F32, PW_F32}, {TN_F64, PW_F64}, {TN_F16, PW_F16}, {TN_BF16, PW_BF16}, {TN_I64, PW_I64},
               {TN_I32, PW_I32}, {TN_U8, PW_U8},   {TN_I8, PW_I8},   {TN_BOOL, PW_BOOL}};
    for (size_t i = 0; i < TN_COUNT(map); i++)
        if (map[i].dtype == t)
            return map[i].index;
    return -1;
}

static bool float_unary(uint32_t fn, float alpha) {
    if (fn >= TN_UNARY_COUNT || fn == TN_UNARY_not_ || fn == TN_UNARY_bitwise_not)
        return false;
    return fn != TN_UNARY_celu || alpha > 0.0f; /* the kernel's exp(x / alpha) - 1 is for x / alpha <= 0 */
}

bool tni_cpu_unary_supports(const TnKernelQuery *q) {
    const TnUnaryParams *p = q->params;
    switch (q->in[0].dtype) {
    case TN_F32:
        return float_unary(p->fn, p->alpha);
    case TN_I64:
    case TN_I32:
        return p->fn == TN_UNARY_abs || p->fn == TN_UNARY_neg || p->fn == TN_UNARY_sign || p->fn == TN_UNARY_relu ||
               p->fn == TN_UNARY_bitwise_not;
    case TN_BOOL:
        return p->fn == TN_UNARY_not_;
    default:
        return false;
    }
}

static bool bits_fn(uint32_t fn) {
    return fn == TN_BINARY_bitwise_and || fn == TN_BINARY_bitwise_or || fn == TN_BINARY_bitwise_xor;
}
static bool logic_fn(uint32_t fn) {
    return fn == TN_BINARY_and_ || fn == TN_BINARY_or_ || fn == TN_BINARY_xor_;
}
static bool shift_fn(uint32_t fn) {
    return fn == TN_BINARY_shift_left || fn == TN_BINARY_shift_right;
}

bool tni_cpu_binary_supports(const TnKernelQuery *q) {
    uint32_t fn = ((const TnBinaryParams *)q->params)->fn;
    if (fn >= TN_BINARY_COUNT || q->in[0].dtype != q->in[1].dtype)
        return false;
    switch (q->in[0].dtype) {
    case TN_F32:
        return !bits_fn(fn) && !logic_fn(fn) && !shift_fn(fn);
    case TN_I64:
    case TN_I32:
        return fn != TN_BINARY_pow && fn != TN_BINARY_prelu && !logic_fn(fn) && !shift_fn(fn);
    case TN_BOOL:
        return logic_fn(fn) || fn == TN_BINARY_equal;
    default:
        return false;
    }
}

bool tni_cpu_where_supports(const TnKernelQuery *q) {
    uint32_t bytes = tni_cpu_elem_bytes(q->out[0].dtype);
    return q->in[0].dtype == TN_BOOL && bytes >= 1 && bytes <= 8;
}

bool tni_cpu_clip_supports(const TnKernelQuery *q) {
    TnDtype t = q->in[0].dtype;
    if (t != TN_F32 && t != TN_I32 && t != TN_I64)
        return false;
    for (uint32_t i = 1; i < q->n_in; i++)
        if (tni_cpu_present(&q->in[i]) && (q->in[i].dtype != t || tn_tensor_numel(&q->in[i]) != 1))
            return false;
    return true;
}

bool tni_cpu_cast_supports(const TnKernelQuery *q) {
    int32_t from = tni_cpu_pw_type(q->in[0].dtype), to = tni_cpu_pw_type(q->out[0].dtype);
    if (from < 0 || to < 0)
        return false;
    /* through f32 a value would be rounded twice; 64-bit integers do not fit it */
    bool half_to = to == PW_F16 || to == PW_BF16, half_from = from == PW_F16 || from == PW_BF16;
    if (half_to && ((const TnCastParams *)q->params)->saturate == 2)
        return half_from && from == to; /* these kernels round to infinity */
    if (half_to)
        return from == PW_F32 || half_from || from == PW_U8 || from == PW_I8 || from == PW_BOOL;
    return true;
}

bool tni_cpu_pointwise_supports(const TnKernelQuery *q) {
    const TnPointwiseParams *p = q->params;
    if (q->out[0].dtype != TN_F32 || p->n_in != q->n_in || p->n_in > 8 || p->n_code == 0 || p->n_code > TN_PW_MAX_CODE)
        return false;
    for (uint32_t i = 0; i < q->n_in; i++)
        if (q->in[i].dtype != TN_F32)
            return false;
    for (uint32_t i = 0; i < p->n_code; i++) {
        const TnPwInstr *c = &p->code[i];
        if (c->op > TN_PW_CONST || c->dst >= TN_PW_MAX_REGS || c->a >= TN_PW_MAX_REGS || c->b >= TN_PW_MAX_REGS || c->c >= TN_PW_MAX_REGS)
            return false;
        if (c->op == TN_PW_UNARY && c->fn != TN_UNARY_not_ && !float_unary(c->fn, c->alpha))
            return false;
        if (c->op == TN_PW_BINARY && (c->fn >= TN_BINARY_COUNT || bits_fn(c->fn) || shift_fn(c->fn)))
            return false;
    }
    return true;
}

/* ---- costs: nanoseconds an element on one core, memory apart ---- */
static double unary_weight(uint32_t fn) {
    switch (fn) {
    case TN_UNARY_exp:
    case TN_UNARY_log:
    case TN_UNARY_sigmoid:
    case TN_UNARY_silu:
    case TN_UNARY_erf:
    case TN_UNARY_gelu:
    case TN_UNARY_gelu_tanh:
    case TN_UNARY_tanh:
    case TN_UNARY_elu:
    case TN_UNARY_celu:
    case TN_UNARY_selu:
    case TN_UNARY_softplus:
    case TN_UNARY_mish:
    case TN_UNARY_sin:
    case TN_UNARY_cos:
        return 12.0;
    default:
        return 1.0;
    }
}

static double unary_ns(const TnKernelQuery *q, double scale) {
    return tni_cpu_cost(q, unary_weight(((const TnUnaryParams *)q->params)->fn) * scale);
}

static double program_ns(const TnKernelQuery *q, double scale) {
    const TnPointwiseParams *p = q->params;
    double w = 0;
    for (uint32_t i = 0; i < p->n_code && i < TN_PW_MAX_CODE; i++)
        w += p->code[i].op == TN_PW_UNARY ? unary_weight(p->code[i].fn) : 1.0;
    return tni_cpu_cost(q, w * scale);
}

#define COSTS(isa, scale)                                                                                                                  \
    double tni_cpu_unary_cost_##isa(const TnKernelQuery *q) {                                                                              \
        return unary_ns(q, scale);                                                                                                         \
    }                                                                                                                                      \
    double tni_cpu_light_cost_##isa(const TnKernelQuery *q) {                                                                              \
        return tni_cpu_cost(q, scale);                                                                                                     \
    }                                                                                                                                      \
    double tni_cpu_pointwise_cost_##isa(const TnKernelQuery *q) {                                                                          \
        return program_ns(q, scale);                                                                                                       \
    }
COSTS(scalar, 0.6)
COSTS(avx2, 0.08)
COSTS(avx512, 0.04)
