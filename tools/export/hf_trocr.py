#!/usr/bin/env python3
"""Small TrOCR checkpoints in Hugging Face's layout, with golden values from transformers.

tests/fixtures/hf_trocr_<variant>/ holds config.json, generation_config.json, preprocessor_config.json, the weights
(model.safetensors, or shards with an index) and golden.npz. All golden values are computed in fp32 from the weights as
stored (fp16 and bf16 are widened first):

| array | what |
| --- | --- |
| pixel_values | [3, 3, 16, 24] |
| encoder_last_hidden_state | [3, tokens, width], before any enc_to_dec_proj |
| decoder_input_ids, logits | [3, 6] and [3, 6, vocabulary]: teacher forcing |
| greedy_ids | [3, L], start token first, padded after the end token; max_length 20 |
| beam_ids_lpP_esE, beam_scores_lpP_esE | num_beams 4, length_penalty P (1 or 2), early_stopping E: all four hypotheses of each line, best first: [3, 4, L] and [3, 4] |
| transformers | version, as bytes |

Random weights repeat one token for ever, so each model is fitted for a few seconds to read its three pictures, each as
either of two texts of different lengths; that makes end tokens, and searches that disagree. A variant's seed is the
first one for which the three lines end at three different steps before max_length, and for which fp64 gives the same ids
everywhere: no step hangs on rounding.
"""

import copy
import json
import shutil

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, VisionEncoderDecoderModel

import common
import trocr
from export.encoder_decoder import restore_positions

LINES, STEPS, MAX_LENGTH, BEAMS = 3, 6, 20, 4

# name: encoder kind, encoder settings, decoder settings, type of the weights, bytes of a shard, start token, resample
VARIANTS = {
    # DeiT, learned positions, tied, gelu, cross_attention_hidden_size set
    "deit_tied_fp32": (
        "deit",
        {},
        dict(activation_function="gelu", tie_word_embeddings=True, scale_embedding=False, vocab_size=40),
        torch.float32,
        None,
        0,
        2,
    ),
    # ViT without q/k/v bias, sinusoids, no embedding norm, scaled, untied, relu, projected states, shards
    "vit_sinusoidal_fp16": (
        "vit",
        dict(qkv_bias=False),
        dict(
            activation_function="relu",
            tie_word_embeddings=False,
            use_learned_position_embeddings=False,
            layernorm_embedding=False,
            scale_embedding=True,
            cross_attention_hidden_size=None,
            vocab_size=40,
        ),
        torch.float16,
        "20KB",
        2,
        3,
    ),
    # the arrangement of Microsoft's small checkpoints: DeiT, relu, scaled, untied
    "deit_untied_bf16": ("deit", {}, dict(vocab_size=40), torch.bfloat16, None, 2, 3),
    # ViT with bias and as wide as the decoder: nothing to project although cross_attention_hidden_size is unset
    "vit_same_width_fp32": (
        "vit",
        dict(qkv_bias=True, hidden_size=16, num_attention_heads=2),
        dict(activation_function="gelu", tie_word_embeddings=False, cross_attention_hidden_size=None, vocab_size=40),
        torch.float32,
        "24KB",
        0,
        2,
    ),
}


def build(variant, seed):
    """A fitted model, its weights rounded to the type in which they will be stored, and its pictures."""
    kind, encoder, decoder, dtype, _, start, _ = VARIANTS[variant]
    decoder = trocr.decoder_config(decoder_start_token_id=start, **decoder)
    encoder = trocr.encoder_config(kind, **{"layer_norm_eps": 1e-6 if kind == "vit" else 1e-12, **encoder})
    model = trocr.build(seed, encoder, decoder, small=1)
    model.config.decoder_start_token_id = start
    model.generation_config = GenerationConfig(
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=start,
        max_length=MAX_LENGTH,
        num_beams=1,
        do_sample=False,
    )
    pixels = torch.from_numpy(common.pixels(common.rng(seed), LINES, 3, 16, 24))
    fit(model, seed, pixels)
    return model.to(dtype).float(), pixels


