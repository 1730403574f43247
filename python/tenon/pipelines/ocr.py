# SPDX-License-Identifier: Apache-2.0
"""Text lines: pictures in, text out.

    from tenon.pipelines import ocr
    reader = ocr()                      # the model that comes with Tenon, or a checkpoint, or a plan
    for line in reader(["line1.png", "line2.png"]):
        print(line.text, line.confidence)
"""
from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Sequence

import numpy as np

from .. import _core, _options, errors
from ._common import load_image, model_folder


@dataclass
class Character:
    """One token that made text, and its probability."""

    text: str
    confidence: float


@dataclass
class Line:
    """One picture's text.

    Attributes:
        text: what was read; empty when the confidence is below the reader's least: a recogniser always answers, even to a blank picture.
        confidence: geometric mean of the probabilities of all tokens, 0 to 1.
        characters: each with its probability.
        read: what was read, whatever its confidence.
    """

    text: str
    confidence: float
    characters: "list[Character]" = field(repr=False)
    read: str = field(repr=False, default="")


def default_model() -> str:
    """The folder of the model that comes with Tenon."""
    return model_folder("trocr-tiny-zh")


class TextReader:
    """Reads pictures of text lines. Safe from several threads, which take turns.

    Args:
        model: a checkpoint folder or a plan; None: the model that comes with Tenon.
        threads: 0: one a core.
        batch: pictures read at once.
        min_confidence: lines below it come out empty; None: the model's.
        options: of :func:`tenon.build` (device, precision, shapes, ...), and cache, as in InferenceSession.
    """

    def __init__(self, model: Any = None, *, threads: int = 0, batch: int = 8, min_confidence: "float | None" = None, cache: Any = None, progress: Any = None,
                 **options: Any) -> None:
        if batch < 1:
            raise errors.fail("argument", f"batch is {batch}; 1 or more is possible", field="batch")
        self._plan = _options.open_source(default_model() if model is None else model, options, progress=progress, cache=cache)
        self._ocr = _core.Ocr(self._plan, threads)
        self._lock = threading.Lock()
        self.batch = batch
        self.min_confidence = self._ocr.min_confidence() if min_confidence is None else float(min_confidence)

    def __call__(self, images: Any, *, max_length: int = 0, num_beams: int = 0) -> "list[Line] | Line":
        """Reads a picture, or a list of them (see :func:`load_image`). max_length: tokens a line; num_beams: 1 is greedy; 0: the model's."""
        if not isinstance(images, (list, tuple)):
            return self.read([images], max_length=max_length, num_beams=num_beams)[0]
        return self.read(images, max_length=max_length, num_beams=num_beams)

    def read(self, images: "Sequence[Any]", *, max_length: int = 0, num_beams: int = 0) -> "list[Line]":
        """As calling the reader, always with a list."""
        lines: "list[Line]" = []
        for at in range(0, len(images), self.batch):
            arrays = [load_image(i) for i in images[at:at + self.batch]]
            with self._lock:
                rows, _, _ = self._ocr.read(arrays, max_length=max_length, num_beams=num_beams)
            for text, confidence, characters in rows:
                keep = confidence >= self.min_confidence
                lines.append(Line(text if keep else "", confidence, [Character(*c) for c in characters], text))
        return lines

    def preprocess(self, image: Any) -> np.ndarray:
        """The model's input for a picture: float32 [3, height, width]."""
        return self._ocr.preprocess(load_image(image))


def ocr(model: Any = None, **options: Any) -> TextReader:
    """A :class:`TextReader`."""
    return TextReader(model, **options)
