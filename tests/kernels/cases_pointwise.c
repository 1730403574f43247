/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of unary, binary, where, clip, cast and pointwise: every function and type, broadcast patterns, special values. */
#include "kernels/checkkern.h"

/* Random dims of rank 0..6 with at most about 4000 elements; sometimes one of them 0. */
static int32_t random_dims(Case *c, int64_t *dims) {
    int32_t rank = (int32_t)ck_range(c, 0, 6);
    int64_t left = 4000;
    for (int32_t d = rank - 1; d >= 0; d--) {
        dims[d] = d == rank - 1 && ck_coin(c) ? ck_size(c, 1500) : ck_range(c, 1, 5);
        dims[d] = TN_MIN(dims[d], TN_MAX(left, 1));
        left /= dims[d];
    }
    if (rank > 0 && ck_rand(c) % 12 == 0)
        dims[ck_range(c, 0, rank - 1)] = 0;
    return rank;
}

/* Dims that broadcast to `dims`: some of them 1, leading ones gone. */
static int32_t broadcast_dims(Case *c, int32_t rank, const int64_t *dims, int64_t *out) {
    int64_t kind = ck_range(c, 0, 4); /* same, scalar, last axis, per row, any */
    int32_t drop = kind == 1 ? (int32_t)ck_range(c, 0, rank) : kind == 4 ? (int32_t)ck_range(c, 0, rank / 2) : 0;
    if (kind == 2 && rank > 0)
        drop = rank - 1;
    for (int32_t d = drop; d < rank; d++) {
        bool one = kind == 1 || (kind == 3 && d == rank - 1) || (kind == 4 && ck_coin(c));
        out[d - drop] = one ? 1 : dims[d];
    }
    return rank - drop;
}

static Fill random_fill(Case *c) {
    return (Fill)CK_PICK(c, FILL_NORMAL, FILL_SPECIAL, FILL_FINITE);
}

bool case_unary(Case *c) {
    TnUnaryParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    if (c->bench) {
        static const uint32_t fns[] = {TN_UNARY_gelu,    TN_UNARY_gelu_tanh, TN_UNARY_erf,  TN_UNARY_tanh, TN_UNARY_exp,     TN_UNARY_log,
                                       TN_UNARY_sigmoid, TN_UNARY_relu,      TN_UNARY_sqrt, TN_UNARY_sin,  TN_UNARY_softplus};
        if (c->k >= TN_COUNT(fns))
            return false;
        p->fn = fns[c->k];
        ck_in(c, TN_F32, 2, DIMS(709, 3072), FILL_NORMAL);
        ck_out(c, TN_F32, 2, DIMS(709, 3072));
        ck_say(c, "%s [709,3072]", tni_unary_name(p->fn));
        return true;
    }
    if (c->k >= TN_UNARY_COUNT * 8)
        return false;
    p->fn = c->k % TN_UNARY_COUNT;
    p->alpha = (float)(0.1 + ck_unit(c));
    p->beta = (float)(0.1 + ck_unit(c));
    if (p->fn == TN_UNARY_isinf) {
        p->alpha = ck_coin(c) ? 1.0f : 0.0f;
        p->beta = ck_coin(c) ? 1.0f : 0.0f;
    }
    uint32_t types = 0;
    static const uint32_t type_of[] = {
#define UNARY(name, expr, types) types,
#include "kernel/functions.inc"
#undef UNARY
    };
    types = type_of[p->fn];
    TnDtype t = (types & TN_FN_F) != 0 ? TN_F32 : (types & TN_FN_B) != 0 ? TN_BOOL : TN_I64;
    if ((types & TN_FN_I) != 0 && ck_coin(c))
        t = ck_coin(c) ? TN_I64 : TN_I32;
    int32_t rank = random_dims(c, dims);
    Fill fill = random_fill(c);
    bool domain = p->fn == TN_UNARY_asin || p->fn == TN_UNARY_acos || p->fn == TN_UNARY_atanh || p->fn == TN_UNARY_acosh;
    if (t == TN_F32 && (p->fn == TN_UNARY_floor || p->fn == TN_UNARY_round || p->fn == TN_UNARY_ceil || p->fn == TN_UNARY_exp))
        fill = (Fill)CK_PICK(c, FILL_NORMAL, FILL_SPECIAL, FILL_WIDE);
    TnTensor *x = ck_in(c, t, rank, dims, fill);
    if (domain && ck_coin(c))
        for (int64_t i = 0; i < tn_tensor_numel(x); i++)
            ((float *)x->data)[i] = (float)(ck_unit(c) * 2.0 - 1.0 + (p->fn == TN_UNARY_acosh ? 2.0 : 0.0));
    ck_out(c, (types & TN_FN_TO_BOOL) != 0 ? TN_BOOL : t, rank, dims);
    ck_say(c, "%s alpha %g beta %g fill %d", tni_unary_name(p->fn), (double)p->alpha, (double)p->beta, (int)fill);
    return true;
}

