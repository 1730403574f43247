# SPDX-License-Identifier: Apache-2.0
"""Inputs of the full-size exports for any batch: every row is different, and is what a real preprocessing could produce.

make(NAME, BATCH, SEED) returns {input name: array}; NAME is a folder of tools/export/full_size.py. Needs NumPy only.
"""
import numpy as np


def pixels(generator, batch, side, mean, std):
    """Normalised random 8-bit pictures, B x 3 x side x side."""
    levels = generator.integers(0, 256, size=(batch, 3, side, side), dtype=np.uint8).astype(np.float32)
    levels /= np.float32(255)
    levels -= np.float32(mean)
    levels /= np.float32(std)
    return levels


def lengths(batch, longest, shortest):
    """Used lengths of the rows: the first row is full, the others are spread over shortest..longest."""
    spread = longest - shortest + 1
    return longest - (np.arange(batch) * 37) % spread


def layoutlmv3(generator, batch, tokens=512, vocabulary=50265):
    """Text tokens with boxes that words of a segment share, padded after 3/4 of the length or later, and a page."""
    used = lengths(batch, tokens - 1, tokens * 3 // 4)[:, None]
    at = np.arange(tokens)[None, :]
    text = (at > 0) & (at < used - 1)
    ids = np.where(text, generator.integers(3, vocabulary, size=(batch, tokens)), np.where(at == 0, 0, np.where(at == used - 1, 2, 1)))
    left, top = generator.integers(0, 900, size=(2, batch, tokens))
    right = np.minimum(left + generator.integers(1, 400, size=left.shape), 1000)
    bottom = np.minimum(top + generator.integers(1, 60, size=top.shape), 1000)
    boxes = np.stack([left, top, right, bottom], axis=-1)[:, at[0] // 3 * 3] * text[..., None]
    return {
        "input_ids": ids.astype(np.int64),
        "bbox": boxes.astype(np.int64),
        "pixel_values": pixels(generator, batch, 224, 0.5, 0.5),
        "attention_mask": (at < used).astype(np.int64),
    }


def trocr(generator, batch):
    """Pictures of lines and the token that starts a text."""
    return {"pixel_values": pixels(generator, batch, 384, 0.5, 0.5), "decoder_input_ids": np.zeros((batch, 1), dtype=np.int64)}


def uniformer(generator, batch):
    """Pictures."""
    return {"input": pixels(generator, batch, 224, 0.45, 0.225)}


def vilbert(generator, batch, tokens=20, regions=100, vocabulary=30522, width=2048):
    """Phrases and region lists, padded; region 0 is the mean of the others and covers the picture."""
    words = lengths(batch, tokens, tokens // 3)[:, None]
    count = lengths(batch, regions, regions // 2)[:, None]
    question = np.where(np.arange(tokens) < words, generator.integers(1, vocabulary, size=(batch, tokens)), 0)
    live = np.arange(regions) < count
    features = generator.standard_normal((batch, regions, width), dtype=np.float32)
    np.maximum(features, 0, out=features)
    features *= live[..., None]
    features[:, 0] = features[:, 1:].sum(1) / (count - 1)
    corner = generator.random((batch, regions, 2)) * 0.7
    far = corner + generator.random(corner.shape) * 0.3
    places = np.concatenate([corner, far, np.prod(far - corner, axis=-1, keepdims=True)], axis=-1) * live[..., None]
    places[:, 0] = (0, 0, 1, 1, 1)
    return {
        "question": question.astype(np.int64),
        "features": features,
        "spatials": places.astype(np.float32),
        "segment_ids": np.broadcast_to(np.arange(tokens) >= tokens // 2, (batch, tokens)).astype(np.int64),
        "input_mask": (np.arange(tokens) < words).astype(np.int64),
        "image_mask": live.astype(np.int64),
    }


RULES = {"layoutlmv3_base": layoutlmv3, "trocr_small": trocr, "uniformer_s": uniformer, "vilbert": vilbert}


def make(name, batch, seed=1):
    """Inputs of the export `name`; KeyError where no rule fits."""
    for prefix, rule in RULES.items():
        if name.startswith(prefix):
            return rule(np.random.default_rng([seed, batch]), batch)
    raise KeyError(f"no inputs are known for {name}; known: {', '.join(RULES)}")
