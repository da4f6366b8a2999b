"""One training step: from a batch to named loss terms."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.data.base import IGNORE_INDEX
from segdistill.evaluation.inference import as_input
from segdistill.methods import Method
from segdistill.methods.queue import Queue
from segdistill.models.segmenter import SegmentationNetwork
from segdistill.outputs import SegOutput, resize

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
        # Queues stay equal on all ranks by themselves: DistributedDataParallel must not send them at every step.
        self._ddp_params_and_buffers_to_ignore = [
            f"{name}.{buffer}"
            for name, module in self.named_modules()
            if isinstance(module, Queue)
            for buffer, _ in module.named_buffers()
        ]
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


def task_loss(logits: Tensor, label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits (N,K,h,w), upsampled to label size (N,H,W), averaged over non-void pixels; 0 if none.

    class_weights (K,) multiply the pixels' losses, not the divisor.
    """
    scores = resize(logits.float(), (label.shape[-2], label.shape[-1]))
    total = F.cross_entropy(scores, label, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (label != IGNORE_INDEX).sum().clamp_min(1)
