/* SPDX-License-Identifier: Apache-2.0
 *
 * A device library for tests that need no GPU. Its memory is host memory, but the addresses it hands out cannot be read or written: who follows
 * one crashes. Its streams run late, when somebody waits: who reads too early, or writes over what is still to be copied, gets wrong numbers.
 * What was recorded on several streams runs in an order of its own choosing that the marks allow.
 * Its kernels are the reference kernels, called after all addresses have been checked. What breaks the contract of kernel/device.h aborts.
 *
 * Every operator has a kernel fake_<op>. Besides: fake_packed_gemm (packs its weights), fake_code_unary (runs generated code),
 * fake_small_softmax (at most 4 rows), fake_new_gemm (compute capability 9.0 only, TF32). */
#include "runtime/fake_device.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "backend/registry.h"
#include "kernel/device.h"
#include "runtime/fake_search.h"

#define SPACE ((size_t)1 << 30)
#define MAX_BLOCKS 65536

static FakeDevice fake = {.arch = 90,
                          .n_devices = 2,
                          .has_compiler = 1,
                          .identity = 0xfade,
                          .fail_alloc = UINT64_MAX,
                          .fail_call = UINT64_MAX,
                          .fail_capture = UINT64_MAX,
                          .hang = UINT64_MAX};

__attribute__((visibility("default"))) FakeDevice *fake_device(void);
FakeDevice *fake_device(void) {
    return &fake;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

_Noreturn static void broken(const char *what) {
    fprintf(stderr, "fake device: %s\n", what);
    abort();
}

static void add(uint64_t *counter, int64_t n) {
    __atomic_fetch_add(counter, (uint64_t)n, __ATOMIC_RELAXED);
}

/* ---- kernels that do not come to an end ---- */

static bool stuck, given_up;

/* Who waits for the device now waits for ever; nothing is given back when the device was given up. */
static bool leave_it(const char *what) {
    if (stuck && !given_up)
        broken(what);
    return given_up;
}

/* ---- memory ---- */

typedef struct Block {
    size_t at, n;
} Block;

static uint8_t *there, *here; /* the address space of the device, which nobody can touch, and the bytes behind it */
static Block blocks[MAX_BLOCKS];
static uint32_t n_blocks;
static struct {
    uint8_t *p;
    size_t n;
} pinned[MAX_BLOCKS];
static uint32_t n_pinned;

static bool map_space(void) {
    if (there)
        return true;
    there = mmap(NULL, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    here = mmap(NULL, SPACE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return there != MAP_FAILED && here != MAP_FAILED;
}

/* The bytes behind [p, p + n), which must lie in one live block. */
static void *behind(const void *p, size_t n, const char *what) {
    const uint8_t *q = p;
    if (n == 0)
        return here;
    if (!there || q < there || q >= there + SPACE)
        broken(what);
    size_t at = (size_t)(q - there);
    bool found = false;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < n_blocks && !found; i++)
        found = blocks[i].n && at >= blocks[i].at && n <= blocks[i].n - TN_MIN(blocks[i].n, at - blocks[i].at);
    pthread_mutex_unlock(&lock);
    if (!found)
        broken(what);
    return here + at;
}

static bool is_pinned(const void *p) {
    bool found = false;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < n_pinned && !found; i++)
        found = pinned[i].p && (const uint8_t *)p >= pinned[i].p && (const uint8_t *)p < pinned[i].p + pinned[i].n;
    pthread_mutex_unlock(&lock);
    return found;
}

static bool on_device(const void *p) {
    return there && (const uint8_t *)p >= there && (const uint8_t *)p < there + SPACE;
}

/* ---- objects ---- */

struct TnDevice {
    uint32_t index;
};

struct TnModule {
    char text[64];
};

/* A call of a kernel, kept until it runs. */
typedef struct Call {
    uint32_t refs;
    TnOp op;
    void *params;
    TnTensor *t; /* in, then out */
    uint32_t n_in, n_out;
    void **copies; /* [n_in]: operands of the host as they were */
    const void **packed;
    void *scratch;
    size_t scratch_bytes;
    int64_t *dims;
    bool unpack; /* operand 1 is packed */
} Call;

typedef enum WorkKind { TO_DEVICE, TO_HOST, ON_DEVICE, FILL, CALL, MARK, WAIT, SEARCH } WorkKind;

#define MAX_LANES 4 /* streams of one recording */

typedef struct Work {
    WorkKind kind;
    uint8_t *dst;
    const uint8_t *src;
    size_t n;
    int byte;
    bool owned, pinned; /* src is a copy of ours; the host's side is pinned */
    Call *call;
    TnMark *mark;
    uint32_t lane;
} Work;

typedef struct Queue {
    Work *w;
    uint32_t n, cap;
} Queue;

struct TnStream {
    Queue queue, recording;
    bool capturing, spoiled, lost, users;
    TnStream *origin; /* of the recording that it takes part in; itself when it began it */
    TnStream *lanes[MAX_LANES];
    uint32_t n_lanes, lane;
    uint32_t clock[MAX_LANES]; /* work of each lane that comes before what is enqueued next */
    bool fault;
    int64_t index, limit;
};

struct TnGraphExec {
    Queue q;
};

struct TnMark {
    TnStream *s;
    bool set, done, asked;
    uint64_t ns;
    TnStream *origin; /* of the recording that it is in */
    uint32_t clock[MAX_LANES];
    bool passed; /* while the order of a recording is chosen */
};

static TnStatus fail_call(TnStream *s, TnError *err) {
    uint64_t n = __atomic_fetch_add(&fake.n_call, 1, __ATOMIC_RELAXED);
    if (given_up || (s && s->lost))
        return TN_RAISE(err, TN_ERR_DEVICE, given_up ? "the fake device was given up" : "the fake device is lost");
    if (n != fake.fail_call)
        return TN_OK;
    if (s)
        s->lost = true;
    return TN_RAISE(err, TN_ERR_DEVICE, "the fake device fails as asked");
}

static Work *push(TnStream *s, Work w) {
    Queue *q = s->origin ? &s->origin->recording : &s->queue;
    w.lane = s->lane;
    s->clock[s->lane] += s->origin && w.kind != WAIT;
    if (q->n == q->cap) {
        q->cap = q->cap * 2 + 64;
        q->w = realloc(q->w, q->cap * sizeof *q->w);
        if (!q->w)
            broken("out of memory");
    }
    q->w[q->n++] = w;
    if (!s->origin)
        add(&fake.launches, 1);
    return &q->w[q->n - 1];
}

static void drop_call(Call *c) {
    if (--c->refs)
        return;
    for (uint32_t i = 0; i < c->n_in; i++)
        free(c->copies[i]);
    free(c->copies);
    free(c->params);
    free(c->t);
    free(c->packed);
    free(c->dims);
    free(c);
}

static void drop(Work *w) {
    if (w->call)
        drop_call(w->call);
    if (w->owned)
        free((void *)(uintptr_t)w->src);
}

/* ---- running ---- */

static void note_fault(TnStream *s, const Call *c, const TnError *err) {
    const char *at = strstr(err->message, "index ");
    if (s->fault)
        return;
    s->fault = true;
    s->index = at ? strtoll(at + 6, NULL, 10) : -1;
    s->limit = c->n_in && c->t[0].rank ? c->t[0].dims[0] : 0;
}

static void translate(const Call *c, TnTensor *t) {
    uint32_t host = tni_op_host_inputs(c->op);
    for (uint32_t i = 0; i < c->n_in + c->n_out; i++) {
        t[i] = c->t[i];
        if (t[i].dtype == TN_UNDEFINED)
            continue;
        if (i < c->n_in && i < 32 && (host & 1u << i))
            t[i].data = c->copies[i];
        else if (i < c->n_in && c->packed && c->packed[i])
            t[i].data = behind(c->packed[i], tn_tensor_bytes(&t[i]), "a packed operand is not in device memory");
        else if (i >= c->n_in && (tni_op_info(c->op)->flags & TN_OPF_DATA_SHAPE))
            t[i].data = NULL; /* comes from resize */
        else if (t[i].data || tn_tensor_bytes(&t[i]))
            t[i].data = behind(t[i].data, tn_tensor_bytes(&t[i]),
                               i < c->n_in ? "an operand is not in device memory" : "a result is not in device memory");
    }
}

static TnStatus run_call(const Call *c, TnStatus (*resize)(TnKernelCall *, uint32_t, int32_t, const int64_t *), void *host, TnError *err) {
    TnTensor *t = calloc(c->n_in + c->n_out + 1u, sizeof *t);
    uint8_t *plain = NULL;
    translate(c, t);
    if (c->unpack) {
        size_t n = tn_tensor_bytes(&t[1]);
        plain = malloc(n + 1);
        for (size_t i = 0; i < n; i++)
            plain[i] = ((const uint8_t *)t[1].data)[i] ^ 0xff;
        t[1].data = plain;
    }
    TnKernelCall call = {.params = c->params,
                         .in = t,
                         .n_in = c->n_in,
                         .out = t + c->n_in,
                         .n_out = c->n_out,
                         .scratch = behind(c->scratch, c->scratch_bytes, "scratch is not in device memory"),
                         .scratch_bytes = c->scratch_bytes,
                         .dim_values = c->dims,
                         .resize = resize,
                         .host = host,
                         .err = err};
    add(&fake.kernels, 1);
    TnStatus st = tni_kernel_ref(c->op)->run(&call);
    free(plain);
    free(t);
    return st;
}

static void run_work(TnStream *s, const Work *w) {
    TnError err = {0};
    switch (w->kind) {
    case TO_DEVICE:
        if (w->pinned && !is_pinned(w->src))
            broken("pinned memory was given back before it was read");
        memcpy(behind(w->dst, w->n, "a copy to what is not device memory"), w->src, w->n);
        add(&fake.uploaded, (int64_t)w->n);
        break;
    case TO_HOST:
        if (w->pinned && !is_pinned(w->dst))
            broken("pinned memory was given back before it was written");
        memcpy(w->dst, behind(w->src, w->n, "a copy from what is not device memory"), w->n);
        add(&fake.downloaded, (int64_t)w->n);
        break;
    case ON_DEVICE:
        memmove(behind(w->dst, w->n, "a copy to what is not device memory"), behind(w->src, w->n, "a copy from what is not device memory"),
                w->n);
        break;
    case FILL:
        memset(behind(w->dst, w->n, "a fill of what is not device memory"), w->byte, w->n);
        break;
    case SEARCH:
        fake_search(w->call->params, behind);
        break;
    case CALL:
        if (run_call(w->call, NULL, NULL, &err) != TN_OK)
            note_fault(s, w->call, &err);
        break;
    default:
        w->mark->done = true;
        w->mark->ns = tni_now_ns();
        break;
    }
}

/* Runs what is enqueued; a kernel that hangs keeps itself and what follows in the queue. */
static void drain(TnStream *s) {
    for (uint32_t i = 0; i < s->queue.n; i++) {
        if (stuck || (s->queue.w[i].kind == CALL && fake.kernels == fake.hang)) {
            stuck = true;
            memmove(s->queue.w, s->queue.w + i, (s->queue.n - i) * sizeof *s->queue.w);
            s->queue.n -= i;
            return;
        }
        if (!s->lost)
            run_work(s, &s->queue.w[i]);
        drop(&s->queue.w[i]);
    }
    s->queue.n = 0;
}

/* ---- kernels ---- */

static void *copy_of(const void *p, size_t n) {
    void *q = malloc(n + 1);
    if (!q)
        broken("out of memory");
    if (n)
        memcpy(q, p, n);
    return q;
}

static Call *keep_call(const TnKernelCall *k, TnOp op, bool unpack) {
    Call *c = calloc(1, sizeof *c);
    *c = (Call){.refs = 1, .op = op, .n_in = k->n_in, .n_out = k->n_out, .scratch = k->scratch, .scratch_bytes = k->scratch_bytes, .unpack = unpack};
    c->params = copy_of(k->params, tni_op_info(op)->params_size);
    c->t = calloc(k->n_in + k->n_out + 1u, sizeof *c->t);
    memcpy(c->t, k->in, k->n_in * sizeof *c->t);
    if (k->n_out)
        memcpy(c->t + k->n_in, k->out, k->n_out * sizeof *c->t);
    c->copies = calloc(k->n_in + 1u, sizeof *c->copies);
    for (uint32_t i = 0; i < k->n_in && i < 32; i++) {
        if (!(tni_op_host_inputs(op) & 1u << i) || k->in[i].dtype == TN_UNDEFINED)
            continue;
        if (on_device(k->in[i].data))
            broken("an operand that kernels read on the host is in device memory");
        c->copies[i] = copy_of(k->in[i].data, tn_tensor_bytes(&k->in[i]));
    }
    if (k->packed)
        c->packed = copy_of(k->packed, k->n_in * sizeof *k->packed);
    if (op == TN_OP_dims) {
        const TnDimsParams *p = k->params;
        uint32_t most = 0;
        for (uint32_t i = 0; i < p->n; i++)
            most = TN_MAX(most, p->dim[i]);
        c->dims = copy_of(k->dim_values, (most + 1u) * sizeof *c->dims);
    }
    return c;
}

typedef struct Resizer {
    TnKernelCall *real;
} Resizer;

/* Memory for a result whose size the kernel has found; the real call gets the device's address, the reference kernel the bytes. */
static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    Resizer *r = call->host;
    TN_TRY(r->real->resize(r->real, i, rank, dims));
    call->out[i] = r->real->out[i];
    if (call->out[i].data)
        call->out[i].data = behind(call->out[i].data, tn_tensor_bytes(&call->out[i]), "a result is not in device memory");
    return TN_OK;
}

