/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the document pipeline share. */
#ifndef TENON_PIPELINES_DOC_INTERNAL_H
#define TENON_PIPELINES_DOC_INTERNAL_H

#include "pipelines/doc.h"

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
