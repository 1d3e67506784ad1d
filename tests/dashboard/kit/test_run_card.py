"""One run in words: rates with intervals, what a race has done, how far a run is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboard.charts.rates import RATES
from dashboard.kit import library, run_card
from ngf.config import Choice, PurifySpec
from tests.helpers.pages import text
from tests.helpers.run_folders import race_events, weak_run, write_run

RACE = PurifySpec(parent="model", lanes=(Choice("ngf"), Choice("sgd")))
BEFORE = {"ca": 0.992, "asr": 0.997, "ra": 0.003, "asr_interval": [0.9939, 0.9987]}


def outcome(**after):
    return {"before": BEFORE, "lanes": {lane: {"after": rates} for lane, rates in after.items()}}


def test_a_rate_has_its_interval_and_a_missing_one_a_dash():
    assert run_card.with_interval(BEFORE, "asr") == "99.7 % [99.4–99.9]"
    assert run_card.with_interval(BEFORE, "ca") == "99.2 %"
    assert run_card.with_interval({"asr": None, "asr_interval": [0, 1]}, "asr") == "–"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            {"ca": 0.982, "asr": 0.02},
            "NGF took the attack success rate from 99.7 % to 2.0 %, costing 1.0 points of clean "
            "accuracy.",
        ),
        (
            {"ca": 0.995, "asr": 0.99},
            "NGF left the attack success rate at 99.0 %, gaining 0.3 points of clean accuracy.",
        ),
        ({"ca": 0.98, "asr": None}, "NGF ended at 98.0 % clean accuracy."),
        ({}, ""),
    ],
)
def test_the_sentence_of_a_race_follows_from_its_numbers(after, said):
    assert run_card.outcome_sentence(RACE, outcome(ngf=after)) == said


def test_the_table_of_a_race_has_a_row_per_model_and_a_column_per_rate():
    table = run_card.outcome_table(RACE, outcome(ngf=BEFORE, sgd=BEFORE))
    assert list(table["Model"]) == ["Before", "After\u00a0NGF", "After\u00a0SGD"]
    assert list(table) == ["Model", *(rate.name for rate in RATES), "DER"]
    assert list(run_card.outcome_table(RACE, outcome(sgd=BEFORE))["Model"])[1:] == [
        "After\u00a0SGD"
    ]


ENDED = {"step": 3, "message": "The loss is no longer a number.", "advice": "Go slower."}


def test_a_lane_that_diverged_says_so_where_its_numbers_would_be():
    result = outcome(ngf={"ca": 0.982, "asr": 0.02})
    lanes = result["lanes"]
    lanes["ngf"] |= {"seconds": 1.0, "steps": 100, "lr": 0.01, "layer": "stem"}
    lanes["sgd"] = {"diverged": ENDED, "seconds": 0.2, "steps": 3, "lr": 100.0, "layer": "all"}
    table = run_card.outcome_table(RACE, result)
    assert list(table["Model"])[2] == "After\u00a0SGD"
    cells = [text.replace("\u00a0", " ").replace("\u2060", "") for text in table.iloc[2]][1:]
    assert cells == ["diverged at step 3", "–", "–", "–"]
    said = run_card.outcome_sentence(RACE, result)
    assert said.endswith("; SGD diverged at step 3 and has left no model.")
    assert run_card.settings_sentence(RACE, result).endswith(
        "SGD tuned all layers at learning rate 100 in 3 steps and diverged at step 3 (0.2 s). "
        "Go slower."
    )
    lanes["sgd"] = {"diverged": {**ENDED, "step": 0}, "seconds": 0.2, "steps": 0}
    assert "diverged at step 0" in run_card.settings_sentence(RACE, result), "while choosing"


REASON = "Clean accuracy is 43.1% on 2,400 test images; at least 80% is asked."


def test_a_weak_model_says_so_wherever_it_is_shown(open_page, store):
    weak = weak_run(store.root, REASON)
    race = replace(RACE, parent=weak.id, seed=5)
    write_run(store.root, race, race_events(), done=True)
    for page in (
        open_page("lab", model=weak.id),
        open_page("lab", run=weak.id),
        open_page("geometry", run=weak.id),
        open_page("geometry", run=race.id),
        open_page("runs", run=weak.id),
    ):
        (said,) = [item.value for item in page.warning if "The model is weak." in item.value]
        assert REASON in said and "train longer" in said
    benign = weak_run(store.root, REASON, replace(weak.spec, attack=Choice("none")))
    beside = [item.value for item in open_page("geometry", run=weak.id).warning]
    assert sum("The benign model is weak." in said for said in beside) == 1
    store.delete(benign.id)
    lab = open_page("lab", model=weak.id)
    options = next(box for box in lab.selectbox if box.key == "lab.model").options
    assert [option.endswith("· weak · made here") for option in options].count(True) == 1
    runs = open_page("runs", source="user")
    assert list(runs.dataframe[0].value["State"]) == ["Finished, weak"] * 2
    assert library.describe(store.get(race.id)).endswith("· weak model")


def test_a_strong_model_has_no_such_word(open_page, store):
    for page in (open_page("lab"), open_page("geometry"), open_page("runs")):
        assert not [item.value for item in page.warning if "weak" in item.value]


def test_the_gate_is_told_before_the_start(open_page, store):
    lab, studio = open_page("lab", view="train"), open_page("studio", row="4")
    gate = "A model below 80% clean accuracy or 60% attack success is kept and called weak."
    assert gate in text(lab) and gate in text(studio)
