"""What a run is: a frozen specification with one canonical JSON form, whose SHA-256 names the run.

A specification leaves out every field that holds its default, so adding a field with a default to a
dataclass here never changes the name of an old run.

Where the same settings now give other numbers, they are another specification: `revision` counts
that. Specifications of the first revision do not say it; such a run can be looked at, measured and
purified like any other, and keeps its name and its meaning, but it is never computed again.

Revision 2: each seed draws training images of its own; steps of NGF are bounded by the real KL
divergence; the defaults that the plug-ins name in `former` have changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self

from ngf.options import SpecError, check_fields, check_value, option

NUM_LIVE = 250  # clean, and as many triggered, test images behind each point of a live curve
# What to do about a model that missed its gates.
WEAK_ADVICE = (
    "It can be used like any other; what is measured of it says little about strong models. For "
    "one of those train longer, on more images, or with a stronger trigger or a higher poison rate."
)
NUM_VALIDATION = 1000  # clean images that no defender has, for choosing among settings
CHOOSING = ("within", "fivefold", "reserved")  # images that a defense may judge settings on
FEW_CLEAN = 200  # clean images below which half of them are few to tune on
_LARGEST_SEED = 2**31 - 1
_LEAST_PART = 2  # images of a batch for each process: of one, BatchNorm has no variance
REVISION = 2  # of specifications that are made now


@dataclass(frozen=True)
class Choice:
    """A plug-in by name, with the options that differ from its defaults.

    JSON form: `{"name": "badnets", "size": 4}`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **dict(sorted(self.options.items()))}

    @classmethod
    def from_json(cls, obj: Any) -> Choice:
        if isinstance(obj, str):
            return cls(obj)
        if not isinstance(obj, Mapping) or not isinstance(obj.get("name"), str):
            raise SpecError(
                f"{obj!r} is not a plug-in: it needs a name, as in {{'name': 'badnets'}}."
            )
        return cls(obj["name"], {key: value for key, value in obj.items() if key != "name"})

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))


@dataclass(frozen=True)
class Target:
    """A model by name: `id` of a training, or `id:lane` of what a lane of a purification made."""

    run: str
    lane: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        run, _, lane = text.partition(":")
        return cls(run, lane)

    def __str__(self) -> str:
        return f"{self.run}:{self.lane}" if self.lane else self.run


