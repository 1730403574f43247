# SPDX-License-Identifier: Apache-2.0
"""The four models in PyTorch, as tools/export/full_size.py builds them: same sizes, same seeds, so the same weights.

Variants of the attention: "stock" runs the code as it is published; "sdpa" calls torch's scaled_dot_product_attention instead, written the way
that serves it best (LayoutLMv3's bias is summed once for all layers, its rows padded to a multiple of 8). For transformers' DeiT encoder both
are options of the library. "channels_last" is "sdpa" with PyTorch's NHWC memory format, for UniFormer only.
"""
import pathlib
import sys

import torch
import torch.nn.functional as F
from transformers.modeling_outputs import BaseModelOutput

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "export"))

import common  # noqa: E402
import layoutlmv3  # noqa: E402
import trocr  # noqa: E402

VARIANTS = {
    "layoutlmv3": ("stock", "sdpa"),
    "trocr": ("sdpa",),
    "uniformer": ("stock", "sdpa", "channels_last"),
    "vilbert": ("stock", "sdpa"),
}
FIRST = {"layoutlmv3": "input_ids", "trocr": "pixel_values", "uniformer": "input", "vilbert": "question"}


def stand_in_for_timm():
    """What UniFormer's file takes of timm; none of it changes the numbers of a forward pass."""

    class DropPath(torch.nn.Identity):
        """Stochastic depth, which inference leaves out."""

        def __init__(self, *_):
            super().__init__()

    common.stub("timm.models.vision_transformer")._cfg = dict
    common.stub("timm.models.registry").register_model = lambda function: function
    layers = common.stub("timm.models.layers")
    layers.trunc_normal_ = torch.nn.init.trunc_normal_
    layers.DropPath = DropPath
    layers.to_2tuple = lambda x: x if isinstance(x, tuple) else (x, x)


# ---- LayoutLMv3 ------------------------------------------------------------------------------------------------------


def layoutlmv3_attention(self, hidden_states, attention_mask=None, rel_pos=None, rel_2d_pos=None, **_):
    """Self attention over the bias that layoutlmv3_encoder has summed."""
    batch, tokens, _ = hidden_states.shape
    shape = (batch, tokens, self.num_attention_heads, self.attention_head_size)
    q, k, v = (linear(hidden_states).view(shape).transpose(1, 2) for linear in (self.query, self.key, self.value))
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
    return context.transpose(1, 2).reshape(batch, tokens, -1), None


def layoutlmv3_encoder(self, hidden_states, bbox=None, attention_mask=None, position_ids=None, **_):
    """The encoder with one bias for all layers; its rows are padded, or torch would copy it in every layer."""
    scale = (hidden_states.shape[-1] // self.config.num_attention_heads) ** -0.5
    bias = (self._cal_1d_pos_emb(position_ids) + self._cal_2d_pos_emb(bbox)) * scale
    if attention_mask is not None:
        bias = bias + attention_mask
    tokens = bias.shape[-1]
    bias = F.pad(bias, (0, -tokens % 8))[..., :tokens]
    for layer in self.layer:
        hidden_states = layer(hidden_states, bias)
        hidden_states = hidden_states[0] if isinstance(hidden_states, tuple) else hidden_states
    return BaseModelOutput(last_hidden_state=hidden_states)


def build_layoutlmv3(_):
    """LayoutLMv3-base with FUNSD's seven labels."""
    from transformers.models.layoutlmv3 import modeling_layoutlmv3 as official

    model = layoutlmv3.build(
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
    return model, [(official.LayoutLMv3SelfAttention, layoutlmv3_attention), (official.LayoutLMv3Encoder, layoutlmv3_encoder)]


# ---- TrOCR -----------------------------------------------------------------------------------------------------------


def trocr_small():
    """TrOCR-small with the 11318 characters of the Chinese model; the encoder uses torch's fused attention."""
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
    return trocr.build(62, encoder, decoder, attention="sdpa")


def build_trocr(_):
    """Encoder and one decoder step in one module."""
    return trocr.Combined(trocr_small()).eval(), []


# ---- UniFormer -------------------------------------------------------------------------------------------------------


def uniformer_attention(self, x):
    """UniFormer's attention block."""
    batch, tokens, width = x.shape
    qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
    context = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], scale=self.scale)
    return self.proj(context.transpose(1, 2).reshape(batch, tokens, width))


