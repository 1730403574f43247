/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: maxima and averages of f32, f16, bf16 in f32, a thread an output (channels last: a thread 16 bytes of channels); global ones as
 * reductions; everything else (indices of maxima, Lp norms, other types) by one general kernel in double. */
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/pool/pool.h"
#include "backend/cuda/reduce/shape.h"

#define POOL_BLOCK 256

namespace {
struct Pool {
    const void *x;
    void *y;
    int64_t *index; /* NULL: not wanted */
    int64_t total;  /* outputs, or vectors of them */
    int64_t C, in_n, out_n;
    int32_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_after[3];
    uint32_t type, kind, last, include_pad, column_major;
    int32_t p, n;
};

/* The taps t0 <= t < t1 of one dim that lie inside the input, and how many lie inside the padded input. */
__device__ void taps(const Pool &c, int d, int32_t o, int32_t *from, int32_t *t0, int32_t *t1, int32_t *covered) {
    const int32_t first = o * c.stride[d] - c.pad[d], step = c.dilation[d];
    *from = first;
    *t0 = first < 0 ? (-first + step - 1) / step : 0;
    const int32_t room = c.in[d] - first, most = room <= 0 ? 0 : (room + step - 1) / step;
    *t1 = most < c.kernel[d] ? most : c.kernel[d];
    const int32_t padded = room + c.pad_after[d], all = padded <= 0 ? 0 : (padded + step - 1) / step;
    *covered = all < c.kernel[d] ? all : c.kernel[d];
}

struct Window {
    int32_t from[3], t0[3], t1[3];
    int64_t hits, covered;
};

__device__ Window window_of(const Pool &c, int64_t pos) {
    Window w;
    const int32_t o[3] = {(int32_t)(pos / c.out[2] / c.out[1]), (int32_t)(pos / c.out[2] % c.out[1]), (int32_t)(pos % c.out[2])};
    w.hits = w.covered = 1;
#pragma unroll
    for (int d = 0; d < 3; d++) {
        int32_t covered;
        taps(c, d, o[d], &w.from[d], &w.t0[d], &w.t1[d], &covered);
        w.hits *= w.t1[d] > w.t0[d] ? w.t1[d] - w.t0[d] : 0;
        w.covered *= covered;
    }
    return w;
}

/* V neighbouring channels (channels last), or one output (V = 1, channels first). */
template <typename T, int V, bool MAX> __global__ void __launch_bounds__(POOL_BLOCK) float_kernel(const __grid_constant__ Pool c) {
    const int64_t i = (int64_t)blockIdx.x * POOL_BLOCK + threadIdx.x;
    if (i >= c.total)
        return;
    int64_t pos, first, step;
    if (c.last != 0) {
        const int64_t chunks = c.C / V, row = i / chunks;
        pos = row % c.out_n;
        first = row / c.out_n * c.in_n * c.C + (i - row * chunks) * V;
        step = c.C;
    } else {
        const int64_t plane = i / c.out_n;
        pos = i - plane * c.out_n;
        first = plane * c.in_n;
        step = 1;
    }
    const Window w = window_of(c, pos);
    float acc[V];
#pragma unroll
    for (int v = 0; v < V; v++)
        acc[v] = MAX ? -INFINITY : 0.0f;
    for (int32_t a = w.t0[0]; a < w.t1[0]; a++)
        for (int32_t b = w.t0[1]; b < w.t1[1]; b++) {
            const int64_t line = ((int64_t)(w.from[0] + a * c.dilation[0]) * c.in[1] + w.from[1] + b * c.dilation[1]) * c.in[2] + w.from[2];
            for (int32_t t = w.t0[2]; t < w.t1[2]; t++) {
                float x[V];
                tni_load<V>(x, (const T *)c.x + first + (line + t * c.dilation[2]) * step);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    if (MAX)
                        acc[v] = x[v] > acc[v] || x[v] != x[v] ? x[v] : acc[v]; /* NaN comes and stays */
                    else
                        acc[v] += x[v];
                }
            }
        }
    const float count = (float)(c.include_pad != 0 ? w.covered : w.hits);
#pragma unroll
    for (int v = 0; v < V; v++)
        acc[v] = MAX ? acc[v] : acc[v] / count;
    tni_store<V>((T *)c.y + i * V, acc);
}

__device__ int64_t place(const Pool &c, int64_t b, int64_t chan, int64_t n, int64_t pos) {
    return c.last != 0 ? (b * n + pos) * c.C + chan : (b * c.C + chan) * n + pos;
}

/* Index of a maximum as ONNX counts: over the channels-first tensor, the spatial part row- or column-major. */
__device__ int64_t public_index(const Pool &c, int64_t b, int64_t chan, int64_t i0, int64_t i1, int64_t i2) {
    int64_t pos = (i0 * c.in[1] + i1) * c.in[2] + i2;
    if (c.column_major != 0) {
        pos = i2;
        if (c.n >= 2)
            pos = pos * c.in[1] + i1;
        if (c.n >= 3)
            pos = pos * c.in[0] + i0;
    }
    return (b * c.C + chan) * c.in_n + pos;
}

