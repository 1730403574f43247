/* SPDX-License-Identifier: Apache-2.0
 *
 * GPUs: finding, opening, what they are, their memory; errors. A TnDevice stays for the life of the process once opened, so that its
 * context and the libraries' handles are made once. */
#include "backend/cuda/device.h"

#include <pthread.h>
#include <stdio.h>

#include "backend/cuda/blaslt.h"

#define MOST_DEVICES 64
#ifndef TNI_CUDA_ARCH_MIN
#define TNI_CUDA_ARCH_MIN 80
#endif

static TnDevice devices[MOST_DEVICES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The device that this thread entered last: the one that an error belongs to. */
static _Thread_local TnDevice *current;

/* ---- errors ---- */

/* After these every further call on the context fails: the process keeps its other devices, but not this one. */
static bool is_sticky(cudaError_t e) {
    switch (e) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorContextIsDestroyed:
    case cudaErrorDevicesUnavailable:
        return true;
    default:
        return false;
    }
}

static TnStatus raise_broken(const TnDevice *d, TnError *err) {
    cudaError_t e = (cudaError_t)d->broken;
    if (tni_gpu_given_up(d))
        return TN_RAISE(err, TN_ERR_DEVICE,
                        "cuda:%u (%s) was given up because a kernel on it does not come to an end: start the process again, or go on with "
                        "another device",
                        d->info.index, d->info.name);
    return TN_RAISE(
        err, TN_ERR_DEVICE,
        "cuda:%u (%s) failed earlier with %s (%s); its context is unusable for the rest of this process: start the process again, or "
        "go on with another device",
        d->info.index, d->info.name, cudaGetErrorName(e), cudaGetErrorString(e));
}

TnStatus tni_cuda_raise(TnError *err, cudaError_t e, const char *what) {
    (void)cudaGetLastError(); /* so that the next launch does not report this one again */
    TnDevice *d = current;
    char name[128] = "CUDA";
    if (d != NULL)
        snprintf(name, sizeof name, "cuda:%u (%s)", d->info.index, d->info.name);
    if (e == cudaErrorMemoryAllocation)
        return TN_RAISE(err, TN_ERR_MEMORY, "%s: out of memory in %s", name, what);
    if (is_sticky(e)) {
        if (d != NULL && d->broken == 0)
            d->broken = (int)e;
        return TN_RAISE(
            err, TN_ERR_DEVICE,
            "%s: %s failed: %s (%s); the fault may be of earlier work. The context of this device is unusable for the rest of this "
            "process: start the process again, or go on with another device",
            name, what, cudaGetErrorString(e), cudaGetErrorName(e));
    }
    if (e == cudaErrorNoKernelImageForDevice)
        return TN_RAISE(err, TN_ERR_DEVICE,
                        "%s: %s failed: this build has no code for the device; build with its compute capability in TENON_CUDA_ARCHS", name,
                        what);
    return TN_RAISE(err, TN_ERR_DEVICE, "%s: %s failed: %s (%s)", name, what, cudaGetErrorString(e), cudaGetErrorName(e));
}

TnStatus tni_cuda_launched(TnKernelCall *call, const char *kernel) {
    cudaError_t e = cudaGetLastError();
    tni_gpu_not_plain(call->stream);
    if (e == cudaSuccess)
        return TN_OK;
    current = call->stream->dev;
    return tni_cuda_raise(call->err, e, kernel);
}

TnStatus tni_cuda_shared(TnKernelCall *call, const void *fn, size_t bytes) {
    if (bytes <= 48 * 1024)
        return TN_OK;
    current = tni_gpu_real(call->stream->dev);
    TNI_CUDA(call->err, cudaFuncSetAttribute(fn, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), "reserving shared memory");
    return TN_OK;
}

/* ---- giving up ---- */

/* What the driver itself says of a kernel that it has ended for its time is said here of one that cannot be ended. */
void tni_gpu_give_up(TnDevice *d) {
    d->broken = (int)cudaErrorLaunchTimeout;
}

