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
from transformers import masking_utils
from transformers.modeling_outputs import BaseModelOutput

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "export"))

import common  # noqa: E402
import full_size  # noqa: E402
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


def float_mask(*args, dtype=torch.float32, allow_is_bidirectional_skip=False, allow_is_causal_skip=False, **kwargs):
    """transformers' mask of eager attention without its two visits to the host.

    The library's writes a constant that lies in pageable memory, which no CUDA graph can record, and asks whether all tokens are there, which
    waits for the device in every run. The numbers are the same.
    """
    keep = masking_utils.sdpa_mask(*args, allow_is_causal_skip=False, allow_is_bidirectional_skip=False, **kwargs)
    return torch.zeros(keep.shape, dtype=dtype, device=keep.device).masked_fill_(~keep, torch.finfo(dtype).min)


masking_utils.ALL_MASK_ATTENTION_FUNCTIONS["eager"] = float_mask


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

    return full_size.build_layoutlmv3(), [(official.LayoutLMv3SelfAttention, layoutlmv3_attention), (official.LayoutLMv3Encoder, layoutlmv3_encoder)]


# ---- TrOCR -----------------------------------------------------------------------------------------------------------


def trocr_small():
    """TrOCR-small whose encoder uses torch's fused attention; its decoder has only its own."""
    return full_size.build_trocr(attention="sdpa")


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
    model = full_size.build_uniformer(options.uniformer)
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
    model = full_size.build_vilbert(options.vilbert)
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
