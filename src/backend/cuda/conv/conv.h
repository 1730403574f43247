/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the conv family that its rows name. */
#ifndef TENON_BACKEND_CUDA_CONV_H
#define TENON_BACKEND_CUDA_CONV_H

#include "backend/cuda/conv/shape.h"
#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- packings (shape.c) ---- */
size_t tni_cuda_conv_rows_bytes(const TnKernelQuery *q, uint32_t i); /* ct, tc */
void tni_cuda_conv_pack_ct(const TnKernelQuery *q, uint32_t i, void *dst);
void tni_cuda_conv_pack_tc(const TnKernelQuery *q, uint32_t i, void *dst);
size_t tni_cuda_conv_dw_bytes(const TnKernelQuery *q, uint32_t i);
void tni_cuda_conv_pack_dw(const TnKernelQuery *q, uint32_t i, void *dst);

/* ---- depthwise, channels last (dw.cu) ---- */
TnStatus tni_cuda_conv_dw_run(TnKernelCall *call);
bool tni_cuda_conv_dw_f16(const TnKernelQuery *q);
bool tni_cuda_conv_dw_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_dw_f32(const TnKernelQuery *q);
double tni_cuda_conv_dw_cost(const TnKernelQuery *q);

/* ---- as matrix products whose rows are found on the fly (implicit_*.cu): tc: channels last, whole pieces of channels; patch: channels
 * first, pieces along a row of the kernel; strip: channels last, pieces along a row of the kernel; any: element by element. f32: tf32 products in _tf32, else exact ---- */
TnStatus tni_cuda_conv_tc_run(TnKernelCall *call);
TnStatus tni_cuda_conv_tc_run_tf32(TnKernelCall *call);
TnStatus tni_cuda_conv_patch_run(TnKernelCall *call);
TnStatus tni_cuda_conv_patch_run_tf32(TnKernelCall *call);
TnStatus tni_cuda_conv_strip_run(TnKernelCall *call);
TnStatus tni_cuda_conv_strip_run_tf32(TnKernelCall *call);
TnStatus tni_cuda_conv_any_run(TnKernelCall *call);
TnStatus tni_cuda_conv_any_run_tf32(TnKernelCall *call);
bool tni_cuda_conv_tc_f16(const TnKernelQuery *q);
bool tni_cuda_conv_tc_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_tc_f32(const TnKernelQuery *q);
bool tni_cuda_conv_patch_f16(const TnKernelQuery *q);
bool tni_cuda_conv_patch_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_patch_f32(const TnKernelQuery *q);
bool tni_cuda_conv_strip_f16(const TnKernelQuery *q);
bool tni_cuda_conv_strip_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_strip_f32(const TnKernelQuery *q);
bool tni_cuda_conv_any_f16(const TnKernelQuery *q);
bool tni_cuda_conv_any_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_any_f32(const TnKernelQuery *q);
double tni_cuda_conv_tc_cost(const TnKernelQuery *q);
double tni_cuda_conv_tc_cost_tf32(const TnKernelQuery *q);
double tni_cuda_conv_strip_cost(const TnKernelQuery *q); /* strip, patch */
double tni_cuda_conv_strip_cost_tf32(const TnKernelQuery *q);
double tni_cuda_conv_any_cost(const TnKernelQuery *q);
double tni_cuda_conv_any_cost_tf32(const TnKernelQuery *q);

/* ---- windows that do not overlap, channels last (patches.c): rows: copied into rows, then a kernel of gemm, by its name; short: few
 * terms ---- */
#define TNI_CONV_ROWS_STREAMS(X) X(c128x256) X(c128x192) X(c128x128) X(p128x192) X(p128x128) X(p64x192) X(p64x128)
#define TNI_CONV_ROWS_SPLITS(X) X(s128x128) X(s64x128_k2) X(s64x64) X(s64x64_k2) X(s64x64_k4) X(s64x32) X(s64x32_k2) X(s64x32_k4)
#define TNI_CONV_ROWS_LTS(X) X(lt0) X(lt0_tf32) X(lt1) X(lt1_tf32)
#define TNI_CONV_ROWS_DECLARE(name)                              \
    TnStatus tni_cuda_conv_rows_run_##name(TnKernelCall *call);  \
    double tni_cuda_conv_rows_cost_##name(const TnKernelQuery *q);
TNI_CONV_ROWS_STREAMS(TNI_CONV_ROWS_DECLARE)
TNI_CONV_ROWS_SPLITS(TNI_CONV_ROWS_DECLARE)
TNI_CONV_ROWS_LTS(TNI_CONV_ROWS_DECLARE)
bool tni_cuda_conv_rows_wg_f16(const TnKernelQuery *q); /* streamed */
bool tni_cuda_conv_rows_wg_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_rows_wg_tf32(const TnKernelQuery *q);
bool tni_cuda_conv_rows_wgs_f16(const TnKernelQuery *q); /* split */
bool tni_cuda_conv_rows_wgs_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_rows_wgs_tf32(const TnKernelQuery *q);
bool tni_cuda_conv_rows_lt_f16(const TnKernelQuery *q); /* cuBLASLt */
bool tni_cuda_conv_rows_lt_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_rows_lt_f32(const TnKernelQuery *q);
size_t tni_cuda_conv_rows_scratch(const TnKernelQuery *q);
size_t tni_cuda_conv_rows_lt_scratch(const TnKernelQuery *q);
TnStatus tni_cuda_conv_short_run(TnKernelCall *call);
bool tni_cuda_conv_short_f16(const TnKernelQuery *q);
bool tni_cuda_conv_short_bf16(const TnKernelQuery *q);
double tni_cuda_conv_short_cost(const TnKernelQuery *q);

/* ---- one thread an output: conv and conv_transpose of 1 to 3 spatial dims (plain.cu) ---- */
TnStatus tni_cuda_conv_plain_run(TnKernelCall *call);
TnStatus tni_cuda_conv_transpose_run(TnKernelCall *call);
bool tni_cuda_conv_plain_f16(const TnKernelQuery *q);
bool tni_cuda_conv_plain_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_plain_f32(const TnKernelQuery *q);
bool tni_cuda_conv_transpose_f16(const TnKernelQuery *q);
bool tni_cuda_conv_transpose_bf16(const TnKernelQuery *q);
bool tni_cuda_conv_transpose_f32(const TnKernelQuery *q);
double tni_cuda_conv_plain_cost(const TnKernelQuery *q);
double tni_cuda_conv_transpose_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
