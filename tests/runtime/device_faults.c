/* SPDX-License-Identifier: Apache-2.0
 *
 * What can go wrong with a plan for a device: no device, another one, no memory at any point, a device that fails at any call, indices out of
 * range, damaged plans. Whatever happens is a status that says what to do, nothing is lost, and other contexts go on. */
#include "runtime/device_session.h"

#include "runtime/hostile.h"

static uint32_t text_bytes;

static void count_text(void *ctx, const char *s, size_t n) {
    (void)ctx, (void)s;
    text_bytes += (uint32_t)n;
}

/* ---- another device, or none ---- */

static const char *new_gemm(TnOp op, uint32_t s) {
    (void)s;
    return op == TN_OP_gemm ? "fake_new_gemm" : NULL;
}

static PlanHeader *header(Session *s) {
    return (PlanHeader *)(void *)s->bytes;
}

static TnStatus open_with(Session *s, int32_t index, int32_t inspect, TnError *err) {
    TnPlanOptions o = {.size = sizeof o, .device_index = index, .inspect = inspect};
    tni_plan_seal(s->bytes, s->n);
    return tni_rt_open((TnSpan){s->bytes, s->n, 0}, (TnFileMap){0}, &o, &s->plan, err);
}

static void plans_for_other_devices_are_refused(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    convert_session(&s, make_mlp, NULL, all_on, new_gemm);
    assert_int_equal(open_with(&s, -1, 0, &err), TN_ERR_PLAN); /* TF32, which the plan does not allow */
    assert_non_null(strstr(err.message, "takes liberties"));
    header(&s)->math = TN_MATH_TF32;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_OK);
    tni_rt_close(&s.plan);
    fake->arch = 80;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_ERR_INCOMPATIBLE);
    assert_string_equal(err.message, "node 'fc1': kernel fake_new_gemm needs compute capability 9.0 exactly; this device (fake device) has "
                                     "8.0, the plan was built for 9.0; build the plan again for this device");
    fake->arch = 90;
    header(&s)->device_identity ^= 1;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_ERR_INCOMPATIBLE);
    header(&s)->device_identity ^= 1;
    header(&s)->math = 8;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_ERR_INCOMPATIBLE);
    header(&s)->math = TN_MATH_TF32;
    assert_int_equal(open_with(&s, 2, 0, &err), TN_ERR_DEVICE);
    assert_string_equal(err.message, "there is no device fake:2; this machine has 2");
    fake->n_devices = 0;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_ERR_DEVICE);
    fake->n_devices = 2;
    assert_null(s.plan);
    close_device(&s);
}

static const char *generated(TnOp op, uint32_t s) {
    (void)s;
    return op == TN_OP_unary ? "fake_code_unary" : NULL;
}

static void code_for_other_devices_needs_a_compiler(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    convert_session(&s, make_mlp, NULL, all_on, generated);
    fake->arch = 100;
    fake->has_compiler = 0;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_ERR_INCOMPATIBLE);
    assert_string_equal(err.message, "node 'relu': its generated code is for compute capability 9.0, this device (fake device) has 10.0, and "
                                     "there is no compiler (NVRTC) to make it anew; build the plan again here");
    fake->has_compiler = 1;
    assert_int_equal(open_with(&s, -1, 0, &err), TN_OK);
    fake->arch = 90;
    close_device(&s);
}

static void plans_can_be_looked_at_without_a_device(void **state) {
    (void)state;
    Session s;
    TnError err = {0};
    TnIoInfo info;
    TnDeviceDescription d;
    TnContext *ctx = NULL;
    convert_session(&s, make_mlp, NULL, some_on, NULL);
    fake->n_devices = 0;
    assert_int_equal(open_with(&s, -1, 1, &err), TN_OK);
    OK(tn_plan_input(s.plan, 0, &info, &err));
    assert_string_equal(info.name, "x");
    OK(tn_plan_device(s.plan, &d, &err));
    assert_string_equal(d.kind, "cuda");
    assert_int_equal(d.plan_capability, 90);
    for (int json = 0; json < 2; json++) {
        text_bytes = 0;
        tn_plan_dump(s.plan, json, count_text, NULL);
        assert_true(text_bytes > 500);
    }
    assert_int_equal(tn_context_create(s.plan, NULL, &ctx, &err), TN_ERR_STATE);
    assert_null(ctx);
    fake->n_devices = 2;
    close_device(&s);
}

