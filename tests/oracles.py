"""The numbers of the published losses: those kept as fixtures, and the shared ones that are too large to keep."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LOSSES = Path(__file__).parent / "fixtures" / "losses"
SHARED = Path(__file__).parents[2] / "shared"
VOID = 255


@cache
def arrays(method: str) -> dict[str, np.ndarray]:
    with np.load(LOSSES / f"{method}.npz") as file:
        return dict(file)


def cases(method: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(str(arrays(method)["meta"]))["cases"]
    return found


def tensor(method: str, key: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(arrays(method)[key]).to(dtype)
