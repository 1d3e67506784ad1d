"""My model: the form, an imported model, and nothing of it on the pages of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.kit.signature import Visitor
from dashboard.my_model import bringing
from ngf.places import imports_dir
from ngf.runs.store import PurifyRun, Store
from ngf.sweeps.folder import Sweep, keep
from ngf.sweeps.spec import SweepSpec
from tests.helpers.hostile import ALL
from tests.helpers.imported_runs import (
    import_spec,
    line,
    race_of,
    write_import,
    write_owned,
    write_reactivation,
)
from tests.helpers.pages import button, checked, read, text

ADA, BOB = Visitor("a" * 32), Visitor("b" * 32)
NO_COOKIES = Visitor("a" * 32, known=False)
BROUGHT = import_spec()
NAME = "secret-net.pt"
DATA = "Images of an imported model"  # what stands for its id where runs are called by words


@pytest.fixture
def store(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    return store


@pytest.fixture
def names(store: Store) -> list[str]:
    """Ada's import, a race on it, a measurement of a lane, and a sweep of such races."""
    names = line(store.root, ADA.id, BROUGHT, NAME)
    sweep = SweepSpec({"kind": "purify", "parent": names[0], "lanes": ["sgd"]}, {"seed": (0, 1)})
    points = ({"seed": 0}, names[1]), ({"seed": 1}, "sgd-0123456789")
    keep(store, Sweep(sweep, points, (names[1], "sgd-0123456789")))
    return [*names, sweep.id]


def everything(page: AppTest) -> str:
    """All that the server has sent of a page: texts, options, tables, addresses."""
    return "\n".join(str(getattr(item, "proto", "")) for item in page._tree)


def test_without_an_import_there_is_a_form(open_page, store: Store) -> None:
    page = open_page("my_model", ADA)
    assert button(page, "my_model.go").disabled, "there is no file yet"
    assert not [item for item in page.selectbox if item.key == "my_model.run"]
    assert "only you see" in text(page) and "keeps no cookies" not in text(page)
    assert "keeps no cookies" in text(open_page("my_model", NO_COOKIES))


def test_an_import_is_chosen_by_its_address_and_tells_its_numbers(
    open_page, store: Store, names: list[str]
) -> None:
    other = import_spec(file="1" * 16, content="2" * 16)
    write_import(store.root, ADA.id, other, "another.pt")
    for run, name in ((names[0], NAME), (other.id, "another.pt")):
        page = open_page("my_model", ADA, run=run)
        assert page.selectbox(key="my_model.run").value == run
        numbers = {item.label: item.value for item in page.metric}
        assert numbers["Clean accuracy"].startswith("93.3")
        assert numbers["Images for the defender"] == "45" and numbers["Classes"] == "12"
        assert "of 15 images that no defense sees" in text(page) and name in text(page)
        assert page.query_params["run"] in (run, [run])
    assert len(page.selectbox(key="my_model.run").options) == 3


def test_few_images_choose_in_five_parts_and_the_page_says_so(
    open_page, store: Store, names: list[str]
) -> None:
    page = open_page("my_model", ADA, run=names[0])
    assert "45 clean images are few to choose by" in text(page) and "five parts" in text(page)
    button(page, "my_model.start").click().run()
    (race,) = [
        run
        for run in store.runs()
        if isinstance(run, PurifyRun) and run.source == "user" and run.id != names[1]
    ]
    assert race.spec.choosing == "fivefold" and race.spec.num_clean == 45


def test_a_run_that_is_no_import_of_the_visitor_is_not_chosen(
    open_page, store: Store, names: list[str], zoo_model
) -> None:
    for who, run in ((BOB, names[0]), (BOB, names[1]), (NO_COOKIES, names[0]), (BOB, zoo_model.id)):
        page = open_page("my_model", who, run=run)
        assert not [item for item in page.selectbox if item.key == "my_model.run"]
        assert not page.metric and button(page, "my_model.go").disabled


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("my_model", {}),
        ("runs", {"source": "user"}),
        ("lab", {}),
        ("geometry", {}),
        ("studio", {}),
        ("sweeps", {"view": "follow"}),
    ],
)
def test_others_see_no_trace(
    open_page, store: Store, names: list[str], name: str, params: dict[str, str]
) -> None:
    def traces(who: Visitor) -> list[str]:
        told = everything(open_page(name, who, **params))
        return [trace for trace in (*names, NAME, DATA) if trace in told]

    assert traces(ADA), "the owner does"
    assert not traces(BOB) and not traces(NO_COOKIES)


