/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused pointwise programs, interpreted: works for every program and needs no compiler. The registers of a thread are a column of shared
 * memory. And the launch of the code that source.c generated for a step, which takes the same arguments. */
#define PW_FUNCTIONS
#include "backend/cuda/pointwise/code.cuh"
#include "backend/cuda/pointwise/pointwise.h"

namespace {
struct Program {
    TnPointwiseParams p;
    uint32_t in[8], out; /* types */
};

__device__ float load(uint32_t type, const void *p, int64_t i) {
    float r;
    if (type == TN_F32)
        r = ((const float *)p)[i];
    else if (type == TN_F16)
        pw_to(((const PwHalf *)p)[i], r);
    else if (type == TN_BF16)
        pw_to(((const PwBrain *)p)[i], r);
    else
        pw_to(((const PwBool *)p)[i], r);
    return r;
}

__device__ void store(uint32_t type, void *p, int64_t i, float v) {
    if (type == TN_F32)
        PwStore<true>::one((float *)p + i, v);
    else if (type == TN_F16)
        PwStore<true>::one((PwHalf *)p + i, v);
    else if (type == TN_BF16)
        PwStore<true>::one((PwBrain *)p + i, v);
    else
        PwStore<true>::one((PwBool *)p + i, v);
}

__device__ __noinline__ float unary(uint32_t fn, float x, float alpha, float beta) {
    switch (fn) {
#define UNARY(name, expr, types)                                                                                                           \
    case TN_UNARY_##name:                                                                                                                  \
        return pw_float::pw_un_##name(x, alpha, beta);
#include "kernel/functions.inc"
#undef UNARY
    default:
        return x;
    }
}

__device__ __noinline__ float binary(uint32_t fn, float a, float b) {
    switch (fn) {
#define BINARY(name, fexpr, iexpr, types)                                                                                                  \
    case TN_BINARY_##name:                                                                                                                 \
        return pw_float::pw_bin_##name(a, b);
#include "kernel/functions.inc"
#undef BINARY
    default:
        return a;
    }
}

__global__ void __launch_bounds__(PW_BLOCK) program_kernel(const __grid_constant__ PwArgs a, const __grid_constant__ Program g) {
    tni_start();
    __shared__ float regs[TN_PW_MAX_REGS][PW_BLOCK];
    const unsigned t = threadIdx.x;
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + t;
    if (unit >= a.units)
        return;
    long long at[8];
    const int64_t col = (int64_t)pw_place<8>(a, unit, at);
#pragma unroll
    for (int k = 0; k < 8; k++)
        if (k < (int)g.p.n_in)
            regs[k][t] = load(g.in[k], a.in[k], at[k] + (a.step[k] != 0 ? col : 0));
    for (uint32_t k = 0; k < g.p.n_code; k++) {
        const TnPwInstr &c = g.p.code[k];
        const float x = regs[c.a][t], y = regs[c.b][t], z = regs[c.c][t];
        float r;
        if (c.op == TN_PW_UNARY)
            r = unary(c.fn, x, c.alpha, c.beta);
        else if (c.op == TN_PW_BINARY)
            r = binary(c.fn, x, y);
        else if (c.op == TN_PW_WHERE)
            r = pw_float::pw_select(x, y, z);
        else if (c.op == TN_PW_CLIP)
            r = pw_float::pw_clip(x, c.alpha, c.beta);
        else
            r = c.alpha;
        regs[c.dst][t] = r;
    }
    store(g.out, a.out, (int64_t)unit, regs[g.p.code[g.p.n_code - 1].dst][t]);
}
} // namespace

TnStatus tni_cuda_pointwise(TnKernelCall *call) {
    Program g;
    PwArgs a;
    unsigned blocks = 0;
    memset(&g, 0, sizeof g);
    g.p = *(const TnPointwiseParams *)call->params;
    if (g.p.n_in != call->n_in || g.p.n_in > 8 || g.p.n_code == 0 || g.p.n_code > TN_PW_MAX_CODE)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "pointwise: a program of %u inputs and %u instructions was called with %u operands",
                        g.p.n_in, g.p.n_code, call->n_in);
    for (uint32_t k = 0; k < call->n_in; k++)
        g.in[k] = (uint32_t)call->in[k].dtype;
    g.out = (uint32_t)call->out[0].dtype;
    TN_TRY(tni_cuda_pw_args(call, call->in, call->n_in, &call->out[0], 1, &a, &blocks));
    if (blocks == 0)
        return TN_OK;
    (void)tni_launch_early(call->stream, program_kernel, blocks, PW_BLOCK, 0, a, g);
    return tni_cuda_launched(call, "pointwise");
}

TnStatus tni_cuda_pointwise_made(TnKernelCall *call) {
    PwArgs a;
    unsigned blocks = 0;
    if (call->code == nullptr)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "pointwise: the code generated for this step was not loaded");
    TN_TRY(
        tni_cuda_pw_args(call, call->in, call->n_in, &call->out[0], tni_cuda_pw_width(call->in, call->n_in, &call->out[0]), &a, &blocks));
    if (blocks == 0)
        return TN_OK;
    void *args[] = {&a};
    return tni_cuda_launch_code(call, blocks, 1, PW_BLOCK, 0, args, "pointwise (generated)");
}
