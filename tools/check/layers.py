#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes point only downwards, that files stay small, and that house rules which a script can see are kept."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder -> level. A file includes its own folder and lower levels only. The run side (up to "runtime" and "api/rt") never sees the rest.
LEVELS = {
    "base": 0, "kernel": 1, "backend/ref": 2, "backend/cpu": 2, "backend": 3, "plan": 4, "runtime": 5,
    "ir": 6, "onnx": 7, "hf": 7, "shape": 7, "interp": 8, "passes": 9, "precision": 10, "planner": 11, "api": 12,
}
# The documented exceptions: (folder, folder it may not normally see).
ALLOWED = {("hf", "plan")}
USERS = ("cli", "pipelines", "server", "python", "examples")  # public headers only (and each other: cli may use pipelines)
SOFT, HARD = 600, 1200
TABLES = {"src/kernel/ops.inc", "src/kernel/params.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def folder_of(path: str) -> str | None:
    """Longest known folder that `path` (relative to src/) lies in."""
    best = None
    for name in LEVELS:
        if path.startswith(name + "/") and (best is None or len(name) > len(best)):
            best = name
    return best


def check_includes(errors: list[str]) -> None:
    for file in sorted((ROOT / "src").rglob("*")):
        if file.suffix not in {".c", ".h", ".inc", ".cu", ".cuh"}:
            continue
        rel = str(file.relative_to(ROOT / "src"))
        own = folder_of(rel)
        if own is None:
            errors.append(f"src/{rel}: its folder has no level in tools/check/layers.py")
            continue
        for target in INCLUDE.findall(file.read_text()):
            if target.startswith("tenon/"):
                continue
            dest = folder_of(target)
            if dest is None:
                if not (file.parent / target).exists():
                    errors.append(f"src/{rel}: includes \"{target}\", which is in no known folder")
            elif dest != own and LEVELS[dest] >= LEVELS[own] and (own, dest) not in ALLOWED:
                errors.append(f"src/{rel}: level {LEVELS[own]} ({own}) must not include level {LEVELS[dest]} ({dest}): \"{target}\"")
    for user in USERS:
        for file in sorted((ROOT / user).rglob("*.[ch]")) if (ROOT / user).exists() else []:
            for target in INCLUDE.findall(file.read_text()):
                ok = target.startswith(("tenon/", "pipelines/", user + "/")) or (file.parent / target).exists()
                if not ok:
                    errors.append(f"{file.relative_to(ROOT)}: user code includes \"{target}\"; only tenon/*.h is public")


def check_files(errors: list[str]) -> None:
    longs = []
    for top in ("include", "src", "cli", "pipelines", "examples", "fuzz", "tests", "bench", "tools", "python"):
        for file in sorted((ROOT / top).rglob("*")) if (ROOT / top).exists() else []:
            if file.suffix not in {".c", ".h", ".inc", ".cu", ".cuh", ".py", ".sh"} or not file.is_file():
                continue
            rel = str(file.relative_to(ROOT))
            text = file.read_text()
            lines = text.count("\n")
            if lines > HARD and rel not in TABLES:
                errors.append(f"{rel}: {lines} lines; split it (limit {HARD})")
            elif lines > SOFT and rel not in TABLES:
                longs.append(f"{rel}: {lines}")
            if file.suffix in {".c", ".h", ".inc", ".cu"} and "SPDX-License-Identifier" not in text[:200]:
                errors.append(f"{rel}: no SPDX line")
            if file.suffix in {".c", ".h"} and re.search(r"[ \t]+$", text, re.M):
                errors.append(f"{rel}: trailing blanks")
            if top == "src" and re.search(r"\b(abort|exit)\s*\(", re.sub(r"/\*.*?\*/", "", text, flags=re.S)):
                errors.append(f"{rel}: libraries never abort or exit")
    if longs:
        print(f"{len(longs)} files over {SOFT} lines (allowed up to {HARD}): " + ", ".join(longs))


def main() -> int:
    errors: list[str] = []
    check_includes(errors)
    check_files(errors)
    for e in errors:
        print(e, file=sys.stderr)
    print(f"layers: {len(errors)} problems")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
