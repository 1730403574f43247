#!/usr/bin/env python3
"""Full-size exports with random weights, for accuracy and benchmarks; about 7 GB, never committed.

The builders serve bench/gpu too, so that both have the same models. The small text recogniser that ships with the project
can be exported too, with its real weights (--ocr).
"""

import argparse
import gc
import pathlib

import numpy as np
import torch
from transformers import VisionEncoderDecoderModel

import common
import layoutlmv3
import trocr
import uniformer
import vilbert

EXPORTERS = ((common.TORCHSCRIPT, 17), (common.DYNAMO, 18))
UNIFORMER_S = dict(depth=[3, 4, 8, 3], embed_dim=[64, 128, 320, 512], head_dim=64, mlp_ratio=4, num_classes=1000)


def name(base, exporter, opset, variant=""):
    """Folder of one export."""
    return "_".join(filter(None, [base, f"{exporter}{opset}", variant]))


def build_layoutlmv3():
    """LayoutLMv3-base with FUNSD's seven labels."""
    return layoutlmv3.build(
        61,
        vocab_size=50265,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=514,
        coordinate_size=128,
        shape_size=128,
        input_size=224,
        patch_size=16,
    )


def build_trocr(attention="eager"):
    """TrOCR-small with the 11318 characters of the Chinese model; `attention` is the encoder's."""
    encoder = trocr.encoder_config(
        "deit",
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        image_size=384,
        patch_size=16,
    )
    decoder = trocr.decoder_config(
        vocab_size=11318,
        d_model=256,
        decoder_layers=6,
        decoder_attention_heads=8,
        decoder_ffn_dim=1024,
        max_position_embeddings=512,
        cross_attention_hidden_size=384,
    )
    return trocr.build(62, encoder, decoder, attention=attention)


def build_uniformer(official):
    """UniFormer-S for pictures of 224 x 224."""
    return uniformer.classification(official, 63, img_size=224, **UNIFORMER_S)


def build_vilbert(official):
    """ViLBERT with six connections."""
    return vilbert.build(
        official,
        65,
        vocab_size_or_config_json_file=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        v_feature_size=2048,
        v_target_size=1601,
        v_hidden_size=1024,
        v_num_hidden_layers=6,
        v_num_attention_heads=8,
        v_intermediate_size=1024,
        bi_hidden_size=1024,
        bi_num_attention_heads=8,
        v_biattention_id=[0, 1, 2, 3, 4, 5],
        t_biattention_id=[6, 7, 8, 9, 10, 11],
    )


def export_layoutlmv3(cases):
    """LayoutLMv3-base with FUNSD's seven labels: 512 text and 197 picture tokens."""
    model = build_layoutlmv3()

    def run(seed, batch, length):
        return layoutlmv3.run(seed, batch, length, vocab=50265, side=224)

    for exporter, opset in EXPORTERS:
        cases.add(
            "layoutlmv3",
            exporter,
            opset,
            model,
            [run(1, 1, 512), run(2, 2, 512)],
            ["logits"],
            layoutlmv3.axes(sequence=False),
            name=name("layoutlmv3_base", exporter, opset),
        )
        cases.add(
            "layoutlmv3",
            exporter,
            opset,
            model,
            [run(3, 2, 512), run(4, 1, 512), run(5, 1, 77), run(6, 2, 200)],
            ["logits"],
            layoutlmv3.axes(),
            name=name("layoutlmv3_base", exporter, opset, "sequence"),
        )


def export_trocr(cases):
    """TrOCR-small with the 11318 characters of the Chinese model."""
    export_vision_encoder_decoder(
        cases,
        "trocr_small",
        build_trocr(),
        [trocr.encoder_run(1, 1, 384, 384), trocr.encoder_run(2, 2, 384, 384)],
    )


