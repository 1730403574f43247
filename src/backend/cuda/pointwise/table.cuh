/* SPDX-License-Identifier: Apache-2.0
 *
 * The unary and binary functions on one floating type as tables of kernels. Included by one file a type, which defines
 *   PW_T      storage: float, double, PwHalf, PwBrain
 *   PW_SPACE  pw_float or pw_double: where the functions are and what they compute in
 *   PW_V      elements a thread
 *   PW_UNARY, PW_BINARY  names of the tables: indexed by function, NULL where the function is not for floats */
#define PW_FUNCTIONS
#include "backend/cuda/pointwise/code.cuh"

namespace {
typedef PW_SPACE::W W;

#define UNARY(name, expr, types)                                                                                                           \
    struct Un_##name {                                                                                                                     \
        static __device__ __forceinline__ W run(const W (&r)[1], const PwArgs &p) {                                                        \
            return PW_SPACE::pw_un_##name(r[0], (W)p.alpha, (W)p.beta);                                                                    \
        }                                                                                                                                  \
    };
#define BINARY(name, fexpr, iexpr, types)                                                                                                  \
    struct Bin_##name {                                                                                                                    \
        static __device__ __forceinline__ W run(const W (&r)[2], const PwArgs &p) { return PW_SPACE::pw_bin_##name(r[0], r[1]); }          \
    };
#include "kernel/functions.inc"
#undef UNARY
#undef BINARY

/* Kernel of a function of N operands that has the types of its row; a comparison's result is bool. */
template <typename F, int N, unsigned TYPES> constexpr PwKernel pick() {
    if constexpr ((TYPES & TN_FN_F) == 0)
        return nullptr;
    else if constexpr ((TYPES & TN_FN_TO_BOOL) != 0)
        return pw_kernel<F, N, PW_V, PW_T, PwBool, W>;
    else
        return pw_kernel<F, N, PW_V, PW_T, PW_T, W>;
}
} // namespace

extern const PwKernel PW_UNARY[TN_UNARY_COUNT] = {
#define UNARY(name, expr, types) pick<Un_##name, 1, (types)>(),
#include "kernel/functions.inc"
#undef UNARY
};

extern const PwKernel PW_BINARY[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) pick<Bin_##name, 2, (types)>(),
#include "kernel/functions.inc"
#undef BINARY
};
