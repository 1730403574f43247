/* SPDX-License-Identifier: Apache-2.0
 *
 * checkcuda: runs every row of the device library on a GPU against the reference kernel of its operator on the CPU. Cases are those of
 * tests/kernels (checkkern.h), each in several element types: a case made with float32 becomes one with float16 or bfloat16 by rounding its
 * data, while the reference keeps float32 with the rounded values. */
#ifndef TENON_TESTS_CUDA_CHECKCUDA_H
#define TENON_TESTS_CUDA_CHECKCUDA_H

#include "backend/device.h"
#include "kernels/checkkern.h"

typedef struct Options {
    const char *op, *kernel; /* exact name of an operator; part of a kernel's name */
    int64_t only;            /* one case; -1: all */
    TnDtype type;            /* --time: one element type; TN_UNDEFINED: all */
    uint64_t seed;
    uint32_t device, codes; /* codes: most generated codes that are compiled for one row and type */
    uint32_t stride;        /* every n-th case */
    uint32_t repeat;        /* --repeat: calls of a row; 0: timed instead */
    bool time, separate, poison, verbose;
    bool dry; /* no GPU: the host's part of every row alone */
} Options;

/* ---- one device and its memory (gpu.c) ---- */
typedef struct Gpu {
    const TnDeviceLibrary *lib;
    TnDevice *dev;
    TnStream *stream;
    TnDeviceInfo info;
    unsigned char *pool;   /* device memory that operands are laid out in */
    unsigned char *mirror; /* pinned host memory of the same layout */
    size_t pool_bytes, used;
    void *scratch;
    size_t scratch_bytes;
    bool separate; /* every operand is an allocation of its own, of its exact size: for memory checkers */
    bool dry;      /* there is no device: an H200 is asked about */
} Gpu;

/* A piece of device memory between guards. host is what it holds (before) or held (after) a run. */
typedef struct Piece {
    unsigned char *device, *host;
    size_t bytes, offset; /* of data in the pool */
    void *own;            /* separate: the allocation */
} Piece;

TnStatus gpu_open(Gpu *g, const Options *o, TnError *err);
void gpu_close(Gpu *g);
/* Forgets all pieces. */
void gpu_reset(Gpu *g);
/* A piece of `bytes`, placed as asked (element: size of one, for a shifted start). host is uninitialised. */
TnStatus gpu_piece(Gpu *g, Placement place, size_t bytes, size_t element, Piece *out, TnError *err);
/* Scratch memory, poisoned with `byte` (poison: whether). */
TnStatus gpu_scratch(Gpu *g, size_t bytes, int byte, bool poison, void **out, TnError *err);
/* Whether the bytes behind the scratch are as they were. */
TnStatus gpu_scratch_ok(Gpu *g, size_t bytes, bool *ok, TnError *err);
TnStatus gpu_upload(Gpu *g, Piece *const *pieces, uint32_t n, TnError *err);   /* all pieces and the guards between them */
TnStatus gpu_download(Gpu *g, Piece *const *pieces, uint32_t n, TnError *err); /* into host; waits */
bool gpu_guards_ok(const Gpu *g, Piece *const *pieces, uint32_t n);

/* ---- a case in a type (variant.c) ---- */
typedef struct Variant {
    Case *c;                             /* the reference's side: float32, with values that exist in `real` */
    TnDtype real;                        /* element type of the floats on the device's side; TN_UNDEFINED: as the case is */
    TnTensor in[CASE_IN], out[CASE_OUT]; /* the device's side: dims and types; in: host data */
    void *owned[CASE_IN];
} Variant;

/* Types that case c of its operator is run in, at most 4. */
uint32_t variant_types(const Case *c, TnDtype *types);
/* Values of the symbolic dimensions, for the reference and for the device. */
extern const int64_t variant_dims[CASE_DIMS];
/* Output i with the dims that the reference found (DATA_SHAPE), in the device's type. */
TnTensor variant_out(const Variant *v, uint32_t i);
/* Makes the variant; rounds c's own floats. false: the case cannot be had in this type. */
bool variant_make(Variant *v, Case *c, TnDtype real);
void variant_free(Variant *v);

/* ---- runs (run.c) ---- */
typedef struct Result {
    Piece in[CASE_IN], out[CASE_OUT], packed[CASE_IN];
    bool fault, misshapen; /* misshapen: resize was asked for other dims than the reference's */
    TnStatus status;
    TnError err;
} Result;

typedef struct Program {
    const TnKernel *kernel;
    TnModule *code;
    Gpu *gpu;
    const Options *options;
} Program;

TnKernelQuery variant_query(const Variant *v, const Gpu *g, TnTensor *in, TnTensor *out);
/* Compiles and loads generated code; TN_OK with code NULL when the row has none. */
TnStatus program_load(Program *p, const TnKernelQuery *q, TnError *err);
void program_unload(Program *p);
/* One run with memory poisoned with `byte`; inplace >= 0: output 0 lies where that input does. A status other than TN_OK: the harness or
 * the device failed; what the kernel itself returned is r->status. */
TnStatus run_once(Program *p, const Variant *v, int byte, int inplace, Result *r, TnError *err);

/* ---- comparing (compare.c) ---- */
typedef struct Worst {
    double share; /* of the tolerance; > 1 fails */
    int64_t at;
    double got, want;
} Worst;

/* got: an output in the device's type; want: the reference's in its own. */
void compare_output(const TnTensor *got, const TnTensor *want, double atol, double rtol, Worst *w);

/* ---- the other modes ---- */
/* The functions of the table that are not kernels (api.c): number of failures. */
uint32_t check_functions(Gpu *g);
/* A kernel that faults: what every call says afterwards (api.c). */
uint32_t check_broken(Gpu *g);
/* Times all rows on the shapes of shapes.c and compares what they computed there (time.c): number of failures. */
uint32_t time_rows(Gpu *g, const Options *o);

/* A large call that is timed: operands without data, which time.c makes. */
typedef enum TimedFill { TIMED_NORMAL, TIMED_INDEX, TIMED_NEGATIVE, TIMED_VALUES } TimedFill;
typedef struct Timed {
    TnOp op;
    union {
        uint64_t align;
        unsigned char bytes[1024];
    } params;
    TnTensor in[CASE_IN], out[CASE_OUT];
    uint32_t n_in, n_out;
    bool constant[CASE_IN];
    TimedFill fill[CASE_IN];
    int64_t limit[CASE_IN];     /* index: 0 .. limit - 1 */
    int64_t values[CASE_IN][8]; /* values: the elements */
    double flops;
    char what[128];
} Timed;
/* Shape k of the operator with floats of type `real`; false: there is none. */
bool timed_shape(TnOp op, uint32_t k, TnDtype real, Timed *t);
/* The reference on a whole call or on a case (checkcuda.c), which may set the dims of outputs within their memory; threads as many as there
 * are cores. */
TnStatus run_reference(TnOp op, const void *params, const TnTensor *in, uint32_t n_in, TnTensor *out, uint32_t n_out, TnError *err);

#endif
