/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans for a device against the interpreter: every distribution of steps between host and device, step by step and as graphs; tensors that stay
 * on the device; streams of the caller; packed constants and generated code; what is watched; generation. */
#include <pthread.h>

#include "runtime/device_session.h"

/* ---- against the interpreter ---- */

static const OnDeviceFn distributions[] = {all_on, some_on, others_on, first_off, last_off, no_counts};

static void mlp(OnDeviceFn on) {
    Session s;
    open_device(&s, make_mlp, on, NULL);
    for (int64_t batch = 1; batch < 40; batch += 7) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){batch, 16}, (uint32_t)batch);
        run_session(&s, &x, 4);
        free(x.data);
    }
    close_device(&s);
}

static void vision(OnDeviceFn on) {
    Session s;
    open_device(&s, make_vision, on, NULL);
    for (int64_t batch = 3; batch > 0; batch--) {
        TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){batch, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){batch, 16}, 2)};
        run_session(&s, in, 4);
        free(in[0].data);
        free(in[1].data);
    }
    close_device(&s);
}

static void dynamic(OnDeviceFn on) {
    Session s;
    open_device(&s, make_dynamic, on, NULL);
    for (int64_t n = 1; n < 60; n += 9) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, 6}, (uint32_t)n);
        run_session(&s, &x, 3);
        memset(x.data, 0, tn_tensor_bytes(&x)); /* nothing is found */
        run_session(&s, &x, 3);
        free(x.data);
    }
    close_device(&s);
}

static void control(OnDeviceFn on) {
    Session s;
    open_device(&s, make_control, on, NULL);
    for (int64_t trips = 0; trips < 5; trips++) {
        uint8_t flag = trips & 1;
        TnTensor in[3] = {
            make_tensor(TN_F32, 2, (int64_t[]){2 + trips, 4}, 5), {.data = &flag, .dtype = TN_BOOL}, {.data = &trips, .dtype = TN_I64}};
        run_session(&s, in, 3);
        free(in[0].data);
    }
    close_device(&s);
}

static void every_distribution_agrees_with_the_interpreter(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(distributions); i++) {
        mlp(distributions[i]);
        vision(distributions[i]);
        dynamic(distributions[i]);
        control(distributions[i]);
    }
}

/* ---- graphs ---- */

static void programs_become_graphs(void **state) {
    (void)state;
    static const struct {
        OnDeviceFn on;
        bool graph;
    } cases[] = {{all_on, true}, {first_off, true}, {last_off, true}, {some_on, false}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        Session s;
        open_device(&s, make_mlp, cases[i].on, NULL);
        assert_int_equal(s.plan->programs[0].graph, cases[i].graph);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), y = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 2);
        run_session(&s, &x, 2);
        uint64_t launches = fake->launches;
        run_session(&s, &x, 3);
        run_session(&s, &y, 2); /* other contents, other host memory: the same graph */
        assert_int_equal(s.ctx->device->n_captured, cases[i].graph ? 1 : 0);
        assert_int_equal(s.ctx->device->n_launched, cases[i].graph ? 6 : 0);
        if (cases[i].on == all_on) /* input, graph, output */
            assert_int_equal(fake->launches - launches, 5 * 3);
        free(x.data);
        free(y.data);
        close_device(&s);
    }
}

/* Kernels of a run without what depends on shapes alone: y's two; new shapes run the rest again, and so do old ones that come back. */
static void what_depends_on_shapes_alone_runs_once(void **state) {
    (void)state;
    for (size_t on = 0; on < 2; on++) {
        Session s;
        open_device(&s, make_positions, on ? some_on : all_on, NULL);
        assert_true(s.plan->programs[0].n_kept >= (on ? 1u : 6u)); /* results that come to the host are not kept */
        for (uint32_t round = 0; round < 3; round++) {
            for (int64_t n = 3; n < 40; n = n * 2 + 1) {
                TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, 6}, (uint32_t)n), z = make_tensor(TN_F32, 2, (int64_t[]){n, 6}, 99);
                uint64_t before = fake->kernels;
                run_session(&s, &x, 1);
                uint64_t first = fake->kernels - before;
                before = fake->kernels;
                run_session(&s, &x, 2);
                run_session(&s, &z, 2);
                if (!on) {
                    assert_int_equal(fake->kernels - before, 4 * 2);
                    assert_true(first >= 2 + 5);
                }
                free(x.data);
                free(z.data);
            }
        }
        close_device(&s);
    }
}

