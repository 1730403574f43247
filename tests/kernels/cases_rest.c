/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of operators that have few kernels beside the reference, or only on devices: quantisation, einsum, transposed convolution, RoIAlign,
 * copies, ranges, identity matrices, shapes. */
#include <math.h>

#include "kernels/checkkern.h"

static TnDtype some_float(Case *c) {
    return (TnDtype)CK_PICK(c, TN_F32, TN_F32, TN_F16, TN_BF16);
}

static int32_t some_dims(Case *c, int64_t *dims, int32_t min_rank, int32_t max_rank) {
    int32_t rank = (int32_t)ck_range(c, min_rank, max_rank);
    for (int32_t d = 0; d < rank; d++)
        dims[d] = ck_rand(c) % 3 == 0 ? ck_size(c, rank > 3 ? 20 : 70) : ck_range(c, 1, 5);
    return rank;
}

/* ---- quantisation: one scale, one an axis, one a block ---- */
static bool quantisation(Case *c, bool back) {
    TnQuantizeParams *p = ck_params(c, sizeof *p);
    static const TnDtype narrow[] = {TN_U8, TN_I8, TN_U8, TN_I8, TN_I16, TN_U16};
    int64_t dims[TN_MAX_RANK], scales[TN_MAX_RANK];
    if (c->bench || c->k >= 72)
        return false;
    const TnDtype q = narrow[c->k % TN_COUNT(narrow)], real = some_float(c);
    int32_t rank = some_dims(c, dims, 1, 4), axis = (int32_t)ck_range(c, 0, rank - 1), scale_rank = 0;
    const uint32_t kind = c->k % 3;
    p->axis = axis - (ck_coin(c) ? rank : 0);
    p->saturate = 1;
    if (kind == 1) {
        scale_rank = 1;
        scales[0] = dims[axis];
    } else if (kind == 2) {
        p->block_size = (int32_t)ck_range(c, 1, 9);
        scale_rank = rank;
        memcpy(scales, dims, sizeof scales);
        scales[axis] = (dims[axis] + p->block_size - 1) / p->block_size;
    }
    ck_in(c, back ? q : real, rank, dims, back ? FILL_WIDE : FILL_NORMAL);
    TnTensor *s = ck_in(c, real, scale_rank, scales, FILL_POSITIVE);
    for (int64_t i = 0; i < tn_tensor_numel(s); i++) /* powers of two: no quotient lies between two roundings */
        tni_store_f64(real, s->data, i, ldexp(1.0, (int)ck_range(c, -7, 0)));
    if (ck_coin(c))
        ck_last_constant(c);
    if (ck_rand(c) % 3 != 0)
        ck_ints(c, q, scale_rank, scales, q == TN_U8 || q == TN_U16 ? 0 : -20, 100);
    p->output_dtype = back ? TN_UNDEFINED : (uint32_t)q;
    ck_out(c, back ? real : q, rank, dims);
    ck_say(c, "axis %d block %d, %s, %s", (int)p->axis, (int)p->block_size, tn_dtype_name(real), tn_dtype_name(q));
    return true;
}
bool case_quantize_linear(Case *c) {
    return quantisation(c, false);
}
bool case_dequantize_linear(Case *c) {
    return quantisation(c, true);
}

