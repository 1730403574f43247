/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the move kernels take, and their costs. */
#include "backend/cpu/move/move.h"

static bool index_type(const TnTensor *t) {
    return !tni_cpu_present(t) || t->dtype == TN_I64 || t->dtype == TN_I32;
}

/* Inputs that carry data, as opposed to arguments, are the first, or all of them for concat, or the value of pad. */
bool tni_cpu_move_supports(const TnKernelQuery *q) {
    if (!tni_cpu_copyable(q->in[0].dtype))
        return false;
    for (uint32_t i = 1; i < q->n_in; i++) {
        bool data = q->op == TN_OP_concat || (q->op == TN_OP_pad && i == 2);
        if (data ? tni_cpu_present(&q->in[i]) && q->in[i].dtype != q->in[0].dtype : !index_type(&q->in[i]))
            return false;
    }
    return true;
}

bool tni_cpu_one_hot_supports(const TnKernelQuery *q) {
    return tni_cpu_copyable(q->out[0].dtype) && index_type(&q->in[0]) && index_type(&q->in[1]) && q->in[2].dtype == q->out[0].dtype;
}

bool tni_cpu_constant_of_shape_supports(const TnKernelQuery *q) {
    uint32_t bytes = tni_cpu_elem_bytes(q->out[0].dtype);
    return bytes >= 1 && bytes <= 8 && q->out[0].dtype == (TnDtype)((const TnFillParams *)q->params)->dtype;
}

double tni_cpu_move_cost(const TnKernelQuery *q) {
    double bytes = 0;
    for (uint32_t i = 0; i < q->n_out; i++)
        bytes += (double)tn_tensor_bytes(&q->out[i]);
    return 100.0 + bytes * 0.12;
}
double tni_cpu_transpose_cost_scalar(const TnKernelQuery *q) {
    return tni_cpu_move_cost(q) * 3.0;
}
double tni_cpu_transpose_cost_avx2(const TnKernelQuery *q) {
    return tni_cpu_move_cost(q) * 1.2;
}
double tni_cpu_transpose_cost_avx512(const TnKernelQuery *q) {
    return tni_cpu_move_cost(q);
}
