/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of a vocabulary, filled by vocabulary_load.c and read by vocabulary.c. */
#ifndef TENON_PIPELINES_VOCABULARY_INTERNAL_H
#define TENON_PIPELINES_VOCABULARY_INTERNAL_H

#include "pipelines/util.h"
#include "pipelines/vocabulary.h"

typedef struct VocabularyEntry {
    size_t at; /* of its text in pool, a NUL behind it */
    uint32_t n;
    bool present, special;
} VocabularyEntry;

struct TnVocabulary {
    TnVocabularyKind kind;
    bool clean_up; /* spaces before punctuation and English endings go */
    TnpText pool;
    VocabularyEntry *entry; /* [size] */
    uint32_t size, cap;
};

#endif
