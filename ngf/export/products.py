"""The products of a run by name: what each is called as a file, and what makes it. No torch.

The report needs the charts of the window, which this package does not know; it is found by its
name, as measurements are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ngf.export.about import PARTIAL
from ngf.export.bundle import repeat, write_zip
from ngf.export.latex import latex
from ngf.export.notebook import notebook
from ngf.export.references import bibtex
from ngf.export.torch_file import state_dict
from ngf.export.weights import lanes_with_weights, weights_of
from ngf.options import SpecError
from ngf.places import child_environment
from ngf.runs.files import read_json
from ngf.runs.folder import FORM
from ngf.runs.store import PurifyRun, Run

_REPORT = "dashboard.takeaway.report"
_IN_MEMORY = 2**23  # bytes of a product that are not on the disk


@dataclass(frozen=True)
class Product:
    """title, about: for readers. ending: of its file. mime: its type. of_lanes: whether there is
    one for each lane of a purification. write: puts that of a run (and lane) into a file.
    imported: whether only what goes back to an imported model has one.
    """

    title: str
    about: str
    ending: str
    mime: str
    write: Callable[[Run, str, IO[bytes]], None]
    of_lanes: bool = False
    imported: bool = False


def _text(make: Callable[[Run], str]) -> Callable[[Run, str, IO[bytes]], None]:
    def write(run: Run, lane: str, file: IO[bytes]) -> None:
        file.write(make(run).encode())

    return write


def _report(run: Run) -> str:
    text: str = import_module(_REPORT).report(run)
    return text


PRODUCTS: Mapping[str, Product] = {
    "report": Product(
        "Report",
        "one HTML page with pictures, tables and settings; opens without a network, and prints",
        "html",
        "text/html",
        _text(_report),
    ),
    "zip": Product(
        "Everything",
        "specification, events, result, arrays, weights, notebook, and a README, in one zip",
        "zip",
        "application/zip",
        lambda run, lane, file: write_zip(run, file),
    ),
    "safetensors": Product(
        "Weights (safetensors)",
        "for safetensors.torch.load_file",
        "safetensors",
        "application/octet-stream",
        lambda run, lane, file: _copy(run, lane, file),
        of_lanes=True,
    ),
    "pt": Product(
        "Weights (.pt)",
        "a state dict for torch.load(..., weights_only=True)",
        "pt",
        "application/octet-stream",
        lambda run, lane, file: _torch(run, lane, file),
        of_lanes=True,
    ),
    "original": Product(
        "Weights as they came",
        "names, wrapping and number types of the file that was imported: loads in its own code",
        "pt",
        "application/octet-stream",
        lambda run, lane, file: _original(run, lane, file),
        of_lanes=True,
        imported=True,
    ),
    "notebook": Product(
        "Notebook",
        "loads the zip beside it and draws the figures, without this program",
        "ipynb",
        "application/x-ipynb+json",
        _text(notebook),
    ),
    "latex": Product(
        "LaTeX table", "booktabs; with intervals and n", "tex", "application/x-tex", _text(latex)
    ),
    "bibtex": Product(
        "BibTeX", "the papers of the methods", "bib", "application/x-bibtex", _text(bibtex)
    ),
    "command": Product(
        "Command", "repeats the run on any machine", "txt", "text/plain", _text(repeat)
    ),
}


def product(name: str) -> Product:
    """Raises SpecError with those there are."""
    if name not in PRODUCTS:
        raise SpecError(f"There is no product {name[:40]!r}. Allowed: {', '.join(PRODUCTS)}.")
    return PRODUCTS[name]


def available(run: Run) -> list[tuple[str, str]]:
    """Names and lanes of what can be taken of a run now; the lane is empty where it has none."""
    lanes = lanes_with_weights(run) if run.kind != "measure" else []
    imported = form_of(run) is not None
    return [
        (name, lane)
        for name, one in PRODUCTS.items()
        for lane in (lanes if one.of_lanes else [""])
        if imported or not one.imported
    ]


def form_of(run: Run) -> Mapping[str, Any] | None:
    """The form in which the weights of an imported model came, see `ngf.outside.checkpoint.Form`;
    None for a model that was trained here.
    """
    training = run.training()
    about = read_json(training.path / FORM) if training is not None else None
    form: Mapping[str, Any] | None = about["form"] if about else None
    return form


def file_name(name: str, run: Run, lane: str = "") -> str:
    """`<run>.<lane>.partial.zip`"""
    one = product(name)
    lane = run.spec.lane_name(lane) if one.of_lanes and isinstance(run, PurifyRun) else ""
    partial = PARTIAL if run.status != "done" else ""
    ending = one.ending
    if one.imported and (form := form_of(run)) is not None:
        ending = f"original.{form['container']}"
    return ".".join(filter(None, (run.id, lane, partial, ending)))


def take(name: str, run: Run, lane: str = "") -> IO[bytes]:
    """A product as a file to read, which is gone when it is closed. Raises SpecError where the run
    has no such thing (yet).
    """
    one = product(name)
    if lane and not one.of_lanes:
        raise SpecError(f"{name} is of a whole run: leave the lane {lane[:40]!r} out.")
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - who takes it closes it
    try:
        one.write(run, lane, file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _copy(run: Run, lane: str, file: IO[bytes]) -> None:
    file.write(weights_of(run, lane).read_bytes())


def _original(run: Run, lane: str, file: IO[bytes]) -> None:
    """By a process of its own: it needs torch."""
    source = weights_of(run, lane)  # refuses what there is not
    if form_of(run) is None:
        raise SpecError(f"{run.id} goes back to no imported model. Allowed: safetensors, pt.")
    target = f"{run.id}:{run.spec.lane_name(lane)}" if isinstance(run, PurifyRun) else run.id
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "weights")
        words = [sys.executable, "-m", "ngf.imports.original"]
        done = subprocess.run(
            [*words, str(source.parent.parent), target, str(made)],
            env=child_environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SpecError(done.stderr.strip().rpartition("\n")[2])
        with made.open("rb") as weights:
            shutil.copyfileobj(weights, file)


def _torch(run: Run, lane: str, file: IO[bytes]) -> None:
    file.write(state_dict(weights_of(run, lane).read_bytes()))
