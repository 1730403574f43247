/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to token ids. */
#include <stdlib.h>

#include <utf8proc.h>

#include "pipelines/util.h"
#include "pipelines/wordpiece_internal.h"

#define MAX_TEXT ((size_t)1 << 28)

/* Characters; fails once and stays failed. */
typedef struct Chars {
    uint32_t *c;
    size_t n, cap;
    bool failed;
} Chars;

static void put(Chars *t, uint32_t c) {
    if (t->n == t->cap) {
        size_t cap = t->cap == 0 ? 256 : t->cap * 2;
        uint32_t *grown = t->failed ? NULL : realloc(t->c, cap * sizeof *grown);
        t->failed = grown == NULL;
        if (t->failed)
            return;
        t->c = grown;
        t->cap = cap;
    }
    t->c[t->n++] = c;
}

/* UTF-8 to characters, without those that are dropped, every space U+0020, ideographs between spaces. */
static void clean(const TnWordPiece *wp, const char *s, size_t n, Chars *out) {
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        i += len > 0 ? (size_t)len : 1;
        if (len <= 0 || tnp_wp_is_dropped((uint32_t)c))
            continue;
        bool ideograph = wp->options.split_cjk && tnp_wp_is_cjk((uint32_t)c);
        if (ideograph)
            put(out, ' ');
        put(out, tnp_wp_is_space((uint32_t)c) ? ' ' : (uint32_t)c);
        if (ideograph)
            put(out, ' ');
    }
}

/* Marks between two starters go by their combining class; equal ones keep their order. Merge sort, as a run of marks may be the whole text. */
static bool sort_marks(uint32_t *c, size_t n) {
    bool sorted = true;
    for (size_t i = 1; i < n; i++)
        sorted = sorted && tnp_wp_combining(c[i - 1]) <= tnp_wp_combining(c[i]);
    if (sorted)
        return true;
    uint32_t *spare = malloc(n * sizeof *spare), *from = c, *to = spare;
    if (spare == NULL)
        return false;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t i = at, mid = at + width < n ? at + width : n, j = mid, end = mid + width < n ? mid + width : n;
            for (size_t k = at; k < end; k++)
                to[k] = j >= end || (i < mid && tnp_wp_combining(from[i]) <= tnp_wp_combining(from[j])) ? from[i++] : from[j++];
        }
        uint32_t *other = from;
        from = to;
        to = other;
    }
    if (from != c)
        memcpy(c, from, n * sizeof *c);
    free(spare);
    return true;
}

/* Canonical decomposition in canonical order, then without nonspacing marks. */
static void strip_accents(const Chars *in, Chars *out) {
    size_t run = 0, kept = 0;
    for (size_t i = 0; i < in->n; i++) {
        uint32_t parts[8];
        uint32_t n = tnp_wp_decompose(in->c[i], parts);
        for (uint32_t k = 0; k < n; k++) {
            if (tnp_wp_combining(parts[k]) == 0) {
                if (out->n - run > 1 && !sort_marks(out->c + run, out->n - run))
                    out->failed = true;
                put(out, parts[k]);
                run = out->n;
            } else {
                put(out, parts[k]);
            }
        }
    }
    if (!out->failed && out->n - run > 1 && !sort_marks(out->c + run, out->n - run))
        out->failed = true;
    for (size_t i = 0; !out->failed && i < out->n; i++) {
        if (!tnp_wp_is_mark(out->c[i]))
            out->c[kept++] = out->c[i];
    }
    out->n = out->failed ? 0 : kept;
}

static void lower(const Chars *in, Chars *out) {
    for (size_t i = 0; i < in->n; i++) {
        uint32_t parts[2];
        uint32_t n = tnp_wp_lower(in->c[i], parts);
        for (uint32_t k = 0; k < n; k++)
            put(out, parts[k]);
    }
}

