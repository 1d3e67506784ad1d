"""The whole path in a real browser: a model comes, is checked and cleaned, and goes home."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from ngf.config import Choice, PurifySpec
from ngf.models import build
from ngf.runs.store import Store
from ngf.runs.submit import submit
from tests.helpers.brought import signs_zip, zoo_weights
from tests.helpers.browser import WAIT, Server, visit


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("browser")
    patch = pytest.MonkeyPatch()
    for name in ("DATA", "CACHE"):
        patch.setenv(f"NGF_{name}", str(folder / name.lower()))
    made = Server(folder)
    made.start()
    yield made
    made.stop()
    patch.undo()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A model as training code saves it, and clean images of signs."""
    state = {f"module.{name}": value for name, value in zoo_weights().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "brought.pt")
    return tmp_path / "brought.pt", signs_zip(tmp_path / "signs.zip")


def bring(page: Page, server: Server, files: tuple[Path, Path]) -> str:
    """Import by the form; the name of the run."""
    visit(page, server, "my_model")
    go = page.get_by_role("button", name="Import", exact=True)
    expect(go).to_be_disabled()
    for place, file in enumerate(files):
        page.locator("input[type=file]").nth(place).set_input_files(file)
    expect(page.get_by_test_id("stFileChip")).to_have_count(2, timeout=WAIT)
    expect(go).to_be_enabled(timeout=WAIT)
    go.click()
    page.wait_for_url(re.compile("run=mine-"), timeout=WAIT)
    return re.search(r"run=([\w-]+)", page.url)[1]


def test_a_model_comes_is_cleaned_and_goes_home(
    browser: Browser, page: Page, server: Server, files: tuple[Path, Path], one_thread: None
) -> None:
    brought = bring(page, server, files)
    accuracy = page.get_by_test_id("stMetric").filter(has_text="Clean accuracy")
    expect(accuracy).to_contain_text(re.compile(r"(9\d|100)\.\d"), timeout=WAIT)
    expect(page.get_by_text("of 15 images that no defense sees")).to_be_visible()
    # as the visitor whose cookie it is, with few steps
    (owner,) = [one["value"] for one in page.context.cookies() if "ngf_visitor" in one["name"]]
    race = submit(
        PurifySpec(parent=brought, lanes=(Choice("sgd", {"steps": 2}),), num_clean=45),
        Store(server.folder / "runs"),
        owner.partition(".")[0],
    )
    page.reload()
    take = page.get_by_role("button", name="Take home")
    expect(take.or_(page.get_by_text("Finished")).first).to_be_visible(timeout=WAIT)
    answer = page.request.get(f"{server.url}/api/runs/{race.id}/take/original?lane=sgd")
    assert answer.status == 200, answer.text()
    home = torch.load(io.BytesIO(answer.body()), weights_only=True)["state_dict"]
    network = build("preact_resnet_tiny", 12)
    network.load_state_dict({n.removeprefix("module."): v for n, v in home.items()}, strict=True)
    before = zoo_weights()
    assert any(not torch.equal(v, before[n.removeprefix("module.")]) for n, v in home.items())
    with browser.new_context() as second:
        other = second.new_page()
        visit(other, server, f"my_model?run={brought}")
        expect(other.get_by_role("button", name="Import", exact=True)).to_be_visible(timeout=WAIT)
        assert "brought.pt" not in other.inner_text("body")
        for name in (brought, race.id):
            said = other.request.get(f"{server.url}/api/runs/{name}/take/original?lane=sgd")
            assert said.status == 404 and "There is no run" in said.text()
