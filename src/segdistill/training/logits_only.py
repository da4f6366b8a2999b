"""Methods for teachers of which the logits are all there is: cached ones, and means of several."""

from __future__ import annotations

from collections.abc import Sequence

from segdistill.core.errors import RecipeError
from segdistill.methods import Method

_READ = frozenset({"logits", "label"})


def require_logits_only(methods: Sequence[Method], names: Sequence[str], why: str) -> None:
    """Refuse methods that read more of the teacher than its logits.

    Args:
        methods: As they were made.
        names: What the recipe calls each.
        why: The teacher has no more, for the message: the key and what it does.

    Raises:
        RecipeError: One reads its embedding, features or auxiliary logits.
    """
    more = [f"{name} reads its {', '.join(sorted(method.needs - _READ))}"
            for method, name in zip(methods, names, strict=True) if method.needs - _READ]  # fmt: skip
    if more:
        raise RecipeError(
            f"{why}, and {'; '.join(more)}. Change that key, or choose methods that read logits alone, such as kd, "
            "bpkd or dist."
        )
