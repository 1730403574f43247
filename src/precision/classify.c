/* SPDX-License-Identifier: Apache-2.0
 *
 * Which steps compute in T. In: a graph and what was seen when it ran in float32. Out: a class for every step, and the reason for those that
 * stay wide. A step alone is judged by judge(); then what feeds integers and booleans, the steps that would only stand between casts, and the
 * states are settled over whole graphs. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/dtype.h"
#include "precision/internal.h"

bool tni_precision_is_state(const char *name) {
    return strncmp(name, "state:", 6) == 0;
}

bool tni_precision_is_bias(const IrNode *n, uint32_t i) {
    return n->op == TN_OP_attention && i >= 3;
}

bool tni_precision_follows(const IrGraph *g, const IrNode *n, uint32_t i) {
    return n->in[i] != TN_NO_VALUE && g->values[n->in[i]].dtype == TN_F32 && !(tni_op_host_inputs(n->op) >> i & 1u) &&
           !tni_precision_is_bias(n, i);
}

static bool float_result(const IrGraph *g, const IrNode *n, uint32_t i) {
    return n->out[i] != TN_NO_VALUE && g->values[n->out[i]].dtype == TN_F32;
}

/* ---- one step ---- */

/* Operators whose rules or contracts name float32. */
static bool float32_only(TnOp op) {
    switch (op) {
    case TN_OP_quantize_linear:
    case TN_OP_dequantize_linear:
    case TN_OP_non_max_suppression:
    case TN_OP_eye_like:
    case TN_OP_range:
    case TN_OP_cumsum:
        return true;
    default:
        return false;
    }
}

static bool rounding(uint32_t fn) {
    return fn == TN_UNARY_floor || fn == TN_UNARY_ceil || fn == TN_UNARY_round || fn == TN_UNARY_sign;
}

static bool comparing(uint32_t fn) {
    return (fn >= TN_BINARY_equal && fn <= TN_BINARY_greater_equal) || fn == TN_BINARY_mod || fn == TN_BINARY_fmod;
}

/* Does this step make integers or booleans, or numbers that stand for them, out of floats? */
static bool decides(const IrGraph *g, const IrNode *n) {
    const TnPointwiseParams *p = n->params;
    if (n->op == TN_OP_unary) {
        uint32_t fn = ((const TnUnaryParams *)n->params)->fn;
        return rounding(fn) || fn == TN_UNARY_isinf; /* NaN stays NaN, and nothing else becomes one */
    }
    if (n->op == TN_OP_binary && comparing(((const TnBinaryParams *)n->params)->fn))
        return true;
    for (uint32_t i = 0; n->op == TN_OP_pointwise && i < p->n_code; i++)
        if ((p->code[i].op == TN_PW_UNARY && rounding(p->code[i].fn)) || (p->code[i].op == TN_PW_BINARY && comparing(p->code[i].fn)))
            return true;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != TN_NO_VALUE && !tni_dtype_is_float(g->values[n->out[i]].dtype))
            return true;
    return false;
}

/* Fill values among the parameters that T cannot hold, else 0. (Bounds of a clip may be anything: kernels compute in float32.) */
static double large_parameter(const Pc *pc, const IrNode *n) {
    if (n->op == TN_OP_constant_of_shape) {
        const TnFillParams *p = n->params;
        double v = p->dtype == TN_F32 ? tni_load_f64(TN_F32, p->value, 0) : 0;
        return isfinite(v) && fabs(v) > pc->limit ? v : 0;
    }
    const TnPointwiseParams *p = n->params;
    for (uint32_t i = 0; n->op == TN_OP_pointwise && i < p->n_code; i++)
        if (p->code[i].op == TN_PW_CONST && isfinite(p->code[i].alpha) && fabs((double)p->code[i].alpha) > pc->limit)
            return (double)p->code[i].alpha;
    return 0;
}

