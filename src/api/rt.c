/* SPDX-License-Identifier: Apache-2.0
 *
 * include/tenon/runtime.h: checks arguments and calls the runtime. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "runtime/device.h"

#define NEED(cond, what)                                                                                                                   \
    do {                                                                                                                                   \
        if (!(cond))                                                                                                                       \
            return TN_RAISE(err, TN_ERR_ARGUMENT, "%s: %s", __func__, what);                                                               \
    } while (0)

TnPlanOptions tn_plan_options_default(void) {
    return (TnPlanOptions){.size = sizeof(TnPlanOptions), .device_index = -1};
}

TnContextOptions tn_context_options_default(void) {
    return (TnContextOptions){.size = sizeof(TnContextOptions)};
}

TnGenerateOptions tn_generate_options_default(void) {
    return (TnGenerateOptions){.size = sizeof(TnGenerateOptions), .length_penalty = NAN, .early_stopping = -1};
}

/* Options of this version from those of the caller, who may have been compiled with an older or newer header: fields beyond its size keep
 * their defaults; a newer struct is taken when what this version does not know is zero. */
static TnStatus copy_options(void *dst, size_t size, const void *src, const char *what, TnError *err) {
    uint32_t n;
    if (!src)
        return TN_OK;
    memcpy(&n, src, sizeof n);
    if (n < sizeof n)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "%s.size is %" PRIu32 "; start from the _default function", what, n);
    for (size_t i = size; i < n; i++)
        if (((const uint8_t *)src)[i] != 0)
            return TN_RAISE(err, TN_ERR_ARGUMENT, "%s has fields that this version of the library does not know", what);
    memcpy(dst, src, TN_MIN((size_t)n, size));
    return TN_OK;
}

/* ---- plans ---- */

TnStatus tn_plan_open(const char *path, const TnPlanOptions *options, TnPlan **out, TnError *err) {
    TnPlanOptions o = tn_plan_options_default();
    TnFileMap map = {0};
    NEED(out, "out is NULL");
    *out = NULL;
    NEED(path, "path is NULL");
    TN_TRY(copy_options(&o, sizeof o, options, "TnPlanOptions", err));
    TN_TRY(tni_file_map(path, &map, err));
    TnStatus st = tni_rt_open((TnSpan){map.data, map.n, 0}, map, &o, out, err);
    if (st != TN_OK) {
        tni_file_unmap(&map);
        tni_error_prefix(err, st, "'%s'", path);
    }
    return st;
}

TnStatus tn_plan_open_memory(const void *bytes, size_t n, const TnPlanOptions *options, TnPlan **out, TnError *err) {
    TnPlanOptions o = tn_plan_options_default();
    NEED(out, "out is NULL");
    *out = NULL;
    NEED(bytes || n == 0, "bytes is NULL");
    TN_TRY(copy_options(&o, sizeof o, options, "TnPlanOptions", err));
    return tni_rt_open((TnSpan){bytes, n, 0}, (TnFileMap){0}, &o, out, err);
}

void tn_plan_close(TnPlan **plan) {
    if (plan)
        tni_rt_close(plan);
}

uint32_t tn_plan_input_count(const TnPlan *plan) {
    return plan ? plan->programs[0].g->n_inputs : 0;
}

uint32_t tn_plan_output_count(const TnPlan *plan) {
    return plan ? plan->programs[0].g->n_outputs : 0;
}

static void io_info(const TnPlan *plan, uint32_t id, TnIoInfo *out) {
    const Plan *p = &plan->p;
    const PlanValue *v = &plan->programs[0].values[id];
    memset(out, 0, sizeof *out);
    out->name = p->strings + v->name;
    out->dtype = (TnDtype)v->dtype;
    out->rank = v->rank;
    for (int32_t d = 0; d < v->rank; d++) {
        const TnDimExpr *e = &p->exprs[v->dims[d]];
        if (e->op == TN_DIM_CONST) {
            out->dims[d] = out->min[d] = out->opt[d] = out->max[d] = e->value;
            continue;
        }
        out->dims[d] = -1;
        tni_dim_str(out->dim_names[d], sizeof out->dim_names[d], p->exprs, p->symbols, v->dims[d]);
        out->min[d] = 0;
        out->opt[d] = 1;
        out->max[d] = INT64_MAX;
        if (e->op == TN_DIM_SYMBOL && !p->symbols[e->value].data_dependent) {
            out->min[d] = p->symbols[e->value].min;
            out->opt[d] = p->symbols[e->value].opt;
            out->max[d] = p->symbols[e->value].max;
        }
    }
}

