# SPDX-License-Identifier: Apache-2.0
"""OrtValue and IOBinding, under the names that users of ONNX Runtime know."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from . import _arrays, _core, errors

if TYPE_CHECKING:
    from ._session import InferenceSession


def _device(device_type: str, device_id: int) -> "tuple[bool, int]":
    kind = str(device_type).lower()
    if kind.startswith("cuda:") and device_id == 0:
        kind, device_id = "cuda", int(kind[5:])
    if kind in ("cpu", "cuda_pinned"):
        return False, 0
    if kind in ("cuda", "gpu"):
        return True, int(device_id)
    raise errors.fail("argument", f"device_type '{device_type}' is not one of cpu, cuda", field="device_type")


class OrtValue:
    """A tensor on the host or on a GPU that can be bound to inputs and outputs.

    Make one with :meth:`ortvalue_from_numpy`, :meth:`ortvalue_from_shape_and_type` or :meth:`from_dlpack`. On the host it shares the memory of the array or
    tensor it was made from. One "on cuda" made from an array or a shape is placed on the GPU of the session to which it is bound first.
    """

    def __init__(self, value: "_core.Value | None", *, pending: "tuple[np.ndarray | None, int, tuple[int, ...], int] | None" = None,
                 context: "_core.Context | None" = None) -> None:
        self._value = value
        self._pending = pending  # array or None, type, shape, device index: not yet on a GPU
        self._context = context

    @staticmethod
    def ortvalue_from_numpy(array: Any, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        """A value of the array's contents. On the host it shares a dense array's memory: later changes of the array show."""
        cuda, index = _device(device_type, device_id)
        if not isinstance(array, (np.ndarray, np.generic)):
            raise errors.fail("type", f"ortvalue_from_numpy takes a NumPy array, not {type(array).__name__}")
        if cuda:
            return OrtValue(None, pending=(np.array(array, order="C", copy=True), _arrays.number_of(array.dtype), array.shape, index))
        carried = _arrays._FROM_NUMPY.get(array.dtype.newbyteorder("="), 0)
        return OrtValue(_core.Value.from_buffer(array, carried if carried in _arrays._REAL else 0))

    @staticmethod
    def ortvalue_from_shape_and_type(shape: "Sequence[int]", element_type: Any, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        """A value of undefined contents: a place for an output."""
        cuda, index = _device(device_type, device_id)
        number = _arrays.number_of(element_type)
        if cuda:
            return OrtValue(None, pending=(None, number, tuple(map(int, shape)), index))
        return OrtValue(_core.Value.from_buffer(np.zeros(tuple(shape), _arrays._carried.get(number, _arrays.DTYPES[number])), number))

    @staticmethod
    def from_dlpack(tensor: Any, is_bool_tensor: bool = False) -> "OrtValue":
        """A value that shares the memory of a tensor of another library (PyTorch, CuPy, JAX). Work on a GPU tensor must be over."""
        del is_bool_tensor
        return OrtValue(_core.Value.from_dlpack(tensor))

    def _on(self, session: "InferenceSession") -> "_core.Value":
        """The value, placed on the session's GPU when it waited for one."""
        if self._value is None:
            array, number, shape, index = self._pending  # type: ignore[misc]
            device = session._plan.device()
            if device["kind"] != "cuda" or device["index"] != index:
                raise errors.fail("argument", f"the value is for cuda:{index}, the session runs on {device['kind']}:{device['index']}")
            value = _core.Value.device(session._plan, number, shape)
            self._context = session._copy_context()
            if array is not None:
                self._context.write(value, array)
            self._value, self._pending = value, None
        return self._value

    def _number(self) -> int:
        return self._pending[1] if self._pending is not None else self._value.dtype  # type: ignore[union-attr]

    def numpy(self) -> np.ndarray:
        """The contents as an array: a view on the host, a copy from a GPU."""
        if self._value is None:
            if self._pending[0] is None:  # type: ignore[index]
                raise errors.fail("state", "the value has no contents yet: nothing was computed into it")
            return self._pending[0]  # type: ignore[index]
        if not self._value.cuda:
            return _arrays.readable(self._value)
        if self._context is None:
            raise errors.fail("state", "a GPU tensor of another library is read with that library")
        return np.asarray(self._context.read(self._value))

    numpy_value = numpy

    def update_inplace(self, array: np.ndarray) -> None:
        """Overwrites the contents; shape and type stay."""
        if tuple(array.shape) != tuple(self.shape()) or _arrays.number_of(array.dtype) != self._number():
            raise errors.fail("shape", f"the value is {_arrays.NAMES[self._number()]}{list(self.shape())}, the array {array.dtype}{list(array.shape)}")
        if self._value is None:
            self._pending = (np.array(array, order="C", copy=True), *self._pending[1:])  # type: ignore[index]
        elif self._value.cuda:
            if self._context is None:
                raise errors.fail("state", "a GPU tensor of another library is written with that library")
            self._context.write(self._value, array)
        else:
            _arrays.readable(self._value)[...] = array

    def shape(self) -> "list[int]":
        """Dims."""
        return list(self._pending[2] if self._pending is not None else self._value.shape)  # type: ignore[union-attr]

    def data_type(self) -> str:
        """'tensor(float)' and so on."""
        return _arrays.TYPE_STRINGS[self._number()]

    def element_type(self) -> int:
        """Number of the element type as in ONNX TensorProto.DataType."""
        return self._number()

    def device_name(self) -> str:
        """'cpu' or 'cuda'."""
        return "cuda" if self._pending is not None or self._value.cuda else "cpu"  # type: ignore[union-attr]

    def device_id(self) -> int:
        """Index of the GPU; 0 on the host."""
        return self._pending[3] if self._pending is not None else self._value.device_id  # type: ignore[union-attr]

    def data_ptr(self) -> int:
        """Address of the first element, on the device where it lies."""
        if self._value is None:
            raise errors.fail("state", "the value is placed on a GPU when it is bound to a session")
        return self._value.data_ptr

    def is_tensor(self) -> bool:
        return True

    def is_sparse_tensor(self) -> bool:
        return False

    def is_tensor_sequence(self) -> bool:
        return False

    def has_value(self) -> bool:
        return True

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self._value is None:
            raise errors.fail("state", "the value is placed on a GPU when it is bound to a session")
        return self._value.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> "tuple[int, int]":
        return (2, self.device_id()) if self.device_name() == "cuda" else (1, 0)

    def __repr__(self) -> str:
        return f"OrtValue({_arrays.NAMES[self._number()]}{self.shape()} on {self.device_name()})"


