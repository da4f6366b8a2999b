"""Experiment trackers beside the run folder: TensorBoard, Weights & Biases, MLflow and others, through accelerate."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from PIL import Image

from segdistill.core.colors import Pixels
from segdistill.core.safe_yaml import read_yaml
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main

_PROJECT = "segdistill"
"""What the project, or MLflow's experiment, is called; a tracker's own variables, as WANDB_PROJECT, don't change it."""


class Trackers:
    """The trackers that a recipe names. One that fails says so once and gets nothing more; the run goes on.

    A tracker that writes files of its own writes them into a folder of its name in the run folder. A resumed run goes
    on in the trackers' own runs. Of several processes only the main one has trackers.

    Args:
        names: Of trackers that accelerate knows, as "tensorboard", "wandb", "mlflow", "trackio".
        folder: Of the run; its recipe is what a tracker shows as the configuration.
        step: Optimizer steps that are done.
    """

    def __init__(self, names: Sequence[str], folder: RunFolder, step: int) -> None:
        self._folder, self._step = folder, step
        self._trackers: dict[str, GeneralTracker] = {}
        for name in names if is_main() else ():
            self._guarded(name, lambda name=name: self._start(name))  # type: ignore[misc]

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers.

        Args:
            values: By name.
            step: Optimizer steps done.
        """
        if values:
            self._each(lambda tracker: tracker.log(dict(values), step=step))

    def log_pictures(self, pictures: Mapping[str, Pixels], step: int) -> None:
        """Add pictures, to the trackers that take them as pictures or as files.

        Args:
            pictures: RGB uint8 (H,W,3), by name.
            step: Optimizer steps done.
        """
        self._each(lambda tracker: _log_pictures(tracker, pictures, step))

    def log_table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], file: Path) -> None:
        """Add the table of a study.

        Args:
            headings: Of the columns.
            rows: Cells as text.
            file: The same as Markdown, for trackers that know no tables.
        """
        step = self._step + 1  # wandb takes nothing for a step that an earlier process of the run has left behind
        self._each(lambda tracker: _log_table(tracker, headings, rows, file, step))

    def close(self) -> None:
        """End the trackers' runs."""
        self._each(lambda tracker: tracker.finish())
        self._trackers.clear()

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, name: str) -> None:
        """Start a tracker, in the run of its own that it had before the run was resumed."""
        _silence_the_writer()
        started = _started(self._folder)
        options = _options(name, self._folder, started.get(name), self._step)
        cls: Any = LOGGER_TYPE_TO_CLASS[name]
        place = (name, str(self._folder.path)) if cls.requires_logging_directory else (_PROJECT,)
        tracker = self._trackers[name] = cls(*place, **options)
        tracker.start()
        if name not in started:
            tracker.store_init_configuration(_configuration(self._folder))
            own_id = options.get("id") or getattr(getattr(tracker.tracker, "info", None), "run_id", None)
            self._folder.note("trackers", {**started, name: own_id})

    def _each(self, act: Callable[[Any], object]) -> None:
        for name, tracker in [*self._trackers.items()]:
            self._guarded(name, functools.partial(act, tracker))

    def _guarded(self, name: str, act: Callable[[], object]) -> None:
        """Do something with a tracker, and leave the tracker out from now on if it fails, in whatever way."""
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output holds results only
                act()
        except (Exception, SystemExit) as error:
            failed = self._trackers.pop(name, None)
            if failed is not None:
                with contextlib.suppress(Exception, SystemExit):  # or the next run of this process could start none
                    failed.finish()
            _warn_once(name, f"{type(error).__name__}: {error}".rstrip(": "), isinstance(error, ImportError))


def _options(name: str, folder: RunFolder, own_id: str | None, step: int) -> dict[str, Any]:
    """What a tracker is started with, so that it shows the run's name and goes on where the run does."""
    above = RunFolder(folder.path.parent)
    title = f"{above.path.name}/{folder.path.name}" if above.recipe.is_file() else folder.path.name
    wandb_folder = os.environ.get("WANDB_DIR", str(folder.path))
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"purge_step": step + 1},
        "wandb": {"name": title, "id": own_id or secrets.token_hex(4), "resume": "allow", "dir": wandb_folder},
        "mlflow": {"run_name": title, "run_id": own_id},
        "trackio": {"name": title, "resume": "allow"},
    }
    return options.get(name, {})


def _started(folder: RunFolder) -> dict[str, str | None]:
    """The trackers that this run was started in -> the tracker's own id of the run, if it has one."""
    started = folder.noted("trackers")
    return {**started} if isinstance(started, dict) else {}


def _configuration(folder: RunFolder) -> dict[str, str | int | float | bool]:
    """The run's recipe as dotted keys, which every tracker can show."""
    return dict(_flat(read_yaml(folder.recipe), "")) if folder.recipe.is_file() else {}


def _flat(value: Any, path: str) -> list[tuple[str, str | int | float | bool]]:
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{path}.{key}" if path else str(key))]
    return [(path, value if isinstance(value, str | int | float) else json.dumps(value, default=str))]


def _log_pictures(tracker: Any, pictures: Mapping[str, Pixels], step: int) -> None:
    for name, pixels in pictures.items():
        if hasattr(tracker, "log_images"):
            order = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: np.stack([pixels])}, step=step, **order)
        elif hasattr(tracker, "log_artifact"):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"step_{step:07d}.png"
                Image.fromarray(pixels).save(file)
                tracker.log_artifact(str(file), name)


def _log_table(tracker: Any, headings: Sequence[str], rows: Sequence[Sequence[str]], file: Path, step: int) -> None:
    if hasattr(tracker, "log_table"):
        tracker.log_table("table", columns=[*headings], data=[[*row] for row in rows], step=step)
    elif hasattr(tracker, "log_artifact"):
        tracker.log_artifact(str(file))
    else:
        tracker.log({"table": file.read_text(encoding="utf-8")}, step=step)


@functools.cache
def _warn_once(name: str, message: str, is_missing: bool) -> None:
    """Not again for the other runs of a distillation or comparison in this process."""
    advice = " Is it installed? pip install 'segdistill[trackers]'" if is_missing else ""
    console.print(
        f"log: {name} failed and is left out, and the run goes on; metrics.jsonl has all numbers. {message}.{advice}",
        soft_wrap=True,
        markup=False,
    )


def _silence_the_writer() -> None:
    """TensorBoard's thread hands an OSError over, and would print it, too: even after all is closed."""
    if getattr(threading.excepthook, "silent", False):
        return
    report = threading.excepthook

    def report_others(raised: threading.ExceptHookArgs) -> None:
        thread = type(raised.thread).__module__.partition(".")[0]
        if not issubclass(raised.exc_type, OSError) or thread != "tensorboard":
            report(raised)

    report_others.silent = True  # type: ignore[attr-defined]
    threading.excepthook = report_others
