/* SPDX-License-Identifier: Apache-2.0
 *
 * matmul, gemm, einsum, attention, attention_step, cache_append against loops straight from the definitions. */
#include "ref_test.h"

static void same_as(const float *got, const double *want, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= 1e-7 * (1 + fabs(want[i]))))
            fail_msg("element %d is %.9g, expected %.9g", (int)i, (double)got[i], want[i]);
}

static void matmul_small(void **state) {
    (void)state;
    float y[8];
    RUN(matmul, NULL, T(TN_F32, y, 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, F(5, 6, 7, 8), 2, 2));
    SAME_F(y, 4, 19, 22, 43, 50);
    RUN(matmul, NULL, T0(TN_F32, y), T(TN_F32, F(1, 2), 2), T(TN_F32, F(3, 4), 2));
    SAME_F(y, 1, 11);
    RUN(matmul, NULL, T(TN_F32, y, 2), T(TN_F32, F(1, 2), 2), T(TN_F32, F(5, 6, 7, 8), 2, 2));
    SAME_F(y, 2, 19, 22);
    RUN(matmul, NULL, T(TN_F32, y, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, F(5, 6), 2));
    SAME_F(y, 2, 17, 39);
    /* batches broadcast: [2,1,1,2] x [2,2,1] */
    RUN(matmul, NULL, T(TN_F32, y, 2, 2, 1, 1), T(TN_F32, F(1, 2, 3, 4), 2, 1, 1, 2), T(TN_F32, F(1, 1, 2, 2), 2, 2, 1));
    SAME_F(y, 4, 3, 6, 7, 14);
    RUN(matmul, NULL, T(TN_F32, y, 1, 2), T(TN_F32, NULL, 1, 0), T(TN_F32, NULL, 0, 2)); /* empty sums */
    SAME_F(y, 2, 0, 0);
    RUN(matmul, NULL, T(TN_F32, NULL, 0, 2), T(TN_F32, NULL, 0, 3), T(TN_F32, y, 3, 2));
    int32_t i[2];
    RUN(matmul, NULL, T(TN_I32, i, 1, 2), T(TN_I32, LIST(int32_t, INT32_MAX, 2), 1, 2), T(TN_I32, LIST(int32_t, 2, 1, 3, 1), 2, 2));
    SAME_I(i, 2, 4, (int32_t)(INT32_MAX + 2u));
}

static void products_of_bytes(void **state) {
    (void)state;
    int32_t y[4];
    const TnTensor a = T(TN_U8, LIST(uint8_t, 255, 0, 3, 7), 2, 2), b = T(TN_I8, LIST(int8_t, -128, 127, 2, -1), 2, 2);
    RUN(matmul_integer, NULL, T(TN_I32, y, 2, 2), a, b);
    SAME_I(y, 4, 255 * -128, 255 * 127, 3 * -128 + 7 * 2, 3 * 127 - 7);
    RUN(matmul_integer, NULL, T(TN_I32, y, 2, 2), a, b, T0(TN_U8, LIST(uint8_t, 3)), T(TN_I8, LIST(int8_t, 1, -1), 2));
    SAME_I(y, 4, 252 * -129 - 3 * 1, 252 * 128, 4 * 1, 0);
    /* 1 x 2 picture, 1 x 2 kernel, padding of one column in front: the zero point, not 0 */
    const TnConvParams p = {.n_spatial = 1, .group = 1, .kernel = {2}, .stride = {1}, .dilation = {1}, .pads = {1, 0}};
    RUN(conv_integer, &p, T(TN_I32, y, 1, 2, 2), T(TN_U8, LIST(uint8_t, 10, 200), 1, 1, 2), T(TN_I8, LIST(int8_t, 1, 2, -3, 4), 2, 1, 2),
        T0(TN_U8, LIST(uint8_t, 100)), T(TN_I8, LIST(int8_t, 0, 1), 2));
    SAME_I(y, 4, -90 * 2, -90 + 100 * 2, -90 * 3, -90 * -4 + 100 * 3);
}

