/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of the operators that move data: all element sizes, ranks 0 to 6, zero sizes, negative axes and steps. */
#include "kernels/checkkern.h"

static TnDtype any_type(Case *c) {
    return (TnDtype)CK_PICK(c, TN_F32, TN_F32, TN_I64, TN_I32, TN_U8, TN_F16, TN_BOOL, TN_F64, TN_C128);
}

static int32_t some_dims(Case *c, int64_t *dims, int32_t min_rank, int32_t max_rank) {
    int32_t rank = (int32_t)ck_range(c, min_rank, max_rank);
    for (int32_t d = 0; d < rank; d++)
        dims[d] = ck_rand(c) % 3 == 0 ? ck_size(c, rank > 3 ? 20 : 70) : ck_range(c, 1, 5);
    if (rank > 0 && ck_rand(c) % 14 == 0)
        dims[ck_range(c, 0, rank - 1)] = 0;
    return rank;
}

static bool same_shape(Case *c, uint32_t cases) {
    int64_t dims[TN_MAX_RANK], flat = 1;
    if (c->bench || c->k >= cases)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 0, 5);
    for (int32_t d = 0; d < rank; d++)
        flat *= dims[d];
    ck_in(c, t, rank, dims, FILL_WIDE);
    if (c->op == TN_OP_identity)
        ck_out(c, t, rank, dims);
    else
        ck_out(c, t, 1, &flat);
    return true;
}

bool case_identity(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    return same_shape(c, 20);
}
bool case_reshape(Case *c) {
    ck_params(c, sizeof(TnReshapeParams));
    return same_shape(c, 20);
}

bool case_transpose(Case *c) {
    TnTransposeParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK];
    static const struct {
        int32_t rank;
        int64_t dims[4];
        uint8_t perm[4];
    } shapes[] = {{3, {709, 12, 64}, {1, 0, 2}},  {3, {709, 12, 64}, {1, 2, 0}},       {2, {709, 768}, {1, 0}},
                  {3, {1, 320, 3136}, {0, 2, 1}}, {4, {8, 14, 14, 320}, {0, 3, 1, 2}}, {3, {224, 224, 3}, {2, 0, 1}},
                  {3, {709, 709, 12}, {2, 0, 1}}};
    if (c->bench ? c->k >= TN_COUNT(shapes) : c->k >= 150)
        return false;
    TnDtype t = c->bench ? TN_F32 : any_type(c);
    int32_t rank;
    if (c->bench) {
        rank = shapes[c->k].rank;
        memcpy(dims, shapes[c->k].dims, sizeof shapes[c->k].dims);
        memcpy(p->perm, shapes[c->k].perm, 4);
    } else {
        rank = some_dims(c, dims, 0, 6);
        for (int32_t d = 0; d < rank; d++)
            p->perm[d] = (uint8_t)d;
        for (int32_t d = rank - 1; d > 0 && d < TN_MAX_RANK; d--) {
            int64_t e = ck_range(c, 0, d);
            uint8_t swap = p->perm[d];
            p->perm[d] = p->perm[e];
            p->perm[e] = swap;
        }
    }
    p->n = (uint32_t)rank;
    for (int32_t d = 0; d < rank; d++)
        out[d] = dims[p->perm[d]];
    ck_in(c, t, rank, dims, c->bench ? FILL_NORMAL : FILL_WIDE);
    ck_out(c, t, rank, out);
    for (int32_t d = 0; d < rank; d++)
        ck_say(c, "%s%lld:%u", d > 0 ? " " : "", (long long)dims[d], p->perm[d]);
    return true;
}

