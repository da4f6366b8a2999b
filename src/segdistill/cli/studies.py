"""The verbs that compare: studies, their page, and rows of published tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli.completion import complete_word
from segdistill.cli.grammar import register, split_words
from segdistill.cli.images import Over
from segdistill.cli.keys import CompareKeys, ReportKeys
from segdistill.cli.terminal import AsJson, Resume, print_result
from segdistill.core.errors import RecipeError


def add_verbs(app: typer.Typer) -> None:
    """Add these verbs to the command line.

    Args:
        app: Gets them in the order that its help has.
    """
    place = "segdistill.cli.keys"
    compare = (
        "segdistill compare camvid mobile_pair methods=kd,cwd seeds=0,1,2",
        "segdistill compare camvid mobile_pair methods=kd+at budget=minutes:30",
        "segdistill compare runs/compare-camvid methods=dist seeds=3,4",
    )
    register(app, "compare", keys=f"{place}:CompareKeys", examples=compare)(compare_command)
    reports = ("segdistill report runs/compare-camvid images=0,17 out=page.html",)
    register(app, "report", keys=f"{place}:ReportKeys", examples=reports)(report_command)
    rows = ("segdistill reproduce bpkd/cityscapes/pspnet_r18/bpkd data.root=FOLDER",)
    register(app, "reproduce", examples=rows)(reproduce_command)


def compare_command(
    parts: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS",
            help="Recipe parts without methods, and key=value; or the folder of a study to go on with.",
            autocompletion=complete_word,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare methods with the student alone, over seeds, at equal cost; stopped, the same command goes on."""
    from segdistill.cli.tables.study import shown_study
    from segdistill.commands.compare import compare, compare_one

    keys, parts = split_words(CompareKeys, parts)
    if keys.job is not None:
        if len(parts) != 1:
            raise RecipeError(f"job={keys.job} is a run of a study: name its folder, as runs/mine job={keys.job}.")
        one = compare_one(parts[0], keys.job, quiet=as_json)
        print_result(None if one is None else asdict(one), as_json)
        return
    given = {name: value for name in ("budget", "executor", "processes") if (value := getattr(keys, name)) is not None}
    done = compare(*parts, methods=keys.methods, seeds=keys.seeds, quiet=as_json, **given)
    print_result(done.as_dict(), as_json, *shown_study(done))
    if done.failures:
        raise typer.Exit(1)


def report_command(
    folder: Annotated[Path, typer.Argument(help="A study, or the folder of a distillation.")],
    words: Over = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page: what was gained, at what cost, how sure, and the images to see it on."""
    from segdistill.commands.report import report

    keys, parts = split_words(ReportKeys, words or ())
    chosen = [word for word in keys.images.split(",") if word]
    done = report(folder, *parts, images=chosen, out=keys.out, quiet=as_json)
    text = f"{done.file} ({done.megabytes:.1f} MB): {done.answer}"
    print_result(done.as_dict(), as_json, text, *(f"- {warning}" for warning in done.warnings))


def reproduce_command(
    row: Annotated[
        str, typer.Argument(help="A published row, as bpkd/cityscapes/pspnet_r18/bpkd; see `list recipes`.")
    ],
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORDS",
            help="Recipe parts over the row's own: data.root=..., teacher.weights=..., steps=...",
            autocompletion=complete_word,
        ),
    ] = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Run a row of a published table and show what it measures beside what was printed."""
    from segdistill.cli.tables.published import reproduction_notes, reproduction_table
    from segdistill.commands.reproduce import reproduce

    done = reproduce(row, *(parts or ()), resume=resume, quiet=as_json)
    print_result(done.as_dict(), as_json, reproduction_table(done), *reproduction_notes(done))
