/* SPDX-License-Identifier: Apache-2.0
 *
 * PyTorch's files: the archive, and the state dict in the pickle. */
#include "hf/torch.h"

#include <stdio.h>
#include <stdlib.h>

#include <zip.h>

#include "base/dtype.h"
#include "hf/pickle.h"

#define MAX_PICKLE ((uint64_t)256 << 20)
#define MAX_DEPTH 8 /* of nested dictionaries */
#define MAX_VISITS (1u << 22)

typedef struct Archive {
    HfCheckpoint *c;
    const char *name;
    size_t file_bytes;
    zip_t *zip;
    char prefix[256]; /* "archive/" */
    uint64_t loaded;  /* bytes of storages so far */
    struct Loaded {
        const char *key;
        PickleStorage s;
    } * storages; /* hash table by key, open addressing */
    uint32_t n_storages, cap_storages;
} Archive;

bool tni_hf_is_torch(TnSpan file) {
    return (file.n >= 4 && memcmp(file.p, "PK\3\4", 4) == 0) || (file.n >= 2 && file.p[0] == 0x80 && file.p[1] >= 2 && file.p[1] <= 5) ||
           (file.n > 262 && memcmp(file.p + 257, "ustar", 5) == 0);
}

/* ---- members ---- */

/* Member `member` of at most max bytes, whole, in the checkpoint's arena. Members are stored: as many bytes in the archive as out of it. */
static TnStatus read_member(Archive *a, const char *member, uint64_t max, const uint8_t **data, size_t *n, TnError *err) {
    zip_stat_t info;
    uint8_t tail;
    if (zip_stat(a->zip, member, 0, &info) != 0)
        return TN_RAISE(err, TN_ERR_PARSE, "'%s' has no member '%s': it is damaged, or torch.save did not write it", a->name, member);
    if ((info.valid & ZIP_STAT_COMP_METHOD) != 0 && info.comp_method != ZIP_CM_STORE)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "'%s': member '%s' is compressed; torch.save stores members as they are", a->name, member);
    if (info.size > a->file_bytes || info.size > max)
        return TN_RAISE(err, TN_ERR_PARSE, "'%s': member '%s' claims %llu bytes, more than there can be", a->name, member,
                        (unsigned long long)info.size);
    uint8_t *p = tni_arena_alloc_aligned(a->c->arena, TN_MAX((size_t)info.size, (size_t)1), 64);
    if (p == NULL)
        return TN_OOM(err, (size_t)info.size);
    zip_file_t *f = zip_fopen(a->zip, member, 0);
    /* The sum is checked where the member ends. */
    bool ok = f != NULL && zip_fread(f, p, info.size) == (zip_int64_t)info.size && zip_fread(f, &tail, 1) == 0;
    TnStatus st = TN_OK;
    if (!ok)
        st = TN_RAISE(err, TN_ERR_PARSE, "'%s': member '%s' is damaged: %s", a->name, member,
                      f == NULL ? zip_strerror(a->zip) : zip_file_strerror(f));
    if (f != NULL)
        zip_fclose(f);
    *data = p;
    *n = (size_t)info.size;
    uint64_t sums[2] = {info.size, info.crc};
    a->c->hash = tni_hash(sums, sizeof sums, a->c->hash);
    return st;
}

static struct Loaded *slot_of(Archive *a, const char *key) {
    uint32_t i = (uint32_t)tni_hash(key, strlen(key), 0) & (a->cap_storages - 1);
    while (a->storages[i].key != NULL && strcmp(a->storages[i].key, key) != 0)
        i = (i + 1) & (a->cap_storages - 1);
    return &a->storages[i];
}

static TnStatus reserve(Archive *a, TnError *err) {
    if (a->n_storages * 2 < a->cap_storages)
        return TN_OK;
    struct Loaded *old = a->storages;
    uint32_t n = a->cap_storages;
    a->cap_storages = n == 0 ? 256 : n * 2;
    a->storages = tni_arena_calloc(a->c->arena, a->cap_storages, sizeof *a->storages);
    if (a->storages == NULL)
        return TN_OOM(err, a->cap_storages * sizeof *a->storages);
    for (uint32_t i = 0; i < n; i++) {
        if (old[i].key != NULL)
            *slot_of(a, old[i].key) = old[i];
    }
    return TN_OK;
}

static TnStatus storage(void *ctx, const char *key, size_t bytes, PickleStorage *out, TnError *err) {
    Archive *a = ctx;
    char member[400];
    TN_TRY(reserve(a, err));
    struct Loaded *s = slot_of(a, key);
    if (s->key == NULL) {
        if (snprintf(member, sizeof member, "%sdata/%s", a->prefix, key) >= (int)sizeof member)
            return TN_RAISE(err, TN_ERR_PARSE, "'%s': a storage's name is too long", a->name);
        s->key = tni_arena_strdup(a->c->arena, key);
        if (s->key == NULL)
            return TN_OOM(err, strlen(key));
        a->n_storages++;
        TN_TRY(read_member(a, member, UINT64_MAX, &s->s.data, &s->s.bytes, err));
        a->loaded += s->s.bytes;
        if (a->loaded > a->file_bytes) /* entries that share bytes would let a small file fill the memory */
            return TN_RAISE(err, TN_ERR_PARSE, "'%s' is damaged: its members are larger than the file", a->name);
    }
    if (bytes > s->s.bytes)
        return TN_RAISE(err, TN_ERR_DATA, "'%s': storage '%s' needs %zu bytes, its member has %zu", a->name, key, bytes, s->s.bytes);
    *out = s->s;
    return TN_OK;
}

