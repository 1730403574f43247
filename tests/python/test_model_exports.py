# SPDX-License-Identifier: Apache-2.0
"""The smallest models of docs/models.md, exported here and now; needs PyTorch, transformers and ONNX Runtime, which tests/requirements.txt leaves out."""
import pathlib
import sys

import pytest

pytest.importorskip("torch", reason="exporting needs PyTorch")
pytest.importorskip("transformers", reason="the models come from transformers")
pytest.importorskip("onnxruntime", reason="results are compared with ONNX Runtime")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "models"))
import check  # noqa: E402
import models  # noqa: E402


@pytest.mark.parametrize("name", ["minilm", "t5_encoder"])
def test_small_model_is_fused_and_agrees(tenon, tmp_path, name):
    models.write(name, "torchscript", tmp_path)
    row = check.check(tmp_path / f"{name}.torchscript", pathlib.Path(tenon.program), timing=False)
    assert check.good(row), row
    assert row["found"] == {k: row["present"][k] for k in row["found"]}
