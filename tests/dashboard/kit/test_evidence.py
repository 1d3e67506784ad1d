"""Evidence that ships: read when it is there, and again when it has changed."""

from __future__ import annotations

import os

from dashboard.kit.evidence import evidence


def test_evidence_is_read_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.setattr("ngf.places.ASSETS", tmp_path)
    assert evidence("runs/some-model") is None
    path = tmp_path / "evidence" / "runs" / "some-model.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"points": []}', encoding="utf-8")
    assert evidence("runs/some-model") == {"points": []}
    path.write_text('{"points": [1]}', encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert evidence("runs/some-model") == {"points": [1]}
