# SPDX-License-Identifier: Apache-2.0
"""The official code of UniFormer (Sense-X/UniFormer) and ViLBERT (facebookresearch/vilbert-multi-task, jiasenlu/vilbert_beta), imported from checkouts."""
from __future__ import annotations

import importlib.util
import inspect
import sys

import numpy as np
import torch

from .torch_export import stub

VILBERT_INPUTS = ("question", "features", "spatials", "segment_ids", "input_mask", "image_mask")
VILBERT_HEADS = (
    "vil_prediction",
    "vil_prediction_gqa",
    "vil_logit",
    "vil_binary_prediction",
    "vil_tri_prediction",
    "vision_prediction",
    "vision_logit",
    "linguisic_prediction",
    "linguisic_logit",
)
VILBERT_BETA_HEADS = (
    "vil_prediction",
    "vil_logit",
    "vil_binary_prediction",
    "vision_prediction",
    "vision_logit",
    "linguisic_prediction",
    "linguisic_logit",
)


def load_uniformer(official, family):
    """Import one of the four official files; what they need of timm's old layout and of mmcv is replaced by stubs."""
    paths = {
        "classification": "image_classification/models/uniformer.py",
        "light": "image_classification/models/uniformer_light.py",
        "labelling": "image_classification/token_labeling/tlt/models/uniformer.py",
        "detection": "object_detection/mmdet/models/backbones/uniformer.py",
    }
    stub("mmcv_custom").load_checkpoint = None
    stub("mmdet.utils").get_root_logger = None

    class Registry:
        """Stands for mmdet's registry."""

        @staticmethod
        def register_module():
            return lambda cls: cls

    stub("mmdet.models.builder").BACKBONES = Registry
    stub("mmdet.models.backbones")
    name = f"mmdet.models.backbones.{family}"  # the detection file imports ..builder
    spec = importlib.util.spec_from_file_location(name, official / paths[family])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_vilbert(official):
    """Import the official vilbert.py; packages that it needs for downloads and logs only are replaced by stubs."""
    stub("boto3")
    stub("botocore.exceptions").ClientError = Exception
    stub("tensorboardX").SummaryWriter = None
    stub("torch._six").inf = float("inf")
    try:
        import requests  # noqa: F401
    except ImportError:
        stub("requests")
    package = stub("official_vilbert")
    package.__path__ = [str(official / "vilbert")]
    for part in ("utils", "vilbert"):
        name = f"official_vilbert.{part}"
        spec = importlib.util.spec_from_file_location(name, official / "vilbert" / f"{part}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module


class Grounding(torch.nn.Module):
    """RefCOCO+ scores only."""

    variadic = 0  # all arguments are *tensors

    def __init__(self, model):
        super().__init__()
        self.model = model

    def result(self, question, features, spatials, segment_ids, input_mask, image_mask, task_ids=None):
        names = inspect.signature(self.model.forward).parameters
        extra = {"task_ids": task_ids} if task_ids is not None and "task_ids" in names else {}
        return self.model(question, features, spatials, segment_ids, input_mask, image_mask, **extra)

    def forward(self, *tensors):
        scores = [
            item for item in self.result(*tensors) if torch.is_tensor(item) and item.dim() == 3 and item.shape[-1] == 1
        ]
        return scores[0]  # vision_logit stands before linguisic_logit


class AllHeads(Grounding):
    """Every head; the batch must be even, since vil_binary_prediction takes pairs."""

    def forward(self, *tensors):
        return tuple(item for item in self.result(*tensors) if torch.is_tensor(item))


def float_mask(runs):
    """The same runs with image_mask in fp32: the dynamo exporter fails on 1.0 - integer mask."""
    return [dict(run, image_mask=run["image_mask"].astype(np.float32)) for run in runs]


def vilbert_axes(outputs, sizes=False, task=False):
    """Batch dynamic; tokens and regions where asked."""
    table = {name: {0: "batch"} for name in (*VILBERT_INPUTS, *outputs)}
    if task:
        table["task_ids"] = {0: "batch"}
    if sizes:
        for name in ("question", "segment_ids", "input_mask"):
            table[name][1] = "tokens"
        for name in ("features", "spatials", "image_mask", "vision_logit"):
            table[name][1] = "regions"
    return table
