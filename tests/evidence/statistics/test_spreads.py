"""Two spreads, and an interval over models only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evidence.statistics.spreads import sentence, spreads


def results(rates: dict[int, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"attack": "badnets", "seed": seed, "purification_seed": k, "asr": rate}
            for seed, of in rates.items()
            for k, rate in enumerate(of)
        ]
    )


def test_both_spreads():
    rates = {0: [0.1, 0.2, 0.3], 1: [0.5, 0.5, 0.5], 2: [0.0, 0.4]}
    found = spreads(results(rates), "asr")
    means = [0.2, 0.5, 0.2]
    assert found.value == pytest.approx(0.3)
    assert found.between_models == pytest.approx(np.std(means, ddof=1))
    pooled = (2 * np.var(rates[0], ddof=1) + 0 + np.var(rates[2], ddof=1)) / 5
    assert found.between_seeds == pytest.approx(np.sqrt(pooled))
    assert found.range_of_seeds == pytest.approx(0.4)
    assert found.mean is not None
    interval = stats.t.interval(0.95, 2, 0.3, stats.sem(means))
    assert (found.mean.low, found.mean.high) == pytest.approx(interval)
    told = sentence("ASR after NGF", found)
    assert told.startswith("ASR after NGF: 30.0 % (95 % interval ")
    assert "3 models, 2 purification seeds" in told and "17.3 points" in told


def test_one_model_and_one_seed_have_no_spread():
    one = spreads(results({0: [0.1, 0.3]}), "asr")
    assert (one.mean, one.between_models) == (None, None)
    assert one.between_seeds == pytest.approx(np.std([0.1, 0.3], ddof=1))
    single = spreads(results({0: [0.1], 1: [0.3]}), "asr")
    assert (single.between_seeds, single.range_of_seeds) == (None, None)
    assert "between purification seeds of one model not known from one" in sentence("x", single)
    assert "no interval from one model" in sentence("x", one)


def test_equal_models_and_bad_rates():
    found = spreads(results({0: [0.0, 0.0], 1: [0.0, 0.0]}), "asr")
    assert found.mean is not None
    assert (found.mean.low, found.mean.high, found.between_seeds) == (0, 0, 0)
    with pytest.raises(ValueError, match="outside 0 to 1"):
        spreads(results({0: [30.0]}), "asr")
    with pytest.raises(ValueError, match="no finite asr"):
        spreads(results({0: [np.nan]}), "asr")
