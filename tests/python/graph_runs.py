# SPDX-License-Identifier: Apache-2.0
"""Runs a random graph as an optimised plan, in the reference interpreter and in ONNX Runtime, and compares.

    python tests/python/graph_runs.py --graphs 20000 --seed 1        # a summary; exit status 1 when something disagrees
    python tests/python/graph_runs.py --only 4711 --seed 1 --save x  # one graph, written to x.onnx with its inputs

Floats are compared in units of the largest finite magnitude of the output. Where that fails, the graph is run once more with all its floats in float64: a
difference of the order of the rounding error that the interpreter itself has there is ill-conditioning of the drawn graph (x - x, a quotient of rounding
errors), not a disagreement. Such graphs are counted."""
import argparse
import collections
import sys
import time
import warnings

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from graphs import Choice, build
from graph_explained import EXPLAINED

FLOATING = (TensorProto.FLOAT, TensorProto.FLOAT16)


class Disagreement(AssertionError):
    pass


def difference(got, want, eps, exact):
    """None when they agree; else a text."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{list(got.shape)}, not {want.dtype}{list(want.shape)}"
    if got.dtype.kind != "f":
        n = int(np.count_nonzero(got != want))
        return f"{n} of {got.size} elements differ: {got[got != want][:4]}, not {want[got != want][:4]}" if n else None
    a, b = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(np.isnan(a), np.isnan(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return f"NaN or infinity: {a.ravel()[:6]}, not {b.ravel()[:6]}"
    d = np.abs(a[finite] - b[finite])
    scale = np.max(np.abs(b[finite]), initial=0.0)
    limit = 0.0 if exact else eps * scale
    return f"{np.max(d):.3g} off, {limit:.3g} allowed (scale {scale:.3g})" if d.size and not np.max(d) <= limit else None


def in_double(model, feed):
    """The model and feed with every float32 and float16 as float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    g = wide.graph

    def tensor(t):
        if t.data_type in FLOATING:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), t.name))

    kept = {n.input[2] for n in g.node if n.op_type == "Resize"}  # scales are float32 whatever is resized
    for t in g.initializer:
        if t.name not in kept:
            tensor(t)
    for v in [*g.input, *g.output]:
        if v.type.tensor_type.elem_type in FLOATING:
            v.type.tensor_type.elem_type = TensorProto.DOUBLE
    for n in g.node:
        for a in n.attribute:
            if a.HasField("t") and n.output[0] not in kept:
                tensor(a.t)
            elif n.op_type == "Cast" and a.name == "to" and a.i in FLOATING:
                a.i = TensorProto.DOUBLE
    return wide, {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feed.items()}


class Runs:
    """Sessions of one graph."""

    def __init__(self, tenon, backend, ort):
        self.tenon, self.backend, self.ort = tenon, backend, ort
        self.seconds = collections.Counter()
        self.no_kernel = collections.Counter()
        self.compared = 0
        self.conditioning = 0
        self.explained = collections.Counter()
        self.options = tenon.SessionOptions()
        self.options.intra_op_num_threads = 1
        if ort is not None:
            self.ort_options = ort.SessionOptions()
            self.ort_options.intra_op_num_threads = self.ort_options.inter_op_num_threads = 1
            self.ort_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            self.ort_options.log_severity_level = 4

    def timed(self, what, f, *args, **kw):
        start = time.perf_counter()
        try:
            return f(*args, **kw)
        finally:
            self.seconds[what] += time.perf_counter() - start

    def reference(self, data, feed):
        return list(self.backend.TenonReferenceRep(data).run(feed))

    def other(self, data, feeds, graph):
        """ONNX Runtime's outputs of each run, or None where it has no kernel."""
        if self.ort is None or graph.alone:
            if graph.alone:
                self.no_kernel[graph.alone] += 1
            return None
        try:
            session = self.ort.InferenceSession(data, self.ort_options, providers=["CPUExecutionProvider"])
            return [session.run(None, f) for f in feeds]
        except Exception as e:  # ONNX Runtime's exceptions have no common class
            self.no_kernel[f"{type(e).__name__}: {str(e).split(':')[-1].split(' node with name')[0].strip()[:90]}"] += 1
            return None

    def well_conditioned(self, model, feed, got, want, eps):
        """Whether a difference of `got` and `want` is more than what rounding errors explain, by float64."""
        try:
            wide, wide_feed = in_double(model, feed)
            truth = self.reference(wide.SerializeToString(), wide_feed)
        except self.tenon.Error:
            return [True] * len(got)
        out = []
        for g, w, t, e in zip(got, want, truth, eps):
            if g.dtype.kind != "f" or t.shape != g.shape or g.shape != w.shape:
                out.append(True)
                continue
            with np.errstate(all="ignore"):
                own, diff = (np.nanmax(np.abs(x.astype(np.float64) - t), initial=0.0) for x in (w, g))
                both = max(own, np.nanmax(np.abs(g.astype(np.float64) - w.astype(np.float64)), initial=0.0))
            same = np.array_equal(np.isfinite(g), np.isfinite(w))
            # Either of the two may be the one that happens to be near the truth.
            out.append(not (same and own > 0 and both <= 64 * max(own, min(diff, own * 64))))
        return out

    def check(self, graph, name, model, outputs, found, expected, feed, pair):
        for k, (g, w, v) in enumerate(zip(found, expected, outputs)):
            text = difference(g, w, v.eps, v.exact)
            if text is None:
                continue
            if not self.well_conditioned(model, feed, found, expected, [o.eps for o in outputs])[k]:
                self.conditioning += 1
                continue
            reason = next((label for label, applies in EXPLAINED if applies(model, pair, g, w)), None)
            if reason is not None:
                self.explained[reason] += 1
                continue
            raise Disagreement(f"{name}: {pair}: output {v.name} ({', '.join(dict.fromkeys(n.op_type for n in model.graph.node))}): {text}")

    def run(self, graph, name=""):
        model, outputs = graph.model()
        if not outputs:
            return
        self.timed("check", onnx.checker.check_model, model, full_check=True)
        data = model.SerializeToString()
        feeds = graph.feeds if graph.symbols else graph.feeds[:1]
        try:
            references = [self.timed("reference", self.reference, data, f) for f in feeds]
        except self.tenon.Error as e:
            raise Disagreement(f"{name}: the interpreter refuses: {e}") from e
        try:
            session = self.timed("build", self.tenon.InferenceSession, data, self.options)
            plans = [self.timed("run", session.run, None, f) for f in feeds]
        except self.tenon.Error as e:
            raise Disagreement(f"{name}: the plan refuses: {e}") from e
        others = self.timed("onnxruntime", self.other, data, feeds, graph)
        self.compared += others is not None
        for i, (feed, reference, plan) in enumerate(zip(feeds, references, plans)):
            for v, r in zip(outputs, reference):
                dims = [d.alt if i else int(d) for d in v.dims]
                if v not in graph.leaves and list(r.shape) != dims:
                    raise Disagreement(f"{name}: output {v.name}: the interpreter's shape is {list(r.shape)}, {dims} was expected")
            self.check(graph, name, model, outputs, plan, reference, feed, f"plan and interpreter, run {i}")
            if others is not None:
                self.check(graph, name, model, outputs, reference, others[i], feed, f"interpreter and ONNX Runtime, run {i}")


