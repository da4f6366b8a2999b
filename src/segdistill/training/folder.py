"""The run folder: what a run was told, where it ran, how it went, and what it made."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout
from torch.utils.tensorboard import SummaryWriter

from segdistill.errors import TrainingError
from segdistill.storage import write_json, write_text, write_yaml
from segdistill.training.processes import is_main, wait_for_all

_LOCK = ".lock"
_HARMLESS = ("run", "workers", "log_every", "validate_every", "checkpoint_every")
"""Recipe keys that may change when a run is continued: they do not touch the weights."""

_ANSWERS = ("on_nonfinite", "nonfinite_limit", "on_unreadable", "unreadable_limit")
"""Recipe keys that say what a run does where it would have stopped: changed, it goes on from there."""


class RunFolder:
    """Paths of a run and the rule that a folder holds one run.

    recipe.yaml, environment.json, metrics.jsonl, tensorboard/, checkpoints/{last.pt, best.safetensors},
    <role>.safetensors + <role>.yaml when it is finished, result.json when it is measured.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.last = path / "checkpoints" / "last.pt"
        self.best = path / "checkpoints" / "best.safetensors"

    def finished(self, role: str) -> bool:
        return (self.path / f"{role}.safetensors").is_file() and (self.path / f"{role}.yaml").is_file()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While entered, no other process trains in the folder; refused at once if one does.

        Where the file system knows no locks the run goes on without.
        """
        lock_file = self.path / _LOCK
        lock = FileLock(lock_file, timeout=0, is_singleton=True)
        if is_main():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            except Timeout as error:
                raise TrainingError(
                    f"Another process is training in {self.path}. Wait until it ends, or stop it; or choose another "
                    "run=FOLDER."
                ) from error
            except (OSError, NotImplementedError):
                pass  # what can't be written is told by what must be
        try:
            yield
        finally:
            lock.release()
            if not self.recipe.exists():  # refused: the folder is somebody else's
                lock_file.unlink(missing_ok=True)

    def open(self, recipe: dict[str, Any], *, resume: bool) -> None:
        """Claim the folder for `recipe`: a new one, or with `resume` the one that holds this very recipe."""
        if is_main():
            self._claim(recipe, resume=resume)
        wait_for_all()

    def _claim(self, recipe: dict[str, Any], *, resume: bool) -> None:
        if not self.recipe.exists():
            if self.path.is_dir() and {path.name for path in self.path.iterdir()} - {_LOCK} and not resume:
                raise TrainingError(f"{self.path} exists, is not empty and holds no run. Choose another run=FOLDER.")
            write_yaml(self.recipe, recipe)
            write_json(self.environment, describe_environment())
            return
        if not resume:
            raise TrainingError(
                f"{self.path} already holds a run. Continue it with --resume, or choose another run=FOLDER."
            )
        changed = changed_keys(yaml.safe_load(self.recipe.read_text(encoding="utf-8")), recipe)
        if changed:
            raise TrainingError(
                f"{self.path} holds a run of another recipe; it can't be continued with this one:\n  "
                + "\n  ".join(changed)
                + "\nUse the same keys, or choose another run=FOLDER."
            )


def changed_keys(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for each recipe key that touches the weights and differs."""
    earlier, now = (_without_check(recipe) for recipe in (earlier, now))
    return [
        f"{key}: {earlier.get(key)!r} then, {now.get(key)!r} now"
        for key in sorted({*earlier, *now})
        if key not in _HARMLESS + _ANSWERS and earlier.get(key) != now.get(key)
    ]


def _without_check(recipe: dict[str, Any]) -> dict[str, Any]:
    teacher = recipe.get("teacher")
    if not isinstance(teacher, dict):
        return recipe
    return {**recipe, "teacher": {key: value for key, value in teacher.items() if key != "check"}}


class Journal:
    """metrics.jsonl and TensorBoard curves; entries after the step that a run resumes from are dropped."""

    def __init__(self, folder: RunFolder, step: int) -> None:
        folder.path.mkdir(parents=True, exist_ok=True)
        if folder.metrics.exists():
            write_text(folder.metrics, "".join(_lines_up_to(folder.metrics, step)))
        self._file = folder.metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=step + 1)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """One line of JSON; single numbers become TensorBoard curves `<kind>/<name>`."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()


def _lines_up_to(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:  # the last line of a process that was killed while writing
            continue
    return kept


def describe_environment() -> dict[str, Any]:
    """Machine, versions, commit, time and command: what a number needs beside it to be believed."""
    return {
        "machine": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("segdistill", "torch", "torchvision", "timm", "accelerate")},
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the source tree this runs from, with a + if it has uncommitted changes; None if installed."""
    here = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None