__global__ void __launch_bounds__(POOL_BLOCK) any_kernel(const __grid_constant__ Pool c) {
    const int64_t e = (int64_t)blockIdx.x * POOL_BLOCK + threadIdx.x;
    if (e >= c.total)
        return;
    const int64_t pos = e % c.out_n, chan = e / c.out_n % c.C, b = e / c.out_n / c.C, to = place(c, b, chan, c.out_n, pos);
    const Window w = window_of(c, pos);
    uint64_t best = 0;
    int64_t at_best = -1, index = 0;
    double acc = 0.0;
    bool nan = false;
    for (int32_t a = w.t0[0]; a < w.t1[0]; a++)
        for (int32_t k = w.t0[1]; k < w.t1[1]; k++)
            for (int32_t t = w.t0[2]; t < w.t1[2]; t++) {
                const int64_t i0 = w.from[0] + a * c.dilation[0], i1 = w.from[1] + k * c.dilation[1], i2 = w.from[2] + t * c.dilation[2];
                const int64_t at = place(c, b, chan, c.in_n, (i0 * c.in[1] + i1) * c.in[2] + i2);
                if (c.kind == TN_POOL_MAX) {
                    const uint64_t rank = el_rank(c.type, c.x, at);
                    if (at_best < 0 || (!nan && rank > best)) { /* the first of equals, the first NaN */
                        best = rank;
                        at_best = at;
                        index = public_index(c, b, chan, i0, i1, i2);
                        nan = !el_exact(c.type) && rank == UINT64_MAX;
                    }
                } else {
                    const double v = el_load_f64(c.type, c.x, at);
                    acc += c.kind == TN_POOL_AVG ? v : pow(fabs(v), (double)c.p);
                }
            }
    if (c.kind == TN_POOL_MAX && el_exact(c.type))
        el_store_i64(c.type, c.y, to, at_best < 0 ? 0 : el_load_i64(c.type, c.x, at_best));
    else if (c.kind == TN_POOL_MAX)
        el_put_f64(c.type, c.y, to, at_best < 0 ? -INFINITY : el_load_f64(c.type, c.x, at_best));
    else if (c.kind == TN_POOL_AVG)
        el_put_f64(c.type, c.y, to, acc / (double)(c.include_pad != 0 ? w.covered : w.hits));
    else
        el_put_f64(c.type, c.y, to, pow(acc, 1.0 / (double)c.p));
    if (c.index != nullptr)
        c.index[to] = index;
}

TnStatus setup(TnKernelCall *call, Pool *c) {
    const TnPoolParams *p = (const TnPoolParams *)call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const bool global = p->global != 0;
    const int32_t n = global ? x->rank - 2 : (int32_t)p->n_spatial;
    memset(c, 0, sizeof *c);
    if (n < 1 || n > 3 || x->rank != n + 2 || y->rank != n + 2 || p->kind > TN_POOL_LP)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "pool was called with an input of rank %d, which does not fit", x->rank);
    c->x = x->data;
    c->y = y->data;
    c->index = call->n_out > 1 ? (int64_t *)call->out[1].data : nullptr;
    c->type = (uint32_t)x->dtype;
    c->kind = p->kind;
    c->last = p->channels_last != 0;
    c->include_pad = p->count_include_pad;
    c->column_major = p->storage_order;
    c->p = p->p;
    c->n = n;
    c->C = x->dims[c->last != 0 ? n + 1 : 1];
    c->in_n = c->out_n = 1;
    for (int d = 0; d < 3; d++) {
        const int s = d - (3 - n);
        const bool unit = s < 0;
        const int64_t in = unit ? 1 : x->dims[(c->last != 0 ? 1 : 2) + s], out = unit ? 1 : y->dims[(c->last != 0 ? 1 : 2) + s];
        c->in[d] = (int32_t)in;
        c->out[d] = (int32_t)out;
        c->kernel[d] = unit ? 1 : global ? (int32_t)in : p->kernel[s];
        c->stride[d] = unit || global ? 1 : p->stride[s];
        c->dilation[d] = unit || global ? 1 : p->dilation[s];
        if (in > INT32_MAX || out > INT32_MAX || c->stride[d] < 1 || c->dilation[d] < 1 || (c->kernel[d] < 1 && !global))
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "pool was called with a kernel, stride, dilation or size out of range");
        const int64_t extent = (int64_t)(c->kernel[d] - 1) * c->dilation[d] + 1;
        if (!unit && !global && p->auto_pad == TN_PAD_EXPLICIT) {
            c->pad[d] = p->pads[s];
            c->pad_after[d] = p->pads[n + s];
        } else if (!unit && !global && p->auto_pad != TN_PAD_VALID) {
            const int64_t total = (out - 1) * c->stride[d] + extent - in;
            const int32_t both = (int32_t)(total < 0 ? 0 : total);
            c->pad[d] = p->auto_pad == TN_PAD_SAME_LOWER ? both - both / 2 : both / 2;
            c->pad_after[d] = both - c->pad[d];
        }
        c->in_n *= in;
        c->out_n *= out;
    }
    return TN_OK;
}

