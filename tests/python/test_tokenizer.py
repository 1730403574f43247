# SPDX-License-Identifier: Apache-2.0
"""The tokenizer against Hugging Face's on 100,000 texts of every Unicode class; skipped where transformers is not installed."""
import os
import pathlib
import struct
import subprocess
import sys

import pytest

from conftest import ROOT, SHARED

sys.path.insert(0, str(ROOT / "tools" / "export"))


def program():
    build = pathlib.Path(os.environ.get("TENON", str(ROOT / "build" / "tenon"))).parent
    path = build / "tests" / "bpe_ids"
    if not path.exists():
        pytest.skip("bpe_ids is not built")
    return path


def compare(folder, count, seed):
    pytest.importorskip("transformers")
    import bpe

    texts = bpe.strings(count, seed)
    want = [e.ids for e in bpe.reference(folder).encode_batch(texts, add_special_tokens=False)]
    data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    out = subprocess.run([program(), folder], input=data, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    for text, ids in zip(texts, want):
        (n,) = struct.unpack_from("<i", out, at)
        got = list(struct.unpack_from(f"<{n}i", out, at + 4))
        at += 4 + 4 * n
        assert got == ids, repr(text)
    assert at == len(out)


def test_small_vocabulary():
    compare(ROOT / "tests" / "pipelines" / "data" / "bpe", 100_000, 7)


def test_roberta(tmp_path):
    source = SHARED / "tokenizers" / "roberta-base"
    if not source.exists():
        pytest.skip("RoBERTa's vocabulary is not beside the repository")
    (tmp_path / "vocab.json").write_bytes((source / "vocab.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((source / "vocab.bpe").read_bytes())
    compare(tmp_path, 100_000, 8)