static void matmul_large(void **state) {
    (void)state;
    const int64_t B = 2, M = 67, N = 131, K = 259;
    float *a = randoms(B * M * K, 1), *b = randoms(B * K * N, 2), *y = malloc((size_t)(B * M * N) * 4),
          *z = malloc((size_t)(B * M * N) * 4);
    double *want = calloc((size_t)(B * M * N), sizeof *want);
    for (int64_t c = 0; c < B; c++)
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < N; j++)
                for (int64_t k = 0; k < K; k++)
                    want[(c * M + i) * N + j] += (double)a[(c * M + i) * K + k] * (double)b[(c * K + k) * N + j];
    RUN(matmul, NULL, T(TN_F32, y, B, M, N), T(TN_F32, a, B, M, K), T(TN_F32, b, B, K, N));
    for (int64_t i = 0; i < B * M * N; i++)
        assert_true(y[i] == (float)want[i]); /* the same sums in the same order */
    TnThreads *t = NULL;
    TnError err = {0};
    assert_int_equal(tni_threads_create(NULL, 3, &t, &err), TN_OK);
    TnTensor in[2] = {T(TN_F32, a, B, M, K), T(TN_F32, b, B, K, N)}, out = T(TN_F32, z, B, M, N);
    assert_int_equal(call_ref(TN_OP_matmul, NULL, in, 2, &out, 1, NULL, t, &err), TN_OK);
    assert_memory_equal(y, z, (size_t)(B * M * N) * 4);
    tni_threads_destroy(&t);
    free(a);
    free(b);
    free(y);
    free(z);
    free(want);
}

static void gemm(void **state) {
    (void)state;
    float y[8];
    TnGemmParams p = {.alpha = 1, .beta = 1};
    RUN(gemm, &p, T(TN_F32, y, 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, F(5, 6, 7, 8), 2, 2), T(TN_F32, F(100, 200), 2));
    SAME_F(y, 4, 119, 222, 143, 250);
    p.trans_b = 1;
    RUN(gemm, &p, T(TN_F32, y, 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, F(5, 7, 6, 8), 2, 2), T(TN_F32, F(100, 200), 2, 1));
    SAME_F(y, 4, 119, 122, 243, 250);
    p = (TnGemmParams){.trans_a = 1, .alpha = 2, .beta = 0.5f};
    RUN(gemm, &p, T(TN_F32, y, 2, 2), T(TN_F32, F(1, 3, 2, 4), 2, 2), T(TN_F32, F(5, 6, 7, 8), 2, 2), T0(TN_F32, F(2)));
    SAME_F(y, 4, 39, 45, 87, 101);
    /* leading dims fold into M; activation before the residual */
    p = (TnGemmParams){.alpha = 1, .beta = 1, .act = TN_ACT_RELU};
    RUN(gemm, &p, T(TN_F32, y, 2, 1, 2), T(TN_F32, F(1, -1), 2, 1, 1), T(TN_F32, F(1, 2), 1, 2), NONE,
        T(TN_F32, F(-5, -6, -7, -8), 2, 1, 2));
    SAME_F(y, 4, -4, -4, -7, -8);
    p = (TnGemmParams){.alpha = 1, .beta = 1, .act = TN_ACT_CLIP, .act_alpha = 0, .act_beta = 1.5f};
    RUN(gemm, &p, T(TN_F32, y, 1, 2), T(TN_F32, F(1), 1, 1), T(TN_F32, F(-1, 2), 1, 2));
    SAME_F(y, 2, 0, 1.5f);
    int32_t i[2];
    p = (TnGemmParams){.alpha = 1, .beta = 1};
    RUN(gemm, &p, T(TN_I32, i, 1, 2), T(TN_I32, LIST(int32_t, 3), 1, 1), T(TN_I32, LIST(int32_t, 2, INT32_MAX), 1, 2),
        T(TN_I32, LIST(int32_t, 1, 4), 2));
    SAME_I(i, 2, 7, (int32_t)(3u * INT32_MAX + 4u));
}

