/* SPDX-License-Identifier: Apache-2.0
 *
 * CUDA C for a fused pointwise program: the instructions as straight-line code over scalars, the types of the operands as they are, shapes
 * and strides as arguments. So one text (and binary) serves every shape of the same program and types. In: the query. Out: source of
 * tenon_step, which takes PwArgs (memory.inc) and is launched by tni_cuda_pointwise_made. */
#include <stdarg.h>
#include <stdio.h>

#include "backend/cuda/pointwise/launch.h"
#include "backend/cuda/pointwise/pointwise.h"

static const char *const texts[] = {
#define CODE(...) #__VA_ARGS__,
#include "backend/cuda/pointwise/memory.inc"
#include "backend/cuda/pointwise/scalar.inc"
#undef CODE
};

/* The second entry tells the loader that tenon_step waits for the work before it, as kernels of tni_launch_early do. */
static const char prelude[] = "typedef float W;\n#define FN(name) name##f\nextern \"C\" __global__ void tenon_early(void) {}\n"
                              "__device__ __forceinline__ void pw_start(void) {\n#if __CUDA_ARCH__ >= 900\n"
                              "    asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n"
                              "    asm volatile(\"griddepcontrol.launch_dependents;\" ::: \"memory\");\n#endif\n}\n";

typedef struct Text {
    char *dst;
    size_t cap, n;
} Text;

static void put(Text *t, const char *fmt, ...) TN_PRINTF(2, 3);
static void put(Text *t, const char *fmt, ...) {
    va_list ap;
    size_t left = t->dst != NULL && t->n < t->cap ? t->cap - t->n : 0;
    va_start(ap, fmt);
    int k = vsnprintf(left > 0 ? t->dst + t->n : NULL, left, fmt, ap);
    va_end(ap);
    t->n += k > 0 ? (size_t)k : 0;
}

static void put_all(Text *t, const char *s) {
    size_t n = strlen(s), left = t->dst != NULL && t->n < t->cap ? t->cap - t->n : 0;
    if (left > 0) {
        size_t some = TN_MIN(n, left - 1);
        memcpy(t->dst + t->n, s, some);
        t->dst[t->n + some] = '\0';
    }
    t->n += n;
}

static const char *storage(TnDtype t) {
    return t == TN_F32 ? "float" : t == TN_F16 ? "PwHalf" : t == TN_BF16 ? "PwBrain" : "PwBool";
}

/* A number to the bit, also when it is infinite or NaN. */
static const char *number(char *buf, size_t n, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    snprintf(buf, n, "__uint_as_float(0x%08xu)", (unsigned)bits);
    return buf;
}

static void instruction(Text *t, const TnPwInstr *c) {
    char a[40], b[40];
    number(a, sizeof a, c->alpha);
    number(b, sizeof b, c->beta);
    put(t, "    r%u = ", c->dst);
    switch (c->op) {
    case TN_PW_UNARY:
        put(t, "pw_un_%s(r%u, %s, %s);\n", tni_unary_name(c->fn), c->a, a, b);
        return;
    case TN_PW_BINARY:
        put(t, "pw_bin_%s(r%u, r%u);\n", tni_binary_name(c->fn), c->a, c->b);
        return;
    case TN_PW_WHERE:
        put(t, "pw_select(r%u, r%u, r%u);\n", c->a, c->b, c->c);
        return;
    case TN_PW_CLIP:
        put(t, "pw_clip(r%u, %s, %s);\n", c->a, a, b);
        return;
    default:
        put(t, "%s;\n", a);
    }
}

/* W pw_program(W r0, ...): the code over registers. */
static void program(Text *t, const TnPointwiseParams *p) {
    put(t, "__device__ __forceinline__ W pw_program(");
    for (uint32_t k = 0; k < p->n_in; k++)
        put(t, "%sW r%u", k > 0 ? ", " : "", k);
    put(t, ") {\n");
    uint32_t known = (1u << p->n_in) - 1;
    for (uint32_t k = 0; k < p->n_code; k++) {
        if ((known & 1u << p->code[k].dst) == 0)
            put(t, "    W r%u = 0.0f;\n", p->code[k].dst);
        known |= 1u << p->code[k].dst;
    }
    for (uint32_t k = 0; k < p->n_code; k++)
        instruction(t, &p->code[k]);
    put(t, "    return r%u;\n}\n", p->code[p->n_code - 1].dst);
}

static void arguments(Text *t, uint32_t n, const char *suffix) {
    for (uint32_t k = 0; k < n; k++)
        put(t, "%sr%u%s", k > 0 ? ", " : "", k, suffix);
}

/* "W y = pw_program(...)" of single elements at col, stored at `to`. */
static void one_element(Text *t, const TnKernelQuery *q, const char *indent, const char *to) {
    for (uint32_t k = 0; k < q->n_in; k++)
        put(t, "%sW r%u = pw_get_one<W, %s>(p.in[%u], at[%u], col, p.step[%u]);\n", indent, k, storage(q->in[k].dtype), k, k, k);
    put(t, "%sPwStore<true>::one((%s *)p.out + %s, pw_program(", indent, storage(q->out[0].dtype), to);
    arguments(t, q->n_in, "");
    put(t, "));\n");
}

static void kernel(Text *t, const TnKernelQuery *q, uint32_t width) {
    put(t, "extern \"C\" __global__ void __launch_bounds__(%d) tenon_step(const __grid_constant__ PwArgs p) {\n", PW_BLOCK);
    put(t, "    const unsigned long long unit = (unsigned long long)blockIdx.x * %d + threadIdx.x;\n", PW_BLOCK);
    put(t, "    if (unit >= p.units)\n        return;\n    long long at[%u];\n", q->n_in);
    put(t, "    unsigned long long col = pw_place<%u>(p, unit, at);\n    pw_start();\n    if (p.vec == 0) {\n", q->n_in);
    one_element(t, q, "        ", "unit");
    put(t, "        return;\n    }\n    col *= %u;\n    if (col + %u <= p.inner) {\n        W y[%u];\n", width, width, width);
    for (uint32_t k = 0; k < q->n_in; k++)
        put(t, "        W r%u[%u];\n", k, width);
    for (uint32_t k = 0; k < q->n_in; k++)
        put(t, "        pw_get<%u, W, %s>(p.in[%u], at[%u], col, p.step[%u], r%u);\n", width, storage(q->in[k].dtype), k, k, k, k);
    put(t, "        for (int i = 0; i < %u; i++)\n            y[i] = pw_program(", width);
    arguments(t, q->n_in, "[i]");
    put(t, ");\n        pw_put<true, %u, W, %s>(p.out, unit * %u, y);\n        return;\n    }\n", width, storage(q->out[0].dtype), width);
    put(t, "    for (unsigned long long e = unit * %u; col < p.inner; col++, e++) {\n", width);
    one_element(t, q, "        ", "e");
    put(t, "    }\n}\n");
}

size_t tni_cuda_pointwise_source(const TnKernelQuery *q, char *dst, size_t cap) {
    Text t = {dst, cap, 0};
    put_all(&t, prelude);
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        put_all(&t, texts[i]);
        put_all(&t, "\n");
    }
    program(&t, q->params);
    kernel(&t, q, tni_cuda_pw_width(q->in, q->n_in, &q->out[0]));
    return t.n;
}
