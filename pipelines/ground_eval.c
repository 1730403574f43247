/* SPDX-License-Identifier: Apache-2.0
 *
 * Phrases with their true boxes, and how answers are counted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "pipelines/ground.h"
#include "pipelines/pickle.h"
#include "pipelines/util.h"

#define MAX_FILE ((size_t)2 << 30)

/* ---- counting ---- */

float tn_ground_iou(const float a[4], const float b[4]) {
    float area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1), area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1);
    float w = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]) + 1;
    float h = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]) + 1;
    float both = (w < 0 ? 0 : w) * (h < 0 ? 0 : h);
    return both / (area_a + area_b - both);
}

float tn_ground_count(TnGroundTotal *total, const TnGroundAnswer *a, const TnRegions *r, const float truth[4]) {
    float chosen = 0;
    for (uint32_t i = 0; i < a->rows; i++) {
        float box[4];
        tn_ground_box(r, i, box);
        const float target = tn_ground_iou(box, truth);
        const double x = (double)a->logits[i];
        total->loss += fmax(x, 0) - x * (double)target + log1p(exp(-fabs(x)));
        chosen = i == a->best ? target : chosen;
    }
    total->n++;
    total->right += chosen > 0.5f;
    return chosen;
}

/* ---- phrases ---- */

void tn_phrases_free(TnPhrases *p) {
    for (uint32_t i = 0; i < p->n; i++) {
        free(p->items[i].text);
        free(p->items[i].image);
    }
    free(p->items);
    *p = (TnPhrases){0};
}

/* box NULL: none. Texts are copied. */
static TnStatus add(TnPhrases *p, const char *text, size_t n_text, const char *image, const double *box, TnError *err) {
    if (p->n == p->cap) {
        uint32_t cap = p->cap == 0 ? 256 : p->cap * 2;
        TnPhrase *grown = realloc(p->items, cap * sizeof *grown);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u phrases", cap);
        p->items = grown;
        p->cap = cap;
    }
    TnPhrase *item = &p->items[p->n];
    *item = (TnPhrase){.text = strndup(text, n_text), .image = strdup(image), .has_box = box != NULL};
    for (int k = 0; box != NULL && k < 4; k++)
        item->box[k] = (float)box[k];
    p->n++;
    return item->text == NULL || item->image == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: a phrase") : TN_OK;
}

static bool four(const json_t *a, double out[4]) {
    for (size_t i = 0; i < 4; i++) {
        const json_t *v = json_array_get(a, i);
        out[i] = json_number_value(v);
        if (!json_is_number(v) || !(fabs(out[i]) < 1e7))
            return false;
    }
    return json_array_size(a) == 4;
}

static const json_t *find(const json_t *o, const char *const *keys) {
    const json_t *v = NULL;
    for (; v == NULL && *keys != NULL; keys++)
        v = json_object_get(o, *keys);
    return v;
}

/* An id as text: 42 and "42" are the same. */
static bool id_text(const json_t *v, char *out, size_t n) {
    if (json_is_integer(v))
        snprintf(out, n, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_string(v) && json_string_length(v) > 0 && json_string_length(v) < n)
        snprintf(out, n, "%s", json_string_value(v));
    else
        return false;
    return true;
}

static TnStatus read_json(const char *path, const void *data, size_t n, TnPhrases *out, TnError *err) {
    static const char *const texts[] = {"phrase", "raw", "sent", "sentence", "caption", NULL}, *const images[] = {"image", "image_id", NULL};
    json_error_t why;
    json_t *root = json_loadb(data, n, 0, &why);
    TnStatus st = root == NULL ? tnp_fail(err, TN_ERR_PARSE, "'%s' is no JSON: %s (line %d, column %d)", path, why.text, why.line, why.column)
                  : !json_is_array(root)
                      ? tnp_fail(err, TN_ERR_PARSE, "'%s' must be a list of {\"phrase\", \"image\", \"box\": [x0, y0, x1, y1] or \"bbox\": [x, y, width, height]}", path)
                      : TN_OK;
    for (size_t i = 0; st == TN_OK && i < json_array_size(root); i++) {
        const json_t *item = json_array_get(root, i), *text = find(item, texts), *corners = json_object_get(item, "box"), *sides = json_object_get(item, "bbox");
        char image[512];
        double box[4] = {0};
        bool has_box = corners != NULL || sides != NULL;
        if (!json_is_string(text))
            st = tnp_fail(err, TN_ERR_PARSE, "'%s' item %zu: there must be a string 'phrase'", path, i);
        else if (!id_text(find(item, images), image, sizeof image))
            st = tnp_fail(err, TN_ERR_PARSE, "'%s' item %zu: 'image' must be the picture's id, a number or a text of 1 to 511 bytes", path, i);
        else if (has_box && !four(corners != NULL ? corners : sides, box))
            st = tnp_fail(err, TN_ERR_PARSE, "'%s' item %zu: '%s' must be four numbers", path, i, corners != NULL ? "box" : "bbox");
        if (corners == NULL) {
            box[2] += box[0];
            box[3] += box[1];
        }
        if (st == TN_OK && has_box && !(box[0] <= box[2] && box[1] <= box[3]))
            st = tnp_fail(err, TN_ERR_DATA, "'%s' item %zu: box %g %g %g %g is inverted; a box is left, top, right, bottom", path, i, box[0], box[1], box[2], box[3]);
        if (st == TN_OK)
            st = add(out, json_string_value(text), json_string_length(text), image, has_box ? box : NULL, err);
    }
    json_decref(root);
    return st;
}

/* ---- REFER ---- */

typedef struct Annotation {
    int64_t id;
    double box[4]; /* x0, y0, x1, y1 */
} Annotation;

