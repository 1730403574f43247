/* SPDX-License-Identifier: Apache-2.0
 *
 * The case generators, one an operator that has kernels beside the reference. */
#include "kernels/checkkern.h"

#define GENERATORS(X)                                                                                                                      \
    X(unary)                                                                                                                               \
    X(binary)                                                                                                                              \
    X(where) X(clip) X(cast) X(pointwise) X(layer_norm) X(add_layer_norm) X(rms_norm) X(batch_norm) X(instance_norm) X(group_norm)         \
        X(softmax) X(gemm) X(mlp) X(matmul) X(matmul_integer) X(attention) X(attention_step) X(relative_bias) X(cache_append) X(conv) X(conv_integer) X(pool) X(resize) X(reduce) X(arg_reduce)      \
            X(cumsum) X(topk) X(identity) X(reshape) X(transpose) X(cast_transpose) X(concat) X(split) X(slice) X(expand) X(tile) X(pad) X(trilu)            \
                X(depth_to_space) X(space_to_depth) X(one_hot) X(constant_of_shape) X(gather) X(gather_elements) X(gather_nd)              \
                    X(scatter_nd) X(scatter_elements) X(quantize_linear) X(dequantize_linear) X(einsum) X(conv_transpose) X(roi_align)     \
                        X(recurrent) X(copy) X(eye_like) X(range) X(shape) X(size) X(dims) X(nonzero) X(compress) X(unique) X(non_max_suppression)

#define X(op) bool case_##op(Case *c);
GENERATORS(X)
#undef X

CaseFn ck_generator(TnOp op) {
    static const CaseFn table[TN_OP_COUNT] = {
#define X(op) [TN_OP_##op] = case_##op,
        GENERATORS(X)
#undef X
    };
    return table[op];
}
