/* SPDX-License-Identifier: Apache-2.0
 *
 * A small protobuf writer and helpers that build ONNX models in memory. Test code: running out of memory ends the program. Every Pb that is
 * added to another is freed by that. */
#ifndef TENON_TESTS_ONNX_BUILD_H
#define TENON_TESTS_ONNX_BUILD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"

typedef struct Pb {
    uint8_t *p;
    size_t n, cap;
} Pb;

static inline void pb_put(Pb *b, const void *data, size_t n) {
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2 + 64;
        b->p = realloc(b->p, b->cap);
        if (b->p == NULL)
            exit(3);
    }
    if (n > 0)
        memcpy(b->p + b->n, data, n);
    b->n += n;
}

static inline void pb_varint(Pb *b, uint64_t v) {
    do {
        uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        pb_put(b, &byte, 1);
        v >>= 7;
    } while (v > 0);
}

static inline void pb_tag(Pb *b, uint32_t field, uint32_t wire) {
    pb_varint(b, (uint64_t)field << 3 | wire);
}

static inline void pb_int(Pb *b, uint32_t field, int64_t v) {
    pb_tag(b, field, 0);
    pb_varint(b, (uint64_t)v);
}

static inline void pb_f32(Pb *b, uint32_t field, float v) {
    pb_tag(b, field, 5);
    pb_put(b, &v, 4);
}

static inline void pb_f64(Pb *b, uint32_t field, double v) {
    pb_tag(b, field, 1);
    pb_put(b, &v, 8);
}

static inline void pb_bytes(Pb *b, uint32_t field, const void *data, size_t n) {
    pb_tag(b, field, 2);
    pb_varint(b, n);
    pb_put(b, data, n);
}

static inline void pb_str(Pb *b, uint32_t field, const char *s) {
    pb_bytes(b, field, s, strlen(s));
}

static inline void pb_msg(Pb *b, uint32_t field, Pb child) {
    pb_bytes(b, field, child.p, child.n);
    free(child.p);
}

/* ---- tensors ---- */

static inline Pb tensor_head(const char *name, int32_t dtype, int32_t rank, const int64_t *dims) {
    Pb b = {0};
    for (int32_t i = 0; i < rank; i++)
        pb_int(&b, 1, dims[i]);
    pb_int(&b, 2, dtype);
    if (name != NULL)
        pb_str(&b, 8, name);
    return b;
}

static inline Pb tensor_raw(const char *name, int32_t dtype, int32_t rank, const int64_t *dims, const void *raw, size_t n) {
    Pb b = tensor_head(name, dtype, rank, dims);
    pb_bytes(&b, 9, raw, n);
    return b;
}

static inline Pb tensor_i64(const char *name, int32_t n, const int64_t *v) {
    int64_t dims[1] = {n};
    return tensor_raw(name, TN_I64, 1, dims, v, (size_t)n * 8);
}

static inline Pb tensor_f32(const char *name, int32_t n, const float *v) {
    int64_t dims[1] = {n};
    return tensor_raw(name, TN_F32, 1, dims, v, (size_t)n * 4);
}

/* ---- inputs and outputs: shape "2,batch,?" (numbers, names, unknown), "" a scalar, NULL none ---- */

static inline Pb io(const char *name, int32_t dtype, const char *shape) {
    Pb b = {0}, type = {0}, tensor = {0}, dims = {0};
    pb_str(&b, 1, name);
    pb_int(&tensor, 1, dtype);
    if (shape != NULL) {
        for (const char *p = shape; *p != '\0';) {
            size_t n = strcspn(p, ",");
            Pb d = {0};
            if ((p[0] >= '0' && p[0] <= '9') || p[0] == '-')
                pb_int(&d, 1, strtoll(p, NULL, 10));
            else if (p[0] != '?')
                pb_bytes(&d, 2, p, n);
            pb_msg(&dims, 1, d);
            p += n + (p[n] == ',');
        }
        pb_msg(&tensor, 2, dims);
    }
    pb_msg(&type, 1, tensor);
    pb_msg(&b, 2, type);
    return b;
}

/* ---- nodes: names are lists "a,b,,c" ---- */

static inline void pb_names(Pb *b, uint32_t field, const char *list) {
    if (list[0] == '\0')
        return;
    for (const char *p = list;;) {
        size_t n = strcspn(p, ",");
        pb_bytes(b, field, p, n);
        if (p[n] == '\0')
            return;
        p += n + 1;
    }
}

