"""A mark for each model, a row for each attack."""

from dashboard.charts.every_attack import every_attack_chart


def row(attack: str, seed: int, value: float | None) -> dict:
    return {"attack": attack, "seed": seed, "m": value}


MODELS = [
    *(row("none", seed, 10.0 + seed) for seed in range(3)),
    *(row("lira", seed, 40.0 + seed) for seed in range(2)),
    *(row("sig", seed, value) for seed, value in enumerate((9.0, 30.0))),
    row("wanet", 0, None),
]


def test_attacks_are_sorted_and_benign_ones_are_below():
    chart = every_attack_chart(MODELS, "m", "Measure")
    ticks = [word.strip() for word in chart.figure["layout"]["yaxis"]["ticktext"]]
    assert ticks == ["Benign", "SIG", "LIRA"]
    (line,) = chart.figure["layout"]["shapes"]
    assert line["x0"] == 11.0
    assert len(chart.rows) == 7, "a model without the measure is left out"


def test_only_attacks_with_all_models_beyond_are_named():
    said = every_attack_chart(MODELS, "m", "Measure").finding
    assert "all models of 1 attack (LIRA) lie above every benign one" in said
    assert "the median of 3 benign models is 11 (4 models of 2 attacks)" in said
    fewer = [one for one in MODELS if one["attack"] != "lira"]
    assert "no attack has all its models above" in every_attack_chart(fewer, "m", "M").finding
    assert "Too few" in every_attack_chart(MODELS[3:], "m", "M").finding
