"""Every page, run by Streamlit's own test driver: on an empty store, on the zoo, and under
bad links.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.kit import forms, library, measuring, url
from dashboard.kit.pages import SEED_MAX, pages
from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.options import SpecError
from ngf.runs.folder import ARRAYS, CONTROL, RESULT
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import write_run

PAGES = tuple(pages())
HOSTILE = {
    "start": {"run": "x", "a" * 500: "b" * 5000},
    "lab": {
        "attack": "<script>alert(1)</script>",
        "seed": "99999999999999999999",
        "run": "../../etc/passwd",
        "lane": ["ngf:steps=-4", "nothing", "ngf:nothing=1", "sgd:steps"],
        "view": "fly",
        "bogus": "1",
        "num_clean": "NaN",
        "model": "none-such",
        "data": "",
        "race_seed": "1e400",
    },
    "attacks": {"attack": ["<script>alert(1)</script>", "badnet"], "kind": "](x)"},
    "studio": {
        "drawing": "](" * 900,
        "model": "none-such",
        "row": "-1",
        "alpha": "1e9",
        "target": "x",
    },
    "geometry": {"run": "none-such", "lane": "sgd-99", "images": "all", "seed": "-1"},
    "runs": {"kind": ["train", "dance"], "status": "glowing", "attack": "=1+1", "run": "none-such"},
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_on_an_empty_store(open_page, empty, name):
    page = open_page(name)
    assert len(page.title) == 1
    assert "is not there" in text(page) or "yet" in text(page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_on_the_zoo(open_page, store, name):
    assert any(store.zoo.iterdir()), "assets/zoo is empty: run `make zoo`"
    page = open_page(name)
    assert len(page.title) == 1
    assert not page.error


def test_start_tells_the_story_with_numbers_intervals_and_counts(open_page, store):
    page = open_page("start")
    shown = text(page)
    assert [item.label for item in page.metric] == [
        "Clean accuracy",
        "Attack success",
        "Robust accuracy",
    ]
    assert "What you just saw." in shown
    assert shown.count("[") >= 6, "every number has its interval"
    assert "clean test images" in shown and "triggered" in shown


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("which", ["empty", "store"])
def test_a_bad_link_opens_on_defaults_and_says_what_it_ignored(open_page, request, which, name):
    where = request.getfixturevalue(which)
    page = open_page(name, **HOSTILE[name])
    said = text(page)
    assert "could not be used" in said
    assert (
        "<script>" not in said and "](" not in said.split("could not be used")[1].split("\n\n")[0]
    )
    assert [run for run in where.runs() if run.source == "user"] == [], (
        "a link must never start a run"
    )


def test_a_link_lists_what_is_allowed_and_clamps(open_page, store):
    page = open_page("lab", attack="badnet", race_seed="99999999999", lane=["ngf:steps=-4"])
    said = text(page)
    assert "Allowed: " in said and "badnets" in said
    assert f"was set to {SEED_MAX}" in said
    assert "ngf.steps = -4 is out of range" in said


def test_the_notice_stays_while_choices_are_made_and_goes_with_a_new_link(open_page, store):
    page = open_page("lab", attack="badnet")
    page.number_input(key="lab.race_seed").set_value(3).run()
    assert "could not be used" in text(page)


def test_start_button_makes_one_run_however_often_it_is_clicked(open_page, store):
    page = open_page("lab", race_seed="77", lane=["ngf:steps=5", "sgd:steps=5"])
    assert store.runs() and all(run.source == "zoo" for run in store.runs())
    first = button(page, "lab.start")
    checked(first.click().run())
    mine = [run for run in store.runs() if run.source == "user"]
    assert [run.spec.kind for run in mine] == ["purify"]
    assert mine[0].spec.lane_names() == ("ngf", "sgd") and mine[0].spec.seed == 77
    assert mine[0].status == "queued"
    assert page.query_params["run"] == mine[0].id
    checked(
        page.run()
    )  # a second click reaches this script: there is no second button, and no second run
    again = open_page("lab", race_seed="77", lane=["ngf:steps=5", "sgd:steps=5"])
    assert again.query_params["run"] == mine[0].id
    assert len([run for run in store.runs() if run.source == "user"]) == 1


def test_a_link_to_a_run_brings_its_choices_back(open_page, store):
    page = open_page("lab", attack="blend", race_seed="5", lane=["sgd:steps=7"], num_clean="100")
    checked(button(page, "lab.start").click().run())
    run_id = page.query_params["run"]
    other = open_page("lab", run=run_id)
    assert other.multiselect(key="lab.lanes").value == ["sgd"]
    assert other.number_input(key="lab.lane.sgd.steps").value == 7
    assert other.number_input(key="lab.num_clean").value == 100
    assert other.number_input(key="lab.race_seed").value == 5
    assert other.query_params["run"] == run_id


def test_choices_are_in_the_address_and_a_new_page_has_them(open_page, store):
    page = open_page("lab")
    page.number_input(key="lab.num_clean").set_value(200).run()
    page.multiselect(key="lab.lanes").set_value(["ngf"]).run()
    found = {name: page.query_params[name] for name in page.query_params}
    other = open_page("lab", **found)
    assert other.number_input(key="lab.num_clean").value == 200
    assert other.multiselect(key="lab.lanes").value == ["ngf"]


def test_no_defense_is_an_error_in_words_and_nothing_is_lost(open_page, store):
    page = open_page("lab")
    page.number_input(key="lab.num_clean").set_value(200).run()
    checked(page.multiselect(key="lab.lanes").set_value([]).run())
    assert "Choose at least one defense." in [item.value for item in page.error]
    assert page.number_input(key="lab.num_clean").value == 200


def test_pause_resume_and_stop_write_what_they_say(open_page, store):
    page = open_page("lab", race_seed="78")
    checked(button(page, "lab.start").click().run())
    run = next(run for run in store.runs() if run.source == "user")
    checked(button(page, f"pause.{run.id}").click().run())
    assert run.status == "paused"
    checked(button(page, f"resume.{run.id}").click().run())
    assert run.status == "queued"
    checked(button(page, f"cancel.{run.id}").click().run())
    assert run.status == "cancelled"
    assert "Stopped by you" in text(page)


def test_training_your_own_makes_a_training(open_page, store):
    page = open_page("lab", view="train")
    page.number_input(key="lab.training.epochs").set_value(1).run()
    checked(button(page, "lab.start").click().run())
    mine = [run.spec for run in store.runs() if run.source == "user"]
    assert [spec.kind for spec in mine] == ["train"] and mine[0].training.epochs == 1
    assert page.query_params["view"] == "train"


def test_geometry_submits_measurements_on_a_click_only(open_page, store):
    page = open_page("geometry")
    before = [run for run in store.runs() if run.source == "user"]
    assert before == []
    page.number_input(key="geometry.seed").set_value(9).run()
    checked(button(page, "geometry.measure").click().run())
    kinds = {
        run.spec.measurement.name
        for run in store.runs()
        if run.source == "user" and run.spec.kind == "measure"
    }
    assert {"loss_slice", "hessian_spectrum", "fisher_trace"} <= kinds


def test_runs_lists_filters_and_deletes(open_page, store):
    lab = open_page("lab", race_seed="79")
    checked(button(lab, "lab.start").click().run())
    run = next(run for run in store.runs() if run.source == "user")
    page = open_page("runs", source="user")
    assert list(page.dataframe[0].value["Run"]) == [run.id]
    page = open_page("runs", run=run.id)
    assert library.describe(run) in [item.value for item in page.header]
    checked(button(page, "runs.delete").click().run())
    assert store.find(run.id) is None
    assert "was deleted" in text(page)


def test_the_zoo_cannot_be_deleted_from_the_page(open_page, store):
    page = open_page("runs", run=next(run.id for run in store.runs() if run.source == "zoo"))
    assert not [item for item in page.button if item.key == "runs.delete"]
    assert "read-only" in text(page)


def test_every_field_of_every_plugin_has_a_widget(store):
    """A new plug-in gets its form without a change to the pages."""

    def script(kind, name):
        import streamlit as st

        from dashboard.kit import forms
        from ngf.config import Choice

        st.session_state["made"] = forms.plugin_form(kind, Choice(name), f"form.{name}", ["stem"])

    for kind in ("attacks", "defenses", "measurements"):
        for name, about in catalogue()[kind].items():
            page = checked(
                AppTest.from_function(script, args=(kind, name), default_timeout=20).run()
            )
            keys = {
                key.split(".", 2)[2]
                for key in page.session_state._state.filtered_state
                if str(key).startswith(f"form.{name}.")
            }
            assert {item["name"] for item in about["fields"]} <= keys
            assert page.session_state["made"] == Choice(name), (
                "a form opens on the plug-in's defaults"
            )


def test_the_text_of_a_lane_goes_both_ways():
    lane = forms.lane_from_text("ngf:steps=50,layer=last")
    assert forms.lane_from_text(forms.lane_to_text(lane)) == lane
    assert lane.options == {"steps": 50, "layer": "last"}
    with pytest.raises(SpecError, match="option=value"):
        forms.lane_from_text("ngf:steps")
    with pytest.raises(SpecError, match="Allowed"):
        forms.lane_from_text("nothing")


def test_parse_is_typed_and_clamps():
    values, ignored = url.parse(
        "lab", {"seed": ["7"], "num_clean": ["3"], "view": ["train"], "lane": ["a", "a"]}
    )
    assert (values["seed"], values["num_clean"], values["view"], values["lane"]) == (
        7,
        10,
        "train",
        ("a",),
    )
    assert len(ignored) == 1 and "Allowed: 10 to 5000" in ignored[0]
    assert url.address("lab", values) == {
        "seed": "7",
        "num_clean": "10",
        "view": "train",
        "lane": ["a"],
    }


def test_a_recording_and_a_run_look_alike(store, tmp_path):
    """The recorded race is a run folder like any other: the same reader, the same chart."""
    race = library.recording()
    assert race is not None, "assets/recordings/race is not there: run `make zoo`"
    copy = store.root / race.spec.id
    shutil.copytree(race.path, copy)
    assert store.get(race.spec.id).events() == race.events()


# ---- the geometry explorer over measurements written by hand


def measured(
    store,
    name: str,
    target: str,
    values: dict,
    arrays: dict,
    *,
    complete: bool | None = True,
    **options,
):
    """A measurement run: finished (whole or partial), or stopped without a result (None)."""
    spec = MeasureSpec(target=target, measurement=normalize("measurements", Choice(name, options)))
    values = {"data": "clean", "n": 64, "seed": 0, "batch_norm": "eval", **values}
    folder = write_run(
        store.root, spec, [{"type": "partial", **values, "fraction": 1.0, "done": bool(complete)}]
    )
    np.savez(folder / ARRAYS, **arrays)
    if complete is None:
        (folder / CONTROL).write_text("cancel", encoding="utf-8")
    else:
        (folder / RESULT).write_text(
            json.dumps({"values": values, "complete": complete}), encoding="utf-8"
        )
    return spec


@pytest.fixture
def zoo_model(store):
    """A backdoored model of the zoo that has a benign one beside it."""
    return next(
        run
        for run in library.trained()
        if run.spec.attack.name == "badnets" and measuring.benign(run)
    )


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


def test_geometry_shows_each_model_on_one_pair_of_axes(open_page, store, zoo_model):
    for run in (measuring.benign(zoo_model), zoo_model):
        measured(store, "loss_slice", run.id, {"num_directions": 3}, SLICE)
    page = open_page("geometry", run=zoo_model.id)
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
    page = open_page("geometry", run=zoo_model.id, benign="0")
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
    assert r"Memory ran \*out\* once." in text(page)


def test_a_link_to_a_surface_brings_its_choices_back(open_page, store, zoo_model):
    options = {"num_images": measuring.PLANE_IMAGES, "points": 21}
    for run in (measuring.benign(zoo_model), zoo_model):
        measured(store, "loss_plane", run.id, {"plane": "random", "loss": 0.1}, PLANE, **options)
    page = open_page("geometry", run=zoo_model.id, view="contour", log="1")
    assert page.segmented_control(key="geometry.view").value == "contour"
    assert page.toggle(key="geometry.log").value is True
    page.segmented_control(key="geometry.view").set_value("surface").run()
    checked(page.selectbox(key="geometry.cells").set_value(41).run())
    assert (page.query_params["cells"], page.query_params["log"]) == ("41", "1")
    page = open_page("geometry", run=zoo_model.id, benign="0")
    assert page.segmented_control(key="geometry.view").value == "surface", "one model alone"
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
        ("Predictions changed by at most", "1.0e-6"),
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
    monkeypatch.setattr(measuring, "catalogue", lambda: changed)
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
