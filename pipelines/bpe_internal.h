/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of a tokenizer, filled by bpe_load.c and read by bpe.c. */
#ifndef TENON_PIPELINES_BPE_INTERNAL_H
#define TENON_PIPELINES_BPE_INTERNAL_H

#include <jansson.h>

#include "pipelines/bpe.h"

/* Merge of two tokens: an open-addressing table, empty where rank is 0. */
typedef struct BpeMerge {
    int32_t left, right, made;
    uint32_t rank; /* 1: the first row of merges.txt */
} BpeMerge;

/* A token that is cut out of the text before anything else. */
typedef struct BpeSpecial {
    char *text;
    size_t n;
    int32_t id;
    bool lstrip, rstrip; /* takes the white space beside it */
} BpeSpecial;

struct TnBpe {
    json_t *vocab; /* token -> id */
    BpeMerge *merges;
    uint32_t merge_mask;  /* slots - 1 */
    int32_t byte_id[256]; /* -1: not in the vocabulary, dropped */
    int32_t unknown;      /* takes the place of such bytes; -1: none */
    BpeSpecial *specials; /* longest first */
    uint32_t n_specials, size;
};

static inline uint32_t tnp_bpe_slot(const TnBpe *b, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32) & b->merge_mask;
}

/* The character that stands for a byte in the vocabulary, as UTF-8 (at most 2 bytes and a NUL): printable Latin-1 stands for itself, the
 * other 68 bytes for U+0100 and what follows. */
void tnp_bpe_byte_char(uint8_t byte, char out[3]);

#endif
