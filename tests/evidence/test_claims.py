"""The claims: decided by numbers, published as they are decided."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import evidence
from evidence import claims, removal_claims
from evidence.shipped import SHARPNESS, SUMMARY, read
from tests.helpers.made_up_sharpness import sharpness


def test_the_shipped_summary_is_what_its_files_say() -> None:
    assert claims.missing() == []


def test_no_claim_is_made_with_the_dashboard() -> None:
    for path in Path(evidence.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("dashboard")], path


def test_claims_are_in_the_order_of_the_paper(monkeypatch, tmp_path) -> None:
    path = tmp_path / "sharpness.json"
    monkeypatch.setattr(claims, "SHARPNESS", path)
    removal = {"claim": "It removes.", "verdict": "Supported", "short": "", "sentence": ""}
    monkeypatch.setattr(removal_claims, "claims", lambda: [removal])
    assert claims.summary() == {"claims": [removal]}, "nothing was measured of the others"
    path.write_text(json.dumps(sharpness()), encoding="utf-8")
    told = [item["claim"] for item in claims.summary()["claims"]]
    assert told == [
        "A backdoored network sits in a sharper minimum than a benign one (largest Hessian "
        "eigenvalue).",
        "A backdoored network sits in a sharper minimum than a benign one (trace of the Hessian).",
        "It removes.",
        "The purified network sits in a smoother minimum (largest Hessian eigenvalue).",
    ]


def test_published_verdicts_have_their_numbers() -> None:
    """Looked up again, in another way than the claims do."""
    overall = [row for row in read(SHARPNESS)["effects"] if row["attack"] == "all"]
    for item in read(SUMMARY)["claims"]:
        assert item["verdict"] and item["short"] and item["sentence"]
        if "sharper minimum" not in item["claim"] or "Hessian" not in item["claim"]:
            continue
        measure = "lambda_max" if "eigenvalue" in item["claim"] else "fisher_trace"
        for row in overall:
            at = (row["data"], row["images"], row["question"], row["measure"])
            if at == ("signs", "train", "backdoored", measure) and row["compared"] != "direct":
                assert f"{row['ratio']:.2f} times" in item["short"]
                assert f"{row['low']:.2f} to {row['high']:.2f}" in item["short"]
