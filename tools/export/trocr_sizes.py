#!/usr/bin/env python3
"""The published sizes of TrOCR with random weights and golden values of transformers, for the program `golden`; up to 2.5 GB a folder, never
committed.

trocr_sizes.py OUT [SIZE ...] writes OUT/<size>/ with config.json, generation_config.json (four beams, early stopping, length penalty 2, no trigram
twice: what trocr-chinese generates with), the weights and golden.npz:

| array | what |
| --- | --- |
| pixel_values | [2, 3, 384, 384] |
| encoder_last_hidden_state_I | [1, tokens, width] of picture I |
| logits_I | [steps, vocabulary]: raw logits of every greedy step |
| greedy_ids_I, beam_ids_I | [L]: start token first, as generate() returns them |
"""

import argparse
import pathlib
import sys

import numpy as np
import torch
from transformers import GenerationConfig

import common
import trocr

VIT_B = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
VIT_L = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
DEIT_S = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
SMALL = dict(d_model=256, decoder_layers=6, decoder_attention_heads=8, decoder_ffn_dim=1024, max_position_embeddings=512)
LARGE = dict(vocab_size=50265, d_model=1024, decoder_layers=12, decoder_attention_heads=16, decoder_ffn_dim=4096)
LEARNED = dict(
    LARGE, activation_function="gelu", scale_embedding=False, tie_word_embeddings=True, max_position_embeddings=512
)
SINES = dict(
    LARGE,
    activation_function="relu",
    scale_embedding=True,
    use_learned_position_embeddings=False,
    layernorm_embedding=False,
    max_position_embeddings=1024,
)

# name: encoder kind, encoder, decoder, start token
SIZES = {
    "small": ("deit", DEIT_S, dict(SMALL, vocab_size=64044, cross_attention_hidden_size=384), 2),
    "chinese": ("deit", DEIT_S, dict(SMALL, vocab_size=11318, cross_attention_hidden_size=384), 0),
    "base": ("vit", VIT_B, dict(LEARNED, cross_attention_hidden_size=768), 2),
    "base_stage1": ("vit", VIT_B, dict(SINES, cross_attention_hidden_size=768), 2),
    "base_projected": ("vit", VIT_B, dict(LEARNED, cross_attention_hidden_size=None), 2),
    "large_handwritten": ("vit", VIT_L, dict(LEARNED, cross_attention_hidden_size=1024), 2),
    "large_printed": ("vit", VIT_L, dict(SINES, cross_attention_hidden_size=1024), 2),
}


def write(folder, size, length):
    """One folder: the checkpoint and its golden values."""
    kind, encoder, decoder, start = SIZES[size]
    encoder = trocr.encoder_config(kind, image_size=384, patch_size=16, **encoder)
    decoder = trocr.decoder_config(decoder_start_token_id=start, **decoder)
    # a tied table makes the logits too: wide enough that no two hypotheses are equal to fp32's rounding of their sums
    model = trocr.build(71, encoder, decoder, small=1 if decoder.tie_word_embeddings else 0.02).eval()
    model.config.decoder_start_token_id = start
    model.generation_config = settings = GenerationConfig(
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=start,
        max_length=length,
        num_beams=4,
        early_stopping=True,
        length_penalty=2.0,
        no_repeat_ngram_size=3,
        do_sample=False,
    )
    model.save_pretrained(folder)
    pixels = torch.from_numpy(common.pixels(common.rng(72), 2, 3, 384, 384))
    arrays = {"pixel_values": pixels.numpy()}
    with torch.no_grad():
        for i in range(len(pixels)):
            picture = pixels[i : i + 1]
            arrays[f"encoder_last_hidden_state_{i}"] = model.encoder(pixel_values=picture).last_hidden_state.numpy()
            settings.num_beams, settings.early_stopping = 1, False
            greedy = model.generate(picture, generation_config=settings, return_dict_in_generate=True, output_logits=True)
            arrays[f"greedy_ids_{i}"] = greedy.sequences[0].numpy()
            arrays[f"logits_{i}"] = np.concatenate([row.numpy() for row in greedy.logits])
            settings.num_beams, settings.early_stopping = 4, True
            arrays[f"beam_ids_{i}"] = model.generate(picture, generation_config=settings)[0].numpy()
    np.savez(folder / "golden.npz", **arrays)
    count = sum(p.numel() for p in model.parameters())
    print(f"{size}: {count / 1e6:.1f} M parameters, logits' scale {np.abs(arrays['logits_0']).max():.2f}")
    for i in range(len(pixels)):
        print(f"  greedy {arrays[f'greedy_ids_{i}'][:8]}, four beams {arrays[f'beam_ids_{i}'][:8]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--length", type=int, default=24, help="tokens a line")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for size in options.sizes or SIZES:
        if size not in SIZES:
            sys.exit(f"there is no size '{size}'; there are: {', '.join(SIZES)}")
        write(options.out / size, size, options.length)


if __name__ == "__main__":
    main()
