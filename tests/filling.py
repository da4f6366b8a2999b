"""Deterministic weights and inputs that do not depend on torch; see tests/fixtures/models/README.md."""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures" / "models"
INDEX: dict[str, Any] = json.loads((FIXTURES / "index.json").read_text())
NAMES: dict[str, list[tuple[str, list[int]]]] = json.loads(gzip.decompress((FIXTURES / "keys.json.gz").read_bytes()))


def filled(shapes: Iterable[tuple[str, Iterable[int]]], *, seed: int = 1234, gamma: float = 1.0) -> dict[str, Tensor]:
    """A state dict of these names and shapes."""
    state = {}
    for name, shape in shapes:
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
            continue
        size = tuple(shape)
        n = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF).standard_normal(size)
        if name.endswith("running_mean"):
            n = 0.1 * n
        elif name.endswith("running_var"):
            n = 1 + 0.25 * np.abs(n)
        elif len(size) == 1 and name.endswith(".weight"):
            n = gamma * (1 + 0.1 * n)
        elif len(size) == 1:
            n = 0.05 * n
        else:
            n = n * np.sqrt(2 / np.prod(size[1:]))
        state[name] = torch.from_numpy(n.astype(np.float32))
    return state


def shapes_of(state: Mapping[str, Tensor]) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in state.items()]


def oracle_state(name: str) -> dict[str, Tensor]:
    """The filled weights of a network of the fixtures by their published names."""
    return dict(_oracle_state(name))


@functools.lru_cache(maxsize=1)
def _oracle_state(name: str) -> dict[str, Tensor]:
    recipe = INDEX.get(name, {"seed": 1234, "gamma": 1.0})
    return filled(NAMES[name], seed=recipe["seed"], gamma=recipe["gamma"])


def oracle_input(seed: int = 1234) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed + 1).standard_normal((1, 3, 65, 129)).astype(np.float32))


def written(folder: Path, content: Any, name: str = "file.pth") -> Path:
    """A file of torch that holds `content`."""
    torch.save(content, folder / name)
    return folder / name
