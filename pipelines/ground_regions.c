/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions of one picture from the layouts in use: .npz, .npy with a pickled dictionary, values of an LMDB, rows of a TSV. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipelines/ground.h"
#include "pipelines/npz.h"
#include "pipelines/pickle.h"
#include "pipelines/util.h"

#define MAX_FILE ((size_t)1 << 30)
#define MAX_WIDTH 65536
#define SAVE "in Python, numpy.savez('ID.npz', features=F, boxes=B, image_h=H, image_w=W) saves what can be read"

void tn_regions_free(TnRegions *r) {
    free(r->features);
    free(r->boxes);
    *r = (TnRegions){0};
}

/* Memory for n regions of this width. */
static TnStatus reserve(TnRegions *r, int64_t n, int64_t width, const char *name, TnError *err) {
    if (n < 1)
        return tnp_fail(err, TN_ERR_DATA, "'%s': there are no regions", name);
    if (n > TN_GROUND_MAX_REGIONS || width < 1 || width > MAX_WIDTH)
        return tnp_fail(err, TN_ERR_LIMIT, "'%s': %lld regions of %lld numbers; at most %u of %d are read", name, (long long)n, (long long)width,
                        TN_GROUND_MAX_REGIONS, MAX_WIDTH);
    r->n = (uint32_t)n;
    r->width = (uint32_t)width;
    r->features = malloc((size_t)n * (size_t)width * sizeof *r->features);
    r->boxes = malloc((size_t)n * 4 * sizeof *r->boxes);
    if (r->features != NULL && r->boxes != NULL)
        return TN_OK;
    return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %lld regions", name, (long long)n);
}

static TnStatus check_size(const TnRegions *r, const char *name, TnError *err) {
    if (r->image_width >= 1 && r->image_height >= 1 && r->image_width < 1e7 && r->image_height < 1e7)
        return TN_OK;
    return tnp_fail(err, TN_ERR_DATA, "'%s': the picture's size must be given as image_w and image_h in pixels, at least 1; found %g and %g; " SAVE, name,
                    r->image_width, r->image_height);
}

/* ---- dictionaries ---- */

static const char *const feature_keys[] = {"features", "x", NULL}, *const box_keys[] = {"boxes", "bbox", NULL},
                         *const count_keys[] = {"num_boxes", "num_bbox", NULL}, *const width_keys[] = {"image_w", "image_width", NULL},
                         *const height_keys[] = {"image_h", "image_height", NULL};

static const TnpValue *dict_find(const TnpValue *dict, const char *const *keys) {
    const TnpValue *v = NULL;
    for (; v == NULL && *keys != NULL; keys++)
        v = tnp_pickle_get(dict, *keys);
    return v;
}

