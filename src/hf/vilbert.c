/* SPDX-License-Identifier: Apache-2.0
 *
 * ViLBERT: a phrase and the regions of a picture in two streams that look at each other, from official checkpoints (vilbert-multi-task,
 * vilbert_beta).
 *
 *   input_ids, segment_ids [batch, tokens] i64 ------ text layers ----+-- connection -- ... -- text
 *   features [batch, regions, F], spatials [.., 5] -- picture layers -+-- connection -- ... -- picture -> heads (vilbert_heads.c)
 *   input_mask [batch, tokens], image_mask [batch, regions] i64; with tasks task_ids [batch, 1] i64
 *
 * - The order is that of the configuration's two lists, not that of the checkpoint: before connection i the text layers below t_at[i] and
 *   the picture layers below v_at[i], behind the last connection what is left of both.
 * - Everything is built; what no chosen head needs (the text half of the last connection, for vision_logit) is dead and leaves with the
 *   first pass. So every tensor of the encoder is checked, whatever head is chosen.
 * - Masks are added as the authors' code has it: (1 - mask) * -10000.
 */
#include "hf/vilbert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static TnDim num(HfEmit *e, int64_t n) {
    return tni_ir_dim_const(e->m, n);
}

static IrValueId add(HfEmit *e, const char *name, IrValueId a, IrValueId b) {
    return tni_hf_binary(e, name, TN_BINARY_add, a, b);
}

static IrValueId integers(HfEmit *e, int32_t rank, const int64_t *dims, int64_t x) {
    IrValueId v = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, rank, dims, &x, &v, e->err);
    return v;
}

/* ---- embeddings ---- */

/* A table's rows; rows < 0: as many as are stored. */
static IrValueId look_up(HfEmit *e, const char *name, IrValueId ids, int64_t rows, int64_t width) {
    char part[64];
    snprintf(part, sizeof part, "%s.weight", name);
    IrValueId table = tni_hf_weight(e, part, 2, (int64_t[]){rows, width});
    return tni_hf_node(e, TN_OP_gather, name, &(TnAxisParams){.axis = 0}, (IrValueId[]){table, ids}, 2);
}

/* Rows 0 .. tokens of the table of positions. */
static IrValueId positions(HfEmit *e, const HfVilbert *v) {
    TnDimsParams p = {.dtype = TN_I64, .rank = 1, .n = 1, .dim = {v->tokens}};
    const int64_t one = 1;
    IrValueId table = tni_hf_weight(e, "position_embeddings.weight", 2, (int64_t[]){v->positions, v->hidden});
    IrValueId end = tni_hf_node(e, TN_OP_dims, "position_embeddings/end", &p, NULL, 0);
    return tni_hf_node(e, TN_OP_slice, "position_embeddings", NULL,
                       (IrValueId[]){table, integers(e, 1, &one, 0), end, integers(e, 1, &one, 0)}, 4);
}

/* tasks: TN_NO_VALUE without. */
static IrValueId embed_text(HfEmit *e, const HfVilbert *v, IrValueId ids, IrValueId segments, IrValueId tasks) {
    tni_hf_prefix(e, "%s", "bert.embeddings.");
    IrValueId x = look_up(e, "word_embeddings", ids, v->vocab, v->hidden);
    x = add(e, "add_position", x, positions(e, v));
    x = add(e, "add_type", x, look_up(e, "token_type_embeddings", segments, v->types, v->hidden));
    if (v->tasks) { /* without position or type, but normalised with the rest */
        IrValueId first = tni_hf_slice(e, "first", x, 1, 0, 1), rest = tni_hf_slice(e, "rest", x, 1, 1, INT64_MAX);
        x = tni_hf_concat(e, "with_task", (IrValueId[]){first, look_up(e, "task_embeddings", tasks, -1, v->hidden), rest}, 3, 1);
    }
    return tni_hf_layer_norm(e, "LayerNorm", x, v->hidden, TN_VILBERT_EPS);
}

