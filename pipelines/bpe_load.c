/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizer files to tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipelines/bpe_internal.h"
#include "pipelines/util.h"

#define MAX_ID 10000000
#define MAX_FILE ((size_t)256 << 20)
#define MAX_TOKEN 4096

void tnp_bpe_byte_char(uint8_t byte, char out[3]) {
    bool plain = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    uint32_t c = byte;
    if (!plain) /* 0..32, 127..160 and 173, in this order */
        c = 0x100u + (byte <= 0x20 ? byte : byte <= 0xa0 ? byte - 0x7fu + 33u : 67u);
    size_t n = 0;
    if (c < 0x80) {
        out[n++] = (char)c;
    } else {
        out[n++] = (char)(0xc0 | c >> 6);
        out[n++] = (char)(0x80 | (c & 0x3f));
    }
    out[n] = '\0';
}

int32_t tn_bpe_id(const TnBpe *bpe, const char *token) {
    const json_t *id = json_object_get(bpe->vocab, token);
    return id == NULL ? -1 : (int32_t)json_integer_value(id);
}

uint32_t tn_bpe_size(const TnBpe *bpe) {
    return bpe->size;
}

static TnStatus read_vocab(TnBpe *b, json_t *vocab, const char *file, TnError *err) {
    const char *token;
    json_t *id;
    char name[3];
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return tnp_fail(err, TN_ERR_PARSE, "%s: the vocabulary must be an object of token: id, and not empty", file);
    json_object_foreach(vocab, token, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > MAX_ID)
            return tnp_fail(err, TN_ERR_PARSE, "%s: the id of token '%.100s' must be a whole number from 0 to %d", file, token, MAX_ID);
        if ((uint32_t)json_integer_value(id) >= b->size)
            b->size = (uint32_t)json_integer_value(id) + 1;
    }
    b->vocab = json_incref(vocab);
    for (uint32_t i = 0; i < 256; i++) {
        tnp_bpe_byte_char((uint8_t)i, name);
        b->byte_id[i] = tn_bpe_id(b, name);
    }
    return TN_OK;
}

static TnStatus reserve_merges(TnBpe *b, size_t rows, TnError *err) {
    size_t slots = 16;
    while (slots < 2 * rows)
        slots *= 2;
    b->merge_mask = (uint32_t)(slots - 1);
    b->merges = rows > MAX_ID ? NULL : calloc(slots, sizeof *b->merges);
    return b->merges == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu merges", rows) : TN_OK;
}

/* left and right: token texts of lengths nl and nr. */
static TnStatus add_merge(TnBpe *b, const char *left, size_t nl, const char *right, size_t nr, uint32_t rank, const char *file,
                          TnError *err) {
    char text[2 * MAX_TOKEN + 1], part[MAX_TOKEN + 1];
    if (nl == 0 || nr == 0 || nl > MAX_TOKEN || nr > MAX_TOKEN)
        return tnp_fail(err, TN_ERR_PARSE, "%s: merge %u must be two tokens with a space between", file, rank);
    memcpy(text, left, nl);
    memcpy(text + nl, right, nr);
    text[nl + nr] = '\0';
    memcpy(part, left, nl);
    part[nl] = '\0';
    const char *missing = part;
    BpeMerge m = {.left = tn_bpe_id(b, part), .rank = rank};
    if (m.left >= 0) {
        memcpy(part, right, nr);
        part[nr] = '\0';
        m.right = tn_bpe_id(b, part);
        m.made = tn_bpe_id(b, text);
        missing = m.right < 0 ? part : m.made < 0 ? text : NULL;
    }
    if (missing != NULL)
        return tnp_fail(err, TN_ERR_PARSE, "%s: merge %u needs token '%.100s', which the vocabulary lacks", file, rank, missing);
    uint32_t at = tnp_bpe_slot(b, m.left, m.right);
    while (b->merges[at].rank != 0 && (b->merges[at].left != m.left || b->merges[at].right != m.right))
        at = (at + 1) & b->merge_mask;
    b->merges[at] = m; /* of a pair given twice the last row counts, as there */
    return TN_OK;
}

static TnStatus read_merges(TnBpe *b, const char *text, size_t n, TnError *err) {
    size_t rows = 1;
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++)
        rows += text[i] == '\n';
    TnStatus st = reserve_merges(b, rows, err);
    for (size_t at = 0; st == TN_OK && at < n;) {
        const char *row = text + at, *end = memchr(row, '\n', n - at);
        size_t len = end == NULL ? n - at : (size_t)(end - row);
        at += len + 1;
        if (len > 0 && row[len - 1] == '\r')
            len--;
        if (len == 0 || (len >= 8 && memcmp(row, "#version", 8) == 0))
            continue;
        const char *space = memchr(row, ' ', len);
        size_t nl = space == NULL ? 0 : (size_t)(space - row);
        st = add_merge(b, row, nl, row + nl + 1, nl == 0 ? 0 : len - nl - 1, ++rank, "merges.txt", err);
    }
    return st;
}

