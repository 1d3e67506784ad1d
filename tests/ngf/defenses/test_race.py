"""How much of the time of a race goes into measuring."""

from ngf.defenses.race import Pace


def test_measuring_never_takes_more_than_a_third():
    pace = Pace()
    for step in range(1, 200):
        pace.working += 0.02
        if pace.due(step, 1000):
            pace.measuring += 0.1
    assert pace.measuring <= (pace.working + pace.measuring) / 3 + 0.1
    assert pace.measuring >= 0.25 * (pace.working + pace.measuring)
