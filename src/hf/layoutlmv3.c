/* SPDX-License-Identifier: Apache-2.0
 *
 * LayoutLMv3 (Huang et al. 2022): words with their boxes and the picture in one encoder, with the heads of transformers.
 *
 *   input_ids, bbox -> text embedding [B,S,D] -+
 *   pixel_values -> patches [B,197,D] ---------+-> layers, one relative bias for all of them -> head
 *
 * - The biases of positions and boxes are one relative_bias: tables of the distances where buckets still change, made at build from
 *   the stored bucket weights, the scale 1 / sqrt(head width) worked in.
 * - Text positions 0..S-1 and picture positions from 0 again; the class token of the picture has the box 1 1 999 999.
 * - PB-relax softmax equals softmax: an ordinary attention. Masked keys get -10000, as the authors' code has it (exp of it is 0 in fp32).
 */
#include "hf/layoutlmv3.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define VISUAL_NORM_EPS 1e-6f
#define MAX_COORDINATE 1000
#define MAX_DISTANCE 4096 /* of a bias table: what relative_bias is made for */

typedef enum Head { HEAD_NONE, HEAD_TOKENS, HEAD_SEQUENCE, HEAD_QUESTION } Head;

typedef struct Layoutlmv3 {
    uint32_t hidden, layers, heads, inner, vocab, positions, types, pad_id;
    uint32_t coordinates, coordinate_size, shape_size;
    uint32_t bins_1d, max_1d, bins_2d, max_2d;
    uint32_t input, patch, channels;
    bool bias_1d, bias_2d;
    float eps;
    TnUnaryFn act;
    Head head;
    const char *base; /* prefix of the encoder's tensors */
} Layoutlmv3;

int32_t tni_hf_relative_bucket(int32_t distance, uint32_t bins, uint32_t max) {
    const int32_t half = (int32_t)(bins / 2), exact = half / 2, n = abs(distance), base = distance > 0 ? half : 0;
    if (n < exact)
        return base + n;
    /* Single precision, step by step as PyTorch does it. */
    const float large = logf((float)n / (float)exact) / (float)log((double)max / exact) * (float)(half - exact);
    const int32_t bucket = exact + (int32_t)large;
    return base + (bucket < half - 1 ? bucket : half - 1);
}

static TnStatus read_bins(HfConfig c, const char *bins_field, const char *max_field, uint32_t *bins, uint32_t *max, TnError *err) {
    TN_TRY(tni_hf_get_u32(c, bins_field, 4, 4096, bins, err));
    TN_TRY(tni_hf_get_u32(c, max_field, 2, MAX_DISTANCE, max, err));
    if (*bins % 4 != 0 || *max <= *bins / 4)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: '%s' %u and '%s' %u: a multiple of 4, and more than a quarter of it, are supported",
                        c.where, bins_field, *bins, max_field, *max);
    return TN_OK;
}

static TnStatus read_head(const HfImport *in, Layoutlmv3 *l, TnError *err) {
    static const struct {
        const char *name;
        Head head;
    } rows[] = {{"LayoutLMv3ForTokenClassification", HEAD_TOKENS},
                {"LayoutLMv3ForSequenceClassification", HEAD_SEQUENCE},
                {"LayoutLMv3ForQuestionAnswering", HEAD_QUESTION},
                {"LayoutLMv3Model", HEAD_NONE}};
    json_t *list = json_object_get(in->config.object, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    for (size_t i = 0; name != NULL && i < TN_COUNT(rows); i++) {
        if (strcmp(name, rows[i].name) == 0) {
            l->head = rows[i].head;
            l->base = tni_hf_tensor(in->checkpoint, "layoutlmv3.embeddings.word_embeddings.weight") != NULL ? "layoutlmv3." : "";
            return TN_OK;
        }
    }
    return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                    "config.json: architectures[0] is '%s'; supported are LayoutLMv3ForTokenClassification, "
                    "LayoutLMv3ForSequenceClassification, LayoutLMv3ForQuestionAnswering and LayoutLMv3Model",
                    name == NULL ? "(missing)" : name);
}

