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

/* In a recording, a mark is where another stream may branch off, a wait where one comes in: what is enqueued next has, or shares, more than one
 * edge with the kernels around it. */
static TnStatus leave_chain(TnStream *s, TnError *err) {
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    TNI_CUDA(err, cudaStreamIsCapturing(s->s, &status), "cudaStreamIsCapturing");
    if (status != cudaStreamCaptureStatusNone) {
        *tni_gpu_forked(s) = true;
        tni_gpu_plain(s);
    }
    return TN_OK;
}

TnStatus tni_gpu_mark_set(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    TNI_CUDA(err, cudaEventRecord(m->event, s->s), "cudaEventRecord");
    return leave_chain(s, err);
}

TnStatus tni_gpu_mark_wait(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(tni_cuda_enter(s->dev, err));
    TNI_CUDA(err, cudaStreamWaitEvent(s->s, m->event, 0), "cudaStreamWaitEvent");
    return leave_chain(s, err);
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
    *tni_gpu_forked(s) = false;
    return TN_OK;
}

#if CUDART_VERSION >= 13000
/* Edges at which a kernel starts before the one in front is done (programmatic ones) stand between two nodes that have no other edges on that
 * side; others become plain edges. Kernels of Tenon are launched so (leave_chain); those of libraries may not be. Edges of equal index. */
static TnStatus plain_edges(cudaGraph_t graph, cudaGraphNode_t *from, cudaGraphNode_t *to, cudaGraphEdgeData *data, size_t n, TnError *err) {
    static const cudaGraphEdgeData plain;
    TNI_CUDA(err, cudaGraphGetEdges(graph, from, to, data, &n), "cudaGraphGetEdges");
    for (size_t i = 0; i < n; i++) {
        bool shared = false;
        for (size_t k = 0; k < n && data[i].type == cudaGraphDependencyTypeProgrammatic && !shared; k++)
            shared = k != i && (from[k] == from[i] || to[k] == to[i]);
        if (!shared)
            continue;
        TNI_CUDA(err, cudaGraphRemoveDependencies(graph, &from[i], &to[i], &data[i], 1), "cudaGraphRemoveDependencies");
        TNI_CUDA(err, cudaGraphAddDependencies(graph, &from[i], &to[i], &plain, 1), "cudaGraphAddDependencies");
        data[i] = plain;
    }
    return TN_OK;
}

static TnStatus check_edges(cudaGraph_t graph, TnError *err) {
    size_t n = 0;
    TNI_CUDA(err, cudaGraphGetEdges(graph, NULL, NULL, NULL, &n), "cudaGraphGetEdges");
    if (n == 0)
        return TN_OK;
    cudaGraphNode_t *nodes = tni_calloc(NULL, 2 * n, sizeof *nodes);
    cudaGraphEdgeData *data = tni_calloc(NULL, n, sizeof *data);
    TnStatus st = nodes != NULL && data != NULL ? plain_edges(graph, nodes, nodes + n, data, n, err) : TN_OOM(err, 2 * n * sizeof *nodes);
    tni_free(NULL, nodes);
    tni_free(NULL, data);
    return st;
}
#else
static TnStatus check_edges(cudaGraph_t graph, TnError *err) {
    (void)graph;
    (void)err;
    return TN_OK;
}
#endif

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
    tni_gpu_not_plain(s);
    tni_gpu_leave(s->dev); /* a broken device too must end the recording */
    cudaError_t e = cudaStreamEndCapture(s->s, &graph);
    TnStatus st = e != cudaSuccess ? tni_cuda_raise(err, e, "recording the stream") : tni_cuda_enter(s->dev, err);
    if (st == TN_OK && *tni_gpu_forked(s))
        st = check_edges(graph, err);
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