static TnStatus add_special(TnBpe *b, const char *text, int32_t id, bool lstrip, bool rstrip, TnError *err) {
    BpeSpecial s = {strdup(text), strlen(text), id, lstrip, rstrip}, *grown = realloc(b->specials, (b->n_specials + 1) * sizeof *grown);
    if (grown != NULL)
        b->specials = grown;
    if (grown == NULL || s.text == NULL) {
        free(s.text);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: special tokens");
    }
    uint32_t i = b->n_specials++;
    for (; i > 0 && b->specials[i - 1].n < s.n; i--)
        b->specials[i] = b->specials[i - 1];
    b->specials[i] = s;
    if ((uint32_t)id >= b->size)
        b->size = (uint32_t)id + 1;
    return TN_OK;
}

static TnStatus parse(const void *data, size_t n, const char *file, json_t **out, TnError *err) {
    json_error_t why;
    *out = json_loadb(data, n, 0, &why);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_PARSE, "%s is no JSON: %s (line %d, column %d)", file, why.text, why.line, why.column);
    return TN_OK;
}

static TnStatus finish(TnBpe *b, TnStatus st, TnBpe **out) {
    if (st != TN_OK)
        tn_bpe_destroy(&b);
    *out = b;
    return st;
}

TnStatus tn_bpe_create(const void *vocab_json, size_t n_vocab, const void *merges_txt, size_t n_merges, TnBpe **out, TnError *err) {
    static const char *const specials[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
    json_t *vocab;
    *out = NULL;
    TnStatus st = parse(vocab_json, n_vocab, "vocab.json", &vocab, err);
    if (st != TN_OK)
        return st;
    TnBpe *b = calloc(1, sizeof *b);
    if (b == NULL)
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    else
        b->unknown = -1;
    if (st == TN_OK)
        st = read_vocab(b, vocab, "vocab.json", err);
    json_decref(vocab);
    if (st == TN_OK)
        st = read_merges(b, merges_txt, n_merges, err);
    for (size_t i = 0; st == TN_OK && i < sizeof specials / sizeof *specials; i++) {
        int32_t id = tn_bpe_id(b, specials[i]);
        if (id >= 0)
            st = add_special(b, specials[i], id, false, false, err);
    }
    return finish(b, st, out);
}

static const char *text_of(const json_t *o, const char *field) {
    const char *s = json_string_value(json_object_get(o, field));
    return s == NULL ? "(missing)" : s;
}

/* What must hold for our splitting and merging to be this tokenizer's. */
static TnStatus check_kind(const json_t *root, TnError *err) {
    const json_t *model = json_object_get(root, "model"), *pre = json_object_get(root, "pre_tokenizer"),
                 *norm = json_object_get(root, "normalizer");
    if (strcmp(text_of(model, "type"), "BPE") != 0)
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: model type '%s'; only byte-level BPE is supported",
                        text_of(model, "type"));
    if (strcmp(text_of(pre, "type"), "ByteLevel") != 0 || json_is_false(json_object_get(pre, "use_regex")))
        return tnp_fail(err, TN_ERR_UNSUPPORTED,
                        "tokenizer.json: pre_tokenizer type '%s'; only ByteLevel with its own pattern is supported", text_of(pre, "type"));
    if (norm != NULL && !json_is_null(norm))
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: a normalizer ('%s') is not supported", text_of(norm, "type"));
    static const char *const off[] = {"byte_fallback", "ignore_merges", "fuse_unk"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        if (json_is_true(json_object_get(model, off[i])))
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: model '%s' is not supported", off[i]);
    }
    static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        const char *s = json_string_value(json_object_get(model, empty[i]));
        if (s != NULL && *s != '\0')
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: model '%s' must be empty, it is '%s'", empty[i], s);
    }
    return TN_OK;
}

/* "a b", or ["a", "b"] in newer files. */
static TnStatus read_merges_json(TnBpe *b, const json_t *rows, TnError *err) {
    size_t i;
    json_t *row;
    if (!json_is_array(rows))
        return tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: model 'merges' must be an array");
    TnStatus st = reserve_merges(b, json_array_size(rows) + 1, err);
    json_array_foreach(rows, i, row) {
        const char *l = json_string_value(json_is_array(row) ? json_array_get(row, 0) : row),
                   *r = json_string_value(json_array_get(row, 1));
        if (st != TN_OK)
            break;
        size_t nl = l == NULL ? 0 : strlen(l);
        if (l != NULL && r == NULL) {
            const char *space = strchr(l, ' ');
            nl = space == NULL ? 0 : (size_t)(space - l);
            r = space == NULL ? NULL : space + 1;
        }
        st = add_merge(b, l, nl, r, r == NULL ? 0 : strlen(r), (uint32_t)i + 1, "tokenizer.json", err);
    }
    return st;
}

