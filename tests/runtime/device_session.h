/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of plans for a device: modules made by hand, planned for the CPU, converted for the fake device (to_device.h), opened and run. */
#ifndef TENON_TESTS_DEVICE_SESSION_H
#define TENON_TESTS_DEVICE_SESSION_H

#include <dlfcn.h>

#include "runtime/device.h"
#include "runtime/fake_device.h"
#include "runtime/to_device.h"

typedef struct Session {
    Built b;
    uint8_t *bytes;
    size_t n;
    TnPlan *plan;
    TnContext *ctx;
} Session;

static FakeDevice *fake;

/* Finds the fake device; the runtime finds it in the same way. */
static inline int start_fake(void **state) {
    (void)state;
    setenv("TENON_CUDA_LIBRARY", FAKE_DEVICE, 1);
    void *handle = dlopen(FAKE_DEVICE, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return -1;
    FakeDeviceFn fn;
    void *p = dlsym(handle, "fake_device");
    memcpy(&fn, &p, sizeof fn);
    fake = fn ? fn() : NULL;
    return fake ? 0 : -1;
}

/* ---- distributions of steps ---- */

static inline bool all_on(TnOp op, uint32_t s, uint32_t n) {
    (void)op, (void)s, (void)n;
    return true;
}

static inline bool some_on(TnOp op, uint32_t s, uint32_t n) {
    (void)n;
    return s % 3 != 1 || (tni_op_info(op)->flags & TN_OPF_STATE);
}

static inline bool others_on(TnOp op, uint32_t s, uint32_t n) {
    (void)n;
    return s % 2 == 1 || (tni_op_info(op)->flags & TN_OPF_STATE);
}

static inline bool first_off(TnOp op, uint32_t s, uint32_t n) {
    (void)op, (void)n;
    return s != 0;
}

static inline bool last_off(TnOp op, uint32_t s, uint32_t n) {
    (void)op;
    return s + 1 != n;
}

static inline bool no_counts(TnOp op, uint32_t s, uint32_t n) {
    (void)s, (void)n;
    return !(tni_op_info(op)->flags & TN_OPF_DATA_SHAPE);
}

/* ---- life ---- */

static inline void convert_session(Session *s, MakeFn make, const char *ranges, OnDeviceFn on, KernelNameFn name) {
    TnError err = {0};
    IrModule *m = make(NULL);
    memset(s, 0, sizeof *s);
    assert_non_null(m);
    if (ranges)
        OK(tni_shape_apply_ranges(m, ranges, &err));
    OK(build_module(m, NULL, false, true, &s->b, &err));
    to_device(&s->b, on, name, &s->bytes, &s->n);
}

static inline void open_converted(Session *s) {
    TnError err = {0};
    OK(open_bytes(s->bytes, s->n, NULL, &s->plan, &err));
    OK(tni_rt_context_create(s->plan, 2, tni_default_allocator(), &s->ctx, &err));
}

static inline void open_device(Session *s, MakeFn make, OnDeviceFn on, KernelNameFn name) {
    convert_session(s, make, NULL, on, name);
    open_converted(s);
}

static inline void close_device(Session *s) {
    tni_rt_context_destroy(&s->ctx);
    if (s->plan)
        tni_rt_close(&s->plan);
    tni_free(NULL, s->bytes);
    built_free(&s->b, NULL);
    assert_int_equal(fake->live, 0);
}

/* ---- running ---- */

/* The outputs that the interpreter makes; freed by free_outputs. */
static inline void interpret(const IrModule *m, TnTensor *inputs, TnTensor *want) {
    TnError err = {0};
    memset(want, 0, 16 * sizeof *want);
    assert_true(m->graphs[0]->n_outputs <= 16);
    OK(tni_interp_run(m, 0, inputs, want, tni_default_allocator(), NULL, NULL, NULL, &err));
}

static inline void free_outputs(const IrModule *m, TnTensor *want) {
    for (uint32_t i = 0; i < m->graphs[0]->n_outputs; i++)
        tni_free(NULL, want[i].data);
}

static inline void compare_outputs(const Session *s, const TnTensor *want, double tol) {
    TnError err = {0};
    for (uint32_t i = 0; i < s->b.m->graphs[0]->n_outputs; i++) {
        TnTensor got;
        OK(tn_context_output(s->ctx, i, &got, &err));
        assert_close(&want[i], &got, tol);
    }
}

static inline void set_inputs(Session *s, const TnTensor *inputs) {
    TnError err = {0};
    for (uint32_t i = 0; i < s->b.m->graphs[0]->n_inputs; i++)
        OK(tn_context_set_input(s->ctx, i, &inputs[i], &err));
}

/* Runs `times` times and compares each time with the interpreter. */
static inline void run_session(Session *s, TnTensor *inputs, uint32_t times) {
    TnError err = {0};
    TnTensor want[16];
    interpret(s->b.m, inputs, want);
    set_inputs(s, inputs);
    for (uint32_t i = 0; i < times; i++) {
        OK(tn_context_run(s->ctx, &err));
        compare_outputs(s, want, 1e-5);
    }
    free_outputs(s->b.m, want);
}

/* y = trilu(x, k) * 2 + x: k is read on the host when the kernel is called. */
static inline IrModule *make_trilu(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "n"), num(&k, 6)), at = input(&k, "k", TN_I64, 0, NULL);
    IrValueId h = NODE(&k, unary, "abs", &(TnUnaryParams){.fn = TN_UNARY_abs}, x);
    h = NODE(&k, trilu, "upper", &(TnTriluParams){.upper = 1}, h, at);
    h = NODE(&k, binary, "twice", ADD, h, h);
    output(&k, NODE(&k, binary, "y", ADD, h, x));
    return finish(&k);
}

#endif
