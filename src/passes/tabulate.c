/* SPDX-License-Identifier: Apache-2.0
 *
 * tabulate: an integer that is computed element by element from one integer, by way of floats, is looked up.
 *
 *   d -> abs -> cast f32 -> / 8 -> log -> / 2.77 -> * 8 -> cast i64 -> + 8 -> min 15 --+
 *     -> > 0 -> cast -> * 16 ----------------------------------------------------------+-> ... -> bucket
 *
 *   =>   d -> clip [lo, hi] -> gather(table)          table[d] for d >= 0, table[n + d] for d < 0: gather counts from the end
 *
 * The table is made by the reference kernels, so buckets are those of the graph to the bit, and no run evaluates the logarithm. Outside
 * [lo, hi] the function must be constant. That is shown by walking the graph once for each tail: every operator is monotone there (or
 * constant, or a choice by something constant), and the values at both ends of the tail agree. */
#include <math.h>

#include "base/dtype.h"
#include "interp/interp.h"
#include "passes/list.h"
#include "passes/match.h"

#define REACH 4096 /* the function must be constant beyond */
#define FAR ((int64_t)1 << 62)
#define POINTS (2 * REACH + 1 + 6)
#define MAX_NODES 40
#define MIN_NODES 5

/* Where the points of one tail are: its beginning and three further out. */
enum { LOW_TAIL = 0, HIGH_TAIL = 3, INNER = 6 };

typedef enum Direction { FALLING = -1, CONSTANT = 0, RISING = 1, UNKNOWN = 2 } Direction;

typedef struct Function {
    IrValueId base, result;
    IrNodeId node[MAX_NODES]; /* ascending */
    uint32_t n;
    TnTensor at[MAX_NODES]; /* outputs at the points */
    Direction dir[2][MAX_NODES];
} Function;

static bool element_wise(const IrNode *n) {
    return (n->op == TN_OP_unary || n->op == TN_OP_binary || n->op == TN_OP_where || n->op == TN_OP_clip || n->op == TN_OP_cast) &&
           n->n_out == 1 && n->out[0] != TN_NO_VALUE;
}

static bool is_int(const Rewriter *r, IrValueId v) {
    return r->g->values[v].dtype == TN_I64 || r->g->values[v].dtype == TN_I32;
}

/* For every value the one value it is an element-wise function of (with numbers only besides); itself when there is none such. */
static IrValueId *find_bases(Rewriter *r) {
    IrValueId *base = tni_arena_calloc(r->scratch, r->g->n_values + 1, sizeof *base);
    double c;
    if (base == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, r->g->n_values * sizeof *base));
        return NULL;
    }
    for (IrValueId v = 0; v < r->g->n_values; v++)
        base[v] = v;
    for (IrNodeId id = 0; id < r->g->n_nodes; id++) {
        const IrNode *n = &r->g->nodes[id];
        IrValueId b = TN_NO_VALUE;
        bool one = !n->dead && element_wise(n);
        for (uint32_t i = 0; one && i < n->n_in; i++) {
            IrValueId v = n->in[i];
            if (v == TN_NO_VALUE || tni_pass_number(r, v, &c))
                continue;
            one = b == TN_NO_VALUE || b == base[v];
            b = base[v];
        }
        if (one && b != TN_NO_VALUE && is_int(r, b) && tni_pass_same_dims(r, b, n->out[0]))
            base[n->out[0]] = b;
    }
    return base;
}

