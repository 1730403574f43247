/* SPDX-License-Identifier: Apache-2.0
 *
 * The text decoder of TrOCR: cross-attention states for the encoder's graph, and one decoding step. */
#include <math.h>
#include <stdio.h>

#include "hf/vision_encoder_decoder.h"

#define POSITION_OFFSET 2 /* rows 0 and 1 of the learned table are never used */
#define LAYER_NORM_EPS 1e-5f /* nn.LayerNorm's default; TrOCR has no field for it */

TnStatus tni_hf_trocr_config(HfConfig c, uint32_t encoder_width, HfTrocr *d, TnError *err) {
    const char *act = "gelu", *type = "";
    *d = (HfTrocr){.d_model = 1024, .layers = 12, .heads = 16, .inner = 4096, .vocab = 50265, .max_positions = 512, .pad_id = 1,
                   .learned_positions = true, .layernorm_embedding = true, .tied = true};
    TN_TRY(tni_hf_get_string(c, "model_type", &type, err));
    if (strcmp(type, "trocr") != 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: model_type '%s' is not supported; there is: trocr", c.where, type);
    TN_TRY(tni_hf_get_u32(c, "d_model", 1, 65536, &d->d_model, err));
    TN_TRY(tni_hf_get_u32(c, "decoder_layers", 1, 1000, &d->layers, err));
    TN_TRY(tni_hf_get_u32(c, "decoder_attention_heads", 1, 1024, &d->heads, err));
    TN_TRY(tni_hf_get_u32(c, "decoder_ffn_dim", 1, 1u << 20, &d->inner, err));
    TN_TRY(tni_hf_get_u32(c, "vocab_size", 1, 10000000, &d->vocab, err));
    TN_TRY(tni_hf_get_u32(c, "max_position_embeddings", 2, 1u << 20, &d->max_positions, err));
    TN_TRY(tni_hf_get_u32(c, "pad_token_id", 0, 10000000, &d->pad_id, err));
    TN_TRY(tni_hf_get_bool(c, "scale_embedding", &d->scale_embedding, err));
    TN_TRY(tni_hf_get_bool(c, "use_learned_position_embeddings", &d->learned_positions, err));
    TN_TRY(tni_hf_get_bool(c, "layernorm_embedding", &d->layernorm_embedding, err));
    TN_TRY(tni_hf_get_bool(c, "tie_word_embeddings", &d->tied, err));
    TN_TRY(tni_hf_get_string(c, "activation_function", &act, err));
    TN_TRY(tni_hf_activation("config.json: decoder: 'activation_function'", act, &d->act, err));
    d->cross_width = 0;
    TN_TRY(tni_hf_get_u32(c, "cross_attention_hidden_size", 1, 65536, &d->cross_width, err));
    if (d->cross_width == 0) /* then an enc_to_dec_proj brings the encoder's states to d_model, if they differ */
        d->cross_width = d->d_model;
    else if (d->cross_width != encoder_width)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: cross_attention_hidden_size is %u, but the encoder's hidden_size is %u", c.where, d->cross_width,
                        encoder_width);
    if (d->d_model % d->heads != 0)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: d_model %u is no multiple of decoder_attention_heads %u", c.where, d->d_model, d->heads);
    return TN_OK;
}

static const char *state_name(char buf[64], const char *what, uint32_t layer) {
    snprintf(buf, 64, "state:%s.%u", what, layer);
    return buf;
}

void tni_hf_trocr_cross(HfEmit *e, const HfTrocr *d, const char *prefix, IrValueId hidden) {
    char name[64];
    for (uint32_t i = 0; i < d->layers; i++) {
        tni_hf_prefix(e, "%smodel.decoder.layers.%u.encoder_attn.", prefix, i);
        tni_hf_output(e, state_name(name, "cross_k", i), tni_hf_linear(e, "k_proj", hidden, d->cross_width, d->d_model, true));
        tni_hf_output(e, state_name(name, "cross_v", i), tni_hf_linear(e, "v_proj", hidden, d->cross_width, d->d_model, true));
    }
}

