"""What a sweep would be, before it starts: how many runs, how many are there, how long they take,
what is left out and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from dashboard.kit import estimate, library
from dashboard.kit.library import ModelSpec
from ngf.config import MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.runs.folder import UNFINISHED
from ngf.sweeps.folder import Sweep, made
from ngf.sweeps.spec import SweepSpec
from ngf.sweeps.timing import in_words

_FOR = 60  # seconds that an expansion is kept: a model that it names may be deleted meanwhile


@dataclass(frozen=True)
class Plan:
    """specs: all runs by name. left: those that are not done; waiting: how many of them are asked
    for already. seconds: of those whose time is known, one after another, by `sources` of
    `dashboard.kit.estimate`; unknown: how many are not. untimed: a run of which nothing on this
    machine tells the time.
    """

    sweep: Sweep
    specs: Mapping[str, Spec]
    left: tuple[str, ...]
    waiting: int
    seconds: float
    unknown: int
    sources: tuple[str, ...]
    untimed: ModelSpec | None

    @property
    def counted(self) -> str:
        """`48 runs: 3 trainings, 45 purifications`"""
        kinds = Counter(spec.kind for spec in self.specs.values())
        parts = [
            f"{count:,} {library.KINDS[kind]}{'' if count == 1 else 's'}"
            for kind, count in kinds.items()
        ]
        return f"{len(self.specs):,} run{'' if len(self.specs) == 1 else 's'}: {', '.join(parts)}"

    @property
    def length(self) -> str:
        """How long what is left takes, and how that is known; empty where nothing is left."""
        if not self.left:
            return ""
        said = in_words(self.seconds, self.unknown, len(self.left))
        how = " and ".join(estimate.SOURCES[source] for source in self.sources)
        return f"{said} Known {how}." if how else said


def plan_of(spec: SweepSpec) -> Plan:
    """Raises SpecError where nothing of it can be run."""
    store = library.store()
    hidden = store.hides(str(spec.to_json()))
    sweep, specs = _expanded(str(store.root), spec.id, hidden, spec)
    seen = sweep.seen(store)
    left = tuple(seen.unfinished())
    waiting = sum(seen.states()[status] for status in UNFINISHED)
    return Plan(sweep, specs, left, waiting, *_time(specs, left))


@st.cache_resource(ttl=_FOR, max_entries=8, show_spinner="Checking every combination …")
def _expanded(
    root: str, name: str, hidden: bool, _spec: SweepSpec
) -> tuple[Sweep, Mapping[str, Spec]]:
    """root, name: of the store and the sweep, by which it is kept; hidden: whether it names runs
    that are not there for the visitor.
    """
    expansion = _spec.expand(library.store())
    return made(_spec, expansion), expansion.specs()


def _time(
    specs: Mapping[str, Spec], left: tuple[str, ...]
) -> tuple[float, int, tuple[str, ...], ModelSpec | None]:
    """Seconds of the runs `left`, how many are of unknown length, the sources, and one of which no
    source of this machine tells.
    """
    alike: dict[str, tuple[float | None, str]] = {}  # runs that differ by their seed take as long
    total, unknown, untimed = 0.0, 0, None
    for name in left:
        spec = specs[name]
        if isinstance(spec, MeasureSpec):
            unknown += 1
            continue
        origin = _origin(spec, specs)
        key = str((_without_seed(spec), origin and _without_seed(origin)))
        if key not in alike:
            alike[key] = estimate.time_of(spec, origin)
        seconds, source = alike[key]
        total += seconds or 0.0
        unknown += seconds is None
        if untimed is None and source not in estimate.HERE:
            untimed = spec
    sources = {source for _, source in alike.values()}
    return total, unknown, tuple(name for name in estimate.SOURCES if name in sources), untimed


def _origin(spec: TrainSpec | PurifySpec, specs: Mapping[str, Spec]) -> TrainSpec | None:
    if isinstance(spec, TrainSpec):
        return spec
    found = specs.get(spec.parent)
    return found if isinstance(found, TrainSpec) else library.origin(spec)


def _without_seed(spec: Spec) -> dict[str, object]:
    return {k: v for k, v in spec.to_json().items() if k not in ("seed", "parent")}
