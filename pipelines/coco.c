/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading COCO's files. What a message names: file, list, entry (from 0) and field. Numbers are checked here (finite, ids unique and
 * whole), so the evaluation can trust them. */
#include "pipelines/coco.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/coco_internal.h"
#include "pipelines/util.h"

#define MAX_FILE_BYTES ((size_t)2 << 30)
#define MAX_POLYGONS 100000

/* ---- JSON ---- */

static TnStatus parse(const void *data, size_t n, const char *name, json_t **out, TnError *err) {
    json_error_t why;
    *out = json_loadb(data, n, JSON_REJECT_DUPLICATES, &why);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_PARSE, "'%s' is no JSON: %s (line %d, column %d)", name, why.text, why.line, why.column);
    return TN_OK;
}

static bool number(const json_t *v, double *out) {
    *out = json_number_value(v);
    return json_is_number(v) && isfinite(*out);
}

/* A field that must be a whole number; ids may be written as 7.0 too. */
static bool whole(const json_t *v, int64_t *out) {
    double d;
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (!number(v, &d) || d != floor(d) || !(fabs(d) <= 9e15))
        return false;
    *out = (int64_t)d;
    return true;
}

static TnStatus bad_field(const char *file, const char *list, size_t i, const char *field, const char *expected, TnError *err) {
    return tnp_fail(err, TN_ERR_PARSE, "'%s': %s %zu: '%s' must be %s", file, list, i, field, expected);
}

static TnStatus get_id(const char *file, const char *list, size_t i, const json_t *o, const char *field, int64_t *out, TnError *err) {
    if (!json_is_object(o))
        return tnp_fail(err, TN_ERR_PARSE, "'%s': %s %zu is no object", file, list, i);
    return whole(json_object_get(o, field), out) ? TN_OK : bad_field(file, list, i, field, "a whole number", err);
}

static TnStatus get_box(const char *file, const char *list, size_t i, const json_t *o, double box[4], TnError *err) {
    const json_t *a = json_object_get(o, "bbox");
    bool ok = json_array_size(a) == 4;
    for (size_t k = 0; ok && k < 4; k++)
        ok = number(json_array_get(a, k), &box[k]);
    return ok ? TN_OK : bad_field(file, list, i, "bbox", "four numbers: x, y, width, height", err);
}

static TnStatus list_of(const char *file, const json_t *root, const char *name, json_t **out, TnError *err) {
    *out = json_object_get(root, name);
    if (!json_is_array(*out))
        return tnp_fail(err, TN_ERR_PARSE, "'%s' has no list '%s'; a COCO annotation file has 'images', 'categories' and 'annotations'",
                        file, name);
    return json_array_size(*out) < UINT32_MAX / 2 ? TN_OK : tnp_fail(err, TN_ERR_LIMIT, "'%s': the list '%s' is too long", file, name);
}

CocoItem *tnp_coco_item(CocoItems *items) {
    if (items->n == items->cap) {
        uint32_t cap = items->cap == 0 ? 256 : items->cap * 2;
        CocoItem *grown = realloc(items->item, cap * sizeof *grown);
        if (grown == NULL)
            return NULL;
        items->item = grown;
        items->cap = cap;
    }
    items->item[items->n] = (CocoItem){0};
    return &items->item[items->n++];
}

static void free_items(CocoItems *items) {
    for (uint32_t i = 0; i < items->n; i++)
        tn_rle_free(&items->item[i].mask);
    free(items->item);
    *items = (CocoItems){0};
}

/* ---- images and categories ---- */

static int by_image_id(const void *a, const void *b) {
    int64_t x = ((const TnCocoImage *)a)->id, y = ((const TnCocoImage *)b)->id;
    return (x > y) - (x < y);
}

static int by_category_id(const void *a, const void *b) {
    int64_t x = ((const TnCocoCategory *)a)->id, y = ((const TnCocoCategory *)b)->id;
    return (x > y) - (x < y);
}

