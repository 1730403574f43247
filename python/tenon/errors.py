# SPDX-License-Identifier: Apache-2.0
"""Exceptions and the warning category.

Every failure of the library is an :class:`Error`. Its subclasses say whose fault it is, and are at the same time the built-in exception that Python users
expect: a wrong shape is a ``ValueError``, a wrong element type a ``TypeError``, a missing file an ``OSError``.
"""
from __future__ import annotations

import re


class Warning(UserWarning):  # noqa: A001 - tenon.Warning, as the category is called
    """What a build or a session wants to tell; silence it with ``warnings.simplefilter("ignore", tenon.Warning)``."""


class Error(Exception):
    """A failure of Tenon.

    Attributes:
        status: name of the status ("shape", "unsupported", ...; include/tenon/status.h lists them).
        code: its number.
        node: name of the node of the model's graph that is concerned, or None.
        file: the model or plan that was read, or None.
        field: the input, output, option or field that is concerned, or None.
        offset: byte offset in the file, or None.
    """

    status: str = "internal"
    code: int = 400
    node: "str | None" = None
    file: "str | None" = None
    field: "str | None" = None
    offset: "int | None" = None


class ArgumentError(Error, ValueError):
    """An argument is invalid."""


class UnknownNameError(Error, ValueError):
    """No input, output, symbol, pass or kernel has this name, or an input is missing."""


class ShapeError(Error, ValueError):
    """A tensor's shape does not fit what the model declares."""


class DtypeError(Error, TypeError):
    """A tensor's element type does not fit what the model declares."""


class StateError(Error, RuntimeError):
    """The call is not possible now: a binding in use, a forked process."""


class RequestError(Error, RuntimeError):
    """What was asked for (a precision, a device, a CPU level) cannot be met on this machine."""


class ModelError(Error, ValueError):
    """The model or another input file is damaged or not well formed."""


class UnsupportedError(ModelError, NotImplementedError):
    """The model uses something that Tenon does not have; the message lists all of it."""


class PlanError(Error, ValueError):
    """A plan is damaged."""


class IncompatiblePlanError(PlanError):
    """A plan was made by another build of Tenon or for another machine; build it again."""


class RunError(Error, RuntimeError):
    """A step cannot compute its result from the values it was given."""


class InexactError(Error, ArithmeticError):
    """A result is further from the reference than allowed."""


class OutOfMemoryError(Error, MemoryError):
    """Memory of the host or of the GPU ran out."""


class FileError(Error, OSError):
    """A file cannot be opened, read or written."""


class NoSuchFile(FileError, FileNotFoundError):
    """There is no such file."""


class DeviceError(Error, RuntimeError):
    """The GPU, its driver or one of its libraries failed or is missing."""


class InternalError(Error, RuntimeError):
    """A fault of Tenon itself; please report it."""


_BY_STATUS: "dict[str, type[Error]]" = {
    "argument": ArgumentError,
    "name": UnknownNameError,
    "shape": ShapeError,
    "type": DtypeError,
    "state": StateError,
    "request": RequestError,
    "parse": ModelError,
    "graph": ModelError,
    "unsupported": UnsupportedError,
    "version": ModelError,
    "data": ModelError,
    "path": ModelError,
    "limit": ModelError,
    "plan": PlanError,
    "incompatible": IncompatiblePlanError,
    "run": RunError,
    "inexact": InexactError,
    "memory": OutOfMemoryError,
    "io": FileError,
    "thread": OutOfMemoryError,
    "device": DeviceError,
    "internal": InternalError,
}
_FIELD = re.compile(r"(?:input|output|option|attribute|symbol|tensor|field|samples lack input|no input is named|no output is named|metadata) '([^']+)'")


def make(code: int, status: str, message: str, node: str = "", offset: "int | None" = None, file: "str | None" = None,
         field: "str | None" = None) -> Error:
    """The exception of a status; what the C module calls."""
    cls = _BY_STATUS.get(status, InternalError)
    if cls is FileError and "No such file" in message:
        cls = NoSuchFile
    if node and node not in message:
        message = f"{message} (node '{node}')"
    e = cls(message)
    e.code, e.status, e.node, e.offset, e.file = code, status, node or None, offset, file
    found = _FIELD.search(message)
    e.field = field or (found.group(1) if found else None)
    return e


def fail(status: str, message: str, *, field: "str | None" = None, file: "str | None" = None) -> Error:
    """An exception that the Python side raises itself."""
    from . import _core

    code = next((number for number, (name, _) in _core.statuses.items() if name == status), 400)
    return make(code, status, message, "", None, file, field)
