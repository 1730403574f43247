# SPDX-License-Identifier: Apache-2.0
"""Operators of random graphs that move elements: shapes, slices, gathers. As graph_operators.py."""
import math

import numpy as np
from onnx import numpy_helper

from graphs import ALL, FLOATS, TYPES, Dim, broadcast, count, derive


def transpose(g):
    x = g.take(ALL, special=True)
    perm = list(range(x.rank))
    for i in range(x.rank - 1):
        j = g.c.int(i, x.rank - 1)
        perm[i], perm[j] = perm[j], perm[i]
    if g.c.chance(20) or not perm:
        g.emit("Transpose", [x], x.kind, x.dims[::-1])
    else:
        g.emit("Transpose", [x], x.kind, [x.dims[p] for p in perm], perm=perm)


def split_number(g, n):
    """A random factorisation of n > 0."""
    out = []
    while n > 1 and g.c.chance(70) and len(out) < 4:
        f = g.c.pick([k for k in range(1, n + 1) if n % k == 0])
        out.append(f)
        n //= f
    return out + ([n] if n > 1 or g.c.chance(50) else [])


def reshape(g):
    """To constant dims; one dynamic dim becomes -1 or, in its place, 0; several merge into a -1."""
    x = g.take(ALL, special=True)
    dynamic = [i for i, d in enumerate(x.dims) if d.name]
    if not dynamic:
        n = count(x.dims)
        if n == 0:
            if any(d == 0 for d in x.dims) and g.opset >= 14:
                out = [Dim(0), Dim(g.c.int(0, 5))] + [Dim(2)] * g.c.int(0, 1)
                g.emit("Reshape", [x, g.ints(out)], x.kind, out, allowzero=1)
            return
        to = split_number(g, n)
        written = [int(d) for d in to]
        if to and g.c.chance(40):
            written[g.c.int(0, len(to) - 1)] = -1
        g.emit("Reshape", [x, g.ints(written)], x.kind, [Dim(d) for d in to])
        return
    first, last = dynamic[0], dynamic[-1]
    if x.empty:
        return
    rest = split_number(g, count(x.dims[last + 1:]))
    if first == last and g.c.chance(50):
        to, written = [*x.dims[:first + 1], *map(Dim, rest)], [0] * (first + 1) + rest
    else:
        merged = derive(lambda *s: math.prod(s), *x.dims[:last + 1]) if last else x.dims[0]
        to, written = [merged, *map(Dim, rest)], [-1] + rest
    g.emit("Reshape", [x, g.ints(written)], x.kind, to)


def reshape_by_shape(g):
    """The target is computed from Shape, as exporters write it."""
    x = g.take(ALL, (2, 4), when=lambda v: not v.empty and all(d.name is None for d in v.dims[2:]), special=True)
    if x is None:
        return
    shape = g.emit("Shape", [x], "i64", [Dim(x.rank)], keep=False, exact=True)
    i = g.c.int(0, 1)
    d = g.emit("Gather", [shape, g.scalar("i64", g.axis(x.rank, i))], "i64", [], keep=False, axis=0)
    d = g.emit("Unsqueeze", [d, g.ints(0)], "i64", [Dim(1)], keep=False)
    if i == 0:
        to = g.emit("Concat", [d, g.ints(-1)], "i64", [Dim(2)], keep=False, axis=0)
        dims = [x.dims[0], derive(lambda *s: math.prod(s), *x.dims[1:]) if x.rank > 2 else x.dims[1]]
    else:
        rest = count(x.dims[2:])
        to = g.emit("Concat", [g.ints(-1), d, g.ints(rest)], "i64", [Dim(3)], keep=False, axis=0)
        dims = [x.dims[0], x.dims[1], Dim(rest)]
    g.emit("Reshape", [x, to], x.kind, dims)


def flatten(g):
    x = g.take(ALL, (1, 4))
    a = g.c.int(0, x.rank)
    parts = [derive(lambda *s: math.prod(s), *p) if len(p) > 1 else p[0] if p else Dim(1) for p in (x.dims[:a], x.dims[a:])]
    g.emit("Flatten", [x], x.kind, parts, axis=g.axis(x.rank, a) if a < x.rank else a)


