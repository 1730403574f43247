/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of recurrent: RNN, GRU and LSTM, one and two directions, both orders of X, lengths, states, GRU with both kinds of reset. */
#include <math.h>

#include "kernels/checkkern.h"

/* Weights that keep sums near 1, as in models. */
static void weights(Case *c, int64_t d, int64_t rows, int64_t columns) {
    TnTensor *t = ck_in(c, TN_F32, 3, DIMS(d, rows, columns), FILL_NORMAL);
    for (int64_t i = 0, n = tn_tensor_numel(t); i < n && t->data != NULL; i++)
        ((float *)t->data)[i] *= 0.6f / sqrtf((float)columns);
    if (c->bench || ck_rand(c) % 4 != 0)
        ck_last_constant(c);
}

static void maybe(Case *c, bool there, int32_t rank, const int64_t *dims) {
    if (there)
        ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
    else
        ck_absent(c);
}

static void choose_cell(Case *c, TnRecurrentParams *p) {
    static const uint32_t usual[TN_CELL_COUNT][3] = {[TN_CELL_RNN] = {TN_CELL_TANH},
                                                     [TN_CELL_GRU] = {TN_CELL_SIGMOID, TN_CELL_TANH},
                                                     [TN_CELL_LSTM] = {TN_CELL_SIGMOID, TN_CELL_TANH, TN_CELL_TANH}};
    p->kind = c->bench ? TN_CELL_LSTM : c->k % TN_CELL_COUNT;
    p->directions = c->bench ? 2 : (uint32_t)ck_range(c, 1, 2);
    p->reverse = p->directions == 1 && ck_coin(c);
    p->batch_first = ck_coin(c);
    p->linear_before_reset = ck_coin(c);
    for (uint32_t i = 0; i < 6; i++)
        p->act[i] = usual[p->kind][i % 3];
    if (p->kind == TN_CELL_RNN && ck_rand(c) % 3 == 0)
        p->act[0] = TN_CELL_RELU;
}

bool case_recurrent(Case *c) {
    static const struct {
        int64_t steps, lines, inputs, hidden;
    } shapes[] = {{120, 1, 576, 48}, {40, 8, 128, 128}};
    static const int64_t gates[TN_CELL_COUNT] = {1, 3, 4};
    TnRecurrentParams *p = ck_params(c, sizeof *p);
    if (c->bench ? c->k >= TN_COUNT(shapes) : c->k >= 120)
        return false;
    choose_cell(c, p);
    const bool first = p->batch_first != 0, lstm = p->kind == TN_CELL_LSTM, many = c->k % 20 == 19; /* many: more than one chunk of steps */
    const int64_t d = p->directions, s = c->bench ? shapes[c->k].steps : many ? 150 : ck_size(c, 24);
    const int64_t b = c->bench ? shapes[c->k].lines : many ? 40 : ck_size(c, 33), i = c->bench ? shapes[c->k].inputs : ck_size(c, 70);
    const int64_t h = c->bench ? shapes[c->k].hidden : many ? 40 : ck_size(c, 70), w = gates[p->kind] * h;
    const int64_t *state = first ? DIMS(b, d, h) : DIMS(d, b, h);
    p->hidden = (uint32_t)h;
    ck_in(c, TN_F32, 3, first ? DIMS(b, s, i) : DIMS(s, b, i), FILL_NORMAL);
    weights(c, d, w, i);
    weights(c, d, w, h);
    maybe(c, ck_rand(c) % 4 != 0, 2, DIMS(d, 2 * w));
    if (ck_rand(c) % 3 == 0)
        ck_ints(c, TN_I32, 1, &b, 0, s);
    else
        ck_absent(c);
    maybe(c, ck_coin(c), 3, state);
    if (lstm)
        maybe(c, ck_coin(c), 3, state);
    ck_out(c, TN_F32, 4, first ? DIMS(b, s, d, h) : DIMS(s, d, b, h));
    for (int k = 0; k < (lstm ? 2 : 1); k++) {
        TnTensor *y = ck_out(c, TN_F32, 3, state);
        if (ck_rand(c) % 4 == 0)
            y->data = NULL;
    }
    ck_say(c, "%s steps %lld lines %lld inputs %lld hidden %lld directions %lld%s%s%s", lstm ? "lstm" : p->kind == TN_CELL_GRU ? "gru" : "rnn",
           (long long)s, (long long)b, (long long)i, (long long)h, (long long)d, p->reverse != 0 ? " reverse" : "", first ? " lines first" : "",
           p->linear_before_reset != 0 ? " reset after" : "");
    return true;
}
