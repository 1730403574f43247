/* SPDX-License-Identifier: Apache-2.0
 *
 * From token ids to text, as Hugging Face's tokenizers decode. Three kinds of vocabulary:
 *
 *   characters: a token is its text (trocr-chinese)
 *   bytes: a token's characters stand for bytes (RoBERTa's byte-level BPE: TrOCR base and large)
 *   metaspace: U+2581 in a token stands for a space, and is dropped in the first token (XLM-R's sentencepiece: TrOCR small) */
#ifndef TENON_PIPELINES_VOCABULARY_H
#define TENON_PIPELINES_VOCABULARY_H

#include <stdbool.h>

#include "tenon/runtime.h"

typedef struct TnVocabulary TnVocabulary;

typedef enum TnVocabularyKind { TN_VOCABULARY_CHARACTERS, TN_VOCABULARY_BYTES, TN_VOCABULARY_METASPACE } TnVocabularyKind;

/* From the bytes of a file. Errors: PARSE (which token, row, field or byte is wrong), UNSUPPORTED (another kind: what), LIMIT, MEMORY.
 * - vocab.json, token -> id: of kind bytes when all 256 byte characters are in it, else characters; <s> <pad> </s> <unk> <mask> are special
 * - vocab.txt, a character a line: ids from 5 on, in order, repeated lines skipped; 0..4 are <s> <pad> </s> <unk> <mask>
 * - tokenizer.json: models BPE with decoder ByteLevel, Unigram (or BPE) with decoder Metaspace, WordLevel
 * - a sentencepiece file with <unk> <s> </s> first, as XLM-R and TrOCR-small number it: 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, the others one higher than
 *   in the file, <mask> last */
TnStatus tn_vocabulary_create_json(const void *vocab_json, size_t n, TnVocabulary **out, TnError *err);
TnStatus tn_vocabulary_create_text(const void *vocab_txt, size_t n, TnVocabulary **out, TnError *err);
TnStatus tn_vocabulary_create_tokenizer(const void *tokenizer_json, size_t n, TnVocabulary **out, TnError *err);
TnStatus tn_vocabulary_create_sentencepiece(const void *model, size_t n, TnVocabulary **out, TnError *err);
/* From a file (by its name: .txt, tokenizer.json, .json, else sentencepiece), or a folder: tokenizer.json, sentencepiece.bpe.model, vocab.json or
 * vocab.txt, the first that is there; clean_up_tokenization_spaces of a tokenizer_config.json beside it counts. IO when there is none. */
TnStatus tn_vocabulary_load(const char *path, TnVocabulary **out, TnError *err);
/* From the files that a plan carries. REQUEST when it carries none. */
TnStatus tn_vocabulary_from_plan(TnPlan *plan, TnVocabulary **out, TnError *err);
void tn_vocabulary_destroy(TnVocabulary **vocabulary);

TnVocabularyKind tn_vocabulary_kind(const TnVocabulary *v);
/* Number of ids: the highest and one. */
uint32_t tn_vocabulary_size(const TnVocabulary *v);
/* The token as the vocabulary writes it (NUL-terminated, *n bytes; n may be NULL), NULL when the id has none. */
const char *tn_vocabulary_token(const TnVocabulary *v, int32_t id, size_t *n);
/* Id of a token, -1 when there is none. Looks through all. */
int32_t tn_vocabulary_id(const TnVocabulary *v, const char *token);
bool tn_vocabulary_special(const TnVocabulary *v, int32_t id);

/* Text and where it comes from; start zeroed, reused by every call, release with tn_vocabulary_text_free. */
typedef struct TnVocabularyText {
    char *text;      /* UTF-8 with a NUL behind it */
    uint32_t *owner; /* [n] of each byte the index of the id that made it */
    size_t n, cap;
} TnVocabularyText;
/* Text of ids; ids without a token are left out, and special ones where skip_special. Bytes that are no UTF-8 become U+FFFD. Safe from several
 * threads with an *out each. MEMORY. */
TnStatus tn_vocabulary_decode(const TnVocabulary *v, const int32_t *ids, size_t n, bool skip_special, TnVocabularyText *out, TnError *err);
void tn_vocabulary_text_free(TnVocabularyText *text);

#endif
