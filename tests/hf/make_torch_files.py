#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/hf/data: files of torch.save, good ones and ones that must be refused. Needs PyTorch; run from anywhere."""
import argparse
import collections
import io
import json
import os
import pathlib
import tarfile
import zipfile

import torch
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent / "data"


def counted(shape, dtype=torch.float32):
    """0, 1, 2, ... in order; bool: every third is true."""
    n = torch.arange(int(torch.tensor(shape).prod())).reshape(shape)
    return n % 3 == 0 if dtype == torch.bool else n.to(dtype)


def tensors():
    base = counted([4, 6])
    return collections.OrderedDict(
        f32=counted([2, 3]),
        f64=counted([2, 3], torch.float64),
        f16=counted([2, 3], torch.float16),
        bf16=counted([2, 3], torch.bfloat16),
        i64=counted([2, 3], torch.int64),
        i32=counted([2, 3], torch.int32),
        i16=counted([2, 3], torch.int16),
        i8=counted([2, 3], torch.int8),
        u8=counted([2, 3], torch.uint8),
        u16=counted([2, 3], torch.uint16),
        bool=counted([2, 3], torch.bool),
        scalar=torch.tensor(7.0),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(counted([2, 3])),
        whole=base,  # one storage with the next four
        transposed=base.t(),
        rows=base[1:3],
        strided=base[1::2, 2::3],
        expanded=base[0, :3].expand(2, 3),
    )


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/tenon-was-here",)


def main():
    HERE.mkdir(exist_ok=True)
    torch.save(tensors(), HERE / "tensors.pth")
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for p in layer.state_dict().values():
            p.copy_(counted(list(p.shape), p.dtype))
    state = layer.state_dict()
    options = argparse.Namespace(lr=1e-3, model="net", sizes=[1, 2], big=1 << 80, below=-5)
    for protocol in (2, 3, 4, 5):
        whole = {"epoch": 3, "model": state, "optimizer": {"state": {0: {"exp_avg": counted([2])}}, "lr": 0.5}, "args": options}
        torch.save(whole, HERE / f"model_{protocol}.pth", pickle_protocol=protocol)
    torch.save({"meta": {"time": "now"}, "state_dict": {f"module.{k}": v for k, v in state.items()}}, HERE / "state_dict.pth")
    torch.save({"model_ema": {"0": {"weight": state["0.weight"], "bias": state["0.bias"]}, "1.weight": state["1.weight"]}}, HERE / "nested.pth")
    torch.save({"epoch": 3, "lr": 0.5}, HERE / "no_tensors.pth")
    torch.save({"model": state, "hook": Evil()}, HERE / "evil.pth")
    torch.save({"model": state, "hook": Evil()}, HERE / "evil_4.pth", pickle_protocol=4)
    torch.save(state, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    good = HERE.parents[1] / "fixtures" / "hf_trocr_deit_tied_fp32" / "model.safetensors"
    weights = load_file(good)
    names = sorted(weights)
    half = len(names) // 2
    torch.save(collections.OrderedDict((n, weights[n]) for n in names[:half]), HERE / "pytorch_model-00001-of-00002.bin")
    torch.save(collections.OrderedDict((n, weights[n]) for n in names[half:]), HERE / "pytorch_model-00002-of-00002.bin")
    files = {n: f"pytorch_model-0000{1 if i < half else 2}-of-00002.bin" for i, n in enumerate(names)}
    (HERE / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}, indent=1) + "\n")
    with tarfile.open(HERE / "tar.pth", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    os.truncate(HERE / "tar.pth", 600)
    with zipfile.ZipFile(HERE / "other.zip", "w") as z:
        z.writestr("hello.txt", "no weights here")


if __name__ == "__main__":
    main()
