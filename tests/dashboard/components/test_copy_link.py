"""The link to a page is copied with all choices, and an embedded page stands without a frame."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, expect

from tests.helpers import run_folders
from tests.helpers.browser import WAIT, visit

PATH = "runs?kind=train&run=ngf-vs-sgd-ae43fe4fb4"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The web server alone: nothing is computed here."""
    with run_folders.server(tmp_path_factory.mktemp("copied") / "runs") as url:
        yield SimpleNamespace(url=url)


def test_a_press_copies_the_address(browser: Browser, server) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        visit(page, server, PATH)
        button = page.get_by_role("button", name="Copy link")
        expect(button).to_have_count(1, timeout=WAIT)
        button.click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible(timeout=WAIT)
        assert page.evaluate("navigator.clipboard.readText()") == page.url
        assert "run=ngf-vs-sgd" in page.url and "kind=train" in page.url


def test_an_embedded_page_has_no_frame(browser: Browser, server) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        visit(page, server, f"{PATH}&embed=1")
        expect(page.get_by_role("button", name="Take it home")).to_be_visible(timeout=WAIT)
        assert "run=ngf-vs-sgd" in page.url and "embed=true" in page.url
        expect(page.locator("header")).to_be_hidden()
        expect(page.get_by_role("button", name="Copy link")).to_be_hidden()
        box = page.locator("h1").bounding_box()
        assert box and box["y"] < 80


def test_back_leads_to_the_page_before_in_one_press(browser: Browser, server) -> None:
    """Although each page writes its choices into the address."""
    with browser.new_context() as context:
        page = context.new_page()
        visit(page, server, "learn")
        # a reader takes longer than the script of the button
        page.wait_for_function("() => history.onePerPage", timeout=WAIT)
        page.get_by_role("link", name="Lab", exact=True).first.click()
        page.wait_for_url("**/lab?**", timeout=WAIT)  # it has written its choices by then
        page.go_back()
        expect(page.locator("h1").first).to_have_text("Learn", timeout=WAIT)
        assert page.url.startswith(f"{server.url}/learn")
