"""From assets/evidence/detectors: does a checkup find attacks that it has never seen?

Makes assets/evidence/detectors.json of the models on signs, of whatever files are there:

    family      what a model must be like to be compared (see `analysis.verdict.FAMILY`)
    settings    of the checkups
    detectors   each alone, and the clean loss as a control: AUC by leave-one-attack-out with its
                95 % interval, direction and threshold by all models, false alarms and detections at
                thresholds that had seen neither the attack nor the benign model; lowest, median and
                highest value of benign and of backdoored models
    attacks     the AUC of each attack that was left out, for each detector and rule
    rules       `family`: all detectors; `any`: those that compare the classes of one model;
                `_early` of both: those that no long search finds. Ridge logistic regression, its
                leave-one-attack-out AUC, its calibration and the band of "cannot tell" (see
                `evidence.statistics.calibration`), and the rules that have not seen one of the
                attacks
    models      each with the probability of a rule that had seen neither it nor its attack
    classes     how often the class that stands out most is the target
    of          what it was made of, as a digest
    elsewhere   the rule `any` on models of other data, which nothing was learned from
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.verdict import (
    CONTROL,
    DETECTORS,
    FAMILY,
    RULES,
    SETTINGS,
    Detector,
    features,
    probability,
)
from evidence.detectors import FOLDER
from evidence.shipped import DETECTORS as FILE
from evidence.shipped import read, read_all, write
from evidence.statistics import detector
from evidence.statistics.calibration import Guess, calibration, guesses
from evidence.statistics.detector import Detection
from evidence.statistics.tables import BENIGN

DATA = "signs"
TITLE = "the tiny pre-activation ResNet on signs"
PARTS = ("trigger_index", "universal_index", "latent_index")
Row = dict[str, Any]


def missing() -> list[str]:
    files = read_all(FOLDER)
    there = read(FILE).get("of") if FILE.exists() else None
    return [FILE.name] if enough(files) and there != digest(files) else []


def make(name: str) -> None:
    files = read_all(FOLDER)
    write(FILE, {"of": digest(files), **table(files)})
    print(f"{name} is made anew")


def digest(files: Sequence[Mapping[str, Any]]) -> str:
    """What the table is made of: the statistics take seconds, so they are not made to compare."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def enough(files: Sequence[Mapping[str, Any]]) -> bool:
    own = [one["attack"] for one in files if one["data"] == DATA]
    return len({*own} - {BENIGN}) > 1 and own.count(BENIGN) > 2


def table(files: Sequence[Mapping[str, Any]]) -> Row:
    """What the file holds; empty when there are too few models."""
    if not enough(files):
        return {}
    own = [one for one in files if one["data"] == DATA]
    models = _frame(own)
    alone = {
        name: detector.leave_one_attack_out(models, [name], logs=False)
        for name in (*DETECTORS, CONTROL.name)
    }
    together = {
        name: detector.leave_one_attack_out(models, measures, logs=False)
        for name, measures in RULES.items()
    }
    guessed = {
        name: guesses(detector.folds_of(models, measures, logs=False))
        for name, measures in RULES.items()
    }
    rules = {
        name: _rule(models, measures, together[name], guessed[name])
        for name, measures in RULES.items()
    }
    return _short(
        {
            "family": {**{name: own[0]["values"][name] for name in FAMILY}, "title": TITLE},
            "settings": {name: own[0]["values"][name] for name in SETTINGS},
            "detectors": [
                _detector(about, alone[name], models, own)
                for name, about in {**DETECTORS, CONTROL.name: CONTROL}.items()
            ],
            "attacks": _attacks(alone | {f"rule {name}": one for name, one in together.items()}),
            "rules": rules,
            "models": _models(own, guessed),
            "classes": _classes(own),
            "elsewhere": _elsewhere([one for one in files if one["data"] != DATA], rules["any"]),
            "seconds": float(np.median([one["seconds"] for one in own])),
        }
    )


