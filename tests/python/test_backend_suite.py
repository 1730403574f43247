# SPDX-License-Identifier: Apache-2.0
"""The backend tests of the onnx package (node, simple, operator and light model cases) through tenon.onnx_backend, on the path that users take
(import, rewrites, planner, plan, runtime) and on the reference interpreter.

backend_suite_exclusions.txt lists the cases that are expected to fail, each with its reason; one that passes fails here."""
import os
import pathlib
import re
import tempfile
import warnings

import pytest

onnx = pytest.importorskip("onnx")
backend = pytest.importorskip("tenon.onnx_backend")

warnings.filterwarnings("ignore", module="onnx")
os.environ.setdefault("ONNX_MODELS", tempfile.mkdtemp(prefix="tenon-onnx-models-"))  # data of the light models is written there
import onnx.backend.test  # noqa: E402

LIST = pathlib.Path(__file__).with_name("backend_suite_exclusions.txt")
#: Groups that do not count: what Tenon does not aim at.
OUTSIDE = ("strings", "training", "ai.onnx.ml")
MOST = 0.98  # share of the others that passes


def exclusions():
    """(path or "", pattern, group, reason) of every line "[path:]PATTERN  # group: reason"."""
    rows = []
    for line in LIST.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, reason = line.partition("#")
            group, _, why = reason.strip().partition(": ")
            path, _, name = pattern.strip().rpartition(":")
            assert why, f"a reason is missing: {line}"
            rows.append((path, re.compile(rf"^{name}_cpu$"), group, why))
    return rows


class Plan(backend.TenonBackend):
    """The path that users take."""

    @classmethod
    def is_compatible(cls, model, device="CPU", **kw):
        return True  # nothing is skipped in silence

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


class Reference(Plan):
    """The reference interpreter."""

    @classmethod
    def prepare(cls, model, device="CPU", **kw):
        return super().prepare(model, device, reference=True, **kw)


def runner(kind, path):
    tests = onnx.backend.test.BackendTest(kind, __name__)
    for where, pattern, _, _ in exclusions():
        if where in ("", path):
            tests.xfail(pattern.pattern)
    return tests


RUNNERS = {"plan": runner(Plan, "plan"), "reference": runner(Reference, "reference")}
for _path, _runner in RUNNERS.items():
    for _name, _case in _runner.test_cases.items():
        for _test in [n for n in dir(_case) if n.endswith("_cuda")]:
            delattr(_case, _test)  # the same cases again, for a device that needs a GPU
        _case.__name__ = _case.__qualname__ = f"{_path.capitalize()}{_name}"
        globals()[_case.__name__] = _case


def names(path):
    return [n for items in RUNNERS[path]._test_items.values() for n in items if n.endswith("_cpu")]


@pytest.mark.parametrize("path", ["plan", "reference"])
def test_share(path):
    """At least MOST of the cases that count pass, and no line of the list is without a case."""
    all_names, outside, excluded = names(path), set(), set()
    for where, pattern, group, _ in exclusions():
        hit = {n for n in all_names if pattern.match(n)}
        assert hit, f"no case is named {pattern.pattern}"
        if where in ("", path):
            (outside if group in OUTSIDE else excluded).update(hit)
    counted = len(all_names) - len(outside)
    print(f"{path}: {len(all_names)} cases, {len(outside)} outside, {counted - len(excluded)} of {counted} pass")
    assert counted - len(excluded) >= MOST * counted
