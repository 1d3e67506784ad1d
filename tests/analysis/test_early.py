"""What the door says against measurements before anything starts, and that it is what they
themselves say; tests/ngf/test_command_line.py asks it by the command line.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from analysis.early import check_early, check_layers
from analysis.model_under_test import parameters_of
from ngf import models
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec
from ngf.options import SpecError
from ngf.runs.store import Store
from tests.helpers.imported_runs import import_spec, race_of, write_import


@pytest.mark.parametrize("name", ["preact_resnet_tiny", "vgg_tiny", "vit_tiny", "mobilenet_v2"])
def test_the_layers_are_those_that_can_be_measured(name: str) -> None:
    modules = catalogue()["models"][name]["modules"]
    model = models.build(name, 10, 3)
    for layers in (*modules, ",".join(modules), modules[0].partition(".")[0], f" {modules[-1]} "):
        check_layers(layers, modules)
        assert parameters_of(model, layers)
    check_layers("", modules)
    for layers in ("nosuch", f"{modules[0]},nosuch", modules[0][:-1], f"{modules[0]}.weight"):
        with pytest.raises(SpecError, match="Unknown layer"):
            check_layers(layers, modules)
        with pytest.raises(ValueError, match="Unknown layer"):
            parameters_of(model, layers)
    for layers in (",", f"{modules[0]},", " "):
        with pytest.raises(SpecError, match="empty name"):
            check_layers(layers, modules)


def test_a_purified_model_may_be_measured_as_a_pair(store_of_trained: Store, trained) -> None:
    store = store_of_trained
    race = store.submit(PurifySpec(parent=trained.id, lanes=(Choice("ngf"), Choice("sgd"))))
    for name in ("loss_line", "loss_bend", "along_run", "fisher_trace", "trigger_probe"):
        check_early(Choice(name), race, store)
    for third in (f"{race.id}:sgd", f"{trained.id},{race.id}:ngf"):
        check_early(Choice("loss_plane", {"plane": "models", "third": third}), race, store)
    for third in ("", f"{race.id}:adam", f"{race.id},{race.id},{race.id}"):
        with pytest.raises(SpecError):
            check_early(Choice("loss_plane", {"plane": "models", "third": third}), race, store)
    check_early(Choice("along_run"), trained, store)
    with pytest.raises(SpecError, match="two models"):
        check_early(Choice("loss_line"), trained, store)


def test_a_checkup_takes_clean_images_alone(store_of_trained: Store, trained) -> None:
    check_early(Choice("checkup"), trained, store_of_trained)
    with pytest.raises(SpecError, match="a checkup knows of none"):
        check_early(Choice("checkup", {"data": "triggered_true"}), trained, store_of_trained)


def test_a_yardstick_takes_a_pair_and_clean_images_alone(store_of_trained: Store, trained) -> None:
    store = store_of_trained
    race = store.submit(PurifySpec(parent=trained.id, lanes=(Choice("sgd"),)))
    check_early(Choice("yardstick"), race, store)
    with pytest.raises(SpecError, match="two models"):
        check_early(Choice("yardstick"), trained, store)
    with pytest.raises(SpecError, match="a yardstick knows of none"):
        check_early(Choice("yardstick", {"data": "triggered_true"}), race, store)


def test_a_reactivation_takes_a_purified_model_with_a_trigger(
    store_of_trained: Store, trained
) -> None:
    store = store_of_trained
    race = store.submit(PurifySpec(parent=trained.id, lanes=(Choice("sgd"),)))
    check_early(Choice("reactivation"), race, store)
    with pytest.raises(SpecError, match="is of a purified model"):
        check_early(Choice("reactivation"), trained, store)
    benign = PurifySpec(parent="signs-none-s0-127bd5635e", lanes=(Choice("sgd"),))
    with pytest.raises(SpecError, match="trained without one"):
        check_early(Choice("reactivation"), store.submit(benign), store)
    write_import(store.root, "", import_spec())
    of_import = store.submit(race_of(import_spec().id))
    with pytest.raises(SpecError, match="No picture with the trigger came"):
        check_early(Choice("reactivation"), of_import, store)


def test_no_torch() -> None:
    code = "import sys, analysis.early\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
