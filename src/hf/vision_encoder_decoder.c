/* SPDX-License-Identifier: Apache-2.0
 *
 * VisionEncoderDecoderModel: an encoder graph that ends in the cross-attention states, a decoder graph of one step. */
#include "hf/vision_encoder_decoder.h"

#include <stdio.h>

static HfConfig part(HfConfig c, const char *field, const char *where) { return (HfConfig){json_object_get(c.object, field), where}; }

static TnStatus add_graph(HfEmit *e, const char *name) {
    IrGraphId id;
    TN_TRY(tni_ir_graph_add(e->m, name, &id, e->err));
    e->g = e->m->graphs[id];
    return TN_OK;
}

TnStatus tni_hf_vision_encoder_decoder(const HfImport *in, TnError *err) {
    HfVit vit;
    HfTrocr trocr;
    PlanGeneration generation;
    HfConfig encoder = part(in->config, "encoder", "config.json: encoder"), decoder = part(in->config, "decoder", "config.json: decoder");
    if (!json_is_object(encoder.object) || !json_is_object(decoder.object))
        return TN_RAISE(err, TN_ERR_PARSE, "config.json: 'encoder' and 'decoder' must be objects");
    TN_TRY(tni_hf_vit_config(encoder, &vit, err));
    TN_TRY(tni_hf_trocr_config(decoder, vit.hidden, &trocr, err));
    TN_TRY(tni_hf_generation(in, decoder, &generation, err));
    bool tied = trocr.tied;
    TN_TRY(tni_hf_get_bool(in->config, "tie_word_embeddings", &tied, err));
    trocr.tied = trocr.tied || tied;
    generation.vocab_size = trocr.vocab;
    generation.n_layers = trocr.layers;
    generation.max_positions = trocr.max_positions;
    generation.max_length = TN_MIN(generation.max_length, trocr.max_positions + 1);

    HfEmit e = {.m = in->module, .c = in->checkpoint, .err = err};
    TN_TRY(add_graph(&e, "encoder"));
    IrValueId hidden = tni_hf_vit_graph(&e, &vit, "encoder.");
    tni_hf_output(&e, "last_hidden_state", hidden);
    tni_hf_prefix(&e, "%s", "");
    if (trocr.cross_width != vit.hidden)
        hidden = tni_hf_linear(&e, "enc_to_dec_proj", hidden, vit.hidden, trocr.d_model, true);
    tni_hf_trocr_cross(&e, &trocr, "decoder.", hidden);
    TnStatus st = e.st;
    if (st == TN_OK)
        st = add_graph(&e, "decoder");
    if (st != TN_OK)
        return st;
    int64_t tokens = (int64_t)(vit.image_h / vit.patch_h) * (vit.image_w / vit.patch_w) + (vit.distilled ? 2 : 1);
    tni_hf_trocr_step(&e, &trocr, "decoder.", tni_ir_dim_const(in->module, tokens));
    /* The pooler is in every checkpoint, often untrained; generation does not use it. */
    tni_hf_tensor(in->checkpoint, "encoder.pooler.dense.weight");
    tni_hf_tensor(in->checkpoint, "encoder.pooler.dense.bias");
    TN_TRY(tni_hf_finish(&e, in->log));
    return tni_ir_meta_set(in->module, PLAN_GENERATION_KEY, &generation, sizeof generation, err);
}
