/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of steps as tables and traces; a part of `tenon bench`. */
#ifndef TENON_CLI_PROFILE_H
#define TENON_CLI_PROFILE_H

#include <jansson.h>

#include "cli/cli.h"

/* Profiles the program on the inputs that are set in ctx. out: an array that gets an object a step, NULL: a table on stdout. trace (may be NULL):
 * a file for chrome://tracing and Perfetto. */
TnStatus cli_profile(TnPlan *plan, TnContext *ctx, json_t *out, const char *trace, TnError *err);

/* The same for a generator: `run` generates once; the hook adds up the times of all steps. */
TnStatus cli_profile_generator(TnContext *ctx, TnStatus (*run)(void *run_ctx, TnError *err), void *run_ctx, json_t *out, TnError *err);

#endif
