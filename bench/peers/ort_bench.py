#!/usr/bin/env python3
"""Time ONNX Runtime on one graph with its best settings, and print one JSON object.

Settings: all graph optimisations, N threads inside an operator, spinning on, memory pattern and arena on, inputs and
outputs bound once (with --no-binding: session.run). Static outputs are bound to memory of ours; outputs whose shape is
not known before the run are left to ONNX Runtime's allocator.
"""

import argparse
import json
import os
import pathlib
import platform
import time

import numpy as np
import onnxruntime


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="model.onnx")
    parser.add_argument("inputs", type=pathlib.Path, help="inputs.K.npz; arrays carry the names of the graph's inputs")
    parser.add_argument("--expected", type=pathlib.Path, help="outputs.K.npz, to report the largest difference")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads inside an operator")
    parser.add_argument("--provider", default="CPUExecutionProvider")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds of warm-up, at least three runs")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds to measure")
    parser.add_argument("--min-runs", type=int, default=20)
    parser.add_argument("--max-runs", type=int, default=5000)
    parser.add_argument("--no-binding", action="store_true", help="call session.run with arrays")
    parser.add_argument("--no-spin", action="store_true", help="let idle threads sleep")
    parser.add_argument("--batch", type=int, help="repeat the first row of each input to this batch")
    return parser.parse_args()


def make_session(options):
    """A session with the settings above, and the milliseconds that it took to make."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.enable_mem_pattern = True
    settings.enable_cpu_mem_arena = True
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0" if options.no_spin else "1")
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(str(options.model), settings, providers=[options.provider])
    return session, (time.perf_counter() - start) * 1e3


def load_inputs(session, path, batch):
    """The arrays that the graph takes, contiguous."""
    arrays = np.load(path)
    wanted = [value.name for value in session.get_inputs()]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise SystemExit(f"{path} lacks {missing}")
    feeds = {name: arrays[name] for name in wanted}
    if batch:
        feeds = {name: np.repeat(array[:1], batch, axis=0) for name, array in feeds.items()}
    return {name: np.ascontiguousarray(array) for name, array in feeds.items()}


def bind(session, feeds):
    """A binding with inputs and outputs in place; outputs get memory of the shapes seen in one trial run."""
    binding = session.io_binding()
    names = [value.name for value in session.get_outputs()]
    trial = session.run(names, feeds)
    held = []  # OrtValues must outlive the binding
    for name, array in feeds.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        held.append(value)
        binding.bind_ortvalue_input(name, value)
    for name, array in zip(names, trial):
        if isinstance(array, np.ndarray) and array.size:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty_like(array))
            held.append(value)
            binding.bind_ortvalue_output(name, value)
        else:
            binding.bind_output(name)
    return binding, held


def measure(call, warmup, seconds, min_runs, max_runs):
    """Milliseconds of each run, after a warm-up."""
    end = time.perf_counter() + warmup
    count = 0
    while count < 3 or time.perf_counter() < end:
        call()
        count += 1
    times = []
    end = time.perf_counter() + seconds
    while len(times) < min_runs or (time.perf_counter() < end and len(times) < max_runs):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def summary(times):
    """Statistics of a list of milliseconds."""
    values = np.asarray(times)
    return {
        "runs": len(times),
        "median_ms": float(np.median(values)),
        "p90_ms": float(np.percentile(values, 90)),
        "p99_ms": float(np.percentile(values, 99)),
        "min_ms": float(values.min()),
        "mean_ms": float(values.mean()),
    }


def difference(session, feeds, path):
    """Largest absolute difference from the expected outputs, by name."""
    expected = np.load(path)
    names = [value.name for value in session.get_outputs()]
    actual = dict(zip(names, session.run(names, feeds)))
    return {
        name: float(np.abs(actual[name].astype(np.float64) - expected[name]).max())
        for name in names
        if name in expected and expected[name].size
    }


def main():
    options = arguments()
    session, load_ms = make_session(options)
    feeds = load_inputs(session, options.inputs, options.batch)
    result = {
        "engine": "onnxruntime",
        "version": onnxruntime.__version__,
        "provider": session.get_providers()[0],
        "threads": options.threads,
        "spinning": not options.no_spin,
        "binding": not options.no_binding,
        "model": options.model.parent.name,
        "inputs": {name: list(array.shape) for name, array in feeds.items()},
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_ms": load_ms,
    }
    if options.expected and not options.batch:
        result["max_difference"] = difference(session, feeds, options.expected)
    if options.no_binding:
        names = [value.name for value in session.get_outputs()]
        times = measure(
            lambda: session.run(names, feeds), options.warmup, options.seconds, options.min_runs, options.max_runs
        )
    else:
        binding, held = bind(session, feeds)
        times = measure(
            lambda: session.run_with_iobinding(binding),
            options.warmup,
            options.seconds,
            options.min_runs,
            options.max_runs,
        )
        del held
    result.update(summary(times))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
