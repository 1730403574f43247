/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams, copies on them, and the fault word that kernels note index faults in. */
#include "backend/cuda/device.h"

#include <stdlib.h>

/* The fault word: a claim in device memory, so that one thread wins, and a note in pinned memory, so that reading it after a
 * synchronisation costs the host nothing. */
static TnStatus make_fault(TnStream *s, TnError *err) {
    TniFault f = {0, 0, NULL};
    void *p = NULL;
    TNI_CUDA(err, cudaHostAlloc(&p, sizeof *s->note, cudaHostAllocMapped | cudaHostAllocPortable), "cudaHostAlloc");
    s->note = p;
    memset(s->note, 0, sizeof *s->note);
    TNI_CUDA(err, cudaHostGetDevicePointer(&p, s->note, 0), "cudaHostGetDevicePointer");
    f.note = p;
    TNI_CUDA(err, cudaMalloc(&p, sizeof f), "cudaMalloc");
    s->fault = p;
    TNI_CUDA(err, cudaMemcpy(s->fault, &f, sizeof f, cudaMemcpyHostToDevice), "cudaMemcpy");
    return TN_OK;
}

/* Whether kernels are launched before the one in front is done: the GPU can, graphs record it (drivers from 12.3 on), and the code that
 * the driver took for this GPU waits (device.cuh). TENON_CUDA_EARLY=0 in the environment keeps them apart, for measurements. Asked once a
 * device; threads that ask at once find the same. */
static void ask_early(TnDevice *d) {
    static volatile int asked[64];
    const uint32_t i = d->info.index % TN_COUNT(asked);
    if (asked[i] != 0)
        return;
    const char *wish = getenv("TENON_CUDA_EARLY");
    d->early = TENON_CUDA_EARLY != 0 && d->info.arch >= 90 && d->info.driver >= 12030 && (wish == NULL || strcmp(wish, "0") != 0) &&
               tni_cuda_code_arch() >= 90;
    asked[i] = 1;
}

/* A stream, and what its dev points at for a while. */
typedef struct Stream {
    TnStream s;
    TniPlainDevice plain;
    bool forked;
} Stream;

bool *tni_gpu_forked(TnStream *s) {
    return &((Stream *)(void *)s)->forked;
}

void tni_gpu_plain(TnStream *s) {
    TniPlainDevice *p = &((Stream *)(void *)s)->plain;
    TnDevice *d = tni_gpu_real(s->dev);
    if (d->early == 0)
        return;
    p->dev = *d;
    p->dev.early = 0;
    p->dev.opened = TNI_PLAIN;
    p->real = d;
    s->dev = &p->dev;
}

void tni_gpu_not_plain(TnStream *s) {
    s->dev = tni_gpu_real(s->dev);
}

static TnStatus make(TnDevice *d, cudaStream_t wrapped, bool own, TnStream **out, TnError *err) {
    *out = NULL;
    TN_TRY(tni_cuda_enter(d, err));
    ask_early(d);
    Stream *all = tni_calloc(NULL, 1, sizeof *all);
    if (all == NULL)
        return TN_OOM(err, sizeof *all);
    TnStream *s = &all->s;
    s->dev = d;
    s->s = wrapped;
    TnStatus st = TN_OK;
    if (own) {
        cudaError_t e = cudaStreamCreateWithFlags(&s->s, cudaStreamNonBlocking);
        s->owned = e == cudaSuccess;
        if (e != cudaSuccess)
            st = tni_cuda_raise(err, e, "cudaStreamCreate");
    }
    if (st == TN_OK)
        st = make_fault(s, err);
    if (st != TN_OK)
        tni_gpu_stream_destroy(&s);
    *out = s;
    return st;
}

TnStatus tni_gpu_stream_create(TnDevice *d, TnStream **out, TnError *err) {
    return make(d, NULL, true, out, err);
}

TnStatus tni_gpu_stream_wrap(TnDevice *d, void *cuda_stream, TnStream **out, TnError *err) {
    return make(d, (cudaStream_t)cuda_stream, false, out, err);
}

void tni_gpu_stream_destroy(TnStream **s) {
    if (s == NULL || *s == NULL)
        return;
    TnStream *p = *s;
    tni_gpu_leave(p->dev);
    /* Work still under way may write the note. */
    (void)cudaStreamSynchronize(p->s);
    if (p->owned)
        (void)cudaStreamDestroy(p->s);
    if (p->fault != NULL)
        (void)cudaFree(p->fault);
    if (p->note != NULL)
        (void)cudaFreeHost(p->note);
    (void)cudaGetLastError();
    tni_free(NULL, p);
    *s = NULL;
}

static TnStatus copy(TnStream *s, void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, const char *what, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    if (bytes > 0)
        TNI_CUDA(err, cudaMemcpyAsync(dst, src, bytes, kind, s->s), what);
    return TN_OK;
}

TnStatus tni_gpu_to_device(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    return copy(s, dst, src, bytes, cudaMemcpyHostToDevice, "copy to the device", err);
}

TnStatus tni_gpu_to_host(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    return copy(s, dst, src, bytes, cudaMemcpyDeviceToHost, "copy to the host", err);
}

TnStatus tni_gpu_on_device(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    return copy(s, dst, src, bytes, cudaMemcpyDeviceToDevice, "copy on the device", err);
}

TnStatus tni_gpu_fill(TnStream *s, void *dst, int byte, size_t bytes, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    if (bytes > 0)
        TNI_CUDA(err, cudaMemsetAsync(dst, byte, bytes, s->s), "fill");
    return TN_OK;
}

TnStatus tni_gpu_synchronize(TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    TNI_CUDA(err, cudaStreamSynchronize(s->s), "waiting for the stream");
    return TN_OK;
}

TnStatus tni_gpu_take_fault(TnStream *s, bool *fault, int64_t *index, int64_t *limit, TnError *err) {
    *fault = __atomic_load_n(&s->note->set, __ATOMIC_ACQUIRE) != 0;
    *index = *limit = 0;
    if (!*fault)
        return TN_OK;
    *index = s->note->index;
    *limit = s->note->limit;
    __atomic_store_n(&s->note->set, 0u, __ATOMIC_RELEASE);
    TN_TRY(tni_gpu_fill(s, &s->fault->claimed, 0, sizeof s->fault->claimed, err));
    return tni_gpu_synchronize(s, err);
}
