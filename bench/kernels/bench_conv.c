/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of conv kernels on the shapes of UniFormer-S and the patch embeddings, in both layouts. Usage: bench_conv [threads [kernel-part
 * [shape-part]]] */
#include "backend/cpu/conv/conv.h"
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
#include "backend/cpu/conv/kernels.inc"
#undef KERNEL
};

typedef struct Shape {
    int64_t b, c, h, w, m, g;
    int32_t k, s, p;
} Shape;

static void bench(const TnKernel *k, const Shape *s, bool last, const char *part, TnThreads *threads) {
    BenchCall b = {0};
    TnConvParams p = {.n_spatial = 2,
                      .group = (uint32_t)s->g,
                      .kernel = {s->k, s->k},
                      .stride = {s->s, s->s},
                      .dilation = {1, 1},
                      .pads = {s->p, s->p, s->p, s->p},
                      .channels_last = last};
    int64_t oh = (s->h + 2 * s->p - s->k) / s->s + 1, ow = (s->w + 2 * s->p - s->k) / s->s + 1;
    char what[96];
    snprintf(what, sizeof what, "b%lld c%lld %lldx%lld m%lld g%lld k%d s%d %s", (long long)s->b, (long long)s->c, (long long)s->h,
             (long long)s->w, (long long)s->m, (long long)s->g, s->k, s->s, last ? "last" : "nchw");
    if (strstr(what, part) == NULL || (s->g > 1) != (strstr(k->name, "_dw_") != NULL))
        return;
    b.in[0] = last ? bench_tensor(&b, 4, (int64_t[]){s->b, s->h, s->w, s->c}) : bench_tensor(&b, 4, (int64_t[]){s->b, s->c, s->h, s->w});
    b.in[1] = bench_tensor(&b, 4, (int64_t[]){s->m, s->c / s->g, s->k, s->k});
    b.in[2] = bench_tensor(&b, 1, &s->m);
    b.out[0] = last ? bench_tensor(&b, 4, (int64_t[]){s->b, oh, ow, s->m}) : bench_tensor(&b, 4, (int64_t[]){s->b, s->m, oh, ow});
    double flops = 2.0 * (double)(s->b * s->m * oh * ow * (s->c / s->g)) * s->k * s->k;
    if (bench_prepare(&b, k, &p, 3, 6, 1, threads))
        bench_report(&b, what, flops, threads);
    bench_free(&b);
}

int main(int argc, char **argv) {
    static const Shape shapes[] = {
        {1, 3, 224, 224, 64, 1, 4, 4, 0},    {1, 64, 56, 56, 128, 1, 2, 2, 0},
        {1, 128, 28, 28, 320, 1, 2, 2, 0},   {1, 320, 14, 14, 512, 1, 2, 2, 0},
        {1, 3, 224, 224, 768, 1, 16, 16, 0}, {1, 3, 384, 384, 384, 1, 16, 16, 0}, /* patch embeddings: LayoutLMv3, TrOCR */
        {1, 64, 56, 56, 64, 1, 1, 1, 0},     {1, 64, 56, 56, 256, 1, 1, 1, 0},
        {1, 256, 56, 56, 64, 1, 1, 1, 0},    {1, 128, 28, 28, 512, 1, 1, 1, 0},
        {1, 64, 56, 56, 64, 64, 3, 1, 1},    {1, 64, 56, 56, 64, 64, 5, 1, 2},
        {1, 128, 28, 28, 128, 128, 3, 1, 1}, {1, 128, 28, 28, 128, 128, 5, 1, 2},
        {1, 320, 14, 14, 320, 320, 3, 1, 1}, {1, 512, 7, 7, 512, 512, 3, 1, 1},
        {1, 64, 56, 56, 64, 1, 3, 1, 1},     {1, 256, 28, 28, 256, 1, 3, 1, 1},
    };
    uint32_t nt = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    TnThreads *threads = NULL;
    if (tni_threads_create(tni_default_allocator(), nt, &threads, NULL) != TN_OK)
        return 1;
    for (size_t i = 0; i < TN_COUNT(kernels); i++)
        if ((kernels[i].cpu & tni_cpu_flags()) == kernels[i].cpu && strstr(kernels[i].name, argc > 2 ? argv[2] : "") != NULL)
            for (size_t s = 0; s < TN_COUNT(shapes); s++)
                for (int last = 1; last >= 0; last--)
                    bench(&kernels[i], &shapes[s], last != 0, argc > 3 ? argv[3] : "", threads);
    tni_threads_destroy(&threads);
    return 0;
}
