"""Reads the pickle of a checkpoint without making anything of it: no name that it holds is looked
up, and nothing that it calls is called. What it promises comes out as plain containers with
`Planned` in place of tensors, so that all of it can be judged before torch loads a byte.

The pure Python unpickler is used on purpose: that in C allocates what a hostile file asks for.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from ngf.outside.opening.plan import BYTES, Planned
from ngf.outside.opening.refusal import NotOpened, damaged, plain, some

_STORAGES = {
    "Bool": "bool",
    "Byte": "uint8",
    "Char": "int8",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float": "float32",
    "Double": "float64",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
    "Untyped": "",
}
_WIDTHS = {**BYTES, "": 1, "complex64": 8, "complex128": 16, "qint32": 4}  # others: one byte
_ODD = {
    "torch._utils._rebuild_qtensor": "quantized",
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta (empty)",
    "torch._utils._rebuild_wrapper_subclass": "wrapped",
    "torch._utils._rebuild_device_tensor_from_numpy": "foreign",
}
# Data without weights that training scripts put beside them. Neither here nor in torch.load are
# these made: an `Unused` takes their place.
UNUSED = (
    "argparse.Namespace",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "types.SimpleNamespace",
)
_ALONE = (
    "Where it was made, run `model = torch.load('model.pt', weights_only=False)` and "
    "`torch.save(model.state_dict(), 'weights.pt')`, and bring weights.pt."
)
_WEIGHTS = (
    "If you trust it, load it where it was made and save the weights alone: "
    "`torch.save(model.state_dict(), 'weights.pt')`."
)


class Unused:
    """Stands for an object that the file holds beside the weights."""

    __slots__ = ()

    def __new__(cls, *given: Any, **named: Any) -> Unused:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Keeps nothing."""


class _Dict(dict[Any, Any]):
    """A dictionary that takes no attributes, such as the `_metadata` of a state dict."""

    def __setstate__(self, state: Any) -> None:
        """Keeps nothing."""


@dataclass(frozen=True)
class Storage:
    """Bytes that tensors are views of: the key of their record and how many elements of what."""

    key: str
    dtype: str
    held: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.held * _WIDTHS.get(self.dtype, 1)


@dataclass
class Found:
    """What a pickle promises.

    root: its containers; tensors: all of them; storages: by key.
    names: whatever else the pickle wants to look up and call.
    """

    root: Any = None
    tensors: list[Planned] = field(default_factory=list)
    storages: dict[str, Storage] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


