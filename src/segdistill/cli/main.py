"""The command line: one thin verb per public function, which imports what it needs when it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli import exporting, images, recipes, studies, weights
from segdistill.cli.grammar import Verbs, register, split_words
from segdistill.cli.images import Over, Weights
from segdistill.cli.keys import DoctorKeys, EvaluateKeys, PrepareKeys, ReplayKeys, RunKeys
from segdistill.cli.recipes import WholeRecipe
from segdistill.cli.terminal import AsJson, ProcessFailedError, Resume, print_result, results
from segdistill.core.errors import RecipeError, SegdistillError
from segdistill.recipe.composition import key_values
from segdistill.runtime.display import console as messages
from segdistill.runtime.failures import explained
from segdistill.runtime.interruption import Interrupted

app = typer.Typer(
    cls=Verbs,
    help="""Distil a big segmentation network into a small one, and see what that was worth.

    Names stand alone, values are key=value, switches are --flag. `segdistill VERB --help` has examples.""",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_KEYS = "segdistill.cli.keys"


@register(
    app,
    "train",
    keys=f"{_KEYS}:RunKeys",
    examples=(
        "segdistill train camvid mobile_pair steps=2000",
        "segdistill train camvid mobile_pair role=teacher out=runs/teacher",
    ),
)
def train_command(parts: WholeRecipe, resume: Resume = False, as_json: AsJson = False) -> None:
    """Train the student, or with role=teacher the teacher, without distillation."""
    from segdistill.cli.launching import launch
    from segdistill.commands.train import train

    keys, parts = split_words(RunKeys, parts)
    if launch(keys.nproc, parts):
        return
    done = train(*parts, resume=resume, quiet=as_json)
    minutes = f"{done.seconds / 60:.1f} min of training."
    best = "" if done.best_miou is None else f"best on the way {done.best_miou:.2f} at step {done.best_step}"
    scores = (
        f"The {done.role} in {done.folder} reaches mIoU {done.scores.miou:.2f}, mAcc {done.scores.macc:.2f}, "
        f"aAcc {done.scores.aacc:.2f} on validation ({best}); {minutes}"
        if best
        else f"The {done.role} is in {done.folder}; no validation gave an mIoU. {minutes}"
    )
    print_result(done.as_dict(), as_json, scores)


@register(
    app,
    "distill",
    keys=f"{_KEYS}:RunKeys",
    examples=(
        "segdistill distill streets tiny_pair kd preset=short",
        "segdistill distill camvid mobile_pair bpkd data.root=data/CamVid out=runs/a",
        "segdistill distill camvid mobile_pair bpkd out=runs/a --resume",
    ),
)
def distill_command(parts: WholeRecipe, resume: Resume = False, as_json: AsJson = False) -> None:
    """Distil the student and show teacher, student alone and distilled student in one table."""
    from segdistill.cli.launching import launch
    from segdistill.cli.tables.study import shown_study
    from segdistill.commands.distill import distill

    keys, parts = split_words(RunKeys, parts)
    if launch(keys.nproc, parts):
        return
    done = distill(*parts, resume=resume, quiet=as_json)
    files = f"Pictures: {done.folder / 'grid.png'}   Student: {done.folder / 'student.safetensors'}"
    print_result(done.as_dict(), as_json, *shown_study(done.study), files)


@register(
    app,
    "pretrain",
    keys=f"{_KEYS}:RunKeys",
    examples=("segdistill pretrain camvid mobile_pair pretrain.teacher=samvit_base_patch16",),
)
def pretrain_command(parts: WholeRecipe, resume: Resume = False, as_json: AsJson = False) -> None:
    """Let the student's backbone imitate features of one without classes (DINOv2, SAM), on images without labels."""
    from segdistill.cli.launching import launch
    from segdistill.commands.pretrain import pretrain

    keys, parts = split_words(RunKeys, parts)
    if launch(keys.nproc, parts):
        return
    done = pretrain(*parts, resume=resume, quiet=as_json)
    text = f"The backbone is in {done.weights}, of {done.images} images; {done.seconds / 60:.1f} min of training."
    print_result(done.as_dict(), as_json, text, f"A student starts from it: student.backbone_weights={done.folder}")


studies.add_verbs(app)


