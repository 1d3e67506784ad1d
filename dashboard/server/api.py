"""The JSON routes of the server: runs, their events and their charts. They only read the store."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dashboard.charts.chart import Chart
from dashboard.charts.ghost import Ghost, with_ghost
from dashboard.charts.loss_plane import VIEWS
from dashboard.charts.registry import DRAWN_OF, VALUES, ChartOptions, draw, draw_outline
from dashboard.components.library import plotly_source
from dashboard.kit.readings import findings, written
from dashboard.kit.signature import Visitor
from dashboard.kit.stores import whole
from dashboard.server.identity import known
from ngf.export.products import PRODUCTS, file_name, take
from ngf.options import SpecError
from ngf.runs.files import to_json
from ngf.runs.folder import FINAL, SPEC
from ngf.runs.log import Outline
from ngf.runs.private import Seen
from ngf.runs.store import MeasureRun, PurifyRun, Run, Store

_NOBODY = Visitor("", known=False)
_ID = re.compile(r"[a-z0-9-]{1,128}")
_VERSION = re.compile(r"[a-z0-9.-]{1,64}")
PAGE = 1000  # runs in an answer, at most
COLUMNS = (
    "kind",
    "data",
    "model",
    "attack",
    "defense",
    "measurement",
    "parent",
    "status",
    "source",
)
_MOST = 12  # runs that share one pair of axes
_PAGE = 2000  # events in one answer, about half a megabyte
_PATIENCE = 1.0  # seconds that an answer waits for events that nobody has read yet
_KEPT = 2**25  # characters of charts kept in memory; most have 5,000 to 50,000, the longest 200,000
_PIECE = 2**16  # bytes of a download that are sent in one go
_FRAME = 500  # characters that count for what is around one
_GONE = "The run {!r} was deleted. GET /api/runs lists the runs there are."
# `ChartOptions` as parameters of the query: name -> (the pattern of its text, what reads it)
_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "together": ("[01]", lambda text: text == "1"),
    "log": ("[01]", lambda text: text == "1"),
    "view": ("|".join(VIEWS), str),
    "value": ("[a-z0-9_]{1,60}", str),
    "which": ("[0-9]{1,3}", int),
    "at": (r"[0-9]{1,6}(\.[0-9]{1,9})?(e-?[0-9]{1,2})?", float),
}


class Refused(Exception):
    """Why a request is not answered; becomes JSON with `error`, under this HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, {"Cache-Control": "no-store"}, "application/json")


def _answers(route: Callable[[Request], Any]) -> Callable[[Request], Response]:
    """A route that answers with JSON, or with the reason for a refusal.

    Starlette runs plain functions in threads, so that a slow disk holds up nobody else.
    """

    @functools.wraps(route)
    def answer(request: Request) -> Response:
        try:
            value = route(request)
        except Refused as exc:
            return _json({"error": str(exc)}, exc.status)
        except SpecError as exc:  # the run was deleted, or damaged, since it was found
            return _json({"error": str(exc)}, 404)
        return value if isinstance(value, Response) else _json(value)

    return answer


def _store(request: Request) -> Store:
    """The store as whoever asks may see it."""

    def visitor() -> Visitor:
        return known(whole().root, request) or _NOBODY

    return Seen(whole(), visitor)


def _run(request: Request) -> Run:
    """The run that the path of the request names."""
    run_id = request.path_params["run_id"]
    if not _ID.fullmatch(run_id):
        raise Refused(
            400,
            f"{run_id[:80]!r} is not the id of a run: lower-case letters, digits and hyphens only.",
        )
    store = _store(request)
    run = store.find(run_id)
    if run is None and (fault := store.damaged().get(run_id)):
        raise Refused(422, f"The run {run_id!r} is damaged: {fault}")
    if run is None:
        raise Refused(404, f"There is no run {run_id!r}. GET /api/runs lists the runs there are.")
    return run


