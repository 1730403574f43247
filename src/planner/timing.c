/* SPDX-License-Identifier: Apache-2.0
 *
 * The timing cache: what kernels took on this machine, by kernel and signature, between builds. In and out: a text file whose first line
 * says what the times are for; a file for other kernels, another machine or another number of threads, or a damaged one, is ignored with
 * a warning and replaced. Lines: "KEY NS" (a time), "KEY NS ERROR v|x" (a kernel of a device that was verified, or rejected; its key holds the
 * device and its kernels), "KEY VALUE o" (a number seen on samples). */
#include "backend/registry.h"
#include "base/cpu.h"
#include "base/span.h"
#include "planner/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Entry {
    uint64_t key; /* 0: free */
    double ns;
    double error;
    char kind; /* 't' time, 'v' verified, 'x' rejected, 'o' observed */
} Entry;

struct PnTimings {
    Entry *t;
    uint32_t n, cap;
    bool changed;
    char head[256];
};

static uint64_t key_of(const TnKernel *k, uint64_t signature) {
    return tni_hash(k->name, strlen(k->name), signature) | 1;
}

static TnStatus put(Pn *pn, Entry e, TnError *err) {
    PnTimings *c = pn->timings;
    if (c->n * 2 >= c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 256;
        Entry *t;
        PN_ALLOC(pn, t, cap, err);
        for (uint32_t i = 0; i < c->cap; i++) {
            if (!c->t[i].key)
                continue;
            uint32_t h = (uint32_t)c->t[i].key & (cap - 1);
            while (t[h].key)
                h = (h + 1) & (cap - 1);
            t[h] = c->t[i];
        }
        c->t = t;
        c->cap = cap;
    }
    uint32_t h = (uint32_t)e.key & (c->cap - 1);
    while (c->t[h].key && c->t[h].key != e.key)
        h = (h + 1) & (c->cap - 1);
    c->n += c->t[h].key == 0;
    c->t[h] = e;
    return TN_OK;
}

/* Hexadecimal key, decimal numbers; false: not a line of ours. */
static bool parse_line(const char *s, size_t n, Entry *e) {
    char line[96], *end;
    if (n >= sizeof line)
        return false;
    memcpy(line, s, n);
    line[n] = 0;
    *e = (Entry){.key = strtoull(line, &end, 16), .kind = 't'};
    if (end != line + 16 || *end != ' ' || !(e->key & 1))
        return false;
    e->ns = strtod(end + 1, &end);
    if (strcmp(end, " o") == 0) {
        e->kind = 'o';
        return e->ns >= -1 && e->ns < 1e300;
    }
    if (*end == ' ') {
        e->error = strtod(end + 1, &end);
        if (end[0] != ' ' || (end[1] != 'v' && end[1] != 'x') || end[2] != 0)
            return false;
        e->kind = end[1];
        return e->ns >= -1 && e->ns < 1e15;
    }
    return *end == 0 && e->ns > 0 && e->ns < 1e15;
}

static TnStatus load(Pn *pn, const TnFileMap *map, TnError *err) {
    PnTimings *c = pn->timings;
    const char *s = (const char *)map->data, *end = s + map->n;
    size_t head = strlen(c->head);
    if (map->n < head || memcmp(s, c->head, head) != 0) {
        tni_log(pn->o->log, TN_LOG_WARNING,
                "timing cache '%s' is damaged or of another machine, build or number of threads; it is replaced", pn->o->timing_cache);
        return TN_OK;
    }
    for (s += head; s < end;) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        Entry e;
        if (!nl || !parse_line(s, (size_t)(nl - s), &e)) {
            tni_log(pn->o->log, TN_LOG_WARNING, "timing cache '%s' is damaged at byte %zu; the rest is ignored", pn->o->timing_cache,
                    (size_t)(s - (const char *)map->data));
            return TN_OK;
        }
        TN_TRY(put(pn, e, err));
        s = nl + 1;
    }
    return TN_OK;
}

TnStatus tni_planner_timings_open(Pn *pn, TnError *err) {
    TnFileMap map = {0};
    PN_ALLOC(pn, pn->timings, 1, err);
    snprintf(pn->timings->head, sizeof pn->timings->head, "tenon timings 1 kernels %016" PRIx64 " threads %" PRIu32 " cpu %.120s\n",
             tni_kernel_identity(), pn->n_threads, tni_cpu_name());
    if (!pn->o->tune || !pn->o->timing_cache || tni_file_map(pn->o->timing_cache, &map, NULL) != TN_OK)
        return TN_OK;
    TnStatus st = load(pn, &map, err);
    tni_file_unmap(&map);
    return st;
}

