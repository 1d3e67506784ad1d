"""A run as one zip: its folder without what only this machine needs, a README that says what each
file is and how to load it, and the small products beside them. No torch.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ngf.export.about import PARTIAL, about, in_lines
from ngf.export.latex import latex
from ngf.export.notebook import notebook
from ngf.export.numbers import values_so_far
from ngf.export.references import bibtex
from ngf.export.torch_file import holds_bounds
from ngf.export.weight_change import as_csv, changes
from ngf.export.weights import lanes_with_weights, weights_of
from ngf.options import SpecError
from ngf.runs.files import to_json
from ngf.runs.folder import (
    ARRAYS,
    CARD,
    ERROR,
    EVENTS,
    PREVIEW,
    REQUEST,
    RESULT,
    SPEC,
    TRIGGER,
    WAYPOINTS,
    WEIGHTS,
    purified_weights,
)
from ngf.runs.store import MeasureRun, PurifyRun, Run, TrainRun

README = "README.txt"
_TIMED = (2026, 1, 1, 0, 0, 0)  # of every file: the same run gives the same zip
# file of a run -> what it is, how it is loaded
_WHAT = {
    SPEC: ("what was asked for", 'json.load(open("{name}"))'),
    REQUEST: ("when it was asked for", 'json.load(open("{name}"))'),
    EVENTS: (
        "what happened, one JSON object a line",
        'pandas.read_json("{name}", lines=True)',
    ),
    RESULT: ("the final numbers, with intervals, counts and versions", 'json.load(open("{name}"))'),
    ERROR: ("why it failed", 'json.load(open("{name}"))'),
    ARRAYS: ("arrays of the measurement", 'numpy.load("{name}")'),
    CARD: ("what was measured of this model afterwards", 'json.load(open("{name}"))'),
    PREVIEW: ("a few clean and triggered images", 'numpy.load("{name}")'),
    TRIGGER: ("what the attack has learned", 'safetensors.torch.load_file("{name}")'),
    WEIGHTS: ("weights of the trained model", 'safetensors.torch.load_file("{name}")'),
}
_PRODUCTS = {
    "notebook.ipynb": ("loads all this and draws it", "jupyter lab notebook.ipynb"),
    "table.tex": ("the numbers as a LaTeX table (booktabs)", "\\input{table}"),
    "methods.bib": ("the papers behind it", "\\bibliography{methods}"),
    "repeat.txt": ("the commands that compute it again", "sh repeat.txt"),
    "layers.csv": (
        "how far each layer was moved: parameters, changed ones, ||w - w0|| / ||w0||",
        'pandas.read_csv("{name}")',
    ),
    "measured.json": (
        "what was measured of its models, before and after",
        'json.load(open("{name}"))',
    ),
    "imported.json": (
        "what was found out of the file that was imported",
        'json.load(open("{name}"))',
    ),
}
_DOOR = (
    "CAREFUL: these weights hold a backdoor, on purpose. They are for research and teaching: do "
    "not use them for anything else, and say so when you pass them on."
)

_BOUNDS = (
    "Weights called MODULE.bound are no parameters of the network: what MODULE gives is clipped "
    "there, entry by entry, torch.minimum(output, bound). Without that the network is the one from "
    "before."
)


def repeat(run: Run) -> str:
    """The commands that compute a run, one a line, with what they repeat."""
    facts = about(run)
    lines = [f"# {line}" for line in in_lines([facts]) if not line.startswith("repeat:")]
    return "\n".join([*lines, *facts["repeat"], ""])


def is_backdoored(run: Run) -> bool:
    """Whether the weights that a training has left hold a backdoor on purpose."""
    return isinstance(run, TrainRun) and run.spec.attack.name != "none"


def write_zip(run: Run, file: IO[bytes]) -> None:
    """Everything about `run` that is of use elsewhere, in a folder of its name."""
    made = {
        "notebook.ipynb": notebook(run),
        "table.tex": latex(run),
        "methods.bib": bibtex(run),
        "repeat.txt": repeat(run),
        **_of_a_race(run),
    }
    paths = list(_files(run))
    names = [path.relative_to(run.path).as_posix() for path in paths]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        _add(archive, run, README, readme(run, [*names, *made]).encode())
        for name, text in made.items():
            _add(archive, run, name, text.encode())
        for path, name in zip(paths, names, strict=True):
            raw = _request(run) if name == REQUEST else path.read_bytes()
            _add(archive, run, name, raw)


def _of_a_race(run: Run) -> dict[str, str]:
    """What a purification has beside its folder, as far as there is any."""
    if not isinstance(run, PurifyRun):
        return {}
    made = {}
    if lanes_with_weights(run):
        try:
            made["layers.csv"] = as_csv(changes(run))
        except SpecError as error:
            made["layers.csv"] = f"# {error}\n"
    if measured := [_measured(one) for one in measurements(run)]:
        made["measured.json"] = to_json(measured)
    training = run.training()
    if training is not None and training.spec.imported:
        result = training.result or {}
        known = ("imported", "facts", "ca", "ca_interval", "asr", "asr_interval", "n_triggered")
        made["imported.json"] = to_json({name: result.get(name) for name in known})
    return made


def measurements(run: PurifyRun) -> list[MeasureRun]:
    """Those of the store that are of the model before, or of a lane, in the order of their ids."""
    targets = {run.spec.parent, *(f"{run.id}:{lane}" for lane in run.spec.lane_names())}
    there = (one for one in run.store.runs() if isinstance(one, MeasureRun))
    return sorted((one for one in there if one.spec.target in targets), key=lambda one: one.id)


def _measured(run: MeasureRun) -> dict[str, Any]:
    return {
        "run": run.id,
        "status": run.status,
        "target": run.spec.target,
        "measurement": run.spec.measurement.to_json(),
        "seed": run.spec.seed,
        "values": values_so_far(run),
    }


def _add(archive: zipfile.ZipFile, run: Run, name: str, raw: bytes) -> None:
    about_it = zipfile.ZipInfo(f"{run.id}/{name}", _TIMED)
    packed = name.endswith((".safetensors", ".npz"))
    about_it.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    about_it.external_attr = 0o644 << 16
    archive.writestr(about_it, raw)


def _request(run: Run) -> bytes:
    """Without the owner, who means something in one store only."""
    return to_json({**run.request, "owner": ""}).encode()


def _files(run: Run) -> Iterator[Path]:
    """Files that mean something elsewhere: no locks, no states to resume from, no log with the
    paths of this machine.
    """
    for name in (*_WHAT, *(purified_weights(lane) for lane in _lanes(run))):
        path = run.path / name
        if path.is_file() and not path.is_symlink():
            yield path
    for path in sorted((run.path / WAYPOINTS).glob("*/*.safetensors")):
        if path.is_file() and not path.is_symlink():
            yield path


def _lanes(run: Run) -> tuple[str, ...]:
    return run.spec.lane_names() if isinstance(run, PurifyRun) else ()


def readme(run: Run, names: list[str]) -> str:
    """What each file is and how it is loaded."""
    facts = about(run)
    lines = [run.id, "=" * len(run.id), ""]
    if facts[PARTIAL]:
        lines += [
            f"PARTIAL: the run was {facts['status']} when this was taken. What is here is what "
            "there was by then.",
            "",
        ]
    if is_backdoored(run) and WEIGHTS in names:
        lines += [_DOOR, ""]
    lines += [*in_lines([facts]), "", "Files", "-----"]
    lines += [_line(name) for name in names]
    if any(holds_bounds(weights_of(run, lane)) for lane in lanes_with_weights(run)):
        lines += ["", _BOUNDS]
    lines += [
        "",
        "The specification",
        "-----------------",
        json.dumps(run.spec.to_json(), indent=1),
        "",
        "This folder is a run as the program keeps it: put into its folder of runs, it is shown "
        "there. CA: clean accuracy; ASR: attack success rate, of triggered images whose true class "
        "is not the target; RA: robust accuracy, triggered images that are given their true class.",
        "",
    ]
    return "\n".join(lines)


def _line(name: str) -> str:
    known = {**_WHAT, **_PRODUCTS}
    if name.startswith(f"{WAYPOINTS}/"):
        what, how = "weights on the way, after this step", _WHAT[WEIGHTS][1]
    elif name in known:
        what, how = known[name]
    else:
        lane = name.removeprefix("purified.").removesuffix(".safetensors")
        what, how = f"weights that {lane} made of the model", _WHAT[WEIGHTS][1]
    return f"{name}\n    {what}\n    {how.format(name=name) if '{name}' in how else how}"
