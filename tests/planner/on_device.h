/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of precision and planner with a device: the fake device (tests/runtime/fake_device.c), and modules made by hand that become plans
 * for it, are run there and compared with the interpreter's run of the module as it was made. */
#ifndef TENON_TESTS_ON_DEVICE_H
#define TENON_TESTS_ON_DEVICE_H

#include <dlfcn.h>

#include "backend/device.h"
#include "backend/registry.h"
#include "planner/internal.h"
#include "runtime/fake_device.h"
#include "runtime/plan_harness.h"

static FakeDevice *fake;
static const TnDeviceLibrary *lib;

static inline int start_fake(void **state) {
    (void)state;
    TnError err = {0};
    setenv("TENON_CUDA_LIBRARY", FAKE_DEVICE, 1);
    void *handle = dlopen(FAKE_DEVICE, RTLD_NOW | RTLD_LOCAL);
    FakeDeviceFn fn;
    void *p = handle ? dlsym(handle, "fake_device") : NULL;
    if (!p || tni_device_library(TN_DEVICE_CUDA, &lib, &err) != TN_OK)
        return -1;
    memcpy(&fn, &p, sizeof fn);
    fake = fn();
    return 0;
}

/* A build of one module; every field may be changed before make(). */
typedef struct OnDevice {
    PlannerOptions o;
    TnDeviceLibrary lib; /* a copy, whose kernels may be others */
    TnDeviceInfo info;
    TnDevice *device;
    TnDtype type;
    PrecisionReport report;
    TnArena *arena;
    Built b;
    Plan p;
} OnDevice;

static inline void on_device_start(OnDevice *d, TnDtype type) {
    TnError err = {0};
    memset(d, 0, sizeof *d);
    d->lib = *lib;
    d->type = type;
    OK(lib->open(0, &d->device, &err));
    lib->info(d->device, &d->info);
    d->o = (PlannerOptions){.alloc = tni_default_allocator(),
                            .threads = 2,
                            .lib = &d->lib,
                            .device_info = &d->info,
                            .device = d->device,
                            .math = type == TN_F32 ? 0 : TN_MATH_TF32};
}

/* What src/api/build.c does, without its options. Takes m. */
static inline TnStatus on_device_make(OnDevice *d, IrModule *m, TnError *err) {
    const PrecisionSeen *seen;
    PlanWriter *w;
    PlanHeader h;
    d->b.m = m;
    TN_TRY(tni_shape_infer(m, err));
    TN_TRY(tni_arena_create(NULL, &d->arena, err));
    TN_TRY(tni_plan_writer_create(d->arena, &w, err));
    TN_TRY(tni_planner_observe(m, &d->o, d->arena, &seen, err));
    d->o.keep_sizes = true;
    if (d->type != TN_F32) {
        PrecisionOptions po = {
            .type = d->type, .seen = seen, .lib = &d->lib, .device = &d->info, .math = d->o.math, .log = d->o.log};
        TN_TRY(tni_precision_apply(m, &po, &d->report, err));
        d->o.precision = &d->report;
    }
    TN_TRY(tni_planner_plan(m, &d->o, w, &h, err));
    TN_TRY(tni_plan_write_memory(w, &h, tni_default_allocator(), &d->b.bytes, &d->b.n, err));
    return tni_plan_read((TnSpan){d->b.bytes, d->b.n, 0}, true, NULL, &d->p, err);
}

static inline void on_device_free(OnDevice *d) {
    tni_arena_destroy(&d->arena);
    built_free(&d->b, NULL);
    lib->close(&d->device);
    assert_int_equal(fake->live, 0);
}

/* The reason for float32 that was noted for the node of this name, or NULL. */
static inline const char *wide_reason(const OnDevice *d, const char *node) {
    for (uint32_t i = 0; i < d->report.n_notes; i++)
        if (strcmp(d->report.notes[i].node, node) == 0)
            return d->report.notes[i].why;
    return NULL;
}

/* First step of the plan with this node name and operator, or NULL. */
static inline const PlanStep *find_step(const Plan *p, const char *node, const char *op) {
    for (uint32_t i = 0; i < p->n_steps; i++)
        if (strcmp(p->strings + p->steps[i].name, node) == 0 && strcmp(p->strings + p->steps[i].op, op) == 0)
            return &p->steps[i];
    return NULL;
}

static inline uint32_t count_steps(const Plan *p, const char *op) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_steps; i++)
        n += strcmp(p->strings + p->steps[i].op, op) == 0;
    return n;
}

/* Type of the step's first result. */
static inline TnDtype result_type(const Plan *p, const PlanStep *s) {
    return (TnDtype)p->values[p->operands[s->first_out]].dtype;
}

/* Runs the plan on the fake device and compares with the interpreter on `original`. */
static inline void on_device_run(const OnDevice *d, IrModule *original, TnTensor *inputs, double tol) {
    TnError err = {0};
    TnPlan *plan;
    TnContext *ctx;
    TnTensor want[16] = {0};
    const IrGraph *g = original->graphs[0];
    OK(tni_shape_infer(original, &err));
    OK(tni_interp_run(original, 0, inputs, want, tni_default_allocator(), NULL, NULL, NULL, &err));
    OK(open_bytes(d->b.bytes, d->b.n, NULL, &plan, &err));
    OK(tni_rt_context_create(plan, 2, tni_default_allocator(), &ctx, &err));
    for (uint32_t times = 0; times < 3; times++) {
        for (uint32_t i = 0; i < g->n_inputs; i++)
            OK(tn_context_set_input(ctx, i, &inputs[i], &err));
        OK(tn_context_run(ctx, &err));
        for (uint32_t i = 0; i < g->n_outputs; i++) {
            TnTensor got;
            OK(tn_context_output(ctx, i, &got, &err));
            assert_close(&want[i], &got, tol);
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        tni_free(NULL, want[i].data);
    tni_rt_context_destroy(&ctx);
    tni_rt_close(&plan);
    tni_ir_module_destroy(&original);
}

#endif
