# SPDX-License-Identifier: Apache-2.0
"""build, compare, bench, inspect, explain: the verbs of the command line as functions that return objects."""
from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from . import _arrays, _core, _options, errors
from ._session import InferenceSession, SessionOptions


def build(model: Any, plan: "str | os.PathLike[str] | None" = None, *, device: "str | None" = None, precision: "str | None" = None, shapes: Any = None,
          tune: bool = False, threads: int = 0, timing_cache: Any = None, cpu: "str | None" = None, reference: bool = False,
          samples: "Mapping[str, Any] | None" = None, target: "str | None" = None, allow_cpu_steps: bool = False, stop_after: "str | None" = None,
          buckets: Any = None, head_dim: int = 0, image_size: int = 0, config: Any = None, head: Any = None, attention: "str | None" = None,
          score_threshold: float = 0.0, progress: Any = None) -> "bytes | None":
    """Builds a plan.

    Args:
        model: an ``.onnx`` file, its bytes, an ``onnx.ModelProto``, the folder of a Hugging Face checkpoint, or a file of weights (.pth, .bin, .safetensors)
            of an official UniFormer or ViLBERT.
        plan: the file to write, whole or not at all; None: the plan is returned as bytes.
        device: "cpu", "cuda" or "cuda:N": where the plan runs. Kernels are verified there.
        precision: on a GPU "fp32", "tf32", "fp16" or "bf16"; inputs and outputs keep the model's types.
        shapes: ranges of symbols, ``{"batch": (1, 4, 8), "seq": 512}`` (min, opt, max) or "batch=1:4:8,seq=512"; None: any size.
        tune: time the candidate kernels on this machine; `timing_cache` is a file that makes the next build quick.
        threads: for building; 0: one a core.
        cpu: "scalar", "avx2", "avx512": build for a smaller machine.
        reference: reference kernels only.
        samples: {input name: array} on which kernels are verified and precision is decided; all inputs or none.
        target: "sm_90": build for a GPU architecture that is not here; nothing is verified then.
        allow_cpu_steps: steps without a GPU kernel run on the CPU instead of failing the build.
        stop_after: stop the rewrites after this pass; "import": none.
        buckets: sizes of symbols for which kernels are chosen besides the opt sizes, ``{"batch": (1, 4, 16)}`` or "batch=1:4:16,seq=128:512".
        head_dim, image_size: what files of weights leave open (UniFormer): width of an attention head (32 or 64); height and width of pictures.
        config: the JSON configuration that belongs to a file of weights (ViLBERT: bert_base_6layer_6conect.json).
        head: outputs of a checkpoint with several heads, "vision_logit,vil_prediction" or a list (ViLBERT; default vision_logit).
        attention: "global", "window" or "hybrid", where a detector's file leaves it open.
        score_threshold: of a detector in a checkpoint: answers need more than this; 0: the official 0.05.
        progress: a function (phase, done, total), or True for a tqdm bar.

    Raises:
        UnsupportedError: operators that Tenon lacks, all of them. ModelError: the file is damaged. RequestError: the request cannot be met here.
        KeyboardInterrupt: Ctrl-C stops the build; no file is left.

    Warns:
        tenon.Warning: what the build wants to tell (a kernel was too inexact and is not used, ...).
    """
    o = _options.build_options(dict(device=device, precision=precision, shapes=shapes, tune=tune, threads=threads, timing_cache=timing_cache, cpu=cpu,
                                    reference=reference, samples=samples, target=target, allow_cpu_steps=allow_cpu_steps, stop_after=stop_after,
                                    buckets=buckets, head_dim=head_dim, image_size=image_size, config=config, head=head, attention=attention,
                                    score_threshold=score_threshold))
    source = _options.check_source(model)
    with _options.model_path(source) as path, _options.progress_of(progress) as call:
        memory = _core.build(path, None if plan is None else os.fspath(plan), {**o, "progress": call})
    return None if memory is None else bytes(memory)


# ---- inputs that nobody gave ----


