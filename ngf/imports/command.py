"""`ngf import`: from the words of a person to a run, or to questions."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ngf.environment import exact_numerics, use_threads
from ngf.imports.asking import Found, Question, questions, settle, told
from ngf.imports.making import Brought, make
from ngf.imports.pictures import Pictures, find, find_poisoned
from ngf.imports.preprocessing import SIDES, try_all
from ngf.models import MODELS
from ngf.models.of_others.recognize import Shape, recognize, title
from ngf.models.of_others.table import OTHERS
from ngf.options import Explained, SpecError
from ngf.outside.checkpoint import Ask, Opened, open_checkpoint
from ngf.outside.listing import shown, text_of
from ngf.runs.store import Store

SHARES = (0.1, 0.9)
_Said = Callable[[str], None]


class Refused(SpecError):
    """What was brought cannot be imported; the message says why and what to do."""


def import_model(options: Namespace, say: _Said) -> tuple[dict[str, Any], list[str], bool]:
    """A document, the lines of it, and whether what was asked for was done: `status` is `imported`,
    `looked` or `asked`. Raises SpecError.
    """
    if options.models:
        names = [*MODELS, *OTHERS]
        return {"models": names}, [f"{name:<36} {title(name)}" for name in names], True
    _check(options)
    exact_numerics()
    use_threads()
    try:
        return _imported(options, say)
    except Ask as asked:
        question = Question("pick", str(asked), tuple(asked.options))
        return _asked({}, [question], say)
    except Explained as error:
        raise Refused(f"{error} {error.advice}".strip()) from error


def _check(options: Namespace) -> None:
    if not options.file:
        raise SpecError("Name the file of the model: ngf import FILE --images FOLDER.")
    if not options.images:
        raise SpecError(
            "A model comes with clean images: --images and a folder or a zip with a folder for "
            "each class. 500 are plenty, 20 the least."
        )
    if options.size and not SIDES[0] <= options.size <= SIDES[1]:
        raise SpecError(f"size = {options.size}. Allowed: {SIDES[0]} to {SIDES[1]} pixels.")
    if not SHARES[0] <= options.measure <= SHARES[1]:
        raise SpecError(f"measure = {options.measure:g}. Allowed: {SHARES[0]:g} to {SHARES[1]:g}.")


def _imported(options: Namespace, say: _Said) -> tuple[dict[str, Any], list[str], bool]:
    say("opening the file")
    opened = open_checkpoint(Path(options.file), options.pick)
    for note in opened.notes:
        say(note)
    shape, fits = recognize(opened.tensors, options.model, opened.extra.get("model_name", ""))
    say(f"the weights fit: {', '.join(fit.title for fit in fits)}")
    say("reading the images")
    pictures = find(options.images)
    say(f"{len(pictures):,} images; trying sizes and normalizations")
    tried = try_all(
        fits,
        shape,
        opened.tensors,
        pictures,
        side=options.size,
        normalize=options.normalize,
        fit=options.resize or "squeeze",
    )
    if not tried:
        raise SpecError(
            "The network does not take images of these sizes. Say the right one: --size 224."
        )
    given = _outputs(options.classes, opened, shape, pictures)
    found = settle(shape, fits, tried, pictures, opened.tensors, given)
    document = {"file": _about(options.file, opened), **told(found)}
    asked = list(
        questions(
            found,
            expect=options.expect,
            model=options.model,
            resize=options.resize,
            classes=given is not None,
        )
    )
    if asked and not options.accept and not options.look:
        return _asked(document, asked, say)
    if options.look:
        document |= {"status": "looked", "questions": [asdict(one) for one in asked]}
        return document, [*_lines(found), *(one.text for one in asked)], True
    return _made(options, opened, found, document)


def _made(
    options: Namespace, opened: Opened, found: Found, document: dict[str, Any]
) -> tuple[dict[str, Any], list[str], bool]:
    best = found.best
    keys = ("tried", "classes", "images")
    poisoned = None
    if options.poisoned:
        poisoned = find_poisoned(Path(options.poisoned))
        if int(torch.cat(poisoned[1:]).max()) >= found.shape.num_classes:
            raise SpecError(f"poisoned: the model has {found.shape.num_classes} outputs only.")
    run = make(
        Store(),
        Brought(
            file=Path(options.file).name,
            opened=opened,
            fit=best.fit,
            shape=found.shape,
            how=best.preprocessing,
            pictures=found.pictures,
            assignment=found.assignment,
            numbers=found.numbers,
            share=options.measure,
            mirror=options.mirror,
            said={f"found_{key}": document[key] for key in keys},
            poisoned=poisoned,
        ),
        options.owner,
    )
    row = run.facts.rows[0]
    count = (run.result or {})["facts"]["pools"]
    lines = [
        *_lines(found),
        f"{run.id}: clean accuracy {row['ca']:.1%} of {count['test']:,} images that are kept to "
        f"measure on; {count['holdout']:,} are the defender's.",
    ]
    if row["asr"] is not None:
        lines.append(
            f"attack success rate {row['asr']:.1%} of {row['n_triggered']:,} triggered images"
        )
    rates = {name: row[name] for name in ("ca", "asr", "ra")}
    document |= {"status": "imported", "id": run.id, "pools": count, **rates}
    return document, lines, True


def _asked(
    document: dict[str, Any], asked: Sequence[Question], say: _Said
) -> tuple[dict[str, Any], list[str], bool]:
    lines = ["Nothing is imported yet:"]
    for one in asked:
        allowed = f" Allowed: {', '.join(one.choices)}." if one.choices else ""
        lines.append(f"  --{one.option}: {one.text}{allowed}")
    lines.append("Answer by these options, or take what is proposed with --accept.")
    document |= {"status": "asked", "questions": [asdict(one) for one in asked]}
    return document, lines, False


def _about(file: str, opened: Opened) -> dict[str, Any]:
    return {
        "name": shown(Path(file).name),
        "sha256": opened.sha256,
        "notes": list(opened.notes),
        "tensors": len(opened.tensors),
    }


def _lines(found: Found) -> list[str]:
    best = found.best
    lines = [f"network: {best.fit.title}", f"preprocessing: {best.preprocessing}"]
    what = "agreement" if found.assignment else "mean confidence"
    lines += [
        f"  {what} {one.agreement:6.1%} of {one.count:>4}: {one.fit.name}, {one.preprocessing}"
        for one in found.tried[:6]
    ]
    if (assigned := found.assignment) is not None and not assigned.by_name:
        lines.append("classes, matched to the model's own predictions:")
        lines += [
            f"  {label} is output {output}"
            for label, output in zip(found.pictures.labels, assigned.outputs, strict=True)
        ]
    if found.pictures.left_out:
        lines.append(f"images: {len(found.pictures.left_out)} left out")
    return lines


def _outputs(
    file: str | None, opened: Opened, shape: Shape, pictures: Pictures
) -> list[int] | None:
    """The output of each class, by a file of names or by those that came with the model; None
    where nobody says it.
    """
    if file is None:
        names = opened.extra.get("classes")
        if not names or set(pictures.labels) - set(names):
            return None
    else:
        names = _names(file)
    if len(names) != shape.num_classes or len(set(names)) != len(names):
        raise SpecError(
            f"classes: {len(names)} names, {len(set(names))} of them different, for "
            f"{shape.num_classes} outputs."
        )
    if unknown := sorted(set(pictures.labels) - set(names)):
        raise SpecError(
            f"classes: no output is called {', '.join(map(shown, unknown[:3]))}. The images have "
            f"the classes {', '.join(map(shown, pictures.labels[:12]))}."
        )
    return [names.index(label) for label in pictures.labels]


def _names(file: str) -> list[str]:
    try:
        text = text_of(Path(file))
        found = json.loads(text) if text.lstrip().startswith("[") else text.split("\n")
    except (OSError, ValueError) as error:
        raise SpecError(f"classes: {shown(file)} cannot be read: {error}.") from None
    return [shown(str(name).strip()) for name in found if str(name).strip()]