TnStatus tn_plan_input(const TnPlan *plan, uint32_t i, TnIoInfo *out, TnError *err) {
    NEED(plan && out, "plan or out is NULL");
    if (i >= plan->programs[0].g->n_inputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "input %" PRIu32 " of %" PRIu32, i, plan->programs[0].g->n_inputs);
    io_info(plan, plan->programs[0].inputs[i], out);
    return TN_OK;
}

TnStatus tn_plan_output(const TnPlan *plan, uint32_t i, TnIoInfo *out, TnError *err) {
    NEED(plan && out, "plan or out is NULL");
    if (i >= plan->programs[0].g->n_outputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "output %" PRIu32 " of %" PRIu32, i, plan->programs[0].g->n_outputs);
    io_info(plan, plan->programs[0].outputs[i], out);
    return TN_OK;
}

static TnStatus find_name(const TnPlan *plan, const uint32_t *ids, uint32_t n, const char *name, const char *what, uint32_t *out,
                          TnError *err) {
    char list[900];
    size_t at = 0;
    list[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *s = plan->p.strings + plan->programs[0].values[ids[i]].name;
        if (strcmp(s, name) == 0) {
            *out = i;
            return TN_OK;
        }
        if (at + 1 < sizeof list) {
            int k = snprintf(list + at, sizeof list - at, "%s'%s'", i ? ", " : "", s);
            at += k > 0 ? (size_t)k : 0;
        }
    }
    return TN_RAISE(err, TN_ERR_NAME, "no %s is named '%s'; there are: %s", what, name, n ? list : "none");
}

TnStatus tn_plan_input_index(const TnPlan *plan, const char *name, uint32_t *out, TnError *err) {
    NEED(plan && name && out, "plan, name or out is NULL");
    return find_name(plan, plan->programs[0].inputs, plan->programs[0].g->n_inputs, name, "input", out, err);
}

TnStatus tn_plan_output_index(const TnPlan *plan, const char *name, uint32_t *out, TnError *err) {
    NEED(plan && name && out, "plan, name or out is NULL");
    return find_name(plan, plan->programs[0].outputs, plan->programs[0].g->n_outputs, name, "output", out, err);
}

void tn_plan_dump(const TnPlan *plan, int json, void (*fn)(void *ctx, const char *text, size_t n), void *ctx) {
    if (plan && fn)
        tni_plan_dump(&plan->p, json != 0, fn, ctx);
}

void tn_plan_explain(const TnPlan *plan, int json, void (*fn)(void *ctx, const char *text, size_t n), void *ctx) {
    if (plan && fn)
        tni_plan_explain(&plan->p, json != 0, fn, ctx);
}

const void *tn_plan_meta(const TnPlan *plan, const char *key, size_t *bytes) {
    uint64_t n = 0;
    const void *p = plan && key ? tni_plan_meta(&plan->p, key, &n) : NULL;
    if (p && bytes)
        *bytes = (size_t)n;
    return p;
}

/* ---- contexts ---- */

TnStatus tn_context_create(TnPlan *plan, const TnContextOptions *options, TnContext **out, TnError *err) {
    TnContextOptions o = tn_context_options_default();
    NEED(out, "out is NULL");
    *out = NULL;
    NEED(plan, "plan is NULL");
    TN_TRY(copy_options(&o, sizeof o, options, "TnContextOptions", err));
    if (o.threads > 1024)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "threads is %" PRIu32 "; 0 (one a core) to 1024 are possible", o.threads);
    return tni_rt_context_create(plan, o.threads, o.allocator ? o.allocator : plan->alloc, out, err);
}

void tn_context_destroy(TnContext **ctx) {
    if (ctx)
        tni_rt_context_destroy(ctx);
}

