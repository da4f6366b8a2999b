"""What a distillation method is, and the parts that several methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

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

    student, teacher: `SegOutput` of the same N images. label: (N,H,W) integers, 255 is void, or None when there is
    none. Subclasses write `terms`; they receive float32 maps whatever autocast says, and a teacher without gradient.
    Void pixels carry no signal. Over several ranks, the gradient is that of one with the joint batch (see `ranks`).
    """

    needs: frozenset[str] = frozenset({"logits"})
    """Which of "logits", "embedding", "features" and "label" the method reads; with "auxiliary" the teacher gives its
    auxiliary logits as well, if it has a head for them."""

    def __init__(
        self, student: SegOutput, teacher: SegOutput, num_classes: int, needs: frozenset[str] | None = None
    ) -> None:
        """needs: what this instance reads, where its options decide it."""
        super().__init__()
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

    @abstractmethod
    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]: ...


def create_method(name: str, *, student: SegOutput, teacher: SegOutput, num_classes: int, **options: Any) -> Method:
    """The method `name` for a pair of networks; student and teacher are example outputs (only their shapes count)."""
    cls = method_class(name)
    return cls(student, teacher, num_classes, **check_options(cls, options, f"method.{name}"))


def method_class(name: str) -> type[Method]:
    """The class of the method `name`."""
    return pick(_PACKAGE, Method, name, "method")


def method_names() -> dict[str, type[Method]]:
    """All methods by name."""
    return classes_in(_PACKAGE, Method)


def divergence(
    teacher: Tensor, student: Tensor, dim: int, *, temperature: float = 1.0, keep: Tensor | None = None
) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) along `dim`, in the log domain; the other axes stay.

    keep: bool, broadcast to the maps; other positions are left out of the softmax. Each row needs one to keep.
    Can be differentiated once, by either.
    """
    rows: Tensor = Divergence.apply(teacher, student, dim, temperature, keep)
    return rows


def on_grid(label: Tensor, like: Tensor) -> Tensor:
    """Integer labels (N,h,w) on the grid of `like` (N,*,h,w), by the nearest pixel (torch's "nearest")."""
    return F.interpolate(label[:, None].float(), size=like.shape[-2:], mode="nearest")[:, 0].long()


def labelled(label: Tensor, like: Tensor) -> Tensor:
    """Which positions of the grid of `like` (N,*,h,w) are not void: bool (N,1,h,w)."""
    return (on_grid(label, like) != IGNORE_INDEX)[:, None]


def mean_where(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of `values` over the positions where `valid`, of the same shape, is True; 0 if there is none.

    Over several ranks the mean of what they get is the joint batch's, however their void differs.
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
