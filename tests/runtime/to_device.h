/* SPDX-License-Identifier: Apache-2.0
 *
 * From a plan for the CPU with reference kernels to one for the fake device, step by step: a function says which steps go to the device; values get
 * a memory, and copies between memories stand right behind the steps that make what is copied. A small, slow planner that knows nothing of time,
 * so that the runtime can be tried on every distribution of steps. */
#ifndef TENON_TESTS_TO_DEVICE_H
#define TENON_TESTS_TO_DEVICE_H

#include <stdlib.h>

#include "runtime/plan_harness.h"

/* What runs on the device. */
typedef bool (*OnDeviceFn)(TnOp op, uint32_t step, uint32_t n_steps);
/* The kernel of a step there; NULL: "fake_<op>". */
typedef const char *(*KernelNameFn)(TnOp op, uint32_t step);

typedef struct Convert {
    const Plan *p;
    const PlanProgram *g;
    uint32_t program;
    PlanWriter *w;
    OnDeviceFn on;
    KernelNameFn name;
    TnError *err;
    /* of the program */
    bool called;
    bool *step_on;      /* [old steps] */
    PlanValue *v;       /* old values, then new ones */
    uint32_t n_v, *other; /* [old values]: the value that has its copy in the other memory, PLAN_NONE = none yet */
    int64_t extra[64]; /* constant dims of values that the CPU's plan does not have */
    uint32_t n_extra;
    PlanStep *s;
    uint32_t n_s, *operands; /* new operands before they are appended: index in the table of this program */
    uint32_t n_operands;
} Convert;

static inline TnOp op_of(const Plan *p, const PlanStep *st) {
    TnOp op = TN_OP_COUNT;
    assert_true(tni_op_find(p->strings + st->op, &op));
    return op;
}

/* Operators that are never run on the device: what the runtime does itself, and what reads dims alone. */
static inline bool host_op(TnOp op) {
    return (tni_op_info(op)->flags & TN_OPF_CONTROL) || op == TN_OP_dims || op == TN_OP_shape || op == TN_OP_size;
}

static inline uint32_t memory_wanted(const Convert *c, const PlanStep *st, TnOp op, uint32_t i, bool on) {
    (void)c, (void)st;
    return on && !(i < 32 && (tni_op_host_inputs(op) & 1u << i)) ? 1 : 0;
}

static inline bool is_called(const Plan *p, uint32_t program) {
    for (uint32_t s = 0; s < p->n_steps; s++) {
        TnControlParams cp;
        TnOp op = op_of(p, &p->steps[s]);
        if (!(tni_op_info(op)->flags & TN_OPF_CONTROL))
            continue;
        memcpy(&cp, p->params + p->steps[s].params, sizeof cp);
        if (cp.graph[0] == program || (op == TN_OP_if_ && cp.graph[1] == program))
            return true;
    }
    return false;
}

/* The memory of every value: where it is made; inputs where a step of the device wants them. */
static inline void place_values(Convert *c) {
    const Plan *p = c->p;
    for (uint32_t s = 0; s < c->g->n_steps; s++) {
        const PlanStep *st = &p->steps[c->g->first_step + s];
        TnOp op = op_of(p, st);
        c->step_on[s] = !host_op(op) && c->on(op, s, c->g->n_steps);
        for (uint32_t i = 0; i < st->n_in; i++) {
            uint32_t id = p->operands[st->first_in + i];
            if (id == PLAN_NONE)
                continue;
            if (c->v[id].place == PLAN_AT_STATE && c->step_on[s])
                c->v[id].device = 1;
            if (c->v[id].place == PLAN_AT_INPUT && !c->called && memory_wanted(c, st, op, i, c->step_on[s]))
                c->v[id].device = 1;
        }
        for (uint32_t i = 0; i < st->n_out; i++)
            if (p->operands[st->first_out + i] != PLAN_NONE)
                c->v[p->operands[st->first_out + i]].device = c->step_on[s];
    }
    for (uint32_t i = 0; i < c->g->n_values; i++) {
        PlanValue *v = &c->v[i];
        if (v->place == PLAN_AT_ALIAS && c->v[v->place_arg].device != v->device)
            v->place = c->v[v->place_arg].place == PLAN_AT_DYNAMIC ? PLAN_AT_DYNAMIC : PLAN_AT_ARENA;
        v->first_step = v->last_step = 0;
        if (v->place == PLAN_AT_ARENA)
            v->offset = v->bytes = 0;
    }
}

