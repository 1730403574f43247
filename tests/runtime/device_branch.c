/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps beside each other: lanes and waits order whatever conflicts, for random steps; and random programs of several chains on the fake device,
 * which runs what was recorded on several streams in any order that the marks allow, with the numbers of the interpreter. */
#include "runtime/device_session.h"

static uint32_t seed;

static uint32_t draw(uint32_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 10) % n;
}

/* ---- lanes and waits ---- */

/* Steps that read and write ranges of a small memory: some chains, reuse, steps that touch nothing. */
static RtBranches *random_steps(uint32_t n, uint32_t space) {
    TnError err = {0};
    RtBranches *b;
    OK(tni_rt_branches_create(NULL, n, 4 * n, &b, &err));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_touched = draw(5);
        for (uint32_t k = 0; k < n_touched; k++)
            tni_rt_branch_touch(b, i, (const void *)(uintptr_t)(1 + draw(space)), draw(4), k == 0);
        b->steps[i].ns = 500 + draw(9000);
        b->steps[i].first_lane = draw(20) == 0;
    }
    return b;
}

/* What runs before step j in truth: by the lanes, and by waits alone. Floods backwards. */
static void find_before(const RtBranches *b, uint32_t j, uint8_t *before) {
    memset(before, 0, b->n + 1u);
    before[j] = 1;
    for (uint32_t k = j + 1; k-- > 0;) {
        if (!before[k])
            continue;
        uint32_t own = k < b->n ? b->lane[k] : 0;
        for (uint32_t i = k; i-- > 0;)
            if (b->lane[i] == own) {
                before[i] = 1;
                break;
            }
        for (uint32_t o = 0; o < RT_MOST_LANES; o++)
            if (b->waits[k][o])
                before[b->waits[k][o] - 1] = 1;
    }
}

static void check_order(const RtBranches *b) {
    uint8_t *before = calloc(b->n + 1u, 1);
    for (uint32_t j = 0; j <= b->n; j++) {
        find_before(b, j, before);
        for (uint32_t i = 0; i < j; i++) {
            if (j == b->n || tni_rt_branch_conflict(b, i, j))
                assert_true(before[i]);
            if (j < b->n)
                assert_int_equal(tni_rt_branch_before(b, i, j), before[i]); /* what is known is what is so */
        }
        for (uint32_t o = 0; o < RT_MOST_LANES; o++)
            if (b->waits[j][o]) {
                assert_true(b->waits[j][o] <= j);
                assert_int_equal(b->lane[b->waits[j][o] - 1], o);
                assert_true(j == b->n || b->lane[j] != o);
                assert_true(b->told[b->waits[j][o] - 1]);
            }
    }
    free(before);
}

static void conflicts_are_ordered(void **state) {
    (void)state;
    TnError err = {0};
    uint32_t beside = 0;
    for (uint32_t round = 0; round < 400; round++) {
        seed = round;
        RtBranches *b = random_steps(1 + draw(90), 8 + draw(300));
        uint32_t lanes = 1 + draw(RT_MOST_LANES);
        OK(tni_rt_branch_assign(b, lanes, NULL, &err));
        for (uint32_t i = 0; i < b->n; i++)
            assert_true(b->lane[i] < lanes && (!b->steps[i].first_lane || b->lane[i] == 0));
        assert_true(lanes > 1 || (b->n_waits == 0 && b->n_beside == 0));
        assert_true(b->beside_ns <= b->chain_ns * 1.5 + 1e4);
        check_order(b);
        beside += b->n_beside;
        for (uint32_t i = 0; i < b->n; i++) /* any lanes */
            b->lane[i] = (uint8_t)draw(RT_MOST_LANES);
        tni_rt_branch_order(b);
        check_order(b);
        tni_rt_branches_destroy(NULL, &b);
    }
    assert_true(beside > 500);
}

/* Two chains that meet at the end: one goes beside the other, and two waits are enough. */
static void chains_get_lanes(void **state) {
    (void)state;
    TnError err = {0};
    RtBranches *b;
    OK(tni_rt_branches_create(NULL, 41, 200, &b, &err));
    for (uint32_t i = 0; i < 41; i++) {
        b->steps[i].ns = 3000;
        uintptr_t chain = 1000 * (1 + i % 2);
        tni_rt_branch_touch(b, i, (const void *)(chain + i), 2, true);
        tni_rt_branch_touch(b, i, (const void *)(chain + i - 2), 2, false);
        if (i == 40)
            tni_rt_branch_touch(b, i, (const void *)(uintptr_t)2039, 2, false);
    }
    OK(tni_rt_branch_assign(b, 2, NULL, &err));
    assert_int_equal(b->n_beside, 20);
    assert_int_equal(b->n_waits, 1);
    assert_true(b->beside_ns < 0.6 * b->chain_ns);
    check_order(b);
    tni_rt_branches_destroy(NULL, &b);
}

