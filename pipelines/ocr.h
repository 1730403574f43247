/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading text lines: pictures in, text out. Image processor and vocabulary come with the plan (metadata preprocessor_config.json,
 * vocab.json, generation_config.json of the checkpoint it was built from). */
#ifndef TENON_PIPELINES_OCR_H
#define TENON_PIPELINES_OCR_H

#include "pipelines/image.h"
#include "tenon/runtime.h"

typedef struct TnOcr TnOcr;

/* One line read. Strings and arrays live in the TnOcr until its next call. */
typedef struct TnOcrLine {
    const char *text;          /* UTF-8, special tokens dropped */
    float confidence;          /* geometric mean of the probabilities of all generated tokens, the stop token included; 0 for none */
    uint32_t n_chars;          /* tokens that made text */
    const float *char_confidence; /* [n_chars] probability of each */
    const char *const *chars;     /* [n_chars] text of each */
} TnOcrLine;

typedef struct TnOcrTimes {
    double preprocess_ms, generate_ms; /* of the last call */
} TnOcrTimes;

/* plan must outlive it. threads: 0 one a core. Errors: REQUEST when the plan is no generator or has no vocabulary; PARSE with the field of the
 * metadata that is wrong; MEMORY. */
TnStatus tn_ocr_create(TnPlan *plan, uint32_t threads, TnOcr **out, TnError *err);
void tn_ocr_destroy(TnOcr **ocr);
/* Least confidence of a reading worth printing: the checkpoint's (generation_config.json: min_confidence), or 0.45. */
float tn_ocr_min_confidence(const TnOcr *ocr);
/* Reads n pictures in one batch. lines: [n]. options may be NULL. */
TnStatus tn_ocr_read(TnOcr *ocr, const TnImage *images, uint32_t n, const TnGenerateOptions *options, TnOcrLine *lines, TnOcrTimes *times,
                     TnError *err);
/* The preprocessing alone: picture to planes [3, H, W]; H and W from tn_ocr_size. */
TnStatus tn_ocr_preprocess(const TnOcr *ocr, const TnImage *image, float *planes, TnError *err);
void tn_ocr_size(const TnOcr *ocr, uint32_t *width, uint32_t *height);
/* The context, for callers that generate by themselves (benchmarks, golden tests). */
TnContext *tn_ocr_context(TnOcr *ocr);

/* Edit distance in code points (insertions + deletions + substitutions) between two UTF-8 strings; *n_truth gets the length of truth.
 * Invalid bytes count as one code point each. Returns UINT32_MAX when memory runs out. */
uint32_t tn_text_distance(const char *text, const char *truth, uint32_t *n_truth);

#endif