bool tni_gpu_given_up(const TnDevice *d) {
    for (uint32_t i = 0; d == NULL && i < MOST_DEVICES; i++)
        if (devices[i].broken == (int)cudaErrorLaunchTimeout)
            return true;
    return d != NULL && d->broken == (int)cudaErrorLaunchTimeout;
}

/* ---- finding and opening ---- */
TnStatus tni_cuda_enter(TnDevice *d, TnError *err) {
    d = tni_gpu_real(d);
    current = d;
    if (d->broken != 0)
        return raise_broken(d, err);
    TNI_CUDA(err, cudaSetDevice((int)d->info.index), "cudaSetDevice");
    return TN_OK;
}

void tni_gpu_leave(TnDevice *d) {
    d = tni_gpu_real(d);
    current = d;
    (void)cudaSetDevice((int)d->info.index);
}

TnStatus tni_gpu_count(uint32_t *n, TnError *err) {
    const TniDriver *driver;
    int count = 0, version = 0;
    *n = 0;
    TN_TRY(tni_cuda_driver(&driver, err));
    cudaError_t e = cudaGetDeviceCount(&count);
    if (e == cudaErrorInsufficientDriver) {
        (void)cudaGetLastError();
        (void)cudaDriverGetVersion(&version);
        return TN_RAISE(err, TN_ERR_DEVICE,
                        "the NVIDIA driver is too old: it supports CUDA %d.%d, this build needs CUDA %d.%d; install driver %s or newer",
                        version / 1000, version % 1000 / 10, CUDART_VERSION / 1000, 0, CUDART_VERSION >= 13000 ? "580" : "525");
    }
    if (e == cudaErrorNoDevice) {
        (void)cudaGetLastError();
        return TN_OK;
    }
    current = NULL;
    TNI_CUDA(err, e, "cudaGetDeviceCount");
    *n = (uint32_t)TN_MAX(count, 0);
    return TN_OK;
}

