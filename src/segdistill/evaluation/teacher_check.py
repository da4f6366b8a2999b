"""Whether a trained teacher agrees with the labels, and if not, what would make it agree.

A wrong order of classes, id map or normalisation shows at once in the mIoU on a few images. `doctor` tells all it
finds; a run only refuses a teacher that does no better than guessing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from segdistill.core.errors import TrainingError
from segdistill.core.findings import Finding
from segdistill.core.pixels import RGB
from segdistill.data import SegmentationDataset
from segdistill.data.spread import chosen
from segdistill.evaluation.finite import NonFiniteScoresError
from segdistill.evaluation.metrics import ConfusionMatrix
from segdistill.evaluation.scoring import count
from segdistill.models.network import SegmentationNetwork
from segdistill.models.teacher import Teacher

IMAGES = 8  # that the teacher is shown
_POOR, _GOOD = 20.0, 60.0  # mIoU in percent
_NEAR = 0.05  # of the way from chance to a perfect teacher
_NORMALISATIONS = {
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean and std 0.5": ((0.5,) * 3, (0.5,) * 3),
    "no normalisation": ((0.0,) * 3, (1.0,) * 3),
    "ImageNet's mean and pixels up to 255": ((0.485, 0.456, 0.406), (1 / 255,) * 3),
}


@dataclass(frozen=True)
class Agreement:
    """How well a teacher agrees with the labels.

    Attributes:
        images: how many were looked at.
        miou: of the teacher with the labels, in percent.
        others: what was tried -> mIoU in percent.
    """

    images: int
    miou: float
    others: dict[str, float]


def agreement(teacher: Teacher, data: SegmentationDataset, indices: Sequence[int]) -> Agreement:
    """The teacher's mIoU on a few samples, as it is and with each of the usual mistakes undone.

    Args:
        teacher: the trained network, its classes those of the data set.
        data: with labels.
        indices: of the samples to look at.

    Returns:
        mIoU in percent, as it is and by mistake.
    """
    network = teacher.network
    matrix = _confusion(teacher, data, indices)
    miou = matrix.scores().miou
    others: dict[str, float] = {}
    classes = range(matrix.num_classes)
    for shift in (1, -1):
        sign = "+" if shift > 0 else "-"
        others[f"its class index {sign} 1"] = _reordered(matrix, [(k + shift) % matrix.num_classes for k in classes])
    others["its classes in the order that fits best"] = _reordered(matrix, best_order(matrix))
    color = network.mean.shape[1] == RGB
    turned = "channels as RGB" if network.bgr else "channels as BGR"
    if color:
        with _seeing(network, network.mean, network.std, not network.bgr):
            others[turned] = _miou_otherwise(teacher, data, indices)
    if color and miou < _GOOD:
        for name, (mean, std) in _NORMALISATIONS.items():
            centre, width = (torch.tensor(part).view(1, 3, 1, 1).to(network.mean) for part in (mean, std))
            with _seeing(network, centre, width, network.bgr):
                others[name] = _miou_otherwise(teacher, data, indices)
    return Agreement(len(indices), miou, others)


def check_agreement(result: Agreement) -> Finding:
    """What the agreement means: a problem, a warning or a note.

    Args:
        result: of `agreement`.

    Returns:
        The finding, with advice where there is something to do.
    """
    best = max(result.others, key=lambda name: result.others[name])
    gained = result.others[best] - result.miou
    text = f"The teacher's mIoU on {result.images} images is {result.miou:.1f}"
    if gained > 10 and result.others[best] > 1.5 * result.miou:
        return Finding(
            "problem",
            "teacher",
            f"{text}; with {best} it is {result.others[best]:.1f}.",
            "It would teach what is wrong. For another order of classes set teacher.class_map (FILE with `teacher "
            "class: class of the data set`); for another normalisation, correct mean, std and bgr where the network is "
            "made; or check which ids the masks hold.",
        )
    if gained > 3 and "order" not in best:
        return Finding(
            "warning", "teacher", f"{text}; with {best} it is {result.others[best]:.1f}.", "Check its input."
        )
    if result.miou < _POOR:
        return Finding(
            "problem",
            "teacher",
            f"{text}: it hardly agrees with the labels, and no shift, order or normalisation helps.",
            "Check that these weights were trained on these classes, to the end.",
        )
    return Finding("note", "teacher", f"{text}.")


def require_better_than_chance(name: str, teacher: Teacher, data: SegmentationDataset) -> None:
    """Refuse the teacher called `name` if it is near chance on a few images of `data`; say what it is likely to be.

    Near chance: mIoU below c + 0.05 (1 - c), c the mIoU of guessing. One pass over the images; only a teacher that is
    refused is looked at again for the reason.

    Args:
        name: for the message.
        teacher: the trained network, its classes those of the data set.
        data: with labels.

    Raises:
        TrainingError: the teacher is near chance.
        NonFiniteScoresError: its scores of an image are NaN or infinite.
    """
    indices = chosen(len(data), IMAGES)
    matrix = _confusion(teacher, data, indices, f"The teacher {name}")
    guessed, miou = chance(matrix), matrix.scores().miou
    if not miou < guessed + _NEAR * (100 - guessed):  # also where nothing is labelled: NaN
        return
    likely = check_agreement(agreement(teacher, data, indices))
    raise TrainingError(
        f"The teacher {name} does hardly better than guessing: mIoU {miou:.1f} on {len(indices)} validation images, "
        f"where guessing by the shares of the classes gives {guessed:.1f}. {likely.text} {likely.advice} Nothing was "
        "trained. "
        "To distil from it nevertheless set teacher.check=false."
    )


def chance(matrix: ConfusionMatrix) -> float:
    """The mIoU, in percent, of the better of two guesses that know how common the classes are and see no image.

    The most common class everywhere: max_k p_k / n. Each pixel's class drawn by the shares, where the expected
    intersection is p_k^2 and the union 2 p_k - p_k^2: mean_k p_k / (2 - p_k). p_k: the n labelled classes' shares.

    Args:
        matrix: whose labels tell the shares.

    Returns:
        mIoU in percent; 0 without labels.
    """
    counts = matrix.counts.double().sum(1)
    share = counts[counts > 0] / counts.sum()
    if not len(share):
        return 0.0
    return 100 * max(float(share.max()) / len(share), float((share / (2 - share)).mean()))


def best_order(matrix: ConfusionMatrix) -> list[int]:
    """The order of classes in which a teacher agrees best with the labels: the pairs of the highest IoU first.

    Args:
        matrix: of the data set's classes (rows) against the teacher's (columns).

    Returns:
        For each of the teacher's K classes one of the data set's, no two the same.
    """
    counts = matrix.counts.double().cpu()
    iou = (counts / (counts.sum(1, keepdim=True) + counts.sum(0, keepdim=True) - counts)).nan_to_num()
    order: dict[int, int] = {}
    for pair in iou.flatten().argsort(descending=True).tolist():
        label, predicted = divmod(pair, matrix.num_classes)
        if iou[label, predicted] > 0 and predicted not in order and label not in order.values():
            order[predicted] = label
    free = iter([label for label in range(matrix.num_classes) if label not in order.values()])
    return [order[predicted] if predicted in order else next(free) for predicted in range(matrix.num_classes)]


def _confusion(
    teacher: Teacher, data: SegmentationDataset, indices: Sequence[int], source: str = "The teacher"
) -> ConfusionMatrix:
    return count(teacher, data, indices=indices, batch_size=1, source=source).confusion


def _miou_otherwise(teacher: Teacher, data: SegmentationDataset, indices: Sequence[int]) -> float:
    """The mIoU with another input; 0 where it makes the network overflow, which no right input does."""
    try:
        return _confusion(teacher, data, indices).scores().miou
    except NonFiniteScoresError:
        return 0.0


def _reordered(matrix: ConfusionMatrix, order: Sequence[int]) -> float:
    """mIoU if predicted class i were class order[i]."""
    other = ConfusionMatrix(matrix.num_classes)
    other.counts[:, torch.tensor(order)] = matrix.counts.cpu()
    return other.scores().miou


@contextmanager
def _seeing(network: SegmentationNetwork, mean: torch.Tensor, std: torch.Tensor, bgr: bool) -> Iterator[None]:
    """The network with another normalisation for a while."""
    before = network.mean, network.std, network.bgr
    network.mean, network.std, network.bgr = mean, std, bgr
    try:
        yield
    finally:
        network.mean, network.std, network.bgr = before
