/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon compare: a plan's outputs, and with --layers every step's, against the reference interpreter or against expected tensors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/cli.h"
#include "pipelines/npz.h"
#include "pipelines/tensor_error.h"
#include "pipelines/util.h"

#define DEFAULT_ATOL 1e-4 /* of the tensor's largest magnitude */
#define DEFAULT_RTOL 0.0

/* Tensors by name, sorted when looked up first. */
typedef struct Named {
    char *name;
    TnTensor t;
} Named;

typedef struct Compare {
    Cli *cli;
    Named *steps; /* outputs of the plan's steps, copied */
    size_t n_steps, cap_steps;
    bool sorted, failed_memory;
    double atol, rtol;
    uint32_t compared, beyond;
    json_t *rows;
} Compare;

static void free_named(Named *n, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(n[i].name);
        free(n[i].t.data);
    }
    free(n);
}

static void keep_step(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t,
                      uint64_t ns) {
    Compare *c = ctx;
    (void)step, (void)node, (void)op, (void)kernel, (void)ns;
    size_t bytes = tn_tensor_bytes(t);
    if (c->n_steps == c->cap_steps) {
        size_t cap = c->cap_steps == 0 ? 256 : c->cap_steps * 2;
        Named *grown = realloc(c->steps, cap * sizeof *grown);
        if (grown == NULL) {
            c->failed_memory = true;
            return;
        }
        c->steps = grown;
        c->cap_steps = cap;
    }
    Named *n = &c->steps[c->n_steps];
    *n = (Named){strdup(value), *t};
    n->t.data = malloc(bytes + 1);
    if (n->name == NULL || n->t.data == NULL) {
        c->failed_memory = true;
        free(n->name);
        free(n->t.data);
        return;
    }
    if (bytes > 0)
        memcpy(n->t.data, t->data, bytes);
    c->n_steps++;
}

static int by_name(const void *a, const void *b) { return strcmp(((const Named *)a)->name, ((const Named *)b)->name); }

/* Compares got with want under `name` and prints or collects the row. */
static void report(Compare *c, const char *kind, const char *name, const TnTensor *got, const TnTensor *want) {
    TnTensorError e;
    TnError err = {0};
    c->compared++;
    if (tn_tensor_error(got, want, &e, &err) != TN_OK) {
        c->beyond++;
        if (c->cli->args.json)
            json_array_append_new(c->rows, json_pack("{s:s, s:s, s:s, s:b}", "kind", kind, "name", name, "problem", err.message, "ok", 0));
        else
            printf("%-6s %-48.48s %s\n", kind, name, err.message);
        return;
    }
    bool ok = e.max_abs <= c->atol * e.scale + c->rtol * e.max_abs_want && e.n_nan_mismatch == 0;
    c->beyond += !ok;
    if (c->cli->args.json)
        json_array_append_new(c->rows, json_pack("{s:s, s:s, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "kind", kind, "name", name, "ok", ok,
                                                 "max_abs", e.max_abs, "mean_abs", e.mean_abs, "median_abs", e.median_abs, "max_rel", e.max_rel,
                                                 "mean_rel", e.mean_rel, "median_rel", e.median_rel, "scale", e.scale, "nan_mismatches",
                                                 (json_int_t)e.n_nan_mismatch));
    else
        printf("%-6s %-48.48s %9.2e %9.2e %9.2e  %9.2e %9.2e %9.2e  %9.2e%s\n", kind, name, e.max_abs, e.mean_abs, e.median_abs, e.max_rel,
               e.mean_rel, e.median_rel, e.scale, ok ? "" : "  BEYOND");
}

/* A tensor that the reference made: compared at once with the plan's tensor of that name. */
static void see_reference(void *ctx, const char *name, const TnTensor *t) {
    Compare *c = ctx;
    if (!c->sorted && c->n_steps > 0)
        qsort(c->steps, c->n_steps, sizeof *c->steps, by_name);
    c->sorted = true;
    Named key = {.name = (char *)(uintptr_t)name};
    Named *n = c->n_steps == 0 ? NULL : bsearch(&key, c->steps, c->n_steps, sizeof key, by_name);
    if (n != NULL)
        report(c, "layer", name, &n->t, t);
}

