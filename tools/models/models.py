#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The models of docs/models.md: architectures of transformers and torchvision at their real widths, few layers, random weights.

    models.py --work DIR NAME EXPORTER      exports one (EXPORTER: torchscript or dynamo) into DIR/NAME.EXPORTER
    models.py --list

A folder gets model.onnx, inputs.0.npz (traced), inputs.1.npz (another batch and, where there is one, another length or size) and
present.json: how many attentions, LayerNorms and GELUs PyTorch ran (counted by watching its operators, see `Watch`).
Quantised models are made from the float ones by ONNX Runtime's tools; EXPORTER is then qdq or dynamic.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import sys
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

# Shared with `python -m tenon.export`; these modules of the package need nothing of its library.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "python" / "tenon"))
from export.torch_export import export, flatten, name_symbols, pixels, rng, tensors_of  # noqa: E402

LAYERS = 2
VOCAB = 2000
OPSETS = {"torchscript": 17, "dynamo": 18}
EXPORTERS = {"torchscript": "ts", "dynamo": "dynamo"}


@dataclass
class Model:
    """module(*tensors of a run); symbols: {input: {axis: symbol}}; outputs are named in order."""

    module: nn.Module
    runs: "list[dict[str, np.ndarray]]"
    symbols: "dict[str, dict[int, str]]"
    outputs: "list[str]"
    remarks: str = ""
    other_softmax: int = 0  # softmaxes over the last axis that are no attention
    unordered: int = 0  # 1 + the axis of rows chosen by score: those of nearly equal scores change places between engines


class Pick(nn.Module):
    """Calls a module with positional tensors under names and returns the named results."""

    variadic = 0

    def __init__(self, model, names, results, **fixed):
        super().__init__()
        self.model, self.names, self.results, self.fixed = model, list(names), results, fixed

    def forward(self, *tensors):
        r = self.model(**dict(zip(self.names, tensors)), **self.fixed)
        return tuple(r[k] for k in self.results)


