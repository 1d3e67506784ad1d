"""The painter: what a browser may send, and painting in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from dashboard.components.painter import pixels_of
from tests.helpers.browser import WAIT, visit


@pytest.mark.parametrize(
    "sent",
    [
        None,
        3,
        "x",
        {},
        {"height": 2, "width": 2, "pixels": "00" * 15},
        {"height": 17, "width": 1, "pixels": "00" * 68},
        {"height": -1, "width": 1},
        {"height": 1, "width": 1, "pixels": "zz00zz00"},
        {"height": True, "width": 1},
        {"height": 1, "width": 1, "pixels": "00 00 00"},
        {"height": 1, "width": 1, "pixels": []},
    ],
)
def test_what_a_browser_sends_is_a_drawing_or_nothing(sent):
    assert pixels_of(sent) is None
    good = pixels_of({"height": 1, "width": 2, "pixels": "ff000080" + "00000000"})
    assert good.tolist() == [[[255, 0, 0, 128], [0, 0, 0, 0]]]


# ---- in a real browser

PICTURE = "() => document.querySelectorAll('.ngf-pictures img')[1]?.src"
CELL = "[role=gridcell]"


def painted_then_measured(page, act) -> None:
    """After `act`, another picture appears, and then what the model says to it."""
    before = page.evaluate(PICTURE)
    act()
    page.wait_for_function(
        "before => document.querySelectorAll('.ngf-pictures img')[1]?.src !== before",
        arg=before,
        timeout=WAIT,
    )
    page.wait_for_function(
        """() => { const said = [...document.querySelectorAll('.ngf-pictures span')]
        return said.length === 24 && said.every(s => /^[✓▲✗] /.test(s.innerText)) }""",
        timeout=WAIT,
    )
    expect(page.get_by_text("Measured: attack success")).to_be_visible(timeout=WAIT)


def test_painting_changes_the_pictures_and_the_numbers(page, server):
    visit(page, server, "studio")
    cells = page.locator(CELL)
    expect(cells).to_have_count(25, timeout=WAIT)
    painted_then_measured(page, lambda: cells.nth(0).click())
    assert "drawing=" in page.url
    expect(cells.nth(0)).to_have_attribute("aria-label", "row 1, column 1: magenta")

    page.get_by_role("button", name="Color black").click()
    cells.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    painted_then_measured(page, lambda: page.keyboard.press("Space"))
    expect(cells.nth(6)).to_have_attribute("aria-label", "row 2, column 2: black")
    expect(cells.nth(6)).to_be_focused()

    box = page.locator(".ngf-grid").bounding_box()

    def drag() -> None:
        page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"], steps=12)
        page.mouse.up()

    painted_then_measured(page, drag)
    for column in range(5):
        expect(cells.nth(20 + column)).to_have_attribute(
            "aria-label", f"row 5, column {column + 1}: black"
        )
    page.get_by_role("button", name="Undo").click()
    expect(cells.nth(20)).to_have_attribute("aria-label", "row 5, column 1: empty")
    address = page.url
    page.wait_for_function("before => location.href !== before", arg=address, timeout=WAIT)
    page.reload()
    expect(cells.nth(6)).to_have_attribute("aria-label", "row 2, column 2: black", timeout=WAIT)


def test_a_finger_paints(browser, server):
    with browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as context:
        page = context.new_page()
        visit(page, server, "studio")
        expect(page.locator(CELL)).to_have_count(25, timeout=WAIT)
        page.locator(CELL).nth(24).tap()
        expect(page.locator(CELL).nth(24)).to_have_attribute(
            "aria-label", "row 5, column 5: magenta"
        )