static TnStatus run_plan(Compare *c, TnPlan *plan, TnContext *ctx, const TnTensor *inputs, uint32_t n, TnError *err) {
    TnStatus st = TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < n; i++)
        st = tn_context_set_input(ctx, i, &inputs[i], err);
    if (c->cli->args.layers)
        tn_context_on_step(ctx, keep_step, c);
    if (st == TN_OK)
        st = tn_context_run(ctx, err);
    if (st == TN_OK && c->failed_memory)
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: the tensors of all steps do not fit; leave out --layers");
    (void)plan;
    return st;
}

static TnStatus against_reference(Compare *c, const char *model, TnPlan *plan, TnContext *ctx, const TnTensor *inputs, TnError *err) {
    TnBuildOptions o = cli_build_options(c->cli);
    TnReference *ref = NULL;
    TnStatus st = tn_reference_open(model, &o, &ref, err);
    uint32_t n_in = st == TN_OK ? tn_reference_input_count(ref) : 0, n_out = st == TN_OK ? tn_reference_output_count(ref) : 0;
    TnTensor *in = calloc(n_in + 1u, sizeof *in), *out = calloc(n_out + 1u, sizeof *out);
    for (uint32_t i = 0; st == TN_OK && i < n_in; i++) { /* by name: the plan may have dropped unused inputs */
        uint32_t k;
        st = tn_plan_input_index(plan, tn_reference_input_name(ref, i), &k, err);
        if (st == TN_OK)
            in[i] = inputs[k];
    }
    if (st == TN_OK)
        st = tn_reference_run(ref, in, out, c->cli->args.layers ? see_reference : NULL, c, err);
    for (uint32_t i = 0; st == TN_OK && i < n_out; i++) {
        uint32_t k;
        TnTensor got;
        st = tn_plan_output_index(plan, tn_reference_output_name(ref, i), &k, err);
        if (st == TN_OK)
            st = tn_context_output(ctx, k, &got, err);
        if (st == TN_OK)
            report(c, "output", tn_reference_output_name(ref, i), &got, &out[i]);
    }
    for (uint32_t i = 0; i < n_out; i++)
        tn_build_free(&o, out[i].data);
    free(in);
    free(out);
    tn_reference_close(&ref);
    return st;
}

static TnStatus against_file(Compare *c, TnPlan *plan, TnContext *ctx, TnError *err) {
    TnNpz want;
    TnStatus st = tn_npz_read(c->cli->args.expected, NULL, &want, err);
    if (st != TN_OK)
        return st;
    if (c->n_steps > 0)
        qsort(c->steps, c->n_steps, sizeof *c->steps, by_name);
    for (uint32_t i = 0; st == TN_OK && i < want.n; i++) {
        uint32_t k;
        TnTensor got;
        Named key = {.name = want.names[i]};
        Named *step = c->n_steps == 0 ? NULL : bsearch(&key, c->steps, c->n_steps, sizeof key, by_name);
        if (step != NULL && tn_plan_output_index(plan, want.names[i], &k, NULL) != TN_OK) {
            report(c, "layer", want.names[i], &step->t, &want.tensors[i]);
            continue;
        }
        st = tn_plan_output_index(plan, want.names[i], &k, err);
        if (st == TN_OK)
            st = tn_context_output(ctx, k, &got, err);
        if (st == TN_OK)
            report(c, "output", want.names[i], &got, &want.tensors[i]);
    }
    tn_npz_free(NULL, &want);
    return st;
}