static double constant_largest(Pc *pc, PcGraph *pg, IrValueId v) {
    TnTensor t;
    if (pg->constant[v] < 0)
        pg->constant[v] =
            tni_ir_tensor(pc->m, pg->g, v, &t) && t.data ? tni_precision_largest(t.data, tn_tensor_numel(&t), pc->o->threads) : 0;
    return pg->constant[v];
}

/* A reason in the module's arena. */
static const char *reason(Pc *pc, const char *fmt, ...) TN_PRINTF(2, 3);
static const char *reason(Pc *pc, const char *fmt, ...) {
    char s[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    const char *copy = tni_arena_strdup(pc->m->arena, s);
    return copy ? copy : "its numbers are out of range";
}

/* Why the magnitudes of operands and results do not suit T, or NULL. */
static const char *out_of_range(Pc *pc, PcGraph *pg, const IrNode *n) {
    const IrGraph *g = pg->g;
    const char *type = tn_dtype_name(pc->o->type);
    double fill = large_parameter(pc, n);
    if (fill != 0)
        return reason(pc, "a fill value of %.4g is beyond the range of %s", fill, type);
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        const bool in = i < n->n_in;
        if (in ? !tni_precision_follows(g, n, i) : !float_result(g, n, i - n->n_in))
            continue;
        IrValueId v = in ? n->in[i] : n->out[i - n->n_in];
        if (tni_ir_is_const(g, v)) {
            double most = constant_largest(pc, pg, v);
            if (most > pc->limit)
                return reason(pc, "constant '%.200s' reaches %.4g, beyond the range of %s", g->values[v].name, most, type);
            continue;
        }
        double seen = pc->o->seen[pg->id].largest[v];
        if (seen * PC_MARGIN > pc->limit)
            return reason(pc, "'%.200s' reaches %.4g on the samples, too close to the end of the range of %s", g->values[v].name, seen, type);
    }
    return NULL;
}

/* A cast of integers that T cannot tell apart. */
static const char *not_whole(Pc *pc, const PcGraph *pg, const IrNode *n) {
    if (n->op != TN_OP_cast || tni_dtype_is_float(pg->g->values[n->in[0]].dtype) || n->out[0] == TN_NO_VALUE)
        return NULL;
    double seen = pc->o->seen[pg->id].largest[n->out[0]];
    return seen > pc->whole ? reason(pc, "integers up to %.6g are not exact in %s", seen, tn_dtype_name(pc->o->type)) : NULL;
}

/* Would a kernel of the device take this step in T? */
static TnStatus supported(Pc *pc, const PcGraph *pg, const IrNode *n, bool *yes, TnError *err) {
    const IrGraph *g = pg->g;
    TnTensor *t;
    PC_ALLOC(pc, t, (size_t)n->n_in + n->n_out, err);
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        const bool in = i < n->n_in;
        IrValueId v = in ? n->in[i] : n->out[i - n->n_in];
        if (v == TN_NO_VALUE)
            continue;
        t[i] = pc->o->seen[pg->id].shape[v];
        t[i].dtype = g->values[v].dtype;
        const bool turns = in ? tni_precision_follows(g, n, i) || tni_precision_is_bias(n, i) : true;
        const int64_t numel = tn_tensor_numel(&t[i]);
        if (tni_ir_is_const(g, v))
            t[i].data = (void *)(uintptr_t)g->values[v].data; /* a view: nobody writes through it */
        if (!turns || t[i].dtype != TN_F32)
            continue;
        t[i].dtype = pc->o->type;
        if (t[i].data && numel <= 64) { /* kernels may look at small ones */
            uint64_t saturated = 0;
            void *small = tni_arena_calloc(pc->scratch, 64, sizeof(uint16_t));
            if (!small)
                return TN_OOM(err, 128);
            tni_precision_convert(pc->o->type, t[i].data, numel, small, NULL, &saturated);
            t[i].data = small;
        }
    }
    TnCastParams cast;
    const void *params = n->params;
    if (n->op == TN_OP_cast) {
        cast = (TnCastParams){.to = pc->o->type, .saturate = 2};
        params = &cast;
    }
    TnKernelQuery q = {.op = n->op,
                       .params = params,
                       .in = t,
                       .n_in = n->n_in,
                       .out = t + n->n_in,
                       .n_out = n->n_out,
                       .threads = 1,
                       .device = pc->o->device};
    *yes = tni_precision_device_computes(&q, pc->o->lib, pc->o->math);
    return TN_OK;
}

