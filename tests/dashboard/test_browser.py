"""The dashboard in a real browser, on the real server, with real runs.

One server and one browser serve all tests of this file; the runs live in a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import re
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError, expect

from dashboard.kit.pages import pages
from dashboard.sweeps.draft import Draft
from tests.helpers.browser import SETTLED, WAIT, visit, wait_for_charts

PAGES = ("", *(name for name in pages() if name != "start"))
# What axe finds in Streamlit's own markup. Nothing of ours may join this list.
FRAMEWORK = {
    "list": "sidebar navigation and menus",
    "listitem": "sidebar navigation and menus",
    "empty-table-header": "index column of st.dataframe and st.table",
    "presentation-role-conflict": "st.file_uploader and icons",
    "scrollable-region-focusable": "the main scroll container",
    "region": "Streamlit's toolbar lies outside landmarks",
    "landmark-one-main": "Streamlit has no main landmark on some pages",
    "aria-allowed-attr": "st.dataframe's grid",
    "aria-required-children": "st.segmented_control and st.dataframe",
}
LOOKS = {"light": ("light", 1280, 1000), "dark-phone": ("dark", 390, 844)}
RACE = "lane=ngf:layer=stage2.block1.conv2,steps=60&lane=sgd:layer=stage2.block1.conv2,steps=60"


# the last number of NGF's attack success in the race of the page, and how many points it has
ASR = """() => {
  const traces = [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => plot.data ?? [])
  const trace = traces.find(t => /NGF/i.test(t.name || '') && /ASR|attack/i.test(t.name || ''))
  if (!trace || !trace.y || !trace.y.length) return null
  const seen = Array.from(trace.y).filter(v => v !== null)
  return {first: seen[0], last: seen[seen.length - 1], count: seen.length}
}"""


# how many points are drawn of lines, marks and maps of which at least 100 pixels are on the screen
SEEN = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(plot => {
    const box = plot.getBoundingClientRect()
    return Math.min(box.bottom, innerHeight) - Math.max(box.top, 0) >= 100
  }).flatMap(plot => plot.data ?? []).reduce((sum, t) => sum + (t.z ?? t.y ?? []).length, 0)"""


@pytest.mark.parametrize(
    ("path", "size"),
    [
        (path, size)
        for path in ("", "lab", "geometry", "compare")
        for size in ((1280, 900), (390, 844))
    ],
)
def test_something_measured_is_on_the_first_screen_of_an_empty_store(browser, server, path, size):
    """These come first: nothing has been run or measured yet."""
    with browser.new_context(viewport={"width": size[0], "height": size[1]}) as context:
        page = context.new_page()
        visit(page, server, path)
        page.wait_for_function(f"() => ({SEEN})() > 10", timeout=WAIT)
        page.locator(SETTLED).wait_for(timeout=WAIT)
        assert "Not measured yet" not in page.inner_text("body")


def test_a_click_on_a_cell_of_the_arena_opens_it(page, server):
    visit(page, server, "arena")
    wait_for_charts(page, 1)
    area = page.locator(".ngf-figure .nsewdrag").first
    area.scroll_into_view_if_needed()
    expect(area).to_be_visible()
    page.locator(SETTLED).wait_for(timeout=WAIT)
    at = page.evaluate(
        """() => {
          const {x, y, width, height} =
            document.querySelector('.ngf-figure .nsewdrag').getBoundingClientRect()
          const [heat] = document.querySelector('.js-plotly-plot').data
          return {x: x + width * 1.5 / heat.x.length, y: y + height * 1.5 / heat.y.length,
                  hover: heat.customdata[1][1]}
        }"""
    )
    page.mouse.click(at["x"], at["y"])
    page.wait_for_url(re.compile("attack=.*method=|method=.*attack="), timeout=WAIT)
    method = re.search(r"<b>(.*) against", at["hover"])[1]
    expect(page.get_by_role("combobox", name="Defense")).to_have_value(method)


def test_the_replay_moves_by_itself(page, server):
    visit(page, server)
    wait_for_charts(page, 1)
    first = page.wait_for_function(ASR, timeout=WAIT).json_value()["count"]
    page.wait_for_function(
        f"() => {{ const s = ({ASR})(); return s && s.count !== {first} }}", timeout=WAIT
    )
    expect(page.get_by_text("What you just saw")).to_be_visible()


