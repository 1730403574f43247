/* SPDX-License-Identifier: Apache-2.0
 *
 * UniFormer (Li et al. 2022): the network as its tensors tell it, and the parts that its kinds share: classification (uniformer.c), the
 * light networks' stages 3 and 4 (uniformer_light.c), and the backbone of detectors (uniformer_backbone.c). */
#ifndef TENON_HF_UNIFORMER_H
#define TENON_HF_UNIFORMER_H

#include "hf/architecture.h"

/* How far attention of stage 3 reaches. */
typedef enum HfAttention { HF_ATTENTION_GLOBAL, HF_ATTENTION_WINDOW, HF_ATTENTION_HYBRID } HfAttention;

typedef struct HfUniformer {
    HfAttention attention;
    const char *root; /* before every tensor's name: "" or "backbone." */
    TnDim batch;
    uint32_t depth[4], dim[4], head_dim;
    uint32_t classes, channels, image;
    bool stem;  /* patch_embed1 is two convolutions of stride 2 */
    bool light; /* with class token and token pruning (uniformer_xxs, uniformer_xs) */
    bool dense; /* token labelling: an auxiliary head */
    bool qkv_bias, scale[2]; /* layer scale in stages 1 and 2, in stages 3 and 4. Of one block means of all: a tensor that lacks is an error */
    char what[160]; /* for messages */
} HfUniformer;

/* Height and width of a map. */
typedef struct HfMapSize {
    TnDim h, w;
} HfMapSize;

/* What the tensors below u->root (which is set) tell: all but image, batch and head_dim. TN_ERR_DATA: a stage is missing. */
TnStatus tni_hf_uniformer_describe(HfCheckpoint *c, HfUniformer *u, TnError *err);
/* head_dim: asked (0: not), or what an official network of these shapes has; TN_ERR_REQUEST where two of them differ, or it does not divide the
 * widths. */
TnStatus tni_hf_uniformer_head_dim(HfUniformer *u, uint32_t asked, TnError *err);
/* Is there a tensor of that name, or its size along an axis (0: there is none)? Does not count as use. */
bool tni_hf_uniformer_has(HfCheckpoint *c, const char *name);
uint32_t tni_hf_uniformer_size(HfCheckpoint *c, const char *name, int32_t axis);

/* x [batch, channels, h, w] -> the next stage's map. size: of x; gets the result's. */
IrValueId tni_hf_uniformer_embed(HfEmit *e, const HfUniformer *u, uint32_t stage, IrValueId x, HfMapSize *size);
/* A whole block of stage 0 or 1: convolutions; of stage 2 or 3: attention over all tokens. The prefix names it. */
IrValueId tni_hf_uniformer_local(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t stage);
IrValueId tni_hf_uniformer_global(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t stage, HfMapSize size);
/* x += dw3x3(x), in the block that the prefix names. */
IrValueId tni_hf_uniformer_position(HfEmit *e, IrValueId x, uint32_t dim);
/* [batch, dim, h, w] <-> [batch, h * w, dim]. */
IrValueId tni_hf_uniformer_tokens(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, HfMapSize size);
IrValueId tni_hf_uniformer_map(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, HfMapSize size);
/* norm1(x). */
IrValueId tni_hf_uniformer_norm(HfEmit *e, IrValueId x, uint32_t dim);
/* proj(attention(x)), x [lines, tokens, dim] normalised; *qkv (may be NULL) gets the merged projection [lines, tokens, 3 dim]. */
IrValueId tni_hf_uniformer_attend(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t dim, IrValueId *qkv);
/* mlp(norm2(x)). */
IrValueId tni_hf_uniformer_mlp(HfEmit *e, IrValueId x, uint32_t dim);
/* y * gamma, where the network has layer scale. stage: from 0. */
IrValueId tni_hf_uniformer_scale(HfEmit *e, const HfUniformer *u, uint32_t stage, const char *gamma, IrValueId y);
/* Blocks of stages 3 and 4 with pruning: x, the map behind patch_embed3 -> the last map. size: of x; gets the result's. *third (may be NULL)
 * gets the map behind stage 3. */
IrValueId tni_hf_uniformer_light(HfEmit *e, const HfUniformer *u, IrValueId x, HfMapSize *size, IrValueId *third);

/* The backbone of a detector: image [1, channels, h, w] with sides divisible by 32 -> maps of strides 4, 8, 16, 32, each normalised. */
TnStatus tni_hf_uniformer_backbone_describe(HfCheckpoint *c, const HfFileOptions *o, HfUniformer *u, TnError *err);
void tni_hf_uniformer_backbone(HfEmit *e, const HfUniformer *u, IrValueId image, HfMapSize size, IrValueId maps[4], HfMapSize sizes[4]);

#endif
