/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire reader on good and bad bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/names.h"
#include "onnx/wire.h"
#include "onnx/build.h"

static TnStatus walk(const void *bytes, size_t n, TnError *err) {
    uint32_t counts[4];
    TnSpan s = {.p = bytes, .n = n, .base = 1000};
    memset(err, 0, sizeof *err);
    return tni_onnx_wire_count(s, counts, 4, err);
}

static void reads_fields(void **state) {
    (void)state;
    Pb b = {0};
    TnError err = {0};
    pb_int(&b, 1, -1);
    pb_f32(&b, 2, 1.5f);
    pb_f64(&b, 3, 2.5);
    pb_str(&b, 536870911, "xyz");
    OnnxWire w = tni_onnx_wire((TnSpan){b.p, b.n, 0});
    OnnxField f = {0};
    bool more = false;
    assert_int_equal(tni_onnx_wire_next(&w, &f, &more, &err), TN_OK);
    assert_true(more && f.number == 1 && f.value == UINT64_MAX && f.at == 0);
    assert_int_equal(tni_onnx_wire_next(&w, &f, &more, &err), TN_OK);
    assert_true(f.number == 2 && f.type == ONNX_WIRE_FIXED32 && f.value == 0x3fc00000);
    assert_int_equal(tni_onnx_wire_next(&w, &f, &more, &err), TN_OK);
    assert_true(f.number == 3 && f.type == ONNX_WIRE_FIXED64);
    assert_int_equal(tni_onnx_wire_next(&w, &f, &more, &err), TN_OK);
    assert_true(f.number == 536870911 && f.bytes.n == 3 && memcmp(f.bytes.p, "xyz", 3) == 0);
    assert_int_equal(tni_onnx_wire_next(&w, &f, &more, &err), TN_OK);
    assert_false(more);
    free(b.p);
}

static void refuses_bad_bytes(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        int64_t at;
    } bad[] = {
        {"\x08", 1, 1001},                                              /* varint missing */
        {"\x08\x80", 2, 1001},                                          /* varint cut off */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, 1001},     /* more than 64 bits */
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12, 1001}, /* more than ten bytes */
        {"\x00\x00", 2, 1000},                                          /* field 0 */
        {"\x80\x80\x80\x80\x80\x01\x00", 7, 1000},                      /* field number beyond 29 bits */
        {"\x0b\x0c", 2, 1000},                                          /* groups */
        {"\x0e", 1, 1000},                                              /* wire type 6 */
        {"\x0f", 1, 1000},                                              /* wire type 7 */
        {"\x09\x00\x00\x00\x00\x00\x00\x00", 8, 1001},                  /* fixed64 cut off */
        {"\x0d\x00\x00\x00", 4, 1001},                                  /* fixed32 cut off */
        {"\x0a\x02x", 3, 1001},                                         /* length beyond the end */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 1001},     /* length 2^64 - 1 */
        {"\x08\x01\x0a", 3, 1003},                                      /* length missing */
    };
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        TnError err;
        assert_int_equal(walk(bad[i].bytes, bad[i].n, &err), TN_ERR_PARSE);
        assert_true(err.has_offset);
        assert_int_equal(err.offset, bad[i].at);
    }
}

static void reads_packed_and_single(void **state) {
    (void)state;
    TnError err = {0};
    Pb run = {0}, b = {0};
    pb_varint(&run, 300);
    pb_varint(&run, (uint64_t)-5);
    pb_msg(&b, 8, run);
    OnnxWire w = tni_onnx_wire((TnSpan){b.p, b.n, 0});
    OnnxField f = {0};
    bool more = false;
    OnnxNumbers it;
    uint64_t v = 0;
    assert_int_equal(tni_onnx_wire_next(&w, &f, &more, &err), TN_OK);
    assert_int_equal(tni_onnx_numbers(&f, ONNX_WIRE_VARINT, "x", &it, &err), TN_OK);
    assert_int_equal(tni_onnx_numbers_count(&it), 2);
    assert_int_equal(tni_onnx_numbers_next(&it, &v, &more, &err), TN_OK);
    assert_int_equal(v, 300);
    assert_int_equal(tni_onnx_numbers_next(&it, &v, &more, &err), TN_OK);
    assert_true((int64_t)v == -5);
    assert_int_equal(tni_onnx_numbers_next(&it, &v, &more, &err), TN_OK);
    assert_false(more);
    /* floats need a multiple of four bytes */
    assert_int_equal(tni_onnx_numbers(&f, ONNX_WIRE_FIXED64, "x", &it, &err), TN_ERR_PARSE);
    free(b.p);
    OnnxField cut = {.number = 1, .type = ONNX_WIRE_BYTES, .bytes = {(const uint8_t *)"\x80", 1, 7}};
    assert_int_equal(tni_onnx_numbers(&cut, ONNX_WIRE_VARINT, "x", &it, &err), TN_OK);
    assert_int_equal(tni_onnx_numbers_next(&it, &v, &more, &err), TN_ERR_PARSE);
}

static void interns_names(void **state) {
    (void)state;
    TnArena *arena = NULL;
    TnError err = {0};
    OnnxNames names;
    assert_int_equal(tni_arena_create(tni_default_allocator(), &arena, &err), TN_OK);
    assert_int_equal(tni_onnx_names_init(&names, arena, &err), TN_OK);
    OnnxMap map = {.arena = arena};
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 20000; i++) {
            char text[32];
            OnnxName id = 0;
            int n = snprintf(text, sizeof text, "name%u", i);
            assert_int_equal(tni_onnx_intern(&names, text, (size_t)n, &id, &err), TN_OK);
            assert_int_equal(id, i + 1);
            assert_string_equal(tni_onnx_text(&names, id), text);
            uint32_t value = 0;
            assert_int_equal(tni_onnx_map_get(&map, id, &value), round == 1);
            assert_true(round == 0 || value == i * 3);
            assert_int_equal(tni_onnx_map_put(&map, id, i * 3, &err), TN_OK);
        }
    }
    assert_int_equal(map.n, 20000);
    OnnxName empty = 9;
    assert_int_equal(tni_onnx_intern(&names, "x", 0, &empty, &err), TN_OK);
    assert_int_equal(empty, 0);
    tni_arena_destroy(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_fields),
        cmocka_unit_test(refuses_bad_bytes),
        cmocka_unit_test(reads_packed_and_single),
        cmocka_unit_test(interns_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
