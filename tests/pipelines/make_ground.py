#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/pipelines/data/ground: the same regions of 8 pictures as an LMDB of arrays (multi.mdb) and of base64 text (beta.mdb), written by the lmdb package with
the calls of the authors' convert_to_lmdb.py and convert_h5_refcoco.py."""
import pathlib
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
import grounding as G

for name, form in (("multi", lambda p: p), ("beta", G.base64_form)):
    with tempfile.TemporaryDirectory() as d:
        G.save_lmdb(d, G.pictures(8, seed=21), form)
        shutil.copy(f"{d}/data.mdb", ROOT / "tests" / "pipelines" / "data" / "ground" / f"{name}.mdb")
