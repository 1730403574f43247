#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ViLBERT in plain PyTorch with the parameter names of the authors' checkpoints (VILBertForVLTasks), as far as grounding needs
it: embeddings, two streams with co-attention, vision_logit.  Poolers and the heads of other tasks are left out.

    net(ids [B,L], features [B,R,F], locations [B,R,5], text_mask [B,L], region_mask [B,R]) -> logits [B,R]

CONFIG has the fields of the authors' bert_base_6layer_6conect.json with small numbers; WordPiece is BERT's, lower case.
"""
import re

import torch
import torch.nn as nn
import torch.nn.functional as F

import scenes

LENGTH = 20
CONFIG = {
    "architectures": ["VILBertForVLTasks"],
    "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 128, "initializer_range": 0.02,
    "intermediate_size": 512, "max_position_embeddings": 64, "num_attention_heads": 4, "num_hidden_layers": 6, "type_vocab_size": 2, "vocab_size": 0,
    "v_feature_size": scenes.FEATURES, "v_target_size": 16, "v_hidden_size": 192, "v_num_hidden_layers": 4, "v_num_attention_heads": 6,
    "v_intermediate_size": 192, "bi_hidden_size": 192, "bi_num_attention_heads": 6, "bi_intermediate_size": 192, "bi_attention_type": 1,
    "v_attention_probs_dropout_prob": 0.1, "v_hidden_act": "gelu", "v_hidden_dropout_prob": 0.1, "v_initializer_range": 0.02,
    "v_biattention_id": [0, 1, 2, 3], "t_biattention_id": [2, 3, 4, 5], "pooling_method": "mul",
}


# ---- text
def vocabulary():
    """[PAD] first, the words that scenes.py can say, then single characters and their continuations for all others."""
    said = [*scenes.COLOURS, "grey", *scenes.KINDS, *sum(scenes.ALSO.values(), []), *sum(scenes.SIZES.values(), []), "one", "shape", "thing", "object", "the"]
    for table in (scenes.PLACES, scenes.EXTREMES, scenes.RELATIONS):
        said += " ".join(sum(table.values(), [])).replace("{}", "").split()
    chars = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = sorted(set(said))
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(c for c in chars + ".,;:!?'\"()-&/" if c not in words), *("##" + c for c in chars)]


class WordPiece:
    """ASCII is enough for what scenes.py says."""

    def __init__(self, tokens):
        self.ids = {t: i for i, t in enumerate(tokens)}

    def pieces(self, word):
        out, at = [], 0
        while at < len(word):
            for end in range(len(word), at, -1):
                t = ("##" if at else "") + word[at:end]
                if t in self.ids:
                    break
            else:
                return [self.ids["[UNK]"]]
            out.append(self.ids[t])
            at = end
        return out

    def __call__(self, text):
        """[CLS] pieces [SEP], at most LENGTH; padded with 0"""
        words = re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())
        ids = [p for w in words for p in self.pieces(w)][:LENGTH - 2]
        ids = [self.ids["[CLS]"], *ids, self.ids["[SEP]"]]
        return ids + [0] * (LENGTH - len(ids))


# ---- network
class Box(nn.Module):
    """A bag of submodules; gives the checkpoint's names."""

    def __init__(self, /, **kw):
        super().__init__()
        for k, v in kw.items():
            setattr(self, k, v)


def norm(n):
    return nn.LayerNorm(n, eps=1e-12)


def layer(width, inner):
    lin = nn.Linear
    return Box(attention=Box(**{"self": Box(query=lin(width, width), key=lin(width, width), value=lin(width, width))},
                             output=Box(dense=lin(width, width), LayerNorm=norm(width))),
               intermediate=Box(dense=lin(width, inner)), output=Box(dense=lin(inner, width), LayerNorm=norm(width)))


