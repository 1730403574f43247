/* SPDX-License-Identifier: Apache-2.0
 *
 * What a plan needs of its device, once for all contexts: the device itself, its constants in device memory, and generated code as loaded
 * modules. In: a checked plan. Out: plan->device. Constants go from the mapped file through two pinned buffers, so that the disk, the copy on
 * the host and the copy to the device overlap. */
#include <stdlib.h>

#include "backend/device.h"
#include "runtime/device.h"

#define UPLOAD_CHUNK ((size_t)8 << 20)

/* Constants that steps of the device read, as one range of the weights section. */
typedef struct Range {
    uint64_t from, to; /* in the weights */
    uint64_t at;       /* in device memory */
} Range;

TnStatus tni_rt_device_open(TnPlan *plan, int32_t index, TnError *err) {
    const PlanHeader *h = plan->p.header;
    const TnDeviceLibrary *lib;
    RtDevice *d = tni_arena_calloc(plan->arena, 1, sizeof *d);
    uint32_t n = 0, at = index < 0 ? 0 : (uint32_t)index;
    if (!d)
        return TN_OOM(err, sizeof *d);
    TnStatus st = tni_device_library((TnDeviceKind)h->device, &lib, err);
    if (st != TN_OK) {
        tni_error_prefix(err, st, "the plan runs on %s", tni_plan_device_name(h->device));
        return st;
    }
    TN_TRY(lib->count(&n, err));
    if (at >= n)
        return TN_RAISE(err, TN_ERR_DEVICE, "there is no device %s:%u; this machine has %u", lib->name, at, n);
    d->lib = lib;
    TN_TRY(lib->open(at, &d->dev, err));
    plan->device = d; /* closed with the plan from now on */
    lib->info(d->dev, &d->info);
    return tni_plan_verify_device(&plan->p, lib, &d->info, err);
}

/* ---- constants ---- */

