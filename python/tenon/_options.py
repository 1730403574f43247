# SPDX-License-Identifier: Apache-2.0
"""Options of builds and sessions, and where a plan comes from: a file, a model, bytes."""
from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
import os
import re
import tempfile
import warnings
from typing import Any, Callable, Iterator, Mapping, Sequence

from . import _core, errors

logger = logging.getLogger("tenon")
MAGIC = b"TENONPLN"
Progress = Callable[[str, int, int], Any]

_LEVELS = {0: logging.ERROR, 2: logging.INFO, 3: logging.DEBUG}
_BUILD = ("shapes", "tune", "threads", "timing_cache", "cpu", "reference", "stop_after", "samples", "device", "precision", "target", "allow_cpu_steps",
          "buckets", "head_dim", "image_size", "config", "head", "attention", "score_threshold", "progress")


def _log(level: int, message: str) -> None:
    """Lines of the library: warnings become Python warnings, the rest goes to the logger "tenon"."""
    if level == 1:
        warnings.warn(message, errors.Warning, stacklevel=3)
    else:
        logger.log(_LEVELS.get(level, logging.DEBUG), "%s", message)


class _Bar:
    """Progress as a tqdm bar."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm  # type: ignore[import-untyped]
        except ImportError as e:
            raise errors.fail("argument", "progress=True needs the package tqdm; give a function (phase, done, total) instead", field="progress") from e
        self.tqdm: Any = tqdm
        self.bar: Any = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        if self.bar is None or self.bar.desc.rstrip(": ") != phase:
            self.close()
            self.bar = self.tqdm(total=total, desc=phase, unit="step")
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


@contextlib.contextmanager
def progress_of(progress: "Progress | bool | None") -> "Iterator[Progress | None]":
    """The callable that `progress` asks for; a bar is closed at the end."""
    if progress is True:
        bar = _Bar()
        try:
            yield bar
        finally:
            bar.close()
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise errors.fail("argument", f"progress must be a function (phase, done, total), True or None, not {type(progress).__name__}", field="progress")


def shapes_text(shapes: "str | Mapping[str, Any] | None") -> "str | None":
    """Ranges of symbols as the library wants them: {"batch": (1, 4, 8), "seq": 512} is "batch=1:4:8,seq=512"."""
    if shapes is None or isinstance(shapes, str):
        return shapes or None
    parts = []
    for symbol, value in shapes.items():
        numbers = [value] if isinstance(value, int) else list(value)
        if not 1 <= len(numbers) <= 3 or not all(isinstance(n, int) for n in numbers):
            raise errors.fail("argument", f"shapes[{symbol!r}] is {value!r}; give a number, (min, max) or (min, opt, max)", field="shapes")
        parts.append(f"{symbol}={':'.join(map(str, numbers))}")
    return ",".join(parts) or None


def buckets_text(buckets: "str | Mapping[str, Any] | None") -> "str | None":
    """Sizes of symbols as the library wants them: {"batch": (1, 4, 16)} is "batch=1:4:16"."""
    if buckets is None or isinstance(buckets, str):
        return buckets or None
    parts = []
    for symbol, value in buckets.items():
        numbers = [value] if isinstance(value, int) else list(value)
        if not numbers or not all(isinstance(n, int) for n in numbers):
            raise errors.fail("argument", f"buckets[{symbol!r}] is {value!r}; give sizes, as in (1, 4, 16)", field="buckets")
        parts.append(f"{symbol}={':'.join(map(str, numbers))}")
    return ",".join(parts) or None


def build_options(options: "Mapping[str, Any]") -> "dict[str, Any]":
    """Keyword arguments of :func:`tenon.build` as fields of TnBuildOptions."""
    unknown = [k for k in options if k not in _BUILD]
    if unknown:
        raise TypeError(f"unknown option '{unknown[0]}'; there are {', '.join(_BUILD)}")
    o = {k: v for k, v in options.items() if v is not None and k != "progress"}
    o["shapes"] = shapes_text(o.get("shapes"))
    o["buckets"] = buckets_text(o.get("buckets"))
    if "head" in o and not isinstance(o["head"], str):
        o["head"] = ",".join(o["head"])
    for key in ("timing_cache", "config"):
        if key in o:
            o[key] = os.fspath(o[key])
    if "samples" in o and not isinstance(o["samples"], dict):
        o["samples"] = dict(o["samples"])
    o["log"] = _log
    return o


def is_plan(source: Any) -> bool:
    """True when a path or bytes begin as a plan does."""
    if isinstance(source, (str, os.PathLike)):
        try:
            with open(source, "rb") as f:
                return f.read(len(MAGIC)) == MAGIC
        except (IsADirectoryError, FileNotFoundError, PermissionError, OSError):
            return False
    return bytes(memoryview(source)[:len(MAGIC)]) == MAGIC


def check_source(source: Any) -> "str | memoryview":
    """A path as str, or bytes; errors for everything else."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not os.path.exists(path):
            raise errors.fail("io", f"'{path}' cannot be opened: No such file or directory", file=path)
        return path
    if hasattr(source, "SerializeToString"):
        source = source.SerializeToString()
    try:
        return memoryview(source).cast("B")
    except TypeError:
        raise errors.fail("type", f"a model is a path, its bytes or an onnx.ModelProto, not {type(source).__name__}", field="model") from None


