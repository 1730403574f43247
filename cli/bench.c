/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon bench: latency and throughput of a plan over batches and thread counts, and where the time goes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "cli/cli.h"
#include "pipelines/util.h"

#define DEFAULT_DURATION 2.0 /* seconds a row, when neither --runs nor --duration is given */
#define MIN_RUNS 5u
#define MAX_RUNS 1000000u

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Time of one step, summed over profiled runs. */
typedef struct StepTime {
    char node[96], op[24], kernel[48];
    uint64_t ns;
    uint32_t step;
} StepTime;

typedef struct Profile {
    StepTime *steps;
    uint32_t n, cap, last;
    bool failed;
} Profile;

static void see_step(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t,
                     uint64_t ns) {
    Profile *p = ctx;
    (void)value, (void)t;
    if (step == p->last) /* a further output of the same step */
        return;
    p->last = step;
    if (step >= p->cap) {
        uint32_t cap = step * 2 + 64;
        StepTime *grown = realloc(p->steps, cap * sizeof *grown);
        if (grown == NULL) {
            p->failed = true;
            return;
        }
        memset(grown + p->cap, 0, (cap - p->cap) * sizeof *grown);
        p->steps = grown;
        p->cap = cap;
    }
    StepTime *s = &p->steps[step];
    snprintf(s->node, sizeof s->node, "%s", node);
    snprintf(s->op, sizeof s->op, "%s", op);
    snprintf(s->kernel, sizeof s->kernel, "%s", kernel);
    s->ns += ns;
    s->step = step;
    p->n = step + 1 > p->n ? step + 1 : p->n;
}

static int by_time(const void *a, const void *b) {
    uint64_t x = ((const StepTime *)a)->ns, y = ((const StepTime *)b)->ns;
    return (x < y) - (x > y);
}

typedef struct Row {
    uint32_t batch, threads, runs;
    double min, mean, median, p90, p95, p99, per_second;
    size_t bytes;
} Row;

typedef struct Bench {
    Cli *cli;
    TnPlan *plan;
    TnContext *ctx;
    TnTensor *inputs;
    uint32_t n_inputs;
    TnGenerated *generated; /* generators */
    uint32_t lines;
} Bench;

static TnStatus run_once(Bench *b, TnError *err) {
    if (b->generated == NULL)
        return tn_context_run(b->ctx, err);
    TnGenerateOptions go = tn_generate_options_default();
    go.num_beams = b->cli->args.beams;
    if (b->cli->args.tokens != 0) {
        go.max_length = b->cli->args.tokens + 1;
        go.min_new_tokens = b->cli->args.tokens;
    }
    return tn_context_generate(b->ctx, b->inputs, b->n_inputs, &go, b->generated, b->lines, err);
}

static TnStatus prepare(Bench *b, uint32_t batch, uint32_t threads, TnError *err) {
    TnContextOptions co = tn_context_options_default();
    co.threads = threads;
    TnStatus st = cli_inputs(b->cli, b->plan, true, batch, &b->inputs, &b->n_inputs, err);
    if (st == TN_OK)
        st = tn_context_create(b->plan, &co, &b->ctx, err);
    if (st == TN_OK && tn_plan_is_generator(b->plan)) {
        b->lines = (uint32_t)b->inputs[0].dims[0];
        b->generated = calloc(b->lines + 1u, sizeof *b->generated);
        return b->generated == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory") : TN_OK;
    }
    for (uint32_t i = 0; st == TN_OK && i < b->n_inputs; i++)
        st = tn_context_set_input(b->ctx, i, &b->inputs[i], err);
    return st;
}

static void finish(Bench *b) {
    tn_context_destroy(&b->ctx);
    cli_inputs_free(b->inputs, b->n_inputs);
    free(b->generated);
    b->inputs = NULL;
    b->generated = NULL;
}

