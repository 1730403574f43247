/* SPDX-License-Identifier: Apache-2.0
 *
 * Views of attention operands: see view.h. */
#include "passes/view.h"

static bool is_one(const Rewriter *r, TnDim d) {
    int64_t x;
    return tni_ir_dim_is_const(r->m, d, &x) && x == 1;
}

bool tni_view_start(const Rewriter *r, View *v, IrValueId value, bool transposed) {
    const IrValue *x = &r->g->values[value];
    memset(v, 0, sizeof *v);
    if (x->rank != 3 && x->rank != 4)
        return false;
    v->value = value;
    v->scale = 1;
    v->rank = x->rank;
    for (int32_t i = 0; i < x->rank; i++) {
        AtomRole role = i < x->rank - 2                    ? (x->rank == 3 ? ATOM_PAIRS
                                                              : i == 0     ? ATOM_BATCH
                                                                           : ATOM_HEAD)
                        : (i == x->rank - 1) != transposed ? ATOM_DIM
                                                           : ATOM_SEQ;
        v->atom[v->n++] = (Atom){role, x->dims[i], 0};
        v->len[i] = 1;
    }
    return true;
}

/* Splits atom a (pairs) into the dims [i, i + k): the last is the heads. */
static bool split_pairs(View *v, uint32_t a, const TnDim *dims, uint32_t k) {
    if (v->n + k - 1 > VIEW_ATOMS)
        return false;
    memmove(&v->atom[a + k], &v->atom[a + 1], (v->n - a - 1) * sizeof v->atom[0]);
    for (uint32_t i = 0; i < k; i++)
        v->atom[a + i] = (Atom){i + 1 == k ? ATOM_HEAD : ATOM_BATCH, dims[i], 0};
    v->n += k - 1;
    return true;
}

/* The same atoms under other dims. */
static bool regroup(const Rewriter *r, View *v, int32_t rank, const TnDim *dims) {
    View w = *v;
    uint32_t a = 0;
    w.rank = rank;
    for (int32_t i = 0; i < rank; i++) {
        uint32_t len = 0;
        if (is_one(r, dims[i])) {
            w.len[i] = a < w.n && is_one(r, w.atom[a].extent) ? 1 : 0;
            a += w.len[i];
            continue;
        }
        TnDim acc = TN_DIM_NONE;
        for (;;) {
            if (a + len >= w.n)
                return false;
            TnDim e = w.atom[a + len].extent;
            acc = len == 0 ? e : tni_ir_dim_op(r->m, TN_DIM_MUL, acc, e);
            len++;
            if (acc == TN_DIM_NONE)
                return false;
            if (tni_ir_dim_equal(r->m, acc, dims[i]))
                break;
            if (len == 1 && w.atom[a].role == ATOM_PAIRS) {
                TnDim prod = dims[i];
                uint32_t k = 1;
                while (i + (int32_t)k < rank && !tni_ir_dim_equal(r->m, prod, e))
                    prod = tni_ir_dim_op(r->m, TN_DIM_MUL, prod, dims[i + (int32_t)k++]);
                if (k > 1 && tni_ir_dim_equal(r->m, prod, e) && split_pairs(&w, a, &dims[i], k))
                    break;
                /* One dim is the batch, the heads are part of a later one: [B H, 1, D] seen as [B, 1, H D]. */
                TnDim parts[2] = {dims[i], tni_ir_dim_op(r->m, TN_DIM_FLOORDIV, e, dims[i])};
                if (tni_ir_dim_equal(r->m, tni_ir_dim_op(r->m, TN_DIM_MUL, parts[0], parts[1]), e) && split_pairs(&w, a, parts, 2))
                    break;
            }
        }
        w.len[i] = len;
        a += len;
    }
    for (; a < w.n && rank > 0 && is_one(r, w.atom[a].extent); a++)
        w.len[rank - 1]++;
    if (a < w.n)
        return false;
    *v = w;
    return true;
}

/* Groups of `from` in the order order[i]: group i of the result is group order[i] of v. */
static void reorder(View *v, const uint8_t *order) {
    View w = *v;
    uint32_t start[TN_MAX_RANK], at = 0;
    for (int32_t i = 0; i < v->rank; i++) {
        start[i] = at;
        at += v->len[i];
    }
    at = 0;
    for (int32_t i = 0; i < v->rank; i++) {
        w.len[i] = v->len[order[i]];
        memcpy(&w.atom[at], &v->atom[start[order[i]]], w.len[i] * sizeof w.atom[0]);
        at += w.len[i];
    }
    *v = w;
}

