/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints of the official UniFormer detectors (object_detection of its repository, mmdetection 2.11): Mask R-CNN and Cascade Mask R-CNN, and
 * either without masks. One graph:
 *
 *   image f32 [1, 3, height, width], normalised -> boxes f32 [n, 4], scores f32 [n], labels i64 [n], masks f32 [n, 28, 28]; n <= 100, best first.
 *
 * Widths, depths, numbers of layers and classes are the tensors'; the settings are those of the official configurations. */
#include <stdio.h>

#include "hf/detector.h"
#include "hf/uniformer.h"

#define SCORE_THRESHOLD 0.05f
#define OVERLAP 0.5f
#define DETECTIONS 100
#define BOX_SIDE 7
#define MASK_SIDE 14
#define DIVISOR 32

static TnDim number(HfEmit *e, uint32_t n) {
    return tni_ir_dim_const(e->m, n);
}

/* Layers PREFIX0, PREFIX1, ...: up to the last one that has a tensor. */
static uint32_t layers_of(const HfCheckpoint *c, const char *root, const char *prefix) {
    uint32_t n = 0, i;
    char full[160], dot;
    int len = snprintf(full, sizeof full, "%s%s", root, prefix);
    for (uint32_t k = 0; k < c->n_tensors; k++) {
        if (strncmp(c->tensors[k].name, full, (size_t)len) == 0 && sscanf(c->tensors[k].name + len, "%3u%c", &i, &dot) == 2 && dot == '.')
            n = TN_MAX(n, i + 1);
    }
    return TN_MIN(n, (uint32_t)HF_MAX_LAYERS);
}

/* Size along the first axis of a tensor below the emitter's prefix; 0: there is none. */
static uint32_t out_of(const HfEmit *e, const char *fmt, uint32_t i) {
    char part[64], full[256];
    snprintf(part, sizeof part, fmt, i);
    snprintf(full, sizeof full, "%s%s", e->prefix, part);
    return tni_hf_uniformer_size(e->c, full, 0);
}

/* ---- box heads ---- */

/* "roi_head.bbox_head." or "roi_head.bbox_head.1." */
static void head_prefix(const HfDetector *d, const char *what, uint32_t n, uint32_t i) {
    if (n == 1)
        tni_hf_prefix(d->e, "roi_head.%s.", what);
    else
        tni_hf_prefix(d->e, "roi_head.%s.%u.", what, i);
}

/* Class logits [n, C + 1] and deltas [n, 4] or [n, C, 4] of proposals. */
static void box_head(HfDetector *d, uint32_t stage, IrValueId rois, IrValueId *logits, IrValueId *deltas, bool *by_class) {
    HfEmit *e = d->e;
    char name[64];
    head_prefix(d, "bbox_head", d->stages, stage);
    IrValueId x = tni_hf_boxes_align(d, "align", rois, BOX_SIDE);
    uint32_t width = d->width, n = layers_of(e->c, e->prefix, "shared_convs.");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t out = out_of(e, "shared_convs.%u.conv.weight", i);
        snprintf(name, sizeof name, "shared_convs.%u", i);
        x = tni_hf_detector_conv_module(e, name, x, width, out == 0 ? width : out, 3, true);
        width = out == 0 ? width : out;
    }
    x = tni_hf_node(e, TN_OP_reshape, "flat", &(TnReshapeParams){.kind = TN_RESHAPE_FLATTEN, .axis = 1}, &x, 1);
    width *= BOX_SIDE * BOX_SIDE;
    n = layers_of(e->c, e->prefix, "shared_fcs.");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t out = out_of(e, "shared_fcs.%u.weight", i);
        snprintf(name, sizeof name, "shared_fcs.%u", i);
        x = tni_hf_linear(e, name, x, width, out == 0 ? width : out, true);
        snprintf(name, sizeof name, "shared_fcs.%u.relu", i);
        x = tni_hf_unary(e, name, TN_UNARY_relu, x);
        width = out == 0 ? width : out;
    }
    *by_class = d->classes > 1 && out_of(e, "fc_reg.weight", 0) != 4;
    *logits = tni_hf_linear(e, "fc_cls", x, width, (int64_t)d->classes + 1, true);
    *deltas = tni_hf_linear(e, "fc_reg", x, width, *by_class ? 4 * (int64_t)d->classes : 4, true);
    if (*by_class)
        *deltas = tni_hf_reshape_to(e, "deltas", *deltas, (int64_t[]){-1, d->classes, 4}, 3);
}

