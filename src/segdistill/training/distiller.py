"""One training step: from a batch to named loss terms."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from segdistill.core.classes import UNLABELED
from segdistill.core.errors import TrainingError
from segdistill.core.outputs import SegOutput, resize
from segdistill.core.precision import Precision, computing_in
from segdistill.methods import Method
from segdistill.models.channels import image_channels
from segdistill.models.folding import folded
from segdistill.models.grouped import replace_gradients
from segdistill.models.network import SegmentationNetwork, as_input, device_of
from segdistill.models.segmenter import auxiliary_given
from segdistill.recipe.training import TaskLossConfig
from segdistill.training.boundary_loss import at_label_size, detail_loss, edge_loss, near_edges
from segdistill.training.gradient_shares import GradientShares
from segdistill.training.hard_pixels import hard_only
from segdistill.training.sharding import is_sharded
from segdistill.training.task_loss import labelled_only, task_loss


class Distiller(nn.Module):
    """Student and methods as one module, so that one wrapper distributes both; the teacher stays outside of it.

    Args:
        student: What is trained.
        methods: Their terms are added to the task loss.
        teacher: What the methods compare the student with; methods can be made before there is one.
        factors: Per method, what its terms are multiplied with at a step (see `MethodSchedule`); none for 1 throughout.
        shares: What else they are multiplied with; none for nothing.
        task: How the task loss is taken.
        same_classes: Whether the teacher's classes are the student's, where they are as many.
    """

    class_weights: Tensor | None
    """(K,) weights of the task loss, None for equal ones; see `data.balance`."""

    teacher: nn.Module | None
    """The teacher, set with `set_teacher`."""

    running_teacher: nn.Module | None
    """The form of the teacher that is run, see `fold_teacher`."""

    def __init__(
        self,
        student: SegmentationNetwork,
        methods: Iterable[Method] = (),
        teacher: nn.Module | None = None,
        factors: Sequence[Callable[[int], float]] = (),
        shares: GradientShares | None = None,
        task: TaskLossConfig | None = None,
        same_classes: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)
        self.student = student
        replace_gradients(student)
        self._task, self._same_classes = task or TaskLossConfig(), same_classes
        self.methods = nn.ModuleList(methods)
        # DistributedDataParallel must not send at every step what is equal on all ranks by itself, such as queues.
        queues = self.queue_names()
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers() if name.startswith(queues)]
        self._factors = tuple(factors) or (_always,) * len(self.methods)
        self.shares = shares or GradientShares([None] * len(self.methods), 0)
        self.teacher_precision: Precision | None = None
        """What the teacher computes in; None for what the student does."""
        self._compiled: dict[str, Callable[[Tensor], SegOutput]] = {}
        self.set_teacher(teacher)

    def set_teacher(self, teacher: nn.Module | None) -> None:
        """Take a network as the teacher: frozen, in evaluation mode.

        Args:
            teacher: It stays outside of this module; None: there is none.
        """
        if teacher is not None:
            teacher.eval().requires_grad_(False)
        # Set past nn.Module, the teacher is no submodule: not trained, synchronised, saved or set to training mode.
        object.__setattr__(self, "teacher", teacher)
        object.__setattr__(self, "running_teacher", teacher)

    def fold_teacher(self, crop: tuple[int, int]) -> None:
        """Run the teacher with its batch norms folded from now on, if it can be; `teacher` stays as it is.

        Args:
            crop: (h,w) of the images.
        """
        if self.teacher is None or is_sharded(self.teacher):
            return
        device = device_of(self.teacher)
        channels = image_channels(self.teacher)
        pixels = torch.rand(1, channels, *crop, generator=torch.Generator().manual_seed(0)).to(device)
        object.__setattr__(self, "running_teacher", folded(self.teacher, pixels) or self.teacher)

    def compile_networks(self, *, student: bool, teacher: bool) -> None:
        """Run these networks compiled from now on, in here alone; the networks themselves stay as they are.

        Args:
            student: Whether it is; in steps that measure gradient shares it still runs as it is.
            teacher: Whether it is; nothing happens where there is none.
        """
        networks = {"student": self.student if student else None, "teacher": self.running_teacher if teacher else None}
        self._compiled = {role: torch.compile(each, dynamic=False) for role, each in networks.items() if each}

    def measures(self, step: int) -> bool:
        """Whether the share of a method is measured at this step, which takes longer than those after it.

        Args:
            step: From 0.
        """
        return self.shares.measures([factor(step) for factor in self._factors], step)

    def rest(self, step: int) -> None:
        """Take the gradients, which are 0, from methods that do not count: else weight decay moves their parts.

        Args:
            step: From 0.
        """
        for method, factor in zip(self.methods, self._factors, strict=True):
            if not factor(step):
                method.zero_grad(set_to_none=True)

    def busiest_step(self, steps: int) -> int:
        """The first step of a run at which as many of its methods count as at any, to a hundredth of the run.

        Args:
            steps: Of the run.
        """
        return max(
            range(0, steps, max(1, steps // 100)), key=lambda step: sum(factor(step) > 0 for factor in self._factors)
        )

    def queue_names(self) -> tuple[str, ...]:
        """How the names of those tensors begin."""
        modules = self.named_modules()
        return tuple(f"{name}." for name, module in modules if getattr(module, "equal_on_all_ranks", False))

    def forward(
        self, image: Tensor, label: Tensor, step: int = 0, target: Tensor | None = None, share: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms of the loss of a batch.

        Args:
            image: uint8 (N,3,H,W), RGB; or (N,C,H,W), uint8 or float32 in [0,1].
            label: uint8 (N,H,W), class index, void, or `UNLABELED` where an image has no mask.
            step: From 0; the methods' schedules are asked for it.
            target: The teacher's logits (N,K,h,w) where they are cached; it is then not run.
            share: Of a micro-batch, see `micro_batch_shares`; None: the batch is whole.

        Returns:
            {"task": .., "auxiliary": .., "boundary": .., "<method>": ..}, scalars whose sum is the loss.

        Raises:
            TrainingError: A method counts at this step, and there is neither a target nor a teacher.
        """
        pixels, label = as_input(image), label.long()
        labelled = labelled_only(label)
        factors = [factor(step) for factor in self._factors]
        # A compiled student's maps and logits come out of one node, with no gradient of one at the other.
        compiled = {} if self.measures(step) else self._compiled
        output: SegOutput = compiled.get("student", self.student)(pixels)
        terms = {"task": self._task_loss(output.logits, labelled)}
        if output.auxiliary is not None:
            weight = self._task.auxiliary_weight
            weight = self.student.auxiliary_weight if weight is None else weight
            losses = [self._task_loss(each, labelled) for each in output.auxiliary_maps]
            terms["auxiliary"] = weight * torch.stack(losses).sum() if len(losses) > 1 else weight * losses[0]
        if output.boundary is not None:
            terms |= self._boundary_terms(output.logits, output.boundary, labelled)
        if share is not None and self._task.divisor == "labelled":
            terms = {name: share * value for name, value in terms.items()}
        task = torch.stack(list(terms.values())).sum()
        if any(factors):  # else no method counts at this step, and the teacher is not asked
            teacher_output = self._teacher_output(pixels) if target is None else _only(target)
            same_classes = self._same_classes and teacher_output.logits.shape[1] == output.logits.shape[1]
            completed = _completed(label, teacher_output.logits, same_classes)
        for number, (method, factor) in enumerate(zip(self._methods(), factors, strict=True)):
            raw = _idle(method)
            if factor:
                seen = completed if same_classes or "label" not in method.needs else labelled
                made = method(output, teacher_output, seen)
                as_it_is = {name: made.pop(name) for name in method.unmeasured & made.keys()}
                raw = self.shares.scaled(number, made, task, output, step) | as_it_is
            for name, value in raw.items():
                terms[name] = terms.get(name, 0) + factor * value
        return terms

    def _boundary_terms(self, logits: Tensor, boundary: Tensor, label: Tensor) -> dict[str, Tensor]:
        """The loss of a boundary head, and PIDNet's further cross-entropy of the pixels that it puts near an edge."""
        with torch.autocast(boundary.device.type, enabled=False):
            boundary = at_label_size(boundary, label, align_corners=self._task.align_corners)
            target = self.student.boundary_target(label)
            weight = self._task.boundary_weight
            if boundary.shape[1] == 2:
                return {"boundary": (1.0 if weight is None else weight) * detail_loss(boundary, target, label)}
            edges = (20.0 if weight is None else weight) * edge_loss(boundary, target, label)
        return {"boundary": edges, "near_boundary": self._task_loss(logits, near_edges(boundary, label))}

    def _methods(self) -> Sequence[Method]:
        return cast("Sequence[Method]", self.methods)

    @torch.no_grad()
    def _teacher_output(self, pixels: Tensor) -> SegOutput:
        teacher = self.running_teacher
        if teacher is None:
            raise TrainingError("The methods compare with a teacher, and none is set. Call set_teacher(network) first.")
        needs_auxiliary = any("auxiliary" in method.needs for method in self._methods())
        precision = self.teacher_precision
        with (
            auxiliary_given(teacher) if needs_auxiliary else contextlib.nullcontext(),
            computing_in(precision, pixels.device) if precision else contextlib.nullcontext(),
        ):
            output: SegOutput = self._compiled.get("teacher", teacher)(pixels)
        return output

    def _task_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        how = self._task
        if how.ohem is not None:
            label = hard_only(logits, label, how.ohem, how.ohem_share, align_corners=how.align_corners)
        return task_loss(logits, label, self.class_weights, align_corners=how.align_corners, divisor=how.divisor)


