"""The commands about images: masks and overlays, pictures of what was learned, files for test servers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli.terminal import AsJson, print_json, print_result, results

How = Annotated[
    list[str] | None, typer.Option("--set", help="How images are run, as inference.flip=true; may come repeatedly.")
]
Weights = Annotated[Path, typer.Argument(help="A run folder, a weight file, a published or an exported one.")]


def predict_command(
    weights: Weights,
    inputs: Annotated[list[Path], typer.Argument(help="Image files and folders of images.")],
    out: Annotated[Path, typer.Option(help="Where masks and overlays go.")] = Path("predictions"),
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Strength of the colors in the overlays.")] = 0.5,
    legend: Annotated[bool, typer.Option("--legend", help="Names of the classes below the overlays.")] = False,
    parts: How = None,
    as_json: AsJson = False,
) -> None:
    """Write a class mask and an overlay for every image."""
    from segdistill.commands.predict import predict_each

    done = []
    try:
        for prediction in predict_each(weights, inputs, out=out, alpha=alpha, legend=legend, parts=parts or ()):
            done.append({name: str(path) for name, path in asdict(prediction).items()})
            if not as_json:
                results.print(f"{prediction.image} -> {prediction.mask}, {prediction.overlay}", soft_wrap=True)
    finally:  # files that can't be read are an error once the others are done
        if as_json and done:
            print_json(done)


def show_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    parts: Annotated[list[str] | None, typer.Argument(help="Recipe parts over the run's own, as data.root=...")] = None,
    what: Annotated[
        str, typer.Option(help="Of compare, activations, embeddings and curves, with commas.")
    ] = "compare,curves",
    images: Annotated[str, typer.Option(help="Names or numbers of validation images, with commas; default four.")] = "",
    of_class: Annotated[str | None, typer.Option("--class", help="The class of the activation maps.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where pictures go; default RUN/pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw what a run learned: networks side by side, errors, activations, embeddings, curves."""
    from segdistill.commands.show import show

    kinds, chosen = ([word for word in words.split(",") if word] for words in (what, images))
    made = show(run, *(parts or ()), what=kinds, images=chosen, of_class=of_class, out=out)  # type: ignore[arg-type]
    files = [str(path) for path in made]
    print_result(files, as_json, *files)


def submit_command(
    weights: Weights,
    server: Annotated[str, typer.Argument(help="cityscapes, ade20k, voc or pascal_context.")],
    images: Annotated[list[Path], typer.Argument(help="The test images or folders of them.")],
    out: Annotated[Path, typer.Option(help="A folder for the maps; the zip stands beside it.")] = Path("submission"),
    parts: How = None,
    as_json: AsJson = False,
) -> None:
    """Predict test images and pack them as the test server wants them; stopped, the same command goes on."""
    from segdistill.commands.submit import submit

    done = submit(weights, server, *images, out=out, parts=parts or (), quiet=as_json)
    text = f"{done.file}: {done.images} maps. To send to: {done.upload}"
    print_result(
        {**asdict(done), "file": str(done.file)}, as_json, text, *(f"- {problem}" for problem in done.problems)
    )


def check_zip_command(
    file: Annotated[Path, typer.Argument(help="The zip to be sent.")],
    server: Annotated[str, typer.Argument(help="cityscapes, ade20k, voc or pascal_context.")],
    images: Annotated[list[Path] | None, typer.Argument(help="The test images or folders, to compare with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look for what a test server would refuse in a zip."""
    from segdistill.commands.submit import check_zip

    problems = check_zip(file, server, *(images or ()))
    print_result(problems, as_json, *([f"- {problem}" for problem in problems] or [f"{file} is good."]))
    if problems:
        raise typer.Exit(1)
