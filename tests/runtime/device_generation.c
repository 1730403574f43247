/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation on a device whose search runs there too, against the same search on the host: rules, limits, stopping, many beams; that it does not
 * wait for tokens; faults in the middle. */
#include "runtime/device_session.h"

#include "kernel/search.h"

enum { LINES = 7 };

/* A generator with these defaults on both sides. */
typedef struct Pair {
    Session s;
    TnPlan *cpu;
    TnContext *ctx;
} Pair;

static const PlanGeneration *made_with;

static IrModule *make_with(const TnAllocator *a) {
    TnError err = {0};
    IrModule *m = make_generator(a);
    if (m && made_with)
        OK(tni_ir_meta_set(m, PLAN_GENERATION_KEY, made_with, sizeof *made_with, &err));
    return m;
}

static void open_pair(Pair *p, const PlanGeneration *g, OnDeviceFn on) {
    TnError err = {0};
    made_with = g;
    open_device(&p->s, make_with, on, NULL);
    OK(open_bytes(p->s.b.bytes, p->s.b.n, NULL, &p->cpu, &err));
    OK(tni_rt_context_create(p->cpu, 2, tni_default_allocator(), &p->ctx, &err));
}

static void close_pair(Pair *p) {
    tni_rt_context_destroy(&p->ctx);
    tni_rt_close(&p->cpu);
    close_device(&p->s);
}

static TnTensor pictures(int64_t lines, uint32_t seed) {
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){lines, 5, 16}, seed);
    for (int64_t i = 0; i < lines * 80; i++)
        ((float *)x.data)[i] *= 3;
    return x;
}

static void same(const TnGenerated *want, const TnGenerated *got) {
    assert_int_equal(want->n, got->n);
    assert_memory_equal(want->tokens, got->tokens, want->n * sizeof *want->tokens);
    assert_true(fabsf(want->score - got->score) < 1e-4f * (1 + fabsf(want->score)));
    for (uint32_t k = 0; k < want->n; k++)
        assert_true(fabsf(want->log_probs[k] - got->log_probs[k]) < 1e-4f);
}

/* Generates on both sides and compares. */
static void both(Pair *p, const TnTensor *x, const TnGenerateOptions *o) {
    TnError err = {0};
    TnGenerated want[LINES], got[LINES];
    uint32_t lines = (uint32_t)x->dims[0];
    OK(tni_rt_generate(p->ctx, x, 1, o, want, lines, &err));
    OK(tni_rt_generate(p->s.ctx, x, 1, o, got, lines, &err));
    for (uint32_t i = 0; i < lines; i++)
        same(&want[i], &got[i]);
}

static TnGenerateOptions options(uint32_t beams) {
    return (TnGenerateOptions){.size = sizeof(TnGenerateOptions), .num_beams = beams, .length_penalty = NAN, .early_stopping = -1};
}

static void the_device_finds_what_the_host_finds(void **state) {
    (void)state;
    Pair p;
    open_pair(&p, NULL, all_on);
    for (uint32_t beams = 1; beams <= TNS_MAX_BEAMS && beams * 2 <= 20; beams++) {
        for (int64_t lines = 1; lines <= LINES; lines += 2) {
            TnTensor x = pictures(lines, 11 + beams);
            TnGenerateOptions o = options(beams);
            for (uint32_t length = 2; length < 10; length += 3) {
                o.max_length = length;
                for (int32_t early = 0; early < 3; early++) {
                    o.early_stopping = early;
                    o.length_penalty = (float)early - 0.5f;
                    both(&p, &x, &o);
                }
            }
            free(x.data);
        }
    }
    assert_non_null(p.s.ctx->device->search);
    close_pair(&p);
}

static void rules_are_the_same(void **state) {
    (void)state;
    for (uint32_t k = 0; k < 48; k++) {
        Pair p;
        PlanGeneration g = tiny_generation();
        g.no_repeat_ngram = k % 4;
        g.repetition_penalty = k & 4 ? 1.7f : 1;
        g.forced_bos_id = k & 8 ? 5 : -1;
        g.forced_eos_id = k & 16 ? 2 : -1;
        g.min_new_tokens = k % 5;
        g.n_eos = k % 3;
        g.eos_id[1] = 7;
        open_pair(&p, &g, all_on);
        TnTensor x = pictures(LINES, k);
        for (uint32_t beams = 1; beams < 6; beams += 2) {
            TnGenerateOptions o = options(beams);
            both(&p, &x, &o);
            o.min_new_tokens = 6;
            both(&p, &x, &o);
        }
        free(x.data);
        close_pair(&p);
    }
}

