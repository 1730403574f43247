/* SPDX-License-Identifier: Apache-2.0
 *
 * attention, attention_step and cache_append of every ISA level against double loops: layouts, merged projections, biases, causal masks,
 * grouped heads, -inf rows, one and three threads with equal bits. */
#include "kernels/matrix_check.h"

#include "backend/cpu/attention/attention.h"

static const TnKernel kernels[] = {
#define KERNEL(op_, name_, cpu_, run_, supports_, scratch_, cost_, packing_, bytes_, pack_, atol_, rtol_)                                  \
    {.name = #name_,                                                                                                                       \
     .op = TN_OP_##op_,                                                                                                                    \
     .cpu = cpu_,                                                                                                                          \
     .run = run_,                                                                                                                          \
     .supports = supports_,                                                                                                                \
     .scratch = scratch_,                                                                                                                  \
     .cost = cost_,                                                                                                                        \
     .packing = packing_,                                                                                                                  \
     .packed_bytes = bytes_,                                                                                                               \
     .pack = pack_,                                                                                                                        \
     .atol = atol_,                                                                                                                        \
     .rtol = rtol_},
#include "backend/cpu/attention/kernels.inc"
#undef KERNEL
};

typedef struct AttnCase {
    int64_t b, h, kv, sq, sk, d, dv;
    uint32_t layout; /* 0 BSHD rank 3, 1 BHSD, 2 BHSD with k BHDS, 3 BSHD rank 4, 4 merged q, k, v in one tensor */
    uint32_t bias;   /* 0 none, 1 [B,1,1,Sk], 2 [1,H,Sq,Sk] and [B,1,1,Sk], 3 [Sq,Sk] with -inf, 4 [B,H,Sq,1] */
    uint32_t causal, out_layout;
} AttnCase;

static TnTensor operand(Mc *mc, uint32_t layout, int64_t b, int64_t h, int64_t s, int64_t d) {
    if (layout == TN_LAYOUT_BHSD)
        return mc_tensor(mc, MC_DIMS(b, h, s, d), true);
    if (layout == TN_LAYOUT_BHDS)
        return mc_tensor(mc, MC_DIMS(b, h, d, s), true);
    return mc_tensor(mc, MC_DIMS(b, s, h * d), true);
}

static double at(const TnTensor *t, uint32_t layout, uint32_t off, int64_t heads, int64_t d, int64_t b, int64_t h, int64_t s, int64_t c) {
    const float *p = t->data;
    if (layout == TN_LAYOUT_BHSD)
        return (double)p[((b * heads + h) * t->dims[2] + s) * d + c];
    if (layout == TN_LAYOUT_BHDS)
        return (double)p[((b * heads + h) * d + c) * t->dims[3] + s];
    int64_t w = t->rank == 3 ? t->dims[2] : t->dims[2] * t->dims[3];
    return (double)p[(b * t->dims[1] + s) * w + off + h * d + c];
}

static double bias_value(const TnTensor *t, int64_t b, int64_t h, int64_t i, int64_t j) {
    const int64_t idx[4] = {b, h, i, j};
    int64_t off = 0;
    if (t->dtype == TN_UNDEFINED)
        return 0;
    for (int32_t k = 0; k < t->rank; k++)
        off = off * t->dims[k] + (t->dims[k] == 1 ? 0 : idx[4 - t->rank + k]);
    return (double)((float *)t->data)[off];
}