@_answers
def health(request: Request) -> dict[str, Any]:
    return {
        "status": "ok",
        "pid": os.getpid(),
        "supervised": whole().supervised,
        "torch_imported": "torch" in sys.modules,
    }


@_answers
def runs(request: Request) -> Response:
    """A row for each lane of each run, newest first; see `ngf.runs.rows`.

    `limit` runs from number `offset` on, of those whose columns are as the query says, such as
    `kind=train&attack=sig&status=done`. `X-Total-Count` tells how many such runs there are.
    """
    query = request.query_params
    offset, limit = _number(query, "offset", 0, 10**9), _number(query, "limit", PAGE, PAGE)
    wanted = {name: query[name] for name in COLUMNS if name in query}
    unknown = sorted(set(query) - {"offset", "limit", *COLUMNS})
    if unknown:
        allowed = ", ".join(("limit", "offset", *COLUMNS))
        raise Refused(400, f"{unknown[0][:40]!r} is no column to choose by. Allowed: {allowed}.")
    look = _store(request).look()
    found = []
    for run, facts in look.facts.items():
        if wanted.get("kind", facts.spec.kind) != facts.spec.kind:
            continue
        row = look.summary(run)
        if row is not None and all(str(row[name]) == text for name, text in wanted.items()):
            found.append(row)
    rows = [lane for row in found[offset : offset + limit] for lane in row["rows"]]
    answer = _json(rows)
    answer.headers["X-Total-Count"] = str(len(found))
    answer.headers["X-Damaged-Count"] = str(len(look.damaged))
    return answer


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > most:
        raise Refused(400, f"{name} = {text[:40]!r} is not a number from 0 to {most:,}.")
    return int(text)


@_answers
def one_run(request: Request) -> dict[str, Any]:
    run = _run(request)
    answer = _unless_gone(
        run,
        lambda run: {
            **run.summary(),
            "spec": run.spec.to_json(),
            "result": run.result,
            "error": run.error,
        },
    )
    if answer is None:
        raise Refused(404, _GONE.format(run.id))
    return answer


@_answers
def events(request: Request) -> Response:
    run = _run(request)
    since = _count(request, "since", 0)
    limit = min(_count(request, "limit", _PAGE), _PAGE)
    # before the events, so that a final status never comes with a part of them
    status = run.status
    found, more = run.lines(since, limit, _PATIENCE)
    about = {
        "id": run.id,
        "status": status,
        "next": since + len(found),
        "more": more,
        "result": run.result,
        "error": run.error,
    }
    lines = b'{"events":[' + b",".join(found) + b"]," + to_json(about).encode()[1:]
    return Response(lines, 200, {"Cache-Control": "no-store"}, "application/json")


def _count(request: Request, name: str, usual: int) -> int:
    """A number of events in the query."""
    text = request.query_params.get(name, str(usual))
    if not re.fullmatch(r"[0-9]{1,9}", text) or name == "limit" and int(text) == 0:
        least = 1 if name == "limit" else 0
        raise Refused(
            400, f"{name} = {text[:40]!r} is not a number of events: use {least} or more."
        )
    return int(text)


@_answers
def chart(request: Request) -> Any:
    run, name = _run(request), request.path_params["name"]
    if name not in DRAWN_OF:
        raise Refused(404, f"There is no chart {name[:40]!r}. Charts: {', '.join(DRAWN_OF)}.")
    since = request.query_params.get("since", "")
    if since and not _VERSION.fullmatch(since):
        raise Refused(
            400, f"since = {since[:40]!r} is not a version: use the one of the last answer."
        )
    kind = DRAWN_OF[name]
    if run.kind != kind:
        raise Refused(
            400, f"The chart {name!r} is drawn of {kind} runs; {run.id!r} is another kind."
        )
    if isinstance(run, MeasureRun):
        return _of_measurements(request, run, name, since)
    behind = _ghost(request, run, name)
    status = run.status
    outline = run.outline(_PATIENCE)
    version = _version(outline, status)
    if since == version:
        return {"version": version}

    def build() -> str:
        made = draw_outline(name, run.spec, outline)
        if behind is not None and isinstance(run, PurifyRun):
            ghost = Ghost(behind.spec, behind.outline(_PATIENCE))
            made = with_ghost(made, run.spec, outline, ghost)
        return _answer(made, version, status, status in FINAL and outline.whole)

    key = (run.path, name, behind.path if behind else None)
    body = _unless_gone(run, lambda run: _built.get(key, version, build))
    if body is None:
        raise Refused(404, _GONE.format(run.id))
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")