static TnStatus read_config(const HfImport *in, Layoutlmv3 *l, TnError *err) {
    const HfConfig c = in->config;
    const char *act = "gelu";
    bool text = true, visual = true;
    uint32_t patch_w = 16;
    *l = (Layoutlmv3){.hidden = 768,
                      .layers = 12,
                      .heads = 12,
                      .inner = 3072,
                      .vocab = 50265,
                      .positions = 512,
                      .types = 2,
                      .pad_id = 1,
                      .coordinates = 1024,
                      .coordinate_size = 128,
                      .shape_size = 128,
                      .bins_1d = 32,
                      .max_1d = 128,
                      .bins_2d = 64,
                      .max_2d = 256,
                      .input = 224,
                      .patch = 16,
                      .channels = 3,
                      .bias_1d = true,
                      .bias_2d = true,
                      .eps = 1e-5f};
    TN_TRY(tni_hf_get_u32(c, "hidden_size", 1, 65536, &l->hidden, err));
    TN_TRY(tni_hf_get_u32(c, "num_hidden_layers", 1, 1000, &l->layers, err));
    TN_TRY(tni_hf_get_u32(c, "num_attention_heads", 1, 1024, &l->heads, err));
    TN_TRY(tni_hf_get_u32(c, "intermediate_size", 1, 1u << 20, &l->inner, err));
    TN_TRY(tni_hf_get_u32(c, "vocab_size", 1, 10000000, &l->vocab, err));
    TN_TRY(tni_hf_get_u32(c, "max_position_embeddings", 3, 1u << 20, &l->positions, err));
    TN_TRY(tni_hf_get_u32(c, "type_vocab_size", 1, 1024, &l->types, err));
    TN_TRY(tni_hf_get_u32(c, "pad_token_id", 0, 10000000, &l->pad_id, err));
    TN_TRY(tni_hf_get_u32(c, "max_2d_position_embeddings", MAX_COORDINATE + 1, 1u << 20, &l->coordinates, err));
    TN_TRY(tni_hf_get_u32(c, "coordinate_size", 1, 65536, &l->coordinate_size, err));
    TN_TRY(tni_hf_get_u32(c, "shape_size", 1, 65536, &l->shape_size, err));
    TN_TRY(read_bins(c, "rel_pos_bins", "max_rel_pos", &l->bins_1d, &l->max_1d, err));
    TN_TRY(read_bins(c, "rel_2d_pos_bins", "max_rel_2d_pos", &l->bins_2d, &l->max_2d, err));
    TN_TRY(tni_hf_get_u32(c, "input_size", 1, 65536, &l->input, err));
    TN_TRY(tni_hf_get_size(c, "patch_size", &l->patch, &patch_w, err));
    TN_TRY(tni_hf_get_u32(c, "num_channels", 1, 64, &l->channels, err));
    TN_TRY(tni_hf_get_bool(c, "has_relative_attention_bias", &l->bias_1d, err));
    TN_TRY(tni_hf_get_bool(c, "has_spatial_attention_bias", &l->bias_2d, err));
    TN_TRY(tni_hf_get_bool(c, "text_embed", &text, err));
    TN_TRY(tni_hf_get_bool(c, "visual_embed", &visual, err));
    TN_TRY(tni_hf_get_f32(c, "layer_norm_eps", &l->eps, err));
    TN_TRY(tni_hf_get_string(c, "hidden_act", &act, err));
    TN_TRY(tni_hf_activation("config.json: 'hidden_act'", act, &l->act, err));
    if (c.object == NULL || json_object_get(c.object, "patch_size") == NULL)
        patch_w = l->patch;
    if (!text || !visual || patch_w != l->patch)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: 'text_embed' and 'visual_embed' must be true and 'patch_size' one number", c.where);
    if (l->hidden % l->heads != 0 || l->input < l->patch || l->pad_id + 1 >= l->positions)
        return TN_RAISE(err, TN_ERR_PARSE,
                        "%s: hidden_size %u must be a multiple of num_attention_heads %u, input_size %u at least patch_size %u, "
                        "max_position_embeddings %u more than pad_token_id %u + 1",
                        c.where, l->hidden, l->heads, l->input, l->patch, l->positions, l->pad_id);
    if (l->bias_2d && !l->bias_1d)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                        "%s: has_spatial_attention_bias without has_relative_attention_bias is ignored by transformers; set "
                        "it to false",
                        c.where);
    if (4 * l->coordinate_size + 2 * l->shape_size != l->hidden)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: 4 x coordinate_size %u + 2 x shape_size %u must be hidden_size %u", c.where,
                        l->coordinate_size, l->shape_size, l->hidden);
    return read_head(in, l, err);
}

