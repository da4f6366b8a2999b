"""SIGKILL at random moments of `train`, `distill` and `compare`; each run goes on until it is done.

A moment is drawn evenly over the first half of the time that an uninterrupted run takes, start-up and saving included;
runs that go on are shorter, so their ends are reached, too. Imports are not in it, as the processes are forked. An item
is killed 8 to 12 times, unless it ends before. Its weights must then be those of
the uninterrupted run bit for bit; where the number of processes was changed, within `TOLERANCE`.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path

from safetensors.torch import load_file

from injection.common import SIZES, TINY, Failure, Forked, Item, finish, ranks, weights

TOLERANCE = 1e-5
"""||a - b|| / ||b|| over all trained tensors: float32 sums of another order."""

_STEADY = (  # what the number of processes changes by rounding only: no dropout, no void, no adaptive steps
    "student={backbone: mobilenetv2_035, head: fcn, channels: 8, dropout: 0}", "data.size=[96,96]",
    "augment.crop=[96,96]", "augment.scale=[1,1]", "optimizer={name: sgd, lr: 0.0001}",
)  # fmt: skip
_STUDY = ("methods=none,kd", "seeds=0")
KINDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "train, 1 rank": (1, ("train", *TINY, *SIZES)),
    "distill, 1 rank": (1, ("distill", *TINY, *SIZES, "kd")),
    "compare": (1, ("compare", *TINY, "teacher.train.steps=2", "budget=steps:4", "checkpoint_every=1", *_STUDY)),
    "train, 2 ranks": (2, ("train", *TINY, *SIZES)),
    "distill, 2 ranks": (2, ("distill", *TINY, *SIZES, "kd")),
    "train, 2 ranks, then 1": (2, ("train", *TINY, *SIZES, *_STEADY)),
    "train, 1 rank, then 2": (2, ("train", *TINY, *SIZES, *_STEADY)),
}
_CYCLE = (*KINDS, "train, 1 rank", "train, 1 rank", "train, 1 rank")
"""Kinds by seed: the quickest comes four times."""


def run(item: Item, work: Path) -> None:
    """One item: its kind goes by its seed."""
    draw = random.Random(item.seed)
    item.kind = _CYCLE[item.seed % len(_CYCLE)]
    number, words = KINDS[item.kind]
    whole, seconds = uninterrupted(item.kind, work)
    folder = work / f"kills-{item.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    changed = "then" in item.kind
    if changed:
        number = 2 if item.kind.startswith("train, 2") else 1
    for _ in range(draw.randint(8, 12)):
        processes = _start(words, folder, number, changed)
        time.sleep(draw.uniform(0, 0.5 * seconds))
        _kill(processes, draw, item)
        finish(processes)
        if all(process.returncode == 0 for process in processes):
            break
        if changed and (folder / "checkpoints").exists():
            number = 3 - number
    processes = _start(words, folder, number, changed)  # one that is done already does nothing
    text = finish(processes)
    if any(process.returncode for process in processes):
        raise Failure(f"does not go on: {text[-1000:]}")
    _compare(item, folder, whole, exact=not changed)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.part"))
    if left:
        raise Failure(f"left behind: {left}")
    shutil.rmtree(folder)


def _start(words: tuple[str, ...], folder: Path, number: int, steady: bool) -> list[Forked]:
    more = ["--resume"] if words[0] != "compare" else []
    if steady and number == 1:
        more.append("grad_accumulation=2")  # two micro-batches hold what two processes did: batch norm sees the same
    return ranks(*words, f"out={folder}", *more, number=number) if number > 1 else [
        Forked(*words, f"out={folder}", *more)
    ]  # fmt: skip


def _kill(processes: list[Forked], draw: random.Random, item: Item) -> None:
    """One process, or of several one or all."""
    victims = processes if draw.random() < 0.5 else [draw.choice(processes)]
    alive = [process for process in victims if process.poll() is None]
    for process in alive:
        process.kill_group(signal.SIGKILL)
    item.add("SIGKILLs" if alive else "had ended before")
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "SIGKILL")):  # as a launcher does
        deadline = time.monotonic() + 15
        while alive and any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in (process for process in processes if alive and process.poll() is None):
            process.send_signal(number)
            item.add(f"ranks left over that needed {name}")


def uninterrupted(kind: str, work: Path) -> tuple[Path, float]:
    """The run that nothing happened to, and how long it took; made once, in the folder `made_in`."""
    name = kind.replace(", ", "-").replace(" ", "-")
    kept, folder, record = work / "whole" / name, made_in(work, work / "whole" / name), work / f"whole-{kind}.json"
    number, words = KINDS[kind]
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        finish([Forked("--help")])  # the imports, once
        began = time.perf_counter()
        processes = _start(words, folder, number, steady=False)
        text = finish(processes)
        if any(process.returncode for process in processes):
            raise Failure(f"the uninterrupted run fails: {text[-1000:]}")
        seconds = time.perf_counter() - began
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        record.write_text(json.dumps(seconds))
    return kept, float(json.loads(record.read_text()))


def made_in(work: Path, whole: Path) -> Path:
    """Where the uninterrupted run was made: a study names its folder, so that a copy goes on only there."""
    return work / "made" / whole.name


def _compare(item: Item, folder: Path, whole: Path, *, exact: bool) -> None:
    resumed, other = weights(folder), weights(whole)
    if resumed.keys() != other.keys():
        raise Failure(f"made {sorted(resumed)}, not {sorted(other)}")
    if exact:
        if resumed != other:
            raise Failure(f"other bits: {[name for name in resumed if resumed[name] != other[name]]}")
        item.add("runs that ended bit-identical")
    else:
        apart = total = 0.0
        ours, theirs = (load_file(path / "student.safetensors") for path in (folder, whole))
        for name in (name for name in theirs if "running" not in name and "num_batches" not in name):
            apart += float((ours[name] - theirs[name]).square().sum())
            total += float(theirs[name].square().sum())
        item.measured["relative difference"] = (apart / total) ** 0.5
        if not (apart / total) ** 0.5 <= TOLERANCE:
            raise Failure(f"relative difference {(apart / total) ** 0.5:.3g}")
        item.add("runs that ended within the tolerance")
    for journal in whole.rglob("metrics.jsonl"):
        if _steps(journal) != _steps(folder / journal.relative_to(whole)):
            raise Failure(f"another journal: {journal.relative_to(whole)}")


def _steps(journal: Path) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [(line["kind"], line["step"]) for line in lines]
