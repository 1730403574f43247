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


def _is_list(info: "onnx.ValueInfoProto") -> bool:
    """A sequence or an optional. Tensors that are optional count too: they may be absent."""
    return info.type.WhichOneof("value") in ("sequence_type", "optional_type")


class TenonSequenceRep(BackendRep):
    """A model that takes sequences or optionals. Tenon knows sequences at import only, so that there is one model for each number of elements: every element
    is an input of its own, and the sequence is made of them."""

    def __init__(self, model: "onnx.ModelProto", prepare: Any) -> None:
        self._model, self._prepare, self._ready = model, prepare, {}  # type: ignore[var-annotated]
        self._inputs = [i.name for i in model.graph.input]
        self._outputs = [o.name for o in model.graph.output]

    def _special(self, feed: "dict[str, Any]") -> "onnx.ModelProto":
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.input[:]
        made = []
        for info in self._model.graph.input:
            value = feed[info.name]
            if not _is_list(info) or not (value is None or isinstance(value, (list, tuple))):
                model.graph.input.append(info)
            elif value is None:
                made.append(onnx.helper.make_node("Optional", [], [info.name]))
            else:
                names = [f"{info.name}/{i}" for i in range(len(value))]
                for n, a in zip(names, map(np.asarray, value)):
                    model.graph.input.append(onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape))
                made.append(onnx.helper.make_node("SequenceConstruct" if names else "SequenceEmpty", names, [info.name]))
        nodes = made + list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return model

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Outputs as a named tuple; sequences are lists."""
        del kwargs
        feed = _names(inputs, self._inputs)
        flat: "dict[str, Any]" = {}
        for name, value in feed.items():
            if isinstance(value, (list, tuple)):
                flat.update({f"{name}/{i}": np.asarray(a) for i, a in enumerate(value)})
            elif value is not None:
                flat[name] = value
        key = tuple((n, str(a.dtype), a.shape) for n, a in flat.items())
        if key not in self._ready:
            self._ready[key] = self._prepare(self._special(feed))
        rep = self._ready[key]
        found = dict(zip(rep._outputs, rep.run(flat)))
        values = []
        for info in self._model.graph.output:
            if not _is_list(info):
                values.append(found[info.name])
            else:
                values.append([found[n] for n in rep._outputs if n.startswith(info.name + "/")])
        return namedtupledict("Outputs", self._outputs)(*values)


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
        if isinstance(model, onnx.ModelProto) and any(_is_list(v) for v in [*model.graph.input, *model.graph.output]):
            return TenonSequenceRep(model, lambda special: cls._prepare_plain(special, where, dict(kwargs)))
        return cls._prepare_plain(model, where, dict(kwargs))

    @classmethod
    def _prepare_plain(cls, model: "onnx.ModelProto | str | bytes", where: str, kwargs: "dict[str, Any]") -> BackendRep:
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
