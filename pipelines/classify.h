/* SPDX-License-Identifier: Apache-2.0
 *
 * Classifying pictures: pictures in, classes with probabilities out. How pictures are prepared comes with the plan (metadata
 * preprocessor_config.json), or is the official UniFormer evaluation's for the size of the plan's input. */
#ifndef TENON_PIPELINES_CLASSIFY_H
#define TENON_PIPELINES_CLASSIFY_H

#include "pipelines/image.h"
#include "tenon/runtime.h"

typedef struct TnClassifier TnClassifier;

typedef struct TnClassScore {
    uint32_t index;
    float probability; /* softmax over all classes */
    const char *label; /* of the classifier's labels; NULL without them */
} TnClassScore;

typedef struct TnClassifyTimes {
    double preprocess_ms, run_ms; /* of the last call */
} TnClassifyTimes;

/* plan must outlive it: one input float32 [batch, 3, height, width] and a first output float32 [batch, classes]. threads: 0 one a core.
 * Errors: REQUEST (another kind of plan), PARSE and UNSUPPORTED with the field of the metadata, MEMORY. */
TnStatus tn_classifier_create(TnPlan *plan, uint32_t threads, TnClassifier **out, TnError *err);
void tn_classifier_destroy(TnClassifier **classifier);
uint32_t tn_classifier_classes(const TnClassifier *classifier);
void tn_classifier_size(const TnClassifier *classifier, uint32_t *width, uint32_t *height);
/* Names of the classes: a text file, one a line in order of the class numbers. Errors: IO, DATA (another number of lines than classes),
 * MEMORY. */
TnStatus tn_classifier_read_labels(TnClassifier *classifier, const char *path, TnError *err);
/* NULL: no labels were read (of a file, or of the id2label in the plan's config.json), or no such class. */
const char *tn_classifier_label(const TnClassifier *classifier, uint32_t index);
/* The classes of n pictures, k of each in order of probability (equal ones: the lower index first): top [n * k], k <= classes. times may be
 * NULL. */
TnStatus tn_classifier_run(TnClassifier *classifier, const TnImage *images, uint32_t n, uint32_t k, TnClassScore *top,
                           TnClassifyTimes *times, TnError *err);
/* The preprocessing alone: picture to planes [3, height, width] of tn_classifier_size. The shorter side is resized (Pillow's arithmetic),
 * the longer in proportion, rounded down; then the middle is cut out, offsets rounded half to even: as torchvision's Resize and CenterCrop.
 */
TnStatus tn_classifier_preprocess(const TnClassifier *classifier, const TnImage *image, float *planes, TnError *err);

#endif
