# SPDX-License-Identifier: Apache-2.0
"""Operators of random graphs: elementwise, reductions, products, windows, norms. graph_moves.py has the moves. Each function adds one operator to a Graph,
or nothing when no operand fits.

What the specification leaves open is excluded here, where the reason stands beside it."""
import math


from graph_moves import MOVES
from graphs import FLOATS, INTS, LIMIT, NUMBERS, TYPES, Dim, broadcast, count

#: name: (bound of the operand, bound of the result, first operator set)
SMOOTH = {
    "Exp": (6, lambda h: math.exp(h), 6), "Sin": (60, lambda h: 1, 7), "Cos": (60, lambda h: 1, 7), "Tanh": (LIMIT, lambda h: 1, 6),
    "Sigmoid": (LIMIT, lambda h: 1, 6), "Erf": (LIMIT, lambda h: 1, 9), "Elu": (LIMIT, lambda h: max(h, 1), 6), "Selu": (LIMIT / 2, lambda h: h * 1.1 + 2, 6),
    "Celu": (LIMIT, lambda h: max(h, 1), 12), "Softplus": (LIMIT, lambda h: h + 1, 1), "Softsign": (LIMIT, lambda h: 1, 1),
    "LeakyRelu": (LIMIT, lambda h: h, 6), "HardSigmoid": (LIMIT, lambda h: 1, 6), "HardSwish": (LIMIT, lambda h: h, 14), "Mish": (LIMIT, lambda h: h, 18),
    "Gelu": (LIMIT, lambda h: h, 20), "Sinh": (6, math.sinh, 9), "Cosh": (6, math.cosh, 9), "Atan": (LIMIT, lambda h: 2, 7),
    "Asinh": (LIMIT, lambda h: h, 9), "Tan": (1.2, lambda h: 3, 7), "Asin": (0.9, lambda h: 2, 7), "Acos": (0.9, lambda h: 4, 7),
    "Atanh": (0.9, lambda h: 2, 9)}


def smooth(g):
    op = g.c.pick([k for k, v in SMOOTH.items() if v[2] <= g.opset])
    x = g.take(("f32",) if op == "Celu" else FLOATS)
    most, hi, _ = SMOOTH[op]
    x = g.bound(x, most)
    more = {}
    if op in ("Elu", "LeakyRelu", "Celu") and g.c.chance(50):
        more["alpha"] = g.c.pick([0.25, 0.5, 1.0])
    elif op == "Gelu" and g.c.chance(50):
        more["approximate"] = "tanh"
    elif op == "HardSigmoid" and g.c.chance(50):
        more.update(alpha=0.25, beta=0.375)
    g.emit(op, [x], x.kind, x.dims, hi(x.hi), exact=False, **more)


def of_positive(g):
    """Log, Sqrt, Reciprocal: their operand is kept away from 0, where they magnify any rounding error, or are not defined."""
    x = g.take(FLOATS)
    op = g.c.pick(["Log", "Sqrt", "Reciprocal", "Acosh"])
    x = g.positive(x, 1.25 if op == "Acosh" else 0.5)
    g.emit(op, [x], x.kind, x.dims, max(x.hi, 2), exact=False)


def exact_unary(g):
    op = g.c.pick(["Abs", "Neg", "Relu", "Identity", "Neg", "Abs"])
    kinds = ("f32", "f16", "f64", "i64", "i32", "i8") if op in ("Neg", "Abs") else ("f32", "f16", "f64") + (("i32", "i8") if g.opset >= 14 else ())
    x = g.take(kinds, special=op != "Relu")  # Relu of NaN: max(0, NaN), which has no defined result
    g.emit(op, [x], x.kind, x.dims, x.hi)


def steps(g):
    """Operators that are not continuous: of exact operands."""
    op = g.c.pick(["Floor", "Ceil", "Round", "Sign", "ThresholdedRelu", "Shrink"])
    x = g.take(NUMBERS if op == "Sign" else FLOATS, exact=True)
    more = {"alpha": 0.5} if op == "ThresholdedRelu" else {"bias": 0.25, "lambd": 0.5} if op == "Shrink" else {}
    g.emit(op, [x], x.kind, x.dims, x.hi + 1, **more)


def is_special(g):
    op = g.c.pick(["IsNaN", "IsInf"])
    x = g.take(("f32", "f64", "f16") if op == "IsNaN" or g.opset >= 20 else ("f32", "f64"), exact=True, special=True)
    g.emit(op, [x], "bool", x.dims, 1)


