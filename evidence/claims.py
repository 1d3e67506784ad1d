"""Makes assets/evidence/summary.json from the measured files: the table, the claims and their
verdicts.

Nothing is written here that is not computed from `assets/evidence/runs`, the cards of the zoo,
`assets/evidence/removal.json` and `assets/evidence/geometry.json` (`python -m
evidence.geometry_table`, first).

    python -m evidence.claims
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from analysis.measures import MEASURES
from dashboard.charts.removal import GONE
from dashboard.kit import library
from ngf.places import ASSETS
from ngf.runs.folder import SPEC

INVARIANT = {name: measure.title for name, measure in MEASURES.items() if measure.invariant}
# 97.5 % points of Student's t for 1 to 9 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def interval(values: list[float]) -> dict:
    """Mean and the half width of its 95 % t interval over seeds (None for one seed)."""
    mean, n = statistics.fmean(values), len(values)
    half = None if n < 2 else _T[min(n - 1, 9) - 1] * statistics.stdev(values) / math.sqrt(n)
    return {"mean": mean, "half": half, "values": values, "n": n}


def load(folder: Path, name: str = "*.json") -> list[dict]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(name))]


def cards() -> dict[tuple[str, str], list[dict]]:
    """Cards of the zoo by (data, attack)."""
    out: dict[tuple[str, str], list[dict]] = {}
    for path in sorted((ASSETS / "zoo").glob("*/card.json")):
        spec = json.loads((path.parent / SPEC).read_text(encoding="utf-8"))
        attack = spec.get("attack", {"name": "none"})["name"]
        key = (spec.get("data", "signs"), attack)
        out.setdefault(key, []).append(
            json.loads(path.read_text(encoding="utf-8")) | {"seed": spec.get("seed", 0)}
        )
    return out


def table(runs: list[dict], measured: dict) -> list[dict]:
    """One row an attack and method: CA, ASR, RA over seeds, and curvature where it was measured.

    measured: `cards()`; the curvature before is in the cards of the zoo.
    """
    rows = []
    for attack in sorted({run["attack"] for run in runs}):
        mine = [run for run in runs if run["attack"] == attack]
        seeds = {run["seed"] for run in mine}
        rows.append(
            row(
                attack,
                "before",
                [run["before"] for run in mine],
                [
                    {"curvature": card}
                    for card in measured[("signs", attack)]
                    if card["seed"] in seeds
                ],
            )
        )
        for method in mine[0]["results"]:
            found = [run["results"][method] for run in mine]
            rows.append(row(attack, method, [item["whole"] for item in found], found))
    return rows


def row(attack: str, method: str, rates: list[dict], found: list[dict]) -> dict:
    out = {
        "attack": attack,
        "method": method,
        **{key: interval([r[key] for r in rates]) for key in ("ca", "asr", "ra")},
        "layers": [item.get("layer") for item in found],
        "rates": [item.get("lr") for item in found],
    }
    curved = [item["curvature"] for item in found if "curvature" in item]
    for key in ("lambda_max", "trace"):
        if curved:
            out[key] = interval([item[key] for item in curved])
    return out


def percent(value: dict) -> str:
    """Mean, and lowest to highest over the seeds: a t interval of three seeds says little
    about rates near 0.
    """
    return (
        f"{100 * value['mean']:.1f} % "
        f"({100 * min(value['values']):.1f}–{100 * max(value['values']):.1f})"
    )


def number(value: dict) -> str:
    return f"{value['mean']:.0f} ({min(value['values']):.0f}–{max(value['values']):.0f})"


def claims(rows: list[dict], geometry: dict, removal: list[dict]) -> list[dict]:
    """The paper's claims, each with a verdict, a short answer, and the numbers in a sentence; all
    are computed.

    geometry, removal: what `evidence.geometry_table` and `evidence.removal` wrote.
    """
    attacks = sorted({item["attack"] for item in rows})

    def get(attack: str, method: str) -> dict:
        return next(item for item in rows if (item["attack"], item["method"]) == (attack, method))

    def told(describe: Callable[[str], str]) -> str:
        return "; ".join(f"{short(attack)}: {describe(attack)}" for attack in attacks)

    auto = {attack: get(attack, "ngf, auto layer") for attack in attacks}
    rates = left(removal)
    low = [max(of["ngf"]) <= GONE for of in rates.values()]
    lost = max(found["before"]["ca"] - found["after"]["ngf"]["ca"] for found in removal)
    gone = {
        attack: "yes" if max(of["ngf"]) <= GONE else "no" if min(of["ngf"]) > GONE else "mixed"
        for attack, of in rates.items()
    }
    means = {
        attack: f"{short(attack)} {100 * statistics.fmean(of['ngf']):.0f} %"
        for attack, of in rates.items()
    }
    removed = {
        "claim": "Natural gradient fine-tuning of one layer removes the backdoor at little cost.",
        "verdict": verdict(low),
        "short": f"With the Lab's defaults, attack success falls to {100 * GONE:.0f} % or less "
        f"with every seed for {count(gone, 'yes')}, with some seeds for {count(gone, 'mixed')}, "
        f"with none for {count(gone, 'no')}; clean accuracy falls by at most {100 * lost:.1f} "
        "points.",
        "sentence": "Attack success after NGF (fixed rate, layer by Fisher trace), means, traffic "
        f"signs. To {100 * GONE:.0f} % or less "
        + in_groups(
            means, gone, {"yes": "with every seed", "mixed": "by seed", "no": "with no seed"}
        )
        + ". Before and after with the layer chosen by `auto`: "
        + told(
            lambda a: (
                f"{percent(get(a, 'before')['asr'])} to {percent(auto[a]['asr'])}, clean "
                f"accuracy {percent(get(a, 'before')['ca'])} to {percent(auto[a]['ca'])}"
            )
        )
        + ".",
    }
    last = [get(a, "ngf, last layer")["asr"]["mean"] <= GONE for a in attacks]
    layer = {
        "claim": "The layer to tune is the last one.",
        "verdict": verdict(last),
        "short": "Attack success after tuning the last layer, and after tuning the one that clean "
        "images point to: "
        + told(
            lambda a: (
                f"{100 * get(a, 'ngf, last layer')['asr']['mean']:.0f} % and "
                f"{100 * auto[a]['asr']['mean']:.0f} %"
            )
        )
        + " (means).",
        "sentence": "Attack success after tuning the last layer: "
        + told(lambda a: percent(get(a, "ngf, last layer")["asr"]))
        + "; after tuning the layer that clean "
        "images point to: " + told(lambda a: percent(auto[a]["asr"])) + ".",
    }
    rivals = ("sgd, same layer", "sgd, all layers", "adam, all layers")
    least = {attack: best(of) for attack, of in rates.items()}
    better = {
        "claim": "It does better than fine-tuning with SGD or Adam.",
        "verdict": verdict([winner == "ngf" for winner in least.values()]),
        "short": "With the Lab's defaults, NGF leaves least attack success with every seed for "
        f"{count(least, 'ngf')}, SGD for {count(least, 'sgd')}, Adam for {count(least, 'adam')}; "
        f"for {count(least, 'mixed')} it depends on the seed.",
        "sentence": "With the Lab's defaults, traffic signs, least is left by: "
        + in_groups(
            {attack: short(attack) for attack in least},
            least,
            {
                "ngf": "NGF with every seed",
                "sgd": "SGD with every seed",
                "adam": "Adam with every seed",
                "mixed": "by seed",
            },
        )
        + ". With learning rates by one rule on clean images, NGF / SGD on the same "
        "layer / SGD on all layers / Adam on all layers: "
        + told(
            lambda a: " / ".join(
                percent(get(a, m)["asr"]) for m in ("ngf, auto layer, rate by rule", *rivals)
            )
        )
        + ".",
    }
    return [
        *sharper_claims(geometry),
        invariant_claim(geometry),
        removed,
        layer,
        better,
        smoother_claim(geometry),
    ]


def left(removal: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Attack success that each method leaves: attack -> method -> one value a model, in the
    same order.
    """
    out: dict[str, dict[str, list[float]]] = {}
    for found in removal:
        for method, rates in found["after"].items():
            out.setdefault(found["attack"], {}).setdefault(method, []).append(rates["asr"])
    return out