static void reference(const AttnCase *c, const TnAttentionParams *p, const TnTensor *in, double *ref) {
    double *s = calloc((size_t)c->sk + 1, sizeof *s);
    for (int64_t b = 0; b < c->b; b++)
        for (int64_t h = 0; h < c->h; h++)
            for (int64_t i = 0; i < c->sq; i++) {
                double max = -INFINITY, sum = 0;
                int64_t kh = h / (c->h / c->kv);
                for (int64_t j = 0; j < c->sk; j++) {
                    s[j] = 0;
                    for (int64_t e = 0; e < c->d; e++)
                        s[j] += at(&in[0], p->q_layout, p->q_off, c->h, c->d, b, h, i, e) *
                                at(&in[1], p->k_layout, p->k_off, c->kv, c->d, b, kh, j, e);
                    s[j] = s[j] * (double)p->scale + bias_value(&in[3], b, h, i, j) + bias_value(&in[4], b, h, i, j);
                    if (c->causal && j > i + c->sk - c->sq)
                        s[j] = -INFINITY;
                    max = fmax(max, s[j]);
                }
                for (int64_t j = 0; j < c->sk; j++)
                    sum += s[j] = exp(s[j] - max);
                for (int64_t e = 0; e < c->dv; e++) {
                    double y = 0;
                    for (int64_t j = 0; j < c->sk; j++)
                        y += s[j] * at(&in[2], p->v_layout, p->v_off, c->kv, c->dv, b, kh, j, e);
                    int64_t o = p->out_layout == TN_LAYOUT_BHSD ? ((b * c->h + h) * c->sq + i) * c->dv + e
                                                                : ((b * c->sq + i) * c->h + h) * c->dv + e;
                    ref[o] = y / sum;
                }
            }
    free(s);
}

static void make_operands(Mc *mc, const AttnCase *c, TnAttentionParams *p, TnTensor *in) {
    if (c->layout == 4) {
        int64_t w = (c->h + c->kv) * c->d + c->kv * c->dv + 3;
        in[0] = in[1] = in[2] = mc_tensor(mc, MC_DIMS(c->b, c->sq, w), true);
        p->q_off = 1;
        p->k_off = 1 + (uint32_t)(c->h * c->d);
        p->v_off = p->k_off + (uint32_t)(c->kv * c->d);
    } else {
        p->q_layout = p->k_layout = p->v_layout = c->layout == 1 || c->layout == 2 ? TN_LAYOUT_BHSD : TN_LAYOUT_BSHD;
        if (c->layout == 2)
            p->k_layout = TN_LAYOUT_BHDS;
        in[0] = operand(mc, p->q_layout, c->b, c->h, c->sq, c->d);
        in[1] = operand(mc, p->k_layout, c->b, c->kv, c->sk, c->d);
        in[2] = operand(mc, p->v_layout, c->b, c->kv, c->sk, c->dv);
        for (int i = 0; i < 3 && c->layout == 3; i++) {
            in[i].rank = 4;
            in[i].dims[2] = i == 0 ? c->h : c->kv;
            in[i].dims[3] = i == 2 ? c->dv : c->d;
        }
    }
    if (c->bias == 1 || c->bias == 2)
        in[3] = mc_tensor(mc, MC_DIMS(c->b, 1, 1, c->sk), true);
    if (c->bias == 2)
        in[4] = mc_tensor(mc, MC_DIMS(1, c->h, c->sq, c->sk), true);
    if (c->bias == 4)
        in[4] = mc_tensor(mc, MC_DIMS(c->b, c->h, c->sq, 1), true);
    if (c->bias == 3) {
        in[3] = mc_tensor(mc, MC_DIMS(c->sq, c->sk), true);
        float *v = in[3].data;
        for (int64_t i = 0; i < c->sq * c->sk; i++) /* row 1 sees nothing, the others every third key */
            if (i / c->sk == 1 || i % 3 == 1)
                v[i] = -INFINITY;
    }
}

