"""Disks that are full, and files that are torn as by a power cut, in run folders of `train`, `distill` and `compare`.

A full disk is a small tmpfs (root only; elsewhere these items are done by the next kind), or a limit on the size of a
file, both drawn. The run must say that it can't save, and go on to the same bits once there is space. Torn are one to
three files of a stopped or a finished run: cut, a bit flipped, a block or all of it zeros, empty, or gone. The run must
then end with the same bits, or name a file that it can't use and how to go on, which is tried.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from injection import kills
from injection.common import Failure, Forked, Item, finish, weights
from injection.kills import KINDS

_VERBS = ("train, 1 rank", "distill, 1 rank", "train, 1 rank", "compare")


def run(item: Item, work: Path) -> None:
    """One item: its kind goes by its seed."""
    draw = random.Random(1000 + item.seed)
    verb = _VERBS[item.seed // 4 % 4]
    whole, _ = kills.uninterrupted(verb, work)
    words = KINDS[verb][1]
    folder = work / f"disk-{item.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    how = ("full tmpfs", "limited file size", "torn while stopped", "torn when finished")[item.seed % 4]
    item.kind = f"{how}, {verb.partition(',')[0]}"
    if how == "full tmpfs":
        _full(item, words, folder, whole, draw)
    elif how == "limited file size":
        limit = int(draw.uniform(0.001, 1.2) * max(path.stat().st_size for path in whole.rglob("*")))
        _check(item, _go(words, folder / "run", file_bytes=limit))
        _goes_on(item, words, folder / "run", whole)
    else:
        _torn(item, words, kills.made_in(work, whole), whole, draw, stopped="stopped" in how)
    shutil.rmtree(folder)


def _full(item: Item, words: tuple[str, ...], folder: Path, whole: Path, draw: random.Random) -> None:
    if folder.is_mount():  # of a campaign that was killed
        subprocess.run(["umount", str(folder)], check=True)
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    kilobytes = int(draw.uniform(0.005, 1.1) * needed / 1024) + 8
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)], check=True)
    try:
        _check(item, _go(words, folder / "run"))
        subprocess.run(["mount", "-o", f"remount,size={4 * needed // 1024}k", str(folder)], check=True)
        _goes_on(item, words, folder / "run", whole)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _torn(item: Item, words: tuple[str, ...], folder: Path, whole: Path, draw: random.Random, *, stopped: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    if stopped:  # as it was before the student was handed over
        for path in folder.rglob("student.*"):
            if words[0] != "compare" or draw.random() < 0.5:
                path.unlink()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    torn = draw.sample(files, draw.choice((1, 1, 2, 3)))
    for path in torn:
        _tear(path, draw)
    item.add("injected")
    # What a study says of its recipe is in its folder; a run is told again.
    process, text = _go(words, folder)
    if process.returncode == 0:
        _same(item, folder, whole)
        return
    if not any(path.name in text for path in torn):
        raise Failure(f"{[path.name for path in torn]} torn, refused without a name: {text[-900:]}")
    item.add("refused by name")
    for path in torn:  # what it says: start again, without the file or the folder that it names
        path.unlink(missing_ok=True)
    process, text = _go(words, folder)
    if process.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        process, text = _go(words, folder)
    if process.returncode != 0:
        raise Failure(f"{[path.name for path in torn]} torn; does not start again: {text[-900:]}")
    _same(item, folder, whole)


def _tear(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content) + 1)
    how = draw.randrange(6)
    if how == 0:
        del content[start:]
    elif how == 1 and start < len(content):
        content[start] ^= 1 << draw.randrange(8)
    elif how == 2:
        content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    elif how == 3:
        content[:] = bytes(len(content))
    elif how == 4:
        content.clear()
    else:
        path.unlink()
        return
    path.write_bytes(content)


def _go(words: tuple[str, ...], folder: Path, **limits: int) -> tuple[Forked, str]:
    more = ["--resume"] if words[0] != "compare" else []
    process = Forked(*words, f"out={folder}", *more, joined=True, **limits)  # type: ignore[arg-type]
    return process, " ".join(finish([process]).split())


def _check(item: Item, went: tuple[Forked, str]) -> None:
    process, text = went
    if process.returncode == 0:
        item.add("had space enough")
    elif process.returncode == 1 and "Can't save" in text:
        item.add("injected")
    else:
        raise Failure(f"exit code {process.returncode}: {text[-900:]}")


def _goes_on(item: Item, words: tuple[str, ...], folder: Path, whole: Path) -> None:
    process, text = _go(words, folder)
    if process.returncode != 0:
        raise Failure(f"does not go on with space: {text[-900:]}")
    _same(item, folder, whole)


def _same(item: Item, folder: Path, whole: Path) -> None:
    resumed, other = weights(folder), weights(whole)
    if resumed != other:
        raise Failure(f"other bits: {sorted(name for name in resumed | other if resumed.get(name) != other.get(name))}")
    item.add("ended bit-identical")
