/* SPDX-License-Identifier: Apache-2.0
 *
 * The device code that pointwise kernels are made of: memory.inc, and scalar.inc in float (pw_float) and double (pw_double). */
#ifndef TENON_BACKEND_CUDA_POINTWISE_CODE_CUH
#define TENON_BACKEND_CUDA_POINTWISE_CODE_CUH

#include "backend/cuda/pointwise/launch.h"

#define CODE(...) __VA_ARGS__
#include "backend/cuda/pointwise/memory.inc"

#ifdef PW_FUNCTIONS
namespace pw_float {
typedef float W;
#define FN(name) name##f
#include "backend/cuda/pointwise/scalar.inc"
#undef FN
} // namespace pw_float
namespace pw_double {
typedef double W;
#define FN(name) name
#include "backend/cuda/pointwise/scalar.inc"
#undef FN
} // namespace pw_double
#endif
#undef CODE

/* What a storage type is computed in. */
template <typename T> struct PwWide { typedef float R; };
template <> struct PwWide<double> { typedef double R; };

/* One thread's work for a function of N inputs, F::run(r, args): TI loaded as R, result stored as TO. `col` counts elements of the inner
 * dim; the output is dense, so that unit u starts at element u * V. Results saturate. */
template <typename F, int N, int V, typename TI, typename TO, typename R>
__global__ void __launch_bounds__(PW_BLOCK) pw_kernel(const __grid_constant__ PwArgs p) {
    tni_start();
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (unit >= p.units)
        return;
    long long at[N];
    unsigned long long col = pw_place<N>(p, unit, at);
    if (p.vec == 0) {
        R r[N];
#pragma unroll
        for (int k = 0; k < N; k++)
            r[k] = pw_get_one<R, TI>(p.in[k], at[k], col, p.step[k]);
        PwStore<true>::one((TO *)p.out + unit, F::run(r, p));
        return;
    }
    col *= V;
    if (col + V <= p.inner) {
        R x[N][V], y[V];
#pragma unroll
        for (int k = 0; k < N; k++)
            pw_get<V, R, TI>(p.in[k], at[k], col, p.step[k], x[k]);
#pragma unroll
        for (int i = 0; i < V; i++) {
            R r[N];
#pragma unroll
            for (int k = 0; k < N; k++)
                r[k] = x[k][i];
            y[i] = F::run(r, p);
        }
        pw_put<true, V, R, TO>(p.out, unit * V, y);
        return;
    }
    for (unsigned long long e = unit * V; col < p.inner; col++, e++) { /* the rest of a flat tensor */
        R r[N];
#pragma unroll
        for (int k = 0; k < N; k++)
            r[k] = pw_get_one<R, TI>(p.in[k], at[k], col, p.step[k]);
        PwStore<true>::one((TO *)p.out + e, F::run(r, p));
    }
}

typedef void (*PwKernel)(const PwArgs);

#endif
