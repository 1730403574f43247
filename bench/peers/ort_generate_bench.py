#!/usr/bin/env python3
"""Time a greedy loop on ONNX Runtime: encoder once, then decoder steps with a cache; one JSON object a batch size.

Takes three exports of tools/export/full_size.py: *_encoder, *_decoder_first and *_decoder_past. The cache stays in
ONNX Runtime's memory between steps. A fixed number of tokens is made, whatever the end token.
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np
import onnxruntime


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exports", type=pathlib.Path, help="folder of the exports")
    parser.add_argument("--name", default="trocr_tiny_zh_ts17", help="what stands before _encoder, _decoder_first, ...")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--start", type=int, default=0, help="start token")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    return parser.parse_args()


def session(path, threads):
    """A session with all optimisations and spinning threads."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1")
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


class Loop:
    """The three graphs and the loop over them."""

    def __init__(self, options):
        folders = [options.exports / f"{options.name}_{part}" for part in ("encoder", "decoder_first", "decoder_past")]
        self.encoder, self.first, self.past = [session(f / "model.onnx", options.threads) for f in folders]
        self.presents = [o.name for o in self.first.get_outputs()][1:]
        self.own = [o.name for o in self.past.get_outputs()][1:]
        self.start, self.steps = options.start, options.new_tokens

    @staticmethod
    def run(graph, feeds, outputs):
        """One run with OrtValues in and out."""
        binding = graph.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name)
        graph.run_with_iobinding(binding)
        return dict(zip(outputs, binding.get_outputs()))

    def generate(self, pixels):
        """Ids [batch, steps + 1] and the milliseconds of the encoder."""
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        begin = time.perf_counter()
        states = self.run(self.encoder, {"pixel_values": value(pixels)}, ["last_hidden_state"])["last_hidden_state"]
        encoder_ms = (time.perf_counter() - begin) * 1e3
        ids = [np.full((pixels.shape[0], 1), self.start, dtype=np.int64)]
        result = self.run(
            self.first, {"input_ids": value(ids[0]), "encoder_hidden_states": states}, ["logits", *self.presents]
        )
        cache = {name.replace("present", "past_key_values"): result[name] for name in self.presents}
        for step in range(self.steps):
            ids.append(result["logits"].numpy()[:, -1].argmax(-1).astype(np.int64)[:, None])
            if step + 1 < self.steps:
                result = self.run(self.past, {"input_ids": value(ids[-1]), **cache}, ["logits", *self.own])
                cache.update({name.replace("present", "past_key_values"): result[name] for name in self.own})
        return np.concatenate(ids, axis=1), encoder_ms


def main():
    options = arguments()
    loop = Loop(options)
    with np.load(options.exports / f"{options.name}_encoder" / "inputs.0.npz") as arrays:
        picture = arrays["pixel_values"][:1]
    for batch in options.batch:
        pixels = np.ascontiguousarray(np.repeat(picture, batch, axis=0))
        times, encoder = [], []
        for i in range(options.warmup + options.runs):
            start = time.perf_counter()
            ids, encoder_ms = loop.generate(pixels)
            if i >= options.warmup:
                times.append((time.perf_counter() - start) * 1e3)
                encoder.append(encoder_ms)
        median, encoder_ms = float(np.median(times)), float(np.median(encoder))
        print(
            json.dumps(
                {
                    "engine": "onnxruntime",
                    "version": onnxruntime.__version__,
                    "model": options.name,
                    "threads": options.threads,
                    "batch": batch,
                    "new_tokens": options.new_tokens,
                    "runs": len(times),
                    "median_ms": median,
                    "p90_ms": float(np.percentile(times, 90)),
                    "p99_ms": float(np.percentile(times, 99)),
                    "min_ms": min(times),
                    "encoder_median_ms": encoder_ms,
                    "token_ms": (median - encoder_ms) / options.new_tokens,
                    "lines_per_second": batch / median * 1e3,
                    "first_ids": ids[0].tolist(),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
