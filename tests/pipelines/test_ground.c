/* SPDX-License-Identifier: Apache-2.0
 *
 * Grounding without a model: the restricted pickle reader, LMDB files and what damage does to them, layouts of regions, boxes and counting. The command
 * is tested in tests/python/test_ground.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipelines/ground.h"
#include "pipelines/lmdb.h"
#include "pipelines/pickle.h"
#include "pipelines/util.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/ground/"
#define FAILS(status, text, expr)                                                                      \
    do {                                                                                               \
        TnError err = {0};                                                                             \
        TnStatus fails_st = (expr);                                                                    \
        if (fails_st != (status) || strstr(err.message, (text)) == NULL)                               \
            fail_msg("%s: status %d, '%s'", #expr, (int)fails_st, err.message);                        \
    } while (0)

static TnStatus unpickle(const char *s, size_t n, TnpPickle *p, TnError *err) { return tnp_pickle_read(s, n, "p", p, err); }
#define UNPICKLE(s, p) assert_int_equal(unpickle(s, sizeof(s) - 1, p, &err), TN_OK)

static void plain_pickles_are_read(void **state) {
    (void)state;
    TnpPickle p;
    TnError err = {0};
    int64_t i;
    double f;
    /* {'a': [1, -2, 3.5, None, True], u'b\u20ac': 'x\n\''} as protocol 0 writes it */
    UNPICKLE("(dp0\nS'a'\np1\n(lp2\nI1\naL-2L\naF3.5\naNaI01\nasVb\\u20ac\np3\nS'x\\n\\''\np4\ns.", &p);
    const TnpValue *a = tnp_pickle_get(p.root, "a"), *b = tnp_pickle_get(p.root, "b\xe2\x82\xac");
    assert_int_equal(a->n, 5);
    assert_true(tnp_pickle_int(a->u.items[1], &i) && i == -2);
    assert_true(tnp_pickle_number(a->u.items[2], &f) && f == 3.5);
    assert_true(a->u.items[3]->kind == TNP_NONE && a->u.items[4]->kind == TNP_BOOL && a->u.items[4]->u.i == 1);
    assert_true(tnp_pickle_is_text(b, "x\n'"));
    assert_null(tnp_pickle_get(p.root, "c"));
    tnp_pickle_free(&p);
    UNPICKLE("\x80\x04\x8c\x03" "640\x94.", &p);
    assert_true(tnp_pickle_int(p.root, &i) && i == 640);
    tnp_pickle_free(&p);
    UNPICKLE("\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.", &p); /* 2^64 - 1 */
    assert_true(tnp_pickle_int(p.root, &i) && i == INT64_MAX);
    tnp_pickle_free(&p);
    /* numpy.float32 [[1, 2]] in column-major order, protocol 2 of Python 2 */
    UNPICKLE("\x80\x02" "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01" "b\x87R(K\x01K\x01K\x02\x86" "cnumpy\ndtype\nU\x02" "f4K\x00K\x01\x87R"
             "(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x88U\x08\x00\x00\x80?\x00\x00\x00@tb.", &p);
    float v[2];
    assert_true(p.root->kind == TNP_ARRAY && p.root->u.array->fortran && tnp_array_floats(p.root->u.array, v));
    assert_true(v[0] == 1.0f && v[1] == 2.0f);
    tnp_pickle_free(&p);
    /* a list that holds itself */
    UNPICKLE("\x80\x02]q\x00h\x00" "a.", &p);
    assert_ptr_equal(p.root->u.items[0], p.root);
    tnp_pickle_free(&p);
}

