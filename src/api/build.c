/* SPDX-License-Identifier: Apache-2.0
 *
 * The build, spelled out once: import -> ranges -> shapes -> rewrites [-> observation -> precision] -> planner -> file. */
#include "tenon/build.h"

#include <sys/stat.h>

#include "api/build_device.h"
#include "api/ranges.h"
#include "base/cpu.h"
#include "base/threads.h"
#include "hf/hf.h"
#include "interp/interp.h"
#include "onnx/onnx.h"
#include "passes/passes.h"
#include "planner/planner.h"
#include "precision/precision.h"
#include "shape/shape.h"

TnBuildOptions tn_build_options_default(void) {
    return (TnBuildOptions){.size = sizeof(TnBuildOptions)};
}

typedef enum Phase { OPENING, IMPORT, PASSES, OBSERVE, PRECISION, PLANNER, WRITING, PHASES } Phase;

/* What lives during one build. */
typedef struct Build {
    TnBuildOptions o;
    const TnAllocator *alloc;
    TnThreads *threads;
    IrModule *module;
    TnArena *arena; /* the writer's */
    PlanWriter *writer;
    PlanHeader header;
    uint64_t model_hash;
    uint32_t cpu_flags;
    BuildDevice device;
    PrecisionReport precision;
    uint64_t began, ns[PHASES]; /* where the time goes */
} Build;

static void phase_ends(Build *b, Phase p) {
    const uint64_t now = tni_now_ns();
    b->ns[p] += now - b->began;
    b->began = now;
}

static void tell_phases(const Build *b) {
    double s[PHASES];
    for (uint32_t i = 0; i < PHASES; i++)
        s[i] = (double)b->ns[i] * 1e-9;
    tni_log(b->o.log, TN_LOG_INFO, "time: device %.2f s, import %.2f s, passes %.2f s, observing %.2f s, precision %.2f s, planner %.2f s, file %.2f s",
            s[OPENING], s[IMPORT], s[PASSES], s[OBSERVE], s[PRECISION], s[PLANNER], s[WRITING]);
}

static TnStatus check_options(const TnBuildOptions *o, TnError *err) {
    if (o->threads > 1024)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "threads is %u; 0 (one a core) to 1024 are possible", o->threads);
    if (o->tune != 0 && o->tune != 1)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "tune is %d; 0 or 1 are possible", o->tune);
    if (o->reference != 0 && o->reference != 1)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "reference is %d; 0 or 1 are possible", o->reference);
    if (o->tune && o->reference)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "tune and reference exclude each other: an operator has one reference kernel");
    if (o->timing_cache != NULL && !o->tune)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "a timing cache is of use with tune only");
    if (o->n_samples > 0 && (o->samples == NULL || o->sample_names == NULL))
        return TN_RAISE(err, TN_ERR_ARGUMENT, "n_samples is %u, but samples or sample_names is NULL", o->n_samples);
    return TN_OK;
}

static TnStatus take_options(const TnBuildOptions *options, Build *b, TnError *err) {
    b->o = tn_build_options_default();
    if (options != NULL) {
        if (options->size == 0 || options->size > 4096)
            return TN_RAISE(err, TN_ERR_ARGUMENT, "the build options' size is %u: start from tn_build_options_default()", options->size);
        memcpy(&b->o, options, TN_MIN(options->size, sizeof b->o)); /* an older caller's struct is shorter */
    }
    TN_TRY(check_options(&b->o, err));
    b->alloc = b->o.allocator == NULL ? tni_default_allocator() : b->o.allocator;
    b->cpu_flags = tni_cpu_flags();
    if (b->o.cpu != NULL) {
        uint32_t mask;
        if (!tni_cpu_level_parse(b->o.cpu, &mask))
            return TN_RAISE(err, TN_ERR_ARGUMENT, "cpu '%s' is not one of scalar, avx2, avx512, native", b->o.cpu);
        if (strcmp(b->o.cpu, "native") != 0 && (mask & ~tni_cpu_flags()) != 0)
            return TN_RAISE(err, TN_ERR_REQUEST,
                            "cpu '%s' was asked for, but this machine has %s only, and kernels are verified where they are chosen",
                            b->o.cpu, tni_cpu_level_name(tni_cpu_flags()));
        b->cpu_flags &= mask;
    }
    return tni_threads_create(b->alloc, b->o.threads, &b->threads, err);
}

static void finish(Build *b) {
    tni_api_build_device_close(&b->device);
    tni_ir_module_destroy(&b->module);
    tni_arena_destroy(&b->arena);
    tni_threads_destroy(&b->threads);
}

