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

static void pixels_8(const TniConv *v, const float *x, int64_t ky0, int64_t ky1, int64_t at) {
    pixels(v, x, ky0, ky1, at, PIXELS);
}
static void pixels_4(const TniConv *v, const float *x, int64_t ky0, int64_t ky1, int64_t at) {
    pixels(v, x, ky0, ky1, at, 4);
}

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

#define ROWS 8

/* The plane at x with its padding, as [rows][sw phases][cols]: column p of the padded row is element p / sw of phase p % sw. */
static void pad_plane(const TniConv *v, const float *x, int64_t rows, int64_t cols, float *pad) {
    for (int64_t r = 0; r < rows; r++, pad += v->sw * cols) {
        int64_t iy = r - v->pt;
        memset(pad, 0, (size_t)(v->sw * cols) * sizeof *pad);
        if (iy < 0 || iy >= v->h)
            continue;
        const float *src = x + iy * v->w;
        if (v->sw == 1) {
            memcpy(pad + v->pl, src, (size_t)TN_MAX(TN_MIN(v->w, cols - v->pl), 0) * sizeof *pad);
            continue;
        }
        for (int64_t phase = 0; phase < v->sw; phase++) {
            int64_t col = phase < v->pl ? tni_ceil_div(v->pl - phase, v->sw) : 0, ix = col * v->sw + phase - v->pl;
            for (; ix < v->w && col < cols; col++, ix += v->sw)
                pad[phase * cols + col] = src[ix];
        }
    }
}

static void depthwise_nchw(void *ctx, int64_t task, uint32_t worker) {
    const TniConv *v = ctx;
    int64_t c = task % v->c, cols = v->ow + ((v->kw - 1) * v->dw) / v->sw + 1 + VL, rows = (v->oh - 1) * v->sh + (v->kh - 1) * v->dh + 1;
    float *pad = v->work + (size_t)worker * v->work_floats;
    const float *w = v->wt + c * v->kh * v->kw;
    pad_plane(v, v->x + task * v->h * v->w, rows, cols, pad);
    vf bias = vf_set1(v->bias != NULL ? v->bias[c] : 0.0f);
    int64_t line = v->sw * cols;
    for (int64_t oy = 0; oy < v->oh; oy += ROWS)
        for (int64_t ox = 0; ox < v->ow; ox += VL) {
            vf acc[ROWS];
            const float *row[ROWS];
            TN_UNROLL
            for (int i = 0; i < ROWS; i++) { /* rows that do not exist repeat the last one */
                acc[i] = vf_zero();
                row[i] = pad + TN_MIN(oy + i, v->oh - 1) * v->sh * line + ox;
            }
            for (int64_t ky = 0; ky < v->kh; ky++)
                for (int64_t kx = 0; kx < v->kw; kx++) {
                    int64_t p = kx * v->dw, off = ky * v->dh * line + p % v->sw * cols + p / v->sw;
                    vf wv = vf_set1(w[ky * v->kw + kx]);
                    TN_UNROLL
                    for (int i = 0; i < ROWS; i++)
                        acc[i] = vf_fma(vf_load(row[i] + off), wv, acc[i]);
                }
            int64_t n = TN_MIN(v->ow - ox, (int64_t)VL), left = v->oh - oy;
            TN_UNROLL
            for (int i = 0; i < ROWS; i++)
                if (i < left)
                    finish(v, acc[i], bias, (task * v->oh + oy + i) * v->ow + ox, n);
        }
}

/* ---- patches for the matrix product ---- */

/* May write up to VL - 1 floats past dst + n. */
TN_INLINE void copy(float *dst, const float *src, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(dst + i, vf_load(src + i));
    if (i < n)
        vf_store(dst + i, vf_loadn(src + i, n - i));
}

TN_INLINE void zero(float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i += VL)
        vf_store(dst + i, vf_zero());
}

/* A patch is lines of floats that are contiguous in the image: kernel rows where taps are neighbours, else single taps. */
typedef struct Lines {
    int64_t taps, per_row, len; /* taps of a line, lines of a kernel row, floats of a line */
} Lines;

