"""What a checkup says in the end: the probability of a backdoor, by models that are known.

No torch here: pages import it.

`assets/evidence/detectors.json` holds, of models that are known to be benign or backdoored, the
values of every detector and rules that were learned from them (logistic regression; see
`evidence.detectors_table`). The rule `family` takes every detector and is of one network and one
data set; the rule `any` takes only what compares the classes of one model with each other, and is
tried on other networks with a warning. Each has an `_early` one beside it, of what is known before
the long searches: the first look at a large network. All say "cannot tell" within a band of
probabilities that was chosen so that they are wrong of at most one model in twenty outside of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ngf import places
from ngf.runs.files import read_once

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Detector:
    """One number of a checkup.

    name: of the value. scale: the function of it that rules see, monotone. any_model: whether it
    compares the classes of one model, so that models of other families need not be alike.
    searched: whether a long search finds it.
    """

    name: str
    title: str
    scale: Callable[[float], float]
    any_model: bool = False
    searched: bool = False


def _logit(share: float) -> float:
    """Of a share that is kept from 0 and 1 by half an image in 500."""
    share = min(max(share, 0.001), 0.999)
    return math.log(share / (1 - share))


def _log(value: float) -> float:
    return math.log(max(value, 1e-12))


def _index(value: float) -> float:
    """Beyond 20 an index tells only that the other classes are alike."""
    return math.asinh(min(value, 20.0))


DETECTORS: dict[str, Detector] = {
    one.name: one
    for one in (
        Detector(
            "anomaly_index",
            "Reversed triggers: anomaly index",
            _index,
            any_model=True,
            searched=True,
        ),
        Detector(
            "smallest_trigger",
            "Reversed triggers: smallest, share of the image",
            _log,
            searched=True,
        ),
        Detector(
            "universal_index",
            "Universal perturbations: anomaly index",
            _index,
            any_model=True,
            searched=True,
        ),
        Detector(
            "universal_success", "Universal perturbations: highest success", _logit, searched=True
        ),
        Detector("latent_index", "Shift of the features: anomaly index", _index, any_model=True),
        Detector("latent_shift", "Shift of the features: smallest", _log),
        Detector("input_lambda_max_median", "Input Hessian, largest eigenvalue, median", _log),
        Detector("relative_flatness", "Relative flatness of the last layer", _log),
        Detector("fisher_rao_norm", "Fisher-Rao norm, squared", _log),
        Detector("fisher_trace", "Fisher trace", _log),
    )
}
RULES = {  # what each sees
    "family": tuple(DETECTORS),
    "any": tuple(name for name, one in DETECTORS.items() if one.any_model),
    "family_early": tuple(name for name, one in DETECTORS.items() if not one.searched),
    "any_early": tuple(n for n, one in DETECTORS.items() if one.any_model and not one.searched),
}
CONTROL = Detector("loss", "Clean loss alone", _log)  # what a detector must beat; in no rule
SETTINGS = ("n", "trigger_steps", "universal_steps", "epsilon")  # that numbers depend on
_FEWER = 0.5  # with so small a share of the images, numbers are not comparable
FAMILY = ("num_parameters", "num_classes", "image_shape")
EARLY = "_early"  # ends the name of a rule that sees nothing of the searches
PUBLISHED = 2.0  # anomaly index above which Wang et al. 2019 call a class an outlier


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One number beside those of known models; `calls` says which side of its threshold it lies on.

    benign, backdoored: lowest, median and highest of the known models; None where not comparable.
    calls: None where it is not comparable. direction: 1 where backdoored models lie higher, or -1.
    threshold: on the scale of the detector. auc, false_alarms: on attacks that were left out.
    """

    name: str
    title: str
    value: float
    calls: bool | None
    benign: tuple[float, float, float] | None = None
    backdoored: tuple[float, float, float] | None = None
    direction: float = 1.0
    threshold: float | None = None
    auc: tuple[float, float, float] | None = None
    false_alarms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """probability: of a backdoor, where half of the models have one; None without a reference.

    low, high: what it is between when any one attack is left out of the reference.
    band: where the answer is "cannot tell".
    answer: `backdoored`, `benign` or `cannot tell`.
    words: the verdict in a sentence or two, with its uncertainty.
    reasons: sentences, the weightiest first.
    suspicious: the class that stands out most; None where nothing is known.
    not_comparable: why the known models are of another kind; empty where they are not.
    early: whether it is of what is known before the long searches.
    """

    probability: float | None
    low: float | None
    high: float | None
    band: tuple[float, float] | None
    answer: str
    words: str
    reasons: tuple[str, ...]
    suspicious: int | None
    compared: tuple[Compared, ...]
    not_comparable: str
    early: bool = False


def shipped_reference() -> dict[str, Any] | None:
    """What `assets/evidence/detectors.json` holds; None when it is not there. Do not change it."""
    found = read_once(places.ASSETS / "evidence" / "detectors.json")
    return found if isinstance(found, dict) else None


def why_not(values: Row, reference: Row | None) -> str:
    """Why the known models are not like this one; empty if they are, as far as numbers tell: they
    do not tell other images of the same size and number of classes.
    """
    if reference is None:
        return "no models are known to compare with"
    family = reference["family"]
    if different := [name for name in FAMILY if values.get(name) != family[name]]:
        words = {
            "num_parameters": "network",
            "num_classes": "number of classes",
            "image_shape": "size of the images",
        }
        told = " and ".join(words[name] for name in different)
        return f"the known models ({family['title']}) have another {told}"
    settings = reference["settings"]
    if different := [name for name in SETTINGS if not _alike(name, values, settings)]:
        told = ", ".join(f"{name} = {settings[name]}" for name in different)
        return f"the known models were checked with other settings ({told})"
    return ""


