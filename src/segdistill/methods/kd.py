"""Pixel-wise knowledge distillation of logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.errors import RecipeError
from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, divergence, mean_where, on_grid
from segdistill.methods.parts import ranks


class KD(Method):
    """Every pixel's class distribution imitates the teacher's.

    Good for a baseline of any pair with the same classes, and the cheapest.

    L = weight * T^2 * mean over pixels of KL( softmax_K(z_t / T) || softmax_K(z_s / T) ), z of shape (N,K,h,w).
    The mean is over the pixels that are not void; all void gives 0. Grids that differ meet on the finer one.

    Defaults: T = 1, weight = 1 (CIRKD's scripts). Source: Hinton et al., arXiv 1503.02531; the normalisation is
    CIRKD's (N h w in the divisor; other published code divides by N, or by N K h w without T^2).

    Args:
        temperature: T > 0.
        weight: of the term.
        standardize: whether each pixel's scores, the teacher's too, first get mean 0 and (unbiased) standard deviation
            1 over the classes, (z - mean) / (std + 1e-7), so the student need not reach the teacher's score range (Sun
            et al., CVPR 2024, arXiv 2403.01427). It says nothing with two classes, where only the order of the scores
            would be left.
        class_balance: exponent b; a pixel of class c weighs share_c^-b in the mean, share_c of the batch's labelled
            pixels. Without it the mean belongs to the large classes, and works against a task loss that is balanced.
        as_published: void pixels distil too, as in the published code.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        temperature: Positive = 1.0,
        weight: NonNegative = 1.0,
        standardize: bool = False,
        class_balance: NonNegative = 0.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, self.needs | {"label"} if class_balance else None)
        self.temperature = temperature
        self.weight = weight
        self.standardize = standardize
        self.class_balance = class_balance
        self.as_published = as_published
        if as_published and class_balance:
            raise RecipeError(
                "kd: as_published lets void pixels distil, and class_balance weighs pixels by their class, which void "
                "has not. Set one of them."
            )
        if standardize and num_classes == 2:
            self.unmeasured = frozenset({"kd"})

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W), which class balance reads and 255 is left out; None: all pixels count, and alike.

        Returns:
            "kd".
        """
        z_s, z_t = finer(student.logits, teacher.logits)
        if self.standardize:
            z_s, z_t = standardised(z_s), standardised(z_t)
        pixels = divergence(z_t, z_s, dim=1, temperature=self.temperature)
        if self.class_balance and label is not None:
            weight = balanced(on_grid(label, z_s), self.num_classes, self.class_balance).to(pixels.dtype)
            mean = (pixels * weight).sum() / ranks.mean(weight.sum()).clamp_min(1e-12)
        elif (valid := self.counted(label, z_s)) is None:
            mean = pixels.mean()
        else:
            mean = mean_where(pixels, valid[:, 0])
        return {"kd": self.weight * self.temperature**2 * mean}


def standardised(z: Tensor) -> Tensor:
    """Scores with mean 0 and unbiased standard deviation 1 over the classes of each pixel: (z - mean) / (std + 1e-7).

    Args:
        z: (N,K,h,w).

    Returns:
        (N,K,h,w).
    """
    return (z - z.mean(1, keepdim=True)) / (z.std(1, keepdim=True) + 1e-7)


def balanced(label: Tensor, num_classes: int, exponent: float) -> Tensor:
    """Weights share_c^-exponent of pixels of class c, share_c of all labelled pixels of the joint batch, 1e-6 at least.

    Args:
        label: integers (N,h,w); those from K on are void.
        num_classes: K.
        exponent: 0 weighs all pixels alike.

    Returns:
        (N,h,w), float32, 0 at void.
    """
    slot = label.clamp_max(num_classes)  # void comes last; counting by scattering doesn't wait for the device
    # In whole numbers: adding 1 to a float32 of 2^24 leaves it as it is.
    pixels = torch.ones_like(slot, dtype=torch.int64).flatten()
    counts = ranks.total(pixels.new_zeros(num_classes + 1).scatter_add_(0, slot.flatten(), pixels))[:-1].float()
    weights = (counts / counts.sum().clamp_min(1)).clamp_min(1e-6) ** -exponent
    return F.pad(weights, (0, 1))[slot]
