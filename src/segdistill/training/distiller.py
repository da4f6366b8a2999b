"""One training step: from a batch to named loss terms."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from segdistill.evaluation.inference import as_input
from segdistill.methods import Method
from segdistill.models.segmenter import SegmentationNetwork
from segdistill.outputs import SegOutput
from segdistill.training.task_loss import task_loss

AUXILIARY_WEIGHT = 0.4  # both papers


class Distiller(nn.Module):
    """Student and methods as one module, so that one wrapper distributes both; the teacher stays outside of it.

    forward: image uint8 (N,3,H,W), label uint8 (N,H,W) -> {"task": .., "auxiliary": .., "<method>": ..}, scalars whose
    sum is the loss.
    """

    class_weights: Tensor | None
    """(K,) weights of the task loss, None for equal ones; see `data.balance`."""

    def __init__(
        self, student: SegmentationNetwork, methods: Iterable[Method] = (), teacher: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)
        self.student = student
        self.methods = nn.ModuleList(methods)
        # In a tuple the teacher is no submodule: not trained, not synchronised, not saved, not set to training mode.
        self._teacher = (teacher.eval().requires_grad_(False),) if teacher is not None else ()

    @property
    def teacher(self) -> tuple[nn.Module, ...]:
        """The teacher, or nothing."""
        return self._teacher

    def forward(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        pixels, label = as_input(image), label.long()
        output: SegOutput = self.student(pixels)
        terms = {"task": task_loss(output.logits, label, self.class_weights)}
        if output.auxiliary is not None:
            terms["auxiliary"] = AUXILIARY_WEIGHT * task_loss(output.auxiliary, label, self.class_weights)
        for teacher in self.teacher:
            with torch.no_grad():
                target: SegOutput = teacher(pixels)
            for method in self.methods:
                for name, value in method(output, target, label).items():
                    terms[name] = terms[name] + value if name in terms else value
        return terms
