/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of VisionEncoderDecoderModel: configurations read from config.json, and the two graphs. */
#ifndef TENON_HF_VISION_ENCODER_DECODER_H
#define TENON_HF_VISION_ENCODER_DECODER_H

#include "hf/architecture.h"
#include "plan/generation.h"

/* ViTModel or DeiTModel (Dosovitskiy et al. 2021; Touvron et al. 2021): pre-norm encoder on image patches. */
typedef struct HfVit {
    uint32_t hidden, layers, heads, inner, channels, patch_h, patch_w, image_h, image_w;
    float eps;
    bool qkv_bias, distilled;
    TnUnaryFn act;
} HfVit;
TnStatus tni_hf_vit_config(HfConfig c, HfVit *out, TnError *err);
/* Adds input pixel_values [batch, channels, image_h, image_w]; returns last_hidden_state [batch, tokens, hidden]. Tensors below `prefix`. */
IrValueId tni_hf_vit_graph(HfEmit *e, const HfVit *v, const char *prefix);

/* TrOCRForCausalLM (Li et al. 2021): post-norm decoder with cross-attention. */
typedef struct HfTrocr {
    uint32_t d_model, layers, heads, inner, vocab, max_positions, cross_width;
    uint32_t pad_id;
    bool scale_embedding, learned_positions, layernorm_embedding, tied;
    TnUnaryFn act;
} HfTrocr;
TnStatus tni_hf_trocr_config(HfConfig c, uint32_t encoder_width, HfTrocr *out, TnError *err);
/* In the encoder's graph: projects hidden [batch, tokens, cross_width] to the cross-attention states of all layers. */
void tni_hf_trocr_cross(HfEmit *e, const HfTrocr *d, const char *prefix, IrValueId hidden);
/* The one-token decoder graph with its control inputs and states (plan/generation.h). cross_tokens: S as a dim. */
void tni_hf_trocr_step(HfEmit *e, const HfTrocr *d, const char *prefix, TnDim cross_tokens);

/* Generation defaults: generation_config.json over config.json over its decoder part, as transformers reads them. */
TnStatus tni_hf_generation(const HfImport *in, HfConfig decoder, PlanGeneration *g, TnError *err);

#endif