/* Views of what lies in another memory after all: aliases of a value that is not in the arena keep it; those whose root moved need their own. */
static inline uint32_t put(Convert *c, const uint32_t *ids, uint32_t n) {
    uint32_t first = c->n_operands;
    for (uint32_t i = 0; i < n; i++)
        c->operands[c->n_operands++] = ids[i];
    return first;
}

static inline void born(Convert *c, uint32_t id, uint32_t step) {
    c->v[id].first_step = c->v[id].last_step = step;
}

/* A step that copies value `from` to the other memory. */
static inline uint32_t add_copy(Convert *c, uint32_t from) {
    PlanValue *v = &c->v[c->n_v];
    char name[300];
    uint32_t id = c->n_v++;
    *v = c->v[from];
    v->device = !c->v[from].device;
    v->is_output = 0;
    snprintf(name, sizeof name, "%.200s@%s", c->p->strings + c->v[from].name, v->device ? "device" : "host");
    assert_int_equal(tni_plan_string(c->w, name, &v->name, c->err), TN_OK);
    if (v->place == PLAN_AT_WEIGHT)
        return id; /* a constant is in both */
    bool late = c->v[from].place == PLAN_AT_DYNAMIC || (c->v[from].place == PLAN_AT_ALIAS && c->v[c->v[from].place_arg].place == PLAN_AT_DYNAMIC);
    v->place = late ? PLAN_AT_DYNAMIC : PLAN_AT_ARENA;
    v->offset = v->bytes = 0;
    v->place_arg = 0;
    PlanStep st = {.n_in = 1, .n_out = 1, .device = 1, .code = PLAN_NONE, .first_packed = PLAN_NONE};
    TnNoParams none = {0};
    assert_int_equal(tni_plan_string(c->w, name, &st.name, c->err), TN_OK);
    assert_int_equal(tni_plan_string(c->w, "copy", &st.op, c->err), TN_OK);
    assert_int_equal(tni_plan_string(c->w, "", &st.kernel, c->err), TN_OK);
    st.params_bytes = sizeof none;
    assert_int_equal(tni_plan_append(c->w, PLAN_SEC_PARAMS, &none, sizeof none, &st.params, c->err), TN_OK);
    st.first_in = put(c, &from, 1);
    st.first_out = put(c, &id, 1);
    born(c, id, c->n_s);
    c->v[from].last_step = TN_MAX(c->v[from].last_step, c->n_s);
    c->s[c->n_s++] = st;
    return id;
}

/* Some later step wants old value id in the other memory than its own. */
static inline bool wanted_elsewhere(const Convert *c, uint32_t id) {
    for (uint32_t s = 0; s < c->g->n_steps; s++) {
        const PlanStep *st = &c->p->steps[c->g->first_step + s];
        TnOp op = op_of(c->p, st);
        for (uint32_t i = 0; i < st->n_in; i++)
            if (c->p->operands[st->first_in + i] == id && memory_wanted(c, st, op, i, c->step_on[s]) != c->v[id].device)
                return true;
    }
    for (uint32_t i = 0; c->called && i < c->g->n_outputs; i++)
        if (c->p->operands[c->g->first_output + i] == id && c->v[id].device)
            return true;
    return false;
}

static inline void copy_if_wanted(Convert *c, uint32_t id) {
    if (c->other[id] == PLAN_NONE && wanted_elsewhere(c, id))
        c->other[id] = add_copy(c, id);
}

/* ---- packed operands and generated code ---- */

