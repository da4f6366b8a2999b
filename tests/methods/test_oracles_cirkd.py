"""CIRKD and CIRKDv2 against numbers that the published code gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracles import VOID, arrays, assert_gradient, assert_value, cases, tensor
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.methods import create_method
from segdistill.methods.cirkd import CIRKD
from segdistill.methods.cirkdv2 import CIRKDv2, ContextBlock
from segdistill.methods.parts.projection import KnownBatchNorm

DTYPES = [torch.float32, torch.float64]


def _output(embedding: Tensor, classes: int = 3) -> SegOutput:
    logits = embedding.new_zeros(len(embedding), classes, *embedding.shape[2:])
    return SegOutput(logits=logits, embedding=embedding, features=())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("case", cases("cirkd_minibatch"), ids=lambda case: case["title"])
def test_minibatch_equals_the_published_code(case: dict[str, Any], as_published: bool, dtype: torch.dtype) -> None:
    c, name = case["id"], "cirkd_minibatch"
    f_s = tensor(name, f"{c}/in/feat_s", dtype).requires_grad_()
    student, teacher = _output(f_s), _output(tensor(name, f"{c}/in/feat_t", dtype))
    options = {"tau": case["hp"]["tau"], "pixel_weight": 0, "region_weight": 0, "as_published": as_published}
    if "pool2" in case["title"]:
        options["pool"] = 2
    method = create_method("cirkd", student=student, teacher=teacher, num_classes=3, **options)
    # The published code knows no labels here: `as_published` must not look at the void ones.
    label = torch.full((len(f_s), 40, 40), VOID if as_published else 0)
    value = method(student, teacher, label)["cirkd/minibatch"]
    value.backward()
    assert_value(value, name, f"{c}/val/p2p")
    assert_gradient(f_s.grad, name, f"{c}/grad/p2p/feat_s")


class _Recorded(nn.Module):
    """Stands in for `Chance`: gives the draws that the published code made."""

    def __init__(self, name: str, c: str) -> None:
        super().__init__()
        lengths = arrays(name)[f"{c}/perms/length"].tolist()
        self.perms = list(torch.from_numpy(arrays(name)[f"{c}/perms/concat"]).long().split(lengths))
        self.label = torch.empty(0)

    def uniform(self, *shape: int) -> Tensor:
        """Priorities that put each class's pixels in the order of its permutation."""
        priority = torch.zeros(self.label.shape, dtype=torch.float64)
        for image, label in enumerate(self.label):
            for k in label.unique().tolist():
                if k != VOID:
                    perm = self.perms.pop(0)
                    pixels = (label == k).nonzero()[:, 0]
                    assert len(perm) == len(pixels)
                    priority[image, pixels[perm]] = torch.arange(len(perm), dtype=torch.float64) / len(perm)
        return priority

    def choice(self, size: int, count: int) -> Tensor:
        if (self.label == VOID).all():
            return torch.arange(count)  # the published code draws nothing
        perm = self.perms.pop(0)
        assert len(perm) == size
        return perm[:count]


def _load_head(head: nn.Module, name: str, c: str, training: bool, dtype: torch.dtype) -> None:
    prefix = f"{c}/param/project_head."
    state = {k.removeprefix(prefix): tensor(name, k, dtype) for k in arrays(name) if k.startswith(prefix)}
    head.load_state_dict(state, strict=False)  # but for num_batches_tracked
    head.train(training)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("as_published", [True, False], ids=["published", "fixed"])
