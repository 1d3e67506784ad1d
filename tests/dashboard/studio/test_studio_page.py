"""The page of the trigger studio."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dashboard.kit.trigger import readable
from dashboard.studio import probing
from dashboard.studio.results import Trial, composed
from ngf.attacks.drawn import HEART, Drawn
from ngf.attacks.shared.drawing import decode, encode
from ngf.catalogue import catalogue
from ngf.config import Choice, TrainSpec
from ngf.data import to_float
from ngf.runs.child import execute
from ngf.runs.store import MeasureRun
from tests.helpers.drawings import picture, random_drawing
from tests.helpers.pages import button, checked, text


def probes(where) -> list[MeasureRun]:
    return [run for run in where.runs() if run.source == "user" and isinstance(run, MeasureRun)]


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
    place = {"row": 5, "column": 9, "scale": 2, "alpha": 37}
    found = composed(clean, Trial("", pixels, place, [], gray))
    assert np.abs(found - expected).max() < 0.51  # rounded to whole numbers


def test_the_studio_opens_on_an_empty_store(open_page, empty):
    page = open_page("studio")
    assert "There is no trained model yet" in text(page)
    assert button(page, "studio.train")


def test_the_studio_opens_on_the_zoo_and_measures_nothing_by_itself(open_page, store):
    page = open_page("studio", drawing=HEART, row="3", alpha="50")
    assert not page.error
    assert "press Measure, to see what the model makes of it" in text(page)
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


def test_the_first_drawing_opens_the_first_model_at_once(open_page, store):
    page = open_page("studio")
    said = text(page)
    assert "*Measured*: attack success rate [9" in said, "what ships was measured on this model"
    assert not [item for item in page.button if item.key == "studio.measure"]
    assert probes(store) == []


def test_a_change_is_measured_once_and_earlier_probes_go(open_page, store):
    page = open_page("studio", target="2")
    checked(button(page, "studio.measure").click().run())
    (first,) = probes(store)
    assert first.status == "queued"
    attack = json.loads(first.spec.measurement.options["attack"])
    assert attack == {"name": "drawn", "target": 2}, "defaults are left out"
    for row in range(8):
        checked(page.slider(key="studio.row").set_value(row).run())
    assert store.find(first.id) is None or first.status in ("cancelled", "queued")
    left = probes(store)
    assert sum(run.status == "queued" for run in left) == 1, "only the last one is waited for"
    assert len(left) <= probing.KEPT + 2
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
    assert shown["Attack success rate"] == f"{100 * values['asr']:.1f} %"
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
    assert "The picture cannot be used: not an image." in text(page)
    moving, frames = io.BytesIO(), [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    checked(page.file_uploader[0].upload("x.gif", moving.getvalue(), "image/gif").run())
    assert "holds several pictures; this is the first" in text(page)
    checked(page.file_uploader[0].upload("x.png", picture((8, 8)), "image/png").run())
    assert "holds several pictures" not in text(page)


def test_a_drawing_that_leaves_images_as_they_are_is_told_before_anything_is_measured(
    open_page, store
):
    faint = encode(np.full((3, 3, 4), 1, np.uint8))
    page = open_page("studio", drawing=faint, alpha="50")
    (said,) = [item.value for item in page.warning]
    assert "This trigger changes 0 of 3,072 values in 8 bits" in said and "its opacity" in said
    page = open_page("studio", drawing=faint, alpha="20")
    assert "changes a value by 0.2 of 255 at most" in text(page)
    assert not [item for item in page.button if item.key in ("studio.train", "studio.measure")]
    assert [run for run in store.runs() if run.source == "user"] == []
    assert not open_page("studio").warning
