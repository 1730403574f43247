/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of gemm, mlp, matmul, matmul_integer, attention, attention_step and cache_append: sizes around tile edges, transposed and constant (packed)
 * operands, every layout and epilogue, masks with -inf, broadcast biases. */
#include <float.h>
#include <math.h>

#include "kernels/checkkern.h"

/* ---- gemm ---- */
static bool bench_gemm(Case *c, TnGemmParams *p) {
    static const int64_t shapes[][3] = {{709, 768, 768}, {709, 3072, 768}, {709, 768, 3072},
                                        {1, 768, 768},   {4, 8000, 256},   {196, 320, 1280}};
    if (c->k >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[c->k], m = s[0], n = s[1], k = s[2];
    p->alpha = p->beta = 1.0f;
    p->act = c->k == 1 ? TN_ACT_GELU : TN_ACT_NONE;
    ck_in(c, TN_F32, 2, DIMS(m, k), FILL_NORMAL);
    ck_const(c, TN_F32, 2, DIMS(k, n), FILL_NORMAL);
    ck_const(c, TN_F32, 1, DIMS(n), FILL_NORMAL);
    ck_out(c, TN_F32, 2, DIMS(m, n));
    ck_say(c, "m %lld n %lld k %lld %s", (long long)m, (long long)n, (long long)k, tni_act_name(p->act));
    return true;
}

static void gemm_bias(Case *c, int64_t m, int64_t n) {
    switch (ck_range(c, 0, 5)) {
    case 0:
        ck_absent(c);
        break;
    case 1:
        ck_in(c, TN_F32, 0, NULL, FILL_NORMAL);
        break;
    case 2:
        ck_in(c, TN_F32, 2, DIMS(m, n), FILL_NORMAL);
        break;
    case 3:
        ck_in(c, TN_F32, 2, DIMS(m, 1), FILL_NORMAL);
        break;
    default:
        ck_in(c, TN_F32, 1, DIMS(n), FILL_NORMAL);
    }
    if (ck_coin(c))
        ck_last_constant(c);
}

/* Sizes of models: several tiles of a matrix unit in every direction, with parts left over. */
static bool model_gemm(Case *c, TnGemmParams *p) {
    if (c->k >= 240)
        return false;
    int64_t m = CK_PICK(c, 1, 4, 20, 49, 64, 100, 128, 129, 196, 257, 320, 709), n = CK_PICK(c, 8, 64, 72, 128, 256, 264, 320, 384, 768);
    int64_t k = CK_PICK(c, 8, 40, 64, 72, 128, 256, 320, 768, 1024);
    if (c->k % 20 == 13) { /* several tiles a block of a persistent kernel */
        m = 12300;
        n = 776;
        k = c->k % 40 == 13 ? 72 : 136;
    }
    const bool rings = c->k % 20 == 3; /* rings of tiles go round several times and end in parts of tiles, with the longest epilogue */
    if (rings) {
        m = 2500;
        n = c->k % 40 == 3 ? 776 : 264;
        k = c->k % 40 == 3 ? 392 : 904;
    }
    c->place = c->k % 8 == 0 ? PLACE_SHIFTED : PLACE_ALIGNED;
    p->trans_b = ck_rand(c) % 4 == 0;
    p->alpha = p->beta = 1.0f;
    p->act = (uint32_t)CK_PICK(c, TN_ACT_NONE, TN_ACT_NONE, TN_ACT_GELU, TN_ACT_RELU, TN_ACT_TANH, TN_ACT_SILU);
    if (rings)
        p->act = TN_ACT_GELU;
    ck_in(c, TN_F32, 2, DIMS(m, k), FILL_NORMAL);
    TnTensor *b = ck_in(c, TN_F32, 2, p->trans_b ? DIMS(n, k) : DIMS(k, n), FILL_NORMAL);
    for (int64_t i = 0; i < n * k; i++)
        ((float *)b->data)[i] /= sqrtf((float)k);
    if (ck_rand(c) % 6 != 0)
        ck_last_constant(c);
    if (ck_rand(c) % 4 == 0)
        ck_absent(c);
    else
        ck_const(c, TN_F32, 1, &n, FILL_NORMAL);
    if (ck_coin(c) || rings)
        ck_in(c, TN_F32, 2, DIMS(m, n), FILL_NORMAL);
    ck_out(c, TN_F32, 2, DIMS(m, n));
    ck_say(c, "m %lld n %lld k %lld trans_b %u act %s", (long long)m, (long long)n, (long long)k, p->trans_b, tni_act_name(p->act));
    return true;
}

/* ---- mlp: kernels of devices alone ---- */
bool case_mlp(Case *c) {
    static const int64_t large[][3] = {{60000, 64, 64}, {52001, 128, 192}, {34100, 320, 128}, {27000, 64, 704}}; /* several tiles a block */
    TnMlpParams *p = ck_params(c, sizeof *p);
    if (!ck_for_devices || c->bench || c->k >= 60)
        return false;
    int64_t m = CK_PICK(c, 1, 63, 64, 65, 128, 191, 192, 193, 257, 500, 709, 1000);
    int64_t n = CK_PICK(c, 64, 128, 320, 64, 128, 320, 8, 40, 72, 200, 256), h = CK_PICK(c, 8, 64, 72, 128, 200, 256, 320, 512, 1280, 2048);
    if (c->k % 15 == 9) {
        m = large[c->k / 15][0];
        n = large[c->k / 15][1];
        h = large[c->k / 15][2];
    }
    c->place = c->k % 8 == 0 ? PLACE_SHIFTED : PLACE_ALIGNED;
    p->act = (uint32_t)CK_PICK(c, TN_ACT_GELU, TN_ACT_NONE, TN_ACT_GELU, TN_ACT_RELU, TN_ACT_GELU_TANH, TN_ACT_SILU);
    p->trans_1 = ck_coin(c);
    p->trans_2 = ck_coin(c);
    ck_in(c, TN_F32, 2, DIMS(m, n), FILL_NORMAL);
    for (int i = 0; i < 2; i++) {
        const bool rows_first = i == 0 ? !p->trans_1 : p->trans_2;
        TnTensor *w = ck_const(c, TN_F32, 2, rows_first ? DIMS(n, h) : DIMS(h, n), FILL_NORMAL);
        for (int64_t k = 0; k < n * h; k++)
            ((float *)w->data)[k] /= sqrtf((float)(i == 0 ? n : h));
    }
    for (int i = 0; i < 2; i++) {
        if (ck_rand(c) % 4 == 0)
            ck_absent(c);
        else
            ck_const(c, TN_F32, 1, i == 0 ? &h : &n, FILL_NORMAL);
    }
    if (ck_rand(c) % 3 != 0)
        ck_in(c, TN_F32, 2, DIMS(m, n), FILL_NORMAL);
    ck_out(c, TN_F32, 2, DIMS(m, n));
    ck_say(c, "rows %lld columns %lld hidden %lld trans %u %u act %s", (long long)m, (long long)n, (long long)h, p->trans_1, p->trans_2,
           tni_act_name(p->act));
    return true;
}

bool case_gemm(Case *c) {
    TnGemmParams *p = ck_params(c, sizeof *p);
    if (c->bench)
        return bench_gemm(c, p);
    if (c->k >= 160)
        return ck_for_devices && model_gemm(c, p);
    int64_t lead = ck_range(c, 0, 2), dims[TN_MAX_RANK], m = 1;
    const int64_t n = ck_size(c, c->k % 4 == 0 ? 130 : 60), k = c->k % 37 == 0 ? 0 : ck_size(c, c->k % 9 == 0 ? 709 : 90);
    p->trans_a = lead == 0 && ck_rand(c) % 4 == 0;
    p->trans_b = ck_coin(c);
    p->alpha = ck_coin(c) ? 1.0f : (float)ck_normal(c);
    p->beta = ck_coin(c) ? 1.0f : (float)ck_normal(c);
    p->act = (uint32_t)(ck_coin(c) ? 0 : ck_range(c, 0, TN_ACT_COUNT - 1));
    p->act_alpha = p->act == TN_ACT_CLIP ? -1.0f : 0.1f;
    p->act_beta = 2.0f;
    for (int64_t d = 0; d <= lead; d++) {
        dims[d] = d == lead ? ck_size(c, 70) : ck_range(c, 1, 3);
        if (c->k % 31 == 30 && d == 0)
            dims[d] = 0;
        m *= dims[d];
    }
    int32_t rank = (int32_t)lead + 2;
    dims[rank - 1] = p->trans_a ? m : k;
    if (p->trans_a)
        dims[0] = k;
    Fill fill = c->k % 8 == 7 ? FILL_SPECIAL : FILL_NORMAL;
    if (fill == FILL_SPECIAL && p->act > TN_ACT_RELU) /* x * 0 at -inf is for the unary cases to check */
        p->act = TN_ACT_RELU;
    ck_in(c, TN_F32, rank, dims, fill);
    TnTensor *b = ck_in(c, TN_F32, 2, p->trans_b ? DIMS(n, k) : DIMS(k, n), FILL_NORMAL);
    for (int64_t i = 0; i < n * k; i++) /* as in models: sums of about 1, which activations do not flatten */
        ((float *)b->data)[i] /= sqrtf((float)k);
    if (ck_rand(c) % 3 != 0)
        ck_last_constant(c);
    gemm_bias(c, m, n);
    if (p->trans_a)
        dims[0] = m;
    dims[rank - 1] = n;
    if (ck_rand(c) % 3 == 0)
        ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "m %lld n %lld k %lld trans %u %u alpha %g beta %g act %s", (long long)m, (long long)n, (long long)k, p->trans_a, p->trans_b,
           (double)p->alpha, (double)p->beta, tni_act_name(p->act));
    return true;
}

