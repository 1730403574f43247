/* SPDX-License-Identifier: Apache-2.0
 *
 * Host half of attention: operands to addresses and strides, what each row takes, what it is estimated to cost, which kernel it calls. */
#include "backend/cuda/attention/attention.h"

/* False when t does not have this layout with `heads` heads of d elements. *s: its tokens. */
static bool view_of(const TnTensor *t, uint32_t layout, uint32_t off, int64_t heads, int64_t d, TniCudaAttnView *v, int64_t *s) {
    const int64_t *n = t->dims;
    const size_t es = tni_size_of(t->dtype);
    *v = (TniCudaAttnView){.p = t->data, .sd = 1};
    if (layout == TN_LAYOUT_BSHD) {
        int64_t w = t->rank == 3 ? n[2] : t->rank == 4 ? n[2] * n[3] : -1;
        if ((t->rank == 4 && (n[2] != heads || n[3] != d || off != 0)) || w < (int64_t)off + heads * d)
            return false;
        *s = n[1];
        v->sb = n[1] * w;
        v->ss = w;
        v->sh = d;
        if (v->p != NULL)
            v->p = (const char *)v->p + (size_t)off * es;
    } else {
        bool swapped = layout == TN_LAYOUT_BHDS;
        if (t->rank != 4 || n[1] != heads || n[swapped ? 2 : 3] != d || off != 0 || (layout != TN_LAYOUT_BHSD && !swapped))
            return false;
        *s = n[swapped ? 3 : 2];
        v->sh = n[2] * n[3];
        v->sb = heads * v->sh;
        v->ss = swapped ? 1 : d;
        v->sd = swapped ? *s : 1;
    }
    const int64_t all = v->sb | v->sh | v->ss | d;
    v->wide = v->sd == 1 && tni_is_aligned(v->p, 16) && all * (int64_t)es % 16 == 0;
    v->pairs = v->sd == 1 && tni_is_aligned(v->p, 2 * es) && all % 2 == 0;
    return true;
}

/* Rows may be padded: strides come from the real dims. */
static bool bias_of(const TnTensor *t, const TniCudaAttn *a, TnDtype T, TniCudaAttnBias *v) {
    const int64_t want[4] = {a->b, a->h, a->sq, a->sk}, padded = tni_div_up(a->sk, TN_BIAS_PAD) * TN_BIAS_PAD;
    int64_t stride[4] = {0, 0, 0, 0}, step = 1;
    if ((t->dtype != TN_F32 && t->dtype != T) || t->rank > 4)
        return false;
    for (int32_t i = t->rank - 1, at = 3; i >= 0; i--, at--) {
        if (t->dims[i] != 1 && t->dims[i] != want[at] && (at != 3 || t->dims[i] != padded))
            return false;
        stride[at] = t->dims[i] == 1 ? 0 : step;
        step *= t->dims[i];
    }
    *v = (TniCudaAttnBias){.p = t->data,
                           .end = t->data == NULL ? NULL : (const char *)t->data + (size_t)step * tni_size_of(t->dtype),
                           .sb = stride[0],
                           .sh = stride[1],
                           .si = stride[2],
                           .sj = stride[3],
                           .f32 = t->dtype == TN_F32};
    return true;
}

static void sort_biases(TniCudaAttn *a, const bool *there) {
    uint32_t dense = 0, strided = 0;
    for (uint32_t i = 0; i < 2; i++)
        if (there[i] && a->bias[i].si != 0) {
            a->dense = i;
            dense++;
            strided += a->bias[i].sj != 1 && a->sk > 1;
        }
    a->bias_kind = dense == 0 ? TNI_ATTN_BY_KEY : dense == 1 && strided == 0 ? TNI_ATTN_DENSE : TNI_ATTN_MIXED;
}

