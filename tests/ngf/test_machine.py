"""What is known of the machine that computes."""

from ngf.environment import environment
from ngf.machine import was_made_here


def test_results_tell_whether_they_were_made_here(monkeypatch):
    here = environment()
    assert was_made_here(here)
    assert not was_made_here({**here, "hardware": "another processor"})
    assert not was_made_here({**here, "torch": "1.0"})
    assert not was_made_here({})
    monkeypatch.setenv("NGF_DEVICE", "cuda" if here["device"] == "cpu" else "cpu")
    assert not was_made_here(here), "a run would get another device now"
