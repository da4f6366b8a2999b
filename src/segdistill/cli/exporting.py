"""The verbs of the command line about exported files."""

from __future__ import annotations

from typing import Annotated

import typer

from segdistill.cli.terminal import AsJson, print_result


def export_command(
    run: Annotated[str, typer.Argument(help="A run folder, a weight file, or the name of a trained network.")],
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="format=onnx, openvino or torch; size=512x1024 (HxW) or any; outputs=classes, logits or small; "
            "input=float or uint8; fp16=true; int8=true, images=, seed=, calibration=, max_drop=; license=; out=; and "
            "recipe parts over the run's own, as data.root=..."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a file that runs without this library, checked against the network; INT8 with what it costs."""
    from segdistill.cli.tables.exporting import export_lines
    from segdistill.commands.export import export

    done = export(run, *(parts or ()), quiet=as_json)
    print_result(done.as_dict(), as_json, *export_lines(done))
    if done.int8 is not None and not done.int8.passed:
        raise typer.Exit(1)


def benchmark_command(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="formats=onnx,openvino,torch; int8=false; size=512x1024 (HxW) for the timing; threads=1,2; runs=; "
            "images=, seed=; out=; and recipe parts over the run's own, as data.root=..."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run to every format that runs here, and show scores, size and time of each beside the teacher."""
    from segdistill.cli.tables.exporting import benchmark_notes, benchmark_table
    from segdistill.commands.benchmark import benchmark

    done = benchmark(run, *(parts or ()), quiet=as_json)
    print_result(done.as_dict(), as_json, benchmark_table(done), *benchmark_notes(done))
