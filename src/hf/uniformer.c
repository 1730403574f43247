/* SPDX-License-Identifier: Apache-2.0
 *
 * Official UniFormer checkpoints (image_classification and token_labeling of its repository): a file of tensors, and no configuration.
 * Names and shapes tell everything but two things: the width of an attention head, where official models of equal shapes differ in it, and
 * the size of pictures. */
#include "hf/uniformer.h"

#include <math.h>
#include <stdio.h>

#define EMBED_EPS 1e-5f /* nn.LayerNorm's default: of patch embeddings, and of BatchNorm */
#define BLOCK_EPS 1e-6f
#define DEFAULT_IMAGE 224
#define MAX_IMAGE 4096
#define MAX_DEPTH 1000

/* ---- what the tensors tell ---- */

uint32_t tni_hf_uniformer_size(HfCheckpoint *c, const char *name, int32_t axis) {
    HfTensor *t = tni_hf_tensor(c, name);
    if (t == NULL)
        return 0;
    t->used = false;
    return axis < t->t.rank && t->t.dims[axis] > 0 && t->t.dims[axis] <= 1 << 20 ? (uint32_t)t->t.dims[axis] : 0;
}

bool tni_hf_uniformer_has(HfCheckpoint *c, const char *name) {
    return tni_hf_uniformer_size(c, name, 0) != 0;
}

/* The same below the network's root. */
static uint32_t size_of(HfCheckpoint *c, const HfUniformer *u, const char *name, int32_t axis) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", u->root, name);
    return tni_hf_uniformer_size(c, full, axis);
}

static bool has(HfCheckpoint *c, const HfUniformer *u, const char *name) {
    return size_of(c, u, name, 0) != 0;
}

/* What follows the root in a tensor's name; "" when it is not below it. */
static const char *below(const HfUniformer *u, const char *name) {
    size_t n = strlen(u->root);
    return strncmp(name, u->root, n) == 0 ? name + n : "";
}

/* Blocks of a stage: up to the last one that has a tensor, so that what lacks inside is named. */
static uint32_t depth_of(const HfCheckpoint *c, const HfUniformer *u, uint32_t stage) {
    uint32_t depth = 0;
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        uint32_t s, k;
        if (sscanf(below(u, c->tensors[i].name), "blocks%1u.%3u.", &s, &k) == 2 && s == stage && k < MAX_DEPTH)
            depth = TN_MAX(depth, k + 1);
    }
    return depth;
}

/* Tensors `name` of some block of stages first and first + 1. */
static bool any_block_has(const HfCheckpoint *c, const HfUniformer *u, uint32_t first, const char *name) {
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const char *t = below(u, c->tensors[i].name), *dot;
        if (strncmp(t, "blocks", 6) == 0 && (t[6] == (char)('0' + first) || t[6] == (char)('1' + first)) && t[7] == '.' &&
            (dot = strchr(t + 8, '.')) != NULL && strcmp(dot + 1, name) == 0)
            return true;
    }
    return false;
}

/* The head's width of official networks; 0: two of them have these shapes, or none. */
static uint32_t official_head_dim(const HfUniformer *u) {
    static const struct {
        uint32_t depth[4], dim[4];
        bool stem, light, dense;
        uint32_t head_dim;
    } rows[] = {
        {{3, 4, 8, 3}, {64, 128, 320, 512}, false, false, false, 64},   /* small */
        {{5, 8, 20, 7}, {64, 128, 320, 512}, false, false, false, 64},  /* base, base_ls */
        {{5, 10, 24, 7}, {128, 192, 448, 640}, false, false, true, 64}, /* large_ls */
        {{2, 5, 8, 2}, {56, 112, 224, 448}, true, true, false, 28},     /* xxs */
        {{3, 5, 9, 3}, {64, 128, 256, 512}, true, true, false, 32},     /* xs */
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        if (memcmp(rows[i].depth, u->depth, sizeof u->depth) == 0 && memcmp(rows[i].dim, u->dim, sizeof u->dim) == 0 &&
            rows[i].stem == u->stem && rows[i].light == u->light && rows[i].dense == u->dense)
            return rows[i].head_dim;
    }
    return 0;
}

