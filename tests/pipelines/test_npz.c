/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy and .npz: round trips, orders, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipelines/npz.h"
#include "pipelines/tensor_error.h"

static void arrays_survive_a_round_trip(void **state) {
    (void)state;
    static const TnDtype types[] = {TN_F32, TN_F64, TN_F16, TN_I64, TN_I32, TN_I16, TN_I8, TN_U64, TN_U32, TN_U16, TN_U8, TN_BOOL};
    uint8_t bytes[12 * 8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i % 3 == 0);
    char path[] = "/tmp/tn-npz-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        TnTensor t[3] = {{bytes, types[i], 2, {3, 4}}, {bytes, types[i], 0, {0}}, {bytes, types[i], 3, {2, 0, 5}}};
        const char *names[3] = {"a", "scalar", "empty/x.0"};
        TnNpz back;
        TnError err = {0};
        assert_int_equal(tn_npz_write(path, names, t, 3, &err), TN_OK);
        assert_int_equal(tn_npz_read(path, NULL, &back, &err), TN_OK);
        assert_int_equal(back.n, 3);
        for (uint32_t k = 0; k < 3; k++) {
            const TnTensor *r = tn_npz_find(&back, names[k]);
            assert_non_null(r);
            assert_int_equal(r->dtype, types[i]);
            assert_int_equal(r->rank, t[k].rank);
            assert_memory_equal(r->dims, t[k].dims, (size_t)r->rank * sizeof *r->dims);
            assert_memory_equal(r->data, bytes, tn_tensor_bytes(r));
        }
        assert_null(tn_npz_find(&back, "b"));
        tn_npz_free(NULL, &back);
    }
    unlink(path);
}

static size_t npy(char *buf, const char *dict, const void *data, size_t n) {
    size_t len = strlen(dict) + 1;
    memcpy(buf, "\x93NUMPY\x01\x00", 8);
    buf[8] = (char)(len & 0xff);
    buf[9] = (char)(len >> 8);
    memcpy(buf + 10, dict, len - 1);
    buf[10 + len - 1] = '\n';
    if (n > 0)
        memcpy(buf + 10 + len, data, n);
    return 10 + len + n;
}

static void fortran_order_is_transposed(void **state) {
    (void)state;
    char buf[512];
    const int32_t columns[6] = {1, 4, 2, 5, 3, 6}, rows[6] = {1, 2, 3, 4, 5, 6};
    size_t n = npy(buf, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }", columns, sizeof columns);
    TnTensor t;
    assert_int_equal(tn_npy_read_memory(buf, n, "f", NULL, &t, NULL), TN_OK);
    assert_memory_equal(t.data, rows, sizeof rows);
    tn_npy_free(NULL, &t);
}

static void bad_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *dict;
        TnStatus st;
    } rows[] = {
        {"{'descr': '<i4', 'fortran_order': False}", TN_ERR_PARSE},
        {"{'descr': '>i4', 'fortran_order': False, 'shape': (2,)}", TN_ERR_UNSUPPORTED},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", TN_ERR_UNSUPPORTED},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}", TN_ERR_UNSUPPORTED},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (-2,)}", TN_ERR_PARSE},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (a,)}", TN_ERR_PARSE},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}", TN_ERR_LIMIT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", TN_ERR_LIMIT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1000,)}", TN_ERR_DATA},
    };
    char buf[512];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TnTensor t;
        TnError err = {0};
        size_t n = npy(buf, rows[i].dict, "12345678", 8);
        assert_int_equal(tn_npy_read_memory(buf, n, "x", NULL, &t, &err), rows[i].st);
        assert_int_not_equal(strlen(err.message), 0);
    }
    const int32_t two[2] = {1, 2};
    size_t n = npy(buf, "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", two, sizeof two);
    for (size_t cut = 0; cut < n; cut++) {
        TnTensor t;
        char *copy = malloc(cut + 1);
        memcpy(copy, buf, cut);
        assert_int_not_equal(tn_npy_read_memory(copy, cut, "x", NULL, &t, NULL), TN_OK);
        free(copy);
    }
}

static void nothing_is_left_of_a_failed_write(void **state) {
    (void)state;
    TnTensor t = {"", TN_STRING, 0, {0}};
    const char *name = "s";
    TnError err = {0};
    assert_int_equal(tn_npz_write("/tmp/tn-npz-never", &name, &t, 1, &err), TN_ERR_UNSUPPORTED);
    assert_int_equal(access("/tmp/tn-npz-never", F_OK), -1);
    assert_int_equal(tn_npz_write("/nonexistent-folder/x.npz", &name, &t, 0, &err), TN_ERR_IO);
}

static void errors_count_nan_and_scale(void **state) {
    (void)state;
    float want[4] = {1.0f, -2.0f, 0.0f, 4.0f}, got[4] = {1.5f, -2.0f, 0.25f, 4.0f};
    TnTensor w = {want, TN_F32, 1, {4}}, g = {got, TN_F32, 1, {4}};
    TnTensorError e;
    assert_int_equal(tn_tensor_error(&g, &w, &e, NULL), TN_OK);
    assert_true(e.max_abs == 0.5 && e.scale == 4.0 && e.max_rel == 0.5 && e.median_abs == 0.125 && e.n_nan_mismatch == 0);
    got[3] = __builtin_nanf("");
    assert_int_equal(tn_tensor_error(&g, &w, &e, NULL), TN_OK);
    assert_int_equal(e.n_nan_mismatch, 1);
    g.dims[0] = 3;
    assert_int_equal(tn_tensor_error(&g, &w, &e, NULL), TN_ERR_SHAPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_survive_a_round_trip),      cmocka_unit_test(fortran_order_is_transposed),
        cmocka_unit_test(bad_headers_are_refused),          cmocka_unit_test(nothing_is_left_of_a_failed_write),
        cmocka_unit_test(errors_count_nan_and_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
