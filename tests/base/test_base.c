/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors, arena, checked shapes, conversions of element types, files, threads. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/dtype.h"
#include "base/span.h"
#include "base/threads.h"

static void errors_name_node_and_offset(void **state) {
    (void)state;
    TnError err = {0};
    assert_int_equal(tni_raise_node(&err, TN_ERR_SHAPE, "conv\n1", "rank %d", 3), TN_ERR_SHAPE);
    assert_string_equal(err.message, "node 'conv\n1': rank 3");
    assert_string_equal(err.node, "conv\n1");
    assert_int_equal(tni_raise_at(&err, TN_ERR_PARSE, 17, "cut \x1b[31m short"), TN_ERR_PARSE);
    assert_string_equal(err.message, "cut ?[31m short (at byte 17)");
    assert_true(err.has_offset && err.offset == 17);
    assert_int_equal(tni_error_prefix(&err, TN_ERR_PARSE, "'%s'", "m.onnx"), TN_ERR_PARSE);
    assert_string_equal(err.message, "'m.onnx': cut ?[31m short (at byte 17)");
    char longest[4000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(TN_RAISE(&err, TN_ERR_DATA, "%s", longest), TN_ERR_DATA);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_int_equal(TN_RAISE(NULL, TN_ERR_DATA, "nobody listens"), TN_ERR_DATA);
    assert_string_equal(tn_status_name(TN_ERR_PLAN), "plan");
}

static void arena_aligns_and_survives_growth(void **state) {
    (void)state;
    TnArena *a;
    assert_int_equal(tni_arena_create(NULL, &a, NULL), TN_OK);
    uint32_t *items = NULL, n = 0, cap = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        assert_true(TN_RESERVE_ONE(a, items, n, cap));
        items[n++] = i;
        size_t align = (size_t)1 << (i % 13);
        void *p = tni_arena_alloc_aligned(a, i % 300, align);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 0xff, i % 300);
    }
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(items[i], i);
    assert_null(tni_arena_calloc(a, SIZE_MAX / 2, 3));
    assert_null(tni_arena_alloc_aligned(a, SIZE_MAX - 4, 16));
    assert_string_equal(tni_arena_printf(a, "%d-%s", 7, "x"), "7-x");
    tni_arena_destroy(&a);
    assert_null(a);
}

static void shapes_refuse_overflow(void **state) {
    (void)state;
    int64_t n;
    size_t bytes;
    assert_true(tni_shape_bytes(TN_I4, 2, (int64_t[]){3, 3}, &n, &bytes));
    assert_true(n == 9 && bytes == 5);
    assert_true(tni_shape_bytes(TN_F32, 0, NULL, &n, &bytes) && n == 1 && bytes == 4);
    assert_true(tni_shape_bytes(TN_F32, 3, (int64_t[]){INT64_MAX, INT64_MAX, 0}, &n, &bytes) && n == 0 && bytes == 0);
    assert_false(tni_shape_bytes(TN_F32, 2, (int64_t[]){INT64_C(1) << 32, INT64_C(1) << 32}, &n, &bytes));
    assert_false(tni_shape_bytes(TN_F32, 1, (int64_t[]){INT64_C(1) << 60}, &n, &bytes));
    assert_false(tni_shape_bytes(TN_F32, 1, (int64_t[]){-1}, &n, &bytes));
    char text[32];
    assert_string_equal(tni_shape_str(text, sizeof text, 3, (int64_t[]){1, -2, 30}), "[1,-2,30]");
    assert_string_equal(tni_shape_str(text, sizeof text, 0, NULL), "[]");
}

