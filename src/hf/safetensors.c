/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading safetensors files, and the files of a checkpoint in either format. */
#include "hf/safetensors.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/dtype.h"
#include "hf/json.h"
#include "hf/torch.h"

#define MAX_HEADER ((uint64_t)100 * 1000 * 1000)

static TnDtype dtype_of(const char *s) {
    static const struct {
        const char *name;
        TnDtype t;
    } rows[] = {{"F64", TN_F64}, {"F32", TN_F32}, {"F16", TN_F16}, {"BF16", TN_BF16}, {"I64", TN_I64}, {"I32", TN_I32}, {"I16", TN_I16},
                {"I8", TN_I8},   {"U8", TN_U8},   {"U16", TN_U16}, {"U32", TN_U32},   {"U64", TN_U64}, {"BOOL", TN_BOOL},
                {"F8_E4M3", TN_F8E4M3FN}, {"F8_E5M2", TN_F8E5M2}};
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        if (strcmp(rows[i].name, s) == 0)
            return rows[i].t;
    }
    return TN_UNDEFINED;
}

/* One entry of the header into *t; data is the span behind the header. */
static TnStatus read_entry(TnSpan data, const char *file, const char *name, json_t *entry, TnTensor *t, uint64_t *begin, uint64_t *end,
                           TnError *err) {
    json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    *t = (TnTensor){.dtype = dtype == NULL ? TN_UNDEFINED : dtype_of(dtype)};
    if (t->dtype == TN_UNDEFINED)
        return TN_RAISE(err, dtype == NULL ? TN_ERR_PARSE : TN_ERR_UNSUPPORTED, "'%s', tensor '%s': dtype '%s' is not known", file, name,
                        dtype == NULL ? "(missing)" : dtype);
    if (!json_is_array(shape) || json_array_size(shape) > TN_MAX_RANK)
        return TN_RAISE(err, TN_ERR_PARSE, "'%s', tensor '%s': 'shape' must be a list of at most %d numbers", file, name, TN_MAX_RANK);
    t->rank = (int32_t)json_array_size(shape);
    for (int32_t i = 0; i < t->rank; i++) {
        json_t *d = json_array_get(shape, (size_t)i);
        t->dims[i] = json_is_integer(d) ? json_integer_value(d) : -1;
    }
    size_t bytes;
    if (!tni_shape_bytes(t->dtype, t->rank, t->dims, NULL, &bytes))
        return TN_RAISE(err, TN_ERR_PARSE, "'%s', tensor '%s': its shape has a negative dimension or too many elements", file, name);
    json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(b) || !json_is_integer(e) || json_integer_value(b) < 0 ||
        json_integer_value(e) < json_integer_value(b))
        return TN_RAISE(err, TN_ERR_PARSE, "'%s', tensor '%s': 'data_offsets' must be [begin, end] with 0 <= begin <= end", file, name);
    *begin = (uint64_t)json_integer_value(b);
    *end = (uint64_t)json_integer_value(e);
    TnSpan view;
    if (*end - *begin != bytes)
        return TN_RAISE(err, TN_ERR_DATA, "'%s', tensor '%s': its shape needs %zu bytes, 'data_offsets' spans %llu", file, name, bytes,
                        (unsigned long long)(*end - *begin));
    if (!tni_span_sub(data, *begin, bytes, &view))
        return tni_raise_at(err, TN_ERR_DATA, data.base + *begin, "'%s', tensor '%s': its data ends %llu bytes behind the end of the file", file,
                            name, (unsigned long long)(*end - data.n));
    t->data = (void *)(uintptr_t)view.p;
    return TN_OK;
}

typedef struct Range {
    uint64_t begin, end;
} Range;

static int by_begin(const void *a, const void *b) {
    const Range *x = a, *y = b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : (x->end > y->end) - (x->end < y->end);
}

