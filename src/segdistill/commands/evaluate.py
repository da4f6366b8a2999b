"""Scoring a network on a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segdistill.core.errors import RecipeError, nearest
from segdistill.data import create_dataset
from segdistill.evaluation.metrics import Scores
from segdistill.evaluation.scoring import Quality, count
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.open import open_model
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.runs.folder import RunFolder, run_of
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import counting
from segdistill.runtime.processes import is_main, own_device, own_share, total
from segdistill.training.pairing import comparable_teacher, require_same_classes


@dataclass(frozen=True)
class Evaluated:
    """Scores of a network on a split, and how it was run.

    Attributes:
        weights: the file of the network.
        split: that was scored.
        images: how many.
        classes: names, in the order of the per-class scores.
        quality: the scores.
        inference: how images were run through the network.
        metrics: what was measured.
    """

    weights: Path
    split: str
    images: int
    classes: tuple[str, ...]
    quality: Quality
    inference: InferenceConfig
    metrics: MetricsConfig
    ignored: tuple[str, ...] = ()
    """Names of the classes that are no part of the means."""

    @property
    def scores(self) -> Scores:
        """Those of the confusion matrix."""
        return self.quality.scores

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores of classes by class name."""

        def named(values: dict[str, Any]) -> dict[str, Any]:
            by_class = {
                key: dict(zip(self.classes, value, strict=True)) if isinstance(value, list) else value
                for key, value in values.items()
            }
            return {key: named(value) if key == "boundary" else value for key, value in by_class.items()}

        return {
            "weights": str(self.weights),
            "split": self.split,
            "images": self.images,
            **named(self.quality.as_dict()),
            "inference": self.inference.model_dump(mode="json"),
            "metrics": self.metrics.model_dump(mode="json"),
        }


def evaluate(
    weights: str | Path,
    *parts: str | Path,
    split: Literal["train", "val", "test"] = "val",
    quiet: bool = False,
    **overrides: Any,
) -> Evaluated:
    """Score a run folder or weight file on a data set: that of the run's own recipe with `parts` over it.

    Keys of the recipe's section `metrics` may stand alone, as `boundary=False` or "agreement=true". Several processes
    (torchrun) share the images; every image is counted once.

    Args:
        weights: a run folder or a weight file.
        *parts: recipe files, fragments and "key=value" over the run's own recipe.
        split: of the data set; not every one has labels for "test".
        quiet: show no progress.
        **overrides: keys of the recipe or of `metrics`.

    Returns:
        The scores, and how they were made.

    Raises:
        SegdistillError: weights, recipe or data can't be read or don't fit together, or scores are not finite.
    """
    model = open_model(weights)
    folder = run_of(model.path)
    recipe = _recipe_of(folder, parts, overrides)
    dataset = create_dataset(recipe.data, split)
    require_same_classes(model, dataset.classes)
    device = own_device()
    keep_freed_memory(device)
    teacher = None
    if recipe.metrics.agreement:
        teacher = comparable_teacher(recipe, folder.path, dataset.classes, "metrics.agreement").network.to(device)
    indices = own_share(len(dataset))
    with counting(f"evaluate {model.path}", len(indices), quiet=quiet or not is_main()) as done:
        counts = count(
            model.network.to(device),
            dataset,
            inference=recipe.inference,
            source=str(model.path),
            metrics=recipe.metrics,
            teacher=teacher,
            indices=indices,
            workers=recipe.workers,
            on_images=done,
        )
    quality = counts.sum_over(total).quality()
    names = dataset.classes.names
    ignored = tuple(names[index] for index in recipe.metrics.ignored(dataset.classes))
    return Evaluated(model.path, split, len(dataset), names, quality, recipe.inference, recipe.metrics, ignored)


def _recipe_of(folder: RunFolder, parts: tuple[str | Path, ...], overrides: dict[str, Any]) -> Recipe:
    """The run's own recipe, if it has one, with parts and overrides over it; keys of `metrics` may stand alone."""
    words = tuple(_metrics_key(part) for part in parts)
    short = {key: overrides.pop(key) for key in list(overrides) if key in MetricsConfig.model_fields}
    if short:
        overrides["metrics"] = {**overrides.get("metrics", {}), **short}
    return load_recipe(*([folder.recipe] if folder.recipe.is_file() else []), *words, **overrides)


def _metrics_key(part: str | Path) -> str | Path:
    """The part, a bare key of `metrics` by its full name; a key of neither is refused with the nearest of all."""
    key, equals, _ = str(part).partition("=")
    if key in MetricsConfig.model_fields:
        return f"metrics.{part}"
    if equals and key.isidentifier() and key not in Recipe.model_fields:
        raise RecipeError(f"Unknown key '{key}'.{nearest(key, {*MetricsConfig.model_fields, *Recipe.model_fields})}")
    return part
