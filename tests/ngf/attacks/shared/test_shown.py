"""When what an attack claims counts as shown."""

import pytest

from ngf.attacks.shared.shown import Opened, failed, over_seeds


@pytest.mark.parametrize(
    ("claims", "called", "shown", "always"),
    [
        (True, [0.8, 0.8], True, True),
        (True, [0.79, 0.9], True, False),
        (True, [0.7, 0.89], False, False),
        (False, [0.2, 0.2], True, True),
        (False, [0.25, 0.1], True, False),
        (False, [0.3, 0.2], False, False),
        (None, [0.5], None, None),
    ],
)
def test_the_mean_over_seeds_decides(claims, called, shown, always):
    probe = Opened("it", claims, called, [0.0] * len(called), [10] * len(called))
    assert (probe.shown, probe.always) == (shown, always)
    assert failed([probe]) == ([probe] if shown is False else [])


def test_cards_are_put_together_by_probe_and_old_ones_add_nothing():
    def row(name, claims, called, n=10):
        return {"name": name, "claims": claims, "called_wanted": called, "keeps_label": 0.1, "n": n}

    cards = [
        {"ca": 0.9},
        {"opens": [row("the trigger", True, 0.9), row("a half", None, 0.5)]},
        {"opens": [row("the trigger", True, 1.0, n=12)]},
    ]
    trigger, half = over_seeds(cards)
    assert (trigger.name, trigger.claims) == ("the trigger", True)
    assert (trigger.called, trigger.kept, trigger.n) == ([0.9, 1.0], [0.1, 0.1], [10, 12])
    assert half.called == [0.5]
    assert over_seeds(cards[:1]) == []
