/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of attention kernels on the shapes of the four models; the floor counts the two products only. Usage: bench_attention [threads
 * [kernel-part [shape-part]]] */
#include "backend/cpu/attention/attention.h"
#include "bench_ops.h"

static const TnKernel kernels[] = {
#define KERNEL(op_, name_, cpu_, run_, supports_, scratch_, cost_, packing_, bytes_, pack_, atol_, rtol_)                                  \
    {.name = #name_,                                                                                                                       \
     .op = TN_OP_##op_,                                                                                                                    \
     .cpu = cpu_,                                                                                                                          \
     .run = run_,                                                                                                                          \
     .supports = supports_,                                                                                                                \
     .scratch = scratch_,                                                                                                                  \
     .cost = cost_,                                                                                                                        \
     .packing = packing_,                                                                                                                  \
     .packed_bytes = bytes_,                                                                                                               \
     .pack = pack_,                                                                                                                        \
     .atol = atol_,                                                                                                                        \
     .rtol = rtol_},
#include "backend/cpu/attention/kernels.inc"
#undef KERNEL
};

typedef struct Shape {
    int64_t b, h, sq, sk, d;
    uint32_t biases;
} Shape;

static void bench_full(const TnKernel *k, const Shape *s, const char *part, TnThreads *threads) {
    BenchCall b = {0};
    TnAttentionParams p = {
        .heads = (uint32_t)s->h, .kv_heads = (uint32_t)s->h, .d_qk = (uint32_t)s->d, .d_v = (uint32_t)s->d, .scale = 0.125f};
    char what[96];
    snprintf(what, sizeof what, "attention b%lld h%lld %lldx%lld d%lld biases %u", (long long)s->b, (long long)s->h, (long long)s->sq,
             (long long)s->sk, (long long)s->d, s->biases);
    if (strstr(what, part) == NULL)
        return;
    if (s->sq == s->sk) { /* a merged projection */
        b.in[0] = b.in[1] = b.in[2] = bench_tensor(&b, 3, (int64_t[]){s->b, s->sq, 3 * s->h * s->d});
        p.k_off = (uint32_t)(s->h * s->d);
        p.v_off = 2 * p.k_off;
    } else {
        b.in[0] = bench_tensor(&b, 3, (int64_t[]){s->b, s->sq, s->h * s->d});
        b.in[1] = bench_tensor(&b, 3, (int64_t[]){s->b, s->sk, s->h * s->d});
        b.in[2] = bench_tensor(&b, 3, (int64_t[]){s->b, s->sk, s->h * s->d});
    }
    if (s->biases > 0)
        b.in[3] = bench_tensor(&b, 4, (int64_t[]){s->b, s->h, s->sq, s->sk});
    if (s->biases > 1)
        b.in[4] = bench_tensor(&b, 4, (int64_t[]){s->b, 1, 1, s->sk});
    b.out[0] = bench_tensor(&b, 3, (int64_t[]){s->b, s->sq, s->h * s->d});
    if (bench_prepare(&b, k, &p, 5, 0, 1, threads))
        bench_report(&b, what, 4.0 * (double)(s->b * s->h * s->sq * s->sk * s->d), threads);
    bench_free(&b);
}

/* One token: rows x heads over `length` positions. The floor that matters is reading both caches. */
static void bench_step(const TnKernel *k, int64_t rows, int64_t h, int64_t d, int64_t length, const char *part, TnThreads *threads) {
    BenchCall b = {0};
    TnAttentionStepParams p = {.heads = (uint32_t)h, .d_head = (uint32_t)d, .scale = 0.25f};
    char what[96];
    snprintf(what, sizeof what, "step rows %lld h%lld d%lld length %lld", (long long)rows, (long long)h, (long long)d, (long long)length);
    if (strstr(what, part) == NULL)
        return;
    b.in[0] = bench_tensor(&b, 2, (int64_t[]){rows, h * d});
    b.in[1] = bench_tensor(&b, 3, (int64_t[]){rows, length, h * d});
    b.in[2] = bench_tensor(&b, 3, (int64_t[]){rows, length, h * d});
    b.in[3] = bench_tensor(&b, 2, (int64_t[]){rows, 1});
    b.in[4] = bench_tensor(&b, 1, (int64_t[]){1});
    b.in[3].dtype = b.in[4].dtype = TN_I32;
    for (int64_t r = 0; r < rows; r++)
        ((int32_t *)b.in[3].data)[r] = (int32_t)r;
    *(int32_t *)b.in[4].data = (int32_t)length;
    b.out[0] = bench_tensor(&b, 2, (int64_t[]){rows, h * d});
    if (bench_prepare(&b, k, &p, 5, 0, 1, threads))
        bench_report(&b, what, 4.0 * (double)(rows * h * d * length), threads);
    bench_free(&b);
}

int main(int argc, char **argv) {
    static const Shape shapes[] = {
        {1, 12, 709, 709, 64, 2}, {1, 12, 709, 709, 64, 1}, {1, 12, 709, 709, 64, 0}, {1, 6, 578, 578, 64, 0}, {1, 5, 196, 196, 64, 0},
        {1, 8, 49, 49, 64, 0},    {1, 12, 20, 20, 64, 1},   {1, 8, 100, 100, 128, 1}, {1, 8, 100, 20, 128, 1}, {4, 6, 130, 130, 32, 0},
    };
    uint32_t nt = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    const char *part = argc > 3 ? argv[3] : "";
    TnThreads *threads = NULL;
    if (tni_threads_create(tni_default_allocator(), nt, &threads, NULL) != TN_OK)
        return 1;
    for (size_t i = 0; i < TN_COUNT(kernels); i++) {
        const TnKernel *k = &kernels[i];
        if ((k->cpu & tni_cpu_flags()) != k->cpu || strstr(k->name, argc > 2 ? argv[2] : "") == NULL)
            continue;
        for (size_t s = 0; s < TN_COUNT(shapes) && k->op == TN_OP_attention; s++)
            bench_full(k, &shapes[s], part, threads);
        for (int64_t rows = 1; rows <= 4 && k->op == TN_OP_attention_step; rows += 3) {
            bench_step(k, rows, 8, 32, 20, part, threads);
            bench_step(k, rows, 8, 32, 578, part, threads);
        }
    }
    tni_threads_destroy(&threads);
    return 0;
}
