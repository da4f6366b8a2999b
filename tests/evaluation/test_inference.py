"""Windows, scales, mirrored views and strips against the same thing written plainly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import FIXTURES
from PIL import Image
from quick import cases
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.cost.memory import LiveBytes
from segdistill.evaluation.cost.stages import Stages
from segdistill.evaluation.inference.inference import infer, predict_classes
from segdistill.evaluation.inference.sliding import window_starts
from segdistill.evaluation.inference.views import view_sizes
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_inference
from segdistill.recipe.words import fragments


class Convolutions(nn.Module):
    """Zero-padded convolutions with `reach` pixels of context a side, then every `stride`-th position."""

    def __init__(self, classes: int, reach: int, stride: int) -> None:
        super().__init__()
        torch.manual_seed(reach)
        self.reach, self.stride = reach, stride
        self.body = nn.Conv2d(3, 8, 2 * reach + 1, padding=reach)
        self.classifier = nn.Conv2d(8, classes, 1)

    def forward(self, image: Tensor) -> SegOutput:
        logits = 8 * self.classifier(self.body(image).relu())[..., :: self.stride, :: self.stride]
        return SegOutput(logits=logits, embedding=logits, features=())


def picture(*size: int, n: int = 1) -> Tensor:
    return torch.randint(0, 256, (n, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(sum(size)))


def same(result: Any, scores: Tensor, *, probable: bool = False) -> None:
    """`found` has the classes of `scores` (N,K,H,W), wherever the best two are not a rounding error apart."""
    probabilities = scores if probable else scores.softmax(1)
    best = probabilities.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-4
    assert clear.float().mean() > 0.99
    assert torch.equal(result.classes[clear].long(), scores.argmax(1)[clear])
    torch.testing.assert_close(result.confidence, best[:, 0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def bilinear(maps: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("max_elements", [1, 1000, 1 << 25])
@pytest.mark.parametrize("stride", [1, 4])
def test_strips_of_any_height_equal_the_whole(stride: int, max_elements: int, align_corners: bool) -> None:
    network, image = Convolutions(7, 2, stride), picture(45, 61, n=3)
    result = infer(
        network, image, InferenceConfig(max_elements=max_elements, align_corners=align_corners), confidence=True
    )
    with torch.no_grad():
        logits = network(image / 255).logits
    same(result, bilinear(logits, (45, 61), align_corners))
    if not align_corners:
        assert (result.classes == predict_classes(network, image)).float().mean() > 0.999


@pytest.mark.parametrize("flip", [False, True])
def test_sides_are_multiples_of_the_divisor_by_repeating_the_border(flip: bool) -> None:
    network, image, done = Convolutions(7, 9, 16), picture(45, 64, n=2), []
    config = InferenceConfig(size_divisor=16, flip=flip)
    result = infer(network, image, config, confidence=True, on_pixels=done.append)
    assert sum(done) == 2 * 45 * 64
    wide = F.pad(image / 255, (0, 0, 0, 3), mode="replicate")
    views = [wide, wide.flip(-1)] if flip else [wide]
    with torch.no_grad():
        scores = [bilinear(network(view).logits, (48, 64), False).softmax(1) for view in views]
    same(
        result,
        (sum(each.flip(-1 if i else ()) for i, each in enumerate(scores)) / len(views))[..., :45, :],
        probable=True,
    )
    assert not torch.equal(result.classes, infer(network, image, InferenceConfig(flip=flip)).classes)


def test_ties_go_to_the_lower_class_and_many_classes_fit() -> None:
    class Tied(nn.Module):
        def forward(self, image: Tensor) -> SegOutput:
            logits = torch.zeros(len(image), 300, *image.shape[-2:])
            logits[:, [7, 290]] = 1
            logits[:, [3, 299], 0] = -1e9
            logits[:, [270, 280], 1] = 2
            return SegOutput(logits=logits, embedding=logits, features=())

    result = infer(Tied(), picture(4, 5), InferenceConfig()).classes
    assert result[0, :, 0].tolist() == [7, 270, 7, 7]


def test_windows_start_where_openmmlab_starts_them() -> None:
    cases = json.loads((FIXTURES / "protocol" / "windows.json").read_text())
    assert cases
    for size, windows in cases.items():
        height, width = json.loads(size.replace("(", "[").replace(")", "]"))
        corners = [(y, x) for y in window_starts(height, 480, 320) for x in window_starts(width, 480, 320)]
        result = [[y, min(y + 480, height), x, min(x + 480, width)] for y, x in corners]
        assert result == windows


@pytest.mark.parametrize("size", [(40, 56), (33, 24), (20, 90)], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_windows_of_a_network_without_context_give_the_whole(size: tuple[int, int], batch: int) -> None:
    network, image = Convolutions(5, 0, 1), picture(*size, n=2)
    slide = InferenceConfig(mode="slide", crop=(24, 32), stride=(17, 20), batch=batch, max_elements=500)
    counts: list[int] = []
    with torch.no_grad():
        same(infer(network, image, slide, confidence=True, on_pixels=counts.append), network(image / 255).logits)
    assert sum(counts) == image[:, 0].numel()
    assert len(counts) > 2


def test_windows_of_a_network_with_context_give_the_whole_where_no_padding_reaches() -> None:
    network, image = Convolutions(5, 3, 1), picture(60, 80)
    result = infer(network, image, InferenceConfig(mode="slide", crop=(32, 32), stride=(20, 20)))
    with torch.no_grad():
        whole = network(image / 255).logits.argmax(1)

    def untouched(length: int) -> Tensor:
        """Pixels of an axis that are 3 or more from a window's border inside the image, in all its windows."""
        good = torch.ones(length, dtype=torch.bool)
        for start in window_starts(length, 32, 20):
            if start > 0:
                good[start : start + 3] = False
            if start + 32 < length:
                good[start + 29 : start + 32] = False
        return good

    inside = untouched(60)[:, None] & untouched(80)
    assert 0.3 < inside.float().mean() < 0.9
    assert torch.equal(result.classes[0][inside].long(), whole[0][inside])
    assert not torch.equal(result.classes.long(), whole)


