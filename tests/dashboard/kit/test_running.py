"""The bar with what the visitor has running, on every page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboard.kit import running
from dashboard.kit.signature import Visitor
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import RACE, append, race_events

ADA, BOB = Visitor("a" * 32), Visitor("b" * 32)
MACHINE = Visitor("c" * 32, machine=True)
FRAME = """
import streamlit as st
from dashboard.kit import running
from dashboard.kit.pages import pages, script
st.navigation(
    [st.Page(lambda: None, title="Home", url_path="home", default=True)]
    + [st.Page(script(name), title=name, url_path=name) for name in pages()]
)
running.new_page()
if "shown" in st.query_params:
    from dashboard.kit import library
    running.on_page(library.find(st.query_params["shown"]))
if "sweep" in st.query_params:
    running.on_page_of(st.query_params["sweep"])
running.show_bar()
"""


@pytest.fixture
def frame(tmp_path):
    """The frame around a page without anything of its own."""
    from streamlit.testing.v1 import AppTest

    def opened(visitor: Visitor, **params):
        entry = tmp_path / "frame.py"
        entry.write_text(FRAME, encoding="utf-8")
        page = AppTest.from_file(entry, default_timeout=120)
        page.session_state["visitor"] = visitor
        page.query_params.update(params)
        return checked(page.run())

    return opened


@pytest.fixture
def race(store, zoo_model):
    def asked(owner: str, seed: int = 77):
        return store.submit(replace(RACE, parent=zoo_model.id, seed=seed), owner)

    return asked


def test_a_run_is_in_the_bar_of_its_owner_alone(frame, race):
    run = race(ADA.id)
    append(run.path, race_events(40))
    said = text(frame(ADA))
    assert (
        "Waiting: BadNets (patch) · NGF vs SGD, NGF step 40 of 100, SGD step 40 of 100"
        in said.replace("**", "")
    )
    assert not frame(BOB).markdown and not frame(MACHINE).markdown
    mine = race("", seed=78)  # from the terminal
    assert [item.key for item in frame(MACHINE).button] == [
        f"bar.pause.{mine.id}",
        f"bar.cancel.{mine.id}",
    ]


def test_the_page_that_shows_it_needs_no_bar(frame, race):
    run, other = race(ADA.id), race(ADA.id, seed=78)
    page = frame(ADA, shown=run.id)
    assert [item.key for item in page.button] == [f"bar.pause.{other.id}", f"bar.cancel.{other.id}"]
    assert "more" not in text(page)


def test_pause_and_stop_from_the_bar_and_how_it_ended_stays_until_it_was_seen(frame, race):
    run = race(ADA.id)
    page = frame(ADA)
    checked(button(page, f"bar.pause.{run.id}").click().run())
    assert run.status == "paused" and "Paused" in text(page), "paused in this visit"
    assert not frame(ADA).button, "a later visit is not told of what rests"
    checked(button(page, f"bar.resume.{run.id}").click().run())
    assert run.status == "queued"
    checked(button(page, f"bar.cancel.{run.id}").click().run())
    assert run.status == "cancelled" and "Stopped" in text(page)
    checked(button(page, f"bar.dismiss.{run.id}").click().run())
    assert not page.markdown


def test_what_runs_comes_before_what_has_ended(frame, race, store):
    first, second = race(ADA.id), race(ADA.id, seed=78)
    page = frame(ADA)
    second.control("cancel")
    checked(page.run())
    assert [item.key for item in page.button][0] == f"bar.pause.{first.id}"
    assert running.COMMANDS["pause"][0] == "Pause"


def test_a_sweep_is_one_line_however_many_runs_it_has(frame, store, zoo_model):
    specs = [replace(RACE, parent=zoo_model.id, seed=seed) for seed in range(70, 75)]
    for spec in specs:
        store.submit(spec, ADA.id, "sweep-0123456789")
    page = frame(ADA)
    assert "**Sweep**: 5 runs to go" in text(page) and not page.button
    (link,) = page.get("page_link")
    assert "sweep=sweep-0123456789" in link.proto.query_string
    assert not frame(BOB).markdown
    store.get(specs[0].id).control("cancel")
    store.submit(replace(specs[0], seed=99), ADA.id)
    page = frame(ADA)
    assert "**Sweep**: 4 runs to go" in text(page)
    assert "**Waiting**: BadNets" in text(page) and "more" not in text(page)
    for spec in specs:
        store.get(spec.id).control("pause")
    assert "Sweep" not in text(frame(ADA)), "nothing of it moves"


def test_the_page_that_shows_a_sweep_needs_no_line_of_it(frame, store, zoo_model):
    store.submit(replace(RACE, parent=zoo_model.id, seed=70), ADA.id, "sweep-0123456789")
    assert not frame(ADA, sweep="sweep-0123456789").markdown
