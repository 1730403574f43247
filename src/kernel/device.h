/* SPDX-License-Identifier: Apache-2.0
 *
 * A device library as the rest of Tenon sees it: one versioned, append-only table of functions (TnDeviceLibrary). libtenon_cuda.so exports
 * tenon_device_library(); it is opened on demand (backend/device.h), links to no library of CUDA but the static runtime, and finds the
 * driver, cuBLASLt and NVRTC when they are first needed. Where it cannot be opened, everything else works as before.
 *
 * Threads: a TnDevice may be used by any thread; a TnStream and what is enqueued on it by one thread at a time. Errors: TN_ERR_DEVICE with the
 * call, the device's own words and what to do; TN_ERR_MEMORY with the bytes asked for and the bytes free. After a fault of the device
 * (illegal access, lost device) every function but the destroying ones fails with TN_ERR_DEVICE. Only synchronize, the destroying functions and
 * those that give memory back wait for the device. */
#ifndef TENON_KERNEL_DEVICE_H
#define TENON_KERNEL_DEVICE_H

#include "kernel/kernel.h"

#define TN_DEVICE_LIBRARY_VERSION 1u

typedef struct TnDevice TnDevice; /* one GPU: context, module cache, library handles */
typedef struct TnStream TnStream; /* an ordered queue of work */
typedef struct TnModule TnModule; /* loaded generated code */
typedef struct TnGraphExec TnGraphExec; /* captured work that can be launched again */
struct TnSearch; /* kernel/search.h */
typedef struct TnMark TnMark;     /* a point in a stream: for timing and for ordering streams */

typedef struct TnDeviceInfo {
    char name[96];        /* "NVIDIA H200" */
    uint32_t index;
    uint32_t arch;        /* compute capability x 10: 90 */
    uint32_t sm_count;
    uint32_t driver, runtime; /* versions x 10: CUDA 13.0 is 13000 */
    uint32_t shared_bytes;    /* most dynamic shared memory a block can have */
    uint32_t has_blaslt, has_compiler; /* cuBLASLt, NVRTC were found */
    uint64_t memory_bytes, l2_bytes;
    double bytes_per_second, half_flops, tf32_flops, float_flops; /* ceilings for cost estimates */
} TnDeviceInfo;

typedef struct TnDeviceLibrary {
    uint32_t version, size; /* TN_DEVICE_LIBRARY_VERSION, sizeof(TnDeviceLibrary) */
    const char *name;       /* "cuda" */
    uint32_t kind;          /* TN_DEVICE_CUDA */
    uint32_t n_kernels;
    const TnKernel *kernels;
    uint64_t identity; /* hash of the names and packings of all kernels */

    TnStatus (*count)(uint32_t *n, TnError *err); /* GPUs; TN_ERR_DEVICE: no driver, or too old a one */
    TnStatus (*open)(uint32_t index, TnDevice **out, TnError *err); /* opened once a process and index; counted */
    void (*close)(TnDevice **d);
    void (*info)(const TnDevice *d, TnDeviceInfo *out);
    TnStatus (*memory)(TnDevice *d, uint64_t *free_bytes, uint64_t *total_bytes, TnError *err);

    TnStatus (*alloc)(TnDevice *d, size_t bytes, void **out, TnError *err); /* 256-byte aligned device memory */
    void (*free)(TnDevice *d, void *p);
    TnStatus (*alloc_host)(TnDevice *d, size_t bytes, void **out, TnError *err); /* pinned host memory */
    void (*free_host)(TnDevice *d, void *p);
    bool (*is_device_pointer)(TnDevice *d, const void *p); /* memory of this device */

    TnStatus (*stream_create)(TnDevice *d, TnStream **out, TnError *err);
    TnStatus (*stream_wrap)(TnDevice *d, void *cuda_stream, TnStream **out, TnError *err); /* a stream of the caller's, which must outlive it */
    void (*stream_destroy)(TnStream **s);
    /* All enqueue. Host memory that is not pinned is copied before the call returns. */
    TnStatus (*to_device)(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err);
    TnStatus (*to_host)(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err);
    TnStatus (*on_device)(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err);
    TnStatus (*fill)(TnStream *s, void *dst, int byte, size_t bytes, TnError *err);
    TnStatus (*synchronize)(TnStream *s, TnError *err); /* waits; reports what failed since the last time */

    TnStatus (*mark_create)(TnDevice *d, bool timing, TnMark **out, TnError *err);
    void (*mark_destroy)(TnMark **m);
    TnStatus (*mark_set)(TnMark *m, TnStream *s, TnError *err);
    TnStatus (*mark_wait)(TnMark *m, TnStream *s, TnError *err); /* s waits for m */
    TnStatus (*mark_done)(TnMark *m, bool *done, TnError *err);
    TnStatus (*mark_elapsed)(TnMark *from, TnMark *to, double *nanoseconds, TnError *err);

    /* What is enqueued on s between begin and end is recorded, not run. A failure ends the recording. */
    TnStatus (*capture_begin)(TnStream *s, TnError *err);
    TnStatus (*capture_end)(TnStream *s, TnGraphExec **out, TnError *err);
    TnStatus (*graph_launch)(TnGraphExec *g, TnStream *s, TnError *err);
    void (*graph_destroy)(TnGraphExec **g);

    /* Generated code. compile: source to a binary for arch (NVRTC); *binary from alloc. TN_ERR_UNSUPPORTED when there is no compiler. */
    TnStatus (*compile)(const char *source, uint32_t arch, const TnAllocator *a, void **binary, size_t *bytes, TnError *err);
    TnStatus (*module_load)(TnDevice *d, const void *binary, size_t bytes, TnModule **out, TnError *err); /* entry "tenon_step" */
    void (*module_free)(TnModule **m);

    /* Index faults found by kernels (an index out of range in a gather): kernels note the first one in the stream's fault word and go on with a
     * clamped index. Read after synchronize: 0 none, else the index; resets it. */
    TnStatus (*take_fault)(TnStream *s, bool *fault, int64_t *index, int64_t *limit, TnError *err);

    /* Names a span of the host's time for profilers (NVTX); a NULL name ends it. */
    void (*range)(const char *name);

    /* Makes d the calling thread's device, as every function above with a device or stream does: to be called by a thread that runs kernels of
     * a device without such a call before. */
    TnStatus (*activate)(TnDevice *d, TnError *err);

    /* Enqueues one step of a greedy or beam search (kernel/search.h: choose, advance, count) behind the decoder's run; can be captured. g is
     * read during the call. NULL: the device has no such kernels, and the host searches. */
    TnStatus (*search_step)(TnStream *s, const struct TnSearch *g, TnError *err);

    /* Has everything that was enqueued on s been done? Does not wait; reports what failed, as synchronize does. */
    TnStatus (*done)(TnStream *s, bool *done, TnError *err);
    /* A kernel on d does not come to an end. From now on every function fails at once with TN_ERR_DEVICE, and the destroying ones do nothing:
     * giving memory or a stream back would wait for the kernel for ever. What is theirs is left to the end of the process. */
    void (*give_up)(TnDevice *d);
} TnDeviceLibrary;

/* The one symbol a device library exports. */
typedef const TnDeviceLibrary *(*TnDeviceLibraryFn)(void);

#endif
