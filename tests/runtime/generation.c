/* SPDX-License-Identifier: Apache-2.0
 *
 * The generation loop on a tiny encoder-decoder: batches against single lines, one beam against greedy, finished lines that leave, an
 * exhaustive search as the oracle of beams, rules and limits. (tests/hf compares whole checkpoints with transformers.) */
#include "runtime/plan_harness.h"

typedef struct Session {
    Built b;
    TnPlan *plan;
    TnContext *ctx;
} Session;

static void open_session(Session *s, const PlanGeneration *g, const char *ranges) {
    TnError err = {0};
    IrModule *m = make_generator(NULL);
    assert_non_null(m);
    if (g)
        OK(tni_ir_meta_set(m, PLAN_GENERATION_KEY, g, sizeof *g, &err));
    if (ranges)
        OK(tni_shape_apply_ranges(m, ranges, &err));
    OK(build_module(m, NULL, false, false, &s->b, &err));
    OK(open_bytes(s->b.bytes, s->b.n, NULL, &s->plan, &err));
    assert_non_null(s->plan->gen);
    OK(tni_rt_context_create(s->plan, 2, tni_default_allocator(), &s->ctx, &err));
}

static void close_session(Session *s) {
    tni_rt_context_destroy(&s->ctx);
    tni_rt_close(&s->plan);
    built_free(&s->b, NULL);
}

static TnGenerateOptions options(uint32_t beams, uint32_t length) {
    return (TnGenerateOptions){
        .size = sizeof(TnGenerateOptions), .max_length = length, .num_beams = beams, .length_penalty = NAN, .early_stopping = -1};
}

/* A result that outlives the context's next call. */
typedef struct Kept {
    int32_t tokens[16];
    float log_probs[16];
    uint32_t n;
    float score;
} Kept;

static void keep(Kept *k, const TnGenerated *g) {
    assert_true(g->n <= 16);
    memcpy(k->tokens, g->tokens, g->n * sizeof *g->tokens);
    memcpy(k->log_probs, g->log_probs, g->n * sizeof *g->log_probs);
    k->n = g->n;
    k->score = g->score;
}

enum { LINES = 7 };

static void generate(Session *s, const TnTensor *x, int64_t first, int64_t n, const TnGenerateOptions *o, Kept *out) {
    TnError err = {0};
    TnGenerated g[LINES];
    TnTensor part = *x;
    part.data = (float *)x->data + first * 80;
    part.dims[0] = n;
    OK(tni_rt_generate(s->ctx, &part, 1, o, g, (uint32_t)n, &err));
    for (int64_t i = 0; i < n; i++)
        keep(&out[i], &g[i]);
}

static void same(const Kept *a, const Kept *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->tokens, b->tokens, a->n * sizeof *a->tokens);
    for (uint32_t i = 0; i < a->n; i++)
        assert_true(fabsf(a->log_probs[i] - b->log_probs[i]) < 1e-4f);
    assert_true(fabsf(a->score - b->score) < 1e-4f);
}

static void lines_do_not_depend_on_their_batch(void **state) {
    (void)state;
    Session s;
    open_session(&s, NULL, NULL);
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){LINES, 5, 16}, 11);
    for (int64_t i = 0; i < LINES * 80; i++)
        ((float *)x.data)[i] *= 3;
    for (uint32_t beams = 1; beams <= 4; beams++) {
        Kept all[LINES], one;
        TnGenerateOptions o = options(beams, 0);
        uint32_t shortest = 99, longest = 0;
        generate(&s, &x, 0, LINES, &o, all);
        for (int64_t i = 0; i < LINES; i++) {
            generate(&s, &x, i, 1, &o, &one);
            same(&all[i], &one);
            assert_int_equal(one.tokens[0], 0);
            assert_true(one.n >= 2 && one.n <= 9 && (one.n == 9 || one.tokens[one.n - 1] == 2));
            shortest = TN_MIN(shortest, one.n);
            longest = TN_MAX(longest, one.n);
        }
        assert_true(beams > 1 || shortest < longest); /* lines do finish at different steps */
    }
    free(x.data);
    close_session(&s);
}

static void greedy_scores_are_sums(void **state) {
    (void)state;
    Session s;
    Kept k[LINES];
    open_session(&s, NULL, NULL);
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){LINES, 5, 16}, 12);
    TnGenerateOptions o = options(1, 0);
    generate(&s, &x, 0, LINES, &o, k);
    for (int i = 0; i < LINES; i++) {
        float sum = 0;
        for (uint32_t p = 0; p < k[i].n; p++) {
            assert_true(p == 0 ? k[i].log_probs[0] == 0 : k[i].log_probs[p] < 0);
            sum += k[i].log_probs[p];
        }
        assert_true(fabsf(sum - k[i].score) < 1e-4f);
    }
    free(x.data);
    close_session(&s);
}

/* With as many beams as there are prefixes, beam search is exhaustive: its answer for 3 tokens is the best of all 20 * 20 continuations,
 * found here with greedy calls that are forced to start with each token. */
static void beams_find_the_best(void **state) {
    (void)state;
    Session s, forced;
    Kept best, k, wide;
    PlanGeneration g = tiny_generation();
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){1, 5, 16}, 13);
    TnGenerateOptions o = options(20, 3);
    g.length_penalty = 0;
    g.n_eos = 0;
    open_session(&s, &g, NULL);
    generate(&s, &x, 0, 1, &o, &wide);
    best.score = -1e30f;
    o = options(1, 3);
    for (int32_t t = 0; t < 20; t++) {
        g.forced_bos_id = t;
        open_session(&forced, &g, NULL);
        generate(&forced, &x, 0, 1, &o, &k);
        assert_int_equal(k.tokens[1], t);
        if (k.score > best.score)
            best = k;
        close_session(&forced);
    }
    same(&best, &wide);
    free(x.data);
    close_session(&s);
}

