/* SPDX-License-Identifier: Apache-2.0
 *
 * What every file of the CUDA backend may use: the objects behind kernel/device.h, error macros, the driver's functions, helpers of host
 * code that sizes and launches. A .cu file also gets device.cuh: vectors, conversions, reductions. Internal to libtenon_cuda.so.
 *
 * A family's run() looks like this:
 *     TnStatus tni_cuda_softmax(TnKernelCall *call) {
 *         ... my_kernel<<<grid, block, shared, call->stream->s>>>(...);
 *         return tni_cuda_launched(call, "softmax");
 *     }
 * It enqueues only: no synchronisation, no allocation, no copy from pageable memory. The calling thread's device is that of the stream. */
#ifndef TENON_BACKEND_CUDA_CUDA_H
#define TENON_BACKEND_CUDA_CUDA_H

/* System headers first: the headers below stand inside extern "C". */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cuda.h>
#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/base.h"
#include "base/dtype.h"
#include "kernel/device.h"
#include "kernel/kernel.h"

/* ---- index faults ---- */

/* What the host reads: pinned memory that the GPU writes. */
typedef struct TniFaultNote {
    int64_t index, limit;
    uint32_t set, pad;
} TniFaultNote;

/* What kernels get (TnStream.fault): device memory. tni_fault_note() in device.cuh notes the first fault. */
typedef struct TniFault {
    uint32_t claimed, pad; /* a thread has taken the note */
    TniFaultNote *note;
} TniFault;

/* 0: every kernel waits for the end of the one before (see device.cuh). */
#ifndef TENON_CUDA_EARLY
#define TENON_CUDA_EARLY 1
#endif

/* ---- objects ---- */
struct TniBlasLt; /* blaslt.h */

struct TnDevice {
    TnDeviceInfo info;
    uint32_t opened;          /* how often; the object stays for the life of the process */
    volatile int broken;      /* the CUDA error (cudaError_t) that made the context unusable, or 0 */
    struct TniBlasLt *blaslt; /* made when first asked for */
    volatile int early;       /* kernels are launched while the one before still runs (device.cuh); set when a stream is made */
};

struct TnStream {
    cudaStream_t s;
    TnDevice *dev;
    TniFault *fault;    /* device memory, never NULL */
    TniFaultNote *note; /* host view of what fault->note points at */
    bool owned;         /* s is destroyed with it */
    bool capturing;
};

struct TnModule {
    TnDevice *dev;
    CUmodule module;
    CUfunction entry; /* "tenon_step" */
    bool early;       /* it waits for the work before it, and says so with an entry "tenon_early" */
};

/* ---- errors ---- */

/* Fills err for a CUDA failure: TN_ERR_MEMORY for a lack of memory, else TN_ERR_DEVICE. `what` names the call or kernel. Notes errors that
 * make the context unusable on the thread's device. */
TnStatus tni_cuda_raise(TnError *err, cudaError_t e, const char *what);
/* Returns from the enclosing function when expr fails. */
#define TNI_CUDA(err, expr, what)                                                                                                          \
    do {                                                                                                                                   \
        cudaError_t tni_cuda_e = (expr);                                                                                                   \
        if (tni_cuda_e != cudaSuccess)                                                                                                     \
            return tni_cuda_raise((err), tni_cuda_e, (what));                                                                              \
    } while (0)
/* To be returned after the launches of a call: the launch error, if any. */
TnStatus tni_cuda_launched(TnKernelCall *call, const char *kernel);
/* Makes d the device of the calling thread. Fails when d is broken. */
TnStatus tni_cuda_enter(TnDevice *d, TnError *err);

/* Lets kernel `fn` have `bytes` of dynamic shared memory (needed above 48 KiB, harmless below). */
TnStatus tni_cuda_shared(TnKernelCall *call, const void *fn, size_t bytes);

/* Compute capability (x 10) that this library's kernels were compiled for, as the driver chose among them for the thread's device; 0: not
 * known (generate/search.cu). */
int tni_cuda_code_arch(void);

/* Launches call->code, a module made from source(). args: pointers to the arguments, as for cudaLaunchKernel. */
TnStatus tni_cuda_launch_code(TnKernelCall *call, unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned shared_bytes, void **args,
                              const char *what);