static void tokens_are_not_waited_for(void **state) {
    (void)state;
    Pair p;
    TnError err = {0};
    PlanGeneration g = tiny_generation();
    g.n_eos = 0; /* runs to the end */
    open_pair(&p, &g, all_on);
    TnTensor x = pictures(LINES, 3);
    TnGenerated r[LINES];
    for (uint32_t beams = 1; beams < 4; beams += 2) {
        TnGenerateOptions o = options(beams);
        for (uint32_t i = 0; i < 3; i++)
            both(&p, &x, &o);
        uint64_t waits = fake->waits, launched = p.s.ctx->device->n_launched, captured = p.s.ctx->device->n_captured, down = fake->downloaded;
        OK(tni_rt_generate(p.s.ctx, &x, 1, &o, r, LINES, &err));
        assert_int_equal(r[0].n, 9);
        assert_int_equal(p.s.ctx->device->n_launched - launched, 1 + 8); /* encoder, a decoder a token */
        assert_int_equal(p.s.ctx->device->n_captured, captured);
        assert_true(fake->waits - waits <= 3); /* encoder, result */
        assert_true(fake->downloaded - down < 16384);
    }
    free(x.data);
    close_pair(&p);
}

static void it_stops_when_all_lines_have(void **state) {
    (void)state;
    Pair p;
    TnError err = {0};
    PlanGeneration g = tiny_generation();
    TnGenerated r[LINES];
    g.forced_bos_id = 2; /* the stop token comes first */
    open_pair(&p, &g, all_on);
    TnTensor x = pictures(LINES, 3);
    TnGenerateOptions o = options(1);
    for (uint32_t i = 0; i < 3; i++)
        both(&p, &x, &o);
    uint64_t launched = p.s.ctx->device->n_launched;
    OK(tni_rt_generate(p.s.ctx, &x, 1, &o, r, LINES, &err));
    assert_int_equal(r[0].n, 2);
    assert_true(p.s.ctx->device->n_launched - launched <= 1 + 4);
    free(x.data);
    close_pair(&p);
}

/* What the device's kernels cannot do, and what has no graph, is searched by the host. */
static void the_host_searches_when_it_must(void **state) {
    (void)state;
    Pair p;
    open_pair(&p, NULL, all_on);
    TnTensor x = pictures(2, 3);
    TnGenerateOptions o = options(TNS_MAX_BEAMS + 1);
    both(&p, &x, &o);
    assert_null(p.s.ctx->device->search);
    o = options(2);
    both(&p, &x, &o);
    assert_non_null(p.s.ctx->device->search);
    free(x.data);
    close_pair(&p);
}

static void pictures_can_be_on_the_device(void **state) {
    (void)state;
    Pair p;
    TnError err = {0};
    TnGenerated want[LINES], got[LINES];
    open_pair(&p, NULL, all_on);
    TnTensor x = pictures(LINES, 9), there = x;
    TnGenerateOptions o = options(2);
    OK(tn_context_generate(p.ctx, &x, 1, &o, want, LINES, &err));
    OK(tn_device_alloc(p.s.plan, tn_tensor_bytes(&x), &there.data, &err));
    OK(tn_device_write(p.s.ctx, there.data, x.data, tn_tensor_bytes(&x), &err));
    o.inputs_on_device = 1;
    for (uint32_t i = 0; i < 3; i++) {
        OK(tn_context_generate(p.s.ctx, &there, 1, &o, got, LINES, &err));
        for (uint32_t k = 0; k < LINES; k++)
            same(&want[k], &got[k]);
    }
    assert_int_equal(tn_context_generate(p.s.ctx, &x, 1, &o, got, LINES, &err), TN_ERR_ARGUMENT);
    assert_int_equal(tn_context_generate(p.ctx, &x, 1, &o, got, LINES, &err), TN_ERR_REQUEST);
    tn_device_free(p.s.plan, there.data);
    free(x.data);
    close_pair(&p);
}

/* Every call fails once: a status, nothing lost. */
static void failures_in_the_middle(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    TnGenerated r[LINES];
    made_with = NULL;
    convert_session(&s, make_with, NULL, all_on, NULL);
    TnTensor x = pictures(LINES, 5);
    TnGenerateOptions o = options(3);
    bool failed[2] = {true, true};
    for (uint64_t k = 0; failed[0] || failed[1]; k++) {
        for (int memory = 0; memory < 2; memory++) {
            if (!failed[memory])
                continue;
            open_converted(&s);
            fake->n_call = fake->n_alloc = 0;
            *(memory ? &fake->fail_alloc : &fake->fail_call) = k;
            TnStatus st = tni_rt_generate(s.ctx, &x, 1, &o, r, LINES, &err);
            failed[memory] = (memory ? fake->n_alloc : fake->n_call) > k;
            fake->fail_alloc = fake->fail_call = UINT64_MAX;
            if (st != TN_OK)
                assert_int_equal(st, memory ? TN_ERR_MEMORY : TN_ERR_DEVICE);
            st = tni_rt_generate(s.ctx, &x, 1, &o, r, LINES, &err);
            assert_true(st == TN_OK || (!memory && st == TN_ERR_DEVICE));
            tni_rt_context_destroy(&s.ctx);
            tni_rt_close(&s.plan);
            assert_int_equal(fake->live, 0);
        }
        assert_true(k < 1000);
    }
    free(x.data);
    close_device(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_finds_what_the_host_finds),
        cmocka_unit_test(rules_are_the_same),
        cmocka_unit_test(tokens_are_not_waited_for),
        cmocka_unit_test(it_stops_when_all_lines_have),
        cmocka_unit_test(the_host_searches_when_it_must),
        cmocka_unit_test(pictures_can_be_on_the_device),
        cmocka_unit_test(failures_in_the_middle),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
