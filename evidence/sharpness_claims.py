"""The paper's claims about sharpness, each decided by intervals: as the models are, and with the
clean loss accounted for.

All numbers are those of assets/evidence/sharpness.json. A ratio of 1 is "as sharp as"; a side is
taken where the 95 % interval leaves 1 out and Holm's p over measures is below 0.05. The claim is
about the minimum that training reached, so training images decide; test images are told beside
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evidence.sharpness_table import ALL, COMPOSITE, CONTROL, MEASURES, TITLES, TOGETHER
from evidence.statistics.loss import CAVEAT

DATA = "signs"  # the data set with every attack, and with a population of benign models
DECIDES = "train"
ON = {"train": "training images", "test": "test images"}
METHOD = "ngf"
METHODS = {"ngf": "NGF", "sgd": "SGD", "adam": "Adam"}
SIGNIFICANT = 0.05
EXPLAINED = 0.5  # share of a log ratio that may be left when the loss counts as explaining it
CALLED = {  # inside a sentence
    "lambda_max": "largest Hessian eigenvalue",
    "fisher_trace": "trace of the Hessian",
    COMPOSITE: "measures that no rescaling changes",
}
Row = Mapping[str, Any]
Claim = dict[str, Any]  # reported: in the paper; the other values are texts


def sharper(found: Row) -> list[Claim]:
    """What the paper claims first, by each measure. found: what sharpness.json holds."""
    made = [a_backdoored_network_is_sharper(found, measure) for measure in CALLED]
    return [claim for claim in made if claim is not None]


def smoother(found: Row) -> list[Claim]:
    """What it claims last."""
    made = [the_purified_network_is_smoother(found, measure) for measure in CALLED]
    return [claim for claim in made if claim is not None]


def a_backdoored_network_is_sharper(found: Row, measure: str) -> Claim | None:
    claim = f"A backdoored network sits in a sharper minimum than a benign one ({CALLED[measure]})."
    raw, equal = (effect(found, "backdoored", compared, measure) for compared in ("raw", "loss"))
    if raw is None:
        return None
    answer, verdict = judged(raw, equal, above=True)
    short = (
        f"On {ON[DECIDES]} a backdoored network is {times(raw)} as sharp as a benign one "
        f"({interval(raw)}; {counted(raw['n'])})"
    )
    if equal is None:
        short += "; at the same clean loss they could not be compared yet."
    else:
        short += (
            f"; against benign ones of the same clean loss, {times(equal)} ({interval(equal)}"
            + (f"; {counted(equal['n'])}" if equal["n"] != raw["n"] else "")
            + f"): {because(raw, equal, above=True)}."
        )
    told = [_of_images(found, measure, images) for images in ON]
    return {
        "claim": claim,
        "reported": True,
        "answer": answer,
        "verdict": verdict,
        "short": short,
        "sentence": f"{TITLES[measure]}, backdoored against benign. {' '.join(filter(None, told))} "
        f"{CAVEAT.split('.')[0]}.",
    }


def _of_images(found: Row, measure: str, images: str) -> str:
    raw, equal, direct = (
        effect(found, "backdoored", compared, measure, images=images)
        for compared in ("raw", "loss", "direct")
    )
    if raw is None:
        return ""
    text = f"On {ON[images]}: {times(raw)} ({interval(raw)}{chance(raw)}; {counted(raw['n'])})"
    if equal is not None:
        text += f"; at the same clean loss {times(equal)} ({interval(equal)}): {equal['told']}"
        text = text.rstrip(".")
    share = shared(found, measure, images)
    if share is not None and share["share"] is not None and direct is not None:
        text += (
            f"; as a mediation, {percent(share['share'])} ({percent(share['low'])} to "
            f"{percent(share['high'])}) of the log ratio go with the clean loss, and "
            f"{times(direct)} ({interval(direct)}) is left"
        )
    elif share is not None:
        text += "; the ratio is not clear of 1, so no share of it is given to the clean loss"
    return f"{text}."


def the_purified_network_is_smoother(found: Row, measure: str) -> Claim | None:
    claim = f"The purified network sits in a smoother minimum ({CALLED[measure]})."
    raw, equal, accuracy = (
        effect(found, "purified", compared, measure, method=METHOD)
        for compared in ("raw", "loss", "ca")
    )
    if raw is None:
        return None
    answer, verdict = judged(raw, equal, above=False)
    short = (
        f"On {ON[DECIDES]} a network is {times(raw)} as sharp after NGF as before "
        f"({interval(raw)}; {counted(raw['n'])})"
    )
    if equal is None:
        short += "; at the same clean loss it could not be compared yet"
    else:
        short += f"; at the same clean loss {times(equal)} ({interval(equal)})"
        if accuracy is not None:
            short += f", at the same clean accuracy {times(accuracy)} ({interval(accuracy)})"
        short += f": {because(raw, equal, above=False)}"
    told = [
        text
        for images in ON
        for method in methods(found)
        if (text := _of_method(found, measure, images, method))
    ]
    return {
        "claim": claim,
        "reported": True,
        "answer": answer,
        "verdict": verdict,
        "short": f"{short}.",
        "sentence": f"{TITLES[measure]}, after against before, plain cross-entropy. "
        f"{' '.join(told)}",
    }


def _of_method(found: Row, measure: str, images: str, method: str) -> str:
    raw, equal, accuracy = (
        effect(found, "purified", compared, measure, method=method, images=images)
        for compared in ("raw", "loss", "ca")
    )
    if raw is None:
        return ""
    text = (
        f"{method_title(method)}, {ON[images]}: {times(raw)} ({interval(raw)}{chance(raw)}; "
        f"{counted(raw['n'])})"
    )
    for one, what in ((equal, "loss"), (accuracy, "accuracy")):
        if one is not None:
            text += f"; at the same clean {what} {times(one)} ({interval(one)})"
    return f"{text}."


def which_measure_tells(found: Row, images: str = DECIDES) -> str:
    """The best detector beside the clean loss alone; empty where none was tried."""
    rows = {
        row["measure"]: row
        for row in found["detectors"]
        if (row["data"], row["images"], row["attack"]) == (DATA, images, ALL)
    }
    single = {name: row for name, row in rows.items() if name in MEASURES}
    if not single or CONTROL not in rows:
        return ""
    best = max(single, key=lambda name: single[name]["auc"])
    clear = sum(row["low"] > 0.5 for row in single.values())

    def area(row: Row) -> str:
        return f"{row['auc']:.2f} ({row['low']:.2f} to {row['high']:.2f})"

    text = (
        f"On {ON[images]}, {clear} of {len(single)} measures tell a backdoored network of an "
        "attack that was left out from a benign one better than chance (95 % interval of the AUC "
        f"above 0.5; {counted(rows[best]['n'])}). Highest: {_lower(TITLES[best])}, AUC "
        f"{area(rows[best])}; the clean loss alone reaches {area(rows[CONTROL])}"
    )
    if TOGETHER in rows:
        text += f", all measures together {area(rows[TOGETHER])}"
    return f"{text}. The highest of {len(single)} is flattered by having been picked."


# ---- what claims are decided by


def judged(raw: Row, equal: Row | None, *, above: bool) -> tuple[str, str]:
    """(answer, verdict) of a claim that the ratio is above 1, or below.

    raw: as the models are; equal: at the same clean loss. answer: yes, partly, no or open.
    """
    as_is, at_equal = (_agrees(one, above) for one in (raw, equal))
    if as_is is True:
        if equal is None:
            return "partly", "Supported, clean loss not accounted for"
        if at_equal is True:
            return "yes", "Supported"
        if at_equal is False:
            return "partly", "Only as they are, the reverse at equal clean loss"
        if is_explained(raw, equal):
            return "partly", "Explained by the clean loss"
        return "partly", "Supported in part"
    if at_equal is True:
        return "partly", "Only at equal clean loss"
    if as_is is False or at_equal is False:
        return "no", "Not supported"
    return "open", "Left open"


def _agrees(one: Row | None, above: bool) -> bool | None:
    """Whether the ratio is clear of 1 on the claimed side; None where it is not clear."""
    if one is None or not is_clear(one):
        return None
    return bool((one["low"] > 1) == above)


def is_clear(one: Row) -> bool:
    """Whether the interval leaves 1 out, and the p-value still is below 0.05 by Holm where it is
    one of several measures.
    """
    return not one["low"] <= 1 <= one["high"] and (one["p"] is None or one["p"] < SIGNIFICANT)


def is_explained(raw: Row, equal: Row) -> bool:
    """Whether the clean loss accounts for a clear difference: at equal loss none is clear, and at
    most half of it is left.
    """
    left, all_of_it = (math.log(one["ratio"]) for one in (equal, raw))
    return is_clear(raw) and not is_clear(equal) and abs(left) <= EXPLAINED * abs(all_of_it)


def because(raw: Row, equal: Row, *, above: bool) -> str:
    """What both ratios say together, in a student's words."""
    more = "sharper" if above else "smoother"
    less = "smoother" if above else "sharper"
    as_is, at_equal = (_agrees(one, above) for one in (raw, equal))
    if at_equal is True and as_is is True:
        return f"{more} even so"
    if at_equal is True:
        return f"{more} only when the clean loss is accounted for"
    if at_equal is False:
        return f"{less} when the clean loss is accounted for"
    if is_explained(raw, equal):
        return "the difference in clean loss explains it"
    return "no clear difference"