static int base64_digit(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* float32 numbers of a base64 text into heap memory. false: no base64, or no whole number of floats. */
static bool base64_floats(const char *s, size_t n, float **out, size_t *count) {
    uint8_t *bytes = malloc(n / 4 * 3 + 8);
    size_t k = 0, digits = 0;
    uint32_t v = 0;
    bool ok = bytes != NULL, over = false;
    for (size_t i = 0; ok && i < n; i++) {
        int d = base64_digit(s[i]);
        if (s[i] == '\n' || s[i] == '\r')
            continue;
        over = over || s[i] == '=';
        ok = over ? s[i] == '=' : d >= 0;
        if (over || !ok)
            continue;
        v = v << 6 | (uint32_t)d;
        if (++digits % 4 == 0) {
            bytes[k++] = (uint8_t)(v >> 16);
            bytes[k++] = (uint8_t)(v >> 8);
            bytes[k++] = (uint8_t)v;
        }
    }
    if (digits % 4 >= 2)
        bytes[k++] = (uint8_t)(v >> (digits % 4 == 2 ? 4 : 10));
    if (digits % 4 == 3)
        bytes[k++] = (uint8_t)(v >> 2);
    *out = (float *)(void *)bytes;
    *count = k / 4;
    if (ok && digits % 4 != 1 && k % 4 == 0 && k > 0)
        return true;
    free(bytes);
    *out = NULL;
    return false;
}

/* Numbers of an array or a base64 string in heap memory; NULL with the reason in err. An array's last dimension goes to *last, else 0. */
static TnStatus numbers(const TnpValue *v, const char *what, const char *name, float **out, size_t *count, int64_t *last, TnError *err) {
    *out = NULL;
    *count = 0;
    *last = 0;
    if (v == NULL)
        return tnp_fail(err, TN_ERR_DATA, "'%s': there is no '%s'; " SAVE, name, what);
    if (v->kind == TNP_TEXT || v->kind == TNP_BYTES) {
        if (base64_floats(v->u.text, v->n, out, count))
            return TN_OK;
        return tnp_fail(err, TN_ERR_DATA, "'%s': '%s' is text, but no float32 numbers in base64", name, what);
    }
    if (v->kind != TNP_ARRAY)
        return tnp_fail(err, TN_ERR_DATA, "'%s': '%s' is neither an array nor base64 text; " SAVE, name, what);
    const TnTensor *t = &v->u.array->shape;
    int64_t n = 1;
    for (int32_t i = 0; i < t->rank; i++)
        n *= t->dims[i]; /* the bytes are there, so this cannot overflow */
    *last = t->rank >= 1 ? t->dims[t->rank - 1] : 0;
    *count = (size_t)n;
    *out = malloc(((size_t)n + 1) * sizeof **out);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: '%s'", name, what);
    if (tnp_array_floats(v->u.array, *out))
        return TN_OK;
    free(*out);
    *out = NULL;
    return tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s': '%s' is no array of numbers; " SAVE, name, what);
}

static TnStatus from_parts(TnRegions *r, const float *features, size_t n_features, int64_t width, const float *boxes, size_t n_boxes, const char *name,
                           TnError *err) {
    const size_t n = n_boxes / 4;
    if (n_boxes % 4 != 0)
        return tnp_fail(err, TN_ERR_DATA, "'%s': the boxes have %zu numbers, which is no multiple of 4", name, n_boxes);
    if (n > 0 && (n_features % n != 0 || (width != 0 && (size_t)width * n != n_features)))
        return tnp_fail(err, TN_ERR_DATA, "'%s': %zu boxes, but features of %zu numbers (%lld a region): they must have the same number of rows", name, n,
                        n_features, (long long)width);
    TnStatus st = reserve(r, (int64_t)n, n == 0 ? 0 : (int64_t)(n_features / n), name, err);
    if (st == TN_OK) {
        memcpy(r->features, features, n_features * sizeof *features);
        memcpy(r->boxes, boxes, n_boxes * sizeof *boxes);
    }
    return st;
}

/* features NULL: those of the dictionary. Arrays have as many regions as rows; what num_boxes says counts for base64 alone, as the authors read them. */
static TnStatus from_dict(const TnpValue *dict, const TnTensor *given, const char *name, TnRegions *out, TnError *err) {
    float *features = NULL, *boxes = NULL;
    size_t n_features = 0, n_boxes = 0;
    int64_t width = 0, four, count;
    if (dict->kind != TNP_DICT)
        return tnp_fail(err, TN_ERR_DATA, "'%s' holds no dictionary with features and boxes; " SAVE, name);
    const TnpValue *num = dict_find(dict, count_keys);
    TnStatus st = numbers(dict_find(dict, box_keys), "boxes", name, &boxes, &n_boxes, &four, err);
    if (st == TN_OK && given == NULL)
        st = numbers(dict_find(dict, feature_keys), "features", name, &features, &n_features, &width, err);
    if (st == TN_OK && given == NULL && width == 0 && num != NULL && (!tnp_pickle_int(num, &count) || count < 0 || (size_t)count * 4 != n_boxes))
        st = tnp_fail(err, TN_ERR_DATA, "'%s': num_boxes does not agree with boxes of %zu numbers", name, n_boxes);
    if (st == TN_OK && given != NULL)
        st = from_parts(out, given->data, (size_t)tn_tensor_numel(given), given->dims[1], boxes, n_boxes, name, err);
    else if (st == TN_OK)
        st = from_parts(out, features, n_features, width, boxes, n_boxes, name, err);
    free(features);
    free(boxes);
    if (st == TN_OK && (!tnp_pickle_number(dict_find(dict, width_keys), &out->image_width) ||
                        !tnp_pickle_number(dict_find(dict, height_keys), &out->image_height)))
        out->image_width = out->image_height = 0;
    return st == TN_OK ? check_size(out, name, err) : st;
}

TnStatus tn_regions_decode_pickle(const void *data, size_t n, const char *name, TnRegions *out, TnError *err) {
    TnpPickle p;
    *out = (TnRegions){0};
    TnStatus st = tnp_pickle_read(data, n, name, &p, err);
    if (st != TN_OK)
        return st;
    st = from_dict(p.root, NULL, name, out, err);
    tnp_pickle_free(&p);
    if (st != TN_OK)
        tn_regions_free(out);
    return st;
}

/* ---- .npy ---- */

/* The pickle of a .npy of one object: where it begins, 0 when the file is no such. */
static size_t object_at(const uint8_t *p, size_t n) {
    if (n < 12 || memcmp(p, "\x93NUMPY", 6) != 0)
        return 0;
    size_t at = p[6] == 1 ? 10 : 12;
    size_t len = p[6] == 1 ? (size_t)(p[8] | p[9] << 8) : (size_t)p[8] | (size_t)p[9] << 8 | (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (len > n - at || memmem(p + at, len, "'|O'", 4) == NULL)
        return 0;
    return at + len;
}

/* numpy.save of a dictionary: an array of no dimension (or of one element) with one object. */
static TnStatus read_object(const void *data, size_t n, const char *name, TnpPickle *p, const TnpValue **dict, TnError *err) {
    size_t at = object_at(data, n);
    TnStatus st = tnp_pickle_read((const uint8_t *)data + at, n - at, name, p, err);
    if (st != TN_OK)
        return st;
    *dict = p->root;
    if (p->root->kind == TNP_ARRAY && p->root->u.array->objects && p->root->u.array->list->n == 1)
        *dict = p->root->u.array->list->u.items[0];
    if ((*dict)->kind == TNP_DICT)
        return TN_OK;
    tnp_pickle_free(p);
    return tnp_fail(err, TN_ERR_DATA, "'%s' holds objects, but not one dictionary; " SAVE, name);
}

static TnStatus from_npy(const void *data, size_t n, const char *name, const void *info, size_t n_info, TnRegions *out, TnError *err) {
    TnpPickle p = {0};
    const TnpValue *dict;
    TnTensor t = {0};
    TnStatus st;
    if (object_at(data, n) != 0) {
        st = read_object(data, n, name, &p, &dict, err);
        if (st == TN_OK)
            st = from_dict(dict, NULL, name, out, err);
    } else {
        st = tn_npy_read_memory(data, n, name, NULL, &t, err);
        if (st == TN_OK && (t.rank != 2 || t.dtype != TN_F32))
            st = tnp_fail(err, TN_ERR_DATA, "'%s': features must be float32 [regions, width]; found %s of rank %d", name, tn_dtype_name(t.dtype), t.rank);
        if (st == TN_OK && info == NULL)
            st = tnp_fail(err, TN_ERR_DATA, "'%s' has features but no boxes, and there is no dictionary with them in NAME_info.npy beside it; " SAVE, name);
        if (st == TN_OK)
            st = read_object(info, n_info, name, &p, &dict, err);
        if (st == TN_OK)
            st = from_dict(dict, &t, name, out, err);
        tn_npy_free(NULL, &t);
    }
    tnp_pickle_free(&p);
    return st;
}

/* ---- .npz ---- */

static const TnTensor *npz_find(const TnNpz *z, const char *const *keys) {
    const TnTensor *t = NULL;
    for (; t == NULL && *keys != NULL; keys++)
        t = tn_npz_find(z, *keys);
    return t;
}

static double scalar(const TnTensor *t) {
    if (t == NULL || tn_tensor_numel(t) != 1)
        return -1;
    switch (t->dtype) {
    case TN_I64: return (double)*(const int64_t *)t->data;
    case TN_I32: return *(const int32_t *)t->data;
    case TN_U16: return *(const uint16_t *)t->data;
    case TN_F64: return *(const double *)t->data;
    case TN_F32: return (double)*(const float *)t->data;
    default: return -1;
    }
}

static TnStatus copy_rows(const TnTensor *t, const char *what, const char *name, float **out, TnError *err) {
    const size_t n = (size_t)tn_tensor_numel(t);
    if (t->rank != 2 || (t->dtype != TN_F32 && t->dtype != TN_F64 && t->dtype != TN_I32 && t->dtype != TN_I64))
        return tnp_fail(err, TN_ERR_DATA, "'%s': '%s' must be numbers of rank 2; found %s of rank %d", name, what, tn_dtype_name(t->dtype), t->rank);
    *out = malloc((n + 1) * sizeof **out);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: '%s'", name, what);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = t->dtype == TN_F32   ? ((const float *)t->data)[i]
                    : t->dtype == TN_F64 ? (float)((const double *)t->data)[i]
                    : t->dtype == TN_I32 ? (float)((const int32_t *)t->data)[i]
                                         : (float)((const int64_t *)t->data)[i];
    return TN_OK;
}

static TnStatus from_npz(const TnNpz *z, const char *name, TnRegions *out, TnError *err) {
    const TnTensor *f = npz_find(z, feature_keys), *b = npz_find(z, box_keys), *count = npz_find(z, count_keys);
    float *features = NULL, *boxes = NULL;
    if (f == NULL || b == NULL)
        return tnp_fail(err, TN_ERR_DATA, "'%s': there is no '%s' among its %u arrays of numbers; " SAVE, name, f == NULL ? "features" : "boxes", z->n);
    TnStatus st = copy_rows(f, "features", name, &features, err);
    if (st == TN_OK)
        st = copy_rows(b, "boxes", name, &boxes, err);
    if (st == TN_OK && (b->dims[1] != 4 || b->dims[0] != f->dims[0]))
        st = tnp_fail(err, TN_ERR_DATA, "'%s': features [%lld, %lld] and boxes [%lld, %lld]; boxes must be [regions, 4], with a row for each of the features", name,
                      (long long)f->dims[0], (long long)f->dims[1], (long long)b->dims[0], (long long)b->dims[1]);
    double rows = count == NULL ? (double)f->dims[0] : scalar(count);
    if (st == TN_OK && !(rows >= 0 && rows <= (double)f->dims[0] && rows == floor(rows)))
        st = tnp_fail(err, TN_ERR_DATA, "'%s': num_boxes is %g, and there are %lld rows", name, rows, (long long)f->dims[0]);
    if (st == TN_OK)
        st = from_parts(out, features, (size_t)rows * (size_t)f->dims[1], f->dims[1], boxes, (size_t)rows * 4, name, err);
    free(features);
    free(boxes);
    out->image_width = scalar(npz_find(z, width_keys));
    out->image_height = scalar(npz_find(z, height_keys));
    return st == TN_OK ? check_size(out, name, err) : st;
}

/* ---- files ---- */

static TnStatus decode(const void *data, size_t n, const char *name, const void *info, size_t n_info, TnRegions *out, TnError *err) {
    TnStatus st;
    *out = (TnRegions){0};
    if (n >= 4 && memcmp(data, "PK\x03\x04", 4) == 0) {
        TnNpz z;
        st = tn_npz_read_memory(data, n, name, NULL, &z, err);
        if (st == TN_OK) {
            st = from_npz(&z, name, out, err);
            tn_npz_free(NULL, &z);
        }
    } else if (n >= 6 && memcmp(data, "\x93NUMPY", 6) == 0) {
        st = from_npy(data, n, name, info, n_info, out, err);
    } else {
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s' is neither .npz nor .npy; " SAVE, name);
    }
    if (st != TN_OK)
        tn_regions_free(out);
    return st;
}

TnStatus tn_regions_decode(const void *data, size_t n, const char *name, TnRegions *out, TnError *err) { return decode(data, n, name, NULL, 0, out, err); }

TnStatus tn_regions_load(const char *path, TnRegions *out, TnError *err) {
    char beside[4096];
    void *data = NULL, *info = NULL;
    size_t n, n_info = 0, len = strlen(path);
    *out = (TnRegions){0};
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &n, err);
    if (st == TN_OK && len > 4 && len < sizeof beside - 16 && strcmp(path + len - 4, ".npy") == 0) {
        snprintf(beside, sizeof beside, "%.*s_info.npy", (int)len - 4, path);
        if (access(beside, R_OK) == 0)
            st = tnp_read_file(beside, MAX_FILE, &info, &n_info, err);
    }
    if (st == TN_OK)
        st = decode(data, n, path, info, n_info, out, err);
    free(data);
    free(info);
    return st;
}

/* ---- TSV ---- */

TnStatus tn_regions_decode_tsv(const char *row, size_t n, const char *name, TnRegions *out, TnError *err) {
    enum { ID, WIDTH, HEIGHT, COUNT, BOXES, FEATURES, COLUMNS };
    TnpValue column[COLUMNS] = {0};
    float *boxes = NULL, *features = NULL;
    size_t n_boxes, n_features;
    int64_t count;
    *out = (TnRegions){0};
    for (int i = 0; i < COLUMNS; i++) {
        const char *end = memchr(row, '\t', n);
        size_t len = end == NULL ? n : (size_t)(end - row);
        if (end == NULL && i < COLUMNS - 1)
            return tnp_fail(err, TN_ERR_PARSE, "'%s': a row has %d columns; expected image_id, image_w, image_h, num_boxes, boxes, features", name, i + 1);
        column[i] = (TnpValue){.kind = TNP_TEXT, .n = (uint32_t)(len < UINT32_MAX ? len : 0), .u.text = row};
        row += len + (end != NULL);
        n -= len + (end != NULL);
    }
    if (!tnp_pickle_number(&column[WIDTH], &out->image_width) || !tnp_pickle_number(&column[HEIGHT], &out->image_height) ||
        !tnp_pickle_int(&column[COUNT], &count))
        return tnp_fail(err, TN_ERR_PARSE, "'%s': image_w, image_h and num_boxes of a row must be numbers", name);
    if (!base64_floats(column[BOXES].u.text, column[BOXES].n, &boxes, &n_boxes))
        return tnp_fail(err, TN_ERR_DATA, "'%s': boxes of a row are no float32 numbers in base64", name);
    TnStatus st = TN_OK;
    while (column[FEATURES].n > 0 && strchr("\r\n", column[FEATURES].u.text[column[FEATURES].n - 1]) != NULL)
        column[FEATURES].n--;
    if (!base64_floats(column[FEATURES].u.text, column[FEATURES].n, &features, &n_features))
        st = tnp_fail(err, TN_ERR_DATA, "'%s': features of a row are no float32 numbers in base64", name);
    if (st == TN_OK && (count < 0 || (size_t)count * 4 != n_boxes))
        st = tnp_fail(err, TN_ERR_DATA, "'%s': num_boxes is %lld, and boxes have %zu numbers", name, (long long)count, n_boxes);
    if (st == TN_OK)
        st = from_parts(out, features, n_features, 0, boxes, n_boxes, name, err);
    if (st == TN_OK)
        st = check_size(out, name, err);
    free(boxes);
    free(features);
    if (st != TN_OK)
        tn_regions_free(out);
    return st;
}

/* ---- checks ---- */

TnStatus tn_regions_check(TnRegions *r, bool clip, const char *name, TnError *err) {
    const float limit[4] = {(float)r->image_width, (float)r->image_height, (float)r->image_width, (float)r->image_height};
    if (r->n == 0)
        return tnp_fail(err, TN_ERR_DATA, "'%s': there are no regions", name);
    TnStatus st = check_size(r, name, err);
    for (uint32_t i = 0; i < r->n && st == TN_OK; i++) {
        float *b = r->boxes + 4 * (size_t)i;
        const float *f = r->features + (size_t)i * r->width;
        uint32_t bad = 0;
        while (bad < r->width && isfinite(f[bad]))
            bad++;
        if (bad < r->width)
            st = tnp_fail(err, TN_ERR_DATA, "'%s' region %u: feature %u is %g; all must be finite", name, i, bad, (double)f[bad]);
        else if (!isfinite(b[0]) || !isfinite(b[1]) || !isfinite(b[2]) || !isfinite(b[3]))
            st = tnp_fail(err, TN_ERR_DATA, "'%s' region %u: its box is not finite", name, i);
        else if (!(b[0] <= b[2] && b[1] <= b[3]))
            st = tnp_fail(err, TN_ERR_DATA, "'%s' region %u: box %g %g %g %g is inverted; a box is left, top, right, bottom in pixels", name, i, (double)b[0],
                          (double)b[1], (double)b[2], (double)b[3]);
        for (int k = 0; k < 4 && st == TN_OK; k++) {
            float inside = b[k] < 0 ? 0 : b[k] > limit[k] ? limit[k] : b[k];
            if (!clip && fabsf(b[k] - inside) > 1)
                st = tnp_fail(err, TN_ERR_DATA, "'%s' region %u: box %g %g %g %g leaves the picture of %g x %g pixels; clip cuts boxes at its edge", name, i,
                              (double)b[0], (double)b[1], (double)b[2], (double)b[3], r->image_width, r->image_height);
            if (clip)
                b[k] = inside;
        }
    }
    return st;
}