def arithmetic(g):
    op = g.c.pick(["Add", "Sub", "Mul"])
    a = g.take(("f32", "f32", "f16", "f64", "i64", "i32") + (("i8", "u8") if g.opset >= 14 else ()), special=True)
    b, dims = g.like(a, special=True)
    if dims is None:
        return
    # Integers that overflow are undefined. uint8 below 0 too.
    most = 100 if a.kind in ("i8", "u8") else LIMIT
    if a.kind == "u8" and op == "Sub":
        op = "Add"
    limit = math.floor(math.sqrt(most)) if op == "Mul" else most / 2
    if a.kind in INTS:
        limit = int(limit)
    a, b = (g.bound(v, limit) if not v.special else v for v in (a, b))
    if g.c.chance(30):
        a, b = b, a
    # Products of infinities and finite numbers past LIMIT do not occur: both stay below it.
    g.emit(op, [a, b], a.kind, dims, a.hi * b.hi if op == "Mul" else a.hi + b.hi, exact=a.kind in INTS)


def divide(g):
    """Divisors keep away from 0: integer division by 0 is undefined, floats near 0 magnify rounding errors."""
    a = g.take(("f32", "f16", "f64", "i64", "i32"))
    b, dims = g.like(a)
    if dims is None:
        return
    if a.kind in FLOATS:
        b = g.positive(g.bound(b, LIMIT))
        g.emit("Div", [g.bound(a, LIMIT / 2), b], a.kind, dims, min(a.hi, LIMIT / 2) * 2, exact=False)
    else:
        # Divided toward 0, as in C: the specification says truncation for integers.
        b = g.emit("Max", [b, g.scalar(b.kind, 1)], b.kind, b.dims, b.hi + 1, keep=False) if g.opset >= 12 else b
        g.emit("Div", [a, b], a.kind, dims, a.hi)


def modulo(g):
    a = g.take(("i64", "i32", "f32", "f64"), exact=True)
    b = g.constant(g.rng.choice([1, 2, 3, 5, -3], [int(d) for d in a.dims[-1:]] if a.static and g.c.chance(50) else []).astype(TYPES[a.kind][1]))
    dims = broadcast(a.dims, b.dims)
    g.emit("Mod", [a, b], a.kind, dims, 5, **({"fmod": 1} if a.kind in FLOATS or g.c.chance(30) else {}))


def power(g):
    """Bases stay positive: negative ones have powers at whole exponents only."""
    a = g.take(FLOATS)
    if g.c.chance(50):
        a = g.bound(a, 10)
        e = g.scalar(a.kind, g.c.pick([2, 3, 1, 0]))
        g.emit("Pow", [a, e], a.kind, a.dims, a.hi ** 3 + 1, exact=False)
        return
    b, dims = g.like(a)
    if dims is not None:
        a, b = g.positive(g.bound(a, 4)), g.bound(b, 3)
        g.emit("Pow", [a, b], a.kind, dims, a.hi ** 3 + 8, exact=False)


def variadic(g):
    op = g.c.pick(["Max", "Min", "Sum", "Mean"])
    a = g.take(("f32", "f16", "f64", "i64", "i32") + (("i8", "u8") if g.opset >= 13 else ()) if op in ("Max", "Min") else FLOATS)
    inputs, dims = [g.bound(a, LIMIT / 4)], a.dims
    for _ in range(g.c.int(0, 2)):
        b, both = g.like(a, grow=False)
        both = broadcast(dims, b.dims)
        if both is not None and count(both) <= 4096:
            inputs.append(g.bound(b, LIMIT / 4 if a.kind in FLOATS else b.hi))
            dims = both
    hi = max(v.hi for v in inputs) * (len(inputs) if op == "Sum" else 1)
    g.emit(op, inputs, a.kind, dims, hi, exact=op in ("Max", "Min") and all(v.exact for v in inputs))


def compare(g):
    op = g.c.pick(["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"])
    a = g.take(NUMBERS if g.opset >= 12 else ("f32", "i64"), exact=True, special=True)
    b, dims = g.like(a, exact=True, special=True)
    if dims is not None:
        g.emit(op, [a, b], "bool", dims, 1)


def logic(g):
    a = g.take(("bool",))
    b, dims = g.like(a)
    if dims is not None and g.c.chance(75):
        g.emit(g.c.pick(["And", "Or", "Xor"]), [a, b], "bool", dims, 1)
    else:
        g.emit("Not", [a], "bool", a.dims, 1)