static void rules_are_obeyed(void **state) {
    (void)state;
    Session s;
    Kept k[LINES];
    PlanGeneration g = tiny_generation();
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){LINES, 5, 16}, 14);
    TnGenerateOptions o = options(1, 0);
    g.no_repeat_ngram = 1;
    open_session(&s, &g, NULL);
    o.min_new_tokens = 6;
    for (uint32_t beams = 1; beams < 4; beams += 2) {
        o.num_beams = beams;
        generate(&s, &x, 0, LINES, &o, k);
        for (int i = 0; i < LINES; i++) {
            assert_true(k[i].n >= 7);
            for (uint32_t p = 1; p < k[i].n; p++)
                for (uint32_t q = 0; q < p; q++)
                    assert_int_not_equal(k[i].tokens[p], k[i].tokens[q]);
        }
    }
    close_session(&s);
    g = tiny_generation();
    g.forced_eos_id = 2;
    g.repetition_penalty = 50;
    open_session(&s, &g, NULL);
    o = options(1, 5);
    generate(&s, &x, 0, LINES, &o, k);
    for (int i = 0; i < LINES; i++)
        assert_int_equal(k[i].tokens[k[i].n - 1], 2);
    free(x.data);
    close_session(&s);
}

static void limits_are_named(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    TnGenerated r[LINES];
    open_session(&s, NULL, "batch=1:2:4,lanes=1:2:8,rows=1:2:8");
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){LINES, 5, 16}, 15);
    TnGenerateOptions o = options(1, 14);
    x.dims[0] = 4;
    assert_int_equal(tni_rt_generate(s.ctx, &x, 1, &o, r, 4, &err), TN_ERR_REQUEST);
    assert_string_equal(err.message, "max_length 14; this model can make lines of 2 to 13 tokens");
    o = options(3, 0);
    assert_int_equal(tni_rt_generate(s.ctx, &x, 1, &o, r, 4, &err), TN_ERR_REQUEST);
    assert_non_null(strstr(err.message, "4 lines with 3 beams need 12 lanes"));
    o = options(2, 0);
    OK(tni_rt_generate(s.ctx, &x, 1, &o, r, 4, &err));
    x.dims[0] = 5;
    assert_int_equal(tni_rt_generate(s.ctx, &x, 1, &o, r, 5, &err), TN_ERR_REQUEST);
    assert_non_null(strstr(err.message, "5 lines; this plan was built for at most 4"));
    assert_int_equal(tni_rt_generate(s.ctx, &x, 1, &o, r, 4, &err), TN_ERR_ARGUMENT);
    x.dims[0] = 0;
    assert_int_equal(tni_rt_generate(s.ctx, &x, 1, &o, r, 0, &err), TN_ERR_SHAPE);
    x.dims[0] = 2;
    o.early_stopping = 3;
    assert_int_equal(tni_rt_generate(s.ctx, &x, 1, &o, r, 2, &err), TN_ERR_ARGUMENT);
    free(x.data);
    close_session(&s);
}

/* Early stopping "yes" stops at the first full list, so it never finds a better line than "never", which looks on. */
static void early_stopping_only_stops_early(void **state) {
    (void)state;
    Session s;
    Kept yes[LINES], no[LINES], never[LINES];
    open_session(&s, NULL, NULL);
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){LINES, 5, 16}, 16);
    for (uint32_t beams = 2; beams < 6; beams++) {
        TnGenerateOptions o = options(beams, 0);
        o.early_stopping = PLAN_EARLY_YES;
        generate(&s, &x, 0, LINES, &o, yes);
        o.early_stopping = PLAN_EARLY_NO;
        generate(&s, &x, 0, LINES, &o, no);
        o.early_stopping = PLAN_EARLY_NEVER;
        generate(&s, &x, 0, LINES, &o, never);
        for (int i = 0; i < LINES; i++) {
            assert_true(never[i].score >= no[i].score - 1e-5f);
            assert_true(never[i].score >= yes[i].score - 1e-5f);
        }
    }
    free(x.data);
    close_session(&s);
}

static void damaged_generation_entries_are_refused(void **state) {
    (void)state;
    PlanGeneration g = tiny_generation(), out;
    TnError err = {0};
    OK(tni_plan_generation_read(&g, sizeof g, &out, &err));
    assert_int_equal(tni_plan_generation_read(&g, sizeof g - 1, &out, &err), TN_ERR_PLAN);
#define BREAK(field, value)                                                                                                                \
    do {                                                                                                                                   \
        PlanGeneration bad = tiny_generation();                                                                                            \
        bad.field = value;                                                                                                                 \
        assert_int_equal(tni_plan_generation_read(&bad, sizeof bad, &out, &err), TN_ERR_PLAN);                                             \
    } while (0)
    BREAK(version, 2);
    BREAK(start_id, 20);
    BREAK(n_eos, 9);
    BREAK(eos_id[0], -1);
    BREAK(max_length, 1);
    BREAK(max_length, 14);
    BREAK(max_positions, 0);
    BREAK(num_beams, 0);
    BREAK(length_penalty, NAN);
    BREAK(early_stopping, 3);
    BREAK(vocab_size, 0);
    BREAK(repetition_penalty, 0);
    BREAK(forced_eos_id, 20);
    BREAK(encoder[0], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_do_not_depend_on_their_batch),
        cmocka_unit_test(greedy_scores_are_sums),
        cmocka_unit_test(beams_find_the_best),
        cmocka_unit_test(rules_are_obeyed),
        cmocka_unit_test(limits_are_named),
        cmocka_unit_test(early_stopping_only_stops_early),
        cmocka_unit_test(damaged_generation_entries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