/* One axis becomes the last, as of pictures; anything else is for the reference alone. */
bool case_cast_transpose(Case *c) {
    TnCastTransposeParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK];
    if (c->bench || c->k >= 60)
        return false;
    const TnDtype to = c->k % 2 == 0 ? TN_F16 : TN_BF16;
    const int32_t rank = (int32_t)ck_range(c, 2, 5), axis = (int32_t)ck_range(c, 0, rank - 1);
    for (int32_t d = 0; d < rank; d++)
        dims[d] = d < axis ? ck_range(c, 1, 4) : d == axis ? ck_range(c, 1, 4) : ck_coin(c) ? 8 * ck_range(c, 1, 12) : ck_size(c, 90);
    if (c->k % 20 == 19)
        dims[ck_range(c, 0, rank - 1)] = 0;
    p->to = to;
    p->n = (uint32_t)rank;
    for (int32_t d = 0; d < rank && d < TN_MAX_RANK; d++) {
        p->perm[d] = (uint8_t)(d < axis ? d : d < rank - 1 ? d + 1 : axis);
        out[d] = dims[p->perm[d]];
    }
    ck_in(c, TN_F32, rank, dims, (Fill)CK_PICK(c, FILL_NORMAL, FILL_WIDE, FILL_SPECIAL));
    ck_out(c, to, rank, out);
    ck_say(c, "rank %d axis %d to %s", (int)rank, (int)axis, tn_dtype_name(to));
    return true;
}

bool case_concat(Case *c) {
    TnAxisParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], total = 0;
    if (c->bench || c->k >= 60)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 1, 5), axis = (int32_t)ck_range(c, 0, rank - 1);
    int64_t n = ck_range(c, 1, 6);
    p->axis = axis - (ck_coin(c) ? rank : 0);
    for (int64_t i = 0; i < n; i++) {
        dims[axis] = ck_range(c, 0, 9);
        total += dims[axis];
        ck_in(c, t, rank, dims, FILL_WIDE);
    }
    dims[axis] = total;
    ck_out(c, t, rank, dims);
    ck_say(c, "axis %d", (int)p->axis);
    return true;
}

bool case_split(Case *c) {
    TnAxisParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], size[CASE_OUT], total = 0, n = ck_range(c, 1, 5);
    if (c->bench || c->k >= 60)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 1, 5), axis = (int32_t)ck_range(c, 0, rank - 1);
    p->axis = axis - (ck_coin(c) ? rank : 0);
    for (int64_t i = 0; i < n; i++)
        total += size[i] = ck_range(c, 0, 9);
    dims[axis] = total;
    ck_in(c, t, rank, dims, FILL_WIDE);
    ck_values(c, TN_I64, n, size);
    for (int64_t i = 0; i < n; i++) {
        dims[axis] = size[i];
        TnTensor *y = ck_out(c, t, rank, dims);
        if (ck_rand(c) % 6 == 0)
            y->data = NULL;
    }
    ck_say(c, "axis %d", (int)p->axis);
    return true;
}

bool case_slice(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK], v[4][TN_MAX_RANK], n = 0;
    if (c->bench || c->k >= 120)
        return false;
    TnDtype t = any_type(c), it = ck_coin(c) ? TN_I64 : TN_I32;
    int32_t rank = some_dims(c, dims, 1, 5);
    bool axes = ck_rand(c) % 4 != 0, steps = ck_coin(c);
    for (int32_t d = 0; d < rank; d++) {
        out[d] = dims[d];
        if (axes && ck_coin(c))
            continue;
        int64_t step = steps ? CK_PICK(c, 1, 1, 2, 3, -1, -2) : 1, size = dims[d];
        int64_t count = size == 0 ? 0 : ck_range(c, 0, (size - 1) / (step < 0 ? -step : step) + 1);
        int64_t slack = size - (count > 0 ? (count - 1) * (step < 0 ? -step : step) + 1 : 0);
        int64_t low = ck_range(c, 0, slack > 0 ? slack : 0);
        int64_t start = step > 0 ? low : low + (count > 0 ? (count - 1) * -step : 0);
        v[0][n] = start < size && start > 0 && ck_coin(c) ? start - size : start;
        v[1][n] = 0; /* ends do not matter: the output's dims say it */
        v[2][n] = d - (ck_coin(c) ? rank : 0);
        v[3][n++] = step;
        out[d] = count;
    }
    ck_in(c, t, rank, dims, FILL_WIDE);
    ck_values(c, it, n, v[0]);
    ck_values(c, it, n, v[1]);
    if (axes || steps) {
        if (axes)
            ck_values(c, it, n, v[2]);
        else
            ck_absent(c);
    }
    if (steps)
        ck_values(c, it, n, v[3]);
    ck_out(c, t, rank, out);
    return true;
}

