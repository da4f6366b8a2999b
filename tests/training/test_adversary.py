"""A method with an optimiser of its own in the training loop."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forked import Forked

from segdistill.methods import create_method
from segdistill.models.build import probe
from segdistill.models.open import create_model
from segdistill.recipe.training import OptimizerConfig
from segdistill.training.distiller import Distiller
from segdistill.training.schedule import make_optimizer, own_optimizers, parameters_of

Start = Callable[..., Forked]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_each_parameter_has_one_optimiser_and_its_own_gradient() -> None:
    student, teacher = (create_model("mobilenetv2_035_fcn", 8, channels=width) for width in (8, 16))
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": 8}
    adversary = create_method("adversary", **example, width=4, weight=1)
    distiller = Distiller(student, [create_method("kd", **example), adversary], teacher)
    method_optimizers = own_optimizers(distiller.methods)
    optimizer = make_optimizer(OptimizerConfig(lr=1e-3), student, distiller.methods, method_optimizers)
    assert set(parameters_of(method_optimizers)) == set(adversary.parameters())
    assert set(parameters_of([optimizer])) == set(student.parameters())

    image = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    label = torch.randint(0, 8, (2, 64, 64), dtype=torch.uint8)
    distiller.train()
    losses = []
    for _ in range(3):
        before = [parameter.clone() for parameter in adversary.parameters()]
        terms = distiller(image, label)
        terms["adversary/student"].backward(retain_graph=True)
        assert all(parameter.grad is None for parameter in adversary.parameters())
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in student.parameters())
        sent = [None if p.grad is None else p.grad.clone() for p in student.parameters()]
        terms["adversary/discriminator"].backward()
        for parameter, gradient in zip(student.parameters(), sent, strict=True):
            assert gradient is None or torch.equal(parameter.grad, gradient)
        for each in (optimizer, *method_optimizers):
            each.step()
            each.zero_grad()
        assert any(not torch.equal(a, b) for a, b in zip(before, adversary.parameters(), strict=True))
        losses.append(terms["adversary/discriminator"].item())
    assert losses[-1] != losses[0]


@pytest.mark.parametrize("loss", ["hinge", "wgan-gp"])
def test_a_killed_run_with_an_adversary_resumes_bit_identically(
    loss: str, tiny: tuple[str, ...], tmp_path: Path, segdistill: Run, start: Start
) -> None:
    adversary = f"{{name: adversary, loss: {loss}, weight: 1, width: 8}}"
    recipe = [
        *tiny, "steps=9", "teacher.train.steps=2", "validate_every=9", "checkpoint_every=2", "clip_grad=5",
        "baseline=none", f"method=[skds, {adversary}]",
    ]  # fmt: skip
    whole = segdistill("distill", *recipe, f"out={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr

    folder = tmp_path / "killed"
    process = start("distill", *recipe, f"out={folder}")
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and '"step": 5,' in metrics.read_text():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = segdistill("distill", *recipe, f"out={folder}", "--resume")
    assert last.returncode == 0, last.stderr
    assert (folder / "student.safetensors").read_bytes() == (tmp_path / "whole" / "student.safetensors").read_bytes()

    def losses(run: str) -> list[float]:
        lines = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        return [line["adversary/discriminator"] for line in lines if line["kind"] == "train"]

    assert len(losses("whole")) == 9
    assert losses("killed") == losses("whole")
