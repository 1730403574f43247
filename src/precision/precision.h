/* SPDX-License-Identifier: Apache-2.0
 *
 * Narrow floats: which float32 values of a rewritten graph become float16 or bfloat16, and the rewrite itself.
 *
 *   x f32 ---> [step f32] ---> [step f32] ---> y f32        x f32 -> cast -> [step T] -> [step T] -> cast -> y f32
 *
 * Inputs, outputs and what called graphs exchange keep their types; states become T. A step stays wide (float32) when it could not be trusted
 * in T, and the report says why:
 *   - a constant or a fill value of it is beyond T's range (masks of -3.4e38)
 *   - values beyond a quarter of T's range were seen on the samples
 *   - integers or booleans are computed from it (comparisons, rounding, casts to integers, and everything element by element above them)
 *   - integers that T cannot hold become floats there
 *   - no kernel of the device computes it in T
 * Casts at the borders saturate: finite numbers beyond T's range become its largest finite number (TnCastParams.saturate = 2). */
#ifndef TENON_PRECISION_PRECISION_H
#define TENON_PRECISION_PRECISION_H

#include "base/threads.h"
#include "ir/graph.h"
#include "kernel/device.h"

/* What running one graph in float32 has shown. Ids of values are those of the module that is rewritten. */
typedef struct PrecisionSeen {
    const double *largest; /* [n_values] largest finite |x|; < 0: never seen */
    const TnTensor *shape; /* [n_values] rank and dims on the samples; no data */
} PrecisionSeen;

typedef struct PrecisionOptions {
    TnDtype type;              /* T: TN_F16 or TN_BF16 */
    const PrecisionSeen *seen; /* [n_graphs] */
    const TnDeviceLibrary *lib;
    const TnDeviceInfo *device;
    uint32_t math; /* TN_MATH_* that kernels may use */
    TnThreads *threads;
    const TnLog *log;
} PrecisionOptions;

/* Why a step stays wide. Steps are found by the name of their first result. */
typedef struct PrecisionNote {
    IrGraphId graph;
    const char *value, *node, *why;
} PrecisionNote;

typedef struct PrecisionReport {
    const PrecisionNote *notes; /* in the module's arena, as all strings */
    uint32_t n_notes;
    uint32_t n_steps, n_narrow, n_casts; /* steps with float32 operands or results; of these in T; casts added */
    uint64_t n_saturated;                /* elements of constants that were beyond T's range */
    uint64_t n_constant_bytes;           /* of constants in T */
} PrecisionReport;

/* Rewrites all graphs of m, which stay inferred and verified. */
TnStatus tni_precision_apply(IrModule *m, const PrecisionOptions *o, PrecisionReport *report, TnError *err);

/* May this row compute q on the device? The row is of the device's kind, for its architecture, within the liberties `math`. */
bool tni_precision_kernel_fits(const TnKernel *k, const TnKernelQuery *q, const TnDeviceLibrary *lib, uint32_t math);
/* Does any row of the library? q->device must be set. */
bool tni_precision_device_computes(const TnKernelQuery *q, const TnDeviceLibrary *lib, uint32_t math);
/* Largest finite number of a float type. */
double tni_precision_limit(TnDtype t);
/* Largest finite |x| of n float32 elements, which may be unaligned. */
double tni_precision_largest(const float *x, int64_t n, TnThreads *threads);

#endif