/* ---- no memory ---- */

/* Opens, runs three times, closes, with allocation number k failing; false: nothing failed. */
static bool lacking(Session *s, TnTensor *inputs, uint64_t k) {
    TnError err = {0};
    TnStatus st;
    fake->n_alloc = 0;
    fake->fail_alloc = k;
    st = open_bytes(s->bytes, s->n, NULL, &s->plan, &err);
    if (st == TN_OK)
        st = tni_rt_context_create(s->plan, 1, tni_default_allocator(), &s->ctx, &err);
    if (st == TN_OK)
        set_inputs(s, inputs);
    for (int i = 0; i < 3 && st == TN_OK; i++)
        st = tn_context_run(s->ctx, &err);
    bool failed = fake->n_alloc > k;
    fake->fail_alloc = UINT64_MAX;
    if (st != TN_OK) {
        assert_int_equal(st, TN_ERR_MEMORY);
        assert_non_null(strstr(err.message, "bytes"));
    }
    if (s->ctx) /* a lack of memory leaves the context as it was */
        run_session(s, inputs, 3);
    tni_rt_context_destroy(&s->ctx);
    if (s->plan)
        tni_rt_close(&s->plan);
    assert_int_equal(fake->live, 0);
    return failed;
}

static void a_lack_of_memory_is_told(void **state) {
    (void)state;
    static const OnDeviceFn on[] = {all_on, some_on, last_off};
    for (size_t i = 0; i < TN_COUNT(on); i++) {
        Session s;
        uint64_t k = 0;
        convert_session(&s, make_dynamic, NULL, on[i], NULL);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){9, 6}, 1);
        while (lacking(&s, &x, k))
            k++;
        assert_true(k > 5);
        free(x.data);
        close_device(&s);
        k = 0;
        convert_session(&s, make_mlp, NULL, on[i], NULL);
        x = make_tensor(TN_F32, 2, (int64_t[]){9, 16}, 1);
        while (lacking(&s, &x, k))
            k++;
        assert_true(k > 5);
        free(x.data);
        close_device(&s);
    }
}

/* ---- failures ---- */

static bool failing(Session *s, TnTensor *inputs, uint64_t k) {
    TnError err = {0};
    TnContext *other = NULL;
    TnTensor want[16];
    bool opened = false;
    fake->n_call = 0;
    fake->fail_call = k;
    TnStatus st = open_bytes(s->bytes, s->n, NULL, &s->plan, &err);
    if (st == TN_OK)
        st = tni_rt_context_create(s->plan, 1, tni_default_allocator(), &s->ctx, &err);
    if (st == TN_OK) {
        set_inputs(s, inputs);
        opened = true;
    }
    for (int i = 0; i < 4 && st == TN_OK; i++)
        st = tn_context_run(s->ctx, &err);
    bool failed = fake->n_call > k;
    fake->fail_call = UINT64_MAX;
    if (failed && st != TN_OK)
        assert_int_equal(st, TN_ERR_DEVICE);
    if (st != TN_OK && opened) {
        assert_int_equal(tn_context_run(s->ctx, &err), TN_ERR_DEVICE);
        assert_non_null(strstr(err.message, "cannot be used any more"));
        assert_int_equal(tn_device_write(s->ctx, &err, &err, 4, &err), TN_ERR_DEVICE);
        OK(tni_rt_context_create(s->plan, 1, tni_default_allocator(), &other, &err)); /* others live */
        TnContext *dead = s->ctx;
        s->ctx = other;
        interpret(s->b.m, inputs, want);
        set_inputs(s, inputs);
        OK(tn_context_run(s->ctx, &err));
        compare_outputs(s, want, 1e-5);
        free_outputs(s->b.m, want);
        tni_rt_context_destroy(&dead);
    }
    tni_rt_context_destroy(&s->ctx);
    if (s->plan)
        tni_rt_close(&s->plan);
    assert_int_equal(fake->live, 0);
    return failed;
}

