"""Training curves of one or more runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from segdistill.core.errors import DataError
from segdistill.core.storage import write_aside
from segdistill.runs.folder import RunFolder

_NO_TERMS = ("kind", "step", "seconds")


def journal(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; of a run that was killed the last one may be half, and is left out.

    Args:
        run: The run folder.

    Returns:
        An entry each, with its "kind" and "step".

    Raises:
        DataError: There is no such file, or a line of it is damaged.
    """
    file = RunFolder(run).metrics
    if not file.is_file():
        raise DataError(f"No {file}: {run} is not a run folder, or its training has not logged a step yet.")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not (isinstance(entry["kind"], str) and isinstance(entry["step"], int)):
                raise TypeError("its kind is not a word, or its step is not a number")
            if entry["kind"] == "validation" and entry["miou"] is not None:  # there may be no label
                float(entry["miou"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if number < len(lines):
                raise DataError(f"Line {number} of {file} is damaged: {error!r}. Delete that line.") from error
            continue
        entries.append(entry)
    return entries


def save_curves(path: Path, runs: Mapping[str, Path]) -> None:
    """Draw validation mIoU and every logged term over the steps, a panel each.

    Args:
        path: The .png file.
        runs: Run folders by name.

    Raises:
        DataError: A run has no log, or a damaged one.
    """
    lines = {name: journal(run) for name, run in runs.items()}
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {"validation mIoU %": {}}
    for name, written in lines.items():
        scores = [line for line in written if line["kind"] == "validation" and line["miou"] is not None]
        panels["validation mIoU %"][name] = [line["step"] for line in scores], [line["miou"] for line in scores]
        steps = [line for line in written if line["kind"] == "train"]
        for term in dict.fromkeys(key for line in steps for key in line if key not in _NO_TERMS):
            logged = [line for line in steps if term in line]
            panels.setdefault(term, {})[name] = [line["step"] for line in logged], [line[term] for line in logged]
    _draw(path, panels, list(runs))


def _draw(path: Path, panels: Mapping[str, Mapping[str, tuple[list[int], list[float]]]], names: Sequence[str]) -> None:
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows + 0.4), dpi=130, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        for name, (steps, values) in curves.items():
            dots = "o" if len(steps) < 12 else ""
            axis.plot(
                steps, values, marker=dots, markersize=3, linewidth=1.2, color=f"C{names.index(name)}", label=name
            )
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(visible=True, linewidth=0.3)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(names), fontsize=8, frameon=False)
    write_aside(path, lambda aside: figure.savefig(aside, format="png"))
