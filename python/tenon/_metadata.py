# SPDX-License-Identifier: Apache-2.0
"""Producer, description and custom metadata of an ONNX file, read from its outermost fields; the graph and its weights are stepped over."""
from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass, field
from typing import Any, Iterator


@dataclass
class ModelMetadata:
    """What a model says about itself."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: "dict[str, str]" = field(default_factory=dict)


def _varint(data: Any, at: int) -> "tuple[int, int]":
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _fields(data: Any, at: int, end: int) -> "Iterator[tuple[int, Any]]":
    """(field, value): numbers as they are, everything with a length as (begin, end)."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = (at, at + size), at + size
        elif kind in (1, 5):
            value, at = None, at + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("a field is longer than what holds it")
        yield tag >> 3, value


def parse_metadata(data: Any) -> ModelMetadata:
    """The metadata in the bytes of a ModelProto; what is damaged stays empty."""
    m = ModelMetadata()

    def text(span: "tuple[int, int]") -> str:
        return bytes(data[span[0]:span[1]]).decode("utf-8", "replace")

    names = {2: "producer_name", 4: "domain", 6: "description"}
    with contextlib.suppress(ValueError, IndexError, TypeError):
        for number, value in _fields(data, 0, len(data)):
            if number in names:
                setattr(m, names[number], text(value))
            elif number == 5:
                m.version = value
            elif number == 7:
                for inner, span in _fields(data, *value):
                    if inner == 2:
                        m.graph_name = text(span)
                    elif inner == 10:
                        m.graph_description = text(span)
            elif number == 14:
                pair = {k: text(v) for k, v in _fields(data, *value)}
                m.custom_metadata_map[pair.get(1, "")] = pair.get(2, "")
    return m


def read_metadata(source: Any) -> ModelMetadata:
    """The metadata of a path or of bytes; empty for plans and checkpoints."""
    if hasattr(source, "SerializeToString"):
        return parse_metadata(source.SerializeToString())
    if not isinstance(source, (str, os.PathLike)):
        with contextlib.suppress(TypeError):  # an opened plan
            return parse_metadata(memoryview(source).cast("B"))
        return ModelMetadata()
    if not os.path.isfile(source) or os.path.getsize(source) == 0:
        return ModelMetadata()
    with open(source, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return ModelMetadata() if data[:8] == b"TENONPLN" else parse_metadata(data)
