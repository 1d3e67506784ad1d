"""The JSON routes, through the real server process over hand-written run folders."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dashboard.server.api import Built
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.runs.folder import ARRAYS, EVENTS, RESULT
from tests.helpers.run_folders import (
    RACE,
    TRAIN,
    append,
    epoch_events,
    get,
    long_race,
    race_events,
    server,
    write_run,
)

RECORDED = "ngf-vs-sgd-ae43fe4fb4"  # the race of the first page, which ships
LONG = PurifySpec(parent=TRAIN.id, lanes=RACE.lanes, seed=77)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "runs"
    write_run(folder, TRAIN, epoch_events(20), done=True)
    write_run(folder, RACE, race_events(40))
    return folder


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    with server(runs) as url:
        yield url


@pytest.fixture
def long_run(runs: Path) -> Iterator[Path]:
    folder = write_run(runs, LONG, [], done=True)
    lines = ({"seq": seq, "t": 0.1 * seq, **event} for seq, event in enumerate(long_race(9000)))
    text = "".join(json.dumps(event) + "\n" for event in lines)
    (folder / EVENTS).write_text(text, encoding="utf-8")
    yield folder
    shutil.rmtree(folder)


def test_the_server_never_imports_torch(url: str) -> None:
    """Asked after charts were made; tests/dashboard/components/test_live_component.py asks again
    after all pages were shown.
    """
    for path in ("/", f"/api/runs/{RACE.id}/charts/race", "/api/runs"):
        assert get(url + path)[0] == 200
    status, _, answer = get(f"{url}/api/health")
    assert status == 200
    assert answer["status"] == "ok"
    assert answer["torch_imported"] is False
    assert answer["supervised"] is False


def test_list_and_one_run(url: str) -> None:
    _, about, rows = get(f"{url}/api/runs")
    assert about["Content-Type"] == "application/json" and about["Cache-Control"] == "no-store"
    mine = {row["id"]: row for row in rows if row["source"] == "user"}
    assert set(mine) == {TRAIN.id, RACE.id}
    assert mine[RACE.id]["attack"] == "badnets" and mine[RACE.id]["status"] == "queued"
    _, _, run = get(f"{url}/api/runs/{TRAIN.id}")
    assert (
        run["spec"] == TRAIN.to_json() and run["status"] == "done" and run["result"]["ca"] == 0.986
    )


def test_events_are_given_once(url: str, runs: Path) -> None:
    _, _, first = get(f"{url}/api/runs/{RACE.id}/events")
    assert first["id"] == RACE.id and first["status"] == "queued" and first["result"] is None
    assert [event["seq"] for event in first["events"]] == list(range(first["next"]))
    _, _, again = get(f"{url}/api/runs/{RACE.id}/events?since={first['next']}")
    assert again["events"] == [] and again["next"] == first["next"]
    append(runs / RACE.id, [{"type": "phase", "phase": "testing"}])
    _, _, more = get(f"{url}/api/runs/{RACE.id}/events?since={first['next']}")
    assert [event["type"] for event in more["events"]] == ["phase"] and more["next"] == first[
        "next"
    ] + 1


def test_events_come_in_pages_and_a_long_chart_in_few_points(url: str, long_run: Path) -> None:
    lines = (long_run / EVENTS).read_bytes().splitlines()
    seen, route, more = 0, f"{url}/api/runs/{LONG.id}/events", True
    while more:  # an answer may be empty while the server still reads its way there
        page = get(f"{route}?since={seen}")[2]
        assert len(page["events"]) <= 2000
        assert page["events"] == [json.loads(line) for line in lines[seen : page["next"]]]
        seen, more = page["next"], page["more"]
    assert seen == len(lines)
    few = get(f"{route}?since=5&limit=3")[2]
    assert [event["seq"] for event in few["events"]] == [5, 6, 7] and few["more"] is True
    assert len(get(f"{route}?limit=999999999")[2]["events"]) == 2000
    final = False
    while not final:
        raw = urllib.request.urlopen(f"{url}/api/runs/{LONG.id}/charts/race", timeout=60).read()
        final = json.loads(raw)["final"]
    assert len(raw) < 200_000
    chart = json.loads(raw)
    assert "After 9,000 steps NGF has cut" in chart["finding"]
    assert chart["finding"].endswith(
        "Of every 16 steps the lowest and the highest values are drawn."
    )
    assert all(trace["x"][-1] == 9000 for trace in chart["figure"]["data"])


def test_a_long_chart_is_drawn_anew_when_a_pixel_of_it_is_new(url: str, long_run: Path) -> None:
    (long_run / RESULT).unlink()
    route = f"{url}/api/runs/{LONG.id}/charts/race"
    first = get(route)[2]
    step = {"type": "step", "lane": "ngf", "step": 9001, "steps": 9100}
    number = len((long_run / EVENTS).read_bytes().splitlines())
    with open(long_run / EVENTS, "a", encoding="utf-8") as file:
        file.write(json.dumps({"seq": number, "t": 1, **step}) + "\n")
    assert get(f"{route}?since={first['version']}")[2] == {"version": first["version"]}
    with open(long_run / EVENTS, "a", encoding="utf-8") as file:
        for k in range(1, 32):
            file.write(json.dumps({"seq": number + k, "t": 1, **step, "step": 9001 + k}) + "\n")
    newer = get(f"{route}?since={first['version']}")[2]
    assert newer["version"] != first["version"] and newer["final"] is False


def test_a_chart_that_is_being_built_holds_up_nobody_else() -> None:
    """And who asks for the same one waits for the one answer."""
    built, going, gate = Built(), threading.Event(), threading.Event()
    counts: list[str] = []

    def slow() -> str:
        counts.append("slow")
        going.set()
        assert gate.wait(60)
        return "slow answer"

    with ThreadPoolExecutor() as pool:
        first = pool.submit(built.get, "long", "1", slow)
        assert going.wait(60)
        second = pool.submit(built.get, "long", "1", slow)
        assert built.get("short", "1", lambda: "quick answer") == "quick answer"
        assert not first.done() and not second.done()
        gate.set()
        assert first.result() == second.result() == "slow answer" and counts == ["slow"]


def test_charts_that_are_kept_have_a_bounded_size() -> None:
    built, made = Built(most=10_000), []

    def ask(key: str) -> None:
        built.get(key, "1", lambda: made.append(key) or 4000 * "x")

    for key in ("a", "b", "a", "c", "a", "b"):  # "b" was not asked for for the longest time
        ask(key)
    assert made == ["a", "b", "c", "b"]


def test_a_chart_has_a_version_that_changes_with_the_run(url: str, runs: Path) -> None:
    route = f"{url}/api/runs/{RACE.id}/charts/race"
    _, _, chart = get(route)
    assert {"version", "figure", "finding", "alt", "status", "final"} == set(chart)
    assert len(chart["figure"]["data"]) == 6 and chart["final"] is False
    assert get(f"{route}?since={chart['version']}")[2] == {"version": chart["version"]}
    append(runs / RACE.id, [event for event in race_events(45) if event["step"] > 40])
    newer = get(f"{route}?since={chart['version']}")[2]
    assert newer["version"] != chart["version"]
    assert len(newer["figure"]["data"][0]["x"]) == len(chart["figure"]["data"][0]["x"]) + 1
    done = get(f"{url}/api/runs/{TRAIN.id}/charts/training")[2]
    assert done["final"] is True and done["status"] == "done"
    for name in ("internals", "layers"):
        assert get(f"{url}/api/runs/{RACE.id}/charts/{name}")[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"/api/runs/{RACE.id}/events?since=-1", 400, "since"),
        (f"/api/runs/{RACE.id}/events?since=x", 400, "since"),
        (f"/api/runs/{RACE.id}/events?since=1e9", 400, "since"),
        (f"/api/runs/{RACE.id}/events?limit=0", 400, "1 or more"),
        (f"/api/runs/{RACE.id}/events?limit=-5", 400, "limit"),
        (f"/api/runs/{RACE.id}/charts/race?since=%3Cb%3E", 400, "version"),
        (f"/api/runs/{RACE.id}/charts/training", 400, "another kind"),
        (f"/api/runs/{RACE.id}/charts/nothing", 404, "race, internals, layers, training"),
        ("/api/runs/no-such-run", 404, "GET /api/runs"),
        ("/api/runs/no-such-run/events", 404, "GET /api/runs"),
        ("/api/runs/UPPER", 400, "lower-case"),
        ("/api/runs/-..", 400, "lower-case"),
        ("/api/runs/a.b", 400, "lower-case"),
        ("/api/nothing", 404, "/api/runs"),
    ],
)
def test_mistakes_get_a_reason(url: str, path: str, status: int, words: str) -> None:
    found, _, answer = get(url + path)
    assert found == status
    assert words in answer["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/..%2f..%2fetc%2fpasswd",
        "/api/runs/%2e%2e/events",
        "/api/runs//etc/passwd",
        "/vendor/..%2fpyproject.toml",
        "/vendor/../../etc/passwd",
    ],
)
def test_no_way_out_of_the_store(url: str, path: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection(
        (host, int(port)), timeout=60
    ) as raw:  # a client that does not tidy up paths
        raw.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"root:" not in answer and b"[project]" not in answer
    assert answer.split()[1] in (b"400", b"404") or b"<!doctype html>" in answer.lower()


def test_other_methods_are_refused(url: str) -> None:
    request = urllib.request.Request(f"{url}/api/runs", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 405
    caught.value.close()


def test_the_chart_library_comes_compressed_and_cached(url: str) -> None:
    status, about, body = get(f"{url}/vendor/plotly.min.js", {"Accept-Encoding": "gzip"})
    assert (
        status == 200
        and about["Content-Encoding"] == "gzip"
        and "max-age" in about["Cache-Control"]
    )
    assert len(body) < 1_800_000 and b"plotly.js" in gzip.decompress(body)[:200]
    assert get(f"{url}/vendor/plotly.min.js", {"If-None-Match": about["ETag"]})[0] == 304


def test_headers(url: str) -> None:
    for path in ("/", "/api/health"):
        about = get(url + path)[1]
        assert (
            about["X-Content-Type-Options"] == "nosniff"
            and about["X-Frame-Options"] == "SAMEORIGIN"
        )
        policy = about["Content-Security-Policy"]
        assert "object-src 'none'" in policy and "'unsafe-eval'" not in policy
        assert "; connect-src 'self'; " in policy


# ---- charts of measurements


def measurement(folder: Path, target: str, arrays: dict, values: dict) -> str:
    """A run that has measured a part and still goes on."""
    spec = MeasureSpec(target=target, measurement=Choice("loss_slice"))
    path = write_run(folder, spec, [{"type": "partial", **values, "fraction": 0.5, "done": False}])
    np.savez(path / ARRAYS, **arrays)
    return spec.id


def test_charts_of_measurements_share_axes_and_follow_their_runs(url: str, runs: Path) -> None:
    def arrays(rise: float) -> dict:
        return {
            "distance": np.array([-0.5, 0.0, 0.5]),
            **{key: np.array([rise, 0.1, rise]) for key in ("mean", "low", "high")},
        }

    ids = [
        measurement(runs, target, arrays(rise), {"data": "clean", "n": 8})
        for target, rise in ((TRAIN.id, 4.0), (f"{RACE.id}:ngf", 1.0))
    ]
    both = ",".join(ids)
    answers = [get(f"{url}/api/runs/{one}/charts/slices?beside={both}")[2] for one in ids]
    ranges = [answer["figure"]["layout"]["yaxis"]["range"] for answer in answers]
    assert ranges[0] == ranges[1] and ranges[0][1] > 4
    assert (
        "backdoored" in answers[0]["finding"]
        and "the model purified by NGF" in answers[1]["finding"]
    )
    assert answers[0]["final"] is False
    route, version = f"{url}/api/runs/{ids[1]}/charts/slices?beside={both}", answers[1]["version"]
    assert get(f"{route}&since={version}")[2] == {"version": version}
    np.savez(
        runs / ids[0] / ARRAYS, **arrays(9.0)
    )  # the neighbor moves, and with it the common axis
    assert get(f"{route}&since={version}")[2]["figure"]["layout"]["yaxis"]["range"][1] > 9
    together = get(f"{url}/api/runs/{ids[0]}/charts/slices?beside={both}&together=1")[2]
    assert together["figure"]["layout"]["showlegend"] is True


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("beside=no-such-run", "beside"),
        ("beside=" + "a," * 20, "beside"),
        ("beside=../../etc", "beside"),
        ("view=fly", "contour"),
        ("which=-1", "which"),
        ("at=1e999", "at"),
        ("value=password", "value"),
    ],
)
def test_mistakes_in_charts_of_measurements_get_a_reason(
    url: str, runs: Path, query: str, words: str
) -> None:
    spec = MeasureSpec(target=TRAIN.id, measurement=Choice("loss_plane"))
    if not (runs / spec.id).exists():
        write_run(runs, spec, [])
    status, _, answer = get(f"{url}/api/runs/{spec.id}/charts/planes?{query}")
    assert status == 400
    assert words in answer["error"]
    assert get(f"{url}/api/runs/{TRAIN.id}/charts/planes")[0] == 400, "drawn of measurements only"


def test_what_readers_take_home_comes_as_files(url: str) -> None:
    def taken(product: str) -> tuple[str, bytes]:
        status, headers, body = get(f"{url}/api/runs/{RECORDED}/take/{product}")
        assert status == 200, body
        assert int(headers["Content-Length"]) == len(body) or isinstance(body, dict)
        assert headers["Content-Disposition"].startswith("attachment; filename=")
        return headers["Content-Disposition"].split('"')[1], body

    name, body = taken("zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert f"{RECORDED}/README.txt" in archive.namelist() and archive.testzip() is None
    assert name == f"{RECORDED}.zip"
    name, body = taken("pt?lane=sgd")
    assert name == f"{RECORDED}.sgd.pt" and body[:2] == b"PK"
    name, body = taken("report")
    assert name == f"{RECORDED}.html" and body.startswith(b"<!doctype html>")
    assert b"tabular" in taken("latex")[1] and b"@misc" in taken("bibtex")[1]
    assert get(f"{url}/api/health")[2]["torch_imported"] is False


def test_a_run_in_progress_is_taken_as_partial(url: str) -> None:
    status, headers, body = get(f"{url}/api/runs/{RACE.id}/take/command")
    assert status == 200 and b"PARTIAL" in body
    assert f'filename="{RACE.id}.partial.txt"' in headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"{RACE.id}/take/pdf", 404, "Products: report, zip"),
        (f"{RACE.id}/take/pt?lane=ngf", 404, "There are no weights yet"),
        (f"{RACE.id}/take/pt?lane=..%2Fngf", 400, "not the name of a lane"),
        (f"{RACE.id}/take/pt?lane=adam", 404, "no lane 'adam'"),
        (f"{RACE.id}/take/zip?lane=ngf", 404, "leave the lane"),
        ("nobody/take/zip", 404, "no run"),
    ],
)
def test_what_cannot_be_taken_gets_a_reason(url: str, path: str, status: int, words: str) -> None:
    found, _, answer = get(f"{url}/api/runs/{path}")
    assert found == status and words in answer["error"]
