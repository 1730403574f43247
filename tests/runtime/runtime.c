/* SPDX-License-Identifier: Apache-2.0
 *
 * Modules made by hand, planned, run and compared with the interpreter: every operator of control, shapes known only while running, results
 * that do not depend on threads, memory that is not taken twice, outputs where the user wants them, errors that say what to do. */
#include <pthread.h>

#include "runtime/plan_harness.h"

typedef struct Session {
    Built b;
    TnPlan *plan;
    TnContext *ctx;
} Session;

static void open_session(Session *s, MakeFn make, bool reference, const char *ranges) {
    TnError err = {0};
    IrModule *m = make(NULL);
    assert_non_null(m);
    if (ranges)
        OK(tni_shape_apply_ranges(m, ranges, &err));
    OK(build_module(m, NULL, false, reference, &s->b, &err));
    OK(open_bytes(s->b.bytes, s->b.n, NULL, &s->plan, &err));
    OK(tni_rt_context_create(s->plan, 2, tni_default_allocator(), &s->ctx, &err));
}

static void close_session(Session *s) {
    tni_rt_context_destroy(&s->ctx);
    tni_rt_close(&s->plan);
    built_free(&s->b, NULL);
}

/* ---- against the interpreter ---- */

static void mlp(bool reference) {
    Session s;
    open_session(&s, make_mlp, reference, NULL);
    for (int64_t batch = 1; batch < 40; batch += 7) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){batch, 16}, (uint32_t)batch);
        run_and_compare(s.b.m, s.ctx, &x, 1e-5);
        free(x.data);
    }
    close_session(&s);
}

static void vision(bool reference) {
    Session s;
    open_session(&s, make_vision, reference, NULL);
    for (int64_t batch = 3; batch > 0; batch--) {
        TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){batch, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){batch, 16}, 2)};
        run_and_compare(s.b.m, s.ctx, in, 1e-5);
        free(in[0].data);
        free(in[1].data);
    }
    close_session(&s);
}

static void positions(bool reference) {
    Session s;
    open_session(&s, make_positions, reference, NULL);
    assert_true(s.plan->programs[0].n_kept >= 6);
    for (int64_t n = 1; n < 60; n += 9) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, 6}, (uint32_t)n);
        for (int times = 0; times < 3; times++)
            run_and_compare(s.b.m, s.ctx, &x, 1e-5);
        assert_true(s.ctx->frames[0].kept_done);
        free(x.data);
    }
    close_session(&s);
}

static void dynamic(bool reference) {
    Session s;
    open_session(&s, make_dynamic, reference, NULL);
    for (int64_t n = 1; n < 60; n += 9) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, 6}, (uint32_t)n);
        run_and_compare(s.b.m, s.ctx, &x, 1e-6);
        memset(x.data, 0, tn_tensor_bytes(&x)); /* nothing is found */
        run_and_compare(s.b.m, s.ctx, &x, 1e-6);
        free(x.data);
    }
    close_session(&s);
}

static void control(bool reference) {
    Session s;
    open_session(&s, make_control, reference, NULL);
    for (int64_t trips = 0; trips < 5; trips++) {
        uint8_t flag = trips & 1;
        TnTensor in[3] = {
            make_tensor(TN_F32, 2, (int64_t[]){2 + trips, 4}, 5), {.data = &flag, .dtype = TN_BOOL}, {.data = &trips, .dtype = TN_I64}};
        run_and_compare(s.b.m, s.ctx, in, 1e-6);
        free(in[0].data);
    }
    close_session(&s);
}

static void graphs_agree_with_the_interpreter(void **state) {
    (void)state;
    for (int reference = 0; reference < 2; reference++) {
        mlp(reference);
        vision(reference);
        positions(reference);
        dynamic(reference);
        control(reference);
    }
}

/* ---- threads ---- */

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    open_session(&s, make_vision, false, NULL);
    TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){3, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){3, 16}, 2)};
    static float first[3][8192];
    for (uint32_t threads = 1; threads < 9; threads++) {
        TnContext *ctx;
        OK(tni_rt_context_create(s.plan, threads, tni_default_allocator(), &ctx, &err));
        memcpy(ctx->inputs, in, sizeof in);
        OK(tni_rt_run(ctx, &err));
        for (uint32_t i = 0; i < 3; i++) {
            const TnTensor *t = &ctx->frames[0].t[ctx->frames[0].prog->outputs[i]];
            assert_true(tn_tensor_bytes(t) <= sizeof first[i]);
            if (threads == 1)
                memcpy(first[i], t->data, tn_tensor_bytes(t));
            else
                assert_memory_equal(first[i], t->data, tn_tensor_bytes(t));
        }
        tni_rt_context_destroy(&ctx);
    }
    free(in[0].data);
    free(in[1].data);
    close_session(&s);
}

