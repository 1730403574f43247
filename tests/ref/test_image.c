/* SPDX-License-Identifier: Apache-2.0
 *
 * conv, conv_transpose, pool, resize, roi_align, non_max_suppression. */
#include "ref_test.h"

typedef struct ConvCase {
    int64_t B, C, M, G, in[3], kernel[3], stride[3], dilation[3], pad[3], after[3];
    int n;
} ConvCase;

static int64_t out_size(const ConvCase *c, int d) {
    return (c->in[d] + c->pad[d] + c->after[d] - ((c->kernel[d] - 1) * c->dilation[d] + 1)) / c->stride[d] + 1;
}

/* Straight from the definition; 3 spatial dims. */
static double *naive_conv(const ConvCase *c, const float *x, const float *w, const float *bias) {
    const int64_t O[3] = {out_size(c, 0), out_size(c, 1), out_size(c, 2)}, cg = c->C / c->G;
    double *y = calloc((size_t)(c->B * c->M * O[0] * O[1] * O[2]), sizeof *y);
    for (int64_t e = 0; e < c->B * c->M * O[0] * O[1] * O[2]; e++) {
        const int64_t o[3] = {e / O[2] / O[1] % O[0], e / O[2] % O[1], e % O[2]}, m = e / (O[0] * O[1] * O[2]) % c->M;
        const int64_t b = e / (O[0] * O[1] * O[2]) / c->M;
        y[e] = bias != NULL ? (double)bias[m] : 0;
        for (int64_t ch = 0; ch < cg; ch++)
            for (int64_t t = 0; t < c->kernel[0] * c->kernel[1] * c->kernel[2]; t++) {
                const int64_t k[3] = {t / c->kernel[2] / c->kernel[1], t / c->kernel[2] % c->kernel[1], t % c->kernel[2]};
                int64_t i[3];
                bool inside = true;
                for (int d = 0; d < 3; d++) {
                    i[d] = o[d] * c->stride[d] - c->pad[d] + k[d] * c->dilation[d];
                    inside = inside && i[d] >= 0 && i[d] < c->in[d];
                }
                if (inside)
                    y[e] += (double)x[(((b * c->C + m / (c->M / c->G) * cg + ch) * c->in[0] + i[0]) * c->in[1] + i[1]) * c->in[2] + i[2]] *
                            (double)w[(m * cg + ch) * c->kernel[0] * c->kernel[1] * c->kernel[2] + t];
            }
    }
    return y;
}

static TnTensor spatial(float *data, const ConvCase *c, int64_t d0, int64_t d1, const int64_t *s) {
    TnTensor t = {.data = data, .dtype = TN_F32, .rank = c->n + 2, .dims = {d0, d1}};
    for (int d = 0; d < c->n; d++)
        t.dims[2 + d] = s[3 - c->n + d];
    return t;
}

static TnTensor channels_last(TnTensor t, const float *from, float *to) {
    TnTensor y = t;
    const int64_t C = t.dims[1], n = tn_tensor_numel(&t) / TN_MAX(t.dims[0] * C, 1);
    for (int32_t d = 1; d < t.rank - 1; d++)
        y.dims[d] = t.dims[d + 1];
    y.dims[t.rank - 1] = C;
    y.data = to;
    for (int64_t b = 0; from != NULL && b < t.dims[0]; b++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < n; i++)
                to[(b * n + i) * C + c] = from[(b * C + c) * n + i];
    return y;
}

static void conv_case(ConvCase c, bool biased, bool last, uint32_t threads) {
    const int64_t O[3] = {out_size(&c, 0), out_size(&c, 1), out_size(&c, 2)};
    const int64_t nx = c.B * c.C * c.in[0] * c.in[1] * c.in[2], ny = c.B * c.M * O[0] * O[1] * O[2];
    float *x = randoms(nx, 1), *w = randoms(c.M * c.C / c.G * c.kernel[0] * c.kernel[1] * c.kernel[2], 2), *bias = randoms(c.M, 3);
    float *y = malloc((size_t)ny * 4), *xl = malloc((size_t)nx * 4), *back = malloc((size_t)ny * 4);
    double *want = naive_conv(&c, x, w, biased ? bias : NULL);
    TnConvParams p = {.n_spatial = (uint32_t)c.n, .group = (uint32_t)c.G, .channels_last = last};
    for (int d = 0; d < c.n; d++) {
        p.kernel[d] = (int32_t)c.kernel[3 - c.n + d];
        p.stride[d] = (int32_t)c.stride[3 - c.n + d];
        p.dilation[d] = (int32_t)c.dilation[3 - c.n + d];
        p.pads[d] = (int32_t)c.pad[3 - c.n + d];
        p.pads[c.n + d] = (int32_t)c.after[3 - c.n + d];
    }
    TnTensor in[4] = {spatial(x, &c, c.B, c.C, c.in), spatial(w, &c, c.M, c.C / c.G, c.kernel), biased ? T(TN_F32, bias, c.M) : NONE, NONE};
    TnTensor out = spatial(y, &c, c.B, c.M, O);
    if (last) {
        in[0] = channels_last(in[0], x, xl);
        out = channels_last(out, NULL, y);
    }
    TnThreads *t = NULL;
    TnError err = {0};
    assert_int_equal(tni_threads_create(NULL, threads, &t, &err), TN_OK);
    TnStatus st = call_ref(TN_OP_conv, &p, in, 4, &out, 1, NULL, t, &err);
    if (st != TN_OK)
        fail_msg("%s", err.message);
    if (last) {
        const int64_t n = O[0] * O[1] * O[2];
        for (int64_t b = 0; b < c.B; b++)
            for (int64_t m = 0; m < c.M; m++)
                for (int64_t i = 0; i < n; i++)
                    back[(b * c.M + m) * n + i] = y[(b * n + i) * c.M + m];
    } else {
        memcpy(back, y, (size_t)ny * 4);
    }
    NEAR(back, want, ny, 4e-6);
    tni_threads_destroy(&t);
    free(x), free(w), free(bias), free(y), free(xl), free(back), free(want);
}

