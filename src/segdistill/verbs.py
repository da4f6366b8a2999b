"""The verbs of the library: the same names, words and results from Python and from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segdistill.comparison.study import compare, compare_one
from segdistill.composition import comments, fragments
from segdistill.conversion import convert, inspect
from segdistill.data import create_dataset, dataset_names
from segdistill.diagnosis.diagnose import Diagnosis, diagnose
from segdistill.discovery import classes_in
from segdistill.errors import RecipeError, nearest
from segdistill.evaluation.macs import Convention
from segdistill.evaluation.metrics import Scores
from segdistill.evaluation.profile import Profile
from segdistill.evaluation.scoring import Quality, count
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.methods import method_names
from segdistill.models.files import Role, open_model, trained_record
from segdistill.models.heads import Head
from segdistill.models.segmenter import SegmentationNetwork
from segdistill.models.zoo import ZOO
from segdistill.preparation import prepare
from segdistill.profiling import check_settings, profile_network
from segdistill.proof import Contender, prove, save_proof
from segdistill.published_rows import PublishedRow, measured, published_rows
from segdistill.recipe import Recipe, load_inference, load_recipe
from segdistill.report.prediction import Prediction, predict_files
from segdistill.report.table import Proof
from segdistill.reporting import report
from segdistill.showing import show
from segdistill.submitting import check_zip, submit
from segdistill.training import runs
from segdistill.training.allocator import keep_freed_memory
from segdistill.training.display import console, counting
from segdistill.training.folder import RunFolder
from segdistill.training.pairing import comparable_teacher, require_same_classes
from segdistill.training.processes import is_main, own_device, own_share, total
from segdistill.training.replay import replay

__all__ = [
    "available", "check_zip", "compare", "compare_one", "convert", "distill", "doctor", "evaluate", "inspect",
    "predict", "prepare", "replay", "report", "show", "submit", "train",
]  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A finished `train`. scores: of the network it hands over; the best validation and its step stand beside them."""

    folder: Path
    role: Role
    scores: Scores
    best_miou: float
    best_step: int
    seconds: float


@dataclass(frozen=True)
class Distilled:
    """A finished `distill`: its folder and the table that says what it was worth."""

    folder: Path
    proof: Proof


@dataclass(frozen=True)
class Evaluated:
    """Scores of a network on a split, with the class names in the order of the per-class scores, and how it was run."""

    weights: Path
    split: str
    images: int
    classes: tuple[str, ...]
    quality: Quality
    inference: InferenceConfig
    metrics: MetricsConfig

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


def train(*parts: str | Path, resume: bool = False, quiet: bool = False, **overrides: Any) -> Trained:
    """Train one network of the recipe alone: the student, or with `role=teacher` the teacher.

    Parts and overrides are those of `load_recipe`. resume: continue the run that the folder holds.
    """
    recipe = _told(load_recipe(*parts, **overrides), quiet)
    recipe = _with_folder(recipe, recipe.role)
    run = runs.train(recipe, resume=resume, quiet=quiet)
    done = evaluate(run.folder.path, quiet=quiet, boundary=False, calibration=False, agreement=False)
    trained = trained_record(done.weights)
    return Trained(
        run.folder.path, recipe.role, done.scores, trained["best_miou"], trained["best_step"], trained["seconds"]
    )


