/* SPDX-License-Identifier: Apache-2.0
 *
 * UniFormer (Li et al. 2022) for classification: the network as its tensors tell it, and the parts that both kinds share. */
#ifndef TENON_HF_UNIFORMER_H
#define TENON_HF_UNIFORMER_H

#include "hf/architecture.h"

typedef struct HfUniformer {
    uint32_t depth[4], dim[4], head_dim;
    uint32_t classes, channels, image;
    bool stem;  /* patch_embed1 is two convolutions of stride 2 */
    bool light; /* with class token and token pruning (uniformer_xxs, uniformer_xs) */
    bool dense; /* token labelling: an auxiliary head */
    bool qkv_bias, scale[2]; /* layer scale in stages 1 and 2, in stages 3 and 4. Of one block means of all: a tensor that lacks is an error */
    char what[160]; /* for messages */
} HfUniformer;

/* x [batch, channels, side, side] -> the next stage's map. side: of x; gets the result's. */
IrValueId tni_hf_uniformer_embed(HfEmit *e, const HfUniformer *u, uint32_t stage, IrValueId x, uint32_t *side);
/* x += dw3x3(x), in the block that the prefix names. */
IrValueId tni_hf_uniformer_position(HfEmit *e, IrValueId x, uint32_t dim);
/* [batch, dim, side, side] <-> [batch, side * side, dim]. */
IrValueId tni_hf_uniformer_tokens(HfEmit *e, IrValueId x, uint32_t dim, uint32_t side);
IrValueId tni_hf_uniformer_map(HfEmit *e, IrValueId x, uint32_t dim, uint32_t side);
/* proj(attention(norm1(x))); *qkv (may be NULL) gets the merged projection [batch, tokens, 3 dim]. */
IrValueId tni_hf_uniformer_attend(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, IrValueId *qkv);
/* mlp(norm2(x)). */
IrValueId tni_hf_uniformer_mlp(HfEmit *e, IrValueId x, uint32_t dim);
/* y * gamma, where the network has layer scale. stage: from 0. */
IrValueId tni_hf_uniformer_scale(HfEmit *e, const HfUniformer *u, uint32_t stage, const char *gamma, IrValueId y);
/* Blocks of stages 3 and 4 with pruning: x, the map behind patch_embed3 -> the last map. side: of x; gets the result's. */
IrValueId tni_hf_uniformer_light(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t *side);

#endif
