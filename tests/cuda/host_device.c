/* SPDX-License-Identifier: Apache-2.0
 *
 * A device library whose device is the host, for tests on machines without a GPU. Its memory is a region of its own, so that pointers of
 * the device are told from others; work is done when it is enqueued; a recording keeps what was enqueued and does it when launched. Its
 * kernels are the reference kernels, as rows "host_<op>" of kind TN_DEVICE_CUDA. What tests rely on: the same contracts and errors as of a
 * GPU. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "backend/registry.h"
#include "base/dtype.h"
#include "kernel/device.h"

#define REGION ((size_t)8 << 30) /* of addresses; pages are taken when touched */
#define GRAIN ((size_t)256)

struct TnDevice {
    unsigned char *base;
    size_t used;
    uint32_t opened;
    bool broken;
};

typedef enum Action { ACTION_COPY, ACTION_FILL, ACTION_KERNEL } Action;

typedef struct Work {
    Action action;
    void *dst;
    const void *src;
    size_t bytes;
    int byte;
    const TnKernel *ref;
    TnKernelCall call;
    uint64_t params[160];
    TnTensor *tensors; /* of call.in and call.out */
    struct Work *next;
} Work;

struct TnGraphExec {
    Work *first;
};
struct TnStream {
    TnDevice *dev;
    Work *first, **last;
    bool capturing;
    bool fault;
    TnStream *origin; /* of the recording that it takes part in beside the stream that began it */
    uint64_t recording; /* of origin */
    uint64_t n_recordings;
};
struct TnMark {
    bool timing, set;
    uint64_t ns;
    TnStream *origin; /* of the recording that it was set in */
    uint64_t recording;
};
struct TnModule {
    int unused;
};

static TnDevice device;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- the device and its memory ---- */
static TnStatus usable(const TnDevice *d, TnError *err) {
    return d->broken ? TN_RAISE(err, TN_ERR_DEVICE, "cuda:0 (host) failed earlier; its context is unusable for the rest of this process")
                     : TN_OK;
}

static TnStatus count(uint32_t *n, TnError *err) {
    (void)err;
    *n = 1;
    return TN_OK;
}

static TnStatus open_device(uint32_t index, TnDevice **out, TnError *err) {
    *out = NULL;
    if (index != 0)
        return TN_RAISE(err, TN_ERR_DEVICE, "there is no GPU cuda:%u: this machine shows 1", index);
    TN_TRY(usable(&device, err));
    pthread_mutex_lock(&lock);
    if (device.base == NULL) {
        void *p = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        device.base = p == MAP_FAILED ? NULL : p;
    }
    if (device.base != NULL)
        device.opened++;
    pthread_mutex_unlock(&lock);
    if (device.base == NULL)
        return TN_OOM(err, REGION);
    *out = &device;
    return TN_OK;
}

static void close_device(TnDevice **d) {
    *d = NULL;
}

static void info(const TnDevice *d, TnDeviceInfo *out) {
    (void)d;
    *out = (TnDeviceInfo){.name = "host",
                          .arch = 90,
                          .sm_count = 1,
                          .driver = 13000,
                          .runtime = 13000,
                          .shared_bytes = 232448,
                          .memory_bytes = REGION,
                          .l2_bytes = (uint64_t)1 << 20,
                          .bytes_per_second = 4.8e12,
                          .half_flops = 989e12,
                          .tf32_flops = 494e12,
                          .float_flops = 67e12};
}

static TnStatus memory(TnDevice *d, uint64_t *free_bytes, uint64_t *total_bytes, TnError *err) {
    TN_TRY(usable(d, err));
    *free_bytes = REGION - d->used;
    *total_bytes = REGION;
    return TN_OK;
}

/* Never reused: a pointer that outlives its memory is to be seen. The size stands before the memory. */
static TnStatus alloc(TnDevice *d, size_t bytes, void **out, TnError *err) {
    *out = NULL;
    TN_TRY(usable(d, err));
    pthread_mutex_lock(&lock);
    size_t need = tni_align_up(bytes > SIZE_MAX / 2 ? SIZE_MAX / 2 : TN_MAX(bytes, 1), GRAIN) + GRAIN;
    unsigned char *p = need <= REGION - d->used ? d->base + d->used : NULL;
    if (p != NULL)
        d->used += need;
    pthread_mutex_unlock(&lock);
    if (p == NULL)
        return TN_RAISE(err, TN_ERR_MEMORY,
                        "cuda:0 (host): out of memory: %zu bytes of device memory asked for; %zu of the device's %zu bytes are free", bytes,
                        REGION - d->used, REGION);
    memcpy(p, &need, sizeof need);
    *out = p + GRAIN;
    return TN_OK;
}

