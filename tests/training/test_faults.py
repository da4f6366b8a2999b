"""A loss or gradient that is not finite: named, saved, and answered as the recipe says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from painted import SIZE, paint_one_plain
from PIL import Image
from processes import in_two
from safetensors.torch import load_file

import segdistill
from segdistill.core.errors import TrainingError
from segdistill.models.files import read_description

PLAIN = (
    "augment={crop: [32, 48], scale: [1, 1], max_class_share: 1, photometric: false}",
    "batch_size=2", "steps=10", "workers=0", "log_every=1", "checkpoint_every=1", "validate_every=10",
    "optimizer.lr=0.05",
)  # fmt: skip
FORWARD, BACKWARD = 0.0, 1e-5


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight images for training, of which a3 is of one color: every fourth step has it on average."""
    return paint_one_plain(tmp_path / "data")


def train(data: Path, run: str, epsilon: float, *more: str, resume: bool = False) -> Path:
    student = f"student={{name: 'module:fragile:Fragile', options: {{arguments: {{epsilon: {epsilon:.5f}}}}}}}"
    folder = data.parent / run
    words = ("folder", f"data.root={data}", "data.lists={train: train.txt, val: val.txt}", student, *PLAIN, *more)
    verb = segdistill.distill if any(word.startswith("teacher.weights") for word in more) else segdistill.train
    return verb(*words, out=folder, resume=resume, quiet=True).folder