static IrValueId embed_picture(HfEmit *e, const HfVilbert *v, IrValueId features, IrValueId spatials) {
    tni_hf_prefix(e, "%s", "bert.v_embeddings.");
    IrValueId x = tni_hf_linear(e, "image_embeddings", features, v->features, v->v_hidden, true);
    x = add(e, "add_location", x, tni_hf_linear(e, "image_location_embeddings", spatials, 5, v->v_hidden, true));
    return tni_hf_layer_norm(e, "LayerNorm", x, v->v_hidden, TN_VILBERT_EPS);
}

/* mask [batch, n] i64 -> [batch, n] f32: 0 where it is 1, -10000 where it is 0. */
static IrValueId mask_bias(HfEmit *e, IrValueId mask) {
    const float one = 1, factor = TN_VILBERT_MASK;
    TnCastParams p = {.to = TN_F32, .saturate = 1};
    IrValueId x = tni_hf_node(e, TN_OP_cast, "float", &p, &mask, 1);
    x = tni_hf_binary(e, "not", TN_BINARY_sub, tni_hf_const(e, "one", 0, NULL, &one), x);
    return tni_hf_binary(e, "bias", TN_BINARY_mul, x, tni_hf_const(e, "factor", 0, NULL, &factor));
}

static void add_masks(HfEmit *e, const HfVilbert *v, IrValueId words, IrValueId regions, HfVilbertStreams *s) {
    const TnDim one = num(e, 1);
    tni_hf_prefix(e, "%s", "input_mask/");
    if (v->tasks) { /* the task's token is always seen */
        IrValueId seen = tni_hf_expand(e, "task", integers(e, 2, (int64_t[]){1, 1}, 1), (TnDim[]){v->batch, one}, 2);
        words = tni_hf_concat(e, "with_task", (IrValueId[]){seen, words}, 2, 1);
    }
    s->text_mask = tni_hf_reshape(e, "keys", mask_bias(e, words), (TnDim[]){v->batch, one, one, v->words}, 4);
    tni_hf_prefix(e, "%s", "image_mask/");
    IrValueId bias = mask_bias(e, regions);
    s->picture_mask = tni_hf_reshape(e, "keys", bias, (TnDim[]){v->batch, one, one, v->regions}, 4);
    s->hidden_regions = tni_hf_reshape(e, "rows", bias, (TnDim[]){v->batch, v->regions, one}, 3);
}

/* ---- layers ---- */

static TnAttentionParams attention(uint32_t heads, uint32_t width) {
    const uint32_t d = width / heads;
    return (TnAttentionParams){.heads = heads, .kv_heads = heads, .d_qk = d, .d_v = d, .scale = (float)(1.0 / sqrt((double)d))};
}

/* Dense layer `dense`, the residual x, layer norm `norm`. */
static IrValueId joined(HfEmit *e, const char *dense, const char *norm, IrValueId y, IrValueId x, uint32_t in, uint32_t out) {
    char name[64];
    snprintf(name, sizeof name, "%s/residual", norm);
    y = add(e, name, tni_hf_linear(e, dense, y, in, out, true), x);
    return tni_hf_layer_norm(e, norm, y, out, TN_VILBERT_EPS);
}

/* side: "" of a layer, "v_" and "t_" of a connection. */
static IrValueId feed_forward(HfEmit *e, const char *side, IrValueId x, uint32_t width, uint32_t inner, TnUnaryFn act) {
    char dense[40], activation[40], out[40], norm[40];
    snprintf(dense, sizeof dense, "%sintermediate.dense", side);
    snprintf(activation, sizeof activation, "%sintermediate/act", side);
    snprintf(out, sizeof out, "%soutput.dense", side);
    snprintf(norm, sizeof norm, "%soutput.LayerNorm", side);
    IrValueId y = tni_hf_unary(e, activation, act, tni_hf_linear(e, dense, x, width, inner, true));
    return joined(e, out, norm, y, x, inner, width);
}

/* A layer of one stream, which the prefix names. */
static IrValueId layer(HfEmit *e, IrValueId x, IrValueId mask, uint32_t heads, uint32_t width, uint32_t inner, TnUnaryFn act) {
    static const char *const qkv[] = {"attention.self.query", "attention.self.key", "attention.self.value"};
    TnAttentionParams p = attention(heads, width);
    p.k_off = width;
    p.v_off = 2 * width;
    IrValueId y = tni_hf_linear_merged(e, qkv, 3, x, width, width, true);
    y = tni_hf_node(e, TN_OP_attention, "attention.self", &p, (IrValueId[]){y, y, y, mask}, 4);
    x = joined(e, "attention.output.dense", "attention.output.LayerNorm", y, x, width, width);
    return feed_forward(e, "", x, width, inner, act);
}

