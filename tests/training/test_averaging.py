"""The moving average of the weights: its formula, and that it is what a run validates and hands over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import segdistill
from segdistill.models.build import build
from segdistill.models.spec import NetworkSpec
from segdistill.runs.checkpoint import load_state
from segdistill.training.averaging import MovingAverage

SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8, "output_stride": 16}


def test_it_follows_the_weights_and_statistics_by_the_formula() -> None:
    network = build(NetworkSpec(**SMALL), 3)
    average = MovingAverage(network, 0.5)
    expected: dict[str, torch.Tensor] = {}
    for step in range(12):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.copy_(torch.randn_like(value) if value.is_floating_point() else value + 1)
        average.update_parameters(network)
        share = 0.0 if step == 0 else min(0.5, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            old = expected.get(name, value)
            expected[name] = share * old + (1 - share) * value if value.is_floating_point() else value.clone()
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_run_hands_over_and_validates_the_average(tiny: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    segdistill.train(*tiny, "ema=0.9", "steps=6", "validate_every=6", f"out={folder}", quiet=True)
    handed_over = load_file(folder / "student.safetensors")
    states = load_state(folder / "checkpoints" / "last.pt")[1]
    name = next(name for name in handed_over if name.endswith("classifier.weight"))
    assert torch.equal(handed_over[name], states["average"][f"module.{name}"])
    assert not torch.equal(handed_over[name], states["distiller"][f"student.{name}"])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validated = next(line["miou"] for line in lines if line["kind"] == "validation")
    assert segdistill.evaluate(folder, quiet=True).quality.scores.miou == pytest.approx(validated, abs=1e-3)
