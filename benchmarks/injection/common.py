"""What the parts share: tiny runs, processes to kill, and the record of what came of an item."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from conftest import TINY
from forked import Forked, ranks

__all__ = ["SIZES", "TINY", "Failure", "Forked", "Item", "finish", "ranks", "weights"]

SIZES = ("steps=8", "teacher.train.steps=4", "checkpoint_every=2", "validate_every=4", "baseline=none")
"""Of runs of a second or two, which save and validate often."""


class Failure(Exception):
    """What came of an item is not what is promised."""


@dataclass
class Item:
    """One item of a part. counts: injections and what came of each, as they happen, so that a failure has them, too."""

    part: str
    seed: int
    kind: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)

    def add(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def finish(processes: Sequence[Forked], seconds: float = 180) -> str:
    """What the processes printed, once all have ended; a failure if one hangs, or shows a traceback."""
    try:
        for process in processes:
            process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"hangs: {_end(str(error.output))}") from error
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill_group()
    text = "".join({process.output + process.errors: None for process in processes})
    if "Traceback (most recent call last)" in text:
        raise Failure(f"traceback: {_end(text)}")
    return text


def _end(text: str) -> str:
    return " ".join(text.split())[-1500:]


def weights(folder: Path) -> dict[str, str]:
    """The networks that were handed over in a folder: a hash of each file."""
    files = sorted(path for path in folder.rglob("*.safetensors") if path.parent.name != "checkpoints")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
