/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions as matrix products: which rows of kernels.inc take which shapes, their arguments and estimates. */
#include "backend/cuda/conv/implicit.h"

#include "backend/cuda/conv/conv.h"

static void arguments(const TnKernelCall *call, const TniConv *v, bool taps_first, TniConvArgs *a) {
    const void *packed = tni_conv_packed(call);
    const bool last = v->channels_last != 0;
    const int64_t plane = (int64_t)v->h * v->w;
    const int64_t taps = (int64_t)v->kh * v->kw;
    const size_t size = tni_size_of(v->type);
    *a = (TniConvArgs){.x = call->in[0].data, .w = packed != NULL ? packed : call->in[1].data, .y = call->out[0].data};
    a->step_b = plane * v->c;
    a->step_c = last ? 1 : plane;
    a->step_h = last ? (int64_t)v->w * v->c : v->w;
    a->step_w = last ? v->c : 1;
    a->ldw = packed != NULL ? tni_conv_kp(v) : v->k;
    a->rows = v->batch * v->oh * v->ow;
    a->k = (int32_t)v->k;
    a->mg = v->mg;
    a->cg = v->cg;
    a->m = v->m;
    a->group = v->group;
    a->h = v->h;
    a->w_ = v->w;
    a->sh = v->sh;
    a->sw = v->sw;
    a->dh = v->dh;
    a->dw = v->dw;
    a->pt = v->pt;
    a->pl = v->pl;
    a->taps_first = taps_first ? 1 : 0;
    a->channels_last = v->channels_last;
    a->d_ow = tni_div_make(v->ow);
    a->d_oh = tni_div_make(v->oh);
    a->d_kw = tni_div_make(v->kw);
    a->d_inner = tni_div_make(taps_first ? v->cg : taps);
    a->d_positions = tni_div_make((int64_t)v->oh * v->ow);
    tni_conv_epilogue(call, v, &a->epi);
    const bool even = v->mg % 2 == 0, fours = v->mg % 4 == 0;
    a->pair = last && even && tni_is_aligned(a->y, 2 * size) && (!v->has_residual || tni_is_aligned(a->epi.residual, 2 * size));
    a->quad = last && fours && tni_is_aligned(a->y, 16) && (!v->has_residual || tni_is_aligned(a->epi.residual, 16));
}

/* Channels last without groups: rows of a window are runs of whole pieces of n elements that never lie in the padding at the sides. (Calls
 * are asked too: nothing here may look at operands' data, since a packed w is not there in its own form.) */
static bool runs_of(const TniConv *v, int64_t n) {
    return v->channels_last != 0 && v->group == 1 && v->pl == 0 && v->dw == 1 && (int64_t)v->kw * v->c % n == 0 &&
           (int64_t)v->kw * v->c < INT32_MAX && (int64_t)v->sw * v->c % n == 0 && (int64_t)v->w * v->c % n == 0 &&
           (int64_t)(v->ow - 1) * v->sw + v->kw <= v->w;
}

/* Channels first: rows of a window are whole pieces that never lie in the padding at the sides. */
static bool pieces_of(const TniConv *v) {
    const int32_t n = (int32_t)(16 / tni_size_of(v->type));
    return v->channels_last == 0 && v->cg > 0 && v->kw % n == 0 && v->sw % n == 0 && v->w % n == 0 && v->pl == 0 && v->dw == 1 &&
           (int64_t)(v->ow - 1) * v->sw + v->kw <= v->w;
}

/* The kinds need alignment, and sizes that may be open in a plan, which only the call shows; without them the elements are taken one by
 * one. */
static TnStatus run(TnKernelCall *call, TniConvKind kind, bool tf32) {
    TniConv v;
    TniConvArgs a;
    if (!tni_conv_shape(call->params, call->in, call->n_in, &call->out[0], &v))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: operands that the kernel does not take");
    if ((int64_t)v.batch * v.oh * v.ow * v.m == 0)
        return TN_OK;
    arguments(call, &v, kind == TNI_CONV_TC || kind == TNI_CONV_STRIP, &a);
    const bool whole_w = tni_is_aligned(a.w, 16) && a.ldw % (int64_t)(16 / tni_size_of(v.type)) == 0;
    if (!tni_is_aligned(a.x, 16) || !whole_w || (kind == TNI_CONV_STRIP && !runs_of(&v, 4)) || (kind == TNI_CONV_PATCH && !pieces_of(&v)))
        kind = TNI_CONV_ANY;
    if (kind == TNI_CONV_STRIP) {
        kind = runs_of(&v, (int64_t)(16 / tni_size_of(v.type))) ? TNI_CONV_STRIP : TNI_CONV_STRIP_HALF;
        a.d_kw = tni_div_make((int64_t)v.kw * v.c);
    }
    switch (v.type) {
    case TN_F16:
        return tni_conv_implicit_f16(call, kind, whole_w, &a);
    case TN_BF16:
        return tni_conv_implicit_bf16(call, kind, whole_w, &a);
    default:
        return (tf32 ? tni_conv_implicit_tf32 : tni_conv_implicit_f32)(call, kind, whole_w, &a);
    }
}