/* ---- einsum ---- */
bool case_einsum(Case *c) {
    TnEinsumParams *p = ck_params(c, sizeof *p);
    static const char *const equations[] = {
        "ij,jk->ik",      "bij,bjk->bik",  "bhid,bhjd->bhij", "bhij,bhjd->bhid", "ij,kj->ik", "i,i->",        "i,j->ij",
        "ij->ji",         "ij->i",         "bij->b",          "ii->i",           "ij,ij->ij", "ij,jk,kl->il", "...ij,...jk->...ik",
        "bijc,jkc->bikc", "abcd,be->acde", "bhwc,hkc->bhwk",  "ij,i->j"};
    if (c->bench || c->k >= 3 * TN_COUNT(equations))
        return false;
    const char *e = equations[c->k % TN_COUNT(equations)];
    int64_t sizes[128] = {0}, dims[TN_MAX_RANK], dots[2] = {ck_range(c, 1, 3), ck_range(c, 1, 4)};
    const int32_t n_dots = (int32_t)ck_range(c, 0, 2);
    int32_t rank = 0;
    bool output = false;
    strcpy(p->equation, e);
    for (char letter = 'a'; letter <= 'z'; letter++)
        sizes[(int)letter] = ck_size(c, 24);
    for (const char *s = e;; s++) {
        if (*s >= 'a') {
            dims[rank++] = sizes[(int)*s];
        } else if (*s == '.') {
            for (int32_t d = 0; d < n_dots; d++)
                dims[rank++] = dots[d];
            s += 2;
        } else if (*s == ',' || *s == '-') {
            ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
            rank = 0;
            s += *s == '-';
            output = true;
        } else {
            break;
        }
    }
    if (output)
        ck_out(c, TN_F32, rank, dims);
    ck_say(c, "%s", e);
    return true;
}

