/* SPDX-License-Identifier: Apache-2.0
 *
 * cuBLASLt, found at run time, with one handle a device. */
#include "backend/cuda/blaslt.h"

#include "backend/cuda/device.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static TniBlasLt functions; /* what every device's copy starts from */
static bool found;
static char why[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void open_library(void) {
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
    void *lib = tni_cuda_dlopen(names, why, sizeof why), *p;
    if (lib == NULL)
        return;
    found = true;
#define X(name)                                                                                                                            \
    p = dlsym(lib, "cublasLt" #name);                                                                                                      \
    memcpy(&functions.name, &p, sizeof p);                                                                                                 \
    found = found && p != NULL;
    TNI_BLASLT_FUNCTIONS(X)
#undef X
    if (!found) {
        snprintf(why, sizeof why, "libcublasLt.so lacks functions of version 12");
        return;
    }
    functions.version = functions.GetVersion();
}

bool tni_cuda_has_blaslt(void) {
    pthread_once(&once, open_library);
    return found;
}

TnStatus tni_cuda_raise_blaslt(TnError *err, const TniBlasLt *lt, cublasStatus_t st, const char *what) {
    if (st == CUBLAS_STATUS_SUCCESS)
        return TN_OK;
    return TN_RAISE(err, st == CUBLAS_STATUS_ALLOC_FAILED ? TN_ERR_MEMORY : TN_ERR_DEVICE, "cuBLASLt: %s failed: %s", what,
                    lt->GetStatusString(st));
}

static TnStatus make(TnDevice *d, TnError *err) {
    TN_TRY(tni_cuda_enter(d, err));
    TniBlasLt *lt = tni_calloc(NULL, 1, sizeof *lt);
    if (lt == NULL)
        return TN_OOM(err, sizeof *lt);
    *lt = functions;
    TnStatus st = tni_cuda_raise_blaslt(err, lt, lt->Create(&lt->handle), "making a handle");
    if (st != TN_OK) {
        tni_free(NULL, lt);
        return st;
    }
    __atomic_store_n(&d->blaslt, lt, __ATOMIC_RELEASE);
    return TN_OK;
}

TnStatus tni_cuda_blaslt(TnDevice *d, TniBlasLt **out, TnError *err) {
    d = tni_gpu_real(d);
    *out = __atomic_load_n(&d->blaslt, __ATOMIC_ACQUIRE);
    if (*out != NULL)
        return TN_OK;
    if (!tni_cuda_has_blaslt())
        return TN_RAISE(err, TN_ERR_DEVICE, "%s; install cuBLAS of the CUDA toolkit or name its folder in TENON_CUDA_PATH", why);
    pthread_mutex_lock(&lock);
    TnStatus st = d->blaslt == NULL ? make(d, err) : TN_OK;
    *out = d->blaslt;
    pthread_mutex_unlock(&lock);
    return st;
}
