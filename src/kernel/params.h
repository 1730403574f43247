/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameter structs of the operators: IR attributes, plan records and kernel parameters in one. Rules: plain data of fixed size
 * (written byte by byte into plans), no pointers, every byte defined (zero the struct first, explicit padding), axes
 * already normalised to 0..rank-1 by the importer or shape inference unless the comment says "may be negative".
 *
 * Letters: B batch, S sequence, H heads, D head dim, C channels, M N K gemm. */
#ifndef TENON_KERNEL_PARAMS_H
#define TENON_KERNEL_PARAMS_H

#include "tenon/tensor.h"

typedef uint32_t TnDim; /* id of a symbolic dimension (kernel/dim.h) */

typedef struct TnNoParams {
    uint32_t unused;
} TnNoParams;

#define TN_FN_F 1u
#define TN_FN_I 2u
#define TN_FN_B 4u
#define TN_FN_TO_BOOL 8u

typedef enum TnUnaryFn {
#define UNARY(name, expr, types) TN_UNARY_##name,
#include "kernel/functions.inc"
#undef UNARY
    TN_UNARY_COUNT
} TnUnaryFn;

typedef enum TnBinaryFn {
#define BINARY(name, fexpr, iexpr, types) TN_BINARY_##name,
#include "kernel/functions.inc"
#undef BINARY
    TN_BINARY_COUNT
} TnBinaryFn;

typedef enum TnReduceFn {
#define REDUCE(name) TN_REDUCE_##name,
#include "kernel/functions.inc"
#undef REDUCE
    TN_REDUCE_COUNT
} TnReduceFn;

/* y = fn(x), same shape and type (bool for isnan, isinf). */
typedef struct TnUnaryParams {
    uint32_t fn; /* TnUnaryFn */
    float alpha, beta;
} TnUnaryParams;

/* y = fn(a, b) with ONNX (numpy) broadcasting. */
typedef struct TnBinaryParams {
    uint32_t fn; /* TnBinaryFn */
} TnBinaryParams;

/* copy: y = x, in another memory (host, device); made by the planner where a step reads what lies elsewhere. */

/* clip: in x, min (optional scalar), max (optional scalar). where: in condition (bool), x, y. */

typedef struct TnCastParams {
    uint32_t to;       /* TnDtype */
    uint32_t saturate; /* fp8 targets; 1 unless the model says 0. 2 (made by precision, for f16 and bf16 targets): finite values beyond the
                        * largest finite number of the target become that number; infinities and NaN stay */
} TnCastParams;

/* bit_cast: the same bytes as another type of the same width (TnCastParams.to). */

/* A chain of pointwise operators in one pass over memory; inputs and output have one type, f32, f16 or bf16. A register machine (registers
 * are f32 or wider): registers 0..n_in-1 hold the inputs, instruction i writes register code[i].dst; the last instruction's dst is the
 * output. Inputs broadcast against the output. A finite result beyond the largest finite number of an f16 or bf16 output becomes that number,
 * so that masks stay finite. (Kernels of a device also take operands of different types of these, and bool as 0 and 1.) */
#define TN_PW_MAX_CODE 24
#define TN_PW_MAX_REGS 16
typedef enum TnPwOp { TN_PW_UNARY, TN_PW_BINARY, TN_PW_WHERE, TN_PW_CLIP, TN_PW_CONST } TnPwOp;
typedef struct TnPwInstr {
    uint8_t op;            /* TnPwOp */
    uint8_t fn;            /* TnUnaryFn or TnBinaryFn */
    uint8_t dst, a, b, c;  /* registers; where: a ? b : c with a != 0 */
    uint8_t pad[2];
    float alpha, beta;     /* unary parameters; clip: min, max; const: alpha */
} TnPwInstr;
typedef struct TnPointwiseParams {
    uint32_t n_in, n_code;
    TnPwInstr code[TN_PW_MAX_CODE];
} TnPointwiseParams;

typedef struct TnQuantizeParams {
    int32_t axis;       /* may be negative; used when scale has rank >= 1 */
    int32_t block_size; /* 0: per tensor or per axis */
    uint32_t saturate;
    uint32_t output_dtype; /* TnDtype or TN_UNDEFINED: from zero point */
} TnQuantizeParams;

/* Reduction over `axes`; n_axes == 0 means no axis (identity for sum, ... applied element by element): importers expand "all". */
typedef struct TnReduceParams {
    uint32_t fn; /* TnReduceFn */
    uint32_t keepdims;
    uint32_t n_axes;
    int32_t axes[TN_MAX_RANK]; /* ascending, may be negative until shape inference has run */
} TnReduceParams;

