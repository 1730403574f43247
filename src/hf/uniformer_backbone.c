/* SPDX-License-Identifier: Apache-2.0
 *
 * UniFormer as the backbone of a detector: the maps of all four stages, each normalised, for pictures of any size.
 *
 * In: image [1, channels, h, w], h and w multiples of 32; tensors below "backbone.". Out: maps [1, dim, h / s, w / s] of strides s = 4, 8, 16, 32.
 * Attention of stage 3 is global, in windows of 14 x 14, or both in turns (hybrid); nothing in the tensors tells which. The light networks
 * prune tokens instead, and know one way only. */
#include <stdio.h>

#include "hf/uniformer.h"

#define WINDOW 14u
#define NORM_EPS 1e-6f
#define GLOBAL_EVERY 4u /* hybrid: each fourth block is global */

static TnDim number(HfEmit *e, uint32_t n) {
    return tni_ir_dim_const(e->m, n);
}
static TnDim times(HfEmit *e, TnDim a, TnDim b) {
    return tni_ir_dim_op(e->m, TN_DIM_MUL, a, b);
}
static TnDim windows(HfEmit *e, TnDim a) {
    return tni_ir_dim_op(e->m, TN_DIM_CEILDIV, a, number(e, WINDOW));
}

TnStatus tni_hf_uniformer_backbone_describe(HfCheckpoint *c, const HfFileOptions *o, HfUniformer *u, TnError *err) {
    static const char *const words[] = {"global", "window", "hybrid"}; /* in the order of HfAttention */
    *u = (HfUniformer){.root = "backbone."};
    TN_TRY(tni_hf_uniformer_describe(c, u, err));
    TN_TRY(tni_hf_uniformer_head_dim(u, o->head_dim, err));
    if (u->light && o->attention != NULL)
        return TN_RAISE(err, TN_ERR_REQUEST, "%s: its attention prunes tokens; --attention (build option attention) is for the other networks",
                        u->what);
    if (u->light)
        return TN_OK;
    if (o->attention == NULL)
        return TN_RAISE(err, TN_ERR_REQUEST,
                        "%s: its tensors do not tell how far the attention of stage 3 reaches. Say it with --attention hybrid (released "
                        "detectors: those whose name or config says hybrid or h14), --attention window or --attention global (build option "
                        "attention); a wrong one gives wrong answers without an error",
                        u->what);
    for (size_t i = 0; i < TN_COUNT(words); i++) {
        if (strcmp(o->attention, words[i]) == 0) {
            u->attention = (HfAttention)i;
            return TN_OK;
        }
    }
    return TN_RAISE(err, TN_ERR_ARGUMENT, "--attention '%s' (build option attention): global, window and hybrid are possible", o->attention);
}

/* tokens [1, h * w, dim] -> [windows, 14 * 14, dim]; beyond the map are zeros, which take part as tokens do. */
static IrValueId cut(HfEmit *e, IrValueId x, uint32_t dim, HfMapSize size, HfMapSize many) {
    TnDim zero = number(e, 0), one = number(e, 1), side = number(e, WINDOW), d = number(e, dim);
    TnDim pads[8] = {zero, zero, zero, zero, zero, zero, zero, zero};
    pads[5] = tni_ir_dim_op(e->m, TN_DIM_SUB, times(e, many.h, side), size.h);
    pads[6] = tni_ir_dim_op(e->m, TN_DIM_SUB, times(e, many.w, side), size.w);
    x = tni_hf_reshape(e, "windows/rows", x, (TnDim[]){one, size.h, size.w, d}, 4);
    x = tni_hf_node(e, TN_OP_pad, "windows/pad", &(TnPadParams){.mode = TN_PADDING_CONSTANT},
                    (IrValueId[]){x, tni_hf_dims(e, "windows/pads", pads, 8)}, 2);
    x = tni_hf_reshape(e, "windows/grid", x, (TnDim[]){many.h, side, many.w, side, d}, 5);
    x = tni_hf_transpose(e, "windows/cut", x, (uint8_t[]){0, 2, 1, 3, 4}, 5);
    return tni_hf_reshape(e, "windows", x, (TnDim[]){times(e, many.h, many.w), number(e, WINDOW * WINDOW), d}, 3);
}

