"""Which process of a distributed run this is; alone, it is the main one."""

from __future__ import annotations

from accelerate import PartialState


def is_main() -> bool:
    """Whether this process writes files and talks to people."""
    return bool(PartialState().is_main_process)


def wait_for_all() -> None:
    """Let no process go on before all are here: what the main one wrote is then there for the others to read."""
    PartialState().wait_for_everyone()
