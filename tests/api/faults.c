/* SPDX-License-Identifier: Apache-2.0
 *
 * Every allocation fails once, while small models are built, opened and run: the status is MEMORY, nothing leaks, nothing crashes. */
#include "runtime/plan_harness.h"
#include "tenon/build.h"

typedef struct Faults {
    long left; /* allocations that succeed before all fail once */
    long live;
    bool failed;
} Faults;

static void *faulty_alloc(void *ctx, size_t size, size_t align) {
    Faults *f = ctx;
    if (__atomic_fetch_sub(&f->left, 1, __ATOMIC_RELAXED) == 0) {
        f->failed = true;
        return NULL;
    }
    void *p = tni_alloc_aligned(NULL, size, align);
    __atomic_fetch_add(&f->live, 1, __ATOMIC_RELAXED);
    return p;
}

static void faulty_free(void *ctx, void *p) {
    Faults *f = ctx;
    __atomic_fetch_sub(&f->live, 1, __ATOMIC_RELAXED);
    tni_free(NULL, p);
}

/* One attempt from a module made by hand to a run; the caller's allocator everywhere. */
static TnStatus attempt(MakeFn make, const TnAllocator *a, TnTensor *in, uint32_t n_in, TnError *err) {
    Built b = {0};
    TnPlan *plan = NULL;
    TnContext *ctx = NULL;
    TnStatus st = TN_ERR_MEMORY;
    IrModule *m = make(a);
    if (m)
        st = build_module(m, a, true, false, &b, err);
    if (st == TN_OK)
        st = open_bytes(b.bytes, b.n, a, &plan, err);
    if (st == TN_OK)
        st = tni_rt_context_create(plan, 2, a, &ctx, err);
    if (st == TN_OK && plan->gen) {
        TnGenerated r[2];
        TnGenerateOptions o = {.size = sizeof o, .num_beams = 2, .length_penalty = 1, .early_stopping = -1};
        st = tni_rt_generate(ctx, in, n_in, &o, r, 2, err);
    } else if (st == TN_OK) {
        memcpy(ctx->inputs, in, n_in * sizeof *in);
        st = tni_rt_run(ctx, err);
    }
    tni_rt_context_destroy(&ctx);
    tni_rt_close(&plan);
    built_free(&b, a);
    return st;
}

static void sweep(MakeFn make, TnTensor *in, uint32_t n_in) {
    for (long k = 0;; k++) {
        Faults f = {k, 0, false};
        TnAllocator a = {faulty_alloc, faulty_free, &f};
        TnError err = {0};
        TnStatus st = attempt(make, &a, in, n_in, &err);
        if (f.live != 0)
            fail_msg("allocation %ld: %ld blocks leak", k, f.live);
        if (!f.failed) {
            OK(st);
            assert_true(k > 20);
            return;
        }
        if (st != TN_ERR_MEMORY)
            fail_msg("allocation %ld: %s: %s", k, tn_status_name(st), err.message);
    }
}

static void modules_survive_every_fault(void **state) {
    (void)state;
    uint8_t flag = 1;
    int64_t trips = 3;
    TnTensor mlp[1] = {make_tensor(TN_F32, 2, (int64_t[]){3, 16}, 1)};
    TnTensor vision[2] = {make_tensor(TN_F32, 4, (int64_t[]){2, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){2, 16}, 2)};
    TnTensor dynamic[1] = {make_tensor(TN_F32, 2, (int64_t[]){4, 6}, 3)};
    TnTensor control[3] = {
        make_tensor(TN_F32, 2, (int64_t[]){2, 4}, 5), {.data = &flag, .dtype = TN_BOOL}, {.data = &trips, .dtype = TN_I64}};
    TnTensor lines[1] = {make_tensor(TN_F32, 3, (int64_t[]){2, 5, 16}, 6)};
    sweep(make_mlp, mlp, 1);
    sweep(make_vision, vision, 2);
    sweep(make_dynamic, dynamic, 1);
    sweep(make_control, control, 3);
    sweep(make_generator, lines, 1);
    free(mlp[0].data);
    free(vision[0].data);
    free(vision[1].data);
    free(dynamic[0].data);
    free(control[0].data);
    free(lines[0].data);
}

/* A model file through the public functions: importer and rewrites too. */
static TnStatus build_and_run(const char *path, const TnAllocator *a, TnError *err) {
    TnBuildOptions o = tn_build_options_default();
    TnPlanOptions po = tn_plan_options_default();
    TnPlan *plan = NULL;
    TnContext *ctx = NULL;
    void *bytes = NULL;
    size_t n = 0;
    o.allocator = po.allocator = a;
    o.threads = 1;
    TnStatus st = tn_build_memory(path, &o, &bytes, &n, err);
    if (st == TN_OK)
        st = tn_plan_open_memory(bytes, n, &po, &plan, err);
    if (st == TN_OK)
        st = tn_context_create(plan, NULL, &ctx, err);
    tn_context_destroy(&ctx);
    tn_plan_close(&plan);
    tn_build_free(&o, bytes);
    return st;
}

static void model_files_survive_every_fault(void **state) {
    (void)state;
    static const char *const models[] = {
        TN_SOURCE_DIR "/tests/fixtures/trocr_decoder_ts17_dynamic/model.onnx",
        TN_SOURCE_DIR "/tests/fixtures/hf_trocr_deit_tied_fp32",
    };
    for (size_t i = 0; i < TN_COUNT(models); i++) {
        TnError err = {0};
        TnStatus st = build_and_run(models[i], tni_default_allocator(), &err);
        if (st == TN_ERR_IO)
            continue; /* a tree without fixtures */
        OK(st);
        for (long k = 0;; k++) {
            Faults f = {k, 0, false};
            TnAllocator a = {faulty_alloc, faulty_free, &f};
            st = build_and_run(models[i], &a, &err);
            if (f.live != 0)
                fail_msg("%s: allocation %ld: %ld blocks leak", models[i], k, f.live);
            if (!f.failed)
                break;
            if (st != TN_ERR_MEMORY)
                fail_msg("%s: allocation %ld: %s: %s", models[i], k, tn_status_name(st), err.message);
        }
        OK(st);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modules_survive_every_fault),
        cmocka_unit_test(model_files_survive_every_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