/* ---- the state dict ---- */

static bool has_tensors(const PickleValue *v) {
    for (uint32_t i = 1; v != NULL && v->kind == PICKLE_DICT && i < v->n; i += 2) {
        if (v->u.items[i]->kind == PICKLE_TENSOR)
            return true;
    }
    return false;
}

/* The dictionary with the weights: root, or below one of the names that training programs use. */
static const PickleValue *state_dict(const PickleValue *root) {
    static const char *const keys[] = {"model",  "state_dict",       "model_ema", "state_dict_ema",
                                       "module", "model_state_dict", "net",       "weights"};
    if (has_tensors(root))
        return root;
    for (size_t i = 0; i < TN_COUNT(keys); i++) {
        const PickleValue *v = tni_hf_pickle_get(root, keys[i]);
        for (size_t k = 0; v != NULL && k < TN_COUNT(keys); k++) { /* {'state_dict': {'model': ...}} too */
            if (has_tensors(v))
                return v;
            const PickleValue *inner = tni_hf_pickle_get(v, keys[k]);
            if (has_tensors(inner))
                return inner;
        }
    }
    return NULL;
}

typedef struct Walk {
    Archive *a;
    TnError *err;
    uint32_t visits;
} Walk;

static TnStatus collect(Walk *w, const PickleValue *dict, const char *prefix, uint32_t depth) {
    HfCheckpoint *c = w->a->c;
    for (uint32_t i = 0; i + 1 < dict->n; i += 2) {
        const PickleValue *k = dict->u.items[i], *v = dict->u.items[i + 1];
        if (++w->visits > MAX_VISITS)
            return TN_RAISE(w->err, TN_ERR_LIMIT, "'%s': more than %u entries in its dictionaries", w->a->name, MAX_VISITS);
        if (k->kind != PICKLE_STRING || (v->kind != PICKLE_TENSOR && v->kind != PICKLE_DICT))
            continue;
        const char *name = tni_arena_printf(c->arena, "%s%s", prefix, k->u.text);
        if (name == NULL)
            return TN_OOM(w->err, k->n);
        if (v->kind == PICKLE_DICT) {
            const char *below = tni_arena_printf(c->arena, "%s.", name);
            if (below == NULL)
                return TN_OOM(w->err, k->n);
            if (depth == MAX_DEPTH)
                return TN_RAISE(w->err, TN_ERR_LIMIT, "'%s': dictionaries nested more than %d deep", w->a->name, MAX_DEPTH);
            TN_TRY(collect(w, v, below, depth + 1));
            continue;
        }
        if (!TN_RESERVE_ONE(c->arena, c->tensors, c->n_tensors, c->cap_tensors))
            return TN_OOM(w->err, c->n_tensors * sizeof *c->tensors);
        c->tensors[c->n_tensors++] = (HfTensor){.name = name, .t = *v->u.tensor};
    }
    return TN_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const HfTensor *)a)->name, ((const HfTensor *)b)->name);
}

static TnStatus take_state_dict(Archive *a, const PickleValue *root, TnError *err) {
    HfCheckpoint *c = a->c;
    uint32_t first = c->n_tensors, n_wrapped = 0;
    const PickleValue *dict = state_dict(root);
    if (dict == NULL) {
        char keys[400] = "";
        for (uint32_t i = 0; root->kind == PICKLE_DICT && i + 1 < root->n && strlen(keys) < 300; i += 2) {
            if (root->u.items[i]->kind == PICKLE_STRING)
                snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s'%.60s'", keys[0] == '\0' ? "" : ", ",
                         root->u.items[i]->u.text);
        }
        return TN_RAISE(err, TN_ERR_DATA,
                        "'%s' holds no state dict: tensors are looked for in its dictionary and below 'model', 'state_dict' and "
                        "'model_ema'; it has %s",
                        a->name, root->kind == PICKLE_DICT ? keys : "no dictionary");
    }
    TN_TRY(collect(&(Walk){.a = a, .err = err}, dict, "", 0));
    for (uint32_t i = first; i < c->n_tensors; i++)
        n_wrapped += strncmp(c->tensors[i].name, "module.", 7) == 0;
    for (uint32_t i = first; n_wrapped == c->n_tensors - first && i < c->n_tensors; i++)
        c->tensors[i].name += 7; /* DataParallel's */
    if (c->n_tensors > first)
        qsort(c->tensors + first, c->n_tensors - first, sizeof *c->tensors, by_name);
    for (uint32_t i = first + 1; i < c->n_tensors; i++) {
        if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
            return TN_RAISE(err, TN_ERR_DATA, "'%s': tensor '%s' is there twice", a->name, c->tensors[i].name);
    }
    return TN_OK;
}

