/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection: a picture in, boxes with classes and scores out, and masks where the model has them. For plans of Mask R-CNN and the like:
 *
 *   input   image  f32 [1, 3, height, width]: RGB, normalised, not padded (what the model wants padded, it pads inside)
 *   outputs boxes  f32 [n, 4]: x0, y0, x1, y1 in pixels of the input;  scores f32 [n];  labels i64 [n], classes from 0
 *           masks  f32 [n, m, m] (optional): how likely each part of the box belongs to the object
 *
 * or, as torchvision exports its detectors: one input of another name [3, H, W] or [1, 3, H, W] with values 0 to 1; labels are category
 * numbers from 1; masks [n, 1, m, m] or [n, 1, H, W]. Outputs are found by these names, else by type and shape. */
#ifndef TENON_PIPELINES_DETECT_H
#define TENON_PIPELINES_DETECT_H

#include "pipelines/image.h"
#include "pipelines/rle.h"
#include "tenon/runtime.h"

typedef struct TnDetector TnDetector;

typedef struct TnDetectOptions {
    uint32_t threads; /* 0: one a core */
    /* Pictures are scaled so that neither side limit is passed, as mmdet's Resize(img_scale=(long, short), keep_ratio). 0: of the plan's
     * metadata (do_resize false: pictures keep their size), else 1333 and 800. Plans of one size: that the picture fits into it. Not used for
     * models in torchvision's form, which scale inside. */
    uint32_t long_side, short_side;
    float min_score; /* detections below are left out */
} TnDetectOptions;
TnDetectOptions tn_detect_options_default(void); /* min_score 0 */

typedef struct TnDetection {
    float box[4]; /* x0, y0, x1, y1 in pixels of the picture */
    float score;
    uint32_t label;
    const char *name; /* of the class; NULL: unknown */
    TnRle mask;       /* of the picture's size; counts NULL: the model has no masks */
} TnDetection;

typedef struct TnDetections {
    TnDetection *items; /* best first */
    uint32_t n;
    uint32_t width, height; /* of the picture */
    double preprocess_ms, run_ms, postprocess_ms;
} TnDetections;

/* plan must outlive it. Class names come with the plan (metadata detection.json: classes; config.json: id2label; else COCO's where
 * detection.json's num_classes is 80). Errors: REQUEST (another kind of plan: what is missing), PARSE and UNSUPPORTED (field of the metadata), MEMORY. */
TnStatus tn_detector_create(TnPlan *plan, const TnDetectOptions *options, TnDetector **out, TnError *err);
void tn_detector_destroy(TnDetector **detector);
bool tn_detector_has_masks(const TnDetector *detector);
/* Whether labels are category numbers of the data set (torchvision's form), not classes from 0. */
bool tn_detector_labels_are_ids(const TnDetector *detector);
/* Names of the classes: a text file, one a line in order of their numbers (in torchvision's form the first is number 0, the background), or
 * the word "coco". Errors: IO, DATA (no line), MEMORY. */
TnStatus tn_detector_read_labels(TnDetector *detector, const char *path, TnError *err);
/* NULL: no names, or no such class. */
const char *tn_detector_label(const TnDetector *detector, uint32_t label);

/* The result lives in the detector until its next call. Errors: LIMIT (a picture so narrow that nothing of it is left; a side that the plan
 * does not take), DATA (the model gave a label or a shape that cannot be), those of tn_context_run. */
TnStatus tn_detector_run(TnDetector *detector, const TnImage *image, TnDetections *out, TnError *err);
/* The preprocessing alone, as tn_detector_run does it: planes [3, height, width] until the next call; scale: width and height over the
 * picture's. */
TnStatus tn_detector_preprocess(TnDetector *detector, const TnImage *image, const float **planes, uint32_t *width, uint32_t *height,
                                float scale[2], TnError *err);
/* Puts a mask of mh x mw probabilities into its box on a picture: bilinear between the middles of its cells, 0 outside, covered from 0.5
 * on; the arithmetic of mmdet's FCNMaskHead (grid_sample, align_corners=False). MEMORY. */
TnStatus tn_detect_paste(const float *mask, uint32_t mh, uint32_t mw, const float box[4], uint32_t width, uint32_t height, TnRle *out,
                         TnError *err);

/* COCO's 80 classes in mmdet's order, and the numbers that COCO gives them (1 to 90). NULL and 0: no such class. */
const char *tn_coco_class_name(uint32_t index);
uint32_t tn_coco_class_id(uint32_t index);

/* ---- pictures of results ---- */

/* A copy of image with translucent masks, boxes and names; the best on top. MEMORY. */
TnStatus tn_detect_draw(const TnImage *image, const TnDetections *found, TnImage *out, TnError *err);

/* One HTML file with everything inside, for any number of pictures. Start zeroed, add, save (or free). */
typedef struct TnDetectPage {
    char *text;
    size_t n, cap;
    bool failed;
} TnDetectPage;
TnStatus tn_detect_page_add(TnDetectPage *page, const TnImage *image, const TnDetections *found, const char *title, TnError *err);
TnStatus tn_detect_page_save(TnDetectPage *page, const char *title, const char *path, TnError *err);
void tn_detect_page_free(TnDetectPage *page);

#endif