static void widen(PcGraph *pg, uint32_t k, const char *why) {
    if (pg->step[k] != PC_NARROW)
        return;
    pg->step[k] = PC_WIDE;
    pg->why[k] = why;
}

static TnStatus judge(Pc *pc, PcGraph *pg, uint32_t k, TnError *err) {
    const IrGraph *g = pg->g;
    const IrNode *n = &g->nodes[k];
    bool any = false, yes = false;
    const char *why;
    for (uint32_t i = 0; i < n->n_in; i++)
        any |= n->in[i] != TN_NO_VALUE && g->values[n->in[i]].dtype == TN_F32;
    for (uint32_t i = 0; i < n->n_out; i++)
        any |= float_result(g, n, i);
    if (!any || n->op == TN_OP_shape || n->op == TN_OP_size)
        return TN_OK;
    pg->step[k] = PC_NARROW;
    if (tni_op_info(n->op)->flags & TN_OPF_CONTROL) {
        widen(pg, k, "called graphs exchange float32");
        return TN_OK;
    }
    if (decides(g, n)) {
        widen(pg, k, "it makes integers or booleans of floats");
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE)
                pg->exact[n->in[i]] = 1;
        return TN_OK;
    }
    if (float32_only(n->op)) {
        widen(pg, k, "the operator computes in float32 only");
        return TN_OK;
    }
    if (n->op == TN_OP_roi_align) { /* beyond 1024 pixels float16 knows whole ones only, bfloat16 every eighth */
        widen(pg, k, "its regions are coordinates, which need float32");
        pg->exact[n->in[1]] = 1;
        return TN_OK;
    }
    why = out_of_range(pc, pg, n);
    why = why ? why : not_whole(pc, pg, n);
    if (why) {
        widen(pg, k, why);
        return TN_OK;
    }
    TN_TRY(supported(pc, pg, n, &yes, err));
    if (!yes)
        widen(pg, k, reason(pc, "no kernel of the device computes this step in %s", tn_dtype_name(pc->o->type)));
    return TN_OK;
}

/* ---- over the graph ---- */

/* Element by element, or moving elements: what is decided on the result is decided on the operands. (Moves keep bits, but their operands would
 * come from a narrow step.) */
static bool passes_bits(TnOp op) {
    switch (op) {
    case TN_OP_unary:
    case TN_OP_binary:
    case TN_OP_where:
    case TN_OP_clip:
    case TN_OP_cast:
    case TN_OP_identity:
    case TN_OP_reshape:
    case TN_OP_transpose:
    case TN_OP_concat:
    case TN_OP_split:
    case TN_OP_slice:
    case TN_OP_pad:
    case TN_OP_expand:
    case TN_OP_tile:
    case TN_OP_gather:
    case TN_OP_gather_elements:
    case TN_OP_gather_nd:
    case TN_OP_scatter_nd:
    case TN_OP_scatter_elements:
    case TN_OP_constant_of_shape:
    case TN_OP_pointwise:
        return true;
    default:
        return false;
    }
}

/* Nodes are in order: one walk backwards sees every reader before its producer. */
static void mark_exact(PcGraph *pg) {
    const IrGraph *g = pg->g;
    for (uint32_t k = g->n_nodes; k-- > 0;) {
        const IrNode *n = &g->nodes[k];
        bool read = false;
        for (uint32_t i = 0; i < n->n_out; i++)
            read |= n->out[i] != TN_NO_VALUE && pg->exact[n->out[i]] && g->values[n->out[i]].dtype == TN_F32;
        if (!read || !passes_bits(n->op))
            continue;
        widen(pg, k, "integers or booleans are computed from it");
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE)
                pg->exact[n->in[i]] = 1;
    }
}

