#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tenon beside PyTorch on one GPU, in one run: prints the tables of docs/performance.md with what they depend on.

    compare.py --uniformer DIR --vilbert DIR [--models NAME...] [--dtypes fp16 ...] [--out DIR] [--limit SECONDS]

The steps, each of which can be left out (--skip) or read from an earlier run's files in --out:
  ceilings   copy bandwidth and matrix rates, the base of the floors                (ceilings.json)
  build      weights from tools/gpu/models, `tenon build --tune` a model and type   (NAME.TYPE.plan)
  check      outputs of the plans against ONNX Runtime's on the host
  bench      `tenon bench --device-io`                                              (tenon.json)
  peers      bench/gpu/peers.py; arguments after -- go there                        (peers.json)
Nothing starts after --limit seconds; what did not run is shown as a dash.
"""
import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

from rows import GENERATE, ROWS, floor_ms

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STEPS = ("ceilings", "build", "check", "bench", "peers")
DTYPES = ("fp16", "bf16", "fp32", "tf32")


def arguments():
    """Parse the command line; what follows -- is kept for peers.py."""
    mine, more = sys.argv[1:], []
    if "--" in mine:
        at = mine.index("--")
        mine, more = mine[:at], mine[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", type=pathlib.Path, default=ROOT / "build" / "tenon")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "gpu-bench", help="folder of weights, plans and results")
    parser.add_argument("--models", nargs="*", choices=[*ROWS, "generate"], default=[*ROWS, "generate"])
    parser.add_argument("--batches", nargs="*", type=int, help="only these batch sizes")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp16"])
    parser.add_argument("--skip", nargs="*", choices=STEPS, default=[])
    parser.add_argument("--per-batch", action="store_true", help="a plan a batch size instead of one for the whole range")
    parser.add_argument("--no-tune", action="store_true", help="build without --tune")
    parser.add_argument("--rebuild", action="store_true", help="build each plan twice: the second time from a warm timing cache")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed seconds a row of Tenon and of PyTorch")
    parser.add_argument("--limit", type=float, default=570)
    parser.add_argument("--uniformer", type=pathlib.Path)
    parser.add_argument("--vilbert", type=pathlib.Path)
    return parser.parse_args(mine), more


class Run:
    """The state of one comparison: options, results, and the time that is left."""

    def __init__(self, options, more):
        self.options, self.more = options, more
        self.start = time.monotonic()
        self.rows = {}  # (model, batch, dtype) -> what is known of Tenon
        self.builds = []
        options.out.mkdir(parents=True, exist_ok=True)

    def left(self):
        return self.options.limit - (time.monotonic() - self.start)

    def call(self, command, what, show=False):
        """Standard output of a command (empty where it is shown at once), or None: it failed, which is said, or no time was left."""
        if self.left() < 5:
            print(f"{what}: no time was left", file=sys.stderr)
            return None
        try:
            r = subprocess.run([str(c) for c in command], capture_output=not show, text=True, timeout=self.left())
        except subprocess.TimeoutExpired:
            print(f"{what}: stopped, the time is over", file=sys.stderr)
            return None
        except OSError as error:
            print(f"{what}: {error}", file=sys.stderr)
            return None
        if r.returncode != 0:
            print(f"{what}: status {r.returncode}\n{(r.stdout or '')[-2000:]}{(r.stderr or '')[-2000:]}", file=sys.stderr, flush=True)
            return None
        return r.stdout or ""

    def file(self, name):
        """An earlier step's JSON, or an empty object."""
        path = self.options.out / name
        return json.loads(path.read_text()) if path.exists() else {}

    # ---- steps ----

    def ceilings(self):
        out = self.call([sys.executable, HERE / "ceilings.py", "--json", self.options.out / "ceilings.json"], "ceilings")
        print(out or "ceilings: not measured", flush=True)

    def batches(self, name):
        wanted = (GENERATE["lines"],) if name == "generate" else ROWS[name].batches
        return [b for b in wanted if not self.options.batches or b in self.options.batches]

    def plans(self, name, dtype):
        """(plan, --shapes or nothing, batches it is for)."""
        stem, batches = self.options.out / f"{name}.{dtype}", self.batches(name)
        if name == "generate":
            return [(stem.with_name(stem.name + ".plan"), [], batches)]
        if self.options.per_batch:
            return [(stem.with_name(f"{stem.name}.{b}.plan"), ["--shapes", f"batch={b}"], [b]) for b in batches]
        low, high = min(ROWS[name].batches), max(ROWS[name].batches)
        return [(stem.with_name(stem.name + ".plan"), ["--shapes", f"batch={low}:{high}:{high}"], batches)]

    def source(self, name):
        """The model's file or folder, made if it is not there."""
        if name == "generate":
            folder = self.options.out / "trocr-small"
            if not (folder / "config.json").exists():
                self.call([sys.executable, HERE / "peers.py", "--save-trocr", folder], "checkpoint")
            return folder
        export, batches = ROWS[name].export, ",".join(map(str, self.batches(name)))
        fill = [sys.executable, ROOT / "tools/gpu/fill.py", ROOT / "tools/gpu/models" / export, "--out", self.options.out]
        out = self.call([*fill, "--batches", batches], f"weights of {name}")
        print((out or "").rstrip(), flush=True)
        return self.options.out / export / "model.onnx"

    def build(self, name, dtype):
        """Builds the plans of a model; notes the seconds."""
        model = self.source(name)
        for plan, shapes, _ in self.plans(name, dtype):
            command = [self.options.tenon, "build", model, "-o", plan, "-q", "--device", "cuda", f"--{dtype}", *shapes]
            if not self.options.no_tune:
                command += ["--tune", "--timing-cache", plan.with_suffix(".timings")]
            for kind in ("cold", "warm") if self.options.rebuild else ("cold",):
                begin = time.monotonic()
                if self.call(command, f"build of {plan.name}") is not None:
                    self.builds.append({"plan": plan.name, "timings": kind, "seconds": time.monotonic() - begin})
                    print(f"built {plan.name}, {kind} timings: {self.builds[-1]['seconds']:.1f} s", flush=True)

    def check(self, name, dtype):
        """Largest error of the plans' outputs against ONNX Runtime's fp32 on the host, over the largest magnitude."""
        try:
            import numpy as np
            import onnxruntime
        except ImportError as error:
            print(f"check: {error}; left out", file=sys.stderr)
            return
        folder = self.options.out / ROWS[name].export
        for plan, _, batches in self.plans(name, dtype):
            inputs, result = folder / f"inputs.{batches[0]}.npz", plan.with_suffix(".npz")
            if self.call([self.options.tenon, "run", plan, "-i", inputs, "-o", result, "-q"], f"run of {plan.name}") is None:
                continue
            session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
            names = [o.name for o in session.get_outputs()]
            worst, have = 0.0, np.load(result)
            for key, want in zip(names, session.run(names, dict(np.load(inputs)))):
                live = np.abs(want) < 5000  # masked scores would hide every other difference
                error = np.abs(want.astype(np.float64) - have[key])[live].max() / np.abs(want[live]).max()
                worst = max(worst, float(error) if np.isfinite(error) else float("inf"))
            for batch in batches:
                self.rows.setdefault((name, batch, dtype), {})["error"] = worst
            print(f"{plan.name}, batch {batches[0]}: largest error {worst:.1e} of the outputs' scale", flush=True)

    def bench(self, name, dtype):
        """Times the plans."""
        for plan, _, batches in self.plans(name, dtype):
            for batch in batches:
                command = [self.options.tenon, "bench", plan, "--device-io", "--json", "-q", "-d", self.options.seconds]
                if name == "generate":
                    command += ["--batch", batch, "--tokens", GENERATE["tokens"]]
                else:
                    command += ["-i", self.options.out / ROWS[name].export / f"inputs.{batch}.npz"]
                out = self.call(command, f"bench of {plan.name}, batch {batch}")
                if out:
                    found = json.loads(out)[0]
                    keep = {k: v for k, v in found.items() if k.endswith("_ms") or k in ("runs", "context_bytes")}
                    self.rows.setdefault((name, batch, dtype), {}).update(keep)
                    print(f"{name} {dtype} batch {batch}: {found['median_ms']:.3f} ms, p99 {found['p99_ms']:.3f} ms", flush=True)

    def peers(self):
        options = self.options
        names = [m for m in options.models if m != "generate"]
        command = [sys.executable, HERE / "peers.py", "--json", options.out / "peers.json", "--seconds", options.seconds]
        command += ["--limit", max(1, self.left() - 25), "--models", *names, "--dtypes", *options.dtypes]
        command += ["--generate"] if "generate" in options.models else []
        command += ["--batches", *options.batches] if options.batches else []
        for flag in ("uniformer", "vilbert"):
            if getattr(options, flag):
                command += [f"--{flag}", getattr(options, flag)]
        self.call([*command, *self.more], "peers", show=True)

    # ---- tables ----

    def environment(self):
        """Device, driver and Tenon's version."""
        query = self.call(["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"], "nvidia-smi")
        version = self.call([self.options.tenon, "--version"], "tenon --version")
        now = datetime.datetime.now(datetime.timezone.utc)
        print(f"GPU, driver, highest clock, power limit: {(query or 'unknown').strip()}".replace("\n", "; "))
        print(f"{(version or 'tenon, version unknown').strip()}; {now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors.", flush=True)

    def best(self, name, batch, dtype):
        """PyTorch's fastest row, or None."""
        rows = [r for r in self.file("peers.json").get("rows", []) if (r["model"], r.get("batch"), r.get("dtype")) == (name, batch, dtype)]
        return min((r for r in rows if "median_ms" in r), key=lambda r: r["median_ms"], default=None)

    def tables(self):
        ceilings = self.file("ceilings.json")
        print("\n" + ", ".join(f"{k} {v}" for k, v in self.file("peers.json").items() if k != "rows") + "\n")
        print("| model | batch | type | best PyTorch ms (how) | Tenon median / p99 ms | PyTorch / Tenon | floor ms | floor / Tenon | error |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for name in self.options.models:
            for dtype in self.options.dtypes:
                for batch in self.batches(name):
                    mine, peer = self.rows.get((name, batch, dtype), {}), self.best(name, batch, dtype)
                    if name != "generate":
                        title = ROWS[name].title
                        floor = floor_ms(ROWS[name], batch, dtype, ceilings) if ceilings else None
                    else:
                        title, floor = f"TrOCR-small, generation of {GENERATE['tokens']} tokens", None
                    ms = mine.get("median_ms")
                    cells = [
                        f"{peer['median_ms']:.3f} ({peer['mode']}, {peer['variant']})" if peer else "-",
                        f"{ms:.3f} / {mine['p99_ms']:.3f}" if ms else "-",
                        f"{peer['median_ms'] / ms:.2f}" if peer and ms else "-",
                        f"{floor:.3f}" if floor else "-",
                        f"{100 * floor / ms:.0f} %" if floor and ms else "-",
                        f"{mine['error']:.1e}" if "error" in mine else "-",
                    ]
                    print(f"| {title} | {batch} | {dtype} | " + " | ".join(cells) + " |")
        if self.builds:
            print("\n| plan | timings | build s |\n| --- | --- | --- |")
            for b in self.builds:
                print(f"| {b['plan']} | {b['timings']} | {b['seconds']:.1f} |")
        print(f"\nTook {time.monotonic() - self.start:.0f} s.")

    def load(self):
        """Results of Tenon from an earlier run."""
        for row in self.file("tenon.json").get("rows", []):
            self.rows[(row["model"], row["batch"], row["dtype"])] = {k: v for k, v in row.items() if k not in ("model", "batch", "dtype")}
        self.builds = self.file("tenon.json").get("builds", []) if "build" in self.options.skip else []

    def save(self):
        rows = [dict(zip(("model", "batch", "dtype"), key), **row) for key, row in self.rows.items()]
        (self.options.out / "tenon.json").write_text(json.dumps({"rows": rows, "builds": self.builds}, indent=1) + "\n")


def main():
    options, more = arguments()
    run = Run(options, more)
    run.load()
    run.environment()
    if "ceilings" not in options.skip:
        run.ceilings()
    for dtype in options.dtypes:
        for name in options.models:
            if "build" not in options.skip:
                run.build(name, dtype)
            if "check" not in options.skip and name != "generate":
                run.check(name, dtype)
            if "bench" not in options.skip:
                run.bench(name, dtype)
            run.save()
    if "peers" not in options.skip:
        run.peers()
    run.tables()


if __name__ == "__main__":
    main()