static void graphs_are_kept_for_a_few_shapes(void **state) {
    (void)state;
    Session s;
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x[12];
    for (uint32_t i = 0; i < 12; i++)
        x[i] = make_tensor(TN_F32, 2, (int64_t[]){12 - i, 16}, i);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < RT_MAX_GRAPHS; i++)
            run_session(&s, &x[i], 1);
    assert_int_equal(s.ctx->device->n_captured, RT_MAX_GRAPHS);
    assert_int_equal(s.ctx->device->n_launched, 2 * RT_MAX_GRAPHS);
    for (uint32_t i = 0; i < 12; i++) /* the last four push the oldest out */
        run_session(&s, &x[i], 3);
    run_session(&s, &x[11], 1);
    assert_int_equal(s.ctx->device->n_captured, RT_MAX_GRAPHS + 4);
    run_session(&s, &x[0], 2);
    assert_int_equal(s.ctx->device->n_captured, RT_MAX_GRAPHS + 5);
    TnTensor large = make_tensor(TN_F32, 2, (int64_t[]){100, 16}, 3); /* addresses change: nothing that was captured may be used again */
    run_session(&s, &large, 3);
    uint64_t captured = s.ctx->device->n_captured;
    run_session(&s, &x[1], 3);
    assert_int_equal(s.ctx->device->n_captured, captured + 1);
    for (uint32_t i = 0; i < 12; i++)
        free(x[i].data);
    free(large.data);
    close_device(&s);
}

/* What a kernel reads on the host when it is called is part of what a graph is for. */
static void graphs_know_what_kernels_read_on_the_host(void **state) {
    (void)state;
    Session s;
    open_device(&s, make_trilu, all_on, NULL);
    assert_true(s.plan->programs[0].graph);
    int64_t at = 0;
    TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){5, 6}, 1), {.data = &at, .dtype = TN_I64}};
    for (uint32_t round = 0; round < 3; round++)
        for (at = -3; at < 3; at++)
            run_session(&s, in, 1);
    assert_int_equal(s.ctx->device->n_captured, 6);
    assert_int_equal(s.ctx->device->n_launched, 12);
    free(in[0].data);
    close_device(&s);
}

static void warming_leaves_nothing_to_be_made(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    open_device(&s, make_vision, all_on, NULL);
    TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){2, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){2, 16}, 2)};
    set_inputs(&s, in);
    OK(tn_context_warm(s.ctx, &err));
    uint64_t allocations = fake->n_alloc, captured = s.ctx->device->n_captured, launched = s.ctx->device->n_launched;
    assert_int_equal(captured, 1);
    run_session(&s, in, 3);
    assert_int_equal(fake->n_alloc, allocations);
    assert_int_equal(s.ctx->device->n_captured, captured);
    assert_int_equal(s.ctx->device->n_launched, launched + 3);
    free(in[0].data);
    free(in[1].data);
    close_device(&s);
}

static void what_cannot_be_captured_runs_step_by_step(void **state) {
    (void)state;
    Session s;
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1);
    fake->n_capture = 0;
    fake->fail_capture = 0;
    run_session(&s, &x, 5);
    fake->fail_capture = UINT64_MAX;
    assert_int_equal(fake->n_capture, 1);
    assert_int_equal(s.ctx->device->n_launched, 0);
    free(x.data);
    close_device(&s);
}

/* ---- input and output on the device ---- */

static TnTensor upload(Session *s, const TnTensor *t) {
    TnError err = {0};
    TnTensor d = *t;
    OK(tn_device_alloc(s->plan, tn_tensor_bytes(t), &d.data, &err));
    OK(tn_device_write(s->ctx, d.data, t->data, tn_tensor_bytes(t), &err));
    return d;
}

static void compare_there(Session *s, uint32_t i, const TnTensor *want) {
    TnError err = {0};
    TnTensor got;
    assert_true(tn_context_output_on_device(s->ctx, i));
    OK(tn_context_output(s->ctx, i, &got, &err));
    void *copy = malloc(tn_tensor_bytes(&got) + 1);
    OK(tn_device_read(s->ctx, copy, got.data, tn_tensor_bytes(&got), &err));
    got.data = copy;
    assert_close(want, &got, 1e-5);
    free(copy);
}