static void check(const AttnCase *c, TnThreads *threads) {
    TnAttentionParams p = {.heads = (uint32_t)c->h,
                           .kv_heads = (uint32_t)c->kv,
                           .d_qk = (uint32_t)c->d,
                           .d_v = (uint32_t)c->dv,
                           .scale = 1.0f / sqrtf((float)c->d),
                           .causal = c->causal,
                           .out_layout = c->out_layout};
    Mc mc = {.rng = (uint64_t)(c->sq * 31 + c->sk)};
    TnTensor in[5] = {{0}};
    make_operands(&mc, c, &p, in);
    int64_t n = c->b * c->sq * c->h * c->dv;
    double *ref = calloc((size_t)n, sizeof *ref);
    reference(c, &p, in, ref);
    for (size_t i = 0; i < TN_COUNT(kernels); i++) {
        const TnKernel *k = &kernels[i];
        if (k->op != TN_OP_attention || (k->cpu & tni_cpu_flags()) != k->cpu)
            continue;
        TnTensor y = c->out_layout == TN_LAYOUT_BHSD ? mc_tensor(&mc, MC_DIMS(c->b, c->h, c->sq, c->dv), false)
                                                     : mc_tensor(&mc, MC_DIMS(c->b, c->sq, c->h * c->dv), false);
        TnTensor z = y;
        z.data = mc_alloc(&mc, (size_t)n * 4, 4);
        char what[160];
        snprintf(what, sizeof what, "%s sq %lld sk %lld d %lld layout %u bias %u causal %u", k->name, (long long)c->sq, (long long)c->sk,
                 (long long)c->d, c->layout, c->bias, c->causal);
        assert_true(mc_run(&mc, k, &p, in, 5, 0, &y, 1, NULL));
        mc_compare(what, y.data, ref, n, 2e-6);
        assert_true(mc_run(&mc, k, &p, in, 5, 0, &z, 1, threads));
        assert_memory_equal(y.data, z.data, (size_t)n * 4);
    }
    free(ref);
    mc_free(&mc);
}

static void test_attention(void **state) {
    (void)state;
    static const AttnCase cases[] = {
        {1, 2, 2, 17, 17, 32, 32, .layout = 0},
        {2, 3, 3, 33, 33, 64, 64, .layout = 4, .bias = 2},
        {1, 2, 2, 5, 70, 24, 40, .layout = 1, .bias = 1},
        {2, 4, 2, 9, 130, 16, 16, .layout = 2, .bias = 3},
        {1, 4, 1, 40, 40, 64, 64, .layout = 3, .causal = 1},
        {2, 2, 2, 100, 1, 8, 8, .layout = 0, .bias = 4},
        {1, 2, 2, 1, 200, 128, 128, .layout = 1, .out_layout = TN_LAYOUT_BHSD, .bias = 2},
        {1, 1, 1, 7, 3, 5, 3, .layout = 0, .causal = 1},
        {1, 2, 2, 130, 1300, 33, 17, .layout = 1, .bias = 2, .causal = 1},
        {1, 2, 2, 709, 709, 64, 64, .layout = 0, .bias = 2},
        {3, 5, 5, 49, 49, 64, 64, .layout = 4, .out_layout = TN_LAYOUT_BHSD},
    };
    TnThreads *threads = mc_threads(3);
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        check(&cases[i], threads);
    tni_threads_destroy(&threads);
}