static void half_floats_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = tni_f16_to_f32((uint16_t)h), b = tni_bf16_to_f32((uint16_t)h);
        if (f == f)
            assert_int_equal(tni_f32_to_f16(f), h);
        else
            assert_true((tni_f32_to_f16(f) & 0x7fff) > 0x7c00);
        if (b == b)
            assert_int_equal(tni_f32_to_bf16(b), h);
        else
            assert_true((tni_f32_to_bf16(b) & 0x7fff) > 0x7f80);
        if (h < 0x7bff) { /* midway to the next goes to the even one */
            double mid = ((double)f + (double)tni_f16_to_f32((uint16_t)(h + 1))) / 2;
            assert_int_equal(tni_f32_to_f16((float)mid), h % 2 == 0 ? h : h + 1);
            uint16_t stored;
            tni_store_f64(TN_F16, &stored, 0, mid * (1 + 1e-15)); /* would be double rounded through float */
            assert_int_equal(stored, h + 1);
        }
    }
    assert_int_equal(tni_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(tni_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(tni_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(tni_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(tni_f32_to_f16(nextafterf(0x1p-25f, 1)), 1);
    assert_int_equal(tni_f32_to_f16(3.4e38f), 0x7c00);
}

static void eight_bit_floats_follow_onnx(void **state) {
    (void)state;
    static const struct {
        TnDtype t;
        float max;
        uint8_t one, nan, over; /* 1.0; NaN; out of range without saturation */
    } rows[] = {{TN_F8E4M3FN, 448.0f, 0x38, 0x7f, 0x7f}, {TN_F8E4M3FNUZ, 240.0f, 0x40, 0x80, 0x80},
                {TN_F8E5M2, 57344.0f, 0x3c, 0x7e, 0x7c}, {TN_F8E5M2FNUZ, 57344.0f, 0x40, 0x80, 0x80}};
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        TnDtype t = rows[i].t;
        for (uint32_t v = 0; v < 256; v++) {
            float f = tni_f8_to_f32(t, (uint8_t)v);
            if (f == f && !isinf(f))
                assert_int_equal(tni_f32_to_f8(t, f, true), v);
        }
        assert_int_equal(tni_f32_to_f8(t, 1.0f, true), rows[i].one);
        assert_int_equal(tni_f32_to_f8(t, NAN, true) & 0xff, rows[i].nan);
        assert_int_equal(tni_f32_to_f8(t, 1e9f, false), rows[i].over);
        assert_true(tni_f8_to_f32(t, tni_f32_to_f8(t, 1e9f, true)) == rows[i].max);
        assert_true(tni_f8_to_f32(t, tni_f32_to_f8(t, -INFINITY, true)) == -rows[i].max);
    }
}

static void integers_saturate_from_floats_and_wrap_from_integers(void **state) {
    (void)state;
    int8_t i8;
    uint64_t u64;
    uint8_t packed[2] = {0, 0};
    tni_store_f64(TN_I8, &i8, 0, 2.9999998);
    assert_int_equal(i8, 2);
    tni_store_f64(TN_I8, &i8, 0, -1e30);
    assert_int_equal(i8, -128);
    tni_store_i64(TN_I8, &i8, 0, 300);
    assert_int_equal(i8, 44);
    tni_store_f64(TN_U64, &u64, 0, 1.8e19);
    assert_true(u64 == 18000000000000000000u);
    assert_true(tni_load_f64(TN_U64, &u64, 0) == 1.8e19);
    tni_store_i64(TN_I4, packed, 2, -3);
    tni_store_i64(TN_I4, packed, 1, 7);
    assert_int_equal(tni_load_i64(TN_I4, packed, 2), -3);
    assert_int_equal(tni_load_i64(TN_I4, packed, 1), 7);
    assert_int_equal(tni_load_i64(TN_I4, packed, 0), 0);
    tni_store_f64(TN_F4E2M1, packed, 0, -2.5); /* halfway: to even mantissa, 2 */
    assert_true(tni_load_f64(TN_F4E2M1, packed, 0) == -2.0);
}

static void files_stay_below_their_folder(void **state) {
    (void)state;
    char dir[] = "/tmp/tn-test-XXXXXX", path[512], sub[512];
    assert_non_null(mkdtemp(dir));
    snprintf(sub, sizeof sub, "%s/sub", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    TnFileWriter w;
    snprintf(path, sizeof path, "%s/sub/w.bin", dir);
    assert_int_equal(tni_file_write_begin(&w, NULL, path, NULL), TN_OK);
    assert_int_equal(tni_file_write(&w, "abc", 3, NULL), TN_OK);
    assert_int_equal(access(path, F_OK), -1); /* not there before commit */
    assert_int_equal(tni_file_write_commit(&w, NULL), TN_OK);
    assert_int_equal(tni_file_write_begin(&w, NULL, path, NULL), TN_OK);
    tni_file_write_abort(&w);
    TnFileMap map;
    assert_int_equal(tni_file_map_below(dir, "sub/./w.bin", &map, NULL), TN_OK);
    assert_true(map.n == 3 && memcmp(map.data, "abc", 3) == 0);
    tni_file_unmap(&map);
    snprintf(path, sizeof path, "%s/link", dir);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    static const char *const bad[] = {"../x", "sub/../../x", "/etc/passwd", "link", "", "sub", "sub/", "a\\b", "sub/w.bin/x"};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        TnError err = {0};
        assert_int_equal(tni_file_map_below(dir, bad[i], &map, &err), TN_ERR_PATH);
        assert_int_not_equal(strlen(err.message), 0);
    }
    assert_int_equal(tni_file_map_below(dir, "none", &map, NULL), TN_ERR_IO);
    TnError err = {0};
    assert_int_equal(tni_file_write_begin(&w, NULL, "/nonexistent-folder/x", &err), TN_ERR_IO);
    unlink(path);
    snprintf(path, sizeof path, "%s/sub/w.bin", dir);
    unlink(path);
    rmdir(sub);
    assert_int_equal(rmdir(dir), 0); /* nothing was left behind */
}

typedef struct Sum {
    atomic_llong total;
    uint32_t workers;
} Sum;

static void add_task(void *ctx, int64_t task, uint32_t worker) {
    Sum *s = ctx;
    if (worker < s->workers)
        atomic_fetch_add(&s->total, task);
}

static void every_task_runs_once(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= 4; n++) {
        TnThreads *t;
        assert_int_equal(tni_threads_create(NULL, n, &t, NULL), TN_OK);
        assert_int_equal(tni_threads_count(t), n);
        for (int64_t tasks = 0; tasks < 300; tasks++) {
            Sum s = {.workers = n};
            tni_parallel_for(t, tasks, add_task, &s);
            assert_true(s.total == tasks * (tasks - 1) / 2);
        }
        tni_threads_destroy(&t);
    }
    TnThreads *t;
    assert_int_equal(tni_threads_create(NULL, 1000000, &t, NULL), TN_ERR_ARGUMENT);
    assert_null(t);
}

static void cpu_flags_can_be_masked(void **state) {
    (void)state;
    uint32_t mask;
    assert_true(tni_cpu_level_parse("avx2", &mask));
    tni_cpu_mask(mask);
    assert_int_equal(tni_cpu_flags() & ~TN_CPU_AVX2, 0);
    assert_string_not_equal(tni_cpu_level_name(tni_cpu_flags()), "avx512");
    tni_cpu_mask(UINT32_MAX);
    assert_false(tni_cpu_level_parse("sse9", &mask));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_node_and_offset),
        cmocka_unit_test(arena_aligns_and_survives_growth),
        cmocka_unit_test(shapes_refuse_overflow),
        cmocka_unit_test(half_floats_round_to_nearest_even),
        cmocka_unit_test(eight_bit_floats_follow_onnx),
        cmocka_unit_test(integers_saturate_from_floats_and_wrap_from_integers),
        cmocka_unit_test(files_stay_below_their_folder),
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(cpu_flags_can_be_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
