/* SPDX-License-Identifier: Apache-2.0
 *
 * Points in streams, and recorded work that is launched again. */
#include "backend/cuda/device.h"

struct TnMark {
    TnDevice *dev;
    cudaEvent_t event;
};

struct TnGraphExec {
    TnDevice *dev;
    cudaGraphExec_t exec;
};

/* ---- marks ---- */
TnStatus tni_gpu_mark_create(TnDevice *d, bool timing, TnMark **out, TnError *err) {
    *out = NULL;
    TN_TRY(tni_cuda_enter(d, err));
    TnMark *m = tni_calloc(NULL, 1, sizeof *m);
    if (m == NULL)
        return TN_OOM(err, sizeof *m);
    m->dev = d;
    cudaError_t e = cudaEventCreateWithFlags(&m->event, timing ? cudaEventDefault : cudaEventDisableTiming);
    if (e != cudaSuccess) {
        tni_free(NULL, m);
        return tni_cuda_raise(err, e, "cudaEventCreate");
    }
    *out = m;
    return TN_OK;
}

void tni_gpu_mark_destroy(TnMark **m) {
    if (m == NULL || *m == NULL)
        return;
    tni_gpu_leave((*m)->dev);
    if (cudaEventDestroy((*m)->event) != cudaSuccess)
        (void)cudaGetLastError();
    tni_free(NULL, *m);
    *m = NULL;
}

TnStatus tni_gpu_mark_set(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    TNI_CUDA(err, cudaEventRecord(m->event, s->s), "cudaEventRecord");
    return TN_OK;
}

TnStatus tni_gpu_mark_wait(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    TNI_CUDA(err, cudaStreamWaitEvent(s->s, m->event, 0), "cudaStreamWaitEvent");
    return TN_OK;
}

TnStatus tni_gpu_mark_done(TnMark *m, bool *done, TnError *err) {
    *done = false;
    TN_TRY(tni_cuda_enter(m->dev, err));
    cudaError_t e = cudaEventQuery(m->event);
    if (e == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return TN_OK;
    }
    TNI_CUDA(err, e, "cudaEventQuery");
    *done = true;
    return TN_OK;
}

TnStatus tni_gpu_mark_elapsed(TnMark *from, TnMark *to, double *nanoseconds, TnError *err) {
    float ms = 0.0f;
    *nanoseconds = 0.0;
    TN_TRY(tni_cuda_enter(to->dev, err));
    TNI_CUDA(err, cudaEventSynchronize(to->event), "cudaEventSynchronize");
    TNI_CUDA(err, cudaEventElapsedTime(&ms, from->event, to->event), "cudaEventElapsedTime");
    *nanoseconds = (double)ms * 1e6;
    return TN_OK;
}

/* ---- recorded work ---- */
TnStatus tni_gpu_capture_begin(TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    if (s->capturing)
        return TN_RAISE(err, TN_ERR_STATE, "the stream is already being recorded");
    /* Relaxed: other threads' allocations, and kernels that are loaded at their first launch, do not spoil the recording. */
    TNI_CUDA(err, cudaStreamBeginCapture(s->s, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    s->capturing = true;
    return TN_OK;
}

static TnStatus instantiate(TnStream *s, cudaGraph_t graph, TnGraphExec **out, TnError *err) {
    TnGraphExec *g = tni_calloc(NULL, 1, sizeof *g);
    if (g == NULL)
        return TN_OOM(err, sizeof *g);
    g->dev = s->dev;
    cudaError_t e = cudaGraphInstantiate(&g->exec, graph, 0);
    if (e != cudaSuccess) {
        tni_free(NULL, g);
        return tni_cuda_raise(err, e, "cudaGraphInstantiate");
    }
    /* Brings the launch data over now, not in the first launch; a failure shows there again. */
    if (cudaGraphUpload(g->exec, s->s) != cudaSuccess)
        (void)cudaGetLastError();
    *out = g;
    return TN_OK;
}

TnStatus tni_gpu_capture_end(TnStream *s, TnGraphExec **out, TnError *err) {
    cudaGraph_t graph = NULL;
    *out = NULL;
    if (!s->capturing)
        return TN_RAISE(err, TN_ERR_STATE, "the stream is not being recorded");
    s->capturing = false;
    tni_gpu_leave(s->dev); /* a broken device too must end the recording */
    cudaError_t e = cudaStreamEndCapture(s->s, &graph);
    TnStatus st = e != cudaSuccess ? tni_cuda_raise(err, e, "recording the stream") : tni_cuda_enter(s->dev, err);
    if (st == TN_OK)
        st = instantiate(s, graph, out, err);
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    return st;
}

TnStatus tni_gpu_graph_launch(TnGraphExec *g, TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    TNI_CUDA(err, cudaGraphLaunch(g->exec, s->s), "cudaGraphLaunch");
    return TN_OK;
}

void tni_gpu_graph_destroy(TnGraphExec **g) {
    if (g == NULL || *g == NULL)
        return;
    tni_gpu_leave((*g)->dev);
    if (cudaGraphExecDestroy((*g)->exec) != cudaSuccess)
        (void)cudaGetLastError();
    tni_free(NULL, *g);
    *g = NULL;
}
