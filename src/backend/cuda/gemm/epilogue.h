/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens to a sum of products before it is stored, for every matrix product and convolution on the GPU:
 *     y = act(alpha * sum + bias) + residual
 * bias already multiplied by beta where it is loaded. Plain data: part of kernels' arguments.
 *
 * The many activations are a few forms with numbers in them, so that kernels carry little code for them. */
#ifndef TENON_BACKEND_CUDA_GEMM_EPILOGUE_H
#define TENON_BACKEND_CUDA_GEMM_EPILOGUE_H

#include <math.h>

#include "backend/cuda/cuda.h"

typedef enum TniActForm {
    TNI_FORM_NONE,
    TNI_FORM_CLAMP, /* p0 <= x <= p1 */
    TNI_FORM_GELU,  /* with erf */
    TNI_FORM_GATE,  /* (p2 x + p3) / (1 + 2^-(p0 x + p1 x^3)) + p4 */
    TNI_FORM_LEAKY, /* x < 0 ? p0 x : x */
    TNI_FORM_HARD_SWISH,
    TNI_FORM_TANH
} TniActForm;

typedef struct TniAct {
    uint32_t form; /* TniActForm */
    float p[5];
} TniAct;

typedef enum TniBiasMode { TNI_BIAS_NONE, TNI_BIAS_COLUMN, TNI_BIAS_SCALAR, TNI_BIAS_ROW, TNI_BIAS_FULL } TniBiasMode;

typedef struct TniEpi {
    const void *bias, *residual; /* of the operands' type; residual as y, or NULL */
    float alpha, beta;
    uint32_t bias_mode; /* TniBiasMode */
    TniAct act;
} TniEpi;

/* act: TnAct; exact: for f32 results, which all forms serve; kernels choose the arithmetic by the type of their results. */
TN_INLINE TniAct tni_act_make(uint32_t act, float a, float b, bool exact) {
    (void)exact;
    const float log2e = 1.4426950408889634f;
    switch (act) {
    case TN_ACT_RELU:
        return (TniAct){TNI_FORM_CLAMP, {0.0f, INFINITY}};
    case TN_ACT_CLIP:
        return (TniAct){TNI_FORM_CLAMP, {a, b}};
    case TN_ACT_GELU:
        return (TniAct){TNI_FORM_GELU, {0}};
    case TN_ACT_GELU_TANH: /* x * sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3) */
        return (TniAct){TNI_FORM_GATE, {2.0f * 0.7978845608f * log2e, 2.0f * 0.7978845608f * 0.044715f * log2e, 1.0f, 0.0f, 0.0f}};
    case TN_ACT_SILU:
        return (TniAct){TNI_FORM_GATE, {log2e, 0.0f, 1.0f, 0.0f, 0.0f}};
    case TN_ACT_SIGMOID:
        return (TniAct){TNI_FORM_GATE, {log2e, 0.0f, 0.0f, 1.0f, 0.0f}};
    case TN_ACT_TANH:
        return (TniAct){TNI_FORM_TANH, {0}};
    case TN_ACT_LEAKY_RELU:
        return (TniAct){TNI_FORM_LEAKY, {a}};
    case TN_ACT_HARD_SWISH:
        return (TniAct){TNI_FORM_HARD_SWISH, {0}};
    default:
        return (TniAct){TNI_FORM_NONE, {0}};
    }
}

/* What an activation takes of an SM's arithmetic, in operations of one lane, for estimates. */
TN_INLINE double tni_act_slots(uint32_t act, bool exact) {
    switch (act) {
    case TN_ACT_NONE:
        return 0.0;
    case TN_ACT_GELU:
        return exact ? 14.0 : 11.0;
    case TN_ACT_GELU_TANH:
    case TN_ACT_SILU:
    case TN_ACT_SIGMOID:
    case TN_ACT_TANH:
        return 18.0; /* two operations of the special unit */
    default:
        return 3.0;
    }
}

#endif