static void pickles_that_call_or_are_damaged_are_refused(void **state) {
    (void)state;
    TnpPickle p;
    static const struct {
        const char *text;
        size_t n;
        TnStatus status;
        const char *word;
    } rows[] = {
#define R(s, status, word) {s, sizeof(s) - 1, status, word}
        R("cos\nsystem\n(S'x'\ntR.", TN_ERR_UNSUPPORTED, "os.system"),
        R("\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.", TN_ERR_UNSUPPORTED, "posix.system"),
        R("", TN_ERR_PARSE, "without its end"),
        R("\x80\x04K", TN_ERR_PARSE, "damaged"),
        R(".", TN_ERR_PARSE, "damaged"),
        R("(.", TN_ERR_PARSE, "damaged"),
        R("N0.", TN_ERR_PARSE, "damaged"),
        R("a.", TN_ERR_PARSE, "damaged"),
        R("]u.", TN_ERR_PARSE, "damaged"),
        R("}K\x01" "a.", TN_ERR_PARSE, "damaged"),
        R("K\x01K\x02R.", TN_ERR_PARSE, "damaged"),
        R("h\x05.", TN_ERR_PARSE, "damaged"),
        R("Nr\xff\xff\xff\xff.", TN_ERR_PARSE, "damaged"),
        R("T\xff\xff\xff\xff.", TN_ERR_PARSE, "ends early"),
        R("\x97.", TN_ERR_UNSUPPORTED, "0x97"),
        R("cnumpy\ndtype\nK\x01\x85R.", TN_ERR_PARSE, "rebuilds"),
        R("cnumpy.core.multiarray\nscalar\n)R.", TN_ERR_PARSE, "rebuilds"),
        R("K\x01)b.", TN_ERR_PARSE, "state"),
        /* an array of 3 floats with 4 bytes */
        R("cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R(K\x03\x85" "cnumpy\ndtype\nU\x02" "f4\x85R\x89U\x04" "abcdtb.", TN_ERR_PARSE, "number of bytes"),
#undef R
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        FAILS(rows[i].status, rows[i].word, unpickle(rows[i].text, rows[i].n, &p, &err));
}

static void every_key_of_an_lmdb_is_found(void **state) {
    (void)state;
    TnError err = {0};
    TnLmdb *db;
    void *value;
    size_t n;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(tn_lmdb_open(k == 0 ? DATA "multi.mdb" : DATA "beta.mdb", &db, &err), TN_OK);
        assert_int_equal(tn_lmdb_count(db), 9);
        for (uint32_t i = 0; i < 8; i++) {
            char key[16];
            TnRegions r;
            snprintf(key, sizeof key, "%u", 1000 + i);
            assert_int_equal(tn_lmdb_get(db, key, strlen(key), &value, &n, &err), TN_OK);
            assert_non_null(value);
            if (tn_regions_decode_pickle(value, n, key, &r, &err) != TN_OK || tn_regions_check(&r, false, key, &err) != TN_OK)
                fail_msg("%s", err.message);
            assert_int_equal(r.width, 6);
            tn_regions_free(&r);
            free(value);
        }
        static const char *const missing[] = {"", "1", "1003x", "9999", "zzz"};
        for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
            assert_int_equal(tn_lmdb_get(db, missing[i], strlen(missing[i]), &value, &n, &err), TN_OK);
            assert_null(value);
        }
        tn_lmdb_close(&db);
    }
}

/* Any byte changed, any length cut: an answer or an error that names the file. */
static void damaged_databases_do_no_harm(void **state) {
    (void)state;
    void *data, *value;
    size_t n, k;
    TnError err = {0};
    char path[] = "/tmp/tenon-lmdb-XXXXXX";
    assert_int_equal(tnp_read_file(DATA "multi.mdb", 1 << 20, &data, &n, &err), TN_OK);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    uint32_t seed = 1, failed = 0;
    for (uint32_t i = 0; i < 600; i++) {
        TnLmdb *db;
        uint8_t *copy = malloc(n);
        memcpy(copy, data, n);
        seed = seed * 1664525u + 1013904223u;
        size_t at = i < 200 ? i : (seed >> 8) % n, size = i % 5 == 4 ? (seed >> 8) % n : n;
        copy[at] ^= (uint8_t)(1u << (seed >> 29));
        assert_true(ftruncate(fd, 0) == 0 && pwrite(fd, copy, size, 0) == (ssize_t)size);
        free(copy);
        value = NULL;
        err = (TnError){0};
        TnStatus st = tn_lmdb_open(path, &db, &err);
        if (st == TN_OK)
            st = tn_lmdb_get(db, "1003", 4, &value, &k, &err);
        if (st == TN_OK && value != NULL) {
            TnRegions r;
            st = tn_regions_decode_pickle(value, k, "x", &r, &err);
            tn_regions_free(&r);
        }
        free(value);
        assert_true(st == TN_OK || err.message[0] != '\0');
        failed += st != TN_OK;
        tn_lmdb_close(&db);
    }
    assert_true(failed > 60);
    close(fd);
    unlink(path);
    free(data);
    TnLmdb *db;
    FAILS(TN_ERR_IO, "nonexistent", tn_lmdb_open("/nonexistent", &db, &err));
    FAILS(TN_ERR_PARSE, "mark", tn_lmdb_open(TN_SOURCE_DIR "/LICENSE", &db, &err));
}

