"""How long a run will take: steps that are timed, the arithmetic over them, and what the page says.
No test asserts a time.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from dashboard.kit import calibrating, estimate, library
from dashboard.lab import choices
from ngf.__main__ import BAD_INPUT, OK, main
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.environment import environment
from ngf.machine import machine, was_made_here
from ngf.places import ROOT, cache_dir
from ngf.presets import preset
from ngf.runs.folder import ATTEMPTS, RESULT
from ngf.runs.store import Store
from ngf.timing import estimate as timing
from ngf.training.run import NUM_LIVE
from tests.helpers.pages import NAVIGATION, button, checked, text
from tests.helpers.run_folders import write_run

SIGNS = {"shape": [3, 32, 32], "classes": ["a"] * 12, "pools": {"test": 2400}}
TRAIN = TrainSpec(attack=Choice("badnets"))
TIMES = {"step": 0.1, "surrogate": 0.05, "prepare": 7.0, "image": 0.001}
LANE = {"choose": 0.01, "begin": 0.002, "first": 1.1, "step": 0.1, "image": 0.0001}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Times of this test alone; the list of plug-ins is in memory already."""
    catalogue()
    config.set_option("client.showErrorDetails", "full")
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    calibrating._jobs.clear()
    estimate._past.clear()
    yield
    estimate._past.clear()
    calibrating._jobs.clear()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    library._store.clear()
    yield Store()
    library._store.clear()


# ---- the arithmetic


def test_a_training_is_its_steps_its_preparation_and_its_measuring():
    spec = TrainSpec(
        attack=Choice("badnets"), training=Training(epochs=3, num_images=1000, batch_size=128)
    )
    steps, measured = 3 * 7, 2 * (3 * NUM_LIVE + 2400)
    assert timing.training_time(spec, TIMES, 2400) == pytest.approx(
        steps * 0.15 + 7 + measured * 0.001
    )
    benign = TrainSpec(training=spec.training)
    assert timing.training_time(benign, TIMES, 2400) == pytest.approx(
        steps * 0.15 + 7 + measured / 2 * 0.001
    )
    few = TrainSpec(training=Training(epochs=2, num_images=50, batch_size=128))
    assert timing.training_time(few, {**TIMES, "image": 0.0}, 0) == pytest.approx(2 * 0.15 + 7), (
        "one step of 50"
    )


def test_a_defense_is_its_choice_its_steps_and_a_third_for_measuring():
    quiet = {**LANE, "image": 0.0}
    one = timing.lane_time(Choice("ngf", {"steps": 120, "inverse_period": 50}), quiet, 500, 9)
    assert one == pytest.approx(0.01 * 500 + 0.002 * 500 + 120 * 0.1 + 3 * 1.0)
    plain = timing.lane_time(Choice("sgd", {"steps": 10}), {**quiet, "choose": 0.0}, 500, 9)
    assert plain == pytest.approx(0.002 * 500 + 10 * 0.1 + 1.0)
    every = timing.lane_time(
        Choice("ngf", {"steps": 120, "inverse_period": 50, "layer": "auto"}), quiet, 500, 9
    )
    assert every == pytest.approx(5 + 10 * (one - 5)), "every layer is tuned once"
    rule = timing.lane_time(
        Choice("ngf", {"steps": 120, "inverse_period": 50, "lr": 0.0}), quiet, 500, 9
    )
    assert rule == pytest.approx(5 + (1 + 3) * (one - 5))
    assert timing.lane_time(
        Choice("sgd", {"steps": 10}), {**LANE, "choose": 0, "image": 1.0}, 500, 9
    ) == pytest.approx(1.5 * plain), "measuring takes half of the working time at most"


def test_the_time_of_a_step_depends_on_what_it_should():
    case = timing.training_case(TRAIN, SIGNS)
    same = TrainSpec(
        attack=Choice("blend", {"alpha": 0.3}), training=Training(epochs=3, num_images=500), seed=3
    )
    assert timing.training_case(same, SIGNS) == case, "a poisoned image is an image like any other"
    for other in (
        TrainSpec(model="preact_resnet18"),
        TrainSpec(training=Training(batch_size=64)),
        TrainSpec(attack=Choice("trojan")),
        TrainSpec(attack=Choice("composite")),
    ):
        assert timing.training_case(other, SIGNS) != case
    assert timing.training_case(TRAIN, {**SIGNS, "shape": [1, 32, 32]}) != case
    assert timing.training_case(TRAIN, {**SIGNS, "classes": ["a"] * 10}) != case
    assert timing.training_case(TRAIN, {}) is None, (
        "images of a folder are not known before they are read"
    )
    ngf = timing.lane_case(Choice("ngf"), "preact_resnet_tiny", SIGNS, 500)
    assert (
        timing.lane_case(Choice("ngf", {"steps": 7, "lr": 0.1}), "preact_resnet_tiny", SIGNS, 500)
        == ngf
    )
    for lane, clean in (
        (Choice("sgd"), 500),
        (Choice("ngf", {"layer": "last"}), 500),
        (Choice("ngf"), 50),
    ):
        assert timing.lane_case(lane, "preact_resnet_tiny", SIGNS, clean) != ngf


