#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times PyTorch on the four models: eager, as a CUDA graph, and compiled; and transformers' generate on text lines.

    peers.py [--models NAME...] [--batches N...] [--dtypes fp16 ...] [--modes eager graph compile max-autotune] [--generate]
             --uniformer DIR --vilbert DIR [--json FILE] [--limit SECONDS]

Inputs lie on the device, in the type of the model. Each row is warmed up; then every run is timed by itself with CUDA events (median_ms, p99_ms)
and by the clock (wall_ms, launch and wait included). A CUDA graph and a compiled model reuse their input addresses, so nothing is copied.
"compile" is torch.compile with reduce-overhead. Of the variants that models.py describes, all are run in eager mode and as a graph, and the
fastest is compiled (--variants names others).

Every model, and every compilation, has a process of its own (peer.py). The processes of a wave build and compile side by side, and then have
the device to themselves one after another. Waves: eager and graph rows of all models, and generate; "compile", middle batches first; tuned
generate; "max-autotune", one row at a time because it chooses kernels by their times. A row that fails or is late says why, and costs nothing else.

On a machine without a GPU, --device cpu --quick builds every model and runs it once at its smallest batch; with --exports DIR it then compares
names, shapes and outputs with what tools/export/full_size.py recorded. --device cpu --backend eager goes through everything but graphs.
"""
import argparse
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from rows import GENERATE, ROWS

HERE = pathlib.Path(__file__).resolve().parent
MODES = ("eager", "graph", "compile", "max-autotune")
DTYPES = ("fp16", "bf16", "fp32", "tf32")
PATHS = ("uniformer", "vilbert", "exports")


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--batches", nargs="*", type=int, help="only these batch sizes")
    parser.add_argument("--middle", action="store_true", help="only the middle batch of each model and the smallest one")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp16"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["eager", "graph", "compile"])
    parser.add_argument("--variants", nargs="+", help="variants of models.py instead of the automatic choice")
    parser.add_argument("--generate", action="store_true", help="also time transformers' generate (TrOCR-small, greedy)")
    parser.add_argument("--lines", type=int, default=GENERATE["lines"], help="of --generate")
    parser.add_argument("--uniformer", type=pathlib.Path, help="checkout of Sense-X/UniFormer")
    parser.add_argument("--vilbert", type=pathlib.Path, help="checkout of facebookresearch/vilbert-multi-task")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed seconds a row, at least --min-runs runs")
    parser.add_argument("--min-runs", type=int, default=30)
    parser.add_argument("--max-runs", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=540, help="seconds for everything; what does not fit is left out and said")
    parser.add_argument("--compile-limit", type=float, default=200, help="seconds that a compilation may take")
    parser.add_argument("--jobs", type=int, default=min(14, max(1, (os.cpu_count() or 1) * 7 // 8)), help="compilations side by side")
    parser.add_argument("--tune-jobs", type=int, default=1, help="the same with max-autotune, whose choice of kernels suffers from company")
    parser.add_argument("--json", type=pathlib.Path, help="write all rows here, anew after every wave")
    parser.add_argument("--logs", type=pathlib.Path, help="folder for what the processes print")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backend", default="inductor", help="of torch.compile; another one than inductor only tries the code")
    parser.add_argument("--quick", action="store_true", help="one eager run a model, fp32, smallest batch")
    parser.add_argument("--exports", type=pathlib.Path, help="with --quick: folder of tools/export/full_size.py to compare with")
    parser.add_argument("--save-trocr", type=pathlib.Path, help="write TrOCR-small as a checkpoint here, in fp16, and stop")
    options = parser.parse_args()
    for name in ("uniformer", "vilbert"):
        path = getattr(options, name)
        if path is not None and not path.is_dir():
            parser.error(f"--{name} {path}: no such folder")
    return options


class Child:
    """A process of peer.py, from its start to its rows."""

    def __init__(self, job, options, folder, threads):
        self.job, name = job, "_".join([job["kind"], job["model"], *(str(v) for k, v in job.get("row", {}).items() if k != "model")])
        self.path = folder / name
        self.rows, self.ready = self.path.with_name(f"{name}.rows"), self.path.with_name(f"{name}.ready")
        plain = {k: str(v) if k in PATHS and v else v for k, v in vars(options).items() if k not in ("json", "logs", "save_trocr")}
        spec = dict(job, rows=str(self.rows), ready=str(self.ready), options=dict(plain, threads=threads))
        file = self.path.with_name(f"{name}.json")
        file.write_text(json.dumps(spec))
        self.log = self.path.with_name(f"{name}.log")
        with open(self.log, "w") as log:
            command = [sys.executable, str(HERE / "peer.py"), str(file)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        self.why = None

    def waiting(self):
        return not self.ready.exists() and self.process.poll() is None

    def end(self, why):
        """Ends the process with all that it started."""
        if self.process.poll() is None:
            self.why = why
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def turn(self, limit):
        """Lets the process have the device until it ends."""
        try:
            self.process.communicate(b"go\n", timeout=max(1, limit))
        except subprocess.TimeoutExpired:
            self.end(f"its turn took more than {limit:.0f} s")
        except OSError:
            self.process.wait()
        try:  # compilation workers that outlive it
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass

    def found(self):
        """Its rows; one with an error if it did not end well."""
        rows = [json.loads(line) for line in self.rows.read_text().splitlines()] if self.rows.exists() else []
        bare = self.job["kind"] in ("compile", "generate") and not rows
        whole = self.job["kind"] in ("compile", "generate") and rows
        if not whole and (self.why or bare or self.process.returncode != 0 and not any("error" in r for r in rows)):
            lines = self.log.read_text().strip().splitlines()
            why = self.why or f"ended with status {self.process.returncode}: {lines[-1][:200] if lines else 'no message'}"
            rows.append(dict(self.job.get("row", {"model": self.job["model"]}), error=why))
        return rows


class Collector:
    """Runs waves of jobs and keeps their rows."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.start = time.monotonic()
        self.result = dict(environment(options), rows=[])
        print(", ".join(f"{k} {v}" for k, v in self.result.items() if k != "rows"), flush=True)

    def left(self):
        return self.options.limit - (time.monotonic() - self.start)

    def keep(self, rows):
        table(rows)
        self.result["rows"] += rows
        self.result["seconds"] = round(time.monotonic() - self.start, 1)
        if self.options.json:
            self.options.json.write_text(json.dumps(self.result, indent=1) + "\n")

    def wave(self, jobs, limit):
        """Builds side by side for at most `limit` seconds, then gives the device to one after another."""
        if not jobs:
            return
        if self.left() < 25:
            self.keep([dict(j.get("row", {"model": j["model"]}), error="no time was left") for j in jobs])
            return
        threads = max(1, (os.cpu_count() or 1) // len(jobs))
        children = [Child(job, self.options, self.folder, threads) for job in jobs]
        begin = time.monotonic()
        end = begin + min(limit, self.left() - 10)
        try:
            while any(c.waiting() for c in children) and time.monotonic() < end:
                time.sleep(0.1)
            for child in children:
                if child.waiting():
                    child.end(f"not ready after {time.monotonic() - begin:.0f} s")
            for child in children:
                if child.process.poll() is None:
                    child.turn(max(5, self.left()))
                self.keep(child.found())
        finally:
            for child in children:
                child.end("ended with its wave")

    def best(self, model, batch, dtype):
        """The variant to compile: the fastest known one of this batch, else of the model, else torch's fused attention."""
        rows = [r for r in self.result["rows"] if r.get("model") == model and r.get("dtype") == dtype and "median_ms" in r]
        rows = [r for r in rows if r["batch"] == batch] or rows
        return min(rows, key=lambda r: r["median_ms"] / r["batch"])["variant"] if rows else "sdpa"

    def compiled(self, mode):
        """Jobs of a compiling mode: middle batches, then the largest, then the smallest."""
        jobs = []
        for at in (1, 2, 0):
            for dtype in self.options.dtypes:
                for model in self.options.models:
                    batch = ROWS[model].batches[at]
                    if batch in batches(self.options, model):
                        variants = self.options.variants or [self.best(model, batch, dtype)]
                        rows = [dict(model=model, batch=batch, dtype=dtype, mode=mode, variant=v) for v in variants]
                        jobs += [{"kind": "compile", "model": model, "row": row} for row in rows]
        return jobs

    def generates(self, variants):
        if not self.options.generate:
            return []
        row = dict(model="generate", batch=self.options.lines, tokens=GENERATE["tokens"], mode="generate")
        return [
            {"kind": "generate", "model": "generate", "row": dict(row, dtype=dtype, variant=variant)}
            for dtype in self.options.dtypes
            for variant in variants
        ]

    def run(self):
        options = self.options
        if options.quick:
            for model in options.models:
                self.wave([{"kind": "quick", "model": model}], 300)
            return
        direct = [{"kind": "direct", "model": m, "batches": batches(options, m)} for m in options.models]
        direct = direct if {"eager", "graph"} & set(options.modes) else []
        self.wave(direct + self.generates(["dynamic"]), 150)
        tuned = self.generates(["static", "compiled"]) if "compile" in options.modes else []
        jobs = (self.compiled("compile") if "compile" in options.modes else []) + tuned
        for first in range(0, len(jobs), options.jobs):
            self.wave(jobs[first : first + options.jobs], options.compile_limit)
        jobs = self.compiled("max-autotune") if "max-autotune" in options.modes else []
        for first in range(0, len(jobs), options.tune_jobs):
            self.wave(jobs[first : first + options.tune_jobs], options.compile_limit)


def batches(options, model):
    """Batch sizes of a model, the middle one first."""
    own = ROWS[model].batches
    order = [own[1], own[0]] if options.middle else [own[1], own[2], own[0]]
    return [b for b in order if not options.batches or b in options.batches]


def table(rows):
    """One line a row."""
    for r in rows:
        head = " ".join(str(r[k]) for k in ("model", "batch", "dtype", "mode", "variant") if k in r)
        if "median_ms" in r:
            more = f", p99/median {r['p99_ms'] / r['median_ms']:.2f}"
            more += f", compiled in {r['compile_s']:.0f} s" if "compile_s" in r else ""
            more += f", {r['graph_breaks']} graph breaks" if r.get("graph_breaks") else ""
            more += f", difference {r['difference']:.1e}" if "difference" in r else ""
            print(f"{head}: {r['median_ms']:.3f} ms, p99 {r['p99_ms']:.3f} ms{more}", flush=True)
        if "error" in r:
            print(f"{head}: {r['error']}", flush=True)


def environment(options):
    """What the results depend on."""
    import importlib.metadata

    import torch

    known = {"torch": torch.__version__, "cuda": torch.version.cuda}
    for name in ("transformers", "triton"):
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            known[name] = "missing"
    known["device"] = options.device
    if options.device.startswith("cuda"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        try:
            known["device"] = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False).stdout.splitlines()[0]
        except (OSError, IndexError, subprocess.TimeoutExpired):
            known["device"] = "unknown"
    known["date"] = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"
    return known


def main():
    options = arguments()
    if options.save_trocr:
        import models
        import torch

        models.trocr_small().to(torch.float16).save_pretrained(options.save_trocr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
        collector = Collector(options, options.logs or pathlib.Path(folder))
        try:
            collector.run()
        finally:
            print(f"PyTorch took {time.monotonic() - collector.start:.0f} s", flush=True)
    return 1 if options.quick and any("error" in r for r in collector.result["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
