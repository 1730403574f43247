/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of gemm kernels against the floor, 2 M N K / peak. Usage: bench_gemm [threads [kernel-name-part [M N K [act [copies]]]]]
 * Each line: shape, kernel, best time, GFLOP/s, and the 90th percentile of the rate against the peak of the moment. */
#include "backend/cpu/gemm/kernels.h"
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
#include "backend/cpu/gemm/kernels.inc"
#undef KERNEL
};

/* A call whose packed weights rotate through copies, as the layers of a model do: `copies` of them do not fit in the caches together. */
typedef struct Job {
    BenchCall b;
    const void *copy[64];
    int copies, next;
} Job;

static void run_job(void *ctx) {
    Job *j = ctx;
    j->b.packed[1] = j->copy[j->next];
    j->next = (j->next + 1) % j->copies;
    bench_call(&j->b);
}

static void bench(const TnKernel *k, TnThreads *threads, int64_t m, int64_t n, int64_t kk, uint32_t act, int copies) {
    TnGemmParams g = {.alpha = 1, .beta = 1, .act = act};
    Job j = {.copies = copies};
    j.b.in[0] = bench_tensor(&j.b, 2, (int64_t[]){m, kk});
    j.b.in[1] = bench_tensor(&j.b, 2, (int64_t[]){kk, n});
    j.b.in[2] = bench_tensor(&j.b, 1, &n);
    j.b.out[0] = bench_tensor(&j.b, 2, (int64_t[]){m, n});
    if (!bench_prepare(&j.b, k, &g, 3, 2, 1, threads))
        return;
    TnKernelQuery q = {.op = k->op, .params = &g, .in = j.b.in, .n_in = 3, .out = j.b.out, .n_out = 1, .threads = 1};
    size_t bytes = k->packed_bytes(&q, 1);
    j.copy[0] = j.b.packed[1];
    for (int i = 1; i < copies; i++) {
        void *p = bench_alloc(&j.b, bytes);
        memcpy(p, j.copy[0], bytes);
        j.copy[i] = p;
    }
    double flops = 2.0 * (double)m * (double)n * (double)kk;
    uint32_t nt = tni_threads_count(threads);
    BenchTime r = bench_time(run_job, &j, flops, nt, k->cpu);
    printf("%5lld %5lld %5lld act %u copies %d  %-24s t=%u  %9.1f us  %6.1f GFLOP/s  p90 %5.1f%% of peak (%.1f)\n", (long long)m,
           (long long)n, (long long)kk, act, copies, k->name, nt, r.best_us, flops / r.best_us * 1e-3, 100 * r.peak_fraction, r.peak);
    fflush(stdout);
    bench_free(&j.b);
}

int main(int argc, char **argv) {
    static const int64_t shapes[][3] = {
        {709, 2304, 768},  {709, 768, 768},  {709, 3072, 768}, {709, 768, 3072}, /* LayoutLMv3-base */
        {100, 1024, 1024}, {20, 3072, 768},  {20, 768, 3072},                    /* ViLBERT */
        {578, 1152, 384},  {578, 1536, 384}, {578, 384, 1536},                   /* TrOCR-small encoder */
        {130, 576, 192},   {130, 768, 192},  {130, 192, 768},                    /* the default OCR model's encoder */
        {1, 768, 256},     {1, 4900, 256},   {4, 768, 256},    {4, 4900, 256},   /* its decoder */
        {3136, 64, 64},    {3136, 256, 64},  {784, 512, 128},  {196, 1280, 320}, {196, 320, 1280}, {49, 2048, 512}, /* UniFormer-S */
    };
    uint32_t nt = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    const char *part = argc > 2 ? argv[2] : "";
    TnThreads *threads = NULL;
    if (tni_threads_create(tni_default_allocator(), nt, &threads, NULL) != TN_OK)
        return 1;
    for (size_t i = 0; i < TN_COUNT(kernels); i++) {
        const TnKernel *k = &kernels[i];
        if (k->op != TN_OP_gemm || (k->cpu & tni_cpu_flags()) != k->cpu || strstr(k->name, part) == NULL)
            continue;
        if (argc > 5) {
            bench(k, threads, atoll(argv[3]), atoll(argv[4]), atoll(argv[5]), argc > 6 ? (uint32_t)atoi(argv[6]) : 0,
                  argc > 7 ? TN_MIN(TN_MAX(atoi(argv[7]), 1), 64) : 1);
            continue;
        }
        for (size_t s = 0; s < TN_COUNT(shapes); s++)
            bench(k, threads, shapes[s][0], shapes[s][1], shapes[s][2], TN_ACT_NONE, 1);
    }
    tni_threads_destroy(&threads);
    return 0;
}
