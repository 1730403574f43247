/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for tensors whose size is known only while running. Blocks are never returned before the context dies, so that a second run of the
 * same kind allocates nothing. */
#include "runtime/runtime.h"

TnStatus tni_rt_pool_take(TnContext *ctx, uint32_t memory, size_t bytes, uint32_t *block, TnError *err) {
    uint32_t best = PLAN_NONE, worst = PLAN_NONE;
    for (uint32_t i = 0; i < ctx->n_pool; i++) {
        RtBlock *b = &ctx->pool[i];
        if (b->used || b->memory != memory)
            continue;
        if (b->cap >= bytes && (best == PLAN_NONE || b->cap < ctx->pool[best].cap))
            best = i;
        if (b->cap < bytes && (worst == PLAN_NONE || b->cap > ctx->pool[worst].cap))
            worst = i;
    }
    if (best == PLAN_NONE) {
        /* No block is large enough: the largest free one grows, so that their number stays that of tensors live at once. */
        size_t cap;
        if (!tni_add_size(bytes, bytes / 4 + 256, &cap))
            return TN_OOM(err, bytes);
        if (worst == PLAN_NONE) {
            if (!TN_RESERVE_ONE(ctx->mem, ctx->pool, ctx->n_pool, ctx->cap_pool))
                return TN_OOM(err, sizeof(RtBlock));
            worst = ctx->n_pool++;
            ctx->pool[worst] = (RtBlock){NULL, 0, false, (uint8_t)memory};
        }
        RtBlock *b = &ctx->pool[worst];
        RtBuffer buf = {b->p, b->cap};
        TnStatus st = tni_rt_grow_in(ctx, memory, &buf, cap, false, "a tensor whose size is known only while running", err);
        b->p = buf.p;
        b->cap = buf.cap;
        TN_TRY(st);
        best = worst;
    }
    ctx->pool[best].used = true;
    *block = best;
    return TN_OK;
}

void tni_rt_pool_give(TnContext *ctx, uint32_t *block) {
    if (*block != PLAN_NONE)
        ctx->pool[*block].used = false;
    *block = PLAN_NONE;
}
