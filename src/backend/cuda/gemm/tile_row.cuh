/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a product's tile of 64 columns of a 16-bit type that lies in shared memory as the copy engine writes it (rows of 128 bytes, their
 * 16-byte chunks swizzled by the row): residual added, result narrowed and stored in place, 32 columns of 16 rows by a warp. */
#ifndef TENON_BACKEND_CUDA_GEMM_TILE_ROW_CUH
#define TENON_BACKEND_CUDA_GEMM_TILE_ROW_CUH

#include "backend/cuda/gemm/epilogue.cuh"
#include "backend/cuda/gemm/hopper.cuh"

/* v: the thread's 16 values of columns [32 part, 32 part + 32), as wgmma leaves them. r: row of the tile whose chunks this thread addresses
 * (16 consecutive rows a warp, both halves of the warp the same), buf: the tile. residual: the tile holds what is to be added. */
template <typename T> TNI_DEVICE void tni_tile_row_end(uint32_t buf, uint32_t r, uint32_t part, bool residual, float (&v)[16]) {
    const uint32_t half = (threadIdx.x & 31) >> 4, line = buf + r * 128;
    if (residual) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            uint32_t u[4];
            tni_ldmatrix4(u, line + (((4 * part + 2 * j + half) ^ (r & 7)) << 4));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float2 x = TniNarrow<T>::unpack(u[i]);
                v[8 * j + 2 * i] += x.x;
                v[8 * j + 2 * i + 1] += x.y;
            }
        }
    }
    uint32_t u[2][4];
    tni_narrow_all<T>(u, v);
#pragma unroll
    for (int j = 0; j < 2; j++)
        tni_stmatrix4(line + (((4 * part + 2 * j + half) ^ (r & 7)) << 4), u[j]);
}

#endif