static TnDim num(HfEmit *e, int64_t v) {
    return tni_ir_dim_const(e->m, v);
}
static TnDim batch_of(HfEmit *e) {
    return tni_ir_dim_symbol(e->m, "batch");
}
static TnDim sequence_of(HfEmit *e) {
    return tni_ir_dim_symbol(e->m, "sequence");
}
static int64_t visual_tokens(const Layoutlmv3 *l) {
    return (int64_t)(l->input / l->patch) * (l->input / l->patch) + 1;
}

static IrValueId integers(HfEmit *e, int32_t rank, const int64_t *dims, const int64_t *data) {
    IrValueId v = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, rank, dims, data, &v, e->err);
    return v;
}
static IrValueId integer(HfEmit *e, int64_t x) {
    return integers(e, 0, NULL, &x);
}

static IrValueId scalar(HfEmit *e, float x) {
    return tni_hf_const(e, "scalar", 0, NULL, &x);
}

static IrValueId gather(HfEmit *e, const char *name, IrValueId table, IrValueId at, int32_t axis) {
    TnAxisParams p = {.axis = axis};
    return tni_hf_node(e, TN_OP_gather, name, &p, (IrValueId[]){table, at}, 2);
}

static IrValueId look_up(HfEmit *e, const char *name, IrValueId ids, int64_t rows, int64_t width) {
    char part[96];
    snprintf(part, sizeof part, "%s.weight", name);
    return gather(e, name, tni_hf_weight(e, part, 2, (int64_t[]){rows, width}), ids, 0);
}

static IrValueId cast(HfEmit *e, const char *name, TnDtype to, IrValueId x) {
    TnCastParams p = {.to = to, .saturate = 1};
    return tni_hf_node(e, TN_OP_cast, name, &p, &x, 1);
}

/* ids -> 1, 2, 3, ... + pad_id where ids differ from pad_id, pad_id elsewhere (RoBERTa). */
static IrValueId token_positions(HfEmit *e, const Layoutlmv3 *l, IrValueId ids) {
    TnCumsumParams p = {0};
    IrValueId pad = integer(e, l->pad_id);
    IrValueId word = tni_hf_unary(e, "not_pad", TN_UNARY_not_, tni_hf_binary(e, "is_pad", TN_BINARY_equal, ids, pad));
    word = cast(e, "words", TN_I32, word);
    IrValueId n = tni_hf_node(e, TN_OP_cumsum, "count", &p, (IrValueId[]){word, integer(e, 1)}, 2);
    n = cast(e, "positions/int64", TN_I64, tni_hf_binary(e, "count/words", TN_BINARY_mul, n, word));
    return tni_hf_binary(e, "positions", TN_BINARY_add, n, pad);
}

