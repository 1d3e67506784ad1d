"""The paper's claims, each with a verdict; assets/evidence/summary.json holds them with their
table.

Nothing is written here that is not computed from assets/evidence/runs, the cards of the zoo,
assets/evidence/removal.json and assets/evidence/geometry.json. Each claim is a function whose name
says it; the answer has a short form and a sentence with the numbers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from analysis.measures import MEASURES
from evidence.computing import Failed
from evidence.seeds import MIXED, NO, YES, all_at_most, interval, rates, spread
from evidence.shipped import (
    GEOMETRY_TABLE,
    REMOVAL,
    RUNS,
    SUMMARY,
    as_text,
    differs,
    read,
    read_all,
    write,
)
from ngf.catalogue import catalogue
from ngf.config import TrainSpec, spec_from_json
from ngf.places import ZOO
from ngf.runs.folder import CARD, SPEC

GONE = 0.1  # an attack success rate up to which a backdoor counts as removed
AUTO, LAST, BY_RULE = "ngf, auto layer", "ngf, last layer", "ngf, auto layer, rate by rule"
RIVALS = ("sgd, same layer", "sgd, all layers", "adam, all layers")
LAYER_CRITERIA = ("auto layer", "fisher layer", "best layer in hindsight")
INVARIANT = [measure for measure in MEASURES.values() if measure.invariant]
_IN_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Row = dict[str, Any]
Claim = dict[str, str]


# ---- the table of methods


def cards() -> dict[str, list[Row]]:
    """Cards of the zoo's models on signs, with their seeds, by attack."""
    out: dict[str, list[Row]] = {}
    for path in sorted(ZOO.glob(f"*/{CARD}")):
        spec = spec_from_json(read(path.parent / SPEC))
        if isinstance(spec, TrainSpec) and spec.data == "signs":
            out.setdefault(spec.attack.name, []).append(read(path) | {"seed": spec.seed})
    return out


def table(runs: Sequence[Row], measured: Mapping[str, Sequence[Row]]) -> list[Row]:
    """One row per attack and method: CA, ASR, RA over seeds, and curvature where it was measured.

    measured: `cards()`, which have the curvature before.
    """
    rows = []
    for attack in sorted({run["attack"] for run in runs}):
        mine = [run for run in runs if run["attack"] == attack]
        seeds = {run["seed"] for run in mine}
        before = [{"curvature": card} for card in measured[attack] if card["seed"] in seeds]
        rows.append(row(attack, "before", [run["before"] for run in mine], before))
        for method in mine[0]["results"]:
            found = [run["results"][method] for run in mine]
            rows.append(row(attack, method, [item["whole"] for item in found], found))
    return rows


def row(attack: str, method: str, whole: Sequence[Row], found: Sequence[Row]) -> Row:
    """whole: rates on the whole test set; found: layer, rate and curvature, where there are."""
    out = {
        "attack": attack,
        "method": method,
        **{key: interval([rates[key] for rates in whole]) for key in ("ca", "asr", "ra")},
        "layers": [item.get("layer") for item in found],
        "rates": [item.get("lr") for item in found],
    }
    curved = [item["curvature"] for item in found if "curvature" in item]
    if curved:
        out |= {key: interval([item[key] for item in curved]) for key in ("lambda_max", "trace")}
    return out


def layers(runs: Iterable[Row]) -> list[Row]:
    """What each criterion for the layer leads to, one row per model."""

    def result(run: Row, criterion: str) -> Row:
        found = run["results"][f"ngf, {criterion}"]
        return {"layer": found["layer"], "ca": found["whole"]["ca"], "asr": found["whole"]["asr"]}

    return [
        {"model": run["model"], "attack": run["attack"], "seed": run["seed"]}
        | {criterion: result(run, criterion) for criterion in LAYER_CRITERIA}
        for run in runs
    ]


def num_curvature_images(runs: Iterable[Row], measured: Mapping[str, Sequence[Row]]) -> int:
    """On how many images the curvature in the table was measured. Raises `Failed` when it was not
    always the same number.
    """
    found = {card["n"] for of in measured.values() for card in of}
    for run in runs:
        results = run["results"].values()
        found |= {result["curvature"]["n"] for result in results if "curvature" in result}
    if len(found) != 1:
        raise Failed(f"Curvature was measured on {sorted(found)} images; one number is meant.")
    return int(found.pop())


