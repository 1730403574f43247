/* SPDX-License-Identifier: Apache-2.0
 *
 * The answers of ViLBERT: which heads a checkpoint has, which of them were asked for, and how each is computed. In: the two streams. Out:
 * graph outputs by the authors' names. Dropout is off, as in evaluation.
 *
 *   vision_logit, linguisic_logit            a number for each region [batch, regions, 1] (hidden ones about -10000), for each token
 * [batch, words, 1] vil_prediction, vil_prediction_gqa       answers [batch, answers], of the pooled streams vil_logit, vil_tri_prediction
 * [batch, 1], [batch, 3], of the pooled streams vil_binary_prediction                    multi-task: [batch / 2, 2], of pairs of pictures
 * that follow each other; beta: seq_relationship_score vision_prediction, linguisic_prediction  [batch, regions, classes], [batch, words,
 * vocabulary] seq_relationship_score                   [batch, 2]: whether phrase and picture belong together sequence_output_t, _v;
 * pooled_output_t, _v  the streams themselves and their first rows, pooled
 */
#include <stdio.h>

#include "hf/vilbert.h"

typedef struct Heads {
    HfEmit *e;
    const HfVilbert *v;
    const HfVilbertStreams *s;
    IrValueId pooled_t, pooled_v, pooled; /* made once, when first wanted */
    bool has_pooled;
} Heads;

/* Rows of a stored matrix: the number of answers. 1 when it is missing, which is then reported as such. */
static int64_t rows_of(HfEmit *e, const char *name) {
    const HfTensor *t = tni_hf_tensor(e->c, name);
    return t != NULL && t->t.rank == 2 && t->t.dims[0] > 0 ? t->t.dims[0] : 1;
}

static IrValueId number(HfEmit *e, int64_t x) {
    IrValueId v = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 0, NULL, &x, &v, e->err);
    return v;
}

/* relu(linear(first row)). */
static IrValueId pool(Heads *h, const char *name, IrValueId x, uint32_t width) {
    tni_hf_prefix(h->e, "bert.%s.", name);
    x = tni_hf_node(h->e, TN_OP_gather, "first", &(TnAxisParams){.axis = 1}, (IrValueId[]){x, number(h->e, 0)}, 2);
    x = tni_hf_linear(h->e, "dense", x, width, h->v->bi_hidden, true);
    return tni_hf_unary(h->e, "activation", TN_UNARY_relu, x);
}

static void make_pooled(Heads *h) {
    if (h->has_pooled)
        return;
    h->has_pooled = true;
    h->pooled_t = pool(h, "t_pooler", h->s->text, h->v->hidden);
    h->pooled_v = pool(h, "v_pooler", h->s->picture, h->v->v_hidden);
    tni_hf_prefix(h->e, "%s", "");
    h->pooled = tni_hf_binary(h->e, "pooled", h->v->sum ? TN_BINARY_add : TN_BINARY_mul, h->pooled_t, h->pooled_v);
}

/* A layer whose weight is stored as g v / |v|, |v| over all elements and g one number; or, when that was worked in, as it is. */
static IrValueId normed_linear(HfEmit *e, const char *name, IrValueId x, int64_t in, int64_t out) {
    char part[96];
    snprintf(part, sizeof part, "%s.weight_v", name);
    if (!tni_hf_has(e, part))
        return tni_hf_linear(e, name, x, in, out, true);
    IrValueId v = tni_hf_weight(e, part, 2, (int64_t[]){out, in});
    snprintf(part, sizeof part, "%s.weight_g", name);
    IrValueId g = tni_hf_weight(e, part, 0, NULL);
    TnReduceParams all = {.fn = TN_REDUCE_l2, .keepdims = 1, .n_axes = 2, .axes = {0, 1}};
    snprintf(part, sizeof part, "%s/norm", name);
    IrValueId norm = tni_hf_node(e, TN_OP_reduce, part, &all, &v, 1);
    snprintf(part, sizeof part, "%s/factor", name);
    IrValueId factor = tni_hf_binary(e, part, TN_BINARY_div, g, norm);
    snprintf(part, sizeof part, "%s/weight", name);
    IrValueId w = tni_hf_binary(e, part, TN_BINARY_mul, v, factor);
    snprintf(part, sizeof part, "%s.bias", name);
    IrValueId b = tni_hf_weight(e, part, 1, &out);
    TnGemmParams p = {.trans_b = 1, .alpha = 1.0f, .beta = 1.0f};
    return tni_hf_node(e, TN_OP_gemm, name, &p, (IrValueId[]){x, w, b}, 3);
}