static const float *std_of(uint32_t stage) {
    static const float rows[HF_STAGES][4] = {{0.1f, 0.1f, 0.2f, 0.2f}, {0.05f, 0.05f, 0.1f, 0.1f}, {0.033f, 0.033f, 0.067f, 0.067f}};
    return rows[stage];
}

/* The regions of the next stage: moved by the deltas of the likeliest class. */
static IrValueId refine(HfDetector *d, uint32_t stage, IrValueId rois, IrValueId logits, IrValueId deltas, bool by_class) {
    HfEmit *e = d->e;
    if (by_class) {
        IrValueId label = tni_hf_columns(e, "refine/classes", logits, 2, 0, d->classes);
        label = tni_hf_node(e, TN_OP_arg_reduce, "refine/label", &(TnArgReduceParams){.axis = 1, .is_max = 1, .keepdims = 1}, &label, 1);
        deltas = tni_hf_node(e, TN_OP_gather_nd, "refine/deltas", &(TnGatherNdParams){.batch_dims = 1}, (IrValueId[]){deltas, label}, 2);
    }
    return tni_hf_boxes_decode(d, "refine", rois, deltas, 2, std_of(stage));
}

/* Probabilities [n, C] and boxes [n, 4] or [n, C, 4] of proposals. */
static void classify(HfDetector *d, IrValueId rois, IrValueId *scores, IrValueId *boxes, bool *by_class) {
    HfEmit *e = d->e;
    IrValueId logits, sum = TN_NO_VALUE, deltas = TN_NO_VALUE, flat = TN_NO_VALUE;
    for (uint32_t i = 0; i < d->stages; i++) {
        box_head(d, i, rois, &logits, &deltas, by_class);
        sum = i == 0 ? logits : tni_hf_binary(e, "logits/sum", TN_BINARY_add, sum, logits);
        if (i + 1 < d->stages)
            rois = refine(d, i, rois, logits, deltas, *by_class);
    }
    tni_hf_prefix(e, "%s", "roi_head.");
    if (d->stages > 1)
        sum = tni_hf_binary(e, "logits/mean", TN_BINARY_div, sum, tni_hf_number(e, (float)d->stages));
    *scores = tni_hf_node(e, TN_OP_softmax, "softmax", &(TnSoftmaxParams){.axis = 1, .scale = 1}, &sum, 1);
    *scores = tni_hf_columns(e, "probabilities", *scores, 2, 0, d->classes);
    if (d->stages == 1) {
        /* A proposal whose lower edge is the upper edge of the image is no proposal: there it marks padding of a batch. */
        flat = tni_hf_binary(e, "flat", TN_BINARY_equal, tni_hf_columns(e, "bottom", rois, 2, 3, 4), tni_hf_number(e, 0));
        *scores = tni_hf_node(e, TN_OP_where, "probabilities/real", NULL, (IrValueId[]){flat, tni_hf_number(e, 0), *scores}, 3);
    }
    if (*by_class)
        rois = tni_hf_reshape_to(e, "rois/classes", rois, (int64_t[]){-1, 1, 4}, 3);
    *boxes = tni_hf_boxes_decode(d, "decode", rois, deltas, *by_class ? 3 : 2, std_of(d->stages - 1));
}

typedef struct Detections {
    IrValueId boxes, scores, labels, masks;
} Detections;

/* Every class of every proposal whose score is above the threshold, suppressed class by class, the best of what remains. */
static Detections detect(HfDetector *d, IrValueId rois) {
    HfEmit *e = d->e;
    IrValueId scores, boxes;
    bool by_class = false;
    classify(d, rois, &scores, &boxes, &by_class);
    IrValueId above = tni_hf_binary(e, "above", TN_BINARY_greater, scores, tni_hf_number(e, d->score_threshold));
    IrValueId where = tni_hf_transpose(e, "candidates", tni_hf_node(e, TN_OP_nonzero, "candidates/axes", NULL, &above, 1), (uint8_t[]){1, 0}, 2);
    IrValueId label = tni_hf_columns(e, "candidates/label", where, 2, 1, 2);
    TnGatherNdParams p = {0};
    scores = tni_hf_node(e, TN_OP_gather_nd, "candidates/scores", &p, (IrValueId[]){scores, where}, 2);
    if (!by_class)
        where = tni_hf_columns(e, "candidates/proposal", where, 2, 0, 1);
    boxes = tni_hf_node(e, TN_OP_gather_nd, "candidates/boxes", &p, (IrValueId[]){boxes, where}, 2);
    IrValueId group = tni_hf_node(e, TN_OP_cast, "candidates/group", &(TnCastParams){.to = TN_F32, .saturate = 1}, &label, 1);
    IrValueId keep = tni_hf_boxes_nms(d, "keep", boxes, scores, group, OVERLAP, DETECTIONS);
    label = tni_hf_reshape_to(e, "candidates/labels", label, (int64_t[]){-1}, 1);
    return (Detections){tni_hf_rows(e, "detected/boxes", boxes, keep), tni_hf_rows(e, "detected/scores", scores, keep),
                        tni_hf_rows(e, "detected/labels", label, keep), TN_NO_VALUE};
}

