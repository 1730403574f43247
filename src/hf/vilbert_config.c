/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON configuration of ViLBERT (bert_base_6layer_6conect.json and its kin) to numbers. In: fields as the authors' BertConfig has them,
 * with its defaults. What changes only training is passed over; what changes the network and is not built here is refused by name. */
#include "hf/vilbert.h"

#include <stdio.h>

/* "v_biattention_id": whole numbers below `layers` that do not fall. */
static TnStatus read_places(HfConfig c, const char *field, uint32_t layers, uint32_t *out, uint32_t *n, TnError *err) {
    json_t *list = json_object_get(c.object, field);
    if (list == NULL)
        return TN_OK;
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > TN_VILBERT_LAYERS)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be a list of 1 to %d layer numbers", c.where, field, TN_VILBERT_LAYERS);
    *n = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; i < *n; i++) {
        json_t *x = json_array_get(list, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) >= layers)
            return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s'[%u] must be a whole number from 0 to %u: there are %u layers", c.where, field, i,
                            layers - 1, layers);
        out[i] = (uint32_t)json_integer_value(x);
        if (i > 0 && out[i] < out[i - 1])
            return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: '%s' falls from %u to %u; connections in the order of layers are supported",
                            c.where, field, out[i - 1], out[i]);
    }
    return TN_OK;
}

static TnStatus read_connections(HfConfig c, HfVilbert *v, TnError *err) {
    uint32_t n = 2;
    v->n_connections = 2;
    v->v_at[1] = 1;
    v->t_at[0] = 10;
    v->t_at[1] = 11;
    TN_TRY(read_places(c, "v_biattention_id", v->v_layers, v->v_at, &v->n_connections, err));
    TN_TRY(read_places(c, "t_biattention_id", v->layers, v->t_at, &n, err));
    if (n != v->n_connections)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: 'v_biattention_id' has %u numbers and 't_biattention_id' %u; they are pairs", c.where,
                        v->n_connections, n);
    if (v->v_at[n - 1] >= v->v_layers || v->t_at[n - 1] >= v->layers) /* the defaults, of a smaller network */
        return TN_RAISE(err, TN_ERR_PARSE, "%s: 'v_biattention_id' and 't_biattention_id' are missing; give them for %u and %u layers",
                        c.where, v->v_layers, v->layers);
    return TN_OK;
}

/* Settings that must have one value here. */
static TnStatus refuse_others(HfConfig c, TnError *err) {
    static const struct {
        const char *field;
        bool only;
        const char *why;
    } rows[] = {
        {"with_coattention", true, "two streams that never meet are not built"},
        {"dynamic_attention", false, "gates on the picture's queries and keys (dyLinear_q, dyLinear_k) are not built"},
        {"visualization", false, "attention maps are not among the outputs; the answers are the same without"},
        {"in_batch_pairs", false, "every phrase with every picture of a batch is a way to train"},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        bool value = rows[i].only;
        TN_TRY(tni_hf_get_bool(c, rows[i].field, &value, err));
        if (value != rows[i].only)
            return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: '%s' is %s; only %s is supported: %s", c.where, rows[i].field,
                            value ? "true" : "false", rows[i].only ? "true" : "false", rows[i].why);
    }
    return TN_OK;
}