static TnStatus read_entries(HfCheckpoint *c, TnSpan data, const char *file, json_t *header, TnError *err) {
    const char *name;
    json_t *entry;
    size_t n = 0;
    Range *ranges = tni_arena_calloc(c->arena, json_object_size(header) + 1, sizeof *ranges);
    if (ranges == NULL)
        return TN_OOM(err, json_object_size(header) * sizeof *ranges);
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (!TN_RESERVE_ONE(c->arena, c->tensors, c->n_tensors, c->cap_tensors))
            return TN_OOM(err, c->n_tensors * sizeof *c->tensors);
        HfTensor *t = &c->tensors[c->n_tensors];
        t->used = false;
        t->name = tni_arena_strdup(c->arena, name);
        if (t->name == NULL)
            return TN_OOM(err, strlen(name));
        TN_TRY(read_entry(data, file, name, entry, &t->t, &ranges[n].begin, &ranges[n].end, err));
        c->n_tensors++;
        n++;
    }
    qsort(ranges, n, sizeof *ranges, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].begin != at)
            return tni_raise_at(err, TN_ERR_DATA, data.base + at, "'%s': tensors %s", file, ranges[i].begin < at ? "overlap" : "leave a hole");
        at = ranges[i].end;
    }
    if (at != data.n)
        return tni_raise_at(err, TN_ERR_DATA, data.base + at, "'%s': %llu bytes follow the last tensor", file, (unsigned long long)(data.n - at));
    return TN_OK;
}

TnStatus tni_hf_safetensors_read(HfCheckpoint *c, TnSpan file, const char *name, TnError *err) {
    uint64_t n;
    TnSpan text, data;
    if (!tni_span_u64(file, 0, &n))
        return tni_raise_at(err, TN_ERR_PARSE, 0, "'%s' has %zu bytes; a safetensors file starts with 8 bytes of header length", name, file.n);
    if (n > MAX_HEADER)
        return tni_raise_at(err, TN_ERR_LIMIT, 0, "'%s': header of %llu bytes; at most 100 MB are read", name, (unsigned long long)n);
    if (!tni_span_sub(file, 8, n, &text))
        return tni_raise_at(err, TN_ERR_PARSE, 0, "'%s': the header's length is %llu, but %zu bytes follow", name, (unsigned long long)n,
                            file.n - 8);
    tni_span_sub(file, 8 + n, file.n - 8 - n, &data);
    json_t *header;
    TN_TRY(tni_hf_json_parse(text, name, &header, err));
    TnStatus st = read_entries(c, data, name, header, err);
    json_decref(header);
    uint64_t size = file.n;
    c->hash = tni_hash(text.p, text.n, tni_hash(&size, sizeof size, c->hash));
    return st;
}

static TnStatus read_file(HfCheckpoint *c, const char *name, TnError *err) {
    const TnFileMap *m = &c->maps[c->n_maps - 1];
    TnSpan file = {m->data, m->n, 0};
    return tni_hf_is_torch(file) ? tni_hf_torch_read(c, file, name, err) : tni_hf_safetensors_read(c, file, name, err);
}

/* A plain name may be a link, as in the cache of Hugging Face's hub, whose snapshots are links to blobs; a path may not leave the folder. */
static TnStatus open_file(HfCheckpoint *c, const char *dir, const char *name, TnError *err) {
    if (strchr(name, '/') != NULL) {
        TN_TRY(tni_file_map_below(dir, name, &c->maps[c->n_maps], err));
    } else {
        const char *path = tni_arena_printf(c->arena, "%s/%s", dir, name);
        if (path == NULL)
            return TN_OOM(err, strlen(dir) + strlen(name) + 2);
        TN_TRY(tni_file_map(path, &c->maps[c->n_maps], err));
    }
    c->n_maps++;
    return read_file(c, name, err);
}

static TnStatus open_shards(HfCheckpoint *c, const char *dir, const char *list, json_t *index, TnError *err) {
    json_t *map = json_object_get(index, "weight_map"), *file, *seen = json_object();
    const char *tensor;
    TnStatus st = json_is_object(map) && seen != NULL ? TN_OK : TN_RAISE(err, TN_ERR_PARSE, "%s: 'weight_map' must be an object of tensor -> file", list);
    size_t cap = st == TN_OK ? json_object_size(map) : 0;
    c->maps = st == TN_OK ? tni_arena_calloc(c->arena, cap + 1, sizeof *c->maps) : NULL;
    if (st == TN_OK && c->maps == NULL)
        st = TN_OOM(err, cap * sizeof *c->maps);
    json_object_foreach(map, tensor, file) {
        const char *name = json_string_value(file);
        if (st != TN_OK)
            break;
        if (name == NULL)
            st = TN_RAISE(err, TN_ERR_PARSE, "%s: the file of tensor '%s' must be a string", list, tensor);
        else if (json_object_get(seen, name) == NULL) {
            json_object_set_new(seen, name, json_true());
            st = open_file(c, dir, name, err);
        }
    }
    json_decref(seen);
    return st;
}

