/* SPDX-License-Identifier: Apache-2.0
 *
 * Average precision and recall. Category by category: the detections of an image, best first and at most 100, take truths one by one at
 * each of ten overlaps and in each of four ranges of area; then all of the category, best first, give precision at 101 recalls. The rules
 * (ties, crowds, what is ignored, the order of comparisons and sums) are pycocotools', and so are the numbers. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/coco_internal.h"
#include "pipelines/util.h"

#define N_OVERLAPS 10
#define N_RECALLS 101
#define N_AREAS 4
#define N_LIMITS 3
#define MOST 100 /* detections of an image and category that count */

const char *const tn_coco_number_names[TN_COCO_NUMBERS] = {"AP",  "AP50", "AP75",  "APs", "APm", "APl",
                                                           "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};
static const uint32_t limits[N_LIMITS] = {1, 10, MOST};
static const double areas[N_AREAS][2] = {{0, 1e10}, {0, 1024}, {1024, 9216}, {9216, 1e10}}; /* all, small, medium, large */

/* A detection's fate: bit t of found and ignored at overlap t. */
typedef struct Fate {
    double score;
    uint32_t rank; /* among those of its image */
    uint16_t found[N_AREAS], ignored[N_AREAS];
} Fate;

/* Sums over what is not -1. */
typedef struct Mean {
    double sum;
    uint64_t n;
} Mean;

typedef struct Job {
    const TnCoco *coco;
    const TnCocoResults *results;
    const CocoItem **truth, **found; /* by category, image, then as in the file; found: best first */
    uint32_t n_truth, n_found;
    TnCocoKind kind;
    double overlaps[N_OVERLAPS], recalls[N_RECALLS];
    /* of one image and category */
    double *overlap; /* [detections, truths] */
    size_t overlap_cap;
    uint32_t *order; /* [truths] those that count first */
    bool *taken;     /* [truths] */
    uint32_t truths_cap;
    /* of one category */
    Fate *fates;
    uint32_t n_fates, fates_cap;
    uint64_t to_find[N_AREAS];
    double *best;                               /* [fates] precision */
    Mean ap[3][N_AREAS], ar[N_AREAS][N_LIMITS]; /* ap: all overlaps, 0.5, 0.75 */
} Job;

static int by_place(const void *a, const void *b) {
    const CocoItem *x = *(const CocoItem *const *)a, *y = *(const CocoItem *const *)b;
    if (x->category != y->category)
        return x->category < y->category ? -1 : 1;
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    return (x->entry > y->entry) - (x->entry < y->entry);
}

static int by_score(const void *a, const void *b) {
    const CocoItem *x = *(const CocoItem *const *)a, *y = *(const CocoItem *const *)b;
    if (x->category != y->category || x->image != y->image || !(x->score > y->score || x->score < y->score))
        return by_place(a, b);
    return x->score > y->score ? -1 : 1;
}

/* Fates are sorted with their places, since qsort keeps no order among equals. */
static int by_fate(const void *a, const void *b) {
    const Fate *x = *(const Fate *const *)a, *y = *(const Fate *const *)b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return (x > y) - (x < y);
}

/* ---- one image and category ---- */

static double box_overlap(const CocoItem *d, const CocoItem *g) {
    const double *a = d->box, *b = g->box;
    double w = fmin(a[2] + a[0], b[2] + b[0]) - fmax(a[0], b[0]), h = fmin(a[3] + a[1], b[3] + b[1]) - fmax(a[1], b[1]);
    if (w <= 0 || h <= 0)
        return 0;
    double common = w * h, area = a[2] * a[3];
    return common / (g->crowd ? area : area + b[2] * b[3] - common);
}

static double mask_overlap(const CocoItem *d, const CocoItem *g) {
    uint64_t common = tn_rle_common(&d->mask, &g->mask), area = tn_rle_area(&d->mask);
    return common == 0 ? 0 : (double)common / (double)(g->crowd ? area : area + tn_rle_area(&g->mask) - common);
}

static TnStatus overlaps_of(Job *job, const CocoItem **truth, uint32_t n_truth, const CocoItem **found, uint32_t n_found, TnError *err) {
    size_t need = (size_t)n_truth * n_found;
    if (need > job->overlap_cap) {
        free(job->overlap);
        job->overlap = malloc(need * sizeof *job->overlap);
        job->overlap_cap = job->overlap == NULL ? 0 : need;
    }
    if (n_truth > job->truths_cap) {
        free(job->order);
        free(job->taken);
        job->order = malloc(n_truth * sizeof *job->order);
        job->taken = malloc(n_truth * sizeof *job->taken);
        job->truths_cap = job->order == NULL || job->taken == NULL ? 0 : n_truth;
    }
    if (need > job->overlap_cap || n_truth > job->truths_cap)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u truths and %u detections on an image", n_truth, n_found);
    for (uint32_t i = 0; i < n_found; i++) {
        for (uint32_t k = 0; k < n_truth; k++)
            job->overlap[(size_t)i * n_truth + k] =
                job->kind == TN_COCO_BOX ? box_overlap(found[i], truth[k]) : mask_overlap(found[i], truth[k]);
    }
    return TN_OK;
}

static bool outside(double area, uint32_t a) {
    return area < areas[a][0] || area > areas[a][1];
}

static bool does_not_count(const CocoItem *g, uint32_t a) {
    return g->crowd || outside(g->area, a);
}

/* The truth that a detection takes, or UINT32_MAX: the last of the largest overlap, one that counts before one that does not. */
static uint32_t choose(const Job *job, const CocoItem **truth, uint32_t n_truth, const double *overlap, uint32_t a, double least) {
    uint32_t best = UINT32_MAX;
    double iou = fmin(least, 1 - 1e-10);
    for (uint32_t k = 0; k < n_truth; k++) {
        uint32_t g = job->order[k];
        if (job->taken[g] && !truth[g]->crowd)
            continue;
        if (best != UINT32_MAX && !does_not_count(truth[best], a) && does_not_count(truth[g], a))
            break;
        if (overlap[g] < iou)
            continue;
        iou = overlap[g];
        best = g;
    }
    return best;
}

static void match(Job *job, const CocoItem **truth, uint32_t n_truth, const CocoItem **found, uint32_t n_found, Fate *fates) {
    for (uint32_t a = 0; a < N_AREAS; a++) {
        uint32_t n = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (uint32_t k = 0; k < n_truth; k++) {
                if (does_not_count(truth[k], a) == (pass == 1))
                    job->order[n++] = k;
            }
            job->to_find[a] += pass == 0 ? n : 0;
        }
        for (uint32_t t = 0; t < N_OVERLAPS; t++) {
            const uint16_t bit = (uint16_t)(1u << t);
            if (n_truth > 0)
                memset(job->taken, 0, n_truth * sizeof *job->taken);
            for (uint32_t i = 0; i < n_found; i++) {
                const double *overlap = n_truth == 0 ? NULL : job->overlap + (size_t)i * n_truth;
                uint32_t g = choose(job, truth, n_truth, overlap, a, job->overlaps[t]);
                bool found_one = g != UINT32_MAX && truth[g]->id != 0;
                if (g != UINT32_MAX)
                    job->taken[g] = true;
                if (found_one)
                    fates[i].found[a] |= bit;
                if ((g != UINT32_MAX && does_not_count(truth[g], a)) || (!found_one && outside(found[i]->area, a)))
                    fates[i].ignored[a] |= bit;
            }
        }
    }
}

