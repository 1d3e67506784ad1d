"""What others rest on is what it was: names of runs, catalogue, routes, command line, and a
race to the last bit.
"""

import pytest
import torch

from tests.guard.promises import PROMISES, differences, recorded


@pytest.mark.parametrize("name", [name for name in PROMISES if name != "race"])
def test_a_promise_is_kept(name):
    assert differences(recorded(name), PROMISES[name]()) == []


def test_a_race_gives_the_same_bits():
    """To the last bit with the version of torch and on the make of processor that it was written
    down with; on others, what a reader would see.
    """
    then, now = recorded("race"), PROMISES["race"]()
    if all(now[key] == then[key] for key in ("torch", "vendor")):
        assert differences(then, now) == []
        return
    assert now["files"] == then["files"] and now["id"] == then["id"]
    for lane, before in then["result"]["lanes"].items():
        after = now["result"]["lanes"][lane]
        assert after["layer"] == before["layer"] and after["lr"] == before["lr"]
        assert after["distance"] == pytest.approx(before["distance"], rel=0.05)
        for rate in ("ca", "asr", "ra"):
            assert after["after"][rate] == pytest.approx(before["after"][rate], abs=0.03)


def test_differences_are_found():
    then = {"a": [1, {"b": 2.0}], "c": None}
    assert differences(then, {"a": [1, {"b": 2.0}], "c": None, "new": 1}) == []
    assert differences(then, {"a": [1, {"b": 2.5}]}) == ["/c is gone", "/a[1]/b: 2.0 is now 2.5"]
    assert differences(then, {"a": [1], "c": None}) == ["/a: [1, {'b': 2.0}] is now [1]"]
    assert torch.__version__.startswith(recorded("race")["torch"].split(".")[0])