static bool bench_binary(Case *c, TnBinaryParams *p) {
    static const struct {
        const char *what;
        int32_t rank_a, rank_b;
        int64_t a[4], b[4];
    } shapes[] = {{"add [709,768] + [709,768]", 2, 2, {709, 768}, {709, 768}},
                  {"add [709,768] + [768]", 2, 1, {709, 768}, {768}},
                  {"add [12,709,709] + [709,709]", 3, 2, {12, 709, 709}, {709, 709}},
                  {"add [12,709,709] + [12,709,1]", 3, 3, {12, 709, 709}, {12, 709, 1}},
                  {"add [64,56,56] + [64,1,1]", 3, 3, {64, 56, 56}, {64, 1, 1}},
                  {"add [709,768] + []", 2, 0, {709, 768}, {0}},
                  {"add [9000,7] + [9000,1]", 2, 2, {9000, 7}, {9000, 1}},
                  {"less [709,768] < [709,768]", 2, 2, {709, 768}, {709, 768}},
                  {"pow [709,768] ^ []", 2, 0, {709, 768}, {0}}};
    if (c->k >= TN_COUNT(shapes))
        return false;
    p->fn = c->k == 7 ? TN_BINARY_less : c->k == 8 ? TN_BINARY_pow : TN_BINARY_add;
    ck_in(c, TN_F32, shapes[c->k].rank_a, shapes[c->k].a, FILL_POSITIVE);
    ck_in(c, TN_F32, shapes[c->k].rank_b, shapes[c->k].b, FILL_POSITIVE);
    ck_out(c, c->k == 7 ? TN_BOOL : TN_F32, shapes[c->k].rank_a, shapes[c->k].a);
    ck_say(c, "%s", shapes[c->k].what);
    return true;
}

bool case_binary(Case *c) {
    TnBinaryParams *p = ck_params(c, sizeof *p);
    if (c->bench)
        return bench_binary(c, p);
    if (c->k >= TN_BINARY_COUNT * 24)
        return false;
    static const uint32_t type_of[] = {
#define BINARY(name, fexpr, iexpr, types) types,
#include "kernel/functions.inc"
#undef BINARY
    };
    p->fn = c->k % TN_BINARY_COUNT;
    uint32_t types = type_of[p->fn];
    TnDtype list[4];
    uint32_t n = 0;
    if ((types & TN_FN_F) != 0)
        list[n++] = TN_F32;
    if ((types & TN_FN_I) != 0) {
        list[n++] = TN_I64;
        list[n++] = TN_I32;
    }
    if ((types & TN_FN_B) != 0)
        list[n++] = TN_BOOL;
    TnDtype t = list[ck_rand(c) % n];
    int64_t dims[TN_MAX_RANK], sub[TN_MAX_RANK];
    int32_t rank = random_dims(c, dims), other = broadcast_dims(c, rank, dims, sub);
    bool swap = ck_coin(c);
    Fill fill = t == TN_F32 ? random_fill(c) : (Fill)CK_PICK(c, FILL_NORMAL, FILL_NORMAL, FILL_WIDE);
    if (p->fn == TN_BINARY_pow)
        fill = ck_coin(c) ? FILL_POSITIVE : FILL_NORMAL;
    if (p->fn == TN_BINARY_mod || p->fn == TN_BINARY_fmod) /* a quotient beyond 2^53 has no remainder in double */
        fill = FILL_POSITIVE;
    ck_in(c, t, swap ? other : rank, swap ? sub : dims, fill);
    TnTensor *b = ck_in(c, t, swap ? rank : other, swap ? dims : sub, fill);
    if (p->fn == TN_BINARY_pow && t == TN_F32 && tn_tensor_numel(b) > 0) {
        static const float exponents[] = {2.0f, 3.0f, 0.5f, 1.0f, -1.0f, 0.3f, -2.0f, 0.0f};
        float e = exponents[ck_rand(c) % TN_COUNT(exponents)];
        for (int64_t i = 0; i < tn_tensor_numel(b); i++)
            ((float *)b->data)[i] = e;
    }
    ck_out(c, (types & TN_FN_TO_BOOL) != 0 ? TN_BOOL : t, rank, dims);
    ck_say(c, "%s fill %d", tni_binary_name(p->fn), (int)fill);
    return true;
}