def build_uniformer(options):
    """UniFormer-S for pictures of 224 x 224."""
    if options.uniformer is None:
        raise RuntimeError("--uniformer is missing: a checkout of Sense-X/UniFormer")
    stand_in_for_timm()
    import uniformer

    model = uniformer.classification(
        options.uniformer, 63, img_size=224, depth=[3, 4, 8, 3], embed_dim=[64, 128, 320, 512], head_dim=64, mlp_ratio=4, num_classes=1000
    )
    attention = next(type(m) for m in model.modules() if type(m).__name__ == "Attention")
    return model, [(attention, uniformer_attention)]


# ---- ViLBERT ---------------------------------------------------------------------------------------------------------


def vilbert_attention(self, hidden_states, attention_mask, *_):
    """Self attention of the text and of the picture stream."""
    q, k, v = (self.transpose_for_scores(linear(hidden_states)) for linear in (self.query, self.key, self.value))
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
    return context.transpose(1, 2).flatten(2), None


def vilbert_connection(self, input_tensor1, attention_mask1, input_tensor2, attention_mask2, *_, **__):
    """Text asks the picture, and the picture asks the text."""
    first = [self.transpose_for_scores(linear(input_tensor1)) for linear in (self.query1, self.key1, self.value1)]
    second = [self.transpose_for_scores(linear(input_tensor2)) for linear in (self.query2, self.key2, self.value2)]
    context1 = F.scaled_dot_product_attention(second[0], first[1], first[2], attn_mask=attention_mask1)
    context2 = F.scaled_dot_product_attention(first[0], second[1], second[2], attn_mask=attention_mask2)
    return context1.transpose(1, 2).flatten(2), context2.transpose(1, 2).flatten(2), None


class Grounding(torch.nn.Module):
    """RefCOCO+ scores without the heads of other tasks, which the published forward pass computes and nobody reads."""

    def __init__(self, model):
        super().__init__()
        self.bert = model.bert
        self.vision_logit = model.vision_logit

    def forward(self, question, features, spatials, segment_ids, input_mask, image_mask):
        # given here, because the published code would make it on the host and copy it in every run
        both = features.new_zeros(features.shape[0], features.shape[1], question.shape[1])
        picture = self.bert(question, features, spatials, segment_ids, input_mask, image_mask, both)[1]
        scores = self.vision_logit(picture)
        return scores + ((1.0 - image_mask) * -10000.0).unsqueeze(2).to(scores.dtype)


def build_vilbert(options):
    """ViLBERT with six connections."""
    if options.vilbert is None:
        raise RuntimeError("--vilbert is missing: a checkout of facebookresearch/vilbert-multi-task")
    import vilbert

    model = vilbert.build(
        options.vilbert,
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
    official = sys.modules["official_vilbert.vilbert"]
    patches = [
        (official.BertSelfAttention, vilbert_attention),
        (official.BertImageSelfAttention, vilbert_attention),
        (official.BertBiAttention, vilbert_connection),
    ]
    return Grounding(model).eval(), patches


BUILDERS = {"layoutlmv3": build_layoutlmv3, "trocr": build_trocr, "uniformer": build_uniformer, "vilbert": build_vilbert}


class Model:
    """A module in fp32 on the host, and the switch between its variants."""

    def __init__(self, name, options):
        self.name = name
        self.module, patches = BUILDERS[name](options)
        self.patches = [(cls, cls.forward, forward) for cls, forward in patches]

    def select(self, variant):
        """Makes all modules of the process use a variant of the attention."""
        for cls, stock, fused in self.patches:
            cls.forward = stock if variant == "stock" else fused
