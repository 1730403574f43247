/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls that checkcuda --time runs: what the four models do at the batches they are measured at, operator by operator. */
#include <math.h>
#include <stdio.h>

#include "cuda/checkcuda.h"

static TnTensor *operand(TnTensor *t, TnDtype dtype, int32_t rank, const int64_t *dims) {
    *t = (TnTensor){.dtype = dtype, .rank = rank};
    for (int32_t d = 0; d < rank; d++)
        t->dims[d] = dims[d];
    return t;
}
static void in(Timed *t, TnDtype dtype, int32_t rank, const int64_t *dims) {
    t->fill[t->n_in] = TIMED_NORMAL;
    operand(&t->in[t->n_in++], dtype, rank, dims);
}
static void constant(Timed *t, TnDtype dtype, int32_t rank, const int64_t *dims) {
    in(t, dtype, rank, dims);
    t->constant[t->n_in - 1] = true;
}
static void absent(Timed *t) {
    t->in[t->n_in++] = (TnTensor){.dtype = TN_UNDEFINED};
}
static void out(Timed *t, TnDtype dtype, int32_t rank, const int64_t *dims) {
    operand(&t->out[t->n_out++], dtype, rank, dims);
}
static void indices(Timed *t, TnDtype dtype, int32_t rank, const int64_t *dims, int64_t limit) {
    in(t, dtype, rank, dims);
    t->fill[t->n_in - 1] = TIMED_INDEX;
    t->limit[t->n_in - 1] = limit;
}
static void values(Timed *t, int64_t n, const int64_t *v) {
    constant(t, TN_I64, 1, &n);
    t->fill[t->n_in - 1] = TIMED_VALUES;
    memcpy(t->values[t->n_in - 1], v, (size_t)n * sizeof *v);
}
static int64_t numel(const Timed *t) {
    return tn_tensor_numel(&t->out[0]);
}
#define SAY(t, ...) (void)snprintf((t)->what, sizeof(t)->what, __VA_ARGS__)

/* ---- matrix products ---- */
typedef struct Product {
    int64_t tokens, batch, n, k;
    uint32_t act, residual;
} Product;

static const Product products[] = {
    {709, 1, 2304, 768, TN_ACT_NONE, 0},    {709, 1, 768, 768, TN_ACT_NONE, 1},    {709, 1, 3072, 768, TN_ACT_GELU, 0},
    {709, 1, 768, 3072, TN_ACT_NONE, 1},    {709, 8, 2304, 768, TN_ACT_NONE, 0},   {709, 8, 768, 768, TN_ACT_NONE, 1},
    {709, 8, 3072, 768, TN_ACT_GELU, 0},    {709, 8, 768, 3072, TN_ACT_NONE, 1},   {709, 32, 2304, 768, TN_ACT_NONE, 0},
    {709, 32, 768, 768, TN_ACT_NONE, 1},    {709, 32, 3072, 768, TN_ACT_GELU, 0},  {709, 32, 768, 3072, TN_ACT_NONE, 1},
    {578, 1, 1152, 384, TN_ACT_NONE, 0},    {578, 8, 1536, 384, TN_ACT_GELU, 0},   {578, 64, 1152, 384, TN_ACT_NONE, 0},
    {578, 64, 1536, 384, TN_ACT_GELU, 0},   {578, 64, 384, 1536, TN_ACT_NONE, 1},  {1, 1, 256, 256, TN_ACT_NONE, 0},
    {1, 64, 256, 256, TN_ACT_NONE, 0},      {1, 64, 1024, 256, TN_ACT_RELU, 0},    {1, 64, 11318, 256, TN_ACT_NONE, 0},
    {196, 1, 960, 320, TN_ACT_NONE, 0},     {196, 32, 1280, 320, TN_ACT_GELU, 0},  {196, 128, 320, 1280, TN_ACT_NONE, 1},
    {49, 32, 2048, 512, TN_ACT_GELU, 0},    {3136, 32, 256, 64, TN_ACT_GELU, 0},   {3136, 32, 64, 256, TN_ACT_NONE, 1},
    {20, 8, 768, 768, TN_ACT_NONE, 1},      {20, 64, 3072, 768, TN_ACT_GELU, 0},   {20, 256, 768, 3072, TN_ACT_NONE, 1},
    {100, 8, 1024, 1024, TN_ACT_NONE, 1},   {100, 64, 1024, 1024, TN_ACT_GELU, 0}, {100, 256, 1024, 1024, TN_ACT_NONE, 1},
    {100, 256, 1024, 2048, TN_ACT_NONE, 0}, {8192, 1, 8192, 8192, TN_ACT_NONE, 0},
};