/* The fixed position table [rows, D] as transformers makes it: sines in the first half, cosines in the second, row pad_id zero. */
static IrValueId sinusoidal_table(HfEmit *e, const HfTrocr *d, int64_t rows) {
    size_t width = d->d_model, half = width / 2;
    float *t = tni_arena_calloc(e->m->arena, (size_t)rows, width * sizeof *t);
    if (t == NULL) {
        e->st = TN_OOM(e->err, (size_t)rows * width * sizeof *t);
        return TN_NO_VALUE;
    }
    float step = (float)(log(10000.0) / ((double)half - 1));
    for (size_t r = 0; r < (size_t)rows; r++) {
        for (size_t i = 0; r != d->pad_id && i < half; i++) {
            float angle = (float)r * expf((float)i * -step);
            t[r * width + i] = sinf(angle);
            t[r * width + half + i] = cosf(angle);
        }
    }
    return tni_hf_const(e, "embed_positions", 2, (int64_t[]){rows, (int64_t)width}, t);
}

typedef struct Controls {
    IrValueId tokens, positions, where, lanes, length, cross_lanes, cross_length;
    TnDim rows;
} Controls;

static Controls add_controls(HfEmit *e) {
    TnDim rows = tni_ir_dim_symbol(e->m, "rows"), p = tni_ir_dim_symbol(e->m, "positions"), one = tni_ir_dim_const(e->m, 1);
    TnDim two = tni_ir_dim_const(e->m, 2);
    Controls c = {.rows = rows};
    c.tokens = tni_hf_input(e, "tokens", TN_I32, (TnDim[]){rows, one}, 2);
    c.positions = tni_hf_input(e, "positions", TN_I32, &one, 1);
    c.where = tni_hf_input(e, "where", TN_I32, (TnDim[]){rows, two}, 2);
    c.lanes = tni_hf_input(e, "lanes", TN_I32, (TnDim[]){rows, p}, 2);
    c.length = tni_hf_input(e, "length", TN_I32, &one, 1);
    c.cross_lanes = tni_hf_input(e, "cross_lanes", TN_I32, (TnDim[]){rows, one}, 2);
    c.cross_length = tni_hf_input(e, "cross_length", TN_I32, &one, 1);
    return c;
}

static IrValueId gather_rows(HfEmit *e, const char *name, IrValueId table, IrValueId ids) {
    TnAxisParams p = {.axis = 0};
    return tni_hf_node(e, TN_OP_gather, name, &p, (IrValueId[]){table, ids}, 2);
}

/* Token + position embedding of the step's tokens: [rows, D]. *words gets the token table. */
static IrValueId embed(HfEmit *e, const HfTrocr *d, const Controls *c, IrValueId *words) {
    int64_t width = d->d_model, vocab = d->vocab;
    *words = tni_hf_weight(e, "embed_tokens.weight", 2, (int64_t[]){vocab, width});
    IrValueId ids = tni_hf_reshape(e, "tokens/flatten", c->tokens, &c->rows, 1);
    IrValueId x = gather_rows(e, "embed_tokens", *words, ids);
    if (d->scale_embedding) {
        float scale = (float)sqrt((double)d->d_model);
        x = tni_hf_binary(e, "embed_tokens/scale", TN_BINARY_mul, x, tni_hf_const(e, "embed_scale", 0, NULL, &scale));
    }
    int64_t offset = d->learned_positions ? POSITION_OFFSET : (int64_t)d->pad_id + 1;
    IrValueId table;
    if (d->learned_positions)
        table = tni_hf_weight(e, "embed_positions.weight", 2, (int64_t[]){(int64_t)d->max_positions + offset, width});
    else
        table = sinusoidal_table(e, d, (int64_t)d->max_positions + offset);
    int32_t shift = (int32_t)offset;
    IrValueId off = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, "position_offset", TN_I32, 0, NULL, &shift, &off, e->err);
    IrValueId row = tni_hf_binary(e, "positions/offset", TN_BINARY_add, c->positions, off);
    x = tni_hf_binary(e, "embed/add_positions", TN_BINARY_add, x, gather_rows(e, "embed_positions/row", table, row));
    return d->layernorm_embedding ? tni_hf_layer_norm(e, "layernorm_embedding", x, width, LAYER_NORM_EPS) : x;
}

static IrValueId state_input(HfEmit *e, const char *what, uint32_t layer, TnDim a, TnDim b, uint32_t width) {
    char name[64];
    return tni_hf_input(e, state_name(name, what, layer), TN_F32, (TnDim[]){a, b, tni_ir_dim_const(e->m, width)}, 3);
}

