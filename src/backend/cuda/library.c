/* SPDX-License-Identifier: Apache-2.0
 *
 * The one symbol that libtenon_cuda.so exports: its table of functions and kernels. */
#include "backend/cuda/device.h"
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

static TnDeviceLibrary library = {
    .version = TN_DEVICE_LIBRARY_VERSION,
    .size = sizeof(TnDeviceLibrary),
    .name = "cuda",
    .kind = TN_DEVICE_CUDA,
    .count = tni_cuda_count,
    .open = tni_cuda_open,
    .close = tni_cuda_close,
    .info = tni_cuda_info,
    .memory = tni_cuda_memory,
    .alloc = tni_cuda_alloc,
    .free = tni_cuda_free,
    .alloc_host = tni_cuda_alloc_host,
    .free_host = tni_cuda_free_host,
    .is_device_pointer = tni_cuda_is_device_pointer,
    .stream_create = tni_cuda_stream_create,
    .stream_wrap = tni_cuda_stream_wrap,
    .stream_destroy = tni_cuda_stream_destroy,
    .to_device = tni_cuda_to_device,
    .to_host = tni_cuda_to_host,
    .on_device = tni_cuda_on_device,
    .fill = tni_cuda_fill,
    .synchronize = tni_cuda_synchronize,
    .mark_create = tni_cuda_mark_create,
    .mark_destroy = tni_cuda_mark_destroy,
    .mark_set = tni_cuda_mark_set,
    .mark_wait = tni_cuda_mark_wait,
    .mark_done = tni_cuda_mark_done,
    .mark_elapsed = tni_cuda_mark_elapsed,
    .capture_begin = tni_cuda_capture_begin,
    .capture_end = tni_cuda_capture_end,
    .graph_launch = tni_cuda_graph_launch,
    .graph_destroy = tni_cuda_graph_destroy,
    .compile = tni_cuda_compile,
    .module_load = tni_cuda_module_load,
    .module_free = tni_cuda_module_free,
    .take_fault = tni_cuda_take_fault,
    .range = range,
    .activate = tni_cuda_enter,
};

static void fill_kernels(void) {
    library.kernels = tni_cuda_kernels(&library.n_kernels);
    library.identity = tni_cuda_identity();
}

TN_API const TnDeviceLibrary *tenon_device_library(void);
const TnDeviceLibrary *tenon_device_library(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_kernels);
    return &library;
}
