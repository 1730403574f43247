/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention for one ISA: softmax of blocks of scores, and one-token attention. Included by scalar.c, avx2.c and avx512.c. */
#include "backend/cpu/attention/attention.h"
#include "backend/cpu/gemm/act.h"

/* x[j] = scale * x[j] + b0[j] + b1[j] + c over whole vectors; lanes beyond n become -inf. Returns the maximum. Two vectors at a time: one
 * chain of maxima would wait for itself. */
TN_INLINE float score_loop(float *x, int64_t n, vf scale, const float *b0, const float *b1, vf c, const int biases) {
    vf m0 = vf_set1(-INFINITY), m1 = m0;
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        vf y0 = c, y1 = c;
        if (biases > 0) {
            y0 = vf_add(y0, vf_load(b0 + j));
            y1 = vf_add(y1, vf_load(b0 + j + VL));
        }
        if (biases > 1) {
            y0 = vf_add(y0, vf_load(b1 + j));
            y1 = vf_add(y1, vf_load(b1 + j + VL));
        }
        y0 = vf_fma(vf_load(x + j), scale, y0);
        y1 = vf_fma(vf_load(x + j + VL), scale, y1);
        vf_store(x + j, y0);
        vf_store(x + j + VL, y1);
        m0 = vf_max(m0, y0);
        m1 = vf_max(m1, y1);
    }
    for (; j < n; j += VL) {
        int64_t left = TN_MIN(n - j, (int64_t)VL);
        vf y = c;
        if (biases > 0)
            y = vf_add(y, vf_loadn(b0 + j, left));
        if (biases > 1)
            y = vf_add(y, vf_loadn(b1 + j, left));
        y = vf_sel(vm_first(left), vf_fma(vf_load(x + j), scale, y), vf_set1(-INFINITY));
        vf_store(x + j, y);
        m0 = vf_max(m0, y);
    }
    return vf_hmax(vf_max(m0, m1));
}

/* Biases with step 0 are one value for the row; NULL: none. */
static float score_row(float *x, int64_t n, float scale, const float *b0, int64_t s0, const float *b1, int64_t s1) {
    vf c = vf_zero(), vs = vf_set1(scale);
    if (b0 != NULL && s0 == 0) {
        c = vf_set1(*b0);
        b0 = NULL;
    }
    if (b1 != NULL && s1 == 0) {
        c = vf_add(c, vf_set1(*b1));
        b1 = NULL;
    }
    if (b0 == NULL) {
        b0 = b1;
        b1 = NULL;
    }
    if (b0 == NULL)
        return score_loop(x, n, vs, NULL, NULL, c, 0);
    return b1 == NULL ? score_loop(x, n, vs, b0, NULL, c, 1) : score_loop(x, n, vs, b0, b1, c, 2);
}

/* x[j] = exp(x[j] - max) over whole vectors; returns the sum. */
static float exp_row(float *x, int64_t n, float max) {
    vf m = vf_set1(max), s0 = vf_zero(), s1 = vf_zero();
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        vf a = vf_exp_le0(vf_sub(vf_load(x + j), m)), b = vf_exp_le0(vf_sub(vf_load(x + j + VL), m));
        vf_store(x + j, a);
        vf_store(x + j + VL, b);
        s0 = vf_add(s0, a);
        s1 = vf_add(s1, b);
    }
    for (; j < n; j += VL) {
        vf a = vf_exp_le0(vf_sub(vf_load(x + j), m));
        vf_store(x + j, a);
        s0 = vf_add(s0, a);
    }
    return vf_hsum(vf_add(s0, s1));
}

static void scale_row(float *y, int64_t n, float f) {
    vf v = vf_set1(f);
    int64_t j = 0;
    for (; j + VL <= n; j += VL)
        vf_store(y + j, vf_mul(vf_load(y + j), v));
    if (j < n)
        vf_storen(y + j, n - j, vf_mul(vf_loadn(y + j, n - j), v));
}

static const float *bias_at(const TniAttnView *v, int64_t b, int64_t h, int64_t i) {
    return v->p == NULL ? NULL : v->p + b * v->sb + h * v->sh + i * v->ss;
}

