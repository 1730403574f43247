/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of the normalisations and of softmax: row lengths around vector widths, shifted data (a large mean), outliers, absent
 * parameters, unwanted outputs. */
#include <math.h>

#include "kernels/checkkern.h"

/* Normal data, now and then with a mean of 1000 or with outliers. */
static void shift_some(Case *c, TnTensor *x) {
    int64_t kind = ck_range(c, 0, 3), n = tn_tensor_numel(x);
    float *v = x->data;
    for (int64_t i = 0; i < n && kind >= 2; i++) {
        if (kind == 2)
            v[i] = (float)(1000.0 + ck_normal(c));
        else if (ck_rand(c) % 50 == 0)
            v[i] *= 1e3f;
    }
}

static int32_t some_dims(Case *c, int64_t *dims, int64_t last_max) {
    int32_t rank = (int32_t)ck_range(c, 1, 5);
    for (int32_t d = 0; d < rank; d++)
        dims[d] = d == rank - 1 ? ck_size(c, last_max) : ck_range(c, 1, 4);
    if (rank > 1 && ck_rand(c) % 12 == 0)
        dims[ck_range(c, 0, rank - 2)] = 0;
    return rank;
}

static void parameter(Case *c, int32_t rank, const int64_t *dims, bool optional) {
    if (optional && ck_rand(c) % 4 == 0)
        ck_absent(c);
    else
        ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
    if (ck_coin(c))
        ck_last_constant(c);
}

static bool rows_case(Case *c, bool rms) {
    TnNormParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    p->epsilon = 1e-5f;
    if (c->bench) {
        if (c->k >= 1)
            return false;
        p->axis = 1;
        ck_in(c, TN_F32, 2, DIMS(709, 768), FILL_NORMAL);
        ck_in(c, TN_F32, 1, DIMS(768), FILL_NORMAL);
        if (!rms)
            ck_in(c, TN_F32, 1, DIMS(768), FILL_NORMAL);
        ck_out(c, TN_F32, 2, DIMS(709, 768));
        ck_say(c, "[709,768]");
        return true;
    }
    if (c->k >= 60)
        return false;
    int32_t rank = some_dims(c, dims, 800);
    if (c->k == 7) { /* longer than a block of sums */
        rank = 1;
        dims[0] = 10007;
    }
    p->axis = (int32_t)ck_range(c, 0, rank - 1) - (ck_coin(c) ? rank : 0);
    int32_t axis = p->axis < 0 ? p->axis + rank : p->axis;
    TnTensor *x = ck_in(c, TN_F32, rank, dims, c->k % 6 == 5 ? FILL_SPECIAL : FILL_NORMAL);
    shift_some(c, x);
    parameter(c, rank - axis, dims + axis, !rms);
    if (!rms)
        parameter(c, rank - axis, dims + axis, true);
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "axis %d", (int)p->axis);
    return true;
}

bool case_layer_norm(Case *c) {
    return rows_case(c, false);
}
bool case_rms_norm(Case *c) {
    return rows_case(c, true);
}

bool case_add_layer_norm(Case *c) {
    TnNormParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    p->epsilon = 1e-12f;
    p->axis = -1;
    if (c->bench ? c->k >= 1 : c->k >= 50)
        return false;
    int32_t rank = some_dims(c, dims, 800);
    if (c->bench) {
        rank = 2;
        dims[0] = 709;
        dims[1] = 768;
        ck_say(c, "[709,768]");
    }
    ck_in(c, TN_F32, rank, dims, FILL_NORMAL); /* no large mean: the sum itself is rounded to f32 */
    ck_in(c, TN_F32, rank, dims, c->k % 6 == 5 ? FILL_SPECIAL : FILL_NORMAL);
    parameter(c, 1, dims + rank - 1, false);
    parameter(c, 1, dims + rank - 1, false);
    if (ck_coin(c))
        parameter(c, 1, dims + rank - 1, false);
    ck_out(c, TN_F32, rank, dims);
    if (ck_coin(c)) {
        TnTensor *s = ck_out(c, TN_F32, rank, dims);
        if (ck_rand(c) % 3 == 0)
            s->data = NULL;
    }
    return true;
}