static void tensors_can_stay_on_the_device(void **state) {
    (void)state;
    for (size_t k = 0; k < 4; k++) { /* also when the host has a part in it */
        Session s;
        TnError err = {0};
        TnTensor want[16];
        open_device(&s, make_mlp, (const OnDeviceFn[]){all_on, some_on, first_off, last_off}[k], NULL);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1);
        interpret(s.b.m, &x, want);
        TnTensor there = upload(&s, &x), out = want[0];
        OK(tn_device_alloc(s.plan, tn_tensor_bytes(&out), &out.data, &err));
        OK(tn_context_bind_input_device(s.ctx, 0, &there, &err));
        OK(tn_context_bind_output_device(s.ctx, 0, &out, tn_tensor_bytes(&out), &err));
        for (uint32_t i = 0; i < 4; i++) {
            OK(tn_context_run_async(s.ctx, &err));
            OK(tn_context_synchronize(s.ctx, &err));
            compare_there(&s, 0, &want[0]);
        }
        if (k == 0) { /* nothing goes over the bus, and the result is computed in place */
            uint64_t up = fake->uploaded, down = fake->downloaded, launches = fake->launches;
            OK(tn_context_run(s.ctx, &err));
            assert_int_equal(fake->uploaded, up);
            assert_int_equal(fake->downloaded, down);
            assert_int_equal(fake->launches, launches + 1);
        }
        OK(tn_context_bind_output_device(s.ctx, 0, &out, tn_tensor_bytes(&out) - 4, &err));
        assert_int_equal(tn_context_run(s.ctx, &err), TN_ERR_SHAPE);
        OK(tn_context_bind_output_device(s.ctx, 0, NULL, 0, &err)); /* in the context's memory */
        OK(tn_context_run(s.ctx, &err));
        if (tn_context_output_on_device(s.ctx, 0))
            compare_there(&s, 0, &want[0]);
        OK(tn_context_set_output(s.ctx, 0, NULL, 0, &err));
        run_session(&s, &x, 2); /* and back */
        tn_device_free(s.plan, there.data);
        tn_device_free(s.plan, out.data);
        free(x.data);
        free_outputs(s.b.m, want);
        close_device(&s);
    }
}

static void outputs_go_to_buffers_of_the_host(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    TnTensor want[16], got;
    static float buffer[81];
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), to = {.data = buffer + 1, .dtype = TN_F32};
    interpret(s.b.m, &x, want);
    OK(tn_context_set_input(s.ctx, 0, &x, &err));
    OK(tn_context_set_output(s.ctx, 0, &to, sizeof buffer - 4, &err));
    OK(tn_context_run(s.ctx, &err));
    OK(tn_context_output(s.ctx, 0, &got, &err));
    assert_ptr_equal(got.data, buffer + 1);
    assert_close(&want[0], &got, 1e-5);
    OK(tn_context_set_output(s.ctx, 0, &to, 316, &err));
    assert_int_equal(tn_context_run(s.ctx, &err), TN_ERR_SHAPE);
    assert_string_equal(err.message, "output 'y' has 320 bytes, its buffer only 316");
    free(x.data);
    free_outputs(s.b.m, want);
    close_device(&s);
}

static void wrong_memory_is_refused(void **state) {
    (void)state;
    Session s, cpu;
    TnError err = {0};
    TnTensor got;
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1);
    assert_int_equal(tn_context_bind_input_device(s.ctx, 0, &x, &err), TN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "is not memory of fake device"));
    assert_int_equal(tn_context_bind_output_device(s.ctx, 0, &x, 400, &err), TN_ERR_ARGUMENT);
    OK(tn_context_set_input(s.ctx, 0, &x, &err));
    OK(tn_context_bind_output_device(s.ctx, 0, NULL, 0, &err));
    OK(tn_context_run(s.ctx, &err));
    OK(tn_context_output(s.ctx, 0, &got, &err));
    got.rank = 2;
    got.dims[0] = 5;
    got.dims[1] = 16;
    OK(tn_context_bind_input_device(s.ctx, 0, &got, &err)); /* would be computed over */
    assert_int_equal(tn_context_run(s.ctx, &err), TN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "own memory"));
    close_device(&s);
    memset(&cpu, 0, sizeof cpu);
    OK(build_module(make_mlp(NULL), NULL, false, false, &cpu.b, &err));
    OK(open_bytes(cpu.b.bytes, cpu.b.n, NULL, &cpu.plan, &err));
    OK(tni_rt_context_create(cpu.plan, 1, tni_default_allocator(), &cpu.ctx, &err));
    assert_int_equal(tn_context_bind_input_device(cpu.ctx, 0, &x, &err), TN_ERR_REQUEST);
    assert_int_equal(tn_context_set_stream(cpu.ctx, NULL, &err), TN_ERR_REQUEST);
    OK(tn_context_set_input(cpu.ctx, 0, &x, &err));
    OK(tn_context_run_async(cpu.ctx, &err));
    OK(tn_context_synchronize(cpu.ctx, &err));
    OK(tn_context_output(cpu.ctx, 0, &got, &err));
    assert_int_equal(tn_context_device_bytes(cpu.ctx), 0);
    free(x.data);
    close_device(&cpu);
}

