/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of make_vilbert_files.py: inputs and outputs by name and run, and how far a tensor is from PyTorch's. */
#ifndef TENON_TESTS_HF_VILBERT_GOLDEN_H
#define TENON_TESTS_HF_VILBERT_GOLDEN_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipelines/npz.h"

#define DATA TN_SOURCE_DIR "/tests/hf/data/"
#define FIXTURES TN_SOURCE_DIR "/tests/fixtures/"
#define ALL_HEADS                                                                                                                          \
    "vil_prediction,vil_prediction_gqa,vil_logit,vil_binary_prediction,vil_tri_prediction,vision_prediction,vision_logit,linguisic_"       \
    "prediction,linguisic_logit"
#define BETA_HEADS "vil_prediction,vil_logit,vil_binary_prediction,vision_prediction,vision_logit,linguisic_prediction,linguisic_logit"

static void golden_open(const char *name, TnNpz *golden) {
    char path[512];
    TnError err = {0};
    snprintf(path, sizeof path, DATA "%s.npz", name);
    if (tn_npz_read(path, NULL, golden, &err) != TN_OK)
        fail_msg("%s: %s", path, err.message);
}

static const TnTensor *golden_find(const TnNpz *golden, const char *name, int run) {
    char key[128];
    snprintf(key, sizeof key, "%s.%d", name, run);
    return tn_npz_find(golden, key);
}

static const TnTensor *golden_tensor(const TnNpz *golden, const char *name, int run) {
    const TnTensor *t = golden_find(golden, name, run);
    if (t == NULL)
        fail_msg("no '%s' of run %d", name, run);
    return t;
}

/* The largest error as a fraction of the largest value, hidden regions (about -10000) left out of the scale; of their errors, what is
 * beyond two units of their last place. INFINITY: another shape, or no number. */
static double off_by(const TnTensor *got, const TnTensor *want) {
    double scale = 0, worst = 0;
    if (got->dtype != TN_F32 || got->rank != want->rank || memcmp(got->dims, want->dims, (size_t)want->rank * sizeof *want->dims) != 0)
        return INFINITY;
    for (int64_t i = 0; i < tn_tensor_numel(want); i++) {
        const double a = (double)((const float *)got->data)[i], b = (double)((const float *)want->data)[i];
        const bool hidden = b < -5000;
        if (!isfinite(a))
            return INFINITY;
        scale = hidden ? scale : fmax(scale, fabs(b));
        worst = fmax(worst, fabs(a - b) - (hidden ? 2e-3 : 0));
    }
    return scale > 0 ? worst / scale : INFINITY;
}

#endif
