#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""End-to-end speed of the four tasks, from files to answers: Tenon's Python classes against the PyTorch pipeline that a user writes.

    compare.py [--package DIR] [--device cpu|cuda] [--dtype fp32|fp16|bf16] [--tasks doc,ocr,...] [--batches 1,8] [--work DIR] [--prepare]

doc: LayoutLMv3-base, a page of up to 512 tokens; ocr: TrOCR-small, greedy, 20 tokens a line; classify: UniFormer-S, JPEGs of 500 x 375; detect: the shipped Mask
R-CNN; ground: ViLBERT with 100 regions read from .npz. Weights are random (detect: trained), inputs come from the samples in models/ (made.py). Both sides read
the same files, use the same number of threads, and take turns: a row has the median of each. The split is preparation (reading files included) / model /
results. "same" is the share of answers on which the two agree; with random weights and fp16 labels lie close together, so it is a check that both do the
same work, not of accuracy.

Every task is a process of its own (torch, checkpoint and modules are made ready side by side), and measures only when it is its turn. --prepare makes
checkpoints and plans and stops: a later call with the same --work measures at once. DIR of --package holds the package `tenon` (default: build/python).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TASKS = dict(doc="documents", ocr="lines", classify="images", detect="images (detection)", ground="phrases")
LONG_S = 4.0  # a batch that takes longer is not warmed up whole


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--package", type=pathlib.Path, default=ROOT / "build" / "python", help="folder that holds the package tenon")
    p.add_argument("--device", default="cpu")
    p.add_argument("--dtype", default=None, choices=("fp32", "fp16", "bf16"), help="default: fp32 on the CPU, fp16 on a GPU")
    p.add_argument("--tasks", default=",".join(TASKS))
    p.add_argument("--batches", default=None, help="default: 1,8 on the CPU, 1,8,64 on a GPU")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--tokens", type=int, default=20, help="that a line generates")
    p.add_argument("--seconds", type=float, default=6.0, help="of measuring a task and batch")
    p.add_argument("--min-rounds", type=int, default=2)
    p.add_argument("--limit", type=float, default=600.0, help="seconds for everything; what is not done by then is left out")
    p.add_argument("--tune", action="store_true", help="time kernels when building")
    p.add_argument("--compile", action="store_true", help="torch.compile")
    p.add_argument("--only", choices=("tenon", "torch"))
    p.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/tenon_pipelines"))
    p.add_argument("--prepare", action="store_true", help="make checkpoints and plans only")
    p.add_argument("--json", type=pathlib.Path, help="rows as JSON")
    p.add_argument("--task", help=argparse.SUPPRESS)
    a = p.parse_args()
    cuda = a.device.startswith("cuda")
    a.dtype = a.dtype or ("fp16" if cuda else "fp32")
    a.sizes = sorted({int(b) for b in (a.batches or ("1,8,64" if cuda else "1,8")).split(",")})
    return a


# ---- one task --------------------------------------------------------------------------------------------------------


def plan_of(task, folder, options):
    """The task's plan, built where it is not there yet."""
    import tenon

    kind = "-".join([options.device.replace(":", ""), options.dtype, "_".join(map(str, options.sizes)), "tuned" if options.tune else "ranked"])
    path = options.work / f"{task}-{kind}.plan"
    if path.exists():
        try:
            tenon.InferenceSession(str(path))
            return path, 0.0
        except tenon.errors.IncompatiblePlanError:  # of another build of the library
            path.unlink()
    build = dict(device=options.device if options.device != "cpu" else None, precision=None if options.dtype == "fp32" else options.dtype, tune=options.tune,
                 threads=options.threads)
    if task != "detect":
        most = max(options.sizes)
        opt = 1 if options.device == "cpu" else min(8, most)  # on the CPU a batch changes no choice of kernels
        shapes = dict(batch=(1, opt, most))
        shapes.update(dict(ocr=dict(rows=(1, opt, most)), doc=dict(sequence=(8, 512, 512)), ground=dict(tokens=(3, 12, 20), regions=(101, 101, 101))).get(task, {}))
        build.update(shapes=shapes)
        if len(options.sizes) > 1 and task != "ocr" and options.device != "cpu":
            build.update(buckets=dict(batch=options.sizes))
    start = time.perf_counter()
    tenon.build(str(folder), str(path), **{k: v for k, v in build.items() if v is not None})
    return path, time.perf_counter() - start


def same(task, a, b):
    """Share of answers that agree."""
    if task == "doc":
        pairs = [(x, y) for p, q in zip(a, b) for x, y in zip(p, q)]
    elif task == "ocr":
        pairs = [(x, y) for p, q in zip(a, b) for x, y in zip(p, q)]
    elif task == "classify":
        pairs = [(p[0], q[0]) for p, q in zip(a, b)]
    elif task == "detect":
        pairs = [(len(p[0]), len(q[0])) for p, q in zip(a, b)] + [(sorted(p[0]), sorted(q[0])) for p, q in zip(a, b)]
    else:
        pairs = list(zip(a, b))
    return sum(x == y for x, y in pairs) / max(1, len(pairs))


def measure(sides, batch, items, options):
    """{name: (medians of total and split, runs)} of sides that take turns, and their answers."""
    group, answers, took, spent = items[:batch], {}, {}, {name: [] for name in sides}
    for name, side in sides.items():
        start = time.perf_counter()
        side(items[:1])
        one = time.perf_counter() - start
        for _ in range(2 if one * batch < LONG_S else 0):
            side(group)
    begin = time.perf_counter()
    while len(next(iter(spent.values()))) < options.min_rounds or (time.perf_counter() - begin < options.seconds and len(next(iter(spent.values()))) < 300):
        for name, side in sides.items():
            start = time.perf_counter()
            answers[name] = side(group)
            spent[name].append(((time.perf_counter() - start) * 1e3, *side.times))
    for name, rows in spent.items():
        took[name] = dict(zip(("total", "prepare", "run", "results"), (statistics.median(c) for c in zip(*rows))), runs=len(rows))
    return took, answers


