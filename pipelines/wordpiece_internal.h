/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of a WordPiece tokenizer, filled by wordpiece_load.c and read by wordpiece.c, and the properties of characters. */
#ifndef TENON_PIPELINES_WORDPIECE_INTERNAL_H
#define TENON_PIPELINES_WORDPIECE_INTERNAL_H

#include <string.h>

#include "pipelines/wordpiece.h"

#define WP_MAX_TOKEN 1000
#define WP_NONE UINT32_MAX

typedef struct WpToken {
    uint32_t at, n; /* in text; a NUL stands behind it */
    int32_t id;
} WpToken;

struct TnWordPiece {
    TnWordPieceOptions options;
    char *text;
    size_t n_text, cap_text;
    WpToken *tokens;
    uint32_t n, cap;
    uint32_t *slots; /* open addressing: index of a token, WP_NONE: free */
    uint32_t mask;   /* slots - 1 */
    uint32_t *by_id; /* [size] index of a token, WP_NONE: none */
    uint32_t size, longest; /* bytes of the longest token */
    char prefix[16]; /* of a piece inside a word: "##" */
    uint32_t n_prefix;
    int32_t unknown;
    uint32_t *specials; /* indices of tokens that are cut out of the text, longest first */
    uint32_t n_specials;
};

/* FNV-1a, a byte at a time, so that all beginnings of a word are hashed in one go. */
#define WP_HASH_START 0xcbf29ce484222325u
static inline uint64_t tnp_wp_hash(uint64_t h, char c) { return (h ^ (uint8_t)c) * 0x100000001b3u; }
static inline uint32_t tnp_wp_slot(uint64_t h, uint32_t mask) { return (uint32_t)((h ^ h >> 29) * 0x9e3779b97f4a7c15u >> 32) & mask; }

/* The token that is prefix and piece (hash h over both), or NULL. */
const WpToken *tnp_wp_find(const TnWordPiece *wp, uint64_t h, const char *prefix, uint32_t n_prefix, const char *piece, uint32_t n);

/* wordpiece_unicode.c: what Hugging Face's `tokenizers` sees in a character. */
bool tnp_wp_is_space(uint32_t c);   /* property White_Space */
bool tnp_wp_is_dropped(uint32_t c); /* control, format and private characters, U+FFFD; space is tested first but for Cc */
bool tnp_wp_is_cjk(uint32_t c);
bool tnp_wp_is_punctuation(uint32_t c);
bool tnp_wp_is_mark(uint32_t c); /* stripped with the accents */
uint32_t tnp_wp_combining(uint32_t c); /* canonical combining class */
/* Canonical decomposition into out[8]; returns the number of characters. */
uint32_t tnp_wp_decompose(uint32_t c, uint32_t out[8]);
/* Lower case into out[2]. */
uint32_t tnp_wp_lower(uint32_t c, uint32_t out[2]);

#endif