class IOBinding:
    """Tensors bound to the inputs and outputs of a session: runs then copy only what has to move. For one thread at a time.

    On the CPU inputs are read, and outputs written, in place where they are bound. On a GPU, bound device memory is used in place, an output bound to
    "cuda" without memory stays in the binding's own memory until its next run.
    """

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._context = _core.Context(session._plan, session._threads)
        self._inputs: "dict[str, Any]" = {}
        self._outputs: "dict[str, OrtValue | None]" = {}

    def _input(self, name: str) -> int:
        try:
            return self._session._input_index[name]
        except KeyError:
            raise errors.fail("name", f"no input is named '{name}'; there are {list(self._session._input_index)}", field=name) from None

    def _output(self, name: str) -> int:
        try:
            return self._session._output_index[name]
        except KeyError:
            raise errors.fail("name", f"no output is named '{name}'; there are {list(self._session._output_index)}", field=name) from None

    def bind_cpu_input(self, name: str, arr_on_cpu: Any) -> None:
        """Binds an array, which is read during each run: its contents may change between runs. Strided arrays are copied once."""
        self._context.bind_input(self._input(name), arr_on_cpu)
        self._inputs[name] = arr_on_cpu

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Binds a value, on the host or on the session's GPU."""
        self._context.bind_input(self._input(name), ortvalue._on(self._session) if ortvalue._pending is not None else ortvalue._value)
        self._inputs[name] = ortvalue

    def bind_input(self, name: str, device_type: str, device_id: int, element_type: Any, shape: "Sequence[int]", buffer_ptr: int) -> None:
        """Binds memory at an address, which must stay valid while it is bound (torch: ``tensor.data_ptr()``)."""
        self.bind_ortvalue_input(name, OrtValue(_pointer(device_type, device_id, element_type, shape, buffer_ptr)))

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """The output is written there; the value must be large enough."""
        self._context.bind_output(self._output(name), ortvalue._on(self._session) if ortvalue._pending is not None else ortvalue._value, False)
        self._outputs[name] = ortvalue

    def bind_output(self, name: str, device_type: str = "cpu", device_id: int = 0, element_type: Any = None, shape: "Sequence[int] | None" = None,
                    buffer_ptr: "int | None" = None) -> None:
        """The output is wanted on `device_type`; at an address when buffer_ptr is given (with element_type and shape)."""
        cuda, index = _device(device_type, device_id)
        if buffer_ptr is not None:
            if shape is None or element_type is None:
                raise errors.fail("argument", f"output '{name}': a buffer_ptr needs element_type and shape", field=name)
            self.bind_ortvalue_output(name, OrtValue(_pointer(device_type, device_id, element_type, shape, buffer_ptr)))
            return
        if cuda and self._session._plan.device()["kind"] != "cuda":
            raise errors.fail("request", f"output '{name}' is wanted on cuda:{index}, but the session runs on the CPU", field=name)
        self._context.bind_output(self._output(name), None, cuda)
        self._outputs[name] = None

    def synchronize_inputs(self) -> None:
        """Nothing to wait for: inputs must be complete when they are bound."""

    def synchronize_outputs(self) -> None:
        """Waits for a run that was started with run_with_iobinding; runs wait by themselves."""
        self._context.synchronize()

    def clear_binding_inputs(self) -> None:
        """Forgets the inputs; they are released when others are bound, or with the binding."""
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        for name in self._outputs:
            self._context.bind_output(self._session._output_index[name], None, False)
        self._outputs.clear()

    def _run(self) -> None:
        missing = [name for name in self._session._input_index if name not in self._inputs]
        if missing:
            raise errors.fail("state", f"input '{missing[0]}' is not bound", field=missing[0])
        self._context.run()

    def get_outputs(self) -> "list[OrtValue]":
        """The bound outputs in the order of binding (all when none was bound), where they lie; those in the binding's own memory are valid until its next run."""
        names = list(self._outputs) or list(self._session._output_index)
        return [OrtValue(self._context.value(self._output(n)), context=self._context) for n in names]

    def copy_outputs_to_cpu(self) -> "list[np.ndarray]":
        """Copies of the outputs as arrays."""
        return [self._context.read(v._value) for v in self.get_outputs() if v._value is not None]


def _pointer(device_type: str, device_id: int, element_type: Any, shape: "Sequence[int]", buffer_ptr: int) -> "_core.Value":
    cuda, index = _device(device_type, device_id)
    return _core.Value.from_pointer(int(buffer_ptr), _arrays.number_of(element_type), tuple(map(int, shape)), cuda, index)
