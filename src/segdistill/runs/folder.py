"""The run folder: what a run was asked for, where it ran, how it went, and what it made."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from segdistill.core.errors import CheckpointError, TrainingError
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import clear_aside, write_json, write_yaml
from segdistill.evaluation.metrics import Scores
from segdistill.models.files import read_description, read_weights
from segdistill.runs.changed_keys import changed_keys
from segdistill.runs.checkpoint import Progress, newest_state, restore
from segdistill.runtime.environment import describe_environment
from segdistill.runtime.processes import is_main, wait_for_all

Resume = bool | Literal["auto"]
"""Whether a folder's run goes on: True demands nothing of the folder, "auto" goes on with a run and begins without."""

_LOCK = ".lock"
_TENSORBOARD = "tensorboard"


class RunFolder:
    """Paths of a run and the rule that a folder holds one run.

    recipe.yaml, environment.json, metrics.jsonl, tensorboard/, checkpoints/{last.pt, previous.pt,
    best.safetensors}, teacher_logits/ where they are cached, <role>.safetensors + <role>.yaml when it is finished,
    study.json when a distillation is measured.

    Args:
        path: of the folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.last = path / "checkpoints" / "last.pt"
        self.previous = path / "checkpoints" / "previous.pt"
        self.best = path / "checkpoints" / "best.safetensors"
        self.teacher_logits = path / "teacher_logits"

    def states(self) -> list[Path]:
        """The files of states that there are, the newest first."""
        return [path for path in (self.last, self.previous) if path.exists()]

    def finished(self, role: str) -> bool:
        """Whether the trained network is there and whole. Its description is written last.

        Args:
            role: of the network, "student" or "teacher".

        Returns:
            False also for files that are cut short.
        """
        weights = self.path / f"{role}.safetensors"
        if not weights.is_file() or not (self.path / f"{role}.yaml").is_file():
            return False
        try:
            read_weights(weights)
            read_description(weights)
        except CheckpointError:
            return False
        return True

    def validated(self, trained: Mapping[str, Any]) -> Scores | None:
        """The scores of the weights that the run handed over, to four digits, as it validated them itself.

        Args:
            trained: The record of the training in their description.

        Returns:
            None if the journal has no validation of these very weights: `refit_images` has changed them after the last.
        """
        step = trained.get("best_step") if trained.get("keep") == "best" else trained.get("steps")
        if trained.get("refit"):
            return None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for line in reversed(self.metrics.read_text(encoding="utf-8").splitlines()):
                if '"validation"' in line and (entry := json.loads(line))["step"] == step:
                    return Scores.read(entry)
        return None

    def restore(self, holders: Mapping[str, Any]) -> tuple[Progress, str]:
        """Go on from the newest state that verifies.

        A newer one that does not verify gets another name, or it would be kept as the one before the next.

        Args:
            holders: modules and optimisers to fill, by the names they were saved under.

        Returns:
            The progress, that of a new run if there is no state; and what to tell people about it, or "".

        Raises:
            NoStateError: there are states, and none verifies.
            TrainingError: it is the state of another network, method or version, or it can't be read now.
        """
        state = newest_state((self.last, self.previous))
        if state is None:
            begun = self.metrics.exists()
            return Progress(), "no state was saved before it stopped; it starts again at step 0" if begun else ""
        restore(holders, state)
        text = f"goes on after step {state.progress.step}, from {state.path}"
        wait_for_all()
        if state.passed_over:
            text += f". The newer state was passed over, and is now {self.last.name}.damaged: {state.passed_over}"
            if is_main():
                self.last.replace(self.last.with_name(f"{self.last.name}.damaged"))
        return state.progress, text

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While entered, no other process trains in the folder. Where the file system knows no locks nothing is held.

        Yields:
            None.

        Raises:
            TrainingError: another process trains in it.
        """
        lock_file = self.path / _LOCK
        lock = FileLock(lock_file, timeout=0, is_singleton=True)
        if is_main():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire()
                if self.recipe.exists():  # or it is not ours
                    clear_aside(self.path, self.last.parent)
            except Timeout as error:
                raise TrainingError(
                    f"Another process is training in {self.path}. Wait until it ends, or stop it; or choose another "
                    "out=FOLDER."
                ) from error
            except (OSError, NotImplementedError):
                pass  # what must be written raises the error
        try:
            yield
        finally:
            lock.release()
            if not self.recipe.exists():  # refused: the folder is somebody else's
                with contextlib.suppress(NotADirectoryError):  # a file lies where the folder should
                    lock_file.unlink(missing_ok=True)

    def holds(self, recipe: dict[str, Any], may_change: Collection[str] = ()) -> bool:
        """Whether it holds a run of a recipe.

        Args:
            recipe: as plain values.
            may_change: the dotted keys that may differ.
        """
        return self.recipe.is_file() and not changed_keys(self._recorded(), recipe, may_change)

    def open(self, recipe: dict[str, Any], *, resume: Resume, may_change: Collection[str] = ()) -> None:
        """Claim the folder for a run.

        Args:
            recipe: of the run, as plain values.
            resume: whether the folder may hold a run of this recipe, which goes on; "auto" lets it be empty as well.
            may_change: the dotted keys that may differ then.

        Raises:
            TrainingError: it holds a run that is not to go on, a run of another recipe, or other files.
            SegdistillError: it can't be written.
        """
        if is_main():
            goes_on = self.recipe.exists() if resume == "auto" else resume
            self._claim(recipe, resume=goes_on, may_change=may_change)
            if not self.environment.exists():  # a run that was killed in between has none
                write_json(self.environment, describe_environment())
        wait_for_all()

    def note(self, key: str, value: Any) -> None:
        """Add to environment.json what was found out about the machine.

        Args:
            key: of the entry; an older one is replaced.
            value: plain values.

        Raises:
            SegdistillError: the file can't be written.
        """
        if is_main():
            recorded: dict[str, Any] = {}
            with contextlib.suppress(OSError, ValueError):
                recorded = json.loads(self.environment.read_text(encoding="utf-8"))
            write_json(self.environment, {**recorded, key: value})

    def noted(self, key: str) -> Any:
        """What `note` added to environment.json.

        Args:
            key: of the entry.

        Returns:
            Plain values; None if there is no such entry, or no file that can be read.
        """
        try:
            return json.loads(self.environment.read_text(encoding="utf-8"))[key]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _recorded(self) -> dict[str, Any]:
        try:
            recorded: dict[str, Any] = read_yaml(self.recipe)
            return {**recorded}
        except (OSError, yaml.YAMLError, TypeError) as error:
            raise TrainingError(
                f"Can't read {self.recipe}, the recipe of the run: {error}. If you are sure that the run had this very "
                "recipe, delete that file and go on with --resume; else choose another out=FOLDER."
            ) from error

    def _made_no_step(self) -> bool:
        """Whether a run was refused before its first step was noted, as over a mask it can't read: nothing is lost."""
        return self.recipe.exists() and self.environment.exists() and not any(map(self._is_kept, self.path.rglob("*")))

    def _is_kept(self, path: Path) -> bool:
        """Whether a file in the folder, or in that of a run inside, is more than what a run begins with."""
        if path.is_dir() and not path.is_symlink():
            return False
        if path.name == self.metrics.name:
            return path.stat().st_size > 0
        begun = {self.recipe.name, self.environment.name, _LOCK}
        return path.name not in begun and _TENSORBOARD not in path.relative_to(self.path).parts[:-1]

    def _claim(self, recipe: dict[str, Any], *, resume: bool, may_change: Collection[str]) -> None:
        if self._made_no_step():
            self.environment.unlink()
            shutil.rmtree(self.path / _TENSORBOARD, ignore_errors=True)
            write_yaml(self.recipe, recipe)
            return
        if not self.recipe.exists():
            if self.path.is_dir() and {path.name for path in self.path.iterdir()} - {_LOCK} and not resume:
                raise TrainingError(f"{self.path} exists, is not empty and holds no run. Choose another out=FOLDER.")
            write_yaml(self.recipe, recipe)
            return
        if not resume:
            raise TrainingError(
                f"{self.path} already holds a run. Continue it with --resume, or choose another out=FOLDER."
            )
        changed = changed_keys(self._recorded(), recipe, may_change)
        if changed:
            raise TrainingError(
                f"{self.path} holds a run of another recipe, by its {self.recipe.name}; it can't be continued with "
                "this one:\n  " + "\n  ".join(changed) + "\nUse the same keys, or choose another out=FOLDER."
            )


def run_of(file: Path) -> RunFolder:
    """The run that a file belongs to.

    Args:
        file: a weight file, or an exported one in a folder below that of its run.

    Returns:
        The folder above the file's own if only that one holds a recipe, else the file's own.
    """
    above = RunFolder(file.parent.parent)
    return above if above.recipe.is_file() and not RunFolder(file.parent).recipe.is_file() else RunFolder(file.parent)
