/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the pointwise kernels take, and what they cost. */
#include "backend/cuda/pointwise/pointwise.h"

static const uint32_t unary_types[TN_UNARY_COUNT] = {
#define UNARY(name, expr, types) types,
#include "kernel/functions.inc"
#undef UNARY
};

static const uint32_t binary_types[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) types,
#include "kernel/functions.inc"
#undef BINARY
};

/* An integer of whole bytes, or bool. */
static bool whole(TnDtype t) {
    return (tni_dtype_is_int(t) || t == TN_BOOL) && tn_dtype_bits(t) >= 8;
}

static bool any_float(TnDtype t) {
    return tni_is_real(t) || t == TN_F64;
}

/* TN_FN_* class of a type; 0: none that these kernels compute with. */
static uint32_t class_of(TnDtype t) {
    return any_float(t) ? TN_FN_F : t == TN_BOOL ? TN_FN_B : whole(t) ? TN_FN_I : 0;
}

static bool unary(const TnKernelQuery *q) {
    const TnUnaryParams *p = q->params;
    uint32_t c = class_of(q->in[0].dtype);
    return p->fn < TN_UNARY_COUNT && (unary_types[p->fn] & c) != 0 &&
           q->out[0].dtype == ((unary_types[p->fn] & TN_FN_TO_BOOL) != 0 ? TN_BOOL : q->in[0].dtype);
}

static bool binary(const TnKernelQuery *q) {
    const TnBinaryParams *p = q->params;
    TnDtype a = q->in[0].dtype, b = q->in[1].dtype;
    if (p->fn >= TN_BINARY_COUNT || class_of(a) == 0 || class_of(b) == 0)
        return false;
    if (a != b)
        return p->fn == TN_BINARY_pow && a != TN_BOOL && b != TN_BOOL;
    return (binary_types[p->fn] & class_of(a)) != 0;
}

/* The rows of an operator differ in tolerance, by the type that is rounded to: wide floats, f16, bf16, integers. */
static bool rounds_to(TnDtype t, uint32_t kind) {
    return kind == 0 ? t == TN_F32 || t == TN_F64 : kind == 1 ? t == TN_F16 : kind == 2 ? t == TN_BF16 : whole(t);
}
#define KINDS(op, test, type)                                                                                                              \
    bool tni_cuda_##op##_floats(const TnKernelQuery *q) {                                                                                  \
        return test(q) && rounds_to(type, 0);                                                                                              \
    }                                                                                                                                      \
    bool tni_cuda_##op##_halves(const TnKernelQuery *q) {                                                                                  \
        return test(q) && rounds_to(type, 1);                                                                                              \
    }                                                                                                                                      \
    bool tni_cuda_##op##_brains(const TnKernelQuery *q) {                                                                                  \
        return test(q) && rounds_to(type, 2);                                                                                              \
    }
#define INTEGERS(op, test, type)                                                                                                           \
    bool tni_cuda_##op##_integers(const TnKernelQuery *q) {                                                                                \
        return test(q) && rounds_to(type, 3);                                                                                              \
    }
KINDS(unary, unary, q->in[0].dtype)
INTEGERS(unary, unary, q->in[0].dtype)
KINDS(binary, binary, q->in[0].dtype)
INTEGERS(binary, binary, q->in[0].dtype)

bool tni_cuda_where_supports(const TnKernelQuery *q) {
    uint32_t bits = tn_dtype_bits(q->out[0].dtype);
    return q->in[0].dtype == TN_BOOL && bits >= 8 && q->in[1].dtype == q->out[0].dtype && q->in[2].dtype == q->out[0].dtype;
}

bool tni_cuda_clip_supports(const TnKernelQuery *q) {
    for (uint32_t i = 0; i < q->n_in; i++)
        if (q->in[i].dtype != TN_UNDEFINED && class_of(q->in[i].dtype) == 0)
            return false;
    return q->in[0].dtype != TN_BOOL && q->out[0].dtype == q->in[0].dtype;
}

static bool f8(TnDtype t) {
    return t >= TN_F8E4M3FN && t <= TN_F8E5M2FNUZ;
}

bool tni_cuda_cast_supports(const TnKernelQuery *q) {
    TnDtype from = q->in[0].dtype, to = q->out[0].dtype;
    return (class_of(from) != 0 || f8(from)) && (class_of(to) != 0 || f8(to));
}

static bool scaled(const TnKernelQuery *q) {
    bool zero = q->n_in > 2 && q->in[2].dtype != TN_UNDEFINED;
    return any_float(q->in[1].dtype) && (!zero || whole(q->in[2].dtype) || f8(q->in[2].dtype) || any_float(q->in[2].dtype));
}

bool tni_cuda_quantize_supports(const TnKernelQuery *q) {
    return scaled(q) && class_of(q->in[0].dtype) != 0 && (whole(q->out[0].dtype) || f8(q->out[0].dtype));
}

static bool dequantize(const TnKernelQuery *q) {
    return scaled(q) && (whole(q->in[0].dtype) || f8(q->in[0].dtype));
}
KINDS(dequantize, dequantize, q->out[0].dtype)

/* ---- fused programs ---- */
static bool program(const TnKernelQuery *q) {
    const TnPointwiseParams *p = q->params;
    if (p->n_in != q->n_in || p->n_in < 1 || p->n_in > 8 || p->n_code < 1 || p->n_code > TN_PW_MAX_CODE)
        return false;
    for (uint32_t k = 0; k < p->n_code; k++) {
        const TnPwInstr *c = &p->code[k];
        if (c->op > TN_PW_CONST || c->dst >= TN_PW_MAX_REGS || c->a >= TN_PW_MAX_REGS || c->b >= TN_PW_MAX_REGS || c->c >= TN_PW_MAX_REGS ||
            (c->op == TN_PW_UNARY && c->fn >= TN_UNARY_COUNT) || (c->op == TN_PW_BINARY && c->fn >= TN_BINARY_COUNT))
            return false;
    }
    for (uint32_t k = 0; k < q->n_in; k++)
        if (!tni_is_real(q->in[k].dtype) && q->in[k].dtype != TN_BOOL)
            return false;
    return tni_is_real(q->out[0].dtype) || q->out[0].dtype == TN_BOOL;
}

/* Where only the result is narrow, the inputs being f32, its rounding still rules. A bool hangs on a comparison of f32: as f32. */
static TnDtype narrowest(const TnKernelQuery *q) {
    TnDtype t = q->out[0].dtype;
    return t == TN_BOOL ? TN_F32 : t;
}
KINDS(pointwise, program, narrowest(q))

static bool can_compile(const TnKernelQuery *q) {
    return program(q) && q->device != NULL && q->device->has_compiler != 0;
}
KINDS(pointwise_made, can_compile, narrowest(q))

/* ---- costs ---- */
double tni_cuda_bytes_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, tni_cuda_bytes(q), 0, 0);
}

/* Interpreting takes about 20 operations an instruction. */
double tni_cuda_pointwise_cost(const TnKernelQuery *q) {
    const TnPointwiseParams *p = q->params;
    double n = (double)tn_tensor_numel(&q->out[0]);
    return tni_cuda_cost(q, tni_cuda_bytes(q), n * 20.0 * p->n_code, q->device == NULL ? 0 : q->device->float_flops);
}
