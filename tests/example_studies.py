"""Studies for tests: made up ones, and a tiny real one on images, classes and labels of hostile names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from segdistill.data.datasets.streets import Streets
from segdistill.recipe.recipe import load_recipe
from segdistill.runtime.environment import describe_environment
from segdistill.studies.result import ALONE, ClassGain, Gain, NetworkCost, Outcome, Spread, Study, Summary
from segdistill.training.plan import resolve

HOSTILE = '"><img src=x onerror=alert(1)>'
CLASSES = ("<script>alert(2)</script>", HOSTILE, "of_a_very_long_name" * 6, *(f"class {i}" for i in range(3, 8)))
FILE = "<svg onload=alert(3)>&amp;"
METHOD = "kd <b>bold</b>"


def outcome(label: str, seed: int = 0, miou: float = 40.0, classes: int = 3, **changes: Any) -> Outcome:
    made = Outcome(
        label=label, seed=seed, folder=f"{label}-{seed}", steps=100, batch_size=8, seconds=60.0, miou=miou,
        macc=miou + 10, aacc=miou + 30, edge_miou=miou - 10, body_miou=miou + 5, boundary_miou=miou - 15,
        iou=tuple(miou for _ in range(classes)), machine="a machine", threads=1, device="cpu", torch="2", commit="abc",
    )  # fmt: skip
    return replace(made, **changes)


def gain(mean: float, ends: tuple[float, float] | None = None, seeds: int = 3) -> Gain:
    low, high = ends or (None, None)
    return Gain(mean, None if ends is None else 1.0, (mean,) * seeds, low, high)


def summary(rows: Sequence[Outcome], gained: Gain | None, **changes: Any) -> Summary:
    first = rows[0]

    def spread(key: str) -> Spread:
        values = tuple(getattr(row, key) for row in rows)
        return Spread(sum(values) / len(values), None if len(values) == 1 else 0.5, values)

    made = Summary(
        label=first.label, method=[] if first.label == ALONE else [{"name": "kd", "weight": 0.5}],
        seeds=tuple(row.seed for row in rows), steps=first.steps, minutes=first.seconds / 60,
        step_seconds=first.step_seconds, cost=None if gained is None else 1.1, miou=spread("miou"), macc=spread("macc"),
        aacc=spread("aacc"), edge_miou=spread("edge_miou"), body_miou=spread("body_miou"),
        boundary_miou=spread("boundary_miou"), gain=gained, edge_gain=gained, body_gain=gained,
        gap_closed=None if gained is None else gained.mean / 20, classes=(),
    )  # fmt: skip
    return replace(made, **changes)


def study(gains: Mapping[str, Gain | None], *, alone: float = 40.0, classes: int = 3, **changes: Any) -> Study:
    """The student alone and methods that gained so much over it, in as many seeds as the gains have."""
    seeds = range(max((len(each.values) for each in gains.values() if each is not None), default=1))
    rows = {ALONE: [outcome(ALONE, seed, alone, classes) for seed in seeds]}
    for label, gained in gains.items():
        mean = 1.0 if gained is None else gained.mean
        rows[label] = [outcome(label, seed, alone + mean, classes) for seed in seeds]
    names = tuple(f"class {index}" for index in range(classes))
    summaries = [summary(rows[ALONE], None)]
    for label, gained in gains.items():
        moved = () if gained is None else tuple(ClassGain(name, gained.mean) for name in names)
        summaries.append(summary(rows[label], gained, classes=moved))
    made = Study(
        data="things", images=9, size=(32, 48), classes=names, seeds=tuple(seeds), budget="100 steps",
        teacher=outcome("teacher", miou=alone + 20, classes=classes), teacher_cost=NetworkCost(5_000_000, 4.0, 50.0),
        student_cost=NetworkCost(500_000, 0.5, 10.0), outcomes=tuple(row for each in rows.values() for row in each),
        summary=tuple(summaries), failures=(), pending=(), recipe={"data": {"name": "things"}},
        environment={"machine": "a machine", "command": ["segdistill", "compare"]},
    )  # fmt: skip
    return replace(made, **changes)


def own_data(root: Path, count: int = 9) -> Path:
    """Street scenes as files: images, masks, classes and names that try to break out of a page."""
    for split in ("train", "val"):
        scenes = Streets(split=split, size=(32, 48), count=count)  # type: ignore[arg-type]
        for part in ("images", "masks"):
            (root / split / part).mkdir(parents=True)
        for index in range(count):
            sample = scenes[index]
            name = f"{index}{FILE}.png"
            Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(root / split / "images" / name)
            Image.fromarray(sample.label.numpy()).save(root / split / "masks" / name)
    (root / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    return root


def real_study(folder: Path, tiny: Sequence[str]) -> Path:
    """Two seeds of the student alone and of a method, a few steps each, in a study whose numbers are made up."""
    data = own_data(folder / "data")
    parts = ["folder", *(part for part in tiny if not part.startswith(("streets", "data."))), f"data.root={data}"]
    parts += ["steps=3", "validate_every=1", "baseline=none"]
    place = folder / "study"
    resolve(load_recipe(*parts, role="teacher", out=place / "teacher"), distills=False).run(quiet=True)
    names = {ALONE: "alone", METHOD: "kd"}
    for seed in (0, 1):
        resolve(load_recipe(*parts, f"seed={seed}", out=place / f"alone-{seed}"), distills=False).run(quiet=True)
        teacher = f"teacher.weights={place / 'teacher'}"
        resolve(load_recipe(*parts, "kd", teacher, f"seed={seed}", out=place / f"kd-{seed}")).run(quiet=True)
    made = study({METHOD: gain(4.2, (1.0, 7.4), seeds=2)}, classes=len(CLASSES))
    outcomes = tuple(replace(row, folder=f"{names[row.label]}-{row.seed}") for row in made.outcomes)
    moved = tuple(ClassGain(name, 4.0 - index) for index, name in enumerate(CLASSES))
    summaries = (made.summary[0], replace(made.summary[1], classes=moved))
    replace(
        made, images=9, classes=CLASSES, outcomes=outcomes, summary=summaries, environment=describe_environment()
    ).save(place)
    return place
