/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation defaults of a checkpoint. transformers takes generation_config.json when there is one; older checkpoints keep the
 * same fields in config.json or in its decoder part. */
#include "hf/vision_encoder_decoder.h"

static TnStatus read_eos(HfConfig c, PlanGeneration *g, TnError *err) {
    json_t *v = c.object == NULL ? NULL : json_object_get(c.object, "eos_token_id");
    if (v == NULL || json_is_null(v))
        return TN_OK;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > PLAN_GENERATION_MAX_EOS)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: 'eos_token_id' lists %zu ids; at most %d are supported", c.where, n, PLAN_GENERATION_MAX_EOS);
    for (size_t i = 0; i < n; i++) {
        json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return TN_RAISE(err, TN_ERR_PARSE, "%s: 'eos_token_id' must be an id or a list of ids", c.where);
        g->eos_id[i] = (int32_t)json_integer_value(id);
    }
    g->n_eos = (uint32_t)n;
    return TN_OK;
}

static TnStatus read_early_stopping(HfConfig c, PlanGeneration *g, TnError *err) {
    json_t *v = c.object == NULL ? NULL : json_object_get(c.object, "early_stopping");
    if (v == NULL || json_is_null(v))
        return TN_OK;
    bool never = json_is_string(v) && strcmp(json_string_value(v), "never") == 0;
    if (!json_is_boolean(v) && !never)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: 'early_stopping' must be true, false or \"never\"", c.where);
    g->early_stopping = never ? PLAN_EARLY_NEVER : json_is_true(v) ? PLAN_EARLY_YES : PLAN_EARLY_NO;
    return TN_OK;
}

static TnStatus read_fields(HfConfig c, PlanGeneration *g, TnError *err) {
    bool sample = false;
    uint32_t min_length = 0, max_new = 0;
    TN_TRY(tni_hf_get_i32(c, "bos_token_id", g->start_id < 0 ? &g->start_id : &(int32_t){0}, err));
    TN_TRY(tni_hf_get_i32(c, "decoder_start_token_id", &g->start_id, err));
    TN_TRY(tni_hf_get_i32(c, "pad_token_id", &g->pad_id, err));
    TN_TRY(read_eos(c, g, err));
    TN_TRY(tni_hf_get_u32(c, "max_length", 2, 1u << 20, &g->max_length, err));
    TN_TRY(tni_hf_get_u32(c, "max_new_tokens", 1, 1u << 20, &max_new, err));
    if (max_new != 0)
        g->max_length = max_new + 1;
    TN_TRY(tni_hf_get_u32(c, "num_beams", 1, 256, &g->num_beams, err));
    TN_TRY(tni_hf_get_f32(c, "length_penalty", &g->length_penalty, err));
    TN_TRY(read_early_stopping(c, g, err));
    TN_TRY(tni_hf_get_u32(c, "min_length", 0, 1u << 20, &min_length, err));
    if (min_length > 1) /* counts the start token; the stop token may come as token number min_length + 1 */
        g->min_new_tokens = min_length - 1;
    TN_TRY(tni_hf_get_u32(c, "min_new_tokens", 0, 1u << 20, &g->min_new_tokens, err));
    TN_TRY(tni_hf_get_u32(c, "no_repeat_ngram_size", 0, 1u << 20, &g->no_repeat_ngram, err));
    TN_TRY(tni_hf_get_f32(c, "repetition_penalty", &g->repetition_penalty, err));
    TN_TRY(tni_hf_get_i32(c, "forced_bos_token_id", &g->forced_bos_id, err));
    TN_TRY(tni_hf_get_i32(c, "forced_eos_token_id", &g->forced_eos_id, err));
    TN_TRY(tni_hf_get_bool(c, "do_sample", &sample, err));
    if (sample)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: do_sample is true; greedy and beam search are supported: set it to false", c.where);
    return TN_OK;
}

TnStatus tni_hf_generation(const HfImport *in, HfConfig decoder, PlanGeneration *g, TnError *err) {
    json_t *json;
    memset(g, 0, sizeof *g);
    g->version = PLAN_GENERATION_VERSION;
    g->bytes = sizeof *g;
    memcpy(g->encoder, "encoder", sizeof "encoder");
    memcpy(g->decoder, "decoder", sizeof "decoder");
    g->start_id = g->pad_id = g->forced_bos_id = g->forced_eos_id = -1;
    g->max_length = 20; /* transformers' default */
    g->num_beams = 1;
    g->length_penalty = 1.0f;
    g->repetition_penalty = 1.0f;
    TN_TRY(tni_hf_json_file(in->dir, "generation_config.json", false, &json, NULL, err));
    TnStatus st = read_fields(decoder, g, err);
    if (st == TN_OK)
        st = read_fields(in->config, g, err);
    if (st == TN_OK)
        st = read_fields((HfConfig){json, "generation_config.json"}, g, err);
    json_decref(json);
    if (st == TN_OK && g->start_id < 0)
        st = TN_RAISE(err, TN_ERR_PARSE, "neither generation_config.json nor config.json has 'decoder_start_token_id'");
    return st;
}
