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
from evidence.shipped import GEOMETRY_TABLE, REMOVAL, RUNS, SUMMARY, read, read_all


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


def removal(attack: str, **asr: list[float]) -> list[dict[str, Any]]:
    """Models of one attack; clean accuracy falls by a point with every method."""
    return [
        {
            "attack": attack,
            "seed": seed,
            "before": {"ca": 0.99, "asr": 1.0},
            "after": {method: {"ca": 0.98, "asr": of[seed]} for method, of in asr.items()},
        }
        for seed in range(len(asr["ngf"]))
    ]


def methods(**asr: float) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows of BadNets: attack success rate after each method, else 0.5."""
    names = ("before", claims.AUTO, claims.LAST, claims.BY_RULE, *claims.RIVALS)
    return {
        name: {"badnets": {key: interval([asr.get(name[5:9], 0.5)] * 3) for key in ("ca", "asr")}}
        for name in names
    }


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


def test_curvature_of_different_numbers_of_images_makes_no_table() -> None:
    runs = [{"results": {"ngf": {"curvature": {"n": 512}}, "sgd": {}}}]
    assert claims.num_curvature_images(runs, {"badnets": [{"n": 512}]}) == 512
    with pytest.raises(Failed, match=r"\[256, 512\] images"):
        claims.num_curvature_images(runs, {"badnets": [{"n": 256}]})


def test_removed_is_ten_percent_or_less_with_every_seed() -> None:
    def decided(*rows: list[dict[str, Any]]) -> tuple[str, str]:
        every = [row for of in rows for row in of]
        claim = claims.one_layer_tuned_by_ngf_removes_the_backdoor(methods(), every)
        return claim["verdict"], claim["short"]

    gone, some, none = (
        removal("badnets", ngf=[0.1, 0.02]),
        removal("blend", ngf=[0.11, 0.02]),
        removal("wanet", ngf=[0.2, 0.3]),
    )
    assert decided(gone) == (
        "Supported",
        "With the Lab's defaults, the attack success rate falls to 10 % or less with every seed "
        "for 1 of 1 attacks, with some seeds for 0, with none for 0; clean accuracy falls by at "
        "most 1.0 points.",
    )
    assert decided(gone, some, none)[0] == "Supported in part"
    assert (
        "for 1 of 3 attacks, with some seeds for 1, with none for 1;"
        in decided(gone, some, none)[1]
    )
    assert decided(some, none)[0] == "Not supported"


def test_the_last_layer_is_judged_by_its_mean() -> None:
    decide = claims.the_layer_to_tune_is_the_last_one
    assert decide(methods(last=0.05))["verdict"] == "Supported"
    claim = decide(methods(last=0.9, auto=0.05))
    assert claim["verdict"] == "Not supported"
    assert claim["short"].endswith("BadNets: 90 % and 5 % (means).")


def test_better_is_least_left_on_every_model() -> None:
    ngf = removal("badnets", ngf=[0.1, 0.2], sgd=[0.2, 0.3], adam=[0.5, 0.3])
    sgd = removal("blend", ngf=[0.1, 0.2], sgd=[0.0, 0.1], adam=[0.5, 0.3])
    mixed = removal("wanet", ngf=[0.1, 0.2], sgd=[0.0, 0.3], adam=[0.5, 0.3])
    claim = claims.ngf_does_better_than_sgd_and_adam(methods(), ngf + sgd + mixed)
    assert claim["verdict"] == "Supported in part"
    assert claim["short"] == (
        "With the Lab's defaults, NGF leaves the lowest attack success rate with every seed for 1 "
        "of 3 attacks, SGD for 1, Adam for 0; for 1 it depends on the seed."
    )
    assert (
        "NGF with every seed: BadNets; SGD with every seed: Blend; by seed: WaNet."
        in (claim["sentence"])
    )
    assert claims.ngf_does_better_than_sgd_and_adam(methods(), ngf)["verdict"] == "Supported"
    assert claims.ngf_does_better_than_sgd_and_adam(methods(), sgd)["verdict"] == "Not supported"


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
    left: dict[str, list[float]] = {}
    for row in read(REMOVAL)["rows"]:
        left.setdefault(row["attack"], []).append(row["after"]["ngf"]["asr"])
    every = sum(max(values) <= 0.1 for values in left.values())
    none = sum(min(values) > 0.1 for values in left.values())
    claim = found["Natural gradient fine-tuning of one layer removes the backdoor at little cost."]
    assert f"with every seed for {every} of {len(left)} attacks" in claim["short"]
    assert f"with none for {none};" in claim["short"]


def test_the_table_is_of_every_model_of_the_default_network() -> None:
    found, runs = read(SUMMARY), read_all(RUNS)
    small = [run for run in runs if run["model"] == "preact_resnet_tiny"]
    assert len(found["layers"]) == len(runs)
    for row in found["table"]:
        mine = [run for run in small if run["attack"] == row["attack"]]
        assert row["asr"]["n"] == len(mine) == 3
        if row["method"] != "before":
            values = [run["results"][row["method"]]["whole"]["asr"] for run in mine]
            assert row["asr"]["values"] == values


@pytest.mark.parametrize("name", ["RUNS", "GEOMETRY_TABLE", "REMOVAL"])
def test_what_is_not_measured_yet_is_named(monkeypatch, tmp_path, name: str) -> None:
    monkeypatch.setattr(claims, name, tmp_path / "gone")
    with pytest.raises(Failed, match="yet: python -m evidence "):
        claims.summary()
