"""Finds the weights among what else a file holds, and takes off their names what wraps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ngf.outside.opening.plan import Planned
from ngf.outside.opening.refusal import MARKUP, Ask, NotOpened, plain, some

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
_WRAPPERS_OF_TORCH = PREFIXES[:2]  # what is below them is a network by itself, whatever its names
_DEEPEST, _MOST_PLACES = 4, 20_000  # dictionaries in dictionaries, and how many are looked at
_LONGEST_NAME = 300
_MOST_CLASSES, _LONGEST_TEXT = 10_000, 200
_WITHOUT_WEIGHTS = frozenset(("optimizer", "optim", "scheduler", "lr_scheduler", "scaler"))

_CLASSES = ("classes", "class_names", "class_to_idx", "labels")
_NAMES = ("model_name", "arch", "architecture", "model_arch")
_SIZES = ("image_size", "img_size", "input_size")
_COUNTS = ("num_classes", "n_classes", "nb_classes", "num_class")
_HELPFUL = frozenset((*_CLASSES, *_NAMES, *_SIZES, *_COUNTS))
_SETTINGS = ("hyper_parameters", "hparams", "config", "args")


@dataclass(frozen=True)
class Chosen:
    """The state dict at `path`: its tensors by their names in the file, and what lies beside it."""

    path: tuple[str, ...]
    tensors: dict[str, Planned]
    beside: tuple[str, ...]


def choose(root: Any, pick: str = "") -> Chosen:
    """The one state dict in `root`, or that which `pick` names. Raises NotOpened or Ask."""
    if isinstance(root, Planned):
        raise NotOpened("The file holds one tensor without a name, not the weights of a model.")
    if not isinstance(root, dict):
        raise NotOpened("The file holds no dictionary of weights.")
    if not root:
        raise NotOpened("The file holds an empty dictionary.")
    found = dict(_state_dicts(root, ()))
    if not found:
        raise _none(root)
    matrices = {path: state for path, state in found.items() if _has_matrix(state)}
    options = {"/".join(path): path for path in matrices or found}
    if pick:
        if pick not in options:
            raise NotOpened(
                f"The file holds no weights under {plain(pick)}.",
                advice=f"Choose one of: {some(options)}.",
            )
    elif len(options) > 1:
        raise Ask(tuple(options))
    path = options[pick or next(iter(options))]
    tensors = {name: value for name, value in found[path].items() if isinstance(value, Planned)}
    _check_names(path, tensors)
    return Chosen(path, tensors, tuple(_beside(root, path)))


def _state_dicts(
    root: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """All state dicts, each with the keys down to it, the outer ones first."""
    waiting: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [(path, root)]
    looked = 0
    for path, here in waiting:
        looked += 1
        if looked > _MOST_PLACES:
            raise NotOpened("The file holds dictionaries in dictionaries without an end.")
        if _is_optimizer(here):
            continue
        direct = [name for name, value in here.items() if isinstance(value, Planned)]
        inner = [
            (name, value)
            for name, value in here.items()
            if isinstance(value, dict) and name not in _WITHOUT_WEIGHTS
        ]
        if direct and (not inner or sum("." in str(name) for name in direct) > 1):
            yield path, here
        elif inner and len(path) >= _DEEPEST:
            raise NotOpened(f"The file nests more than {_DEEPEST} dictionaries.")
        else:
            waiting += [((*path, name), value) for name, value in inner]


def _is_optimizer(state: Mapping[Any, Any]) -> bool:
    return "param_groups" in state or "base_lrs" in state


def _has_matrix(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Planned) and len(value.size) > 1 for value in state.values())


def _none(root: Mapping[Any, Any]) -> NotOpened:
    inner = [value for value in root.values() if isinstance(value, dict)]
    if _is_optimizer(root) or any(_is_optimizer(value) for value in inner):
        return NotOpened(
            "The file holds the state of an optimizer, but no weights.",
            advice="Bring the file with the weights, of `torch.save(model.state_dict(), ...)`.",
        )
    return NotOpened(f"The file holds no weights, only {some(root)}.")


def _check_names(path: tuple[Any, ...], names: Mapping[Any, Planned]) -> None:
    for name in (*path, *names):
        if not isinstance(name, str):
            raise NotOpened(f"A name in the file is no text but {plain(type(name).__name__)}.")
        if not name or len(name) > _LONGEST_NAME:
            raise NotOpened(f"A name in the file is empty or too long: {plain(name)}.")
        if not name.isprintable() or MARKUP & set(name):
            raise NotOpened(
                f"A name in the file holds characters that no layer's name has: {plain(name)}.",
                advice="Rename the layers to letters, digits, dots and underscores.",
            )


def _beside(root: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The keys of what is not used; plain values that `extra_of` looks at are."""
    here: Any = root
    for key in path:
        yield from (str(name) for name in here if name != key and name not in _HELPFUL)
        here = here[key]
    yield from (str(name) for name, value in here.items() if not isinstance(value, Planned))


def prefix_of(names: list[str]) -> str:
    """What all names begin with that wraps a model, such as `module.model.`.

    A name of ours that is left with a bare `weight` or with a number has lost what tells its layer:
    `net.0.weight` is a layer of a network that has a `net`, and stays as it is.
    """
    prefix = ""
    while True:
        rest = [name.removeprefix(prefix) for name in names]
        step = next((p for p in PREFIXES if all(name.startswith(p) for name in rest)), "")
        if not step:
            return prefix
        below = [name.removeprefix(step) for name in rest]
        if not all(below) or (
            step not in _WRAPPERS_OF_TORCH
            and any("." not in name or name[0].isdigit() for name in below)
        ):
            return prefix
        prefix += step


def extra_of(root: Any) -> dict[str, Any]:
    """Plain values that help to recognize the model: `classes` (list of texts), `image_size` and
    `num_classes` (numbers), `model_name` (text). What is not plain is left out.
    """
    if not isinstance(root, dict):
        return {}
    places = [root, *(root[key] for key in _SETTINGS if isinstance(root.get(key), dict))]
    rules = (
        ("classes", _CLASSES, _texts),
        ("image_size", _SIZES, _side),
        ("num_classes", _COUNTS, _count),
        ("model_name", _NAMES, _text),
    )
    extra: dict[str, Any] = {}
    for name, keys, rule in rules:
        values = (rule(place[key]) for place in places for key in keys if key in place)
        if (value := next((value for value in values if value is not None), None)) is not None:
            extra[name] = value
    return extra


def _text(value: Any) -> str | None:
    good = isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()
    return value if good else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 10**6 else None


def _side(value: Any) -> int | None:
    """32 of 32, (32, 32), (32, 32, 3) or (3, 32, 32); of an oblong image none."""
    if isinstance(value, (list, tuple)) and len(value) in (1, 2, 3):
        sides = [_count(side) for side in value]
        if len(sides) == 3:
            sides = sides[1:] if sides[0] in (1, 3) else sides[:2]
        return sides[0] if len(set(sides)) == 1 else None
    return _count(value)


def _texts(value: Any) -> list[str] | None:
    """Names of classes in their order: a list, a dictionary to numbers or one from numbers."""
    if isinstance(value, dict):
        pairs = [(k, v) if type(k) is int else (v, k) for k, v in value.items()]
        if not all(type(k) is int for k, _ in pairs):
            return None
        pairs.sort(key=lambda pair: pair[0])
        value = [v for _, v in pairs] if [k for k, _ in pairs] == [*range(len(pairs))] else None
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST_CLASSES:
        return None
    names = [_text(name) for name in value]
    return [name for name in names if name is not None] if all(names) else None
