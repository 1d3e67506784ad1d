"""A run folder may come from anybody: whatever is written in it, pages show it as text. In a real
browser: no link, no image, no icon, no request to another server.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboard.kit import library
from dashboard.studio.probing import probe_spec
from ngf.catalogue import normalize
from ngf.config import Choice, MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.runs.folder import ERROR, RESULT, SPEC
from ngf.runs.store import Store
from ngf.sweeps.folder import Sweep, keep
from ngf.sweeps.spec import SweepSpec
from tests.helpers.browser import SETTLED, WAIT
from tests.helpers.hostile import ALL, HOST, HOSTILE, seen
from tests.helpers.run_folders import free_port, race_events, server, write_run

FAILED = {"kind": "error", "message": ALL, "advice": ALL, "step": ALL}


def test_an_escaped_text_reads_as_it_is_and_is_one_line() -> None:
    for text in HOSTILE:
        bare = seen(library.plain(text)).replace("\\", "")
        assert bare == text.replace("\\", "")
    assert library.plain("a\n\n# b\tc") == "a \\# b c"
    assert library.plain(-0.5) == "\\-0.5" and library.plain("at 12: 30") == "at 12\\: 30"


def failed(root: Path, spec: Spec, name: str = "") -> str:
    folder = write_run(root, spec, [{"type": "phase", "phase": ALL}])
    (folder / ERROR).write_text(json.dumps(FAILED), encoding="utf-8")
    return folder.rename(root / name).name if name else folder.name


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """A server over such folders, and the pages to look at."""
    root = tmp_path_factory.mktemp("hostile") / "runs"
    root.mkdir()
    store = Store(root)
    zoo = next(run for run in store.trainings() if run.spec.attack.name == "badnets")
    pages = []
    # the names of what is not installed, in a folder whose name looks like an address
    odd = TrainSpec(data=ALL, model=ALL, attack=Choice(ALL, {ALL: ALL}))
    spec = TrainSpec(attack=Choice("badnets"), seed=9002)
    folder = root / failed(root, spec, f"www.{HOST}")
    (folder / SPEC).write_text(json.dumps(odd.to_json()), encoding="utf-8")
    pages += [f"runs?run=www.{HOST}", f"lab?run=www.{HOST}&view=train"]
    # a failed race, one that goes on, and one that is done
    race = PurifySpec(parent=zoo.id, lanes=(Choice("ngf"), Choice("sgd")), seed=91)
    pages += [f"runs?run={failed(root, race)}", f"lab?run={race.id}"]
    going, done = replace(race, seed=92), replace(race, seed=93)
    events = [
        {"type": "phase", "phase": ALL},
        {"type": "layer", "lane": "ngf", "layer": ALL, "score": 1.0},
        {"type": "chosen", "lane": "ngf", "layer": ALL, "why": ALL},
        {"type": "chosen", "lane": ALL, "layer": ALL, "why": ALL},
        {"type": "resumed", "step": ALL, "attempt": ALL},
    ]
    write_run(root, going, events)
    folder = write_run(root, done, [*events, *race_events()], done=True)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    about = {"after": result["after"], "did": ALL, "layer": ALL, "steps": ALL, "seconds": 1.0}
    result |= {"lanes": {"ngf": about, "sgd": about}, "environment": {"hardware": ALL}}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
    pages += [f"lab?run={going.id}", f"lab?run={done.id}", f"geometry?run={done.id}"]
    # measurements of a model of the zoo: one that failed, one whose values are texts, a probe
    for name, options in (("loss_slice", {}), ("fisher_trace", {}), ("hessian_spectrum", {})):
        choice = normalize("measurements", Choice(name, options))
        failed(root, MeasureSpec(target=zoo.id, measurement=choice))
    unknown = MeasureSpec(target=f"www.{HOST}", measurement=Choice(ALL))
    folder = root / failed(root, replace(unknown, measurement=Choice("gone")))
    (folder / SPEC).write_text(json.dumps(unknown.to_json()), encoding="utf-8")
    failed(root, probe_spec(zoo, normalize("attacks", Choice("drawn"))))
    pages += [f"geometry?run={zoo.id}", f"runs?run={folder.name}", f"studio?model={zoo.id}"]
    pages += [
        f"lab?lane={quote(ALL)}&model=www.{HOST}",
        f"runs?run=www.{HOST}.x&attack={quote(ALL)}",
    ]
    axes = {"lanes.0.layer": (ALL, "all"), ALL: (ALL, "x")}
    sweep = SweepSpec({"kind": "purify", "parent": ALL, "lanes": [ALL]}, axes)
    values = {"lanes.0.layer": ALL, ALL: ALL}
    points = ((values, done.id), (values, race.id))
    keep(Store(root), Sweep(sweep, points, (done.id, race.id), ((values, ALL),)))
    pages += [f"sweeps?view=follow&sweep={sweep.id}", f"sweeps?build={quote(ALL)}"]
    pages += [f"sweeps?build={quote(json.dumps(sweep.to_json()))}"]
    with server(root) as url:
        yield url, pages


def test_pages_show_texts_of_runs_as_text(browser: Browser, hostile: tuple[str, list[str]]) -> None:
    url, pages = hostile
    told = ""
    with browser.new_context() as context:
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        for path in pages:
            page = context.new_page()
            page.goto(f"{url}/{path}", timeout=WAIT)
            expect(page.locator("h1").first).to_be_visible(timeout=WAIT)
            page.locator(SETTLED).wait_for(timeout=WAIT)
            assert page.get_by_test_id("stException").count() == 0, path
            assert foreign(page) == [], path
            told += page.locator("body").inner_text()
            page.close()
    assert not [address for address in asked if HOST in address.partition("?")[0]]
    assert told.count("alert(1)") >= 5  # the texts were there


MARKDOWN = """
import pandas as pd
import streamlit as st
from dashboard.kit.library import plain
from tests.helpers.hostile import HOSTILE
st.title("Texts")
for text in HOSTILE:
    st.markdown(plain(text)); st.caption(plain(text)); st.error(plain(text)); st.header(plain(text))
