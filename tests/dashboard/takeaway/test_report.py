"""A report holds all numbers, is safe, asks nobody for anything, and says when it is partial."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from analysis.verdict import DETECTORS
from dashboard.takeaway.measured import measurements_of, sections
from dashboard.takeaway.report import report
from ngf.export.weight_change import changes
from ngf.runs.folder import RESULT
from ngf.runs.store import Store
from tests.helpers.browser import CHROMIUM
from tests.helpers.imported_runs import (
    import_spec,
    race_of,
    write_import,
    write_owned,
    write_reactivation,
)
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, measured, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"


class Page(HTMLParser):
    """Texts outside of scripts and styles, tags with their attributes, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        (self.scripts if self.inside == "script" else self.texts).append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def figures(self) -> list[dict]:
        return json.loads(self.scripts[0])


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path / "runs", TRAIN, epoch_events(), done=True)
    return Store()


@pytest.fixture(scope="module")
def recorded() -> str:
    return report(Store().get(RECORDED))


def test_it_holds_every_number_of_the_result(recorded):
    run = Store().get(RECORDED)
    page, result = Page(recorded), run.finished()
    models = [result["before"], *(lane["after"] for lane in result["lanes"].values())]
    for numbers in models:
        for rate in ("ca", "asr", "ra"):
            low, high = numbers[f"{rate}_interval"]
            wanted = f"{100 * numbers[rate]:.1f} % [{100 * low:.1f}–{100 * high:.1f}]"
            assert wanted in page.words
    for said in ("2,400 clean test images", "2,202 triggered ones", "seed 0", RECORDED):
        assert said in page.words
    for value in run.finished()["environment"].values():
        assert str(value) in page.words
    for lane in result["lanes"].values():
        assert f"{lane['seconds']:.1f} s" in page.words
    assert "stage2.block1.conv2" in page.words and "What this cannot tell you" in page.words
    assert "python -m ngf purify signs-badnets" in page.words
    assert "arXiv 2306.17441" in page.words and "arXiv 1708.06733" in page.words
    race = page.figures()[0]["data"]
    assert len(race) >= 6 and "Partial" not in page.words


def test_what_was_measured_of_its_models_is_in_it(recorded):
    run = Store().get(RECORDED)
    words = Page(recorded).words
    found = sections(run)
    assert found, "measurements of this race ship"
    for section in found:
        assert section.heading in words and section.cannot in words
        assert all(one.id in words for one in section.runs)
        assert all(chart.finding in words for _, chart in section.charts)


