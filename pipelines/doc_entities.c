/* SPDX-License-Identifier: Apache-2.0
 *
 * Labels to entities, entities to pairs, and their scores. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/doc_internal.h"
#include "pipelines/util.h"

DocTag tnp_doc_tag(const char *text) {
    if (text[0] == '\0' || text[1] == '\0')
        return (DocTag){text[0] == '\0' ? 'O' : text[0], "_"};
    return (DocTag){text[0], text[1] == '-' ? text + 2 : text + 1};
}

bool tnp_doc_chunk_ends(DocTag prev, DocTag tag) {
    if (prev.kind == 'O')
        return false;
    return prev.kind == 'E' || prev.kind == 'S' || tag.kind == 'B' || tag.kind == 'S' || tag.kind == 'O' ||
           strcmp(prev.type, tag.type) != 0;
}

bool tnp_doc_chunk_starts(DocTag prev, DocTag tag) {
    if (tag.kind == 'O')
        return false;
    return tag.kind == 'B' || tag.kind == 'S' || prev.kind == 'E' || prev.kind == 'S' || prev.kind == 'O' ||
           strcmp(prev.type, tag.type) != 0;
}

/* ---- entities ---- */

void tnp_doc_entities_free(TnDocResult *result) {
    for (uint32_t i = 0; result->entities != NULL && i < result->n; i++)
        free(result->entities[i].text);
    free(result->entities);
    result->entities = NULL;
    result->n = 0;
}

static TnStatus describe(const TnDocPage *page, TnDocEntity *e, const float *scores, TnError *err) {
    size_t bytes = 1;
    double sum = 0;
    for (uint32_t i = e->first; i < e->first + e->n; i++) {
        const int32_t *b = page->words[i].box;
        bytes += strlen(page->words[i].text) + 1;
        sum += (double)scores[i];
        for (int k = 0; k < 4; k++) {
            bool wider = i == e->first || (k < 2 ? b[k] < e->box[k] : b[k] > e->box[k]);
            e->box[k] = wider ? b[k] : e->box[k];
        }
    }
    e->score = (float)(sum / e->n);
    char *to = e->text = malloc(bytes);
    if (to == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: an entity of %u words", e->n);
    for (uint32_t i = e->first; i < e->first + e->n; i++)
        to += sprintf(to, "%s%s", i == e->first ? "" : " ", page->words[i].text);
    return TN_OK;
}

static int32_t middle(const TnDocEntity *e) {
    return (e->box[1] + e->box[3]) / 2;
}

static int by_top(const void *a, const void *b) {
    const TnDocEntity *x = *(TnDocEntity *const *)a, *y = *(TnDocEntity *const *)b;
    return middle(x) != middle(y) ? (middle(x) < middle(y) ? -1 : 1) : (x->first > y->first) - (x->first < y->first);
}

static int by_left(const void *a, const void *b) {
    const TnDocEntity *x = *(TnDocEntity *const *)a, *y = *(TnDocEntity *const *)b;
    return x->box[0] != y->box[0] ? (x->box[0] < y->box[0] ? -1 : 1) : (x->first > y->first) - (x->first < y->first);
}

/* Heights overlap by half of the smaller. */
static bool same_line(const TnDocEntity *a, const TnDocEntity *b) {
    int32_t top = a->box[1] > b->box[1] ? a->box[1] : b->box[1], bottom = a->box[3] < b->box[3] ? a->box[3] : b->box[3];
    int32_t ha = a->box[3] - a->box[1], hb = b->box[3] - b->box[1];
    return 2 * (bottom - top) >= (ha < hb ? ha : hb);
}

static void reading_order(TnDocEntity **sorted, uint32_t n) {
    qsort(sorted, n, sizeof *sorted, by_top);
    for (uint32_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && same_line(sorted[from], sorted[to]); to++) {
        }
        qsort(sorted + from, to - from, sizeof *sorted, by_left);
    }
    for (uint32_t i = 0; i < n; i++)
        sorted[i]->order = i;
}

/* An answer belongs to the nearest question to the left on its line; else to the nearest one above that shares columns with it; else to the
 * last question before it in reading order. */
static uint32_t find_question(const TnDocEntity *a, const TnDocEntity *all, uint32_t n) {
    uint32_t left = TN_DOC_NONE, above = TN_DOC_NONE, before = TN_DOC_NONE;
    for (uint32_t i = 0; i < n; i++) {
        const TnDocEntity *q = &all[i];
        if (strcmp(q->label, "question") != 0)
            continue;
        if (same_line(q, a) && q->box[0] <= a->box[0]) {
            if (left == TN_DOC_NONE || q->box[0] > all[left].box[0])
                left = i;
        } else if (middle(q) < middle(a) && q->box[0] < a->box[2] && a->box[0] < q->box[2]) {
            if (above == TN_DOC_NONE || middle(q) > middle(&all[above]))
                above = i;
        }
        if (q->order < a->order && (before == TN_DOC_NONE || q->order > all[before].order))
            before = i;
    }
    return left != TN_DOC_NONE ? left : above != TN_DOC_NONE ? above : before;
}

