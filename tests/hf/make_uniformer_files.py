#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/hf/data/uniformer*: narrow networks of the official code, as its checkpoints are saved.

The weights are those of the fixtures of the same names (tools/export/uniformer.py), so that both ways into Tenon are held against the same outputs.
usage: make_uniformer_files.py CHECKOUT_OF_SENSE-X/UNIFORMER
"""
import collections
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "python" / "tenon"), str(HERE.parents[1] / "tools" / "export")]

import common  # noqa: E402
import uniformer  # noqa: E402


def save(name, state):
    torch.save({"model": state}, HERE / "data" / f"{name}.pth")


def main():
    official = pathlib.Path(sys.argv[1])
    plain = uniformer.classification(official, 31, img_size=64)
    save("uniformer", plain.state_dict())
    stem = uniformer.classification(official, 32, layer_scale=True, conv_stem=True)
    save("uniformer_convstem_ls", stem.state_dict())
    run = uniformer.picture(3, 2, 32, 32)
    np.savez(HERE / "data" / "uniformer_convstem_ls.npz", input=run["input"], logits=stem.eval()(torch.as_tensor(run["input"])).detach().numpy())
    save("uniformer_labelling", uniformer.labelling(official, 33, layer_scale=True).state_dict())
    pictures = [uniformer.picture(8, 2, 64, 64), uniformer.picture(9, 1, 64, 64)]
    save("uniformer_light", uniformer.light(official, 34, pictures).state_dict())
    save("uniformer_light_ls", uniformer.light(official, 34, pictures, layer_scale=True).state_dict())
    broken = collections.OrderedDict(plain.state_dict())
    for name in ("blocks3.1.attn.qkv.bias", "blocks1.0.norm1.running_var", "head.bias"):
        del broken[name]
    broken["blocks4.0.norm2.weight"] = torch.zeros(15)
    broken["blocks2.0.gamma_9"] = torch.zeros(8)
    save("uniformer_broken", broken)


if __name__ == "__main__":
    main()