/* A tensor from outside against the declaration of input i. */
static TnStatus check_input(const TnPlan *plan, uint32_t i, const TnTensor *t, TnError *err) {
    const Plan *p = &plan->p;
    const PlanValue *v = &plan->programs[0].values[plan->programs[0].inputs[i]];
    const char *name = p->strings + v->name;
    char have[96];
    size_t bytes;
    if (t->dtype != (TnDtype)v->dtype)
        return TN_RAISE(err, TN_ERR_TYPE, "input '%s' is %s, expected %s", name, tn_dtype_name(t->dtype), tn_dtype_name((TnDtype)v->dtype));
    if (t->rank < 0 || t->rank > TN_MAX_RANK || !tni_shape_bytes(t->dtype, t->rank, t->dims, NULL, &bytes))
        return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' has rank %d or a shape that no tensor has", name, t->rank);
    if (t->rank != v->rank)
        return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' is %s (rank %d), expected rank %d", name,
                        tni_shape_str(have, sizeof have, t->rank, t->dims), t->rank, v->rank);
    for (int32_t d = 0; d < v->rank; d++) {
        const TnDimExpr *e = &p->exprs[v->dims[d]];
        if (e->op == TN_DIM_CONST && e->value != t->dims[d])
            return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' dim %d is %" PRId64 ", expected %" PRId64, name, d, t->dims[d], e->value);
    }
    if (!t->data && bytes > 0)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "input '%s' has no data", name);
    size_t align = TN_MAX(tn_dtype_bits(t->dtype) / 8, 1u);
    if ((uintptr_t)t->data % TN_MIN(align, (size_t)8))
        return TN_RAISE(err, TN_ERR_ARGUMENT, "the data of input '%s' is not aligned to its elements", name);
    return TN_OK;
}

TnStatus tn_context_set_input(TnContext *ctx, uint32_t i, const TnTensor *t, TnError *err) {
    NEED(ctx && t, "ctx or t is NULL");
    if (i >= ctx->plan->programs[0].g->n_inputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "input %" PRIu32 " of %" PRIu32, i, ctx->plan->programs[0].g->n_inputs);
    TN_TRY(check_input(ctx->plan, i, t, err));
    ctx->inputs[i] = *t;
    ctx->input_on_device[i] = 0;
    return TN_OK;
}

static TnStatus check_output(const TnPlan *plan, uint32_t i, const TnTensor *t, TnError *err) {
    const PlanValue *v = &plan->programs[0].values[plan->programs[0].outputs[i]];
    NEED(t->data, "the tensor has no data");
    if (t->dtype != (TnDtype)v->dtype)
        return TN_RAISE(err, TN_ERR_TYPE, "output '%s' is %s, the buffer is for %s", plan->p.strings + v->name,
                        tn_dtype_name((TnDtype)v->dtype), tn_dtype_name(t->dtype));
    return TN_OK;
}

TnStatus tn_context_set_output(TnContext *ctx, uint32_t i, const TnTensor *t, size_t capacity_bytes, TnError *err) {
    NEED(ctx, "ctx is NULL");
    if (i >= ctx->plan->programs[0].g->n_outputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "output %" PRIu32 " of %" PRIu32, i, ctx->plan->programs[0].g->n_outputs);
    if (!t) {
        ctx->user[i] = (RtUserOut){NULL, 0, false};
        return TN_OK;
    }
    TN_TRY(check_output(ctx->plan, i, t, err));
    ctx->user[i] = (RtUserOut){t->data, capacity_bytes, false};
    return TN_OK;
}

TnStatus tn_context_run(TnContext *ctx, TnError *err) {
    NEED(ctx, "ctx is NULL");
    return tni_rt_run(ctx, err);
}

TnStatus tn_context_output(TnContext *ctx, uint32_t i, TnTensor *out, TnError *err) {
    NEED(ctx && out, "ctx or out is NULL");
    const RtFrame *f = &ctx->frames[0];
    if (i >= f->prog->g->n_outputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "output %" PRIu32 " of %" PRIu32, i, f->prog->g->n_outputs);
    if (!ctx->ran)
        return TN_RAISE(err, TN_ERR_STATE, "there is no output before a successful tn_context_run");
    if (ctx->device) {
        *out = tni_rt_device_output(ctx, i);
        return TN_OK;
    }
    *out = f->t[f->prog->outputs[i]];
    if (ctx->user[i].data)
        out->data = ctx->user[i].data;
    return TN_OK;
}