static TnStatus arrange(TnDocResult *r, TnError *err) {
    TnDocEntity **sorted = malloc((r->n + 1u) * sizeof *sorted);
    if (sorted == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u entities", r->n);
    for (uint32_t i = 0; i < r->n; i++)
        sorted[i] = &r->entities[i];
    reading_order(sorted, r->n);
    free(sorted);
    for (uint32_t i = 0; i < r->n; i++) {
        TnDocEntity *e = &r->entities[i];
        e->question = strcmp(e->label, "answer") == 0 ? find_question(e, r->entities, r->n) : TN_DOC_NONE;
    }
    return TN_OK;
}

TnStatus tnp_doc_entities(const TnDocPage *page, const char *const *tags, const char *const *types, TnDocResult *r, TnError *err) {
    DocTag prev = {'O', "_"};
    TnStatus st = TN_OK;
    r->n = 0;
    r->entities = calloc(page->n + 1u, sizeof *r->entities);
    if (r->entities == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u words", page->n);
    for (uint32_t i = 0; i < page->n; i++) {
        DocTag tag = tnp_doc_tag(tags[r->labels[i]]);
        bool outside = tag.kind == 'O';
        bool starts =
            outside ? i == 0 || prev.kind != 'O' || page->words[i].segment != page->words[i - 1].segment : tnp_doc_chunk_starts(prev, tag);
        if (starts)
            r->entities[r->n++] = (TnDocEntity){.label = outside ? "other" : types[r->labels[i]], .first = i, .question = TN_DOC_NONE};
        r->entities[r->n - 1].n++;
        prev = tag;
    }
    for (uint32_t i = 0; i < r->n && st == TN_OK; i++)
        st = describe(page, &r->entities[i], r->scores, err);
    return st == TN_OK ? arrange(r, err) : st;
}

/* ---- scores ---- */

static TnStatus type_index(TnDocScore *s, const char *name, uint32_t *out, TnError *err) {
    for (*out = 0; *out < s->n_types; (*out)++) {
        if (strncmp(s->type[*out].name, name, sizeof s->type[0].name - 1) == 0)
            return TN_OK;
    }
    if (s->n_types == TN_DOC_MAX_TYPES)
        return tnp_fail(err, TN_ERR_LIMIT, "more than %d types of entities", TN_DOC_MAX_TYPES);
    snprintf(s->type[s->n_types++].name, sizeof s->type[0].name, "%s", name);
    return TN_OK;
}

/* The chunk that starts at tag i ends before the returned place. */
static uint32_t chunk_end(const char *const *tags, uint32_t i, uint32_t n) {
    DocTag prev = tnp_doc_tag(tags[i]);
    for (i++; i < n; i++) {
        DocTag tag = tnp_doc_tag(tags[i]);
        if (tnp_doc_chunk_ends(prev, tag) || tnp_doc_chunk_starts(prev, tag))
            break;
        prev = tag;
    }
    return i;
}

static bool starts_at(const char *const *tags, uint32_t i) {
    return tnp_doc_chunk_starts(i == 0 ? (DocTag){'O', "_"} : tnp_doc_tag(tags[i - 1]), tnp_doc_tag(tags[i]));
}

TnStatus tn_doc_score_add(TnDocScore *s, const char *const *expected, const char *const *predicted, uint32_t n, TnError *err) {
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < n && st == TN_OK; i++) {
        bool want = starts_at(expected, i), got = starts_at(predicted, i);
        uint32_t t = 0;
        if (want && (st = type_index(s, tnp_doc_tag(expected[i]).type, &t, err)) == TN_OK) {
            s->expected++;
            s->type[t].expected++;
            if (got && strcmp(tnp_doc_tag(expected[i]).type, tnp_doc_tag(predicted[i]).type) == 0 &&
                chunk_end(expected, i, n) == chunk_end(predicted, i, n)) {
                s->right++;
                s->type[t].right++;
            }
        }
        if (st == TN_OK && got && (st = type_index(s, tnp_doc_tag(predicted[i]).type, &t, err)) == TN_OK) {
            s->predicted++;
            s->type[t].predicted++;
        }
    }
    return st;
}

double tn_doc_precision(uint64_t right, uint64_t predicted) {
    return predicted == 0 ? 0.0 : (double)right / (double)predicted;
}

double tn_doc_f1(uint64_t right, uint64_t predicted, uint64_t expected) {
    return predicted + expected == 0 ? 0.0 : 2.0 * (double)right / (double)(predicted + expected);
}