typedef struct Worker {
    TnPlan *plan;
    const TnTensor *x;
    const float *want;
    size_t bytes;
    bool ok;
} Worker;

static void *work(void *arg) {
    Worker *w = arg;
    TnContext *ctx = NULL;
    w->ok = tni_rt_context_create(w->plan, 2, tni_default_allocator(), &ctx, NULL) == TN_OK;
    for (int i = 0; i < 20 && w->ok; i++) {
        ctx->inputs[0] = *w->x;
        w->ok = tni_rt_run(ctx, NULL) == TN_OK && memcmp(ctx->frames[0].t[ctx->frames[0].prog->outputs[0]].data, w->want, w->bytes) == 0;
    }
    tni_rt_context_destroy(&ctx);
    return NULL;
}

static void contexts_run_at_once(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    Worker w[4];
    pthread_t t[4];
    open_session(&s, make_mlp, false, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){9, 16}, 3);
    s.ctx->inputs[0] = x;
    OK(tni_rt_run(s.ctx, &err));
    const TnTensor *y = &s.ctx->frames[0].t[s.ctx->frames[0].prog->outputs[0]];
    for (int i = 0; i < 4; i++) {
        w[i] = (Worker){s.plan, &x, y->data, tn_tensor_bytes(y), false};
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        assert_true(w[i].ok);
    }
    free(x.data);
    close_session(&s);
}

/* ---- memory ---- */

typedef struct Counter {
    size_t calls, live;
} Counter;

static void *count_alloc(void *ctx, size_t size, size_t align) {
    Counter *c = ctx;
    __atomic_add_fetch(&c->calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&c->live, 1, __ATOMIC_RELAXED);
    return tni_alloc_aligned(NULL, size, align);
}

static void count_free(void *ctx, void *p) {
    Counter *c = ctx;
    __atomic_sub_fetch(&c->live, 1, __ATOMIC_RELAXED);
    tni_free(NULL, p);
}

static void nothing_is_allocated_while_running(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        Session s;
        TnError err = {0};
        Counter c = {0, 0};
        TnAllocator a = {count_alloc, count_free, &c};
        TnContext *ctx;
        open_session(&s, k ? make_dynamic : make_mlp, false, NULL);
        OK(tni_rt_context_create(s.plan, 2, &a, &ctx, &err));
        size_t largest = 0;
        for (int64_t round = 0; round < 3; round++) {
            for (int64_t n = 40; n > 0; n -= 6) {
                TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, k ? 6 : 16}, 7);
                ctx->inputs[0] = x;
                OK(tni_rt_run(ctx, &err));
                free(x.data);
                if (k == 0 && n == 40 && round == 0)
                    largest = c.calls;
            }
            if (round == 0 && k == 1)
                largest = c.calls;
        }
        assert_int_equal(c.calls, largest);
        tni_rt_context_destroy(&ctx);
        assert_int_equal(c.live, 0);
        close_session(&s);
    }
}

static void plans_with_ranges_bring_their_layout(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    open_session(&s, make_vision, false, "batch=1:2:4");
    const PlanProgram *g = s.plan->programs[0].g;
    assert_true(g->arena_bytes > 0 && g->arena_lower_bound > 0 && g->arena_bytes >= g->arena_lower_bound);
    assert_true(g->arena_bytes <= g->arena_lower_bound * 11 / 10);
    for (int64_t batch = 1; batch <= 4; batch++) {
        TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){batch, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){batch, 16}, 2)};
        run_and_compare(s.b.m, s.ctx, in, 1e-5);
        assert_int_equal(s.ctx->frames[0].arena[RT_HOST].total, g->arena_bytes);
        free(in[0].data);
        free(in[1].data);
    }
    TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){9, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){9, 16}, 2)};
    memcpy(s.ctx->inputs, in, sizeof in);
    assert_int_equal(tni_rt_run(s.ctx, &err), TN_ERR_SHAPE);
    assert_string_equal(err.message, "input 'pixels' dim 0 (batch) is 9; this plan was built for 1..4; rebuild with --shapes batch=1:2:9");
    free(in[0].data);
    free(in[1].data);
    close_session(&s);
}

/* ---- outputs ---- */

