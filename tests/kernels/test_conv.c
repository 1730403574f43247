/* SPDX-License-Identifier: Apache-2.0
 *
 * conv kernels of every ISA level against double loops: both layouts, groups, depthwise, strides, dilations, paddings, 1-D, epilogues. */
#include "kernels/matrix_check.h"

#include "backend/cpu/conv/conv.h"

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
#include "backend/cpu/conv/kernels.inc"
#undef KERNEL
};

typedef struct ConvCase {
    int64_t b, c, h, w, m, group;
    int32_t kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
    uint32_t act, bias, residual, one_d, auto_pad;
} ConvCase;

static int64_t x_at(const ConvCase *c, bool last, int64_t b, int64_t ch, int64_t y, int64_t x) {
    return last ? ((b * c->h + y) * c->w + x) * c->c + ch : ((b * c->c + ch) * c->h + y) * c->w + x;
}

static void reference(const ConvCase *c, bool last, int64_t oh, int64_t ow, const TnTensor *in, double *ref) {
    const float *x = in[0].data, *w = in[1].data, *bias = in[2].data, *res = in[3].data;
    int64_t cg = c->c / c->group, mg = c->m / c->group, o = 0;
    for (int64_t b = 0; b < c->b; b++)
        for (int64_t m = 0; m < c->m; m++)
            for (int64_t oy = 0; oy < oh; oy++)
                for (int64_t ox = 0; ox < ow; ox++) {
                    double s = 0;
                    for (int64_t i = 0; i < cg; i++)
                        for (int64_t ky = 0; ky < c->kh; ky++)
                            for (int64_t kx = 0; kx < c->kw; kx++) {
                                int64_t iy = oy * c->sh - c->pt + ky * c->dh, ix = ox * c->sw - c->pl + kx * c->dw;
                                if (iy >= 0 && iy < c->h && ix >= 0 && ix < c->w)
                                    s += (double)x[x_at(c, last, b, m / mg * cg + i, iy, ix)] *
                                         (double)w[((m * cg + i) * c->kh + ky) * c->kw + kx];
                            }
                    s = mc_act(c->act, -0.5, 0.75, s + (c->bias ? (double)bias[m] : 0));
                    o = last ? ((b * oh + oy) * ow + ox) * c->m + m : ((b * c->m + m) * oh + oy) * ow + ox;
                    ref[o] = s + (c->residual ? (double)res[o] : 0);
                }
}

static TnTensor image(Mc *mc, const ConvCase *c, bool last, int64_t ch, int64_t h, int64_t w, bool fill) {
    if (c->one_d)
        return last ? mc_tensor(mc, MC_DIMS(c->b, w, ch), fill) : mc_tensor(mc, MC_DIMS(c->b, ch, w), fill);
    return last ? mc_tensor(mc, MC_DIMS(c->b, h, w, ch), fill) : mc_tensor(mc, MC_DIMS(c->b, ch, h, w), fill);
}

static uint32_t check(const ConvCase *c, bool last, TnThreads *threads) {
    int64_t oh = (c->h + c->pt + c->pb - (c->kh - 1) * c->dh - 1) / c->sh + 1,
            ow = (c->w + c->pl + c->pr - (c->kw - 1) * c->dw - 1) / c->sw + 1;
    TnConvParams p = {.n_spatial = c->one_d ? 1 : 2,
                      .group = (uint32_t)c->group,
                      .act = c->act,
                      .act_alpha = -0.5f,
                      .act_beta = 0.75f,
                      .channels_last = last,
                      .auto_pad = c->auto_pad};
    const int32_t two[5][2] = {{c->kh, c->kw}, {c->sh, c->sw}, {c->dh, c->dw}, {c->pt, c->pl}, {c->pb, c->pr}};
    for (uint32_t i = 0; i < p.n_spatial; i++) {
        uint32_t s = c->one_d ? 1 : i;
        p.kernel[i] = two[0][s];
        p.stride[i] = two[1][s];
        p.dilation[i] = two[2][s];
        p.pads[i] = c->auto_pad ? 99 : two[3][s];
        p.pads[p.n_spatial + i] = c->auto_pad ? 99 : two[4][s];
    }
    Mc mc = {.rng = (uint64_t)(c->c * 13 + c->m)};
    TnTensor in[4] = {{0}};
    in[0] = image(&mc, c, last, c->c, c->h, c->w, true);
    in[1] = c->one_d ? mc_tensor(&mc, MC_DIMS(c->m, c->c / c->group, c->kw), true)
                     : mc_tensor(&mc, MC_DIMS(c->m, c->c / c->group, c->kh, c->kw), true);
    if (c->bias)
        in[2] = mc_tensor(&mc, MC_DIMS(c->m), true);
    if (c->residual)
        in[3] = image(&mc, c, last, c->m, oh, ow, true);
    TnTensor y = image(&mc, c, last, c->m, oh, ow, false), z = image(&mc, c, last, c->m, oh, ow, false);
    int64_t n = tn_tensor_numel(&y);
    double *ref = calloc((size_t)n, sizeof *ref);
    reference(c, last, oh, ow, in, ref);
    uint32_t ran = 0;
    for (size_t i = 0; i < TN_COUNT(kernels); i++) {
        const TnKernel *k = &kernels[i];
        if (k->op != TN_OP_conv) /* conv_transpose has its cases in cases_conv.c */
            continue;
        if ((k->cpu & tni_cpu_flags()) != k->cpu)
            continue;
        for (uint32_t constants = 0; constants < 4; constants += 2) {
            memset(y.data, 0xff, (size_t)n * 4);
            char what[160];
            snprintf(what, sizeof what, "%s b%lld c%lld %lldx%lld m%lld g%lld k%dx%d last %d const %u", k->name, (long long)c->b,
                     (long long)c->c, (long long)c->h, (long long)c->w, (long long)c->m, (long long)c->group, c->kh, c->kw, last,
                     constants);
            if (!mc_run(&mc, k, &p, in, 4, constants, &y, 1, NULL))
                continue;
            ran++;
            mc_compare(what, y.data, ref, n, 3e-6);
            assert_true(mc_run(&mc, k, &p, in, 4, constants, &z, 1, threads));
            assert_memory_equal(y.data, z.data, (size_t)n * 4);
        }
    }
    free(ref);
    mc_free(&mc);
    return ran;
}