@pytest.mark.parametrize(
    ("name", "key", "place"),
    [
        ("runs", "run", 0),
        ("runs", "run", 1),
        ("lab", "model", 0),
        ("lab", "run", 1),
        ("geometry", "run", 1),
        ("compare", "runs", 1),
        ("studio", "model", 0),
        ("sweeps", "sweep", 3),
    ],
)
def test_an_address_opens_nothing_of_others(
    open_page, store: Store, names: list[str], name: str, key: str, place: int
) -> None:
    """They read what an address of a run that was made up says."""
    asked = names[place]
    made_up = asked[:-10] + "0123456789"
    found, nothing = (text(open_page(name, BOB, **{key: run})) for run in (asked, made_up))
    own = text(open_page(name, ADA, **{key: asked}))
    assert own.replace(asked, made_up) != nothing, "the owner sees it"
    assert found.replace(asked, made_up) == nothing
    assert NAME not in found


def test_who_brought_it_deletes_it(open_page, store: Store, names: list[str]) -> None:
    page = open_page("my_model", ADA, run=names[0])
    checked(button(page, "my_model.delete").click().run())
    assert "is deleted, and all that came of it" in text(page)
    assert button(page, "my_model.go").disabled, "the form is back"
    assert not [name for name in names[:3] if store.find(name)]
    assert not any(imports_dir().iterdir())
    assert not [one for one in (*names, NAME) if one in everything(open_page("sweeps", ADA))]


def test_what_is_under_way_is_told_in_place_of_a_deletion(
    open_page, store: Store, names: list[str]
) -> None:
    waiting = race_of(names[0], seed=1)
    write_owned(store.root, ADA.id, waiting, done=False)
    page = open_page("my_model", ADA, run=names[0])
    checked(button(page, "my_model.delete").click().run())
    assert f"is needed by {waiting.id}" in text(page)
    assert store.find(names[0]) is not None


def test_after_a_race_it_says_whether_the_door_opens_again(open_page, store: Store) -> None:
    write_import(store.root, ADA.id, BROUGHT, NAME, triggered=40)
    race = race_of(BROUGHT.id)
    write_owned(store.root, ADA.id, race)
    page = open_page("my_model", ADA, run=BROUGHT.id)
    assert not button(page, f"my_model.reactivation.{race.id}").disabled
    for lane in ("ngf", "sgd"):
        write_reactivation(store.root, ADA.id, f"{race.id}:{lane}")
    page = open_page("my_model", ADA, run=BROUGHT.id)
    (table,) = [one.value for one in page.dataframe if "What that says" in one.value]
    assert set(table["What that says"]) == {"The door opens again"}
    assert table["Attack success before"][0] == "2.9 % (1.0 % to 15.0 %)"
    assert "counted on 35 others" in text(page)


@pytest.mark.parametrize(("count", "said"), [(0, "No picture with the trigger"), (1, "Only one")])
def test_without_pictures_it_says_what_would_be_needed(
    open_page, store: Store, count: int, said: str
) -> None:
    write_import(store.root, ADA.id, BROUGHT, NAME, triggered=count)
    race = race_of(BROUGHT.id)
    write_owned(store.root, ADA.id, race)
    page = open_page("my_model", ADA, run=BROUGHT.id)
    assert said in text(page) and "`target`" in text(page)
    assert not [one for one in page.button if "reactivation" in str(one.key)]


@pytest.mark.parametrize("name", [ALL, "a\n# heading\n\n- item.pt", "x" * 300 + ".pt"])
def test_a_file_name_is_shown_as_it_is(open_page, store: Store, name: str) -> None:
    write_import(store.root, ADA.id, BROUGHT, name)
    page = open_page("my_model", ADA, run=BROUGHT.id)
    assert " ".join(name.split()) in text(page)
    (option,) = [one for one in page.selectbox(key="my_model.run").options if " · CA " in one]
    assert option.startswith(name)


@pytest.mark.parametrize("choice", [ALL, "--owner=eve", "-1"])
def test_a_choice_of_the_file_is_shown_as_it_is_and_no_option(
    open_page, store: Store, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    asked = {
        "status": "asked",
        "questions": [{"option": "pick", "text": choice, "choices": [choice, "other"]}],
    }
    words: list[str] = []

    def answer(weights, images, said, owner, say, poisoned) -> dict:
        words[:] = said
        say(choice)
        return asked

    monkeypatch.setattr(bringing, "import_model", answer)
    page = open_page("my_model", ADA)
    page.file_uploader(key="my_model.file").upload("m.pt", b"1").run()
    checked(page.file_uploader(key="my_model.images").upload("i.zip", b"2").run())
    checked(button(page, "my_model.go").click().run())
    (asks,) = [item for item in page.radio if item.key == "my_model.answer.pick"]
    assert read(asks.options[0]) == choice and (choice != ALL or asks.options[0] != choice)
    checked(button(page, "my_model.accept").click().run())
    assert words[-2:] == [f"--pick={choice}", "--accept"]
