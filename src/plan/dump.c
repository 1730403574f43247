/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan as text or JSON for people and scripts. In: a checked plan. Out: pieces of text to a callback. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "plan/print.h"

void tni_plan_out(PlanOut *o, const char *fmt, ...) {
    char buf[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (n > 0)
        o->fn(o->ctx, buf, TN_MIN((size_t)n, sizeof buf - 1));
}

/* Plans may carry any bytes as names: control characters and invalid bytes are escaped, so that a terminal or parser is safe. */
void tni_plan_out_string(PlanOut *o, const char *s, size_t n) {
    char buf[256];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (at + 8 > sizeof buf) {
            o->fn(o->ctx, buf, at);
            at = 0;
        }
        if (c == '"' || c == '\\') {
            buf[at++] = '\\';
            buf[at++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            at += (size_t)snprintf(buf + at, 7, "\\u%04x", c);
        } else {
            buf[at++] = (char)c;
        }
    }
    if (at)
        o->fn(o->ctx, buf, at);
}

static void str(PlanOut *o, const char *s) {
    tni_plan_out_string(o, s, strlen(s));
}

static const char *const place_names[PLAN_PLACE_COUNT] = {"arena", "weight", "input", "state", "alias", "dynamic", "packed"};

typedef struct View {
    const Plan *p;
    const PlanProgram *g;
    const PlanValue *values;
    PlanOut *o;
} View;

static void shape(const View *v, int32_t rank, const TnDim *dims) {
    char buf[256];
    tni_plan_out(v->o, "[");
    for (int32_t d = 0; d < rank; d++) {
        if (d)
            tni_plan_out(v->o, ",");
        str(v->o, tni_dim_str(buf, sizeof buf, v->p->exprs, v->p->symbols, dims[d]));
    }
    tni_plan_out(v->o, "]");
}

static const char *name_of(const View *v, uint32_t id) {
    return v->p->strings + v->values[id].name;
}

static uint64_t weight_bytes(const Plan *p) {
    return p->weights_bytes;
}

/* ---- text ---- */

static void text_values(const View *v, const uint32_t *ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] == PLAN_NONE) {
            tni_plan_out(v->o, " -");
            continue;
        }
        tni_plan_out(v->o, " %%%" PRIu32 ":%s", ids[i], tn_dtype_name((TnDtype)v->values[ids[i]].dtype));
        shape(v, v->values[ids[i]].rank, v->values[ids[i]].dims);
    }
}

static void text_place(const View *v, uint32_t id) {
    const PlanValue *x = &v->values[id];
    tni_plan_out(v->o, "  %%%" PRIu32 " ", id);
    str(v->o, name_of(v, id));
    tni_plan_out(v->o, " %s", tn_dtype_name((TnDtype)x->dtype));
    shape(v, x->rank, x->dims);
    tni_plan_out(v->o, " %s%s%s", x->device ? tni_plan_device_name(x->device) : "", x->device ? " " : "", place_names[x->place]);
    if (x->place == PLAN_AT_ARENA || x->place == PLAN_AT_WEIGHT)
        tni_plan_out(v->o, " +%" PRIu64 " %" PRIu64 " bytes", x->offset, x->bytes);
    else if (x->place == PLAN_AT_ALIAS)
        tni_plan_out(v->o, " of %%%" PRIu32, x->place_arg);
    else if (x->place == PLAN_AT_INPUT || x->place == PLAN_AT_STATE)
        tni_plan_out(v->o, " %" PRIu32, x->place_arg);
    tni_plan_out(v->o, " steps %" PRIu32 "..%" PRIu32 "%s\n", x->first_step, x->last_step, x->is_output ? " output" : "");
}

/* What runs a step: its kernel, or the runtime itself. */
static const char *kernel_text(const Plan *p, const PlanProgram *g, uint32_t s) {
    const PlanStep *st = &p->steps[g->first_step + s];
    if (tni_plan_is_transfer(p, g, s))
        return p->values[g->first_value + p->operands[st->first_out]].device ? "(to the device)" : "(to the host)";
    return p->strings + st->kernel;
}