def fit(model, seed, pixels, goal=0.45):
    """Teach the model two texts for each picture, the longer one with less weight, until the loss reaches `goal`."""
    generator = common.rng(seed + 1)
    labels = np.full((2 * LINES, MAX_LENGTH - 1), -100, dtype=np.int64)
    for row, length in enumerate((4, 7, 10, 9, 13, 16)):
        labels[row, :length] = generator.integers(3, 40, size=length)
        labels[row, length] = trocr.END
    weights = torch.tensor([1.0] * LINES + [0.8] * LINES)
    labels = torch.from_numpy(labels)
    inputs = torch.full_like(labels, trocr.PAD)
    inputs[:, 0] = model.config.decoder_start_token_id
    inputs[:, 1:] = torch.where(labels[:, :-1] == -100, trocr.PAD, labels[:, :-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(600):
        logits = model(pixel_values=torch.cat([pixels, pixels]), decoder_input_ids=inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
        loss = ((loss.sum(1) / (labels != -100).sum(1)) * weights).sum() / weights.sum()
        if loss < goal:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def generate(model, pixels, **settings):
    """Generated ids and, for beams, the scores of the hypotheses."""
    result = model.generate(
        pixels.to(model.dtype),
        max_length=MAX_LENGTH,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    return result.sequences, getattr(result, "sequences_scores", None)


def end_steps(ids):
    """The step at which each line ends; -1 where it does not."""
    steps = []
    for line in ids[:, 1:]:
        where = (line == trocr.END).nonzero()
        steps.append(int(where[0]) if len(where) else -1)
    return steps


SEARCHES = [(penalty, stop) for penalty in (1.0, 2.0) for stop in (False, True)]


def golden(model, seed, pixels):
    """All golden arrays, or None if this seed does not serve."""
    generator = common.rng(seed + 2)
    greedy, _ = generate(model, pixels, num_beams=1)
    steps = end_steps(greedy)
    distinct = [len(set(line.tolist())) for line in greedy]
    if min(steps) < 3 or len(set(steps)) < LINES or min(distinct) < 4:
        return None
    exact = copy.deepcopy(model).double()
    if not torch.equal(greedy, generate(exact, pixels, num_beams=1)[0]):
        return None
    result = {"pixel_values": pixels.numpy()}
    prefix = generator.integers(3, 40, size=(LINES, STEPS))
    prefix[:, 0] = model.config.decoder_start_token_id
    with torch.no_grad():
        result["encoder_last_hidden_state"] = model.encoder(pixel_values=pixels).last_hidden_state.numpy()
        result["decoder_input_ids"] = prefix.astype(np.int64)
        result["logits"] = model(pixel_values=pixels, decoder_input_ids=torch.from_numpy(prefix)).logits.numpy()
    result["greedy_ids"] = greedy.numpy()
    for penalty, stop in SEARCHES:
        settings = dict(num_beams=BEAMS, num_return_sequences=BEAMS, length_penalty=penalty, early_stopping=stop)
        ids, scores = generate(model, pixels, **settings)
        again, precise = generate(exact, pixels, **settings)
        if not torch.equal(ids, again) or (scores - precise).abs().max() > 1e-4:
            return None
        key = f"lp{penalty:.0f}_es{int(stop)}"
        result[f"beam_ids_{key}"] = ids.reshape(LINES, BEAMS, -1).numpy()
        result[f"beam_scores_{key}"] = scores.reshape(LINES, BEAMS).float().numpy()
    if not differ(result, "lp1_es0", "lp2_es0"):
        return None
    result["transformers"] = np.frombuffer(transformers.__version__.encode(), dtype=np.uint8)
    return result


def differ(result, first, second):
    """True if two searches disagree about the best hypothesis of some line."""
    a, b = result[f"beam_ids_{first}"][:, 0], result[f"beam_ids_{second}"][:, 0]
    return a.shape != b.shape or bool((a != b).any())


def write(folder, variant, model, arrays):
    """Save the checkpoint in the variant's type, its processor's settings and the golden values."""
    kind, _, _, dtype, shard, _, resample = VARIANTS[variant]
    if folder.exists():
        shutil.rmtree(folder)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard or "5GB")
    processor = {
        "image_processor_type": "DeiTImageProcessor" if kind == "deit" else "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 16, "width": 24},
        "resample": resample,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    if kind == "deit":
        processor["do_center_crop"] = False
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    np.savez(folder / "golden.npz", **arrays)
    for file in folder.iterdir():
        file.chmod(0o644)


def main():
    options = common.arguments(__doc__)
    for variant in VARIANTS:
        name = f"hf_trocr_{variant}"
        if options.only not in name:
            continue
        for seed in range(51, 5000):
            model, pixels = build(variant, seed)
            arrays = golden(model, seed, pixels)
            if arrays:
                break
        else:
            raise SystemExit(f"{name}: no seed serves")
        folder = options.out / name
        write(folder, variant, model, arrays)
        # what was computed is what the files give
        reloaded = restore_positions(VisionEncoderDecoderModel.from_pretrained(folder, dtype=torch.float32).eval())
        logits = (
            reloaded(
                pixel_values=torch.from_numpy(arrays["pixel_values"]),
                decoder_input_ids=torch.from_numpy(arrays["decoder_input_ids"]),
            )
            .logits.detach()
            .numpy()
        )
        print(
            f"{name}: seed {seed}, ends {end_steps(torch.from_numpy(arrays['greedy_ids']))}, reload "
            f"{np.abs(logits - arrays['logits']).max():.1e}, searches differ lp "
            f"{differ(arrays, 'lp1_es0', 'lp2_es0')} es {differ(arrays, 'lp2_es0', 'lp2_es1')}, "
            f"{sum(f.stat().st_size for f in folder.iterdir())} bytes",
            flush=True,
        )


if __name__ == "__main__":
    main()
