/* SPDX-License-Identifier: Apache-2.0
 *
 * Device memory for cases: one pool with guard bytes between the pieces, brought over in one copy each way; or an allocation a piece. */
#include <stdlib.h>

#include "cuda/checkcuda.h"

#define GUARD 256
#define GUARD_BYTE 0xC5
#define POOL_BYTES ((size_t)512 << 20)

/* Operands get addresses that nobody may follow. */
static TnStatus open_dry(Gpu *g, TnError *err) {
    static const TnDeviceInfo h200 = {.name = "NVIDIA H200 (not there)",
                                      .arch = 90,
                                      .sm_count = 132,
                                      .driver = 13000,
                                      .runtime = 13000,
                                      .shared_bytes = 232448,
                                      .has_blaslt = 1,
                                      .has_compiler = 1,
                                      .memory_bytes = (uint64_t)141 << 30,
                                      .l2_bytes = (uint64_t)60 << 20,
                                      .bytes_per_second = 4.8e12,
                                      .half_flops = 989e12,
                                      .tf32_flops = 494e12,
                                      .float_flops = 67e12};
    g->dry = true;
    g->info = h200;
    g->pool_bytes = POOL_BYTES;
    g->pool = (unsigned char *)(uintptr_t)0x10000000;
    g->mirror = malloc(POOL_BYTES);
    return g->mirror == NULL ? TN_OOM(err, POOL_BYTES) : TN_OK;
}

TnStatus gpu_open(Gpu *g, const Options *o, TnError *err) {
    void *p = NULL;
    memset(g, 0, sizeof *g);
    TN_TRY(tni_device_library(TN_DEVICE_CUDA, &g->lib, err));
    if (o->dry)
        return open_dry(g, err);
    TN_TRY(g->lib->open(o->device, &g->dev, err));
    g->lib->info(g->dev, &g->info);
    TN_TRY(g->lib->stream_create(g->dev, &g->stream, err));
    g->separate = o->separate;
    g->pool_bytes = POOL_BYTES;
    TN_TRY(g->lib->alloc_host(g->dev, g->pool_bytes, &p, err));
    g->mirror = p;
    TN_TRY(g->lib->alloc(g->dev, g->pool_bytes, &p, err));
    g->pool = p;
    return TN_OK;
}

void gpu_close(Gpu *g) {
    if (g->dry)
        free(g->mirror);
    if (g->dev == NULL)
        return;
    g->lib->free(g->dev, g->pool);
    g->lib->free(g->dev, g->scratch);
    g->lib->free_host(g->dev, g->mirror);
    g->lib->stream_destroy(&g->stream);
    g->lib->close(&g->dev);
}

void gpu_reset(Gpu *g) {
    g->used = 0;
}

TnStatus gpu_piece(Gpu *g, Placement place, size_t bytes, size_t element, Piece *out, TnError *err) {
    size_t from = g->used, room = tni_align_up(bytes + element, GUARD) + 2 * GUARD, shift = 0;
    memset(out, 0, sizeof *out);
    if (room > g->pool_bytes - g->used)
        return TN_RAISE(err, TN_ERR_MEMORY, "the case needs more than %zu bytes of device memory", g->pool_bytes);
    if (place == PLACE_SHIFTED)
        shift = element;
    if (place == PLACE_GUARDED) /* ends at a multiple of 256 */
        shift = tni_align_up(bytes, GUARD) - bytes;
    g->used += room;
    out->bytes = bytes;
    out->offset = from + GUARD + shift;
    out->host = g->mirror + out->offset;
    out->device = g->pool + out->offset;
    memset(g->mirror + from, GUARD_BYTE, room);
    if (!g->separate)
        return TN_OK;
    if (place == PLACE_GUARDED) /* an allocation's end is guarded anyway: its start must keep the element's alignment only */
        shift = bytes % 16 == 0 ? 0 : 16 - bytes % 16;
    TN_TRY(g->lib->alloc(g->dev, bytes + shift, &out->own, err));
    out->device = (unsigned char *)out->own + shift;
    return TN_OK;
}

TnStatus gpu_scratch(Gpu *g, size_t bytes, int byte, bool poison, void **out, TnError *err) {
    *out = NULL;
    if (bytes == 0)
        return TN_OK;
    if (bytes + GUARD > g->scratch_bytes || g->separate) {
        g->lib->free(g->dev, g->scratch);
        g->scratch = NULL;
        g->scratch_bytes = 0;
        TN_TRY(g->lib->alloc(g->dev, g->separate ? bytes : bytes + GUARD, &g->scratch, err));
        g->scratch_bytes = g->separate ? bytes : bytes + GUARD;
    }
    *out = g->scratch;
    if (poison)
        TN_TRY(g->lib->fill(g->stream, g->scratch, byte, bytes, err));
    return g->separate ? TN_OK : g->lib->fill(g->stream, (unsigned char *)g->scratch + bytes, GUARD_BYTE, GUARD, err);
}

TnStatus gpu_scratch_ok(Gpu *g, size_t bytes, bool *ok, TnError *err) {
    unsigned char guard[GUARD];
    *ok = true;
    if (bytes == 0 || g->separate)
        return TN_OK;
    TN_TRY(g->lib->to_host(g->stream, guard, (unsigned char *)g->scratch + bytes, GUARD, err));
    TN_TRY(g->lib->synchronize(g->stream, err));
    for (size_t i = 0; i < GUARD; i++)
        *ok = *ok && guard[i] == GUARD_BYTE;
    return TN_OK;
}

TnStatus gpu_upload(Gpu *g, Piece *const *pieces, uint32_t n, TnError *err) {
    if (!g->separate)
        return g->lib->to_device(g->stream, g->pool, g->mirror, g->used, err);
    for (uint32_t i = 0; i < n; i++)
        if (pieces[i]->host != NULL)
            TN_TRY(g->lib->to_device(g->stream, pieces[i]->device, pieces[i]->host, pieces[i]->bytes, err));
    return TN_OK;
}

TnStatus gpu_download(Gpu *g, Piece *const *pieces, uint32_t n, TnError *err) {
    if (!g->separate)
        TN_TRY(g->lib->to_host(g->stream, g->mirror, g->pool, g->used, err));
    for (uint32_t i = 0; i < n; i++) {
        pieces[i]->host = g->mirror + pieces[i]->offset;
        if (g->separate)
            TN_TRY(g->lib->to_host(g->stream, pieces[i]->host, pieces[i]->device, pieces[i]->bytes, err));
    }
    TN_TRY(g->lib->synchronize(g->stream, err));
    for (uint32_t i = 0; i < n && g->separate; i++) {
        g->lib->free(g->dev, pieces[i]->own);
        pieces[i]->own = NULL;
    }
    return TN_OK;
}

/* All bytes of the pool that belong to no piece. */
bool gpu_guards_ok(const Gpu *g, Piece *const *pieces, uint32_t n) {
    size_t at = 0;
    if (g->separate)
        return true;
    for (uint32_t i = 0; i <= n; i++) { /* pieces stand in the order of their making */
        size_t end = i < n ? pieces[i]->offset : g->used;
        for (; at < end; at++)
            if (g->mirror[at] != GUARD_BYTE)
                return false;
        at = i < n ? pieces[i]->offset + pieces[i]->bytes : end;
    }
    return true;
}
