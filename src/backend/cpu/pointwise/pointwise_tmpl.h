/* SPDX-License-Identifier: Apache-2.0
 *
 * The pointwise kernels of one ISA: each picks its tile function and hands it to the elementwise driver. */
#include <stdalign.h>

#include "backend/cpu/pointwise/cast_tiles.h"
#include "backend/cpu/pointwise/float_tiles.h"
#include "backend/cpu/pointwise/int_tiles.h"
#include "backend/cpu/pointwise/pointwise.h"

/* ---- unary ---- */
typedef struct UnaryCtx {
    UnaryTile f;
    AnyTile any;
    float alpha, beta;
} UnaryCtx;

static void unary_float_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    const UnaryCtx *c = ctx;
    c->f(y, in[0], n, c->alpha, c->beta);
}

static void unary_any_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    ((const UnaryCtx *)ctx)->any(y, in[0], in[0], n);
}

/* isnan, isinf: floats 0 and 1 on the side, then bytes */
static void unary_bool_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    const UnaryCtx *c = ctx;
    alignas(64) float t[TN_TILE];
    c->f(t, in[0], n, c->alpha, c->beta);
    f32_to_bool(y, t, n);
}

TnStatus TN_ISA(tni_cpu_unary)(TnKernelCall *call) {
    const TnUnaryParams *p = call->params;
    UnaryCtx c = {.alpha = p->alpha, .beta = p->beta};
    TnElementwise e = {
        .ctx = &c, .n_in = 1, .in_bytes = {tni_cpu_elem_bytes(call->in[0].dtype)}, .out_bytes = tni_cpu_elem_bytes(call->out[0].dtype)};
    switch (call->in[0].dtype) {
    case TN_F32:
        c.f = unary_f32[p->fn];
        e.fn = call->out[0].dtype == TN_BOOL ? unary_bool_tile : unary_float_tile;
        break;
    case TN_I32:
        c.any = unary_i32[p->fn];
        e.fn = unary_any_tile;
        break;
    case TN_I64:
        c.any = unary_i64[p->fn];
        e.fn = unary_any_tile;
        break;
    default:
        c.any = bool_not;
        e.fn = unary_any_tile;
    }
    tni_cpu_elementwise(&e, call->in, call->out, call->threads);
    return TN_OK;
}

/* ---- binary ---- */
typedef struct BinaryCtx {
    BinaryTile f;
    AnyTile any;
} BinaryCtx;

static void binary_float_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    ((const BinaryCtx *)ctx)->f(y, in[0], in[1], n);
}

static void binary_any_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    ((const BinaryCtx *)ctx)->any(y, in[0], in[1], n);
}

TnStatus TN_ISA(tni_cpu_binary)(TnKernelCall *call) {
    uint32_t fn = ((const TnBinaryParams *)call->params)->fn, bytes = tni_cpu_elem_bytes(call->in[0].dtype);
    TnDtype t = call->in[0].dtype;
    BinaryCtx c = {0};
    TnElementwise e = {.ctx = &c, .n_in = 2, .in_bytes = {bytes, bytes}, .out_bytes = tni_cpu_elem_bytes(call->out[0].dtype)};
    e.fn = binary_any_tile;
    if (t == TN_F32 && compare_f32[fn] == NULL) {
        c.f = binary_f32[fn];
        e.fn = binary_float_tile;
    } else {
        c.any = t == TN_F32 ? compare_f32[fn] : t == TN_I32 ? binary_i32[fn] : t == TN_I64 ? binary_i64[fn] : binary_bool[fn];
    }
    tni_cpu_elementwise(&e, call->in, call->out, call->threads);
    return TN_OK;
}

/* ---- where ---- */
#define WHERE_TILE(name, T)                                                                                                                \
    static void name(const void *ctx, void *py, const void *const *in, int64_t n) {                                                        \
        (void)ctx;                                                                                                                         \
        T *y = py;                                                                                                                         \
        const uint8_t *c = in[0];                                                                                                          \
        const T *a = in[1], *b = in[2];                                                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const T u = a[i], v = b[i];                                                                                                    \
            y[i] = c[i] != 0 ? u : v;                                                                                                      \
        }                                                                                                                                  \
    }
WHERE_TILE(where_1, uint8_t)
WHERE_TILE(where_2, uint16_t)
WHERE_TILE(where_4, uint32_t)
WHERE_TILE(where_8, uint64_t)

TnStatus TN_ISA(tni_cpu_where)(TnKernelCall *call) {
    uint32_t bytes = tni_cpu_elem_bytes(call->out[0].dtype);
    TnElementwise e = {.n_in = 3, .in_bytes = {1, bytes, bytes}, .out_bytes = bytes};
    e.fn = bytes == 1 ? where_1 : bytes == 2 ? where_2 : bytes == 4 ? where_4 : where_8;
    tni_cpu_elementwise(&e, call->in, call->out, call->threads);
    return TN_OK;
}

/* ---- clip: an absent bound is the end of the type's range; -inf and +inf leave every float, NaN too, as it is ---- */
typedef struct ClipCtx {
    float flo, fhi;
    int32_t lo32, hi32;
    int64_t lo64, hi64;
} ClipCtx;

static void clip_f32_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    const ClipCtx *c = ctx;
    clip_f32(y, in[0], n, c->flo, c->fhi);
}

