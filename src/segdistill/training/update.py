"""From gradients to new weights: the run's optimiser, those of methods that have their own, clipping and scaling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.recipe.training import TrainingConfig
from segdistill.training.distiller import Distiller
from segdistill.training.schedule import make_optimizer, own_optimizers, parameters_of, set_rate


class Update:
    """What changes the weights after a backward pass. scaler: of the loss, in fp16."""

    def __init__(self, distiller: Distiller, config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        self._own = own_optimizers(distiller.methods)
        scaled = config.computes_in == "fp16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        networks = distiller.student, distiller.methods
        self._optimizer = make_optimizer(config.optimizer, *networks, self._own, scaled=scaled)
        self._excluded = parameters_of(self._own)
        excluded = set(self._excluded)
        if isinstance(self._optimizer, torch.optim.SGD) and config.optimizer.momentum:
            # Torch's fused step can't begin with some parameters where others have momentum, as with those of a method
            # that starts later. From zeros it is the same step.
            for parameter in parameters_of([self._optimizer]):
                self._optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self._shared = [parameter for parameter in distiller.parameters() if parameter not in excluded]

    def states(self) -> dict[str, Any]:
        """Everything that has a state to save, by the name it is saved under."""
        method_optimizers = {f"own_optimizer{number}": each for number, each in enumerate(self._own)}
        return {"optimizer": self._optimizer, "scaler": self.scaler, **method_optimizers}

    def set_rate(self, step: int, factor: float) -> float:
        """Set the learning rate of the schedule at a step. Optimisers that methods have keep theirs.

        Args:
            step: From 0.
            factor: A further one, which falls below 1 where steps had to be left out.

        Returns:
            The rate of the first group of parameters.
        """
        return set_rate(self._optimizer, factor * self._config.schedule.factor(step, self._config.steps))

    def norms(self) -> list[Tensor]:
        """Of the gradients, the run's optimiser's first; none in fp16.

        There gradients that are not finite are usual: the scaler looks for them, leaves the step out, and scales less.
        """
        return [] if self.scaler.is_enabled() else [_norm(each) for each in (self._shared, self._excluded) if each]

    def apply(self, norms: list[Tensor]) -> None:
        """Take the step, with the gradients clipped if the recipe asks for it.

        Args:
            norms: Of `norms`; the first, of the run's optimiser's gradients, is clipped. If there are none, it is
                measured here.
        """
        if self._config.clip_grad is not None:
            self.scaler.unscale_(self._optimizer)
            norm = norms[0] if norms else _norm(self._shared)
            nn.utils.clip_grads_with_norm_(self._shared, self._config.clip_grad, norm)
        for each in (self._optimizer, *self._own):
            if any(parameter.grad is not None for parameter in parameters_of([each])):  # else its method rests
                self.scaler.step(each)
        self.scaler.update()

    def clear(self) -> None:
        """Forget the gradients."""
        for each in (self._optimizer, *self._own):
            each.zero_grad(set_to_none=True)


def _norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together."""
    return nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