static void a_lost_device_is_told(void **state) {
    (void)state;
    static const OnDeviceFn on[] = {all_on, some_on, last_off};
    for (size_t i = 0; i < TN_COUNT(on); i++) {
        Session s;
        uint64_t k = 0;
        convert_session(&s, make_mlp, NULL, on[i], NULL);
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){9, 16}, 1);
        while (failing(&s, &x, k))
            k++;
        assert_true(k > 20);
        free(x.data);
        close_device(&s);
    }
}

/* ---- indices ---- */

static void indices_out_of_range_are_named(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        Session s;
        TnError err = {0};
        open_device(&s, make_vision, k ? some_on : all_on, NULL);
        TnTensor in[2] = {make_tensor(TN_F32, 4, (int64_t[]){2, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){2, 16}, 2)};
        for (uint32_t round = 0; round < 4; round++) { /* step by step, captured, launched again */
            set_inputs(&s, in);
            ((int64_t *)in[1].data)[5] = 77;
            assert_int_equal(tn_context_run(s.ctx, &err), TN_ERR_RUN);
            assert_string_equal(err.node, "embed");
            assert_non_null(strstr(err.message, "node 'embed'"));
            assert_non_null(strstr(err.message, "77"));
            ((int64_t *)in[1].data)[5] = 7;
            run_session(&s, in, 1); /* a failed run leaves the context usable */
        }
        free(in[0].data);
        free(in[1].data);
        close_device(&s);
    }
}

/* ---- damage ---- */

/* One field somewhere before the weights becomes another number. */
static void damage(uint8_t *bytes, size_t head, uint32_t *seed) {
    static const uint32_t odd[] = {0, 1, 2, 3, 8, 9, 64, 255, 65536, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    noise(seed);
    size_t at = sizeof(PlanHeader) + (*seed >> 4) % ((head - sizeof(PlanHeader)) / 4) * 4;
    uint32_t v;
    memcpy(&v, bytes + at, 4);
    noise(seed);
    if (*seed >> 8 & 1)
        v = odd[(*seed >> 12) % TN_COUNT(odd)];
    else if (*seed >> 9 & 1)
        v += (*seed >> 12) % 5 - 2;
    else
        v ^= 1u << (*seed >> 12) % 32;
    memcpy(bytes + at, &v, 4);
}

static void sealed_damage_is_harmless(void **state) {
    (void)state;
    static const OnDeviceFn on[] = {all_on, some_on, no_counts};
    uint32_t seed = 9, outcome[3] = {0};
    for (size_t i = 0; i < TN_COUNT(all_graphs) * TN_COUNT(on); i++) {
        Session s;
        MakeFn make = all_graphs[i % TN_COUNT(all_graphs)];
        convert_session(&s, make, NULL, make == make_generator ? all_on : on[i / TN_COUNT(all_graphs)], NULL);
        const PlanSection *sec = (const PlanSection *)(const void *)(s.bytes + sizeof(PlanHeader));
        size_t head = sec[header(&s)->n_sections - 1].offset;
        uint8_t *copy = tni_alloc_aligned(NULL, s.n, 4096);
        assert_int_equal(hostile_run(s.bytes, s.n), 2);
        for (int round = 0; round < 500; round++) {
            memcpy(copy, s.bytes, s.n);
            for (int k = 0; k <= round % 3; k++)
                damage(copy, head, &seed);
            tni_plan_seal(copy, s.n);
            outcome[hostile_run(copy, s.n)]++;
        }
        tni_free(NULL, copy);
        close_device(&s);
    }
    assert_true(outcome[0] > 500 && outcome[1] > 50 && outcome[2] > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_for_other_devices_are_refused),
        cmocka_unit_test(code_for_other_devices_needs_a_compiler),
        cmocka_unit_test(plans_can_be_looked_at_without_a_device),
        cmocka_unit_test(a_lack_of_memory_is_told),
        cmocka_unit_test(a_lost_device_is_told),
        cmocka_unit_test(indices_out_of_range_are_named),
        cmocka_unit_test(sealed_damage_is_harmless),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