/* ---- one category ---- */

static TnStatus image_fates(Job *job, const CocoItem **truth, uint32_t n_truth, const CocoItem **found, uint32_t n_found, TnError *err) {
    n_found = n_found < MOST ? n_found : MOST;
    if (job->n_fates + n_found > job->fates_cap) {
        uint32_t cap = (job->n_fates + n_found) * 2;
        Fate *grown = realloc(job->fates, cap * sizeof *grown);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u detections", cap);
        job->fates = grown;
        job->fates_cap = cap;
    }
    TnStatus st = overlaps_of(job, truth, n_truth, found, n_found, err);
    if (st != TN_OK)
        return st;
    Fate *fates = job->fates == NULL ? NULL : job->fates + job->n_fates;
    for (uint32_t i = 0; i < n_found; i++)
        fates[i] = (Fate){.score = found[i]->score, .rank = i};
    match(job, truth, n_truth, found, n_found, fates);
    job->n_fates += n_found;
    return TN_OK;
}

/* Precision and recall of the fates in order, at one overlap and range of area, with so many detections an image. */
static void curve(Job *job, const Fate *const *order, uint32_t a, uint32_t limit, uint32_t t, double *category) {
    uint64_t right = 0, wrong = 0;
    uint32_t n = 0, at = 0;
    double *recall = job->best + job->n_fates, last = 0;
    for (uint32_t i = 0; i < job->n_fates; i++) {
        const Fate *f = order[i];
        if (f->rank >= limits[limit])
            continue;
        if ((f->ignored[a] >> t & 1) == 0) {
            right += f->found[a] >> t & 1;
            wrong += (f->found[a] >> t & 1) == 0;
        }
        recall[n] = last = (double)right / (double)job->to_find[a];
        job->best[n++] = (double)right / ((double)wrong + (double)right + DBL_EPSILON);
    }
    job->ar[a][limit].sum += last;
    job->ar[a][limit].n++;
    if (limit != N_LIMITS - 1)
        return;
    for (uint32_t i = n; i > 1; i--)
        job->best[i - 2] = fmax(job->best[i - 2], job->best[i - 1]);
    double sum = 0;
    for (uint32_t r = 0; r < N_RECALLS; r++) {
        while (at < n && recall[at] < job->recalls[r])
            at++;
        sum += at < n ? job->best[at] : 0;
    }
    for (uint32_t k = 0; k < 3; k++) {
        if (k == 0 || t == (k == 1 ? 0u : 5u)) {
            job->ap[k][a].sum += sum;
            job->ap[k][a].n += N_RECALLS;
        }
    }
    *category += a == 0 ? sum / (N_RECALLS * N_OVERLAPS) : 0;
}

