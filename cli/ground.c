/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon ground: phrases to regions of pictures. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/cli.h"
#include "pipelines/ground.h"

#define MAX_TOP 32
#define KEEP 16 /* pictures whose regions are kept: phrases of one picture stand together in the authors' lists */

typedef struct Kept {
    char *id;
    TnRegions regions;
} Kept;

typedef struct Job {
    Cli *cli;
    TnFeatures *features;
    TnGround *ground;
    TnGroundTotal total;
    uint64_t cut_phrases, cut_regions;
    double preprocess_ms, run_ms, read_ms;
    uint32_t top;
} Job;

static json_t *row_json(const TnRegions *r, const TnGroundAnswer *a, uint32_t row) {
    float b[4];
    json_t *o = json_object();
    tn_ground_box(r, row, b);
    json_object_set_new(o, "region", json_integer(row));
    json_object_set_new(o, "box", json_pack("[f,f,f,f]", (double)b[0], (double)b[1], (double)b[2], (double)b[3]));
    json_object_set_new(o, "logit", json_real((double)a->logits[row]));
    json_object_set_new(o, "score", json_real(tn_ground_score(a, row)));
    json_object_set_new(o, "share", json_real(tn_ground_share(a, row)));
    return o;
}

/* iou < 0: not known. */
static void print_json(const Job *job, const char *id, const char *phrase, const TnRegions *r, const TnGroundAnswer *a, double iou) {
    uint32_t rows[MAX_TOP], n = tn_ground_top(a, job->top, rows);
    json_t *o = row_json(r, a, a->best), *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, row_json(r, a, rows[i]));
    json_object_set_new(o, "image", json_string_nocheck(id));
    json_object_set_new(o, "phrase", json_string_nocheck(phrase));
    json_object_set_new(o, "regions", json_integer(a->rows - 1));
    json_object_set_new(o, "pieces", json_integer(a->pieces));
    json_object_set_new(o, "pieces_cut", json_integer(a->pieces_cut));
    json_object_set_new(o, "regions_cut", json_integer(a->regions_cut));
    if (iou >= 0)
        json_object_set_new(o, "iou", json_real(iou));
    json_object_set_new(o, "top", list);
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
    fputc('\n', stdout);
    json_decref(o);
}

static void print_text(const Job *job, const char *id, const char *phrase, const TnRegions *r, const TnGroundAnswer *a) {
    uint32_t rows[MAX_TOP], n = tn_ground_top(a, job->top, rows);
    for (uint32_t i = 0; i < n; i++) {
        float b[4];
        tn_ground_box(r, rows[i], b);
        printf("%s\t%s\t%u\t%.1f %.1f %.1f %.1f\t%.4f\t%.4f%s\n", id, phrase, rows[i], (double)b[0], (double)b[1], (double)b[2], (double)b[3],
               tn_ground_score(a, rows[i]), tn_ground_share(a, rows[i]), rows[i] == 0 ? "\twhole picture" : "");
    }
}

static int write_pictures(Job *job, const char *id, const TnGroundDrawing *items, uint32_t n) {
    const CliArgs *args = &job->cli->args;
    TnError err = {0};
    TnImage image = {0}, drawn = {0};
    if (args->overlay == NULL && args->html == NULL)
        return 0;
    TnStatus st = tn_image_load(args->picture, &image, &err);
    if (st == TN_OK && args->overlay != NULL) {
        st = tn_ground_draw(&image, items, n, &drawn, &err);
        if (st == TN_OK)
            st = tn_image_save_png(&drawn, args->overlay, &err);
        tn_image_free(&drawn);
    }
    if (st == TN_OK && args->html != NULL)
        st = tn_ground_save_html(&image, items, n, job->top, id, args->html, &err);
    tn_image_free(&image);
    return st == TN_OK ? 0 : cli_error(job->cli, &err);
}

static TnStatus read_regions(Job *job, const char *id, TnRegions *out, TnError *err) {
    TnStatus st = tn_features_get(job->features, id, out, err);
    if (st == TN_OK)
        st = tn_regions_check(out, job->cli->args.clip, id, err);
    return st;
}