static void free_memory(TnDevice *d, void *p) {
    size_t need;
    (void)d;
    if (p == NULL)
        return;
    memcpy(&need, (unsigned char *)p - GRAIN, sizeof need);
    pthread_mutex_lock(&lock);
    if ((unsigned char *)p - GRAIN + need == d->base + d->used)
        d->used -= need;
    pthread_mutex_unlock(&lock);
}

static TnStatus alloc_host(TnDevice *d, size_t bytes, void **out, TnError *err) {
    TN_TRY(usable(d, err));
    *out = aligned_alloc(64, tni_align_up(TN_MAX(bytes, 1), 64));
    return *out == NULL ? TN_OOM(err, bytes) : TN_OK;
}

static void free_host(TnDevice *d, void *p) {
    (void)d;
    free(p);
}

static bool is_device_pointer(TnDevice *d, const void *p) {
    return p != NULL && (const unsigned char *)p >= d->base && (const unsigned char *)p < d->base + REGION;
}

/* ---- streams ---- */
static TnStatus stream_create(TnDevice *d, TnStream **out, TnError *err) {
    *out = NULL;
    TN_TRY(usable(d, err));
    TnStream *s = tni_calloc(NULL, 1, sizeof *s);
    if (s == NULL)
        return TN_OOM(err, sizeof *s);
    s->dev = d;
    *out = s;
    return TN_OK;
}

static TnStatus stream_wrap(TnDevice *d, void *cuda_stream, TnStream **out, TnError *err) {
    (void)cuda_stream;
    return stream_create(d, out, err);
}

static void free_work(Work *w) {
    while (w != NULL) {
        Work *next = w->next;
        tni_free(NULL, w->tensors);
        tni_free(NULL, w);
        w = next;
    }
}

static void stream_destroy(TnStream **s) {
    if (s == NULL || *s == NULL)
        return;
    free_work((*s)->first);
    tni_free(NULL, *s);
    *s = NULL;
}

static bool is_narrow(TnDtype t) {
    return t == TN_F16 || t == TN_BF16;
}

/* A float32 copy of t, with its values or without. */
static bool widen(TnTensor *t, bool values) {
    const int64_t n = tn_tensor_numel(t);
    const TnTensor from = *t;
    t->dtype = TN_F32;
    t->data = malloc((size_t)TN_MAX(n, 1) * 4);
    for (int64_t i = 0; i < n && values && t->data != NULL; i++)
        tni_store_f64(TN_F32, t->data, i, tni_load_f64(from.dtype, from.data, i));
    return t->data != NULL;
}

/* Back, as a GPU's kernels store: beyond the range is the largest value. */
static void narrow(const TnTensor *from, TnTensor *to) {
    const float most = to->dtype == TN_F16 ? 65504.0f : 3.38953139e38f, *v = from->data;
    for (int64_t i = 0, n = tn_tensor_numel(to); i < n; i++) {
        float x = isfinite(v[i]) ? fminf(fmaxf(v[i], -most), most) : v[i];
        tni_store_f64(to->dtype, to->data, i, (double)x);
    }
}

enum { MOST = 544 }; /* operands of a call */

/* The reference in float32 on float16 or bfloat16 operands. States and operators that name a type work in their own. */
static TnStatus run_wide(const TnKernel *ref, TnKernelCall *call) {
    static _Thread_local TnTensor t[MOST];
    const uint32_t n_in = call->n_in, n = n_in + call->n_out;
    const bool names =
        ref->op == TN_OP_cast || ref->op == TN_OP_constant_of_shape || ref->op == TN_OP_eye_like || ref->op == TN_OP_quantize_linear;
    bool as_it_is = names || (tni_op_info(ref->op)->flags & (TN_OPF_STATE | TN_OPF_DATA_SHAPE)) != 0 || n > MOST, any = false, ok = true;
    for (uint32_t i = 0; i < n && !as_it_is; i++) {
        t[i] = i < n_in ? call->in[i] : call->out[i - n_in];
        any = any || is_narrow(t[i].dtype);
    }
    if (as_it_is || !any)
        return ref->run(call);
    for (uint32_t i = 0; i < n; i++)
        if (is_narrow(t[i].dtype) && t[i].data != NULL)
            ok = widen(&t[i], i < n_in) && ok;
    TnKernelCall wide = *call;
    wide.in = t;
    wide.out = t + n_in;
    TnStatus st = ok ? ref->run(&wide) : TN_OOM(call->err, 0);
    for (uint32_t i = 0; i < n; i++) {
        const TnTensor *was = i < n_in ? &call->in[i] : &call->out[i - n_in];
        if (!is_narrow(was->dtype) || was->data == NULL)
            continue;
        if (i >= n_in && st == TN_OK)
            narrow(&t[i], &call->out[i - n_in]);
        free(t[i].data);
    }
    return st;
}