static TnStatus enqueue_call(TnKernelCall *k, TnOp op, bool unpack) {
    TnStream *s = k->stream;
    if (!s)
        broken("a kernel without a stream");
    TN_TRY(fail_call(s, k->err));
    Call *c = keep_call(k, op, unpack);
    if (!(tni_op_info(op)->flags & TN_OPF_DATA_SHAPE)) {
        push(s, (Work){.kind = CALL, .call = c});
        return TN_OK;
    }
    if (s->origin)
        broken("a kernel that waits was captured");
    drain(s);
    TnStatus st = run_call(c, resize, &(Resizer){k}, k->err);
    drop_call(c);
    return st;
}

#define OP(name, P, min_in, max_in, min_out, max_out, flags)                                                                               \
    static TnStatus run_##name(TnKernelCall *call) {                                                                                       \
        return enqueue_call(call, TN_OP_##name, false);                                                                                    \
    }
#include "kernel/ops.inc"
#undef OP

static TnStatus run_packed(TnKernelCall *call) {
    if (!call->packed || !call->packed[1])
        broken("fake_packed_gemm without its packed operand");
    return enqueue_call(call, TN_OP_gemm, true);
}

static TnStatus run_code(TnKernelCall *call) {
    if (!call->code || strncmp(call->code->text, "fake source", 11) != 0)
        broken("fake_code_unary without its code");
    return enqueue_call(call, TN_OP_unary, false);
}