static void text_arena(PlanOut *o, uint64_t bytes, uint64_t lower_bound) {
    if (bytes)
        tni_plan_out(o, "%" PRIu64 " bytes (lower bound %" PRIu64 ")", bytes, lower_bound);
    else
        tni_plan_out(o, "planned at run");
}

static void text_program(View *v, const PlanProgram *g) {
    const Plan *p = v->p;
    v->g = g;
    v->values = p->values + g->first_value;
    tni_plan_out(v->o, "\nprogram ");
    str(v->o, p->strings + g->name);
    tni_plan_out(v->o, ": %" PRIu32 " steps, arena ", g->n_steps);
    text_arena(v->o, g->arena_bytes, g->arena_lower_bound);
    if (p->header->device) {
        tni_plan_out(v->o, ", %s arena ", tni_plan_device_name(p->header->device));
        text_arena(v->o, g->device_arena_bytes, g->device_arena_lower_bound);
    }
    tni_plan_out(v->o, "\n");
    tni_plan_out(v->o, "  inputs");
    text_values(v, p->operands + g->first_input, g->n_inputs);
    tni_plan_out(v->o, "\n  outputs");
    text_values(v, p->operands + g->first_output, g->n_outputs);
    tni_plan_out(v->o, "\nsteps\n");
    for (uint32_t s = 0; s < g->n_steps; s++) {
        const PlanStep *st = &p->steps[g->first_step + s];
        tni_plan_out(v->o, "  %4" PRIu32 " ", s);
        if (p->header->device)
            tni_plan_out(v->o, "%-5s", tni_plan_device_name(st->device));
        tni_plan_out(v->o, "%-16s %-32s", p->strings + st->op, kernel_text(p, g, s));
        text_values(v, p->operands + st->first_in, st->n_in);
        tni_plan_out(v->o, " ->");
        text_values(v, p->operands + st->first_out, st->n_out);
        tni_plan_out(v->o, "  # ");
        str(v->o, p->strings + st->name);
        tni_plan_out(v->o, "\n");
    }
    tni_plan_out(v->o, "values\n");
    for (uint32_t i = 0; i < g->n_values; i++)
        text_place(v, i);
}

static void range_text(char *buf, size_t n, const TnSymbol *s) {
    if (s->data_dependent)
        snprintf(buf, n, "known while running");
    else if (s->max == INT64_MAX)
        snprintf(buf, n, "%" PRId64 " or more, opt %" PRId64, s->min, s->opt);
    else
        snprintf(buf, n, "%" PRId64 "..%" PRId64 ", opt %" PRId64, s->min, s->max, s->opt);
}

static void dump_text(const Plan *p, PlanOut *o) {
    View v = {.p = p, .o = o};
    char buf[128];
    tni_plan_out(o, "plan version %" PRIu32 ", Tenon %.31s, %" PRIu64 " bytes, weights %" PRIu64 " bytes\n", p->header->version,
                 p->header->build, p->header->file_bytes, weight_bytes(p));
    tni_plan_out(o, "model %016" PRIx64 ", kernels %016" PRIx64 "\n", p->header->model_hash, p->header->kernel_identity);
    if (p->header->device)
        tni_plan_out(o, "device %s, compute capability %" PRIu32 ".%" PRIu32 ", %s, kernels %016" PRIx64 "\n",
                     tni_plan_device_name(p->header->device), p->header->arch / 10, p->header->arch % 10,
                     p->header->math & TN_MATH_TF32 ? "TF32 products" : "float32 products exact", p->header->device_identity);
    for (uint32_t i = 0; i < p->n_symbols; i++) {
        range_text(buf, sizeof buf, &p->symbols[i]);
        tni_plan_out(o, "symbol ");
        str(o, p->symbols[i].name);
        tni_plan_out(o, ": %s\n", buf);
    }
    for (uint32_t i = 0; i < p->n_states; i++) {
        tni_plan_out(o, "state %" PRIu32 " ", i);
        str(o, p->strings + p->states[i].name);
        tni_plan_out(o, " %s", tn_dtype_name((TnDtype)p->states[i].dtype));
        shape(&v, p->states[i].rank, p->states[i].dims);
        tni_plan_out(o, "\n");
    }
    for (uint32_t i = 0; i < p->n_meta; i++) {
        tni_plan_out(o, "meta ");
        str(o, p->strings + p->meta[i].key);
        tni_plan_out(o, ": %" PRIu64 " bytes\n", p->meta[i].bytes);
    }
    for (uint32_t i = 0; i < p->n_programs; i++)
        text_program(&v, &p->programs[i]);
}

