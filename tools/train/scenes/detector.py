# SPDX-License-Identifier: Apache-2.0
"""Mask R-CNN on a UniFormer backbone in plain PyTorch, without torchvision: tensor names and arithmetic of mmdet 2.

Everything is batched: NMS is a fixed point over a matrix of overlaps (it gives what the greedy order gives), and RoIAlign, being
separable, is two matrix products with sparse rows of weights (aligned, and with sampling_ratio 0: as many samples a bin as it has cells).
Boxes are (x1, y1, x2, y2) in pixels.
"""
import math
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vision"))
import uniformer

STRIDES, SCALE, RATIOS = (4, 8, 16, 32, 64), 8, (.5, 1., 2.)
RPN_STDS, BOX_STDS = (1., 1., 1., 1.), (.1, .1, .2, .2)
LEVELS, FINEST = 4, 56
CLIP = abs(math.log(16 / 1000))


def bag(**parts):
    m = nn.Module()
    for k, v in parts.items():
        setattr(m, k, v)
    return m


# ---- geometry

def anchors(level, height, width, device):
    """[height * width * ratios, 4]: positions row by row, at each the ratios"""
    h_ratio = torch.tensor(RATIOS, device=device).sqrt()
    w, h = STRIDES[level] * SCALE / h_ratio, STRIDES[level] * SCALE * h_ratio
    base = torch.stack([-w / 2, -h / 2, w / 2, h / 2], -1)
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    shift = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4) * float(STRIDES[level])
    return (shift + base).reshape(-1, 4)


def encode(box, truth, stds):
    size, tsize = box[..., 2:] - box[..., :2], truth[..., 2:] - truth[..., :2]
    move = ((truth[..., :2] + truth[..., 2:]) - (box[..., :2] + box[..., 2:])) * .5 / size.clamp(min=1e-6)
    grow = torch.log(tsize.clamp(min=1e-6) / size.clamp(min=1e-6))
    return torch.cat([move, grow], -1) / torch.tensor(stds, device=box.device)


def decode(box, delta, stds, height, width):
    delta = delta * torch.tensor(stds, device=box.device)
    size = box[..., 2:] - box[..., :2]
    centre = (box[..., :2] + box[..., 2:]) * .5 + size * delta[..., :2]
    half = size * delta[..., 2:].clamp(-CLIP, CLIP).exp() * .5
    limit = torch.tensor([width, height, width, height], device=box.device, dtype=box.dtype)
    return torch.minimum(torch.cat([centre - half, centre + half], -1).clamp(min=0), limit)


def overlaps(a, b):
    """[..., n, 4] and [..., m, 4] -> IoU [..., n, m]"""
    low, high = torch.maximum(a[..., :, None, :2], b[..., None, :, :2]), torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    area = lambda t: (t[..., 2:] - t[..., :2]).prod(-1)
    return both / (area(a)[..., :, None] + area(b)[..., None, :] - both).clamp(min=1e-6)


def nms(box, group, valid, limit):
    """box [B, n, 4] in order of score, group [B, n]: only equal ones suppress each other -> kept, bool [B, n]"""
    over = (overlaps(box, box) > limit) & (group[:, :, None] == group[:, None, :])
    n = box.shape[1]
    over = (over & torch.ones(n, n, dtype=torch.bool, device=box.device).triu(1)).to(torch.bfloat16 if box.is_cuda else torch.float32)
    keep = valid
    for _ in range(n + 1):
        after = valid & ~((keep.to(over.dtype).unsqueeze(1) @ over).squeeze(1) > 0)
        if bool((after == keep).all()):
            break
        keep = after
    return keep


def align_rows(low, high, bins, cells, most, dtype):
    """Weights of RoIAlign along one axis. low, high [B, n] in cells -> [B, n, bins, cells]"""
    low, high = low - .5, high - .5
    size = (high - low) / bins
    count = torch.ceil(size).clamp(1, most)
    k = torch.arange(int(most if most < 1e8 else count.max()), device=low.device)
    at = low[..., None, None] + size[..., None, None] * (torch.arange(bins, device=low.device)[:, None] + (k + .5) / count[..., None, None])
    used = (k < count[..., None, None]) & (at >= -1) & (at <= cells)
    at = at.clamp(0, cells - 1)
    w = (1 - (at.unsqueeze(-1) - torch.arange(cells, device=low.device)).abs()).clamp(min=0) * used.unsqueeze(-1)
    return (w.sum(-2) / count[..., None, None]).to(dtype)


