"""Photometric distortion: the published numbers, and ranges and chances as they are said to be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from oracles import protocol

from segdistill.data.photometric import Distortion, Picture

SEEDS = range(400)


def _drawn(seed: int) -> Distortion:
    return Distortion.draw(torch.Generator().manual_seed(seed))


def _as_openmmlab_draws(random: np.random.RandomState) -> Distortion:
    """The draws of OpenMMLab's PhotoMetricDistortion in its order."""

    def contrast() -> float | None:
        return random.uniform(0.5, 1.5) if random.randint(2) else None

    brightness = random.uniform(-32, 32) if random.randint(2) else None
    first = random.randint(2) == 1
    early = contrast() if first else None
    saturation = random.uniform(0.5, 1.5) if random.randint(2) else None
    hue = int(random.randint(-18, 18)) if random.randint(2) else None
    return Distortion(brightness, early if first else contrast(), saturation, hue, contrast_last=not first)


@pytest.mark.parametrize("seed", range(6))
def test_it_equals_what_openmmlab_computes(seed: int) -> None:
    bgr, want = protocol()["photometric/bgr"], protocol()[f"photometric/seed{seed}"]
    distortion = _as_openmmlab_draws(np.random.RandomState(seed))
    got = distortion(np.ascontiguousarray(bgr[..., ::-1]))
    assert np.array_equal(got[..., ::-1], want)


def test_each_part_has_an_even_chance_and_its_range() -> None:
    drawn = [_drawn(seed) for seed in SEEDS]
    ranges = {"brightness": (-32, 32), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-18, 17)}
    for part, (low, high) in ranges.items():
        values = [value for one in drawn if (value := getattr(one, part)) is not None]
        assert 0.42 < len(values) / len(drawn) < 0.58
        margin = 0.05 * (high - low)
        assert low <= min(values) < low + margin
        assert high - margin < max(values) <= high
    assert 0.42 < np.mean([one.contrast_last for one in drawn]) < 0.58


def test_grey_stays_grey_and_keeps_its_order() -> None:
    """No channel drifts, and nothing wraps around at black or white."""
    ramp: Picture = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    for seed in SEEDS:
        result = _drawn(seed)(ramp).astype(int)
        assert np.ptp(result, axis=2).max() == 0
        assert (np.diff(result[0, :, 0]) >= 0).all()
        assert result[0, 0, 0] <= 48, "black is at most 32 brighter, times a contrast of 1.5"
        assert result[0, -1, 0] >= 111, "white is at least 32 darker, times a contrast of 0.5"


def test_one_image_in_sixteen_keeps_all_its_colors() -> None:
    """Four changes, each with an even chance to be left out; then the result is exact."""
    picture = np.random.default_rng(0).integers(256, size=(8, 8, 3), dtype=np.uint8)
    original = picture.copy()
    same = [np.array_equal(_drawn(seed)(picture), original) for seed in SEEDS]
    assert 0.03 < np.mean(same) < 0.11
    assert np.array_equal(picture, original), "the input is left alone"


def _pixel_by_pixel(distortion: Distortion, picture: Picture) -> Picture:
    """The plain twin: each part computed for the pixels, not for the 256 values they may have."""

    def to_bytes(values: np.ndarray) -> np.ndarray:
        return np.floor(np.clip(values, 0, 255)).astype(np.uint8)

    def scaled(picture: np.ndarray, factor: float) -> np.ndarray:
        return to_bytes(picture.astype(np.float32) * np.float32(factor))

    if distortion.brightness is not None:
        picture = to_bytes(picture.astype(np.float32) + np.float32(distortion.brightness))
    if distortion.contrast is not None and not distortion.contrast_last:
        picture = scaled(picture, distortion.contrast)
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    if distortion.saturation is not None:
        hsv[..., 1] = scaled(hsv[..., 1], distortion.saturation)
        picture = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if distortion.hue is not None:
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + distortion.hue) % 180
        picture = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if distortion.contrast is not None and distortion.contrast_last:
        picture = scaled(picture, distortion.contrast)
    return picture


def test_looking_values_up_is_computing_each_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for distortion in map(_drawn, SEEDS):
        assert np.array_equal(distortion(picture), _pixel_by_pixel(distortion, picture))
