"""What assets/evidence/sharpness.json may hold, written by hand."""

from __future__ import annotations

from typing import Any

MEASURES = {
    "lambda_max": "Largest Hessian eigenvalue",
    "fisher_trace": "Trace of the Hessian",
    "loss": "Clean loss alone",
}
N = {"attacks": 2, "models": 4, "benign": 3}
PURIFIED_N = {"attacks": 2, "models": 4, "benign": 3, "purification_seeds": 5}
WHERE = {"data": "signs", "images": "train"}


def effect(
    question: str, compared: str, ratio: float, measure: str = "lambda_max", **more: Any
) -> dict[str, Any]:
    """With an interval a fifth to both sides."""
    purified = {"method": "ngf"} if question == "purified" else {}
    keys = {"question": question, **purified, "compared": compared, "measure": measure}
    numbers = {"ratio": ratio, "low": ratio / 1.2, "high": ratio * 1.2, "p": 0.01, "holm": True}
    n = PURIFIED_N if purified else N
    if compared in ("loss", "ca"):
        more = {"told": "4 of 4 models have a clean loss that benign trainings reach."} | more
    return {**WHERE, **keys, "attack": "all", **numbers, "n": n} | more


def model(attack: str, seed: int, loss: float, kind: str = "final", **more: Any) -> dict[str, Any]:
    values = {"loss": loss, "ca": 0.99, "lambda_max": 900 * loss, "fisher_trace": 5000 * loss}
    about = {"attack": attack, "seed": seed, "kind": kind, "step": 20, "steps": 20}
    return {**WHERE, **about, **values} | more


def sharpness() -> dict[str, Any]:
    """Three benign trainings, two attacks with two models each, purified with five seeds."""
    models = [model("none", seed, 0.004 + 0.001 * seed) for seed in range(3)]
    models += [
        model("none", seed, 1 / step, "checkpoint", step=step)
        for seed in range(3)
        for step in (1, 10)
    ]
    attacked = [(attack, seed) for attack in ("badnets", "blend") for seed in range(2)]
    models += [model(attack, seed, 0.01) for attack, seed in attacked]
    purified = [
        model(attack, seed, 0.02, "purified", method="ngf", purification_seed=k)
        for attack, seed in attacked
        for k in range(5)
    ]
    effects = [
        effect("backdoored", "raw", 1.5),
        effect("backdoored", "raw", 1.4, attack="badnets", n={"attacks": 1, "models": 2}),
        effect("backdoored", "raw", 1.6, "fisher_trace"),
        effect("backdoored", "loss", 1.1),
        effect("backdoored", "direct", 1.05),
        effect("purified", "raw", 0.7),
        effect("purified", "loss", 0.6),
        effect("purified", "ca", 0.65),
        effect("purified", "raw", 0.9, method="sgd"),
    ]
    detectors = [
        {**WHERE, "measure": name, "attack": "all", "auc": value, "low": value - 0.2}
        | {"high": min(1.0, value + 0.1), "n": N, "found": 0.75, "false_alarms": 0.1}
        for name, value in (("lambda_max", 0.65), ("fisher_trace", 0.8), ("loss", 0.9))
    ]
    share = {"measure": "lambda_max", "n": N, "through": 1.4, "slope": 0.8}
    share |= {"share": 0.85, "low": 0.6, "high": 1.1}
    return {
        "of": "made up",
        "measures": [
            {"name": name, "title": title, "invariant": False} for name, title in MEASURES.items()
        ],
        "num_images": 1000,
        "hardware": {"hardware": "Made up", "torch": "0"},
        "models": models,
        "purified": purified,
        "along": [
            {**WHERE, "method": "ngf", "step": step, "loss": 0.01 + 0.005 * step, "ca": 0.99}
            | {"lambda_max": 9.0 - step, "fisher_trace": 40.0, "models": 4, "purifications": 20}
            for step in range(3)
        ],
        "effects": effects,
        "shares": [{**WHERE, **share}],
        "detectors": detectors,
        "left_out": [],
    }
