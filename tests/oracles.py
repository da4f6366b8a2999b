"""The numbers of the published losses and of OpenMMLab's protocol that are kept as fixtures."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"
VOID = 255


@cache
def arrays(method: str) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "losses" / f"{method}.npz") as file:
        return dict(file)


@cache
def protocol() -> dict[str, np.ndarray]:
    """What OpenMMLab computes on fixed inputs, see `fixtures/protocol/README.md`."""
    with np.load(FIXTURES / "protocol" / "protocol.npz") as file:
        return dict(file)


def cases(method: str) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(str(arrays(method)["meta"]))["cases"]
    return read


def tensor(method: str, key: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(arrays(method)[key]).to(dtype)


def assert_value(got: Tensor, method: str, key: str, *, rtol: float = 1e-5) -> None:
    """A loss equals the stored number; rtol: in float32."""
    float64 = got.dtype == torch.float64
    want = float(arrays(method)[key])
    assert got.item() == pytest.approx(want, rel=1e-9 if float64 else rtol, abs=1e-12 if float64 else 1e-9)


def assert_gradient(got: Tensor | None, method: str, key: str, *, floor: float = 1e-10) -> None:
    """A gradient equals the stored one, relative to its largest entry; floor: what counts as zero in float32.

    Some are stored rounded to float32, which bounds the comparison in float64.
    """
    stored = arrays(method)[key]
    assert got is not None
    relative = 1e-4 if got.dtype == torch.float32 else 1e-9 if stored.dtype == np.float64 else 1e-6
    gap = (got.double() - torch.from_numpy(stored).double()).abs().max()
    assert gap <= max(relative * float(np.abs(stored).max()), 1e-12 if got.dtype == torch.float64 else floor)
