/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rule: einsum.
 * In: an equation "ij,jk->ik" with letters and "..." and up to 4 operands. Out: the dims of the letters after the arrow. */
#include "shape/rule.h"

#include <inttypes.h>

enum { LETTERS = 52 };

typedef struct Einsum {
    TnDim letter[LETTERS];
    bool seen[LETTERS];
    IrValue ellipsis; /* its broadcast dims; rank -1: none seen */
} Einsum;

static int letter_index(char c) {
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1;
}

static TnStatus bad(ShapeRule *r, const char *why) {
    const TnEinsumParams *p = r->n->params;
    return tni_shape_rule_fail(r, TN_ERR_GRAPH, "the equation \"%.127s\" %s", p->equation, why);
}

/* One term: counts letters, finds "...". */
static TnStatus scan_term(ShapeRule *r, const char *s, size_t n, int32_t *letters, bool *dots) {
    *letters = 0;
    *dots = false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.') {
            if (i + 2 >= n || s[i + 1] != '.' || s[i + 2] != '.' || *dots)
                return bad(r, "has a misplaced '.'");
            *dots = true;
            i += 2;
        } else if (letter_index(s[i]) < 0) {
            return bad(r, "has a character that is no letter");
        } else {
            (*letters)++;
        }
    }
    return *letters > 2 * TN_MAX_RANK ? bad(r, "names too many axes") : TN_OK;
}

/* The same letter is the same size everywhere: a dimension of 1 is not stretched. */
static TnStatus bind_letter(ShapeRule *r, Einsum *e, char c, TnDim d) {
    int k = letter_index(c);
    int64_t v;
    char what[] = "the dimensions of letter '?'";
    what[sizeof what - 3] = c;
    if (!e->seen[k] || tni_ir_dim_is_const(r->m, d, &v)) {
        TnDim old = e->letter[k];
        bool seen = e->seen[k];
        e->letter[k] = d;
        e->seen[k] = true;
        return seen ? tni_shape_rule_equal(r, old, d, what) : TN_OK;
    }
    return tni_shape_rule_equal(r, e->letter[k], d, what);
}

static TnStatus bind_operand(ShapeRule *r, Einsum *e, const IrValue *v, const char *s, size_t n) {
    int32_t letters, at = 0;
    bool dots;
    TN_TRY(scan_term(r, s, n, &letters, &dots));
    if (dots ? v->rank < letters : v->rank != letters)
        return bad(r, "does not fit the operands' ranks");
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '.') {
            TN_TRY(bind_letter(r, e, s[i], v->dims[at++]));
            continue;
        }
        IrValue part = *v;
        part.rank = v->rank - letters;
        memcpy(part.dims, v->dims + at, (size_t)part.rank * sizeof part.dims[0]);
        at += part.rank;
        i += 2;
        if (e->ellipsis.rank < 0)
            e->ellipsis = part;
        else
            TN_TRY(tni_shape_rule_broadcast(r, &e->ellipsis.rank, e->ellipsis.dims, &part));
    }
    return TN_OK;
}

static TnStatus bind_result(ShapeRule *r, Einsum *e, const char *s, size_t n) {
    TnDim dims[TN_MAX_RANK];
    int32_t letters, rank = 0;
    bool dots, used[LETTERS] = {false};
    TN_TRY(scan_term(r, s, n, &letters, &dots));
    if (dots && e->ellipsis.rank < 0)
        return bad(r, "has '...' only after the arrow");
    if (letters + (dots ? e->ellipsis.rank : 0) > TN_MAX_RANK)
        return bad(r, "gives a result of too high a rank");
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.') {
            memcpy(dims + rank, e->ellipsis.dims, (size_t)e->ellipsis.rank * sizeof dims[0]);
            rank += e->ellipsis.rank;
            i += 2;
            continue;
        }
        int k = letter_index(s[i]);
        if (!e->seen[k] || used[k])
            return bad(r, "has a letter after the arrow that is new or repeated");
        used[k] = true;
        dims[rank++] = e->letter[k];
    }
    tni_shape_rule_set(r, 0, in_at(r, 0)->dtype, rank, dims);
    return TN_OK;
}

TnStatus tni_shape_einsum(ShapeRule *r) {
    const TnEinsumParams *p = r->n->params;
    const char *end = memchr(p->equation, '\0', sizeof p->equation);
    Einsum e = {.ellipsis = {.rank = -1}};
    if (end == NULL)
        return bad(r, "has no end");
    const char *arrow = strstr(p->equation, "->");
    if (arrow == NULL)
        return bad(r, "has no \"->\"");
    const char *s = p->equation;
    for (uint32_t i = 0; i < r->n->n_in; i++) {
        TN_TRY(tni_shape_rule_type(r, i, T_FLOAT | T_INT));
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        const char *stop = memchr(s, ',', (size_t)(arrow - s));
        if ((stop == NULL) != (i + 1 == r->n->n_in))
            return bad(r, "does not name as many operands as there are");
        TN_TRY(bind_operand(r, &e, in_at(r, i), s, (size_t)((stop != NULL ? stop : arrow) - s)));
        s = stop != NULL ? stop + 1 : arrow;
    }
    return bind_result(r, &e, arrow + 2, (size_t)(end - arrow - 2));
}