/* Puts the atom "index of a dim" as dim `axis`; replace: that dim is there already with extent 1. */
static bool select_index(View *v, int32_t axis, bool replace, TnDim extent, int64_t index) {
    uint32_t at = 0, keep = 0;
    for (int32_t i = 0; i < axis; i++)
        at += v->len[i];
    if (replace)
        keep = v->len[axis]; /* atoms of extent 1 stay where they are, behind */
    if (v->n + 1 > VIEW_ATOMS || (!replace && v->rank >= TN_MAX_RANK))
        return false;
    memmove(&v->atom[at + 1], &v->atom[at], (v->n - at) * sizeof v->atom[0]);
    v->atom[at] = (Atom){ATOM_SELECT, extent, index};
    v->n++;
    if (!replace) {
        memmove(&v->len[axis + 1], &v->len[axis], (size_t)(v->rank - axis) * sizeof v->len[0]);
        v->rank++;
    }
    v->len[axis] = keep + 1;
    return true;
}

/* Start, axis and length of what a split's output or a slice takes of its input; unit steps, one axis. */
static bool taken(const Rewriter *r, const IrNode *n, IrValueId out, int32_t *axis, int64_t *start) {
    if (n->op == TN_OP_split) {
        *axis = ((const TnAxisParams *)n->params)->axis;
        *start = 0;
        uint32_t at = 0, k = 0;
        while (at < n->n_out && n->out[at] != out)
            at++;
        int64_t sizes[64], total;
        if (n->n_in > 1 && n->in[1] != TN_NO_VALUE) {
            if (!tni_pass_ints(r, n->in[1], sizes, 64, &k) || at >= k)
                return false;
            for (uint32_t i = 0; i < at; i++)
                *start += sizes[i];
        } else { /* equal parts, the last may be smaller */
            if (!tni_pass_static_dim(r, n->in[0], *axis, &total))
                return false;
            *start = (total + n->n_out - 1) / n->n_out * at;
        }
        return true;
    }
    int64_t s[1], e[1], ax[1], st[1] = {1}, width;
    uint32_t k;
    if (n->op != TN_OP_slice || !tni_pass_ints(r, n->in[1], s, 1, &k) || k != 1 || !tni_pass_ints(r, n->in[2], e, 1, &k) || k != 1)
        return false;
    ax[0] = 0;
    if (n->n_in > 3 && n->in[3] != TN_NO_VALUE && (!tni_pass_ints(r, n->in[3], ax, 1, &k) || k != 1))
        return false;
    if (n->n_in > 4 && n->in[4] != TN_NO_VALUE && (!tni_pass_ints(r, n->in[4], st, 1, &k) || k != 1 || st[0] != 1))
        return false;
    *axis = (int32_t)(ax[0] < 0 ? ax[0] + r->g->values[n->in[0]].rank : ax[0]);
    if (!tni_pass_static_dim(r, n->in[0], *axis, &width))
        return false;
    *start = s[0] < 0 ? s[0] + width : s[0];
    return *start >= 0 && *start <= width;
}

static bool up_part(const Rewriter *r, View *v, const IrNode *n) {
    int32_t axis = 0;
    int64_t start = 0, width;
    IrValueId x = n->in[0];
    if (!taken(r, n, v->value, &axis, &start) || axis < 0 || axis >= v->rank)
        return false;
    if (tni_pass_dim_is(r, v->value, axis, 1)) {
        if (!select_index(v, axis, true, r->g->values[x].dims[axis], start))
            return false;
        v->value = x;
        return true;
    }
    TnAttnLayout layout;
    int64_t offset;
    if (v->row != 0 || axis != v->rank - 1 || !tni_pass_static_dim(r, x, axis, &width) || !tni_view_layout(r, v, &layout, &offset) ||
        layout != TN_LAYOUT_BSHD)
        return false;
    /* The last dim must be all of a row: [.., H D], nothing of S in it. */
    uint32_t at = v->n - v->len[axis];
    for (uint32_t i = 0; i < v->n; i++)
        if ((i < at) != (v->atom[i].role == ATOM_BATCH || v->atom[i].role == ATOM_SEQ || v->atom[i].role == ATOM_PAIRS))
            return false;
    v->row = width;
    v->offset = start;
    v->value = x;
    return true;
}

