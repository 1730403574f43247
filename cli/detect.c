/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon detect: objects on pictures, and the scores of detectors on COCO's files. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/pictures.h"
#include "pipelines/coco.h"
#include "pipelines/detect.h"
#include "pipelines/util.h"

#define SHOWN 0.3f /* least score of what is printed and drawn, unless --score-threshold says otherwise */

typedef struct Job {
    Cli *cli;
    TnDetector *detector;
    CliPictures pictures;
    uint32_t failed;
    TnDetectPage page;
    /* evaluation */
    TnCoco *coco;
    TnCocoResults *results;
    uint32_t *images; /* [pictures] which of coco's */
    bool *seen;       /* [images of coco] */
    uint32_t unknown; /* detections of classes that the annotations lack */
    double preprocess_ms, run_ms, postprocess_ms;
} Job;

/* ---- printing ---- */

static json_t *detection_json(const TnDetection *d) {
    json_t *o = json_pack("{s:I, s:f, s:[f,f,f,f]}", "class", (json_int_t)d->label, "score", (double)d->score, "box", (double)d->box[0],
                          (double)d->box[1], (double)d->box[2], (double)d->box[3]);
    if (d->name != NULL)
        json_object_set_new(o, "name", json_string(d->name));
    if (d->mask.counts != NULL) {
        char *runs = tn_rle_to_text(&d->mask);
        json_object_set_new(
            o, "segmentation",
            json_pack("{s:[I,I], s:s}", "size", (json_int_t)d->mask.height, (json_int_t)d->mask.width, "counts", runs == NULL ? "" : runs));
        free(runs);
    }
    return o;
}

static void print_json(const char *file, const TnDetections *f) {
    json_t *list = json_array(), *o = json_object();
    for (uint32_t i = 0; i < f->n; i++)
        json_array_append_new(list, detection_json(&f->items[i]));
    json_object_set_new(o, "file", json_string_nocheck(file));
    json_object_set_new(o, "width", json_integer(f->width));
    json_object_set_new(o, "height", json_integer(f->height));
    json_object_set_new(o, "detections", list);
    json_object_set_new(o, "preprocess_milliseconds", json_real(f->preprocess_ms));
    json_object_set_new(o, "run_milliseconds", json_real(f->run_ms));
    json_object_set_new(o, "postprocess_milliseconds", json_real(f->postprocess_ms));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    json_decref(o);
}