/* reduce_axes: in x, axes [n] (integers, may be negative, read at run time). No axes: all of them, or with noop none. The rank of the result
 * follows from n. */
typedef struct TnReduceAxesParams {
    uint32_t fn; /* TnReduceFn */
    uint32_t keepdims, noop;
} TnReduceAxesParams;

typedef struct TnArgReduceParams {
    int32_t axis; /* may be negative */
    uint32_t is_max, keepdims, select_last;
} TnArgReduceParams;

typedef struct TnCumsumParams {
    uint32_t exclusive, reverse; /* in: x, axis (scalar int) */
} TnCumsumParams; /* cumsum and cumprod */

typedef struct TnSoftmaxParams {
    int32_t axis;   /* may be negative */
    uint32_t log;   /* 1: LogSoftmax */
    float scale;    /* x is multiplied by it first; 1 unless fused */
    uint32_t pad;
} TnSoftmaxParams;

/* layer_norm: in x, scale (optional), bias (optional): normalises over axes axis..rank-1, two-pass variance, statistics in f32 or wider.
 * add_layer_norm: in x, residual, scale, bias, x_bias (optional, [C]); s = x + x_bias + residual; out 0 = layer_norm(s) over the last
 *   axis, out 1 (optional) = s.
 * rms_norm: in x, scale. batch_norm: in x [B,C,...], scale, bias, mean, variance, each [C].
 * instance_norm: in x, scale, bias. group_norm: in x, scale [C], bias [C], groups. */
typedef struct TnNormParams {
    float epsilon;
    int32_t axis;    /* may be negative */
    uint32_t groups; /* group_norm */
    uint32_t channels_last; /* batch_norm: C is the last axis */
} TnNormParams;

typedef enum TnAct {
    TN_ACT_NONE, TN_ACT_RELU, TN_ACT_GELU, TN_ACT_GELU_TANH, TN_ACT_TANH, TN_ACT_SIGMOID, TN_ACT_SILU, TN_ACT_CLIP, TN_ACT_LEAKY_RELU,
    TN_ACT_HARD_SWISH, TN_ACT_COUNT
} TnAct;

/* gemm: y = act(alpha * op(A) op(B) + beta * bias) + residual.
 * in: A [..., M, K] (any leading dims when !trans_a: they are folded into M; trans_a: rank 2, [K, M]),
 *     B [K, N] or, trans_b, [N, K], rank 2, shared by all rows;
 *     bias (optional): broadcastable to [M, N] (fast kernels take [N] or scalar only);
 *     residual (optional): same shape as y, added after the activation.
 * out y [..., M, N]. matmul is the general batched product (numpy rules). ONNX Gemm is this with rank-2 A. */
typedef struct TnGemmParams {
    uint32_t trans_a, trans_b;
    float alpha, beta;
    uint32_t act; /* TnAct */
    float act_alpha, act_beta; /* leaky slope; clip: min, max */
    uint32_t pad;
} TnGemmParams;

/* mlp: y = act(x W1 + b1) W2 + b2 + residual, where act(...) is rounded to the operands' type: gemm after gemm, made by the planner for
 * devices.
 * in: x [..., C] (leading dims are rows), W1 [C, H] or, trans_1, [H, C], W2 [H, N] or, trans_2, [N, H]; b1 [H], b2 [N] (optional);
 *     residual (optional): same shape as y. out y [..., N]. */
typedef struct TnMlpParams {
    uint32_t trans_1, trans_2;
    uint32_t act; /* TnAct */
    float act_alpha, act_beta; /* as of gemm */
    uint32_t pad;
} TnMlpParams;

typedef struct TnEinsumParams {
    char equation[128]; /* no blanks, explicit "->", at most 4 operands; letters and "..." */
} TnEinsumParams;

