/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner with a device: placement and copies, steps that the device cannot do, kernels that are wrong, the timing cache, targets without a
 * device, generated code, two arenas. */
#include <unistd.h>

#include "planner/on_device.h"

#define MAX_KERNELS 256

/* The fake device's kernels but those of one operator, and one more. */
static TnKernel *other_kernels(OnDevice *d, TnOp without, const TnKernel *with) {
    TnKernel *k = calloc(MAX_KERNELS, sizeof *k);
    uint32_t n = 0;
    for (uint32_t i = 0; i < lib->n_kernels; i++)
        if (lib->kernels[i].op != without)
            k[n++] = lib->kernels[i];
    if (with)
        k[n++] = *with;
    assert_true(n <= MAX_KERNELS);
    d->lib.kernels = k;
    d->lib.n_kernels = n;
    return k;
}

/* ---- placement ---- */

static void everything_goes_to_the_device(void **state) {
    (void)state;
    OnDevice d;
    TnError err = {0};
    on_device_start(&d, TN_F32);
    OK(on_device_make(&d, make_mlp(NULL), &err));
    assert_int_equal(count_steps(&d.p, "copy"), 0);
    for (uint32_t i = 0; i < d.p.n_steps; i++)
        assert_int_equal(d.p.steps[i].device, TN_DEVICE_CUDA);
    for (uint32_t i = 0; i < d.p.n_values; i++) /* but for packed constants' plain forms, which are nowhere, and generated code */
        if (d.p.values[i].dtype == TN_F32 && d.p.values[i].place != PLAN_AT_PACKED)
            assert_int_equal(d.p.values[i].device, TN_DEVICE_CUDA);
    assert_int_equal(d.p.header->device, TN_DEVICE_CUDA);
    assert_int_equal(d.p.header->arch, 90);
    assert_int_equal(d.p.header->math, 0);
    assert_true(d.p.header->device_identity == lib->identity);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){7, 16}, 1);
    on_device_run(&d, make_mlp(NULL), &x, 1e-5);
    free(x.data);
    on_device_free(&d);
}

static void arenas_are_apart(void **state) {
    (void)state;
    OnDevice d;
    TnError err = {0};
    IrModule *m = make_vision(NULL);
    OK(tni_shape_apply_ranges(m, "batch=1:2:4", &err));
    on_device_start(&d, TN_F32);
    d.o.allow_cpu_steps = true;
    TnKernel *kernels = other_kernels(&d, TN_OP_softmax, NULL);
    OK(on_device_make(&d, m, &err));
    const PlanProgram *g = &d.p.programs[0];
    assert_true(g->device_arena_bytes > 0 && g->device_arena_bytes >= g->device_arena_lower_bound);
    on_device_free(&d);
    free(kernels);
}

static void graphs_run_on_the_device(void **state) {
    (void)state;
    OnDevice d;
    TnError err = {0};
    on_device_start(&d, TN_F32);
    OK(on_device_make(&d, make_dynamic(NULL), &err));
    for (int64_t n = 1; n < 40; n += 13) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, 6}, (uint32_t)n);
        on_device_run(&d, make_dynamic(NULL), &x, 1e-5);
        free(x.data);
    }
    on_device_free(&d);
    on_device_start(&d, TN_F32);
    OK(on_device_make(&d, make_control(NULL), &err));
    assert_true(count_steps(&d.p, "copy") > 0); /* called programs take and give host memory */
    for (int64_t trips = 0; trips < 3; trips++) {
        uint8_t flag = trips & 1;
        TnTensor in[3] = {
            make_tensor(TN_F32, 2, (int64_t[]){2 + trips, 4}, 5), {.data = &flag, .dtype = TN_BOOL}, {.data = &trips, .dtype = TN_I64}};
        on_device_run(&d, make_control(NULL), in, 1e-5);
        free(in[0].data);
    }
    on_device_free(&d);
}

