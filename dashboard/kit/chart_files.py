"""A chart as files: its numbers as CSV and JSON, which say in front what they are of."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from dashboard.charts.chart import Chart
from dashboard.kit.spreadsheet import as_csv
from ngf.export.about import PARTIAL, in_lines, known
from ngf.runs.files import plain
from ngf.runs.store import Run

MIME = {"csv": "text/csv", "json": "application/json"}
_LONGEST = 120  # characters of a file's name
_READ = 'read with: pandas.read_csv(FILE, comment="#")'


def file_name(name: str, of: Sequence[Run]) -> str:
    """What is on it and of which run, without an ending: `race-curves.ngf-vs-sgd-ae43fe4fb4`."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "chart"
    ids = list(dict.fromkeys(run.id for run in of))
    more = f"-and-{len(ids) - 1}-more" if len(ids) > 1 else ""
    return ".".join([words, *ids[:1]])[:_LONGEST] + more


def said_of(name: str, of: Sequence[Run]) -> list[str]:
    """What a picture says of its origin, in lines: no more than the specifications do, because
    every chart of a page asks for it.
    """
    ids = dict.fromkeys(run.id for run in of)
    return [name, *(f"run {run_id}" for run_id in ids), "made with ngf-dashboard"]


def as_file(kind: str, chart: Chart, name: str, of: Sequence[Run]) -> str:
    """The numbers behind `chart`. kind: a key of `MIME`."""
    runs = list({run.id: run for run in of}.values())
    about = known(runs)
    if kind == "csv":
        return as_csv(chart.table, [name, chart.finding, *in_lines(about), _READ])
    document = {
        "what": name,
        "finding": chart.finding,
        PARTIAL: any(one[PARTIAL] for one in about),
        "runs": about,
        "about": in_lines(about),
        "rows": plain(list(chart.rows)),
        "figure": plain(chart.figure),  # as Plotly takes it
    }
    return json.dumps(document, indent=1)
