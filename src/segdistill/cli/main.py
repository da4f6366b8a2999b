"""The command line: one thin verb per public function."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from segdistill.cli.exporting import benchmark_command, demo_command, export_command
from segdistill.cli.images import Weights, check_zip_command, predict_command, show_command, submit_command
from segdistill.cli.launching import ProcessFailedError, launch
from segdistill.cli.studies import compare_command, report_command, reproduce_command
from segdistill.cli.tables.diagnosis import diagnosis_notes, diagnosis_tables
from segdistill.cli.tables.preparation import preparation_notes, preparation_table
from segdistill.cli.tables.published import long_table, published_tables
from segdistill.cli.tables.score import score_lines, score_table
from segdistill.cli.tables.study import shown_study
from segdistill.cli.terminal import AsJson, Processes, Resume, print_json, print_result, results
from segdistill.cli.weights import convert_command, inspect_command, profile_command
from segdistill.commands.distill import distill
from segdistill.commands.doctor import doctor
from segdistill.commands.evaluate import evaluate
from segdistill.commands.listing import available
from segdistill.commands.prepare import prepare
from segdistill.commands.replay import replay
from segdistill.commands.train import train
from segdistill.core.errors import RecipeError, SegdistillError
from segdistill.recipe.composition import key_values
from segdistill.recipe.published_rows import published_rows
from segdistill.runtime.display import console as messages
from segdistill.runtime.failures import explained
from segdistill.runtime.interruption import Interrupted

app = typer.Typer(
    help="Distil a big segmentation network into a small one, and see what that was worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Parts = Annotated[
    list[str],
    typer.Argument(
        help="Fragments and published rows (see `list`), data sets, methods, .yaml files and key=value, left to right."
    ),
]


@app.command("train")
def train_command(parts: Parts, resume: Resume = False, nproc: Processes = None, as_json: AsJson = False) -> None:
    """Train the student, or with role=teacher the teacher, without distillation."""
    if launch(nproc, parts):
        return
    done = train(*parts, resume=resume, quiet=as_json)
    minutes = f"{done.seconds / 60:.1f} min of training."
    scores = (
        f"The {done.role} is in {done.folder}; no validation gave an mIoU. {minutes}"
        if done.best_miou is None
        else f"The {done.role} in {done.folder} reaches mIoU {done.scores.miou:.2f}, mAcc {done.scores.macc:.2f}, "
        f"aAcc {done.scores.aacc:.2f} on validation (best {done.best_miou:.2f} at step {done.best_step}); {minutes}"
    )
    print_result(
        {**asdict(done), "folder": str(done.folder), "scores": done.scores.as_dict()},
        as_json,
        scores,
    )


@app.command("distill")
def distill_command(parts: Parts, resume: Resume = False, nproc: Processes = None, as_json: AsJson = False) -> None:
    """Distil the student and show teacher, student alone and distilled student in one table."""
    if launch(nproc, parts):
        return
    done = distill(*parts, resume=resume, quiet=as_json)
    files = f"Pictures: {done.folder / 'grid.png'}   Student: {done.folder / 'student.safetensors'}"
    print_result(done.as_dict(), as_json, *shown_study(done.study), files)


app.command("compare")(compare_command)
app.command("report")(report_command)
app.command("reproduce")(reproduce_command)


@app.command("evaluate")
def evaluate_command(
    weights: Weights,
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recipe parts over the run's own, as data.root=..., inference.flip=true, test_ade20k; and boundary=, "
            "calibration=, agreement=true/false."
        ),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which part of the data set.")] = "val",
    nproc: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Score a network on a data set, class by class."""
    if launch(nproc):
        return
    done = evaluate(weights, *(parts or ()), split=split, quiet=as_json)
    title = f"{done.weights} on {done.images} images ({done.split})"
    table = score_table(title, done.classes, done.quality, done.ignored)
    print_result(done.as_dict(), as_json, table, *score_lines(done.quality, done.metrics))


app.command("predict")(predict_command)
app.command("show")(show_command)
app.command("submit")(submit_command)
app.command("check-zip")(check_zip_command)
app.command("inspect")(inspect_command)
app.command("convert")(convert_command)
app.command("profile")(profile_command)
app.command("export")(export_command)
app.command("benchmark")(benchmark_command)
app.command("demo")(demo_command)


@app.command("prepare")
def prepare_command(
    dataset: Annotated[str, typer.Argument(help="A data set, see `segdistill list datasets`.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            help="root=FOLDER, archives=FOLDER of downloads to unpack into it, out=FOLDER for converted masks, and the "
            "data set's own options."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Unpack, convert and check a data set; say what is missing and where to get it."""
    given = key_values(options or ())
    if "root" not in given:
        raise RecipeError(f"Say where the data set is or goes: segdistill prepare {dataset} root=FOLDER")
    done = prepare(dataset, quiet=as_json, **given)
    print_result(done.as_dict(), as_json, preparation_table(done), *preparation_notes(done))
    if not done.ready:
        raise typer.Exit(1)


@app.command("doctor")
def doctor_command(
    parts: Parts,
    images: Annotated[str, typer.Option(help="How many images of each split are read, evenly spread, or all.")] = "500",
    as_json: AsJson = False,
) -> None:
    """Say what a run would see, before it runs: data, teacher, time, memory, and every problem with its remedy."""
    if images != "all" and not images.isdecimal():
        raise RecipeError(f"--images is {images!r}; expected a number or all.")
    done = doctor(*parts, images="all" if images == "all" else int(images), quiet=as_json)
    print_result(done.as_dict(), as_json, *diagnosis_tables(done), *diagnosis_notes(done))
    if done.interrupted or done.problems:
        raise typer.Exit(130 if done.interrupted else 1)


@app.command("list")
def list_command(
    what: Annotated[
        str | None, typer.Argument(help="networks, heads, methods, datasets, recipes or published.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a recipe can name."""
    chosen = available(what)
    if as_json:
        print_json(chosen)
        return
    for kind, entries in chosen.items():
        if kind == "published":
            rows = published_rows().values()
            for table in [long_table(rows)] if what == kind else published_tables(rows):
                results.print(table)
            continue
        table = Table(title=kind, title_justify="left", show_header=False, box=None, padding=(0, 2))
        for name, text in entries.items():
            table.add_row(f"[bold]{name}[/bold]", text)
        results.print(table)


@app.command("replay")
def replay_command(
    run: Annotated[Path, typer.Argument(help="A run folder with faults/step-N.pt.")],
    parts: Annotated[list[str] | None, typer.Argument(help="Recipe parts over the run's own.")] = None,
    step: Annotated[int | None, typer.Option(help="Which of the saved steps; default the first.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a step again whose loss or gradient was not finite, and say where that arises and what cures it."""
    done = replay(run, *(parts or ()), step=step)
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
