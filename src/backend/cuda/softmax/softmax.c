/* SPDX-License-Identifier: Apache-2.0
 *
 * Host half of softmax. */
#include "backend/cuda/softmax/softmax.h"

static int32_t axis_of(const TnSoftmaxParams *p, int32_t rank) {
    int32_t axis = p->axis < 0 ? p->axis + rank : p->axis;
    return axis >= 0 && axis < rank ? axis : -1;
}

static bool supports(const TnKernelQuery *q, TnDtype T) {
    const TnSoftmaxParams *p = q->params;
    const TnTensor *x = &q->in[0];
    int32_t axis = axis_of(p, x->rank);
    return x->dtype == T && q->out[0].dtype == T && axis >= 0 && x->dims[axis] < INT32_MAX / 2 && p->scale > 0.0f;
}

bool tni_cuda_softmax_f32_supports(const TnKernelQuery *q) {
    return supports(q, TN_F32);
}
bool tni_cuda_softmax_f16_supports(const TnKernelQuery *q) {
    return supports(q, TN_F16);
}
bool tni_cuda_softmax_bf16_supports(const TnKernelQuery *q) {
    return supports(q, TN_BF16);
}

double tni_cuda_softmax_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, tni_cuda_bytes(q), 0.0, 0.0);
}

TnStatus tni_cuda_softmax(TnKernelCall *call) {
    const TnSoftmaxParams *p = call->params;
    const TnTensor *x = &call->in[0];
    const int32_t axis = axis_of(p, x->rank);
    TniCudaSoftmax a = {.x = x->data,
                        .y = call->out[0].data,
                        .outer = tni_numel_range(x, 0, axis),
                        .inner = tni_numel_range(x, axis + 1, x->rank),
                        .n = (int32_t)x->dims[axis],
                        .scale = p->scale,
                        .log = p->log};
    a.wide = a.inner == 1 && tni_is_aligned(a.x, 16) && tni_is_aligned(a.y, 16) && (size_t)a.n * tni_size_of(x->dtype) % 16 == 0;
    return a.outer * a.inner * a.n == 0 ? TN_OK : tni_cuda_softmax_launch(call, &a, x->dtype);
}
