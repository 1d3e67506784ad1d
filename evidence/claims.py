"""The paper's claims, each with a verdict; assets/evidence/summary.json holds them.

Nothing is written here that is not computed from assets/evidence/geometry.json and, for removal
(`removal_claims`), assets/evidence/purification. Each claim is a function whose name
says it; the answer has a short form and a sentence with the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.measures import MEASURES
from evidence import removal_claims
from evidence.computing import Failed
from evidence.methods import short
from evidence.seeds import MIXED, NO, YES, spread
from evidence.shipped import GEOMETRY_TABLE, SUMMARY, as_text, differs, read, write
from ngf.config import TrainSpec, spec_from_json
from ngf.places import ZOO
from ngf.runs.folder import CARD, SPEC

INVARIANT = [measure for measure in MEASURES.values() if measure.invariant]
_IN_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Row = dict[str, Any]
Claim = dict[str, Any]


# ---- cards of the zoo


def cards() -> dict[str, list[Row]]:
    """Cards of the zoo's models on signs, with their seeds, by attack."""
    out: dict[str, list[Row]] = {}
    for path in sorted(ZOO.glob(f"*/{CARD}")):
        spec = spec_from_json(read(path.parent / SPEC))
        if isinstance(spec, TrainSpec) and spec.data == "signs":
            out.setdefault(spec.attack.name, []).append(read(path) | {"seed": spec.seed})
    return out


# ---- the claims


def claims(geometry: Row) -> list[Claim]:
    """All of them. geometry: what `evidence.geometry_table` made."""
    return [
        a_backdoored_network_is_sharper(geometry, "lambda_max", "largest Hessian eigenvalue"),
        a_backdoored_network_is_sharper(geometry, "trace", "trace of the Hessian"),
        a_backdoored_network_is_sharper_whatever_is_rescaled(geometry),
        the_purified_network_is_smoother(geometry),
        *removal_claims.claims(),
    ]


def a_backdoored_network_is_sharper(geometry: Row, measure: str, title: str) -> Claim:
    """Clear-cut only: with three seeds each, overlapping ranges decide nothing.

    Were there no difference, each of the 20 ways to choose 3 of 6 models would be the 3 sharpest
    equally often.
    """
    found, seeds = by_data(geometry, measure, "before"), num_seeds(geometry)
    answers = {
        data: {name: item["sharper_than_benign"] for name, item in attacked(of).items()}
        for data, of in found.items()
    }
    flags = [answer == YES for of in answers.values() for answer in of.values()]
    words = {YES: "above it with every seed", MIXED: "by seed", NO: "below it with every seed"}
    told = ". ".join(
        f"{short('data', data)}: benign {spread(of['none']['values'])}; "
        + in_groups(
            told_of(attacked(of), lambda item: spread(item["values"])), answers[data], words
        )
        for data, of in found.items()
    )
    return {
        "claim": f"A backdoored network sits in a sharper minimum than a benign one ({title}).",
        "verdict": verdict(flags),
        "short": f"{_all_above(seeds)} in {sum(flags)} of {len(flags)} pairs of attack and data "
        f"set; {_chance_of_all_above(seeds)}.",
        "sentence": f"The {title} on {geometry['num_images']:,} clean test images, mean "
        f"(lowest–highest) over {seeds} seeds. {told}.",
    }


def a_backdoored_network_is_sharper_whatever_is_rescaled(geometry: Row) -> Claim:
    """The same question to measures that a rescaling of layers leaves as they are, on signs."""
    found = {
        measure.title: [
            item["sharper_than_benign"] == YES
            for item in attacked(by_data(geometry, measure.name, "before")["signs"]).values()
        ]
        for measure in INVARIANT
    }
    counts, seeds = [sum(flags) for flags in found.values()], num_seeds(geometry)
    (num_attacks,) = {len(flags) for flags in found.values()}
    told = "; ".join(f"{title} {sum(of)} of {len(of)}" for title, of in found.items())
    return {
        "claim": "A backdoored network sits in a sharper minimum than a benign one (measures that "
        "rescaling a layer does not change).",
        "verdict": verdict([flag for flags in found.values() for flag in flags]),
        "short": f"{_all_above(seeds)} for {min(counts)} to {max(counts)} of {num_attacks} attacks "
        f"on traffic signs, depending on which of {len(found)} measures; "
        f"{_chance_of_all_above(seeds)}.",
        "sentence": f"On {geometry['num_images']:,} clean test images, attacks: {told}.",
    }


