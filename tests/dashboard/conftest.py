"""Fixtures of pages: opened by Streamlit's test driver or in a real browser, on a store of
their own.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from dashboard.kit import library, measuring, stores
from dashboard.kit.signature import Visitor
from ngf.catalogue import catalogue
from ngf.runs.store import Store
from tests.helpers.browser import CHROMIUM, WAIT, Server
from tests.helpers.pages import NAVIGATION, checked

OWN = Visitor("own", machine=True)
expect.set_options(timeout=WAIT)  # Playwright's own five seconds are few on a busy machine


@pytest.fixture(scope="session", autouse=True)
def _components_looked_for_once() -> Iterator[None]:
    """For every page that it opens, Streamlit's test driver reads what all installed packages say
    of themselves, in search of components. That takes 0.1 s, longer than most pages; there are
    none.
    """
    patch = pytest.MonkeyPatch()
    once = functools.cache(manifest_scanner.scan_component_manifests)
    patch.setattr(manifest_scanner, "scan_component_manifests", once)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def whole_errors():
    """Visitors see the name of an error only; tests see all of it. The list of plug-ins is
    made before.
    """
    catalogue()
    config.set_option("client.showErrorDetails", "full")


@pytest.fixture(autouse=True)
def tables_of_one_type(caplog):
    """A column of text and numbers is repaired by Streamlit, with a traceback in the log for every
    time that it is drawn.
    """
    logger = logging.getLogger("streamlit.dataframe_util")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)
    repaired = [record for record in caplog.get_records("call") if record.name == logger.name]
    assert not repaired, repaired[0].getMessage()


@pytest.fixture
def open_page(tmp_path):
    """Opens a page inside a navigation, as a browser gets it at /name?params; by default the
    machine's own browser.
    """

    def opened(name: str, visitor: Visitor = OWN, **params) -> AppTest:
        entry = tmp_path / f"{name}.py"
        entry.write_text(NAVIGATION.format(first=name), encoding="utf-8")
        page = AppTest.from_file(entry, default_timeout=120)
        page.session_state["visitor"] = visitor
        page.query_params.update(params)
        return checked(page.run())

    return opened


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    stores._store.cache_clear()
    yield Store()
    stores._store.cache_clear()


@pytest.fixture
def empty(store, tmp_path, monkeypatch):
    """A store with no run at all: no zoo, no recording."""
    monkeypatch.setattr("ngf.places.ZOO", tmp_path / "no-zoo")
    for name in ("ASSETS", "EARLIER", "RECORDINGS", "MEASUREMENTS"):
        monkeypatch.setattr(f"ngf.places.{name}", tmp_path / "no-assets")
    return store


@pytest.fixture
def zoo_model(store):
    """A backdoored model of the zoo that has a benign one beside it."""
    return next(
        run
        for run in library.trained()
        if run.spec.attack.name == "badnets" and measuring.benign(run)
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("browser"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1280, "height": 1000}) as context:
        opened = context.new_page()
        opened.set_default_timeout(WAIT)
        yield opened


@pytest.fixture
def arena_tables(monkeypatch, tmp_path):
    """What arena.json would hold of rows whose effects are known."""
    # here, since a house without evidence has pages, too
    from evidence.arena_table import tables
    from tests.helpers.arena_rows import put_files

    put_files(monkeypatch, tmp_path / "rows")
    return tables()