static TnStatus compare(Compare *c, CliPlan *p, TnError *err) {
    Cli *cli = c->cli;
    TnContext *ctx = NULL;
    TnTensor *inputs = NULL;
    uint32_t n = 0;
    TnContextOptions co = tn_context_options_default();
    co.threads = cli->args.threads;
    const char *model = cli->args.model != NULL ? cli->args.model : cli_is_plan(cli->positional[0]) ? NULL : cli->positional[0];
    if (cli->args.expected == NULL && model == NULL)
        return tnp_fail(err, TN_ERR_ARGUMENT, "a plan is compared with its model (--model MODEL) or with a file (--expected Y.npz)");
    TnStatus st = cli_inputs(cli, p->plan, cli->args.inputs.n == 0, cli->args.batch, &inputs, &n, err);
    if (st == TN_OK)
        st = tn_context_create(p->plan, &co, &ctx, err);
    if (st == TN_OK)
        st = run_plan(c, p->plan, ctx, inputs, n, err);
    if (st == TN_OK && !cli->args.json)
        printf("%-6s %-48s %9s %9s %9s  %9s %9s %9s  %9s\n", "", "tensor", "max abs", "mean abs", "med abs", "max rel", "mean rel", "med rel",
               "scale");
    if (st == TN_OK)
        st = cli->args.expected != NULL ? against_file(c, p->plan, ctx, err) : against_reference(c, model, p->plan, ctx, inputs, err);
    tn_context_destroy(&ctx);
    cli_inputs_free(inputs, n);
    return st;
}

static int run(Cli *cli) {
    TnError err = {0};
    CliPlan p;
    if (cli->n_positional != 1)
        return cli_fail(cli, "give one plan or model");
    Compare c = {.cli = cli, .atol = isnan(cli->args.atol) ? DEFAULT_ATOL : cli->args.atol,
                 .rtol = isnan(cli->args.rtol) ? DEFAULT_RTOL : cli->args.rtol, .rows = json_array()};
    if (cli_open(cli, cli->positional[0], &p, &err) != TN_OK)
        return cli_error(cli, &err);
    int status = compare(&c, &p, &err) == TN_OK ? 0 : cli_error(cli, &err);
    if (status == 0 && c.compared == 0)
        status = cli_fail(cli, "nothing was compared: the expected file has no array");
    if (status == 0 && cli->args.json) {
        json_t *o = json_pack("{s:b, s:i, s:i, s:f, s:f, s:O}", "ok", c.beyond == 0, "compared", (int)c.compared, "beyond", (int)c.beyond, "atol",
                              c.atol, "rtol", c.rtol, "tensors", c.rows);
        json_dumpf(o, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        puts("");
        json_decref(o);
    } else if (status == 0) {
        printf("%u tensors compared, %u beyond atol %.1e of scale, rtol %.1e\n", c.compared, c.beyond, c.atol, c.rtol);
    }
    if (status == 0 && c.beyond > 0)
        status = 1;
    json_decref(c.rows);
    free_named(c.steps, c.n_steps);
    cli_close(&p);
    return status;
}

static const CliOption options[] = {
    {"inputs", 'i', CLI_LIST, CLI_ARG(inputs), "FILE", "X.npz or name=FILE.npy (repeat); none: made up"},
    {"expected", 'e', CLI_TEXT, CLI_ARG(expected), "Y.npz", "compare with these tensors"},
    {"model", 'm', CLI_TEXT, CLI_ARG(model), "MODEL", "compare with this model in the reference interpreter"},
    {"layers", 'l', CLI_FLAG, CLI_ARG(layers), NULL, "also every step that exists on both sides"},
    {"atol", 0, CLI_FLOAT, CLI_ARG(atol), "X", "allowed error as a fraction of the tensor's largest magnitude (default 1e-4)"},
    {"rtol", 0, CLI_FLOAT, CLI_ARG(rtol), "X", "allowed error relative to the value of largest magnitude (default 0)"},
    {"batch", 'b', CLI_UINT, CLI_ARG(batch), "N", "batch of made-up inputs"},
    CLI_BUILD,
    CLI_DEVICE,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_compare = {
    "compare", "errors of a plan against the reference", "PLAN|MODEL [--model MODEL | --expected Y.npz] [--inputs X.npz]",
    "Exit status 1 when a tensor is beyond the limits. Looking at layers reads each step's output where it is made: the plan that\n"
    "runs is the same. Columns: absolute error (max, mean, median), relative error (same), scale = largest magnitude expected.",
    options, run,
};
