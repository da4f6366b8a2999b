"""A method with an optimiser of its own in the training loop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import segdistill
from segdistill.methods import create_method
from segdistill.models.build import probe
from segdistill.models.open import create_model
from segdistill.recipe.training import OptimizerConfig
from segdistill.training.distiller import Distiller
from segdistill.training.schedule import make_optimizer, own_optimizers, parameters_of


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
def test_a_run_with_an_adversary_resumes_bit_identically(loss: str, tiny: tuple[str, ...], tmp_path: Path) -> None:
    adversary = f"{{name: adversary, loss: {loss}, weight: 1, width: 8}}"
    recipe = [
        *tiny, "steps=6", "teacher.train.steps=2", "validate_every=6", "checkpoint_every=2", "clip_grad=5",
        "baseline=none", f"method=[skds, {adversary}]",
    ]  # fmt: skip
    segdistill.distill(*recipe, out=tmp_path / "whole", quiet=True)

    folder = tmp_path / "stopped"  # as a kill after the state of step 4 leaves it
    shutil.copytree(tmp_path / "whole", folder, ignore=shutil.ignore_patterns("student.*"))
    (folder / "checkpoints" / "previous.pt").replace(folder / "checkpoints" / "last.pt")
    segdistill.distill(*recipe, out=folder, resume=True, quiet=True)
    assert (folder / "student.safetensors").read_bytes() == (tmp_path / "whole" / "student.safetensors").read_bytes()

    def losses(run: str) -> list[float]:
        lines = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        return [line["adversary/discriminator"] for line in lines if line["kind"] == "train"]

    assert len(losses("whole")) == 6
    assert losses("stopped") == losses("whole")
