/* SPDX-License-Identifier: Apache-2.0
 *
 * Vocabulary files to tables. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "pipelines/util.h"
#include "pipelines/wordpiece_internal.h"

#define MAX_TOKENS 10000000u
#define MAX_FILE ((size_t)256 << 20)

TnWordPieceOptions tn_wordpiece_options_default(bool lower_case) {
    return (TnWordPieceOptions){.lower_case = lower_case, .strip_accents = lower_case, .split_cjk = true, .max_chars = 100};
}

static TnWordPiece *make(const TnWordPieceOptions *options) {
    TnWordPiece *wp = calloc(1, sizeof *wp);
    if (wp != NULL) {
        wp->options = options == NULL ? tn_wordpiece_options_default(true) : *options;
        memcpy(wp->prefix, "##", 3);
        wp->n_prefix = 2;
    }
    return wp;
}

void tn_wordpiece_destroy(TnWordPiece **wp) {
    TnWordPiece *t = *wp;
    if (t == NULL)
        return;
    free(t->text);
    free(t->tokens);
    free(t->slots);
    free(t->by_id);
    free(t->specials);
    free(t);
    *wp = NULL;
}

static TnStatus add_token(TnWordPiece *wp, const char *token, size_t n, int64_t id, const char *file, TnError *err) {
    if (n > WP_MAX_TOKEN || id < 0 || id >= MAX_TOKENS)
        return tnp_fail(err, n > WP_MAX_TOKEN ? TN_ERR_LIMIT : TN_ERR_PARSE,
                        "%s: token '%.40s...' has %zu bytes and id %lld; at most %d bytes and ids from 0 to %u are read", file, token, n, (long long)id,
                        WP_MAX_TOKEN, MAX_TOKENS - 1);
    if (wp->n == wp->cap) {
        uint32_t cap = wp->cap == 0 ? 4096 : wp->cap * 2;
        WpToken *grown = realloc(wp->tokens, cap * sizeof *grown);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u tokens", cap);
        wp->tokens = grown;
        wp->cap = cap;
    }
    if (wp->n_text + n + 1 > wp->cap_text) {
        size_t cap = (wp->n_text + n + 1) * 2;
        char *grown = cap > UINT32_MAX ? NULL : realloc(wp->text, cap);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: tokens of %zu bytes", cap);
        wp->text = grown;
        wp->cap_text = cap;
    }
    memcpy(wp->text + wp->n_text, token, n);
    wp->text[wp->n_text + n] = '\0';
    wp->tokens[wp->n++] = (WpToken){.at = (uint32_t)wp->n_text, .n = (uint32_t)n, .id = (int32_t)id};
    wp->n_text += n + 1;
    wp->longest = (uint32_t)n > wp->longest ? (uint32_t)n : wp->longest;
    wp->size = (uint32_t)id >= wp->size ? (uint32_t)id + 1 : wp->size;
    return TN_OK;
}

static uint64_t hash_of(const char *s, size_t n) {
    uint64_t h = WP_HASH_START;
    for (size_t i = 0; i < n; i++)
        h = tnp_wp_hash(h, s[i]);
    return h;
}

/* The hash table; of a token that stands twice the last counts. */
static TnStatus index_tokens(TnWordPiece *wp, const char *file, const char *unknown, TnError *err) {
    uint32_t slots = 16;
    while (slots < 2 * wp->n)
        slots *= 2;
    wp->mask = slots - 1;
    wp->slots = malloc(slots * sizeof *wp->slots);
    wp->by_id = malloc((wp->size + 1u) * sizeof *wp->by_id);
    if (wp->slots == NULL || wp->by_id == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u tokens", wp->n);
    memset(wp->slots, 0xff, slots * sizeof *wp->slots);
    memset(wp->by_id, 0xff, (wp->size + 1u) * sizeof *wp->by_id);
    for (uint32_t i = 0; i < wp->n; i++) {
        const WpToken *t = &wp->tokens[i];
        uint64_t h = hash_of(wp->text + t->at, t->n);
        uint32_t at = tnp_wp_slot(h, wp->mask);
        const WpToken *same = tnp_wp_find(wp, h, "", 0, wp->text + t->at, t->n);
        while (wp->slots[at] != WP_NONE && (same == NULL || &wp->tokens[wp->slots[at]] != same))
            at = (at + 1) & wp->mask;
        wp->slots[at] = i;
        wp->by_id[t->id] = i;
    }
    wp->unknown = tn_wordpiece_id(wp, unknown);
    if (wp->unknown < 0)
        return tnp_fail(err, TN_ERR_PARSE, "%s: there is no token '%.100s' among %u for words that cannot be written; it is no WordPiece vocabulary", file,
                        unknown, wp->n);
    return TN_OK;
}

/* Cuts `token` out of texts when the vocabulary has it. */
static TnStatus add_special(TnWordPiece *wp, const char *token, TnError *err) {
    size_t n = strlen(token);
    const WpToken *t = tnp_wp_find(wp, hash_of(token, n), "", 0, token, (uint32_t)n);
    if (t == NULL || n == 0)
        return TN_OK;
    uint32_t *grown = realloc(wp->specials, (wp->n_specials + 1u) * sizeof *grown);
    if (grown == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: special tokens");
    wp->specials = grown;
    uint32_t at = wp->n_specials++;
    for (; at > 0 && wp->tokens[grown[at - 1]].n < t->n; at--) /* longest first */
        grown[at] = grown[at - 1];
    grown[at] = (uint32_t)(t - wp->tokens);
    return TN_OK;
}

static TnStatus read_lines(TnWordPiece *wp, const char *text, size_t n, TnError *err) {
    uint32_t row = 0;
    for (size_t at = 0; at < n; row++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end == NULL ? n - at : (size_t)(end - text) - at, cut = len;
        if (cut > 0 && text[at + cut - 1] == '\r')
            cut--;
        if (row >= MAX_TOKENS)
            return tnp_fail(err, TN_ERR_LIMIT, "vocab.txt has more than %u lines", MAX_TOKENS);
        TnStatus st = add_token(wp, text + at, cut, row, "vocab.txt", err);
        if (st != TN_OK)
            return st;
        at += len + 1;
    }
    return wp->n == 0 ? tnp_fail(err, TN_ERR_PARSE, "vocab.txt is empty") : TN_OK;
}

TnStatus tn_wordpiece_create(const void *vocab_txt, size_t n, const TnWordPieceOptions *options, TnWordPiece **out, TnError *err) {
    static const char *const specials[] = {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};
    TnWordPiece *wp = make(options);
    *out = NULL;
    TnStatus st = wp == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory") : read_lines(wp, vocab_txt, n, err);
    if (st == TN_OK)
        st = index_tokens(wp, "vocab.txt", "[UNK]", err);
    for (size_t i = 0; st == TN_OK && i < sizeof specials / sizeof *specials; i++)
        st = add_special(wp, specials[i], err);
    if (st != TN_OK)
        tn_wordpiece_destroy(&wp);
    *out = wp;
    return st;
}

/* ---- tokenizer.json ---- */

static bool flag(const json_t *o, const char *key, bool otherwise) {
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static void set_flags(TnWordPieceOptions *o, const json_t *json, const char *lower, const char *cjk) {
    o->lower_case = flag(json, lower, true);
    o->strip_accents = flag(json, "strip_accents", o->lower_case); /* null: as lower case */
    o->split_cjk = flag(json, cjk, true);
}

static TnStatus check_type(const json_t *root, const char *key, const char *want, TnError *err) {
    const char *type = json_string_value(json_object_get(json_object_get(root, key), "type"));
    if (type != NULL && strcmp(type, want) == 0)
        return TN_OK;
    return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: '%s' is of type '%.60s'; only '%s' is read", key, type == NULL ? "(none)" : type, want);
}

static TnStatus read_model(TnWordPiece *wp, const json_t *root, TnError *err) {
    const json_t *model = json_object_get(root, "model"), *limit = json_object_get(model, "max_input_chars_per_word");
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    const char *unknown = json_string_value(json_object_get(model, "unk_token")), *token;
    json_t *vocab = json_object_get(model, "vocab"), *id;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: 'model.vocab' must be an object of token: id, and not empty");
    if (prefix != NULL && strlen(prefix) >= sizeof wp->prefix)
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: 'continuing_subword_prefix' is longer than %zu bytes", sizeof wp->prefix - 1);
    if (prefix != NULL) {
        wp->n_prefix = (uint32_t)strlen(prefix);
        memcpy(wp->prefix, prefix, wp->n_prefix + 1u);
    }
    if (json_is_integer(limit) && json_integer_value(limit) >= 0 && json_integer_value(limit) <= 100000)
        wp->options.max_chars = (uint32_t)json_integer_value(limit);
    json_object_foreach(vocab, token, id) {
        if (!json_is_integer(id))
            return tnp_fail(err, TN_ERR_PARSE, "tokenizer.json: the id of token '%.100s' must be a whole number", token);
        TnStatus st = add_token(wp, token, strlen(token), json_integer_value(id), "tokenizer.json", err);
        if (st != TN_OK)
            return st;
    }
    return index_tokens(wp, "tokenizer.json", unknown == NULL ? "[UNK]" : unknown, err);
}

static TnStatus read_json(TnWordPiece *wp, const json_t *root, TnError *err) {
    const json_t *added = json_object_get(root, "added_tokens"), *normalizer = json_object_get(root, "normalizer");
    TnStatus st = check_type(root, "model", "WordPiece", err);
    if (st == TN_OK)
        st = check_type(root, "normalizer", "BertNormalizer", err);
    if (st == TN_OK)
        st = check_type(root, "pre_tokenizer", "BertPreTokenizer", err);
    if (st == TN_OK && !flag(normalizer, "clean_text", true))
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: 'clean_text' is false; only true is read");
    if (st == TN_OK) {
        set_flags(&wp->options, normalizer, "lowercase", "handle_chinese_chars");
        st = read_model(wp, root, err);
    }
    for (size_t i = 0; st == TN_OK && i < json_array_size(added); i++) {
        const json_t *t = json_array_get(added, i);
        const char *text = json_string_value(json_object_get(t, "content"));
        if (text == NULL || tn_wordpiece_id(wp, text) < 0)
            st = tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: added token %zu ('%.60s') is not in 'model.vocab'", i, text == NULL ? "" : text);
        else if (flag(t, "lstrip", false) || flag(t, "rstrip", false) || flag(t, "single_word", false) || flag(t, "normalized", false))
            st = tnp_fail(err, TN_ERR_UNSUPPORTED, "tokenizer.json: added token '%.60s' asks for lstrip, rstrip, single_word or normalized, which are not read",
                          text);
        else
            st = add_special(wp, text, err);
    }
    return st;
}

TnStatus tn_wordpiece_create_json(const void *tokenizer_json, size_t n, TnWordPiece **out, TnError *err) {
    json_error_t why;
    json_t *root = json_loadb(tokenizer_json, n, 0, &why);
    TnWordPiece *wp = make(NULL);
    *out = NULL;
    TnStatus st = root == NULL ? tnp_fail(err, TN_ERR_PARSE, "tokenizer.json is no JSON: %s (line %d, column %d)", why.text, why.line, why.column)
                  : wp == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory")
                               : read_json(wp, root, err);
    json_decref(root);
    if (st != TN_OK)
        tn_wordpiece_destroy(&wp);
    *out = wp;
    return st;
}

/* ---- files and plans ---- */

/* vocab.txt with the options of a tokenizer_config.json (NULL: none). */
static TnStatus create_parts(const void *vocab, size_t n, const void *config, size_t n_config, TnWordPiece **out, TnError *err) {
    TnWordPieceOptions o = tn_wordpiece_options_default(true);
    json_error_t why;
    json_t *root = config == NULL ? NULL : json_loadb(config, n_config, 0, &why);
    if (config != NULL && !json_is_object(root)) {
        json_decref(root);
        return tnp_fail(err, TN_ERR_PARSE, "tokenizer_config.json is no JSON object");
    }
    if (root != NULL)
        set_flags(&o, root, "do_lower_case", "tokenize_chinese_chars");
    json_decref(root);
    return tn_wordpiece_create(vocab, n, &o, out, err);
}

static TnStatus load_file(const char *path, const char *config_path, TnWordPiece **out, TnError *err) {
    void *data, *config = NULL;
    size_t n, n_config = 0, lead = 0;
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &n, err);
    if (st != TN_OK)
        return st;
    while (lead < n && strchr(" \t\r\n", ((const char *)data)[lead]) != NULL)
        lead++;
    if (lead < n && ((const char *)data)[lead] == '{' && n > lead + 2) {
        st = tn_wordpiece_create_json(data, n, out, err);
    } else {
        if (config_path != NULL && access(config_path, R_OK) == 0)
            st = tnp_read_file(config_path, MAX_FILE, &config, &n_config, err);
        if (st == TN_OK)
            st = create_parts(data, n, config, n_config, out, err);
    }
    free(config);
    free(data);
    return st;
}

TnStatus tn_wordpiece_load(const char *path, TnWordPiece **out, TnError *err) {
    static const char *const names[] = {"tokenizer.json", "vocab.txt"};
    char file[4096], config[4096];
    struct stat info;
    *out = NULL;
    if (strlen(path) > sizeof file - 64)
        return tnp_fail(err, TN_ERR_ARGUMENT, "the path '%.100s...' is too long", path);
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        const char *slash = strrchr(path, '/');
        snprintf(config, sizeof config, "%.*stokenizer_config.json", slash == NULL ? 0 : (int)(slash + 1 - path), path);
        return load_file(path, config, out, err);
    }
    snprintf(config, sizeof config, "%s/tokenizer_config.json", path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        if (access(file, R_OK) == 0)
            return load_file(file, config, out, err);
    }
    return tnp_fail(err, TN_ERR_IO, "folder '%s' has neither tokenizer.json nor vocab.txt", path);
}

TnStatus tn_wordpiece_from_plan(TnPlan *plan, TnWordPiece **out, TnError *err) {
    size_t n, n_config;
    const void *json = tn_plan_meta(plan, "tokenizer.json", &n);
    *out = NULL;
    if (json != NULL)
        return tn_wordpiece_create_json(json, n, out, err);
    const void *vocab = tn_plan_meta(plan, "vocab.txt", &n), *config = tn_plan_meta(plan, "tokenizer_config.json", &n_config);
    if (vocab == NULL)
        return tnp_fail(err, TN_ERR_REQUEST,
                        "the plan carries no WordPiece vocabulary; put vocab.txt or tokenizer.json beside config.json before building it, or name the file");
    return create_parts(vocab, n, config, n_config, out, err);
}

int32_t tn_wordpiece_id(const TnWordPiece *wp, const char *token) {
    size_t n = strlen(token);
    const WpToken *t = n > WP_MAX_TOKEN ? NULL : tnp_wp_find(wp, hash_of(token, n), "", 0, token, (uint32_t)n);
    return t == NULL ? -1 : t->id;
}

const char *tn_wordpiece_token(const TnWordPiece *wp, int32_t id) {
    return id < 0 || (uint32_t)id >= wp->size || wp->by_id[id] == WP_NONE ? NULL : wp->text + wp->tokens[wp->by_id[id]].at;
}

uint32_t tn_wordpiece_size(const TnWordPiece *wp) { return wp->size; }