/* Each stream asks the other. The checkpoint calls the picture 1 and the text 2. */
static void connection(HfEmit *e, const HfVilbert *v, HfVilbertStreams *s) {
    static const char *const names[2][3] = {{"biattention.query1", "biattention.key1", "biattention.value1"},
                                            {"biattention.query2", "biattention.key2", "biattention.value2"}};
    const TnAttentionParams p = attention(v->bi_heads, v->bi_hidden);
    IrValueId picture[3], text[3];
    for (size_t i = 0; i < 3; i++) {
        picture[i] = tni_hf_linear(e, names[0][i], s->picture, v->v_hidden, v->bi_hidden, true);
        text[i] = tni_hf_linear(e, names[1][i], s->text, v->hidden, v->bi_hidden, true);
    }
    IrValueId to_picture =
        tni_hf_node(e, TN_OP_attention, "biattention/picture", &p, (IrValueId[]){picture[0], text[1], text[2], s->text_mask}, 4);
    IrValueId to_text =
        tni_hf_node(e, TN_OP_attention, "biattention/text", &p, (IrValueId[]){text[0], picture[1], picture[2], s->picture_mask}, 4);
    s->picture = joined(e, "biOutput.dense1", "biOutput.LayerNorm1", to_picture, s->picture, v->bi_hidden, v->v_hidden);
    s->text = joined(e, "biOutput.dense2", "biOutput.LayerNorm2", to_text, s->text, v->bi_hidden, v->hidden);
    s->picture = feed_forward(e, "v_", s->picture, v->v_hidden, v->v_inner, v->v_act);
    s->text = feed_forward(e, "t_", s->text, v->hidden, v->inner, v->act);
}

static void text_layers(HfEmit *e, const HfVilbert *v, HfVilbertStreams *s, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        tni_hf_prefix(e, "bert.encoder.layer.%u.", i);
        s->text = layer(e, s->text, s->text_mask, v->heads, v->hidden, v->inner, v->act);
    }
}

static void picture_layers(HfEmit *e, const HfVilbert *v, HfVilbertStreams *s, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        tni_hf_prefix(e, "bert.encoder.v_layer.%u.", i);
        s->picture = layer(e, s->picture, s->picture_mask, v->v_heads, v->v_hidden, v->v_inner, v->v_act);
    }
}

static void encoder(HfEmit *e, const HfVilbert *v, HfVilbertStreams *s) {
    uint32_t t = 0, p = 0;
    for (uint32_t i = 0; i < v->n_connections; i++) {
        text_layers(e, v, s, t, v->t_at[i]);
        picture_layers(e, v, s, p, v->v_at[i]);
        t = v->t_at[i];
        p = v->v_at[i];
        tni_hf_prefix(e, "bert.encoder.c_layer.%u.", i);
        connection(e, v, s);
    }
    picture_layers(e, v, s, p, v->v_layers);
    text_layers(e, v, s, t, v->layers);
}

/* ---- the checkpoint ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const HfTensor *)a)->name, ((const HfTensor *)b)->name);
}

static bool ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* Names of older files as those of newer ones: gamma and beta of layer norms, "module." of DataParallel. */
static TnStatus rename_tensors(HfCheckpoint *c, TnError *err) {
    bool changed = false;
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const char *was = c->tensors[i].name, *name = was + (strncmp(was, "module.", 7) == 0 ? 7 : 0);
        const int stem = (int)strlen(name);
        if (ends_with(name, ".gamma"))
            name = tni_arena_printf(c->arena, "%.*s.weight", stem - 6, name);
        else if (ends_with(name, ".beta"))
            name = tni_arena_printf(c->arena, "%.*s.bias", stem - 5, name);
        if (name == NULL)
            return TN_OOM(err, strlen(was) + 8);
        changed = changed || name != was;
        c->tensors[i].name = name;
    }
    if (changed)
        qsort(c->tensors, c->n_tensors, sizeof *c->tensors, by_name);
    for (uint32_t i = 1; changed && i < c->n_tensors; i++) {
        if (by_name(&c->tensors[i - 1], &c->tensors[i]) == 0)
            return TN_RAISE(err, TN_ERR_DATA, "the checkpoint has '%s' by its old name and by its new one", c->tensors[i].name);
    }
    return TN_OK;
}