/* ---- transposed convolution ---- */
/* U-Net's steps upwards: kernel 2, stride 2. */
static bool bench_conv_transpose(Case *c, TnConvParams *p) {
    static const int64_t shapes[][4] = {{1024, 512, 6, 8}, {128, 64, 48, 64}};
    if (c->k >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[c->k];
    p->n_spatial = 2;
    p->group = 1;
    for (int d = 0; d < 2; d++) {
        p->kernel[d] = p->stride[d] = 2;
        p->dilation[d] = 1;
    }
    ck_in(c, TN_F32, 4, DIMS(1, s[0], s[2], s[3]), FILL_NORMAL);
    ck_const(c, TN_F32, 4, DIMS(s[0], s[1], 2, 2), FILL_NORMAL);
    ck_const(c, TN_F32, 1, &s[1], FILL_NORMAL);
    ck_out(c, TN_F32, 4, DIMS(1, s[1], 2 * s[2], 2 * s[3]));
    ck_say(c, "ch %lld m %lld %lldx%lld", (long long)s[0], (long long)s[1], (long long)s[2], (long long)s[3]);
    return true;
}

bool case_conv_transpose(Case *c) {
    TnConvParams *p = ck_params(c, sizeof *p);
    if (c->bench)
        return bench_conv_transpose(c, p);
    if (c->k >= 60)
        return false;
    const uint32_t n = (uint32_t)CK_PICK(c, 1, 2, 2, 2, 3);
    const int64_t groups = CK_PICK(c, 1, 1, 2, 3), cg = ck_size(c, 20), mg = ck_size(c, 20), b = ck_range(c, 1, 3), m = groups * mg;
    int64_t x[5], w[5], y[5];
    p->n_spatial = n;
    p->group = (uint32_t)groups;
    p->channels_last = ck_rand(c) % 3 == 0;
    const uint32_t first = p->channels_last != 0 ? 1 : 2, channel = p->channels_last != 0 ? n + 1 : 1;
    x[0] = y[0] = b;
    x[channel] = groups * cg;
    y[channel] = m;
    w[0] = groups * cg;
    w[1] = mg;
    for (uint32_t d = 0; d < n; d++) {
        p->kernel[d] = (int32_t)ck_range(c, 1, 4);
        p->stride[d] = (int32_t)ck_range(c, 1, 3);
        p->dilation[d] = (int32_t)CK_PICK(c, 1, 1, 2);
        p->pads[d] = (int32_t)TN_MIN(ck_range(c, 0, 1), p->kernel[d] - 1); /* x has two places: something is left */
        p->pads[n + d] = (int32_t)TN_MIN(ck_range(c, 0, 1), p->kernel[d] - 1);
        p->output_pads[d] = (int32_t)ck_range(c, 0, p->stride[d] - 1);
        x[first + d] = ck_range(c, 2, n == 3 ? 5 : 12);
        w[2 + d] = p->kernel[d];
        y[first + d] =
            (x[first + d] - 1) * p->stride[d] + (p->kernel[d] - 1) * p->dilation[d] + 1 + p->output_pads[d] - p->pads[d] - p->pads[n + d];
    }
    ck_in(c, TN_F32, (int32_t)n + 2, x, FILL_NORMAL);
    ck_in(c, TN_F32, (int32_t)n + 2, w, FILL_NORMAL);
    if (ck_rand(c) % 4 != 0)
        ck_last_constant(c);
    if (ck_coin(c))
        ck_in(c, TN_F32, 1, &m, FILL_NORMAL);
    ck_out(c, TN_F32, (int32_t)n + 2, y);
    ck_say(c, "groups %lld cg %lld mg %lld kernel %d,%d stride %d,%d %s", (long long)groups, (long long)cg, (long long)mg, p->kernel[0],
           p->kernel[1], p->stride[0], p->stride[1], p->channels_last != 0 ? "last" : "first");
    return true;
}

/* ---- regions ---- */
/* A detector's: 1000 regions of a fine level, most of them of other levels and so of no size; and one level of 200 large regions. */
static bool bench_roi_align(Case *c, TnRoiAlignParams *p) {
    const bool many = c->k == 0;
    const int64_t n = many ? 1000 : 200, h = many ? 200 : 50, w = many ? 336 : 84;
    if (c->k > 1)
        return false;
    p->output_height = p->output_width = many ? 7 : 14;
    p->spatial_scale = 1.0f;
    p->aligned = 1;
    ck_in(c, TN_F32, 4, DIMS(1, 256, h, w), FILL_NORMAL);
    TnTensor *rois = ck_in(c, TN_F32, 2, DIMS(n, 4), FILL_POSITIVE);
    for (int64_t i = 0; i < n && rois->data != NULL; i++) {
        float *r = (float *)rois->data + 4 * i;
        const double side = many && i % 2 != 0 ? 0.0 : 14.0 + 14.0 * ck_unit(c);
        r[0] = (float)(ck_unit(c) * ((double)w - side));
        r[1] = (float)(ck_unit(c) * ((double)h - side));
        r[2] = r[0] + (float)side;
        r[3] = r[1] + (float)side;
    }
    ck_ints(c, TN_I64, 1, DIMS(n), 0, 0);
    ck_out(c, TN_F32, 4, DIMS(n, 256, p->output_height, p->output_width));
    ck_say(c, "%lld regions of [256, %lld, %lld]", (long long)n, (long long)h, (long long)w);
    return true;
}

/* Regions that are none, turned around, far outside or unknown; maps with NaN and infinities; one very tall region. */
static void odd_region(Case *c, TnRoiAlignParams *p, float *r, int64_t w, int64_t h) {
    static const float places[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, -3e4f};
    const uint32_t kind = (uint32_t)(ck_rand(c) % 7);
    const int64_t corner = ck_range(c, 0, 3);
    if (kind == 0)
        r[0] = r[1] = r[2] = r[3] = 0.0f;
    else if (kind == 1)
        r[2] = r[0];
    else if (kind == 2 || (kind == 3 && p->sampling_ratio == 0)) { /* corners exchanged */
        r[2] = r[0] - (float)ck_range(c, 0, w);
        r[3] = r[1] - (float)ck_range(c, 0, h);
    } else if (kind == 3)
        r[corner] = places[ck_rand(c) % TN_COUNT(places)];
    else if (kind == 4)
        r[corner % 2 + 2] = r[corner % 2] = NAN;
    else if (kind == 5) {
        r[0] += 1e6f;
        r[2] += 1e6f;
    }
}

bool case_roi_align(Case *c) {
    TnRoiAlignParams *p = ck_params(c, sizeof *p);
    if (c->bench)
        return bench_roi_align(c, p);
    if (c->k >= (ck_for_devices ? 40u : 110u))
        return false;
    const bool odd = c->k >= 40 && c->k < 80, large = c->k >= 80;
    const int64_t b = ck_range(c, 1, 3), ch = large && c->k < 90 ? ck_range(c, 60, 150) : ck_size(c, large ? 5 : 40), h = ck_size(c, large ? 90 : 40),
                  w = ck_size(c, large ? 150 : 40), n = odd && c->k % 10 == 0 ? 0 : ck_size(c, 20);
    p->output_height = (int32_t)(large ? CK_PICK(c, 7, 14, 14, 3, 15, 22) : ck_range(c, 1, 7));
    p->output_width = (int32_t)(large ? CK_PICK(c, 7, 14, 16, 17, 33, 40) : ck_range(c, 1, 7));
    p->sampling_ratio = (int32_t)ck_range(c, 0, 3);
    p->spatial_scale = 0.5f;
    p->max_mode = ck_coin(c) && c->k < 40;
    p->aligned = ck_coin(c);
    c->special = odd && c->k % 2 == 0;
    ck_in(c, TN_F32, 4, DIMS(b, ch, h, w), c->special ? FILL_SPECIAL : FILL_NORMAL);
    TnTensor *rois = ck_in(c, TN_F32, 2, DIMS(n, 4), FILL_POSITIVE);
    for (int64_t i = 0; i < n && rois->data != NULL; i++) {
        float *r = (float *)rois->data + 4 * i;
        r[0] = (float)ck_range(c, -4, 2 * w) + 0.25f; /* a multiple of a power of two: every type has it */
        r[1] = (float)ck_range(c, -4, 2 * h) + 0.25f;
        r[2] = r[0] + (float)ck_range(c, 0, w);
        r[3] = r[1] + (float)ck_range(c, 0, h);
        if (odd)
            odd_region(c, p, r, w, h);
    }
    if (c->k == 109 && n > 0 && rois->data != NULL) { /* as many points as there may be along a side */
        p->output_height = p->output_width = 1;
        p->sampling_ratio = 0;
        memcpy(rois->data, (float[]){0.25f, -2e6f, 1.0f, 3e6f}, 4 * sizeof(float));
    }
    ck_ints(c, TN_I64, 1, DIMS(n), 0, b - 1);
    ck_out(c, TN_F32, 4, DIMS(n, ch, p->output_height, p->output_width));
    ck_say(c, "out %d,%d sampling %d max %u aligned %u%s", (int)p->output_height, (int)p->output_width, (int)p->sampling_ratio, p->max_mode,
           p->aligned, odd ? " odd" : "");
    return true;
}

/* ---- small ones ---- */
bool case_copy(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    int64_t dims[TN_MAX_RANK];
    if (c->bench || c->k >= 20)
        return false;
    TnDtype t = (TnDtype)CK_PICK(c, TN_F32, TN_I64, TN_U8, TN_F16, TN_C128);
    int32_t rank = some_dims(c, dims, 0, 4);
    ck_in(c, t, rank, dims, FILL_WIDE);
    ck_out(c, t, rank, dims);
    return true;
}

bool case_eye_like(Case *c) {
    TnEyeLikeParams *p = ck_params(c, sizeof *p);
    if (c->bench || c->k >= 30)
        return false;
    const TnDtype t = (TnDtype)CK_PICK(c, TN_F32, TN_I64, TN_F16, TN_BF16, TN_BOOL, TN_U8);
    const int64_t dims[2] = {ck_size(c, 60), ck_size(c, 60)};
    p->k = (int32_t)ck_range(c, -20, 20);
    p->dtype = ck_coin(c) ? (uint32_t)t : TN_UNDEFINED;
    ck_in(c, p->dtype == TN_UNDEFINED ? t : TN_F32, 2, dims, FILL_NORMAL);
    ck_out(c, t, 2, dims);
    ck_say(c, "k %d", (int)p->k);
    return true;
}

bool case_range(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    if (c->bench || c->k >= 30)
        return false;
    const TnDtype t = (TnDtype)CK_PICK(c, TN_I64, TN_I32, TN_F32);
    const int64_t start = ck_range(c, -50, 50), delta = ck_coin(c) ? ck_range(c, 1, 4) : -ck_range(c, 1, 4), n = ck_size(c, 800);
    ck_ints(c, t, 0, NULL, start, start);
    ck_ints(c, t, 0, NULL, start + n * delta, start + n * delta);
    ck_ints(c, t, 0, NULL, delta, delta);
    ck_out(c, t, 1, &n);
    return true;
}

bool case_shape(Case *c) {
    TnShapeParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    if (c->bench || c->k >= 20)
        return false;
    int32_t rank = some_dims(c, dims, 1, 5);
    p->start = (int32_t)ck_range(c, 0, rank - 1);
    p->end = INT32_MAX;
    const int64_t n = rank - p->start;
    ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
    ck_out(c, TN_I64, 1, &n);
    return true;
}

bool case_size(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    int64_t dims[TN_MAX_RANK];
    if (c->bench || c->k >= 10)
        return false;
    int32_t rank = some_dims(c, dims, 0, 4);
    ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
    ck_out(c, TN_I64, 0, NULL);
    return true;
}

/* The values are those of checkcuda's table of dimensions. */
bool case_dims(Case *c) {
    TnDimsParams *p = ck_params(c, sizeof *p);
    if (c->bench || c->k >= 10)
        return false;
    const int64_t n = c->k == 0 ? 1 : ck_range(c, 1, TN_DIMS_MAX);
    p->dtype = (uint32_t)(ck_coin(c) ? TN_I64 : TN_I32);
    p->rank = c->k > 0;
    p->n = (uint32_t)n;
    for (int64_t i = 0; i < n; i++)
        p->dim[i] = (TnDim)ck_range(c, 0, CASE_DIMS - 1);
    ck_out(c, (TnDtype)p->dtype, (int32_t)p->rank, &n);
    return true;
}

/* ---- results whose size depends on values: outputs as large as they can get ---- */
bool case_nonzero(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    int64_t dims[TN_MAX_RANK], n = 1;
    if (c->bench || c->k >= 40)
        return false;
    const TnDtype t = (TnDtype)CK_PICK(c, TN_F32, TN_I64, TN_BOOL, TN_U8, TN_F16, TN_BF16, TN_I32);
    int32_t rank = some_dims(c, dims, 0, 4);
    for (int32_t d = 0; d < rank; d++)
        n *= dims[d];
    TnTensor *x = ck_ints(c, t, rank, dims, 0, c->k % 5 == 0 ? 0 : c->k % 5 == 1 ? 1 : 3);
    for (int64_t i = 0; i < n && x->data != NULL && c->k % 5 == 4; i++)
        tni_store_i64(t, x->data, i, 1);
    ck_out(c, TN_I64, 2, DIMS(rank, n));
    return true;
}

bool case_compress(Case *c) {
    TnCompressParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], n = 1;
    if (c->bench || c->k >= 50)
        return false;
    const TnDtype t = (TnDtype)CK_PICK(c, TN_F32, TN_I64, TN_BOOL, TN_F16);
    int32_t rank = some_dims(c, dims, 1, 4), axis = (int32_t)ck_range(c, 0, rank - 1);
    p->flatten = ck_rand(c) % 3 == 0;
    p->axis = axis - (ck_coin(c) ? rank : 0);
    for (int32_t d = 0; d < rank; d++)
        n *= dims[d];
    const int64_t most = p->flatten != 0 ? n : dims[axis], given = ck_coin(c) ? most : ck_range(c, 1, most);
    ck_in(c, t, rank, dims, FILL_WIDE);
    ck_ints(c, TN_BOOL, 1, &given, 0, 1);
    if (p->flatten != 0)
        ck_out(c, t, 1, &n);
    else
        ck_out(c, t, rank, dims);
    ck_say(c, "axis %d flatten %u", (int)p->axis, p->flatten);
    return true;
}

