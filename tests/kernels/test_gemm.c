/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm and matmul kernels of every ISA level against double loops: odd sizes, tails, transposes, constant and run-time operands, all
 * epilogues, one and three threads with equal bits. */
#include "kernels/matrix_check.h"

#include "backend/cpu/gemm/kernels.h"

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
#include "backend/cpu/gemm/kernels.inc"
#undef KERNEL
};

typedef struct GemmCase {
    int64_t m, n, k;
    uint32_t trans_a, trans_b, act, bias, residual; /* bias: 0 none, 1 scalar, 2 [N], 3 [1, N] */
    float alpha, beta;
} GemmCase;

static void gemm_reference(const GemmCase *c, const TnGemmParams *g, const TnTensor *in, double *ref) {
    const float *a = in[0].data, *b = in[1].data, *bias = in[2].data, *res = in[3].data;
    for (int64_t i = 0; i < c->m; i++)
        for (int64_t j = 0; j < c->n; j++) {
            double s = 0;
            for (int64_t k = 0; k < c->k; k++)
                s += (double)a[c->trans_a ? k * c->m + i : i * c->k + k] * (double)b[c->trans_b ? j * c->k + k : k * c->n + j];
            s *= (double)g->alpha;
            if (c->bias)
                s += (double)g->beta * (double)bias[c->bias == 1 ? 0 : j];
            s = mc_act(g->act, (double)g->act_alpha, (double)g->act_beta, s);
            ref[i * c->n + j] = s + (c->residual ? (double)res[i * c->n + j] : 0);
        }
}

static void check_gemm(const GemmCase *c, TnThreads *threads) {
    TnGemmParams g = {.trans_a = c->trans_a,
                      .trans_b = c->trans_b,
                      .alpha = c->alpha,
                      .beta = c->beta,
                      .act = c->act,
                      .act_alpha = c->act == TN_ACT_CLIP ? -0.5f : 0.1f,
                      .act_beta = 0.75f};
    Mc mc = {.rng = (uint64_t)(c->m * 131 + c->n * 17 + c->k)};
    TnTensor in[4] = {{0}};
    in[0] = mc_tensor(&mc, 2, c->trans_a ? (int64_t[]){c->k, c->m} : (int64_t[]){c->m, c->k}, true);
    in[1] = mc_tensor(&mc, 2, c->trans_b ? (int64_t[]){c->n, c->k} : (int64_t[]){c->k, c->n}, true);
    if (c->bias == 1)
        in[2] = mc_tensor(&mc, 0, NULL, true);
    else if (c->bias)
        in[2] = c->bias == 2 ? mc_tensor(&mc, MC_DIMS(c->n), true) : mc_tensor(&mc, MC_DIMS(1, c->n), true);
    if (c->residual)
        in[3] = mc_tensor(&mc, MC_DIMS(c->m, c->n), true);
    size_t n = (size_t)(c->m * c->n);
    double *ref = calloc(n + 1, sizeof *ref);
    gemm_reference(c, &g, in, ref);
    for (size_t i = 0; i < TN_COUNT(kernels); i++) {
        const TnKernel *k = &kernels[i];
        if (k->op != TN_OP_gemm || (k->cpu & tni_cpu_flags()) != k->cpu)
            continue;
        for (uint32_t constants = 0; constants < 4; constants += 2) {
            uint32_t maps = mc.n_maps;
            TnTensor y = mc_tensor(&mc, MC_DIMS(c->m, c->n), false), z = mc_tensor(&mc, MC_DIMS(c->m, c->n), false);
            char what[160];
            snprintf(what, sizeof what, "%s %lldx%lldx%lld ta%u tb%u act%u bias%u res%u const%u", k->name, (long long)c->m, (long long)c->n,
                     (long long)c->k, c->trans_a, c->trans_b, c->act, c->bias, c->residual, constants);
            assert_true(mc_run(&mc, k, &g, in, 4, constants, &y, 1, NULL));
            mc_compare(what, y.data, ref, c->m * c->n, 1e-6 * sqrt((double)c->k + 4));
            assert_true(mc_run(&mc, k, &g, in, 4, constants, &z, 1, threads));
            assert_memory_equal(y.data, z.data, n * 4);
            while (mc.n_maps > maps) {
                mc.n_maps--;
                munmap(mc.maps[mc.n_maps].map, mc.maps[mc.n_maps].bytes);
            }
        }
    }
    free(ref);
    mc_free(&mc);
}