def best(of: dict[str, list[float]]) -> str:
    """The method that leaves least on every model; `mixed` if there is none."""
    winners = {
        min(of, key=lambda method: of[method][k]) for k in range(len(next(iter(of.values()))))
    }
    return winners.pop() if len(winners) == 1 else "mixed"


def count(answers: dict[str, str], answer: str) -> str:
    number_of = sum(given == answer for given in answers.values())
    return f"{number_of} of {len(answers)} attacks" if answer in ("yes", "ngf") else str(number_of)


def short(attack: str) -> str:
    return library.short("attacks", attack)


def verdict(flags: list[bool]) -> str:
    return "Supported" if all(flags) else "Not supported" if not any(flags) else "Supported in part"


def by_data(geometry: dict, measure: str, method: str) -> dict[str, dict[str, dict]]:
    """Rows of one measure on clean images: data set -> attack -> row."""
    out: dict[str, dict[str, dict]] = {}
    for item in geometry["rows"]:
        if (item["measure"], item["method"], item["images"]) == (measure, method, "clean"):
            out.setdefault(item["data"], {})[item["attack"]] = item
    return {data: out[data] for data in sorted(out, key=lambda name: name != "signs")}


def in_groups(told: dict[str, str], answers: dict[str, str], words: dict[str, str]) -> str:
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


