# SPDX-License-Identifier: Apache-2.0
"""Every exported model at every recorded size, through one plan, against PyTorch's outputs."""
import numpy as np
import pytest

from conftest import FIXTURES

CASES = sorted(p.parent for p in FIXTURES.glob("*/model.onnx"))


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
def test_outputs_agree_with_pytorch(tenon, tmp_path, case):
    plan = tmp_path / "m.plan"
    tenon.ok("build", case / "model.onnx", "-o", plan, "-q", "--threads", 2)
    for inputs in sorted(case.glob("inputs.*.npz")):
        k = inputs.name.split(".")[1]
        out = tmp_path / f"y{k}.npz"
        tenon.ok("run", plan, "--inputs", inputs, "--outputs", out, "-q", "--threads", 2)
        got, want = np.load(out), np.load(case / f"outputs.{k}.npz")
        assert set(want.files) <= set(got.files)
        for name in want.files:
            assert got[name].shape == want[name].shape and got[name].dtype == want[name].dtype, (name, k)
            scale = np.abs(want[name]).max(initial=0)
            err = np.abs(got[name].astype(np.float64) - want[name]).max(initial=0)
            assert err <= 1e-4 * scale, f"{name} of inputs.{k}: {err:.3g} of scale {scale:.3g}"


@pytest.mark.parametrize("case", CASES[::4], ids=lambda p: p.name)
@pytest.mark.parametrize("cpu", ["scalar", "avx2"])
def test_smaller_cpus_agree_too(tenon, tmp_path, case, cpu):
    inputs = sorted(case.glob("inputs.*.npz"))[0]
    r = tenon.run("compare", case / "model.onnx", "--inputs", inputs, "--expected", case / "outputs.0.npz", "--cpu", cpu, "-q")
    assert r.returncode == 0, r.stdout.decode() + r.stderr.decode()


@pytest.mark.parametrize("case", CASES[::8], ids=lambda p: p.name)
def test_every_step_agrees_with_the_reference_interpreter(tenon, case):
    inputs = sorted(case.glob("inputs.*.npz"))[0]
    r = tenon.run("compare", case / "model.onnx", "--inputs", inputs, "--layers", "-q")
    assert r.returncode == 0, r.stdout.decode() + r.stderr.decode()
