/* SPDX-License-Identifier: Apache-2.0
 *
 * ViLBERT (Lu et al. 2019 and 2020): its numbers, its two streams of values, and the parts of the importer. */
#ifndef TENON_HF_VILBERT_H
#define TENON_HF_VILBERT_H

#include "hf/architecture.h"

#define TN_VILBERT_EPS 1e-12f /* of every layer norm, whatever the configuration says: the authors' code */
#define TN_VILBERT_MASK -10000.0f
#define TN_VILBERT_LAYERS 256

typedef struct HfVilbert {
    uint32_t vocab, positions, types, hidden, layers, heads, inner; /* text */
    uint32_t features, v_hidden, v_layers, v_heads, v_inner;        /* picture */
    uint32_t bi_hidden, bi_heads, n_connections;
    /* Connection i stands behind t_at[i] text layers and v_at[i] picture layers; neither list falls. */
    uint32_t t_at[TN_VILBERT_LAYERS], v_at[TN_VILBERT_LAYERS];
    TnUnaryFn act, v_act;
    bool sum;   /* the pooled streams are added, not multiplied */
    bool tasks; /* a task's token behind the first one */
    TnDim batch, tokens, regions;
    TnDim words; /* tokens as layers see them: one more with tasks */
} HfVilbert;

/* The streams: text [batch, words, hidden], picture [batch, regions, v_hidden]; and what is added to the scores of their rows as keys,
 * [batch, 1, 1, words or regions]. */
typedef struct HfVilbertStreams {
    IrValueId text, picture, text_mask, picture_mask;
    IrValueId hidden_regions; /* picture_mask as [batch, regions, 1] */
} HfVilbertStreams;

/* The numbers of the configuration; of the checkpoint only whether there are tasks' embeddings, where the configuration is silent. */
TnStatus tni_hf_vilbert_config(const HfImport *in, HfVilbert *v, TnError *err);
/* Adds the heads of `names` ("a,b"; NULL: vision_logit) as outputs. Marks tensors of all official heads as known. Errors: REQUEST names the
 * heads that this checkpoint has. */
TnStatus tni_hf_vilbert_heads(HfEmit *e, const HfVilbert *v, const HfVilbertStreams *s, const char *names, TnError *err);

#endif
