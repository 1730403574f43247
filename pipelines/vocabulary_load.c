/* SPDX-License-Identifier: Apache-2.0
 *
 * Files to vocabularies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "pipelines/bpe_internal.h"
#include "pipelines/sentencepiece.h"
#include "pipelines/unicode.h"
#include "pipelines/vocabulary_internal.h"

#define MAX_ID 10000000
#define MAX_FILE ((size_t)256 << 20)
#define MAX_LINE 1000

static const char *const specials[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
#define N_SPECIALS (sizeof specials / sizeof *specials)

static bool is_special(const char *token) {
    for (size_t i = 0; i < N_SPECIALS; i++) {
        if (strcmp(token, specials[i]) == 0)
            return true;
    }
    return false;
}

static TnStatus memory(TnError *err, size_t ids) { return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a vocabulary of %zu tokens", ids); }

/* id: 0..MAX_ID; what stood there is replaced. */
static TnStatus set(TnVocabulary *v, uint32_t id, const char *text, size_t n, bool special, TnError *err) {
    if (id >= v->cap) {
        uint32_t cap = id + 1 > 2 * v->cap ? id + 1 : 2 * v->cap;
        VocabularyEntry *grown = realloc(v->entry, cap * sizeof *grown);
        if (grown == NULL)
            return memory(err, cap);
        memset(grown + v->cap, 0, (cap - v->cap) * sizeof *grown);
        v->entry = grown;
        v->cap = cap;
    }
    v->size = id >= v->size ? id + 1 : v->size;
    v->entry[id] = (VocabularyEntry){.at = v->pool.n, .n = (uint32_t)n, .present = true, .special = special};
    tnp_text_append(&v->pool, text, n);
    tnp_text_append(&v->pool, "", 1);
    return v->pool.failed ? memory(err, v->size) : TN_OK;
}

static TnStatus set_row(TnVocabulary *v, const char *file, const char *token, const json_t *id, bool replace, bool special, TnError *err) {
    json_int_t k = json_is_integer(id) ? json_integer_value(id) : -1;
    if (k < 0 || k > MAX_ID)
        return tnp_fail(err, TN_ERR_PARSE, "%s: the id of token '%.100s' must be a number from 0 to %d", file, token, MAX_ID);
    const char *before = tn_vocabulary_token(v, (int32_t)k, NULL);
    if (before != NULL && !replace)
        return tnp_fail(err, TN_ERR_PARSE, "%s: tokens '%.100s' and '%.100s' have the same id %lld", file, before, token, (long long)k);
    return set(v, (uint32_t)k, token, strlen(token), special, err);
}

static TnStatus set_object(TnVocabulary *v, const char *file, json_t *vocab, bool names, TnError *err) {
    const char *token;
    json_t *id;
    TnStatus st = TN_OK;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return tnp_fail(err, TN_ERR_PARSE, "%s: the vocabulary must be an object of token: id, and not empty", file);
    json_object_foreach(vocab, token, id) {
        st = set_row(v, file, token, id, false, names && is_special(token), err);
        if (st != TN_OK)
            break;
    }
    return st;
}

static TnStatus create(TnVocabularyKind kind, TnVocabulary **out, TnError *err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return memory(err, 1);
    (*out)->kind = kind;
    return TN_OK;
}

static TnStatus finish(TnVocabulary **out, TnStatus st) {
    if (st != TN_OK)
        tn_vocabulary_destroy(out);
    return st;
}

static TnStatus parse(const void *data, size_t n, const char *file, json_t **out, TnError *err) {
    json_error_t why;
    *out = json_loadb(data, n, JSON_REJECT_DUPLICATES, &why);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_PARSE, "%s is no JSON: %s (line %d, column %d)", file, why.text, why.line, why.column);
    return TN_OK;
}

