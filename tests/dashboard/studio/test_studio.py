"""The trigger studio: drawings as text, the attack `drawn`, the probe of a trigger, uploads,
the page, the painter.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from analysis.measurements.trigger_probe import TriggerProbe, ssim
from dashboard.components.painter import pixels_of
from dashboard.kit.trigger import readable
from dashboard.studio import drawing
from dashboard.studio.upload import drawing_of
from ngf import models
from ngf.attacks.drawn import HEART, Drawn
from ngf.attacks.poison import trigger_test_set
from ngf.attacks.shared.drawing import LONGEST, decode, encode
from ngf.catalogue import build, catalogue
from ngf.config import Choice, TrainSpec
from ngf.data import load, to_float
from ngf.evaluate import TestSet
from ngf.options import SpecError
from ngf.runs.child import execute
from tests.helpers.browser import WAIT, visit
from tests.helpers.pages import button, checked, text


def random_drawing(rng: np.random.Generator, colors: int | None = None) -> np.ndarray:
    """A drawing of random size; what cannot be seen has no color."""
    height, width = rng.integers(1, 17, 2)
    palette = rng.integers(0, 256, (colors or int(rng.integers(1, 60)), 4)).astype(np.uint8)
    pixels = palette[rng.integers(0, len(palette), (height, width))]
    return np.where(pixels[:, :, 3:] > 0, pixels, 0).astype(np.uint8)


# ---- drawings as text


def test_a_drawing_has_one_text_and_the_text_one_drawing():
    rng = np.random.default_rng(0)
    for _ in range(200):
        pixels = random_drawing(rng)
        text_of_it = encode(pixels)
        assert np.array_equal(decode(text_of_it), pixels)
        assert encode(decode(text_of_it)) == text_of_it
        hidden = pixels.copy()
        hidden[hidden[:, :, 3] == 0] = (9, 8, 7, 0)  # a color that nobody sees
        assert encode(hidden) == text_of_it


def test_no_text_is_longer_than_promised():
    pixels = np.random.default_rng(1).integers(1, 256, (16, 16, 4)).astype(np.uint8)
    assert len(encode(pixels)) == LONGEST
    assert np.array_equal(decode(encode(pixels)), pixels)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "A",
        "nonsense!",
        "é",
        HEART[:-2],
        HEART + "AA",
        HEART + "=",
        "A" * 2000,
        HEART.replace("A", "B"),
        "/" + HEART[1:],
        "8f8" + HEART[3:],
    ],
)
def test_a_text_that_is_no_drawing_is_refused_with_a_way_out(broken):
    with pytest.raises(SpecError, match="trigger studio"):
        decode(broken)


def test_a_drawing_out_of_range_is_refused():
    with pytest.raises(SpecError, match="17x3 pixels is out of range. Allowed: 1x1 to 16x16"):
        encode(np.zeros((17, 3, 4), np.uint8))


# ---- the attack


def test_drawn_is_its_formula():
    rng = np.random.default_rng(2)
    pixels = random_drawing(rng)[:6, :5]
    pixels[0, 0] = (10, 200, 30, 128)
    attack = Drawn(drawing=encode(pixels), row=3, column=7, scale=2, alpha=0.6)
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    expected = images.clone()
    for i in range(2 * pixels.shape[0]):
        for j in range(2 * pixels.shape[1]):
            *color, opacity = pixels[i // 2, j // 2].astype(float) / 255
            for c in range(3):
                place = (slice(None), c, 3 + i, 7 + j)
                expected[place] = (1 - 0.6 * opacity) * images[place] + 0.6 * opacity * color[c]
    assert torch.allclose(attack.apply(images), expected, atol=1e-12)


def test_the_same_drawing_is_the_same_run_and_another_one_is_not():
    pixels = decode(HEART).copy()
    specs = [TrainSpec(attack=Choice("drawn", {"drawing": encode(pixels)})) for _ in range(2)]
    pixels[0, 0] = (1, 2, 3, 255)
    other = TrainSpec(attack=Choice("drawn", {"drawing": encode(pixels)}))
    assert specs[0].id == specs[1].id != other.id


def test_drawn_refuses_what_cannot_be_a_trigger():
    with pytest.raises(
        SpecError, match="5x5 pixels at row 30, column 0 does not fit into an image of 32x32"
    ):
        Drawn(row=30, column=0).check(12, (3, 32, 32))
    with pytest.raises(SpecError, match="empty: no pixel of it can be seen"):
        Drawn(drawing=encode(np.zeros((3, 3, 4), np.uint8)))
    with pytest.raises(SpecError, match="2,001 characters. Allowed: 2,000 or fewer"):
        build("attacks", Choice("drawn", {"drawing": "A" * 2001}))
    Drawn().check(10, (1, 28, 28))


# ---- the probe


def slow_ssim(x: torch.Tensor, y: torch.Tensor) -> float:
    """Window by window, as the formula stands. x, y: float64 (H, W)."""
    weights = torch.tensor(
        [math.exp(-((k - 5) ** 2) / 4.5) for k in range(11)], dtype=torch.float64
    )
    weights = torch.outer(weights, weights)
    weights /= weights.sum()
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            m, n = (weights * p).sum(), (weights * q).sum()
            s, t, st = (
                (weights * a).sum() for a in ((p - m) ** 2, (q - n) ** 2, (p - m) * (q - n))
            )
            found.append(
                (2 * m * n + 1e-4) * (2 * st + 9e-4) / ((m * m + n * n + 1e-4) * (s + t + 9e-4))
            )
    return float(torch.stack(found).mean())


def test_ssim_is_its_definition():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(2, 2, 15, 19, dtype=torch.float64, generator=generator)
    y = (x + 0.2 * torch.rand(x.shape, dtype=torch.float64, generator=generator)).clamp(0, 1)
    expected = [np.mean([slow_ssim(x[k, c], y[k, c]) for c in range(2)]) for k in range(2)]
    assert ssim(x, y).tolist() == pytest.approx(expected, abs=1e-12)
    assert ssim(x, x).tolist() == pytest.approx([1, 1], abs=1e-12)


@pytest.fixture(scope="module")
def signs():
    return load("signs").test.take(slice(0, 150))


def test_the_probe_finds_the_rates_of_the_evaluation(signs):
    torch.manual_seed(0)
    model = models.build("preact_resnet_tiny", 12).eval()
    attack = build("attacks", Choice("badnets", {"size": 6}))
    probe = TriggerProbe(attack='{"name": "badnets", "size": 6}')
    *_, last = probe.measure(model, to_float(signs.images), signs.labels, seed=0)
    rates = TestSet(signs, trigger_test_set(signs, attack, 12)).evaluate(model)
    assert (last.values["asr"], last.values["ca"]) == (rates.asr, rates.ca)
    assert last.values["n_triggered"] == rates.n_triggered
    assert [last.values["asr_low"], last.values["asr_high"]] == rates.to_json()["asr_interval"]
    assert (
        last.arrays["called"].sum() == rates.n_triggered
        and last.arrays["called"][1] == rates.target_hits
    )
    assert last.arrays["clean"].shape == last.arrays["residual"].shape == (12, 32, 32, 3)
    assert len(set(last.arrays["labels"].tolist())) == 11, (
        "one of each class that counts before a second of any"
    )


def test_the_probe_measures_the_residual(signs):
    model = models.build("preact_resnet_tiny", 12).eval()
    gray = signs.take(slice(0, 20))
    gray.images.fill_(100)
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (151, 100, 100, 255)  # one number of one pixel, 51 of 255 more
    text_of_it = json.dumps({"name": "drawn", "drawing": encode(pixels)})
    *_, last = TriggerProbe(attack=text_of_it).measure(
        model, to_float(gray.images), gray.labels, seed=0
    )
    assert last.values["linf"] == pytest.approx(0.2, abs=1e-6)
    assert last.values["l2"] == pytest.approx(0.2, abs=1e-6)
    assert 0.9 < last.values["ssim"] < 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attack": "nonsense"}, "attack is not JSON"),
        ({"attack": '{"name": "bad"}'}, "Unknown attack 'bad'. Allowed: "),
        ({"attack": '{"name": "none"}'}, "no trigger before a training"),
        ({"attack": '{"name": "badnets", "size": 99}'}, "out of range"),
        ({"attack": '{"name": "drawn", "row": 31}'}, "does not fit into an image of 32x32"),
        ({"data": "triggered_true"}, "Allowed: clean, train, validation"),
        ({"attack": '{"name": "badnets", "target": 40}'}, "Target class 40 does not exist"),
    ],
)
def test_the_probe_says_what_is_wrong(signs, options, words):
    model = models.build("preact_resnet_tiny", 12)
    with pytest.raises(SpecError, match=words):
        next(TriggerProbe(**options).measure(model, to_float(signs.images), signs.labels, seed=0))


# ---- pictures that are sent


def picture(
    size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", color=(200, 30, 90)
) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (picture((64, 64)), (8, 8, 4)),
        (picture((100, 50), "JPEG"), (4, 8, 4)),
        (picture((3, 900)), (8, 1, 4)),
        (picture((40, 40), "PNG", "RGBA", (1, 2, 3, 0)), (8, 8, 4)),
        (picture((9, 9), "PNG", "L", 77), (8, 8, 4)),
        (picture((1, 1)), (8, 8, 4)),
    ],
)
def test_a_picture_becomes_a_small_drawing(data, shape):
    pixels = drawing_of(data, 8)
    assert pixels.shape == shape and pixels.dtype == np.uint8
    assert np.array_equal(decode(encode(pixels))[:, :, 3], pixels[:, :, 3])


def test_what_cannot_be_seen_does_not_shine_through():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    image.paste((0, 255, 0, 0), (2, 0, 4, 4))
    file = io.BytesIO()
    image.save(file, "PNG")
    assert drawing_of(file.getvalue(), 1)[0, 0].tolist() == [255, 0, 0, 128]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a picture of a known kind"),
        (b"GIF89a" + bytes(100), "Allowed: PNG and JPEG"),
        (picture((20, 20), "BMP"), "Allowed: PNG and JPEG"),
        (picture((300, 300))[:200], "cannot be read"),
        (bomb(2001, 2000), "2001x2000 pixels. Allowed: 4,000,000"),
        (bomb(60_000, 60_000), "pixels|cannot be read"),
        (bomb(100, 100), "cannot be read"),
        (bytes(3 * 2**20), "3.0 MB. Allowed: 2 MB"),
    ],
)
def test_a_picture_that_is_none_or_too_large_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        drawing_of(data, 8)


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


# ---- the page


def probes(where) -> list:
    return [run for run in where.runs() if run.source == "user" and run.spec.kind == "measure"]


@pytest.mark.parametrize("gray", [False, True])
def test_the_page_shows_what_the_attack_does(gray):
    rng = np.random.default_rng(4)
    pixels = random_drawing(rng)[:8, :8]
    clean = rng.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    if gray:
        clean = clean[:, :, :, :1].repeat(3, axis=3)
    attack = Drawn(drawing=encode(pixels), row=5, column=9, scale=2, alpha=0.37)
    images = torch.from_numpy(clean[:, :, :, :1] if gray else clean).permute(0, 3, 1, 2)
    expected = attack.apply(to_float(images)).permute(0, 2, 3, 1).numpy() * 255
    found = drawing.composed(clean, pixels, 5, 9, 2, 0.37, gray)
    assert np.abs(found - expected).max() < 0.51  # rounded to whole numbers


def test_the_studio_opens_on_an_empty_store(open_page, empty):
    page = open_page("studio")
    assert "There is no trained model yet" in text(page)
    assert button(page, "studio.train")


def test_the_studio_opens_on_the_zoo_and_measures_nothing_by_itself(open_page, store):
    page = open_page("studio", drawing=HEART, row="3", alpha="50")
    assert not page.error
    assert "Not measured yet" in text(page)
    assert page.slider(key="studio.row").value == 3
    assert len(page.get("html")) >= 1 and "data:image/png" in page.get("html")[-1].proto.body
    assert probes(store) == [], "a link chooses; it starts nothing"


def test_a_bad_link_to_the_studio_opens_on_defaults(open_page, store):
    page = open_page(
        "studio",
        drawing="<b>",
        row="99999",
        column="x",
        alpha="0",
        model="none-such",
        target="500",
        poison="100",
        bogus="1",
    )
    said = text(page)
    assert "could not be used" in said and "<b>" not in said
    assert page.slider(key="studio.row").value == 27, "as far down as five rows fit"
    assert page.slider(key="studio.alpha").value == 1
    page = open_page("studio", drawing="AAAA")
    assert "is not the text of a drawing" in text(page)
    assert page.session_state["studio.drawing"] == HEART


def test_a_change_is_measured_once_and_earlier_probes_go(open_page, store):
    page = open_page("studio")
    checked(button(page, "studio.measure").click().run())
    (first,) = probes(store)
    assert first.status == "queued"
    attack = json.loads(first.spec.measurement.options["attack"])
    assert attack == {"name": "drawn"}, "defaults are left out"
    for row in range(8):
        checked(page.slider(key="studio.row").set_value(row).run())
    assert first.status in ("cancelled", "queued") or store.find(first.id) is None
    left = probes(store)
    assert sum(run.status == "queued" for run in left) == 1, "only the last one is waited for"
    assert len(left) <= drawing.KEPT + 2
    checked(page.slider(key="studio.poison").set_value(20).run())
    assert len(probes(store)) == len(left), "the poison rate changes no probe"


def test_the_numbers_of_a_probe_are_on_the_page(open_page, store):
    page = open_page("studio", target="2")
    checked(button(page, "studio.measure").click().run())
    (run,) = probes(store)
    assert execute(run) == "done", run.error
    checked(page.run())
    values = run.result["values"]
    shown = {item.label: item.value for item in page.metric}
    assert shown["Attack success"] == f"{100 * values['asr']:.1f} %"
    assert shown["SSIM"] == f"{values['ssim']:.3f}"
    said = text(page)
    assert (
        f"on {values['n_triggered']} triggered test images" in said
        and "95 % Wilson interval" in said
    )
    assert f"“{readable(catalogue()['data']['signs']['classes'][2])}”" in said
    assert page.get("html")[-1].proto.body.count("<figure>") == 12
    assert "✓ " in page.get("html")[-1].proto.body


def test_train_with_it_makes_one_training_and_goes_to_the_lab(open_page, store):
    page = open_page("studio", row="4", poison="5")
    checked(button(page, "studio.train").click().run())
    runs = [run for run in store.runs() if run.source == "user"]
    assert [run.spec for run in runs] == [
        TrainSpec(attack=Choice("drawn", {"row": 4, "poison_rate": 0.05}))
    ]
    assert page.title[0].value == "Lab"
    page = open_page("studio", row="4", poison="5")
    assert not [item for item in page.button if item.key == "studio.train"]


def test_an_empty_drawing_is_neither_measured_nor_trained(open_page, store):
    page = open_page("studio", drawing=encode(np.zeros((3, 3, 4), np.uint8)))
    assert "Paint at least one pixel" in text(page)
    assert not [item for item in page.button if item.key in ("studio.train", "studio.measure")]


def test_the_state_of_the_studio_is_in_its_address(open_page, store):
    page = open_page("studio")
    assert not page.query_params
    checked(page.slider(key="studio.side").set_value(4).run())
    checked(page.slider(key="studio.alpha").set_value(40).run())
    address = {name: page.query_params[name] for name in page.query_params}
    assert set(address) == {"drawing", "alpha"}
    assert np.array_equal(
        decode(
            address["drawing"][0] if isinstance(address["drawing"], list) else address["drawing"]
        ),
        decode(HEART)[:4, :4],
    )
    other = open_page("studio", **address)
    assert other.session_state["studio.drawing"] == page.session_state["studio.drawing"]
    assert other.slider(key="studio.alpha").value == 40
    assert other.slider(key="studio.side").value == 4


def test_a_picture_is_taken_over(open_page, store):
    page = open_page("studio")
    checked(page.file_uploader[0].upload("sticker.png", picture((60, 30)), "image/png").run())
    assert decode(page.session_state["studio.drawing"]).shape == (2, 5, 4)
    checked(page.slider(key="studio.side").set_value(12).run())
    assert decode(page.session_state["studio.drawing"]).shape == (6, 12, 4), (
        "made small anew, not cut"
    )
    checked(page.file_uploader[0].upload("x.png", b"nothing", "image/png").run())
    assert "not a picture of a known kind" in text(page)


# ---- the painter in a real browser

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
