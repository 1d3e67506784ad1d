"""What is ticked, in the address and back."""

from __future__ import annotations

import json

from dashboard.compare import lanes as compared
from dashboard.compare.lanes import MOST, first_ticked, lanes
from dashboard.compare.selection import NOTHING, read, write
from dashboard.kit import library
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.runs.folder import SPEC
from tests.helpers.run_folders import RACE, TRAIN, race_events, write_run


def test_an_address_opens_what_was_ticked(store):
    write_run(store.root, RACE, race_events(), done=True)
    known = lanes()
    whole = [f"{RACE.id}:ngf", f"{RACE.id}:sgd"]
    recorded = f"{library.recording().id}:sgd"
    model = library.trained()[0].id
    for targets, text in (
        (whole, RACE.id),
        ([*whole, recorded, model], f"{RACE.id},{recorded},{model}"),
        (whole[::-1], ",".join(whole[::-1])),
        ([], NOTHING),
    ):
        assert write(targets, known) == text
        assert read([text], known) == (targets, [])
    assert read([RACE.id, model], known)[0] == [*whole, model]  # named twice in an address


def test_what_an_address_names_in_vain_is_told_and_the_rest_stands(store):
    write_run(store.root, RACE, race_events(), done=True)
    waiting = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"),), seed=3)
    write_run(store.root, waiting, [])
    broken = store.root / "ngf-0123456789"
    broken.mkdir()
    (broken / SPEC).write_text(json.dumps({"kind": "dance"}), encoding="utf-8")
    measure = MeasureSpec(target=f"{RACE.id}:ngf", measurement=Choice("loss_slice"))
    write_run(store.root, measure, [])
    model = library.trained()[0].id
    text = ",".join(
        ["<b>", f"{RACE.id}:adam", waiting.id, broken.name, measure.id, f"{model}:ngf", RACE.id]
    )
    targets, said = read([text, "x" * 300], lanes())
    assert targets == [f"{RACE.id}:ngf", f"{RACE.id}:sgd"]
    assert len(said) == 7
    for part, sentence in zip(
        (
            "not in this store",
            "no such lane. Allowed: ngf (NGF), sgd (SGD)",
            "not finished (waiting)",
            "is damaged",
            f"its model: {RACE.id}:ngf",
            "a training has no lanes",
            "…",
        ),
        said,
        strict=True,
    ):
        assert part in sentence
    assert all(len(sentence) < 300 for sentence in said)


def test_no_more_than_can_be_read_are_compared(store):
    known = lanes()
    targets, said = read([",".join(known)], known)
    assert targets == list(known)[:MOST]
    assert said == [
        f"{len(known)} models are ticked, and {MOST} can be compared at once: the first {MOST} are "
        "shown. Untick some, or compare the rest in another tab."
    ]


def test_a_bare_address_ticks_the_recordings_race_by_race(store, monkeypatch):
    recorded = library.recording().id
    known = lanes()
    assert first_ticked(known)[:2] == (f"{recorded}:ngf", f"{recorded}:sgd")
    assert len(first_ticked(known)) < MOST
    monkeypatch.setattr(compared, "FIRST", 1)
    assert first_ticked(known) == (f"{recorded}:ngf", f"{recorded}:sgd")
