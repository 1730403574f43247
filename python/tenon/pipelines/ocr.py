# SPDX-License-Identifier: Apache-2.0
"""Text lines: pictures in, text out.

    from tenon.pipelines import ocr
    reader = ocr()                      # the model that comes with Tenon, or a checkpoint, or a plan
    for line in reader(["line1.png", "line2.png"]):
        print(line.text, line.confidence)
"""
from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any, Sequence

import numpy as np

from .. import _core, _options, errors


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
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    real = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for path in (os.path.join(here, "share", "tenon", "models", "trocr-tiny-zh"), os.path.join(real, "..", "..", "models", "trocr-tiny-zh")):
        if os.path.isdir(path):
            return os.path.normpath(path)
    raise errors.fail("io", "the default model is not installed with the package; name a checkpoint or a plan")


def load_image(source: Any) -> np.ndarray:
    """A picture as uint8 [height, width, 3]: a path or bytes of a PNG, JPEG or .npy, a PIL image, or an array uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4].

    Alpha is laid over white; the EXIF orientation of files is applied.
    """
    if isinstance(source, (str, os.PathLike)):
        return _core.image(os.fspath(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _core.image(source)
    if hasattr(source, "convert") and hasattr(source, "mode"):
        source = np.asarray(source.convert("RGBA" if "A" in source.mode or "transparency" in getattr(source, "info", {}) else "RGB"))
    a = np.asarray(source)
    if a.dtype != np.uint8 or a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (1, 3, 4)):
        raise errors.fail("type", f"a picture is an array uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], not {a.dtype}{list(a.shape)}", field="image")
    if a.ndim == 2:
        a = a[:, :, None]
    if a.shape[2] == 4:
        alpha = a[:, :, 3:].astype(np.uint32)
        a = ((a[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(a, (*a.shape[:2], 3)))


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