def test_times_are_kept_for_this_machine(monkeypatch):
    case = timing.training_case(TRAIN, SIGNS)
    assert case.times() is None and timing.time_of(TRAIN, TRAIN.model, SIGNS) is None
    case.keep(TIMES, by="a test")
    assert case.times() == TIMES
    assert timing.time_of(TRAIN, TRAIN.model, SIGNS) == pytest.approx(
        timing.training_time(TRAIN, TIMES, 2400)
    )
    kept = json.loads(case.path.read_text())
    assert (
        kept["machine"] == json.loads(json.dumps(machine())) and kept["case"]["model"] == case.model
    )
    monkeypatch.setenv("NGF_DEVICE", "cpu")
    assert case.times() is None, "another device"
    monkeypatch.delenv("NGF_DEVICE")
    monkeypatch.setattr("ngf.machine.torch_version", lambda: "9.9")
    assert case.times() is None, "another torch"


def test_results_tell_whether_they_were_made_here(monkeypatch):
    here = environment()
    assert was_made_here(here)
    assert not was_made_here({**here, "hardware": "another processor"})
    assert not was_made_here({**here, "torch": "1.0"})
    assert not was_made_here({})
    monkeypatch.setenv("NGF_DEVICE", "cuda" if here["device"] == "cpu" else "cpu")
    assert not was_made_here(here), "a run would get another device now"


# ---- the timing itself, on the real training and the real defenses


@pytest.mark.parametrize(
    "words",
    [
        [
            "--data",
            "signs",
            "--set",
            "training.num_images=256",
            "training.batch_size=8",
            "training.epochs=1",
        ],
        [
            "--attack",
            "trojan",
            "--set",
            "training.num_images=256",
            "training.batch_size=8",
            "attack.steps=2",
        ],
        ["--attack", "composite", "--set", "training.num_images=256", "training.batch_size=16"],
        [
            "--data",
            "fashion_mnist",
            "--defense",
            "ngf",
            "--defense",
            "sgd",
            "--num-clean",
            "16",
            "--set",
            "ngf.layer=last",
        ],
        ["--defense", "ngf", "--num-clean", "16"],
    ],
    ids=["formula", "prepared", "controlled", "race", "choosing"],
)
def test_steps_are_timed_and_kept(words, store, monkeypatch, capsys):
    monkeypatch.setattr("ngf.timing.calibrate.BUDGET", 0.01)
    monkeypatch.setattr("ngf.timing.calibrate._CHOOSING", 8)
    assert main(["calibrate", "--json", *words]) == OK
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert found["seconds"] > 0 and "Timing preact_resnet_tiny" in out.err
    for times in found["times"]:
        assert all(math.isfinite(value) and value >= 0 for value in times.values())
        assert times["step"] > 0 and times["image"] > 0
    assert len(found["times"]) == 1 + ("--defense" in words and words.count("--defense") - 1)
    if "trojan" in words:
        assert found["times"][0]["surrogate"] > 0 and found["times"][0]["prepare"] > 0
    if "choosing" in words:
        assert found["times"][0]["choose"] > 0
    assert list((cache_dir() / "calibration").glob("*.json"))


def test_what_cannot_run_is_not_timed(store, capsys):
    for words, said in (
        (["--model", "nonsense"], "preact_resnet_tiny"),
        (["--defense", "nonsense"], "ngf"),
        (["--attack", "badnets", "--set", "attack.target=50"], "does not exist"),
    ):
        assert main(["calibrate", "--json", *words]) == BAD_INPUT
        assert said in json.loads(capsys.readouterr().out)["error"]["message"]


# ---- what the page says


@pytest.fixture
def open_lab(tmp_path):
    def opened(**params) -> AppTest:
        entry = tmp_path / "lab.py"
        entry.write_text(NAVIGATION.format(first="lab"), encoding="utf-8")
        page = AppTest.from_file(entry, default_timeout=20)
        page.query_params.update(params)
        return checked(page.run())

    return opened


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


def test_opening_a_page_starts_nothing_and_a_click_starts_one_child(open_lab, store, started):
    page = open_lab(view="train", attack="blend")
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


def test_a_race_is_timed_on_a_click(open_lab, store, started):
    page = open_lab(race_seed="9", lane=["ngf:steps=5"])
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


def test_a_preset_fills_in_the_form_and_times_what_was_never_run(open_lab, store, started):
    page = open_lab(view="train")
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


def test_a_preset_whose_time_is_known_starts_nothing(open_lab, store, started):
    spec = preset("laptop-blend").training()
    timing.training_case(spec, catalogue()["data"]["signs"]).keep(TIMES)
    page = open_lab(view="train")
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
    assert found["lane"] == ["ngf:layer=last,steps=500", "ngf_as_released"]
    assert choices.purification(store.get(_finished(store, TrainSpec(seed=999), seconds=1.0).name))[
        "model"
    ]


def test_a_child_that_fails_says_why(open_lab, store, monkeypatch):
    monkeypatch.setattr(calibrating, "arguments", lambda spec: ["--model", "nonsense"])
    page = open_lab(view="train", attack="blend")
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
