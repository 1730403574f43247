/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon doc: forms to entities, with questions and their answers. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "cli/cli.h"
#include "pipelines/doc.h"

typedef struct Job {
    Cli *cli;
    TnDoc *doc;
    TnDocScore score;
    uint32_t pages, windows;
    double preprocess_ms, run_ms;
} Job;

static json_t *box_json(const int32_t b[4]) {
    return json_pack("[i,i,i,i]", b[0], b[1], b[2], b[3]);
}

static void print_json(const char *picture, const TnDocPage *page, const TnDocResult *r) {
    json_t *list = json_array(), *o = json_object();
    for (uint32_t i = 0; i < r->n; i++) {
        const TnDocEntity *e = &r->entities[i];
        json_t *words = json_array(), *item = json_object();
        for (uint32_t k = e->first; k < e->first + e->n; k++) {
            json_t *w = json_object();
            json_object_set_new(w, "text", json_string(page->words[k].text));
            json_object_set_new(w, "box", box_json(page->words[k].box));
            json_array_append_new(words, w);
        }
        json_object_set_new(item, "id", json_integer(i));
        json_object_set_new(item, "label", json_string(e->label));
        json_object_set_new(item, "text", json_string(e->text));
        json_object_set_new(item, "score", json_real((double)e->score));
        json_object_set_new(item, "box", box_json(e->box));
        json_object_set_new(item, "order", json_integer(e->order));
        if (e->question != TN_DOC_NONE)
            json_object_set_new(item, "question", json_integer(e->question));
        json_object_set_new(item, "words", words);
        json_array_append_new(list, item);
    }
    json_object_set_new(o, "file", json_string_nocheck(picture));
    json_object_set_new(o, "entities", list);
    json_object_set_new(o, "words", json_integer(page->n));
    json_object_set_new(o, "blank_words", json_integer(page->n_blank));
    json_object_set_new(o, "tokens", json_integer(r->tokens));
    json_object_set_new(o, "windows", json_integer(r->windows));
    json_object_set_new(o, "preprocess_milliseconds", json_real(r->preprocess_ms));
    json_object_set_new(o, "run_milliseconds", json_real(r->run_ms));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', stdout);
    json_decref(o);
}

static void print_text(const TnDocResult *r) {
    for (uint32_t k = 0; k < r->n; k++) {
        const TnDocEntity *e = r->entities;
        while (e->order != k)
            e++;
        printf("%s\t%.3f\t%s", e->label, (double)e->score, e->text);
        if (e->question != TN_DOC_NONE)
            printf("\t<- %s", r->entities[e->question].text);
        fputc('\n', stdout);
    }
}

static int write_pictures(Job *job, const char *picture, const TnImage *image, const TnDocResult *r) {
    const CliArgs *a = &job->cli->args;
    TnError err = {0};
    TnImage drawn = {0};
    TnStatus st = TN_OK;
    if (a->overlay != NULL) {
        st = tn_doc_draw(image, r, &drawn, &err);
        if (st == TN_OK)
            st = tn_image_save_png(&drawn, a->overlay, &err);
        tn_image_free(&drawn);
    }
    const char *slash = strrchr(picture, '/');
    if (st == TN_OK && a->html != NULL)
        st = tn_doc_save_html(image, r, slash == NULL ? picture : slash + 1, a->html, &err);
    return st == TN_OK ? 0 : cli_error(job->cli, &err);
}

static int read_page(Job *job, const char *picture, const char *words) {
    TnImage image = {0};
    TnDocPage page = {0};
    TnDocResult r;
    TnError err = {0};
    bool score = job->cli->args.eval != NULL;
    TnStatus st = tn_image_load(picture, &image, &err);
    if (st == TN_OK)
        st = tn_doc_page_load(words, &page, &err);
    if (st == TN_OK)
        st = score ? tn_doc_score_page(job->doc, &image, &page, &job->score, &r, &err) : tn_doc_read(job->doc, &image, &page, &r, &err);
    int status = st == TN_OK ? 0 : cli_fail(job->cli, "%s: %s", words, err.message);
    if (status == 0) {
        job->pages++;
        job->windows += r.windows;
        job->preprocess_ms += r.preprocess_ms;
        job->run_ms += r.run_ms;
        if (job->cli->args.json)
            print_json(picture, &page, &r);
        else if (!score)
            print_text(&r);
        status = write_pictures(job, picture, &image, &r);
    }
    tn_doc_page_free(&page);
    tn_image_free(&image);
    return status;
}

static void print_row(const Job *job, const char *name, uint64_t right, uint64_t predicted, uint64_t expected) {
    double p = tn_doc_precision(right, predicted), r = tn_doc_precision(right, expected), f = tn_doc_f1(right, predicted, expected);
    if (job->cli->args.json)
        printf("\"%s\": {\"precision\": %.6f, \"recall\": %.6f, \"f1\": %.6f, \"right\": %llu, \"predicted\": %llu, \"expected\": %llu}",
               name, p, r, f, (unsigned long long)right, (unsigned long long)predicted, (unsigned long long)expected);
    else
        printf("%-12s precision %.4f recall %.4f F1 %.4f (%llu right, %llu predicted, %llu expected)\n", name, p, r, f,
               (unsigned long long)right, (unsigned long long)predicted, (unsigned long long)expected);
}