static TnStatus fill_info(TnDevice *d, uint32_t index, TnError *err) {
    struct cudaDeviceProp p;
    int driver = 0, runtime = 0;
    TNI_CUDA(err, cudaGetDeviceProperties(&p, (int)index), "cudaGetDeviceProperties");
    TNI_CUDA(err, cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    TNI_CUDA(err, cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    TnDeviceInfo *o = &d->info;
    memset(o, 0, sizeof *o);
    snprintf(o->name, sizeof o->name, "%.*s", (int)sizeof o->name - 1, p.name);
    o->index = index;
    o->arch = (uint32_t)(p.major * 10 + p.minor);
    o->sm_count = (uint32_t)p.multiProcessorCount;
    o->driver = (uint32_t)driver;
    o->runtime = (uint32_t)runtime;
    o->shared_bytes = (uint32_t)p.sharedMemPerBlockOptin;
    o->memory_bytes = (uint64_t)p.totalGlobalMem;
    o->l2_bytes = (uint64_t)TN_MAX(p.l2CacheSize, 0);
    tni_gpu_ceilings(o);
    return TN_OK;
}

static TnStatus open_locked(uint32_t index, TnDevice **out, TnError *err) {
    uint32_t n;
    TN_TRY(tni_gpu_count(&n, err));
    if (index >= n || index >= MOST_DEVICES)
        return TN_RAISE(err, TN_ERR_DEVICE,
                        n == 0 ? "there is no GPU cuda:%u: the driver shows none (see CUDA_VISIBLE_DEVICES)"
                               : "there is no GPU cuda:%u: this machine shows %u",
                        index, n);
    TnDevice *d = &devices[index];
    if (d->info.arch == 0) {
        TN_TRY(fill_info(d, index, err));
        if (d->info.arch < TNI_CUDA_ARCH_MIN) {
            uint32_t arch = d->info.arch;
            d->info.arch = 0;
            return TN_RAISE(err, TN_ERR_DEVICE, "cuda:%u (%s) has compute capability %u.%u; this build needs %d.%d or newer", index,
                            d->info.name, arch / 10, arch % 10, TNI_CUDA_ARCH_MIN / 10, TNI_CUDA_ARCH_MIN % 10);
        }
    }
    TN_TRY(tni_cuda_enter(d, err));
    TNI_CUDA(err, cudaFree(NULL), "making the context"); /* now rather than in the first run */
    d->opened++;
    *out = d;
    return TN_OK;
}

TnStatus tni_gpu_open(uint32_t index, TnDevice **out, TnError *err) {
    *out = NULL;
    pthread_mutex_lock(&lock);
    TnStatus st = open_locked(index, out, err);
    pthread_mutex_unlock(&lock);
    return st;
}

void tni_gpu_close(TnDevice **d) {
    if (d == NULL || *d == NULL)
        return;
    pthread_mutex_lock(&lock);
    if ((*d)->opened > 0)
        (*d)->opened--;
    pthread_mutex_unlock(&lock);
    *d = NULL;
}

void tni_gpu_info(const TnDevice *d, TnDeviceInfo *out) {
    *out = d->info;
    out->has_blaslt = tni_cuda_has_blaslt();
    out->has_compiler = tni_gpu_has_compiler();
}

/* ---- memory ---- */
TnStatus tni_gpu_memory(TnDevice *d, uint64_t *free_bytes, uint64_t *total_bytes, TnError *err) {
    size_t f = 0, t = 0;
    TN_TRY(tni_cuda_enter(d, err));
    TNI_CUDA(err, cudaMemGetInfo(&f, &t), "cudaMemGetInfo");
    *free_bytes = f;
    *total_bytes = t;
    return TN_OK;
}

static TnStatus raise_memory(TnDevice *d, size_t bytes, const char *kind, TnError *err) {
    size_t f = 0, t = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&f, &t);
    return TN_RAISE(err, TN_ERR_MEMORY, "cuda:%u (%s): out of memory: %zu bytes of %s asked for; %zu of the device's %zu bytes are free",
                    d->info.index, d->info.name, bytes, kind, f, t);
}

TnStatus tni_gpu_alloc(TnDevice *d, size_t bytes, void **out, TnError *err) {
    *out = NULL;
    TN_TRY(tni_cuda_enter(d, err));
    cudaError_t e = cudaMalloc(out, TN_MAX(bytes, 1));
    if (e == cudaErrorMemoryAllocation)
        return raise_memory(d, bytes, "device memory", err);
    TNI_CUDA(err, e, "cudaMalloc");
    return TN_OK;
}

void tni_gpu_free(TnDevice *d, void *p) {
    if (p == NULL)
        return;
    tni_gpu_leave(d);
    if (cudaFree(p) != cudaSuccess)
        (void)cudaGetLastError();
}

TnStatus tni_gpu_alloc_host(TnDevice *d, size_t bytes, void **out, TnError *err) {
    *out = NULL;
    TN_TRY(tni_cuda_enter(d, err));
    cudaError_t e = cudaHostAlloc(out, TN_MAX(bytes, 1), cudaHostAllocPortable);
    if (e == cudaErrorMemoryAllocation)
        return raise_memory(d, bytes, "pinned host memory", err);
    TNI_CUDA(err, e, "cudaHostAlloc");
    return TN_OK;
}

void tni_gpu_free_host(TnDevice *d, void *p) {
    if (p == NULL)
        return;
    tni_gpu_leave(d);
    if (cudaFreeHost(p) != cudaSuccess)
        (void)cudaGetLastError();
}

TnStatus tni_gpu_done(TnStream *s, bool *done, TnError *err) {
    *done = false;
    TN_TRY(tni_cuda_enter(s->dev, err));
    cudaError_t e = cudaStreamQuery(s->s);
    if (e == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return TN_OK;
    }
    TNI_CUDA(err, e, "waiting for the stream");
    *done = true;
    return TN_OK;
}

bool tni_gpu_is_device_pointer(TnDevice *d, const void *p) {
    struct cudaPointerAttributes a;
    if (p == NULL)
        return false;
    tni_gpu_leave(d);
    if (cudaPointerGetAttributes(&a, p) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    return (a.type == cudaMemoryTypeDevice && a.device == (int)d->info.index) || a.type == cudaMemoryTypeManaged;
}