def _ghost(request: Request, run: Run, chart: str) -> PurifyRun | None:
    """The finished race that `ghost` in the query names, to lie behind a race."""
    name = request.query_params.get("ghost")
    if name is None:
        return None
    if chart != "race":
        raise Refused(400, f"A ghost lies behind a race; {chart!r} is another chart.")
    found = _store(request).find(name) if _ID.fullmatch(name) else None
    if not isinstance(found, PurifyRun) or found.status != "done":
        raise Refused(400, f"ghost = {name[:40]!r} is no finished purification of this store.")
    return found


def _of_measurements(request: Request, run: MeasureRun, name: str, since: str) -> Any:
    """The chart of one measurement; `beside` in the query names all that share its axes, in their
    order on the page.
    """
    query = request.query_params
    ids = query["beside"].split(",") if query.get("beside") else [run.id]
    if len(ids) > _MOST or run.id not in ids or not all(_ID.fullmatch(one) for one in ids):
        raise Refused(
            400, f"beside is not a list of at most {_MOST} ids of runs, {run.id!r} among them."
        )
    store = _store(request)
    runs = [found for one in ids if isinstance(found := store.find(one), MeasureRun)]
    options = _options(query)
    _check_value(name, options.get("value"))
    states = [one.status for one in runs]
    parts = [
        f"{_version(one.outline(_PATIENCE), status)}.{written(one)}"
        for one, status in zip(runs, states, strict=True)
    ]
    version = hashlib.sha256("|".join(parts).encode()).hexdigest()[:24]
    if since == version:
        return {"version": version}

    def build() -> str:
        charts = draw(name, findings(runs), ChartOptions(**options))
        place = [one.id for one in runs].index(run.id) if len(charts) == len(runs) else 0
        final = all(status in FINAL for status in states)
        return _answer(charts[place], version, states[place], final)

    body = _built.get((run.path, name, *ids, *options.items()), version, build)
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")


def _options(query: Mapping[str, str]) -> dict[str, Any]:
    """The options that the query names, each in its own type."""
    options = {}
    for key, (pattern, read) in _OPTIONS.items():
        if key in query:
            text = query[key]
            if not re.fullmatch(pattern, text):
                raise Refused(
                    400, f"{key} = {text[:40]!r} is not one of the values that fit: {pattern}."
                )
            options[key] = read(text)
    return options


def _check_value(chart: str, value: str | None) -> None:
    """Refuse a value that is not drawn, by this chart or, where it draws none, by any."""
    if value is None and chart not in VALUES:
        return
    kinds = [VALUES[chart]] if chart in VALUES else VALUES.values()
    known = [name for names in kinds for name in names()]
    if (value or ChartOptions.value) not in known:
        allowed = ", ".join(known) or "none"
        raise Refused(400, f"value = {value!r} is not one of the values that fit: {allowed}.")


def _answer(made: Chart, version: str, status: str, final: bool) -> str:
    return to_json(
        {
            "version": version,
            "figure": made.figure,
            "finding": made.finding,
            "alt": made.alt,
            "status": status,
            "final": final,
        }
    )