static void append(HfEmit *e, const char *name, IrValueId x, IrValueId cache, IrValueId where, uint32_t off, uint32_t width) {
    TnCacheAppendParams p = {.off = off, .width = width};
    tni_hf_node(e, TN_OP_cache_append, name, &p, (IrValueId[]){x, cache, where}, 3);
}

static IrValueId attend(HfEmit *e, const HfTrocr *d, const char *name, IrValueId q, IrValueId k, IrValueId v, IrValueId lanes, IrValueId length) {
    uint32_t head = d->d_model / d->heads;
    TnAttentionStepParams p = {.heads = d->heads, .d_head = head, .scale = (float)(1.0 / sqrt((double)head))};
    return tni_hf_node(e, TN_OP_attention_step, name, &p, (IrValueId[]){q, k, v, lanes, length}, 5);
}

static IrValueId layer(HfEmit *e, const HfTrocr *d, const Controls *c, uint32_t i, TnDim cross_tokens, IrValueId x) {
    static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    uint32_t w = d->d_model;
    TnDim lanes = tni_ir_dim_symbol(e->m, "lanes"), positions = tni_ir_dim_symbol(e->m, "positions"), batch = tni_ir_dim_symbol(e->m, "batch");
    IrValueId k = state_input(e, "self_k", i, lanes, positions, w), v = state_input(e, "self_v", i, lanes, positions, w);
    IrValueId y = tni_hf_linear_merged(e, qkv, 3, x, w, w, true);
    append(e, "self_attn/append_k", y, k, c->where, w, w);
    append(e, "self_attn/append_v", y, v, c->where, 2 * w, w);
    y = attend(e, d, "self_attn", y, k, v, c->lanes, c->length);
    y = tni_hf_linear(e, "self_attn.out_proj", y, w, w, true);
    x = tni_hf_layer_norm(e, "self_attn_layer_norm", tni_hf_binary(e, "self_attn/residual", TN_BINARY_add, x, y), w, LAYER_NORM_EPS);
    k = state_input(e, "cross_k", i, batch, cross_tokens, w);
    v = state_input(e, "cross_v", i, batch, cross_tokens, w);
    y = tni_hf_linear(e, "encoder_attn.q_proj", x, w, w, true);
    y = attend(e, d, "encoder_attn", y, k, v, c->cross_lanes, c->cross_length);
    y = tni_hf_linear(e, "encoder_attn.out_proj", y, w, w, true);
    x = tni_hf_layer_norm(e, "encoder_attn_layer_norm", tni_hf_binary(e, "encoder_attn/residual", TN_BINARY_add, x, y), w, LAYER_NORM_EPS);
    y = tni_hf_unary(e, "fc1/act", d->act, tni_hf_linear(e, "fc1", x, w, d->inner, true));
    y = tni_hf_linear(e, "fc2", y, d->inner, w, true);
    return tni_hf_layer_norm(e, "final_layer_norm", tni_hf_binary(e, "fc2/residual", TN_BINARY_add, x, y), w, LAYER_NORM_EPS);
}

void tni_hf_trocr_step(HfEmit *e, const HfTrocr *d, const char *prefix, TnDim cross_tokens) {
    IrValueId words;
    tni_hf_prefix(e, "%smodel.decoder.", prefix);
    Controls c = add_controls(e);
    IrValueId x = embed(e, d, &c, &words);
    for (uint32_t i = 0; i < d->layers; i++) {
        tni_hf_prefix(e, "%smodel.decoder.layers.%u.", prefix, i);
        x = layer(e, d, &c, i, cross_tokens, x);
    }
    tni_hf_prefix(e, "%s", prefix);
    /* The output projection never has a bias; tied, or not stored, it is the token table. */
    if (!d->tied || tni_hf_has(e, "output_projection.weight"))
        words = tni_hf_weight(e, "output_projection.weight", 2, (int64_t[]){d->vocab, d->d_model});
    TnGemmParams p = {.trans_b = 1, .alpha = 1.0f, .beta = 1.0f};
    tni_hf_output(e, "logits", tni_hf_node(e, TN_OP_gemm, "output_projection", &p, (IrValueId[]){x, words}, 2));
}