bool tni_cuda_attn_describe(TniCudaAttn *a, const TnAttentionParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, TnDtype T) {
    int64_t sq = 0, sk = 0, sv = 0, kv = p->kv_heads;
    bool there[2] = {false, false};
    *a = (TniCudaAttn){.h = (int32_t)p->heads, .d = (int32_t)p->d_qk, .dv = (int32_t)p->d_v, .scale = p->scale, .causal = p->causal != 0};
    if (n_in < 3 || a->h <= 0 || kv == 0 || a->h % kv != 0 || a->d <= 0 || a->dv <= 0 || !tni_is_real(T))
        return false;
    if (in[0].dtype != T || in[1].dtype != T || in[2].dtype != T || out->dtype != T || p->q_layout == TN_LAYOUT_BHDS ||
        p->v_layout == TN_LAYOUT_BHDS || p->out_layout == TN_LAYOUT_BHDS)
        return false;
    if (!view_of(&in[0], p->q_layout, p->q_off, a->h, a->d, &a->q, &sq) || !view_of(&in[1], p->k_layout, p->k_off, kv, a->d, &a->k, &sk) ||
        !view_of(&in[2], p->v_layout, p->v_off, kv, a->dv, &a->v, &sv))
        return false;
    const int64_t b = in[0].dims[0], most = INT32_MAX / 2;
    if (sv != sk || in[1].dims[0] != b || in[2].dims[0] != b || b > most || sq > most || sk > most || b * a->h * tni_div_up(sq, 16) > most)
        return false;
    a->b = (int32_t)b;
    a->sq = (int32_t)sq;
    a->sk = (int32_t)sk;
    a->group = a->h / (int32_t)kv;
    for (uint32_t i = 3; i < n_in && i < 5; i++)
        if (in[i].dtype != TN_UNDEFINED) {
            if (!bias_of(&in[i], a, T, &a->bias[i - 3]))
                return false;
            there[i - 3] = true;
        }
    sort_biases(a, there);
    const bool by_token = p->out_layout == TN_LAYOUT_BSHD;
    a->out_ss = by_token ? (int64_t)a->h * a->dv : a->dv;
    a->out_sh = by_token ? a->dv : sq * a->dv;
    a->out_sb = sq * a->h * a->dv;
    a->out = out->data;
    a->out_wide = tni_is_aligned(out->data, 16) && (size_t)a->dv * tni_size_of(T) % 16 == 0;
    return tn_tensor_numel(out) == b * a->out_sb;
}

/* ---- rows ---- */

static bool describe_query(const TnKernelQuery *q, TniCudaAttn *a, TnDtype T) {
    return tni_cuda_attn_describe(a, q->params, q->in, q->n_in, &q->out[0], T);
}

static TnStatus describe_call(TnKernelCall *call, TniCudaAttn *a, TnDtype T) {
    if (!tni_cuda_attn_describe(a, call->params, call->in, call->n_in, &call->out[0], T))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: operands of %s do not have the layouts of the parameters", tn_dtype_name(T));
    return TN_OK;
}

static int32_t head_size(const TniCudaAttn *a) {
    return TN_MAX(a->d, a->dv);
}

static int64_t padded_head(const TniCudaAttn *a) {
    int32_t d = head_size(a);
    return d <= 32 ? 32 : d <= 64 ? 64 : d <= 128 ? 128 : 256;
}

/* A block of `rows` queries goes over all keys; `resident` blocks run at once on an SM. efficiency: share of the rate a full GPU reaches. */
static double estimate(const TnKernelQuery *q, TnDtype T, int64_t rows, int64_t resident, double rate, double efficiency) {
    TniCudaAttn a;
    if (!describe_query(q, &a, T) || q->device == NULL)
        return 1e30;
    const double sm = (double)TN_MAX(q->device->sm_count, 1u);
    const double blocks = (double)a.b * a.h * (double)tni_div_up(a.sq, rows), slots = sm * (double)resident;
    /* Work of a block: padded queries, keys in steps of 64, a fixed part; blocks that share an SM share its rate. */
    const double keys = (double)tni_div_up(a.sk, 64) * 64.0, flops = 4.0 * (double)rows * keys * (double)padded_head(&a);
    const double rate_sm = rate * efficiency / sm;
    double waves = blocks / slots, full = (double)(int64_t)waves, rest = waves - full;
    double ns = full * (double)resident * flops / rate_sm * 1e9;
    if (rest > 0.0)
        ns += TN_MAX(1.0, (double)resident * rest * 0.999) * flops / rate_sm * 1e9;
    ns += (full + 1.0) * (600.0 + 25.0 * keys / 64.0);
    const double moving = tni_cuda_cost(q, tni_cuda_bytes(q), 0.0, 0.0);
    return TN_MAX(2000.0 + ns, moving);
}