def test_every_layer_is_told_before_and_after(recorded):
    words = Page(recorded).words
    assert "What changed, layer by layer" in words
    for layer in ("stem", "stage2.block1.conv2", "linear", "All layers"):
        assert layer in words
    found = changes(Store().get(RECORDED))
    (moved,) = [one for one in found["ngf"] if one.changed]
    assert f"NGF changed {moved.changed:,} of 77,980 parameters" in words
    assert f"9,216 {100 * moved.relative:.1f} %" in words


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A store with a race on an imported model of which a checkup, a yardstick and a reactivation
    were made, and that race.
    """
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    store = Store()
    write_import(store.root, "a" * 32, import_spec(), triggered=40)
    race = race_of(import_spec().id)
    write_owned(store.root, "a" * 32, race)
    write_reactivation(store.root, "", f"{race.id}:ngf")
    detectors = dict.fromkeys(DETECTORS, 1.5)
    measured(store, "checkup", race.parent, {**detectors, "suspicious_class": 3, "ca": 0.9}, {})
    shares = {f"{name}{end}": 0.25 for name in ("left", "moved") for end in ("", "_low", "_high")}
    measured(store, "yardstick", f"{race.id}:ngf", {**shares, "opened": 30}, {})
    return store, store.get(race.id)


def test_a_race_on_an_imported_model_tells_where_it_comes_from(brought):
    store, race = brought
    words = Page(report(race)).words
    assert words.startswith("Imported secret-net.pt · NGF vs SGD · seed 0"), "a terminal's, too"
    about = race.training().result["imported"]
    for said in (about["file"], about["sha256"], "mean 0.5, 0.4, 0.3", "45 for the defender"):
        assert said in words, said
    assert "93.3 % [70.0–99.0]" in words and "40 came along" in words
    assert (
        "in the order of their names; their names are the numbers" in words
        and "What was tried" in words
    )
    assert "of the pictures with the trigger that came along" in words
    assert "Training of the model" not in words, "nobody here trained it"
    assert "the 40 pictures with the trigger that came along" in words, "limits"


def test_what_was_measured_of_an_imported_model_is_told_in_words_and_numbers(brought):
    store, race = brought
    words = Page(report(race)).words
    assert "The checkup cannot tell" in words or "probability" in words
    assert "Class 3 is called class 3" in words and "cannot tell" in words
    assert "Still open, of what opened the model before 25.0 % [25.0 % to 25.0 %]" in words
    assert "ranked as the true attack success did" in words
    assert "The door opens again: attack success 3 % (1 to 15) before, 86 % (70 to 94)" in words
    assert "Attack success after tuning 85.7 % [70.0 % to 94.0 %]" in words
    for command in ("ngf import secret-net.pt", "ngf purify mine", "analysis mine"):
        assert f"python -m {command}" in words
    assert f"analysis {race.id}:ngf reactivation" in words


def test_without_a_known_trigger_the_limits_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    store = Store(tmp_path / "runs")
    write_import(store.root, "", import_spec())
    race = race_of(import_spec().id)
    write_owned(store.root, "", race)
    words = Page(report(store.get(race.id))).words
    assert "Nobody knows the trigger" in words and "No picture with the trigger came" in words
    assert "of the trigger which the model was trained with" not in words


def test_it_names_no_other_place(recorded):
    page = Page(recorded)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form"), tag
        assert not {"src", "href", "action", "srcset", "style"} & set(attributes), tag
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    styles = Path("dashboard/takeaway/report.css").read_text(encoding="utf-8")
    assert "url(" not in styles and "@import" not in styles


@pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"needs {CHROMIUM}")
def test_it_opens_from_a_disk_and_prints(recorded, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(recorded, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(color_scheme="dark")
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".chart .main-svg", timeout=60_000)
        drawn = page.locator(".js-plotly-plot").count()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        printed = page.pdf(format="A4")
        browser.close()
    assert asked == [path.as_uri()] and said == []
    assert drawn == len(Page(recorded).figures()) and ground == "rgb(255, 255, 255)"
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page") > 3


def test_text_from_a_run_stays_text(store):
    evil = '</script><img src=x onerror="alert(1)">'
    folder = write_run(store.root, RACE, race_events(), done=True)
    result = json.loads((folder / RESULT).read_text())
    result["environment"] = {"hardware": evil, "torch": evil}
    result["lanes"]["ngf"]["did"] = evil
    (folder / RESULT).write_text(json.dumps(result))
    slice_of = {"distance": np.linspace(-1, 1, 5), "loss": np.ones((1, 5))}
    slice_of |= {name: np.ones(5) for name in ("mean", "low", "high")}
    measured(store, "loss_slice", f"{RACE.id}:ngf", {"note": evil, "data": evil}, slice_of)
    page = Page(report(store.get(RACE.id)))
    assert [tag for tag, _ in page.tags].count("script") == 4
    assert "img" not in [tag for tag, _ in page.tags]
    assert evil in page.words


def test_a_run_in_progress_is_partial(store):
    write_run(store.root, RACE, race_events(40))
    text = report(store.get(RACE.id))
    page = Page(text)
    assert "Partial: the run was queued" in page.words and "(partial)" in page.words
    assert "After NGF, step 40" in page.words and "a part of the test images, so far" in page.words


def test_a_training_and_a_measurement_have_reports(store):
    words = Page(report(store.get(TRAIN.id))).words
    assert "98.6 %" in words and "Training of the model" in words
    spec = measured(
        store,
        "fisher_trace",
        TRAIN.id,
        {"fisher_trace": 12.3456, "fisher_trace_stderr": 0.5},
        {
            "layers": np.array(["stem", "linear"]),
            "layer_trace": np.array([2.0, 1.0]),
            "layer_trace_stderr": np.array([0.1, 0.1]),
        },
        complete=False,
    )
    page = Page(report(store.get(spec.id)))
    assert "12.3 ± 0.5" in page.words and "Partial: the measurement of Backdoored" in page.words
    assert page.figures() and "n = 64" in page.words
    of_model = measurements_of(store, [TRAIN.id])
    assert [run.id for run in of_model] == [spec.id]
    assert "Fisher trace" in Page(report(store.get(TRAIN.id))).words