void tn_context_on_step(TnContext *ctx, TnStepFn fn, void *fn_ctx) {
    if (!ctx)
        return;
    ctx->on_step = fn;
    ctx->on_step_ctx = fn_ctx;
}

size_t tn_context_bytes(const TnContext *ctx) {
    return ctx ? tni_rt_context_bytes(ctx) : 0;
}

TnStatus tn_context_warm(TnContext *ctx, TnError *err) {
    NEED(ctx, "ctx is NULL");
    return ctx->device ? tni_rt_device_warm(ctx, err) : tni_rt_run(ctx, err);
}

TnStatus tn_context_profile(TnContext *ctx, uint32_t runs, TnStepProfileFn fn, void *fn_ctx, TnError *err) {
    NEED(ctx && fn, "ctx or fn is NULL");
    NEED(runs >= 1 && runs <= 1000, "runs must be from 1 to 1000");
    return tni_rt_profile(ctx, runs, fn, fn_ctx, err);
}

/* ---- devices ---- */

/* The plan's device, or why there is none. */
static TnStatus need_device(const TnPlan *plan, TnError *err) {
    if (plan->device)
        return TN_OK;
    if (plan->p.header->device != TN_DEVICE_CPU)
        return TN_RAISE(err, TN_ERR_STATE, "the plan was opened to be looked at (TnPlanOptions.inspect); open it without that to run it");
    return TN_RAISE(err, TN_ERR_REQUEST, "this plan runs on the CPU, which has no memory and no streams of its own");
}

TnStatus tn_plan_device(const TnPlan *plan, TnDeviceDescription *out, TnError *err) {
    NEED(plan && out, "plan or out is NULL");
    *out = (TnDeviceDescription){.kind = tni_plan_device_name(plan->p.header->device), .name = "", .plan_capability = plan->p.header->arch};
    if (!plan->device)
        return TN_OK;
    const TnDeviceInfo *i = &plan->device->info;
    out->name = i->name;
    out->index = i->index;
    out->capability = i->arch;
    out->driver = i->driver;
    out->runtime = i->runtime;
    out->memory_bytes = i->memory_bytes;
    out->bytes_per_second = i->bytes_per_second;
    out->half_flops = i->half_flops;
    out->tf32_flops = i->tf32_flops;
    out->float_flops = i->float_flops;
    return TN_OK;
}

TnStatus tn_device_alloc(TnPlan *plan, size_t bytes, void **out, TnError *err) {
    NEED(out, "out is NULL");
    *out = NULL;
    NEED(plan && bytes > 0, "plan is NULL or bytes is 0");
    TN_TRY(need_device(plan, err));
    return plan->device->lib->alloc(plan->device->dev, bytes, out, err);
}

void tn_device_free(TnPlan *plan, void *device_pointer) {
    if (plan && plan->device && device_pointer)
        plan->device->lib->free(plan->device->dev, device_pointer);
}

TnStatus tn_device_write(TnContext *ctx, void *device_pointer, const void *src, size_t bytes, TnError *err) {
    NEED(ctx && device_pointer && src, "ctx or a pointer is NULL");
    TN_TRY(need_device(ctx->plan, err));
    TN_TRY(tni_rt_device_usable(ctx, err));
    TN_TRY(tni_rt_device_finish(ctx, err));
    TN_TRY(tni_rt_device_note(ctx, ctx->plan->device->lib->to_device(ctx->device->stream, device_pointer, src, bytes, err), err));
    return tni_rt_device_wait(ctx, err);
}

TnStatus tn_device_read(TnContext *ctx, void *dst, const void *device_pointer, size_t bytes, TnError *err) {
    NEED(ctx && device_pointer && dst, "ctx or a pointer is NULL");
    TN_TRY(need_device(ctx->plan, err));
    TN_TRY(tni_rt_device_usable(ctx, err));
    TN_TRY(tni_rt_device_finish(ctx, err));
    TN_TRY(tni_rt_device_note(ctx, ctx->plan->device->lib->to_host(ctx->device->stream, dst, device_pointer, bytes, err), err));
    return tni_rt_device_wait(ctx, err);
}

