# SPDX-License-Identifier: Apache-2.0
"""python -m tenon.export: checkpoints to plans in one command, where PyTorch and transformers are; the words it says where a model does not fit."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tenon as tn
from conftest import FIXTURES

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def export(*args, status=0):
    r = subprocess.run([sys.executable, "-m", "tenon.export", *map(str, args)], capture_output=True, text=True, env=ENV, timeout=600)
    assert r.returncode == status, r.stdout + r.stderr
    return r.stdout + r.stderr


def test_without_torch_it_says_what_is_missing(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    env = {**ENV, "PYTHONPATH": os.pathsep.join([str(tmp_path), ENV["PYTHONPATH"]])}
    r = subprocess.run([sys.executable, "-m", "tenon.export", str(tmp_path), "--output", str(tmp_path / "o")], capture_output=True, text=True, env=env, timeout=60)
    assert r.returncode == 2 and "PyTorch" in r.stderr and not (tmp_path / "o").exists()
    assert "--exporter" in export("--help")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    config = transformers.BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, max_position_embeddings=48)
    transformers.BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_text_model(bert, tmp_path, exporter):
    assert "ok" in export(bert, "--output", tmp_path, "--exporter", exporter)
    report = json.loads((tmp_path / "report.json").read_text())
    (part,) = report["parts"]
    assert part["ok"] and part["exporter"] == exporter and len(part["runs"]) == 2
    assert part["inputs"]["input_ids"] == ["tensor(int64)", ["batch", "sequence"]] and set(part["inputs"]) == {"input_ids", "attention_mask", "token_type_ids"}
    session = tn.InferenceSession(tmp_path / "model.plan")
    assert session.run(None, dict(np.load(tmp_path / "model.npz")))[0].shape == (1, 2)
    assert tn.compare(tmp_path / "model.onnx", dict(np.load(tmp_path / "model.npz")))


def test_a_text_recogniser(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    export(FIXTURES / "hf_trocr_deit_tied_fp32", "--output", tmp_path, "--parts", "encoder,decoder_with_past", "--exporter", "torchscript")
    assert {p.name for p in tmp_path.glob("*.plan")} == {"encoder.plan", "decoder_with_past.plan"}
    assert "there is no part 'tail'" in export(FIXTURES / "hf_trocr_deit_tied_fp32", "--output", tmp_path, "--parts", "tail", status=2)


def test_what_cannot_be_exported(tmp_path):
    pytest.importorskip("torch")
    assert "neither" in export(tmp_path, "--output", tmp_path / "o", status=2)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["NoSuchModel"]}')
    pytest.importorskip("transformers")
    assert "NoSuchModel" in export(tmp_path, "--output", tmp_path / "o", status=2)
