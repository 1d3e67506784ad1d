"""The claims about removal, decided by intervals over the rows of `purification`.

Each claim is a function of the frame of `methods.frame`, and None while its rows are not there. Its
effects are means over attacks, or differences of two methods on the same models with the same
purification seeds, from a mixed model with attacks and models as groups. An effect is on one side
when its 95 % interval is (and, where a claim makes several comparisons, Holm's p is below 0.05).
The verdict is read from the sides alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from evidence import purification
from evidence.methods import ended, frame, methods_in, points, short
from evidence.statistics import over_attacks
from evidence.statistics.equal_accuracy import DROPS, at_equal_accuracy
from evidence.statistics.estimates import Estimate, holm
from evidence.statistics.spreads import spreads

GONE = 0.1  # an attack success rate up to which a backdoor counts as removed
LITTLE = 0.02  # a loss of clean accuracy up to which a cost is little
LOTTERY = 0.1  # a range over purification seeds beyond which one purification says little
LEVEL = 0.05  # of Holm's p
NGF, NGF_ALL, LAST = "ngf, one layer", "ngf, all layers", "ngf, last layer"
GRADIENT, GRADIENT_ALL = "gradient, one layer", "gradient, all layers"
SGD_ALL = "sgd, all layers"
RIVALS = ("sgd", "adam")  # how their methods begin
SUPPORTED, IN_PART, NOT, OPEN = "Supported", "Supported in part", "Not supported", "Left open"
ANSWERS = {SUPPORTED: "yes", IN_PART: "partly", NOT: "no", OPEN: "unknown"}
_TITLES = {"ngf": "NGF", "gradient": "gradient at equal KL", "sgd": "SGD", "adam": "Adam"}
# claim, verdict, answer, short and sentence are texts; reported: whether the paper says it;
# effects: rows {what, value, low, high, p, p_adjusted, attacks, models, purification_seeds}.
Claim = dict[str, Any]


def claims(rows: Sequence[Mapping[str, Any]] | None = None) -> list[Claim]:
    """Those that can be decided, in the order in which they are told.

    rows: as `purification.rows` gives them, which is the default.
    """
    found = frame(purification.rows() if rows is None else map(dict, rows))
    made = [
        ngf_of_one_layer_removes_the_backdoor(found),
        ngf_does_better_than_sgd_and_adam(found),
        the_natural_direction_adds_something(found),
        the_layer_to_tune_is_the_last_one(found),
        a_purification_is_a_lottery(found),
        augmentation_decides_more_than_the_optimizer(found),
    ]
    return [claim | {"answer": ANSWERS[claim["verdict"]]} for claim in made if claim is not None]


# ---- the claims


def ngf_of_one_layer_removes_the_backdoor(found: pd.DataFrame) -> Claim | None:
    of = ended(found, how="default", method=NGF)
    if not _several(of):
        return None
    of = of.assign(over=of["asr"] - GONE, lost=of["ca_before"] - of["ca"])
    left, lost, before = (over_attacks.mean(of, name) for name in ("asr", "lost", "asr_before"))
    if left is None or lost is None or before is None:
        return None
    apart = {
        str(attack): one
        for attack, own in of.groupby("attack")
        if (one := over_attacks.mean(own, "over")) is not None
    }
    sides = [side(one, -1) for one in corrected(apart).values()]
    overall, cheap = _below(left, GONE), _below(lost, LITTLE)
    if overall == cheap == 1:
        decided = SUPPORTED
    elif cheap == 1 and 1 in sides:
        decided = IN_PART
    elif -1 in (overall, cheap):
        decided = NOT
    else:
        decided = OPEN
    return {
        "claim": "Natural gradient fine-tuning of one layer removes the backdoor at little cost.",
        "reported": True,
        "verdict": decided,
        "short": f"With the Lab's defaults, the attack success rate falls from "
        f"{percent(before.value)} to {percent(left.value)} ({interval(left)}) and clean accuracy "
        f"by {points_of(lost.value)} points ({interval(lost)}); {percent(GONE, 0)} or less is left "
        f"clearly for {sides.count(1)} of the {len(sides)} attacks with several models, "
        f"clearly more for {sides.count(-1)}; {left.count}.",
        "sentence": "Attack success rate after NGF of one layer with the Lab's defaults, mean over "
        f"models: {_per_attack(of)}. “Clearly”: Holm's p below {LEVEL:g} over attacks."
        f"{_by_rule(found)}{_diverged(found, 'default', [NGF])}",
        "effects": [
            effect("ASR that NGF of one layer leaves", left),
            effect("clean accuracy that it costs", lost),
        ],
    }


def _several(found: pd.DataFrame) -> bool:
    """Whether there is more than one model of an attack: one each says little of any."""
    return not found.empty and bool((found.groupby("attack")["run"].nunique() > 1).any())


def ngf_does_better_than_sgd_and_adam(found: pd.DataFrame) -> Claim | None:
    """Against each rival: at equal clean accuracy where it was swept, else with strengths by one
    rule, which keeps clean accuracy as well.
    """
    rivals = [name for name in methods_in(found) if name.startswith(RIVALS)]
    compared = _compared(found, [(NGF, rival) for rival in rivals])
    if not compared:
        return None
    also = _compared(found, [(NGF_ALL, SGD_ALL)])
    return {
        "claim": "It does better than fine-tuning with SGD or Adam.",
        "reported": True,
        "verdict": verdict([side(one, -1) for one in compared.values()]),
        "short": f"Attack success rate that NGF of one layer leaves less (−) or more (+), in "
        f"points: {_differences(compared)}.",
        "sentence": f"{_how_compared()} {_at_two_points(found, rivals)}"
        + (f"On the same layers: {_differences(also)}. " if also else "")
        + _cost_by_rule(found, rivals)
        + _diverged(found, "rule", [NGF, *rivals]),
        "effects": [effect(name, one) for name, one in compared.items()],
    }


def the_natural_direction_adds_something(found: pd.DataFrame) -> Claim | None:
    """The gradient at equal KL takes steps of the same size in what the model predicts."""
    compared = _compared(found, [(NGF, GRADIENT), (NGF_ALL, GRADIENT_ALL)])
    if not compared:
        return None
    return {
        "claim": "What removes the backdoor is the direction of the natural gradient, not only the "
        "size of its steps.",
        "reported": False,
        "verdict": verdict([side(one, -1) for one in compared.values()]),
        "short": "Against the plain gradient with steps that change predictions as much, NGF "
        f"leaves less (−) or more (+), in points of attack success rate: {_differences(compared)}.",
        "sentence": f"{_how_compared()}{_diverged(found, 'rule', [NGF, GRADIENT])}",
        "effects": [effect(name, one) for name, one in compared.items()],
    }


def the_layer_to_tune_is_the_last_one(found: pd.DataFrame) -> Claim | None:
    for how, words in (("rule", "strengths by one rule"), ("default", "the Lab's defaults")):
        last, chosen = (ended(found, how=how, method=name) for name in (LAST, NGF))
        if last.empty or chosen.empty:
            continue
        more = over_attacks.difference(last, chosen, "asr")
        if more is None:
            continue
        both = [over_attacks.mean(of, "asr") for of in (last, chosen)]
        told = " and ".join(percent(one.value) for one in both if one)
        return {
            "claim": "The layer to tune is the last one.",
            "reported": True,
            "verdict": verdict([side(more, -1)]),
            "short": f"With {words}, tuning the last layer leaves {signed(more.value)} points of "
            f"attack success rate against the layer with the largest Fisher trace "
            f"({interval(more)}): {told}; {more.count}.",
            "sentence": "Attack success rate after tuning the last layer: "
            f"{_per_attack(last)}; after tuning the layer with the largest Fisher trace: "
            f"{_per_attack(chosen)}.{_diverged(found, how, [LAST, NGF])}",
            "effects": [effect("ASR of the last layer − of the one chosen", more)],
        }
    return None


def a_purification_is_a_lottery(found: pd.DataFrame) -> Claim | None:
    """The range over purification seeds of one model, as wide as the number of seeds makes it."""
    if not _several(ended(found, how="default", method=NGF)):
        return None
    ranges = {name: _ranges(found, name) for name in methods_in(found)}
    of = ranges.get(NGF)
    mean = None if of is None else over_attacks.mean(of, "range")
    if of is None or mean is None:
        return None
    seeds = int(of["seeds"].min())
    mean = replace(mean, count=replace(mean.count, purification_seeds=seeds))
    beyond = over_attacks.mean(of.assign(beyond=of["range"] - LOTTERY), "beyond")
    others = "; ".join(
        f"{title(name)} {points_of(one['range'].mean())} (widest {points_of(one['range'].max())})"
        for name, one in ranges.items()
        if one is not None
    )
    spread = spreads(ended(found, how="default", method=NGF), "asr")
    return {
        "claim": "A purification is a draw: other clean images and batches, another result.",
        "reported": False,
        "verdict": verdict([side(beyond, 1)]) if beyond else OPEN,
        "short": f"With the Lab's defaults, {seeds} purifications of one model by NGF of one layer "
        f"differ by {points_of(mean.value)} points of attack success rate ({interval(mean)}), by "
        f"{points_of(of['range'].max())} at most; {mean.count}.",
        "sentence": "Lowest to highest attack success rate over purification seeds of one model, "
        f"mean over models, in points: {others}. For NGF of one layer the standard deviation is "
        f"{points_of(spread.between_seeds)} points between purification seeds of one model and "
        f"{points_of(spread.between_models)} between models. Supported means: clearly more than "
        f"{points_of(LOTTERY, 0)} points on average.",
        "effects": [effect("range of ASR over purification seeds of one model", mean)],
    }


def augmentation_decides_more_than_the_optimizer(found: pd.DataFrame) -> Claim | None:
    """With A what strong augmentation takes away (mean of both methods) and O what the change of
    optimizer takes away (mean of both augmentations), A > O says that the worse method with strong
    augmentation leaves less than the better one with weak, and A > -O the same the other way round.
    """
    cells = {
        (name, how): ended(found, how=how, method=name)
        for name in (NGF_ALL, SGD_ALL)
        for how in ("weak", "strong")
    }
    if any(of.empty for of in cells.values()):
        return None
    names = {
        f"SGD with weak − {title(NGF_ALL)} with strong": ((SGD_ALL, "weak"), (NGF_ALL, "strong")),
        f"NGF with weak − {title(SGD_ALL)} with strong": ((NGF_ALL, "weak"), (SGD_ALL, "strong")),
    }
    compared = {
        name: more
        for name, (one, other) in names.items()
        if (more := over_attacks.difference(cells[one], cells[other], "asr")) is not None
    }
    if len(compared) < len(names):
        return None
    sides = [side(one, 1) for one in compared.values()]
    # Both together are the claim: no correction is needed where each has to hold.
    decided = SUPPORTED if sides == [1, 1] else NOT if -1 in sides else OPEN
    within = {
        f"{title(name)}, strong − weak": more
        for name in methods_in(found)
        if (
            more := over_attacks.difference(
                ended(found, how="strong", method=name),
                ended(found, how="weak", method=name),
                "asr",
            )
        )
        is not None
    }
    return {
        "claim": "Strong augmentation of the clean images decides more than the optimizer.",
        "reported": False,
        "verdict": decided,
        "short": "On the same layers and images, points of attack success rate: "
        f"{_differences(compared)}. Where both are above 0, either method with strong augmentation "
        "leaves less than the other with weak.",
        "sentence": f"Everything else equal, in points: {_differences(within)}.",
        "effects": [effect(name, one) for name, one in (compared | within).items()],
    }


# ---- what they are decided by


def side(found: Estimate, claimed: int) -> int:
    """1: clearly on the claimed side of 0 (-1: below, 1: above); -1: clearly on the other; 0: the
    interval, or Holm's p, leaves it open.
    """
    corrected_away = found.p_adjusted is not None and found.p_adjusted >= LEVEL
    if corrected_away or not found.excludes(0.0):
        return 0
    return 1 if (found.value > 0) == (claimed > 0) else -1


def verdict(sides: Sequence[int]) -> str:
    """Of all comparisons of a claim."""
    if all(one == 1 for one in sides):
        return SUPPORTED
    if 1 in sides:
        return IN_PART
    return NOT if -1 in sides else OPEN


def corrected(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Holm's p over those that have one; where no spread was seen there is none."""
    adjusted = holm({name: one for name, one in found.items() if one.p is not None})
    return {name: adjusted.get(name, one) for name, one in found.items()}


