"""What the whole zoo says, at the end of the Geometry page."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from tests.helpers.made_up_sharpness import sharpness
from tests.helpers.pages import checked, text

SECTION = """
from dashboard.geometry.evidence import show_evidence
show_evidence()
"""


@pytest.fixture
def section(tmp_path, monkeypatch):
    """The section over a table of sharpness in the place of the one that ships."""
    folder = tmp_path / "assets" / "evidence"
    folder.mkdir(parents=True)
    monkeypatch.setattr("ngf.places.ASSETS", tmp_path / "assets")

    def shown(found) -> AppTest:
        (folder / "sharpness.json").write_text(json.dumps(found), encoding="utf-8")
        return checked(AppTest.from_string(SECTION, default_timeout=120).run())

    return shown


def test_it_compares_as_they_are_and_at_equal_loss(section):
    page = section(sharpness())
    shown = text(page)
    assert "4 backdoored models of 2 attacks, 3 benign ones and 6 states on the way" in shown
    assert "4 models purified with 5 seeds each" in shown
    assert page.selectbox(key="evidence.measure").options == [
        "Largest Hessian eigenvalue",
        "Trace of the Hessian",
    ]
    tables = [frame.value for frame in page.dataframe]
    measures = next(table for table in tables if "Goes with the loss" in table)
    first = measures.iloc[0]
    assert first["Backdoored / benign"] == "1.50 (1.25 to 1.80)"
    assert first["At the same clean loss"] == "1.10 (0.92 to 1.32)"
    assert first["Goes with the loss"] == "85 % (60 to 110)"
    assert first["After NGF / before"] == "0.70 (0.58 to 0.84)"
    methods = next(table for table in tables if "Method" in table)
    assert methods["Method"].tolist() == ["NGF", "SGD"]
    assert "A first step to a detector, and not one." in shown
    checked(page.selectbox(key="evidence.measure").set_value("fisher_trace").run())


def test_few_models_are_shown_without_comparison(section):
    nothing = dict.fromkeys(("purified", "along", "effects", "shares", "detectors"), [])
    page = section(sharpness() | nothing | {"models": sharpness()["models"][:1]})
    assert "0 backdoored models of 0 attacks, 1 benign ones" in text(page)
    assert "Could sharpness find a backdoor?" not in text(page)


def test_nothing_is_shown_where_nothing_is(section):
    assert "All models of the zoo" not in text(section(sharpness() | {"models": []}))