static bool gemm(Timed *t, uint32_t i, TnDtype real) {
    TnGemmParams *p = (TnGemmParams *)(void *)&t->params;
    if (i >= TN_COUNT(products))
        return false;
    const Product *s = &products[i];
    const int64_t m = s->tokens * s->batch;
    p->alpha = p->beta = 1.0f;
    p->act = s->act;
    in(t, real, 2, DIMS(m, s->k));
    constant(t, real, 2, DIMS(s->k, s->n));
    constant(t, real, 1, DIMS(s->n));
    if (s->residual)
        in(t, real, 2, DIMS(m, s->n));
    out(t, real, 2, DIMS(m, s->n));
    t->flops = 2.0 * (double)m * (double)s->n * (double)s->k;
    SAY(t, "%lldx%lld n %lld k %lld%s%s", (long long)s->tokens, (long long)s->batch, (long long)s->n, (long long)s->k,
        s->act == TN_ACT_NONE   ? ""
        : s->act == TN_ACT_GELU ? " gelu"
                                : " relu",
        s->residual ? " +res" : "");
    return true;
}

static bool mlp(Timed *t, uint32_t i, TnDtype real) {
    static const int64_t shapes[][3] = {{401408, 64, 256}, {100352, 64, 256}, {100352, 128, 512}, {25088, 128, 512}, {25088, 320, 1280},
                                        {12544, 320, 1280}};
    TnMlpParams *p = (TnMlpParams *)(void *)&t->params;
    if (i >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[i];
    p->act = TN_ACT_GELU;
    in(t, real, 2, DIMS(s[0], s[1]));
    constant(t, real, 2, DIMS(s[1], s[2]));
    constant(t, real, 2, DIMS(s[2], s[1]));
    constant(t, real, 1, DIMS(s[2]));
    constant(t, real, 1, DIMS(s[1]));
    in(t, real, 2, DIMS(s[0], s[1]));
    out(t, real, 2, DIMS(s[0], s[1]));
    t->flops = 4.0 * (double)s[0] * (double)s[1] * (double)s[2];
    SAY(t, "%lld n %lld hidden %lld gelu +res", (long long)s[0], (long long)s[1], (long long)s[2]);
    return true;
}

static bool matmul(Timed *t, uint32_t i, TnDtype real) {
    static const int64_t shapes[][4] = {{12, 709, 709, 64}, {12, 709, 64, 709}, {384, 578, 578, 64}, {160, 196, 196, 64}};
    if (i >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[i];
    in(t, real, 3, DIMS(s[0], s[1], s[3]));
    in(t, real, 3, DIMS(s[0], s[3], s[2]));
    out(t, real, 3, DIMS(s[0], s[1], s[2]));
    t->flops = 2.0 * (double)s[0] * (double)s[1] * (double)s[2] * (double)s[3];
    SAY(t, "b %lld m %lld n %lld k %lld", (long long)s[0], (long long)s[1], (long long)s[2], (long long)s[3]);
    return true;
}

/* ---- attention ---- */
typedef struct Heads {
    int64_t b, h, sq, sk, d;
    uint32_t dense, mask; /* biases [1, H, Sq, Sk] (2: [B, H, Sq, Sk], 3: that with padded rows), [B, 1, 1, Sk] */
} Heads;

static const Heads heads[] = {
    {1, 12, 709, 709, 64, 1, 1},  {8, 12, 709, 709, 64, 2, 1}, {32, 12, 709, 709, 64, 2, 1}, {8, 12, 709, 709, 64, 0, 0},
    {1, 6, 578, 578, 64, 0, 0},   {64, 6, 578, 578, 64, 0, 0}, {1, 5, 196, 196, 64, 0, 0},   {128, 5, 196, 196, 64, 0, 0},
    {128, 8, 49, 49, 64, 0, 0},   {64, 12, 20, 20, 64, 0, 1},  {64, 8, 100, 100, 128, 0, 1}, {256, 8, 20, 100, 128, 0, 1},
    {256, 8, 100, 20, 128, 0, 1}, {64, 8, 1, 578, 32, 0, 0},   {1, 12, 709, 709, 64, 3, 1},  {8, 12, 709, 709, 64, 3, 1},
    {32, 12, 709, 709, 64, 3, 1}, {32, 12, 709, 709, 64, 3, 0},
};

static bool attention(Timed *t, uint32_t i, TnDtype real) {
    TnAttentionParams *p = (TnAttentionParams *)(void *)&t->params;
    if (i >= TN_COUNT(heads))
        return false;
    const Heads *s = &heads[i];
    p->heads = p->kv_heads = (uint32_t)s->h;
    p->d_qk = p->d_v = (uint32_t)s->d;
    p->scale = 1.0f / sqrtf((float)s->d);
    in(t, real, 3, DIMS(s->b, s->sq, s->h * s->d));
    in(t, real, 3, DIMS(s->b, s->sk, s->h * s->d));
    in(t, real, 3, DIMS(s->b, s->sk, s->h * s->d));
    if (s->dense)
        in(t, real, 4,
           DIMS(s->dense == 1 ? 1 : s->b, s->h, s->sq, s->dense == 3 ? (int64_t)tni_align_up((size_t)s->sk, TN_BIAS_PAD) : s->sk));
    if (s->mask) {
        in(t, real, 4, DIMS(s->b, 1, 1, s->sk));
        t->fill[t->n_in - 1] = TIMED_NEGATIVE;
    }
    out(t, real, 3, DIMS(s->b, s->sq, s->h * s->d));
    t->flops = 4.0 * (double)s->b * (double)s->h * (double)s->sq * (double)s->sk * (double)s->d;
    SAY(t, "b %lld h %lld s %lld/%lld d %lld%s%s", (long long)s->b, (long long)s->h, (long long)s->sq, (long long)s->sk, (long long)s->d,
        s->dense == 3 ? " padded bias" : s->dense ? " bias" : "", s->mask ? " mask" : "");
    return true;
}

static bool attention_step(Timed *t, uint32_t i, TnDtype real) {
    TnAttentionStepParams *p = (TnAttentionStepParams *)(void *)&t->params;
    static const int64_t shapes[][4] = {{64, 8, 32, 32}, {64, 8, 578, 32}, {64, 6, 578, 64}}; /* rows, heads, positions, head dim */
    if (i >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[i], w = s[1] * s[3];
    p->heads = (uint32_t)s[1];
    p->d_head = (uint32_t)s[3];
    p->scale = 1.0f / sqrtf((float)s[3]);
    in(t, real, 2, DIMS(s[0], w));
    in(t, real, 3, DIMS(s[0], s[2], w));
    in(t, real, 3, DIMS(s[0], s[2], w));
    indices(t, TN_I32, 2, DIMS(s[0], 1), s[0]);
    indices(t, TN_I32, 1, DIMS(1), 1);
    t->fill[4] = TIMED_VALUES;
    t->values[4][0] = s[2];
    out(t, real, 2, DIMS(s[0], w));
    t->flops = 4.0 * (double)s[0] * (double)w * (double)s[2];
    SAY(t, "rows %lld h %lld positions %lld d %lld", (long long)s[0], (long long)s[1], (long long)s[2], (long long)s[3]);
    return true;
}

/* ---- rows ---- */
static const int64_t rows_of[][2] = {{709, 768}, {5672, 768}, {22688, 768}, {36992, 384}, {25088, 320}, {25600, 1024},
                                   {401408, 64}, {100352, 128}, {12544, 256}, {12544, 512}, {196, 320}};

static bool rows(Timed *t, TnOp op, uint32_t i, TnDtype real) {
    TnNormParams *p = (TnNormParams *)(void *)&t->params;
    if (i >= TN_COUNT(rows_of))
        return false;
    const int64_t n = rows_of[i][0], w = rows_of[i][1];
    p->epsilon = 1e-5f;
    p->axis = 1;
    in(t, real, 2, DIMS(n, w));
    if (op == TN_OP_add_layer_norm)
        in(t, real, 2, DIMS(n, w));
    constant(t, real, 1, DIMS(w));
    if (op != TN_OP_rms_norm)
        constant(t, real, 1, DIMS(w));
    out(t, real, 2, DIMS(n, w));
    SAY(t, "[%lld,%lld]", (long long)n, (long long)w);
    return true;
}

static bool softmax(Timed *t, uint32_t i, TnDtype real) {
    TnSoftmaxParams *p = (TnSoftmaxParams *)(void *)&t->params;
    static const int64_t shapes[][3] = {{12, 709, 709}, {96, 709, 709}, {384, 578, 578}, {64, 1, 11318}};
    if (i >= TN_COUNT(shapes))
        return false;
    p->axis = 2;
    p->scale = 1.0f;
    in(t, real, 3, shapes[i]);
    out(t, real, 3, shapes[i]);
    SAY(t, "[%lld,%lld,%lld]", (long long)shapes[i][0], (long long)shapes[i][1], (long long)shapes[i][2]);
    return true;
}

static bool reduce(Timed *t, uint32_t i, TnDtype real) {
    TnReduceParams *p = (TnReduceParams *)(void *)&t->params;
    static const int64_t shapes[][4] = {{128, 49, 512, 1}, {64, 578, 384, 1}, {12, 709, 709, 2}, {32, 3136, 64, 1}};
    if (i >= TN_COUNT(shapes))
        return false;
    int64_t dims[3] = {shapes[i][0], shapes[i][1], shapes[i][2]};
    p->fn = TN_REDUCE_mean;
    p->n_axes = 1;
    p->axes[0] = (int32_t)shapes[i][3];
    p->keepdims = 1;
    in(t, real, 3, dims);
    dims[p->axes[0]] = 1;
    out(t, real, 3, dims);
    SAY(t, "mean [%lld,%lld,%lld] axis %d", (long long)shapes[i][0], (long long)shapes[i][1], (long long)shapes[i][2], (int)p->axes[0]);
    return true;
}

static bool picks(Timed *t, TnOp op, uint32_t i, TnDtype real) {
    if (i >= 1)
        return false;
    in(t, real, 2, DIMS(64, 11318));
    if (op == TN_OP_topk) {
        TnTopkParams *p = (TnTopkParams *)(void *)&t->params;
        p->axis = 1;
        p->largest = 1;
        values(t, 1, DIMS(5));
        out(t, real, 2, DIMS(64, 5));
        out(t, TN_I64, 2, DIMS(64, 5));
    } else {
        TnArgReduceParams *p = (TnArgReduceParams *)(void *)&t->params;
        p->axis = 1;
        p->is_max = 1;
        out(t, TN_I64, 1, DIMS(64));
    }
    SAY(t, "[64,11318]");
    return true;
}

/* ---- element by element ---- */
static bool unary(Timed *t, uint32_t i, TnDtype real) {
    TnUnaryParams *p = (TnUnaryParams *)(void *)&t->params;
    static const uint32_t fns[] = {TN_UNARY_gelu, TN_UNARY_relu, TN_UNARY_tanh, TN_UNARY_gelu};
    if (i >= TN_COUNT(fns))
        return false;
    const int64_t n = i == 3 ? 709 : 5672;
    p->fn = fns[i];
    in(t, real, 2, DIMS(n, 3072));
    out(t, real, 2, DIMS(n, 3072));
    SAY(t, "%s [%lld,3072]", tni_unary_name(p->fn), (long long)n);
    return true;
}

static bool binary(Timed *t, uint32_t i, TnDtype real) {
    TnBinaryParams *p = (TnBinaryParams *)(void *)&t->params;
    if (i >= 4)
        return false;
    p->fn = TN_BINARY_add;
    in(t, real, 3, DIMS(8, 709, 768));
    if (i == 0)
        in(t, real, 3, DIMS(8, 709, 768));
    else if (i == 1)
        in(t, real, 1, DIMS(768));
    else if (i == 2)
        in(t, real, 2, DIMS(709, 768));
    else
        in(t, real, 3, DIMS(8, 709, 1));
    out(t, real, 3, DIMS(8, 709, 768));
    SAY(t, "add [8,709,768] + %s", i == 0 ? "same" : i == 1 ? "[768]" : i == 2 ? "[709,768]" : "[8,709,1]");
    return true;
}

static bool pointwise(Timed *t, uint32_t i, TnDtype real) {
    TnPointwiseParams *p = (TnPointwiseParams *)(void *)&t->params;
    if (i >= 2)
        return false;
    const int64_t n = i == 0 ? 709 : 5672;
    p->n_in = 3;
    p->n_code = 3;
    p->code[0] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_add, .dst = 3, .a = 0, .b = 1};
    p->code[1] = (TnPwInstr){.op = TN_PW_UNARY, .fn = TN_UNARY_gelu, .dst = 3, .a = 3};
    p->code[2] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_add, .dst = 3, .a = 3, .b = 2};
    in(t, real, 2, DIMS(n, 3072));
    in(t, real, 1, DIMS(3072));
    in(t, real, 2, DIMS(n, 3072));
    out(t, real, 2, DIMS(n, 3072));
    SAY(t, "gelu(x + b) + r [%lld,3072]", (long long)n);
    return true;
}

static bool cast(Timed *t, uint32_t i, TnDtype real) {
    TnCastParams *p = (TnCastParams *)(void *)&t->params;
    if (i >= 1)
        return false;
    p->to = (uint32_t)(real == TN_F32 ? TN_F16 : real);
    p->saturate = 1;
    in(t, TN_F32, 2, DIMS(5672, 768));
    out(t, (TnDtype)p->to, 2, DIMS(5672, 768));
    SAY(t, "float32 to %s [5672,768]", tn_dtype_name((TnDtype)p->to));
    return true;
}

/* ---- moving ---- */
static bool transpose(Timed *t, uint32_t i, TnDtype real) {
    TnTransposeParams *p = (TnTransposeParams *)(void *)&t->params;
    static const struct {
        int32_t rank;
        int64_t dims[4];
        uint8_t perm[4];
    } shapes[] = {{4, {8, 709, 12, 64}, {0, 2, 1, 3}},
                  {4, {8, 709, 12, 64}, {0, 2, 3, 1}},
                  {3, {32, 64, 3136}, {0, 2, 1}},
                  {4, {32, 3, 224, 224}, {0, 2, 3, 1}}};
    int64_t dims[4];
    if (i >= TN_COUNT(shapes))
        return false;
    p->n = (uint32_t)shapes[i].rank;
    memcpy(p->perm, shapes[i].perm, 4);
    for (int32_t d = 0; d < shapes[i].rank; d++)
        dims[d] = shapes[i].dims[p->perm[d]];
    in(t, real, shapes[i].rank, shapes[i].dims);
    out(t, real, shapes[i].rank, dims);
    SAY(t, "[%lld,%lld,%lld,%lld] %u%u%u%u", (long long)shapes[i].dims[0], (long long)shapes[i].dims[1], (long long)shapes[i].dims[2],
        (long long)shapes[i].dims[3], p->perm[0], p->perm[1], p->perm[2], p->perm[3]);
    return true;
}

static bool cast_transpose(Timed *t, uint32_t i, TnDtype real) {
    TnCastTransposeParams *p = (TnCastTransposeParams *)(void *)&t->params;
    static const int64_t shapes[][2] = {{64, 384}, {1, 384}, {128, 224}, {32, 224}};
    if (i >= TN_COUNT(shapes) || real == TN_F32)
        return false;
    const int64_t b = shapes[i][0], size = shapes[i][1];
    *p = (TnCastTransposeParams){.to = real, .n = 4, .perm = {0, 2, 3, 1}};
    in(t, TN_F32, 4, DIMS(b, 3, size, size));
    out(t, real, 4, DIMS(b, size, size, 3));
    SAY(t, "float32 [%lld,3,%lld,%lld] to channels last", (long long)b, (long long)size, (long long)size);
    return true;
}

static bool concat(Timed *t, uint32_t i, TnDtype real) {
    TnAxisParams *p = (TnAxisParams *)(void *)&t->params;
    if (i >= 1)
        return false;
    p->axis = 1;
    in(t, real, 3, DIMS(8, 512, 768));
    in(t, real, 3, DIMS(8, 197, 768));
    out(t, real, 3, DIMS(8, 709, 768));
    SAY(t, "[8,512+197,768]");
    return true;
}

/* LayoutLMv3's: 1-D positions, x and y, as they stand in a batch. */
static bool relative_bias(Timed *t, uint32_t i, TnDtype real) {
    static const int64_t batches[] = {32, 8, 1};
    TnRelativeBiasParams *p = (TnRelativeBiasParams *)(void *)&t->params;
    if (i >= TN_COUNT(batches))
        return false;
    const int64_t b = batches[i];
    *p = (TnRelativeBiasParams){.n = 3, .lo = {-91, -216, -216}, .hi = {91, 216, 216}};
    for (uint32_t k = 0; k < 3; k++) {
        indices(t, TN_I64, 2, DIMS(b, 709), k == 0 ? 709 : 1000);
        indices(t, TN_I64, 2, DIMS(b, 709), k == 0 ? 709 : 1000);
        constant(t, real, 2, DIMS(k == 0 ? 183 : 433, 12));
    }
    out(t, real, 4, DIMS(b, 12, 709, 712));
    SAY(t, "b %lld 709 3 terms", (long long)b);
    return true;
}

static bool gather(Timed *t, uint32_t i, TnDtype real) {
    TnAxisParams *p = (TnAxisParams *)(void *)&t->params;
    if (i >= 2)
        return false;
    p->axis = 0;
    if (i == 0) {
        constant(t, real, 2, DIMS(50265, 768));
        indices(t, TN_I64, 2, DIMS(8, 512), 50265);
        out(t, real, 3, DIMS(8, 512, 768));
        SAY(t, "[8,512] of [50265,768]");
    } else {
        constant(t, real, 2, DIMS(64, 12));
        indices(t, TN_I64, 2, DIMS(709, 709), 64);
        out(t, real, 3, DIMS(709, 709, 12));
        SAY(t, "[709,709] of [64,12]");
    }
    return true;
}

/* ---- windows ---- */
static bool conv(Timed *t, uint32_t i, TnDtype real) {
    TnConvParams *p = (TnConvParams *)(void *)&t->params;
    static const struct {
        int64_t b, ch, size, m, kernel, stride, group;
        uint32_t last;
    } shapes[] = {{8, 3, 224, 768, 16, 16, 1, 0}, {64, 3, 384, 384, 16, 16, 1, 0}, {32, 3, 224, 64, 4, 4, 1, 0},
                  {32, 64, 56, 64, 5, 1, 64, 1},  {32, 64, 56, 64, 3, 1, 64, 1},   {32, 320, 14, 320, 3, 1, 320, 1},
                  {32, 64, 56, 128, 2, 2, 1, 1},  {32, 64, 56, 256, 1, 1, 1, 1},   {1, 64, 56, 64, 5, 1, 64, 1},
                  {8, 256, 56, 256, 3, 1, 1, 1},  {128, 64, 56, 64, 5, 1, 64, 1},  {128, 320, 14, 320, 3, 1, 320, 1},
                  {1, 320, 14, 320, 3, 1, 320, 1}, {128, 512, 7, 512, 3, 1, 512, 1}, {1, 3, 224, 768, 16, 16, 1, 1},
                  {64, 3, 384, 384, 16, 16, 1, 1}, {128, 3, 224, 64, 4, 4, 1, 1},   {1, 320, 14, 512, 2, 2, 1, 1},
                  {128, 64, 56, 128, 2, 2, 1, 1},  {128, 128, 28, 320, 2, 2, 1, 1}, {128, 320, 14, 512, 2, 2, 1, 1},
                  {32, 3, 224, 768, 16, 16, 1, 1}, {1, 3, 384, 384, 16, 16, 1, 1},  {1, 3, 224, 64, 4, 4, 1, 1}};
    int64_t x[4], y[4];
    if (i >= TN_COUNT(shapes))
        return false;
    const int64_t b = shapes[i].b, ch = shapes[i].ch, m = shapes[i].m, k = shapes[i].kernel, g = shapes[i].group, size = shapes[i].size;
    const int64_t pad = shapes[i].stride == 1 ? k / 2 : 0, o = (size + 2 * pad - k) / shapes[i].stride + 1;
    const bool last = shapes[i].last != 0;
    p->n_spatial = 2;
    p->group = (uint32_t)g;
    p->channels_last = last;
    for (int d = 0; d < 2; d++) {
        p->kernel[d] = (int32_t)k;
        p->stride[d] = (int32_t)shapes[i].stride;
        p->dilation[d] = 1;
        p->pads[d] = p->pads[2 + d] = (int32_t)pad;
        x[last ? 1 + d : 2 + d] = size;
        y[last ? 1 + d : 2 + d] = o;
    }
    x[0] = y[0] = b;
    x[last ? 3 : 1] = ch;
    y[last ? 3 : 1] = m;
    in(t, real, 4, x);
    constant(t, real, 4, DIMS(m, ch / g, k, k));
    constant(t, real, 1, DIMS(m));
    out(t, real, 4, y);
    t->flops = 2.0 * (double)numel(t) * (double)(ch / g * k * k);
    SAY(t, "b %lld %lldx%lld^2 k%lld s%d m%lld g%lld %s", (long long)b, (long long)ch, (long long)size, (long long)k, (int)p->stride[0],
        (long long)m, (long long)g, last ? "last" : "first");
    return true;
}

static bool pool(Timed *t, uint32_t i, TnDtype real) {
    TnPoolParams *p = (TnPoolParams *)(void *)&t->params;
    if (i >= 2)
        return false;
    p->kind = i == 0 ? TN_POOL_MAX : TN_POOL_AVG;
    p->n_spatial = 2;
    p->channels_last = 1;
    for (int d = 0; d < 2; d++) {
        p->kernel[d] = 3;
        p->stride[d] = 2;
        p->dilation[d] = 1;
        p->pads[d] = p->pads[2 + d] = 1;
    }
    in(t, real, 4, DIMS(32, 112, 112, 64));
    out(t, real, 4, DIMS(32, 56, 56, 64));
    SAY(t, "%s 3x3/2 [32,112,112,64]", i == 0 ? "max" : "average");
    return true;
}

static bool resize(Timed *t, uint32_t i, TnDtype real) {
    TnResizeParams *p = (TnResizeParams *)(void *)&t->params;
    if (i >= 2)
        return false;
    p->mode = i == 0 ? TN_RESIZE_NEAREST : TN_RESIZE_LINEAR;
    p->cubic_a = -0.75f;
    in(t, real, 4, DIMS(8, 256, 56, 56));
    absent(t);
    absent(t);
    values(t, 4, DIMS(8, 256, 112, 112));
    out(t, real, 4, DIMS(8, 256, 112, 112));
    SAY(t, "%s [8,256,56^2] x 2", i == 0 ? "nearest" : "linear");
    return true;
}

bool timed_shape(TnOp op, uint32_t k, TnDtype real, Timed *t) {
    memset(t, 0, sizeof *t);
    t->op = op;
    switch (op) {
    case TN_OP_gemm:
        return gemm(t, k, real);
    case TN_OP_mlp:
        return mlp(t, k, real);
    case TN_OP_matmul:
        return matmul(t, k, real);
    case TN_OP_attention:
        return attention(t, k, real);
    case TN_OP_attention_step:
        return attention_step(t, k, real);
    case TN_OP_layer_norm:
    case TN_OP_add_layer_norm:
    case TN_OP_rms_norm:
        return rows(t, op, k, real);
    case TN_OP_softmax:
        return softmax(t, k, real);
    case TN_OP_reduce:
        return reduce(t, k, real);
    case TN_OP_topk:
    case TN_OP_arg_reduce:
        return picks(t, op, k, real);
    case TN_OP_unary:
        return unary(t, k, real);
    case TN_OP_binary:
        return binary(t, k, real);
    case TN_OP_pointwise:
        return pointwise(t, k, real);
    case TN_OP_cast:
        return cast(t, k, real);
    case TN_OP_transpose:
        return transpose(t, k, real);
    case TN_OP_cast_transpose:
        return cast_transpose(t, k, real);
    case TN_OP_concat:
        return concat(t, k, real);
    case TN_OP_relative_bias:
        return relative_bias(t, k, real);
    case TN_OP_gather:
        return gather(t, k, real);
    case TN_OP_conv:
        return conv(t, k, real);
    case TN_OP_pool:
        return pool(t, k, real);
    case TN_OP_resize:
        return resize(t, k, real);
    default:
        return false;
    }
}
