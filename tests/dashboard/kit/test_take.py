"""Links to the products of a run: relative, and only to what there is."""

from __future__ import annotations

import re

from dashboard.kit.take import links
from ngf.export.products import PRODUCTS
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"


def addresses(text: str) -> list[str]:
    return re.findall(r'href="([^"]*)" download', text)


def test_a_link_for_each_product():
    found = addresses(links(Store().get(RECORDED)))
    whole = [name for name, one in PRODUCTS.items() if not one.of_lanes]
    assert {f"api/runs/{RECORDED}/take/{name}" for name in whole} < set(found)
    assert f"api/runs/{RECORDED}/take/pt?lane=ngf" in found
    assert len(found) == len(whole) + 4


def test_no_link_to_weights_that_are_not_there(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    write_run(tmp_path, RACE, race_events(40))
    assert not [one for one in addresses(links(Store(tmp_path).get(RACE.id))) if "pt" in one[-9:]]


def test_the_runs_page_offers_them(open_page, store):
    page = open_page("runs", run=RECORDED)
    assert any(f"api/runs/{RECORDED}/take/report" in item.proto.body for item in page.get("html"))


def test_so_does_the_lab_below_a_finished_race(open_page, store):
    page = open_page("lab", run=RECORDED)
    assert any(f"api/runs/{RECORDED}/take/zip" in item.proto.body for item in page.get("html"))