def _below(found: Estimate, bound: float) -> int:
    """Whether an interval lies below a bound (1), above it (-1), or holds it (0)."""
    return 1 if found.high <= bound else -1 if found.low > bound else 0


def _compared(
    found: pd.DataFrame, pairs: Iterable[tuple[str, str]], drop: float = DROPS[0]
) -> dict[str, Estimate]:
    """ASR of the first method minus that of the second, by what was compared and how."""
    every = points(found)
    at = at_equal_accuracy(every, [drop]) if len(every) else pd.DataFrame()
    out = {}
    for one, other in pairs:
        more, how = None, f"at {100 * drop:g} point{'s' * (drop > 0.01)} of clean accuracy"
        if len(at):
            reached = at[at["asr"].notna()].astype({"asr": float})
            more = over_attacks.difference(
                reached[reached["method"] == one], reached[reached["method"] == other], "asr"
            )
        if more is None and drop == DROPS[0]:
            how = "by rule"
            more = _by_one_rule(found, one, other, "asr")
        if more is not None:
            out[f"{title(one)} − {title(other)}, {how}"] = more
    return corrected(out)


def _by_one_rule(found: pd.DataFrame, one: str, other: str, column: str) -> Estimate | None:
    first, second = (ended(found, how="rule", method=name) for name in (one, other))
    if first.empty or second.empty:
        return None
    return over_attacks.difference(first, second, column)


