/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantisation for one ISA: integers pass through a block of floats, which the compiler widens and narrows. */
#include "backend/cpu/quantize/quantize.h"
#include "backend/cpu/simd/simd.h"

#define BLOCK 256   /* elements between narrowing and arithmetic */
#define PART 16384  /* elements of a task */

typedef struct Bytes {
    const TnKernelCall *call;
    int64_t n;
    float scale;
    int32_t zero;
    bool is_signed;
} Bytes;

static Bytes describe(const TnKernelCall *call, TnDtype bytes) {
    Bytes b = {.call = call, .n = tn_tensor_numel(&call->in[0]), .is_signed = bytes == TN_I8};
    b.scale = *(const float *)call->in[1].data;
    if (call->n_in > 2 && call->in[2].data != NULL)
        b.zero = b.is_signed ? *(const int8_t *)call->in[2].data : *(const uint8_t *)call->in[2].data;
    return b;
}

/* round(x / scale) + zero, within the bytes' range. */
static void quantize_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Bytes *b = ctx;
    const float *x = b->call->in[0].data;
    uint8_t *y = b->call->out[0].data;
    const vf scale = vf_set1(b->scale), zero = vf_set1((float)b->zero);
    const vf lo = vf_set1(b->is_signed ? -128.0f : 0.0f), hi = vf_set1(b->is_signed ? 127.0f : 255.0f);
    for (int64_t i = task * PART; i < TN_MIN((task + 1) * PART, b->n); i += BLOCK) {
        const int64_t n = TN_MIN(TN_MIN((task + 1) * PART, b->n) - i, (int64_t)BLOCK);
        float t[BLOCK];
        for (int64_t j = 0; j < n; j += VL) {
            const int64_t m = TN_MIN(n - j, (int64_t)VL);
            const vf v = vf_add(vf_round(vf_div(vf_loadn(x + i + j, m), scale)), zero);
            vf_storen(t + j, m, vf_keep(vf_eq(v, v), vf_max(lo, vf_min(hi, v)))); /* NaN: 0 */
        }
        for (int64_t j = 0; j < n; j++)
            y[i + j] = (uint8_t)(int32_t)t[j];
    }
}

TnStatus TN_ISA(tni_cpu_quantize)(TnKernelCall *call) {
    Bytes b = describe(call, call->out[0].dtype);
    tni_parallel_for(call->threads, (b.n + PART - 1) / PART, quantize_task, &b);
    return TN_OK;
}

/* (x - zero) * scale */
static void dequantize_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Bytes *b = ctx;
    const int64_t end = TN_MIN((task + 1) * PART, b->n);
    float *y = b->call->out[0].data;
    if (b->is_signed) {
        const int8_t *x = b->call->in[0].data;
        for (int64_t i = task * PART; i < end; i++)
            y[i] = (float)(x[i] - b->zero) * b->scale;
    } else {
        const uint8_t *x = b->call->in[0].data;
        for (int64_t i = task * PART; i < end; i++)
            y[i] = (float)(x[i] - b->zero) * b->scale;
    }
}

TnStatus TN_ISA(tni_cpu_dequantize)(TnKernelCall *call) {
    Bytes b = describe(call, call->in[0].dtype);
    tni_parallel_for(call->threads, (b.n + PART - 1) / PART, dequantize_task, &b);
    return TN_OK;
}
