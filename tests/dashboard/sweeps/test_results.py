"""From the rows of a sweep to what a chart draws."""

from __future__ import annotations

from dashboard.charts.style import METHODS
from dashboard.sweeps.results import (
    LANE,
    axes_of,
    held_of,
    number_of,
    points_of,
    quantities_of,
    usual_look,
)
from ngf.sweeps.presets import PRESETS
from ngf.sweeps.spec import SweepSpec

NOTHING = dict.fromkeys(("ca", "asr", "ra", "der", "ca_lost", "seconds", "diverged"))


def row(values, run="r", lane="ngf", **found):
    return {"values": values, "run": run, "lane": lane, "readings": {}, **NOTHING, **found}


def rows_of(spec, **found):
    return [row(values, f"r{i}", **found) for i, values in enumerate(spec.combinations())]


def test_numbers_across_defenses_in_their_colors_attacks_as_panels():
    spec = PRESETS["clean-images"].make()
    axes = axes_of(spec, [])
    look = usual_look(axes)
    assert (look.x, look.color, look.panel) == ("num_clean", "lanes.0", "parent.attack")
    assert look.over == ("seed",) and held_of(axes, look) == []
    assert axes["lanes.0"].mark(0) == METHODS["ngf"] and axes["lanes.0"].words == ("NGF", "SGD")


def test_only_seeds_or_a_single_value_can_be_drawn_as_well():
    base = {"kind": "train"}
    seeds = usual_look(axes_of(SweepSpec(base, {"seed": (0, 1)}), []))
    assert (seeds.x, seeds.over) == ("seed", ())
    assert usual_look(axes_of(SweepSpec(base, {"seed": (0,)}), [])).x == "seed"
    one = usual_look(axes_of(SweepSpec(base, {"seed": (0, 1), "attack": ("badnets",)}), []))
    assert (one.x, one.over) == ("attack", ("seed",)), "the mean over seeds of all that there is"


def test_lanes_are_an_axis_where_a_run_has_several():
    spec = SweepSpec({"kind": "purify", "lanes": ["ngf", "sgd"]}, {"seed": (0, 1)})
    rows = [row({"seed": s}, f"r{s}", lane, asr=0.1) for s in (0, 1) for lane in ("ngf", "sgd")]
    axes = axes_of(spec, rows)
    assert axes[LANE].values == ("ngf", "sgd") and usual_look(axes).x == LANE
    found = points_of(rows, axes, "asr", {LANE: 1})
    assert [(point.at, point.run) for point in found] == [
        ({"seed": s, LANE: 1}, f"r{s}:sgd") for s in (0, 1)
    ]
    assert LANE not in axes_of(spec, rows[:1])


def test_an_axis_that_is_not_shown_is_held_at_one_value():
    spec = PRESETS["clean-images"].make()
    rows = rows_of(spec, asr=0.5)
    axes = axes_of(spec, rows)
    found = points_of(rows, axes, "asr", {"parent.attack": 1, "lanes.0": 0})
    assert len(found) == 5 * 3 and {p.at["parent.attack"] for p in found} == {1}
    assert points_of([*rows, row({"seed": "elsewhere"}, asr=1.0)], axes, "asr", {}) == points_of(
        rows, axes, "asr", {}
    ), "a row of another sweep is no point"


def test_what_a_measurement_has_found_can_be_drawn():
    spec = PRESETS["curvature"].make()
    readings = {"fisher_trace": 12.0, "num_draws": 20.0, "n": 512.0, "seed": 0.0, "seconds": 3.0}
    rows = rows_of(spec, readings=readings, seconds=3.0)
    found = quantities_of(spec, rows)
    assert list(found) == ["fisher_trace", "num_draws", "seconds"]
    assert found["fisher_trace"].title == "Fisher trace, Tr(F)"
    assert number_of(rows[0], "fisher_trace") == 12.0 and number_of(rows[0], "asr") is None
    assert list(quantities_of(spec, [])) == ["seconds"], "nothing was found yet"
    assert quantities_of(SweepSpec({"kind": "train"}, {"seed": (0,)}), []).keys() == {
        "asr",
        "ca",
        "ra",
        "seconds",
    }


def test_equal_titles_and_words_are_told_apart():
    base = {"kind": "purify", "lanes": ["ngf", "sgd"], "parent": {"kind": "train"}}
    spec = SweepSpec(base, {"lanes.0.lr": (0.1, 0.1000001), "parent.training.lr": (0.1,)})
    axes = axes_of(spec, [])
    assert [axis.title for axis in axes.values()] == ["Learning rate (1)", "Learning rate (2)"]
    assert axes["lanes.0.lr"].words == ("0.1 (1)", "0.1 (2)")