@dataclass
class _Kept:
    """One answer; `lock` is held while it is built."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    version: str = ""
    body: str = ""


class Built:
    """The last answer per run and chart, so that thirty readers cost one build.

    Simultaneous requests for the same chart wait for one answer; requests for others do not.
    """

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most  # characters that are kept in memory
        self._kept: OrderedDict[Any, _Kept] = OrderedDict()
        self._guard = threading.Lock()  # of the dictionary alone

    def get(self, key: Any, version: str, build: Callable[[], str]) -> str:
        """The answer for `key`, built when the kept one is of another version."""
        with self._guard:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
        with kept.lock:
            if kept.version != version:
                kept.body, kept.version = build(), version
            body = kept.body
        self._make_room()
        return body

    def _make_room(self) -> None:
        """Forget what was not asked for for the longest time."""
        with self._guard:
            size = sum(len(kept.body) + _FRAME for kept in self._kept.values())
            while size > self._most and len(self._kept) > 1:
                size -= len(self._kept.popitem(last=False)[1].body) + _FRAME


_built = Built()


def _version(outline: Outline, status: str) -> str:
    """A text that changes with what a chart of the run shows: the number of its events, in steps of
    those that share a place in the chart, the status, and which file the events are in.
    """
    count = outline.total
    if outline.whole and status not in FINAL:
        count -= count % outline.every
    reading = "" if outline.whole else "-"
    return f"{count}{reading}.{status}.{outline.file:x}"


def _unless_gone(run: Run, read: Callable[[Run], Any]) -> Any:
    """What `read` finds in a run, or None when the run was deleted just now."""
    try:
        return read(run)
    except (SpecError, FileNotFoundError):
        if (run.path / SPEC).exists():
            raise
        return None


# ---- the chart library, from the installed package


@functools.cache
def plotly_library() -> Mapping[str, Any]:
    """plotly.min.js as it is and compressed, with its entity tag."""
    raw = plotly_source()
    return {
        "raw": raw,
        "gzip": gzip.compress(raw, 6, mtime=0),
        "tag": f'"{hashlib.sha256(raw).hexdigest()[:20]}"',
    }


def plotly_js(request: Request) -> Response:
    """plotly.min.js, compressed once; a browser asks again at most once a day."""
    kept = plotly_library()
    headers = {
        "Cache-Control": "public, max-age=86400",
        "ETag": kept["tag"],
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == kept["tag"]:
        return Response(status_code=304, headers=headers)
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    if compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(kept["gzip" if compressed else "raw"], 200, headers, "text/javascript")


# ---- what readers take home


@_answers
def take_home(request: Request) -> Response:
    """A product of a run as a file; `lane` in the query names one of a purification."""
    run, name = _run(request), request.path_params["product"]
    if name not in PRODUCTS:
        raise Refused(404, f"There is no product {name[:40]!r}. Products: {', '.join(PRODUCTS)}.")
    lane = request.query_params.get("lane", "")
    if lane and not _ID.fullmatch(lane.replace("_", "-")):
        raise Refused(400, f"lane = {lane[:40]!r} is not the name of a lane.")
    file = take(name, run, lane)  # SpecError becomes 404: there is no such thing (yet)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{file_name(name, run, lane)}"',
        "Content-Length": str(file.seek(0, os.SEEK_END)),
        "Content-Security-Policy": "sandbox",
    }
    file.seek(0)
    return StreamingResponse(_pieces(file), 200, headers, PRODUCTS[name].mime)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


@_answers
def unknown(request: Request) -> None:
    raise Refused(
        404,
        "There is no such route. Routes: /api/health, /api/runs, /api/runs/<id>, "
        "/api/runs/<id>/events?since=0&limit=2000, /api/runs/<id>/charts/<name>, "
        "/api/runs/<id>/take/<product>.",
    )


ROUTES = [
    Route("/api/health", health),
    Route("/api/runs", runs),
    Route("/api/runs/{run_id}", one_run),
    Route("/api/runs/{run_id}/events", events),
    Route("/api/runs/{run_id}/charts/{name}", chart),
    Route("/api/runs/{run_id}/take/{product}", take_home),
    Route("/api/{rest:path}", unknown),
    Route("/vendor/plotly.min.js", plotly_js),
]
