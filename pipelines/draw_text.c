/* SPDX-License-Identifier: Apache-2.0
 *
 * Text on pictures, drawn with strokes of one width, so that it looks the same at every size. A glyph is a list of lines (apart by blanks) of
 * points of two digits, x and y; capital letters stand between y 0 and 6, small ones between 2 and 6, and what hangs below ends at 8. A line of one
 * point given twice is a dot. */
#include <math.h>
#include <stddef.h>

#include "pipelines/draw.h"

static const char *const glyphs[95] = {
    "" /* blank */, "0004 0606" /* ! */, "0001 2021" /* " */, "1016 3036 0242 0444" /* # */,
    "413010010213334445361605 2026" /* $ */, "4006 0101 4545" /* % */, "46121120310405162644" /* & */, "0001" /* ' */,
    "20111526" /* ( */, "00111506" /* ) */, "2024 0143 4103" /* * */, "0343 2125" /* + */,
    "1607" /* , */, "0333" /* - */, "0606" /* . */, "4006" /* / */,
    "100105162635312010" /* 0 */, "011016" /* 1 */, "01102031320636" /* 2 */, "0110203132233435261605 1323" /* 3 */,
    "200444 3236" /* 4 */, "3000032334352606" /* 5 */, "3120100105162635342303" /* 6 */, "003016" /* 7 */,
    "100102132332312010 1304051626353423" /* 8 */, "3313020110203135261605" /* 9 */, "0303 0606" /* : */, "1313 1607" /* ; */,
    "320436" /* < */, "0343 0545" /* = */, "023406" /* > */, "01102031322324 2626" /* ? */,
    "33231424344441301001051636" /* @ */, "062046 1434" /* A */, "0006 003041423303 3344453606" /* B */, "4130100105163645" /* C */,
    "0006 002042442606" /* D */, "40000646 0333" /* E */, "400006 0333" /* F */, "41301001051636454323" /* G */,
    "0006 4046 0343" /* H */, "0006" /* I */, "3035261605" /* J */, "0006 4004 1346" /* K */,
    "000646" /* L */, "0600234046" /* M */, "06004640" /* N */, "100105163645413010" /* O */,
    "06003041423303" /* P */, "100105163645413010 2446" /* Q */, "06003041423303 2346" /* R */, "413010010213334445361605" /* S */,
    "0040 2026" /* T */, "000516364540" /* U */, "002640" /* V */, "0016233640" /* W */,
    "0046 4006" /* X */, "002340 2326" /* Y */, "00400646" /* Z */, "20000626" /* [ */,
    "0046" /* \ */, "00202606" /* ] */, "022042" /* ^ */, "0747" /* _ */,
    "0011" /* ` */, "3322120305162635 3236" /* a */, "0006 0312223335261605" /* b */, "3322120305162635" /* c */,
    "3036 3322120305162635" /* d */, "04343322120305162635" /* e */, "30201116 0222" /* f */, "3322120305162635 3237281807" /* g */,
    "0006 0312223336" /* h */, "0206 0000" /* i */, "121708 1010" /* j */, "0006 3205 1436" /* k */,
    "000516" /* l */, "0206 03122326 23324346" /* m */, "0206 0312223336" /* n */, "120305162635332212" /* o */,
    "0208 0312223335261605" /* p */, "3238 3322120305162635" /* q */, "0206 031222" /* r */, "3212031424352606" /* s */,
    "10152636 0232" /* t */, "0205162635 3236" /* u */, "022642" /* v */, "0216233642" /* w */,
    "0236 3206" /* x */, "0226 422618" /* y */, "02320636" /* z */, "20111203141526" /* { */,
    "0008" /* | */, "00111223141506" /* } */, "04133443" /* ~ */,
};
static const char unknown[] = "0232360602"; /* a box */

/* The glyph of the character at *s, which moves behind it: a UTF-8 sequence counts once. */
static const char *next_glyph(const char **s) {
    unsigned char c = (unsigned char)*(*s)++;
    while (((unsigned char)**s & 0xc0) == 0x80)
        ++*s;
    return c >= 32 && c < 127 ? glyphs[c - 32] : unknown;
}

static int glyph_width(const char *g) {
    int w = g[0] == '\0' ? 2 : 0;
    for (const char *p = g; *p != '\0'; p += *p == ' ' ? 1 : 2) {
        if (*p != ' ' && *p - '0' > w)
            w = *p - '0';
    }
    return w;
}

static double to_segment(double x, double y, const char *a, const char *b) {
    double ax = a[0] - '0', ay = a[1] - '0', dx = b[0] - a[0], dy = b[1] - a[1], n = dx * dx + dy * dy;
    double t = n == 0 ? 0 : fmin(fmax(((x - ax) * dx + (y - ay) * dy) / n, 0), 1);
    return hypot(x - ax - t * dx, y - ay - t * dy);
}

/* Distance of a point (in units of the grid) from the glyph's strokes. */
static double to_glyph(const char *g, double x, double y) {
    double best = 100;
    for (const char *p = g; *p != '\0'; p += p[2] == ' ' ? 3 : 2) {
        if (p[2] == '\0')
            break; /* the last point of the last line */
        if (p[2] != ' ')
            best = fmin(best, to_segment(x, y, p, p + 2));
    }
    return best;
}

static void draw_glyph(TnImage *m, double left, double top, double unit, const char *g, TnpColour c) {
    double stroke = fmax(unit * 0.42, 0.55); /* half a stroke's width, pixels */
    int w = glyph_width(g);
    int32_t x0 = (int32_t)floor(left - stroke) - 1, x1 = (int32_t)ceil(left + w * unit + stroke) + 1;
    int32_t y0 = (int32_t)floor(top - stroke) - 1, y1 = (int32_t)ceil(top + 8 * unit + stroke) + 1;
    for (int32_t y = y0; g[0] != '\0' && y <= y1; y++) {
        for (int32_t x = x0; x <= x1; x++) {
            double d = to_glyph(g, (x + 0.5 - left) / unit, (y + 0.5 - top) / unit) * unit, cover = fmin(fmax(stroke + 0.5 - d, 0), 1);
            if (cover > 0)
                tnp_draw_dot(m, x, y, c, (uint32_t)(cover * 255));
        }
    }
}

void tnp_draw_label(TnImage *m, int32_t x, int32_t y, const char *text, double height, TnpColour c) {
    const double unit = height / 6, gap = 1.9 * unit, pad = 1.7 * unit;
    double width = 2 * pad - gap;
    for (const char *s = text; *s != '\0';)
        width += glyph_width(next_glyph(&s)) * unit + gap;
    int32_t w = (int32_t)ceil(width), h = (int32_t)ceil(height + 2 * pad + unit);
    x = x + w > (int32_t)m->width ? (int32_t)m->width - w : x;
    x = x < 0 ? 0 : x;
    y = y - h < 0 ? h : y > (int32_t)m->height ? (int32_t)m->height : y;
    for (int32_t py = y - h; py < y; py++) {
        for (int32_t px = x; px < x + w; px++) {
            bool corner = (px == x || px == x + w - 1) && (py == y - h || py == y - 1);
            tnp_draw_dot(m, px, py, c, corner ? 110 : 235);
        }
    }
    bool dark = 299 * c.r + 587 * c.g + 114 * c.b > 140000;
    const TnpColour ink = dark ? (TnpColour){20, 20, 20} : (TnpColour){255, 255, 255};
    double at = x + pad;
    for (const char *s = text; *s != '\0';) {
        const char *g = next_glyph(&s);
        draw_glyph(m, at, y - h + pad, unit, g, ink);
        at += glyph_width(g) * unit + gap;
    }
}
