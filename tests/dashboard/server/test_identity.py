"""The identity of a browser against the real server: cookies, reloads, restarts, the one link."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dashboard.kit import signature
from dashboard.kit.signature import Visitor
from ngf.config import PurifySpec
from ngf.places import ROOT
from ngf.runs.store import Run, Store
from tests.helpers.browser import CHROMIUM, WAIT
from tests.helpers.run_folders import RACE, free_port, server

PAGE = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity") / "runs"


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    with server(runs) as found:
        yield found


def ask(url: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """One request, without following where it leads."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request(method, path, headers={**PAGE, **headers})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def given(answer: http.client.HTTPResponse) -> str:
    """`name=value` of the cookie that an answer sets; empty without one."""
    found = [item for item in answer.headers.get_all("Set-Cookie") or () if "ngf_visitor" in item]
    assert len(found) <= 1
    return found[0].partition(";")[0] if found else ""


def race(runs: Path, seed: int, owner: str) -> Run:
    """A race on a model of the zoo that nobody executes."""
    store = Store(runs)
    parent = next(run.id for run in store.trainings() if run.spec.attack.name == "badnets")
    return store.submit(PurifySpec(parent=parent, lanes=RACE.lanes, seed=seed), owner)


def open_lab(context: BrowserContext, url: str, run: Run) -> Page:
    page = context.new_page()
    page.goto(f"{url}/lab?run={run.id}", timeout=WAIT)
    expect(page.get_by_text("NGF vs SGD").first).to_be_visible(timeout=WAIT)
    return page


def name_in(context: BrowserContext) -> str:
    """Who a browser is, by its cookie."""
    (cookie,) = [item for item in context.cookies() if item["name"].startswith("ngf_visitor")]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    return cookie["value"].partition(".")[0]


def test_a_page_gives_a_cookie_and_nothing_else_does(url: str, runs: Path) -> None:
    for path in ("/", "/lab", "/runs?run=none", "/no-such-page"):
        answer = ask(url, path)
        (full,) = [text for text in answer.headers.get_all("Set-Cookie") if "ngf_visitor" in text]
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(full.split("; ")), full
        assert answer.headers["Cache-Control"] == "no-store"
        assert signature.visitor_of(runs, given(answer).partition("=")[2])
        assert not given(ask(url, path, Cookie=given(answer)))  # it is kept
    for path in ("/api/health", "/api/runs", "/vendor/plotly.min.js", "/_stcore/health"):
        assert not given(ask(url, path, Accept="*/*")), path
    assert not given(ask(url, "/api/runs"))
    assert not given(ask(url, "/", "HEAD"))


def test_a_forged_cookie_is_replaced(url: str, runs: Path) -> None:
    mine = given(ask(url, "/"))
    name, _, value = mine.partition("=")
    for forged in (value.replace(".visitor.", ".machine."), "x", f"{'0' * 32}.machine.{'0' * 64}"):
        other = given(ask(url, "/", Cookie=f"{name}={forged}"))
        assert other and other != mine
        assert not signature.visitor_of(runs, other.partition("=")[2]).machine


def test_the_link_makes_one_browser_the_machines_own(url: str, runs: Path) -> None:
    mine = given(ask(url, "/"))
    printed = subprocess.run(
        [sys.executable, "-m", "dashboard.server.identity", "--url", f"{url}/"],
        cwd=ROOT,
        env={**os.environ, "NGF_RUNS": str(runs)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    path = printed.removeprefix(url)
    assert re.fullmatch(r"/own\?token=[\w-]{43}", path)
    wrong = ["/own", "/own?token=", path[:-1], path + "x", "/own?token=%00", "/own?token=%ff"]
    for refused in wrong:
        answer = ask(url, refused, Cookie=mine)
        assert answer.status == 403 and not given(answer)
    assert ask(url, path, "HEAD").status == 403  # a preview of the link does not use it up
    assert ask(url, path, "POST").status == 405
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(url, path, Cookie=mine), range(16)))
    won = [answer for answer in answers if answer.status == 303]
    assert len(won) == 1 and [answer.status for answer in answers].count(403) == 15
    assert won[0].headers["Location"] == "./" and won[0].headers["Cache-Control"] == "no-store"
    before, after = (
        signature.visitor_of(runs, cookie.partition("=")[2]) for cookie in (mine, given(won[0]))
    )
    assert after == Visitor(before.id, machine=True)  # its own runs stay its own
    assert ask(url, path).status == 403


def test_who_started_a_run_stops_it_after_reload_and_restart_and_others_look(
    browser: Browser, tmp_path: Path
) -> None:
    runs, port = tmp_path / "runs", free_port()
    command = [sys.executable, "-m", "dashboard.server.app", "--port", str(port)]
    with browser.new_context() as ada, browser.new_context() as bob:
        with server(runs, command, port) as url:
            page = ada.new_page()
            page.goto(f"{url}/lab?race_seed=81", timeout=WAIT)
            page.get_by_role("button", name="Start", exact=True).click(timeout=WAIT)
            # at the very first script run of the first visit the cookie was there
            expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=WAIT)
            run = next(
                run
                for run in Store(runs).runs()
                if run.source == "user" and run.spec.kind == "purify"
            )
            assert run.request["owner"] == name_in(ada)
            page.reload()
            expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=WAIT)
            other = open_lab(bob, url, run)
            expect(other.get_by_text("Started by another visitor")).to_be_visible(timeout=WAIT)
            expect(other.get_by_role("button", name="Stop")).to_have_count(0)
            assert name_in(bob) != name_in(ada)
            assert page.evaluate("document.cookie").count("ngf_visitor") == 0
        with server(runs, command, port) as url:
            page = open_lab(ada, url, run)
            page.get_by_role("button", name="Stop").click(timeout=WAIT)
            expect(page.get_by_text("Stopped", exact=True)).to_be_visible(timeout=WAIT)
            assert run.status == "cancelled"
            other = open_lab(bob, url, run)
            expect(other.get_by_text("Stopped", exact=True)).to_be_visible(timeout=WAIT)
            expect(other.get_by_text("by you")).to_have_count(0)


def test_the_browser_with_the_link_controls_what_the_terminal_started(
    browser: Browser, url: str, runs: Path
) -> None:
    run = race(runs, 82, owner="")
    with browser.new_context() as context:
        page = open_lab(context, url, run)
        expect(page.get_by_text("Started from the terminal")).to_be_visible(timeout=WAIT)
        page.goto(f"{url}/own?token={signature.invite(runs)}", timeout=WAIT)
        assert page.url == f"{url}/"  # the token is not left in the address
        page = open_lab(context, url, run)
        page.get_by_role("button", name="Stop").click(timeout=WAIT)
        expect(page.get_by_text("Stopped", exact=True)).to_be_visible(timeout=WAIT)
    assert run.status == "cancelled"


def test_a_browser_without_cookies_looks_and_is_told_why(
    browser: Browser, url: str, runs: Path, tmp_path: Path
) -> None:
    run = race(runs, 83, owner="a" * 32)
    (tmp_path / "Default").mkdir()
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(blocked))
    with browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=CHROMIUM
    ) as context:
        page = open_lab(context, url, run)
        assert context.cookies() == []
        expect(page.get_by_text("This browser keeps no cookies")).to_be_visible(timeout=WAIT)
        expect(page.get_by_role("button", name="Stop")).to_have_count(0)