/* The nodes between f->base and f->result; false when there are too many or too few, or none rounds a float. */
static bool collect(const Rewriter *r, const IrValueId *base, Function *f) {
    bool rounds = false;
    f->n = 0;
    f->node[f->n++] = r->g->values[f->result].producer;
    for (uint32_t k = 0; k < f->n; k++) {
        const IrNode *n = &r->g->nodes[f->node[k]];
        rounds = rounds || (n->op == TN_OP_cast && tni_dtype_is_int((TnDtype)((const TnCastParams *)n->params)->to) &&
                            tni_dtype_is_float(r->g->values[n->in[0]].dtype));
        for (uint32_t i = 0; i < n->n_in; i++) {
            IrValueId v = n->in[i];
            if (v == TN_NO_VALUE || v == f->base || base[v] != f->base)
                continue;
            IrNodeId p = r->g->values[v].producer;
            bool known = false;
            for (uint32_t j = 0; j < f->n; j++)
                known = known || f->node[j] == p;
            if (!known && f->n == MAX_NODES)
                return false;
            if (!known)
                f->node[f->n++] = p;
        }
    }
    for (uint32_t i = 1; i < f->n; i++) /* graph order */
        for (uint32_t j = i; j > 0 && f->node[j - 1] > f->node[j]; j--) {
            IrNodeId t = f->node[j];
            f->node[j] = f->node[j - 1];
            f->node[j - 1] = t;
        }
    return rounds && f->n >= MIN_NODES;
}

static int index_of(const Rewriter *r, const Function *f, IrValueId v) {
    for (uint32_t i = 0; i < f->n; i++)
        if (r->g->nodes[f->node[i]].out[0] == v)
            return (int)i;
    return -1;
}

/* Runs the function at the points. The tensors' data come from the default of the arena's allocator; free_points frees them. */
static bool evaluate(Rewriter *r, Function *f, TnTensor *points) {
    const TnAllocator *a = tni_arena_allocator(r->m->arena);
    for (uint32_t k = 0; k < f->n; k++) {
        const IrNode *n = &r->g->nodes[f->node[k]];
        TnTensor in[3] = {{0}};
        TnError why = {0};
        if (n->n_in > 3)
            return false;
        for (uint32_t i = 0; i < n->n_in; i++) {
            int at = n->in[i] == TN_NO_VALUE ? -1 : index_of(r, f, n->in[i]);
            if (n->in[i] == f->base)
                in[i] = *points;
            else if (at >= 0)
                in[i] = f->at[at];
            else if (n->in[i] != TN_NO_VALUE && !tni_pass_tensor(r, n->in[i], &in[i]))
                return false;
            else if (n->in[i] != TN_NO_VALUE)
                in[i].rank = 0; /* one number */
        }
        TnStatus st = tni_interp_node(r->m, n, in, &f->at[k], a, NULL, &why);
        if (st == TN_ERR_MEMORY)
            tni_pass_fail(r, TN_RAISE(r->err, st, "%s", why.message));
        if (st != TN_OK)
            return false;
    }
    return true;
}

static void free_points(Rewriter *r, Function *f) {
    for (uint32_t k = 0; k < f->n; k++)
        tni_free(tni_arena_allocator(r->m->arena), f->at[k].data);
}

static Direction flip(Direction d) {
    return d == RISING ? FALLING : d == FALLING ? RISING : d;
}

static Direction both(Direction a, Direction b) {
    if (a == UNKNOWN || b == UNKNOWN)
        return UNKNOWN;
    return a == CONSTANT ? b : b == CONSTANT || a == b ? a : UNKNOWN;
}

/* One operand on a tail: its direction, and its values at the tail's two ends. */
typedef struct Side {
    Direction dir;
    double near, far;
} Side;

static Side side_of(const Rewriter *r, const Function *f, IrValueId v, int tail, const TnTensor *points) {
    int start = tail == 0 ? LOW_TAIL : HIGH_TAIL, k = index_of(r, f, v);
    Side s = {CONSTANT, 0, 0};
    if (v == f->base || k >= 0) {
        const TnTensor *t = v == f->base ? points : &f->at[k];
        s.dir = v == f->base ? (tail == 0 ? FALLING : RISING) : f->dir[tail][k]; /* walking outwards */
        s.near = tni_load_f64(t->dtype, t->data, start);
        s.far = tni_load_f64(t->dtype, t->data, start + 2);
        if (s.dir != UNKNOWN && s.near == s.far)
            s.dir = CONSTANT;
    } else if (tni_pass_number(r, v, &s.near)) {
        s.far = s.near;
    }
    return s;
}

