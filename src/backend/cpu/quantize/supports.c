/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the quantisation kernels take, and their cost. */
#include "backend/cpu/quantize/quantize.h"

static bool byte(const TnTensor *t) {
    return t->dtype == TN_U8 || t->dtype == TN_I8;
}

/* One scale, f32, and one zero point of the bytes' type or none. */
static bool one_scale(const TnKernelQuery *q, const TnTensor *bytes) {
    const TnTensor *s = &q->in[1], *z = q->n_in > 2 && q->in[2].dtype != TN_UNDEFINED ? &q->in[2] : NULL;
    return ((const TnQuantizeParams *)q->params)->block_size == 0 && byte(bytes) && s->dtype == TN_F32 && tn_tensor_numel(s) == 1 &&
           (z == NULL || (z->dtype == bytes->dtype && tn_tensor_numel(z) == 1));
}

bool tni_cpu_quantize_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F32 && one_scale(q, &q->out[0]);
}
bool tni_cpu_dequantize_supports(const TnKernelQuery *q) {
    return q->out[0].dtype == TN_F32 && one_scale(q, &q->in[0]);
}

double tni_cpu_quantize_cost_scalar(const TnKernelQuery *q) {
    return 300.0 + (double)tn_tensor_numel(&q->in[0]) * 2.0;
}
double tni_cpu_quantize_cost_avx2(const TnKernelQuery *q) {
    return 300.0 + (double)tn_tensor_numel(&q->in[0]) * 0.3;
}
double tni_cpu_quantize_cost_avx512(const TnKernelQuery *q) {
    return 300.0 + (double)tn_tensor_numel(&q->in[0]) * 0.2;
}