static int by_id(const void *a, const void *b) {
    int64_t x = ((const Annotation *)a)->id, y = ((const Annotation *)b)->id;
    return x < y ? -1 : x > y;
}

/* instances.json in COCO's layout beside the references, sorted by id. */
static TnStatus read_instances(const char *refs, Annotation **out, size_t *n, TnError *err) {
    char path[4200];
    void *data;
    size_t size;
    json_error_t why;
    const char *slash = strrchr(refs, '/');
    *out = NULL;
    *n = 0;
    snprintf(path, sizeof path, "%.*sinstances.json", slash == NULL ? 0 : (int)(slash + 1 - refs), refs);
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &size, err);
    if (st != TN_OK)
        return st;
    json_t *root = json_loadb(data, size, 0, &why);
    const json_t *list = json_object_get(root, "annotations");
    free(data);
    if (!json_is_array(list))
        st = root == NULL ? tnp_fail(err, TN_ERR_PARSE, "'%s' is no JSON: %s (line %d)", path, why.text, why.line)
                          : tnp_fail(err, TN_ERR_PARSE, "'%s' has no list 'annotations'", path);
    else if ((*out = malloc((json_array_size(list) + 1) * sizeof **out)) == NULL)
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: '%s'", path);
    for (size_t i = 0; st == TN_OK && i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i), *id = json_object_get(a, "id");
        Annotation *to = &(*out)[*n];
        to->id = json_integer_value(id);
        if (!json_is_integer(id) || !four(json_object_get(a, "bbox"), to->box) || to->box[2] < 0 || to->box[3] < 0) {
            st = tnp_fail(err, TN_ERR_PARSE, "'%s': annotations[%zu] must have a number 'id' and 'bbox' [x, y, width, height]", path, i);
            break;
        }
        to->box[2] += to->box[0];
        to->box[3] += to->box[1];
        (*n)++;
    }
    json_decref(root);
    if (st == TN_OK)
        qsort(*out, *n, sizeof **out, by_id);
    else {
        free(*out);
        *out = NULL;
    }
    return st;
}

static TnStatus add_reference(const TnpValue *ref, uint32_t index, const char *path, const Annotation *annotations, size_t n, TnPhrases *out, TnError *err) {
    const TnpValue *sentences = tnp_pickle_get(ref, "sentences");
    Annotation key;
    int64_t image;
    char name[32];
    if (!tnp_pickle_int(tnp_pickle_get(ref, "ann_id"), &key.id) || !tnp_pickle_int(tnp_pickle_get(ref, "image_id"), &image) || sentences == NULL ||
        sentences->kind != TNP_LIST)
        return tnp_fail(err, TN_ERR_PARSE, "'%s' reference %u: there must be ann_id, image_id and a list of sentences", path, index);
    const Annotation *found = bsearch(&key, annotations, n, sizeof *annotations, by_id);
    if (found == NULL)
        return tnp_fail(err, TN_ERR_DATA, "'%s' reference %u: instances.json has no annotation %lld", path, index, (long long)key.id);
    snprintf(name, sizeof name, "%lld", (long long)image);
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < sentences->n && st == TN_OK; i++) {
        const TnpValue *text = tnp_pickle_get(sentences->u.items[i], "raw");
        if (text == NULL || (text->kind != TNP_TEXT && text->kind != TNP_BYTES))
            return tnp_fail(err, TN_ERR_PARSE, "'%s' reference %u: sentence %u has no text 'raw'", path, index, i);
        st = add(out, text->u.text, text->n, name, found->box, err);
    }
    return st;
}

static TnStatus read_refs(const char *path, const void *data, size_t n, const char *split, TnPhrases *out, TnError *err) {
    TnpPickle p;
    Annotation *annotations = NULL;
    size_t n_annotations = 0;
    TnStatus st = tnp_pickle_read(data, n, path, &p, err);
    if (st != TN_OK)
        return st;
    if (p.root->kind != TNP_LIST)
        st = tnp_fail(err, TN_ERR_PARSE, "'%s' is a pickle, but no list of references as REFER has in refs(...).p", path);
    if (st == TN_OK)
        st = read_instances(path, &annotations, &n_annotations, err);
    for (uint32_t i = 0; st == TN_OK && i < p.root->n; i++) {
        const TnpValue *ref = p.root->u.items[i], *of = tnp_pickle_get(ref, "split");
        if (split == NULL || (of != NULL && tnp_pickle_is_text(of, split)))
            st = add_reference(ref, i, path, annotations, n_annotations, out, err);
    }
    free(annotations);
    tnp_pickle_free(&p);
    return st;
}

TnStatus tn_phrases_load(const char *path, const char *split, TnPhrases *out, TnError *err) {
    void *data;
    size_t n, at = 0;
    *out = (TnPhrases){0};
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &n, err);
    if (st != TN_OK)
        return st;
    const char *text = data;
    while (at < n && strchr(" \t\r\n", text[at]) != NULL && text[at] != '\0')
        at++;
    if (at < n && (text[at] == '[' || text[at] == '{')) {
        st = split != NULL ? tnp_fail(err, TN_ERR_ARGUMENT, "'%s' is a JSON list, which has no splits; leave --split out", path) : read_json(path, data, n, out, err);
    } else if (n > 0 && (text[0] == (char)0x80 || text[0] == '(' || text[0] == ']')) {
        st = read_refs(path, data, n, split, out, err);
    } else {
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s' is neither a JSON list of phrases nor REFER's refs(...).p", path);
    }
    free(data);
    if (st == TN_OK && out->n == 0)
        st = tnp_fail(err, TN_ERR_DATA, "'%s' has no phrase%s%s", path, split == NULL ? "" : " of split ", split == NULL ? "" : split);
    if (st != TN_OK)
        tn_phrases_free(out);
    return st;
}
