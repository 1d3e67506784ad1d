"""`ngf import` from the words to a run, by the command that a person types, in this process."""

from __future__ import annotations

import json

import pytest
import torch

from ngf.__main__ import main
from ngf.config import PurifySpec
from ngf.models import build
from ngf.runs.child import execute
from ngf.runs.from_text import lanes_from_text
from ngf.runs.store import Store, TrainRun
from ngf.runs.submit import submit
from tests.helpers.brought import poisoned_npz, signs_zip, zoo_weights


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """A model in half precision, wrapped as training code saves it, and a zip of images."""
    folder = tmp_path_factory.mktemp("brought")
    state = {f"module.{name}": value for name, value in zoo_weights().items()}
    state = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "model.pth")
    return folder / "model.pth", signs_zip(folder / "signs.zip"), poisoned_npz(folder / "p.npz")


@pytest.fixture(scope="module")
def imported(brought, tmp_path_factory):
    """The store with the import, and what the command said."""
    root, patch = tmp_path_factory.mktemp("imported"), pytest.MonkeyPatch()
    patch.setenv("NGF_RUNS", str(root / "runs"))
    patch.setenv("NGF_DATA", str(root / "data"))
    model, images, poisoned = brought
    words = ["import", str(model), "--images", str(images), "--poisoned", str(poisoned)]
    yield Store(root / "runs"), lambda *more: main([*words, "--json", *more])
    patch.undo()


def answer(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_model_becomes_a_run_that_all_else_takes_for_one(imported, capsys, one_thread, tmp_path):
    store, call = imported
    assert call("--look") == 0
    seen = answer(capsys)
    assert (
        seen["status"] == "looked"
        and seen["questions"] == []
        and not store.runs()[0].id.startswith("mine")
    )
    assert seen["network"]["name"] == "preact_resnet_tiny"
    assert seen["classes"]["by_name"] and seen["classes"]["agreement"] > 0.9
    assert call() == 0
    said = answer(capsys)
    run = store.get(said["id"])
    assert isinstance(run, TrainRun) and run.status == "done"
    assert run.result["n_clean"] == said["pools"]["test"] == 15 and said["pools"]["holdout"] == 45
    assert said["asr"] > 0.9, "measured on the triggered images that came along"
    assert call() == 0 and answer(capsys)["id"] == said["id"], "the same import is the same run"
    race = submit(
        PurifySpec(parent=run.id, lanes=lanes_from_text(["sgd"], ["steps=2"]), num_clean=45), store
    )
    assert execute(race) == "done", race.error
    assert race.result["lanes"]["sgd"]["after"]["n_triggered"] == run.result["n_triggered"]
    words = ["export", race.id, "--lane", "sgd", "--format", "original", "--to", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    (path,) = answer(capsys)["files"]
    assert path.endswith(f"{race.id}.sgd.original.pt")
    back = torch.load(path, weights_only=True)["state_dict"]
    assert {value.dtype for value in back.values()} == {torch.float16, torch.int64}
    network = build("preact_resnet_tiny", 12).half()
    network.load_state_dict({n.removeprefix("module."): v for n, v in back.items()}, strict=True)
    store.delete(run.id)
    assert store.find(race.id) is None, "nothing of it stays"
    assert not any((store.root.parent / "data" / "imports").iterdir())


def test_what_is_not_clear_is_asked_and_nothing_is_imported(imported, capsys, one_thread):
    store, call = imported
    before = len(store.runs())
    assert call("--expect", "100.5") == 2
    said = answer(capsys)
    assert said["status"] == "asked" and len(store.runs()) == before
    assert [one["option"] for one in said["questions"]] == ["expect"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nothing"], "no network 'nothing'"),
        (["--model", "torchvision.resnet18"], "The nearest is resnet18"),
        (["--size", "4"], "Allowed: 8 to 512"),
        (["--measure", "1"], "Allowed: 0.1 to 0.9"),
        (["--classes", "/none"], "cannot be read"),
        (["--images", "nowhere"], "no file, folder or data set nowhere"),
    ],
)
def test_a_refusal_says_what_is_allowed(imported, capsys, words, message, one_thread):
    _, call = imported
    assert call(*words) == 2
    assert message in answer(capsys)["error"]["message"]
