/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of torch.save (data/, made by make_torch_files.py): tensors to the element, state dicts wherever they lie, and everything that is no tensor
 * refused by name; truncated and damaged files give errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "hf/pickle.h"
#include "hf/torch.h"
#include "read_copy.h"

#define DATA TN_SOURCE_DIR "/tests/hf/data/"

static HfCheckpoint *open_good(const char *file) {
    char path[512];
    HfCheckpoint *c;
    TnError err = {0};
    snprintf(path, sizeof path, DATA "%s", file);
    if (tni_hf_checkpoint_open_file(path, NULL, &c, &err) != TN_OK)
        fail_msg("%s: %s", file, err.message);
    return c;
}

static double element(const TnTensor *t, size_t i) {
    const uint8_t *p = (const uint8_t *)t->data + i * (tn_dtype_bits(t->dtype) / 8);
    union {
        float f;
        double d;
        uint32_t u;
        int64_t i64;
        int32_t i32;
        int16_t i16;
    } v = {0};
    memcpy(&v, p, tn_dtype_bits(t->dtype) / 8);
    switch ((int)t->dtype) {
    case TN_F32: return (double)v.f;
    case TN_F64: return v.d;
    case TN_I64: return (double)v.i64;
    case TN_I32: return v.i32;
    case TN_I16: return v.i16;
    case TN_U16: return (uint16_t)v.i16;
    case TN_I8: return (int8_t)*p;
    case TN_U8:
    case TN_BOOL: return *p;
    case TN_BF16: v.u <<= 16; return (double)v.f;
    case TN_F16: { /* whole numbers of this test only */
        uint32_t e = v.u >> 10 & 31;
        return e == 0 ? 0 : (double)(1024 + (v.u & 1023)) / (double)(1u << 10) * (double)(1u << e) / 32768.0;
    }
    default: fail_msg("element type %d", (int)t->dtype); return 0;
    }
}

static void expect(HfCheckpoint *c, const char *name, TnDtype type, int32_t rank, const int64_t *dims, const double *values) {
    HfTensor *t = tni_hf_tensor(c, name);
    if (t == NULL)
        fail_msg("no tensor '%s'", name);
    assert_int_equal(t->t.dtype, type);
    assert_int_equal(t->t.rank, rank);
    for (int32_t i = 0; i < rank; i++)
        assert_int_equal(t->t.dims[i], dims[i]);
    for (int64_t i = 0; i < tn_tensor_numel(&t->t); i++) {
        if (!(element(&t->t, (size_t)i) == values[i]))
            fail_msg("%s[%lld] is %g, not %g", name, (long long)i, element(&t->t, (size_t)i), values[i]);
    }
}

static void every_type_and_view_is_read(void **state) {
    (void)state;
    static const struct {
        const char *name;
        TnDtype t;
    } types[] = {{"f32", TN_F32}, {"f64", TN_F64}, {"f16", TN_F16}, {"bf16", TN_BF16}, {"i64", TN_I64}, {"i32", TN_I32}, {"i16", TN_I16},
                 {"i8", TN_I8},   {"u8", TN_U8},   {"u16", TN_U16}, {"parameter", TN_F32}};
    HfCheckpoint *c = open_good("tensors.pth");
    double count[24], turned[24];
    assert_int_equal(c->n_tensors, 19);
    for (int i = 0; i < 24; i++) {
        count[i] = i;
        turned[i] = i % 4 * 6 + i / 4;
    }
    for (size_t i = 0; i < TN_COUNT(types); i++)
        expect(c, types[i].name, types[i].t, 2, (int64_t[]){2, 3}, count);
    expect(c, "bool", TN_BOOL, 2, (int64_t[]){2, 3}, (double[]){1, 0, 0, 1, 0, 0});
    expect(c, "scalar", TN_F32, 0, NULL, (double[]){7});
    expect(c, "empty", TN_F32, 2, (int64_t[]){0, 3}, NULL);
    expect(c, "whole", TN_F32, 2, (int64_t[]){4, 6}, count);
    expect(c, "transposed", TN_F32, 2, (int64_t[]){6, 4}, turned);
    expect(c, "rows", TN_F32, 2, (int64_t[]){2, 6}, count + 6);
    expect(c, "strided", TN_F32, 2, (int64_t[]){2, 2}, (double[]){8, 11, 20, 23});
    expect(c, "expanded", TN_F32, 2, (int64_t[]){2, 3}, (double[]){0, 1, 2, 0, 1, 2});
    /* One storage, read once. */
    assert_ptr_equal((const uint8_t *)tni_hf_tensor(c, "whole")->t.data + 24, tni_hf_tensor(c, "rows")->t.data);
    tni_hf_checkpoint_close(&c);
}