/* ---- arenas ---- */

typedef struct Lanes {
    const uint32_t *lane, *first, *last;
} Lanes;

static bool same_lane(const void *ctx, uint32_t a, uint32_t b) {
    const Lanes *l = ctx;
    return l->lane[a] == l->lane[b] && (l->last[a] < l->first[b] || l->last[b] < l->first[a]);
}

static void arenas_keep_lanes_apart(void **state) {
    (void)state;
    for (seed = 0; seed < 50; seed += 1 + draw(3)) {
        enum { N = 80, STEPS = 100 };
        uint64_t sizes[N], offsets[N], total, bound, apart_total;
        uint32_t first[N], last[N], lane[N];
        for (uint32_t i = 0; i < N; i++) {
            sizes[i] = draw(2000);
            first[i] = draw(STEPS);
            last[i] = first[i] + draw(20);
            last[i] = TN_MIN(last[i], (uint32_t)STEPS);
            lane[i] = draw(2);
        }
        Lanes l = {lane, first, last};
        void *scratch = malloc(tni_plan_arena_scratch(N, STEPS));
        assert_true(tni_plan_arena(N, STEPS, sizes, first, last, true, scratch, offsets, &total, &bound));
        assert_true(tni_plan_arena_apart(N, STEPS, sizes, first, last, same_lane, &l, true, scratch, offsets, &apart_total, &bound));
        for (uint32_t i = 0; i < N; i++)
            for (uint32_t k = 0; k < i; k++)
                if (offsets[i] < offsets[k] + sizes[k] && offsets[k] < offsets[i] + sizes[i])
                    assert_true(same_lane(&l, i, k));
        assert_true(apart_total <= 3 * total);
        free(scratch);
    }
}

/* ---- programs ---- */

static uint32_t graph_seed;

/* Two or three chains over [n, 16] with products, softmax, views and sums, which seldom look at each other; one begins with rows of a table. */
static IrModule *make_chains(const TnAllocator *a) {
    Make k = start(a);
    IrValueId at[3], before[3];
    uint32_t chains = 2 + graph_seed % 2;
    seed = graph_seed * 77 + 5;
    graph(&k, "main");
    TnDim n = sym(&k, "n");
    at[0] = INPUT(&k, "x", TN_F32, n, num(&k, 16));
    IrValueId ids = INPUT(&k, "ids", TN_I64, n);
    IrValueId table = WEIGHTS(&k, 1, 10, 16);
    at[1] = NODE(&k, gather, "rows", &((TnAxisParams){.axis = 0}), table, ids);
    at[2] = NODE(&k, gemm, "other", GEMM, at[0], WEIGHTS(&k, 0.3f, 16, 16));
    memcpy(before, at, sizeof before);
    for (uint32_t i = 0; i < 48; i++) {
        uint32_t c = i / 6 % chains, other = draw(chains);
        IrValueId was = at[c];
        switch (draw(5)) {
        case 0:
            at[c] = NODE(&k, softmax, "softmax", &((TnSoftmaxParams){.axis = -1, .scale = 1}), was);
            break;
        case 1:
            at[c] = NODE(&k, binary, "sum", ADD, was, before[draw(6) ? c : other]);
            break;
        case 2:
            at[c] = NODE(&k, reshape, "there", &((TnReshapeParams){.kind = TN_RESHAPE_SHAPE}), was, INTS(&k, -1, 4, 4));
            at[c] = NODE(&k, softmax, "small", &((TnSoftmaxParams){.axis = -1, .scale = 1}), at[c]);
            at[c] = NODE(&k, reshape, "back", &((TnReshapeParams){.kind = TN_RESHAPE_SHAPE}), at[c], INTS(&k, -1, 16));
            break;
        default:
            at[c] = NODE(&k, gemm, "product", GEMM, was, WEIGHTS(&k, 0.4f, 16, 16));
            break;
        }
        if (draw(3) == 0)
            before[c] = was;
    }
    for (uint32_t c = 0; c < chains; c++)
        output(&k, at[c]);
    return finish(&k);
}

static bool but_few(TnOp op, uint32_t s, uint32_t n) {
    (void)op;
    return s != 2 && s + 3 != n;
}

static void programs_agree(void **state) {
    (void)state;
    uint64_t branched = 0;
    for (graph_seed = 0; graph_seed < 40; graph_seed++) {
        Session s;
        setenv("TENON_CUDA_BRANCHES", graph_seed % 3 ? "2" : "3", 1);
        open_device(&s, make_chains, graph_seed % 4 == 3 ? but_few : all_on, NULL);
        for (int64_t n = 3; n < 40; n += 9) {
            TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){n, 16}, (uint32_t)n), make_tensor(TN_I64, 1, (int64_t[]){n}, 3)};
            for (int64_t i = 0; i < n; i++)
                ((int64_t *)in[1].data)[i] = i % 10;
            run_session(&s, in, 4);
            branched += s.ctx->device->n_branched > 0;
            free(in[0].data);
            free(in[1].data);
        }
        close_device(&s);
    }
    unsetenv("TENON_CUDA_BRANCHES");
    assert_true(branched > 60);
}

