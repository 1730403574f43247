/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize_linear and dequantize_linear: per tensor, per axis or in blocks, computed in double as the reference does. The quotient is
 * rounded to the type of the scale before it is rounded to an integer, because ties depend on it. */
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/pointwise/launch.h"
#include "backend/cuda/pointwise/pointwise.h"

namespace {
enum { PER_TENSOR, PER_AXIS, IN_BLOCKS };

struct Quantize {
    const void *x, *scale, *zero;
    void *y;
    uint32_t x_type, scale_type, zero_type, y_type; /* zero_type 0: none */
    uint32_t kind, saturate;
    int64_t n, inner, axis, blocks, block; /* x is [outer, axis, inner]; scale [1], [axis] or [outer, blocks, inner] */
};

__device__ int64_t scale_index(const Quantize &q, int64_t i) {
    if (q.kind == PER_TENSOR)
        return 0;
    const int64_t a = i / q.inner % q.axis;
    return q.kind == PER_AXIS ? a : (i / q.inner / q.axis * q.blocks + a / q.block) * q.inner + i % q.inner;
}

__device__ double round_to(uint32_t type, double v) {
    return type == TN_F16    ? (double)__half2float(__float2half_rn(el_odd(v)))
           : type == TN_BF16 ? (double)__bfloat162float(__float2bfloat16_rn(el_odd(v)))
           : type == TN_F64  ? v
                             : (double)(float)v;
}

__global__ void __launch_bounds__(PW_BLOCK) quantize_kernel(const __grid_constant__ Quantize q) {
    tni_start();
    const int64_t i = (int64_t)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (i >= q.n)
        return;
    const int64_t at = scale_index(q, i);
    const double v = round_to(q.scale_type, el_load_f64(q.x_type, q.x, i) / el_load_f64(q.scale_type, q.scale, at));
    const double z = q.zero_type != 0 ? el_load_f64(q.zero_type, q.zero, at) : 0.0;
    if (el_exact(q.y_type))
        el_store_f64(q.y_type, q.y, i, rint(v) + z);
    else if (q.saturate == 0 && q.y_type >= TN_F8E4M3FN && q.y_type <= TN_F8E5M2FNUZ)
        ((uint8_t *)q.y)[i] = (uint8_t)el_to_f8(q.y_type, v + z, false);
    else
        el_store_f64(q.y_type, q.y, i, v + z);
}

__global__ void __launch_bounds__(PW_BLOCK) dequantize_kernel(const __grid_constant__ Quantize q) {
    tni_start();
    const int64_t i = (int64_t)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (i >= q.n)
        return;
    const int64_t at = scale_index(q, i);
    const double z = q.zero_type != 0 ? el_load_f64(q.zero_type, q.zero, at) : 0.0;
    el_put_f64(q.y_type, q.y, i, (el_load_f64(q.x_type, q.x, i) - z) * el_load_f64(q.scale_type, q.scale, at));
}

TnStatus setup(TnKernelCall *call, const char *op, Quantize *q) {
    const TnQuantizeParams *p = (const TnQuantizeParams *)call->params;
    const TnTensor *x = &call->in[0], *s = &call->in[1], *y = &call->out[0];
    memset(q, 0, sizeof *q);
    q->x = x->data;
    q->scale = s->data;
    q->y = y->data;
    q->x_type = (uint32_t)x->dtype;
    q->scale_type = (uint32_t)s->dtype;
    q->y_type = (uint32_t)y->dtype;
    q->saturate = p->saturate;
    q->n = tn_tensor_numel(y);
    q->inner = q->axis = q->blocks = q->block = 1;
    if (call->n_in > 2 && call->in[2].dtype != TN_UNDEFINED) {
        q->zero = call->in[2].data;
        q->zero_type = (uint32_t)call->in[2].dtype;
    }
    if (s->rank == 0 || (tn_tensor_numel(s) == 1 && p->block_size == 0))
        return TN_OK;
    const int32_t axis = p->axis < 0 ? p->axis + x->rank : p->axis;
    if (axis < 0 || axis >= x->rank)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s: axis %d is outside the input's rank %d", op, p->axis, x->rank);
    q->axis = x->dims[axis];
    q->inner = tni_numel_range(x, axis + 1, x->rank);
    q->kind = p->block_size == 0 ? PER_AXIS : IN_BLOCKS;
    q->block = p->block_size;
    q->blocks = s->rank == x->rank ? s->dims[axis] : 0;
    if (q->kind == PER_AXIS ? tn_tensor_numel(s) != q->axis : q->block < 1 || q->blocks < 1 || tni_div_up(q->axis, q->block) > q->blocks)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s: the scales do not cover axis %d of the input", op, axis);
    return TN_OK;
}
} // namespace

TnStatus tni_cuda_quantize(TnKernelCall *call) {
    Quantize q;
    TN_TRY(setup(call, "quantize_linear", &q));
    if (q.n == 0)
        return TN_OK;
    (void)tni_launch_early(call->stream, quantize_kernel, (unsigned)tni_div_up(q.n, PW_BLOCK), PW_BLOCK, 0, q);
    return tni_cuda_launched(call, "quantize_linear");
}

TnStatus tni_cuda_dequantize(TnKernelCall *call) {
    Quantize q;
    TN_TRY(setup(call, "dequantize_linear", &q));
    if (q.n == 0)
        return TN_OK;
    (void)tni_launch_early(call->stream, dequantize_kernel, (unsigned)tni_div_up(q.n, PW_BLOCK), PW_BLOCK, 0, q);
    return tni_cuda_launched(call, "dequantize_linear");
}
