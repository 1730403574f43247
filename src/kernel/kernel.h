/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel interface: how a step's code is called, described and found. */
#ifndef TENON_KERNEL_KERNEL_H
#define TENON_KERNEL_KERNEL_H

#include "base/base.h"
#include "base/threads.h"
#include "kernel/dim.h"
#include "kernel/params.h"

typedef enum TnOp {
#define OP(name, P, min_in, max_in, min_out, max_out, flags) TN_OP_##name,
#include "kernel/ops.inc"
#undef OP
    TN_OP_COUNT
} TnOp;

enum { TN_OPF_PURE = 1, TN_OPF_DATA_SHAPE = 2, TN_OPF_CONTROL = 4, TN_OPF_STATE = 8, TN_OPF_VIEW = 16, TN_OPF_INPLACE = 32, TN_OPF_FUSED = 64 };

typedef struct TnOpInfo {
    const char *name;   /* "layer_norm" */
    size_t params_size; /* sizeof its parameter struct */
    uint32_t min_in, max_in, min_out, max_out, flags; /* TN_OPF_* */
} TnOpInfo;
/* Row of ops.inc; op < TN_OP_COUNT. */
const TnOpInfo *tni_op_info(TnOp op);
/* false when no operator has this name. */
bool tni_op_find(const char *name, TnOp *out);
/* Bit i: operand i is host memory even for kernels of a device, because its contents decide dims or addresses and are needed to launch (see
 * TnKernelCall.stream). 0 for most operators. */
uint32_t tni_op_host_inputs(TnOp op);
const char *tni_unary_name(uint32_t fn); /* NULL when out of range */
const char *tni_binary_name(uint32_t fn);
const char *tni_reduce_name(uint32_t fn);
const char *tni_act_name(uint32_t act);

/* One call of a kernel. Inputs are never written; outputs have dtype, dims and data set by the caller. in and out may share
 * memory only as the operator's flags (INPLACE, VIEW) allow. Data pointers are aligned to the element only; arenas give 64 bytes. */
typedef struct TnKernelCall {
    const void *params;  /* the operator's parameter struct */
    const TnTensor *in;  /* [n_in]; absent: dtype TN_UNDEFINED, data NULL */
    uint32_t n_in;
    TnTensor *out;       /* [n_out]; an output nobody wants: data NULL */
    uint32_t n_out;
    const void *const *packed; /* [n_in] or NULL: packed form of a constant input made by the kernel's own pack(), else NULL */
    void *scratch;       /* scratch_bytes as its scratch() asked for, 64-byte aligned */
    size_t scratch_bytes;
    TnThreads *threads;  /* NULL: one thread */
    const int64_t *dim_values; /* values of the symbolic dimensions (only for op dims) */
    /* Kernels of a device (TnKernel.device): tensor data, packed constants and scratch are device memory and must not be followed by the
     * host; everything else (params, TnTensor structs, the packed array, dim_values) is host memory. The kernel enqueues on stream and returns;
     * it neither synchronises nor allocates, so that it may be captured in a graph.
     * Exceptions: the operands in tni_op_host_inputs(op) (slice bounds, pads, shapes, k, depth, ...) are host memory, and their contents are read
     * while run() is called: work that was captured holds for these contents only. A DATA_SHAPE operator may synchronise once, to learn its
     * counts before it calls resize; it cannot be captured. */
    struct TnStream *stream;
    struct TnModule *code; /* the loaded form of what source() made; NULL: none */
    /* DATA_SHAPE operators: called once per output with the final dims before its data is written; sets out[i].dims and .data. */
    TnStatus (*resize)(struct TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims);
    void *host; /* for resize */
    TnError *err;
} TnKernelCall;

/* Fallible only for values that make the operator impossible (an index out of range: TN_ERR_RUN with the reason). No allocation. */
typedef TnStatus (*TnKernelFn)(TnKernelCall *call);

/* What is known of a step when its kernel is chosen or sized. in[i].data is set for constants only. */
typedef struct TnKernelQuery {
    TnOp op;
    const void *params;
    const TnTensor *in;
    uint32_t n_in;
    const TnTensor *out;
    uint32_t n_out;
    uint32_t threads;
    const struct TnDeviceInfo *device; /* kernel/device.h; NULL: the CPU */
} TnKernelQuery;

/* A row of a kernels.inc. */
typedef struct TnKernel {
    const char *name; /* op_types_tile__isa[_variant], e.g. gemm_f32_14x32__avx512; unique; stored in plans */
    TnOp op;
    uint32_t cpu; /* TN_CPU_* flags it needs */
    TnKernelFn run;
    bool (*supports)(const TnKernelQuery *q);    /* NULL: whatever the operator allows */
    size_t (*scratch)(const TnKernelQuery *q);   /* bytes for q's dims and threads; monotone in every dim; NULL: none */
    double (*cost)(const TnKernelQuery *q);      /* estimated nanoseconds on one thread; NULL: 1e30 (last resort) */
    const char *packing; /* identity of the packed format; NULL: nothing is packed */
    size_t (*packed_bytes)(const TnKernelQuery *q, uint32_t i); /* 0: input i is not packed */
    void (*pack)(const TnKernelQuery *q, uint32_t i, void *dst); /* q->in[i].data -> dst (64-byte aligned) */
    double atol, rtol; /* contract: |y - ref| <= atol * max|ref| + rtol * |ref| on finite data */
    uint32_t device;   /* TnDeviceKind of the memory that it works on */
    uint32_t arch_min, arch_max; /* device: compute capability x 10 (90 = 9.0) it needs; arch_max 0: any newer */
    uint32_t math;     /* TN_MATH_* liberties it takes; chosen only where the plan allows all of them */
    /* Code generated for this very step: writes NUL-terminated source of entry "tenon_step" to dst (at most cap bytes), returns its length
     * without the NUL; dst NULL: the length only. The planner compiles it, the plan carries binary and source. NULL: none. */
    size_t (*source)(const TnKernelQuery *q, char *dst, size_t cap);
} TnKernel;

typedef enum TnDeviceKind { TN_DEVICE_CPU, TN_DEVICE_CUDA } TnDeviceKind;
#define TN_MATH_TF32 1u /* f32 products of operands rounded to 10 bits of mantissa, summed in f32 */

#endif
