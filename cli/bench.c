/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon bench: latency and throughput of a plan over batches and thread counts, and where the time goes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "cli/cli.h"
#include "cli/profile.h"
#include "pipelines/util.h"

#define DEFAULT_DURATION 2.0 /* seconds a row, when neither --runs nor --duration is given */
#define MIN_RUNS 5u
#define MAX_RUNS 1000000u
#define MAX_STREAMS 16u

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Where inputs and outputs lie while the clock runs. */
typedef enum Io { IO_HOST, IO_DEVICE } Io;

typedef struct Row {
    uint32_t batch, threads, runs, streams;
    Io io;
    double min, mean, median, p90, p95, p99, per_second, warm;
    size_t bytes, device_bytes;
} Row;

/* One context with what it works on. */
typedef struct Lane {
    TnContext *ctx;
    void **there; /* [n_inputs]: device memory */
    double started;
    bool busy;
} Lane;

typedef struct Bench {
    Cli *cli;
    TnPlan *plan;
    TnDeviceDescription device;
    Lane lanes[MAX_STREAMS];
    uint32_t n_lanes;
    TnTensor *inputs, *lent; /* lent: inputs with device memory */
    uint32_t n_inputs;
    TnGenerated *generated; /* generators */
    uint32_t lines;
} Bench;

static bool has_device(const Bench *b) { return strcmp(b->device.kind, "cpu") != 0; }

static TnStatus generate(void *ctx, TnError *err) {
    Bench *b = ctx;
    TnGenerateOptions go = tn_generate_options_default();
    go.num_beams = b->cli->args.beams;
    if (b->cli->args.tokens != 0) {
        go.max_length = b->cli->args.tokens + 1;
        go.min_new_tokens = b->cli->args.tokens;
    }
    go.inputs_on_device = b->lanes[0].there != NULL;
    for (uint32_t i = 0; go.inputs_on_device && i < b->n_inputs; i++) {
        b->lent[i] = b->inputs[i];
        b->lent[i].data = b->lanes[0].there[i];
    }
    return tn_context_generate(b->lanes[0].ctx, go.inputs_on_device ? b->lent : b->inputs, b->n_inputs, &go, b->generated, b->lines, err);
}

static TnStatus run_once(Bench *b, TnError *err) {
    return b->generated != NULL ? generate(b, err) : tn_context_run(b->lanes[0].ctx, err);
}

/* Inputs in the device's memory, outputs left there. */
static TnStatus bind_there(Bench *b, Lane *l, TnError *err) {
    TnStatus st = TN_OK;
    l->there = calloc(b->n_inputs + 1u, sizeof *l->there);
    if (l->there == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; st == TN_OK && i < b->n_inputs; i++) {
        TnTensor t = b->inputs[i];
        size_t bytes = tn_tensor_bytes(&t);
        st = tn_device_alloc(b->plan, bytes == 0 ? 1 : bytes, &l->there[i], err);
        t.data = l->there[i];
        if (st == TN_OK && bytes > 0)
            st = tn_device_write(l->ctx, t.data, b->inputs[i].data, bytes, err);
        if (st == TN_OK && b->generated == NULL)
            st = tn_context_bind_input_device(l->ctx, i, &t, err);
    }
    for (uint32_t i = 0; st == TN_OK && b->generated == NULL && i < tn_plan_output_count(b->plan); i++)
        st = tn_context_bind_output_device(l->ctx, i, NULL, 0, err);
    return st;
}

static TnStatus prepare_lane(Bench *b, Lane *l, const Row *row, TnError *err) {
    TnContextOptions co = tn_context_options_default();
    co.threads = row->threads;
    TnStatus st = tn_context_create(b->plan, &co, &l->ctx, err);
    if (st == TN_OK && row->io == IO_DEVICE)
        return bind_there(b, l, err);
    for (uint32_t i = 0; st == TN_OK && b->generated == NULL && i < b->n_inputs; i++)
        st = tn_context_set_input(l->ctx, i, &b->inputs[i], err);
    return st;
}

