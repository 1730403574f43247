/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence of an import: map, parse, check, build, compact. Entry points of onnx.h. */
#include "onnx/convert.h"
#include "base/dtype.h"

#include <stdio.h>

/* ---- inputs of the main graph ---- */

enum { MAX_INPUTS = 1024 }; /* symbols are searched one by one */

/* A symbol's name from a dim_param: what could confuse "name=1:4:8,..." becomes '_'; a long one is cut and gets a hash, so that equal
 * names stay equal and others differ. */
static void symbol_name(const char *param, char *out, size_t n) {
    size_t len = strlen(param), i = 0;
    if (len < n)
        memcpy(out, param, len + 1);
    else
        snprintf(out, n, "%.40s~%016llx", param, (unsigned long long)tni_hash(param, len, 0));
    for (; out[i] != '\0'; i++) {
        unsigned char ch = (unsigned char)out[i];
        if (ch <= ' ' || ch == 0x7f || ch == ',' || ch == '=' || ch == ':')
            out[i] = '_';
    }
}

static bool symbol_exists(const IrModule *m, const char *name) {
    for (uint32_t i = 0; i < m->n_symbols; i++)
        if (strcmp(m->symbols[i].name, name) == 0)
            return true;
    return false;
}

/* A name for a dimension that has none: INPUT_AXIS, made different from all others. */
static void fresh_symbol(const IrModule *m, const char *input, uint32_t axis, char *out, size_t n) {
    snprintf(out, n, "%.40s_%u", input, axis);
    char clean[64];
    symbol_name(out, clean, sizeof clean);
    snprintf(out, n, "%s", clean);
    for (uint32_t k = 2; symbol_exists(m, out); k++)
        snprintf(out, n, "%.48s_%u", clean, k);
}

static TnDim symbol(OnnxImport *imp, const char *name, TnError *err, TnStatus *st) {
    TnDim d = tni_ir_dim_symbol(imp->m, name);
    if (d == TN_DIM_NONE)
        *st = TN_OOM(err, 64);
    return d;
}

static TnStatus input_dim(OnnxImport *imp, const OnnxIo *io, uint32_t axis, bool named, TnDim *out, TnError *err) {
    const char *name = tni_onnx_text(&imp->model.names, io->name);
    char text[64] = "";
    TnStatus st = TN_OK;
    if (io->dims[axis].has_value) {
        if (io->dims[axis].value < 0)
            return TN_RAISE(err, TN_ERR_GRAPH, "input '%.200s': dimension %u is %lld, expected 0 or more, or a name", name, axis,
                            (long long)io->dims[axis].value);
        if (named)
            return TN_OK;
        *out = tni_ir_dim_const(imp->m, io->dims[axis].value);
        return *out == TN_DIM_NONE ? TN_OOM(err, 64) : TN_OK;
    }
    symbol_name(tni_onnx_text(&imp->model.names, io->dims[axis].param), text, sizeof text);
    if ((text[0] != '\0') != named)
        return TN_OK;
    if (!named)
        fresh_symbol(imp->m, name, axis, text, sizeof text);
    *out = symbol(imp, text, err, &st);
    return st;
}

static TnStatus check_input(const OnnxImport *imp, const OnnxIo *io, TnError *err) {
    static const char *const kinds[] = {"no type", "a tensor", "a sequence", "a map", "a sparse tensor", "an optional"};
    const char *name = tni_onnx_text(&imp->model.names, io->name);
    if (io->type == ONNX_IO_NONE || (io->type == ONNX_IO_TENSOR && io->elem_type == 0))
        return tni_raise_at(err, TN_ERR_GRAPH, io->at, "input '%.200s' has no type", name);
    if (io->type != ONNX_IO_TENSOR)
        return tni_raise_at(err, TN_ERR_UNSUPPORTED, io->at, "input '%.200s' is %s; only tensors are supported", name, kinds[io->type]);
    if (!tni_dtype_valid(io->elem_type) || io->elem_type == TN_STRING || io->elem_type == TN_C64 || io->elem_type == TN_C128)
        return tni_raise_at(err, TN_ERR_UNSUPPORTED, io->at, "input '%.200s' has element type %d (%s), which is not supported", name,
                            io->elem_type, tni_dtype_valid(io->elem_type) ? tn_dtype_name((TnDtype)io->elem_type) : "unknown");
    if (!io->has_shape)
        return tni_raise_at(err, TN_ERR_UNSUPPORTED, io->at,
                            "input '%.200s' has no shape; export the model with shapes (dimensions may be names)", name);
    if (io->rank > TN_MAX_RANK)
        return tni_raise_at(err, TN_ERR_LIMIT, io->at, "input '%.200s' has rank %u, the most is %d", name, io->rank, TN_MAX_RANK);
    return TN_OK;
}