static Direction unary_direction(uint32_t fn, Side x) {
    switch (fn) {
    case TN_UNARY_neg:
    case TN_UNARY_not_:
        return flip(x.dir);
    case TN_UNARY_abs:
        return x.near >= 0 && x.far >= 0 ? x.dir : x.near <= 0 && x.far <= 0 ? flip(x.dir) : UNKNOWN;
    case TN_UNARY_log:
    case TN_UNARY_sqrt:
        return x.near > 0 && x.far > 0 ? x.dir : UNKNOWN;
    case TN_UNARY_exp:
    case TN_UNARY_floor:
    case TN_UNARY_ceil:
    case TN_UNARY_round:
    case TN_UNARY_sign:
    case TN_UNARY_relu:
    case TN_UNARY_tanh:
    case TN_UNARY_sigmoid:
        return x.dir;
    default:
        return UNKNOWN;
    }
}

static Direction binary_direction(uint32_t fn, Side a, Side b) {
    switch (fn) {
    case TN_BINARY_add:
    case TN_BINARY_min:
    case TN_BINARY_max:
    case TN_BINARY_and_:
    case TN_BINARY_or_:
        return both(a.dir, b.dir);
    case TN_BINARY_sub:
    case TN_BINARY_greater:
    case TN_BINARY_greater_equal:
        return both(a.dir, flip(b.dir));
    case TN_BINARY_less:
    case TN_BINARY_less_equal:
        return both(flip(a.dir), b.dir);
    case TN_BINARY_mul:
        if (b.dir == CONSTANT)
            return b.near >= 0 ? a.dir : flip(a.dir);
        return a.dir == CONSTANT ? (a.near >= 0 ? b.dir : flip(b.dir)) : UNKNOWN;
    case TN_BINARY_div:
        return b.dir == CONSTANT && b.near != 0 ? (b.near > 0 ? a.dir : flip(a.dir)) : UNKNOWN;
    default:
        return UNKNOWN;
    }
}

static Direction direction(const Rewriter *r, const Function *f, const IrNode *n, int tail, const TnTensor *points) {
    Side s[3] = {{CONSTANT, 0, 0}, {CONSTANT, 0, 0}, {CONSTANT, 0, 0}};
    bool varies = false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i] == TN_NO_VALUE)
            continue;
        s[i] = side_of(r, f, n->in[i], tail, points);
        varies = varies || s[i].dir != CONSTANT;
        if (s[i].near != s[i].near || s[i].far != s[i].far)
            return UNKNOWN;
    }
    if (!varies)
        return CONSTANT;
    switch (n->op) {
    case TN_OP_cast:
        return s[0].dir;
    case TN_OP_unary:
        return unary_direction(((const TnUnaryParams *)n->params)->fn, s[0]);
    case TN_OP_binary:
        return binary_direction(((const TnBinaryParams *)n->params)->fn, s[0], s[1]);
    case TN_OP_clip:
        return s[1].dir == CONSTANT && s[2].dir == CONSTANT ? s[0].dir : UNKNOWN;
    case TN_OP_where:
        return s[0].dir != CONSTANT ? UNKNOWN : s[0].near != 0 ? s[1].dir : s[2].dir;
    default:
        return UNKNOWN;
    }
}

/* Is the result constant from each end of the table outwards? */
static bool tails_are_constant(const Rewriter *r, Function *f, const TnTensor *points) {
    for (int tail = 0; tail < 2; tail++) {
        for (uint32_t k = 0; k < f->n; k++)
            f->dir[tail][k] = direction(r, f, &r->g->nodes[f->node[k]], tail, points);
        if (side_of(r, f, f->result, tail, points).dir != CONSTANT)
            return false;
    }
    return true;
}

/* table[d] for 0 <= d <= hi, table[n + d] for lo <= d < 0, in the result's type. */
static IrValueId make_table(Rewriter *r, const TnTensor *y, int64_t *lo, int64_t *hi) {
    *lo = -REACH;
    *hi = REACH;
    while (*lo < -1 && tni_load_i64(y->dtype, y->data, INNER + *lo + 1 + REACH) == tni_load_i64(y->dtype, y->data, INNER))
        ++*lo;
    while (*hi > 1 && tni_load_i64(y->dtype, y->data, INNER + *hi - 1 + REACH) == tni_load_i64(y->dtype, y->data, INNER + 2 * REACH))
        --*hi;
    int64_t n = *hi - *lo + 1;
    uint8_t *table = tni_arena_calloc(r->scratch, (size_t)n, 8);
    if (table == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, (size_t)n * 8));
        return TN_NO_VALUE;
    }
    for (int64_t d = *lo; d <= *hi; d++)
        tni_store_i64(y->dtype, table, d < 0 ? n + d : d, tni_load_i64(y->dtype, y->data, INNER + d + REACH));
    return tni_pass_const(r, y->dtype, 1, &n, table);
}

