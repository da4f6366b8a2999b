"""A saved step run again says where a number that is not finite arises, and what cures it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from painted import paint_one_plain

import segdistill
from segdistill.core.errors import CheckpointError, RecipeError, TrainingError

PLAIN = (
    "folder", "augment={crop: [32, 48], scale: [1, 1], max_class_share: 1, photometric: false}", "batch_size=2",
    "steps=10", "workers=0", "validate_every=10", "checkpoint_every=1", "optimizer.lr=0.05",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight images for training, of which a3 is of one color."""
    return paint_one_plain(tmp_path / "data")


def stopped(data: Path, *more: str, epsilon: float = 0.0, run: str = "run") -> Path:
    """A run that stopped at a step it saved."""
    student = f"student={{name: 'module:fragile:Fragile', options: {{arguments: {{epsilon: {epsilon:.5f}}}}}}}"
    words = [*PLAIN, f"data.root={data}", "data.lists={train: train.txt, val: val.txt}", student, *more]
    verb = segdistill.distill if any(word.startswith("teacher") for word in more) else segdistill.train
    with pytest.raises(TrainingError):
        verb(*words, out=data.parent / run, quiet=True)
    return data.parent / run


def same(left: dict[str, float], right: dict[str, float]) -> bool:
    """Equal, NaN to NaN."""
    return left.keys() == right.keys() and all(
        torch.equal(torch.tensor(left[name]).nan_to_num(-7), torch.tensor(right[name]).nan_to_num(-7)) for name in left
    )


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "more", [(), ("grad_accumulation=2",), ("kd", "cwd", "teacher.weights=module:painted:in_order", "baseline=none")]
)
def test_a_loss_that_is_not_finite_is_traced_to_its_module(data: Path, more: tuple[str, ...]) -> None:
    run = stopped(data, *more)
    before = files(run)
    done = segdistill.replay(run)
    assert same(done.recorded, done.trials[0].terms)
    assert not done.trials[0].finite
    assert done.spot is not None
    assert (done.spot.module, done.spot.kind, done.spot.way) == ("student.module.spread", "Spread", "forward")
    assert not done.spot.given
    assert done.images == ("a3",)
    assert done.classes
    if not more:  # batch normalisation spreads it over the micro-batch, here the whole
        assert set(done.classes.values()) == {1.0}
    assert any("the checkpoint is of step" in note for note in done.notes)
    assert files(run) == before


def test_a_gradient_that_is_not_finite_is_traced_to_its_module(data: Path) -> None:
    done = segdistill.replay(stopped(data, epsilon=1e-5))
    assert same(done.recorded, done.trials[0].terms)
    assert done.trials[0].gradients == ("student.module.stem.weight",)
    assert done.spot is not None
    assert (done.spot.module, done.spot.way) == ("student.module.spread", "backward")
    assert done.images == ("a3",)


def test_recipe_parts_try_a_cure(data: Path) -> None:
    """The same batch and weights, another network option: the loss is finite then, the gradient still is not."""
    done = segdistill.replay(stopped(data), "student.options.arguments.epsilon=0.00001")
    assert done.spot is not None
    assert done.spot.way == "backward"
    assert 0 < done.trials[0].terms["task"] < 10


def test_fp32_cures_what_overflows_in_fp16(data: Path) -> None:
    words = (*PLAIN, f"data.root={data}", "student={name: 'module:fragile:Large'}", "precision=fp16")
    run = data.parent / "large"
    with pytest.raises(TrainingError, match="precision=fp32"):
        segdistill.train(*words, out=run, quiet=True)
    done = segdistill.replay(run)
    assert done.precision == "fp16"
    assert [(trial.what, trial.finite) for trial in done.trials] == [("as it was", False), ("in fp32", True)]
    assert done.spot is not None
    assert done.spot.module == "student.module.stem"
    assert any(line.startswith("in fp32: finite") for line in done.lines())


def test_a_lower_rate_since_the_checkpoint_is_the_cure_of_weights_that_grow(data: Path) -> None:
    """Weight decay times the rate is 12: weights grow by 11 a step, with a quarter of the rate by 2."""
    (data / "images" / "a3.png").write_bytes((data / "images" / "a2.png").read_bytes())
    rate = ("optimizer={lr: 1.2, weight_decay: 10, momentum: 0}", "schedule.name=constant", "checkpoint_every=2")
    run = stopped(data, *rate, "precision=bf16", "steps=60", "validate_every=60", epsilon=1.0)
    done = segdistill.replay(run)
    assert done.trials[-1].what.startswith("with 0.25 of the learning rate from step")
    assert not done.trials[0].finite
    assert done.trials[-1].finite


def test_a_lower_rate_is_no_cure_of_a_division_by_zero(data: Path) -> None:
    step = segdistill.replay(stopped(data, "seed=1")).step
    assert step > 2
    run = stopped(data, "seed=1", f"checkpoint_every={step - 2}", run="again")
    done = segdistill.replay(run)
    assert done.step == step
    assert not done.trials[-1].finite
    assert done.trials[-1].error.startswith(f"Loss term 'task' is nan at step {step} of 10")


def test_the_command_line_tells_and_writes_json(
    data: Path, segdistill: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    run = stopped(data)
    printed = segdistill("replay", run)
    assert printed.returncode == 0, printed.stderr
    assert "It first arises in student.module.spread (Spread): 50.0 % of its output" in printed.stdout
    done: dict[str, Any] = json.loads(segdistill("replay", run, "--json").stdout)
    assert done["trials"][0]["terms"]["task"] == "nan"
    assert done["spot"]["kind"] == "Spread"
    refused = segdistill("replay", run, "step=1000")
    assert refused.returncode == 1
    assert "no saved step 1000; it has" in refused.stderr


def test_what_cannot_be_replayed_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no saved step"):
        segdistill.replay(tmp_path)
    run = stopped(data)
    (file,) = (run / "faults").iterdir()
    whole = file.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 1  # of a tensor: torch itself would not see it
    for content in (whole[:1000], bytes(broken)):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"Can't read the saved step .*damaged"):
            segdistill.replay(run)