static TnStatus read_choices(const HfImport *in, HfVilbert *v, TnError *err) {
    const HfConfig c = in->config;
    const char *act = "gelu", *v_act = "gelu", *fusion = "mul", *model = "bert";
    bool fast = false; /* one phrase for many pictures: with one phrase a picture, as here, it does nothing */
    char where[160];
    TN_TRY(tni_hf_get_string(c, "hidden_act", &act, err));
    TN_TRY(tni_hf_get_string(c, "v_hidden_act", &v_act, err));
    TN_TRY(tni_hf_get_string(c, "fusion_method", &fusion, err));
    TN_TRY(tni_hf_get_string(c, "model", &model, err));
    TN_TRY(tni_hf_get_bool(c, "fast_mode", &fast, err));
    snprintf(where, sizeof where, "%.120s: 'hidden_act'", c.where);
    TN_TRY(tni_hf_activation(where, act, &v->act, err));
    snprintf(where, sizeof where, "%.120s: 'v_hidden_act'", c.where);
    TN_TRY(tni_hf_activation(where, v_act, &v->v_act, err));
    if (strcmp(fusion, "mul") != 0 && strcmp(fusion, "sum") != 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: 'fusion_method' is '%s'; there are mul and sum", c.where, fusion);
    v->sum = strcmp(fusion, "sum") == 0;
    if (strcmp(model, "bert") != 0 && strcmp(model, "roberta") != 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: 'model' is '%s'; there are bert and roberta", c.where, model);
    /* The authors' scripts set this from the command line, so that the file is silent about it. */
    v->tasks = tni_hf_tensor(in->checkpoint, "bert.embeddings.task_embeddings.weight") != NULL;
    TN_TRY(tni_hf_get_bool(c, "task_specific_tokens", &v->tasks, err));
    /* The authors' roberta has the embeddings of bert: their positions from 2 are computed and thrown away, and a task has no way in. */
    if (v->tasks && strcmp(model, "roberta") == 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: 'task_specific_tokens' with 'model' roberta fails in the authors' code too", c.where);
    return TN_OK;
}

static TnStatus check_heads(HfConfig c, const char *width, uint32_t w, const char *heads, uint32_t h, TnError *err) {
    return w % h == 0 ? TN_OK : TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' %u must be a multiple of '%s' %u", c.where, width, w, heads, h);
}

TnStatus tni_hf_vilbert_config(const HfImport *in, HfVilbert *v, TnError *err) {
    const HfConfig c = in->config;
    const struct {
        const char *field;
        uint32_t max, *out;
    } numbers[] = {
        {"vocab_size", 10000000, &v->vocab},
        {"max_position_embeddings", 1u << 20, &v->positions},
        {"type_vocab_size", 1024, &v->types},
        {"hidden_size", 65536, &v->hidden},
        {"num_hidden_layers", TN_VILBERT_LAYERS, &v->layers},
        {"num_attention_heads", 1024, &v->heads},
        {"intermediate_size", 1u << 20, &v->inner},
        {"v_feature_size", 1u << 20, &v->features},
        {"v_hidden_size", 65536, &v->v_hidden},
        {"v_num_hidden_layers", TN_VILBERT_LAYERS, &v->v_layers},
        {"v_num_attention_heads", 1024, &v->v_heads},
        {"v_intermediate_size", 1u << 20, &v->v_inner},
        {"bi_hidden_size", 65536, &v->bi_hidden},
        {"bi_num_attention_heads", 1024, &v->bi_heads},
    };
    *v = (HfVilbert){.positions = 512,
                     .types = 2,
                     .hidden = 768,
                     .layers = 12,
                     .heads = 12,
                     .inner = 3072,
                     .features = 2048,
                     .v_hidden = 768,
                     .v_layers = 3,
                     .v_heads = 12,
                     .v_inner = 3072,
                     .bi_hidden = 1024,
                     .bi_heads = 16};
    for (size_t i = 0; i < TN_COUNT(numbers); i++)
        TN_TRY(tni_hf_get_u32(c, numbers[i].field, 1, numbers[i].max, numbers[i].out, err));
    if (v->vocab == 0)
        return TN_RAISE(err, TN_ERR_PARSE,
                        "%s: 'vocab_size' is missing: this is no configuration of ViLBERT, as bert_base_6layer_6conect.json is one",
                        c.where);
    TN_TRY(check_heads(c, "hidden_size", v->hidden, "num_attention_heads", v->heads, err));
    TN_TRY(check_heads(c, "v_hidden_size", v->v_hidden, "v_num_attention_heads", v->v_heads, err));
    TN_TRY(check_heads(c, "bi_hidden_size", v->bi_hidden, "bi_num_attention_heads", v->bi_heads, err));
    TN_TRY(refuse_others(c, err));
    TN_TRY(read_choices(in, v, err));
    return read_connections(c, v, err);
}
