/* SPDX-License-Identifier: Apache-2.0
 *
 * A build that meets a kernel which does not come to an end names it within the limit, and the process ends. */
#include "planner/on_device.h"
#include "runtime/in_child.h"

static void build(void) {
    OnDevice d;
    TnError err = {0};
    on_device_start(&d, TN_F32);
    d.o.tune = true;
    fake->hang = fake->kernels + 5;
    const uint64_t began = tni_now_ns();
    CHECK(on_device_make(&d, make_mlp(NULL), &err) == TN_ERR_DEVICE);
    CHECK(tni_now_ns() - began < 5000000000u);
    CHECK(strstr(err.message, "node '") && strstr(err.message, "kernel fake_") && strstr(err.message, "in 0.2 s"));
    tni_arena_destroy(&d.arena);
    built_free(&d.b, NULL);
    lib->close(&d.device);
}

static void builds_end(void **state) {
    (void)state;
    in_child(build);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_end),
    };
    setenv("TENON_DEVICE_TIMEOUT", "0.2", 1);
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
