/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon ocr: pictures of text lines, or lines of pages given by boxes, to text. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/cli.h"
#include "cli/pictures.h"
#include "pipelines/ocr.h"
#include "pipelines/util.h"

#define DEFAULT_MODEL "models/trocr-tiny-zh"
#define DEFAULT_BATCH 8
#define MAX_BATCH 1024
#define WINDOW_LINES 1024                    /* lines that are sorted among each other */
#define WINDOW_PIXELS ((size_t)64 * 1024 * 1024) /* and no more than that many pixels of them */

typedef struct Item {
    char *path;
    char *truth; /* NULL: none */
} Item;

typedef struct Job {
    Cli *cli;
    TnOcr *ocr;
    TnGenerateOptions generate;
    float min_confidence;
    uint32_t batch;
    Item *items;
    size_t n, cap;
    uint32_t failed;
    /* evaluation */
    uint64_t edits, truth_chars;
    uint32_t lines, exact;
    double total_ms;
} Job;

/* ---- what to read ---- */

static int add_item(Job *job, const char *path, const char *truth) {
    if (job->n == job->cap) {
        size_t cap = job->cap == 0 ? 64 : job->cap * 2;
        Item *grown = realloc(job->items, cap * sizeof *grown);
        if (grown == NULL)
            return cli_fail(job->cli, "out of memory");
        job->items = grown;
        job->cap = cap;
    }
    Item item = {strdup(path), truth == NULL ? NULL : strdup(truth)};
    if (item.path == NULL || (truth != NULL && item.truth == NULL)) {
        free(item.path);
        free(item.truth);
        return cli_fail(job->cli, "out of memory");
    }
    job->items[job->n++] = item;
    return 0;
}

/* Rows "file TAB truth [TAB ...]" of a .tsv; '#' starts a comment; files are relative to the .tsv. */
static int add_eval(Job *job, const char *tsv) {
    TnError err = {0};
    void *data;
    size_t n;
    int status = 0;
    uint32_t row = 0;
    if (tnp_read_file(tsv, 64u << 20, &data, &n, &err) != TN_OK)
        return cli_error(job->cli, &err);
    const char *slash = strrchr(tsv, '/');
    int dir = slash == NULL ? 0 : (int)(slash + 1 - tsv);
    for (char *line = data, *next; status == 0 && *line != '\0'; line = next) {
        char path[PATH_MAX];
        size_t len = strcspn(line, "\r\n");
        next = line + len + strspn(line + len, "\r\n");
        line[len] = '\0';
        row++;
        if (line[0] == '#' || len == 0)
            continue;
        char *tab = strchr(line, '\t');
        if (tab == NULL) {
            status = cli_fail(job->cli, "'%s' row %u: expected a file name, a tab and the true text", tsv, row);
            break;
        }
        *tab = '\0';
        char *truth = tab + 1;
        truth[strcspn(truth, "\t")] = '\0';
        snprintf(path, sizeof path, "%.*s%s", line[0] == '/' ? 0 : dir, tsv, line);
        status = add_item(job, path, truth);
    }
    free(data);
    return status;
}

/* Pictures of lines: those given, and those of --eval. */
static int collect(Job *job) {
    CliPictures given = {0};
    const char *eval = job->cli->args.eval;
    int status = job->cli->n_positional == 0 && eval != NULL ? 0 : cli_pictures(job->cli, &given);
    for (size_t i = 0; status == 0 && i < given.n; i++)
        status = add_item(job, given.path[i], NULL);
    cli_pictures_free(&given);
    if (status == 0 && eval != NULL)
        status = add_eval(job, eval);
    return status == 0 && job->n == 0 ? cli_fail(job->cli, "'%s' lists no pictures", eval) : status;
}

/* ---- what comes out ---- */

static json_t *json_box(const double c[8]) {
    json_t *box = json_array();
    for (int i = 0; i < 8; i++)
        json_array_append_new(box, json_real(c[i]));
    return box;
}

