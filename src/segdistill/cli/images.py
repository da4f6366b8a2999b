"""The verbs about images: masks and overlays, pictures of what was learned, files for test servers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from segdistill.cli.grammar import register, split_names, split_words
from segdistill.cli.keys import PredictKeys, ShowKeys, SubmitKeys
from segdistill.cli.terminal import AsJson, print_json, print_result, results

Weights = Annotated[Path, typer.Argument(help="A run folder, a weight file, a published or an exported one.")]
ImageWords = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES", help="Image files, folders of them, and key=value; inference.KEY=VALUE says how they run."
    ),
]
Over = Annotated[
    list[str] | None,
    typer.Argument(metavar="WORDS", help="Recipe parts over the run's own, as data.root=FOLDER; and key=value."),
]


def add_verbs(app: typer.Typer) -> None:
    """Add these verbs to the command line.

    Args:
        app: Gets them in the order that its help has.
    """
    place = "segdistill.cli.keys"
    predict = (
        "segdistill predict runs/mine photo.jpg photos out=masks --legend",
        "segdistill predict runs/mine photos format=coco void_below=0.6",
    )
    register(app, "predict", keys=f"{place}:PredictKeys", examples=predict)(predict_command)
    shown = ("segdistill show runs/mine what=activations class=car images=0,3",)
    register(app, "show", keys=f"{place}:ShowKeys", examples=shown)(show_command)
    sent = ("segdistill submit runs/city cityscapes leftImg8bit/test inference.flip=true",)
    register(app, "submit", keys=f"{place}:SubmitKeys", examples=sent)(submit_command)
    register(app, "check-zip", examples=("segdistill check-zip submission.zip cityscapes",))(check_zip_command)


def predict_command(
    weights: Weights,
    words: ImageWords,
    legend: Annotated[bool, typer.Option("--legend", help="Names of the classes below the overlays.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a class mask for every image, with an overlay or with labels for a labelling tool."""
    from segdistill.cli.launching import launch
    from segdistill.commands.predict import predict_each
    from segdistill.runtime.processes import is_main

    keys, rest = split_words(PredictKeys, words)
    inputs, parts = split_names(rest)
    if launch(keys.nproc):
        return
    settings = keys.model_dump(exclude={"out", "nproc"})
    done = []
    try:
        for prediction in predict_each(weights, inputs, out=keys.out, legend=legend, parts=parts, **settings):
            done.append({name: path and str(path) for name, path in asdict(prediction).items()})
            if not as_json and is_main():
                files = [str(path) for path in (prediction.mask, prediction.overlay) if path]
                results.print(f"{prediction.image} -> {', '.join(files)}", soft_wrap=True)
    finally:  # files that can't be read are an error once the others are done
        if as_json and done and is_main():
            print_json(done)


def show_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")], words: Over = None, as_json: AsJson = False
) -> None:
    """Draw what a run learned: networks side by side, errors, activations, embeddings, curves."""
    from segdistill.commands.show import show

    keys, parts = split_words(ShowKeys, words or ())
    kinds, chosen = ([word for word in text.split(",") if word] for text in (keys.what, keys.images))
    made = show(run, *parts, what=kinds, images=chosen, of_class=keys.of_class, out=keys.out)  # type: ignore[arg-type]
    files = [str(path) for path in made]
    print_result(files, as_json, *files)


def submit_command(
    weights: Weights,
    server: Annotated[str, typer.Argument(help="cityscapes, ade20k, voc or pascal_context.")],
    words: ImageWords,
    as_json: AsJson = False,
) -> None:
    """Predict test images and pack them as the test server wants them; stopped, the same command goes on."""
    from segdistill.commands.submit import submit

    keys, rest = split_words(SubmitKeys, words)
    images, parts = split_names(rest)
    done = submit(weights, server, *images, out=keys.out, parts=parts, quiet=as_json)
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