def _only(logits: Tensor) -> SegOutput:
    """An output of which nothing but the logits is known."""
    return SegOutput(logits=logits.float(), embedding=logits.new_zeros(len(logits), 0, *logits.shape[2:]), features=())


def _completed(label: Tensor, teacher: Tensor, same_classes: bool) -> Tensor:
    """Labels (N,H,W) with the teacher's own classes where an image has no mask; its logits are (N,K,h,w).

    A teacher of other classes says no class: they are then class 0, for methods that only look where void is.
    """
    unlabeled = label == UNLABELED
    rows = unlabeled.flatten(1).any(1)
    if not rows.any():
        return label
    filled = torch.zeros_like(label)
    if same_classes:
        filled[rows] = resize(teacher[rows].float(), (label.shape[1], label.shape[2])).argmax(1)
    return torch.where(unlabeled, filled, label)


def _always(step: int) -> float:
    return 1.0


def _idle(method: nn.Module) -> dict[str, Tensor]:
    """A term of 0 for a method that does not count at this step, if it has parameters.

    They then get a gradient of 0 at every step, as processes that train together expect.
    """
    sums = [parameter.flatten()[:0].sum() for parameter in method.parameters() if parameter.requires_grad]
    return {type(method).__module__.rpartition(".")[-1]: torch.stack(sums).sum()} if sums else {}