/* A bias that is worth its half of the memory. */
static bool is_large(const Pc *pc, const PcGraph *pg, IrValueId v) {
    return tn_tensor_numel(&pc->o->seen[pg->id].shape[v]) > 65536;
}

/* Steps that would stand between float32 steps only become wide too: nothing is gained by two casts around an element by element step.
 * Backwards: every reader is wide; forwards: and every operand comes from a wide step, an input or a constant. */
static TnStatus absorb(Pc *pc, PcGraph *pg, TnError *err) {
    const IrGraph *g = pg->g;
    uint8_t *narrow_read, *candidate;
    PC_ALLOC(pc, narrow_read, g->n_values, err);
    PC_ALLOC(pc, candidate, g->n_nodes, err);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        narrow_read[g->outputs[i]] = tni_precision_is_state(g->values[g->outputs[i]].name);
    for (uint32_t k = g->n_nodes; k-- > 0;) {
        const IrNode *n = &g->nodes[k];
        bool all = pg->step[k] == PC_NARROW && (passes_bits(n->op) || n->op == TN_OP_reduce || n->op == TN_OP_softmax);
        for (uint32_t i = 0; all && i < n->n_out; i++)
            all = n->out[i] == TN_NO_VALUE || !narrow_read[n->out[i]];
        candidate[k] = all;
        for (uint32_t i = 0; i < n->n_in && pg->step[k] == PC_NARROW && !all; i++)
            if (n->in[i] != TN_NO_VALUE && (!tni_precision_is_bias(n, i) || is_large(pc, pg, n->in[i])))
                narrow_read[n->in[i]] = 1;
    }
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        bool all = candidate[k];
        for (uint32_t i = 0; all && i < n->n_in; i++) {
            if (n->in[i] == TN_NO_VALUE || g->values[n->in[i]].dtype != TN_F32 || g->values[n->in[i]].kind != IR_NODE_OUTPUT)
                continue;
            all = pg->step[g->values[n->in[i]].producer] == PC_WIDE;
        }
        if (all)
            widen(pg, k, "it stands between steps and inputs of float32");
    }
    return TN_OK;
}

/* Caches are read and written in place, so that no cast can stand between: all in T or none. */
static void settle_states(Pc *pc) {
    bool wide = false;
    for (uint32_t i = 0; i < pc->m->n_graphs; i++) {
        const PcGraph *pg = &pc->graphs[i];
        for (uint32_t k = 0; k < pg->g->n_nodes; k++)
            wide |= (tni_op_info(pg->g->nodes[k].op)->flags & TN_OPF_STATE) && pg->step[k] == PC_WIDE;
        for (uint32_t v = 0; v < pg->g->n_outputs; v++) {
            IrValueId id = pg->g->outputs[v];
            wide |= tni_precision_is_state(pg->g->values[id].name) && pc->o->seen[i].largest[id] * PC_MARGIN > pc->limit;
        }
    }
    pc->wide_states = wide;
    for (uint32_t i = 0; wide && i < pc->m->n_graphs; i++)
        for (uint32_t k = 0; k < pc->graphs[i].g->n_nodes; k++)
            if (tni_op_info(pc->graphs[i].g->nodes[k].op)->flags & TN_OPF_STATE)
                widen(&pc->graphs[i], k, "another step keeps the states in float32");
}

TnStatus tni_precision_classify(Pc *pc, TnError *err) {
    for (uint32_t i = 0; i < pc->m->n_graphs; i++) {
        PcGraph *pg = &pc->graphs[i];
        for (uint32_t k = 0; k < pg->g->n_nodes; k++)
            TN_TRY(judge(pc, pg, k, err));
        mark_exact(pg);
    }
    settle_states(pc);
    for (uint32_t i = 0; i < pc->m->n_graphs; i++)
        TN_TRY(absorb(pc, &pc->graphs[i], err));
    return TN_OK;
}
