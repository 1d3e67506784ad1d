"""A notebook is a valid document whose cells run without this program, on a folder and on a zip."""

from __future__ import annotations

import ast
import json

import numpy as np
import pytest

from ngf.export.bundle import write_zip
from ngf.export.notebook import notebook
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, measured, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"


def execute(text: str) -> dict:
    """Its cells one after another, as Jupyter would; gives what they leave."""
    document = json.loads(text)
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    left: dict = {}
    modules = set()
    for cell in document["cells"]:
        assert cell["cell_type"] in ("code", "markdown") and isinstance(cell["source"], list)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            source = "".join(cell["source"])
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    modules.add(node.module.split(".")[0])
            exec(compile(source, cell["id"], "exec"), left)
    assert modules <= {"io", "json", "os", "zipfile", "pathlib", "numpy", "pandas", "plotly"}
    return left


@pytest.fixture
def store(tmp_path):
    write_run(tmp_path / "runs", TRAIN, epoch_events(), done=True)
    return Store(tmp_path / "runs")


def test_a_race_from_its_folder(monkeypatch):
    run = Store().get(RECORDED)
    monkeypatch.chdir(run.path)
    left = execute(notebook(run))
    table, result = left["outcome"], run.finished()
    assert list(table["model"]) == ["before", "after ngf", "after sgd"]
    assert list(table["asr"]) == [
        result["before"]["asr"],
        *(result["lanes"][lane]["after"]["asr"] for lane in ("ngf", "sgd")),
    ]
    assert list(table["asr_low"])[1] == result["lanes"]["ngf"]["after"]["asr_interval"][0]
    known = [e for e in run.events() if e.get("lane") == "ngf" and e.get("asr") is not None]
    (curve,) = [trace for trace in left["curves"].data if trace.name == "ngf ASR"]
    assert list(curve.y) == [100 * event["asr"] for event in known]
    assert left["figures"], "the course of the loss is drawn"


def test_a_measurement_from_its_zip(store, tmp_path, monkeypatch):
    arrays = {
        "a": np.linspace(-1, 1, 9),
        "b": np.linspace(-1, 1, 11),
        "loss": np.random.default_rng(0).random((1, 11, 9)),
        "t": np.linspace(0, 1, 5),
        "curve": np.arange(10.0).reshape(2, 5),
        "names": np.array(["x", "y"]),
    }
    spec = measured(store, "loss_plane", TRAIN.id, {"loss": 0.25}, arrays)
    run = store.get(spec.id)
    with open(tmp_path / f"{run.id}.zip", "wb") as file:
        write_zip(run, file)
    monkeypatch.chdir(tmp_path)
    left = execute(notebook(run))
    assert left["values"]["loss"] == 0.25 and left["values"]["n"] == 64
    drawn = {figure.layout.title.text.split(": ")[1]: figure.data for figure in left["figures"]}
    assert drawn["loss"][0].type == "contour" and len(drawn["curve"]) == 2
    assert list(drawn["curve"][1].x) == list(arrays["t"])


def test_a_run_in_progress_is_drawn_and_called_partial(store, monkeypatch, capsys):
    write_run(store.root, RACE, race_events(40))
    run = store.get(RACE.id)
    text = notebook(run)
    assert "**Partial**" in "".join(json.loads(text)["cells"][0]["source"])
    monkeypatch.setenv("NGF_RUN", str(run.path))
    left = execute(text)
    assert left["outcome"].empty and left["steps"]["step"].max() == 40
    assert "PARTIAL" in capsys.readouterr().out


def test_without_the_run_it_says_what_to_do(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"folder or the zip of {TRAIN.id}"):
        execute(notebook(store.get(TRAIN.id)))
