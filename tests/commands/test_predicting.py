"""Networks from Python predict images of every kind, and are scored as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import segdistill as sd
from segdistill.core.errors import RecipeError


class Scores(nn.Module):
    """Scores two classes by the brightness of BGR pixels in 0 to 255, and hides its classifier."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.weight * (pixels[:, :1] - 100)


PIXELS = np.zeros((16, 24, 3), np.uint8)
PIXELS[:, 12:, 2] = 200  # the right half is blue


@pytest.fixture
def network() -> sd.SegmentationNetwork:
    return sd.wrap(Scores(), 2, mean=(0, 0, 0), std=(1 / 255,) * 3, bgr=True, classifier="output")


def test_a_path_a_picture_an_array_and_a_list_give_the_same(network: sd.SegmentationNetwork, tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    Image.fromarray(PIXELS).save(file)
    network.train()
    preds = network.predict([file, str(file), Image.fromarray(PIXELS), PIXELS, torch.tensor(PIXELS).permute(2, 0, 1)])
    expected = np.ones((16, 24), np.uint8)
    expected[:, 12:] = 0
    assert all((each.mask == expected).all() for each in preds)
    one = network.predict(PIXELS)
    assert (one.mask == expected).all()
    assert one.confidence.shape == (16, 24)
    assert one.confidence.min() > 0.99
    assert one.classes == ("LABEL_0", "LABEL_1")
    assert one.overlay(0).size == (24, 16)
    assert repr(one) == "Prediction(16x24: LABEL_0 50%, LABEL_1 50%)"
    assert one._repr_html_().startswith("<img")
    assert network.training
    assert [*tmp_path.iterdir()] == [file]


def test_an_array_that_is_no_image_is_refused(network: sd.SegmentationNetwork) -> None:
    with pytest.raises(sd.SegdistillError, match="Image 0 is ndarray float64"):
        network.predict(PIXELS.astype(float))


def test_a_live_network_and_a_named_one_are_scored_alike(
    network: sd.SegmentationNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [(PIXELS, np.where(PIXELS[:, :, 2] > 0, 0, 1))] * 5
    data = {"train": samples, "classes": ["blue", "rest"]}
    assert sd.evaluate(network, data=data, quiet=True).scores.miou == 100
    assert sd.evaluate(network, data=data, quiet=True, boundary=False).quality.boundary is None
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    options = ["network.classifier=output", "network.mean=[0,0,0]", f"network.std={[1 / 255] * 3}", "network.bgr=true"]
    named = sd.evaluate("module:test_predicting:Scores", *options, data=data, quiet=True)
    assert named.scores.miou == 100
    keyed = {"classifier": "output", "mean": [0, 0, 0], "std": [1 / 255] * 3}
    assert sd.evaluate("module:test_predicting:Scores", network=keyed, data=data, quiet=True).scores.miou < 100


def test_predict_writes_at_once_and_returns_a_list(network: sd.SegmentationNetwork, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    (made,) = sd.predict(network, tmp_path / "image.png", out=tmp_path / "masks")
    assert made.mask.is_file()
    assert made.overlay.is_file()


def test_profile_takes_any_module_with_its_options() -> None:
    options = {"classifier": "output", "bgr": True}
    assert sd.profile(Scores(), network=options, size=(32, 32), latency=False).as_dict()["parameters"] == 2


def test_files_may_be_given_one_by_one_and_as_a_list(network: sd.SegmentationNetwork, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file in files:
        Image.fromarray(PIXELS).save(file)
    done = sd.predict(network, files[0], files[1:], out=tmp_path / "out")
    assert [each.image for each in done] == files
    assert all((np.array(Image.open(each.mask)) == np.array(Image.open(done[0].mask))).all() for each in done)


def test_images_below_the_folder_that_is_written_to_are_predicted(
    network: sd.SegmentationNetwork, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "images" / "a.png")
    assert len(sd.predict(network, tmp_path / "images", out=tmp_path)) == 1


@pytest.mark.parametrize("format", ["masks", "labelme"])
@pytest.mark.parametrize("out", [".", "first"])
def test_masks_of_an_earlier_call_are_no_photos(
    network: sd.SegmentationNetwork, tmp_path: Path, out: str, format: Literal["masks", "labelme"]
) -> None:
    for name in ("a.png", "b_mask.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    first = sd.predict(network, tmp_path, out=tmp_path / out, format=format)
    second = sd.predict(network, tmp_path, out=tmp_path / "second", format=format)
    assert [each.image for each in first] == [each.image for each in second]
    assert len(second) == 2


def test_what_names_no_image_is_refused(network: sd.SegmentationNetwork, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="given no image"):
        sd.predict(network, tmp_path.glob("*.jpeg"), out=tmp_path / "out")
    with pytest.raises(RecipeError, match=r"was given Image.*load_model"):
        sd.predict(network, Image.fromarray(PIXELS), out=tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