static void state_dicts_are_found(void **state) {
    (void)state;
    static const struct {
        const char *file;
        uint32_t n;
    } rows[] = {{"model_2.pth", 7}, {"model_3.pth", 7}, {"model_4.pth", 7}, {"model_5.pth", 7}, {"state_dict.pth", 7}, {"nested.pth", 3}};
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        HfCheckpoint *c = open_good(rows[i].file);
        assert_int_equal(c->n_tensors, rows[i].n);
        expect(c, "0.weight", TN_F32, 2, (int64_t[]){2, 3}, (double[]){0, 1, 2, 3, 4, 5});
        expect(c, "0.bias", TN_F32, 1, (int64_t[]){2}, (double[]){0, 1});
        expect(c, "1.weight", TN_F32, 1, (int64_t[]){2}, (double[]){0, 1});
        tni_hf_checkpoint_close(&c);
    }
}

static void others_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *file;
        TnStatus st;
        const char *says[2];
    } rows[] = {
        {"evil.pth", TN_ERR_UNSUPPORTED, {"'posix.system'", "at byte"}},
        {"evil_4.pth", TN_ERR_UNSUPPORTED, {"'posix.system'", "at byte"}},
        {"legacy.pth", TN_ERR_UNSUPPORTED, {"before 1.6", "torch.save(torch.load("}},
        {"tar.pth", TN_ERR_UNSUPPORTED, {"tar format", "torch.save(torch.load("}},
        {"no_tensors.pth", TN_ERR_DATA, {"'epoch', 'lr'", "'state_dict'"}},
        {"other.zip", TN_ERR_PARSE, {"data.pkl", "torch.save"}},
        {"none.pth", TN_ERR_IO, {"none.pth", ""}},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        char path[512];
        HfCheckpoint *c;
        TnError err = {0};
        snprintf(path, sizeof path, DATA "%s", rows[i].file);
        TnStatus st = tni_hf_checkpoint_open_file(path, NULL, &c, &err);
        if (st != rows[i].st || strstr(err.message, rows[i].says[0]) == NULL || strstr(err.message, rows[i].says[1]) == NULL)
            fail_msg("%s: %s: %s", rows[i].file, tn_status_name(st), err.message);
        assert_null(c);
    }
    assert_int_not_equal(access("/tmp/tenon-was-here", F_OK), 0);
}

static void damage_is_an_error(void **state) {
    (void)state;
    TnFileMap map;
    TnError err = {0};
    assert_int_equal(tni_file_map(DATA "tensors.pth", &map, &err), TN_OK);
    assert_int_equal(read_copy(tni_hf_torch_read, map.data, map.n, &err), TN_OK);
    for (size_t n = 0; n < map.n; n += n % 64 == 0 ? 1 : 7)
        assert_int_not_equal(read_copy(tni_hf_torch_read, map.data, n, &err), TN_OK);
    uint8_t *copy = malloc(map.n);
    for (size_t i = 0; i < map.n; i += 3) { /* a flipped bit: an error, or a byte that nothing depends on */
        memcpy(copy, map.data, map.n);
        copy[i] ^= 0x20;
        read_copy(tni_hf_torch_read, copy, map.n, &err);
    }
    free(copy);
    tni_file_unmap(&map);
    assert_int_equal(read_copy(tni_hf_torch_read, (const uint8_t *)"", 0, &err), TN_ERR_PARSE);
}

/* ---- the pickle machine alone ---- */

