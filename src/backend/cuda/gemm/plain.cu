/* SPDX-License-Identifier: Apache-2.0
 *
 * einsum and products of integers straight from the definition: one thread an element of the result. Floats are summed in f32 with
 * Kahan's correction, so that long sums of f32 stay exact enough; integers wrap. */
#include "backend/cuda/gemm/gemm.h"
#include "backend/cuda/gemm/matmul.h"

#define MAX_LABELS 24
#define MAX_OPERANDS 4

/* Labels [0, n_out) are the output's dims in order, the rest are summed. */
typedef struct Sum {
    const void *in[MAX_OPERANDS];
    void *y;
    int64_t total, count; /* elements of y; products summed into one */
    int32_t n_in, n_labels, n_out, type;
    int64_t size[MAX_LABELS], stride[MAX_OPERANDS][MAX_LABELS];
} Sum;

template <typename T> struct Number {
    using Wide = float;
    static __device__ __forceinline__ float get(const void *p, int64_t i) { return tni_f32(((const T *)p)[i]); }
    static __device__ __forceinline__ void put(void *p, int64_t i, float v) { ((T *)p)[i] = tni_from_f32<T>(v); }
    static __device__ __forceinline__ void add(float &sum, float &rest, float v) {
        const float t = __fsub_rn(v, rest), s = __fadd_rn(sum, t);
        rest = __fsub_rn(__fsub_rn(s, sum), t);
        sum = s;
    }
};
template <typename T> struct Whole {
    using Wide = uint64_t;
    static __device__ __forceinline__ uint64_t get(const void *p, int64_t i) { return (uint64_t)(int64_t)((const T *)p)[i]; }
    static __device__ __forceinline__ void put(void *p, int64_t i, uint64_t v) { ((T *)p)[i] = (T)v; }
    static __device__ __forceinline__ void add(uint64_t &sum, uint64_t &, uint64_t v) { sum += v; }
};
template <> struct Number<int32_t> : Whole<int32_t> {};
template <> struct Number<int64_t> : Whole<int64_t> {};
template <> struct Number<uint8_t> : Whole<uint8_t> {};
template <> struct Number<int8_t> : Whole<int8_t> {};
template <> struct Number<uint32_t> : Whole<uint32_t> {};
template <> struct Number<uint64_t> : Whole<uint64_t> {};

template <typename T> __global__ void __launch_bounds__(128) sum_kernel(const __grid_constant__ Sum p) {
    using N = Number<T>;
    for (int64_t i = tni_thread(); i < p.total; i += tni_threads()) {
        int64_t at[MAX_OPERANDS] = {0, 0, 0, 0}, rest = i;
        for (int32_t d = p.n_out - 1; d >= 0; d--) {
            const int64_t x = rest % p.size[d];
            rest /= p.size[d];
#pragma unroll
            for (int o = 0; o < MAX_OPERANDS; o++)
                at[o] += x * p.stride[o][d];
        }
        typename N::Wide sum = 0, low = 0;
        const int32_t last = p.n_labels - 1;
        const int64_t run = p.n_labels > p.n_out ? p.size[last] : 1;
        for (int64_t first = 0; first < p.count; first += run) {
            int64_t from[MAX_OPERANDS] = {at[0], at[1], at[2], at[3]}, left = first / run;
            for (int32_t d = last - 1; d >= p.n_out; d--) {
                const int64_t x = left % p.size[d];
                left /= p.size[d];
#pragma unroll
                for (int o = 0; o < MAX_OPERANDS; o++)
                    from[o] += x * p.stride[o][d];
            }
            for (int64_t k = 0; k < run; k++) {
                typename N::Wide v = N::get(p.in[0], from[0]);
#pragma unroll
                for (int o = 1; o < MAX_OPERANDS; o++)
                    if (o < p.n_in)
                        v *= N::get(p.in[o], from[o]);
                N::add(sum, low, v);
                if (p.n_labels > p.n_out) {
#pragma unroll
                    for (int o = 0; o < MAX_OPERANDS; o++)
                        from[o] += p.stride[o][last];
                }
            }
        }
        N::put(p.y, i, sum);
    }
}

