"""The products of a run by name: what each is called as a file, and what makes it. No torch.

The report needs the charts of the window, which this package does not know; it is found by its
name, as measurements are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import IO

from ngf.export.about import PARTIAL
from ngf.export.bundle import lanes_with_weights, repeat, weights_of, write_zip
from ngf.export.latex import latex
from ngf.export.notebook import notebook
from ngf.export.references import bibtex
from ngf.export.torch_file import state_dict
from ngf.options import SpecError
from ngf.runs.store import PurifyRun, Run

_REPORT = "dashboard.takeaway.report"
_IN_MEMORY = 2**23  # bytes of a product that are not on the disk


@dataclass(frozen=True)
class Product:
    """title, about: for readers. ending: of its file. mime: its type. of_lanes: whether there is
    one for each lane of a purification. write: puts that of a run (and lane) into a file.
    """

    title: str
    about: str
    ending: str
    mime: str
    write: Callable[[Run, str, IO[bytes]], None]
    of_lanes: bool = False


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
    return [
        (name, lane) for name, one in PRODUCTS.items() for lane in (lanes if one.of_lanes else [""])
    ]


def file_name(name: str, run: Run, lane: str = "") -> str:
    """`<run>.<lane>.partial.zip`"""
    one = product(name)
    lane = run.spec.lane_name(lane) if one.of_lanes and isinstance(run, PurifyRun) else ""
    partial = PARTIAL if run.status != "done" else ""
    return ".".join(filter(None, (run.id, lane, partial, one.ending)))


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


def _torch(run: Run, lane: str, file: IO[bytes]) -> None:
    file.write(state_dict(weights_of(run, lane).read_bytes()))