static void steps_without_a_kernel_are_refused_or_copied_for(void **state) {
    (void)state;
    OnDevice d;
    TnError err = {0};
    on_device_start(&d, TN_F32);
    TnKernel *kernels = other_kernels(&d, TN_OP_layer_norm, NULL);
    assert_int_equal(on_device_make(&d, make_mlp(NULL), &err), TN_ERR_REQUEST);
    assert_non_null(strstr(err.message, "layer_norm"));
    assert_non_null(strstr(err.message, "allow"));
    on_device_free(&d);
    free(kernels);
    on_device_start(&d, TN_F32);
    kernels = other_kernels(&d, TN_OP_layer_norm, NULL);
    d.o.allow_cpu_steps = true;
    OK(on_device_make(&d, make_mlp(NULL), &err));
    assert_int_equal(count_steps(&d.p, "copy"), 2);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){7, 16}, 1);
    on_device_run(&d, make_mlp(NULL), &x, 1e-5);
    free(x.data);
    on_device_free(&d);
    free(kernels);
    on_device_start(&d, TN_F16); /* and the step on the CPU is float32 */
    kernels = other_kernels(&d, TN_OP_layer_norm, NULL);
    d.o.allow_cpu_steps = true;
    OK(on_device_make(&d, make_mlp(NULL), &err));
    assert_non_null(strstr(wide_reason(&d, "norm"), "no kernel of the device"));
    x = make_tensor(TN_F32, 2, (int64_t[]){7, 16}, 1);
    on_device_run(&d, make_mlp(NULL), &x, 1e-2);
    free(x.data);
    on_device_free(&d);
    free(kernels);
}

/* ---- kernels that are wrong ---- */

static double nothing(const TnKernelQuery *q) {
    (void)q;
    return 0; /* the cheapest of all */
}

static TnStatus does_nothing(TnKernelCall *c) {
    (void)c;
    return TN_OK;
}

static TnStatus always_fails(TnKernelCall *c) {
    return TN_RAISE(c->err, TN_ERR_DEVICE, "this kernel always fails");
}

static void wrong_kernels_of_the_device_are_never_chosen(void **state) {
    (void)state;
    for (int tune = 0; tune < 2; tune++) {
        const TnKernel extra[2] = {
            {.name = "idle", .op = TN_OP_softmax, .run = does_nothing, .cost = nothing, .device = TN_DEVICE_CUDA, .atol = 1e-5, .rtol = 1e-5},
            {.name = "fails", .op = TN_OP_softmax, .run = always_fails, .cost = nothing, .device = TN_DEVICE_CUDA, .atol = 1e-5},
        };
        OnDevice d;
        TnError err = {0};
        on_device_start(&d, TN_F32);
        d.o.extra = extra;
        d.o.n_extra = 2;
        d.o.tune = tune;
        OK(on_device_make(&d, make_mlp(NULL), &err));
        const PlanStep *s = find_step(&d.p, "y", "softmax");
        assert_non_null(s);
        assert_non_null(strstr(d.p.strings + s->kernel, "fake_"));
        on_device_free(&d);
    }
}

static void a_step_without_an_exact_kernel_fails_the_build(void **state) {
    (void)state;
    const TnKernel idle = {.name = "idle", .op = TN_OP_softmax, .run = does_nothing, .device = TN_DEVICE_CUDA, .atol = 1e-5, .rtol = 1e-5};
    OnDevice d;
    TnError err = {0};
    on_device_start(&d, TN_F32);
    TnKernel *kernels = other_kernels(&d, TN_OP_softmax, &idle);
    assert_int_equal(on_device_make(&d, make_mlp(NULL), &err), TN_ERR_INEXACT);
    assert_non_null(strstr(err.message, "softmax"));
    assert_non_null(strstr(err.message, "idle"));
    on_device_free(&d);
    free(kernels);
}

/* ---- faults ---- */

static void faults_end_the_build_and_leave_nothing(void **state) {
    (void)state;
    for (int memory = 0; memory < 2; memory++) {
        bool through = false;
        for (uint64_t k = 0; !through; k += 1 + k / 16) {
            OnDevice d;
            TnError err = {0};
            on_device_start(&d, TN_F16);
            d.o.tune = true;
            fake->n_alloc = fake->n_call = 0;
            *(memory ? &fake->fail_alloc : &fake->fail_call) = k;
            TnStatus st = on_device_make(&d, make_mlp(NULL), &err);
            through = (memory ? fake->n_alloc : fake->n_call) <= k;
            fake->fail_alloc = fake->fail_call = UINT64_MAX;
            /* A recording that fails is no reason to fail: calls are timed one by one then. */
            if (st != TN_OK && st != (memory ? TN_ERR_MEMORY : TN_ERR_DEVICE))
                fail_msg("fault %llu: %s: %s", (unsigned long long)k, tn_status_name(st), err.message);
            if (st != TN_OK)
                assert_true(err.message[0] != 0);
            assert_true(!through || st == TN_OK);
            on_device_free(&d);
        }
    }
}

/* ---- the timing cache ---- */

static void kernels_of(const Plan *p, char *text, size_t cap) {
    text[0] = 0;
    for (uint32_t i = 0; i < p->n_steps; i++)
        snprintf(text + strlen(text), cap - strlen(text), "%s ", p->strings + p->steps[i].kernel);
}