/* ---- mask heads ---- */

/* The transposed convolution of kernel and stride 2: no two places overlap, so it is a product for each place, four results each. */
static IrValueId upsample(HfEmit *e, IrValueId x, uint32_t in, uint32_t out) {
    IrValueId w = tni_hf_weight(e, "upsample.weight", 4, (int64_t[]){in, out, 2, 2}), b = tni_hf_weight(e, "upsample.bias", 1, (int64_t[]){out});
    TnConvParams p = {.n_spatial = 2, .group = 1, .kernel = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    w = tni_hf_transpose(e, "upsample/outputs", w, (uint8_t[]){1, 2, 3, 0}, 4);
    w = tni_hf_reshape_to(e, "upsample/weight", w, (int64_t[]){4 * (int64_t)out, in, 1, 1}, 4);
    b = tni_hf_expand(e, "upsample/bias/four", tni_hf_reshape_to(e, "upsample/bias/one", b, (int64_t[]){out, 1}, 2), (TnDim[]){number(e, out), number(e, 4)}, 2);
    b = tni_hf_reshape_to(e, "upsample/bias", b, (int64_t[]){4 * (int64_t)out}, 1);
    x = tni_hf_node(e, TN_OP_conv, "upsample", &p, (IrValueId[]){x, w, b}, 3);
    x = tni_hf_unary(e, "upsample/relu", TN_UNARY_relu, x);
    x = tni_hf_reshape_to(e, "upsample/fours", x, (int64_t[]){-1, out, 2, 2, MASK_SIDE, MASK_SIDE}, 6);
    return tni_hf_transpose(e, "upsample/woven", x, (uint8_t[]){0, 1, 4, 2, 5, 3}, 6);
}

/* Probabilities [n, 28, 28] of the boxes' own classes. The last layer is computed for these classes alone. */
static IrValueId mask_head(HfDetector *d, uint32_t i, const Detections *found) {
    HfEmit *e = d->e;
    char name[64];
    int64_t side = 2 * MASK_SIDE;
    head_prefix(d, "mask_head", d->mask_heads, i);
    IrValueId x = tni_hf_boxes_align(d, "align", found->boxes, MASK_SIDE);
    uint32_t width = d->width, n = layers_of(e->c, e->prefix, "convs.");
    for (uint32_t k = 0; k < n; k++) {
        uint32_t out = out_of(e, "convs.%u.conv.weight", k);
        snprintf(name, sizeof name, "convs.%u", k);
        x = tni_hf_detector_conv_module(e, name, x, width, out == 0 ? width : out, 3, true);
        width = out == 0 ? width : out;
    }
    uint32_t classes = out_of(e, "conv_logits.weight", 0) == 1 ? 1 : d->classes;
    char full[256];
    snprintf(full, sizeof full, "%supsample.weight", e->prefix);
    uint32_t up = tni_hf_uniformer_size(e->c, full, 1);
    up = up == 0 ? width : up;
    x = tni_hf_reshape_to(e, "places", upsample(e, x, width, up), (int64_t[]){-1, up, side * side}, 3);
    IrValueId w = tni_hf_weight(e, "conv_logits.weight", 4, (int64_t[]){classes, up, 1, 1}), b = tni_hf_weight(e, "conv_logits.bias", 1, (int64_t[]){classes});
    w = tni_hf_reshape_to(e, "conv_logits/rows", w, (int64_t[]){classes, 1, up}, 3);
    b = tni_hf_reshape_to(e, "conv_logits/bias", b, (int64_t[]){classes, 1, 1}, 3);
    if (classes > 1) {
        w = tni_hf_rows(e, "conv_logits/own", w, found->labels);
        b = tni_hf_rows(e, "conv_logits/bias/own", b, found->labels);
    }
    x = tni_hf_binary(e, "logits", TN_BINARY_add, tni_hf_node(e, TN_OP_matmul, "conv_logits", NULL, (IrValueId[]){w, x}, 2), b);
    x = tni_hf_unary(e, "probabilities", TN_UNARY_sigmoid, x);
    return tni_hf_reshape_to(e, "masks", x, (int64_t[]){-1, side, side}, 3);
}

static IrValueId masks(HfDetector *d, const Detections *found) {
    HfEmit *e = d->e;
    IrValueId sum = TN_NO_VALUE;
    for (uint32_t i = 0; i < d->mask_heads; i++) {
        IrValueId x = mask_head(d, i, found);
        sum = i == 0 ? x : tni_hf_binary(e, "masks/sum", TN_BINARY_add, sum, x);
    }
    tni_hf_prefix(e, "%s", "roi_head.");
    return d->mask_heads == 1 ? sum : tni_hf_binary(e, "masks/mean", TN_BINARY_div, sum, tni_hf_number(e, (float)d->mask_heads));
}

/* ---- the whole ---- */

static TnStatus describe(HfDetector *d, HfCheckpoint *c, const HfFileOptions *o, TnError *err) {
    uint32_t boxes = layers_of(c, "roi_head.bbox_head.", ""), mask_heads = layers_of(c, "roi_head.mask_head.", "");
    d->stages = TN_MAX(boxes, 1u);
    d->width = tni_hf_uniformer_size(c, "neck.fpn_convs.0.conv.weight", 0);
    d->rpn_width = tni_hf_uniformer_size(c, "rpn_head.rpn_conv.weight", 0);
    d->classes = tni_hf_uniformer_size(c, boxes == 0 ? "roi_head.bbox_head.fc_cls.weight" : "roi_head.bbox_head.0.fc_cls.weight", 0);
    d->mask_heads = mask_heads > 0 ? mask_heads : tni_hf_uniformer_has(c, "roi_head.mask_head.conv_logits.weight") ? 1 : 0;
    d->score_threshold = o->score_threshold > 0 ? o->score_threshold : SCORE_THRESHOLD;
    if (o->image_size != 0)
        return TN_RAISE(err, TN_ERR_REQUEST, "a detector takes pictures of any size; leave out --image-size (build option image_size)");
    if (d->rpn_width == 0 || d->width == 0 || d->classes < 2)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                        "a UniFormer backbone without 'neck.fpn_convs.0.conv.weight', 'rpn_head.rpn_conv.weight' or "
                        "'roi_head.bbox_head[.0].fc_cls.weight': the detectors known are Mask R-CNN, Cascade Mask R-CNN, and either without masks");
    if ((d->stages != 1 && d->stages != HF_STAGES) || (d->mask_heads > 1 && d->mask_heads != d->stages))
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "the checkpoint has %u box heads and %u mask heads; supported are one of each, or %d of each (a cascade)",
                        d->stages, d->mask_heads, HF_STAGES);
    d->classes--; /* the last is the background */
    if (!(d->score_threshold < 1))
        return TN_RAISE(err, TN_ERR_REQUEST, "score threshold %g: 0 to 1 are possible", (double)d->score_threshold);
    return TN_OK;
}

