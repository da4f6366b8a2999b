"""Images that are not three bytes a pixel: what is read, what is refused, and how they are augmented."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from channel_folders import four_channels
from numpy.typing import NDArray
from own_folders import CLASSES, mask, open_folder
from PIL import Image, ImageOps

from segdistill.core.errors import DataError
from segdistill.core.pixels import PixelFormat
from segdistill.data import DatasetConfig, training_images
from segdistill.data.augment import Augment
from segdistill.data.base import Sample
from segdistill.data.channels import upright
from segdistill.data.photometric import Distortion
from segdistill.data.reading import read_image

FOUR_BYTES = PixelFormat(4)
FOUR_DEEP = PixelFormat(4, ((0.0, 4000.0),))
Pixels = NDArray[Any]


def scaled(stored: Pixels, low: float, high: float) -> torch.Tensor:
    """What the documentation says of a range: (v - low) / (high - low) in [0,1], (C,H,W)."""
    values = np.clip((stored.astype(np.float64) - low) / (high - low), 0, 1)
    return torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_channels_of_a_tiff_are_read_as_they_are(
    tmp_path: Path, layout: str, dtype: type, compression: str | None
) -> None:
    stored = (four_channels(3)[0] // 16).astype(dtype)
    file, planes = tmp_path / "a.tif", stored if layout == "contig" else np.ascontiguousarray(stored.transpose(2, 0, 1))
    tifffile.imwrite(file, planes, photometric="minisblack", planarconfig=layout, compression=compression)
    if dtype is np.uint8:
        image = read_image(file, pixels=FOUR_BYTES)
        assert image.dtype == torch.uint8
        assert np.array_equal(image.permute(1, 2, 0), stored)
    else:
        assert torch.equal(read_image(file, pixels=PixelFormat(4, ((10, 200),))), scaled(stored, 10, 200))


def test_axes_of_the_metadata_tell_channels_from_pages(tmp_path: Path) -> None:
    stored = four_channels(3)[0]
    planes = np.ascontiguousarray(stored.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "stack.tif", planes, photometric="minisblack", metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "pages.tif", planes, photometric="minisblack")
    assert torch.equal(read_image(tmp_path / "stack.tif", pixels=FOUR_DEEP), scaled(stored, 0, 4000))
    with pytest.raises(DataError, match=r"pages\.tif.*axes QYX.*as one page"):
        read_image(tmp_path / "pages.tif", pixels=FOUR_DEEP)


def test_arrays_are_read_and_never_unpickled(tmp_path: Path) -> None:
    stored = four_channels(3)[0]
    np.save(tmp_path / "deep.npy", stored)
    assert torch.equal(read_image(tmp_path / "deep.npy", pixels=FOUR_DEEP), scaled(stored, 0, 4000))
    floats = stored.astype(np.float32) / 1000 - 1
    np.save(tmp_path / "floats.npy", floats)
    assert torch.equal(read_image(tmp_path / "floats.npy", pixels=PixelFormat(4, ((-1, 2),))), scaled(floats, -1, 2))
    np.save(tmp_path / "objects.npy", np.array([[print]], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"objects\.npy.*array of object"):
        read_image(tmp_path / "objects.npy", pixels=FOUR_DEEP)
    floats[0, 0, 0] = np.nan
    np.save(tmp_path / "holes.npy", floats)
    with pytest.raises(DataError, match=r"holes\.npy.*no finite numbers.*Fill"):
        read_image(tmp_path / "holes.npy", pixels=PixelFormat(4, ((-1, 2),)))


def test_each_channel_may_have_a_range_of_its_own(tmp_path: Path) -> None:
    stored = four_channels(3)[0]
    np.save(tmp_path / "a.npy", stored)
    ranges = ((0.0, 1000.0), (500.0, 1500.0), (0.0, 2000.0), (400.0, 4000.0))
    image = read_image(tmp_path / "a.npy", pixels=PixelFormat(4, ranges))
    for channel, (low, high) in enumerate(ranges):
        assert torch.equal(image[channel], scaled(stored[..., channel : channel + 1], low, high)[0])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_any_depth(tmp_path: Path, channels: int, dtype: type) -> None:
    stored = (four_channels(3)[0][..., :channels] // 16).astype(dtype)
    turned = stored[..., ::-1] if channels == 3 else stored[..., [2, 1, 0, 3]] if channels == 4 else stored
    cv2.imwrite(str(tmp_path / "a.png"), np.ascontiguousarray(turned))  # OpenCV's order is BGR
    image = read_image(tmp_path / "a.png", pixels=PixelFormat(channels, ((0, 200),)))
    assert torch.equal(image, scaled(stored, 0, 200))
    if dtype is np.uint8 and channels != 3:
        assert np.array_equal(read_image(tmp_path / "a.png", pixels=PixelFormat(channels)).permute(1, 2, 0), stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_pillow_turns(orientation: int) -> None:
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    picture = Image.fromarray(stored)
    picture.getexif()[274] = orientation
    assert np.array_equal(upright(stored, orientation), np.asarray(ImageOps.exif_transpose(picture)))


def test_files_of_other_channels_or_bits_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = four_channels(3)[0]
    np.save(tmp_path / "three.npy", stored[..., :3])
    np.save(tmp_path / "deep.npy", stored)
    tifffile.imwrite(tmp_path / "four.tif", stored, photometric="minisblack", planarconfig="contig")
    whole = (tmp_path / "four.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"three\.npy has 3 channel\(s\); expected 4, as data\.channels says"):
        read_image(tmp_path / "three.npy", pixels=FOUR_DEEP)
    with pytest.raises(DataError, match=r"deep\.npy has more than 8 bits.*data\.range=\[0, 4095\]"):
        read_image(tmp_path / "deep.npy", pixels=FOUR_BYTES)
    np.save(tmp_path / "bytes.npy", stored.astype(np.uint8))
    with pytest.raises(DataError, match=r"bytes\.npy has 8 bits a channel.*data\.range goes to 4"):
        read_image(tmp_path / "bytes.npy", pixels=FOUR_DEEP)
    with pytest.raises(DataError, match=r"four\.tif.*data\.channels and data\.range"):
        read_image(tmp_path / "four.tif")
    with pytest.raises(DataError, match=r"Can't read image .*cut\.tif"):
        read_image(tmp_path / "cut.tif", pixels=FOUR_DEEP)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"four\.tif.*pip install 'segdistill\[tiff\]'"):
        read_image(tmp_path / "four.tif", pixels=FOUR_DEEP)


def test_a_range_must_be_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", four_channels(3)[0])
    for wrong in ([4, 0], [[0, 1], [0, 2]], [0, float("inf")], []):
        with pytest.raises(DataError, match=r"data\.range"):
            open_folder(tmp_path, channels=4, range=wrong)


def test_a_folder_of_arrays_beside_masks(tmp_path: Path) -> None:
    stored = four_channels(3, (4, 6))[0]
    for name in ("a", "b"):
        mask(tmp_path / "train" / "masks" / f"{name}.png", [0, 1, 2, 0, 1, 2])
        (tmp_path / "train" / "images").mkdir(exist_ok=True)
        np.save(tmp_path / "train" / "images" / f"{name}.npy", stored)
    dataset = open_folder(tmp_path, channels=4, range=[0, 4000])
    assert dataset.pixels == FOUR_DEEP
    assert torch.equal(dataset[1].image, scaled(stored, 0, 4000))
    assert "of ImageNet's RGB, in turn" in dataset.notes[-1]
    options = {"name": "folder", "root": tmp_path, "classes": CLASSES, "channels": 4, "range": [0, 4000]}
    kept = training_images(DatasetConfig.model_validate({**options, "decoded": tmp_path / "kept"}))
    assert kept.pixels == FOUR_DEEP
    for sample in (kept[1], kept[1]):  # made, then read
        assert torch.equal(sample.image, dataset[1].image)
        assert torch.equal(sample.label, dataset[1].label)


def sample(*channels: int, dtype: torch.dtype = torch.uint8) -> Sample:
    """A sample whose channels are three pictures of noise, in this order."""
    noise = torch.randint(256, (3, 40, 60), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = noise[list(channels)]
    label = torch.randint(3, (40, 60), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Sample(image if dtype == torch.uint8 else image.float() / 255, label, "a")


@pytest.mark.parametrize("scale", [(0.5, 0.9), (1.1, 2.0)])
def test_further_channels_are_scaled_cropped_and_flipped_with_the_first(scale: tuple[float, float]) -> None:
    augment = Augment(crop=(48, 48), scale=scale, photometric=False, pad_color=(10, 20, 30))
    for seed in range(4):
        expected, expected_label = augment(sample(0, 1, 2), torch.Generator().manual_seed(seed))
        image, label = augment(sample(0, 1, 2, 0, 1, 2, 0), torch.Generator().manual_seed(seed))
        assert torch.equal(label, expected_label)
        assert torch.allclose(image.float(), expected[[0, 1, 2, 0, 1, 2, 0]].float(), atol=1)  # OpenCV rounds otherwise
        floats, _ = augment(sample(0, 1, 2, 0, dtype=torch.float32), torch.Generator().manual_seed(seed))
        assert floats.dtype == torch.float32
        assert torch.allclose(255 * floats, expected[[0, 1, 2, 0]].float(), atol=1.01)
        grey, _ = augment(sample(1), torch.Generator().manual_seed(seed))
        inside = expected_label != 255
        assert torch.allclose(grey[0][inside].float(), expected[1][inside].float(), atol=1)
        assert (grey[0][~inside] == 20).all()  # the mean of 10, 20 and 30


def test_photometric_distortion_of_other_pictures() -> None:
    picture = sample(0, 1, 2).image.permute(1, 2, 0).numpy()
    for seed in range(16):
        drawn = Distortion.draw(torch.Generator().manual_seed(seed))
        grey_only = Distortion(drawn.brightness, drawn.contrast, None, None, drawn.contrast_last)
        more = drawn(np.ascontiguousarray(picture[..., [0, 1, 2, 0]]))
        assert np.array_equal(more, grey_only(picture)[..., [0, 1, 2, 0]])  # hue and saturation are of RGB
        floats = drawn(picture.astype(np.float32) / 255)
        assert np.abs(255 * floats - drawn(picture)).mean() < 2  # which rounds down at every part
