/* SPDX-License-Identifier: Apache-2.0
 *
 * Bitonic sort of rows of pairs: steps between neighbours less than CHUNK apart in shared memory, the others one launch each. In place, no
 * scratch, the same order on every run. */
#include "backend/cuda/detect/sort.h"

namespace {
constexpr int CHUNK = 2048, THREADS = 1024;

__device__ bool after(uint64_t ka, uint32_t ia, uint64_t kb, uint32_t ib) {
    return ka > kb || (ka == kb && ia > ib);
}

/* One comparison of places a < b, ascending or descending. */
__device__ void exchange(uint64_t *key, uint32_t *idx, int64_t a, int64_t b, bool ascending) {
    const uint64_t ka = key[a], kb = key[b];
    const uint32_t ia = idx[a], ib = idx[b];
    if (after(ka, ia, kb, ib) == ascending) {
        key[a] = kb;
        key[b] = ka;
        idx[a] = ib;
        idx[b] = ia;
    }
}

/* A chunk of a row in shared memory: all steps of the sizes from `low` to `high`, each beginning at the distance min(size, chunk) / 2. */
__global__ void __launch_bounds__(THREADS) chunk_kernel(uint64_t *key, uint32_t *idx, int64_t n, int chunk, int64_t low, int64_t high) {
    __shared__ uint64_t k[CHUNK];
    __shared__ uint32_t x[CHUNK];
    const int64_t base = (int64_t)blockIdx.x * chunk, first = base % n; /* chunk divides n: a chunk is of one row */
    for (int i = (int)threadIdx.x; i < chunk; i += (int)blockDim.x) {
        k[i] = key[base + i];
        x[i] = idx[base + i];
    }
    __syncthreads();
    for (int64_t size = low; size <= high; size *= 2) {
        for (int step = (int)(size < chunk ? size : chunk) / 2; step > 0; step /= 2) {
            for (int t = (int)threadIdx.x; t < chunk / 2; t += (int)blockDim.x) {
                const int a = t / step * step * 2 + t % step;
                exchange(k, x, a, a + step, ((first + a) & size) == 0);
            }
            __syncthreads();
        }
    }
    for (int i = (int)threadIdx.x; i < chunk; i += (int)blockDim.x) {
        key[base + i] = k[i];
        idx[base + i] = x[i];
    }
}

__global__ void __launch_bounds__(256) step_kernel(uint64_t *key, uint32_t *idx, int64_t n, int64_t size, int64_t step, int64_t pairs) {
    const int64_t t = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (t >= pairs)
        return;
    const int64_t a = t / step * step * 2 + t % step; /* 2 * step divides n: a pair is of one row */
    exchange(key, idx, a, a + step, (a % n & size) == 0);
}
} // namespace

int64_t tni_cuda_sort_size(int64_t n) {
    int64_t p = 2;
    while (p < n)
        p *= 2;
    return p;
}

void tni_cuda_sort(cudaStream_t s, uint64_t *key, uint32_t *idx, int64_t n, int64_t rows) {
    const int chunk = (int)(n < CHUNK ? n : CHUNK);
    const int threads = chunk / 2 < 32 ? 32 : chunk / 2;
    const int64_t total = n * rows, pairs = total / 2;
    const unsigned chunks = (unsigned)(total / chunk);
    if (rows <= 0)
        return;
    chunk_kernel<<<chunks, threads, 0, s>>>(key, idx, n, chunk, 2, chunk);
    for (int64_t size = 2 * CHUNK; size <= n; size *= 2) {
        for (int64_t step = size / 2; step >= CHUNK; step /= 2)
            step_kernel<<<(unsigned)tni_div_up(pairs, 256), 256, 0, s>>>(key, idx, n, size, step, pairs);
        chunk_kernel<<<chunks, threads, 0, s>>>(key, idx, n, chunk, size, size);
    }
}