/* Fused attention: for each b, h: y = softmax(scale * q k^T + bias0 + bias1 [causal]) v.
 * in 0..2: q, k, v; each in one of the layouts below. Several of them may be the same tensor (a merged projection):
 *   TN_LAYOUT_BSHD: [B, S, W]; head h of token s is the D elements at offset off + h * D of its row of W elements;
 *                   rank 4 [B, S, H, D] is the same with off = 0.
 *   TN_LAYOUT_BHSD: [B, H, S, D], off = 0. TN_LAYOUT_BHDS (k only): [B, H, D, S], off = 0.
 * in 3, 4 (optional): additive biases, f32 or the type of q, rank <= 4, broadcastable to [B, H, Sq, Sk]; finite or -inf. A row with every
 *   score -inf gives NaN as softmax does. The last dim of a bias may also be Sk rounded up to a multiple of TN_BIAS_PAD: what lies beyond
 *   Sk is ignored, whatever it is.
 * out: [B, Sq, H * Dv] (TN_LAYOUT_BSHD; rank 3) or [B, H, Sq, Dv] (TN_LAYOUT_BHSD).
 * causal: key j is visible to query i when j <= i + Sk - Sq.
 * kv_heads divides heads (grouped queries): query head h reads k/v head h / (heads / kv_heads). */
#define TN_BIAS_PAD 8
typedef enum TnAttnLayout { TN_LAYOUT_BSHD, TN_LAYOUT_BHSD, TN_LAYOUT_BHDS } TnAttnLayout;
typedef struct TnAttentionParams {
    uint32_t heads, kv_heads;
    uint32_t d_qk, d_v;
    float scale;
    uint32_t causal;
    uint32_t q_layout, k_layout, v_layout, out_layout; /* TnAttnLayout */
    uint32_t q_off, k_off, v_off;
    uint32_t pad;
} TnAttentionParams;

/* The bias of relative positions: y[b, h, i, j] = sum over terms t of table_t[clip(d, lo[t], hi[t]) - lo[t], h], d = pk_t[b, j] - pq_t[b, i]
 * (minus: pq_t[b, i] - pk_t[b, j]), which wraps in the positions' type.
 * in 3t, 3t + 1, 3t + 2 of term t: pq [B or 1, Sq] and pk [B or 1, Sk] (often the same tensor), all i64 or all i32; table [hi - lo + 1, H], floats.
 * out [B, H, Sq, Sk rounded up to a multiple of TN_BIAS_PAD] of the tables' type, summed in f32 or wider; 0 beyond Sk. */
#define TN_RELATIVE_TERMS 4
typedef struct TnRelativeBiasParams {
    uint32_t n; /* terms */
    uint32_t minus;
    int32_t lo[TN_RELATIVE_TERMS], hi[TN_RELATIVE_TERMS]; /* of unused terms 0 */
} TnRelativeBiasParams;

/* One query token per row against cached keys and values; the heart of generation.
 * in: q [R, H*D] (R rows = lines x beams that are still active)
 *     k_cache, v_cache [L, P, H*D] state of q's type: L physical lanes, P positions
 *     lanes [R, P] i32: physical lane that holds position p of row r (self-attention), or [R, 1]: one lane for all positions (cross)
 *     length [1] i32: number of valid positions (the same for all rows)
 * out y [R, H*D] */
typedef struct TnAttentionStepParams {
    uint32_t heads, d_head;
    float scale;
    uint32_t q_off; /* column of q's first head in its row: q may be a merged projection [R, W] */
} TnAttentionStepParams;

/* Writes row r of x [R, W], columns off .. off + width, to cache[lane(r)][position] of state cache [L, P, width].
 * in: x, cache, where [R, 2] i32 = (lane, position). No outputs. */
typedef struct TnCacheAppendParams {
    uint32_t off, width;
} TnCacheAppendParams;

/* dft: discrete Fourier transform along one axis. in x [..., 1 or 2] (real, or real and imaginary parts), length (optional scalar integer: the
 * signal is cut or padded with zeros to it), axis (optional scalar integer, in place of the parameter).
 *   onesided: the first length / 2 + 1 bins of a transform of real numbers; with inverse (x holds these bins) the length real numbers, [..., 1].
 *   inverse: divided by the length. Otherwise [..., 2]. */
typedef struct TnDftParams {
    int32_t axis; /* may be negative until shape inference has run */
    uint32_t inverse, onesided;
} TnDftParams;

/* recurrent: ONNX RNN, GRU and LSTM (opset 22). S steps, B lines, I inputs, H hidden, D directions, G gates: 1, 3 (zrh), 4 (iofc).
 * in: X [S, B, I], W [D, G*H, I], R [D, G*H, H], bias [D, 2*G*H] (optional), lengths [B] i32 (optional), h0 [D, B, H] (optional),
 *     c0 [D, B, H] (optional, lstm), peepholes [D, 3*H] (iof; optional, lstm)
 * out: Y [S, D, B, H], Y_h [D, B, H], Y_c [D, B, H] (lstm). Steps beyond a line's length give zeros in Y and keep the states.
 * batch_first: X [B, S, I], h0 and c0 [B, D, H]; Y [B, S, D, H], Y_h and Y_c [B, D, H]. */