static TnStatus accumulate(Job *job, double *category, TnError *err) {
    const Fate **order = malloc((job->n_fates + 1u) * sizeof *order);
    job->best = malloc((job->n_fates + 1u) * 2 * sizeof *job->best);
    TnStatus st = order == NULL || job->best == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u detections", job->n_fates) : TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < job->n_fates; i++)
        order[i] = &job->fates[i];
    if (st == TN_OK && job->n_fates > 0)
        qsort(order, job->n_fates, sizeof *order, by_fate);
    *category = job->to_find[0] == 0 ? -1 : 0;
    for (uint32_t a = 0; st == TN_OK && a < N_AREAS; a++) {
        for (uint32_t limit = 0; job->to_find[a] > 0 && limit < N_LIMITS; limit++) {
            for (uint32_t t = 0; t < N_OVERLAPS; t++)
                curve(job, order, a, limit, t, category);
        }
    }
    free(order);
    free(job->best);
    job->best = NULL;
    return st;
}

/* Truths from *g and detections from *d of one category, image by image. */
static TnStatus one_category(Job *job, uint32_t category, uint32_t *g, uint32_t *d, double *ap, TnError *err) {
    job->n_fates = 0;
    memset(job->to_find, 0, sizeof job->to_find);
    for (;;) {
        uint32_t g0 = *g, d0 = *d, image = UINT32_MAX;
        if (g0 < job->n_truth && job->truth[g0]->category == category)
            image = job->truth[g0]->image;
        if (d0 < job->n_found && job->found[d0]->category == category && job->found[d0]->image < image)
            image = job->found[d0]->image;
        if (image == UINT32_MAX)
            return accumulate(job, ap, err);
        while (*g < job->n_truth && job->truth[*g]->category == category && job->truth[*g]->image == image)
            ++*g;
        while (*d < job->n_found && job->found[*d]->category == category && job->found[*d]->image == image)
            ++*d;
        TnStatus st = image_fates(job, job->truth + g0, *g - g0, job->found + d0, *d - d0, err);
        if (st != TN_OK)
            return st;
    }
}