def make_runs():
    import tenon
    from tenon import onnx_backend

    try:
        import onnxruntime
    except ImportError:
        onnxruntime = None
    warnings.simplefilter("ignore", tenon.Warning)
    return Runs(tenon, onnx_backend, onnxruntime)


def save(graph, path):
    model, _ = graph.model()
    onnx.save(model, f"{path}.onnx")
    for i, feed in enumerate(graph.feeds):
        np.savez(f"{path}.{i}.npz", **feed)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--graphs", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--first", type=int, default=0, help="number of the first graph")
    p.add_argument("--seconds", type=float, default=float("inf"), help="ends before --graphs when this much time is over")
    p.add_argument("--only", type=int, help="one graph by its number")
    p.add_argument("--most", type=int, default=8, help="operators of a graph at most")
    p.add_argument("--save", help="with --only: write PATH.onnx and its inputs")
    p.add_argument("--at", help="a file that holds the number of the graph at work, to find it after a crash")
    a = p.parse_args(argv)
    runs, operators, kinds, failures, sizes = make_runs(), collections.Counter(), collections.Counter(), [], collections.Counter()
    numbers = [a.only] if a.only is not None else range(a.first, a.first + a.graphs)
    at = open(a.at, "w") if a.at else None
    start = time.perf_counter()
    for done, i in enumerate(numbers):
        if time.perf_counter() - start > a.seconds:
            numbers = numbers[:done]
            break
        if at:
            at.seek(0), at.write(f"{i}\n"), at.flush()
        graph = runs.timed("draw", build, Choice(f"{a.seed}/{i}"), a.most)
        if a.save and a.only is not None:
            save(graph, a.save)
        operators.update(graph.operators)
        kinds.update({v.kind for v in graph.values})
        sizes.update(dynamic=bool(graph.symbols), empty=any(v.empty for v in graph.values), rank0=any(v.rank == 0 for v in graph.values),
                     special=any(v.special for v in graph.values))
        try:
            runs.run(graph, f"graph {i}")
        except Exception as e:  # noqa: BLE001: whatever it is, the next graph runs
            failures.append(i)
            print(f"{type(e).__name__}: {str(e)[:600]}", flush=True)
    seconds = time.perf_counter() - start
    n = len(numbers)
    versions = f"onnx {onnx.__version__}, tenon {runs.tenon.__version__}, numpy {np.__version__}"
    print(f"\n{n} graphs, seed {a.seed}, {seconds:.0f} s, {n / seconds:.1f} graphs/s; {versions}" + (f", onnxruntime {runs.ort.__version__}" if runs.ort else ""))
    print("seconds: " + ", ".join(f"{k} {v:.1f}" for k, v in runs.seconds.items()))
    print(f"{sizes['dynamic']} with symbolic dims (two sizes each), {sizes['empty']} with zero-size tensors, {sizes['rank0']} with scalars, "
          f"{sizes['special']} with NaN or infinities")
    print(f"{runs.compared} compared with ONNX Runtime; {sum(runs.no_kernel.values())} that it does not run:")
    for k, v in runs.no_kernel.most_common(12):
        print(f"  {v} {k}")
    print(f"{runs.conditioning} outputs whose differences are rounding errors, by float64")
    for k, v in runs.explained.most_common():
        print(f"{v} outputs explained: {k}")
    print("types: " + ", ".join(f"{k} {v}" for k, v in kinds.most_common()))
    print(f"{sum(operators.values())} nodes of {len(operators)} operators: " + ", ".join(f"{k} {v}" for k, v in sorted(operators.items())))
    print(f"{len(failures)} disagreements" + (f": graphs {failures[:200]}" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
