# SPDX-License-Identifier: Apache-2.0
"""Parts of a VisionEncoderDecoderModel with a TrOCR-like decoder as modules that torch can export: encoder, decoder without and with cache, both in one."""
from __future__ import annotations

import torch
from transformers import DynamicCache, EncoderDecoderCache


def restore_positions(model):
    """transformers 5 builds models without memory and forgets the table of sinusoids, which no checkpoint holds: computes it again."""
    for module in model.modules():
        table = getattr(module, "weights", None)
        if torch.is_tensor(table) and table.is_meta and hasattr(module, "get_embedding"):
            module.weights = module.get_embedding(table.shape[0], module.embedding_dim, module.padding_idx)
    return model


class Encoder(torch.nn.Module):
    """pixel_values -> last_hidden_state, and pooler_output as the usual exports have it."""

    def __init__(self, model):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, pixel_values):
        result = self.encoder(pixel_values=pixel_values)
        return result.last_hidden_state, result.pooler_output


class Decoder(torch.nn.Module):
    """The whole prefix without a cache: the step graph of trocr-chinese's greedy loop."""

    def __init__(self, model):
        super().__init__()
        self.decoder = model.decoder
        self.project = getattr(model, "enc_to_dec_proj", None)

    def forward(self, input_ids, encoder_hidden_states, attention_mask=None):
        if self.project is not None:
            encoder_hidden_states = self.project(encoder_hidden_states)
        return self.decoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=encoder_hidden_states,
            use_cache=False,
        ).logits


class DecoderWithPast(torch.nn.Module):
    """One step with a cache: per layer the keys and values of the self attention and of the cross attention."""

    variadic = 1  # arguments before *past

    def __init__(self, model):
        super().__init__()
        self.decoder = model.decoder
        self.layers = model.config.decoder.decoder_layers
        self.width = model.config.decoder.cross_attention_hidden_size or model.config.decoder.d_model

    def forward(self, input_ids, *past):
        # filled through update() and not through the constructor, which would copy what it is given
        own, cross = DynamicCache(), DynamicCache()
        for layer in range(self.layers):
            own.update(past[4 * layer], past[4 * layer + 1], layer)
            cross.update(past[4 * layer + 2], past[4 * layer + 3], layer)
        cache = EncoderDecoderCache(own, cross)
        for layer in range(self.layers):
            cache.is_updated[layer] = True
        # the cross attention takes its keys from the cache; the argument only switches it on
        unused = torch.zeros(input_ids.shape[0], 1, self.width)
        logits = self.decoder(
            input_ids=input_ids, encoder_hidden_states=unused, past_key_values=cache, use_cache=True
        ).logits
        present = []
        for layer in range(self.layers):
            present += [cache.self_attention_cache.layers[layer].keys, cache.self_attention_cache.layers[layer].values]
        return (logits, *present)


class DecoderFirst(torch.nn.Module):
    """The first step: logits, and the cache that DecoderWithPast continues."""

    def __init__(self, model):
        super().__init__()
        self.decoder = model.decoder
        self.layers = model.config.decoder.decoder_layers

    def forward(self, input_ids, encoder_hidden_states):
        result = self.decoder(input_ids=input_ids, encoder_hidden_states=encoder_hidden_states, use_cache=True)
        cache = result.past_key_values
        present = []
        for layer in range(self.layers):
            own, cross = cache.self_attention_cache.layers[layer], cache.cross_attention_cache.layers[layer]
            present += [own.keys, own.values, cross.keys, cross.values]
        return (result.logits, *present)


class Combined(torch.nn.Module):
    """Encoder and one decoder step in one graph."""

    def __init__(self, model):
        super().__init__()
        self.encoder = model.encoder
        self.decode = Decoder(model)

    def forward(self, pixel_values, decoder_input_ids):
        hidden = self.encoder(pixel_values=pixel_values).last_hidden_state
        return self.decode(decoder_input_ids, hidden)


def past_names(layers, prefix, cross=True):
    """Names of the cache tensors in the order that DecoderWithPast takes them."""
    kinds = ("decoder", "encoder") if cross else ("decoder",)
    return [f"{prefix}.{layer}.{kind}.{part}" for layer in range(layers) for kind in kinds for part in ("key", "value")]


def decoder_axes(mask=False, tokens=False):
    """Batch and prefix length dynamic; the number of encoder tokens where asked."""
    table = {
        "input_ids": {0: "batch", 1: "sequence"},
        "encoder_hidden_states": {0: "batch"},
        "logits": {0: "batch", 1: "sequence"},
    }
    if tokens:
        table["encoder_hidden_states"][1] = "encoder_sequence"
    if mask:
        table["attention_mask"] = {0: "batch", 1: "sequence"}
    return table


def past_axes(layers):
    """Batch, past length and encoder tokens dynamic."""
    table = {"input_ids": {0: "batch"}, "logits": {0: "batch"}}
    for name in past_names(layers, "past_key_values"):
        table[name] = {0: "batch", 2: "encoder_sequence" if ".encoder." in name else "past_sequence"}
    for name in past_names(layers, "present", cross=False):
        table[name] = {0: "batch", 2: "total_sequence"}
    return table
