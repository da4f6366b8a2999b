"""A run keeps two states; it goes on from the newest that verifies, to the very bits of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import segdistill
from segdistill.core.errors import CheckpointError, TrainingError
from segdistill.models.files import save_weights
from segdistill.runs.checkpoint import NoStateError, Progress, load_state, newest_state, save_state
from segdistill.runs.folder import RunFolder

STATES = {"net": {"weight": torch.arange(500.0)}, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
EVERY = ("steps=12", "checkpoint_every=4", "validate_every=4", "keep=best")


@pytest.fixture(scope="module")
def whole(tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    segdistill.train(*tiny, *EVERY, out=folder, quiet=True)
    return folder


@pytest.fixture
def stopped(whole: Path, tmp_path: Path) -> RunFolder:
    """A copy of it as it was before its weights were handed over."""
    shutil.copytree(whole, tmp_path / "run")
    for file in (tmp_path / "run").glob("student.*"):
        file.unlink()
    return RunFolder(tmp_path / "run")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def zeros(path: Path) -> None:
    """As a file system may leave a file whose content was not on the disk when the power went."""
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, zeros, empty, Path.unlink])
def test_the_state_before_is_taken_where_the_newest_does_not_verify(
    damage: Callable[[Path], None],
    stopped: RunFolder,
    whole: Path,
    tiny: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(stopped.last)
    segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True)
    messages = " ".join(capsys.readouterr().err.split())
    assert "goes on after step 8" in messages
    assert "previous.pt" in messages
    assert ("passed over" in messages) == (damage is not Path.unlink)
    assert (stopped.path / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert _steps(stopped) == _steps(RunFolder(whole))
    assert [load_state(path)[0].step for path in stopped.states()] == [12, 8]


def test_the_newest_state_is_taken_where_it_verifies(stopped: RunFolder, whole: Path, tiny: tuple[str, ...]) -> None:
    """And what a kill may have left or kept from being written is put in order."""
    cut(stopped.previous)
    (stopped.path / "checkpoints" / ".last.pt.1.part").write_bytes(b"half")
    (stopped.path / "export").mkdir()
    exporting = stopped.path / "export" / ".student.onnx.1.part"  # by another process, which may be at it
    exporting.write_bytes(b"half")
    stopped.environment.unlink()
    segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)
    assert exporting.read_bytes() == b"half"
    exporting.unlink()
    assert (stopped.path / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert _steps(stopped) == _steps(RunFolder(whole))
    assert not list(stopped.path.rglob(".*.part"))
    assert json.loads(stopped.environment.read_text())["machine"]


def test_a_journal_cut_at_the_very_end_of_a_line_goes_on_in_the_next(
    stopped: RunFolder, whole: Path, tiny: tuple[str, ...]
) -> None:
    stopped.last.unlink()
    lines = stopped.metrics.read_text().splitlines()
    until = max(number for number, line in enumerate(lines) if json.loads(line)["step"] == 8)
    stopped.metrics.write_text("\n".join(lines[: until + 1]))
    segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)
    assert _steps(stopped) == _steps(RunFolder(whole))


def test_without_a_state_that_verifies_both_are_named_and_nothing_is_lost(
    stopped: RunFolder, tiny: tuple[str, ...]
) -> None:
    for path in stopped.states():
        flip(path)
    before = {path: path.read_bytes() for path in stopped.states()}
    with pytest.raises(NoStateError, match=r"last\.pt.*previous\.pt.*Delete the run folder"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)
    assert {path: path.read_bytes() for path in stopped.states()} == before


def test_a_state_that_can_not_be_read_now_is_not_passed_over(stopped: RunFolder, tiny: tuple[str, ...]) -> None:
    before = stopped.last.read_bytes()
    stopped.last.rename(stopped.path / "kept")
    stopped.last.mkdir()  # which no user may read as a file
    with pytest.raises(TrainingError, match=r"Can't read .*last\.pt.*left as it is"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)
    stopped.last.rmdir()
    (stopped.path / "kept").rename(stopped.last)
    assert stopped.last.read_bytes() == before
    assert newest_state(stopped.states()).progress.step == 12


def test_too_little_memory_to_read_a_state_is_no_damage(tmp_path: Path) -> None:
    save_state(tmp_path / "last.pt", Progress(step=1), {"net": {"weight": torch.zeros(100_000_000)}})
    code = (
        "import resource, sys; from pathlib import Path; from segdistill.runs.checkpoint import newest_state; "
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, 2 * (used + 250_000_000,)); newest_state([Path(sys.argv[1])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "last.pt"], capture_output=True, text=True, check=False
    )
    assert "OutOfMemoryError: Out of memory while reading" in done.stderr
    assert "Delete" not in done.stderr


def test_a_state_of_an_earlier_version_resumes(stopped: RunFolder, whole: Path, tiny: tuple[str, ...]) -> None:
    """One state, that knows of no validation that is still due."""
    content = torch.load(stopped.previous, weights_only=True)
    del content["progress"]["validating"]
    stopped.previous.unlink()
    torch.save(content, stopped.last)
    segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)
    resumed, other = (segdistill.load_model(folder).state_dict() for folder in (stopped.path, whole))
    assert all(torch.equal(resumed[key], other[key]) for key in other)


@pytest.mark.parametrize("lost", ["student.yaml", "student.safetensors", "cut", "flip"])
def test_half_of_a_finished_network_is_not_taken_for_it(
    lost: str, whole: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    if lost in ("cut", "flip"):
        {"cut": cut, "flip": flip}[lost](folder / "student.safetensors")
    else:
        (folder / lost).unlink()
    assert not RunFolder(folder).finished("student")
    segdistill.train(*tiny, *EVERY, out=folder, resume=True, quiet=True)
    assert (folder / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()


def test_the_best_weights_that_are_damaged_are_named(stopped: RunFolder, tiny: tuple[str, ...]) -> None:
    progress, states = load_state(stopped.last)
    progress.validating = False  # or they would be written again
    save_state(stopped.last, progress, states)
    flip(stopped.best)
    with pytest.raises(CheckpointError, match=r"best\.safetensors"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)


def test_what_is_saved_can_be_read_by_those_who_may(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)})
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640


def test_the_state_of_another_network_is_named(stopped: RunFolder, tiny: tuple[str, ...]) -> None:
    save_state(stopped.last, Progress(step=4), STATES)
    with pytest.raises(TrainingError, match=r"last\.pt holds the state of another network"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [("progress", None), ("progress", {"step": "x"}), ("progress", {"stepz": 1}), ("states", None), ("states", [1])],
)
def test_a_state_with_other_content_is_refused_by_name(key: str, value: Any, tmp_path: Path) -> None:
    """Whoever wrote it: its checksums are right."""
    torch.save({"progress": vars(Progress()), "states": STATES} | {key: value}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=r"Can't resume from .*last\.pt"):
        load_state(tmp_path / "last.pt")


@pytest.mark.parametrize(
    ("key", "value"), [("momentum", None), ("nesterov", 0.5), ("buffer", None), ("buffer", torch.ones(2, 7))]
)
def test_an_optimiser_of_another_kind_is_refused_by_name(
    key: str, value: Any, stopped: RunFolder, tiny: tuple[str, ...]
) -> None:
    stopped.last.unlink()
    progress, states = load_state(stopped.previous)
    if key == "buffer":
        states["optimizer"]["state"][0] = {"momentum_buffer": value}
    else:
        states["optimizer"]["param_groups"][0][key] = value
    save_state(stopped.previous, progress, states)
    with pytest.raises(TrainingError, match=r"previous\.pt holds the state of another network.*the optimiser's"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)


@pytest.mark.parametrize("wrong", [None, torch.ones(3), 1.5, {"state": {}, "param_groups": [1]}])
def test_a_state_with_other_parts_is_refused_by_name(wrong: Any, stopped: RunFolder, tiny: tuple[str, ...]) -> None:
    progress, states = load_state(stopped.last)
    save_state(stopped.last, progress, {**states, "optimizer": wrong})
    with pytest.raises(TrainingError, match=r"last\.pt holds the state of another network"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)


@pytest.mark.parametrize("step", [-1, 13, 10**30])
def test_a_state_of_a_step_that_the_run_does_not_have_is_refused(
    step: int, stopped: RunFolder, tiny: tuple[str, ...]
) -> None:
    progress, states = load_state(stopped.last)
    progress.step = step
    save_state(stopped.last, progress, states)
    with pytest.raises(CheckpointError, match=rf"checkpoints says that {step} steps are done; the run has 12"):
        segdistill.train(*tiny, *EVERY, out=stopped.path, resume=True, quiet=True)


def test_any_damaged_bit_is_found_or_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, Progress(step=3), STATES)
    content, count = path.read_bytes(), 0
    random.seed(0)
    for place in range(0, len(content), 11):
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        try:
            progress, states = load_state(path)
        except CheckpointError:
            count += 1
        else:
            assert progress == Progress(step=3)
            assert torch.equal(states["net"]["weight"], STATES["net"]["weight"])  # type: ignore[arg-type]
            assert states["optimizer"] == STATES["optimizer"]
    assert count > len(range(0, len(content), 11)) / 2


class _Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"progress": vars(Progress()), "states": _Attack(tmp_path / "owned")}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="Can't resume"):
        load_state(tmp_path / "last.pt")
    assert not (tmp_path / "owned").exists()


def test_a_clock_that_jumps_changes_no_duration(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = time.time, [0]

    def jumping() -> float:
        calls[0] += 1
        return real() + (-1) ** calls[0] * 86_400

    monkeypatch.setattr(time, "time", jumping)
    began = time.perf_counter()
    done = segdistill.train(*tiny, out=tmp_path / "run", quiet=True)
    assert 0 < done.seconds <= round(time.perf_counter() - began, 1)
    assert calls[0]  # TensorBoard stamps its curves with the time of day


def _steps(folder: RunFolder) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return [(line["kind"], line["step"]) for line in lines]
