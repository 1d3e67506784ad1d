"""The pictures of a trigger, with what the model says below them."""

from __future__ import annotations

import re

import numpy as np

from dashboard.kit import trigger
from ngf.catalogue import catalogue
from ngf.config import Choice, TrainSpec
from ngf.runs.folder import PREVIEW
from tests.helpers.pages import checked
from tests.helpers.run_folders import write_run


def arrays(says: bool = True) -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    found = {
        "clean": images,
        "triggered": images // 2,
        "residual": 255 - images,
        "labels": np.array(["stop", "yield", "<b>"]),
    }
    return found | (
        {
            "says_clean": np.array(["stop", "stop", "<b>"]),
            "says_triggered": np.array(["no_entry", "yield", "stop"]),
        }
        if says
        else {}
    )


def test_below_each_image_is_what_the_classifier_says():
    html = trigger.pictures(arrays(), ["no_entry"] * 3)
    verdicts = re.findall(r"<span>(.*?)</span>", html)
    assert verdicts == ["✓ stop", "▲ no entry", "✗ stop", "✓ yield", "✓ &lt;b&gt;", "✗ stop"]
    assert html.count("<img") == 9 and "<b>" not in html
    assert 'alt="stop, triggered"' in html
    assert "▲ the attacker’s class" in trigger.legend(arrays())


def test_previews_without_verdicts_have_no_row_for_them():
    html = trigger.pictures(arrays(says=False), [""] * 3, rows=("clean", "triggered"))
    assert html.count("<img") == 6 and "<span>" not in html
    assert "classifier says" not in trigger.legend(arrays(says=False))


def test_the_lab_shows_what_the_model_of_a_training_says(store):
    def script(run_id):
        from dashboard.kit import library
        from dashboard.kit.trigger import show_trigger

        show_trigger(library.find(run_id))

    from streamlit.testing.v1 import AppTest

    for mode, aim in (("all-to-one", "limit_30"), ("all-to-all", "limit_50")):
        spec = TrainSpec(
            attack=Choice("badnets", {"target": 1, "mode": mode} if mode != "all-to-one" else {}),
            seed=77,
        )
        folder = write_run(store.root, spec, [])
        classes = catalogue()["data"]["signs"]["classes"]
        labels = np.array([classes[1], classes[1], classes[1]])
        aims = [classes[1] if mode == "all-to-one" else classes[2]] * 3
        pairs = np.stack([arrays()["clean"], arrays()["triggered"]], axis=1)
        np.savez(
            folder / PREVIEW,
            pairs=pairs,
            labels=labels,
            says_clean=labels,
            says_triggered=np.array([classes[2], classes[1], classes[0]]),
        )
        assert trigger.wanted(store.get(spec.id), labels) == aims
        page = checked(AppTest.from_function(script, args=(spec.id,), default_timeout=120).run())
        said = re.findall(r"<span>(.*?)</span>", page.get("html")[0].proto.body)
        assert said[1::2] == [
            f"{'▲' if mode == 'all-to-all' else '✗'} {trigger.readable(classes[2])}",
            f"✓ {trigger.readable(classes[1])}",
            f"✗ {trigger.readable(classes[0])}",
        ]
        assert aim