typedef struct Bytes {
    size_t n;
    const uint8_t *from; /* packed as fake_packed_gemm wants it; NULL: code */
} Bytes;

#define FAKE_BINARY "90 fake source of a step"
#define FAKE_SOURCE "fake source of a step"

static inline TnStatus fill_bytes(void *ctx, void *dst, TnError *err) {
    const Bytes *b = ctx;
    uint8_t *to = dst;
    (void)err;
    for (size_t i = 0; b->from && i < b->n; i++)
        to[i] = b->from[i] ^ 0xff;
    if (!b->from) {
        PlanCode code = {.arch = 90, .binary_bytes = sizeof FAKE_BINARY, .source_bytes = sizeof FAKE_SOURCE};
        memcpy(to, &code, sizeof code);
        memcpy(to + sizeof code, FAKE_BINARY, sizeof FAKE_BINARY);
        memcpy(to + sizeof code + sizeof FAKE_BINARY, FAKE_SOURCE, sizeof FAKE_SOURCE);
    }
    return TN_OK;
}

/* A new vector of bytes among the weights. */
static inline uint32_t add_bytes(Convert *c, size_t n, const uint8_t *from, uint32_t device) {
    Bytes *b = tni_arena_calloc(tni_plan_writer_arena(c->w), 1, sizeof *b);
    uint32_t id = c->n_v++;
    assert_true(b != NULL && c->n_extra < TN_COUNT(c->extra));
    *b = (Bytes){n, from};
    c->v[id] = (PlanValue){.dtype = TN_U8, .rank = 1, .place = PLAN_AT_WEIGHT, .device = device, .bytes = n};
    c->v[id].dims[0] = c->p->n_exprs + c->n_extra;
    c->extra[c->n_extra++] = (int64_t)n;
    assert_int_equal(tni_plan_weight(c->w, n, fill_bytes, b, &c->v[id].offset, c->err), TN_OK);
    return id;
}

static inline void add_special(Convert *c, PlanStep *st, const char *kernel, const uint32_t *in) {
    st->first_packed = PLAN_NONE;
    if (kernel && strcmp(kernel, "fake_code_unary") == 0)
        st->code = add_bytes(c, sizeof(PlanCode) + sizeof FAKE_BINARY + sizeof FAKE_SOURCE, NULL, 0);
    if (kernel && strcmp(kernel, "fake_packed_gemm") == 0) {
        uint32_t ids[4] = {PLAN_NONE, PLAN_NONE, PLAN_NONE, PLAN_NONE};
        ids[1] = add_bytes(c, c->v[in[1]].bytes, c->p->weights + c->v[in[1]].offset, 1);
        st->first_packed = put(c, ids, st->n_in);
    }
}

static inline void convert_step(Convert *c, uint32_t s) {
    const Plan *p = c->p;
    const PlanStep *old = &p->steps[c->g->first_step + s];
    TnOp op = op_of(p, old);
    uint32_t in[600], out[600];
    PlanStep st = *old;
    char kernel[64];
    assert_true(old->n_in < 600 && old->n_out < 600);
    for (uint32_t i = 0; i < old->n_in; i++) {
        uint32_t id = p->operands[old->first_in + i];
        in[i] = id;
        if (id == PLAN_NONE)
            continue;
        if (memory_wanted(c, old, op, i, c->step_on[s]) != c->v[id].device)
            in[i] = c->other[id];
        assert_int_not_equal(in[i], PLAN_NONE);
        c->v[in[i]].last_step = TN_MAX(c->v[in[i]].last_step, c->n_s);
    }
    for (uint32_t i = 0; i < old->n_out; i++) {
        out[i] = p->operands[old->first_out + i];
        if (out[i] != PLAN_NONE)
            born(c, out[i], c->n_s);
    }
    snprintf(kernel, sizeof kernel, "fake_%s", tni_op_info(op)->name);
    const char *special = c->name ? c->name(op, s) : NULL;
    assert_int_equal(tni_plan_string(c->w, p->strings + old->name, &st.name, c->err), TN_OK);
    assert_int_equal(tni_plan_string(c->w, p->strings + old->op, &st.op, c->err), TN_OK);
    assert_int_equal(tni_plan_string(c->w, !c->step_on[s] ? p->strings + old->kernel : special ? special : kernel, &st.kernel, c->err), TN_OK);
    st.device = c->step_on[s];
    st.code = PLAN_NONE;
    add_special(c, &st, c->step_on[s] ? special : NULL, in);
    assert_int_equal(tni_plan_append(c->w, PLAN_SEC_PARAMS, p->params + old->params, old->params_bytes, &st.params, c->err), TN_OK);
    st.first_in = put(c, in, old->n_in);
    st.first_out = put(c, out, old->n_out);
    if (old->n_symbols)
        st.first_symbol = put(c, p->operands + old->first_symbol, 2 * old->n_symbols);
    c->s[c->n_s++] = st;
    for (uint32_t i = 0; i < old->n_out; i++)
        if (out[i] != PLAN_NONE)
            copy_if_wanted(c, out[i]);
}

