#!/usr/bin/env python3
"""Exports of a small LayoutLMv3 token classifier, every optional part switched on."""

import numpy as np
import torch
from transformers import LayoutLMv3Config, LayoutLMv3ForTokenClassification

import common

INPUTS = ("input_ids", "bbox", "pixel_values", "attention_mask")
PAD = 1


def config(num_labels=7, attention=None, **changes):
    """A narrow configuration whose picture grid (3 x 3) does not divide 1000, like the real one's 14 x 14."""
    values = dict(
        vocab_size=100,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=2,
        max_2d_position_embeddings=1024,
        coordinate_size=2,
        shape_size=2,
        input_size=24,
        patch_size=8,
        rel_pos_bins=32,
        max_rel_pos=128,
        rel_2d_pos_bins=64,
        max_rel_2d_pos=256,
        num_labels=num_labels,
        attn_implementation="eager",
    )
    values.update(changes)
    return LayoutLMv3Config(**values)


class AllTokens(torch.nn.Module):
    """The official head: logits of text and picture positions; transformers' own class cuts the pictures off."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, bbox, pixel_values, attention_mask):
        hidden = self.model.layoutlmv3(
            input_ids=input_ids, bbox=bbox, attention_mask=attention_mask, pixel_values=pixel_values
        ).last_hidden_state
        return self.model.classifier(hidden)


class TextTokens(torch.nn.Module):
    """transformers' head: logits of the text positions."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, bbox, pixel_values, attention_mask):
        return self.model(
            input_ids=input_ids, bbox=bbox, attention_mask=attention_mask, pixel_values=pixel_values
        ).logits


def one_hot_bias(model):
    """Compute the relative biases as the authors' code does, by one-hot vectors times a bias-free Linear layer."""
    encoder = model.layoutlmv3.encoder

    def rows(linear, buckets, bins):
        one_hot = torch.nn.functional.one_hot(buckets, num_classes=bins).type_as(linear.weight)
        return linear(one_hot).permute(0, 3, 1, 2).contiguous()

    def distances(positions):
        return positions.unsqueeze(-2) - positions.unsqueeze(-1)

    def text_bias(position_ids):
        buckets = encoder.relative_position_bucket(
            distances(position_ids), num_buckets=encoder.rel_pos_bins, max_distance=encoder.max_rel_pos
        )
        return rows(encoder.rel_pos_bias, buckets, encoder.rel_pos_bins)

    def box_bias(bbox):
        total = 0
        for column, linear in ((0, encoder.rel_pos_x_bias), (3, encoder.rel_pos_y_bias)):
            buckets = encoder.relative_position_bucket(
                distances(bbox[:, :, column]), num_buckets=encoder.rel_2d_pos_bins, max_distance=encoder.max_rel_2d_pos
            )
            total = total + rows(linear, buckets, encoder.rel_2d_pos_bins)
        return total

    encoder._cal_1d_pos_emb = text_bias
    encoder._cal_2d_pos_emb = box_bias
    return model


def build(seed=11, head=AllTokens, one_hot=False, **changes):
    """A classifier with seeded weights."""
    torch.manual_seed(seed)
    model = LayoutLMv3ForTokenClassification(config(**changes))
    common.randomise(model, seed)
    common.scale(
        model,
        {
            "*.rel_pos*_bias.weight": 6,
            "*.patch_embed.proj.*": 0.02,
            "*.cls_token": 0.02,
            "*.pos_embed": 0.02,
            "*_embeddings.weight": 0.02,
        },
    )
    if one_hot:
        one_hot_bias(model)
    return head(model).eval()


def run(seed, batch, length, vocab=100, side=24):
    """Inputs with boxes that reach every bucket, equal boxes of a segment, and padding of different lengths."""
    generator = common.rng(seed)
    ids = generator.integers(3, vocab, size=(batch, length))
    left = generator.integers(0, 900, size=(batch, length))
    top = generator.integers(0, 900, size=(batch, length))
    boxes = np.stack(
        [
            left,
            top,
            np.minimum(left + generator.integers(1, 400, size=left.shape), 1000),
            np.minimum(top + generator.integers(1, 60, size=top.shape), 1000),
        ],
        axis=-1,
    )
    for b in range(batch):
        for start in range(1, length - 3, 7):
            boxes[b, start : start + 3] = boxes[b, start]  # words of one segment share its box
    # differences of exactly 16, 32, 64, 128, 256: a logarithm that is low by one ulp lands in another bucket
    for i, distance in enumerate((0, 16, 32, 64, 128, 256, 1000)):
        if i + 1 < length:
            boxes[:, i + 1] = [distance, max(distance - 7, 0), distance, distance]
    mask = np.ones((batch, length), dtype=np.int64)
    for b in range(batch):
        used = length - b * max(1, length // 4) - 1
        ids[b, used:] = PAD
        mask[b, used:] = 0
        boxes[b, used:] = 0
        ids[b, used - 1] = 2
        boxes[b, used - 1] = 0
    ids[:, 0] = 0
    boxes[:, 0] = 0
    return {
        "input_ids": ids.astype(np.int64),
        "bbox": boxes.astype(np.int64),
        "pixel_values": common.pixels(generator, batch, 3, side, side),
        "attention_mask": mask,
    }


def axes(*inputs, sequence=True, outputs=("logits",)):
    """Dynamic batch, and the sequence where asked."""
    table = {name: {0: "batch"} for name in (*INPUTS, *outputs)}
    if sequence:
        for name in ("input_ids", "bbox", "attention_mask"):
            table[name][1] = "sequence"
        for name in outputs:
            table[name][1] = "tokens"
    return table


def main():
    options = common.arguments(__doc__)
    cases = common.Cases(options.out, options.only)
    runs = [run(1, 2, 26), run(2, 3, 15), run(3, 1, 43)]
    batches = [run(4, 2, 26), run(5, 1, 26), run(6, 3, 26)]
    model = build()
    plain = "709-token arrangement in small: text + picture tokens, both relative biases, logits of all tokens"
    for exporter, opset in ((common.TORCHSCRIPT, 11), (common.DYNAMO, 18)):
        cases.add("layoutlmv3", exporter, opset, model, runs[:1], ["logits"], about=plain)
    for exporter, opset in (
        (common.TORCHSCRIPT, 11),
        (common.TORCHSCRIPT, 13),
        (common.TORCHSCRIPT, 17),
        (common.DYNAMO, 18),
        (common.DYNAMO, 25),
    ):
        cases.add("layoutlmv3", exporter, opset, model, runs, ["logits"], axes(), about=plain, off_spec=True)
    cases.add(
        "layoutlmv3",
        common.TORCHSCRIPT,
        17,
        model,
        batches,
        ["logits"],
        axes(sequence=False),
        variant="batch",
        about=plain + "; only the batch is dynamic",
    )
    for exporter, opset in ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18)):
        cases.add(
            "layoutlmv3",
            exporter,
            opset,
            build(12, one_hot=True),
            runs,
            ["logits"],
            axes(),
            variant="onehot",
            about="biases by OneHot + MatMul, as the authors' code computes them",
        )
    cases.add(
        "layoutlmv3",
        common.TORCHSCRIPT,
        17,
        build(13, head=TextTokens, num_labels=13),
        runs,
        ["logits"],
        axes(),
        variant="cord",
        about="13 labels: dense + tanh + out_proj head, logits of the text tokens only",
    )


if __name__ == "__main__":
    main()
