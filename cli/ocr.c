/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon ocr: pictures of text lines to text. */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/cli.h"
#include "pipelines/ocr.h"
#include "pipelines/util.h"

#define DEFAULT_MODEL "models/trocr-tiny-zh"
#define DEFAULT_BATCH 8
#define MAX_BATCH 1024

typedef struct Item {
    char *path;
    char *truth; /* NULL: none */
} Item;

typedef struct Job {
    Cli *cli;
    TnOcr *ocr;
    float min_confidence;
    Item *items;
    size_t n, cap;
    uint32_t failed;
    /* evaluation */
    uint64_t edits, truth_chars;
    uint32_t lines, exact;
    double total_ms;
} Job;

static bool add_item(Job *job, const char *path, const char *truth) {
    if (job->n == job->cap) {
        size_t cap = job->cap == 0 ? 64 : job->cap * 2;
        Item *grown = realloc(job->items, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        job->items = grown;
        job->cap = cap;
    }
    Item item = {strdup(path), truth == NULL ? NULL : strdup(truth)};
    if (item.path == NULL || (truth != NULL && item.truth == NULL)) {
        free(item.path);
        free(item.truth);
        return false;
    }
    job->items[job->n++] = item;
    return true;
}

static bool is_picture_name(const char *name) {
    static const char *const ends[] = {".png", ".jpg", ".jpeg", ".npy"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (n > k && strcasecmp(name + n - k, ends[i]) == 0)
            return true;
    }
    return false;
}

/* Adds every picture of a folder in order of name. */
static int add_folder(Job *job, const char *dir) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort), status = 0;
    uint32_t added = 0;
    if (n < 0)
        return cli_fail(job->cli, "folder '%s' cannot be read", dir);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (is_picture_name(names[i]->d_name) && snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) < (int)sizeof path) {
            if (!add_item(job, path, NULL))
                status = cli_fail(job->cli, "out of memory");
            added++;
        }
        free(names[i]);
    }
    free(names);
    if (status == 0 && added == 0)
        return cli_fail(job->cli, "folder '%s' has no .png, .jpg, .jpeg or .npy file", dir);
    return status;
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
        if (!add_item(job, path, truth))
            status = cli_fail(job->cli, "out of memory");
    }
    free(data);
    return status;
}

static void print_json(const Job *job, const Item *item, const TnOcrLine *line, bool hidden, double ms) {
    json_t *chars = json_array(), *o = json_object();
    for (uint32_t i = 0; i < line->n_chars; i++)
        json_array_append_new(chars, json_pack("{s:s, s:f}", "text", line->chars[i], "confidence", (double)line->char_confidence[i]));
    json_object_set_new(o, "file", json_string_nocheck(item->path));
    json_object_set_new(o, "text", json_string(hidden ? "" : line->text));
    json_object_set_new(o, "confidence", json_real((double)line->confidence));
    json_object_set_new(o, "below_min_confidence", json_boolean(hidden));
    json_object_set_new(o, "characters", chars);
    json_object_set_new(o, "milliseconds", json_real(ms));
    if (item->truth != NULL)
        json_object_set_new(o, "expected", json_string(item->truth));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', stdout);
    json_decref(o);
    (void)job;
}

static void print_line(Job *job, const Item *item, const TnOcrLine *line, double ms) {
    bool hidden = !(line->confidence >= job->min_confidence);
    const char *text = hidden ? "" : line->text;
    if (job->cli->args.json)
        print_json(job, item, line, hidden, ms);
    else if (item->truth != NULL)
        printf("%s\t%s\t%s\n", item->path, text, item->truth);
    else
        printf("%s\t%s\n", item->path, text);
    if (hidden)
        cli_note(job->cli, "%s: confidence %.2f is below %.2f, so nothing is printed (--min-confidence 0 shows the reading)", item->path,
                 (double)line->confidence, (double)job->min_confidence);
    if (item->truth != NULL) {
        uint32_t n, d = tn_text_distance(text, item->truth, &n);
        if (d == UINT32_MAX)
            return;
        job->edits += d;
        job->truth_chars += n;
        job->lines++;
        job->exact += d == 0;
    }
}

/* Reads items [from, from + n) in one batch; pictures that cannot be read are reported and skipped. */
static int read_batch(Job *job, size_t from, uint32_t n, const TnGenerateOptions *go) {
    TnImage images[MAX_BATCH];
    const Item *items[MAX_BATCH];
    TnOcrLine lines[MAX_BATCH];
    TnOcrTimes times = {0, 0};
    TnError err = {0};
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (tn_image_load(job->items[from + i].path, &images[k], &err) != TN_OK) {
            cli_error(job->cli, &err);
            job->failed++;
            continue;
        }
        items[k++] = &job->items[from + i];
    }
    TnStatus st = k == 0 ? TN_OK : tn_ocr_read(job->ocr, images, k, go, lines, &times, &err);
    double ms = k == 0 ? 0 : (times.preprocess_ms + times.generate_ms) / k;
    for (uint32_t i = 0; i < k; i++) {
        if (st == TN_OK)
            print_line(job, items[i], &lines[i], ms);
        tn_image_free(&images[i]);
    }
    job->total_ms += ms * k;
    return st == TN_OK ? 0 : cli_error(job->cli, &err);
}

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