static void conv(void **state) {
    (void)state;
    const ConvCase plain = {1, 3, 4, 1, {1, 6, 7}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}, 2};
    conv_case(plain, true, false, 1);
    conv_case(plain, true, true, 2);
    conv_case((ConvCase){2, 4, 6, 2, {1, 9, 8}, {1, 3, 2}, {1, 2, 3}, {1, 2, 1}, {0, 2, 0}, {0, 1, 1}, 2}, false, false, 1);
    conv_case((ConvCase){1, 5, 5, 5, {4, 6, 5}, {3, 3, 3}, {1, 2, 1}, {1, 1, 2}, {1, 1, 2}, {1, 1, 2}, 3}, true, false, 1); /* depthwise */
    conv_case((ConvCase){1, 5, 5, 5, {4, 6, 5}, {3, 3, 3}, {1, 2, 1}, {1, 1, 2}, {1, 1, 2}, {1, 1, 2}, 3}, true, true, 1);
    conv_case((ConvCase){2, 3, 2, 1, {1, 1, 300}, {1, 1, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 2}, {0, 0, 2}, 1}, true, false, 1);
    conv_case((ConvCase){1, 70, 80, 1, {1, 12, 12}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}, 2}, true, false,
              2); /* several tiles */
}

static void conv_details(void **state) {
    (void)state;
    float y[8];
    TnConvParams p = {.n_spatial = 1, .group = 1, .kernel = {1}, .stride = {1}, .dilation = {1}, .act = TN_ACT_RELU};
    RUN(conv, &p, T(TN_F32, y, 1, 1, 2), T(TN_F32, F(1, -1), 1, 1, 2), T(TN_F32, F(2), 1, 1, 1), NONE, T(TN_F32, F(-1, -2), 1, 1, 2));
    SAME_F(y, 2, 1, -2); /* residual after the activation */
    p = (TnConvParams){.n_spatial = 1, .group = 1, .kernel = {2}, .stride = {1}, .dilation = {1}, .auto_pad = TN_PAD_SAME_UPPER};
    RUN(conv, &p, T(TN_F32, y, 1, 1, 3), T(TN_F32, F(1, 2, 3), 1, 1, 3), T(TN_F32, F(1, 10), 1, 1, 2));
    SAME_F(y, 3, 21, 32, 3);
    p.auto_pad = TN_PAD_SAME_LOWER;
    RUN(conv, &p, T(TN_F32, y, 1, 1, 3), T(TN_F32, F(1, 2, 3), 1, 1, 3), T(TN_F32, F(1, 10), 1, 1, 2));
    SAME_F(y, 3, 10, 21, 32);
    p.auto_pad = TN_PAD_VALID;
    RUN(conv, &p, T(TN_F32, y, 1, 1, 2), T(TN_F32, F(1, 2, 3), 1, 1, 3), T(TN_F32, F(1, 10), 1, 1, 2));
    SAME_F(y, 2, 21, 32);
    RUN(conv, &p, T(TN_F32, NULL, 0, 1, 2), T(TN_F32, NULL, 0, 1, 3), T(TN_F32, F(1, 10), 1, 1, 2)); /* no batch */
}

