"""CIRKD and CIRKDv2 against numbers that the published code gave."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segdistill.methods import create_method
from segdistill.outputs import SegOutput

LOSSES = Path(__file__).parents[1] / "fixtures" / "losses"
DTYPES = [torch.float32, torch.float64]
VOID = 255


@cache
def _arrays(method: str) -> dict[str, np.ndarray]:
    with np.load(LOSSES / f"{method}.npz") as file:
        return dict(file)


def _cases(method: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(str(_arrays(method)["meta"]))["cases"]
    return cases


def _tensor(method: str, key: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(_arrays(method)[key]).to(dtype)


def _output(embedding: Tensor, classes: int = 3) -> SegOutput:
    logits = embedding.new_zeros(len(embedding), classes, *embedding.shape[2:])
    return SegOutput(logits=logits, embedding=embedding, features=())


def _assert_value(got: Tensor, method: str, key: str) -> None:
    float64 = got.dtype == torch.float64
    want = float(_arrays(method)[key])
    assert got.item() == pytest.approx(want, rel=1e-9 if float64 else 2e-5, abs=1e-12 if float64 else 1e-7)


def _assert_gradient(got: Tensor | None, method: str, key: str) -> None:
    want = _tensor(method, key, torch.float64)
    assert got is not None
    relative = 1e-6 if got.dtype == torch.float64 else 1e-4
    assert (got.double() - want).abs().max() <= max(relative * want.abs().max().item(), 1e-8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("case", _cases("cirkd_minibatch"), ids=lambda case: case["title"])
def test_minibatch_equals_the_published_code(case: dict[str, Any], as_published: bool, dtype: torch.dtype) -> None:
    c, name = case["id"], "cirkd_minibatch"
    f_s = _tensor(name, f"{c}/in/feat_s", dtype).requires_grad_()
    student, teacher = _output(f_s), _output(_tensor(name, f"{c}/in/feat_t", dtype))
    options = {"tau": case["hp"]["tau"], "as_published": as_published}
    if "pool2" in case["title"]:
        options["pool"] = 2
    method = create_method("cirkd", student=student, teacher=teacher, num_classes=3, **options)
    # The published code knows no labels here: `as_published` must not look at the void ones.
    label = torch.full((len(f_s), 40, 40), VOID) if as_published else None
    value = method(student, teacher, label)["cirkd/minibatch"]
    value.backward()
    _assert_value(value, name, f"{c}/val/p2p")
    _assert_gradient(f_s.grad, name, f"{c}/grad/p2p/feat_s")
