/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon classify: pictures to classes. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "cli/pictures.h"
#include "pipelines/classify.h"
#include "pipelines/util.h"

#define DEFAULT_BATCH 8
#define MAX_BATCH 1024
#define DEFAULT_TOP 5
#define NO_CLASS UINT32_MAX

typedef struct Item {
    char *path;
    uint32_t truth; /* NO_CLASS: none */
} Item;

typedef struct Job {
    Cli *cli;
    TnClassifier *classifier;
    Item *items;
    size_t n, cap;
    uint32_t failed, top;
    /* evaluation */
    uint32_t judged, first, among_five;
    double total_ms;
} Job;

static int add_item(Job *job, const char *path, uint32_t truth) {
    if (job->n == job->cap) {
        size_t cap = job->cap == 0 ? 64 : job->cap * 2;
        Item *grown = realloc(job->items, cap * sizeof *grown);
        if (grown == NULL)
            return cli_fail(job->cli, "out of memory");
        job->items = grown;
        job->cap = cap;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return cli_fail(job->cli, "out of memory");
    job->items[job->n++] = (Item){copy, truth};
    return 0;
}

/* A class by number or by label; NO_CLASS when it is none. */
static uint32_t class_of(const Job *job, const char *text) {
    uint32_t n = tn_classifier_classes(job->classifier);
    for (uint32_t i = 0; i < n; i++) {
        const char *label = tn_classifier_label(job->classifier, i);
        if (label != NULL && strcmp(label, text) == 0)
            return i;
    }
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && v < n ? (uint32_t)v : NO_CLASS;
}

/* Pictures directly in dir, all of one class. */
static int add_pictures(Job *job, const char *dir, uint32_t truth, uint32_t *added) {
    struct dirent **names;
    int n = scandir(dir, &names, cli_not_hidden, cli_by_bytes), status = 0;
    if (n < 0)
        return cli_fail(job->cli, "folder '%s' cannot be read", dir);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (status == 0 && cli_is_picture(names[i]->d_name) && snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) < (int)sizeof path) {
            status = add_item(job, path, truth);
            ++*added;
        }
        free(names[i]);
    }
    free(names);
    return status;
}

/* The class of sub-folder number i of n: its name, or its place among as many sub-folders as classes. */
static uint32_t folder_class(const Job *job, const char *name, uint32_t i, uint32_t n) {
    uint32_t c = class_of(job, name);
    return c == NO_CLASS && n == tn_classifier_classes(job->classifier) ? i : c;
}

/* A folder of pictures, or of one sub-folder a class. */
static int add_folder(Job *job, const char *dir) {
    struct dirent **names;
    int n = scandir(dir, &names, cli_not_hidden, cli_by_bytes), status = 0;
    uint32_t added = 0, folders = 0, at = 0;
    char path[PATH_MAX];
    struct stat st;
    if (n < 0)
        return cli_fail(job->cli, "folder '%s' cannot be read", dir);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n && status == 0; i++) {
            if (snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) >= (int)sizeof path || stat(path, &st) != 0 ||
                !S_ISDIR(st.st_mode))
                continue;
            if (pass == 0) {
                folders++;
                continue;
            }
            uint32_t c = folder_class(job, names[i]->d_name, at++, folders);
            if (c == NO_CLASS)
                status = cli_fail(job->cli,
                                  "folder '%s' is no class of the model: sub-folders are named as the classes (numbers, or --labels FILE), "
                                  "or there are as many "
                                  "as classes, in order",
                                  path);
            else
                status = add_pictures(job, path, c, &added);
        }
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    if (status == 0)
        status = add_pictures(job, dir, NO_CLASS, &added);
    return status == 0 && added == 0 ? cli_fail(job->cli, "folder '%s' has no .png, .jpg, .jpeg or .npy file", dir) : status;
}