bool case_expand(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK];
    if (c->bench || c->k >= 60)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, out, 0, 5), drop = (int32_t)ck_range(c, 0, rank);
    for (int32_t d = drop; d < rank; d++)
        dims[d - drop] = ck_coin(c) ? 1 : out[d];
    ck_in(c, t, rank - drop, dims, FILL_WIDE);
    ck_values(c, TN_I64, rank, out);
    ck_out(c, t, rank, out);
    return true;
}

bool case_tile(Case *c) {
    ck_params(c, sizeof(TnNoParams));
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK], times[TN_MAX_RANK];
    if (c->bench || c->k >= 50)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 1, 4);
    for (int32_t d = 0; d < rank; d++) {
        times[d] = ck_range(c, 0, 20) == 0 ? 0 : ck_range(c, 1, 4);
        out[d] = dims[d] * times[d];
    }
    ck_in(c, t, rank, dims, FILL_WIDE);
    ck_values(c, TN_I64, rank, times);
    ck_out(c, t, rank, out);
    return true;
}

bool case_pad(Case *c) {
    TnPadParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK], pads[2 * TN_MAX_RANK], axes[TN_MAX_RANK];
    if (c->bench || c->k >= 120)
        return false;
    TnDtype t = any_type(c);
    p->mode = c->k % 4;
    int32_t rank = some_dims(c, dims, 0, 4);
    for (int32_t d = 0; d < rank && p->mode != TN_PADDING_CONSTANT; d++)
        dims[d] = TN_MAX(dims[d], 1);
    for (int32_t d = 0; d < rank; d++) {
        pads[d] = ck_range(c, -1, 7);
        pads[rank + d] = ck_range(c, -1, 7);
        if (pads[d] + pads[rank + d] + dims[d] < 1 || dims[d] + TN_MIN(pads[d], 0) + TN_MIN(pads[rank + d], 0) < 1)
            pads[d] = pads[rank + d] = 0;
        axes[d] = d - (ck_coin(c) ? rank : 0);
        out[d] = dims[d] + pads[d] + pads[rank + d];
    }
    ck_in(c, t, rank, dims, FILL_WIDE);
    ck_values(c, TN_I64, 2 * rank, pads);
    if (ck_coin(c))
        ck_in(c, t, 0, NULL, FILL_WIDE);
    else
        ck_absent(c);
    if (ck_coin(c))
        ck_values(c, TN_I64, rank, axes);
    ck_out(c, t, rank, out);
    ck_say(c, "mode %u", p->mode);
    return true;
}

bool case_trilu(Case *c) {
    TnTriluParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    if (c->bench || c->k >= 50)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 2, 4);
    int64_t k = ck_range(c, -20, 20);
    p->upper = ck_coin(c);
    ck_in(c, t, rank, dims, FILL_WIDE);
    if (ck_coin(c))
        ck_values(c, TN_I64, -1, &k);
    ck_out(c, t, rank, dims);
    ck_say(c, "k %lld upper %u", (long long)k, p->upper);
    return true;
}

static bool depth_case(Case *c, bool to_space) {
    TnSpaceDepthParams *p = ck_params(c, sizeof *p);
    if (c->bench || c->k >= 40)
        return false;
    int64_t b = ck_range(c, 1, 4), n = ck_range(c, 1, 3), ch = ck_range(c, 1, 9), h = ck_range(c, 1, 20), w = ck_range(c, 1, 20);
    TnDtype t = any_type(c);
    p->block = (uint32_t)b;
    p->crd = to_space && ck_coin(c);
    const int64_t deep[4] = {n, ch * b * b, h, w}, wide[4] = {n, ch, h * b, w * b};
    ck_in(c, t, 4, to_space ? deep : wide, FILL_WIDE);
    ck_out(c, t, 4, to_space ? wide : deep);
    ck_say(c, "block %u crd %u", p->block, p->crd);
    return true;
}
bool case_depth_to_space(Case *c) {
    return depth_case(c, true);
}
bool case_space_to_depth(Case *c) {
    return depth_case(c, false);
}