@contextlib.contextmanager
def model_path(source: "str | memoryview") -> "Iterator[str]":
    """A path under which the library can map the model: bytes lie in an anonymous file meanwhile."""
    if isinstance(source, str):
        yield source
        return
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tenon-model")
        try:
            view = source
            while len(view):
                view = view[os.write(fd, view):]
            try:
                yield f"/proc/self/fd/{fd}"
            except errors.Error as e:
                e.args = (str(e).replace(f"/proc/self/fd/{fd}", "the model"), *e.args[1:])
                e.file = None
                raise
        finally:
            os.close(fd)
    else:
        with tempfile.NamedTemporaryFile(suffix=".onnx") as f:
            f.write(source)
            f.flush()
            yield f.name


def build_memory(source: "str | memoryview", options: "Mapping[str, Any]", progress: "Progress | bool | None" = None) -> "_core.Memory":
    """A plan in memory."""
    o = build_options(options)
    with model_path(source) as path, progress_of(progress) as call:
        memory = _core.build(path, None, {**o, "progress": call})
    assert memory is not None  # no path was given
    return memory


# ---- a folder of plans that were built before ----

_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


def _external_files(path: str) -> "list[str]":
    """Files beside an ONNX model that hold its weights: strings that follow the key "location" in its bytes."""
    found = set()
    with open(path, "rb") as f:
        if os.fstat(f.fileno()).st_size == 0:
            return []
        with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
            for match in _LOCATION.finditer(m):
                name = m[match.end():match.end() + match.group(1)[0]]
                with contextlib.suppress(ValueError, UnicodeDecodeError):
                    file = os.path.join(os.path.dirname(path), name.decode())
                    if os.path.isfile(file):
                        found.add(file)
    return sorted(found)


def cache_key(source: "str | memoryview", options: "Mapping[str, Any]") -> str:
    """Name of the plan of a model and options: contents of the model, path, size and time of other files, everything that decides what is built."""
    h = hashlib.blake2b(digest_size=16)
    h.update(f"{_core.version}|{_core.__file__}|{os.stat(_core.__file__).st_mtime_ns}".encode())
    for key in sorted(options):
        if key not in ("log", "progress", "samples"):
            h.update(f"|{key}={options[key]!r}".encode())
    for name, array in sorted((options.get("samples") or {}).items()):
        view = memoryview(array)
        h.update(f"|{name}{view.shape}{view.format}".encode() + view.tobytes())
    files: "Sequence[str]" = []
    if options.get("config"):
        with open(options["config"], "rb") as f:
            h.update(f.read())
    if not isinstance(source, str):
        h.update(source)
    elif os.path.isdir(source):
        files = sorted(os.path.join(source, f) for f in os.listdir(source))
    else:
        with open(source, "rb") as f:
            while block := f.read(1 << 22):
                h.update(block)
        files = _external_files(source)
    for file in files:
        st = os.stat(file)
        h.update(f"|{os.path.realpath(file)}|{st.st_size}|{st.st_mtime_ns}".encode())
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        h.update(next((line for line in info if line.startswith("flags")), "").encode())
    return h.hexdigest()