@dataclass(frozen=True)
class Fork:
    """A model on its way: `id:lane@step`, after that step of a lane of a purification."""

    run: str
    lane: str
    step: int

    @classmethod
    def parse(cls, text: str) -> Fork:
        """Raises SpecError for a text that does not name a run, a lane and a step."""
        found = re.fullmatch(r"([^:@]+):([^:@]+)@([1-9]\d{0,8})", text)
        if found is None:
            raise SpecError(f"start = {text!r} does not name a step. Allowed: RUN:LANE@STEP.")
        return cls(found[1], found[2], int(found[3]))

    def __str__(self) -> str:
        return f"{self.run}:{self.lane}@{self.step}"


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained: SGD with a one-cycle learning rate on augmented images."""

    num_images: int = option(
        10_000, "Training images, poisoned ones included.", ge=16, le=2_000_000
    )
    epochs: int = option(20, "Passes over the training images.", ge=1, le=1000)
    batch_size: int = option(128, "Images in one step.", ge=2, le=8192)
    lr: float = option(0.1, "Peak learning rate of the one-cycle schedule.", ge=1e-6, le=10.0)
    momentum: float = option(0.9, "Momentum of SGD.", ge=0.0, le=0.999)
    weight_decay: float = option(5e-4, "L2 penalty on the weights.", ge=0.0, le=1.0)
    min_ca: float = option(
        0.80, "Below this clean accuracy the model is kept and called weak.", ge=0.0, le=1.0
    )
    min_asr: float = option(
        0.60,
        "Below this attack success rate a backdoored model is kept and called weak.",
        ge=0.0,
        le=1.0,
    )
    processes: int = option(
        1,
        "Processes that share each batch, one for each GPU; on a CPU they share its cores.",
        ge=1,
        le=16,
        expert=True,
    )
    sync_batch_norm: bool = option(
        True,
        "BatchNorm counts the whole batch, as in one process; else each process counts its own "
        "part of it, and the numbers are others.",
        expert=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        images = min(self.batch_size, self.num_images)
        if self.processes > 1 and images < _LEAST_PART * self.processes:
            raise SpecError(
                f"{self.processes} processes cannot share batches of {images} images: each needs "
                f"{_LEAST_PART} or more. Allowed: {max(1, images // _LEAST_PART)} processes or "
                "fewer, or larger batches."
            )
        if self.processes == 1 and not self.sync_batch_norm:
            raise SpecError(
                "training.sync_batch_norm says something of several processes only, and "
                "training.processes is 1."
            )

    def to_json(self) -> dict[str, Any]:
        return {
            item.name: value
            for item in fields(self)
            if (value := getattr(self, item.name)) != item.default
        }

    @classmethod
    def from_json(cls, obj: Any) -> Training:
        known = {item.name for item in fields(cls)}
        if not isinstance(obj, Mapping) or set(obj) - known:
            raise SpecError(f"training takes {', '.join(sorted(known))}.")
        return cls(**obj)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SpecError(f"{name} = {value!r} is not a text.")
    return value


def _count(name: str, value: Any) -> int:
    found: int = check_value("", name, value, {"default": 0, "ge": 0, "le": _LARGEST_SEED})
    return found


def _revision(name: str, value: Any) -> int:
    found: int = check_value("", name, value, {"default": 0, "ge": 1, "le": REVISION})
    return found


def _fork(name: str, value: Any) -> str:
    return str(Fork.parse(_text(name, value))) if value else ""


def _choosing(name: str, value: Any) -> str:
    found: str = check_value("", name, value, {"default": "", "choices": CHOOSING})
    return found


def _choice(name: str, value: Any) -> Choice:
    return Choice.from_json(value)


def _training(name: str, value: Any) -> Training:
    return Training.from_json(value)


def _lanes(name: str, value: Any) -> tuple[Choice, ...]:
    if not isinstance(value, (list, tuple)):
        raise SpecError("lanes is a list of defenses.")
    return tuple(Choice.from_json(lane) for lane in value)


@dataclass(frozen=True, kw_only=True)
class _Spec:
    """What the three kinds of specifications share: JSON, and the name that follows from it."""

    kind: ClassVar[str]
    # field -> what makes its value from JSON, or raises SpecError
    _READ: ClassVar[Mapping[str, Callable[[str, Any], Any]]]
    # field -> its default in the first revision, where that is another one now
    _FORMER: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Self:
        """Raises SpecError for unknown, missing and ill-typed fields."""
        unknown = sorted(set(obj) - set(cls._READ) - {"kind"})
        if unknown:
            allowed = ", ".join(sorted(cls._READ))
            raise SpecError(f"Unknown field {', '.join(unknown)}. Allowed: {allowed}.")
        values = {name: cls._READ[name](name, obj[name]) for name in cls._READ if name in obj}
        if obj.get("revision", 1) == 1:
            values = {**cls._FORMER, **values}
        missing = [
            item.name for item in fields(cls) if _default(item) is MISSING and item.name not in obj
        ]
        if missing:
            raise SpecError(f"A {cls.kind} run needs {', '.join(missing)}.")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The canonical form: plain JSON, defaults left out, `kind` always there."""
        out: dict[str, Any] = {"kind": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            if value != self._left_out(item):
                out[item.name] = _plain(value)
        return out

    def _left_out(self, item: Field[Any]) -> Any:
        """The value of a field that the canonical form does not say."""
        if getattr(self, "revision", 1) == 1 and item.name in self._FORMER:
            return self._FORMER[item.name]
        return _default(item) if item.name != "revision" else 1

    @property
    def id(self) -> str:
        """Readable prefix and the first ten digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return f"{self._slug()}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def _slug(self) -> str:
        raise NotImplementedError


def _default(item: Field[Any]) -> Any:
    """The default of a field, or MISSING."""
    return item.default if item.default_factory is MISSING else item.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, (Choice, Training)):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, kw_only=True)
class TrainSpec(_Spec):
    """Train `model` on `data` under `attack` (`none` gives a benign model).

    content: what lies in the folder of somebody's own images, see `ngf.runs.content`; filled in
        when the run is asked for. Of an imported model, the name of the folder of its images.
    imported: of a model that was not trained here, what its file holds, as a digest; then nothing
        is trained, and `ngf.imports` has made the run.
    revision: what the other fields mean, see above.
    """

    kind: ClassVar[Literal["train"]] = "train"
    _READ = {
        "data": _text,
        "model": _text,
        "attack": _choice,
        "training": _training,
        "seed": _count,
        "content": _text,
        "imported": _text,
        "revision": _revision,
    }
    _FORMER = {"revision": 1}
    data: str = "signs"
    model: str = "preact_resnet_tiny"
    attack: Choice = Choice("none")
    training: Training = Training()
    seed: int = 0
    content: str = ""
    imported: str = ""
    revision: int = REVISION

    @property
    def source(self) -> Choice:
        """The data set; of an imported model, the images that came with it."""
        return Choice(self.data, {"content": self.content} if self.imported else {})

    def gate(self) -> str:
        """From what rates on the model counts as strong, in a sentence; empty where all do."""
        asked = [f"{self.training.min_ca:.0%} clean accuracy"] if self.training.min_ca else []
        if self.training.min_asr and self.attack.name != "none":
            asked.append(f"{self.training.min_asr:.0%} attack success")
        return f"A model below {' or '.join(asked)} is kept and called weak." if asked else ""

    def _slug(self) -> str:
        return f"{self.data}-{self.attack.name}-s{self.seed}".replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class PurifySpec(_Spec):
    """Purify the model of run `parent` by each defense in `lanes`.

    All lanes start from the same weights and see the same batches; two or more lanes are a race.

    choosing: which images a defense may judge settings on: `within` the defender's clean images, by
        cross-fitting in two parts, or in five (`fivefold`), so that each model is tuned on four
        fifths of them; or on 1,000 more that are `reserved` for that.
    start: for a fork, the weights that all lanes start from in place of the parent's: those after a
        step of another purification of it, see `Fork`. Momentum and all else begin anew.
    """

    kind: ClassVar[Literal["purify"]] = "purify"
    _READ = {
        "parent": _text,
        "lanes": _lanes,
        "num_clean": _count,
        "seed": _count,
        "choosing": _choosing,
        "start": _fork,
        "revision": _revision,
    }
    _FORMER = {"revision": 1, "choosing": "reserved"}
    parent: str
    lanes: tuple[Choice, ...]
    num_clean: int = 500
    seed: int = 0
    choosing: str = "within"
    start: str = ""
    revision: int = REVISION

    def __post_init__(self) -> None:
        if not self.lanes:
            raise SpecError("A purification needs at least one defense.")
        check_value("", "num_clean", self.num_clean, {"default": 0, "ge": 10, "le": 5000})

    def fork(self) -> Fork | None:
        """Where it starts from, of a fork."""
        return Fork.parse(self.start) if self.start else None

    def lane_names(self) -> tuple[str, ...]:
        """One name per lane: the defense's, numbered from its second lane on (`sgd`, `sgd-2`)."""
        seen: dict[str, int] = {}
        names = []
        for lane in self.lanes:
            seen[lane.name] = seen.get(lane.name, 0) + 1
            count = seen[lane.name]
            names.append(lane.name if count == 1 else f"{lane.name}-{count}")
        return tuple(names)

    def lane_name(self, name: str) -> str:
        """`name`, or the first lane's for an empty one. Raises SpecError with those there are."""
        names = self.lane_names()
        if name and name not in names:
            raise SpecError(f"{self.id} has no lane {name!r}. Allowed: {', '.join(names)}.")
        return name or names[0]

    def _slug(self) -> str:
        names = "-vs-".join(dict.fromkeys(lane.name for lane in self.lanes)).replace("_", "-")
        return f"{names}-fork" if self.start else names


@dataclass(frozen=True, kw_only=True)
class MeasureSpec(_Spec):
    """Measure something on the weights of `target` (`id`, or `id:lane` of a purification)."""

    kind: ClassVar[Literal["measure"]] = "measure"
    _READ = {"target": _text, "measurement": _choice, "seed": _count}
    target: str
    measurement: Choice
    seed: int = 0

    def _slug(self) -> str:
        return self.measurement.name.replace("_", "-")


Spec = TrainSpec | PurifySpec | MeasureSpec
_SPECS: dict[str, type[TrainSpec] | type[PurifySpec] | type[MeasureSpec]] = {
    "train": TrainSpec,
    "purify": PurifySpec,
    "measure": MeasureSpec,
}


def check_revision(spec: TrainSpec | PurifySpec) -> None:
    """Raise SpecError for a specification of an earlier revision: what is computed now is not what
    it means.
    """
    if spec.revision != REVISION:
        raise SpecError(
            f"{spec.id} was asked of an earlier version, whose numbers this one does not give. Ask "
            "for it anew: the new run gets a name of its own."
        )


def num_validation(holdout: int) -> int:
    """Images for validation in a pool of `holdout`: half of it, `NUM_VALIDATION` at most. The rest
    is the defender's.
    """
    return min(NUM_VALIDATION, holdout // 2)


def spec_from_json(obj: Any) -> Spec:
    """Build a specification from its JSON form; unknown or ill-typed fields raise SpecError."""
    if not isinstance(obj, Mapping) or obj.get("kind") not in _SPECS:
        raise SpecError(f"A run has a kind: one of {', '.join(_SPECS)}.")
    return _SPECS[obj["kind"]].from_json(obj)