static void set_points(TnTensor *t) {
    static const int64_t out[3] = {REACH, REACH * 64, FAR};
    bool wide = t->dtype == TN_I64;
    for (int i = 0; i < 3; i++) {
        int64_t far = wide || out[i] < INT32_MAX ? out[i] : INT32_MAX - 1;
        tni_store_i64(t->dtype, t->data, LOW_TAIL + i, -far);
        tni_store_i64(t->dtype, t->data, HIGH_TAIL + i, far);
    }
    for (int64_t d = -REACH; d <= REACH; d++)
        tni_store_i64(t->dtype, t->data, INNER + d + REACH, d);
}

static void tabulate(Rewriter *r, Function *f) {
    void *data = tni_arena_calloc(r->scratch, POINTS, sizeof(int64_t));
    TnTensor points = {.data = data, .dtype = r->g->values[f->base].dtype, .rank = 1, .dims = {POINTS}};
    if (data == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, POINTS * sizeof(int64_t)));
        return;
    }
    set_points(&points);
    memset(f->at, 0, sizeof f->at);
    int64_t lo = 0, hi = 0;
    IrValueId table = TN_NO_VALUE;
    if (evaluate(r, f, &points) && tails_are_constant(r, f, &points))
        table = make_table(r, &f->at[index_of(r, f, f->result)], &lo, &hi);
    free_points(r, f);
    if (table == TN_NO_VALUE)
        return;
    Pattern p = {.n = 0};
    for (uint32_t k = 0; k < f->n; k++)
        tni_pattern_add(r, &p, r->g->nodes[f->node[k]].out[0]);
    const char *name = tni_pattern_name(r, &p);
    IrValueId in[3] = {f->base, tni_pass_scalar(r, points.dtype, (double)lo), tni_pass_scalar(r, points.dtype, (double)hi)};
    IrValueId ids = tni_pass_add(r, TN_OP_clip, name, NULL, in, 3);
    IrValueId look[2] = {table, ids};
    if (ids != TN_NO_VALUE)
        tni_pass_replace(r, f->result, tni_pass_add(r, TN_OP_gather, name, &(TnAxisParams){.axis = 0}, look, 2));
}

/* Somebody reads v who is not part of the same function. */
static bool ends_here(const Rewriter *r, const IrValueId *base, IrValueId v) {
    if (r->is_out[v])
        return true;
    for (uint32_t u = r->head[v]; u != PASS_NONE; u = r->uses[u].next) {
        const IrNode *n = &r->g->nodes[r->uses[u].node];
        if (n->n_out != 1 || n->out[0] == TN_NO_VALUE || base[n->out[0]] != base[v])
            return true;
    }
    return false;
}

static void tabulate_graph(Rewriter *r) {
    IrValueId *base = find_bases(r);
    uint32_t n_values = r->g->n_values;
    Function *f = tni_arena_calloc(r->scratch, 1, sizeof *f);
    if (base == NULL || f == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, sizeof *f));
        return;
    }
    for (IrValueId v = 0; v < n_values && r->st == TN_OK; v++) {
        if (base[v] == v || !is_int(r, v) || tni_pass_uses(r, v) == 0 || !ends_here(r, base, v))
            continue;
        f->base = base[v];
        f->result = v;
        if (collect(r, base, f))
            tabulate(r, f);
    }
}

TnStatus tni_pass_tabulate(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        Rewriter r;
        TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
        tabulate_graph(&r);
        TN_TRY(tni_pass_end(&r));
        *changed += r.changed;
    }
    return TN_OK;
}
