"""The table of `segdistill profile`."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.evaluation.cost.macs import EXPLAINED
from segdistill.evaluation.cost.profile import Profile


def cost_table(profile: Profile) -> Table:
    """A row for each stage that costs anything, and one for the whole network.

    Args:
        profile: What was measured.

    Returns:
        Million parameters, billion multiply-adds, live megabytes and milliseconds.
    """
    height, width = profile.size
    table = Table(
        title=f"{profile.network}: {profile.num_classes} classes, {height}x{width} (HxW)",
        title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for index, heading in enumerate(("stage", "Mpar", "GFLOPs", "live MB", "ms")):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for stage in profile.stages:
        if stage.parameters or stage.macs or stage.milliseconds is not None:
            table.add_row(
                stage.name,
                *_cells(stage.parameters, stage.macs, stage.activation_bytes, stage.milliseconds),
            )
    table.add_section()
    table.add_row(
        "whole",
        *_cells(profile.parameters, profile.macs, profile.activation_bytes, profile.milliseconds),
        style="bold",
    )
    return table


def _cells(parameters: int, macs: int, activation_bytes: int, milliseconds: float | None) -> list[str]:
    return [
        f"{parameters / 1e6:.2f}",
        f"{macs / 1e9:.2f}",
        f"{activation_bytes / 1e6:.1f}",
        "-" if milliseconds is None else f"{milliseconds:.1f}",
    ]


def cost_notes(profile: Profile) -> str:
    """What was counted and how.

    Args:
        profile: What was measured.

    Returns:
        A line for each topic.
    """
    kinds = ", ".join(f"{kind} {macs / 1e9:.4f}" for kind, macs in profile.macs_by_kind.items() if macs)
    notes = [
        f"Parameters {profile.parameters / 1e6:.2f} M, {profile.parameters_without_auxiliary / 1e6:.2f} M without the "
        "auxiliary head.",
        f"GFLOPs, convention '{profile.convention}': {EXPLAINED[profile.convention]}. By kind: {kinds}.",
        "Live MB (10^6 bytes): activations alive at once, inference, batch 1, float32, weights not included.",
    ]
    if profile.training_bytes is not None:
        notes.append(f"Training keeps {profile.training_bytes / 1e6:.1f} MB of activations an image for backward.")
    if profile.cuda_bytes is not None:
        notes.append(f"CUDA held {profile.cuda_bytes / 1e6:.1f} MB above the weights (batch {profile.batch}).")
    if profile.milliseconds is not None:
        environment = profile.environment
        notes.append(
            f"ms: median of {profile.runs} warm runs, batch {profile.batch}, uint8 image to classes; stages are timed "
            f"apart from the whole. {environment['machine']}, {environment['threads']} threads, "
            f"{profile.device}; torch {environment['packages']['torch']}."
        )
    return "\n".join(notes)
