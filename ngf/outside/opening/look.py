"""A stranger's checkpoint from its first byte to tensors: what it is, what it promises, whether
that adds up, which of it are the weights, and only then the weights themselves.

It runs in a child (`ngf.outside.opening.child`); nothing here trusts that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from ngf.outside.opening import archive, kinds, safetensors_file
from ngf.outside.opening.plan import Planned, check_total, dense
from ngf.outside.opening.refusal import Limits, NotOpened, damaged, plain, some
from ngf.outside.opening.states import Chosen, choose, extra_of, prefix_of

if TYPE_CHECKING:
    from torch import Tensor

_VARIANCE = "running_var"


@dataclass(frozen=True)
class Seen:
    """Weights that were found, and how the file held them; see `ngf.outside.checkpoint.Form`.

    dtypes: of each tensor as it came, by its name without the prefix.
    tensors: what they will be once read, by the same names.
    load: reads them.
    """

    container: str
    path: tuple[str, ...]
    prefix: str
    dtypes: dict[str, str]
    tensors: dict[str, Planned]
    notes: tuple[str, ...]
    extra: dict[str, Any]
    load: Callable[[], Iterator[tuple[str, Tensor]]]


def look(file: IO[bytes], size: int, pick: str = "", limits: Limits = Limits()) -> Seen:  # noqa: B008
    """What `file` of `size` bytes holds. Raises NotOpened, Ask or MemoryError."""
    file.seek(0)
    kind = kinds.kind(file.read(kinds.START))
    if kind == kinds.SAFETENSORS:
        places = safetensors_file.places(file, size, limits)
        planned: Mapping[str, Planned] = {name: place.tensor for name, place in places.items()}
        chosen = choose(dict(planned), pick)
        return _seen("safetensors", {}, chosen, limits, lambda: _read(file, places))
    reader = archive.found_in_zip if kind == kinds.ZIP else archive.found_in_stream
    found = reader(file, size, limits)
    for tensor in found.tensors:
        tensor.check()
    chosen = choose(found.root, pick)
    return _seen("pt", found.root, chosen, limits, lambda: _load(file, chosen))


def _read(
    file: IO[bytes], places: Mapping[str, safetensors_file.Place]
) -> Iterator[tuple[str, Tensor]]:
    for name, place in places.items():
        yield name, safetensors_file.read(file, place)


def _load(file: IO[bytes], chosen: Chosen) -> Iterator[tuple[str, Tensor]]:
    state = archive.load(file)
    for key in chosen.path:
        state = state[key]
    for name in chosen.tensors:
        yield name, state[name]


def _seen(
    container: str,
    root: Any,
    chosen: Chosen,
    limits: Limits,
    load: Callable[[], Iterator[tuple[str, Tensor]]],
) -> Seen:
    check_total(chosen.tensors.values(), limits)
    prefix = prefix_of(list(chosen.tensors))
    own = {name.removeprefix(prefix): planned for name, planned in chosen.tensors.items()}
    dtypes = {name: planned.dtype for name, planned in own.items()}
    read = {
        name: replace(planned, dtype=planned.as_read(), stride=dense(planned.size))
        for name, planned in own.items()
    }
    return Seen(
        container,
        chosen.path,
        prefix,
        dtypes,
        read,
        tuple(_notes(chosen, prefix, dtypes, read)),
        extra_of(root),
        lambda: _checked(load(), prefix, read),
    )


def _notes(
    chosen: Chosen, prefix: str, dtypes: Mapping[str, str], read: Mapping[str, Planned]
) -> Iterator[str]:
    if chosen.path:
        yield f"The weights were taken from {' / '.join(map(plain, chosen.path))}."
    if prefix:
        yield f"All names began with {plain(prefix)}, which was taken off."
    converted = [dtype for name, dtype in dtypes.items() if read[name].dtype != dtype]
    for dtype in dict.fromkeys(converted):
        count = converted.count(dtype)
        came = "tensors came" if count > 1 else "tensor came"
        yield f"{count:,} {came} as {dtype}; float32 is used."
    if chosen.beside:
        verb = "they are" if len(chosen.beside) > 1 else "it is"
        yield f"The file also holds {some(chosen.beside)}: {verb} not used."


def _checked(
    tensors: Iterator[tuple[str, Tensor]], prefix: str, promised: Mapping[str, Planned]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors by their names without the prefix, as promised. Raises NotOpened, at the end for
    values that no weights have.
    """
    import torch

    broken, negative = [], []
    for full, value in tensors:
        name = full.removeprefix(prefix)
        tensor = _plain_tensor(name, value, promised[name])
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            broken.append(name)
        if name.endswith(_VARIANCE) and (tensor < 0).any():
            negative.append(name)
        yield name, tensor
    if broken:
        raise NotOpened(
            f"The weights {some(broken)} are not finite numbers.",
            advice="Bring a checkpoint from before the training diverged.",
        )
    if negative:
        raise NotOpened(
            f"The variances {some(negative)} are negative.",
            advice="The file does not hold what its names say; save it again.",
        )


def _plain_tensor(name: str, value: Any, promised: Planned) -> Tensor:
    """`value` as float32 or as the integers it is, contiguous, if it is what was promised."""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout != torch.strided:
        raise damaged(f"{plain(name)} is no plain tensor")
    tensor: Tensor = value.detach().to(getattr(torch, promised.dtype)).contiguous()
    if tuple(tensor.shape) != promised.size or tensor.device.type != "cpu":
        raise damaged(f"{plain(name)} is not what the file promises")
    return tensor