static void outputs_land_where_they_are_wanted(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    open_session(&s, make_mlp, false, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 3);
    static _Alignas(64) float want[80], direct[80], odd[81];
    s.ctx->inputs[0] = x;
    OK(tni_rt_run(s.ctx, &err));
    const RtFrame *f = &s.ctx->frames[0];
    const TnTensor *y = &f->t[f->prog->outputs[0]];
    memcpy(want, y->data, sizeof want);
    s.ctx->user[0] = (RtUserOut){direct, sizeof direct, false};
    OK(tni_rt_run(s.ctx, &err));
    assert_ptr_equal(y->data, direct); /* computed there */
    assert_memory_equal(want, direct, sizeof want);
    s.ctx->user[0] = (RtUserOut){odd + 1, sizeof want, false};
    OK(tni_rt_run(s.ctx, &err));
    assert_ptr_not_equal(y->data, odd + 1); /* copied */
    assert_memory_equal(want, odd + 1, sizeof want);
    s.ctx->user[0] = (RtUserOut){direct, sizeof want - 4, false};
    assert_int_equal(tni_rt_run(s.ctx, &err), TN_ERR_SHAPE);
    assert_string_equal(err.message, "output 'y' has 320 bytes, its buffer only 316");
    /* Over the input: the result is right, though the input is lost. */
    s.ctx->user[0] = (RtUserOut){x.data, tn_tensor_bytes(&x), false};
    OK(tni_rt_run(s.ctx, &err));
    assert_memory_equal(want, x.data, sizeof want);
    free(x.data);
    close_session(&s);
}

/* ---- errors ---- */

static void wrong_inputs_are_named(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    open_session(&s, make_vision, false, NULL);
    TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){2, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){3, 16}, 2)};
    assert_int_equal(tni_rt_run(s.ctx, &err), TN_ERR_STATE);
    assert_string_equal(err.message, "input 'pixels' has not been set");
    memcpy(s.ctx->inputs, in, sizeof in);
    assert_int_equal(tni_rt_run(s.ctx, &err), TN_ERR_SHAPE);
    assert_string_equal(err.message, "input 'ids' dim 0 is 3, but batch is 2 in an input before it");
    s.ctx->inputs[1].dims[0] = 2;
    ((int64_t *)in[1].data)[5] = 77;
    assert_int_equal(tni_rt_run(s.ctx, &err), TN_ERR_RUN);
    assert_non_null(strstr(err.message, "node 'embed'"));
    assert_string_equal(err.node, "embed");
    ((int64_t *)in[1].data)[5] = 7;
    OK(tni_rt_run(s.ctx, &err));            /* a failed run leaves the context usable */
    s.ctx->inputs[0].data = s.ctx->arena[RT_HOST].p; /* an earlier output as input would be computed over */
    assert_int_equal(tni_rt_run(s.ctx, &err), TN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "lies in this context's own memory"));
    free(in[0].data);
    free(in[1].data);
    close_session(&s);
}

static void loop_that_never_ran_has_empty_scans(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    int64_t trips = 0;
    uint8_t flag = 1;
    open_session(&s, make_control, false, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){2, 4}, 5);
    s.ctx->inputs[0] = x;
    s.ctx->inputs[1] = (TnTensor){.data = &flag, .dtype = TN_BOOL};
    s.ctx->inputs[2] = (TnTensor){.data = &trips, .dtype = TN_I64};
    OK(tni_rt_run(s.ctx, &err));
    const TnTensor *rows = &s.ctx->frames[0].t[s.ctx->frames[0].prog->outputs[1]];
    assert_int_equal(rows->rank, 3);
    assert_int_equal(rows->dims[0], 0);
    free(x.data);
    close_session(&s);
}

typedef struct Seen {
    uint32_t n;
    bool found;
} Seen;

static void see(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t,
                uint64_t ns) {
    Seen *s = ctx;
    (void)step, (void)op, (void)kernel, (void)ns;
    s->n++;
    s->found |= strcmp(node, "norm") == 0 && strcmp(value, "norm") == 0 && t->rank == 2;
}

static void steps_can_be_watched(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    Seen seen = {0, false};
    open_session(&s, make_mlp, false, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 3);
    s.ctx->inputs[0] = x;
    s.ctx->on_step = see;
    s.ctx->on_step_ctx = &seen;
    OK(tni_rt_run(s.ctx, &err));
    assert_int_equal(seen.n, s.plan->programs[0].g->n_steps);
    assert_true(seen.found);
    free(x.data);
    close_session(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_agree_with_the_interpreter),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(contexts_run_at_once),
        cmocka_unit_test(nothing_is_allocated_while_running),
        cmocka_unit_test(plans_with_ranges_bring_their_layout),
        cmocka_unit_test(outputs_land_where_they_are_wanted),
        cmocka_unit_test(wrong_inputs_are_named),
        cmocka_unit_test(loop_that_never_ran_has_empty_scans),
        cmocka_unit_test(steps_can_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
