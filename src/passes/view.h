/* SPDX-License-Identifier: Apache-2.0
 *
 * How the elements of an attention operand lie in memory, seen through transposes, reshapes and selections.
 *
 * A view names a value and cuts its dims into atoms, in memory order, each with a role: batch, head, sequence, head dim. Walking up to
 * the producer of a transpose or reshape permutes or regroups the atoms, so after any chain of them it is plain whether the data have one
 * of the layouts that attention reads directly:
 *
 *   q = transpose(reshape(x, [B,S,H,D]), 0 2 1 3)     q: |B|H|S|D|   reshape: |B|S|H|D|   x: |B|S|H D|    -> BSHD
 *   q = gather(transpose(reshape(x, [B,S,3,H,D]), 2 0 3 1 4), 0)       x: |B|S|sel H D|   -> BSHD at offset index * H * D */
#ifndef TENON_PASSES_VIEW_H
#define TENON_PASSES_VIEW_H

#include "passes/match.h"

#define VIEW_ATOMS 16
typedef enum AtomRole {
    ATOM_BATCH,
    ATOM_HEAD,
    ATOM_SEQ,
    ATOM_DIM,
    ATOM_PAIRS, /* batch times heads, not split yet */
    ATOM_SELECT /* one index of this dim is taken */
} AtomRole;

typedef struct Atom {
    AtomRole role;
    TnDim extent;
    int64_t index; /* ATOM_SELECT */
} Atom;

typedef struct View {
    IrValueId value;
    double scale; /* operand = scale * the elements of value */
    uint32_t n;
    Atom atom[VIEW_ATOMS]; /* memory order */
    int32_t rank;
    uint32_t len[TN_MAX_RANK]; /* atoms of each dim */
    int64_t offset, row;       /* after a slice of the last dim: its start and the width of what was sliced; row 0: none */
} View;

/* An operand of a batched product: rank 3 [pairs, S, D] or rank 4 [B, H, S, D]; transposed: the last two the other way round. */
bool tni_view_start(const Rewriter *r, View *v, IrValueId value, bool transposed);
/* One producer up; false: nothing to look through (v unchanged). scales: products with constants may be passed. */
bool tni_view_up(const Rewriter *r, View *v, bool scales);
/* To the value `to`, made from v's value by transpose, reshape or identity node n. */
bool tni_view_down(const Rewriter *r, View *v, const IrNode *n);
/* The layout of the elements: *offset in elements of a row. false: none of those attention reads. */
bool tni_view_layout(const Rewriter *r, const View *v, TnAttnLayout *layout, int64_t *offset);
/* Product of the extents of a role; TN_DIM_NONE when out of memory. Absent: 1. */
TnDim tni_view_extent(const Rewriter *r, const View *v, AtomRole role);
bool tni_view_has(const View *v, AtomRole role);

#endif