bool case_where(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    static const TnDtype types[] = {TN_F32, TN_I64, TN_I32, TN_BOOL, TN_F16, TN_U8, TN_F64};
    int64_t dims[TN_MAX_RANK], sub[TN_MAX_RANK];
    if (c->bench) {
        if (c->k >= 1)
            return false;
        ck_in(c, TN_BOOL, 2, DIMS(709, 709), FILL_NORMAL);
        ck_in(c, TN_F32, 3, DIMS(12, 709, 709), FILL_NORMAL);
        ck_in(c, TN_F32, 0, NULL, FILL_NORMAL);
        ck_out(c, TN_F32, 3, DIMS(12, 709, 709));
        ck_say(c, "where [709,709] ? [12,709,709] : []");
        return true;
    }
    if (c->k >= 80)
        return false;
    TnDtype t = types[c->k % TN_COUNT(types)];
    int32_t rank = random_dims(c, dims);
    int64_t full = ck_range(c, 0, 2);
    for (int i = 0; i < 3; i++) {
        int32_t r = i == full ? rank : broadcast_dims(c, rank, dims, sub);
        ck_in(c, i == 0 ? TN_BOOL : t, r, i == full ? dims : sub, i == 0 ? FILL_NORMAL : FILL_WIDE);
    }
    ck_out(c, t, rank, dims);
    return true;
}

bool case_clip(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    static const TnDtype types[] = {TN_F32, TN_I64, TN_I32};
    int64_t dims[TN_MAX_RANK];
    if (c->bench || c->k >= 60)
        return false;
    TnDtype t = types[c->k % TN_COUNT(types)];
    int32_t rank = random_dims(c, dims);
    ck_in(c, t, rank, dims, ck_coin(c) ? FILL_SPECIAL : FILL_NORMAL);
    for (int i = 0; i < 2; i++) {
        if (ck_rand(c) % 4 == 0)
            ck_absent(c);
        else
            ck_in(c, t, ck_coin(c) ? 0 : 1, DIMS(1), FILL_NORMAL);
        if (ck_coin(c))
            ck_last_constant(c);
    }
    ck_out(c, t, rank, dims);
    return true;
}

bool case_cast(Case *c) {
    static const TnDtype types[] = {TN_F32, TN_F64, TN_F16, TN_BF16, TN_I64, TN_I32, TN_U8, TN_I8, TN_BOOL};
    TnCastParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    if (c->bench) {
        static const TnDtype pairs[][2] = {{TN_F32, TN_F16}, {TN_F16, TN_F32},  {TN_F32, TN_BF16}, {TN_I64, TN_F32},
                                           {TN_F32, TN_I64}, {TN_BOOL, TN_F32}, {TN_I64, TN_I32}};
        if (c->k >= TN_COUNT(pairs))
            return false;
        p->to = pairs[c->k][1];
        ck_in(c, pairs[c->k][0], 2, DIMS(709, 768), FILL_NORMAL);
        ck_out(c, pairs[c->k][1], 2, DIMS(709, 768));
        ck_say(c, "%s to %s [709,768]", tn_dtype_name(pairs[c->k][0]), tn_dtype_name(pairs[c->k][1]));
        return true;
    }
    if (c->k >= TN_COUNT(types) * TN_COUNT(types) * 3)
        return false;
    TnDtype from = types[c->k % TN_COUNT(types)], to = types[c->k / TN_COUNT(types) % TN_COUNT(types)];
    p->to = to;
    p->saturate = 1;
    int32_t rank = random_dims(c, dims);
    ck_in(c, from, rank, dims, (Fill)CK_PICK(c, FILL_NORMAL, FILL_SPECIAL, FILL_WIDE));
    ck_out(c, to, rank, dims);
    ck_say(c, "%s to %s", tn_dtype_name(from), tn_dtype_name(to));
    return true;
}

/* ---- programs ---- */
static const uint8_t smooth[] = {TN_UNARY_tanh, TN_UNARY_erf,    TN_UNARY_sigmoid, TN_UNARY_gelu,      TN_UNARY_relu,
                                 TN_UNARY_neg,  TN_UNARY_square, TN_UNARY_abs,     TN_UNARY_gelu_tanh, TN_UNARY_softplus};
static const uint8_t plain[] = {TN_BINARY_add, TN_BINARY_sub, TN_BINARY_mul, TN_BINARY_min, TN_BINARY_max};

