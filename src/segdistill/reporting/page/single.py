"""A distillation run as a study of one seed, so that there is one page for both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from segdistill.core.errors import DataError
from segdistill.core.safe_yaml import read_yaml
from segdistill.models.files import read_description, weight_file
from segdistill.runs.folder import RunFolder
from segdistill.studies.result import ALONE, NetworkCost, Outcome, Study, made_on
from segdistill.studies.summary import summarise


def study_of_run(path: Path) -> Study:
    """The study that result.json, recipe.yaml and environment.json of the run in `path` make."""
    folder = RunFolder(path)
    try:
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
        recipe = read_yaml(folder.recipe)
        rows = {row["name"]: row for row in result["rows"]}
        return _study(path, result, recipe, rows)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DataError(
            f"{path / 'result.json'} and {folder.recipe} don't tell what the run found: {type(error).__name__} "
            f"{error}. Run the same `segdistill distill` with --resume, which measures again."
        ) from error


def _study(path: Path, result: dict[str, Any], recipe: dict[str, Any], rows: dict[str, Any]) -> Study:
    classes = read_description(weight_file(path)).classes.names
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in recipe["method"]]
    label = "+".join(str(entry["name"]) for entry in entries) or "distilled"
    places = {"teacher": "teacher", ALONE: _place_of_alone(recipe), "distilled": "."}
    labels = {"teacher": "teacher", ALONE: ALONE, "distilled": label}
    outcomes = {
        name: _outcome(labels[name], places[name], row, recipe, result["environment"])
        for name, row in rows.items()
        if row["scores"] is not None
    }
    teacher, alone, distilled = (outcomes.get(name) for name in ("teacher", ALONE, "distilled"))
    if alone is not None and None in (rows[ALONE]["steps"], rows[ALONE]["seconds"]):
        alone = None  # a published file, of whose training nothing is known: it can't be compared at equal cost
    trained = [row for row in (alone, distilled) if row is not None]
    return Study(
        data=result["data"],
        images=result["images"],
        size=(result["size"][0], result["size"][1]),
        classes=classes,
        seeds=(int(recipe["seed"]),),
        budget=f"{recipe['steps']} steps",
        teacher=teacher,
        teacher_cost=_cost(rows["teacher"]),
        student_cost=_cost(rows["distilled"]),
        outcomes=tuple(trained),
        summary=summarise(trained, {label: entries}, classes, teacher),
        failures=(),
        pending=(),
        recipe={key: value for key, value in recipe.items() if key not in ("seed", "out", "method")},
        environment=result["environment"],
    )


def _place_of_alone(recipe: dict[str, Any]) -> str:
    baseline = recipe.get("baseline", "train")
    return "alone" if baseline in ("train", "none") else str(Path(baseline).absolute())


def _outcome(
    label: str, place: str, row: dict[str, Any], recipe: dict[str, Any], environment: dict[str, Any]
) -> Outcome:
    scores = row["scores"]
    near = row.get("boundary") or {}  # runs of earlier versions, and of metrics.boundary=false, have none
    return Outcome(
        label=label,
        seed=recipe["seed"] if row["seed"] is None else row["seed"],
        folder=place,
        steps=row["steps"] or 0,
        batch_size=recipe["batch_size"],
        seconds=row["seconds"] or 0.0,
        miou=scores["miou"],
        macc=scores["macc"],
        aacc=scores["aacc"],
        edge_miou=near.get("edge_miou"),
        body_miou=near.get("body_miou"),
        boundary_miou=near.get("boundary_miou"),
        iou=tuple(scores["iou"]),
        **made_on(environment),
    )


def _cost(row: dict[str, Any]) -> NetworkCost:
    return NetworkCost(row["parameters"], row["gflops"], row["milliseconds"])
