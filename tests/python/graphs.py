# SPDX-License-Identifier: Apache-2.0
"""Random small ONNX graphs: what holds one together (dims, values, the builder). graph_operators.py has the operators, graph_runs.py compares.

A graph is drawn through a `Choice`: from hypothesis (which shrinks what fails) or from a seed (quick). It keeps, for each value, its type, its dims,
and what the comparison must know:

- `hi`: a bound of the absolute values. Operators that would leave LIMIT clip their operand first: where float16 overflows, and what integers do beyond
  their range, is undefined or depends on the order of operations.
- `exact`: every implementation has the same bits: inputs, moves, integers. Operators that are not continuous (comparisons, Floor, ArgMax, TopK, Cast to an
  integer, ...) take exact operands only, as a rounding error of their operand would change the result without anybody being wrong.
- `special`: may hold NaN and infinities; such values go only where IEEE 754 or the specification says what becomes of them.
- `eps`: the coarsest type on the way to the value, which decides the tolerance.
"""
import math
import random

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LIMIT = 1500.0
TYPES = {"f32": (TensorProto.FLOAT, np.float32), "f16": (TensorProto.FLOAT16, np.float16), "f64": (TensorProto.DOUBLE, np.float64),
         "i64": (TensorProto.INT64, np.int64), "i32": (TensorProto.INT32, np.int32), "i8": (TensorProto.INT8, np.int8),
         "u8": (TensorProto.UINT8, np.uint8), "bool": (TensorProto.BOOL, np.bool_)}
FLOATS, INTS, NUMBERS = ("f32", "f16", "f64"), ("i64", "i32", "i8", "u8"), ("f32", "f16", "f64", "i64", "i32", "i8", "u8")
ALL = NUMBERS + ("bool",)
EPS = {"f64": 1e-9, "f32": 2e-5, "f16": 6e-3}


class Dim(int):
    """A size. A dynamic one has an expression over symbols as its name, and the size of the second run as `alt`."""
    alt: int
    name: "str | None"

    def __new__(cls, value, alt=None, name=None):
        d = super().__new__(cls, value)
        d.alt, d.name = int(value if alt is None else alt), name
        return d

    def same(self, other):
        return self == other and self.alt == other.alt and self.name == other.name

    @property
    def one(self):
        return self == 1 and self.name is None


def derive(f, *dims):
    """f of sizes, which holds in both runs."""
    names = [d.name or str(int(d)) for d in dims if isinstance(d, Dim)]
    dynamic = any(isinstance(d, Dim) and d.name for d in dims)
    tag = f"{f.__code__.co_name}{f.__code__.co_firstlineno}({','.join(names + [str(c.cell_contents) for c in f.__closure__ or ()])})"
    return Dim(f(*map(int, dims)), f(*[d.alt if isinstance(d, Dim) else d for d in dims]), tag if dynamic else None)


def count(dims, alt=False):
    return math.prod(d.alt if alt else int(d) for d in dims)


def broadcast(a, b):
    """Dims of an operation of two operands, or None when they do not fit in every run."""
    n = max(len(a), len(b))
    a, b = [Dim(1)] * (n - len(a)) + list(a), [Dim(1)] * (n - len(b)) + list(b)
    out = []
    for x, y in zip(a, b):
        if y.one or x.same(y):
            out.append(x)
        elif x.one:
            out.append(y)
        else:
            return None
    return tuple(out)