typedef enum TnCellKind { TN_CELL_RNN, TN_CELL_GRU, TN_CELL_LSTM, TN_CELL_COUNT } TnCellKind;
typedef enum TnCellAct {
    TN_CELL_TANH, TN_CELL_SIGMOID, TN_CELL_RELU, TN_CELL_AFFINE, TN_CELL_LEAKY_RELU, TN_CELL_THRESHOLDED_RELU, TN_CELL_SCALED_TANH,
    TN_CELL_HARD_SIGMOID, TN_CELL_ELU, TN_CELL_SOFTSIGN, TN_CELL_SOFTPLUS, TN_CELL_ACT_COUNT
} TnCellAct;
typedef struct TnRecurrentParams {
    uint32_t kind; /* TnCellKind */
    uint32_t hidden, directions;
    uint32_t reverse; /* of the only direction; two: forward, then reverse */
    uint32_t batch_first, linear_before_reset, input_forget;
    float clip;        /* of what goes into activations; 0: none */
    uint32_t act[6];   /* TnCellAct: f, g, h of the first direction, then of the second */
    float alpha[6], beta[6];
} TnRecurrentParams;

/* linear_attention: a state matrix S [d_k, d_v] for each line and k/v head, updated token by token (ONNX LinearAttention-27):
 *   linear: S += k v^T      gated: S = exp(g) S + k v^T      delta: S += b k (v - S^T k)^T
 *   gated_delta: S = exp(g) S, then as delta                 y = scale * S^T q for each query head of the group
 * in: q [B, T, Hq*d_k], k [B, T, Hkv*d_k], v [B, T, Hkv*d_v], state [B, Hkv, d_k, d_v] (optional: zeros),
 *     decay g [B, T, Hkv*d_k] or [B, T, Hkv] (gated rules), b [B, T, Hkv] or [B, T, 1] (delta rules)
 * out: y [B, T, Hq*d_v], the last state [B, Hkv, d_k, d_v] (optional) */
typedef enum TnLinearRule { TN_LINEAR_PLAIN, TN_LINEAR_GATED, TN_LINEAR_DELTA, TN_LINEAR_GATED_DELTA, TN_LINEAR_COUNT } TnLinearRule;
typedef struct TnLinearAttentionParams {
    uint32_t q_heads, kv_heads;
    uint32_t rule; /* TnLinearRule */
    float scale;   /* 0: 1 / sqrt(d_k) */
} TnLinearAttentionParams;

/* conv: in x, w, bias (optional [M]), residual (optional, same shape as y): y = act(conv(x, w) + bias) + residual.
 *   NCHW: x [B, C, spatial...], w [M, C/group, kernel...] (ONNX); channels_last: x [B, spatial..., C], w unchanged.
 *   1 to 3 spatial dims. pads: begin then end, resolved at run when auto_pad is SAME.
 * conv_transpose: w [C, M/group, kernel...], output_pads as in ONNX.
 * conv_integer: in x, w (bytes), zero point of x (optional, one), of w (optional, one or [M]); NCHW without activation; y int32, exact. The
 *   padding is x's zero point.
 * matmul_integer (no parameters): in a, b (bytes), zero point of a (optional, one), of b (optional, one or [N]); y int32 = sums of
 *   (a - za) (b - zb), exact, wrapping. */
typedef enum TnAutoPad { TN_PAD_EXPLICIT, TN_PAD_SAME_UPPER, TN_PAD_SAME_LOWER, TN_PAD_VALID } TnAutoPad;
typedef struct TnConvParams {
    uint32_t n_spatial, group;
    int32_t kernel[3], stride[3], dilation[3];
    int32_t pads[6];
    int32_t output_pads[3];
    int32_t output_shape[3]; /* conv_transpose with an explicit shape; 0 = none */
    uint32_t auto_pad; /* TnAutoPad */
    uint32_t channels_last;
    uint32_t act; /* TnAct */
    float act_alpha, act_beta;
} TnConvParams;

/* deform_conv: in x [B, C, H, W], w [M, C/group, kh, kw], offset [B, offset_groups*kh*kw*2, h, w] (pairs y, x), bias [M] (optional),
 * mask [B, offset_groups*kh*kw, h, w] (optional): a convolution whose samples are taken at shifted places, bilinearly, zeros outside. */
