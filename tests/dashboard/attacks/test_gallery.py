"""The tiles lead to the cards."""

from __future__ import annotations

import re

from ngf.catalogue import catalogue

ATTACKS = [name for name in catalogue()["attacks"] if name != "none"]


def test_every_tile_leads_to_its_card(open_page, store):
    page = open_page("attacks")
    (gallery,) = (item.proto.body for item in page.get("html") if "ngf-gallery" in item.proto.body)
    leads = re.findall(r'href="#([\w-]+)"', gallery)
    assert leads == [item.proto.anchor for item in page.header][-len(ATTACKS) :]
    assert len(leads) == len(ATTACKS)
    assert gallery.count("<img") == 2 * len(ATTACKS), "each has a model in the zoo"
    assert len(re.findall(r"ASR \d+\.\d %", gallery)) == len(ATTACKS)


def test_filters_leave_tiles_out(open_page, store):
    page = open_page("attacks", attack="badnets")
    gallery = next(item.proto.body for item in page.get("html") if "ngf-gallery" in item.proto.body)
    assert gallery.count("<a ") == 1 and "#badnets" in gallery


def test_without_models_a_tile_has_no_picture(open_page, empty):
    page = open_page("attacks")
    gallery = next(item.proto.body for item in page.get("html") if "ngf-gallery" in item.proto.body)
    assert "<img" not in gallery and "not trained yet" in gallery
