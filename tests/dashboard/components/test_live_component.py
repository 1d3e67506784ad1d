"""The live chart in a real browser: it updates in place, keeps what the reader did, and stops
when it should.
"""

from __future__ import annotations

import json
import os
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ngf.runs.folder import EVENTS, RESULT
from tests.helpers.run_folders import RACE, append, free_port, get, race_events, server, write_run

CHROMIUM = "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"needs {CHROMIUM}")
FIGURE = ".ngf-live .js-plotly-plot"
POINTS = f"() => document.querySelector('{FIGURE}')?.data?.[0]?.x?.length ?? 0"


@dataclass
class Live:
    url: str
    folder: Path
    surface: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server over one race that has made 40 of 100 steps and still goes on."""
    base = tmp_path_factory.mktemp("live")
    folder = write_run(base / "runs", RACE, race_events(40))
    surface = base / "surface.txt"
    surface.write_text("1", encoding="utf-8")
    port = free_port()
    os.environ["SURFACE"] = str(surface)
    try:
        with server(
            base / "runs", [sys.executable, "tests/helpers/live_server.py", str(port)], port
        ) as url:
            yield Live(url, folder, surface)
    finally:
        del os.environ["SURFACE"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must not say anything on the console."""
    said: list[str] = []
    page = browser.new_page(viewport={"width": 1000, "height": 800}, reduced_motion="no-preference")
    page.on(
        "console", lambda message: said.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    page.close()
    assert said == [], "the console is clean"


def until(
    page: Page, fits: Callable[[Any], bool], script: str = POINTS, seconds: float = 90
) -> None:
    """Wait until what `script` gives fits. (The page's policy forbids the eval of
    `wait_for_function`.)
    """
    end = time.monotonic() + seconds
    while not fits(value := page.evaluate(script)):
        assert time.monotonic() < end, f"still {value!r} after {seconds} s"
        page.wait_for_timeout(50)


def start(page: Page, url: str) -> None:
    page.goto(url, timeout=90_000)
    page.wait_for_selector(f"{FIGURE} .main-svg", timeout=60_000)


def grow(live: Live, step: int) -> None:
    """The run goes on to `step`."""
    lines = (live.folder / EVENTS).read_text(encoding="utf-8").splitlines()
    last = json.loads(lines[-1])["step"]
    append(live.folder, [event for event in race_events(step) if event["step"] > last])


def drag(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Drag inside the figure, slowly enough for software rendering."""
    box = page.locator(".ngf-figure").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    for share in (0.25, 0.5, 0.75, 1.0):
        page.mouse.move(
            *(box[axis] + a + share * (b - a) for axis, a, b in zip("xy", start, end, strict=True))
        )
        page.wait_for_timeout(100)
    page.mouse.up()


def test_it_grows_in_place_and_keeps_zoom(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=race")
    until(page, lambda n: n == 9)
    page.evaluate(f"window.node = document.querySelector('{FIGURE}')")
    drag(page, (200, 100), (400, 250))
    page.wait_for_timeout(300)
    zoomed = page.evaluate("window.node._fullLayout.xaxis.range")
    assert zoomed[1] - zoomed[0] < 50
    grow(live, 50)
    until(page, lambda n: n == 11)
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("script run 2")).to_be_visible(timeout=30_000)
    page.wait_for_timeout(300)
    same, range_ = page.evaluate(
        f"[window.node === document.querySelector('{FIGURE}'), window.node._fullLayout.xaxis.range]"
    )
    assert same, "the figure is the same node after an update and a rerun"
    assert range_ == zoomed, "the zoom is the reader's"
    assert page.evaluate(f"({POINTS})()") == 11


LABELS = f"""() => [...document.querySelectorAll('{FIGURE} .annotation')]
    .map(e => e.getBoundingClientRect()).map(box => [box.top, box.left])"""
END = f"""() => {{
  const plot = document.querySelector('{FIGURE}'), axis = plot._fullLayout.xaxis
  return plot.getBoundingClientRect().left + axis._offset + axis.d2p(plot.data[0].x.at(-1))
}}"""


def test_direct_labels_stand_beside_the_ends_and_do_not_overlap(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=race")
    until(page, lambda boxes: len(boxes) == 6, LABELS)
    boxes = page.evaluate(LABELS)
    tops = sorted(top for top, _ in boxes)
    assert all(below - above > 15 for above, below in pairwise(tops)), "a line of text is 13 high"
    end = page.evaluate(END)
    assert all(0 <= left - end <= 20 for _, left in boxes), "right of the last points"


def test_nothing_moves_while_a_pointer_is_down(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=race")
    until(page, lambda n: n >= 9)
    before = page.evaluate(POINTS)
    box = page.locator(".ngf-figure").bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 200)
    grow(live, 60)
    page.wait_for_timeout(600)
    assert page.evaluate(POINTS) == before
    page.mouse.up()
    until(page, lambda n: n > before)


def test_scrubbing_cuts_the_lines(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=race")
    until(page, lambda n: n >= 9)
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("Home")
    until(page, lambda n: n == 1)
    slider.press("ArrowRight")
    until(page, lambda n: n == 2)
    assert "5 of" in (slider.get_attribute("aria-valuetext") or "")
    expect(page.locator(".ngf-live output")).to_contain_text("Step 5 of")
    slider.press("End")
    until(page, lambda n: n >= 9)
    button = page.get_by_role("button", name="Play the replay")
    button.click()
    expect(page.get_by_role("button", name="Pause the replay")).to_be_visible()
    slider.press("Space")
    expect(page.get_by_role("button", name="Play the replay")).to_be_visible()


def test_a_replay_plays_by_itself_unless_motion_is_reduced(page: Page, live: Live) -> None:
    page.emulate_media(reduced_motion="reduce")
    start(page, f"{live.url}/?only=replay")
    expect(page.get_by_role("button", name="Play the replay")).to_be_visible()
    assert page.evaluate(POINTS) >= 9
    page.emulate_media(reduced_motion="no-preference")
    start(page, f"{live.url}/?only=replay")
    expect(page.get_by_role("button", name="Pause the replay")).to_be_visible()
    expect(page.get_by_role("button", name="Play the replay")).to_be_visible(timeout=40_000)
    assert page.evaluate(POINTS) >= 9


def test_a_camera_survives_updates_and_reruns(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=surface")
    until(page, bool, f"() => !!document.querySelector('{FIGURE}')?._fullLayout?.scene?._scene")
    eye = "() => window.node._fullLayout.scene._scene.getCamera().eye"
    page.evaluate(f"window.node = document.querySelector('{FIGURE}')")
    first = page.evaluate(eye)
    drag(page, (300, 200), (420, 230))
    until(page, lambda now: abs(now["x"] - first["x"]) > 0.1, eye)
    turned = page.evaluate(eye)
    live.surface.write_text("3", encoding="utf-8")
    expect(page.locator(".ngf-finding")).to_have_text("Height 3.", timeout=30_000)
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("script run 2")).to_be_visible(timeout=30_000)
    page.wait_for_timeout(500)
    assert page.evaluate(f"window.node === document.querySelector('{FIGURE}')")
    assert page.evaluate("window.node.data[0].z[0][0]") == 27
    assert page.evaluate(eye) == pytest.approx(turned, abs=1e-3)


BOTH = "[...document.querySelectorAll('.ngf-live .js-plotly-plot')]"
EYES = f"() => {BOTH}.map(g => g._fullLayout?.scene?._scene?.getCamera().eye.x)"


def test_surfaces_of_a_group_are_turned_together(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=linked")
    until(page, lambda eyes: len(eyes) == 2 and None not in eyes, EYES)
    first = page.evaluate(EYES)[0]
    drag(page, (300, 150), (420, 170))  # in the first figure
    until(page, lambda eyes: abs(eyes[0] - first) > 0.1 and abs(eyes[0] - eyes[1]) < 1e-3, EYES)
    turned = page.evaluate(EYES)[0]
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("script run 2")).to_be_visible(timeout=30_000)
    page.wait_for_timeout(500)
    assert page.evaluate(EYES) == pytest.approx([turned, turned], abs=1e-3), (
        "a rerun keeps both cameras"
    )
    for shape in ("contour", "surface"):  # a map in between, and the camera is still the group's
        page.get_by_text(shape, exact=True).click()
        until(
            page,
            lambda kinds, shape=shape: kinds[1] == shape,
            f"() => {BOTH}.map(g => g.data?.[0]?.type)",
        )
    until(page, lambda eyes: len(eyes) == 2 and None not in eyes, EYES)
    assert page.evaluate(EYES) == pytest.approx([turned, turned], abs=1e-3)
    page.reload(timeout=90_000)
    until(page, lambda eyes: len(eyes) == 2 and None not in eyes, EYES)
    assert page.evaluate(EYES) == pytest.approx([turned, turned], abs=2e-3), (
        "the camera is in the address"
    )


def test_a_chart_that_waits_is_words_until_its_first_numbers(page: Page, live: Live) -> None:
    page.route(
        "**/test/surface*", lambda route: route.fulfill(json={"version": "0", "final": False})
    )
    page.goto(f"{live.url}/?only=waiting", timeout=90_000)
    figure = page.locator(".ngf-figure")
    expect(figure).to_have_attribute(
        "data-waiting", "Waiting for the first numbers …", timeout=60_000
    )
    assert page.locator(FIGURE).count() == 0, "no figure is drawn for nothing"
    page.unroute("**/test/surface*")
    until(page, bool, f"() => !!document.querySelector('{FIGURE}')?.data?.length")
    expect(figure).to_have_attribute("data-waiting", "")


def test_it_says_that_it_lost_the_server_and_comes_back(browser: Browser, live: Live) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    start(page, f"{live.url}/?only=race")
    page.route("**/api/runs/**", lambda route: route.abort())
    expect(page.get_by_text("Connection lost, retrying")).to_be_visible(timeout=30_000)
    page.unroute("**/api/runs/**")
    expect(page.get_by_text("Connection lost, retrying")).to_be_hidden(timeout=40_000)
    page.close()


def test_an_unmounted_chart_asks_no_more(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=gone")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/charts/" in request.url else None
    )
    page.wait_for_timeout(500)
    assert asked
    page.get_by_text("Hide").click()
    expect(page.locator(FIGURE)).to_have_count(0)
    page.wait_for_timeout(300)
    asked.clear()
    page.wait_for_timeout(500)
    assert asked == []


def test_it_fits_a_phone_and_speaks(page: Page, live: Live) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    start(page, f"{live.url}/?only=race")
    until(page, lambda n: n >= 9)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = (
        "Math.max(...[...document.querySelectorAll('.ngf-live *')].map(e => "
        "e.getBoundingClientRect().right))"
    )
    assert page.evaluate(wide) <= 390
    assert page.locator(f"{FIGURE} .legend").count() == 1
    assert "attack success rate" in (
        page.get_by_role("figure").first.get_attribute("aria-label") or ""
    )
    finding = page.locator(".ngf-finding")
    assert finding.get_attribute("aria-live") == "polite"
    expect(finding).to_contain_text("NGF has cut the attack success rate from 99.4")


def test_what_needs_room_is_scrolled_not_squeezed(page: Page, live: Live) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{live.url}/?only=map")
    page.locator(f"{FIGURE} .main-svg").first.wait_for(timeout=60_000)
    assert page.evaluate(f"document.querySelector('{FIGURE}')._fullLayout.width") == 500
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    moved = f"(() => {{const f = document.querySelector('{FIGURE}'); f.scrollLeft = 90; "
    assert page.evaluate(moved + "return f.scrollLeft})()") == 90
    page.set_viewport_size({"width": 1200, "height": 800})
    page.wait_for_function(f"() => document.querySelector('{FIGURE}')._fullLayout.width > 500")


def test_no_page_imports_torch(browser: Browser, tmp_path: Path) -> None:
    """The real pages on the real server: each is shown, then the process is asked."""
    with server(tmp_path / "runs") as url:
        page = browser.new_page()
        for path in ("", "lab", "geometry", "runs"):
            page.goto(f"{url}/{path}", timeout=90_000)
            page.wait_for_selector("h1", timeout=60_000)
            expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=60_000)
        page.close()
        assert get(f"{url}/api/health")[2]["torch_imported"] is False


def test_no_button_leads_to_another_server(page: Page, live: Live) -> None:
    page.goto(f"{live.url}/?only=race")
    page.locator(f"{FIGURE} .modebar-btn").first.wait_for(state="attached", timeout=60_000)
    bars = page.locator(f"{FIGURE} .modebar-container, {FIGURE} .modebar")
    titles = page.locator(f"{FIGURE} .modebar-btn").evaluate_all(
        "all => all.map((one) => one.dataset.title ?? one.getAttribute('href'))"
    )
    assert any("Zoom" in title for title in titles)
    assert not [title for title in titles if "hare" in title or "loud" in title or "http" in title]
    assert bars.locator("a[href]").count() == 0
    assert page.evaluate(f"document.querySelector('{FIGURE}')._context.plotlyServerURL") == ""


def test_it_follows_the_theme(browser: Browser, live: Live) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        start(page, f"{live.url}/?only=race")
        seen[scheme] = page.evaluate(f"document.querySelector('{FIGURE}')._fullLayout.font.color")
        page.close()
    assert seen == {"light": "#0B141C", "dark": "#ECF1F5"}


def test_it_stops_when_the_run_is_over(page: Page, live: Live) -> None:  # last: it ends the run
    start(page, f"{live.url}/?only=race")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/charts/" in request.url else None
    )
    (live.folder / RESULT).write_text(
        '{"after": {"ca": 0.99, "asr": 0.0, "ra": 0.9}}', encoding="utf-8"
    )
    page.wait_for_timeout(800)
    asked.clear()
    page.wait_for_timeout(600)
    assert asked == []


def saved(page: Page, kind: str) -> Path:
    with page.expect_download(timeout=60_000) as download:
        page.locator(".ngf-save button", has_text=kind).click()
    assert download.value.suggested_filename == f"race-curves.{RACE.id}.{kind.lower()}"
    return Path(download.value.path())


def test_it_is_saved_for_paper(page: Page, live: Live) -> None:
    page.emulate_media(color_scheme="dark")
    start(page, f"{live.url}/?only=saved")
    until(page, lambda n: n > 0)
    on_page = page.evaluate(f"document.querySelector('{FIGURE}')._fullLayout.font.color")
    picture = saved(page, "SVG").read_text(encoding="utf-8")
    assert "rgb(20, 24, 28)" in picture and on_page not in picture
    root = ElementTree.fromstring(picture)
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    told = root.findtext("svg:desc", namespaces=space) or ""
    assert f"run {RACE.id}" in told and "attack success rate" in told
    ground = root.find("svg:rect", space)
    assert ground is not None and "rgb(255, 255, 255)" in ground.attrib["style"]
    assert len(root.findall(".//svg:path", space)) > 10

    png = saved(page, "PNG").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and png[12:16] == b"IHDR"
    assert int.from_bytes(png[16:20], "big") >= 2000
    assert f"run {RACE.id}".encode() in png


def test_a_picture_fills_the_window_and_keys_lead_to_the_others(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=linked")
    page.wait_for_function("document.querySelectorAll('.ngf-live .main-svg').length >= 2")
    size = f"((box) => [box.offsetWidth, box.offsetHeight])(document.querySelector('{FIGURE}'))"
    before = page.evaluate(size)
    button = page.get_by_role("button", name="Present").first
    button.focus()
    page.keyboard.press("Enter")
    stage = page.get_by_role("dialog")
    expect(stage).to_be_visible()
    assert stage.bounding_box() == {"x": 0, "y": 0, "width": 1000, "height": 800}
    first = stage.get_attribute("aria-label")
    picture = stage.locator(".main-svg").first.bounding_box()
    assert picture and picture["width"] > 900 and 450 < picture["height"] < 800
    expect(stage.get_by_role("button", name="Before")).to_be_disabled()
    page.keyboard.press("PageDown")
    expect(stage).not_to_have_attribute("aria-label", first or "")
    page.keyboard.press("ArrowLeft")
    expect(stage).to_have_attribute("aria-label", first or "")
    page.keyboard.press("Escape")
    expect(stage).to_have_count(0)
    expect(button).to_be_focused()
    until(page, lambda now: now == before, size)


def test_the_toolbar_is_no_stop_of_the_tab_key_but_can_be_reached(page: Page, live: Live) -> None:
    start(page, f"{live.url}/?only=saved")
    page.locator(".ngf-save").wait_for()
    buttons = page.locator(".modebar-btn")
    assert buttons.count() >= 4
    assert {one.get_attribute("tabindex") for one in buttons.all()} == {"-1"}
    page.get_by_role("button", name="Tools").press("Enter")
    expect(buttons.nth(0)).to_be_focused()
    assert page.locator(".modebar").evaluate("bar => getComputedStyle(bar).opacity") == "1"
    page.keyboard.press("ArrowRight")
    expect(buttons.nth(1)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Tools")).to_be_focused()