#define CLIP_TILE(name, T, lo, hi)                                                                                                         \
    static void name(const void *ctx, void *py, const void *const *in, int64_t n) {                                                        \
        const ClipCtx *c = ctx;                                                                                                            \
        T *y = py;                                                                                                                         \
        const T *x = in[0];                                                                                                                \
        const T l = c->lo, h = c->hi;                                                                                                      \
        TN_IVDEP                                                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            T v = x[i] < l ? l : x[i];                                                                                                     \
            y[i] = v > h ? h : v;                                                                                                          \
        }                                                                                                                                  \
    }
CLIP_TILE(clip_i32_tile, int32_t, lo32, hi32)
CLIP_TILE(clip_i64_tile, int64_t, lo64, hi64)

TnStatus TN_ISA(tni_cpu_clip)(TnKernelCall *call) {
    ClipCtx c = {-INFINITY, INFINITY, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX};
    TnDtype t = call->in[0].dtype;
    for (uint32_t i = 1; i <= 2 && i < call->n_in; i++) {
        const TnTensor *b = &call->in[i];
        if (!tni_cpu_present(b))
            continue;
        if (t == TN_F32)
            memcpy(i == 1 ? &c.flo : &c.fhi, b->data, 4);
        else if (t == TN_I32)
            memcpy(i == 1 ? &c.lo32 : &c.hi32, b->data, 4);
        else
            memcpy(i == 1 ? &c.lo64 : &c.hi64, b->data, 8);
    }
    /* a NaN bound bounds nothing */
    c.flo = c.flo == c.flo ? c.flo : -INFINITY;
    c.fhi = c.fhi == c.fhi ? c.fhi : INFINITY;
    uint32_t bytes = tni_cpu_elem_bytes(t);
    TnElementwise e = {.ctx = &c, .n_in = 1, .in_bytes = {bytes}, .out_bytes = bytes};
    e.fn = t == TN_F32 ? clip_f32_tile : t == TN_I32 ? clip_i32_tile : clip_i64_tile;
    tni_cpu_elementwise(&e, call->in, call->out, call->threads);
    return TN_OK;
}

/* ---- cast ---- */
typedef struct CastCtx {
    CastTile first, second; /* second NULL: direct; else through f32 */
    uint32_t copy_bytes;    /* same type */
} CastCtx;

static void cast_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    const CastCtx *c = ctx;
    if (c->copy_bytes != 0) {
        memcpy(y, in[0], (size_t)n * c->copy_bytes);
    } else if (c->second == NULL) {
        c->first(y, in[0], n);
    } else {
        alignas(64) float t[TN_TILE];
        c->first(t, in[0], n);
        c->second(y, t, n);
    }
}

TnStatus TN_ISA(tni_cpu_cast)(TnKernelCall *call) {
    int32_t from = tni_cpu_pw_type(call->in[0].dtype), to = tni_cpu_pw_type(call->out[0].dtype);
    CastCtx c = {.first = casts[from][to]};
    TnElementwise e = {.fn = cast_tile,
                       .ctx = &c,
                       .n_in = 1,
                       .in_bytes = {tni_cpu_elem_bytes(call->in[0].dtype)},
                       .out_bytes = tni_cpu_elem_bytes(call->out[0].dtype)};
    if (from == to)
        c.copy_bytes = e.out_bytes;
    else if (c.first == NULL)
        c = (CastCtx){.first = casts[from][PW_F32], .second = casts[PW_F32][to]};
    tni_cpu_elementwise(&e, call->in, call->out, call->threads);
    return TN_OK;
}

/* ---- programs ---- */
static void program_tile(const void *ctx, void *y, const void *const *in, int64_t n) {
    const TnPointwiseParams *p = ctx;
    alignas(64) float own[TN_PW_MAX_REGS][TN_TILE];
    const float *reg[TN_PW_MAX_REGS];
    for (uint32_t i = 0; i < TN_PW_MAX_REGS; i++)
        reg[i] = i < p->n_in ? in[i] : own[i];
    for (uint32_t k = 0; k < p->n_code; k++) {
        const TnPwInstr *c = &p->code[k];
        float *dst = k + 1 == p->n_code ? y : own[c->dst];
        switch (c->op) {
        case TN_PW_UNARY:
            unary_f32[c->fn](dst, reg[c->a], n, c->alpha, c->beta);
            break;
        case TN_PW_BINARY:
            binary_f32[c->fn](dst, reg[c->a], reg[c->b], n);
            break;
        case TN_PW_WHERE:
            where_f32(dst, reg[c->a], reg[c->b], reg[c->c], n);
            break;
        case TN_PW_CLIP:
            clip_f32(dst, reg[c->a], n, c->alpha, c->beta);
            break;
        default:
            for (int64_t i = 0; i < n; i++)
                dst[i] = c->alpha;
        }
        reg[c->dst] = dst;
    }
}

TnStatus TN_ISA(tni_cpu_pointwise)(TnKernelCall *call) {
    const TnPointwiseParams *p = call->params;
    TnElementwise e = {.fn = program_tile, .ctx = p, .n_in = p->n_in, .in_bytes = {4, 4, 4, 4, 4, 4, 4, 4}, .out_bytes = 4};
    tni_cpu_elementwise(&e, call->in, call->out, call->threads);
    return TN_OK;
}
