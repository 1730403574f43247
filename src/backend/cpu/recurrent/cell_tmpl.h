/* SPDX-License-Identifier: Apache-2.0
 *
 * Gate functions of recurrent cells for one ISA. */
#include "backend/cpu/recurrent/recurrent.h"
#include "backend/cpu/simd/simd.h"

static void rnn(const float *g, int64_t hidden, bool relu, float *h) {
    for (int64_t j = 0; j < hidden; j += VL) {
        const int64_t n = TN_MIN(hidden - j, (int64_t)VL);
        const vf v = vf_loadn(g + j, n);
        vf_storen(h + j, n, relu ? vf_max(vf_zero(), v) : vf_tanh(v));
    }
}

static void lstm(const float *g, int64_t hidden, float *c, float *h) {
    for (int64_t j = 0; j < hidden; j += VL) {
        const int64_t n = TN_MIN(hidden - j, (int64_t)VL);
        const vf i = vf_sigmoid(vf_loadn(g + j, n)), o = vf_sigmoid(vf_loadn(g + hidden + j, n));
        const vf f = vf_sigmoid(vf_loadn(g + 2 * hidden + j, n)), v = vf_tanh(vf_loadn(g + 3 * hidden + j, n));
        const vf cell = vf_fma(f, vf_loadn(c + j, n), vf_mul(i, v));
        vf_storen(c + j, n, cell);
        vf_storen(h + j, n, vf_mul(o, vf_tanh(cell)));
    }
}

/* (1 - z) v + z h */
TN_INLINE vf blend(vf z, vf v, vf h) {
    return vf_fma(z, h, vf_mul(vf_sub(vf_set1(1.0f), z), v));
}

static void gru_after(const float *gx, const float *g, int64_t hidden, float *h) {
    for (int64_t j = 0; j < hidden; j += VL) {
        const int64_t n = TN_MIN(hidden - j, (int64_t)VL);
        const vf z = vf_sigmoid(vf_add(vf_loadn(gx + j, n), vf_loadn(g + j, n)));
        const vf r = vf_sigmoid(vf_add(vf_loadn(gx + hidden + j, n), vf_loadn(g + hidden + j, n)));
        const vf v = vf_tanh(vf_fma(r, vf_loadn(g + 2 * hidden + j, n), vf_loadn(gx + 2 * hidden + j, n)));
        vf_storen(h + j, n, blend(z, v, vf_loadn(h + j, n)));
    }
}

static void gru_reset(float *g, int64_t hidden, const float *h, float *t) {
    for (int64_t j = 0; j < hidden; j += VL) {
        const int64_t n = TN_MIN(hidden - j, (int64_t)VL);
        vf_storen(g + j, n, vf_sigmoid(vf_loadn(g + j, n)));
        vf_storen(t + j, n, vf_mul(vf_sigmoid(vf_loadn(g + hidden + j, n)), vf_loadn(h + j, n)));
    }
}

static void gru_join(const float *g, int64_t hidden, float *h) {
    for (int64_t j = 0; j < hidden; j += VL) {
        const int64_t n = TN_MIN(hidden - j, (int64_t)VL);
        vf_storen(h + j, n, blend(vf_loadn(g + j, n), vf_tanh(vf_loadn(g + 2 * hidden + j, n)), vf_loadn(h + j, n)));
    }
}

const TniCellIsa TN_ISA(tni_cell_isa) = {.rnn = rnn, .lstm = lstm, .gru_after = gru_after, .gru_reset = gru_reset, .gru_join = gru_join};