static void test_gemm_shapes(void **state) {
    (void)state;
    TnThreads *threads = mc_threads(3);
    static const int64_t ms[] = {1, 2, 3, 4, 5, 6, 7, 9, 13, 14, 15, 29, 100}, ns[] = {1, 7, 16, 17, 31, 32, 33, 64, 97, 130},
                         ks[] = {1, 5, 16, 33, 330};
    for (size_t i = 0; i < TN_COUNT(ms); i++)
        for (size_t j = 0; j < TN_COUNT(ns); j++)
            for (size_t l = 0; l < TN_COUNT(ks); l++) {
                uint32_t h = (uint32_t)(i * 7 + j * 3 + l);
                GemmCase c = {ms[i],
                              ns[j],
                              ks[l],
                              .trans_a = h % 5 == 0,
                              .trans_b = h % 3 == 0,
                              .act = h % TN_ACT_COUNT,
                              .bias = h % 4,
                              .residual = h / 2 % 2,
                              .alpha = h % 3 ? 1.0f : 0.5f,
                              .beta = h % 2 ? 1.0f : -2.0f};
                check_gemm(&c, threads);
            }
    tni_threads_destroy(&threads);
}

static void test_gemm_epilogues(void **state) {
    (void)state;
    TnThreads *threads = mc_threads(2);
    for (uint32_t act = 0; act < TN_ACT_COUNT; act++)
        for (uint32_t bias = 0; bias < 4; bias++)
            for (uint32_t res = 0; res < 2; res++) {
                GemmCase c = {15, 70, 40, .act = act, .bias = bias, .residual = res, .alpha = 1, .beta = 1};
                check_gemm(&c, threads);
            }
    GemmCase empty = {4, 8, 0, .bias = 2, .alpha = 1, .beta = 1};
    check_gemm(&empty, threads);
    GemmCase large[] = {
        {709, 768, 96, .alpha = 1}, {20, 1100, 700, .alpha = 1, .bias = 2, .beta = 1}, {260, 96, 1030, .trans_a = 1, .alpha = 1}};
    for (size_t i = 0; i < TN_COUNT(large); i++)
        check_gemm(&large[i], threads);
    tni_threads_destroy(&threads);
}

typedef struct MatmulCase {
    int32_t ra, rb, ry;
    int64_t a[4], b[4], y[4];
} MatmulCase;

static int64_t offset_of(const MatmulCase *c, const int64_t *dims, int32_t rank, int64_t batch) {
    int64_t off = 0, step = 1, n = rank - 2;
    int64_t idx[4] = {0};
    for (int32_t i = c->ry - 3; i >= 0; i--) {
        idx[i] = batch % c->y[i];
        batch /= c->y[i];
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        int64_t at = c->ry - 2 - n + i;
        off += (dims[i] == 1 ? 0 : idx[at]) * step;
        step *= dims[i];
    }
    return off * dims[rank - 2] * dims[rank - 1];
}