class _Name:
    """A name of the pickle in place of what it names; calling it calls one of our rules."""

    __slots__ = ("_call", "name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name, self._call = name, call

    def __call__(self, *given: Any) -> Any:
        return self._call(*given)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a class")


class _Scan(pickle._Unpickler):
    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], found: Found) -> None:
        super().__init__(file, encoding="utf-8")
        self._found = found
        self._rules: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": _Dict,
            "collections.Counter": _Dict,
            "torch.Size": tuple,
            "torch._utils._rebuild_tensor": self._view,
            "torch._utils._rebuild_tensor_v2": self._view,
            "torch._utils._rebuild_tensor_v3": self._typed_view,
            "torch._utils._rebuild_parameter": _first,
            "torch._utils._rebuild_parameter_with_state": _first,
            "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
            "torch._tensor._rebuild_from_type_v2": self._of_type,
        }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self._rules:
            return _Name(full, self._rules[full])
        if full in _ODD:
            return _Name(full, lambda *given: self._note(Planned("", (), odd=_ODD[full])))
        if full not in _harmless() and not _storage(full):
            self._found.names.append(full)
        return _Name(full, Unused)

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it asks for something that is not stored")
        _, kind, key, _, held, *view = pid
        if not isinstance(kind, _Name) or not _storage(kind.name):
            raise pickle.UnpicklingError("it stores values of no type")
        if not isinstance(key, str) or type(held) is not int or held < 0 or any(view):
            raise pickle.UnpicklingError("it stores values in no known way")
        storage = Storage(key, _STORAGES[_storage(kind.name)], held)
        if self._found.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError("it describes the same values twice, differently")
        return storage

    def load_newobj(self) -> None:
        given = self.stack.pop()  # type: ignore[attr-defined]
        made = self.stack.pop()  # type: ignore[attr-defined]
        if not isinstance(made, _Name):
            raise pickle.UnpicklingError("it makes an object of no class")
        self.append(made(*given))  # type: ignore[attr-defined]

    dispatch[pickle.NEWOBJ[0]] = load_newobj  # type: ignore[assignment]

    def load_reduce(self) -> None:
        given = self.stack.pop()  # type: ignore[attr-defined]
        called = self.stack.pop()  # type: ignore[attr-defined]
        if not isinstance(called, _Name) or not isinstance(given, tuple):
            raise pickle.UnpicklingError("it calls what cannot be called")
        self.append(called(*given))  # type: ignore[attr-defined]

    dispatch[pickle.REDUCE[0]] = load_reduce  # type: ignore[assignment]

    def _note(self, tensor: Planned) -> Planned:
        self._found.tensors.append(tensor)
        return tensor

    def _view(self, storage: Storage, offset: int, size: Any, stride: Any, *_: Any) -> Planned:
        return self._note(Planned(storage.dtype, tuple(size), tuple(stride), offset, storage.held))

    def _typed_view(
        self, storage: Storage, offset: int, size: Any, stride: Any, *more: Any
    ) -> Planned:
        dtype = more[2].name.removeprefix("torch.")
        held = storage.size // _WIDTHS.get(dtype, 1)
        return self._note(Planned(dtype, tuple(size), tuple(stride), offset, held))

    def _of_type(self, make: Any, kind: Any, given: Any, state: Any) -> Any:
        """A tensor with attributes, or one of a class of its own."""
        made = make(*given)
        if isinstance(kind, _Name) and kind.name in (
            "torch.Tensor",
            "torch.nn.parameter.Parameter",
        ):
            return made
        return self._note(Planned("", (), odd="wrapped"))


def _first(made: Any, *_: Any) -> Any:
    return made


def _storage(name: str) -> str:
    """`Float` of `torch.FloatStorage`; empty for what names no storage."""
    module, _, kind = name.rpartition(".")
    kind = kind.removesuffix("Storage") if kind.endswith("Storage") else ""
    return kind if module in ("torch", "torch.storage") and kind in _STORAGES else ""


def _harmless() -> frozenset[str]:
    """Names that torch.load knows and that hold no weights, with those of `UNUSED`."""
    types = (*BYTES, "complex64", "complex128", "float", "uint16", "uint32", "uint64")
    return _HARMLESS | {f"torch.{name}" for name in types}


_HARMLESS = frozenset(
    (
        "torch.device",
        "torch.Tensor",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.per_tensor_affine",
        "torch.per_channel_affine",
        "torch.per_tensor_symmetric",
        "torch.per_channel_symmetric",
        "torch.per_channel_affine_float_qparams",
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "__builtin__.bytearray",
        "__builtin__.complex",
        "__builtin__.set",
        *UNUSED,
    )
)


def scan(file: IO[bytes], found: Found | None = None) -> Found:
    """What the pickle at the position of `file` promises; the position is then behind it. Raises
    NotOpened for one that is damaged or that needs code.
    """
    found = Found() if found is None else found
    try:
        found.root = _Scan(file, found).load()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  made-up pickles find every kind
        if found.names:
            raise _needs_code(found.names) from None
        if isinstance(error, NotOpened):
            raise
        raise damaged(
            f"its structure cannot be read ({plain(error) or type(error).__name__})"
        ) from None
    if found.names:
        raise _needs_code(found.names)
    return found


def _needs_code(names: list[str]) -> NotOpened:
    """The refusal of a pickle that looks up `names`, in the words of who made or found it."""
    modules = ("torch.nn.", "torchvision.models.", "timm.models.")
    if any(name.startswith(modules) for name in names):
        return NotOpened(
            f"The file holds a whole model with its code ({plain(names[0])}), not its weights "
            "alone; opening it would run that code.",
            advice=_ALONE,
        )
    if names[0].startswith("torch.jit") or "RecursiveScriptModule" in names[0]:
        return NotOpened("The file holds a TorchScript program.", advice=_ALONE)
    return NotOpened(
        f"The file holds more than weights: opening it would run {some(dict.fromkeys(names))}, "
        "so it was not opened.",
        advice=_WEIGHTS,
    )
