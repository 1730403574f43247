/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading text lines: pictures in, text out. The model is a plan that generates (a VisionEncoderDecoder checkpoint), or a pair of plans of an exported
 * encoder and decoder. Image processor and vocabulary come with the plan (files of the checkpoint that it was built from), or from a folder. */
#ifndef TENON_PIPELINES_OCR_H
#define TENON_PIPELINES_OCR_H

#include "pipelines/image.h"
#include "pipelines/vocabulary.h"
#include "tenon/runtime.h"

typedef struct TnOcr TnOcr;

/* One line read. Strings and arrays live in the TnOcr until its next call. */
typedef struct TnOcrLine {
    const char *text;          /* UTF-8, special tokens dropped */
    float confidence;          /* geometric mean of the probabilities of all generated tokens, the stop token included; 0 for none */
    uint32_t n_chars;          /* code points of text; of a vocabulary of characters, tokens that made text */
    const float *char_confidence; /* [n_chars] probability of the token of each; where several tokens make one, the least */
    const char *const *chars;     /* [n_chars] text of each */
} TnOcrLine;

typedef struct TnOcrTimes {
    double preprocess_ms, generate_ms; /* of the last call */
} TnOcrTimes;

/* What a reader is made of. Plans and vocabulary must outlive it. */
typedef struct TnOcrParts {
    TnPlan *plan;    /* a generator; or the encoder of an export: pictures to states */
    TnPlan *decoder; /* NULL, or the decoder of an export over the whole prefix: input_ids (or decoder_input_ids) [batch, length], states, and if it has
                        them masks -> logits [batch, length, vocabulary] */
    const TnVocabulary *vocabulary; /* NULL: the one that the plan carries */
    const char *folder;             /* NULL, or where preprocessor_config.json, generation_config.json and config.json may be, for exports */
    uint32_t threads;               /* 0: one a core */
} TnOcrParts;

/* A pair of plans reads greedily, as trocr-chinese's demonstration of its export does: 384 x 384 (or what the encoder takes), resized as cv2 does
 * without a preprocessor_config.json, from <s> (or decoder_start_token_id) to </s>, at most 100 steps, each over the whole prefix.
 * Errors: REQUEST (the plan is no generator or has no vocabulary; the decoder's inputs are others), DATA (the vocabulary is not the model's: both
 * sizes), PARSE and UNSUPPORTED with the field of the metadata, MEMORY. */
TnStatus tn_ocr_create_from(const TnOcrParts *parts, TnOcr **out, TnError *err);
/* Of a plan that generates. plan must outlive it. threads: 0 one a core. */
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
/* The context (of an export: the encoder's), for callers that generate by themselves (benchmarks, golden tests). */
TnContext *tn_ocr_context(TnOcr *ocr);

/* ---- many lines ---- */

/* A line that the caller owns. */
typedef struct TnOcrText {
    void *block; /* heap memory, where all that follows lies */
    const char *text;
    float confidence;
    uint32_t n_chars;
    const float *char_confidence;
    const char *const *chars;
} TnOcrText;
void tn_ocr_text_free(TnOcrText *text); /* safe on a zeroed struct */

/* Reads n pictures in batches of at most `batch`, those of like proportions (and so of like length) together. texts: [n] in the order of the pictures,
 * released by the caller one by one, also after an error. Times are of all batches. Results do not depend on the batches. Errors: those of
 * tn_ocr_read. */
TnStatus tn_ocr_read_many(TnOcr *ocr, const TnImage *images, uint32_t n, uint32_t batch, const TnGenerateOptions *options, TnOcrText *texts,
                          TnOcrTimes *times, TnError *err);

/* ---- lines of a page ---- */

/* Corners of a line in pixels, x0, y0 .. x3, y3: from its top left one clockwise. */
typedef struct TnOcrBox {
    double corner[8];
    char *truth; /* text that the file gives; NULL: none */
} TnOcrBox;

typedef struct TnOcrPage {
    char *picture; /* file name that the file gives, NULL: none */
    TnOcrBox *box; /* [n] in order of the file */
    uint32_t n;
} TnOcrPage;

typedef struct TnOcrPages {
    TnOcrPage *page;
    uint32_t n;
} TnOcrPages;

/* Reads a file of boxes:
 *   - a JSON list; each entry is [x0, y0, x1, y1] (two corners), 8 numbers or 4 pairs (a quadrilateral), or an object with such a "box" and, if known,
 *     its "text";
 *   - rows of JSON objects with "file_name" and "annotations", a list of such objects (wildreceipt's labels).
 * Quadrilaterals may start at any corner and go either way round; a line is taken to run from left to right.
 * Errors: IO, PARSE (which box, what was found), LIMIT (over 100000 boxes a page), MEMORY. Release with tn_ocr_pages_free in any case. */
TnStatus tn_ocr_pages_load(const char *path, TnOcrPages *out, TnError *err);
void tn_ocr_pages_free(TnOcrPages *pages);
/* Cuts a box out: upright ones to whole pixels (floor, ceiling), others straightened by a perspective transformation, bilinear. clip: corners outside are
 * moved to the edge, else they are an error. Errors: DATA (box outside, upside down, flat), MEMORY. */
TnStatus tn_ocr_cut(const TnImage *page, const TnOcrBox *box, bool clip, TnImage *out, TnError *err);

/* Draws the boxes with their numbers, from red (confidence 0) to green (1). texts: [page->n]. MEMORY. */
TnStatus tn_ocr_draw(const TnImage *image, const TnOcrPage *page, const TnOcrText *texts, TnImage *out, TnError *err);
/* One HTML file: the page with its boxes, and a table of the texts, characters shaded by confidence. IO, MEMORY. */
TnStatus tn_ocr_save_html(const TnImage *image, const TnOcrPage *page, const TnOcrText *texts, const char *title, const char *path, TnError *err);

/* ---- metric ---- */

/* Edit distance in code points (insertions + deletions + substitutions) between two UTF-8 strings; *n_truth gets the length of truth.
 * Invalid bytes count as one code point each. Returns UINT32_MAX when memory runs out. */
uint32_t tn_text_distance(const char *text, const char *truth, uint32_t *n_truth);

#endif