TnStatus tni_hf_uniformer_head_dim(HfUniformer *u, uint32_t asked, TnError *err) {
    u->head_dim = asked != 0 ? asked : official_head_dim(u);
    if (u->head_dim == 0)
        return TN_RAISE(err, TN_ERR_REQUEST,
                        "%s: its tensors do not tell the width of an attention head, and official models of these shapes differ in it "
                        "(%s). Say which with "
                        "--head-dim 32 or --head-dim 64 (build option head_dim); a wrong one gives wrong answers without an error",
                        u->what,
                        u->dense ? "uniformer_small, _small_plus and _base of token labelling have 32, those named _dim64 have 64"
                                 : "uniformer_small_plus has 32, uniformer_small_plus_dim64 has 64");
    if (u->dim[2] % u->head_dim != 0 || u->dim[3] % u->head_dim != 0)
        return TN_RAISE(err, TN_ERR_REQUEST, "%s: attention heads of width %u do not divide the widths %u and %u of stages 3 and 4",
                        u->what, u->head_dim, u->dim[2], u->dim[3]);
    return TN_OK;
}

TnStatus tni_hf_uniformer_describe(HfCheckpoint *c, HfUniformer *u, TnError *err) {
    char name[64];
    for (uint32_t s = 0; s < 4; s++) {
        snprintf(name, sizeof name, "blocks%u.0.pos_embed.weight", s + 1);
        u->depth[s] = depth_of(c, u, s + 1);
        u->dim[s] = size_of(c, u, name, 0);
        if (u->dim[s] == 0)
            return TN_RAISE(err, TN_ERR_DATA, "the checkpoint has no '%s%s': it is no whole UniFormer", u->root, name);
    }
    u->stem = has(c, u, "patch_embed1.proj.0.weight");
    u->light = has(c, u, "cls_token");
    u->dense = has(c, u, "aux_head.weight");
    u->qkv_bias = any_block_has(c, u, 3, "attn.qkv.bias");
    u->scale[0] = any_block_has(c, u, 1, "gamma_1");
    u->scale[1] = any_block_has(c, u, 3, "gamma_1");
    u->channels = size_of(c, u, u->stem ? "patch_embed1.proj.0.weight" : "patch_embed1.proj.weight", 1);
    u->channels = u->channels == 0 ? 3 : u->channels;
    snprintf(u->what, sizeof u->what, "UniFormer%s%s%s (depth %u,%u,%u,%u, width %u,%u,%u,%u)", u->light ? "-light" : "",
             u->stem ? " with a stem of convolutions" : "", u->dense ? " with token labelling" : "", u->depth[0], u->depth[1], u->depth[2],
             u->depth[3], u->dim[0], u->dim[1], u->dim[2], u->dim[3]);
    return TN_OK;
}

static TnStatus describe(HfCheckpoint *c, const HfFileOptions *o, HfUniformer *u, TnError *err) {
    *u = (HfUniformer){.root = "", .image = o->image_size == 0 ? DEFAULT_IMAGE : o->image_size};
    TN_TRY(tni_hf_uniformer_describe(c, u, err));
    if (o->attention != NULL || o->score_threshold != 0)
        return TN_RAISE(err, TN_ERR_REQUEST, "%s: this is a network for classification; %s is for detectors", u->what,
                        o->attention != NULL ? "--attention (build option attention)" : "build option score_threshold");
    u->classes = size_of(c, u, "head.weight", 0);
    u->classes = u->classes == 0 ? 1000 : u->classes;
    if (u->image < 32 || u->image > MAX_IMAGE || (u->light && u->image % 32 != 0))
        return TN_RAISE(err, TN_ERR_REQUEST, "%s: --image-size %u (build option image_size): 32 to %d are possible%s", u->what, u->image,
                        MAX_IMAGE, u->light ? ", in steps of 32" : "");
    return tni_hf_uniformer_head_dim(u, o->head_dim, err);
}

/* ---- layers ---- */

static IrValueId conv(HfEmit *e, const char *name, IrValueId x, uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride,
                      uint32_t group) {
    char part[96];
    int32_t pad = stride == kernel ? 0 : (int32_t)(kernel / 2);
    TnConvParams p = {.n_spatial = 2, .group = group, .dilation = {1, 1, 1}};
    p.kernel[0] = p.kernel[1] = (int32_t)kernel;
    p.stride[0] = p.stride[1] = (int32_t)stride;
    p.kernel[2] = p.stride[2] = 1;
    for (size_t i = 0; i < 4; i++)
        p.pads[i] = pad;
    snprintf(part, sizeof part, "%s.weight", name);
    IrValueId w = tni_hf_weight(e, part, 4, (int64_t[]){out, in / group, kernel, kernel});
    snprintf(part, sizeof part, "%s.bias", name);
    IrValueId b = tni_hf_weight(e, part, 1, (int64_t[]){out});
    return tni_hf_node(e, TN_OP_conv, name, &p, (IrValueId[]){x, w, b}, 3);
}