/* Columns [k0, k0 + kc) of a patch that reaches into the padding. iy, ix: position of the first tap. */
static void gather_edge(const TniConv *v, const Lines *s, const float *image, int64_t iy, int64_t ix, int64_t k0, int64_t kc, float *dst) {
    for (int64_t l = k0 / s->len, at = k0 % s->len; kc > 0; l++, at = 0) {
        int64_t n = TN_MIN(s->len - at, kc), y = iy + l / s->per_row * v->dh, x = ix + l % s->per_row * v->dw;
        int64_t lo = TN_MAX(-x, 0) * v->cg, hi = TN_MIN(v->w - x, s->taps) * v->cg; /* the part of the line that is inside */
        if (y < 0 || y >= v->h)
            hi = 0;
        lo = TN_MIN(TN_MAX(lo - at, 0), n);
        hi = TN_MIN(TN_MAX(hi - at, lo), n);
        zero(dst, lo);
        if (lo < hi)
            copy(dst + lo, image + (y * v->w + x) * v->c + at + lo, hi - lo);
        zero(dst + hi, n - hi);
        dst += n;
        kc -= n;
    }
}

static void gather(const void *ctx, int64_t row, int64_t rows, int64_t k0, int64_t kc, float *dst, ptrdiff_t ld) {
    const TniConvGather *g = ctx;
    const TniConv *v = g->v;
    bool whole = v->dw == 1 && v->group == 1;
    const Lines s = {.taps = whole ? v->kw : 1, .per_row = whole ? 1 : v->kw, .len = (whole ? v->kw : 1) * v->cg};
    struct {
        int64_t off, n;
    } part[TNI_GEMM_KC + 1]; /* what a patch inside the image copies, relative to its first tap */
    int64_t parts = 0;
    for (int64_t l = k0 / s.len, at = k0 % s.len, left = kc; left > 0; l++, at = 0, parts++) {
        part[parts].off = (l / s.per_row * v->dh * v->w + l % s.per_row * v->dw) * v->c + at;
        part[parts].n = TN_MIN(s.len - at, left);
        left -= part[parts].n;
    }
    int64_t pix = g->row0 + row, ox = pix % v->ow, oy = pix / v->ow % v->oh, b = pix / v->ow / v->oh;
    int64_t last_y = v->h - (v->kh - 1) * v->dh, last_x = v->w - (v->kw - 1) * v->dw;
    for (int64_t i = 0; i < rows; i++, dst += ld) {
        const float *image = v->x + b * v->h * v->w * v->c + g->channel0;
        int64_t iy = oy * v->sh - v->pt, ix = ox * v->sw - v->pl;
        if (iy >= 0 && iy < last_y && ix >= 0 && ix < last_x) {
            const float *src = image + (iy * v->w + ix) * v->c;
            float *d = dst;
            for (int64_t p = 0; p < parts; p++) {
                copy(d, src + part[p].off, part[p].n);
                d += part[p].n;
            }
        } else {
            gather_edge(v, &s, image, iy, ix, k0, kc, dst);
        }
        if (++ox == v->ow) {
            ox = 0;
            if (++oy == v->oh) {
                oy = 0;
                b++;
            }
        }
    }
}

#define PANEL (VL == 1 ? 8 : 2 * VL)

/* A panel of pixels whose patches do not overlap and lie inside, kernel width a multiple of VL: VL pixels x VL taps are transposed. */
static void pack_patches(const TniConv *v, const float *x, int64_t p, int64_t n, float *dst) {
    int64_t taps = v->kh * v->kw;
    for (int64_t j = 0; j < PANEL; j += VL) {
        int64_t at[VL];
        for (int64_t i = 0; i < VL; i++) {
            int64_t q = p + TN_MIN(j + i, n - 1);
            at[i] = q / v->ow * v->sh * v->w + q % v->ow * v->sw;
        }
        for (int64_t c = 0; c < v->cg; c++)
            for (int64_t ky = 0; ky < v->kh; ky++)
                for (int64_t kx = 0; kx < v->kw; kx += VL) {
                    const float *src = x + (c * v->h + ky * v->dh) * v->w + kx;
                    float *d = dst + (c * taps + ky * v->kw + kx) * PANEL + j;
                    vf r[VL];
                    TN_UNROLL
                    for (int i = 0; i < VL; i++)
                        r[i] = vf_load(src + at[i]);
                    vf_transpose(r);
                    TN_UNROLL
                    for (int i = 0; i < VL; i++)
                        vf_store(d + i * PANEL, r[i]);
                }
    }
}

