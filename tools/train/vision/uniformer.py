# SPDX-License-Identifier: Apache-2.0
"""UniFormer in plain PyTorch, with the tensor names of the official checkpoints, and what both recipes need around it.

UniFormer: the detection backbone (four maps, attention over all positions in stages 3 and 4).
UniFormerLight: the classifier of the light models (stem of convolutions, a class token, pruning of tokens).
"""
import json
import math
import os
import struct
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Mlp(nn.Module):
    def __init__(self, dim, inner, layer):
        super().__init__()
        self.fc1, self.fc2 = layer(dim, inner), layer(inner, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class LocalBlock(nn.Module):
    """Stages 1 and 2: a depthwise 5 x 5 convolution where the others attend. [B, dim, H, W]"""

    def __init__(self, dim, ratio):
        super().__init__()
        point = lambda a, b: nn.Conv2d(a, b, 1)
        self.pos_embed = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1, self.conv1, self.conv2 = nn.BatchNorm2d(dim), point(dim, dim), point(dim, dim)
        self.attn = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.norm2, self.mlp = nn.BatchNorm2d(dim), Mlp(dim, int(dim * ratio), point)

    def forward(self, x):
        x = x + self.pos_embed(x)
        x = x + self.conv2(self.attn(self.conv1(self.norm1(x))))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.heads, self.head_dim = dim // head_dim, head_dim
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x, with_class=False):
        """x [B, N, dim]; with_class: also how much token 0 attends to each, the mean over heads [B, N] (float32)."""
        B, N, C = x.shape
        q, k, v = self.qkv(x).view(B, N, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        y = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, C))
        if not with_class:
            return y
        with torch.autocast(x.device.type, enabled=False):
            row = (q[:, :, :1].float() @ k.float().transpose(-2, -1)) * self.head_dim ** -.5
            return y, row.softmax(-1).mean(1).squeeze(1)


class GlobalBlock(nn.Module):
    """Stages 3 and 4 of the plain networks. [B, dim, H, W]"""

    def __init__(self, dim, head_dim, ratio):
        super().__init__()
        self.pos_embed = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, head_dim)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), Mlp(dim, int(dim * ratio), nn.Linear)

    def forward(self, x):
        x = x + self.pos_embed(x)
        shape = x.shape
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x.transpose(1, 2).reshape(shape)


class PruningBlock(GlobalBlock):
    """Stages 3 and 4 of the light networks: the half of the tokens with the highest scores takes part, the rest as one token."""

    def forward(self, x, cls, score):
        """x [B, dim, H, W], cls [B, 1, dim], score [B, H * W] or None (all take part, scores begin) -> the same three"""
        x = x + self.pos_embed(x)
        shape = x.shape
        x = x.flatten(2).transpose(1, 2)
        if score is None:
            t = torch.cat([cls, x], 1)
            y, row = self.attn(self.norm1(t), True)
            t = t + y
            t = t + self.mlp(self.norm2(t))
            return t[:, 1:].transpose(1, 2).reshape(shape), t[:, :1], row[:, 1:]
        B, N, C = x.shape
        keep = N // 2
        order = torch.argsort(score, 1, descending=True)
        back = torch.argsort(order, 1)
        row_of = lambda t, i: torch.gather(t, 1, i.unsqueeze(-1).expand(-1, -1, C))
        x, score = row_of(x, order), torch.gather(score, 1, order)
        rest, weight = x[:, keep:], score[:, keep:]
        merged = ((weight / weight.sum(1, keepdim=True)).unsqueeze(-1) * rest).sum(1, keepdim=True).to(x.dtype)
        t = torch.cat([cls, x[:, :keep], merged], 1)
        y, row = self.attn(self.norm1(t), True)
        t = t + y
        z = self.mlp(self.norm2(t))
        t = t + z
        x = torch.cat([t[:, 1:-1], rest + (y[:, -1:] + z[:, -1:])], 1)
        score = torch.cat([.5 * score[:, :keep] + .5 * row[:, 1:-1], weight], 1)
        return row_of(x, back).transpose(1, 2).reshape(shape), t[:, :1], torch.gather(score, 1, back)


