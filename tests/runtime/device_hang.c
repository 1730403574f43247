/* SPDX-License-Identifier: Apache-2.0
 *
 * A kernel that does not come to an end, in a run step by step and in a graph: the call fails within the limit and names what hangs,
 * nothing waits for the device afterwards (the fake device aborts then), and the process ends. Each case is a process of its own, because
 * a device that was given up stays so. */
#include "runtime/device_session.h"
#include "runtime/in_child.h"

/* hang_in: number of the run whose last kernel hangs. */
static void run_until_it_hangs(int hang_in, bool named) {
    Session s;
    TnError err = {0};
    open_device(&s, make_mlp, all_on, NULL);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){9, 16}, 1);
    set_inputs(&s, &x);
    TnContext *other = NULL;
    OK(tni_rt_context_create(s.plan, 1, tni_default_allocator(), &other, &err));
    const uint64_t before = fake->kernels;
    for (int i = 0; i < hang_in; i++)
        OK(tn_context_run(s.ctx, &err));
    fake->hang = hang_in ? fake->kernels + (fake->kernels - before) / (uint64_t)hang_in - 1 : fake->kernels + 1;
    const uint64_t began = tni_now_ns();
    CHECK(tn_context_run(s.ctx, &err) == TN_ERR_DEVICE);
    CHECK(tni_now_ns() - began < 5000000000u);
    CHECK(strstr(err.message, "has not come to an end in 0.2 s"));
    CHECK(!named || (strstr(err.message, "node '") && strstr(err.message, "kernel fake_")));
    CHECK(named || strstr(err.message, "program 'main'"));
    CHECK(tn_context_run(s.ctx, &err) == TN_ERR_DEVICE);
    CHECK(tn_context_set_input(other, 0, &x, &err) == TN_OK);
    CHECK(tn_context_run(other, &err) == TN_ERR_DEVICE);
    tni_rt_context_destroy(&other);
    tni_rt_context_destroy(&s.ctx);
    tni_rt_close(&s.plan);
    free(x.data);
    tni_free(NULL, s.bytes);
    built_free(&s.b, NULL);
}

static void first_run(void) {
    run_until_it_hangs(0, true);
}

static void captured_run(void) {
    run_until_it_hangs(3, false);
}

static void runs_end(void **state) {
    (void)state;
    in_child(first_run);
    in_child(captured_run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_end),
    };
    setenv("TENON_DEVICE_TIMEOUT", "0.2", 1);
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
