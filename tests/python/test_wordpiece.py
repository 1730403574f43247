# SPDX-License-Identifier: Apache-2.0
"""WordPiece against Hugging Face's BertTokenizer on 100,000 texts of every Unicode class; skipped where transformers is not installed."""
import json
import os
import pathlib
import struct
import subprocess
import sys

import pytest

from conftest import ROOT, SHARED

sys.path.insert(0, str(ROOT / "tools" / "export"))
SMALL = ROOT / "tests" / "pipelines" / "data" / "wordpiece" / "vocab.txt"
BERT = SHARED / "tokenizers" / "bert-base-uncased" / "vocab.txt"


def encode(vocab, texts):
    build = pathlib.Path(os.environ.get("TENON", str(ROOT / "build" / "tenon"))).parent
    path = build / "tests" / "wordpiece_ids"
    if not path.exists():
        pytest.skip("wordpiece_ids is not built")
    data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    out, at = subprocess.run([path, vocab], input=data, stdout=subprocess.PIPE, check=True).stdout, 0
    for _ in texts:
        (n,) = struct.unpack_from("<i", out, at)
        yield list(struct.unpack_from(f"<{n}i", out, at + 4))
        at += 4 + 4 * n
    assert at == len(out)


@pytest.mark.parametrize("vocab, lower, seed", [(SMALL, True, 7), (SMALL, False, 8), (BERT, True, 9), (BERT, False, 10)])
def test_ids_are_those_of_hugging_face(vocab, lower, seed, tmp_path):
    pytest.importorskip("transformers")
    if not vocab.exists():
        pytest.skip("BERT's vocabulary is not beside the repository")
    import wordpiece

    (tmp_path / "vocab.txt").write_bytes(vocab.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    texts = wordpiece.strings(100_000, seed)
    want = wordpiece.ids(wordpiece.reference(vocab, lower), texts)
    for text, expected, got in zip(texts, want, encode(tmp_path, texts)):
        assert got == expected, ascii(text)


def test_refer_phrases():
    pytest.importorskip("transformers")
    if not BERT.exists():
        pytest.skip("BERT's vocabulary is not beside the repository")
    import wordpiece

    texts = [p["sent"] for f in sorted((SHARED / "refer").glob("*.json")) for p in json.loads(f.read_text())["predictions"]]
    assert len(texts) == 3808 and list(encode(BERT, texts)) == wordpiece.ids(wordpiece.reference(BERT, True), texts)
