"""The verbs about exported files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from segdistill.cli.grammar import register, split_words
from segdistill.cli.images import Over
from segdistill.cli.terminal import AsJson, no_more_words, print_result


def add_verbs(app: typer.Typer) -> None:
    """Add these verbs to the command line.

    Args:
        app: Gets them in the order that its help has.
    """
    exported = (
        "segdistill export runs/mine format=openvino size=512x1024",
        "segdistill export runs/mine int8=true max_drop=0.5",
        "segdistill export runs/mine format=web",
    )
    keys = "segdistill.exporting.settings:ExportSettings"
    register(app, "export", keys=keys, examples=exported)(export_command)
    shared = ("segdistill publish runs/mine user/street-scenes license=apache-2.0 --upload",)
    keys = "segdistill.commands.publish:PublishSettings"
    register(app, "publish", keys=keys, examples=shared)(publish_command)
    measured = ("segdistill benchmark runs/mine formats=onnx,torch threads=1,2",)
    keys = "segdistill.exporting.benchmark:BenchmarkSettings"
    register(app, "benchmark", keys=keys, examples=measured)(benchmark_command)
    shown = ("segdistill demo runs/mine port=7861",)
    register(app, "demo", keys="segdistill.serving.settings:DemoSettings", examples=shown)(demo_command)


def export_command(
    run: Annotated[str, typer.Argument(help="A run folder, a weight file, or the name of a trained network.")],
    words: Over = None,
    as_json: AsJson = False,
) -> None:
    """Write a file that runs without this library, checked against the network; INT8 with what it costs."""
    from segdistill.cli.tables.exporting import export_lines
    from segdistill.commands.export import export

    done = export(run, *(words or ()), quiet=as_json)
    print_result(done.as_dict(), as_json, *export_lines(done))
    if done.int8 is not None and not done.int8.passed:
        raise typer.Exit(1)


def publish_command(
    run: Annotated[str, typer.Argument(help="A run folder or a weight file.")],
    name: Annotated[str, typer.Argument(help="Of the repository, as user/name.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="VALUES", help="key=value.")] = None,
    upload: Annotated[bool, typer.Option("--upload", help="Upload the folder to the Hugging Face hub.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a folder for the Hugging Face hub: weights, ONNX file, and a card with the scores; upload if asked to."""
    from segdistill.commands.publish import PublishSettings, publish

    settings, rest = split_words(PublishSettings, words or ())
    no_more_words(rest, PublishSettings)
    done = publish(run, name, upload=upload, settings=settings.model_dump(), quiet=as_json)
    lines = [f"{done.folder}: {', '.join(done.files)}"]
    lines.append(f"Uploaded to {done.url}" if done.url else "Nothing was uploaded; --upload does.")
    print_result({**asdict(done), "folder": str(done.folder)}, as_json, *lines)


def benchmark_command(
    run: Annotated[str, typer.Argument(help="A run folder.")], words: Over = None, as_json: AsJson = False
) -> None:
    """Export a run to every format that runs here, and show scores, size and time of each beside the teacher."""
    from segdistill.cli.tables.exporting import benchmark_notes, benchmark_table
    from segdistill.commands.benchmark import benchmark

    done = benchmark(run, *(words or ()), quiet=as_json)
    print_result(done.as_dict(), as_json, benchmark_table(done), *benchmark_notes(done))


def demo_command(
    run: Annotated[str, typer.Argument(help="A run folder, a weight file or an exported one.")],
    words: Over = None,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser of this machine.")] = False,
) -> None:
    """Serve a page on 127.0.0.1: drop an image, and see student, INT8, teacher and student alone under a divider."""
    from segdistill.commands.demo import demo_page

    page, settings = demo_page(run, *(words or ()))
    page.start(settings.port, browser=browser)