/* Two layers: GELU and layer norm between them (multi-task), or weight-normalised ones with ReLU between them (beta). */
static IrValueId classify(Heads *h, const char *name, IrValueId x, int64_t in) {
    HfEmit *e = h->e;
    const int64_t inner = 2 * (int64_t)h->v->bi_hidden;
    char part[96];
    tni_hf_prefix(e, "%s.", name);
    if (tni_hf_has(e, "main.0.bias")) {
        snprintf(part, sizeof part, "%s.main.3.weight%s", name, tni_hf_has(e, "main.3.weight_v") ? "_v" : "");
        const int64_t answers = rows_of(e, part);
        x = tni_hf_unary(e, "main.1", TN_UNARY_relu, normed_linear(e, "main.0", x, in, inner));
        return normed_linear(e, "main.3", x, inner, answers);
    }
    snprintf(part, sizeof part, "%s.logit_fc.3.weight", name);
    const int64_t answers = rows_of(e, part);
    x = tni_hf_unary(e, "logit_fc.1", TN_UNARY_gelu, tni_hf_linear(e, "logit_fc.0", x, in, inner, true));
    x = tni_hf_layer_norm(e, "logit_fc.2", x, inner, TN_VILBERT_EPS);
    return tni_hf_linear(e, "logit_fc.3", x, inner, answers, true);
}

static IrValueId linear_head(Heads *h, const char *name, IrValueId x, int64_t in) {
    char part[64];
    snprintf(part, sizeof part, "%s.weight", name);
    tni_hf_prefix(h->e, "%s", "");
    return tni_hf_linear(h->e, name, x, in, rows_of(h->e, part), true);
}

/* ---- the heads ---- */

static IrValueId answers(Heads *h, const char *name) {
    make_pooled(h);
    return classify(h, name, h->pooled, h->v->bi_hidden);
}

static IrValueId of_pooled(Heads *h, const char *name) {
    make_pooled(h);
    return linear_head(h, name, h->pooled, h->v->bi_hidden);
}

static IrValueId relationship(Heads *h, const char *name) {
    (void)name;
    make_pooled(h);
    return linear_head(h, "cls.bi_seq_relationship", h->pooled, h->v->bi_hidden);
}

static IrValueId pairs(Heads *h, const char *name) {
    HfEmit *e = h->e;
    const int64_t width = 2 * (int64_t)h->v->bi_hidden;
    if (!tni_hf_has(e, "vil_binary_prediction.logit_fc.0.weight") && !tni_hf_has(e, "vil_binary_prediction.main.0.bias"))
        return relationship(h, name);
    for (uint32_t i = 0; i < e->m->n_symbols; i++) { /* a pair at least */
        if (strcmp(e->m->symbols[i].name, "batch") == 0)
            e->m->symbols[i].min = e->m->symbols[i].opt = 2;
    }
    make_pooled(h);
    const TnDim half = tni_ir_dim_op(e->m, TN_DIM_FLOORDIV, h->v->batch, tni_ir_dim_const(e->m, 2));
    return classify(h, name, tni_hf_reshape(e, "pairs", h->pooled, (TnDim[]){half, tni_ir_dim_const(e->m, width)}, 2), width);
}

static IrValueId region_scores(Heads *h, const char *name) {
    IrValueId x = linear_head(h, name, h->s->picture, h->v->v_hidden);
    return tni_hf_binary(h->e, "vision_logit/masked", TN_BINARY_add, x, h->s->hidden_regions);
}

static IrValueId token_scores(Heads *h, const char *name) {
    return linear_head(h, name, h->s->text, h->v->hidden);
}

/* Dense, activation, layer norm. The authors' code takes the text's activation for pictures too. */
static IrValueId transform(HfEmit *e, IrValueId x, int64_t width, TnUnaryFn act) {
    x = tni_hf_unary(e, "transform/act", act, tni_hf_linear(e, "transform.dense", x, width, width, true));
    return tni_hf_layer_norm(e, "transform.LayerNorm", x, width, TN_VILBERT_EPS);
}

static IrValueId region_classes(Heads *h, const char *name) {
    HfEmit *e = h->e;
    (void)name;
    tni_hf_prefix(e, "%s", "cls.imagePredictions.");
    IrValueId x = transform(e, h->s->picture, h->v->v_hidden, h->v->act);
    return tni_hf_linear(e, "decoder", x, h->v->v_hidden, rows_of(e, "cls.imagePredictions.decoder.weight"), true);
}

/* The decoder's matrix is that of the words' embeddings, stored once or twice. */
static IrValueId words(Heads *h, const char *name) {
    HfEmit *e = h->e;
    const int64_t vocab = h->v->vocab, width = h->v->hidden;
    TnGemmParams p = {.trans_b = 1, .alpha = 1.0f, .beta = 1.0f};
    (void)name;
    tni_hf_prefix(e, "%s", "cls.predictions.");
    IrValueId x = transform(e, h->s->text, width, h->v->act), b = tni_hf_weight(e, "bias", 1, &vocab), w;
    if (tni_hf_has(e, "decoder.weight")) {
        w = tni_hf_weight(e, "decoder.weight", 2, (int64_t[]){vocab, width});
    } else {
        tni_hf_prefix(e, "%s", "bert.embeddings.");
        w = tni_hf_weight(e, "word_embeddings.weight", 2, (int64_t[]){vocab, width});
        tni_hf_prefix(e, "%s", "cls.predictions.");
    }
    return tni_hf_node(e, TN_OP_gemm, "decoder", &p, (IrValueId[]){x, w, b}, 3);
}

