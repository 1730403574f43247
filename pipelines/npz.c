/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy headers by hand (they are one Python dictionary literal of three keys), .npz through libzip. */
#include "pipelines/npz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zip.h>

#include "pipelines/util.h"

#define MAX_MEMBER_BYTES ((uint64_t)64 << 30)

static const struct {
    const char *descr; /* without the byte-order mark */
    TnDtype t;
} dtypes[] = {{"f4", TN_F32}, {"f8", TN_F64}, {"f2", TN_F16}, {"i8", TN_I64}, {"i4", TN_I32}, {"i2", TN_I16}, {"i1", TN_I8},
              {"u8", TN_U64}, {"u4", TN_U32}, {"u2", TN_U16}, {"u1", TN_U8},  {"b1", TN_BOOL}};

static void *take(const TnAllocator *a, size_t bytes) {
    if (a != NULL)
        return a->alloc(a->ctx, bytes == 0 ? 1 : bytes, 64);
    void *p = NULL;
    return posix_memalign(&p, 64, bytes == 0 ? 1 : bytes) == 0 ? p : NULL;
}

static void give(const TnAllocator *a, void *p) {
    if (p == NULL)
        return;
    if (a != NULL)
        a->free(a->ctx, p);
    else
        free(p);
}

void tn_npy_free(const TnAllocator *a, TnTensor *t) {
    give(a, t->data);
    *t = (TnTensor){0};
}

/* The value behind 'key': in the header's dictionary, or NULL. */
static const char *find_key(const char *header, const char *key) {
    char quoted[24];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *p = strstr(header, quoted);
    if (p == NULL)
        return NULL;
    p += strlen(quoted);
    p += strspn(p, " ");
    return *p == ':' ? p + 1 + strspn(p + 1, " ") : NULL;
}

static TnStatus parse_dict(const char *header, const char *name, TnTensor *t, bool *fortran, TnError *err) {
    const char *descr = find_key(header, "descr"), *order = find_key(header, "fortran_order"), *shape = find_key(header, "shape");
    if (descr == NULL || order == NULL || shape == NULL || *descr != '\'' || *shape != '(')
        return tnp_fail(err, TN_ERR_PARSE, "'%s': the .npy header needs 'descr', 'fortran_order' and 'shape'", name);
    const char *code = descr + 2;
    bool swapped = descr[1] == '>';
    t->dtype = TN_UNDEFINED;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strncmp(code, dtypes[i].descr, 2) == 0 && code[2] == '\'')
            t->dtype = dtypes[i].t;
    }
    if (t->dtype == TN_UNDEFINED || (swapped && tn_dtype_bits(t->dtype) > 8) || (descr[1] != '<' && descr[1] != '>' && descr[1] != '|' && descr[1] != '='))
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s': element type %.12s; little-endian floats, integers and bool are read", name, descr);
    *fortran = strncmp(order, "True", 4) == 0;
    t->rank = 0;
    for (const char *p = shape + 1; *p != ')';) {
        char *end;
        errno = 0;
        long long d = strtoll(p, &end, 10);
        if (end == p || errno != 0 || d < 0)
            return tnp_fail(err, TN_ERR_PARSE, "'%s': 'shape' of the .npy header is no list of numbers", name);
        if (t->rank == TN_MAX_RANK)
            return tnp_fail(err, TN_ERR_LIMIT, "'%s': more than %d dimensions", name, TN_MAX_RANK);
        t->dims[t->rank++] = d;
        p = end + strspn(end, ", ");
    }
    return TN_OK;
}

/* dst (C order) from src (Fortran order). */
static void from_fortran(const TnTensor *t, const uint8_t *src, uint8_t *dst, size_t elem, int64_t n) {
    int64_t index[TN_MAX_RANK] = {0};
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (int32_t d = t->rank - 1; d >= 0; d--)
            at = at * t->dims[d] + index[d];
        memcpy(dst + (size_t)i * elem, src + (size_t)at * elem, elem);
        for (int32_t d = t->rank - 1; d >= 0 && ++index[d] == t->dims[d]; d--)
            index[d] = 0;
    }
}