/* ---- JSON ---- */

static void json_key(PlanOut *o, const char *key, const char *value) {
    tni_plan_out(o, "\"%s\":\"", key);
    str(o, value);
    tni_plan_out(o, "\"");
}

static void json_shape(const View *v, int32_t rank, const TnDim *dims) {
    char buf[256];
    tni_plan_out(v->o, "\"shape\":[");
    for (int32_t d = 0; d < rank; d++) {
        const TnDimExpr *e = &v->p->exprs[dims[d]];
        tni_plan_out(v->o, d ? "," : "");
        if (e->op == TN_DIM_CONST) {
            tni_plan_out(v->o, "%" PRId64, e->value);
            continue;
        }
        tni_plan_out(v->o, "\"");
        str(v->o, tni_dim_str(buf, sizeof buf, v->p->exprs, v->p->symbols, dims[d]));
        tni_plan_out(v->o, "\"");
    }
    tni_plan_out(v->o, "]");
}

static void json_ids(const View *v, const char *key, const uint32_t *ids, uint32_t n) {
    tni_plan_out(v->o, "\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] == PLAN_NONE)
            tni_plan_out(v->o, "%snull", i ? "," : "");
        else
            tni_plan_out(v->o, "%s%" PRIu32, i ? "," : "", ids[i]);
    }
    tni_plan_out(v->o, "]");
}

static void json_program(View *v, const PlanProgram *g) {
    const Plan *p = v->p;
    v->g = g;
    v->values = p->values + g->first_value;
    tni_plan_out(v->o, "{");
    json_key(v->o, "name", p->strings + g->name);
    tni_plan_out(v->o, ",\"arena_bytes\":%" PRIu64 ",\"arena_lower_bound\":%" PRIu64 ",", g->arena_bytes, g->arena_lower_bound);
    if (p->header->device)
        tni_plan_out(v->o, "\"device_arena_bytes\":%" PRIu64 ",\"device_arena_lower_bound\":%" PRIu64 ",", g->device_arena_bytes,
                     g->device_arena_lower_bound);
    json_ids(v, "inputs", p->operands + g->first_input, g->n_inputs);
    tni_plan_out(v->o, ",");
    json_ids(v, "outputs", p->operands + g->first_output, g->n_outputs);
    tni_plan_out(v->o, ",\"values\":[");
    for (uint32_t i = 0; i < g->n_values; i++) {
        const PlanValue *x = &v->values[i];
        tni_plan_out(v->o, "%s\n{", i ? "," : "");
        json_key(v->o, "name", name_of(v, i));
        tni_plan_out(v->o, ",\"dtype\":\"%s\",", tn_dtype_name((TnDtype)x->dtype));
        json_shape(v, x->rank, x->dims);
        tni_plan_out(v->o,
                     ",\"place\":\"%s\",\"place_arg\":%" PRIu32 ",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"first_step\":%" PRIu32
                     ",\"last_step\":%" PRIu32 ",\"memory\":\"%s\"}",
                     place_names[x->place], x->place_arg, x->offset, x->bytes, x->first_step, x->last_step,
                     x->device ? tni_plan_device_name(x->device) : "host");
    }
    tni_plan_out(v->o, "],\"steps\":[");
    for (uint32_t s = 0; s < g->n_steps; s++) {
        const PlanStep *st = &p->steps[g->first_step + s];
        tni_plan_out(v->o, "%s\n{", s ? "," : "");
        json_key(v->o, "name", p->strings + st->name);
        tni_plan_out(v->o, ",");
        json_key(v->o, "op", p->strings + st->op);
        tni_plan_out(v->o, ",");
        json_key(v->o, "kernel", p->strings + st->kernel);
        tni_plan_out(v->o, ",");
        json_ids(v, "inputs", p->operands + st->first_in, st->n_in);
        tni_plan_out(v->o, ",");
        json_ids(v, "outputs", p->operands + st->first_out, st->n_out);
        tni_plan_out(v->o, ",\"device\":\"%s\"", tni_plan_device_name(st->device));
        if (st->code != PLAN_NONE)
            tni_plan_out(v->o, ",\"code\":%" PRIu32, st->code);
        tni_plan_out(v->o, "}");
    }
    tni_plan_out(v->o, "]}");
}

