"""Repeating a race: one click asks for what is not there yet, and the band appears."""

from __future__ import annotations

from dataclasses import replace

from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run


def test_one_click_asks_for_the_other_seeds(open_page, store) -> None:
    write_run(store.root, TRAIN, epoch_events(), done=True)
    write_run(store.root, RACE, race_events(), done=True)
    page = open_page("lab", run=RACE.id)
    assert "How much of this is luck?" in text(page)
    assert "purification seeds" not in text(page)
    checked(button(page, "lab.repeat").click().run())
    asked = {run.spec.seed for run in store.runs() if run.source == "user" and run.id != TRAIN.id}
    assert asked == {0, 1, 2, 3, 4}


def test_a_band_is_drawn_over_all_seeds_there_are(open_page, store) -> None:
    write_run(store.root, TRAIN, epoch_events(), done=True)
    for seed in range(5):
        write_run(store.root, replace(RACE, seed=seed), race_events(), done=True)
    write_run(store.root, replace(RACE, seed=9, num_clean=50), race_events(), done=True)
    page = open_page("lab", run=RACE.id)
    assert not [item for item in page.button if item.key == "lab.repeat"]
    assert "5 purification seeds of one model" in text(page)