bool case_unique(Case *c) {
    TnUniqueParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], n = 1;
    if (c->bench || c->k >= 40)
        return false;
    const TnDtype t = (TnDtype)CK_PICK(c, TN_F32, TN_I64, TN_I32, TN_U8, TN_F16);
    int32_t rank = some_dims(c, dims, 1, 3), axis = (int32_t)ck_range(c, 0, rank - 1);
    p->flatten = ck_rand(c) % 3 != 0;
    p->axis = axis;
    p->sorted = ck_coin(c);
    for (int32_t d = 0; d < rank; d++)
        n *= dims[d];
    const int64_t places = p->flatten != 0 ? n : dims[axis];
    ck_ints(c, t, rank, dims, 0, p->flatten != 0 ? 20 : 1);
    if (p->flatten != 0)
        ck_out(c, t, 1, &n);
    else
        ck_out(c, t, rank, dims);
    for (int i = 0; i < 3; i++) {
        TnTensor *y = ck_out(c, TN_I64, 1, &places);
        if (ck_rand(c) % 5 == 0)
            y->data = NULL;
    }
    ck_say(c, "axis %d flatten %u sorted %u", (int)p->axis, p->flatten, p->sorted);
    return true;
}

/* The proposals of a detector: of five levels, each moved apart, 4819 boxes of which 1000 are kept. */
static bool bench_nms(Case *c) {
    const int64_t n = 4819, most = 1000;
    if (c->k > 0)
        return false;
    TnTensor *boxes = ck_in(c, TN_F32, 3, DIMS(1, n, 4), FILL_POSITIVE);
    for (int64_t i = 0; i < n && boxes->data != NULL; i++) {
        float *v = (float *)boxes->data + 4 * i;
        v[0] = (float)(ck_unit(c) * 1200.0 + 1400.0 * (double)(i / 1000));
        v[1] = (float)(ck_unit(c) * 700.0 + 1400.0 * (double)(i / 1000));
        v[2] = v[0] + (float)(ck_unit(c) * 200.0);
        v[3] = v[1] + (float)(ck_unit(c) * 200.0);
    }
    ck_in(c, TN_F32, 3, DIMS(1, 1, n), FILL_NORMAL);
    ck_values(c, TN_I64, -1, &most);
    TnTensor *iou = ck_in(c, TN_F32, 0, NULL, FILL_POSITIVE);
    if (iou->data != NULL)
        *(float *)iou->data = 0.7f;
    ck_out(c, TN_I64, 2, DIMS(most, 3));
    ck_say(c, "%lld boxes, at most %lld", (long long)n, (long long)most);
    return true;
}

