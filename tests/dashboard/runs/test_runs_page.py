"""The list of runs: filters, one run, and its deletion."""

from __future__ import annotations

from dashboard.kit import library
from ngf.config import Choice, MeasureSpec
from tests.helpers.pages import button, checked, text


def test_runs_lists_filters_and_deletes(open_page, store):
    lab = open_page("lab", race_seed="79")
    checked(lab.toggle(key="lab.curvature").set_value(False).run())
    checked(button(lab, "lab.start").click().run())
    run = next(run for run in store.runs() if run.source == "user" and run.spec.kind == "purify")
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


def test_what_was_measured_in_passing_is_listed_when_it_is_asked_for(open_page, store, zoo_model):
    for name in ("loss_slice", "trigger_probe", "fisher_trace"):
        store.submit(MeasureSpec(target=zoo_model.id, measurement=Choice(name)))
    page = open_page("runs", source="user")
    assert len(page.dataframe[0].value) == 1
    assert "2 short measurements and measurements along races are left out" in text(page)
    page = open_page("runs", source="user", kind="measure")
    assert len(page.dataframe[0].value) == 3
    assert "are left out" not in text(page)