bool case_one_hot(Case *c) {
    TnAxisParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], out[TN_MAX_RANK], depth = ck_range(c, 1, 30);
    if (c->bench || c->k >= 40)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 0, 3), axis = (int32_t)ck_range(c, 0, rank);
    p->axis = axis - (ck_coin(c) ? rank + 1 : 0);
    for (int32_t d = 0; d <= rank; d++)
        out[d] = d == axis ? depth : dims[d < axis ? d : d - 1];
    ck_ints(c, ck_coin(c) ? TN_I64 : TN_I32, rank, dims, -depth - 2, depth + 2);
    ck_values(c, TN_I64, -1, &depth);
    ck_in(c, t, 1, DIMS(2), FILL_WIDE);
    ck_out(c, t, rank + 1, out);
    ck_say(c, "axis %d depth %lld", (int)p->axis, (long long)depth);
    return true;
}

bool case_constant_of_shape(Case *c) {
    TnFillParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK];
    if (c->bench || c->k >= 20)
        return false;
    TnDtype t = (TnDtype)CK_PICK(c, TN_F32, TN_I64, TN_BOOL, TN_F16);
    int32_t rank = some_dims(c, dims, 1, 3);
    p->dtype = (uint32_t)t;
    for (int i = 0; i < 8; i++)
        p->value[i] = (uint8_t)(t == TN_BOOL ? 1 : 0x11 * i);
    ck_values(c, TN_I64, rank, dims);
    ck_out(c, t, rank, dims);
    return true;
}

/* ---- by index; every tenth case has an index out of range ---- */
static TnTensor *indices(Case *c, int32_t rank, const int64_t *dims, int64_t size) {
    TnTensor *t = ck_ints(c, ck_coin(c) ? TN_I64 : TN_I32, rank, dims, -size, size - 1);
    int64_t n = tn_tensor_numel(t);
    if (c->k % 10 == 9 && n > 0)
        tni_store_i64(t->dtype, t->data, ck_range(c, 0, n - 1), ck_coin(c) ? size : -size - 1);
    return t;
}

bool case_gather(Case *c) {
    TnAxisParams *p = ck_params(c, sizeof *p);
    int64_t dims[TN_MAX_RANK], idx[TN_MAX_RANK], out[TN_MAX_RANK];
    if (c->bench) {
        if (c->k >= 2)
            return false;
        if (c->k == 1) {
            ck_in(c, TN_F32, 2, DIMS(32, 12), FILL_NORMAL);
            ck_ints(c, TN_I64, 2, DIMS(709, 709), 0, 31);
            ck_out(c, TN_F32, 3, DIMS(709, 709, 12));
            ck_say(c, "[709,709] of [32,12]");
            return true;
        }
        ck_in(c, TN_F32, 2, DIMS(30522, 768), FILL_NORMAL);
        ck_ints(c, TN_I64, 1, DIMS(709), 0, 30521);
        ck_out(c, TN_F32, 2, DIMS(709, 768));
        ck_say(c, "[709] of [30522,768]");
        return true;
    }
    if (c->k >= 80)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 1, 4), axis = (int32_t)ck_range(c, 0, rank - 1), r = (int32_t)ck_range(c, 0, 3), n = 0;
    for (int32_t d = 0; d < r; d++)
        idx[d] = dims[axis] == 0 ? 0 : ck_range(c, ck_rand(c) % 14 != 0, 7);
    if (r == 0 && dims[axis] == 0)
        dims[axis] = 1;
    p->axis = axis - (ck_coin(c) ? rank : 0);
    for (int32_t d = 0; d < rank; d++) {
        if (d != axis)
            out[n++] = dims[d];
        else
            for (int32_t e = 0; e < r; e++)
                out[n++] = idx[e];
    }
    ck_in(c, t, rank, dims, FILL_WIDE);
    indices(c, r, idx, dims[axis]);
    ck_out(c, t, n, out);
    ck_say(c, "axis %d", (int)p->axis);
    return true;
}