/* The phrases of the command line, about one picture. */
static int answer_phrases(Job *job) {
    const Cli *cli = job->cli;
    const char *id = cli->args.id != NULL ? cli->args.id : tn_features_only(job->features);
    const uint32_t n = cli->n_positional;
    TnRegions regions = {0};
    TnError err = {0};
    int status = 0;
    char name[256];
    if (id == NULL && cli->args.picture != NULL) { /* the picture's name is its id */
        const char *slash = strrchr(cli->args.picture, '/'), *file = slash == NULL ? cli->args.picture : slash + 1, *dot = strrchr(file, '.');
        snprintf(name, sizeof name, "%.*s", dot == NULL ? (int)strlen(file) : (int)(dot - file), file);
        id = name;
    }
    if (id == NULL)
        return cli_fail(job->cli, "--features has many pictures; name one with --id");
    TnGroundQuery *queries = calloc(n, sizeof *queries);
    TnGroundAnswer *answers = calloc(n, sizeof *answers);
    TnGroundDrawing *drawings = calloc(n, sizeof *drawings);
    TnStatus st = queries == NULL || answers == NULL || drawings == NULL ? TN_ERR_MEMORY : read_regions(job, id, &regions, &err);
    for (uint32_t i = 0; st == TN_OK && i < n; i++)
        queries[i] = (TnGroundQuery){cli->positional[i], &regions};
    if (st == TN_OK)
        st = tn_ground_run(job->ground, queries, n, answers, &err);
    err.code = st;
    if (st != TN_OK)
        status = cli_error(job->cli, &err);
    for (uint32_t i = 0; status == 0 && i < n; i++)
        drawings[i] = (TnGroundDrawing){cli->positional[i], &regions, &answers[i]};
    if (status == 0)
        status = write_pictures(job, id, drawings, n);
    for (uint32_t i = 0; status == 0 && i < n; i++) {
        if (answers[i].pieces_cut > 0)
            cli_note(job->cli, "tenon ground: phrase '%.60s' is cut to its first tokens: %u do not fit", cli->positional[i], answers[i].pieces_cut);
        if (cli->args.json)
            print_json(job, id, cli->positional[i], &regions, &answers[i], -1);
        else
            print_text(job, id, cli->positional[i], &regions, &answers[i]);
    }
    free(queries);
    free(answers);
    free(drawings);
    tn_regions_free(&regions);
    return status;
}

/* ---- lists ---- */

/* Regions of a picture, read once for phrases that stand near each other. */
static const TnRegions *keep_regions(Job *job, Kept *kept, uint32_t *next, const char *id, const TnGroundQuery *used, uint32_t n_used, TnError *err) {
    for (uint32_t i = 0; i < KEEP; i++) {
        if (kept[i].id != NULL && strcmp(kept[i].id, id) == 0)
            return &kept[i].regions;
    }
    for (uint32_t tries = 0; tries < KEEP; tries++, *next = (*next + 1) % KEEP) { /* not one that the batch needs */
        bool busy = false;
        for (uint32_t i = 0; i < n_used; i++)
            busy = busy || used[i].regions == &kept[*next].regions;
        if (!busy)
            break;
    }
    Kept *k = &kept[*next];
    *next = (*next + 1) % KEEP;
    free(k->id);
    k->id = NULL;
    tn_regions_free(&k->regions);
    if (read_regions(job, id, &k->regions, err) != TN_OK) {
        tn_regions_free(&k->regions);
        return NULL;
    }
    k->id = strdup(id);
    if (k->id == NULL)
        err->code = TN_ERR_MEMORY;
    return k->id == NULL ? NULL : &k->regions;
}

static int count_answers(Job *job, const TnPhrase *items, const TnGroundQuery *queries, const TnGroundAnswer *answers, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        double iou = -1;
        if (items[i].has_box)
            iou = (double)tn_ground_count(&job->total, &answers[i], queries[i].regions, items[i].box);
        job->cut_phrases += answers[i].pieces_cut > 0;
        job->cut_regions += answers[i].regions_cut > 0;
        if (job->cli->args.json)
            print_json(job, items[i].image, items[i].text, queries[i].regions, &answers[i], iou);
        else if (job->cli->args.eval == NULL)
            print_text(job, items[i].image, items[i].text, queries[i].regions, &answers[i]);
    }
    return 0;
}

