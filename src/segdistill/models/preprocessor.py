"""preprocessor_config.json, which lies beside the weights of Hugging Face: how images become what a network sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.core.errors import CheckpointError
from segdistill.models.json_files import read_object

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_BGR_ALONE = ("mobilevit", "mobilevitv2")
"""Model types whose processors turn RGB into BGR and do no more, where no file says it."""


def normalization(saved: Mapping[str, Any], model_type: str = "") -> dict[str, Any]:
    """What a network expects of its images.

      y = (255 f x - mean) / std for x in [0,1] and the processor's rescale factor f

    Args:
        saved: The content of preprocessor_config.json; empty where there is none.
        model_type: Of config.json, whose usual processor is taken then.

    Returns:
        mean and std of RGB in [0,1] (3 numbers each), and bgr: fields of a `NetworkSpec`.

    Raises:
        CheckpointError: A number is none, or 0.
    """
    saved = saved or {"do_flip_channel_order": model_type in _BGR_ALONE}
    bgr = bool(saved.get("do_flip_channel_order", False))
    try:
        unit = 255 * float(saved.get("rescale_factor", 1 / 255)) if saved.get("do_rescale", True) else 255.0
        mean, std = (_three(saved.get(f"image_{key}") or usual) for key, usual in
                     (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)))  # fmt: skip
        if not saved.get("do_normalize", not bgr):
            mean, std = (0.0,) * 3, (1.0,) * 3
        mean, std = tuple(value / unit for value in mean), tuple(value / unit for value in std)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"preprocessor_config.json: {error}; expected a mean and std of RGB.") from error
    return {"mean": mean, "std": std, "bgr": bgr}


def unless_usual(pixels: Mapping[str, Any]) -> dict[str, Any]:
    """Mean, std and bgr where they are not those of RGB by ImageNet, which networks have by themselves.

    Args:
        pixels: The three.

    Returns:
        The three, or nothing.
    """
    numbers = zip((*pixels["mean"], *pixels["std"]), (*IMAGENET_MEAN, *IMAGENET_STD), strict=True)
    is_usual = not pixels["bgr"] and all(abs(one - other) < 1e-6 for one, other in numbers)
    return {} if is_usual else dict(pixels)


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """The content of a folder's preprocessor_config.json.

    Args:
        folder: With the weights.

    Returns:
        It; empty where there is none.

    Raises:
        CheckpointError: It is damaged.
    """
    file = folder / "preprocessor_config.json"
    return read_object(file) if file.is_file() else {}


def _three(value: float | Sequence[float]) -> tuple[float, ...]:
    numbers = tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),) * 3
    if len(numbers) != 3:
        raise ValueError(f"{list(numbers)} for three channels")
    return numbers
