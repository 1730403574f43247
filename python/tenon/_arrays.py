# SPDX-License-Identifier: Apache-2.0
"""Element types between NumPy and Tenon, and what happens to arrays that cannot be taken as they lie.

NumPy has no bfloat16, 8-bit floats or 4-bit types of its own. With the package ml_dtypes installed their arrays are used; without it arrays of the unsigned
integer of the same width carry the bits (uint16 for bfloat16, uint8 for 8-bit floats), and 4-bit integers come out as int8 and uint8.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from . import _core, errors

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None  # type: ignore[assignment]

#: number (that of ONNX TensorProto.DataType) -> name
NAMES: "dict[int, str]" = {number: name for number, (name, _) in _core.dtypes.items()}
NUMBERS: "dict[str, int]" = {name: number for number, name in NAMES.items()}
_NUMPY = ["float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool", "float16", "float64", "uint32", "uint64", "complex64", "complex128"]
_ML = {"bfloat16": "bfloat16", "float8e4m3fn": "float8_e4m3fn", "float8e4m3fnuz": "float8_e4m3fnuz", "float8e5m2": "float8_e5m2",
       "float8e5m2fnuz": "float8_e5m2fnuz", "uint4": "uint4", "int4": "int4", "float4e2m1": "float4_e2m1fn",
       "float8e8m0": "float8_e8m0fnu", "uint2": "uint2", "int2": "int2"}
_CARRIER = {name: np.dtype("uint16" if name == "bfloat16" else "uint8") for name in _ML}
_PACKED = {"uint4": 4, "int4": 4, "float4e2m1": 4, "uint2": 2, "int2": 2}  # bits of an element

#: number -> NumPy's type of an array of it (the real one where there is one)
DTYPES: "dict[int, np.dtype]" = {NUMBERS[name]: np.dtype(name) for name in _NUMPY}
_REAL: "dict[int, np.dtype]" = {}
for _name, _ml_name in _ML.items():
    if ml_dtypes is not None and hasattr(ml_dtypes, _ml_name):
        _REAL[NUMBERS[_name]] = np.dtype(getattr(ml_dtypes, _ml_name))
    DTYPES[NUMBERS[_name]] = _REAL.get(NUMBERS[_name], np.dtype("int8") if _name in ("int4", "int2") else _CARRIER[_name])
_FROM_NUMPY = {dtype: number for number, dtype in reversed(DTYPES.items())}

#: ONNX Runtime's words for element types
TYPE_STRINGS = {number: f"tensor({ {'float32': 'float', 'float64': 'double'}.get(name, name)})" for number, name in NAMES.items()}
_TYPE_NUMBERS = {text: number for number, text in TYPE_STRINGS.items()}


def number_of(dtype: Any) -> int:
    """The number of an element type given as NumPy type, name ("float32"), type string ("tensor(float)") or number."""
    if isinstance(dtype, (int, np.integer)) and not isinstance(dtype, bool) and int(dtype) in NAMES:
        return int(dtype)
    if isinstance(dtype, str) and (dtype in NUMBERS or dtype in _TYPE_NUMBERS):
        return NUMBERS.get(dtype) or _TYPE_NUMBERS[dtype]
    try:
        found = _FROM_NUMPY.get(np.dtype(dtype).newbyteorder("="))
    except TypeError:
        found = None
    if found is None:
        raise errors.fail("type", f"{dtype!r} is no element type of tensors; there are {', '.join(sorted(NUMBERS)[:-1])}")
    return found


def _is_torch(value: Any) -> bool:
    module = type(value).__module__
    return module == "torch" or module.startswith("torch.")


def _expected(name: str, dtype: int) -> str:
    return f"input '{name}' must be an array of {NAMES[dtype]}" if dtype else f"'{name}' must be an array"


def _pack(a: np.ndarray, dtype: int) -> "tuple[np.ndarray, tuple[int, ...]]":
    """Elements narrower than a byte, as many as fit a byte, the low bits first."""
    bits = _PACKED[NAMES[dtype]]
    per = 8 // bits
    flat = np.ascontiguousarray(a).view(np.uint8).reshape(-1) & ((1 << bits) - 1)
    flat = np.append(flat, np.zeros(-flat.size % per, np.uint8)).reshape(-1, per)
    return np.bitwise_or.reduce(flat << (np.arange(per, dtype=np.uint8) * bits), axis=1).astype(np.uint8), a.shape


def unpack(packed: np.ndarray, dtype: int, shape: "tuple[int, ...]") -> np.ndarray:
    """The inverse of what ONNX does with elements narrower than a byte."""
    count, bits = int(np.prod(shape, dtype=np.int64)), _PACKED[NAMES[dtype]]
    flat: np.ndarray = packed[:, None] >> (np.arange(8 // bits, dtype=np.uint8) * bits) & ((1 << bits) - 1)
    flat = flat.astype(np.uint8).reshape(-1)[:count]
    if NAMES[dtype] in ("int4", "int2"):
        half = 1 << (bits - 1)
        flat = ((flat ^ half).astype(np.int8) - half).astype(np.int8)
    real = _REAL.get(dtype)
    if real is not None:
        flat = flat.view(real) if NAMES[dtype] == "float4e2m1" else flat.astype(real)
    return flat.reshape(shape)


def aligned(raw: np.ndarray, offset: int, nbytes: int, dtype: np.dtype, shape: "tuple[int, ...]") -> np.ndarray:
    """An array in the memory of `raw`."""
    return raw[offset:offset + nbytes].view(dtype).reshape(shape)


def _fix(name: str, dtype: int) -> str:
    call = f".astype(np.{NAMES[dtype]})" if NAMES[dtype] in _NUMPY else f".astype(ml_dtypes.{_ML.get(NAMES[dtype])})"
    return f"convert it with x{call}"


def convert(value: Any, name: str, dtype: int) -> Any:
    """A dense native array of `dtype` (0: of its own) with the contents of `value`, copied where its memory cannot be used as it is: strided or reversed
    views, other byte order, unaligned memory. The element type is never changed: that would lose or invent precision in silence."""
    if isinstance(value, (str, bytes, bytearray, dict, set)) or value is None:
        raise errors.fail("type", f"{_expected(name, dtype)}, not {type(value).__name__}", field=name)
    if isinstance(value, (list, tuple, int, float, complex, bool)):
        raise errors.fail("type", f"{_expected(name, dtype)}, not a {type(value).__name__}: make one with "
                                  f"np.array(x, dtype=np.{NAMES[dtype] if dtype else 'float32'})", field=name)
    if not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "numpy_value"):
        value = value.numpy_value()
    try:
        a = value if isinstance(value, np.ndarray) else np.asarray(value)
    except Exception as e:
        hint = "; detach it first (x.detach())" if _is_torch(value) else ""
        raise errors.fail("type", f"{_expected(name, dtype)}; a {type(value).__name__} cannot be read as one: {e}{hint}", field=name) from e
    if a.dtype == object or a.dtype.kind in "SUVmM" and a.dtype not in _FROM_NUMPY:
        what = "of Python objects (rows of different lengths?)" if a.dtype == object else f"of {a.dtype}"
        raise errors.fail("type", f"{_expected(name, dtype)}, not an array {what}", field=name)
    native = a.dtype.newbyteorder("=")
    if dtype and NAMES[dtype] == "string":
        raise errors.fail("unsupported", f"input '{name}' is a tensor of strings, which cannot be given from Python", field=name)
    if dtype:
        accepted = {DTYPES[dtype]} | ({_CARRIER[NAMES[dtype]]} if NAMES[dtype] in _CARRIER else set()) | ({np.dtype("int8")} if NAMES[dtype] in ("int4", "int2") else set())
        if native not in accepted:
            raise errors.fail("type", f"input '{name}' is {a.dtype.name}, expected {NAMES[dtype]}; {_fix(name, dtype)}", field=name)
        if NAMES[dtype] in _PACKED:
            return _pack(a, dtype)
        if native != DTYPES[dtype] or NAMES[dtype] in _CARRIER:
            return np.ascontiguousarray(a).view(_CARRIER[NAMES[dtype]]).reshape(a.shape)
    elif native not in _FROM_NUMPY:
        raise errors.fail("type", f"'{name}' is an array of {a.dtype}, which Tenon does not have", field=name)
    elif native in _REAL.values():
        a = a.view(np.uint16 if a.dtype.itemsize == 2 else np.uint8)
        native = a.dtype
    if a.ndim > 8:
        raise errors.fail("shape", f"input '{name}' has {a.ndim} dims; at most 8 are possible", field=name)
    dense = np.array(a, dtype=native, order="C", copy=True)  # reached for strided, byte-swapped or unaligned arrays alone
    return dense


def readable(value: "_core.Value") -> np.ndarray:
    """A NumPy view of a value on the host, without a copy."""
    number = value.dtype
    if NAMES[number] in _PACKED:
        raise errors.fail("type", f"there is no view of {NAMES[number]}")
    a = np.asarray(value)
    return a.view(_REAL[number]) if number in _REAL else a


_carried = {number: _CARRIER[NAMES[number]] for number in DTYPES if NAMES[number] in _CARRIER}
_views = {number: real for number, real in _REAL.items() if NAMES[number] not in _PACKED}
_core.setup(np.empty, {**DTYPES, **_carried}, _views, errors.make, convert, aligned, unpack)
