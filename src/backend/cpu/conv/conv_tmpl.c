/* SPDX-License-Identifier: Apache-2.0
 *
 * Depthwise convolution for one ISA. channels_last: a block of output pixels of a row x one vector of channels, sums in registers; pixels
 * whose taps reach into the padding left or right are done one at a time over several vectors. NCHW: the plane is copied once with its
 * padding, after which every output row is a sum of shifted rows. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/gemm/act.h"

#define PIXELS 8
#define VECTORS 4

TN_INLINE void finish(const TniConv *v, vf acc, vf bias, int64_t at, int64_t n) {
    acc = vf_act(v->act, v->act_alpha, v->act_beta, vf_add(acc, bias));
    if (v->res != NULL)
        acc = vf_add(acc, vf_loadn(v->res + at, n));
    vf_storen(v->y + at, n, acc);
}

/* np pixels from ox on, all taps inside the image horizontally; rows [ky0, ky1) of the kernel. x: row of tap ky0 = 0, column of ox. */
TN_INLINE void pixels(const TniConv *v, const float *x, int64_t ky0, int64_t ky1, int64_t at, const int np) {
    const int64_t step = v->sw * v->c, tap = v->dw * v->c, line = v->dh * v->w * v->c;
    for (int64_t c = 0; c < v->c; c += VL) {
        int64_t n = TN_MIN(v->c - c, (int64_t)VL);
        vf acc[PIXELS];
        TN_UNROLL
        for (int i = 0; i < np; i++)
            acc[i] = vf_zero();
        if (n == VL) {
            for (int64_t ky = ky0; ky < ky1; ky++) {
                const float *row = x + ky * line + c, *w = v->packed + ky * v->kw * v->c + c;
                for (int64_t kx = 0; kx < v->kw; kx++, row += tap, w += v->c) {
                    vf wv = vf_load(w);
                    TN_UNROLL
                    for (int i = 0; i < np; i++)
                        acc[i] = vf_fma(vf_load(row + i * step), wv, acc[i]);
                }
            }
        } else {
            for (int64_t ky = ky0; ky < ky1; ky++) {
                const float *row = x + ky * line + c, *w = v->packed + ky * v->kw * v->c + c;
                for (int64_t kx = 0; kx < v->kw; kx++, row += tap, w += v->c) {
                    vf wv = vf_loadn(w, n);
                    TN_UNROLL
                    for (int i = 0; i < np; i++)
                        acc[i] = vf_fma(vf_loadn(row + i * step, n), wv, acc[i]);
                }
            }
        }
        vf bias = v->bias != NULL ? vf_loadn(v->bias + c, n) : vf_zero();
        TN_UNROLL
        for (int i = 0; i < np; i++)
            finish(v, acc[i], bias, at + i * v->c + c, n);
    }
}

static void pixels_8(const TniConv *v, const float *x, int64_t ky0, int64_t ky1, int64_t at) { pixels(v, x, ky0, ky1, at, PIXELS); }
static void pixels_4(const TniConv *v, const float *x, int64_t ky0, int64_t ky1, int64_t at) { pixels(v, x, ky0, ky1, at, 4); }

/* One pixel, any tap range: VECTORS vectors of channels at a time. x: row of tap 0 and column of tap 0. */
static void pixel(const TniConv *v, const float *x, int64_t ky0, int64_t ky1, int64_t kx0, int64_t kx1, int64_t at) {
    const int64_t tap = v->dw * v->c, line = v->dh * v->w * v->c;
    for (int64_t c = 0; c < v->c; c += VECTORS * VL) {
        vf acc[VECTORS];
        int64_t n[VECTORS];
        TN_UNROLL
        for (int i = 0; i < VECTORS; i++) {
            acc[i] = vf_zero();
            n[i] = TN_MIN(v->c - c - i * VL, (int64_t)VL);
        }
        for (int64_t ky = ky0; ky < ky1; ky++)
            for (int64_t kx = kx0; kx < kx1; kx++) {
                const float *row = x + ky * line + kx * tap + c, *w = v->packed + (ky * v->kw + kx) * v->c + c;
                TN_UNROLL
                for (int i = 0; i < VECTORS; i++)
                    if (n[i] > 0)
                        acc[i] = vf_fma(vf_loadn(row + i * VL, n[i]), vf_loadn(w + i * VL, n[i]), acc[i]);
            }
        TN_UNROLL
        for (int i = 0; i < VECTORS; i++)
            if (n[i] > 0)
                finish(v, acc[i], v->bias != NULL ? vf_loadn(v->bias + c + i * VL, n[i]) : vf_zero(), at + c + i * VL, n[i]);
    }
}

