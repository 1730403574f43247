/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions over windows that do not overlap (patches.h): windows copied into rows, and products with few terms. */
#include "backend/cuda/conv/patches.h"
#include "backend/cuda/gemm/mma.cuh"

/* ---- windows into rows ---- */

#define COPY_THREADS 256
#define COPY_EACH 4 /* pieces of a thread under way */

/* Pieces in the order of x: neighbours read one line, and write runs. */
template <typename V> __global__ void __launch_bounds__(COPY_THREADS) conv_patch_copy(const __grid_constant__ TniPatchCopy p) {
    tni_start();
    const V *from = (const V *)p.x;
    V *to = (V *)p.rows;
    const uint32_t first = blockIdx.x * (COPY_THREADS * COPY_EACH) + threadIdx.x;
    V v[COPY_EACH];
    uint32_t at[COPY_EACH];
#pragma unroll
    for (int i = 0; i < COPY_EACH; i++) {
        const uint32_t piece = first + i * COPY_THREADS;
        if (piece >= p.pieces)
            break;
        uint32_t line, q, ow, j, out, kh, b, in;
        tni_divmod(piece, p.d_covered, &line, &q);
        tni_divmod(q, p.d_run, &ow, &j);
        tni_divmod(line, p.d_kh, &out, &kh);
        tni_divmod(line, p.d_used, &b, &in);
        at[i] = ((out * p.ow + ow) * p.kh + kh) * p.d_run.d + j;
        v[i] = from[(int64_t)(b * p.picture + in) * p.line + q];
    }
#pragma unroll
    for (int i = 0; i < COPY_EACH; i++)
        if (first + i * COPY_THREADS < p.pieces)
            to[at[i]] = v[i];
}

extern "C" TnStatus tni_conv_patch_copy(TnKernelCall *call, const TniPatchCopy *p) {
    const unsigned blocks = (unsigned)tni_div_up(p->pieces, COPY_THREADS * COPY_EACH);
    if (p->size == 16)
        (void)tni_launch_early(call->stream, conv_patch_copy<uint4>, blocks, COPY_THREADS, 0, *p);
    else
        (void)tni_launch_early(call->stream, conv_patch_copy<uint2>, blocks, COPY_THREADS, 0, *p);
    return tni_cuda_launched(call, "conv (windows into rows)");
}

/* ---- products with few terms ----
 *
 * A warp keeps its 64 columns of w in registers and walks over tiles of 16 rows, which it loads from x as the multiplication wants them: no
 * shared memory, no barriers. The order of K and of columns is ours to choose:
 *   thread t of the four that share a row has the terms t * 4 KS ..., in pieces of 4 elements that lie beside each other in x;
 *   column 2 t + e of small tile j stands for column 32 (j / 4) + 8 t + 2 (j % 4) + e, so that a thread ends with 8 columns in a row. */
#define SHORT_THREADS 128
#define SHORT_BLOCKS 3 /* on an SM */

template <int KS> struct ShortRows {
    uint2 at[2][KS]; /* rows g and g + 8 */
};

template <typename T, int KS>
TNI_DEVICE void short_load(const TniPatchShort &p, int32_t tile, const int32_t (&offset)[KS], ShortRows<KS> *r) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int32_t row = tile * 16 + h * 8 + (int32_t)((threadIdx.x & 31) >> 2);
        uint32_t line, ow, b, oh;
        tni_divmod((uint32_t)row, p.d_ow, &line, &ow);
        tni_divmod(line, p.d_oh, &b, &oh);
        const T *from = (const T *)p.x + ((int64_t)b * p.picture + (int64_t)oh * p.down + (int64_t)ow * p.run);
#pragma unroll
        for (int s = 0; s < KS; s++)
            r->at[h][s] = row < p.rows && offset[s] >= 0 ? *reinterpret_cast<const uint2 *>(from + offset[s]) : make_uint2(0, 0);
    }
}