template <typename T> void launch_floats(cudaStream_t s, Pool c, int64_t outputs) {
    constexpr int V = 16 / (int)sizeof(T);
    const bool vec = c.last != 0 && c.C % V == 0 && tni_is_aligned(c.x, 16) && tni_is_aligned(c.y, 16), max = c.kind == TN_POOL_MAX;
    c.total = vec ? outputs / V : outputs;
    const unsigned blocks = (unsigned)tni_div_up(c.total, POOL_BLOCK);
    if (vec && max)
        float_kernel<T, V, true><<<blocks, POOL_BLOCK, 0, s>>>(c);
    else if (vec)
        float_kernel<T, V, false><<<blocks, POOL_BLOCK, 0, s>>>(c);
    else if (max)
        float_kernel<T, 1, true><<<blocks, POOL_BLOCK, 0, s>>>(c);
    else
        float_kernel<T, 1, false><<<blocks, POOL_BLOCK, 0, s>>>(c);
}

/* A global maximum or average as a reduction over the spatial dims. */
bool reduction(const TnPoolParams *p, const TnTensor *x, RdShape *r) {
    TnReduceParams q;
    memset(&q, 0, sizeof q);
    if (p->global == 0 || p->kind > TN_POOL_AVG || !tni_is_real(x->dtype) || x->rank < 3)
        return false;
    q.fn = p->kind == TN_POOL_MAX ? TN_REDUCE_max : TN_REDUCE_mean;
    q.keepdims = 1;
    q.n_axes = (uint32_t)x->rank - 2;
    for (int32_t i = 0; i < x->rank - 2; i++)
        q.axes[i] = (p->channels_last != 0 ? 1 : 2) + i;
    return tni_cuda_rd_shape(&q, x, r);
}

void reduce(const TnStream *s, const RdShape *r) {
    if (r->x_type == TN_F32)
        tni_cuda_rd_f32(s, r);
    else if (r->x_type == TN_F16)
        tni_cuda_rd_f16(s, r);
    else
        tni_cuda_rd_bf16(s, r);
}
} // namespace

TnStatus tni_cuda_pool(TnKernelCall *call) {
    const TnPoolParams *p = (const TnPoolParams *)call->params;
    const int64_t outputs = tn_tensor_numel(&call->out[0]);
    cudaStream_t s = call->stream->s;
    Pool c;
    RdShape r;
    if (outputs == 0)
        return TN_OK;
    TN_TRY(setup(call, &c));
    if (c.index == nullptr && reduction(p, &call->in[0], &r) && r.outputs == outputs) {
        r.x = c.x;
        r.y = c.y;
        r.y_type = c.type;
        r.partial = (double *)call->scratch;
        const size_t need = r.splits > 1 ? (size_t)(r.splits * r.outputs) * 2 * sizeof(double) : 0;
        if (call->scratch_bytes < need)
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "pool needs %zu bytes of scratch memory, was given %zu", need, call->scratch_bytes);
        reduce(call->stream, &r);
    } else if (c.index == nullptr && c.kind != TN_POOL_LP && tni_is_real((TnDtype)c.type)) {
        TNI_FLOAT_SWITCH((TnDtype)c.type, T, launch_floats<T>(s, c, outputs));
    } else {
        c.total = outputs;
        any_kernel<<<(unsigned)tni_div_up(outputs, POOL_BLOCK), POOL_BLOCK, 0, s>>>(c);
    }
    return tni_cuda_launched(call, "pool");
}

size_t tni_cuda_pool_scratch(const TnKernelQuery *q) {
    if (((const TnPoolParams *)q->params)->global == 0)
        return 0;
    return tni_cuda_rd_scratch(tn_tensor_numel(&q->out[0]));
}

static bool floats(const TnKernelQuery *q, TnDtype t) {
    return q->in[0].dtype == t && q->out[0].dtype == t;
}

bool tni_cuda_pool_floats(const TnKernelQuery *q) {
    return floats(q, TN_F32) || floats(q, TN_F64);
}

bool tni_cuda_pool_halves(const TnKernelQuery *q) {
    return floats(q, TN_F16);
}

bool tni_cuda_pool_brains(const TnKernelQuery *q) {
    return floats(q, TN_BF16);
}

bool tni_cuda_pool_integers(const TnKernelQuery *q) {
    TnDtype t = q->in[0].dtype;
    return ((const TnPoolParams *)q->params)->kind == TN_POOL_MAX && tni_dtype_is_int(t) && tn_dtype_bits(t) >= 8 && q->out[0].dtype == t;
}

double tni_cuda_pool_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, tni_cuda_bytes(q), 0, 0);
}
