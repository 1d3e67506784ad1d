"""Imported models over the routes: for others than their owner they are runs that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.kit import signature
from dashboard.kit.signature import Visitor
from ngf.export.products import PRODUCTS
from tests.helpers.imported_runs import (
    import_spec,
    line,
    measurement_of,
    race_of,
    write_measurement,
    write_owned,
)
from tests.helpers.run_folders import RACE, TRAIN, get, race_events, server, write_run

ADA, BOB = Visitor("a" * 32), Visitor("b" * 32)
MACHINE = Visitor("c" * 32, machine=True)
OWNERS, OTHERS = (ADA, MACHINE), (BOB, None)
BROUGHT = import_spec()
BESIDE = measurement_of(TRAIN.id)
ROUTES = (
    "",
    "/events",
    "/events?since=0&limit=5",
    "/charts/race",
    "/charts/training",
    "/charts/slices",
    "/charts/slices?beside={name}",
    "/charts/none",
    *(f"/take/{name}" for name in PRODUCTS),
    "/take/original?lane=ngf",
    "/take/none",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("privacy") / "runs"


@pytest.fixture(scope="module")
def names(runs: Path) -> Iterator[list[str]]:
    """An import of Ada's, a race on it, a measurement of a lane; and one race that waits."""
    patch = pytest.MonkeyPatch()
    patch.setenv("NGF_DATA", str(runs.parent / "data"))
    write_run(runs, TRAIN, [], done=True)
    write_run(runs, RACE, race_events(), done=True)
    write_measurement(runs, "", TRAIN.id)
    waiting = race_of(BROUGHT.id, seed=1)
    write_owned(runs, ADA.id, waiting, done=False)
    yield [*line(runs, ADA.id, BROUGHT), waiting.id]
    patch.undo()


@pytest.fixture(scope="module")
def url(runs: Path, names: list[str]) -> Iterator[str]:
    with server(runs) as found:
        yield f"{found}/api/runs"


def ask(url: str, runs: Path, visitor: Visitor | None, path: str) -> tuple[int, Any, Any]:
    if visitor is None:
        return get(url + path)
    cookie = f"{signature.cookie_name(runs)}={signature.cookie_of(runs, visitor)}"
    return get(url + path, {"Cookie": cookie})


@pytest.mark.parametrize("other", OTHERS)
def test_others_are_told_what_a_made_up_run_is_told(
    url: str, runs: Path, names: list[str], other: Visitor | None
) -> None:
    for name in names:
        made_up = name[:-10] + "0123456789"
        for route in ROUTES:
            status, about, body = ask(url, runs, other, f"/{name}{route.format(name=name)}")
            assert (status, list(body)) == (404, ["error"]), (name, route)
            assert "There is no run" in body["error"]
            none, nothing, said = ask(url, runs, other, f"/{made_up}{route.format(name=made_up)}")
            assert none == 404 and body["error"].replace(name, made_up) == said["error"]
            for item in ("Date", "Content-Length"):
                del about[item], nothing[item]
            assert about.items() == nothing.items()


@pytest.mark.parametrize("other", OTHERS)
def test_lists_and_pictures_of_others_do_not_have_them(
    url: str, runs: Path, names: list[str], other: Visitor | None
) -> None:
    _, about, rows = ask(url, runs, other, "")
    assert not {row["id"] for row in rows if row["source"] == "user"} & set(names)
    assert not any(name in str(rows) for name in names)
    assert int(about["X-Total-Count"]) == len({row["id"] for row in rows})
    for asked in ("?data=mine", f"?parent={names[0]}", f"?parent={names[1]}:ngf"):
        assert ask(url, runs, other, asked)[2] == []
    race = f"/{RACE.id}/charts/race?ghost="
    status, _, body = ask(url, runs, other, race + names[1])
    _, _, said = ask(url, runs, other, race + "ngf-vs-sgd-0123456789")
    assert status == 400
    assert body["error"].replace(names[1], "ngf-vs-sgd-0123456789") == said["error"]
    chart = f"/{BESIDE.id}/charts/slices?beside={BESIDE.id}"
    _, _, alone = ask(url, runs, other, chart + ",loss-slice-0123456789")
    assert ask(url, runs, ADA, chart + f",{names[2]}")[0] == 200  # the server keeps what it drew
    assert ask(url, runs, other, chart + f",{names[2]}")[2] == alone


@pytest.mark.parametrize("owner", OWNERS)
def test_the_owner_and_the_machine_are_given_all(
    url: str, runs: Path, names: list[str], owner: Visitor
) -> None:
    _, about, rows = ask(url, runs, owner, "")
    assert set(names) <= {row["id"] for row in rows}
    charts = ("training", "race", "slices", "race")
    for name, chart in zip(names, charts, strict=True):
        for route in ("", "/events", f"/charts/{chart}", "/take/command", "/take/bibtex"):
            status, _, body = ask(url, runs, owner, f"/{name}{route}")
            assert status == 200, (name, route, body)
    assert ask(url, runs, owner, f"/{RACE.id}/charts/race?ghost={names[1]}")[0] == 200
    assert {row["id"] for row in ask(url, runs, owner, "?data=mine")[2]} == set(names)