/* ---- matmul: numpy's rules ---- */
/* Shapes of a product of case c: vectors, broadcast batches, sizes of 0. */
typedef struct MatmulShapes {
    int32_t ra, rb, ry;
    int64_t a[TN_MAX_RANK], b[TN_MAX_RANK], y[TN_MAX_RANK];
} MatmulShapes;

static void matmul_shapes(Case *c, int64_t max_n, MatmulShapes *s) {
    int64_t *a = s->a, *b = s->b, *y = s->y;
    const int64_t m = ck_size(c, 50), n = ck_size(c, max_n), k = c->k % 37 == 36 ? 0 : ck_size(c, c->k % 9 == 0 ? 300 : 60);
    const bool va = ck_rand(c) % 8 == 0, vb = ck_rand(c) % 8 == 0;
    int32_t batch = va && vb ? 0 : (int32_t)ck_range(c, 0, 3), drop_a = va ? batch : (int32_t)ck_range(c, 0, batch),
            drop_b = vb ? batch : (int32_t)ck_range(c, 0, batch), ra = 0, rb = 0, ry = 0;
    if (!va && !vb && drop_a > 0 && drop_b > 0)
        drop_a = 0;
    for (int32_t d = 0; d < batch; d++) {
        int64_t size = c->k % 29 == 28 ? 0 : ck_range(c, 1, 4), sa = size, sb = size;
        if (d >= drop_a && d >= drop_b && ck_rand(c) % 3 == 0)
            *(ck_coin(c) ? &sa : &sb) = 1;
        if (d >= drop_a)
            a[ra++] = sa;
        if (d >= drop_b)
            b[rb++] = sb;
        if (d >= drop_a || d >= drop_b)
            y[ry++] = d >= drop_a && d >= drop_b ? (sa == 1 ? sb : sa) : d >= drop_a ? sa : sb;
    }
    if (!va)
        a[ra++] = m;
    a[ra++] = k;
    b[rb++] = k;
    if (!vb)
        b[rb++] = n;
    if (!va)
        y[ry++] = m;
    if (!vb)
        y[ry++] = n;
    s->ra = ra;
    s->rb = rb;
    s->ry = ry;
}

