/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator tests of the onnx package (packed by make_cases.py) through importer, shape inference and interpreter.
 * TENON_NODES=FILE.npz runs another file and prints a line a case; TENON_NODE=TEXT only cases whose name has the text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "interp/interp.h"
#include "onnx/onnx.h"
#include "pipelines/npz.h"
#include "shape/shape.h"
#include "support/compare.h"

#define MAX_TENSORS 64

typedef struct Case {
    char name[160];
    const uint8_t *model;
    size_t model_bytes;
    TnTensor in[MAX_TENSORS], out[MAX_TENSORS];
    uint32_t n_in, n_out;
    double tolerance; /* of f32 outputs */
} Case;

/* A record of the file: a name and some bytes. */
typedef struct Record {
    char name[256];
    const uint8_t *data;
    size_t n;
} Record;

static bool next_record(const uint8_t *p, size_t n, size_t *at, Record *r) {
    uint32_t len, bytes;
    if (n - *at < 4)
        return false;
    memcpy(&len, p + *at, 4);
    if (len >= sizeof r->name || n - *at < (size_t)len + 8)
        return false;
    memcpy(r->name, p + *at + 4, len);
    r->name[len] = 0;
    memcpy(&bytes, p + *at + 4 + len, 4);
    r->data = p + *at + 8 + len;
    r->n = bytes;
    *at += (size_t)len + 8 + bytes;
    return *at <= n;
}

/* "float/2x3" -> type and dims; a copy of the bytes, since the file keeps no alignment. */
static bool parse_tensor(const char *text, const Record *raw, TnTensor *t) {
    static const struct {
        const char *onnx;
        TnDtype t;
    } names[] = {{"float", TN_F32},
                 {"uint8", TN_U8},
                 {"int8", TN_I8},
                 {"uint16", TN_U16},
                 {"int16", TN_I16},
                 {"int32", TN_I32},
                 {"int64", TN_I64},
                 {"bool", TN_BOOL},
                 {"float16", TN_F16},
                 {"double", TN_F64},
                 {"uint32", TN_U32},
                 {"uint64", TN_U64},
                 {"bfloat16", TN_BF16},
                 {"float8e4m3fn", TN_F8E4M3FN},
                 {"float8e4m3fnuz", TN_F8E4M3FNUZ},
                 {"float8e5m2", TN_F8E5M2},
                 {"float8e5m2fnuz", TN_F8E5M2FNUZ},
                 {"uint4", TN_U4},
                 {"int4", TN_I4},
                 {"float4e2m1", TN_F4E2M1},
                 {"float8e8m0", TN_F8E8M0},
                 {"uint2", TN_U2},
                 {"int2", TN_I2}};
    const char *slash = strchr(text, '/');
    *t = (TnTensor){0};
    for (size_t i = 0; slash != NULL && i < TN_COUNT(names); i++)
        if (strlen(names[i].onnx) == (size_t)(slash - text) && memcmp(names[i].onnx, text, (size_t)(slash - text)) == 0)
            t->dtype = names[i].t;
    if (t->dtype == TN_UNDEFINED)
        return false;
    for (const char *p = slash + 1; *p != '-' && *p != 0;) {
        char *end;
        t->dims[t->rank++] = strtoll(p, &end, 10);
        p = *end == 'x' ? end + 1 : end;
    }
    t->data = malloc(raw->n + 1);
    assert_non_null(t->data);
    memcpy(t->data, raw->data, raw->n);
    return tn_tensor_bytes(t) == raw->n;
}

/* The case that starts at *at; *at moves behind it. false: a tensor that this program cannot read. */
static bool next_case(const TnTensor *file, size_t *at, Case *c) {
    const uint8_t *p = file->data;
    const size_t n = tn_tensor_bytes(file);
    Record r;
    *c = (Case){.tolerance = 1e-5};
    assert_true(next_record(p, n, at, &r));
    const char *slash = strstr(r.name, "/model");
    assert_non_null(slash);
    snprintf(c->name, sizeof c->name, "%.*s", (int)(slash - r.name), r.name);
    if (slash[6] == '/')
        c->tolerance = strtod(slash + 7, NULL);
    c->model = r.data;
    c->model_bytes = r.n;
    bool good = true;
    for (size_t next = *at; next < n && next_record(p, n, &next, &r) && strstr(r.name, "/model") == NULL; *at = next) {
        const char *kind = r.name + strlen(c->name) + 1, *rest = strchr(strchr(kind, '/') + 1, '/') + 1;
        assert_true(c->n_in < MAX_TENSORS && c->n_out < MAX_TENSORS);
        good = parse_tensor(rest, &r, kind[0] == 'i' ? &c->in[c->n_in++] : &c->out[c->n_out++]) && good;
    }
    return good;
}