static int by_offset(const void *a, const void *b) {
    const Range *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* Ranges of the weights that lie in the device's memory: sorted, apart, each at a multiple of RT_DEVICE_ALIGN there. */
static uint32_t find_ranges(const Plan *p, Range *r, size_t *total) {
    uint32_t n = 0, kept = 0;
    for (uint32_t i = 0; i < p->n_values; i++)
        if (p->values[i].place == PLAN_AT_WEIGHT && p->values[i].device && p->values[i].bytes)
            r[n++] = (Range){p->values[i].offset, p->values[i].offset + p->values[i].bytes, 0};
    if (n > 1)
        qsort(r, n, sizeof *r, by_offset);
    for (uint32_t i = 0; i < n; i++) {
        if (kept > 0 && r[i].from <= r[kept - 1].to + RT_DEVICE_ALIGN)
            r[kept - 1].to = TN_MAX(r[kept - 1].to, r[i].to);
        else
            r[kept++] = r[i];
    }
    *total = 0;
    for (uint32_t i = 0; i < kept; i++) {
        r[i].at = *total;
        *total += tni_align_up((size_t)(r[i].to - r[i].from), RT_DEVICE_ALIGN);
    }
    return kept;
}

/* Where the constants of the plan are, from the ranges that hold them. */
static void place_constants(const Plan *p, const Range *r, uint32_t n, uint64_t *at) {
    for (uint32_t i = 0; i < p->n_values; i++) {
        const PlanValue *v = &p->values[i];
        if (v->place != PLAN_AT_WEIGHT || !v->device || !v->bytes)
            continue;
        uint32_t lo = 0, hi = n;
        while (hi - lo > 1) {
            uint32_t mid = lo + (hi - lo) / 2;
            if (r[mid].from <= v->offset)
                lo = mid;
            else
                hi = mid;
        }
        at[i] = r[lo].at + (v->offset - r[lo].from);
    }
}

/* Two pinned buffers in turn: while the device reads one, the host fills the other. Without pinned memory the bytes go as they lie. */
static TnStatus upload(const RtDevice *d, const uint8_t *weights, const Range *r, uint32_t n, TnStream *s, TnError *err) {
    const TnDeviceLibrary *lib = d->lib;
    void *pinned[2] = {NULL, NULL};
    TnMark *mark[2] = {NULL, NULL};
    bool used[2] = {false, false};
    uint32_t turn = 0;
    TnStatus st = TN_OK;
    bool staged = true;
    for (uint32_t k = 0; k < 2; k++)
        staged = staged && lib->alloc_host(d->dev, UPLOAD_CHUNK, &pinned[k], NULL) == TN_OK &&
                 lib->mark_create(d->dev, false, &mark[k], NULL) == TN_OK;
    for (uint32_t i = 0; i < n && st == TN_OK; i++) {
        for (uint64_t from = r[i].from; from < r[i].to && st == TN_OK;) {
            size_t bytes = (size_t)TN_MIN(r[i].to - from, (uint64_t)UPLOAD_CHUNK);
            uint8_t *to = (uint8_t *)d->weights + r[i].at + (from - r[i].from);
            bool done = !staged || !used[turn];
            while (st == TN_OK && !done)
                st = lib->mark_done(mark[turn], &done, err);
            if (st != TN_OK)
                break;
            if (staged)
                memcpy(pinned[turn], weights + from, bytes);
            st = lib->to_device(s, to, staged ? pinned[turn] : weights + from, bytes, err);
            if (st == TN_OK && staged)
                st = lib->mark_set(mark[turn], s, err);
            used[turn] = true;
            turn ^= 1;
            from += bytes;
        }
    }
    TnStatus waited = lib->synchronize(s, st == TN_OK ? err : NULL);
    for (uint32_t k = 0; k < 2; k++) {
        if (mark[k])
            lib->mark_destroy(&mark[k]);
        if (pinned[k])
            lib->free_host(d->dev, pinned[k]);
    }
    return st != TN_OK ? st : waited;
}

static TnStatus load_constants(TnPlan *plan, TnStream *s, TnError *err) {
    RtDevice *d = plan->device;
    const Plan *p = &plan->p;
    size_t total;
    d->weight_at = tni_arena_calloc(plan->arena, (size_t)p->n_values + 1, sizeof *d->weight_at);
    Range *r = tni_calloc(plan->alloc, (size_t)p->n_values + 1, sizeof *r);
    if (!d->weight_at || !r) {
        tni_free(plan->alloc, r);
        return TN_OOM(err, ((size_t)p->n_values + 1) * sizeof *r);
    }
    uint32_t n = find_ranges(p, r, &total);
    d->weights_bytes = TN_MAX(total, (size_t)RT_DEVICE_ALIGN);
    TnStatus st = d->lib->alloc(d->dev, d->weights_bytes, &d->weights, err);
    if (st != TN_OK) {
        d->weights = NULL;
        tni_error_prefix(err, st, "the constants of the plan (%zu bytes) do not fit into the memory of %s", d->weights_bytes, d->info.name);
    } else {
        place_constants(p, r, n, d->weight_at);
        st = upload(d, p->weights, r, n, s, err);
    }
    tni_free(plan->alloc, r);
    return st;
}

/* ---- generated code ---- */

/* A binary runs on its own architecture, and on later ones of the same generation. */
static bool binary_fits(const PlanCode *c, uint32_t arch) {
    return c->binary_bytes > 0 && c->arch / 10 == arch / 10 && c->arch <= arch;
}

static TnStatus load_module(const TnPlan *plan, const PlanValue *v, TnModule **out, TnError *err) {
    const RtDevice *d = plan->device;
    const uint8_t *bytes = plan->p.weights + v->offset;
    void *binary = NULL;
    size_t n = 0;
    PlanCode c;
    memcpy(&c, bytes, sizeof c);
    if (binary_fits(&c, d->info.arch))
        return d->lib->module_load(d->dev, bytes + sizeof c, (size_t)c.binary_bytes, out, err);
    if (c.source_bytes == 0 || !d->info.has_compiler)
        return TN_RAISE(err, TN_ERR_INCOMPATIBLE,
                        "its generated code is for compute capability %u.%u, this device (%s) has %u.%u, and %s; build the plan again here",
                        c.arch / 10, c.arch % 10, d->info.name, d->info.arch / 10, d->info.arch % 10,
                        c.source_bytes ? "there is no compiler (NVRTC) to make it anew" : "the plan has no source to make it anew");
    TN_TRY(d->lib->compile((const char *)bytes + sizeof c + c.binary_bytes, d->info.arch, plan->alloc, &binary, &n, err));
    TnStatus st = d->lib->module_load(d->dev, binary, n, out, err);
    tni_free(plan->alloc, binary);
    return st;
}

/* Modules of all steps; equal code is loaded once. */
static TnStatus load_modules(TnPlan *plan, TnError *err) {
    RtDevice *d = plan->device;
    const Plan *p = &plan->p;
    d->modules = tni_arena_calloc(plan->arena, (size_t)p->n_steps + 1, sizeof(TnModule *));
    uint64_t *from = tni_calloc(plan->alloc, (size_t)p->n_steps + 1, sizeof *from); /* of modules[i], in the weights */
    uint32_t n = 0;
    TnStatus st = d->modules && from ? TN_OK : TN_OOM(err, ((size_t)p->n_steps + 1) * sizeof *from);
    for (uint32_t i = 0; i < p->n_programs && st == TN_OK; i++) {
        const RtProgram *r = &plan->programs[i];
        for (uint32_t s = 0; s < r->g->n_steps && st == TN_OK; s++) {
            if (r->steps[s].code == PLAN_NONE)
                continue;
            const PlanValue *v = &r->values[r->steps[s].code];
            uint32_t k = 0;
            while (k < n && from[k] != v->offset)
                k++;
            if (k == n) {
                st = load_module(plan, v, &d->modules[n], err);
                from[n] = v->offset;
                if (st != TN_OK)
                    tni_error_prefix(err, st, "node '%s'", p->strings + r->steps[s].name);
                n += st == TN_OK;
            }
            plan->steps[r->g->first_step + s].code = st == TN_OK ? d->modules[k] : NULL;
        }
    }
    tni_free(plan->alloc, from);
    return st;
}

TnStatus tni_rt_device_load(TnPlan *plan, TnError *err) {
    RtDevice *d = plan->device;
    TnStream *s = NULL;
    TN_TRY(d->lib->stream_create(d->dev, &s, err));
    TnStatus st = load_constants(plan, s, err);
    if (st == TN_OK)
        st = load_modules(plan, err);
    d->lib->stream_destroy(&s);
    return st;
}

void tni_rt_device_close(TnPlan *plan) {
    RtDevice *d = plan->device;
    for (uint32_t i = 0; d->modules && i < plan->p.n_steps; i++)
        if (d->modules[i])
            d->lib->module_free(&d->modules[i]);
    if (d->weights)
        d->lib->free(d->dev, d->weights);
    d->lib->close(&d->dev);
    plan->device = NULL;
}
