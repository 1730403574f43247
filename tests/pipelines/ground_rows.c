/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests in Python: ground_rows PLAN VOCABULARY FEATURES LIST SPLIT|- [--beta] writes what the model sees of every phrase of a list: tokens, regions
 * and width as int32, then of each phrase its ids and mask (int64), features and spatials (float32) and region mask (int64), the true box and, as the
 * last float32, the intersection over union of every row with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/ground.h"

static TnStatus rows(TnGround *g, TnFeatures *features, const TnPhrase *p, TnError *err) {
    const size_t tokens = tn_ground_tokens(g), regions = tn_ground_regions(g), width = tn_ground_width(g);
    TnRegions r;
    int64_t *ids = calloc(2 * tokens + regions, sizeof *ids);
    float *f = calloc(regions * (width + 6), sizeof *f);
    TnStatus st = tn_features_get(features, p->image, &r, err);
    if (st == TN_OK)
        st = tn_regions_check(&r, false, p->image, err);
    if (st == TN_OK)
        st = tn_ground_assemble(g, &(TnGroundQuery){p->text, &r}, ids, ids + tokens, f, f + regions * width, ids + 2 * tokens, err);
    for (uint32_t i = 0; st == TN_OK && i < regions && i < r.n + 1; i++) {
        float box[4];
        tn_ground_box(&r, i, box);
        f[regions * (width + 5) + i] = tn_ground_iou(box, p->box);
    }
    fwrite(ids, sizeof *ids, 2 * tokens, stdout);
    fwrite(f, sizeof *f, regions * (width + 5), stdout);
    fwrite(ids + 2 * tokens, sizeof *ids, regions, stdout);
    fwrite(p->box, sizeof *p->box, 4, stdout);
    fwrite(f + regions * (width + 5), sizeof *f, regions, stdout);
    tn_regions_free(&r);
    free(ids);
    free(f);
    return st;
}

int main(int argc, char **argv) {
    TnError err = {0};
    TnPlan *plan = NULL;
    TnWordPiece *vocabulary = NULL;
    TnFeatures *features = NULL;
    TnGround *g = NULL;
    TnPhrases list = {0};
    if (argc < 6)
        return 2;
    TnGroundOptions o = tn_ground_options_default();
    o.beta = argc > 6 && strcmp(argv[6], "--beta") == 0;
    TnStatus st = tn_plan_open(argv[1], NULL, &plan, &err);
    if (st == TN_OK)
        st = tn_wordpiece_load(argv[2], &vocabulary, &err);
    if (st == TN_OK)
        st = tn_features_open(argv[3], &features, &err);
    if (st == TN_OK)
        st = tn_phrases_load(argv[4], strcmp(argv[5], "-") == 0 ? NULL : argv[5], &list, &err);
    if (st == TN_OK)
        st = tn_ground_create(plan, vocabulary, &o, &g, &err);
    if (st == TN_OK) {
        const int32_t sizes[3] = {(int32_t)tn_ground_tokens(g), (int32_t)tn_ground_regions(g), (int32_t)tn_ground_width(g)};
        fwrite(sizes, sizeof *sizes, 3, stdout);
    }
    for (uint32_t i = 0; st == TN_OK && i < list.n; i++)
        st = rows(g, features, &list.items[i], &err);
    if (st != TN_OK)
        fprintf(stderr, "ground_rows: %s\n", err.message);
    tn_ground_destroy(&g);
    tn_phrases_free(&list);
    tn_features_close(&features);
    tn_wordpiece_destroy(&vocabulary);
    tn_plan_close(&plan);
    return st == TN_OK && fflush(stdout) == 0 ? 0 : 2;
}
