"""`ngf sweep`: what the command line does with sweeps."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ngf.options import SpecError
from ngf.runs.files import Damaged, read_json
from ngf.runs.store import Store
from ngf.sweeps.axes import values_in
from ngf.sweeps.cluster.service import Cluster
from ngf.sweeps.control import MANY, cancel, pause, submit_all
from ngf.sweeps.folder import Sweep, keep, load, made, names
from ngf.sweeps.local import Executing, Service, follow, sentence
from ngf.sweeps.presets import PRESETS
from ngf.sweeps.spec import SweepSpec
from ngf.sweeps.timing import in_words, left_in_words, seconds_of

COMMANDS = {"pause": pause, "cancel": cancel}
WORDS = ("show", "resume", *COMMANDS, "list")


def sweep(options: Namespace, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str], bool]:
    """What one `ngf sweep` found: a document, the lines of it, and whether what was to be done is
    done. Raises SpecError.
    """
    _check_executor(options)
    store = Store()
    word, *rest = options.words
    if word == "list" and not rest:
        found = names(store)
        return {"sweeps": found}, found or ["There are no sweeps here."], True
    if word in WORDS:
        if len(rest) != 1 or word == "list":
            raise SpecError(f"`sweep {word}` takes one name of a sweep; `sweep list` says which.")
        kept = load(store, rest[0])
        if word in COMMANDS:
            runs = [state.run for state in kept.seen(store).runs.values() if state is not None]
            COMMANDS[word](runs)
        if word != "resume":
            return (*_told(kept, store), True)
        spec = kept.spec
    elif rest:
        raise SpecError(f"A sweep is one file or one of: {', '.join(WORDS)}.")
    else:
        spec = _with_axes(_read(word), options.settings)
    return _executed(spec, options, store, say)


def _executed(
    spec: SweepSpec, options: Namespace, store: Store, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str], bool]:
    expansion = spec.expand(store)
    planned = made(spec, expansion)
    specs = expansion.specs()
    kinds = Counter(run.kind for run in specs.values())
    left = planned.seen(store).unfinished()
    say(
        f"{planned.id}: {len(planned.points):,} combinations, {len(specs):,} runs "
        f"({', '.join(f'{count:,} {kind}' for kind, count in kinds.items())}), "
        f"{len(specs) - len(left):,} of them done already"
    )
    length = in_words(*seconds_of(specs, left, store), len(left)) if left else ""
    if length:
        say(length)
    for why, which in planned.reasons().items():
        more = f" and {len(which) - 1:,} more" if len(which) > 1 else ""
        say(f"left out, {_said(which[0])}{more}: {why}")
    if options.dry_run:
        return (*_told(planned, store), True)
    if len(left) > MANY and not options.yes:
        raise SpecError(
            f"There are {len(left):,} runs to compute. {length} Ask with --yes if you mean it."
        )
    with nullcontext() if options.detach else _service(options, store, say) as service:
        keep(store, planned)
        submit_all(specs, store, planned.id)
        if service is None:
            return (*_told(planned, store), True)
        states = follow(planned, store, say, service)
    return (*_told(planned, store), states["done"] == sum(states.values()))


def _check_executor(options: Namespace) -> None:
    """Raise SpecError for options that do not go together."""
    if options.jobs is not None and options.jobs < 1:
        raise SpecError(f"--jobs {options.jobs} is out of range. Allowed: 1 or more.")
    if options.executor != "dask":
        if options.scheduler:
            raise SpecError("--scheduler belongs to --executor dask.")
    elif not options.scheduler:
        raise SpecError("--executor dask takes --scheduler ADDRESS, as tcp://HOST:8786.")
    elif options.detach or options.jobs is not None:
        raise SpecError("--executor dask takes neither --jobs, which workers say, nor --detach.")


def _service(
    options: Namespace, store: Store, say: Callable[[str], None]
) -> AbstractContextManager[Executing]:
    """What executes the runs."""
    if options.executor == "dask":
        return Cluster(store, options.scheduler, say)
    if store.supervised:
        say("A dashboard or another sweep serves this store: it executes the runs.")
    return Service(store, options.jobs)


def _told(found: Sweep, store: Store) -> tuple[dict[str, Any], list[str]]:
    """What the sweep is and how far: a document, and lines."""
    seen = found.seen(store)
    states, rows, failures = seen.states(), seen.rows(), seen.failures()
    document = {
        "id": found.id,
        "states": dict(states),
        "rows": rows,
        "failures": failures,
        "refused": [{"values": dict(values), "why": why} for values, why in found.refused],
    }
    lines = [f"{found.id}: {sentence(states)}. {left_in_words(seen)}".rstrip()]
    lines += [
        f"{_said(row['values'])}  {row['run']}{':' + row['lane'] if row['lane'] else ''}  "
        f"{row['status']}  {_rates(row)}".rstrip()
        for row in rows
    ]
    lines += [f"{run} failed: {why}" for run, why in failures.items()]
    return document, lines


def _said(values: Mapping[str, Any]) -> str:
    """`parent.seed=0 lanes.0.lr=0.01`"""
    told = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    return " ".join(f"{axis}={value}" for axis, value in told.items())


def _rates(row: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{name.upper()} {100 * row[name]:.1f} %" for name in ("ca", "asr") if row[name] is not None
    )


def _read(name: str) -> SweepSpec:
    try:
        found = read_json(Path(name))
    except Damaged as exc:
        raise SpecError(f"{name} cannot be read: {exc}") from exc
    if found is None and name in PRESETS:
        return PRESETS[name].make()
    if found is None:
        raise SpecError(
            f"There is no file {name}. A sweep is a JSON file; docs/sweeps.md has one. Sweeps to "
            f"start from: {', '.join(PRESETS)}."
        )
    return SweepSpec.from_json(found)


def _with_axes(spec: SweepSpec, settings: Iterable[str]) -> SweepSpec:
    """With further axes, or other values: `seed=0,1,2`."""
    axes: dict[str, Any] = {path: list(values) for path, values in spec.axes.items()}
    for setting in settings:
        path, equals, values = setting.partition("=")
        if not equals or not path or not values:
            raise SpecError(f"{setting!r} is no axis. Write it as path=value,value: seed=0,1,2.")
        axes[path] = list(values_in(path, values))
    return SweepSpec.from_json({**spec.to_json(), "axes": axes})
