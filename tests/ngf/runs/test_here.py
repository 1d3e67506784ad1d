"""Processes that differ in what no specification tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngf import NUMBERS
from ngf.runs import here as module
from ngf.runs.here import differs, here, remarks


def test_other_data_or_another_device_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "one"))
    monkeypatch.delenv("NGF_DEVICE", raising=False)
    there = here()
    assert differs(there, files=True) == "" and differs({}, files=True) == ""
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "two"))
    assert differs(there, files=False) == ""  # built in: it reads no files
    assert "one" in differs(there, files=True) and "two" in differs(there, files=True)
    monkeypatch.setattr(module, "gpu_names", lambda: ())
    monkeypatch.setattr(module.sys, "platform", "linux")
    there = here()
    monkeypatch.setenv("NGF_DEVICE", "cpu")
    assert differs(there, files=False) == ""  # auto is the processor, where there is nothing else
    monkeypatch.setenv("NGF_DEVICE", "cuda")
    assert "it computes on cpu, this terminal on cuda" in differs(there, files=False)


def test_a_finished_run_of_other_surroundings_is_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGF_DEVICE", raising=False)
    about = {"device": "cuda", "numbers": NUMBERS, "ngf": "0.1.0"}
    assert remarks(about) == remarks({}) == []
    monkeypatch.setenv("NGF_DEVICE", "cpu")
    assert "cuda" in remarks(about)[0]
    monkeypatch.setenv("NGF_DEVICE", "cuda")
    about["numbers"] = NUMBERS + 1
    assert "numbers differ" in remarks(about)[0]
