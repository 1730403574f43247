#!/usr/bin/env python3
"""Exports of a small TrOCR (VisionEncoderDecoderModel): encoder, decoder without and with cache, combined step."""

import numpy as np
import torch
from transformers import (
    DeiTConfig,
    TrOCRConfig,
    ViTConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)

import common
from export.encoder_decoder import (
    Combined,
    Decoder,
    DecoderFirst,
    DecoderWithPast,
    Encoder,
    decoder_axes,
    past_axes,
    past_names,
)

START, PAD, END = 0, 1, 2


def encoder_config(kind="deit", **changes):
    """DeiT (two special tokens, q/k/v bias) or ViT (one, no bias) on 16 x 24 pictures cut into 6 patches of 8 x 8."""
    values = dict(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        image_size=[16, 24],
        patch_size=8,
        layer_norm_eps=1e-12,
        qkv_bias=kind == "deit",
    )
    values.update(changes)
    return (DeiTConfig if kind == "deit" else ViTConfig)(**values)


def decoder_config(**changes):
    """A two-layer decoder 16 wide with learned positions, embedding norm and scaled embedding."""
    values = dict(
        vocab_size=90,
        d_model=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        activation_function="relu",
        max_position_embeddings=40,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        use_learned_position_embeddings=True,
        layernorm_embedding=True,
        cross_attention_hidden_size=24,
        tie_word_embeddings=False,
        bos_token_id=START,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=START,
    )
    values.update(changes)
    return TrOCRConfig(**values)


def build(seed, encoder, decoder, attention="eager", small=0.02):
    """A VisionEncoderDecoderModel with seeded weights; `small` scales the embeddings."""
    torch.manual_seed(seed)
    settings = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    settings.tie_word_embeddings = decoder.tie_word_embeddings
    settings.decoder_start_token_id, settings.pad_token_id, settings.eos_token_id = START, PAD, END
    encoder._attn_implementation = attention
    settings.encoder._attn_implementation = attention
    settings.decoder._attn_implementation = "eager"
    model = VisionEncoderDecoderModel(config=settings)
    common.randomise(model, seed)
    common.scale(
        model, {"encoder.embeddings.*": small, "*.embed_tokens.weight": small, "*.embed_positions.weight": small}
    )
    model.tie_weights()
    return model


def encoder_run(seed, batch, height=16, width=24):
    """A batch of pictures."""
    return {"pixel_values": common.pixels(common.rng(seed), batch, 3, height, width)}


def decoder_run(seed, batch, length, tokens=8, width=24, vocab=90, mask=False):
    """A prefix and encoder states; with `mask`, rows of different lengths, padded at the end."""
    generator = common.rng(seed)
    ids = generator.integers(3, vocab, size=(batch, length))
    ids[:, 0] = START
    run = {
        "input_ids": ids.astype(np.int64),
        "encoder_hidden_states": generator.standard_normal((batch, tokens, width)).astype(np.float32),
    }
    if mask:
        run["attention_mask"] = np.ones((batch, length), dtype=np.int64)
        for b in range(1, batch):
            run["attention_mask"][b, length - b :] = 0
            run["input_ids"][b, length - b :] = PAD
    return run


def past_run(seed, batch, past, tokens=8, layers=2, heads=2, size=8, vocab=90):
    """One token and a cache of `past` steps."""
    generator = common.rng(seed)
    run = {"input_ids": generator.integers(3, vocab, size=(batch, 1)).astype(np.int64)}
    for name in past_names(layers, "past_key_values"):
        length = tokens if ".encoder." in name else past
        run[name] = generator.standard_normal((batch, heads, length, size)).astype(np.float32)
    return run


