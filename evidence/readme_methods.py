"""The tables of README.md about what methods leave, from assets/evidence/methods.json.

Nothing is told of what was not measured; a table says how many models and purification seeds it is
of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evidence.markdown import Cell, Row, between, listed, machine, markdown, one, table, wrapped
from evidence.methods import ALL, BEFORE, short
from evidence.removal_claims import signed, title
from evidence.shipped import METHODS, read


def setup() -> str:
    """What every number of the tables is of."""
    about = read(METHODS)["about"]
    if not about["rows"]:
        return "Not measured yet."
    budget = one(about["num_clean"])
    usual, *others = sorted(by_value(about["steps"]).items(), key=lambda of: -len(of[1]))
    steps = f"{usual[0]} steps" + "".join(
        f" ({count} for {listed([title(name) for name in names])})" for count, names in others
    )
    several = [max(counts) for counts in about["n_triggered"].values()]
    few = {name: max(of) for name, of in about["n_triggered"].items() if 2 * max(of) < max(several)}
    fewer = "".join(
        f", {count:,} for {short('attacks', name)}" for name, count in sorted(few.items())
    )
    return wrapped(
        f"Traffic signs, tiny ResNet; {about['models']} backdoored models of "
        f"{len(about['n_triggered'])} attacks, {about['rows']:,} purifications"
        f"{so_far(about)}. A defender has {budget} clean images in all, other ones with every "
        "purification seed: they are tuned on, and settings are chosen within them by "
        f"cross-fitting. {one(about['n_clean']):,} clean and up to {max(several):,} triggered test "
        f"images{fewer}; {steps}; {machine(about['environments'])}."
    )


def so_far(about: Row) -> str:
    """How much is still to come, where something is."""
    if about["rows"] >= about["rows_planned"]:
        return ""
    return f" (of {about['rows_planned']:,} on {about['models_planned']} models that are planned)"


def by_value(found: Mapping[str, Any]) -> dict[Any, list[str]]:
    out: dict[Any, list[str]] = {}
    for name, value in found.items():
        out.setdefault(value, []).append(name)
    return out


def share(item: Row, rate: str) -> str:
    """`7.4 ± 4.0 (± 2.1)`: mean in percent, spread between models, between purification seeds; what
    nobody can know is left out.
    """
    if item[rate] is None:
        return "–"
    told = f"{100 * item[rate]:.1f}"
    models, seeds = (item[f"{rate}_between_{of}"] for of in ("models", "seeds"))
    if models is not None:
        told += f" ± {100 * models:.1f}"
    return told if seeds is None or item.get("how") == BEFORE else f"{told} (± {100 * seeds:.1f})"


def methods() -> str:
    """Strengths by rule, with models as they came."""
    rows = read(METHODS)["methods"]
    ruled = [item for item in rows if item["how"] == "rule"]
    if not ruled:
        return ""
    out = []
    for attack in dict.fromkeys(item["attack"] for item in ruled):
        before = [item for item in rows if (item["how"], item["attack"]) == (BEFORE, attack)]
        out += before + [item for item in ruled if item["attack"] == attack]
    return table(
        out,
        {
            "attack": lambda item: short("attacks", item["attack"]),
            "method": lambda item: called(item["method"]),
            "strength": strengths,
            **{f"{rate.upper()} %": _share(rate) for rate in ("ca", "asr", "ra")},
            "n": tried,
        },
    )


def _share(rate: str) -> Cell:
    return lambda item: share(item, rate)


def strengths(item: Row) -> str:
    """The median, with lowest and highest where they differ."""
    low, median, high = (item[f"strength_{of}"] for of in ("low", "median", "high"))
    if median is None:
        return "–"
    return f"{median:g}" if low == high else f"{median:g} ({low:g}–{high:g})"


def tried(item: Row) -> str:
    """`5 × 5`, and how many of them diverged."""
    if item["how"] == BEFORE:
        return f"{item['models']}"
    out = f"; {item['diverged']} diverged" if item["diverged"] else ""
    return f"{item['models']} × {item['purification_seeds']}{out}"


def spreads() -> str:
    """How to read a cell, from the rows that there are."""
    found = read(METHODS)
    ruled = [item for item in found["methods"] if item["how"] == "rule"]
    if not ruled:
        return ""
    seeds = between([item["purification_seeds"] for item in ruled])
    models = between([item["models"] for item in ruled])
    return wrapped(
        "Strengths by one rule for all methods, chosen once for each model within the clean "
        "images. Each cell: mean ± standard deviation between models (between purification seeds "
        f"of one model); n: models × purification seeds ({models} models, {seeds} seeds). "
        "Strength: median over models (lowest–highest), the radius in nats for NGF and the "
        "gradient at equal KL, else the learning rate."
    )


def defaults() -> str:
    found = read(METHODS)
    usual = [item for item in found["methods"] if item["how"] == "default"]
    if not usual:
        return ""
    seeds = between([item["purification_seeds"] for item in usual])
    most = {item["method"] for item in usual}
    attacks = {name: {i["attack"] for i in usual if i["method"] == name} for name in most}
    rare = [
        name
        for name in found["about"]["methods"]
        if name in most and len(attacks[name]) < len(set.union(*attacks.values()))
    ]
    part = f"; {listed([title(name) for name in rare])}: on some attacks only" if rare else ""
    return wrapped(
        "Every attack, with the Lab's defaults. Attack success rate as above (mean ± between "
        "models, in brackets between purification seeds), then the clean accuracy that is left; "
        f"in percent; {seeds} purification seeds{part}."
    )


def removal() -> str:
    rows = read(METHODS)["methods"]
    usual = {(i["attack"], i["method"]): i for i in rows if i["how"] == "default"}
    before = {item["attack"]: item for item in rows if item["how"] == BEFORE}
    names = [name for name in read(METHODS)["about"]["methods"] if any(name == m for _, m in usual)]
    if not usual:
        return ""

    def cell(attack: str, method: str) -> str:
        item = usual.get((attack, method))
        if item is None:
            return "–"
        out = f", {item['diverged']} diverged" if item["diverged"] else ""
        return (
            "all diverged"
            if item["asr"] is None
            else (f"{share(item, 'asr')}; {100 * item['ca']:.1f}{out}")
        )

    return markdown(
        ("attack", "models", "before", *(called(name) for name in names)),
        [
            (
                short("attacks", attack),
                item["models"],
                f"{share(item, 'asr')}; {100 * item['ca']:.1f}",
                *(cell(attack, name) for name in names),
            )
            for attack, item in before.items()
            if any(attack == of for of, _ in usual)
        ],
    )


def equal() -> str:
    """How the table at equal clean accuracy is made."""
    rows = read(METHODS)["equal_accuracy"]
    if not rows:
        return ""
    seeds = between([item["purification_seeds"] for item in rows if item["reached"]] or [0])
    return wrapped(
        "At equal clean accuracy: the attack success rate where a method's sweep of strengths "
        "first loses one point and two points of clean accuracy, in percent, mean ± between models "
        f"(± between purification seeds, {seeds} of them; n: purifications that reach the drop, of "
        "all). “At most”: the lowest that any strength of the sweep leaves at that price or less. "
        "Only who knows the trigger can see these; no strength is chosen here."
    )


def equal_accuracy() -> str:
    rows = read(METHODS)["equal_accuracy"]
    if not rows:
        return ""
    found: dict[tuple[str, str], dict[float, Row]] = {}
    for item in rows:
        found.setdefault((item["attack"], item["method"]), {})[item["drop"]] = item
    drops = sorted({item["drop"] for item in rows})

    def cells(of: Row) -> list[str]:
        least = "–" if of["least_within"] is None else f"{100 * of['least_within']:.1f}"
        return [share(of, "asr"), f"{of['reached']} of {of['of']}", least]

    head = [
        text
        for drop in drops
        for text in (f"at {100 * drop:g} point{'s' * (drop > 0.01)}", "n", "at most")
    ]
    return markdown(
        ("attack", "method", *head),
        [
            (named(attack), called(method), *(text for drop in drops for text in cells(of[drop])))
            for (attack, method), of in found.items()
        ],
    )


def called(method: str) -> str:
    """At the beginning of a cell."""
    told = title(method)
    return told[:1].upper() + told[1:]


def named(attack: str) -> str:
    return "all of these" if attack == ALL else short("attacks", attack)


def augmented() -> str:
    rows = read(METHODS)["augmentation"]
    if not rows:
        return ""
    seeds = between([item["purification_seeds"] for item in rows])
    return wrapped(
        "Weak against strong augmentation of the clean images, everything else as in the Lab's "
        f"defaults; {seeds} purification seeds. The difference in points has a 95 % interval over "
        "models, in the last rows over attacks."
    )


def augmentation() -> str:
    rows = read(METHODS)["augmentation"]
    if not rows:
        return ""

    def difference(item: Row) -> str:
        told = signed(item["asr_difference"])
        if item["low"] is None:
            return told
        return f"{told} ({signed(item['low'])} to {signed(item['high'])})"

    return table(
        rows,
        {
            "attack": lambda item: named(item["attack"]),
            "method": lambda item: called(item["method"]),
            "models": lambda item: item["models"],
            "ASR %, weak": lambda item: f"{100 * item['asr_weak']:.1f}",
            "ASR %, strong": lambda item: f"{100 * item['asr_strong']:.1f}",
            "strong − weak": difference,
            "CA %, weak": lambda item: f"{100 * item['ca_weak']:.1f}",
            "CA %, strong": lambda item: f"{100 * item['ca_strong']:.1f}",
        },
    )


PARTS: dict[str, Callable[[], str]] = {
    "setup": setup,
    "spreads": spreads,
    "methods": methods,
    "defaults": defaults,
    "removal": removal,
    "equal": equal,
    "equal_accuracy": equal_accuracy,
    "augmented": augmented,
    "augmentation": augmentation,
}