static size_t scratch(const TnKernelQuery *q) {
    const TnKernel *ref = tni_kernel_ref(q->op);
    if (!q->device)
        broken("a kernel of the device is asked without a device");
    for (uint32_t i = 0; i < q->n_in; i++)
        if (on_device(q->in[i].data))
            broken("a kernel is shown a constant in device memory");
    return ref->scratch ? ref->scratch(q) : 0;
}

static size_t packed_bytes(const TnKernelQuery *q, uint32_t i) {
    return i == 1 && q->in[1].data ? tn_tensor_bytes(&q->in[1]) : 0;
}

static void pack(const TnKernelQuery *q, uint32_t i, void *dst) {
    const uint8_t *from = q->in[i].data;
    for (size_t k = 0; k < tn_tensor_bytes(&q->in[i]); k++)
        ((uint8_t *)dst)[k] = from[k] ^ 0xff;
}

static size_t source(const TnKernelQuery *q, char *dst, size_t cap) {
    (void)q;
    int n = snprintf(dst, dst ? cap : 0, "fake source of a step");
    return (size_t)n;
}

static bool few_rows(const TnKernelQuery *q) {
    return q->out[0].rank > 0 && q->out[0].dims[0] <= 4;
}

static double cost(const TnKernelQuery *q) {
    (void)q;
    return 1000;
}

