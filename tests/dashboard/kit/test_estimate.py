"""How long a run takes, in the words of the Lab, and the child process that times its steps."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dashboard.kit import calibrating, estimate
from dashboard.lab import choices
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.environment import environment
from ngf.places import ROOT
from ngf.presets import preset
from ngf.runs.folder import ATTEMPTS, RESULT
from ngf.timing import estimate as timing
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import write_run
from tests.helpers.timings import LANE, TIMES

TRAIN = TrainSpec(attack=Choice("badnets"))


@pytest.fixture(autouse=True)
def own_times(tmp_path, monkeypatch):
    """Times of this test alone; the list of plug-ins is in memory already."""
    catalogue()
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    calibrating._jobs.clear()
    estimate._past.clear()
    yield
    estimate._past.clear()
    calibrating._jobs.clear()


@pytest.fixture
def started(monkeypatch):
    """The words of every child that would have been started, and none is."""
    found = []

    class Job:
        going, problem = True, ""

        def __init__(self, arguments):
            found.append(arguments)

    monkeypatch.setattr(calibrating, "Job", Job)
    return found


def test_the_best_source_is_named(store):
    assert estimate.time_of(TRAIN)[1] == "shipped", "the zoo"
    assert "another machine" in estimate.sentence(TRAIN)
    assert estimate.time_of(TrainSpec(model="preact_resnet18")) == (None, "")
    assert "not known yet" in estimate.sentence(TrainSpec(model="preact_resnet18"))
    timing.training_case(TRAIN, catalogue()["data"]["signs"]).keep(TIMES)
    seconds, source = estimate.time_of(TRAIN)
    assert source == "timed" and seconds == pytest.approx(timing.training_time(TRAIN, TIMES, 2400))
    _finished(store, TrainSpec(attack=Choice("blend"), seed=5), seconds=80.0)
    assert estimate.time_of(TRAIN) == (pytest.approx(80.0), "past")
    several = TrainSpec(attack=Choice("badnets"), training=Training(processes=2))
    assert estimate.time_of(several) == (None, ""), "one process says nothing of two"
    double = TrainSpec(attack=Choice("badnets"), training=Training(epochs=40))
    assert estimate.time_of(double) == (pytest.approx(160.0), "past")
    longer = TrainSpec(attack=Choice("badnets"), training=Training(epochs=200))
    assert estimate.time_of(longer)[1] == "timed", (
        "a run of a tenth of the work says less than steps that were timed"
    )


def test_runs_of_another_machine_or_in_pieces_are_no_past_runs_of_this_one(store):
    _finished(
        store, TrainSpec(attack=Choice("blend"), seed=5), seconds=80.0, hardware="another processor"
    )
    assert estimate.time_of(TRAIN)[1] == "shipped"
    folder = _finished(store, TrainSpec(attack=Choice("blend"), seed=6), seconds=80.0)
    (folder / ATTEMPTS).write_text("2")
    estimate._past.clear()
    assert estimate.time_of(TRAIN)[1] == "shipped"


def _finished(store, spec, *, seconds, **changed):
    folder = write_run(store.root, spec, [])
    (folder / RESULT).write_text(
        json.dumps(
            {"ca": 1.0, "asr": 1.0, "seconds": seconds, "environment": {**environment(), **changed}}
        ),
        encoding="utf-8",
    )
    estimate._past.clear()
    return folder


def test_a_purification_is_estimated_from_its_lanes(store):
    spec = PurifySpec(
        parent=preset("laptop-badnets").training().id, lanes=(Choice("ngf"), Choice("sgd"))
    )
    facts = catalogue()["data"]["signs"]
    for lane in spec.lanes:
        timing.lane_case(lane, "preact_resnet_tiny", facts, 500).keep(LANE)
    seconds, source = estimate.time_of(spec)
    lanes = sum(timing.lane_time(lane, LANE, 500, 9) for lane in spec.lanes)
    assert source == "timed" and seconds == pytest.approx(lanes + 3 * 2 * 2400 * LANE["image"])


def test_a_defense_that_is_no_longer_installed_hides_no_estimate(store):
    parent = preset("laptop-badnets").training().id
    spec = PurifySpec(parent=parent, lanes=(Choice("old_idea", {"depth": 3}),))
    write_run(store.root, spec, [])
    done = {"lanes": {"old_idea": {"seconds": 9.0}}, "environment": environment()}
    (store.root / spec.id / RESULT).write_text(json.dumps(done), encoding="utf-8")
    estimate._past.clear()
    assert estimate.time_of(TRAIN)[1] == "shipped"
    assert estimate.time_of(spec) == (pytest.approx(1.5 * 9.0), "past")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "about 1 s"),
        (42.4, "about 42 s"),
        (600, "about 10 min"),
        (9000, "about 2.5 hours"),
        (300_000, "about 3 days"),
    ],
)
def test_times_in_words(seconds, said):
    assert estimate.words(seconds) == said


def test_opening_a_page_starts_nothing_and_a_click_starts_one_child(open_page, store, started):
    page = open_page("lab", view="train", attack="blend")
    checked(page.number_input(key="lab.train.seed").set_value(11).run())
    assert started == [] and "another machine" in text(page)
    checked(button(page, "estimate.measure").click().run())
    assert len(started) == 1 and "Timing a few steps" in text(page)
    assert started[0][:6] == [
        "--data",
        "signs",
        "--model",
        "preact_resnet_tiny",
        "--attack",
        "blend",
    ]
    assert not [item for item in page.button if item.key == "estimate.measure"]
    assert [run for run in store.runs() if run.source == "user"] == []


def test_a_race_is_timed_on_a_click(open_page, store, started):
    page = open_page("lab", race_seed="9", lane=["ngf:steps=5"])
    checked(button(page, "estimate.measure").click().run())
    assert started == [
        [
            "--data",
            "signs",
            "--model",
            "preact_resnet_tiny",
            "--num-clean",
            "500",
            "--defense",
            "ngf",
            "--set",
            "ngf.steps=5",
        ]
    ]


def test_a_preset_fills_in_the_form_and_times_what_was_never_run(open_page, store, started):
    page = open_page("lab", view="train")
    page.number_input(key="lab.train.seed").set_value(11).run()
    checked(page.selectbox(key="lab.train.preset").set_value("gpu-badnets").run())
    wanted = preset("gpu-badnets").training(11)
    assert page.selectbox(key="lab.train.data").value == "cifar10"
    assert page.selectbox(key="lab.train.models").value == "preact_resnet18"
    assert page.number_input(key="lab.training.epochs").value == 30
    assert page.selectbox(key="lab.attack_form.badnets.preset").value == "ngf"
    assert "released code" in text(page) and "Changed from" not in text(page)
    assert started == [calibrating.arguments(wanted)]
    page.number_input(key="lab.training.epochs").set_value(2).run()
    assert "Changed from “BadNets (patch): for one GPU”" in text(checked(page))
    page.number_input(key="lab.training.epochs").set_value(30).run()
    assert "Changed from" not in text(checked(page))
    checked(page.selectbox(key="lab.train.preset").set_value("laptop-blend").run())
    assert page.selectbox(key="lab.train.attacks").value == "blend"
    assert page.number_input(key="lab.train.seed").value == 11


def test_a_preset_whose_time_is_known_starts_nothing(open_page, store, started):
    spec = preset("laptop-blend").training()
    timing.training_case(spec, catalogue()["data"]["signs"]).keep(TIMES)
    page = open_page("lab", view="train")
    page.number_input(key="lab.train.seed").set_value(12).run()
    checked(page.selectbox(key="lab.train.preset").set_value("laptop-blend").run())
    assert started == [] and "from steps timed on this machine" in text(page)
    assert not [item for item in page.button if item.key == "estimate.measure"]


def test_a_model_made_by_a_preset_is_purified_by_it(store):
    run = store.find(preset("laptop-badnets").training().id)
    assert choices.purification(run) == {"model": run.id}, "the race that the Lab opens with"
    spec = preset("paper-badnets").training(3)
    folder = _finished(store, spec, seconds=1.0)
    found = choices.purification(store.get(folder.name))
    ngf, released = found["lane"]
    assert ngf.startswith("ngf:") and {"layer=last", "steps=500", "augmentation=weak"} < set(
        ngf.removeprefix("ngf:").split(",")
    )
    assert released == "ngf_as_released"
    assert choices.purification(store.get(_finished(store, TrainSpec(seed=999), seconds=1.0).name))[
        "model"
    ]


def test_a_child_that_fails_says_why(open_page, store, monkeypatch):
    monkeypatch.setattr(calibrating, "arguments", lambda spec: ["--model", "nonsense"])
    page = open_page("lab", view="train", attack="blend")
    checked(page.number_input(key="lab.train.seed").set_value(11).run())
    checked(button(page, "estimate.measure").click().run())
    (job,) = calibrating._jobs().values()
    job._process.wait(timeout=60)
    assert "could not be timed. Unknown model" in text(checked(page.run()))


def test_the_page_imports_no_torch():
    code = (
        "import dashboard.kit.estimate, dashboard.lab.choices, sys; sys.exit('torch' in "
        "sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
