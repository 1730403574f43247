/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences and optionals, as far as they are known at import: a sequence is a list of values, so that these operators leave no nodes
 * behind (but those that cut or join tensors). A sequence that the model gives back becomes an output "NAME/i" for each element. What would
 * need sequences at run time is refused: sequences in loops and branches, as inputs of the model, and positions that are computed. */
#include "onnx/express.h"

static TnStatus bind_output(OnnxCall *c, uint32_t i, const OnnxSequence *s) {
    OnnxBind *b = c->node->out[i] == 0 ? NULL : tni_onnx_scope_find(c->scope, c->node->out[i]);
    if (b == NULL)
        return TN_OK;
    b->kind = ONNX_BIND_SEQUENCE;
    b->sequence = s;
    return TN_OK;
}

static TnStatus bind(OnnxCall *c, const OnnxSequence *s) {
    return bind_output(c, 0, s);
}

/* A list with room for n values. */
static TnStatus create(OnnxCall *c, uint32_t n, OnnxSequence **out) {
    OnnxSequence *s = tni_arena_calloc(c->imp->scratch, 1, sizeof *s);
    IrValueId *items = tni_arena_calloc(c->imp->scratch, n, sizeof *items);
    if (s == NULL || items == NULL)
        return TN_OOM(c->err, sizeof *s + n * sizeof *items);
    s->items = items;
    *out = s;
    return TN_OK;
}

static TnStatus operand(OnnxCall *c, uint32_t i, const OnnxSequence **out) {
    *out = tni_onnx_in_sequence(c, i);
    if (*out == NULL || (*out)->none)
        return ONNX_UNSUPPORTED(c, "operand %u must be a sequence that is known at import", i);
    return TN_OK;
}

/* A position in operand i, counted from the front: -n .. limit - 1; without the operand `otherwise`. */
static TnStatus position(OnnxCall *c, uint32_t i, uint32_t n, uint32_t limit, int64_t otherwise, uint32_t *out) {
    int64_t at = otherwise;
    uint32_t count = 1;
    if (tni_onnx_has(c, i))
        TN_TRY(tni_onnx_in_ints(c, i, "position", &at, 1, &count));
    if (count != 1 || at < -(int64_t)n || at >= (int64_t)limit)
        return ONNX_BAD(c, "position %lld is outside a sequence of %u", (long long)at, n);
    *out = (uint32_t)(at < 0 ? at + n : at);
    return TN_OK;
}

TnStatus tni_onnx_convert_sequence_construct(OnnxCall *c) {
    OnnxSequence *s = NULL;
    TN_TRY(create(c, c->n_in, &s));
    for (uint32_t i = 0; i < c->n_in; i++) {
        if (!tni_onnx_has(c, i))
            return ONNX_BAD(c, "operand %u is missing", i);
        s->items[s->n++] = c->in[i];
    }
    return bind(c, s);
}

TnStatus tni_onnx_convert_sequence_empty(OnnxCall *c) {
    OnnxSequence *s = NULL;
    (void)tni_onnx_attr(c, "dtype");
    TN_TRY(create(c, 0, &s));
    return bind(c, s);
}

TnStatus tni_onnx_convert_sequence_at(OnnxCall *c) {
    const OnnxSequence *s = NULL;
    uint32_t at = 0;
    TN_TRY(operand(c, 0, &s));
    TN_TRY(position(c, 1, s->n, s->n, 0, &at));
    return tni_onnx_emit_identity(c, s->items[at]);
}

TnStatus tni_onnx_convert_sequence_insert(OnnxCall *c) {
    const OnnxSequence *s = NULL;
    OnnxSequence *t = NULL;
    uint32_t at = 0;
    TN_TRY(operand(c, 0, &s));
    if (!tni_onnx_has(c, 1))
        return ONNX_UNSUPPORTED(c, "operand 1 must be a tensor");
    TN_TRY(position(c, 2, s->n, s->n + 1, s->n, &at));
    TN_TRY(create(c, s->n + 1, &t));
    for (uint32_t i = 0; i <= s->n; i++)
        t->items[t->n++] = i < at ? s->items[i] : i == at ? c->in[1] : s->items[i - 1];
    return bind(c, t);
}