/* Rows "file [TAB class]"; a class may also follow a blank. Files are relative to the list; '#' starts a comment. */
static int add_list(Job *job, const char *list) {
    TnError err = {0};
    void *data;
    size_t n;
    int status = 0;
    uint32_t row = 0;
    if (tnp_read_file(list, 256u << 20, &data, &n, &err) != TN_OK)
        return cli_error(job->cli, &err);
    const char *slash = strrchr(list, '/');
    int dir = slash == NULL ? 0 : (int)(slash + 1 - list);
    for (char *line = data, *next; status == 0 && *line != '\0'; line = next) {
        char path[PATH_MAX];
        size_t len = strcspn(line, "\n");
        next = line + len + (line[len] != '\0');
        line[len] = '\0';
        line[strcspn(line, "\r")] = '\0';
        row++;
        if (line[0] == '#' || line[0] == '\0')
            continue;
        char *gap = strchr(line, '\t');
        if (gap == NULL && !cli_is_picture(line))
            gap = strrchr(line, ' ');
        uint32_t truth = NO_CLASS;
        if (gap != NULL) {
            *gap = '\0';
            truth = class_of(job, gap + 1);
            if (truth == NO_CLASS)
                status = cli_fail(job->cli, "'%s' row %u: '%s' is no class of the model (numbers from 0 to %u, or names of --labels FILE)",
                                  list, row, gap + 1, tn_classifier_classes(job->classifier) - 1);
        }
        snprintf(path, sizeof path, "%.*s%s", line[0] == '/' ? 0 : dir, list, line);
        if (status == 0)
            status = add_item(job, path, truth);
    }
    free(data);
    return status;
}

static int collect(Job *job) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < job->cli->n_positional; i++) {
        const char *p = job->cli->positional[i];
        if (strcmp(p, "-") != 0 && cli_is_folder(p))
            status = add_folder(job, p);
        else
            status = cli_is_list(p) ? add_list(job, p) : add_item(job, p, NO_CLASS);
    }
    return status == 0 && job->n == 0 ? cli_fail(job->cli, "give pictures: files, folders, lists, or - for standard input") : status;
}

static void print_json(const Job *job, const Item *item, const TnClassScore *top, double ms) {
    json_t *classes = json_array(), *o = json_object();
    for (uint32_t i = 0; i < job->top; i++) {
        json_t *c = json_pack("{s:I, s:f}", "class", (json_int_t)top[i].index, "probability", (double)top[i].probability);
        if (top[i].label != NULL)
            json_object_set_new(c, "label", json_string(top[i].label));
        json_array_append_new(classes, c);
    }
    json_object_set_new(o, "file", json_string_nocheck(item->path));
    json_object_set_new(o, "classes", classes);
    json_object_set_new(o, "milliseconds", json_real(ms));
    if (item->truth != NO_CLASS)
        json_object_set_new(o, "expected", json_integer(item->truth));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fputc('\n', stdout);
    json_decref(o);
}

static void print_item(Job *job, const Item *item, const TnClassScore *top, uint32_t k, double ms) {
    if (job->cli->args.json)
        print_json(job, item, top, ms);
    for (uint32_t i = 0; !job->cli->args.json && i < job->top; i++)
        printf("%s\t%u\t%.6f%s%s\n", item->path, top[i].index, (double)top[i].probability, top[i].label == NULL ? "" : "\t",
               top[i].label == NULL ? "" : top[i].label);
    if (item->truth == NO_CLASS)
        return;
    job->judged++;
    job->first += top[0].index == item->truth;
    for (uint32_t i = 0; i < k && i < 5; i++)
        job->among_five += top[i].index == item->truth;
}

/* Items [from, from + n) in one batch; pictures that cannot be read are reported and skipped. k: classes that are found of each. */
static int run_batch(Job *job, size_t from, uint32_t n, uint32_t k, TnClassScore *top) {
    TnImage images[MAX_BATCH];
    const Item *items[MAX_BATCH];
    TnClassifyTimes times = {0, 0};
    TnError err = {0};
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (tn_image_load(job->items[from + i].path, &images[m], &err) == TN_OK) {
            items[m++] = &job->items[from + i];
            continue;
        }
        cli_error(job->cli, &err);
        job->failed++;
    }
    TnStatus st = m == 0 ? TN_OK : tn_classifier_run(job->classifier, images, m, k, top, &times, &err);
    double ms = m == 0 ? 0 : (times.preprocess_ms + times.run_ms) / m;
    for (uint32_t i = 0; i < m; i++) {
        if (st == TN_OK)
            print_item(job, items[i], top + (size_t)i * k, k, ms);
        tn_image_free(&images[i]);
    }
    job->total_ms += ms * m;
    return st == TN_OK ? 0 : cli_error(job->cli, &err);
}

