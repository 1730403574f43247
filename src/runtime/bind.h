/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of binding share: dims.c, step.c, bind.c. */
#ifndef TENON_RUNTIME_BIND_H
#define TENON_RUNTIME_BIND_H

#include "runtime/runtime.h"

/* ---- dims.c ---- */
const char *tni_rt_value_name(const TnContext *ctx, const RtFrame *f, uint32_t id);
/* Symbols from the dims of inputs, rank and type of which are compared; the rest is filled from presets. */
TnStatus tni_rt_bind_symbols(const TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known,
                             TnError *err);
/* Evaluates needed expressions of a kind (1: fixed at bind, 2: known while running) as far as their symbols are known. */
TnStatus tni_rt_evaluate(const TnContext *ctx, RtFrame *f, uint8_t kind, TnError *err);
/* dims of a value from the expressions; false: some dim is not known yet. Then its bytes. */
bool tni_rt_value_dims(RtFrame *f, uint32_t id);
TnStatus tni_rt_value_size(const TnContext *ctx, RtFrame *f, uint32_t id, TnError *err);
/* All values that are fixed at bind. */
TnStatus tni_rt_bind_dims(const TnContext *ctx, RtFrame *f, TnError *err);
/* Inputs against the evaluated dims of their declaration. */
TnStatus tni_rt_check_inputs(const TnContext *ctx, const RtFrame *f, const TnTensor *inputs, TnError *err);

/* ---- step.c ---- */
/* Memory, contract, kernel. */
TnStatus tni_rt_bind_step(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err);
TnStatus tni_rt_check_kernel(const TnContext *ctx, RtFrame *f, uint32_t s, TnError *err);
/* Of the kernel of a bound step: estimated nanoseconds. */
double tni_rt_step_ns(const TnContext *ctx, RtFrame *f, uint32_t s);
/* Puts the node's name before the message of a failure; returns st. */
TnStatus tni_rt_name_step(const TnContext *ctx, const RtFrame *f, uint32_t s, TnStatus st, TnError *err);

#endif
