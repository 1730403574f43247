/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing plans: sections grow in an arena; weights are produced one by one while the image is written, so that a large model is never
 * twice in memory. In: records. Out: a file (atomically) or an image in memory, sealed with both hashes. */
#include "plan/plan.h"

#include <errno.h>
#include <unistd.h>

typedef struct Bytes {
    uint8_t *p;
    size_t n, cap;
    uint32_t count;
} Bytes;

typedef struct Weight {
    uint64_t offset, bytes;
    TnStatus (*fill)(void *ctx, void *dst, TnError *err);
    void *ctx;
} Weight;

struct PlanWriter {
    TnArena *arena;
    Bytes sec[PLAN_SEC_COUNT];
    Weight *weights;
    uint32_t n_weights, cap_weights;
    uint64_t weights_bytes;
    uint32_t *strings; /* open addressing: offset + 1, 0 = free */
    uint32_t cap_strings, n_strings;
};

/* Where the image goes. */
typedef struct Sink {
    TnFileWriter *file; /* or */
    uint8_t *mem;
    size_t at;
} Sink;

static const struct {
    const char *name;
    uint32_t bytes;
} section_info[PLAN_SEC_COUNT] = {
    [PLAN_SEC_STRINGS] = {"strings", 1},
    [PLAN_SEC_EXPRS] = {"exprs", sizeof(TnDimExpr)},
    [PLAN_SEC_SYMBOLS] = {"symbols", sizeof(TnSymbol)},
    [PLAN_SEC_PROGRAMS] = {"programs", sizeof(PlanProgram)},
    [PLAN_SEC_VALUES] = {"values", sizeof(PlanValue)},
    [PLAN_SEC_STEPS] = {"steps", sizeof(PlanStep)},
    [PLAN_SEC_OPERANDS] = {"operands", sizeof(uint32_t)},
    [PLAN_SEC_PARAMS] = {"params", 1},
    [PLAN_SEC_STATES] = {"states", sizeof(PlanState)},
    [PLAN_SEC_META] = {"meta", sizeof(PlanMeta)},
    [PLAN_SEC_BLOBS] = {"blobs", 1},
    [PLAN_SEC_BUCKETS] = {"buckets", sizeof(int64_t)},
    [PLAN_SEC_KERNELS] = {"kernels", sizeof(uint32_t)},
    [PLAN_SEC_EXPLAIN] = {"explain", 1},
    [PLAN_SEC_WEIGHTS] = {"weights", 1},
};

uint32_t tni_plan_record_bytes(uint32_t kind) {
    return kind < PLAN_SEC_COUNT && section_info[kind].bytes ? section_info[kind].bytes : 1;
}

const char *tni_plan_section_name(uint32_t kind) {
    return kind < PLAN_SEC_COUNT && section_info[kind].name ? section_info[kind].name : "unknown";
}

TnStatus tni_plan_writer_create(TnArena *arena, PlanWriter **out, TnError *err) {
    PlanWriter *w = tni_arena_calloc(arena, 1, sizeof *w);
    if (!w)
        return TN_OOM(err, sizeof *w);
    w->arena = arena;
    uint32_t empty;
    TN_TRY(tni_plan_string(w, "", &empty, err));
    *out = w;
    return TN_OK;
}

TnArena *tni_plan_writer_arena(const PlanWriter *w) {
    return w->arena;
}

static TnStatus append_bytes(PlanWriter *w, Bytes *b, const void *data, size_t n, TnError *err) {
    size_t need;
    if (!tni_add_size(b->n, n, &need) || need > UINT32_MAX)
        return TN_RAISE(err, TN_ERR_LIMIT, "a section of the plan would be larger than 4 GiB");
    if (need > b->cap) {
        size_t cap = TN_MAX(b->cap * 2, TN_MAX(need, (size_t)1024));
        uint8_t *p = tni_arena_alloc_aligned(w->arena, cap, 64);
        if (!p)
            return TN_OOM(err, cap);
        if (b->n)
            memcpy(p, b->p, b->n);
        b->p = p;
        b->cap = cap;
    }
    if (n && data)
        memcpy(b->p + b->n, data, n);
    else if (n)
        memset(b->p + b->n, 0, n);
    b->n = need;
    return TN_OK;
}

static TnStatus grow_strings(PlanWriter *w, TnError *err) {
    uint32_t cap = w->cap_strings ? w->cap_strings * 2 : 1024;
    uint32_t *t = tni_arena_calloc(w->arena, cap, sizeof *t);
    if (!t)
        return TN_OOM(err, cap * sizeof *t);
    for (uint32_t i = 0; i < w->cap_strings; i++) {
        if (!w->strings[i])
            continue;
        const char *s = (const char *)w->sec[PLAN_SEC_STRINGS].p + w->strings[i] - 1;
        uint32_t h = (uint32_t)tni_hash(s, strlen(s), 0) & (cap - 1);
        while (t[h])
            h = (h + 1) & (cap - 1);
        t[h] = w->strings[i];
    }
    w->strings = t;
    w->cap_strings = cap;
    return TN_OK;
}

