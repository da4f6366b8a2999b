"""The table of `segdistill profile --step`."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.training.step_profile import StepProfile


def step_table(profile: StepProfile) -> Table:
    """A row for each part of a training step.

    Args:
        profile: What was measured.

    Returns:
        Milliseconds and percent.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, heading in enumerate(("part of a step", "ms", "%")):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in profile.records():
        table.add_row(row["part"], f"{row['ms']:.1f}", f"{row['percent']:.1f}")
    table.add_section()
    table.add_row("whole", f"{profile.step:.1f}", "100", style="bold")
    return table


def step_lines(profile: StepProfile) -> str:
    """What the networks compute in, and what would make the step shorter.

    Args:
        profile: What was measured.

    Returns:
        A line for each.
    """
    advice = profile.advice or ("nothing that a key of the recipe would change takes 5 % of the step",)
    return "\n".join((f"Computes in: {profile.precision}.", "What would help:", *(f"  {line}" for line in advice)))