/* box [4]: the four columns of bbox, each [B, S]. */
static IrValueId embed_text(HfEmit *e, const Layoutlmv3 *l, IrValueId ids, const IrValueId box[4]) {
    static const char *const axis[] = {"x", "y", "x", "y"}, *const side[] = {"left", "top", "right", "bottom"}, *const size[] = {"h", "w"};
    IrValueId spatial[6];
    const int64_t d = l->hidden;
    char name[64];
    tni_hf_prefix(e, "%sembeddings.", l->base);
    IrValueId x = look_up(e, "word_embeddings", ids, l->vocab, d);
    IrValueId types = tni_hf_weight(e, "token_type_embeddings.weight", 2, (int64_t[]){l->types, d});
    x = tni_hf_binary(e, "add_type", TN_BINARY_add, x, gather(e, "type", types, integer(e, 0), 0));
    x = tni_hf_binary(e, "add_position", TN_BINARY_add, x, look_up(e, "position_embeddings", token_positions(e, l, ids), l->positions, d));
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s_position_embeddings.weight", axis[i]);
        IrValueId table = tni_hf_weight(e, name, 2, (int64_t[]){l->coordinates, l->coordinate_size});
        spatial[i] = gather(e, side[i], table, box[i], 0);
    }
    for (uint32_t i = 0; i < 2; i++) { /* height, then width */
        snprintf(name, sizeof name, "%s/difference", size[i]);
        IrValueId n = tni_hf_binary(e, name, TN_BINARY_sub, box[3 - i], box[1 - i]);
        snprintf(name, sizeof name, "%s/clip", size[i]);
        n = tni_hf_node(e, TN_OP_clip, name, NULL, (IrValueId[]){n, integer(e, 0), integer(e, 1023)}, 3);
        snprintf(name, sizeof name, "%s_position_embeddings", size[i]);
        spatial[4 + i] = look_up(e, name, n, l->coordinates, l->shape_size);
    }
    x = tni_hf_binary(e, "add_spatial", TN_BINARY_add, x, tni_hf_concat(e, "spatial", spatial, 6, 2));
    return tni_hf_layer_norm(e, "LayerNorm", x, d, l->eps);
}

static IrValueId embed_picture(HfEmit *e, const Layoutlmv3 *l, IrValueId pixels) {
    const int64_t d = l->hidden, n = visual_tokens(l);
    TnConvParams conv = {.n_spatial = 2, .group = 1, .dilation = {1, 1, 1}};
    conv.kernel[0] = conv.kernel[1] = conv.stride[0] = conv.stride[1] = (int32_t)l->patch;
    conv.kernel[2] = conv.stride[2] = 1;
    tni_hf_prefix(e, "%s", l->base);
    IrValueId w = tni_hf_weight(e, "patch_embed.proj.weight", 4, (int64_t[]){d, l->channels, l->patch, l->patch});
    IrValueId x =
        tni_hf_node(e, TN_OP_conv, "patch_embed", &conv, (IrValueId[]){pixels, w, tni_hf_weight(e, "patch_embed.proj.bias", 1, &d)}, 3);
    x = tni_hf_reshape(e, "patch_embed/flatten", x, (TnDim[]){batch_of(e), num(e, d), num(e, n - 1)}, 3);
    x = tni_hf_transpose(e, "patch_embed/tokens", x, (uint8_t[]){0, 2, 1}, 3);
    IrValueId cls = tni_hf_weight(e, "cls_token", 3, (int64_t[]){1, 1, d});
    cls = tni_hf_expand(e, "cls_token/expand", cls, (TnDim[]){batch_of(e), num(e, 1), num(e, d)}, 3);
    x = tni_hf_concat(e, "patch_embed/concat", (IrValueId[]){cls, x}, 2, 1);
    x = tni_hf_binary(e, "pos_embed/add", TN_BINARY_add, x, tni_hf_weight(e, "pos_embed", 3, (int64_t[]){1, n, d}));
    return tni_hf_layer_norm(e, "norm", x, d, VISUAL_NORM_EPS);
}

/* Behind text [B or 1, S], the picture tokens' values [n]: [B or 1, S + n]. */
static IrValueId with_picture(HfEmit *e, const char *name, IrValueId text, const int64_t *values, int64_t n, bool batched) {
    char part[64];
    IrValueId picture = integers(e, 2, (int64_t[]){1, n}, values);
    snprintf(part, sizeof part, "%s/picture", name);
    if (batched)
        picture = tni_hf_expand(e, part, picture, (TnDim[]){batch_of(e), num(e, n)}, 2);
    return tni_hf_concat(e, name, (IrValueId[]){text, picture}, 2, 1);
}