/* Enqueued, and waited for when the caller likes; the next run waits for the one before. */
static void runs_can_be_waited_for_later(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), want[16];
    OK(tn_context_set_input(s.ctx, 0, &x, &err));
    for (uint32_t i = 0; i < 5; i++) {
        ((float *)x.data)[i] += 1;
        interpret(s.b.m, &x, want);
        OK(tn_context_run_async(s.ctx, &err));
        if (i % 2)
            OK(tn_context_run_async(s.ctx, &err));
        assert_int_equal(tn_context_output(s.ctx, 0, &(TnTensor){0}, &err), TN_ERR_STATE);
        OK(tn_context_synchronize(s.ctx, &err));
        compare_outputs(&s, want, 1e-5);
        free_outputs(s.b.m, want);
    }
    free(x.data);
    close_device(&s);
}

static void streams_of_the_caller(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    int stream;
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1);
    run_session(&s, &x, 1);
    OK(tn_context_set_stream(s.ctx, &stream, &err));
    run_session(&s, &x, 3);
    assert_int_equal(s.ctx->device->n_captured, 1); /* on the context's own stream: the fake device refuses others */
    OK(tn_context_set_stream(s.ctx, NULL, &err));
    run_session(&s, &x, 2);
    assert_int_equal(s.ctx->device->n_captured, 1);
    free(x.data);
    close_device(&s);
}

typedef struct Worker {
    Session *s;
    const TnTensor *x, *want;
    bool ok;
} Worker;

static void *work(void *arg) {
    Worker *w = arg;
    TnContext *ctx = NULL;
    TnTensor got;
    w->ok = tni_rt_context_create(w->s->plan, 1, tni_default_allocator(), &ctx, NULL) == TN_OK;
    for (int i = 0; i < 20 && w->ok; i++) {
        w->ok = tn_context_set_input(ctx, 0, w->x, NULL) == TN_OK && tn_context_run(ctx, NULL) == TN_OK &&
                tn_context_output(ctx, 0, &got, NULL) == TN_OK && memcmp(got.data, w->want->data, tn_tensor_bytes(&got)) == 0;
    }
    tni_rt_context_destroy(&ctx);
    return NULL;
}

static void contexts_run_at_once(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    TnTensor got;
    Worker w[4];
    pthread_t t[4];
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){9, 16}, 3);
    run_session(&s, &x, 1);
    OK(tn_context_output(s.ctx, 0, &got, &err));
    for (int i = 0; i < 4; i++) {
        w[i] = (Worker){&s, &x, &got, false};
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        assert_true(w[i].ok);
    }
    free(x.data);
    close_device(&s);
}

/* ---- constants and code ---- */

static const char *packed_and_generated(TnOp op, uint32_t s) {
    (void)s;
    return op == TN_OP_gemm ? "fake_packed_gemm" : op == TN_OP_unary ? "fake_code_unary" : op == TN_OP_softmax ? "fake_small_softmax" : NULL;
}

static void constants_are_packed_and_code_is_loaded(void **state) {
    (void)state;
    for (uint32_t arch = 90; arch < 111; arch += 10) { /* the binary's own; others compile the source */
        Session s;
        fake->arch = arch;
        uint64_t modules = fake->modules;
        open_device(&s, make_mlp, all_on, packed_and_generated);
        assert_int_equal(fake->modules, modules + 1);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){3, 16}, 1), more = make_tensor(TN_F32, 2, (int64_t[]){9, 16}, 1);
        run_session(&s, &x, 3);
        run_session(&s, &more, 3); /* the softmax that was chosen cannot do it: another does */
        free(x.data);
        free(more.data);
        close_device(&s);
    }
    fake->arch = 90;
}

/* ---- watching ---- */

typedef struct Seen {
    uint32_t n;
    bool found;
    double sum;
} Seen;

static void see(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t,
                uint64_t ns) {
    Seen *s = ctx;
    (void)step, (void)op, (void)kernel, (void)ns;
    s->n++;
    s->found |= strcmp(node, "norm") == 0 && strcmp(value, "norm") == 0 && t->rank == 2;
    for (int64_t i = 0; t->dtype == TN_F32 && i < tn_tensor_numel(t); i++) /* can be read */
        s->sum += (double)((const float *)t->data)[i];
}