/* The way back: [windows, 14 * 14, dim] -> [1, h * w, dim]. */
static IrValueId join(HfEmit *e, IrValueId x, uint32_t dim, HfMapSize size, HfMapSize many) {
    TnDim zero = number(e, 0), one = number(e, 1), side = number(e, WINDOW), d = number(e, dim);
    x = tni_hf_reshape(e, "join/windows", x, (TnDim[]){many.h, many.w, side, side, d}, 5);
    x = tni_hf_transpose(e, "join/grid", x, (uint8_t[]){0, 2, 1, 3, 4}, 5);
    x = tni_hf_reshape(e, "join/rows", x, (TnDim[]){one, times(e, many.h, side), times(e, many.w, side), d}, 4);
    x = tni_hf_slice_dims(e, "join/height", x, 1, zero, size.h);
    x = tni_hf_slice_dims(e, "join/width", x, 2, zero, size.w);
    return tni_hf_reshape(e, "join", x, (TnDim[]){one, times(e, size.h, size.w), d}, 3);
}

static IrValueId window_block(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t stage, HfMapSize size) {
    uint32_t dim = u->dim[stage];
    HfMapSize many = {windows(e, size.h), windows(e, size.w)};
    x = tni_hf_uniformer_tokens(e, u, tni_hf_uniformer_position(e, x, dim), dim, size);
    IrValueId y = cut(e, tni_hf_uniformer_norm(e, x, dim), dim, size, many);
    y = join(e, tni_hf_uniformer_attend(e, u, y, dim, NULL), dim, size, many);
    x = tni_hf_binary(e, "attn/residual", TN_BINARY_add, x, tni_hf_uniformer_scale(e, u, stage, "gamma_1", y));
    y = tni_hf_uniformer_scale(e, u, stage, "gamma_2", tni_hf_uniformer_mlp(e, x, dim));
    return tni_hf_uniformer_map(e, u, tni_hf_binary(e, "mlp/residual", TN_BINARY_add, x, y), dim, size);
}

/* normN over the channels of a stage's map. */
static IrValueId norm(HfEmit *e, const HfUniformer *u, IrValueId x, uint32_t stage, HfMapSize size) {
    uint32_t dim = u->dim[stage];
    char name[16];
    tni_hf_prefix(e, "%sout%u.", u->root, stage + 1);
    IrValueId y = tni_hf_uniformer_tokens(e, u, x, dim, size);
    tni_hf_prefix(e, "%s", u->root);
    snprintf(name, sizeof name, "norm%u", stage + 1);
    y = tni_hf_layer_norm(e, name, y, dim, NORM_EPS);
    tni_hf_prefix(e, "%sout%u.", u->root, stage + 1);
    return tni_hf_uniformer_map(e, u, y, dim, size);
}

static bool is_window(HfAttention attention, uint32_t stage, uint32_t block) {
    return stage == 2 && (attention == HF_ATTENTION_WINDOW || (attention == HF_ATTENTION_HYBRID && (block + 1) % GLOBAL_EVERY != 0));
}

void tni_hf_uniformer_backbone(HfEmit *e, const HfUniformer *u, IrValueId image, HfMapSize size, IrValueId maps[4], HfMapSize sizes[4]) {
    IrValueId x = image;
    for (uint32_t s = 0; s < 4; s++) {
        x = tni_hf_uniformer_embed(e, u, s, x, &size);
        sizes[s] = size;
        if (s == 2 && u->light) { /* both last stages at once: class token and scores go through them */
            x = tni_hf_uniformer_light(e, u, x, &size, &maps[2]);
            sizes[3] = size;
            maps[3] = norm(e, u, x, 3, sizes[3]);
            maps[2] = norm(e, u, maps[2], 2, sizes[2]);
            return;
        }
        for (uint32_t i = 0; i < u->depth[s]; i++) {
            tni_hf_prefix(e, "%sblocks%u.%u.", u->root, s + 1, i);
            if (s < 2)
                x = tni_hf_uniformer_local(e, u, x, s);
            else
                x = is_window(u->attention, s, i) ? window_block(e, u, x, s, size) : tni_hf_uniformer_global(e, u, x, s, size);
        }
        maps[s] = norm(e, u, x, s, size);
    }
}
