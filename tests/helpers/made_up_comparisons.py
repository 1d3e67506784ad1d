"""Made-up models for charts that compare."""

from __future__ import annotations

from typing import Any

from dashboard.charts.compared import Entry, Value
from dashboard.charts.style import lane_mark
from dashboard.charts.titles import lane_title
from ngf.evaluate import wilson

N_CLEAN, N_TRIGGERED = 2000, 1800


def rates(ca: float, asr: float | None) -> dict[str, Any]:
    """Rates as a result has them; `asr` is None for a benign model."""
    hits = round(ca * N_CLEAN)
    out: dict[str, Any] = {
        "ca": hits / N_CLEAN,
        "n_clean": N_CLEAN,
        "ca_interval": wilson(hits, N_CLEAN),
    }
    if asr is None:
        return out | {"asr": None, "asr_interval": None, "n_triggered": 0}
    hits = round(asr * N_TRIGGERED)
    return out | {
        "asr": hits / N_TRIGGERED,
        "n_triggered": N_TRIGGERED,
        "asr_interval": wilson(hits, N_TRIGGERED),
    }


def points(asr: float | None, steps: int = 100, every: int = 10) -> list[dict[str, Any]]:
    """A race in which the attack success rate falls evenly from 100 % to `asr`."""
    return [
        {
            "step": step,
            "steps": steps,
            "ca": 0.99 - 0.01 * step / steps,
            "asr": None if asr is None else 1 - (1 - asr) * step / steps,
            "ra": None if asr is None else (1 - asr) * step / steps,
        }
        for step in range(0, steps + 1, every)
    ]


def entry(
    method: str = "ngf",
    seed: int = 0,
    model: str = "m0",
    *,
    asr: float | None = 0.01,
    ca: float = 0.98,
    steps: int = 100,
    diverged: int | None = None,
    layer: str = "all",
    **more: Any,
) -> Entry:
    """What a lane has made of a model."""
    group = Value(method, lane_title(method), (method != "ngf", method))
    fields = {
        "method": group,
        "attack": Value("badnets", "BadNets", (0,)),
        "model_seed": Value(model[1:], model[1:], (int(model[1:]),)),
        "seed": Value(str(seed), str(seed), (seed,)),
        "layer": Value(layer, layer, (layer,)),
    }
    seen = points(asr, steps) if steps else []
    return Entry(
        **{
            "target": f"{model}-{seed}-{layer}:{method}",
            "name": f"{lane_title(method)} · seed {seed}",
            "fields": fields,
            "group": group,
            "mark": lane_mark(method),
            "model": model,
            "seed": seed,
            "role": "purified",
            "before": rates(0.99, None if asr is None else 1.0),
            "after": {} if diverged is not None else rates(ca, asr),
            "points": [one for one in seen if diverged is None or one["step"] <= diverged],
            "steps": steps,
            "diverged": diverged,
            **more,
        }
    )


def training(model: str = "m0", asr: float | None = 1.0) -> Entry:
    """A model that was not purified."""
    role = "benign" if asr is None else "backdoored"
    none = Value("none", "not purified", (2,))
    made = entry(model=model, role=role, name=role.capitalize(), before=rates(0.99, asr), after={})
    fields = {**made.fields, "method": none, "seed": none, "layer": none}
    return entry(
        model=model,
        role=role,
        name=role.capitalize(),
        before=rates(0.99, asr),
        after={},
        fields=fields,
        group=none,
        steps=0,
        target=model,
    )