def _ranges(found: pd.DataFrame, method: str) -> pd.DataFrame | None:
    """A row per model with several purifications: the range of ASR over them, and how many."""
    of = ended(found, how="default", method=method)
    if of.empty:
        return None
    by = of.groupby(["attack", "seed"])["asr"].agg(["min", "max", "size"]).reset_index()
    by = by[by["size"] > 1]
    made = by.assign(range=by["max"] - by["min"], seeds=by["size"], purification_seed=0)
    return made if len(made) else None


# ---- how they are put into words


def title(method: str) -> str:
    """`sgd, all layers` is `SGD, all layers`; others are called as in the plan."""
    kind, comma, what = method.partition(",")
    return f"{_TITLES.get(kind, kind.replace('ngf', 'NGF'))}{comma}{what}"


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def points_of(value: float | None, digits: int = 1) -> str:
    return "not known" if value is None else f"{100 * value:.{digits}f}"


def signed(value: float) -> str:
    """In points, with a true minus sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def interval(found: Estimate) -> str:
    """`95 % interval 3.1 to 8.0`, in percent or points."""
    low, high = (f"{100 * end:.1f}".replace("-", "−") for end in (found.low, found.high))
    return f"95 % interval {low} to {high}"


def _differences(found: Mapping[str, Estimate]) -> str:
    def p(one: Estimate) -> str:
        if one.p_adjusted is None:
            return ""
        return ", Holm's p " + ("< 0.001" if one.p_adjusted < 0.001 else f"= {one.p_adjusted:.2g}")

    return "; ".join(
        f"{name}: {signed(one.value)} ({interval(one)}{p(one)}; {one.count})"
        for name, one in found.items()
    )


def _per_attack(of: pd.DataFrame) -> str:
    means = of.groupby(["attack", "seed"])["asr"].mean().groupby("attack").mean()
    return ", ".join(f"{short('attacks', str(name))} {percent(one)}" for name, one in means.items())


def _how_compared() -> str:
    return (
        "“At 1 point of clean accuracy”: where each method's sweep of strengths first loses one "
        "point, of the purifications in which both methods do. “By rule”: each with the strength "
        "that its clean images choose."
    )


def _at_two_points(found: pd.DataFrame, rivals: Sequence[str]) -> str:
    two = _compared(found, [(NGF, rival) for rival in rivals], DROPS[1])
    return f"The same at 2 points: {_differences(two)}. " if two else ""


def _cost_by_rule(found: pd.DataFrame, rivals: Sequence[str]) -> str:
    """What clean accuracy the comparison by rule leaves unequal."""
    told = [
        f"{signed(more.value)} against {title(name)}"
        for name in rivals
        if (more := _by_one_rule(found, NGF, name, "ca")) is not None
    ]
    return (
        f"Clean accuracy of NGF of one layer by rule, in points: {', '.join(told)}." if told else ""
    )


def _by_rule(found: pd.DataFrame) -> str:
    of = ended(found, how="rule", method=NGF)
    left = None if of.empty else over_attacks.mean(of, "asr")
    if left is None:
        return ""
    return (
        f" With its strength by rule: {percent(left.value)} ({interval(left)}; {left.count}): "
        f"{_per_attack(of)}."
    )


def _diverged(found: pd.DataFrame, how: str, methods: Sequence[str]) -> str:
    of = found[(found["how"] == how) & found["method"].isin(methods)]
    out = int(of["diverged"].sum())
    return f" {out} of {len(of)} of these purifications diverged and have no rates." if out else ""


def effect(what: str, found: Estimate) -> dict[str, Any]:
    """A row of a table or picture; shares as fractions."""
    return {
        "what": what,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_adjusted": found.p_adjusted,
        "attacks": found.count.attacks,
        "models": found.count.models,
        "purification_seeds": found.count.purification_seeds,
    }