static TnStatus import(Build *b, const char *path, TnError *err) {
    struct stat st;
    const HfFileOptions hf = {.head_dim = b->o.head_dim, .image_size = b->o.image_size, .config = b->o.config, .head = b->o.head,
                              .attention = b->o.attention, .score_threshold = b->o.score_threshold};
    const bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode), file = !folder && tni_hf_is_checkpoint_file(path);
    if ((hf.head_dim != 0 || hf.image_size != 0 || hf.config != NULL || hf.attention != NULL || hf.score_threshold != 0) && !file)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "head_dim, image_size, config, attention and score_threshold are for files of weights; '%s' tells all of that itself", path);
    if (hf.head != NULL && !file && !folder)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "head is for checkpoints; '%s' has the outputs that it was exported with", path);
    if (folder)
        return tni_hf_import(path, &hf, b->o.log, b->alloc, &b->module, &b->model_hash, err);
    if (file)
        return tni_hf_import_file(path, &hf, b->o.log, b->alloc, &b->module, &b->model_hash, err);
    OnnxOptions o = {.log = b->o.log};
    return tni_onnx_import(path, &o, b->alloc, &b->module, &b->model_hash, err);
}

/* Import to a rewritten, inferred module. stop_after: name of a pass, "import", or NULL = all. */
static TnStatus front(Build *b, const char *path, const char *stop_after, TnError *err) {
    PassContext pc = {.log = b->o.log, .threads = b->threads, .device = b->device.lib != NULL};
    TN_TRY(import(b, path, err));
    phase_ends(b, IMPORT);
    TN_TRY(tni_ir_verify(b->module, err));
    if (b->o.shapes != NULL)
        TN_TRY(tni_shape_apply_ranges(b->module, b->o.shapes, err));
    TN_TRY(tni_api_generator_ranges(b->module, err));
    TN_TRY(tni_shape_infer(b->module, err));
    return tni_passes_run(b->module, &pc, stop_after, NULL, NULL, err);
}

/* The caller's samples in the order of the model's inputs, in the writer's arena; NULL when there are none. */
static TnStatus order_samples(Build *b, TnTensor **out, TnError *err) {
    const IrGraph *g = b->module->graphs[0];
    *out = NULL;
    if (b->o.n_samples == 0)
        return TN_OK;
    *out = tni_arena_calloc(b->arena, g->n_inputs + 1u, sizeof **out);
    if (*out == NULL)
        return TN_OOM(err, g->n_inputs * sizeof **out);
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const char *name = g->values[g->inputs[i]].name;
        for (uint32_t k = 0; k < b->o.n_samples; k++) {
            if (strcmp(b->o.sample_names[k], name) == 0)
                (*out)[i] = b->o.samples[k];
        }
        if ((*out)[i].dtype == TN_UNDEFINED)
            return TN_RAISE(err, TN_ERR_NAME, "the samples lack input '%s'; give all inputs or none", name);
    }
    return TN_OK;
}

/* Sizes that nobody gave are settled by running the model. */
static bool sizes_open(const IrModule *m) {
    for (uint32_t i = 0; i < m->n_symbols; i++)
        if (!m->symbols[i].data_dependent && m->symbols[i].min == 1 && m->symbols[i].opt == 1 && m->symbols[i].max == INT64_MAX)
            return true;
    return false;
}

/* Types for the device: what was seen when the model ran in float32 decides. */
static TnStatus narrow(Build *b, PlannerOptions *po, TnError *err) {
    const PrecisionSeen *seen;
    const BuildDevice *d = &b->device;
    if (d->type == TN_F32 && !sizes_open(b->module))
        return TN_OK;
    TN_TRY(tni_planner_observe(b->module, po, b->arena, &seen, err));
    phase_ends(b, OBSERVE);
    po->keep_sizes = true;
    if (d->type == TN_F32)
        return TN_OK;
    const PrecisionOptions o = {.type = d->type,
                                .seen = seen,
                                .lib = d->lib,
                                .device = &d->info,
                                .math = d->math,
                                .threads = b->threads,
                                .log = b->o.log};
    TN_TRY(tni_precision_apply(b->module, &o, &b->precision, err));
    po->precision = &b->precision;
    phase_ends(b, PRECISION);
    return TN_OK;
}

/* Everything but the writing of bytes. */
static TnStatus make(Build *b, const char *path, TnError *err) {
    TnTensor *samples;
    b->began = tni_now_ns();
    TN_TRY(tni_api_build_device_open(&b->o, &b->device, err));
    phase_ends(b, OPENING);
    TN_TRY(front(b, path, b->o.stop_after, err));
    phase_ends(b, PASSES);
    TN_TRY(tni_arena_create(b->alloc, &b->arena, err));
    TN_TRY(tni_plan_writer_create(b->arena, &b->writer, err));
    TN_TRY(order_samples(b, &samples, err));
    PlannerOptions po = {.cpu_flags = b->cpu_flags,
                         .tune = b->o.tune != 0,
                         .threads = tni_threads_count(b->threads),
                         .timing_cache = b->o.timing_cache,
                         .samples = samples,
                         .reference = b->o.reference != 0,
                         .alloc = b->alloc,
                         .log = b->o.log,
                         .progress = b->o.progress,
                         .model_hash = b->model_hash,
                         .lib = b->device.lib,
                         .device_info = b->device.lib ? &b->device.info : NULL,
                         .device = b->device.device,
                         .math = b->device.math,
                         .allow_cpu_steps = b->o.allow_cpu_steps != 0,
                         .buckets = b->o.buckets};
    if (b->device.lib)
        TN_TRY(narrow(b, &po, err));
    TN_TRY(tni_planner_plan(b->module, &po, b->writer, &b->header, err));
    phase_ends(b, PLANNER);
    return TN_OK;
}

