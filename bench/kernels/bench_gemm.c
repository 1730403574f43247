/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of gemm kernels against the floor, 2 M N K / peak. Usage: bench_gemm [threads [kernel-name-part [M N K [act]]]]
 * Each line: shape, kernel, best time, GFLOP/s, and the 90th percentile of the rate against the peak of the moment. */
#include <stdio.h>
#include <stdlib.h>

#include "backend/cpu/gemm/kernels.h"
#include "peak.h"

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

static float *random_floats(int64_t n) {
    float *p = aligned_alloc(64, tni_align_up((size_t)n * 4, 64));
    for (int64_t i = 0; p != NULL && i < n; i++)
        p[i] = (float)(i * 2654435761u % 2000u) * 1e-3f - 1.0f;
    return p;
}

typedef struct Job {
    const TnKernel *k;
    TnKernelCall *call;
} Job;

static void run_job(void *ctx) {
    Job *j = ctx;
    j->k->run(j->call);
}

static void bench(const TnKernel *k, TnThreads *threads, int64_t m, int64_t n, int64_t kk, uint32_t act) {
    TnGemmParams g = {.alpha = 1, .beta = 1, .act = act};
    TnTensor in[3] = {{.dtype = TN_F32, .rank = 2, .dims = {m, kk}},
                      {.dtype = TN_F32, .rank = 2, .dims = {kk, n}},
                      {.dtype = TN_F32, .rank = 1, .dims = {n}}};
    TnTensor out = {.dtype = TN_F32, .rank = 2, .dims = {m, n}};
    for (int i = 0; i < 3; i++)
        in[i].data = random_floats(tn_tensor_numel(&in[i]));
    out.data = random_floats(m * n);
    uint32_t nt = tni_threads_count(threads);
    TnKernelQuery q = {.op = k->op, .params = &g, .in = in, .n_in = 3, .out = &out, .n_out = 1, .threads = nt};
    void *pack = aligned_alloc(64, tni_align_up(k->packed_bytes(&q, 1), 64)),
         *scratch = aligned_alloc(64, tni_align_up(k->scratch(&q), 64) + 64);
    if (pack == NULL || scratch == NULL || in[0].data == NULL || in[1].data == NULL || in[2].data == NULL || out.data == NULL)
        exit(1);
    k->pack(&q, 1, pack);
    const void *packed[3] = {NULL, pack, NULL};
    TnKernelCall call = {.params = &g,
                         .in = in,
                         .n_in = 3,
                         .out = &out,
                         .n_out = 1,
                         .packed = packed,
                         .scratch = scratch,
                         .scratch_bytes = k->scratch(&q),
                         .threads = threads};
    Job job = {k, &call};
    double flops = 2.0 * (double)m * (double)n * (double)kk;
    BenchTime r = bench_time(run_job, &job, flops, nt, k->cpu);
    printf("%5lld %5lld %5lld act %u  %-24s t=%u  %9.1f us  %6.1f GFLOP/s  p90 %5.1f%% of peak (%.1f)\n", (long long)m, (long long)n,
           (long long)kk, act, k->name, nt, r.best_us, flops / r.best_us * 1e-3, 100 * r.peak_fraction, r.peak);
    fflush(stdout);
    for (int i = 0; i < 3; i++)
        free(in[i].data);
    free(out.data);
    free(pack);
    free(scratch);
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
            bench(k, threads, atoll(argv[3]), atoll(argv[4]), atoll(argv[5]), argc > 6 ? (uint32_t)atoi(argv[6]) : 0);
            continue;
        }
        for (size_t s = 0; s < TN_COUNT(shapes); s++)
            bench(k, threads, shapes[s][0], shapes[s][1], shapes[s][2], TN_ACT_NONE);
    }
    tni_threads_destroy(&threads);
    return 0;
}
