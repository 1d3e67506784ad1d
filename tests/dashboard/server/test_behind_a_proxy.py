"""The dashboard below a path, behind a real nginx with the recipe of docs/behind-a-proxy.md, in a
real browser: pages open, charts follow their runs, files come down, and what is refused says why.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from dashboard.kit.pages import pages
from ngf.runs.folder import EVENTS
from tests.helpers.browser import CHROMIUM, WAIT, wait_for_charts
from tests.helpers.nginx import certificate, nginx, program, recipe
from tests.helpers.run_folders import (
    RACE,
    TRAIN,
    append,
    epoch_events,
    free_port,
    race_events,
    server,
    write_run,
)

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"needs {CHROMIUM}"),
    pytest.mark.skipif(program() is None, reason="needs nginx: apt-get install nginx-light"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, for a certificate"),
]
RECIPE, REWRITTEN, CUT, UNKNOWN = (
    f"{name}.example.org" for name in ("lab", "rewritten", "cut", "unknown")
)
SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"
POINTS = "() => document.querySelector('.ngf-live .js-plotly-plot')?.data?.[0]?.x?.length ?? 0"
# Streamlit looks for the path that it lies below one part at a time, from the end.
SEARCH = re.compile(r" 404 .*/_stcore/(health|host-config)$")


def _of(said: ConsoleMessage) -> str:
    return f"{said.text} {said.location['url']}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished training and a race that still goes on."""
    base = tmp_path_factory.mktemp("proxy")
    write_run(base / "runs", TRAIN, epoch_events(20), done=True)
    write_run(base / "runs", RACE, race_events(40))
    return base


@pytest.fixture(scope="module")
def upstream() -> int:
    """The port of the dashboard itself."""
    return free_port()


@pytest.fixture(scope="module")
def browser(folder: Path, upstream: int) -> Iterator[Browser]:
    """A browser for which every name below example.org is the proxy."""
    port = free_port()
    pem = certificate(folder)
    blocks = {name: recipe(name, upstream, port, pem) for name in (RECIPE, REWRITTEN, CUT, UNKNOWN)}
    for name in (REWRITTEN, CUT, UNKNOWN):  # what nginx does that was told nothing of it
        blocks[name] = re.sub(r".*proxy_set_header Host.*\n", "", blocks[name])
    blocks[CUT] = blocks[CUT].replace(f":{upstream};", f":{upstream}/;")
    command = [sys.executable, "-m", "dashboard.server.app", "--port", str(upstream)]
    for name in (RECIPE, REWRITTEN, CUT):
        command += ["--public-url", f"https://{name}/ngf"]
    with (
        server(folder / "runs", command, upstream),
        nginx(folder, port, list(blocks.values())),
        sync_playwright() as playwright,
    ):
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                f"--host-resolver-rules=MAP *.example.org:443 127.0.0.1:{port}",
                "--ignore-certificate-errors",
            ],
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that collects what its console says is wrong and which addresses it asked."""
    with browser.new_context(viewport={"width": 1280, "height": 1000}) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.wrong, page.asked = [], []  # type: ignore[attr-defined]
        page.on("console", lambda said: said.type == "error" and page.wrong.append(_of(said)))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        yield page


@pytest.mark.parametrize("name", ["", RECIPE, REWRITTEN, CUT])
def test_a_chart_follows_its_run_and_files_come_down(
    page: Page, folder: Path, upstream: int, name: str
) -> None:
    """Also without a proxy, from http, whose WebSocket has a scheme of its own."""
    site = f"https://{name}/ngf" if name else f"http://localhost:{upstream}"
    page.goto(f"{site}/lab?run={RACE.id}")
    wait_for_charts(page, 1)
    shown = page.evaluate(POINTS)
    run = folder / "runs" / RACE.id
    written = (run / EVENTS).read_text(encoding="utf-8").splitlines()
    last = json.loads(written[-1])["step"]
    append(run, [event for event in race_events(last + 10) if event["step"] > last])
    page.wait_for_function(f"n => ({POINTS})() > n", arg=shown, timeout=WAIT)
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as coming:
        page.get_by_role("button", name="PNG", exact=True).first.click()
    assert Path(coming.value.path()).read_bytes().startswith(b"\x89PNG")

    page.get_by_role("link", name="Runs", exact=True).click()
    page.wait_for_url(f"{site}/runs")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download as CSV", exact=True).click()
    assert RACE.id in Path(coming.value.path()).read_text(encoding="utf-8")
    assert not [text for text in page.wrong if not SEARCH.search(text)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["", *(name for name in pages() if name != "start")])
def test_every_page_opens_and_asks_nobody_else(page: Page, path: str) -> None:
    page.goto(f"https://{RECIPE}/ngf/{path}")
    expect(page.locator("h1").first).to_be_visible(timeout=WAIT)
    page.locator(SETTLED).wait_for(timeout=WAIT)
    if path == "":
        wait_for_charts(page, 1)
    assert not [text for text in page.wrong if not SEARCH.search(text)]  # type: ignore[attr-defined]
    own = re.compile(rf"(https|wss)://{re.escape(RECIPE)}/ngf/|blob:|data:")
    assert not [url for url in page.asked if not own.match(url)]  # type: ignore[attr-defined]


def test_a_picture_goes_up(page: Page) -> None:
    """With the token that Streamlit asks for."""
    page.goto(f"https://{REWRITTEN}/ngf/studio")
    page.locator("input[type=file]").set_input_files(
        {"name": "sticker.png", "mimeType": "image/png", "buffer": _png()}
    )
    expect(page.locator(".ngf-painter [role=gridcell][data-pixel=ff0000ff]").first).to_be_visible()
    assert not [text for text in page.wrong if not SEARCH.search(text)]  # type: ignore[attr-defined]


def _png() -> bytes:
    """A red picture."""
    file = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("path", "right"),
    [("ngf", "ngf/"), ("ngf/lab/", "ngf/lab"), (f"ngf/lab//?run={RACE.id}", "ngf/lab?.*run=")],
)
def test_a_slash_too_many_or_too_few_is_put_right(page: Page, path: str, right: str) -> None:
    page.goto(f"https://{RECIPE}/{path}")
    expect(page.locator("h1").first).to_be_visible(timeout=WAIT)
    expect(page).to_have_url(re.compile(f"^https://{RECIPE}/" + right.replace("?", r"\?")))


def test_a_page_that_is_not_answered_says_what_to_set(page: Page) -> None:
    page.goto(f"https://{UNKNOWN}/ngf/lab", wait_until="commit")  # loading ends there
    expect(page.get_by_text(f"--public-url https://{UNKNOWN}/ngf", exact=True)).to_be_visible()
    expect(page.get_by_text(f"It does not answer pages of https://{UNKNOWN}.")).to_be_visible()
    page.wait_for_timeout(500)
    expect(page.locator("h1")).to_have_count(1)
    assert not [url for url in page.asked if "_stcore" in url]  # type: ignore[attr-defined]


def test_a_name_that_is_not_answered_says_what_to_set(browser: Browser, folder: Path) -> None:
    """The same, where the proxy hands on the name."""
    with browser.new_context() as context:
        page = context.new_page()
        answer = page.goto(f"https://stranger.{RECIPE}/ngf/")  # nginx answers with its first block
        assert answer and answer.status == 421
        expect(page.get_by_text(f"--public-url https://stranger.{RECIPE}")).to_be_visible()