static void einsum(void **state) {
    (void)state;
    float y[8];
    RUN(einsum, &((TnEinsumParams){"ij,jk->ik"}), T(TN_F32, y, 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, F(5, 6, 7, 8), 2, 2));
    SAME_F(y, 4, 19, 22, 43, 50);
    RUN(einsum, &((TnEinsumParams){"ii->i"}), T(TN_F32, y, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2));
    SAME_F(y, 2, 1, 4);
    RUN(einsum, &((TnEinsumParams){"ii->"}), T0(TN_F32, y), T(TN_F32, F(1, 2, 3, 4), 2, 2));
    SAME_F(y, 1, 5);
    RUN(einsum, &((TnEinsumParams){"ij->ji"}), T(TN_F32, y, 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2));
    SAME_F(y, 4, 1, 3, 2, 4);
    RUN(einsum, &((TnEinsumParams){"...j,j->..."}), T(TN_F32, y, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, F(1, 10), 2));
    SAME_F(y, 2, 21, 43);
    RUN(einsum, &((TnEinsumParams){"...ij,...jk->...ik"}), T(TN_F32, y, 2, 1, 1), T(TN_F32, F(1, 2, 3, 4), 2, 1, 2),
        T(TN_F32, F(1, 10), 2, 1));
    SAME_F(y, 2, 21, 43);
    RUN(einsum, &((TnEinsumParams){"a,b,c->"}), T0(TN_F32, y), T(TN_F32, F(1, 2), 2), T(TN_F32, F(3), 1), T(TN_F32, F(1, 1, 1), 3));
    SAME_F(y, 1, 27);
    RUN(einsum, &((TnEinsumParams){"ij,jk->ik"}), T(TN_F32, y, 1, 1), T(TN_F32, NULL, 1, 0), T(TN_F32, NULL, 0, 1));
    SAME_F(y, 1, 0);
    int64_t i[1];
    RUN(einsum, &((TnEinsumParams){"i,i->"}), T0(TN_I64, i), T(TN_I64, I(INT64_MAX, 1), 2), T(TN_I64, I(1, 1), 2));
    SAME_I(i, 1, INT64_MIN);
    TnError err = {0};
    TnTensor out = T(TN_F32, y, 2, 2), in = T(TN_F32, y, 2, 2);
    assert_int_equal(call_ref(TN_OP_einsum, &(TnEinsumParams){"ijk->ij"}, &in, 1, &out, 1, NULL, NULL, &err), TN_ERR_INTERNAL);
}

/* Attention from its definition on q, k, v given as [B, H, S, D]. */
static void naive(const float *q, const float *k, const float *v, const float *bias, int64_t B, int64_t H, int64_t KV, int64_t SQ,
                  int64_t SK, int64_t D, int64_t DV, double scale, bool causal, double *y) {
    double *s = malloc((size_t)SK * sizeof *s);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < SQ; i++) {
                double max = -INFINITY, sum = 0;
                const int64_t kv = b * KV + h / (H / KV);
                for (int64_t j = 0; j < SK; j++) {
                    s[j] = 0;
                    for (int64_t d = 0; d < D; d++)
                        s[j] += (double)q[((b * H + h) * SQ + i) * D + d] * (double)k[(kv * SK + j) * D + d];
                    s[j] *= scale;
                    if (bias != NULL) /* [B, 1, 1, SK] */
                        s[j] += (double)bias[b * SK + j];
                    if (causal && j > i + SK - SQ)
                        s[j] = -INFINITY;
                    max = fmax(max, s[j]);
                }
                for (int64_t j = 0; j < SK; j++)
                    sum += s[j] = exp(s[j] - max);
                for (int64_t d = 0; d < DV; d++) {
                    double *o = &y[((b * H + h) * SQ + i) * DV + d];
                    *o = 0;
                    for (int64_t j = 0; j < SK; j++)
                        *o += s[j] / sum * (double)v[(kv * SK + j) * DV + d];
                }
            }
    free(s);
}

/* [B, H, S, D] -> layout; `width` and `off` for rows of merged projections. */
static float *arrange(const float *x, int64_t B, int64_t H, int64_t S, int64_t D, uint32_t layout, int64_t width, int64_t off) {
    float *y = calloc((size_t)(B * S * TN_MAX(width, H * D)), sizeof *y);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t s = 0; s < S; s++)
                for (int64_t d = 0; d < D; d++) {
                    float v = x[((b * H + h) * S + s) * D + d];
                    if (layout == TN_LAYOUT_BSHD)
                        y[(b * S + s) * width + off + h * D + d] = v;
                    else if (layout == TN_LAYOUT_BHSD)
                        y[((b * H + h) * S + s) * D + d] = v;
                    else
                        y[((b * H + h) * D + d) * S + s] = v;
                }
    return y;
}