static TnStatus read_images(TnCoco *c, TnError *err) {
    json_t *list, *o;
    size_t i;
    TnStatus st = list_of(c->name, c->root, "images", &list, err);
    if (st != TN_OK)
        return st;
    c->images = calloc(json_array_size(list) + 1, sizeof *c->images);
    if (c->images == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu images", json_array_size(list));
    json_array_foreach(list, i, o) {
        TnCocoImage *m = &c->images[c->n_images++];
        st = get_id(c->name, "image", i, o, "id", &m->id, err);
        for (int k = 0; k < 2 && st == TN_OK; k++) {
            const char *field = k == 0 ? "width" : "height";
            const json_t *v = json_object_get(o, field);
            int64_t size = 0;
            if (v != NULL && !json_is_null(v) && (!whole(v, &size) || size < 1 || size > TN_RLE_MAX_SIDE))
                st = bad_field(c->name, "image", i, field, "a whole number from 1 to 1048576", err);
            *(k == 0 ? &m->width : &m->height) = (uint32_t)size;
        }
        const char *file = json_string_value(json_object_get(o, "file_name"));
        m->file_name = file == NULL ? "" : file;
        if (st != TN_OK)
            return st;
    }
    qsort(c->images, c->n_images, sizeof *c->images, by_image_id);
    for (uint32_t k = 1; k < c->n_images; k++) {
        if (c->images[k].id == c->images[k - 1].id)
            return tnp_fail(err, TN_ERR_DATA, "'%s': two images have the id %lld", c->name, (long long)c->images[k].id);
    }
    return TN_OK;
}

static TnStatus read_categories(TnCoco *c, TnError *err) {
    json_t *list, *o;
    size_t i;
    TnStatus st = list_of(c->name, c->root, "categories", &list, err);
    if (st != TN_OK)
        return st;
    c->categories = calloc(json_array_size(list) + 1, sizeof *c->categories);
    if (c->categories == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu categories", json_array_size(list));
    json_array_foreach(list, i, o) {
        TnCocoCategory *m = &c->categories[c->n_categories++];
        st = get_id(c->name, "category", i, o, "id", &m->id, err);
        const char *name = json_string_value(json_object_get(o, "name"));
        m->name = name == NULL ? "" : name;
        if (st != TN_OK)
            return st;
    }
    qsort(c->categories, c->n_categories, sizeof *c->categories, by_category_id);
    for (uint32_t k = 1; k < c->n_categories; k++) {
        if (c->categories[k].id == c->categories[k - 1].id)
            return tnp_fail(err, TN_ERR_DATA, "'%s': two categories have the id %lld", c->name, (long long)c->categories[k].id);
    }
    return TN_OK;
}

uint32_t tn_coco_find_image(const TnCoco *c, int64_t id) {
    TnCocoImage key = {.id = id};
    const TnCocoImage *m = c->n_images == 0 ? NULL : bsearch(&key, c->images, c->n_images, sizeof key, by_image_id);
    return m == NULL ? UINT32_MAX : (uint32_t)(m - c->images);
}

uint32_t tn_coco_find_category(const TnCoco *c, int64_t id) {
    TnCocoCategory key = {.id = id};
    const TnCocoCategory *m = c->n_categories == 0 ? NULL : bsearch(&key, c->categories, c->n_categories, sizeof key, by_category_id);
    return m == NULL ? UINT32_MAX : (uint32_t)(m - c->categories);
}

/* ---- annotations ---- */

static int by_id(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static TnStatus ids_differ(const TnCoco *c, TnError *err) {
    int64_t *ids = malloc((c->truth.n + 1u) * sizeof *ids);
    TnStatus st = ids == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u annotations", c->truth.n) : TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < c->truth.n; i++)
        ids[i] = c->truth.item[i].id;
    if (st == TN_OK)
        qsort(ids, c->truth.n, sizeof *ids, by_id);
    for (uint32_t i = 1; st == TN_OK && i < c->truth.n; i++) {
        if (ids[i] == ids[i - 1])
            st = tnp_fail(err, TN_ERR_DATA, "'%s': two annotations have the id %lld", c->name, (long long)ids[i]);
    }
    free(ids);
    return st;
}

static TnStatus read_annotation(TnCoco *c, size_t i, const json_t *o, TnError *err) {
    int64_t image = 0, category = 0, id = 0, crowd = 0;
    CocoItem item = {.entry = (uint32_t)i};
    TnStatus st = get_id(c->name, "annotation", i, o, "id", &id, err);
    if (st == TN_OK)
        st = get_id(c->name, "annotation", i, o, "image_id", &image, err);
    if (st == TN_OK)
        st = get_id(c->name, "annotation", i, o, "category_id", &category, err);
    if (st == TN_OK)
        st = get_box(c->name, "annotation", i, o, item.box, err);
    if (st == TN_OK && !number(json_object_get(o, "area"), &item.area))
        st = bad_field(c->name, "annotation", i, "area", "a number (of pixels)", err);
    const json_t *v = json_object_get(o, "iscrowd");
    if (st == TN_OK && v != NULL && !json_is_boolean(v) && !whole(v, &crowd))
        st = bad_field(c->name, "annotation", i, "iscrowd", "0 or 1", err);
    if (st != TN_OK)
        return st;
    item.id = id;
    item.crowd = crowd != 0 || json_is_true(v);
    item.image = tn_coco_find_image(c, image);
    item.category = tn_coco_find_category(c, category);
    item.segmentation = json_object_get(o, "segmentation");
    if (item.image == UINT32_MAX || item.category == UINT32_MAX) {
        c->left_out++;
        return TN_OK;
    }
    CocoItem *at = tnp_coco_item(&c->truth);
    if (at == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu annotations", i);
    *at = item;
    return TN_OK;
}

TnStatus tn_coco_decode(const void *data, size_t n, const char *name, TnCoco **out, TnError *err) {
    json_t *list = NULL, *o;
    size_t i;
    *out = NULL;
    TnCoco *c = calloc(1, sizeof *c);
    if (c == NULL || (c->name = strdup(name)) == NULL) {
        free(c);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    }
    TnStatus st = parse(data, n, name, &c->root, err);
    if (st == TN_OK && !json_is_object(c->root))
        st = tnp_fail(err, TN_ERR_PARSE, "'%s' is %s; an annotation file is an object with 'images', 'categories' and 'annotations'", name,
                      json_is_array(c->root) ? "a list (a results file?)" : "no object");
    if (st == TN_OK)
        st = read_images(c, err);
    if (st == TN_OK)
        st = read_categories(c, err);
    if (st == TN_OK)
        st = list_of(name, c->root, "annotations", &list, err);
    if (st == TN_OK) {
        json_array_foreach(list, i, o) {
            st = read_annotation(c, i, o, err);
            if (st != TN_OK)
                break;
        }
    }
    if (st == TN_OK)
        st = ids_differ(c, err);
    if (st != TN_OK)
        tn_coco_destroy(&c);
    *out = c;
    return st;
}

TnStatus tn_coco_load(const char *path, TnCoco **out, TnError *err) {
    void *data;
    size_t n;
    *out = NULL;
    TnStatus st = tnp_read_file(path, MAX_FILE_BYTES, &data, &n, err);
    if (st != TN_OK)
        return st;
    st = tn_coco_decode(data, n, path, out, err);
    free(data);
    return st;
}

void tn_coco_destroy(TnCoco **coco) {
    TnCoco *c = *coco;
    if (c == NULL)
        return;
    free_items(&c->truth);
    free(c->images);
    free(c->categories);
    free(c->name);
    json_decref(c->root);
    free(c);
    *coco = NULL;
}

uint32_t tn_coco_image_count(const TnCoco *c) {
    return c->n_images;
}
const TnCocoImage *tn_coco_image(const TnCoco *c, uint32_t i) {
    return i < c->n_images ? &c->images[i] : NULL;
}
uint32_t tn_coco_category_count(const TnCoco *c) {
    return c->n_categories;
}
const TnCocoCategory *tn_coco_category(const TnCoco *c, uint32_t i) {
    return i < c->n_categories ? &c->categories[i] : NULL;
}
uint32_t tn_coco_annotation_count(const TnCoco *c) {
    return c->truth.n;
}
uint32_t tn_coco_left_out(const TnCoco *c) {
    return c->left_out;
}

bool tn_coco_has_masks(const TnCoco *c) {
    for (uint32_t i = 0; i < c->truth.n; i++) {
        const json_t *s = c->truth.item[i].segmentation;
        if (json_is_object(s) || json_array_size(s) > 0)
            return true;
    }
    return false;
}

/* ---- masks ---- */

/* {"size": [h, w], "counts": text or list} */
static TnStatus mask_of_rle(const json_t *o, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    const json_t *size = json_object_get(o, "size"), *counts = json_object_get(o, "counts");
    int64_t h = 0, w = 0;
    if (json_array_size(size) != 2 || !whole(json_array_get(size, 0), &h) || !whole(json_array_get(size, 1), &w))
        return tnp_fail(err, TN_ERR_PARSE, "'size' must be [height, width]");
    if (h != height || w != width)
        return tnp_fail(err, TN_ERR_DATA, "the mask is for %lld x %lld pixels (width x height), its image has %u x %u", (long long)w,
                        (long long)h, width, height);
    if (json_is_string(counts))
        return tn_rle_from_text(json_string_value(counts), json_string_length(counts), height, width, out, err);
    size_t n = json_array_size(counts);
    if (!json_is_array(counts) || n > UINT32_MAX / 8)
        return tnp_fail(err, TN_ERR_PARSE, "'counts' must be a string or a list of numbers");
    uint32_t *runs = malloc((n + 1) * sizeof *runs);
    if (runs == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu runs of a mask", n);
    TnStatus st = TN_OK;
    for (size_t i = 0; i < n && st == TN_OK; i++) {
        int64_t v;
        if (!whole(json_array_get(counts, i), &v) || v < 0 || v > TN_RLE_MAX_PIXELS)
            st = tnp_fail(err, TN_ERR_PARSE, "run %zu of 'counts' must be a whole number of pixels", i);
        else
            runs[i] = (uint32_t)v;
    }
    if (st == TN_OK)
        st = tn_rle_from_counts(runs, (uint32_t)n, height, width, out, err);
    free(runs);
    return st;
}

static TnStatus mask_of_box(const double b[4], uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    double x1 = b[0] + b[2], y1 = b[1] + b[3];
    const double xy[8] = {b[0], b[1], b[0], y1, x1, y1, x1, b[1]};
    return tn_rle_from_polygon(xy, 4, height, width, out, err);
}

static TnStatus mask_of_polygon(const json_t *part, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    size_t n = json_array_size(part);
    if (!json_is_array(part) || n % 2 != 0 || n == 0 || n > UINT32_MAX / 16)
        return tnp_fail(err, TN_ERR_PARSE, "a polygon must be a list of x, y, x, y, ... with at least three corners");
    double *xy = malloc(n * sizeof *xy);
    bool ok = xy != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = number(json_array_get(part, i), &xy[i]);
    TnStatus st = xy == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: a polygon of %zu corners", n / 2)
                  : !ok      ? tnp_fail(err, TN_ERR_PARSE, "a corner of a polygon is no number")
                             : tn_rle_from_polygon(xy, (uint32_t)(n / 2), height, width, out, err);
    free(xy);
    return st;
}

static TnStatus mask_of_polygons(const json_t *list, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    size_t n = json_array_size(list), first = json_array_size(json_array_get(list, 0));
    if (n == 0 || first < 5 || n > MAX_POLYGONS)
        return tnp_fail(err, TN_ERR_PARSE,
                        n > MAX_POLYGONS ? "more than 100000 polygons"
                                         : "a list of polygons must not be empty, and the first needs three corners");
    TnRle *parts = calloc(n, sizeof *parts);
    TnStatus st = parts == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu polygons", n) : TN_OK;
    for (size_t i = 0; i < n && st == TN_OK; i++)
        st = mask_of_polygon(json_array_get(list, i), height, width, &parts[i], err);
    if (st == TN_OK)
        st = tn_rle_union(parts, (uint32_t)n, out, err);
    for (size_t i = 0; parts != NULL && i < n; i++)
        tn_rle_free(&parts[i]);
    free(parts);
    return st;
}

TnStatus tnp_coco_mask(const TnCoco *c, const char *file, const char *what, CocoItem *item, TnError *err) {
    const TnCocoImage *m = &c->images[item->image];
    TnError why = {0};
    TnStatus st;
    if (item->has_mask)
        return TN_OK;
    if (m->width == 0 || m->height == 0)
        st = tnp_fail(&why, TN_ERR_DATA, "the annotations do not give width and height of image %lld", (long long)m->id);
    else if (json_is_object(item->segmentation))
        st = mask_of_rle(item->segmentation, m->height, m->width, &item->mask, &why);
    else if (json_is_array(item->segmentation))
        st = mask_of_polygons(item->segmentation, m->height, m->width, &item->mask, &why);
    else if (strcmp(what, "result") == 0 && item->segmentation == NULL)
        st = mask_of_box(item->box, m->height, m->width, &item->mask, &why);
    else
        st = tnp_fail(&why, TN_ERR_PARSE, "no list of polygons and no run lengths; mask scores need them");
    item->has_mask = st == TN_OK;
    return st == TN_OK ? TN_OK : tnp_fail(err, st, "'%s': %s %u: 'segmentation': %.1200s", file, what, item->entry, why.message);
}

/* ---- results ---- */

TnStatus tn_coco_results_create(const TnCoco *coco, TnCocoResults **out, TnError *err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    (*out)->coco = coco;
    return TN_OK;
}

void tn_coco_results_destroy(TnCocoResults **results) {
    if (*results == NULL)
        return;
    free_items(&(*results)->found);
    free((*results)->name);
    json_decref((*results)->root);
    free(*results);
    *results = NULL;
}

uint32_t tn_coco_results_count(const TnCocoResults *r) {
    return r->found.n;
}
uint32_t tn_coco_results_left_out(const TnCocoResults *r) {
    return r->left_out;
}
bool tn_coco_results_have_masks(const TnCocoResults *r) {
    return r->any_mask;
}

TnStatus tn_coco_results_add(TnCocoResults *r, uint32_t image, uint32_t category, double score, const double box[4], const TnRle *mask,
                             TnError *err) {
    CocoItem item = {.image = image, .category = category, .score = score, .area = box[2] * box[3], .entry = r->found.n};
    if (image >= r->coco->n_images || category >= r->coco->n_categories)
        return tnp_fail(err, TN_ERR_ARGUMENT, "image %u of %u, category %u of %u", image, r->coco->n_images, category,
                        r->coco->n_categories);
    const TnCocoImage *m = &r->coco->images[image];
    if (!isfinite(score) || !isfinite(box[0]) || !isfinite(box[1]) || !isfinite(box[2]) || !isfinite(box[3]))
        return tnp_fail(err, TN_ERR_DATA, "a detection on image %lld has a score or box that is no number", (long long)m->id);
    memcpy(item.box, box, sizeof item.box);
    if (mask != NULL) {
        if (m->width != 0 && m->height != 0 && (mask->width != m->width || mask->height != m->height))
            return tnp_fail(err, TN_ERR_DATA, "image %lld has %u x %u pixels, the annotations say %u x %u", (long long)m->id, mask->width,
                            mask->height, m->width, m->height);
        TnStatus st = tn_rle_from_counts(mask->counts, mask->n, mask->height, mask->width, &item.mask, err);
        if (st != TN_OK)
            return st;
        item.has_mask = r->any_mask = true;
    }
    CocoItem *at = tnp_coco_item(&r->found);
    if (at == NULL) {
        tn_rle_free(&item.mask);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u detections", r->found.n);
    }
    *at = item;
    return TN_OK;
}

static TnStatus read_result(TnCocoResults *r, size_t i, const json_t *o, bool boxes, TnError *err) {
    int64_t image = 0, category = 0;
    CocoItem item = {.entry = (uint32_t)i};
    TnStatus st = get_id(r->name, "result", i, o, "image_id", &image, err);
    if (st == TN_OK)
        st = get_id(r->name, "result", i, o, "category_id", &category, err);
    if (st == TN_OK && !number(json_object_get(o, "score"), &item.score))
        st = bad_field(r->name, "result", i, "score", "a number", err);
    if (st == TN_OK && boxes)
        st = get_box(r->name, "result", i, o, item.box, err);
    if (st != TN_OK)
        return st;
    item.image = tn_coco_find_image(r->coco, image);
    item.category = tn_coco_find_category(r->coco, category);
    item.segmentation = json_object_get(o, "segmentation");
    if (item.image == UINT32_MAX)
        return tnp_fail(err, TN_ERR_DATA, "'%s': result %zu: there is no image with the id %lld in '%s'", r->name, i, (long long)image,
                        r->coco->name);
    if (item.category == UINT32_MAX) {
        r->left_out++;
        return TN_OK;
    }
    if (boxes)
        item.area = item.box[2] * item.box[3];
    else if ((st = tnp_coco_mask(r->coco, r->name, "result", &item, err)) == TN_OK) {
        item.area = (double)tn_rle_area(&item.mask);
        tn_rle_box(&item.mask, item.box);
        if (json_object_get(o, "bbox") != NULL)
            st = get_box(r->name, "result", i, o, item.box, err);
    }
    r->any_mask = r->any_mask || item.segmentation != NULL;
    CocoItem *at = st == TN_OK ? tnp_coco_item(&r->found) : NULL;
    if (at == NULL) {
        tn_rle_free(&item.mask);
        return st != TN_OK ? st : tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu results", i);
    }
    *at = item;
    return TN_OK;
}

TnStatus tn_coco_results_decode(TnCocoResults *r, const void *data, size_t n, const char *name, TnError *err) {
    json_t *o;
    size_t i;
    if (r->root != NULL || r->found.n > 0)
        return tnp_fail(err, TN_ERR_STATE, "these results are not empty");
    if ((r->name = strdup(name)) == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    TnStatus st = parse(data, n, name, &r->root, err);
    json_t *list = json_is_object(r->root) ? json_object_get(r->root, "annotations") : r->root;
    if (st == TN_OK && !json_is_array(list))
        st = tnp_fail(err, TN_ERR_PARSE,
                      "'%s' is no list; a results file is a list of objects with 'image_id', 'category_id', 'score' and 'bbox' or "
                      "'segmentation' (or an object whose 'annotations' are such a list)",
                      name);
    const json_t *first = json_array_get(list, 0), *box = json_object_get(first, "bbox");
    bool boxes = box != NULL && !(json_is_array(box) && json_array_size(box) == 0);
    if (st == TN_OK && first != NULL && !boxes && json_object_get(first, "segmentation") == NULL)
        st = tnp_fail(err, TN_ERR_PARSE, "'%s': result 0 has neither 'bbox' nor 'segmentation'", name);
    if (st == TN_OK) {
        json_array_foreach(list, i, o) {
            st = read_result(r, i, o, boxes, err);
            if (st != TN_OK)
                break;
        }
    }
    return st;
}

TnStatus tn_coco_results_load(TnCocoResults *r, const char *path, TnError *err) {
    void *data;
    size_t n;
    TnStatus st = tnp_read_file(path, MAX_FILE_BYTES, &data, &n, err);
    if (st != TN_OK)
        return st;
    st = tn_coco_results_decode(r, data, n, path, err);
    free(data);
    return st;
}

TnStatus tn_coco_results_save(const TnCocoResults *r, const char *path, TnError *err) {
    TnpText t = {0};
    tnp_text_put(&t, "[");
    for (uint32_t i = 0; i < r->found.n; i++) {
        const CocoItem *d = &r->found.item[i];
        tnp_text_printf(&t, "%s{\"image_id\":%lld,\"category_id\":%lld,\"score\":%.17g,\"bbox\":[%.17g,%.17g,%.17g,%.17g]",
                        i == 0 ? "" : ",\n", (long long)r->coco->images[d->image].id, (long long)r->coco->categories[d->category].id,
                        d->score, d->box[0], d->box[1], d->box[2], d->box[3]);
        if (d->has_mask) {
            char *runs = tn_rle_to_text(&d->mask);
            tnp_text_printf(&t, ",\"segmentation\":{\"size\":[%u,%u],\"counts\":\"", d->mask.height, d->mask.width);
            t.failed = t.failed || runs == NULL;
            for (const char *p = runs; p != NULL && *p != '\0'; p++) /* of the characters that occur only the backslash needs care */
                tnp_text_append(&t, *p == '\\' ? "\\\\" : p, *p == '\\' ? 2 : 1);
            tnp_text_put(&t, "\"}");
            free(runs);
        }
        tnp_text_put(&t, "}");
    }
    tnp_text_put(&t, "]\n");
    return tnp_text_save(&t, path, err);
}
