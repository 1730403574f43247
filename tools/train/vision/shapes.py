# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that the recipes `classes` and `scenes` draw.

A kind is a function that describes n objects at once as a list of parts in the square [-1, 1] x [-1, 1] (x right, y down),
painted in order.  A part is an ellipse, a ring, or a convex polygon of up to six sides; it paints with the colour of its
role, or erases.  Every number may be an array of n: that is where the variety comes from.  `pool` turns a kind into arrays
[n, parts, FIELDS] that render.py draws on whatever device torch has.
"""
import numpy as np

MAIN, SECOND, THIRD, DARK, LIGHT, WOOD, GREEN = range(7)
ROLES = 7
# kind of part, role, erases, rounding | ellipse: cx, cy, cos, sin, 1/a, 1/b, min(a, b), half width of the ring (0: filled) | six sides: nx, ny, d
FIELDS = 4 + 8 + 18
NOTHING, ELLIPSE, POLYGON = range(3)


class Parts:
    def __init__(self, n, rng):
        self.n, self.rng, self.rows = n, rng, []

    def u(self, low, high):
        return self.rng.uniform(low, high, self.n)

    def chance(self, p):
        return self.rng.uniform(0, 1, self.n) < p

    def _row(self, kind, role, erase, rounding, on):
        row = np.zeros((self.n, FIELDS), np.float32)
        row[:, 0] = np.where(on, kind, NOTHING)
        row[:, 1], row[:, 2], row[:, 3] = role, erase, rounding
        row[:, 8:10] = 1
        self.rows.append(row)
        return row

    def ellipse(self, cx, cy, a, b, role, rot=0., ring=0., erase=False, on=True):
        row = self._row(ELLIPSE, role, erase, 0, on)
        for i, v in enumerate((cx, cy, np.cos(rot), np.sin(rot), 1 / np.asarray(a), 1 / np.asarray(b), np.minimum(a, b), ring)):
            row[:, 4 + i] = v

    def polygon(self, points, role, rounding=0., erase=False, on=True):
        """points: up to six pairs (x, y) around a convex polygon, either way."""
        p = np.stack([np.stack([np.broadcast_to(np.asarray(c, np.float64), (self.n,)) for c in q], -1) for q in points], 1)
        e = np.roll(p, -1, 1) - p
        normal = np.stack([e[..., 1], -e[..., 0]], -1)
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
        out = np.sign((normal * (p - p.mean(1, keepdims=True))).sum(-1))
        normal *= np.where(out == 0, 1, out)[..., None]
        d = (normal * p).sum(-1) - np.reshape(rounding, (-1, 1))
        row = self._row(POLYGON, role, erase, rounding, on)
        for i in range(6):
            k = min(i, p.shape[1] - 1)
            row[:, 12 + 3 * i:14 + 3 * i], row[:, 14 + 3 * i] = normal[:, k], d[:, k]

    def box(self, cx, cy, w, h, role, rounding=0., rot=0., **more):
        c, s = np.cos(rot), np.sin(rot)
        corners = [(sx * w / 2, sy * h / 2) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        self.polygon([(cx + x * c - y * s, cy + x * s + y * c) for x, y in corners], role, rounding, **more)

    def line(self, x0, y0, x1, y1, w, role, **more):
        dx, dy = np.asarray(x1) - x0, np.asarray(y1) - y0
        length = np.sqrt(dx * dx + dy * dy)
        self.box((np.asarray(x0) + x1) / 2, (np.asarray(y0) + y1) / 2, length + w, w, role, rounding=np.asarray(w) * .3, rot=np.arctan2(dy, dx), **more)


def house(p):
    w, top, h = p.u(.55, .85), p.u(-.25, .0), p.u(.75, .9)
    p.box(p.u(.25, .45), top - .35, .18, .5, DARK, on=p.chance(.6))
    p.polygon([(-w, top), (w, top), (w, h), (-w, h)], MAIN)
    over = w + p.u(.05, .18)
    p.polygon([(-over, top), (over, top), (p.u(-.1, .1), top - p.u(.45, .75))], SECOND)
    p.box(p.u(-.15, .15), (h + .45) / 2 - .05, .24, h - .25, WOOD)
    for s in (-1, 1):
        p.box(s * w * .62, top + .28, .26, .26, LIGHT, on=p.chance(.85))


def tree(p):
    w = p.u(.08, .16)
    p.polygon([(-w, .0), (w, .0), (w * 1.5, .95), (-w * 1.5, .95)], WOOD)
    r = p.u(.4, .6)
    for dx, dy, k in ((-.32, -.1, .75), (.32, -.12, .75), (0, -.35, 1), (.1, .0, .7), (-.12, -.5, .6)):
        p.ellipse(dx + p.u(-.08, .08), dy + p.u(-.08, .08), r * k, r * k * p.u(.8, 1), GREEN)


def pine(p):
    p.box(0, .75, p.u(.12, .2), .45, WOOD)
    k = p.u(.5, .75)
    for i, (top, base) in enumerate(((-.1, .65), (-.5, .25), (-.92, -.15))):
        w = k * (1 - .22 * i)
        p.polygon([(-w, base), (w, base), (0, top)], GREEN)


def car(p):
    y, h = p.u(.05, .15), p.u(.3, .4)
    roof = p.u(.35, .5)
    p.polygon([(-.6, y), (-.4, y - roof), (.25, y - roof), (.55, y)], SECOND)
    p.polygon([(-.48, y - .02), (-.34, y - roof + .09), (-.08, y - roof + .09), (-.08, y - .02)], LIGHT)
    p.polygon([(.0, y - .02), (.0, y - roof + .09), (.2, y - roof + .09), (.42, y - .02)], LIGHT)
    p.polygon([(-.92, y), (.9, y), (.95, y + h), (-.95, y + h)], MAIN, rounding=.06)
    r = p.u(.18, .24)
    for x in (-.55, .55):
        p.ellipse(x, y + h, r, r, DARK)
        p.ellipse(x, y + h, r * .45, r * .45, LIGHT)


def bus(p):
    h = p.u(.75, .95)
    p.box(0, .05 - h / 2 + .4, 1.85, h, MAIN, rounding=.08)
    for i in range(4):
        p.box(-.66 + .42 * i, .3 - h * .62, .3, h * .3, LIGHT, rounding=.03)
    p.box(0, .3, 1.8, .08, SECOND)
    r = p.u(.15, .2)
    for x in (-.55, .5):
        p.ellipse(x, .47, r, r, DARK)
        p.ellipse(x, .47, r * .4, r * .4, LIGHT)


def boat(p):
    x = p.u(-.15, .15)
    top = p.u(-.95, -.8)
    p.line(x, top, x, .4, .06, WOOD)
    p.polygon([(x + .06, top + .05), (x + .06, .28), (x + p.u(.5, .75), .28)], MAIN)
    p.polygon([(x - .06, top + .15), (x - .06, .28), (x - p.u(.3, .6), .28)], LIGHT, on=p.chance(.75))
    p.polygon([(-.9, .38), (.9, .38), (p.u(.5, .7), .85), (-p.u(.5, .7), .85)], SECOND)


def fish(p):
    b = p.u(.3, .5)
    p.polygon([(.4, 0), (.92, -p.u(.3, .5)), (.92, p.u(.3, .5))], SECOND)
    p.polygon([(-.2, -b * .6), (.3, -b * .6), (.25, -b - .28)], SECOND)
    p.ellipse(-.15, 0, .7, b, MAIN)
    for x in (-.05, .2):
        p.ellipse(x, 0, .05, b * .75, THIRD, on=p.chance(.5))
    p.ellipse(-.55, -b * .25, .1, .1, LIGHT)
    p.ellipse(-.57, -b * .25, .05, .05, DARK)


def flower(p):
    x = p.u(-.12, .12)
    p.line(x, 1 - .06, 0, -.2, .08, GREEN)
    p.ellipse(.22, .55, .24, .1, GREEN, rot=-.6, on=p.chance(.8))
    p.ellipse(-.2, .65, .24, .1, GREEN, rot=.7, on=p.chance(.7))
    r, turn, k = p.u(.26, .34), p.u(0, 1), p.u(.5, .7)
    for i in range(6):
        a = turn + i * np.pi / 3
        p.ellipse(np.cos(a) * r * 1.05, -.4 + np.sin(a) * r * 1.05, r, r * k, MAIN, rot=a)
    p.ellipse(0, -.4, r * .7, r * .7, SECOND)


def mushroom(p):
    w = p.u(.16, .28)
    p.polygon([(-w, -.1), (w, -.1), (w * 1.3, .9), (-w * 1.3, .9)], LIGHT, rounding=.06)
    p.ellipse(0, 0, p.u(.7, .95), p.u(.65, .85), MAIN)
    p.box(0, .6, 3, .9, 0, erase=True)
    p.polygon([(-w, .1), (w, .1), (w * 1.3, .9), (-w * 1.3, .9)], LIGHT, rounding=.06)
    for x, y in ((-.4, -.22), (.1, -.42), (.45, -.15)):
        p.ellipse(x, y, p.u(.08, .14), p.u(.07, .12), LIGHT, on=p.chance(.8))


def cup(p):
    w, t = p.u(.45, .6), p.u(-.6, -.45)
    p.ellipse(w, .05, p.u(.28, .38), p.u(.3, .38), MAIN, ring=p.u(.05, .08))
    taper = p.u(.7, 1)
    p.polygon([(-w, t), (w, t), (w * taper, .75), (-w * taper, .75)], MAIN, rounding=.05)
    p.box(0, .1, w * 1.7, p.u(.1, .3), SECOND, on=p.chance(.5))
    p.ellipse(0, t, w, .16, SECOND)
    p.ellipse(0, t, w * .86, .11, DARK)


def bottle(p):
    w, neck = p.u(.28, .42), p.u(.09, .14)
    p.box(0, -.6, neck * 2, .55, MAIN)
    p.polygon([(-neck, -.5), (neck, -.5), (w, -.1), (-w, -.1)], MAIN)
    p.box(0, .4, w * 2, 1.1, MAIN, rounding=.07)
    p.box(0, -.87, neck * 2.4, .14, SECOND)
    p.box(0, .4, w * 2, p.u(.3, .5), LIGHT, on=p.chance(.7))


def lamp(p):
    p.ellipse(0, .85, p.u(.3, .45), .12, DARK)
    p.line(0, -.2, 0, .82, p.u(.06, .1), WOOD)
    a, b = p.u(.2, .35), p.u(.55, .75)
    p.polygon([(-a, -.9), (a, -.9), (b, -.1), (-b, -.1)], MAIN)
    p.box(0, -.14, b * 1.8, .07, SECOND, on=p.chance(.5))


def chair(p):
    w = p.u(.08, .13)
    p.line(-.5, -.9, -.5, .9, w, WOOD)
    p.line(.45, .2, .5, .9, w, WOOD)
    p.line(-.1, .2, -.12, .8, w * .8, WOOD, on=p.chance(.6))
    p.box(0, .15, 1.1, p.u(.14, .22), MAIN)
    for y in (-.8, -.5):
        p.box(-.42, y, .2, .22, SECOND, on=p.chance(.7))


def table(p):
    h, w = p.u(.12, .2), p.u(.07, .13)
    p.polygon([(-.75, -.35), (.75, -.35), (.95, -.1), (-.95, -.1)], MAIN)
    p.box(0, -.05, 1.9, h, SECOND)
    for x in (-.8, .8):
        p.line(x, .0, x * .95, .75, w, WOOD)
    for x in (-.5, .5):
        p.line(x, .0, x, .5, w * .8, WOOD)


def clock(p):
    for x in (-.45, .45):
        p.line(x, .6, x * 1.25, .9, .1, DARK, on=p.chance(.5))
    r = p.u(.7, .85)
    p.ellipse(0, 0, r, r, MAIN)
    p.ellipse(0, 0, r * .82, r * .82, LIGHT)
    for i in range(4):
        a = i * np.pi / 2
        p.ellipse(np.cos(a) * r * .68, np.sin(a) * r * .68, .06, .06, DARK)
    for k, w in ((.42, .1), (.62, .06)):
        a = p.u(0, 2 * np.pi)
        p.line(0, 0, np.cos(a) * r * k, np.sin(a) * r * k, w, DARK)


def key(p):
    r = p.u(.28, .38)
    p.ellipse(-.55, 0, r, r * p.u(.8, 1), MAIN, ring=p.u(.09, .13))
    p.line(-.55 + r, 0, .88, 0, p.u(.1, .15), MAIN)
    for x in (.55, .8):
        p.box(x, .16, .11, p.u(.2, .34), MAIN)


def hammer(p):
    p.line(0, -.5, 0, .9, p.u(.12, .18), WOOD)
    p.box(-.1, -.65, .75, p.u(.28, .38), DARK, rounding=.03)
    p.polygon([(.25, -.82), (.25, -.48), (.75, -p.u(.4, .6))], DARK)
    p.box(-.5, -.65, .16, .44, MAIN)


def umbrella(p):
    r = p.u(.8, .92)
    p.ellipse(0, -.05, r, p.u(.7, .85), MAIN)
    p.ellipse(0, -.05, r * .4, .78, SECOND)
    p.box(0, .5, 3, 1.05, 0, erase=True)
    p.line(0, -.1, 0, .75, .07, DARK)
    p.ellipse(.12, .76, .14, .14, DARK, ring=.035)
    p.box(.12, .6, .16, .22, 0, erase=True)
    p.line(0, -.1, 0, .75, .07, DARK)


def balloon(p):
    p.line(0, .3, p.u(-.2, .2), .95, .035, DARK)
    p.polygon([(0, .3), (-.1, .46), (.1, .46)], MAIN)
    a = p.u(.45, .62)
    p.ellipse(0, -.3, a, p.u(.58, .66), MAIN)
    p.ellipse(-a * .4, -.55, .1, .16, LIGHT, rot=.4, on=p.chance(.7))


def kite(p):
    y, w = p.u(-.35, -.15), p.u(.45, .65)
    p.polygon([(0, -.95), (w, y), (0, y)], MAIN)
    p.polygon([(0, -.95), (-w, y), (0, y)], SECOND)
    p.polygon([(0, .45), (w, y), (0, y)], SECOND)
    p.polygon([(0, .45), (-w, y), (0, y)], MAIN)
    x = p.u(-.15, .15)
    p.line(0, .45, x, .95, .035, DARK)
    for k in (.4, .8):
        p.box(x * k, .45 + .5 * k, .22, .08, THIRD, rot=p.u(-.5, .5))


def rocket(p):
    w = p.u(.22, .32)
    p.polygon([(-w * .6, .7), (w * .6, .7), (0, p.u(.85, .98))], THIRD)
    for s in (-1, 1):
        p.polygon([(s * w * .9, .15), (s * w * .9, .7), (s * (w + p.u(.25, .4)), .78)], SECOND)
    p.box(0, .15, w * 2, 1.15, MAIN)
    p.polygon([(-w, -.42), (w, -.42), (0, -.95)], SECOND)
    p.ellipse(0, -.1, w * .55, w * .55, LIGHT)
    p.ellipse(0, .3, w * .4, w * .4, LIGHT, on=p.chance(.5))


def cat(p):
    for s in (-1, 1):
        p.polygon([(s * .75, -.25), (s * .2, -.5), (s * p.u(.55, .75), -.92)], MAIN)
    p.ellipse(0, .1, p.u(.72, .85), p.u(.62, .72), MAIN)
    for s in (-1, 1):
        p.ellipse(s * .32, -.05, .13, .16, LIGHT)
        p.ellipse(s * .32, -.05, .05, .13, DARK)
        p.line(s * .25, .35, s * .85, .3, .025, DARK)
    p.polygon([(-.1, .22), (.1, .22), (0, .36)], THIRD)


def snowman(p):
    for y, r in ((.5, .46), (-.12, .34), (-.58, .25)):
        p.ellipse(p.u(-.03, .03), y, r, r, LIGHT)
    p.box(0, -.78, .6, .08, DARK)
    p.box(0, -.88, .36, .2, DARK)
    p.polygon([(0, -.6), (0, -.5), (p.u(.2, .35), -.54)], THIRD)
    p.box(0, -.34, .5, .11, MAIN, on=p.chance(.75))
    for y in (.0, .3, .5):
        p.ellipse(0, y, .045, .045, DARK)


def butterfly(p):
    a, b = p.u(.38, .48), p.u(.28, .36)
    for s in (-1, 1):
        p.ellipse(s * .45, -.3, a, b, MAIN, rot=-s * .5)
        p.ellipse(s * .36, .38, a * .75, b * .8, SECOND, rot=s * .5)
        p.ellipse(s * .5, -.32, .13, .11, THIRD, on=p.chance(.7))
        p.line(s * .03, -.5, s * .2, -.85, .03, DARK)
    p.ellipse(0, 0, .07, .55, DARK)


def glasses(p):
    r, x = p.u(.3, .38), p.u(.44, .5)
    for s in (-1, 1):
        p.ellipse(s * x, 0, r, r * .9, LIGHT, on=p.chance(.4))
        p.ellipse(s * x, 0, r, r * .9, MAIN, ring=p.u(.04, .07))
        p.line(s * (x + r), -.1, s * .96, -.3, .07, MAIN)
    p.line(-x + r, -.03, x - r, -.03, .07, MAIN)


def bicycle(p):
    r, y = p.u(.33, .4), .35
    for x in (-.56, .56):
        p.ellipse(x, y, r, r, DARK, ring=.035)
    for a, b in (((-.56, y), (-.2, -.25)), ((-.2, -.25), (.38, -.25)), ((.38, -.25), (0, y)), ((0, y), (-.2, -.25)), ((-.56, y), (0, y)),
                 ((.56, y), (.32, -.5))):
        p.line(*a, *b, .06, MAIN)
    p.line(.2, -.52, .45, -.5, .06, DARK)
    p.box(-.24, -.36, .28, .09, DARK)


KINDS = {f.__name__: f for f in (house, tree, pine, car, bus, boat, fish, flower, mushroom, cup, bottle, lamp, chair, table, clock, key, hammer,
                                 umbrella, balloon, kite, rocket, cat, snowman, butterfly, glasses, bicycle)}
TEXTURES = ("stripes", "checks", "dots", "bricks", "waves", "rings", "grid", "camouflage")


def clutter(p):
    """No kind: a few shapes anywhere, for backgrounds."""
    for i in range(3):
        p.ellipse(p.u(-.6, .6), p.u(-.6, .6), p.u(.1, .4), p.u(.1, .4), i, rot=p.u(0, 3), on=p.chance(.5))
        p.box(p.u(-.6, .6), p.u(-.6, .6), p.u(.1, .9), p.u(.05, .4), (i + 1) % 3, rot=p.u(0, 3), on=p.chance(.5))


def pool(names, n, seed):
    """n objects of each of the kinds: float32 [kinds, n, parts, FIELDS]; parts that a kind lacks are NOTHING."""
    lists = []
    for k, name in enumerate(names):
        p = Parts(n, np.random.default_rng([seed, k]))
        (clutter if name == "clutter" else KINDS[name])(p)
        lists.append(np.stack(p.rows, 1))
    out = np.zeros((len(names), n, max(x.shape[1] for x in lists), FIELDS), np.float32)
    out[..., 8:10] = 1
    for k, x in enumerate(lists):
        out[k, :, :x.shape[1]] = x
    return out
