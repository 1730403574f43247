#!/usr/bin/env python3
"""Time transformers' generate on a text recogniser, and print one JSON object a batch size.

Greedy, with a fixed number of new tokens: the end token is forbidden, so every line takes the same steps. Without
--model, a TrOCR-small with random weights is timed (vocabulary of 11318 characters).
"""

import argparse
import json
import os
import pathlib
import time
import warnings

import numpy as np
import torch
import transformers
from transformers import DeiTConfig, TrOCRConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, help="folder of a VisionEncoderDecoderModel checkpoint")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--attention", default="", help="attn_implementation; empty: transformers' choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    return parser.parse_args()


def trocr_small():
    """TrOCR-small's arrangement with random weights."""
    encoder = DeiTConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        image_size=384,
        patch_size=16,
    )
    decoder = TrOCRConfig(
        vocab_size=11318,
        d_model=256,
        decoder_layers=6,
        decoder_attention_heads=8,
        decoder_ffn_dim=1024,
        activation_function="relu",
        max_position_embeddings=512,
        scale_embedding=True,
        use_learned_position_embeddings=True,
        layernorm_embedding=True,
        cross_attention_hidden_size=384,
        tie_word_embeddings=False,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.tie_word_embeddings = False
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 2
    torch.manual_seed(0)
    return VisionEncoderDecoderModel(config=config)


def load(options):
    """The model in evaluation mode, in the type asked for."""
    dtype = getattr(torch, options.dtype)
    extra = {"attn_implementation": options.attention} if options.attention else {}
    if options.model:
        model = VisionEncoderDecoderModel.from_pretrained(options.model, dtype=dtype, **extra)
    else:
        model = trocr_small().to(dtype)
    return model.to(options.device).eval()


def synchronise(device):
    """Wait for the device, where it works on its own."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def bench(model, batch, options):
    """Statistics of generate at one batch size."""
    size = model.config.encoder.image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(1)
    pixels = (torch.rand(batch, 3, height, width, generator=generator) * 2 - 1).to(options.device, model.dtype)
    settings = dict(
        do_sample=False,
        num_beams=options.beams,
        max_length=None,
        max_new_tokens=options.new_tokens,
        min_new_tokens=options.new_tokens,
    )
    whole, encoder = [], []
    with torch.inference_mode():
        for i in range(options.warmup + options.runs):
            synchronise(options.device)
            start = time.perf_counter()
            ids = model.generate(pixels, **settings)
            synchronise(options.device)
            middle = time.perf_counter()
            model.encoder(pixel_values=pixels)
            synchronise(options.device)
            if i >= options.warmup:
                whole.append((middle - start) * 1e3)
                encoder.append((time.perf_counter() - middle) * 1e3)
    values = np.asarray(whole)
    encoder_ms = float(np.median(encoder))
    return {
        "batch": batch,
        "new_tokens": int(ids.shape[1] - 1),
        "beams": options.beams,
        "runs": len(whole),
        "median_ms": float(np.median(values)),
        "p90_ms": float(np.percentile(values, 90)),
        "p99_ms": float(np.percentile(values, 99)),
        "min_ms": float(values.min()),
        "encoder_median_ms": encoder_ms,
        "token_ms": (float(np.median(values)) - encoder_ms) / options.new_tokens,
        "lines_per_second": batch / float(np.median(values)) * 1e3,
    }


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    model = load(options)
    head = {
        "engine": "transformers",
        "version": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "model": options.model.name if options.model else "trocr-small (random)",
        "device": options.device,
        "dtype": options.dtype,
        "threads": options.threads,
    }
    for batch in options.batch:
        print(json.dumps({**head, **bench(model, batch, options)}), flush=True)


if __name__ == "__main__":
    main()
