"""Methods as loud as the task: factors of their terms that are measured once, in a run's first steps, and then kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.runtime.processes import is_alone, total

_ENLARGED = 1024.0  # what is differentiated, so that small gradients in fp16 do not become 0; it cancels in the ratio


@dataclass
class _Measured:
    """Sums over the measured steps for a term: of its squared gradient norm, and the task's at the same map.

    place: of that map among the student's; -1 before it is settled.
    """

    term: float = 0.0
    task: float = 0.0
    place: int = -1


@dataclass
class _Method:
    """What is known of a method: the step at which it began to count, and its terms."""

    began: int = -1
    terms: dict[str, _Measured] = field(default_factory=dict)


class GradientShares(nn.Module):
    """What each term of a method is multiplied with, so that its gradient is a stated share of the task loss's.

    With the gradients g of the task loss and g_i of a method's term i of n, taken at the student's last backbone map,

        factor_i = share / n * sqrt(sum |g|^2 / sum |g_i|^2),

    the sums over the first `length` steps at which the method counts. In those steps it is measured and does not train;
    then the factor is frozen, and part of the run's state. A term that does not reach the last map, such as one on
    earlier stages, is compared at the last of those that it reaches. One that reaches none, such as a
    discriminator's loss, counts as it is throughout; so do all terms where there are no labels, thus no task loss.

    Args:
        shares: Of each method; None leaves its terms as they are.
        length: Steps that are measured.
    """

    def __init__(self, shares: Sequence[float | None], length: int) -> None:
        super().__init__()
        self._shares, self._length = tuple(shares), length
        self._methods = [_Method() for _ in self._shares]

    def measures(self, counts: Sequence[float], step: int) -> bool:
        """Whether a method that counts at this step is still measured.

        Args:
            counts: The methods' schedules at the step; 0 where a method does not count.
            step: From 0.
        """
        return any(bool(count) and self._is_open(number, step) for number, count in enumerate(counts))

    def freeze(self) -> None:
        """Measure no more: terms that were not measured count as they are. For steps that are timed."""
        self._length = 0
        for method in self._methods:
            method.began = max(0, method.began)

    def scaled(
        self, number: int, terms: dict[str, Tensor], task: Tensor, output: SegOutput, step: int
    ) -> dict[str, Tensor]:
        """The terms of a method times their factors, or times 0 in the steps that are measured.

        Args:
            number: Of the method.
            terms: Its scalars.
            task: The task loss, a scalar of the same forward pass.
            output: The student's; its maps are what the gradients are taken at.
            step: From 0.

        Returns:
            The scalars by the same names.
        """
        if self._shares[number] is None:
            return terms
        if self._is_open(number, step):
            method = self._methods[number]
            method.began = step if method.began < 0 else method.began
            if torch.is_grad_enabled():
                self._measure(method, terms, task, output)
            return {name: 0 * value if name in method.terms else value for name, value in terms.items()}
        factors = self.factors(number)
        return {name: factors.get(name, 1.0) * value for name, value in terms.items()}

    def factors(self, number: int) -> dict[str, float]:
        """The factors of a method's terms by name, from what is measured so far.

        Args:
            number: Of the method.
        """
        share, measured = self._shares[number], self._methods[number].terms
        reaching = {name: sums for name, sums in measured.items() if sums.term > 0 and sums.task > 0}
        if share is None:
            return {}
        return {name: share / len(reaching) * (sums.task / sums.term) ** 0.5 for name, sums in reaching.items()}

    def fixed_at(self, step: int) -> Iterator[int]:
        """The methods whose factors are frozen from a step on, and not before.

        Args:
            step: From 0.

        Yields:
            Numbers of methods.
        """
        for number, method in enumerate(self._methods):
            if method.began >= 0 and method.began + self._length == step:
                yield number

    def get_extra_state(self) -> list[dict[str, Any]]:
        return [
            {"began": each.began, "terms": {name: [*astuple(sums)] for name, sums in each.terms.items()}}
            for each in self._methods
        ]

    def set_extra_state(self, state: list[Mapping[str, Any]]) -> None:
        """Go on with what was measured, in a run that is continued.

        Args:
            state: For each method the step it began at, -1 if it has not, and by term (its sum, the task's sum, the
                place of the map).
        """
        self._methods = [
            _Method(int(each["began"]), {name: _Measured(*sums) for name, sums in each["terms"].items()})
            for each in state
        ]

    def _is_open(self, number: int, step: int) -> bool:
        began = self._methods[number].began
        return self._shares[number] is not None and (began < 0 or step < began + self._length)

    def _measure(self, method: _Method, terms: dict[str, Tensor], task: Tensor, output: SegOutput) -> None:
        maps = [each for each in (output.embedding, *output.features) if each.requires_grad]
        at_task = _squares(task, maps)
        for name, value in terms.items():
            at_term = _squares(value, maps)
            # The last stage that both reach; the embedding, which lies behind them all, where there is none.
            reached = [index for index, square in enumerate(at_term) if square > 0 and at_task[index] > 0]
            if reached:
                method.terms.setdefault(name, _Measured()).place = reached[-1]
            if name in method.terms:  # else there was no task loss yet: a micro-batch without labels
                sums = method.terms[name]
                sums.term += at_term[sums.place]
                sums.task += at_task[sums.place]


def _squares(loss: Tensor, maps: Sequence[Tensor]) -> list[float]:
    """The squared norms of the gradient of `loss` at each of `maps`, over all processes; 0 where it reaches none."""
    squares = _local_squares(loss, maps, _ENLARGED)
    if not all(map(math.isfinite, squares)):  # enlarged it is too large for fp16
        squares = _local_squares(loss, maps, 1.0)
    summed = torch.tensor(squares, dtype=torch.float64)
    sums: list[float] = (summed if is_alone() else total(summed.to(loss.device))).tolist()
    return sums


def _local_squares(loss: Tensor, maps: Sequence[Tensor], enlarged: float) -> list[float]:
    """The same of this process alone, of a loss that was `enlarged` while it was differentiated."""
    if not (loss.requires_grad and maps):
        return [0.0] * len(maps)
    gradients = torch.autograd.grad(enlarged * loss, maps, retain_graph=True, allow_unused=True)
    return [0.0 if each is None else float((each.double() / enlarged).square().sum()) for each in gradients]