/* ---- all ---- */

/* Masks are made where they will be compared. */
static TnStatus select_items(const TnCoco *coco, const char *file, const char *what, CocoItems *items, const bool *images, bool masks,
                             const CocoItem ***out, uint32_t *n, TnError *err) {
    TnStatus st = TN_OK;
    *out = malloc((items->n + 1u) * sizeof **out);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u %ss", items->n, what);
    for (uint32_t i = 0; st == TN_OK && i < items->n; i++) {
        if (images != NULL && !images[items->item[i].image])
            continue;
        if (masks)
            st = tnp_coco_mask(coco, file, what, &items->item[i], err);
        (*out)[(*n)++] = &items->item[i];
    }
    return st;
}

static double mean(Mean m) {
    return m.n == 0 ? -1 : m.sum / (double)m.n;
}

static void summarise(const Job *job, TnCocoScore *out) {
    double *v = out->numbers;
    v[0] = mean(job->ap[0][0]);
    v[1] = mean(job->ap[1][0]);
    v[2] = mean(job->ap[2][0]);
    for (uint32_t k = 0; k < 3; k++) {
        v[3 + k] = mean(job->ap[0][1 + k]);
        v[6 + k] = mean(job->ar[0][k]);
        v[9 + k] = mean(job->ar[1 + k][N_LIMITS - 1]);
    }
}

static void release(Job *job) {
    free(job->truth);
    free(job->found);
    free(job->overlap);
    free(job->order);
    free(job->taken);
    free(job->fates);
    free(job->best);
}

void tn_coco_score_free(TnCocoScore *score) {
    free(score->category_ap);
    *score = (TnCocoScore){0};
}

TnStatus tn_coco_score(TnCoco *coco, TnCocoResults *results, TnCocoKind kind, const bool *images, TnCocoScore *out, TnError *err) {
    Job job = {.coco = coco, .results = results, .kind = kind};
    uint32_t g = 0, d = 0;
    *out = (TnCocoScore){.category_ap = malloc((coco->n_categories + 1u) * sizeof(double))};
    TnStatus st = out->category_ap == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u categories", coco->n_categories) : TN_OK;
    /* numpy's linspace, to the bit: the comparisons below have ties */
    for (uint32_t t = 0; t < N_OVERLAPS; t++)
        job.overlaps[t] = t == N_OVERLAPS - 1 ? 0.95 : t * ((0.95 - 0.5) / 9) + 0.5;
    for (uint32_t r = 0; r < N_RECALLS; r++)
        job.recalls[r] = r == N_RECALLS - 1 ? 1.0 : r * 0.01;
    bool masks = kind == TN_COCO_MASK;
    if (st == TN_OK)
        st = select_items(coco, coco->name, "annotation", &coco->truth, images, masks, &job.truth, &job.n_truth, err);
    if (st == TN_OK)
        st = select_items(coco, results->name == NULL ? "results" : results->name, "result", &results->found, images, masks, &job.found,
                          &job.n_found, err);
    if (st == TN_OK) {
        qsort(job.truth, job.n_truth, sizeof *job.truth, by_place);
        qsort(job.found, job.n_found, sizeof *job.found, by_score);
    }
    for (uint32_t i = 0; st == TN_OK && i < job.n_truth; i++)
        out->zero_ids += job.truth[i]->id == 0;
    for (uint32_t k = 0; st == TN_OK && k < coco->n_categories; k++)
        st = one_category(&job, k, &g, &d, &out->category_ap[k], err);
    if (st == TN_OK)
        summarise(&job, out);
    else
        tn_coco_score_free(out);
    release(&job);
    return st;
}