/* p is memory of the plan's device. */
static TnStatus need_there(const TnContext *ctx, const void *p, const char *what, uint32_t i, TnError *err) {
    const RtDevice *d = ctx->plan->device;
    if (!p || d->lib->is_device_pointer(d->dev, p))
        return TN_OK;
    return TN_RAISE(err, TN_ERR_ARGUMENT, "the data of %s %" PRIu32 " is not memory of %s (%s:%" PRIu32 ")", what, i, d->info.name,
                    d->lib->name, d->info.index);
}

TnStatus tn_context_bind_input_device(TnContext *ctx, uint32_t i, const TnTensor *t, TnError *err) {
    NEED(ctx && t, "ctx or t is NULL");
    TN_TRY(need_device(ctx->plan, err));
    if (i >= ctx->plan->programs[0].g->n_inputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "input %" PRIu32 " of %" PRIu32, i, ctx->plan->programs[0].g->n_inputs);
    TN_TRY(check_input(ctx->plan, i, t, err));
    TN_TRY(need_there(ctx, t->data, "input", i, err));
    ctx->inputs[i] = *t;
    ctx->input_on_device[i] = 1;
    return TN_OK;
}

TnStatus tn_context_bind_output_device(TnContext *ctx, uint32_t i, const TnTensor *t, size_t capacity_bytes, TnError *err) {
    NEED(ctx, "ctx is NULL");
    TN_TRY(need_device(ctx->plan, err));
    if (i >= ctx->plan->programs[0].g->n_outputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "output %" PRIu32 " of %" PRIu32, i, ctx->plan->programs[0].g->n_outputs);
    if (!t) {
        ctx->user[i] = (RtUserOut){NULL, 0, true};
        return TN_OK;
    }
    TN_TRY(check_output(ctx->plan, i, t, err));
    TN_TRY(need_there(ctx, t->data, "output", i, err));
    ctx->user[i] = (RtUserOut){t->data, capacity_bytes, true};
    return TN_OK;
}

int tn_context_output_on_device(const TnContext *ctx, uint32_t i) {
    return ctx && ctx->device && i < ctx->plan->programs[0].g->n_outputs && tni_rt_device_output_there(ctx, i);
}

TnStatus tn_context_set_stream(TnContext *ctx, void *cuda_stream, TnError *err) {
    NEED(ctx, "ctx is NULL");
    TN_TRY(need_device(ctx->plan, err));
    return tni_rt_device_set_stream(ctx, cuda_stream, err);
}

TnStatus tn_context_run_async(TnContext *ctx, TnError *err) {
    NEED(ctx, "ctx is NULL");
    return ctx->device ? tni_rt_device_start(ctx, err) : tni_rt_run(ctx, err);
}

TnStatus tn_context_synchronize(TnContext *ctx, TnError *err) {
    NEED(ctx, "ctx is NULL");
    return ctx->device ? tni_rt_device_finish(ctx, err) : TN_OK;
}

size_t tn_context_device_bytes(const TnContext *ctx) {
    return ctx && ctx->device ? tni_rt_device_bytes(ctx) : 0;
}

/* ---- generation ---- */

int tn_plan_is_generator(const TnPlan *plan) {
    return plan && plan->gen;
}

TnStatus tn_context_generate(TnContext *ctx, const TnTensor *inputs, uint32_t n_inputs, const TnGenerateOptions *options,
                             TnGenerated *results, uint32_t n_results, TnError *err) {
    TnGenerateOptions o = tn_generate_options_default();
    NEED(ctx && inputs && results, "ctx, inputs or results is NULL");
    TN_TRY(copy_options(&o, sizeof o, options, "TnGenerateOptions", err));
    for (uint32_t i = 0; ctx->plan->gen && i < n_inputs && i < ctx->plan->programs[0].g->n_inputs; i++)
        TN_TRY(check_input(ctx->plan, i, &inputs[i], err));
    if (o.inputs_on_device) {
        TN_TRY(need_device(ctx->plan, err));
        for (uint32_t i = 0; i < n_inputs; i++)
            TN_TRY(need_there(ctx, inputs[i].data, "input", i, err));
    }
    return tni_rt_generate(ctx, inputs, n_inputs, &o, results, n_results, err);
}