static void what_is_known_is_not_run_again(void **state) {
    (void)state;
    char path[] = "/tmp/tenon-timings-XXXXXX", first[4000], second[4000];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    remove(path);
    for (int type = 0; type < 2; type++) {
        uint64_t runs[3];
        for (int i = 0; i < 3; i++) {
            OnDevice d;
            TnError err = {0};
            on_device_start(&d, type ? TN_F16 : TN_F32);
            d.o.tune = true;
            d.o.timing_cache = path;
            d.o.model_hash = 5;
            runs[i] = fake->kernels;
            d.info.driver = i == 2 ? 99 : d.info.driver; /* another driver: everything anew */
            OK(on_device_make(&d, make_vision(NULL), &err));
            runs[i] = fake->kernels - runs[i];
            kernels_of(&d.p, i ? second : first, sizeof first);
            on_device_free(&d);
            if (i == 1)
                assert_string_equal(first, second);
        }
        assert_true(runs[0] > 0 && runs[2] > 0);
        assert_int_equal(runs[1], 0);
    }
    remove(path);
}

/* ---- buckets ---- */

static double good_for_few(const TnKernelQuery *q) {
    return q->out[0].dims[0] <= 8 ? 1 : 1000;
}

static double good_for_many(const TnKernelQuery *q) {
    return q->out[0].dims[0] <= 8 ? 1000 : 1;
}

static const char *kernel_of(const TnContext *ctx, const Plan *p, const char *node) {
    for (uint32_t i = 0; i < p->n_steps; i++)
        if (strcmp(p->strings + p->steps[i].name, node) == 0)
            return ctx->frames[0].calls[i].kernel->name;
    return "";
}

/* Every field of the two sections becomes another number: the plan is refused, or still holds names that exist. */
static void damage_buckets(const OnDevice *d) {
    static const uint32_t odd[] = {0, 1, 7, 0x7fffffff, 0x80000000, 0xffffffff};
    uint8_t *copy = tni_alloc_aligned(NULL, d->b.n, 4096);
    const PlanHeader *h = (const PlanHeader *)(const void *)d->b.bytes;
    const PlanSection *sec = (const PlanSection *)(const void *)(h + 1);
    uint32_t outcome[2] = {0};
    for (uint32_t i = 0; i < h->n_sections; i++) {
        for (uint64_t at = 0; (sec[i].kind == PLAN_SEC_BUCKETS || sec[i].kind == PLAN_SEC_KERNELS) && at < sec[i].bytes; at += 4) {
            for (size_t k = 0; k < TN_COUNT(odd); k++) {
                TnError err = {0};
                Plan p;
                memcpy(copy, d->b.bytes, d->b.n);
                memcpy(copy + sec[i].offset + at, &odd[k], 4);
                tni_plan_seal(copy, d->b.n);
                TnStatus st = tni_plan_read((TnSpan){copy, d->b.n, 0}, false, NULL, &p, &err);
                if (st == TN_OK)
                    st = tni_plan_verify_device(&p, &d->lib, &d->info, &err);
                assert_true(st == TN_OK || st == TN_ERR_PLAN || st == TN_ERR_INCOMPATIBLE);
                outcome[st == TN_OK]++;
            }
        }
    }
    assert_true(outcome[0] > 0 && outcome[1] > 0);
    tni_free(NULL, copy);
}

/* softmax: one kernel for few rows, another for many. gemm: what is chosen at opt packs, and what is better with many rows does not, so it
 * cannot be taken there. */