static TnStatus perform(const Work *w, TnStream *s, TnError *err) {
    if (w->action == ACTION_FILL) {
        memset(w->dst, w->byte, w->bytes);
    } else if (w->action == ACTION_COPY) {
        memmove(w->dst, w->src, w->bytes);
    } else {
        TnKernelCall call = w->call;
        call.stream = NULL;
        call.err = err;
        TnStatus st = run_wide(w->ref, &call);
        if (st == TN_ERR_RUN) { /* as kernels of a GPU: noted, told by take_fault */
            s->fault = true;
            return TN_OK;
        }
        return st;
    }
    return TN_OK;
}

/* The stream whose recording s takes part in, NULL: none. What is done in the order of the calls needs no more than that. */
static TnStream *origin_of(TnStream *s) {
    if (s->capturing)
        return s;
    return s->origin != NULL && s->origin->capturing && s->origin->n_recordings == s->recording ? s->origin : NULL;
}

static TnStatus enqueue(TnStream *s, const Work *w, TnError *err) {
    TN_TRY(usable(s->dev, err));
    if (origin_of(s) == NULL)
        return perform(w, s, err);
    s = origin_of(s);
    Work *kept = tni_calloc(NULL, 1, sizeof *kept);
    if (kept == NULL)
        return TN_OOM(err, sizeof *kept);
    *kept = *w;
    kept->next = NULL;
    if (w->action == ACTION_KERNEL) { /* what lies on the host belongs to the caller: copied */
        kept->tensors = tni_calloc(NULL, (size_t)w->call.n_in + w->call.n_out + 1, sizeof *kept->tensors);
        if (kept->tensors == NULL) {
            tni_free(NULL, kept);
            return TN_OOM(err, sizeof *kept->tensors);
        }
        memcpy(kept->tensors, w->call.in, w->call.n_in * sizeof *kept->tensors);
        memcpy(kept->tensors + w->call.n_in, w->call.out, w->call.n_out * sizeof *kept->tensors);
        memcpy(kept->params, w->call.params, tni_op_info(w->ref->op)->params_size);
        kept->call.params = kept->params;
        kept->call.in = kept->tensors;
        kept->call.out = kept->tensors + w->call.n_in;
        kept->call.packed = NULL;
    }
    *s->last = kept;
    s->last = &kept->next;
    return TN_OK;
}

static TnStatus copy(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    Work w = {.action = ACTION_COPY, .dst = dst, .src = src, .bytes = bytes};
    return bytes == 0 ? usable(s->dev, err) : enqueue(s, &w, err);
}

static TnStatus fill(TnStream *s, void *dst, int byte, size_t bytes, TnError *err) {
    Work w = {.action = ACTION_FILL, .dst = dst, .byte = byte, .bytes = bytes};
    return enqueue(s, &w, err);
}

static TnStatus synchronize(TnStream *s, TnError *err) {
    return usable(s->dev, err);
}

static TnStatus all_done(TnStream *s, bool *done, TnError *err) {
    *done = true;
    return usable(s->dev, err);
}

static TnStatus take_fault(TnStream *s, bool *fault, int64_t *index, int64_t *limit, TnError *err) {
    (void)err;
    *fault = s->fault;
    *index = *limit = 0;
    s->fault = false;
    return TN_OK;
}

/* ---- marks ---- */
static TnStatus mark_create(TnDevice *d, bool timing, TnMark **out, TnError *err) {
    *out = NULL;
    TN_TRY(usable(d, err));
    TnMark *m = tni_calloc(NULL, 1, sizeof *m);
    if (m == NULL)
        return TN_OOM(err, sizeof *m);
    m->timing = timing;
    *out = m;
    return TN_OK;
}