static int collect(Job *job) {
    struct stat st;
    for (uint32_t i = 0; i < job->cli->n_positional; i++) {
        const char *p = job->cli->positional[i];
        if (strcmp(p, "-") != 0 && stat(p, &st) == 0 && S_ISDIR(st.st_mode)) {
            int status = add_folder(job, p);
            if (status != 0)
                return status;
        } else if (!add_item(job, p, NULL)) {
            return cli_fail(job->cli, "out of memory");
        }
    }
    if (job->cli->args.eval != NULL)
        return add_eval(job, job->cli->args.eval);
    if (job->n == 0)
        return cli_fail(job->cli, "give pictures of text lines: files, folders, or - for standard input");
    return 0;
}

static int read_all(Job *job) {
    Cli *cli = job->cli;
    TnGenerateOptions go = tn_generate_options_default();
    go.num_beams = cli->args.beams;
    go.max_length = cli->args.max_length;
    uint32_t batch = cli->args.batch == 0 ? DEFAULT_BATCH : cli->args.batch;
    if (batch > MAX_BATCH)
        return cli_fail(cli, "--batch %u is more than %d", batch, MAX_BATCH);
    job->min_confidence = isnan(cli->args.min_confidence) ? tn_ocr_min_confidence(job->ocr) : (float)cli->args.min_confidence;
    for (size_t at = 0; at < job->n; at += batch) {
        int status = read_batch(job, at, (uint32_t)(job->n - at < batch ? job->n - at : batch), &go);
        if (status != 0)
            return status;
    }
    if (cli->args.eval != NULL && job->lines > 0) {
        double cer = job->truth_chars == 0 ? 0 : (double)job->edits / (double)job->truth_chars, exact = (double)job->exact / job->lines;
        if (cli->args.json)
            printf("{\"lines\": %u, \"character_error_rate\": %.6f, \"exact_line_rate\": %.6f, \"milliseconds_per_line\": %.3f}\n", job->lines, cer,
                   exact, job->total_ms / job->lines);
        else
            printf("%u lines: character error rate %.2f %%, exact lines %.2f %% (%u), %.1f ms a line\n", job->lines, cer * 100, exact * 100,
                   job->exact, job->total_ms / job->lines);
    }
    return job->failed == 0 ? 0 : 2;
}

static int run(Cli *cli) {
    TnError err = {0};
    Job job = {.cli = cli};
    CliPlan plan = {0};
    char path[PATH_MAX];
    const char *model = cli->args.model;
    int status = collect(&job);
    if (status == 0 && model == NULL && !default_model(path, sizeof path))
        status = cli_fail(cli, "the default model (%s) is not beside the program; give one with --model DIR|PLAN", DEFAULT_MODEL);
    if (status == 0 && (cli_open(cli, model != NULL ? model : path, &plan, &err) != TN_OK ||
                        tn_ocr_create(plan.plan, cli->args.threads, &job.ocr, &err) != TN_OK))
        status = cli_error(cli, &err);
    if (status == 0)
        status = read_all(&job);
    tn_ocr_destroy(&job.ocr);
    cli_close(&plan);
    for (size_t i = 0; i < job.n; i++) {
        free(job.items[i].path);
        free(job.items[i].truth);
    }
    free(job.items);
    return status;
}

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "DIR|PLAN", "checkpoint folder or plan (default: the model that comes with Tenon)"},
    {"min-confidence", 0, CLI_FLOAT, CLI_ARG(min_confidence), "P", "print lines below this empty (default: the model's, or 0.45)"},
    {"eval", 'e', CLI_TEXT, CLI_ARG(eval), "FILE.tsv", "rows 'file TAB truth': read them, print character error rate and exact-line rate"},
    {"batch", 'b', CLI_UINT, CLI_ARG(batch), "N", "pictures read at once (default 8)"},
    {"beams", 0, CLI_UINT, CLI_ARG(beams), "N", "beam search with N beams (default: the model's; 1 is greedy)"},
    {"max-length", 0, CLI_UINT, CLI_ARG(max_length), "N", "at most N tokens a line (default: the model's)"},
    CLI_DEVICE,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_ocr = {
    "ocr", "read pictures of text lines", "[options] IMAGE|DIR|- ...",
    "Prints one line a picture: file, tab, text (and, with --eval, tab, truth). PNG, JPEG and uint8 .npy are read. --json prints one object a\n"
    "line with the confidence of the line (geometric mean of its token probabilities) and of each character. Exit status 2 when a\n"
    "picture could not be read; the others are still printed.",
    options, run,
};