static IrValueId text_rows(Heads *h, const char *name) {
    (void)name;
    return h->s->text;
}

static IrValueId picture_rows(Heads *h, const char *name) {
    (void)name;
    return h->s->picture;
}

static IrValueId pooled_text(Heads *h, const char *name) {
    (void)name;
    make_pooled(h);
    return h->pooled_t;
}

static IrValueId pooled_picture(Heads *h, const char *name) {
    (void)name;
    make_pooled(h);
    return h->pooled_v;
}

/* probe: a tensor that a checkpoint with this head has, one of two; NULL: every checkpoint has it. */
static const struct {
    const char *name, *probe[2];
    IrValueId (*fn)(Heads *h, const char *name);
} heads[] = {
    {"vision_logit", {"vision_logit.weight"}, region_scores},
    {"vil_prediction", {"vil_prediction.logit_fc.3.weight", "vil_prediction.main.3.bias"}, answers},
    {"vil_prediction_gqa", {"vil_prediction_gqa.logit_fc.3.weight", "vil_prediction_gqa.main.3.bias"}, answers},
    {"vil_logit", {"vil_logit.weight"}, of_pooled},
    {"vil_binary_prediction", {"vil_binary_prediction.logit_fc.3.weight", "cls.bi_seq_relationship.weight"}, pairs},
    {"vil_tri_prediction", {"vil_tri_prediction.weight"}, of_pooled},
    {"vision_prediction", {"cls.imagePredictions.decoder.weight"}, region_classes},
    {"linguisic_prediction", {"cls.predictions.bias"}, words},
    {"linguisic_logit", {"linguisic_logit.weight"}, token_scores},
    {"seq_relationship_score", {"cls.bi_seq_relationship.weight"}, relationship},
    {"sequence_output_t", {NULL}, text_rows},
    {"sequence_output_v", {NULL}, picture_rows},
    {"pooled_output_t", {"bert.t_pooler.dense.weight"}, pooled_text},
    {"pooled_output_v", {"bert.v_pooler.dense.weight"}, pooled_picture},
};

static bool present(HfCheckpoint *c, size_t head) {
    return heads[head].probe[0] == NULL || tni_hf_tensor(c, heads[head].probe[0]) != NULL ||
           (heads[head].probe[1] != NULL && tni_hf_tensor(c, heads[head].probe[1]) != NULL);
}

static TnStatus unknown(HfCheckpoint *c, const char *name, size_t n, TnError *err) {
    char there[400] = "";
    for (size_t i = 0; i < TN_COUNT(heads); i++) {
        if (present(c, i))
            snprintf(there + strlen(there), sizeof there - strlen(there), "%s%s", there[0] == '\0' ? "" : ", ", heads[i].name);
    }
    return TN_RAISE(err, TN_ERR_REQUEST, "the checkpoint has no head '%.*s'; choose with --head NAME[,NAME] (build option head) from: %s",
                    (int)TN_MIN(n, (size_t)80), name, there);
}

/* Tensors of heads and poolers that were not asked for. */
static void pass_over_others(HfCheckpoint *c) {
    static const char *const parts[] = {"cls.",           "vil_prediction.", "vil_prediction_gqa.", "vil_binary_prediction.",
                                        "vil_logit.",     "vision_logit.",   "vil_tri_prediction.", "linguisic_logit.",
                                        "bert.t_pooler.", "bert.v_pooler."};
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        for (size_t k = 0; k < TN_COUNT(parts); k++)
            c->tensors[i].used |= strncmp(c->tensors[i].name, parts[k], strlen(parts[k])) == 0;
    }
}

TnStatus tni_hf_vilbert_heads(HfEmit *e, const HfVilbert *v, const HfVilbertStreams *s, const char *names, TnError *err) {
    Heads h = {.e = e, .v = v, .s = s};
    bool done[TN_COUNT(heads)] = {false};
    const char *at = names == NULL ? heads[0].name : names;
    for (bool more = true; more;) {
        const size_t n = strcspn(at, ",");
        size_t i = 0;
        while (i < TN_COUNT(heads) && (strncmp(heads[i].name, at, n) != 0 || heads[i].name[n] != '\0'))
            i++;
        if (i == TN_COUNT(heads) || !present(e->c, i))
            return unknown(e->c, at, n, err);
        if (done[i])
            return TN_RAISE(err, TN_ERR_REQUEST, "--head names '%s' twice", heads[i].name);
        done[i] = true;
        tni_hf_prefix(e, "%s", "");
        tni_hf_output(e, heads[i].name, heads[i].fn(&h, heads[i].name));
        more = at[n] == ',';
        at += n + 1;
    }
    pass_over_others(e->c);
    return TN_OK;
}
