# SPDX-License-Identifier: Apache-2.0
"""What the pipelines share: pictures from whatever holds them, models that come with Tenon, labels, pages."""
from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from .. import _core, errors


def model_folder(name: str) -> str:
    """The folder of a model that comes with Tenon, beside the package or in the source tree. NoSuchFile when it is not there."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    real = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for path in (os.path.join(here, "share", "tenon", "models", name), os.path.join(real, "..", "..", "models", name)):
        if os.path.isdir(path):
            return os.path.normpath(path)
    raise errors.fail("io", f"No such file: the model '{name}' is not installed with the package; name a checkpoint or a plan", file=name)


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


def save_image(image: Any, path: "str | os.PathLike[str]") -> None:
    """Writes a picture (see :func:`load_image`) as a PNG file, whole or not at all. FileError."""
    _core.save_png(load_image(image), os.fspath(path))


def is_many(images: Any) -> bool:
    """Whether pictures were given, not one: a list or tuple, or an array [N, H, W, 3]."""
    return isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim == 4)


def name_of(source: Any) -> "str | None":
    """The path that a picture was given as, or None."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else None


def title_of(source: Any) -> str:
    """What a page calls a picture."""
    name = name_of(source)
    return "picture" if name is None else os.path.basename(name)


def check_batch(batch: int) -> int:
    """1 to 4096."""
    if not 1 <= batch <= 4096:
        raise errors.fail("argument", f"batch is {batch}; 1 to 4096 are possible", field="batch")
    return int(batch)


@contextlib.contextmanager
def labels_file(labels: "str | os.PathLike[str] | Sequence[str]", classes: int = 0) -> "Iterator[str]":
    """A file of labels, a row a class: the one given, or one with the names given. classes: how many names there must be; 0: any number."""
    if isinstance(labels, (str, os.PathLike)):
        yield os.fspath(labels)
        return
    names = [str(name) for name in labels]
    if any("\n" in name or "\r" in name for name in names):
        raise errors.fail("argument", "a label has a line break in it", field="labels")
    if classes and len(names) != classes:
        raise errors.fail("data", f"labels has {len(names)} names; the model has {classes} classes", field="labels")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as f:
        f.write("".join(f"{name}\n" for name in names))
        f.flush()
        yield f.name


def page(save: "Callable[[str], Any]", path: "str | os.PathLike[str] | None") -> "str | None":
    """Lets save write a page: to path, whole or not at all; or, without one, gives its text."""
    if path is not None:
        save(os.fspath(path))
        return None
    with tempfile.TemporaryDirectory(prefix="tenon-") as folder:
        file = os.path.join(folder, "page.html")
        save(file)
        with open(file, encoding="utf-8") as f:
            return f.read()


def read_bytes(source: Any, what: str) -> "tuple[bytes, str]":
    """The bytes of a JSON document and its name: of a path, of bytes, or of an object that is to be one."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        try:
            with open(path, "rb") as f:
                return f.read(), path
        except OSError as e:
            raise errors.fail("io", f"'{path}' cannot be read: {e.strerror}", file=path, field=what) from e
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), what
    return json.dumps(source).encode(), what


def as_json(value: Any) -> str:
    """Compact JSON, as the command line prints it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
