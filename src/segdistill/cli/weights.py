"""The verbs about networks in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from segdistill.cli.grammar import register, split_words
from segdistill.cli.keys import ConvertKeys, InspectKeys
from segdistill.cli.terminal import AsJson, no_more_words, print_result
from segdistill.recipe.composition import key_values

WeightFile = Annotated[Path, typer.Argument(help="A published weight file, a Hugging Face folder or a run folder.")]
Values = Annotated[list[str] | None, typer.Argument(metavar="VALUES", help="key=value.")]


def add_verbs(app: typer.Typer) -> None:
    """Add these verbs to the command line.

    Args:
        app: Gets them in the order that its help has.
    """
    place = "segdistill.cli.keys"
    inspected = ("segdistill inspect pspnet_r18.pth", "segdistill inspect cirkd.pth part=teacher")
    register(app, "inspect", keys=f"{place}:InspectKeys", examples=inspected)(inspect_command)
    converted = ("segdistill convert runs/mine student.pth layout=openmmlab",)
    register(app, "convert", keys=f"{place}:ConvertKeys", examples=converted)(convert_command)
    profiled = (
        "segdistill profile pspnet_r18 num_classes=150 size=512x1024",
        "segdistill profile runs/mine latency=false",
        "segdistill profile --step camvid mobile_pair kd",
    )
    keys = "segdistill.commands.profile:ProfileSettings"
    register(app, "profile", keys=keys, examples=profiled)(profile_command)


def inspect_command(file: WeightFile, words: Values = None, as_json: AsJson = False) -> None:
    """Say what a weight file is: layout, network, classes, parameters."""
    from segdistill.commands.convert import inspect

    keys, rest = split_words(InspectKeys, words or ())
    no_more_words(rest, InspectKeys)
    inspected = inspect(file, part=keys.part)
    table = Table(title=str(inspected.path), title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_row("layout", inspected.layout)
    table.add_row("network", inspected.network or "none of the zoo")
    table.add_row("made of", ", ".join(f"{key} {value}" for key, value in inspected.made_of.items()))
    table.add_row(
        "classes",
        f"{inspected.num_classes}" + (f": {', '.join(inspected.classes)}" if inspected.classes else ", not named"),
    )
    table.add_row("parameters", f"{inspected.parameters / 1e6:.2f} M with the auxiliary head")
    table.add_row("fits", "yes, every tensor" if not inspected.faults else "no: " + "; ".join(inspected.faults[:8]))
    if inspected.averages:
        table.add_row("not read", f"averages of the weights, below {', '.join(inspected.averages)}")
    print_result(inspected.as_dict(), as_json, table)


def convert_command(
    file: WeightFile,
    out: Annotated[Path, typer.Argument(help="A folder, or for a published layout a .pth file.")],
    words: Values = None,
    as_json: AsJson = False,
) -> None:
    """Write a network in another layout: a published file as a run of ours, or a student for other tools."""
    from segdistill.commands.convert import convert

    keys, rest = split_words(ConvertKeys, words or ())
    no_more_words(rest, ConvertKeys)
    done = convert(file, out, layout=keys.layout, part=keys.part, role=keys.role)
    text = f"{done.network or 'network'}, {done.num_classes} classes, {done.source} -> {done.target}: {done.path}"
    print_result({**vars(done), "path": str(done.path)}, as_json, text)


def profile_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="Of the zoo, a run folder, a weight file, an exported one; with --step a recipe."
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="VALUES", help="key=value, and the network's own keys, as output_stride=16."),
    ] = None,
    step: Annotated[bool, typer.Option("--step", help="Where the time of a recipe's training steps goes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show parameters, multiply-adds, activation memory and latency by stage; or the parts of a training step."""
    from segdistill.cli.tables.cost import cost_notes, cost_table
    from segdistill.cli.tables.exporting import file_profile_line
    from segdistill.commands.profile import profile
    from segdistill.exporting.profile import FileProfile

    if step:
        from segdistill.cli.tables.step import step_lines, step_table
        from segdistill.commands.profile_step import profile_step

        timed = profile_step(source, *(words or ()))
        print_result(timed.as_dict(), as_json, step_table(timed), step_lines(timed))
        return
    done = profile(source, **key_values(words or ()))
    if isinstance(done, FileProfile):
        print_result(done.as_dict(), as_json, file_profile_line(done))
    else:
        print_result(done.as_dict(), as_json, cost_table(done), cost_notes(done))
