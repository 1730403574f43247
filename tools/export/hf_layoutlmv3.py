#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small LayoutLMv3 checkpoints in Hugging Face's layout, with golden values from transformers: one a head.

tests/fixtures/hf_layoutlmv3_<head>/ holds config.json, model.safetensors and golden.npz: the four inputs of two runs (input_ids.0, ...) and every output
(logits.0, ...), computed in fp32 from the weights as stored. hf_layoutlmv3_buckets/golden.npz has PyTorch's buckets of the distances -1000..1000.
--full DIR writes LayoutLMv3-base and -large with random weights instead (0.5 and 1.4 GB), and the ONNX file of base, to compare at real size.
"""

import json
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


def document(folder):
    """A checkpoint with tokenizer and processor, a form in FUNSD's layout that fills several windows, and what transformers makes of both."""
    from PIL import Image
    from transformers import LayoutLMv3ImageProcessorPil

    import bpe

    source = pathlib.Path(__file__).resolve().parents[2] / "tests" / "pipelines" / "data" / "bpe"
    tokenizer = bpe.reference(source)
    rng = np.random.default_rng(5)
    names = ["O", "B-HEADER", "I-HEADER", "B-QUESTION", "I-QUESTION", "B-ANSWER", "I-ANSWER"]
    config = layoutlmv3.config(vocab_size=tokenizer.get_vocab_size(), id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})
    torch.manual_seed(9)
    model = build("tokens", 91, config)
    with torch.no_grad():
        model.classifier.weight.mul_(4)
    width, height = 130, 97
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    form = []
    for i in range(24):
        x, y = int(rng.integers(0, 60)), int(rng.integers(0, 80))
        words = []
        for k in range(int(rng.integers(1, 6))):
            box = [x + 10 * k, y + k % 2, min(x + 10 * k + 9, width), min(y + 12, height)]
            words.append({"text": str(rng.choice(bpe.WORDS + bpe.MORE + ["", " ", "Total:", "$1,204.50"])), "box": box})
        label = str(rng.choice(["header", "question", "answer", "other"]))
        form.append({"id": i, "text": " ".join(w["text"] for w in words), "box": words[0]["box"], "label": label, "words": words, "linking": []})
    folder.mkdir(exist_ok=True)
    ids, boxes, first = [], [], []
    for item in form:
        words = [w for w in item["words"] if w["text"].strip()]
        scaled = [[int(1000 * v / (height if k % 2 else width)) for k, v in enumerate(w["box"])] for w in words]
        for word in words:
            tokens = tokenizer.encode([word["text"]], is_pretokenized=True, add_special_tokens=False).ids
            box = [min(b[0] for b in scaled), min(b[1] for b in scaled), max(b[2] for b in scaled), max(b[3] for b in scaled)]
            first += [True] + [False] * (len(tokens) - 1)
            ids += tokens
            boxes += [box] * len(tokens)
    processor = LayoutLMv3ImageProcessorPil(apply_ocr=False, size={"height": 24, "width": 24})
    pixels = np.asarray(processor(picture, return_tensors="np")["pixel_values"], dtype=np.float32)
    rows = {"input_ids": [], "attention_mask": [], "bbox": []}
    for at in range(0, len(ids), 62):
        part = ids[at : at + 62]
        pad = 62 - len(part)
        rows["input_ids"].append([0, *part, 2] + [1] * pad)
        rows["attention_mask"].append([1] * (len(part) + 2) + [0] * pad)
        rows["bbox"].append([[0] * 4] + boxes[at : at + 62] + [[0] * 4] * (pad + 1))
    run = {k: np.array(v, dtype=np.int64) for k, v in rows.items()}
    run["pixel_values"] = np.repeat(pixels, len(run["input_ids"]), 0)
    logits = outputs(model, run)["logits"]
    probabilities = torch.softmax(torch.from_numpy(logits), -1).numpy()[:, 1:63].reshape(-1, 7)[: len(ids)][np.array(first)]
    top = np.sort(probabilities, -1)
    assert (top[:, -1] - top[:, -2]).min() > 1e-4 and len(np.unique(probabilities.argmax(-1))) >= 5
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text((source / "tokenizer.json").read_text())
    processor.save_pretrained(folder)
    picture.save(folder / "page.png")
    (folder / "page.json").write_text(json.dumps({"form": form}, ensure_ascii=False, indent=1) + "\n")
    np.savez(
        folder / "golden.npz", input_ids=run["input_ids"], attention_mask=run["attention_mask"], bbox=run["bbox"], pixel_values=pixels,
        labels=probabilities.argmax(-1).astype(np.int64), scores=probabilities.max(-1).astype(np.float32),
    )
    for file in folder.iterdir():
        file.chmod(0o644)
    print(folder.name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", len(ids), "tokens", logits.shape, np.bincount(probabilities.argmax(-1)))


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
    document(options.out / "hf_layoutlmv3_doc")


if __name__ == "__main__":
    main()
