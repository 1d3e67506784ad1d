"""The command that repeats a run is taken by the real parser and names the same run."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace

import pytest

import analysis.__main__ as analysis_command
import ngf.__main__ as ngf_command
from ngf import places
from ngf.config import Choice, MeasureSpec, PurifySpec, Training, TrainSpec, spec_from_json
from ngf.export.command import command, commands
from ngf.presets import presets
from ngf.runs.files import read_json
from ngf.runs.folder import SPEC
from ngf.runs.store import Store
from ngf.runs.submit import checked
from tests.helpers.imported_runs import import_spec, race_of, write_import
from tests.helpers.run_folders import TRAIN, epoch_events, measured, write_run

MODEL = "signs-badnets-s0-36a7376469"
RACE = PurifySpec(parent=MODEL, lanes=(Choice("ngf"), Choice("sgd")))


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Types a command; gives the specification that the parser made of it."""
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    found = []

    def submitted(options, spec):
        found.append(checked(spec, Store()))
        return 1

    monkeypatch.setattr(ngf_command, "_submit", submitted)

    def typed(text: str):
        python, flag, module, *words = shlex.split(text)
        assert (python, flag) == ("python", "-m")
        {"ngf": ngf_command, "analysis": analysis_command}[module].main(words)
        return found.pop()

    return typed


SPECS = {
    "training": TrainSpec(
        attack=Choice("badnets", {"size": 4, "target": 2}),
        training=Training(epochs=3, lr=0.05),
        seed=7,
    ),
    "race": RACE,
    "settings": PurifySpec(
        parent=MODEL,
        lanes=(Choice("ngf", {"layer": "stem,stage1.block1.conv1", "steps": 20}), Choice("adam")),
        num_clean=250,
        choosing="reserved",
        seed=3,
    ),
    "the same twice": PurifySpec(parent=MODEL, lanes=(Choice("sgd"), Choice("sgd"))),
    "measurement": MeasureSpec(
        target=MODEL,
        measurement=Choice(
            "loss_slice", {"direction": "filter_eigenvectors", "distance": "length", "reach": 0.3}
        ),
        seed=5,
    ),
    **{f"preset {name}": found.training() for name, found in presets().items()},
}


@pytest.mark.parametrize("name", SPECS)
def test_it_asks_for_the_same_run(asked, name):
    spec = checked(SPECS[name], Store())
    assert asked(command(spec)).id == spec.id


def test_what_ships_can_be_asked_for_again(asked):
    folders = [*places.RECORDINGS.glob("*"), *places.MEASUREMENTS.glob("*")]
    folders += sorted(places.ZOO.glob("*"))[::7]
    specs = [spec_from_json(read_json(folder / SPEC)) for folder in folders]
    assert len(specs) > 5
    for spec in specs:
        assert asked(command(spec)).id == spec.id


def test_lanes_of_one_defense_with_other_settings_go_by_a_file(tmp_path):
    spec = PurifySpec(parent=MODEL, lanes=(Choice("sgd"), Choice("sgd", {"lr": 0.003})))
    text = command(spec).split(" && python")[0]
    subprocess.run(["sh", "-c", text], cwd=tmp_path, check=True)
    assert Store(tmp_path / "runs").get(spec.id).spec == spec


def test_an_earlier_version_has_no_command(tmp_path):
    old = TrainSpec(attack=Choice("badnets"), revision=1)
    race = PurifySpec(parent=old.id, lanes=(Choice("ngf"),), revision=1)
    assert command(old) == "" and command(race) == ""
    write_run(tmp_path, old, epoch_events(), done=True)
    write_run(tmp_path, race, [], done=True)
    assert commands(Store(tmp_path).get(race.id)) == []


def test_what_does_not_ship_is_trained_first(tmp_path):
    store = Store(tmp_path)
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    spec = measured(store, "fisher_trace", TRAIN.id, {}, {})
    said = commands(store.get(spec.id))
    assert [text.split()[2:4] for text in said] == [["ngf", "train"], ["analysis", TRAIN.id]]
    model = measured(store, "fisher_trace", MODEL, {}, {})
    assert len(commands(store.get(model.id))) == 1  # the zoo is there


@pytest.mark.parametrize("count", [0, 7])
def test_an_import_is_repeated_with_what_was_found_out(tmp_path, monkeypatch, count):
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    name = "my net; rm -rf.pt"
    write_import(tmp_path / "runs", "", import_spec(), name, triggered=count)
    race = race_of(import_spec().id)
    write_run(tmp_path / "runs", race, [], done=True)
    said, purified = commands(Store(tmp_path / "runs").get(race.id))
    words = shlex.split(said)
    assert words[2:6] == ["ngf", "import", name, "--images"] and "ngf purify mine" in purified
    assert ("--poisoned" in words) == bool(count)
    assert words[words.index("--normalize") + 1] == "0.5,0.4,0.3/0.2,0.2,0.25"
    assert words[words.index("--measure") + 1] == "0.25" and "--mirror" not in words


def test_a_fork_says_where_it_starts():
    fork = replace(RACE, start=f"{RACE.id}:ngf@40")
    assert f"--start {RACE.id}:ngf@40" in command(fork)
