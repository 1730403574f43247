/* SPDX-License-Identifier: Apache-2.0
 *
 * The feature pyramid: laterals (1 x 1), sums from the coarse to the fine (nearest upsampling, twofold because sides are multiples of 32),
 * 3 x 3 convolutions, and a fifth level that takes every second place of the fourth. */
#include <stdio.h>

#include "hf/detector.h"

#define BN_EPS 1e-5f

static IrValueId plain_conv(HfEmit *e, const char *node, const char *name, IrValueId x, uint32_t in, uint32_t out, uint32_t kernel, bool bias) {
    char part[160];
    TnConvParams p = {.n_spatial = 2, .group = 1, .dilation = {1, 1, 1}, .stride = {1, 1, 1}};
    p.kernel[0] = p.kernel[1] = (int32_t)kernel;
    p.kernel[2] = 1;
    for (size_t i = 0; i < 4; i++)
        p.pads[i] = (int32_t)(kernel / 2);
    snprintf(part, sizeof part, "%s.weight", name);
    IrValueId w = tni_hf_weight(e, part, 4, (int64_t[]){out, in, kernel, kernel}), b = TN_NO_VALUE;
    snprintf(part, sizeof part, "%s.bias", name);
    if (bias)
        b = tni_hf_weight(e, part, 1, (int64_t[]){out});
    return tni_hf_node(e, TN_OP_conv, node, &p, (IrValueId[]){x, w, b}, bias ? 3 : 2);
}

IrValueId tni_hf_detector_conv(HfEmit *e, const char *node, const char *name, IrValueId x, uint32_t in, uint32_t out, uint32_t kernel) {
    return plain_conv(e, node, name, x, in, out, kernel, true);
}

IrValueId tni_hf_detector_conv_module(HfEmit *e, const char *name, IrValueId x, uint32_t in, uint32_t out, uint32_t kernel, bool relu) {
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    char part[192], full[400];
    snprintf(part, sizeof part, "%s.bn.weight", name);
    bool norm = tni_hf_has(e, part);
    snprintf(part, sizeof part, "%s.conv", name);
    x = plain_conv(e, part, part, x, in, out, kernel, !norm);
    if (norm) {
        IrValueId v[5] = {x};
        for (size_t i = 0; i < TN_COUNT(parts); i++) {
            snprintf(part, sizeof part, "%s.bn.%s", name, parts[i]);
            v[i + 1] = tni_hf_weight(e, part, 1, (int64_t[]){out});
        }
        snprintf(full, sizeof full, "%s%s.bn.num_batches_tracked", e->prefix, name); /* of training */
        tni_hf_tensor(e->c, full);
        snprintf(part, sizeof part, "%s.bn", name);
        x = tni_hf_node(e, TN_OP_batch_norm, part, &(TnNormParams){.epsilon = BN_EPS, .axis = 1}, v, 5);
    }
    if (!relu)
        return x;
    snprintf(part, sizeof part, "%s.relu", name);
    return tni_hf_unary(e, part, TN_UNARY_relu, x);
}

static IrValueId twice(HfEmit *e, const char *name, IrValueId x) {
    int64_t four = 4;
    IrValueId in[3] = {x, TN_NO_VALUE, tni_hf_const(e, name, 1, &four, (float[]){1, 1, 2, 2})};
    char part[64];
    TnResizeParams p = {.mode = TN_RESIZE_NEAREST, .coord = TN_COORD_ASYMMETRIC, .nearest = TN_NEAREST_FLOOR, .cubic_a = -0.75f};
    snprintf(part, sizeof part, "%.48s/nearest", name);
    return tni_hf_node(e, TN_OP_resize, part, &p, in, 3);
}

void tni_hf_fpn(HfDetector *d, const IrValueId maps[4], const uint32_t widths[4], const TnDim heights[4], const TnDim row[4]) {
    HfEmit *e = d->e;
    IrValueId lateral[4];
    char name[64];
    tni_hf_prefix(e, "%s", "neck.");
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "lateral_convs.%u", i);
        lateral[i] = tni_hf_detector_conv_module(e, name, maps[i], widths[i], d->width, 1, false);
    }
    for (uint32_t i = 3; i > 0; i--) {
        snprintf(name, sizeof name, "top_down.%u", i);
        IrValueId up = twice(e, name, lateral[i]);
        snprintf(name, sizeof name, "top_down.%u/sum", i);
        lateral[i - 1] = tni_hf_binary(e, name, TN_BINARY_add, lateral[i - 1], up);
    }
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "fpn_convs.%u", i);
        d->levels[i] = (HfLevel){tni_hf_detector_conv_module(e, name, lateral[i], d->width, d->width, 3, false), heights[i], row[i], 4u << i};
    }
    TnPoolParams p = {.kind = TN_POOL_MAX, .n_spatial = 2, .kernel = {1, 1, 1}, .stride = {2, 2, 1}, .dilation = {1, 1, 1}};
    TnDim two = tni_ir_dim_const(e->m, 2);
    d->levels[4] = (HfLevel){tni_hf_node(e, TN_OP_pool, "level.4", &p, &d->levels[3].x, 1), tni_ir_dim_op(e->m, TN_DIM_CEILDIV, heights[3], two),
                             tni_ir_dim_op(e->m, TN_DIM_CEILDIV, row[3], two), 64};
}