def the_purified_network_is_smoother(geometry: Row) -> Claim:
    before, after = (by_data(geometry, "lambda_max", method) for method in ("before", "ngf"))
    seeds = num_seeds(geometry)
    answers = {
        data: {attack: item["smoother_than_before"] for attack, item in of.items()}
        for data, of in after.items()
    }
    flat = [answer for of in answers.values() for answer in of.values()]
    words = {YES: "fell with every seed", MIXED: "by seed", NO: "rose with every seed"}
    told = ". ".join(
        f"{short('data', data)}: "
        + in_groups(
            {
                attack: f"{short('attacks', attack)} {before[data][attack]['mean']:.0f} to "
                f"{item['mean']:.0f}"
                for attack, item in of.items()
            },
            answers[data],
            words,
        )
        for data, of in after.items()
    )
    return {
        "claim": "The purified network sits in a smoother minimum.",
        "verdict": verdict([answer == YES for answer in flat]),
        "short": f"The largest Hessian eigenvalue falls with all {_IN_WORDS[seeds]} seeds in "
        f"{flat.count(YES)} of {len(flat)} pairs of attack and data set and rises with all "
        f"{_IN_WORDS[seeds]} in {flat.count(NO)}; chance alone would give 1 in {2**seeds} each.",
        "sentence": f"Largest Hessian eigenvalue on {geometry['num_images']:,} clean test images "
        f"before and after NGF (the Lab's defaults), means over {seeds} seeds. {told}.",
    }


# ---- what claims are decided by


def verdict(flags: Sequence[bool]) -> str:
    return "Supported" if all(flags) else "Supported in part" if any(flags) else "Not supported"


def by_data(geometry: Row, measure: str, method: str) -> dict[str, dict[str, Row]]:
    """Rows of one measure on clean images: data set -> attack -> row; signs first."""
    out: dict[str, dict[str, Row]] = {}
    for item in geometry["rows"]:
        if (item["measure"], item["method"], item["images"]) == (measure, method, "clean"):
            out.setdefault(item["data"], {})[item["attack"]] = item
    return {data: out[data] for data in sorted(out, key=lambda name: name != "signs")}


def attacked(of: Mapping[str, Row]) -> dict[str, Row]:
    return {attack: item for attack, item in of.items() if attack != "none"}


def num_seeds(geometry: Row) -> int:
    """How many seeds every row has. Raises `Failed` when they differ: a verdict by every seed would
    then mean different things.
    """
    found = {item["n"] for item in geometry["rows"]}
    if len(found) != 1:
        raise Failed(
            f"Rows of {GEOMETRY_TABLE.name} have {sorted(found)} seeds; one count is meant."
        )
    return int(found.pop())


# ---- how they are put into words


def told_of(found: Mapping[str, Any], describe: Callable[[Any], str]) -> dict[str, str]:
    """Each attack by its short name, with what is said of it."""
    return {
        attack: f"{short('attacks', attack)} {describe(item)}" for attack, item in found.items()
    }


def in_groups(told: Mapping[str, str], answers: Mapping[str, str], words: Mapping[str, str]) -> str:
    """What is told of each attack, grouped by the answer to a question, which `words` put
    into words.
    """
    groups = {
        answer: [text for attack, text in told.items() if answers[attack] == answer]
        for answer in words
    }
    return "; ".join(
        f"{words[answer]}: {', '.join(texts)}" for answer, texts in groups.items() if texts
    )


def _all_above(seeds: int) -> str:
    number = _IN_WORDS[seeds]
    return f"All {number} backdoored models lie above all {number} benign ones"


def _chance_of_all_above(seeds: int) -> str:
    return f"chance alone would give 1 in {math.comb(2 * seeds, seeds)}"


# ---- the step


def summary() -> dict[str, Any]:
    """What summary.json holds. Raises `Failed` for what was not measured yet."""
    if not GEOMETRY_TABLE.exists():
        raise Failed(f"{GEOMETRY_TABLE} is not there yet: python -m evidence geometry_table")
    return {"claims": claims(read(GEOMETRY_TABLE))}


def missing() -> list[str]:
    """The summary, when it is not what the measured files say."""
    return [SUMMARY.name] if differs(SUMMARY, as_text(summary())) else []


def make(name: str) -> None:
    made = summary()
    write(SUMMARY, made)
    for item in made["claims"]:
        print(f"{name}: {item['claim']} {item['verdict']}.", flush=True)
