/* SPDX-License-Identifier: Apache-2.0
 *
 * RNN, GRU and LSTM; LinearAttention. */
#include "onnx/express.h"

/* Names of activations, with the parameters they have when the node gives none. In the order of TnCellAct. */
static const struct {
    const char *name;
    float alpha, beta;
} acts[TN_CELL_ACT_COUNT] = {
    {"tanh", 0, 0},          {"sigmoid", 0, 0},         {"relu", 0, 0},       {"affine", 1, 0},
    {"leakyrelu", 0.01f, 0}, {"thresholdedrelu", 1, 0}, {"scaledtanh", 1, 1}, {"hardsigmoid", 0.2f, 0.5f},
    {"elu", 1, 0},           {"softsign", 0, 0},        {"softplus", 0, 0},
};

static bool same_name(TnSpan s, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n && s.n == n; i++) {
        char ch = (char)s.p[i];
        if ((ch >= 'A' && ch <= 'Z' ? ch + 32 : ch) != name[i])
            return false;
    }
    return s.n == n;
}

/* Names are compared without regard to case, as exporters write them in several ways. */
static TnStatus activations(OnnxCall *c, TnRecurrentParams *p) {
    static const uint32_t defaults[TN_CELL_COUNT][3] = {{TN_CELL_TANH, TN_CELL_TANH, TN_CELL_TANH},
                                                        {TN_CELL_SIGMOID, TN_CELL_TANH, TN_CELL_TANH},
                                                        {TN_CELL_SIGMOID, TN_CELL_TANH, TN_CELL_TANH}};
    const uint32_t each = p->kind + 1; /* 1, 2, 3 of a direction */
    const OnnxAttr *a = tni_onnx_attr(c, "activations");
    const float *alpha = NULL, *beta = NULL;
    uint32_t n_alpha = 0, n_beta = 0, next_alpha = 0, next_beta = 0;
    TN_TRY(tni_onnx_attr_floats(c, "activation_alpha", &alpha, &n_alpha));
    TN_TRY(tni_onnx_attr_floats(c, "activation_beta", &beta, &n_beta));
    if (a != NULL && (a->kind != ONNX_ATTR_STRINGS || a->n_strings != each * p->directions))
        return ONNX_BAD(c, "attribute 'activations' has %u names, expected %u", a->n_strings, each * p->directions);
    for (uint32_t i = 0; i < each * p->directions; i++) {
        const uint32_t slot = i / each * 3 + i % each;
        p->act[slot] = defaults[p->kind][i % each];
        if (a != NULL) {
            uint32_t k = 0;
            while (k < TN_CELL_ACT_COUNT && !same_name(a->strings[i], acts[k].name))
                k++;
            if (k == TN_CELL_ACT_COUNT)
                return ONNX_UNSUPPORTED(c, "activation '%.*s' is not known", (int)TN_MIN(a->strings[i].n, (size_t)60),
                                        a->strings[i].n == 0 ? "" : (const char *)a->strings[i].p);
            p->act[slot] = k;
        }
        p->alpha[slot] = acts[p->act[slot]].alpha;
        p->beta[slot] = acts[p->act[slot]].beta;
        if (acts[p->act[slot]].alpha != 0 && next_alpha < n_alpha)
            p->alpha[slot] = alpha[next_alpha++];
        if ((acts[p->act[slot]].beta != 0 || p->act[slot] == TN_CELL_AFFINE) && next_beta < n_beta)
            p->beta[slot] = beta[next_beta++];
    }
    return TN_OK;
}

/* c->arg: TnCellKind. */
TnStatus tni_onnx_convert_recurrent(OnnxCall *c) {
    static const char *const words[] = {"forward", "reverse", "bidirectional"};
    TnRecurrentParams p;
    uint32_t direction = 0;
    int32_t hidden = 0;
    memset(&p, 0, sizeof p);
    p.kind = c->arg;
    TN_TRY(tni_onnx_attr_word(c, "direction", words, TN_COUNT(words), &direction));
    TN_TRY(tni_onnx_attr_i32(c, "hidden_size", 1, INT32_MAX / 8, &hidden));
    if (hidden == 0) { /* optional in the specification: the recurrence weights say it too */
        int64_t dims[TN_MAX_RANK];
        if (!tni_ir_static_dims(c->imp->m, c->scope->target->g, c->in[2], dims) || tni_onnx_in_known(c, 2).rank != 3 || dims[2] < 1 ||
            dims[2] > INT32_MAX / 8)
            return ONNX_UNSUPPORTED(c, "attribute 'hidden_size' is missing and the size of the weights is not known");
        hidden = (int32_t)dims[2];
    }
    p.hidden = (uint32_t)hidden;
    p.directions = direction == 2 ? 2 : 1;
    p.reverse = direction == 1;
    TN_TRY(tni_onnx_attr_bool(c, "layout", &p.batch_first));
    TN_TRY(tni_onnx_attr_f32(c, "clip", &p.clip));
    if (p.kind == TN_CELL_GRU)
        TN_TRY(tni_onnx_attr_bool(c, "linear_before_reset", &p.linear_before_reset));
    if (p.kind == TN_CELL_LSTM)
        TN_TRY(tni_onnx_attr_bool(c, "input_forget", &p.input_forget));
    (void)tni_onnx_attr(c, "output_sequence"); /* older versions: what is left out is not wanted anyway */
    TN_TRY(activations(c, &p));
    return tni_onnx_emit(c, TN_OP_recurrent, &p, c->in, c->n_in);
}

TnStatus tni_onnx_convert_linear_attention(OnnxCall *c) {
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta"};
    TnLinearAttentionParams p;
    int32_t q = 0, kv = 0;
    memset(&p, 0, sizeof p);
    p.rule = TN_LINEAR_GATED_DELTA;
    TN_TRY(tni_onnx_attr_i32(c, "q_num_heads", 1, 65536, &q));
    TN_TRY(tni_onnx_attr_i32(c, "kv_num_heads", 1, 65536, &kv));
    TN_TRY(tni_onnx_attr_word(c, "update_rule", rules, TN_COUNT(rules), &p.rule));
    TN_TRY(tni_onnx_attr_f32(c, "scale", &p.scale));
    (void)tni_onnx_attr(c, "chunk_size"); /* a hint */
    if (q < 1 || kv < 1 || q % kv != 0)
        return ONNX_BAD(c, "q_num_heads is %d and kv_num_heads %d; both are required, the first a multiple of the second", q, kv);
    p.q_heads = (uint32_t)q;
    p.kv_heads = (uint32_t)kv;
    return tni_onnx_emit(c, TN_OP_linear_attention, &p, c->in, c->n_in);
}
