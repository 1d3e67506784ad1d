"""Reading the events of a run while they are being written."""

from __future__ import annotations

from ngf.runs.folder import EVENTS
from ngf.runs.store import Store
from tests.helpers.processes import counting


def test_readers_see_complete_lines_only(store: Store) -> None:
    run = store.submit(counting())
    log = run.path / EVENTS
    log.write_bytes(b'{"seq":0,"type":"phase","t":0}\n{"seq":1,"ty')
    assert [event["seq"] for event in run.events()] == [0]
    with open(log, "ab") as file:
        file.write(b'pe":"phase","t":1}\n')
    assert [event["seq"] for event in run.events(1)] == [1]
    log.unlink()
    assert run.events() == []
    log.write_bytes(b'{"seq":0,"type":"other","t":0}\n' * 1)
    assert run.events() == [{"seq": 0, "type": "other", "t": 0}]
