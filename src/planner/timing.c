/* SPDX-License-Identifier: Apache-2.0
 *
 * The timing cache: what kernels took on this machine, by kernel and signature, between builds. In and out: a text file whose first line
 * says what the times are for; a file for other kernels, another machine or another number of threads, or a damaged one, is ignored with
 * a warning and replaced. */
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

static TnStatus put(Pn *pn, uint64_t key, double ns, TnError *err) {
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
    uint32_t h = (uint32_t)key & (c->cap - 1);
    while (c->t[h].key && c->t[h].key != key)
        h = (h + 1) & (c->cap - 1);
    c->n += c->t[h].key == 0;
    c->t[h] = (Entry){key, ns};
    return TN_OK;
}

/* "KEY NS" in hexadecimal and decimal; false: not a line of ours. */
static bool parse_line(const char *s, size_t n, uint64_t *key, double *ns) {
    char line[80], *end;
    if (n >= sizeof line)
        return false;
    memcpy(line, s, n);
    line[n] = 0;
    *key = strtoull(line, &end, 16);
    if (end != line + 16 || *end != ' ' || !(*key & 1))
        return false;
    *ns = strtod(end + 1, &end);
    return *end == 0 && *ns > 0 && *ns < 1e15;
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
        uint64_t key;
        double ns;
        if (!nl || !parse_line(s, (size_t)(nl - s), &key, &ns)) {
            tni_log(pn->o->log, TN_LOG_WARNING, "timing cache '%s' is damaged at byte %zu; the rest is ignored", pn->o->timing_cache,
                    (size_t)(s - (const char *)map->data));
            return TN_OK;
        }
        TN_TRY(put(pn, key, ns, err));
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

bool tni_planner_timing_find(const Pn *pn, const TnKernel *k, uint64_t signature, double *ns) {
    const PnTimings *c = pn->timings;
    uint64_t key = key_of(k, signature);
    for (uint32_t h = (uint32_t)key & (c->cap - 1); c->cap && c->t[h].key; h = (h + 1) & (c->cap - 1)) {
        if (c->t[h].key == key) {
            *ns = c->t[h].ns;
            return true;
        }
    }
    return false;
}

TnStatus tni_planner_timing_add(Pn *pn, const TnKernel *k, uint64_t signature, double ns, TnError *err) {
    pn->timings->changed = true;
    return put(pn, key_of(k, signature), TN_MAX(ns, 1.0), err);
}

static TnStatus write_entries(const PnTimings *c, TnFileWriter *w, TnError *err) {
    char line[80];
    TN_TRY(tni_file_write(w, c->head, strlen(c->head), err));
    for (uint32_t i = 0; i < c->cap; i++) {
        if (!c->t[i].key)
            continue;
        int n = snprintf(line, sizeof line, "%016" PRIx64 " %.0f\n", c->t[i].key, c->t[i].ns);
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