static void conv_transpose(void **state) {
    (void)state;
    float y[12];
    TnConvParams p = {.n_spatial = 1, .group = 1, .kernel = {3}, .stride = {2}, .dilation = {1}};
    RUN(conv_transpose, &p, T(TN_F32, y, 1, 1, 5), T(TN_F32, F(1, 2), 1, 1, 2), T(TN_F32, F(1, 10, 100), 1, 1, 3), T(TN_F32, F(0.5f), 1));
    SAME_F(y, 5, 1.5f, 10.5f, 102.5f, 20.5f, 200.5f);
    p.pads[0] = p.pads[1] = 1;
    RUN(conv_transpose, &p, T(TN_F32, y, 1, 1, 3), T(TN_F32, F(1, 2), 1, 1, 2), T(TN_F32, F(1, 10, 100), 1, 1, 3));
    SAME_F(y, 3, 10, 102, 20);
    /* groups: w [C, M/group, k] */
    p = (TnConvParams){.n_spatial = 1, .group = 2, .kernel = {1}, .stride = {1}, .dilation = {1}};
    RUN(conv_transpose, &p, T(TN_F32, y, 1, 4, 1), T(TN_F32, F(1, 2), 1, 2, 1), T(TN_F32, F(3, 4, 5, 6), 2, 2, 1));
    SAME_F(y, 4, 3, 4, 10, 12);
}

static void pool(void **state) {
    (void)state;
    float y[8];
    int64_t i[4];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4, 5, 6, 7, 8, 9), 1, 1, 3, 3);
    TnPoolParams p = {.kind = TN_POOL_MAX, .n_spatial = 2, .kernel = {2, 2}, .stride = {1, 1}, .dilation = {1, 1}};
    TnTensor out[2] = {T(TN_F32, y, 1, 1, 2, 2), T(TN_I64, i, 1, 1, 2, 2)};
    TnError err = {0};
    assert_int_equal(call_ref(TN_OP_pool, &p, &x, 1, out, 2, NULL, NULL, &err), TN_OK);
    SAME_F(y, 4, 5, 6, 8, 9);
    SAME_I(i, 4, 4, 5, 7, 8);
    p.storage_order = 1;
    assert_int_equal(call_ref(TN_OP_pool, &p, &x, 1, out, 2, NULL, NULL, &err), TN_OK);
    SAME_I(i, 4, 4, 7, 5, 8);
    p = (TnPoolParams){.kind = TN_POOL_AVG, .n_spatial = 2, .kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .pads = {1, 1, 0, 0}};
    RUN(pool, &p, T(TN_F32, y, 1, 1, 2, 2), x);
    SAME_F(y, 4, 1, 2.5f, 5.5f, 7);
    p.count_include_pad = 1;
    RUN(pool, &p, T(TN_F32, y, 1, 1, 2, 2), x);
    SAME_F(y, 4, 0.25f, 1.25f, 2.75f, 7);
    /* ceil mode: the last window hangs over; places beyond the padding do not count */
    p = (TnPoolParams){.kind = TN_POOL_AVG,
                       .n_spatial = 2,
                       .kernel = {2, 2},
                       .stride = {2, 2},
                       .dilation = {1, 1},
                       .ceil_mode = 1,
                       .count_include_pad = 1};
    RUN(pool, &p, T(TN_F32, y, 1, 1, 2, 2), x);
    SAME_F(y, 4, 3, 4.5f, 7.5f, 9);
    p = (TnPoolParams){.kind = TN_POOL_AVG, .global = 1};
    RUN(pool, &p, T(TN_F32, y, 1, 1, 1, 1), x);
    SAME_F(y, 1, 5);
    p.kind = TN_POOL_LP;
    p.p = 2;
    RUN(pool, &p, T(TN_F32, y, 1, 1, 1, 1), x);
    SAME_F(y, 1, (float)sqrt(285));
    p = (TnPoolParams){
        .kind = TN_POOL_MAX, .n_spatial = 1, .kernel = {2}, .stride = {1}, .dilation = {1}, .pads = {1, 1}, .channels_last = 1};
    RUN(pool, &p, T(TN_F32, y, 1, 3, 2), T(TN_F32, F(-1, 5, -2, NAN), 1, 2, 2));
    SAME_F(y, 6, -1, 5, -1, NAN, -2, NAN);
}

static void resize_1d(TnResizeParams p, TnTensor x, float scale, TnTensor y) {
    RUN(resize, &p, y, x, NONE, T(TN_F32, &scale, 1), NONE);
}