/* Taps [*k0, *k1) that fall into [0, size) for an origin o (may be negative), spacing d. */
static void tap_range(int64_t o, int64_t d, int64_t taps, int64_t size, int64_t *k0, int64_t *k1) {
    *k0 = o < 0 ? TN_MIN(tni_ceil_div(-o, d), taps) : 0;
    *k1 = o < size ? TN_MIN((size - 1 - o) / d + 1, taps) : 0;
    *k1 = TN_MAX(*k1, *k0);
}

static void depthwise_last(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const TniConv *v = ctx;
    int64_t b = task / v->bands, band = task % v->bands;
    const float *image = v->x + b * v->h * v->w * v->c;
    int64_t reach = (v->kw - 1) * v->dw; /* pixels [first, last) have all their taps inside */
    int64_t first = TN_MIN(tni_ceil_div(v->pl, v->sw), v->ow);
    int64_t last = v->w + v->pl - reach <= 0 ? first : TN_MAX(TN_MIN((v->w + v->pl - reach - 1) / v->sw + 1, v->ow), first);
    for (int64_t oy = v->oh * band / v->bands; oy < v->oh * (band + 1) / v->bands; oy++) {
        int64_t iy = oy * v->sh - v->pt, ky0, ky1;
        tap_range(iy, v->dh, v->kh, v->h, &ky0, &ky1);
        for (int64_t ox = 0; ox < v->ow;) {
            int64_t ix = ox * v->sw - v->pl, kx0, kx1, at = ((b * v->oh + oy) * v->ow + ox) * v->c;
            const float *x = image + (iy * v->w + ix) * v->c;
            if (ox >= first && ox + PIXELS <= last) {
                pixels_8(v, x, ky0, ky1, at);
                ox += PIXELS;
            } else if (ox >= first && ox + 4 <= last) {
                pixels_4(v, x, ky0, ky1, at);
                ox += 4;
            } else {
                tap_range(ix, v->dw, v->kw, v->w, &kx0, &kx1);
                pixel(v, x, ky0, ky1, kx0, kx1, at);
                ox++;
            }
        }
    }
}

/* ---- NCHW ---- */

static void depthwise_nchw(void *ctx, int64_t task, uint32_t worker) {
    const TniConv *v = ctx;
    int64_t c = task % v->c, cols = v->ow + ((v->kw - 1) * v->dw) / v->sw + 1 + VL, rows = (v->oh - 1) * v->sh + (v->kh - 1) * v->dh + 1;
    float *pad = v->work + (size_t)worker * v->work_floats; /* [rows][sw phases][cols] */
    const float *x = v->x + task * v->h * v->w, *w = v->wt + c * v->kh * v->kw;
    memset(pad, 0, (size_t)(rows * v->sw * cols) * sizeof *pad);
    for (int64_t r = 0; r < rows; r++) {
        int64_t iy = r - v->pt;
        if (iy < 0 || iy >= v->h)
            continue;
        for (int64_t ix = 0; ix < v->w; ix++) {
            int64_t p = ix + v->pl, phase = p % v->sw, col = p / v->sw;
            if (col < cols)
                pad[(r * v->sw + phase) * cols + col] = x[iy * v->w + ix];
        }
    }
    vf bias = vf_set1(v->bias != NULL ? v->bias[c] : 0.0f);
    for (int64_t oy = 0; oy < v->oh; oy++)
        for (int64_t ox = 0; ox < v->ow; ox += 2 * VL) {
            vf a0 = vf_zero(), a1 = vf_zero();
            int64_t n0 = TN_MIN(v->ow - ox, (int64_t)VL), n1 = TN_MIN(v->ow - ox - VL, (int64_t)VL);
            for (int64_t ky = 0; ky < v->kh; ky++)
                for (int64_t kx = 0; kx < v->kw; kx++) {
                    int64_t p = kx * v->dw;
                    const float *s = pad + ((oy * v->sh + ky * v->dh) * v->sw + p % v->sw) * cols + p / v->sw + ox;
                    vf wv = vf_set1(w[ky * v->kw + kx]);
                    a0 = vf_fma(vf_load(s), wv, a0);
                    if (n1 > 0)
                        a1 = vf_fma(vf_load(s + VL), wv, a1);
                }
            int64_t at = (task * v->oh + oy) * v->ow + ox;
            finish(v, a0, bias, at, n0);
            if (n1 > 0)
                finish(v, a1, bias, at + VL, n1);
        }
}

const TniConvIsa TN_ISA(tni_conv_isa) = {.depthwise_last = depthwise_last, .depthwise_nchw = depthwise_nchw};