static bool element_count(const TnTensor *t, int64_t *n) {
    *n = 1;
    for (int32_t i = 0; i < t->rank; i++) {
        if (t->dims[i] == 0) {
            *n = 0;
            return true;
        }
    }
    for (int32_t i = 0; i < t->rank; i++) {
        if (__builtin_mul_overflow(*n, t->dims[i], n) || *n > (int64_t)(MAX_MEMBER_BYTES / 8))
            return false;
    }
    return true;
}

TnStatus tn_npy_read_memory(const void *data, size_t n, const char *name, const TnAllocator *a, TnTensor *out, TnError *err) {
    const uint8_t *p = data;
    char header[4096];
    bool fortran = false;
    int64_t count;
    *out = (TnTensor){0};
    if (n < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return tnp_fail(err, TN_ERR_PARSE, "'%s' is no .npy file (its first bytes are not \\x93NUMPY)", name);
    size_t at = p[6] == 1 ? 10 : 12;
    size_t len = p[6] == 1 ? (size_t)(p[8] | p[9] << 8) : n < 12 ? SIZE_MAX : (size_t)p[8] | (size_t)p[9] << 8 | (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (p[6] < 1 || p[6] > 3 || len > n - at || len >= sizeof header)
        return tnp_fail(err, TN_ERR_PARSE, "'%s': .npy version %u with a header of %zu bytes cannot be read", name, p[6], len);
    memcpy(header, p + at, len);
    header[len] = '\0';
    TnTensor t = {0};
    TnStatus st = parse_dict(header, name, &t, &fortran, err);
    if (st != TN_OK)
        return st;
    if (!element_count(&t, &count))
        return tnp_fail(err, TN_ERR_LIMIT, "'%s': the array has too many elements", name);
    size_t elem = tn_dtype_bits(t.dtype) / 8, bytes = (size_t)count * elem;
    if (n - at - len < bytes)
        return tnp_fail(err, TN_ERR_DATA, "'%s': the array needs %zu bytes, the file has %zu", name, bytes, n - at - len);
    t.data = take(a, bytes);
    if (t.data == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %zu bytes", name, bytes);
    if (fortran && t.rank > 1)
        from_fortran(&t, p + at + len, t.data, elem, count);
    else if (bytes > 0)
        memcpy(t.data, p + at + len, bytes);
    *out = t;
    return TN_OK;
}

TnStatus tn_npy_read(const char *path, const TnAllocator *a, TnTensor *out, TnError *err) {
    void *data;
    size_t n;
    *out = (TnTensor){0};
    TnStatus st = tnp_read_file(path, (size_t)MAX_MEMBER_BYTES, &data, &n, err);
    if (st == TN_OK) {
        st = tn_npy_read_memory(data, n, path, a, out, err);
        free(data);
    }
    return st;
}

/* ---- .npz ---- */

static TnStatus read_member(zip_t *zip, zip_uint64_t i, const char *path, const TnAllocator *a, TnNpz *out, TnError *err) {
    zip_stat_t info;
    char name[512];
    if (zip_stat_index(zip, i, 0, &info) != 0 || info.name == NULL || info.size > MAX_MEMBER_BYTES)
        return tnp_fail(err, TN_ERR_PARSE, "'%s': member %llu cannot be read", path, (unsigned long long)i);
    snprintf(name, sizeof name, "%s[%s]", path, info.name);
    if (info.size / 1100 > info.comp_size + 64) /* deflate makes a byte into 1032 at most */
        return tnp_fail(err, TN_ERR_PARSE, "'%s' is damaged: %llu bytes cannot come from %llu", name, (unsigned long long)info.size,
                        (unsigned long long)info.comp_size);
    uint8_t *bytes = malloc((size_t)info.size + 1);
    zip_file_t *f = zip_fopen_index(zip, i, 0);
    zip_int64_t got = bytes == NULL || f == NULL ? -1 : zip_fread(f, bytes, info.size);
    int closed = f == NULL ? 0 : zip_fclose(f);
    TnStatus st;
    if (bytes == NULL)
        st = tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %llu bytes", name, (unsigned long long)info.size);
    else if (got != (zip_int64_t)info.size || closed != 0)
        st = tnp_fail(err, TN_ERR_PARSE, "'%s' is damaged: %s", name, zip_strerror(zip));
    else
        st = tn_npy_read_memory(bytes, (size_t)info.size, name, a, &out->tensors[out->n], err);
    free(bytes);
    if (st == TN_ERR_UNSUPPORTED) {
        out->n_skipped++;
        return TN_OK;
    }
    if (st != TN_OK)
        return st;
    size_t len = strlen(info.name);
    out->names[out->n] = strndup(info.name, len > 4 && strcmp(info.name + len - 4, ".npy") == 0 ? len - 4 : len);
    out->n++;
    return out->names[out->n - 1] == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory") : TN_OK;
}

static TnStatus cannot_open(int code, const char *path, TnError *err) {
    zip_error_t why;
    zip_error_init_with_code(&why, code);
    TnStatus st = tnp_fail(err, code == ZIP_ER_OPEN || code == ZIP_ER_NOENT ? TN_ERR_IO : TN_ERR_PARSE, "'%s' cannot be read as .npz: %s", path,
                           zip_error_strerror(&why));
    zip_error_fini(&why);
    return st;
}

/* All members; the archive is closed. */
static TnStatus read_members(zip_t *zip, const char *path, const TnAllocator *a, TnNpz *out, TnError *err) {
    zip_int64_t n = zip_get_num_entries(zip, 0);
    TnStatus st = TN_OK;
    out->names = calloc((size_t)n + 1, sizeof *out->names);
    out->tensors = calloc((size_t)n + 1, sizeof *out->tensors);
    if (out->names == NULL || out->tensors == NULL)
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: %lld arrays", (long long)n);
    for (zip_int64_t i = 0; st == TN_OK && i < n; i++)
        st = read_member(zip, (zip_uint64_t)i, path, a, out, err);
    zip_discard(zip);
    if (st != TN_OK)
        tn_npz_free(a, out);
    return st;
}

TnStatus tn_npz_read(const char *path, const TnAllocator *a, TnNpz *out, TnError *err) {
    int code;
    *out = (TnNpz){0};
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    return zip == NULL ? cannot_open(code, path, err) : read_members(zip, path, a, out, err);
}

TnStatus tn_npz_read_memory(const void *data, size_t n, const char *name, const TnAllocator *a, TnNpz *out, TnError *err) {
    zip_error_t why;
    *out = (TnNpz){0};
    zip_error_init(&why);
    zip_source_t *source = zip_source_buffer_create(data, n, 0, &why);
    zip_t *zip = source == NULL ? NULL : zip_open_from_source(source, ZIP_RDONLY, &why);
    TnStatus st = zip == NULL ? cannot_open(zip_error_code_zip(&why), name, err) : TN_OK;
    if (zip == NULL && source != NULL)
        zip_source_free(source);
    zip_error_fini(&why);
    return st != TN_OK ? st : read_members(zip, name, a, out, err);
}

const TnTensor *tn_npz_find(const TnNpz *npz, const char *name) {
    for (uint32_t i = 0; i < npz->n; i++) {
        if (strcmp(npz->names[i], name) == 0)
            return &npz->tensors[i];
    }
    return NULL;
}

void tn_npz_free(const TnAllocator *a, TnNpz *npz) {
    for (uint32_t i = 0; i < npz->n; i++) {
        free(npz->names[i]);
        give(a, npz->tensors[i].data);
    }
    free(npz->names);
    free(npz->tensors);
    *npz = (TnNpz){0};
}

static float bf16_value(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* One array as .npy bytes in heap memory. */
static TnStatus to_npy(const TnTensor *t, const char *name, uint8_t **out, size_t *n, TnError *err) {
    const char *descr = t->dtype == TN_BF16 ? "f4" : NULL;
    char header[512], shape[256] = "";
    size_t count = (size_t)tn_tensor_numel(t), elem = t->dtype == TN_BF16 ? 4 : tn_dtype_bits(t->dtype) / 8;
    for (size_t i = 0; descr == NULL && i < sizeof dtypes / sizeof *dtypes; i++)
        descr = dtypes[i].t == t->dtype ? dtypes[i].descr : NULL;
    if (descr == NULL)
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s': %s cannot be written as .npy", name, tn_dtype_name(t->dtype));
    for (int32_t i = 0; i < t->rank; i++) {
        size_t at = strlen(shape);
        snprintf(shape + at, sizeof shape - at, "%lld,%s", (long long)t->dims[i], i + 1 < t->rank ? " " : "");
    }
    int len = snprintf(header, sizeof header, "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }", elem == 1 ? '|' : '<', descr, shape);
    size_t total = (10 + (size_t)len + 1 + 63) / 64 * 64;
    uint8_t *p = malloc(total + count * elem);
    if (p == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %zu bytes", name, total + count * elem);
    memcpy(p, "\x93NUMPY\x01\x00", 8);
    p[8] = (uint8_t)((total - 10) & 0xff);
    p[9] = (uint8_t)((total - 10) >> 8);
    memset(p + 10, ' ', total - 10);
    memcpy(p + 10, header, (size_t)len);
    p[total - 1] = '\n';
    for (size_t i = 0; t->dtype == TN_BF16 && i < count; i++) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)t->data + i * 2, 2);
        float f = bf16_value(h);
        memcpy(p + total + i * 4, &f, 4);
    }
    if (t->dtype != TN_BF16 && count > 0)
        memcpy(p + total, t->data, count * elem);
    *out = p;
    *n = total + count * elem;
    return TN_OK;
}

static TnStatus add_member(zip_t *zip, const char *name, const TnTensor *t, TnError *err) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    char member[512];
    TnStatus st = to_npy(t, name, &bytes, &n, err);
    if (st != TN_OK)
        return st;
    snprintf(member, sizeof member, "%s.npy", name);
    zip_source_t *source = zip_source_buffer(zip, bytes, n, 1);
    if (source == NULL) {
        free(bytes);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    }
    zip_int64_t at = zip_file_add(zip, member, source, ZIP_FL_ENC_UTF_8 | ZIP_FL_OVERWRITE);
    if (at < 0) {
        zip_source_free(source);
        return tnp_fail(err, TN_ERR_IO, "'%s' cannot be added: %s", member, zip_strerror(zip));
    }
    zip_set_file_compression(zip, (zip_uint64_t)at, ZIP_CM_STORE, 0);
    return TN_OK;
}

TnStatus tn_npz_write(const char *path, const char *const *names, const TnTensor *tensors, uint32_t n, TnError *err) {
    int code;
    char tmp[4096];
    if (snprintf(tmp, sizeof tmp, "%s.tmp-%ld", path, (long)getpid()) >= (int)sizeof tmp)
        return tnp_fail(err, TN_ERR_ARGUMENT, "the path '%.100s...' is too long", path);
    zip_t *zip = zip_open(tmp, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (zip == NULL)
        return tnp_fail(err, TN_ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
    TnStatus st = TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < n; i++)
        st = add_member(zip, names[i], &tensors[i], err);
    if (st != TN_OK) {
        zip_discard(zip);
    } else if (zip_close(zip) != 0) {
        st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be written: %s", path, zip_strerror(zip));
        zip_discard(zip);
    } else if (rename(tmp, path) != 0) {
        st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
    }
    if (st != TN_OK)
        unlink(tmp);
    return st;
}
