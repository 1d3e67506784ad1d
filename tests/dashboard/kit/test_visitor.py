"""Who may pause, resume, stop and delete a run: on every page, and at the action itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboard.kit import measuring, visitor
from dashboard.kit.signature import Visitor
from dashboard.kit.visitor import NotYours
from ngf.config import PurifySpec
from ngf.runs.files import write_atomic
from ngf.runs.folder import REQUEST
from ngf.runs.store import Run, Store
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import RACE

ADA, BOB = Visitor("a" * 32), Visitor("b" * 32)
MACHINE = Visitor("c" * 32, machine=True)
NO_COOKIES = Visitor("a" * 32, known=False)
# who looks, whose run it is, and what the page says instead of a button
CASES = [
    (ADA, ADA.id, ""),
    (MACHINE, ADA.id, ""),
    (MACHINE, "", ""),
    (BOB, ADA.id, "Started by another visitor: only they, or the terminal of this machine, can"),
    (ADA, "", "Started from the terminal of this machine: only the terminal"),
    (NO_COOKIES, ADA.id, "This browser keeps no cookies"),
]


def owned(store: Store, owner: str) -> Run:
    """A race on a model of the zoo that waits, and is this visitor's."""
    parent = next(run.id for run in store.trainings() if run.spec.attack.name == "badnets")
    return store.submit(PurifySpec(parent=parent, lanes=RACE.lanes, seed=77), owner)


def give(folder: Path, owner: str) -> None:
    about = json.loads((folder / REQUEST).read_text())
    write_atomic(folder / REQUEST, json.dumps(about | {"owner": owner}))  # as the program does


@pytest.mark.parametrize(("who", "owner", "said"), CASES)
def test_the_lab_and_the_runs_page_have_buttons_or_say_why_not(
    open_page, store, who: Visitor, owner: str, said: str
) -> None:
    run = owned(store, owner)
    lab, runs = open_page("lab", who, run=run.id), open_page("runs", who, run=run.id)
    for page, keys, word in ((lab, ("pause", "cancel"), "stop"), (runs, ("runs",), "delete")):
        found = [item.key for item in page.button if item.key.split(".")[0] in keys]
        assert bool(found) is not bool(said)
        assert (said in text(page)) and (not said or word in text(page))
        assert "by you" not in text(page)


@pytest.mark.parametrize("action", ["pause", "cancel", "delete"])
def test_a_command_is_refused_at_the_action_too(open_page, store, action: str) -> None:
    run = owned(store, ADA.id)
    page = open_page("runs" if action == "delete" else "lab", ADA, run=run.id)
    pressed = button(page, "runs.delete" if action == "delete" else f"{action}.{run.id}")
    give(run.path, BOB.id)  # the page still has its button
    checked(pressed.click().run())
    assert run.path.exists() and run.status == "queued"
    assert "Started by another visitor: only they" in text(page)


def test_a_stopped_run_is_stopped_for_all_and_can_be_asked_for_by_all(open_page, store) -> None:
    run = owned(store, ADA.id)
    run.control("cancel")
    page = open_page("lab", BOB, run=run.id)
    assert "Stopped" in text(page) and "by you" not in text(page)
    checked(button(page, "lab.start").click().run())
    assert run.status == "queued" and run.request["owner"] == BOB.id  # who asks for it has it


def test_geometry_stops_what_is_the_visitors_and_nothing_else(open_page, store, zoo_model) -> None:
    def ask(who: Visitor, name: str) -> Run:
        page = open_page("geometry", who, run=zoo_model.id)
        checked(button(page, f"geometry.measure{name}").click().run())
        return page

    adas = ask(ADA, "")
    started = [run for run in store.runs() if run.source == "user"]
    assert started and {run.request["owner"] for run in started} == {ADA.id}
    bobs = open_page("geometry", BOB, run=zoo_model.id)
    assert not [item for item in bobs.button if item.key == "geometry.stop"]
    assert "Started by another visitor" in text(bobs)
    give(started[0].path, BOB.id)
    checked(button(adas, "geometry.stop").click().run())
    assert [run.status for run in started] == ["queued", *["cancelled"] * (len(started) - 1)]


def test_outside_of_a_page_nobody_commands_anything(store) -> None:
    run = owned(store, "")
    with pytest.raises(NotYours):
        visitor.command(run, "cancel")
    with pytest.raises(NotYours):
        visitor.delete(run)
    measuring.stop([run.id])
    assert run.status == "queued"
