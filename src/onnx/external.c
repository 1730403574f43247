/* SPDX-License-Identifier: Apache-2.0
 *
 * External tensor data: one read-only map a file, opened below the model's folder only, ranges checked against the file and the shape. */
#include "onnx/tensor.h"

TnStatus tni_onnx_files_create(const TnAllocator *a, const TnLog *log, const char *base_dir, OnnxFiles **out, TnError *err) {
    OnnxFiles *f = tni_calloc(a, 1, sizeof *f);
    if (f == NULL)
        return TN_OOM(err, sizeof *f);
    f->alloc = a;
    f->log = log;
    if (base_dir != NULL) {
        size_t n = strlen(base_dir) + 1;
        f->base_dir = tni_calloc(a, n, 1);
        if (f->base_dir == NULL) {
            tni_free(a, f);
            return TN_OOM(err, n);
        }
        memcpy(f->base_dir, base_dir, n);
    }
    *out = f;
    return TN_OK;
}

void tni_onnx_files_destroy(void *files) {
    OnnxFiles *f = files;
    if (f == NULL)
        return;
    const TnAllocator *a = f->alloc;
    for (uint32_t i = 0; i < f->n; i++) {
        tni_file_unmap(&f->external[i].map);
        tni_free(a, f->external[i].location);
    }
    tni_free(a, f->external);
    tni_file_unmap(&f->model);
    tni_free(a, f->base_dir);
    tni_free(a, f);
}

static TnStatus reserve(OnnxFiles *f, TnError *err) {
    if (f->n < f->cap)
        return TN_OK;
    if (f->n >= 4096)
        return TN_RAISE(err, TN_ERR_LIMIT, "the model's weights are in more than 4096 files");
    uint32_t cap = f->cap == 0 ? 4 : f->cap * 2;
    struct OnnxExternal *items = tni_calloc(f->alloc, cap, sizeof *items);
    if (items == NULL)
        return TN_OOM(err, cap * sizeof *items);
    if (f->n > 0)
        memcpy(items, f->external, f->n * sizeof *items);
    tni_free(f->alloc, f->external);
    f->external = items;
    f->cap = cap;
    return TN_OK;
}

/* The map of a location, made at its first use. */
static TnStatus open_location(OnnxFiles *f, TnSpan location, const TnFileMap **out, TnError *err) {
    for (uint32_t i = f->n; i-- > 0;) {
        if (strlen(f->external[i].location) == location.n && memcmp(f->external[i].location, location.p, location.n) == 0) {
            *out = &f->external[i].map;
            return TN_OK;
        }
    }
    TN_TRY(reserve(f, err));
    char *copy = tni_calloc(f->alloc, location.n + 1, 1);
    if (copy == NULL)
        return TN_OOM(err, location.n + 1);
    memcpy(copy, location.p, location.n);
    struct OnnxExternal e = {.location = copy};
    TnStatus st = tni_file_map_below(f->base_dir, copy, &e.map, err);
    if (st != TN_OK) {
        tni_free(f->alloc, copy);
        return st;
    }
    uint64_t length = e.map.n;
    f->hash = tni_hash(&length, sizeof length, tni_hash(copy, location.n, f->hash));
    f->external[f->n++] = e;
    *out = &f->external[f->n - 1].map;
    return TN_OK;
}

TnStatus tni_onnx_external_data(OnnxTensor *t, const char *name, size_t bytes, OnnxFiles *f, TnError *err) {
    if (t->has_raw || t->typed_count > 0)
        return tni_raise_at(err, TN_ERR_DATA, t->at, "tensor '%.200s' is external but has data in the model too", name);
    if (!t->has_location || t->location.n == 0)
        return tni_raise_at(err, TN_ERR_DATA, t->at, "tensor '%.200s' is external but names no location", name);
    if (t->location.n > 4096 || memchr(t->location.p, 0, t->location.n) != NULL)
        return tni_raise_at(err, TN_ERR_PATH, t->at, "tensor '%.200s': the location of its data is no file name", name);
    if (f->base_dir == NULL)
        return tni_raise_at(
            err, TN_ERR_PATH, t->at,
            "tensor '%.200s' is in the external file '%.*s', but the model was loaded from memory without a folder; load it from its file",
            name, (int)TN_MIN(t->location.n, (size_t)200), (const char *)t->location.p);
    if (t->has_length && t->ext_length != bytes)
        return tni_raise_at(err, TN_ERR_DATA, t->at, "tensor '%.200s': external data has length %llu, its shape needs %zu bytes", name,
                            (unsigned long long)t->ext_length, bytes);
    const TnFileMap *map = NULL;
    TnStatus st = open_location(f, t->location, &map, err);
    if (st != TN_OK)
        return tni_error_prefix(err, st, "tensor '%.200s'", name);
    TnSpan all = {.p = map->data, .n = map->n, .base = 0}, part = {0};
    if (!tni_span_sub(all, t->ext_offset, bytes, &part))
        return tni_raise_at(err, TN_ERR_DATA, t->at, "tensor '%.200s': bytes %llu + %zu are outside external file '%.*s' of %zu bytes",
                            name, (unsigned long long)t->ext_offset, bytes, (int)TN_MIN(t->location.n, (size_t)200),
                            (const char *)t->location.p, map->n);
    t->data = bytes > 0 ? part.p : NULL;
    return TN_OK;
}