/* Boxes of any floats, flat, infinite, unknown, the same ones again; scores that are alike or NaN; limits at their ends. */
static bool odd_nms(Case *c, TnNmsParams *p) {
    static const float overlaps[] = {0.0f, 1.0f, 0.5f, 0.7f, -0.1f, 1e-30f, NAN, 2.0f};
    static const float places[] = {NAN, INFINITY, -INFINITY, 1e-38f, 3e38f, -3e38f, 0.0f, -0.0f};
    const int64_t b = ck_range(c, 1, 2), classes = ck_range(c, 1, 3), n = c->k % 9 == 0 ? ck_range(c, 0, 1) : ck_size(c, 700);
    const int64_t most = c->k % 7 == 0 ? ck_range(c, -1, 1) : ck_range(c, 1, 300);
    const double shift = c->k % 3 == 0 ? 1e5 : 0.0, scale = c->k % 5 == 0 ? 1e-18 : c->k % 5 == 1 ? 1e18 : 1.0;
    p->center_point_box = ck_rand(c) % 4 == 0;
    TnTensor *boxes = ck_in(c, TN_F32, 3, DIMS(b, n, 4), FILL_NORMAL), *scores = ck_in(c, TN_F32, 3, DIMS(b, classes, n), FILL_NORMAL);
    for (int64_t i = 0; i < b * n && boxes->data != NULL; i++) {
        float *v = (float *)boxes->data + 4 * i;
        for (int j = 0; j < 4; j++)
            v[j] = (float)((double)(v[j] + (j > 1 ? 1.0f : 0.0f)) * scale + shift * (double)(i % 3));
        if (i > 0 && ck_rand(c) % 8 == 0)
            memcpy(v, v - 4, 4 * sizeof *v);
        if (ck_rand(c) % 16 == 0)
            v[ck_rand(c) % 4] = c->k % 2 == 0 ? v[ck_rand(c) % 4] : places[ck_rand(c) % TN_COUNT(places)];
    }
    for (int64_t i = 0; i < b * classes * n && scores->data != NULL && c->k % 2 == 0; i++) {
        float *s = (float *)scores->data + i;
        *s = ck_rand(c) % 9 == 0 ? places[ck_rand(c) % TN_COUNT(places)] : roundf(*s);
    }
    ck_values(c, TN_I64, -1, &most);
    const bool threshold = ck_coin(c);
    for (int i = 0; i < (threshold ? 2 : 1); i++) {
        TnTensor *t = ck_in(c, TN_F32, 0, NULL, FILL_POSITIVE);
        if (t->data != NULL)
            *(float *)t->data = i == 0 ? overlaps[c->k % TN_COUNT(overlaps)] : -0.5f;
    }
    ck_out(c, TN_I64, 2, DIMS(b * classes * TN_MIN(TN_MAX(most, 0), n), 3));
    ck_say(c, "odd: %lld boxes, %lld classes, at most %lld, %s", (long long)n, (long long)classes, (long long)most,
           p->center_point_box != 0 ? "centre" : "corners");
    return true;
}