static int by_name(const void *a, const void *b) { return strcmp(((const HfTensor *)a)->name, ((const HfTensor *)b)->name); }

static TnStatus one_map(HfCheckpoint *c, TnError *err) {
    c->maps = tni_arena_calloc(c->arena, 1, sizeof *c->maps);
    return c->maps == NULL ? TN_OOM(err, sizeof *c->maps) : TN_OK;
}

static bool exists(const char *dir, const char *name) {
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && access(path, F_OK) == 0;
}

/* The files of the first form that is there; *found tells. */
static TnStatus open_form(HfCheckpoint *c, const char *dir, const char *list, const char *whole, bool *found, TnError *err) {
    json_t *index;
    TN_TRY(tni_hf_json_file(dir, list, false, &index, NULL, err));
    *found = index != NULL || exists(dir, whole);
    if (index != NULL) {
        TnStatus st = open_shards(c, dir, list, index, err);
        json_decref(index);
        return st;
    }
    if (!*found)
        return TN_OK;
    TN_TRY(one_map(c, err));
    return open_file(c, dir, whole, err);
}

static TnStatus sort(HfCheckpoint *c, TnError *err) {
    if (c->n_tensors > 0)
        qsort(c->tensors, c->n_tensors, sizeof *c->tensors, by_name);
    for (uint32_t i = 1; i < c->n_tensors; i++) {
        if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
            return TN_RAISE(err, TN_ERR_DATA, "tensor '%s' is in two files of the checkpoint", c->tensors[i].name);
    }
    return TN_OK;
}

static TnStatus open_all(HfCheckpoint *c, const char *dir, TnError *err) {
    static const struct {
        const char *list, *whole;
    } forms[] = {{"model.safetensors.index.json", "model.safetensors"}, {"pytorch_model.bin.index.json", "pytorch_model.bin"}};
    bool found = false;
    for (size_t i = 0; i < TN_COUNT(forms) && !found; i++)
        TN_TRY(open_form(c, dir, forms[i].list, forms[i].whole, &found, err));
    if (!found)
        return TN_RAISE(err, TN_ERR_IO, "folder '%s' has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin and "
                                        "pytorch_model.bin.index.json; save the model with save_pretrained(..., safe_serialization=True)", dir);
    return sort(c, err);
}

static TnStatus open_one(HfCheckpoint *c, const char *path, TnError *err) {
    TN_TRY(one_map(c, err));
    TN_TRY(tni_file_map(path, &c->maps[0], err));
    c->n_maps = 1;
    TN_TRY(read_file(c, path, err));
    return sort(c, err);
}

static TnStatus open_with(TnStatus (*fn)(HfCheckpoint *c, const char *path, TnError *err), const char *path, const TnAllocator *a, HfCheckpoint **out,
                          TnError *err) {
    *out = NULL;
    HfCheckpoint *c = tni_calloc(a, 1, sizeof *c);
    if (c == NULL)
        return TN_OOM(err, sizeof *c);
    c->alloc = a;
    TnStatus st = tni_arena_create(a, &c->arena, err);
    if (st == TN_OK)
        st = fn(c, path, err);
    if (st != TN_OK)
        tni_hf_checkpoint_close(&c);
    *out = c;
    return st;
}

TnStatus tni_hf_checkpoint_open(const char *dir, const TnAllocator *a, HfCheckpoint **out, TnError *err) { return open_with(open_all, dir, a, out, err); }

TnStatus tni_hf_checkpoint_open_file(const char *path, const TnAllocator *a, HfCheckpoint **out, TnError *err) {
    return open_with(open_one, path, a, out, err);
}

void tni_hf_checkpoint_close(HfCheckpoint **cp) {
    HfCheckpoint *c = *cp;
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->n_maps; i++)
        tni_file_unmap(&c->maps[i]);
    tni_arena_destroy(&c->arena);
    tni_free(c->alloc, c);
    *cp = NULL;
}

HfTensor *tni_hf_tensor(HfCheckpoint *c, const char *name) {
    HfTensor key = {.name = name};
    HfTensor *t = c->n_tensors == 0 ? NULL : bsearch(&key, c->tensors, c->n_tensors, sizeof key, by_name);
    if (t != NULL)
        t->used = true;
    return t;
}