/* A panel for stride 1: for every tap the pixels of one output row are neighbours in the image. */
static void pack_rows(const TniConv *v, const float *x, int64_t p, int64_t n, float *dst) {
    int64_t taps = v->kh * v->kw;
    for (int64_t j = 0; j < n;) {
        int64_t oy = (p + j) / v->ow, ox = (p + j) % v->ow, run = TN_MIN(v->ow - ox, n - j);
        for (int64_t ky = 0; ky < v->kh; ky++)
            for (int64_t kx = 0; kx < v->kw; kx++) {
                int64_t yy = oy * v->sh - v->pt + ky * v->dh, xx = ox - v->pl + kx * v->dw;
                int64_t lo = TN_MIN(TN_MAX(-xx, 0), run), hi = TN_MIN(TN_MAX(v->w - xx, lo), run);
                if (yy < 0 || yy >= v->h)
                    lo = hi = 0;
                float *d = dst + (ky * v->kw + kx) * PANEL + j;
                for (int64_t c = 0; c < v->cg; c++, d += taps * PANEL)
                    for (int64_t i = lo; i < hi; i += VL)
                        vf_storen(d + i, TN_MIN(hi - i, (int64_t)VL),
                                  vf_loadn(x + (c * v->h + yy) * v->w + xx + i, TN_MIN(hi - i, (int64_t)VL)));
            }
        j += run;
    }
}

/* A panel for any stride: offsets of the pixels once a tap. */
static void pack_strided(const TniConv *v, const float *x, int64_t p, int64_t n, float *dst) {
    int64_t taps = v->kh * v->kw, off[PANEL], lane[PANEL];
    for (int64_t t = 0; t < taps; t++) {
        int64_t count = 0;
        for (int64_t j = 0; j < n; j++) {
            int64_t yy = (p + j) / v->ow * v->sh - v->pt + t / v->kw * v->dh, xx = (p + j) % v->ow * v->sw - v->pl + t % v->kw * v->dw;
            if (yy >= 0 && yy < v->h && xx >= 0 && xx < v->w) {
                lane[count] = j;
                off[count++] = yy * v->w + xx;
            }
        }
        for (int64_t c = 0; c < v->cg; c++) {
            const float *src = x + c * v->h * v->w;
            float *d = dst + (c * taps + t) * PANEL;
            if (count == PANEL) {
                TN_UNROLL
                for (int j = 0; j < PANEL; j++)
                    d[j] = src[off[j]];
            } else {
                for (int64_t j = 0; j < count; j++)
                    d[lane[j]] = src[off[j]];
            }
        }
    }
}

static void pack_pixels(const TniConv *v, const float *x, int64_t p0, int64_t p1, float *dst) {
    int64_t k = v->cg * v->kh * v->kw;
    bool patches = VL > 1 && v->kw % VL == 0 && v->dw == 1 && v->dh == 1 && v->pt == 0 && v->pl == 0 &&
                   (v->oh - 1) * v->sh + v->kh <= v->h && (v->ow - 1) * v->sw + v->kw <= v->w && v->sw > 1;
    for (int64_t p = p0; p < p1; p += PANEL, dst += k * PANEL) {
        int64_t n = TN_MIN(p1 - p, (int64_t)PANEL);
        if (patches) {
            pack_patches(v, x, p, n, dst);
            continue;
        }
        memset(dst, 0, (size_t)(k * PANEL) * sizeof *dst);
        if (v->sw == 1)
            pack_rows(v, x, p, n, dst);
        else
            pack_strided(v, x, p, n, dst);
    }
}

const TniConvIsa TN_ISA(tni_conv_isa) = {
    .gather = gather,
    .pack_pixels = pack_pixels,
    .depthwise_last = depthwise_last,
    .depthwise_nchw = depthwise_nchw,
};