TnStatus tni_onnx_convert_sequence_erase(OnnxCall *c) {
    const OnnxSequence *s = NULL;
    OnnxSequence *t = NULL;
    uint32_t at = 0;
    TN_TRY(operand(c, 0, &s));
    TN_TRY(position(c, 1, s->n, s->n, (int64_t)s->n - 1, &at));
    TN_TRY(create(c, s->n, &t));
    for (uint32_t i = 0; i < s->n; i++)
        if (i != at)
            t->items[t->n++] = s->items[i];
    return bind(c, t);
}

TnStatus tni_onnx_convert_sequence_length(OnnxCall *c) {
    const OnnxSequence *s = NULL;
    OnnxX x = {.c = c};
    TN_TRY(operand(c, 0, &s));
    return tni_x_finish(&x, 0, tni_x_int(&x, s->n));
}

/* Size of operand 0 along an axis; it must be a number at import. */
static TnStatus size_of(OnnxCall *c, int32_t axis, int64_t *out) {
    const IrValue *v = &c->scope->target->g->values[c->in[0]];
    OnnxKnown k = tni_onnx_in_known(c, 0);
    if (v->rank > axis && tni_ir_dim_is_const(c->imp->m, v->dims[axis], out))
        return TN_OK;
    *out = k.len;
    if (k.rank != 1 || k.len < 0)
        return ONNX_UNSUPPORTED(c, "the size of operand 0 along axis %d is not known at import", axis);
    return TN_OK;
}

/* Sizes that are computed: as many as are known to be. */
static TnStatus split_at_run(OnnxX *x, int32_t axis) {
    OnnxCall *c = x->c;
    OnnxSequence *s = NULL;
    const int32_t n = tni_onnx_in_known(c, 1).len;
    if (n < 1 || n > 8)
        return ONNX_UNSUPPORTED(c, "operand 1 (split) is computed at run time; up to 8 sizes, whose number is known, are supported then");
    TN_TRY(create(c, (uint32_t)n, &s));
    TnAxisParams p = {.axis = axis, .n = (uint32_t)n};
    IrValueId in[2] = {c->in[0], tni_x_cast(x, c->in[1], TN_I64)};
    tni_x_op_n(x, TN_OP_split, &p, in, 2, s->items, (uint32_t)n);
    s->n = (uint32_t)n;
    return x->st != TN_OK ? x->st : bind(c, s);
}

TnStatus tni_onnx_convert_split_to_sequence(OnnxCall *c) {
    OnnxX x = {.c = c};
    OnnxSequence *s = NULL;
    int32_t axis = 0, rank = tni_x_need_rank(&x, 0);
    uint32_t keep = 1, n_sizes = 0;
    int64_t sizes[512], size = 0, step = 1, from = 0;
    TN_TRY(x.st);
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    TN_TRY(tni_onnx_attr_bool(c, "keepdims", &keep));
    if (axis < -rank || axis >= rank)
        return ONNX_BAD(c, "axis %d is out of range for an operand of rank %d", axis, rank);
    axis += axis < 0 ? rank : 0;
    const bool given = tni_onnx_has(c, 1), list = given && tni_onnx_in_known(c, 1).rank == 1;
    TnTensor constant;
    if (list && !tni_onnx_in_const(c, 1, &constant))
        return split_at_run(&x, axis);
    if (given)
        TN_TRY(tni_onnx_in_ints(c, 1, "split", sizes, TN_COUNT(sizes), &n_sizes));
    if (!list)
        TN_TRY(size_of(c, axis, &size));
    for (uint32_t i = 0; i < n_sizes && list; i++) /* the sizes say it all; shape inference compares them */
        size += sizes[i];
    if (given && !list && (n_sizes != 1 || (step = sizes[0]) < 1))
        return ONNX_BAD(c, "operand 1 (split) must be at least 1");
    const int64_t parts = list ? n_sizes : (size + step - 1) / step;
    if (parts > (int64_t)TN_COUNT(sizes))
        return tni_onnx_fail(c, TN_ERR_LIMIT, "makes %lld parts, the most is %zu", (long long)parts, TN_COUNT(sizes));
    TN_TRY(create(c, (uint32_t)parts, &s));
    for (int64_t i = 0; i < parts; i++) {
        const int64_t n = list ? sizes[i] : TN_MIN(step, size - from);
        if (n < 0 || from + n > size)
            return ONNX_BAD(c, "the parts of operand 1 (split) do not fit %lld elements", (long long)size);
        IrValueId part = tni_x_cut(&x, c->in[0], axis, from, from + n);
        s->items[s->n++] = given || keep ? part : tni_x_squeeze(&x, part, axis);
        from += n;
    }
    TN_TRY(x.st);
    return from == size ? bind(c, s)
                        : ONNX_BAD(c, "the parts of operand 1 (split) make %lld of %lld elements", (long long)from, (long long)size);
}

