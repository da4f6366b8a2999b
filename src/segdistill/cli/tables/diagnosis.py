"""What the doctor found, for people: short tables, then the findings, the problems last."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.findings import Finding, shortened
from segdistill.data.values import UNKNOWN, ranges
from segdistill.diagnosis.diagnose import Diagnosis
from segdistill.diagnosis.evidence import Count, Evidence

_ROWS = 30  # of the class table
_FILES = 3  # named beside a finding
_LISTED = 20  # findings of files that can't be read, in each split


def diagnosis_tables(done: Diagnosis) -> Iterator[Table]:
    """The tables of what a run would see.

    Args:
        done: What the doctor found.

    Yields:
        Splits and classes, if the data can be read, and runs, if some were tried.
    """
    if done.splits:
        yield _split_table(done)
        yield _class_table(list(done.splits.values()))
    if done.runs:
        yield _run_table(done)


def diagnosis_notes(done: Diagnosis) -> Iterator[str]:
    """What the tables mean, and the findings, worst last, each with its remedy.

    Args:
        done: What the doctor found.

    Yields:
        A line for each.
    """
    for split in done.splits.values():
        if not split.complete:
            yield f"{split.split}: looked at {split.looked_at} of {split.images} images; images=all for the rest."
        if split.kinds:
            yield f"{split.split}: {', '.join(f'{count} x {kind}' for kind, count in split.kinds.items())}."
    if done.runs:
        yield (
            "Memory, time and disk: extrapolated from a few steps on this machine with the images a step named above "
            "to the recipe's batch; without validation."
        )
    machine = done.machine
    memory = "" if machine.memory is None else f", {machine.memory / 1e9:.1f} GB of memory free"
    cuda = "" if machine.device_memory is None else f", {machine.device_memory / 1e9:.1f} GB free on it"
    yield (
        f"Machine: {machine.name}, {machine.cpus} CPUs, {machine.threads} threads{memory}; device {machine.device}"
        f"{cuda}; {machine.disk / 1e9:.1f} GB of disk free in {machine.folder}."
    )
    unread: dict[str, int] = {}
    for finding in reversed(done.findings):
        if finding.level == "problem" and not finding.advice:
            unread[finding.where] = unread.get(finding.where, 0) + 1
            if unread[finding.where] > _LISTED:
                continue
        yield _line(finding)
    for where, number in unread.items():
        if number > _LISTED:
            yield f"PROBLEM {where}: {number - _LISTED} more such files; --json lists all."
    stopped = "Stopped by Ctrl-C: this is what was found so far. " if done.interrupted else ""
    count = len(done.problems)
    yield f"{stopped}{f'{count} problem(s) would spoil a run.' if count else 'No problem found.'}"


def _line(finding: Finding) -> str:
    files = f" [{shortened(list(finding.files), _FILES)}]" if len(finding.files) > 1 else ""
    if len(finding.files) == 1 and finding.files[0] not in finding.text:
        files = f" [{finding.files[0]}]"
    advice = f"\n    -> {finding.advice}" if finding.advice else ""
    level = "PROBLEM" if finding.level == "problem" else finding.level
    return f"{level} {finding.where}: {finding.text}{files}{advice}"


def _split_table(done: Diagnosis) -> Table:
    table = Table(title=f"{done.dataset}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("split", "images", "read", "sizes (HxW)", "ms an image", "void %", "raw values of the masks"):
        table.add_column(name, justify="left" if name in ("split", "raw values of the masks") else "right")
    for split in done.splits.values():
        table.add_row(
            split.split,
            str(split.images),
            str(split.looked_at),
            _size_range(split),
            "" if split.milliseconds is None else f"{split.milliseconds:.1f}",
            f"{100 * split.share(IGNORE_INDEX):.2f}",
            split.meaning.listed([*split.values]) if split.meaning.colors else ranges(split.values),
        )
    return table


def _size_range(split: Evidence) -> str:
    if not split.sizes:
        return "-"
    heights, widths = zip(*split.sizes, strict=True)
    if len(split.sizes) == 1:
        return f"{heights[0]}x{widths[0]}"
    return f"{min(heights)}..{max(heights)} x {min(widths)}..{max(widths)}"


def _class_table(splits: list[Evidence]) -> Table:
    """The classes with the raw values that were seen of each; with many classes only the most frequent."""
    table = Table(title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("class")
    table.add_column("raw")
    for split in splits:
        table.add_column(f"{split.split} % of pixels", justify="right")
        table.add_column("in masks", justify="right")
    names = splits[0].classes.names
    seen = [index for index in range(len(names)) if any(index in split.labels for split in splits)]
    shown = seen
    if len(seen) > _ROWS:
        shown = sorted(seen, key=lambda index: -max(split.share(index) for split in splits))[:_ROWS]
        table.title = f"the {_ROWS} most frequent of {len(seen)} classes that occur; --json has all"
    for label in shown:
        table.add_row(f"{label} {names[label]}", *_cells(label, splits))
    table.add_section()
    for label, name in ((IGNORE_INDEX, "void"), (UNKNOWN, "without a meaning")):
        if any(label in split.labels for split in splits):
            table.add_row(name, *_cells(label, splits))
    if len(seen) < len(names):
        table.caption = f"{len(names) - len(seen)} of {len(names)} classes were not seen."
        table.caption_justify = "left"
    return table


def _cells(label: int, splits: list[Evidence]) -> Iterator[str]:
    values = sorted({value for split in splits for value, meaning in split.of_value.items() if meaning == label})
    yield splits[0].meaning.listed(values) if splits[0].meaning.colors else ranges(values)
    for split in splits:
        yield f"{100 * split.share(label):.3f}"
        yield str(split.labels.get(label, Count()).images)


def _run_table(done: Diagnosis) -> Table:
    table = Table(title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("run", "steps", "batch", "tried with", "s a step", "loading s", "hours", "GB memory", "GB disk"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for run in done.runs:
        table.add_row(
            run.what,
            str(run.steps),
            str(run.batch_size),
            f"{run.images} images",
            f"{run.compute_seconds:.2f}",
            f"{run.loading_seconds:.2f}",
            f"{run.hours:.2f}",
            f"{run.memory / 1e9:.2f}",
            f"{run.disk / 1e9:.3f}",
        )
    return table
