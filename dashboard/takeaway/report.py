"""A run as one HTML page that opens from a disk: pictures, tables, settings, environment, findings
and limits. It asks nobody for anything: Plotly's library and all data are inside, and its policy
forbids the rest.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.reactivation_words import brought
from dashboard.charts.chart import NOTHING, Chart
from dashboard.charts.registry import LIVE, draw_outline
from dashboard.charts.titles import lane_title, title
from dashboard.charts.weight_change import height, weight_change_chart
from dashboard.components.library import plotly_source, script
from dashboard.kit import library, run_card
from dashboard.takeaway import imported
from dashboard.takeaway.measured import Section, sections
from ngf.catalogue import options_of
from ngf.config import MeasureSpec, PurifySpec, Training, TrainSpec
from ngf.export.about import PARTIAL, about, in_lines
from ngf.export.command import command
from ngf.export.numbers import outcome, values_so_far
from ngf.export.references import PAPERS, Paper, keys_behind
from ngf.export.weight_change import changes
from ngf.options import SpecError
from ngf.runs.files import to_json
from ngf.runs.rows import RATES
from ngf.runs.store import MeasureRun, PurifyRun, Run, TrainRun

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'"
)
_PATIENCE = 10.0  # seconds for the events of a long run
_ROWS = 30  # of a table below a picture; longer ones are in the data files of the run
_HEIGHTS = {"race": 420, "internals": 560, "layers": 300}  # pixels
_LIMITS = {
    "all": (
        "One run is one draw: another seed gives other numbers. The intervals are about test "
        "images, not about seeds.",
    ),
    "purify": (
        "The attack success rate is that of the trigger which the model was trained with. It says "
        "nothing about other backdoors.",
        "A low attack success rate does not prove that the backdoor is gone: some poisoned images "
        "may bring it back.",
        "Curves are measured between the steps on a part of the test images; the table on all.",
    ),
    "train": (
        "Rates on triggered images are of this trigger and this target alone.",
        "Curves are measured on a part of the test images; the table on all of them.",
    ),
    "measure": (
        "Curvature is that of the named images and weights. Values on other images, or under "
        "another rescaling of the layers, are other values.",
    ),
}
_LAYERS = 200  # rows of the table of layers
_MOVED = (
    "||w − w0|| / ||w0||, the Euclidean length of the change of a layer's weights in percent of "
    "their length before, and the share of its parameters that are other numbers, where not all "
    "are. Running averages of BatchNorm do not count."
)
_ON_A_PART = "Measured between the steps, on a fixed part of the test images."
Row = Mapping[str, Any]


def report(run: Run) -> str:
    """The page. Raises SpecError for a run that was deleted or damaged since."""
    return _Report(run).page()


class _Report:
    """The parts of a report. figures: those that its script draws, by number."""

    def __init__(self, run: Run) -> None:
        self.run, self.facts = run, about(run)
        self.figures: list[dict[str, Any]] = []

    def page(self) -> str:
        body = "\n".join(part for part in self._parts() if part)
        name = _plain(library.describe(self.run))
        scripts = [plotly_source().decode(), script("dress.js", "save.js"), _file("report.js")]
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{name}{' (partial)' if self.facts[PARTIAL] else ''}</title>",
                f"<style>{_file('report.css')}</style></head><body><main>",
                body,
                "</main>",
                f'<script type="application/json" id="figures">{_in_script(self.figures)}</script>',
                *(f"<script>{text}</script>" for text in scripts),
                "</body></html>",
                "",
            ]
        )

    def _parts(self) -> Iterable[str]:
        yield f"<h1>{_plain(library.describe(self.run))}</h1>"
        yield f'<p class="id">Run {_plain(self.run.id)} · {_plain(self._counted())}</p>'
        if self.facts[PARTIAL]:
            yield (
                f'<p class="partial">Partial: the run was {_plain(self.facts["status"])} when this '
                "was taken. What stands here is what there was by then.</p>"
            )
        yield self._findings()
        yield self._outcome()
        yield self._imported()
        yield from self._curves()
        yield self._layers()
        for number, section in enumerate(self._measured):
            yield self._section(section, page=number % 2 == 0)
        yield self._settings()
        yield self._limits()
        yield self._repeat()
        yield self._papers()

    @cached_property
    def _measured(self) -> list[Section]:
        return sections(self.run)

    def _counted(self) -> str:
        counts = [f"{count:,} {words}" for words, count in self.facts["n"].items()]
        return " · ".join([f"seed {self.facts['seed']}", *counts])

    def _findings(self) -> str:
        said = []
        spec, result = self.run.spec, self.run.result
        if isinstance(spec, PurifySpec) and result is not None:
            said = [run_card.outcome_sentence(spec, result)]
        if self.run.weak is not None:
            said.append(f"The model is weak. {self.run.weak}")
        for section in self._measured:
            said += section.said[:1] or [made.finding for _, made in section.charts]
        lines = [f'<p class="finding">{_plain(line)}</p>' for line in said[:1]]
        lines += [f"<p>{_plain(line)}</p>" for line in dict.fromkeys(said[1:])]
        return f"<section><h2>What was found</h2>{''.join(lines)}</section>" if lines else ""

    def _outcome(self) -> str:
        rows = [
            {"Model": one.name, **{rate.upper(): _rate(one.numbers, rate) for rate in RATES}}
            for one in outcome(self.run)
        ]
        if not rows:
            return ""
        finals = {one.final for one in outcome(self.run)}
        how = "whole test set" if finals == {True} else "a part of the test images, so far"
        if self._origin is not None:
            how += " (the images that no defense sees)"
        return (
            f"<section><h2>Before and after</h2>{_table(rows)}"
            f'<p class="of">Measured on the {how}. Brackets: 95 % Wilson interval. {self._rates()}'
            "</p></section>"
        )

    def _rates(self) -> str:
        """What the columns are."""
        if self._origin is None:
            return (
                "CA: clean accuracy; ASR: attack success rate, of triggered images whose true "
                "class is not the target; RA: robust accuracy, triggered images that are given "
                "their true class."
            )
        if not brought(self._origin):
            return "CA: clean accuracy. ASR and RA need images with the trigger, and none came."
        return (
            "CA: clean accuracy; ASR: attack success rate, of the pictures with the trigger that "
            "came along; RA: robust accuracy, those that are given their true class."
        )

    @cached_property
    def _origin(self) -> TrainRun | None:
        """The imported model that the run goes back to, if it does."""
        training = self.run.training()
        known = training is not None and training.spec.imported and training.result
        return training if known else None

    def _imported(self) -> str:
        if self._origin is None:
            return ""
        how, rows = imported.classes(self._origin)
        return (
            "<section><h2>The model that was imported</h2>"
            f"{_table(imported.facts(self._origin))}<h3>What was tried</h3>"
            f"{_table(imported.tried(self._origin))}<h3>Classes</h3><p>{_plain(how)}</p>"
            f"{_table(rows) if rows else ''}</section>"
        )

    def _layers(self) -> str:
        """How far each layer was moved, of a purification that has left weights."""
        if not isinstance(self.run, PurifyRun):
            return ""
        head = "<h2>What changed, layer by layer</h2>"
        try:
            found = changes(self.run)
        except SpecError as error:
            return f"<section>{head}<p>It cannot be told: {_plain(error)}</p></section>"
        if not found:
            return ""
        chart = weight_change_chart(found)
        figure = self._figure(chart, height(found), most=_LAYERS)
        return f'<section>{head}<p class="of">{_plain(_MOVED)}</p>{figure}</section>'

    def _curves(self) -> Iterable[str]:
        if isinstance(self.run, MeasureRun):
            return
        outline = self.run.outline(_PATIENCE)
        names = [LIVE[self.run.kind]]
        if isinstance(self.run, PurifyRun):
            names += ["layers"] if any(event["type"] == "layer" for event in outline) else []
            names += ["internals"]
        heads = {"layers": "Which layer was chosen", "internals": "Inside the steps"}
        for name in names:
            chart = draw_outline(name, self.run.spec, outline)
            if chart.finding != NOTHING and chart.figure["data"]:
                head = heads.get(name, "Along the steps")
                figure = self._figure(chart, _HEIGHTS.get(name, 400))
                note = f'<p class="small">{_ON_A_PART}</p>' if name in LIVE.values() else ""
                yield f"<section><h2>{head}</h2>{figure}{note}</section>"

    def _section(self, section: Section, *, page: bool) -> str:
        parts = [f"<h2>{_plain(section.heading)}</h2>"]
        parts.append(f'<p class="of">Measured: {_plain(section.of)}</p>')
        if section.partial:
            parts.append(
                '<p class="partial">Partial: the measurement of '
                f"{_plain(', '.join(section.partial))} has not ended well; what it had found by "
                "then is shown.</p>"
            )
        parts += [f"<p>{_plain(line)}</p>" for line in section.said]
        for (head, chart), pixels in zip(section.charts, section.heights, strict=True):
            parts += [f"<h3>{_plain(head)}</h3>" if head else "", self._figure(chart, pixels)]
        if section.table:
            parts.append(_table(section.table))
        parts.append(
            f'<p class="small">What this cannot tell: {_plain(section.cannot)} Runs: '
            f"{_plain(', '.join(run.id for run in section.runs))}.</p>"
        )
        return f"<section{' class=page' if page else ''}>{''.join(parts)}</section>"

    def _figure(self, chart: Chart, height: int, *, most: int = _ROWS) -> str:
        self.figures.append(chart.figure)
        rows = list(chart.rows)
        table = _table([{key: _cell(value, 4) for key, value in row.items()} for row in rows])
        return (
            f'<figure><div class="chart" role="img" aria-label="{_plain(chart.alt)}" '
            f'data-figure="{len(self.figures) - 1}" data-height="{height}"></div>'
            f"<figcaption>{_plain(chart.finding)}</figcaption></figure>"
            f"{table if 0 < len(rows) <= most else ''}"
        )

    def _settings(self) -> str:
        parts = ["<section class=page><h2>Settings</h2>"]
        for head, rows in _settings(self.run):
            parts.append(f"<h3>{_plain(head)}</h3>{_table(rows)}")
        result = self.run.result or {}
        if isinstance(self.run, PurifyRun) and "lanes" in result:
            said = run_card.settings_sentence(self.run.spec, result)
            parts.append(f"<p>{_plain(_unescaped(said))}</p>")
        if self.facts["versions"]:
            rows = [{"What": k, "Value": v} for k, v in self.run.facts.environment.items()]
            parts.append(f"<h3>Environment</h3>{_table(rows)}")
        values = {} if not isinstance(self.run, MeasureRun) else values_so_far(self.run)
        if values:
            rows = [{"Quantity": name, "Value": _cell(value)} for name, value in values.items()]
            parts.append(f"<h3>All values</h3>{_table(rows)}")
        return "".join([*parts, "</section>"])

    def _limits(self) -> str:
        own = _LIMITS[self.run.kind]
        if self._origin is not None:  # what the others say is of a trigger that is known
            own = (*imported.limits(self._origin), *own[-1:])
        lines = [*own, *_LIMITS["all"]]
        listed = "".join(f"<li>{_plain(line)}</li>" for line in lines)
        return f"<section><h2>What this cannot tell you</h2><ul>{listed}</ul></section>"

    def _repeat(self) -> str:
        own = [command(one.spec) for section in self._measured for one in section.runs]
        commands = "\n".join(dict.fromkeys([*self.facts["repeat"], *own]))
        lines = "\n".join(line for line in in_lines([self.facts]) if "repeat: " not in line)
        return (
            f"<section><h2>How to get it again</h2><pre>{_plain(commands)}</pre>"
            f"<pre>{_plain(lines)}</pre></section>"
        )

    def _papers(self) -> str:
        more = [one for section in self._measured for one in section.runs]
        listed = "".join(
            f"<li>{_plain(_cited(PAPERS[key]))}</li>" for key in keys_behind(self.run, more)
        )
        return f"<section><h2>Methods</h2><ul>{listed}</ul></section>"


def _settings(run: Run) -> Iterable[tuple[str, list[Row]]]:
    """What was asked for, defaults included."""
    spec = run.spec
    if isinstance(spec, MeasureSpec):
        found = options_of("measurements", spec.measurement)
        rows = [{"Setting": "target", "Value": spec.target}, *_options(found)]
        yield title("measurements", spec.measurement.name), rows
        return
    trained = run.training()
    if isinstance(spec, PurifySpec):
        plain = {"starts from": spec.start or spec.parent, "clean images": spec.num_clean}
        yield (
            "Purification",
            _options({**plain, "settings are judged": spec.choosing}),
        )
        for lane, choice in zip(spec.lane_names(), spec.lanes, strict=True):
            yield lane_title(lane), _options(options_of("defenses", choice, spec.revision))
    if trained is not None and not trained.spec.imported:
        origin: TrainSpec = trained.spec
        training = {name: getattr(origin.training, name) for name in Training.__dataclass_fields__}
        plain = {"data": origin.data, "model": origin.model, "seed": origin.seed}
        yield "Training of the model", _options({**plain, **training})
        attack = options_of("attacks", origin.attack, origin.revision)
        yield f"Attack: {title('attacks', origin.attack.name)}", _options(attack)


def _options(found: Mapping[str, Any]) -> list[Row]:
    return [{"Setting": name.replace("_", " "), "Value": _cell(v)} for name, v in found.items()]


def _rate(numbers: Mapping[str, Any], rate: str) -> str:
    return run_card.with_interval(numbers, rate)


def _cited(paper: Paper) -> str:
    authors = ", ".join(paper.authors).replace(", others", " et al.")
    where = f"arXiv {paper.arxiv}" if paper.arxiv else paper.venue
    return f"{authors} ({paper.year}). {paper.title}. {where}."


def _cell(value: Any, digits: int = 6) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def _table(rows: Sequence[Row]) -> str:
    """An HTML table whose columns are the keys of `rows`."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{_plain(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_plain(_cell(row.get(name)))}</td>' for name in columns)}</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _plain(text: object) -> str:
    """Text from a run, as it is in HTML, in one element and in quotes."""
    return html.escape(str(text), quote=True)


def _unescaped(text: str) -> str:
    """A sentence that was escaped for Markdown."""
    return text.replace("\\", "").replace("\u2060", "")


def _in_script(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return to_json(value).replace("<", "\\u003c")


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