@torch.no_grad()
def as_openmmlab_tests(network: nn.Module, image: Tensor, config: InferenceConfig) -> Tensor:
    """Mean probabilities over views; each view's logits go to the view's size, then to the image's."""
    assert config.fit is not None
    total = torch.zeros(())
    size = tuple(image.shape[-2:])
    for ratio in config.scales:
        bounds = [int(side * ratio) for side in config.fit]
        factor = min(max(bounds) / max(size), min(bounds) / min(size))
        view = (int(size[0] * factor + 0.5), int(size[1] * factor + 0.5))
        for flip in (False, True):
            pixels = F.interpolate(image / 255, view, mode="bilinear")
            pixels = pixels.flip(-1) if flip else pixels
            if config.mode == "whole":
                logits = bilinear(network(pixels).logits, view, config.align_corners)
            else:
                sums, counts = torch.zeros(len(image), 6, *view), torch.zeros(view)
                (ch, cw), (sh, sw) = config.crop, config.stride
                for i in range(max(view[0] - ch + sh - 1, 0) // sh + 1):
                    for j in range(max(view[1] - cw + sw - 1, 0) // sw + 1):
                        y2, x2 = min(i * sh + ch, view[0]), min(j * sw + cw, view[1])
                        y1, x1 = max(y2 - ch, 0), max(x2 - cw, 0)
                        window = network(pixels[..., y1:y2, x1:x2]).logits
                        sums[..., y1:y2, x1:x2] += bilinear(window, (y2 - y1, x2 - x1), config.align_corners)
                        counts[y1:y2, x1:x2] += 1
                logits = sums / counts
            scores = bilinear(logits, size, config.align_corners).softmax(1)
            total = total + (scores.flip(-1) if flip else scores)
    return total / (2 * len(config.scales))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("max_elements", [2000, 1 << 25])
@pytest.mark.parametrize("mode", ["whole", "slide"])
@pytest.mark.parametrize(
    "size", [(53, 71), (11, 16), (9, 700)], ids=["about as large", "views much larger", "many windows wide"]
)
def test_scales_and_flip_are_openmmlabs(
    size: tuple[int, int], mode: str, max_elements: int, align_corners: bool
) -> None:
    network, image = Convolutions(6, 1, 4), picture(*size, n=2)
    config = InferenceConfig(
        mode=mode, crop=(32, 36), stride=(20, 24), fit=(64, max(64, size[1])), scales=(0.5, 1.0, 1.75), flip=True,
        store="cpu", average="probabilities", upsample="stepwise", align_corners=align_corners,
        max_elements=max_elements,
    )  # fmt: skip
    expected = as_openmmlab_tests(network, image, config)
    same(infer(network, image, config, confidence=True), expected, probable=True)


def test_scales_and_flip_are_cirkds() -> None:
    network, image = Convolutions(6, 1, 4), picture(48, 64)
    config = load_inference("test_cirkd", "inference.scales=[0.75,1.0,1.25]", "inference.flip=true")
    total = torch.zeros(())
    with torch.no_grad():
        for view in ((36, 48), (48, 64), (60, 80)):
            pixels = bilinear(image / 255, view, True)
            total = total + bilinear(network(pixels).logits, (48, 64), True)
            total = total + bilinear(network(pixels.flip(-1)).logits, (48, 64), True).flip(-1)
    same(infer(network, image, config, confidence=True), total / 6)


def held(network: nn.Module, image: Tensor, config: InferenceConfig) -> int:
    """Most bytes of tensors while the image is inferred, its classes left out."""
    with Stages(network) as stages, LiveBytes(stages) as live:
        classes = infer(network, image, config).classes
    return live.peak - classes.nbytes


@pytest.mark.parametrize(("stride", "share"), cases([(4, 0.15)], [(1, 0.25)]))
def test_a_huge_image_is_never_held_as_scores(stride: int, share: float) -> None:
    network, image = Convolutions(40, 0, stride), picture(768, 512)
    slide = InferenceConfig(mode="slide", crop=(64, 64), stride=(48, 48), max_elements=1 << 18)
    scores = 4 * 40 * 768 * 512
    assert held(network, image, slide) < share * scores
    assert held(network, image, slide.model_copy(update={"flip": True})) < 2 * share * scores


@pytest.mark.parametrize("options", [{}, {"flip": True, "scales": (1.5,)}], ids=["as it is", "scaled and mirrored"])
def test_what_is_held_depends_on_windows_not_on_the_image(options: Any) -> None:
    network = Convolutions(40, 0, 2)
    slide = InferenceConfig(mode="slide", crop=(32, 32), stride=(32, 24), max_elements=1 << 16, **options)
    small, wide, tall = (held(network, picture(*size), slide) for size in ((64, 256), (64, 1024), (256, 256)))
    assert wide < 1.25 * small
    assert tall < 1.25 * small


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((1024, 2048), {"fit": (2048, 1024)}, [(1024, 2048)]),
        ((375, 500), {"fit": (520, 520)}, [(390, 520)]),
        ((500, 375), {"fit": (520, 520)}, [(520, 390)]),
        ((512, 683), {"fit": (2048, 512), "scales": (0.5, 1.75)}, [(256, 342), (896, 1195)]),
        ((100, 31), {"scales": (1.0, 0.5, 0.01)}, [(100, 31), (50, 16), (1, 1)]),
    ],
)
def test_views_have_the_size_of_the_protocol(size: Any, options: Any, expected: Any) -> None:
    assert view_sizes(size, InferenceConfig(**options)) == expected