@pytest.mark.parametrize("case", cases("cirkd_memory"), ids=lambda case: case["title"])
def test_memory_equals_the_published_code(
    case: dict[str, Any], as_published: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, c, hp = "cirkd_memory", case["id"], case["hp"]
    classes, way = hp["num_classes"], "published" if as_published else "fixed"
    stored = arrays(name)
    f_s, f_t = (tensor(name, f"{c}/in/feat_{role}_0", dtype) for role in "st")
    method = create_method(
        "cirkd",
        student=_output(f_s, classes),
        teacher=_output(f_t, classes),
        num_classes=classes,
        minibatch_weight=0,
        pixel_weight=1,
        region_weight=1,
        tau=hp["contrast_temperature"],
        temperature=hp["contrast_kd_temperature"],
        pixel_queue=hp["pixel_memory_size"],
        region_queue=hp["region_memory_size"],
        pixel_keys=(hp["pixel_contrast_size"] - 1) * classes,
        region_keys=(hp["region_contrast_size"] - 1) * classes,
        pixels_per_image=hp["pixel_update_freq"],
        as_published=as_published,
    ).to(dtype)
    assert isinstance(method, CIRKD)
    assert method.memory is not None
    assert method.head is not None
    _load_head(method.head, name, c, hp["bn_training"], dtype)
    norm = method.head[1]
    # Batch norm over the labelled pixels alone is ours: the reference has the queue corrected and nothing else.
    monkeypatch.setattr(norm, "forward", lambda x, valid: KnownBatchNorm.forward(norm, x))
    recorded = _Recorded(name, c)
    method.memory.chance = recorded  # type: ignore[assignment]
    for part in ("pixel", "region"):
        queue = getattr(method.memory, f"{part}s")
        queue.rows.copy_(tensor(name, f"{c}/in/{part}_queue0", dtype))
        queue.pointer.copy_(tensor(name, f"{c}/in/{part}_ptr0", torch.int64))
    rounded = {"rtol": 0, "atol": 1e-6}
    for j in range(hp["calls"]):
        f_s = tensor(name, f"{c}/in/feat_s_{j}", dtype).requires_grad_()
        recorded.label = tensor(name, f"{c}/aux/labels_small_{j}", torch.int64).flatten(1)
        label = tensor(name, f"{c}/in/labels_{j}", torch.int64)
        method.zero_grad()
        teacher = _output(tensor(name, f"{c}/in/feat_t_{j}", dtype), classes)
        terms = method(_output(f_s, classes), teacher, label)
        for part in ("pixel", "region"):
            value, key = terms[f"cirkd/{part}"], f"{way}_{part}_{j}"
            inputs = [f_s, *method.head.parameters()]
            gradients = torch.autograd.grad(value, inputs, retain_graph=True)
            if np.isnan(stored[f"{c}/val/{key}"]):  # a batch that is all void
                assert value == 0
                assert not any(gradient.any() for gradient in gradients)
                continue
            assert_value(value, name, f"{c}/val/{key}")
            names = [f"feat_s_{j}", *(f"param.project_head.{n}" for n, _ in method.head.named_parameters())]
            for n, gradient in zip(names, gradients, strict=True):
                if f"{c}/grad/{key}/{n}" in stored:
                    assert_gradient(gradient, name, f"{c}/grad/{key}/{n}")
        if j in (0, 2):
            for part in ("pixel", "region"):
                queue, suffix = getattr(method.memory, f"{part}s"), f"after{j + 1}"
                source = way if part == "pixel" else "published"
                want = tensor(name, f"{c}/{source}/{part}_queue_{suffix}", dtype)
                torch.testing.assert_close(queue.rows, want, **rounded)
                want = tensor(name, f"{c}/published/{part}_ptr_{suffix}", torch.int64)
                assert torch.equal(queue.pointer, want)
            for field in ("running_mean", "running_var"):
                want = tensor(name, f"{c}/published/bn_{field}_after{j + 1}", dtype)
                torch.testing.assert_close(getattr(norm, field), want, rtol=1e-5, atol=1e-6)
    assert not recorded.perms


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("as_published", [True, False], ids=["published", "default"])
@pytest.mark.parametrize("case", cases("cirkd_channel"), ids=lambda case: case["title"])
def test_channels_equal_the_published_code(case: dict[str, Any], as_published: bool, dtype: torch.dtype) -> None:
    name, c, hp = "cirkd_channel", case["id"], case["hp"]
    f_s, f_t = (tensor(name, f"{c}/in/feat_{role}_0", dtype) for role in "st")
    off = dict.fromkeys(("minibatch_weight", "pixel_weight", "region_weight", "fitnet_weight"), 0)
    method = create_method(
        "cirkdv2",
        student=_output(f_s),
        teacher=_output(f_t),
        num_classes=3,
        **off,
        context=False,
        channel_memory_weight=1,
        channel_weight=1,
        tau=hp["contrast_temperature"],
        temperature=hp["contrast_kd_temperature"],
        channel_queue=hp["channel_memory_size"],
        channel_keys=hp["channel_contrast_size"],
        channels_per_step=hp["channel_update_freq"],
        as_published=as_published,
    ).to(dtype)
    assert isinstance(method, CIRKDv2)
    assert method.channel_head is not None
    _load_head(method.channel_head, name, c, hp["bn_training"], dtype)
    recorded = _Recorded(name, c)
    recorded.label = torch.zeros(1)
    memory = method.channels
    memory.chance = recorded  # type: ignore[assignment]
    memory.queue.rows = tensor(name, f"{c}/in/channel_queue0", dtype)[None].clone()  # it is written to
    memory.queue.pointer.copy_(tensor(name, f"{c}/in/channel_ptr0", torch.int64))
    for j in range(hp["calls"]):
        f_s = tensor(name, f"{c}/in/feat_s_{j}", dtype).requires_grad_()
        label = torch.full((len(f_s), 40, 40), VOID if as_published else 0)
        terms = method(_output(f_s), _output(tensor(name, f"{c}/in/feat_t_{j}", dtype)), label)
        parts = {"c2c_batch": "channel_minibatch", "c2c_memory": "channel_memory", "channel_mse": "channel"}
        for term, part in parts.items():
            value = terms[f"cirkdv2/{part}"]
            gradients = torch.autograd.grad(value, [f_s, *method.channel_head.parameters()], retain_graph=True)
            assert_value(value, name, f"{c}/val/{term}_{j}")
            names = [f"feat_s_{j}", *(f"param.project_head.{n}" for n, _ in method.channel_head.named_parameters())]
            for n, gradient in zip(names, gradients, strict=True):
                if f"{c}/grad/{term}_{j}/{n}" in arrays(name):
                    assert_gradient(gradient, name, f"{c}/grad/{term}_{j}/{n}")
        if j in (0, 2):
            want = tensor(name, f"{c}/state/channel_queue_after{j + 1}", dtype)
            torch.testing.assert_close(memory.queue.rows[0], want, rtol=0, atol=1e-6)
            assert torch.equal(memory.queue.pointer, tensor(name, f"{c}/state/channel_ptr_after{j + 1}", torch.int64))
    assert not recorded.perms


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", cases("gcn"), ids=lambda case: case["title"])
def test_the_context_block_equals_the_published_code(case: dict[str, Any], dtype: torch.dtype) -> None:
    name, c = "gcn", case["id"]
    f_s = tensor(name, f"{c}/in/feat_s", dtype).requires_grad_()
    block = ContextBlock(f_s.shape[1]).to(dtype)
    prefix = f"{c}/param/"
    state = {k.removeprefix(prefix): tensor(name, k, dtype) for k in arrays(name) if k.startswith(prefix)}
    block.load_state_dict(state, strict=False)  # but for num_batches_tracked
    block.train(case["hp"]["bn_training"])
    out = block(f_s, torch.ones_like(f_s[:, :1], dtype=torch.bool))
    torch.testing.assert_close(out, tensor(name, f"{c}/out/feat", dtype), rtol=1e-4, atol=1e-5)
    value = (out * tensor(name, f"{c}/in/upstream", dtype)).sum()
    value.backward()
    assert_value(value, name, f"{c}/val/vjp")
    assert_gradient(f_s.grad, name, f"{c}/grad/vjp/feat_s")
    for n, parameter in block.named_parameters():
        assert_gradient(parameter.grad, name, f"{c}/grad/vjp/param.{n}")