static void rows_of_a_tsv(void **state) {
    (void)state;
    TnRegions r;
    TnError err = {0};
    /* one region: box 0 0 1 2, features 1 2 */
    static const char row[] = "7\t4\t5\t1\tAAAAAAAAAAAAAIA/AAAAQA==\tAACAPwAAAEA=\n";
    assert_int_equal(tn_regions_decode_tsv(row, sizeof row - 1, "t", &r, &err), TN_OK);
    assert_true(r.n == 1 && r.width == 2 && r.boxes[3] == 2.0f && r.features[0] == 1.0f && r.features[1] == 2.0f && r.image_width == 4);
    tn_regions_free(&r);
#define BAD(s, status, word) FAILS(status, word, tn_regions_decode_tsv(s, sizeof(s) - 1, "t", &r, &err))
    BAD("7\t4\t5\n", TN_ERR_PARSE, "3 columns");
    BAD("7\tx\t5\t1\tAAAA\tAAAA", TN_ERR_PARSE, "must be numbers");
    BAD("7\t4\t5\t1\tAAAA\tAAAA", TN_ERR_DATA, "boxes");
    BAD("7\t4\t5\t1\tAAAAAAAAAAAAAIA/AAAAQA==\tAAC!PwAAAEA=", TN_ERR_DATA, "features");
    BAD("7\t4\t5\t2\tAAAAAAAAAAAAAIA/AAAAQA==\tAACAPwAAAEA=", TN_ERR_DATA, "num_boxes is 2");
    BAD("7\t4\t0\t1\tAAAAAAAAAAAAAIA/AAAAQA==\tAACAPwAAAEA=", TN_ERR_DATA, "size");
}

static void boxes_and_counting(void **state) {
    (void)state;
    /* The authors' convention: a box of one pixel has area 1. */
    assert_true(fabsf(tn_ground_iou((float[]){0, 0, 9, 9}, (float[]){0, 0, 9, 9}) - 1.0f) <= 0);
    assert_true(fabsf(tn_ground_iou((float[]){0, 0, 9, 9}, (float[]){5, 0, 14, 9}) - 50.0f / 150.0f) <= 1e-7f);
    assert_true(tn_ground_iou((float[]){0, 0, 9, 9}, (float[]){20, 0, 29, 9}) == 0);
    float boxes[8] = {0, 0, 9, 9, 5, 0, 14, 9}, features[2] = {0}, logits[3] = {-1, 2, 2};
    TnRegions r = {.features = features, .boxes = boxes, .n = 2, .width = 1, .image_width = 20, .image_height = 10};
    TnGroundAnswer a = {.logits = logits, .rows = 3, .best = 1};
    TnGroundTotal t = {0};
    float iou = tn_ground_count(&t, &a, &r, (float[]){0, 0, 9, 9});
    double want = log1p(exp(-1)) + 1.0 * 100 / 231 + (2 - 2.0 + log1p(exp(-2))) + (2 - 2.0 / 3 + log1p(exp(-2)));
    assert_true(fabsf(iou - 1) <= 0 && t.right == 1 && t.n == 1);
    assert_true(fabs(t.loss - want) <= 1e-6);
    a.best = 2; /* a third: not above a half */
    tn_ground_count(&t, &a, &r, (float[]){0, 0, 9, 9});
    assert_true(t.right == 1 && t.n == 2);
    uint32_t rows[4];
    assert_int_equal(tn_ground_top(&a, 4, rows), 3);
    assert_true(rows[0] == 1 && rows[1] == 2 && rows[2] == 0); /* of equal ones the first */
    assert_int_equal(tn_ground_top(&a, 1, rows), 1);
    assert_true(fabs(tn_ground_score(&a, 0) - 1 / (1 + exp(1.0))) <= 1e-12);
    assert_true(fabs(tn_ground_share(&a, 0) + tn_ground_share(&a, 1) + tn_ground_share(&a, 2) - 1) <= 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_pickles_are_read),
        cmocka_unit_test(pickles_that_call_or_are_damaged_are_refused),
        cmocka_unit_test(every_key_of_an_lmdb_is_found),
        cmocka_unit_test(damaged_databases_do_no_harm),
        cmocka_unit_test(rows_of_a_tsv),
        cmocka_unit_test(boxes_and_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