static void attention_case(int64_t B, int64_t H, int64_t KV, int64_t SQ, int64_t SK, int64_t D, int64_t DV, uint32_t ql, uint32_t kl,
                           uint32_t ol, bool causal, bool biased, int threads) {
    float *q = randoms(B * H * SQ * D, 1), *k = randoms(B * KV * SK * D, 2), *v = randoms(B * KV * SK * DV, 3), *bias = randoms(B * SK, 4);
    double *want = calloc((size_t)(B * H * SQ * DV), sizeof *want);
    naive(q, k, v, biased ? bias : NULL, B, H, KV, SQ, SK, D, DV, (double)0.3f, causal, want);
    const int64_t qw = H * D + 5, kw = KV * D + 3;
    float *qa = arrange(q, B, H, SQ, D, ql, qw, 2), *ka = arrange(k, B, KV, SK, D, kl, kw, 1),
          *va = arrange(v, B, KV, SK, DV, TN_LAYOUT_BHSD, 0, 0);
    float *y = calloc((size_t)(B * H * SQ * DV), sizeof *y);
    TnAttentionParams p = {.heads = (uint32_t)H,
                           .kv_heads = (uint32_t)KV,
                           .d_qk = (uint32_t)D,
                           .d_v = (uint32_t)DV,
                           .scale = 0.3f,
                           .causal = causal,
                           .q_layout = ql,
                           .k_layout = kl,
                           .v_layout = TN_LAYOUT_BHSD,
                           .out_layout = ol,
                           .q_off = ql == TN_LAYOUT_BSHD ? 2 : 0,
                           .k_off = kl == TN_LAYOUT_BSHD ? 1 : 0};
    TnTensor in[5] = {ql == TN_LAYOUT_BSHD ? T(TN_F32, qa, B, SQ, qw) : T(TN_F32, qa, B, H, SQ, D),
                      kl == TN_LAYOUT_BSHD   ? T(TN_F32, ka, B, SK, kw)
                      : kl == TN_LAYOUT_BHSD ? T(TN_F32, ka, B, KV, SK, D)
                                             : T(TN_F32, ka, B, KV, D, SK),
                      T(TN_F32, va, B, KV, SK, DV), biased ? T(TN_F32, bias, B, 1, 1, SK) : NONE, NONE};
    TnTensor out = ol == TN_LAYOUT_BSHD ? T(TN_F32, y, B, SQ, H * DV) : T(TN_F32, y, B, H, SQ, DV);
    TnThreads *t = NULL;
    TnError err = {0};
    assert_int_equal(tni_threads_create(NULL, (uint32_t)threads, &t, &err), TN_OK);
    TnStatus st = call_ref(TN_OP_attention, &p, in, 5, &out, 1, NULL, t, &err);
    if (st != TN_OK)
        fail_msg("%s", err.message);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < SQ; i++)
                same_as(y + (ol == TN_LAYOUT_BSHD ? ((b * SQ + i) * H + h) * DV : ((b * H + h) * SQ + i) * DV),
                        want + ((b * H + h) * SQ + i) * DV, DV);
    tni_threads_destroy(&t);
    free(q), free(k), free(v), free(bias), free(want), free(qa), free(ka), free(va), free(y);
}

static void attention(void **state) {
    (void)state;
    attention_case(2, 2, 2, 3, 5, 4, 4, TN_LAYOUT_BHSD, TN_LAYOUT_BHSD, TN_LAYOUT_BSHD, false, false, 1);
    attention_case(2, 2, 2, 3, 5, 4, 3, TN_LAYOUT_BSHD, TN_LAYOUT_BSHD, TN_LAYOUT_BSHD, false, true, 1);
    attention_case(1, 4, 2, 70, 150, 20, 8, TN_LAYOUT_BSHD, TN_LAYOUT_BHDS, TN_LAYOUT_BHSD, true, true, 2);
    attention_case(1, 1, 1, 5, 5, 130, 140, TN_LAYOUT_BHSD, TN_LAYOUT_BHSD, TN_LAYOUT_BSHD, true, false, 1);
    attention_case(1, 3, 1, 1, 300, 16, 16, TN_LAYOUT_BHSD, TN_LAYOUT_BSHD, TN_LAYOUT_BSHD, true, true, 3);
}