static inline void rename_value(Convert *c, uint32_t id) {
    assert_int_equal(tni_plan_string(c->w, c->p->strings + c->p->values[c->g->first_value + id].name, &c->v[id].name, c->err), TN_OK);
}

static inline void convert_program(Convert *c, uint32_t *n_steps, uint32_t *n_values) {
    const PlanProgram *g = c->g;
    uint32_t most = g->n_values * 2 + g->n_steps + 1, n_ops = c->p->n_operands + 4 * most, first;
    PlanProgram out = *g;
    c->called = is_called(c->p, c->program);
    c->step_on = calloc(g->n_steps + 1u, sizeof *c->step_on);
    c->v = calloc(most, sizeof *c->v);
    c->other = malloc(most * sizeof *c->other);
    c->s = calloc(g->n_steps + most, sizeof *c->s);
    c->operands = calloc(n_ops, sizeof *c->operands);
    memcpy(c->v, c->p->values + g->first_value, g->n_values * sizeof *c->v);
    memset(c->other, 0xff, most * sizeof *c->other);
    c->n_v = g->n_values;
    c->n_s = c->n_operands = 0;
    place_values(c);
    for (uint32_t i = 0; i < g->n_values; i++)
        rename_value(c, i);
    for (uint32_t i = 0; i < g->n_values; i++)
        if (c->v[i].place == PLAN_AT_INPUT || c->v[i].place == PLAN_AT_WEIGHT || c->v[i].place == PLAN_AT_STATE)
            copy_if_wanted(c, i);
    for (uint32_t s = 0; s < g->n_steps; s++)
        convert_step(c, s);
    uint32_t ids[64];
    assert_true(g->n_inputs <= 64 && g->n_outputs <= 64);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        ids[i] = c->p->operands[g->first_input + i];
    out.first_input = put(c, ids, g->n_inputs);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        ids[i] = c->p->operands[g->first_output + i];
        if (c->called && c->v[ids[i]].device)
            ids[i] = c->other[ids[i]];
        c->v[ids[i]].is_output = 1;
        c->v[ids[i]].last_step = c->n_s;
    }
    out.first_output = put(c, ids, g->n_outputs);
    for (uint32_t i = 0; i < c->n_v; i++) {
        PlanValue *v = &c->v[i];
        if (v->place == PLAN_AT_WEIGHT || v->place == PLAN_AT_STATE || v->place == PLAN_AT_PACKED)
            v->last_step = c->n_s;
        if (v->place == PLAN_AT_ALIAS) {
            PlanValue *r = &c->v[v->place_arg];
            r->last_step = TN_MAX(r->last_step, v->last_step);
        }
    }
    assert_int_equal(tni_plan_append(c->w, PLAN_SEC_OPERANDS, c->operands, c->n_operands, &first, c->err), TN_OK);
    for (uint32_t s = 0; s < c->n_s; s++) {
        c->s[s].first_in += first;
        c->s[s].first_out += first;
        c->s[s].first_symbol += c->s[s].n_symbols ? first : 0;
        c->s[s].first_packed += c->s[s].first_packed != PLAN_NONE ? first : 0;
    }
    out.first_input += first;
    out.first_output += first;
    out.first_step = *n_steps;
    out.first_value = *n_values;
    out.n_steps = c->n_s;
    out.n_values = c->n_v;
    out.arena_bytes = out.arena_lower_bound = out.device_arena_bytes = out.device_arena_lower_bound = 0;
    assert_int_equal(tni_plan_string(c->w, c->p->strings + g->name, &out.name, c->err), TN_OK);
    assert_int_equal(tni_plan_append(c->w, PLAN_SEC_STEPS, c->s, c->n_s, NULL, c->err), TN_OK);
    assert_int_equal(tni_plan_append(c->w, PLAN_SEC_VALUES, c->v, c->n_v, NULL, c->err), TN_OK);
    assert_int_equal(tni_plan_append(c->w, PLAN_SEC_PROGRAMS, &out, 1, NULL, c->err), TN_OK);
    *n_steps += c->n_s;
    *n_values += c->n_v;
    free(c->step_on);
    free(c->v);
    free(c->other);
    free(c->s);
    free(c->operands);
}

