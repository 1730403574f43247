/* SPDX-License-Identifier: Apache-2.0
 *
 * Edit distance of two UTF-8 strings, code point by code point. */
#include <stdlib.h>
#include <string.h>

#include "pipelines/ocr.h"

/* Code points of s into out (room for strlen(s)); a byte that starts no valid sequence counts as itself plus 0x110000. */
static uint32_t code_points(const char *s, uint32_t *out) {
    const unsigned char *p = (const unsigned char *)s;
    uint32_t n = 0;
    while (*p != '\0') {
        uint32_t len = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : (*p & 0xf8) == 0xf0 ? 4 : 0;
        uint32_t cp = len == 1 ? *p : len == 2 ? *p & 0x1fu : len == 3 ? *p & 0x0fu : *p & 0x07u;
        for (uint32_t i = 1; i < len; i++) {
            if ((p[i] & 0xc0) != 0x80)
                len = 0;
            else
                cp = cp << 6 | (p[i] & 0x3fu);
        }
        out[n++] = len == 0 ? 0x110000u + *p : cp;
        p += len == 0 ? 1 : len;
    }
    return n;
}

uint32_t tn_text_distance(const char *text, const char *truth, uint32_t *n_truth) {
    size_t la = strlen(text), lb = strlen(truth);
    uint32_t *a = malloc((la + 2 * lb + 3) * sizeof *a), result = UINT32_MAX;
    if (a == NULL)
        return result;
    uint32_t *b = a + la + 1, *row = b + lb + 1;
    uint32_t n = code_points(text, a), m = code_points(truth, b);
    for (uint32_t j = 0; j <= m; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= m; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    result = row[m];
    *n_truth = m;
    free(a);
    return result;
}