#define ROW(op_, name_, run_) .name = name_, .op = TN_OP_##op_, .run = run_, .scratch = scratch, .cost = cost, .device = TN_DEVICE_CUDA, \
    .arch_min = 75, .atol = 1e-6, .rtol = 1e-6
static const TnKernel rows[] = {
#define OP(name, P, min_in, max_in, min_out, max_out, flags) {ROW(name, "fake_" #name, run_##name)},
#include "kernel/ops.inc"
#undef OP
    {ROW(gemm, "fake_packed_gemm", run_packed), .packing = "fake_not", .packed_bytes = packed_bytes, .pack = pack},
    {ROW(unary, "fake_code_unary", run_code), .source = source},
    {ROW(softmax, "fake_small_softmax", run_softmax), .supports = few_rows},
    {.name = "fake_new_gemm", .op = TN_OP_gemm, .run = run_gemm, .scratch = scratch, .cost = cost, .device = TN_DEVICE_CUDA, .arch_min = 90,
     .arch_max = 90, .math = TN_MATH_TF32, .atol = 1e-3, .rtol = 1e-3},
};

/* ---- the library ---- */

static TnStatus lib_count(uint32_t *n, TnError *err) {
    if (fake.n_devices == 0)
        return TN_RAISE(err, TN_ERR_DEVICE, "there is no fake driver");
    *n = fake.n_devices;
    return TN_OK;
}

static TnStatus lib_open(uint32_t index, TnDevice **out, TnError *err) {
    TN_TRY(fail_call(NULL, err));
    if (!map_space())
        broken("no address space");
    *out = calloc(1, sizeof **out);
    (*out)->index = index;
    add(&fake.live, 1);
    return TN_OK;
}

static void lib_close(TnDevice **d) {
    free(*d);
    *d = NULL;
    add(&fake.live, -1);
}

