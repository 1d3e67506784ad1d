"""Weights of an imported model, or of what a purification made of it, in the form in which they
came: names, wrapping, number types and container, so that they load in the code that they are from.

    python -m ngf.imports.original STORE RUN[:LANE] FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from ngf.checkpoints.weights import WeightsError, read_tensors, training_of
from ngf.config import Target
from ngf.models.bounds import bounds_of
from ngf.models.of_others.normalized import INSIDE
from ngf.options import SpecError
from ngf.outside.checkpoint import Form, write_like
from ngf.runs.files import read_json
from ngf.runs.folder import EXTRA, FORM, WEIGHTS, purified_weights
from ngf.runs.store import PurifyRun, Store


def write_original(store: Store, target: str, path: Path) -> None:
    """Write the weights of a run, or of `id:lane`, to `path`. What the network has no place for is
    as it came. Raises SpecError where the model was not imported, or cannot be said in its old
    form.
    """
    named = Target.parse(target)
    run, origin = store.get(named.run), training_of(store, named.run)
    about = read_json(origin.path / FORM)
    if about is None:
        raise SpecError(
            f"{origin.id} was trained here: it has no other form. Allowed: safetensors, pt."
        )
    file = WEIGHTS
    if isinstance(run, PurifyRun):
        file = purified_weights(run.spec.lane_name(named.lane))
    tensors = read_tensors(run.path / file)
    if bounds_of(tensors):
        raise SpecError(
            f"{target} has bounds on what its layers give, which its original code does not know. "
            "Take safetensors with `ngf.models.bounds`, or purify by another method."
        )
    inside = "" if about["own"] else INSIDE
    extra = origin.path / EXTRA
    unused = read_tensors(extra) if extra.exists() else {}
    own = {name.removeprefix(inside): value for name, value in tensors.items()} | unused
    found = {name: own[name] for name in about["names"]}
    write_like(Form.from_json(about["form"]), found, path)


def main(root: str, target: str, file: str) -> int:
    """The reason for a refusal is the last line on standard error."""
    try:
        write_original(Store(Path(root)), target, Path(file))
    except (SpecError, WeightsError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
