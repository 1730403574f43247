#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 1: scenes of coloured shapes, phrases that mean exactly one of them, regions with features.

    scenes.py --out FOLDER --n 12 [--seed 1]     PNG, overlay and phrases to look at
    scenes.py --bench SECONDS                    scenes a second of one process

A scene is a picture with 3 to 10 objects: kind, colour, size, place.  A phrase is accepted only when its meaning, worked out
on the objects, leaves one of them.  Regions are what a detector might propose: boxes near the objects, boxes that hold half
of one or two at once, and empty ones.  The feature of a region is a fixed function of its pixels (FEATURES numbers, below):
nothing is learnt there, so any program can make the same.  Needs Pillow and numpy, no real picture.
"""
import argparse
import json
import math
import os
import random
import time

import numpy as np
from PIL import Image, ImageDraw

COLOURS = dict(red=(214, 40, 40), green=(46, 160, 67), blue=(45, 90, 220), yellow=(240, 210, 40), orange=(245, 140, 30), purple=(140, 60, 180),
               pink=(250, 150, 190), brown=(125, 80, 45), black=(25, 25, 25), gray=(130, 130, 130), cyan=(50, 200, 215))
KINDS = ["circle", "square", "triangle", "star", "diamond", "cross", "ring", "rectangle", "hexagon", "heart"]
ALSO = dict(circle=["disc", "ball"], square=["box"], ring=["hoop"], rectangle=["bar"], cross=["plus"], heart=[], star=[], diamond=["rhombus"],
            triangle=[], hexagon=[])
SIZES = dict(small=["small", "little", "tiny"], large=["large", "big", "huge"])
PLACES = dict(left=["on the left", "on the left side", "at left"], right=["on the right", "on the right side", "at right"],
              top=["at the top", "on top", "in the upper part"], bottom=["at the bottom", "below everything", "in the lower part"],
              middle=["in the middle", "in the center"])
EXTREMES = dict(leftmost=["leftmost {}", "{} farthest left", "far left {}"], rightmost=["rightmost {}", "{} farthest right", "far right {}"],
                topmost=["topmost {}", "highest {}", "{} nearest the top"], bottommost=["lowest {}", "bottom {}", "{} nearest the bottom"],
                largest=["largest {}", "biggest {}"], smallest=["smallest {}"])
RELATIONS = dict(left=["left of", "to the left of"], right=["right of", "to the right of"], above=["above", "over", "higher than"],
                 below=["below", "under", "beneath"], near=["next to", "nearest to", "closest to", "beside"])
GRID = 8
FEATURES = 3 * GRID * GRID + 3 * (GRID // 2) ** 2 + 16      # 256: the box as 8x8 cells, its surroundings as 4x4, sums
MAX_REGIONS = 36


# ---- scenes
def outline(kind, cx, cy, r, turn=0.):
    """The polygon of a kind; circles and rings are drawn otherwise."""
    points = lambda n, start, radii: [(cx + radii[i % len(radii)] * r * math.cos(start + 2 * math.pi * i / n),
                                       cy + radii[i % len(radii)] * r * math.sin(start + 2 * math.pi * i / n)) for i in range(n)]
    if kind == "square":
        return points(4, math.pi / 4 + turn, [1.25])
    if kind == "triangle":
        return points(3, -math.pi / 2 + turn, [1.15])
    if kind == "star":
        return points(10, -math.pi / 2 + turn, [1.15, .48])
    if kind == "diamond":
        return [(cx, cy - 1.15 * r), (cx + .7 * r, cy), (cx, cy + 1.15 * r), (cx - .7 * r, cy)]
    if kind == "hexagon":
        return points(6, turn, [1.])
    if kind == "rectangle":
        return [(cx - 1.2 * r, cy - .55 * r), (cx + 1.2 * r, cy - .55 * r), (cx + 1.2 * r, cy + .55 * r), (cx - 1.2 * r, cy + .55 * r)]
    if kind == "cross":
        a = .36 * r
        return [(cx - a, cy - r), (cx + a, cy - r), (cx + a, cy - a), (cx + r, cy - a), (cx + r, cy + a), (cx + a, cy + a), (cx + a, cy + r),
                (cx - a, cy + r), (cx - a, cy + a), (cx - r, cy + a), (cx - r, cy - a), (cx - a, cy - a)]
    t = [2 * math.pi * i / 28 for i in range(28)]            # heart
    return [(cx + r * .0625 * 16 * math.sin(v) ** 3, cy - r * .0625 * (13 * math.cos(v) - 5 * math.cos(2 * v) - 2 * math.cos(3 * v) - math.cos(4 * v)))
            for v in t]


class Scene:
    """image (RGB), objects [dict(kind, colour, size, r, cx, cy, box)]; box x0, y0, x1, y1 in pixels"""

    def __init__(self, g):
        self.w, self.h = g.choice([(320, 240), (320, 240), (256, 256), (240, 320), (400, 240)])
        base = g.randint(150, 255)
        back = tuple(min(255, max(0, base + g.randint(-14, 14))) for _ in range(3))
        self.objects = []
        colours, kinds = g.sample(list(COLOURS), g.randint(2, 6)), g.sample(KINDS, g.randint(2, 5))     # few, so that one word is rarely enough
        for _ in range(60):
            if len(self.objects) >= self.target(g):
                break
            size = g.choice(["small", "large"])
            r = g.uniform(10, 15) if size == "small" else g.uniform(22, 32)
            cx, cy = g.uniform(1.3 * r, self.w - 1.3 * r), g.uniform(1.3 * r, self.h - 1.3 * r)
            if all(math.hypot(cx - o["cx"], cy - o["cy"]) > 1.05 * (r + o["r"]) + 3 for o in self.objects):
                self.objects.append(dict(kind=g.choice(kinds), colour=g.choice(colours), size=size, r=r, cx=cx, cy=cy))
        im = Image.new("RGB", (2 * self.w, 2 * self.h), back)
        d = ImageDraw.Draw(im)
        if g.random() < .3:                                   # a floor
            y = g.randint(self.h, 2 * self.h)
            d.rectangle((0, y, 2 * self.w, 2 * self.h), fill=tuple(max(0, v - g.randint(5, 25)) for v in back))
        for o in self.objects:
            self.paint(d, o, g)
        rng = np.random.default_rng(g.getrandbits(32))
        a = np.asarray(im.resize((self.w, self.h), Image.BOX), np.float32)
        a = a * g.uniform(.85, 1.1) + rng.normal(0, g.uniform(0, 7), a.shape).astype(np.float32)
        self.image = Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))

    @staticmethod
    def target(g):
        return g.randint(3, 10)

    @staticmethod
    def paint(d, o, g):
        colour = tuple(min(255, max(0, v + g.randint(-18, 18))) for v in COLOURS[o["colour"]])
        cx, cy, r = 2 * o["cx"], 2 * o["cy"], 2 * o["r"]
        if o["kind"] in ("circle", "ring"):
            box = (cx - r, cy - r, cx + r, cy + r)
            if o["kind"] == "circle":
                d.ellipse(box, fill=colour)
            else:
                d.ellipse(box, outline=colour, width=max(4, int(.34 * r)))
            o["box"] = [v / 2 for v in box]
        else:
            p = outline(o["kind"], cx, cy, r, g.uniform(-.2, .2))
            d.polygon(p, fill=colour)
            xs, ys = [x for x, _ in p], [y for _, y in p]
            o["box"] = [min(xs) / 2, min(ys) / 2, max(xs) / 2, max(ys) / 2]


# ---- phrases
def matches(objects, kind=None, colour=None, size=None):
    return [i for i, o in enumerate(objects) if kind in (None, o["kind"]) and colour in (None, o["colour"]) and size in (None, o["size"])]


def related(objects, relation, i, j, scene):
    """Is object i in this relation to object j?"""
    a, b = objects[i], objects[j]
    dx, dy = a["cx"] - b["cx"], a["cy"] - b["cy"]
    if relation == "near":
        near = sorted((math.hypot(o["cx"] - b["cx"], o["cy"] - b["cy"]) - o["r"], k) for k, o in enumerate(objects) if k != j)
        return near[0][1] == i and (len(near) < 2 or near[1][0] > near[0][0] * 1.2 + 3)
    return dict(left=dx < -12, right=dx > 12, above=dy < -12, below=dy > 12)[relation]


def placed(o, place, scene):
    x, y = o["cx"] / scene.w, o["cy"] / scene.h
    return dict(left=x < .38, right=x > .62, top=y < .38, bottom=y > .62, middle=.3 < x < .7 and .3 < y < .7)[place]


def extreme(objects, among, which):
    """The one of among that is farthest that way, if by a clear distance."""
    key = dict(leftmost=lambda o: o["cx"], rightmost=lambda o: -o["cx"], topmost=lambda o: o["cy"], bottommost=lambda o: -o["cy"],
               largest=lambda o: -o["r"], smallest=lambda o: o["r"])[which]
    order = sorted(among, key=lambda i: key(objects[i]))
    gap = 2.5 if which in ("largest", "smallest") else 10
    return order[0] if len(order) > 1 and key(objects[order[1]]) - key(objects[order[0]]) > gap else None


def noun(g, o, parts):
    """Words for an object from the parts of its description that are said."""
    words = []
    if "size" in parts:
        words.append(g.choice(SIZES[o["size"]]))
    if "colour" in parts:
        words.append("grey" if o["colour"] == "gray" and g.random() < .4 else o["colour"])
    words.append(g.choice([o["kind"], o["kind"], *ALSO[o["kind"]]]) if "kind" in parts else g.choice(["one", "shape", "thing", "object"]))
    return " ".join(words)


def describe(g, o):
    parts = [p for p, q in (("size", .4), ("colour", .65), ("kind", .8)) if g.random() < q] or ["kind"]
    return parts, {k: o[k] for k in parts}


def phrase(scene, g):
    """A phrase and the index of the object that it means, or None."""
    objects = scene.objects
    i = g.randrange(len(objects))
    parts, said = describe(g, objects[i])
    among, text, form = matches(objects, **said), noun(g, objects[i], parts), g.random()
    if form < .25:
        left = among
    elif form < .40:
        place = g.choice([p for p in PLACES if placed(objects[i], p, scene)] or ["left"])
        left = [k for k in among if placed(objects[k], place, scene)]
        # what stands just outside the area makes the phrase doubtful
        if len(left) == 1 and len(among) > 1 and any(abs(objects[k]["cx"] - objects[i]["cx"]) + abs(objects[k]["cy"] - objects[i]["cy"]) < 40 for k in among if k != i):
            return None
        text = f"{text} {g.choice(PLACES[place])}"
    elif form < .55:
        which = g.choice(list(EXTREMES))
        left = [extreme(objects, among, which)]
        text = g.choice(EXTREMES[which]).format(noun(g, objects[i], [p for p in parts if p != "size"]) if which.endswith("est") else text)
        if which in ("largest", "smallest") and "size" in parts:
            return None
    else:
        j = g.randrange(len(objects))
        if j == i:
            return None
        parts2, said2 = describe(g, objects[j])
        anchors = matches(objects, **said2)
        if anchors != [j]:
            return None
        relation = g.choice(list(RELATIONS))
        left = [k for k in among if k != j and related(objects, relation, k, j, scene)]
        text = f"{text} {g.choice(RELATIONS[relation])} the {noun(g, objects[j], parts2)}"
    if left != [i]:
        return None
    return ("the " + text if g.random() < .6 else text), i


# ---- regions
def iou(boxes, box):
    """[n, 4] against one, with the +1 of the authors' evaluation"""
    boxes, box = np.asarray(boxes, np.float64), np.asarray(box, np.float64)
    w = np.clip(np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0]) + 1, 0, None)
    h = np.clip(np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1]) + 1, 0, None)
    area = lambda b: (b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1)
    return w * h / (area(boxes) + area(box) - w * h)