/* One term of the bias: rows for the distances -reach..reach, at which buckets stop to change. */
static IrValueId bias_table(HfEmit *e, const Layoutlmv3 *l, const char *name, uint32_t bins, uint32_t max, int32_t *reach) {
    char part[64];
    int64_t rows[2 * MAX_DISTANCE + 1];
    const uint32_t d = l->hidden / l->heads;
    *reach = (int32_t)max;
    while (*reach > 1 && tni_hf_relative_bucket(*reach - 1, bins, max) == (int32_t)bins - 1)
        (*reach)--;
    for (int32_t i = 0; i <= 2 * *reach; i++)
        rows[i] = tni_hf_relative_bucket(i - *reach, bins, max);
    snprintf(part, sizeof part, "%s.weight", name);
    IrValueId w = tni_hf_weight(e, part, 2, (int64_t[]){l->heads, bins});
    w = gather(e, name, w, integers(e, 1, (int64_t[]){2 * *reach + 1}, rows), 1);
    snprintf(part, sizeof part, "%s/rows", name);
    w = tni_hf_transpose(e, part, w, (uint8_t[]){1, 0}, 2);
    snprintf(part, sizeof part, "%s/scale", name);
    return tni_hf_binary(e, part, TN_BINARY_mul, w, scalar(e, (float)(1.0 / sqrt((double)d))));
}

/* Positions of the 1-D bias [1, S + n]: text from 0, picture from 0 again. */
static IrValueId order(HfEmit *e, const int64_t *visual, int64_t n) {
    TnDimsParams p = {.dtype = TN_I64, .n = 1};
    p.dim[0] = sequence_of(e);
    IrValueId end = tni_hf_node(e, TN_OP_dims, "order/length", &p, NULL, 0);
    IrValueId text = tni_hf_node(e, TN_OP_range, "order/text", NULL, (IrValueId[]){integer(e, 0), end, integer(e, 1)}, 3);
    text = tni_hf_reshape(e, "order/text_row", text, (TnDim[]){num(e, 1), sequence_of(e)}, 2);
    return with_picture(e, "order", text, visual, n, false);
}

static IrValueId relative_bias(HfEmit *e, const Layoutlmv3 *l, const IrValueId box[4]) {
    const int64_t side = l->input / l->patch, n = visual_tokens(l);
    TnRelativeBiasParams p = {.n = l->bias_2d ? 3 : 1};
    IrValueId in[9];
    int64_t *v = malloc((size_t)n * sizeof *v); /* of picture tokens: order, left edge, bottom edge */
    if (v == NULL) {
        e->st = TN_OOM(e->err, (size_t)n * sizeof *v);
        return TN_NO_VALUE;
    }
    tni_hf_prefix(e, "%sencoder.", l->base);
    for (int64_t i = 0; i < n; i++)
        v[i] = i;
    in[0] = in[1] = order(e, v, n);
    in[2] = bias_table(e, l, "rel_pos_bias", l->bins_1d, l->max_1d, &p.hi[0]);
    if (l->bias_2d) {
        for (int64_t i = 0; i + 1 < n; i++)
            v[i + 1] = MAX_COORDINATE * (i % side) / side;
        v[0] = 1;
        in[3] = in[4] = with_picture(e, "left", box[0], v, n, true);
        in[5] = bias_table(e, l, "rel_pos_x_bias", l->bins_2d, l->max_2d, &p.hi[1]);
        for (int64_t i = 0; i + 1 < n; i++)
            v[i + 1] = MAX_COORDINATE * (i / side + 1) / side;
        v[0] = MAX_COORDINATE - 1;
        in[6] = in[7] = with_picture(e, "bottom", box[3], v, n, true);
        in[8] = bias_table(e, l, "rel_pos_y_bias", l->bins_2d, l->max_2d, &p.hi[2]);
    }
    for (uint32_t t = 0; t < p.n; t++)
        p.lo[t] = -p.hi[t];
    free(v);
    return tni_hf_node(e, TN_OP_relative_bias, "relative_bias", &p, in, 3 * p.n);
}