def test_every_protocol_is_a_recipe_fragment() -> None:
    named = [name for name in fragments() if name.startswith("test_")]
    assert len(named) >= 8
    for name in named:
        load_inference(name)
    both = load_inference("test_context_slide", "test_scales_flip")
    assert (both.mode, both.crop, len(both.scales), both.flip) == ("slide", (480, 480), 6, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["inference.mode=slide"], "crop=480x480"),
        (["inference.mode=slide", "inference.crop=[8,8]", "inference.stride=[9,8]"], "left out"),
        (["inference.scale=2"], "Did you mean 'scales'"),
        (["inference.scales=[0]"], "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        load_inference(*words)


def test_a_run_validates_evaluates_and_predicts_as_its_recipe_says(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = ("inference.mode=slide", "inference.crop=[24,32]", "inference.flip=true")
    run = segdistill.train(*tiny, *words, out=tmp_path / "run", quiet=True)
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    validated = [line for line in log if line["kind"] == "validation"][-1]
    done = segdistill.evaluate(tmp_path / "run", quiet=True)
    assert done.inference == InferenceConfig(mode="slide", crop=(24, 32), flip=True)
    assert validated["miou"] == pytest.approx(done.scores.miou, abs=1e-3) == pytest.approx(run.scores.miou, abs=1e-3)
    assert done.quality.boundary is not None
    scene = Streets(split="val", size=(45, 61))[0]
    Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(tmp_path / "scene.png")
    network = open_model(tmp_path / "run").network
    for parts in ((), ("inference.mode=whole",)):
        (made,) = segdistill.predict(tmp_path / "run", tmp_path / "scene.png", out=tmp_path / "out", parts=parts)
        config = done.inference.model_copy(update={"mode": "whole"} if parts else {})
        expected = infer(network, scene.image[None], config).classes[0]
        assert np.array_equal(np.array(Image.open(made.mask)), expected.numpy())
