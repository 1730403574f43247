/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the text reader share. */
#ifndef TENON_PIPELINES_OCR_INTERNAL_H
#define TENON_PIPELINES_OCR_INTERNAL_H

#include "pipelines/ocr.h"

/* Texts of the lines of a call; grows, reused by every call. */
typedef struct OcrLines {
    TnVocabularyText one; /* of one line */
    char *text;           /* of all lines, then of all characters, each with a NUL behind it */
    const char **chars;
    float *confidence;
    size_t text_cap, chars_cap;
} OcrLines;

typedef struct OcrSteps OcrSteps;

struct TnOcr {
    TnContext *context;
    uint32_t threads; /* as in TnContextOptions */
    uint32_t width, height;
    TnResample resample;
    bool as_cv2; /* bilinear as cv2.resize, instead of resample */
    float scale, mean[3], std[3], min_confidence;
    const TnVocabulary *vocabulary;
    TnVocabulary *own_vocabulary; /* NULL: the caller's */
    uint32_t model_vocab;         /* 0: unknown */
    int32_t start, stop;          /* of exports */
    OcrSteps *steps;              /* NULL: the plan generates */
    float *planes;
    size_t planes_cap;
    TnGenerated *generated;
    uint32_t generated_cap;
    OcrLines lines;
};

/* ocr_lines.c: tokens to texts, characters and confidences; they live in *l until the next call. MEMORY. */
TnStatus tnp_ocr_lines(OcrLines *l, const TnVocabulary *v, const TnGenerated *generated, uint32_t n, TnOcrLine *lines, TnError *err);
void tnp_ocr_lines_free(OcrLines *l);

/* DATA when the vocabulary cannot be the model's. */
TnStatus tnp_ocr_check_vocabulary(const TnOcr *o, TnError *err);

/* ocr_steps.c: an exported pair, greedily. x: [n, 3, height, width]; results [n] live until the next call. */
TnStatus tnp_ocr_steps_create(TnOcr *o, const TnOcrParts *parts, TnError *err);
TnStatus tnp_ocr_steps_generate(TnOcr *o, const TnTensor *x, const TnGenerateOptions *options, TnGenerated *results, TnError *err);
void tnp_ocr_steps_destroy(OcrSteps **steps);

#endif
