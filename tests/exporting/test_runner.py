"""The script that goes out with a file: which photos it takes, and how it turns them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from patches import patches
from PIL import Image

from segdistill.core.errors import SegdistillError
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.exporting import run_onnx
from segdistill.exporting.export import export_model
from segdistill.exporting.settings import ExportSettings
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe


@pytest.fixture(scope="module")
def brightest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose class of a pixel is its brightest channel."""
    path = tmp_path_factory.mktemp("file") / "brightest.onnx"
    graph = helper.make_graph(
        [
            helper.make_node("ArgMax", ["image"], ["index"], axis=1, keepdims=0),
            helper.make_node("Cast", ["index"], ["classes"], to=TensorProto.UINT8),
        ],
        "brightest",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("classes", TensorProto.UINT8, ["batch", "height", "width"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    classes = [{"name": name, "color": [50 * index] * 3} for index, name in enumerate(("red", "green", "blue"))]
    about = {"size": "any", "input": "float", "outputs": "classes", "align_corners": False, "classes": classes}
    helper.set_model_props(model, {"segdistill": json.dumps(about)})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_photo_is_turned_upright(brightest: Path, tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[:, :30, 0] = pixels[:, 30:, 2] = 255
    exif = Image.Exif()
    exif[274] = 6  # a telephone held upright: what is stored on the left is shown above
    photo = tmp_path / f"photo.{suffix}"
    Image.fromarray(pixels).save(photo, exif=exif)
    run_onnx.main(str(brightest), str(photo))
    mask = np.array(Image.open(tmp_path / "photo_mask.png"))
    assert mask.shape == (80, 48)
    assert (mask[:30] == 0).all()
    assert (mask[30:] == 2).all()
    assert Image.open(tmp_path / "photo_overlay.png").size == (48, 80)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_a_photo_of_more_than_8_bits_is_refused(brightest: Path, tmp_path: Path, kind: type) -> None:
    photo = tmp_path / "deep.tif"
    Image.fromarray((np.arange(48 * 80).reshape(48, 80) % 4096).astype(kind)).save(photo)
    with pytest.raises(SystemExit, match=r"deep\.tif has more than 8 bits a channel \(mode .*expected 8-bit RGB"):
        run_onnx.main(str(brightest), str(photo))
    assert not (tmp_path / "deep_mask.png").exists()


def test_a_png_of_16_bits_and_three_channels_is_refused(brightest: Path, tmp_path: Path) -> None:
    photo = tmp_path / "deep.png"
    cv2.imwrite(str(photo), np.full((48, 80, 3), 40000, np.uint16))
    with pytest.raises(SystemExit, match=r"deep\.png has more than 8 bits a channel"):
        run_onnx.main(str(brightest), str(photo))


def test_small_logits_get_the_border_that_the_network_is_tested_with(tmp_path: Path) -> None:
    model = patches("red", "green", "blue", "none")
    recipe = load_recipe("streets", "inference.size_divisor=16")
    export_model(model, ExportSettings(outputs="small"), recipe, tmp_path, quiet=True)
    pixels = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    run_onnx.main(str(tmp_path / "network.onnx"), str(tmp_path / "photo.png"))
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    expected = infer(model.network, image, recipe.inference).classes[0]
    assert np.array_equal(np.array(Image.open(tmp_path / "photo_mask.png")), expected)
    opened = open_model(tmp_path / "network.onnx").network
    assert torch.equal(infer(opened, image, InferenceConfig()).classes[0], expected)
    with pytest.raises(SegdistillError, match="Take size=48x48"):
        export_model(model, ExportSettings(outputs="small", size=(33, 47)), recipe, tmp_path, quiet=True)
