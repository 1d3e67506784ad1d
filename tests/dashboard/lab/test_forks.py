"""Races that branch off another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from ngf.runs.folder import waypoints
from ngf.runs.store import PurifyRun
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import RACE, race_events, write_run


@pytest.fixture
def source(store, zoo_model) -> PurifyRun:
    """A finished race that has kept the weights of three steps of one lane."""
    spec = replace(RACE, parent=zoo_model.id, seed=77)
    write_run(store.root, spec, race_events(), done=True)
    run = store.get(spec.id)
    folder = run.path / waypoints("ngf")
    folder.mkdir(parents=True)
    for step in (10, 40, 100):
        save_file({"x": np.zeros(1, np.float32)}, folder / f"{step:06d}.safetensors")
    return run


def test_a_link_to_a_fork_asks_for_it_and_back_to_the_model(open_page, store, source):
    page = open_page("lab", model=source.spec.parent, fork=f"{source.id}:ngf@40")
    assert f"starts from NGF after step 40 of {source.id}" in text(page)
    assert page.query_params["fork"] == f"{source.id}:ngf@40"
    checked(button(page, "lab.start").click().run())
    made = [run for run in store.runs() if isinstance(run, PurifyRun) and run.spec.start]
    assert [run.spec.start for run in made] == [f"{source.id}:ngf@40"]
    assert "fork of NGF at step 40" in text(page)
    again = open_page("lab", run=made[0].id)
    assert again.query_params["fork"] == f"{source.id}:ngf@40", "its choices are brought back"
    checked(button(again, "lab.fork.none").click().run())
    assert "fork" not in again.query_params
    assert "The next race starts from" not in text(again)


def test_a_fork_of_nothing_is_left_out_and_said(open_page, store, source):
    page = open_page("lab", model=source.spec.parent, fork="none-such:ngf@40")
    assert "names no step of a purification of this store" in text(page)
    assert "fork" not in page.query_params


def test_a_step_that_was_not_kept_is_refused_with_the_nearest(open_page, store, source):
    page = open_page("lab", model=source.spec.parent, fork=f"{source.id}:ngf@42")
    checked(button(page, "lab.start").click().run())
    assert "The nearest step that can be forked is 40" in text(page)


def test_a_fork_of_another_models_race_stays_out(open_page, store, source):
    page = open_page("lab", attack="blend", fork=f"{source.id}:ngf@40")
    assert "The next race starts from" not in text(page)