static inline Pb node(const char *op, const char *name, const char *in, const char *out) {
    Pb b = {0};
    pb_names(&b, 1, in);
    pb_names(&b, 2, out);
    if (name[0] != '\0')
        pb_str(&b, 3, name);
    pb_str(&b, 4, op);
    return b;
}

static inline Pb attr_head(const char *name, int32_t kind) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_int(&a, 20, kind);
    return a;
}

static inline void attr_i(Pb *n, const char *name, int64_t v) {
    Pb a = attr_head(name, 2);
    pb_int(&a, 3, v);
    pb_msg(n, 5, a);
}

static inline void attr_f(Pb *n, const char *name, float v) {
    Pb a = attr_head(name, 1);
    pb_f32(&a, 2, v);
    pb_msg(n, 5, a);
}

static inline void attr_s(Pb *n, const char *name, const char *v) {
    Pb a = attr_head(name, 3);
    pb_str(&a, 4, v);
    pb_msg(n, 5, a);
}

static inline void attr_t(Pb *n, const char *name, Pb tensor) {
    Pb a = attr_head(name, 4);
    pb_msg(&a, 5, tensor);
    pb_msg(n, 5, a);
}

static inline void attr_g(Pb *n, const char *name, Pb graph) {
    Pb a = attr_head(name, 5);
    pb_msg(&a, 6, graph);
    pb_msg(n, 5, a);
}

static inline void attr_ints(Pb *n, const char *name, uint32_t count, const int64_t *v) {
    Pb a = attr_head(name, 7);
    for (uint32_t i = 0; i < count; i++)
        pb_int(&a, 8, v[i]);
    pb_msg(n, 5, a);
}

static inline void attr_floats(Pb *n, const char *name, uint32_t count, const float *v) {
    Pb a = attr_head(name, 6);
    for (uint32_t i = 0; i < count; i++)
        pb_f32(&a, 7, v[i]);
    pb_msg(n, 5, a);
}

static inline void attr_ref(Pb *n, const char *name, int32_t kind, const char *ref) {
    Pb a = attr_head(name, kind);
    pb_str(&a, 21, ref);
    pb_msg(n, 5, a);
}

/* ---- graphs and models ---- */

static inline void g_node(Pb *g, Pb n) {
    pb_msg(g, 1, n);
}
static inline void g_tensor(Pb *g, Pb t) {
    pb_msg(g, 5, t);
}
static inline void g_input(Pb *g, Pb v) {
    pb_msg(g, 11, v);
}
static inline void g_output(Pb *g, const char *name) {
    pb_msg(g, 12, io(name, TN_F32, NULL));
}

static inline Pb opset(const char *domain, int64_t version) {
    Pb b = {0};
    if (domain[0] != '\0')
        pb_str(&b, 1, domain);
    pb_int(&b, 2, version);
    return b;
}

static inline Pb model(int64_t version, Pb graph) {
    Pb m = {0};
    pb_int(&m, 1, 8);
    pb_str(&m, 2, "test");
    pb_msg(&m, 8, opset("", version));
    pb_msg(&m, 7, graph);
    return m;
}

/* ---- importing ---- */

static inline void collect_text(void *ctx, const char *text, size_t n) {
    pb_put(ctx, text, n);
}

/* The module's text, NUL-terminated; free it. */
static inline char *module_text(const IrModule *m) {
    Pb b = {0};
    tni_ir_print(m, collect_text, &b);
    pb_put(&b, "", 1);
    return (char *)b.p;
}

/* Imports and verifies what comes out. The bytes must outlive *out. */
static inline TnStatus import_pb(Pb m, IrModule **out, TnError *err) {
    uint64_t hash = 0;
    *out = NULL;
    memset(err, 0, sizeof *err);
    TnStatus st = tni_onnx_import_memory(m.p, m.n, NULL, NULL, NULL, out, &hash, err);
    if (st == TN_OK)
        st = tni_ir_verify(*out, err);
    return st;
}

static inline const IrValue *find_value(const IrGraph *g, const char *name) {
    for (uint32_t i = 0; i < g->n_values; i++)
        if (strcmp(g->values[i].name, name) == 0)
            return &g->values[i];
    return NULL;
}

static inline const IrNode *find_node(const IrGraph *g, const char *name) {
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (strcmp(g->nodes[i].name, name) == 0)
            return &g->nodes[i];
    return NULL;
}

#endif
