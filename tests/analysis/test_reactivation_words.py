"""What a reactivation says, and what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from analysis.reactivation_words import answer, few, missing, possible, sentence, taught
from ngf.config import Choice, TrainSpec
from ngf.evaluate import wilson
from ngf.runs.store import Store
from tests.helpers.imported_runs import import_spec, write_import
from tests.helpers.run_folders import epoch_events, write_run


def values(before: int, after: int, count: int) -> dict:
    found = {"epochs": 5}
    for when, hits in (("before", before), ("after", after)):
        low, high = wilson(hits, count)
        found |= {f"asr_{when}": hits / count, f"asr_{when}_low": low, f"asr_{when}_high": high}
    return found


@pytest.mark.parametrize(
    ("before", "after", "count", "said"),
    [
        (0, 90, 100, "The door opens again"),
        (0, 30, 100, "The door opens a little"),
        (0, 2, 100, "The door stays shut"),
        (10, 12, 100, "The door stays shut"),
        (99, 100, 100, "The door was open all along"),
        (0, 2, 3, "Too few pictures to tell"),
    ],
)
def test_the_answer_follows_the_intervals(before, after, count, said):
    found = values(before, after, count)
    assert answer(found) == said
    assert sentence(found).startswith(f"{said}: attack success {100 * before / count:.0f} % (")
    assert sentence({**found, "asr_after": None}) == "It is still being tuned."


def test_half_of_few_pictures_are_tuned_on():
    assert [taught(count) for count in (0, 1, 2, 5, 9, 10, 40)] == [0, 0, 1, 2, 4, 5, 5]
    assert few(5, 5) == "" and few(2, 3).startswith("Only 5 pictures")
    assert "2 to tune on in place of 5, 3 to measure on" in few(2, 3)


def test_it_says_what_would_be_needed(store: Store):
    write_import(store.root, "", import_spec())
    brought = store.get(import_spec().id)
    trained = [TrainSpec(attack=Choice(name)) for name in ("badnets", "none")]
    for spec in trained:
        write_run(store.root, spec, epoch_events(), done=True)
    assert [possible(store.get(spec.id)) for spec in trained] == [True, False]
    assert not possible(brought)
    assert "No picture with the trigger" in missing(0) and "`target`" in missing(0)
    assert "Only one" in missing(1) and "without one" in missing(None)


def test_no_torch():
    code = "import sys, analysis.reactivation_words\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
