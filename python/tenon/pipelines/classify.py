# SPDX-License-Identifier: Apache-2.0
"""Classes of pictures, as `tenon classify`.

    from tenon.pipelines import Classifier
    classifier = Classifier("uniformer_small_in1k.pth", head_dim=64, labels="imagenet.txt")
    for result in classifier(["cat.jpg", "dog.jpg"]):
        print(result.best.label, result.best.probability)
"""
from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Sequence

import numpy as np

from .. import _core, _options, errors
from ._common import as_json, check_batch, is_many, labels_file, load_image, name_of


@dataclass
class ClassScore:
    """A class of a picture.

    Attributes:
        index: the class's number, from 0.
        probability: softmax over all classes.
        label: its name, None where there are no names.
    """

    index: int
    probability: float
    label: "str | None" = None


@dataclass
class Classification:
    """One picture's classes, the likeliest first.

    Attributes:
        classes: as many as were asked for.
        source: what was classified, as it was given.
        milliseconds: preparation and model, a picture's share of its batch.
    """

    classes: "list[ClassScore]"
    source: Any = field(repr=False, default=None)
    milliseconds: float = field(repr=False, default=0.0)

    @property
    def best(self) -> ClassScore:
        return self.classes[0]

    def to_dict(self) -> "dict[str, Any]":
        """What `tenon classify --json` prints of a picture."""
        classes = [{"class": c.index, "probability": c.probability, **({} if c.label is None else {"label": c.label})} for c in self.classes]
        name = name_of(self.source)
        return {**({} if name is None else {"file": name}), "classes": classes, "milliseconds": self.milliseconds}

    def to_json(self) -> str:
        return as_json(self.to_dict())


@dataclass
class Accuracy:
    """How many pictures were classified as expected.

    Attributes:
        pictures: how many there were.
        top1, top5: share (0 to 1) whose class came first, or among the first five.
    """

    pictures: int
    top1: float
    top5: float


class Classifier:
    """Tells the classes of pictures. Safe from several threads, which take turns.

    Args:
        model: a plan, a checkpoint folder, a file of weights (.pth, .safetensors; then head_dim and image_size where they leave it open), or an .onnx file
            with one input float32 [batch, 3, height, width] and a first output float32 [batch, classes].
        labels: names of the classes: a text file, a line a class, or a sequence of names. None: those of the model's config.json, if any.
        threads: 0: one a core.
        batch: pictures classified at once.
        options: of :func:`tenon.build` (device, precision, shapes, head_dim, image_size, ...), and cache and progress, as in InferenceSession.

    Raises:
        RequestError: the model is no classifier of pictures. ModelError: the labels are not as many as classes, or the model is damaged. FileError.
    """

    def __init__(self, model: Any, *, labels: Any = None, threads: int = 0, batch: int = 8, cache: Any = None, progress: Any = None, **options: Any) -> None:
        self.batch = check_batch(batch)
        self._plan = _options.open_source(model, options, progress=progress, cache=cache)
        self._core = _core.Classifier(self._plan, threads)
        self._lock = threading.Lock()
        if labels is not None:
            with labels_file(labels, len(self._core.labels())) as path:
                self._core.read_labels(path)
        self.labels: "list[str | None]" = self._core.labels()

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.labels)

    @property
    def size(self) -> "tuple[int, int]":
        """Width and height of the picture that the model sees, pixels."""
        return self._core.size()

    def __call__(self, images: Any, *, top: int = 5) -> "Any":
        """Classifies a picture (gives a :class:`Classification`), or a list of them or an array [N, H, W, 3] (gives a list).

        images: see :func:`load_image`. top: classes of each, at most all.
        """
        return self.classify(images, top=top) if is_many(images) else self.classify([images], top=top)[0]

    def classify(self, images: "Sequence[Any]", *, top: int = 5) -> "list[Classification]":
        """As calling the classifier, always with a list. ArgumentError: top is below 1."""
        if top < 1:
            raise errors.fail("argument", f"top is {top}; 1 or more is possible", field="top")
        out: "list[Classification]" = []
        for at in range(0, len(images), self.batch):
            part = images[at:at + self.batch]
            arrays = [load_image(i) for i in part]
            with self._lock:
                rows, prepare, run = self._core.run(arrays, min(top, self.classes))
            out += [Classification([ClassScore(*c) for c in row], source, (prepare + run) / len(arrays)) for row, source in zip(rows, part)]
        return out

    def preprocess(self, image: Any) -> np.ndarray:
        """The model's input for a picture: float32 [3, height, width]."""
        return self._core.preprocess(load_image(image))

    def class_of(self, name: "int | str") -> int:
        """The number of a class by its number or its label. DATA as ModelError: there is no such class."""
        if isinstance(name, str) and name in self.labels:
            return self.labels.index(name)
        try:
            index = int(name)
        except ValueError:
            index = -1
        if not 0 <= index < self.classes:
            raise errors.fail("data", f"'{name}' is no class of the model: numbers are 0 to {self.classes - 1}" +
                              (", labels are such as '%s'" % self.labels[0] if self.labels[0] is not None else ""), field="truth")
        return index

    def evaluate(self, images: "Sequence[Any]", truth: "Sequence[int | str]") -> Accuracy:
        """Top-1 and top-5 accuracy over pictures; truth: the class of each, number or label."""
        if len(images) != len(truth) or len(images) == 0:
            raise errors.fail("argument", f"there are {len(images)} pictures and {len(truth)} classes expected; one each, and one at least", field="truth")
        expected = [self.class_of(t) for t in truth]
        first = five = 0
        for result, want in zip(self.classify(images, top=5), expected):
            found = [c.index for c in result.classes]
            first += found[0] == want
            five += want in found
        return Accuracy(len(images), first / len(images), five / len(images))
