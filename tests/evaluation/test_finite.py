"""Scores that are not finite become no class: every verb refuses them, by the image's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import segdistill
from segdistill.core.classes import Classes
from segdistill.core.outputs import SegOutput
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.datasets.streets import Streets
from segdistill.data.tables import label_table
from segdistill.evaluation.finite import NonFiniteScoresError
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.scoring import count
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.build import build
from segdistill.models.class_map import NEVER
from segdistill.models.files import read_weights, save_model, save_weights
from segdistill.models.zoo import resolve_spec

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
NAN, INF = float("nan"), float("inf")
SLIDE: dict[str, Any] = {"mode": "slide", "crop": (24, 32), "stride": (17, 20)}
PROTOCOLS: list[dict[str, Any]] = [
    {}, {"flip": True}, {"scales": (0.5, 1.0, 1.75), "flip": True}, {"scales": (1.75,), "average": "logits"},
    SLIDE, {**SLIDE, "flip": True, "scales": (0.75, 1.5)}, {**SLIDE, "max_elements": 500, "store": "cpu"},
]  # fmt: skip


class Poisoned(nn.Module):
    """Class `last` of white pixels scores `value`; everything else is finite."""

    def __init__(self, value: float, *, classes: int = 5, stride: int = 1, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.value, self.stride, self.dtype = value, stride, dtype
        self.classifier = nn.Conv2d(3, classes, 1)

    def forward(self, image: Tensor) -> SegOutput:
        logits = self.classifier(image)
        logits[:, -1].masked_fill_(image.amin(1) > 0.95, self.value)
        logits = logits[..., :: self.stride, :: self.stride].to(self.dtype)
        return SegOutput(logits=logits, embedding=logits, features=())


def images(n: int, white: tuple[slice, slice] | None = None) -> Tensor:
    """Dark images (n,3,40,56) of which the second, or the only one, has a white part."""
    made = torch.randint(0, 128, (n, 3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    if white is not None:
        made[min(1, n - 1), :, *white] = 255
    return made


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e31], ids=str)
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_every_way_to_run_an_image_refuses_it_by_name(
    protocol: dict[str, Any], stride: int, value: float, device: str
) -> None:
    network, config = Poisoned(value, stride=stride).to(device), InferenceConfig(**protocol)
    batch = images(3, (slice(12, 28), slice(20, 36))).to(device)
    for confidence in (False, True):
        with pytest.raises(NonFiniteScoresError, match=r"^w\.safetensors: the scores of image 'b' are not finite"):
            infer(network, batch, config, confidence=confidence, names="abc", source="w.safetensors")
    result = infer(network, images(3).to(device), config, confidence=True, names="abc")
    assert result.confidence is not None
    assert result.confidence.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("classes", [2, 11, 150])
def test_one_pixel_is_enough_and_the_message_says_which(dtype: torch.dtype, classes: int) -> None:
    network = Poisoned(NAN, classes=classes, dtype=dtype)
    with pytest.raises(NonFiniteScoresError) as caught:
        infer(network, images(1, (slice(7, 8), slice(30, 31))), InferenceConfig(), names=["x"])
    assert "at 1 of 2240 positions of the network's 40x56 output for 40x56 pixels" in str(caught.value)
    assert "the first is nan at row 7, column 30" in str(caught.value)
    assert "Its weights are finite" in str(caught.value)


def test_a_weight_that_is_not_finite_is_named() -> None:
    network = Poisoned(0.0)
    with torch.no_grad():
        network.classifier.bias[1] = NAN
    with pytest.raises(NonFiniteScoresError, match=r"image 'number 1'.*2240 of 2240.*Tensor 'classifier.bias'"):
        infer(network, images(2), InferenceConfig())


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_classes_that_no_teacher_class_maps_to_are_still_never_predicted(protocol: dict[str, Any]) -> None:
    result = infer(Poisoned(NEVER, stride=4), images(2, (slice(0, 40), slice(0, 56))), InferenceConfig(**protocol))
    assert not (result.classes[1] == 4).any()


class Unlabelled(SegmentationDataset):
    """Three images; what is white in the second has no label."""

    classes = Classes(tuple("abcde"), ((0, 0, 0),) * 5)

    def __init__(self) -> None:
        self.images = images(3, (slice(4, 8), slice(4, 8)))

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"image{index}"

    def __getitem__(self, index: int) -> Sample:
        label = torch.zeros(40, 56, dtype=torch.uint8)
        label[4:8, 4:8] = 255
        return Sample(self.images[index], label, self.name(index))


def test_void_pixels_hide_nothing_and_the_teacher_is_distinguished_from_the_network() -> None:
    broken, whole = Poisoned(NAN), Poisoned(0.0)
    with pytest.raises(NonFiniteScoresError, match=r"^The network: the scores of image 'image1'"):
        count(broken, Unlabelled())
    metrics = MetricsConfig(agreement=True)
    with pytest.raises(NonFiniteScoresError, match=r"^The teacher: the scores of image 'image1'"):
        count(whole, Unlabelled(), metrics=metrics, teacher=broken)
    assert int(count(whole, Unlabelled()).confusion.counts.sum()) == 3 * (40 * 56 - 16)


@pytest.fixture(scope="module")
def broken_run(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    """A finished run one of whose weights has become infinite."""
    folder = tmp_path_factory.mktemp("finite") / "run"
    segdistill.train(*tiny, out=folder, quiet=True)
    weights = folder / "student.safetensors"
    state = read_weights(weights)
    name = next(name for name in reversed(state) if name.endswith("bias") and "auxiliary" not in name)
    save_weights(weights, {**state, name: torch.full_like(state[name], INF)})
    return folder


@pytest.mark.parametrize(
    "verb",
    [
        lambda run, file, out: segdistill.evaluate(run, quiet=True),
        lambda run, file, out: list(segdistill.predict(run, file, out=out)),
        lambda run, file, out: segdistill.show(run, what=["compare"], images=[0], out=out),
        lambda run, file, out: segdistill.show(run, what=["activations"], images=[0], out=out),
        lambda run, file, out: segdistill.show(run, what=["embeddings"], images=[0], out=out),
    ],
    ids=["evaluate", "predict", "compare", "activations", "embeddings"],
)
def test_verbs_refuse_the_network_and_draw_nothing(
    broken_run: Path, tmp_path: Path, verb: Callable[[Path, Path, Path], object]
) -> None:
    scene = Streets(split="val", size=(32, 48), count=12)[0]
    file = tmp_path / f"{scene.name}.png"
    Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(file)
    out = tmp_path / "out"
    with pytest.raises(NonFiniteScoresError, match=rf"{scene.name}.*are not finite.*Tensor '.*bias'"):
        verb(broken_run, file, out)
    assert not list(out.rglob("*.png"))


def test_submit_refuses_the_image_by_its_file(tmp_path: Path) -> None:
    """A network with the server's classes, whose weights hold an infinity."""
    classes = label_table("cityscapes").classes
    spec = resolve_spec({"backbone": "test_resnet", "head": "fcn", "channels": 8, "auxiliary_channels": 0})
    network = build(spec, len(classes))
    save_model(tmp_path, "student", network, spec, classes, {})
    weights = tmp_path / "student.safetensors"
    state = read_weights(weights)
    save_weights(weights, {name: torch.full_like(value.float(), INF) for name, value in state.items()})
    file = tmp_path / "berlin_000000_000019_leftImg8bit.png"
    Image.new("RGB", (64, 32)).save(file)
    with pytest.raises(NonFiniteScoresError, match=f"{weights}: the scores of image '{file}' are not finite"):
        segdistill.submit(weights, "cityscapes", file, out=tmp_path / "sent", quiet=True)
    assert not (tmp_path / "sent.zip").exists()