st.table(pd.DataFrame({"text": [plain(text) for text in HOSTILE]}))
st.pills("Pills", [plain(text) for text in HOSTILE])
st.selectbox("Not Markdown", HOSTILE)
st.dataframe(pd.DataFrame({"text": HOSTILE}))
st.json(HOSTILE)
st.caption("end")
"""


def test_the_escape_holds_wherever_markdown_is_read(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text(MARKDOWN, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(tmp_path / "texts.py")]
    command += ["--server.port", str(port), "--server.headless", "true"]
    with (
        server(tmp_path / "runs", command, port, health="_stcore/health") as url,
        browser.new_context() as context,
    ):
        page = context.new_page()
        page.goto(url, timeout=WAIT)
        expect(page.get_by_text("end", exact=True)).to_be_visible(timeout=WAIT)
        body = page.get_by_test_id("stMain")
        until = time.monotonic() + WAIT / 1000
        while lacking(body) and time.monotonic() < until:  # some parts come later than others
            page.wait_for_timeout(200)
        assert lacking(body) == []
        assert foreign(page) == []
        made = "img, [data-testid=stMarkdown] [data-testid=stIconMaterial]"
        assert body.locator(made).count() == 0


def lacking(body: Locator) -> list[str]:
    """The texts that are not yet in all five places."""
    told = seen(body.inner_text())
    return [text for text in HOSTILE if told.count(text) < 5]


def foreign(page: Page) -> list[str]:
    """What leads to, or comes from, somewhere else than this server."""
    return page.evaluate(
        """() => [
          ...[...document.querySelectorAll("a, svg a")].map((a) => a.getAttribute("href")
                ?? a.getAttribute("xlink:href") ?? "")
            .filter((to) => /evil|^mailto|^xmpp/i.test(to) && !to.startsWith("#")),
          ...[...document.querySelectorAll("img, iframe, object, embed")]
            .map((it) => it.src ?? it.data ?? "")
            .filter((from) => /evil/i.test(from)),
          ...[...document.querySelectorAll("script")]
            .filter((it) => /alert\\(1\\)/.test(it.textContent))
            .map(() => "script"),
          ...[...document.querySelectorAll(".katex")].map(() => "formula"),
        ]"""
    )
