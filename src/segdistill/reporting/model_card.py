"""The model card of a published network: its table for people, its scores as the hub's metadata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.core.errors import DataError
from segdistill.evaluation.metrics import Scores
from segdistill.models.files import Description
from segdistill.reporting.study_table import markdown
from segdistill.runs.folder import RunFolder
from segdistill.studies.measurement import read_scores, scores_file
from segdistill.studies.result import STUDY_FILE, Outcome, Study
from segdistill.studies.stored import load_study

_LIBRARY = "segdistill"
_METRICS = (
    ("mean_iou", "mean IoU", "miou"),
    ("mean_accuracy", "mean accuracy", "macc"),
    ("accuracy", "pixel accuracy", "aacc"),
    ("edge_mean_iou", "mean IoU near class boundaries", "edge_miou"),
    ("boundary_iou", "mean boundary IoU", "boundary_miou"),
)
"""Type and name in the metadata, and the field of an outcome; values are in percent."""


@dataclass(frozen=True)
class Scored:
    """What a run's network was measured to be worth.

    Attributes:
        data: Name of the data set.
        values: Type of a metric -> its name and value in percent, on validation.
        study: That measured it, None for a run without one.
        outcome: Its row there.
    """

    data: str
    values: dict[str, tuple[str, float]]
    study: Study | None = None
    outcome: Outcome | None = None


def scored(file: Path, description: Description) -> Scored | None:
    """The scores of a weight file: of its run's study, of the study that its run is part of, or of the run itself.

    Args:
        file: In a run folder.
        description: Of the file.

    Returns:
        The scores; None if nothing was measured.
    """
    folder = file.parent
    for above in (folder, folder.parent):
        if not (above / STUDY_FILE).is_file():
            continue
        try:
            study = load_study(above)
        except DataError:
            continue
        place = folder.relative_to(above).as_posix()
        rows = [*study.outcomes, *([study.teacher] if study.teacher else [])]
        row = next((each for each in rows if each.folder == place), None)
        if row is not None:
            return Scored(study.data, _values(row), study, row)
    scores = RunFolder(folder).validated(description.trained)
    if scores is None and scores_file(folder).is_file():
        scores = Scores.read(read_scores(scores_file(folder)))
    if scores is None:
        return None
    return Scored(str(description.trained.get("data")), _values(scores))


def _values(row: Outcome | Scores) -> dict[str, tuple[str, float]]:
    """Type of a metric -> its name and value, of those that were measured."""
    fields = [(kind, name, getattr(row, field, None)) for kind, name, field in _METRICS]
    return {kind: (name, value) for kind, name, value in fields if value is not None and not math.isnan(value)}


def model_card(
    name: str, description: Description, measured: Scored | None, license: str | None, files: Sequence[str]
) -> str:
    """The content of README.md.

    Args:
        name: Of the repository, as "user/name".
        description: Of the network.
        measured: Its scores, None if there are none.
        license: Of the weights, as the hub writes it; None if it is not stated.
        files: The names of the files beside the card.

    Returns:
        Metadata as YAML between lines of ---, and Markdown.
    """
    title = name.rpartition("/")[2]
    text = [
        f"# {title}",
        _summary(description, measured),
        f'```python\nimport segdistill\n\nmodel = segdistill.load_model("hf-segdistill:{name}")\n'
        'prediction = model.predict("photo.jpg")  # .mask, .confidence, .overlay()\n```',
        *(["`student.onnx` runs without this library, as `run_onnx.py` shows."] if "student.onnx" in files else []),
        *_scores(measured),
        "## Classes",
        ", ".join(description.classes.names),
        "## License",
        (f"{license}. " if license else "The license of the weights is not stated. ")
        + "What the data set's own terms say of networks that were trained with it holds as well.",
    ]  # fmt: skip
    return f"---\n{_metadata(title, measured, license)}\n---\n\n" + "\n\n".join(text) + "\n"


def _summary(description: Description, measured: Scored | None) -> str:
    """What it is and how it was trained."""
    spec, trained = description.spec, description.trained
    network = spec.name or f"{spec.backbone}, {spec.head}"
    parts = [f"A network for semantic segmentation ({network}, {len(description.classes)} classes)"]
    if trained:
        methods = ", ".join(map(str, trained.get("method") or ())) or "no teacher"
        parts.append(
            f"trained on {trained.get('data')} with {methods} for {trained.get('steps')} steps of "
            f"{trained.get('batch_size')} images, seed {trained.get('seed')}"
        )
    seeds = measured.study.seeds if measured is not None and measured.study is not None else ()
    shown = f" Its study has {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}." if seeds else ""
    return ", ".join(parts) + f", by [segdistill](https://pypi.org/project/segdistill/).{shown}"


def _scores(measured: Scored | None) -> list[str]:
    """The table of the study, or the scores alone."""
    if measured is None:
        return []
    if measured.study is not None:
        return ["## What it was worth", markdown(measured.study).strip()]
    rows = [f"| {name} | {value:.2f} |" for name, value in measured.values.values()]
    return ["## Scores", f"On the validation images of {measured.data}, in percent.",
            "\n".join(["| metric | value |", "| --- | --- |", *rows])]  # fmt: skip


def _metadata(title: str, measured: Scored | None, license: str | None) -> str:
    """The hub's own metadata, as YAML, checked by the hub's own library."""
    from huggingface_hub import EvalResult, ModelCardData  # takes time to import

    values = {} if measured is None else measured.values
    data_name = "" if measured is None else measured.data
    results = [
        EvalResult(
            task_type="image-segmentation",
            task_name="Semantic segmentation",
            dataset_type=data_name,
            dataset_name=data_name,
            dataset_split="validation",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 3),
        )
        for kind, (name, value) in values.items()
    ]
    more: dict[str, Any] = {"license": license} if license else {}
    data = ModelCardData(
        library_name=_LIBRARY,
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "knowledge-distillation", _LIBRARY],
        model_name=title,
        eval_results=results or None,
        **more,
    )
    return str(data.to_yaml())