/* most: largest head size of the row. */
static bool fits(const TnKernelQuery *q, TnDtype T, int32_t most) {
    TniCudaAttn a;
    return describe_query(q, &a, T) && head_size(&a) <= most;
}

#define MMA_ROW(type, T, rows, most, resident, efficiency)                                                       \
    TnStatus tni_cuda_attention_##type##_##rows(TnKernelCall *call) {                                            \
        TniCudaAttn a;                                                                                           \
        TN_TRY(describe_call(call, &a, T));                                                                      \
        return tni_cuda_attn_mma_##type(call, &a, TNI_ATTN_##rows);                                              \
    }                                                                                                            \
    bool tni_cuda_attention_##type##_##rows##_supports(const TnKernelQuery *q) { return fits(q, T, most); }      \
    double tni_cuda_attention_##type##_##rows##_cost(const TnKernelQuery *q) {                                   \
        return estimate(q, T, rows, resident, q->device == NULL ? 0.0 : q->device->half_flops, efficiency);      \
    }
MMA_ROW(f16, TN_F16, 128, 64, 2, 0.40)
MMA_ROW(f16, TN_F16, 64, 256, 3, 0.33)
MMA_ROW(f16, TN_F16, 32, 128, 4, 0.28)
MMA_ROW(f16, TN_F16, 16, 128, 4, 0.18)
MMA_ROW(bf16, TN_BF16, 128, 64, 2, 0.40)
MMA_ROW(bf16, TN_BF16, 64, 256, 3, 0.33)
MMA_ROW(bf16, TN_BF16, 32, 128, 4, 0.28)
MMA_ROW(bf16, TN_BF16, 16, 128, 4, 0.18)

#define TF32_ROW(rows, resident, efficiency)                                                                          \
    TnStatus tni_cuda_attention_tf32_##rows(TnKernelCall *call) {                                                     \
        TniCudaAttn a;                                                                                                \
        TN_TRY(describe_call(call, &a, TN_F32));                                                                      \
        return tni_cuda_attn_tf32(call, &a, TNI_ATTN_##rows);                                                         \
    }                                                                                                                 \
    bool tni_cuda_attention_tf32_##rows##_supports(const TnKernelQuery *q) { return fits(q, TN_F32, 128); }           \
    double tni_cuda_attention_tf32_##rows##_cost(const TnKernelQuery *q) {                                            \
        return estimate(q, TN_F32, rows, resident, q->device == NULL ? 0.0 : q->device->tf32_flops, efficiency);      \
    }
TF32_ROW(64, 2, 0.35)
TF32_ROW(16, 4, 0.2)

#define SIMT_ROW(rows, most, resident, efficiency)                                                                    \
    TnStatus tni_cuda_attention_f32_##rows(TnKernelCall *call) {                                                      \
        TniCudaAttn a;                                                                                                \
        TN_TRY(describe_call(call, &a, TN_F32));                                                                      \
        return tni_cuda_attn_simt(call, &a, rows);                                                                    \
    }                                                                                                                 \
    bool tni_cuda_attention_f32_##rows##_supports(const TnKernelQuery *q) { return fits(q, TN_F32, most); }           \
    double tni_cuda_attention_f32_##rows##_cost(const TnKernelQuery *q) {                                             \
        return estimate(q, TN_F32, rows, resident, q->device == NULL ? 0.0 : q->device->float_flops, efficiency);     \
    }
SIMT_ROW(128, 128, 2, 0.6)
SIMT_ROW(64, 256, 2, 0.5)
SIMT_ROW(16, 256, 3, 0.2)

#define ANY_ROW(type, T)                                                                                                 \
    TnStatus tni_cuda_attention_any_##type(TnKernelCall *call) {                                                         \
        TniCudaAttn a;                                                                                                   \
        TN_TRY(describe_call(call, &a, T));                                                                              \
        return tni_cuda_attn_any(call, &a, T);                                                                           \
    }                                                                                                                    \
    bool tni_cuda_attention_any_##type##_supports(const TnKernelQuery *q) { return fits(q, T, 1024); }                   \
    double tni_cuda_attention_any_##type##_cost(const TnKernelQuery *q) {                                                \
        return estimate(q, T, 1, 16, q->device == NULL ? 0.0 : q->device->float_flops, 0.02);                            \
    }
ANY_ROW(f32, TN_F32)
ANY_ROW(f16, TN_F16)
ANY_ROW(bf16, TN_BF16)
