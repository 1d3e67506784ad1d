"""The page of sweeps: what a click asks for, what is said before, and whose runs a button moves."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from dashboard.kit.signature import Visitor
from dashboard.sweeps.draft import Draft
from dashboard.sweeps.seeing import sheet
from ngf.runs.folder import ERROR, RESULT
from ngf.sweeps.control import submit_all
from ngf.sweeps.folder import keep, load, made, names, path_of
from ngf.sweeps.presets import PRESETS
from ngf.sweeps.spec import SweepSpec
from tests.helpers.pages import button, checked, text

ADA, BOB = Visitor("a" * 32), Visitor("b" * 32)
SMALL = Draft(attacks=("badnets",), seeds="0, 1", more={"lanes.0.steps": "2"}).sweep()
RATES = {"ca": 0.98, "asr": 0.02, "ra": 0.97}


def link(spec: SweepSpec, **changes) -> str:
    return json.dumps({**spec.to_json(), **changes})


def started(store, spec: SweepSpec = SMALL, owner: str = ""):
    expansion = spec.expand(store)
    sweep = made(spec, expansion)
    keep(store, sweep)
    submit_all(expansion.specs(), store, sweep.id, owner=owner)
    return sweep


def finish(store, run_id: str, **rates) -> None:
    lanes = {lane: {"after": {**RATES, **rates}} for lane in store.get(run_id).spec.lane_names()}
    result = {"before": {**RATES, "ca": 0.99}, "lanes": lanes}
    (store.root / run_id / RESULT).write_text(json.dumps(result), encoding="utf-8")
    store.wake()  # visitors share what they see for a second


def states(store) -> Counter[str]:
    return Counter(run.status for run in store.runs() if run.source == "user")


# ---- before the start


def test_it_is_told_before_it_starts_and_started_with_one_click(open_page, store):
    page = open_page("sweeps", visitor=ADA, build=link(SMALL))
    said = text(page)
    assert "4 combinations" in said and "5 runs: 1 training, 4 purifications. 1 of them is" in said
    assert "4 to compute" in said and "one after another" in said
    assert "Visitors take turns" in said and "None waits there now" in said
    assert states(store) == {}, "a link starts nothing"
    checked(button(page, "sweeps.start").click().run())
    assert states(store) == {"queued": 4}
    (name,) = names(store)
    assert {(run.request["owner"], run.request["sweep"]) for run in store.queue()} == {
        (ADA.id, name)
    }
    assert page.query_params["view"] == "follow" and page.query_params["sweep"] == name
    assert "1 of 5 runs done, 4 waiting" in [bar.proto.text for bar in page.get("progress")]
    again = open_page("sweeps", visitor=ADA, build=link(SMALL))
    assert "4 wait there now" in text(again)
    checked(button(again, "sweeps.show").click().run())
    assert again.query_params["sweep"] == name and states(store) == {"queued": 4}


def test_very_many_are_asked_for_twice(open_page, store, monkeypatch):
    monkeypatch.setattr("dashboard.sweeps.starting.MANY", 3)
    page = open_page("sweeps", build=link(SMALL))
    checked(button(page, "sweeps.start").click().run())
    assert "There are 4 runs to compute. About" in text(page) and states(store) == {}
    checked(button(page, "sweeps.sure_no").click().run())
    assert "There are 4" not in text(page)
    checked(button(page, "sweeps.start").click().run())
    checked(button(page, "sweeps.sure_yes").click().run())
    assert states(store) == {"queued": 4}


def test_what_does_not_go_together_is_said_and_the_rest_can_start(open_page, store):
    axes = {**SMALL.axes, "lanes.0.trust_region": (0.01, 0.1)}
    page = open_page("sweeps", build=link(SweepSpec(SMALL.base, axes)))
    said = text(page)
    assert "sgd has no option trust_region" in said
    assert "Defense SGD" in said and "and 3 more" in said
    assert [item.label for item in page.expander][0] == "4 combinations are left out"
    assert button(page, "sweeps.start").label == "Start 4 runs"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"axes": {"seed": []}}, "The axis seed has no values"),
        ({"axes": {"no.such": [1]}}, "No combination of this sweep can be run"),
        ({"axes": {"seed": [0], "colour": [1]}}, "Unknown field colour"),
        (
            {"axes": {"seed": {"from": 1, "to": 1000}, "num_clean": {"from": 11, "to": 1000}}},
            "limit",
        ),
        (
            {"base": {"kind": "purify", "parent": "no", "lanes": ["ngf"]}, "axes": {"seed": [0]}},
            "There is no run 'no'",
        ),
    ],
)
def test_a_sweep_that_cannot_be_run_says_why(open_page, store, changes, said):
    page = open_page("sweeps")
    page.segmented_control(key="sweeps.mode").set_value("json")
    checked(page.run())
    page.text_area(key="sweeps.json").set_value(link(SMALL, **changes))
    checked(page.run())
    assert said in text(page)
    assert not [item for item in page.button if item.key == "sweeps.start"]


def test_json_and_form_say_the_same(open_page, store):
    page = open_page("sweeps", build=link(SMALL))
    assert page.multiselect(key="sweeps.attacks").value == ["badnets"]
    assert page.text_input(key="sweeps.values.lanes.0.steps").value == "2"
    page.segmented_control(key="sweeps.mode").set_value("json")
    checked(page.run())
    assert SweepSpec.from_json(json.loads(page.text_area(key="sweeps.json").value)) == SMALL
    told = link(SMALL, axes={**SMALL.to_json()["axes"], "num_clean": [100, 200]})
    page.text_area(key="sweeps.json").set_value(told)
    page.segmented_control(key="sweeps.mode").set_value("form")
    checked(page.run())
    assert page.text_input(key="sweeps.values.num_clean").value == "100, 200"
    assert "8 combinations" in text(page)
    page.segmented_control(key="sweeps.mode").set_value("json")
    checked(page.run())
    base = {**SMALL.base, "num_clean": 100}
    page.text_area(key="sweeps.json").set_value(link(SMALL, base=base))
    page.segmented_control(key="sweeps.mode").set_value("form")
    checked(page.run())
    assert "says more than the form can" in text(page)
    assert page.segmented_control(key="sweeps.mode").value == "json"


def test_a_field_follows_when_the_steps_change(open_page, store):
    page = open_page("sweeps", build=link(SMALL))
    page.segmented_control(key="sweeps.steps").set_value("both")
    checked(page.run())
    assert page.multiselect(key="sweeps.more").value == ["target.lanes.0.steps"]
    assert page.text_input(key="sweeps.values.target.lanes.0.steps").value == "2"
    assert "9 runs: 1 training, 4 purifications, 4 measurements" in text(page)


def test_a_preset_fills_in_the_form_and_the_choices_outlive_the_other_view(open_page, store):
    page = open_page("sweeps")
    page.selectbox(key="sweeps.preset").set_value("radii")
    checked(page.run())
    assert "45 combinations" in text(page)
    page.segmented_control(key="sweeps.view").set_value("follow")
    checked(page.run())
    assert "There is no sweep in this store yet" in text(page)
    page.segmented_control(key="sweeps.view").set_value("build")
    checked(page.run())
    assert "45 combinations" in text(page)
    assert json.loads(page.query_params["build"]) == PRESETS["radii"].make().to_json()


# ---- while it runs


def test_the_picture_grows(open_page, store):
    sweep = started(store)
    page = open_page("sweeps", view="follow", sweep=sweep.id)
    assert "Nothing of this picture is measured yet" in text(page)
    finish(store, sweep.points[0][1])
    checked(page.run())
    assert "1 result, each on the whole test set" in text(page)
    for place, (_, run) in enumerate(sweep.points[1:]):
        finish(store, run, asr=0.1 * place)
    checked(page.run())
    assert "4 results" in text(page) and "Bars: 95 % t interval" in text(page)
    assert page.query_params["x"] == "lanes.0" and page.query_params["over"] == "seed"


def test_a_link_opens_the_same_picture(open_page, store):
    sweep = started(store, Draft(seeds="0..2").sweep())
    for _, run in sweep.points:
        finish(store, run)
    about = {"x": "seed", "y": "ca_lost", "color": "none", "panel": "lanes.0", "over": "none"}
    page = open_page("sweeps", view="follow", sweep=sweep.id, at="parent.attack=1", **about)
    assert {name: page.query_params[name] for name in about} == about
    assert page.query_params["at"] == "parent.attack=1"
    assert "6 results" in text(page) and "Only Attack Blend." in text(page)
    page.selectbox(key="sweeps.at.parent.attack").set_value(0)
    checked(page.run())
    assert page.query_params["at"] == "parent.attack=0"
    page.selectbox(key="sweeps.color").set_value("parent.attack")
    checked(page.run())
    assert "at" not in page.query_params and "12 results" in text(page)


def test_each_moves_their_own_runs_alone(open_page, store):
    sweep = started(store, owner=ADA.id)
    other = open_page("sweeps", visitor=BOB, view="follow", sweep=sweep.id)
    assert "4 of its runs were asked for by somebody else" in text(other)
    assert not {"sweeps.pause", "sweeps.stop"} & {item.key for item in other.button}
    page = open_page("sweeps", visitor=ADA, view="follow", sweep=sweep.id)
    checked(button(page, "sweeps.pause").click().run())
    assert states(store) == {"paused": 4}
    checked(other.run())
    assert "sweeps.play_arrow" not in {item.key for item in other.button}, "nor let them go on"
    checked(button(page, "sweeps.play_arrow").click().run())
    assert states(store) == {"queued": 4}
    checked(button(page, "sweeps.stop").click().run())
    assert states(store) == {"cancelled": 4}
    checked(button(page, "sweeps.play_arrow").click().run())
    assert states(store) == {"queued": 4}


def test_a_failure_is_told_with_its_reason_and_tried_again(open_page, store):
    sweep = started(store, owner=ADA.id)
    for _, run in sweep.points[:2]:
        about = {"kind": "x", "message": "No *memory*.", "advice": "Use less."}
        (store.root / run / ERROR).write_text(json.dumps(about), encoding="utf-8")
    page = open_page("sweeps", visitor=ADA, view="follow", sweep=sweep.id)
    assert "2 × No *memory*." in text(page).replace("**", "")
    assert "Purification seed 0" in str([item.proto.label for item in page.get("page_link")])
    checked(button(page, "sweeps.retry.0").click().run())
    assert states(store) == {"queued": 4}


def test_runs_that_are_not_there_are_asked_for(open_page, store):
    """The page was closed while it asked for them, or one was deleted."""
    sweep = started(store)
    gone = sweep.points[0][1]
    store.delete(gone)
    page = open_page("sweeps", view="follow", sweep=sweep.id)
    assert "1 not asked for" in str([bar.proto.text for bar in page.get("progress")])
    checked(button(page, "sweeps.play_arrow").click().run())
    assert states(store) == {"queued": 4} and store.get(gone).request["sweep"] == sweep.id


def test_a_sweep_shares_runs_with_another_and_changes_into_another(open_page, store):
    first = started(store, owner=ADA.id)
    wider = SweepSpec(SMALL.base, {**SMALL.axes, "seed": (0, 1, 2)})
    page = open_page("sweeps", visitor=ADA, view="follow", sweep=first.id)
    checked(button(page, "sweeps.edit").click().run())
    assert page.text_input(key="sweeps.seeds").value == "0, 1"
    page.text_input(key="sweeps.seeds").set_value("0..2")
    checked(page.run())
    assert button(page, "sweeps.start").label == "Start 2 runs", "four are asked for already"
    checked(button(page, "sweeps.start").click().run())
    assert names(store)[0] == wider.id and len(names(store)) == 2
    assert "4 of its runs were asked for elsewhere as well" in text(page)
    assert load(store, first.id).spec == SMALL


def test_all_rows_are_a_file(open_page, store):
    sweep = started(store)
    finish(store, sweep.points[0][1])
    rows = sweep.seen(store).rows()
    frame = sheet(rows)
    assert len(frame) == 4 and frame.loc[0, "parent.attack"] == "badnets"
    assert frame.loc[0, "asr"] == 0.02 and frame.loc[1, "status"] == "queued"


def test_a_damaged_sweep_is_told_and_the_others_stay(open_page, store):
    sweep = started(store)
    path_of(store, "sweep-0000000000").write_text('{"spec": {"kind": "sweep"}}', encoding="utf-8")
    page = open_page("sweeps", view="follow", sweep="sweep-0000000000")
    assert page.error and not page.exception
    page.selectbox(key="sweeps.sweep").set_value(sweep.id)
    checked(page.run())
    assert not page.error and "queued" not in text(page)


def test_texts_of_a_sweep_cannot_do_anything(open_page, store):
    hostile = "](http://x) <script>alert(1)</script> $x$"
    sweep = started(store)
    document = json.loads(path_of(store, sweep.id).read_text(encoding="utf-8"))
    document["spec"]["axes"]["lanes.0.layer"] = [hostile, "all"]
    document["points"][0]["values"]["lanes.0.layer"] = hostile
    document["refused"] = [{"values": {"lanes.0": hostile}, "why": hostile}]
    path_of(store, sweep.id).write_text(json.dumps(document), encoding="utf-8")
    page = open_page("sweeps", view="follow", sweep=sweep.id)
    said = "\n".join(str(item.value) for item in (*page.markdown, *page.caption, *page.info))
    assert "<script>" not in said and "](http" not in said


def test_the_page_of_runs_leaves_sweeps_out_until_they_are_chosen(open_page, store):
    sweep = started(store)
    page = open_page("runs", source="user")
    assert "4 runs of sweeps are left out" in text(page) and not page.dataframe
    page = open_page("runs", sweep=sweep.id)
    assert len(page.dataframe[0].value) == 4
    page = open_page("runs", source="user", run=sweep.points[0][1])
    assert "NGF" in [item.value for item in page.header][0]