def effect(
    found: Row,
    question: str,
    compared: str,
    measure: str,
    *,
    method: str = "",
    images: str = DECIDES,
    data: str = DATA,
) -> Row | None:
    """The effect over all attacks; None where it could not be computed."""
    wanted = (data, images, question, method, compared, measure, ALL)
    keys = ("data", "images", "question", "method", "compared", "measure", "attack")
    for row in found["effects"]:
        if tuple(row.get(key, "") for key in keys) == wanted:
            return dict(row)
    return None


def shared(found: Row, measure: str, images: str, data: str = DATA) -> Row | None:
    for row in found["shares"]:
        if (row["data"], row["images"], row["measure"]) == (data, images, measure):
            return dict(row)
    return None


def methods(found: Row) -> list[str]:
    """What purified, in the order of the file."""
    return list(
        dict.fromkeys(row["method"] for row in found["effects"] if row["question"] == "purified")
    )


# ---- how they are put into words


def times(one: Row) -> str:
    return f"{one['ratio']:.2f} times"


def interval(one: Row) -> str:
    return f"95 % interval {one['low']:.2f} to {one['high']:.2f}"


def chance(one: Row) -> str:
    if one["p"] is None:
        return ""
    p = "< 0.001" if one["p"] < 0.001 else f"= {one['p']:.2g}"
    return f", Holm's p {p}" if one["holm"] else f", p {p}"


def counted(n: Mapping[str, int]) -> str:
    """`45 models of 15 attacks, 17 benign models, 5 purification seeds each`"""
    return ", ".join(
        text
        for key, text in (
            ("models", f"{_num(n, 'models', 'model')} of {_num(n, 'attacks', 'attack')}"),
            ("benign", _num(n, "benign", "benign model")),
            (
                "purification_seeds",
                f"{_num(n, 'purification_seeds', 'purification seed')} each",
            ),
        )
        if n.get(key)
    )


def _num(n: Mapping[str, int], key: str, one: str) -> str:
    number = n.get(key, 0)
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def method_title(method: str) -> str:
    """`ngf, with regularizer` is `NGF, with regularizer`."""
    name, comma, rest = method.partition(",")
    return f"{METHODS.get(name, name)}{comma}{rest}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _lower(title: str) -> str:
    return f"{title[:1].lower()}{title[1:]}"