static TnStatus written(Build *b, TnStatus st) {
    phase_ends(b, WRITING);
    if (st == TN_OK)
        tell_phases(b);
    return st;
}

static TnStatus check_path(const char *path, const char *what, TnError *err) {
    return path != NULL && path[0] != '\0' ? TN_OK : TN_RAISE(err, TN_ERR_ARGUMENT, "no %s was given", what);
}

TnStatus tn_build_file(const char *model_path, const char *plan_path, const TnBuildOptions *options, TnError *err) {
    Build b = {0};
    TN_TRY(check_path(model_path, "model", err));
    TN_TRY(check_path(plan_path, "plan path", err));
    TnStatus st = take_options(options, &b, err);
    if (st == TN_OK)
        st = make(&b, model_path, err);
    if (st == TN_OK)
        st = written(&b, tni_plan_write_file(b.writer, &b.header, plan_path, err));
    finish(&b);
    return st;
}

TnStatus tn_build_memory(const char *model_path, const TnBuildOptions *options, void **plan, size_t *plan_bytes, TnError *err) {
    Build b = {0};
    uint8_t *bytes = NULL;
    if (plan == NULL || plan_bytes == NULL)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "plan and plan_bytes must not be NULL");
    *plan = NULL;
    *plan_bytes = 0;
    TN_TRY(check_path(model_path, "model", err));
    TnStatus st = take_options(options, &b, err);
    if (st == TN_OK)
        st = make(&b, model_path, err);
    if (st == TN_OK)
        st = written(&b, tni_plan_write_memory(b.writer, &b.header, b.alloc, &bytes, plan_bytes, err));
    *plan = bytes;
    finish(&b);
    return st;
}

void tn_build_free(const TnBuildOptions *options, void *plan) {
    tni_free(options == NULL ? NULL : options->allocator, plan);
}

TnStatus tn_inspect_model(const char *model_path, const TnBuildOptions *options, const char *after,
                          void (*fn)(void *ctx, const char *text, size_t n), void *ctx, TnError *err) {
    Build b = {0};
    TN_TRY(check_path(model_path, "model", err));
    TnStatus st = take_options(options, &b, err);
    if (st == TN_OK)
        st = front(&b, model_path, after, err);
    if (st == TN_OK)
        tni_ir_print(b.module, fn, ctx);
    finish(&b);
    return st;
}

/* ---- the reference interpreter as a user sees it ---- */

struct TnReference {
    Build b;
};

TnStatus tn_reference_open(const char *model_path, const TnBuildOptions *options, TnReference **out, TnError *err) {
    *out = NULL;
    TN_TRY(check_path(model_path, "model", err));
    TnReference *r = tni_calloc(options == NULL ? NULL : options->allocator, 1, sizeof *r);
    if (r == NULL)
        return TN_OOM(err, sizeof *r);
    TnStatus st = take_options(options, &r->b, err);
    if (st == TN_OK)
        st = front(&r->b, model_path, "import", err);
    *out = r;
    if (st != TN_OK)
        tn_reference_close(out);
    return st;
}

void tn_reference_close(TnReference **ref) {
    if (*ref == NULL)
        return;
    const TnAllocator *a = (*ref)->b.o.allocator;
    finish(&(*ref)->b);
    tni_free(a, *ref);
    *ref = NULL;
}

static const IrGraph *main_graph(const TnReference *r) {
    return r->b.module->graphs[0];
}

uint32_t tn_reference_input_count(const TnReference *ref) {
    return main_graph(ref)->n_inputs;
}
uint32_t tn_reference_output_count(const TnReference *ref) {
    return main_graph(ref)->n_outputs;
}

const char *tn_reference_input_name(const TnReference *ref, uint32_t i) {
    const IrGraph *g = main_graph(ref);
    return i < g->n_inputs ? g->values[g->inputs[i]].name : NULL;
}

const char *tn_reference_output_name(const TnReference *ref, uint32_t i) {
    const IrGraph *g = main_graph(ref);
    return i < g->n_outputs ? g->values[g->outputs[i]].name : NULL;
}

typedef struct Watch {
    const IrGraph *g;
    void (*fn)(void *ctx, const char *name, const TnTensor *t);
    void *ctx;
} Watch;

static TnStatus watch_tensor(void *ctx, IrNodeId node, uint32_t out_index, const TnTensor *t, TnError *err) {
    const Watch *w = ctx;
    (void)err;
    w->fn(w->ctx, w->g->values[w->g->nodes[node].out[out_index]].name, t);
    return TN_OK;
}

TnStatus tn_reference_run(TnReference *ref, const TnTensor *inputs, TnTensor *outputs,
                          void (*on_tensor)(void *ctx, const char *name, const TnTensor *t), void *ctx, TnError *err) {
    Watch w = {main_graph(ref), on_tensor, ctx};
    return tni_interp_run(ref->b.module, 0, inputs, outputs, ref->b.alloc, ref->b.threads, on_tensor == NULL ? NULL : watch_tensor, &w,
                          err);
}
