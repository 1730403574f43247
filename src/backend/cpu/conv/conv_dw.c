/* SPDX-License-Identifier: Apache-2.0
 *
 * Depthwise convolution: what it accepts, its packing and tasks; the arithmetic is in conv_tmpl.c. */
#include "backend/cpu/conv/conv.h"

#define MAX_VL 16

static bool describe(TniConv *v, const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out) {
    if (!tni_conv_describe(v, p, in, n_in, out) || v->cg != 1 || v->mg != 1)
        return false;
    /* NCHW: one padded plane, its columns split by stride phase, every phase with room for a vector past its end */
    if (!v->channels_last) {
        int64_t rows = (v->oh - 1) * v->sh + (v->kh - 1) * v->dh + 1, cols = v->ow + ((v->kw - 1) * v->dw) / v->sw + 1 + MAX_VL;
        v->work_floats = tni_align_up((size_t)(TN_MAX(rows, 0) * v->sw * TN_MAX(cols, 0)), 16);
    }
    return true;
}

bool tni_conv_dw_supports(const TnKernelQuery *q) {
    TniConv v;
    return describe(&v, q->params, q->in, q->n_in, &q->out[0]);
}

static size_t taps_floats(const TniConv *v) {
    return tni_align_up((size_t)(v->kh * v->kw * v->c), 16);
}

static size_t scratch_floats(const TniConv *v, bool packed, size_t threads) {
    return v->channels_last ? (packed ? 0 : taps_floats(v)) : threads * v->work_floats;
}

size_t tni_conv_dw_scratch(const TnKernelQuery *q) {
    TniConv v;
    if (!describe(&v, q->params, q->in, q->n_in, &q->out[0]))
        return 0;
    return scratch_floats(&v, q->in[1].data != NULL, TN_MAX(q->threads, 1u)) * sizeof(float);
}

size_t tni_conv_dw_packed_bytes(const TnKernelQuery *q, uint32_t i) {
    TniConv v;
    if (i != 1 || q->in[1].data == NULL || !describe(&v, q->params, q->in, q->n_in, &q->out[0]) || !v.channels_last)
        return 0;
    return taps_floats(&v) * sizeof(float);
}

static void pack_taps(const TniConv *v, float *dst) {
    int64_t taps = v->kh * v->kw;
    for (int64_t t = 0; t < taps; t++)
        for (int64_t c = 0; c < v->c; c++)
            dst[t * v->c + c] = v->wt[c * taps + t];
}

void tni_conv_dw_pack(const TnKernelQuery *q, uint32_t i, void *dst) {
    (void)i;
    TniConv v;
    if (describe(&v, q->params, q->in, q->n_in, &q->out[0]))
        pack_taps(&v, dst);
}

static TnStatus dw_run(TnKernelCall *call, const TniConvIsa *isa) {
    TniConv v;
    if (!describe(&v, call->params, call->in, call->n_in, &call->out[0]))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: the operands are not those that the kernel was chosen for");
    if (v.b * v.c * v.oh * v.ow == 0)
        return TN_OK;
    v.packed = call->packed != NULL ? call->packed[1] : NULL;
    size_t need = scratch_floats(&v, v.packed != NULL, tni_threads_count(call->threads)) * sizeof(float);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    v.work = call->scratch;
    if (!v.channels_last) {
        tni_parallel_for(call->threads, v.b * v.c, isa->depthwise_nchw, &v);
        return TN_OK;
    }
    if (v.packed == NULL) {
        pack_taps(&v, call->scratch);
        v.packed = call->scratch;
    }
    /* Bands of rows with some 200k multiply-adds each, an even number where there are enough rows. */
    int64_t row = v.ow * v.c * v.kh * v.kw, rows = TN_MAX(200000 / TN_MAX(row, 1), 1);
    v.bands = TN_MIN(tni_ceil_div(tni_ceil_div(v.oh, rows), 2) * 2, v.oh);
    tni_parallel_for(call->threads, v.b * v.bands, isa->depthwise_last, &v);
    return TN_OK;
}

static double dw_cost(const TnKernelQuery *q, double macs_per_ns) {
    TniConv v;
    if (!describe(&v, q->params, q->in, q->n_in, &q->out[0]))
        return 1e30;
    double outputs = (double)(v.b * v.c * v.oh * v.ow);
    return 300.0 + outputs * ((double)(v.kh * v.kw) / macs_per_ns + 8.0 / 20.0);
}

/* The functions that kernels.inc names: one set an ISA. */
#define CONV_DW_ENTRIES(isa, macs)                                                                                                         \
    TnStatus tni_conv_dw_run_##isa(TnKernelCall *call) {                                                                                   \
        return dw_run(call, &tni_conv_isa_##isa);                                                                                          \
    }                                                                                                                                      \
    double tni_conv_dw_cost_##isa(const TnKernelQuery *q) {                                                                                \
        return dw_cost(q, macs);                                                                                                           \
    }

CONV_DW_ENTRIES(scalar, 1.0)
#if defined(__x86_64__)
CONV_DW_ENTRIES(avx2, 15.0)
CONV_DW_ENTRIES(avx512, 30.0)
#endif
