"""`submit`: predictions of test images in the form that a data set's server reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segdistill.data.reading import read_image
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.submission import Submission, check_submission, server_of
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_inference
from segdistill.reporting.prediction import image_files
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import counting
from segdistill.runtime.processes import own_device


@dataclass(frozen=True)
class Submitted:
    """The zip, what its check found, and where to send it."""

    file: Path
    images: int
    problems: tuple[str, ...]
    upload: str


def submit(
    weights: str | Path,
    server: str,
    *images: str | Path,
    out: str | Path = "submission",
    parts: Iterable[str | Path] = (),
    quiet: bool = False,
) -> Submitted:
    """Predict the test images and write `<out>.zip` for the test server of a data set: its ids, names and folders.

    server: cityscapes, ade20k, voc or pascal_context. images: files and folders, which are searched in depth. parts:
    recipe parts that say how images are run, over the run's own. `out` keeps the maps: stopped, the same call goes on.
    """
    model = open_model(weights)
    recipe_file = RunFolder(model.path.parent).recipe
    inference = load_inference(*([recipe_file] if recipe_file.is_file() else []), *parts)
    files = sorted(image_files(map(Path, images), deep=True))
    target = server_of(server)
    made_by = {
        "server": server,
        "weights": _identity(model.path),
        "inference": inference.model_dump(mode="json"),
    }
    submission = Submission(Path(out), target, model.classes.names, files, made_by)
    network = model.network.to(own_device())
    pending = submission.pending
    with counting(f"submit to {server}", len(pending), quiet=quiet) as done:
        for file in pending:
            image = read_image(file)[None].to(own_device())
            found = infer(network, image, inference, names=(str(file),), source=str(model.path))
            submission.add(file, found.classes[0].cpu().numpy())
            done(1)
    packed = submission.pack()
    problems = check_submission(packed, target, files)
    if len(files) != target.images:
        problems.append(f"{len(files)} images were given; the test set has {target.images}.")
    return Submitted(packed, len(files), tuple(problems), target.upload)


def _identity(weights: Path) -> str:
    """What tells one network from another: its file's digest; of a folder of another library its path."""
    return hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else str(weights.absolute())


def check_zip(file: str | Path, server: str, *images: str | Path) -> list[str]:
    """What the server of a data set would refuse in a zip, in sentences; nothing if it is good.

    images: the test images or their folders, to compare names and sizes with.
    """
    return check_submission(Path(file), server_of(server), sorted(image_files(map(Path, images), deep=True)))
