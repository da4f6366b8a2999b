"""What `segdistill demo` can be asked for."""

from __future__ import annotations

from pydantic import Field

from segdistill.core.typed_settings import TypedSettings


class DemoSettings(TypedSettings):
    """How the page is served."""

    port: int | None = Field(None, ge=1, le=65535)
    """The port on 127.0.0.1; without it the first free one from 7860 on."""