static void print_json(const char *file, const TnOcrBox *box, const char *truth, const TnOcrText *line, bool hidden, double ms) {
    json_t *chars = json_array(), *o = json_object();
    for (uint32_t i = 0; i < line->n_chars; i++)
        json_array_append_new(chars, json_pack("{s:s, s:f}", "text", line->chars[i], "confidence", (double)line->char_confidence[i]));
    json_object_set_new(o, "file", json_string_nocheck(file));
    if (box != NULL)
        json_object_set_new(o, "box", json_box(box->corner));
    json_object_set_new(o, "text", json_string(hidden ? "" : line->text));
    json_object_set_new(o, "confidence", json_real((double)line->confidence));
    json_object_set_new(o, "below_min_confidence", json_boolean(hidden));
    json_object_set_new(o, "characters", chars);
    json_object_set_new(o, "milliseconds", json_real(ms));
    if (truth != NULL)
        json_object_set_new(o, "expected", json_string(truth));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', stdout);
    json_decref(o);
}

/* box NULL: the picture is the line. truth NULL: not known, or not asked for. */
static void print_line(Job *job, const char *file, const TnOcrBox *box, const char *truth, const TnOcrText *line, double ms) {
    bool hidden = !(line->confidence >= job->min_confidence);
    const char *text = hidden ? "" : line->text;
    if (job->cli->args.json) {
        print_json(file, box, truth, line, hidden, ms);
    } else {
        printf("%s\t", file);
        for (int i = 0; box != NULL && i < 8; i++)
            printf("%g%c", box->corner[i], i < 7 ? ',' : '\t');
        fputs(text, stdout);
        printf(truth == NULL ? "\n" : "\t%s\n", truth);
    }
    if (hidden)
        cli_note(job->cli, "%s: confidence %.2f is below %.2f, so nothing is printed (--min-confidence 0 shows the reading)", file,
                 (double)line->confidence, (double)job->min_confidence);
    if (truth != NULL) {
        uint32_t n, d = tn_text_distance(text, truth, &n);
        if (d == UINT32_MAX)
            return;
        job->edits += d;
        job->truth_chars += n;
        job->lines++;
        job->exact += d == 0;
    }
}

static void print_score(const Job *job) {
    double cer = job->truth_chars == 0 ? 0 : (double)job->edits / (double)job->truth_chars, exact = (double)job->exact / job->lines;
    if (job->cli->args.json)
        printf("{\"lines\": %u, \"character_error_rate\": %.6f, \"exact_line_rate\": %.6f, \"milliseconds_per_line\": %.3f}\n", job->lines, cer, exact,
               job->total_ms / job->lines);
    else
        printf("%u lines: character error rate %.2f %%, exact lines %.2f %% (%u), %.1f ms a line\n", job->lines, cer * 100, exact * 100, job->exact,
               job->total_ms / job->lines);
}

/* ---- pictures of lines ---- */

/* Loads the pictures from *from on that make a window, and moves *from behind them; those that cannot be read are reported and left out. */
static uint32_t load_window(Job *job, size_t *from, TnImage *images, const Item **items) {
    uint32_t k = 0;
    for (size_t pixels = 0; *from < job->n && k < WINDOW_LINES && pixels < WINDOW_PIXELS; ++*from) {
        TnError err = {0};
        if (tn_image_load(job->items[*from].path, &images[k], &err) != TN_OK) {
            cli_error(job->cli, &err);
            job->failed++;
            continue;
        }
        pixels += (size_t)images[k].width * images[k].height;
        items[k++] = &job->items[*from];
    }
    return k;
}

static int read_lines(Job *job) {
    TnImage *images = calloc(WINDOW_LINES, sizeof *images);
    const Item **items = calloc(WINDOW_LINES, sizeof *items);
    TnOcrText *texts = calloc(WINDOW_LINES, sizeof *texts);
    int status = images != NULL && items != NULL && texts != NULL ? 0 : cli_fail(job->cli, "out of memory");
    for (size_t at = 0; status == 0 && at < job->n;) {
        TnOcrTimes times = {0, 0};
        TnError err = {0};
        uint32_t k = load_window(job, &at, images, items);
        TnStatus st = k == 0 ? TN_OK : tn_ocr_read_many(job->ocr, images, k, job->batch, &job->generate, texts, &times, &err);
        double ms = times.preprocess_ms + times.generate_ms;
        for (uint32_t i = 0; i < k; i++) {
            if (st == TN_OK)
                print_line(job, items[i]->path, NULL, items[i]->truth, &texts[i], ms / k);
            tn_ocr_text_free(&texts[i]);
            tn_image_free(&images[i]);
        }
        job->total_ms += ms;
        status = st == TN_OK ? 0 : cli_error(job->cli, &err);
    }
    free(images);
    free(items);
    free(texts);
    return status;
}

