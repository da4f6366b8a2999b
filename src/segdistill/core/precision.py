"""The numbers that networks compute in, by the names that recipes have for them."""

from __future__ import annotations

import platform
from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]
PrecisionKey = Literal["auto", "fp32", "bf16", "fp16"]
"""What a recipe may say: a precision, or "auto" for what this machine computes fastest in."""

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_AMPERE = (8, 0)


def computing_in(precision: Precision, device: torch.device) -> torch.autocast:
    """While entered, networks compute in that precision, whatever autocast says around it.

    Args:
        precision: of matrix products and convolutions.
        device: where the networks are.

    Returns:
        A context manager.
    """
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies in bfloat16: others only imitate it, slower than float32.

    Args:
        device: a CUDA device (from capability 8.0 on), or the processor (AVX512-BF16 or AMX; BF16 of ARM).

    Returns:
        False for other devices.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def is_imitated(precision: Precision, device: torch.device) -> bool:
    """Whether hardware is known not to compute in a precision, so that it is far slower there than in fp32.

    Args:
        precision: that networks are to compute in.
        device: where they are.

    Returns:
        False for devices other than CUDA and the processor, of which nothing is known.
    """
    if precision == "bf16":
        return device.type in ("cuda", "cpu") and not computes_in_bf16(device)
    if precision == "fp16" and device.type == "cpu" and torch.backends.mkldnn.is_available():
        return not torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return False