def make_inputs(plan: "_core.Plan", batch: int = 0, seed: int = 0) -> "dict[str, np.ndarray]":
    """Inputs of a plan for benchmarks: symbols at their opt value, floats in [-1, 1), integers and bools 1. batch: value of the first dim where it is free."""
    rng = np.random.default_rng(seed)
    feed = {}
    for name, dtype, dims, ranges in plan.inputs():
        shape = []
        for k, d in enumerate(dims):
            n = d if isinstance(d, int) else max(ranges[k][1], 1)
            if isinstance(d, str) and batch and (k == 0 or "batch" in d):
                n = batch
            shape.append(n)
        np_dtype = _arrays.DTYPES[dtype]
        if _arrays.NAMES[dtype].startswith(("float", "bfloat")):
            feed[name] = (rng.random(shape, np.float32) * 2 - 1).astype(np_dtype)
        else:
            feed[name] = np.ones(shape, np_dtype)
    return feed


# ---- compare ----


@dataclass
class TensorComparison:
    """How far one tensor is from what was expected.

    Attributes:
        name: the tensor's name in the model; kind: "output" or "layer".
        ok: within the limits.
        max_abs, mean_abs, median_abs: of \\|got - want\\|.
        max_rel, mean_rel, median_rel: of \\|got - want\\| / \\|want\\|, where want is not tiny.
        scale: largest magnitude expected; 1 for integers.
        nan_mismatches: elements that are NaN or infinite on one side only.
        problem: why they cannot be compared (shapes, types), or None.
    """

    name: str
    kind: str
    ok: bool
    max_abs: float = 0.0
    mean_abs: float = 0.0
    median_abs: float = 0.0
    max_rel: float = 0.0
    mean_rel: float = 0.0
    median_rel: float = 0.0
    scale: float = 1.0
    nan_mismatches: int = 0
    problem: "str | None" = None


@dataclass
class CompareResult:
    """What :func:`compare` found. True when every tensor is within the limits."""

    tensors: "list[TensorComparison]"
    atol: float
    rtol: float

    @property
    def ok(self) -> bool:
        return bool(self.tensors) and all(t.ok for t in self.tensors)

    @property
    def worst(self) -> "TensorComparison | None":
        """The tensor whose error is the largest part of its scale."""
        return max(self.tensors, key=lambda t: (t.problem is not None, t.nan_mismatches, t.max_abs / t.scale), default=None)

    def to_dict(self) -> "dict[str, Any]":
        return {"ok": self.ok, "atol": self.atol, "rtol": self.rtol, "tensors": [asdict(t) for t in self.tensors]}

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> "Iterator[TensorComparison]":
        return iter(self.tensors)


def _compare_one(kind: str, name: str, got: np.ndarray, want: Any, atol: float, rtol: float) -> TensorComparison:
    try:
        e = _core.tensor_error(np.asarray(got), np.asarray(want))
    except errors.Error as problem:
        return TensorComparison(name, kind, False, problem=str(problem))
    ok = e["max_abs"] <= atol * e["scale"] + rtol * e["max_abs_want"] and e["nan_mismatches"] == 0
    return TensorComparison(name, kind, ok, **{k: e[k] for k in ("max_abs", "mean_abs", "median_abs", "max_rel", "mean_rel", "median_rel", "scale",
                                                                 "nan_mismatches")})


def run_reference(model: Any, input_feed: "Mapping[str, Any]", on_tensor: Any = None, *, shapes: Any = None) -> "dict[str, np.ndarray]":
    """Outputs of a model in the reference interpreter: as it was imported, kernels that accumulate in double. on_tensor(name, array) sees every tensor."""
    with _options.model_path(_options.check_source(model)) as path:
        reference = _core.Reference(path, _options.build_options({"shapes": shapes}))
        inputs, outputs = reference.names()
        missing = [n for n in inputs if n not in input_feed]
        if missing:
            raise errors.fail("name", f"input '{missing[0]}' is missing; the model takes {inputs}", field=missing[0])
        return dict(zip(outputs, reference.run([input_feed[n] for n in inputs], on_tensor)))


