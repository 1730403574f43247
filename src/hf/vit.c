/* SPDX-License-Identifier: Apache-2.0
 *
 * The image encoder: ViT and DeiT. */
#include <math.h>

#include "hf/vision_encoder_decoder.h"

TnStatus tni_hf_vit_config(HfConfig c, HfVit *v, TnError *err) {
    const char *act = "gelu", *type = "";
    *v = (HfVit){.hidden = 768, .layers = 12, .heads = 12, .inner = 3072, .channels = 3, .patch_h = 16, .patch_w = 16, .image_h = 224,
                 .image_w = 224, .eps = 1e-12f, .qkv_bias = true};
    TN_TRY(tni_hf_get_string(c, "model_type", &type, err));
    v->distilled = strcmp(type, "deit") == 0;
    if (!v->distilled && strcmp(type, "vit") != 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: model_type '%s' is not supported; there are: vit, deit", c.where, type);
    TN_TRY(tni_hf_get_u32(c, "hidden_size", 1, 65536, &v->hidden, err));
    TN_TRY(tni_hf_get_u32(c, "num_hidden_layers", 1, 1000, &v->layers, err));
    TN_TRY(tni_hf_get_u32(c, "num_attention_heads", 1, 1024, &v->heads, err));
    TN_TRY(tni_hf_get_u32(c, "intermediate_size", 1, 1u << 20, &v->inner, err));
    TN_TRY(tni_hf_get_u32(c, "num_channels", 1, 64, &v->channels, err));
    TN_TRY(tni_hf_get_size(c, "patch_size", &v->patch_h, &v->patch_w, err));
    TN_TRY(tni_hf_get_size(c, "image_size", &v->image_h, &v->image_w, err));
    TN_TRY(tni_hf_get_f32(c, "layer_norm_eps", &v->eps, err));
    TN_TRY(tni_hf_get_bool(c, "qkv_bias", &v->qkv_bias, err));
    TN_TRY(tni_hf_get_string(c, "hidden_act", &act, err));
    TN_TRY(tni_hf_activation("config.json: encoder: 'hidden_act'", act, &v->act, err));
    if (v->hidden % v->heads != 0)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: hidden_size %u is no multiple of num_attention_heads %u", c.where, v->hidden, v->heads);
    if (v->image_h < v->patch_h || v->image_w < v->patch_w)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: the image (%u x %u) is smaller than a patch (%u x %u)", c.where, v->image_h, v->image_w, v->patch_h,
                        v->patch_w);
    return TN_OK;
}

/* Rows [from, to) of the position table [1, T, D]. */
static IrValueId positions(HfEmit *e, IrValueId table, const char *name, int64_t from, int64_t to) {
    IrValueId ends[3];
    int64_t one = 1, values[3] = {from, to, 1};
    for (size_t i = 0; i < 3 && e->st == TN_OK; i++)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 1, &one, &values[i], &ends[i], e->err);
    if (e->st != TN_OK)
        return TN_NO_VALUE;
    return tni_hf_node(e, TN_OP_slice, name, NULL, (IrValueId[]){table, ends[0], ends[1], ends[2]}, 4);
}

