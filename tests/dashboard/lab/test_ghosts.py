"""The race behind the one on the stage."""

from __future__ import annotations

from dataclasses import replace

from dashboard.kit import library
from tests.helpers.pages import checked, text
from tests.helpers.run_folders import RACE, race_events, write_run


def test_it_is_chosen_from_a_list_and_stays_in_the_address(open_page, store):
    parent = library.recordings()[0].spec.parent
    first, second = (replace(RACE, parent=parent, seed=seed) for seed in (77, 78))
    for spec in (first, second):
        write_run(store.root, spec, race_events(), done=True)
    page = open_page("lab", run=first.id)
    box = page.selectbox(key="lab.ghost")
    assert any("seed 78" in option for option in box.options)
    assert any("ships with the program" in option for option in box.options)
    checked(box.set_value(second.id).run())
    assert page.query_params["ghost"] == second.id
    again = open_page("lab", run=first.id, ghost=second.id)
    assert again.selectbox(key="lab.ghost").value == second.id
    assert "could not be used" not in text(again)


def test_a_link_to_one_that_is_gone_says_so(open_page, store, zoo_model):
    spec = replace(RACE, parent=zoo_model.id, seed=77)
    write_run(store.root, spec, race_events(), done=True)
    page = open_page("lab", run=spec.id, ghost="none-such")
    assert "ghost “none-such” is no purification of this store" in text(page)
    assert "ghost" not in page.query_params
    assert library.find(spec.id).id == page.query_params["run"]