static void lib_info(const TnDevice *d, TnDeviceInfo *out) {
    *out = (TnDeviceInfo){.name = "fake device",
                          .index = d->index,
                          .arch = fake.arch,
                          .sm_count = 4,
                          .driver = 13000,
                          .runtime = 13000,
                          .shared_bytes = 1 << 16,
                          .has_compiler = fake.has_compiler,
                          .memory_bytes = SPACE,
                          .l2_bytes = 1 << 20,
                          .bytes_per_second = 1e12,
                          .half_flops = 1e14,
                          .tf32_flops = 5e13,
                          .float_flops = 1e13};
}

static TnStatus lib_memory(TnDevice *d, uint64_t *free_bytes, uint64_t *total, TnError *err) {
    (void)d, (void)err;
    *free_bytes = *total = SPACE;
    return TN_OK;
}

static TnStatus fail_alloc(size_t bytes, TnError *err) {
    uint64_t n = __atomic_fetch_add(&fake.n_alloc, 1, __ATOMIC_RELAXED);
    return n == fake.fail_alloc ? TN_RAISE(err, TN_ERR_MEMORY, "%zu bytes were asked for, 0 are free", bytes) : TN_OK;
}

/* First fit in the order of addresses; a block is 256-byte aligned and followed by a hole, so that overruns are seen. */
static TnStatus lib_alloc(TnDevice *d, size_t bytes, void **out, TnError *err) {
    (void)d;
    TN_TRY(fail_alloc(bytes, err));
    pthread_mutex_lock(&lock);
    size_t at = 256, slot = n_blocks;
    for (bool moved = bytes <= SPACE; moved;) {
        moved = false;
        for (uint32_t i = 0; i < n_blocks; i++) {
            if (blocks[i].n && at < blocks[i].at + blocks[i].n + 256 && blocks[i].at < at + bytes + 256) {
                at = tni_align_up(blocks[i].at + blocks[i].n + 256, 256);
                moved = true;
            }
        }
    }
    for (uint32_t i = 0; i < n_blocks; i++)
        if (!blocks[i].n)
            slot = i;
    if (slot == MAX_BLOCKS || bytes > SPACE || at + bytes > SPACE) {
        pthread_mutex_unlock(&lock);
        return TN_RAISE(err, TN_ERR_MEMORY, "%zu bytes were asked for, the fake device has %zu", bytes, SPACE);
    }
    blocks[slot] = (Block){at, bytes ? bytes : 1};
    n_blocks = TN_MAX(n_blocks, (uint32_t)slot + 1);
    pthread_mutex_unlock(&lock);
    memset(here + at, 0xdb, bytes);
    *out = there + at;
    add(&fake.live, 1);
    return TN_OK;
}