def roi_align(x, box, bins, scale, most=1e9, on=None):
    """x [B, C, H, W], box [B, n, 4] -> [B, n, C, bins, bins]; on [B, n]: elsewhere zeros"""
    B, C, H, W = x.shape
    n = box.shape[1]
    cap = lambda c: min(most, math.ceil((c + 1) / bins) + 1)
    box = box * scale
    rows = align_rows(box[..., 1], box[..., 3], bins, H, cap(H), x.dtype)
    cols = align_rows(box[..., 0], box[..., 2], bins, W, cap(W), x.dtype)
    if on is not None:
        rows = rows * on[..., None, None]
    y = (rows.reshape(B, n * bins, H) @ x.permute(0, 2, 3, 1).reshape(B, H, W * C)).view(B, n, bins, W, C)
    return torch.einsum("bniwc,bnjw->bncij", y, cols)


def pooled(maps, box, bins, most=1e9):
    """From the map of each box's size"""
    side = (box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1).sqrt()
    level = torch.floor(torch.log2(side / FINEST + 1e-6)).clamp(0, LEVELS - 1)
    return sum(roi_align(maps[k], box, bins, 1 / STRIDES[k], most, level == k) for k in range(LEVELS))


# ---- the network

class Detector(nn.Module):
    def __init__(self, classes, net, channels, fc):
        super().__init__()
        self.classes = classes
        conv = lambda i, o, k: nn.Conv2d(i, o, k, padding=k // 2)
        boxed = lambda i, o, k: bag(conv=conv(i, o, k))
        self.backbone = uniformer.UniFormer(**net)
        self.neck = bag(lateral_convs=nn.ModuleList([boxed(d, channels, 1) for d in net["dim"]]),
                        fpn_convs=nn.ModuleList([boxed(channels, channels, 3) for _ in net["dim"]]))
        self.rpn_head = bag(rpn_conv=conv(channels, channels, 3), rpn_cls=conv(channels, len(RATIOS), 1), rpn_reg=conv(channels, 4 * len(RATIOS), 1))
        self.roi_head = bag(
            bbox_head=bag(fc_cls=nn.Linear(fc, classes + 1), fc_reg=nn.Linear(fc, 4 * classes),
                          shared_fcs=nn.ModuleList([nn.Linear(channels * 49, fc), nn.Linear(fc, fc)])),
            mask_head=bag(convs=nn.ModuleList([boxed(channels, channels, 3) for _ in range(4)]),
                          upsample=nn.ConvTranspose2d(channels, channels, 2, 2), conv_logits=conv(channels, classes, 1)))
        for part in (self.neck, self.roi_head.bbox_head):
            for m in part.modules():
                if isinstance(m, (nn.Linear, nn.Conv2d)):
                    nn.init.xavier_uniform_(m.weight)
                    nn.init.zeros_(m.bias)
        for m in self.roi_head.mask_head.modules():
            if isinstance(m, (nn.ConvTranspose2d, nn.Conv2d)):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(m.bias)
        for m, std in [(m, .01) for m in self.rpn_head.children()] + [(self.roi_head.bbox_head.fc_cls, .01), (self.roi_head.bbox_head.fc_reg, .001)]:
            nn.init.normal_(m.weight, std=std)
            nn.init.zeros_(m.bias)

    def maps(self, x):
        """Normalised pictures [B, 3, H, W], sides multiples of 32 -> five maps"""
        lateral = [m.conv(y) for m, y in zip(self.neck.lateral_convs, self.backbone(x))]
        for k in (2, 1, 0):
            lateral[k] = lateral[k] + F.interpolate(lateral[k + 1], size=lateral[k].shape[2:], mode="nearest")
        out = [m.conv(y) for m, y in zip(self.neck.fpn_convs, lateral)]
        return out + [F.max_pool2d(out[-1], 1, 2)]

    def rpn(self, maps):
        """For each level: scores before the sigmoid [B, n], deltas [B, n, 4], anchors [n, 4]"""
        out = []
        for k, x in enumerate(maps):
            y = F.relu(self.rpn_head.rpn_conv(x))
            score = self.rpn_head.rpn_cls(y).permute(0, 2, 3, 1).flatten(1).float()
            delta = self.rpn_head.rpn_reg(y).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4).float()
            out.append((score, delta, anchors(k, *x.shape[2:], x.device)))
        return out

    @torch.no_grad()
    def proposals(self, levels, height, width, before, after):
        """-> boxes [B, after, 4] in order of score, how many of them count [B]"""
        boxes, scores, groups = [], [], []
        for k, (score, delta, base) in enumerate(levels):
            s, i = score.sigmoid().topk(min(before, score.shape[1]), 1)
            d = torch.gather(delta, 1, i.unsqueeze(-1).expand(-1, -1, 4))
            boxes.append(decode(base[i], d, RPN_STDS, height, width))
            scores.append(s)
            groups.append(torch.full_like(i, k))
        scores, order = torch.cat(scores, 1).sort(dim=1, descending=True, stable=True)
        boxes = torch.gather(torch.cat(boxes, 1), 1, order.unsqueeze(-1).expand(-1, -1, 4))
        keep = nms(boxes, torch.gather(torch.cat(groups, 1), 1, order), torch.ones_like(scores, dtype=torch.bool), .7)
        first = torch.argsort((~keep).int(), dim=1, stable=True)[:, :after]
        return torch.gather(boxes, 1, first.unsqueeze(-1).expand(-1, -1, 4)), keep.sum(1).clamp(max=after)

    def boxes(self, x):
        """[N, C, 7, 7] -> [N, classes + 1], [N, classes, 4]"""
        h = self.roi_head.bbox_head
        x = x.flatten(1)
        for fc in h.shared_fcs:
            x = F.relu(fc(x))
        return h.fc_cls(x).float(), h.fc_reg(x).view(-1, self.classes, 4).float()

    def masks(self, x):
        """[N, C, 14, 14] -> [N, classes, 28, 28]"""
        h = self.roi_head.mask_head
        for m in h.convs:
            x = F.relu(m.conv(x))
        return h.conv_logits(F.relu(h.upsample(x)))

    # ---- training

    def losses(self, x, truth, label, mask, rois=128, before=300, after=256):
        """x normalised; truth [B, G, 4], label [B, G] (-1: none), mask bool [B, G, H, W] -> five losses"""
        B, _, H, W = x.shape
        maps = self.maps(x)
        levels = self.rpn(maps)
        score, delta = torch.cat([t[0] for t in levels], 1), torch.cat([t[1] for t in levels], 1)
        base = torch.cat([t[2] for t in levels])
        real = label >= 0
        with torch.no_grad():
            iou = overlaps(base.expand(B, -1, -1), truth) * real[:, None]
            best, which = iou.max(2)
            highest = iou.max(1, keepdim=True).values
            low = (iou == highest) & (highest >= .3) & real[:, None]       # the anchors nearest an object belong to it anyway
            has = low.any(2)
            which = torch.where(has, torch.where(low, torch.arange(truth.shape[1], device=x.device), -1).amax(2), which)
            pos, neg = draw((best >= .7) | has, (best < .3) & ~has, 256, 128)
            goal = encode(base.expand(B, -1, -1), torch.gather(truth, 1, which.unsqueeze(-1).expand(-1, -1, 4)), RPN_STDS)
            used = (pos | neg).float()
        count = used.sum().clamp(min=1)
        rpn_cls = (F.binary_cross_entropy_with_logits(score, pos.float(), reduction="none") * used).sum() / count
        rpn_reg = ((delta - goal).abs().sum(-1) * pos).sum() / count
        with torch.no_grad():
            box, n = self.proposals(levels, H, W, before, after)
            box = torch.cat([truth, box], 1)
            valid = torch.cat([real, torch.arange(box.shape[1] - truth.shape[1], device=x.device) < n[:, None]], 1)
            best, which = (overlaps(box, truth) * real[:, None]).max(2)
            pos, neg = draw((best >= .5) & valid, (best < .5) & valid, rois, rois // 4)
            pick = torch.argsort(pos.int() * 2 + neg.int(), dim=1, descending=True, stable=True)[:, :rois]
            of = lambda t: torch.gather(t, 1, pick if t.ndim == 2 else pick.unsqueeze(-1).expand(-1, -1, 4))
            box, pos, neg, which = of(box), of(pos), of(neg), of(which)
            kind = torch.where(pos, torch.gather(label, 1, which), self.classes)
            goal = encode(box, torch.gather(truth, 1, which.unsqueeze(-1).expand(-1, -1, 4)), BOX_STDS)
        cls, reg = self.boxes(pooled(maps, box, 7, 4).flatten(0, 1))
        used, pos, kind = (pos | neg).flatten().float(), pos.flatten(), kind.flatten()
        count = used.sum().clamp(min=1)
        box_cls = (F.cross_entropy(cls, kind, reduction="none") * used).sum() / count
        own = reg[torch.arange(len(kind), device=x.device), kind.clamp(max=self.classes - 1)]
        box_reg = ((own - goal.flatten(0, 1)).abs().sum(-1) * pos).sum() / count
        m = rois // 4                                                       # those of objects come first
        with torch.no_grad():
            whose = torch.gather(mask.view(B, -1, H * W), 1, which[:, :m].unsqueeze(-1).expand(-1, -1, H * W)).view(B * m, 1, H, W)
            mbox = box[:, :m]
            half = torch.bfloat16 if x.is_cuda else torch.float32
            goal = (roi_align(whose.to(half), mbox.reshape(B * m, 1, 4), 28, 1., 4).view(B * m, 28, 28) >= .5).float()
            is_object, mkind = pos.view(B, -1)[:, :m].flatten(), kind.view(B, -1)[:, :m].flatten().clamp(max=self.classes - 1)
        drawn = self.masks(pooled(maps, mbox, 14, 4).flatten(0, 1)).float()[torch.arange(B * m, device=x.device), mkind]
        bce = F.binary_cross_entropy_with_logits(drawn, goal, reduction="none").mean((1, 2))
        return dict(rpn_cls=rpn_cls, rpn_reg=rpn_reg, box_cls=box_cls, box_reg=box_reg, mask=(bce * is_object).sum() / is_object.sum().clamp(min=1))

    # ---- answers

    @torch.no_grad()
    def detect(self, x, height, width, threshold=.05, most=100):
        """One normalised picture [1, 3, H, W], padded with zeros to multiples of 32; its true size. -> boxes [n, 4], scores [n], classes [n],
        masks bool [n, height, width]"""
        maps = self.maps(x)
        maps = [m.float() for m in maps]
        box, n = self.proposals(self.rpn(maps), height, width, 1000, 1000)
        box = box[:, :int(n)]
        cls, reg = self.boxes(pooled(maps, box, 7).flatten(0, 1))
        scores = cls.softmax(1)[:, :-1]
        boxes = decode(box[0, :, None].expand(-1, self.classes, -1), reg, BOX_STDS, height, width)
        roi, kind = (scores > threshold).nonzero(as_tuple=True)
        s, order = scores[roi, kind].sort(dim=0, descending=True, stable=True)
        b, kind = boxes[roi, kind][order], kind[order]
        if len(s):
            keep = nms(b[None], kind[None], torch.ones(1, len(s), dtype=torch.bool, device=x.device), .5)[0].nonzero().flatten()[:most]
            s, b, kind = s[keep], b[keep], kind[keep]
        if not len(s):
            return b, s, kind, torch.zeros(0, height, width, dtype=torch.bool, device=x.device)
        m = self.masks(pooled(maps, b[None], 14).flatten(0, 1)).float()[torch.arange(len(s), device=x.device), kind].sigmoid()
        return b, s, kind, paste(m, b, height, width)


def draw(pos, neg, total, most):
    """Of candidates bool [B, n]: at random up to `most` positive ones, and negative ones up to `total` of both."""
    key = torch.rand(pos.shape, device=pos.device)

    def first(on, limit):
        rank = torch.argsort(torch.argsort(torch.where(on, key, 2.), 1), 1)
        return on & (rank < limit)

    pos = first(pos, most)
    return pos, first(neg, total - pos.sum(1, keepdim=True))


def paste(mask, box, height, width):
    """[n, 28, 28] in boxes -> bool [n, height, width]"""
    def axis(low, high, size):
        at = torch.arange(size, device=box.device) + .5
        return (at - low[:, None]) / (high - low)[:, None] * 2 - 1
    y, x = axis(box[:, 1], box[:, 3], height), axis(box[:, 0], box[:, 2], width)
    y, x = (torch.where(torch.isinf(t), 0., t) for t in (y, x))
    grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], -1)
    return F.grid_sample(mask[:, None], grid, align_corners=False)[:, 0] >= .5