/* The image with zeros below and to the right, so that both sides are multiples of 32; its size gets these. */
static IrValueId padded(HfDetector *d, uint32_t channels, HfMapSize *size) {
    HfEmit *e = d->e;
    TnDim h = tni_ir_dim_symbol(e->m, "height"), w = tni_ir_dim_symbol(e->m, "width"), zero = number(e, 0), to = number(e, DIVISOR);
    IrValueId image = tni_hf_input(e, "image", TN_F32, (TnDim[]){number(e, 1), number(e, channels), h, w}, 4);
    TnDim limit[2] = {w, h};
    *size = (HfMapSize){tni_ir_dim_op(e->m, TN_DIM_MUL, tni_ir_dim_op(e->m, TN_DIM_CEILDIV, h, to), to),
                        tni_ir_dim_op(e->m, TN_DIM_MUL, tni_ir_dim_op(e->m, TN_DIM_CEILDIV, w, to), to)};
    TnDim pads[8] = {zero, zero, zero, zero, zero, zero, tni_ir_dim_op(e->m, TN_DIM_SUB, size->h, h), tni_ir_dim_op(e->m, TN_DIM_SUB, size->w, w)};
    IrValueId v = tni_hf_dims(e, "limit", limit, 2);
    d->limit = tni_hf_node(e, TN_OP_cast, "limit", &(TnCastParams){.to = TN_F32, .saturate = 1}, &v, 1);
    return tni_hf_node(e, TN_OP_pad, "padded", &(TnPadParams){.mode = TN_PADDING_CONSTANT}, (IrValueId[]){image, tni_hf_dims(e, "pads", pads, 8)}, 2);
}