static bool append(TnTokens *out, int32_t id) {
    if (out->n == out->cap) {
        size_t cap = out->cap == 0 ? 256 : out->cap * 2;
        int32_t *grown = realloc(out->ids, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        out->ids = grown;
        out->cap = cap;
    }
    out->ids[out->n++] = id;
    return true;
}

const WpToken *tnp_wp_find(const TnWordPiece *wp, uint64_t h, const char *prefix, uint32_t n_prefix, const char *piece, uint32_t n) {
    for (uint32_t at = tnp_wp_slot(h, wp->mask); wp->slots[at] != WP_NONE; at = (at + 1) & wp->mask) {
        const WpToken *t = &wp->tokens[wp->slots[at]];
        if (t->n == n_prefix + n && memcmp(wp->text + t->at, prefix, n_prefix) == 0 && memcmp(wp->text + t->at + n_prefix, piece, n) == 0)
            return t;
    }
    return NULL;
}

/* The longest token that begins the word at `at`; *end is where it ends. */
static const WpToken *longest_piece(const TnWordPiece *wp, const char *word, uint32_t at, uint32_t n, uint32_t *end) {
    const uint32_t n_prefix = at == 0 ? 0 : wp->n_prefix;
    uint64_t h = WP_HASH_START;
    const WpToken *best = NULL;
    for (uint32_t i = 0; i < n_prefix; i++)
        h = tnp_wp_hash(h, wp->prefix[i]);
    for (uint32_t i = at; i < n && i - at + n_prefix < wp->longest; i++) {
        h = tnp_wp_hash(h, word[i]);
        if (i + 1 < n && (word[i + 1] & 0xc0) == 0x80) /* not between bytes of a character */
            continue;
        const WpToken *t = tnp_wp_find(wp, h, wp->prefix, n_prefix, word + at, i + 1 - at);
        if (t != NULL) {
            best = t;
            *end = i + 1;
        }
    }
    return best;
}

/* A word's pieces, or the unknown token when it cannot be made of pieces or is too long. */
static bool encode_word(const TnWordPiece *wp, const uint32_t *c, size_t n, char *word, TnTokens *out) {
    const size_t first = out->n;
    uint32_t bytes = 0, at = 0;
    if (n > wp->options.max_chars)
        return append(out, wp->unknown);
    for (size_t i = 0; i < n; i++)
        bytes += (uint32_t)utf8proc_encode_char((utf8proc_int32_t)c[i], (utf8proc_uint8_t *)word + bytes);
    while (at < bytes) {
        const WpToken *t = longest_piece(wp, word, at, bytes, &at);
        if (t == NULL) {
            out->n = first;
            return append(out, wp->unknown);
        }
        if (!append(out, t->id))
            return false;
    }
    return true;
}

static bool encode_words(const TnWordPiece *wp, const Chars *t, char *word, TnTokens *out) {
    for (size_t at = 0; at < t->n;) {
        if (tnp_wp_is_space(t->c[at])) {
            at++;
            continue;
        }
        size_t end = at + 1;
        while (!tnp_wp_is_punctuation(t->c[at]) && end < t->n && !tnp_wp_is_space(t->c[end]) && !tnp_wp_is_punctuation(t->c[end]))
            end++;
        if (!encode_word(wp, t->c + at, end - at, word, out))
            return false;
        at = end;
    }
    return true;
}

typedef struct Work {
    Chars a, b;
    char *word; /* [4 * max_chars] */
} Work;

/* Text without special tokens. */
static bool encode_part(const TnWordPiece *wp, Work *w, const char *s, size_t n, TnTokens *out) {
    Chars *from = &w->a, *to = &w->b, *other;
    w->a.n = w->b.n = 0;
    clean(wp, s, n, from);
    if (wp->options.strip_accents) {
        strip_accents(from, to);
        other = from;
        from = to;
        to = other;
        to->n = 0;
    }
    if (wp->options.lower_case) {
        lower(from, to);
        from = to;
    }
    return !w->a.failed && !w->b.failed && encode_words(wp, from, w->word, out);
}

static const WpToken *special_at(const TnWordPiece *wp, const char *s, size_t n) {
    for (uint32_t i = 0; i < wp->n_specials; i++) {
        const WpToken *t = &wp->tokens[wp->specials[i]];
        if (t->n <= n && s[0] == wp->text[t->at] && memcmp(s, wp->text + t->at, t->n) == 0)
            return t;
    }
    return NULL;
}

TnStatus tn_wordpiece_encode(const TnWordPiece *wp, const char *text, size_t n, TnTokens *out, TnError *err) {
    if (n > MAX_TEXT)
        return tnp_fail(err, TN_ERR_LIMIT, "a text of %zu bytes is too long; at most %zu are tokenized", n, MAX_TEXT);
    Work w = {.word = malloc(4 * (size_t)wp->options.max_chars + 4)};
    bool ok = w.word != NULL;
    size_t from = 0;
    for (size_t at = 0; ok && at < n;) {
        const WpToken *special = special_at(wp, text + at, n - at);
        if (special == NULL) {
            at++;
            continue;
        }
        ok = encode_part(wp, &w, text + from, at - from, out) && append(out, special->id);
        from = at += special->n;
    }
    ok = ok && encode_part(wp, &w, text + from, n - from, out);
    free(w.word);
    free(w.a.c);
    free(w.b.c);
    return ok ? TN_OK : tnp_fail(err, TN_ERR_MEMORY, "out of memory: the tokens of a text of %zu bytes", n);
}