def bits(g):
    if g.opset >= 18 and g.c.chance(60):
        a = g.take(("i64", "i32", "i8", "u8"))
        b, dims = g.like(a)
        if dims is None:
            return
        # The bits of numbers below 2^k (or above -2^k) stay there.
        hi = max(2 ** math.ceil(math.log2(max(v.hi, 1) + 1)) for v in (a, b))
        if a.kind == "u8" or g.c.chance(70):
            g.emit(g.c.pick(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]), [a, b], a.kind, dims, min(hi, 255))
        else:
            g.emit("BitwiseNot", [a], a.kind, a.dims, hi)
    else:
        a = g.take(("u8",))
        n = g.scalar("u8", g.c.int(0, 7))  # shifts by the width and more are undefined
        g.emit("BitShift", [a, n], "u8", a.dims, 255, direction=g.c.pick(["LEFT", "RIGHT"]))


def clip(g):
    x = g.take(("f32", "f16", "f64") + (("i64", "i32", "i8", "u8") if g.opset >= 12 else ()))
    low, high = (0, 3) if x.kind == "u8" else g.c.pick([(-1, 2), (0, 6), (-2, -1)])
    low, high = g.c.pick([(low, high), (low, None), (None, high)])
    sides = [None if s is None else g.scalar(x.kind, s) for s in (low, high)]
    g.emit("Clip", [x, *sides][:3 if high is not None else 2], x.kind, x.dims, max(x.hi, 6), exact=x.exact)


def prelu(g):
    x = g.take(FLOATS)
    s = g.new(x.kind, [Dim(1) if g.c.chance(40) or d.name else d for d in x.dims[g.c.int(0, x.rank):]], hi=1)
    g.emit("PRelu", [x, s], x.kind, x.dims, x.hi, exact=False)


def cast(g):
    """To integers: within their range only (else undefined), and of exact operands. From float to bool: of exact operands."""
    x = g.take(ALL_KINDS, special=False)
    to = g.c.pick(ALL_KINDS)
    if to in INTS + ("bool",) and x.kind in FLOATS:
        if not x.exact:
            to = g.c.pick(FLOATS)
        elif to in INTS:
            x = g.bound(x, 100)
    if to in ("i8", "u8") and x.kind in INTS:
        x = g.bound(x, 100)
    if to == "u8" and x.kind not in ("u8", "bool"):
        x = g.emit("Abs", [x], x.kind, x.dims, x.hi, keep=False)
    if to == "f16":
        x = g.bound(x, LIMIT)
    g.emit("Cast", [x], to, x.dims, 1 if to == "bool" else max(x.hi, 1), to=TYPES[to][0])


ALL_KINDS = NUMBERS + ("bool",)


