"""A Jupyter notebook that loads the folder of a run, or its zip, and draws its figures, with json,
numpy, pandas and plotly alone. No torch, and nothing of this program.
"""

from __future__ import annotations

import json
from typing import Any

from ngf.export.about import PARTIAL, about, in_lines
from ngf.runs.store import Run

_LOAD = '''
import io, json, os, zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

NAME = {name!r}
PLACES = [os.environ.get("NGF_RUN", ""), ".", NAME, NAME + ".zip", NAME + ".partial.zip"]


def read(file):
    """The bytes of a file of the run; None where the run has none of that name."""
    if RUN.is_dir():
        return (RUN / file).read_bytes() if (RUN / file).exists() else None
    with zipfile.ZipFile(RUN) as archive:
        found = [name for name in archive.namelist() if name.split("/", 1)[-1] == file]
        return archive.read(found[0]) if found else None


def is_run(place):
    if place.endswith(".zip"):
        return Path(place).exists()
    return bool(place) and (Path(place) / "spec.json").exists()


RUN = next((Path(place) for place in PLACES if is_run(place)), None)
if RUN is None:
    raise FileNotFoundError(
        f"Put the folder or the zip of {{NAME}} beside this notebook, or its path into NGF_RUN."
    )
spec = json.loads(read("spec.json"))
result = json.loads(read("result.json") or b"null")
lines = (read("events.jsonl") or b"").decode().splitlines()
events = [json.loads(line) for line in lines if line.endswith("}}")]
arrays = dict(np.load(io.BytesIO(read("arrays.npz")))) if read("arrays.npz") else {{}}
print(RUN, "·", len(events), "events ·", "finished" if result else "PARTIAL: it has no result")
spec
'''
_CURVES = """
steps = pd.DataFrame([event for event in events if event["type"] in ("step", "epoch")])
if "lane" not in steps:
    steps["lane"] = "model"
DASH = {"ca": "solid", "asr": "dash", "ra": "dot"}
curves = go.Figure()
for lane, own in steps.groupby("lane", sort=False):
    own = own.dropna(subset=["ca"])
    for rate in ("ca", "asr", "ra"):
        if rate in own and own[rate].notna().any():
            name = f"{lane} {rate.upper()}"
            curves.add_scatter(x=own["step"], y=100 * own[rate], name=name, line_dash=DASH[rate])
curves.update_layout(template="simple_white", xaxis_title="Step")
curves.update_layout(yaxis_title="Share of test images (%)")
curves
"""
_INSIDE = """
figures = []
for name in ("loss", "kl", "distance", "fisher_trace", "update_norm"):
    if name not in steps or steps[name].isna().all():
        continue
    figure = go.Figure(layout=dict(template="simple_white", xaxis_title="Step"))
    figure.update_layout(yaxis_title=name.replace("_", " "))
    for lane, own in steps.dropna(subset=[name]).groupby("lane", sort=False):
        figure.add_scatter(x=own["step"], y=own[name], name=str(lane))
    figures.append(figure)
for figure in figures:
    figure.show() if "get_ipython" in globals() else None
"""
_OUTCOME = """
def row(name, numbers):
    cells = {"model": name}
    for rate in ("ca", "asr", "ra"):
        low, high = numbers.get(f"{rate}_interval") or (None, None)
        cells |= {rate: numbers.get(rate), f"{rate}_low": low, f"{rate}_high": high}
    return cells | {"n_clean": numbers.get("n_clean"), "n_triggered": numbers.get("n_triggered")}


if result is None:
    outcome = pd.DataFrame()  # the run had not ended when this was taken
elif "lanes" in result:
    rows = [row("before", result["before"])]
    for lane, found in result["lanes"].items():
        rows += [row(f"after {lane}", found["after"])] if "after" in found else []
    outcome = pd.DataFrame(rows)
else:
    outcome = pd.DataFrame([row("model", result)])
outcome
"""
_VALUES = """
partial = [event for event in events if event["type"] == "partial"]
values = result["values"] if result else (partial[-1] if partial else {})
values = pd.Series({name: one for name, one in values.items() if not isinstance(one, (dict, list))})
{name: array.shape for name, array in arrays.items()}
"""
_ARRAYS = """
AXES = ("distance", "t", "step", "factor")  # what curves are drawn over, where a run has one
ground = tuple(len(arrays[axis]) for axis in ("b", "a") if axis in arrays)  # of a plane
figures = []
for name, array in arrays.items():
    if array.dtype.kind not in "fiu" or array.size < 2 or array.ndim > 3 or name in AXES:
        continue
    figure = go.Figure(layout=dict(template="simple_white", title=f"{NAME}: {name}"))
    if len(ground) == 2 and array.shape[-2:] == ground:
        plane = array.reshape(-1, *ground)[0]
        figure.add_contour(x=arrays["a"], y=arrays["b"], z=plane, colorbar_title=name)
    else:
        shape = array.shape[-1:]
        axis = next((axis for axis in AXES if axis in arrays and arrays[axis].shape == shape), None)
        for number, curve in enumerate(array.reshape(-1, *shape)[:16]):
            figure.add_scatter(x=arrays[axis] if axis else None, y=curve, name=str(number))
        figure.update_layout(xaxis_title=axis or "number", yaxis_title=name)
    figures.append(figure)
for figure in figures:
    figure.show() if "get_ipython" in globals() else None
values
"""
_WEIGHTS = """
# Weights, where you want them (these lines need torch, the second safetensors as well):
#   state = torch.load("{name}.pt", weights_only=True)  # the download "Weights (.pt)"
#   state = safetensors.torch.load_file("{weights}")  # from the zip
"""


def notebook(run: Run) -> str:
    """An .ipynb document (nbformat 4.5)."""
    facts = about(run)
    title = f"# {run.id}\n\n"
    if facts[PARTIAL]:
        title += f"**Partial**: the run was {facts['status']} when this was taken.\n\n"
    said = title + "\n".join(f"- `{line}`" for line in in_lines([facts]))
    cells = [_markdown("about", said), _code("load", _LOAD.format(name=run.id))]
    if run.kind == "measure":
        cells += [
            _markdown("values-are", "## What was measured"),
            _code("values", _VALUES),
            _code("arrays", _ARRAYS),
        ]
    else:
        cells += [
            _markdown("curves-are", "## Along the steps\n\nMeasured on a part of the test images."),
            _code("curves", _CURVES),
            _code("inside", _INSIDE),
            _markdown(
                "outcome-is", "## In the end\n\nOn all test images, with 95 % Wilson intervals."
            ),
            _code("outcome", _OUTCOME),
        ]
        weights = sorted(path.name for path in run.path.glob("*.safetensors"))
        if weights:
            cells.append(_code("weights", _WEIGHTS.format(name=run.id, weights=weights[0])))
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1)


def _markdown(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": _lines(text)}


def _code(name: str, text: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": _lines(text.strip()),
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