/* ---- the driver's own functions, for what the runtime library lacks ---- */
typedef struct TniDriver {
    CUresult (*module_load)(CUmodule *m, const void *image);
    CUresult (*module_unload)(CUmodule m);
    CUresult (*module_function)(CUfunction *f, CUmodule m, const char *name);
    CUresult (*launch)(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                       CUstream s, void **args, void **extra);
    CUresult (*launch_with)(const CUlaunchConfig *config, CUfunction f, void **args, void **extra); /* NULL before 11.8 */
    CUresult (*error_string)(CUresult r, const char **text);
    /* cuTensorMapEncodeTiled; NULL where the driver is too old for Hopper's copy engine. */
    CUresult (*tensor_map_tiled)(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base, const cuuint64_t *dims,
                                 const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *element_strides,
                                 CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                 CUtensorMapFloatOOBfill fill);
} TniDriver;
/* TN_ERR_DEVICE when there is no driver. Kept once found; cheap. */
TnStatus tni_cuda_driver(const TniDriver **out, TnError *err);
TnStatus tni_cuda_raise_driver(TnError *err, CUresult r, const char *what);

/* Opens the first of `names` (NULL-terminated) that the loader finds by itself, in the folders of $TENON_CUDA_PATH, or in the usual place
 * of a toolkit. NULL: not found; the reason in `why`. The handle is kept for ever. */
void *tni_cuda_dlopen(const char *const *names, char *why, size_t cap);

/* ---- host helpers ---- */
TN_INLINE bool tni_is_aligned(const void *p, size_t bytes) {
    return ((uintptr_t)p & (bytes - 1)) == 0;
}
TN_INLINE int64_t tni_div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Blocks for a loop that strides over the grid: enough for `items` at `per_block`, at least 1, at most `waves` times the GPU's SMs. */
TN_INLINE unsigned tni_grid(const TnKernelCall *call, int64_t items, int64_t per_block, unsigned waves);

/* Elements before dim `axis`, from `axis` on: the usual [outer, inner] view. */
TN_INLINE int64_t tni_numel_range(const TnTensor *t, int32_t from, int32_t to) {
    int64_t n = 1;
    for (int32_t d = from; d < to; d++)
        n *= t->dims[d];
    return n;
}

TN_INLINE bool tni_is_real(TnDtype t) {
    return t == TN_F32 || t == TN_F16 || t == TN_BF16;
}
TN_INLINE size_t tni_size_of(TnDtype t) {
    return (size_t)(tn_dtype_bits(t) / 8);
}

/* The one type (f32, f16, bf16) of all operands that are there; TN_UNDEFINED when they differ or are of another kind. */
TnDtype tni_cuda_float_type(const TnKernelQuery *q);
/* Bytes of all operands. */
double tni_cuda_bytes(const TnKernelQuery *q);
/* Estimated nanoseconds of one kernel: 2 us, plus the longer of moving `bytes` and doing `flops` at `flops_per_second` (0: nothing
 * counted), both at a share of the device's ceilings that kernels reach. */
double tni_cuda_cost(const TnKernelQuery *q, double bytes, double flops, double flops_per_second);

/* ---- division by a number known at launch ---- */
typedef struct TniDiv {
    uint32_t d, multiplier, shift;
} TniDiv;

/* d in 1 .. 2^31; then n / d for n < 2^31 is ((n * multiplier >> 32) + n) >> shift. */
TN_INLINE TniDiv tni_div_make(int64_t d) {
    TniDiv v = {(uint32_t)d, 0, 0};
    while (v.shift < 31 && (UINT64_C(1) << v.shift) < (uint64_t)d)
        v.shift++;
    v.multiplier = (uint32_t)((((UINT64_C(1) << v.shift) - (uint64_t)d) << 32) / (uint64_t)d + 1);
    return v;
}

TN_INLINE unsigned tni_grid(const TnKernelCall *call, int64_t items, int64_t per_block, unsigned waves) {
    int64_t want = tni_div_up(items, per_block), most = (int64_t)call->stream->dev->info.sm_count * (int64_t)waves;
    return (unsigned)(want < 1 ? 1 : want > most ? most : want);
}

#ifdef __cplusplus
}
#endif

#ifdef __CUDACC__
#include "backend/cuda/device.cuh"
#endif
#endif
