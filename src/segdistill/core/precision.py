"""The numbers that networks compute in, by the names that recipes have for them."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def computing_in(precision: Precision, device: torch.device) -> torch.autocast:
    """While entered, networks compute in that precision, whatever autocast says around it.

    Args:
        precision: of matrix products and convolutions.
        device: where the networks are.

    Returns:
        A context manager.
    """
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")