def checkpoint(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    return content


def journal(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize(
    ("epsilon", "named"), [(FORWARD, "Loss term 'task' is nan"), (BACKWARD, r"The gradient of '.*stem\.weight'")]
)
def test_the_run_stops_and_says_where_it_was(data: Path, epsilon: float, named: str) -> None:
    with pytest.raises(TrainingError, match=named) as caught:
        train(data, "run", epsilon)
    (file,) = (data.parent / "run" / "faults").iterdir()
    saved = torch.load(file, weights_only=True)
    step = saved["step"]
    assert f"at step {step + 1} of 10 in fp32" in str(caught.value)
    (names,), (positions,) = saved["names"], saved["positions"]
    assert f"a3 (position {positions[names.index('a3')]})" in str(caught.value)
    assert positions == [2 * step, 2 * step + 1]
    assert [line["step"] for line in journal(data.parent / "run", "train")] == list(range(1, step + 1))
    assert torch.equal(saved["images"][0][names.index("a3")], torch.zeros(3, *SIZE, dtype=torch.uint8))
    # The weights are those of the checkpoint before the step.
    last = checkpoint(data.parent / "run")
    assert last["progress"]["step"] == step
    assert all(torch.equal(saved["state"][name], value) for name, value in last["states"]["distiller"].items())


@pytest.mark.parametrize(
    ("epsilon", "precision"), [(FORWARD, "fp32"), (BACKWARD, "fp32"), (FORWARD, "bf16"), (FORWARD, "fp16")]
)
def test_skipped_steps_leave_nothing_behind_and_a_resumed_run_is_the_same(
    data: Path, epsilon: float, precision: str
) -> None:
    words = (f"precision={precision}", "on_nonfinite=skip")
    whole = train(data, "whole", epsilon, *words)
    skipped = [line["step"] for line in journal(whole, "fault")]
    assert len(skipped) >= 2
    assert sorted([*skipped, *(line["step"] for line in journal(whole, "train"))]) == list(range(1, 11))
    assert all(value.isfinite().all() for value in load_file(whole / "student.safetensors").values())
    assert read_description(whole / "student.safetensors").trained["skipped"] == skipped

    with pytest.raises(TrainingError):
        train(data, "parts", epsilon, words[0])
    with pytest.raises(TrainingError, match="1 steps were left out before, the limit"):
        train(data, "parts", epsilon, *words, "nonfinite_limit=1", resume=True)
    parts = train(data, "parts", epsilon, *words, resume=True)
    assert (parts / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert [line["step"] for line in journal(parts, "fault")] == skipped
    scaler = checkpoint(parts)["states"]["scaler"]
    assert scaler == checkpoint(whole)["states"]["scaler"]
    assert (precision == "fp16") == ("scale" in scaler)


def test_overflowing_gradients_are_the_scalers_business_in_fp16(data: Path) -> None:
    folder = train(data, "run", BACKWARD, "precision=fp16", "clip_grad=1")
    assert journal(folder, "fault") == []
    assert [line["step"] for line in journal(folder, "train")] == list(range(1, 11))
    assert all(value.isfinite().all() for value in load_file(folder / "student.safetensors").values())
    assert checkpoint(folder)["states"]["scaler"]["scale"] < 65536


def test_a_scaler_that_finds_no_scale_stops_the_run(data: Path) -> None:
    for index in range(8):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(data / "images" / f"a{index}.png")
    words = ("precision=fp16", "steps=40", "validate_every=40")
    with pytest.raises(TrainingError, match=r"At step 3\d the gradients overflow in fp16"):
        train(data, "run", BACKWARD, *words)


@pytest.mark.parametrize("more", [(), ("cirkd", "teacher.weights=module:painted:in_order", "baseline=none")])
def test_a_step_that_is_left_out_is_as_if_it_had_not_been(data: Path, more: tuple[str, ...]) -> None:
    """Statistics, queues, optimiser: the checkpoints before and after it differ in nothing but their progress."""
    more = (*more, "schedule.name=constant")
    with pytest.raises(TrainingError):
        train(data, "stopped", FORWARD, *more)
    before = checkpoint(data.parent / "stopped")
    step = before["progress"]["step"] + 1
    after = checkpoint(train(data, "skipped", FORWARD, *more, f"steps={step}", "on_nonfinite=skip"))
    assert after["progress"]["step"] == step
    assert after["progress"]["skipped"] == [step]
    torch.testing.assert_close(after["states"], before["states"], rtol=0, atol=0)


def test_backing_off_halves_the_rate_for_the_rest(data: Path) -> None:
    folder = train(data, "run", BACKWARD, "on_nonfinite=back_off", "schedule.name=constant")
    skipped = [line["step"] for line in journal(folder, "fault")]
    rates = {line["step"]: line["lr"] for line in journal(folder, "train")}
    assert skipped
    assert max(rates) > max(skipped)
    for step, rate in rates.items():
        assert rate == pytest.approx(0.05 * 0.5 ** sum(earlier < step for earlier in skipped))


def test_weights_that_are_broken_stop_the_run_whatever_on_nonfinite_says(data: Path) -> None:
    with pytest.raises(TrainingError, match="weights were broken before it: tensor") as caught:
        train(
            data,
            "run",
            BACKWARD,
            "on_nonfinite=skip",
            "optimizer={lr: 1.0e+20, weight_decay: 1.0e+30}",
            "checkpoint_every=10",
            "steps=20",
        )
    assert "on_nonfinite" not in str(caught.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_validation_image_whose_scores_are_not_finite_costs_no_step(data: Path, processes: int) -> None:
    """The state behind the last checkpoint is saved first; a resumed run trains on, and the last validation stays."""
    plain = Path(data / "images" / "a3.png").read_bytes()
    whole = (data / "images" / "a8.png").read_bytes()
    (data / "train.txt").write_text("".join(f"a{index}\n" for index in (0, 1, 2, 4, 5, 6, 7)))
    (data / "images" / "a8.png").write_bytes(plain)
    words = ("steps=4", "validate_every=3", "checkpoint_every=2")

    def run(*, resume: bool) -> str:
        if processes == 2:
            (first, second) = in_two(_message, [str(data), *words, *(["resume"] if resume else [])])
            assert first == second
            return first
        return _message(0, [str(data), *words, *(["resume"] if resume else [])])

    message = run(resume=False)
    assert "The student after step 3: the scores of image 'a8' are not finite" in message
    assert "the state of step 3 of 4 is saved" in message
    assert "with --resume goes on without this validation" in message
    last = checkpoint(data.parent / "run")
    assert last["progress"]["step"] == 3
    message = run(resume=True)
    assert "after step 4" in message
    assert "with --resume makes this validation again" in message
    (data / "images" / "a8.png").write_bytes(whole)
    if processes == 1:
        done = train(data, "run", FORWARD, *words, resume=True)
        assert [line["step"] for line in journal(done, "train")] == [1, 2, 3, 4]
        assert [line["step"] for line in journal(done, "validation")] == [4]


def _message(rank: int, words: list[str]) -> str:
    """What stops a run."""
    data, *words = words
    resume = words[-1] == "resume"
    with pytest.raises(TrainingError) as caught:
        train(Path(data), "run", FORWARD, *words[: len(words) - resume], resume=resume)
    return str(caught.value)