/* attention_mask [B, S] -> [B, 1, 1, S + n]: 0 where a key is seen, -10000 where not. */
static IrValueId mask_bias(HfEmit *e, const Layoutlmv3 *l, IrValueId mask) {
    const int64_t n = visual_tokens(l);
    tni_hf_prefix(e, "%s", l->base);
    int64_t *ones = malloc((size_t)n * sizeof *ones);
    if (ones == NULL) {
        e->st = TN_OOM(e->err, (size_t)n * sizeof *ones);
        return TN_NO_VALUE;
    }
    for (int64_t i = 0; i < n; i++)
        ones[i] = 1;
    IrValueId all = with_picture(e, "mask", mask, ones, n, true);
    free(ones);
    all = tni_hf_node(e, TN_OP_where, "mask/bias", NULL,
                      (IrValueId[]){cast(e, "mask/bool", TN_BOOL, all), scalar(e, 0.0f), scalar(e, -10000.0f)}, 3);
    TnDim tokens = tni_ir_dim_op(e->m, TN_DIM_ADD, sequence_of(e), num(e, n));
    return tni_hf_reshape(e, "mask/rows", all, (TnDim[]){batch_of(e), num(e, 1), num(e, 1), tokens}, 4);
}

static IrValueId block(HfEmit *e, const Layoutlmv3 *l, IrValueId x, IrValueId bias, IrValueId mask) {
    static const char *const qkv[] = {"attention.self.query", "attention.self.key", "attention.self.value"};
    const uint32_t w = l->hidden, d = w / l->heads;
    TnAttentionParams p = {
        .heads = l->heads, .kv_heads = l->heads, .d_qk = d, .d_v = d, .scale = (float)(1.0 / sqrt((double)d)), .k_off = w, .v_off = 2 * w};
    IrValueId y = tni_hf_linear_merged(e, qkv, 3, x, w, w, true);
    IrValueId in[5] = {y, y, y, bias, mask};
    if (bias == TN_NO_VALUE)
        in[3] = mask;
    y = tni_hf_node(e, TN_OP_attention, "attention", &p, in, bias == TN_NO_VALUE ? 4 : 5);
    y = tni_hf_linear(e, "attention.output.dense", y, w, w, true);
    x = tni_hf_layer_norm(e, "attention.output.LayerNorm", tni_hf_binary(e, "attention/residual", TN_BINARY_add, y, x), w, l->eps);
    y = tni_hf_unary(e, "intermediate/act", l->act, tni_hf_linear(e, "intermediate.dense", x, w, l->inner, true));
    y = tni_hf_linear(e, "output.dense", y, l->inner, w, true);
    return tni_hf_layer_norm(e, "output.LayerNorm", tni_hf_binary(e, "output/residual", TN_BINARY_add, y, x), w, l->eps);
}

/* Rows [0, S) of [B, T, N]. */
static IrValueId text_rows(HfEmit *e, IrValueId x) {
    TnDimsParams p = {.dtype = TN_I64, .rank = 1, .n = 1};
    const int64_t one = 1, zero = 0;
    p.dim[0] = sequence_of(e);
    IrValueId end = tni_hf_node(e, TN_OP_dims, "text/length", &p, NULL, 0);
    return tni_hf_node(e, TN_OP_slice, "text", NULL, (IrValueId[]){x, integers(e, 1, &one, &zero), end, integers(e, 1, &one, &one)}, 4);
}

/* Rows of a linear layer, as stored: the number of labels; 1 when it is missing, which is then reported as such. */
static int64_t rows_of(HfEmit *e, const char *name) {
    const HfTensor *t = tni_hf_tensor(e->c, name);
    return t != NULL && t->t.rank == 2 && t->t.dims[0] > 0 ? t->t.dims[0] : 1;
}

static IrValueId dense_head(HfEmit *e, const Layoutlmv3 *l, const char *name, IrValueId x) {
    char part[64];
    snprintf(part, sizeof part, "%s.dense", name);
    x = tni_hf_unary(e, "head/tanh", TN_UNARY_tanh, tni_hf_linear(e, part, x, l->hidden, l->hidden, true));
    snprintf(part, sizeof part, "%s.out_proj.weight", name);
    const int64_t labels = rows_of(e, part);
    snprintf(part, sizeof part, "%s.out_proj", name);
    return tni_hf_linear(e, part, x, l->hidden, labels, true);
}

