"""The verbs of the command line that compare: studies, their page, and rows of published tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli.tables.published import reproduction_notes, reproduction_table
from segdistill.cli.terminal import AsJson, Resume, print_result


def compare_command(
    parts: Annotated[
        list[str],
        typer.Argument(
            help="Recipe parts without methods, and budget=steps:2000 or minutes:30, executor=local, ray or slurm, "
            "processes=N; or the folder of a study to go on with."
        ),
    ],
    methods: Annotated[
        str, typer.Option(help="As none,longer,kd,cwd,bpkd_light,kd+at or 'kd4={name: kd, temperature: 4}'.")
    ] = "",
    seeds: Annotated[str, typer.Option(help="As 0,1,2, which is the default.")] = "",
    job: Annotated[str | None, typer.Option(help="Only this run of the study, as kd-0; for executors.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods with the student alone, over seeds, at equal cost; stopped, the same command goes on."""
    from segdistill.cli.tables.study import shown_study
    from segdistill.commands.compare import compare, compare_one

    if job is not None:
        one = compare_one(parts[0], job, quiet=as_json)
        print_result(None if one is None else asdict(one), as_json)
        return
    done = compare(*parts, methods=methods, seeds=seeds, quiet=as_json)
    print_result(done.as_dict(), as_json, *shown_study(done))
    if done.failures:
        raise typer.Exit(1)


def report_command(
    folder: Annotated[Path, typer.Argument(help="A study, or the folder of a distillation.")],
    parts: Annotated[list[str] | None, typer.Argument(help="Recipe parts over the runs', as data.root=...")] = None,
    images: Annotated[str, typer.Option(help="Names or numbers of validation images, with commas.")] = "",
    out: Annotated[Path | None, typer.Option(help="The file; default FOLDER/report.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page: what was gained, at what cost, how sure, and the images to see it on."""
    from segdistill.commands.report import report

    chosen = [word for word in images.split(",") if word]
    done = report(folder, *(parts or ()), images=chosen, out=out, quiet=as_json)
    text = f"{done.file} ({done.megabytes:.1f} MB): {done.answer}"
    print_result(done.as_dict(), as_json, text, *(f"- {warning}" for warning in done.warnings))


def reproduce_command(
    row: Annotated[
        str, typer.Argument(help="A published row, as bpkd/cityscapes/pspnet_r18/bpkd; see `list recipes`.")
    ],
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="Recipe parts over the row's own: data.root=..., teacher.weights=..., steps=..."),
    ] = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Run a row of a published table and show what it measures beside what was printed."""
    from segdistill.commands.reproduce import reproduce

    done = reproduce(row, *(parts or ()), resume=resume, quiet=as_json)
    print_result(done.as_dict(), as_json, reproduction_table(done), *reproduction_notes(done))