def faster_layout(side, items):
    """The memory format in which a PyTorch side with convolutions is faster."""
    import torch

    best = None
    for layout in (torch.contiguous_format, torch.channels_last):
        side.use(layout)
        side(items)
        times = []
        for _ in range(3):
            side(items)
            times.append(side.times[1])
        if best is None or min(times) < best[0]:
            best = (min(times), layout)
    side.use(best[1])
    return str(best[1]).replace("torch.", "")


def task_process(options):
    """Makes everything ready, waits for the turn, measures, and writes the rows."""
    sys.path[:0] = [str(options.package), str(HERE)]
    task, out = options.task, options.work / f"{options.task}.rows.json"
    import made

    result = dict(task=task, rows=[])

    def write():
        out.write_text(json.dumps(result))

    try:
        folder = made.checkpoint(task, options.work / "checkpoints" / task)
        given = made.items(task, options.work / "inputs" / task, max(options.sizes))
        sides, theirs_side = {}, None
        if options.only != "tenon" and not options.prepare:
            import theirs
            theirs_side = theirs.SIDES[task](folder, options)
        (options.work / f"{task}.ready").touch()
        sys.stdin.readline()
        if options.only != "torch":
            import ours
            plan, result["build_s"] = plan_of(task, folder, options)
        if options.prepare:
            return write()
        if theirs_side is not None:
            sides["torch"] = theirs_side
            if task in ("classify", "detect") and not options.compile:
                result["layout"] = faster_layout(theirs_side, given[:min(8, max(options.sizes))] if options.device != "cpu" else given[:1])
        for batch in options.sizes:
            if options.only != "torch":
                sides["tenon"] = ours.SIDES[task](str(plan), batch, options)
            took, answers = measure(sides, batch, given, options)
            result["rows"].append(dict(batch=batch, **took, same=same(task, answers["tenon"], answers["torch"]) if len(answers) == 2 else None))
            write()
    except Exception as e:  # one task's failure is one row
        result["error"] = f"{type(e).__name__}: {e}"
        traceback.print_exc()
    write()


# ---- all tasks -------------------------------------------------------------------------------------------------------


def table(results, options):
    """Rows of docs/performance.md."""
    split = lambda t: f"{t['prepare']:.1f} / {t['run']:.1f} / {t['results']:.1f}"  # noqa: E731
    lines = ["| task | batch | PyTorch a second | its split ms | Tenon a second | its split ms | Tenon / PyTorch | same |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for result in results:
        for row in result["rows"]:
            rate = {k: row["batch"] / row[k]["total"] * 1e3 for k in ("torch", "tenon") if k in row}
            cells = [c for k in ("torch", "tenon") for c in ((f"{rate[k]:.2f}", split(row[k])) if k in rate else ("-", "-"))]
            ratio = f"{rate['tenon'] / rate['torch']:.2f}" if len(rate) == 2 else "-"
            agree = "-" if row["same"] is None else f"{100 * row['same']:.1f} %"
            lines.append("| " + " | ".join([TASKS[result["task"]], str(row["batch"]), *cells, ratio, agree]) + " |")
        if "error" in result:
            lines.append(f"| {TASKS[result['task']]} | - | {result['error'][:300]} |")
    return "\n".join(lines)


def main():
    options = parse()
    if options.task:
        return task_process(options)
    start, children = time.perf_counter(), {}
    left = lambda: options.limit - (time.perf_counter() - start)  # noqa: E731
    options.work.mkdir(parents=True, exist_ok=True)
    tasks = [t for t in options.tasks.split(",") if t in TASKS]
    for task in tasks:
        for name in (f"{task}.ready", f"{task}.rows.json"):
            (options.work / name).unlink(missing_ok=True)
        children[task] = subprocess.Popen([sys.executable, str(HERE / "compare.py"), *sys.argv[1:], "--task", task], stdin=subprocess.PIPE, stdout=sys.stderr)
    results = []
    while any(c.poll() is None and not (options.work / f"{t}.ready").exists() for t, c in children.items()) and left() > 0:
        time.sleep(0.05)  # nobody measures while others get ready
    for i, (task, child) in enumerate(children.items()):
        share = left() / (len(children) - i)
        try:
            child.communicate(b"\n", timeout=max(0.1, min(left(), 1.5 * share)))  # so that a slow task leaves time for the others
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        file = options.work / f"{task}.rows.json"
        result = json.loads(file.read_text()) if file.exists() else dict(task=task, rows=[])
        if not result["rows"] and "error" not in result and not options.prepare:
            result["error"] = f"no time was left, or the process ended with status {child.returncode}"
        results.append(result)
        print(f"{task}: {time.perf_counter() - start:.1f} s, build {result.get('build_s', 0):.1f} s, PyTorch's layout {result.get('layout', '-')}"
              f"{', ' + result['error'] if 'error' in result else ''}", file=sys.stderr, flush=True)
    if not options.prepare:
        print(f"{options.device} {options.dtype}, {options.threads} threads{', tuned' if options.tune else ''}{', torch.compile' if options.compile else ''}; "
              "split: preparation / model / results, ms a batch\n")
        print(table(results, options))
    if options.json:
        options.json.write_text(json.dumps(dict(device=options.device, dtype=options.dtype, threads=options.threads, results=results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
