"""Products by name: what there is of a run now, how its files are called, what is refused."""

from __future__ import annotations

import json
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from ngf.__main__ import main
from ngf.export.products import PRODUCTS, available, file_name, product, take
from ngf.options import SpecError
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path / "runs", TRAIN, epoch_events(), done=True)
    write_run(tmp_path / "runs", RACE, race_events(40))
    return Store()


def test_what_there_is_of_a_run():
    run = Store().get(RECORDED)
    whole = [name for name, one in PRODUCTS.items() if not one.of_lanes]
    assert set(available(run)) == {
        *((name, "") for name in whole),
        *((name, lane) for name in ("safetensors", "pt") for lane in ("ngf", "sgd")),
    }
    assert file_name("pt", run, "sgd") == f"{RECORDED}.sgd.pt"
    assert file_name("zip", run) == f"{RECORDED}.zip"
    with take("safetensors", run, "sgd") as file:
        assert file.read() == (run.path / "purified.sgd.safetensors").read_bytes()


def test_a_run_in_progress_is_partial_in_every_file(store):
    run = store.get(RACE.id)
    assert {name for name, _ in available(run)} == {
        name for name, one in PRODUCTS.items() if not one.of_lanes
    }
    for name, lane in available(run):
        assert ".partial." in file_name(name, run, lane)
        with take(name, run, lane) as file:
            if name == "zip":
                with zipfile.ZipFile(file) as archive:
                    text = archive.read(f"{run.id}/README.txt").decode()
            else:
                text = file.read().decode()
        assert "partial" in text.lower(), name


def test_what_cannot_be_taken_is_told(store):
    with pytest.raises(SpecError, match="no product 'pdf'. Allowed: report, zip"):
        product("pdf")
    with pytest.raises(SpecError, match="purified.ngf.safetensors: it is queued"):
        take("pt", store.get(RACE.id), "ngf")
    with pytest.raises(SpecError, match="leave the lane"):
        take("zip", store.get(RACE.id), "ngf")


def test_the_command_writes_them(store, tmp_path, capsys):
    folder = tmp_path / "out"
    words = ["export", f"{RECORDED}:ngf", "--to", str(folder), "--json"]
    assert main([*words, "--what", "pt", "--what", "latex", "--what", "safetensors"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [path.name for path in sorted(folder.iterdir())] == [
        f"{RECORDED}.ngf.pt",
        f"{RECORDED}.ngf.safetensors",
        f"{RECORDED}.tex",
    ]
    assert sorted(files) == sorted(str(path) for path in folder.iterdir())
    found = torch.load(folder / f"{RECORDED}.ngf.pt", weights_only=True)
    wanted = load_file(folder / f"{RECORDED}.ngf.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_command_refuses_in_words(store, tmp_path, capsys):
    assert main(["export", RACE.id, "--to", str(tmp_path), "--what", "pt"]) == 2
    assert "There are no weights yet" in capsys.readouterr().err
    assert main(["export", RACE.id, "--to", str(tmp_path), "--what", "pdf"]) == 2
    assert main(["export", f"{RECORDED}:adam", "--to", str(tmp_path)]) == 2
    assert main(["export", "nobody", "--to", str(tmp_path)]) == 3
    assert main(["export", RACE.id, "--to", str(tmp_path), "--what", "command"]) == 0
    assert "partial" in capsys.readouterr().err