static void free_case(Case *c) {
    for (uint32_t i = 0; i < c->n_in; i++)
        free(c->in[i].data);
    for (uint32_t i = 0; i < c->n_out; i++)
        free(c->out[i].data);
}

/* Low-precision types are compared at their own precision: a value on the edge may round to the neighbour. */
static double tolerance(const Case *c, TnDtype t) {
    return t == TN_F16 ? 2e-3 : t == TN_BF16 ? 1e-2 : t == TN_F32 || t == TN_F64 ? c->tolerance : 0;
}

static TnStatus run_case(const Case *c, char *why, size_t n) {
    IrModule *m = NULL;
    TnError err = {0};
    uint64_t hash;
    TnTensor out[MAX_TENSORS] = {{0}};
    TnStatus st = tni_onnx_import_memory(c->model, c->model_bytes, NULL, NULL, NULL, &m, &hash, &err);
    if (st == TN_OK)
        st = tni_shape_infer(m, &err);
    if (st == TN_OK)
        st = tni_ir_verify(m, &err);
    if (st == TN_OK && (m->graphs[0]->n_inputs != c->n_in || m->graphs[0]->n_outputs != c->n_out)) {
        st = TN_ERR_INTERNAL;
        snprintf(err.message, sizeof err.message, "%u inputs and %u outputs, expected %u and %u", m->graphs[0]->n_inputs,
                 m->graphs[0]->n_outputs, c->n_in, c->n_out);
    }
    if (st == TN_OK)
        st = tni_interp_run(m, 0, c->in, out, NULL, NULL, NULL, NULL, &err);
    if (st != TN_OK) {
        snprintf(why, n, "%s: %s", tn_status_name(st), err.message);
    } else {
        for (uint32_t i = 0; i < c->n_out; i++) {
            if (st == TN_OK && !test_close(&out[i], &c->out[i], tolerance(c, c->out[i].dtype), why, n))
                st = TN_ERR_INEXACT;
            tni_free(tni_default_allocator(), out[i].data);
        }
    }
    tni_ir_module_destroy(&m);
    return st;
}

static void nodes(void **state) {
    (void)state;
    const char *path = getenv("TENON_NODES"), *only = getenv("TENON_NODE");
    const bool listing = path != NULL;
    TnNpz npz = {0};
    TnError err = {0};
    if (tn_npz_read(path != NULL ? path : TN_SOURCE_DIR "/tests/interp/nodes.npz", NULL, &npz, &err) != TN_OK)
        fail_msg("%s", err.message);
    int run = 0, bad = 0, unsupported = 0;
    static Case c;
    const TnTensor *file = tn_npz_find(&npz, "cases");
    assert_non_null(file);
    for (size_t at = 0; at < tn_tensor_bytes(file);) {
        char why[2048] = "a tensor of a type that this program cannot read";
        const bool readable = next_case(file, &at, &c);
        if (only != NULL && strstr(c.name, only) == NULL) {
            free_case(&c);
            continue;
        }
        TnStatus st = readable ? run_case(&c, why, sizeof why) : TN_ERR_TYPE;
        run++;
        unsupported += st == TN_ERR_UNSUPPORTED;
        bad += st != TN_OK;
        if (listing || st != TN_OK)
            print_message("%s %s %s\n", st == TN_OK ? "ok" : tn_status_name(st), c.name, st == TN_OK ? "" : why);
        free_case(&c);
    }
    print_message("%d cases, %d failed, %d of them not supported\n", run, bad, unsupported);
    tn_npz_free(NULL, &npz);
    assert_true(run > 0);
    if (!listing)
        assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nodes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
