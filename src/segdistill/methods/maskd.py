"""Masked distillation: learned masks say where the student's scores have to equal the teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.numbers import Count, NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, labelled, on_grid
from segdistill.methods.parts import ranks

_EPS = 1e-5


class MasKD(Method):
    """The student's logits equal the teacher's in J masks that are learned on the teacher's logits.

    Good for what a region as a whole looks like, with masks that are learned from the teacher first.

    Masks m_j = sigmoid(token_j . z_t), (N,J,h,w), of logits z_t (N,K,h,w) and learned tokens (J,K).
      student   = weight / 2 * mean over n, j, k of  sum_p m_j^2 (z_s - z_t)^2 / (sum_p m_j + 0.00001)
      tokens    = mean over pixels of the cross-entropy of z_t * sum_j m_j with the label
      diversity = diversity_weight * mean over n and j != l of  2 <m_j, m_l> / (|m_j|^2 + |m_l|^2)
    The first term reaches only the student, the others only the tokens, which have their own optimiser: SGD of momentum
    0.9 and weight decay 0.001. Both stages of the paper are in one run: in the first `token_steps` batches the tokens
    learn, and the student is taught with the masks as they are then (at the start about 1/2 everywhere, a plain squared
    distance); after that they stay as they are. The paper's first stage is a run of its own, before the student's. Void
    positions are in no mask; all void gives 0. Grids that differ meet on the finer one; the tokens learn there too,
    from the nearest label, where the code enlarges the scores to the label's size.

    The sum over masks is taken before that over classes, so memory grows with J + K, not J K.

    Defaults: 8 tokens, 10,000 steps, rate 0.1 of the code, which trains tokens with batch 16 and adds 0.4 times the
    term of the auxiliary heads. Source: Huang et al., arXiv 2205.14589.

    Args:
        tokens: J.
        weight: of the student's term.
        diversity_weight: of the masks' overlap.
        token_steps: batches in which the tokens learn.
        token_lr: rate of their optimiser, which the code decays to 0.
        as_published: void positions are in the masks, too.
    """

    needs: frozenset[str] = frozenset({"logits", "label"})
    learned: Tensor
    calls: Tensor

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        tokens: Count = 8,
        weight: NonNegative = 1.0,
        diversity_weight: NonNegative = 1.0,
        token_steps: int = 10_000,
        token_lr: Positive = 0.1,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.weight = weight
        self.diversity_weight = diversity_weight
        self.token_steps = token_steps
        self.token_lr = token_lr
        self.as_published = as_published
        self.mask_token = nn.Parameter(0.01 * torch.randn(tokens, num_classes))
        # What the student meets: momentum and weight decay would move the parameter even without a gradient.
        self.register_buffer("learned", self.mask_token.detach().clone())
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def own_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.mask_token], self.token_lr, momentum=0.9, weight_decay=1e-3)

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The three terms on the finer of the two grids; each call while training counts as one of `token_steps`.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W), 255 is void; the tokens learn from it. It is needed.

        Returns:
            "maskd/student", "maskd/tokens" and "maskd/diversity"; the last two are 0 once the tokens have learned.
        """
        assert label is not None  # Method.forward has refused None: the class needs it
        z_s, z_t = finer(student.logits, teacher.logits)
        valid = labelled(label, z_t)
        counted = torch.ones_like(valid) if self.as_published else valid
        learning = self.calls < self.token_steps  # a factor, as to branch on it would wait for the device
        self.learned.copy_(torch.where(learning, self.mask_token.detach(), self.learned))
        self.calls += self.training
        tokens, diversity = self._learn(z_t, label, counted)
        return {
            "maskd/student": self.weight * masked_gap(z_s, z_t, masks(z_t, self.learned, counted)),
            "maskd/tokens": learning * tokens,
            "maskd/diversity": learning * self.diversity_weight * diversity,
        }

    def _learn(self, z_t: Tensor, label: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        learned = masks(z_t, self.mask_token, counted)
        target = on_grid(label, z_t)
        scores = z_t * learned.sum(1, keepdim=True)
        wrong = F.cross_entropy(scores, target, ignore_index=IGNORE_INDEX, reduction="sum")
        return wrong / ranks.mean_count((target != IGNORE_INDEX).sum()), alikeness(learned)


def masks(z: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
    """Sigmoids of the products of tokens and logits.

    Args:
        z: logits (N,K,h,w).
        tokens: (J,K).
        valid: bool (N,1,h,w); the masks are 0 elsewhere.

    Returns:
        (N,J,h,w) in [0,1].
    """
    return torch.sigmoid(torch.einsum("jk,nkhw->njhw", tokens, z)) * valid


def masked_gap(z_s: Tensor, z_t: Tensor, mask: Tensor) -> Tensor:
    """Half the mean over n, j, k of sum_p m_j^2 (z_s - z_t)^2 / (sum_p m_j + 0.00001).

    Args:
        z_s: the student's logits (N,K,h,w).
        z_t: the teacher's (N,K,h,w).
        mask: m (N,J,h,w).

    Returns:
        A scalar.
    """
    # With J = K = 2, squared masks over their sums w_1, w_2 and squared gaps g_1, g_2 of a position:
    #   w_1 g_1 + w_1 g_2 + w_2 g_1 + w_2 g_2 = (w_1 + w_2) (g_1 + g_2)
    # so two sums a position are held, not J K products.
    weight = (mask.square() / (mask.sum((2, 3), keepdim=True) + _EPS)).sum(1)
    n, k = z_s.shape[:2]
    return 0.5 * (weight * (z_s - z_t).square().sum(1)).sum() / (n * k * mask.shape[1])


def alikeness(mask: Tensor) -> Tensor:
    """The mean Dice coefficient of two different masks of an image.

    Args:
        mask: (N,J,h,w).

    Returns:
        A scalar in [0,1]; 0 if J = 1.
    """
    rows = mask.flatten(2)
    product = rows @ rows.mT
    square = product.diagonal(dim1=1, dim2=2)
    dice = 2 * product / (square[:, None] + square[:, :, None] + 2e-12)
    pairs = mask.shape[1] * (mask.shape[1] - 1)
    return (dice.sum() - dice.diagonal(dim1=1, dim2=2).sum()) / (len(mask) * max(pairs, 1))