static TnStatus prepare(Bench *b, uint32_t batch, Row *row, TnError *err) {
    TnStatus st = cli_inputs(b->cli, b->plan, true, batch, &b->inputs, &b->n_inputs, err);
    if (st == TN_OK)
        st = tn_plan_device(b->plan, &b->device, err);
    if (st == TN_OK && tn_plan_is_generator(b->plan)) {
        b->lines = (uint32_t)b->inputs[0].dims[0];
        b->generated = calloc(b->lines + 1u, sizeof *b->generated);
        b->lent = calloc(b->n_inputs + 1u, sizeof *b->lent);
        if (b->generated == NULL || b->lent == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; st == TN_OK && i < row->streams; i++)
        st = prepare_lane(b, &b->lanes[b->n_lanes++], row, err);
    double begin = now_ms();
    for (uint32_t i = 0; st == TN_OK && b->cli->args.warm && i < b->n_lanes; i++)
        st = b->generated != NULL ? generate(b, err) : tn_context_warm(b->lanes[i].ctx, err);
    row->warm = now_ms() - begin;
    return st;
}

static void finish(Bench *b) {
    for (uint32_t k = 0; k < b->n_lanes; k++) {
        Lane *l = &b->lanes[k];
        if (l->ctx != NULL)
            tn_context_synchronize(l->ctx, NULL);
        for (uint32_t i = 0; l->there != NULL && i < b->n_inputs; i++)
            tn_device_free(b->plan, l->there[i]);
        free(l->there);
        tn_context_destroy(&l->ctx);
        l->there = NULL;
    }
    b->n_lanes = 0;
    cli_inputs_free(b->inputs, b->n_inputs);
    free(b->generated);
    free(b->lent);
    b->inputs = b->lent = NULL;
    b->generated = NULL;
}

/* ---- measuring ---- */

typedef struct Samples {
    double *ms;
    uint32_t n, cap;
} Samples;

static bool keep(Samples *s, double ms) {
    if (s->n == s->cap) {
        uint32_t cap = s->cap == 0 ? 1024 : 2 * s->cap;
        double *grown = realloc(s->ms, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        s->ms = grown;
        s->cap = cap;
    }
    s->ms[s->n++] = ms;
    return true;
}

static void summarise(Samples *s, Row *row, double wall_ms) {
    double total = 0;
    uint32_t n = s->n;
    for (uint32_t i = 0; i < n; i++)
        total += s->ms[i];
    qsort(s->ms, n, sizeof *s->ms, by_value);
    row->runs = n;
    row->min = s->ms[0];
    row->mean = total / n;
    row->median = n % 2 == 1 ? s->ms[n / 2] : (s->ms[n / 2 - 1] + s->ms[n / 2]) / 2;
    row->p90 = s->ms[(size_t)ceil(0.90 * n) - 1];
    row->p95 = s->ms[(size_t)ceil(0.95 * n) - 1];
    row->p99 = s->ms[(size_t)ceil(0.99 * n) - 1];
    row->per_second = row->streams > 1 ? row->batch * 1e3 * n / wall_ms : row->batch * 1e3 / row->median;
}

/* The run that lane l has in flight, if any, to its end. */
static TnStatus land(Lane *l, Samples *s, TnError *err) {
    if (!l->busy)
        return TN_OK;
    l->busy = false;
    TnStatus st = tn_context_synchronize(l->ctx, err);
    return st != TN_OK || keep(s, now_ms() - l->started) ? st : tnp_fail(err, TN_ERR_MEMORY, "out of memory");
}

/* Runs of all lanes in turn: while one is waited for, the others are on their way. */
static TnStatus launch(Bench *b, uint32_t turn, Samples *s, TnError *err) {
    Lane *l = &b->lanes[turn % b->n_lanes];
    TnStatus st = land(l, s, err);
    if (st != TN_OK)
        return st;
    l->started = now_ms();
    l->busy = true;
    return tn_context_run_async(l->ctx, err);
}

static TnStatus measure(Bench *b, Row *row, TnError *err) {
    const CliArgs *a = &b->cli->args;
    double seconds = !isnan(a->duration) ? a->duration : a->runs != 0 ? 1e9 : DEFAULT_DURATION;
    uint32_t runs = a->runs != 0 ? a->runs : MAX_RUNS, warmup = a->warmup != 0 ? a->warmup : 3;
    Samples s = {0};
    TnStatus st = TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < warmup; i++)
        for (uint32_t k = 0; st == TN_OK && k < (b->n_lanes > 1 ? b->n_lanes : 1); k++)
            st = b->n_lanes > 1 ? tn_context_run(b->lanes[k].ctx, err) : run_once(b, err);
    double start = now_ms();
    for (uint32_t n = 0; st == TN_OK && n < runs && (n < MIN_RUNS || now_ms() - start < seconds * 1e3); n++) {
        if (b->n_lanes > 1) {
            st = launch(b, n, &s, err);
            continue;
        }
        double t = now_ms();
        st = run_once(b, err);
        if (st == TN_OK && !keep(&s, now_ms() - t))
            st = tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    }
    for (uint32_t k = 0; st == TN_OK && b->n_lanes > 1 && k < b->n_lanes; k++)
        st = land(&b->lanes[k], &s, err);
    if (st == TN_OK) {
        summarise(&s, row, now_ms() - start);
        for (uint32_t k = 0; k < b->n_lanes; k++) {
            row->bytes += tn_context_bytes(b->lanes[k].ctx);
            row->device_bytes += tn_context_device_bytes(b->lanes[k].ctx);
        }
    }
    free(s.ms);
    return st;
}

static TnStatus profile(Bench *b, json_t *out, TnError *err) {
    if (b->generated != NULL)
        return cli_profile_generator(b->lanes[0].ctx, generate, b, out, err);
    return cli_profile(b->plan, b->lanes[0].ctx, out, b->cli->args.trace, err);
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

static const char *io_name(Io io) { return io == IO_DEVICE ? "device" : "host"; }

static void print_row(const Bench *b, const Row *r, json_t *rows, json_t *steps) {
    if (rows == NULL) {
        printf("%5u %7u %6u %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %10.1f %8.1f", r->batch, r->threads, r->runs, r->min, r->median, r->mean, r->p90,
               r->p95, r->p99, r->per_second, (double)(r->bytes + r->device_bytes) / 1e6);
        if (has_device(b))
            printf("  %-6s %7u", io_name(r->io), r->streams);
        puts("");
        return;
    }
    json_t *o = json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "batch", (int)r->batch, "threads", (int)r->threads, "runs",
                          (int)r->runs, "min_ms", r->min, "median_ms", r->median, "mean_ms", r->mean, "p90_ms", r->p90, "p95_ms", r->p95, "p99_ms",
                          r->p99, "per_second", r->per_second, "context_bytes", (json_int_t)r->bytes);
    json_object_set_new(o, "tenon", json_string(tn_version()));
    json_object_set_new(o, "device", json_string(b->device.kind));
    if (has_device(b)) {
        const TnDeviceDescription *d = &b->device;
        json_object_update_new(o, json_pack("{s:s, s:f, s:I, s:I, s:s, s:i, s:I}", "gpu", d->name, "compute_capability", d->capability / 10.0, "driver",
                                            (json_int_t)d->driver, "runtime", (json_int_t)d->runtime, "io", io_name(r->io), "streams",
                                            (int)r->streams, "device_bytes", (json_int_t)r->device_bytes));
    }
    if (b->cli->args.warm)
        json_object_set_new(o, "warm_ms", json_real(r->warm));
    if (steps != NULL)
        json_object_set(o, "steps", steps);
    json_array_append_new(rows, o);
}

static void print_head(const TnDeviceDescription *d) {
    bool gpu = strcmp(d->kind, "cpu") != 0;
    if (gpu)
        printf("%s, compute capability %u.%u, driver %u.%u, Tenon %s\n", d->name, d->capability / 10, d->capability % 10, d->driver / 1000,
               d->driver % 1000 / 10, tn_version());
    printf("%5s %7s %6s %9s %9s %9s %9s %9s %9s %10s %8s%s\n", "batch", "threads", "runs", "min ms", "median", "mean", "p90", "p95", "p99",
           "items/s", "MB", gpu ? "  inputs streams" : "");
}

static TnStatus bench_row(Cli *cli, TnPlan *plan, uint32_t batch, Row *row, json_t *rows, TnError *err) {
    Bench b = {.cli = cli, .plan = plan};
    json_t *steps = cli->args.profile && rows != NULL ? json_array() : NULL;
    TnStatus st = prepare(&b, batch, row, err);
    row->batch = st == TN_OK && b.n_inputs > 0 && b.inputs[0].rank > 0 ? (uint32_t)b.inputs[0].dims[0] : 1;
    if (st == TN_OK)
        st = measure(&b, row, err);
    if (st == TN_OK && cli->args.profile && rows != NULL)
        st = profile(&b, steps, err);
    if (st == TN_OK)
        print_row(&b, row, rows, steps);
    if (st == TN_OK && cli->args.profile && rows == NULL)
        st = profile(&b, NULL, err);
    json_decref(steps);
    finish(&b);
    return st;
}

static int bench_all(Cli *cli, TnPlan *plan) {
    TnError err = {0};
    const CliArgs *a = &cli->args;
    TnDeviceDescription d;
    uint32_t batches[16] = {0}, threads[16] = {a->threads}, nb = 1, nt = 1, streams = a->streams == 0 ? 1 : a->streams;
    if (a->batches != NULL && (nb = parse_list(a->batches, batches, 16)) == 0)
        return cli_fail(cli, "--batch takes numbers separated by commas, not '%s'", a->batches);
    if (a->threads_list != NULL && (nt = parse_list(a->threads_list, threads, 16)) == 0)
        return cli_fail(cli, "--threads takes numbers separated by commas, not '%s'", a->threads_list);
    if (tn_plan_device(plan, &d, &err) != TN_OK)
        return cli_error(cli, &err);
    bool gpu = strcmp(d.kind, "cpu") != 0, generator = tn_plan_is_generator(plan) != 0;
    if (!gpu && (a->device_io || streams > 1))
        return cli_fail(cli, "--device-io and --streams are for plans that run on a GPU; this one runs on the CPU");
    if (streams > MAX_STREAMS || (generator && streams > 1))
        return cli_fail(cli, "--streams %u: %s", streams, generator ? "a generator uses one" : "at most 16");
    json_t *rows = a->json ? json_array() : NULL;
    TnStatus st = TN_OK;
    if (rows == NULL)
        print_head(&d);
    uint32_t first = a->device_io || !gpu ? 1 : 2; /* both ways unless one is asked for */
    for (uint32_t i = 0; st == TN_OK && i < nb * nt * first; i++) {
        Row row = {.threads = threads[i / first % nt], .streams = streams, .io = gpu && i % first == 0 ? IO_DEVICE : IO_HOST};
        st = bench_row(cli, plan, batches[i / first / nt], &row, rows, &err);
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
    {"trace", 0, CLI_TEXT, CLI_ARG(trace), "FILE", "with --profile: the steps as a trace (chrome://tracing, Perfetto)"},
    {"warm", 0, CLI_FLAG, CLI_ARG(warm), NULL, "make memory and graphs before the first run, and say how long that took"},
    {"device-io", 0, CLI_FLAG, CLI_ARG(device_io), NULL, "GPU: only with inputs and outputs in its memory (default: that, and with copies)"},
    {"streams", 0, CLI_UINT, CLI_ARG(streams), "N", "GPU: N contexts in flight at once (default 1)"},
    CLI_BUILD,
    CLI_DEVICE,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_bench = {
    "bench", "latency and throughput of a plan", "PLAN|MODEL [options]",
    "Times whole runs with inputs in memory. items/s counts the first dimension of the first input; MB is the contexts' memory. On a GPU\n"
    "the column inputs says where inputs and outputs are: in its memory, or in the host's, and then copying them is part of the time. With\n"
    "--profile the last column is the share of the time that a step needs at the GPU's ceilings of bandwidth and arithmetic.",
    options, run,
};
