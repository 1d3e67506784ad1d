"""A purification from its specification to its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ngf.checkpoints.fork import model_at_start
from ngf.checkpoints.weights import load_attack, save_weights, training_of
from ngf.config import NUM_LIVE, PurifySpec, check_revision
from ngf.data import load
from ngf.defenses.race import Lane, check_left, give_up, race
from ngf.environment import device, environment, exact_numerics
from ngf.evaluate import Rates, TestSet, der, test_set
from ngf.finite import Diverged
from ngf.options import SpecError
from ngf.runs.folder import purified_weights
from ngf.runs.recorder import Recorder
from ngf.runs.store import PurifyRun, Store, open_run


def run(path: Path) -> None:
    """Execute the purification in folder `path`; raises Stopped when asked to, else an error."""
    exact_numerics()
    store = Store(path.parent)
    purification = open_run(store, path)
    if not isinstance(purification, PurifyRun):
        raise SpecError(f"{purification.id} is no purification.")
    purify(purification.spec, Recorder(path), store)


def purify(spec: PurifySpec, recorder: Recorder, store: Store) -> None:
    """Purify the parent's model by every lane, step by step in turn, and measure before and
    after. A lane that diverged has an entry without rates, and no weights.
    """
    where = device()
    check_revision(spec)
    origin = training_of(store, spec.parent)
    recorder.emit("phase", phase="loading model and data")
    splits = load(origin.spec.source, seed=spec.seed, num_clean=spec.num_clean)
    attack = load_attack(origin)

    def fresh_model() -> nn.Module:
        return model_at_start(store, spec, where)

    live = test_set(splits, attack, NUM_LIVE).to(where)
    lanes = race(spec, fresh_model, splits, live, recorder, where)
    recorder.emit("phase", phase="measuring on the whole test set")
    whole = test_set(splits, attack).to(where)
    before = whole.evaluate(fresh_model())
    found: dict[str, dict[str, Any]] = {}
    for lane in lanes:
        rates = {} if lane.diverged else _measured(lane, whole, before, recorder)
        found[lane.name] = {**rates, **lane.summary()}
    check_left(lanes)
    first = found[lanes[0].name]
    recorder.finish(
        {
            "before": before.to_json(),
            # where a reader of a single purification looks for them; no lane stands for a race
            **({name: first.get(name) for name in ("after", "der")} if len(found) == 1 else {}),
            "lanes": found,
            "environment": environment(),
        }
    )


def _measured(lane: Lane, images: TestSet, before: Rates, recorder: Recorder) -> dict[str, Any]:
    """Rates of a lane on the whole test set, and its weights saved; nothing of one whose outputs
    turn out not to be finite there.
    """
    try:
        after = images.evaluate(lane.model)
    except Diverged as error:
        give_up(recorder, lane, error)
        return {}
    save_weights(lane.model, recorder.path / purified_weights(lane.name))
    return {"after": after.to_json(), "der": der(before, after)}