class Net(nn.Module):
    def __init__(self, c, dropout=None):
        super().__init__()
        self.c = c
        t, v, b, lin = c["hidden_size"], c["v_hidden_size"], c["bi_hidden_size"], nn.Linear
        self.drop = nn.Dropout(c["hidden_dropout_prob"] if dropout is None else dropout)
        co = lambda: Box(biattention=Box(query1=lin(v, b), key1=lin(v, b), value1=lin(v, b), query2=lin(t, b), key2=lin(t, b), value2=lin(t, b)),
                         biOutput=Box(dense1=lin(b, v), LayerNorm1=norm(v), q_dense1=lin(b, v), dense2=lin(b, t), LayerNorm2=norm(t), q_dense2=lin(b, t)),
                         v_intermediate=Box(dense=lin(v, c["v_intermediate_size"])), v_output=Box(dense=lin(c["v_intermediate_size"], v), LayerNorm=norm(v)),
                         t_intermediate=Box(dense=lin(t, c["intermediate_size"])), t_output=Box(dense=lin(c["intermediate_size"], t), LayerNorm=norm(t)))
        many = lambda n, make: nn.ModuleList([make() for _ in range(n)])
        self.bert = Box(
            embeddings=Box(word_embeddings=nn.Embedding(c["vocab_size"], t, padding_idx=0), position_embeddings=nn.Embedding(c["max_position_embeddings"], t),
                           token_type_embeddings=nn.Embedding(c["type_vocab_size"], t), LayerNorm=norm(t)),
            v_embeddings=Box(image_embeddings=lin(c["v_feature_size"], v), image_location_embeddings=lin(5, v), LayerNorm=norm(v)),
            encoder=Box(layer=many(c["num_hidden_layers"], lambda: layer(t, c["intermediate_size"])),
                        v_layer=many(c["v_num_hidden_layers"], lambda: layer(v, c["v_intermediate_size"])), c_layer=many(len(c["v_biattention_id"]), co)))
        self.vision_logit = lin(v, 1)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=c["initializer_range"])
            if isinstance(m, nn.Linear):
                nn.init.zeros_(m.bias)

    @staticmethod
    def attend(q, k, v, heads, mask):
        split = lambda x: x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask.to(q.dtype))
        return y.transpose(1, 2).flatten(2)

    def feed(self, x, inner, out):
        return out.LayerNorm(x + self.drop(out.dense(F.gelu(inner.dense(x)))))

    def block(self, x, l, heads, mask):
        s = getattr(l.attention, "self")
        y = self.attend(s.query(x), s.key(x), s.value(x), heads, mask)
        x = l.attention.output.LayerNorm(x + self.drop(l.attention.output.dense(y)))
        return self.feed(x, l.intermediate, l.output)

    def cross(self, v, t, l, v_mask, t_mask):
        """Text asks the picture and the picture the text, both from what came in."""
        b, o, heads = l.biattention, l.biOutput, self.c["bi_num_attention_heads"]
        to_text = self.attend(b.query2(t), b.key1(v), b.value1(v), heads, v_mask)
        to_picture = self.attend(b.query1(v), b.key2(t), b.value2(t), heads, t_mask)
        v = o.LayerNorm1(v + self.drop(o.dense1(to_picture)))
        t = o.LayerNorm2(t + self.drop(o.dense2(to_text)))
        return self.feed(v, l.v_intermediate, l.v_output), self.feed(t, l.t_intermediate, l.t_output)

    def forward(self, ids, features, locations, text_mask, region_mask):
        c, e, ve, enc = self.c, self.bert.embeddings, self.bert.v_embeddings, self.bert.encoder
        t = e.word_embeddings(ids) + e.position_embeddings.weight[:ids.shape[1]] + e.token_type_embeddings.weight[0]
        t = self.drop(e.LayerNorm(t))
        v = self.drop(ve.LayerNorm(ve.image_embeddings(features) + ve.image_location_embeddings(locations)))
        bias = lambda m: ((1 - m.float()) * -10000.)[:, None, None]
        tm, vm, heads, v_heads = bias(text_mask), bias(region_mask), c["num_attention_heads"], c["v_num_attention_heads"]
        at_t = at_v = 0
        for i, (v_id, t_id) in enumerate(zip(c["v_biattention_id"], c["t_biattention_id"])):
            for l in enc.layer[at_t:t_id]:
                t = self.block(t, l, heads, tm)
            for l in enc.v_layer[at_v:v_id]:
                v = self.block(v, l, v_heads, vm)
            v, t = self.cross(v, t, enc.c_layer[i], vm, tm)
            at_t, at_v = t_id, v_id
        for l in enc.v_layer[at_v:]:
            v = self.block(v, l, v_heads, vm)
        # the text layers that are left do not reach vision_logit
        return self.vision_logit(self.drop(v)).squeeze(-1).float() + (1 - region_mask.float()) * -10000.
