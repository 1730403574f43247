/* SPDX-License-Identifier: Apache-2.0
 *
 * A call of a model's function becomes the function's nodes: operands stand for its inputs, its outputs get the caller's names, everything
 * else is named "CALLER/...". check.c has made sure that this ends. */
#include "onnx/convert.h"

/* The function's attributes for this call: what the call gives, else the default. */
static TnStatus arguments(OnnxCall *c, const OnnxFunction *fn, OnnxAttr **out, uint32_t *n_out) {
    OnnxAttr *args = tni_arena_calloc(c->imp->scratch, (size_t)c->n_attrs + fn->n_defaults, sizeof *args);
    if (args == NULL)
        return TN_OOM(c->err, ((size_t)c->n_attrs + fn->n_defaults) * sizeof *args);
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_attrs; i++)
        args[n++] = c->attrs[i];
    for (uint32_t i = 0; i < fn->n_defaults; i++) {
        bool given = false;
        for (uint32_t k = 0; k < c->n_attrs; k++)
            given = given || c->attrs[k].name == fn->defaults[i].name;
        if (!given)
            args[n++] = fn->defaults[i];
    }
    for (uint32_t i = 0; i < fn->n_attrs; i++) {
        bool given = false;
        for (uint32_t k = 0; k < n; k++)
            given = given || args[k].name == fn->attrs[i];
        if (!given)
            tni_log(c->imp->log, TN_LOG_DEBUG, "node '%s': attribute '%s' of function '%s' is not given", c->name,
                    tni_onnx_text(&c->imp->model.names, fn->attrs[i]), c->op);
    }
    *out = args;
    *n_out = n;
    return TN_OK;
}

TnStatus tni_onnx_call_function(OnnxCall *c, const OnnxFunction *fn) {
    const OnnxGraph *body = &fn->body;
    if (c->n_in > body->n_inputs || c->n_out > body->n_outputs)
        return ONNX_BAD(c, "is called with %u operands and %u outputs; the function has %u and %u", c->n_in, c->n_out, body->n_inputs,
                        body->n_outputs);
    OnnxAttr *args = NULL;
    uint32_t n_args = 0;
    TN_TRY(arguments(c, fn, &args, &n_args));
    char *prefix = tni_arena_printf(c->imp->scratch, "%s/", c->name);
    OnnxScope *s = tni_arena_calloc(c->imp->scratch, 1, sizeof *s);
    if (prefix == NULL || s == NULL)
        return TN_OOM(c->err, strlen(c->name) + sizeof *s);
    *s = (OnnxScope){.imp = c->imp,
                     .graph = body,
                     .target = c->scope->target,
                     .opsets = &fn->opsets,
                     .fn = fn,
                     .args = args,
                     .n_args = n_args,
                     .prefix = prefix,
                     .depth = c->scope->depth + 1};
    TN_TRY(tni_onnx_scope_begin(s, c->err));
    for (uint32_t i = 0; i < body->n_inputs; i++) {
        OnnxBind *b = tni_onnx_scope_find(s, body->inputs[i].name);
        if (b != NULL) {
            b->sequence = tni_onnx_in_sequence(c, i);
            b->kind = b->sequence != NULL ? ONNX_BIND_SEQUENCE : ONNX_BIND_VALUE;
            b->value = tni_onnx_in(c, i);
        }
    }
    for (uint32_t i = 0; i < c->n_out; i++) {
        OnnxBind *b = tni_onnx_scope_find(s, body->outputs[i].name);
        if (b != NULL && b->ir_name == NULL && tni_onnx_wants(c, i))
            b->ir_name = c->out_names[i];
    }
    TN_TRY(tni_onnx_scope_run(s, c->err));
    for (uint32_t i = 0; i < c->n_out; i++) {
        OnnxBind *b = tni_onnx_scope_find(s, body->outputs[i].name);
        if (b != NULL && b->kind == ONNX_BIND_STRING && tni_onnx_wants(c, i))
            return ONNX_UNSUPPORTED(c, "output %u is a tensor of strings; these are not supported", i);
        OnnxBind *to = c->node->out[i] == 0 ? NULL : tni_onnx_scope_find(c->scope, c->node->out[i]);
        if (b != NULL && b->kind == ONNX_BIND_SEQUENCE && to != NULL) {
            to->kind = ONNX_BIND_SEQUENCE;
            to->sequence = b->sequence;
        } else if (b != NULL && b->kind != ONNX_BIND_STRING)
            TN_TRY(tni_onnx_scope_value(s, body->outputs[i].name, c->name, &c->out[i], c->err));
    }
    return TN_OK;
}
