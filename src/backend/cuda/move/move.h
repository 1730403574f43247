/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the move family that its rows name. */
#ifndef TENON_BACKEND_CUDA_MOVE_H
#define TENON_BACKEND_CUDA_MOVE_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_identity(TnKernelCall *call);
TnStatus tni_cuda_reshape(TnKernelCall *call);
TnStatus tni_cuda_copy(TnKernelCall *call);
TnStatus tni_cuda_transpose(TnKernelCall *call);
TnStatus tni_cuda_concat(TnKernelCall *call);
TnStatus tni_cuda_split(TnKernelCall *call);
TnStatus tni_cuda_slice(TnKernelCall *call);
TnStatus tni_cuda_pad(TnKernelCall *call);
TnStatus tni_cuda_expand(TnKernelCall *call);
TnStatus tni_cuda_tile(TnKernelCall *call);
TnStatus tni_cuda_one_hot(TnKernelCall *call);
TnStatus tni_cuda_trilu(TnKernelCall *call);
TnStatus tni_cuda_eye_like(TnKernelCall *call);
TnStatus tni_cuda_depth_to_space(TnKernelCall *call);
TnStatus tni_cuda_space_to_depth(TnKernelCall *call);
TnStatus tni_cuda_shape(TnKernelCall *call);
TnStatus tni_cuda_size(TnKernelCall *call);
TnStatus tni_cuda_constant_of_shape(TnKernelCall *call);
TnStatus tni_cuda_range(TnKernelCall *call);
TnStatus tni_cuda_dims(TnKernelCall *call);

TnStatus tni_cuda_cast_transpose(TnKernelCall *call); /* convert.cu */
bool tni_cuda_cast_transpose_supports(const TnKernelQuery *q);

bool tni_cuda_move_supports(const TnKernelQuery *q);
bool tni_cuda_copy_supports(const TnKernelQuery *q);
bool tni_cuda_trilu_supports(const TnKernelQuery *q);
bool tni_cuda_eye_supports(const TnKernelQuery *q);
bool tni_cuda_range_supports(const TnKernelQuery *q);
bool tni_cuda_fill_supports(const TnKernelQuery *q);
bool tni_cuda_numbers_supports(const TnKernelQuery *q);
bool tni_cuda_one_hot_supports(const TnKernelQuery *q);

double tni_cuda_move_cost(const TnKernelQuery *q);
double tni_cuda_part_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