static void print_score(const Job *job) {
    const TnDocScore *s = &job->score;
    bool json = job->cli->args.json;
    if (json)
        printf("{\"pages\": %u, \"windows\": %u, \"preprocess_milliseconds\": %.3f, \"run_milliseconds\": %.3f, \"types\": {", job->pages,
               job->windows, job->preprocess_ms, job->run_ms);
    for (uint32_t i = 0; i < s->n_types; i++) {
        fputs(json && i > 0 ? ", " : "", stdout);
        print_row(job, s->type[i].name, s->type[i].right, s->type[i].predicted, s->type[i].expected);
    }
    fputs(json ? "}, " : "", stdout);
    print_row(job, "all", s->right, s->predicted, s->expected);
    if (json)
        puts("}");
    else
        printf("%u pages, %u windows: %.1f ms a page (%.1f ms of it preparation)\n", job->pages, job->windows,
               (job->run_ms + job->preprocess_ms) / job->pages, job->preprocess_ms / job->pages);
}

static int is_annotation(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 5 && strcmp(e->d_name + n - 5, ".json") == 0;
}

/* FUNSD's layout: DIR/annotations/X.json beside DIR/images/X.png (or .jpg), in the order of their names. */
static int evaluate(Job *job, const char *dir) {
    char path[PATH_MAX], picture[PATH_MAX];
    struct dirent **names;
    struct stat info;
    snprintf(path, sizeof path, "%s/annotations", dir);
    int n = scandir(path, &names, is_annotation, alphasort), status = 0;
    if (n < 0)
        return cli_fail(job->cli, "folder '%s' cannot be read; --eval takes a folder with annotations/*.json and images/*.png", path);
    for (int i = 0; i < n; i++) {
        int stem = (int)strlen(names[i]->d_name) - 5;
        snprintf(path, sizeof path, "%s/annotations/%s", dir, names[i]->d_name);
        snprintf(picture, sizeof picture, "%s/images/%.*s.png", dir, stem, names[i]->d_name);
        if (stat(picture, &info) != 0)
            snprintf(picture, sizeof picture, "%s/images/%.*s.jpg", dir, stem, names[i]->d_name);
        if (status == 0)
            status = read_page(job, picture, path);
        free(names[i]);
    }
    free(names);
    if (status == 0 && n == 0)
        return cli_fail(job->cli, "folder '%s/annotations' has no .json file", dir);
    if (status == 0)
        print_score(job);
    return status;
}

static int run(Cli *cli) {
    TnError err = {0};
    Job job = {.cli = cli};
    CliPlan plan = {0};
    TnBpe *tokenizer = NULL;
    const CliArgs *a = &cli->args;
    TnDocOptions o = tn_doc_options_default();
    if (a->model == NULL)
        return cli_fail(cli, "give a LayoutLMv3 checkpoint folder or a plan with --model");
    if (a->eval == NULL ? cli->n_positional != 2 : cli->n_positional != 0)
        return cli_fail(cli, "give a picture and its words (FUNSD's JSON, Tesseract's TSV or hOCR), or a folder with --eval");
    if (a->eval != NULL && (a->overlay != NULL || a->html != NULL))
        return cli_fail(cli, "--overlay and --html are for one page; leave them out with --eval");
    o.threads = a->threads;
    o.batch = a->batch;
    o.word_boxes = a->word_boxes;
    o.clip = a->clip;
    if (a->overlap != UINT32_MAX)
        o.overlap = a->overlap;
    TnStatus st = a->tokenizer == NULL ? TN_OK : tn_bpe_load(a->tokenizer, &tokenizer, &err);
    if (st == TN_OK)
        st = cli_open(cli, a->model, &plan, &err);
    if (st == TN_OK)
        st = tn_doc_create(plan.plan, tokenizer, &o, &job.doc, &err);
    int status = st != TN_OK       ? cli_error(cli, &err)
                 : a->eval != NULL ? evaluate(&job, a->eval)
                                   : read_page(&job, cli->positional[0], cli->positional[1]);
    tn_doc_destroy(&job.doc);
    tn_bpe_destroy(&tokenizer);
    cli_close(&plan);
    return status;
}

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "DIR|PLAN", "LayoutLMv3 checkpoint folder or plan, with a token classification head"},
    {"overlay", 0, CLI_TEXT, CLI_ARG(overlay), "FILE.png", "write the picture with boxes and links drawn"},
    {"html", 0, CLI_TEXT, CLI_ARG(html), "FILE.html", "write one page with the picture, boxes and tables"},
    {"eval", 'e', CLI_TEXT, CLI_ARG(eval), "DIR", "read DIR/annotations/*.json with DIR/images; print entity precision, recall and F1"},
    {"overlap", 0, CLI_UINT, CLI_ARG(overlap), "N",
     "tokens that two windows of a long page share (default 128; 0: as the authors evaluate)"},
    {"word-boxes", 0, CLI_FLAG, CLI_ARG(word_boxes), NULL, "every word its own box (default: its segment's)"},
    {"clip", 0, CLI_FLAG, CLI_ARG(clip), NULL, "cut boxes that leave the picture (default: an error)"},
    {"tokenizer", 0, CLI_TEXT, CLI_ARG(tokenizer), "DIR", "folder of tokenizer.json, or vocab.json and merges.txt (default: the model's)"},
    {"batch", 'b', CLI_UINT, CLI_ARG(batch), "N", "windows run at once (default 4)"},
    CLI_DEVICE,
    CLI_BUILD,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_doc = {
    "doc",
    "find headers, questions and answers on forms",
    "--model DIR|PLAN [options] IMAGE WORDS | --eval DIR",
    "Prints one line an entity in reading order: label, score, text and, of an answer, its question. WORDS is FUNSD's annotation JSON, "
    "Tesseract's TSV\n"
    "or hOCR. --json prints one object a page with boxes and words. With --eval, entities are counted as seqeval counts them.",
    options,
    run,
};