static void mark_destroy(TnMark **m) {
    if (m != NULL) {
        tni_free(NULL, *m);
        *m = NULL;
    }
}

static TnStatus mark_set(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(usable(s->dev, err));
    m->set = true;
    m->ns = tni_now_ns();
    m->origin = origin_of(s);
    m->recording = m->origin != NULL ? m->origin->n_recordings : 0;
    return TN_OK;
}

static TnStatus mark_wait(TnMark *m, TnStream *s, TnError *err) {
    if (m->origin != NULL && !s->capturing) {
        s->origin = m->origin;
        s->recording = m->recording;
    }
    return usable(s->dev, err);
}

static TnStatus mark_done(TnMark *m, bool *done, TnError *err) {
    (void)m;
    (void)err;
    *done = true;
    return TN_OK;
}

static TnStatus mark_elapsed(TnMark *from, TnMark *to, double *nanoseconds, TnError *err) {
    *nanoseconds = 0;
    if (!from->timing || !to->timing || !from->set || !to->set)
        return TN_RAISE(err, TN_ERR_DEVICE, "the marks were not made for timing, or not set");
    *nanoseconds = (double)(to->ns - from->ns);
    return TN_OK;
}

/* ---- recordings ---- */
static TnStatus capture_begin(TnStream *s, TnError *err) {
    TN_TRY(usable(s->dev, err));
    if (s->capturing)
        return TN_RAISE(err, TN_ERR_STATE, "the stream is already being recorded");
    s->capturing = true;
    s->n_recordings++;
    s->first = NULL;
    s->last = &s->first;
    return TN_OK;
}

static TnStatus capture_end(TnStream *s, TnGraphExec **out, TnError *err) {
    *out = NULL;
    if (!s->capturing)
        return TN_RAISE(err, TN_ERR_STATE, "the stream is not being recorded");
    s->capturing = false;
    TnGraphExec *g = tni_calloc(NULL, 1, sizeof *g);
    if (g == NULL) {
        free_work(s->first);
        s->first = NULL;
        return TN_OOM(err, sizeof *g);
    }
    g->first = s->first;
    s->first = NULL;
    *out = g;
    return TN_OK;
}

static TnStatus graph_launch(TnGraphExec *g, TnStream *s, TnError *err) {
    TN_TRY(usable(s->dev, err));
    for (const Work *w = g->first; w != NULL; w = w->next)
        TN_TRY(perform(w, s, err));
    return TN_OK;
}

static void graph_destroy(TnGraphExec **g) {
    if (g == NULL || *g == NULL)
        return;
    free_work((*g)->first);
    tni_free(NULL, *g);
    *g = NULL;
}

/* ---- generated code: none ---- */
static TnStatus compile(const char *source, uint32_t arch, const TnAllocator *a, void **binary, size_t *bytes, TnError *err) {
    (void)source;
    (void)arch;
    (void)a;
    *binary = NULL;
    *bytes = 0;
    return TN_RAISE(err, TN_ERR_UNSUPPORTED, "there is no compiler for generated code");
}

static TnStatus module_load(TnDevice *d, const void *binary, size_t bytes, TnModule **out, TnError *err) {
    (void)d;
    (void)binary;
    *out = NULL;
    return TN_RAISE(err, TN_ERR_PLAN, "generated code: %zu bytes are not a whole GPU binary", bytes);
}

static void module_free(TnModule **m) {
    *m = NULL;
}
static void range(const char *name) {
    (void)name;
}
static TnStatus activate(TnDevice *d, TnError *err) {
    return usable(d, err);
}

/* ---- kernels ---- */

/* Follows pointers as a GPU would: those of the host are a fault. */
static TnStatus run(TnKernelCall *call, TnOp op) {
    TnDevice *d = call->stream->dev;
    Work w = {.action = ACTION_KERNEL, .ref = tni_kernel_ref(op), .call = *call};
    for (uint32_t i = 0; i < call->n_in + call->n_out; i++) {
        const void *p = i < call->n_in ? call->in[i].data : call->out[i - call->n_in].data;
        if (i < call->n_in && i < 32 && (tni_op_host_inputs(op) >> i & 1u) != 0)
            continue;
        if (p != NULL && !is_device_pointer(d, p))
            d->broken = true;
    }
    if (call->scratch != NULL && !is_device_pointer(d, call->scratch))
        d->broken = true;
    if (d->broken) /* as on a GPU: the launch is fine, what follows is not */
        return TN_OK;
    return enqueue(call->stream, &w, call->err);
}