def squeeze(g):
    x = g.take(ALL, (0, 4), special=True)
    ones = [i for i, d in enumerate(x.dims) if d.one]
    if ones and g.c.chance(50):
        drop = [i for i in ones if g.c.chance(60)] or ones[:1]
        g.emit("Squeeze", [x, g.ints([g.axis(x.rank, i) for i in drop])], x.kind, [d for i, d in enumerate(x.dims) if i not in drop])
    elif x.rank < 4:
        at = sorted({g.c.int(0, x.rank) for _ in range(g.c.int(1, 2 if x.rank < 3 else 1))})
        dims = list(x.dims)
        for i in at:
            dims.insert(i, Dim(1))
        g.emit("Unsqueeze", [x, g.ints([g.axis(len(dims), i) for i in at])], x.kind, dims)


def slice_(g):
    """Negative starts, ends and steps, ends far outside. A dynamic axis is cut by steps, or loses its first or last element."""
    x = g.take(ALL, (1, 4), special=True)
    axes = [i for i in range(x.rank) if g.c.chance(60)] or [x.rank - 1]
    starts, ends, steps, dims = [], [], [], list(x.dims)
    for a in axes:
        d = x.dims[a]
        if d.name or d == 0:
            start, end, step = g.c.pick([(0, 2**31, 2), (-1, -2**31, -1), (0, 2**63 - 1, 1), (-1, -2**63, -2)])
            if d.name and d >= 2 and d.alt >= 2 and g.c.chance(40):
                start, end, step = g.c.pick([(1, 2**63 - 1, 1), (0, -1, 1)])
        else:
            start, end, step = g.c.int(-d - 1, d), g.c.int(-d - 1, d + 1), g.c.pick([1, 1, 2, -1, -2, 3])
        starts.append(start), ends.append(end), steps.append(step)

        def size(v, start=start, end=end, step=step):
            if v == 0:
                return 0
            first, last = (p + v if p < 0 else p for p in (start, end))
            low, high = (0, v) if step > 0 else (-1, v - 1)  # an end before the first element; a start is one of the elements
            return len(range(min(max(first, 0), high), min(max(last, low), high), step))

        dims[a] = Dim(size(int(d)), size(d.alt), f"s({d.name},{start},{end},{step})" if d.name and size(10**6) != 10**6 else d.name)
    kind = "i32" if all(abs(e) < 2**31 for e in ends) and g.c.chance(30) else "i64"
    inputs = [x, g.ints(starts, kind=kind), g.ints(ends, kind=kind), g.ints([g.axis(x.rank, a) for a in axes], kind=kind), g.ints(steps, kind=kind)]
    if all(s == 1 for s in steps) and g.c.chance(50):
        inputs.pop()
        if axes == list(range(len(axes))) and g.c.chance(50):
            inputs.pop()
    if not any(d == 0 for d in dims) or g.c.chance(20):
        g.emit("Slice", inputs, x.kind, dims)


def concat(g):
    x = g.take(ALL, (1, 4), special=True)
    a = g.c.int(0, x.rank - 1)
    inputs, dims = [x], list(x.dims)
    for _ in range(g.c.int(0, 2)):
        fits = [v for v in g.values if v.kind == x.kind and v.rank == x.rank and all(i == a or d.same(e) for i, (d, e) in enumerate(zip(x.dims, v.dims)))]
        v = g.c.pick(fits) if fits and g.c.chance(60) else g.new(x.kind, [g.dim() if i == a else d for i, d in enumerate(x.dims)])
        if count(dims) // max(1, dims[a]) * (dims[a] + v.dims[a]) > 4096:
            break
        inputs.append(v)
        dims[a] = derive(lambda p, q: p + q, dims[a], v.dims[a])
    g.emit("Concat", inputs, x.kind, dims, axis=g.axis(x.rank, a))


