"""What is measured of sharpness: the plan, and what of it is there."""

from __future__ import annotations

from evidence import geometry
from evidence.geometry import MEASUREMENTS, NUM_IMAGES, planned, todo
from evidence.shipped import GEOMETRY, read, read_all
from evidence.zoo import SEEDS, specs
from ngf.catalogue import build
from ngf.config import Choice, TrainSpec


def measured_specs() -> list[TrainSpec]:
    return [spec for spec in specs() if spec.seed in SEEDS]


def test_what_ships_is_planned() -> None:
    plans = {spec.id: set(planned(spec)) for spec in measured_specs()}
    assert {path.stem for path in GEOMETRY.glob("*.json")} == set(plans)
    for found in read_all(GEOMETRY):
        assert found["num_images"] == NUM_IMAGES
        measured = {
            (method, kind, name)
            for method, kinds in found["measured"].items()
            for kind, done in kinds.items()
            for name in done
        }
        assert measured <= plans[found["run"]]


def test_spectra_and_fisher_traces_are_complete() -> None:
    """The slow measures are not there yet for Trojan and for BadNets and Blend on Fashion-MNIST:
    claims count the attacks that have them.
    """
    left = [(spec, what) for spec in measured_specs() for what in todo(spec)]
    assert {name for _, (_, _, name) in left} <= {"sharpness"}
    assert {(spec.data, spec.attack.name) for spec, _ in left} <= {
        ("signs", "trojan"),
        ("fashion_mnist", "badnets"),
        ("fashion_mnist", "blend"),
    }


def test_options_of_measurements_are_known() -> None:
    for name, options in MEASUREMENTS.items():
        build("measurements", Choice(name, options))


def test_only_what_is_not_there_is_measured(monkeypatch, tmp_path) -> None:
    spec = next(
        spec for spec in measured_specs() if spec.attack.name == "none" and spec.data == "signs"
    )
    monkeypatch.setattr(geometry, "GEOMETRY", tmp_path)
    assert todo(spec) == planned(spec) and spec.id in geometry.missing()
    monkeypatch.setattr(geometry, "NUM_IMAGES", 16)
    done = read(GEOMETRY / f"{spec.id}.json")["measured"]["before"]["clean"]
    kept = {name: value for name, value in done.items() if name != "fisher_trace"}
    found = {"measured": {"before": {"clean": kept}}}
    geometry.write(tmp_path / f"{spec.id}.json", found)
    assert todo(spec) == [("before", "clean", "fisher_trace")]
    geometry.make(spec.id)
    assert todo(spec) == [] and spec.id not in geometry.missing()
    now = read(tmp_path / f"{spec.id}.json")["measured"]["before"]["clean"]
    assert {name: now[name] for name in kept} == kept
    assert now["fisher_trace"]["n"] == 16
