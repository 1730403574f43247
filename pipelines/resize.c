/* SPDX-License-Identifier: Apache-2.0
 *
 * Resizing and normalising. The arithmetic is that of Pillow's Image.resize (src/libImaging/Resample.c describes it): a triangle
 * or cubic (a = -0.5) filter whose support grows with the reduction, weights normalised to 1 and rounded to 22 fraction bits. */
#include <math.h>
#include <stdlib.h>

#include "pipelines/image.h"
#include "pipelines/util.h"

#define FRACTION_BITS 22

static double triangle(double x) { return fabs(x) < 1.0 ? 1.0 - fabs(x) : 0.0; }

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

/* Weights of one axis: output i reads inputs first[i] .. first[i] + count[i] - 1 with weights w[i * width ...]. */
typedef struct Axis {
    uint32_t *first, *count;
    int32_t *w;
    size_t width;
} Axis;

static void axis_free(Axis *a) {
    free(a->first);
    free(a->count);
    free(a->w);
}

static bool axis_init(Axis *a, uint32_t in, uint32_t out, TnResample filter) {
    double scale = (double)in / out, stretch = scale < 1.0 ? 1.0 : scale;
    double support = (filter == TN_RESAMPLE_BICUBIC ? 2.0 : 1.0) * stretch;
    *a = (Axis){.width = (size_t)ceil(support) * 2 + 1};
    a->first = malloc(out * sizeof *a->first);
    a->count = malloc(out * sizeof *a->count);
    a->w = calloc((size_t)out * a->width, sizeof *a->w);
    double *k = malloc(a->width * sizeof *k);
    bool ok = a->first != NULL && a->count != NULL && a->w != NULL && k != NULL;
    for (uint32_t i = 0; ok && i < out; i++) {
        double centre = (i + 0.5) * scale, sum = 0;
        double lo = centre - support + 0.5, hi = centre + support + 0.5;
        uint32_t from = lo < 0 ? 0 : (uint32_t)lo, to = hi > in ? in : (uint32_t)hi;
        for (uint32_t j = from; j < to; j++) {
            double x = (j - centre + 0.5) * (1.0 / stretch);
            k[j - from] = filter == TN_RESAMPLE_BICUBIC ? cubic(x) : triangle(x);
            sum += k[j - from];
        }
        for (uint32_t j = 0; j < to - from; j++) {
            double v = (sum != 0 ? k[j] / sum : k[j]) * (1 << FRACTION_BITS);
            a->w[i * a->width + j] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        a->first[i] = from;
        a->count[i] = to - from;
    }
    free(k);
    return ok;
}

/* Sums stay within 32 bits: the weights of a pixel are 1 together, and what a cubic filter has below 0 is less than a third of that. */
static uint8_t clip(int32_t v) {
    v >>= FRACTION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* dst [lines, out, 3] from src [lines, in, 3]: pixel by pixel. */
static void pass_across(const Axis *a, const uint8_t *src, uint32_t in, uint32_t out, size_t lines, uint8_t *dst) {
    const int32_t half = 1 << (FRACTION_BITS - 1);
    for (size_t y = 0; y < lines; y++, src += (size_t)in * 3) {
        for (uint32_t i = 0; i < out; i++, dst += 3) {
            const int32_t *w = a->w + i * a->width;
            const uint8_t *s = src + (size_t)a->first[i] * 3;
            int32_t sum[3] = {half, half, half};
            for (uint32_t j = 0; j < a->count[i]; j++, s += 3) {
                sum[0] += s[0] * w[j];
                sum[1] += s[1] * w[j];
                sum[2] += s[2] * w[j];
            }
            for (size_t c = 0; c < 3; c++)
                dst[c] = clip(sum[c]);
        }
    }
}

#define PART 512 /* of a row, so that its sums stay in the nearest cache */

/* dst [out, n] from src [in, n], n bytes a row: whole rows at once. */
static void pass_down(const Axis *a, const uint8_t *src, uint32_t out, size_t n, uint8_t *dst) {
    int32_t sum[PART];
    for (uint32_t y = 0; y < out; y++) {
        const int32_t *w = a->w + y * a->width;
        for (size_t from = 0; from < n; from += PART) {
            size_t m = n - from < PART ? n - from : PART;
            for (size_t i = 0; i < m; i++)
                sum[i] = 1 << (FRACTION_BITS - 1);
            for (uint32_t j = 0; j < a->count[y]; j++) {
                const uint8_t *s = src + (size_t)(a->first[y] + j) * n + from;
                for (size_t i = 0; i < m; i++)
                    sum[i] += s[i] * w[j];
            }
            for (size_t i = 0; i < m; i++)
                dst[y * n + from + i] = clip(sum[i]);
        }
    }
}

static TnStatus resize_axis(const TnImage *in, uint32_t w, uint32_t h, TnResample filter, TnImage *out, TnError *err) {
    bool horizontal = w != in->width;
    Axis axis;
    size_t bytes = (size_t)w * h * 3;
    *out = (TnImage){malloc(bytes), w, h};
    if (!axis_init(&axis, horizontal ? in->width : in->height, horizontal ? w : h, filter) || out->rgb == NULL) {
        axis_free(&axis);
        tn_image_free(out);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu bytes for a resized picture", bytes);
    }
    if (horizontal)
        pass_across(&axis, in->rgb, in->width, w, h, out->rgb);
    else
        pass_down(&axis, in->rgb, h, (size_t)w * 3, out->rgb);
    axis_free(&axis);
    return TN_OK;
}

TnStatus tn_image_resize(const TnImage *image, uint32_t width, uint32_t height, TnResample filter, TnImage *out, TnError *err) {
    *out = (TnImage){0};
    if (width == 0 || height == 0 || (uint64_t)width * height > TN_IMAGE_MAX_PIXELS ||
        (uint64_t)width * image->height > 4u * (uint64_t)TN_IMAGE_MAX_PIXELS)
        return tnp_fail(err, TN_ERR_ARGUMENT, "cannot resize a picture of %u x %u to %u x %u pixels", image->width, image->height, width, height);
    if (filter != TN_RESAMPLE_BILINEAR && filter != TN_RESAMPLE_BICUBIC)
        return tnp_fail(err, TN_ERR_ARGUMENT, "resample filter %d is unknown; 2 (bilinear) and 3 (bicubic) are there", (int)filter);
    if (width == image->width || height == image->height) /* an axis that keeps its size is not touched (its weights would be 1) */
        return resize_axis(image, width, height, filter, out, err);
    TnImage wide;
    TnStatus st = resize_axis(image, width, image->height, filter, &wide, err);
    if (st != TN_OK)
        return st;
    st = resize_axis(&wide, width, height, filter, out, err);
    tn_image_free(&wide);
    return st;
}

void tn_image_normalize(const TnImage *image, float scale, const float mean[3], const float std[3], float *planes) {
    size_t n = (size_t)image->width * image->height;
    float value[3][256]; /* of every byte: divisions are slower than look-ups */
    for (size_t c = 0; c < 3; c++) {
        for (size_t v = 0; v < 256; v++)
            value[c][v] = ((float)v * scale - mean[c]) / std[c];
    }
    float *r = planes, *g = planes + n, *b = planes + 2 * n;
    const uint8_t *s = image->rgb;
    for (size_t i = 0; i < n; i++, s += 3) {
        r[i] = value[0][s[0]];
        g[i] = value[1][s[1]];
        b[i] = value[2][s[2]];
    }
}