static TnStatus measure(Bench *b, Row *row, TnError *err) {
    const CliArgs *a = &b->cli->args;
    double seconds = !isnan(a->duration) ? a->duration : a->runs != 0 ? 1e9 : DEFAULT_DURATION;
    uint32_t runs = a->runs != 0 ? a->runs : MAX_RUNS, warmup = a->warmup != 0 ? a->warmup : 3, cap = 1024, n = 0;
    double *ms = malloc(cap * sizeof *ms), total = 0;
    TnStatus st = ms == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory") : TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < warmup; i++)
        st = run_once(b, err);
    double start = now_ms();
    while (st == TN_OK && n < runs && (n < MIN_RUNS || now_ms() - start < seconds * 1e3)) {
        if (n == cap) {
            double *grown = realloc(ms, 2 * (size_t)cap * sizeof *ms);
            if (grown == NULL)
                break;
            ms = grown;
            cap *= 2;
        }
        double t = now_ms();
        st = run_once(b, err);
        ms[n] = now_ms() - t;
        total += ms[n++];
    }
    if (st == TN_OK) {
        qsort(ms, n, sizeof *ms, by_value);
        row->runs = n;
        row->min = ms[0];
        row->mean = total / n;
        row->median = n % 2 == 1 ? ms[n / 2] : (ms[n / 2 - 1] + ms[n / 2]) / 2;
        row->p90 = ms[(size_t)ceil(0.90 * n) - 1];
        row->p95 = ms[(size_t)ceil(0.95 * n) - 1];
        row->p99 = ms[(size_t)ceil(0.99 * n) - 1];
        row->per_second = row->batch * 1e3 / row->median;
        row->bytes = tn_context_bytes(b->ctx);
    }
    free(ms);
    return st;
}

/* A few more runs with the step hook on; prints the steps by time. */
static TnStatus profile(Bench *b, json_t *out, TnError *err) {
    Profile p = {.last = UINT32_MAX};
    TnStatus st = TN_OK;
    uint64_t total = 0;
    const uint32_t runs = 10;
    tn_context_on_step(b->ctx, see_step, &p);
    for (uint32_t i = 0; st == TN_OK && i < runs; i++) {
        p.last = UINT32_MAX;
        st = run_once(b, err);
    }
    tn_context_on_step(b->ctx, NULL, NULL);
    for (uint32_t i = 0; i < p.n; i++)
        total += p.steps[i].ns;
    if (p.n > 0)
        qsort(p.steps, p.n, sizeof *p.steps, by_time);
    if (st == TN_OK && out == NULL)
        printf("\n%9s %6s  %-16s %-36s %s\n", "us", "share", "operator", "kernel", "node");
    for (uint32_t i = 0; st == TN_OK && i < p.n && p.steps[i].ns > 0; i++) {
        const StepTime *s = &p.steps[i];
        double us = (double)s->ns / 1e3 / runs, share = (double)s->ns / (double)total;
        if (out != NULL)
            json_array_append_new(out, json_pack("{s:i, s:s, s:s, s:s, s:f, s:f}", "step", (int)s->step, "node", s->node, "op", s->op, "kernel",
                                                 s->kernel, "microseconds", us, "share", share));
        else
            printf("%9.1f %5.1f%%  %-16s %-36s %s\n", us, share * 100, s->op, s->kernel, s->node);
    }
    free(p.steps);
    return st;
}

/* Numbers of "1,4" into list; returns how many, 0 for a malformed list. */
static uint32_t parse_list(const char *text, uint32_t *list, uint32_t cap) {
    uint32_t n = 0;
    for (const char *p = text; n < cap;) {
        char *end;
        unsigned long v = strtoul(p, &end, 10);
        if (end == p || v == 0 || v > 100000)
            return 0;
        list[n++] = (uint32_t)v;
        if (*end == '\0')
            return n;
        if (*end != ',')
            return 0;
        p = end + 1;
    }
    return 0;
}

static void print_row(Bench *b, const Row *r, json_t *rows, json_t *steps) {
    if (rows == NULL) {
        printf("%5u %7u %6u %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %10.1f %8.1f\n", r->batch, r->threads, r->runs, r->min, r->median, r->mean, r->p90,
               r->p95, r->p99, r->per_second, (double)r->bytes / 1e6);
        return;
    }
    json_t *o = json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "batch", (int)r->batch, "threads", (int)r->threads, "runs",
                          (int)r->runs, "min_ms", r->min, "median_ms", r->median, "mean_ms", r->mean, "p90_ms", r->p90, "p95_ms", r->p95, "p99_ms",
                          r->p99, "per_second", r->per_second, "context_bytes", (json_int_t)r->bytes);
    if (steps != NULL)
        json_object_set(o, "steps", steps);
    json_array_append_new(rows, o);
    (void)b;
}

