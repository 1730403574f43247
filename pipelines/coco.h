/* SPDX-License-Identifier: Apache-2.0
 *
 * COCO's annotation and result files, and the 12 numbers by which detectors are compared, as pycocotools computes them. */
#ifndef TENON_PIPELINES_COCO_H
#define TENON_PIPELINES_COCO_H

#include "pipelines/rle.h"

/* ---- ground truth ---- */

typedef struct TnCocoImage {
    int64_t id;
    uint32_t width, height; /* 0: the file does not tell; masks then need it */
    const char *file_name;  /* "" when the file does not tell */
} TnCocoImage;

typedef struct TnCocoCategory {
    int64_t id;
    const char *name;
} TnCocoCategory;

typedef struct TnCoco TnCoco;

/* Reads an annotation file: {"images": [{"id", "width", "height", "file_name"}], "categories": [{"id", "name"}], "annotations": [{"id",
 * "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"}]}. Annotations of images or categories that the file does not have
 * are left out (tn_coco_left_out), as pycocotools does. Errors: IO, LIMIT, PARSE (line, or which entry and field), DATA (an id twice),
 * MEMORY. */
TnStatus tn_coco_load(const char *path, TnCoco **out, TnError *err);
TnStatus tn_coco_decode(const void *data, size_t n, const char *name, TnCoco **out, TnError *err);
void tn_coco_destroy(TnCoco **coco);

/* In order of their ids. */
uint32_t tn_coco_image_count(const TnCoco *coco);
const TnCocoImage *tn_coco_image(const TnCoco *coco, uint32_t i);
uint32_t tn_coco_category_count(const TnCoco *coco);
const TnCocoCategory *tn_coco_category(const TnCoco *coco, uint32_t i);
uint32_t tn_coco_annotation_count(const TnCoco *coco);
uint32_t tn_coco_left_out(const TnCoco *coco);
bool tn_coco_has_masks(const TnCoco *coco); /* any annotation has a segmentation */
/* Index of an id; UINT32_MAX: there is none. */
uint32_t tn_coco_find_image(const TnCoco *coco, int64_t id);
uint32_t tn_coco_find_category(const TnCoco *coco, int64_t id);

/* ---- results ---- */

typedef struct TnCocoResults TnCocoResults;

/* coco must outlive it. MEMORY. */
TnStatus tn_coco_results_create(const TnCoco *coco, TnCocoResults **out, TnError *err);
void tn_coco_results_destroy(TnCocoResults **results);
/* One detection: box x, y, width, height; mask is copied (NULL: none). Its area is the box's, as when pycocotools loads results that have
 * boxes. Errors: ARGUMENT (no such image or category index), DATA (mask of another size than the image, a number that is none), MEMORY. */
TnStatus tn_coco_results_add(TnCocoResults *results, uint32_t image, uint32_t category, double score, const double box[4],
                             const TnRle *mask, TnError *err);
/* Reads a results file, alone or as the 'annotations' of an object: [{"image_id", "category_id", "score", "bbox" and/or "segmentation"}].
 * As in pycocotools the first entry decides: with a bbox, every entry must have one, its area is the box's and a missing mask is the box;
 * else every entry must have a mask, and its area counts. Entries of categories that the annotations lack are left out. Errors: IO, PARSE
 * and DATA (which entry and field; an unknown image id), MEMORY. */
TnStatus tn_coco_results_load(TnCocoResults *results, const char *path, TnError *err);
TnStatus tn_coco_results_decode(TnCocoResults *results, const void *data, size_t n, const char *name, TnError *err);
/* Writes them so that they read back the same; whole or not at all. IO, MEMORY. */
TnStatus tn_coco_results_save(const TnCocoResults *results, const char *path, TnError *err);
uint32_t tn_coco_results_count(const TnCocoResults *results);
uint32_t tn_coco_results_left_out(const TnCocoResults *results);
bool tn_coco_results_have_masks(const TnCocoResults *results); /* any of them */

/* ---- scores ---- */

typedef enum TnCocoKind { TN_COCO_BOX, TN_COCO_MASK } TnCocoKind;

/* In pycocotools' order: AP, AP50, AP75, AP of small, medium, large; AR with 1, 10, 100 detections, AR of small, medium, large.
 * -1 where there is nothing to find. */
#define TN_COCO_NUMBERS 12
extern const char *const tn_coco_number_names[TN_COCO_NUMBERS];

typedef struct TnCocoScore {
    double numbers[TN_COCO_NUMBERS];
    double *category_ap; /* [categories] AP of each; heap, release with tn_coco_score_free */
    uint32_t zero_ids;   /* annotations with id 0: pycocotools counts what finds them as wrong, and so does this */
} TnCocoScore;
void tn_coco_score_free(TnCocoScore *score);

/* images [tn_coco_image_count]: which ones count; NULL: all. Errors: DATA, LIMIT and PARSE (an annotation's or result's mask: which one),
 * MEMORY. */
TnStatus tn_coco_score(TnCoco *coco, TnCocoResults *results, TnCocoKind kind, const bool *images, TnCocoScore *out, TnError *err);

#endif