def compare(source: Any, input_feed: "Mapping[str, Any] | None" = None, *, model: Any = None, expected: "Mapping[str, Any] | None" = None,
            layers: bool = False, atol: float = 1e-4, rtol: float = 0.0, batch: int = 0, threads: int = 0, **options: Any) -> CompareResult:
    """Runs a plan (or a model, which is built) and compares its outputs with the reference interpreter's, or with `expected`.

    Args:
        source: a plan, a model, or an InferenceSession.
        input_feed: {input name: array}; None: made up, with `batch` for the first dim.
        model: the model of a plan; not needed when `source` is a model.
        expected: {name: array} to compare with instead (of PyTorch, say); names of outputs, or of steps with layers=True.
        layers: also every step that exists on both sides. Looking does not change the plan that runs.
        atol: allowed error as a fraction of each tensor's largest magnitude; rtol: relative to the value itself.
        options: of :func:`build`, when `source` is a model.
    """
    so = SessionOptions()
    so.intra_op_num_threads = threads
    session = source if isinstance(source, InferenceSession) else InferenceSession(source, so, **options)
    if model is None and expected is None:
        model = session._source if isinstance(source, InferenceSession) else source
        if _options.is_plan(_options.check_source(model)):
            raise errors.fail("argument", "a plan is compared with its model (model=...) or with tensors (expected=...)", field="model")
    feed = dict(input_feed) if input_feed is not None else make_inputs(session._plan, batch)
    steps: "dict[str, np.ndarray]" = {}
    if layers:
        got = session._core.run_steps(feed, lambda step, node, op, kernel, value, array, ns: steps.__setitem__(value, array))
    else:
        got = session.run(None, feed)
    outputs = dict(zip(session._output_index, got))
    rows: "list[TensorComparison]" = []
    if expected is not None:
        for name, want in expected.items():
            if name in outputs:
                rows.append(_compare_one("output", name, outputs[name], want, atol, rtol))
            elif name in steps:
                rows.append(_compare_one("layer", name, steps[name], want, atol, rtol))
            else:
                raise errors.fail("name", f"no output is named '{name}'; there are {list(outputs)}", field=name)
        return CompareResult(rows, atol, rtol)

    def see(name: str, array: np.ndarray) -> None:
        if name in steps:
            rows.append(_compare_one("layer", name, steps[name], array, atol, rtol))

    want = run_reference(model, feed, see if layers else None)
    rows += [_compare_one("output", name, outputs[name], array, atol, rtol) for name, array in want.items()]
    return CompareResult(rows, atol, rtol)


# ---- bench ----


@dataclass
class BenchRow:
    """Latency of one batch and number of threads, in milliseconds; per_second: items (batch x runs) a second at the median.

    steps: with profile=True a dict a step: node, op, kernel, shapes, ns, bytes, flops.
    """

    batch: int
    threads: int
    runs: int
    min_ms: float
    median_ms: float
    mean_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    per_second: float
    context_bytes: int
    device_bytes: int
    device: str
    steps: "list[dict[str, Any]]" = field(default_factory=list, repr=False)