class PatchEmbed(nn.Module):
    def __init__(self, size, in_dim, dim):
        super().__init__()
        self.norm, self.proj = nn.LayerNorm(dim), nn.Conv2d(in_dim, dim, size, size)

    def forward(self, x):
        return self.norm(self.proj(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class Stem(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(3, dim // 2, 3, 2, 1), nn.BatchNorm2d(dim // 2), nn.GELU(),
                                  nn.Conv2d(dim // 2, dim, 3, 2, 1), nn.BatchNorm2d(dim))

    def forward(self, x):
        return self.proj(x)


def start_linear(net):
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


class UniFormer(nn.Module):
    """[B, 3, H, W], sides multiples of 32 -> four maps [B, dim, H / 4, W / 4] to [B, dim, H / 32, W / 32]"""

    def __init__(self, depth, dim, head_dim, ratio):
        super().__init__()
        for s in range(4):
            make = (lambda s: LocalBlock(dim[s], ratio)) if s < 2 else (lambda s: GlobalBlock(dim[s], head_dim, ratio))
            setattr(self, f"patch_embed{s + 1}", PatchEmbed(4 if s == 0 else 2, 3 if s == 0 else dim[s - 1], dim[s]))
            setattr(self, f"blocks{s + 1}", nn.ModuleList([make(s) for _ in range(depth[s])]))
            setattr(self, f"norm{s + 1}", nn.LayerNorm(dim[s], eps=1e-6))
        start_linear(self)

    def forward(self, x):
        maps = []
        for s in "1234":
            x = getattr(self, "patch_embed" + s)(x)
            for block in getattr(self, "blocks" + s):
                x = block(x)
            maps.append(getattr(self, "norm" + s)(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous())
        return maps


class UniFormerLight(nn.Module):
    """[B, 3, S, S], S a multiple of 32 -> logits [B, classes]; while training those, and the class token's"""

    def __init__(self, depth, dim, head_dim, ratio, classes):
        super().__init__()
        self.patch_embed1 = Stem(dim[0])
        for s in range(1, 4):
            setattr(self, f"patch_embed{s + 1}", PatchEmbed(2, dim[s - 1], dim[s]))
        self.cls_token, self.cls_upsample = nn.Parameter(torch.zeros(1, 1, dim[2])), nn.Linear(dim[2], dim[3])
        for s in range(4):
            make = (lambda s: LocalBlock(dim[s], ratio)) if s < 2 else (lambda s: PruningBlock(dim[s], head_dim, ratio))
            setattr(self, f"blocks{s + 1}", nn.ModuleList([make(s) for _ in range(depth[s])]))
        self.norm, self.norm_cls = nn.BatchNorm2d(dim[3]), nn.LayerNorm(dim[3])
        self.head, self.head_cls = nn.Linear(dim[3], classes), nn.Linear(dim[3], classes)
        start_linear(self)
        nn.init.trunc_normal_(self.cls_token, std=.02)

    def forward(self, x):
        for s in "12":
            x = getattr(self, "patch_embed" + s)(x)
            for block in getattr(self, "blocks" + s):
                x = block(x)
        x = self.patch_embed3(x)
        cls, score = self.cls_token.expand(x.shape[0], -1, -1), None
        for block in self.blocks3:
            x, cls, score = block(x, cls, score)
        before = score.sum(1, keepdim=True)
        score = F.avg_pool2d(score.view(-1, 1, *x.shape[2:]), 2).flatten(1)
        score = score * (before / score.sum(1, keepdim=True))
        x, cls = self.patch_embed4(x), self.cls_upsample(cls)
        for block in self.blocks4:
            x, cls, score = block(x, cls, score)
        y = self.head(self.norm(x).flatten(2).mean(-1))
        return (y, self.head_cls(self.norm_cls(cls).squeeze(1))) if self.training else y


# ---- what both recipes need

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def normalised(x):
    """uint8 [B, 3, H, W] -> float32 as the official evaluation prepares pictures"""
    m, s = (torch.tensor(t, device=x.device).view(1, 3, 1, 1) for t in (MEAN, STD))
    return (x.float() - m) / s


def optimizer(net, lr, decay):
    flat = lambda n, p: p.ndim < 2 or "token" in n or "pos_embed" in n
    named = list(net.named_parameters())
    return torch.optim.AdamW([{"params": [p for n, p in named if not flat(n, p)], "weight_decay": decay},
                              {"params": [p for n, p in named if flat(n, p)], "weight_decay": 0.}], lr=lr)


def rate(part, warm=.03, floor=.01):
    """Factor of the learning rate at `part` (0 to 1) of the time: a warm-up, then half a cosine."""
    if part < warm:
        return max(part / warm, .01)
    return floor + (1 - floor) * .5 * (1 + math.cos(math.pi * min(1., (part - warm) / (1 - warm))))


class Average:
    """Moving average of all tensors of a network, which is what is saved and judged."""

    def __init__(self, net, decay=.998):
        self.decay, self.steps = decay, 0
        self.state = {k: v.detach().clone() for k, v in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net):
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (20 + self.steps))
        now = net.state_dict()
        names = [k for k, v in now.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in names], [now[k].detach() for k in names], 1 - d)


def rounded(state):
    """Matrices and kernels as float16, vectors as float32; what counts steps of training is left out."""
    return {k: v.detach().cpu().contiguous().to(torch.float16 if v.ndim > 1 else torch.float32) for k, v in state.items() if v.is_floating_point()}


def write_safetensors(path, state, metadata):
    names = {torch.float16: "F16", torch.float32: "F32"}
    header, at = {"__metadata__": metadata}, 0
    state = dict(sorted(state.items(), key=lambda kv: (-kv[1].element_size(), kv[0])))
    for k, v in state.items():
        size = v.numel() * v.element_size()
        header[k] = {"dtype": names[v.dtype], "shape": list(v.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for v in state.values():
            f.write(v.numpy().tobytes())
    os.replace(path + ".part", path)


def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    types = {"F16": torch.float16, "F32": torch.float32}
    header, body = json.loads(data[8:8 + n]), memoryview(bytearray(data[8 + n:]))
    return {k: torch.frombuffer(body[t["data_offsets"][0]:t["data_offsets"][1]], dtype=types[t["dtype"]]).view(t["shape"]).float()
            for k, t in header.items() if k != "__metadata__"}


class Log:
    def __init__(self, path):
        self.start, self.file = time.time(), open(path, "w")

    def __call__(self, *words):
        line = f"[{time.time() - self.start:7.1f}] " + " ".join(str(w) for w in words)
        print(line, flush=True)
        print(line, file=self.file, flush=True)