static void print_text(const char *file, const TnDetections *f) {
    for (uint32_t i = 0; i < f->n; i++) {
        const TnDetection *d = &f->items[i];
        printf("%s\t", file);
        if (d->name != NULL)
            printf("%s", d->name);
        else
            printf("%u", d->label);
        printf("\t%.4f\t%.1f\t%.1f\t%.1f\t%.1f\n", (double)d->score, (double)d->box[0], (double)d->box[1], (double)d->box[2],
               (double)d->box[3]);
    }
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static TnStatus write_overlay(const Job *job, const char *picture, const TnImage *image, const TnDetections *f, TnError *err) {
    const char *to = job->cli->args.overlay, *name = base_name(picture);
    char path[PATH_MAX];
    TnImage drawn = {0};
    if (cli_is_folder(to)) {
        const char *dot = strrchr(name, '.');
        if (snprintf(path, sizeof path, "%s/%.*s.png", to, (int)(dot == NULL ? strlen(name) : (size_t)(dot - name)), name) >=
            (int)sizeof path)
            return tnp_fail(err, TN_ERR_IO, "the path '%s/%s' is too long", to, name);
        to = path;
    }
    TnStatus st = tn_detect_draw(image, f, &drawn, err);
    if (st == TN_OK)
        st = tn_image_save_png(&drawn, to, err);
    tn_image_free(&drawn);
    return st;
}

/* ---- evaluation ---- */

/* Whether path ends with the file name that the annotations give an image. */
static bool same_file(const char *path, const char *name) {
    size_t n = strlen(path), k = strlen(name);
    return k > 0 && k <= n && strcmp(path + n - k, name) == 0 && (k == n || path[n - k - 1] == '/');
}

/* One folder: the annotations' images in it, all of them. Else the given pictures, each of which must be annotated. */
static int collect_annotated(Job *job) {
    Cli *cli = job->cli;
    uint32_t n = tn_coco_image_count(job->coco), missing = 0;
    bool folder = cli->n_positional == 1 && cli_is_folder(cli->positional[0]);
    int status = folder ? 0 : cli_pictures(cli, &job->pictures);
    job->images = calloc(folder ? n + 1u : job->pictures.n + 1, sizeof *job->images);
    job->seen = calloc(n + 1u, sizeof *job->seen);
    if (status == 0 && (job->images == NULL || job->seen == NULL))
        return cli_fail(cli, "out of memory: %u images", n);
    for (uint32_t i = 0; folder && status == 0 && i < n; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", cli->positional[0], tn_coco_image(job->coco, i)->file_name);
        if (tn_coco_image(job->coco, i)->file_name[0] == '\0' || access(path, R_OK) != 0)
            status = missing++ == 0 ? 0 * cli_fail(cli, "image %lld of the annotations, '%s', is not there",
                                                   (long long)tn_coco_image(job->coco, i)->id, path)
                                    : 0;
        else
            status = cli_pictures_add(cli, &job->pictures, path);
        job->images[i] = i;
    }
    if (status == 0 && missing > 0)
        return cli_fail(cli, "%u of %u images are missing; give the pictures themselves to evaluate some only", missing, n);
    for (size_t p = 0; !folder && status == 0 && p < job->pictures.n; p++) {
        uint32_t i = 0;
        while (i < n && !same_file(job->pictures.path[p], tn_coco_image(job->coco, i)->file_name))
            i++;
        if (i == n || job->seen[i])
            status = cli_fail(cli, i == n ? "'%s' is no image of '%s'" : "'%s' is given twice", job->pictures.path[p], cli->args.eval);
        job->images[p] = i;
        if (i < n)
            job->seen[i] = true;
    }
    for (uint32_t i = 0; folder && i < n; i++)
        job->seen[i] = true;
    return status;
}

/* The annotations' category of a class: by number where labels are such, by name where there are names, else by order. */
static uint32_t category_of(const Job *job, const TnDetection *d) {
    if (tn_detector_labels_are_ids(job->detector))
        return tn_coco_find_category(job->coco, d->label);
    if (d->name == NULL)
        return d->label < tn_coco_category_count(job->coco) ? d->label : UINT32_MAX;
    for (uint32_t i = 0; i < tn_coco_category_count(job->coco); i++) {
        if (strcmp(tn_coco_category(job->coco, i)->name, d->name) == 0)
            return i;
    }
    return UINT32_MAX;
}

/* Classes with names of which none is in the annotations are another data set's. */
static int check_names(const Job *job) {
    uint32_t names = 0, n = tn_coco_category_count(job->coco);
    if (tn_detector_labels_are_ids(job->detector))
        return 0;
    for (uint32_t label = 0; label < 10000; label++) {
        TnDetection d = {.label = label, .name = tn_detector_label(job->detector, label)};
        names += d.name != NULL;
        if (d.name != NULL && category_of(job, &d) != UINT32_MAX)
            return 0;
    }
    return names == 0
               ? 0
               : cli_fail(job->cli,
                          "none of the model's %u class names is among the %u categories of '%s'; give the right names with --labels",
                          names, n, job->cli->args.eval);
}

static TnStatus keep_results(Job *job, size_t picture, const TnDetections *f, TnError *err) {
    for (uint32_t i = 0; i < f->n; i++) {
        const TnDetection *d = &f->items[i];
        uint32_t category = category_of(job, d);
        const double box[4] = {(double)d->box[0], (double)d->box[1], (double)d->box[2] - (double)d->box[0],
                               (double)d->box[3] - (double)d->box[1]};
        if (category == UINT32_MAX) {
            job->unknown++;
            continue;
        }
        TnStatus st = tn_coco_results_add(job->results, job->images[picture], category, (double)d->score, box,
                                          d->mask.counts == NULL ? NULL : &d->mask, err);
        if (st != TN_OK)
            return st;
    }
    return TN_OK;
}

static json_t *numbers_json(const TnCocoScore *s) {
    json_t *o = json_object();
    for (int i = 0; i < TN_COCO_NUMBERS; i++)
        json_object_set_new(o, tn_coco_number_names[i], json_real(s->numbers[i]));
    return o;
}

static void print_numbers(const char *what, const TnCocoScore *s) {
    const double *v = s->numbers;
    printf("%-6s AP %.4f  AP50 %.4f  AP75 %.4f  small %.4f  medium %.4f  large %.4f\n", what, v[0], v[1], v[2], v[3], v[4], v[5]);
    printf("%-6s AR %.4f  (1: %.4f, 10: %.4f)        small %.4f  medium %.4f  large %.4f\n", "", v[8], v[6], v[7], v[9], v[10], v[11]);
}

static void print_scores(const Job *job, const TnCocoScore *boxes, const TnCocoScore *masks) {
    uint32_t pictures = (uint32_t)job->pictures.n;
    if (!job->cli->args.json) {
        print_numbers("boxes", boxes);
        if (masks != NULL)
            print_numbers("masks", masks);
        if (pictures > 0)
            printf("%u pictures: %.1f ms each (%.1f preparation, %.1f model, %.1f results)\n", pictures,
                   (job->preprocess_ms + job->run_ms + job->postprocess_ms) / pictures, job->preprocess_ms / pictures,
                   job->run_ms / pictures, job->postprocess_ms / pictures);
        return;
    }
    json_t *o = json_object(), *list = json_array();
    json_object_set_new(o, "images", json_integer(pictures > 0 ? pictures : tn_coco_image_count(job->coco)));
    json_object_set_new(o, "annotations", json_integer(tn_coco_annotation_count(job->coco)));
    json_object_set_new(o, "detections", json_integer(tn_coco_results_count(job->results)));
    json_object_set_new(o, "boxes", numbers_json(boxes));
    if (masks != NULL)
        json_object_set_new(o, "masks", numbers_json(masks));
    for (uint32_t i = 0; i < tn_coco_category_count(job->coco); i++) {
        const TnCocoCategory *c = tn_coco_category(job->coco, i);
        json_t *item = json_pack("{s:I, s:s, s:f}", "id", (json_int_t)c->id, "name", c->name, "box_ap", boxes->category_ap[i]);
        if (masks != NULL)
            json_object_set_new(item, "mask_ap", json_real(masks->category_ap[i]));
        json_array_append_new(list, item);
    }
    json_object_set_new(o, "categories", list);
    if (pictures > 0) {
        json_object_set_new(o, "preprocess_milliseconds", json_real(job->preprocess_ms / pictures));
        json_object_set_new(o, "run_milliseconds", json_real(job->run_ms / pictures));
        json_object_set_new(o, "postprocess_milliseconds", json_real(job->postprocess_ms / pictures));
    }
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    fputc('\n', stdout);
    json_decref(o);
}

static int score(Job *job) {
    TnError err = {0};
    TnCocoScore boxes = {0}, masks = {0};
    Cli *cli = job->cli;
    bool with_masks = tn_coco_results_have_masks(job->results) && tn_coco_has_masks(job->coco);
    if (tn_coco_results_have_masks(job->results) && !with_masks)
        cli_note(cli, "'%s' has no masks; boxes alone are scored", cli->args.eval);
    if (tn_coco_left_out(job->coco) > 0)
        cli_note(cli, "%u annotations are of images or categories that '%s' does not list; they do not count", tn_coco_left_out(job->coco),
                 cli->args.eval);
    if (job->unknown + tn_coco_results_left_out(job->results) > 0)
        cli_note(cli, "%u detections are of classes that '%s' does not list; they do not count",
                 job->unknown + tn_coco_results_left_out(job->results), cli->args.eval);
    TnStatus st = tn_coco_score(job->coco, job->results, TN_COCO_BOX, job->seen, &boxes, &err);
    if (st == TN_OK && with_masks)
        st = tn_coco_score(job->coco, job->results, TN_COCO_MASK, job->seen, &masks, &err);
    if (st == TN_OK && boxes.zero_ids > 0)
        cli_note(cli, "%u annotations have the id 0: what finds them counts as wrong, as in pycocotools; give them other ids",
                 boxes.zero_ids);
    if (st == TN_OK)
        print_scores(job, &boxes, with_masks ? &masks : NULL);
    tn_coco_score_free(&boxes);
    tn_coco_score_free(&masks);
    return st == TN_OK ? 0 : cli_error(cli, &err);
}

/* ---- pictures ---- */

static int one_picture(Job *job, size_t i) {
    const CliArgs *a = &job->cli->args;
    const char *path = job->pictures.path[i];
    TnError err = {0};
    TnImage image = {0};
    TnDetections found;
    TnStatus st = tn_image_load(path, &image, &err);
    if (st != TN_OK && job->coco == NULL) { /* the others are still looked at; an evaluation must not lack one */
        job->failed++;
        cli_error(job->cli, &err);
        return 0;
    }
    if (st == TN_OK)
        st = tn_detector_run(job->detector, &image, &found, &err);
    if (st == TN_OK && job->results != NULL)
        st = keep_results(job, i, &found, &err);
    if (st == TN_OK && a->overlay != NULL)
        st = write_overlay(job, path, &image, &found, &err);
    if (st == TN_OK && a->html != NULL)
        st = tn_detect_page_add(&job->page, &image, &found, base_name(path), &err);
    tn_image_free(&image);
    if (st != TN_OK)
        return cli_fail(job->cli, "%s: %s", path, err.message);
    job->preprocess_ms += found.preprocess_ms;
    job->run_ms += found.run_ms;
    job->postprocess_ms += found.postprocess_ms;
    if (job->coco == NULL && a->json)
        print_json(path, &found);
    else if (job->coco == NULL)
        print_text(path, &found);
    return 0;
}

static int open_detector(Job *job, CliPlan *plan) {
    const CliArgs *a = &job->cli->args;
    TnError err = {0};
    TnDetectOptions o = tn_detect_options_default();
    o.threads = a->threads;
    o.long_side = a->long_side;
    o.short_side = a->short_side;
    o.min_score = !isnan(a->score_threshold) ? (float)a->score_threshold : a->eval != NULL ? 0 : SHOWN;
    if (cli_open(job->cli, a->model, plan, &err) != TN_OK || tn_detector_create(plan->plan, &o, &job->detector, &err) != TN_OK ||
        (a->labels != NULL && tn_detector_read_labels(job->detector, a->labels, &err) != TN_OK))
        return cli_error(job->cli, &err);
    return job->coco == NULL ? 0 : check_names(job);
}

static int all_pictures(Job *job) {
    const CliArgs *a = &job->cli->args;
    TnError err = {0};
    int status = 0;
    if (a->overlay != NULL && job->pictures.n > 1 && !cli_is_folder(a->overlay))
        return cli_fail(job->cli, "--overlay '%s': several pictures need a folder that exists", a->overlay);
    for (size_t i = 0; status == 0 && i < job->pictures.n; i++)
        status = one_picture(job, i);
    if (status == 0 && a->html != NULL && tn_detect_page_save(&job->page, "Detected objects", a->html, &err) != TN_OK)
        status = cli_error(job->cli, &err);
    return status;
}

static int run_job(Job *job, CliPlan *plan) {
    const CliArgs *a = &job->cli->args;
    TnError err = {0};
    int status = 0;
    if (a->eval != NULL &&
        (tn_coco_load(a->eval, &job->coco, &err) != TN_OK || tn_coco_results_create(job->coco, &job->results, &err) != TN_OK))
        return cli_error(job->cli, &err);
    if (a->score != NULL) {
        if (tn_coco_results_load(job->results, a->score, &err) != TN_OK)
            return cli_error(job->cli, &err);
        return score(job);
    }
    status = job->coco != NULL ? collect_annotated(job) : cli_pictures(job->cli, &job->pictures);
    if (status == 0)
        status = open_detector(job, plan);
    if (status == 0)
        status = all_pictures(job);
    if (status == 0 && a->save_results != NULL && tn_coco_results_save(job->results, a->save_results, &err) != TN_OK)
        status = cli_error(job->cli, &err);
    if (status == 0 && job->coco != NULL)
        status = score(job);
    return status != 0 ? status : job->failed > 0 ? 2 : 0;
}

static int run(Cli *cli) {
    Job job = {.cli = cli};
    CliPlan plan = {0};
    const CliArgs *a = &cli->args;
    if (a->score != NULL && (a->eval == NULL || a->model != NULL || cli->n_positional > 0))
        return cli_fail(cli, "--score RESULTS.json is scored with --eval ANNOTATIONS.json, without a model and pictures");
    if (a->score == NULL && a->model == NULL)
        return cli_fail(cli, "give the model with -m MODEL: a plan, a checkpoint or an .onnx file");
    if (a->save_results != NULL && (a->eval == NULL || a->score != NULL))
        return cli_fail(cli, "--save-results needs the annotations' image and category numbers: give --eval ANNOTATIONS.json and pictures");
    int status = run_job(&job, &plan);
    tn_detector_destroy(&job.detector);
    cli_close(&plan);
    tn_coco_results_destroy(&job.results);
    tn_coco_destroy(&job.coco);
    tn_detect_page_free(&job.page);
    cli_pictures_free(&job.pictures);
    free(job.images);
    free(job.seen);
    return status;
}

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "MODEL", "plan, detection checkpoint or .onnx file"},
    {"labels", 'l', CLI_TEXT, CLI_ARG(labels), "FILE", "names of the classes, one a line in order of their numbers; 'coco': COCO's 80"},
    {"score-threshold", 0, CLI_FLOAT, CLI_ARG(score_threshold), "S", "least score shown (default 0.3; with --eval 0)"},
    {"long-side", 0, CLI_UINT, CLI_ARG(long_side), "N", "pictures are scaled to at most N pixels on the longer side (default 1333)"},
    {"short-side", 0, CLI_UINT, CLI_ARG(short_side), "N", "and at most N on the shorter side (default 800)"},
    {"overlay", 0, CLI_TEXT, CLI_ARG(overlay), "FILE|DIR",
     "write the picture with masks, boxes and names drawn (PNG; several: into a folder)"},
    {"html", 0, CLI_TEXT, CLI_ARG(html), "FILE.html", "write one page with all pictures and tables"},
    {"eval", 'e', CLI_TEXT, CLI_ARG(eval), "FILE.json", "COCO annotations of the pictures: print box and mask AP and AR"},
    {"save-results", 0, CLI_TEXT, CLI_ARG(save_results), "FILE.json", "with --eval: write COCO's results file"},
    {"score", 0, CLI_TEXT, CLI_ARG(score), "FILE.json", "score this results file with --eval; needs no model"},
    CLI_FILE,
    CLI_DEVICE,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_detect = {
    "detect",
    "find objects on pictures",
    "-m MODEL [options] IMAGE|FOLDER|LIST|- ... | --score RESULTS.json --eval ANNOTATIONS.json",
    "Prints a line an object: file, class, score and the box's corners x0 y0 x1 y1 in pixels, tabs between. --json prints an object a "
    "picture, with\n"
    "masks as COCO's run lengths. Pictures are scaled and normalised as mmdet does. With --eval, boxes and masks are scored as pycocotools "
    "does: on a\n"
    "folder, which must have all images of the annotations, or on the pictures given. Exit status 2 when a picture could not be read; the "
    "others are\n"
    "still looked at, but an evaluation stops.",
    options,
    run,
};