static IrValueId batch_norm(HfEmit *e, const char *name, IrValueId x, uint32_t dim) {
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    char part[192];
    IrValueId in[5] = {x};
    for (size_t i = 0; i < TN_COUNT(parts); i++) {
        snprintf(part, sizeof part, "%s.%s", name, parts[i]);
        in[i + 1] = tni_hf_weight(e, part, 1, (int64_t[]){dim});
    }
    snprintf(part, sizeof part, "%s%s.num_batches_tracked", e->prefix, name); /* of training */
    tni_hf_tensor(e->c, part);
    return tni_hf_node(e, TN_OP_batch_norm, name, &(TnNormParams){.epsilon = EMBED_EPS, .axis = 1}, in, 5);
}

static IrValueId add(HfEmit *e, const char *name, IrValueId a, IrValueId b) {
    return tni_hf_binary(e, name, TN_BINARY_add, a, b);
}

static TnDim number(HfEmit *e, uint32_t n) {
    return tni_ir_dim_const(e->m, n);
}
static TnDim over(HfEmit *e, TnDim size, uint32_t stride) {
    return tni_ir_dim_op(e->m, TN_DIM_FLOORDIV, size, number(e, stride));
}
static HfMapSize halved_up(HfEmit *e, HfMapSize s) {
    return (HfMapSize){tni_ir_dim_op(e->m, TN_DIM_CEILDIV, s.h, number(e, 2)), tni_ir_dim_op(e->m, TN_DIM_CEILDIV, s.w, number(e, 2))};
}

IrValueId tni_hf_uniformer_tokens(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, HfMapSize size) {
    TnDim n = tni_ir_dim_op(e->m, TN_DIM_MUL, size.h, size.w);
    x = tni_hf_reshape(e, "tokens/flatten", x, (TnDim[]){u->batch, number(e, dim), n}, 3);
    return tni_hf_transpose(e, "tokens", x, (uint8_t[]){0, 2, 1}, 3);
}

IrValueId tni_hf_uniformer_map(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, HfMapSize size) {
    x = tni_hf_transpose(e, "map/channels", x, (uint8_t[]){0, 2, 1}, 3);
    return tni_hf_reshape(e, "map", x, (TnDim[]){u->batch, number(e, dim), size.h, size.w}, 4);
}

IrValueId tni_hf_uniformer_embed(HfEmit *e, const HfUniformer *u, uint32_t stage, IrValueId x, HfMapSize *size) {
    uint32_t in = stage == 0 ? u->channels : u->dim[stage - 1], out = u->dim[stage];
    tni_hf_prefix(e, "%spatch_embed%u.", u->root, stage + 1);
    if (stage == 0 && u->stem) {
        x = batch_norm(e, "proj.1", conv(e, "proj.0", x, in, out / 2, 3, 2, 1), out / 2);
        x = tni_hf_unary(e, "proj.2", TN_UNARY_gelu, x);
        *size = halved_up(e, halved_up(e, *size));
        return batch_norm(e, "proj.4", conv(e, "proj.3", x, out / 2, out, 3, 2, 1), out);
    }
    if (stage > 0 && u->stem && !u->light) {
        *size = halved_up(e, *size);
        return batch_norm(e, "proj.1", conv(e, "proj.0", x, in, out, 3, 2, 1), out);
    }
    uint32_t patch = stage == 0 ? 4 : 2;
    *size = (HfMapSize){over(e, size->h, patch), over(e, size->w, patch)};
    x = tni_hf_uniformer_tokens(e, u, conv(e, "proj", x, in, out, patch, patch, 1), out, *size);
    x = tni_hf_layer_norm(e, "norm", x, out, EMBED_EPS);
    x = tni_hf_reshape(e, "rows", x, (TnDim[]){u->batch, size->h, size->w, number(e, out)}, 4);
    return tni_hf_transpose(e, "map", x, (uint8_t[]){0, 3, 1, 2}, 4);
}

IrValueId tni_hf_uniformer_position(HfEmit *e, IrValueId x, uint32_t dim) {
    return add(e, "pos_embed/residual", x, conv(e, "pos_embed", x, dim, dim, 3, 1, dim));
}

IrValueId tni_hf_uniformer_scale(HfEmit *e, const HfUniformer *u, uint32_t stage, const char *gamma, IrValueId y) {
    char name[32];
    int64_t dim = u->dim[stage];
    if (!u->scale[stage / 2])
        return y;
    IrValueId g = stage < 2 ? tni_hf_weight(e, gamma, 4, (int64_t[]){1, dim, 1, 1}) : tni_hf_weight(e, gamma, 1, &dim);
    snprintf(name, sizeof name, "%s/scale", gamma);
    return tni_hf_binary(e, name, TN_BINARY_mul, g, y);
}

