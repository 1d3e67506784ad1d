"""The page that compares: what it opens with, what it says, and what a click does."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pandas as pd
import pytest

from dashboard.compare.lanes import entries, lanes
from dashboard.compare.measured import NAMES, models, read, table, view_of
from dashboard.compare.picking import after_choice, fitting
from dashboard.compare.sheet import sheet
from dashboard.kit import library
from dashboard.kit.spreadsheet import as_csv
from ngf.config import Choice, PurifySpec
from ngf.runs.folder import RESULT
from tests.helpers.hostile import ALL
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import measured, race_events, write_run

AFTER = {"ca": 0.98, "asr": 0.02, "ra": 0.97}


def races(store, model, seeds=(1, 2), **lanes_of):
    """Races of NGF and SGD by seed, on a model of the zoo."""
    specs = []
    for seed in seeds:
        spec = PurifySpec(parent=model.id, lanes=(Choice("ngf"), Choice("sgd")), seed=seed)
        folder = write_run(store.root, spec, race_events(), done=True)
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        for lane in ("ngf", "sgd"):
            result["lanes"][lane] |= {"after": AFTER, "lr": 0.01, "layer": "all"}
            result["lanes"][lane] |= lanes_of.get(lane, {})
        (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
        specs.append(spec)
    return specs


def test_it_opens_with_what_ships(open_page, store):
    page = open_page("compare")
    assert [item.value for item in page.header] == [
        "Before and after",
        "Paired differences",
        "The minima",
    ]
    assert "Not measured yet" not in text(page)
    assert len(page.dataframe) == 1  # of the minima; the table of runs is behind a click
    assert dict(page.query_params) == {}


def test_a_link_opens_the_same_comparison(open_page, store, zoo_model):
    one, two = races(store, zoo_model)
    page = open_page("compare", runs=f"{one.id},{two.id}:ngf,gone-1", by="seed", mean="1")
    assert "“gone-1” is not in this store" in text(page)
    assert page.selectbox(key="compare.by").value == "seed"
    assert page.query_params["runs"] == f"{one.id},{two.id}:ngf"
    assert page.session_state["compare.ticked"] == (
        f"{one.id}:ngf",
        f"{one.id}:sgd",
        f"{two.id}:ngf",
    )
    assert "Two values of “purification seed” never share" in text(page)
    page.selectbox(key="compare.by").set_value("method")
    checked(page.run())
    assert "by" not in page.query_params
    assert page.session_state["compare.first"] == "sgd"
    page.selectbox(key="compare.first").set_value("ngf")
    page.selectbox(key="compare.second").set_value("sgd")
    checked(page.run())
    assert (page.query_params["first"], page.query_params["second"]) == ("ngf", "sgd")


def test_unticking_all_leaves_a_table_to_tick_in(open_page, store):
    page = open_page("compare", runs="none")
    assert "Tick at least one row" in text(page)
    table_of_it = page.dataframe[0].value
    assert len(table_of_it) == len(lanes())
    assert {"Attack", "Purified by", "Model seed", "Seed", "ASR", "Run"} <= set(table_of_it)
    (again,) = [item for item in page.button if item.label == "Tick what ships"]
    checked(again.click().run())
    assert "Before and after" in [item.value for item in page.header]
    assert "runs" not in page.query_params


def test_filters_narrow_the_table_and_keep_the_ticks(open_page, store, zoo_model):
    (race,) = races(store, zoo_model, seeds=(1,))
    page = open_page("compare", runs="none", attack="badnets", source="user")
    assert list(page.dataframe[0].value["Run"]) == [f"{race.id}:ngf", f"{race.id}:sgd"]
    assert after_choice(("a", "b", "c"), ("b", "c", "d"), ("c", "d")) == ("a", "c", "d")
    known = lanes()
    assert {lane.run.source for lane in fitting(known, {"source": ["zoo"]})} == {"zoo"}
    assert len(fitting(known, {"seed": []})) == len(known)


def test_models_are_named_by_what_tells_them_apart(store, zoo_model):
    races(store, zoo_model, sgd={"diverged": {"step": 9, "message": "x", "advice": "y"}})
    known = lanes()
    own = [lane for lane in known.values() if lane.run.source == "user"]
    found = entries([*own, known[zoo_model.id]], "method")
    assert sorted(entry.name for entry in found) == [
        "Backdoored",
        "NGF · seed 1",
        "NGF · seed 2",
        "SGD · seed 1",
        "SGD · seed 2",
    ]
    assert {entry.diverged for entry in found if "SGD" in entry.name} == {9}
    one = [entry for entry in found if entry.group.key == "ngf"]
    assert len({entry.mark.dash for entry in one}) == 2 and len({e.mark.color for e in one}) == 1
    by_seed = entries(own, "seed")
    assert len({entry.mark.color for entry in by_seed}) == 2
    # one model of each that there is, and the one that they were made of
    assert [entry.name for entry in models(found[:4], known, "method")] == [
        "Backdoored",
        *(entry.name for entry in found if "NGF" in entry.name),
    ]


def test_lanes_alike_get_the_end_of_their_names(store, zoo_model):
    twin = PurifySpec(parent=zoo_model.id, lanes=(Choice("sgd"), Choice("sgd")), seed=4)
    write_run(store.root, twin, [], done=True)
    known = lanes()
    found = entries([known[f"{twin.id}:sgd"], known[f"{twin.id}:sgd-2"]], "method")
    end = twin.id[-6:]
    assert [entry.name for entry in found] == [f"SGD · {end} SGD", f"SGD · {end} SGD (2)"]


def test_what_is_not_measured_is_asked_for_with_one_button(open_page, store, zoo_model):
    (race,) = races(store, zoo_model, seeds=(1,))
    arrays = {name: pd.Series([0.0, 1.0]).to_numpy() for name in ("nodes", "weights")}
    measured(store, "hessian_spectrum", f"{race.id}:ngf", {"lambda_max": 12.5}, arrays)
    page = open_page("compare", runs=race.id)
    ask = button(page, "compare.measure")
    count = int(ask.label.split("(")[1].rstrip(")"))
    assert f"{12 - count} of 12 measurements done." in text(page)
    numbers = page.dataframe[-1].value
    assert list(numbers["Model"]) == ["NGF"] and list(numbers.iloc[0])[1] == "12.5"
    checked(ask.click().run())
    mine = [run for run in store.runs() if run.kind == "measure"]
    assert len(mine) == count + 1
    assert {run.spec.measurement.name for run in mine} <= set(NAMES)
    assert not [item for item in page.button if item.key == "compare.measure"]


def test_the_file_holds_all_of_the_comparison(store, zoo_model):
    (race,) = races(store, zoo_model, seeds=(1,))
    measured(store, "sharpness", f"{race.id}:ngf", {"filter_lambda_max": 7.25}, {})
    known = lanes()
    ticked = [known[f"{race.id}:ngf"], known[zoo_model.id]]
    shown = entries(ticked, "method")
    found = read(view_of(models(shown, known, "method")))
    assert table(found) is not None
    frame = sheet(
        shown, {"NGF": {"filter_lambda_max": 7.25}}, {one.target: one.row for one in ticked}
    )
    back = pd.read_csv(io.StringIO(as_csv(frame)))
    assert list(back["run"]) == [race.id, zoo_model.id]
    assert back.loc[
        0, ["lane", "seed", "asr_before", "asr_after", "filter_lambda_max"]
    ].tolist() == [
        "ngf",
        "1",
        0.997,
        0.02,
        7.25,
    ]
    assert back.loc[1, "asr_before_low"] == pytest.approx(zoo_model.result["asr_interval"][0])
    assert back.loc[1, "version"] == zoo_model.result["environment"]["ngf"]


def test_texts_of_a_result_cannot_do_anything(open_page, store, zoo_model):
    (race,) = races(store, zoo_model, seeds=(1,), ngf={"layer": ALL})
    page = open_page("compare", runs=race.id, by="layer")
    said = text(page)
    assert "<script" not in said and "](http" not in said
    assert all(
        not set("<>[]()$`") & set(entry.fields["layer"].words)
        for entry in entries(list(lanes().values())[:2], "layer")
    )


def test_more_than_can_be_read_is_told(open_page, store, zoo_model):
    found = races(store, zoo_model, seeds=range(1, 14))
    page = open_page("compare", runs=",".join(spec.id for spec in found))
    assert "26 models are ticked, and 24 can be compared at once" in text(page)
    assert len(page.session_state["compare.ticked"]) == 24


def test_a_run_leads_here(open_page, store, zoo_model):
    (race,) = races(store, zoo_model, seeds=(1,))
    waiting = replace(race, seed=9)
    write_run(store.root, waiting, [])
    page = open_page("runs", run=race.id)
    links = [item.proto.query_string for item in page.get("page_link")]
    assert f"runs={race.id}" in links
    page = open_page("runs", run=waiting.id)
    assert not [item for item in page.get("page_link") if "runs=" in item.proto.query_string]
    assert library.find(waiting.id).status == "queued"
