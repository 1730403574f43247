# SPDX-License-Identifier: Apache-2.0
"""What can be exported: a Hugging Face model, the official UniFormer or ViLBERT repository, each as parts with inputs of several sizes."""
from __future__ import annotations

import json
import pathlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .torch_export import Select, pixels, rng

TRACED, OTHER = dict(batch=2, sequence=16, target=4), dict(batch=1, sequence=11, target=7)
Run = "dict[str, np.ndarray]"


@dataclass
class Part:
    """One graph. runs: inputs by name, the first is traced, all are compared. outputs: names; axes: {input: {dim: symbol}}, outputs' are found by running."""

    name: str
    module: torch.nn.Module
    runs: "list[dict[str, np.ndarray]]"
    outputs: "list[str]"
    axes: "dict[str, dict[int, str]]"
    about: str = ""
    notes: "list[str]" = field(default_factory=list)
    dynamo_runs: "list[dict[str, np.ndarray]] | None" = None  # where that exporter needs other types


class Unknown(ValueError):
    """The model cannot be exported, and why."""


def load(path: "pathlib.Path", options: Any) -> "list[Part]":
    """Parts of what lies at `path`; options: the command line's."""
    if (path / "image_classification" / "models" / "uniformer.py").exists():
        return uniformer(path, options)
    if (path / "vilbert" / "vilbert.py").exists():
        return vilbert(path, options)
    if (path / "config.json").exists():
        return hugging_face(path, options)
    raise Unknown(f"'{path}' is neither a Hugging Face checkpoint (no config.json) nor a checkout of UniFormer or ViLBERT")