/* ---- the file ---- */

static TnStatus check_format(TnSpan file, const char *name, TnError *err) {
    static const char convert[] = "Convert it with PyTorch: torch.save(torch.load('%s', map_location='cpu', weights_only=True), 'new.pth')";
    char how[400];
    snprintf(how, sizeof how, convert, name);
    if (file.n >= 4 && memcmp(file.p, "PK\3\4", 4) == 0)
        return TN_OK;
    if (file.n > 262 && memcmp(file.p + 257, "ustar", 5) == 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "'%s' is in the tar format of PyTorch before 0.2. %s", name, how);
    if (tni_hf_is_torch(file))
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "'%s' is in the format of PyTorch before 1.6 (a bare pickle, no zip archive). %s", name,
                        how);
    return TN_RAISE(err, TN_ERR_PARSE, "'%s' (%zu bytes) is no file of torch.save: it does not begin as a zip archive", name, file.n);
}

/* The folder of data.pkl in the archive, with the slash. */
static TnStatus find_prefix(Archive *a, TnError *err) {
    zip_int64_t n = zip_get_num_entries(a->zip, 0);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *member = zip_get_name(a->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        size_t len = member == NULL ? 0 : strlen(member);
        if (len >= 9 && len - 8 < sizeof a->prefix && strcmp(member + len - 9, "/data.pkl") == 0) {
            memcpy(a->prefix, member, len - 8);
            a->prefix[len - 8] = '\0';
            char path[sizeof a->prefix + 16];
            snprintf(path, sizeof path, "%sconstants.pkl", a->prefix);
            if (zip_name_locate(a->zip, path, 0) < 0)
                return TN_OK;
            return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                            "'%s' is a TorchScript program; save its weights: torch.save(torch.jit.load(FILE).state_dict(), "
                            "'new.pth')",
                            a->name);
        }
    }
    return TN_RAISE(err, TN_ERR_PARSE, "'%s' is a zip archive without data.pkl: torch.save did not write it", a->name);
}

static TnStatus check_byte_order(Archive *a, TnError *err) {
    char member[sizeof a->prefix + 16];
    const uint8_t *p;
    size_t n;
    snprintf(member, sizeof member, "%sbyteorder", a->prefix);
    if (zip_name_locate(a->zip, member, 0) < 0) /* files of PyTorch before 2.0 do not say */
        return TN_OK;
    TN_TRY(read_member(a, member, 64, &p, &n, err));
    if (n >= 3 && memcmp(p, "big", 3) == 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "'%s' was saved on a big-endian machine", a->name);
    return TN_OK;
}

static TnStatus read_archive(Archive *a, TnError *err) {
    char member[sizeof a->prefix + 16];
    const uint8_t *text;
    size_t n;
    TN_TRY(find_prefix(a, err));
    TN_TRY(check_byte_order(a, err));
    snprintf(member, sizeof member, "%sdata.pkl", a->prefix);
    TN_TRY(read_member(a, member, MAX_PICKLE, &text, &n, err));
    a->c->hash = tni_hash(text, n, a->c->hash);
    PickleValue *root;
    const char *shown = tni_arena_printf(a->c->arena, "%s: data.pkl", a->name);
    PickleInput in = {.arena = a->c->arena,
                      .name = shown,
                      .text = {text, n, 0},
                      .storage = storage,
                      .ctx = a,
                      .copy_limit = a->file_bytes < SIZE_MAX / 8 ? 4 * a->file_bytes + ((size_t)16 << 20) : SIZE_MAX};
    if (shown == NULL)
        return TN_OOM(err, strlen(a->name));
    TN_TRY(tni_hf_pickle_read(&in, &root, err));
    return take_state_dict(a, root, err);
}

TnStatus tni_hf_torch_read(HfCheckpoint *c, TnSpan file, const char *name, TnError *err) {
    zip_error_t why;
    TN_TRY(check_format(file, name, err));
    Archive a = {.c = c, .name = name, .file_bytes = file.n};
    zip_error_init(&why);
    zip_source_t *source = zip_source_buffer_create(file.p, file.n, 0, &why);
    a.zip = source == NULL ? NULL : zip_open_from_source(source, ZIP_RDONLY, &why);
    if (a.zip == NULL) {
        TnStatus st = zip_error_code_zip(&why) == ZIP_ER_MEMORY
                          ? TN_OOM(err, file.n)
                          : TN_RAISE(err, TN_ERR_PARSE, "'%s' (%zu bytes) is a damaged or truncated archive: %s", name, file.n,
                                     zip_error_strerror(&why));
        zip_source_free(source);
        zip_error_fini(&why);
        return st;
    }
    TnStatus st = read_archive(&a, err);
    zip_discard(a.zip);
    zip_error_fini(&why);
    return st;
}
