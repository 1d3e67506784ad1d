"""A zip holds all of a run that is of use elsewhere, and says what each file is."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from ngf.export.bundle import README, repeat, write_zip
from ngf.export.weights import lanes_with_weights, weights_of
from ngf.options import SpecError
from ngf.runs.files import read_json
from ngf.runs.folder import LOG, REQUEST, RESULT, SPEC, STATE
from ngf.runs.store import Store
from tests.helpers.imported_runs import (
    import_spec,
    race_of,
    write_import,
    write_owned,
    write_reactivation,
)
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"
MODEL = "signs-badnets-s0-36a7376469"


def packed(run) -> dict[str, bytes]:
    file = io.BytesIO()
    write_zip(run, file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert all(name.startswith(f"{run.id}/") for name in archive.namelist())
        assert len(set(archive.namelist())) == len(archive.namelist())
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def test_every_file_of_the_recorded_race_is_there(tmp_path):
    run = Store().get(RECORDED)
    files = packed(run)
    for path in run.path.iterdir():
        if path.name != REQUEST:
            assert files[path.name] == path.read_bytes()
    made = {README, "notebook.ipynb", "table.tex", "methods.bib", "repeat.txt", "layers.csv"}
    assert set(files) == made | {path.name for path in run.path.iterdir()}
    text = files[README].decode()
    assert all(f"\n{name}\n    " in text for name in set(files) - {README})
    assert "python -m ngf purify" in text and "PARTIAL" not in text and "CAREFUL" not in text

    # what was taken is a run again
    folder = tmp_path / run.id
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    again = Store(tmp_path).get(run.id)
    assert again.status == "done" and again.spec == run.spec


def test_the_same_run_gives_the_same_zip():
    run = Store().get(RECORDED)
    first, second = io.BytesIO(), io.BytesIO()
    write_zip(run, first)
    write_zip(run, second)
    assert first.getvalue() == second.getvalue()


def test_a_model_with_a_backdoor_says_so():
    text = packed(Store().get(MODEL))[README].decode()
    assert "CAREFUL: these weights hold a backdoor" in text and "model.safetensors\n" in text


def test_a_run_in_progress_is_partial_and_keeps_its_secrets(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    folder = write_run(tmp_path, RACE, race_events(40))
    (folder / REQUEST).write_text(json.dumps({"owner": "somebody", "submitted_at": "2026-01-01"}))
    (folder / LOG).write_text("/home/somebody")
    (folder / STATE).mkdir()
    (folder / STATE / "ngf.pt").write_text("x")
    run = Store(tmp_path).get(RACE.id)
    files = packed(run)
    assert "PARTIAL: the run was queued" in files[README].decode()
    assert RESULT not in files and LOG not in files and not any("state" in name for name in files)
    assert b"somebody" not in b"".join(files.values())
    assert json.loads(files[REQUEST])["submitted_at"] == "2026-01-01"


def test_weights_that_are_not_there_are_told(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    write_run(tmp_path, RACE, race_events(40))
    store = Store(tmp_path)
    with pytest.raises(SpecError, match="has left no purified.ngf.safetensors: it is queued"):
        weights_of(store.get(RACE.id))
    with pytest.raises(SpecError, match="has no lane 'adam'"):
        weights_of(store.get(RACE.id), "adam")
    assert lanes_with_weights(store.get(RACE.id)) == []
    assert lanes_with_weights(Store().get(RECORDED)) == ["ngf", "sgd"]
    assert lanes_with_weights(Store().get(MODEL)) == [""]
    assert weights_of(Store().get(RECORDED), "sgd").name == "purified.sgd.safetensors"


def test_the_command_is_a_shell_script():
    text = repeat(Store().get(RECORDED))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == 1 and lines[0].startswith("python -m ngf purify")
    assert read_json(Store().get(RECORDED).path / SPEC)["parent"] in lines[0]


def test_a_race_on_an_import_holds_what_was_found_and_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    store = Store(tmp_path / "runs")
    write_import(store.root, "", import_spec(), triggered=40)
    race = race_of(import_spec().id)
    write_owned(store.root, "", race)
    spec = write_reactivation(store.root, "", f"{race.id}:ngf")
    files = packed(store.get(race.id))
    about = json.loads(files["imported.json"])
    assert about["imported"]["sha256"] == "5" * 64 and about["n_triggered"] == 40
    (one,) = json.loads(files["measured.json"])
    assert one["run"] == spec.id and one["values"]["asr_after"] == pytest.approx(30 / 35)
    text = files[README].decode()
    assert "measured.json\n    what was measured" in text and "layers.csv" not in files