TnStatus tn_vocabulary_create_json(const void *vocab_json, size_t n, TnVocabulary **out, TnError *err) {
    json_t *vocab;
    *out = NULL;
    TnStatus st = parse(vocab_json, n, "vocab.json", &vocab, err);
    if (st != TN_OK)
        return st;
    TnVocabularyKind kind = TN_VOCABULARY_BYTES;
    for (uint32_t i = 0; i < 256; i++) {
        char name[3];
        tnp_bpe_byte_char((uint8_t)i, name);
        if (json_object_get(vocab, name) == NULL)
            kind = TN_VOCABULARY_CHARACTERS;
    }
    st = create(kind, out, err);
    if (st == TN_OK)
        st = set_object(*out, "vocab.json", vocab, true, err);
    json_decref(vocab);
    return finish(out, st);
}

/* ---- vocab.txt ---- */

/* Lines seen, so that repeated ones are skipped. */
static TnStatus set_line(TnVocabulary *v, json_t *seen, const char *line, size_t n, uint32_t row, TnError *err) {
    char text[MAX_LINE + 1];
    if (n > MAX_LINE || memchr(line, '\0', n) != NULL || !tnp_utf8_valid(line, n))
        return tnp_fail(err, TN_ERR_PARSE, "vocab.txt: line %u must be a token in UTF-8 of at most %d bytes", row, MAX_LINE);
    memcpy(text, line, n);
    text[n] = '\0';
    if (json_object_get(seen, text) != NULL)
        return TN_OK;
    if (v->size > MAX_ID)
        return tnp_fail(err, TN_ERR_LIMIT, "vocab.txt: more than %d tokens", MAX_ID);
    if (json_object_set_new(seen, text, json_true()) != 0)
        return memory(err, v->size);
    return set(v, v->size, text, n, false, err);
}

TnStatus tn_vocabulary_create_text(const void *vocab_txt, size_t n, TnVocabulary **out, TnError *err) {
    const char *text = vocab_txt;
    json_t *seen = json_object();
    uint32_t row = 1;
    TnStatus st = create(TN_VOCABULARY_CHARACTERS, out, err);
    if (st == TN_OK && seen == NULL)
        st = memory(err, 1);
    for (size_t i = 0; st == TN_OK && i < N_SPECIALS; i++) {
        st = set_line(*out, seen, specials[i], strlen(specials[i]), 0, err);
        if (st == TN_OK)
            (*out)->entry[i].special = true;
    }
    for (size_t at = 0; st == TN_OK && at < n; row++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end == NULL ? n - at : (size_t)(end - text) - at, next = at + len + 1;
        if (len > 0 && end != NULL && text[at + len - 1] == '\r')
            len--;
        st = set_line(*out, seen, text + at, len, row, err);
        at = next;
    }
    if (st == TN_OK && (*out)->size == N_SPECIALS)
        st = tnp_fail(err, TN_ERR_PARSE, "vocab.txt has no token");
    json_decref(seen);
    return finish(out, st);
}

/* ---- tokenizer.json ---- */

static const char *text_of(const json_t *o, const char *field) {
    const char *s = json_string_value(json_object_get(o, field));
    return s == NULL ? "(missing)" : s;
}

/* The kind that the decoder makes, which must fit. */
static TnStatus decoder_kind(const json_t *root, TnVocabularyKind *kind, TnError *err) {
    const json_t *decoder = json_object_get(root, "decoder");
    const char *type = text_of(decoder, "type"), *mark = json_string_value(json_object_get(decoder, "replacement"));
    *kind = TN_VOCABULARY_CHARACTERS;
    if (decoder == NULL || json_is_null(decoder) || strcmp(type, "Fuse") == 0)
        return TN_OK;
    *kind = strcmp(type, "ByteLevel") == 0 ? TN_VOCABULARY_BYTES : TN_VOCABULARY_METASPACE;
    if (*kind == TN_VOCABULARY_METASPACE && strcmp(type, "Metaspace") != 0)
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: decoder '%.100s'; ByteLevel, Metaspace and none are supported", type);
    if (*kind == TN_VOCABULARY_METASPACE &&
        ((mark != NULL && strcmp(mark, "\xe2\x96\x81") != 0) || strcmp(text_of(decoder, "prepend_scheme"), "never") == 0 ||
         json_is_false(json_object_get(decoder, "add_prefix_space"))))
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: decoder Metaspace must put U+2581 before texts, as XLM-R's does");
    return TN_OK;
}

