/* SPDX-License-Identifier: Apache-2.0
 *
 * Resizing as OpenCV's cv2.resize does it with INTER_LINEAR on 8 bits, to the bit: an output pixel is the weighted mean of the four input
 * pixels around the place that its middle falls on. Weights are rounded to 11 fraction bits; the sums of a row lose 4 bits before the
 * second weight, and each of the two products 16 more. Detectors trained on such pictures see what they learned on. */
#include <math.h>
#include <stdlib.h>

#include "pipelines/image.h"
#include "pipelines/util.h"

#define ONE 2048 /* the weight 1 */

/* Output i is (in[low] * w0 + in[high] * w1) / ONE. */
typedef struct Tap {
    uint32_t low, high;
    int16_t w0, w1;
} Tap;

/* beyond: what lies outside of the picture is its edge pixel: along x by the weight, along y by the place, which rounds differently. */
static void taps_init(Tap *taps, uint32_t in, uint32_t out, bool by_weight) {
    double step = 1.0 / ((double)out / in);
    for (uint32_t i = 0; i < out; i++) {
        float at = (float)((i + 0.5) * step - 0.5);
        int64_t low = (int64_t)floorf(at), last = (int64_t)in - 1;
        float part = at - (float)low;
        if (by_weight && (low < 0 || low >= last)) {
            part = 0;
            low = low < 0 ? 0 : last;
        }
        int64_t high = low + 1 < 0 ? 0 : low + 1 > last ? last : low + 1;
        taps[i] = (Tap){(uint32_t)(low < 0      ? 0
                                   : low > last ? last
                                                : low),
                        (uint32_t)high, (int16_t)lrintf((1.0f - part) * ONE), (int16_t)lrintf(part * ONE)};
    }
}

static void widen(const uint8_t *src, const Tap *taps, uint32_t width, int16_t *row) {
    for (uint32_t x = 0; x < width; x++) {
        const uint8_t *a = src + (size_t)taps[x].low * 3, *b = src + (size_t)taps[x].high * 3;
        for (uint32_t c = 0; c < 3; c++)
            row[x * 3 + c] = (int16_t)((a[c] * taps[x].w0 + b[c] * taps[x].w1) >> 4);
    }
}

static void blend(const int16_t *restrict low, const int16_t *restrict high, int16_t w0, int16_t w1, size_t n, uint8_t *restrict dst) {
    for (size_t i = 0; i < n; i++)
        dst[i] = (uint8_t)(((w0 * low[i] >> 16) + (w1 * high[i] >> 16) + 2) >> 2);
}

static void halve(const TnImage *in, TnImage *out) {
    for (size_t y = 0; y < out->height; y++) {
        const uint8_t *a = in->rgb + y * 2 * in->width * 3, *b = a + (size_t)in->width * 3;
        for (size_t x = 0; x < out->width; x++) {
            for (size_t c = 0; c < 3; c++)
                out->rgb[(y * out->width + x) * 3 + c] =
                    (uint8_t)((a[x * 6 + c] + a[x * 6 + 3 + c] + b[x * 6 + c] + b[x * 6 + 3 + c] + 2) >> 2);
        }
    }
}

/* Rows are widened once each: consecutive outputs share them. */
static void resample(const TnImage *in, const Tap *xs, const Tap *ys, int16_t *rows, TnImage *out) {
    size_t n = (size_t)out->width * 3, stride = (size_t)in->width * 3;
    uint32_t held[2] = {UINT32_MAX, UINT32_MAX};
    int16_t *row[2] = {rows, rows + n};
    for (uint32_t y = 0; y < out->height; y++) {
        const uint32_t need[2] = {ys[y].low, ys[y].high};
        if (held[1] == need[0]) {
            int16_t *swap = row[0];
            row[0] = row[1];
            row[1] = swap;
            held[1] = held[0];
            held[0] = need[0];
        }
        for (int k = 0; k < 2; k++) {
            if (held[k] != need[k])
                widen(in->rgb + need[k] * stride, xs, out->width, row[k]);
            held[k] = need[k];
        }
        blend(row[0], row[1], ys[y].w0, ys[y].w1, n, out->rgb + y * n);
    }
}

TnStatus tn_image_resize_linear(const TnImage *image, uint32_t width, uint32_t height, TnImage *out, TnError *err) {
    *out = (TnImage){0};
    if (width == 0 || height == 0 || image->width == 0 || image->height == 0 || (uint64_t)width * height > TN_IMAGE_MAX_PIXELS)
        return tnp_fail(err, TN_ERR_ARGUMENT, "cannot resize a picture of %u x %u to %u x %u pixels", image->width, image->height, width,
                        height);
    size_t bytes = (size_t)width * height * 3;
    Tap *taps = malloc(((size_t)width + height) * sizeof *taps);
    int16_t *rows = malloc((size_t)width * 3 * 2 * sizeof *rows);
    *out = (TnImage){malloc(bytes), width, height};
    TnStatus st = TN_OK;
    if (taps == NULL || rows == NULL || out->rgb == NULL) {
        tn_image_free(out);
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu bytes for a resized picture", bytes);
    } else if (image->width == 2 * (uint64_t)width && image->height == 2 * (uint64_t)height) {
        halve(image, out);
    } else {
        taps_init(taps, image->width, width, true);
        taps_init(taps + width, image->height, height, false);
        resample(image, taps, taps + width, rows, out);
    }
    free(taps);
    free(rows);
    return st;
}
