/* SPDX-License-Identifier: Apache-2.0
 *
 * A model with everything in it, cut short, flipped, and imported with every allocation failing in turn: a status, no crash, no leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/build.h"

/* Functions, subgraphs, attributes of all kinds, typed and raw payloads, unsorted nodes. */
static Pb rich_model(void) {
    static const float f[4] = {1, 2, 3, 4};
    static const int64_t axes[1] = {-1}, shape[2] = {2, 2}, one[1] = {1};
    Pb g = {0}, n = node("Add", "late", "r,two", "sum"), a = {0}, b = {0}, fn = {0};
    pb_str(&g, 2, "rich");
    g_input(&g, io("x", TN_F32, "N,2,?"));
    g_input(&g, io("c", TN_BOOL, ""));
    g_tensor(&g, tensor_f32("w", 4, f));
    Pb typed = tensor_head("two", TN_F16, 1, one);
    pb_int(&typed, 5, 0x4000);
    g_tensor(&g, typed);
    g_node(&g, n);
    n = node("ReduceSum", "reduce", "x,axes", "r");
    attr_i(&n, "keepdims", 1);
    g_node(&g, n);
    n = node("Constant", "", "", "axes");
    attr_ints(&n, "value_ints", 1, axes);
    g_node(&g, n);
    n = node("Constant", "", "", "shape");
    attr_t(&n, "value", tensor_i64(NULL, 2, shape));
    g_node(&g, n);
    n = node("If", "choice", "c", "picked");
    g_node(&a, node("Reshape", "rs", "w,shape", "o"));
    g_output(&a, "o");
    g_node(&b, node("Neg", "neg", "r", "o"));
    g_output(&b, "o");
    attr_g(&n, "then_branch", a);
    attr_g(&n, "else_branch", b);
    g_node(&g, n);
    n = node("F", "call", "picked", "y");
    pb_str(&n, 7, "local");
    attr_f(&n, "alpha", 0.5f);
    g_node(&g, n);
    n = node("Softmax", "old", "sum", "soft");
    attr_i(&n, "axis", 1);
    g_node(&g, n);
    n = node("LeakyRelu", "leaky", "p", "q");
    attr_ref(&n, "alpha", 1, "alpha");
    pb_str(&fn, 1, "F");
    pb_str(&fn, 10, "local");
    pb_names(&fn, 4, "p");
    pb_names(&fn, 5, "q");
    pb_msg(&fn, 7, n);
    pb_msg(&fn, 9, opset("", 17));
    pb_str(&fn, 6, "alpha");
    g_output(&g, "y");
    g_output(&g, "soft");
    Pb m = model(17, g);
    pb_msg(&m, 8, opset("local", 1));
    pb_msg(&m, 25, fn);
    return m;
}

/* Imports a copy of exactly n bytes on the heap, so that a sanitizer sees any read beyond them. */
static TnStatus import_copy(const uint8_t *bytes, size_t n, const TnAllocator *a) {
    uint8_t *copy = malloc(n == 0 ? 1 : n);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    IrModule *m = NULL;
    TnError err = {0};
    uint64_t hash = 0;
    TnStatus st = tni_onnx_import_memory(copy, n, NULL, NULL, a, &m, &hash, &err);
    if (st == TN_OK) {
        if (a == NULL)
            assert_int_equal(tni_ir_verify(m, &err), TN_OK);
        tni_ir_module_destroy(&m);
    } else {
        assert_null(m);
        assert_true(err.message[0] != '\0' && err.code == st);
    }
    free(copy);
    return st;
}

static void whole_model_imports(void **state) {
    (void)state;
    Pb m = rich_model();
    assert_int_equal(import_copy(m.p, m.n, NULL), TN_OK);
    free(m.p);
}

static void every_truncation(void **state) {
    (void)state;
    Pb m = rich_model();
    for (size_t n = 0; n < m.n; n++) {
        TnStatus st = import_copy(m.p, n, NULL);
        /* Cut between two fields of ModelProto, what is left may be a model, or one without its function. */
        assert_true(st == TN_ERR_PARSE || st == TN_ERR_UNSUPPORTED || st == TN_ERR_VERSION);
    }
    free(m.p);
}

static void every_bit_flip(void **state) {
    (void)state;
    Pb m = rich_model();
    for (size_t i = 0; i < m.n; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            m.p[i] ^= (uint8_t)(1u << bit);
            TnStatus st = import_copy(m.p, m.n, NULL);
            assert_true(st != TN_ERR_INTERNAL && st != TN_ERR_MEMORY);
            m.p[i] ^= (uint8_t)(1u << bit);
        }
    }
    free(m.p);
}

static void random_damage(void **state) {
    (void)state;
    Pb m = rich_model();
    uint64_t seed = 88172645463325252u;
    uint8_t *copy = malloc(m.n);
    assert_non_null(copy);
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, m.p, m.n);
        for (int k = 0; k < 1 + round % 6; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            copy[seed % m.n] = (uint8_t)(seed >> 32);
        }
        assert_true(import_copy(copy, m.n, NULL) != TN_ERR_INTERNAL);
    }
    free(copy);
    free(m.p);
}

/* ---- memory ---- */

typedef struct Failing {
    long left; /* allocations until the failure; < 0: none fails */
    bool forever;
    long live;
} Failing;

static void *fail_alloc(void *ctx, size_t size, size_t align) {
    Failing *f = ctx;
    if (f->left == 0) {
        f->left = f->forever ? 0 : -1;
        return NULL;
    }
    f->left -= f->left > 0;
    void *p = NULL;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size == 0 ? 1 : size) != 0)
        return NULL;
    f->live++;
    return p;
}

static void fail_free(void *ctx, void *p) {
    ((Failing *)ctx)->live--;
    free(p);
}

static void every_allocation_fails(void **state) {
    (void)state;
    Pb m = rich_model();
    for (int forever = 0; forever < 2; forever++) {
        for (long k = 0;; k++) {
            Failing f = {.left = k, .forever = forever != 0};
            TnAllocator a = {fail_alloc, fail_free, &f};
            TnStatus st = import_copy(m.p, m.n, &a);
            assert_int_equal(f.live, 0);
            if (st == TN_OK)
                break;
            assert_int_equal(st, TN_ERR_MEMORY);
            assert_true(k < 10000);
        }
    }
    free(m.p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_model_imports), cmocka_unit_test(every_truncation),       cmocka_unit_test(every_bit_flip),
        cmocka_unit_test(random_damage),       cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
