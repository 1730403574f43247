/* SPDX-License-Identifier: Apache-2.0
 *
 * The one symbol that libtenon_cuda.so exports: its table of functions and kernels. */
#include "backend/cuda/device.h"
#include "backend/cuda/generate/generate.h"
#include "backend/cuda/registry.h"

#include <pthread.h>

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define HAVE_NVTX 1
#endif

/* A profiler that is attached sees the span; without one these calls do nothing. */
static void range(const char *name) {
#ifdef HAVE_NVTX
    if (name != NULL)
        (void)nvtxRangePushA(name);
    else
        (void)nvtxRangePop();
#else
    (void)name;
#endif
}

/* ---- giving back ----
 * Freeing memory, ending streams and unloading code wait for the device. On one that was given up that would be for ever: what is there is left
 * to the end of the process, by design. Marks, graphs and code do not say whose they are here, so they stay when any device was given up. */

static void free_device(TnDevice *d, void *p) {
    if (!tni_gpu_given_up(d))
        tni_gpu_free(d, p);
}

static void free_host(TnDevice *d, void *p) {
    if (!tni_gpu_given_up(d))
        tni_gpu_free_host(d, p);
}

static void stream_destroy(TnStream **s) {
    if (s == NULL || *s == NULL)
        return;
    if (!tni_gpu_given_up((*s)->dev))
        tni_gpu_stream_destroy(s);
    *s = NULL;
}

static void mark_destroy(TnMark **m) {
    if (!tni_gpu_given_up(NULL))
        tni_gpu_mark_destroy(m);
    *m = NULL;
}

static void graph_destroy(TnGraphExec **g) {
    if (!tni_gpu_given_up(NULL))
        tni_gpu_graph_destroy(g);
    *g = NULL;
}

static void module_free(TnModule **m) {
    if (!tni_gpu_given_up(NULL))
        tni_gpu_module_free(m);
    *m = NULL;
}

static TnDeviceLibrary library = {
    .version = TN_DEVICE_LIBRARY_VERSION,
    .size = sizeof(TnDeviceLibrary),
    .name = "cuda",
    .kind = TN_DEVICE_CUDA,
    .count = tni_gpu_count,
    .open = tni_gpu_open,
    .close = tni_gpu_close,
    .info = tni_gpu_info,
    .memory = tni_gpu_memory,
    .alloc = tni_gpu_alloc,
    .free = free_device,
    .alloc_host = tni_gpu_alloc_host,
    .free_host = free_host,
    .is_device_pointer = tni_gpu_is_device_pointer,
    .stream_create = tni_gpu_stream_create,
    .stream_wrap = tni_gpu_stream_wrap,
    .stream_destroy = stream_destroy,
    .to_device = tni_gpu_to_device,
    .to_host = tni_gpu_to_host,
    .on_device = tni_gpu_on_device,
    .fill = tni_gpu_fill,
    .synchronize = tni_gpu_synchronize,
    .mark_create = tni_gpu_mark_create,
    .mark_destroy = mark_destroy,
    .mark_set = tni_gpu_mark_set,
    .mark_wait = tni_gpu_mark_wait,
    .mark_done = tni_gpu_mark_done,
    .mark_elapsed = tni_gpu_mark_elapsed,
    .capture_begin = tni_gpu_capture_begin,
    .capture_end = tni_gpu_capture_end,
    .graph_launch = tni_gpu_graph_launch,
    .graph_destroy = graph_destroy,
    .compile = tni_gpu_compile,
    .module_load = tni_gpu_module_load,
    .module_free = module_free,
    .take_fault = tni_gpu_take_fault,
    .range = range,
    .activate = tni_cuda_enter,
    .search_step = tni_gpu_search_step,
    .done = tni_gpu_done,
    .give_up = tni_gpu_give_up,
};

static void fill_kernels(void) {
    library.kernels = tni_gpu_kernels(&library.n_kernels);
    library.identity = tni_gpu_identity();
}

TN_API const TnDeviceLibrary *tenon_device_library(void);
const TnDeviceLibrary *tenon_device_library(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_kernels);
    return &library;
}
