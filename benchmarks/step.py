"""What a training step costs beside its networks, in real runs.

    python benchmarks/step.py RECIPE WORDS.. [--measure methods switches loading memory] [--methods kd cwd ..]

The recipe's words name data, pair and a trained teacher, such as `camvid mobile_pair data.root=.. teacher.weights=..`.
Each row is a run of its own in a process of its own. What is measured replaces the same part of results/step.json; the
other parts stay.

methods: the parts of a step for every method. Overhead is all that is not the student's forward and backward pass or
the teacher's forward pass, as a share of these. switches: a run of `kd` as it is and with one thing changed, in turn.
loading: how many steps one worker loads while one is made. memory: resident memory along a run of 2,000 small steps and
of --long real ones.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from step_run import SWITCHES

from segdistill.core.storage import write_json, write_text
from segdistill.methods.base import method_names
from segdistill.runtime.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
NETWORKS = ("student forward", "student backward", "teacher forward")
LOSSES = ("task loss", "method loss")
OTHERS = ("optimiser", "data", "rest")
TINY = (
    "streets", "data.size=[32,48]", "data.count=24", "augment.crop=[32,48]", "teacher.weights=null",
    "student={backbone: test_resnet, head: fcn, channels: 8}",
    "teacher.network={backbone: test_resnet, head: fcn, channels: 8}", "batch_size=4",
    "validate_every=500", "checkpoint_every=500",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+")
    parts = {"methods": methods, "switches": switches, "loading": loading, "memory": memory}
    parser.add_argument("--measure", nargs="+", default=list(parts), choices=parts)
    parser.add_argument("--methods", nargs="+", default=["none", *method_names()])
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, default=400, help="steps of the recipe's run whose memory is followed")
    options = parser.parse_intermixed_args()
    file = RESULTS / "step.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in options.measure:
        environment = {**describe_environment(), "command": ["benchmarks/step.py", "--measure", name]}
        rows: list[dict[str, Any]] = []
        results[name] = {"rows": rows, "steps": options.steps, "rounds": options.rounds, "environment": environment}
        for row in parts[name](options):  # written one by one: all of them take long
            rows.append(row)
            write_json(file, results)
            write_text(RESULTS / "step.md", page(results))
    print(page(results))


def child(words: list[str], *, method: str, steps: int, switch: str = "", kind: str = "step") -> Any:
    """What `step_run.py` prints, as a process of its own."""
    command = [
        sys.executable, str(Path(__file__).parent / "step_run.py"), kind, *words, "--method", method,
        "--steps", str(steps), "--switch", switch,
    ]  # fmt: skip
    print(f"{kind} {method} {switch}", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def methods(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in options.methods:
        yield {"method": name, **child(options.words, method=name, steps=options.steps)}


def switches(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each switch beside the run as it is, round by round."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in ("", *SWITCHES)}
    for _ in range(options.rounds):
        for name, runs in taken.items():
            runs.append(child(options.words, method="kd", steps=options.steps, switch=name))
    for name, runs in taken.items():
        row: dict[str, Any] = {"switch": name or "as it is"}
        for clock in ("wall", "processor"):
            totals = [sum(run[clock].values()) for run in runs]
            base = [sum(run[clock].values()) for run in taken[""]]
            row[clock] = statistics.median(totals)
            row[f"{clock}_ratio"] = statistics.median(total / plain for total, plain in zip(totals, base, strict=True))
        yield row
    yield {"switch": "compile=auto", **child(options.words, method="kd", steps=1, kind="compile")}


def loading(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    yield child(options.words, method="kd", steps=options.steps, kind="loading")


def memory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    yield {"run": "2,000 small steps", **child(list(TINY), method="kd", steps=2000, kind="memory")}
    real = child(options.words, method="kd", steps=options.long, kind="memory")
    yield {"run": f"{options.long} steps of the recipe", **real}


def page(results: dict[str, Any]) -> str:
    lines = ["# What a training step costs", ""]
    tables = {"methods": _methods, "switches": _switches, "loading": _loading, "memory": _memory}
    for name, table in tables.items():
        if name in results:
            env = results[name]["environment"]
            lines += [
                *table(results[name]), "",
                f"{env['machine']}, {env['threads']} threads, torch {env['packages']['torch']}, commit "
                f"{env['commit']}, {env['started']}.", "",
            ]  # fmt: skip
    return "\n".join(lines)


def overheads(row: dict[str, Any], clock: str) -> tuple[float, float]:
    """Percent of the networks' time: everything else, and everything else but the losses."""
    networks, losses, others = (sum(row[clock][part] for part in parts) for parts in (NETWORKS, LOSSES, OTHERS))
    return 100 * (losses + others) / networks, 100 * others / networks