static TnPwInstr instruction(Case *c, uint32_t defined, uint8_t dst) {
    TnPwInstr i = {.dst = dst};
    i.a = (uint8_t)ck_range(c, 0, (int64_t)defined - 1);
    i.b = (uint8_t)ck_range(c, 0, (int64_t)defined - 1);
    i.c = (uint8_t)ck_range(c, 0, (int64_t)defined - 1);
    i.op = (uint8_t)CK_PICK(c, TN_PW_UNARY, TN_PW_UNARY, TN_PW_BINARY, TN_PW_BINARY, TN_PW_BINARY, TN_PW_CLIP, TN_PW_CONST, TN_PW_WHERE);
    if (i.op == TN_PW_UNARY)
        i.fn = smooth[ck_rand(c) % TN_COUNT(smooth)];
    if (i.op == TN_PW_BINARY)
        i.fn = plain[ck_rand(c) % TN_COUNT(plain)];
    i.alpha = i.op == TN_PW_CLIP ? -2.0f : (float)ck_normal(c);
    i.beta = i.op == TN_PW_CLIP ? 2.5f : 1.0f;
    return i;
}

static bool bench_pointwise(Case *c, TnPointwiseParams *p) {
    if (c->k >= 1)
        return false;
    p->n_in = 3;
    p->n_code = 3;
    p->code[0] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_add, .dst = 3, .a = 0, .b = 1};
    p->code[1] = (TnPwInstr){.op = TN_PW_UNARY, .fn = TN_UNARY_gelu, .dst = 3, .a = 3};
    p->code[2] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_add, .dst = 3, .a = 3, .b = 2};
    ck_in(c, TN_F32, 2, DIMS(709, 3072), FILL_NORMAL);
    ck_in(c, TN_F32, 1, DIMS(3072), FILL_NORMAL);
    ck_in(c, TN_F32, 2, DIMS(709, 3072), FILL_NORMAL);
    ck_out(c, TN_F32, 2, DIMS(709, 3072));
    ck_say(c, "gelu(x + b) + r [709,3072]");
    return true;
}

bool case_pointwise(Case *c) {
    TnPointwiseParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], sub[TN_MAX_RANK];
    if (c->bench)
        return bench_pointwise(c, p);
    if (c->k >= 150)
        return false;
    int32_t rank = random_dims(c, dims);
    p->n_in = (uint32_t)ck_range(c, 1, 8);
    p->n_code = (uint32_t)ck_range(c, 1, c->k % 5 == 0 ? TN_PW_MAX_CODE : 6);
    Fill fill = ck_coin(c) ? FILL_NORMAL : FILL_SPECIAL;
    uint32_t full = (uint32_t)ck_range(c, 0, (int64_t)p->n_in - 1);
    for (uint32_t i = 0; i < p->n_in; i++) {
        int32_t r = i == full ? rank : broadcast_dims(c, rank, dims, sub);
        TnTensor *x = ck_in(c, TN_F32, r, i == full ? dims : sub, fill);
        for (int64_t j = 0; j < tn_tensor_numel(x); j++) { /* outliers that cancel leave only rounding: keep them small */
            float *v = (float *)x->data + j;
            *v = *v > 100.0f && *v < 1e9f ? 20.0f : *v < -50.0f && *v > -1e9f ? -20.0f : *v;
        }
    }
    uint32_t defined = p->n_in;
    for (uint32_t i = 0; i < p->n_code; i++) {
        /* a new register, or one that is already there: inputs may be overwritten too */
        uint8_t dst = (uint8_t)(defined < TN_PW_MAX_REGS && ck_coin(c) ? defined : (uint32_t)ck_range(c, 0, (int64_t)defined - 1));
        p->code[i] = instruction(c, defined, dst);
        /* squares of squares overflow f32 where the reference's double does not */
        if (p->code[i].op == TN_PW_UNARY && p->code[i].fn == TN_UNARY_square && (fill == FILL_SPECIAL || i > 2))
            p->code[i].fn = TN_UNARY_tanh;
        if (p->code[i].op == TN_PW_BINARY && p->code[i].fn == TN_BINARY_mul && (fill == FILL_SPECIAL || i > 2))
            p->code[i].fn = TN_BINARY_min;
        if (p->code[i].op == TN_PW_WHERE && i > 0) /* rounding decides "is it 0": test an input */
            p->code[i].op = TN_PW_CLIP, p->code[i].alpha = -2.0f, p->code[i].beta = 2.5f;
        if (dst == defined)
            defined++;
    }
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "%u inputs, %u instructions", p->n_in, p->n_code);
    return true;
}