static TnStatus launch(TnKernelCall *call, const Sum *p, const char *what) {
    if (p->total == 0)
        return TN_OK;
    const unsigned blocks = tni_grid(call, p->total, 128, 32);
    cudaStream_t s = call->stream->s;
    switch (p->type) {
    case TN_F32: sum_kernel<float><<<blocks, 128, 0, s>>>(*p); break;
    case TN_F16: sum_kernel<__half><<<blocks, 128, 0, s>>>(*p); break;
    case TN_BF16: sum_kernel<__nv_bfloat16><<<blocks, 128, 0, s>>>(*p); break;
    case TN_I32: sum_kernel<int32_t><<<blocks, 128, 0, s>>>(*p); break;
    case TN_I64: sum_kernel<int64_t><<<blocks, 128, 0, s>>>(*p); break;
    case TN_U8: sum_kernel<uint8_t><<<blocks, 128, 0, s>>>(*p); break;
    case TN_I8: sum_kernel<int8_t><<<blocks, 128, 0, s>>>(*p); break;
    case TN_U32: sum_kernel<uint32_t><<<blocks, 128, 0, s>>>(*p); break;
    case TN_U64: sum_kernel<uint64_t><<<blocks, 128, 0, s>>>(*p); break;
    default: return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s: elements of type %s", what, tn_dtype_name((TnDtype)p->type));
    }
    return tni_cuda_launched(call, what);
}

static bool type_ok(TnDtype t) {
    return tni_is_real(t) || t == TN_I32 || t == TN_I64 || t == TN_U8 || t == TN_I8 || t == TN_U32 || t == TN_U64;
}

/* ---- einsum ---- */

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Labels of the term [s, end) for a tensor of `rank`; dims of "..." are 1 .. 8, the last one 8. */
static bool term(const char *s, const char *end, int32_t rank, char *out) {
    int32_t letters = 0, n = 0;
    bool dots = false;
    for (const char *c = s; c < end; c++)
        letters += is_letter(*c);
    for (const char *c = s; c < end; c++) {
        if (is_letter(*c)) {
            if (n == rank)
                return false;
            out[n++] = *c;
            continue;
        }
        if (*c != '.' || end - c < 3 || c[1] != '.' || c[2] != '.' || dots)
            return false;
        dots = true;
        for (int32_t left = rank - letters; left > 0; left--) {
            if (n == rank)
                return false;
            out[n++] = (char)(TN_MAX_RANK + 1 - left);
        }
        c += 2;
    }
    return n == rank;
}

static int32_t label_of(Sum *p, char *names, char c) {
    for (int32_t i = 0; i < p->n_labels; i++)
        if (names[i] == c)
            return i;
    if (p->n_labels == MAX_LABELS)
        return -1;
    names[p->n_labels] = c;
    p->size[p->n_labels] = 1;
    return p->n_labels++;
}

static bool operand(Sum *p, char *names, int32_t o, const TnTensor *t, const char *s, const char *end) {
    char labels[TN_MAX_RANK];
    if (!term(s, end, t->rank, labels))
        return false;
    int64_t step = 1;
    for (int32_t d = t->rank - 1; d >= 0; step *= t->dims[d], d--) {
        const int32_t l = label_of(p, names, labels[d]);
        if (l < 0 || (t->dims[d] != 1 && p->size[l] != 1 && p->size[l] != t->dims[d]))
            return false;
        if (t->dims[d] != 1) {
            p->size[l] = t->dims[d];
            p->stride[o][l] += step; /* a letter twice: the diagonal */
        }
    }
    return true;
}

static bool parse(const TnEinsumParams *e, const TnTensor *in, uint32_t n_in, const TnTensor *out, Sum *p) {
    char names[MAX_LABELS], labels[TN_MAX_RANK];
    const char *end = (const char *)memchr(e->equation, 0, sizeof e->equation), *arrow = end != NULL ? strstr(e->equation, "->") : NULL;
    *p = Sum();
    if (arrow == NULL || n_in < 1 || n_in > MAX_OPERANDS || !term(arrow + 2, end, out->rank, labels))
        return false;
    for (int32_t d = 0; d < out->rank; d++)
        if (label_of(p, names, labels[d]) != d)
            return false;
    p->n_out = p->n_labels;
    p->n_in = (int32_t)n_in;
    p->type = (int32_t)out->dtype;
    const char *s = e->equation;
    for (uint32_t i = 0; i < n_in; i++) {
        const char *stop = s;
        while (stop < arrow && *stop != ',')
            stop++;
        if (in[i].dtype != out->dtype || (stop == arrow) != (i + 1 == n_in) || !operand(p, names, (int32_t)i, &in[i], s, stop))
            return false;
        p->in[i] = in[i].data;
        s = stop + 1;
    }
    p->total = p->count = 1;
    for (int32_t l = 0; l < p->n_labels; l++) {
        if (l < p->n_out && p->size[l] != out->dims[l])
            return false;
        *(l < p->n_out ? &p->total : &p->count) *= p->size[l];
    }
    p->y = out->data;
    return true;
}