/* Width between the two layers of a feed-forward part. */
static uint32_t inner_of(HfEmit *e, uint32_t dim) {
    char name[200];
    snprintf(name, sizeof name, "%smlp.fc1.weight", e->prefix);
    uint32_t n = tni_hf_uniformer_size(e->c, name, 0);
    return n == 0 ? 4 * dim : n;
}

/* Stages 1 and 2: convolutions for attention. */
IrValueId tni_hf_uniformer_local(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t stage) {
    uint32_t dim = u->dim[stage], inner = inner_of(e, dim);
    x = tni_hf_uniformer_position(e, x, dim);
    IrValueId y = conv(e, "conv1", batch_norm(e, "norm1", x, dim), dim, dim, 1, 1, 1);
    y = conv(e, "conv2", conv(e, "attn", y, dim, dim, 5, 1, dim), dim, dim, 1, 1, 1);
    x = add(e, "attn/residual", x, tni_hf_uniformer_scale(e, u, stage, "gamma_1", y));
    y = tni_hf_unary(e, "mlp/act", TN_UNARY_gelu, conv(e, "mlp.fc1", batch_norm(e, "norm2", x, dim), dim, inner, 1, 1, 1));
    y = conv(e, "mlp.fc2", y, inner, dim, 1, 1, 1);
    return add(e, "mlp/residual", x, tni_hf_uniformer_scale(e, u, stage, "gamma_2", y));
}

IrValueId tni_hf_uniformer_norm(HfEmit *e, IrValueId x, uint32_t dim) {
    return tni_hf_layer_norm(e, "norm1", x, dim, BLOCK_EPS);
}

IrValueId tni_hf_uniformer_attend(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, IrValueId *qkv) {
    uint32_t d = u->head_dim, heads = dim / d;
    TnAttentionParams p = {
        .heads = heads, .kv_heads = heads, .d_qk = d, .d_v = d, .scale = (float)(1.0 / sqrt((double)d)), .k_off = dim, .v_off = 2 * dim};
    IrValueId y = tni_hf_linear(e, "attn.qkv", x, dim, 3 * (int64_t)dim, u->qkv_bias);
    if (qkv != NULL)
        *qkv = y;
    y = tni_hf_node(e, TN_OP_attention, "attn", &p, (IrValueId[]){y, y, y}, 3);
    return tni_hf_linear(e, "attn.proj", y, dim, dim, true);
}

IrValueId tni_hf_uniformer_mlp(HfEmit *e, IrValueId x, uint32_t dim) {
    uint32_t inner = inner_of(e, dim);
    IrValueId y = tni_hf_linear(e, "mlp.fc1", tni_hf_layer_norm(e, "norm2", x, dim, BLOCK_EPS), dim, inner, true);
    return tni_hf_linear(e, "mlp.fc2", tni_hf_unary(e, "mlp/act", TN_UNARY_gelu, y), inner, dim, true);
}

/* Stages 3 and 4. */
IrValueId tni_hf_uniformer_global(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t stage, HfMapSize size) {
    uint32_t dim = u->dim[stage];
    x = tni_hf_uniformer_tokens(e, u, tni_hf_uniformer_position(e, x, dim), dim, size);
    IrValueId y = tni_hf_uniformer_attend(e, u, tni_hf_uniformer_norm(e, x, dim), dim, NULL);
    x = add(e, "attn/residual", x, tni_hf_uniformer_scale(e, u, stage, "gamma_1", y));
    y = tni_hf_uniformer_scale(e, u, stage, "gamma_2", tni_hf_uniformer_mlp(e, x, dim));
    return tni_hf_uniformer_map(e, u, add(e, "mlp/residual", x, y), dim, size);
}

/* ---- the network ---- */

static IrValueId stages(HfEmit *e, const HfUniformer *u, IrValueId x, HfMapSize *size) {
    for (uint32_t s = 0; s < 4; s++) {
        x = tni_hf_uniformer_embed(e, u, s, x, size);
        if (s == 2 && u->light)
            return tni_hf_uniformer_light(e, u, x, size, NULL);
        for (uint32_t i = 0; i < u->depth[s]; i++) {
            tni_hf_prefix(e, "%sblocks%u.%u.", u->root, s + 1, i);
            x = s < 2 ? tni_hf_uniformer_local(e, u, x, s) : tni_hf_uniformer_global(e, u, x, s, *size);
        }
    }
    return x;
}

