/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan that may be the work of an enemy is opened, bound and run on inputs of its own declaration; whatever happens must be a status.
 * Memory is capped, so that a plan which asks for much is told so by the allocator. Shared by tests and fuzzing. */
#ifndef TENON_TESTS_HOSTILE_H
#define TENON_TESTS_HOSTILE_H

#include <stdlib.h>

#include "runtime/runtime.h"

typedef struct HostileBudget {
    size_t used;
} HostileBudget;

static inline void *hostile_alloc(void *ctx, size_t size, size_t align) {
    HostileBudget *b = ctx;
    void *p = NULL;
    if (size > (size_t)64 << 20 || b->used + size > (size_t)256 << 20)
        return NULL;
    b->used += size;
    return posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size ? size : 1) == 0 ? p : NULL;
}

static inline void hostile_free(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

/* Inputs as declared, symbols at a small number; false when one would be too large. */
static inline bool hostile_inputs(TnContext *ctx, const TnAllocator *a, TnTensor *in, int64_t size) {
    const TnPlan *plan = ctx->plan;
    const RtProgram *r = &plan->programs[0];
    for (uint32_t i = 0; i < r->g->n_inputs; i++) {
        const PlanValue *v = &r->values[r->inputs[i]];
        size_t bytes;
        in[i] = (TnTensor){.dtype = (TnDtype)v->dtype, .rank = v->rank};
        for (int32_t d = 0; d < v->rank; d++) {
            const TnDimExpr *e = &plan->p.exprs[v->dims[d]];
            in[i].dims[d] = e->op == TN_DIM_CONST ? e->value : size;
        }
        if (!tni_shape_bytes(in[i].dtype, in[i].rank, in[i].dims, NULL, &bytes) || bytes > 1u << 22)
            return false;
        in[i].data = tni_alloc_aligned(a, bytes, 64);
        if (!in[i].data)
            return false;
        memset(in[i].data, 0, bytes);
        for (size_t k = 0; k < bytes && in[i].dtype == TN_F32; k += 4)
            *(float *)(void *)((uint8_t *)in[i].data + k) = (float)(k % 7) - 3;
        for (size_t k = 0; k < bytes && (in[i].dtype == TN_I64 || in[i].dtype == TN_BOOL); k += 8)
            ((uint8_t *)in[i].data)[k] = in[i].rank == 0 ? 2 : k % 3 != 0;
    }
    return true;
}

/* Returns how far it got: 0 refused at open, 1 opened, 2 ran. */
static inline int hostile_run(const uint8_t *bytes, size_t n) {
    HostileBudget budget = {0};
    TnAllocator a = {hostile_alloc, hostile_free, &budget};
    TnPlanOptions o = {.size = sizeof o, .allocator = &a};
    TnPlan *plan = NULL;
    TnContext *ctx = NULL;
    TnError err = {0};
    int far = 0;
    if (tni_rt_open((TnSpan){bytes, n, 0}, (TnFileMap){0}, &o, &plan, &err) != TN_OK)
        return 0;
    far = 1;
    uint32_t n_in = plan->programs[0].g->n_inputs;
    TnTensor *in = calloc(n_in + 1, sizeof *in);
    if (in && n_in < 100 && tni_rt_context_create(plan, 1, &a, &ctx, &err) == TN_OK && hostile_inputs(ctx, &a, in, 3)) {
        memcpy(ctx->inputs, in, n_in * sizeof *in);
        ctx->loop_limit = 100;
        if (tni_rt_run(ctx, &err) == TN_OK)
            far = 2;
        if (plan->gen) {
            TnGenerated r[8];
            TnGenerateOptions g = {.size = sizeof g, .max_length = 4, .num_beams = 2, .length_penalty = 1, .early_stopping = 0};
            if (n_in > 0 && in[0].rank > 0 && in[0].dims[0] <= 8 &&
                tni_rt_generate(ctx, in, n_in, &g, r, (uint32_t)in[0].dims[0], &err) == TN_OK)
                far = 2;
        }
    }
    for (uint32_t i = 0; in && i < n_in; i++)
        tni_free(&a, in[i].data);
    free(in);
    tni_rt_context_destroy(&ctx);
    tni_rt_close(&plan);
    return far;
}

#endif
