/* SPDX-License-Identifier: Apache-2.0
 *
 * detect: which calls the kernels take, what they cost, and what operators with sizes from the device share. */
#include "backend/cuda/detect/detect.h"

TnStatus tni_cuda_fetch(TnKernelCall *call, void *dst, const void *src, size_t bytes, const char *op) {
    if (call->stream->capturing)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED,
                        "%s cannot be recorded in a graph: the size of its result is known only after it ran", op);
    TNI_CUDA(call->err, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, call->stream->s), op);
    TNI_CUDA(call->err, cudaStreamSynchronize(call->stream->s), op);
    return TN_OK;
}

TnStatus tni_cuda_need(TnKernelCall *call, size_t need, const char *op) {
    if (call->scratch_bytes < need || (need > 0 && call->scratch == NULL))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s needs %zu bytes of scratch memory, was given %zu", op, need, call->scratch_bytes);
    return TN_OK;
}

TnStatus tni_cuda_resize_to(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims, const char *op) {
    if (call->resize == NULL)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s was called with no way to set its output's size", op);
    return call->resize(call, i, rank, dims);
}

/* A type whose elements can be compared. */
static bool ordered(TnDtype t) {
    return tn_dtype_bits(t) >= 8 && (tni_dtype_is_int(t) || tni_dtype_is_float(t) || t == TN_BOOL);
}

bool tni_cuda_topk_supports(const TnKernelQuery *q) {
    return ordered(q->in[0].dtype) && (q->out[0].dtype == TN_UNDEFINED || q->out[0].dtype == q->in[0].dtype) &&
           (q->n_out < 2 || q->out[1].dtype == TN_UNDEFINED || q->out[1].dtype == TN_I64);
}

bool tni_cuda_nonzero_supports(const TnKernelQuery *q) {
    return ordered(q->in[0].dtype);
}

bool tni_cuda_compress_supports(const TnKernelQuery *q) {
    return tn_dtype_bits(q->in[0].dtype) >= 8 && ordered(q->in[1].dtype);
}

bool tni_cuda_unique_supports(const TnKernelQuery *q) {
    return ordered(q->in[0].dtype);
}

bool tni_cuda_nms_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F32 && q->in[1].dtype == TN_F32;
}

static bool roi(const TnKernelQuery *q, TnDtype t) {
    bool index = q->in[2].dtype == TN_I64 || q->in[2].dtype == TN_I32;
    return index && tni_dtype_is_float(q->in[1].dtype) && tn_dtype_bits(q->in[1].dtype) >= 16 && q->in[0].dtype == t &&
           q->out[0].dtype == t;
}

bool tni_cuda_roi_floats(const TnKernelQuery *q) {
    return roi(q, TN_F32) || roi(q, TN_F64);
}

bool tni_cuda_roi_halves(const TnKernelQuery *q) {
    return roi(q, TN_F16);
}

bool tni_cuda_roi_brains(const TnKernelQuery *q) {
    return roi(q, TN_BF16);
}

/* About log2(n)^2 / 2 passes over pairs of 12 bytes. */
double tni_cuda_sort_cost(const TnKernelQuery *q) {
    double n = (double)tn_tensor_numel(&q->in[0]), passes = 1;
    for (double m = 4096; m < n; m *= 2)
        passes += passes < 8 ? 2 : 8;
    return passes * tni_cuda_cost(q, 24.0 * n, 0, 0);
}

/* Two passes, and the host waits in between. */
double tni_cuda_select_cost(const TnKernelQuery *q) {
    return 20000.0 + 2.0 * tni_cuda_cost(q, tni_cuda_bytes(q), 0, 0);
}

double tni_cuda_roi_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, 16.0 * (double)tn_tensor_bytes(&q->out[0]), 0, 0);
}
