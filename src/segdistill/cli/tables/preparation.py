"""What `prepare` did and found, for people."""

from __future__ import annotations

import json
import shlex

from rich.table import Table

from segdistill.commands.prepare import Prepared


def preparation_table(done: Prepared) -> Table:
    """What there is of a data set.

    Args:
        done: What `prepare` found.

    Returns:
        A row for each split: images found, of how many.
    """
    table = Table(title=f"{done.dataset} in {done.root}", title_justify="left")
    table.add_column("split")
    table.add_column("images", justify="right")
    table.add_column("official", justify="right")
    table.add_column("state")
    for name, split in done.splits.items():
        expected = "" if split.expected is None else str(split.expected)
        table.add_row(name, str(split.images), expected, "not ready" if split.problem else "ready")
    return table


def preparation_notes(done: Prepared) -> list[str]:
    """What was unpacked and converted, what is wrong, where to get it, and how to go on.

    Args:
        done: What `prepare` did and found.

    Returns:
        A line for each.
    """
    notes = [
        f"Unpacked {name}: {part.written} of {part.files} files ({part.megabytes:.0f} MB), the rest was there."
        for name, part in done.unpacked.items()
    ]
    notes += [f"Made {count} {what}." for what, count in done.converted.items() if count]
    problems: dict[str, list[str]] = {}
    for name, split in done.splits.items():
        problems.setdefault(split.problem, []).append(name)
    notes += [f"{', '.join(names)}: {problem}" for problem, names in problems.items() if problem]
    if not done.ready:
        return [*notes, f"Where to get it: {done.source}"]
    settings = "".join(f" {shlex.quote(f'data.{key}={json.dumps(value)}')}" for key, value in done.settings.items())
    return [*notes, f"Use it: segdistill train {done.dataset} data.root={done.root}{settings} ..."]
