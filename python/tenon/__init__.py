# SPDX-License-Identifier: Apache-2.0
"""Tenon: an inference engine and compiler for ONNX models and Hugging Face checkpoints.

    import tenon as ort
    session = ort.InferenceSession("model.onnx")
    outputs = session.run(None, {"input": array})

A model is built into a plan for the machine at hand; a plan is run. :func:`build` writes plans, :class:`InferenceSession` runs them (and builds what is
still a model), :func:`compare` shows how exact they are, :func:`bench` how fast, :func:`inspect` and :func:`explain` what is inside.
"""
from . import _core
from . import _arrays as _arrays  # hands NumPy to the C module
from ._metadata import ModelMetadata
from ._session import (ExecutionMode, Generated, GraphOptimizationLevel, InferenceSession, NodeArg, RunOptions, SessionOptions, get_all_providers,
                       get_available_providers, get_device)
from ._tools import (BenchRow, CompareResult, TensorComparison, bench, build, compare, explain, inspect, run_reference)
from ._values import IOBinding, OrtValue
from .errors import (ArgumentError, DeviceError, DtypeError, Error, FileError, IncompatiblePlanError, InexactError, InternalError, ModelError, NoSuchFile,
                     OutOfMemoryError, PlanError, RequestError, RunError, ShapeError, StateError, UnknownNameError, UnsupportedError, Warning)

__version__: str = _core.version


def set_default_logger_severity(level: int) -> None:
    """Lowest severity that the logger "tenon" shows: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal."""
    import logging

    logging.getLogger("tenon").setLevel({0: logging.DEBUG, 1: logging.INFO, 2: logging.WARNING, 3: logging.ERROR}.get(int(level), logging.CRITICAL))


__all__ = [
    "ArgumentError", "BenchRow", "CompareResult", "DeviceError", "DtypeError", "Error", "ExecutionMode", "FileError", "Generated", "GraphOptimizationLevel",
    "IOBinding", "IncompatiblePlanError", "InexactError", "InferenceSession", "InternalError", "ModelError", "ModelMetadata", "NoSuchFile", "NodeArg",
    "OrtValue", "OutOfMemoryError", "PlanError", "RequestError", "RunError", "RunOptions", "SessionOptions", "ShapeError", "StateError", "TensorComparison",
    "UnknownNameError", "UnsupportedError", "Warning", "bench", "build", "compare", "explain", "get_all_providers", "get_available_providers", "get_device",
    "inspect", "run_reference", "set_default_logger_severity",
]