static TnStatus read_added(TnBpe *b, const json_t *added, TnError *err) {
    size_t i;
    json_t *a;
    TnStatus st = TN_OK;
    json_array_foreach(added, i, a) {
        const char *text = json_string_value(json_object_get(a, "content"));
        const json_t *id = json_object_get(a, "id");
        if (text == NULL || *text == '\0' || !json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > MAX_ID)
            return tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: added_tokens[%zu] must have a 'content' and an 'id'", i);
        if (json_is_true(json_object_get(a, "single_word")))
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: added token '%.100s' is a single_word, which is not supported", text);
        if (st == TN_OK)
            st = add_special(b, text, (int32_t)json_integer_value(id), json_is_true(json_object_get(a, "lstrip")),
                             json_is_true(json_object_get(a, "rstrip")), err);
    }
    return st;
}

TnStatus tn_bpe_create_json(const void *tokenizer_json, size_t n, TnBpe **out, TnError *err) {
    json_t *root;
    *out = NULL;
    TnStatus st = parse(tokenizer_json, n, "tokenizer.json", &root, err);
    if (st != TN_OK)
        return st;
    TnBpe *b = calloc(1, sizeof *b);
    st = b == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory") : check_kind(root, err);
    const json_t *model = json_object_get(root, "model");
    if (st == TN_OK)
        st = read_vocab(b, json_object_get(model, "vocab"), "tokenizer.json", err);
    if (st == TN_OK) {
        const char *unknown = json_string_value(json_object_get(model, "unk_token"));
        b->unknown = unknown == NULL ? -1 : tn_bpe_id(b, unknown);
        st = read_merges_json(b, json_object_get(model, "merges"), err);
    }
    if (st == TN_OK)
        st = read_added(b, json_object_get(root, "added_tokens"), err);
    json_decref(root);
    return finish(b, st, out);
}

void tn_bpe_destroy(TnBpe **bpe) {
    TnBpe *b = *bpe;
    if (b == NULL)
        return;
    json_decref(b->vocab);
    free(b->merges);
    for (uint32_t i = 0; i < b->n_specials; i++)
        free(b->specials[i].text);
    free(b->specials);
    free(b);
    *bpe = NULL;
}

static bool path_of(char *path, size_t cap, const char *dir, const char *file) {
    return snprintf(path, cap, "%s/%s", dir, file) < (int)cap && access(path, R_OK) == 0;
}

TnStatus tn_bpe_load(const char *dir, TnBpe **out, TnError *err) {
    char path[4096];
    void *a = NULL, *b = NULL;
    size_t na, nb;
    *out = NULL;
    if (path_of(path, sizeof path, dir, "tokenizer.json")) {
        TnStatus st = tnp_read_file(path, MAX_FILE, &a, &na, err);
        if (st == TN_OK)
            st = tn_bpe_create_json(a, na, out, err);
        free(a);
        return st;
    }
    bool ok = path_of(path, sizeof path, dir, "vocab.json") && tnp_read_file(path, MAX_FILE, &a, &na, err) == TN_OK &&
              path_of(path, sizeof path, dir, "merges.txt") && tnp_read_file(path, MAX_FILE, &b, &nb, err) == TN_OK;
    TnStatus st =
        ok ? tn_bpe_create(a, na, b, nb, out, err)
           : tnp_fail(err, TN_ERR_IO, "folder '%s' has no tokenizer: tokenizer.json, or vocab.json and merges.txt, must be there", dir);
    free(a);
    free(b);
    return st;
}

TnStatus tn_bpe_from_plan(TnPlan *plan, TnBpe **out, TnError *err) {
    size_t n, m;
    const void *json = tn_plan_meta(plan, "tokenizer.json", &n);
    *out = NULL;
    if (json != NULL)
        return tn_bpe_create_json(json, n, out, err);
    const void *vocab = tn_plan_meta(plan, "vocab.json", &n), *merges = tn_plan_meta(plan, "merges.txt", &m);
    if (vocab != NULL && merges != NULL)
        return tn_bpe_create(vocab, n, merges, m, out, err);
    return tnp_fail(err, TN_ERR_REQUEST,
                    "the plan carries no tokenizer; put tokenizer.json, or vocab.json and merges.txt, beside config.json and "
                    "build again");
}
