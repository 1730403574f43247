/* SPDX-License-Identifier: Apache-2.0
 *
 * COCO's files: bytes that begin with '{' are annotations, with '[' results of a small data set, both scored as boxes and masks; all others
 * are a mask's text, whose first two bytes are its size. A mask that is accepted must come back from its own text. */
#include <stdlib.h>
#include <string.h>

#include "pipelines/coco.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char truth[] =
    "{\"images\":[{\"id\":1,\"width\":12,\"height\":9},{\"id\":2,\"width\":30,\"height\":20}],\"categories\":[{\"id\":1},{\"id\":2}],"
    "\"annotations\":["
    "{\"id\":1,\"image_id\":1,\"category_id\":1,\"bbox\":[1,2,5,5],\"area\":25,\"iscrowd\":0,\"segmentation\":[[1,2,6,2,6,7,1,7]]},"
    "{\"id\":2,\"image_id\":1,\"category_id\":2,\"bbox\":[0,0,12,9],\"area\":108,\"iscrowd\":1,\"segmentation\":{\"size\":[9,12],"
    "\"counts\":[0,108]}},"
    "{\"id\":3,\"image_id\":2,\"category_id\":1,\"bbox\":[3,3,9,9],\"area\":81,\"iscrowd\":0,\"segmentation\":[[3,3,12,3,12,12],[20,1,25,1,"
    "25,9]]}]}";
static const char found[] = "[{\"image_id\":1,\"category_id\":1,\"score\":0.5,\"bbox\":[1,2,5,4]},{\"image_id\":2,\"category_id\":1,"
                            "\"score\":0.5,\"bbox\":[3,3,9,8]}]";

static void score(const void *annotations, size_t n, const void *results, size_t m) {
    TnCoco *coco = NULL;
    TnCocoResults *r = NULL;
    TnCocoScore s = {0};
    TnError err = {0};
    if (tn_coco_decode(annotations, n, "truth", &coco, &err) == TN_OK && tn_coco_results_create(coco, &r, &err) == TN_OK &&
        tn_coco_results_decode(r, results, m, "found", &err) == TN_OK) {
        for (int kind = 0; kind < 2; kind++) {
            if (tn_coco_score(coco, r, kind == 0 ? TN_COCO_BOX : TN_COCO_MASK, NULL, &s, &err) == TN_OK) {
                for (int i = 0; i < TN_COCO_NUMBERS; i++) {
                    if (!(s.numbers[i] >= -1 && s.numbers[i] <= 1.000001))
                        abort();
                }
            }
            tn_coco_score_free(&s);
        }
    }
    tn_coco_results_destroy(&r);
    tn_coco_destroy(&coco);
}

static void mask(const uint8_t *data, size_t n) {
    TnRle a, b;
    TnError err = {0};
    if (n < 2 || tn_rle_from_text((const char *)data + 2, n - 2, data[0], data[1], &a, &err) != TN_OK)
        return;
    char *text = tn_rle_to_text(&a);
    double box[4];
    tn_rle_box(&a, box);
    if (text == NULL || tn_rle_from_text(text, strlen(text), data[0], data[1], &b, &err) != TN_OK || b.n != a.n ||
        tn_rle_common(&a, &b) != tn_rle_area(&a))
        abort();
    uint8_t *bits = malloc((size_t)data[0] * data[1] + 1);
    if (bits != NULL)
        tn_rle_to_mask(&a, bits);
    free(bits);
    free(text);
    tn_rle_free(&a);
    tn_rle_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n > 0 && data[0] == '{')
        score(data, n, found, sizeof found - 1);
    else if (n > 0 && data[0] == '[')
        score(truth, sizeof truth - 1, data, n);
    else
        mask(data, n);
    return 0;
}
