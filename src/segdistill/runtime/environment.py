"""Machine, versions, commit, time and command: what a number needs beside it to be believed."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def describe_environment(*, command: bool = True) -> dict[str, Any]:
    """Describe where and how this process runs, for the files that hold its numbers.

    Args:
        command: Whether the command belongs to it; it may name folders of this machine, which others don't have.

    Returns:
        machine (the processor's name), threads, device, system, python, packages (their versions), commit, started
        (UTC, ISO 8601) and command (its words).
    """
    described = {
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {**described, "command": sys.argv} if command else described


@cache
def _versions() -> dict[str, str]:
    """Of the packages that a number may depend on."""
    return {name: version(name) for name in ("segdistill", "torch", "torchvision", "timm", "accelerate")}


@cache
def processor() -> str:
    """The name of the machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache  # what is loaded is what counts, and a run asks several times
def _commit() -> str | None:
    """The commit of the source tree this runs from, with a + if it has uncommitted changes; None if installed."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():  # installed, perhaps into a folder of somebody else's repository
        return None
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            cwd=root, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None