def restore(model: torch.nn.Module, checkpoint: "pathlib.Path | None", options: Any) -> None:
    """Weights of a .pth or .safetensors file; without one only with --random-weights."""
    if checkpoint is None:
        if not options.random_weights:
            raise Unknown("give the weights with --checkpoint FILE, or --random-weights")
        return
    if checkpoint.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(str(checkpoint))
    else:
        state = torch.load(str(checkpoint), map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        state = state.get(key, state) if isinstance(state, dict) else state
    state = {k.removeprefix("module."): v for k, v in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    if missing:
        raise Unknown(f"'{checkpoint}' lacks {len(missing)} tensors of the model, the first is '{missing[0]}' (its first own: {unexpected[:1]}); is it of another variant?")


# ---- Hugging Face ----


def _architecture(config: Any, transformers: Any) -> Any:
    names = getattr(config, "architectures", None) or []
    for name in names:
        if hasattr(transformers, name):
            return getattr(transformers, name)
    raise Unknown(f"config.json names architecture {names}, which transformers {transformers.__version__} does not have")


def _image(config: Any, options: Any) -> "tuple[int, int, int]":
    """Channels, height, width."""
    for c in (config, getattr(config, "vision_config", None), getattr(config, "encoder", None), getattr(config, "backbone_config", None)):
        size = options.image_size or getattr(c, "image_size", None) or getattr(c, "input_size", None)
        if c is not None and size:
            h, w = (size, size) if isinstance(size, int) else (size[0], size[-1])
            return int(getattr(c, "num_channels", 3)), int(h), int(w)
    return 3, 224, 224


def _text(config: Any) -> Any:
    return getattr(config, "text_config", None) or config


def _inputs(model: torch.nn.Module, config: Any, names: "list[str]", sizes: "dict[str, int]", seed: int, options: Any) -> "dict[str, np.ndarray]":
    """Inputs of these names that a tokenizer and an image processor could have made."""
    generator, text = rng(seed), _text(config)
    b, s, t = sizes["batch"], options.sequence or sizes["sequence"], sizes["target"]
    if options.sequence and sizes is OTHER:
        s = max(1, options.sequence - 5)
    vocab = max(8, int(getattr(text, "vocab_size", 0) or 100))
    run: "dict[str, np.ndarray]" = {}
    for name in names:
        if name in ("input_ids", "decoder_input_ids"):
            ids = generator.integers(5, vocab, size=(b, t if name.startswith("decoder") else s))
            end = getattr(text, "eos_token_id", None)
            if name == "input_ids" and isinstance(end, int) and end < vocab:
                ids[:, -1] = end  # models that pool at the end token look for it
            run[name] = ids.astype(np.int64)
        elif name == "attention_mask":
            mask = np.ones((b, s), np.int64)
            if b > 1 and "pixel_values" not in names:
                mask[1:, s - s // 4:] = 0
            run[name] = mask
        elif name == "token_type_ids":
            run[name] = np.repeat((np.arange(s) >= s // 2).astype(np.int64)[None], b, 0)
        elif name == "bbox":
            low = generator.integers(0, 500, size=(b, s, 2))
            run[name] = np.concatenate([low, low + generator.integers(1, 500, size=(b, s, 2))], -1).astype(np.int64)
        elif name == "pixel_values":
            run[name] = pixels(generator, b, *_image(config, options))
        elif name == "input_features":
            frames = 2 * int(getattr(config, "max_source_positions", 1500))
            run[name] = generator.standard_normal((b, int(getattr(config, "num_mel_bins", 80)), frames)).astype(np.float32)
        else:
            raise Unknown(f"the model takes '{name}', for which no sample inputs can be made up; supported are texts, boxes, pictures and audio features")
    return run


SYMBOLS = {"input_ids": ["batch", "sequence"], "attention_mask": ["batch", "sequence"], "token_type_ids": ["batch", "sequence"], "bbox": ["batch", "sequence"],
           "decoder_input_ids": ["batch", "target"], "pixel_values": ["batch"], "input_features": ["batch"]}


def _input_names(model: Any, config: Any) -> "list[str]":
    """The inputs that this model is used with, in the order of its forward."""
    import inspect

    known = inspect.signature(model.forward).parameters
    wanted = [getattr(model, "main_input_name", "input_ids")]
    if "input_ids" in known and (wanted[0] == "input_ids" or hasattr(config, "text_config") and not hasattr(config, "decoder")):
        wanted += ["input_ids", "attention_mask", "bbox"]
        if int(getattr(_text(config), "type_vocab_size", 0) or 0) > 1:
            wanted.append("token_type_ids")
    if "pixel_values" in known and (getattr(config, "visual_embed", False) or hasattr(config, "vision_config")):
        wanted.append("pixel_values")
    if getattr(config, "is_encoder_decoder", False):
        wanted.append("decoder_input_ids")
    return [n for n in known if n in wanted]


def hugging_face(path: "pathlib.Path", options: Any) -> "list[Part]":
    """A folder with config.json (and weights): one graph, or the parts of a VisionEncoderDecoderModel."""
    try:
        import transformers
    except ImportError as e:
        raise Unknown("a Hugging Face checkpoint needs the package transformers") from e
    config = transformers.AutoConfig.from_pretrained(path)
    cls = _architecture(config, transformers)
    if options.random_weights:
        torch.manual_seed(0)
        config._attn_implementation = options.attention
        model = cls(config)
    else:
        model = cls.from_pretrained(path, dtype=torch.float32, attn_implementation=options.attention)
    model.eval()
    if isinstance(model, transformers.VisionEncoderDecoderModel):
        return vision_encoder_decoder(model, options)
    for c in (config, _text(config)):
        if hasattr(c, "use_cache"):
            c.use_cache = False
    names = _input_names(model, config)
    runs = [_inputs(model, config, names, sizes, seed, options) for seed, sizes in enumerate((TRACED, OTHER))]
    with torch.no_grad():
        result = model(**{k: torch.from_numpy(v) for k, v in runs[0].items()})
    keys = [k for k, v in result.items() if torch.is_tensor(v)] if hasattr(result, "items") else []
    if not keys:
        raise Unknown(f"{cls.__name__} returns no tensors by name")
    module = Select(model, names, lambda r: tuple(r[k] for k in keys))
    axes = {n: dict(enumerate(SYMBOLS[n])) for n in names}
    return [Part("model", module, runs, keys, axes, cls.__name__)]


def vision_encoder_decoder(model: Any, options: Any) -> "list[Part]":
    """TrOCR: encoder, decoder of a whole prefix, first step and following steps with a cache."""
    from .encoder_decoder import Decoder, DecoderFirst, DecoderWithPast, Encoder, decoder_axes, past_axes, past_names, restore_positions

    config = restore_positions(model).config
    d = config.decoder
    layers, heads, width = d.decoder_layers, d.decoder_attention_heads, d.d_model
    pictures = [{"pixel_values": pixels(rng(k), b, *_image(config, options))} for k, b in enumerate((2, 1))]
    with torch.no_grad():
        hidden = model.encoder(pixel_values=torch.from_numpy(pictures[0]["pixel_values"]))
        states = hidden.last_hidden_state.numpy()
    outputs = ["last_hidden_state"] + (["pooler_output"] if getattr(hidden, "pooler_output", None) is not None else [])
    encoder = Encoder(model) if len(outputs) == 2 else Select(model.encoder, ["pixel_values"], lambda r: (r.last_hidden_state,))

    def prefix(seed: int, batch: int, length: int) -> "dict[str, np.ndarray]":
        ids = rng(seed).integers(5, d.vocab_size, size=(batch, length)).astype(np.int64)
        return {"input_ids": ids, "encoder_hidden_states": np.repeat(states[:1], batch, 0)}

    def past(seed: int, batch: int, length: int) -> "dict[str, np.ndarray]":
        generator = rng(seed)
        run = {"input_ids": generator.integers(5, d.vocab_size, size=(batch, 1)).astype(np.int64)}
        for name in past_names(layers, "past_key_values"):
            n = states.shape[1] if ".encoder." in name else length
            run[name] = generator.standard_normal((batch, heads, n, width // heads)).astype(np.float32)
        return run

    presents = past_names(layers, "present")
    parts = [
        Part("encoder", encoder, pictures, outputs, {"pixel_values": {0: "batch"}}, type(model.encoder).__name__),
        Part("decoder", Decoder(model), [prefix(1, 2, 5), prefix(2, 1, 9)], ["logits"], decoder_axes(tokens=True), "whole prefix, no cache"),
        Part("decoder_first", DecoderFirst(model), [prefix(3, 2, 4), prefix(4, 1, 1)], ["logits", *presents], decoder_axes(tokens=True), "first step: logits and the cache"),
        Part("decoder_with_past", DecoderWithPast(model), [past(5, 2, 4), past(6, 1, 7)], ["logits", *past_names(layers, "present", cross=False)],
             past_axes(layers), "one step with a cache"),
    ]
    if getattr(model, "enc_to_dec_proj", None) is not None:  # these two take the states as the decoder's attention sees them
        parts = [p for p in parts if p.name not in ("decoder_first", "decoder_with_past")]
        parts[1].notes.append("states are projected for the decoder (enc_to_dec_proj): no parts with a cache")
    return parts


# ---- official code ----


def uniformer(path: "pathlib.Path", options: Any) -> "list[Part]":
    """image_classification of Sense-X/UniFormer; --variant names its constructor (uniformer_small, uniformer_base_ls, uniformer_xxs, ...)."""
    from .official import load_uniformer

    variant = options.variant or "uniformer_small"
    family = "light" if variant in ("uniformer_xxs", "uniformer_xs") else "classification"
    module = load_uniformer(path, family)
    make = getattr(module, variant, None)
    if make is None:
        raise Unknown(f"the repository has no variant '{variant}'; it has {', '.join(n for n in dir(module) if n.startswith('uniformer_'))}")
    torch.manual_seed(0)
    model = make() if family == "light" else make(pretrained=False)
    restore(model, options.checkpoint, options)
    size = options.image_size or 224
    runs = [{"input": pixels(rng(k), b, 3, size, size, mean=0.45, std=0.225)} for k, b in enumerate((2, 1))]
    return [Part(variant, model.eval(), runs, ["logits"], {"input": {0: "batch"}}, f"UniFormer, {variant}")]


def vilbert(path: "pathlib.Path", options: Any) -> "list[Part]":
    """VILBertForVLTasks; --config names one of config/*.json, --variant "grounding" (region scores) or "heads" (all)."""
    from .official import VILBERT_HEADS, VILBERT_BETA_HEADS, AllHeads, Grounding, float_mask, load_vilbert, vilbert_axes

    module = load_vilbert(path)
    file = options.config or path / "config" / "bert_base_6layer_6conect.json"
    if not pathlib.Path(file).exists():
        raise Unknown(f"'{file}' is not there; name the configuration with --config FILE.json")
    config = module.BertConfig.from_json_file(str(file))
    for key, value in dict(visual_target=0, fast_mode=True, with_coattention=True, task_specific_tokens=False, dynamic_attention=False).items():
        if not hasattr(config, key):
            setattr(config, key, value)
    torch.manual_seed(0)
    model = module.VILBertForVLTasks(config, num_labels=options.labels)
    restore(model, options.checkpoint, options)
    heads = options.variant == "heads"
    if options.variant not in (None, "grounding", "heads"):
        raise Unknown(f"variant '{options.variant}' is not one of grounding, heads")
    beta = not hasattr(model, "vil_prediction_gqa")
    outputs = list(VILBERT_BETA_HEADS if beta else VILBERT_HEADS) if heads else ["vision_logit"]

    def run(seed: int, batch: int, tokens: int, regions: int) -> "dict[str, np.ndarray]":
        g = rng(seed)
        ones = np.ones((batch, tokens), np.int64)
        low = g.random((batch, regions, 2)) * 0.7
        high = low + g.random((batch, regions, 2)) * 0.3
        area = np.prod(high - low, axis=-1, keepdims=True)
        return {"question": g.integers(1, config.vocab_size, size=(batch, tokens)).astype(np.int64),
                "features": np.maximum(g.standard_normal((batch, regions, config.v_feature_size)), 0).astype(np.float32),
                "spatials": np.concatenate([low, high, area], -1).astype(np.float32), "segment_ids": 0 * ones, "input_mask": ones,
                "image_mask": np.ones((batch, regions), np.int64)}

    runs = [run(1, 2, 20, 12), run(2, 4, 13, 9)]  # all heads want pairs
    axes = vilbert_axes(["vision_logit"], sizes=True)
    return [Part("vilbert", (AllHeads if heads else Grounding)(model.eval()), runs, outputs, {k: v for k, v in axes.items() if k in runs[0]},
                 f"ViLBERT, {json.dumps(str(pathlib.Path(file).name))}", dynamo_runs=float_mask(runs))]