static void print_total(const Job *job) {
    const TnGroundTotal *t = &job->total;
    const double n = t->n == 0 ? 1 : (double)t->n;
    if (job->cli->args.json)
        printf("{\"phrases\": %llu, \"right\": %llu, \"accuracy\": %.6f, \"loss\": %.6f, \"phrases_cut\": %llu, \"regions_cut\": %llu, "
               "\"preprocess_milliseconds\": %.3f, \"run_milliseconds\": %.3f}\n",
               (unsigned long long)t->n, (unsigned long long)t->right, (double)t->right / n, t->loss / n, (unsigned long long)job->cut_phrases,
               (unsigned long long)job->cut_regions, job->preprocess_ms, job->run_ms);
    else
        printf("accuracy %.4f (%llu of %llu phrases with IoU above 0.5), loss %.4f\n%.2f ms a phrase (%.2f ms of it preparation); %llu phrases were cut, %llu lists "
               "of regions\n",
               (double)t->right / n, (unsigned long long)t->right, (unsigned long long)t->n, t->loss / n, (job->run_ms + job->preprocess_ms) / n,
               job->preprocess_ms / n, (unsigned long long)job->cut_phrases, (unsigned long long)job->cut_regions);
}

static int answer_list(Job *job, const char *file) {
    enum { CHUNK = KEEP };
    TnPhrases list;
    TnError err = {0};
    Kept kept[KEEP] = {0};
    TnGroundQuery queries[CHUNK];
    TnGroundAnswer answers[CHUNK];
    uint32_t next = 0;
    int status = 0;
    if (tn_phrases_load(file, job->cli->args.split, &list, &err) != TN_OK)
        return cli_error(job->cli, &err);
    for (uint32_t i = 0; status == 0 && job->cli->args.eval != NULL && i < list.n; i++) {
        if (!list.items[i].has_box)
            status = cli_fail(job->cli, "'%s' item %u has no box to compare with", file, i);
    }
    for (uint32_t at = 0; status == 0 && at < list.n;) {
        uint32_t n = 0;
        for (; n < CHUNK && at + n < list.n && status == 0; n++) {
            const TnPhrase *p = &list.items[at + n];
            const TnRegions *r = keep_regions(job, kept, &next, p->image, queries, n, &err);
            if (r == NULL)
                status = cli_fail(job->cli, "'%s' item %u: %s", file, at + n, err.message[0] != '\0' ? err.message : tn_status_meaning(err.code));
            queries[n] = (TnGroundQuery){p->text, r};
        }
        if (status == 0 && tn_ground_run(job->ground, queries, n, answers, &err) != TN_OK)
            status = cli_fail(job->cli, "'%s' items %u to %u: %s", file, at, at + n - 1, err.message);
        if (status == 0) {
            job->preprocess_ms += tn_ground_preprocess_ms(job->ground);
            job->run_ms += tn_ground_run_ms(job->ground);
            status = count_answers(job, list.items + at, queries, answers, n);
        }
        at += n;
    }
    if (status == 0 && job->cli->args.eval != NULL)
        print_total(job);
    for (uint32_t i = 0; i < KEEP; i++) {
        free(kept[i].id);
        tn_regions_free(&kept[i].regions);
    }
    tn_phrases_free(&list);
    return status;
}

static bool usage_ok(Cli *cli) {
    const CliArgs *a = &cli->args;
    const bool list = a->eval != NULL || a->list != NULL;
    if (a->model == NULL)
        return cli_fail(cli, "give a ViLBERT checkpoint, .onnx file or plan with --model"), false;
    if (a->features == NULL)
        return cli_fail(cli, "give the regions of the pictures with --features: .npz, .npy, a folder of them, an LMDB or a .tsv"), false;
    if (a->eval != NULL && a->list != NULL)
        return cli_fail(cli, "give --eval or --list, not both"), false;
    if (list == (cli->n_positional > 0))
        return cli_fail(cli, list ? "phrases come from the list; leave them out of the command" : "give phrases, or a list with --list or --eval"), false;
    if (list && (a->overlay != NULL || a->html != NULL || a->id != NULL))
        return cli_fail(cli, "--overlay, --html and --id are for phrases of one picture; leave them out with a list"), false;
    if (!list && a->split != NULL)
        return cli_fail(cli, "--split belongs to --eval or --list"), false;
    if ((a->overlay != NULL || a->html != NULL) && a->picture == NULL)
        return cli_fail(cli, "--overlay and --html draw on the picture; give it with --image"), false;
    if (a->top > MAX_TOP)
        return cli_fail(cli, "--top is at most %d", MAX_TOP), false;
    return true;
}