TnStatus tni_plan_string(PlanWriter *w, const char *s, uint32_t *out, TnError *err) {
    if (w->n_strings * 2 >= w->cap_strings)
        TN_TRY(grow_strings(w, err));
    Bytes *b = &w->sec[PLAN_SEC_STRINGS];
    size_t n = strlen(s);
    uint32_t h = (uint32_t)tni_hash(s, n, 0) & (w->cap_strings - 1);
    for (; w->strings[h]; h = (h + 1) & (w->cap_strings - 1)) {
        if (strcmp((const char *)b->p + w->strings[h] - 1, s) == 0) {
            *out = w->strings[h] - 1;
            return TN_OK;
        }
    }
    uint32_t at = (uint32_t)b->n;
    TN_TRY(append_bytes(w, b, s, n + 1, err));
    b->count = (uint32_t)b->n;
    w->strings[h] = at + 1;
    w->n_strings++;
    *out = at;
    return TN_OK;
}

TnStatus tni_plan_append(PlanWriter *w, PlanSectionKind kind, const void *records, uint32_t n, uint32_t *first, TnError *err) {
    if (kind < PLAN_SEC_STRINGS || kind >= PLAN_SEC_WEIGHTS)
        return TN_RAISE(err, TN_ERR_INTERNAL, "records cannot be appended to section %d", (int)kind);
    Bytes *b = &w->sec[kind];
    if (kind == PLAN_SEC_PARAMS && b->n % 8)
        TN_TRY(append_bytes(w, b, NULL, 8 - b->n % 8, err));
    uint32_t size = tni_plan_record_bytes(kind);
    if (first)
        *first = (uint32_t)(b->n / size);
    TN_TRY(append_bytes(w, b, records, (size_t)n * size, err));
    b->count = (uint32_t)(b->n / size);
    return TN_OK;
}

TnStatus tni_plan_weight(PlanWriter *w, uint64_t bytes, TnStatus (*fill)(void *ctx, void *dst, TnError *err), void *ctx, uint64_t *offset,
                         TnError *err) {
    if (!TN_RESERVE_ONE(w->arena, w->weights, w->n_weights, w->cap_weights))
        return TN_OOM(err, sizeof(Weight));
    uint64_t at = (w->weights_bytes + PLAN_ALIGN - 1) & ~(uint64_t)(PLAN_ALIGN - 1);
    if (bytes > (uint64_t)INT64_MAX - at)
        return TN_RAISE(err, TN_ERR_LIMIT, "the weights are too large");
    w->weights[w->n_weights++] = (Weight){at, bytes, fill, ctx};
    w->weights_bytes = at + bytes;
    *offset = at;
    return TN_OK;
}

TnStatus tni_plan_meta_add(PlanWriter *w, const char *key, const void *data, uint64_t n, TnError *err) {
    PlanMeta m = {.bytes = n};
    if (n > UINT32_MAX)
        return TN_RAISE(err, TN_ERR_LIMIT, "metadata '%s' has %llu bytes", key, (unsigned long long)n);
    TN_TRY(tni_plan_string(w, key, &m.key, err));
    Bytes *b = &w->sec[PLAN_SEC_BLOBS];
    if (b->n % 8)
        TN_TRY(append_bytes(w, b, NULL, 8 - b->n % 8, err));
    m.offset = b->n;
    TN_TRY(tni_plan_append(w, PLAN_SEC_BLOBS, data, (uint32_t)n, NULL, err));
    return tni_plan_append(w, PLAN_SEC_META, &m, 1, NULL, err);
}

/* ---- hashes ---- */

static uint64_t head_hash(const PlanHeader *h, const uint8_t *rest, size_t n) {
    PlanHeader copy = *h;
    copy.head_hash = 0;
    return tni_hash(rest, n, tni_hash(&copy, sizeof copy, 0));
}

uint64_t tni_plan_weights_hash(const uint8_t *p, uint64_t n) {
    uint64_t h = 0;
    for (uint64_t at = 0; at < n; at += PLAN_HASH_CHUNK)
        h = tni_hash(p + at, (size_t)TN_MIN(n - at, (uint64_t)PLAN_HASH_CHUNK), h);
    return h;
}

uint64_t tni_plan_head_hash(const uint8_t *bytes, uint64_t head_bytes) {
    PlanHeader h;
    memcpy(&h, bytes, sizeof h);
    return head_hash(&h, bytes + sizeof h, (size_t)head_bytes - sizeof h);
}

