/* SPDX-License-Identifier: Apache-2.0
 *
 * Largest error of the vectorised functions in units in the last place against libm in double, over a sweep of all f32 exponents and
 * signs, per ISA level. Fails when a function is worse than mathf.h says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/cpu/pointwise/pointwise.h"
#include "base/cpu.h"

typedef double (*Exact)(double x);

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}
static double softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static double gelu(double x) {
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}
static double gelu_tanh(double x) {
    return x * sigmoid(2.0 * 0.79788456080286535588 * (x + 0.044715 * x * x * x));
}
static double silu(double x) {
    return x / (1.0 + exp(-x));
}
static double mish(double x) {
    return x * tanh(softplus(x));
}
static double elu(double x) {
    return x < 0 ? expm1(x) : x;
}

/* The bound: ulp where |x| <= near, else (tails of x * Phi(x) and the like) `absolute` times |x|. */
static const struct {
    const char *name;
    uint32_t fn;
    Exact f;
    double ulp, near, absolute, domain;
} rows[] = {
    {"exp", TN_UNARY_exp, exp, 1.2, INFINITY, 0, INFINITY},
    {"log", TN_UNARY_log, log, 1.0, INFINITY, 0, INFINITY},
    {"tanh", TN_UNARY_tanh, tanh, 1.5, INFINITY, 0, INFINITY},
    {"erf", TN_UNARY_erf, erf, 1.5, INFINITY, 0, INFINITY},
    {"sigmoid", TN_UNARY_sigmoid, sigmoid, 2.5, INFINITY, 0, INFINITY},
    {"softplus", TN_UNARY_softplus, softplus, 2.5, INFINITY, 0, INFINITY},
    {"elu", TN_UNARY_elu, elu, 1.0, INFINITY, 0, INFINITY},
    {"sin", TN_UNARY_sin, sin, 1.5, 3.0, 1e-7, 8192},
    {"cos", TN_UNARY_cos, cos, 1.5, 1.5, 1e-7, 8192},
    {"gelu", TN_UNARY_gelu, gelu, 24.0, 3.0, 0x1p-22, 1e30},
    {"gelu_tanh", TN_UNARY_gelu_tanh, gelu_tanh, 16.0, 3.0, 0x1p-22, 1e30},
    {"silu", TN_UNARY_silu, silu, 3.0, 3.0, 0x1p-22, 1e30},
    {"mish", TN_UNARY_mish, mish, 4.0, 3.0, 0x1p-22, 1e30},
};

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static double ulp_of(double y) {
    int e;
    frexp(y, &e);
    return ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

/* Error of y for exact value r, as a share of what is allowed at x. */
static double excess(size_t k, float x, float y, double r, double *ulps) {
    double rf = (double)(float)r;
    if (r != r)
        return y != y ? 0.0 : INFINITY;
    if (isinf(rf))
        return (double)y == rf || ((double)y == copysign((double)3.4028235e38f, r)) ? 0.0 : INFINITY;
    double err = fabs((double)y - r);
    if (fabs((double)x) <= rows[k].near) {
        double u = err / ulp_of(r);
        if (u > *ulps)
            *ulps = u;
        return u / rows[k].ulp;
    }
    double scale = rows[k].domain < 1e29 ? 1.0 : fabs((double)x);
    return err / (rows[k].absolute * scale);
}

static int sweep(const char *isa, TnKernelFn run, uint32_t step) {
    enum { N = 1 << 16 };
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    int bad = x == NULL || y == NULL;
    for (size_t k = 0; k < TN_COUNT(rows) && x != NULL && y != NULL; k++) {
        TnUnaryParams p = {.fn = rows[k].fn, .alpha = 1.0f, .beta = 1.0f};
        double worst = 0, ulps = 0;
        float at = 0;
        for (uint64_t u = 0; u <= UINT32_MAX;) {
            int64_t n = 0;
            for (; n < N && u <= UINT32_MAX; u += step) {
                float v = from_bits((uint32_t)u);
                if (v != v || fabs((double)v) <= rows[k].domain)
                    x[n++] = v;
            }
            TnTensor in = {x, TN_F32, 1, {n}}, out = {y, TN_F32, 1, {n}};
            TnKernelCall call = {.params = &p, .in = &in, .n_in = 1, .out = &out, .n_out = 1};
            if (run(&call) != TN_OK)
                bad = 1;
            for (int64_t i = 0; i < n; i++) {
                double e = excess(k, x[i], y[i], rows[k].f((double)x[i]), &ulps);
                if (!(e <= worst)) {
                    worst = e;
                    at = x[i];
                }
            }
        }
        printf("%-7s %-10s %6.2f ulp, worst %5.2f of the allowed at x = %a\n", isa, rows[k].name, ulps, worst, (double)at);
        if (!(worst <= 1.0))
            bad = 1;
    }
    free(x);
    free(y);
    return bad;
}

int main(int argc, char **argv) {
    uint32_t step = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 65521; /* prime: all low bits occur */
    int bad = sweep("scalar", tni_cpu_unary_scalar, step);
#if defined(__x86_64__)
    uint32_t flags = tni_cpu_flags();
    if ((flags & TN_CPU_AVX2) != 0)
        bad |= sweep("avx2", tni_cpu_unary_avx2, step);
    if ((flags & TN_CPU_AVX512) != 0)
        bad |= sweep("avx512", tni_cpu_unary_avx512, step);
#endif
    if (bad)
        fprintf(stderr, "a function is less exact than backend/cpu/simd/mathf.h says\n");
    return bad;
}