TnStatus tni_onnx_convert_concat_from_sequence(OnnxCall *c) {
    const OnnxSequence *s = NULL;
    OnnxX x = {.c = c};
    int32_t axis = 0;
    uint32_t stack = 0;
    if (!tni_onnx_has_attr(c, "axis"))
        return ONNX_BAD(c, "attribute 'axis' is required");
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    TN_TRY(tni_onnx_attr_bool(c, "new_axis", &stack));
    TN_TRY(operand(c, 0, &s));
    if (s->n == 0)
        return ONNX_BAD(c, "the sequence is empty");
    IrValueId *items = tni_arena_calloc(c->imp->scratch, s->n, sizeof *items);
    if (items == NULL)
        return TN_OOM(c->err, s->n * sizeof *items);
    for (uint32_t i = 0; i < s->n; i++)
        items[i] = stack ? tni_x_unsqueeze(&x, s->items[i], axis) : s->items[i];
    return tni_x_finish(&x, 0, tni_x_concat(&x, items, s->n, axis));
}

/* The body once for each element; operands that are tensors are the same for all. */
TnStatus tni_onnx_convert_sequence_map(OnnxCall *c) {
    const OnnxSequence *first = NULL;
    OnnxSequence **made = tni_arena_calloc(c->imp->scratch, c->n_out, sizeof *made);
    IrValueId *in = tni_arena_calloc(c->imp->scratch, c->n_in, sizeof *in), *out = tni_arena_calloc(c->imp->scratch, c->n_out, sizeof *out);
    if (made == NULL || in == NULL || out == NULL)
        return TN_OOM(c->err, (c->n_in + c->n_out) * sizeof *in);
    TN_TRY(operand(c, 0, &first));
    for (uint32_t k = 0; k < c->n_out; k++)
        TN_TRY(create(c, first->n, &made[k]));
    for (uint32_t e = 0; e < first->n; e++) {
        for (uint32_t i = 0; i < c->n_in; i++) {
            const OnnxSequence *s = tni_onnx_in_sequence(c, i);
            if (s != NULL && e >= s->n)
                return ONNX_BAD(c, "operand %u has %u elements, operand 0 %u", i, s->n, first->n);
            in[i] = s != NULL ? s->items[e] : c->in[i];
        }
        TN_TRY(tni_onnx_inline_graph(c, "body", in, c->n_in, out, c->n_out));
        for (uint32_t k = 0; k < c->n_out; k++)
            made[k]->items[made[k]->n++] = out[k];
    }
    (void)tni_onnx_attr(c, "body");
    for (uint32_t k = 0; k < c->n_out; k++)
        TN_TRY(bind_output(c, k, made[k]));
    return TN_OK;
}

/* ---- optionals: what they hold, or nothing ---- */

/* Identity too. */
static TnStatus same(OnnxCall *c) {
    const OnnxSequence *s = tni_onnx_in_sequence(c, 0);
    if (s == NULL)
        return tni_onnx_emit_identity(c, c->in[0]);
    OnnxSequence *t = NULL;
    TN_TRY(create(c, 0, &t));
    *t = *s;
    return bind(c, t);
}

TnStatus tni_onnx_convert_optional(OnnxCall *c) {
    OnnxSequence *s = NULL;
    (void)tni_onnx_attr(c, "type");
    if (tni_onnx_has(c, 0) || tni_onnx_in_sequence(c, 0) != NULL)
        return same(c);
    TN_TRY(create(c, 0, &s));
    s->none = true;
    return bind(c, s);
}

TnStatus tni_onnx_convert_optional_has(OnnxCall *c) {
    const OnnxSequence *s = tni_onnx_in_sequence(c, 0);
    const bool has = s != NULL ? !s->none : tni_onnx_has(c, 0);
    OnnxX x = {.c = c};
    return tni_x_finish(&x, 0, tni_x_number(&x, TN_BOOL, has));
}

TnStatus tni_onnx_convert_optional_get(OnnxCall *c) {
    const OnnxSequence *s = tni_onnx_in_sequence(c, 0);
    if (s != NULL ? s->none : !tni_onnx_has(c, 0))
        return ONNX_BAD(c, "the optional is empty");
    return same(c);
}

TnStatus tni_onnx_convert_identity(OnnxCall *c) {
    return same(c);
}