static void lib_free(TnDevice *d, void *p) {
    (void)d;
    if (leave_it("memory of a device that hangs is given back"))
        return;
    bool found = false;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < n_blocks && !found; i++) {
        found = blocks[i].n && there + blocks[i].at == (uint8_t *)p;
        if (found) {
            memset(here + blocks[i].at, 0xdd, blocks[i].n);
            blocks[i].n = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    if (!found)
        broken("free of what was not allocated");
    add(&fake.live, -1);
}

static TnStatus lib_alloc_host(TnDevice *d, size_t bytes, void **out, TnError *err) {
    (void)d;
    TN_TRY(fail_alloc(bytes, err));
    void *p = tni_alloc_aligned(NULL, bytes, 256);
    if (!p)
        return TN_OOM(err, bytes);
    memset(p, 0xdb, bytes);
    pthread_mutex_lock(&lock);
    uint32_t slot = n_pinned;
    for (uint32_t i = 0; i < n_pinned; i++)
        if (!pinned[i].p)
            slot = i;
    if (slot == MAX_BLOCKS)
        broken("too many blocks");
    pinned[slot].p = p;
    pinned[slot].n = bytes;
    n_pinned = TN_MAX(n_pinned, slot + 1);
    pthread_mutex_unlock(&lock);
    *out = p;
    add(&fake.live, 1);
    return TN_OK;
}

static void lib_free_host(TnDevice *d, void *p) {
    (void)d;
    if (leave_it("pinned memory of a device that hangs is given back"))
        return;
    bool found = false;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < n_pinned && !found; i++) {
        found = pinned[i].p == p;
        if (found)
            pinned[i].p = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (!found)
        broken("free of what was not pinned");
    tni_free(NULL, p);
    add(&fake.live, -1);
}

static bool lib_is_device_pointer(TnDevice *d, const void *p) {
    (void)d;
    return on_device(p);
}

static TnStatus lib_stream_create(TnDevice *d, TnStream **out, TnError *err) {
    (void)d;
    TN_TRY(fail_call(NULL, err));
    *out = calloc(1, sizeof **out);
    add(&fake.live, 1);
    return TN_OK;
}

static TnStatus lib_stream_wrap(TnDevice *d, void *stream, TnStream **out, TnError *err) {
    TN_TRY(lib_stream_create(d, out, err));
    (*out)->users = stream != NULL;
    return TN_OK;
}

static void free_queue(Queue *q) {
    for (uint32_t i = 0; i < q->n; i++)
        drop(&q->w[i]);
    free(q->w);
    *q = (Queue){NULL, 0, 0};
}

static void lib_stream_destroy(TnStream **s) {
    if (leave_it("a stream with a kernel that hangs is destroyed")) {
        *s = NULL;
        return;
    }
    if ((*s)->queue.n && !(*s)->lost)
        drain(*s);
    free_queue(&(*s)->queue);
    free_queue(&(*s)->recording);
    free(*s);
    *s = NULL;
    add(&fake.live, -1);
}

static TnStatus lib_to_device(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    TN_TRY(fail_call(s, err));
    if (on_device(src))
        broken("a copy to the device from device memory");
    bool p = is_pinned(src);
    if (!p && s->origin)
        broken("memory that is not pinned in a graph");
    push(s, (Work){.kind = TO_DEVICE, .dst = dst, .src = p ? src : copy_of(src, bytes), .n = bytes, .owned = !p, .pinned = p});
    return TN_OK;
}

static TnStatus lib_to_host(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    TN_TRY(fail_call(s, err));
    if (on_device(dst))
        broken("a copy to the host into device memory");
    if (!is_pinned(dst) && s->origin)
        broken("memory that is not pinned in a graph");
    push(s, (Work){.kind = TO_HOST, .dst = dst, .src = src, .n = bytes, .pinned = is_pinned(dst)});
    return TN_OK;
}

static TnStatus lib_on_device(TnStream *s, void *dst, const void *src, size_t bytes, TnError *err) {
    TN_TRY(fail_call(s, err));
    push(s, (Work){.kind = ON_DEVICE, .dst = dst, .src = src, .n = bytes});
    return TN_OK;
}

static TnStatus lib_fill(TnStream *s, void *dst, int byte, size_t bytes, TnError *err) {
    TN_TRY(fail_call(s, err));
    push(s, (Work){.kind = FILL, .dst = dst, .n = bytes, .byte = byte});
    return TN_OK;
}

static TnStatus lib_synchronize(TnStream *s, TnError *err) {
    add(&fake.waits, 1);
    if (s->origin)
        broken("a wait while capturing");
    drain(s);
    if (stuck && !given_up)
        broken("a wait for ever");
    return fail_call(s, err);
}

static TnStatus lib_done(TnStream *s, bool *done, TnError *err) {
    if (s->origin)
        broken("a wait while capturing");
    drain(s);
    *done = s->queue.n == 0;
    add(&fake.waits, *done);
    return fail_call(s, err);
}

static void lib_give_up(TnDevice *d) {
    (void)d;
    given_up = true;
}

static TnStatus lib_mark_create(TnDevice *d, bool timing, TnMark **out, TnError *err) {
    (void)d, (void)timing;
    TN_TRY(fail_call(NULL, err));
    *out = calloc(1, sizeof **out);
    add(&fake.live, 1);
    return TN_OK;
}

static void lib_mark_destroy(TnMark **m) {
    if (leave_it("a mark behind a kernel that hangs is destroyed")) {
        *m = NULL;
        return;
    }
    free(*m);
    *m = NULL;
    add(&fake.live, -1);
}

static TnStatus lib_mark_set(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(fail_call(s, err));
    *m = (TnMark){.s = s, .set = true, .origin = s->origin};
    push(s, (Work){.kind = MARK, .mark = m});
    memcpy(m->clock, s->clock, sizeof m->clock);
    return TN_OK;
}

/* A stream that waits for a mark of a recording takes part in it. */
static void join(TnStream *origin, TnStream *s) {
    if (s->queue.n)
        broken("a stream with work under way joins a recording");
    if (origin->n_lanes == MAX_LANES)
        broken("too many streams in a recording");
    s->origin = origin;
    s->lane = origin->n_lanes;
    memset(s->clock, 0, sizeof s->clock);
    origin->lanes[origin->n_lanes++] = s;
}

static TnStatus lib_mark_wait(TnMark *m, TnStream *s, TnError *err) {
    TN_TRY(fail_call(s, err));
    if (m->origin) {
        if (!m->origin->capturing || (s->origin && s->origin != m->origin))
            broken("a wait for a mark of another recording");
        if (!s->origin)
            join(m->origin, s);
        for (uint32_t i = 0; i < MAX_LANES; i++)
            s->clock[i] = TN_MAX(s->clock[i], m->clock[i]);
        push(s, (Work){.kind = WAIT, .mark = m});
        return TN_OK;
    }
    if (s->origin)
        broken("a recording waits for what is not in it");
    if (m->set && !m->done)
        drain(m->s);
    return TN_OK;
}

static TnStatus lib_mark_done(TnMark *m, bool *done, TnError *err) {
    TN_TRY(fail_call(m->s, err));
    if (m->set && !m->done && m->asked)
        drain(m->s);
    m->asked = true;
    *done = !m->set || m->done;
    return TN_OK;
}

static TnStatus lib_mark_elapsed(TnMark *from, TnMark *to, double *ns, TnError *err) {
    if (!from->done || !to->done)
        broken("the time between marks that have not been reached");
    *ns = (double)(to->ns - from->ns);
    return fail_call(from->s, err);
}

static TnStatus lib_capture_begin(TnStream *s, TnError *err) {
    TN_TRY(fail_call(s, err));
    if (s->capturing || s->users)
        broken("capturing twice, or on a stream of the caller's");
    s->capturing = true;
    s->origin = s;
    s->lanes[0] = s;
    s->n_lanes = 1;
    memset(s->clock, 0, sizeof s->clock);
    return TN_OK;
}

/* The first work of a lane from `from` on; q->n: none. */
static uint32_t head_of(const Queue *q, const bool *taken, uint32_t lane, uint32_t from) {
    while (from < q->n && (taken[from] || q->w[from].lane != lane))
        from++;
    return from;
}

/* Some order in which a device may run what was recorded, without the marks. */
static void shuffle(Queue *q, uint32_t lanes, uint64_t seed) {
    bool *taken = calloc(q->n + 1u, sizeof *taken);
    Work *w = calloc(q->n + 1u, sizeof *w);
    uint32_t at[MAX_LANES] = {0}, n = 0;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->w[i].kind == MARK)
            q->w[i].mark->passed = false;
    for (uint32_t left = q->n, turn = 0; left;) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        turn = seed >> 62 ? turn + (uint32_t)(seed >> 33) : turn; /* often the same lane for a while */
        uint32_t lane = turn % lanes, i = at[lane] = head_of(q, taken, lane, at[lane]);
        if (i == q->n || (q->w[i].kind == WAIT && !q->w[i].mark->passed)) {
            turn++;
            continue;
        }
        taken[i] = true;
        left--;
        if (q->w[i].kind == MARK)
            q->w[i].mark->passed = true;
        else if (q->w[i].kind != WAIT)
            w[n++] = q->w[i];
    }
    if (n > 0)
        memcpy(q->w, w, n * sizeof *w);
    q->n = n;
    free(w);
    free(taken);
}