TnStatus tni_cuda_conv_tc_run(TnKernelCall *call) { return run(call, TNI_CONV_TC, false); }
TnStatus tni_cuda_conv_tc_run_tf32(TnKernelCall *call) { return run(call, TNI_CONV_TC, true); }
TnStatus tni_cuda_conv_patch_run(TnKernelCall *call) { return run(call, TNI_CONV_PATCH, false); }
TnStatus tni_cuda_conv_patch_run_tf32(TnKernelCall *call) { return run(call, TNI_CONV_PATCH, true); }
TnStatus tni_cuda_conv_strip_run(TnKernelCall *call) { return run(call, TNI_CONV_STRIP, false); }
TnStatus tni_cuda_conv_strip_run_tf32(TnKernelCall *call) { return run(call, TNI_CONV_STRIP, true); }
TnStatus tni_cuda_conv_any_run(TnKernelCall *call) { return run(call, TNI_CONV_ANY, false); }
TnStatus tni_cuda_conv_any_run_tf32(TnKernelCall *call) { return run(call, TNI_CONV_ANY, true); }

static bool tc(const TnKernelQuery *q, TnDtype type) {
    TniConv v;
    return tni_conv_query(q, &v) && v.type == type && v.channels_last != 0 && v.constant_w && v.cg > 0 &&
           v.cg % (int32_t)(16 / tni_size_of(type)) == 0;
}
bool tni_cuda_conv_tc_f16(const TnKernelQuery *q) { return tc(q, TN_F16); }
bool tni_cuda_conv_tc_bf16(const TnKernelQuery *q) { return tc(q, TN_BF16); }
bool tni_cuda_conv_tc_f32(const TnKernelQuery *q) { return tc(q, TN_F32); }

static bool patch(const TnKernelQuery *q, TnDtype type) {
    TniConv v;
    return tni_conv_query(q, &v) && v.type == type && pieces_of(&v);
}
bool tni_cuda_conv_patch_f16(const TnKernelQuery *q) { return patch(q, TN_F16); }
bool tni_cuda_conv_patch_bf16(const TnKernelQuery *q) { return patch(q, TN_BF16); }
bool tni_cuda_conv_patch_f32(const TnKernelQuery *q) { return patch(q, TN_F32); }

/* Pieces of 16 bytes, or of 8 where elements have 2. */
static bool strip(const TnKernelQuery *q, TnDtype type) {
    TniConv v;
    return tni_conv_query(q, &v) && v.type == type && v.constant_w && runs_of(&v, 4);
}
bool tni_cuda_conv_strip_f16(const TnKernelQuery *q) { return strip(q, TN_F16); }
bool tni_cuda_conv_strip_bf16(const TnKernelQuery *q) { return strip(q, TN_BF16); }
bool tni_cuda_conv_strip_f32(const TnKernelQuery *q) { return strip(q, TN_F32); }

static bool any(const TnKernelQuery *q, TnDtype type) {
    TniConv v;
    return tni_conv_query(q, &v) && v.type == type;
}
bool tni_cuda_conv_any_f16(const TnKernelQuery *q) { return any(q, TN_F16); }
bool tni_cuda_conv_any_bf16(const TnKernelQuery *q) { return any(q, TN_BF16); }
bool tni_cuda_conv_any_f32(const TnKernelQuery *q) { return any(q, TN_F32); }

/* slow: how much the loads cost against whole pieces. */
static double cost(const TnKernelQuery *q, bool tf32, double slow) {
    TniConv v;
    if (q->device == NULL || !tni_conv_query(q, &v))
        return 1e30;
    const double sms = (double)q->device->sm_count, rows = (double)v.batch * v.oh * v.ow;
    const double rate = v.type != TN_F32 ? q->device->half_flops * 0.3 : tf32 ? q->device->tf32_flops * 0.3 : q->device->float_flops * 0.6;
    const double bn = v.mg > 64 && slow == 1.0 ? 128.0 : 64.0, bm = slow == 1.0 ? 128.0 : 64.0;
    const double tiles = (double)(int64_t)((rows + bm - 1) / bm) * (double)(int64_t)((v.mg + bn - 1) / bn) * v.group;
    const double each = tiles < sms ? TN_MAX(tiles / sms, 0.3) : (double)(int64_t)((tiles + sms - 1) / sms);
    const double multiply = each * 2.0 * bm * bn * (double)TN_MAX(v.k, 16) / (rate * 1e-9 / sms);
    const double load = slow == 1.0 ? 0.0 : each * (bm + bn * (v.constant_w ? 0.1 : 1.0)) * (double)TN_MAX(v.k, 16) * 0.12; /* elements */
    return 3000.0 + TN_MAX(multiply + load, tni_cuda_bytes(q) / (q->device->bytes_per_second * 0.8e-9));
}
double tni_cuda_conv_tc_cost(const TnKernelQuery *q) { return cost(q, false, 1.0); }
double tni_cuda_conv_tc_cost_tf32(const TnKernelQuery *q) { return cost(q, true, 1.0); }
/* Short runs of x: fewer bytes a copy, more arithmetic for each. As measured against whole pieces of channels. */
static double strip_cost(const TnKernelQuery *q, bool tf32) { return 3000.0 + (cost(q, tf32, 1.0) - 3000.0) * 1.8; }
double tni_cuda_conv_strip_cost(const TnKernelQuery *q) { return strip_cost(q, false); }
double tni_cuda_conv_strip_cost_tf32(const TnKernelQuery *q) { return strip_cost(q, true); }
double tni_cuda_conv_any_cost(const TnKernelQuery *q) { return cost(q, false, 2.0); }
double tni_cuda_conv_any_cost_tf32(const TnKernelQuery *q) { return cost(q, true, 2.0); }
