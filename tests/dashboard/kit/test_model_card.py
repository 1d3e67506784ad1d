"""What the Lab and the command line show of each network, and the layers that they offer."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from ngf.__main__ import OK, main
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.defenses.fine_tuning.options import LAYER_WORDS
from ngf.models import MODELS
from ngf.options import SpecError
from ngf.runs.store import Store
from ngf.runs.submit import checked
from tests.helpers.run_folders import write_run


def opened(page, name: str) -> AppTest:
    shown = AppTest.from_function(page, args=(name,), default_timeout=120).run()
    assert not shown.exception, shown.exception[0].stack_trace
    return shown


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_a_card(name):
    def page(name):
        from dashboard.kit.model_card import model_card

        model_card(name, "card")

    about, shown = catalogue()["models"][name], opened(page, name)
    (card,) = shown.expander
    assert (
        card.label
        == f"{about['num_parameters']:,} parameters, {len(about['layers'])} layers to tune"
    )
    words = shown.markdown[0].value
    assert f"{about['num_features']:,}, from `{about['features']}`" in words
    assert f"`{about['classifier']}`" in words
    assert ("Small images" in words) == bool(about["small"])
    (table,) = shown.dataframe
    assert list(table.value["Layer"]) == about["layers"]
    assert list(table.value["What it is"]) == about["kinds"]


def test_a_network_that_is_gone_has_no_card():
    def page(name):
        from dashboard.kit.model_card import model_card

        model_card(name, "card")

    assert not opened(page, "no_such_network").expander


def test_kinds_of_layers_are_told_apart():
    def kinds(name):
        about = catalogue()["models"][name]
        return dict(zip(about["layers"], about["kinds"], strict=True))

    assert (
        kinds("mobilenet_v2")["features.2.conv.1.0"] == "depthwise convolution 3x3 of 96 channels"
    )
    assert kinds("efficientnet_b0")["features.2.0.block.2.fc1"] == "convolution 1x1, 96 to 4"
    assert kinds("vit_tiny")["block1.q"] == "linear, 128 to 128"
    assert kinds("vit_tiny")["embed"] == "linear, 48 to 128"
    assert kinds("vit_tiny")["norm"] == "LayerNorm of 128 channels"
    assert kinds("resnet18")["conv1"] == "convolution 3x3, 3 to 64"


@pytest.mark.parametrize("name", MODELS)
def test_the_form_of_a_purification_offers_its_layers(name, tmp_path):
    def page(name):
        from dashboard.kit import forms
        from ngf.catalogue import catalogue
        from ngf.config import Choice

        forms.plugin_form("defenses", Choice("ngf"), "lane", catalogue()["models"][name]["layers"])

    layers = catalogue()["models"][name]["layers"]
    box = opened(page, name).selectbox(key="lane.layer")
    assert box.value == "fisher"
    assert box.options[len(LAYER_WORDS) : -1] == layers, "and then several of them"
    store = Store(tmp_path / "runs", tmp_path / "zoo")
    trained = TrainSpec(model=name)
    write_run(store.root, trained, [], done=True)
    wanted = PurifySpec(parent=trained.id, lanes=(Choice("ngf", {"layer": layers[1]}),))
    assert checked(wanted, store).lanes == wanted.lanes
    with pytest.raises(SpecError, match="Unknown layer 'attic'"):
        checked(PurifySpec(parent=trained.id, lanes=(Choice("ngf", {"layer": "attic"}),)), store)


def test_the_command_line_lists_networks(capsys):
    assert main(["models"]) == OK
    shown = capsys.readouterr().out
    for name, about in catalogue()["models"].items():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{name} ")]
        assert f"{about['num_parameters']:,} parameters" in line
    assert "features.2.conv.1.0" in shown
    assert main(["models", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == catalogue()["models"]
