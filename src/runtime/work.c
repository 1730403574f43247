/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bound step has to do, at the least: bytes that it must read and write, floating-point operations. In: tensors with dims. Out: numbers for
 * comparison with the ceilings of a machine. Where contents decide (which rows a gather reads), what the results hold counts. */
#include "runtime/runtime.h"

typedef struct Work {
    const RtCall *c;
    const PlanStep *st;
    const void *params;
    TnOp op;
} Work;

static double numel(const TnTensor *t) {
    double n = 1;
    for (int32_t d = 0; t->dtype != TN_UNDEFINED && d < t->rank; d++)
        n *= (double)t->dims[d];
    return t->dtype == TN_UNDEFINED ? 0 : n;
}

/* Multiply-adds of a product: elements of the result times the length of the sums. */
static double product(const Work *w) {
    const TnTensor *a = &w->c->in[0], *b = &w->c->in[1], *y = &w->c->out[0];
    double k = 1;
    switch (w->op) {
    case TN_OP_gemm: {
        const TnGemmParams *p = w->params;
        k = (double)(p->trans_a ? a->dims[0] : a->dims[a->rank - 1]);
        break;
    }
    case TN_OP_mlp: /* both products */
        k = (double)b->dims[((const TnMlpParams *)w->params)->trans_1 ? 0 : 1];
        return k * (numel(a) + numel(y));
    case TN_OP_matmul:
    case TN_OP_matmul_integer:
        k = a->rank ? (double)a->dims[a->rank - 1] : 1;
        break;
    case TN_OP_conv:
    case TN_OP_conv_integer: /* weights [M, C / group, kernel...]: all but M */
        k = b->rank && b->dims[0] ? numel(b) / (double)b->dims[0] : 0;
        break;
    case TN_OP_conv_transpose: /* each element of the input meets all of its channel's weights */
        return b->rank && b->dims[0] ? numel(a) * numel(b) / (double)b->dims[0] : 0;
    default:
        return 0;
    }
    return numel(y) * k;
}

static double attention(const Work *w) {
    const TnAttentionParams *p = w->params;
    const TnTensor *q = &w->c->in[0], *k = &w->c->in[1];
    if (w->op != TN_OP_attention || q->rank < 3 || k->rank < 3)
        return 0;
    double sq = (double)(p->q_layout == TN_LAYOUT_BSHD ? q->dims[1] : q->dims[2]);
    double sk = (double)(p->k_layout == TN_LAYOUT_BSHD ? k->dims[1] : p->k_layout == TN_LAYOUT_BHSD ? k->dims[2] : k->dims[k->rank - 1]);
    return (double)q->dims[0] * p->heads * sq * sk * (p->d_qk + p->d_v);
}

/* Operand 0 is read only where results come from it. */
static bool reads_a_part(TnOp op) {
    return op == TN_OP_gather || op == TN_OP_gather_elements || op == TN_OP_gather_nd || op == TN_OP_slice || op == TN_OP_attention_step ||
           op == TN_OP_shape || op == TN_OP_size;
}

void tni_rt_work(const Plan *p, const RtFrame *f, uint32_t s, uint64_t *bytes, double *flops) {
    const PlanStep *st = &f->prog->steps[s];
    Work w = {&f->calls[s], st, p->params + st->params, f->prog->rt[s].op};
    *bytes = 0;
    *flops = 0;
    if (w.c->skip || f->prog->rt[s].control)
        return;
    uint64_t out = 0;
    for (uint32_t i = 0; i < st->n_out; i++)
        out += w.c->out[i].dtype == TN_UNDEFINED ? 0 : tn_tensor_bytes(&w.c->out[i]);
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint64_t n = w.c->in[i].dtype == TN_UNDEFINED ? 0 : tn_tensor_bytes(&w.c->in[i]);
        bool same = false;
        for (uint32_t k = 0; k < i; k++)
            same |= w.c->in[k].data == w.c->in[i].data && w.c->in[i].data; /* a merged projection is read once */
        if (!same)
            *bytes += i == 0 && reads_a_part(w.op) ? TN_MIN(n, out) : n;
    }
    *bytes += out;
    *flops = 2 * (product(&w) + attention(&w));
}