/* Positions of one term: close together, far out on both sides, or at the ends of the type, where differences wrap. */
static void positions(Case *c, TnDtype t, int64_t batch, int64_t n, int64_t reach, uint32_t kind) {
    TnTensor *p = ck_ints(c, t, 2, DIMS(batch, n), -reach, reach);
    const int64_t end = t == TN_I64 ? INT64_MAX : INT32_MAX;
    for (int64_t i = 0; kind > 0 && i < batch * n; i++) {
        if (ck_rand(c) % 4 != 0)
            continue;
        const int64_t far = ck_range(c, 0, 3) == 0 ? (INT64_C(1) << 30) + ck_range(c, -2, 2) : end - ck_range(c, 0, 2 * reach);
        if (kind > 1)
            tni_store_i64(t, p->data, i, ck_coin(c) ? far : -far - ck_range(c, 0, 1));
    }
}

bool case_relative_bias(Case *c) {
    static const int64_t sizes[] = {1, 7, 8, 64, 65, 709};
    TnRelativeBiasParams *p = ck_params(c, sizeof *p);
    const bool model = c->bench || (ck_for_devices && c->k >= 60);
    if (c->k >= (c->bench ? 1u : ck_for_devices ? 66u : 60u))
        return false;
    p->n = model ? 3 : (uint32_t)ck_range(c, 1, TN_RELATIVE_TERMS);
    p->minus = model ? 0 : (uint32_t)ck_range(c, 0, 1);
    const int64_t heads = model ? 12 : CK_PICK(c, 1, 3, 4, 5, 8, 12, 16, 17), batch = model ? 1 : CK_PICK(c, 1, 1, 3);
    const int64_t sk = c->bench ? 709 : model ? sizes[c->k - 60] : ck_size(c, 90), sq = model || ck_coin(c) ? sk : ck_size(c, 40);
    const TnDtype t = model || ck_coin(c) ? TN_I64 : TN_I32;
    const uint32_t kind = c->bench ? 0 : c->k % 3;
    bool some = batch == 1; /* one operand at least has the batch */
    for (uint32_t i = 0; i < p->n; i++) {
        p->lo[i] = model ? (i == 0 ? -91 : -216) : (int32_t)ck_range(c, -70, 20);
        p->hi[i] = model ? -p->lo[i] : p->lo[i] + (int32_t)(c->k % 7 == 6 ? ck_range(c, 3000, 8192) : ck_range(c, 0, 90));
        const bool shared = ck_coin(c) && i + 1 < p->n;
        positions(c, t, shared ? 1 : batch, sq, model ? 400 : 90, kind);
        some = some || !shared;
        positions(c, t, shared || (some && ck_coin(c)) ? 1 : batch, sk, model ? 400 : 90, kind);
        ck_const(c, TN_F32, 2, DIMS((int64_t)p->hi[i] - p->lo[i] + 1, heads), FILL_NORMAL);
    }
    ck_out(c, TN_F32, 4, DIMS(batch, heads, sq, (sk + TN_BIAS_PAD - 1) / TN_BIAS_PAD * TN_BIAS_PAD));
    ck_say(c, "%u terms, %s, kind %u", p->n, tn_dtype_name(t), kind);
    return true;
}

