/* SPDX-License-Identifier: Apache-2.0
 *
 * Grounding: a phrase and the regions of a picture (features and boxes of an object detector) -> the region that the phrase means. For plans of ViLBERT with
 * the output `vision_logit`; inputs are made as the authors' loader makes them:
 *
 *   ids       [CLS] pieces [SEP], cut and padded to `tokens`
 *   features  row 0: the mean of all regions (the whole picture); rows 1..: the regions; cut and padded to `regions`
 *   spatials  row 0: 0, 0, 1, 1, 1; rows 1..: x0 / W, y0 / H, x1 / W, y1 / H, (y1 - y0) (x1 - x0) / (W H)
 *   masks     1 for what is there */
#ifndef TENON_PIPELINES_GROUND_H
#define TENON_PIPELINES_GROUND_H

#include <stdbool.h>

#include "pipelines/image.h"
#include "pipelines/wordpiece.h"

/* ---- regions of pictures ---- */

typedef struct TnRegions {
    float *features; /* [n, width] */
    float *boxes;    /* [n, 4]: x0, y0, x1, y1 in pixels of the picture */
    uint32_t n, width;
    double image_width, image_height; /* pixels */
} TnRegions;

#define TN_GROUND_MAX_REGIONS 100000u

/* One picture's regions from a file or its bytes, by content:
 *   .npz  features (or x) [n, width], boxes (or bbox) [n, 4], num_boxes (or num_bbox; rows beyond it are padding), image_h and image_w (or image_height,
 *         image_width)
 *   .npy  that holds a pickled dictionary of the same names (the authors' extract_features.py), read without calling anything
 *   .npy  features [n, width] alone, with such a dictionary in NAME_info.npy beside it (files only)
 * Errors: IO, PARSE, UNSUPPORTED (with the line of Python that saves what can be read), DATA (no regions; shapes that do not belong together; a size that is
 * missing), LIMIT, MEMORY. */
TnStatus tn_regions_load(const char *path, TnRegions *out, TnError *err);
TnStatus tn_regions_decode(const void *data, size_t n, const char *name, TnRegions *out, TnError *err);
/* A pickled dictionary with arrays or base64 strings: a value of the authors' LMDB. */
TnStatus tn_regions_decode_pickle(const void *data, size_t n, const char *name, TnRegions *out, TnError *err);
/* A row of bottom-up attention's TSV: image_id, image_w, image_h, num_boxes, boxes, features (base64). */
TnStatus tn_regions_decode_tsv(const char *row, size_t n, const char *name, TnRegions *out, TnError *err);
void tn_regions_free(TnRegions *r); /* safe on a zeroed struct */
/* Numbers and places: features finite, boxes finite, not inverted and (unless clip, which cuts them) within a pixel of the picture. DATA: which region. */
TnStatus tn_regions_check(TnRegions *r, bool clip, const char *name, TnError *err);

/* Many pictures: a folder of ID.npz and ID.npy, an LMDB (data.mdb or its folder), a .tsv, or one file as above (whose id is its name). */
typedef struct TnFeatures TnFeatures;
TnStatus tn_features_open(const char *path, TnFeatures **out, TnError *err);
void tn_features_close(TnFeatures **f);
/* DATA: there is no such picture. */
TnStatus tn_features_get(TnFeatures *f, const char *id, TnRegions *out, TnError *err);
/* The id when there is one picture only, else NULL. */
const char *tn_features_only(const TnFeatures *f);

/* ---- grounding ---- */

typedef struct TnGroundOptions {
    uint32_t threads; /* 0: one a core */
    uint32_t batch;   /* phrases at once; 0: 8 */
    uint32_t tokens;  /* of a phrase, [CLS] and [SEP] included; 0: 20, or what the plan fixes */
    uint32_t regions; /* rows, the whole picture included; 0: 101 (beta: 100), or what the plan fixes */
    uint32_t task;    /* for plans with task_ids: 10 is RefCOCO+, 9 RefCOCO, 11 RefCOCOg */
    bool beta;        /* cut long phrases as vilbert_beta does: their [SEP] is lost */
} TnGroundOptions;
TnGroundOptions tn_ground_options_default(void); /* task 10 */

typedef struct TnGround TnGround;
/* vocabulary NULL: the plan's. plan and vocabulary must outlive it. Errors: REQUEST (the plan is no grounding model: which input or output; no vocabulary; tokens
 * or regions beyond the plan's range), PARSE (vocabulary without [CLS] or [SEP]), MEMORY. */