/* What pipelines need: how the official evaluation prepares pictures, and what the answers are. */
static TnStatus set_meta(IrModule *m, const HfDetector *d, TnError *err) {
    static const char processor[] =
        "{\"image_processor_type\": \"UniFormerDetection\", \"do_resize\": true, \"size\": {\"shortest_edge\": 800, \"longest_edge\": 1333}, "
        "\"resample\": 2, \"do_rescale\": true, \"rescale_factor\": 0.00392156862745098, \"do_normalize\": true, "
        "\"image_mean\": [0.485, 0.456, 0.406], \"image_std\": [0.229, 0.224, 0.225], \"do_pad\": false}\n";
    char text[400];
    int n = snprintf(text, sizeof text,
                     "{\"architecture\": \"%s\", \"num_classes\": %u, \"masks\": %s, \"mask_size\": %d, \"mask_threshold\": 0.5, "
                     "\"score_threshold\": %.9g, \"nms_threshold\": %.9g, \"max_detections\": %d}\n",
                     d->stages > 1 ? "cascade_mask_rcnn" : "mask_rcnn", d->classes, d->mask_heads > 0 ? "true" : "false", 2 * MASK_SIDE,
                     (double)d->score_threshold, (double)OVERLAP, DETECTIONS);
    TN_TRY(tni_ir_meta_set(m, "detection.json", text, (size_t)n, err));
    if (tni_ir_meta_get(m, "preprocessor_config.json", NULL) != NULL) /* the folder has its own */
        return TN_OK;
    return tni_ir_meta_set(m, "preprocessor_config.json", processor, sizeof processor - 1, err);
}

bool tni_hf_is_detector(HfCheckpoint *c) {
    return tni_hf_uniformer_has(c, "backbone.blocks1.0.pos_embed.weight") ||
           (tni_hf_uniformer_has(c, "backbone.patch_embed1.proj.weight") && tni_hf_uniformer_has(c, "backbone.blocks4.0.attn.qkv.weight"));
}

TnStatus tni_hf_detector(const HfImport *in, TnError *err) {
    HfDetector d = {0};
    HfUniformer u;
    IrGraphId id;
    TN_TRY(describe(&d, in->checkpoint, &in->options, err));
    TN_TRY(tni_hf_uniformer_backbone_describe(in->checkpoint, &in->options, &u, err));
    HfEmit e = {.m = in->module, .c = in->checkpoint, .err = err, .kind = u.what, .strict = true};
    TN_TRY(tni_ir_graph_add(e.m, "main", &id, err));
    e.g = e.m->graphs[id];
    d.e = &e;
    u.batch = number(&e, 1);
    tni_log(in->log, TN_LOG_INFO, "%s with %s: attention heads of width %u, %u classes", d.stages > 1 ? "Cascade R-CNN" : "R-CNN", u.what, u.head_dim,
            d.classes);
    HfMapSize size, sizes[4];
    IrValueId maps[4], image = padded(&d, u.channels, &size);
    tni_hf_uniformer_backbone(&e, &u, image, size, maps, sizes);
    TnDim heights[4], widths[4];
    for (uint32_t i = 0; i < 4; i++) {
        heights[i] = sizes[i].h;
        widths[i] = sizes[i].w;
    }
    tni_hf_fpn(&d, maps, u.dim, heights, widths);
    Detections found = detect(&d, tni_hf_rpn(&d));
    if (d.mask_heads > 0)
        found.masks = masks(&d, &found);
    tni_hf_prefix(&e, "%s", "");
    tni_hf_output(&e, "boxes", found.boxes);
    tni_hf_output(&e, "scores", found.scores);
    tni_hf_output(&e, "labels", found.labels);
    if (d.mask_heads > 0)
        tni_hf_output(&e, "masks", found.masks);
    TN_TRY(tni_hf_finish(&e, in->log));
    TN_TRY(tni_ir_dims_check(e.m, err));
    return set_meta(in->module, &d, err);
}