/* Patches + special tokens + positions: [batch, tokens, hidden]. */
static IrValueId embed(HfEmit *e, const HfVit *v, const char *prefix) {
    TnDim batch = tni_ir_dim_symbol(e->m, "batch"), d = tni_ir_dim_const(e->m, v->hidden);
    TnDim pixels[4] = {batch, tni_ir_dim_const(e->m, v->channels), tni_ir_dim_const(e->m, v->image_h), tni_ir_dim_const(e->m, v->image_w)};
    int64_t hidden = v->hidden, special = v->distilled ? 2 : 1, n = (int64_t)(v->image_h / v->patch_h) * (v->image_w / v->patch_w);
    tni_hf_prefix(e, "%sembeddings.", prefix);
    IrValueId x = tni_hf_input(e, "pixel_values", TN_F32, pixels, 4);
    /* Old exports keep the projection one level lower. */
    const char *projection = tni_hf_has(e, "patch_embeddings.patch_embeddings.projection.weight") ? "patch_embeddings.patch_embeddings.projection"
                                                                                                 : "patch_embeddings.projection";
    char part[96];
    TnConvParams conv = {.n_spatial = 2, .group = 1, .dilation = {1, 1, 1}};
    conv.kernel[0] = conv.stride[0] = (int32_t)v->patch_h;
    conv.kernel[1] = conv.stride[1] = (int32_t)v->patch_w;
    conv.kernel[2] = conv.stride[2] = 1;
    memcpy(part, projection, strlen(projection) + 1);
    IrValueId w = tni_hf_weight(e, strcat(part, ".weight"), 4, (int64_t[]){hidden, v->channels, v->patch_h, v->patch_w});
    memcpy(part, projection, strlen(projection) + 1);
    IrValueId b = tni_hf_weight(e, strcat(part, ".bias"), 1, &hidden);
    x = tni_hf_node(e, TN_OP_conv, "patch_embeddings", &conv, (IrValueId[]){x, w, b}, 3);
    x = tni_hf_reshape(e, "patch_embeddings/flatten", x, (TnDim[]){batch, d, tni_ir_dim_const(e->m, n)}, 3);
    x = tni_hf_transpose(e, "patch_embeddings/tokens", x, (uint8_t[]){0, 2, 1}, 3);
    IrValueId table = tni_hf_weight(e, "position_embeddings", 3, (int64_t[]){1, n + special, hidden});
    x = tni_hf_binary(e, "patch_embeddings/add_positions", TN_BINARY_add, x, positions(e, table, "positions/patches", special, n + special));
    IrValueId tokens[2] = {tni_hf_weight(e, "cls_token", 3, (int64_t[]){1, 1, hidden}), TN_NO_VALUE};
    if (v->distilled)
        tokens[1] = tni_hf_weight(e, "distillation_token", 3, (int64_t[]){1, 1, hidden});
    IrValueId s = v->distilled ? tni_hf_concat(e, "special_tokens", tokens, 2, 1) : tokens[0];
    s = tni_hf_binary(e, "special_tokens/add_positions", TN_BINARY_add, s, positions(e, table, "positions/special", 0, special));
    s = tni_hf_expand(e, "special_tokens/expand", s, (TnDim[]){batch, tni_ir_dim_const(e->m, special), d}, 3);
    return tni_hf_concat(e, "tokens", (IrValueId[]){s, x}, 2, 1);
}

static IrValueId block(HfEmit *e, const HfVit *v, IrValueId x) {
    static const char *const qkv[] = {"attention.attention.query", "attention.attention.key", "attention.attention.value"};
    uint32_t d = v->hidden / v->heads;
    TnAttentionParams p = {.heads = v->heads, .kv_heads = v->heads, .d_qk = d, .d_v = d, .scale = (float)(1.0 / sqrt((double)d)), .q_off = 0,
                           .k_off = v->hidden, .v_off = 2 * v->hidden};
    IrValueId y = tni_hf_layer_norm(e, "layernorm_before", x, v->hidden, v->eps);
    y = tni_hf_linear_merged(e, qkv, 3, y, v->hidden, v->hidden, v->qkv_bias);
    y = tni_hf_node(e, TN_OP_attention, "attention", &p, (IrValueId[]){y, y, y}, 3);
    y = tni_hf_linear(e, "attention.output.dense", y, v->hidden, v->hidden, true);
    x = tni_hf_binary(e, "attention/residual", TN_BINARY_add, y, x);
    y = tni_hf_layer_norm(e, "layernorm_after", x, v->hidden, v->eps);
    y = tni_hf_linear(e, "intermediate.dense", y, v->hidden, v->inner, true);
    y = tni_hf_unary(e, "intermediate/act", v->act, y);
    y = tni_hf_linear(e, "output.dense", y, v->inner, v->hidden, true);
    return tni_hf_binary(e, "output/residual", TN_BINARY_add, y, x);
}

IrValueId tni_hf_vit_graph(HfEmit *e, const HfVit *v, const char *prefix) {
    IrValueId x = embed(e, v, prefix);
    for (uint32_t i = 0; i < v->layers; i++) {
        tni_hf_prefix(e, "%sencoder.layer.%u.", prefix, i);
        x = block(e, v, x);
    }
    tni_hf_prefix(e, "%s", prefix);
    return tni_hf_layer_norm(e, "layernorm", x, v->hidden, v->eps);
}