static void test_conv(void **state) {
    (void)state;
    static const ConvCase cases[] = {
        {2, 16, 7, 9, 24, 1, 1, 1, 1, 1, 1, 1, .bias = 1},
        {1, 64, 14, 14, 70, 1, 1, 1, 1, 1, 1, 1, .bias = 1, .residual = 1, .act = TN_ACT_GELU},
        {1, 10, 9, 9, 33, 1, 1, 1, 2, 2, 1, 1, .act = TN_ACT_RELU},
        {2, 3, 32, 48, 40, 1, 16, 16, 16, 16, 1, 1, .bias = 1},
        {1, 3, 20, 22, 17, 1, 4, 4, 4, 4, 1, 1, .bias = 1},
        {1, 24, 11, 13, 35, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, .bias = 1, .act = TN_ACT_SILU},
        {2, 8, 12, 10, 9, 1, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, .bias = 1, .residual = 1},
        {1, 6, 15, 15, 5, 1, 3, 2, 1, 2, 2, 3, 2, 1, 0, 3, .act = TN_ACT_NONE},
        {1, 12, 8, 8, 18, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, .bias = 1},
        {2, 8, 6, 5, 16, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, .act = TN_ACT_NONE},
        {1, 64, 20, 20, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, .bias = 1, .residual = 1},
        {2, 67, 14, 14, 67, 67, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, .bias = 1, .act = TN_ACT_GELU},
        {1, 16, 13, 21, 16, 16, 3, 5, 2, 2, 1, 1, 1, 2, 1, 2, .bias = 1},
        {1, 7, 9, 30, 7, 7, 3, 3, 1, 1, 2, 3, 2, 3, 2, 3, .act = TN_ACT_CLIP},
        {1, 5, 4, 3, 5, 5, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, .act = TN_ACT_NONE},
        {2, 12, 1, 50, 20, 1, 1, 5, 1, 2, 1, 1, 0, 2, 0, 2, .bias = 1, .one_d = 1},
        {1, 12, 1, 37, 12, 12, 1, 4, 1, 1, 1, 1, 0, 2, 0, 1, .bias = 1, .one_d = 1, .auto_pad = TN_PAD_SAME_LOWER},
        {1, 9, 10, 11, 6, 1, 4, 4, 2, 2, 1, 1, 1, 1, 1, 2, .bias = 1, .auto_pad = TN_PAD_SAME_UPPER},
        {1, 40, 6, 6, 300, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, .bias = 1},
    };
    TnThreads *threads = mc_threads(3);
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        for (int last = 0; last < 2; last++)
            assert_true(check(&cases[i], last != 0, threads) >= 2);
    tni_threads_destroy(&threads);
}

static void test_refused(void **state) {
    (void)state;
    TnConvParams p = {.n_spatial = 3, .group = 1};
    TnTensor in[2] = {{.dtype = TN_F32, .rank = 5, .dims = {1, 1, 2, 2, 2}}, {.dtype = TN_F32, .rank = 5, .dims = {1, 1, 1, 1, 1}}};
    TnTensor out = in[0];
    TnKernelQuery q = {.op = TN_OP_conv, .params = &p, .in = in, .n_in = 2, .out = &out, .n_out = 1, .threads = 1};
    assert_false(tni_conv_gemm_supports(&q));
    assert_false(tni_conv_dw_supports(&q));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
