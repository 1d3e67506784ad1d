"""The claims: decided by numbers, published as they are decided."""

from __future__ import annotations

import ast
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t

import evidence
from evidence import claims
from evidence.computing import Failed
from evidence.seeds import interval, quantile, rates, spread
from evidence.shipped import GEOMETRY_TABLE, SUMMARY, read


def test_the_shipped_summary_is_what_its_files_say() -> None:
    assert claims.missing() == []


def test_no_claim_is_made_with_the_dashboard() -> None:
    for path in Path(evidence.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("dashboard")], path


# ---- intervals


def test_an_interval_of_twelve_seeds_is_a_t_interval() -> None:
    values = [0.9, 1.0, 1.1, 1.3, 0.7, 1.0, 0.8, 1.2, 1.0, 0.95, 1.05, 1.4]
    found = interval(values)
    low, high = t.interval(
        0.95, 11, loc=statistics.fmean(values), scale=statistics.stdev(values) / math.sqrt(12)
    )
    assert found["mean"] - found["half"] == pytest.approx(low, rel=1e-4)
    assert found["mean"] + found["half"] == pytest.approx(high, rel=1e-4)
    assert (found["n"], found["values"]) == (12, values)


def test_quantiles_are_those_of_printed_tables() -> None:
    printed = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
    assert tuple(quantile(degrees) for degrees in range(1, 10)) == printed


def test_one_seed_has_no_interval() -> None:
    assert interval([3.0]) == {"mean": 3.0, "half": None, "values": [3.0], "n": 1}
    assert (spread([3.2]), rates([0.125, 0.5], " %")) == ("3", "31.2 % (12.5–50.0)")


# ---- verdicts


def geometry(**values: tuple[str, str]) -> dict[str, Any]:
    """Every measure on signs, with the same two verdicts for an attack: sharper, smoother."""
    rows = []
    for measure in claims.MEASURES:
        common = {"data": "signs", "images": "clean", "measure": measure, "n": 3, "mean": 2.0}
        common["values"] = [1.0, 2.0, 3.0]
        rows.append(common | {"attack": "none", "method": "before"})
        for attack, (sharper, smoother) in values.items():
            before = {"attack": attack, "method": "before", "sharper_than_benign": sharper}
            rows.append(common | before)
            after = {"attack": attack, "method": "ngf", "smoother_than_before": smoother}
            rows.append(common | after)
    return {"rows": rows, "num_images": 2000}


def test_a_verdict_is_of_all_some_or_none() -> None:
    assert claims.verdict([True, True]) == "Supported"
    assert claims.verdict([True, False]) == "Supported in part"
    assert claims.verdict([False, False]) == "Not supported"


@pytest.mark.parametrize(
    ("answers", "verdict", "part"),
    [
        (("yes", "yes"), "Supported", "in 2 of 2 pairs"),
        (("yes", "mixed"), "Supported in part", "in 1 of 2 pairs"),
        (("mixed", "no"), "Not supported", "in 0 of 2 pairs"),
    ],
)
def test_sharper_is_above_every_benign_model(
    answers: tuple[str, str], verdict: str, part: str
) -> None:
    found = geometry(badnets=(answers[0], "no"), blend=(answers[1], "no"))
    for measure in ("lambda_max", "trace"):
        claim = claims.a_backdoored_network_is_sharper(found, measure, "the measure")
        assert claim["verdict"] == verdict and part in claim["short"]
        assert claim["short"].endswith("chance alone would give 1 in 20.")
    claim = claims.a_backdoored_network_is_sharper_whatever_is_rescaled(found)
    assert claim["verdict"] == verdict and "of 2 attacks" in claim["short"]
    assert f"which of {len(claims.INVARIANT)} measures" in claim["short"]


def test_what_is_invariant_is_a_fact_of_the_measure() -> None:
    names = {measure.name for measure in claims.INVARIANT}
    assert names == {name for name, of in claims.MEASURES.items() if of.invariant}
    assert len(names) == 9 and not names & {"lambda_max", "trace", "fisher_trace", "loss"}


@pytest.mark.parametrize(
    ("smoother", "verdict", "counts"),
    [
        ("yes", "Supported", (1, 0)),
        ("no", "Not supported", (0, 1)),
        ("mixed", "Not supported", (0, 0)),
    ],
)
def test_smoother_is_lower_with_every_seed(
    smoother: str, verdict: str, counts: tuple[int, int]
) -> None:
    claim = claims.the_purified_network_is_smoother(geometry(badnets=("yes", smoother)))
    assert claim["verdict"] == verdict
    assert claim["short"] == (
        f"The largest Hessian eigenvalue falls with all three seeds in {counts[0]} of 1 pairs of "
        f"attack and data set and rises with all three in {counts[1]}; chance alone would give 1 "
        "in 8 each."
    )


def test_rows_of_different_numbers_of_seeds_decide_nothing() -> None:
    found = geometry(badnets=("yes", "no"))
    found["rows"][0]["n"] = 4
    with pytest.raises(Failed, match=r"\[3, 4\] seeds"):
        claims.a_backdoored_network_is_sharper(found, "trace", "trace")


# ---- what ships


def test_published_counts_are_those_of_the_files() -> None:
    """Counted again, in another way than the claims count."""
    found = {claim["claim"]: claim for claim in read(SUMMARY)["claims"]}
    rows = read(GEOMETRY_TABLE)["rows"]
    for measure, word in (
        ("lambda_max", "largest Hessian eigenvalue"),
        ("trace", "trace of the Hessian"),
    ):
        above = [
            min(row["values"]) > max(benign["values"])
            for row in rows
            for benign in rows
            if (row["measure"], row["method"], row["images"]) == (measure, "before", "clean")
            and row["attack"] != "none"
            and all(benign[key] == row[key] for key in ("measure", "method", "images", "data"))
            and benign["attack"] == "none"
        ]
        claim = found[f"A backdoored network sits in a sharper minimum than a benign one ({word})."]
        assert f"in {sum(above)} of {len(above)} pairs" in claim["short"]


@pytest.mark.parametrize("name", ["GEOMETRY_TABLE"])
def test_what_is_not_measured_yet_is_named(monkeypatch, tmp_path, name: str) -> None:
    monkeypatch.setattr(claims, name, tmp_path / "gone")
    with pytest.raises(Failed, match="yet: python -m evidence "):
        claims.summary()
