"""What every section of a recipe is made from: typed keys, of which each is described where it is defined."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class TypedSettings(BaseModel):
    """Keys that a user sets together. Unknown ones are refused, and nothing changes after it was made.

    The text below a key in a subclass is its description, `model_fields[key].description`: whole sentences that say
    what the key does, its unit, and what its default means.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    written_if_set: ClassVar[tuple[str, ...]] = ()
    """Keys that are not written where they have their default: recipes of runs that know none of them stay the same."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for key in self.written_if_set:
            if getattr(self, key) == type(self).model_fields[key].default:
                written.pop(key, None)
        return written