TnStatus tn_ground_create(TnPlan *plan, const TnWordPiece *vocabulary, const TnGroundOptions *options, TnGround **out, TnError *err);
void tn_ground_destroy(TnGround **g);
uint32_t tn_ground_tokens(const TnGround *g);
uint32_t tn_ground_regions(const TnGround *g);
uint32_t tn_ground_width(const TnGround *g); /* of a feature */

typedef struct TnGroundQuery {
    const char *phrase;
    const TnRegions *regions;
} TnGroundQuery;

typedef struct TnGroundAnswer {
    const float *logits; /* [rows]: the whole picture, then the regions; lives in the TnGround until its next call */
    uint32_t rows;
    uint32_t best;         /* row of the largest logit, the first of equal ones */
    uint32_t pieces;       /* of the phrase */
    uint32_t pieces_cut, regions_cut; /* what did not fit */
} TnGroundAnswer;

/* Answers n queries. Errors: DATA (an empty phrase; features of another width; too few or wrong regions: which query), those of tn_context_run. */
TnStatus tn_ground_run(TnGround *g, const TnGroundQuery *queries, uint32_t n, TnGroundAnswer *answers, TnError *err);
double tn_ground_preprocess_ms(const TnGround *g); /* of the last call */
double tn_ground_run_ms(const TnGround *g);

/* The model's input for one query, as the authors' loader pads it: ids, mask [tokens], features [regions, width], spatials [regions, 5], image_mask [regions]. Any may
 * be NULL. */
TnStatus tn_ground_assemble(TnGround *g, const TnGroundQuery *q, int64_t *ids, int64_t *mask, float *features, float *spatials, int64_t *image_mask, TnError *err);

/* Of a row: 0 is the whole picture. */
void tn_ground_box(const TnRegions *r, uint32_t row, float box[4]);
double tn_ground_score(const TnGroundAnswer *a, uint32_t row); /* sigmoid of its logit */
double tn_ground_share(const TnGroundAnswer *a, uint32_t row); /* softmax over the rows */
/* The k rows of the largest logits, best first; returns how many there are. */
uint32_t tn_ground_top(const TnGroundAnswer *a, uint32_t k, uint32_t *rows);

/* ---- evaluation ---- */

/* Intersection over union with the authors' convention: sides are x1 - x0 + 1. float32 throughout. */
float tn_ground_iou(const float a[4], const float b[4]);

typedef struct TnGroundTotal {
    uint64_t n, right;
    double loss; /* sum over phrases */
} TnGroundTotal;
/* Counts an answer: right when the chosen row's intersection over union with truth (x0, y0, x1, y1) is above 0.5; the loss is the sum over rows of the
 * binary cross-entropy of the logit against the row's intersection over union (the authors' mean over rows times their number). Returns the chosen
 * row's. */
float tn_ground_count(TnGroundTotal *total, const TnGroundAnswer *a, const TnRegions *r, const float truth[4]);

typedef struct TnPhrase {
    char *text, *image;
    float box[4]; /* x0, y0, x1, y1 */
    bool has_box;
} TnPhrase;
typedef struct TnPhrases {
    TnPhrase *items;
    uint32_t n, cap;
} TnPhrases;
/* Phrases from a JSON list of {"phrase": text, "image": id, "box": [x0, y0, x1, y1] or "bbox": [x, y, width, height]} (also "sent", "raw", "sentence" and
 * "caption"; "image_id"; boxes may be missing), or from REFER's refs(NAME).p with instances.json beside it: every sentence of the split ("val", "testA", ...; NULL:
 * all). Errors: IO, PARSE (which item), UNSUPPORTED, DATA (no phrase of the split), MEMORY. */
TnStatus tn_phrases_load(const char *path, const char *split, TnPhrases *out, TnError *err);
void tn_phrases_free(TnPhrases *p);

/* ---- pictures of answers ---- */

/* One phrase's answer to draw. */
typedef struct TnGroundDrawing {
    const char *phrase;
    const TnRegions *regions;
    const TnGroundAnswer *answer;
} TnGroundDrawing;
/* A copy of the picture with the chosen box of every phrase and its text. */
TnStatus tn_ground_draw(const TnImage *image, const TnGroundDrawing *items, uint32_t n, TnImage *out, TnError *err);
/* One HTML file with everything inside: for every phrase the picture, the boxes of the `top` rows over it, and their table. */
TnStatus tn_ground_save_html(const TnImage *image, const TnGroundDrawing *items, uint32_t n, uint32_t top, const char *title, const char *path, TnError *err);

#endif