/* ---- pages ---- */

/* A page's pictures; empty boxes' lines are reported and left out. */
static TnStatus read_boxes(Job *job, const TnImage *image, const TnOcrPage *page, TnOcrText *texts, double *ms, TnError *err) {
    TnImage *lines = calloc(page->n + 1u, sizeof *lines);
    TnOcrTimes times = {0, 0};
    TnStatus st = lines == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u boxes", page->n) : TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < page->n; i++) {
        TnError why = {0};
        st = tn_ocr_cut(image, &page->box[i], job->cli->args.clip, &lines[i], &why);
        if (st != TN_OK)
            tnp_fail(err, st, "box %u: %s", i + 1, why.message);
    }
    if (st == TN_OK && page->n > 0)
        st = tn_ocr_read_many(job->ocr, lines, page->n, job->batch, &job->generate, texts, &times, err);
    for (uint32_t i = 0; lines != NULL && i < page->n; i++)
        tn_image_free(&lines[i]);
    free(lines);
    *ms = times.preprocess_ms + times.generate_ms;
    return st;
}

static TnStatus write_pictures(const Job *job, const char *picture, const TnImage *image, const TnOcrPage *page, const TnOcrText *texts, TnError *err) {
    const CliArgs *a = &job->cli->args;
    TnImage drawn = {0};
    TnStatus st = TN_OK;
    if (a->overlay != NULL) {
        st = tn_ocr_draw(image, page, texts, &drawn, err);
        if (st == TN_OK)
            st = tn_image_save_png(&drawn, a->overlay, err);
        tn_image_free(&drawn);
    }
    const char *slash = strrchr(picture, '/');
    if (st == TN_OK && a->html != NULL)
        st = tn_ocr_save_html(image, page, texts, slash == NULL ? picture : slash + 1, a->html, err);
    return st;
}