/* Ends the recording of all streams; all but s must have been waited for. */
static void part(TnStream *s, bool complete) {
    for (uint32_t i = 0; i < s->n_lanes; i++) {
        if (complete && s->clock[i] < s->lanes[i]->clock[i])
            broken("a stream of a recording was not waited for");
        s->lanes[i]->origin = NULL;
        s->lanes[i]->lane = 0;
    }
}

static TnStatus lib_capture_end(TnStream *s, TnGraphExec **out, TnError *err) {
    uint64_t n = __atomic_fetch_add(&fake.n_capture, 1, __ATOMIC_RELAXED);
    if (!s->capturing)
        broken("the end of no capture");
    s->capturing = false;
    Queue q = s->recording;
    s->recording = (Queue){NULL, 0, 0};
    part(s, err != NULL); /* without err: after a failure */
    fake.lanes = s->n_lanes;
    shuffle(&q, s->n_lanes, n);
    TnStatus st = fail_call(s, err);
    if (st == TN_OK && n == fake.fail_capture)
        st = TN_RAISE(err, TN_ERR_UNSUPPORTED, "the fake device cannot capture this, as asked");
    if (st != TN_OK) {
        free_queue(&q);
        return st;
    }
    *out = calloc(1, sizeof **out);
    (*out)->q = q;
    add(&fake.live, 1);
    return TN_OK;
}

static TnStatus lib_graph_launch(TnGraphExec *g, TnStream *s, TnError *err) {
    TN_TRY(fail_call(s, err));
    for (uint32_t i = 0; i < g->q.n; i++) {
        if (g->q.w[i].call)
            g->q.w[i].call->refs++;
        push(s, g->q.w[i]);
    }
    add(&fake.launches, 1 - (int64_t)g->q.n);
    add(&fake.graphs, 1);
    return TN_OK;
}

static void lib_graph_destroy(TnGraphExec **g) {
    if (leave_it("a graph with a kernel that hangs is destroyed")) {
        *g = NULL;
        return;
    }
    free_queue(&(*g)->q);
    free(*g);
    *g = NULL;
    add(&fake.live, -1);
}

