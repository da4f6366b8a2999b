"""Scoring a network on a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

from segdistill.commands.common import run_folder_of, split_network
from segdistill.core.discovery import validated
from segdistill.core.errors import DataError, RecipeError
from segdistill.core.results import Result
from segdistill.data import DatasetConfig, create_dataset
from segdistill.data.base import SegmentationDataset
from segdistill.data.labelled import labeled_indices
from segdistill.evaluation.metrics import Scores, by_class
from segdistill.evaluation.scoring import Quality, count
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.channels import choose_channels, require_channels
from segdistill.models.open import NetworkSource, described, open_model
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.composition import require_keys
from segdistill.recipe.keywords import EvaluationKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import counting
from segdistill.runtime.processes import is_main, own_device, own_share, total
from segdistill.training.pairing import comparable_teacher, require_same_classes


@dataclass(frozen=True, repr=False)
class Evaluated(Result):
    """Scores of a network on a split, and how it was run.

    Attributes:
        weights: the file of the network.
        split: that was scored.
        images: how many; those without a mask are left out.
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

    def records(self) -> list[dict[str, Any]]:
        """A line a class."""
        scores = self.scores
        lines = zip(self.classes, scores.iou, scores.accuracy, scores.dice, strict=True)
        return [{"class": name, "IoU": iou, "accuracy": hit, "Dice": dice} for name, iou, hit, dice in lines]

    def __repr__(self) -> str:
        return f"Evaluated({self.weights}, {self.images} images of {self.split}, mIoU {self.scores.miou:.2f})"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores of classes by class name."""
        return {
            "weights": str(self.weights),
            "split": self.split,
            "images": self.images,
            **by_class(self.quality.as_dict(), self.classes),
            "inference": self.inference.model_dump(mode="json"),
            "metrics": self.metrics.model_dump(mode="json"),
        }


@takes_recipe_keys
def evaluate(
    weights: NetworkSource,
    *words: Word,
    split: Literal["train", "val", "test"] = "val",
    network: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **keys: Unpack[EvaluationKeys],
) -> Evaluated:
    """Score a network on a data set: that of the run's own recipe with `words` over it.

    Keys of the recipe's section `metrics` may stand alone, as `boundary=False` or "agreement=true". Several processes
    (torchrun) share the images; every image is counted once.

    Args:
        weights: a run folder, a weight file, a name such as module:package.module:factory, or a network itself.
        *words: recipe files, fragments and "key=value" over the run's own recipe; `network.key=value` as `network`.
        split: of the data set; not every one has labels for "test".
        network: input_channels, those of the images that it sees; and of one of another library: mean, std, bgr, and
            the adapter's options, as classifier.
        quiet: show no progress.
        **keys: keys of the recipe or of `metrics`; `root` is that of the data set.

    Returns:
        The scores, and how they were made.

    Raises:
        SegdistillError: weights, recipe or data can't be read or don't fit together, no image of the split has a mask,
            or scores are not finite.
    """
    others, options = split_network(words, network)
    chosen = validated(NetworkSpec, {"input_channels": options.pop("input_channels", None)}, "network").input_channels
    model = open_model(described(weights, options))
    if chosen is not None:
        choose_channels(model.network, chosen, str(model.path))
    folder = run_folder_of(model)
    recipe = _recipe_of(folder, others, dict(keys))
    dataset = create_dataset(recipe.data, split)
    require_same_classes(model, dataset.classes)
    require_channels(model.network, dataset.pixels)
    labeled = _labeled(dataset, recipe.data.name, split)
    device = own_device()
    keep_freed_memory(device)
    teacher = None
    if recipe.metrics.agreement:
        run = folder.path if folder is not None else Path(model.path)
        teacher = comparable_teacher(recipe, run, dataset.classes, "metrics.agreement").network.to(device)
    indices = [labeled[place] for place in own_share(len(labeled))]
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
    return Evaluated(model.path, split, len(labeled), names, quality, recipe.inference, recipe.metrics, ignored)


def _labeled(dataset: SegmentationDataset, name: str, split: str) -> list[int]:
    """The samples that have a mask to score by; an error if there are none."""
    labeled = labeled_indices(dataset)
    if not labeled:
        raise DataError(
            f"Data set '{name}' has {len(dataset)} images for {split} and no mask of any, so there is nothing to score "
            "by. Take a split that has labels, as split=val, or look at the data with segdistill doctor; predict and "
            "submit run images without labels."
        )
    return labeled


def _recipe_of(folder: RunFolder | None, words: Sequence[Word], overrides: dict[str, Any]) -> Recipe:
    """The run's own recipe, if it has one, with words and overrides over it; keys of `metrics` may stand alone."""
    words = [_metrics_key(word) for word in words]
    if overrides.get("out") is not None:
        raise _writes_nothing(overrides["out"])
    if "root" in overrides:
        data = DatasetConfig.of(overrides.pop("data", {}))
        overrides["data"] = {
            **(data if isinstance(data, Mapping) else data.model_dump()),
            "root": overrides.pop("root"),
        }
    short = {key: overrides.pop(key) for key in list(overrides) if key in MetricsConfig.model_fields}
    if short:
        overrides["metrics"] = {**dict(overrides.get("metrics", {})), **short}
    recorded = [folder.recipe] if folder is not None and folder.recipe.is_file() else []
    return load_recipe(*recorded, *words, **overrides)


def _metrics_key(part: Word) -> Word:
    """The word, a bare key of `metrics` by its full name; a key of neither is refused with the nearest of all."""
    if isinstance(part, Recipe):
        return part
    key, equals, value = str(part).partition("=")
    if key in MetricsConfig.model_fields:
        return f"metrics.{part}"
    if equals and key == "out":
        raise _writes_nothing(value)
    require_keys([str(part)], {*MetricsConfig.model_fields, *Recipe.model_fields, "preset"})
    return part


def _writes_nothing(out: Any) -> RecipeError:
    """That `out`, the folder of a training run, would do nothing here."""
    return RecipeError(
        f"Key 'out': evaluate writes no file, found '{out}'. --json prints the scores, as in segdistill evaluate RUN "
        "--json > scores.json; in Python they are as_dict() of the result."
    )
