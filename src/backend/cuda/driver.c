/* SPDX-License-Identifier: Apache-2.0
 *
 * Libraries that are found at run time, and the functions of the driver that the runtime library has no counterpart of. */
#include "backend/cuda/cuda.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *open_in(const char *folder, size_t folder_len, const char *const *names) {
    char path[PATH_MAX];
    for (const char *const *name = names; *name != NULL; name++) {
        int n = folder == NULL ? snprintf(path, sizeof path, "%s", *name)
                               : snprintf(path, sizeof path, "%.*s/%s", (int)folder_len, folder, *name);
        void *lib = n > 0 && (size_t)n < sizeof path ? dlopen(path, RTLD_LAZY | RTLD_LOCAL) : NULL;
        if (lib != NULL)
            return lib;
    }
    return NULL;
}

void *tni_cuda_dlopen(const char *const *names, char *why, size_t cap) {
    static const char toolkit[] = "/usr/local/cuda/lib64";
    const char *list = getenv("TENON_CUDA_PATH");
    for (const char *p = list; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, ":");
        void *lib = n > 0 ? open_in(p, n, names) : NULL;
        if (lib != NULL)
            return lib;
        p += n + (p[n] == ':');
    }
    void *lib = open_in(NULL, 0, names);
    if (lib == NULL)
        lib = open_in(toolkit, sizeof toolkit - 1, names);
    if (lib == NULL)
        snprintf(why, cap, "%s was not found in TENON_CUDA_PATH (%s), by the loader, or in %s", names[0], list == NULL ? "not set" : list,
                 toolkit);
    return lib;
}

/* ---- the driver ---- */
static TniDriver driver;
static char driver_why[256];
static bool driver_found;
static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

/* A function pointer from a data pointer, which ISO C has no cast for. */
static bool find(void *lib, const char *name, void *fn) {
    void *p = dlsym(lib, name);
    memcpy(fn, &p, sizeof p);
    return p != NULL;
}

static void driver_open(void) {
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (lib == NULL) {
        const char *e = dlerror();
        snprintf(driver_why, sizeof driver_why, "%s", e == NULL ? "unknown reason" : e);
        return;
    }
    driver_found = find(lib, "cuModuleLoadData", &driver.module_load) && find(lib, "cuModuleUnload", &driver.module_unload) &&
                   find(lib, "cuModuleGetFunction", &driver.module_function) && find(lib, "cuLaunchKernel", &driver.launch) &&
                   find(lib, "cuGetErrorString", &driver.error_string);
    if (!driver_found)
        snprintf(driver_why, sizeof driver_why, "libcuda.so.1 lacks functions that every supported driver has");
    (void)find(lib, "cuTensorMapEncodeTiled", &driver.tensor_map_tiled);
    (void)find(lib, "cuLaunchKernelEx", &driver.launch_with);
}

TnStatus tni_cuda_driver(const TniDriver **out, TnError *err) {
    *out = NULL;
    pthread_once(&driver_once, driver_open);
    if (!driver_found)
        return TN_RAISE(err, TN_ERR_DEVICE,
                        "no NVIDIA driver: libcuda.so.1 could not be used (%s); install the driver (for CUDA %d: version %s or newer), or "
                        "run on the CPU",
                        driver_why, CUDART_VERSION / 1000, CUDART_VERSION >= 13000 ? "580" : "525");
    *out = &driver;
    return TN_OK;
}

TnStatus tni_cuda_raise_driver(TnError *err, CUresult r, const char *what) {
    const char *text = NULL;
    if (r == CUDA_SUCCESS)
        return TN_OK;
    /* The numbers of the runtime's errors are those of the driver where both have the error; the rest goes on with its text. */
    if (r == CUDA_ERROR_OUT_OF_MEMORY)
        return tni_cuda_raise(err, cudaErrorMemoryAllocation, what);
    if ((int)r >= (int)cudaErrorIllegalAddress && (int)r <= (int)cudaErrorLaunchFailure)
        return tni_cuda_raise(err, (cudaError_t)r, what);
    if (driver_found)
        (void)driver.error_string(r, &text);
    return TN_RAISE(err, TN_ERR_DEVICE, "%s failed: %s (driver error %d)", what, text == NULL ? "unknown error" : text, (int)r);
}
