"""A checkup and what it is compared with, made up."""

from typing import Any

from analysis.verdict import CONTROL, DETECTORS, RULES

BENIGN = {name: (0.2, 0.4, 0.6) for name in DETECTORS}


def values(**other: Any) -> dict[str, Any]:
    """Of a checkup whose settings are those of `reference`."""
    return {
        **dict.fromkeys(DETECTORS, 0.5),
        CONTROL.name: 0.1,
        "n": 500,
        "trigger_steps": 10,
        "universal_steps": 4,
        "epsilon": 0.0625,
        "num_parameters": 100,
        "num_classes": 12,
        "image_shape": "3x32x32",
        "suspicious_class": 3,
        **other,
    }


def reference() -> dict[str, Any]:
    """All rules look at the index of the features alone."""
    auc = {"value": 0.9, "low": 0.7, "high": 0.97}

    def rule(measures: list[str]) -> dict[str, Any]:
        weights = [2.0 * (name == "latent_index") for name in measures]
        plain = {"center": [2.0] * len(measures), "scale": [1.0] * len(measures)}
        plain |= {"weights": weights, "intercept": 0.0}
        without = [{**plain, "intercept": shift} for shift in (-0.5, 0.5)]
        return {**plain, "measures": measures, "without": without, "band": [0.4, 0.6], "auc": auc}

    return {
        "family": {
            "num_parameters": 100,
            "num_classes": 12,
            "image_shape": "3x32x32",
            "title": "tests",
        },
        "settings": {"n": 500, "trigger_steps": 10, "universal_steps": 4, "epsilon": 0.0625},
        "rules": {name: rule([*measures]) for name, measures in RULES.items()},
        "detectors": [
            {
                "name": name,
                "direction": -1.0 if name == "smallest_trigger" else 1.0,
                "threshold": about.scale(0.65 if name != "smallest_trigger" else 0.15),
                "benign": list(BENIGN[name]),
                "backdoored": [0.1, 0.8, 0.9],
                "auc": auc,
                "false_alarms": 0.1,
            }
            for name, about in DETECTORS.items()
        ],
    }
