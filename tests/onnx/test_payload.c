/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor payloads: raw, typed (packed and not) and external, of every element type; and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/build.h"

/* A model whose output is the initializer "w". */
static Pb constant_model(Pb tensor) {
    Pb g = {0};
    g_tensor(&g, tensor);
    g_node(&g, node("Identity", "n", "w", "y"));
    g_output(&g, "y");
    return model(17, g);
}

static void expect_data(Pb tensor, TnDtype t, const void *want, size_t bytes) {
    Pb m = constant_model(tensor);
    IrModule *ir = NULL;
    TnError err = {0};
    if (import_pb(m, &ir, &err) != TN_OK)
        fail_msg("%s", err.message);
    const IrValue *w = find_value(ir->graphs[0], "w");
    assert_non_null(w);
    assert_int_equal(w->kind, IR_CONST);
    assert_int_equal(w->dtype, t);
    if (bytes > 0)
        assert_memory_equal(w->data, want, bytes);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void expect_error(Pb tensor, TnStatus want, const char *words) {
    Pb m = constant_model(tensor);
    IrModule *ir = NULL;
    TnError err = {0};
    TnStatus st = import_pb(m, &ir, &err);
    if (st != want || strstr(err.message, words) == NULL)
        fail_msg("status %d, message '%s'; expected %d and '%s'", st, err.message, want, words);
    free(m.p);
}

static void raw_data_is_not_copied(void **state) {
    (void)state;
    const float v[3] = {1, 2, 3};
    Pb m = constant_model(tensor_f32("w", 3, v));
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    const uint8_t *data = find_value(ir->graphs[0], "w")->data;
    assert_true(data > m.p && data < m.p + m.n);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

/* Numbers in typed field `field`, packed or one by one. */
static Pb typed(int32_t dtype, int64_t elements, uint32_t field, const int64_t *v, size_t n, bool packed) {
    int64_t dims[1] = {elements};
    Pb t = tensor_head("w", dtype, 1, dims), run = {0};
    for (size_t i = 0; i < n; i++) {
        if (packed)
            pb_varint(&run, (uint64_t)v[i]);
        else
            pb_int(&t, field, v[i]);
    }
    if (packed)
        pb_msg(&t, field, run);
    return t;
}

static void typed_integers(void **state) {
    (void)state;
    static const int64_t v[4] = {0, 1, -3, 100};
    static const struct {
        TnDtype t;
        uint32_t field, bytes;
    } kinds[] = {{TN_I8, 5, 1},       {TN_U8, 5, 1},     {TN_I16, 5, 2},       {TN_U16, 5, 2},  {TN_I32, 5, 4},
                 {TN_F16, 5, 2},      {TN_BF16, 5, 2},   {TN_I64, 7, 8},       {TN_U32, 11, 4}, {TN_U64, 11, 8},
                 {TN_F8E4M3FN, 5, 1}, {TN_F8E5M2, 5, 1}, {TN_F8E4M3FNUZ, 5, 1}};
    for (size_t k = 0; k < TN_COUNT(kinds); k++) {
        uint8_t want[32];
        for (size_t i = 0; i < 4; i++)
            memcpy(want + i * kinds[k].bytes, &v[i], kinds[k].bytes);
        for (int packed = 0; packed < 2; packed++)
            expect_data(typed((int32_t)kinds[k].t, 4, kinds[k].field, v, 4, packed != 0), kinds[k].t, want, 4 * kinds[k].bytes);
    }
}

static void typed_bool_and_narrow(void **state) {
    (void)state;
    static const int64_t bools[4] = {0, 1, 2, 255}, nibbles[2] = {0x21, 0x03};
    expect_data(typed(TN_BOOL, 4, 5, bools, 4, true), TN_BOOL, "\0\1\1\1", 4);
    expect_data(typed(TN_I4, 3, 5, nibbles, 2, true), TN_I4, "\x21\x03", 2);
    expect_data(typed(TN_U4, 4, 5, nibbles, 2, false), TN_U4, "\x21\x03", 2);
    expect_data(typed(TN_F4E2M1, 4, 5, nibbles, 2, false), TN_F4E2M1, "\x21\x03", 2);
    int64_t dims[1] = {2};
    expect_data(tensor_raw("w", TN_BOOL, 1, dims, "\5\0", 2), TN_BOOL, "\1\0", 2);
}

static void typed_floats(void **state) {
    (void)state;
    const float f[3] = {1.5f, -0.0f, 3e38f};
    const double d[3] = {1.5, -2.5, 1e300};
    int64_t dims[1] = {3};
    for (int packed = 0; packed < 2; packed++) {
        Pb a = tensor_head("w", TN_F32, 1, dims), b = tensor_head("w", TN_F64, 1, dims);
        if (packed) {
            pb_bytes(&a, 4, f, 4); /* in two runs */
            pb_bytes(&a, 4, f + 1, 8);
            pb_bytes(&b, 10, d, 24);
        }
        for (int i = 0; i < 3 && !packed; i++) {
            pb_f32(&a, 4, f[i]);
            pb_f64(&b, 10, d[i]);
        }
        expect_data(a, TN_F32, f, sizeof f);
        expect_data(b, TN_F64, d, sizeof d);
    }
}

static void scalars_and_empty(void **state) {
    (void)state;
    const float one = 1;
    int64_t none[2] = {0, 5};
    expect_data(tensor_raw("w", TN_F32, 0, NULL, &one, 4), TN_F32, &one, 4);
    expect_data(tensor_head("w", TN_F32, 2, none), TN_F32, NULL, 0);
    /* packed dims */
    Pb t = {0}, run = {0};
    pb_varint(&run, 1);
    pb_varint(&run, 1);
    pb_msg(&t, 1, run);
    pb_int(&t, 2, TN_F32);
    pb_str(&t, 8, "w");
    pb_bytes(&t, 9, &one, 4);
    expect_data(t, TN_F32, &one, 4);
}

static void wrong_payloads(void **state) {
    (void)state;
    static const int64_t three[3] = {1, 2, 3};
    int64_t dims[1] = {3}, huge[3] = {INT64_C(1) << 40, INT64_C(1) << 40, 3}, wraps[2] = {16, (INT64_C(1) << 60) + 2}, negative[1] = {-1};
    int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    expect_error(tensor_raw("w", TN_F32, 1, dims, "12345678901", 11), TN_ERR_DATA, "needs 12 bytes, the file has 11");
    expect_error(tensor_raw("w", TN_F32, 1, dims, "1234567890123", 13), TN_ERR_DATA, "the file has 13");
    expect_error(tensor_head("w", TN_F32, 1, dims), TN_ERR_DATA, "the file has 0");
    expect_error(tensor_head("w", TN_F32, 3, huge), TN_ERR_GRAPH, "more elements than memory can hold");
    expect_error(tensor_head("w", TN_F32, 2, wraps), TN_ERR_GRAPH, "more elements than memory can hold");
    expect_error(tensor_head("w", TN_F32, 1, negative), TN_ERR_GRAPH, "negative dimension");
    expect_error(tensor_raw("w", TN_F32, 9, nine, "1234", 4), TN_ERR_LIMIT, "rank 9");
    expect_error(tensor_raw("w", 99, 1, dims, "123", 3), TN_ERR_UNSUPPORTED, "element type 99");
    expect_error(tensor_raw("w", 0, 1, dims, "123", 3), TN_ERR_GRAPH, "no element type");
    expect_error(typed(TN_I64, 3, 7, three, 2, true), TN_ERR_DATA, "2 numbers in its typed data, its shape needs 3");
    expect_error(typed(TN_I64, 2, 7, three, 3, false), TN_ERR_DATA, "3 numbers");
    expect_error(typed(TN_F32, 3, 7, three, 3, true), TN_ERR_DATA, "expected field 4");
    Pb both = typed(TN_I64, 3, 7, three, 3, true);
    pb_bytes(&both, 9, three, sizeof three);
    expect_error(both, TN_ERR_DATA, "both raw_data and typed data");
    Pb two = typed(TN_I64, 3, 7, three, 3, true);
    pb_int(&two, 5, 1);
    expect_error(two, TN_ERR_DATA, "two typed fields");
    Pb text = tensor_head("w", TN_STRING, 1, dims);
    pb_str(&text, 6, "abc");
    expect_error(text, TN_ERR_UNSUPPORTED, "strings");
    expect_error(tensor_raw("w", TN_C64, 1, dims, "", 0), TN_ERR_UNSUPPORTED, "complex64");
    Pb segment = tensor_raw("w", TN_F32, 1, dims, "123456789012", 12);
    pb_msg(&segment, 3, (Pb){0});
    expect_error(segment, TN_ERR_UNSUPPORTED, "segments");
}

/* ---- external data ---- */

static Pb external(const char *location, const char *offset, const char *length) {
    int64_t dims[1] = {3};
    Pb t = tensor_head("w", TN_F32, 1, dims);
    const char *keys[4] = {"location", "offset", "length", "checksum"}, *values[4] = {location, offset, length, "ignored"};
    for (int i = 0; i < 4; i++) {
        Pb e = {0};
        if (values[i] == NULL)
            continue;
        pb_str(&e, 1, keys[i]);
        pb_str(&e, 2, values[i]);
        pb_msg(&t, 13, e);
    }
    pb_int(&t, 14, 1);
    return t;
}

static char folder[256];

static void write_file(const char *name, const void *data, size_t n) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tenon_onnx_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    char path[512];
    snprintf(path, sizeof path, "%s/sub", folder);
    if (mkdir(path, 0700) != 0)
        return -1;
    const float v[5] = {9, 1, 2, 3, 4};
    write_file("w.bin", v, sizeof v);
    write_file("sub/w.bin", v + 1, 12);
    snprintf(path, sizeof path, "%s/out", folder);
    return symlink("/etc/passwd", path);
}

static int remove_folder(void **state) {
    (void)state;
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static TnStatus import_file(Pb tensor, IrModule **out, uint64_t *hash, TnError *err) {
    Pb m = constant_model(tensor);
    char path[512];
    memset(err, 0, sizeof *err);
    *out = NULL;
    write_file("model.onnx", m.p, m.n);
    free(m.p);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    return tni_onnx_import(path, NULL, NULL, out, hash, err);
}

static void external_data_is_mapped(void **state) {
    (void)state;
    IrModule *m = NULL;
    TnError err = {0};
    uint64_t a = 0, b = 0;
    const float want[3] = {1, 2, 3};
    const char *offsets[2] = {"4", NULL}, *locations[2] = {"w.bin", "sub/w.bin"};
    for (int i = 0; i < 2; i++) {
        TnStatus st = import_file(external(locations[i], offsets[i], i == 0 ? "12" : NULL), &m, i == 0 ? &a : &b, &err);
        if (st != TN_OK)
            fail_msg("%s", err.message);
        assert_memory_equal(find_value(m->graphs[0], "w")->data, want, sizeof want);
        tni_ir_module_destroy(&m);
    }
    assert_true(a != b);
}

static void external_data_is_confined(void **state) {
    (void)state;
    static const struct {
        const char *location, *offset, *length;
        TnStatus status;
    } bad[] = {
        {"../w.bin", "0", "12", TN_ERR_PATH},
        {"sub/../../w.bin", "0", "12", TN_ERR_PATH},
        {"/etc/passwd", "0", "12", TN_ERR_PATH},
        {"out", "0", "12", TN_ERR_PATH},
        {"sub", "0", "12", TN_ERR_PATH},
        {"", "0", "12", TN_ERR_DATA},
        {NULL, "0", "12", TN_ERR_DATA},
        {"missing.bin", "0", "12", TN_ERR_IO},
        {"w.bin", "12", "12", TN_ERR_DATA},
        {"w.bin", "18446744073709551615", "12", TN_ERR_DATA},
        {"w.bin", "18446744073709551616", "12", TN_ERR_DATA},
        {"w.bin", "-4", "12", TN_ERR_DATA},
        {"w.bin", "0x4", "12", TN_ERR_DATA},
        {"w.bin", "", "12", TN_ERR_DATA},
        {"w.bin", "4", "8", TN_ERR_DATA},
        {"w.bin", "4", "1152921504606846976", TN_ERR_DATA},
    };
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        IrModule *m = NULL;
        TnError err = {0};
        uint64_t hash = 0;
        TnStatus st = import_file(external(bad[i].location, bad[i].offset, bad[i].length), &m, &hash, &err);
        if (st != bad[i].status)
            fail_msg("'%s' + %s: status %d (%s), expected %d", bad[i].location == NULL ? "none" : bad[i].location, bad[i].offset, st,
                     err.message, bad[i].status);
    }
    /* from memory there is no folder */
    expect_error(external("w.bin", "4", "12"), TN_ERR_PATH, "loaded from memory");
    Pb both = external("w.bin", "4", "12");
    pb_bytes(&both, 9, "123456789012", 12);
    expect_error(both, TN_ERR_DATA, "in the model too");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_data_is_not_copied),
        cmocka_unit_test(typed_integers),
        cmocka_unit_test(typed_bool_and_narrow),
        cmocka_unit_test(typed_floats),
        cmocka_unit_test(scalars_and_empty),
        cmocka_unit_test(wrong_payloads),
        cmocka_unit_test_setup_teardown(external_data_is_mapped, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(external_data_is_confined, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