static void kernels_differ_between_buckets(void **state) {
    (void)state;
    for (int tune = 0; tune < 2; tune++) {
        OnDevice d;
        TnError err = {0};
        IrModule *m = make_mlp(NULL);
        OK(tni_shape_apply_ranges(m, "batch=1:2:64", &err));
        on_device_start(&d, TN_F32);
        TnKernel *k = other_kernels(&d, TN_OP_COUNT, NULL);
        for (uint32_t i = 0; i < d.lib.n_kernels; i++) {
            if (strcmp(k[i].name, "fake_packed_gemm") == 0)
                k[i].cost = good_for_few;
            else if (k[i].op == TN_OP_gemm)
                k[i].cost = good_for_many;
            else if (strcmp(k[i].name, "fake_softmax") == 0)
                k[i].cost = good_for_many;
        }
        d.o.buckets = "batch=4:64";
        d.o.tune = tune;
        OK(on_device_make(&d, m, &err));
        assert_int_equal(d.p.n_buckets, 2);
        char *text = calloc(d.p.explain_bytes + 1, 1);
        memcpy(text, d.p.explain, d.p.explain_bytes);
        assert_non_null(strstr(text, "bucket batch=64: "));
        free(text);
        damage_buckets(&d);
        TnPlan *plan;
        TnContext *ctx;
        OK(open_bytes(d.b.bytes, d.b.n, NULL, &plan, &err));
        OK(tni_rt_context_create(plan, 1, tni_default_allocator(), &ctx, &err));
        static const int64_t rows[] = {64, 1, 4, 5, 3};
        for (size_t i = 0; i < TN_COUNT(rows) && !tune; i++) {
            TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){rows[i], 16}, 1);
            OK(tn_context_set_input(ctx, 0, &x, &err));
            OK(tn_context_run(ctx, &err));
            assert_string_equal(kernel_of(ctx, &d.p, "y"), rows[i] > 4 ? "fake_softmax" : "fake_small_softmax");
            assert_string_equal(kernel_of(ctx, &d.p, "fc1"), "fake_packed_gemm");
            free(x.data);
        }
        tni_rt_context_destroy(&ctx);
        tni_rt_close(&plan);
        for (int64_t n = 1; n <= 64; n += 9) {
            TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){n, 16}, 1);
            on_device_run(&d, make_mlp(NULL), &x, 1e-5);
            free(x.data);
        }
        on_device_free(&d);
        free(k);
    }
}

static void wrong_buckets_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *spec, *text;
        TnStatus st;
    } cases[] = {
        {"batch", "expected NAME=SIZE", TN_ERR_ARGUMENT},
        {"batch=", "expected NAME=SIZE", TN_ERR_ARGUMENT},
        {"batch=1:", "expected NAME=SIZE", TN_ERR_ARGUMENT},
        {"batch=0", "expected NAME=SIZE", TN_ERR_ARGUMENT},
        {"batch=1:x", "expected NAME=SIZE", TN_ERR_ARGUMENT},
        {"batch=65", "outside its range 1..64", TN_ERR_ARGUMENT},
        {"rows=4", "no dimension is named 'rows'", TN_ERR_NAME},
        {"batch=1,batch=2", "twice", TN_ERR_ARGUMENT},
        {"batch=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17", "expected NAME=SIZE", TN_ERR_ARGUMENT},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        OnDevice d;
        TnError err = {0};
        IrModule *m = make_mlp(NULL);
        OK(tni_shape_apply_ranges(m, "batch=1:2:64", &err));
        on_device_start(&d, TN_F32);
        d.o.buckets = cases[i].spec;
        assert_int_equal(on_device_make(&d, m, &err), cases[i].st);
        assert_non_null(strstr(err.message, cases[i].text));
        on_device_free(&d);
    }
}

/* ---- without a device ---- */

static void a_target_needs_no_device(void **state) {
    (void)state;
    OnDevice d;
    TnError err = {0};
    TnDeviceInfo info;
    OK(tni_planner_target("sm_90", &info, &err));
    assert_int_equal(info.arch, 90);
    assert_int_equal(tni_planner_target("sm_1", &info, &err), TN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "sm_90"));
    on_device_start(&d, TN_F16);
    d.o.device = NULL;
    uint64_t before = fake->kernels;
    OK(on_device_make(&d, make_vision(NULL), &err));
    assert_int_equal(fake->kernels, before);
    char *text = calloc(d.p.explain_bytes + 1, 1);
    memcpy(text, d.p.explain, d.p.explain_bytes);
    assert_non_null(strstr(text, "not verified: no device"));
    free(text);
    TnTensor v[2] = {make_tensor(TN_F32, 4, (int64_t[]){2, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){2, 16}, 2)};
    on_device_run(&d, make_vision(NULL), v, 2e-2);
    free(v[0].data);
    free(v[1].data);
    on_device_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_goes_to_the_device),
        cmocka_unit_test(arenas_are_apart),
        cmocka_unit_test(graphs_run_on_the_device),
        cmocka_unit_test(steps_without_a_kernel_are_refused_or_copied_for),
        cmocka_unit_test(wrong_kernels_of_the_device_are_never_chosen),
        cmocka_unit_test(a_step_without_an_exact_kernel_fails_the_build),
        cmocka_unit_test(faults_end_the_build_and_leave_nothing),
        cmocka_unit_test(what_is_known_is_not_run_again),
        cmocka_unit_test(kernels_differ_between_buckets),
        cmocka_unit_test(wrong_buckets_are_refused),
        cmocka_unit_test(a_target_needs_no_device),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
