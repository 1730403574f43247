/* SPDX-License-Identifier: Apache-2.0
 *
 * Device libraries without a device: missing, of a wrong version, present where there is no driver; names of devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/device.h"

static void refused(const char *path, const char *word) {
    const TnDeviceLibrary *lib = NULL;
    TnError err = {0};
    setenv("TENON_CUDA_LIBRARY", path, 1);
    assert_int_equal(tni_device_library(TN_DEVICE_CUDA, &lib, &err), TN_ERR_DEVICE);
    assert_null(lib);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, word));
    assert_non_null(strstr(err.message, "TENON_CUDA_LIBRARY"));
}

static void missing(void **state) {
    (void)state;
    refused("/nonexistent/libtenon_cuda.so", "no such file");
}

static void wrong(void **state) {
    (void)state;
    refused(TN_TEST_FOLDER "/libtest_old_device.so", "version 77");
    refused(TN_TEST_FOLDER "/libtest_no_device.so", "tenon_device_library");
}

static void not_a_kind(void **state) {
    (void)state;
    const TnDeviceLibrary *lib = NULL;
    TnError err = {0};
    assert_int_equal(tni_device_library(TN_DEVICE_CPU, &lib, &err), TN_ERR_DEVICE);
    assert_null(tni_device_kernel_find(NULL, "gemm"));
}

static void names(void **state) {
    (void)state;
    TnDeviceKind kind;
    uint32_t index;
    static const char *const good[] = {"cpu", "cuda", "cuda:0", "cuda:1", "cuda:12"};
    static const uint32_t want[] = {0, 0, 0, 1, 12};
    for (size_t i = 0; i < TN_COUNT(good); i++) {
        assert_true(tni_device_parse(good[i], &kind, &index));
        assert_int_equal(kind, i == 0 ? TN_DEVICE_CPU : TN_DEVICE_CUDA);
        assert_int_equal(index, want[i]);
    }
    static const char *const bad[] = {"", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1x", "cuda1", "cuda:99999", "gpu"};
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_false(tni_device_parse(bad[i], &kind, &index));
    assert_false(tni_device_parse(NULL, &kind, &index));
}

/* A row: found by name, of this device, with what a row must have. */
static void check_rows(const TnDeviceLibrary *lib) {
    for (uint32_t i = 0; i < lib->n_kernels; i++) {
        const TnKernel *k = &lib->kernels[i];
        assert_ptr_equal(tni_device_kernel_find(lib, k->name), k); /* also: no name twice */
        assert_non_null(k->run);
        assert_int_equal(k->device, TN_DEVICE_CUDA);
        assert_true(k->arch_min >= 80 && (k->arch_max == 0 || k->arch_max >= k->arch_min));
        assert_int_equal(k->packing == NULL, k->pack == NULL);
        assert_int_equal(k->packing == NULL, k->packed_bytes == NULL);
        assert_true(k->atol >= 0 && k->rtol >= 0);
    }
    assert_null(tni_device_kernel_find(lib, "no such kernel"));
    assert_null(tni_device_kernel_find(lib, NULL));
}

/* The library opens, and says what it misses, on machines without driver and GPU; where there is one, it answers. */
static void without_driver(void **state) {
    (void)state;
    const TnDeviceLibrary *lib = NULL;
    TnError err = {0};
    if (access(TN_CUDA_FILE, F_OK) != 0)
        skip();
    setenv("TENON_CUDA_LIBRARY", TN_CUDA_FILE, 1);
    assert_int_equal(tni_device_library(TN_DEVICE_CUDA, &lib, &err), TN_OK);
    assert_non_null(lib);
    assert_string_equal(lib->name, "cuda");
    check_rows(lib);
    const TnDeviceLibrary *again = NULL;
    assert_int_equal(tni_device_library(TN_DEVICE_CUDA, &again, &err), TN_OK);
    assert_ptr_equal(again, lib);

    uint32_t n = 7;
    TnDevice *d = NULL;
    TnStatus st = lib->count(&n, &err);
    if (st == TN_OK && n > 0)
        return;
    if (st != TN_OK) {
        assert_int_equal(st, TN_ERR_DEVICE);
        assert_non_null(strstr(err.message, "driver"));
        assert_int_equal(n, 0);
    }
    assert_int_equal(lib->open(0, &d, &err), TN_ERR_DEVICE);
    assert_null(d);
    assert_true(err.message[0] != '\0');
    lib->close(&d);
    lib->range("span");
    lib->range(NULL);
}

/* Compiling needs no GPU: a good source gives a binary, a bad one the compiler's words. */
static void compile(void **state) {
    (void)state;
    const TnDeviceLibrary *lib = NULL;
    TnError err = {0};
    void *binary = NULL;
    size_t bytes = 0;
    if (access(TN_CUDA_FILE, F_OK) != 0)
        skip();
    assert_int_equal(tni_device_library(TN_DEVICE_CUDA, &lib, &err), TN_OK);
    TnStatus st =
        lib->compile("extern \"C\" __global__ void tenon_step(float *x) { x[threadIdx.x] += 1.0f; }", 90, NULL, &binary, &bytes, &err);
    if (st == TN_ERR_UNSUPPORTED) { /* no NVRTC here */
        assert_non_null(strstr(err.message, "TENON_CUDA_PATH"));
        return;
    }
    assert_int_equal(st, TN_OK);
    assert_true(bytes > 64 && memcmp(binary, "\177ELF", 4) == 0);
    tni_free(NULL, binary);
    st = lib->compile("extern \"C\" __global__ void tenon_step() { nonsense }", 90, NULL, &binary, &bytes, &err);
    assert_int_equal(st, TN_ERR_INTERNAL);
    assert_null(binary);
    assert_non_null(strstr(err.message, "nonsense"));
    assert_int_equal(lib->compile("", 7, NULL, &binary, &bytes, &err), TN_ERR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing), cmocka_unit_test(wrong),          cmocka_unit_test(not_a_kind),
        cmocka_unit_test(names),   cmocka_unit_test(without_driver), cmocka_unit_test(compile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
