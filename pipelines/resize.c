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

static uint8_t clip(int64_t v) {
    v >>= FRACTION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* dst [height, out, 3] from src [height, in, 3]; the elements of one axis lie `step` apart and lines `line` apart, so it serves both passes. */
static void pass(const Axis *a, uint32_t out, size_t lines, const uint8_t *src, size_t src_line, size_t src_step, uint8_t *dst,
                 size_t dst_line, size_t dst_step) {
    for (size_t y = 0; y < lines; y++) {
        for (uint32_t i = 0; i < out; i++) {
            const int32_t *w = a->w + i * a->width;
            const uint8_t *s = src + y * src_line + a->first[i] * src_step;
            int64_t sum = (int64_t)1 << (FRACTION_BITS - 1);
            for (uint32_t j = 0; j < a->count[i]; j++)
                sum += (int64_t)s[j * src_step] * w[j];
            dst[y * dst_line + i * dst_step] = clip(sum);
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
    for (size_t c = 0; c < 3; c++) {
        if (horizontal)
            pass(&axis, w, h, in->rgb + c, (size_t)in->width * 3, 3, out->rgb + c, (size_t)w * 3, 3);
        else
            pass(&axis, h, w, in->rgb + c, 3, (size_t)in->width * 3, out->rgb + c, 3, (size_t)w * 3);
    }
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
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < n; i++)
            planes[c * n + i] = ((float)image->rgb[i * 3 + c] * scale - mean[c]) / std[c];
    }
}
