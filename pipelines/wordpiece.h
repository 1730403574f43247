/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece (Schuster & Nakajima 2012) with BERT's text cleaning: the tokenizer of BERT and ViLBERT, with the token ids of Hugging Face's
 * BertTokenizer.
 *
 *   text -> special tokens cut out -> control characters dropped, spaces made plain, spaces around CJK ideographs -> [accents stripped] ->
 *   [lower case] -> words and single punctuation marks -> the longest pieces that the vocabulary has, from the left
 *
 * A vocabulary is read from vocab.txt (a token a line, the first has id 0) or from one tokenizer.json. */
#ifndef TENON_PIPELINES_WORDPIECE_H
#define TENON_PIPELINES_WORDPIECE_H

#include "pipelines/bpe.h" /* TnTokens */

typedef struct TnWordPiece TnWordPiece;

typedef struct TnWordPieceOptions {
    bool lower_case;      /* false: cased vocabularies */
    bool strip_accents;   /* canonical decomposition, nonspacing marks dropped; follows lower_case in BERT's own tokenizer */
    bool split_cjk;       /* an ideograph is a word */
    uint32_t max_chars;   /* longer words become the unknown token; 100 */
} TnWordPieceOptions;
/* Those of bert-base-uncased (lower_case true), or of bert-base-cased. */
TnWordPieceOptions tn_wordpiece_options_default(bool lower_case);

/* From the bytes of a vocab.txt. options NULL: uncased. Errors: PARSE (no [UNK], empty), LIMIT (a token over 1000 bytes, over ten million
 * lines), MEMORY. A token that stands twice has the later line's id. */
TnStatus tn_wordpiece_create(const void *vocab_txt, size_t n, const TnWordPieceOptions *options, TnWordPiece **out, TnError *err);
/* From a tokenizer.json of type WordPiece with BERT's normalizer. Errors as above; UNSUPPORTED (another kind: which field). */
TnStatus tn_wordpiece_create_json(const void *tokenizer_json, size_t n, TnWordPiece **out, TnError *err);
/* From a file of either kind (by content), or a folder: tokenizer.json, else vocab.txt. do_lower_case, strip_accents and tokenize_chinese_chars of a
 * tokenizer_config.json beside it count for vocab.txt. IO when there is neither. */
TnStatus tn_wordpiece_load(const char *path, TnWordPiece **out, TnError *err);
/* From the files that a plan carries. REQUEST when it carries none. */
TnStatus tn_wordpiece_from_plan(TnPlan *plan, TnWordPiece **out, TnError *err);
void tn_wordpiece_destroy(TnWordPiece **wp);

/* Appends the ids of text (UTF-8; a byte of no valid sequence is dropped, as U+FFFD is) to out; no [CLS] or [SEP] is added. Safe from several
 * threads. Errors: MEMORY, LIMIT (over 2^28 bytes). */
TnStatus tn_wordpiece_encode(const TnWordPiece *wp, const char *text, size_t n, TnTokens *out, TnError *err);
/* Id of a token as the vocabulary writes it ("[CLS]", "##ing"), -1 when there is none. */
int32_t tn_wordpiece_id(const TnWordPiece *wp, const char *token);
/* Text of an id (NUL-terminated, valid while wp lives), NULL when there is none. */
const char *tn_wordpiece_token(const TnWordPiece *wp, int32_t id);
/* Number of ids: the highest and one. */
uint32_t tn_wordpiece_size(const TnWordPiece *wp);

#endif
