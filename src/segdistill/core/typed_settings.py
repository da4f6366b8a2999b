"""What every section of a recipe is made from: typed keys, of which each is described where it is defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer
from pydantic.fields import FieldInfo

from segdistill.core.numbers_and_switches import Settings


@dataclass(frozen=True)
class Mark:
    """What code has to know of a key beside its type, written into the type: `workers: Annotated[int, MAY_CHANGE]`.

    Attributes:
        name: What tells it from others.
    """

    name: str

    def on(self, field: FieldInfo) -> bool:
        """Whether a key has this mark.

        Args:
            field: Of the key, as `model_fields` has it.
        """
        return self in field.metadata


MAY_CHANGE = Mark("may change")
"""A resumed run may have another value: the key doesn't touch the weights, or says what happens where it stopped."""

WRITTEN_IF_SET = Mark("written if set")
"""Left out of a written recipe where it has its default: recipes of runs that know it not yet stay the same."""


class TypedSettings(Settings):
    """Keys that a user sets together. Unknown ones are refused, and nothing changes after it was made.

    The text below a key in a subclass is its description, `model_fields[key].description`: whole sentences that say
    what the key does, its unit, and what its default means. Its bounds are in its type, and so are its `Mark`s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for key, field in type(self).model_fields.items():
            if WRITTEN_IF_SET.on(field) and getattr(self, key) == field.default:
                written.pop(key, None)
        return written