static void dump_json(const Plan *p, PlanOut *o) {
    View v = {.p = p, .o = o};
    tni_plan_out(o,
                 "{\"version\":%" PRIu32 ",\"build\":\"%.31s\",\"file_bytes\":%" PRIu64 ",\"weights_bytes\":%" PRIu64
                 ",\"model\":\"%016" PRIx64 "\",\"kernels\":\"%016" PRIx64 "\",\"device\":\"%s\",",
                 p->header->version, p->header->build, p->header->file_bytes, weight_bytes(p), p->header->model_hash,
                 p->header->kernel_identity, tni_plan_device_name(p->header->device));
    if (p->header->device)
        tni_plan_out(o, "\"compute_capability\":\"%" PRIu32 ".%" PRIu32 "\",\"tf32\":%s,\"device_kernels\":\"%016" PRIx64 "\",",
                     p->header->arch / 10, p->header->arch % 10, p->header->math & TN_MATH_TF32 ? "true" : "false",
                     p->header->device_identity);
    tni_plan_out(o, "\"symbols\":[");
    for (uint32_t i = 0; i < p->n_symbols; i++) {
        const TnSymbol *s = &p->symbols[i];
        tni_plan_out(o, "%s{", i ? "," : "");
        json_key(o, "name", s->name);
        tni_plan_out(o, ",\"data_dependent\":%s,\"min\":%" PRId64 ",\"opt\":%" PRId64 ",\"max\":%" PRId64 "}",
                     s->data_dependent ? "true" : "false", s->min, s->opt, s->max);
    }
    tni_plan_out(o, "],\"states\":[");
    for (uint32_t i = 0; i < p->n_states; i++) {
        tni_plan_out(o, "%s{", i ? "," : "");
        json_key(o, "name", p->strings + p->states[i].name);
        tni_plan_out(o, ",\"dtype\":\"%s\",", tn_dtype_name((TnDtype)p->states[i].dtype));
        json_shape(&v, p->states[i].rank, p->states[i].dims);
        tni_plan_out(o, "}");
    }
    tni_plan_out(o, "],\"meta\":[");
    for (uint32_t i = 0; i < p->n_meta; i++) {
        tni_plan_out(o, "%s{", i ? "," : "");
        json_key(o, "key", p->strings + p->meta[i].key);
        tni_plan_out(o, ",\"bytes\":%" PRIu64 "}", p->meta[i].bytes);
    }
    tni_plan_out(o, "],\"programs\":[");
    for (uint32_t i = 0; i < p->n_programs; i++) {
        tni_plan_out(o, "%s", i ? "," : "");
        json_program(&v, &p->programs[i]);
    }
    tni_plan_out(o, "]}\n");
}

void tni_plan_dump(const Plan *p, bool json, TnTextSink fn, void *ctx) {
    PlanOut o = {fn, ctx};
    if (json)
        dump_json(p, &o);
    else
        dump_text(p, &o);
}
