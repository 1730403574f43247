# SPDX-License-Identifier: Apache-2.0
"""InferenceSession and what goes with it, under the names that users of ONNX Runtime know."""
from __future__ import annotations

import enum
import os
import warnings
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np

from . import _arrays, _core, _options, errors
from ._metadata import ModelMetadata, read_metadata
from ._values import IOBinding, OrtValue

_PROVIDERS = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}


class GraphOptimizationLevel(enum.IntEnum):
    """How much of the model is rewritten: nothing at ORT_DISABLE_ALL, everything at every other level."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(enum.IntEnum):
    """Taken and without effect: steps run in order, each on all threads."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class SessionOptions:
    """Options of a session.

    Attributes:
        intra_op_num_threads: threads of each run, 0: one a core. Results do not depend on it.
        graph_optimization_level: ORT_DISABLE_ALL runs the model as it was imported.

    Everything else that onnxruntime's class has is taken and has no effect (memory is planned when the model is built), except what would change results
    or write files, which is refused.
    """

    def __init__(self) -> None:
        self.intra_op_num_threads: int = 0
        self.inter_op_num_threads: int = 0
        self.graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.execution_mode: ExecutionMode = ExecutionMode.ORT_SEQUENTIAL
        self.log_severity_level: int = 2
        self.log_verbosity_level: int = 0
        self.logid: str = ""
        self.enable_profiling: bool = False
        self.profile_file_prefix: str = ""
        self.optimized_model_filepath: str = ""
        self.enable_mem_pattern: bool = True
        self.enable_mem_reuse: bool = True
        self.enable_cpu_mem_arena: bool = True
        self.use_deterministic_compute: bool = True
        self._config: "dict[str, str]" = {}
        self._dims: "dict[str, int]" = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Kept, for get_session_config_entry; without effect."""
        self._config[key] = value

    def get_session_config_entry(self, key: str) -> str:
        return self._config[key]

    def add_free_dimension_override_by_name(self, name: str, value: int) -> None:
        """Symbol `name` has this one value: kernels and memory are chosen for it, other values are refused."""
        self._dims[name] = int(value)

    def register_custom_ops_library(self, path: str) -> None:
        raise errors.fail("unsupported", f"'{path}': custom operators of ONNX Runtime cannot be loaded")


@dataclass
class RunOptions:
    """Taken by run() and without effect."""

    log_severity_level: int = 2
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    terminate: bool = False
    _config: "dict[str, str]" = field(default_factory=dict)

    def add_run_config_entry(self, key: str, value: str) -> None:
        self._config[key] = value


@dataclass(frozen=True)
class NodeArg:
    """An input or output.

    Attributes:
        name: its name.
        shape: a number, or the symbol's name ("batch"), for each dim.
        type: 'tensor(float)' and so on.
        ranges: (min, opt, max) of each dim that the plan takes; max None: unlimited.
    """

    name: str
    shape: "list[int | str]"
    type: str
    ranges: "list[tuple[int, int, int | None]]" = field(default_factory=list, compare=False)


def _args(rows: "Sequence[tuple[str, int, list[int | str], list[tuple[int, int, int | None]]]]") -> "list[NodeArg]":
    return [NodeArg(name, dims, _arrays.TYPE_STRINGS[dtype], ranges) for name, dtype, dims, ranges in rows]


def get_available_providers() -> "list[str]":
    """Providers that work here: CPUExecutionProvider, and CUDAExecutionProvider where the GPU backend is installed and finds a GPU."""
    return (["CUDAExecutionProvider"] if _gpus() else []) + ["CPUExecutionProvider"]


def get_all_providers() -> "list[str]":
    """Providers that Tenon has."""
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def get_device() -> str:
    """'GPU' where CUDAExecutionProvider works, else 'CPU'."""
    return "GPU" if _gpus() else "CPU"


def _gpus() -> int:
    try:
        return _core.device_count("cuda")
    except errors.DeviceError:
        return 0


def _choose(providers: "Sequence[Any]", provider_options: "Sequence[Mapping[str, Any]] | None") -> "tuple[str, dict[str, Any]]":
    """The first provider of a list of preferences that works here, and its options. What is passed over is told as a warning."""
    names = [p if isinstance(p, str) else p[0] for p in providers]
    options = [dict(p[1]) if not isinstance(p, str) else {} for p in providers]
    for i, more in enumerate(provider_options or []):
        options[i].update(more)
    for i, name in enumerate(names):
        reason = None
        if name not in _PROVIDERS:
            reason = f"provider '{name}' is not one of {get_all_providers()}"
        elif name == "CUDAExecutionProvider":
            try:
                count = _core.device_count("cuda")
                wanted = int(options[i].get("device_id", 0))
                reason = f"GPU {wanted} was asked for; there are {count}" if wanted >= count else None
            except errors.DeviceError as e:
                reason = str(e)
        if reason is None:
            return name, options[i]
        if not any(n in _PROVIDERS for n in names[i + 1:]):
            raise errors.fail("request", reason, field="providers")
        warnings.warn(f"{name} is passed over, the next of the list of providers is tried: {reason}", errors.Warning, stacklevel=4)
    raise errors.fail("argument", "the list of providers is empty", field="providers")


def _from_providers(providers: Any, provider_options: Any, device: "str | None", precision: "str | None") -> "tuple[str | None, str | None, bool]":
    """(device, precision, steps on the CPU allowed) from providers; keywords win, a contradiction is an error."""
    if providers is None:
        return device, precision, False
    name, o = _choose(list(providers), provider_options)
    kind = _PROVIDERS[name]
    found = kind if kind == "cpu" else f"cuda:{int(o.pop('device_id', 0))}"
    asked = o.pop("precision", None) or ("tf32" if str(o.pop("use_tf32", "0")) in ("1", "True") else None)
    allow = str(o.pop("allow_cpu_steps", "0")) in ("1", "True")
    if device is not None and device.split(":")[0] != kind:
        raise errors.fail("argument", f"device '{device}' contradicts provider {name}", field="device")
    if precision is not None and asked is not None and precision != asked:
        raise errors.fail("argument", f"precision '{precision}' contradicts the provider's '{asked}'", field="precision")
    return device or found, precision or asked, allow


class InferenceSession:
    """A model that is ready to run, from any number of threads at once.

    Args:
        path_or_bytes: a plan (file or bytes), or a model: an ``.onnx`` file, its bytes, an ``onnx.ModelProto``, or the folder of a Hugging Face checkpoint.
            A model is built first, in memory, or into `cache`.
        sess_options: see :class:`SessionOptions`.
        providers: ``["CPUExecutionProvider"]``, ``["CUDAExecutionProvider", ...]`` or ``[("CUDAExecutionProvider", {"device_id": 0, "precision": "fp16"})]``:
            a list of preferences as onnxruntime has it. The first that works here is taken; passing one over is a :class:`tenon.Warning`, and an error when
            nothing else was named. None: the CPU.
        provider_options: dicts that go with `providers`.
        device: "cpu", "cuda" or "cuda:N", instead of providers.
        precision: on a GPU "fp32", "tf32", "fp16" or "bf16".
        shapes: ranges of symbols, ``{"batch": (1, 4, 8)}`` or "batch=1:4:8"; without it every size runs.
        cache: folder in which plans of models are kept; also the environment variable TENON_PLAN_CACHE. A plan is used again when the model's contents,
            the options, Tenon and the CPU are the same.
        progress: a function (phase, done, total) that is called while the model is built, or True for a tqdm bar.
        tune, timing_cache, cpu, reference, samples, target, allow_cpu_steps, buckets, head_dim, image_size, config, head, attention, score_threshold: as in :func:`tenon.build`.

    Raises:
        tenon.Error: a subclass of it says why; see tenon.errors. KeyboardInterrupt stops a build.
    """

    def __init__(self, path_or_bytes: Any, sess_options: "SessionOptions | None" = None, providers: "Sequence[Any] | None" = None,
                 provider_options: "Sequence[Mapping[str, Any]] | None" = None, *, device: "str | None" = None, precision: "str | None" = None,
                 shapes: Any = None, tune: bool = False, timing_cache: Any = None, cpu: "str | None" = None, reference: bool = False,
                 samples: "Mapping[str, Any] | None" = None, target: "str | None" = None, allow_cpu_steps: bool = False,
                 buckets: Any = None, head_dim: "int | None" = None, image_size: "int | None" = None, config: Any = None, head: Any = None,
                 attention: "str | None" = None, score_threshold: "float | None" = None,
                 cache: "str | os.PathLike[str] | None" = None, progress: Any = None, disabled_optimizers: Any = None) -> None:
        so = sess_options if sess_options is not None else SessionOptions()
        if disabled_optimizers:
            raise errors.fail("unsupported", "disabled_optimizers names rewrites of ONNX Runtime", field="disabled_optimizers")
        if so.optimized_model_filepath:
            raise errors.fail("unsupported", "optimized_model_filepath: a plan is no ONNX model; save one with tenon.build", field="optimized_model_filepath")
        device, precision, allow = _from_providers(providers, provider_options, device, precision)
        if so._dims:
            ranges = [t for t in (_options.shapes_text(shapes), _options.shapes_text(so._dims)) if t]
            shapes = ",".join(ranges)
        stop = "import" if so.graph_optimization_level == GraphOptimizationLevel.ORT_DISABLE_ALL else None
        options = dict(device=device, precision=precision, shapes=shapes, tune=tune, timing_cache=timing_cache, cpu=cpu, reference=reference, samples=samples,
                       target=target, allow_cpu_steps=allow_cpu_steps or allow, stop_after=stop, threads=int(so.intra_op_num_threads),
                       buckets=buckets, head_dim=head_dim, image_size=image_size, config=config, head=head, attention=attention,
                       score_threshold=score_threshold)
        if cache is None:
            cache = os.environ.get("TENON_PLAN_CACHE") or None
        self._source = path_or_bytes
        self._options = so
        self._threads = int(so.intra_op_num_threads)
        self._plan = _options.open_source(path_or_bytes, options, progress=progress, cache=cache)
        self._core = _core.Session(self._plan, self._threads)
        self._run = self._core.run
        self._inputs = _args(self._plan.inputs())
        self._outputs = _args(self._plan.outputs())
        self._input_index = {a.name: i for i, a in enumerate(self._inputs)}
        self._output_index = {a.name: i for i, a in enumerate(self._outputs)}
        self._copies: "_core.Context | None" = None

    # ---- running ----

    def run(self, output_names: "Sequence[str] | None", input_feed: "Mapping[str, Any]", run_options: "RunOptions | None" = None) -> "list[np.ndarray]":
        """Runs the model.

        Args:
            output_names: names of the outputs wanted, in the order wanted; None: all.
            input_feed: {input name: array}. Arrays of the declared type are read where they lie when they are dense, native and aligned; views with strides
                and other byte orders are copied. Also taken: tensors with ``__dlpack__`` (PyTorch on the CPU, or on the session's GPU), OrtValues.
            run_options: taken, without effect.

        Returns:
            New arrays, one an output.

        Raises:
            DtypeError (a TypeError): an element type differs from the declared one; it is never converted in silence.
            ShapeError (a ValueError): a shape does not fit; UnknownNameError (a ValueError): an input is missing or unknown.
            RunError: a step cannot compute its result from these values; the exception names the node.
        """
        return self._run(output_names, input_feed)

    def run_with_ort_values(self, output_names: "Sequence[str] | None", input_dict_ort_values: "Mapping[str, OrtValue]",
                            run_options: "RunOptions | None" = None) -> "list[OrtValue]":
        """As run(), with OrtValues in and out."""
        feed = {k: v._on(self) if v._pending is not None else v._value for k, v in input_dict_ort_values.items()}
        return [OrtValue.ortvalue_from_numpy(a) for a in self._run(output_names, feed)]

    def run_with_iobinding(self, iobinding: IOBinding, run_options: "RunOptions | None" = None) -> None:
        """Runs on what is bound, and waits."""
        if iobinding._session is not self:
            raise errors.fail("argument", "the binding belongs to another session")
        iobinding._run()

    def io_binding(self) -> IOBinding:
        """A new binding; one for each thread that runs at the same time."""
        return IOBinding(self)

    def generate(self, input_feed: "Mapping[str, Any]", *, max_length: int = 0, num_beams: int = 0, length_penalty: "float | None" = None,
                 early_stopping: "bool | str | None" = None, min_new_tokens: int = 0) -> "list[Generated]":
        """Tokens of an encoder-decoder model; the loop is part of the plan.

        Args:
            input_feed: inputs of the encoder; their first dim is the number of lines.
            max_length: tokens of a line at most, with the start token; 0: the checkpoint's.
            num_beams: 1 is greedy; 0: the checkpoint's.
            length_penalty: None: the checkpoint's.
            early_stopping: False, True, "never"; None: the checkpoint's.
            min_new_tokens: the stop token is not chosen before that many.

        Raises:
            RequestError: the plan is no generator, or its states hold fewer lines, beams or tokens.
        """
        stop = {None: -1, False: 0, True: 1, "never": 2}
        if early_stopping not in stop:
            raise errors.fail("argument", f"early_stopping is {early_stopping!r}; False, True, 'never' or None are possible", field="early_stopping")
        missing = [n for n in self._input_index if n not in input_feed]
        extra = [n for n in input_feed if n not in self._input_index]
        if missing or extra:
            raise errors.fail("name", f"the inputs given are {list(input_feed)}; the model takes {list(self._input_index)}", field=(missing or extra)[0])
        rows = self._core.generate([input_feed[n] for n in self._input_index], max_length=max_length, num_beams=num_beams, length_penalty=length_penalty,
                                   early_stopping=stop[early_stopping], min_new_tokens=min_new_tokens)
        return [Generated(*row) for row in rows]

    # ---- looking ----

    def get_inputs(self) -> "list[NodeArg]":
        """What run() takes, in the model's order."""
        return list(self._inputs)

    def get_outputs(self) -> "list[NodeArg]":
        """What run() returns, in the model's order."""
        return list(self._outputs)

    def get_overridable_initializers(self) -> "list[NodeArg]":
        """None: weights are part of the plan."""
        return []

    def get_modelmeta(self) -> ModelMetadata:
        """Producer, description and custom metadata of the model; empty for a plan, which does not keep them."""
        return read_metadata(self._source)

    def get_providers(self) -> "list[str]":
        """The provider that runs the model."""
        return ["CUDAExecutionProvider" if self._plan.device()["kind"] == "cuda" else "CPUExecutionProvider"]

    def get_provider_options(self) -> "dict[str, dict[str, str]]":
        """Options of the providers in use."""
        d = self._plan.device()
        return {self.get_providers()[0]: {"device_id": str(d["index"])} if d["kind"] == "cuda" else {}}

    def get_session_options(self) -> SessionOptions:
        return self._options

    def set_providers(self, providers: Any, provider_options: Any = None) -> None:
        """What a plan runs on was settled when it was built."""
        if _from_providers(providers, provider_options, None, None)[0].split(":")[0] != self._plan.device()["kind"]:  # type: ignore[union-attr]
            raise errors.fail("request", "a session cannot move to another device; make a new one", field="providers")

    def disable_fallback(self) -> None:
        """There is none to disable."""

    def enable_fallback(self) -> None:
        raise errors.fail("unsupported", "Tenon does not run a model elsewhere than it was asked to")

    def end_profiling(self) -> str:
        raise errors.fail("unsupported", "profiles are made by tenon.bench(..., profile=True)")

    def get_plan(self) -> "_core.Plan":
        """The plan, for tenon.inspect and tenon.explain."""
        return self._plan

    def _copy_context(self) -> "_core.Context":
        if self._copies is None:
            self._copies = _core.Context(self._plan, 1)
        return self._copies

    def __repr__(self) -> str:
        return f"InferenceSession({', '.join(a.name for a in self._inputs)} -> {', '.join(a.name for a in self._outputs)} on {self.get_providers()[0]})"


@dataclass
class Generated:
    """One line of :meth:`InferenceSession.generate`.

    Attributes:
        tokens: int32 [n], the start token first.
        log_probs: float32 [n], natural logarithm of each token's probability; 0 for the start token.
        score: beam search: the length-normalised sum; greedy: the sum.
    """

    tokens: np.ndarray
    log_probs: np.ndarray
    score: float