def _methods(part: dict[str, Any]) -> list[str]:
    lines = [
        "## By method", "",
        f"`camvid mobile_pair`, one loader worker; medians of the steps 4 to {part['steps']} of a run. Milliseconds of "
        "the run's own processor time; overhead: everything but the student's forward and backward pass and the "
        "teacher's forward pass, in percent of these, with and without the losses; in brackets by the wall clock, "
        "which counts whatever else the machine does.", "",
        "| method | student | teacher | task loss | its loss | optimiser | data | rest | overhead | without losses |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in part["rows"]:
        ms = {key: 1e3 * value for key, value in row["processor"].items()}
        (whole, bare), (wall, wall_bare) = overheads(row, "processor"), overheads(row, "wall")
        lines.append(
            f"| {row['method']} | {ms['student forward'] + ms['student backward']:.0f} | {ms['teacher forward']:.0f} | "
            f"{ms['task loss']:.1f} | {ms['method loss']:.1f} | {ms['optimiser']:.1f} | {ms['data']:.1f} | "
            f"{ms['rest']:.1f} | {whole:.1f} % ({wall:.1f}) | {bare:.1f} % ({wall_bare:.1f}) |"
        )
    return lines


def _switches(part: dict[str, Any]) -> list[str]:
    lines = [
        "## By switch", "",
        f"A step of `kd` as it is and with one thing changed; median of {part['rounds']} rounds of runs in turn, "
        "ratios within a round.", "",
        "| | step, processor ms | ratio | step, wall ms | ratio |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in part["rows"]:
        if row["switch"] == "compile=auto":
            lines += ["", *(f"`compile=auto`: {reason}." for reason in row["why"])]
        else:
            lines.append(
                f"| {row['switch']} | {1e3 * row['processor']:.0f} | {row['processor_ratio']:.3f} | "
                f"{1e3 * row['wall']:.0f} | {row['wall_ratio']:.3f} |"
            )
    return lines


def _loading(part: dict[str, Any]) -> list[str]:
    (row,) = part["rows"]
    return [
        "## Loading", "",
        f"A batch takes {1e3 * row['batch']:.0f} ms of one processor, a step of `kd` {1e3 * row['step']:.0f} ms: one "
        f"worker loads {row['step'] / row['batch']:.1f} batches while one step is made. A run waits "
        f"{1e3 * row['waited']:.1f} ms a step for its worker (wall clock, median).",
    ]  # fmt: skip


def _memory(part: dict[str, Any]) -> list[str]:
    lines = [
        "## Memory along a run", "", "Resident MB of the run's process, its loader's worker not counted, validations "
        "and checkpoints included.", "",
        "| run | by step | most after step 200 above that at step 200 |", "|---|---|---|",
    ]  # fmt: skip
    for row in part["rows"]:
        along = ", ".join(f"{step}: {value:.0f}" for step, value in row["resident"].items())
        lines.append(f"| {row['run']} | {along} | {row['growth']:.1f} MB |")
    return lines


if __name__ == "__main__":
    main()
