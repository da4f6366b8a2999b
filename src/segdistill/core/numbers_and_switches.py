"""Settings in which true is no number: pydantic takes it for 1, so that `steps=true` trained for one step."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationInfo, field_validator


class Settings(BaseModel):
    """Keys of which only those that are switches take true and false."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and not _takes_switches(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("expected a value, not a switch (true or false)")
        return value


def _takes_switches(annotation: Any) -> bool:
    """Whether true is among a type's values: of bool, Any, a Literal that names it, or a union with one of these."""
    if annotation in (bool, Any, object) or annotation is True or annotation is False:
        return True
    return any(_takes_switches(part) for part in get_args(annotation))