static void add_head(HfEmit *e, const Layoutlmv3 *l, IrValueId x) {
    tni_hf_prefix(e, "%s", "");
    if (l->head == HEAD_NONE) {
        tni_hf_output(e, "last_hidden_state", x);
    } else if (l->head == HEAD_QUESTION) { /* over text and picture tokens, as transformers has it */
        x = dense_head(e, l, "qa_outputs", x);
        tni_hf_output(e, "start_logits", gather(e, "start", x, integer(e, 0), 2));
        tni_hf_output(e, "end_logits", gather(e, "end", x, integer(e, 1), 2));
    } else if (l->head == HEAD_SEQUENCE) {
        tni_hf_output(e, "logits", dense_head(e, l, "classifier", gather(e, "first_token", x, integer(e, 0), 1)));
    } else if (tni_hf_has(e, "classifier.out_proj.weight")) { /* 10 labels or more */
        tni_hf_output(e, "logits", dense_head(e, l, "classifier", text_rows(e, x)));
    } else {
        tni_hf_output(e, "logits", text_rows(e, tni_hf_linear(e, "classifier", x, l->hidden, rows_of(e, "classifier.weight"), true)));
    }
}

/* At most as many tokens as there are positions behind the pad's. */
static void limit_sequence(IrModule *m, const Layoutlmv3 *l) {
    for (uint32_t i = 0; i < m->n_symbols; i++) {
        TnSymbol *s = &m->symbols[i];
        if (strcmp(s->name, "sequence") == 0)
            s->opt = s->max = l->positions - l->pad_id - 1;
    }
}

TnStatus tni_hf_layoutlmv3(const HfImport *in, TnError *err) {
    static const char *const buffers[] = {"embeddings.position_ids", "visual_bbox"};
    Layoutlmv3 l;
    IrGraphId id;
    IrValueId box[4];
    TN_TRY(read_config(in, &l, err));
    HfEmit e = {.m = in->module, .c = in->checkpoint, .err = err};
    TN_TRY(tni_ir_graph_add(in->module, "layoutlmv3", &id, err));
    e.g = in->module->graphs[id];
    TnDim batch = batch_of(&e), sequence = sequence_of(&e), side = num(&e, l.input);
    limit_sequence(in->module, &l);
    IrValueId ids = tni_hf_input(&e, "input_ids", TN_I64, (TnDim[]){batch, sequence}, 2);
    IrValueId boxes = tni_hf_input(&e, "bbox", TN_I64, (TnDim[]){batch, sequence, num(&e, 4)}, 3);
    IrValueId pixels = tni_hf_input(&e, "pixel_values", TN_F32, (TnDim[]){batch, num(&e, l.channels), side, side}, 4);
    IrValueId mask = tni_hf_input(&e, "attention_mask", TN_I64, (TnDim[]){batch, sequence}, 2);
    tni_hf_prefix(&e, "%s", "bbox/");
    for (uint32_t i = 0; i < 4; i++)
        box[i] = gather(&e, (const char *[]){"x0", "y0", "x1", "y1"}[i], boxes, integer(&e, i), 2);
    IrValueId x = embed_text(&e, &l, ids, box);
    x = tni_hf_concat(&e, "tokens", (IrValueId[]){x, embed_picture(&e, &l, pixels)}, 2, 1);
    tni_hf_prefix(&e, "%s", l.base);
    x = tni_hf_layer_norm(&e, "LayerNorm", x, l.hidden, l.eps);
    mask = mask_bias(&e, &l, mask);
    IrValueId bias = l.bias_1d ? relative_bias(&e, &l, box) : TN_NO_VALUE;
    for (uint32_t i = 0; i < l.layers; i++) {
        tni_hf_prefix(&e, "%sencoder.layer.%u.", l.base, i);
        x = block(&e, &l, x, bias, mask);
    }
    add_head(&e, &l, x);
    for (size_t i = 0; i < TN_COUNT(buffers); i++) { /* constants that old checkpoints store */
        char name[64];
        snprintf(name, sizeof name, "%s%s", l.base, buffers[i]);
        tni_hf_tensor(in->checkpoint, name);
    }
    return tni_hf_finish(&e, in->log);
}