def _frame(files: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    names = (*DETECTORS, CONTROL.name)
    return pd.DataFrame(
        {
            "attack": one["attack"],
            "seed": one["seed"],
            **dict(zip(names, features(one["values"], names) or (), strict=True)),
        }
        for one in files
    )


def _detector(
    about: Detector, found: Detection, models: pd.DataFrame, files: Sequence[Mapping[str, Any]]
) -> Row:
    attack = models["attack"].to_numpy(object)
    rule = detector.learned(models[[about.name]].to_numpy(float), attack != BENIGN, attack)
    direction = float(rule.weights[0])
    values = {
        kind: sorted(
            one["values"][about.name] for one in files if (one["attack"] == BENIGN) == benign
        )
        for kind, benign in (("benign", True), ("backdoored", False))
    }
    return {
        "name": about.name,
        "title": about.title,
        "control": about is CONTROL,
        "any_model": about.any_model,
        **_auc(found),
        "direction": direction,
        "threshold": float(rule.center[0] + direction * rule.scale[0] * rule.threshold),
        **{kind: [own[0], float(np.median(own)), own[-1]] for kind, own in values.items()},
        "benign_values": values["benign"],
    }


def _auc(found: Detection) -> Row:
    count = {name: value for name, value in vars(found.mean.count).items() if value}
    return {
        "auc": {"value": found.mean.value, "low": found.mean.low, "high": found.mean.high},
        "found": float(np.mean([*found.found.values()])),
        "false_alarms": found.false_alarms,
        "n": count,
    }


def _attacks(found: Mapping[str, Detection]) -> list[Row]:
    return [
        {
            "attack": attack,
            "detector": name,
            "auc": one.value,
            "low": one.low,
            "high": one.high,
            "found": detection.found[attack],
        }
        for name, detection in found.items()
        for attack, one in detection.auc.items()
    ]


def _rule(
    models: pd.DataFrame, measures: Sequence[str], found: Detection, of: Sequence[Guess]
) -> Row:
    attack = models["attack"].to_numpy(object)
    x, backdoored = models[[*measures]].to_numpy(float), attack != BENIGN

    def plain(seen: np.ndarray) -> Row:
        rule = detector.learned(x[seen], backdoored[seen], attack[seen])
        return {
            "center": rule.center.tolist(),
            "scale": rule.scale.tolist(),
            "weights": rule.weights.tolist(),
            "intercept": float(rule.intercept),
        }

    judged, alone = calibration(of), _auc(found)
    return {
        "measures": list(measures),
        **plain(np.ones(len(x), bool)),
        "without": [plain(attack != name) for name in sorted({*attack[backdoored]})],
        "auc": alone["auc"],
        "n": alone["n"],
        **vars(judged),
    }


def _models(files: Sequence[Mapping[str, Any]], of: Mapping[str, Sequence[Guess]]) -> list[Row]:
    """Mean over the folds that had not seen the model, of log odds."""
    rows = []
    for i, one in enumerate(files):
        row = {name: one[name] for name in ("run", "attack", "seed", "target", "asr")}
        row["suspicious_class"] = one["values"]["suspicious_class"]
        for name, folds in of.items():
            p = [
                *(float(fold.ours[fold.mine == i][0]) for fold in folds if i in fold.mine),
                *(float(fold.theirs[fold.part == i][0]) for fold in folds if i in fold.part),
            ]
            odds = np.mean(np.log(np.clip(p, 1e-9, 1 - 1e-9) / (1 - np.clip(p, 1e-9, 1 - 1e-9))))
            row[name] = float(1 / (1 + np.exp(-odds)))
        rows.append(row)
    return rows


def _classes(files: Sequence[Mapping[str, Any]]) -> list[Row]:
    """By each part and by all of them; of backdoored models with one target, and, as what chance
    gives, how often benign models name the target that most attacks have.
    """
    aimed = [one for one in files if one["target"] is not None]
    usual = pd.Series([one["target"] for one in aimed]).mode()[0]
    benign = [one for one in files if one["target"] is None]

    def named(one: Mapping[str, Any], part: str) -> int:
        if part == "suspicious_class":
            return int(one["values"][part])
        return int(np.argmax(one["classes"][part]))

    return [
        {
            "by": part,
            "right": float(np.mean([named(one, part) == one["target"] for one in aimed])),
            "models": len(aimed),
            "benign": float(np.mean([named(one, part) == usual for one in benign])),
            "missed": sorted({one["attack"] for one in aimed if named(one, part) != one["target"]}),
        }
        for part in ("suspicious_class", *PARTS)
    ]


def _elsewhere(files: Sequence[Mapping[str, Any]], rule: Mapping[str, Any]) -> list[Row]:
    rows = []
    for one in files:
        x = features(one["values"], rule["measures"])
        if x is not None:
            row = {name: one[name] for name in ("run", "data", "attack", "seed", "target")}
            row["suspicious_class"] = one["values"]["suspicious_class"]
            rows.append({**row, "any": probability(rule, x)})
    return rows


def _short(value: Any) -> Any:
    """Numbers to five digits."""
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.5g}")
    return value
