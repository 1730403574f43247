/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated tokens to lines of text; lines in batches of like proportions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/ocr_internal.h"
#include "pipelines/unicode.h"
#include "pipelines/util.h"

void tnp_ocr_lines_free(OcrLines *l) {
    tn_vocabulary_text_free(&l->one);
    free(l->text);
    free(l->chars);
    free(l->confidence);
    *l = (OcrLines){0};
}

/* Bytes of all tokens' texts: more than their text, unless bytes become U+FFFD, which are three times as many. */
static size_t most_bytes(const TnVocabulary *v, const TnGenerated *g, uint32_t n) {
    size_t bytes = 0, len;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 1; k < g[i].n; k++)
            bytes += tn_vocabulary_token(v, g[i].tokens[k], &len) == NULL ? 0 : len;
    }
    return 3 * bytes;
}

static bool reserve(OcrLines *l, size_t text, size_t chars) {
    if (text > l->text_cap) {
        free(l->text);
        l->text = malloc(text);
        l->text_cap = l->text == NULL ? 0 : text;
    }
    if (chars > l->chars_cap) {
        free(l->chars);
        free(l->confidence);
        l->chars = malloc(chars * sizeof *l->chars);
        l->confidence = malloc(chars * sizeof *l->confidence);
        l->chars_cap = l->chars == NULL || l->confidence == NULL ? 0 : chars;
    }
    return l->text_cap >= text && l->chars_cap >= chars;
}

/* Bytes of the character at byte i: a token where tokens are characters, else a code point. */
static size_t char_bytes(const TnVocabularyText *t, bool whole_tokens, size_t i) {
    bool valid;
    if (!whole_tokens)
        return tnp_utf8_step(t->text + i, t->n - i, &valid);
    size_t k = 1;
    while (i + k < t->n && t->owner[i + k] == t->owner[i])
        k++;
    return k;
}

TnStatus tnp_ocr_lines(OcrLines *l, const TnVocabulary *v, const TnGenerated *generated, uint32_t n, TnOcrLine *lines, TnError *err) {
    size_t bytes = most_bytes(v, generated, n), chars = 0;
    bool whole = tn_vocabulary_kind(v) == TN_VOCABULARY_CHARACTERS;
    if (!reserve(l, 3 * bytes + n + 1, bytes + 1)) /* the text; and its characters, each with a NUL */
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: the text of %u lines", n);
    char *at = l->text;
    for (uint32_t i = 0; i < n; i++) {
        const TnGenerated *g = &generated[i];
        double sum = 0;
        TnStatus st = tn_vocabulary_decode(v, g->tokens + 1, g->n > 0 ? g->n - 1 : 0, true, &l->one, err);
        if (st != TN_OK)
            return st;
        for (uint32_t k = 1; k < g->n; k++)
            sum += (double)g->log_probs[k];
        lines[i] = (TnOcrLine){.text = at, .chars = l->chars + chars, .char_confidence = l->confidence + chars};
        lines[i].confidence = g->n > 1 ? (float)exp(sum / (g->n - 1)) : 0.0f;
        memcpy(at, l->one.text, l->one.n + 1);
        at += l->one.n + 1;
        for (size_t b = 0; b < l->one.n; chars++, lines[i].n_chars++) {
            size_t len = char_bytes(&l->one, whole, b);
            float least = 0;
            l->chars[chars] = at;
            memcpy(at, l->one.text + b, len);
            at[len] = '\0';
            at += len + 1;
            for (size_t end = b + len; b < end; b++)
                least = fminf(least, g->log_probs[1 + l->one.owner[b]]);
            l->confidence[chars] = expf(least);
        }
    }
    return TN_OK;
}

/* ---- many lines ---- */

void tn_ocr_text_free(TnOcrText *text) {
    free(text->block);
    *text = (TnOcrText){0};
}

/* One block: pointers, confidences, text, characters. */
static TnStatus keep(const TnOcrLine *line, TnOcrText *out, TnError *err) {
    size_t n = line->n_chars, bytes = strlen(line->text) + 1;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(line->chars[i]) + 1;
    char *block = malloc(n * (sizeof(char *) + sizeof(float)) + bytes);
    if (block == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a line of %zu characters", n);
    const char **chars = (const char **)(void *)block;
    float *confidence = (float *)(void *)(chars + n);
    char *at = (char *)(confidence + n);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(line->chars[i]) + 1;
        chars[i] = at;
        confidence[i] = line->char_confidence[i];
        memcpy(at, line->chars[i], len);
        at += len;
    }
    memcpy(at, line->text, strlen(line->text) + 1);
    *out = (TnOcrText){.block = block, .text = at, .confidence = line->confidence, .n_chars = line->n_chars, .chars = chars, .char_confidence = confidence};
    return TN_OK;
}

typedef struct Place {
    double proportion; /* width over height: what a line's length goes with */
    uint32_t index;
} Place;

static int by_proportion(const void *a, const void *b) {
    const Place *p = a, *q = b;
    if (p->proportion != q->proportion)
        return p->proportion < q->proportion ? -1 : 1;
    return p->index < q->index ? -1 : p->index > q->index;
}

TnStatus tn_ocr_read_many(TnOcr *ocr, const TnImage *images, uint32_t n, uint32_t batch, const TnGenerateOptions *options, TnOcrText *texts,
                          TnOcrTimes *times, TnError *err) {
    if (n == 0 || batch == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "no picture to read, or batches of none");
    batch = batch < n ? batch : n;
    Place *place = calloc(n, sizeof *place);
    TnImage *some = calloc(batch, sizeof *some);
    TnOcrLine *lines = calloc(batch, sizeof *lines);
    TnOcrTimes total = {0, 0};
    TnStatus st = place != NULL && some != NULL && lines != NULL ? TN_OK : tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u lines", n);
    memset(texts, 0, n * sizeof *texts);
    for (uint32_t i = 0; st == TN_OK && i < n; i++)
        place[i] = (Place){(double)images[i].width / images[i].height, i};
    if (st == TN_OK)
        qsort(place, n, sizeof *place, by_proportion);
    for (uint32_t from = 0; st == TN_OK && from < n; from += batch) {
        uint32_t k = n - from < batch ? n - from : batch;
        TnOcrTimes t = {0, 0};
        for (uint32_t i = 0; i < k; i++)
            some[i] = images[place[from + i].index];
        st = tn_ocr_read(ocr, some, k, options, lines, &t, err);
        for (uint32_t i = 0; st == TN_OK && i < k; i++)
            st = keep(&lines[i], &texts[place[from + i].index], err);
        total.preprocess_ms += t.preprocess_ms;
        total.generate_ms += t.generate_ms;
    }
    if (times != NULL)
        *times = total;
    free(place);
    free(some);
    free(lines);
    return st;
}
