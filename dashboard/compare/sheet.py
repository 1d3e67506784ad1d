"""The whole comparison as one table: what each model is, its rates, its measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.charts.compared import Entry
from dashboard.charts.rates import RATES
from dashboard.compare import FIELDS
from ngf.config import Target

_RAN = ("seconds", "version", "numbers", "device", "source")


def sheet(
    found: Sequence[Entry],
    measures: Mapping[str, Mapping[str, Any]],
    ran: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """A row for each model; rates are shares, an interval is two columns.

    measures: by the name of the model. ran: its row of `ngf.runs.rows`, by its target.
    """
    columns = list(dict.fromkeys(name for own in measures.values() for name in own))
    rows = [
        {
            "model": entry.name,
            "run": Target.parse(entry.target).run,
            "lane": Target.parse(entry.target).lane,
            "started_from": entry.model if entry.purified else "",
            **{name: entry.fields[name].words for name in FIELDS},
            "steps": entry.steps or None,
            "diverged_at_step": entry.diverged,
            **_rates(entry.before, "before"),
            **_rates(entry.after, "after"),
            **{name: measures.get(entry.name, {}).get(name) for name in columns},
            **{name: ran.get(entry.target, {}).get(name) for name in _RAN},
        }
        for entry in found
    ]
    return pd.DataFrame(rows, dtype=object)  # a count stays whole


def _rates(numbers: Mapping[str, Any], when: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for rate in RATES:
        low, high = numbers.get(f"{rate.key}_interval") or (None, None)
        found[f"{rate.key}_{when}"] = numbers.get(rate.key)
        found[f"{rate.key}_{when}_low"], found[f"{rate.key}_{when}_high"] = low, high
    return found | {f"{key}_{when}": numbers.get(key) for key in ("n_clean", "n_triggered")}