def reduce(g):
    op = g.c.pick(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum",
                   "ReduceLogSumExp"])
    kinds = {"ReduceSum": ("f32", "f16", "f64", "i32", "i64"), "ReduceMax": ("f32", "f16", "f64", "i32", "i64", "i8", "u8"),
             "ReduceMin": ("f32", "f16", "f64", "i32", "i64", "i8", "u8"), "ReduceProd": ("f32", "i32", "i64"), "ReduceL1": ("f32", "f64", "i32")}
    # Integer means and roots: rounding is left open, floats only. Of nothing: the maximum, minimum and mean are not defined for every type and version.
    nothing = op in ("ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
    x = g.take(kinds.get(op, FLOATS), when=lambda v: nothing or not v.empty)
    if x is None:
        return
    axes = [a for a in range(x.rank) if g.c.chance(50)]
    keep = g.c.int(0, 1)
    all_axes = not axes
    over = axes or list(range(x.rank))
    n = max(count([x.dims[a] for a in over]), count([x.dims[a] for a in over], True), 1)
    if op == "ReduceProd":
        x = g.bound(x, 1) if x.kind in INTS else g.bound(x, 1.2)
        if n > 24 and x.kind in FLOATS:
            return
        hi = x.hi ** n + 1 if x.hi > 1 else 1
    elif op == "ReduceLogSum":
        x = g.positive(g.bound(x, LIMIT / n))
        hi = 10
    elif op == "ReduceLogSumExp":
        x = g.bound(x, 6)
        hi = 6 + math.log(n)
    elif op == "ReduceSumSquare":
        x = g.bound(x, math.sqrt(LIMIT / n))
        hi = x.hi ** 2 * n
    elif op in ("ReduceSum", "ReduceL1", "ReduceL2"):
        x = g.bound(x, LIMIT / n if x.kind in FLOATS else x.hi)
        hi = x.hi * n
    else:
        hi = x.hi
    dims = [Dim(1) if a in over else d for a, d in enumerate(x.dims) if keep or a not in over]
    written = [g.axis(x.rank, a) for a in axes]
    g.c.chance(50) and written.reverse()
    inputs, more = [x], {"keepdims": keep}
    if g.opset >= (13 if op == "ReduceSum" else 18):
        if not all_axes:
            inputs.append(g.ints(written))
        elif g.c.chance(30) and op in ("ReduceSum", "ReduceMax", "ReduceMean"):
            more["noop_with_empty_axes"] = 1
            dims, hi = x.dims, max(x.hi, 1)
    elif not all_axes:
        more["axes"] = written
    g.emit(op, inputs, x.kind, dims, hi, exact=(op in ("ReduceMax", "ReduceMin") or x.kind in INTS) and x.exact, **more)


def arg_reduce(g):
    op = g.c.pick(["ArgMax", "ArgMin"])
    x = g.take(("f32", "f64", "i32", "i8", "u8"), (1, 4), exact=True, when=lambda v: not v.empty)
    if x is None:
        return
    a, keep = g.c.int(0, x.rank - 1), g.c.int(0, 1)
    dims = [Dim(1) if i == a else d for i, d in enumerate(x.dims) if keep or i != a]
    g.emit(op, [x], "i64", dims, max(x.dims[a], x.dims[a].alt), exact=True, axis=g.axis(x.rank, a), keepdims=keep, **(
        {"select_last_index": 1} if g.c.chance(30) else {}))


def topk(g):
    x = g.take(("f32", "f64", "i64", "i32"), (1, 4), exact=True, when=lambda v: any(d.name is None and d > 0 for d in v.dims))
    if x is None:
        return
    a = g.c.pick([i for i, d in enumerate(x.dims) if d.name is None and d > 0])
    k = g.c.int(1, x.dims[a])
    dims = [Dim(k) if i == a else d for i, d in enumerate(x.dims)]
    v, i = g.emit("TopK", [x, g.ints(k)], x.kind, dims, x.hi, outputs=2, axis=g.axis(x.rank, a), largest=g.c.int(0, 1))
    i.kind, i.hi, i.eps = "i64", int(x.dims[a]), 0.0


def cumsum(g):
    x = g.take(("f32", "f64", "i64", "i32"), (1, 4))
    a = g.c.int(0, x.rank - 1)
    n = max(x.dims[a], x.dims[a].alt, 1)
    x = g.bound(x, LIMIT / n if x.kind in FLOATS else x.hi)
    axis = g.scalar(g.c.pick(["i64", "i32"]), g.axis(x.rank, a))
    g.emit("CumSum", [x, axis], x.kind, x.dims, x.hi * n, exact=x.kind in INTS and x.exact, exclusive=g.c.int(0, 1), reverse=g.c.int(0, 1))


def softmax(g):
    op = g.c.pick(["Softmax", "Softmax", "LogSoftmax"])
    x = g.take(FLOATS, (1, 4), when=lambda v: not v.empty or v.static)
    x = g.bound(x, 50)
    g.emit(op, [x], x.kind, x.dims, 100, exact=False, axis=g.axis(x.rank))


def hardmax(g):
    x = g.take(("f32", "f64"), (1, 4), exact=True, when=lambda v: not v.empty)
    if x is not None:
        g.emit("Hardmax", [x], x.kind, x.dims, 1, exact=True, axis=g.axis(x.rank))


def per_channel(g, x, c, hi=2.0, low=None):
    return g.new(x.kind, [c], hi=hi, low=low, fixed=True if g.c.chance(70) else None)


def norms(g):
    op = g.c.pick(["LayerNormalization", "BatchNormalization", "InstanceNormalization", "LpNormalization", "GroupNormalization"])
    if op == "LayerNormalization" and g.opset >= 17:
        x = g.take(FLOATS, (1, 4), when=lambda v: not v.empty and any(v.dims[i].name is None for i in [v.rank - 1]))
        if x is None:
            return
        a = max(i + 1 for i in range(-1, x.rank) if i < 0 or x.dims[i].name is not None)
        a = g.c.int(min(a, x.rank - 1), x.rank - 1)
        x = g.bound(x, 30)
        scale, bias = (g.new(x.kind, x.dims[a:], hi=2) for _ in range(2))
        g.emit(op, [x, scale, bias][:g.c.int(2, 3)], x.kind, x.dims, 200, exact=False, axis=g.axis(x.rank, a), epsilon=g.c.pick([1e-5, 1e-2]))
    elif op in ("BatchNormalization", "InstanceNormalization", "GroupNormalization"):
        if op == "GroupNormalization" and g.opset < 21:
            return
        low = 2 if op == "BatchNormalization" else 3
        x = g.take(("f32", "f64", "f16"), (low, 4), when=lambda v: not v.empty and v.dims[1].name is None)
        if x is None:
            return
        x = g.bound(x, 30)
        c = x.dims[1]
        scale, bias = per_channel(g, x, c), per_channel(g, x, c)
        if op == "BatchNormalization":
            inputs = [x, scale, bias, per_channel(g, x, c), per_channel(g, x, c, 4.0, 0.5)]
            g.emit(op, inputs, x.kind, x.dims, 150, exact=False, epsilon=1e-3)
        elif op == "InstanceNormalization":
            g.emit(op, [x, scale, bias], x.kind, x.dims, 100, exact=False, epsilon=1e-2)
        else:
            groups = g.c.pick([n for n in range(1, c + 1) if c % n == 0])
            g.emit(op, [x, scale, bias], x.kind, x.dims, 100, exact=False, epsilon=1e-2, num_groups=groups)
    elif op == "LpNormalization":
        x = g.take(("f32", "f64"), (1, 4), when=lambda v: not v.empty)
        if x is not None:
            x = g.positive(g.bound(x, 30))  # of zeros: 0 / 0
            g.emit(op, [x], x.kind, x.dims, 1, exact=False, axis=g.axis(x.rank), p=g.c.int(1, 2))


def matmul(g):
    a = g.take(("f32", "f32", "f64", "f16", "i64", "i32"), (1, 4))
    k = a.dims[-1]
    fits = [v for v in g.values if v.kind == a.kind and not v.special and v.rank and v.dims[-2 if v.rank > 1 else 0].same(k)
            and (v.rank <= 2 or a.rank <= 2 or broadcast(a.dims[:-2], v.dims[:-2]) is not None)]
    if fits and g.c.chance(40):
        b = g.c.pick(fits)
    else:
        batch = [Dim(1) if g.c.chance(30) else d for d in a.dims[g.c.int(0, max(a.rank - 2, 0)):-2]] if g.c.chance(50) else []
        b = g.new(a.kind, [k] if g.c.chance(20) else [*batch, k, g.dim()], hi=2)
    batch = broadcast(a.dims[:-2], b.dims[:-2])
    if batch is None or count(batch) > 64:
        return
    n = max(k, k.alt, 1)
    limit = math.sqrt(LIMIT / n)
    a, b = (g.bound(v, limit if v.kind in FLOATS else max(int(limit), 1)) for v in (a, b))
    dims = [*batch, *(a.dims[-2:-1]), *(b.dims[-1:] if b.rank > 1 else [])]
    g.emit("MatMul", [a, b], a.kind, dims, a.hi * b.hi * n, exact=a.kind in INTS and a.exact and b.exact)


def gemm(g):
    a = g.take(("f32", "f32", "f64", "f16"), (2, 2))
    ta, tb = g.c.int(0, 1), g.c.int(0, 1)
    m, k = a.dims[::-1] if ta else a.dims
    n = g.dim()
    limit = math.sqrt(LIMIT / 2 / max(k, k.alt, 1))
    a = g.bound(a, limit)
    b = g.new(a.kind, [n, k] if tb else [k, n], hi=min(2, limit))
    inputs = [a, b]
    if g.c.chance(60):
        inputs.append(g.new(a.kind, g.c.pick([[n], [m, n], [Dim(1), n], [m, Dim(1)], [], [Dim(1)]])))
    more = {"alpha": g.c.pick([0.5, 1.5])} if g.c.chance(30) else {}
    if g.c.chance(30) and len(inputs) == 3:
        more["beta"] = g.c.pick([0.5, 0.0, 2.0])
    g.emit("Gemm", inputs, a.kind, (m, n), 2 * LIMIT, exact=False, transA=ta, transB=tb, **more)


def window(g, x, n, most=4):
    """Attributes of a window over the last n axes that fits, and the sizes of its result: (kernel, attributes, dims)."""
    kernel, pads, strides, dilations, out = [], [], [], [], []
    for d in x.dims[-n:]:
        size = min(d, d.alt)
        k = g.c.int(1, min(most, size))
        dil = 1 if k == 1 or g.c.chance(70) or (k - 1) * 2 + 1 > size else 2
        begin, end = (g.c.int(0, k - 1) if g.c.chance(40) else 0 for _ in range(2))
        s = g.c.pick([1, 1, 2, 3])
        kernel.append(k), pads.append((begin, end)), strides.append(s), dilations.append(dil)
        reach = (k - 1) * dil + 1

        def size_of(v, total=begin + end - reach, step=s):
            return (v + total) // step + 1

        out.append(Dim(size_of(int(d)), size_of(d.alt), f"w({d.name},{begin + end - reach},{s})" if d.name else None))
    more = {"kernel_shape": kernel}
    if any(map(any, pads)):
        more["pads"] = [p[0] for p in pads] + [p[1] for p in pads]
    if g.c.chance(80) or any(s > 1 for s in strides):
        more["strides"] = strides
    if any(d > 1 for d in dilations):
        more["dilations"] = dilations
    return kernel, more, out


def images(g, kinds, ranks=(3, 4)):
    ok = lambda v: v.dims[1].name is None and not v.empty and min(v.dims[2:], default=0) >= 1  # noqa: E731
    big = lambda: (g.dim(), Dim(g.c.pick([1, 2, 3, 4, 6, 8])), *[g.c.pick([Dim(6), Dim(9), *g.symbols]) for _ in range(g.c.int(*ranks) - 2)])  # noqa: E731
    return g.take(kinds, ranks, when=ok, dims=big)


def conv(g):
    x = images(g, ("f32", "f32", "f32", "f64", "f16"))
    if x is None:
        return
    c = int(x.dims[1])
    group = g.c.pick([n for n in range(1, c + 1) if c % n == 0]) if g.c.chance(50) else 1
    out = group * g.c.int(1, 3) if group < 8 else group
    kernel, more, dims = window(g, x, x.rank - 2)
    terms = c // group * math.prod(kernel)
    x = g.bound(x, LIMIT / terms / 2)
    w = g.new(x.kind, [Dim(out), Dim(c // group), *map(Dim, kernel)], hi=1, fixed=True if g.c.chance(85) else None)
    inputs = [x, w] + ([g.new(x.kind, [Dim(out)])] if g.c.chance(50) else [])
    y = g.emit("Conv", inputs, x.kind, (x.dims[0], Dim(out), *dims), x.hi * terms + 4, exact=False, group=group, **more)
    if g.c.chance(30):
        s = [per_channel(g, y, Dim(out)) for _ in range(3)] + [per_channel(g, y, Dim(out), 4.0, 0.5)]
        y = g.emit("BatchNormalization", [y, *s], y.kind, y.dims, y.hi * 4, exact=False)
    if g.c.chance(30):
        g.emit(g.c.pick(["Relu", "Sigmoid", "HardSigmoid"]), [y], y.kind, y.dims, y.hi, exact=False)


def conv_transpose(g):
    x = images(g, ("f32",))
    if x is None:
        return
    c, kernel, strides = int(x.dims[1]), [g.c.int(1, 3) for _ in x.dims[2:]], [g.c.int(1, 2) for _ in x.dims[2:]]
    pads = [g.c.int(0, (k - 1) // 2) for k in kernel]
    out = g.c.int(1, 3)
    x = g.bound(x, LIMIT / c / math.prod(kernel))
    w = g.new(x.kind, [Dim(c), Dim(out), *map(Dim, kernel)], hi=1)
    dims = []
    for d, k, s, p in zip(x.dims[2:], kernel, strides, pads):
        dims.append(Dim((d - 1) * s + k - 2 * p, (d.alt - 1) * s + k - 2 * p, f"t({d.name},{s},{k - 2 * p})" if d.name else None))
    if any(d < 1 or d.alt < 1 for d in dims):
        return
    g.emit("ConvTranspose", [x, w], x.kind, (x.dims[0], Dim(out), *dims), x.hi * c * math.prod(kernel), exact=False, strides=strides, pads=pads * 2)


def pool(g):
    op = g.c.pick(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"])
    x = images(g, ("f32", "f64", "i8", "u8") if op == "MaxPool" else ("f32",))
    if x is None:
        return
    if op.startswith("Global"):
        g.emit(op, [x], x.kind, (*x.dims[:2], *[Dim(1)] * (x.rank - 2)), x.hi, exact=op == "GlobalMaxPool" and x.exact)
        return
    kernel, more, dims = window(g, x, x.rank - 2)
    if (op == "AveragePool" and g.opset < 19) or (op == "LpPool" and g.opset < 18):
        if more.pop("dilations", None):
            return
    if op == "AveragePool" and "pads" in more:
        more["count_include_pad"] = g.c.int(0, 1)
    if op == "LpPool":
        more["p"] = g.c.int(1, 2)
    # A window that lies in the padding only has no maximum: pads stay below the kernel, and dilated windows have no pads.
    if "dilations" in more and "pads" in more:
        return
    x = g.bound(x, LIMIT / math.prod(kernel)) if op == "LpPool" else x
    g.emit(op, [x], x.kind, (*x.dims[:2], *dims), x.hi * (math.prod(kernel) if op == "LpPool" else 1), exact=op == "MaxPool" and x.exact, **more)


def quantize(g):
    """Scales are powers of two: x / scale has no rounding error, so that the halves that are rounded to even are the same for all."""
    kind = g.c.pick(["u8", "i8"])
    x = g.take(("f32",), exact=True)
    scale = g.scalar("f32", g.c.pick([0.5, 0.0625, 0.25]))
    zero = g.scalar(kind, g.c.int(0, 20))
    q = g.emit("QuantizeLinear", [x, scale, zero], kind, x.dims, 255 if kind == "u8" else 128, exact=True)
    if g.c.chance(60):
        g.emit("DequantizeLinear", [q, scale, zero], "f32", x.dims, 200, exact=True)


def dequantize(g):
    x = g.take(("u8", "i8", "i32"))
    x = g.bound(x, 255) if x.kind == "i32" else x
    if x.kind != "i32" and x.rank > 0 and x.dims[0].name is None and x.dims[0] > 0 and g.c.chance(40):
        scale = g.constant(g.numbers("f32", [int(x.dims[0])], 2.0, 0.25))
        zero = g.new(x.kind, [x.dims[0]], fixed=True)
        g.emit("DequantizeLinear", [x, scale, zero], "f32", x.dims, 600, exact=False, axis=g.axis(x.rank, 0))
    else:
        inputs = [x, g.scalar("f32", 0.125)] + ([g.scalar(x.kind, g.c.int(0, 9))] if x.kind != "i32" else [])
        g.emit("DequantizeLinear", inputs, "f32", x.dims, 60, exact=True)


def matmul_integer(g):
    a = g.take(("u8", "i8"), (2, 3))
    b = g.new(g.c.pick(["u8", "i8"]), [a.dims[-1], g.dim(False)])
    inputs = [a, b] + ([g.scalar(a.kind, g.c.int(0, 9))] + ([g.scalar(b.kind, g.c.int(0, 9))] if g.c.chance(50) else []) if g.c.chance(60) else [])
    g.emit("MatMulInteger", inputs, "i32", (*a.dims[:-1], b.dims[-1]), 300 * 20 * max(a.dims[-1], a.dims[-1].alt, 1), exact=True)


def einsum(g):
    form = g.c.pick(["ij,jk->ik", "bij,bjk->bik", "ij->ji", "ij,kj->ik", "bij->bj", "ii->i", "ij,ij->", "bhid,bhjd->bhij", "i,j->ij", "...ij,jk->...ik"])
    sizes = {c: g.dim() for c in "bhijkd"}
    left, right = form.split("->")
    n = max(1, *[max(d, d.alt) for c, d in sizes.items() if c not in right]) ** sum(c not in right for c in set(left) if c.isalpha())
    kind = g.c.pick(["f32", "f32", "f64", "i64"])
    values = [g.new(kind, [sizes[c] for c in term.replace("...", "bh")], hi=1) for term in left.split(",")]
    if count([sizes[c] for c in set(left) if c.isalpha()]) > 4096:
        return
    if any(v.empty for v in values):
        g.alone = "ONNX Runtime 1.31 ends the process (division by zero) in Einsum over no elements"
    g.emit("Einsum", values, kind, [sizes[c] for c in right.replace("...", "bh")], n, exact=kind in INTS, equation=form)


def layer_norm_parts(g):
    """LayerNormalization as exporters write it, which a rewrite finds."""
    x = g.take(("f32", "f64", "f16"), (2, 4), when=lambda v: not v.empty and v.dims[-1].name is None)
    if x is None or g.opset >= 18:
        return
    x, dims = g.bound(x, 20), x.dims[:-1] + (Dim(1),)
    mean = g.emit("ReduceMean", [x], x.kind, dims, x.hi, exact=False, keep=False, axes=[-1])
    d = g.emit("Sub", [x, mean], x.kind, x.dims, 2 * x.hi, exact=False, keep=g.c.chance(10))
    square = g.emit("Pow", [d, g.scalar(x.kind, 2)], x.kind, x.dims, 4 * x.hi ** 2, exact=False, keep=False)
    var = g.emit("ReduceMean", [square], x.kind, dims, 4 * x.hi ** 2, exact=False, keep=False, axes=[-1])
    root = g.emit("Sqrt", [g.emit("Add", [var, g.scalar(x.kind, 0.01)], x.kind, dims, exact=False, keep=False)], x.kind, dims, exact=False, keep=False)
    y = g.emit("Div", [d, root], x.kind, x.dims, 50, exact=False)
    if g.c.chance(70):
        y = g.emit("Mul", [y, g.new(x.kind, x.dims[-1:])], x.kind, x.dims, 200, exact=False)
        g.emit("Add", [y, g.new(x.kind, x.dims[-1:])], x.kind, x.dims, 204, exact=False)


def gelu_parts(g):
    x = g.bound(g.take(("f32", "f32", "f64", "f16")), 30)
    k = x.kind
    e = g.emit("Erf", [g.emit("Div", [x, g.scalar(k, math.sqrt(2))], k, x.dims, exact=False, keep=False)], k, x.dims, 1, exact=False, keep=False)
    s = g.emit("Add", [e, g.scalar(k, 1)], k, x.dims, 2, exact=False, keep=False)
    y = g.emit("Mul", [x, s], k, x.dims, x.hi * 2, exact=False, keep=False)
    g.emit("Mul", [y, g.scalar(k, 0.5)], k, x.dims, x.hi, exact=False)


def attention_parts(g):
    kind, b, h, s, t, d = g.c.pick(["f32", "f32", "f16"]), g.dim(), Dim(g.c.int(1, 3)), g.dim(), g.dim(), Dim(g.c.pick([2, 4, 8]))
    if min(b, b.alt, s, s.alt, t, t.alt) == 0:
        return
    q, k, v = g.new(kind, [b, h, s, d], hi=1, fixed=False), g.new(kind, [b, h, t, d], hi=1, fixed=False), g.new(kind, [b, h, t, d], fixed=False)
    k = g.emit("Transpose", [k], kind, [b, h, d, t], keep=False, perm=[0, 1, 3, 2])
    y = g.emit("MatMul", [q, k], kind, [b, h, s, t], d, exact=False, keep=False)
    y = g.emit(g.c.pick(["Mul", "Div"]), [y, g.scalar(kind, g.c.pick([0.5, 2.0]))], kind, y.dims, 2 * d, exact=False, keep=False)
    if g.c.chance(50):
        m = g.new(kind, [b, Dim(1), g.c.pick([Dim(1), s]), t], fixed=False)
        y = g.emit("Add", [y, m], kind, y.dims, 2 * d + 4, exact=False, keep=False)
    y = g.emit("Softmax", [y], kind, y.dims, 1, exact=False, keep=False, axis=g.axis(4, 3))
    y = g.emit("MatMul", [y, v], kind, [b, h, s, d], 4, exact=False, keep=g.c.chance(10))
    if g.c.chance(60):
        g.emit("Transpose", [y], kind, [b, s, h, d], exact=False, perm=[0, 2, 1, 3])
    else:
        g.values.append(y)


def swish_parts(g):
    x = g.take(FLOATS)
    s = g.emit("Sigmoid", [x], x.kind, x.dims, 1, exact=False, keep=False)
    g.emit("Mul", [x, s], x.kind, x.dims, x.hi, exact=False)


OPERATORS = [exact_unary, smooth, smooth, arithmetic, arithmetic, arithmetic, of_positive, steps, is_special, divide, modulo, power, variadic, compare, logic,
             bits, clip, prelu, cast, cast, reduce, reduce, reduce, arg_reduce, topk, cumsum, softmax, hardmax, norms, norms, matmul, matmul, gemm, conv, conv,
             conv_transpose, pool, pool, quantize, dequantize, matmul_integer, einsum, layer_norm_parts, gelu_parts, attention_parts, swish_parts, *MOVES]
