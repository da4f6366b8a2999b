"""The verbs of the command line about exported files."""

from __future__ import annotations

from typing import Annotated

import typer

from segdistill.cli.tables.exporting import benchmark_notes, benchmark_table, export_lines
from segdistill.cli.terminal import AsJson, print_result
from segdistill.commands.benchmark import benchmark
from segdistill.commands.demo import demo_page
from segdistill.commands.export import export


def export_command(
    run: Annotated[str, typer.Argument(help="A run folder, a weight file, or the name of a trained network.")],
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="format=onnx, openvino, torch or web (ort=, where onnxruntime-web is); size=512x1024 (HxW) or any; "
            "outputs=classes, logits or small; input=float or uint8; fp16=true; int8=true or train, images=, seed=, "
            "calibration=, per_channel=, max_drop=, of train steps= and lr=; license=; out=; and recipe parts over the "
            "run's own, as data.root=..."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a file that runs without this library, checked against the network; INT8 with what it costs."""
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
    done = benchmark(run, *(parts or ()), quiet=as_json)
    print_result(done.as_dict(), as_json, benchmark_table(done), *benchmark_notes(done))


def demo_command(
    run: Annotated[str, typer.Argument(help="A run folder, a weight file or an exported one.")],
    parts: Annotated[
        list[str] | None, typer.Argument(help="port=, and recipe parts over the run's own, as teacher.weights=...")
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser of this machine.")] = False,
) -> None:
    """Serve a page on 127.0.0.1: drop an image, and see student, INT8, teacher and student alone under a divider."""
    page, settings = demo_page(run, *(parts or ()))
    page.start(settings.port, browser=browser)