def split(g):
    x = g.take(ALL, (1, 4), when=lambda v: any(d.name is None and d > 1 for d in v.dims))
    if x is None:
        return
    a = g.c.pick([i for i, d in enumerate(x.dims) if d.name is None and d > 1])
    n = int(x.dims[a])
    if g.c.chance(50):
        cut = g.c.int(0, n)
        sizes = [cut, n - cut]
        made = g.emit("Split", [x, g.ints(sizes)], x.kind, x.dims, outputs=2, axis=g.axis(x.rank, a))
    else:
        parts = g.c.pick([k for k in range(2, n + 1) if n % k == 0])
        sizes = [n // parts] * parts
        more = {"num_outputs": parts} if g.opset >= 18 else {}
        made = g.emit("Split", [x], x.kind, x.dims, outputs=parts, axis=g.axis(x.rank, a), **more)
    for v, s in zip(made, sizes):
        v.dims = tuple(Dim(s) if i == a else d for i, d in enumerate(x.dims))


def pad(g):
    """Reflections stay below the size (beyond it they are undefined); wrapped and edge ones need an element."""
    mode = g.c.pick(["constant", "constant", "reflect", "edge"] + (["wrap"] if g.opset >= 19 else []))
    x = g.take(("f32", "f64", "i32", "i64", "i8", "u8", "bool", "f16") if mode == "constant" else ("f32", "f64", "i32", "i64"), (1, 4),
               when=lambda v: mode == "constant" or not v.empty)
    if x is None:
        return
    begin, end, dims = [], [], []
    for d in x.dims:
        most = 2 if mode in ("constant", "edge") else min(2, min(d, d.alt) - (mode == "reflect"))
        low = -1 if mode == "constant" and d.name is None and d > 2 else 0
        b, e = (g.c.int(low, most) if g.c.chance(60) else 0 for _ in range(2))
        begin.append(b), end.append(e)
        dims.append(derive(lambda v: v + b + e, d))
    if count(dims) > 8192:
        return
    inputs = [x, g.ints(begin + end)]
    if mode == "constant" and g.c.chance(50):
        inputs.append(g.scalar(x.kind, 1))
    g.emit("Pad", inputs, x.kind, dims, max(x.hi, 1), mode=mode)


def indices(g, n, dims, kind="i64"):
    """Indices of an axis of n elements, from the end too: one outside is an error."""
    return g.new(kind, dims, hi=n - 1, low=-n)


def gather(g):
    x = g.take(ALL, (1, 4), special=True, when=lambda v: any(d > 0 for d in v.dims))
    if x is None:
        return
    a = g.c.pick([i for i, d in enumerate(x.dims) if d > 0])
    n = min(x.dims[a], x.dims[a].alt)
    shape = g.dims(0, 2)
    if x.rank - 1 + len(shape) > 4 or count(x.dims) // x.dims[a] * count(shape) > 4096:
        return
    i = indices(g, n, shape, g.c.pick(["i64", "i32"]))
    g.emit("Gather", [x, i], x.kind, [*x.dims[:a], *shape, *x.dims[a + 1:]], axis=g.axis(x.rank, a))


def gather_elements(g):
    x = g.take(ALL, (1, 3), when=lambda v: not v.empty)
    if x is None:
        return
    a = g.c.int(0, x.rank - 1)
    n = min(x.dims[a], x.dims[a].alt)
    dims = [g.dim() if i == a else d for i, d in enumerate(x.dims)]
    g.emit("GatherElements", [x, indices(g, n, dims)], x.kind, dims, axis=g.axis(x.rank, a))


def gather_nd(g):
    x = g.take(ALL, (1, 4), when=lambda v: not v.empty)
    if x is None:
        return
    k, m = g.c.int(1, x.rank), g.dim(False)
    n = min(min(d, d.alt) for d in x.dims[:k])
    if int(m) * count(x.dims[k:]) <= 4096:
        g.emit("GatherND", [x, indices(g, n, [m, Dim(k)])], x.kind, [m, *x.dims[k:]])


def scatter(g):
    """Indices differ from each other: which of several updates of one element remains is undefined."""
    x = g.take(("f32", "f64", "i64", "i32", "f16", "bool"), (1, 3), when=lambda v: not v.empty)
    if x is None:
        return
    if g.c.chance(50):
        a = g.c.int(0, x.rank - 1)
        n = min(x.dims[a], x.dims[a].alt)
        if not x.static:
            return
        k = g.c.int(1, n)
        shape = [k if i == a else int(d) for i, d in enumerate(x.dims)]
        order = np.argsort(g.rng.random([n if i == a else s for i, s in enumerate(shape)]), axis=a)
        index = g.constant(np.take(order, range(k), axis=a).astype(np.int64) - n * g.c.int(0, 1))
        g.emit("ScatterElements", [x, index, g.new(x.kind, map(Dim, shape), hi=x.hi if x.kind in FLOATS else None)], x.kind, x.dims, axis=g.axis(x.rank, a))
    else:
        n = min(x.dims[0], x.dims[0].alt)
        k = g.c.int(1, n)
        index = g.constant(g.rng.permutation(n)[:k].reshape(k, 1).astype(np.int64))
        g.emit("ScatterND", [x, index, g.new(x.kind, [Dim(k), *x.dims[1:]])], x.kind, x.dims)


def expand(g):
    x = g.take(ALL, (0, 4))
    to = [Dim(g.c.int(0, 4) if g.c.chance(10) else g.c.int(1, 4)) if d.one else Dim(1) if d.name or g.c.chance(30) else d for d in x.dims]
    if len(to) < 4 and g.c.chance(40):
        to = [Dim(g.c.int(1, 3)), *to]
    elif to and g.c.chance(20):
        to = to[1:]
    dims = broadcast(x.dims, to)
    if dims is not None and count(dims) <= 4096:
        g.emit("Expand", [x, g.ints(to)], x.kind, dims)


def expand_by_shape(g):
    a = g.take(ALL, (1, 4))
    b = g.take(ALL, (0, 4))
    dims = broadcast(a.dims, b.dims)
    if dims is not None and count(dims) <= 4096:
        shape = g.emit("Shape", [a], "i64", [Dim(a.rank)], keep=False, exact=True)
        g.emit("Expand", [b, shape], b.kind, dims)


def tile(g):
    x = g.take(("f32", "f64", "i64", "i32", "i8", "u8", "bool", "f16"), (1, 4))
    by = [g.c.int(1, 3) if g.c.chance(95) else 0 for _ in x.dims]
    dims = [derive(lambda v: v * n, d) if n != 1 else d for n, d in zip(by, x.dims)]
    if count(dims) <= 4096 and count(dims, True) <= 4096:
        g.emit("Tile", [x, g.ints(by)], x.kind, dims)


def trilu(g):
    if g.opset >= 14:
        x = g.take(("f32", "f64", "i64", "i32", "bool", "f16"), (2, 4))
        inputs = [x] + ([g.scalar("i64", g.c.int(-3, 3))] if g.c.chance(60) else [])
        g.emit("Trilu", inputs, x.kind, x.dims, upper=g.c.int(0, 1))


def where(g):
    """The condition is exact by construction: only exact values are compared."""
    a = g.take(ALL, special=True)
    b, dims = g.like(a, special=True)
    if dims is None:
        return
    fits = [v for v in g.values if v.kind == "bool" and broadcast(v.dims, dims) is not None and count(broadcast(v.dims, dims)) <= 4096]
    c = g.c.pick(fits) if fits and g.c.chance(70) else g.new("bool", [Dim(1) if g.c.chance(30) else d for d in dims[g.c.int(0, len(dims)):]])
    out = broadcast(c.dims, dims)
    if g.c.chance(40):
        a, b = b, a
    g.emit("Where", [c, a, b], a.kind, out, max(a.hi, b.hi))


def one_hot(g):
    depth = g.c.int(1, 5)
    i = g.new(g.c.pick(["i64", "i32"]), g.dims(1, 3), hi=depth + 1 if g.c.chance(30) else depth - 1)
    kind = g.c.pick(["f32", "i64", "i32"])
    a = g.c.int(0, i.rank)
    dims = [*i.dims[:a], Dim(depth), *i.dims[a:]]
    g.emit("OneHot", [i, g.scalar("i64", depth), g.constant(np.array([0, 3], TYPES[kind][1]))], kind, dims, 3, axis=g.axis(len(dims), a), exact=True)


def shape_of(g):
    x = g.take(ALL)
    if g.c.chance(30):
        g.emit("Size", [x], "i64", [], 8192, exact=True)
        return
    more, n = {}, x.rank
    if g.opset >= 15 and x.rank and g.c.chance(50):
        start, end = g.c.int(-x.rank, x.rank), g.c.int(-x.rank, x.rank)
        more, n = {"start": start, "end": end}, len(range(x.rank)[start:end])
    g.emit("Shape", [x], "i64", [Dim(n)], 8192, exact=True, **more)


def fill(g):
    dims = [d for d in g.dims(0, 3, False)]
    kind = g.c.pick(["f32", "i64", "i32", "bool", "f16", "u8"])
    t = numpy_helper.from_array(np.array([1], TYPES[kind][1]))
    g.emit("ConstantOfShape", [g.ints([int(d) for d in dims])], kind, dims, 1, value=t)


def counting(g):
    kind = g.c.pick(["i64", "i32", "f32"])
    start, step, n = g.c.int(-3, 3), g.c.pick([1, 2, -1]), g.c.int(0, 6)
    g.emit("Range", [g.scalar(kind, v) for v in (start, start + step * n, step)], kind, [Dim(n)], 16)


def blocks(g):
    down = g.c.chance(50)
    k = 2
    shape = lambda: (g.dim(), Dim(g.c.pick([1, 2]) * (1 if down else 4)), Dim(2 * g.c.int(1, 3)), Dim(2 * g.c.int(1, 3)))  # noqa: E731
    x = g.new(g.c.pick(["f32", "f64"]), shape())
    n, c, h, w = x.dims
    if down:
        g.emit("SpaceToDepth", [x], x.kind, [n, Dim(c * 4), Dim(h // 2), Dim(w // 2)], blocksize=k)
    else:
        g.emit("DepthToSpace", [x], x.kind, [n, Dim(c // 4), Dim(h * 2), Dim(w * 2)], blocksize=k, mode=g.c.pick(["DCR", "CRD"]))


def resize(g):
    """By scales 2 and sizes; nearest of exact halves depends on rounding errors of the coordinate, so that scales are powers of two."""
    x = g.take(("f32",), (4, 4), when=lambda v: not v.empty)
    if x is None:
        return
    mode = g.c.pick(["nearest", "linear", "cubic"])
    by = g.c.pick([(2, 2), (2, 1), (1, 4)])
    dims = [*x.dims[:2], *[derive(lambda v: v * s, d) if s > 1 else d for s, d in zip(by, x.dims[2:])]]
    if count(dims) > 4096 or count(dims, True) > 4096:
        return
    transform = g.c.pick(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"] if mode != "nearest" else ["half_pixel", "asymmetric"])
    scales = g.constant(np.array([1, 1, *by], np.float32))
    more = {"nearest_mode": g.c.pick(["floor", "round_prefer_floor", "ceil", "round_prefer_ceil"])} if mode == "nearest" else {}
    g.emit("Resize", [x, None, scales], "f32", dims, x.hi * 2, exact=mode == "nearest" and x.exact, mode=mode, coordinate_transformation_mode=transform, **more)


def nonzero(g):
    """The size of the result depends on the values: nothing follows it."""
    x = g.take(("f32", "i64", "i32", "bool", "u8"), (1, 3), exact=True)
    v = g.emit("NonZero", [x], "i64", [Dim(x.rank), Dim(0)], exact=True, keep=False)
    g.leaves.append(v)


def eye(g):
    x = g.take(("f32", "i64", "i32", "f64"), (2, 2))
    g.emit("EyeLike", [x], x.kind, x.dims, 1, exact=True, k=g.c.int(-2, 2))


MOVES = [transpose, transpose, transpose, reshape, reshape, reshape, reshape_by_shape, flatten, squeeze, squeeze, slice_, slice_, slice_, concat, concat, split,
         split, pad, pad, gather, gather, gather_elements, gather_nd, scatter, expand, expand_by_shape, tile, trilu, where, where, one_hot, shape_of, fill,
         counting, blocks, resize, nonzero, eye]