static bool elements_case(Case *c, bool scatter) {
    int64_t dims[TN_MAX_RANK], idx[TN_MAX_RANK];
    if (c->bench || c->k >= 60)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 1, 4), axis = (int32_t)ck_range(c, 0, rank - 1), param = axis - (ck_coin(c) ? rank : 0);
    if (scatter) {
        TnScatterParams *p = ck_params(c, sizeof *p);
        p->axis = param;
        p->reduction = ck_coin(c) ? TN_SCATTER_NONE : TN_SCATTER_ADD;
        if (p->reduction == TN_SCATTER_ADD)
            t = ck_coin(c) ? TN_F32 : TN_I64;
    } else {
        TnAxisParams *p = ck_params(c, sizeof *p);
        p->axis = param;
    }
    dims[axis] = TN_MAX(dims[axis], 1);
    for (int32_t d = 0; d < rank; d++)
        idx[d] = d == axis ? ck_range(c, 0, 12) : ck_range(c, 0, dims[d]);
    ck_in(c, t, rank, dims, scatter ? FILL_NORMAL : FILL_WIDE);
    indices(c, rank, idx, dims[axis]);
    if (scatter)
        ck_in(c, t, rank, idx, FILL_NORMAL);
    ck_out(c, t, rank, scatter ? dims : idx);
    ck_say(c, "axis %d", (int)axis);
    return true;
}
bool case_gather_elements(Case *c) {
    return elements_case(c, false);
}
bool case_scatter_elements(Case *c) {
    return elements_case(c, true);
}

/* Index tuples for dims [first, first + k) of `dims`. */
static void tuples(Case *c, int32_t rank, const int64_t *idx, const int64_t *dims, int32_t first, int64_t k) {
    TnTensor *t = ck_ints(c, ck_coin(c) ? TN_I64 : TN_I32, rank, idx, 0, 0);
    int64_t n = tn_tensor_numel(t), bad = c->k % 10 == 9 && n > 0 ? ck_range(c, 0, n - 1) : -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t size = dims[first + (int32_t)(i % k)];
        tni_store_i64(t->dtype, t->data, i, i == bad ? size : ck_range(c, -size, size - 1));
    }
}

static bool nd_case(Case *c, bool scatter) {
    int64_t dims[TN_MAX_RANK], idx[TN_MAX_RANK], rest[TN_MAX_RANK];
    if (c->bench || c->k >= 60)
        return false;
    TnDtype t = any_type(c);
    int32_t rank = some_dims(c, dims, 1, 4), batch = scatter ? 0 : (int32_t)ck_range(c, 0, rank - 1), r = batch, n = 0;
    for (int32_t d = 0; d < rank; d++)
        dims[d] = TN_MAX(dims[d], 1);
    int64_t k = ck_range(c, ck_rand(c) % 10 != 0, rank - batch);
    if (scatter) {
        TnScatterParams *p = ck_params(c, sizeof *p);
        p->reduction = ck_coin(c) ? TN_SCATTER_NONE : TN_SCATTER_ADD;
        if (p->reduction == TN_SCATTER_ADD)
            t = ck_coin(c) ? TN_F32 : TN_I64;
    } else {
        TnGatherNdParams *p = ck_params(c, sizeof *p);
        p->batch_dims = (uint32_t)batch;
    }
    memcpy(idx, dims, sizeof idx);
    for (int64_t e = ck_range(c, 0, 2); e > 0; e--)
        idx[r++] = ck_range(c, 0, 6);
    for (int32_t d = 0; d < r; d++)
        rest[n++] = idx[d];
    idx[r++] = k;
    for (int32_t d = batch + (int32_t)k; d < rank; d++)
        rest[n++] = dims[d];
    ck_in(c, t, rank, dims, scatter ? FILL_NORMAL : FILL_WIDE);
    tuples(c, r, idx, dims, batch, k);
    if (scatter) {
        ck_in(c, t, n, rest, FILL_NORMAL);
        ck_out(c, t, rank, dims);
    } else {
        ck_out(c, t, n, rest);
    }
    ck_say(c, "batch %d k %lld", (int)batch, (long long)k);
    return true;
}
bool case_gather_nd(Case *c) {
    return nd_case(c, false);
}
bool case_scatter_nd(Case *c) {
    return nd_case(c, true);
}
