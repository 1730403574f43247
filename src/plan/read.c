/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading plans, first half: header, hashes, section table. In: untrusted bytes. Out: typed views into them; verify.c then checks the
 * records. Nothing here follows a number before it has been compared with the bytes there are. */
#include "base/cpu.h"
#include "plan/plan.h"

#include "backend/registry.h"

_Static_assert(sizeof(PlanHeader) == 128, "the header is 128 bytes");
_Static_assert(sizeof(PlanSection) == 24, "no hidden padding");
_Static_assert(sizeof(PlanValue) == 88, "no hidden padding");
_Static_assert(sizeof(PlanStep) == 56, "no hidden padding");
_Static_assert(sizeof(PlanProgram) == 72, "no hidden padding");
_Static_assert(sizeof(PlanCode) == 24, "no hidden padding");
_Static_assert(sizeof(PlanState) == 48, "no hidden padding");
_Static_assert(sizeof(PlanMeta) == 24, "no hidden padding");
_Static_assert(sizeof(TnDimExpr) == 24, "no hidden padding");
_Static_assert(sizeof(TnSymbol) == 96, "no hidden padding");

static bool zeros(const uint8_t *p, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static TnStatus read_header(TnSpan b, PlanHeader *h, TnError *err) {
    if (b.n < sizeof *h)
        return TN_RAISE(err, TN_ERR_PLAN, "not a plan: %zu bytes, a header alone has %zu", b.n, sizeof *h);
    memcpy(h, b.p, sizeof *h);
    if (memcmp(h->magic, PLAN_MAGIC, sizeof h->magic) != 0)
        return TN_RAISE(err, TN_ERR_PLAN, "not a plan: it does not start with '%s'", PLAN_MAGIC);
    if (h->version != PLAN_VERSION)
        return TN_RAISE(err, TN_ERR_VERSION, "plan format version %u; this library reads version %u; build the plan again with it",
                        h->version, PLAN_VERSION);
    if (h->file_bytes != b.n)
        return TN_RAISE(err, TN_ERR_PLAN, "the plan has %zu bytes, its header says %llu: it was cut off or written over", b.n,
                        (unsigned long long)h->file_bytes);
    if (h->n_sections == 0 || h->n_sections >= PLAN_SEC_COUNT)
        return TN_RAISE(err, TN_ERR_PLAN, "the header says %u sections; 1 to %d are possible", h->n_sections, PLAN_SEC_COUNT - 1);
    if (b.n < sizeof *h + h->n_sections * sizeof(PlanSection))
        return TN_RAISE(err, TN_ERR_PLAN, "the table of %u sections does not fit into %zu bytes", h->n_sections, b.n);
    if (h->device > TN_DEVICE_CUDA)
        return TN_RAISE(err, TN_ERR_INCOMPATIBLE, "the plan is for device kind %u; this library knows the CPU (%d) and CUDA (%d)", h->device,
                        TN_DEVICE_CPU, TN_DEVICE_CUDA);
    return TN_OK;
}

/* Sections in ascending kind and offset, aligned, gaps smaller than the alignment, nothing after the last. */
static TnStatus read_table(TnSpan b, const PlanHeader *h, PlanSection *table, TnError *err) {
    uint64_t end = sizeof *h + h->n_sections * sizeof(PlanSection);
    uint32_t last_kind = 0;
    memcpy(table, b.p + sizeof *h, h->n_sections * sizeof *table);
    for (uint32_t i = 0; i < h->n_sections; i++) {
        const PlanSection *s = &table[i];
        const char *name = tni_plan_section_name(s->kind);
        if (s->kind <= last_kind || s->kind >= PLAN_SEC_COUNT)
            return TN_RAISE(err, TN_ERR_PLAN, "section %u has kind %u: unknown, twice, or out of order", i, s->kind);
        uint64_t align = s->kind == PLAN_SEC_WEIGHTS ? PLAN_WEIGHTS_ALIGN : PLAN_ALIGN;
        if (s->offset < end || s->offset - end >= align || s->offset % align)
            return TN_RAISE(err, TN_ERR_PLAN, "section %s is at byte %llu; expected the next multiple of %llu after %llu", name,
                            (unsigned long long)s->offset, (unsigned long long)align, (unsigned long long)end);
        if (s->offset > b.n || s->bytes > b.n - s->offset)
            return TN_RAISE(err, TN_ERR_PLAN, "section %s (%llu bytes at %llu) leaves the file of %zu bytes", name,
                            (unsigned long long)s->bytes, (unsigned long long)s->offset, b.n);
        if (s->kind != PLAN_SEC_WEIGHTS && s->bytes != (uint64_t)s->count * tni_plan_record_bytes(s->kind))
            return TN_RAISE(err, TN_ERR_PLAN, "section %s has %llu bytes for %u records of %u", name, (unsigned long long)s->bytes,
                            s->count, tni_plan_record_bytes(s->kind));
        end = s->offset + s->bytes;
        last_kind = s->kind;
    }
    if (end != b.n)
        return TN_RAISE(err, TN_ERR_PLAN, "%llu bytes after the last section", (unsigned long long)(b.n - end));
    return TN_OK;
}

static TnStatus check_hashes(TnSpan b, const PlanHeader *h, const PlanSection *table, bool verify_weights, TnError *err) {
    const PlanSection *last = &table[h->n_sections - 1];
    bool weights = last->kind == PLAN_SEC_WEIGHTS;
    uint64_t head = weights ? last->offset : b.n;
    if (tni_plan_head_hash(b.p, head) != h->head_hash)
        return TN_RAISE(err, TN_ERR_PLAN, "the plan is damaged: its first %llu bytes do not match their hash; build it again",
                        (unsigned long long)head);
    uint64_t end = sizeof *h + h->n_sections * sizeof(PlanSection);
    for (uint32_t i = 0; i < h->n_sections; i++) {
        if (!zeros(b.p + end, table[i].offset - end))
            return TN_RAISE(err, TN_ERR_PLAN, "the gap before section %s is not zero", tni_plan_section_name(table[i].kind));
        end = table[i].offset + table[i].bytes;
    }
    if (!weights && h->weights_hash != 0)
        return TN_RAISE(err, TN_ERR_PLAN, "the header has a hash of weights, but there are none");
    if (weights && verify_weights && tni_plan_weights_hash(b.p + last->offset, last->bytes) != h->weights_hash)
        return TN_RAISE(err, TN_ERR_PLAN, "the plan is damaged: its weights do not match their hash; build it again");
    return TN_OK;
}

/* Where a section's address, count and bytes go; 0 (the header's place) = nowhere. */
static const struct {
    size_t at, count, bytes;
} views[PLAN_SEC_COUNT] = {
    [PLAN_SEC_STRINGS] = {offsetof(Plan, strings), 0, offsetof(Plan, strings_bytes)},
    [PLAN_SEC_EXPRS] = {offsetof(Plan, exprs), offsetof(Plan, n_exprs), 0},
    [PLAN_SEC_SYMBOLS] = {offsetof(Plan, symbols), offsetof(Plan, n_symbols), 0},
    [PLAN_SEC_PROGRAMS] = {offsetof(Plan, programs), offsetof(Plan, n_programs), 0},
    [PLAN_SEC_VALUES] = {offsetof(Plan, values), offsetof(Plan, n_values), 0},
    [PLAN_SEC_STEPS] = {offsetof(Plan, steps), offsetof(Plan, n_steps), 0},
    [PLAN_SEC_OPERANDS] = {offsetof(Plan, operands), offsetof(Plan, n_operands), 0},
    [PLAN_SEC_PARAMS] = {offsetof(Plan, params), 0, offsetof(Plan, params_bytes)},
    [PLAN_SEC_STATES] = {offsetof(Plan, states), offsetof(Plan, n_states), 0},
    [PLAN_SEC_META] = {offsetof(Plan, meta), offsetof(Plan, n_meta), 0},
    [PLAN_SEC_BLOBS] = {offsetof(Plan, blobs), 0, offsetof(Plan, blobs_bytes)},
    [PLAN_SEC_BUCKETS] = {offsetof(Plan, buckets), offsetof(Plan, n_bucket_sizes), 0},
    [PLAN_SEC_KERNELS] = {offsetof(Plan, kernels), offsetof(Plan, n_kernels), 0},
    [PLAN_SEC_EXPLAIN] = {offsetof(Plan, explain), 0, offsetof(Plan, explain_bytes)},
    [PLAN_SEC_WEIGHTS] = {offsetof(Plan, weights), 0, offsetof(Plan, weights_bytes)},
};

static void set_views(TnSpan b, const PlanHeader *h, const PlanSection *table, Plan *p) {
    memset(p, 0, sizeof *p);
    p->header = (const PlanHeader *)(const void *)b.p;
    for (uint32_t i = 0; i < h->n_sections; i++) {
        const PlanSection *s = &table[i];
        const void *at = b.p + s->offset;
        char *base = (char *)p;
        memcpy(base + views[s->kind].at, &at, sizeof at);
        if (views[s->kind].count)
            memcpy(base + views[s->kind].count, &s->count, sizeof s->count);
        if (views[s->kind].bytes)
            memcpy(base + views[s->kind].bytes, &s->bytes, sizeof s->bytes);
    }
    p->n_buckets = p->n_symbols ? p->n_bucket_sizes / p->n_symbols : 0;
}

TnStatus tni_plan_read(TnSpan bytes, bool verify_weights, const TnAllocator *a, Plan *out, TnError *err) {
    PlanHeader h;
    PlanSection table[PLAN_SEC_COUNT];
    if ((uintptr_t)bytes.p % 8)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "a plan in memory must be aligned to 8 bytes");
    TN_TRY(read_header(bytes, &h, err));
    TN_TRY(read_table(bytes, &h, table, err));
    TN_TRY(check_hashes(bytes, &h, table, verify_weights, err));
    uint32_t missing = h.cpu_flags & ~tni_cpu_flags();
    if (missing)
        return TN_RAISE(err, TN_ERR_INCOMPATIBLE, "the plan was built for %s; this machine has %s; build it again here",
                        tni_cpu_level_name(h.cpu_flags), tni_cpu_level_name(tni_cpu_flags()));
    set_views(bytes, &h, table, out);
    TN_TRY(tni_plan_verify(out, a, err));
    if (h.kernel_identity != tni_kernel_identity())
        return TN_RAISE(err, TN_ERR_INCOMPATIBLE,
                        "the plan was built by Tenon %.31s with other kernels than this library (%s) has; build it again with this one",
                        h.build, TENON_VERSION);
    return TN_OK;
}

const uint8_t *tni_plan_meta(const Plan *p, const char *key, uint64_t *bytes) {
    for (uint32_t i = 0; i < p->n_meta; i++) {
        if (strcmp(p->strings + p->meta[i].key, key) == 0) {
            if (bytes)
                *bytes = p->meta[i].bytes;
            return p->blobs ? p->blobs + p->meta[i].offset : (const uint8_t *)p->strings;
        }
    }
    return NULL;
}

uint32_t tni_plan_bucket(const Plan *p, const int64_t *symbols, const uint8_t *known) {
    uint32_t best = 0;
    bool best_covers = false;
    double best_size = 0;
    for (uint32_t b = 0; b < p->n_buckets; b++) {
        bool covers = true;
        double size = 1;
        for (uint32_t s = 0; s < p->n_symbols; s++) {
            const int64_t most = p->buckets[(size_t)b * p->n_symbols + s];
            if (most == 0 || !known[s])
                continue;
            covers &= symbols[s] <= most;
            size *= (double)most;
        }
        if (b == 0 || (covers && !best_covers) || (covers == best_covers && (covers ? size < best_size : size > best_size))) {
            best = b;
            best_covers = covers;
            best_size = size;
        }
    }
    return best;
}