static int run(Cli *cli) {
    const CliArgs *a = &cli->args;
    TnError err = {0};
    CliPlan plan = {0};
    TnWordPiece *vocabulary = NULL;
    Job job = {.cli = cli, .top = a->top == 0 ? 1 : a->top};
    TnGroundOptions o = tn_ground_options_default();
    if (!usage_ok(cli))
        return 2;
    o.threads = a->threads;
    o.batch = a->batch;
    o.tokens = a->max_length;
    o.regions = a->max_regions;
    o.beta = a->beta;
    if (a->task != 0)
        o.task = a->task;
    TnStatus st = a->vocab == NULL ? TN_OK : tn_wordpiece_load(a->vocab, &vocabulary, &err);
    if (st == TN_OK)
        st = tn_features_open(a->features, &job.features, &err);
    if (st == TN_OK)
        st = cli_open(cli, a->model, &plan, &err);
    if (st == TN_OK)
        st = tn_ground_create(plan.plan, vocabulary, &o, &job.ground, &err);
    int status = st != TN_OK                              ? cli_error(cli, &err)
                 : a->eval != NULL || a->list != NULL ? answer_list(&job, a->eval != NULL ? a->eval : a->list)
                                                          : answer_phrases(&job);
    tn_ground_destroy(&job.ground);
    tn_features_close(&job.features);
    tn_wordpiece_destroy(&vocabulary);
    cli_close(&plan);
    return status;
}

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "MODEL", "ViLBERT checkpoint, .onnx file or plan with the output vision_logit"},
    {"features", 'f', CLI_TEXT, CLI_ARG(features), "F", "regions: .npz, .npy, a folder of ID.npz or ID.npy, an LMDB or a .tsv"},
    {"id", 0, CLI_TEXT, CLI_ARG(id), "ID", "which picture of F (default: the only one, or the name of --image)"},
    {"image", 'i', CLI_TEXT, CLI_ARG(picture), "PICTURE", "the picture, to draw on"},
    {"overlay", 0, CLI_TEXT, CLI_ARG(overlay), "FILE.png", "write the picture with the chosen boxes drawn"},
    {"html", 0, CLI_TEXT, CLI_ARG(html), "FILE.html", "write one page with the picture, the best boxes and their scores"},
    {"top", 'k', CLI_UINT, CLI_ARG(top), "K", "regions a phrase, best first (default 1)"},
    {"list", 'l', CLI_TEXT, CLI_ARG(list), "FILE", "phrases from a JSON list of {\"phrase\", \"image\"}, or REFER's refs(NAME).p"},
    {"eval", 'e', CLI_TEXT, CLI_ARG(eval), "FILE", "such a list with boxes: print accuracy at IoU 0.5 and the loss"},
    {"split", 0, CLI_TEXT, CLI_ARG(split), "S", "refs(NAME).p: only this split, as in val or testA"},
    {"vocab", 0, CLI_TEXT, CLI_ARG(vocab), "FILE|DIR", "vocab.txt or tokenizer.json (default: the model's)"},
    {"max-tokens", 0, CLI_UINT, CLI_ARG(max_length), "N", "tokens of a phrase (default 20, or what the plan fixes)"},
    {"max-regions", 0, CLI_UINT, CLI_ARG(max_regions), "N", "regions and the whole picture (default 101, or what the plan fixes)"},
    {"task", 0, CLI_UINT, CLI_ARG(task), "N", "models with task tokens: the task's number (default 10: RefCOCO+)"},
    {"beta", 0, CLI_FLAG, CLI_ARG(beta), NULL, "cut as vilbert_beta does: 100 regions, long phrases lose their [SEP]"},
    {"clip", 0, CLI_FLAG, CLI_ARG(clip), NULL, "cut boxes that leave the picture (default: an error)"},
    {"batch", 'b', CLI_UINT, CLI_ARG(batch), "N", "phrases run at once (default 8)"},
    CLI_DEVICE,
    CLI_BUILD,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_ground = {
    "ground",
    "find the region that a phrase means",
    "--model MODEL --features F [options] PHRASE... | --eval FILE | --list FILE",
    "Prints one line a phrase: picture, phrase, region (0: the whole picture), box x0 y0 x1 y1 in pixels, score (sigmoid) and share (softmax over the regions), "
    "with tabs\nbetween. --json prints one object a phrase. F holds features and boxes of an object detector in the layouts of the authors' code.",
    options,
    run,
};