def distill(*parts: str | Path, resume: bool = False, quiet: bool = False, **overrides: Any) -> Distilled:
    """Distil the recipe's student and measure what it was worth.

    The folder `run` gets the distilled student and the proof (result.json, table.md, grid.png); its subfolders
    `teacher` and `alone` get the runs of the teacher (unless `teacher.run` names one) and of the student alone
    (unless `baseline` is "none" or names one).
    """
    recipe = _told(load_recipe(*parts, **overrides), quiet)
    recipe = _with_folder(recipe, "-".join(method.name for method in recipe.with_method().method))
    done = runs.distill(recipe, resume=resume, quiet=quiet)
    contenders = [Contender("teacher", done.teacher.model, note=done.teacher.note)]
    if done.alone is not None:
        contenders.append(Contender("student alone", done.alone))
    contenders.append(Contender("distilled", open_model(done.student.folder.path)))
    validation = create_dataset(recipe.data, "val")
    proof = prove(contenders, validation, recipe.data.name, recipe.inference, recipe.metrics)
    if is_main():
        save_proof(done.student.folder.path, proof, contenders, validation, recipe.inference)
    return Distilled(done.student.folder.path, proof)


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
    """
    model = open_model(weights)
    folder = RunFolder(model.path.parent)
    parts = tuple(_metrics_key(part) for part in parts)
    short = {key: overrides.pop(key) for key in list(overrides) if key in MetricsConfig.model_fields}
    if short:
        overrides["metrics"] = {**overrides.get("metrics", {}), **short}
    recipe = load_recipe(*([folder.recipe] if folder.recipe.is_file() else []), *parts, **overrides)
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
            metrics=recipe.metrics,
            teacher=teacher,
            indices=indices,
            workers=recipe.workers,
            on_images=done,
            source=str(model.path),
        )
    quality = counts.sum_over(total).quality()
    return Evaluated(model.path, split, len(dataset), dataset.classes.names, quality, recipe.inference, recipe.metrics)


def predict(
    weights: str | Path,
    *inputs: str | Path,
    out: str | Path = "predictions",
    alpha: float = 0.5,
    legend: bool = False,
    parts: Iterable[str | Path] = (),
) -> Iterable[Prediction]:
    """Write a mask (palette PNG of class indices) and an overlay for every image file, or image of a folder.

    weights: a run folder or a weight file. alpha: strength of the colours in the overlay. legend: names
    of the classes below it. parts: recipe parts that say
    how images are run, as "inference.flip=true", over the run's own. Works as it is iterated.
    """
    model = open_model(weights)
    own = RunFolder(model.path.parent).recipe
    inference = load_inference(*([own] if own.is_file() else []), *parts)
    files = [Path(path) for path in inputs]
    return predict_files(model, files, Path(out), inference=inference, alpha=alpha, legend=legend)


def profile(
    network: str | Path | SegmentationNetwork,
    *,
    num_classes: int | None = None,
    size: tuple[int, int] | str | None = None,
    convention: Convention = "paper",
    latency: bool = True,
    runs: int = 15,
    batch: int = 1,
    device: str | None = None,
    **options: Any,
) -> Profile:
    """Parameters, multiply-adds, activation memory and latency of a network, in all and by stage.

    network: a name of the zoo, a run folder or weight file, or a network itself. num_classes: of a named network,
    default 19. size: of the image, (H,W) or "HxW"; default 512x512, or the crop that a run was trained with.
    convention: what counts as an operation, see `evaluation.macs`. latency: whether to time it, with the median of
    `runs` warm runs on `batch` images. device: as "cpu" or "cuda:1"; default CUDA if there is one. options: of the
    named network, as output_stride.
    """
    settings: dict[str, Any] = {"convention": convention, "latency": latency, "runs": runs, "batch": batch}
    given = {"num_classes": num_classes, "size": size, "device": device}
    settings |= {key: value for key, value in given.items() if value is not None}
    return profile_network(network, check_settings(settings, options), options)


def doctor(*parts: str | Path, images: int | Literal["all"] = 500, quiet: bool = False, **overrides: Any) -> Diagnosis:
    """What a run would see: its data, its teacher's agreement with the labels, its time and memory, and all problems.

    Parts and overrides are those of `train` and `distill`; data alone is enough. images: how many of each split are
    read, evenly spread, or "all". Files that are broken or odd are in the result, not raised.
    """
    if images != "all" and images < 1:
        raise RecipeError(f"Key 'images': expected a number of at least 1 or 'all', found {images!r}.")
    return diagnose(load_recipe(*parts, **overrides), images=None if images == "all" else images, quiet=quiet)


def available(what: str | None = None) -> dict[str, dict[str, Any]]:
    """Networks, heads, methods, data sets and recipe fragments by name, with a line on each, and the published rows
    with all that is known of them; all or the kind `what`. "recipes" are fragments and published rows.
    """
    known: dict[str, dict[str, Any]] = {
        "networks": {
            name: ", ".join(f"{key} {value}" for key, value in made_of.items()) for name, made_of in ZOO.items()
        },
        "heads": {name: _summary(cls) for name, cls in classes_in("segdistill.models.heads", Head).items()},
        "methods": {name: _summary(cls) for name, cls in method_names().items()},
        "datasets": {name: _summary(cls) for name, cls in dataset_names().items()},
        "recipes": {name: text.lstrip("# ").partition("\n")[0] for name, text in sorted(fragments().items())},
        "published": {name: _described(row) for name, row in published_rows().items()},
    }
    if what is not None and what not in known:
        raise RecipeError(f"Nothing to list is called '{what}'.{nearest(what, known)}")
    if what is None:
        return known
    return {kind: known[kind] for kind in ((what, "published") if what == "recipes" else (what,))}


def _described(row: PublishedRow) -> dict[str, Any]:
    """A published row, where its constants come from, and our own result if there is one."""
    plain = row.as_dict()
    origins = plain.pop("origins")
    said = {word: comments(word) if word in fragments() else "" for word in row.words}
    constants = {word: f"{text} {origins.get(word, '')}".strip() for word, text in said.items()}
    return {**plain, "constants": constants, "measured": measured().get(row.name)}


def _summary(cls: type) -> str:
    """The first sentence of the docstring of the class."""
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _metrics_key(part: str | Path) -> str | Path:
    """The part, a bare key of `metrics` by its full name; a key of neither is refused with the nearest of all."""
    key, found, _ = str(part).partition("=")
    if key in MetricsConfig.model_fields:
        return f"metrics.{part}"
    if found and key.isidentifier() and key not in Recipe.model_fields:
        raise RecipeError(f"Unknown key '{key}'.{nearest(key, {*MetricsConfig.model_fields, *Recipe.model_fields})}")
    return part


def _told(recipe: Recipe, quiet: bool) -> Recipe:
    """The recipe itself, after what people should know about it was said."""
    if recipe.remark and not quiet and is_main():
        console.print(recipe.remark, soft_wrap=True, markup=False)
    return recipe


def _with_folder(recipe: Recipe, what: str) -> Recipe:
    """The recipe with a run folder: its own, or runs/<data>-<what>-seed<n>."""
    if recipe.run is not None:
        return recipe
    return recipe.model_copy(update={"run": Path("runs") / f"{recipe.data.name}-{what}-seed{recipe.seed}"})
