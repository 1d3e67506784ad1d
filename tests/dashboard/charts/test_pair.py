"""Two walks side by side, and what is said of one pair and of all."""

from dashboard.charts.pair import pair_chart, pair_finding, pairs_finding


def pair(ratio: float, attack: str = "lira") -> dict:
    distance = [-0.3, 0.0, 0.3]

    def walk(curvature: float, run: str) -> dict:
        rise = [curvature * x * x / 2 for x in distance]
        return {
            "run": run,
            "step": 20,
            "loss": 0.0249,
            "curvature": curvature,
            "distance": distance,
            "rise": rise,
        }

    return {
        "attack": attack,
        "ratio": ratio,
        "backdoored": walk(10 * ratio, "b"),
        "matched": walk(10.0, "m") | {"loss": 0.024},
    }


def test_both_walk_over_the_same_distances():
    chart = pair_chart(pair(3.0))
    benign, backdoored = chart.figure["data"]
    assert benign["x"] == backdoored["x"] and benign["y"][-1] < backdoored["y"][-1]
    assert [row["Run"] for row in chart.rows] == ["m"] * 3 + ["b"] * 3
    low, high = chart.figure["layout"]["yaxis"]["range"]
    assert low < 0 < max(benign["y"]) <= high <= 1.05


def test_the_sentence_says_which_is_sharper():
    start = "At the same loss on clean signs (0.025 and 0.024), the network with the LIRA backdoor"
    assert pair_finding(pair(3.0)) == f"{start} is 3 times as sharp (curvature 30 against 10)."
    assert f"{start} is about as sharp" in pair_finding(pair(1.1))
    assert f"{start} is 2 times as smooth" in pair_finding(pair(0.5))


def test_all_pairs_are_counted():
    said = pairs_finding([pair(3.0), pair(1.2), pair(0.9), pair(0.5)])
    assert said.startswith("Of 4 attacks, one model each, 1 are sharper")
    assert said.endswith("2 about as sharp, 1 smoother.")