def _alike(name: str, values: Row, settings: Row) -> bool:
    value, known = float(values.get(name) or 0), float(settings[name])
    if name == "n":
        return value >= _FEWER * known
    return math.isclose(value, known, rel_tol=1e-3)  # what ships has four digits


def features(values: Row, names: Sequence[str]) -> list[float] | None:
    """What a rule sees; None when a value is missing."""
    known = {**DETECTORS, CONTROL.name: CONTROL}
    found = {name: values[name] for name in names if values.get(name) is not None}
    if len(found) < len(names):
        return None
    return [known[name].scale(float(found[name])) for name in names]


def probability(rule: Row, x: Sequence[float]) -> float:
    """Of a backdoor. rule: center, scale, weights (k,) and intercept."""
    parts = zip(x, rule["center"], rule["scale"], rule["weights"], strict=True)
    score = rule["intercept"] + sum(w * (v - c) / s for v, c, s, w in parts)
    return 1 / (1 + math.exp(-min(max(score, -60.0), 60.0)))


def verdict(values: Row, reference: Row | None) -> Verdict:
    """What a checkup with these values says, a first look where not all of them are known yet.

    reference: of `shipped_reference`.
    """
    reason = why_not(values, reference)
    compared = tuple(_compared(values, reference, reason))
    suspicious = values.get("suspicious_class")
    name, x = _applied(values, reference, "any" if reason else "family")
    if reference is None or x is None:
        missing = reason if reference is None else "it has not ended yet"
        return Verdict(
            probability=None,
            low=None,
            high=None,
            band=None,
            answer="cannot tell",
            words=f"The checkup cannot tell: {missing}.",
            reasons=(),
            suspicious=suspicious,
            compared=compared,
            not_comparable=reason,
        )
    rule, early = reference["rules"][name], name.endswith(EARLY)
    p = probability(rule, x)
    others = [probability(one, x) for one in rule["without"]]
    low, high = min([p, *others]), max([p, *others])
    answer = _answer(p, rule["band"])
    return Verdict(
        probability=p,
        low=low,
        high=high,
        band=(rule["band"][0], rule["band"][1]),
        answer=answer,
        words=_words(p, low, high, answer, suspicious, reason, rule, early),
        reasons=tuple(_reasons(rule, x, values)),
        suspicious=suspicious,
        compared=compared,
        not_comparable=reason,
        early=early,
    )


def _applied(values: Row, reference: Row | None, kind: str) -> tuple[str, list[float] | None]:
    """The rule that sees most of what is known, and what it sees; None where none can be applied.

    kind: `family` or `any`.
    """
    for name in (kind, kind + EARLY):
        rule = None if reference is None else reference["rules"].get(name)
        if rule is not None and (x := features(values, rule["measures"])) is not None:
            return name, x
    return kind, None


def _answer(p: float, band: Sequence[float]) -> str:
    return "backdoored" if p >= band[1] else "benign" if p <= band[0] else "cannot tell"


def _words(
    p: float,
    low: float,
    high: float,
    answer: str,
    suspicious: int | None,
    reason: str,
    rule: Row,
    early: bool,
) -> str:
    said = {
        "backdoored": f"This model looks backdoored, towards class {suspicious}",
        "benign": "The checkup finds no sign of a backdoor",
        "cannot tell": "The checkup cannot tell",
    }[answer]
    if early:
        said = f"First look, before the long searches: {said[0].lower()}{said[1:]}"
    between = (
        f"{_percent(low)} to {_percent(high)}" if _percent(low) != _percent(high) else "the same"
    )
    text = (
        f"{said}: probability {_percent(p)} ({between}, whichever attack the reference leaves "
        "out), if half of all models had one."
    )
    auc = (
        f" On attacks that it had not seen, this verdict's AUC is {rule['auc']['value']:.2f} "
        f"({rule['auc']['low']:.2f} to {rule['auc']['high']:.2f})"
    )
    if reason:
        return (
            f"{text} Not comparable: {reason}. Only what compares the classes of this model with "
            f"each other counts.{auc} on the known models; on this kind of model it is untested."
        )
    return f"{text}{auc}; it holds for models that were trained like the known ones."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if 0.01 <= share <= 0.99 else "< 1 %" if share < 0.5 else "> 99 %"


def _reasons(rule: Row, x: Sequence[float], values: Row) -> list[str]:
    """How each detector moves the log odds, from the middle of the known models."""
    parts = zip(rule["measures"], x, rule["center"], rule["scale"], rule["weights"], strict=True)
    moved = [(w * (v - c) / s, name) for name, v, c, s, w in parts]
    return [
        f"{DETECTORS[name].title} is {float(values[name]):.3g}: "
        f"{'for' if by > 0 else 'against'} a backdoor ({by:+.1f} in log odds)"
        for by, name in sorted(moved, key=lambda pair: -abs(pair[0]))
    ]


def _compared(values: Row, reference: Row | None, reason: str) -> list[Compared]:
    found = []
    known = {} if reference is None else {row["name"]: row for row in reference["detectors"]}
    for name, about in DETECTORS.items():
        value = values.get(name)
        if value is None:
            continue
        row = known.get(name)
        if row is None or (reason and not about.any_model):
            found.append(Compared(name=name, title=about.title, value=value, calls=None))
            continue
        above = about.scale(value) - row["threshold"]
        found.append(
            Compared(
                name=name,
                title=about.title,
                value=value,
                calls=row["direction"] * above >= 0,
                benign=tuple(row["benign"]),
                backdoored=tuple(row["backdoored"]),
                direction=row["direction"],
                threshold=row["threshold"],
                auc=(row["auc"]["value"], row["auc"]["low"], row["auc"]["high"]),
                false_alarms=row["false_alarms"],
            )
        )
    return found