static inline TnStatus fill_copy(void *ctx, void *dst, TnError *err) {
    const Plan *p = ctx;
    (void)err;
    memcpy(dst, p->weights, p->weights_bytes);
    return TN_OK;
}

/* The plan in b for the fake device; bytes to be freed with tni_free. */
static inline void to_device(const Built *b, OnDeviceFn on, KernelNameFn name, uint8_t **bytes, size_t *n) {
    TnError err = {0};
    Plan p;
    TnArena *arena;
    Convert c = {.p = &p, .on = on, .name = name, .err = &err};
    uint32_t n_steps = 0, n_values = 0;
    uint64_t at;
    OK(tni_plan_read((TnSpan){b->bytes, b->n, 0}, true, NULL, &p, &err));
    OK(tni_arena_create(NULL, &arena, &err));
    OK(tni_plan_writer_create(arena, &c.w, &err));
    if (p.weights_bytes) /* first, so that offsets stay */
        OK(tni_plan_weight(c.w, p.weights_bytes, fill_copy, &p, &at, &err));
    for (uint32_t i = 0; i < p.n_programs; i++) {
        c.g = &p.programs[i];
        c.program = i;
        convert_program(&c, &n_steps, &n_values);
    }
    for (uint32_t i = 0; i < p.n_states; i++) {
        PlanState s = p.states[i];
        OK(tni_plan_string(c.w, p.strings + s.name, &s.name, &err));
        OK(tni_plan_append(c.w, PLAN_SEC_STATES, &s, 1, NULL, &err));
    }
    for (uint32_t i = 0; i < p.n_meta; i++)
        OK(tni_plan_meta_add(c.w, p.strings + p.meta[i].key, p.blobs + p.meta[i].offset, p.meta[i].bytes, &err));
    OK(tni_plan_append(c.w, PLAN_SEC_EXPRS, p.exprs, p.n_exprs, NULL, &err));
    for (uint32_t i = 0; i < c.n_extra; i++)
        OK(tni_plan_append(c.w, PLAN_SEC_EXPRS, &(TnDimExpr){.op = TN_DIM_CONST, .value = c.extra[i]}, 1, NULL, &err));
    OK(tni_plan_append(c.w, PLAN_SEC_SYMBOLS, p.symbols, p.n_symbols, NULL, &err));
    PlanHeader h = *p.header;
    h.device = TN_DEVICE_CUDA;
    h.arch = 90;
    h.device_identity = 0xfade;
    OK(tni_plan_write_memory(c.w, &h, tni_default_allocator(), bytes, n, &err));
    tni_arena_destroy(&arena);
}

#endif
