/* SPDX-License-Identifier: Apache-2.0
 *
 * Properties of characters as Hugging Face's `tokenizers` (0.23) has them: its tables of punctuation and marks are those of Unicode 8, its canonical
 * decomposition is that of Unicode 9, its lower case is newer than utf8proc 2.8. What differs from utf8proc stands in tables here, found by asking both
 * about every code point. */
#include <utf8proc.h>

#include "pipelines/wordpiece_internal.h"

typedef struct Range {
    uint32_t first, last;
} Range;
#define IN(table, c) in_ranges(table, sizeof(table) / sizeof *(table), c)

/* Format characters that are newer than its tables: kept. */
static const Range kept_formats[] = {{0x890, 0x891}, {0x8e2, 0x8e2}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}};

/* In these ranges what utf8proc calls punctuation is a letter to it. */
static const Range newer_punctuation[] = {{0x61d, 0x61d},     {0x9fd, 0xa76},     {0xc77, 0xc84},     {0x1b7d, 0x1b7e},
                                          {0x2e43, 0x2e5d},   {0x10ead, 0x10f89}, {0x1144b, 0x1145d}, {0x11660, 0x116b9},
                                          {0x1183b, 0x11fff}, {0x12ff1, 0x12ff2}, {0x16e97, 0x16fe2}, {0x1e95e, 0x1e95f}};

/* And what utf8proc calls a nonspacing mark is none. */
static const Range newer_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x8e1},     {0x9fe, 0x9fe},     {0xafa, 0xaff},     {0xb55, 0xb55},     {0xc04, 0xc3c},     {0xd00, 0xd00},
    {0xd3b, 0xd3c},     {0xd81, 0xd81},     {0xeba, 0xeba},     {0xece, 0xece},     {0x180f, 0x1886},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfb},
    {0xa82c, 0xa82c},   {0xa8c5, 0xa8c5},   {0xa8ff, 0xa8ff},   {0xa9bd, 0xa9bd},   {0x10d24, 0x10f85}, {0x11070, 0x11074}, {0x110c2, 0x110c2},
    {0x111c9, 0x111c9}, {0x111cf, 0x111cf}, {0x1123e, 0x11241}, {0x1133b, 0x1133b}, {0x11438, 0x1145e}, {0x1182f, 0x13455}, {0x16f4f, 0x16f4f},
    {0x16fe4, 0x16fe4}, {0x1cf00, 0x1cf46}, {0x1e000, 0x1e4ef}, {0x1e944, 0x1e94a}};

/* Marks without a combining class, which keep their place. */
static const Range newer_classes[] = {{0x7fd, 0x7fd},     {0x898, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},
                                      {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10f85}, {0x11070, 0x11070},
                                      {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x11a99}, {0x11d42, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e4ef}};

/* The last block but one begins 256 too late, in it as in all that came from it. */
static const Range cjk[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},  {0x20000, 0x2a6df},
                            {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};

/* Lower case that utf8proc does not have: first to last of every `step`-th, `add` higher. */
static const struct {
    uint32_t first, last, step;
    int32_t add;
} newer_lower[] = {{0x1c89, 0x1c89, 1, 1},  {0xa7cb, 0xa7cb, 1, 0x264 - 0xa7cb}, {0xa7cc, 0xa7ce, 2, 1},         {0xa7d2, 0xa7d4, 2, 1},
                   {0xa7da, 0xa7da, 1, 1},  {0xa7dc, 0xa7dc, 1, 0x19b - 0xa7dc}, {0x10d50, 0x10d65, 1, 0x20},    {0x16ea0, 0x16eb8, 1, 0x1b}};

static bool in_ranges(const Range *table, size_t n, uint32_t c) {
    for (size_t i = 0; i < n && c >= table[i].first; i++) {
        if (c <= table[i].last)
            return true;
    }
    return false;
}

bool tnp_wp_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

bool tnp_wp_is_dropped(uint32_t c) {
    if (c == '\t' || c == '\n' || c == '\r')
        return false;
    if (c < 0x80)
        return c < 0x20 || c == 0x7f;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == 0xfffd || k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CO || (k == UTF8PROC_CATEGORY_CF && !IN(kept_formats, c));
}

bool tnp_wp_is_cjk(uint32_t c) { return c >= 0x3400 && IN(cjk, c); }

bool tnp_wp_is_punctuation(uint32_t c) {
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == 0x166d || c == 0x111c9 || (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO && !IN(newer_punctuation, c));
}

bool tnp_wp_is_mark(uint32_t c) {
    if (c < 0x300)
        return false;
    return c == 0x1734 || (utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_MN && !IN(newer_marks, c));
}

uint32_t tnp_wp_combining(uint32_t c) {
    uint32_t k = c < 0x300 ? 0u : (uint32_t)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
    return k != 0 && IN(newer_classes, c) ? 0 : k;
}

uint32_t tnp_wp_decompose(uint32_t c, uint32_t out[8]) {
    int boundary = 0;
    utf8proc_int32_t parts[8];
    utf8proc_ssize_t n = c < 0xc0 || c == 0x11938
                             ? 0
                             : utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    if (n < 1 || n > 8) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)parts[i];
    return (uint32_t)n;
}

uint32_t tnp_wp_lower(uint32_t c, uint32_t out[2]) {
    if (c < 0x80) {
        out[0] = c - 'A' < 26u ? c + 32 : c;
        return 1;
    }
    if (c == 0x130) { /* capital I with a dot: i and a dot above */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; c >= 0x1c89 && i < sizeof newer_lower / sizeof *newer_lower; i++) {
        if (c >= newer_lower[i].first && c <= newer_lower[i].last && (c - newer_lower[i].first) % newer_lower[i].step == 0) {
            out[0] = (uint32_t)((int32_t)c + newer_lower[i].add);
            return 1;
        }
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}
