/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8, a sequence at a time. */
#ifndef TENON_PIPELINES_UNICODE_H
#define TENON_PIPELINES_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence that starts at s (n >= 1 bytes are there). *valid false: they are the longest beginning of a valid sequence, or one byte
 * that starts none: what Unicode's "maximal subpart" rule replaces by one U+FFFD. */
static inline size_t tnp_utf8_step(const char *s, size_t n, bool *valid) {
    const uint8_t *p = (const uint8_t *)s;
    uint8_t c = p[0], low = 0x80, high = 0xbf;
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (c == 0xe0)
        low = 0xa0; /* overlong */
    else if (c == 0xed)
        high = 0x9f; /* surrogates */
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    *valid = false;
    if (len == 0)
        return 1;
    for (size_t i = 1; i < len; i++) {
        if (i == n || p[i] < low || p[i] > high)
            return i;
        low = 0x80;
        high = 0xbf;
    }
    *valid = true;
    return len;
}

static inline bool tnp_utf8_valid(const char *s, size_t n) {
    bool valid = true;
    for (size_t i = 0; valid && i < n;)
        i += tnp_utf8_step(s + i, n - i, &valid);
    return valid;
}

#endif
