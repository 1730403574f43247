/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte-level BPE (Radford et al. 2019): the tokenizer of GPT-2, RoBERTa and LayoutLMv3, with the token ids of Hugging Face's `tokenizers`.
 *
 *   text -> special tokens cut out -> [" " put before each part] -> pieces (words, numbers, signs, spaces) -> bytes -> pairs merged by rank
 *
 * A tokenizer is read from vocab.json (token -> id) and merges.txt (a pair a row, best first), or from one tokenizer.json. */
#ifndef TENON_PIPELINES_BPE_H
#define TENON_PIPELINES_BPE_H

#include <stdbool.h>

#include "tenon/runtime.h"

typedef struct TnBpe TnBpe;

/* Token ids; grows as needed, release ids with free(). */
typedef struct TnTokens {
    int32_t *ids;
    size_t n, cap;
} TnTokens;

/* From the files' bytes. Errors: PARSE (which token, row or field is wrong), UNSUPPORTED (tokenizer.json of another kind: its field),
 * MEMORY. */
TnStatus tn_bpe_create(const void *vocab_json, size_t n_vocab, const void *merges_txt, size_t n_merges, TnBpe **out, TnError *err);
TnStatus tn_bpe_create_json(const void *tokenizer_json, size_t n, TnBpe **out, TnError *err);
/* From a folder: tokenizer.json, else vocab.json with merges.txt. IO when neither is there. */
TnStatus tn_bpe_load(const char *dir, TnBpe **out, TnError *err);
/* From the files that a plan carries (put beside config.json when it was built). REQUEST when it carries none. */
TnStatus tn_bpe_from_plan(TnPlan *plan, TnBpe **out, TnError *err);
void tn_bpe_destroy(TnBpe **bpe);

/* Appends the ids of text (UTF-8; a byte that belongs to no valid sequence counts as U+FFFD) to out. prefix_space: a part that starts with
 * no space gets one, as LayoutLMv3's tokenizer does with every word. Safe from several threads. Errors: MEMORY, LIMIT (over 2^30 bytes). */
TnStatus tn_bpe_encode(const TnBpe *bpe, const char *text, size_t n, bool prefix_space, TnTokens *out, TnError *err);
/* Id of a token as the vocabulary writes it ("<s>"), -1 when there is none. */
int32_t tn_bpe_id(const TnBpe *bpe, const char *token);
/* Number of ids: the highest and one. */
uint32_t tn_bpe_size(const TnBpe *bpe);

#endif