static int read_page(Job *job, const char *picture, const TnOcrPage *page) {
    TnImage image = {0};
    TnError err = {0};
    double ms = 0;
    TnOcrText *texts = calloc(page->n + 1u, sizeof *texts);
    TnStatus st = texts == NULL ? tnp_fail(&err, TN_ERR_MEMORY, "out of memory: %u boxes", page->n) : tn_image_load(picture, &image, &err);
    if (st == TN_OK) {
        TnError why = {0};
        st = read_boxes(job, &image, page, texts, &ms, &why);
        if (st != TN_OK)
            tnp_fail(&err, st, "'%s': %s", picture, why.message);
    }
    for (uint32_t i = 0; st == TN_OK && i < page->n; i++)
        print_line(job, picture, &page->box[i], job->cli->args.eval != NULL ? page->box[i].truth : NULL, &texts[i], ms / page->n);
    if (st == TN_OK)
        st = write_pictures(job, picture, &image, page, texts, &err);
    job->total_ms += ms;
    for (uint32_t i = 0; texts != NULL && i < page->n; i++)
        tn_ocr_text_free(&texts[i]);
    free(texts);
    tn_image_free(&image);
    return st == TN_OK ? 0 : cli_error(job->cli, &err);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* The page of a picture: the only one, or the one whose file has its name. */
static const TnOcrPage *page_of(const TnOcrPages *pages, const char *picture) {
    for (uint32_t i = 0; i < pages->n; i++) {
        if (pages->page[i].picture != NULL && strcmp(base_name(pages->page[i].picture), base_name(picture)) == 0)
            return &pages->page[i];
    }
    return pages->n == 1 && pages->page[0].picture == NULL ? &pages->page[0] : NULL;
}

/* A picture that a file of boxes names: as it is, or of that name beside the file. */
static int read_named(Job *job, const char *file, const TnOcrPage *page) {
    char path[PATH_MAX];
    if (page->picture == NULL)
        return cli_fail(job->cli, "'%s' names no picture; give it: tenon ocr PAGE --boxes FILE", file);
    const char *candidates[] = {page->picture, base_name(page->picture)};
    for (size_t i = 0; i < 2; i++) {
        if (snprintf(path, sizeof path, "%.*s%s", candidates[i][0] == '/' ? 0 : (int)(base_name(file) - file), file, candidates[i]) < (int)sizeof path &&
            access(path, R_OK) == 0)
            return read_page(job, path, page);
    }
    return cli_fail(job->cli, "'%s': picture '%s' is not beside it", file, page->picture);
}

static int read_pages(Job *job, const char *file) {
    const CliArgs *a = &job->cli->args;
    TnOcrPages pages;
    TnError err = {0};
    CliPictures given = {0};
    int status = tn_ocr_pages_load(file, &pages, &err) == TN_OK ? 0 : cli_error(job->cli, &err);
    if (status == 0 && job->cli->n_positional > 0)
        status = cli_pictures(job->cli, &given);
    if (status == 0 && (a->overlay != NULL || a->html != NULL) && (given.n > 0 ? given.n : pages.n) != 1)
        status = cli_fail(job->cli, "--overlay and --html draw one page; give one picture");
    for (size_t i = 0; status == 0 && i < given.n; i++) {
        const TnOcrPage *page = page_of(&pages, given.path[i]);
        if (page == NULL)
            status = cli_fail(job->cli, "'%s' has no boxes of '%s'", file, given.path[i]);
        else
            status = read_page(job, given.path[i], page);
    }
    for (uint32_t i = 0; status == 0 && given.n == 0 && i < pages.n; i++)
        status = read_named(job, file, &pages.page[i]);
    cli_pictures_free(&given);
    tn_ocr_pages_free(&pages);
    return status;
}

/* ---- the model ---- */

/* The model that comes with Tenon: beside the program (build tree) or in the installation's share folder. */
static bool default_model(char *path, size_t cap) {
    static const char *const places[] = {"../" DEFAULT_MODEL, "../share/tenon/" DEFAULT_MODEL};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return false;
    exe[n] = '\0';
    *(strrchr(exe, '/') + 1) = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (snprintf(path, cap, "%s%s", exe, places[i]) < (int)cap && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

typedef struct Model {
    CliPlan plan, decoder;
    TnVocabulary *vocabulary;
} Model;

/* The pair of files of an exported encoder and decoder in a folder. */
static bool exported(const char *dir, char *encoder, char *decoder, size_t cap) {
    static const char *const names[][2] = {{"encoder_model.onnx", "decoder_model.onnx"}, {"encoder.onnx", "decoder.onnx"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (snprintf(encoder, cap, "%s/%s", dir, names[i][0]) < (int)cap && snprintf(decoder, cap, "%s/%s", dir, names[i][1]) < (int)cap &&
            access(encoder, R_OK) == 0 && access(decoder, R_OK) == 0)
            return true;
    }
    return false;
}

static TnStatus open_model(Job *job, const char *path, Model *m, TnError *err) {
    char encoder[PATH_MAX], decoder[PATH_MAX];
    const CliArgs *a = &job->cli->args;
    TnOcrParts parts = {.threads = a->threads};
    bool pair = cli_is_folder(path) && exported(path, encoder, decoder, sizeof encoder);
    TnStatus st = cli_open(job->cli, pair ? encoder : path, &m->plan, err);
    if (st == TN_OK && pair)
        st = cli_open(job->cli, decoder, &m->decoder, err);
    if (st == TN_OK && (a->tokenizer != NULL || pair))
        st = tn_vocabulary_load(a->tokenizer != NULL ? a->tokenizer : path, &m->vocabulary, err);
    if (st != TN_OK)
        return st;
    parts.plan = m->plan.plan;
    parts.decoder = m->decoder.plan;
    parts.vocabulary = m->vocabulary;
    parts.folder = pair ? path : NULL;
    return tn_ocr_create_from(&parts, &job->ocr, err);
}

static void close_model(Model *m) {
    tn_vocabulary_destroy(&m->vocabulary);
    cli_close(&m->decoder);
    cli_close(&m->plan);
}

static bool is_tsv(const char *path) {
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".tsv") == 0;
}

/* The file of boxes: --boxes, or --eval with one that is no table. */
static const char *boxes_file(const CliArgs *a) { return a->boxes != NULL ? a->boxes : a->eval != NULL && !is_tsv(a->eval) ? a->eval : NULL; }

static int check(Cli *cli) {
    const CliArgs *a = &cli->args;
    if (a->batch > MAX_BATCH)
        return cli_fail(cli, "--batch %u is more than %d", a->batch, MAX_BATCH);
    if (a->boxes != NULL && a->eval != NULL && strcmp(a->boxes, a->eval) != 0)
        return cli_fail(cli, "--boxes and --eval are given with different files; the texts to compare with stand beside the boxes: --eval %s", a->boxes);
    if (boxes_file(a) == NULL && (a->overlay != NULL || a->html != NULL || a->clip))
        return cli_fail(cli, "--overlay, --html and --clip are for pages: give the boxes of their lines with --boxes FILE");
    return 0;
}

static int run(Cli *cli) {
    const CliArgs *a = &cli->args;
    TnError err = {0};
    Job job = {.cli = cli, .batch = a->batch == 0 ? DEFAULT_BATCH : a->batch, .generate = tn_generate_options_default()};
    Model m = {0};
    char path[PATH_MAX];
    const char *boxes = boxes_file(a);
    job.generate.num_beams = a->beams;
    job.generate.max_length = a->max_length;
    int status = check(cli);
    if (status == 0 && boxes == NULL)
        status = collect(&job);
    if (status == 0 && a->model == NULL && !default_model(path, sizeof path))
        status = cli_fail(cli, "the default model (%s) is not beside the program; give one with --model DIR|PLAN", DEFAULT_MODEL);
    if (status == 0 && open_model(&job, a->model != NULL ? a->model : path, &m, &err) != TN_OK)
        status = cli_error(cli, &err);
    if (status == 0) {
        job.min_confidence = isnan(a->min_confidence) ? tn_ocr_min_confidence(job.ocr) : (float)a->min_confidence;
        status = boxes != NULL ? read_pages(&job, boxes) : read_lines(&job);
    }
    if (status == 0 && a->eval != NULL && job.lines > 0)
        print_score(&job);
    tn_ocr_destroy(&job.ocr);
    close_model(&m);
    for (size_t i = 0; i < job.n; i++) {
        free(job.items[i].path);
        free(job.items[i].truth);
    }
    free(job.items);
    return status == 0 && job.failed > 0 ? 2 : status;
}

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "DIR|PLAN", "checkpoint folder, folder of an ONNX export, or plan (default: the model that comes with Tenon)"},
    {"tokenizer", 0, CLI_TEXT, CLI_ARG(tokenizer), "FILE|DIR", "vocabulary: vocab.json, vocab.txt, tokenizer.json, a sentencepiece file (default: the model's)"},
    {"boxes", 0, CLI_TEXT, CLI_ARG(boxes), "FILE", "read the lines that these boxes of a page hold (JSON list, or wildreceipt's labels)"},
    {"clip", 0, CLI_FLAG, CLI_ARG(clip), NULL, "cut boxes that leave the page (default: an error)"},
    {"overlay", 0, CLI_TEXT, CLI_ARG(overlay), "FILE.png", "write the page with its boxes drawn"},
    {"html", 0, CLI_TEXT, CLI_ARG(html), "FILE.html", "write one page with the picture, boxes and texts"},
    {"min-confidence", 0, CLI_FLOAT, CLI_ARG(min_confidence), "P", "print lines below this empty (default: the model's, or 0.45)"},
    {"eval", 'e', CLI_TEXT, CLI_ARG(eval), "FILE", "rows 'file TAB truth' (.tsv), or boxes with texts: print character error rate and exact-line rate"},
    {"batch", 'b', CLI_UINT, CLI_ARG(batch), "N", "lines read at once, like proportions together (default 8)"},
    {"beams", 0, CLI_UINT, CLI_ARG(beams), "N", "beam search with N beams (default: the model's; 1 is greedy)"},
    {"max-length", 0, CLI_UINT, CLI_ARG(max_length), "N", "at most N tokens a line (default: the model's)"},
    CLI_DEVICE,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_ocr = {
    "ocr", "read pictures of text lines", "[options] IMAGE|DIR|LIST|- ... | PAGE --boxes FILE | --eval FILE",
    "Prints one line a picture: file, tab, text (and, with --eval, tab, truth); with --boxes the corners stand between. PNG, JPEG and uint8 .npy are\n"
    "read. --json prints one object a line with the confidence of the line (geometric mean of its token probabilities) and of each character. Exit\n"
    "status 2 when a picture could not be read; the others are still printed.",
    options, run,
};
