"""What a sweep is: a run with axes, which expands to ordinary runs.

    {"kind": "sweep",
     "base": {"kind": "purify", "lanes": ["ngf"],
              "parent": {"kind": "train", "attack": "badnets"}},
     "axes": {"parent.attack": ["badnets", "blend"],
              "parent.seed": {"from": 0, "to": 4},
              "lanes.0.trust_region": {"from": 0.001, "to": 0.1, "num": 3, "scale": "log"}},
     "leave_out": [{"parent.attack": "blend", "parent.seed": 4}]}

Where a run names the one that it starts from (`parent` of a purification, `target` of a
measurement), the specification of that run may stand: it is then a part of the sweep. The lane of
such a target is its `lane`. Combinations that do not go together are refused one by one, with the
reason; the rest goes on. As equal requests have equal names, nothing is computed twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from ngf.catalogue import normalize
from ngf.config import REVISION, MeasureSpec, PurifySpec, Spec, Target, TrainSpec, spec_from_json
from ngf.options import SpecError
from ngf.runs.store import NoSuchRun, Store
from ngf.runs.submit import checked, purification_of
from ngf.sweeps.axes import put, values_of

MOST_POINTS = 100_000  # combinations of one sweep
_DEEPEST = 20  # levels of the JSON: a measurement of a purification has nine
_FIELDS = {"kind", "base", "axes", "leave_out"}
_BEGINNING = {"purify": "parent", "measure": "target"}  # field that names where a run starts from
Values = Mapping[str, Any]  # axis -> value


@dataclass(frozen=True)
class Point:
    """One combination. specs: what has to be run for it, in this order; the last is its own."""

    values: Values
    specs: tuple[Spec, ...]

    @property
    def spec(self) -> Spec:
        return self.specs[-1]


@dataclass(frozen=True)
class Refused:
    """A combination that does not go together, and why."""

    values: Values
    why: str


@dataclass(frozen=True)
class Expansion:
    points: tuple[Point, ...]
    refused: tuple[Refused, ...]

    def specs(self) -> dict[str, Spec]:
        """Every run of the sweep by its name, what others start from first."""
        found = {spec.id: spec for point in self.points for spec in point.specs}
        order = {"train": 0, "purify": 1, "measure": 2}
        return dict(sorted(found.items(), key=lambda item: order[item[1].kind]))


@dataclass(frozen=True)
class SweepSpec:
    """See above. base: JSON of a run; axes: path -> values, the last one runs fastest."""

    base: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]]
    leave_out: tuple[Values, ...] = ()

    @classmethod
    def from_json(cls, obj: Any) -> SweepSpec:
        """Raises SpecError."""
        if not isinstance(obj, Mapping) or obj.get("kind") != "sweep":
            raise SpecError('A sweep is an object with "kind": "sweep", "base" and "axes".')
        if _depth(obj) > _DEEPEST:
            raise SpecError(f"The sweep is nested deeper than {_DEEPEST} levels, as no run is.")
        if unknown := sorted(set(obj) - _FIELDS):
            raise SpecError(
                f"A sweep has no {', '.join(unknown)}. Allowed: {', '.join(sorted(_FIELDS))}."
            )
        base, axes, leave_out = obj.get("base"), obj.get("axes"), obj.get("leave_out", [])
        if not isinstance(base, Mapping):
            raise SpecError('"base" is the specification of a run.')
        if not isinstance(axes, Mapping) or not axes:
            raise SpecError('"axes" needs at least one axis, as in {"seed": [0, 1, 2]}.')
        if not isinstance(leave_out, list) or not all(
            isinstance(one, Mapping) for one in leave_out
        ):
            raise SpecError('"leave_out" is a list of objects, as in [{"seed": 2}].')
        for one in leave_out:
            if unknown := sorted(set(one) - set(axes)):
                raise SpecError(
                    f"leave_out names {', '.join(unknown)}, which is no axis. "
                    f"Axes: {', '.join(axes)}."
                )
        found = {str(path): values_of(str(path), given) for path, given in axes.items()}
        count = math.prod(len(values) for values in found.values())
        if count > MOST_POINTS:
            raise SpecError(
                f"These are {count:,} combinations; {MOST_POINTS:,} are the limit of one sweep. "
                "Shorten an axis, or make several sweeps: runs that they share are made once."
            )
        return cls(deepcopy(dict(base)), found, tuple(leave_out))

    def to_json(self) -> dict[str, Any]:
        axes = {path: list(values) for path, values in self.axes.items()}
        out: dict[str, Any] = {"kind": "sweep", "base": dict(self.base), "axes": axes}
        return out | (
            {"leave_out": [dict(one) for one in self.leave_out]} if self.leave_out else {}
        )

    @property
    def id(self) -> str:
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def combinations(self) -> list[dict[str, Any]]:
        """Values by axis, but for those that are left out."""
        found = (
            dict(zip(self.axes, one, strict=True)) for one in itertools.product(*self.axes.values())
        )
        return [
            one
            for one in found
            if not any(
                all(one[axis] == value for axis, value in out.items()) for out in self.leave_out
            )
        ]

    def expand(self, store: Store) -> Expansion:
        """What it consists of. Raises SpecError where nothing is left, with the first reason."""
        points: list[Point] = []
        refused: list[Refused] = []
        known: dict[str, Spec | str] = {}
        paths = sorted(self.axes, key=lambda path: path.count("."))  # a whole before its parts
        for values in self.combinations():
            try:
                tree = deepcopy(dict(self.base))
                for path in paths:
                    put(tree, path, deepcopy(values[path]))
                points.append(Point(values, tuple(_chain(tree, store, known))))
            except SpecError as exc:
                refused.append(Refused(values, str(exc)))
        if not points:
            why = f" {refused[0].why}" if refused else " Everything is left out."
            raise SpecError(f"No combination of this sweep can be run.{why}")
        return Expansion(tuple(points), tuple(refused))


def _depth(tree: Any) -> int:
    """Levels of objects and lists."""
    levels, nodes = 0, [tree]
    while nodes := [node for node in nodes if isinstance(node, Mapping | list)]:
        levels += 1
        nodes = [
            child
            for node in nodes
            for child in (node.values() if isinstance(node, Mapping) else node)
        ]
    return levels


def _chain(tree: Any, store: Store, known: dict[str, Spec | str]) -> list[Spec]:
    """The run that the tree says, and before it those that it starts from as far as they are said,
    too. Raises SpecError.

    known: what was said before -> the run that it is, or why it is none.
    """
    if not isinstance(tree, Mapping):
        raise SpecError(f"{tree!r} is no specification of a run.")
    kind = tree.get("kind")
    field = _BEGINNING.get(str(kind))
    if field is None or not isinstance(tree.get(field), Mapping):
        return [_once(tree, store, known)]
    if kind == "purify":
        chain = _chain(tree["parent"], store, known)
        training = chain[-1]
        if not isinstance(training, TrainSpec):
            raise SpecError("The parent of a purification is a training.")
        spec = _spec({**tree, "parent": training.id})
        assert isinstance(spec, PurifySpec)
        return [*chain, replace(purification_of(training, spec), parent=training.id)]
    target = dict(tree["target"])
    lane = target.pop("lane", "")
    chain = _chain(target, store, known)
    before = chain[-1]
    if isinstance(before, MeasureSpec) or (lane and not isinstance(before, PurifySpec)):
        raise SpecError("The target of a measurement is a training, or a lane of a purification.")
    name = before.lane_name(lane) if isinstance(before, PurifySpec) else ""
    spec = _spec({**tree, "target": str(Target(before.id, name))})
    assert isinstance(spec, MeasureSpec)
    return [*chain, replace(spec, measurement=normalize("measurements", spec.measurement))]


def _once(tree: Mapping[str, Any], store: Store, known: dict[str, Spec | str]) -> Spec:
    """The checked specification; many combinations share a training, whose check takes a while."""
    text = json.dumps(tree, sort_keys=True)
    if text not in known:
        try:
            known[text] = checked(_spec(tree), store)
        except (SpecError, NoSuchRun) as exc:
            known[text] = exc.args[0] if exc.args else str(exc)
    found = known[text]
    if isinstance(found, str):
        raise SpecError(found)
    return found


def _spec(tree: Mapping[str, Any]) -> Spec:
    """A specification that is made now."""
    revised = {"revision": REVISION} if tree.get("kind") in ("train", "purify") else {}
    return spec_from_json({**revised, **tree})
