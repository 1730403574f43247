/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the time goes: steps by time, what they reach of the machine's ceilings, a trace for a viewer. In: a context with inputs. Out: a table,
 * JSON, a file. */
#include "cli/profile.h"

#include <stdlib.h>
#include <string.h>

#include "pipelines/util.h"

#define PROFILE_RUNS 20u
#define GENERATOR_RUNS 3u

typedef struct Step {
    char node[96], op[24], kernel[48], shapes[160];
    uint64_t start_ns, ns, bytes;
    double flops;
    TnDtype dtype;
    uint32_t step;
    int on_device;
} Step;

typedef struct Profile {
    Step *steps;
    uint32_t n, cap, last;
    bool failed;
} Profile;

static Step *add(Profile *p) {
    if (p->n == p->cap) {
        uint32_t cap = p->cap * 2 + 64;
        Step *grown = realloc(p->steps, cap * sizeof *grown);
        if (grown == NULL) {
            p->failed = true;
            return NULL;
        }
        p->steps = grown;
        p->cap = cap;
    }
    Step *s = &p->steps[p->n++];
    *s = (Step){0};
    return s;
}

static void see_profile(void *ctx, const TnStepProfile *r) {
    Step *s = add(ctx);
    if (s == NULL)
        return;
    snprintf(s->node, sizeof s->node, "%s", r->node_name);
    snprintf(s->op, sizeof s->op, "%s", r->op);
    snprintf(s->kernel, sizeof s->kernel, "%s", r->kernel);
    snprintf(s->shapes, sizeof s->shapes, "%s", r->shapes);
    s->start_ns = r->start_ns;
    s->ns = r->ns;
    s->bytes = r->bytes;
    s->flops = r->flops;
    s->dtype = r->dtype;
    s->step = r->step;
    s->on_device = r->on_device;
}

static void see_step(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t,
                     uint64_t ns) {
    Profile *p = ctx;
    (void)value, (void)t;
    if (step == p->last) /* a further output of the same step */
        return;
    p->last = step;
    Step *s = NULL;
    for (uint32_t i = 0; i < p->n && s == NULL; i++)
        s = p->steps[i].step == step ? &p->steps[i] : NULL;
    if (s == NULL && (s = add(p)) != NULL) {
        snprintf(s->node, sizeof s->node, "%s", node);
        snprintf(s->op, sizeof s->op, "%s", op);
        snprintf(s->kernel, sizeof s->kernel, "%s", kernel);
        s->step = step;
    }
    if (s != NULL)
        s->ns += ns;
}

static int by_time(const void *a, const void *b) {
    const Step *x = a, *y = b;
    return x->ns != y->ns ? (x->ns < y->ns) - (x->ns > y->ns) : (x->step > y->step) - (x->step < y->step);
}

/* Operations a second that the machine can do in the type of a step; 0: unknown. */
static double flops_ceiling(const Step *s, const TnDeviceDescription *d) {
    if (s->dtype == TN_F16 || s->dtype == TN_BF16)
        return d->half_flops;
    return strstr(s->kernel, "tf32") != NULL ? d->tf32_flops : d->float_flops;
}

/* Share of the time that the step would take at the machine's ceilings; < 0: they are not known. */
static double of_ceiling(const Step *s, const TnDeviceDescription *d) {
    if (!s->on_device || s->ns == 0 || d->bytes_per_second == 0)
        return -1;
    double peak = flops_ceiling(s, d), move = (double)s->bytes / d->bytes_per_second, compute = peak > 0 ? s->flops / peak : 0;
    return (move > compute ? move : compute) * 1e9 / (double)s->ns;
}

static void step_json(const Step *s, const TnDeviceDescription *d, double total, json_t *out) {
    json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:f, s:f}", "step", (int)s->step, "node", s->node, "op", s->op, "kernel", s->kernel, "microseconds",
                          (double)s->ns / 1e3, "share", total > 0 ? (double)s->ns / total : 0);
    double share = of_ceiling(s, d);
    if (s->shapes[0] != '\0') {
        json_object_set_new(o, "shapes", json_string(s->shapes));
        json_object_set_new(o, "dtype", json_string(tn_dtype_name(s->dtype)));
        json_object_set_new(o, "on_device", json_boolean(s->on_device));
        json_object_set_new(o, "start_microseconds", json_real((double)s->start_ns / 1e3));
        json_object_set_new(o, "bytes", json_integer((json_int_t)s->bytes));
        json_object_set_new(o, "flops", json_real(s->flops));
        json_object_set_new(o, "bytes_per_second", json_real(s->ns ? (double)s->bytes * 1e9 / (double)s->ns : 0));
        json_object_set_new(o, "flops_per_second", json_real(s->ns ? s->flops * 1e9 / (double)s->ns : 0));
        if (share >= 0)
            json_object_set_new(o, "of_ceiling", json_real(share));
    }
    json_array_append_new(out, o);
}

