"""Numbers that options may require; a signature that uses them refuses bad values before anything runs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def as_size(value: Any) -> Any:
    """A size as a pair, so that recipes and command lines write a size as people say it.

    Args:
        value: As "512x1024"; a list or tuple of two comes back as it is.

    Returns:
        As (512, 1024).

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str) and re.fullmatch(r"\d+x\d+", value):
        return tuple(int(side) for side in value.split("x"))
    if isinstance(value, tuple | list) and len(value) == 2:
        return value
    raise ValueError("expected HEIGHTxWIDTH in pixels, as 512x1024")


Size = Annotated[
    tuple[Count, Count],
    BeforeValidator(
        as_size,
        json_schema_input_type=Annotated[str, Field(pattern=r"^\d+x\d+$")] | tuple[Count, Count],
    ),
]
"""Height and width in pixels: 512x1024, or [512, 1024]."""

Share = Annotated[float, Field(ge=0, le=1)]
