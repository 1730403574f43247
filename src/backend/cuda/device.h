/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions behind TnDeviceLibrary (kernel/device.h), file by file. */
#ifndef TENON_BACKEND_CUDA_DEVICE_H
#define TENON_BACKEND_CUDA_DEVICE_H

#include "backend/cuda/cuda.h"

/* device.c */
TnStatus tni_gpu_count(uint32_t *n, TnError *err);
TnStatus tni_gpu_open(uint32_t index, TnDevice **out, TnError *err);
void tni_gpu_close(TnDevice **d);
void tni_gpu_info(const TnDevice *d, TnDeviceInfo *out);
TnStatus tni_gpu_memory(TnDevice *d, uint64_t *free_bytes, uint64_t *total_bytes, TnError *err);
TnStatus tni_gpu_alloc(TnDevice *d, size_t bytes, void **out, TnError *err);
void tni_gpu_free(TnDevice *d, void *p);
TnStatus tni_gpu_alloc_host(TnDevice *d, size_t bytes, void **out, TnError *err);
void tni_gpu_free_host(TnDevice *d, void *p);
bool tni_gpu_is_device_pointer(TnDevice *d, const void *p);
/* As tni_cuda_enter for what must go on after a fault: destroying. */
void tni_gpu_leave(TnDevice *d);

/* Whether everything on s is done; not waiting. */
TnStatus tni_gpu_done(TnStream *s, bool *done, TnError *err);
/* A kernel does not end: d is broken, and nothing of it is given back any more. */
void tni_gpu_give_up(TnDevice *d);
bool tni_gpu_given_up(const TnDevice *d); /* NULL: any device */

/* estimate.c: fills the ceilings of a device whose other fields are set. */
void tni_gpu_ceilings(TnDeviceInfo *info);

/* stream.c */
TnStatus tni_gpu_stream_create(TnDevice *d, TnStream **out, TnError *err);
TnStatus tni_gpu_stream_wrap(TnDevice *d, void *cuda_stream, TnStream **out, TnError *err);
void tni_gpu_stream_destroy(TnStream **s);
TnStatus tni_gpu_to_device(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err);
TnStatus tni_gpu_to_host(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err);
TnStatus tni_gpu_on_device(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err);
TnStatus tni_gpu_fill(TnStream *s, void *dst, int byte, size_t bytes, TnError *err);
TnStatus tni_gpu_synchronize(TnStream *s, TnError *err);
TnStatus tni_gpu_take_fault(TnStream *s, bool *fault, int64_t *index, int64_t *limit, TnError *err);

/* What a stream's dev points at while the kernels enqueued on it have to wait for the end of those before: a copy of the device that launches
 * nothing early. From a wait or a mark in a recording to the end of the next kernel: there a kernel has several in front of it, or several
 * behind it, and starting early is between two. */
typedef struct TniPlainDevice {
    TnDevice dev; /* opened: TNI_PLAIN */
    TnDevice *real;
} TniPlainDevice;
#define TNI_PLAIN UINT32_MAX
/* The device itself. */
static inline TnDevice *tni_gpu_real(TnDevice *d) {
    return d->opened == TNI_PLAIN ? ((TniPlainDevice *)(void *)d)->real : d;
}
/* The next kernel waits for the end of those before it; and no more. */
void tni_gpu_plain(TnStream *s);
void tni_gpu_not_plain(TnStream *s);
/* Whether there were marks or waits in the recording of s. */
bool *tni_gpu_forked(TnStream *s);

/* graph.c */
TnStatus tni_gpu_mark_create(TnDevice *d, bool timing, TnMark **out, TnError *err);
void tni_gpu_mark_destroy(TnMark **m);
TnStatus tni_gpu_mark_set(TnMark *m, TnStream *s, TnError *err);
TnStatus tni_gpu_mark_wait(TnMark *m, TnStream *s, TnError *err);
TnStatus tni_gpu_mark_done(TnMark *m, bool *done, TnError *err);
TnStatus tni_gpu_mark_elapsed(TnMark *from, TnMark *to, double *nanoseconds, TnError *err);
TnStatus tni_gpu_capture_begin(TnStream *s, TnError *err);
TnStatus tni_gpu_capture_end(TnStream *s, TnGraphExec **out, TnError *err);
TnStatus tni_gpu_graph_launch(TnGraphExec *g, TnStream *s, TnError *err);
void tni_gpu_graph_destroy(TnGraphExec **g);

/* compile.c */
bool tni_gpu_has_compiler(void);
TnStatus tni_gpu_compile(const char *source, uint32_t arch, const TnAllocator *a, void **binary, size_t *bytes, TnError *err);
TnStatus tni_gpu_module_load(TnDevice *d, const void *binary, size_t bytes, TnModule **out, TnError *err);
void tni_gpu_module_free(TnModule **m);

#endif