static void steps_can_be_watched(void **state) {
    (void)state;
    for (size_t k = 0; k < TN_COUNT(distributions); k++) {
        Session s;
        Seen seen = {0, false, 0};
        open_device(&s, make_mlp, distributions[k], NULL);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 3);
        run_session(&s, &x, 2);
        tn_context_on_step(s.ctx, see, &seen);
        run_session(&s, &x, 1);
        assert_int_equal(seen.n, s.plan->programs[0].g->n_steps);
        assert_true(seen.found && isfinite(seen.sum));
        tn_context_on_step(s.ctx, NULL, NULL);
        run_session(&s, &x, 1);
        free(x.data);
        close_device(&s);
    }
}

static void count_profile(void *ctx, const TnStepProfile *p) {
    Seen *s = ctx;
    s->n++;
    s->found |= strcmp(p->node_name, "fc1") == 0 && p->flops == 2.0 * 5 * 16 * 48 && p->bytes == 4 * (5 * 16 + 16 * 48 + 48 + 5 * 48) &&
                strcmp(p->shapes, "[5,16] [16,48] [48] -> [5,48]") == 0 && p->ns > 0;
    s->sum += (double)p->ns;
}

static void steps_can_be_timed(void **state) {
    (void)state;
    for (size_t k = 0; k < TN_COUNT(distributions); k++) {
        Session s;
        TnError err = {0};
        Seen seen = {0, false, 0};
        open_device(&s, make_mlp, distributions[k], NULL);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 3);
        run_session(&s, &x, 3);
        OK(tn_context_profile(s.ctx, 5, count_profile, &seen, &err));
        uint32_t views = 0;
        for (uint32_t i = 0; i < s.plan->programs[0].g->n_steps; i++)
            views += s.ctx->frames[0].calls[i].skip;
        assert_int_equal(seen.n, s.plan->programs[0].g->n_steps - views);
        assert_true(seen.found);
        run_session(&s, &x, 1);
        free(x.data);
        close_device(&s);
    }
}

/* ---- generation ---- */

enum { LINES = 5 };

static void generation_agrees_with_the_cpu(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    TnPlan *cpu;
    TnContext *ctx;
    open_device(&s, make_generator, all_on, NULL);
    OK(open_bytes(s.b.bytes, s.b.n, NULL, &cpu, &err));
    OK(tni_rt_context_create(cpu, 2, tni_default_allocator(), &ctx, &err));
    for (uint32_t beams = 1; beams < 4; beams++) {
        for (uint32_t round = 0; round < 3; round++) {
            TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){LINES, 5, 16}, 11 + round);
            TnGenerated want[LINES], got[LINES];
            TnGenerateOptions o = {.size = sizeof o, .num_beams = beams, .length_penalty = NAN, .early_stopping = -1};
            for (int64_t i = 0; i < LINES * 80; i++)
                ((float *)x.data)[i] *= 3;
            OK(tni_rt_generate(ctx, &x, 1, &o, want, LINES, &err));
            OK(tni_rt_generate(s.ctx, &x, 1, &o, got, LINES, &err));
            for (uint32_t i = 0; i < LINES; i++) {
                assert_int_equal(want[i].n, got[i].n);
                assert_memory_equal(want[i].tokens, got[i].tokens, want[i].n * sizeof *want[i].tokens);
                assert_true(fabsf(want[i].score - got[i].score) < 1e-4f);
                for (uint32_t p = 0; p < want[i].n; p++)
                    assert_true(fabsf(want[i].log_probs[p] - got[i].log_probs[p]) < 1e-4f);
            }
            free(x.data);
        }
    }
    assert_true(s.ctx->device->n_launched > 0);
    tni_rt_context_destroy(&ctx);
    tni_rt_close(&cpu);
    close_device(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_distribution_agrees_with_the_interpreter),
        cmocka_unit_test(programs_become_graphs),
        cmocka_unit_test(what_depends_on_shapes_alone_runs_once),
        cmocka_unit_test(graphs_are_kept_for_a_few_shapes),
        cmocka_unit_test(graphs_know_what_kernels_read_on_the_host),
        cmocka_unit_test(warming_leaves_nothing_to_be_made),
        cmocka_unit_test(what_cannot_be_captured_runs_step_by_step),
        cmocka_unit_test(tensors_can_stay_on_the_device),
        cmocka_unit_test(outputs_go_to_buffers_of_the_host),
        cmocka_unit_test(wrong_memory_is_refused),
        cmocka_unit_test(runs_can_be_waited_for_later),
        cmocka_unit_test(streams_of_the_caller),
        cmocka_unit_test(contexts_run_at_once),
        cmocka_unit_test(constants_are_packed_and_code_is_loaded),
        cmocka_unit_test(steps_can_be_watched),
        cmocka_unit_test(steps_can_be_timed),
        cmocka_unit_test(generation_agrees_with_the_cpu),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