static void resize(void **state) {
    (void)state;
    float y[8];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4), 4);
    resize_1d((TnResizeParams){.mode = TN_RESIZE_NEAREST, .coord = TN_COORD_HALF_PIXEL}, x, 2, T(TN_F32, y, 8));
    SAME_F(y, 8, 1, 1, 2, 2, 3, 3, 4, 4);
    resize_1d((TnResizeParams){.mode = TN_RESIZE_NEAREST, .coord = TN_COORD_ASYMMETRIC, .nearest = TN_NEAREST_FLOOR}, x, 0.5f,
              T(TN_F32, y, 2));
    SAME_F(y, 2, 1, 3);
    resize_1d((TnResizeParams){.mode = TN_RESIZE_LINEAR, .coord = TN_COORD_HALF_PIXEL}, x, 2, T(TN_F32, y, 8));
    SAME_F(y, 8, 1, 1.25f, 1.75f, 2.25f, 2.75f, 3.25f, 3.75f, 4);
    resize_1d((TnResizeParams){.mode = TN_RESIZE_LINEAR, .coord = TN_COORD_ALIGN_CORNERS}, x, 1.75f, T(TN_F32, y, 7));
    SAME_F(y, 7, 1, 1.5f, 2, 2.5f, 3, 3.5f, 4);
    resize_1d((TnResizeParams){.mode = TN_RESIZE_LINEAR, .coord = TN_COORD_HALF_PIXEL, .antialias = 1}, x, 0.5f, T(TN_F32, y, 2));
    NEAR(y, F(1.625f, 3.375f), 2, 1e-6); /* weights 1 3 3 1, the border counted again */
    resize_1d((TnResizeParams){.mode = TN_RESIZE_CUBIC, .coord = TN_COORD_HALF_PIXEL, .cubic_a = -0.75f}, x, 0.5f, T(TN_F32, y, 2));
    NEAR(y, F(1.40625f, 3.59375f), 2, 1e-6);
    TnError err = {0};
    TnTensor in[4] = {T(TN_F32, NULL, 0), NONE, T(TN_F32, F(2), 1), NONE}, out = T(TN_F32, y, 1);
    assert_int_equal(call_ref(TN_OP_resize, &(TnResizeParams){0}, in, 4, &out, 1, NULL, NULL, &err), TN_ERR_RUN);
}

static void roi_align(void **state) {
    (void)state;
    float y[4];
    float map[16];
    for (int i = 0; i < 16; i++)
        map[i] = (float)(i % 4) + 10 * (float)(i / 4);
    TnRoiAlignParams p = {.output_height = 1, .output_width = 1, .sampling_ratio = 1, .spatial_scale = 1, .aligned = 1};
    const TnTensor x = T(TN_F32, map, 1, 1, 4, 4), rois = T(TN_F32, F(1, 1, 3, 3), 1, 4);
    RUN(roi_align, &p, T(TN_F32, y, 1, 1, 1, 1), x, rois, T(TN_I64, I(0), 1));
    SAME_F(y, 1, 16.5f); /* centre (2, 2) minus half a pixel */
    p.aligned = 0;
    RUN(roi_align, &p, T(TN_F32, y, 1, 1, 1, 1), x, rois, T(TN_I64, I(0), 1));
    SAME_F(y, 1, 22);
    TnError err = {0};
    TnTensor out = T(TN_F32, y, 1, 1, 1, 1);
    assert_int_equal(call_ref(TN_OP_roi_align, &p, (TnTensor[]){x, rois, T(TN_I64, I(1), 1)}, 3, &out, 1, NULL, NULL, &err), TN_ERR_RUN);
    assert_non_null(strstr(err.message, "batch index 1"));
}

static void nms(void **state) {
    (void)state;
    const float boxes[] = {0, 0, 1, 1, 0, 0.1f, 1, 1.1f, 0, 10, 1, 11, 0, 10.1f, 1, 11.1f}, scores[] = {0.9f, 0.75f, 0.6f, 0.95f};
    TnTensor in[5] = {T(TN_F32, boxes, 1, 4, 4), T(TN_F32, scores, 1, 1, 4), T(TN_I64, I(3), 1), T(TN_F32, F(0.5f), 1), T(TN_F32, F(0), 1)};
    TnTensor out = {.dtype = TN_I64};
    Outputs o = {{0}};
    TnError err = {0};
    TnNmsParams p = {0};
    assert_int_equal(call_ref(TN_OP_non_max_suppression, &p, in, 5, &out, 1, &o, NULL, &err), TN_OK);
    assert_int_equal(out.dims[0], 2);
    SAME_I((int64_t *)out.data, 6, 0, 0, 3, 0, 0, 0);
    free_outputs(&o);
    in[4] = T(TN_F32, F(0.92f), 1);
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_non_max_suppression, &p, in, 5, &out, 1, &o, NULL, &err), TN_OK);
    assert_int_equal(out.dims[0], 1);
    free_outputs(&o);
    in[2] = NONE; /* no limit given: nothing is kept */
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_non_max_suppression, &p, in, 5, &out, 1, &o, NULL, &err), TN_OK);
    assert_int_equal(out.dims[0], 0);
    free_outputs(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv), cmocka_unit_test(conv_details), cmocka_unit_test(conv_transpose),
        cmocka_unit_test(pool), cmocka_unit_test(resize),       cmocka_unit_test(roi_align),
        cmocka_unit_test(nms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