typedef struct TnDeformConvParams {
    uint32_t group, offset_groups;
    int32_t stride[2], dilation[2], pads[4];
} TnDeformConvParams;

/* roi_pool: in x [B, C, H, W], rois [n, 5] = (batch, x1, y1, x2, y2): ONNX MaxRoiPool. */
typedef struct TnRoiPoolParams {
    int32_t height, width;
    float scale;
    uint32_t pad;
} TnRoiPoolParams;

/* col2im: in x [B, C * prod(block), L], image [n] and block [n] (int64): blocks are added where they overlap. y [B, C, image...]. */
typedef struct TnCol2ImParams {
    uint32_t n_spatial; /* 1..3 */
    int32_t stride[3], dilation[3], pads[6];
} TnCol2ImParams;

/* grid_sample: in x [B, C, spatial...], grid [B, out..., n] with coordinates -1..1, last spatial axis first; n = 1..3. */
typedef enum TnGridMode { TN_GRID_LINEAR, TN_GRID_NEAREST, TN_GRID_CUBIC } TnGridMode;
typedef enum TnGridPadding { TN_GRID_ZEROS, TN_GRID_BORDER, TN_GRID_REFLECTION } TnGridPadding;
typedef struct TnGridSampleParams {
    uint32_t mode, padding, align_corners;
} TnGridSampleParams;

typedef enum TnPoolKind { TN_POOL_MAX, TN_POOL_AVG, TN_POOL_LP } TnPoolKind;
typedef struct TnPoolParams {
    uint32_t kind, n_spatial;
    uint32_t global; /* kernel = whole spatial extent */
    int32_t kernel[3], stride[3], dilation[3];
    int32_t pads[6];
    uint32_t auto_pad, ceil_mode, count_include_pad, storage_order;
    uint32_t channels_last;
    int32_t p;
} TnPoolParams;

/* resize: in x, roi (optional), scales (optional), sizes (optional): ONNX Resize-19. */
typedef enum TnResizeMode { TN_RESIZE_NEAREST, TN_RESIZE_LINEAR, TN_RESIZE_CUBIC } TnResizeMode;
typedef enum TnResizeCoord {
    TN_COORD_HALF_PIXEL, TN_COORD_HALF_PIXEL_SYMMETRIC, TN_COORD_PYTORCH_HALF_PIXEL, TN_COORD_ALIGN_CORNERS, TN_COORD_ASYMMETRIC,
    TN_COORD_TF_CROP_AND_RESIZE
} TnResizeCoord;
typedef enum TnResizeNearest { TN_NEAREST_ROUND_PREFER_FLOOR, TN_NEAREST_ROUND_PREFER_CEIL, TN_NEAREST_FLOOR, TN_NEAREST_CEIL } TnResizeNearest;
typedef struct TnResizeParams {
    uint32_t mode, coord, nearest;
    float cubic_a, extrapolation;
    uint32_t exclude_outside, antialias;
    uint32_t keep_aspect; /* 0 stretch, 1 not_larger, 2 not_smaller */
    uint32_t n_axes;      /* 0: all */
    int32_t axes[TN_MAX_RANK];
} TnResizeParams;

/* reshape covers Reshape, Flatten, Squeeze, Unsqueeze: the output's dims are what matters.
 * kind RESHAPE: in 1 is the shape (i64; 0 copies unless allowzero, one -1). After shape inference in 1 may be dropped when the
 * output dims are known. FLATTEN: axis. SQUEEZE, UNSQUEEZE: axes (squeeze with n_axes == 0: all dims of 1). */
typedef enum TnReshapeKind { TN_RESHAPE_SHAPE, TN_RESHAPE_FLATTEN, TN_RESHAPE_SQUEEZE, TN_RESHAPE_UNSQUEEZE } TnReshapeKind;
typedef struct TnReshapeParams {
    uint32_t kind, allowzero;
    int32_t axis;
    uint32_t n_axes;
    int32_t axes[TN_MAX_RANK]; /* may be negative until shape inference has run */
} TnReshapeParams;

typedef struct TnTransposeParams {
    uint32_t n; /* rank */
    uint8_t perm[TN_MAX_RANK]; /* y.dims[i] = x.dims[perm[i]] */
} TnTransposeParams;