bool case_batch_norm(Case *c) {
    TnNormParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    p->epsilon = 1e-5f;
    if (c->bench || c->k >= 40)
        return false;
    int32_t rank = (int32_t)ck_range(c, 2, 5);
    p->channels_last = ck_coin(c);
    for (int32_t d = 0; d < rank; d++)
        dims[d] = d == rank - 1 ? ck_size(c, 300) : ck_range(c, 1, 9);
    if (ck_rand(c) % 12 == 0)
        dims[0] = 0;
    int64_t channels = dims[p->channels_last != 0 ? rank - 1 : 1];
    ck_in(c, TN_F32, rank, dims, c->k % 6 == 5 ? FILL_SPECIAL : FILL_NORMAL);
    for (int i = 0; i < 4; i++) {
        ck_in(c, TN_F32, 1, &channels, i == 3 ? FILL_POSITIVE : FILL_NORMAL);
        ck_last_constant(c);
    }
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "channels_last %u", p->channels_last);
    return true;
}

static bool groups_case(Case *c, bool instance) {
    TnNormParams *p = ck_params(c, sizeof *p);
    p->epsilon = 1e-5f;
    if (c->bench || c->k >= 30)
        return false;
    int64_t groups = ck_range(c, 1, 4), dims[4] = {ck_range(c, 1, 3), groups * ck_range(c, 1, 4), ck_range(c, 1, 9), ck_size(c, 300)};
    int32_t rank = (int32_t)ck_range(c, instance ? 3 : 2, 4);
    p->groups = (uint32_t)groups;
    if (dims[1] / (instance ? dims[1] : groups) == 1 && rank == 2)
        rank = 4; /* a group of one element has no variance: its sign would be noise */
    shift_some(c, ck_in(c, TN_F32, rank, dims, c->k % 6 == 5 ? FILL_SPECIAL : FILL_NORMAL));
    ck_in(c, TN_F32, 1, dims + 1, FILL_NORMAL);
    ck_in(c, TN_F32, 1, dims + 1, FILL_NORMAL);
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "groups %u", p->groups);
    return true;
}

bool case_instance_norm(Case *c) {
    return groups_case(c, true);
}
bool case_group_norm(Case *c) {
    return groups_case(c, false);
}

bool case_softmax(Case *c) {
    TnSoftmaxParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    p->scale = 1.0f;
    if (c->bench) {
        if (c->k >= 3)
            return false;
        p->axis = c->k == 1 ? 1 : 2;
        p->log = c->k == 2;
        ck_in(c, TN_F32, 3, DIMS(12, 709, 709), FILL_NORMAL);
        ck_out(c, TN_F32, 3, DIMS(12, 709, 709));
        ck_say(c, "[12,709,709] axis %d log %u", (int)p->axis, p->log);
        return true;
    }
    if (c->k >= 90)
        return false;
    int32_t rank = some_dims(c, dims, 800);
    p->axis = (int32_t)(ck_coin(c) ? rank - 1 : ck_range(c, 0, rank - 1)) - (ck_coin(c) ? rank : 0);
    p->log = ck_rand(c) % 3 == 0;
    p->scale = ck_coin(c) ? 1.0f : (float)(0.01 + ck_unit(c) * 3.0);
    TnTensor *x = ck_in(c, TN_F32, rank, dims, c->k % 5 == 4 ? FILL_SPECIAL : FILL_NORMAL);
    for (int64_t i = 0; i < tn_tensor_numel(x) && c->k % 5 == 3; i++) /* a mask */
        if (ck_rand(c) % 3 == 0)
            ((float *)x->data)[i] = -INFINITY, c->special = true;
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "axis %d log %u scale %g", (int)p->axis, p->log, (double)p->scale);
    return true;
}
