#!/usr/bin/env python3
"""Exports of small UniFormers built from the official code: classification, token labelling, light, detection."""

import functools

import torch

import common
from export.official import load_uniformer as load

LN = functools.partial(torch.nn.LayerNorm, eps=1e-6)


def small(**changes):
    """Constructor arguments of a narrow network with attention heads of width 8 in stages 3 and 4."""
    values = dict(
        depth=[1, 1, 2, 1],
        embed_dim=[8, 8, 16, 16],
        head_dim=8,
        mlp_ratio=2,
        qkv_bias=True,
        num_classes=11,
        norm_layer=LN,
    )
    values.update(changes)
    return values


def seeded(model, seed, gain=1.0):
    """Seeded weights; small patches and small statistics, so that each of the three epsilons matters."""
    common.randomise(model, seed, gain)
    factors = {
        "patch_embed?.proj.weight": 0.03,
        "patch_embed?.proj.bias": 0.03,
        "patch_embed?.norm.*": 0.03,
        "blocks*.pos_embed.bias": 0.03,
    }
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            factors.update({f"{name}.running_var": 0.01, f"{name}.running_mean": 0.1, f"{name}.weight": 0.1})
    return common.scale(model, factors)


def classification(official, seed, layer_scale=False, **changes):
    """UniFormer for classification; layer scale is a global of the official file, read while blocks are made."""
    module = load(official, "classification")
    module.layer_scale = layer_scale
    return seeded(module.UniFormer(**small(**changes)), seed)


def labelling(official, seed, layer_scale=False, **changes):
    """UniFormer with the auxiliary token-labelling head."""
    module = load(official, "labelling")
    module.layer_scale = layer_scale
    return seeded(module.UniFormer(**small(return_dense=True, mix_token=True, **changes)), seed)


def light(official, seed, runs, layer_scale=False, **changes):
    """UniFormer-light with token pruning, xxs in small.

    Its sort decides which tokens are kept: the first seed is taken whose scores differ clearly at every cut, so that
    rounding cannot change the set.
    """
    module = load(official, "light")
    module.layer_scale = layer_scale
    ratios = [[], [], [1, 0.5, 0.5], [0.5, 0.5]]
    values = small(depth=[1, 1, 3, 2], mlp_ratio=[3, 3, 3, 3], conv_stem=True, prune_ratio=ratios, trade_off=ratios)
    values.update(changes)
    for attempt in range(1000):
        model = seeded(module.UniFormer_Light(**values), seed + 1000 * attempt, gain=1.5)
        if all(smallest_gap(model, run) > 0.01 for run in runs):
            return model
    raise RuntimeError("no seed separates the scores")


def smallest_gap(model, run):
    """Smallest relative difference between the last score kept and the first one dropped."""
    gaps = []
    sort = torch.argsort

    def recording(values, *args, **kwargs):
        order = sort(values, *args, **kwargs)
        if kwargs.get("descending"):
            ranked = torch.gather(values, 1, order)
            cut = values.shape[1] // 2
            gaps.append(((ranked[:, cut - 1] - ranked[:, cut]) / ranked[:, cut]).min().item())
        return order

    torch.argsort = recording
    try:
        common.reference(model, run)
    finally:
        torch.argsort = sort
    return min(gaps)


def detection(official, seed, **changes):
    """Detection backbone: four maps, each with its own LayerNorm."""
    module = load(official, "detection")
    values = small(**changes)
    values["layers"] = values.pop("depth")
    return seeded(module.UniFormer(**values), seed)


def picture(seed, batch, height, width):
    """A batch of pictures, normalised roughly as ImageNet's are."""
    return {"input": common.pixels(common.rng(seed), batch, 3, height, width, mean=0.45, std=0.225)}


MAPS = ["stage1", "stage2", "stage3", "stage4"]