@register(
    app,
    "evaluate",
    keys=f"{_KEYS}:EvaluateKeys",
    examples=(
        "segdistill evaluate runs/mine",
        "segdistill evaluate runs/mine split=train inference.flip=true boundary=false",
    ),
)
def evaluate_command(weights: Weights, words: Over = None, as_json: AsJson = False) -> None:
    """Score a network on a data set, class by class; boundary=, calibration= and agreement= say what is measured."""
    from segdistill.cli.launching import launch
    from segdistill.cli.tables.score import score_lines, score_table
    from segdistill.commands.evaluate import evaluate

    keys, parts = split_words(EvaluateKeys, words or ())
    if launch(keys.nproc):
        return
    done = evaluate(weights, *parts, split=keys.split, quiet=as_json)
    title = f"{done.weights} on {done.images} images ({done.split})"
    table = score_table(title, done.classes, done.quality, done.ignored)
    print_result(done.as_dict(), as_json, table, *score_lines(done.quality, done.metrics))


images.add_verbs(app)
weights.add_verbs(app)
exporting.add_verbs(app)


@register(
    app,
    "prepare",
    keys=f"{_KEYS}:PrepareKeys",
    examples=("segdistill prepare cityscapes root=data/cityscapes archives=downloads",),
)
def prepare_command(
    dataset: Annotated[str, typer.Argument(help="A data set, see `segdistill list datasets`.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="VALUES", help="root=FOLDER, more values, and options of the data set."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Unpack, convert and check a data set; say what is missing and where to get it."""
    from segdistill.cli.tables.preparation import preparation_notes, preparation_table
    from segdistill.commands.prepare import prepare

    if not any(word.startswith("root=") for word in words or ()):
        raise RecipeError(f"Say where the data set is or goes: segdistill prepare {dataset} root=FOLDER")
    keys, rest = split_words(PrepareKeys, words or ())
    options = key_values(rest)
    for key in options.keys() & {"quiet", *PrepareKeys.model_fields}:  # quiet=true, root.x=1
        raise RecipeError(f"'{key}' is not an option of a data set, found {key}={options[key]!r}. Leave it out.")
    done = prepare(dataset, root=keys.root, archives=keys.archives, out=keys.out, quiet=as_json, **options)
    print_result(done.as_dict(), as_json, preparation_table(done), *preparation_notes(done))
    if not done.ready:
        raise typer.Exit(1)


@register(
    app,
    "doctor",
    keys=f"{_KEYS}:DoctorKeys",
    examples=("segdistill doctor camvid mobile_pair kd data.root=data/CamVid images=all",),
)
def doctor_command(parts: WholeRecipe, as_json: AsJson = False) -> None:
    """Say what a run would see, before it runs: data, teacher, time, memory, and every problem with its remedy."""
    from segdistill.cli.tables.diagnosis import diagnosis_notes, diagnosis_tables
    from segdistill.commands.doctor import doctor

    keys, parts = split_words(DoctorKeys, parts)
    done = doctor(*parts, images="all" if keys.images is None else keys.images, quiet=as_json)
    print_result(done.as_dict(), as_json, *diagnosis_tables(done), *diagnosis_notes(done))
    if done.interrupted or done.problems:
        raise typer.Exit(130 if done.interrupted else 1)


recipes.add_verbs(app)


@register(app, "replay", keys=f"{_KEYS}:ReplayKeys", examples=("segdistill replay runs/mine step=120",))
def replay_command(
    run: Annotated[Path, typer.Argument(help="A run folder with faults/step-N.pt.")],
    words: Over = None,
    as_json: AsJson = False,
) -> None:
    """Run a step again whose loss or gradient was not finite, and say where that arises and what cures it."""
    from segdistill.commands.replay import replay

    keys, parts = split_words(ReplayKeys, words or ())
    done = replay(run, *parts, step=keys.step)
    print_result(done.as_dict(), as_json, *done.lines())


def main() -> None:
    """Run the command line; what a user can put right is printed without a traceback."""
    try:
        with explained("working"):
            app()
    except Interrupted as stop:
        if not results.quiet:
            messages.print(str(stop), soft_wrap=True, markup=False)
        sys.exit(stop.code)
    except ProcessFailedError as error:  # it has said why
        messages.print(str(error), soft_wrap=True, markup=False)
        sys.exit(error.code)
    except SegdistillError as error:
        which = f" in process {os.environ['RANK']}" if results.quiet else ""
        messages.print(f"Error{which}: {error}", style="red", soft_wrap=True, markup=False)
        sys.exit(1)