bool case_matmul(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    if (c->bench) {
        if (c->k >= 2)
            return false;
        const int64_t k = c->k == 0 ? 64 : 709, n = c->k == 0 ? 709 : 64;
        ck_in(c, TN_F32, 3, DIMS(12, 709, k), FILL_NORMAL);
        ck_in(c, TN_F32, 3, DIMS(12, k, n), FILL_NORMAL);
        ck_out(c, TN_F32, 3, DIMS(12, 709, n));
        ck_say(c, "[12,709,%lld] x [12,%lld,%lld]", (long long)k, (long long)k, (long long)n);
        return true;
    }
    if (c->k >= 120)
        return false;
    MatmulShapes s;
    matmul_shapes(c, 70, &s);
    ck_in(c, TN_F32, s.ra, s.a, c->k % 8 == 7 ? FILL_SPECIAL : FILL_NORMAL);
    ck_in(c, TN_F32, s.rb, s.b, FILL_NORMAL);
    if (ck_coin(c))
        ck_last_constant(c);
    ck_out(c, TN_F32, s.ry, s.y);
    return true;
}

/* Bytes of every value, or of the ends of their range alone, which 8-bit instructions that saturate would get wrong. */
static void bytes(Case *c, TnDtype t, int32_t rank, const int64_t *dims, bool ends) {
    TnTensor *x = ck_in(c, t, rank, dims, FILL_WIDE);
    for (int64_t i = 0; ends && x->data != NULL && i < tn_tensor_numel(x); i++)
        ((uint8_t *)x->data)[i] = ck_rand(c) % 8 == 0 ? (t == TN_I8 ? 127 : 0) : t == TN_I8 ? 0x80 : 0xff;
}