void tni_plan_seal(uint8_t *bytes, size_t n) {
    PlanHeader h;
    if (n < sizeof h)
        return;
    memcpy(&h, bytes, sizeof h);
    uint64_t head = n, weights = 0;
    for (uint32_t i = 0; i < h.n_sections && i < PLAN_SEC_COUNT && sizeof h + (i + 1) * sizeof(PlanSection) <= n; i++) {
        PlanSection s;
        memcpy(&s, bytes + sizeof h + i * sizeof s, sizeof s);
        if (s.kind == PLAN_SEC_WEIGHTS && s.offset >= sizeof h && s.offset <= n && s.bytes <= n - s.offset) {
            head = s.offset;
            weights = s.bytes;
        }
    }
    h.weights_hash = weights ? tni_plan_weights_hash(bytes + head, weights) : 0;
    memcpy(bytes, &h, sizeof h);
    h.head_hash = head_hash(&h, bytes + sizeof h, (size_t)head - sizeof h);
    memcpy(bytes, &h, sizeof h);
}

/* ---- the image ---- */

/* Lays the sections out; returns their number. */
static uint32_t lay_out(const PlanWriter *w, PlanSection *table, uint64_t *head_bytes, uint64_t *file_bytes) {
    uint32_t n = 0;
    for (uint32_t k = PLAN_SEC_STRINGS; k < PLAN_SEC_COUNT; k++)
        n += k == PLAN_SEC_WEIGHTS ? w->n_weights > 0 : w->sec[k].n > 0;
    uint64_t at = sizeof(PlanHeader) + n * sizeof(PlanSection);
    *head_bytes = at;
    uint32_t i = 0;
    for (uint32_t k = PLAN_SEC_STRINGS; k < PLAN_SEC_WEIGHTS; k++) {
        if (!w->sec[k].n)
            continue;
        at = tni_align_up(at, PLAN_ALIGN);
        table[i++] = (PlanSection){k, w->sec[k].count, at, w->sec[k].n};
        at += w->sec[k].n;
        *head_bytes = at;
    }
    if (w->n_weights) {
        at = tni_align_up(at, PLAN_WEIGHTS_ALIGN);
        *head_bytes = at;
        table[i++] = (PlanSection){PLAN_SEC_WEIGHTS, w->n_weights, at, w->weights_bytes};
        at += w->weights_bytes;
    }
    *file_bytes = at;
    return n;
}

static TnStatus put(Sink *s, const void *data, size_t n, TnError *err) {
    if (s->file)
        return tni_file_write(s->file, data, n, err);
    memcpy(s->mem + s->at, data, n);
    s->at += n;
    return TN_OK;
}

/* Hash of weights as they stream past in pieces that need not be chunks. */
typedef struct Rolling {
    uint8_t *chunk;
    size_t n;
    uint64_t h;
} Rolling;

static void roll(Rolling *r, const uint8_t *p, uint64_t n) {
    while (n) {
        size_t take = (size_t)TN_MIN(n, (uint64_t)(PLAN_HASH_CHUNK - r->n));
        if (p) {
            memcpy(r->chunk + r->n, p, take);
            p += take;
        } else {
            memset(r->chunk + r->n, 0, take);
        }
        r->n += take;
        n -= take;
        if (r->n == PLAN_HASH_CHUNK) {
            r->h = tni_hash(r->chunk, r->n, r->h);
            r->n = 0;
        }
    }
}

static uint64_t roll_end(Rolling *r) {
    return r->n ? tni_hash(r->chunk, r->n, r->h) : r->h;
}

/* The weights into dst (memory) or through the file writer; *hash is theirs. */
static TnStatus put_weights(PlanWriter *w, Sink *s, const TnAllocator *a, uint64_t *hash, TnError *err) {
    Rolling r = {.chunk = tni_alloc_aligned(a, PLAN_HASH_CHUNK, 64)};
    uint8_t *buf = NULL;
    size_t cap = 0;
    uint64_t at = 0;
    TnStatus st = TN_OK;
    if (!r.chunk)
        return TN_OOM(err, PLAN_HASH_CHUNK);
    for (uint32_t i = 0; i < w->n_weights; i++) {
        Weight *wt = &w->weights[i];
        size_t pad = (size_t)(wt->offset - at), n = (size_t)wt->bytes;
        if (n > cap) {
            tni_free(a, buf);
            cap = n;
            buf = tni_alloc_aligned(a, cap, 64);
            if (!buf) {
                st = TN_OOM(err, cap);
                goto fail;
            }
        }
        if (n)
            memset(buf, 0, n);
        TN_TRY_GOTO(n ? wt->fill(wt->ctx, buf, err) : TN_OK);
        static const uint8_t zeros[PLAN_ALIGN];
        TN_TRY_GOTO(put(s, zeros, pad, err));
        TN_TRY_GOTO(n ? put(s, buf, n, err) : TN_OK);
        roll(&r, NULL, pad);
        roll(&r, buf, n);
        at = wt->offset + wt->bytes;
    }
    *hash = roll_end(&r);
fail:
    tni_free(a, buf);
    tni_free(a, r.chunk);
    return st;
}