def main():
    options = common.arguments(__doc__, official="Sense-X/UniFormer")
    official = options.official
    cases = common.Cases(options.out, options.only)
    batch = {"input": {0: "batch"}, "logits": {0: "batch"}}
    free = {"input": {0: "batch", 2: "height", 3: "width"}, "logits": {0: "batch"}}
    ts, dynamo = common.TORCHSCRIPT, common.DYNAMO

    plain = classification(official, 31, img_size=64)
    square = [picture(2, 2, 64, 64), picture(1, 1, 64, 64)]
    about = "patch stem, BatchNorm and LayerNorm stages"
    for exporter, opset in ((ts, 11), (dynamo, 25)):
        cases.add("uniformer", exporter, opset, plain, square[1:], ["logits"], about=about)
    cases.add("uniformer", ts, 17, plain, square, ["logits"], batch, about=about)

    sizes = [picture(3, 1, 50, 38), picture(4, 2, 32, 48), picture(5, 1, 33, 47)]
    stem = classification(official, 32, layer_scale=True, conv_stem=True)
    for exporter, opset in ((ts, 11), (dynamo, 18)):
        cases.add(
            "uniformer",
            exporter,
            opset,
            stem,
            sizes,
            ["logits"],
            free,
            variant="convstem_ls",
            about="conv stem and layer scale, batch and picture size dynamic, sizes that stride 2 does not divide",
        )

    dense = labelling(official, 33, layer_scale=True)
    for exporter, opset in ((ts, 17), (dynamo, 18)):
        cases.add(
            "uniformer",
            exporter,
            opset,
            dense,
            [picture(6, 1, 64, 96), picture(7, 1, 64, 64)],
            ["logits"],
            free,
            variant="labelling",
            about="token labelling: head + 0.5 * maximum of aux_head, layer scale in all stages",
        )

    pictures = [picture(8, 2, 64, 64), picture(9, 1, 64, 64)]
    pruned = light(official, 34, pictures)
    about = "Evo-ViT pruning: sort by score, keep half, merge the rest"
    for exporter, opset in ((ts, 11), (dynamo, 18)):
        cases.add("uniformer", exporter, opset, pruned, pictures[1:], ["logits"], variant="light", about=about)
    cases.add("uniformer", ts, 17, pruned, pictures, ["logits"], batch, variant="light", about=about)
    cases.add(
        "uniformer",
        ts,
        17,
        light(official, 34, pictures, layer_scale=True),
        pictures[1:],
        ["logits"],
        variant="light_ls",
        about=about + ", layer scale",
    )

    # the official window_reverse computes the batch as a Python integer, so both exporters burn it in
    maps = {"input": {2: "height", 3: "width"}, **{name: {2: f"{name}_height", 3: f"{name}_width"} for name in MAPS}}
    hybrid = detection(official, 35, depth=[1, 1, 4, 1], hybrid=True, window_size=4)
    odd = [picture(10, 1, 80, 48), picture(11, 1, 48, 112), picture(12, 1, 64, 64)]
    cases.add(
        "uniformer_backbone",
        ts,
        11,
        hybrid,
        odd[:1],
        MAPS,
        variant="hybrid",
        about="three windowed blocks and a global one; 5 x 3 map in windows of 4, padded right and bottom",
    )
    for exporter, opset in ((ts, 17), (dynamo, 18)):
        cases.add(
            "uniformer_backbone",
            exporter,
            opset,
            hybrid,
            odd,
            MAPS,
            maps,
            variant="hybrid",
            about="as static, height and width dynamic; the batch is burnt in",
        )
    windows = detection(official, 36, depth=[1, 1, 1, 1], embed_dim=[8, 8, 8, 8], windows=True, window_size=14)
    cases.add(
        "uniformer_backbone",
        ts,
        17,
        windows,
        [picture(13, 1, 32, 256)],
        MAPS,
        variant="windows14",
        about="windows of 14 on a 2 x 16 map: one row, two columns, padded to 14 x 28",
    )


if __name__ == "__main__":
    main()