def export_vision_encoder_decoder(cases, base, model, pictures):
    """Encoder, decoder over a prefix, first step, step with cache, and the combined single step."""
    settings = model.config.decoder
    layers, heads = settings.decoder_layers, settings.decoder_attention_heads
    width, vocabulary = settings.d_model, settings.vocab_size
    with torch.no_grad():
        states = [
            model.encoder(pixel_values=torch.from_numpy(p["pixel_values"])).last_hidden_state.numpy() for p in pictures
        ]
    tokens = states[0].shape[1]
    generator = common.rng(7)

    def prefix(batch, length):
        ids = generator.integers(4, vocabulary, size=(batch, length))
        ids[:, 0] = 0
        return {"input_ids": ids.astype(np.int64), "encoder_hidden_states": states[batch - 1]}

    for exporter, opset in EXPORTERS:
        cases.add(
            "trocr",
            exporter,
            opset,
            trocr.Encoder(model),
            pictures,
            ["last_hidden_state", "pooler_output"],
            {"pixel_values": {0: "batch"}, "last_hidden_state": {0: "batch"}, "pooler_output": {0: "batch"}},
            name=name(base, exporter, opset, "encoder"),
        )
        cases.add(
            "trocr",
            exporter,
            opset,
            trocr.Decoder(model),
            [prefix(2, 5), prefix(1, 1), prefix(2, 20)],
            ["logits"],
            trocr.decoder_axes(),
            name=name(base, exporter, opset, "decoder"),
        )
        presents = trocr.past_names(layers, "present")
        axes = trocr.decoder_axes()
        for present in presents:
            axes[present] = {0: "batch", **({} if ".encoder." in present else {2: "sequence"})}
        cases.add(
            "trocr",
            exporter,
            opset,
            trocr.DecoderFirst(model),
            [prefix(2, 3), prefix(1, 1)],
            ["logits", *presents],
            axes,
            name=name(base, exporter, opset, "decoder_first"),
        )
        cases.add(
            "trocr",
            exporter,
            opset,
            trocr.DecoderWithPast(model),
            [
                trocr.past_run(8, 2, 10, tokens, layers, heads, width // heads, vocabulary),
                trocr.past_run(9, 1, 1, tokens, layers, heads, width // heads, vocabulary),
            ],
            ["logits", *trocr.past_names(layers, "present", cross=False)],
            trocr.past_axes(layers),
            name=name(base, exporter, opset, "decoder_past"),
        )
        cases.add(
            "trocr",
            exporter,
            opset,
            trocr.Combined(model),
            [dict(p, decoder_input_ids=np.zeros((p["pixel_values"].shape[0], 1), dtype=np.int64)) for p in pictures],
            ["generated_ids"],
            {"pixel_values": {0: "batch"}, "decoder_input_ids": {0: "batch"}, "generated_ids": {0: "batch"}},
            name=name(base, exporter, opset, "combined"),
        )


def export_ocr(cases, folder):
    """The project's own text recogniser with its real weights, widened to fp32."""
    model = VisionEncoderDecoderModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    pixels = np.load(folder / "golden.npz")["pixel_values"].astype(np.float32)
    export_vision_encoder_decoder(
        cases, "trocr_tiny_zh", model, [{"pixel_values": pixels[:1]}, {"pixel_values": pixels[:2]}]
    )


def export_uniformer(cases, official):
    """UniFormer-S; the graph with free picture size comes from the token-labelling file, which does not check sizes."""
    fixed = build_uniformer(official)
    module = uniformer.load(official, "labelling")
    module.layer_scale = False
    free = uniformer.seeded(module.UniFormer(**uniformer.small(**UNIFORMER_S)), 63)
    picture = uniformer.picture
    for exporter, opset in EXPORTERS:
        cases.add(
            "uniformer",
            exporter,
            opset,
            fixed,
            [picture(1, 1, 224, 224), picture(2, 2, 224, 224)],
            ["logits"],
            {"input": {0: "batch"}, "logits": {0: "batch"}},
            name=name("uniformer_s", exporter, opset),
        )
        cases.add(
            "uniformer",
            exporter,
            opset,
            free,
            [picture(3, 2, 224, 256), picture(4, 1, 224, 224), picture(5, 1, 384, 384), picture(6, 2, 192, 250)],
            ["logits"],
            {"input": {0: "batch", 2: "height", 3: "width"}, "logits": {0: "batch"}},
            name=name("uniformer_s", exporter, opset, "size"),
        )


def export_uniformer_backbone(cases, official):
    """Detection backbone S-h14 on a picture that is no multiple of the windows."""
    model = uniformer.detection(
        official,
        64,
        depth=[3, 4, 8, 3],
        embed_dim=[64, 128, 320, 512],
        head_dim=64,
        mlp_ratio=4,
        hybrid=True,
        window_size=14,
    )
    axes = {"input": {2: "height", 3: "width"}, **{m: {2: f"{m}_height", 3: f"{m}_width"} for m in uniformer.MAPS}}
    for exporter, opset in EXPORTERS:
        cases.add(
            "uniformer",
            exporter,
            opset,
            model,
            [uniformer.picture(1, 1, 256, 320), uniformer.picture(2, 1, 320, 416)],
            uniformer.MAPS,
            axes,
            name=name("uniformer_s_h14", exporter, opset),
        )


def export_vilbert(cases, official):
    """ViLBERT with six connections, 20 tokens and 100 regions."""
    model = vilbert.Grounding(build_vilbert(official))

    def run(seed, batch, tokens, regions):
        return vilbert.run(seed, batch, tokens, regions, vocab=30522, features=2048)

    same = [run(1, 2, 20, 100), run(2, 1, 20, 100)]
    sizes = [run(3, 2, 20, 100), run(4, 1, 13, 37), run(5, 2, 20, 101)]
    for exporter, opset in EXPORTERS:
        dynamo = exporter == common.DYNAMO
        fit = vilbert.float_mask if dynamo else list
        cases.add(
            "vilbert",
            exporter,
            opset,
            model,
            fit(same),
            ["vision_logit"],
            vilbert.axes(["vision_logit"]),
            name=name("vilbert", exporter, opset),
            external=dynamo,
        )
        cases.add(
            "vilbert",
            exporter,
            opset,
            model,
            fit(sizes),
            ["vision_logit"],
            vilbert.axes(["vision_logit"], sizes=True),
            name=name("vilbert", exporter, opset, "sizes"),
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the exports")
    parser.add_argument("--only", default="", help="export the names that contain this text")
    parser.add_argument("--uniformer", type=pathlib.Path, help="checkout of Sense-X/UniFormer")
    parser.add_argument("--vilbert", type=pathlib.Path, help="checkout of facebookresearch/vilbert-multi-task")
    parser.add_argument("--ocr", type=pathlib.Path, help="folder of the text recogniser's checkpoint")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = common.Cases(options.out, options.only, full_size=True)
    jobs = [("layoutlmv3_base", export_layoutlmv3, ()), ("trocr_small", export_trocr, ())]
    if options.uniformer:
        jobs += [
            ("uniformer_s", export_uniformer, (options.uniformer,)),
            ("uniformer_s_h14", export_uniformer_backbone, (options.uniformer,)),
        ]
    if options.vilbert:
        jobs.append(("vilbert", export_vilbert, (options.vilbert,)))
    if options.ocr:
        jobs.append(("trocr_tiny_zh", export_ocr, (options.ocr,)))
    for base, job, arguments in jobs:
        if options.only in base or base in options.only:
            job(cases, *arguments)
            gc.collect()


if __name__ == "__main__":
    main()