extern "C" TnStatus tni_cuda_einsum_run(TnKernelCall *call) {
    Sum p;
    if (!parse((const TnEinsumParams *)call->params, call->in, call->n_in, &call->out[0], &p))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "einsum: an equation that does not fit its operands");
    return launch(call, &p, "einsum");
}

static bool einsum_fits(const TnKernelQuery *q) {
    Sum p;
    return type_ok(q->out[0].dtype) && parse((const TnEinsumParams *)q->params, q->in, q->n_in, q->out, &p);
}
extern "C" bool tni_cuda_einsum_f16(const TnKernelQuery *q) { return q->out[0].dtype == TN_F16 && einsum_fits(q); }
extern "C" bool tni_cuda_einsum_bf16(const TnKernelQuery *q) { return q->out[0].dtype == TN_BF16 && einsum_fits(q); }
extern "C" bool tni_cuda_einsum_f32(const TnKernelQuery *q) { return q->out[0].dtype == TN_F32 && einsum_fits(q); }
extern "C" bool tni_cuda_einsum_int(const TnKernelQuery *q) { return !tni_is_real(q->out[0].dtype) && einsum_fits(q); }

extern "C" double tni_cuda_einsum_cost(const TnKernelQuery *q) {
    Sum p;
    if (q->device == NULL || !parse((const TnEinsumParams *)q->params, q->in, q->n_in, q->out, &p))
        return 1e30;
    return 3000.0 + (double)p.total * (double)p.count * (double)p.n_in / 400.0 + (double)p.count * 8.0;
}

/* ---- integer matmul ---- */

static bool product_sum(const TnTensor *a, const TnTensor *b, const TnTensor *y, Sum *s) {
    TniProduct p;
    if (a->dtype != b->dtype || a->dtype != y->dtype || tni_is_real(a->dtype) || !type_ok(a->dtype) || !tni_matmul_product(a, b, &p))
        return false;
    *s = Sum();
    s->type = (int32_t)a->dtype;
    s->n_in = 2;
    s->n_out = 5;
    s->n_labels = 6;
    for (int i = 0; i < 3; i++) {
        s->size[i] = p.dims[i];
        s->stride[0][i] = p.a_step[i];
        s->stride[1][i] = p.b_step[i];
    }
    s->size[3] = p.m;
    s->stride[0][3] = p.a_row;
    s->size[4] = p.n;
    s->stride[1][4] = p.b_col;
    s->size[5] = p.k;
    s->stride[0][5] = p.a_col;
    s->stride[1][5] = p.b_row;
    s->total = (int64_t)p.batch * p.m * p.n;
    s->count = p.k;
    s->in[0] = a->data;
    s->in[1] = b->data;
    s->y = y->data;
    return true;
}

extern "C" TnStatus tni_cuda_matmul_int_run(TnKernelCall *call) {
    Sum s;
    if (!product_sum(&call->in[0], &call->in[1], &call->out[0], &s))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "matmul: operands that the kernel does not take");
    return launch(call, &s, "matmul of integers");
}
extern "C" bool tni_cuda_matmul_int_supports(const TnKernelQuery *q) {
    Sum s;
    return product_sum(&q->in[0], &q->in[1], &q->out[0], &s);
}
extern "C" double tni_cuda_matmul_int_cost(const TnKernelQuery *q) {
    Sum s;
    if (q->device == NULL || !product_sum(&q->in[0], &q->in[1], &q->out[0], &s))
        return 1e30;
    return 3000.0 + (double)s.total * (double)s.count / 200.0 + (double)s.count * 8.0;
}
