/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests in Python: doc_windows PLAN TOKENIZER PICTURE WORDS writes every window without overlap: ids [512] and boxes [512, 4], int64.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pipelines/doc.h"

int main(int argc, char **argv) {
    TnPlan *plan = NULL;
    TnBpe *bpe = NULL;
    TnDoc *doc = NULL;
    TnImage image = {0};
    TnDocPage page = {0};
    TnError err = {0};
    TnDocOptions o = tn_doc_options_default();
    uint32_t n = 1;
    o.overlap = 0;
    if (argc != 5)
        return 2;
    TnStatus st = tn_plan_open(argv[1], NULL, &plan, &err);
    if (st == TN_OK)
        st = tn_bpe_load(argv[2], &bpe, &err);
    if (st == TN_OK)
        st = tn_doc_create(plan, bpe, &o, &doc, &err);
    if (st == TN_OK)
        st = tn_image_load(argv[3], &image, &err);
    if (st == TN_OK)
        st = tn_doc_page_load(argv[4], &page, &err);
    uint32_t s = doc == NULL ? 1 : tn_doc_sequence(doc);
    int64_t *ids = malloc(5 * (size_t)s * sizeof *ids);
    for (uint32_t i = 0; i < n && st == TN_OK && ids != NULL; i++) {
        st = tn_doc_window(doc, &image, &page, i, ids, NULL, ids + s, NULL, &n, &err);
        fwrite(ids, sizeof *ids, 5 * (size_t)s, stdout);
    }
    if (st != TN_OK)
        fprintf(stderr, "doc_windows: %s\n", err.message);
    free(ids);
    tn_doc_page_free(&page);
    tn_image_free(&image);
    tn_doc_destroy(&doc);
    tn_bpe_destroy(&bpe);
    tn_plan_close(&plan);
    return st == TN_OK ? 0 : 2;
}
