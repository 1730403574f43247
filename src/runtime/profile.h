/* SPDX-License-Identifier: Apache-2.0
 *
 * What run.c and profile.c share. */
#ifndef TENON_RUNTIME_PROFILE_H
#define TENON_RUNTIME_PROFILE_H

#include "kernel/device.h"
#include "runtime/runtime.h"

typedef struct RtProfile {
    uint32_t n, runs, run; /* steps; runs, and which one it is */
    uint64_t began;        /* on the host's clock */
    uint64_t *start, *ns;  /* [n]; [n][runs] */
    TnMark *first, **mark; /* [2 * n]: before and after steps of the device */
    void *busy;            /* device memory to be filled */
} RtProfile;

/* Around step s of program 0 while ctx->profile is set. */
TnStatus tni_rt_profile_begin(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err);
TnStatus tni_rt_profile_end(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err);

#endif