bool tni_view_up(const Rewriter *r, View *v, bool scales) {
    const IrNode *n = tni_pass_def(r, v->value);
    IrValueId x;
    double c;
    if (n == NULL || v->row != 0)
        return false;
    if (n->op == TN_OP_identity) {
        v->value = n->in[0];
        return true;
    }
    if (n->op == TN_OP_transpose) {
        const TnTransposeParams *p = n->params;
        uint8_t inverse[TN_MAX_RANK];
        for (int32_t i = 0; i < v->rank; i++)
            inverse[p->perm[i]] = (uint8_t)i;
        reorder(v, inverse);
        v->value = n->in[0];
        return true;
    }
    if (n->op == TN_OP_reshape) {
        const IrValue *in = &r->g->values[n->in[0]];
        if (in->rank < 0 || !regroup(r, v, in->rank, in->dims))
            return false;
        v->value = n->in[0];
        return true;
    }
    if (n->op == TN_OP_gather) {
        int64_t index[1], extent;
        uint32_t k;
        int32_t axis = ((const TnAxisParams *)n->params)->axis;
        if (r->g->values[n->in[1]].rank != 0 || !tni_pass_ints(r, n->in[1], index, 1, &k) ||
            !tni_pass_static_dim(r, n->in[0], axis, &extent))
            return false;
        if (index[0] < 0)
            index[0] += extent;
        if (index[0] < 0 || index[0] >= extent || !select_index(v, axis, false, r->g->values[n->in[0]].dims[axis], index[0]))
            return false;
        v->value = n->in[0];
        return true;
    }
    if (n->op == TN_OP_split || n->op == TN_OP_slice)
        return up_part(r, v, n);
    if (scales && tni_pass_scaled(r, v->value, &x, &c)) {
        v->value = x;
        v->scale *= c;
        return true;
    }
    return false;
}

bool tni_view_down(const Rewriter *r, View *v, const IrNode *n) {
    const IrValue *out = &r->g->values[n->out[0]];
    if (n->op == TN_OP_transpose)
        reorder(v, ((const TnTransposeParams *)n->params)->perm);
    else if (n->op == TN_OP_reshape ? out->rank < 0 || !regroup(r, v, out->rank, out->dims) : n->op != TN_OP_identity)
        return false;
    v->value = n->out[0];
    return true;
}

/* The roles, extents of 1 left out, must come in the order of rank[]; equal ranks only for batch and selections. */
static bool in_order(const Rewriter *r, const View *v, const int *rank) {
    int last = -1;
    for (uint32_t i = 0; i < v->n; i++) {
        if (is_one(r, v->atom[i].extent))
            continue;
        int k = rank[v->atom[i].role];
        if (k < 0 || k < last || (k == last && v->atom[i].role != ATOM_BATCH && v->atom[i].role != ATOM_SELECT))
            return false;
        last = k;
    }
    return true;
}

bool tni_view_layout(const Rewriter *r, const View *v, TnAttnLayout *layout, int64_t *offset) {
    /* role:                   B  H  S  D  BH  sel */
    static const int bshd[6] = {0, 3, 1, 4, -1, 2}, bhsd[6] = {0, 1, 2, 3, 1, -1}, bhds[6] = {0, 1, 3, 2, 1, -1};
    *offset = v->offset;
    if (in_order(r, v, bshd)) {
        *layout = TN_LAYOUT_BSHD;
        int64_t stride = 1, e;
        for (uint32_t i = v->n; i-- > 0;) {
            AtomRole role = v->atom[i].role;
            if (role == ATOM_SELECT) {
                *offset += v->atom[i].index * stride;
            } else if (role == ATOM_BATCH || role == ATOM_SEQ) {
                continue;
            }
            if (!tni_ir_dim_is_const(r->m, v->atom[i].extent, &e) || !tni_mul_i64(stride, e, &stride) || stride > INT32_MAX)
                return false;
        }
        return true;
    }
    *layout = in_order(r, v, bhsd) ? TN_LAYOUT_BHSD : TN_LAYOUT_BHDS;
    return *layout == TN_LAYOUT_BHSD || in_order(r, v, bhds);
}

TnDim tni_view_extent(const Rewriter *r, const View *v, AtomRole role) {
    TnDim d = tni_ir_dim_const(r->m, 1);
    for (uint32_t i = 0; i < v->n; i++)
        if (v->atom[i].role == role)
            d = tni_ir_dim_op(r->m, TN_DIM_MUL, d, v->atom[i].extent);
    return d;
}

bool tni_view_has(const View *v, AtomRole role) {
    for (uint32_t i = 0; i < v->n; i++)
        if (v->atom[i].role == role)
            return true;
    return false;
}
