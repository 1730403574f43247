# SPDX-License-Identifier: Apache-2.0
"""Draws pictures of the kinds in shapes.py with torch, on CPU or GPU, many at a time; nothing is read from real pictures.

    render.py --output sheet.png [--boxes]      a contact sheet, to look at

Objects are drawn once as sprites (colours, shading, an outline), then placed on backgrounds with rotation, size, mirroring
and a shadow; at the end come light, blur, noise and contrast of the whole picture.
"""
import argparse
import math
import os
import struct
import sys
import zlib

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shapes

SPRITE, EXTENT = 128, 1.15      # a sprite shows [-EXTENT, EXTENT]


def hsv(h, s, v):
    """Tensors of equal shape -> [..., 3]"""
    k = torch.tensor([5., 3., 1.], device=h.device)
    t = (k + h.unsqueeze(-1) * 6) % 6
    return v.unsqueeze(-1) * (1 - s.unsqueeze(-1) * torch.clamp(torch.minimum(t, 4 - t), 0, 1))


class Renderer:
    def __init__(self, names, n, seed, device):
        self.names, self.device = list(names), torch.device(device)
        self.parts = torch.from_numpy(shapes.pool(self.names + ["clutter"], n, seed)).to(self.device)
        self.g = torch.Generator(device=self.device)
        self.g.manual_seed(seed)

    def rand(self, *shape, low=0., high=1.):
        return torch.rand(shape, generator=self.g, device=self.device) * (high - low) + low

    def ints(self, high, *shape):
        return torch.randint(high, shape, generator=self.g, device=self.device)

    # ---- sprites

    def colours(self, n):
        """[n, ROLES, 3]: most objects have the colours that their roles suggest."""
        r = self.rand(3, n, shapes.ROLES)
        lo = torch.tensor([[0, 0, 0, 0, 0, .04, .2], [.25, .2, .2, 0, 0, .35, .35], [.3, .3, .3, .05, .8, .2, .25]], device=self.device)
        hi = torch.tensor([[1, 1, 1, 1, 1, .12, .42], [1, 1, 1, .5, .2, .8, 1], [1, 1, 1, .3, 1, .6, .85]], device=self.device)
        free = (self.rand(n, 1) < .15) & (torch.arange(shapes.ROLES, device=self.device) >= shapes.WOOD)
        c = lo[:, None] + (hi - lo)[:, None] * r
        return torch.where(free.unsqueeze(-1), self.rand(n, shapes.ROLES, 3), hsv(c[0], c[1], c[2]))

    def sprites(self, kinds, sharp):
        """kinds [n] -> [n, 4, SPRITE, SPRITE], colours times alpha, and alpha. sharp [n]: side in pixels that it will be shown at."""
        n = kinds.numel()
        part = self.parts[kinds, self.ints(self.parts.shape[1], n)]
        line = (torch.arange(SPRITE, device=self.device) + .5) / SPRITE * 2 * EXTENT - EXTENT
        # Every object is bent a little: a shear, and a wave along x.
        x0, y0 = line.view(1, 1, -1), line.view(1, -1, 1)
        v = lambda lo, hi: self.rand(n, 1, 1, low=lo, high=hi)
        x = x0 + v(-.12, .12) * y0 + v(-.03, .03) * torch.sin(3 * y0 + v(0, 6))
        y = y0 + v(-.05, .05) * x0 + v(-.03, .03) * torch.sin(3 * x0 + v(0, 6))
        px = 2 * EXTENT / SPRITE * torch.clamp(SPRITE / sharp, 1).view(-1, 1, 1)
        colour = self.colours(n)
        light, angle, bevel = v(0, .35), v(0, 6.3), v(0, .4)
        shade = 1 + light * (torch.cos(angle) * x + torch.sin(angle) * y)
        outline = torch.where(self.rand(n, 1, 1) < .3, v(.02, .06), torch.zeros(1, 1, 1, device=self.device))
        rgb = torch.zeros(n, 3, SPRITE, SPRITE, device=self.device)
        a = torch.zeros(n, 1, SPRITE, SPRITE, device=self.device)
        for i in range(part.shape[1]):
            q = part[:, i]
            if not bool((q[:, 0] > 0).any()):
                break
            f = [q[:, k].view(-1, 1, 1) for k in range(shapes.FIELDS)]
            dx, dy = x - f[4], y - f[5]
            e = (torch.sqrt(((dx * f[6] + dy * f[7]) * f[8]) ** 2 + ((dy * f[6] - dx * f[7]) * f[9]) ** 2 + 1e-12) - 1) * f[10]
            e = torch.where(f[11] > 0, e.abs() - f[11], e)
            d = f[12] * x + f[13] * y - f[14]
            for k in range(15, 30, 3):
                d = torch.maximum(d, f[k] * x + f[k + 1] * y - f[k + 2])
            d = torch.where(f[0] == shapes.ELLIPSE, e, d - f[3])
            cover = torch.clamp(.5 - d / px, 0, 1) * (f[0] > 0)
            erase, paint = (cover * f[2]).unsqueeze(1), (cover * (1 - f[2])).unsqueeze(1)
            tint = (shade * (1 - bevel * torch.clamp(1 + d / .15, 0, 1)) * torch.where(d > -outline, .25, 1.)).unsqueeze(1)
            own = colour[torch.arange(n, device=self.device), q[:, 1].long()].view(-1, 3, 1, 1)
            rgb = (rgb * (1 - paint) + own * tint * paint) * (1 - erase)
            a = (a * (1 - paint) + paint) * (1 - erase)
        return torch.cat([rgb.clamp(0, 1).minimum(a.expand_as(rgb)), a], 1)

    def place(self, sprites, size, cx, cy, turn, mirror, squeeze, height, width):
        """Sprites on a canvas: side `size` pixels, centre (cx, cy). All [n]. -> [n, 4, height, width]"""
        y, x = torch.meshgrid(torch.arange(height, device=self.device) + .5, torch.arange(width, device=self.device) + .5, indexing="ij")
        w = lambda t: t.view(-1, 1, 1)
        dx, dy = x - w(cx), y - w(cy)
        u = (dx * torch.cos(w(turn)) + dy * torch.sin(w(turn))) * w(mirror) * w(squeeze) * 2 / w(size)
        v = (dy * torch.cos(w(turn)) - dx * torch.sin(w(turn))) / w(squeeze) * 2 / w(size)
        # Where it is shown small it is averaged first: halved until about as large as it is shown.
        level = torch.clamp(torch.floor(torch.log2(SPRITE / size)), 0, 3)
        out = sprites
        for k in range(1, 4):
            small = F.interpolate(F.avg_pool2d(sprites, 2 ** k), size=SPRITE, mode="bilinear", align_corners=False)
            out = torch.where((level == k).view(-1, 1, 1, 1), small, out)
        return F.grid_sample(out, torch.stack([u, v], -1), mode="bilinear", padding_mode="zeros", align_corners=False)

    # ---- what surrounds them

    def noise(self, n, height, width, first=2, octaves=5):
        """[n, 1, height, width], about 0, standard deviation about 1"""
        out = 0
        for k in range(octaves):
            cells = first * 2 ** k
            g = torch.randn(n, 1, cells + 1, cells + 1, generator=self.g, device=self.device) * .65 ** k
            out = out + F.interpolate(g, size=(height, width), mode="bicubic", align_corners=False)
        return out

    def texture(self, kind, n, height, width):
        """kind [n] of shapes.TEXTURES -> [n, 1, height, width] in 0..1, and its two colours [n, 2, 3]"""
        s = min(height, width)
        y, x = torch.meshgrid((torch.arange(height, device=self.device) + .5) / s, (torch.arange(width, device=self.device) + .5) / s, indexing="ij")
        v = lambda lo, hi: self.rand(n, 1, 1, low=lo, high=hi)
        turn, freq, soft = v(-.6, .6) + torch.where(v(0, 1) < .5, math.pi / 2, 0.), v(4, 12), v(4, 14)
        bend, phase = v(0, .02) * torch.sin(x * v(2, 7) + y * v(2, 7)), v(0, 1)
        a = (x * torch.cos(turn) + y * torch.sin(turn) + bend) * freq + phase
        b = (y * torch.cos(turn) - x * torch.sin(turn) + bend) * freq * v(.85, 1.2) + v(0, 1)
        duty = v(-.3, .3)
        step = lambda t: torch.sigmoid(t * soft)
        sa, sb = torch.sin(2 * math.pi * a), torch.sin(2 * math.pi * b)
        row = torch.floor(b * .8)
        brick = torch.minimum((a * .5 + row * .5) % 1, 1 - (a * .5 + row * .5) % 1) * 2
        mortar = torch.minimum(brick, torch.minimum((b * .8) % 1, 1 - (b * .8) % 1) * 1.2)
        cell = torch.sqrt(((a % 1) - .5) ** 2 + ((b % 1) - .5) ** 2)
        r = torch.sqrt((x - v(.2, .8)) ** 2 + (y - v(.2, .8)) ** 2) * freq * 1.2
        line = torch.minimum((a % 1 - .5).abs(), (b % 1 - .5).abs())
        every = torch.stack([step(sa + duty), step(sa * sb * 2), step((v(.22, .38) - cell) * 6), step((mortar - v(.06, .14)) * 8),
                             step(torch.sin(2 * math.pi * (a + v(.25, .5) * sb * .6)) + duty), step(torch.sin(2 * math.pi * r) + duty),
                             step((v(.05, .12) - line) * 10), step(self.noise(n, height, width, 5, 4).squeeze(1) + duty)], 1)
        return every[torch.arange(n, device=self.device), kind].unsqueeze(1), self.two_colours(n)

    def two_colours(self, n):
        one = hsv(self.rand(n), self.rand(n), self.rand(n, low=.1))
        two = hsv(self.rand(n), self.rand(n), self.rand(n, low=.1))
        near = ((one - two).abs().sum(-1, keepdim=True) < .45)
        return torch.stack([one, torch.where(near, (one + .5) % 1, two)], 1)

    def background(self, n, height, width):
        c = hsv(self.rand(n, 4), self.rand(n, 4, high=.8), self.rand(n, 4, low=.15))
        c = c[..., None, None]
        line = torch.linspace(0, 1, height, device=self.device).view(1, 1, -1, 1)
        sky = c[:, 0] * (1 - line) + c[:, 1] * line
        horizon = self.rand(n, 1, 1, 1, low=.35, high=1.4) + self.rand(n, 1, 1, 1, high=.08) * self.noise(n, height, width, 2, 3)
        ground = torch.sigmoid((line - horizon) * self.rand(n, 1, 1, 1, low=8, high=150))
        out = sky * (1 - ground) + c[:, 2] * ground
        grain = self.noise(n, height, width)
        out = out + grain * self.rand(n, 1, 1, 1, high=.14) * (.3 + c[:, 3])
        pattern, pair = self.texture(self.ints(len(shapes.TEXTURES), n), n, height, width)
        mix = torch.where(self.rand(n, 1, 1, 1) < .3, self.rand(n, 1, 1, 1, high=.3), torch.zeros(1, device=self.device))
        pattern = pair[:, 0, :, None, None] * pattern + pair[:, 1, :, None, None] * (1 - pattern)
        return (out * (1 - mix) + pattern * mix).clamp(0, 1)

    def add(self, canvas, layer, dx, dy, shadow):
        """layer over canvas, with its shadow moved by (dx, dy) pixels."""
        dark = torch.roll(F.avg_pool2d(layer[:, 3:], 7, 1, 3), (int(dy), int(dx)), (2, 3)) * shadow.view(-1, 1, 1, 1)
        return canvas * (1 - dark) * (1 - layer[:, 3:]) + layer[:, :3]

    def finish(self, x):
        """Light, blur, contrast, noise of whole pictures [n, 3, height, width] in 0..1."""
        n, _, height, width = x.shape
        v = lambda lo, hi: self.rand(n, 1, 1, 1, low=lo, high=hi)
        yy = torch.linspace(-1, 1, height, device=self.device).view(1, 1, -1, 1)
        xx = torch.linspace(-1, 1, width, device=self.device).view(1, 1, 1, -1)
        x = x * (1 + v(-.3, .3) * xx + v(-.3, .3) * yy) * (1 + v(0, .25) * (.6 - xx * xx - yy * yy))
        x = (x * (1 + (self.rand(n, 3, 1, 1) - .5) * .3)).clamp(0, 1) ** torch.exp(v(-.45, .45))
        sigma = torch.where(self.rand(n, 1) < .45, self.rand(n, 1, low=.4, high=1.8), torch.full((1, 1), .05, device=self.device))
        t = torch.arange(-5, 6, device=self.device)
        k = torch.exp(-t * t / (2 * sigma * sigma))
        k = (k / k.sum(1, keepdim=True)).repeat_interleave(3, 0)
        x = x.reshape(1, n * 3, height, width)
        x = F.conv2d(F.pad(x, (5, 5, 0, 0), mode="replicate"), k.view(-1, 1, 1, 11), groups=n * 3)
        x = F.conv2d(F.pad(x, (0, 0, 5, 5), mode="replicate"), k.view(-1, 1, 11, 1), groups=n * 3).reshape(n, 3, height, width)
        level = torch.where(v(0, 1) < .5, v(0, .06), torch.zeros(1, device=self.device))
        x = (x - .5) * v(.6, 1.2) + .5 + v(-.08, .08)
        x = x + torch.randn(x.shape, generator=self.g, device=self.device) * level
        return (x.clamp(0, 1) * 255).round().to(torch.uint8)

    # ---- pictures

    def scatter(self, canvas, sprites, size, shadow):
        """sprites[i] as large as size[i] somewhere on canvas[i]: the new canvas, and the object's alpha [n, height, width]."""
        n, _, height, width = canvas.shape
        turn = torch.randn(n, generator=self.g, device=self.device) * .22
        mirror = torch.where(self.rand(n) < .5, 1., -1.)
        margin = .5 - size / torch.tensor([[width], [height]], device=self.device) * .36
        centre = .5 + (self.rand(2, n) - .5) * 2 * margin.clamp(min=.06)
        layer = self.place(sprites, size * EXTENT, centre[0] * width, centre[1] * height, turn, mirror, torch.exp((self.rand(n) - .5) * .3),
                           height, width)
        d = max(1, min(height, width) // 60)
        return self.add(canvas, layer, d * (1 if float(self.rand(1)) < .5 else -1), d, shadow), layer[:, 3]

    def classes(self, n, side):
        """n pictures side x side of one object each, or filled by one texture: uint8 [n, 3, side, side], labels [n] of class_names."""
        objects = len(self.names)
        label = self.ints(objects + len(shapes.TEXTURES), n)
        canvas = self.background(n, side, side)
        is_texture = (label >= objects).view(-1, 1, 1, 1)
        pattern, pair = self.texture((label - objects).clamp(min=0), n, side, side)
        pattern = pair[:, 0, :, None, None] * pattern + pair[:, 1, :, None, None] * (1 - pattern)
        keep = self.rand(n, 1, 1, 1, low=.55)
        canvas = torch.where(is_texture, pattern * keep + canvas * (1 - keep), canvas)
        shadow = self.rand(n, high=.5)
        clutter = torch.full((n,), objects, device=self.device)
        kinds = torch.stack([clutter, clutter, label.clamp(max=objects - 1)])
        size = torch.stack([self.rand(n, low=.1, high=.4), self.rand(n, low=.1, high=.4), self.rand(n, low=.32, high=.95)]) * side
        sprites = self.sprites(kinds.flatten(), size.flatten()).view(3, n, 4, SPRITE, SPRITE)
        for k in range(2):
            with_it, _ = self.scatter(canvas, sprites[k], size[k], shadow)
            canvas = torch.where(is_texture | (self.rand(n, 1, 1, 1) < .5), canvas, with_it)
        with_it, _ = self.scatter(canvas, sprites[2], size[2], shadow)
        return self.finish(torch.where(is_texture, canvas, with_it)), label

    def scenes(self, n, height, width, most=8):
        """n scenes: uint8 [n, 3, height, width], boxes [n, most, 4] (x1, y1, x2, y2; pixels, exclusive ends), labels [n, most] (-1: none),
        masks bool [n, most, height, width] of what is visible."""
        objects = len(self.names)
        count = 1 + self.ints(most, n)
        side = min(height, width)
        canvas, shadow = self.background(n, height, width), self.rand(n, high=.5)
        labels = self.ints(objects, n, most)
        kinds = torch.cat([torch.full((n, 2), objects, device=self.device), labels], 1)
        size = torch.exp(self.rand(n, most, low=math.log(.13), high=math.log(.62))) * torch.where(count > 5, .75, 1.)[:, None]
        size = torch.cat([self.rand(n, 2, low=.06, high=.35), size], 1) * side
        sprites = self.sprites(kinds.flatten(), size.flatten()).view(n, 2 + most, 4, SPRITE, SPRITE)
        for k in range(2):
            canvas, _ = self.scatter(canvas, sprites[:, k], size[:, k], shadow)
        masks = torch.zeros(n, most, height, width, device=self.device)
        own = torch.zeros(n, most, device=self.device)
        for k in range(most):
            after, alpha = self.scatter(canvas, sprites[:, 2 + k], size[:, 2 + k], shadow)
            on = (k < count).view(-1, 1, 1)
            canvas = torch.where(on.unsqueeze(1), after, canvas)
            alpha = alpha * on
            masks[:, :k] *= (1 - alpha).unsqueeze(1)
            masks[:, k] = alpha
            own[:, k] = (alpha > .5).sum((1, 2))
        masks = masks > .5
        area = masks.sum((2, 3))
        good = (area >= 48) & (area >= .25 * own)
        labels = torch.where(good, labels, -1)
        masks = masks & good[..., None, None]
        return self.finish(canvas), boxes_of(masks), labels, masks


def boxes_of(masks):
    """bool [..., height, width] -> float [..., 4]; zeros where empty"""
    sides = []
    for axis in (-2, -1):                                           # any over rows: columns used
        line = masks.any(axis)
        size = line.shape[-1]
        place = torch.arange(size, device=masks.device)
        sides.append((torch.where(line, place, size).amin(-1), torch.where(line, place + 1, 0).amax(-1)))
    (x1, x2), (y1, y2) = sides
    box = torch.stack([x1, y1, x2, y2], -1).float()
    return torch.where(masks.any(-1).any(-1).unsqueeze(-1), box, 0.)


def write_png(path, x):
    """x uint8 [height, width, 3]"""
    height, width, _ = x.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), np.ascontiguousarray(x).reshape(height, -1)], 1)
    # Up filter: smaller files, since neighbours are alike.
    rows[1:, 1:] = (x[1:].astype(np.int16) - x[:-1]).astype(np.uint8).reshape(height - 1, -1)
    rows[1:, 0] = 2
    chunk = lambda tag, data: struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--output", required=True)
    ap.add_argument("--boxes", action="store_true", help="scenes with their boxes; without it one row a class")
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    r = Renderer(shapes.KINDS, 64, a.seed, "cpu")
    if a.boxes:
        x, boxes, labels, masks = r.scenes(12, 256, 320)
        for i in range(12):
            for b, c, m in zip(boxes[i].int().tolist(), labels[i].tolist(), masks[i]):
                if c >= 0:
                    x[i, :, b[1]:b[3], [b[0], b[2] - 1]] = 255
                    x[i, :, [b[1], b[3] - 1], b[0]:b[2]] = 255
                    x[i, 0] = torch.where(m, x[i, 0] // 2 + 127, x[i, 0])
        across = 4
    else:
        x, label = r.classes(len(shapes.KINDS) * 16, 96)
        x, across = x[torch.argsort(label)], 24
    x = x[:x.shape[0] // across * across]
    n, _, h, w = x.shape
    write_png(a.output, x.view(n // across, across, 3, h, w).permute(0, 3, 1, 4, 2).reshape(n // across * h, across * w, 3).numpy())


if __name__ == "__main__":
    main()