static void compute(void *ctx, int64_t task, uint32_t worker) {
    const TniAttn *a = ctx;
    int64_t block = task % a->blocks, h = task / a->blocks % a->h, b = task / a->blocks / a->h;
    int64_t r0 = a->sq * block / a->blocks, r1 = a->sq * (block + 1) / a->blocks;
    int64_t head = b * a->kv + h / (a->h / a->kv), shift = a->sk - a->sq;
    int64_t keys = a->causal ? TN_MIN(TN_MAX(r1 + shift, 1), a->sk) : a->sk; /* those that any row of the block sees */
    float *s = a->work + (size_t)worker * a->work_floats, *sum = s + a->rows * a->ld;
    TniGemmBlock scores = {.a = a->q.p + b * a->q.sb + h * a->q.sh + r0 * a->q.ss,
                           .lda = a->q.ss,
                           .b = a->k_packed + (size_t)head * a->k_floats,
                           .ldp = a->d * a->isa->nr,
                           .c = s,
                           .ldc = a->ld,
                           .m = r1 - r0,
                           .n = tni_ceil_div(keys, a->isa->nr / 2) * (a->isa->nr / 2),
                           .k = a->d};
    for (int i = 0; i < 2; i++)
        if (a->bias[i].p != NULL && a->bias[i].ss >= a->sk && a->bias[i].sd == 1) { /* a full bias is as large as the scores: fetch ahead */
            scores.ahead = bias_at(&a->bias[i], b, h, r0);
            scores.ahead_row = a->bias[i].ss;
        }
    a->isa->block(&scores);
    for (int64_t i = r0; i < r1; i++) {
        float *x = s + (i - r0) * a->ld;
        int64_t n = a->causal ? TN_MIN(TN_MAX(i + 1 + shift, 0), keys) : keys, whole = tni_ceil_div(n, VL) * VL;
        if (n == 0) { /* sees no key: 0 / 0, as a softmax over -inf */
            sum[i - r0] = 0.0f;
            memset(x, 0, (size_t)keys * sizeof *x);
            continue;
        }
        float max = score_row(x, n, a->scale, bias_at(&a->bias[0], b, h, i), a->bias[0].sd, bias_at(&a->bias[1], b, h, i), a->bias[1].sd);
        sum[i - r0] = exp_row(x, whole, max);
        if (whole < keys)
            memset(x + whole, 0, (size_t)(keys - whole) * sizeof *x);
    }
    float *y = a->out + b * a->out_sb + h * a->out_sh + r0 * a->out_ss;
    TniGemmBlock values = {.a = s,
                           .lda = a->ld,
                           .b = a->v_packed + (size_t)head * a->v_floats,
                           .ldp = a->sk * a->isa->nr,
                           .c = y,
                           .ldc = a->out_ss,
                           .m = r1 - r0,
                           .n = a->dv,
                           .k = keys};
    a->isa->block(&values);
    for (int64_t i = 0; i < r1 - r0; i++)
        scale_row(y + i * a->out_ss, a->dv, 1.0f / sum[i]);
}

/* ---- one token ---- */

/* dot of d elements of q with VL keys at once: one partial vector a key, summed across by a transpose. */
static vf dots(const float *q, const float *const *k, int64_t d) {
    vf acc[VL];
    TN_UNROLL
    for (int i = 0; i < VL; i++)
        acc[i] = vf_zero();
    for (int64_t c = 0; c < d; c += VL) {
        int64_t n = TN_MIN(d - c, (int64_t)VL);
        vf x = vf_loadn(q + c, n);
        TN_UNROLL
        for (int i = 0; i < VL; i++)
            acc[i] = vf_fma(x, vf_loadn(k[i] + c, n), acc[i]);
    }
    vf_transpose(acc);
    for (int w = VL / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            acc[i] = vf_add(acc[i], acc[i + w]);
    return acc[0];
}

/* y[0..n) of a head: sum over positions of p[j] * v_j, n <= 4 VL; four positions in flight. */
static void weigh(const TniAttnStep *a, const int32_t *lanes, int64_t lane_step, int64_t off, const float *p, float f, float *y,
                  int64_t n) {
    int64_t row = a->heads * a->d;
    vf acc[2][4];
    for (int u = 0; u < 2; u++)
        for (int i = 0; i < 4; i++)
            acc[u][i] = vf_zero();
    for (int64_t j = 0; j < a->length; j++) {
        const float *v = a->v + (lanes[j * lane_step] * a->positions + j) * row + off;
        vf w = vf_set1(p[j]);
        vf *t = acc[j & 1];
        for (int i = 0; i < 4; i++) {
            int64_t left = n - i * VL;
            if (left >= VL)
                t[i] = vf_fma(w, vf_load(v + i * VL), t[i]);
            else if (left > 0)
                t[i] = vf_fma(w, vf_loadn(v + i * VL, left), t[i]);
        }
    }
    for (int i = 0; i < 4; i++) {
        int64_t left = n - i * VL;
        if (left > 0)
            vf_storen(y + i * VL, TN_MIN(left, (int64_t)VL), vf_mul(vf_add(acc[0][i], acc[1][i]), vf_set1(f)));
    }
}

static void step_head(const TniAttnStep *a, int64_t r, int64_t h, float *s) {
    int64_t row = a->heads * a->d, lane_step = a->lane_cols > 1 ? 1 : 0;
    const int32_t *lanes = a->lanes + r * a->lane_cols;
    const float *q = a->q + r * a->q_row + h * a->d;
    for (int64_t j = 0; j < a->length; j += VL) {
        const float *k[VL];
        for (int64_t i = 0; i < VL; i++) {
            int64_t at = TN_MIN(j + i, a->length - 1);
            k[i] = a->k + (lanes[at * lane_step] * a->positions + at) * row + h * a->d;
        }
        vf_store(s + j, dots(q, k, a->d));
    }
    float max = score_row(s, a->length, a->scale, NULL, 0, NULL, 0);
    float sum = exp_row(s, tni_ceil_div(a->length, VL) * VL, max);
    for (int64_t c = 0; c < a->d; c += 4 * VL)
        weigh(a, lanes, lane_step, h * a->d + c, s, 1.0f / sum, a->out + r * row + h * a->d + c, TN_MIN(a->d - c, (int64_t)(4 * VL)));
}

static void step(void *ctx, int64_t task, uint32_t worker) {
    const TniAttnStep *a = ctx;
    int64_t r = task / a->groups, h0 = task % a->groups * a->per_group, h1 = TN_MIN(h0 + a->per_group, a->heads);
    for (int64_t h = h0; h < h1; h++)
        step_head(a, r, h, a->work + (size_t)worker * a->work_floats);
}

const TniAttnIsa TN_ISA(tni_attention_isa) = {.compute = compute, .step = step};