class Watch(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts what PyTorch computes; activations and norms that are written out are counted by their modules' names."""

    def __init__(self):
        super().__init__()
        self.counts = {"attention": 0, "layer_norm": 0, "gelu": 0}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if "scaled_dot_product" in name or name == "_softmax" and args[0].dim() >= 3 and args[1] in (-1, args[0].dim() - 1):
            self.counts["attention"] += 1
        elif name in ("native_layer_norm", "_fused_rms_norm", "rms_norm"):
            self.counts["layer_norm"] += 1
        elif name == "gelu":
            self.counts["gelu"] += 1
        return func(*args, **(kwargs or {}))


WRITTEN_OUT = {"T5LayerNorm": "layer_norm", "NewGELUActivation": "gelu"}


def present(model: Model) -> "dict[str, int]":
    watch, extra = Watch(), {}

    def hook(kind):
        def count(*_):
            extra[kind] = extra.get(kind, 0) + 1
        return count

    handles = [m.register_forward_hook(hook(WRITTEN_OUT[type(m).__name__])) for m in model.module.modules() if type(m).__name__ in WRITTEN_OUT]
    with torch.no_grad(), watch:
        model.module(*tensors_of(model.runs[1]))
    for h in handles:
        h.remove()
    counts = {k: v + extra.get(k, 0) for k, v in watch.counts.items()}
    counts["attention"] -= model.other_softmax
    return counts


# ---- inputs ----

LENGTHS = ((2, 32), (1, 128))


def ids(seed: int, batch: int, length: int, low: int = 5) -> np.ndarray:
    return rng(seed).integers(low, VOCAB, size=(batch, length)).astype(np.int64)


def text_runs(names: "list[str]", target: bool = False) -> "list[dict[str, np.ndarray]]":
    runs = []
    for seed, (b, s) in enumerate(LENGTHS):
        run = {}
        for name in names:
            if name == "input_ids":
                run[name] = ids(seed, b, s)
            elif name == "attention_mask":
                run[name] = np.ones((b, s), np.int64)
                run[name][-1, s - s // 4:] = 0
            elif name == "token_type_ids":
                run[name] = np.repeat((np.arange(s) >= s // 2).astype(np.int64)[None], b, 0)
            elif name == "bbox":
                low = rng(seed + 9).integers(0, 500, size=(b, s, 2))
                run[name] = np.concatenate([low, low + rng(seed + 8).integers(1, 500, size=(b, s, 2))], -1).astype(np.int64)
            elif name == "decoder_input_ids":
                run[name] = ids(seed + 4, b, (6, 20)[seed])
        runs.append(run)
    return runs


def text_symbols(names: "list[str]") -> "dict[str, dict[int, str]]":
    return {n: {0: "batch", 1: "target" if n.startswith("decoder") else "sequence"} for n in names}


def pictures(sizes, name: str = "pixel_values", channels: int = 3) -> "list[dict[str, np.ndarray]]":
    return [{name: pixels(rng(k), b, channels, h, w)} for k, (b, h, w) in enumerate(sizes)]


FIXED_SIZE = {"pixel_values": {0: "batch"}}
ANY_SIZE = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}


def text_model(make, names, results=("last_hidden_state",), **fixed) -> Model:
    return Model(Pick(make, names, results, **fixed), text_runs(names), text_symbols(names), list(results))


def picture_model(module, results=("last_hidden_state",), sizes=((2, 224, 224), (1, 224, 224)), symbols=None, remarks="", **fixed) -> Model:
    module = Pick(module, ["pixel_values"], results, **fixed) if results else module
    return Model(module, pictures(sizes), symbols or FIXED_SIZE, list(results or ["logits"]), remarks)


# ---- texts ----


def bert(t, attention, **sizes):
    c = t.BertConfig(vocab_size=VOCAB, num_hidden_layers=LAYERS, attn_implementation=attention, **sizes)
    return text_model(t.BertModel(c), ["input_ids", "attention_mask", "token_type_ids"], ("last_hidden_state", "pooler_output"))


def minilm(t, attention):
    return bert(t, attention, hidden_size=384, num_attention_heads=12, intermediate_size=1536)


def roberta(t, attention):
    c = t.RobertaConfig(vocab_size=VOCAB, num_hidden_layers=LAYERS, max_position_embeddings=514, type_vocab_size=1, attn_implementation=attention)
    return text_model(t.RobertaModel(c, add_pooling_layer=False), ["input_ids", "attention_mask"])


def distilbert(t, attention):
    c = t.DistilBertConfig(vocab_size=VOCAB, n_layers=LAYERS, attn_implementation=attention)
    return text_model(t.DistilBertModel(c), ["input_ids", "attention_mask"])


def deberta_v3(t, attention):
    c = t.DebertaV2Config(vocab_size=VOCAB, hidden_size=768, num_hidden_layers=LAYERS, num_attention_heads=12, intermediate_size=3072, type_vocab_size=0,
                          relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p",
                          position_biased_input=False, max_relative_positions=-1)
    return text_model(t.DebertaV2Model(c), ["input_ids", "attention_mask"])


def layoutlm(t, attention):
    c = t.LayoutLMConfig(vocab_size=VOCAB, num_hidden_layers=LAYERS, attn_implementation=attention)
    return text_model(t.LayoutLMModel(c), ["input_ids", "bbox", "attention_mask", "token_type_ids"])


def lilt(t, attention):
    c = t.LiltConfig(vocab_size=VOCAB, num_hidden_layers=LAYERS, max_position_embeddings=514, type_vocab_size=1, attn_implementation="eager")
    return text_model(t.LiltModel(c, add_pooling_layer=False), ["input_ids", "bbox", "attention_mask"])


class LayoutLMv2Text(nn.Module):
    """Embeddings and encoder of LayoutLMv2 without the picture, whose backbone comes from detectron2."""

    def __init__(self, config):
        super().__init__()
        from transformers.models.layoutlmv2 import modeling_layoutlmv2 as m

        self.embeddings, self.encoder = m.LayoutLMv2Embeddings(config), m.LayoutLMv2Encoder(config)

    def forward(self, input_ids, bbox, attention_mask):
        e = self.embeddings
        n = input_ids.shape[1]
        positions = torch.arange(n, dtype=torch.long, device=input_ids.device).unsqueeze(0).expand_as(input_ids)
        x = e.word_embeddings(input_ids) + e.position_embeddings(positions)
        x = x + e._calc_spatial_position_embeddings(bbox) + e.token_type_embeddings(torch.zeros_like(input_ids))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        return self.encoder(e.LayerNorm(x), mask, bbox=bbox, position_ids=positions)[0]


def layoutlmv2(t, attention):
    c = t.LayoutLMv2Config(vocab_size=VOCAB, num_hidden_layers=LAYERS, has_relative_attention_bias=True, has_spatial_attention_bias=True)
    names = ["input_ids", "bbox", "attention_mask"]
    return Model(LayoutLMv2Text(c), text_runs(names), text_symbols(names), ["last_hidden_state"], "text part")


# ---- text to text ----


def bart(t, attention):
    c = t.BartConfig(vocab_size=VOCAB, d_model=768, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=12, decoder_attention_heads=12,
                     encoder_ffn_dim=3072, decoder_ffn_dim=3072, attn_implementation=attention)
    return text_model(t.BartModel(c), ["input_ids", "attention_mask", "decoder_input_ids"], use_cache=False)


def t5_config(t):
    return t.T5Config(vocab_size=VOCAB, d_model=512, d_ff=2048, num_layers=LAYERS, num_heads=8)


def t5_encoder(t, attention):
    return text_model(t.T5EncoderModel(t5_config(t)), ["input_ids", "attention_mask"])


class WithPast(nn.Module):
    """One step of a decoder: tokens, what it attends to, and its cache, (keys, values) a layer, of itself and then of the encoder."""

    def __init__(self, decoder, layers, leading, cross, run):
        super().__init__()
        self.decoder, self.layers, self.variadic, self.cross, self.run = decoder, layers, leading, cross, run

    def forward(self, *tensors):
        from transformers import DynamicCache, EncoderDecoderCache

        lead, past = tensors[:self.variadic], tensors[self.variadic:]
        own, other = DynamicCache(), DynamicCache()
        for i in range(self.layers):
            own.update(past[2 * i], past[2 * i + 1], i)
            if self.cross:
                other.update(past[2 * (self.layers + i)], past[2 * (self.layers + i) + 1], i)
        cache = own
        if self.cross:
            cache = EncoderDecoderCache(own, other)
            cache.is_updated = {i: True for i in range(self.layers)}
        y = self.run(self.decoder, lead, cache)
        return (y, *[x for layer in own.layers for x in (layer.keys, layer.values)])


class Variadic(nn.Module):
    """The same with the arguments in front of *past spelt out, as torch.export wants them."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.variadic = inner.variadic


class Variadic1(Variadic):
    def forward(self, a, *past):
        return self.inner(a, *past)


class Variadic2(Variadic):
    def forward(self, a, b, *past):
        return self.inner(a, b, *past)


def past_model(module, lead, lead_symbols, heads, width, cross_lengths=None, lengths=(7, 40), remarks="") -> Model:
    runs, symbols = [], dict(lead_symbols)
    outputs = ["hidden"]
    for k, first in enumerate(lead):
        run, b = dict(first), next(iter(first.values())).shape[0]
        for kind in ("self", "cross")[:2 if cross_lengths else 1]:
            for i in range(LAYERS):
                for part in ("key", "value"):
                    n = lengths[k] if kind == "self" else cross_lengths[k]
                    name = f"past.{kind}.{i}.{part}"
                    run[name] = rng(k + 31 * i).standard_normal((b, heads, n, width)).astype(np.float32)
                    symbols[name] = {0: "batch", 2: "past" if kind == "self" else "sequence"}
        runs.append(run)
    outputs += [f"present.{i}.{part}" for i in range(LAYERS) for part in ("key", "value")]
    return Model(module, runs, symbols, outputs, remarks)


def t5_decoder(t, attention):
    decoder = t.T5Model(t5_config(t)).decoder

    def run(d, lead, cache):
        b, n = lead[1].shape
        return d(input_ids=lead[0], encoder_hidden_states=torch.zeros(b, n, 512), encoder_attention_mask=lead[1], past_key_values=cache,
                 use_cache=True).last_hidden_state

    lead = [{"input_ids": ids(k, b, 1), "encoder_attention_mask": np.ones((b, s), np.int64)} for k, (b, s) in enumerate(LENGTHS)]
    symbols = {"input_ids": {0: "batch"}, "encoder_attention_mask": {0: "batch", 1: "sequence"}}
    return past_model(Variadic2(WithPast(decoder, LAYERS, 2, True, run)), lead, symbols, 8, 64, [s for _, s in LENGTHS])


def gpt2(t, attention):
    c = t.GPT2Config(vocab_size=VOCAB, n_layer=LAYERS, attn_implementation=attention)

    def run(d, lead, cache):
        return d(input_ids=lead[0], past_key_values=cache, use_cache=True).last_hidden_state

    lead = [{"input_ids": ids(0, 2, 3)}, {"input_ids": ids(1, 1, 5)}]
    return past_model(Variadic1(WithPast(t.GPT2Model(c), LAYERS, 1, False, run)), lead, {"input_ids": {0: "batch", 1: "sequence"}}, 12, 64)


# ---- sound, pictures and texts ----


def whisper(t, attention):
    c = t.WhisperConfig(vocab_size=VOCAB, d_model=384, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=6, decoder_attention_heads=6,
                        encoder_ffn_dim=1536, decoder_ffn_dim=1536, pad_token_id=1, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1,
                        attn_implementation=attention)
    runs = [{"input_features": rng(k).standard_normal((b, 80, 3000)).astype(np.float32), "decoder_input_ids": ids(k, b, n),
             "decoder_attention_mask": np.ones((b, n), np.int64)} for k, (b, n) in enumerate(((2, 4), (1, 9)))]
    symbols = {"input_features": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "target"}, "decoder_attention_mask": {0: "batch", 1: "target"}}
    return Model(Pick(t.WhisperModel(c), list(runs[0]), ["last_hidden_state"], use_cache=False), runs, symbols, ["last_hidden_state"])


def clip(t, attention):
    c = t.CLIPConfig(text_config=dict(vocab_size=VOCAB, num_hidden_layers=LAYERS, bos_token_id=0, eos_token_id=VOCAB - 1, pad_token_id=1),
                     vision_config=dict(num_hidden_layers=LAYERS), attn_implementation=attention)
    runs = [{"input_ids": ids(k, b, n), "pixel_values": pixels(rng(k), b, 3, 224, 224), "attention_mask": np.ones((b, n), np.int64)} for k, (b, n) in
            enumerate(((2, 16), (1, 30)))]
    for r in runs:
        r["input_ids"][:, -1] = VOCAB - 1
    symbols = {"input_ids": {0: "batch", 1: "sequence"}, "pixel_values": {0: "batch"}, "attention_mask": {0: "batch", 1: "sequence"}}
    results = ["logits_per_image", "text_embeds", "image_embeds"]
    return Model(Pick(t.CLIPModel(c), list(runs[0]), results), runs, symbols, results, "QuickGELU is x sigmoid(1.702 x)")


def vit(t, attention):
    return picture_model(t.ViTModel(t.ViTConfig(num_hidden_layers=LAYERS, attn_implementation=attention), add_pooling_layer=False))


def deit(t, attention):
    return picture_model(t.DeiTModel(t.DeiTConfig(num_hidden_layers=LAYERS, attn_implementation=attention), add_pooling_layer=False))


def beit(t, attention):
    c = t.BeitConfig(num_hidden_layers=LAYERS, use_relative_position_bias=True, attn_implementation=attention)
    return picture_model(t.BeitModel(c, add_pooling_layer=True), ("last_hidden_state", "pooler_output"))


def swin(t, attention):
    return picture_model(t.SwinModel(t.SwinConfig(depths=[2, 2, 2, 2])), ("last_hidden_state", "pooler_output"))


def convnext(t, attention):
    c = t.ConvNextConfig(depths=[1, 1, 2, 1])
    return picture_model(t.ConvNextModel(c), ("last_hidden_state", "pooler_output"), ((2, 224, 224), (1, 256, 192)), ANY_SIZE)


def segformer(t, attention):
    return picture_model(t.SegformerForSemanticSegmentation(t.SegformerConfig()), ("logits",), ((2, 128, 128), (1, 192, 256)), ANY_SIZE)


def detr(t, attention):
    c = t.DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, encoder_layers=LAYERS, decoder_layers=LAYERS,
                     backbone_config=t.ResNetConfig(out_features=["stage4"]), attn_implementation="eager")
    return picture_model(t.DetrForObjectDetection(c), ("logits", "pred_boxes"), ((2, 256, 256), (1, 320, 384)), ANY_SIZE)


def rt_detr(t, attention):
    c = t.RTDetrConfig(decoder_layers=LAYERS, num_queries=100)
    model = t.RTDetrForObjectDetection(c)
    calm(model, {"enc_score_head": 0.1})
    m = picture_model(model, ("logits", "pred_boxes"), ((2, 320, 320), (1, 320, 320)), remarks="640 in the wild; softmax over sampling points too")
    m.other_softmax, m.unordered = LAYERS, 2
    return m


def donut_encoder(t, attention):
    c = t.DonutSwinConfig(image_size=[640, 480], embed_dim=128, depths=[2, 2, 2, 2], num_heads=[4, 8, 16, 32], window_size=10)
    return picture_model(t.DonutSwinModel(c, add_pooling_layer=False), sizes=((2, 640, 480), (1, 640, 480)), remarks="2560 x 1920 in the wild")


def decoder_model(decoder, width, tokens, attention):
    runs = [{"input_ids": ids(k, b, n), "encoder_hidden_states": rng(k).standard_normal((b, m, width)).astype(np.float32)} for k, (b, n, m) in
            enumerate(((2, 6, tokens), (1, 24, tokens + 20)))]
    symbols = {"input_ids": {0: "batch", 1: "sequence"}, "encoder_hidden_states": {0: "batch", 1: "encoder_sequence"}}
    return Model(Pick(decoder, list(runs[0]), ["logits"], use_cache=False), runs, symbols, ["logits"])


def donut_decoder(t, attention):
    c = t.MBartConfig(vocab_size=VOCAB, decoder_layers=LAYERS, d_model=1024, is_decoder=True, add_cross_attention=True, scale_embedding=True, add_final_layer_norm=True,
                      is_encoder_decoder=False, attn_implementation=attention)
    return decoder_model(t.MBartForCausalLM(c), 1024, 300, attention)


def trocr_encoder(t, attention):
    c = t.ViTConfig(num_hidden_layers=LAYERS, image_size=384, qkv_bias=False, attn_implementation=attention)
    return picture_model(t.ViTModel(c, add_pooling_layer=False), sizes=((2, 384, 384), (1, 384, 384)))


def trocr_decoder(t, attention):
    c = t.TrOCRConfig(vocab_size=VOCAB, decoder_layers=LAYERS, cross_attention_hidden_size=768, use_learned_position_embeddings=True, layernorm_embedding=True)
    return decoder_model(t.TrOCRForCausalLM(c), 768, 577, attention)


# ---- pictures, torchvision and own ----


def vision(name, sizes=((2, 224, 224), (1, 256, 320))):
    def make(t, attention):
        import torchvision

        return picture_model(getattr(torchvision.models, name)(weights=None), None, sizes, ANY_SIZE)
    return make


class Detector(nn.Module):
    """torchvision's detectors take a list of pictures of any size."""

    def __init__(self, model, results):
        super().__init__()
        self.model, self.results = model, results

    def forward(self, image):
        r = self.model([image])[0]
        return tuple(r[k] for k in self.results)


def calm(model, spread) -> None:
    """Random residual networks double their variance a block, and heads that start near 0 score everything alike: either makes choices by score (the best 1000,
    non-maximum suppression) a matter of rounding. spread: deviation of the weights of heads by a part of their name."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for m in model.modules():
            if hasattr(m, "bn3"):
                m.bn3.weight.mul_(0.2)
            if isinstance(m, nn.Conv2d):  # what transformers starts with lets the picture fade layer by layer
                fan = m.weight[0].numel()
                m.weight.normal_(0, (2 / fan) ** 0.5, generator=g)
        for part, deviation in spread.items():
            for n, p in model.named_parameters():
                if part in n and n.endswith("weight") and p.dim() > 1:
                    p.normal_(0, deviation, generator=g)


def settle(module: nn.Module, part: str, run) -> None:
    """Scales the weights of one layer so that what it gives in `run` has deviation 1.5: scores that neither vanish nor saturate."""
    layer, seen = dict(module.named_modules())[part], []
    handle = layer.register_forward_hook(lambda m, x, y: seen.append(y.flatten()))
    with torch.no_grad():
        run()
        layer.weight.mul_(1.5 / torch.cat(seen).std())
    handle.remove()


def detector(name, results):
    def make(t, attention):
        import torchvision

        model = getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None, num_classes=91, min_size=224, max_size=320,
                                                             trainable_backbone_layers=5)
        calm(model, {"rpn.head.cls_logits": 0.01, "rpn.head.bbox_pred": 0.01, "box_predictor.cls_score": 0.01, "head.classification_head.cls_logits": 0.002,
                     "head.regression_head.bbox_reg": 0.005})
        runs = [{"image": rng(k).random((3, h, w)).astype(np.float32)} for k, (h, w) in enumerate(((224, 280), (240, 220)))]
        if name.startswith("retinanet"):
            model.eval()
            settle(model, "head.classification_head.cls_logits", lambda: model([torch.from_numpy(runs[0]["image"])]))
        m = Model(Detector(model, results), runs, {"image": {1: "height", 2: "width"}}, list(results), "one picture; 800 in the wild")
        m.unordered = 1
        return m
    return make


class UNet(nn.Module):
    """The published shape: two 3x3 convolutions a level, widths 64 to 1024, transposed convolutions upwards."""

    def __init__(self, widths=(64, 128, 256, 512, 1024)):
        super().__init__()

        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

        self.down = nn.ModuleList(block(i, o) for i, o in zip((3, *widths), widths))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in zip(widths[:0:-1], widths[-2::-1]))
        self.up = nn.ModuleList(block(i, o) for i, o in zip(widths[:0:-1], widths[-2::-1]))
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x):
        kept = []
        for k, b in enumerate(self.down):
            x = b(x if k == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for grow, up, side in zip(self.grow, self.up, kept[-2::-1]):
            x = up(torch.cat([side, grow(x)], 1))
        return self.head(x)


def unet(t, attention):
    return picture_model(UNet(), None, ((2, 64, 64), (1, 96, 128)), ANY_SIZE)


class CRNN(nn.Module):
    """PP-OCR's recogniser in its LSTM form: MobileNetV3-small with strides (2, 1), two bidirectional LSTMs of 48, softmax over the characters."""

    def __init__(self, characters=6625, hidden=48):
        super().__init__()
        import torchvision

        features = torchvision.models.mobilenet_v3_small(weights=None).features
        for m in features[1:].modules():
            if isinstance(m, nn.Conv2d) and m.stride == (2, 2):
                m.stride = (2, 1)
        self.features, self.pool = features, nn.MaxPool2d((1, 2))
        self.lstm = nn.LSTM(576, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, characters)

    def forward(self, x):
        x = self.pool(self.features(x)).squeeze(2).permute(0, 2, 1)
        x, _ = self.lstm(x)
        return torch.softmax(self.head(x), -1)


def crnn(t, attention):
    m = picture_model(CRNN(), None, ((2, 32, 320), (1, 32, 480)), {"pixel_values": {0: "batch", 3: "width"}}, "softmax over characters is none")
    m.other_softmax = 1
    return m


ORDINARY = {
    "bert": ("BERT", bert), "roberta": ("RoBERTa", roberta), "distilbert": ("DistilBERT", distilbert), "minilm": ("MiniLM", minilm),
    "deberta_v3": ("DeBERTa-v3", deberta_v3), "t5_encoder": ("T5, encoder", t5_encoder), "t5_decoder": ("T5, decoder with past", t5_decoder),
    "bart": ("BART", bart), "gpt2": ("GPT-2 with past", gpt2), "whisper": ("Whisper-tiny", whisper), "clip": ("CLIP", clip), "vit": ("ViT", vit),
    "deit": ("DeiT", deit), "beit": ("BEiT", beit), "swin": ("Swin", swin), "convnext": ("ConvNeXt", convnext),
    "efficientnet": ("EfficientNet-B0", vision("efficientnet_b0")), "mobilenet_v3": ("MobileNetV3-large", vision("mobilenet_v3_large")),
    "resnet50": ("ResNet-50", vision("resnet50")), "detr": ("DETR", detr), "rt_detr": ("RT-DETR", rt_detr),
    "mask_rcnn": ("Mask R-CNN", detector("maskrcnn_resnet50_fpn", ("boxes", "labels", "scores", "masks"))),
    "retinanet": ("RetinaNet", detector("retinanet_resnet50_fpn", ("boxes", "labels", "scores"))),
    "segformer": ("SegFormer-B0", segformer), "unet": ("U-Net", unet), "donut_encoder": ("Donut, encoder", donut_encoder),
    "donut_decoder": ("Donut, decoder", donut_decoder), "layoutlm": ("LayoutLM", layoutlm), "layoutlmv2": ("LayoutLMv2, text part", layoutlmv2),
    "lilt": ("LiLT", lilt), "trocr_encoder": ("TrOCR-base, encoder", trocr_encoder), "trocr_decoder": ("TrOCR-base, decoder", trocr_decoder),
    "crnn": ("CRNN with LSTM (PP-OCR style)", crnn),
}
QUANTISED = ("bert", "resnet50")  # of their TorchScript exports


def randomise(module: nn.Module) -> None:
    """Statistics and scales that a trained model could have, so that nothing folds away by being zero or one."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(getattr(m, "running_var", None), torch.Tensor):
                m.running_var.uniform_(0.5, 1.5, generator=g)
                m.running_mean.normal_(0, 0.1, generator=g)
            if "Norm" in type(m).__name__ and isinstance(getattr(m, "weight", None), torch.Tensor):
                m.weight.mul_(torch.empty_like(m.weight).uniform_(0.8, 1.2, generator=g))
            for name, p in m.named_parameters(recurse=False):
                if name == "bias" and not p.any():
                    p.normal_(0, 0.05, generator=g)
                if "relative_position_bias" in name or name in ("cls_token", "position_embeddings"):
                    p.normal_(0, 0.2, generator=g)


def make(name: str, exporter: str) -> Model:
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    attention = "sdpa" if exporter == "dynamo" else "eager"
    model = ORDINARY[name][1](transformers, attention)
    model.module.eval()
    randomise(model.module)
    return model


def output_symbols(model: Model) -> "dict[str, dict[int, str]]":
    """Axes of the outputs that differ between the runs: some name will do for the TorchScript exporter."""
    with torch.no_grad():
        shapes = [[tuple(t.shape) for t in flatten(model.module(*tensors_of(r)))] for r in model.runs]
    return {n: {d: f"{n}_{d}" for d in range(len(a)) if a[d] != b[d]} for n, a, b in zip(model.outputs, *shapes)}


def quantise(name: str, kind: str, work: pathlib.Path, out: pathlib.Path) -> None:
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = work / f"{name}.torchscript"
    if not (source / "model.onnx").exists():
        write(name, "torchscript", work)
    for k in range(2):
        (out / f"inputs.{k}.npz").write_bytes((source / f"inputs.{k}.npz").read_bytes())
    (out / "present.json").write_text((source / "present.json").read_text())
    if kind == "dynamic":
        q.quantize_dynamic(source / "model.onnx", out / "model.onnx", weight_type=q.QuantType.QInt8)
        return
    ready = out / "ready.onnx"
    quant_pre_process(source / "model.onnx", ready, skip_symbolic_shape=True)

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self.left = [dict(np.load(source / f"inputs.{k}.npz")) for k in range(2)]

        def get_next(self):
            return self.left.pop() if self.left else None

    q.quantize_static(ready, out / "model.onnx", Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True)
    ready.unlink()


def write(name: str, exporter: str, work: pathlib.Path) -> None:
    out = work / f"{name}.{exporter}"
    out.mkdir(parents=True, exist_ok=True)
    if exporter in ("qdq", "dynamic"):
        quantise(name, exporter, work, out)
        return
    model = make(name, exporter)
    axes = {**model.symbols, **output_symbols(model)}
    for k, run in enumerate(model.runs):
        np.savez(out / f"inputs.{k}.npz", **run)
    (out / "present.json").write_text(json.dumps({**present(model), "remarks": model.remarks, "unordered": model.unordered}))
    export(model.module, model.runs[0], out / "model.onnx", EXPORTERS[exporter], OPSETS[exporter], model.outputs, axes)
    if exporter == "dynamo":
        name_symbols(out / "model.onnx", axes)


def every() -> "list[tuple[str, str]]":
    rows = [(n, e) for n in ORDINARY for e in OPSETS]
    return rows + [(n, e) for n in QUANTISED for e in ("qdq", "dynamic")]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=pathlib.Path, help="folder for exports, not in the tree")
    p.add_argument("--list", action="store_true")
    p.add_argument("name", nargs="?")
    p.add_argument("exporter", nargs="?", choices=[*OPSETS, "qdq", "dynamic"])
    o = p.parse_args()
    if o.list or not o.name:
        for n, e in every():
            print(n, e)
        return
    torch.set_num_threads(1)
    write(o.name, o.exporter, o.work)


if __name__ == "__main__":
    main()