def propose(scene, g):
    """Boxes in no order: near every object (one object in forty is missed), halves and doubles, empty places."""
    out = []
    for o in scene.objects:
        x0, y0, x1, y1 = o["box"]
        w, h = x1 - x0, y1 - y0
        if g.random() > .025:
            out.append([x0 + g.gauss(0, .05) * w, y0 + g.gauss(0, .05) * h, x1 + g.gauss(0, .05) * w, y1 + g.gauss(0, .05) * h])
        if g.random() < .35:
            dx, dy = g.choice([-1, 1]) * g.uniform(.3, .7) * w, g.uniform(-.5, .5) * h
            out.append([x0 + dx, y0 + dy, x1 + dx, y1 + dy])
    for _ in range(g.randint(0, 4)):                          # two objects at once
        a, b = g.choice(scene.objects)["box"], g.choice(scene.objects)["box"]
        out.append([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
    for _ in range(g.randint(0, 6)):
        s = g.uniform(15, 80)
        x, y = g.uniform(0, scene.w - s), g.uniform(0, scene.h - s)
        out.append([x, y, x + s, y + s])
    g.shuffle(out)
    b = np.array(out[:MAX_REGIONS], np.float64)
    b[:, 0::2] = np.clip(b[:, 0::2], 0, scene.w)
    b[:, 1::2] = np.clip(b[:, 1::2], 0, scene.h)
    keep = (b[:, 2] - b[:, 0] >= 4) & (b[:, 3] - b[:, 1] >= 4)
    return b[keep].astype(np.float32)


def features(image, boxes):
    """[n, FEATURES] of the pixels under boxes, 0..1 made -1..1: RGB means over 8x8 cells of the box (row, column, channel), over
    4x4 cells of the box with a quarter of its size around it, then mean, deviation, smallest and largest of each channel, the
    logarithms of width and height in pixels / 32, their ratio's, and a 1.  Means are Pillow's BOX filter."""
    out = np.zeros((len(boxes), FEATURES), np.float32)
    w, h = image.size
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        x0, y0, x1, y1 = float(x0), float(y0), float(x1), float(y1)
        a = np.asarray(image.resize((GRID, GRID), Image.BOX, box=(x0, y0, x1, y1)), np.float32) / 127.5 - 1
        mx, my = (x1 - x0) / 4, (y1 - y0) / 4
        rim = (max(0., x0 - mx), max(0., y0 - my), min(float(w), x1 + mx), min(float(h), y1 + my))
        b = np.asarray(image.resize((GRID // 2, GRID // 2), Image.BOX, box=rim), np.float32) / 127.5 - 1
        flat = a.reshape(-1, 3)
        size = [math.log(max(x1 - x0, 1.) / 32), math.log(max(y1 - y0, 1.) / 32), math.log(max(x1 - x0, 1.) / max(y1 - y0, 1.)), 1.]
        out[i] = np.concatenate([a.ravel(), b.ravel(), flat.mean(0), flat.std(0), flat.min(0), flat.max(0), size])
    return out


def rows(feature, boxes, width, height):
    """With the global row in front: features [n + 1, FEATURES], locations [n + 1, 5], boxes [n + 1, 4], as the authors' reader makes them."""
    boxes = np.asarray(boxes, np.float32)
    area = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0]) / (float(width) * float(height))
    loc = np.concatenate([boxes / np.array([width, height, width, height], np.float32), area[:, None]], 1)
    top = np.array([[0, 0, 1, 1, 1]], np.float32)
    return (np.concatenate([feature.sum(0, keepdims=True) / len(feature), feature]), np.concatenate([top, loc]).astype(np.float32),
            np.concatenate([np.array([[0, 0, width, height]], np.float32), boxes]))


def sample(g, phrases=4):
    """A scene with regions, and [(phrase, object's box, x0, y0, x1, y1)] of it."""
    while True:
        s = Scene(g)
        boxes = propose(s, g) if len(s.objects) > 1 else []
        said = {}
        for _ in range(10 * phrases):
            p = phrase(s, g) if len(boxes) > 1 else None
            if p and len(said) < phrases:
                said[p[0]] = s.objects[p[1]]["box"]
        if said:
            return s, boxes, list(said.items())


def save(folder, name, scene, boxes, said):
    """The picture, its regions in the npz that `tenon ground` reads, its phrases with boxes as x, y, w, h."""
    scene.image.save(f"{folder}/{name}.png")
    np.savez(f"{folder}/{name}.npz", features=features(scene.image, boxes), boxes=boxes, num_boxes=np.int64(len(boxes)),
             image_w=np.int64(scene.w), image_h=np.int64(scene.h))
    return [dict(image=name, phrase=t, bbox=[round(b[0], 2), round(b[1], 2), round(b[2] - b[0], 2), round(b[3] - b[1], 2)]) for t, b in said]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--n", type=int, default=12)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--bench", type=float, default=0)
    a = ap.parse_args()
    g = random.Random(a.seed)
    if a.bench:
        t, n, m = time.time(), 0, 0
        while time.time() - t < a.bench:
            s, boxes, said = sample(g)
            features(s.image, boxes)
            n, m = n + 1, m + len(said)
        print(f"{n / (time.time() - t):.1f} scenes/s, {m / n:.1f} phrases a scene")
        return
    os.makedirs(a.out, exist_ok=True)
    index = []
    for i in range(a.n):
        s, boxes, said = sample(g)
        index += save(a.out, f"scene-{i:03d}", s, boxes, said)
    json.dump(index, open(f"{a.out}/phrases.json", "w"), indent=1)


if __name__ == "__main__":
    main()