static bool bench_matmul_integer(Case *c) {
    static const int64_t shapes[][3] = {{512, 768, 768}, {512, 3072, 768}, {512, 768, 3072}, {1, 768, 768}, {49, 64, 576}};
    if (c->k >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[c->k];
    ck_in(c, TN_U8, 2, DIMS(s[0], s[2]), FILL_WIDE);
    ck_const(c, TN_I8, 2, DIMS(s[2], s[1]), FILL_WIDE);
    ck_ints(c, TN_U8, 0, NULL, 0, 255);
    ck_out(c, TN_I32, 2, DIMS(s[0], s[1]));
    ck_say(c, "m %lld n %lld k %lld", (long long)s[0], (long long)s[1], (long long)s[2]);
    return true;
}

bool case_matmul_integer(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    if (c->bench)
        return bench_matmul_integer(c);
    if (c->k >= 200)
        return false;
    const TnDtype ta = c->k % 2 == 0 ? TN_U8 : TN_I8, tb = c->k / 2 % 2 == 0 ? TN_I8 : TN_U8;
    const bool ends = c->k % 5 == 4;
    MatmulShapes s;
    matmul_shapes(c, c->k % 3 == 0 ? 200 : 70, &s);
    bytes(c, ta, s.ra, s.a, ends);
    bytes(c, tb, s.rb, s.b, ends);
    if (ck_coin(c))
        ck_last_constant(c);
    const bool zb = ck_coin(c);
    if (ck_rand(c) % 3 != 0)
        ck_ints(c, ta, ck_coin(c) ? 1 : 0, DIMS(1), ta == TN_I8 ? -128 : 0, ta == TN_I8 ? 127 : 255);
    else if (zb)
        ck_absent(c);
    if (zb)
        ck_ints(c, tb, s.rb > 1 && ck_coin(c) ? 1 : 0, &s.b[s.rb - 1], tb == TN_I8 ? -128 : 0, tb == TN_I8 ? 127 : 255);
    ck_out(c, TN_I32, s.ry, s.y);
    ck_say(c, "%s x %s%s, rank %d x %d, last dims %lld, %lld%s", tn_dtype_name(ta), tn_dtype_name(tb), ends ? " ends" : "", (int)s.ra, (int)s.rb,
           (long long)s.a[s.ra - 1], (long long)s.b[s.rb - 1], zb ? ", zero points of B" : "");
    return true;
}

/* ---- attention ---- */
typedef struct Layout {
    int32_t rank;
    int64_t dims[4];
    uint32_t off;
} Layout;

/* Dims of an operand with h heads of d elements and s positions; BSHD may be part of a wider row. */
static Layout operand(Case *c, uint32_t layout, int64_t b, int64_t s, int64_t h, int64_t d) {
    if (layout == TN_LAYOUT_BHSD)
        return (Layout){4, {b, h, s, d}, 0};
    if (layout == TN_LAYOUT_BHDS)
        return (Layout){4, {b, h, d, s}, 0};
    if (ck_rand(c) % 4 == 0)
        return (Layout){4, {b, s, h, d}, 0};
    int64_t before = ck_coin(c) ? ck_range(c, 0, 3) * d : 0, after = ck_coin(c) ? ck_range(c, 0, 5) : 0;
    return (Layout){3, {b, s, before + h * d + after, 0}, (uint32_t)before};
}

static void attention_bias(Case *c, int64_t b, int64_t h, int64_t sq, int64_t sk, bool mask) {
    int64_t full[4] = {b, h, sq, sk}, dims[4];
    int32_t drop = (int32_t)ck_range(c, 0, 3);
    for (int32_t d = drop; d < 4; d++)
        dims[d - drop] = ck_rand(c) % 3 == 0 ? 1 : full[d];
    if (dims[3 - drop] != 1 && ck_rand(c) % 4 == 0)
        dims[3 - drop] = (sk + TN_BIAS_PAD - 1) / TN_BIAS_PAD * TN_BIAS_PAD;
    TnTensor *t = ck_in(c, TN_F32, 4 - drop, dims, FILL_NORMAL);
    for (int64_t i = 0; i < tn_tensor_numel(t) && mask; i++)
        if (ck_rand(c) % 4 == 0)
            ((float *)t->data)[i] = ck_coin(c) ? -INFINITY : -1e30f; /* two of the lowest f32 would be -inf */
}

/* Sizes of models: a merged projection, or q beside merged k and v; dense and key biases. */
static bool model_attention(Case *c, TnAttentionParams *p) {
    const bool odd = c->k >= 200; /* lengths around the tiles of keys of fast kernels */
    const int64_t h = ck_range(c, 1, 4), d = odd ? CK_PICK(c, 64, 64, 128) : CK_PICK(c, 32, 64, 64, 128), b = ck_range(c, 1, 3),
                  sk = odd ? CK_PICK(c, 17, 65, 97, 130, 145, 177, 207, 289, 301, 709)
                           : CK_PICK(c, 1, 20, 49, 64, 100, 128, 197, 256, 320, 578);
    const int64_t sq = ck_coin(c) && sk < 500 ? sk : CK_PICK(c, 1, 20, 64, 100, 129, 256);
    const int64_t w = h * d, dense = odd ? ck_range(c, 0, 4) % 3 : ck_range(c, 0, 2), merged = sq == sk;
    c->place = c->k % 8 == 0 ? PLACE_SHIFTED : PLACE_ALIGNED;
    p->heads = p->kv_heads = (uint32_t)h;
    p->d_qk = p->d_v = (uint32_t)d;
    p->scale = 1.0f / sqrtf((float)d);
    p->causal = ck_rand(c) % 5 == 0 && sk >= sq;
    p->k_off = merged ? (uint32_t)w : 0;
    p->v_off = p->k_off + (uint32_t)w;
    const int64_t row = w * (merged ? 3 : 2);
    ck_in(c, TN_F32, 3, DIMS(b, sq, merged ? row : w), FILL_NORMAL);
    ck_in(c, TN_F32, 3, DIMS(b, sk, row), FILL_NORMAL);
    ck_in(c, TN_F32, 3, DIMS(b, sk, row), FILL_NORMAL);
    if (dense > 0)
        ck_in(c, TN_F32, 4, DIMS(dense == 1 ? 1 : b, h, sq, sk), FILL_NORMAL);
    if (ck_coin(c)) {
        TnTensor *t = ck_in(c, TN_F32, 4, DIMS(b, 1, 1, sk), FILL_NORMAL);
        for (int64_t i = 0; i < tn_tensor_numel(t); i++)
            ((float *)t->data)[i] = i % sk > sk / 2 ? -10000.0f : 0.0f;
    }
    ck_out(c, TN_F32, 3, DIMS(b, sq, w));
    ck_say(c, "b %lld h %lld sq %lld sk %lld d %lld causal %u %s dense %lld", (long long)b, (long long)h, (long long)sq, (long long)sk,
           (long long)d, p->causal, merged ? "merged" : "apart", (long long)dense);
    return true;
}

/* Dense biases with padded rows. */
typedef enum Mask {
    MASK_NONE,
    MASK_INF,     /* some keys, -inf */
    MASK_LOW,     /* some keys, the lowest float32 */
    MASK_ALL_INF, /* all keys of the first batch */
    MASK_ALL_LOW,
    MASK_ROWS,     /* dense: all keys of some queries, -inf */
    MASK_LOW_ROWS, /* dense: some keys of each query and all keys of some, the lowest float32 */
} Mask;

typedef struct Dense {
    int64_t b, h, sq, sk, d;
    uint8_t batches, heads, causal, mask; /* batches, heads: the bias has them */
} Dense;

static const Dense dense_cases[] = {
    {1, 2, 709, 709, 64, 1, 1, 0, MASK_NONE},      {2, 2, 200, 709, 64, 1, 1, 0, MASK_INF},     {2, 3, 192, 712, 64, 1, 1, 0, MASK_LOW},
    {1, 2, 709, 578, 64, 1, 1, 0, MASK_NONE},      {3, 2, 65, 63, 64, 1, 1, 0, MASK_INF},       {2, 1, 130, 17, 64, 1, 1, 0, MASK_LOW},
    {1, 4, 64, 8, 64, 1, 1, 0, MASK_NONE},         {2, 2, 100, 1, 64, 1, 1, 0, MASK_NONE},      {2, 2, 129, 129, 64, 1, 1, 1, MASK_NONE},
    {1, 2, 300, 709, 64, 1, 1, 1, MASK_LOW},       {1, 1, 709, 709, 64, 1, 1, 1, MASK_INF},     {3, 2, 150, 150, 64, 0, 1, 0, MASK_LOW},
    {2, 4, 150, 301, 64, 1, 0, 0, MASK_INF},       {2, 2, 97, 145, 64, 0, 0, 0, MASK_NONE},     {2, 2, 200, 250, 64, 1, 1, 0, MASK_ROWS},
    {2, 2, 200, 250, 64, 1, 1, 0, MASK_ALL_LOW},   {2, 2, 130, 200, 64, 1, 1, 0, MASK_ALL_INF},
    {1, 3, 250, 250, 64, 1, 1, 0, MASK_LOW_ROWS},
    {8, 12, 390, 200, 64, 1, 1, 0, MASK_INF},      {8, 12, 260, 101, 64, 0, 1, 1, MASK_NONE},   {6, 8, 300, 203, 128, 1, 1, 0, MASK_LOW},
    {1, 2, 709, 709, 128, 1, 1, 0, MASK_NONE},     {2, 2, 100, 260, 128, 1, 1, 0, MASK_ALL_LOW}, {2, 2, 129, 129, 128, 1, 1, 1, MASK_INF},
    {1, 2, 65, 47, 128, 0, 1, 0, MASK_LOW_ROWS},   {2, 2, 260, 289, 64, 1, 1, 0, MASK_NONE},    {1, 2, 64, 160, 64, 1, 1, 0, MASK_LOW},
    {1, 2, 70, 161, 64, 1, 1, 0, MASK_INF},        {1, 1, 64, 432, 64, 1, 0, 0, MASK_NONE},     {2, 2, 50, 77, 32, 1, 1, 1, MASK_LOW},
    {1, 2, 40, 90, 96, 1, 1, 0, MASK_INF},         {1, 1, 3, 70, 200, 1, 1, 0, MASK_LOW},
};

static void dense_bias(Case *c, const Dense *s) {
    const int64_t row = (s->sk + TN_BIAS_PAD - 1) / TN_BIAS_PAD * TN_BIAS_PAD;
    TnTensor *t = ck_in(c, TN_F32, 4, DIMS(s->batches ? s->b : 1, s->heads ? s->h : 1, s->sq, row), FILL_NORMAL);
    float *v = t->data;
    for (int64_t i = 0; i < tn_tensor_numel(t); i++) {
        const int64_t query = i / row % s->sq, key = i % row;
        if (key >= s->sk)
            v[i] = key % 2 == 0 ? NAN : INFINITY;
        else if (s->mask == MASK_ROWS && query % 7 == 3)
            v[i] = -INFINITY;
        else if (s->mask == MASK_LOW_ROWS && ((query + key) % 3 == 1 || query % 9 == 4))
            v[i] = -FLT_MAX;
    }
}

static void key_mask(Case *c, const Dense *s) {
    TnTensor *t = ck_in(c, TN_F32, 4, DIMS(s->b, 1, 1, s->sk), FILL_NORMAL);
    const bool all = s->mask == MASK_ALL_INF || s->mask == MASK_ALL_LOW;
    for (int64_t i = 0; i < tn_tensor_numel(t); i++)
        ((float *)t->data)[i] = !(all && i < s->sk) && i % 5 != 2                 ? 0.0f
                                : s->mask == MASK_INF || s->mask == MASK_ALL_INF ? -INFINITY
                                                                                 : -FLT_MAX;
}

static bool dense_attention(Case *c, TnAttentionParams *p) {
    const uint32_t k = c->k - CK_DENSE_ATTENTION;
    if (k / 3 >= TN_COUNT(dense_cases))
        return false;
    const Dense *s = &dense_cases[k / 3];
    const int64_t w = s->h * s->d;
    c->place = s->mask == MASK_NONE && k % 3 == 1 ? PLACE_SHIFTED : PLACE_ALIGNED;
    p->heads = p->kv_heads = (uint32_t)s->h;
    p->d_qk = p->d_v = (uint32_t)s->d;
    p->scale = 1.0f / sqrtf((float)s->d);
    p->causal = s->causal;
    ck_in(c, TN_F32, 3, DIMS(s->b, s->sq, w), FILL_NORMAL);
    ck_in(c, TN_F32, 3, DIMS(s->b, s->sk, w), FILL_NORMAL);
    ck_in(c, TN_F32, 3, DIMS(s->b, s->sk, w), FILL_NORMAL);
    dense_bias(c, s);
    if (s->mask >= MASK_INF && s->mask <= MASK_ALL_LOW)
        key_mask(c, s);
    ck_out(c, TN_F32, 3, DIMS(s->b, s->sq, w));
    ck_say(c, "b %lld h %lld sq %lld sk %lld d %lld causal %u dense %u%u mask %u", (long long)s->b, (long long)s->h, (long long)s->sq,
           (long long)s->sk, (long long)s->d, s->causal, s->batches, s->heads, s->mask);
    return true;
}

bool case_attention(Case *c) {
    TnAttentionParams *p = ck_params(c, sizeof *p);
    if (ck_for_devices && !c->bench && c->k >= CK_DENSE_ATTENTION)
        return dense_attention(c, p);
    if (ck_for_devices && !c->bench && c->k >= 140)
        return model_attention(c, p);
    if (c->bench ? c->k >= 2 : c->k >= 140)
        return false;
    const int64_t group = c->bench ? 1 : CK_PICK(c, 1, 1, 1, 2, 3), kv = c->bench ? 12 : ck_range(c, 1, 4), h = group * kv;
    const int64_t b = c->bench ? 1 : ck_range(c, 1, 3), dq = c->bench        ? 64
                                                             : c->k % 3 == 0 ? CK_PICK(c, 8, 16, 32, 64, 96)
                                                                             : ck_range(c, 1, 70);
    const int64_t dv = c->bench || ck_coin(c) ? dq : ck_range(c, 1, 70);
    const int64_t sk = c->bench ? 709 : ck_size(c, c->k % 7 == 0 ? 300 : 70);
    const int64_t sq = c->bench ? 709 : ck_coin(c) ? sk : ck_size(c, c->k % 7 == 1 ? 150 : 40);
    p->heads = (uint32_t)h;
    p->kv_heads = (uint32_t)kv;
    p->d_qk = (uint32_t)dq;
    p->d_v = (uint32_t)dv;
    p->scale = (float)(1.0 / sqrt((double)dq));
    p->causal = !c->bench && ck_rand(c) % 3 == 0 && sk >= sq;
    p->q_layout = c->bench ? 0 : (uint32_t)ck_range(c, 0, 1);
    p->k_layout = c->bench ? 0 : (uint32_t)ck_range(c, 0, 2);
    p->v_layout = c->bench ? 0 : (uint32_t)ck_range(c, 0, 1);
    p->out_layout = c->bench ? 0 : (uint32_t)ck_range(c, 0, 1);
    Layout q = operand(c, p->q_layout, b, sq, h, dq), k = operand(c, p->k_layout, b, sk, kv, dq),
           v = operand(c, p->v_layout, b, sk, kv, dv);
    p->q_off = q.off;
    p->k_off = k.off;
    p->v_off = v.off;
    ck_in(c, TN_F32, q.rank, q.dims, FILL_NORMAL);
    ck_in(c, TN_F32, k.rank, k.dims, FILL_NORMAL);
    ck_in(c, TN_F32, v.rank, v.dims, FILL_NORMAL);
    int64_t biases = c->bench ? c->k * 2 : ck_range(c, 0, 2);
    for (int64_t i = 0; i < biases; i++) {
        if (c->bench)
            ck_in(c, TN_F32, 4, i == 0 ? DIMS(1, 12, 709, 709) : DIMS(1, 1, 1, 709), FILL_NORMAL);
        else
            attention_bias(c, b, h, sq, sk, ck_coin(c));
    }
    if (p->out_layout == TN_LAYOUT_BHSD)
        ck_out(c, TN_F32, 4, DIMS(b, h, sq, dv));
    else
        ck_out(c, TN_F32, 3, DIMS(b, sq, h * dv));
    ck_say(c, "b %lld h %lld/%lld sq %lld sk %lld d %lld/%lld causal %u layouts %u%u%u%u biases %lld", (long long)b, (long long)h,
           (long long)kv, (long long)sq, (long long)sk, (long long)dq, (long long)dv, p->causal, p->q_layout, p->k_layout, p->v_layout,
           p->out_layout, (long long)biases);
    return true;
}

/* ---- generation ---- */
bool case_attention_step(Case *c) {
    TnAttentionStepParams *p = ck_params(c, sizeof *p);
    if (c->bench ? c->k >= 2 : c->k >= 60)
        return false;
    const int64_t h = c->bench ? 8 : ck_range(c, 1, 8), d = c->bench ? 32 : ck_coin(c) ? CK_PICK(c, 8, 16, 32, 64) : ck_range(c, 1, 70);
    const int64_t rows = c->bench ? 4 : ck_range(c, 1, 6), lanes = rows + ck_range(c, 0, 3), places = c->bench ? 577 : ck_size(c, 130);
    const bool cross = c->bench ? c->k == 1 : ck_coin(c);
    p->heads = (uint32_t)h;
    p->d_head = (uint32_t)d;
    p->scale = (float)(1.0 / sqrt((double)d));
    p->q_off = ck_coin(c) ? (uint32_t)(ck_range(c, 0, 2) * h * d) : 0;
    ck_in(c, TN_F32, 2, DIMS(rows, (int64_t)p->q_off + h * d + ck_range(c, 0, 3)), FILL_NORMAL);
    ck_in(c, TN_F32, 3, DIMS(lanes, places, h * d), FILL_NORMAL);
    ck_in(c, TN_F32, 3, DIMS(lanes, places, h * d), FILL_NORMAL);
    ck_ints(c, TN_I32, 2, DIMS(rows, cross ? 1 : places), 0, lanes - 1);
    ck_ints(c, TN_I32, 1, DIMS(1), c->bench ? places : 1, places);
    ck_out(c, TN_F32, 2, DIMS(rows, h * d));
    ck_say(c, "rows %lld heads %lld d %lld positions %lld %s", (long long)rows, (long long)h, (long long)d, (long long)places,
           cross ? "cross" : "self");
    return true;
}

bool case_cache_append(Case *c) {
    TnCacheAppendParams *p = ck_params(c, sizeof *p);
    if (c->bench || c->k >= 40)
        return false;
    const int64_t rows = ck_range(c, 1, 6), lanes = rows + ck_range(c, 0, 3), places = ck_size(c, 40), width = ck_size(c, 200);
    p->off = (uint32_t)ck_range(c, 0, 20);
    p->width = (uint32_t)width;
    ck_in(c, TN_F32, 2, DIMS(rows, (int64_t)p->off + width + ck_range(c, 0, 3)), FILL_WIDE);
    ck_in(c, TN_F32, 3, DIMS(lanes, places, width), FILL_NORMAL);
    c->state[c->n_in - 1] = true;
    TnTensor *where = ck_ints(c, TN_I32, 2, DIMS(rows, 2), 0, places - 1);
    for (int64_t r = 0; r < rows; r++) /* every row its own lane: the order of writes is not part of the contract */
        ((int32_t *)where->data)[r * 2] = (int32_t)(lanes - 1 - r);
    return true;
}