class Choice:
    """Decisions from a seed."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def int(self, low, high):
        return self.r.randint(low, high)

    def pick(self, items):
        return items[self.int(0, len(items) - 1)]

    def chance(self, percent):
        return self.int(1, 100) > 100 - percent  # small numbers, to which hypothesis shrinks, mean no


class DrawChoice(Choice):
    """Decisions of hypothesis."""

    def __init__(self, draw, integers):
        self.draw, self.integers = draw, integers

    def int(self, low, high):
        return self.draw(self.integers(low, high))


class Value:
    def __init__(self, name, kind, dims, hi, exact, eps, special=False):
        self.name, self.kind, self.dims, self.hi, self.exact, self.eps, self.special = name, kind, tuple(dims), hi, exact, eps, special
        self.used = False

    @property
    def rank(self):
        return len(self.dims)

    @property
    def static(self):
        return all(d.name is None for d in self.dims)

    @property
    def empty(self):
        return count(self.dims) == 0 or count(self.dims, True) == 0


class Graph:
    """A graph that grows. `feeds` are the inputs of two runs, whose symbols differ."""

    def __init__(self, choice):
        self.c = choice
        self.opset = choice.pick([21, 18, 17, 13, 22])
        self.nodes, self.constants, self.inputs, self.values, self.operators, self.leaves = [], [], [], [], [], []
        self.feeds = ({}, {})
        self.rng = np.random.default_rng(choice.int(0, 1 << 30))
        self.symbols = []
        if choice.chance(40):
            self.symbols = [Dim(choice.int(2, 6), choice.int(2, 6), name) for name in ("n", "m")[:choice.int(1, 2)]]
        self.names = 0
        self.alone = None  # why ONNX Runtime does not run this graph

    # ---- values ----

    def name(self, prefix="v"):
        self.names += 1
        return f"{prefix}{self.names}"

    def dim(self, dynamic=True):
        if dynamic and self.symbols and self.c.chance(35):
            return self.c.pick(self.symbols)
        return Dim(self.c.pick([2, 3, 1, 4, 5, 7, 8, 16, 0] if self.c.chance(20) else [2, 3, 1, 4, 5]))

    def dims(self, low=0, high=4, dynamic=True):
        out = []
        for _ in range(self.c.int(low, high)):
            d = self.dim(dynamic)
            out.append(d if count(out) * d <= 2048 and count(out, True) * d.alt <= 2048 else Dim(2))
        return tuple(out)

    def numbers(self, kind, dims, hi, low=None, special=False):
        """Random contents; half of them have many equal values."""
        n, r = math.prod(dims), self.rng
        if kind == "bool":
            return r.integers(0, 2, dims).astype(bool)
        if kind in INTS:
            low = -hi if low is None else low
            return r.integers(0 if kind == "u8" and low < 0 else low, hi + 1, dims).astype(TYPES[kind][1])
        low = -hi if low is None else low
        a = r.uniform(low, hi, n)
        if self.rng.integers(2):
            a = np.clip(np.round(a * 2) / 2, low, hi)
        if special and n:
            a[r.integers(0, n, 1 + n // 6)] = r.choice([np.nan, np.inf, -np.inf, -0.0])
        return a.reshape(dims).astype(TYPES[kind][1])

    def constant(self, array):
        """An initializer, or a Constant node now and then."""
        kind = next(k for k, (_, t) in TYPES.items() if t == array.dtype)
        name = self.name("c")
        if self.rng.integers(8) == 0:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        else:
            self.constants.append(numpy_helper.from_array(array, name))
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        hi = float(np.max(np.abs(finite.astype(np.float64)), initial=0))
        return Value(name, kind, [Dim(d) for d in array.shape], hi, True, EPS.get(kind, 0.0), bool(finite.size != array.size))

    def ints(self, *numbers, kind="i64"):
        """A constant vector; with one tuple or list, that."""
        if len(numbers) == 1 and isinstance(numbers[0], (list, tuple)):
            numbers = numbers[0]
        return self.constant(np.array([int(n) for n in numbers], TYPES[kind][1]))

    def scalar(self, kind, number):
        return self.constant(np.array(number, TYPES[kind][1]))

    def new(self, kind, dims, hi=None, low=None, special=False, fixed=None):
        """An input of the graph or a constant."""
        dims = tuple(dims)
        hi = (4.0 if kind in FLOATS else 1 if kind == "bool" else 10) if hi is None else hi
        static = all(d.name is None for d in dims)
        if fixed is None:
            fixed = self.c.chance(40)
        if fixed and static:
            v = self.constant(self.numbers(kind, [int(d) for d in dims], hi, low, special))
        else:
            name = self.name("x")
            v = Value(name, kind, dims, hi, True, EPS.get(kind, 0.0), special and kind in FLOATS)
            self.feeds[0][name] = self.numbers(kind, [int(d) for d in dims], hi, low, special)
            self.feeds[1][name] = self.numbers(kind, [d.alt for d in dims], hi, low, special)
            self.inputs.append(helper.make_tensor_value_info(name, TYPES[kind][0], [d.name or int(d) for d in dims]))
        v.hi = hi
        self.values.append(v)
        return v

    def take(self, kinds=ALL, rank=(0, 4), when=None, exact=False, special=False, dynamic=True, dims=None, hi=None):
        """An existing value that fits, mostly, else a new one. `when` is a predicate on values; a new one is tried a few times."""
        fits = [v for v in self.values if v.kind in kinds and rank[0] <= v.rank <= rank[1] and (v.exact or not exact) and (special or not v.special)
                and (dynamic or v.static) and (when is None or when(v))]
        if fits and self.c.chance(80):
            return fits[-1] if self.c.chance(50) else self.c.pick(fits)
        for _ in range(8):
            kind = kinds[0] if self.c.chance(50) else self.c.pick(kinds)
            shape = dims() if dims else self.dims(rank[0], rank[1], dynamic)
            if when is None or when(Value("", kind, shape, 4.0, True, 0.0)):
                return self.new(kind, shape, hi, special=special and self.c.chance(15))
        return fits[-1] if fits else None

    def like(self, a, kinds=None, exact=False, special=False, grow=True):
        """A second operand of an elementwise operation with `a`, and the dims of the result."""
        kinds = kinds or (a.kind,)
        fits = [v for v in self.values if v.kind in kinds and (v.exact or not exact) and (special or not v.special)
                and broadcast(a.dims, v.dims) is not None and 0 < count(broadcast(a.dims, v.dims)) <= 4096]
        if fits and self.c.chance(60):
            v = self.c.pick(fits)
        else:
            dims = [Dim(1) if self.c.chance(30) else d for d in a.dims[self.c.int(0, a.rank) if self.c.chance(40) else 0:]]
            if grow and len(dims) == a.rank and self.c.chance(20) and a.rank < 4 and count(a.dims) < 512:
                dims = [Dim(self.c.int(1, 3))] + dims
            v = self.new(self.c.pick(kinds), dims, special=special and self.c.chance(15))
        return v, broadcast(a.dims, v.dims)

    # ---- nodes ----

    def emit(self, op, inputs, kind, dims, hi=None, exact=None, special=None, keep=True, outputs=1, **attributes):
        """A node with outputs of one type. kind, dims, hi of the first output; exact None: moves of exact operands are exact."""
        operands = [v for v in inputs if v is not None]
        for v in operands:
            v.used = True
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, [v.name if v is not None else "" for v in inputs], names, name=names[0], **attributes))
        self.operators.append(op)
        data = [v for v in operands if v.kind in FLOATS] if kind in FLOATS else []
        exact = all(v.exact for v in operands) if exact is None else exact
        eps = max([EPS.get(kind, 0.0), *[v.eps for v in data if not (v.exact and exact)]])
        special = any(v.special for v in operands) and kind in FLOATS if special is None else special
        hi = (max([v.hi for v in operands if v.kind == kind], default=1.0)) if hi is None else hi
        made = [Value(n, kind, dims, hi, exact, eps, special) for n in names]
        if keep:
            self.values.extend(made)
        return made[0] if outputs == 1 else made

    def bound(self, v, hi):
        """v, or v clipped to [-hi, hi]."""
        if v.hi <= hi:
            return v
        low = 0 if v.kind == "u8" else -hi
        if v.kind in FLOATS or v.kind in ("i64", "i32", "i8", "u8"):
            return self.emit("Clip", [v, self.scalar(v.kind, low), self.scalar(v.kind, hi)], v.kind, v.dims, hi, keep=False)
        return v

    def positive(self, v, low=0.5):
        """|v| + low: what goes under Log, Sqrt and into divisors."""
        a = self.emit("Abs", [v], v.kind, v.dims, v.hi, keep=False)
        return self.emit("Add", [a, self.scalar(v.kind, low)], v.kind, v.dims, v.hi + low, exact=False, keep=False)

    def axis(self, rank, a=None):
        """An axis, as it is written: counted from the end now and then."""
        a = self.c.int(0, rank - 1) if a is None else a
        return a - rank if self.c.chance(50) else a

    def model(self):
        """(ModelProto, values that are outputs)."""
        outputs = [v for v in self.values if not v.used and not v.name.startswith(("x", "c"))]
        outputs += self.leaves + [v for v in self.values if v.used and v.name.startswith("v") and self.c.chance(6)]
        outputs = list(dict.fromkeys(outputs))
        info = [helper.make_tensor_type_proto(TYPES[v.kind][0], [None if d.name or v in self.leaves else int(d) for d in v.dims]) for v in outputs]
        graph = helper.make_graph(self.nodes, "random", self.inputs, [helper.make_value_info(v.name, t) for v, t in zip(outputs, info)], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8), outputs


def build(choice, most=8):
    """A graph of 1..most drawn operators (some of which bring operators that bound their operands); None when nothing fitted."""
    from graph_operators import OPERATORS

    g = Graph(choice)
    for _ in range(choice.int(1, most)):
        choice.pick(OPERATORS)(g)
    if not g.operators:
        choice.pick(OPERATORS[:1])(g)
    return g
