"""What the machine does to a run: a worker or a process that is killed, too little memory, no space for the journal."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import Forked, ranks
from safetensors.torch import load_file

import segdistill
from segdistill.core.errors import SegdistillError, TrainingError
from segdistill.data.loading import unguarded
from segdistill.runs.checkpoint import load_state
from segdistill.runtime.failures import explained
from segdistill.runtime.interruption import StopRequest

Start = Callable[..., Forked]
Run = Callable[..., subprocess.CompletedProcess[str]]

LONG = ("steps=300", "checkpoint_every=3", "validate_every=300")
SGD = "optimizer={name: sgd, lr: 0.0001}"


def lines(metrics: Path) -> int:
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def wait(until: Callable[[], bool], process: Forked) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(process: Forked) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_killed_loader_worker_is_named_and_the_run_goes_on(
    tiny: tuple[str, ...], tmp_path: Path, start: Start, segdistill: Run
) -> None:
    words = [*tiny, *LONG, "steps=80", "validate_every=80", "workers=1", f"out={tmp_path / 'run'}"]
    process = start("train", *words)
    wait(lambda: lines(tmp_path / "run" / "metrics.jsonl") >= 5, process)
    os.kill(children(process)[-1], signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "process that loads images" in output
    assert "workers=0" in output
    assert "--resume" in output
    assert "Traceback" not in output
    done = segdistill("train", *words, "workers=0", "--resume")
    assert done.returncode == 0, done.stderr
    assert "goes on after step" in done.stderr


def test_a_loader_process_that_dies_while_it_hands_over_is_named() -> None:
    def handed_over() -> Iterator[object]:
        raise ConnectionResetError(104, "Connection reset by peer")
        yield

    with pytest.raises(TrainingError, match="process that loads images"), explained("training"):
        next(unguarded(handed_over()))


def test_a_killed_process_ends_the_run_and_one_process_goes_on_with_it(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Run
) -> None:
    short = [
        *tiny,
        SGD,
        "student={backbone: mobilenetv2_035, head: fcn, channels: 8, dropout: 0}",
        "steps=8",
        "checkpoint_every=4",
        "validate_every=8",
    ]
    # Batch norm of few values is chaotic.
    short += ["data.size=[96,96]", "augment.crop=[96,96]", "augment.scale=[1,1]"]
    whole = ranks("train", *short, f"out={tmp_path / 'whole'}")
    assert [process.wait() for process in whole] == [0, 0], whole[0].output

    metrics = tmp_path / "run" / "metrics.jsonl"
    words = ["train", *short, f"out={tmp_path / 'run'}"]
    first, second = ranks(*words)
    wait(lambda: lines(metrics) >= 5, first)
    second.kill()
    output = first.communicate(timeout=120)[0]  # it must not wait for ever
    assert first.returncode == 1, output
    assert "Another process of this run has ended" in output
    assert "Traceback" not in output

    # Two micro-batches hold the same images as two processes did, so that batch norm sees the same batches.
    done = segdistill(*words, "grad_accumulation=2", "--resume")
    assert done.returncode == 0, done.stderr
    assert "goes on after step 4" in done.stderr
    before = load_state(tmp_path / "whole" / "checkpoints" / "previous.pt")[1]["distiller"]
    resumed, other = (load_file(tmp_path / name / "student.safetensors") for name in ("run", "whole"))
    trained = [key for key in other if "running" not in key and "num_batches" not in key]
    moved = sum(float((other[key] - before[f"student.{key}"]).square().sum()) for key in trained) ** 0.5
    apart = sum(float((other[key] - resumed[key]).square().sum()) for key in trained) ** 0.5
    assert apart < 0.25 * moved, (apart, moved)
    written = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["step"] for line in written if line["kind"] == "train"] == [*range(1, 9)]


def test_out_of_memory_names_a_number_of_micro_batches_that_fits(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Run
) -> None:
    words = [*tiny, "data.size=[256,256]", "augment.crop=[256,256]", "batch_size=32", "steps=1"]
    words += ["student.output_stride=8", f"out={tmp_path / 'run'}"]

    # 32 images take 1.5 GiB, 16 of them 790 MiB, 8 of them 350 to 500.
    message = segdistill("train", *words, more_bytes=600 * 2**20).stderr
    assert "Error: Out of memory while training: tried to allocate" in message
    advised = re.search(r"grad_accumulation=([0-9]+) --resume", message)
    assert advised, message
    words += [f"grad_accumulation={advised.group(1)}", "--resume"]
    done = segdistill("train", *words, more_bytes=600 * 2**20)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "student.safetensors").is_file()


@pytest.mark.parametrize("curves", [False, True])
def test_no_space_for_the_journal_is_named(curves: bool, tiny: tuple[str, ...], tmp_path: Path, start: Start) -> None:
    """Only the journal, or only the curves beside it, grow beyond what the limit on the size of a file allows."""
    words = [*tiny, "steps=300", "checkpoint_every=300", "validate_every=300", f"out={tmp_path / 'run'}"]
    process = start("train", *words, *([] if curves else ["log=[]"]))
    wait(lambda: lines(tmp_path / "run" / "metrics.jsonl") >= 2, process)
    files = list((tmp_path / "run" / "tensorboard").iterdir()) if curves else [tmp_path / "run" / "metrics.jsonl"]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (files[0].stat().st_size + 10,) * 2)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1, output  # the state and the network are larger than that, too
    assert "Can't save" in output
    assert ("log: tensorboard failed and is left out" in output) == curves
    assert "Traceback" not in output


def test_a_file_in_the_place_of_a_folder_of_the_path_is_named(tiny: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SegdistillError, match=r"Can't save .*runs"):
        segdistill.train(*tiny, "role=student", out=tmp_path / "runs" / "mine", quiet=True)


def test_a_worker_that_was_forked_just_now_leaves_a_signal_to_the_run() -> None:
    with StopRequest() as stop, stop.at_once():
        child = os.fork()
        if not child:  # it has the run's handler until it begins to work
            status = 1
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stop.received is None
