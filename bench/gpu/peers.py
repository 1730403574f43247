#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times PyTorch on the four models: eager, as a CUDA graph, and compiled; and transformers' generate on text lines.

    peers.py [--models NAME...] [--batches N...] [--dtypes fp16 ...] [--modes eager graph compile max-autotune] [--generate]
             --uniformer DIR --vilbert DIR [--json FILE] [--limit SECONDS]

Inputs lie on the device, in the type of the model. Each row is warmed up; then every run is timed by itself with CUDA events (median_ms, p99_ms)
and by the clock (wall_ms, launch and wait included). A CUDA graph and a compiled model reuse their input addresses, so nothing is copied. Each
model runs in its own process: what fails or takes too long leaves an error in its row and nothing else. "compile" is torch.compile with
reduce-overhead. Of the variants that models.py describes, all are run in eager mode and as a graph, and the fastest is compiled (--variants
names others). On a machine without a GPU, --device cpu --quick builds every model and runs it once at its smallest batch; with --exports DIR it
then compares names, shapes and outputs with what tools/export/full_size.py recorded.
"""
import argparse
import copy
import gc
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import warnings

from rows import GENERATE, ROWS, summary

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "gpu"))
MODES = ("eager", "graph", "compile", "max-autotune")
DTYPES = ("fp16", "bf16", "fp32", "tf32")


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--batches", nargs="*", type=int, help="only these batch sizes")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp16"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["eager", "graph", "compile"])
    parser.add_argument("--variants", nargs="+", help="variants of models.py instead of the automatic choice")
    parser.add_argument("--generate", action="store_true", help="also time transformers' generate (TrOCR-small, greedy)")
    parser.add_argument("--uniformer", type=pathlib.Path, help="checkout of Sense-X/UniFormer")
    parser.add_argument("--vilbert", type=pathlib.Path, help="checkout of facebookresearch/vilbert-multi-task")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed seconds a row, at least --min-runs runs")
    parser.add_argument("--min-runs", type=int, default=30)
    parser.add_argument("--max-runs", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=540, help="seconds for everything; what does not fit is left out and said")
    parser.add_argument("--compile-limit", type=int, default=150, help="seconds that one compilation may take")
    parser.add_argument("--json", type=pathlib.Path, help="write all rows here")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="one eager run a model, fp32, smallest batch")
    parser.add_argument("--exports", type=pathlib.Path, help="with --quick: folder of tools/export/full_size.py to compare with")
    parser.add_argument("--save-trocr", type=pathlib.Path, help="write TrOCR-small as a checkpoint here, in fp16, and stop")
    parser.add_argument("--child", choices=[*ROWS, "generate"], help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("uniformer", "vilbert"):
        path = getattr(options, name)
        if path is not None and not path.is_dir():
            parser.error(f"--{name} {path}: no such folder")
    return options


# ---- in the process of one model -------------------------------------------------------------------------------------


class Late(Exception):
    """A compilation took longer than it may."""


def on_alarm(*_):
    raise Late


class Bench:
    """Runs and times one model; every row is written as soon as it is known."""

    def __init__(self, options):
        import torch

        self.torch, self.options = torch, options
        self.end = time.monotonic() + options.limit
        self.cuda = options.device.startswith("cuda")
        torch.backends.cudnn.benchmark = True
        signal.signal(signal.SIGALRM, on_alarm)

    def write(self, row):
        """Appends a row to the file that the parent reads."""
        with open(self.options.rows, "a") as file:
            file.write(json.dumps(row) + "\n")

    def precision(self, dtype):
        """Sets TF32 on or off; returns torch's type."""
        torch = self.torch
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(dtype, torch.float32)

    def wait(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def time(self, call):
        """Statistics of single runs, each waited for."""
        torch, options, device, wall = self.torch, self.options, [], []
        end = time.perf_counter() + min(0.3, options.seconds)
        count = 0
        while count < 3 or time.perf_counter() < end:
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

    def graph(self, module, tensors):
        """A captured CUDA graph's replay, and the graph, which must stay alive."""
        torch = self.torch
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

    def compiled(self, module, tensors, mode):
        """A compiled call, after its compilation; and the seconds that this took."""
        torch = self.torch
        torch._dynamo.reset()
        for tensor in tensors:
            torch._dynamo.mark_static_address(tensor)
        start = time.perf_counter()
        signal.alarm(max(1, int(min(self.options.compile_limit, self.end - time.monotonic()))))
        try:
            function = torch.compile(module, mode="reduce-overhead" if mode == "compile" else mode, dynamic=False)
            for _ in range(3):
                torch.compiler.cudagraph_mark_step_begin()
                function(*tensors)
                self.wait()
        finally:
            signal.alarm(0)

        def call():
            torch.compiler.cudagraph_mark_step_begin()
            return function(*tensors)

        return call, time.perf_counter() - start

    def measure(self, row, module, tensors):
        """Fills in one row: times, or why there are none."""
        if time.monotonic() > self.end:
            return dict(row, error="no time was left")
        try:
            with self.torch.no_grad():
                if row["mode"] == "eager":
                    row.update(self.time(lambda: module(*tensors)))
                elif row["mode"] == "graph":
                    replay, held = self.graph(module, tensors)
                    row.update(self.time(replay))
                    del replay, held
                else:
                    call, row["compile_s"] = self.compiled(module, tensors, row["mode"])
                    row.update(self.time(call))
        except Late:
            row["error"] = f"compilation took more than {self.options.compile_limit} s or the time that was left"
        except Exception as error:  # one failure is one row
            row["error"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]
        return row

    def variants(self, row, models, chosen, module, tensors):
        """Rows of all variants in the cheap modes, then of the fastest in the modes that compile."""
        rows = []
        for mode in self.options.modes:
            cheap = mode in ("eager", "graph")
            done = [r for r in rows if "median_ms" in r]
            best = [min(done, key=lambda r: r["median_ms"])["variant"]] if done and not self.options.variants else chosen
            for variant in chosen if cheap else best:
                models.select(variant)
                layout = self.torch.channels_last if variant == "channels_last" else self.torch.contiguous_format
                module.to(memory_format=layout)
                given = [t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in tensors]
                rows.append(self.measure(dict(row, mode=mode, variant=variant), module, given))
                self.write(rows[-1])
                gc.collect()
                if self.cuda:
                    self.torch.cuda.empty_cache()

    def model(self, name):
        """All rows of one model."""
        import models

        model = models.Model(name, self.options)
        chosen = self.options.variants or models.VARIANTS[name]
        chosen = [v for v in chosen if v in models.VARIANTS[name]] or list(models.VARIANTS[name])
        for dtype in self.options.dtypes:
            kind = self.precision(dtype)
            module = copy.deepcopy(model.module).to(self.options.device, kind)
            for batch in ROWS[name].batches:
                if self.options.batches and batch not in self.options.batches:
                    continue
                tensors = self.inputs(name, batch, kind)
                self.variants({"model": name, "batch": batch, "dtype": dtype}, model, chosen, module, tensors)
                del tensors
            del module
            self.torch._dynamo.reset()
            gc.collect()

    def generate(self):
        """transformers' generate: greedy, every line takes all its tokens."""
        import inputs
        import models

        lines, tokens = GENERATE["lines"], GENERATE["tokens"]
        for dtype in self.options.dtypes:
            kind = self.precision(dtype)
            model = models.trocr_small().eval().to(self.options.device, kind)
            pictures = inputs.make(ROWS["trocr"].export, lines)["pixel_values"]
            pictures = self.torch.from_numpy(pictures).to(self.options.device, kind)
            settings = dict(do_sample=False, num_beams=1, max_length=None, max_new_tokens=tokens, min_new_tokens=tokens)
            row = {"model": "generate", "batch": lines, "tokens": tokens, "dtype": dtype, "variant": "sdpa"}
            row = self.measure(dict(row, mode="eager"), lambda x: model.generate(x, **settings), [pictures])
            made = model.generate(pictures[:2], **settings).shape[1] - 1
            if made != tokens:
                row["error"] = f"generate made {made} tokens, {tokens} were asked for"
            self.write(row)

    def quick(self, name):
        """One run on the host's or device's smallest batch, compared with the recorded export where there is one."""
        import numpy as np

        import inputs
        import models

        torch, row = self.torch, ROWS[name]
        model = models.Model(name, self.options)
        module = model.module.to(self.options.device)
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


def child(options):
    """Runs one model and writes its rows; an error outside of the rows is a row."""
    warnings.filterwarnings("ignore")
    bench = Bench(options)
    try:
        if options.child == "generate":
            bench.generate()
        elif options.quick:
            bench.quick(options.child)
        else:
            bench.model(options.child)
    except Exception as error:
        bench.write({"model": options.child, "error": f"{type(error).__name__}: {error}"[:300]})
        raise


# ---- in the process that collects ------------------------------------------------------------------------------------


def collect(name, options, left):
    """Rows of one model from its own process."""
    with tempfile.TemporaryDirectory() as folder:
        rows = pathlib.Path(folder) / "rows"
        command = [sys.executable, __file__, *sys.argv[1:], "--child", name, "--rows", str(rows), "--limit", str(left)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            _, log = process.communicate(timeout=left + 20)
        except subprocess.TimeoutExpired:
            process.kill()
            _, log = process.communicate()
        found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    if process.returncode != 0:
        found = found or [{"model": name, "error": f"ended with status {process.returncode}"}]
        sys.stderr.write("".join(f"{name}: {line}\n" for line in log.splitlines()[-12:]))
    return found


def table(rows):
    """One line a row."""
    for r in rows:
        head = " ".join(str(r[k]) for k in ("model", "batch", "dtype", "mode", "variant") if k in r)
        if "median_ms" in r:
            more = f", compiled in {r['compile_s']:.0f} s" if "compile_s" in r else ""
            more += f", difference {r['difference']:.1e}" if "difference" in r else ""
            print(f"{head}: {r['median_ms']:.3f} ms, p99 {r['p99_ms']:.3f} ms{more}", flush=True)
        if "error" in r:
            print(f"{head}: {r['error']}", flush=True)


def versions(options):
    """What the results depend on."""
    import torch
    import transformers

    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
    return {"torch": torch.__version__, "transformers": transformers.__version__, "cuda": torch.version.cuda, "device": device}


def main():
    options = arguments()
    if options.child:
        return child(options)
    if options.save_trocr:
        import models
        import torch

        models.trocr_small().to(torch.float16).save_pretrained(options.save_trocr)
        return None
    start = time.monotonic()
    result = dict(versions(options), rows=[])
    print(", ".join(f"{k} {v}" for k, v in result.items() if k != "rows"), flush=True)
    for name in [*options.models, *(["generate"] if options.generate else [])]:
        left = options.limit - (time.monotonic() - start)
        rows = collect(name, options, left) if left > 20 else [{"model": name, "error": "no time was left"}]
        table(rows)
        result["rows"] += rows
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"PyTorch took {time.monotonic() - start:.0f} s", flush=True)
    return 1 if options.quick and any("error" in r for r in result["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
