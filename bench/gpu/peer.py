#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One process of peers.py: builds one model of PyTorch, waits for its turn on the device, and times the rows that it was asked for.

    peer.py JOB.json       {"kind": "direct" | "compile" | "generate" | "quick", "model": ..., "rows": FILE, "ready": FILE, "options": {...}, ...}

All that does not need a quiet device (weights, compilation) happens before the turn: then the file "ready" appears, and a line on standard input
starts the clock. Every row is appended to "rows" as soon as it is known, so that nothing is lost when the process is ended.
"""
import argparse
import copy
import gc
import json
import os
import pathlib
import signal
import sys
import time
import warnings

from rows import ROWS, summary

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "gpu"))
ROW_SECONDS = 45  # that an eager or graph row may take


class Late(Exception):
    """Something took longer than it may."""


def on_alarm(*_):
    raise Late


def reason(error):
    """First line of an error, short."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


class Peer:
    """Runs and times one model."""

    def __init__(self, job):
        import torch

        self.torch, self.job, self.options = torch, job, argparse.Namespace(**job["options"])
        self.cuda = self.options.device.startswith("cuda")
        torch.set_num_threads(max(1, self.options.threads))
        torch.backends.cudnn.benchmark = True
        for name in ("uniformer", "vilbert", "exports"):
            path = getattr(self.options, name)
            setattr(self.options, name, pathlib.Path(path) if path else None)
        signal.signal(signal.SIGALRM, on_alarm)

    def write(self, row):
        """Appends a row to the file that the parent reads."""
        with open(self.job["rows"], "a") as file:
            file.write(json.dumps(row) + "\n")

    def turn(self):
        """Says that the device is needed from now on, and waits until it is free."""
        self.wait()
        pathlib.Path(self.job["ready"]).touch()
        if not sys.stdin.readline():
            sys.exit("the collecting process is gone")

    def precision(self, dtype):
        """Sets TF32 on or off; returns torch's type."""
        torch = self.torch
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(dtype, torch.float32)

    def wait(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def free(self):
        gc.collect()
        if self.cuda:
            self.torch.cuda.empty_cache()

    def time(self, call):
        """Statistics of single runs, each waited for."""
        torch, options, device, wall = self.torch, self.options, [], []
        end = time.perf_counter() + min(0.3, options.seconds)
        count = 0
        while count < min(3, options.min_runs) or time.perf_counter() < end:
            call()
            self.wait()
            count += 1
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self.cuda else None
        end = time.perf_counter() + options.seconds
        while len(wall) < options.min_runs or (time.perf_counter() < end and len(wall) < options.max_runs):
            start = time.perf_counter()
            if events:
                events[0].record()
            call()
            if events:
                events[1].record()
            self.wait()
            wall.append((time.perf_counter() - start) * 1e3)
            device.append(events[0].elapsed_time(events[1]) if events else wall[-1])
        return dict(summary(device), wall_ms=summary(wall)["median_ms"], wall_p99_ms=summary(wall)["p99_ms"])

    def inputs(self, name, batch, dtype):
        """Generated inputs on the device; floats in the model's type, kept at one address."""
        import inputs

        tensors = []
        for array in inputs.make(ROWS[name].export, batch).values():
            tensor = self.torch.from_numpy(array).to(self.options.device)
            tensors.append(tensor.to(dtype) if tensor.is_floating_point() else tensor)
        return tensors

    def layout(self, variant, module, tensors):
        """Puts a model and its pictures into the memory format of a variant."""
        form = self.torch.channels_last if variant == "channels_last" else self.torch.contiguous_format
        module.to(memory_format=form)
        return [t.contiguous(memory_format=form) if t.dim() == 4 else t for t in tensors]

    # ---- eager and graphs ----

    def graph(self, module, tensors):
        """A captured CUDA graph's replay, and the graph, which must stay alive."""
        torch = self.torch
        if not self.cuda:
            raise RuntimeError("graphs need a GPU")
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                module(*tensors)
        torch.cuda.current_stream().wait_stream(side)
        self.wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            held = module(*tensors)
        return graph.replay, (graph, held)

    def measure(self, row, module, tensors):
        """Fills in one row: times, or why there are none."""
        signal.alarm(ROW_SECONDS)
        try:
            with self.torch.no_grad():
                if row["mode"] == "graph":
                    replay, held = self.graph(module, tensors)
                    row.update(self.time(replay))
                    del replay, held
                else:
                    row.update(self.time(lambda: module(*tensors)))
        except Late:
            row["error"] = f"took more than {ROW_SECONDS} s"
        except Exception as error:  # one failure is one row
            row["error"] = reason(error)
        finally:
            signal.alarm(0)
        return row

    def direct(self):
        """All eager and graph rows of one model; the middle batch first."""
        import models

        name = self.job["model"]
        model = models.Model(name, self.options)
        chosen = [v for v in self.options.variants or () if v in models.VARIANTS[name]] or list(models.VARIANTS[name])
        self.turn()
        for dtype in self.options.dtypes:
            kind = self.precision(dtype)
            module = copy.deepcopy(model.module).to(self.options.device, kind)
            for batch in self.job["batches"]:
                tensors = self.inputs(name, batch, kind)
                for mode in [m for m in ("graph", "eager") if m in self.options.modes]:
                    for variant in chosen:
                        model.select(variant)
                        given = self.layout(variant, module, tensors)
                        self.write(self.measure(dict(model=name, batch=batch, dtype=dtype, mode=mode, variant=variant), module, given))
                        del given
                        self.free()
                del tensors
            del module
            self.free()

    # ---- compiled ----

    def compile(self):
        """One compiled row: compiles, waits for the turn, and times."""
        import models

        torch, row = self.torch, dict(self.job["row"])
        try:
            model = models.Model(row["model"], self.options)
            kind = self.precision(row["dtype"])
            module = model.module.to(self.options.device, kind)
            model.select(row["variant"])
            tensors = self.layout(row["variant"], module, self.inputs(row["model"], row["batch"], kind))
            for tensor in tensors:
                torch._dynamo.mark_static_address(tensor)
            how = {"mode": "reduce-overhead" if row["mode"] == "compile" else row["mode"]}
            how = how if self.options.backend == "inductor" else {"backend": self.options.backend}
            function = torch.compile(module, dynamic=False, **how)

            def call():
                torch.compiler.cudagraph_mark_step_begin()
                return function(*tensors)

            with torch.no_grad():
                start = time.perf_counter()
                for _ in range(min(3, self.options.min_runs)):
                    call()
                    self.wait()
                row["compile_s"] = time.perf_counter() - start
                row["graph_breaks"] = sum(torch._dynamo.utils.counters["graph_break"].values())
                self.turn()
                row.update(self.time(call))
        except Exception as error:
            row["error"] = reason(error)
        self.write(row)

    # ---- generation ----

    def generate(self):
        """transformers' generate: greedy, every line takes all its tokens; variants that users tune are one job each."""
        import inputs
        import models

        torch, row = self.torch, dict(self.job["row"])
        lines, tokens, variant = row["batch"], row["tokens"], row["variant"]
        try:
            kind = self.precision(row["dtype"])
            model = models.trocr_small().eval().to(self.options.device, kind)
            pictures = torch.from_numpy(inputs.make(ROWS["trocr"].export, lines)["pixel_values"]).to(self.options.device, kind)
            settings = dict(do_sample=False, num_beams=1, max_length=None, max_new_tokens=tokens, min_new_tokens=tokens)
            if variant == "static":
                settings["cache_implementation"] = "static"
            elif variant == "compiled":
                how = {"mode": "max-autotune-no-cudagraphs"} if self.options.backend == "inductor" else {"backend": self.options.backend}
                model.encoder.forward = torch.compile(model.encoder.forward, dynamic=False, **how)
                model.decoder.forward = torch.compile(model.decoder.forward, dynamic=True, **({} if "mode" in how else how))
            with torch.no_grad():
                start = time.perf_counter()
                made = model.generate(pictures, **settings).shape[1] - 1
                self.wait()
                row["compile_s"] = time.perf_counter() - start
                if made != tokens:
                    raise RuntimeError(f"generate made {made} tokens, {tokens} were asked for")
                if variant != "dynamic":
                    model.generate(pictures, **settings)
                self.turn()
                row.update(self.time(lambda: model.generate(pictures, **settings)))
        except Exception as error:
            row["error"] = reason(error)
        self.write(row)

    # ---- a try without a GPU ----

    def quick(self):
        """One run on the host's or device's smallest batch, compared with the recorded export where there is one."""
        import numpy as np

        import inputs
        import models

        torch, name = self.torch, self.job["model"]
        row = ROWS[name]
        model = models.Model(name, self.options)
        module = model.module.to(self.options.device)
        self.turn()
        for variant in models.VARIANTS[name]:
            model.select(variant)
            module.to(memory_format=torch.channels_last if variant == "channels_last" else torch.contiguous_format)
            arrays, problems = inputs.make(row.export, 1), []
            result = {"model": name, "batch": 1, "dtype": "fp32", "mode": "eager", "variant": variant}
            expected = None
            if self.options.exports:
                recorded = dict(np.load(self.options.exports / row.export / "inputs.0.npz"))
                for key in [*recorded, *arrays]:
                    have, want = ([a[key].dtype.name, *a[key].shape[1:]] if key in a else None for a in (arrays, recorded))
                    if have != want:
                        problems.append(f"input {key}: {have}, the export has {want}")
                if list(recorded) != list(arrays):
                    problems.append(f"inputs {list(arrays)}, the export has {list(recorded)}")
                arrays, expected = recorded, next(iter(np.load(self.options.exports / row.export / "outputs.0.npz").values()))
            start = time.perf_counter()
            with torch.no_grad():
                out = module(*[torch.from_numpy(a).to(self.options.device) for a in arrays.values()]).float().cpu().numpy()
            result["median_ms"] = result["p99_ms"] = (time.perf_counter() - start) * 1e3
            if expected is not None:
                live = np.abs(expected) < 5000  # masked scores would hide every other difference
                worst = np.abs(out - expected)[live].max() / np.abs(expected[live]).max() if out.shape == expected.shape else np.inf
                result["difference"] = float(worst)
                if not worst <= 1e-4:
                    problems.append(f"output {list(out.shape)} differs from the export's {list(expected.shape)} by {worst}")
            if problems:
                result["error"] = "; ".join(problems)
            self.write(result)


def main():
    warnings.filterwarnings("ignore")
    job = json.loads(pathlib.Path(sys.argv[1]).read_text())
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(2, job["options"]["threads"])))
    peer = Peer(job)
    try:
        getattr(peer, job["kind"])()
    except Exception as error:
        peer.write(dict(job.get("row", {"model": job["model"]}), error=reason(error)))
        raise


if __name__ == "__main__":
    main()