# ---- the claims


def claims(rows: Sequence[Row], geometry: Row, removal: Sequence[Row]) -> list[Claim]:
    """All of them, in the order of the paper.

    rows: `table()`; geometry, removal: what `evidence.geometry_table` and `evidence.removal` made.
    """
    methods: dict[str, dict[str, Row]] = {}
    for item in rows:
        methods.setdefault(item["method"], {})[item["attack"]] = item
    return [
        a_backdoored_network_is_sharper(geometry, "lambda_max", "largest Hessian eigenvalue"),
        a_backdoored_network_is_sharper(geometry, "trace", "trace of the Hessian"),
        a_backdoored_network_is_sharper_whatever_is_rescaled(geometry),
        one_layer_tuned_by_ngf_removes_the_backdoor(methods, removal),
        the_layer_to_tune_is_the_last_one(methods),
        ngf_does_better_than_sgd_and_adam(methods, removal),
        the_purified_network_is_smoother(geometry),
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


def one_layer_tuned_by_ngf_removes_the_backdoor(
    methods: Mapping[str, Mapping[str, Row]], removal: Sequence[Row]
) -> Claim:
    left = {attack: of["ngf"] for attack, of in asr_left(removal).items()}
    answers = {attack: all_at_most(values, GONE) for attack, values in left.items()}
    lost = max(found["before"]["ca"] - found["after"]["ngf"]["ca"] for found in removal)
    bound = f"{100 * GONE:.0f} % or less"
    words = {YES: "with every seed", MIXED: "by seed", NO: "with no seed"}

    def before_and_after(attack: str, rate: str) -> str:
        return " to ".join(
            rates(methods[method][attack][rate]["values"], " %") for method in ("before", AUTO)
        )

    told = each(
        methods[AUTO],
        lambda attack: (
            f"{before_and_after(attack, 'asr')}, clean accuracy {before_and_after(attack, 'ca')}"
        ),
    )
    return {
        "claim": "Natural gradient fine-tuning of one layer removes the backdoor at little cost.",
        "verdict": verdict([answer == YES for answer in answers.values()]),
        "short": f"With the Lab's defaults, the attack success rate falls to {bound} with every "
        f"seed for {count(answers, YES)} of {len(answers)} attacks, with some seeds for "
        f"{count(answers, MIXED)}, with none for {count(answers, NO)}; clean accuracy falls by at "
        f"most {100 * lost:.1f} points.",
        "sentence": "Attack success rate after NGF (fixed rate, layer by Fisher trace), means, "
        f"traffic signs. To {bound} {in_groups(told_of(left, mean_percent), answers, words)}. "
        f"Before and after with the layer chosen by `auto`: {told}.",
    }


def the_layer_to_tune_is_the_last_one(methods: Mapping[str, Mapping[str, Row]]) -> Claim:
    last, auto = (
        {attack: item["asr"]["values"] for attack, item in methods[method].items()}
        for method in (LAST, AUTO)
    )
    means = each(
        last, lambda attack: f"{mean_percent(last[attack])} and {mean_percent(auto[attack])}"
    )
    spread_of_last = each(last, lambda attack: rates(last[attack], " %"))
    spread_of_auto = each(auto, lambda attack: rates(auto[attack], " %"))
    return {
        "claim": "The layer to tune is the last one.",
        "verdict": verdict([statistics.fmean(values) <= GONE for values in last.values()]),
        "short": "Attack success rate after tuning the last layer, and after tuning the one that "
        f"clean images point to: {means} (means).",
        "sentence": f"Attack success rate after tuning the last layer: {spread_of_last}; after "
        f"tuning the layer that clean images point to: {spread_of_auto}.",
    }


def ngf_does_better_than_sgd_and_adam(
    methods: Mapping[str, Mapping[str, Row]], removal: Sequence[Row]
) -> Claim:
    least = {attack: leaves_least(of) for attack, of in asr_left(removal).items()}
    words = {
        "ngf": "NGF with every seed",
        "sgd": "SGD with every seed",
        "adam": "Adam with every seed",
        MIXED: "by seed",
    }
    names = {attack: short("attacks", attack) for attack in least}
    by_rule = each(
        methods[BY_RULE],
        lambda attack: " / ".join(
            rates(methods[method][attack]["asr"]["values"], " %") for method in (BY_RULE, *RIVALS)
        ),
    )
    return {
        "claim": "It does better than fine-tuning with SGD or Adam.",
        "verdict": verdict([winner == "ngf" for winner in least.values()]),
        "short": "With the Lab's defaults, NGF leaves the lowest attack success rate with every "
        f"seed for {count(least, 'ngf')} of {len(least)} attacks, SGD for {count(least, 'sgd')}, "
        f"Adam for {count(least, 'adam')}; for {count(least, MIXED)} it depends on the seed.",
        "sentence": "With the Lab's defaults, traffic signs, least is left by: "
        f"{in_groups(names, least, words)}. With learning rates by one rule on clean images, NGF / "
        f"SGD on the same layer / SGD on all layers / Adam on all layers: {by_rule}.",
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


def asr_left(removal: Iterable[Row]) -> dict[str, dict[str, list[float]]]:
    """Attack success rate that each method leaves: attack -> method -> one value per model, in the
    same order.
    """
    out: dict[str, dict[str, list[float]]] = {}
    for found in removal:
        for method, after in found["after"].items():
            out.setdefault(found["attack"], {}).setdefault(method, []).append(after["asr"])
    return out


def leaves_least(of: Mapping[str, Sequence[float]]) -> str:
    """The method that leaves least on every model; `mixed` if there is none."""
    num_models = len(next(iter(of.values())))
    winners = {min(of, key=lambda method: of[method][k]) for k in range(num_models)}
    return winners.pop() if len(winners) == 1 else MIXED


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


def short(kind: str, name: str) -> str:
    """What people call a plug-in."""
    return str(catalogue()[kind][name]["short"])


def mean_percent(values: Sequence[float]) -> str:
    return f"{100 * statistics.fmean(values):.0f} %"


def each(attacks: Iterable[str], describe: Callable[[str], str]) -> str:
    return "; ".join(f"{short('attacks', attack)}: {describe(attack)}" for attack in attacks)


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


def count(answers: Mapping[str, str], answer: str) -> int:
    return sum(given == answer for given in answers.values())


def _all_above(seeds: int) -> str:
    number = _IN_WORDS[seeds]
    return f"All {number} backdoored models lie above all {number} benign ones"


def _chance_of_all_above(seeds: int) -> str:
    return f"chance alone would give 1 in {math.comb(2 * seeds, seeds)}"


# ---- the step


def summary() -> dict[str, Any]:
    """What summary.json holds. Raises `Failed` for what was not measured yet."""
    for path, step in ((GEOMETRY_TABLE, "geometry_table"), (REMOVAL, "removal")):
        if not path.exists():
            raise Failed(f"{path} is not there yet: python -m evidence {step}")
    every = read_all(RUNS)
    runs = [run for run in every if run["model"] == TrainSpec.model]
    if not runs:
        raise Failed(f"There is nothing in {RUNS} yet: python -m evidence frontier")
    measured = cards()
    rows = table(runs, measured)
    return {
        "claims": claims(rows, read(GEOMETRY_TABLE), read(REMOVAL)["rows"]),
        "table": rows,
        "layers": layers(every),
        "hardware": runs[0]["environment"],
        "num_clean": runs[0]["num_clean"],
        "num_curvature_images": num_curvature_images(runs, measured),
    }


def missing() -> list[str]:
    """The summary, when it is not what the measured files say."""
    return [SUMMARY.name] if differs(SUMMARY, as_text(summary())) else []


def make(name: str) -> None:
    made = summary()
    write(SUMMARY, made)
    for item in made["claims"]:
        print(f"{name}: {item['claim']} {item['verdict']}.", flush=True)