static TnStatus lib_compile(const char *text, uint32_t arch, const TnAllocator *a, void **binary, size_t *bytes, TnError *err) {
    TN_TRY(fail_call(NULL, err));
    if (!fake.has_compiler)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "there is no fake compiler");
    *bytes = strlen(text) + 16;
    *binary = tni_alloc_aligned(a, *bytes, 16);
    if (!*binary)
        return TN_OOM(err, *bytes);
    memset(*binary, 0, *bytes);
    snprintf(*binary, *bytes, "%u %s", arch, text);
    return TN_OK;
}

static TnStatus lib_module_load(TnDevice *d, const void *binary, size_t bytes, TnModule **out, TnError *err) {
    (void)d;
    TN_TRY(fail_call(NULL, err));
    char text[64] = {0};
    memcpy(text, binary, TN_MIN(bytes, sizeof text - 1));
    if ((uint32_t)strtoul(text, NULL, 10) != fake.arch)
        return TN_RAISE(err, TN_ERR_DEVICE, "the code is for another device");
    *out = calloc(1, sizeof **out);
    snprintf((*out)->text, sizeof (*out)->text, "%s", strchr(text, ' ') ? strchr(text, ' ') + 1 : "");
    add(&fake.live, 1);
    add(&fake.modules, 1);
    return TN_OK;
}

static void lib_module_free(TnModule **m) {
    if (leave_it("code of a device that hangs is unloaded")) {
        *m = NULL;
        return;
    }
    free(*m);
    *m = NULL;
    add(&fake.live, -1);
}

static TnStatus lib_take_fault(TnStream *s, bool *fault, int64_t *index, int64_t *limit, TnError *err) {
    (void)err;
    *fault = s->fault;
    *index = s->index;
    *limit = s->limit;
    s->fault = false;
    return TN_OK;
}

static TnStatus lib_activate(TnDevice *d, TnError *err) {
    (void)d, (void)err;
    return TN_OK;
}

static TnStatus lib_search_step(TnStream *s, const struct TnSearch *g, TnError *err) {
    TN_TRY(fail_call(s, err));
    Call *c = calloc(1, sizeof *c);
    *c = (Call){.refs = 1, .params = copy_of(g, sizeof *g)};
    push(s, (Work){.kind = SEARCH, .call = c});
    return TN_OK;
}

static void lib_range(const char *name) {
    (void)name;
}

__attribute__((visibility("default"))) const TnDeviceLibrary *tenon_device_library(void);
const TnDeviceLibrary *tenon_device_library(void) {
    static TnDeviceLibrary lib = {.version = TN_DEVICE_LIBRARY_VERSION,
                                  .size = sizeof lib,
                                  .name = "fake",
                                  .kind = TN_DEVICE_CUDA,
                                  .n_kernels = TN_COUNT(rows),
                                  .kernels = rows,
                                  .count = lib_count,
                                  .open = lib_open,
                                  .close = lib_close,
                                  .info = lib_info,
                                  .memory = lib_memory,
                                  .alloc = lib_alloc,
                                  .free = lib_free,
                                  .alloc_host = lib_alloc_host,
                                  .free_host = lib_free_host,
                                  .is_device_pointer = lib_is_device_pointer,
                                  .stream_create = lib_stream_create,
                                  .stream_wrap = lib_stream_wrap,
                                  .stream_destroy = lib_stream_destroy,
                                  .to_device = lib_to_device,
                                  .to_host = lib_to_host,
                                  .on_device = lib_on_device,
                                  .fill = lib_fill,
                                  .synchronize = lib_synchronize,
                                  .mark_create = lib_mark_create,
                                  .mark_destroy = lib_mark_destroy,
                                  .mark_set = lib_mark_set,
                                  .mark_wait = lib_mark_wait,
                                  .mark_done = lib_mark_done,
                                  .mark_elapsed = lib_mark_elapsed,
                                  .capture_begin = lib_capture_begin,
                                  .capture_end = lib_capture_end,
                                  .graph_launch = lib_graph_launch,
                                  .graph_destroy = lib_graph_destroy,
                                  .compile = lib_compile,
                                  .module_load = lib_module_load,
                                  .module_free = lib_module_free,
                                  .take_fault = lib_take_fault,
                                  .range = lib_range,
                                  .activate = lib_activate,
                                  .search_step = lib_search_step,
                                  .done = lib_done,
                                  .give_up = lib_give_up};
    lib.identity = fake.identity;
    const char *hang = getenv("FAKE_DEVICE_HANG"); /* for the program, which cannot be told otherwise */
    if (hang)
        fake.hang = strtoull(hang, NULL, 10);
    return &lib;
}