static const Entry *find(const Pn *pn, uint64_t key) {
    const PnTimings *c = pn->timings;
    for (uint32_t h = (uint32_t)key & (c->cap - 1); c->cap && c->t[h].key; h = (h + 1) & (c->cap - 1))
        if (c->t[h].key == key)
            return &c->t[h];
    return NULL;
}

static TnStatus add(Pn *pn, Entry e, TnError *err) {
    pn->timings->changed = true;
    return put(pn, e, err);
}

bool tni_planner_timing_find(const Pn *pn, const TnKernel *k, uint64_t signature, double *ns) {
    const Entry *e = find(pn, key_of(k, signature));
    if (!e || e->kind != 't')
        return false;
    *ns = e->ns;
    return true;
}

TnStatus tni_planner_timing_add(Pn *pn, const TnKernel *k, uint64_t signature, double ns, TnError *err) {
    return add(pn, (Entry){.key = key_of(k, signature), .ns = TN_MAX(ns, 1.0), .kind = 't'}, err);
}

bool tni_planner_outcome_find(const Pn *pn, const TnKernel *k, uint64_t signature, double *ns, double *error, bool *ok) {
    const Entry *e = find(pn, key_of(k, signature));
    if (!e || (e->kind != 'v' && e->kind != 'x'))
        return false;
    *ns = e->ns;
    *error = e->error;
    *ok = e->kind == 'v';
    return true;
}

TnStatus tni_planner_outcome_add(Pn *pn, const TnKernel *k, uint64_t signature, double ns, double error, bool ok, TnError *err) {
    const bool finite = error >= 0 && error < 1e9;
    return add(pn, (Entry){.key = key_of(k, signature), .ns = ns, .error = finite ? error : -1, .kind = ok ? 'v' : 'x'}, err);
}

bool tni_planner_number_find(const Pn *pn, uint64_t key, double *value) {
    const Entry *e = find(pn, key | 1);
    if (!e || e->kind != 'o')
        return false;
    *value = e->ns;
    return true;
}

TnStatus tni_planner_number_add(Pn *pn, uint64_t key, double value, TnError *err) {
    return add(pn, (Entry){.key = key | 1, .ns = value, .kind = 'o'}, err);
}

bool tni_planner_timings_empty(const Pn *pn) {
    return pn->timings->n == 0;
}

static TnStatus write_entries(const PnTimings *c, TnFileWriter *w, TnError *err) {
    char line[96];
    TN_TRY(tni_file_write(w, c->head, strlen(c->head), err));
    for (uint32_t i = 0; i < c->cap; i++) {
        if (!c->t[i].key)
            continue;
        const Entry *e = &c->t[i];
        int n;
        if (e->kind == 't')
            n = snprintf(line, sizeof line, "%016" PRIx64 " %.0f\n", e->key, e->ns);
        else if (e->kind == 'o')
            n = snprintf(line, sizeof line, "%016" PRIx64 " %.9g o\n", e->key, e->ns);
        else
            n = snprintf(line, sizeof line, "%016" PRIx64 " %.1f %.3g %c\n", e->key, e->ns, e->error, e->kind);
        TN_TRY(tni_file_write(w, line, (size_t)n, err));
    }
    return TN_OK;
}

/* A cache that cannot be written is no reason to fail a build. */
TnStatus tni_planner_timings_save(Pn *pn, TnError *err) {
    const PnTimings *c = pn->timings;
    TnFileWriter w = {.fd = -1};
    TnError why = {0};
    if (!pn->o->tune || !pn->o->timing_cache || !c->changed)
        return TN_OK;
    TnStatus st = tni_file_write_begin(&w, pn->alloc, pn->o->timing_cache, &why);
    if (st == TN_OK)
        st = write_entries(c, &w, &why);
    if (st == TN_OK)
        st = tni_file_write_commit(&w, &why);
    if (st != TN_OK)
        tni_file_write_abort(&w);
    if (st == TN_ERR_MEMORY) {
        if (err)
            *err = why;
        return st;
    }
    if (st != TN_OK)
        tni_log(pn->o->log, TN_LOG_WARNING, "the timing cache was not written: %s", why.message);
    return TN_OK;
}