/* Control operators have no reference kernel and no row. */
#define SECOND_(a, b, ...) b
#define SECOND(...) SECOND_(__VA_ARGS__, )
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define CONTROL ~, 1
#define NAME_0(name)                                                                                                                       \
    static TnStatus run_##name(TnKernelCall *call) {                                                                                       \
        return run(call, TN_OP_##name);                                                                                                    \
    }
#define NAME_1(name)
#define OP(name, P, min_in, max_in, min_out, max_out, flags) JOIN(NAME_, SECOND(flags, 0))(name)
#include "kernel/ops.inc"
#undef OP

static double cost(const TnKernelQuery *q) {
    double bytes = 0;
    for (uint32_t i = 0; i < q->n_out; i++)
        bytes += (double)tn_tensor_bytes(&q->out[i]);
    return 2000.0 + bytes;
}

/* One team's worth of scratch: the reference runs on one thread here, on narrow operands or on widened ones. */
static size_t scratch(const TnKernelQuery *q) {
    static _Thread_local TnTensor t[MOST];
    TnKernelQuery one = *q;
    const TnKernel *ref = tni_kernel_ref(q->op);
    one.threads = 1;
    one.device = NULL;
    if (ref->scratch == NULL)
        return 0;
    size_t bytes = ref->scratch(&one);
    if (q->n_in > MOST)
        return bytes;
    for (uint32_t i = 0; i < q->n_in; i++) {
        t[i] = q->in[i];
        if (is_narrow(t[i].dtype))
            t[i].dtype = TN_F32;
    }
    one.in = t;
    return TN_MAX(bytes, ref->scratch(&one));
}

static const TnKernel kernels[] = {
#define ROW_0(o)                                                                                                                           \
    {.name = "host_" #o,                                                                                                                   \
     .op = TN_OP_##o,                                                                                                                      \
     .run = run_##o,                                                                                                                       \
     .scratch = scratch,                                                                                                                   \
     .cost = cost,                                                                                                                         \
     .atol = 1e-6,                                                                                                                         \
     .rtol = 1e-6,                                                                                                                         \
     .device = TN_DEVICE_CUDA,                                                                                                             \
     .arch_min = 80},
#define ROW_1(o)
#define OP(name, P, min_in, max_in, min_out, max_out, flags) JOIN(ROW_, SECOND(flags, 0))(name)
#include "kernel/ops.inc"
#undef OP
};

static TnDeviceLibrary library = {
    .version = TN_DEVICE_LIBRARY_VERSION,
    .size = sizeof(TnDeviceLibrary),
    .name = "cuda",
    .kind = TN_DEVICE_CUDA,
    .n_kernels = (uint32_t)TN_COUNT(kernels),
    .kernels = kernels,
    .identity = 0x686f7374,
    .count = count,
    .open = open_device,
    .close = close_device,
    .info = info,
    .memory = memory,
    .alloc = alloc,
    .free = free_memory,
    .alloc_host = alloc_host,
    .free_host = free_host,
    .is_device_pointer = is_device_pointer,
    .stream_create = stream_create,
    .stream_wrap = stream_wrap,
    .stream_destroy = stream_destroy,
    .to_device = copy,
    .to_host = copy,
    .on_device = copy,
    .fill = fill,
    .synchronize = synchronize,
    .done = all_done,
    .mark_create = mark_create,
    .mark_destroy = mark_destroy,
    .mark_set = mark_set,
    .mark_wait = mark_wait,
    .mark_done = mark_done,
    .mark_elapsed = mark_elapsed,
    .capture_begin = capture_begin,
    .capture_end = capture_end,
    .graph_launch = graph_launch,
    .graph_destroy = graph_destroy,
    .compile = compile,
    .module_load = module_load,
    .module_free = module_free,
    .take_fault = take_fault,
    .range = range,
    .activate = activate,
};

TN_API const TnDeviceLibrary *tenon_device_library(void);
const TnDeviceLibrary *tenon_device_library(void) {
    return &library;
}
