#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/hf/data/detector*: narrow detectors of the official code with random weights, their pictures and the official answers.

usage: make_detection_files.py CHECKOUT_OF_SENSE-X/UNIFORMER [DIRECTORY]
needs: torch, torchvision, timm, mmcv 1.3 without its compiled operators (this file brings those that detectors use)
"""
import collections
import pathlib
import sys
import types

import numpy as np
import torch
import torchvision

HERE = pathlib.Path(__file__).resolve().parent
STRIDES = [4, 8, 16, 32]


# ---- mmcv's compiled operators, by torchvision ----
def nms(boxes, scores, iou_threshold, offset=0, **_):
    assert offset == 0
    keep = torchvision.ops.nms(boxes, scores, iou_threshold)
    return torch.cat([boxes[keep], scores[keep, None]], 1), keep


def batched_nms(boxes, scores, idxs, nms_cfg, class_agnostic=False):
    moved = boxes + idxs.to(boxes)[:, None] * (boxes.max() + 1)
    _, keep = nms(moved, scores, nms_cfg["iou_threshold"])
    return torch.cat([boxes[keep], scores[keep, None]], 1), keep


class RoIAlign(torch.nn.Module):
    def __init__(self, output_size, spatial_scale=1.0, sampling_ratio=0, pool_mode="avg", aligned=True):
        super().__init__()
        self.output_size = (output_size, output_size)
        self.args = (self.output_size, spatial_scale, sampling_ratio, aligned)

    def forward(self, x, rois):
        return torchvision.ops.roi_align(x, rois, *self.args)


def official(checkout):
    """The official package, importable."""
    import mmcv

    class Ops(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (torch.nn.Module,), {})

    ops, sub = Ops("mmcv.ops"), Ops("mmcv.ops.nms")
    ops.__path__ = []
    for m in (ops, sub):
        m.nms, m.batched_nms, m.RoIAlign = nms, batched_nms, RoIAlign
    sys.modules.update({"mmcv.ops": ops, "mmcv.ops.nms": sub})
    for name in ("carafe", "corner_pool", "roi_align", "point_sample", "deform_conv", "modulated_deform_conv", "merge_cells"):
        m = Ops(f"mmcv.ops.{name}")
        m.RoIAlign = RoIAlign
        sys.modules[m.__name__] = m
    mmcv.ops = ops
    mmcv.__version__ = "1.3.18"
    sys.modules["mmcv_custom"] = types.ModuleType("mmcv_custom")
    sys.modules["mmcv_custom"].load_checkpoint = None
    sys.path.insert(0, str(pathlib.Path(checkout) / "object_detection"))
    import timm
    import timm.models.layers
    import timm.models.vision_transformer as vit
    vit._cfg = getattr(vit, "_cfg", lambda **k: {})
    import mmdet.models
    return mmdet.models


def config(kind, backbone, widths, width, fc, classes, heads="official"):
    """kind: mask_rcnn or cascade_mask_rcnn; as in the official configs, with these widths."""
    base = dict(in_channels=width, fc_out_channels=fc, roi_feat_size=7, num_classes=classes)
    coder = lambda *std: dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=list(std))
    align = lambda side: dict(type="SingleRoIExtractor", roi_layer=dict(type="RoIAlign", output_size=side, sampling_ratio=0), out_channels=width,
                              featmap_strides=STRIDES)
    mask = dict(type="FCNMaskHead", num_convs=4, in_channels=width, conv_out_channels=width, num_classes=classes,
                loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0))
    roi = dict(bbox_roi_extractor=align(7), mask_roi_extractor=align(14), mask_head=mask)
    if kind == "mask_rcnn":
        roi.update(type="StandardRoIHead", bbox_head=dict(type="Shared2FCBBoxHead", bbox_coder=coder(0.1, 0.1, 0.2, 0.2), reg_class_agnostic=False, **base))
    else:
        stds = [(0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067)]
        if heads == "agnostic":
            box = [dict(type="Shared2FCBBoxHead", bbox_coder=coder(*s), reg_class_agnostic=True, **base) for s in stds]
        else:
            box = [dict(type="ConvFCBBoxHead", num_shared_convs=4, num_shared_fcs=1, conv_out_channels=width, bbox_coder=coder(*s),
                        reg_class_agnostic=False, reg_decoded_bbox=True, norm_cfg=dict(type="BN"), loss_bbox=dict(type="GIoULoss", loss_weight=10.0),
                        **base) for s in stds]
        roi.update(type="CascadeRoIHead", num_stages=3, stage_loss_weights=[1, 0.5, 0.25], bbox_head=box)
    return dict(
        type="MaskRCNN" if kind == "mask_rcnn" else "CascadeRCNN", pretrained=None, backbone=backbone,
        neck=dict(type="FPN", in_channels=widths, out_channels=width, num_outs=5),
        rpn_head=dict(type="RPNHead", in_channels=width, feat_channels=width,
                      anchor_generator=dict(type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
                      bbox_coder=coder(1.0, 1.0, 1.0, 1.0), loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
                      loss_bbox=dict(type="L1Loss", loss_weight=1.0)),
        roi_head=roi, train_cfg=None,
        test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
                      rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5)))


def plain_backbone(layers=(1, 1, 4, 1), widths=(8, 8, 16, 24), head_dim=8, attention="global", mlp_ratio=4.0):
    return dict(type="UniFormer", embed_dim=list(widths), layers=list(layers), head_dim=head_dim, mlp_ratio=mlp_ratio, qkv_bias=True, drop_path_rate=0.0,
                windows=attention == "window", hybrid=attention == "hybrid", window_size=14)


def light_backbone(depth=(1, 1, 3, 2), widths=(8, 8, 16, 24), head_dim=8):
    halves = [[], [], [1] + [0.5] * (depth[2] - 1), [0.5] * depth[3]]
    return dict(type="UniFormer_Light", depth=list(depth), conv_stem=True, prune_ratio=halves, trade_off=halves, embed_dim=list(widths), head_dim=head_dim,
                mlp_ratio=[3, 3, 3, 3])


def detector(models, kind, backbone, width, fc, classes, seed, heads="official"):
    """With random weights, so scaled that scores and boxes spread."""
    import mmcv
    torch.manual_seed(seed)
    net = models.build_detector(mmcv.Config(dict(model=config(kind, backbone, backbone["embed_dim"], width, fc, classes, heads))).model)
    g = torch.Generator().manual_seed(seed)
    for name, p in net.named_parameters():
        with torch.no_grad():
            if p.dim() > 1:
                fan = p[0].numel() if "upsample" not in name else p.shape[0]
                p.copy_(torch.randn(p.shape, generator=g) * (2.0 / fan) ** 0.5 if p.shape[0] != 1 else torch.randn(p.shape, generator=g))
            elif name.endswith("weight"):
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(0.2 * torch.randn(p.shape, generator=g))
            if "attn.qkv" in name or "attn.proj" in name or "mlp.fc2" in name or "pos_embed" in name:
                p.mul_(0.5)
            for part, factor in (("rpn_reg", 0.15), ("fc_reg", 0.3), ("fc_cls", 0.7), ("conv_logits", 0.1)):
                if part in name:
                    p.mul_(factor)
    for name, b in net.named_buffers():
        if name.endswith("running_mean"):
            b.copy_(0.2 * torch.randn(b.shape, generator=g))
        elif name.endswith("running_var"):
            b.copy_(0.5 + torch.rand(b.shape, generator=g))
    return net.half().float().eval()  # files of halves are half as large


def picture(seed, height, width):
    """Smooth shapes and noise, normalised."""
    g = np.random.default_rng(seed)
    small = torch.as_tensor(g.standard_normal((1, 3, height // 16 + 2, width // 16 + 2)), dtype=torch.float32)
    x = torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    x = x + 0.2 * torch.as_tensor(g.standard_normal((1, 3, height, width)), dtype=torch.float32)
    return (x * 16).round() / 16  # few bits, so that files of them are small


@torch.no_grad()
def answers(net, image):
    """boxes, scores, labels, masks of the official classes, and what they passed between modules. image is not padded."""
    height, width = image.shape[2:]
    padded = torch.nn.functional.pad(image, (0, -width % 32, 0, -height % 32))
    meta = [dict(img_shape=(height, width, 3), ori_shape=(height, width, 3), pad_shape=(*padded.shape[2:], 3), scale_factor=np.ones(4, np.float32), flip=False, flip_direction="horizontal")]
    seen = collections.OrderedDict()
    levels = net.extract_feat(padded)
    for i, x in enumerate(levels):
        seen[f"level{i}"] = x
    proposals = net.rpn_head.simple_test_rpn(levels, meta)
    seen["proposals"] = proposals[0]
    head = net.roi_head
    kept = {}
    masks = head.mask_head if isinstance(head.mask_head, torch.nn.ModuleList) else [head.mask_head]

    def keep(pred, boxes, labels, *_, **__):
        kept["boxes"], kept["labels"] = boxes, labels
        kept["masks"] = (pred.sigmoid() if isinstance(pred, torch.Tensor) else torch.as_tensor(pred))[range(len(labels)), labels]
        return [[] for _ in range(masks[-1].num_classes)]
    masks[-1].get_seg_masks = keep
    result = head.simple_test(levels, [p.clone() for p in proposals], meta, rescale=False)[0][0]
    del masks[-1].get_seg_masks
    rows = np.concatenate([np.concatenate([r, np.full((len(r), 1), c, np.float32)], 1) for c, r in enumerate(result)])
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    out = dict(boxes=rows[:, :4].astype(np.float32), scores=rows[:, 4].astype(np.float32), labels=rows[:, 5].astype(np.int64),
               masks=np.zeros((len(rows), 28, 28), np.float32))
    for i in range(len(rows)):  # masks come in the order of the detections
        at = [k for k in range(len(kept["labels"])) if int(kept["labels"][k]) == out["labels"][i] and np.array_equal(kept["boxes"][k, :4].numpy(), out["boxes"][i])]
        out["masks"][i] = kept["masks"][at[0]].numpy() if at else np.nan
    return out, {k: v.numpy() for k, v in seen.items()}


def save(net, path, drop=(), add=()):
    state = collections.OrderedDict((k, v) for k, v in net.state_dict().items() if k not in drop)
    state.update(add)
    torch.save({"meta": {"epoch": 12}, "state_dict": {k: v.half() if v.is_floating_point() else v for k, v in state.items()}}, path)


def main():
    models = official(sys.argv[1])
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "data"
    plain = None
    for name, kind, backbone, heads, sizes in (
            ("detector_global", "mask_rcnn", plain_backbone(), "official", [(64, 64), (97, 130)]),
            ("detector_hybrid", "mask_rcnn", plain_backbone(attention="hybrid"), "official", [(70, 500)]),
            ("detector_light", "mask_rcnn", light_backbone(), "official", [(96, 65)]),
            ("detector_cascade", "cascade_mask_rcnn", plain_backbone(attention="window"), "official", [(80, 100)]),
            ("detector_agnostic", "cascade_mask_rcnn", plain_backbone(), "agnostic", [(64, 90)])):
        net = detector(models, kind, backbone, 8, 16, 5, 41, heads)
        if name != "detector_hybrid":  # its weights are those of detector_global
            save(net, out / f"{name}.pth")
        files = {}
        for i, (h, w) in enumerate(sizes):
            image = picture(i, h, w)
            files[f"image{i}"] = image.numpy()
            found, _ = answers(net, image)
            print(name, (h, w), len(found["scores"]), found["scores"][:3])
            found["masks"] = found["masks"][:, ::9, ::9]
            files.update({f"{k}{i}": v for k, v in found.items()})
        np.savez_compressed(out / f"{name}.npz", **files)
        plain = plain or net
    save(plain, out / "detector_broken.pth", ("neck.lateral_convs.1.conv.bias", "backbone.blocks3.2.attn.qkv.weight", "roi_head.bbox_head.fc_reg.weight"),
         [("backbone.norm2.weight", torch.zeros(15)), ("rpn_head.extra", torch.zeros(3))])


if __name__ == "__main__":
    main()