static void one_stream_is_a_choice(void **state) {
    (void)state;
    static const char *const wishes[] = {"0", "1", NULL};
    for (uint32_t i = 0; i < 3; i++) {
        Session s;
        graph_seed = 2;
        if (wishes[i])
            setenv("TENON_CUDA_BRANCHES", wishes[i], 1);
        else
            unsetenv("TENON_CUDA_BRANCHES");
        open_device(&s, make_chains, all_on, NULL);
        TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), make_tensor(TN_I64, 1, (int64_t[]){5}, 3)};
        memset(in[1].data, 0, tn_tensor_bytes(&in[1]));
        run_session(&s, in, 4);
        assert_int_equal(s.ctx->device->n_captured, 1);
        assert_int_equal(s.ctx->device->n_branched > 0, wishes[i] == NULL); /* the fake kernels' estimates are launches alone */
        assert_int_equal(fake->lanes > 1, wishes[i] == NULL);
        free(in[0].data);
        free(in[1].data);
        close_device(&s);
    }
}

/* A recording on several streams that fails is made on one. */
static void one_stream_is_the_way_out(void **state) {
    (void)state;
    Session s;
    graph_seed = 2;
    open_device(&s, make_chains, all_on, NULL);
    TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), make_tensor(TN_I64, 1, (int64_t[]){5}, 3)};
    memset(in[1].data, 0, tn_tensor_bytes(&in[1]));
    fake->n_capture = 0;
    fake->fail_capture = 0;
    run_session(&s, in, 4);
    fake->fail_capture = UINT64_MAX;
    assert_int_equal(s.ctx->device->n_captured, 1);
    assert_int_equal(s.ctx->device->n_branched, 0);
    assert_int_equal(s.ctx->device->n_launched, 3);
    free(in[0].data);
    free(in[1].data);
    close_device(&s);
}

static void faults_of_every_stream_are_seen(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    graph_seed = 2;
    setenv("TENON_CUDA_BRANCHES", "2", 1);
    open_device(&s, make_chains, all_on, NULL);
    unsetenv("TENON_CUDA_BRANCHES");
    TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), make_tensor(TN_I64, 1, (int64_t[]){5}, 3)};
    for (uint32_t round = 0; round < 3; round++) {
        memset(in[1].data, 0, tn_tensor_bytes(&in[1]));
        run_session(&s, in, 3);
        ((int64_t *)in[1].data)[2] = 12;
        assert_int_equal(tn_context_run(s.ctx, &err), TN_ERR_RUN);
        assert_non_null(strstr(err.message, "12"));
    }
    assert_true(s.ctx->device->n_branched > 0);
    free(in[0].data);
    free(in[1].data);
    close_device(&s);
}

/* Memory or the device fails at any call: an error or the right numbers, and nothing is left behind. */
static void failures_are_survived(void **state) {
    (void)state;
    graph_seed = 2;
    setenv("TENON_CUDA_BRANCHES", "2", 1);
    for (uint64_t at = 0; at < 400; at++) {
        Session s;
        TnError err = {0};
        convert_session(&s, make_chains, NULL, all_on, NULL);
        OK(open_bytes(s.bytes, s.n, NULL, &s.plan, &err));
        TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 1), make_tensor(TN_I64, 1, (int64_t[]){5}, 3)}, want[16];
        memset(in[1].data, 0, tn_tensor_bytes(&in[1]));
        interpret(s.b.m, in, want);
        fake->n_alloc = fake->n_call = 0;
        fake->fail_alloc = at % 2 ? at / 8 : UINT64_MAX;
        fake->fail_call = at % 2 ? UINT64_MAX : at;
        if (tni_rt_context_create(s.plan, 1, tni_default_allocator(), &s.ctx, &err) == TN_OK) {
            set_inputs(&s, in);
            for (uint32_t i = 0; i < 4; i++)
                if (tn_context_run(s.ctx, &err) == TN_OK)
                    compare_outputs(&s, want, 1e-5);
        }
        fake->fail_alloc = fake->fail_call = UINT64_MAX;
        free_outputs(s.b.m, want);
        free(in[0].data);
        free(in[1].data);
        close_device(&s);
    }
    unsetenv("TENON_CUDA_BRANCHES");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conflicts_are_ordered),
        cmocka_unit_test(chains_get_lanes),
        cmocka_unit_test(arenas_keep_lanes_apart),
        cmocka_unit_test(programs_agree),
        cmocka_unit_test(one_stream_is_a_choice),
        cmocka_unit_test(one_stream_is_the_way_out),
        cmocka_unit_test(faults_of_every_stream_are_seen),
        cmocka_unit_test(failures_are_survived),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
