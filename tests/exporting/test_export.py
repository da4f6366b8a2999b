"""Exported files give what the network gives, and say what they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from quick import cases
from torch import Tensor, nn

import segdistill
from segdistill.core.classes import unnamed_classes
from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput, finer
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.inference.inference import infer
from segdistill.exporting.export import Exporter, export_model
from segdistill.exporting.measuring import whole_images
from segdistill.exporting.parity import TOLERANCE
from segdistill.exporting.settings import ExportSettings
from segdistill.models.families.swin import WindowAttention
from segdistill.models.heads.isanet import ISANet
from segdistill.models.heads.lraspp import LRASPP
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe

SHAPES = [(1, 70, 111), (3, 200, 64), (2, 48, 80)]


def image_of(shape: tuple[int, int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    soft = torch.rand(shape[0], 3, 7, 9, generator=generator)
    return (F.interpolate(soft, shape[1:], mode="bilinear") * 255).to(torch.uint8)


@torch.no_grad()
def plain(run: Path, image: Tensor) -> Tensor:
    """Scores of the network at the image's size, in torch alone."""
    logits = segdistill.load_model(run)(image.float() / 255).logits
    return F.interpolate(logits, image.shape[-2:], mode="bilinear")


def answer(file: Path, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = onnxruntime.InferenceSession(file).run(None, {"image": batch})[0]
    return result


@pytest.mark.parametrize("shape", SHAPES)
def test_onnx_classes_are_the_networks_at_other_sizes_than_the_checked_ones(
    run: Path, files: Path, shape: tuple[int, int, int]
) -> None:
    image = image_of(shape)
    expected = plain(run, image).argmax(1)
    classes = answer(files / "student.onnx", image.numpy().astype(np.float32) / 255)
    assert classes.dtype == np.uint8
    assert (torch.from_numpy(classes) == expected).float().mean() > 0.999
    assert len(expected.unique()) > 2  # or equality would say nothing


@pytest.mark.parametrize("shape", SHAPES)
def test_small_logits_of_uint8_pixels_are_the_networks(run: Path, small: Path, shape: tuple[int, int, int]) -> None:
    image = image_of(shape)
    with torch.no_grad():
        expected = segdistill.load_model(run)(image.float() / 255).logits
    logits = answer(small / "student.onnx", image.permute(0, 2, 3, 1).numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["student.onnx", "student.xml", "student.pt2"])
def test_every_format_is_a_network_like_the_others(run: Path, files: Path, name: str) -> None:
    network = segdistill.load_model(files / name)
    assert network.classes == segdistill.load_model(run).classes
    image = image_of((2, 64, 90))
    logits = network(image.float() / 255).logits
    assert logits.shape == (2, 8, 64, 90)
    assert (logits.argmax(1) == plain(run, image).argmax(1)).float().mean() > 0.999


def test_the_file_describes_itself(run: Path, small: Path) -> None:
    about = json.loads(
        onnxruntime.InferenceSession(small / "student.onnx").get_modelmeta().custom_metadata_map["segdistill"]
    )
    beside = json.loads((small / "export.json").read_text(encoding="utf-8"))
    names, colors = Streets.classes.names, map(list, Streets.classes.colors)
    assert about["classes"] == [{"name": name, "color": color} for name, color in zip(names, colors, strict=True)]
    assert (about["input"], about["outputs"], about["size"], about["align_corners"]) == ("uint8", "small", "any", False)
    assert about["license"] == "CC0"
    assert about["trained"] == {"data": "streets", "steps": 1}
    assert about["weights_sha256"] == beside["weights_sha256"]
    parity = beside["files"]["student.onnx"]["parity"]
    assert parity["images"] == "validation images"
    assert [(check["images"], check["height"], check["width"]) for check in parity["checks"]] == [
        (1, 128, 192), (2, 97, 129), (1, 161, 96), (2, 65, 97), (1, 289, 545),
    ]  # fmt: skip
    assert parity["pixels"] == 0


def test_the_file_holds_no_path_of_this_machine(files: Path) -> None:
    for name in ("student.onnx", "student.pt2", "student.xml"):
        content = (files / name).read_bytes()
        assert b"site-packages" not in content
        assert str(Path(segdistill.__file__).parent).encode() not in content


def test_batch_and_size_are_free_and_named(files: Path) -> None:
    model = onnx.load(files / "student.onnx")
    names = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert names == ["batch", 3, "height", "width"]
    assert {each.domain: each.version for each in model.opset_import} == {"": 18}


@pytest.mark.parametrize("kind", ["classes", "small"])
def test_the_runner_needs_nothing_of_ours(request: pytest.FixtureRequest, run: Path, tmp_path: Path, kind: str) -> None:
    folder: Path = request.getfixturevalue("files" if kind == "classes" else "small")
    image = image_of((1, 75, 101))
    photo = tmp_path / "photo.png"
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(photo)
    # None in sys.modules makes an import fail; -I leaves the environment and the working folder out.
    alone = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(['segdistill', 'torch', 'cv2', 'onnx']));"
        "script, *sys.argv[1:] = sys.argv[1:]; runpy.run_path(script, run_name='__main__')"
    )
    words = [folder / "run_onnx.py", folder / "student.onnx", photo]
    done = subprocess.run(
        [sys.executable, "-I", "-c", alone, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert "%" in done.stdout
    mask = np.array(Image.open(tmp_path / "photo_mask.png"))
    assert (torch.from_numpy(mask) == plain(run, image)[0].argmax(0)).float().mean() > 0.999
    assert Image.open(tmp_path / "photo_overlay.png").size == (101, 75)


def test_half_precision_takes_and_gives_what_float_does(run: Path, tmp_path: Path) -> None:
    model = open_model(run)
    exporter = Exporter(model, ExportSettings(size=(48, 80), fp16=True, outputs="logits"), None, tmp_path, "student")
    for format in ("onnx", "openvino"):
        written = exporter.write(format, "float16")
        assert written.parity is not None
        assert written.parity.tolerance == TOLERANCE["float16"]
    graph = onnx.load(tmp_path / "student.fp16.onnx").graph
    kinds = {each.data_type for each in graph.initializer if len(each.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert (tmp_path / "student.fp16.onnx").stat().st_size < 0.6 * (tmp_path / "student.onnx").stat().st_size
    image = image_of((1, 48, 80))
    expected = plain(run, image)
    network = segdistill.load_model(tmp_path / "student.fp16.xml")
    for logits in (
        answer(tmp_path / "student.fp16.onnx", image.numpy().astype(np.float32) / 255),
        network(image.float() / 255).logits,
    ):
        assert logits.dtype in (np.float32, torch.float32)
        assert float((torch.as_tensor(logits) - expected).abs().max()) < 0.05 * float(expected.abs().max())


class TwoScales(SegmentationNetwork):
    """Maps of strides 8 and 16 on one grid, as in HRNet, and interlaced attention: what froze sizes in exports."""

    def __init__(self) -> None:
        super().__init__(num_classes=4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), bgr=True)
        self.fine = nn.Conv2d(3, 8, 3, stride=8, padding=1)
        self.coarse = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.head = ISANet([8], channels=8, attention_channels=4, block=2)
        self.classifier = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> SegOutput:
        fine = self.fine(self.normalize(image))
        fine, coarse = finer(fine, self.coarse(fine))
        embedding = self.head((fine + coarse,))
        return SegOutput(self.classifier(embedding), embedding, (fine,))


class Windows(SegmentationNetwork):
    """The head of LR-ASPP: windows that are larger than some maps, and stand many times in others."""

    def __init__(self) -> None:
        super().__init__(num_classes=4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
        self.fine = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = LRASPP([6, 6], channels=8, finer=(0, 0), branch_channels=(4, 4), window=37, strides=(4, 5))
        self.classifier = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> SegOutput:
        fine = self.fine(self.normalize(image))
        embedding = self.head((fine, self.coarse(fine)))
        return SegOutput(self.classifier(embedding), embedding, (fine,))


class ShiftedWindows(SegmentationNetwork):
    """Swin's attention, in windows as they are and in shifted ones: five dimensions, and padding to whole windows."""

    def __init__(self) -> None:
        super().__init__(num_classes=4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
        self.patches = nn.Conv2d(3, 8, 4, stride=4, padding=3)
        self.attention = nn.Sequential(WindowAttention(8, 2, 4, 0), WindowAttention(8, 2, 4, 2))
        self.classifier = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> SegOutput:
        fine = self.patches(self.normalize(image))
        embedding = self.attention(fine.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return SegOutput(self.classifier(embedding), embedding, (fine,))


@pytest.mark.parametrize("kind", cases([ShiftedWindows], [TwoScales, Windows]))
def test_no_branch_on_sizes_is_frozen(tmp_path: Path, kind: type[SegmentationNetwork]) -> None:
    torch.manual_seed(0)
    network = kind().eval()  # type: ignore[call-arg]
    model = LoadedModel(network, unnamed_classes(4), Path("two"))
    done = export_model(model, ExportSettings(outputs="logits"), None, tmp_path / "out", quiet=True)
    assert done.files[0].parity is not None
    assert done.files[0].parity.images == "generated images"
    for shape in [(1, 8, 8), (1, 128, 128), (2, 50, 33), *SHAPES]:  # 8x8: both maps are of one size
        image = image_of(shape).float() / 255
        with torch.no_grad():
            expected = F.interpolate(network(image).logits, shape[1:], mode="bilinear")
        logits = torch.from_numpy(answer(tmp_path / "out" / "network.onnx", image.numpy()))
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_a_file_pads_as_the_run_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ShiftedWindows().eval()
    model = LoadedModel(network, unnamed_classes(4), Path("windows"))
    recipe = load_recipe("streets", "data.size=[48,80]", "data.count=2", "inference.size_divisor=32")
    export_model(model, ExportSettings(outputs="logits"), recipe, tmp_path / "out", quiet=True)
    opened = open_model(tmp_path / "out" / "network.onnx").network
    for shape in [(2, 50, 33), *SHAPES]:
        image = image_of(shape)
        height, width = shape[1:]
        wide = F.pad(image / 255, (0, -width % 32, 0, -height % 32), mode="replicate")
        with torch.no_grad():
            logits = F.interpolate(network(wide).logits, wide.shape[-2:], mode="bilinear")[..., :height, :width]
        file = torch.from_numpy(answer(tmp_path / "out" / "network.onnx", (image / 255).numpy()))
        torch.testing.assert_close(file, logits, rtol=1e-3, atol=1e-3)
        # Whoever runs the file as the run is run does not pad a second time.
        for each in (opened, network):
            probability = infer(each, image, whole_images(recipe).inference, confidence=True).confidence
            torch.testing.assert_close(probability, logits.softmax(1).amax(1), rtol=1e-3, atol=1e-3)


class Turning(SegmentationNetwork):
    """Does something else on tall images, which a trace can't know."""

    def __init__(self) -> None:
        super().__init__(num_classes=3, mean=(0, 0, 0), std=(1, 1, 1))
        self.classifier = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> SegOutput:
        logits = self.classifier(image)
        if image.shape[-2] > 100:
            logits = -logits
        return SegOutput(logits, image, ())


def test_a_file_that_differs_from_the_network_is_not_written(tmp_path: Path) -> None:
    model = LoadedModel(Turning().eval(), unnamed_classes(3), Path("turning"))
    with pytest.raises(
        SegdistillError, match=r"does not give what the network gives[\s\S]*128x192.*[\s\S]*size=512x1024"
    ):
        export_model(model, ExportSettings(), None, tmp_path / "new" / "out", quiet=True)
    assert list(tmp_path.iterdir()) == []
    done = export_model(model, ExportSettings(size="120x90"), None, tmp_path / "out", quiet=True)
    assert done.description.size == (120, 90)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "network.onnx", "run_onnx.py"]