static TnStatus eight_floats(void *ctx, const char *key, size_t bytes, PickleStorage *out, TnError *err) {
    static const float data[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    (void)ctx;
    if (bytes > sizeof data)
        return TN_RAISE(err, TN_ERR_DATA, "storage '%s' is too small", key);
    *out = (PickleStorage){(const uint8_t *)data, sizeof data, TN_F32};
    return TN_OK;
}

static void bad_pickles_are_refused(void **state) {
    (void)state;
#define STORAGE "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\10tQ"
#define REBUILD "\200\2ctorch._utils\n_rebuild_tensor_v2\n"
    static const struct {
        const char *text;
        size_t n;
        TnStatus st;
    } rows[] = {
#define ROW(text, st) {text, sizeof text - 1, st}
        ROW("\200\2N.", TN_OK),
        ROW("\200\6N.", TN_ERR_UNSUPPORTED),                                          /* protocol */
        ROW("\200\2", TN_ERR_PARSE),                                                  /* ends */
        ROW(".", TN_ERR_PARSE),                                                       /* empty stack */
        ROW("(.", TN_ERR_PARSE),                                                      /* a mark is no value */
        ROW("t.", TN_ERR_PARSE),                                                      /* no mark */
        ROW("h\0.", TN_ERR_PARSE),                                                    /* nothing remembered */
        ROW("Nr\377\377\377\377.", TN_ERR_PARSE),                                     /* memo id */
        ROW("}Ns.", TN_ERR_PARSE),                                                    /* a key without value */
        ROW("}(Nu.", TN_ERR_PARSE),                                                   /* likewise */
        ROW("]NNs.", TN_ERR_PARSE),                                                   /* a list is no dictionary */
        ROW("X\377\377\377\377a.", TN_ERR_PARSE),                                     /* text beyond the end */
        ROW("cos\nsystem\n.", TN_ERR_UNSUPPORTED),                                    /* a global */
        ROW("\214\10builtins\214\4eval\223.", TN_ERR_UNSUPPORTED),                    /* likewise, protocol 4 */
        ROW("ctorch\nFloatStorage\n)R.", TN_ERR_UNSUPPORTED),                         /* a class of storages is not called */
        ROW("N)R.", TN_ERR_PARSE),                                                    /* None is not called */
        ROW("ios\nsystem\n.", TN_ERR_UNSUPPORTED),                                    /* INST */
        ROW("N}b.", TN_ERR_UNSUPPORTED),                                              /* attributes of None */
        ROW(REBUILD STORAGE "K\0K\4\205K\1\205\211NtR.", TN_OK),                      /* 4 of 8 */
        ROW(REBUILD STORAGE "K\4K\4\205K\1\205\211NtR.", TN_OK),                      /* the last 4 */
        ROW(REBUILD STORAGE "K\5K\4\205K\1\205\211NtR.", TN_ERR_DATA),                /* one too far */
        ROW(REBUILD STORAGE "J\377\377\377\377K\4\205K\1\205\211NtR.", TN_ERR_DATA),  /* offset -1 */
        ROW(REBUILD STORAGE "K\0J\377\377\377\377\205K\1\205\211NtR.", TN_ERR_DATA),  /* size -1 */
        ROW(REBUILD STORAGE "K\0K\4\205J\377\377\377\377\205\211NtR.", TN_ERR_DATA),  /* stride -1 */
        ROW(REBUILD STORAGE "K\0K\4\205K\7\205\211NtR.", TN_ERR_DATA),                /* stride 7 */
        ROW(REBUILD STORAGE "K\0\212\10\377\377\377\377\377\377\377\177\205K\1\205\211NtR.", TN_ERR_DATA), /* 2^63 - 1 elements */
        ROW(REBUILD STORAGE "K\0J\0\0\0\177\205K\0\205\211NtR.", TN_ERR_LIMIT),       /* a giant view of one element */
        ROW(REBUILD STORAGE "K\0K\4\205)\211NtR.", TN_ERR_DATA),                      /* size and stride differ */
        ROW(REBUILD "NK\0K\4\205K\1\205\211NtR.", TN_ERR_PARSE),                      /* no mark */
        ROW(REBUILD "(NK\0K\4\205K\1\205\211NtR.", TN_ERR_DATA),                      /* no storage */
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        TnArena *arena;
        PickleValue *v;
        TnError err = {0};
        assert_int_equal(tni_arena_create(NULL, &arena, NULL), TN_OK);
        uint8_t *copy = malloc(rows[i].n);
        memcpy(copy, rows[i].text, rows[i].n);
        PickleInput in = {.arena = arena, .name = "x", .text = {copy, rows[i].n, 0}, .storage = eight_floats, .copy_limit = 1 << 20};
        TnStatus st = tni_hf_pickle_read(&in, &v, &err);
        if (st != rows[i].st)
            fail_msg("pickle %zu: %s: %s", i, tn_status_name(st), err.message);
        free(copy);
        tni_arena_destroy(&arena);
    }
}

/* Lists of ten of the list before, twelve times: nothing here expands what is shared. */
static void shared_values_stay_shared(void **state) {
    (void)state;
    char text[512] = "\200\2N";
    size_t n = 3;
    for (int i = 0; i < 12; i++) {
        n += (size_t)sprintf(text + n, "q%c(", 1 + i);
        for (int k = 0; k < 10; k++)
            n += (size_t)sprintf(text + n, "h%c", 1 + i);
        text[n++] = 'l';
    }
    text[n++] = '.';
    TnArena *arena;
    PickleValue *v;
    TnError err = {0};
    assert_int_equal(tni_arena_create(NULL, &arena, NULL), TN_OK);
    PickleInput in = {.arena = arena, .name = "x", .text = {(const uint8_t *)text, n, 0}, .storage = eight_floats};
    if (tni_hf_pickle_read(&in, &v, &err) != TN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(v->kind, PICKLE_LIST);
    assert_true(tni_arena_bytes(arena) < (1u << 20));
    tni_arena_destroy(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_view_is_read), cmocka_unit_test(state_dicts_are_found), cmocka_unit_test(others_are_refused_by_name),
        cmocka_unit_test(damage_is_an_error),          cmocka_unit_test(bad_pickles_are_refused), cmocka_unit_test(shared_values_stay_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
