"""The plain recipe: normalised features through a connector, and the logits."""

from __future__ import annotations

from torch import Tensor

from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.kd import KD
from segdistill.methods.parts.connectors import identity_connector
from segdistill.methods.pkd import standardised_gap

_EPS = 1e-3


class Canonical(Method):
    """The embedding imitates the teacher's up to mean and scale of each channel; the logits imitate the teacher's.

    Good for a pair that nothing is known of yet: beside bpkd it is the default.

      feature = feature_weight * mean over n, channels, positions of (u(connector(f_s)) - u(f_t))^2
      logit   = logit_weight * T^2 * mean over pixels of KL( softmax_K(z_t / T) || softmax_K(z_s / T) )   (as `kd`)
    f (N,D,h,w) is the embedding, z (N,K,h,w) the logits; u standardises each channel of each image over its positions,
    u(f) = (f - mean) / (std + 0.001); the connector is a learned 1x1 convolution without bias, which starts as the
    identity where D is the same. Void is left out of means and stds; all void gives 0. Grids that differ meet on the
    finer one.

    Why in the default: Ali et al. (arXiv 2604.25530, 2026) report that canonical logit and feature distillation beats
    losses made for segmentation at equal wall-clock. They published no code; how features are normalised (after Liu et
    al., arXiv 2207.05256, whose idea is to leave the teacher's magnitude out), the weights 1 and 1, T = 1 and the
    balance are this project's choice.

    Args:
        feature_weight: of the embedding's term.
        logit_weight: of the logits' term.
        temperature: T > 0.
        class_balance: of the logits' mean, as in `kd`; 0 is the plain mean, which belongs to the large classes.
    """

    needs: frozenset[str] = frozenset({"logits", "embedding"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        feature_weight: NonNegative = 1.0,
        logit_weight: NonNegative = 1.0,
        temperature: Positive = 1.0,
        class_balance: NonNegative = 0.5,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.feature_weight = feature_weight
        self.connector = identity_connector(student.embedding, teacher.embedding)
        self.kd = KD(
            student,
            teacher,
            num_classes,
            temperature=temperature,
            weight=logit_weight,
            class_balance=class_balance,
        )

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms, each on the finer of its two grids.

        Args:
            student: embedding (N,C,h,w) and logits (N,K,h,w).
            teacher: embedding (N,D,h',w') and logits (N,K,h',w').
            label: (N,H,W), which class balance reads and 255 is left out; None: all positions count, and alike.

        Returns:
            "canonical/feature" and "canonical/logit".
        """
        f_s, f_t = finer(self.connector(student.embedding), teacher.embedding)
        feature = standardised_gap(f_s, f_t, self.counted(label, f_s), (2, 3), eps=_EPS)
        return {
            "canonical/feature": self.feature_weight * feature,
            "canonical/logit": self.kd.terms(student, teacher, label)["kd"],
        }
