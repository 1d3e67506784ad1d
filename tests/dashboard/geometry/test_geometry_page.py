"""The Geometry page over measurements written by hand."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from analysis import asking
from analysis.measurements.base import Picture
from dashboard.charts.registry import pictures
from dashboard.geometry.sections.declared import declared
from dashboard.kit import library, measuring
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec
from ngf.runs.folder import RESULT
from ngf.runs.store import MeasureRun
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import TRAIN, measured, race_events, write_run

SLICE = {
    "distance": np.array([-0.5, 0.0, 0.5]),
    **{key: np.array([2.0, 0.1, 2.0]) for key in ("mean", "low", "high")},
}
GRID = np.linspace(-0.5, 0.5, 21)
PLANE = {
    "a": GRID,
    "b": GRID,
    "loss": GRID[None, :, None] ** 2 + GRID[None, None, :] ** 2,
    "points": np.zeros((1, 2)),
    "rate": np.ones((1, 21, 21)),
    "known": np.ones((21, 21), np.uint8),
    "point_names": np.array(["center"]),
}


def test_geometry_submits_measurements_on_a_click_only(open_page, store):
    page = open_page("geometry")
    before = [run for run in store.runs() if run.source == "user"]
    assert before == []
    page.number_input(key="geometry.seed").set_value(9).run()
    checked(button(page, "geometry.measure").click().run())
    kinds = {
        run.spec.measurement.name
        for run in store.runs()
        if run.source == "user" and isinstance(run, MeasureRun)
    }
    assert {"loss_slice", "hessian_spectrum", "fisher_trace"} <= kinds


def test_geometry_opens_on_a_run_that_has_pictures(open_page, store):
    """A race that nobody has measured would be a page of buttons; the recording is measured."""
    write_run(store.root, TRAIN, [], done=True)
    race = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"), Choice("sgd")))
    write_run(store.root, race, race_events(), done=True)
    assert open_page("geometry").session_state["geometry.run"] == library.recordings()[0].id
    measured(store, "loss_slice", f"{race.id}:ngf", {"num_directions": 3}, SLICE)
    assert open_page("geometry").session_state["geometry.run"] == race.id


def test_geometry_shows_each_model_on_one_pair_of_axes(open_page, store, zoo_model):
    for run in (measuring.benign(zoo_model), zoo_model):
        measured(store, "loss_slice", run.id, {"num_directions": 3}, SLICE)
    page = open_page("geometry", run=zoo_model.id, walk="random")
    said = text(page)
    assert "**Benign**" in said and "**Backdoored**" in said
    assert "Clean images · n = 64 · seed 0 · BatchNorm in eval mode" in said
    page.toggle(key="geometry.benign").set_value(False).run()
    assert "**Benign**" not in text(checked(page))
    assert page.query_params["benign"] == "0"


def test_geometry_says_what_is_partial_and_what_a_measurement_notes(open_page, store, zoo_model):
    measured(
        store, "loss_slice", zoo_model.id, {"note": "Memory ran *out* once."}, SLICE, complete=False
    )
    measured(store, "hessian_spectrum", zoo_model.id, {"lambda_max": 3.0}, {}, complete=None)
    page = open_page("geometry", run=zoo_model.id, benign="0", walk="random")
    assert (
        len(
            [
                item
                for item in page.warning
                if "Partial: the measurement of the backdoored model" in item.value
            ]
        )
        >= 2
    )
    assert any(r"Memory ran \*out\* once." in item.value for item in page.caption)


def test_a_link_to_a_surface_brings_its_choices_back(open_page, store, zoo_model):
    options = {"num_images": asking.PLANE_IMAGES, "points": 21}
    for run in (measuring.benign(zoo_model), zoo_model):
        measured(store, "loss_plane", run.id, {"plane": "random", "loss": 0.1}, PLANE, **options)
    page = open_page("geometry", run=zoo_model.id, plane="random", view="surface", log="0")
    assert page.segmented_control(key="geometry.view").value == "surface"
    assert page.toggle(key="geometry.log").value is False
    page.segmented_control(key="geometry.view").set_value("contour").run()
    checked(page.selectbox(key="geometry.cells").set_value(41).run())
    assert (page.query_params["cells"], page.query_params["log"]) == ("41", "0")
    page = open_page("geometry", run=zoo_model.id, benign="0", plane="random")
    assert page.segmented_control(key="geometry.view").value == "contour", "a map, unless asked"
    page = open_page("geometry", run=zoo_model.id, cells="33")
    assert page.selectbox(key="geometry.cells").value == 21


def test_the_table_of_measures_has_errors_and_what_leaves_them_as_they_are(
    open_page, store, zoo_model
):
    measured(
        store,
        "hessian_spectrum",
        zoo_model.id,
        {"lambda_max": 11.14, "lambda_max_error": 0.065},
        {},
    )
    measured(
        store,
        "sharpness",
        zoo_model.id,
        {
            "filter_trace": 5.0,
            "filter_trace_stderr": 0.2,
            "fisher_rao_norm": 2.0,
            "relative_flatness": None,
        },
        {},
    )
    page = open_page("geometry", run=zoo_model.id, benign="0")
    table = page.table[0].value
    assert list(table.columns) == ["Backdoored", "Unchanged by"]
    assert table.loc["Largest Hessian eigenvalue", "Backdoored"] == "11.1 ± 0.065"
    assert table.loc["Trace, filter-normalized", "Backdoored"] == "5 ± 0.2"
    assert all(table["Unchanged by"]), "each says what leaves it as it is"


def test_a_second_opinion_stands_beside_ours_as_far_as_either_is(open_page, store, zoo_model):
    benign = measuring.benign(zoo_model)
    ours = {"lambda_max": 10.0, "lambda_max_error": 0.01, "num_hvps": 68}
    theirs = {"lambda_max": 10.1, "trace": 50.0, "trace_stderr": 2.0, "num_hvps": 51}
    measured(store, "hessian_spectrum", zoo_model.id, ours, {})
    measured(store, "pyhessian_check", zoo_model.id, theirs, {})
    measured(store, "pyhessian_check", benign.id, {}, {}, complete=None)
    page = open_page("geometry", run=zoo_model.id)
    (table,) = [item.value for item in page.table if "PyHessian" in item.value]
    about = {(row["Number"], model): dict(row) for model, row in table.iterrows()}
    assert about["λmax", "Backdoored"] == {
        "Number": "λmax",
        "PyHessian": "10.1",
        "Ours": "10 ± 0.01",
        "Difference": "+1.0 %",
        "Products, PyHessian": "51",
        "Products, ours": "68",
    }
    assert about["Tr(H)", "Backdoored"]["PyHessian"] == "50 ± 2"
    assert about["Tr(H)", "Backdoored"]["Ours"] == "–"
    assert set(about["λmax", "Benign"].values()) == {"λmax", "–"}


def test_the_rescaling_slider_moves_over_what_was_measured(open_page, store, zoo_model):
    factors = np.array([0.1, 1.0, 10.0])
    measured(
        store,
        "rescaling",
        zoo_model.id,
        {"layer": "stem.conv"},
        {
            "factor": factors,
            "lambda_max": 5 / factors**2,
            "filter_lambda_max": np.full(3, 2.0),
            "max_change": np.full(3, 1e-6),
        },
    )
    page = open_page("geometry", run=zoo_model.id, benign="0")
    slider = page.select_slider(key="geometry.factor")
    assert slider.value == 0.1
    assert [(item.label, item.value) for item in page.metric] == [
        ("Predictions changed by at most", "1.0e−6"),
        ("λmax is multiplied by", "100"),
        ("Filter-normalized λmax is multiplied by", "1"),
    ]
    checked(slider.set_value(10.0).run())
    assert page.metric[1].value == "0.01"


def test_one_click_measures_the_quick_set_and_sections_the_rest(open_page, store, zoo_model):
    page = open_page("geometry", run=zoo_model.id)
    checked(button(page, "geometry.measure").click().run())
    names = [run.spec.measurement.name for run in reversed(store.runs()) if run.source == "user"]
    assert set(names) == set(measuring.QUICK) - {"loss_line"}, (
        "a training has no line to another model"
    )
    assert names.count("loss_plane") == 2
    section = next(
        item
        for item in page.button
        if item.key and item.key.startswith("geometry.measure.rescaling")
    )
    checked(section.click().run())
    assert "rescaling" in {
        run.spec.measurement.name for run in store.runs() if run.source == "user"
    }


def test_a_benign_model_is_left_out_where_it_has_no_images(open_page, store, zoo_model):
    measured(store, "loss_slice", measuring.benign(zoo_model).id, {}, SLICE)
    page = open_page("geometry", run=zoo_model.id, images="triggered_true")
    assert "A benign model has no triggered images" in text(page)
    page = open_page("geometry", run=measuring.benign(zoo_model).id, images="poisoned")
    assert page.selectbox(key="geometry.images").value == "clean"


def test_measurements_that_this_version_does_not_know_do_not_matter(
    open_page, store, zoo_model, monkeypatch
):
    known = catalogue()
    fewer = {
        name: about
        for name, about in known["measurements"].items()
        if name not in ("loss_plane", "rescaling")
    }
    changed = {
        **known,
        "measurements": {**fewer, "brand_new": known["measurements"]["fisher_trace"]},
    }
    monkeypatch.setattr(asking, "catalogue", lambda: changed)
    measuring._specs.cache_clear()
    page = open_page("geometry", run=zoo_model.id)
    headings = [item.value for item in page.header]
    assert "Loss around the minimum" in headings and "The surface" not in headings
    measuring._specs.cache_clear()


def test_runs_that_are_called_the_same_are_told_apart(open_page, store, zoo_model):
    runs = {
        run.id: run
        for run in (
            store.submit(PurifySpec(parent=zoo_model.id, lanes=(Choice("ngf", {"steps": steps}),)))
            for steps in (3, 4)
        )
    }
    labels = library.tell_apart(runs, library.describe_measurable)
    assert len(set(labels.values())) == 2
    assert all(labels[name].endswith(name[-6:]) for name in runs)
    assert "on" in next(iter(labels.values()))


def test_a_declared_picture_is_a_section(open_page, store, zoo_model, monkeypatch):
    """A measurement that declares a picture needs no line on the page."""
    picture = Picture(
        question="How much?", value="fisher_trace", label="Tr(F) again", cannot="Much."
    )
    about = {**catalogue()["measurements"]["fisher_trace"], "picture": asdict(picture)}
    monkeypatch.setitem(catalogue()["measurements"], "fisher_trace", about)
    page = open_page("geometry", run=zoo_model.id, benign="0")
    said = text(page)
    assert f"**{about['title']}.** How much?" in said, "it is offered below"
    values = {"fisher_trace": 4.0, "fisher_trace_stderr": 0.5}
    measured(store, "fisher_trace", zoo_model.id, values, {})
    page = open_page("geometry", run=zoo_model.id, benign="0")
    assert about["title"] in [header.value for header in page.header]
    assert "How much?" in text(page) and "Much." in text(page)


def test_every_declared_picture_is_offered_on_the_page(open_page, store, zoo_model):
    """One that tunes a purified model is not offered of a training."""
    said = text(open_page("geometry", run=zoo_model.id))
    assert len(declared()) == len(pictures())
    about = {one["title"]: one["needs"] for one in catalogue()["measurements"].values()}
    for section in declared():
        offered = f"**{section.heading}.** {section.question}" in said
        assert offered == (about[section.heading]["models"] != "pair"), section.heading
    assert "Not measured yet" not in said


def test_pages_of_a_race_whose_first_lane_diverged(open_page, store):
    """Lanes with no numbers and no model: every page offers the others, and says why."""
    write_run(store.root, TRAIN, [], done=True)
    race = PurifySpec(parent=TRAIN.id, lanes=(Choice("sgd"), Choice("ngf")))
    ended = {"step": 3, "message": "The loss is no longer a number.", "advice": "Go slower."}
    events = [e for e in race_events() if e["lane"] != "sgd" or e["step"] < 3]
    events += [{"type": "diverged", "lane": "sgd", "step": 3, "message": ended["message"]}]
    folder = write_run(store.root, race, events, done=True)
    result = json.loads((folder / RESULT).read_text())
    about = {"layer": "all", "lr": 100.0, "steps": 3, "seconds": 0.2}
    after = result["lanes"]["ngf"]["after"]
    result |= {"after": None, "der": None}
    result["lanes"] = {
        "sgd": {**about, "diverged": ended},
        "ngf": {**about, "after": after, "der": 0.9},
    }
    (folder / RESULT).write_text(json.dumps(result))
    lab = text(open_page("lab", run=race.id))
    assert "SGD diverged at step 3" in lab and "Go slower." in lab
    geometry = open_page("geometry", run=race.id, lane="sgd")
    assert geometry.selectbox(key="geometry.lane").options == ["NGF"]
    assert "lane “sgd” diverged at step 3" in text(geometry)
    assert checked(button(geometry, "geometry.measure").click().run())
    targets = {run.spec.target for run in store.runs() if isinstance(run, MeasureRun)}
    assert f"{race.id}:ngf" in targets and f"{race.id}:sgd" not in targets
    open_page("runs")


def test_a_training_alone_has_no_plane_through_models(open_page, store, zoo_model):
    page = open_page("geometry", run=zoo_model.id, plane="models")
    assert page.segmented_control(key="geometry.plane").value == "steepest"
    recorded = library.recording()
    page = open_page("geometry", run=recorded.id)
    assert page.segmented_control(key="geometry.plane").value == "models"
    assert page.segmented_control(key="geometry.walk").value == "steepest"