def sharper_claims(geometry: dict) -> list[dict]:
    """Clear-cut only: with three seeds each, overlapping ranges decide nothing.

    Were there no difference, each of the 20 ways to choose 3 of 6 models would be the 3 sharpest
    equally often.
    """
    out = []
    for measure, word in (
        ("lambda_max", "largest Hessian eigenvalue"),
        ("trace", "trace of the Hessian"),
    ):
        found = by_data(geometry, measure, "before")
        told = ". ".join(
            f"{library.short('data', data)}: benign {number(of['none'])}; "
            + in_groups(
                {
                    attack: f"{short(attack)} {number(item)}"
                    for attack, item in of.items()
                    if attack != "none"
                },
                {attack: item.get("sharper_than_benign", "") for attack, item in of.items()},
                {
                    "yes": "above it with every seed",
                    "mixed": "by seed",
                    "no": "below it with every seed",
                },
            )
            for data, of in found.items()
        )
        flags = [
            item["sharper_than_benign"] == "yes"
            for of in found.values()
            for attack, item in of.items()
            if attack != "none"
        ]
        out.append(
            {
                "claim": (
                    f"A backdoored network sits in a sharper minimum than a benign one ({word})."
                ),
                "verdict": verdict(flags),
                "short": "All three backdoored models lie above all three benign ones in "
                f"{sum(flags)} of {len(flags)} pairs of attack and data set; chance alone would "
                "give 1 in 20.",
                "sentence": f"The {word} on {geometry['num_images']:,} clean test images, mean "
                f"(lowest–highest) over 3 seeds. {told}.",
            }
        )
    return out


def invariant_claim(geometry: dict) -> dict:
    """The same question to measures that a rescaling of layers leaves as they are, on signs."""
    found = {
        measure: [
            item["sharper_than_benign"] == "yes"
            for attack, item in by_data(geometry, measure, "before")["signs"].items()
            if attack != "none"
        ]
        for measure in INVARIANT
    }
    counts = [sum(flags) for flags in found.values()]
    return {
        "claim": "A backdoored network sits in a sharper minimum than a benign one (measures that "
        "rescaling a layer does not change).",
        "verdict": verdict([flag for flags in found.values() for flag in flags]),
        "short": f"All three backdoored models lie above all three benign ones for {min(counts)} "
        f"to {max(counts)} of {len(found['fisher_rao_norm'])} attacks on traffic signs, depending "
        f"on which of {len(found)} measures; chance alone would give 1 in 20.",
        "sentence": f"On {geometry['num_images']:,} clean test images, attacks: "
        + "; ".join(
            f"{INVARIANT[measure]} {sum(flags)} of {len(flags)}" for measure, flags in found.items()
        )
        + ".",
    }


def smoother_claim(geometry: dict) -> dict:
    before, after = (
        by_data(geometry, "lambda_max", "before"),
        by_data(geometry, "lambda_max", "ngf"),
    )
    flags = [item["smoother_than_before"] == "yes" for of in after.values() for item in of.values()]
    rose = sum(
        item["smoother_than_before"] == "no" for of in after.values() for item in of.values()
    )
    told = ". ".join(
        f"{library.short('data', data)}: "
        + in_groups(
            {
                attack: f"{short(attack)} {before[data][attack]['mean']:.0f} to {item['mean']:.0f}"
                for attack, item in of.items()
            },
            {attack: item["smoother_than_before"] for attack, item in of.items()},
            {"yes": "fell with every seed", "mixed": "by seed", "no": "rose with every seed"},
        )
        for data, of in after.items()
    )
    return {
        "claim": "The purified network sits in a smoother minimum.",
        "verdict": verdict(flags),
        "short": f"The largest Hessian eigenvalue falls with all three seeds in {sum(flags)} of "
        f"{len(flags)} pairs of attack and data set and rises with all three in {rose}; chance "
        "alone would give 1 in 8 each.",
        "sentence": f"Largest Hessian eigenvalue on {geometry['num_images']:,} clean test images "
        f"before and after NGF (the Lab's defaults), means over 3 seeds. {told}.",
    }


def main() -> int:
    runs = [
        run for run in load(ASSETS / "evidence" / "runs") if run["model"] == "preact_resnet_tiny"
    ]
    rows = table(runs, cards())
    geometry = json.loads((ASSETS / "evidence" / "geometry.json").read_text(encoding="utf-8"))
    nets = [
        {
            "model": run["model"],
            "attack": run["attack"],
            "seed": run["seed"],
            **{
                name: {key: run["results"][f"ngf, {name}"][key] for key in ("layer",)}
                | {key: run["results"][f"ngf, {name}"]["whole"][key] for key in ("ca", "asr")}
                for name in ("auto layer", "fisher layer", "best layer in hindsight")
            },
        }
        for run in load(ASSETS / "evidence" / "runs")
    ]
    removal = json.loads((ASSETS / "evidence" / "removal.json").read_text(encoding="utf-8"))["rows"]
    summary = {
        "claims": claims(rows, geometry, removal),
        "table": rows,
        "layers": nets,
        "hardware": runs[0]["environment"],
        "num_clean": runs[0]["num_clean"],
    }
    target = ASSETS / "evidence" / "summary.json"
    target.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for item in rows:
        curved = (
            f" λmax {number(item['lambda_max'])} Tr(H) {number(item['trace'])}"
            if "trace" in item
            else ""
        )
        print(
            f"| {item['attack']} | {item['method']} | {percent(item['ca'])} | "
            f"{percent(item['asr'])} | {percent(item['ra'])} |{curved}"
        )
    for item in summary["claims"]:
        print(f"\n{item['claim']} {item['verdict']}. {item['short']} {item['sentence']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