static void test_matmul(void **state) {
    (void)state;
    static const MatmulCase cases[] = {
        {2, 2, 2, {5, 7}, {7, 9}, {5, 9}},
        {3, 2, 3, {2, 5, 7}, {7, 9}, {2, 5, 9}},
        {4, 4, 4, {2, 3, 5, 7}, {2, 3, 7, 33}, {2, 3, 5, 33}},
        {4, 4, 4, {2, 1, 5, 7}, {1, 3, 7, 33}, {2, 3, 5, 33}},
        {2, 4, 4, {5, 7}, {2, 3, 7, 40}, {2, 3, 5, 40}},
        {3, 4, 4, {3, 5, 70}, {2, 1, 70, 40}, {2, 3, 5, 40}},
        {4, 3, 4, {2, 3, 50, 64}, {3, 64, 50}, {2, 3, 50, 50}},
        {4, 2, 4, {2, 3, 1, 64}, {64, 130}, {2, 3, 1, 130}},
    };
    TnThreads *threads = mc_threads(3);
    TnNoParams none = {0};
    for (size_t ci = 0; ci < TN_COUNT(cases); ci++) {
        const MatmulCase *c = &cases[ci];
        Mc mc = {.rng = ci};
        TnTensor in[2] = {mc_tensor(&mc, c->ra, c->a, true), mc_tensor(&mc, c->rb, c->b, true)};
        TnTensor y = mc_tensor(&mc, c->ry, c->y, false), z = mc_tensor(&mc, c->ry, c->y, false);
        int64_t m = c->a[c->ra - 2], k = c->a[c->ra - 1], n = c->b[c->rb - 1], numel = tn_tensor_numel(&y);
        double *ref = calloc((size_t)numel, sizeof *ref);
        for (int64_t bt = 0; bt < numel / (m * n); bt++) {
            const float *a = (float *)in[0].data + offset_of(c, c->a, c->ra, bt), *b = (float *)in[1].data + offset_of(c, c->b, c->rb, bt);
            for (int64_t i = 0; i < m * n; i++)
                for (int64_t l = 0; l < k; l++)
                    ref[bt * m * n + i] += (double)a[i / n * k + l] * (double)b[l * n + i % n];
        }
        for (size_t i = 0; i < TN_COUNT(kernels); i++) {
            if (kernels[i].op != TN_OP_matmul || (kernels[i].cpu & tni_cpu_flags()) != kernels[i].cpu)
                continue;
            for (uint32_t constants = 0; constants < 4; constants += 2) {
                assert_true(mc_run(&mc, &kernels[i], &none, in, 2, constants, &y, 1, NULL));
                mc_compare(kernels[i].name, y.data, ref, numel, 1e-5);
                assert_true(mc_run(&mc, &kernels[i], &none, in, 2, constants, &z, 1, threads));
                assert_memory_equal(y.data, z.data, (size_t)numel * 4);
            }
        }
        free(ref);
        mc_free(&mc);
    }
    tni_threads_destroy(&threads);
}

/* Vectors: [K] x [K, N], [B, M, K] x [K], [K] x [K]. */
static void test_matmul_vectors(void **state) {
    (void)state;
    static const struct {
        int32_t ra, rb, ry;
        int64_t a[3], b[3], y[3], m, n, k;
    } cases[] = {
        {1, 2, 1, {37}, {37, 50}, {50}, 1, 50, 37},
        {3, 1, 2, {2, 9, 37}, {37}, {2, 9}, 18, 1, 37},
        {1, 1, 0, {300}, {300}, {0}, 1, 1, 300},
    };
    TnNoParams none = {0};
    for (size_t ci = 0; ci < TN_COUNT(cases); ci++) {
        Mc mc = {.rng = 5};
        TnTensor in[2] = {mc_tensor(&mc, cases[ci].ra, cases[ci].a, true), mc_tensor(&mc, cases[ci].rb, cases[ci].b, true)};
        TnTensor y = mc_tensor(&mc, cases[ci].ry, cases[ci].y, false);
        double ref[64] = {0};
        int64_t m = cases[ci].m, n = cases[ci].n, k = cases[ci].k;
        for (int64_t i = 0; i < m * n; i++)
            for (int64_t l = 0; l < k; l++)
                ref[i] += (double)((float *)in[0].data)[i / n * k + l] * (double)((float *)in[1].data)[l * n + i % n];
        for (size_t i = 0; i < TN_COUNT(kernels); i++)
            if (kernels[i].op == TN_OP_matmul && (kernels[i].cpu & tni_cpu_flags()) == kernels[i].cpu) {
                assert_true(mc_run(&mc, &kernels[i], &none, in, 2, 0, &y, 1, NULL));
                mc_compare(kernels[i].name, y.data, ref, m * n, 1e-5);
            }
        mc_free(&mc);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_shapes),
        cmocka_unit_test(test_gemm_epilogues),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_matmul_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