static void attention_masks(void **state) {
    (void)state;
    float y[2];
    TnAttentionParams p = {.heads = 1, .kv_heads = 1, .d_qk = 1, .d_v = 1, .scale = 1};
    const TnTensor x = T(TN_F32, F(0, 0), 1, 2, 1), v = T(TN_F32, F(3, 5), 1, 2, 1);
    RUN(attention, &p, T(TN_F32, y, 1, 2, 1), x, x, v, T(TN_F32, F(0, -INFINITY, -INFINITY, -INFINITY), 2, 2), NONE);
    SAME_F(y, 2, 3, NAN);
}

static void step_and_append(void **state) {
    (void)state;
    enum { L = 3, P = 4, H = 2, D = 2, W = H * D, R = 2 };
    static float kc[L * P * W], vc[L * P * W];
    const float rows[R * (2 * W)] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    TnError err = {0};
    TnCacheAppendParams ap = {.off = W, .width = W};
    TnTensor in[3] = {T(TN_F32, rows, R, 2 * W), T(TN_F32, kc, L, P, W), T(TN_I32, LIST(int32_t, 2, 1, 0, 3), R, 2)};
    assert_int_equal(call_ref(TN_OP_cache_append, &ap, in, 3, NULL, 0, NULL, NULL, &err), TN_OK);
    SAME_F(kc + (2 * P + 1) * W, 4, 5, 6, 7, 8);
    SAME_F(kc + 3 * W, 4, 13, 14, 15, 16);
    in[2] = T(TN_I32, LIST(int32_t, 2, 4, 0, 3), R, 2);
    assert_int_equal(call_ref(TN_OP_cache_append, &ap, in, 3, NULL, 0, NULL, NULL, &err), TN_ERR_RUN);

    uint32_t seed = 9;
    for (int i = 0; i < L * P * W; i++) {
        kc[i] = next_random(&seed);
        vc[i] = next_random(&seed);
    }
    const int32_t lanes[R * P] = {0, 2, 1, 99, 1, 1, 2, 99};
    float y[R * W];
    TnAttentionStepParams sp = {.heads = H, .d_head = D, .scale = 0.5f, .q_off = 1};
    float q[R * (W + 1)];
    for (int i = 0; i < R * (W + 1); i++)
        q[i] = next_random(&seed);
    TnTensor s[5] = {T(TN_F32, q, R, W + 1), T(TN_F32, kc, L, P, W), T(TN_F32, vc, L, P, W), T(TN_I32, lanes, R, P),
                     T(TN_I32, LIST(int32_t, 3), 1)};
    TnTensor out = T(TN_F32, y, R, W);
    assert_int_equal(call_ref(TN_OP_attention_step, &sp, s, 5, &out, 1, NULL, NULL, &err), TN_OK);
    for (int r = 0; r < R; r++) {
        float k[H * 3 * D], v[H * 3 * D], qh[W];
        double want[W];
        for (int h = 0; h < H; h++)
            for (int d = 0; d < D; d++) {
                qh[h * D + d] = q[r * (W + 1) + 1 + h * D + d];
                for (int j = 0; j < 3; j++) {
                    k[(h * 3 + j) * D + d] = kc[(lanes[r * P + j] * P + j) * W + h * D + d];
                    v[(h * 3 + j) * D + d] = vc[(lanes[r * P + j] * P + j) * W + h * D + d];
                }
            }
        naive(qh, k, v, NULL, 1, H, H, 1, 3, D, D, 0.5, false, want);
        same_as(y + r * W, want, W);
    }
    s[4] = T(TN_I32, LIST(int32_t, 4), 1); /* lane 99 is now looked at */
    assert_int_equal(call_ref(TN_OP_attention_step, &sp, s, 5, &out, 1, NULL, NULL, &err), TN_ERR_RUN);
    assert_non_null(strstr(err.message, "lane 99"));
    s[4] = T(TN_I32, LIST(int32_t, 5), 1);
    assert_int_equal(call_ref(TN_OP_attention_step, &sp, s, 5, &out, 1, NULL, NULL, &err), TN_ERR_RUN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_small), cmocka_unit_test(products_of_bytes),    cmocka_unit_test(matmul_large), cmocka_unit_test(gemm),
        cmocka_unit_test(einsum),          cmocka_unit_test(attention),    cmocka_unit_test(attention_masks),
        cmocka_unit_test(step_and_append),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
