/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the COCO reader and the evaluation share. */
#ifndef TENON_PIPELINES_COCO_INTERNAL_H
#define TENON_PIPELINES_COCO_INTERNAL_H

#include <jansson.h>

#include "pipelines/coco.h"

/* A truth or a detection. */
typedef struct CocoItem {
    uint32_t image, category; /* indices */
    uint32_t entry;           /* place in its file, for messages */
    int64_t id;               /* of an annotation */
    double box[4], area, score;
    bool crowd, has_mask;
    json_t *segmentation; /* borrowed from the file; the mask is made from it when it is asked for */
    TnRle mask;
} CocoItem;

typedef struct CocoItems {
    CocoItem *item;
    uint32_t n, cap;
} CocoItems;

struct TnCoco {
    json_t *root;
    char *name;
    TnCocoImage *images;
    TnCocoCategory *categories;
    uint32_t n_images, n_categories, left_out;
    CocoItems truth;
};

struct TnCocoResults {
    const TnCoco *coco;
    json_t *root;
    char *name;
    CocoItems found;
    uint32_t left_out;
    bool any_mask;
};

/* A zeroed item at the end; NULL: out of memory. */
CocoItem *tnp_coco_item(CocoItems *items);
/* Makes the item's mask, from its segmentation, or of a detection without one from its box. what: "annotation" or "result". */
TnStatus tnp_coco_mask(const TnCoco *coco, const char *file, const char *what, CocoItem *item, TnError *err);

#endif