static IrValueId reduce(HfEmit *e, const char *name, TnReduceFn fn, IrValueId x, int32_t axis) {
    return tni_hf_node(e, TN_OP_reduce, name, &(TnReduceParams){.fn = fn, .n_axes = 1, .axes = {axis}}, &x, 1);
}

static IrValueId heads(HfEmit *e, const HfUniformer *u, IrValueId x, HfMapSize size) {
    uint32_t dim = u->dim[3];
    tni_hf_prefix(e, "%s", "");
    x = batch_norm(e, "norm", x, dim);
    if (!u->dense) {
        TnDim n = tni_ir_dim_op(e->m, TN_DIM_MUL, size.h, size.w);
        x = tni_hf_reshape(e, "pool/flatten", x, (TnDim[]){u->batch, number(e, dim), n}, 3);
        return tni_hf_linear(e, "head", reduce(e, "pool", TN_REDUCE_mean, x, 2), dim, u->classes, true);
    }
    /* Of the auxiliary answers of all positions the largest counts half. */
    float half = 0.5f;
    x = tni_hf_uniformer_tokens(e, u, x, dim, size);
    IrValueId y = tni_hf_linear(e, "head", reduce(e, "pool", TN_REDUCE_mean, x, 1), dim, u->classes, true);
    IrValueId aux = reduce(e, "aux_head/max", TN_REDUCE_max, tni_hf_linear(e, "aux_head", x, dim, u->classes, true), 1);
    aux = tni_hf_binary(e, "aux_head/half", TN_BINARY_mul, aux, tni_hf_const(e, "aux_head/half/factor", 0, NULL, &half));
    return add(e, "logits/sum", y, aux);
}

/* Weights of training only. */
static void ignore_training(HfEmit *e, const HfUniformer *u) {
    static const char *const names[] = {"head_cls.weight", "head_cls.bias", "norm_cls.weight", "norm_cls.bias"};
    for (size_t i = 0; u->light && i < TN_COUNT(names); i++)
        tni_hf_tensor(e->c, names[i]);
}

/* How the official evaluation prepares pictures, in the words of Hugging Face's image processors. */
static TnStatus set_processor(IrModule *m, const HfUniformer *u, TnError *err) {
    char text[600];
    uint32_t edge = u->dense ? (uint32_t)(u->image / 0.9) : u->image * 256 / 224;
    if (tni_ir_meta_get(m, "preprocessor_config.json", NULL) != NULL) /* the folder has its own */
        return TN_OK;
    int n = snprintf(text, sizeof text,
                     "{\"image_processor_type\": \"UniFormer\", \"do_resize\": true, \"size\": {\"shortest_edge\": %u}, \"resample\": 3, "
                     "\"do_center_crop\": true, "
                     "\"crop_size\": {\"height\": %u, \"width\": %u}, \"do_rescale\": true, \"rescale_factor\": 0.00392156862745098, "
                     "\"do_normalize\": true, "
                     "\"image_mean\": [0.485, 0.456, 0.406], \"image_std\": [0.229, 0.224, 0.225]}\n",
                     edge, u->image, u->image);
    return tni_ir_meta_set(m, "preprocessor_config.json", text, (size_t)n, err);
}

bool tni_hf_is_uniformer(HfCheckpoint *c) {
    return tni_hf_uniformer_has(c, "blocks1.0.pos_embed.weight") ||
           (tni_hf_uniformer_has(c, "patch_embed1.proj.weight") && tni_hf_uniformer_has(c, "blocks4.0.attn.qkv.weight"));
}

TnStatus tni_hf_uniformer(const HfImport *in, TnError *err) {
    HfUniformer u;
    IrGraphId id;
    TN_TRY(describe(in->checkpoint, &in->options, &u, err));
    HfEmit e = {.m = in->module, .c = in->checkpoint, .err = err, .kind = u.what, .strict = true};
    TN_TRY(tni_ir_graph_add(e.m, "main", &id, err));
    e.g = e.m->graphs[id];
    tni_log(in->log, TN_LOG_INFO, "%s: attention heads of width %u, pictures of %u x %u, %u classes", u.what, u.head_dim, u.image, u.image,
            u.classes);
    u.batch = tni_ir_dim_symbol(e.m, "batch");
    HfMapSize size = {number(&e, u.image), number(&e, u.image)};
    IrValueId x = tni_hf_input(&e, "input", TN_F32, (TnDim[]){u.batch, number(&e, u.channels), size.h, size.w}, 4);
    x = stages(&e, &u, x, &size);
    tni_hf_output(&e, "logits", heads(&e, &u, x, size));
    ignore_training(&e, &u);
    TN_TRY(tni_hf_finish(&e, in->log));
    return set_processor(in->module, &u, err);
}