static TnStatus add_input(OnnxScope *s, const OnnxIo *io, TnError *err) {
    OnnxImport *imp = s->imp;
    OnnxBind *b = tni_onnx_scope_find(s, io->name);
    if (b == NULL || b->kind != ONNX_BIND_PENDING)
        return TN_OK; /* an initializer gives its value */
    TN_TRY(check_input(imp, io, err));
    OnnxKnown k = {.dtype = (TnDtype)io->elem_type, .rank = (int32_t)io->rank, .len = -1, .value = -1};
    if (io->rank == 1 && io->dims[0].has_value && io->dims[0].value <= INT32_MAX)
        k.len = (int32_t)io->dims[0].value;
    TN_TRY(tni_onnx_target_input(imp, s->target, b->ir_name, k, &b->value, err));
    b->kind = ONNX_BIND_VALUE;
    IrValue *v = &s->target->g->values[b->value];
    v->dtype = (TnDtype)io->elem_type;
    v->rank = (int32_t)io->rank;
    for (uint32_t i = 0; i < io->rank; i++)
        v->dims[i] = TN_DIM_NONE;
    return TN_OK;
}

/* Named dimensions first, so that made-up names differ from all of them. */
static TnStatus add_inputs(OnnxScope *s, TnError *err) {
    const OnnxGraph *g = s->graph;
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        n += tni_onnx_scope_find(s, g->inputs[i].name)->kind == ONNX_BIND_PENDING;
    if (n > MAX_INPUTS)
        return TN_RAISE(err, TN_ERR_LIMIT, "the graph has %u inputs, the most is %d", n, MAX_INPUTS);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        TN_TRY(add_input(s, &g->inputs[i], err));
    for (int named = 1; named >= 0; named--) {
        for (uint32_t i = 0; i < g->n_inputs; i++) {
            const OnnxIo *io = &g->inputs[i];
            const OnnxBind *b = tni_onnx_scope_find(s, io->name);
            if (b->kind != ONNX_BIND_VALUE)
                continue;
            for (uint32_t d = 0; d < io->rank; d++)
                TN_TRY(input_dim(s->imp, io, d, named == 1, &s->target->g->values[b->value].dims[d], err));
        }
    }
    return TN_OK;
}

/* ---- the whole ---- */

static TnStatus build(OnnxImport *imp, TnError *err) {
    OnnxModel *m = &imp->model;
    OnnxScope *s = tni_arena_calloc(imp->scratch, 1, sizeof *s);
    if (s == NULL)
        return TN_OOM(err, sizeof *s);
    const char *name = tni_onnx_text(&m->names, m->graph->name);
    *s = (OnnxScope){.imp = imp, .graph = m->graph, .opsets = &m->opsets, .prefix = ""};
    TN_TRY(tni_onnx_target_create(imp, name[0] == '\0' ? "main" : name, &s->target, err));
    OnnxMap seen = {.arena = imp->scratch};
    for (uint32_t i = 0; i < m->graph->n_outputs; i++) {
        uint32_t before = 0;
        if (tni_onnx_map_get(&seen, m->graph->outputs[i].name, &before))
            return TN_RAISE(err, TN_ERR_GRAPH, "the graph has two outputs of the name '%.200s'",
                            tni_onnx_text(&m->names, m->graph->outputs[i].name));
        TN_TRY(tni_onnx_map_put(&seen, m->graph->outputs[i].name, i, err));
    }
    if (m->graph->n_outputs == 0)
        return TN_RAISE(err, TN_ERR_GRAPH, "the graph has no outputs");
    TN_TRY(tni_onnx_scope_begin(s, err));
    TN_TRY(add_inputs(s, err));
    TN_TRY(tni_onnx_scope_run(s, err));
    return tni_onnx_scope_outputs(s, err);
}

