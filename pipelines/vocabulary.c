/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids -> tokens -> bytes, each with the id it came from -> valid UTF-8 -> [spaces cleaned up]. */
#include <stdlib.h>
#include <string.h>

#include "pipelines/unicode.h"
#include "pipelines/vocabulary_internal.h"

static const char metaspace[] = "\xe2\x96\x81", replacement[] = "\xef\xbf\xbd";

TnVocabularyKind tn_vocabulary_kind(const TnVocabulary *v) { return v->kind; }

uint32_t tn_vocabulary_size(const TnVocabulary *v) { return v->size; }

const char *tn_vocabulary_token(const TnVocabulary *v, int32_t id, size_t *n) {
    if (id < 0 || (uint32_t)id >= v->size || !v->entry[id].present)
        return NULL;
    if (n != NULL)
        *n = v->entry[id].n;
    return v->pool.p + v->entry[id].at;
}

int32_t tn_vocabulary_id(const TnVocabulary *v, const char *token) {
    for (uint32_t i = 0; i < v->size; i++) {
        if (v->entry[i].present && strcmp(v->pool.p + v->entry[i].at, token) == 0)
            return (int32_t)i;
    }
    return -1;
}

bool tn_vocabulary_special(const TnVocabulary *v, int32_t id) {
    return id >= 0 && (uint32_t)id < v->size && v->entry[id].special;
}

void tn_vocabulary_destroy(TnVocabulary **vocabulary) {
    TnVocabulary *v = *vocabulary;
    if (v == NULL)
        return;
    free(v->pool.p);
    free(v->entry);
    free(v);
    *vocabulary = NULL;
}

void tn_vocabulary_text_free(TnVocabularyText *text) {
    free(text->text);
    free(text->owner);
    *text = (TnVocabularyText){0};
}

/* Room for n bytes and a NUL. */
static bool room(TnVocabularyText *t, size_t n) {
    if (n < t->cap)
        return true;
    size_t cap = n + 1 + t->cap;
    char *text = realloc(t->text, cap);
    if (text != NULL)
        t->text = text;
    uint32_t *owner = realloc(t->owner, cap * sizeof *owner);
    if (owner != NULL)
        t->owner = owner;
    if (text == NULL || owner == NULL)
        return false;
    t->cap = cap;
    return true;
}

static void put(TnVocabularyText *t, const char *bytes, size_t n, uint32_t owner) {
    memcpy(t->text + t->n, bytes, n);
    for (size_t i = 0; i < n; i++)
        t->owner[t->n + i] = owner;
    t->n += n;
}

/* The byte that a character of a byte-level vocabulary stands for, -1: none. n: bytes of the character. */
static int byte_of(const char *s, size_t n) {
    uint32_t c = (uint8_t)s[0];
    if (n == 1)
        return c >= 0x21 && c <= 0x7e ? (int)c : -1;
    if (n != 2)
        return -1;
    c = (c & 0x1fu) << 6 | ((uint8_t)s[1] & 0x3fu);
    if ((c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c >= 0x100 && c <= 0x143) /* 0..32, 127..160 and 173, in this order */
        return (int)(c - 0x100 <= 32 ? c - 0x100 : c - 0x100 <= 66 ? c - 0x100 - 33 + 127 : 173);
    return -1;
}

/* A token of a byte-level vocabulary; one with a character that stands for no byte goes as it is. */
static void put_bytes(TnVocabularyText *t, const char *s, size_t n, uint32_t owner) {
    size_t from = t->n;
    bool valid;
    for (size_t i = 0; i < n;) {
        size_t k = tnp_utf8_step(s + i, n - i, &valid);
        int byte = byte_of(s + i, k);
        if (byte < 0) {
            t->n = from;
            put(t, s, n, owner);
            return;
        }
        put(t, &(char){(char)byte}, 1, owner);
        i += k;
    }
}

static void put_metaspace(TnVocabularyText *t, const char *s, size_t n, uint32_t owner, bool first) {
    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && memcmp(s + i, metaspace, 3) == 0) {
            put(t, " ", first ? 0 : 1, owner);
            i += 3;
        } else {
            put(t, s + i++, 1, owner);
        }
    }
}

/* Every maximal part that is no UTF-8 becomes U+FFFD. */
static bool make_valid(TnVocabularyText *t) {
    TnVocabularyText whole = {0};
    bool valid, ok = tnp_utf8_valid(t->text, t->n);
    if (ok)
        return true;
    if (!room(&whole, 3 * t->n)) {
        tn_vocabulary_text_free(&whole);
        return false;
    }
    for (size_t i = 0; i < t->n;) {
        size_t k = tnp_utf8_step(t->text + i, t->n - i, &valid);
        if (valid) {
            for (size_t j = 0; j < k; j++)
                put(&whole, t->text + i + j, 1, t->owner[i + j]);
        } else {
            put(&whole, replacement, 3, t->owner[i]);
        }
        i += k;
    }
    tn_vocabulary_text_free(t);
    *t = whole;
    return true;
}

/* Deletes the spaces of every occurrence of a pattern, from left to right. */
static void squeeze(TnVocabularyText *t, const char *pattern) {
    size_t len = strlen(pattern), to = 0;
    for (size_t i = 0; i < t->n;) {
        bool match = t->n - i >= len && memcmp(t->text + i, pattern, len) == 0;
        for (size_t end = i + (match ? len : 1); i < end; i++) {
            if (match && t->text[i] == ' ')
                continue;
            t->text[to] = t->text[i];
            t->owner[to++] = t->owner[i];
        }
    }
    t->n = to;
}

TnStatus tn_vocabulary_decode(const TnVocabulary *v, const int32_t *ids, size_t n, bool skip_special, TnVocabularyText *out, TnError *err) {
    size_t bytes = 0;
    bool first = true;
    for (size_t i = 0; i < n; i++)
        bytes += ids[i] >= 0 && (uint32_t)ids[i] < v->size ? v->entry[ids[i]].n : 0;
    out->n = 0;
    if (!room(out, bytes))
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: the text of %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *s = tn_vocabulary_token(v, ids[i], &len);
        if (s == NULL || (skip_special && v->entry[ids[i]].special))
            continue;
        if (v->kind == TN_VOCABULARY_BYTES)
            put_bytes(out, s, len, (uint32_t)i);
        else if (v->kind == TN_VOCABULARY_METASPACE)
            put_metaspace(out, s, len, (uint32_t)i, first);
        else
            put(out, s, len, (uint32_t)i);
        first = false;
    }
    if (v->kind == TN_VOCABULARY_BYTES && !make_valid(out))
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: the text of %zu tokens", n);
    static const char *const patterns[] = {" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"};
    for (size_t i = 0; v->clean_up && i < sizeof patterns / sizeof *patterns; i++)
        squeeze(out, patterns[i]);
    out->text[out->n] = '\0';
    return TN_OK;
}
