/* SPDX-License-Identifier: Apache-2.0
 *
 * RNN, GRU and LSTM of f32 on the CPU, with the usual activations (tanh, or relu for RNN; sigmoid gates), without clip and peepholes.
 *
 * The inputs of all steps of a chunk go through W as one product, gx [rows, gates * hidden]. The recurrence then takes a block of lines
 * through the chunk's steps: a product of the lines' states with the packed R, with gx as its residual, and one pass of gate functions.
 * Tasks are blocks of lines of one direction; their cut depends on shapes alone. */
#ifndef TENON_CPU_RECURRENT_H
#define TENON_CPU_RECURRENT_H

#include "backend/cpu/gemm/gemm.h"

/* Gate functions of one line; H: hidden. Sums come complete: W x + R h + biases. */
typedef struct TniCellIsa {
    void (*rnn)(const float *g, int64_t hidden, bool relu, float *h);
    /* g [4H] = i, o, f, c; c and h are updated. */
    void (*lstm)(const float *g, int64_t hidden, float *c, float *h);
    /* linear_before_reset: gx [3H] = z, r, h of the input, g [3H] of the state. */
    void (*gru_after)(const float *gx, const float *g, int64_t hidden, float *h);
    /* Otherwise in two parts: g [2H] = z, r becomes sigmoids and t [H] the reset state; then g [3H] with the candidate's sum. */
    void (*gru_reset)(float *g, int64_t hidden, const float *h, float *t);
    void (*gru_join)(const float *g, int64_t hidden, float *h);
} TniCellIsa;
extern const TniCellIsa tni_cell_isa_scalar, tni_cell_isa_avx2, tni_cell_isa_avx512;

bool tni_recurrent_supports(const TnKernelQuery *q);

#define TNI_RECURRENT_DECLARE(isa)                                                                                                         \
    TnStatus tni_recurrent_run_##isa(TnKernelCall *call);                                                                                  \
    size_t tni_recurrent_scratch_##isa(const TnKernelQuery *q);                                                                            \
    double tni_recurrent_cost_##isa(const TnKernelQuery *q);                                                                               \
    size_t tni_recurrent_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i);                                                           \
    void tni_recurrent_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst);
TNI_RECURRENT_DECLARE(scalar)
TNI_RECURRENT_DECLARE(avx2)
TNI_RECURRENT_DECLARE(avx512)

#endif
