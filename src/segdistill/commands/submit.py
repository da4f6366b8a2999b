"""`submit`: predictions of test images in the form that a data set's server reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segdistill.commands.common import require_inference_keys
from segdistill.core.results import Result
from segdistill.data.reading import read_image
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.submission import Submission, check_submission, server_of
from segdistill.models.checksum import identity_of
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_inference
from segdistill.reporting.prediction import image_files
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import counting
from segdistill.runtime.processes import own_device


@dataclass(frozen=True, repr=False)
class Submitted(Result):
    """A zip for a test server.

    Attributes:
        file: the zip.
        images: how many maps are in it.
        problems: what the server would refuse, in sentences.
        upload: where to send it.
    """

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

    Args:
        weights: a run folder or a weight file.
        server: cityscapes, ade20k, voc or pascal_context.
        *images: files and folders, which are searched in depth.
        out: the folder that keeps the maps: stopped, the same call goes on.
        parts: recipe parts that say how images are run, over the run's own.
        quiet: show no progress.

    Returns:
        The zip, and what its server would refuse.

    Raises:
        SegdistillError: weights or an image can't be read, or `out` holds maps of another network.
    """
    parts = [*parts]
    require_inference_keys(parts, ("out",), "submit")
    model = open_model(weights)
    recipe_file = RunFolder(model.path.parent).recipe
    inference = load_inference(*([recipe_file] if recipe_file.is_file() else []), *parts)
    files = sorted(image_files(map(Path, images)))
    target = server_of(server)
    made_by = {
        "server": server,
        "weights": identity_of(model),
        "inference": inference.model_dump(mode="json"),
    }
    submission = Submission(Path(out), target, model.classes.names, files, made_by)
    network = model.network.to(own_device())
    pending = submission.pending
    with counting(f"submit to {server}", len(pending), quiet=quiet) as done:
        for file in pending:
            image = read_image(file)[None].to(own_device())
            predicted = infer(network, image, inference, names=(str(file),), source=str(model.path))
            submission.add(file, predicted.classes[0].cpu().numpy())
            done(1)
    packed = submission.pack()
    problems = check_submission(packed, target, files)
    if len(files) != target.images:
        problems.append(f"{len(files)} images were given; the test set has {target.images}.")
    return Submitted(packed, len(files), tuple(problems), target.upload)


def check_zip(file: str | Path, server: str, *images: str | Path) -> list[str]:
    """What the server of a data set would refuse in a zip, in sentences; nothing if it is good.

    Args:
        file: the zip.
        server: as of `submit`.
        *images: the test images or their folders, to compare names and sizes with.

    Returns:
        The faults.
    """
    return check_submission(Path(file), server_of(server), sorted(image_files(map(Path, images))))