static void print_rates(const Job *job) {
    double first = (double)job->first / job->judged, five = (double)job->among_five / job->judged, ms = job->total_ms / job->judged;
    if (job->cli->args.json)
        printf("{\"pictures\": %u, \"top1\": %.6f, \"top5\": %.6f, \"milliseconds_per_picture\": %.3f}\n", job->judged, first, five, ms);
    else
        printf("%u pictures: top-1 %.3f %% (%u), top-5 %.3f %% (%u), %.1f ms a picture\n", job->judged, first * 100, job->first, five * 100,
               job->among_five, ms);
}

static int run_all(Job *job) {
    Cli *cli = job->cli;
    uint32_t classes = tn_classifier_classes(job->classifier), batch = cli->args.batch == 0 ? DEFAULT_BATCH : cli->args.batch;
    job->top = cli->args.top == 0 ? DEFAULT_TOP : cli->args.top;
    job->top = job->top < classes ? job->top : classes;
    uint32_t k = job->top > 5 || classes < 5 ? job->top : 5; /* top-5 is counted whatever is shown */
    k = k > classes ? classes : classes < 5 ? classes : k;
    if (batch > MAX_BATCH)
        return cli_fail(cli, "--batch %u is more than %d", batch, MAX_BATCH);
    TnClassScore *top = calloc((size_t)batch * k, sizeof *top);
    if (top == NULL)
        return cli_fail(cli, "out of memory");
    int status = 0;
    for (size_t at = 0; status == 0 && at < job->n; at += batch)
        status = run_batch(job, at, (uint32_t)(job->n - at < batch ? job->n - at : batch), k, top);
    free(top);
    if (status == 0 && job->judged > 0)
        print_rates(job);
    return status != 0 ? status : job->failed == 0 ? 0 : 2;
}

static int run(Cli *cli) {
    TnError err = {0};
    Job job = {.cli = cli};
    CliPlan plan = {0};
    int status = 0;
    if (cli->args.model == NULL)
        return cli_fail(cli, "give the model with -m MODEL: a plan, a file of weights or an .onnx file");
    if (cli_open(cli, cli->args.model, &plan, &err) != TN_OK ||
        tn_classifier_create(plan.plan, cli->args.threads, &job.classifier, &err) != TN_OK ||
        (cli->args.labels != NULL && tn_classifier_read_labels(job.classifier, cli->args.labels, &err) != TN_OK))
        status = cli_error(cli, &err);
    if (status == 0)
        status = collect(&job);
    if (status == 0)
        status = run_all(&job);
    tn_classifier_destroy(&job.classifier);
    cli_close(&plan);
    for (size_t i = 0; i < job.n; i++)
        free(job.items[i].path);
    free(job.items);
    return status;
}

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "MODEL", "plan, file of weights (.pth, .safetensors) or .onnx file"},
    {"top", 'k', CLI_UINT, CLI_ARG(top), "K", "classes shown of each picture (default 5)"},
    {"labels", 'l', CLI_TEXT, CLI_ARG(labels), "FILE", "names of the classes, one a line in order of their numbers"},
    {"batch", 'b', CLI_UINT, CLI_ARG(batch), "N", "pictures classified at once (default 8)"},
    CLI_FILE,
    CLI_DEVICE,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_classify = {
    "classify",
    "tell the classes of pictures",
    "-m MODEL [options] IMAGE|FOLDER|LIST|- ...",
    "Prints K lines a picture: file, tab, class number, tab, probability (and, with --labels, tab, name). PNG, JPEG and uint8 .npy are "
    "read and\n"
    "prepared as the official evaluation does. --json prints one object a picture. A folder has pictures, or one sub-folder a class; a "
    "list\n"
    "(.tsv, .txt, .lst) has rows 'file' or 'file TAB class'. Where classes are given, top-1 and top-5 accuracy follow. Exit status 2 when "
    "a\n"
    "picture could not be read; the others are still classified.",
    options,
    run,
};
