#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small LayoutLMv3 checkpoints in Hugging Face's layout, with golden values from transformers: one a head.

tests/fixtures/hf_layoutlmv3_<head>/ holds config.json, model.safetensors and golden.npz: the four inputs of two runs (input_ids.0, ...) and every output
(logits.0, ...), computed in fp32 from the weights as stored. hf_layoutlmv3_buckets/golden.npz has PyTorch's buckets of the distances -1000..1000.
--full DIR writes LayoutLMv3-base and -large with random weights instead (0.5 and 1.4 GB), and the ONNX file of base, to compare at real size.
"""

import pathlib
import shutil

import numpy as np
import torch
import transformers
from transformers import LayoutLMv3Config

import common
import layoutlmv3

# head: class, labels, type of the weights, other settings
HEADS = {
    "tokens": ("LayoutLMv3ForTokenClassification", 7, torch.float32, {}),
    "cord": ("LayoutLMv3ForTokenClassification", 13, torch.bfloat16, {}),
    "sequence": ("LayoutLMv3ForSequenceClassification", 16, torch.float16, {}),
    "question": ("LayoutLMv3ForQuestionAnswering", 2, torch.float32, {"rel_pos_bins": 16, "max_rel_pos": 40}),
    "model": ("LayoutLMv3Model", 2, torch.float32, {"has_spatial_attention_bias": False, "type_vocab_size": 2}),
}
OUTPUTS = ("logits", "start_logits", "end_logits", "last_hidden_state")
BUCKETS = ((32, 128), (64, 256), (16, 40), (48, 1000))


def build(head, seed, config=None):
    name, labels, dtype, changes = HEADS[head]
    config = config or layoutlmv3.config(num_labels=labels, **changes)
    torch.manual_seed(seed)
    model = getattr(transformers, name)(config)
    common.randomise(model, seed)
    small = ("*patch_embed.proj.*", "*cls_token", "*pos_embed", "*_embeddings.weight")
    common.scale(model, {"*rel_pos*_bias.weight": 6, **{k: 0.02 for k in small}})
    return model.to(dtype).float().eval()


def outputs(model, run):
    with torch.no_grad():
        result = model(**{k: torch.from_numpy(v) for k, v in run.items()})
    return {k: result[k].numpy() for k in OUTPUTS if k in result}


def write(folder, model, dtype, runs):
    if folder.exists():
        shutil.rmtree(folder)
    arrays = {}
    for i, run in enumerate(runs):
        arrays.update({f"{k}.{i}": v for k, v in {**run, **outputs(model, run)}.items()})
    model.to(dtype).save_pretrained(folder)
    np.savez(folder / "golden.npz", **arrays)
    for file in folder.iterdir():
        file.chmod(0o644)
    print(folder.name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", flush=True)


def buckets(folder):
    encoder = transformers.models.layoutlmv3.modeling_layoutlmv3.LayoutLMv3Encoder(layoutlmv3.config())
    distance = torch.arange(-1000, 1001)
    rows = [encoder.relative_position_bucket(distance, num_buckets=b, max_distance=m).numpy() for b, m in BUCKETS]
    folder.mkdir(exist_ok=True)
    np.savez(folder / "golden.npz", settings=np.array(BUCKETS, dtype=np.int64), buckets=np.stack(rows).astype(np.int64))


def real(folder):
    sizes = {
        "base": dict(type_vocab_size=1, max_position_embeddings=514),
        "large": dict(
            type_vocab_size=1, max_position_embeddings=514, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            coordinate_size=171, shape_size=170,
        ),
    }
    for name, settings in sizes.items():
        config = LayoutLMv3Config(num_labels=7, attn_implementation="eager", **settings)
        model = build("tokens", 21, config)
        runs = [layoutlmv3.run(1, 1, 512, vocab=50265, side=224), layoutlmv3.run(2, 2, 200, vocab=50265, side=224)]
        write(folder / name, model, torch.float32, runs[: 1 if name == "large" else 2])
        if name == "base":
            names = {k: {0: "batch", 1: "sequence"} for k in layoutlmv3.INPUTS if k != "pixel_values"}
            torch.onnx.export(
                layoutlmv3.TextTokens(model), tuple(torch.from_numpy(runs[0][k]) for k in layoutlmv3.INPUTS), folder / "base.onnx", opset_version=17,
                input_names=list(layoutlmv3.INPUTS), output_names=["logits"], dynamic_axes={**names, "pixel_values": {0: "batch"}}, dynamo=False,
            )


def main():
    options = common.arguments(__doc__, more=lambda p: p.add_argument("--full", type=pathlib.Path, help="folder of real-size models"))
    if options.full:
        options.full.mkdir(parents=True, exist_ok=True)
        return real(options.full)
    runs = [layoutlmv3.run(31, 2, 26), layoutlmv3.run(32, 1, 43)]
    for seed, (head, (_, _, dtype, _)) in enumerate(HEADS.items()):
        if options.only in f"hf_layoutlmv3_{head}":
            write(options.out / f"hf_layoutlmv3_{head}", build(head, 71 + seed), dtype, runs)
    buckets(options.out / "hf_layoutlmv3_buckets")


if __name__ == "__main__":
    main()
