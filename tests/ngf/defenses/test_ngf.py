"""What NGF promises besides the contract."""

from tests.helpers.purifications import finish, short


def test_the_trust_region_bounds_every_step(problem):
    wide = finish(
        short("ngf", layer="last", trust_region=100.0, lr=10.0, momentum=0.0).purify(problem)
    )
    tight = finish(
        short("ngf", layer="last", trust_region=1e-4, lr=10.0, momentum=0.0).purify(problem)
    )
    assert max(step.kl for step in wide[2:]) > 1e-3
    assert all(step.kl <= 1e-4 * 1.001 for step in tight[2:])


def test_the_regularizer_holds_the_weights_back(problem):
    free, held = (
        finish(short("ngf", layer="stem", regularizer=eta, lr=0.1, steps=12).purify(problem))[
            -1
        ].distance
        for eta in (0.0, 100.0)
    )
    assert held < 0.8 * free