static TnStatus import_parsed(OnnxImport *imp, TnSpan file, TnError *err) {
    TN_TRY(tni_onnx_model_parse(file, imp->scratch, imp->max_nodes, &imp->model, err));
    TN_TRY(tni_onnx_check(imp, err));
    TN_TRY(tni_onnx_find_free_names(imp, err));
    TN_TRY(build(imp, err));
    for (uint32_t i = 0; i < imp->m->n_graphs; i++)
        TN_TRY(tni_ir_compact(imp->m, imp->m->graphs[i], err));
    return TN_OK;
}

/* Takes over files on success only. */
static TnStatus import_span(TnSpan file, OnnxFiles *files, const OnnxOptions *o, const TnAllocator *a, IrModule **out, uint64_t *model_hash,
                            TnError *err) {
    OnnxImport imp = {
        .files = files, .log = o == NULL ? NULL : o->log, .max_nodes = o == NULL || o->max_nodes == 0 ? ONNX_DEFAULT_NODES : o->max_nodes};
    TnStatus st = TN_OK;
    TN_TRY_GOTO(tni_ir_module_create(a, &imp.m, err));
    imp.arena = imp.m->arena;
    TN_TRY_GOTO(tni_arena_create(a, &imp.scratch, err));
    TN_TRY_GOTO(import_parsed(&imp, file, err));
    if (model_hash != NULL)
        *model_hash = tni_hash(file.p, file.n, files->hash);
    imp.m->keep = files;
    imp.m->keep_release = tni_onnx_files_destroy;
    *out = imp.m;
    imp.m = NULL;
fail:
    tni_arena_destroy(&imp.scratch);
    if (imp.m != NULL)
        tni_ir_module_destroy(&imp.m);
    return st;
}

TnStatus tni_onnx_import_memory(const uint8_t *bytes, size_t n, const char *base_dir, const OnnxOptions *o, const TnAllocator *a,
                                IrModule **out, uint64_t *model_hash, TnError *err) {
    a = a == NULL ? tni_default_allocator() : a;
    OnnxFiles *files = NULL;
    TN_TRY(tni_onnx_files_create(a, o == NULL ? NULL : o->log, base_dir, &files, err));
    TnSpan file = {.p = bytes, .n = n, .base = 0};
    TnStatus st = import_span(file, files, o, a, out, model_hash, err);
    if (st != TN_OK)
        tni_onnx_files_destroy(files);
    return st;
}

TnStatus tni_onnx_import(const char *path, const OnnxOptions *o, const TnAllocator *a, IrModule **out, uint64_t *model_hash, TnError *err) {
    a = a == NULL ? tni_default_allocator() : a;
    const char *slash = strrchr(path, '/');
    size_t dir_len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *dir = tni_calloc(a, dir_len + 1, 1);
    if (dir == NULL)
        return TN_OOM(err, dir_len + 1);
    memcpy(dir, slash == NULL ? "." : path, dir_len);
    OnnxFiles *files = NULL;
    TnStatus st = tni_onnx_files_create(a, o == NULL ? NULL : o->log, dir, &files, err);
    tni_free(a, dir);
    if (st != TN_OK)
        return st;
    TN_TRY_GOTO(tni_file_map(path, &files->model, err));
    TnSpan file = {.p = files->model.data, .n = files->model.n, .base = 0};
    st = import_span(file, files, o, a, out, model_hash, err);
    if (st == TN_OK)
        return TN_OK;
    (void)tni_error_prefix(err, st, "%s", path);
fail:
    tni_onnx_files_destroy(files);
    return st;
}