/* cast_transpose: in floats, permuted and in another float type: finite values beyond its range become its largest. Made for devices, where a
 * cast and a transpose would each pass over the memory. */
typedef struct TnCastTransposeParams {
    uint32_t to; /* TnDtype */
    uint32_t n;  /* rank */
    uint8_t perm[TN_MAX_RANK];
} TnCastTransposeParams;

/* concat, split (in 1 = sizes, optional; else `n` equal parts, last smaller), gather, gather_elements, one_hot (in: indices, depth,
 * values [off, on]). axis may be negative until shape inference has run. */
typedef struct TnAxisParams {
    int32_t axis;
    uint32_t n;
} TnAxisParams;

/* slice: in x, starts, ends, axes (optional), steps (optional), as ONNX Slice-13. */

typedef enum TnPadMode { TN_PADDING_CONSTANT, TN_PADDING_REFLECT, TN_PADDING_EDGE, TN_PADDING_WRAP } TnPadMode;
typedef struct TnPadParams {
    uint32_t mode; /* in: x, pads, value (optional), axes (optional): Pad-19 */
} TnPadParams;

typedef struct TnGatherNdParams {
    uint32_t batch_dims;
} TnGatherNdParams;

typedef enum TnScatterReduce { TN_SCATTER_NONE, TN_SCATTER_ADD, TN_SCATTER_MUL, TN_SCATTER_MAX, TN_SCATTER_MIN } TnScatterReduce;
typedef struct TnScatterParams {
    int32_t axis; /* scatter_elements; may be negative */
    uint32_t reduction;
} TnScatterParams;

typedef struct TnTriluParams {
    uint32_t upper; /* in: x, k (optional scalar) */
} TnTriluParams;

typedef struct TnEyeLikeParams {
    uint32_t dtype; /* TnDtype or TN_UNDEFINED: that of the input */
    int32_t k;
} TnEyeLikeParams;

typedef struct TnSpaceDepthParams {
    uint32_t block;
    uint32_t crd; /* depth_to_space: mode CRD */
} TnSpaceDepthParams;

typedef struct TnTopkParams {
    int32_t axis; /* may be negative. in: x, k [1]. Ties: the lower index first. sorted is always honoured. */
    uint32_t largest;
} TnTopkParams;

typedef struct TnCompressParams {
    int32_t axis; /* may be negative */
    uint32_t flatten;
} TnCompressParams;

typedef struct TnUniqueParams {
    int32_t axis;
    uint32_t flatten, sorted;
} TnUniqueParams;

typedef struct TnNmsParams {
    uint32_t center_point_box;
} TnNmsParams;

typedef struct TnRoiAlignParams {
    int32_t output_height, output_width, sampling_ratio;
    float spatial_scale;
    uint32_t max_mode;
    uint32_t aligned; /* half_pixel */
} TnRoiAlignParams;

typedef struct TnShapeParams {
    int32_t start, end; /* may be negative; end INT32_MAX = rank */
} TnShapeParams;

typedef struct TnFillParams {
    uint32_t dtype; /* TnDtype */
    uint32_t pad;
    uint8_t value[8]; /* one element, in its own type */
} TnFillParams;

/* random: in shape [n] (int64). Element i is a function of the seed and i alone (counter-based, see backend/ref/random.c), so that the same
 * plan always gives the same numbers, on any number of threads. uniform: a <= x < b. normal: mean a, deviation b. */
typedef enum TnRandomKind { TN_RANDOM_UNIFORM, TN_RANDOM_NORMAL } TnRandomKind;
typedef struct TnRandomParams {
    uint32_t kind;  /* TnRandomKind */
    uint32_t dtype; /* TnDtype, a float */
    uint32_t seed_low, seed_high;
    float a, b;
} TnRandomParams;

/* dims: an int64 (or int32) tensor whose elements are symbolic dimensions. Made by shape propagation from Shape, Gather, Concat, Mul, ... */
#define TN_DIMS_MAX 16
typedef struct TnDimsParams {
    uint32_t dtype; /* TN_I64 or TN_I32 */
    uint32_t rank;  /* 0: scalar, 1: vector of n */
    uint32_t n;
    TnDim dim[TN_DIMS_MAX];
} TnDimsParams;

typedef struct TnControlParams {
    uint32_t graph[2]; /* if_: then, else; loop: body, unused. Ids of graphs (IR) or programs (plan) */
    uint32_t n_carried; /* loop: carried values */
    uint32_t n_scan;    /* loop: scan outputs */
} TnControlParams;

#endif
