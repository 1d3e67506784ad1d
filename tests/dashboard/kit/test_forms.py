"""Forms made from the catalogue, and the text form of a lane."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.kit import forms
from ngf.catalogue import catalogue
from ngf.config import Choice
from ngf.options import SpecError
from tests.helpers.pages import checked


def test_every_field_of_every_plugin_has_a_widget(store):
    """A new plug-in gets its form without a change to the pages."""

    def script(kind, name):
        import streamlit as st

        from dashboard.kit import forms
        from ngf.config import Choice

        st.session_state["made"] = forms.plugin_form(kind, Choice(name), f"form.{name}", ["stem"])

    for kind in ("attacks", "defenses", "measurements"):
        for name, about in catalogue()[kind].items():
            page = checked(
                AppTest.from_function(script, args=(kind, name), default_timeout=120).run()
            )
            keys = {
                key.split(".", 2)[2]
                for key in page.session_state._state.filtered_state
                if str(key).startswith(f"form.{name}.")
            }
            assert {item["name"] for item in about["fields"]} <= keys
            assert page.session_state["made"] == Choice(name), (
                "a form opens on the plug-in's defaults"
            )


def test_the_text_of_a_lane_goes_both_ways():
    lane = forms.lane_from_text("ngf:steps=50,layer=last")
    assert forms.lane_from_text(forms.lane_to_text(lane)) == lane
    assert lane.options == {"steps": 50, "layer": "last"}
    with pytest.raises(SpecError, match="option=value"):
        forms.lane_from_text("ngf:steps")
    with pytest.raises(SpecError, match="Allowed"):
        forms.lane_from_text("nothing")


def test_every_label_is_that_of_a_field():
    fields = {
        item["name"]
        for kind in ("attacks", "defenses", "measurements")
        for about in catalogue()[kind].values()
        for item in about["fields"]
    }
    assert set(forms.LABELS) <= fields


def test_a_field_that_names_a_layer_offers_its_words_and_the_layers():
    """Whatever the field is called: the catalogue says which fields name a layer."""

    def script():
        import streamlit as st

        from dashboard.kit import forms

        item = {"name": "place", "help": "Where.", "unit": "", "default": "auto"}
        item |= {"type": "str", "ge": None, "le": None, "choices": None}
        st.session_state["named"] = "attic"
        forms.field(item | {"layers": ["first", "auto"]}, "named", "auto", ["stem", "linear"])
        forms.field(item | {"name": "layer"}, "plain", "auto", ["stem", "linear"])

    page = checked(AppTest.from_function(script, default_timeout=120).run())
    (box,), (plain,) = page.selectbox, page.text_input
    assert box.options[:-1] == [forms.LAYER_WORDS["auto"], "first", "stem", "linear", "attic"]
    assert box.options[-1] == "Several layers …"
    assert plain.key == "plain"


def test_several_layers_can_be_chosen_and_come_back_from_a_link():
    def script():
        import streamlit as st

        from dashboard.kit import forms
        from ngf.options import SpecError

        item = {"name": "layer", "help": "Where.", "unit": "", "default": "auto"}
        item |= {"type": "str", "ge": None, "le": None, "choices": None, "layers": ["auto"]}
        try:
            made = forms.field(item, "place", "stem,linear", ["stem", "conv", "linear"])
        except SpecError as error:
            made = error
        st.session_state["made"] = str(made)

    page = checked(AppTest.from_function(script, default_timeout=120).run())
    assert page.session_state["made"] == "stem,linear"
    checked(page.multiselect[0].set_value(["conv", "linear"]).run())
    assert page.session_state["made"] == "conv,linear"
    checked(page.multiselect[0].set_value([]).run())
    assert page.session_state["made"] == "Choose at least one layer to tune."
    checked(page.selectbox[0].set_value("conv").run())
    assert page.session_state["made"] == "conv"
    lane = forms.lane_from_text("ngf:layer=stem,linear,steps=50")
    assert lane.options == {"layer": "stem,linear", "steps": 50}
    assert forms.lane_from_text(forms.lane_to_text(lane)) == lane


def test_every_word_for_a_layer_is_explained():
    words = {
        word
        for about in catalogue()["defenses"].values()
        for item in about["fields"]
        for word in item.get("layers") or ()
    }
    assert words == set(forms.LAYER_WORDS)
