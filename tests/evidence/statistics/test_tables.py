"""What is wrong with a table is said in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evidence.statistics.tables import both_populations, checked, labels

GOOD = pd.DataFrame(
    {"attack": ["none", "blend"], "seed": [0, 0], "trace": [3.0, 4.0], "ca": [0.9, 1.0]}
)


def refused(frame: pd.DataFrame, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        checked(frame, "models", keys=("attack", "seed"), positive=["trace"], fractions=["ca"])


def test_a_table_is_taken_or_refused_in_words():
    checked(GOOD, "models", keys=("attack", "seed"), positive=["trace"], fractions=["ca"])
    refused(GOOD.drop(columns="trace"), "models has no column trace")
    refused(GOOD.iloc[:0], "models is empty")
    refused(GOOD.assign(attack=["none", None]), "has no attack")
    refused(GOOD.assign(trace=[3.0, np.nan]), "attack blend, seed 0 has no finite trace")
    refused(GOOD.assign(trace=[3.0, np.inf]), "attack blend, seed 0 has no finite trace")
    refused(GOOD.assign(trace=[0.0, 4.0]), "attack none, seed 0 has trace that is not above 0")
    refused(GOOD.assign(ca=[0.9, 90.0]), "has ca outside 0 to 1")
    refused(pd.concat([GOOD, GOOD]), "attack none, seed 0 is there twice")


def test_too_few_to_compare_is_said():
    with pytest.raises(ValueError, match="1 attacks and 1 benign models: at least 2 and 3"):
        both_populations(GOOD)


def test_labels_join_columns():
    assert labels(GOOD, "attack", "seed").tolist() == ["none / 0", "blend / 0"]
