"""Methods as loud as the task: factors of their terms that are measured once, in a run's first steps, and then kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.runtime.processes import is_alone, total
from segdistill.training.measured_terms import GradientSums, MeasuredTerm

_ENLARGED = 2.0**10  # what is differentiated, so that small gradients in fp16 do not become 0; it cancels in the ratio
_MORE = (2.0**20, 2.0**30)  # where it was 0 all the same


@dataclass
class _Method:
    """What is known of a method: the step at which it began to count, and its terms."""

    began: int = -1
    terms: dict[str, MeasuredTerm] = field(default_factory=dict)


class GradientShares(nn.Module):
    """What each term of a method is multiplied with, so that its gradient is a stated share of the task loss's.

    With the gradients g of the task loss and g_i of a method's term i of n, taken at the student's last backbone map,

        factor_i = share / n * sqrt(sum |g|^2 / sum |g_i|^2),

    the sums over the first `length` steps at which both have a gradient. Until then the term is measured and does not
    train; then the factor is frozen, and part of the run's state. So a term that has nothing to say for long, as one
    of edges where no crop has held an edge yet, waits. A term that does not reach the last map, such as one on earlier
    stages, is compared at the last of those that it reaches. One that reaches none in the first `length` steps, such as
    a discriminator's loss, counts as it is throughout.

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
        method = self._methods[number]
        method.began = step if method.began < 0 else method.began
        for name in terms:
            method.terms.setdefault(name, MeasuredTerm())
        waiting = self.waiting(number, step)
        if waiting and torch.is_grad_enabled():
            self._measure(method, {name: terms[name] for name in waiting if name in terms}, task, output, step)
        factors = self.factors(number)
        silent = {name for name in waiting if method.terms[name].reaches}
        return {name: (0.0 if name in silent else factors.get(name, 1.0)) * value for name, value in terms.items()}

    def factors(self, number: int) -> dict[str, float]:
        """The factors of a method's terms by name, from what is measured so far.

        Args:
            number: Of the method.
        """
        share, terms = self._shares[number], self._methods[number].terms
        count = sum(term.reaches for term in terms.values())
        ratios = {name: term.ratio() for name, term in terms.items()}
        return {
            name: share / count * ratio for name, ratio in ratios.items() if share is not None and ratio is not None
        }

    def waiting(self, number: int, step: int) -> list[str]:
        """The terms of a method whose factors are not frozen yet.

        Args:
            number: Of the method.
            step: From 0, that is about to be made.
        """
        method = self._methods[number]
        first = step < method.began + self._length
        return [
            name for name, term in method.terms.items()
            if (term.measured(step) < self._length if term.reaches else first)
        ]  # fmt: skip

    def fixed_at(self, step: int) -> Iterator[int]:
        """The methods of which there is news at a step: their first steps are over, or their last term is frozen.

        Args:
            step: From 0.

        Yields:
            Numbers of methods.
        """
        for number, method in enumerate(self._methods):
            if method.began < 0 or self._shares[number] is None:
                continue
            done = self._is_open(number, step - 1) and not self._is_open(number, step)
            if done or method.began + self._length == step:
                yield number

    def get_extra_state(self) -> list[dict[str, Any]]:
        return [asdict(method) for method in self._methods]

    def set_extra_state(self, state: list[Mapping[str, Any]]) -> None:
        """Go on with what was measured, in a run that is continued.

        Args:
            state: For each method the step it began at, -1 if it has not, and what is known of its terms.
        """
        self._methods = [
            _Method(each["began"], {name: _restored(term) for name, term in each["terms"].items()}) for each in state
        ]

    def _is_open(self, number: int, step: int) -> bool:
        method = self._methods[number]
        begins = method.began < 0 or step < method.began + self._length
        return self._shares[number] is not None and (begins or bool(self.waiting(number, step)))

    def _measure(
        self, method: _Method, terms: Mapping[str, Tensor], task: Tensor, output: SegOutput, step: int
    ) -> None:
        maps = [each for each in (output.embedding, *output.features) if each.requires_grad]
        of_task, _ = _squares(task, maps)
        for name, value in terms.items():
            of_term, reaches = _squares(value, maps)
            method.terms[name].reaches |= reaches
            method.terms[name].add(step, GradientSums(of_term, of_task))


def _restored(term: Mapping[str, Any]) -> MeasuredTerm:
    return MeasuredTerm(**{**term, "sums": GradientSums(**term["sums"]), "latest": GradientSums(**term["latest"])})


def _squares(loss: Tensor, maps: Sequence[Tensor]) -> tuple[list[float], bool]:
    """The squared norms of the gradient of `loss` at each of `maps`, over all processes; and whether it reaches any.

    All processes try the same, as a method's backward pass may have to wait for the others.
    """
    squares, reaches = _summed(loss, maps, _ENLARGED)
    if not all(map(math.isfinite, squares)):  # enlarged it is too large for fp16
        return _summed(loss, maps, 1.0)
    for enlarged in _MORE if any(each.dtype is torch.float16 for each in maps) else ():
        if any(squares) or not reaches:
            break
        tried, _ = _summed(loss, maps, enlarged)
        squares = tried if all(map(math.isfinite, tried)) else squares
    return squares, reaches


def _summed(loss: Tensor, maps: Sequence[Tensor], enlarged: float) -> tuple[list[float], bool]:
    """The same of a loss that is `enlarged` while it is differentiated."""
    local = torch.zeros(len(maps) + 1, dtype=torch.float64)
    if loss.requires_grad and maps:
        gradients = torch.autograd.grad(enlarged * loss, maps, retain_graph=True, allow_unused=True)
        squares = [0.0 if each is None else float((each.double() / enlarged).square().sum()) for each in gradients]
        local = torch.tensor([*squares, float(any(each is not None for each in gradients))], dtype=torch.float64)
    sums: list[float] = (local if is_alone() else total(local.to(loss.device))).tolist()
    return sums[:-1], sums[-1] > 0