/* Everything before the weights as one image. */
static TnStatus make_head(PlanWriter *w, const PlanHeader *h, const TnAllocator *a, uint8_t **out, uint64_t *head_bytes,
                          uint64_t *file_bytes, TnError *err) {
    PlanSection table[PLAN_SEC_COUNT];
    PlanHeader head = *h;
    head.n_sections = lay_out(w, table, head_bytes, file_bytes);
    head.file_bytes = *file_bytes;
    memcpy(head.magic, PLAN_MAGIC, sizeof head.magic);
    head.version = PLAN_VERSION;
    uint8_t *p = tni_alloc_aligned(a, (size_t)*head_bytes, PLAN_WEIGHTS_ALIGN);
    if (!p)
        return TN_OOM(err, *head_bytes);
    memset(p, 0, (size_t)*head_bytes);
    memcpy(p, &head, sizeof head);
    memcpy(p + sizeof head, table, head.n_sections * sizeof *table);
    for (uint32_t i = 0; i < head.n_sections; i++) {
        if (table[i].kind != PLAN_SEC_WEIGHTS)
            memcpy(p + table[i].offset, w->sec[table[i].kind].p, (size_t)table[i].bytes);
    }
    *out = p;
    return TN_OK;
}

static TnStatus rewrite_header(TnFileWriter *fw, const PlanHeader *h, TnError *err) {
    const uint8_t *p = (const uint8_t *)h;
    for (size_t at = 0; at < sizeof *h;) {
        ssize_t n = pwrite(fw->fd, p + at, sizeof *h - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TN_RAISE(err, TN_ERR_IO, "cannot write the header of '%s': %s", fw->path, n < 0 ? strerror(errno) : "no space");
        at += (size_t)n;
    }
    return TN_OK;
}

/* The header comes last: its hash covers the hash of the weights, which are streamed. The file is written twice at its start. */
TnStatus tni_plan_write_file(PlanWriter *w, const PlanHeader *h, const char *path, TnError *err) {
    const TnAllocator *a = tni_arena_allocator(w->arena);
    uint8_t *head = NULL;
    uint64_t head_bytes, file_bytes;
    TnFileWriter fw = {.fd = -1};
    TnStatus st;
    bool open = false;
    TN_TRY_GOTO(make_head(w, h, a, &head, &head_bytes, &file_bytes, err));
    TN_TRY_GOTO(tni_file_write_begin(&fw, a, path, err));
    open = true;
    TN_TRY_GOTO(tni_file_write(&fw, head, (size_t)head_bytes, err));
    PlanHeader *ph = (PlanHeader *)(void *)head;
    if (w->n_weights)
        TN_TRY_GOTO(put_weights(w, &(Sink){.file = &fw}, a, &ph->weights_hash, err));
    ph->head_hash = tni_plan_head_hash(head, head_bytes);
    TN_TRY_GOTO(rewrite_header(&fw, ph, err));
    TN_TRY_GOTO(tni_file_write_commit(&fw, err));
    open = false;
fail:
    if (open)
        tni_file_write_abort(&fw);
    tni_free(a, head);
    return st;
}

TnStatus tni_plan_write_memory(PlanWriter *w, const PlanHeader *h, const TnAllocator *a, uint8_t **bytes, size_t *n, TnError *err) {
    uint8_t *head = NULL, *image = NULL;
    uint64_t head_bytes, file_bytes;
    TnStatus st;
    TN_TRY_GOTO(make_head(w, h, a, &head, &head_bytes, &file_bytes, err));
    image = tni_alloc_aligned(a, (size_t)file_bytes, PLAN_WEIGHTS_ALIGN);
    if (!image) {
        st = TN_OOM(err, file_bytes);
        goto fail;
    }
    Sink s = {.mem = image};
    TN_TRY_GOTO(put(&s, head, (size_t)head_bytes, err));
    uint64_t hash = 0;
    if (w->n_weights)
        TN_TRY_GOTO(put_weights(w, &s, a, &hash, err));
    PlanHeader *ph = (PlanHeader *)(void *)image;
    ph->weights_hash = hash;
    ph->head_hash = tni_plan_head_hash(image, head_bytes);
    *bytes = image;
    *n = (size_t)file_bytes;
    tni_free(a, head);
    return TN_OK;
fail:
    tni_free(a, head);
    tni_free(a, image);
    return st;
}