static int bench_all(Cli *cli, TnPlan *plan) {
    TnError err = {0};
    uint32_t batches[16] = {0}, threads[16] = {cli->args.threads}, nb = 1, nt = 1;
    if (cli->args.batches != NULL && (nb = parse_list(cli->args.batches, batches, 16)) == 0)
        return cli_fail(cli, "--batch takes numbers separated by commas, not '%s'", cli->args.batches);
    if (cli->args.threads_list != NULL && (nt = parse_list(cli->args.threads_list, threads, 16)) == 0)
        return cli_fail(cli, "--threads takes numbers separated by commas, not '%s'", cli->args.threads_list);
    json_t *rows = cli->args.json ? json_array() : NULL;
    TnStatus st = TN_OK;
    if (rows == NULL)
        printf("%5s %7s %6s %9s %9s %9s %9s %9s %9s %10s %8s\n", "batch", "threads", "runs", "min ms", "median", "mean", "p90", "p95", "p99",
               "items/s", "MB");
    for (uint32_t i = 0; st == TN_OK && i < nb * nt; i++) {
        Bench b = {.cli = cli, .plan = plan};
        Row row = {.threads = threads[i % nt]};
        json_t *steps = cli->args.profile && rows != NULL ? json_array() : NULL;
        st = prepare(&b, batches[i / nt], row.threads, &err);
        row.batch = st == TN_OK && b.n_inputs > 0 && b.inputs[0].rank > 0 ? (uint32_t)b.inputs[0].dims[0] : 1;
        if (st == TN_OK)
            st = measure(&b, &row, &err);
        if (st == TN_OK && cli->args.profile && rows != NULL)
            st = profile(&b, steps, &err);
        if (st == TN_OK)
            print_row(&b, &row, rows, steps);
        if (st == TN_OK && cli->args.profile && rows == NULL)
            st = profile(&b, NULL, &err);
        json_decref(steps);
        finish(&b);
    }
    if (st == TN_OK && rows != NULL) {
        json_dumpf(rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        puts("");
    }
    json_decref(rows);
    return st == TN_OK ? 0 : cli_error(cli, &err);
}

static int run(Cli *cli) {
    TnError err = {0};
    CliPlan p;
    if (cli->n_positional != 1)
        return cli_fail(cli, "give one plan or model");
    if (cli_open(cli, cli->positional[0], &p, &err) != TN_OK)
        return cli_error(cli, &err);
    int status = bench_all(cli, p.plan);
    cli_close(&p);
    return status;
}

static const CliOption options[] = {
    {"inputs", 'i', CLI_LIST, CLI_ARG(inputs), "FILE", "X.npz or name=FILE.npy (repeat); what is missing is made up"},
    {"batch", 'b', CLI_TEXT, CLI_ARG(batches), "N,...", "batch sizes of made-up inputs (default: that of the plan's ranges)"},
    {"threads", 't', CLI_TEXT, CLI_ARG(threads_list), "N,...", "thread counts (default: one a core)"},
    {"warmup", 'w', CLI_UINT, CLI_ARG(warmup), "N", "runs before the clock starts (default 3)"},
    {"runs", 'n', CLI_UINT, CLI_ARG(runs), "N", "timed runs a row"},
    {"duration", 'd', CLI_FLOAT, CLI_ARG(duration), "S", "seconds a row (default 2)"},
    {"tokens", 0, CLI_UINT, CLI_ARG(tokens), "N", "generators: exactly N new tokens a line"},
    {"beams", 0, CLI_UINT, CLI_ARG(beams), "N", "generators: beams (default: the plan's)"},
    {"profile", 'p', CLI_FLAG, CLI_ARG(profile), NULL, "also time every step"},
    CLI_BUILD,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_bench = {
    "bench", "latency and throughput of a plan", "PLAN|MODEL [options]",
    "Times whole runs with inputs in memory. items/s counts the first dimension of the first input; MB is the context's memory.", options, run,
};
