/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains of transposes and reshapes as one permutation of the smallest pieces ("atoms") of the dims. */
#ifndef TENON_PASSES_CHAIN_H
#define TENON_PASSES_CHAIN_H

#include "passes/match.h"

#define CHAIN_ATOMS 16
typedef struct LayoutChain {
    IrValueId source;          /* the chain's beginning */
    uint32_t n;                /* atoms */
    TnDim extent[CHAIN_ATOMS]; /* in the order of the result */
    uint8_t at[CHAIN_ATOMS];   /* source order: piece i of the source is atom at[i] of the result */
    uint32_t transposes;       /* nodes on the way that move data */
    bool view;                 /* the source's elements are in the result's order: a reshape is enough */
} LayoutChain;

/* Walks up from v through transposes, reshapes and identities to the furthest value from which v is one permutation away; prefers one from
 * which it is none although transposes lie between. false: v is made by something else. */
bool tni_pass_layout_chain(const Rewriter *r, IrValueId v, LayoutChain *out);
/* Builds v from out->source with at most one transpose. */
IrValueId tni_pass_layout_build(Rewriter *r, const char *name, IrValueId v, const LayoutChain *c);

#endif