static void check_step(int64_t rows, int64_t lanes_n, int64_t positions, int32_t length, int64_t h, int64_t d, bool cross,
                       TnThreads *threads) {
    TnAttentionStepParams p = {.heads = (uint32_t)h, .d_head = (uint32_t)d, .scale = 0.25f, .q_off = 3};
    Mc mc = {.rng = (uint64_t)length};
    int64_t w = h * d, cols = cross ? 1 : positions;
    TnTensor in[5] = {mc_tensor(&mc, MC_DIMS(rows, w + 5), true), mc_tensor(&mc, MC_DIMS(lanes_n, positions, w), true),
                      mc_tensor(&mc, MC_DIMS(lanes_n, positions, w), true), mc_tensor(&mc, MC_DIMS(rows, cols), false),
                      mc_tensor(&mc, MC_DIMS(1), false)};
    in[3].dtype = in[4].dtype = TN_I32;
    int32_t *lanes = in[3].data;
    for (int64_t i = 0; i < rows * cols; i++)
        lanes[i] = (int32_t)((i * 7 + 1) % lanes_n);
    *(int32_t *)in[4].data = length;
    TnTensor y = mc_tensor(&mc, MC_DIMS(rows, w), false), z = mc_tensor(&mc, MC_DIMS(rows, w), false);
    double *ref = calloc((size_t)(rows * w), sizeof *ref), s[1024];
    const float *q = in[0].data, *kc = in[1].data, *vc = in[2].data;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t hh = 0; hh < h; hh++) {
            double max = -INFINITY, sum = 0;
            for (int64_t j = 0; j < length; j++) {
                int64_t base = (lanes[r * cols + (cross ? 0 : j)] * positions + j) * w + hh * d;
                s[j] = 0;
                for (int64_t e = 0; e < d; e++)
                    s[j] += (double)q[r * (w + 5) + 3 + hh * d + e] * (double)kc[base + e];
                s[j] *= (double)p.scale;
                max = fmax(max, s[j]);
            }
            for (int64_t j = 0; j < length; j++)
                sum += s[j] = exp(s[j] - max);
            for (int64_t j = 0; j < length; j++)
                for (int64_t e = 0; e < d; e++)
                    ref[r * w + hh * d + e] +=
                        s[j] / sum * (double)vc[(lanes[r * cols + (cross ? 0 : j)] * positions + j) * w + hh * d + e];
        }
    for (size_t i = 0; i < TN_COUNT(kernels); i++)
        if (kernels[i].op == TN_OP_attention_step && (kernels[i].cpu & tni_cpu_flags()) == kernels[i].cpu) {
            assert_true(mc_run(&mc, &kernels[i], &p, in, 5, 0, &y, 1, NULL));
            mc_compare(kernels[i].name, y.data, ref, rows * w, 2e-6);
            assert_true(mc_run(&mc, &kernels[i], &p, in, 5, 0, &z, 1, threads));
            assert_memory_equal(y.data, z.data, (size_t)(rows * w) * 4);
        }
    free(ref);
    mc_free(&mc);
}

static void test_attention_step(void **state) {
    (void)state;
    TnThreads *threads = mc_threads(3);
    check_step(1, 1, 64, 1, 8, 32, false, threads);
    check_step(4, 4, 70, 33, 8, 32, false, threads);
    check_step(3, 2, 578, 578, 8, 64, true, threads);
    check_step(2, 3, 40, 17, 3, 21, false, threads);
    check_step(2, 3, 40, 40, 1, 150, true, threads);
    tni_threads_destroy(&threads);
}

static void test_cache_append(void **state) {
    (void)state;
    Mc mc = {.rng = 3};
    TnCacheAppendParams p = {.off = 2, .width = 5};
    TnTensor in[3] = {mc_tensor(&mc, MC_DIMS(2, 9), true), mc_tensor(&mc, MC_DIMS(3, 4, 5), true), mc_tensor(&mc, MC_DIMS(2, 2), false)};
    in[2].dtype = TN_I32;
    int32_t *where = in[2].data;
    const int32_t to[4] = {2, 3, 0, 1};
    memcpy(where, to, sizeof to);
    for (size_t i = 0; i < TN_COUNT(kernels); i++)
        if (kernels[i].op == TN_OP_cache_append)
            assert_true(mc_run(&mc, &kernels[i], &p, in, 3, 0, NULL, 0, NULL));
    assert_memory_equal((float *)in[1].data + (2 * 4 + 3) * 5, (float *)in[0].data + 2, 20);
    assert_memory_equal((float *)in[1].data + (0 * 4 + 1) * 5, (float *)in[0].data + 9 + 2, 20);
    where[1] = 4;
    TnError err = {0};
    TnKernelCall call = {.params = &p, .in = in, .n_in = 3, .err = &err};
    assert_int_equal(tni_cache_append_run(&call), TN_ERR_RUN);
    mc_free(&mc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_step),
        cmocka_unit_test(test_cache_append),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
