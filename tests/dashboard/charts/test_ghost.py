"""Another race, faint behind the curves of one."""

from __future__ import annotations

from dataclasses import replace

from dashboard.charts.ghost import MARK, Ghost, differs, with_ghost
from dashboard.charts.race import race_chart, told_along
from ngf.config import Choice
from tests.helpers.run_folders import RACE, race_events

OTHER = replace(RACE, seed=3, lanes=(Choice("ngf"), Choice("adam", {"lr": 0.01})))


def drawn(steps: int = 100, other=OTHER):
    events = race_events(steps)
    seen = [{**event, "lane": event["lane"].replace("sgd", "adam")} for event in race_events(60)]
    chart = replace(race_chart(RACE, events), findings=told_along(RACE, events))
    return chart, with_ghost(chart, RACE, events, Ghost(other, seen))


def test_it_says_what_it_has_instead():
    assert differs(RACE, replace(RACE, seed=3)) == "seed 3"
    assert differs(RACE, replace(RACE, num_clean=300, seed=1)) == "seed 1 and 300 clean images"
    assert differs(RACE, OTHER) == "seed 3 and NGF vs Adam (lr = 0.01)"
    assert differs(RACE, RACE) == "the same settings"


def test_its_curves_are_faint_and_behind_and_leave_those_of_the_race_as_they_are():
    alone, chart = drawn()
    traces, before = chart.figure["data"], alone.figure["data"]
    assert traces[: len(before)] == before and chart.figure["layout"] == alone.figure["layout"]
    behind = traces[len(before) :]
    assert len(behind) == 4, "CA and ASR of two lanes"
    assert all(trace["meta"] == MARK and trace["opacity"] < 0.5 for trace in behind)
    colors = {trace["line"]["color"] for trace in behind}
    assert before[0]["line"]["color"] in colors and len(colors) == 2
    assert max(trace["zorder"] for trace in behind) < min(trace["zorder"] for trace in before)


def test_the_table_and_the_sentence_tell_the_difference():
    alone, chart = drawn()
    more = chart.rows[len(alone.rows) :]
    assert more[0]["Lane"] == "NGF, faint: seed 3 and NGF vs Adam (lr = 0.01)"
    assert (
        "NGF at step 100: CA 98.6 % (faint: 98.8 %) and ASR 0.4 % (faint: 1.9 %)" in chart.finding
    )
    assert "SGD at" not in chart.finding, "that lane has nothing to be compared with"
    assert "NGF at step 20: CA 99.1 % (faint: 99.1 %)" in chart.findings[20], "follows the slider"


def test_races_without_a_common_lane_say_so():
    other = replace(RACE, lanes=(Choice("fine_pruning"),))
    chart = with_ghost(race_chart(RACE, race_events()), RACE, race_events(), Ghost(other, []))
    assert "no lane in common" in chart.finding


def test_behind_a_fork_the_race_it_branches_off_goes_on_from_there():
    fork = replace(RACE, start=f"{RACE.id}:ngf@40")
    events = race_events(60)
    chart = with_ghost(race_chart(fork, events), fork, events, Ghost(RACE, race_events(100)))
    alone = race_chart(fork, events)
    behind = chart.figure["data"][len(alone.figure["data"]) :]
    assert len(behind) == 2, "CA and ASR of the lane that was forked"
    assert all((min(trace["x"]), max(trace["x"])) == (-40, 60) for trace in behind)
    layout = chart.figure["layout"]
    assert layout["xaxis"]["range"][0] == -40
    assert [shape["x0"] for shape in layout["shapes"]] == [0]
    assert "no fork at step 40" in chart.finding
    elsewhere = with_ghost(alone, fork, events, Ghost(OTHER, race_events(100)))
    assert elsewhere.figure["layout"] == alone.figure["layout"], "a race of its own begins at 0"
