"""What a distillation method is, and the parts that several methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.discovery import check_options, classes_in, pick
from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.methods.parts import ranks
from segdistill.methods.parts.divergence import Divergence

_PACKAGE = "segdistill.methods"


class Method(nn.Module, ABC):
    """A distillation loss: `forward(student, teacher, label)` -> weighted scalar terms by name.

    Subclasses write `terms`. Over several ranks, the gradient is that of one with the joint batch (see `ranks`). The
    keyword-only arguments of a subclass are its options, the keys of `method` in a recipe.

    Args:
        student: example output of the student; only shapes count.
        teacher: the same of the teacher.
        num_classes: K of the data set.
        needs: which of "logits", "embedding", "features" and "label" this instance reads, where its options decide it;
            None: those of the class.

    Raises:
        RecipeError: logits are read, and one of the networks scores other than K classes.
    """

    needs: frozenset[str] = frozenset({"logits"})
    """Which of "logits", "embedding", "features" and "label" the method reads; with "auxiliary" the teacher gives its
    auxiliary logits as well, if it has a head for them."""
    as_published: bool = False
    """Whether the method computes what the published code does, which lets void positions count."""

    share: float | None = 1.0
    """How loud its terms' gradients are in all, as a share of the task loss's, where a recipe sets neither a share nor
    weights; None for the weights as they are."""

    scales: ClassVar[frozenset[str]] = frozenset()
    """Options that are a term's factor, though their names don't end in "weight": to set one is to set a weight."""

    unmeasured: frozenset[str] = frozenset()
    """Terms that count as they are, beside those that have a share: such as one with next to no gradient but noise."""

    def __init__(
        self, student: SegOutput, teacher: SegOutput, num_classes: int, needs: frozenset[str] | None = None
    ) -> None:
        """needs: what this instance reads, where its options decide it."""
        super().__init__()
        self.num_classes = num_classes
        if needs is not None:
            self.needs = needs
        if "logits" not in self.needs:
            return  # what is left to read has the networks' own channels, whatever their classes
        for role, output in (("student", student), ("teacher", teacher)):
            if output.logits.shape[1] != num_classes:
                raise RecipeError(
                    f"The {role} scores {output.logits.shape[1]} classes but the data set has {num_classes}. "
                    f"Distillation of logits needs the same classes; choose a {role} trained on this class set"
                    f"{', or map its classes with teacher.class_map' if role == 'teacher' else ''}."
                )

    def forward(self, student: SegOutput, teacher: SegOutput, label: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of a batch, in float32 whatever autocast says, without gradient to the teacher.

        Args:
            student: output for N images.
            teacher: output for the same images.
            label: integers (N,H,W), 255 is void; None: there is none.

        Returns:
            Weighted scalars, called `<method>` or `<method>/<part>`.

        Raises:
            RecipeError: the method reads labels, and there is none.
        """
        if label is None and "label" in self.needs:
            raise RecipeError(
                f"Method '{type(self).__module__.rpartition('.')[-1]}' needs labels, but the batch has none."
            )
        with torch.autocast(student.logits.device.type, enabled=False):
            return self.terms(_full_precision(student), _full_precision(teacher, detach=True), label)

    def own_optimizer(self) -> torch.optim.Optimizer | None:
        """A new optimiser of the parameters that the run's optimiser must leave alone, if the method has such.

        It steps with the run's, from the same backward pass: the method's terms send each parameter its own gradient by
        detaching what a term must not reach. Its rate is left alone; its state is saved with the run's.
        """
        return None

    def counted(self, label: Tensor | None, like: Tensor) -> Tensor | None:
        """Which positions of a map's grid carry a signal.

        Args:
            label: integers (N,H,W), 255 is void; None: there is none.
            like: maps (N,*,h,w).

        Returns:
            Bool (N,1,h,w); None: all do, as there are no labels, or void counts `as_published`.
        """
        return None if self.as_published or label is None else labelled(label, like)

    @abstractmethod
    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """What `forward` returns, from the same arguments; void pixels carry no signal.

        Args:
            student: maps in float32, or float64.
            teacher: the same, detached.
            label: integers (N,H,W), 255 is void; None: there is none, and the class does not need it.

        Returns:
            Weighted scalars by name.
        """


def create_method(name: str, *, student: SegOutput, teacher: SegOutput, num_classes: int, **options: Any) -> Method:
    """A method for a pair of networks.

    Args:
        name: of the method, that of its module: "bpkd".
        student: example output of the student; only shapes count.
        teacher: the same of the teacher.
        num_classes: K of the data set.
        **options: of the method, as in a recipe.

    Returns:
        The method; its connectors and queues, if it has any, start random.

    Raises:
        RecipeError: there is no such method or option, a value is wrong, or the pair does not fit the method.
    """
    cls = method_class(name)
    return cls(student, teacher, num_classes, **check_options(cls, options, f"method.{name}"))


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Args:
        name: of its module.

    Raises:
        RecipeError: there is no such method.
    """
    return pick(_PACKAGE, Method, name, "method")


def method_names() -> dict[str, type[Method]]:
    """All methods by name."""
    return classes_in(_PACKAGE, Method)


def divergence(
    teacher: Tensor, student: Tensor, dim: int, *, temperature: float = 1.0, keep: Tensor | None = None
) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) along `dim`, in the log domain. Can be differentiated once, by
    either.

    Args:
        teacher: scores of any shape.
        student: scores of the same shape.
        dim: the axis of the softmax.
        temperature: T > 0.
        keep: bool, broadcast to the maps; other positions are left out of the softmax. Each row needs one to keep.
            None: all.

    Returns:
        The shape of the scores without `dim`.
    """
    rows: Tensor = Divergence.apply(teacher, student, dim, temperature, keep)
    return rows


def on_grid(label: Tensor, like: Tensor) -> Tensor:
    """Labels on the grid of a map, by the nearest pixel (torch's "nearest").

    Args:
        label: integers (N,H,W).
        like: maps (N,*,h,w).

    Returns:
        Integers (N,h,w), int64.
    """
    return F.interpolate(label[:, None].float(), size=like.shape[-2:], mode="nearest")[:, 0].long()


def labelled(label: Tensor, like: Tensor) -> Tensor:
    """Which positions of a map's grid are not void.

    Args:
        label: integers (N,H,W), 255 is void.
        like: maps (N,*,h,w).

    Returns:
        Bool (N,1,h,w).
    """
    return (on_grid(label, like) != IGNORE_INDEX)[:, None]


def mean_where(values: Tensor, valid: Tensor) -> Tensor:
    """The mean over the positions that count. Over several ranks the mean of what they get is the joint batch's,
    however their void differs.

    Args:
        values: numbers of any shape.
        valid: bool of the same shape, which positions count.

    Returns:
        A scalar; 0 if no position counts.
    """
    return (values * valid).sum() / ranks.mean_count(valid.sum())


def _full_precision(output: SegOutput, *, detach: bool = False) -> SegOutput:
    def convert(x: Tensor) -> Tensor:
        x = x.detach() if detach else x
        return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x

    return replace(
        output,
        logits=convert(output.logits),
        embedding=convert(output.embedding),
        features=tuple(convert(feature) for feature in output.features),
        auxiliary=None if output.auxiliary is None else convert(output.auxiliary),
        further_auxiliary=tuple(convert(each) for each in output.further_auxiliary),
    )