template <typename T> TNI_DEVICE void short_finish(const TniPatchShort &p, int32_t row, int32_t col, float (&v)[16]) {
    tni_act_of<T>(p.epi.act, v);
    if (row >= p.rows)
        return;
    T *y = (T *)p.y + (int64_t)row * p.m + col;
    if (p.epi.residual != NULL) {
        const T *from = (const T *)p.epi.residual + (int64_t)row * p.m + col;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (col + 32 * h < p.m) {
                float res[8];
                tni_load(res, from + 32 * h);
#pragma unroll
                for (int i = 0; i < 8; i++)
                    v[8 * h + i] += res[i];
            }
        }
    }
    uint32_t u[2][4];
    tni_narrow_all<T>(u, v);
#pragma unroll
    for (int h = 0; h < 2; h++)
        if (col + 32 * h < p.m)
            tni_store16(y + 32 * h, make_uint4(u[h][0], u[h][1], u[h][2], u[h][3]));
}

template <typename T, int KS>
__global__ void __launch_bounds__(SHORT_THREADS, SHORT_BLOCKS) conv_patch_short(const __grid_constant__ TniPatchShort p) {
    const int lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3, col0 = (int)blockIdx.y * 64;
    const int32_t tiles = (p.rows + 15) / 16, step = (int32_t)gridDim.x * (SHORT_THREADS / 32);
    int32_t tile = (int32_t)blockIdx.x * (SHORT_THREADS / 32) + ((int32_t)threadIdx.x >> 5);
    int32_t offset[KS]; /* of the pieces of this thread in a window */
    uint2 w[KS][8];
#pragma unroll
    for (int s = 0; s < KS; s++) {
        const int32_t k = (t * KS + s) * 4;
        uint32_t kh, in;
        tni_divmod((uint32_t)k, p.d_run, &kh, &in);
        offset[s] = k < p.k ? (int32_t)(kh * p.line + in) : -1;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int32_t col = col0 + 32 * (j >> 2) + 8 * (g >> 1) + 2 * (j & 3) + (g & 1);
            const T *from = (const T *)p.w + (int64_t)col * p.ldw + k;
            w[s][j] = k < p.ldw && col < p.m ? __ldg(reinterpret_cast<const uint2 *>(from)) : make_uint2(0, 0);
        }
    }
    tni_start();
    float bias[16];
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const int32_t col = col0 + 32 * (i >> 3) + 8 * t + (i & 7);
        bias[i] = p.epi.bias != NULL && col < p.m ? tni_f32(((const T *)p.epi.bias)[col]) : 0.0f;
    }
    ShortRows<KS> rows, next;
    if (tile < tiles)
        short_load<T, KS>(p, tile, offset, &rows);
    for (; tile < tiles; tile += step) {
        if (tile + step < tiles)
            short_load<T, KS>(p, tile + step, offset, &next);
        float acc[8][4] = {};
#pragma unroll
        for (int s = 0; s < KS; s++) {
            const uint32_t a[4] = {rows.at[0][s].x, rows.at[1][s].x, rows.at[0][s].y, rows.at[1][s].y};
#pragma unroll
            for (int j = 0; j < 8; j++)
                TniMmaOp<T>::go(acc[j], a, w[s][j].x, w[s][j].y);
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float v[16];
#pragma unroll
            for (int i = 0; i < 16; i++)
                v[i] = acc[i >> 1][2 * h + (i & 1)] + bias[i];
            short_finish<T>(p, tile * 16 + 8 * h + g, col0 + 8 * t, v);
        }
        rows = next;
    }
}

template <typename T> static TnStatus short_run(TnKernelCall *call, const TniPatchShort *p) {
    const int64_t sms = call->stream->dev->info.sm_count;
    const dim3 grid((unsigned)TN_MIN(tni_div_up(p->rows, 16 * (SHORT_THREADS / 32)), sms * SHORT_BLOCKS), (unsigned)tni_div_up(p->m, 64));
    void (*const kernels[])(const TniPatchShort) = {conv_patch_short<T, 1>, conv_patch_short<T, 2>, conv_patch_short<T, 3>,
                                                    conv_patch_short<T, 4>};
    (void)tni_launch_early(call->stream, kernels[(p->k + 15) / 16 - 1], grid, SHORT_THREADS, 0, *p);
    return tni_cuda_launched(call, "conv (few terms)");
}

extern "C" TnStatus tni_conv_patch_short(TnKernelCall *call, TnDtype type, const TniPatchShort *p) {
    return type == TN_F16 ? short_run<__half>(call, p) : short_run<__nv_bfloat16>(call, p);
}
