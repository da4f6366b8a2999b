"""Two processes make of a batch what one makes of it: order, gradients, weights, queues; and so do micro-batches."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_two
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import segdistill
from segdistill.data import create_dataset
from segdistill.data.loading import training_batches
from segdistill.data.stream import Stream
from segdistill.methods import create_method
from segdistill.models.build import build, probe
from segdistill.models.open import create_model
from segdistill.models.spec import NetworkSpec
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import load_recipe
from segdistill.recipe.training import TaskLossConfig
from segdistill.runtime.processes import start_accelerator
from segdistill.training.distiller import Distiller
from segdistill.training.norms import synchronize_norms
from segdistill.training.schedule import make_optimizer, own_optimizers
from segdistill.training.sharding import shard
from segdistill.training.shares import own_batches
from segdistill.training.stepper import forward_backward

KINDS: dict[str, list[dict[str, Any]]] = {
    "logits": [{"name": "kd"}],
    "hard pixels": [],
    "features": [{"name": "fitnet"}, {"name": "cwd"}],
    # Adam makes steps of the size of its rate of gradients that are rounding.
    "adversarial": [{"name": "skds"}, {"name": "adversary", "width": 8, "lr": 1e-6}],
    "memory": [
        {
            "name": "cirkd", "pixel_queue": 30, "region_queue": 6, "pixel_keys": 20, "region_keys": 8,
            "pixels_per_image": 4,
        }
    ],
}  # fmt: skip
STEPS = 2
SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8, "output_stride": 16}


@functools.cache
def _distil(rank: int, kind: str, accumulate: int = 1) -> dict[str, Any]:
    """Names in their order, gradients of the first step, and all that is trained or remembered after the last."""
    recipe = load_recipe(
        "streets", "data.size=[32,48]", "data.count=12", "augment.crop=[32,48]", f"grad_accumulation={accumulate}",
        "batch_size=8", "optimizer.lr=0.0002", "augment.scale=[1,1]", "student=mobilenetv2_035_fcn",
    )  # fmt: skip
    data = create_dataset(recipe.data, "train")
    torch.manual_seed(0)
    student = build(NetworkSpec(**SMALL, dropout=0.0), len(data.classes))
    teacher = build(NetworkSpec(**SMALL), len(data.classes)).eval()
    example = {"student": probe(student), "teacher": probe(teacher)}
    methods = [
        create_method(name, **example, num_classes=len(data.classes), **{k: v for k, v in each.items() if k != "name"})
        for each in KINDS[kind]
        for name in [each["name"]]
    ]
    task = TaskLossConfig(ohem=0.12 if kind == "hard pixels" else None)  # of 8 classes
    distiller = Distiller(student, methods, teacher, task=task).to(memory_format=torch.channels_last)
    method_optimizers = own_optimizers(methods)
    optimizer = make_optimizer(recipe.optimizer, student, distiller.methods, method_optimizers)
    accelerator = start_accelerator()
    model = accelerator.prepare_model(distiller)
    share = own_batches(recipe)
    batches = training_batches(Stream(data, recipe.augment, 0), share, start=0, stop=STEPS, workers=0)
    distiller.train()
    for module in distiller.modules():
        if isinstance(module, nn.BatchNorm2d):  # of two halves it is another one
            module.eval()
    names, gradients = [], {}
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for step in range(STEPS):
        parts = [next(batches) for _ in range(accumulate)]
        names += [part.names for part in parts]
        forward_backward(
            model, parts, step, precision="fp32", scaler=scaler, no_sync=lambda: accelerator.no_sync(model)
        )
        if step == 0:
            gradients = {name: p.grad.clone() for name, p in distiller.named_parameters() if p.grad is not None}
        for each in (optimizer, *method_optimizers):
            each.step()
            each.zero_grad()
    state = {name: value for name, value in distiller.state_dict().items() if isinstance(value, Tensor)}
    queues = {name: value for name, value in state.items() if name.startswith(distiller.queue_names() or ("-",))}
    wrapped = isinstance(model, DistributedDataParallel)
    return {"names": names, "gradients": gradients, "state": state, "queues": queues, "wrapped": wrapped}


def _normed(rank: int) -> list[str]:
    """The kinds of batch norm of a student and a method after they are to be synchronised, and that names stay."""
    student = create_model("mobilenetv2_035_fcn", 3, channels=8)
    teacher = build(NetworkSpec(**SMALL), 3).eval()
    example = {"student": probe(student), "teacher": probe(teacher)}
    distiller = Distiller(student, [create_method("cirkd", **example, num_classes=3)], teacher)
    names = list(distiller.state_dict())
    synchronize_norms(distiller, True, torch.device("cuda"), 2)
    assert list(distiller.state_dict()) == names
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in teacher.modules())
    image = torch.rand(2, 3, 32, 32)
    assert student.eval()(image).logits.isfinite().all()
    norms = [module for module in distiller.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return sorted({type(module).__name__ for module in norms})


def _sharded(rank: int) -> list[dict[str, Any]]:
    """A sharded teacher beside the whole one: its maps, and how much of it is here."""
    result = []
    for precision in (None, "bf16"):
        torch.manual_seed(1)
        teacher = Teacher(build(NetworkSpec(**SMALL), 4), precision=precision).eval()
        image = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            whole = teacher(image)
            shard(teacher)
            parts = [parameter.to_local().numel() for parameter in teacher.parameters()]
            sharded = teacher(image)
        after = [parameter.to_local().numel() for parameter in teacher.parameters()]
        maps = [
            (a, b) for a, b in zip((whole.logits, *whole.features), (sharded.logits, *sharded.features), strict=True)
        ]
        held = sum(after) / sum(parameter.numel() for parameter in teacher.parameters())
        result.append({"maps": maps, "held": held, "resharded": parts == after})
    return result


def _train(words: list[str]) -> None:
    segdistill.distill(*words, quiet=True)


def _all(rank: int, words: list[str]) -> dict[str, Any]:
    """Everything that two processes are asked for, in one go."""
    done = {kind: _distil(rank, kind) for kind in KINDS}
    done["sharded"] = _sharded(rank)
    _train(words)
    return done


NORMLESS = "student={name: 'module:normless:Normless'}"
ALONE = (
    "streets", "data.size=[32,48]", "data.count=12", "augment.crop=[32,48]", "augment.scale=[0.5,1.5]", "steps=5",
    "batch_size=8", "workers=0", "validate_every=5", "optimizer.lr=0.05", "log_every=1", "ema=0.9", "data.labeled=8",
    "augment.mix=cutmix", "teacher.check=false",
)  # fmt: skip
"""Shrunk images are filled with void, more in one part of a batch than in the other."""
WORDS = (*ALONE, NORMLESS, "kd", "baseline=none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    network = NORMLESS.replace("student", "teacher.network")
    for seed in (1, 2):
        segdistill.train(*ALONE, network, role="teacher", seed=seed, out=folder / f"teacher{seed}", quiet=True)
    return in_two(_all, [*WORDS, _teachers(folder), f"out={folder / 'two'}"])


def _teachers(folder: Path) -> str:
    return f"teacher.weights=[{folder / 'teacher1'}, {folder / 'teacher2'}]"


@pytest.mark.parametrize("kind", KINDS)
def test_training_by_two_processes_equals_that_by_one(kind: str, both: list[dict[str, Any]]) -> None:
    one, (first, second) = _distil(0, kind), (each[kind] for each in both)
    assert first["wrapped"]
    assert second["wrapped"]
    assert [(*a, *b) for a, b in zip(first["names"], second["names"], strict=True)] == one["names"]
    assert first["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(first["gradients"][name], gradient, rtol=1e-4, atol=1e-5)
        assert torch.equal(first["gradients"][name], second["gradients"][name]), name
    for name, value in one["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-5, atol=1e-5)
    assert first["queues"].keys() == one["queues"].keys()
    assert bool(one["queues"]) == (kind == "memory")
    for name, queue in first["queues"].items():
        assert torch.equal(queue, second["queues"][name]), name


def test_micro_batches_equal_the_batch() -> None:
    one, parts = _distil(0, "logits"), _distil(0, "logits", accumulate=2)
    assert [(*a, *b) for a, b in zip(parts["names"][::2], parts["names"][1::2], strict=True)] == one["names"]
    for name, value in one["state"].items():
        torch.testing.assert_close(parts["state"][name], value, rtol=1e-5, atol=1e-5)


def test_a_run_of_two_processes_is_that_of_one(both: list[dict[str, Any]], folder: Path) -> None:
    """Two teachers, unlabelled images, mixed pictures, a measured share and averaged weights."""
    _train([*WORDS, _teachers(folder), f"out={folder / 'one'}"])
    _assert_same(folder / "one", folder / "two")


def test_a_run_of_two_micro_batches_is_that_of_one_batch(folder: Path) -> None:
    """Of the student alone: a method takes a micro-batch for a batch of its own."""
    for name, number in (("batch", 1), ("parts", 2)):
        segdistill.train(*ALONE, NORMLESS, grad_accumulation=number, out=folder / name, quiet=True)
    _assert_same(folder / "batch", folder / "parts")


def _assert_same(one: Path, other: Path) -> None:
    assert _losses(other) == pytest.approx(_losses(one), rel=1e-4)
    weights = load_file(other / "student.safetensors")
    for key, value in load_file(one / "student.safetensors").items():
        torch.testing.assert_close(weights[key], value, rtol=1e-5, atol=1e-5)


def _losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["task"] for line in lines if line["kind"] == "train"]


def test_a_sharded_teacher_says_what_the_whole_one_says(both: list[dict[str, Any]]) -> None:
    for each in (result for rank in both for result in rank["sharded"]):
        assert each["maps"]
        assert all(torch.equal(whole, sharded) for whole, sharded in each["maps"])
        assert each["held"] < 0.51
        assert each["resharded"]


def test_batch_norms_are_synchronised_but_for_those_that_leave_void_out() -> None:
    assert _normed(0) == ["KnownBatchNorm", "SyncBatchNorm", "SyncBatchNormAct"]
