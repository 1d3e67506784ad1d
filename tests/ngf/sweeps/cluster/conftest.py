"""Clusters that several tests use, none of which kills a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ngf.sweeps.cluster import service
from tests.helpers.cluster import BLIND, Machines, machines


@pytest.fixture(scope="package")
def two() -> Iterator[Machines]:
    """Two workers that share the store."""
    with machines(n_workers=2) as found:
        yield found


@pytest.fixture(scope="package")
def two_blind() -> Iterator[Machines]:
    """Two workers that do not see it."""
    with machines(n_workers=2, **BLIND) as found:
        yield found


@pytest.fixture(autouse=True)
def _without_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this machine are not seen late, and a test does not wait for what is rare."""
    monkeypatch.setattr(service, "REST", 0.1)
    monkeypatch.setattr(service, "STUCK", 0.5)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Machines:
    found: Machines = request.getfixturevalue("two" if request.param == "shared" else "two_blind")
    return found