/* Unigram: [[token, score], ..], the id is the place. */
static TnStatus set_list(TnVocabulary *v, const json_t *rows, TnError *err) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *token = json_string_value(json_array_get(row, 0));
        if (token == NULL || i > MAX_ID)
            return tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: model 'vocab'[%zu] must be [token, score], and at most %d of them", i, MAX_ID);
        TnStatus st = set(v, (uint32_t)i, token, strlen(token), false, err);
        if (st != TN_OK)
            return st;
    }
    return v->size == 0 ? tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: model 'vocab' is empty") : TN_OK;
}

static TnStatus set_added(TnVocabulary *v, const json_t *added, TnError *err) {
    size_t i;
    json_t *a;
    json_array_foreach(added, i, a) {
        const char *text = json_string_value(json_object_get(a, "content"));
        if (text == NULL)
            return tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: added_tokens[%zu] has no 'content'", i);
        TnStatus st = set_row(v, "tokenizer.json", text, json_object_get(a, "id"), true, json_is_true(json_object_get(a, "special")), err);
        if (st != TN_OK)
            return st;
    }
    return TN_OK;
}

TnStatus tn_vocabulary_create_tokenizer(const void *tokenizer_json, size_t n, TnVocabulary **out, TnError *err) {
    json_t *root;
    TnVocabularyKind kind = TN_VOCABULARY_CHARACTERS;
    *out = NULL;
    TnStatus st = parse(tokenizer_json, n, "tokenizer.json", &root, err);
    if (st != TN_OK)
        return st;
    const json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    if (json_is_true(json_object_get(model, "byte_fallback")))
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: model 'byte_fallback' is not supported");
    if (st == TN_OK)
        st = decoder_kind(root, &kind, err);
    if (st == TN_OK)
        st = create(kind, out, err);
    if (st == TN_OK)
        st = json_is_array(vocab) ? set_list(*out, vocab, err) : set_object(*out, "tokenizer.json", vocab, false, err);
    if (st == TN_OK)
        st = set_added(*out, json_object_get(root, "added_tokens"), err);
    json_decref(root);
    return finish(out, st);
}

/* ---- sentencepiece ---- */

static TnStatus set_pieces(TnVocabulary *v, const TnPieces *p, TnError *err) {
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    for (uint32_t i = 0; i < 3; i++) {
        if (p->n < 4 || p->piece[i].n != strlen(first[i]) || memcmp(p->piece[i].text, first[i], p->piece[i].n) != 0)
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "sentencepiece file: piece %u must be %s, as XLM-R's and TrOCR's are numbered; give tokenizer.json "
                                                     "for other numberings", i, first[i]);
    }
    TnStatus st = TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < 4; i++)
        st = set(v, i, specials[i], strlen(specials[i]), true, err);
    for (uint32_t i = 3; st == TN_OK && i < p->n; i++) {
        if (p->piece[i].type == TN_PIECE_BYTE)
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "sentencepiece file: piece %u stands for a byte (byte_fallback), which is not supported", i);
        st = set(v, i + 1, p->piece[i].text, p->piece[i].n, false, err);
    }
    return st == TN_OK ? set(v, p->n + 1, "<mask>", 6, true, err) : st;
}

TnStatus tn_vocabulary_create_sentencepiece(const void *model, size_t n, TnVocabulary **out, TnError *err) {
    TnPieces pieces;
    *out = NULL;
    TnStatus st = tn_pieces_read(model, n, &pieces, err);
    if (st == TN_OK)
        st = create(TN_VOCABULARY_METASPACE, out, err);
    if (st == TN_OK)
        st = set_pieces(*out, &pieces, err);
    tn_pieces_free(&pieces);
    return finish(out, st);
}

