"""What every section of a recipe is made from: typed keys, of which each is described where it is defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo


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


class TypedSettings(BaseModel):
    """Keys that a user sets together. Unknown ones are refused, and nothing changes after it was made.

    The text below a key in a subclass is its description, `model_fields[key].description`: whole sentences that say
    what the key does, its unit, and what its default means. Its bounds are in its type, and so are its `Mark`s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is meant: pydantic takes true for 1, so `steps=true` was one step."""
        if isinstance(value, bool) and not _takes_switches(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("expected a value, not a switch (true or false)")
        return value

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for key, field in type(self).model_fields.items():
            if WRITTEN_IF_SET.on(field) and getattr(self, key) == field.default:
                written.pop(key, None)
        return written


def _takes_switches(annotation: Any) -> bool:
    """Whether true is among a type's values: of bool, Any, a Literal that names it, or a union with one of these."""
    if annotation in (bool, Any, object) or annotation is True or annotation is False:
        return True
    return any(_takes_switches(part) for part in get_args(annotation))