/* Projections that the authors' code makes and never uses. */
static void pass_over_unused(HfCheckpoint *c) {
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const char *at = strstr(c->tensors[i].name, ".biOutput.q_dense");
        if (at != NULL && strncmp(c->tensors[i].name, "bert.encoder.c_layer.", 21) == 0)
            c->tensors[i].used = true;
    }
    tni_hf_tensor(c, "bert.embeddings.position_ids"); /* a constant that transformers stores */
    tni_hf_tensor(c, "bert.embeddings.task_embeddings.weight"); /* of a configuration that says there are no tasks */
}

bool tni_hf_is_vilbert(HfCheckpoint *c) {
    return tni_hf_tensor(c, "bert.v_embeddings.image_embeddings.weight") != NULL ||
           tni_hf_tensor(c, "module.bert.v_embeddings.image_embeddings.weight") != NULL;
}

/* ---- the network ---- */

/* Sizes that a plan is laid out for unless ranges are given: those of RefCOCO+ in the authors' evaluation. */
static void set_sizes(IrModule *m, const HfVilbert *v) {
    for (uint32_t i = 0; i < m->n_symbols; i++) {
        TnSymbol *s = &m->symbols[i];
        if (strcmp(s->name, "tokens") == 0) {
            s->max = v->positions;
            s->opt = TN_MIN(s->max, 20);
        } else if (strcmp(s->name, "regions") == 0) {
            s->opt = 101;
        }
    }
}

TnStatus tni_hf_vilbert(const HfImport *in, TnError *err) {
    HfVilbert v;
    IrGraphId id;
    HfVilbertStreams s;
    TN_TRY(rename_tensors(in->checkpoint, err));
    TN_TRY(tni_hf_vilbert_config(in, &v, err));
    HfEmit e = {.m = in->module, .c = in->checkpoint, .err = err, .kind = in->config.where, .strict = true};
    TN_TRY(tni_ir_graph_add(e.m, "vilbert", &id, err));
    e.g = e.m->graphs[id];
    v.batch = tni_ir_dim_symbol(e.m, "batch");
    v.tokens = tni_ir_dim_symbol(e.m, "tokens");
    v.regions = tni_ir_dim_symbol(e.m, "regions");
    set_sizes(e.m, &v);
    v.words = v.tasks ? tni_ir_dim_op(e.m, TN_DIM_ADD, v.tokens, num(&e, 1)) : v.tokens;
    const TnDim words[] = {v.batch, v.tokens}, regions[] = {v.batch, v.regions, num(&e, v.features)};
    IrValueId ids = tni_hf_input(&e, "input_ids", TN_I64, words, 2);
    IrValueId features = tni_hf_input(&e, "features", TN_F32, regions, 3);
    IrValueId spatials = tni_hf_input(&e, "spatials", TN_F32, (TnDim[]){v.batch, v.regions, num(&e, 5)}, 3);
    IrValueId segments = tni_hf_input(&e, "segment_ids", TN_I64, words, 2);
    IrValueId input_mask = tni_hf_input(&e, "input_mask", TN_I64, words, 2);
    IrValueId image_mask = tni_hf_input(&e, "image_mask", TN_I64, regions, 2);
    IrValueId tasks = v.tasks ? tni_hf_input(&e, "task_ids", TN_I64, (TnDim[]){v.batch, num(&e, 1)}, 2) : TN_NO_VALUE;
    add_masks(&e, &v, input_mask, image_mask, &s);
    s.text = embed_text(&e, &v, ids, segments, tasks);
    s.picture = embed_picture(&e, &v, features, spatials);
    encoder(&e, &v, &s);
    TN_TRY(tni_hf_vilbert_heads(&e, &v, &s, in->options.head, err));
    pass_over_unused(in->checkpoint);
    return tni_hf_finish(&e, in->log);
}
