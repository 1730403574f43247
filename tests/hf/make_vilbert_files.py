#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/hf/data/vilbert*: narrow networks of the official code as its checkpoints are saved, their configurations, and PyTorch's outputs.

vilbert, vilbert_task and vilbert_beta have the weights of the ONNX fixtures of those names (tools/export/vilbert.py). vilbert_odd has
another order of layers, widths of its own everywhere, the other fusion and other activations; it is saved as old checkpoints are: gamma and
beta in layer norms, every name behind "module.". NAME.npz holds the inputs and outputs of two runs ("input_ids.0", "vision_logit.0") and of
the first run the modules' outputs by the names of the values in Tenon's graph ("bert.encoder.layer.0.output.LayerNorm.0").
usage: make_vilbert_files.py CHECKOUT_OF_VILBERT-MULTI-TASK CHECKOUT_OF_VILBERT_BETA [--full FOLDER]
"""
import collections
import json
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "python" / "tenon"), str(HERE.parents[1] / "tools" / "export")]

import vilbert  # noqa: E402

INPUTS = ("input_ids", "features", "spatials", "segment_ids", "input_mask", "image_mask")
# fields of the official JSON files; the rest are defaults or set by scripts
FIELDS = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act max_position_embeddings type_vocab_size "
    "v_feature_size v_target_size v_hidden_size v_num_hidden_layers v_num_attention_heads v_intermediate_size v_hidden_act bi_hidden_size "
    "bi_num_attention_heads v_biattention_id t_biattention_id fusion_method"
).split()
ODD = dict(
    num_hidden_layers=4,
    v_num_hidden_layers=3,
    v_biattention_id=[1, 1, 2],
    t_biattention_id=[0, 2, 2],
    bi_hidden_size=32,
    bi_num_attention_heads=4,
    fusion_method="sum",
    hidden_act="relu",
    v_hidden_act="swish",
    type_vocab_size=1,
    model="roberta",
)


def old_name(name):
    """As BERT's first port to PyTorch named the parameters of layer norms."""
    stem, _, last = name.rpartition(".")
    if "LayerNorm" in stem:
        last = {"weight": "gamma", "bias": "beta"}[last]
    return f"module.{stem}.{last}"


def watch(model, found):
    """Hooks that put the modules' outputs into `found`."""

    def keep(*names):
        def hook(_module, _inputs, output):
            for name, value in zip(names, output if isinstance(output, tuple) else (output,)):
                found[name] = value.detach().numpy()

        return hook

    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in ("BertEmbeddings", "RobertaEmbeddings", "BertImageEmbeddings"):
            module.register_forward_hook(keep(f"{name}.LayerNorm"))
        elif kind in ("BertLayer", "BertImageLayer"):
            module.register_forward_hook(keep(f"{name}.output.LayerNorm"))
        elif kind == "BertConnectionLayer":
            module.register_forward_hook(keep(f"{name}.v_output.LayerNorm", f"{name}.t_output.LayerNorm"))
        elif kind in ("BertTextPooler", "BertImagePooler"):
            module.register_forward_hook(keep(f"{name}.activation"))


def golden(model, runs, heads):
    """The arrays of NAME.npz."""
    found, arrays = {}, {}
    watch(model, found)
    model.eval()
    for i, run in enumerate(runs):
        tensors = {name: torch.as_tensor(array) for name, array in run.items()}
        values = list(tensors.values())
        extra = {"task_ids": tensors["task_ids"]} if "task_ids" in tensors else {}
        with torch.no_grad():
            out = model(*values[:6], **extra)
        arrays.update({f"{name}.{i}": array for name, array in zip((*INPUTS, "task_ids"), run.values())})
        arrays.update({f"{name}.{i}": value.numpy() for name, value in zip(heads, out)})
        if i == 0:
            arrays.update({f"{name}.0": value for name, value in found.items()})
    return arrays


def save(folder, name, model, runs, heads, rename=str, scripts=("task_specific_tokens",)):
    state = collections.OrderedDict((rename(key), value) for key, value in model.state_dict().items())
    torch.save(state, folder / f"{name}.bin")
    settings = vars(model.bert.config)
    fields = {field: settings[field] for field in FIELDS}
    fields.update({field: settings[field] for field in scripts if settings.get(field)})
    fields.update({"model": "roberta"} if settings.get("model") == "roberta" else {})
    (folder / f"{name}.json").write_text(json.dumps(fields, indent=2) + "\n")
    np.savez_compressed(folder / f"{name}.npz", **golden(model, runs, heads))


def main():
    multi, beta, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), HERE / "data"
    torch.set_num_threads(2)
    if "--full" in sys.argv:
        folder = pathlib.Path(sys.argv[sys.argv.index("--full") + 1])
        import full_size

        def run(seed, batch, tokens, regions):
            return vilbert.run(seed, batch, tokens, regions, vocab=30522, features=2048)

        save(folder, "vilbert_full", full_size.build_vilbert(multi), [run(3, 2, 20, 101), run(4, 4, 13, 37)], vilbert.HEADS)
        return
    save(folder, "vilbert", vilbert.build(multi), [vilbert.run(7, 4, 8, 6), vilbert.run(8, 2, 9, 9)], vilbert.HEADS)
    tasks = [vilbert.run(9, 2, 20, 11, task=True), vilbert.run(10, 4, 9, 5, task=True)]
    save(folder, "vilbert_task", vilbert.build(multi, 42, task_specific_tokens=True, fast_mode=False), tasks, vilbert.HEADS, scripts=())
    save(folder, "vilbert_beta", vilbert.build(beta, 43), [vilbert.run(1, 3, 8, 6), vilbert.run(2, 2, 8, 9)], vilbert.BETA_HEADS)
    odd = [vilbert.run(11, 2, 7, 9), vilbert.run(12, 6, 12, 4)]
    for run in odd:
        run["segment_ids"][:] = 0
    save(folder, "vilbert_odd", vilbert.build(multi, 44, **ODD), odd, vilbert.HEADS, rename=old_name)


if __name__ == "__main__":
    main()
