/* SPDX-License-Identifier: Apache-2.0
 *
 * cast_transpose: f32 planes become the channels of f16 or bf16 pictures, x [B, C, plane] -> y [B, plane, C] with at most 4 channels, in
 * one pass over memory.
 *
 * A block takes TILE places of a picture: 4 places of every plane a thread and step, which it narrows, turns in registers and puts into
 * shared memory as they lie in y; from there whole 16-byte pieces go out. Where planes are no whole pieces or memory is not aligned,
 * element by element; so are more channels, where a plan made for few meets them. Finite values beyond the range of y become its largest. */
#include "backend/cuda/move/move.h"

#define CONVERT_BLOCK 256
#define CONVERT_STEPS 2 /* 4 places each; even */
#define TILE (CONVERT_BLOCK * CONVERT_STEPS * 4)
#define MOST_CHANNELS 4

/* plane: a multiple of 8. */
template <typename T, int C>
__global__ void __launch_bounds__(CONVERT_BLOCK)
    convert_tiles(const float *__restrict__ x, T *__restrict__ y, int64_t plane, uint32_t tiles) {
    __shared__ __align__(16) TniVec<T, 4> tile[TILE / 4 * C];
    const int64_t picture = blockIdx.x / tiles, first = (int64_t)(blockIdx.x % tiles) * TILE;
    const int n = (int)(plane - first < TILE ? plane - first : TILE);
    const float *from = x + picture * C * plane + first;
    uint4 *to = reinterpret_cast<uint4 *>(y + (picture * plane + first) * C);
    float4 v[CONVERT_STEPS][C];
    tni_start();
#pragma unroll
    for (int s = 0; s < CONVERT_STEPS; s++) {
        const int at = ((int)threadIdx.x + s * CONVERT_BLOCK) * 4;
#pragma unroll
        for (int c = 0; c < C; c++)
            v[s][c] = at < n ? __ldcs(reinterpret_cast<const float4 *>(from + c * plane + at)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
#pragma unroll
    for (int s = 0; s < CONVERT_STEPS; s++) {
        T turned[4 * C];
#pragma unroll
        for (int c = 0; c < C; c++) {
            turned[c] = tni_from_f32<T>(v[s][c].x);
            turned[C + c] = tni_from_f32<T>(v[s][c].y);
            turned[2 * C + c] = tni_from_f32<T>(v[s][c].z);
            turned[3 * C + c] = tni_from_f32<T>(v[s][c].w);
        }
#pragma unroll
        for (int c = 0; c < C; c++) {
            TniVec<T, 4> piece;
#pragma unroll
            for (int i = 0; i < 4; i++)
                piece.v[i] = turned[4 * c + i];
            tile[((int)threadIdx.x + s * CONVERT_BLOCK) * C + c] = piece;
        }
    }
    __syncthreads();
#pragma unroll
    for (int s = 0; s < CONVERT_STEPS * C / 2; s++) {
        const int i = (int)threadIdx.x + s * CONVERT_BLOCK;
        if (i < n / 8 * C)
            to[i] = reinterpret_cast<const uint4 *>(tile)[i];
    }
}

template <typename T>
__global__ void __launch_bounds__(CONVERT_BLOCK)
    convert_elements(const float *__restrict__ x, T *__restrict__ y, int64_t plane, int32_t channels, int64_t n) {
    tni_start();
    for (int64_t i = tni_thread(); i < n; i += tni_threads()) {
        const int64_t place = i / channels, c = i % channels, picture = place / plane;
        y[i] = tni_from_f32<T>(x[(picture * channels + c) * plane + place % plane]);
    }
}

/* One axis becomes the last. */
static bool form_of(const TnCastTransposeParams *p, const TnTensor *x, const TnTensor *y, int64_t *plane, int64_t *channels) {
    const int32_t rank = x->rank;
    int32_t axis = 0;
    if (x->dtype != TN_F32 || (y->dtype != TN_F16 && y->dtype != TN_BF16) || p->to != (uint32_t)y->dtype || rank < 2 ||
        (int32_t)p->n != rank || y->rank != rank)
        return false;
    while (axis < rank - 1 && p->perm[axis] == axis)
        axis++;
    for (int32_t d = axis; d < rank - 1; d++)
        if (p->perm[d] != d + 1)
            return false;
    if (p->perm[rank - 1] != axis || x->dims[axis] > INT32_MAX)
        return false;
    *channels = x->dims[axis];
    *plane = tni_numel_range(x, axis + 1, rank);
    return true;
}

extern "C" bool tni_cuda_cast_transpose_supports(const TnKernelQuery *q) {
    int64_t plane, channels;
    return form_of((const TnCastTransposeParams *)q->params, &q->in[0], &q->out[0], &plane, &channels) && channels <= MOST_CHANNELS;
}

template <typename T> static void convert(const TnKernelCall *call, int64_t plane, int64_t channels, int64_t n) {
    const float *x = (const float *)call->in[0].data;
    T *y = (T *)call->out[0].data;
    const int64_t tiles = tni_div_up(plane, TILE), blocks = tiles * (n / (plane * channels));
    void (*const kernels[])(const float *, T *, int64_t, uint32_t) = {convert_tiles<T, 1>, convert_tiles<T, 2>, convert_tiles<T, 3>,
                                                                      convert_tiles<T, 4>};
    if (channels <= MOST_CHANNELS && plane % 8 == 0 && blocks <= INT32_MAX && tni_is_aligned(x, 16) && tni_is_aligned(y, 16))
        (void)tni_launch_early(call->stream, kernels[channels - 1], (unsigned)blocks, CONVERT_BLOCK, 0, x, y, plane, (uint32_t)tiles);
    else
        (void)tni_launch_early(call->stream, convert_elements<T>, tni_grid(call, n, CONVERT_BLOCK * 4, 16), CONVERT_BLOCK, 0, x, y, plane,
                               (int32_t)channels, n);
}

extern "C" TnStatus tni_cuda_cast_transpose(TnKernelCall *call) {
    int64_t plane, channels;
    const int64_t n = tn_tensor_numel(&call->out[0]);
    if (!form_of((const TnCastTransposeParams *)call->params, &call->in[0], &call->out[0], &plane, &channels))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "cast_transpose: operands that the kernel does not take");
    if (n == 0)
        return TN_OK;
    if (call->out[0].dtype == TN_F16)
        convert<__half>(call, plane, channels, n);
    else
        convert<__nv_bfloat16>(call, plane, channels, n);
    return tni_cuda_launched(call, "cast_transpose");
}
