# SPDX-License-Identifier: Apache-2.0
"""The onnx.backend interface: prepare, run_model, run_node, supports_device.

    import tenon.onnx_backend as backend
    outputs = backend.prepare(onnx_model, device="CPU").run([array])

Devices are "CPU", "CUDA" and "CUDA:1". ``reference=True`` runs the reference interpreter instead of a plan.
"""
from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from . import _core, _options, errors
from ._session import InferenceSession
from ._values import OrtValue


def _device(device: str) -> str:
    kind, _, index = device.partition(":")
    if kind.upper() not in ("CPU", "CUDA", "GPU"):
        raise errors.fail("argument", f"device '{device}' is not one of CPU, CUDA, CUDA:N", field="device")
    return "cpu" if kind.upper() == "CPU" else f"cuda:{index or 0}"


def _names(inputs: Any, names: "Sequence[str]") -> "dict[str, Any]":
    """Inputs given as a dict, a list in the model's order, or one array."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if not isinstance(inputs, (list, tuple)):
        inputs = [inputs]
    if len(inputs) > len(names):
        raise errors.fail("name", f"{len(inputs)} inputs were given; the model takes {list(names)}")
    return dict(zip(names, inputs))


def _arrays(feed: "Mapping[str, Any]") -> "dict[str, Any]":
    """Numbers and lists become arrays, which the backend tests expect."""
    return {k: np.asarray(v) if isinstance(v, (int, float, bool, list)) else v for k, v in feed.items()}


class TenonBackendRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        self._inputs = [a.name for a in session.get_inputs()]
        self._outputs = [a.name for a in session.get_outputs()]

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Outputs as a named tuple. inputs: a list in the model's order, or a dict."""
        del kwargs
        return namedtupledict("Outputs", self._outputs)(*self.session.run(None, _arrays(_names(inputs, self._inputs))))


class TenonReferenceRep(BackendRep):
    """A model in the reference interpreter."""

    def __init__(self, model: bytes) -> None:
        with _options.model_path(memoryview(model)) as path:
            self._reference = _core.Reference(path, {})
        self._inputs, self._outputs = self._reference.names()

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Outputs as a named tuple. inputs: a list in the model's order, or a dict."""
        del kwargs
        feed = _arrays(_names(inputs, self._inputs))
        missing = [n for n in self._inputs if n not in feed]
        if missing:
            raise errors.fail("name", f"input '{missing[0]}' is missing", field=missing[0])
        # The interpreter declares no types: NumPy's arrays of bfloat16 and the like say theirs through a value.
        values = [OrtValue.ortvalue_from_numpy(a)._value if isinstance(a, (np.ndarray, np.generic)) else a for a in (feed[n] for n in self._inputs)]
        return namedtupledict("Outputs", self._outputs)(*self._reference.run(values, None))


class TenonBackend(Backend):
    """Tenon as an ONNX backend."""

    @classmethod
    def is_compatible(cls, model: "onnx.ModelProto", device: str = "CPU", **kwargs: Any) -> bool:
        """False when the model has an operator that Tenon lacks."""
        try:
            cls.prepare(model, device, **kwargs)
        except (errors.UnsupportedError, errors.RequestError):
            return False
        return True

    @classmethod
    def prepare(cls, model: "onnx.ModelProto | str | bytes", device: str = "CPU", **kwargs: Any) -> BackendRep:
        """Builds the model. kwargs: reference=True for the reference interpreter; else those of InferenceSession."""
        where = _device(device)
        data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        if kwargs.pop("reference", False):
            return TenonReferenceRep(data if isinstance(data, bytes) else open(data, "rb").read())
        return TenonBackendRep(InferenceSession(data, device=where, **kwargs))

    @classmethod
    def run_model(cls, model: "onnx.ModelProto", inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
        """prepare and run in one call."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: "onnx.NodeProto", inputs: Any, device: str = "CPU", outputs_info: "Sequence[tuple[Any, Sequence[int]]] | None" = None,
                 **kwargs: Any) -> Any:
        """Runs one node on arrays. outputs_info: (dtype, shape) of each output, where type inference does not find them. opset_version: of ai.onnx."""
        opset = int(kwargs.pop("opset_version", 0)) or min(onnx.defs.onnx_opset_version(), 24)
        names = [n for n in node.input if n]
        feed = {k: np.asarray(v) for k, v in _names(inputs, names).items()}
        ins = [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feed.items()]
        outs = []
        for i, name in enumerate(n for n in node.output if n):
            if outputs_info is not None:
                dtype, shape = outputs_info[i]
                outs.append(onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
            else:
                outs.append(onnx.helper.make_empty_tensor_value_info(name))
        imports = [onnx.helper.make_opsetid("", opset)] + ([onnx.helper.make_opsetid(node.domain, 1)] if node.domain not in ("", "ai.onnx") else [])
        model = onnx.helper.make_model(onnx.helper.make_graph([node], "node", ins, outs), opset_imports=imports, ir_version=min(onnx.IR_VERSION, 10))
        if outputs_info is None:
            inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.output}
            for v in model.graph.output:
                v.CopyFrom(inferred.get(v.name, v))
        return cls.run_model(model, feed, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """"CPU", and "CUDA" or "CUDA:N" where there is such a GPU."""
        try:
            kind, _, index = _device(device).partition(":")
            return kind == "cpu" or _core.device_count("cuda") > int(index or 0)
        except (errors.DeviceError, errors.ArgumentError, ValueError):
            return False


is_compatible = TenonBackend.is_compatible
prepare = TenonBackend.prepare
run_model = TenonBackend.run_model
run_node = TenonBackend.run_node
supports_device = TenonBackend.supports_device