def main():
    options = common.arguments(__doc__)
    cases = common.Cases(options.out, options.only)
    small = build(21, encoder_config(), decoder_config())
    # the other flavour: ViT without q/k/v bias, fused attention, sinusoids, no embedding norm, gelu, projected states
    other = build(
        22,
        encoder_config("vit", layer_norm_eps=1e-6),
        decoder_config(
            activation_function="gelu",
            use_learned_position_embeddings=False,
            layernorm_embedding=False,
            scale_embedding=False,
            cross_attention_hidden_size=None,
            tie_word_embeddings=True,
        ),
        attention="sdpa",
    )
    pictures = [encoder_run(1, 2), encoder_run(2, 1), encoder_run(3, 3)]
    picture_axes = {"pixel_values": {0: "batch"}, "last_hidden_state": {0: "batch"}, "pooler_output": {0: "batch"}}
    hidden = ["last_hidden_state", "pooler_output"]
    for exporter, opset in ((common.TORCHSCRIPT, 11),):
        cases.add(
            "trocr_encoder", exporter, opset, Encoder(small), pictures[:1], hidden, about="DeiT encoder, eps 1e-12"
        )
    for exporter, opset in ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18)):
        cases.add(
            "trocr_encoder",
            exporter,
            opset,
            Encoder(small),
            pictures,
            hidden,
            picture_axes,
            about="DeiT encoder, eps 1e-12",
        )
    for exporter, opset in ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18), (common.DYNAMO, 24)):
        cases.add(
            "trocr_encoder",
            exporter,
            opset,
            Encoder(other),
            pictures,
            hidden,
            picture_axes,
            variant="vit_sdpa",
            about="ViT encoder without q/k/v bias, torch's fused attention, eps 1e-6",
        )
    steps = [decoder_run(4, 2, 5), decoder_run(5, 3, 1), decoder_run(6, 1, 12)]
    for exporter, opset in ((common.TORCHSCRIPT, 11), (common.TORCHSCRIPT, 17), (common.DYNAMO, 18)):
        cases.add(
            "trocr_decoder",
            exporter,
            opset,
            Decoder(small),
            steps,
            ["logits"],
            decoder_axes(),
            about="whole prefix, no cache: relu, learned positions, embedding norm and scale, untied",
        )
    cases.add(
        "trocr_decoder", common.TORCHSCRIPT, 17, Decoder(small), steps[:1], ["logits"], about="whole prefix, no cache"
    )
    masked = [decoder_run(7, 3, 6, mask=True), decoder_run(8, 2, 9, mask=True)]
    for exporter, opset in ((common.TORCHSCRIPT, 11), (common.DYNAMO, 18)):
        cases.add(
            "trocr_decoder",
            exporter,
            opset,
            Decoder(small),
            masked,
            ["logits"],
            decoder_axes(True),
            variant="mask",
            about="whole prefix with attention_mask: trocr-chinese's decoder graph",
        )
    varied = [decoder_run(9, 2, 5), decoder_run(10, 3, 2, tokens=9), decoder_run(11, 1, 12, tokens=13)]
    for exporter, opset in ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18)):
        cases.add(
            "trocr_decoder",
            exporter,
            opset,
            Decoder(other),
            varied,
            ["logits"],
            decoder_axes(tokens=True),
            variant="sinusoidal",
            about="gelu, sinusoidal positions, no embedding norm or scale, enc_to_dec_proj, tied",
        )
    first = [decoder_run(12, 2, 1), decoder_run(13, 3, 4)]
    presents = past_names(2, "present")
    first_axes = decoder_axes()
    for name in presents:
        first_axes[name] = {0: "batch", **({} if ".encoder." in name else {2: "sequence"})}
    for exporter, opset in ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18)):
        cases.add(
            "trocr_decoder",
            exporter,
            opset,
            DecoderFirst(small),
            first[1:] + first[:1],
            ["logits", *presents],
            first_axes,
            variant="first",
            about="first step: logits and the cache",
        )
    cached = [past_run(14, 2, 4), past_run(15, 1, 1), past_run(16, 3, 11, tokens=13)]
    for exporter, opset in ((common.TORCHSCRIPT, 11), (common.TORCHSCRIPT, 13), (common.DYNAMO, 24)):
        cases.add(
            "trocr_decoder",
            exporter,
            opset,
            DecoderWithPast(small),
            cached,
            ["logits", *past_names(2, "present", cross=False)],
            past_axes(2),
            variant="past",
            about="one step with a cache of the self and the cross attention",
        )
    both = [dict(encoder_run(17, b), decoder_input_ids=np.full((b, 1), START, dtype=np.int64)) for b in (2, 1, 3)]
    both_axes = {"pixel_values": {0: "batch"}, "decoder_input_ids": {0: "batch"}, "generated_ids": {0: "batch"}}
    for exporter, opset in ((common.DYNAMO, 25),):
        cases.add(
            "trocr_combined",
            exporter,
            opset,
            Combined(small),
            both[:1],
            ["generated_ids"],
            about="encoder and one decoder step in one graph; generated_ids are logits",
        )
    for exporter, opset in ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18)):
        cases.add(
            "trocr_combined",
            exporter,
            opset,
            Combined(small),
            both,
            ["generated_ids"],
            both_axes,
            about="encoder and one decoder step in one graph; generated_ids are logits",
        )


if __name__ == "__main__":
    main()
