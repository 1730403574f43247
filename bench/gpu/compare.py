#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tenon beside PyTorch on one GPU, in one run: the tables of docs/performance.md and docs/accuracy.md with what they depend on.

    compare.py --uniformer DIR --vilbert DIR [--models NAME...] [--dtypes fp16 ...] [--out DIR] [--limit SECONDS]
    compare.py ... --dtypes fp32 tf32 fp16 bf16 --middle                      error and speed of every precision

The steps, each of which can be left out (--skip) or read from an earlier run's files in --out:
  ceilings   copy bandwidth and matrix rates, the base of the floors                (ceilings.json)
  build      weights from tools/gpu/models, `tenon build --tune` a model and type   (NAME.TYPE.plan)
  check      outputs of the plans against ONNX Runtime's in fp32 on the host, smallest and middle batch
  bench      `tenon bench --device-io`                                              (tenon.json)
  peers      bench/gpu/peers.py; arguments after -- go there                        (peers.json)
Nothing starts after --limit seconds, and no command of Tenon may take more than --command-limit; what did not run is shown as a dash. The tables
are printed and written to performance.md and accuracy.md in --out, anew after every model, so that nothing is lost when the program is ended.
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
COLUMNS = ("max abs", "mean abs", "median abs", "max rel", "mean rel", "median rel", "scale", "max abs / scale")
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
    parser.add_argument("--middle", action="store_true", help="only the smallest and the middle batch of each model")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp16"])
    parser.add_argument("--skip", nargs="*", choices=STEPS, default=[])
    parser.add_argument("--per-batch", action="store_true", help="a plan a batch size instead of one for the whole range")
    parser.add_argument("--no-tune", action="store_true", help="build without --tune")
    parser.add_argument("--rebuild", action="store_true", help="build each plan twice: the second time from a warm timing cache")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed seconds a row of Tenon and of PyTorch")
    parser.add_argument("--profile", action="store_true", help="also time every step: profile_NAME.TYPE.BATCH.txt in --out")
    parser.add_argument("--limit", type=float, default=570)
    parser.add_argument("--command-limit", type=float, default=40, help="seconds that a build, a run or a bench of Tenon may take")
    parser.add_argument("--device", default="cuda", help="what plans are built for; cpu tries this program without a GPU")
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
        self.errors = []  # one row an output: model, dtype, batch, output, numbers
        self.head = {}
        options.out.mkdir(parents=True, exist_ok=True)

    def left(self):
        return self.options.limit - (time.monotonic() - self.start)

    def call(self, command, what, show=False, limit=None):
        """Standard output of a command (empty where it is shown at once), or None: it failed, which is said, or no time was left."""
        if self.left() < 5:
            print(f"{what}: no time was left", file=sys.stderr)
            return None
        try:
            r = subprocess.run([str(c) for c in command], capture_output=not show, text=True, timeout=min(self.left(), limit or self.left()))
        except subprocess.TimeoutExpired as error:
            print(f"{what}: ended after {error.timeout:.0f} s", file=sys.stderr, flush=True)
            return None
        except OSError as error:
            print(f"{what}: {error}", file=sys.stderr)
            return None
        if r.returncode != 0:
            print(f"{what}: status {r.returncode}\n{(r.stdout or '')[-2000:]}{(r.stderr or '')[-2000:]}", file=sys.stderr, flush=True)
            return None
        return r.stdout or ""

    def tenon(self, arguments, what):
        """Output of a command of Tenon, which may take a limited time."""
        return self.call([self.options.tenon, *arguments], what, limit=self.options.command_limit)

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
        wanted = wanted[:2] if self.options.middle else wanted
        return [b for b in wanted if not self.options.batches or b in self.options.batches]

    def plans(self, name, dtype):
        """(plan, --shapes or nothing, batches it is for)."""
        stem, batches = self.options.out / f"{name}.{dtype}", self.batches(name)
        if name == "generate":
            return [(stem.with_name(stem.name + ".plan"), [], batches)]
        if self.options.per_batch:
            return [(stem.with_name(f"{stem.name}.{b}.plan"), ["--shapes", f"batch={b}"], [b]) for b in batches]
        low, high = min(batches, default=1), max(batches, default=1)
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
            command = ["build", model, "-o", plan, "-q", *shapes]
            command += ["--device", self.options.device, f"--{dtype}"] if self.options.device != "cpu" else []
            if not self.options.no_tune:
                command += ["--tune", "--timing-cache", plan.with_suffix(".timings")]
            for kind in ("cold", "warm") if self.options.rebuild else ("cold",):
                begin = time.monotonic()
                if self.tenon(command, f"build of {plan.name}") is not None:
                    self.builds.append({"plan": plan.name, "timings": kind, "seconds": time.monotonic() - begin})
                    print(f"built {plan.name}, {kind} timings: {self.builds[-1]['seconds']:.1f} s", flush=True)

    def reference(self, name, batch):
        """ONNX Runtime's outputs in fp32, made once; None where there are none."""
        folder = self.options.out / ROWS[name].export
        path = folder / f"reference.{batch}.npz"
        if not path.exists():
            command = [sys.executable, ROOT / "tools/gpu/reference.py", folder / "model.onnx", folder / f"inputs.{batch}.npz", path]
            if self.call(command, f"reference of {name}, batch {batch}", limit=120) is None:
                return None
        return path

    def check(self, name, dtype):
        """Errors of the plans' outputs against the reference."""
        import numpy as np

        sys.path.insert(0, str(ROOT / "tools"))
        from accuracy import errors

        folder, wanted = self.options.out / ROWS[name].export, ROWS[name].batches[:2]
        for plan, _, batches in self.plans(name, dtype):
            for batch in [b for b in batches if b in wanted]:
                expected, result = self.reference(name, batch), plan.with_suffix(f".{batch}.npz")
                command = ["run", plan, "-i", folder / f"inputs.{batch}.npz", "-o", result, "-q"]
                if expected is None or not plan.exists() or self.tenon(command, f"run of {plan.name}, batch {batch}") is None:
                    continue
                have, worst = np.load(result), 0.0
                for key, want in np.load(expected).items():
                    numbers = [float(x) for x in errors(have[key], want)]
                    worst = max(worst, numbers[-1])
                    row = dict(model=name, dtype=dtype, batch=batch, output=key, **dict(zip(COLUMNS, numbers)))
                    self.errors = [e for e in self.errors if any(e[k] != row[k] for k in ("model", "dtype", "batch", "output"))] + [row]
                self.rows.setdefault((name, batch, dtype), {})["error"] = worst
                result.unlink()
                print(f"{plan.name}, batch {batch}: largest error {worst:.1e} of the outputs' scale", flush=True)

    def bench(self, name, dtype):
        """Times the plans."""
        for plan, _, batches in self.plans(name, dtype):
            for batch in batches:
                if not plan.exists():
                    continue
                command = ["bench", plan, "--json", "-q", "-d", self.options.seconds, *(["--device-io"] if self.options.device != "cpu" else [])]
                if name == "generate":
                    command += ["--batch", batch, "--tokens", GENERATE["tokens"]]
                else:
                    command += ["-i", self.options.out / ROWS[name].export / f"inputs.{batch}.npz"]
                out = self.tenon(command, f"bench of {plan.name}, batch {batch}")
                if self.options.profile:
                    text = self.tenon([c for c in command if c != "--json"] + ["--profile"], f"profile of {plan.name}, batch {batch}")
                    (self.options.out / f"profile_{name}.{dtype}.{batch}.txt").write_text(text or "")
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
        command += ["--middle"] if options.middle else []
        for flag in ("uniformer", "vilbert"):
            if getattr(options, flag):
                command += [f"--{flag}", getattr(options, flag)]
        self.call([*command, *self.more], "peers", show=True)

    # ---- tables ----

    def environment(self):
        """GPU, driver, date and versions, which stand above every table."""
        query = self.call(["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"], "nvidia-smi")
        version = self.tenon(["--version"], "tenon --version")
        now = datetime.datetime.now(datetime.timezone.utc)
        self.head = {
            "GPU, driver, highest clock, power limit": (query or "unknown").strip().replace("\n", "; "),
            "Tenon": (version or "version unknown").strip().splitlines()[0],
            "date": f"{now:%Y-%m-%d %H:%M} UTC",
            "processors": os.cpu_count(),
        }
        print(self.words(self.head), flush=True)

    @staticmethod
    def words(values):
        return ", ".join(f"{k} {v}" for k, v in values.items())

    def best(self, name, batch, dtype):
        """PyTorch's fastest row, or None."""
        rows = [r for r in self.file("peers.json").get("rows", []) if (r["model"], r.get("batch"), r.get("dtype")) == (name, batch, dtype)]
        return min((r for r in rows if "median_ms" in r), key=lambda r: r["median_ms"], default=None)

    def performance(self):
        """Lines of the table of times, and of builds."""
        ceilings, peers = self.file("ceilings.json"), self.file("peers.json")
        lines = [self.words(self.head) + ".", "PyTorch: " + self.words({k: v for k, v in peers.items() if k != "rows"}) + "."]
        if ceilings:
            rates = self.words({k: f"{v:.0f} TFLOP/s" for k, v in ceilings["tflops"].items()})
            lines += [f"Ceilings: copy {ceilings['copy_gbs']:.0f} GB/s; 8192^3 products {rates}."]
        lines += [
            "",
            "| model | batch | type | best PyTorch ms (how) | Tenon median / p99 ms | p99 / median | PyTorch / Tenon | floor ms | floor / Tenon "
            "| error |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
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
                        f"{mine['p99_ms'] / ms:.2f}" + (" (over 1.1)" if mine["p99_ms"] > 1.1 * ms else "") if ms else "-",
                        f"{peer['median_ms'] / ms:.2f}" if peer and ms else "-",
                        f"{floor:.3f}" if floor else "-",
                        f"{100 * floor / ms:.0f} %" if floor and ms else "-",
                        f"{mine['error']:.1e}" if "error" in mine else "-",
                    ]
                    lines.append(f"| {title} | {batch} | {dtype} | " + " | ".join(cells) + " |")
        if self.builds:
            lines += ["", "| plan | timings | build s |", "| --- | --- | --- |"]
            lines += [f"| {b['plan']} | {b['timings']} | {b['seconds']:.1f} |" for b in self.builds]
        return lines

    def accuracy(self):
        """Lines of the table of errors."""
        lines = [self.words(self.head) + ".", "", "| model | type | batch | output | " + " | ".join(COLUMNS) + " |"]
        lines.append("| --- " * (4 + len(COLUMNS)) + "|")
        for name in ROWS:
            for e in sorted((e for e in self.errors if e["model"] == name), key=lambda e: (DTYPES.index(e["dtype"]), e["batch"])):
                numbers = " | ".join(f"{e[c]:.1e}" for c in COLUMNS)
                lines.append(f"| {ROWS[name].title} | {e['dtype']} | {e['batch']} | {e['output']} | {numbers} |")
        return lines

    def write(self):
        """Keeps all results and tables."""
        rows = [dict(zip(("model", "batch", "dtype"), key), **row) for key, row in self.rows.items()]
        kept = {"head": self.head, "rows": rows, "builds": self.builds, "errors": self.errors}
        (self.options.out / "tenon.json").write_text(json.dumps(kept, indent=1) + "\n")
        (self.options.out / "performance.md").write_text("\n".join(self.performance()) + "\n")
        if self.errors:
            (self.options.out / "accuracy.md").write_text("\n".join(self.accuracy()) + "\n")

    def load(self):
        """Results of Tenon from an earlier run."""
        known = self.file("tenon.json")
        for row in known.get("rows", []):
            self.rows[(row["model"], row["batch"], row["dtype"])] = {k: v for k, v in row.items() if k not in ("model", "batch", "dtype")}
        self.errors = known.get("errors", [])
        self.builds = known.get("builds", []) if "build" in self.options.skip else []


def main():
    options, more = arguments()
    run = Run(options, more)
    run.load()
    run.environment()
    if "ceilings" not in options.skip:
        run.ceilings()
    for dtype in options.dtypes:
        for name in options.models:
            for step in ("build", "check", "bench"):
                if step in options.skip or (step == "check" and name == "generate"):
                    continue
                try:
                    getattr(run, step)(name, dtype)
                except Exception as error:  # one failing step leaves its cells empty
                    print(f"{step} of {name}, {dtype}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            run.write()
    if "peers" not in options.skip:
        run.peers()
        run.write()
    for table in [run.accuracy()] * bool(run.errors) + [run.performance()]:
        print("\n" + "\n".join(table))
    print(f"\nTook {time.monotonic() - run.start:.0f} s.")


if __name__ == "__main__":
    main()