static void step_line(const Step *s, const TnDeviceDescription *d, double total, bool work) {
    double share = of_ceiling(s, d), seconds = (double)s->ns / 1e9;
    printf("%9.1f %5.1f%%", (double)s->ns / 1e3, total > 0 ? (double)s->ns * 100 / total : 0);
    if (work) {
        printf(" %8.1f", s->ns ? (double)s->bytes / 1e9 / seconds : 0);
        if (s->flops > 0 && s->ns > 0)
            printf(" %9.3f", s->flops / 1e12 / seconds);
        else
            printf(" %9s", "-");
        if (share >= 0)
            printf(" %5.1f%%", share * 100);
        else
            printf(" %6s", "-");
    }
    printf("  %-16s %-44s %s%s%s\n", s->op, s->kernel[0] ? s->kernel : "-", s->node, s->shapes[0] ? "  " : "", s->shapes);
}

/* Sorts and shows. work: bytes and operations are known. */
static void show(Profile *p, const TnDeviceDescription *d, bool work, json_t *out) {
    double total = 0;
    for (uint32_t i = 0; i < p->n; i++)
        total += (double)p->steps[i].ns;
    if (p->n > 0)
        qsort(p->steps, p->n, sizeof *p->steps, by_time);
    if (out == NULL) {
        printf("\n%9s %6s", "us", "share");
        if (work)
            printf(" %8s %9s %6s", "GB/s", "TFLOP/s", "of max");
        printf("  %-16s %-44s %s\n", "operator", "kernel", "node");
    }
    for (uint32_t i = 0; i < p->n; i++) {
        if (out != NULL)
            step_json(&p->steps[i], d, total, out);
        else
            step_line(&p->steps[i], d, total, work);
    }
    if (out == NULL)
        printf("%9.1f 100.0%%  all %u steps\n", total / 1e3, p->n);
}

/* One line for the host's steps and one for the GPU's. */
static TnStatus write_trace(const Profile *p, const TnDeviceDescription *d, const char *path, TnError *err) {
    json_t *events = json_array();
    for (int on = 0; on < 2; on++)
        json_array_append_new(events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M", "pid", 1, "tid", on + 1, "args",
                                                "name", on == 0 ? "host" : d->name[0] != '\0' ? d->name : d->kind));
    for (uint32_t i = 0; i < p->n; i++) {
        const Step *s = &p->steps[i];
        double share = of_ceiling(s, d);
        json_array_append_new(
            events, json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s, s:s, s:I, s:f, s:f}}", "name", s->node[0] ? s->node : s->op, "cat", s->op,
                              "ph", "X", "ts", (double)s->start_ns / 1e3, "dur", (double)s->ns / 1e3, "pid", 1, "tid", s->on_device ? 2 : 1, "args",
                              "kernel", s->kernel, "shapes", s->shapes, "bytes", (json_int_t)s->bytes, "flops", s->flops, "of_ceiling",
                              share < 0 ? 0 : share));
    }
    json_t *root = json_pack("{s:o, s:s}", "traceEvents", events, "displayTimeUnit", "ns");
    int failed = root == NULL ? 1 : json_dump_file(root, path, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(root);
    return failed ? tnp_fail(err, TN_ERR_IO, "'%s': the trace could not be written", path) : TN_OK;
}

TnStatus cli_profile(TnPlan *plan, TnContext *ctx, json_t *out, const char *trace, TnError *err) {
    Profile p = {0};
    TnDeviceDescription d;
    TnStatus st = tn_plan_device(plan, &d, err);
    if (st == TN_OK)
        st = tn_context_profile(ctx, PROFILE_RUNS, see_profile, &p, err);
    if (st == TN_OK && p.failed)
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    if (st == TN_OK && trace != NULL)
        st = write_trace(&p, &d, trace, err);
    if (st == TN_OK)
        show(&p, &d, true, out);
    free(p.steps);
    return st;
}

TnStatus cli_profile_generator(TnContext *ctx, TnStatus (*run)(void *run_ctx, TnError *err), void *run_ctx, json_t *out, TnError *err) {
    Profile p = {0};
    TnDeviceDescription none = {.kind = "", .name = ""};
    TnStatus st = TN_OK;
    tn_context_on_step(ctx, see_step, &p);
    for (uint32_t i = 0; st == TN_OK && i < GENERATOR_RUNS; i++) {
        p.last = UINT32_MAX;
        st = run(run_ctx, err);
    }
    tn_context_on_step(ctx, NULL, NULL);
    for (uint32_t i = 0; i < p.n; i++)
        p.steps[i].ns /= GENERATOR_RUNS;
    if (st == TN_OK)
        show(&p, &none, false, out);
    free(p.steps);
    return st;
}