bool case_non_max_suppression(Case *c) {
    TnNmsParams *p = ck_params(c, sizeof *p);
    if (c->bench)
        return bench_nms(c);
    if (c->k >= 40 && c->k < 200 && !ck_for_devices)
        return odd_nms(c, p);
    if (c->k >= 40)
        return false;
    const int64_t b = ck_range(c, 1, 3), classes = ck_range(c, 1, 4), n = ck_size(c, 200), most = ck_range(c, 1, 30);
    p->center_point_box = ck_coin(c);
    TnTensor *boxes = ck_in(c, TN_F32, 3, DIMS(b, n, 4), FILL_POSITIVE);
    for (int64_t i = 0; i < b * n && boxes->data != NULL; i++) { /* quarters: overlaps come out the same in float and double */
        float *v = (float *)boxes->data + 4 * i;
        for (int j = 0; j < 4; j++)
            v[j] = (float)ck_range(c, 1, 80) * 0.25f;
    }
    ck_in(c, TN_F32, 3, DIMS(b, classes, n), FILL_NORMAL);
    ck_values(c, TN_I64, -1, &most);
    for (int i = 0; i < 2; i++) {
        TnTensor *t = ck_in(c, TN_F32, 0, NULL, FILL_POSITIVE);
        if (t->data != NULL)
            *(float *)t->data = i == 0 ? 0.3137f : -0.5f;
    }
    ck_out(c, TN_I64, 2, DIMS(b * classes * TN_MIN(most, n), 3));
    ck_say(c, "%lld boxes, %lld classes, at most %lld, %s", (long long)n, (long long)classes, (long long)most,
           p->center_point_box != 0 ? "centre" : "corners");
    return true;
}