/* ---- folders and plans ---- */

typedef TnStatus (*CreateFn)(const void *data, size_t n, TnVocabulary **out, TnError *err);
static const struct {
    const char *name;
    CreateFn create;
} files[] = {
    {"tokenizer.json", tn_vocabulary_create_tokenizer},
    {"sentencepiece.bpe.model", tn_vocabulary_create_sentencepiece},
    {"vocab.json", tn_vocabulary_create_json},
    {"vocab.txt", tn_vocabulary_create_text},
};
#define N_FILES (sizeof files / sizeof *files)

/* tokenizer_config.json; transformers cleans up what is no BPE. Integers as reals: model_max_length is often 10^30. */
static void configure(TnVocabulary *v, const void *data, size_t n) {
    json_t *config = json_loadb(data, n, JSON_DECODE_INT_AS_REAL, NULL);
    v->clean_up = v->kind != TN_VOCABULARY_BYTES && json_is_true(json_object_get(config, "clean_up_tokenization_spaces"));
    json_decref(config);
}

static TnStatus load_file(const char *path, CreateFn fn, TnVocabulary **out, TnError *err) {
    void *data;
    size_t n;
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &n, err);
    if (st != TN_OK)
        return st;
    st = fn(data, n, out, err);
    free(data);
    return st;
}

static bool ends_in(const char *path, const char *end) {
    size_t n = strlen(path), k = strlen(end);
    return n >= k && strcmp(path + n - k, end) == 0;
}

static CreateFn by_name(const char *path) {
    for (size_t i = 0; i < N_FILES; i++) {
        if (ends_in(path, files[i].name))
            return files[i].create;
    }
    return ends_in(path, ".json") ? tn_vocabulary_create_json : ends_in(path, ".txt") ? tn_vocabulary_create_text : tn_vocabulary_create_sentencepiece;
}

TnStatus tn_vocabulary_load(const char *path, TnVocabulary **out, TnError *err) {
    char file[4096];
    struct stat info;
    void *data;
    size_t n;
    *out = NULL;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return load_file(path, by_name(path), out, err);
    for (size_t i = 0; i < N_FILES; i++) {
        if (snprintf(file, sizeof file, "%s/%s", path, files[i].name) >= (int)sizeof file || access(file, R_OK) != 0)
            continue;
        TnStatus st = load_file(file, files[i].create, out, err);
        snprintf(file, sizeof file, "%s/tokenizer_config.json", path);
        if (st == TN_OK && access(file, R_OK) == 0 && (st = tnp_read_file(file, MAX_FILE, &data, &n, err)) == TN_OK) {
            configure(*out, data, n);
            free(data);
        }
        return finish(out, st);
    }
    return tnp_fail(err, TN_ERR_IO, "folder '%s' has no vocabulary: tokenizer.json, sentencepiece.bpe.model, vocab.json or vocab.txt must be there", path);
}

TnStatus tn_vocabulary_from_plan(TnPlan *plan, TnVocabulary **out, TnError *err) {
    *out = NULL;
    for (size_t i = 0; i < N_FILES; i++) {
        size_t n, m;
        const void *data = tn_plan_meta(plan, files[i].name, &n), *config = tn_plan_meta(plan, "tokenizer_config.json", &m);
        if (data == NULL)
            continue;
        TnStatus st = files[i].create(data, n, out, err);
        if (st == TN_OK && config != NULL)
            configure(*out, config, m);
        return st;
    }
    return tnp_fail(err, TN_ERR_REQUEST, "the plan carries no vocab.json, tokenizer.json, sentencepiece.bpe.model or vocab.txt, so tokens cannot become "
                                         "text; put one beside config.json and build again, or give it with --tokenizer");
}
