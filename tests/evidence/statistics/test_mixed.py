"""Linear mixed models against statsmodels, and where their intervals are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from evidence.statistics import mixed


def crossed(rng, between=0.3, shared=0.2):
    """Eight groups with four rows each, of four seeds; a benign group of ten."""
    attack = np.array(["none"] * 10 + [f"a{k}" for k in range(8) for _ in range(4)])
    seed = np.array([*range(10), *(list(range(4)) * 8)])
    backdoored = attack != "none"
    random = {
        "attack": mixed.groups(attack, backdoored),
        "seed": mixed.groups(seed),
    }
    y = 1 + 0.4 * backdoored + rng.normal(0, 0.2, len(attack))
    y += random["attack"] @ rng.normal(0, between, 8) + random["seed"] @ rng.normal(0, shared, 10)
    return y, np.column_stack([np.ones(len(y)), backdoored]), random


def likelihood(y, design, random, variances, residual):
    """Restricted log likelihood, by the definition."""
    v = residual * np.eye(len(y))
    v += sum(variance * z @ z.T for variance, z in zip(variances, random.values()))
    inner = design.T @ np.linalg.solve(v, design)
    rest = y - design @ np.linalg.solve(inner, design.T @ np.linalg.solve(v, y))
    fit = rest @ np.linalg.solve(v, rest)
    return -(np.linalg.slogdet(v)[1] + np.linalg.slogdet(inner)[1] + fit) / 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_variances_and_coefficients_are_those_of_statsmodels(seed):
    y, design, random = crossed(np.random.default_rng(seed))
    found = mixed.fit(y, design, random)
    columns = [[[str(k) for k in range(z.shape[1])]] for z in random.values()]
    spec = VCSpec([*random], columns, [[z] for z in random.values()])
    theirs = MixedLM(y, design, groups=np.zeros(len(y)), exog_vc=spec).fit(
        reml=True, method="powell"
    )
    assert found.variances == pytest.approx(theirs.vcomp, rel=0.1, abs=0.002)
    assert found.residual == pytest.approx(theirs.scale, rel=0.02)
    assert found.coefficients == pytest.approx(theirs.fe_params, rel=0.01)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(theirs.bse_fe, rel=0.03)
    # its optimizer stops early: ours is no lower, by the formula
    ours = likelihood(y, design, random, found.variances, found.residual)
    at_theirs = likelihood(y, design, random, theirs.vcomp, theirs.scale)
    assert 0 <= ours - at_theirs < 0.05 and found.left_to_gain < 1e-6
    # what small samples add
    assert np.sqrt(found.adjusted[1, 1]) >= np.sqrt(found.covariance[1, 1])


def test_a_balanced_design_gives_the_t_test_of_group_means():
    """Equal groups: REML's mean of groups has the t interval over the groups' means, exactly."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(6), 5)
    y = 0.3 + rng.normal(0, 0.5, 6)[group] + rng.normal(0, 0.2, 30)
    found = mixed.fit(y, np.ones((30, 1)), {"group": mixed.groups(group)}).contrast([1])
    means = y.reshape(6, 5).mean(1)
    assert found.value == pytest.approx(means.mean())
    assert found.stderr == pytest.approx(stats.sem(means), rel=1e-5)
    assert found.df == pytest.approx(5, rel=1e-4)


def test_without_groups_it_is_least_squares():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=20), rng.normal(size=20)
    found = mixed.fit(y, np.column_stack([np.ones(20), x]), {}).contrast([0, 1])
    theirs = stats.linregress(x, y)
    assert (found.value, found.stderr) == pytest.approx((theirs.slope, theirs.stderr))
    assert found.df == pytest.approx(18)


def test_a_variance_at_zero_is_left_out():
    y = np.tile([0.0, 1.0, 2.0], 4)  # all groups alike: they vary less than by chance
    found = mixed.fit(y, np.ones((12, 1)), {"group": mixed.groups(np.repeat(range(4), 3))})
    assert found.random == {}
    assert found.contrast([1]).stderr == pytest.approx(stats.sem(y))
    assert found.predicted([1], "group", 2) == found.contrast([1])


def test_a_group_is_shrunken_by_its_reliability():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(8), 4)
    y = rng.normal(0, 0.5, 8)[group] + rng.normal(0, 0.4, 32)
    found = mixed.fit(y, np.ones((32, 1)), {"group": mixed.groups(group)})
    reliability = found.variances[0] / (found.variances[0] + found.residual / 4)
    mean, own = y.mean(), y[group == 2].mean()
    shrunken = found.predicted([1], "group", 2)
    assert shrunken.value == pytest.approx(mean + reliability * (own - mean))
    assert 0 < shrunken.stderr < np.sqrt(found.residual / 4) * 1.1


def test_what_cannot_be_told_apart_is_refused():
    y, each = np.array([1.0, 2.0, 4.0, 3.0]), np.ones((4, 1))
    with pytest.raises(ValueError, match="cannot be told apart"):
        mixed.fit(y, each, {"model": mixed.groups(np.arange(4))})  # a group of each row is e
    assert mixed.identifiable(each, {"model": mixed.groups(np.arange(4))}) == {}
    with pytest.raises(ValueError, match="2 fixed effects"):
        mixed.fit(y, np.ones((4, 2)), {})
