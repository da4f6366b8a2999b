"""Learning rates and parameter groups."""

from __future__ import annotations

import copy

import pytest
import torch

from segdistill.models.open import create_model
from segdistill.recipe.recipe import load_recipe
from segdistill.recipe.training import OptimizerConfig, ScheduleConfig
from segdistill.training.schedule import make_optimizer, set_rate


def test_poly_is_the_published_rate() -> None:
    # OpenMMLab: (lr0 - min) (1 - i / T)^0.9 + min with lr0 0.01, min 1e-4.
    schedule = ScheduleConfig(name="poly", power=0.9, min_lr=0.01)
    for step in (0, 1, 40_000, 79_999):
        expected = (0.01 - 1e-4) * (1 - step / 80_000) ** 0.9 + 1e-4
        assert 0.01 * schedule.factor(step, 80_000) == pytest.approx(expected, rel=1e-12)


def test_cosine_and_warm_up() -> None:
    schedule = ScheduleConfig(name="cosine", warmup=10)
    assert [schedule.factor(step, 110) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule.factor(60, 110) == pytest.approx(0.5)
    assert schedule.factor(109, 110) < 0.001


def test_openmmlabs_warm_up_multiplies_a_curve_that_begins_at_step_0() -> None:
    recipe = load_recipe("streets", "openmmlab_segformer_160k", "student=segformer_b0")
    rates = [recipe.optimizer.lr * recipe.schedule.factor(step, recipe.steps) for step in (0, 1500, 80_000)]
    assert rates == pytest.approx([6e-11, 5.94375e-5, 3.0e-5], rel=1e-12)
    for step in (1, 750, 1499):  # mmcv: (1 - (1 - i / warmup) (1 - ratio)) of the regular rate
        regular = 6e-5 * (1 - step / 160_000)
        expected = (1 - (1 - step / 1500) * (1 - 1e-6)) * regular
        assert 6e-5 * recipe.schedule.factor(step, 160_000) == pytest.approx(expected, rel=1e-12)


def test_recipes_without_a_warm_up_ratio_are_written_as_they_were() -> None:
    assert set(ScheduleConfig().model_dump()) == {"name", "power", "warmup", "min_lr"}
    assert ScheduleConfig(warmup_ratio=0.1).model_dump()["warmup_ratio"] == 0.1


def test_groups_give_the_head_its_rate_and_spare_norms_from_decay() -> None:
    network = create_model("mobilenetv2_035_fcn", 3)
    config = OptimizerConfig(name="adamw", lr=0.1, head_lr=10, weight_decay=0.5, decay_norms=False)
    optimizer = make_optimizer(config, network, torch.nn.Conv2d(3, 3, 1))
    assert set_rate(optimizer, 0.5) in (0.05, 0.5)
    settings = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            settings[parameter] = (group["lr"], group["weight_decay"])
    for name, parameter in network.named_parameters():
        rate = 0.05 if name.startswith("backbone.") else 0.5
        assert settings[parameter] == (rate, 0.5 if parameter.ndim > 1 else 0.0), name
    assert len(settings) == len(list(network.parameters())) + 2


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_is_that_of_the_plain_optimiser_however_weights_lie_in_memory(name: str) -> None:
    config = OptimizerConfig(name=name, lr=0.01, weight_decay=0.1)  # type: ignore[arg-type]  # one of the two
    torch.manual_seed(0)
    network = create_model("mobilenetv2_035_fcn", 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network(torch.rand(2, 3, 32, 32)).logits.square().mean().backward()
    gradients = [each.grad for each in network.parameters()]
    stepped = []
    for fused in (None, False):
        twin = copy.deepcopy(network)
        optimizer = make_optimizer(config, twin, None)
        for group in optimizer.param_groups:
            group["fused"] = group["fused"] if fused is None else fused
        for _ in range(3):
            for each, gradient in zip(twin.parameters(), gradients, strict=True):
                each.grad = None if gradient is None else gradient.clone()
            optimizer.step()
        stepped.append(twin)
    for (key, tried), plain in zip(stepped[0].named_parameters(), stepped[1].parameters(), strict=True):
        torch.testing.assert_close(tried, plain, rtol=1e-5, atol=1e-6, msg=key)
