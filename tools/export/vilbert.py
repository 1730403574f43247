#!/usr/bin/env python3
"""Exports of a small ViLBERT built from the official code (multi-task, or the older beta release)."""

import inspect

import numpy as np
import torch

import common
from export.official import VILBERT_BETA_HEADS as BETA_HEADS
from export.official import VILBERT_HEADS as HEADS
from export.official import VILBERT_INPUTS as INPUTS
from export.official import AllHeads, Grounding, float_mask
from export.official import load_vilbert as load
from export.official import vilbert_axes as axes


def config(module, **changes):
    """Three text layers, two picture layers, two connections; three widths, so that no two can be confused."""
    values = dict(
        vocab_size_or_config_json_file=60,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        type_vocab_size=2,
        v_feature_size=20,
        v_target_size=13,
        v_hidden_size=24,
        v_num_hidden_layers=2,
        v_num_attention_heads=3,
        v_intermediate_size=28,
        bi_hidden_size=24,
        bi_num_attention_heads=2,
        v_biattention_id=[0, 1],
        t_biattention_id=[1, 2],
        fast_mode=True,
        with_coattention=True,
        fusion_method="mul",
    )
    values.update(changes)
    known = inspect.signature(module.BertConfig.__init__).parameters
    result = module.BertConfig(**{name: value for name, value in values.items() if name in known})
    for name, value in values.items():  # the older release reads some settings that its constructor does not take
        if not hasattr(result, name):
            setattr(result, name, value)
    return result


def build(official, seed=41, **changes):
    """VILBertForVLTasks with seeded weights; the answer heads get few answers, or they would be all of the file."""
    module = load(official)
    torch.manual_seed(seed)
    settings = config(module, **changes)
    # the beta release takes the answers' number, multi-task has 3129 and 1533 in its text
    model = module.VILBertForVLTasks(settings, num_labels=17)
    narrow = settings.v_feature_size < 2048
    width = settings.bi_hidden_size
    if narrow:
        for name, answers in (("vil_prediction", 17), ("vil_prediction_gqa", 9)):
            if hasattr(model, name):
                setattr(model, name, module.SimpleClassifier(width, width * 2, answers, 0.5))
    common.randomise(model, seed)
    return common.scale(model, {"*embeddings.*_embeddings.*": 0.02})


def run(seed, batch, tokens, regions, vocab=60, features=20, task=False):
    """Padded phrases and region lists of different lengths; region 0 is the mean of the others, as in the reader."""
    generator = common.rng(seed)
    question = np.zeros((batch, tokens), dtype=np.int64)
    input_mask = np.zeros((batch, tokens), dtype=np.int64)
    image_mask = np.zeros((batch, regions), dtype=np.float32)
    rows = np.zeros((batch, regions, features), dtype=np.float32)
    places = np.zeros((batch, regions, 5), dtype=np.float32)
    for b in range(batch):
        words = max(2, tokens - 3 * b)
        count = max(2, regions - 4 * b)
        question[b, :words] = generator.integers(1, vocab, size=words)
        input_mask[b, :words] = 1
        image_mask[b, :count] = 1
        rows[b, 1:count] = np.maximum(generator.standard_normal((count - 1, features)), 0)
        rows[b, 0] = rows[b, 1:count].sum(0) / (count - 1)
        corner = generator.random((count - 1, 2)) * 0.7
        far = corner + generator.random((count - 1, 2)) * 0.3
        places[b, 1:count] = np.concatenate([corner, far, np.prod(far - corner, axis=1, keepdims=True)], axis=1)
        places[b, 0] = (0, 0, 1, 1, 1)
    segments = np.zeros_like(question)
    segments[:, tokens // 2 :] = 1
    result = dict(zip(INPUTS, (question, rows, places, segments, input_mask, image_mask.astype(np.int64))))
    if task:
        result["task_ids"] = np.full((batch, 1), 10, dtype=np.int64)
    return result


class Exports:
    """Cases of one model; the dynamo exporter gets the runs with the fp32 mask."""

    def __init__(self, cases):
        self.cases = cases

    def add(self, arch, exporter, opset, model, runs, *args, **kwargs):
        if exporter == common.DYNAMO:
            runs = float_mask(runs)
            kwargs["about"] += "; image_mask is fp32"
        return self.cases.add(arch, exporter, opset, model, runs, *args, **kwargs)


def main():
    def more(parser):
        parser.add_argument("--beta", action="store_true", help="the checkout is jiasenlu/vilbert_beta")

    options = common.arguments(__doc__, official="facebookresearch/vilbert-multi-task", more=more)
    cases = Exports(common.Cases(options.out, options.only))
    ts, dynamo = common.TORCHSCRIPT, common.DYNAMO
    scores = ["vision_logit"]
    if options.beta:
        model = build(options.official, 43)
        runs = [run(1, 4, 8, 6), run(2, 2, 8, 6)]
        for exporter, opset in ((ts, 17), (dynamo, 18)):
            cases.add(
                "vilbert_beta",
                exporter,
                opset,
                AllHeads(model),
                runs[:1],
                list(BETA_HEADS),
                variant="heads",
                about="beta release, all heads: weight-normalised classifiers",
            )
        return
    model = build(options.official)
    runs = [run(1, 2, 20, 11), run(2, 3, 20, 11), run(3, 1, 20, 11)]
    about = "two streams, two connections, 20 tokens + 11 regions, vision_logit only (the rest of the heads is dead)"
    cases.add("vilbert", ts, 11, Grounding(model), runs[:1], scores, about=about)
    for exporter, opset in ((ts, 13), (dynamo, 25)):
        cases.add("vilbert", exporter, opset, Grounding(model), runs, scores, axes(scores), about=about)
    sizes = [run(4, 2, 20, 11), run(5, 3, 9, 15), run(6, 1, 13, 4)]
    for exporter, opset in ((ts, 17), (dynamo, 18)):
        cases.add(
            "vilbert",
            exporter,
            opset,
            Grounding(model),
            sizes,
            scores,
            axes(scores, sizes=True),
            variant="sizes",
            about="batch, tokens and regions dynamic",
        )
    pairs = [run(7, 4, 8, 6), run(8, 2, 8, 6)]
    cases.add(
        "vilbert",
        ts,
        17,
        AllHeads(model),
        pairs,
        list(HEADS),
        axes(HEADS),
        variant="heads",
        about="multi-task release, all heads, batch of pairs dynamic",
    )
    tokens = build(options.official, 42, task_specific_tokens=True, fast_mode=False)
    tasks = [run(9, 2, 20, 11, task=True), run(10, 3, 20, 11, task=True)]
    for exporter, opset in ((ts, 17), (dynamo, 18)):
        cases.add(
            "vilbert",
            exporter,
            opset,
            Grounding(tokens),
            tasks,
            scores,
            axes(scores, task=True),
            variant="task",
            about="task token inserted after the first one, fast_mode off",
        )


if __name__ == "__main__":
    main()