def cached_plan(source: "str | memoryview", options: "Mapping[str, Any]", progress: "Progress | bool | None", folder: "str | os.PathLike[str]",
                device_index: int) -> "_core.Plan":
    """The plan from `folder`, built into it when it is not there or this build of Tenon cannot run it."""
    o = build_options(options)
    os.makedirs(folder, exist_ok=True)
    file = os.path.join(os.fspath(folder), cache_key(source, o) + ".plan")
    if os.path.exists(file):
        try:
            return _core.Plan(file, device_index=device_index)
        except errors.PlanError as e:
            logger.info("the cached plan %s is built again: %s", file, e)
    with model_path(source) as path, progress_of(progress) as call:
        _core.build(path, file, {**o, "progress": call})
    return _core.Plan(file, device_index=device_index)


def device_index(device: "str | None") -> int:
    """"cuda:1" -> 1; -1: the first."""
    if device is None or ":" not in device:
        return -1
    try:
        return int(device.split(":", 1)[1])
    except ValueError:
        raise errors.fail("argument", f"device '{device}' is not one of cpu, cuda, cuda:N", field="device") from None


def check_device(plan: "_core.Plan", device: "str | None") -> None:
    """A plan runs where it was built for; to ask for another place is an error."""
    kind = plan.device()["kind"]
    if device is not None and device.split(":", 1)[0] != kind:
        raise errors.fail("request", f"device '{device}' was asked for, but this plan was built for {kind}; build the model again for another device", field="device")


def open_source(source: Any, options: "Mapping[str, Any]", *, progress: "Progress | bool | None" = None, cache: "str | os.PathLike[str] | None" = None,
                inspect: bool = False) -> "_core.Plan":
    """A plan from a plan or a model. Options of builds are refused for plans: what those do was settled when they were built."""
    if isinstance(source, _core.Plan):
        check_device(source, options.get("device"))
        return source
    checked = check_source(source)
    index = device_index(options.get("device"))
    given = sorted(k for k, v in options.items() if v not in (None, False) and k not in ("device", "threads"))
    if is_plan(checked) or (isinstance(checked, str) and checked.endswith(".plan")):
        if given:
            raise errors.fail("argument", f"{', '.join(given)}: options of a build, but the source is a plan; what it does was settled when it was built", field=given[0])
        if not isinstance(checked, str) and (len(checked) == 0 or not _aligned(checked)):
            checked = _copy_aligned(checked)
        plan = _core.Plan(checked, device_index=index, inspect=inspect)
        check_device(plan, options.get("device"))
        return plan
    if cache is not None:
        return cached_plan(checked, options, progress, cache, index)
    return _core.Plan(build_memory(checked, options, progress), device_index=index, inspect=inspect)


def _aligned(view: memoryview) -> bool:
    import numpy as np

    return bool(np.frombuffer(view, np.uint8).ctypes.data % 64 == 0)


def _copy_aligned(view: memoryview) -> memoryview:
    """Plans want their bytes at a multiple of 8; kernels are quickest with weights at multiples of 64."""
    import numpy as np

    raw = np.empty(len(view) + 4096, np.uint8)
    offset = -raw.ctypes.data % 4096
    raw[offset:offset + len(view)] = np.frombuffer(view, np.uint8)
    return memoryview(raw[offset:offset + len(view)])  # type: ignore[arg-type]
