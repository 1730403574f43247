/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the document pipeline share. */
#ifndef TENON_PIPELINES_DOC_INTERNAL_H
#define TENON_PIPELINES_DOC_INTERNAL_H

#include "pipelines/doc.h"

/* ---- a reader ---- */

typedef enum Input { IDS, BOXES, PIXELS, MASK, INPUTS } Input;

struct TnDoc {
    TnContext *context;
    TnBpe *owned;
    const TnBpe *bpe;
    TnDocOptions options;
    uint32_t input[INPUTS]; /* their places in the plan */
    int32_t start_id, end_id, pad_id;
    uint32_t window, least; /* tokens of a sequence at most and at least, special tokens included */
    uint32_t batch, least_batch;
    uint32_t width, height;
    TnResample resample;
    float scale, mean[3], std[3];
    char **tags, **types; /* [n_labels] */
    uint32_t n_labels;
    /* of the last page */
    TnTokens tokens;
    uint32_t *word;  /* [tokens] */
    int32_t *box;    /* [words, 4] 0..1000 */
    uint32_t *first; /* [words + 1] first token */
    uint32_t *label; /* [tokens] */
    float *score;
    uint32_t *word_label;
    float *word_score;
    TnDocResult result;
    TnDoc *many; /* [n_many] copies, one a page of the last tn_doc_read_many: settings of this one, pages of their own */
    uint32_t n_many;
};

/* Makes a page ready: boxes, tokens, room for the answers; what was there before is released. Of no reader but d may anything be changed. */
TnStatus tnp_doc_prepare(TnDoc *d, const TnImage *image, const TnDocPage *page, TnError *err);
void tnp_doc_release(TnDoc *d);      /* its last page */
void tnp_doc_release_many(TnDoc *d); /* its last pages */

/* ---- entities ---- */

/* A tag's parts: 'O', 'B', ... and its type ("_" for O). */
typedef struct DocTag {
    char kind;
    const char *type;
} DocTag;
DocTag tnp_doc_tag(const char *text);
/* Whether a chunk ends before, or starts at, the tag that follows prev. */
bool tnp_doc_chunk_ends(DocTag prev, DocTag tag);
bool tnp_doc_chunk_starts(DocTag prev, DocTag tag);

/* Entities of labelled words, in result->entities (heap; text too). tags[id] and types[id]: of label id. */
TnStatus tnp_doc_entities(const TnDocPage *page, const char *const *tags, const char *const *types, TnDocResult *result, TnError *err);
void tnp_doc_entities_free(TnDocResult *result);

#endif