def bench(source: Any, input_feed: "Mapping[str, Any] | None" = None, *, batch: "int | Sequence[int]" = 0, threads: "int | Sequence[int]" = 0, runs: int = 0,
          duration: float = 2.0, warmup: int = 3, profile: bool = False, **options: Any) -> "list[BenchRow]":
    """Latency and throughput of a plan or a model, timed in C without the cost of Python.

    Args:
        source: a plan, a model (built once, with `options` of :func:`build`) or an InferenceSession.
        input_feed: inputs; None: made up, for each of `batch`.
        batch, threads: numbers, or lists of them: a row for each combination.
        runs: runs a row; 0: as many as `duration` seconds take, at least 5.
    """
    plan = source.get_plan() if isinstance(source, InferenceSession) else _options.open_source(
        source, {k: v for k, v in options.items() if k not in ("progress", "cache")}, progress=options.get("progress"), cache=options.get("cache"))
    if plan.is_generator():
        raise errors.fail("request", "the plan generates text: time InferenceSession.generate, or use 'tenon bench'")
    kind = plan.device()["kind"]
    rows = []
    for b in [batch] if isinstance(batch, int) else batch:
        feed = dict(input_feed) if input_feed is not None else make_inputs(plan, b)
        first = next(iter(feed.values()), np.zeros(()))
        items = int(np.shape(first)[0]) if np.ndim(first) > 0 else 1
        for t in [threads] if isinstance(threads, int) else threads:
            session = _core.Session(plan, t)
            if warmup > 0:
                session.time(feed, warmup, warmup, 0.0)
            raw, host, there = session.time(feed, runs or 5, runs or 1_000_000, 0.0 if runs else float(duration))
            ms = np.sort(np.frombuffer(raw, np.uint64)) / 1e6
            p90, p95, p99 = (float(ms[int(np.ceil(q * len(ms))) - 1]) for q in (0.9, 0.95, 0.99))
            median = float(np.median(ms))
            row = BenchRow(items, t, len(ms), float(ms[0]), median, float(ms.mean()), p90, p95, p99, items * 1e3 / median, host, there, kind)
            if profile:
                row.steps = session.profile(feed, min(max(len(ms), 1), 20))
            rows.append(row)
    return rows


# ---- inspect, explain ----


def inspect(source: Any, after: "str | None" = None, **options: Any) -> "dict[str, Any]":
    """What is inside.

    Of a plan (file, bytes, InferenceSession): a dict with its header, symbols, programs with steps and values, where each lies and which kernel runs.
    Of a model: {"text": the graph after the rewrite `after` ("import", a pass, None: all) in Tenon's notation, "symbols", "inputs", "outputs", "nodes"}.
    """
    if isinstance(source, InferenceSession):
        return dict(json.loads(source.get_plan().dump(True)))
    checked = _options.check_source(source)
    if _options.is_plan(checked):
        if after is not None:
            raise errors.fail("argument", "a plan has no rewrites to stop after; give a model", field="after")
        return dict(json.loads(_options.open_source(source, options, inspect=True).dump(True)))
    with _options.model_path(checked) as path:
        return parse_graph(_core.inspect_model(path, after, _options.build_options(options)))


def explain(source: Any, **options: Any) -> "list[dict[str, Any]]":
    """Which kernels each step of a plan considered, and why the winner won: a dict a step."""
    plan = source.get_plan() if isinstance(source, InferenceSession) else _options.open_source(source, options, inspect=True)
    return [row for line in plan.explain(True).splitlines() if line.strip() for row in [json.loads(line)]]


def parse_graph(text: str) -> "dict[str, Any]":
    """The main graph's lines of Tenon's notation as lists; the text stands beside them."""
    symbols: "dict[str, str]" = {}
    inputs: "list[str]" = []
    outputs: "list[str]" = []
    nodes: "list[dict[str, Any]]" = []
    graphs = 0
    for line in text.splitlines():
        s = line.strip()
        if s.startswith("symbol "):
            name, _, rest = s[7:].partition(": ")
            symbols[name] = rest
        elif s.startswith("graph "):
            graphs += 1
        elif graphs > 1:
            continue
        elif s.startswith("input %"):
            inputs.append(s[7:])
        elif s.startswith(("output ", "return ")):
            outputs.append(s.partition(" ")[2].lstrip("%"))
        elif s.startswith("%") and " = " in s:
            result, _, call = s.partition(" = ")
            op = call.partition("(")[0]
            name = call.rsplit('"', 2)[1] if call.endswith('"') else ""
            nodes.append({"op": op, "name": name, "results": result, "text": s})
    return {"text": text, "symbols": symbols, "inputs": inputs, "outputs": outputs, "nodes": nodes}