@pytest.mark.timeout(900)  # a real race, which a busy machine may take minutes for
def test_a_race_from_start_to_finish_with_pause_refresh_and_a_second_browser(page, server, browser):
    visit(page, server, f"lab?{RACE}&race_seed=11")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(re.compile(r"run=ngf-vs-sgd-"), timeout=WAIT)
    run_id = re.search(r"run=([\w-]+)", page.url)[1]

    page.wait_for_function(
        f"() => {{ const s = ({ASR})(); return s && s.count >= 2 }}", timeout=WAIT
    )
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=WAIT)
    assert server.get(f"runs/{run_id}")["status"] == "paused"
    steps = len(server.get(f"runs/{run_id}/events?since=0")["events"])
    page.reload()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=WAIT)
    assert run_id in page.url, "a refresh keeps the run"
    assert len(server.get(f"runs/{run_id}/events?since=0")["events"]) == steps, "paused is paused"

    with browser.new_context() as second:
        other = second.new_page()
        visit(other, server, f"lab?run={run_id}")
        looks = other.get_by_text("Started by another visitor")
        expect(looks).to_be_visible(timeout=WAIT)
        assert not other.get_by_role("button", name="Resume").count(), "it may look, no more"
        page.get_by_role("button", name="Resume").click()
        expect(other.get_by_text("Finished").first).to_be_visible(timeout=6 * WAIT)
    expect(page.get_by_text("Finished").first).to_be_visible(timeout=WAIT)

    seen = page.wait_for_function(ASR, timeout=WAIT).json_value()
    assert seen["last"] < seen["first"] - 20, f"NGF's attack success falls on the screen: {seen}"
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible(timeout=WAIT)
    events = server.get(f"runs/{run_id}/events?since=0")["events"]
    assert [event["seq"] for event in events] == list(range(len(events))), "no gap and no duplicate"


def test_geometry_shows_its_pictures(page, server):
    visit(page, server, "geometry?run=signs-badnets-s1-4e912b7c61&benign=0")
    page.get_by_role("button", name=re.compile(r"Measure \(\d+\)")).click()
    wait_for_charts(page, 3)
    for heading in ("Loss around the minimum", "Curvature", "The numbers"):
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"n = \d+")).first).to_be_visible(timeout=WAIT)


def test_a_restarted_server_finds_the_run(page, server):
    run_id = next(
        run["id"]
        for run in server.get("runs")
        if run["source"] == "user" and run["kind"] == "purify"
    )
    server.kill_web_server()
    server.start()
    visit(page, server, f"lab?run={run_id}")  # the first page that this server shows is a deep link
    expect(page.get_by_role("link", name="Geometry", exact=True)).to_be_visible()
    expect(page.get_by_text("Finished").first).to_be_visible(timeout=WAIT)
    wait_for_charts(page, 1)


def test_a_sweep_from_its_form_to_its_picture(page, server):
    sweep = Draft(
        attacks=("badnets",), defenses=("sgd",), seeds="0, 1", more={"lanes.0.steps": "2"}
    )
    visit(page, server, f"sweeps?build={quote(json.dumps(sweep.sweep().to_json()))}")
    page.get_by_role("button", name="Start 2 runs").click()
    expect(page.get_by_role("button", name="Cancel all")).to_be_visible(timeout=WAIT)
    page.wait_for_url(re.compile(r"sweep=sweep-"), timeout=WAIT)
    expect(page.get_by_text("3 of 3 runs done")).to_be_visible(timeout=2 * WAIT)
    wait_for_charts(page, 1)
    expect(page.get_by_text("n = 2 purifications").first).to_be_visible(timeout=WAIT)


# What reaches beyond the right edge of the page, outside of what scrolls for itself. The inputs of
# sliders are there for screen readers only, clipped to nothing.
SIDEWAYS = """() => [...document.querySelectorAll('[data-testid=stMain] *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1
        && getComputedStyle(e).position !== 'fixed'
        && getComputedStyle(e.parentElement).clipPath !== 'inset(50%)'
        && !e.closest('[data-testid=stDataFrame], [data-testid=stTable], ' +
          '.js-plotly-plot, .katex, pre'))
    .map(e => e.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("look", ["light", "dark-phone"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_of_ours_and_nothing_reaches_beyond_the_edge(browser, server, path, look):
    """By day on a desk, by night on a phone: colors do not depend on the width."""
    scheme, width, height = LOOKS[look]
    size = {"width": width, "height": height}
    with browser.new_context(color_scheme=scheme, viewport=size) as context:
        page = context.new_page()
        visit(page, server, path)
        if path == "":  # the other pages have no chart before something was chosen or measured
            wait_for_charts(page, 1)
        page.locator(SETTLED).wait_for(timeout=WAIT)
        found = Axe().run(page).response["violations"]
        # what is drawn after the script has ended says nothing when it is in place
        page.wait_for_timeout(1000)
        with contextlib.suppress(TimeoutError):
            page.wait_for_function(f"() => !({SIDEWAYS})().length", timeout=20_000)
        assert not page.evaluate(SIDEWAYS)
    ours = {
        rule["id"]: [node["html"][:200] for node in rule["nodes"][:3]]
        for rule in found
        if rule["id"] not in FRAMEWORK
    }
    assert not ours, json.dumps(ours, indent=1)
